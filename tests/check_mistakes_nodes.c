/*
 * check_mistakes_nodes.c - mistakes that others made with restarts, clocks, forks and second nodes.  The others: check_mistakes.c.
 *
 * SPDX-License-Identifier: MIT
 */
#include "support/ask.h"
#include "support/crew.h"
#include "support/node.h"

#include <stdlib.h>
#include <string.h>

/* T3: staleness was compared with the time the server started, so that a replay worked after a restart */
START_TEST(cve_2026_9802_replay_works_after_a_restart)
{
    for (int restarts = 0; restarts < 3; restarts++) {
        test_fixture *f = test_open(_i);
        test_held first = test_hold(f, NULL, NULL), held = first;
        test_rotate(f, &held, NULL);
        test_advance_s(f, 60);
        for (int i = 0; i < restarts; i++)
            test_restart(f);
        test_assert_code(OTOK_E_TOKEN_REUSED, test_refresh_code(f, first.token, NULL));
        test_assert_code(OTOK_E_TOKEN_UNKNOWN, test_refresh_code(f, held.token, NULL)); /* END_SESSION, by default */
        ck_assert_uint_eq(test_count_reasons(f, OTOK_EVENT_REVOKED, OTOK_REVOKED_BY_REUSE, held.session_id), 1);
        test_close(f);
    }
}
END_TEST

/* T2: and a retry that was in time must still be one after a restart */
START_TEST(cve_2026_9802_retry_is_taken_for_a_replay_after_a_restart)
{
    test_fixture *f = test_open(_i);
    test_held first = test_hold(f, NULL, NULL), held = first, again = first;
    test_rotate(f, &held, NULL);
    test_restart(f);
    test_assert_code(OTOK_OK, test_refresh_held(f, &again, NULL));
    ck_assert_str_eq(again.token, held.token);
    test_close(f);
}
END_TEST

/* T3, L5: generations were seconds: rotations in one second, or under a clock that stands or goes back, were not told apart */
START_TEST(keycloak_50999_generations_are_seconds)
{
    static const int64_t steps_us[] = {0, 1, -1, -3600 * OTOK_US_PER_S, 999999};
    for (size_t i = 0; i < sizeof steps_us / sizeof *steps_us; i++) {
        test_fixture *f = test_open(_i);
        f->policy.reuse = OTOK_REUSE_REJECT;
        f->policy.retry_window_s = 1;
        f->policy.clock_skew_s = 0;
        test_reopen_service(f);
        test_held tokens[4];
        tokens[0] = test_hold(f, NULL, NULL);
        for (size_t k = 1; k < 4; k++) {
            tokens[k] = tokens[k - 1];
            test_rotate(f, &tokens[k], NULL);
            for (size_t m = 0; m < k; m++)
                ck_assert_str_ne(tokens[k].token, tokens[m].token);
        }
        test_set_now_us(f, f->now_us + steps_us[i]);
        for (size_t k = 0; k < 2; k++) /* two and three generations behind, in the very moment of the rotation */
            test_assert_code(OTOK_E_TOKEN_REUSED, test_refresh_code(f, tokens[k].token, NULL));
        test_assert_code(OTOK_OK, test_refresh_code(f, tokens[3].token, NULL));
        ck_assert_uint_eq(test_last_event(f, OTOK_EVENT_REUSE)->event.distance, 2);
        test_close(f);
    }
}
END_TEST

/* L5: a clock ten years behind makes no token younger than its successor */
START_TEST(kanidm_replay_passes_under_a_clock_that_went_back)
{
    static const int64_t years[] = {-10, -1, 1};
    for (size_t i = 0; i < sizeof years / sizeof *years; i++) {
        test_fixture *f = test_open(_i);
        f->policy.idle_timeout_s = OTOK_UNLIMITED;
        test_reopen_service(f);
        test_held first = test_hold(f, NULL, NULL), held = first;
        for (int k = 0; k < 3; k++)
            test_rotate(f, &held, NULL);
        test_advance_s(f, years[i] * 365 * TEST_DAY_S);
        test_assert_code(OTOK_E_TOKEN_REUSED, test_refresh_code(f, first.token, NULL));
        test_assert_code(OTOK_E_TOKEN_UNKNOWN, test_refresh_code(f, held.token, NULL));
        test_close(f);
    }
}
END_TEST

/* ---------------------------------------------------------------------------------------------------- a second process */

typedef struct two_processes {
    pthread_barrier_t barrier;
    char folder[512];
    test_held held;
    int64_t now_us;
    int warm, cold; /* what the reader's refresh answered before and after */
    bool listed;
} two_processes;

static const test_fixture *parent;

static void open_own(test_fixture *f, const two_processes *t)
{
    otok_error err;
    *f = *parent;
    f->service = NULL;
    int rc = otok_store_open_lmdb(t->folder, NULL, &f->store, &err);
    if (rc != OTOK_OK)
        test_leave(err.message, rc);
    test_reopen_service(f);
}

