/*
 * conform_write.c - clauses: what a write does, and when it does nothing.
 *
 * SPDX-License-Identifier: MIT
 */
#include "store/store.h"

#include <string.h>

static const char *const stale_names[] = {"",
                                          "",
                                          "PUT at another version",
                                          "HEAD at another version",
                                          "DELETE at another version",
                                          "ASSERT of another version"};
static const char *const nothing_names[] = {"",
                                            "",
                                            "PUT of an id that is not there",
                                            "HEAD of an id that is not there",
                                            "DELETE of an id that is not there",
                                            "ASSERT of an id that is not there"};

/* A stored record with keys and a link, and another that is to take its place. */
struct change {
    otok_sample before, after;
};

static void change_init(otok_kit *kit, struct change *change)
{
    otok_sample *before = &change->before, *after = &change->after;
    otok_kit_sample(kit, before, 1);
    otok_kit_add_key(before, OTOK_INDEX_REALM, 1);
    otok_kit_add_key(before, OTOK_INDEX_SUBJECT, 2);
    otok_kit_add_key(before, OTOK_INDEX_SWEEP, 3);
    otok_kit_add_link(before, 8);

    otok_kit_sample(kit, after, 1);
    after->record.version++;
    after->record.sweep_us += 77;
    after->record.realm = (otok_str){.data = "another realm", .len = 13};
    after->record.subject = (otok_str){.data = "another subject", .len = 15};
    after->record.client = (otok_str){.data = "c", .len = 1};
    after->record.head = (otok_str){.data = kit->noise + 50, .len = 24};
    otok_kit_body(kit, after, 99, 1234);
    otok_kit_add_key(after, OTOK_INDEX_REALM, 4);
    otok_kit_add_key(after, OTOK_INDEX_CLIENT, 2);
    otok_kit_add_link(after, 9);
    otok_kit_add_link(after, 5);
    otok_kit_insert(kit, before);
}

/* Nothing of `change` has happened: the record, its entries and its counts are as before. */
static void expect_before(otok_kit *kit, const struct change *change, const char *what)
{
    static const uint32_t one[] = {1};
    const otok_record *record = &change->before.record;
    otok_kit_expect_record(kit, record, what);
    for (size_t i = 0; i < record->nkeys; i++) {
        otok_scan scan = {.size = sizeof scan, .key = record->keys[i], .limit = 10};
        otok_kit_expect_rows(kit, &scan, one, 1, what);
        otok_kit_expect_count(kit, record->keys[i], 1, what);
    }
    otok_kit_expect_count(kit, otok_kit_key(OTOK_INDEX_REALM, 4), 0, what);
    otok_kit_expect_count(kit, otok_kit_key(OTOK_INDEX_CLIENT, 2), 0, what);
}

static void insert_over(otok_kit *kit)
{
    struct change change;
    change_init(kit, &change);
    otok_kit_write(kit, OTOK_WRITE_INSERT, 0, &change.after.record, OTOK_E_CONFLICT, "INSERT over a record");
    expect_before(kit, &change, "after INSERT over a record");
    for (uint32_t kind = OTOK_RECORD_CUTOFF; kind <= OTOK_RECORD_TOMBSTONE; kind++) {
        change.after.record.kind = kind;
        otok_kit_write(kit, OTOK_WRITE_INSERT, 0, &change.after.record, OTOK_E_CONFLICT,
                       "INSERT over a record of another kind");
    }
    otok_kit_write(kit, OTOK_WRITE_INSERT, change.before.record.version, &change.before.record, OTOK_E_CONFLICT,
                   "INSERT of what is stored already");
    expect_before(kit, &change, "after INSERT over a record of another kind");
}

static void put_replaces(otok_kit *kit)
{
    struct change change;
    change_init(kit, &change);
    otok_kit_write(kit, OTOK_WRITE_PUT, change.before.record.version, &change.after.record, OTOK_OK, "PUT");
    otok_kit_expect_record(kit, &change.after.record, "after PUT");
}

