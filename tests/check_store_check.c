/*
 * check_store_check.c - S4: a store of LMDB that was damaged, of each sort, is found out, and repaired where the records tell how.
 * Other stores, and stores in use: check_store_check_live.c.
 *
 * SPDX-License-Identifier: MIT
 */
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "format/format.h"
#include "store/lmdb.h"
#include "support/raw.h"
#include "support/records.h"
#include "support/transfer.h"

#ifdef OTOK_HAVE_LMDB

static char *folder;
static const otok_index_key KEY_OF_ALL = {.index = OTOK_INDEX_REALM, .digest = {0x52}};

static void set_up(void)
{
    folder = test_new_folder();
}

static void tear_down(void)
{
    test_remove_folder(folder);
}

/* ---------------------------------------------------------------------------------------------------- behind its back */

/* The environment of a folder whose store is closed. */
typedef struct bare {
    MDB_env *env;
    MDB_txn *txn;
    MDB_dbi records, links, index;
} bare;

static void must(int rc)
{
    ck_assert_msg(rc == MDB_SUCCESS, "%s", mdb_strerror(rc));
}

static bare bare_open(void)
{
    bare b;
    must(mdb_env_create(&b.env));
    must(mdb_env_set_maxdbs(b.env, 8));
    must(mdb_env_set_mapsize(b.env, (size_t)1 << 30));
    must(mdb_env_open(b.env, folder, MDB_NOLOCK, 0600));
    must(mdb_txn_begin(b.env, NULL, 0, &b.txn));
    must(mdb_dbi_open(b.txn, "records", 0, &b.records));
    must(mdb_dbi_open(b.txn, "links", 0, &b.links));
    must(mdb_dbi_open(b.txn, "index", MDB_DUPSORT | MDB_DUPFIXED, &b.index));
    return b;
}

static void bare_close(bare *b)
{
    must(mdb_txn_commit(b->txn));
    mdb_env_close(b->env);
}

static MDB_val val_of(void *data, size_t size)
{
    return (MDB_val){.mv_size = size, .mv_data = data};
}

/* Removes, or files, the entry of that record under that key. */
static void change_entry(bare *b, bool file, const otok_index_key *index_key, int64_t order_us, uint32_t number)
{
    uint8_t key_bytes[OTOK_LMDB_KEY_SIZE], entry[OTOK_LMDB_ENTRY_SIZE];
    otok_id id = test_raw_id(number);
    otok_lmdb_index_key(key_bytes, index_key);
    otok_lmdb_index_entry(entry, order_us, &id);
    MDB_val key = val_of(key_bytes, sizeof key_bytes), value = val_of(entry, sizeof entry);
    must(file ? mdb_put(b->txn, b->index, &key, &value, 0) : mdb_del(b->txn, b->index, &key, &value));
}

static void store_value(bare *b, MDB_dbi where, uint32_t number, const void *data, size_t len)
{
    otok_id id = test_raw_id(number);
    MDB_val key = val_of(id.bytes, sizeof id.bytes), value = {.mv_size = len, .mv_data = (void *)(uintptr_t)data};
    must(mdb_put(b->txn, where, &key, &value, 0));
}

/* ---------------------------------------------------------------------------------------------------- a store */

static const otok_index_key KEY_OF_SWEEP = {.index = OTOK_INDEX_SWEEP, .digest = {0x57}};

/* Records 1 to n: filed under one key of all, one of a few, and one of their own; every tenth is a cutoff, which is elsewhere. */
static void fill(uint32_t n)
{
    otok_lmdb_options options;
    otok_lmdb_options_init(&options, sizeof options);
    options.no_sync = 1;
    otok_store *store = test_open_lmdb(folder, &options);
    for (uint32_t i = 1; i <= n; i++) {
        otok_index_key keys[] = {KEY_OF_ALL, {.index = OTOK_INDEX_CLIENT}, KEY_OF_SWEEP};
        otok_record record = test_raw_record(i, i % 10 == 0 ? OTOK_RECORD_CUTOFF : OTOK_RECORD_SESSION, 1, i % 300);
        memcpy(keys[1].digest, &i, sizeof i);
        record.keys = keys;
        record.nkeys = 3;
        record.sweep_us = -(int64_t)i;
        test_assert_code(OTOK_OK, test_raw_write(store, OTOK_WRITE_INSERT, 0, &record, NULL));
    }
    otok_store_close(store);
}

