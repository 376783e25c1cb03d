/* link: -Wl,--wrap=otok_malloc -Wl,--wrap=otok_calloc */
/*
 * check_memory.c - the store in memory: many entries, many threads, no memory left (S1, S2).
 *
 * SPDX-License-Identifier: MIT
 */
#include <check.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "store/store.h"
#include "support/broken_store.h"
#include "support/fixture.h"

/* ------------------------------------------------------------------------------------------------------------- allocator */

/* The allocation at which memory runs out: 0 is the next one; negative: never.  Tests of one thread only. */
static long fail_at = -1;

void *__real_otok_malloc(size_t size);
void *__real_otok_calloc(size_t count, size_t size);
void *__wrap_otok_malloc(size_t size);
void *__wrap_otok_calloc(size_t count, size_t size);

static bool is_short(void)
{
    return fail_at >= 0 && fail_at-- == 0;
}

void *__wrap_otok_malloc(size_t size)
{
    return is_short() ? NULL : __real_otok_malloc(size);
}

void *__wrap_otok_calloc(size_t count, size_t size)
{
    return is_short() ? NULL : __real_otok_calloc(count, size);
}

/* ------------------------------------------------------------------------------------------------------------- helpers */

static otok_store *open_memory(void)
{
    otok_store *store = NULL;
    otok_error err = {0};
    ck_assert_msg(otok_store_open_memory(&store, &err) == OTOK_OK, "%s", err.message);
    return store;
}

static otok_record record_of(uint32_t number)
{
    otok_record record = {.size = sizeof record, .kind = OTOK_RECORD_SESSION, .version = 1};
    otok_put_u32(record.id.bytes, number);
    return record;
}

static int commit_one(otok_store *store, uint32_t op, uint64_t expect, const otok_record *record)
{
    otok_write write = {.op = op, .expect = expect, .record = record};
    otok_group group = {.writes = &write, .n = 1};
    int rc = otok_store_commit(store, &group, 1, NULL);
    return rc != OTOK_OK ? rc : group.result;
}

static int keep(void *arg, const otok_record *record)
{
    otok_record_free(*(otok_record **)arg);
    *(otok_record **)arg = otok_record_copy(record);
    return 0;
}

static otok_record *fetch_one(otok_store *store, const otok_id *id)
{
    otok_record *record = NULL;
    ck_assert_int_eq(otok_store_fetch(store, id, 1, 0, keep, &record, NULL), OTOK_OK);
    return record;
}

/* ------------------------------------------------------------------------------------------------------------- size */

enum { MANY = 250000, KEYS = 4 };

static otok_record shape(otok_index_key keys[KEYS], uint32_t number)
{
    static const uint32_t indexes[KEYS] = {OTOK_INDEX_REALM, OTOK_INDEX_SUBJECT, OTOK_INDEX_CLIENT, OTOK_INDEX_SWEEP};
    otok_record record = record_of(number);
    for (size_t i = 0; i < KEYS; i++)
        keys[i] = (otok_index_key){.index = indexes[i]};
    otok_put_u32(keys[1].digest, number / 10);
    otok_put_u32(keys[2].digest, number % 100);
    record.keys = keys;
    record.nkeys = KEYS;
    record.created_us = (int64_t)((uint64_t)number * 7919 % 100003);
    record.sweep_us = -record.created_us;
    return record;
}

static int count_rows(void *arg, const otok_record *record)
{
    (void)record;
    (*(size_t *)arg)++;
    return 0;
}

/* With a structure that is not O(log n) somewhere, this would take hours: 10^6 entries in, then 10^5 reads among them. */
START_TEST(a_million_index_entries_are_no_matter)
{
    otok_store *store = open_memory();
    otok_index_key keys[KEYS];
    for (uint32_t i = 0; i < MANY; i++) {
        otok_record record = shape(keys, i);
        ck_assert_int_eq(commit_one(store, OTOK_WRITE_INSERT, 0, &record), OTOK_OK);
    }
    uint64_t count = 0;
    otok_index_key realm = {.index = OTOK_INDEX_REALM};
    for (uint32_t i = 0; i < MANY / 10; i++) {
        size_t rows = 0;
        (void)shape(keys, i * 9);
        otok_scan scan = {.size = sizeof scan, .key = keys[1], .limit = 100, .flags = i % 2 * OTOK_SCAN_DESCENDING};
        ck_assert_int_eq(otok_store_scan(store, &scan, count_rows, &rows, NULL), OTOK_OK);
        ck_assert_uint_eq(rows, 10);
        ck_assert_int_eq(otok_store_count(store, &realm, &count, NULL), OTOK_OK);
        ck_assert_uint_eq(count, MANY);
    }
    for (uint32_t i = 0; i < MANY; i += 2) {
        otok_record record = shape(keys, i);
        ck_assert_int_eq(commit_one(store, OTOK_WRITE_DELETE, 1, &record), OTOK_OK);
    }
    ck_assert_int_eq(otok_store_count(store, &realm, &count, NULL), OTOK_OK);
    ck_assert_uint_eq(count, MANY / 2);
    otok_store_close(store);
}
END_TEST

