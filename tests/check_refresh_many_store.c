/*
 * check_refresh_many_store.c - otok_refresh_many() and the store: how few commits there are, what its troubles with one session or
 * with all of them do, and the outbox.
 *
 * SPDX-License-Identifier: MIT
 */
#include <lmdb.h>
#include <stdlib.h>
#include <string.h>

#include "support/many.h"
#include "support/records.h"
#include "support/watch.h"

/* ------------------------------------------------------------------------------------------------- how many commits */

/* The number of LMDB's last transaction, beside the store that has it open, whose locks it leaves alone. */
static size_t last_transaction(const test_fixture *f)
{
    MDB_env *env;
    MDB_envinfo info;
    ck_assert_int_eq(mdb_env_create(&env), 0);
    ck_assert_int_eq(mdb_env_open(env, f->folder, MDB_RDONLY | MDB_NOLOCK, 0600), 0);
    ck_assert_int_eq(mdb_env_info(env, &info), 0);
    mdb_env_close(env);
    return info.me_last_txnid;
}

/* R6 R7: this is what the function is for. */
START_TEST(many_refreshes_are_one_transaction)
{
    static const struct {
        size_t n, transactions;
    } rows[] = {{64, 1}, {128, 1}, {129, 2}};
    test_fixture *f = test_open(TEST_LMDB);
    test_plain_policy(f);
    test_many *m = test_many_open(f);
    for (size_t k = 0; k < sizeof rows / sizeof rows[0]; k++) {
        test_held *held = test_many_hold(f, rows[k].n);
        test_many_clear(m);
        test_many_ask_held(m, held, rows[k].n);
        size_t before = last_transaction(f);
        test_many_refresh(m);
        ck_assert_uint_eq(last_transaction(f) - before, rows[k].transactions);
        for (size_t i = 0; i < rows[k].n; i++)
            (void)test_many_answered(m, i, OTOK_OUTCOME_ADVANCED);
        free(held);
    }
    test_many_close(m);
    test_close(f);
}
END_TEST

/* R9: without rotation nothing is written, until the touch interval is over; then it is one transaction. */
START_TEST(refreshes_without_rotation_are_no_transaction)
{
    enum { N = 64 };
    test_fixture *f = test_open(TEST_LMDB);
    f->policy.rotation = OTOK_ROTATION_NEVER;
    test_plain_policy(f);
    test_held *held = test_many_hold(f, N);
    test_many *m = test_many_open(f);
    test_many_ask_held(m, held, N);
    for (size_t transactions = 0; transactions < 2; transactions++) {
        size_t before = last_transaction(f);
        test_many_refresh(m);
        ck_assert_uint_eq(last_transaction(f) - before, transactions);
        for (size_t i = 0; i < N; i++)
            ck_assert_str_eq(test_many_answered(m, i, OTOK_OUTCOME_KEPT)->offline_token, held[i].token);
        test_advance_s(f, 400);
    }
    free(held);
    test_many_close(m);
    test_close(f);
}
END_TEST

/* R7: what was answered is on disk. */
START_TEST(answers_survive_a_restart)
{
    enum { N = 40 };
    test_fixture *f = test_open(TEST_LMDB);
    test_plain_policy(f);
    test_held *held = test_many_hold(f, N);
    test_many *m = test_many_open(f);
    test_many_ask_held(m, held, N);
    test_many_refresh(m);
    test_restart(f);
    test_advance_s(f, 60);
    for (size_t i = 0; i < N; i++) {
        test_assert_code(OTOK_OK, test_refresh_code(f, m->out[i]->offline_token, NULL));
        test_assert_code(OTOK_E_TOKEN_REUSED, test_refresh_code(f, held[i].token, NULL));
    }
    free(held);
    test_many_close(m);
    test_close(f);
}
END_TEST

/* ------------------------------------------------------------------------------------------------------- in trouble */

/* A store in front of another, which is in trouble with the groups that write the records of some sessions. */
typedef struct picky {
    otok_store *inner;
    const otok_id *ids; /* of those sessions */
    size_t n;
    int code;
    int last_code;  /* of the last of them; 0: the same */
    bool done;      /* they are committed all the same */
    unsigned times; /* so many commits that have such a group */
} picky;

