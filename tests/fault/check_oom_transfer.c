/*
 * check_oom_transfer.c - memory runs short while stores are exported, imported, checked, repaired and backed up, and while a token
 * is looked at (S3, S4, K7): an error that says so, no leak, nothing half done, and the next one works.
 *
 * SPDX-License-Identifier: MIT
 */
/* link: -Wl,--wrap=otok_malloc,--wrap=otok_calloc,--wrap=otok_realloc */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "support/killing.h"
#include "support/oom_allocators.h"
#include "support/raw.h"
#include "support/transfer.h"

enum { RECORDS = 6 };

static test_file given, made; /* what is imported; what was exported */

/* The host's own memory is not short. */
static int write_file(void *user, const void *data, size_t len)
{
    bool armed = oom_suspend();
    test_file_add(user, data, len);
    oom_resume(armed);
    return 0;
}

/* ---------------------------------------------------------------------------------------------------- export */

static void some_records(oom_stage *s)
{
    if (s->number++ != 0)
        return;
    for (uint32_t i = 1; i <= RECORDS; i++)
        test_assert_code(OTOK_OK, test_raw_insert(s->f->store, i, 100 * i));
}

static int call_export(oom_stage *s)
{
    bool armed = oom_suspend();
    test_file_free(&made);
    oom_resume(armed);
    return otok_store_export(s->f->store, write_file, &made, NULL, NULL, &s->err);
}

static void export_is_whole(oom_stage *s)
{
    otok_store *to;
    otok_transfer result;
    test_assert_code(OTOK_OK, otok_store_open_memory(&to, NULL));
    test_assert_code(OTOK_OK, test_import(to, &made, OTOK_IMPORT_ADD, 0, &result, NULL));
    ck_assert_uint_eq(result.inserted, test_count_records(s->f->store));
    otok_store_close(to);
}

/* ---------------------------------------------------------------------------------------------------- import */

/* A file of those that `number` names, and of all that the store has otherwise. */
static void make_given(oom_stage *s)
{
    otok_store *from;
    test_file there = test_export(s->f->store);
    test_assert_code(OTOK_OK, otok_store_open_memory(&from, NULL));
    test_assert_code(OTOK_OK, test_import(from, &there, OTOK_IMPORT_ADD, 0, NULL, NULL));
    for (uint32_t i = 1; i <= RECORDS; i++)
        test_assert_code(OTOK_OK, test_raw_insert(from, i, 100 * i));
    given = test_export(from);
    otok_store_close(from);
    test_file_free(&there);
}

static void remove_raw(oom_stage *s, uint32_t first, uint32_t last)
{
    for (uint32_t i = first; i <= last; i++) {
        uint64_t version = test_raw_version(s->f->store, i);
        if (version != 0)
            test_assert_code(OTOK_OK, test_raw_delete(s->f->store, i, version));
    }
}

/* None of them; or some of them otherwise, and some that the file has not. */
static void without_them(oom_stage *s)
{
    remove_raw(s, 1, RECORDS);
}

static void with_others(oom_stage *s)
{
    remove_raw(s, 1, 2 * RECORDS);
    for (uint32_t i = 1; i <= 2 * RECORDS; i += 3) {
        otok_record record = test_raw_record(i, i % 2 != 0 ? OTOK_RECORD_SESSION : OTOK_RECORD_CUTOFF, 9, i);
        test_assert_code(OTOK_OK, test_raw_write(s->f->store, OTOK_WRITE_INSERT, 0, &record, NULL));
    }
}

static int import_as(oom_stage *s, int32_t mode)
{
    return test_import(s->f->store, &given, mode, 0, NULL, &s->err);
}

static int call_import(oom_stage *s)
{
    return import_as(s, OTOK_IMPORT_ADD);
}

static int call_mirror(oom_stage *s)
{
    return import_as(s, OTOK_IMPORT_MIRROR);
}

static void import_is_whole(oom_stage *s)
{
    otok_transfer result;
    otok_check check;
    test_assert_code(OTOK_OK, test_import(s->f->store, &given, OTOK_IMPORT_MIRROR, 1, &result, NULL));
    ck_assert_uint_eq(result.same, result.records);
    ck_assert_uint_eq(result.removed, 0);
    otok_check_init(&check, sizeof check);
    test_assert_code(OTOK_OK, otok_store_check(s->f->store, 0, NULL, &check, NULL));
    ck_assert_uint_eq(check.findings, 0);
}

/* One that failed is begun again. */
static void import_can_be_finished(oom_stage *s)
{
    test_assert_code(OTOK_OK, import_as(s, OTOK_IMPORT_MIRROR));
    import_is_whole(s);
}

/* ---------------------------------------------------------------------------------------------------- checks */

/* Check's assertions need memory: what was found is looked at afterwards, and is something that came out. */
static int check_with(oom_stage *s, int32_t repair)
{
    otok_check result;
    otok_check_init(&result, sizeof result);
    int rc = otok_store_check(s->f->store, repair, NULL, &result, &s->err);
    s->count = result.findings;
    return rc;
}

static int call_check(oom_stage *s)
{
    return check_with(s, 0);
}

static int call_service_check(oom_stage *s)
{
    otok_check result;
    otok_check_init(&result, sizeof result);
    int rc = otok_service_check(s->f->service, NULL, &result, &s->err);
    s->count = result.findings;
    return rc;
}

/* A store whose index is gone; its service is opened anew. */
static void without_index(oom_stage *s)
{
    otok_lmdb_options options;
    otok_lmdb_options_init(&options, sizeof options);
    options.no_sync = 1;
    some_records(s);
    otok_service_close(s->f->service);
    otok_store_close(s->f->store);
    s->f->service = NULL;
    killing_drop_index(s->f->folder);
    s->f->store = test_open_lmdb(s->f->folder, &options);
    test_reopen_service(s->f);
}

