/*
 * check_races.c - R6: simultaneous refreshes with one token, by threads and by processes.  Those with revocations: check_revoke_races.c.
 *
 * SPDX-License-Identifier: MIT
 */
#include "support/ask.h"
#include "support/crew.h"
#include "support/stress.h"

#include <string.h>

enum { RACERS = 8 };

/* One token, RACERS refreshes at once, round after round; in shared memory, for processes. */
typedef struct race {
    pthread_barrier_t barrier;
    size_t racers, rounds;
    int64_t now_us;
    test_held held;
    struct {
        int rc;
        int32_t outcome;
        uint32_t generation;
        char token[OTOK_TOKEN_CHARS + 1];
    } got[RACERS];
    size_t wrong_round; /* 1 + the round in which something was wrong; 0: none */
    const char *wrong;
} race;

static const char *judge(const race *r, size_t round)
{
    size_t advanced = 0;
    for (size_t i = 0; i < r->racers; i++) {
        if (r->got[i].rc != OTOK_OK)
            return otok_error_name(r->got[i].rc);
        if (strcmp(r->got[i].token, r->got[0].token) != 0)
            return "two successors";
        if (r->got[i].generation != round + 1)
            return "more or less than one generation";
        advanced += r->got[i].outcome == OTOK_OUTCOME_ADVANCED;
    }
    if (advanced != 1)
        return "not one that advanced";
    return strcmp(r->got[0].token, r->held.token) == 0 ? "no successor" : NULL;
}

/* Rounds of one racer with its service: wait, refresh, wait; the first one judges and moves the clock. */
static void run_race(race *r, test_fixture *f, size_t i)
{
    for (size_t round = 0; round < r->rounds; round++) {
        otok_tokens *tokens = NULL;
        pthread_barrier_wait(&r->barrier);
        test_set_now_us(f, r->now_us); /* a process has a clock of its own */
        r->got[i].rc = test_refresh(f, r->held.token, NULL, &tokens);
        if (r->got[i].rc == OTOK_OK) {
            r->got[i].outcome = tokens->outcome;
            r->got[i].generation = tokens->generation;
            memcpy(r->got[i].token, tokens->offline_token, sizeof r->got[i].token);
        }
        otok_tokens_free(tokens);
        pthread_barrier_wait(&r->barrier);
        if (i != 0)
            continue;
        const char *wrong = judge(r, round);
        if (wrong != NULL && r->wrong_round == 0) {
            r->wrong = wrong;
            r->wrong_round = round + 1;
        }
        memcpy(r->held.token, r->got[0].token, sizeof r->held.token);
        r->now_us += 60 * OTOK_US_PER_S;
    }
}

typedef struct runner {
    race *r;
    test_fixture *f;
} runner;

static void race_of_threads(void *arg, size_t i)
{
    runner *run = arg;
    run_race(run->r, run->f, i);
}

static void prepare(race *r, test_fixture *f, size_t racers, size_t rounds)
{
    memset(r, 0, sizeof *r);
    test_barrier_init(&r->barrier, (unsigned)racers);
    r->racers = racers;
    r->rounds = rounds;
    f->callbacks.event = NULL; /* its lock would put them in a queue */
    f->policy.rotation = OTOK_ROTATION_ALWAYS;
    test_plain_policy(f);
    r->held = test_hold(f, NULL, NULL);
    test_advance_s(f, 60);
    r->now_us = f->now_us;
}

static void assert_went_well(const race *r)
{
    ck_assert_msg(r->wrong_round == 0, "round %zu: %s", r->wrong_round, r->wrong);
}

/* R6: KC CVE-2026-1035 */
START_TEST(threads_that_refresh_one_token_get_one_successor)
{
    static const size_t rounds[] = {5000, 400};
    race r;
    test_fixture *f = test_open(_i);
    prepare(&r, f, RACERS, rounds[_i]);
    runner run = {&r, f};
    test_threads(RACERS, race_of_threads, &run);
    assert_went_well(&r);
    test_close(f);
}
END_TEST

/* R6: two are enough, and meet more often */
START_TEST(two_threads_that_refresh_one_token_get_one_successor)
{
    static const size_t rounds[] = {10000, 400};
    race r;
    test_fixture *f = test_open(_i);
    prepare(&r, f, 2, rounds[_i]);
    runner run = {&r, f};
    test_threads(2, race_of_threads, &run);
    assert_went_well(&r);
    test_close(f);
}
END_TEST