/* What it is to fail with, or OTOK_OK. */
static int picked(const picky *p, const otok_group *group)
{
    for (size_t i = 0; p->times != 0 && i < p->n; i++) {
        if (otok_id_compare(&group->writes[0].record->id, &p->ids[i]) == 0)
            return i == p->n - 1 && p->last_code != 0 ? p->last_code : p->code;
    }
    return OTOK_OK;
}

static int picky_commit(void *self, otok_group *groups, size_t n, otok_error *err)
{
    picky *p = self;
    bool met = false;
    for (size_t i = 0; i < n; i++) {
        int code = picked(p, &groups[i]);
        int rc = code != OTOK_OK && !p->done ? OTOK_OK : otok_store_commit(p->inner, &groups[i], 1, err);
        if (rc != OTOK_OK)
            return rc;
        if (code != OTOK_OK)
            groups[i].result = otok_error_set(&groups[i].error, code, 5, "picky");
        met |= code != OTOK_OK;
    }
    p->times -= met;
    return OTOK_OK;
}

static int picky_fetch(void *self, const otok_id *ids, size_t n, uint32_t flags, otok_emit emit, void *arg,
                       otok_error *err)
{
    return otok_store_fetch(((picky *)self)->inner, ids, n, flags, emit, arg, err);
}

static int picky_scan(void *self, const otok_scan *scan, otok_emit emit, void *arg, otok_error *err)
{
    return otok_store_scan(((picky *)self)->inner, scan, emit, arg, err);
}

static int picky_count(void *self, const otok_index_key *key, uint64_t *out, otok_error *err)
{
    return otok_store_count(((picky *)self)->inner, key, out, err);
}

static void picky_close(void *self)
{
    otok_store_close(((picky *)self)->inner);
}

static void put_in_front(picky *p, test_fixture *f)
{
    const otok_store_vtab vtab = {
        .size = sizeof vtab,
        .guarantees = otok_store_guarantees(f->store),
        .name = "picky",
        .fetch = picky_fetch,
        .commit = picky_commit,
        .scan = picky_scan,
        .count = picky_count,
        .close = picky_close,
    };
    *p = (picky){.inner = f->store};
    test_assert_code(OTOK_OK, otok_store_open(&vtab, p, &f->store, NULL));
    test_plain_policy(f);
}

static const struct trouble {
    int code;
    bool done;
} troubles[] = {
    {OTOK_E_UNCERTAIN, true}, {OTOK_E_UNCERTAIN, false}, {OTOK_E_BUSY, false}, {OTOK_E_FULL, false}, {OTOK_E_IO, false},
};

enum { TROUBLES = sizeof troubles / sizeof troubles[0], ITEMS = 9 };

static otok_id id_of(const char *session_id)
{
    otok_id id;
    ck_assert(otok_session_id_parse(session_id, &id));
    return id;
}

/* Refused with the trouble and the store's words; the same token works then, and moves the session by one generation in all. */
static void expect_trouble(const test_many *m, size_t i, const struct trouble *trouble)
{
    otok_tokens *tokens = NULL;
    test_many_refused(m, i, trouble->code);
    ck_assert_int_eq(m->errors[i].system_errno, 5);
    ck_assert_ptr_nonnull(strstr(m->errors[i].message, "picky"));
    test_assert_code(OTOK_OK, test_refresh(m->f, m->asked[i]->token, NULL, &tokens));
    ck_assert_int_eq(tokens->outcome, trouble->done ? OTOK_OUTCOME_RETRIED : OTOK_OUTCOME_ADVANCED);
    ck_assert_uint_eq(tokens->generation, 1);
    otok_tokens_free(tokens);
}