/* ------------------------------------------------------------------------------------------------------------- tree */

static size_t depth_of(const otok_tree_node *node)
{
    if (node == NULL)
        return 0;
    size_t left = depth_of(node->left), right = depth_of(node->right);
    ck_assert_uint_eq(node->size,
                      (node->left != NULL ? node->left->size : 0) + 1 + (node->right != NULL ? node->right->size : 0));
    return 1 + (left > right ? left : right);
}

/* Weight-balanced with 3: at most log(n) / log(4/3) levels. */
START_TEST(tree_stays_flat_whatever_the_order_of_inserts_and_removes)
{
    enum { N = 4096, DEPTH = 29 };
    otok_tree_node *nodes = calloc(N, sizeof *nodes), *root = NULL;
    ck_assert_ptr_nonnull(nodes);
    uint32_t step = _i == 0 ? 1 : _i == 1 ? N - 1 : 2731;
    for (uint32_t i = 0; i < N; i++) {
        otok_tree_node *node = &nodes[i * step % N];
        node->key.order_us = i * step % N;
        otok_tree_insert(&root, node);
        if (i % 256 == 0)
            ck_assert_uint_le(depth_of(root), DEPTH);
    }
    for (size_t i = 0; i < N; i++) {
        ck_assert_ptr_eq(otok_tree_at(root, i), &nodes[i]);
        ck_assert_uint_eq(otok_tree_rank(root, &nodes[i].key, false), i);
        ck_assert_uint_eq(otok_tree_rank(root, &nodes[i].key, true), i + 1);
    }
    for (uint32_t i = 0; i < N; i++) {
        otok_tree_key key = nodes[i * 1365 % N].key;
        ck_assert_ptr_nonnull(otok_tree_find(root, &key));
        otok_tree_remove(&root, &key);
        ck_assert_ptr_null(otok_tree_find(root, &key));
        otok_tree_remove(&root, &key);
        ck_assert_uint_eq(root != NULL ? root->size : 0, N - 1 - i);
        if (i % 256 == 0)
            ck_assert_uint_le(depth_of(root), DEPTH);
    }
    ck_assert_ptr_null(root);
    free(nodes);
}
END_TEST

/* ------------------------------------------------------------------------------------------------------------- threads */

enum { THREADS = 4, INCREMENTS = 500 };

struct crew {
    otok_store *store;
    otok_id id;
};

static void expect_increment(struct crew *crew, uint32_t *conflicts)
{
    int rc = OTOK_E_CONFLICT;
    while (rc == OTOK_E_CONFLICT) {
        uint8_t head[8];
        otok_record *stored = fetch_one(crew->store, &crew->id);
        otok_record next = {
            .size = sizeof next, .id = crew->id, .version = stored->version + 1, .head = {head, sizeof head}};
        otok_put_u64(head, otok_get_u64(stored->head.data) + 1);
        rc = commit_one(crew->store, OTOK_WRITE_HEAD, stored->version, &next);
        *conflicts += rc == OTOK_E_CONFLICT;
        otok_record_free(stored);
    }
    ck_assert_int_eq(rc, OTOK_OK);
}

static void *increment(void *arg)
{
    uint32_t conflicts = 0;
    for (int i = 0; i < INCREMENTS; i++)
        expect_increment(arg, &conflicts);
    return NULL;
}

/* Inserts and deletes what others scan meanwhile: a group of two is seen whole or not at all by a count. */
static void *come_and_go(void *arg)
{
    struct crew *crew = arg;
    otok_index_key key = {.index = OTOK_INDEX_REALM};
    otok_record a = record_of(77), b = record_of(78);
    a.keys = b.keys = &key;
    a.nkeys = b.nkeys = 1;
    for (int i = 0; i < INCREMENTS; i++) {
        otok_write in[] = {{OTOK_WRITE_INSERT, 0, &a}, {OTOK_WRITE_INSERT, 0, &b}};
        otok_write out[] = {{OTOK_WRITE_DELETE, 1, &a}, {OTOK_WRITE_DELETE, 1, &b}};
        otok_group groups[] = {{.writes = in, .n = 2}, {.writes = out, .n = 2}};
        ck_assert_int_eq(otok_store_commit(crew->store, groups, 2, NULL), OTOK_OK);
        ck_assert_int_eq(groups[0].result, OTOK_OK);
        ck_assert_int_eq(groups[1].result, OTOK_OK);
    }
    return NULL;
}