static void put_keeps_created(otok_kit *kit)
{
    struct change change;
    otok_sample other;
    otok_scan scan = otok_kit_scan_of(OTOK_INDEX_REALM, 4, 0, 10);
    change_init(kit, &change);
    otok_kit_sample(kit, &other, 2);
    otok_kit_add_key(&other, OTOK_INDEX_REALM, 4);
    otok_kit_insert(kit, &other);

    change.after.record.created_us = 5000;
    otok_kit_write(kit, OTOK_WRITE_PUT, change.before.record.version, &change.after.record, OTOK_OK, "PUT");
    change.after.record.created_us = change.before.record.created_us;
    otok_kit_expect_record(kit, &change.after.record, "after a PUT whose record has another created_us");
    otok_kit_expect_rows(kit, &scan, (const uint32_t[]){1, 2}, 2,
                         "an index's order after a PUT with another created_us");
}

static void put_moves_entries(otok_kit *kit)
{
    static const uint32_t one[] = {1};
    struct change change;
    change_init(kit, &change);
    otok_kit_write(kit, OTOK_WRITE_PUT, change.before.record.version, &change.after.record, OTOK_OK, "PUT");
    for (size_t i = 0; i < 3; i++) {
        otok_scan scan = {.size = sizeof scan, .key = change.before.record.keys[i], .limit = 10};
        otok_kit_expect_rows(kit, &scan, NULL, 0, "a key that PUT took from its record");
        otok_kit_expect_count(kit, scan.key, 0, "a key that PUT took from its record");
    }
    for (size_t i = 0; i < 2; i++) {
        otok_scan scan = {.size = sizeof scan, .key = change.after.record.keys[i], .limit = 10};
        otok_kit_expect_rows(kit, &scan, one, 1, "a key that PUT gave its record");
        otok_kit_expect_count(kit, scan.key, 1, "a key that PUT gave its record");
    }
}

/* Versions that are near the stored one in some sense, but not it. */
static void stale_write(otok_kit *kit, uint32_t op)
{
    struct change change;
    change_init(kit, &change);
    const uint64_t stored = change.before.record.version;
    const uint64_t wrong[] = {stored - 1, stored + 1, 0, stored & UINT32_MAX, stored ^ (UINT64_C(1) << 63)};
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        change.after.record.version = wrong[i] + 1;
        otok_kit_write(kit, op, wrong[i], &change.after.record, OTOK_E_CONFLICT, stale_names[op]);
        expect_before(kit, &change, "after a write that expected another version");
    }
}

static void stale_put(otok_kit *kit)
{
    stale_write(kit, OTOK_WRITE_PUT);
}

static void stale_head(otok_kit *kit)
{
    stale_write(kit, OTOK_WRITE_HEAD);
}

static void stale_delete(otok_kit *kit)
{
    stale_write(kit, OTOK_WRITE_DELETE);
}

static void stale_assert(otok_kit *kit)
{
    stale_write(kit, OTOK_WRITE_ASSERT);
}

static void writes_to_nothing(otok_kit *kit)
{
    otok_sample sample;
    for (uint32_t op = OTOK_WRITE_PUT; op <= OTOK_WRITE_ASSERT; op++) {
        for (uint64_t expect = 0; expect <= 1; expect++) {
            otok_kit_sample(kit, &sample, 1);
            otok_kit_add_key(&sample, OTOK_INDEX_REALM, 1);
            sample.record.version = expect + 1;
            otok_kit_write(kit, op, expect, &sample.record, OTOK_E_CONFLICT, nothing_names[op]);
            otok_kit_expect_absent(kit, &sample.record.id, "after a write to an id that is not there");
            otok_kit_expect_count(kit, sample.keys[0], 0, "after a write to an id that is not there");
        }
    }
}

/* The record of a HEAD may hold anything else, too. */
static void head_only(otok_kit *kit)
{
    struct change change;
    change_init(kit, &change);
    change.after.record.kind = OTOK_RECORD_PAIR;
    change.after.record.created_us = 4711;
    otok_kit_write(kit, OTOK_WRITE_HEAD, change.before.record.version, &change.after.record, OTOK_OK, "HEAD");
    change.before.record.head = change.after.record.head;
    change.before.record.version++;
    expect_before(kit, &change, "after a HEAD whose record differs in everything");
}

