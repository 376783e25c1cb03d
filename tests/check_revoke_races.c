/*
 * check_revoke_races.c - V5: after a revocation has returned no refresh that begins later succeeds, by whomever, and a racing refresh
 * brings nothing back; R6 with V3: sessions that are issued while a cutoff is set.
 *
 * SPDX-License-Identifier: MIT
 */
#include "support/ask.h"
#include "support/crew.h"
#include "support/node.h"

#include <sched.h>
#include <stdlib.h>
#include <string.h>

/* ------------------------------------------------------------------------------------------------- refresh against revoke */

static int end_by_token(test_fixture *f, const test_held *held)
{
    return test_revoke(f, held->token, NULL);
}

static int end_by_session(test_fixture *f, const test_held *held)
{
    otok_error err;
    return otok_revoke_session(f->service, held->session_id, &err);
}

static int end_by_filter(test_fixture *f, const test_held *held)
{
    otok_error err;
    otok_filter filter = test_filter("alice", NULL, NULL);
    (void)held;
    return otok_revoke_matching(f->service, &filter, NULL, &err);
}

static int end_by_cutoff(test_fixture *f, const test_held *held)
{
    otok_error err;
    otok_filter filter = test_filter("alice", "phone", NULL);
    (void)held;
    return otok_cutoff_set(f->service, &filter, OTOK_NOW, NULL, &err);
}

static int (*const endings[])(test_fixture *, const test_held *) = {end_by_token, end_by_session, end_by_filter,
                                                                    end_by_cutoff};
enum { ENDINGS = sizeof endings / sizeof *endings, RACERS = 5 };

/* Racer 0 revokes after a while, the others refresh until they are refused. */
typedef struct race {
    int ending;
    int patience; /* how often racer 0 yields before */
    int64_t now_us;
    test_held held[RACERS]; /* each racer's latest */
    int returned;           /* atomic: 1 when the revocation has */
    int rc_end;
    int rc[RACERS];
    bool late[RACERS]; /* a refresh that began later than that succeeded */
} race;

static void refresh_until_refused(race *r, test_fixture *f, size_t i)
{
    do {
        bool after = __atomic_load_n(&r->returned, __ATOMIC_SEQ_CST) != 0;
        r->rc[i] = test_refresh_held(f, &r->held[i], NULL);
        r->late[i] = r->late[i] || (after && r->rc[i] == OTOK_OK);
        (void)sched_yield();
    } while (r->rc[i] == OTOK_OK && !r->late[i]);
}

static void run_race(race *r, test_fixture *f, size_t i)
{
    if (i != 0) {
        refresh_until_refused(r, f, i);
        return;
    }
    for (int k = 0; k < r->patience; k++)
        (void)sched_yield();
    r->rc_end = endings[r->ending](f, &r->held[0]);
    __atomic_store_n(&r->returned, 1, __ATOMIC_SEQ_CST);
}

static void prepare(race *r, test_fixture *f, int ending, int patience)
{
    memset(r, 0, sizeof *r);
    test_held held = test_hold(f, "alice", "phone");
    for (size_t i = 0; i < RACERS; i++)
        r->held[i] = held;
    test_advance_s(f, 60); /* the first refresh rotates, the others retry */
    r->now_us = f->now_us;
    r->ending = ending;
    r->patience = patience;
}

static void assert_dead_for_good(const race *r, test_fixture *f)
{
    otok_filter filter = test_filter("alice", "phone", NULL);
    test_assert_code(OTOK_OK, r->rc_end);
    for (size_t i = 0; i < RACERS; i++) {
        ck_assert_msg(!r->late[i], "a refresh that began after the revocation had returned succeeded");
        ck_assert_msg(i == 0 || r->rc[i] == OTOK_E_TOKEN_UNKNOWN || r->rc[i] == OTOK_E_TOKEN_REVOKED, "%s",
                      otok_error_name(r->rc[i]));
        ck_assert_int_ne(test_refresh_code(f, r->held[i].token, NULL), OTOK_OK);
    }
    ck_assert_uint_eq(test_count_live(f, &filter), 0);
    ck_assert_int_eq(test_has_session(f, r->held[0].session_id), endings[r->ending] == end_by_cutoff);
}

typedef struct runner {
    race r;
    test_fixture *nodes[RACERS];
} runner;

static void race_of_threads(void *arg, size_t i)
{
    runner *run = arg;
    run_race(&run->r, run->nodes[i], i);
}

static void race_rounds(int engine, int ending, int rounds)
{
    runner run;
    test_fixture *f = test_open(engine);
    f->callbacks.event = NULL;
    test_plain_policy(f);
    for (size_t i = 0; i < RACERS; i++) /* two nodes */
        run.nodes[i] = i % 2 != 0 ? test_open_node(f, NULL) : f;
    for (int round = 0; round < rounds; round++) {
        prepare(&run.r, f, ending, round % 7 * 3);
        for (size_t i = 0; i < RACERS; i++)
            test_set_now_us(run.nodes[i], f->now_us);
        test_threads(RACERS, race_of_threads, &run);
        assert_dead_for_good(&run.r, f);
    }
    for (size_t i = 1; i < RACERS; i += 2)
        test_close(run.nodes[i]);
    test_close(f);
}

