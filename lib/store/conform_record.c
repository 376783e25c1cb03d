/*
 * conform_record.c - clauses: what goes in comes out.
 *
 * SPDX-License-Identifier: MIT
 */
#include "store/store.h"

#include <string.h>

static void insert_and_expect(otok_kit *kit, const otok_sample *sample, const char *what)
{
    otok_kit_insert(kit, sample);
    otok_kit_expect_record(kit, &sample->record, what);
}

static void every_member(otok_kit *kit)
{
    otok_sample sample;
    otok_kit_sample(kit, &sample, 7);
    otok_kit_add_key(&sample, OTOK_INDEX_REALM, 1);
    otok_kit_add_key(&sample, OTOK_INDEX_SWEEP, 2);
    otok_kit_add_key(&sample, OTOK_INDEX_MAX, 3);
    otok_kit_add_link(&sample, 8);
    otok_kit_add_link(&sample, 6);
    sample.record.created_us = INT64_C(1763700000123456);
    sample.record.sweep_us = INT64_C(1766292000654321);
    insert_and_expect(kit, &sample, "after INSERT");
}

static void opaque_bytes(otok_kit *kit)
{
    static const uint8_t hostile[] = {'a', 0, 0xff, 0xc0, '\'', '"', '\\', '\n', 0x80, 0, 0};
    const otok_str bytes = {.data = hostile, .len = sizeof hostile};
    otok_sample sample;
    otok_kit_sample(kit, &sample, 1);
    otok_kit_add_key(&sample, OTOK_INDEX_SUBJECT, 9);
    sample.keys[0].digest[5] = 0;
    otok_kit_add_link(&sample, 0);
    sample.record.realm = sample.record.subject = sample.record.client = sample.record.head = sample.record.body =
        bytes;
    insert_and_expect(kit, &sample, "bytes that are no text");
}

static void empty_members(otok_kit *kit)
{
    otok_sample sample;
    otok_kit_sample(kit, &sample, 1);
    sample.record.keys = NULL;
    sample.record.links = NULL;
    sample.record.realm = sample.record.subject = sample.record.client = (otok_str){0};
    sample.record.head = sample.record.body = (otok_str){0};
    insert_and_expect(kit, &sample, "a record of nothing but numbers");

    otok_sample full;
    otok_kit_sample(kit, &full, 1);
    full.record.version = sample.record.version + 1;
    otok_kit_write(kit, OTOK_WRITE_PUT, sample.record.version, &full.record, OTOK_OK, "PUT over an empty record");
    sample.record.version += 2;
    otok_kit_write(kit, OTOK_WRITE_PUT, full.record.version, &sample.record, OTOK_OK, "PUT of an empty record");
    otok_kit_expect_record(kit, &sample.record, "after PUT of an empty record");
}

static void full_members(otok_kit *kit)
{
    otok_sample sample;
    otok_kit_sample(kit, &sample, 1);
    for (uint32_t i = 0; i < OTOK_MAX_KEYS; i++) {
        otok_kit_add_key(&sample, OTOK_INDEX_MAX - i, (uint8_t)(i * 36));
        otok_kit_add_link(&sample, 100 + i);
    }
    sample.record.realm = (otok_str){.data = kit->noise, .len = OTOK_MAX_NAME};
    sample.record.subject = (otok_str){.data = kit->noise + 1, .len = OTOK_MAX_NAME};
    sample.record.client = (otok_str){.data = kit->noise + 2, .len = OTOK_MAX_NAME};
    sample.record.head = (otok_str){.data = kit->noise + 4, .len = OTOK_MAX_HEAD};
    otok_kit_body(kit, &sample, 5, OTOK_MAX_BODY);
    insert_and_expect(kit, &sample, "every member as large as it may be");
}