static void head_sizes(otok_kit *kit)
{
    static const size_t sizes[] = {24, 0, 1, 23, 24, 3, 0, 24, 20};
    otok_sample sample;
    otok_kit_sample(kit, &sample, 1);
    otok_kit_insert(kit, &sample);
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        sample.record.version++;
        sample.record.head = (otok_str){.data = kit->noise + i, .len = sizes[i]};
        otok_kit_write(kit, OTOK_WRITE_HEAD, sample.record.version - 1, &sample.record, OTOK_OK,
                       "HEAD of another size");
        otok_kit_expect_record(kit, &sample.record, "after a HEAD of another size");
    }
}

static void versions_move(otok_kit *kit)
{
    otok_sample sample;
    otok_kit_sample(kit, &sample, 1);
    otok_kit_insert(kit, &sample);
    for (uint32_t i = 0; i < 12; i++) {
        uint32_t op = i % 3 == 1 ? OTOK_WRITE_PUT : OTOK_WRITE_HEAD;
        sample.record.version++;
        otok_kit_write(kit, op, sample.record.version - 1, &sample.record, OTOK_OK,
                       "a write that expects the last one's version");
        otok_kit_write(kit, op, sample.record.version - 1, &sample.record, OTOK_E_CONFLICT, "the same write once more");
    }
    otok_kit_expect_record(kit, &sample.record, "after twelve writes");
}

static void delete_removes(otok_kit *kit)
{
    static const uint32_t two[] = {2};
    otok_sample one, other;
    otok_kit_sample(kit, &one, 1);
    otok_kit_sample(kit, &other, 2);
    for (uint32_t index = OTOK_INDEX_REALM; index <= OTOK_INDEX_SWEEP; index++) {
        otok_kit_add_key(&one, index, 1);
        otok_kit_add_key(&other, index, 1);
    }
    otok_kit_insert(kit, &one);
    otok_kit_insert(kit, &other);
    otok_record only_id = {.size = sizeof only_id, .id = one.record.id};
    otok_kit_write(kit, OTOK_WRITE_DELETE, one.record.version, &only_id, OTOK_OK, "DELETE");

    otok_kit_expect_absent(kit, &one.record.id, "after DELETE");
    for (uint32_t index = OTOK_INDEX_ALL; index <= OTOK_INDEX_SWEEP; index++) {
        otok_scan scan = otok_kit_scan_of(index, 1, 0, 10);
        otok_kit_expect_rows(kit, &scan, two, 1, "after DELETE of one of two records");
        if (index != OTOK_INDEX_ALL)
            otok_kit_expect_count(kit, scan.key, 1, "after DELETE of one of two records");
    }
    otok_kit_expect_record(kit, &other.record, "the record beside a deleted one");
    otok_kit_write(kit, OTOK_WRITE_DELETE, one.record.version, &only_id, OTOK_E_CONFLICT, "DELETE once more");
}

static void assert_changes_nothing(otok_kit *kit)
{
    struct change change;
    change_init(kit, &change);
    otok_record only_id = {.size = sizeof only_id, .id = change.before.record.id};
    for (int i = 0; i < 2; i++) {
        otok_kit_write(kit, OTOK_WRITE_ASSERT, change.before.record.version, &only_id, OTOK_OK,
                       "ASSERT of the stored version");
        expect_before(kit, &change, "after ASSERT");
    }
    otok_kit_write(kit, OTOK_WRITE_ASSERT, change.before.record.version, &change.after.record, OTOK_OK,
                   "ASSERT with a record");
    expect_before(kit, &change, "after an ASSERT whose record differs in everything");
}

static void insert_again(otok_kit *kit)
{
    struct change change;
    otok_record stale;
    change_init(kit, &change);
    stale = change.before.record;
    otok_kit_write(kit, OTOK_WRITE_DELETE, change.before.record.version, &change.before.record, OTOK_OK, "DELETE");
    change.after.record.version = 42;
    change.after.record.created_us = 99;
    otok_kit_write(kit, OTOK_WRITE_INSERT, 0, &change.after.record, OTOK_OK, "INSERT of an id that was deleted");
    otok_kit_expect_record(kit, &change.after.record, "after INSERT of an id that was deleted");
    otok_kit_expect_count(kit, otok_kit_key(OTOK_INDEX_REALM, 1), 0, "a key of the deleted record");
    otok_kit_expect_count(kit, otok_kit_key(OTOK_INDEX_REALM, 4), 1, "a key of the record in its place");
    stale.version++;
    otok_kit_write(kit, OTOK_WRITE_HEAD, stale.version - 1, &stale, OTOK_E_CONFLICT,
                   "HEAD of the deleted record's version");
}

