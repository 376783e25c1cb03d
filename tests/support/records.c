/*
 * records.c
 *
 * SPDX-License-Identifier: MIT
 */
#include "support/records.h"

static void must(int rc, const otok_error *err)
{
    if (rc != OTOK_OK)
        ck_abort_msg("%s: %s", otok_error_name(rc), err->message);
}

typedef struct tally {
    size_t n;
    uint64_t state;
    otok_id last;
} tally;

/* FNV-1a. */
static void stir(tally *t, const void *data, size_t len)
{
    const uint8_t *bytes = data;
    for (size_t i = 0; i < len; i++)
        t->state = (t->state ^ bytes[i]) * UINT64_C(1099511628211);
}

static int add_up(void *arg, const otok_record *record)
{
    tally *t = arg;
    t->n++;
    t->last = record->id;
    stir(t, &record->kind, sizeof record->kind);
    stir(t, record->id.bytes, sizeof record->id.bytes);
    stir(t, &record->version, sizeof record->version);
    stir(t, &record->created_us, sizeof record->created_us);
    stir(t, &record->sweep_us, sizeof record->sweep_us);
    stir(t, record->head.data, record->head.len);
    stir(t, record->body.data, record->body.len);
    return 0;
}

static tally tally_of(otok_store *store)
{
    otok_error err;
    otok_scan scan = {0};
    tally t = {0, UINT64_C(14695981039346656037), {{0}}};
    size_t before;
    scan.size = sizeof scan;
    scan.limit = OTOK_MAX_FETCH;
    do {
        before = t.n;
        must(otok_store_scan(store, &scan, add_up, &t, &err), &err);
        scan.flags = OTOK_SCAN_AFTER;
        scan.after = t.last;
    } while (t.n - before == OTOK_MAX_FETCH);
    return t;
}

size_t test_count_records(otok_store *store)
{
    return tally_of(store).n;
}

uint64_t test_store_state(otok_store *store)
{
    return tally_of(store).state;
}

static int copy_one(void *arg, const otok_record *record)
{
    otok_record **out = arg;
    *out = otok_record_copy(record);
    return 1;
}

static otok_record *record_of(otok_store *store, const otok_id *id)
{
    otok_error err;
    otok_record *record = NULL;
    must(otok_store_fetch(store, id, 1, 0, copy_one, &record, &err), &err);
    return record;
}

otok_record *test_session_record(otok_store *store, const char *session_id)
{
    otok_id id;
    ck_assert(otok_session_id_parse(session_id, &id));
    return record_of(store, &id);
}

static void write_one(otok_store *store, uint32_t op, uint64_t expect, const otok_record *record)
{
    otok_error err;
    otok_write write = {op, expect, record};
    otok_group group = {&write, 1, OTOK_OK, {0, 0, ""}};
    must(otok_store_commit(store, &group, 1, &err), &err);
    must(group.result, &group.error);
}

void test_put_back(otok_store *store, const otok_record *record)
{
    otok_record *now = record_of(store, &record->id);
    if (now != NULL)
        write_one(store, OTOK_WRITE_DELETE, now->version, now);
    write_one(store, OTOK_WRITE_INSERT, 0, record);
    otok_record_free(now);
}

void test_change_head(otok_store *store, const char *session_id, void (*change)(otok_head *head))
{
    uint8_t bytes[OTOK_HEAD_SIZE];
    otok_head head;
    otok_record *record = test_session_record(store, session_id);
    ck_assert_ptr_nonnull(record);
    ck_assert(otok_head_parse(record->head, &head));
    change(&head);
    otok_head_print(&head, bytes);
    uint64_t expect = record->version++;
    record->head.data = bytes;
    record->head.len = sizeof bytes;
    write_one(store, OTOK_WRITE_HEAD, expect, record);
    otok_record_free(record);
}
