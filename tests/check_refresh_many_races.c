/*
 * check_refresh_many_races.c - R6: calls of otok_refresh_many() with the same tokens, by threads and by processes.
 *
 * SPDX-License-Identifier: MIT
 */
#include <stdlib.h>
#include <string.h>

#include "support/crew.h"
#include "support/many.h"

enum { RACERS = 4, TOKENS = 24 };

/* RACERS calls at once with the same tokens, each racer in an order of its own, round after round; in shared memory. */
typedef struct race {
    pthread_barrier_t barrier;
    size_t rounds;
    int64_t now_us;
    char folder[512];
    test_held held[TOKENS];
    struct {
        int rc;
        int32_t outcome;
        uint32_t generation;
        char token[OTOK_TOKEN_CHARS + 1];
    } got[RACERS][TOKENS];
    size_t wrong_round; /* 1 + the round in which something was wrong; 0: none */
    const char *wrong;
} race;

static const char *judge_token(const race *r, size_t token, size_t round)
{
    size_t advanced = 0;
    for (size_t i = 0; i < RACERS; i++) {
        if (r->got[i][token].rc != OTOK_OK)
            return otok_error_name(r->got[i][token].rc);
        if (strcmp(r->got[i][token].token, r->got[0][token].token) != 0)
            return "two successors";
        if (r->got[i][token].generation != round + 1)
            return "more or less than one generation";
        advanced += r->got[i][token].outcome == OTOK_OUTCOME_ADVANCED;
    }
    return advanced == 1 ? NULL : "not one that advanced";
}

/* Between two barriers, by one racer. */
static void judge(race *r, size_t round)
{
    for (size_t token = 0; token < TOKENS && r->wrong_round == 0; token++) {
        r->wrong = judge_token(r, token, round);
        r->wrong_round = r->wrong != NULL ? round + 1 : 0;
        memcpy(r->held[token].token, r->got[0][token].token, sizeof r->held[token].token);
    }
    r->now_us += 60 * OTOK_US_PER_S;
}

/* Which token a racer asks for as its n-th: each in steps of its own, which are coprime to their number, through all of them. */
static size_t nth_of(size_t racer, size_t n)
{
    static const size_t steps[RACERS] = {1, 5, 7, 11};
    return (n * steps[racer] + racer) % TOKENS;
}

static void refresh_all(race *r, test_fixture *f, size_t i)
{
    otok_refresh_request requests[TOKENS];
    const otok_refresh_request *asked[TOKENS];
    otok_tokens *out[TOKENS];
    otok_error errors[TOKENS];
    for (size_t n = 0; n < TOKENS; n++) {
        requests[n] = test_refresh_request(r->held[nth_of(i, n)].token, NULL);
        asked[n] = &requests[n];
    }
    int rc = otok_refresh_many(f->service, asked, TOKENS, out, errors, NULL);
    for (size_t n = 0; n < TOKENS; n++) {
        size_t token = nth_of(i, n);
        r->got[i][token].rc = rc != OTOK_OK ? rc : errors[n].code;
        if (r->got[i][token].rc != OTOK_OK)
            continue;
        r->got[i][token].outcome = out[n]->outcome;
        r->got[i][token].generation = out[n]->generation;
        memcpy(r->got[i][token].token, out[n]->offline_token, sizeof r->got[i][token].token);
        otok_tokens_free(out[n]);
    }
}

static void run_race(race *r, test_fixture *f, size_t i)
{
    for (size_t round = 0; round < r->rounds; round++) {
        pthread_barrier_wait(&r->barrier);
        test_set_now_us(f, r->now_us); /* a process has a clock of its own */
        refresh_all(r, f, i);
        pthread_barrier_wait(&r->barrier);
        if (i == 0)
            judge(r, round);
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

static race *prepare(test_fixture *f, size_t rounds)
{
    race *r = test_shared(sizeof *r);
    test_barrier_init(&r->barrier, RACERS);
    r->rounds = rounds;
    f->callbacks.event = NULL; /* its lock would put them in a queue */
    test_plain_policy(f);
    test_held *held = test_many_hold(f, TOKENS);
    memcpy(r->held, held, sizeof r->held);
    free(held);
    r->now_us = f->now_us;
    return r;
}

static void assert_went_well(const race *r)
{
    ck_assert_msg(r->wrong_round == 0, "round %zu: %s", r->wrong_round, r->wrong);
    ck_assert_int_eq(r->now_us, TEST_START_US + (int64_t)(r->rounds + 1) * 60 * OTOK_US_PER_S);
}

/* R6 */
START_TEST(threads_with_the_same_tokens_get_the_same_successors)
{
    static const size_t rounds[] = {300, 60};
    test_fixture *f = test_open(_i);
    race *r = prepare(f, rounds[_i]);
    runner run = {r, f};
    test_threads(RACERS, race_of_threads, &run);
    assert_went_well(r);
    test_unshare(r, sizeof *r);
    test_close(f);
}
END_TEST

static const test_fixture *parent; /* keyring, policy and callbacks, as inherited by fork */

static void race_of_processes(void *arg, size_t i)
{
    race *r = arg;
    otok_error err;
    test_fixture f = *parent;
    f.service = NULL;
    int rc = otok_store_open_lmdb(r->folder, NULL, &f.store, &err);
    if (rc != OTOK_OK)
        test_leave(err.message, rc);
    test_reopen_service(&f);
    run_race(r, &f, i);
    otok_service_close(f.service);
    otok_store_close(f.store);
}

/* R6 S4: what prefork servers do */
START_TEST(processes_with_the_same_tokens_get_the_same_successors)
{
    test_fixture *f = test_open(TEST_LMDB);
    race *r = prepare(f, 60);
    ck_assert_uint_lt(strlen(f->folder), sizeof r->folder);
    memcpy(r->folder, f->folder, strlen(f->folder) + 1);
    otok_service_close(f->service);
    otok_store_close(f->store);
    f->service = NULL;
    f->store = NULL;
    parent = f;
    test_processes(RACERS, race_of_processes, r);
    ck_assert_msg(r->wrong_round == 0, "round %zu", r->wrong_round);
    ck_assert_int_eq(r->now_us, TEST_START_US + (int64_t)(r->rounds + 1) * 60 * OTOK_US_PER_S);
    test_unshare(r, sizeof *r);
    test_close(f);
}
END_TEST

static void add_tests(TCase *tc)
{
    const TTest *const on_both[] = {threads_with_the_same_tokens_get_the_same_successors};
    test_add_on_both(tc, on_both, sizeof on_both / sizeof *on_both);
    tcase_add_test(tc, processes_with_the_same_tokens_get_the_same_successors);
}

int main(void)
{
    return test_main("refresh_many_races", add_tests);
}