/* V5: KC #51312 */
START_TEST(revocation_among_refreshing_threads_is_final_in_memory)
{
    race_rounds(TEST_MEMORY, _i, 250);
}
END_TEST

/* V5 */
START_TEST(revocation_among_refreshing_threads_is_final_on_lmdb)
{
    race_rounds(TEST_LMDB, _i, 40);
}
END_TEST

static const test_fixture *parent;

static void race_of_processes(void *arg, size_t i)
{
    otok_error err;
    race *r = arg;
    test_fixture f = *parent;
    f.service = NULL;
    int rc = otok_store_open_lmdb(f.folder, NULL, &f.store, &err);
    if (rc != OTOK_OK)
        test_leave(err.message, rc);
    test_reopen_service(&f);
    run_race(r, &f, i);
    otok_service_close(f.service);
    otok_store_close(f.store);
}

/* V5, S4 */
START_TEST(revocation_among_refreshing_processes_is_final)
{
    race *r = test_shared(sizeof *r);
    test_fixture *f = test_open(TEST_LMDB);
    f->callbacks.event = NULL;
    test_plain_policy(f);
    for (int round = 0; round < 15; round++) {
        prepare(r, f, _i, 20 + round % 7 * 50);
        parent = f;
        test_processes(RACERS, race_of_processes, r);
        assert_dead_for_good(r, f);
    }
    test_unshare(r, sizeof *r);
    test_close(f);
}
END_TEST

/* -------------------------------------------------------------------------------------------------- issue against cutoff */

enum { ISSUERS = 4, EACH = 40 };

typedef struct flood {
    test_fixture *nodes[ISSUERS + 1]; /* the clocks of three of them are wrong */
    int began, returned;              /* atomic: of the cutoff */
    int rc_cutoff;
    struct {
        test_held held;
        bool before, after; /* returned before the cutoff began; began after it had returned */
    } issued[ISSUERS][EACH];
} flood;

static void set_cutoff(flood *s)
{
    otok_error err;
    otok_filter filter = test_filter("alice", NULL, NULL);
    for (int k = 0; k < 30; k++)
        (void)sched_yield();
    __atomic_store_n(&s->began, 1, __ATOMIC_SEQ_CST);
    s->rc_cutoff = otok_cutoff_set(s->nodes[ISSUERS]->service, &filter, OTOK_NOW, NULL, &err);
    __atomic_store_n(&s->returned, 1, __ATOMIC_SEQ_CST);
}

static void issue_or_cut(void *arg, size_t i)
{
    flood *s = arg;
    if (i == ISSUERS) {
        set_cutoff(s);
        return;
    }
    for (size_t k = 0; k < EACH; k++) {
        s->issued[i][k].after = __atomic_load_n(&s->returned, __ATOMIC_SEQ_CST) != 0;
        s->issued[i][k].held = test_hold(s->nodes[i], "alice", "phone");
        s->issued[i][k].before = __atomic_load_n(&s->began, __ATOMIC_SEQ_CST) == 0;
    }
}

/* V3: "later than every session already issued in that scope", and "a session issued afterwards is later than the cutoff" */
START_TEST(cutoff_among_issuing_threads_parts_before_from_after_whatever_their_clocks)
{
    static const int64_t clocks_s[ISSUERS] = {0, 3600, -3600, 40000};
    static flood s;
    for (int round = 0; round < (_i == TEST_MEMORY ? 40 : 6); round++) {
        memset(&s, 0, sizeof s);
        s.nodes[ISSUERS] = test_open(_i);
        test_plain_policy(s.nodes[ISSUERS]);
        for (size_t i = 0; i < ISSUERS; i++) {
            s.nodes[i] = test_open_node(s.nodes[ISSUERS], NULL);
            test_advance_s(s.nodes[i], clocks_s[i]);
        }
        test_threads(ISSUERS + 1, issue_or_cut, &s);
        test_assert_code(OTOK_OK, s.rc_cutoff);
        for (size_t i = 0; i < ISSUERS * EACH; i++) {
            int rc = test_refresh_code(s.nodes[ISSUERS], s.issued[i / EACH][i % EACH].held.token, NULL);
            if (s.issued[i / EACH][i % EACH].before)
                test_assert_code(OTOK_E_TOKEN_REVOKED, rc);
            if (s.issued[i / EACH][i % EACH].after)
                test_assert_code(OTOK_OK, rc);
        }
        for (size_t i = 0; i < ISSUERS + 1; i++)
            test_close(s.nodes[i]);
    }
}
END_TEST

static void add_tests(TCase *tc)
{
    const TTest *const on_both[] = {cutoff_among_issuing_threads_parts_before_from_after_whatever_their_clocks};
    test_add_on_both(tc, on_both, sizeof on_both / sizeof *on_both);
    tcase_add_loop_test(tc, revocation_among_refreshing_threads_is_final_in_memory, 0, ENDINGS);
    tcase_add_loop_test(tc, revocation_among_refreshing_threads_is_final_on_lmdb, 0, ENDINGS);
    tcase_add_loop_test(tc, revocation_among_refreshing_processes_is_final, 0, ENDINGS);
}

int main(void)
{
    return test_main("revoke_races", add_tests);
}
