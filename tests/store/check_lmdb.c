/*
 * check_lmdb.c - what the LMDB store makes of records: their bytes, their sizes, their places, and damage (S1, S2).
 *
 * SPDX-License-Identifier: MIT
 */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "store/lmdb.h"
#include "support/fixture.h"
#include "support/raw.h"

#ifdef OTOK_HAVE_LMDB

static char *folder;
static char path[4096];

static void set_up(void)
{
    folder = test_new_folder();
    (void)snprintf(path, sizeof path, "%s/store", folder);
}

static void tear_down(void)
{
    test_remove_folder(folder);
}

/* ---------------------------------------------------------------------------------------------------- bytes */

static const otok_id some_id = {.bytes = {1, 2, 3}};

/* A record with everything that a record may have, as long as it may be. */
static otok_record full_record(void)
{
    static otok_index_key keys[OTOK_MAX_KEYS];
    static otok_id links[OTOK_MAX_LINKS];
    static char name[OTOK_MAX_NAME + 1];
    otok_record record = test_raw_record(1, OTOK_RECORD_SESSION, UINT64_MAX - 1, OTOK_MAX_BODY);
    for (size_t i = 0; i < OTOK_MAX_KEYS; i++) {
        keys[i].index = (uint32_t)(OTOK_INDEX_MAX - i);
        memset(keys[i].digest, (int)(0xa0 + i), sizeof keys[i].digest);
        memset(links[i].bytes, (int)(0xb0 + i), sizeof links[i].bytes);
    }
    memset(name, 'n', OTOK_MAX_NAME);
    record.keys = keys;
    record.nkeys = OTOK_MAX_KEYS;
    record.links = links;
    record.nlinks = OTOK_MAX_LINKS;
    record.realm = record.subject = record.client = otok_str_of(name);
    record.head = (otok_str){"123456789012345678901234", OTOK_MAX_HEAD};
    record.created_us = INT64_MIN;
    record.sweep_us = -1;
    return record;
}

START_TEST(the_largest_record_fits_a_value_and_comes_back)
{
    static uint8_t value[OTOK_LMDB_MAX_VALUE + 1]; /* odd: nothing in it is aligned */
    otok_record record = full_record();
    otok_lmdb_view view;
    size_t len = otok_lmdb_encode(value + 1, &record, record.created_us);
    ck_assert_uint_eq(len, OTOK_LMDB_MAX_VALUE);
    ck_assert(otok_lmdb_decode(&view, &record.id, value + 1, len));
    ck_assert_uint_eq(view.record.version, record.version);
    ck_assert_int_eq(view.record.created_us, record.created_us);
    ck_assert_int_eq(view.record.sweep_us, record.sweep_us);
    ck_assert_uint_eq(view.record.nkeys, record.nkeys);
    for (size_t i = 0; i < record.nkeys; i++) {
        ck_assert_uint_eq(view.record.keys[i].index, record.keys[i].index);
        ck_assert_mem_eq(view.record.keys[i].digest, record.keys[i].digest, 16);
    }
    ck_assert_mem_eq(view.record.links, record.links, sizeof(otok_id) * OTOK_MAX_LINKS);
    ck_assert(otok_str_eq(view.record.realm, record.realm));
    ck_assert(otok_str_eq(view.record.subject, record.subject));
    ck_assert(otok_str_eq(view.record.client, record.client));
    ck_assert(otok_str_eq(view.record.head, record.head));
    ck_assert(otok_str_eq(view.record.body, record.body));
}
END_TEST

START_TEST(a_value_cut_short_anywhere_before_its_body_is_refused)
{
    static uint8_t value[OTOK_LMDB_MAX_VALUE];
    otok_record record = full_record();
    otok_lmdb_view view;
    record.body.len = 0;
    size_t len = otok_lmdb_encode(value, &record, 0);
    for (size_t cut = 0; cut < len; cut++) {
        uint8_t *exact = malloc(cut != 0 ? cut : 1); /* so that a sanitizer sees any reading beyond it */
        memcpy(exact, value, cut);
        ck_assert(!otok_lmdb_decode(&view, &some_id, exact, cut));
        free(exact);
    }
    ck_assert(otok_lmdb_decode(&view, &some_id, value, len));
}
END_TEST