/* R8: the first, one in the middle and the last, or all of them; the others are answered. */
START_TEST(trouble_with_some_sessions_is_that_of_their_items)
{
    static const size_t picks[] = {0, 4, 8};
    for (size_t k = 0; k < 2 * TROUBLES; k++) {
        picky p;
        otok_id ids[ITEMS];
        bool all = k >= TROUBLES;
        test_fixture *f = test_open(_i);
        put_in_front(&p, f);
        test_held *held = test_many_hold(f, ITEMS);
        test_many *m = test_many_open(f);
        test_many_ask_held(m, held, ITEMS);
        p.n = all ? ITEMS : 3;
        for (size_t i = 0; i < p.n; i++)
            ids[i] = id_of(held[all ? i : picks[i]].session_id);
        p.ids = ids;
        p.code = troubles[k % TROUBLES].code;
        p.done = troubles[k % TROUBLES].done;
        p.times = 1;
        test_many_refresh(m);
        for (size_t i = 0; i < ITEMS; i++) {
            if (all || i % 4 == 0)
                expect_trouble(m, i, &troubles[k % TROUBLES]);
            else
                (void)test_many_answered(m, i, OTOK_OUTCOME_ADVANCED);
        }
        free(held);
        test_many_close(m);
        test_close(f);
    }
}
END_TEST

/* R8: two troubles of one commit, each with its code; the one whose words are lost still has some. */
START_TEST(two_troubles_are_told_apart)
{
    picky p;
    test_fixture *f = test_open(_i);
    put_in_front(&p, f);
    test_held *held = test_many_hold(f, ITEMS);
    test_many *m = test_many_open(f);
    test_many_ask_held(m, held, ITEMS);
    const otok_id ids[] = {id_of(held[2].session_id), id_of(held[5].session_id)};
    p.ids = ids;
    p.n = 2;
    p.code = OTOK_E_BUSY;
    p.last_code = OTOK_E_UNCERTAIN;
    p.times = 1;
    test_many_refresh(m);
    test_many_refused(m, 2, OTOK_E_BUSY);
    test_many_refused(m, 5, OTOK_E_UNCERTAIN);
    for (size_t i = 0; i < ITEMS; i++) {
        if (i != 2 && i != 5)
            (void)test_many_answered(m, i, OTOK_OUTCOME_ADVANCED);
    }
    free(held);
    test_many_close(m);
    test_close(f);
}
END_TEST

/* R8: it is told to come again in the end; the others were answered at the first attempt. */
START_TEST(a_session_that_is_always_overtaken_does_not_hold_up_the_others)
{
    picky p;
    test_fixture *f = test_open(_i);
    put_in_front(&p, f);
    test_held *held = test_many_hold(f, ITEMS);
    test_many *m = test_many_open(f);
    test_many_ask_held(m, held, ITEMS);
    const otok_id id = id_of(held[3].session_id);
    p.ids = &id;
    p.n = 1;
    p.code = OTOK_E_CONFLICT;
    for (unsigned times = OTOK_ATTEMPTS - 1; times <= OTOK_ATTEMPTS; times++) {
        p.times = times;
        test_many_refresh(m);
        for (size_t i = 0; i < ITEMS; i++) {
            if (i == 3 && times == OTOK_ATTEMPTS)
                test_many_refused(m, i, OTOK_E_CONFLICT);
            else
                test_keep(&held[i], (otok_tokens *)(uintptr_t)test_many_answered(m, i, OTOK_OUTCOME_ADVANCED));
            if (m->errors[i].code == OTOK_OK)
                m->out[i] = NULL; /* kept */
        }
        test_advance_s(f, 60);
    }
    test_assert_code(OTOK_OK, test_refresh_code(f, held[3].token, NULL));
    free(held);
    test_many_close(m);
    test_close(f);
}
END_TEST

/* R8: a session that cannot be read is its own item's trouble. */
START_TEST(a_read_that_fails_is_the_trouble_of_one_item)
{
    test_watch watch;
    test_fixture *f = test_open(_i);
    test_plain_policy(f);
    test_watch_fixture(&watch, f);
    test_held *held = test_many_hold(f, ITEMS);
    test_many *m = test_many_open(f);
    test_many_ask_held(m, held, ITEMS);
    test_watch_fail(&watch, 4, TEST_CALL_FETCH, OTOK_E_IO, false);
    test_many_refresh(m);
    for (size_t i = 0; i < ITEMS; i++) {
        if (i == 3)
            test_many_refused(m, i, OTOK_E_IO);
        else
            (void)test_many_answered(m, i, OTOK_OUTCOME_ADVANCED);
    }
    test_assert_code(OTOK_OK, test_refresh_code(f, held[3].token, NULL));
    free(held);
    test_many_close(m);
    test_close(f);
}
END_TEST

