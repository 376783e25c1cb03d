/*
 * check.c - whether a store is whole, a copy of it, and whose sessions are in it.
 *
 * An engine that has a check of its own sees more: its own file, and entries of an index without their record.  Here, through the
 * contract alone, every record is looked for under each of its keys.
 *
 * SPDX-License-Identifier: MIT
 */
#include "store/check.h"

#include <stdio.h>
#include <string.h>

void otok_check_init(otok_check *check, size_t size)
{
    otok_struct_init(check, size);
}

void otok_check_tell(const otok_watch *watch, otok_check *result, bool mended, const otok_id *id, const char *what)
{
    enum { ID_CHARS = 22 };
    char text[ID_CHARS + 1] = "", sentence[256];
    if (id != NULL)
        otok_base64url(id->bytes, sizeof id->bytes, text);
    (void)snprintf(sentence, sizeof sentence, "%s%s%s%s", id != NULL ? "record " : "", text, id != NULL ? " " : "",
                   what);
    result->findings++;
    result->mended += mended ? 1 : 0;
    if (watch->finding != NULL)
        watch->finding(watch->user, sentence, mended);
}

/* ---------------------------------------------------------------------------------------------------- through the contract */

struct first {
    otok_id id;
    bool any;
};

static int take_first(void *arg, const otok_record *record)
{
    *(struct first *)arg = (struct first){.id = record->id, .any = true};
    return 1;
}

/* The place just before a record in the order of an index. */
static void step_back(int64_t *order_us, otok_id *id)
{
    for (size_t i = sizeof id->bytes; i > 0; i--) {
        if (id->bytes[i - 1]-- != 0)
            return;
    }
    --*order_us; /* the id was the least of all: it is the greatest now */
}

static int look_under(otok_store *store, const otok_record *record, const otok_index_key *key, bool *found,
                      otok_error *err)
{
    static const otok_id least = {{0}};
    struct first first = {.any = false};
    otok_scan scan = {.size = sizeof scan, .key = *key, .limit = 1, .flags = OTOK_SCAN_AFTER, .after = record->id};
    scan.after_us = key->index == OTOK_INDEX_SWEEP ? record->sweep_us : record->created_us;
    if (scan.after_us == INT64_MIN && otok_id_compare(&record->id, &least) == 0)
        scan.flags = 0; /* nothing can be before it */
    else
        step_back(&scan.after_us, &scan.after);
    int rc = otok_store_scan(store, &scan, take_first, &first, err);
    *found = first.any && otok_id_compare(&first.id, &record->id) == 0;
    return rc;
}

/* One that went, or moved, since it was read is no finding. */
static int take_version(void *arg, const otok_record *record)
{
    *(uint64_t *)arg = record->version;
    return 1;
}

static int check_record(otok_store *store, const otok_record *record, const otok_watch *watch, otok_check *result,
                        otok_error *err)
{
    int rc = OTOK_OK;
    for (size_t i = 0; rc == OTOK_OK && i < record->nkeys; i++) {
        uint64_t version = ~record->version;
        bool found;
        rc = look_under(store, record, &record->keys[i], &found, err);
        if (rc == OTOK_OK && !found)
            rc = otok_store_fetch(store, &record->id, 1, 0, take_version, &version, err);
        if (rc == OTOK_OK && !found && version == record->version)
            otok_check_tell(watch, result, false, &record->id, "is missing in one of its indexes");
    }
    return rc;
}

static int check_records(otok_store *store, const otok_watch *watch, otok_check *result, otok_error *err)
{
    otok_walk walk = {.store = store};
    otok_record *record = NULL;
    int rc = OTOK_OK;
    while (rc == OTOK_OK && (rc = otok_walk_next(&walk, &record, err)) == OTOK_OK && record != NULL) {
        result->sessions += record->kind == OTOK_RECORD_SESSION ? 1 : 0;
        rc = check_record(store, record, watch, result, err);
        otok_record_free(record);
        if (rc == OTOK_OK && ++result->records % OTOK_CHECK_TELL == 0)
            rc = otok_watch_progress(watch, result->records, 0, err);
    }
    otok_walk_end(&walk);
    return rc;
}