START_TEST(a_value_that_no_record_could_have_made_is_refused)
{
    static uint8_t value[OTOK_LMDB_MAX_VALUE + 1], good[OTOK_LMDB_MAX_VALUE + 1];
    static const struct {
        size_t at;
        uint8_t byte;
    } rows[] = {
        {0, 0}, {0, 2}, {1, 0}, {1, 8}, {2, 9}, {3, 9}, {4, 25}, {OTOK_LMDB_HEAD_AT + 4, 1}, {OTOK_LMDB_KEYS_AT, 0},
    };
    otok_lmdb_view view;
    otok_record record = test_raw_record(1, OTOK_RECORD_SESSION, 1, 10);
    size_t len = otok_lmdb_encode(good, &record, 0);
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        memcpy(value, good, len);
        ck_assert(otok_lmdb_decode(&view, &some_id, value, len));
        value[rows[i].at] = rows[i].byte;
        ck_assert_msg(!otok_lmdb_decode(&view, &some_id, value, len), "row %zu", i);
    }
    record = full_record();
    len = otok_lmdb_encode(value, &record, 0);
    ck_assert(!otok_lmdb_decode(&view, &some_id, value, len + 1)); /* a body that is too long */
}
END_TEST

/* PF10: what a session is listed under and what lies over it are the same digests. */
START_TEST(a_digest_is_stored_once_however_many_keys_and_links_have_it)
{
    static uint8_t value[OTOK_LMDB_MAX_VALUE];
    enum { DIGESTS = 3, KEYS = 4, LINKS = 3 };
    static const uint8_t of_key[KEYS] = {0, 1, 0, 2}, of_link[LINKS] = {0, 2, 1};
    otok_index_key four[KEYS];
    otok_id three[LINKS];
    for (uint8_t i = 0; i < KEYS; i++) {
        four[i].index = i + 1U;
        memset(four[i].digest, of_key[i], sizeof four[i].digest);
    }
    for (uint8_t i = 0; i < LINKS; i++)
        memset(three[i].bytes, of_link[i], sizeof three[i].bytes);
    otok_record record = test_raw_record(1, OTOK_RECORD_SESSION, 1, 0);
    record.nkeys = record.nlinks = 0;
    size_t bare = otok_lmdb_encode(value, &record, 0);
    record.keys = four;
    record.nkeys = KEYS;
    record.links = three;
    record.nlinks = LINKS;
    size_t len = otok_lmdb_encode(value, &record, 0);
    ck_assert_uint_eq(len, bare + 2 * KEYS + LINKS + 16 * DIGESTS);

    otok_lmdb_view view;
    ck_assert(otok_lmdb_decode(&view, &record.id, value, len));
    ck_assert_uint_eq(view.record.nkeys, KEYS);
    ck_assert_mem_eq(view.record.keys, four, sizeof four);
    ck_assert_uint_eq(view.record.nlinks, LINKS);
    ck_assert_mem_eq(view.record.links, three, sizeof three);

    /* A number beyond the next one; two numbers for one digest. */
    uint8_t *numbers = value + OTOK_LMDB_KEYS_AT + KEYS, *digests = numbers + KEYS + LINKS;
    numbers[1] = 2;
    ck_assert(!otok_lmdb_decode(&view, &record.id, value, len));
    numbers[1] = 1;
    ck_assert(otok_lmdb_decode(&view, &record.id, value, len));
    memset(digests + 16 * 2, 1, 16);
    ck_assert(!otok_lmdb_decode(&view, &record.id, value, len));
}
END_TEST

START_TEST(index_entries_sort_as_their_times_do)
{
    static const int64_t times[] = {INT64_MIN, -1000, -1, 0, 1, 255, 256, INT64_MAX};
    uint8_t before[OTOK_LMDB_ENTRY_SIZE], entry[OTOK_LMDB_ENTRY_SIZE];
    for (size_t i = 0; i < sizeof times / sizeof times[0]; i++) {
        otok_lmdb_index_entry(entry, times[i], &some_id);
        ck_assert(i == 0 || memcmp(before, entry, sizeof entry) < 0);
        memcpy(before, entry, sizeof entry);
    }
}
END_TEST

/* ---------------------------------------------------------------------------------------------------- sizes */

/* Values of these sizes lie in a leaf, at its limit, and on pages of their own. */
static const size_t body_lens[] = {0, 1, 1800, 1900, 2000, 3000, 4096, 8000, 65535, 65536};