static int call_repair(oom_stage *s)
{
    otok_check result;
    otok_check_init(&result, sizeof result);
    int rc = otok_store_check(s->f->store, 1, NULL, &result, &s->err);
    s->count = result.mended;
    return rc;
}

static uint64_t count_findings(oom_stage *s)
{
    otok_check result;
    otok_check_init(&result, sizeof result);
    test_assert_code(OTOK_OK, otok_store_check(s->f->store, 0, NULL, &result, NULL));
    return result.findings;
}

static void repair_is_whole(oom_stage *s)
{
    ck_assert_uint_gt(s->count, RECORDS);
    ck_assert_uint_eq(count_findings(s), 0);
}

/* All of it or nothing. */
static void nothing_was_repaired(oom_stage *s)
{
    ck_assert_msg(count_findings(s) > RECORDS, "%s: half a repair", oom_where());
}

/* A shortage is no finding. */
static void nothing_was_found(oom_stage *s)
{
    ck_assert_msg(s->count == 0, "%s: %llu findings", oom_where(), (unsigned long long)s->count);
}

static void everything_around(oom_stage *s)
{
    otok_filter filter = test_filter("carol", NULL, NULL);
    otok_grant grant = test_grant("alice", "tv", NULL);
    grant.once_key = "code";
    grant.sid = "sid";
    if (s->number++ != 0)
        return;
    s->held = test_hold_grant(s->f, &grant);
    test_assert_code(OTOK_OK, otok_cutoff_set(s->f->service, &filter, OTOK_NOW, NULL, NULL));
    test_assert_code(OTOK_OK, otok_consent_put(s->f->service, "alice", "tv", "openid", NULL));
    test_forget_events(s->f);
}

static int call_realms(oom_stage *s)
{
    otok_names *names = NULL;
    int rc = otok_store_realms(s->f->store, 100, &names, &s->err);
    s->count = names != NULL ? names->count : 0;
    otok_names_free(names);
    return rc;
}

/* That of the service, and the empty one of the raw records. */
static void both_are_named(oom_stage *s)
{
    ck_assert_uint_eq(s->count, 2);
}

static int call_inspect(oom_stage *s)
{
    otok_token_info info;
    otok_token_info_init(&info, sizeof info);
    int rc = otok_token_inspect(s->f->service, s->bystander.token, &info, &s->err);
    s->live = info.genuine;
    return rc;
}

static void token_is_genuine(oom_stage *s)
{
    ck_assert_msg(s->live == 1, "%s: a genuine token is said not to be", oom_where());
}

/* ---------------------------------------------------------------------------------------------------- backup */

static void another_folder(oom_stage *s)
{
    some_records(s);
    if (s->path[0] == '\0')
        oom_new_directory(s);
    (void)snprintf(s->name, sizeof s->name, "copy-%d", s->number);
}

static const char *path_of_copy(const oom_stage *s, const char *suffix)
{
    static char path[4400];
    (void)snprintf(path, sizeof path, "%s/%s%s", s->path, s->name, suffix);
    return path;
}

static int call_backup(oom_stage *s)
{
    return otok_store_backup(s->f->store, path_of_copy(s, ""), NULL, &s->err);
}

static void backup_is_whole(oom_stage *s)
{
    otok_store *copy = test_open_lmdb(path_of_copy(s, ""), NULL);
    ck_assert_uint_eq(test_store_state(copy), test_store_state(s->f->store));
    otok_store_close(copy);
    test_remove_folder(strdup(path_of_copy(s, "")));
}

static void backup_left_nothing(oom_stage *s)
{
    struct stat st;
    ck_assert_msg(stat(path_of_copy(s, ""), &st) != 0, "%s: a copy is left", oom_where());
    ck_assert_msg(stat(path_of_copy(s, ".new"), &st) != 0, "%s: half a copy is left", oom_where());
}

/* ---------------------------------------------------------------------------------------------------- tests */

static const oom_scenario on_stores[] = {
    {"store_export", some_records, call_export, export_is_whole, .done = OTOK_OK},
    {"store_import", without_them, call_import, import_is_whole, .done = OTOK_OK, .in_steps = true, .open = make_given,
     .is_sound = import_can_be_finished},
    {"store_import, mirror", with_others, call_mirror, import_is_whole, .done = OTOK_OK, .in_steps = true,
     .open = make_given, .is_sound = import_can_be_finished},
    {"store_check", some_records, call_check, nothing_was_found, .done = OTOK_OK},
    {"service_check", everything_around, call_service_check, nothing_was_found, .done = OTOK_OK},
    {"store_realms", some_records, call_realms, both_are_named, .done = OTOK_OK},
    {"token_inspect", oom_prepare_nothing, call_inspect, token_is_genuine, .done = OTOK_OK},
};

static const oom_scenario on_lmdb[] = {
    {"store_check, repair", without_index, call_repair, repair_is_whole, .done = OTOK_OK,
     .is_sound = nothing_was_repaired},
    {"store_backup", another_folder, call_backup, backup_is_whole, .done = OTOK_OK, .is_sound = backup_left_nothing},
};

static void add(TCase *tc)
{
    oom_add(tc, OOM_MEMORY | OOM_LMDB, on_stores, sizeof on_stores / sizeof on_stores[0]);
#ifdef OTOK_HAVE_LMDB
    oom_add(tc, OOM_LMDB, on_lmdb, sizeof on_lmdb / sizeof on_lmdb[0]);
#endif
}

int main(void)
{
    return oom_main("out of memory: transfer", add, EVERY_ALLOCATION);
}