static void *look(void *arg)
{
    struct crew *crew = arg;
    otok_index_key key = {.index = OTOK_INDEX_REALM};
    for (int i = 0; i < INCREMENTS; i++) {
        uint64_t count = 99;
        size_t rows = 0;
        otok_scan scan = {.size = sizeof scan, .key = key, .limit = 10};
        ck_assert_int_eq(otok_store_count(crew->store, &key, &count, NULL), OTOK_OK);
        ck_assert(count == 0 || count == 2);
        ck_assert_int_eq(otok_store_scan(crew->store, &scan, count_rows, &rows, NULL), OTOK_OK);
        ck_assert(rows == 0 || rows == 2);
    }
    return NULL;
}

START_TEST(no_increment_of_many_threads_is_lost)
{
    struct crew crew = {.store = open_memory()};
    otok_record record = record_of(5);
    uint8_t zero[8] = {0};
    record.head = (otok_str){zero, sizeof zero};
    crew.id = record.id;
    ck_assert_int_eq(commit_one(crew.store, OTOK_WRITE_INSERT, 0, &record), OTOK_OK);
    pthread_t threads[THREADS + 2];
    for (int i = 0; i < THREADS; i++)
        ck_assert_int_eq(pthread_create(&threads[i], NULL, increment, &crew), 0);
    ck_assert_int_eq(pthread_create(&threads[THREADS], NULL, come_and_go, &crew), 0);
    ck_assert_int_eq(pthread_create(&threads[THREADS + 1], NULL, look, &crew), 0);
    for (int i = 0; i < THREADS + 2; i++)
        ck_assert_int_eq(pthread_join(threads[i], NULL), 0);
    otok_record *stored = fetch_one(crew.store, &crew.id);
    ck_assert_uint_eq(otok_get_u64(stored->head.data), THREADS * INCREMENTS);
    ck_assert_uint_eq(stored->version, 1 + THREADS * INCREMENTS);
    otok_record_free(stored);
    otok_store_close(crew.store);
}
END_TEST

/* ------------------------------------------------------------------------------------------------------------- no memory */

START_TEST(group_that_memory_is_short_for_leaves_nothing_behind)
{
    otok_store *store = open_memory();
    otok_index_key keys[3][KEYS];
    otok_record records[3];
    for (uint32_t i = 0; i < 3; i++)
        records[i] = shape(keys[i], i + 1);
    ck_assert_int_eq(commit_one(store, OTOK_WRITE_INSERT, 0, &records[0]), OTOK_OK);
    otok_record put = records[0];
    put.version = 2;
    put.body = (otok_str){"new", 3};
    otok_write writes[] = {
        {OTOK_WRITE_PUT, 1, &put}, {OTOK_WRITE_INSERT, 0, &records[1]}, {OTOK_WRITE_INSERT, 0, &records[2]}};
    int32_t result = OTOK_E_NOMEM;
    long at = 0;
    for (; result == OTOK_E_NOMEM; at++) {
        otok_group group = {.writes = writes, .n = 3};
        uint64_t count = 0;
        fail_at = at;
        ck_assert_int_eq(otok_store_commit(store, &group, 1, NULL), OTOK_OK);
        fail_at = -1;
        result = group.result;
        ck_assert_int_eq(otok_store_count(store, &keys[0][0], &count, NULL), OTOK_OK);
        ck_assert_uint_eq(count, result == OTOK_OK ? 3 : 1);
        otok_record *stored = fetch_one(store, &put.id);
        ck_assert_uint_eq(stored->version, result == OTOK_OK ? 2 : 1);
        otok_record_free(stored);
    }
    ck_assert_int_eq(result, OTOK_OK);
    ck_assert_int_eq((int)at, 7); /* two allocations a record: six failures, then a success */
    otok_store_close(store);
}
END_TEST

START_TEST(no_memory_is_reported_by_open_fetch_and_copy)
{
    otok_store *store = NULL;
    otok_error err = {0};
    for (long at = 0; at < 3; at++) { /* the backend, the store; its name is not of this allocator */
        fail_at = at;
        ck_assert_int_eq(otok_store_open_memory(&store, &err), at < 2 ? OTOK_E_NOMEM : OTOK_OK);
        ck_assert(at < 2 ? store == NULL : store != NULL);
    }
    otok_id ids[100];
    memset(ids, 0, sizeof ids);
    fail_at = 0;
    ck_assert_int_eq(otok_store_fetch(store, ids, 100, 0, keep, NULL, &err), OTOK_E_NOMEM);
    fail_at = 0;
    otok_record record = record_of(1);
    ck_assert_ptr_null(otok_record_copy(&record));
    fail_at = -1;
    otok_store_close(store);
}
END_TEST