static void read_or_revoke(void *arg, size_t i)
{
    two_processes *t = arg;
    test_fixture f;
    open_own(&f, t);
    if (i == 0) {
        for (int k = 0; k < 5; k++) /* whatever it would keep in mind */
            t->warm = test_refresh_code(&f, t->held.token, NULL);
        pthread_barrier_wait(&t->barrier);
        pthread_barrier_wait(&t->barrier);
        t->cold = test_refresh_code(&f, t->held.token, NULL);
        t->listed = test_has_session(&f, t->held.session_id);
    } else {
        otok_error err;
        pthread_barrier_wait(&t->barrier);
        int rc = otok_revoke_session(f.service, t->held.session_id, &err);
        if (rc != OTOK_OK)
            test_leave(err.message, rc);
        pthread_barrier_wait(&t->barrier);
    }
    otok_service_close(f.service);
    otok_store_close(f.store);
}

/* V5, S4: the session was deleted from a cache, and lived on in the store, and in other processes */
START_TEST(cve_2025_29928_delete_hits_a_cache_and_not_the_store)
{
    two_processes *t = test_shared(sizeof *t);
    test_fixture *f = test_open(TEST_LMDB);
    test_barrier_init(&t->barrier, 2);
    t->held = test_hold(f, NULL, NULL);
    memcpy(t->folder, f->folder, strlen(f->folder) + 1);
    parent = f;
    test_processes(2, read_or_revoke, t);
    test_assert_code(OTOK_OK, t->warm);
    test_assert_code(OTOK_E_TOKEN_UNKNOWN, t->cold);
    ck_assert(!t->listed);
    test_assert_code(OTOK_E_TOKEN_UNKNOWN, test_refresh_code(f, t->held.token, NULL));
    test_restart(f);
    test_assert_code(OTOK_E_TOKEN_UNKNOWN, test_refresh_code(f, t->held.token, NULL));
    test_unshare(t, sizeof *t);
    test_close(f);
}
END_TEST

/* ------------------------------------------------------------------------------------------------------------- random */

enum { CHILDREN = 6, EACH = 100, TOKENS = CHILDREN * EACH };

typedef struct brood {
    char folder[512];
    char handles[TOKENS][OTOK_TOKEN_CHARS + 1];
} brood;

/* Everything is equal in the children but what is random: the clock, the keys, the state of the generator before the fork. */
static void issue_after_fork(void *arg, size_t i)
{
    brood *b = arg;
    otok_error err;
    test_fixture f = *parent;
    int rc = otok_store_open_memory(&f.store, &err);
    if (rc != OTOK_OK)
        test_leave(err.message, rc);
    f.service = NULL;
    test_reopen_service(&f);
    for (size_t k = 0; k < EACH; k++) {
        test_held held = test_hold(&f, NULL, NULL);
        memcpy(b->handles[i * EACH + k], held.token, sizeof held.token);
    }
    otok_service_close(f.service);
    otok_store_close(f.store);
}

static int compare_tokens(const void *a, const void *b)
{
    return memcmp(a, b, OTOK_TOKEN_CHARS);
}

/* I2, K6: children that inherit the generator's state drew the same numbers */
START_TEST(cve_2019_1549_random_state_shared_over_fork)
{
    brood *b = test_shared(sizeof *b);
    test_fixture *f = test_open(TEST_MEMORY);
    test_plain_policy(f);
    (void)test_hold(f, NULL, NULL); /* the generator is at work */
    parent = f;
    test_processes(CHILDREN, issue_after_fork, b);
    qsort(b->handles, TOKENS, sizeof b->handles[0], compare_tokens);
    for (size_t i = 0; i < TOKENS; i++) {
        ck_assert_uint_eq(strlen(b->handles[i]), OTOK_TOKEN_CHARS);
        ck_assert(i == 0 || strcmp(b->handles[i], b->handles[i - 1]) != 0);
    }
    test_unshare(b, sizeof *b);
    test_close(f);
}
END_TEST

static void add_tests(TCase *tc)
{
    const TTest *const on_both[] = {
        cve_2026_9802_replay_works_after_a_restart, cve_2026_9802_retry_is_taken_for_a_replay_after_a_restart,
        keycloak_50999_generations_are_seconds, kanidm_replay_passes_under_a_clock_that_went_back};
    test_add_on_both(tc, on_both, sizeof on_both / sizeof *on_both);
    tcase_add_test(tc, cve_2025_29928_delete_hits_a_cache_and_not_the_store);
    tcase_add_test(tc, cve_2019_1549_random_state_shared_over_fork);
}

int main(void)
{
    return test_main("mistakes_nodes", add_tests);
}
