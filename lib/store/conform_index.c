/*
 * conform_index.c - clauses: which records a key has, and how many.
 *
 * SPDX-License-Identifier: MIT
 */
#include "store/store.h"

#include <string.h>

static void expect_only(otok_kit *kit, const otok_index_key *key, uint32_t number, const char *what)
{
    otok_scan scan = {.size = sizeof scan, .key = *key, .limit = 10};
    otok_kit_expect_rows(kit, &scan, &number, 1, what);
    scan.flags = OTOK_SCAN_DESCENDING;
    otok_kit_expect_rows(kit, &scan, &number, 1, what);
    otok_kit_expect_count(kit, *key, 1, what);
}

/* One record under each key, so that whatever leaks shows as a second row. */
static void insert_under(otok_kit *kit, const otok_index_key *keys, uint32_t n)
{
    otok_sample sample;
    for (uint32_t i = 0; i < n; i++) {
        otok_kit_sample(kit, &sample, i);
        sample.keys[0] = keys[i];
        sample.record.nkeys = 1;
        otok_kit_insert(kit, &sample);
    }
    for (uint32_t i = 0; i < n; i++)
        expect_only(kit, &keys[i], i, "keys alike, a record under each");
}

static void index_numbers(otok_kit *kit)
{
    static const uint32_t numbers[] = {1, 2, 3, 4, 5, 6, 7, 16, 127, 128, 200, 254, 255};
    otok_index_key keys[13];
    for (uint32_t i = 0; i < 13; i++)
        keys[i] = otok_kit_key(numbers[i], 0x42);
    insert_under(kit, keys, 13);
}

static void digests(otok_kit *kit)
{
    otok_index_key keys[21];
    for (uint32_t i = 0; i < 21; i++) {
        keys[i] = otok_kit_key(OTOK_INDEX_SUBJECT, i < 16 ? 0 : 0xff);
        if (i < 16)
            keys[i].digest[i] = 1;
    }
    keys[16].digest[15] = 0xfe;
    keys[17].digest[15] = 0;
    keys[18].digest[0] = 0;
    keys[19] = otok_kit_key(OTOK_INDEX_SUBJECT, 0);
    insert_under(kit, keys, 21);
}

static void empty_key(otok_kit *kit)
{
    static const uint8_t neighbours[] = {0, 1, 3, 4, 0xff};
    otok_sample sample;
    otok_scan scan = otok_kit_scan_of(OTOK_INDEX_CLIENT, 2, 0, 10);
    otok_kit_expect_rows(kit, &scan, NULL, 0, "a key in an empty store");
    otok_kit_expect_count(kit, scan.key, 0, "a key in an empty store");
    for (uint32_t i = 0; i < 5; i++) {
        otok_kit_sample(kit, &sample, i);
        otok_kit_add_key(&sample, OTOK_INDEX_CLIENT, neighbours[i]);
        otok_kit_add_key(&sample, OTOK_INDEX_PAIR, 2);
        otok_kit_insert(kit, &sample);
    }
    for (uint32_t flags = 0; flags <= (OTOK_SCAN_DESCENDING | OTOK_SCAN_AFTER); flags++) {
        scan.flags = flags;
        otok_kit_expect_rows(kit, &scan, NULL, 0, "a key without records between others");
    }
    otok_kit_expect_count(kit, scan.key, 0, "a key without records between others");
}

static void many_keys(otok_kit *kit)
{
    static const uint32_t want[] = {1, 2};
    otok_sample sample;
    for (uint32_t number = 1; number <= 2; number++) {
        otok_kit_sample(kit, &sample, number);
        for (uint32_t i = 0; i < OTOK_MAX_KEYS; i++)
            otok_kit_add_key(&sample, 1 + i, (uint8_t)(10 * i));
        otok_kit_insert(kit, &sample);
    }
    for (uint32_t i = 0; i < OTOK_MAX_KEYS; i++) {
        otok_scan scan = otok_kit_scan_of(1 + i, (uint8_t)(10 * i), 0, 10);
        otok_kit_expect_rows(kit, &scan, want, 2, "each of a record's eight keys");
        otok_kit_expect_count(kit, scan.key, 2, "each of a record's eight keys");
    }
}

static void with_client(otok_kit *kit, otok_sample *sample)
{
    (void)kit;
    otok_kit_add_key(sample, OTOK_INDEX_CLIENT, 1);
}

static void count_many(otok_kit *kit)
{
    uint32_t stored = 0;
    for (uint32_t more = 1; more <= 700; more = more * 3 + 1) {
        otok_kit_insert_range(kit, stored, more, with_client);
        stored += more;
        otok_kit_expect_count(kit, otok_kit_key(OTOK_INDEX_CLIENT, 1), stored, "after so many INSERTs");
    }
    otok_sample sample;
    for (uint32_t i = 0; i < 10; i++) {
        otok_kit_sample(kit, &sample, 11 * i);
        otok_kit_write(kit, OTOK_WRITE_DELETE, sample.record.version, &sample.record, OTOK_OK, "DELETE");
        otok_kit_expect_count(kit, otok_kit_key(OTOK_INDEX_CLIENT, 1), --stored, "right after DELETE");
    }
}