typedef struct findings {
    size_t n, mended;
    const char *wanted; /* in one of them at least */
    bool there;
    char last[512];
} findings;

static void on_finding(void *user, const char *what, int32_t mended)
{
    findings *f = user;
    f->n++;
    f->mended += mended != 0;
    f->there |= f->wanted != NULL && strstr(what, f->wanted) != NULL;
    (void)snprintf(f->last, sizeof f->last, "%s", what);
}

/* Checks, and compares what was counted with what was told. */
static otok_check check_store(int32_t repair, const char *wanted)
{
    otok_check result;
    otok_watch watch;
    findings told = {.wanted = wanted};
    otok_error err = {0};
    otok_store *store = test_open_lmdb(folder, NULL);
    otok_check_init(&result, sizeof result);
    otok_watch_init(&watch, sizeof watch);
    watch.user = &told;
    watch.finding = on_finding;
    int rc = otok_store_check(store, repair, &watch, &result, &err);
    ck_assert_msg(rc == OTOK_OK, "%s", err.message);
    ck_assert_uint_eq(result.findings, told.n);
    ck_assert_uint_eq(result.mended, told.mended);
    ck_assert_msg(wanted == NULL || told.there, "%s is not told; the last was: %s", wanted, told.last);
    otok_store_close(store);
    return result;
}

/* ---------------------------------------------------------------------------------------------------- damages */

enum { RECORDS = 600 };

static void entry_missing(bare *b)
{
    change_entry(b, false, &KEY_OF_ALL, 5, 5);
}

static void entry_of_sweep_missing(bare *b)
{
    change_entry(b, false, &KEY_OF_SWEEP, -5, 5);
}

static void entry_of_a_cutoff_missing(bare *b)
{
    change_entry(b, false, &KEY_OF_ALL, 20, 20);
}

static void entry_of_no_record(bare *b)
{
    change_entry(b, true, &KEY_OF_ALL, 5, RECORDS + 5);
}

static void entry_that_the_record_has_not(bare *b)
{
    const otok_index_key other = {.index = OTOK_INDEX_SID, .digest = {9}};
    change_entry(b, true, &other, 5, 5);
}

static void entry_at_another_time(bare *b)
{
    change_entry(b, true, &KEY_OF_ALL, 6, 5);
}

static void entry_moved(bare *b)
{
    change_entry(b, false, &KEY_OF_SWEEP, -5, 5);
    change_entry(b, true, &KEY_OF_SWEEP, -6, 5);
}

static void index_empty(bare *b)
{
    must(mdb_drop(b->txn, b->index, 0));
}

static void records_gone(bare *b)
{
    must(mdb_drop(b->txn, b->records, 0));
}

static void record_cut_short(bare *b)
{
    store_value(b, b->records, 5, "\1\1", 2);
}

static void record_newer(bare *b)
{
    static uint8_t value[OTOK_LMDB_MAX_VALUE];
    otok_record record = test_raw_record(5, OTOK_RECORD_SESSION, 1, 7);
    size_t len = otok_lmdb_encode(value, &record, 5);
    value[0]++;
    store_value(b, b->records, 5, value, len);
}

static void record_twice(bare *b)
{
    otok_id id = test_raw_id(5);
    MDB_val key = val_of(id.bytes, sizeof id.bytes), value;
    static uint8_t copy[OTOK_LMDB_MAX_VALUE];
    must(mdb_get(b->txn, b->records, &key, &value));
    memcpy(copy, value.mv_data, value.mv_size);
    store_value(b, b->links, 5, copy, value.mv_size);
}

static void record_under_no_id(bare *b)
{
    uint8_t name[] = "not an id";
    MDB_val key = val_of(name, sizeof name), value = val_of(name, sizeof name);
    must(mdb_put(b->txn, b->records, &key, &value, 0));
}

