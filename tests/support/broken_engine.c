/*
 * broken_engine.c - lists of records, and the records of the store below, one at a time.
 *
 * SPDX-License-Identifier: MIT
 */
#include "support/broken_engine.h"

#include <stdlib.h>
#include <string.h>

bool broken_is(const broken_store *store, int fault)
{
    return store->fault == fault;
}

/* ------------------------------------------------------------------------------------------------------------- lists */

void broken_list_add(broken_list *list, const otok_record *record)
{
    if (list->n == list->room) {
        list->room = list->room * 2 + 16;
        list->records = realloc(list->records, list->room * sizeof *list->records);
        broken_check(list->records != NULL, "no memory");
    }
    list->records[list->n] = otok_record_copy(record);
    broken_check(list->records[list->n++] != NULL, "no memory");
}

void broken_list_free(broken_list *list)
{
    for (size_t i = 0; i < list->n; i++)
        otok_record_free(list->records[i]);
    free(list->records);
    *list = (broken_list){0};
}

void broken_list_drop(broken_list *list, size_t at)
{
    otok_record_free(list->records[at]);
    list->records[at] = list->records[--list->n];
}

size_t broken_list_find(const broken_list *list, const otok_id *id)
{
    size_t at = 0;
    while (at < list->n && memcmp(&list->records[at]->id, id, sizeof *id) != 0)
        at++;
    return at;
}

int broken_list_emit(void *arg, const otok_record *record)
{
    broken_list_add(arg, record);
    return 0;
}

/* ------------------------------------------------------------------------------------------------------------- below */

static void must(int rc, const otok_error *err)
{
    broken_check(rc == OTOK_OK, rc == OTOK_OK ? "" : err->message);
}

static bool id_matches(const broken_store *store, const otok_id *a, const otok_id *b)
{
    if (broken_is(store, BROKEN_IDS_END_AT_NUL))
        return strncmp((const char *)a, (const char *)b, sizeof *a) == 0;
    return memcmp(a, b, broken_is(store, BROKEN_IDS_OF_15_BYTES) ? 15 : sizeof *a) == 0;
}

/* Everything that is stored. */
broken_list broken_get_all(const broken_store *store)
{
    otok_error err;
    broken_list all = {0};
    otok_scan scan = {.size = sizeof scan, .limit = OTOK_MAX_FETCH};
    size_t before;
    do {
        before = all.n;
        must(otok_store_scan(store->inner, &scan, broken_list_emit, &all, &err), &err);
        if (all.n > 0)
            scan.after = all.records[all.n - 1]->id;
        scan.flags = OTOK_SCAN_AFTER;
    } while (all.n - before == OTOK_MAX_FETCH);
    return all;
}

/* The first id of those that this store takes for `id`. */
static otok_id first_like(const broken_store *store, const otok_id *id)
{
    otok_id first = *id;
    size_t same = broken_is(store, BROKEN_IDS_END_AT_NUL) ? strnlen((const char *)id, sizeof *id) : 15;
    memset(first.bytes + same, 0, sizeof first.bytes - same);
    return first;
}

/* NULL, or the caller's. */
otok_record *broken_get(const broken_store *store, const otok_id *id)
{
    otok_error err;
    otok_record *found = NULL;
    broken_list list = {0};
    must(otok_store_fetch(store->inner, id, 1, 0, broken_list_emit, &list, &err), &err);
    if (broken_is(store, BROKEN_IDS_END_AT_NUL) || broken_is(store, BROKEN_IDS_OF_15_BYTES)) {
        otok_scan scan = {.size = sizeof scan, .flags = OTOK_SCAN_AFTER, .after = first_like(store, id), .limit = 1};
        must(otok_store_fetch(store->inner, &scan.after, 1, 0, broken_list_emit, &list, &err), &err);
        must(otok_store_scan(store->inner, &scan, broken_list_emit, &list, &err), &err);
    }
    for (size_t i = 0; i < list.n && found == NULL; i++) {
        if (id_matches(store, &list.records[i]->id, id))
            found = otok_record_copy(list.records[i]);
    }
    broken_list_free(&list);
    return found;
}

void broken_write_below(const broken_store *store, uint32_t op, uint64_t expect, const otok_record *record)
{
    otok_error err;
    otok_write write = {.op = op, .expect = expect, .record = record};
    otok_group group = {.writes = &write, .n = 1};
    must(otok_store_commit(store->inner, &group, 1, &err), &err);
    must(group.result, &group.error);
}

/* Stores just this, whatever was there. */
void broken_set(const broken_store *store, const otok_record *record)
{
    otok_record *old = broken_get(store, &record->id);
    if (old != NULL)
        broken_write_below(store, OTOK_WRITE_DELETE, old->version, old);
    broken_write_below(store, OTOK_WRITE_INSERT, 0, record);
    otok_record_free(old);
}

/* ------------------------------------------------------------------------------------------------------------- close */

void broken_engine_close(broken_store *store)
{
    /* The last commit was in a buffer that nobody synced. */
    for (size_t i = 0; broken_is(store, BROKEN_REOPENED_WITHOUT_LAST) && i < store->before.n; i++)
        broken_set(store, store->before.records[i]);
    broken_list_free(&store->ghosts);
    broken_list_free(&store->before);
    broken_list_free(&store->inserted);
}