START_TEST(records_of_every_size_survive_every_write)
{
    enum { N = sizeof body_lens / sizeof body_lens[0] };
    otok_lmdb_options options;
    otok_lmdb_options_init(&options, sizeof options);
    options.no_sync = 1;
    otok_store *store = test_open_lmdb(path, &options);
    for (uint32_t i = 0; i < N; i++)
        test_assert_code(OTOK_OK, test_raw_insert(store, i, body_lens[i]));
    for (uint32_t shift = 1; shift <= 2 * N; shift++) { /* each takes every size once, with heads in between */
        for (uint32_t i = 0; i < N; i++) {
            uint64_t version = test_raw_version(store, i);
            otok_record record = test_raw_record(i, OTOK_RECORD_SESSION, version + 2, body_lens[(i + shift) % N]);
            test_assert_code(OTOK_OK, test_raw_head(store, i, version));
            test_assert_code(OTOK_OK, test_raw_write(store, OTOK_WRITE_PUT, version + 1, &record, NULL));
        }
        for (uint32_t i = 0; i < N; i++)
            ck_assert_uint_eq(test_raw_version(store, i), 1 + 2 * (uint64_t)shift);
        ck_assert_uint_eq(test_raw_count(store), N);
    }
    for (uint32_t i = 0; i < N; i++)
        test_assert_code(OTOK_OK, test_raw_delete(store, i, 1 + 4 * (uint64_t)N));
    ck_assert_uint_eq(test_raw_count(store), 0);
    otok_store_close(store);
}
END_TEST

/*
 * One group with all of it: what points into the map must not be used once something was written (seen: lost values).
 */
START_TEST(a_group_of_large_records_is_written_whole)
{
    enum { N = 12 };
    otok_record records[N];
    otok_write writes[N];
    otok_store *store = test_open_lmdb(path, NULL);
    for (uint32_t round = 0; round < 20; round++) {
        for (uint32_t i = 0; i < N; i++) {
            records[i] = test_raw_record(i, OTOK_RECORD_SESSION, round + 1, 2000 + 500 * ((i + round) % N));
            records[i].head = (otok_str){"changed", round % 8};
            uint32_t op = round == 0 ? OTOK_WRITE_INSERT : (i % 2 == 0 ? OTOK_WRITE_PUT : OTOK_WRITE_HEAD);
            writes[i] = (otok_write){.op = op, .expect = round, .record = &records[i]};
        }
        otok_group group = {.writes = writes, .n = N};
        test_assert_code(OTOK_OK, otok_store_commit(store, &group, 1, NULL));
        test_assert_code(OTOK_OK, group.result);
        for (uint32_t i = 0; i < N; i++)
            ck_assert_uint_eq(test_raw_version(store, i), round + 1);
    }
    otok_store_close(store);
}
END_TEST

typedef struct small_map {
    int opened;
} small_map;

static int open_small(void *user, int32_t fresh, otok_store **out, otok_error *err)
{
    char store[4200];
    otok_lmdb_options options;
    small_map *s = user;
    s->opened += fresh;
    otok_lmdb_options_init(&options, sizeof options);
    options.map_size = 65536;
    (void)snprintf(store, sizeof store, "%s/%d", folder, s->opened);
    return otok_store_open_lmdb(store, &options, out, err);
}

START_TEST(the_contract_holds_in_a_map_that_must_grow_all_the_time)
{
    small_map s = {0};
    otok_conform kit = {.size = sizeof kit, .user = &s, .open = open_small, .seed = 4711};
    otok_error err = {0};
    int rc = otok_store_conform(&kit, &err);
    ck_assert_msg(rc == OTOK_OK, "%s", err.message);
}
END_TEST

/* ---------------------------------------------------------------------------------------------------- places */

typedef struct rows {
    uint32_t numbers[4096];
    size_t n;
} rows;

static int take_row(void *arg, const otok_record *record)
{
    rows *r = arg;
    const uint8_t *b = record->id.bytes;
    r->numbers[r->n++] = (uint32_t)b[1] << 24 | (uint32_t)b[2] << 16 | (uint32_t)b[3] << 8 | b[4];
    return 0;
}