/* So many that they are more than a page: the check comes to its end all the same. */
static void many_under_no_ids(bare *b)
{
    for (uint32_t i = 0; i < RECORDS; i++) {
        uint8_t name[sizeof i];
        memcpy(name, &i, sizeof i);
        MDB_val key = val_of(name, sizeof name), value = val_of(name, sizeof name);
        must(mdb_put(b->txn, b->records, &key, &value, 0));
    }
}

static void many_entries_of_no_length(bare *b)
{
    for (uint32_t i = 0; i < RECORDS; i++) {
        uint8_t name[] = {0xff, 0xff, 0xff, 0xff}, entry[OTOK_LMDB_ENTRY_SIZE] = {0};
        memcpy(entry, &i, sizeof i);
        MDB_val key = val_of(name, sizeof name), value = val_of(entry, sizeof entry);
        must(mdb_put(b->txn, b->index, &key, &value, 0));
    }
}

/* `left` after a repair, as records are never changed. */
static const struct row {
    void (*damage)(bare *b);
    const char *said;
    uint64_t findings, left;
} rows[] = {
    {entry_missing, "is missing in index 1", 1, 0},
    {entry_of_sweep_missing, "is missing in index 6", 1, 0},
    {entry_of_a_cutoff_missing, "is missing in index 1", 1, 0},
    {entry_of_no_record, "does not have an entry that index 1 has", 1, 0},
    {entry_that_the_record_has_not, "does not have an entry that index 5 has", 1, 0},
    {entry_at_another_time, "does not have an entry that index 1 has", 1, 0},
    {entry_moved, "index 6", 2, 0},
    {index_empty, "is missing in index 3", 3 * RECORDS, 0},
    {records_gone, "does not have an entry", 3 * (RECORDS - RECORDS / 10), 0},
    {record_cut_short, "cannot be read", 1, 1},
    {record_newer, "cannot be read", 1, 1},
    {record_twice, "is there twice", 1, 1},
    {record_under_no_id, "filed under something that is no id", 1, 1},
    {many_under_no_ids, "filed under something that is no id", RECORDS, RECORDS},
    {many_entries_of_no_length, "has a length that is not one", RECORDS, RECORDS},
};

START_TEST(damage_is_found_and_mended_where_the_records_tell_how)
{
    const struct row *row = &rows[_i];
    fill(RECORDS);
    bare b = bare_open();
    row->damage(&b);
    bare_close(&b);

    otok_check found = check_store(0, row->said), again = check_store(0, row->said);
    ck_assert_uint_eq(found.findings, row->findings);
    ck_assert_uint_eq(found.mended, 0);
    ck_assert_uint_eq(again.findings, found.findings); /* nothing was changed */
    found = check_store(1, row->said);
    ck_assert_uint_eq(found.findings, row->findings);
    ck_assert_uint_eq(found.mended, row->findings - row->left);
    found = check_store(0, row->left != 0 ? row->said : NULL);
    ck_assert_uint_eq(found.findings, row->left);
}
END_TEST

/* The id stands in the sentence as an administrator knows it. */
START_TEST(a_finding_names_the_record)
{
    enum { ID_CHARS = 22 };
    char text[ID_CHARS + 1] = "";
    otok_id id = test_raw_id(5);
    fill(10);
    bare b = bare_open();
    entry_missing(&b);
    bare_close(&b);
    otok_base64url(id.bytes, sizeof id.bytes, text);
    (void)check_store(0, text);
}
END_TEST

