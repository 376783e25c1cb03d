/*
 * check_store_check_live.c - S4: a check of a store in use finds nothing that is not there; and one of a store that has no check
 * of its own, through the contract alone.
 *
 * SPDX-License-Identifier: MIT
 */
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#include "support/ask.h"
#include "support/crew.h"
#include "support/raw.h"

enum { WRITERS = 8, HELD = 16, ROUNDS = 30 };

/* ---------------------------------------------------------------------------------------------------- in use */

typedef struct stage {
    test_fixture *f;
    atomic_bool stop;
    atomic_uint writes;
    int32_t repair;
    uint64_t records, findings, mended, of_service;
    char said[512];
} stage;

static void on_finding(void *user, const char *what, int32_t mended)
{
    (void)mended;
    (void)snprintf(user, sizeof((stage *)0)->said, "%s", what);
}

/* What moves records in every index: issued, rotated, used from elsewhere, revoked, cut off and swept. */
static void write_all_the_time(stage *s, size_t nth)
{
    static const char *const subjects[] = {"a", "b", "c", "d", "e", "f", "g", "h", "i"};
    test_held held[HELD] = {{.token = ""}};
    for (unsigned i = 0; !atomic_load(&s->stop); i++) {
        test_held *h = &held[i % HELD];
        otok_filter filter = test_filter(subjects[nth], "tv", NULL);
        if (h->token[0] != '\0' && i % 3 == 0)
            (void)otok_revoke_session(s->f->service, h->session_id, NULL);
        else if (h->token[0] != '\0')
            (void)test_refresh_held(s->f, h, i % 2 != 0 ? "phone" : "tv");
        if (h->token[0] == '\0' || i % 3 == 0)
            *h = test_hold(s->f, subjects[nth], i % 2 != 0 ? "phone" : "tv");
        if (i % 50 == 49)
            (void)otok_cutoff_set(s->f->service, &filter, OTOK_NOW, NULL, NULL);
        if (i % 20 == 19)
            (void)otok_sweep(s->f->service, 100, NULL, NULL);
        atomic_fetch_add(&s->writes, 1);
    }
}

static void check_rounds(stage *s)
{
    otok_watch watch;
    otok_watch_init(&watch, sizeof watch);
    watch.user = s->said;
    watch.finding = on_finding;
    for (int i = 0; i < ROUNDS; i++) {
        otok_check result, own;
        unsigned before = atomic_load(&s->writes);
        otok_check_init(&result, sizeof result);
        otok_check_init(&own, sizeof own);
        test_assert_code(OTOK_OK, otok_store_check(s->f->store, s->repair, &watch, &result, NULL));
        test_assert_code(OTOK_OK, otok_service_check(s->f->service, &watch, &own, NULL));
        s->records += result.records;
        s->findings += result.findings;
        s->mended += result.mended;
        s->of_service += own.findings;
        while (atomic_load(&s->writes) < before + WRITERS && !atomic_load(&s->stop))
            (void)sched_yield();
    }
    atomic_store(&s->stop, true);
}

static void work(void *arg, size_t i)
{
    stage *s = arg;
    if (i == 0)
        check_rounds(s);
    else
        write_all_the_time(s, i - 1);
}

static void run_live(int engine, int32_t repair)
{
    stage s = {.f = test_open(engine), .repair = repair};
    test_plain_policy(s.f);
    test_reopen_service(s.f);
    for (int i = 0; i < 600; i++) /* more than a page, so that writers come in between */
        (void)test_hold(s.f, "standing", "phone");
    test_threads(1 + WRITERS, work, &s);
    ck_assert_msg(s.findings == 0 && s.of_service == 0, "%llu and %llu findings: %s", (unsigned long long)s.findings,
                  (unsigned long long)s.of_service, s.said);
    ck_assert_uint_eq(s.mended, 0);
    ck_assert_uint_ge(s.records, 600 * ROUNDS);
    ck_assert_uint_gt(atomic_load(&s.writes), ROUNDS);
    test_close(s.f);
}

START_TEST(a_store_in_use_is_whole_at_every_moment)
{
    run_live(_i, 0);
}
END_TEST

/* One that has no check of its own cannot: what it says then is tested below. */
static bool can_repair(int engine)
{
    otok_check result;
    test_fixture *f = test_open(engine);
    otok_check_init(&result, sizeof result);
    int rc = otok_store_check(f->store, 1, NULL, &result, NULL);
    test_close(f);
    return rc != OTOK_E_UNSUPPORTED;
}

START_TEST(a_repair_of_a_store_in_use_finds_nothing_to_repair)
{
    if (can_repair(TEST_LMDB)) /* or what stands in for it */
        run_live(TEST_LMDB, 1);
}
END_TEST

/* ---------------------------------------------------------------------------------------------------- through the contract */

/* A store that does not find one record under one index. */
typedef struct forgetful {
    otok_store *inner;
    otok_id hidden;
    uint32_t index;
    bool raises; /* the record changes whenever it was not found: then it is no finding */
    otok_emit emit;
    void *arg;
} forgetful;

static int pass_on(void *arg, const otok_record *record)
{
    forgetful *f = arg;
    return memcmp(&record->id, &f->hidden, sizeof f->hidden) == 0 ? 0 : f->emit(f->arg, record);
}

static int forgetful_fetch(void *self, const otok_id *ids, size_t n, uint32_t flags, otok_emit emit, void *arg,
                           otok_error *err)
{
    const forgetful *f = self;
    if (f->raises)
        test_assert_code(OTOK_OK, test_raw_raise(f->inner, 300));
    return otok_store_fetch(f->inner, ids, n, flags, emit, arg, err);
}

