/*
 * conform_reopen.c - clauses: what a durable store has when it is opened again.
 *
 * SPDX-License-Identifier: MIT
 */
#include "store/store.h"

enum { N = 100 };

/* Of 100 records every third had its head changed, every fourth was put under another key, every tenth is gone. */
static bool is_gone(uint32_t number)
{
    return number % 10 == 0;
}

static void shape(otok_kit *kit, otok_sample *sample, uint32_t number)
{
    otok_kit_sample(kit, sample, number);
    otok_kit_add_key(sample, OTOK_INDEX_REALM, 1);
    otok_kit_add_link(sample, number % 2);
    otok_kit_body(kit, sample, number, (size_t)number * 90);
    if (number % 4 == 0) {
        sample->record.version++;
        sample->keys[0] = otok_kit_key(OTOK_INDEX_REALM, 2);
        sample->record.head = (otok_str){.data = "put", .len = 3};
    }
    if (number % 3 == 0) {
        sample->record.version++;
        sample->record.head = (otok_str){.data = "head", .len = 4};
    }
}

static void shape_first(otok_kit *kit, otok_sample *sample)
{
    uint32_t number = otok_get_u32(sample->record.id.bytes);
    otok_kit_add_key(sample, OTOK_INDEX_REALM, 1);
    otok_kit_add_link(sample, number % 2);
    otok_kit_body(kit, sample, number, (size_t)number * 90);
}

static void write_and_reopen(otok_kit *kit)
{
    otok_sample sample;
    otok_kit_insert_range(kit, 1, N, shape_first);
    for (uint32_t i = 1; i <= N; i++) {
        otok_kit_sample(kit, &sample, i);
        uint64_t version = sample.record.version;
        shape(kit, &sample, i);
        if (i % 4 == 0) {
            otok_record put = sample.record;
            put.version = version + 1;
            otok_kit_write(kit, OTOK_WRITE_PUT, version++, &put, OTOK_OK, "PUT");
        }
        if (i % 3 == 0)
            otok_kit_write(kit, OTOK_WRITE_HEAD, version++, &sample.record, OTOK_OK, "HEAD");
        if (is_gone(i))
            otok_kit_write(kit, OTOK_WRITE_DELETE, version, &sample.record, OTOK_OK, "DELETE");
    }
    otok_kit_open(kit, 0);
}

static void records(otok_kit *kit)
{
    otok_sample sample;
    write_and_reopen(kit);
    for (uint32_t i = 1; i <= N; i++) {
        shape(kit, &sample, i);
        if (is_gone(i))
            otok_kit_expect_absent(kit, &sample.record.id, "a deleted record, opened again");
        else
            otok_kit_expect_record(kit, &sample.record, "opened again");
    }
}

static void indexes(otok_kit *kit)
{
    uint32_t left[N], right[N], all[N];
    size_t nleft = 0, nright = 0, nall = 0;
    for (uint32_t i = 1; i <= N; i++) {
        if (is_gone(i))
            continue;
        all[nall++] = i;
        if (i % 4 == 0)
            right[nright++] = i;
        else
            left[nleft++] = i;
    }
    write_and_reopen(kit);
    otok_scan scan = otok_kit_scan_of(OTOK_INDEX_ALL, 0, 0, OTOK_MAX_FETCH);
    otok_kit_expect_rows(kit, &scan, all, nall, "ALL, opened again");
    scan.key = otok_kit_key(OTOK_INDEX_REALM, 1);
    otok_kit_expect_rows(kit, &scan, left, nleft, "a key, opened again");
    otok_kit_expect_count(kit, scan.key, nleft, "a key, opened again");
    scan.key = otok_kit_key(OTOK_INDEX_REALM, 2);
    otok_kit_expect_rows(kit, &scan, right, nright, "the key that some were put under, opened again");
    otok_kit_expect_count(kit, scan.key, nright, "the key that some were put under, opened again");
}

static void guards(otok_kit *kit)
{
    otok_sample sample;
    write_and_reopen(kit);
    shape(kit, &sample, 3);
    otok_kit_write(kit, OTOK_WRITE_INSERT, 0, &sample.record, OTOK_E_CONFLICT, "INSERT over a record, opened again");
    otok_kit_write(kit, OTOK_WRITE_HEAD, sample.record.version - 1, &sample.record, OTOK_E_CONFLICT,
                   "stale HEAD, opened again");
    sample.record.version++;
    otok_kit_write(kit, OTOK_WRITE_HEAD, sample.record.version - 1, &sample.record, OTOK_OK, "HEAD, opened again");
    otok_kit_open(kit, 0);
    otok_kit_expect_record(kit, &sample.record, "opened a third time");
}

const otok_clause otok_clauses_reopen[] = {
    {"records_survive_reopening", "DURABLE: OTOK_OK means on stable storage", records, OTOK_STORE_DURABLE},
    {"indexes_survive_reopening", "DURABLE: OTOK_OK means on stable storage", indexes, OTOK_STORE_DURABLE},
    {"versions_survive_reopening", "DURABLE: OTOK_OK means on stable storage", guards, OTOK_STORE_DURABLE},
    {NULL, NULL, NULL, 0},
};