/* ---------------------------------------------------------------------------------------------------- the calls */

int otok_store_check(otok_store *store, int32_t repair, const otok_watch *watch, otok_check *result, otok_error *err)
{
    otok_check found = {.size = sizeof found};
    const otok_choice_rule choice = {repair, 1, "repair"};
    otok_watch own;
    if (store == NULL)
        return otok_fail(err, OTOK_E_INVALID, "store is required");
    int rc = otok_choices_check(&choice, 1, OTOK_E_INVALID, err);
    if (rc == OTOK_OK)
        rc = otok_struct_lent(result, "otok_check", err);
    if (rc == OTOK_OK)
        rc = otok_watch_read(watch, &own, err);
    if (rc != OTOK_OK)
        return rc;
    rc = otok_store_run_check(store, repair, &own, &found, err);
    if (rc == OTOK_E_UNSUPPORTED && repair == 0)
        rc = check_records(store, &own, &found, err);
    otok_struct_give(result, &found, sizeof found);
    return rc;
}

int otok_store_backup(otok_store *store, const char *directory, const otok_watch *watch, otok_error *err)
{
    otok_watch own;
    if (store == NULL || directory == NULL || *directory == '\0')
        return otok_fail(err, OTOK_E_INVALID, "%s is required", store == NULL ? "store" : "directory");
    int rc = otok_watch_read(watch, &own, err);
    return rc == OTOK_OK ? otok_store_run_backup(store, directory, &own, err) : rc;
}

/* ---------------------------------------------------------------------------------------------------- realms */

/* The names, and the texts that they point at. */
struct names_box {
    otok_names names;
    char *texts[];
};

static bool is_known(const struct names_box *box, otok_str realm)
{
    for (size_t i = 0; i < box->names.count; i++) {
        if (otok_str_eq(otok_str_of(box->texts[i]), realm))
            return true;
    }
    return false;
}

static int gather(otok_store *store, size_t most, struct names_box *box, otok_error *err)
{
    otok_walk walk = {.store = store};
    otok_record *record = NULL;
    int rc = OTOK_OK;
    while (box->names.count < most && (rc = otok_walk_next(&walk, &record, err)) == OTOK_OK && record != NULL) {
        if (record->kind == OTOK_RECORD_SESSION && !is_known(box, record->realm)) {
            char *text = otok_strndup(record->realm.data, record->realm.len);
            if (text == NULL)
                rc = otok_fail(err, OTOK_E_NOMEM, "no memory for a name");
            else
                box->texts[box->names.count++] = text;
        }
        otok_record_free(record);
        if (rc != OTOK_OK)
            break;
    }
    otok_walk_end(&walk);
    return rc;
}

int otok_store_realms(otok_store *store, size_t most, otok_names **out, otok_error *err)
{
    enum { MOST_REALMS = 65536 };
    if (out == NULL || store == NULL)
        return otok_fail(err, OTOK_E_INVALID, "%s is required", store == NULL ? "store" : "out");
    *out = NULL;
    if (most == 0 || most > MOST_REALMS)
        return otok_fail(err, OTOK_E_INVALID, "most is not 1 to %d", MOST_REALMS);
    struct names_box *box = otok_calloc(1, sizeof *box + most * sizeof box->texts[0]);
    if (box == NULL)
        return otok_fail(err, OTOK_E_NOMEM, "no memory for names");
    box->names.size = sizeof box->names;
    box->names.names = (const char *const *)box->texts;
    int rc = gather(store, most, box, err);
    if (rc == OTOK_OK)
        *out = &box->names;
    else
        otok_names_free(&box->names);
    return rc;
}

void otok_names_free(otok_names *names)
{
    struct names_box *box = (struct names_box *)(void *)names;
    if (box == NULL)
        return;
    for (size_t i = 0; i < box->names.count; i++)
        otok_free(box->texts[i]);
    otok_free(box);
}