/* Every place of a page, in both directions: the first, the last, those around where one page ends and the next begins. */
START_TEST(damage_is_found_wherever_it_is)
{
    static const uint32_t numbers[] = {1, 255, 256, 257, 511, 512, 513};
    uint32_t n = numbers[_i];
    fill(n);
    otok_check clean = check_store(0, NULL);
    ck_assert_uint_eq(clean.findings, 0);
    ck_assert_uint_eq(clean.records, n);
    ck_assert_uint_eq(clean.index_entries, 3 * n);
    const uint32_t places[] = {1, n / 2 + 1, n - 1, n, 255, 256, 257};
    for (size_t i = 0; i < sizeof places / sizeof places[0]; i++) {
        uint32_t at = places[i];
        if (at == 0 || at > n)
            continue;
        bare b = bare_open();
        change_entry(&b, false, &KEY_OF_ALL, at, at);
        change_entry(&b, true, &KEY_OF_ALL, at, n + at);
        change_entry(&b, false, &KEY_OF_SWEEP, -(int64_t)at, at);
        bare_close(&b);
        ck_assert_uint_eq(check_store(0, NULL).findings, 3);
        ck_assert_uint_eq(check_store(1, NULL).mended, 3);
        ck_assert_uint_eq(check_store(0, NULL).findings, 0);
    }
}
END_TEST

/* What was exported before the damage is what is exported after the repair, and the indexes work. */
START_TEST(a_repaired_store_is_the_one_before)
{
    otok_store *store;
    fill(RECORDS);
    store = test_open_lmdb(folder, NULL);
    test_file before = test_export(store);
    ck_assert_uint_eq(test_raw_count(store), RECORDS);
    otok_store_close(store);
    bare b = bare_open();
    index_empty(&b);
    bare_close(&b);
    ck_assert_uint_eq(check_store(1, NULL).mended, 3 * RECORDS);
    store = test_open_lmdb(folder, NULL);
    test_file after = test_export(store);
    ck_assert_uint_eq(before.len, after.len);
    ck_assert_mem_eq(before.data, after.data, before.len);
    ck_assert_uint_eq(test_raw_count(store), RECORDS);
    test_assert_code(OTOK_OK, test_raw_delete(store, 5, 1));
    ck_assert_uint_eq(test_raw_count(store), RECORDS - 1);
    otok_store_close(store);
    ck_assert_uint_eq(check_store(0, NULL).findings, 0);
    test_file_free(&before);
    test_file_free(&after);
}
END_TEST

START_TEST(sizes_are_those_of_the_file)
{
    otok_store *store;
    fill(RECORDS);
    otok_check full = check_store(0, NULL);
    ck_assert_uint_eq(full.sessions, RECORDS - RECORDS / 10);
    ck_assert_uint_eq(full.bytes % 4096, 0);
    ck_assert_uint_gt(full.bytes, (uint64_t)RECORDS * 150); /* a body of 150 on the average, and more */
    ck_assert_uint_lt(full.bytes_free, full.bytes);
    store = test_open_lmdb(folder, NULL);
    for (uint32_t i = 1; i <= RECORDS; i++)
        test_assert_code(OTOK_OK, test_raw_delete(store, i, 1));
    otok_store_close(store);
    otok_check empty = check_store(0, NULL);
    ck_assert_uint_eq(empty.records, 0);
    ck_assert_uint_ge(empty.bytes, full.bytes);
    ck_assert_uint_gt(empty.bytes_free, full.bytes / 2);
}
END_TEST

/* ---------------------------------------------------------------------------------------------------- ended, refused */

static int end_at_once(void *user, uint64_t done, uint64_t total)
{
    ck_assert_uint_le(done, total);
    ++*(int *)user;
    return 1;
}

START_TEST(a_repair_that_is_ended_changes_nothing)
{
    otok_check result;
    otok_watch watch;
    int calls = 0;
    fill(RECORDS);
    bare b = bare_open();
    index_empty(&b);
    bare_close(&b);
    otok_store *store = test_open_lmdb(folder, NULL);
    otok_check_init(&result, sizeof result);
    otok_watch_init(&watch, sizeof watch);
    watch.progress = end_at_once;
    watch.user = &calls;
    test_assert_code(OTOK_E_CALLBACK, otok_store_check(store, 1, &watch, &result, NULL));
    ck_assert_int_eq(calls, 1);
    ck_assert_uint_eq(result.mended, 0);
    test_assert_code(OTOK_E_CALLBACK, otok_store_check(store, 0, &watch, &result, NULL));
    test_assert_code(OTOK_OK, test_raw_insert(store, RECORDS + 1, 1)); /* the turn to write was given back */
    otok_store_close(store);
    ck_assert_uint_eq(check_store(0, NULL).findings, 3 * RECORDS);
}
END_TEST