/* Sizes around which engines change how they keep a value: overflow pages, TOAST, the map's page. */
static void body_sizes(otok_kit *kit)
{
    static const size_t sizes[] = {1,    2,    255,  256,  1023, 1024, 1999,  2000,  2001,  2038,  2039,
                                   2040, 2041, 2047, 2048, 4000, 4079, 4080,  4081,  4096,  4097,  8100,
                                   8160, 8175, 8191, 8192, 8193, 9999, 16384, 32767, 32768, 65535, 65536};
    enum { N = sizeof sizes / sizeof sizes[0] };
    otok_sample sample;
    for (uint32_t i = 0; i < N; i++) {
        otok_kit_sample(kit, &sample, i);
        otok_kit_body(kit, &sample, i, sizes[i]);
        otok_kit_insert(kit, &sample);
    }
    for (uint32_t i = 0; i < N; i++) {
        otok_kit_sample(kit, &sample, i);
        sample.record.version++;
        otok_kit_body(kit, &sample, i + 1, sizes[N - 1 - i]);
        otok_kit_write(kit, OTOK_WRITE_PUT, sample.record.version - 1, &sample.record, OTOK_OK, "PUT of another size");
    }
    for (uint32_t i = 0; i < N; i++) {
        otok_kit_sample(kit, &sample, i);
        sample.record.version++;
        otok_kit_body(kit, &sample, i + 1, sizes[N - 1 - i]);
        otok_kit_expect_record(kit, &sample.record, "bodies of many sizes, each put over one of another size");
    }
}

static void every_kind(otok_kit *kit)
{
    otok_sample sample;
    for (uint32_t kind = OTOK_RECORD_SESSION; kind <= OTOK_RECORD_TOMBSTONE; kind++) {
        otok_kit_sample(kit, &sample, kind);
        sample.record.kind = kind;
        insert_and_expect(kit, &sample, "a record of each kind");
    }
}

static void whole_numbers(otok_kit *kit)
{
    static const uint64_t versions[] = {0, 1, UINT64_C(1) << 31, UINT64_C(1) << 32, UINT64_C(1) << 63, UINT64_MAX};
    static const int64_t times[] = {0, -1, INT64_MIN, INT64_MAX, INT64_MIN + 1, INT64_C(253402300799999999)};
    otok_sample sample;
    for (uint32_t i = 0; i < 6; i++) {
        otok_kit_sample(kit, &sample, i);
        sample.record.version = versions[i];
        sample.record.created_us = times[i];
        sample.record.sweep_us = times[5 - i];
        otok_kit_add_key(&sample, OTOK_INDEX_REALM, 1);
        otok_kit_add_key(&sample, OTOK_INDEX_SWEEP, 1);
        insert_and_expect(kit, &sample, "numbers at their bounds");
    }
    sample.record.version = 0;
    otok_kit_write(kit, OTOK_WRITE_PUT, UINT64_MAX, &sample.record, OTOK_OK,
                   "PUT that takes the version from 2^64 - 1 to 0");
    otok_kit_expect_record(kit, &sample.record, "after the version went from 2^64 - 1 to 0");
}

static void whole_ids(otok_kit *kit)
{
    otok_sample sample;
    otok_kit_sample(kit, &sample, 1);
    for (uint32_t i = 0; i < 19; i++) {
        memset(&sample.record.id, i == 18 ? 0xff : 0, sizeof sample.record.id);
        if (i < 16)
            sample.record.id.bytes[i] = i % 2 == 0 ? 0x80 : 1;
        else if (i == 17)
            memset(&sample.record.id, ' ', sizeof sample.record.id);
        sample.record.version = i;
        insert_and_expect(kit, &sample, "ids that differ in one byte, or are all of one byte");
    }
}

const otok_clause otok_clauses_record[] = {
    {"insert_then_fetch_returns_every_member", "INSERT stores `record`", every_member, 0},
    {"bytes_are_opaque", "names, head, body, ids and digests are bytes with a length, not text", opaque_bytes, 0},
    {"empty_members_stay_empty", "data may be NULL when len is 0", empty_members, 0},
    {"full_members_are_kept", "a record may have 8 keys, 8 links, names of 255, a head of 24, a body of 65536 bytes",
     full_members, 0},
    {"bodies_of_every_size_are_kept", "a body has at most OTOK_MAX_BODY bytes, opaque", body_sizes, 0},
    {"every_kind_is_stored", "the kinds of record are 1 to 7", every_kind, 0},
    {"numbers_keep_all_their_bits", "version is 64 bits and wraps, created_us and sweep_us are signed 64 bits",
     whole_numbers, 0},
    {"ids_are_compared_bytewise", "16 bytes, unique over realms and kinds; compared bytewise", whole_ids, 0},
    {NULL, NULL, NULL, 0},
};