/* ------------------------------------------------------------------------------------------------------------ outbox */

static void open_outbox(test_fixture *f, uint64_t limit)
{
    otok_config config;
    otok_service_close(f->service);
    f->policy.access_token = OTOK_OFF;
    otok_config_init(&config, sizeof config);
    config.issuer = TEST_ISSUER;
    config.policy = &f->policy;
    config.callbacks = &f->callbacks;
    config.user = f;
    config.outbox_limit = limit;
    test_assert_code(OTOK_OK, otok_service_open(&config, f->store, f->keyring, &f->service, NULL));
}

static otok_outbox_batch *read_outbox(test_fixture *f)
{
    otok_outbox_batch *batch = NULL;
    test_assert_code(OTOK_OK, otok_outbox_read(f->service, 1000, &batch, NULL));
    return batch;
}

static void clear_outbox(test_fixture *f)
{
    otok_outbox_batch *batch = read_outbox(f);
    test_assert_code(OTOK_OK, otok_outbox_acknowledge(f->service, batch, NULL));
    otok_outbox_batch_free(batch);
}

static size_t count_of(const otok_outbox_batch *batch, int32_t type, const char *session_id)
{
    size_t n = 0;
    for (size_t i = 0; i < batch->count; i++) {
        const otok_event *e = batch->events[i];
        n += e->type == type && (session_id == NULL || strcmp(e->session_id, session_id) == 0);
    }
    return n;
}

/* E2 E1: one event for each rotation, none for what was refused, retried or is in trouble; one transaction all the same. */
START_TEST(each_rotation_is_in_the_outbox_once)
{
    enum { N = 100 };
    test_fixture *f = test_open(_i);
    open_outbox(f, 10000);
    test_held *held = test_many_hold(f, N);
    test_many *m = test_many_open(f);
    clear_outbox(f);
    test_many_ask_held(m, held, N);
    m->requests[7].client_id = "laptop";
    m->requests[8].token = held[6].token; /* a retry of it */
    size_t before = _i == TEST_LMDB ? last_transaction(f) : 0;
    test_many_refresh(m);
    if (_i == TEST_LMDB)
        ck_assert_uint_eq(last_transaction(f) - before, 1);
    otok_outbox_batch *batch = read_outbox(f);
    ck_assert_uint_eq(batch->count, N - 2);
    for (size_t i = 0; i < N; i++)
        ck_assert_uint_eq(count_of(batch, OTOK_EVENT_REFRESHED, held[i].session_id), i != 7 && i != 8);
    for (size_t i = 1; i < batch->count; i++)
        ck_assert_str_ne(batch->events[i]->event_id, batch->events[i - 1]->event_id);
    ck_assert_uint_eq(test_count_events(f, OTOK_EVENT_REFRESHED), N - 2);
    ck_assert_uint_eq(test_count_events(f, OTOK_EVENT_RETRIED), 1);
    ck_assert_uint_eq(test_count_events(f, OTOK_EVENT_REFUSED), 1);
    otok_outbox_batch_free(batch);
    free(held);
    test_many_close(m);
    test_close(f);
}
END_TEST