/* Kinds lie in two databases, and are scanned as one. */
START_TEST(records_of_both_databases_are_scanned_in_the_order_of_their_ids)
{
    enum { N = 100 };
    otok_lmdb_options options;
    otok_lmdb_options_init(&options, sizeof options);
    options.no_sync = 1;
    otok_store *store = test_open_lmdb(path, &options);
    for (uint32_t i = 0; i < N; i++) {
        uint32_t number = i * 37 % N; /* in no order */
        otok_record record = test_raw_record(number, 1 + number % OTOK_RECORD_TOMBSTONE, 1, 10);
        test_assert_code(OTOK_OK, test_raw_write(store, OTOK_WRITE_INSERT, 0, &record, NULL));
        test_assert_code(OTOK_E_CONFLICT, test_raw_write(store, OTOK_WRITE_INSERT, 0, &record, NULL));
    }
    for (uint32_t flags = 0; flags <= OTOK_SCAN_DESCENDING; flags++) {
        otok_scan scan = {.size = sizeof scan, .flags = flags, .limit = 7};
        rows r = {.n = 0};
        for (;;) {
            size_t before = r.n;
            test_assert_code(OTOK_OK, otok_store_scan(store, &scan, take_row, &r, NULL));
            if (r.n - before < scan.limit)
                break;
            scan.flags |= OTOK_SCAN_AFTER;
            scan.after = test_raw_id(r.numbers[r.n - 1]);
        }
        ck_assert_uint_eq(r.n, N);
        for (uint32_t i = 0; i < N; i++)
            ck_assert_uint_eq(r.numbers[i], (flags & OTOK_SCAN_DESCENDING) != 0 ? N - 1 - i : i);
    }
    otok_store_close(store);
}
END_TEST

START_TEST(a_record_of_either_database_can_become_a_tombstone_where_it_is)
{
    static const uint32_t kinds[] = {OTOK_RECORD_SESSION, OTOK_RECORD_PAIR};
    otok_store *store = test_open_lmdb(path, NULL);
    for (uint32_t i = 0; i < 2; i++) {
        otok_record record = test_raw_record(i, kinds[i], 1, 3000);
        otok_record gone = test_raw_record(i, OTOK_RECORD_TOMBSTONE, 2, 0);
        test_assert_code(OTOK_OK, test_raw_write(store, OTOK_WRITE_INSERT, 0, &record, NULL));
        test_assert_code(OTOK_OK, test_raw_write(store, OTOK_WRITE_PUT, 1, &gone, NULL));
        ck_assert_uint_eq(test_raw_version(store, i), 2);
        test_assert_code(OTOK_E_CONFLICT, test_raw_write(store, OTOK_WRITE_INSERT, 0, &record, NULL));
        test_assert_code(OTOK_OK, test_raw_delete(store, i, 2));
        ck_assert_uint_eq(test_raw_version(store, i), 0);
    }
    ck_assert_uint_eq(test_raw_count(store), 0);
    otok_store_close(store);
}
END_TEST

/*
 * As many ids as a fetch may have, each with as many links: among them ids asked for, absent ones, and the same again.
 */
START_TEST(the_largest_fetch_emits_each_record_once)
{
    static otok_id ids[OTOK_MAX_FETCH], links[OTOK_MAX_LINKS];
    static rows r;
    static uint8_t seen[OTOK_MAX_FETCH + 4];
    otok_lmdb_options options;
    otok_lmdb_options_init(&options, sizeof options);
    options.no_sync = 1;
    otok_store *store = test_open_lmdb(path, &options);
    for (uint32_t i = 0; i < OTOK_MAX_FETCH + 4; i++) {
        otok_record record = test_raw_record(i, i < OTOK_MAX_FETCH ? OTOK_RECORD_SESSION : OTOK_RECORD_CUTOFF, 1, 10);
        for (uint32_t n = 0; n < OTOK_MAX_LINKS; n++) /* four outside, two that were asked for, two absent */
            links[n] = test_raw_id(n < 4 ? OTOK_MAX_FETCH + n : (n < 6 ? (i * 7 + n) % OTOK_MAX_FETCH : 100000 + n));
        record.links = links;
        record.nlinks = OTOK_MAX_LINKS;
        test_assert_code(OTOK_OK, test_raw_write(store, OTOK_WRITE_INSERT, 0, &record, NULL));
    }
    for (uint32_t i = 0; i < OTOK_MAX_FETCH; i++)
        ids[i] = test_raw_id(i * 5 % OTOK_MAX_FETCH);
    ids[0] = ids[1]; /* one twice */
    test_assert_code(OTOK_OK, otok_store_fetch(store, ids, OTOK_MAX_FETCH, OTOK_FETCH_LINKS, take_row, &r, NULL));
    for (size_t i = 0; i < r.n; i++) {
        ck_assert_uint_lt(r.numbers[i], OTOK_MAX_FETCH + 4);
        ck_assert_uint_eq(seen[r.numbers[i]]++, 0);
    }
    ck_assert_uint_eq(r.n, OTOK_MAX_FETCH + 4); /* the one not asked for is linked to */
    otok_store_close(store);
}
END_TEST

/* ---------------------------------------------------------------------------------------------------- damage */