static int open_for_kit(void *user, int32_t fresh, otok_store **out, otok_error *err)
{
    (void)user, (void)fresh;
    long at = fail_at;
    fail_at = -1; /* the kit's memory, not the store's */
    int rc = otok_store_open_memory(out, err);
    fail_at = at;
    return rc;
}

/* An allocation of the store that fails is a clause that fails; one of the kit is not the store's fault. */
START_TEST(kit_that_memory_is_short_for_says_so_and_leaks_nothing)
{
    bool passed = false;
    for (long at = 0; at < 400 && !passed; at += at < 40 ? 1 : 13) {
        otok_error err = {0};
        otok_conform kit = {.size = sizeof kit, .open = open_for_kit, .seed = 1};
        fail_at = at;
        int rc = otok_store_conform(&kit, &err);
        passed = fail_at >= 0;
        fail_at = -1;
        ck_assert(rc == OTOK_E_NOMEM || rc == OTOK_E_UNSUPPORTED);
        ck_assert_int_eq(err.code, rc);
        ck_assert(at >= 2 || rc == OTOK_E_NOMEM);
    }
}
END_TEST

/* ------------------------------------------------------------------------------------------------------------- on demand */

static void intrude(void *arg)
{
    broken_calls *seen = arg;
    seen->commits++;
}

/* The test double that other tests stand on. */
START_TEST(broken_store_fails_when_it_was_told_to_and_counts)
{
    broken_store *control = NULL;
    broken_calls seen = {0};
    otok_store *store = broken_store_open(NULL, BROKEN_NOTHING, &control);
    otok_record records[6];
    for (uint32_t i = 0; i < 6; i++)
        records[i] = record_of(i);
    broken_store_before_commit(control, intrude, &seen);
    broken_store_fail_commits(control, (broken_plan){.code = OTOK_E_BUSY, .skip = 1, .times = 1});
    ck_assert_int_eq(commit_one(store, OTOK_WRITE_INSERT, 0, &records[0]), OTOK_OK);
    ck_assert_int_eq(commit_one(store, OTOK_WRITE_INSERT, 0, &records[1]), OTOK_E_BUSY);
    ck_assert_int_eq(commit_one(store, OTOK_WRITE_INSERT, 0, &records[1]), OTOK_OK);
    broken_store_fail_commits(control,
                              (broken_plan){.code = OTOK_E_UNCERTAIN, .times = 1, .applied = true, .as_result = true});
    ck_assert_int_eq(commit_one(store, OTOK_WRITE_INSERT, 0, &records[2]), OTOK_E_UNCERTAIN);
    ck_assert_int_eq(commit_one(store, OTOK_WRITE_INSERT, 0, &records[2]), OTOK_E_CONFLICT);
    broken_store_fail_commits(control, (broken_plan){.code = OTOK_E_UNCERTAIN, .times = 1});
    ck_assert_int_eq(commit_one(store, OTOK_WRITE_INSERT, 0, &records[3]), OTOK_E_UNCERTAIN);
    ck_assert_int_eq(commit_one(store, OTOK_WRITE_INSERT, 0, &records[3]), OTOK_OK);
    broken_store_fail_commits(control,
                              (broken_plan){.code = OTOK_E_UNCERTAIN, .times = 1, .applied = true, .as_result = true});
    ck_assert_int_eq(commit_one(store, OTOK_WRITE_INSERT, 0, &records[3]), OTOK_E_CONFLICT);
    broken_store_fail_reads(control, OTOK_E_IO, 0, 1);
    ck_assert_int_eq(otok_store_fetch(store, &records[0].id, 1, 0, keep, NULL, NULL), OTOK_E_IO);
    otok_record_free(fetch_one(store, &records[0].id));
    broken_calls calls = broken_store_calls(control);
    ck_assert_uint_eq(calls.commits, 8);
    ck_assert_uint_eq(calls.groups, 8);
    ck_assert_uint_eq(calls.writes, 8);
    ck_assert_uint_eq(calls.fetches, 2);
    ck_assert_uint_eq(seen.commits, 8);
    otok_store_close(store);
}
END_TEST

static void add(TCase *tests)
{
    tcase_add_test(tests, a_million_index_entries_are_no_matter);
    tcase_add_loop_test(tests, tree_stays_flat_whatever_the_order_of_inserts_and_removes, 0, 3);
    tcase_add_test(tests, no_increment_of_many_threads_is_lost);
    tcase_add_test(tests, group_that_memory_is_short_for_leaves_nothing_behind);
    tcase_add_test(tests, no_memory_is_reported_by_open_fetch_and_copy);
    tcase_add_test(tests, kit_that_memory_is_short_for_says_so_and_leaks_nothing);
    tcase_add_test(tests, broken_store_fails_when_it_was_told_to_and_counts);
}

int main(void)
{
    return test_main("memory", add);
}
