/*
 * raw.c
 *
 * SPDX-License-Identifier: MIT
 */
#include "support/raw.h"

#include <check.h>
#include <string.h>
#include <unistd.h>

#include "support/fixture.h"

static uint8_t noise[OTOK_MAX_BODY]; /* what bodies are made of: byte i is always the same */

static void __attribute__((__constructor__)) make_noise(void)
{
    static const uint8_t primes[] = {3, 7, 31, 127};
    for (size_t i = 0; i < OTOK_MAX_BODY; i++)
        noise[i] = (uint8_t)(i * primes[i % 4] + 1);
}

otok_id test_raw_id(uint32_t number)
{
    otok_id id = {.bytes = {1}};
    for (size_t i = 0; i < 4; i++)
        id.bytes[1 + i] = (uint8_t)(number >> (24 - 8 * i));
    return id;
}

otok_record test_raw_record(uint32_t number, uint32_t kind, uint64_t version, size_t body_len)
{
    static const otok_index_key key = {.index = OTOK_INDEX_REALM, .digest = {0x52}};
    return (otok_record){.size = sizeof(otok_record),
                         .kind = kind,
                         .id = test_raw_id(number),
                         .version = version,
                         .created_us = number,
                         .keys = &key,
                         .nkeys = 1,
                         .head = {"head", 4},
                         .body = {noise, body_len}};
}

int test_raw_write(otok_store *store, uint32_t op, uint64_t expect, const otok_record *record, otok_error *err)
{
    otok_write write = {.op = op, .expect = expect, .record = record};
    otok_group group = {.writes = &write, .n = 1};
    int rc = otok_store_commit(store, &group, 1, err);
    if (rc != OTOK_OK)
        return rc;
    if (err != NULL)
        *err = group.error;
    return group.result;
}

int test_raw_insert(otok_store *store, uint32_t number, size_t body_len)
{
    otok_record record = test_raw_record(number, OTOK_RECORD_SESSION, 1, body_len);
    return test_raw_write(store, OTOK_WRITE_INSERT, 0, &record, NULL);
}

int test_raw_head(otok_store *store, uint32_t number, uint64_t expect)
{
    otok_record record = {.size = sizeof record, .id = test_raw_id(number), .version = expect + 1, .head = {"new", 3}};
    return test_raw_write(store, OTOK_WRITE_HEAD, expect, &record, NULL);
}

int test_raw_delete(otok_store *store, uint32_t number, uint64_t expect)
{
    otok_record record = {.size = sizeof record, .id = test_raw_id(number)};
    return test_raw_write(store, OTOK_WRITE_DELETE, expect, &record, NULL);
}

static int take_version(void *arg, const otok_record *record)
{
    *(uint64_t *)arg = record->version;
    if (record->body.len != 0 && memcmp(record->body.data, noise, record->body.len) != 0)
        ck_abort_msg("another body was read than was written");
    return 0;
}

uint64_t test_raw_version(otok_store *store, uint32_t number)
{
    otok_id id = test_raw_id(number);
    uint64_t version = 0;
    otok_error err;
    if (otok_store_fetch(store, &id, 1, 0, take_version, &version, &err) != OTOK_OK)
        ck_abort_msg("fetch: %s", err.message);
    return version;
}

uint64_t test_raw_count(otok_store *store)
{
    otok_record record = test_raw_record(0, OTOK_RECORD_SESSION, 1, 0);
    uint64_t count = 0;
    otok_error err;
    if (otok_store_count(store, record.keys, &count, &err) != OTOK_OK)
        ck_abort_msg("count: %s", err.message);
    return count;
}

int test_raw_raise(otok_store *store, uint32_t number)
{
    int rc;
    do
        rc = test_raw_head(store, number, test_raw_version(store, number));
    while (rc == OTOK_E_CONFLICT);
    return rc;
}

otok_store *test_open_lmdb(const char *folder, const otok_lmdb_options *options)
{
    otok_store *store;
    otok_error err;
    if (otok_store_open_lmdb(folder, options, &store, &err) != OTOK_OK)
        ck_abort_msg("open: %s", err.message);
    return store;
}

void test_leave_child(bool good)
{
    (void)execl("/bin/sh", "sh", "-c", good ? "exit 0" : "exit 1", (char *)NULL);
    _exit(2);
}

START_TEST(without_lmdb_opening_says_so)
{
    otok_store *store;
    test_assert_code(OTOK_E_UNSUPPORTED, otok_store_open_lmdb("/nowhere", NULL, &store, NULL));
    ck_assert_ptr_null(store);
}
END_TEST

static void add_without_lmdb(TCase *tcase)
{
    tcase_add_test(tcase, without_lmdb_opening_says_so);
}

int test_without_lmdb(const char *name)
{
    return test_main(name, add_without_lmdb);
}