/* Changes a database with LMDB itself, nothing of ours having it open. */
static void tamper(const char *database, uint32_t number, const void *value, size_t len)
{
    MDB_env *env;
    MDB_txn *txn;
    MDB_dbi dbi;
    otok_id id = test_raw_id(number);
    MDB_val key = {.mv_size = sizeof id.bytes, .mv_data = id.bytes};
    MDB_val data = {.mv_size = len, .mv_data = (void *)(uintptr_t)value};
    ck_assert_int_eq(mdb_env_create(&env), 0);
    ck_assert_int_eq(mdb_env_set_maxdbs(env, 8), 0);
    ck_assert_int_eq(mdb_env_open(env, path, 0, 0600), 0);
    ck_assert_int_eq(mdb_txn_begin(env, NULL, 0, &txn), 0);
    ck_assert_int_eq(mdb_dbi_open(txn, database, 0, &dbi), 0);
    ck_assert_int_eq(value != NULL ? mdb_put(txn, dbi, &key, &data, 0) : mdb_del(txn, dbi, &key, NULL), 0);
    ck_assert_int_eq(mdb_txn_commit(txn), 0);
    mdb_env_close(env);
}

static int count_row(void *arg, const otok_record *record)
{
    (void)record;
    ++*(int *)arg;
    return 0;
}

START_TEST(a_damaged_record_is_an_error_of_format_and_harms_no_other)
{
    otok_store *store = test_open_lmdb(path, NULL);
    test_assert_code(OTOK_OK, test_raw_insert(store, 1, 10));
    test_assert_code(OTOK_OK, test_raw_insert(store, 2, 10));
    otok_store_close(store);
    tamper("records", 1, "not a record", 12);

    store = test_open_lmdb(path, NULL);
    otok_id id = test_raw_id(1);
    otok_scan scan = {.size = sizeof scan, .limit = 10};
    int n = 0;
    test_assert_code(OTOK_E_FORMAT, otok_store_fetch(store, &id, 1, 0, count_row, &n, NULL));
    test_assert_code(OTOK_E_FORMAT, otok_store_scan(store, &scan, count_row, &n, NULL));
    ck_assert_int_eq(n, 0);
    test_assert_code(OTOK_E_FORMAT, test_raw_head(store, 1, 1));
    test_assert_code(OTOK_OK, test_raw_head(store, 2, 1));
    otok_store_close(store);
}
END_TEST

START_TEST(an_index_entry_without_its_record_is_an_error_of_format)
{
    otok_store *store = test_open_lmdb(path, NULL);
    test_assert_code(OTOK_OK, test_raw_insert(store, 1, 10));
    otok_store_close(store);
    tamper("records", 1, NULL, 0);

    store = test_open_lmdb(path, NULL);
    otok_record record = test_raw_record(1, OTOK_RECORD_SESSION, 1, 10);
    otok_scan scan = {.size = sizeof scan, .limit = 10, .key = record.keys[0]};
    int n = 0;
    test_assert_code(OTOK_E_FORMAT, otok_store_scan(store, &scan, count_row, &n, NULL));
    ck_assert_int_eq(n, 0);
    otok_store_close(store);
}
END_TEST

static void add(TCase *tcase)
{
    tcase_add_checked_fixture(tcase, set_up, tear_down);
    tcase_add_test(tcase, the_largest_record_fits_a_value_and_comes_back);
    tcase_add_test(tcase, a_value_cut_short_anywhere_before_its_body_is_refused);
    tcase_add_test(tcase, a_value_that_no_record_could_have_made_is_refused);
    tcase_add_test(tcase, a_digest_is_stored_once_however_many_keys_and_links_have_it);
    tcase_add_test(tcase, index_entries_sort_as_their_times_do);
    tcase_add_test(tcase, records_of_every_size_survive_every_write);
    tcase_add_test(tcase, a_group_of_large_records_is_written_whole);
    tcase_add_test(tcase, the_contract_holds_in_a_map_that_must_grow_all_the_time);
    tcase_add_test(tcase, records_of_both_databases_are_scanned_in_the_order_of_their_ids);
    tcase_add_test(tcase, a_record_of_either_database_can_become_a_tombstone_where_it_is);
    tcase_add_test(tcase, the_largest_fetch_emits_each_record_once);
    tcase_add_test(tcase, a_damaged_record_is_an_error_of_format_and_harms_no_other);
    tcase_add_test(tcase, an_index_entry_without_its_record_is_an_error_of_format);
}

int main(void)
{
    return test_main("lmdb records", add);
}

#else

int main(void)
{
    return test_without_lmdb("lmdb records");
}

#endif