static void tombstone(otok_kit *kit)
{
    static const uint32_t all[] = {1, 2, 3, 4, 5, 6};
    otok_sample sample;
    for (uint32_t kind = OTOK_RECORD_SESSION; kind < OTOK_RECORD_TOMBSTONE; kind++) {
        otok_kit_sample(kit, &sample, kind);
        sample.record.kind = kind;
        otok_kit_add_key(&sample, OTOK_INDEX_REALM, 1);
        otok_kit_insert(kit, &sample);
        sample.record.kind = OTOK_RECORD_TOMBSTONE;
        sample.keys[0] = otok_kit_key(OTOK_INDEX_REALM, 2);
        sample.record.version++;
        otok_kit_write(kit, OTOK_WRITE_PUT, sample.record.version - 1, &sample.record, OTOK_OK, "PUT of a tombstone");
        otok_kit_expect_record(kit, &sample.record, "a record put to a tombstone");
        otok_kit_expect_count(kit, otok_kit_key(OTOK_INDEX_REALM, 1), 0, "the record's key, after its tombstone");
        otok_kit_expect_count(kit, otok_kit_key(OTOK_INDEX_REALM, 2), kind, "the tombstone's key");
        otok_scan scan = otok_kit_scan_of(OTOK_INDEX_ALL, 0, 0, 10);
        otok_kit_expect_rows(kit, &scan, all, kind, "ALL, records put to tombstones");
        sample.record.head = (otok_str){.data = "dead", .len = 4};
        sample.record.version++;
        otok_kit_write(kit, OTOK_WRITE_HEAD, sample.record.version - 1, &sample.record, OTOK_OK, "HEAD of a tombstone");
        otok_kit_expect_record(kit, &sample.record, "the head of a tombstone");
    }
}

const otok_clause otok_clauses_write[] = {
    {"insert_over_a_record_conflicts", "INSERT takes place when there is no record of that id", insert_over, 0},
    {"put_replaces_the_record", "PUT replaces head, body, keys, links, sweep_us, names", put_replaces, 0},
    {"put_keeps_created_us", "PUT: created_us stays", put_keeps_created, 0},
    {"put_moves_index_entries", "PUT replaces the keys", put_moves_entries, 0},
    {"stale_put_conflicts", "at another version than `expect`: OTOK_E_CONFLICT, and nothing is written", stale_put, 0},
    {"stale_head_conflicts", "at another version than `expect`: OTOK_E_CONFLICT, and nothing is written", stale_head,
     0},
    {"stale_delete_conflicts", "at another version than `expect`: OTOK_E_CONFLICT, and nothing is written",
     stale_delete, 0},
    {"stale_assert_conflicts", "at another version than `expect`: OTOK_E_CONFLICT", stale_assert, 0},
    {"writes_to_nothing_conflict", "PUT, HEAD, DELETE and ASSERT need a stored record", writes_to_nothing, 0},
    {"head_changes_head_and_version_only", "HEAD replaces head and version, nothing else", head_only, 0},
    {"heads_grow_and_shrink", "a head has 0 to 24 bytes", head_sizes, 0},
    {"every_write_moves_the_version", "PUT and HEAD store the version of `record`", versions_move, 0},
    {"delete_removes_everything", "DELETE removes the record; only the id of `record` is read", delete_removes, 0},
    {"assert_changes_nothing", "ASSERT changes nothing; only the id of `record` is read", assert_changes_nothing, 0},
    {"a_deleted_id_can_be_inserted_again", "INSERT takes place when there is no record of that id", insert_again, 0},
    {"a_record_becomes_a_tombstone", "an id never changes its kind, except to OTOK_RECORD_TOMBSTONE", tombstone, 0},
    {NULL, NULL, NULL, 0},
};