START_TEST(a_store_that_is_only_read_is_checked_and_not_repaired)
{
    otok_check result;
    otok_lmdb_options options;
    fill(RECORDS);
    bare b = bare_open();
    entry_missing(&b);
    bare_close(&b);
    otok_lmdb_options_init(&options, sizeof options);
    options.read_only = 1;
    otok_store *store = test_open_lmdb(folder, &options);
    otok_check_init(&result, sizeof result);
    test_assert_code(OTOK_OK, otok_store_check(store, 0, NULL, &result, NULL));
    ck_assert_uint_eq(result.findings, 1);
    test_assert_code(OTOK_E_STATE, otok_store_check(store, 1, NULL, &result, NULL));
    otok_store_close(store);
}
END_TEST

START_TEST(a_child_does_not_check_what_it_inherited)
{
    int status = 0;
    fill(10);
    otok_store *store = test_open_lmdb(folder, NULL);
    pid_t pid = fork();
    ck_assert_int_ge(pid, 0);
    if (pid == 0)
        test_leave_child(otok_store_check(store, 0, NULL, NULL, NULL) == OTOK_E_STATE &&
                         otok_store_check(store, 1, NULL, NULL, NULL) == OTOK_E_STATE &&
                         otok_store_backup(store, "/nowhere/copy", NULL, NULL) == OTOK_E_STATE);
    ck_assert_int_eq(waitpid(pid, &status, 0), pid);
    ck_assert_int_eq(status, 0);
    test_assert_code(OTOK_OK, otok_store_check(store, 1, NULL, NULL, NULL));
    otok_store_close(store);
}
END_TEST

START_TEST(calls_that_are_wrong_are_refused)
{
    otok_watch no_watch = {.size = 0};
    otok_check no_result = {.size = 0}, result;
    fill(10);
    otok_store *store = test_open_lmdb(folder, NULL);
    otok_check_init(&result, sizeof result);
    test_assert_code(OTOK_E_INVALID, otok_store_check(NULL, 0, NULL, NULL, NULL));
    test_assert_code(OTOK_E_INVALID, otok_store_check(store, 2, NULL, &result, NULL));
    test_assert_code(OTOK_E_INVALID, otok_store_check(store, -1, NULL, &result, NULL));
    test_assert_code(OTOK_E_INVALID, otok_store_check(store, 0, &no_watch, &result, NULL));
    test_assert_code(OTOK_E_INVALID, otok_store_check(store, 0, NULL, &no_result, NULL));
    test_assert_code(OTOK_OK, otok_store_check(store, 0, NULL, NULL, NULL));
    otok_check_init(&result, offsetof(otok_check, sessions)); /* as of an older header */
    result.sessions = 77;
    test_assert_code(OTOK_OK, otok_store_check(store, 0, NULL, &result, NULL));
    ck_assert_uint_eq(result.records, 10);
    ck_assert_uint_eq(result.sessions, 77);
    otok_store_close(store);
}
END_TEST

static void add(TCase *tc)
{
    tcase_add_checked_fixture(tc, set_up, tear_down);
    tcase_add_loop_test(tc, damage_is_found_and_mended_where_the_records_tell_how, 0, sizeof rows / sizeof rows[0]);
    tcase_add_test(tc, a_finding_names_the_record);
    tcase_add_loop_test(tc, damage_is_found_wherever_it_is, 0, 7);
    tcase_add_test(tc, a_repaired_store_is_the_one_before);
    tcase_add_test(tc, sizes_are_those_of_the_file);
    tcase_add_test(tc, a_repair_that_is_ended_changes_nothing);
    tcase_add_test(tc, a_store_that_is_only_read_is_checked_and_not_repaired);
    tcase_add_test(tc, a_child_does_not_check_what_it_inherited);
    tcase_add_test(tc, calls_that_are_wrong_are_refused);
}

int main(void)
{
    return test_main("store_check", add);
}

#else

int main(void)
{
    return test_without_lmdb("store_check");
}

#endif