static void expect_counts(otok_kit *kit, uint64_t left, uint64_t right, const char *what)
{
    otok_kit_expect_count(kit, otok_kit_key(OTOK_INDEX_CLIENT, 1), left, what);
    otok_kit_expect_count(kit, otok_kit_key(OTOK_INDEX_CLIENT, 2), right, what);
}

static void count_follows(otok_kit *kit)
{
    otok_sample sample;
    otok_kit_sample(kit, &sample, 1);
    with_client(kit, &sample);
    otok_kit_insert(kit, &sample);
    expect_counts(kit, 1, 0, "after INSERT");
    otok_kit_write(kit, OTOK_WRITE_INSERT, 0, &sample.record, OTOK_E_CONFLICT, "INSERT over a record");
    expect_counts(kit, 1, 0, "after an INSERT that conflicted");
    sample.record.version++;
    otok_kit_write(kit, OTOK_WRITE_PUT, sample.record.version - 1, &sample.record, OTOK_OK, "PUT of the same keys");
    expect_counts(kit, 1, 0, "after PUT of the same keys");
    sample.keys[0] = otok_kit_key(OTOK_INDEX_CLIENT, 2);
    sample.record.version++;
    otok_kit_write(kit, OTOK_WRITE_PUT, sample.record.version - 1, &sample.record, OTOK_OK, "PUT of another key");
    expect_counts(kit, 0, 1, "after PUT of another key");
    sample.record.version++;
    otok_kit_write(kit, OTOK_WRITE_HEAD, sample.record.version - 1, &sample.record, OTOK_OK, "HEAD");
    expect_counts(kit, 0, 1, "after HEAD");
    sample.record.nkeys = 0;
    sample.record.version++;
    otok_kit_write(kit, OTOK_WRITE_PUT, sample.record.version - 1, &sample.record, OTOK_OK, "PUT of no keys");
    expect_counts(kit, 0, 0, "after PUT of no keys");
}

static void whole_records(otok_kit *kit)
{
    otok_sample samples[3];
    for (uint32_t i = 0; i < 3; i++) {
        otok_kit_sample(kit, &samples[i], i);
        otok_kit_add_key(&samples[i], OTOK_INDEX_REALM, 1);
        otok_kit_add_key(&samples[i], OTOK_INDEX_SID, (uint8_t)i);
        otok_kit_add_link(&samples[i], 2);
        otok_kit_body(kit, &samples[i], i, i == 0 ? 0 : 3000 * i);
        otok_kit_insert(kit, &samples[i]);
    }
    for (uint32_t index = OTOK_INDEX_ALL; index <= OTOK_INDEX_REALM; index++) {
        otok_scan scan = otok_kit_scan_of(index, 1, 0, 10);
        otok_kit_expect_rows(kit, &scan, (const uint32_t[]){0, 1, 2}, 3, "three records");
        for (size_t i = 0; i < kit->nrows && !kit->failed; i++)
            otok_kit_expect_same(kit, &samples[i].record, kit->rows[i], "a row of a scan");
    }
}

static void scan_at_once(otok_kit *kit)
{
    otok_sample sample;
    otok_scan scan = otok_kit_scan_of(OTOK_INDEX_REALM, 1, 0, 10);
    otok_kit_sample(kit, &sample, 1);
    otok_kit_add_key(&sample, OTOK_INDEX_REALM, 1);
    otok_kit_insert(kit, &sample);
    for (uint32_t i = 1; i <= 10; i++) {
        otok_kit_expect_rows(kit, &scan, (const uint32_t[]){1}, 1, "right after a write");
        if (!kit->failed)
            otok_kit_expect_same(kit, &sample.record, kit->rows[0], "the row of a scan right after a write");
        sample.record.version++;
        sample.record.head.data = kit->noise + i;
        otok_kit_write(kit, i % 2 == 0 ? OTOK_WRITE_PUT : OTOK_WRITE_HEAD, sample.record.version - 1, &sample.record,
                       OTOK_OK, "PUT and HEAD in turn");
    }
    otok_kit_write(kit, OTOK_WRITE_DELETE, sample.record.version, &sample.record, OTOK_OK, "DELETE");
    otok_kit_expect_rows(kit, &scan, NULL, 0, "right after DELETE");
}

const otok_clause otok_clauses_index[] = {
    {"index_numbers_are_apart", "a key is an index and a digest", index_numbers, 0},
    {"digests_are_compared_whole", "the digest of a key is opaque, 16 bytes", digests, 0},
    {"a_key_without_records_is_empty", "scan: the records of one key; count: how many it has", empty_key, 0},
    {"a_record_is_under_each_of_its_keys", "at most OTOK_MAX_KEYS, no two with the same index", many_keys, 0},
    {"count_is_exact", "count: how many records the key has, dead ones included", count_many, 0},
    {"count_follows_every_write", "every commit that returned before a count began is visible to it", count_follows, 0},
    {"scan_emits_whole_records", "scan emits the records of one key in order", whole_records, 0},
    {"scan_sees_every_commit", "every commit that returned before a scan began is visible to it", scan_at_once, 0},
    {NULL, NULL, NULL, 0},
};