typedef struct shared_race {
    race r;
    char folder[512];
} shared_race;

static const test_fixture *parent; /* keyring, policy and callbacks, as inherited by fork */

static void race_of_processes(void *arg, size_t i)
{
    shared_race *shared = arg;
    otok_error err;
    test_fixture f = *parent;
    f.service = NULL;
    int rc = otok_store_open_lmdb(shared->folder, NULL, &f.store, &err);
    if (rc != OTOK_OK)
        test_leave(err.message, rc);
    test_reopen_service(&f);
    run_race(&shared->r, &f, i);
    otok_service_close(f.service);
    otok_store_close(f.store);
}

/* R6, S4: processes share nothing but the folder */
START_TEST(processes_that_refresh_one_token_get_one_successor)
{
    enum { PROCESSES = 4 };
    shared_race *shared = test_shared(sizeof *shared);
    test_fixture *f = test_open(TEST_LMDB);
    prepare(&shared->r, f, PROCESSES, 300);
    ck_assert_uint_lt(strlen(f->folder), sizeof shared->folder);
    memcpy(shared->folder, f->folder, strlen(f->folder) + 1);
    otok_service_close(f->service);
    otok_store_close(f->store);
    f->service = NULL;
    f->store = NULL;
    parent = f;
    test_processes(PROCESSES, race_of_processes, shared);
    ck_assert_msg(shared->r.wrong_round == 0, "round %zu", shared->r.wrong_round);
    test_unshare(shared, sizeof *shared);
    test_close(f);
}
END_TEST

typedef struct fleet {
    test_fixture *f;
    test_held held[RACERS];
    int rc[RACERS];
} fleet;

static void refresh_own(void *arg, size_t i)
{
    fleet *s = arg;
    for (int round = 0; round < 50 && s->rc[i] == OTOK_OK; round++)
        s->rc[i] = test_refresh_held(s->f, &s->held[i], NULL);
}

/* R6: what one session does is nothing to another, of the same subject and client */
START_TEST(sessions_refreshed_side_by_side_do_not_meet)
{
    fleet s = {.f = test_open(_i)};
    s.f->policy.rotation = OTOK_ROTATION_ALWAYS;
    test_plain_policy(s.f);
    for (size_t i = 0; i < RACERS; i++)
        s.held[i] = test_hold(s.f, NULL, NULL);
    for (int minute = 0; minute < 5; minute++) {
        test_advance_s(s.f, 60);
        test_threads(RACERS, refresh_own, &s);
    }
    for (size_t i = 0; i < RACERS; i++) {
        otok_error err;
        otok_session *session = NULL;
        test_assert_code(OTOK_OK, s.rc[i]);
        test_assert_code(OTOK_OK, otok_session_get(s.f->service, s.held[i].session_id, &session, &err));
        ck_assert_uint_eq(session->generation, 5);
        otok_session_free(session);
    }
    test_close(s.f);
}
END_TEST

/* R6, T2, L5: time goes on while 64 threads refresh, each with the latest token that it got (tests/fault/stress_refresh.c) */
START_TEST(sixty_four_threads_move_the_generation_by_what_was_advanced_and_nobody_is_refused)
{
    test_fixture *f = test_open(_i);
    test_stress sum = {0};
    for (double seconds = 1.5; sum.advanced == 0 && seconds < 30; seconds *= 4) { /* longer where a machine is slow */
        sum = test_stress_refresh(f, 64, seconds);
        ck_assert_msg(sum.refused == 0, "%llu refused, the first with %s", (unsigned long long)sum.refused,
                      otok_error_name(sum.first_refusal));
        ck_assert_uint_eq(sum.generation, sum.advanced);
    }
    ck_assert_uint_ge(sum.advanced, 1);
    test_close(f);
}
END_TEST

static void add_tests(TCase *tc)
{
    const TTest *const on_both[] = {threads_that_refresh_one_token_get_one_successor,
                                    two_threads_that_refresh_one_token_get_one_successor,
                                    sessions_refreshed_side_by_side_do_not_meet,
                                    sixty_four_threads_move_the_generation_by_what_was_advanced_and_nobody_is_refused};
    test_add_on_both(tc, on_both, sizeof on_both / sizeof *on_both);
    tcase_add_test(tc, processes_that_refresh_one_token_get_one_successor);
}

int main(void)
{
    return test_main("races", add_tests);
}