static int forgetful_scan(void *self, const otok_scan *scan, otok_emit emit, void *arg, otok_error *err)
{
    forgetful *f = self;
    if (scan->key.index != f->index)
        return otok_store_scan(f->inner, scan, emit, arg, err);
    f->emit = emit;
    f->arg = arg;
    return otok_store_scan(f->inner, scan, pass_on, f, err);
}

static int forgetful_count(void *self, const otok_index_key *key, uint64_t *out, otok_error *err)
{
    return otok_store_count(((forgetful *)self)->inner, key, out, err);
}

static int forgetful_commit(void *self, otok_group *groups, size_t n, otok_error *err)
{
    return otok_store_commit(((forgetful *)self)->inner, groups, n, err);
}

static void forgetful_close(void *self)
{
    otok_store_close(((forgetful *)self)->inner);
}

static const otok_store_vtab vtab = {.size = sizeof vtab,
                                     .guarantees = OTOK_STORE_ATOMIC_GROUPS,
                                     .name = "forgetful",
                                     .fetch = forgetful_fetch,
                                     .commit = forgetful_commit,
                                     .scan = forgetful_scan,
                                     .count = forgetful_count,
                                     .close = forgetful_close};

static void insert_everything(otok_store *store)
{
    static const int64_t times[] = {INT64_MIN, INT64_MIN + 1, -1, 0, 1, INT64_MAX};
    for (uint32_t i = 1; i <= 600; i++) {
        otok_index_key keys[] = {{.index = OTOK_INDEX_REALM, .digest = {0x52}}, {.index = OTOK_INDEX_SWEEP}};
        otok_record record = test_raw_record(i, OTOK_RECORD_SESSION + i % 3, 1, i % 50);
        record.created_us = i / 10; /* many at one time: ids tell which is which */
        record.sweep_us = times[i % 6];
        record.keys = keys;
        record.nkeys = 2;
        test_assert_code(OTOK_OK, test_raw_write(store, OTOK_WRITE_INSERT, 0, &record, NULL));
    }
    otok_record least = {.size = sizeof least, .kind = OTOK_RECORD_PAIR, .created_us = INT64_MIN, .nkeys = 1};
    otok_index_key key = {.index = OTOK_INDEX_PAIR};
    least.keys = &key; /* the least of all ids, at the least of all times */
    test_assert_code(OTOK_OK, test_raw_write(store, OTOK_WRITE_INSERT, 0, &least, NULL));
}

START_TEST(a_store_without_a_check_of_its_own_is_checked_through_the_contract)
{
    static const uint32_t indexes[] = {OTOK_INDEX_REALM, OTOK_INDEX_SWEEP, OTOK_INDEX_SID, OTOK_INDEX_PAIR};
    static const otok_id least = {{0}};
    forgetful f = {.hidden = _i == 3 ? least : test_raw_id(300), .index = indexes[_i]};
    otok_store *store;
    otok_check result;
    test_assert_code(OTOK_OK, otok_store_open_memory(&f.inner, NULL));
    insert_everything(f.inner);
    test_assert_code(OTOK_OK, otok_store_open(&vtab, &f, &store, NULL));
    otok_check_init(&result, sizeof result);
    test_assert_code(OTOK_OK, otok_store_check(store, 0, NULL, &result, NULL));
    ck_assert_uint_eq(result.records, 601);
    ck_assert_uint_eq(result.sessions, 200);
    ck_assert_uint_eq(result.index_entries, 0);
    ck_assert_uint_eq(result.bytes, 0);
    ck_assert_uint_eq(result.findings, _i != 2); /* under SID there is nothing that could be hidden */
    f.raises = true;
    test_assert_code(OTOK_OK, otok_store_check(store, 0, NULL, &result, NULL));
    ck_assert_uint_eq(result.findings, _i == 3); /* it is 300 that changes */
    test_assert_code(OTOK_E_UNSUPPORTED, otok_store_check(store, 1, NULL, &result, NULL));
    otok_store_close(store);
}
END_TEST

static int end_at_once(void *user, uint64_t done, uint64_t total)
{
    (void)user;
    (void)total;
    return done != 0;
}

START_TEST(progress_ends_a_check_through_the_contract)
{
    otok_store *store;
    otok_watch watch;
    otok_check result;
    test_assert_code(OTOK_OK, otok_store_open_memory(&store, NULL));
    for (uint32_t i = 1; i <= 3000; i++)
        test_assert_code(OTOK_OK, test_raw_insert(store, i, 0));
    otok_watch_init(&watch, sizeof watch);
    otok_check_init(&result, sizeof result);
    watch.progress = end_at_once;
    test_assert_code(OTOK_E_CALLBACK, otok_store_check(store, 0, &watch, &result, NULL));
    ck_assert_uint_gt(result.records, 0);
    ck_assert_uint_lt(result.records, 3000);
    otok_store_close(store);
}
END_TEST

static void add(TCase *tc)
{
    tcase_add_loop_test(tc, a_store_in_use_is_whole_at_every_moment, TEST_MEMORY, TEST_LMDB + 1);
    tcase_add_test(tc, a_repair_of_a_store_in_use_finds_nothing_to_repair);
    tcase_add_loop_test(tc, a_store_without_a_check_of_its_own_is_checked_through_the_contract, 0, 4);
    tcase_add_test(tc, progress_ends_a_check_through_the_contract);
}

int main(void)
{
    return test_main("store_check_live", add);
}