/* E2: an outbox that is full, or becomes so midway, leaves a marker and holds nobody up. */
START_TEST(an_outbox_that_overflows_midway_holds_nobody_up)
{
    enum { N = 150 };
    static const uint64_t limits[] = {1, 20, 127, 149};
    for (size_t k = 0; k < sizeof limits / sizeof limits[0]; k++) {
        test_fixture *f = test_open(_i);
        open_outbox(f, limits[k]);
        test_held *held = test_many_hold(f, N);
        test_many *m = test_many_open(f);
        clear_outbox(f);
        test_many_ask_held(m, held, N);
        test_many_refresh(m);
        for (size_t i = 0; i < N; i++)
            (void)test_many_answered(m, i, OTOK_OUTCOME_ADVANCED);
        otok_outbox_batch *batch = read_outbox(f);
        ck_assert_uint_eq(count_of(batch, OTOK_EVENT_OUTBOX_OVERFLOW, NULL), 1);
        ck_assert_uint_eq(count_of(batch, OTOK_EVENT_REFRESHED, NULL), limits[k]);
        ck_assert_uint_eq(test_count_events(f, OTOK_EVENT_REFRESHED), N);
        otok_outbox_batch_free(batch);
        free(held);
        test_many_close(m);
        test_close(f);
    }
}
END_TEST

/* E2: that one session is in trouble is nothing to another, whose event finds the disk full. */
START_TEST(a_full_outbox_beside_a_trouble_holds_nobody_up)
{
    picky p;
    test_fixture *f = test_open(_i);
    put_in_front(&p, f);
    open_outbox(f, 1000);
    test_held *held = test_many_hold(f, ITEMS);
    test_many *m = test_many_open(f);
    clear_outbox(f);
    test_many_ask_held(m, held, ITEMS);
    const otok_id ids[] = {id_of(held[5].session_id), id_of(held[2].session_id)};
    p.ids = ids;
    p.n = 2;
    p.code = OTOK_E_FULL;
    p.last_code = OTOK_E_UNCERTAIN;
    p.times = 1;
    test_many_refresh(m);
    for (size_t i = 0; i < ITEMS; i++) {
        if (i == 2)
            test_many_refused(m, i, OTOK_E_UNCERTAIN);
        else
            (void)test_many_answered(m, i, OTOK_OUTCOME_ADVANCED);
    }
    free(held);
    test_many_close(m);
    test_close(f);
}
END_TEST

/* E2: 128 are one transaction also where the outbox has room for some of them, and is marked already. */
START_TEST(an_outbox_that_is_marked_takes_no_more_transactions)
{
    enum { N = 128, LIMIT = 228 };
    test_fixture *f = test_open(TEST_LMDB);
    open_outbox(f, LIMIT);
    test_held *held = test_many_hold(f, 3 * N);
    test_many *m = test_many_open(f);
    otok_outbox_batch *batch = NULL;
    clear_outbox(f);
    test_many_ask_held(m, held, 2 * N); /* the marker is in it */
    test_many_refresh(m);
    test_assert_code(OTOK_OK, otok_outbox_read(f->service, 101, &batch, NULL));
    ck_assert_uint_eq(count_of(batch, OTOK_EVENT_OUTBOX_OVERFLOW, NULL), 0);
    test_assert_code(OTOK_OK, otok_outbox_acknowledge(f->service, batch, NULL));
    otok_outbox_batch_free(batch);
    test_many_clear(m);
    test_many_ask_held(m, held + 2 * N, N);
    size_t before = last_transaction(f);
    test_many_refresh(m);
    ck_assert_uint_eq(last_transaction(f) - before, 1);
    free(held);
    test_many_close(m);
    test_close(f);
}
END_TEST

static void add_tests(TCase *tc)
{
    const TTest *const on_both[] = {trouble_with_some_sessions_is_that_of_their_items,
                                    two_troubles_are_told_apart,
                                    a_session_that_is_always_overtaken_does_not_hold_up_the_others,
                                    a_read_that_fails_is_the_trouble_of_one_item,
                                    each_rotation_is_in_the_outbox_once,
                                    an_outbox_that_overflows_midway_holds_nobody_up,
                                    a_full_outbox_beside_a_trouble_holds_nobody_up};
    tcase_add_test(tc, an_outbox_that_is_marked_takes_no_more_transactions);
    tcase_add_test(tc, many_refreshes_are_one_transaction);
    tcase_add_test(tc, refreshes_without_rotation_are_no_transaction);
    tcase_add_test(tc, answers_survive_a_restart);
    test_add_on_both(tc, on_both, sizeof on_both / sizeof *on_both);
}

int main(void)
{
    return test_main("refresh_many_store", add_tests);
}
