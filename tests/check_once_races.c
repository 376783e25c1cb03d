/*
 * check_once_races.c - I8 under races: one key used by many at once, of threads, nodes and processes, gives one session and one
 * token.
 *
 * SPDX-License-Identifier: MIT
 */
#include "support/ask.h"
#include "support/crew.h"
#include "support/node.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { RACERS = 8 };

typedef struct race {
    char once_key[32];
    int rc[RACERS];
    int32_t outcome[RACERS];
    test_held held[RACERS];
} race;

typedef struct runner {
    race r;
    test_fixture *nodes[RACERS];
} runner;

static void use_key(race *r, test_fixture *f, size_t i)
{
    otok_tokens *tokens = NULL;
    otok_grant grant = test_grant(NULL, NULL, "offline_access");
    grant.once_key = r->once_key;
    do
        r->rc[i] = otok_issue(f->service, &grant, &tokens, NULL);
    while (r->rc[i] == OTOK_E_CONFLICT); /* "try again" */
    if (r->rc[i] != OTOK_OK)
        return;
    r->outcome[i] = tokens->outcome;
    test_keep(&r->held[i], tokens);
}

static void prepare(race *r, int round)
{
    memset(r, 0, sizeof *r);
    (void)snprintf(r->once_key, sizeof r->once_key, "code %d", round);
}

static void expect_one_session(const race *r, test_fixture *f, uint64_t sessions)
{
    size_t issued = 0;
    otok_filter filter = test_filter("alice", "phone", NULL);
    for (size_t i = 0; i < RACERS; i++) {
        test_assert_code(OTOK_OK, r->rc[i]);
        ck_assert_str_eq(r->held[i].token, r->held[0].token);
        ck_assert_str_eq(r->held[i].session_id, r->held[0].session_id);
        issued += r->outcome[i] == OTOK_OUTCOME_ISSUED;
        ck_assert(r->outcome[i] == OTOK_OUTCOME_ISSUED || r->outcome[i] == OTOK_OUTCOME_RETRIED);
    }
    ck_assert_uint_eq(issued, 1);
    ck_assert_uint_eq(test_count(f, &filter), sessions);
    test_assert_code(OTOK_OK, test_refresh_code(f, r->held[0].token, NULL));
}

static void race_of_threads(void *arg, size_t i)
{
    runner *run = arg;
    use_key(&run->r, run->nodes[i], i);
}

/* At a limit of one each new session takes the place of the one before, or waits for its end: still one. */
static void race_rounds(int engine, int32_t at_limit, int rounds)
{
    runner run;
    test_fixture *f = test_open(engine);
    f->callbacks.event = NULL;
    f->policy.session_limit = at_limit != OTOK_AT_LIMIT_DEFAULT ? 1 : 0;
    f->policy.at_session_limit = at_limit;
    test_plain_policy(f);
    for (size_t i = 0; i < RACERS; i++) { /* four nodes, whose clocks differ by less and by more than a millisecond */
        static const int64_t ahead_us[] = {0, 300, -40 * OTOK_US_PER_MS, OTOK_US_PER_S};
        run.nodes[i] = i % 4 != 0 ? test_open_node(f, NULL) : f;
        test_set_now_us(run.nodes[i], TEST_START_US + ahead_us[i % 4]);
    }
    for (int round = 0; round < rounds; round++) {
        prepare(&run.r, round);
        test_threads(RACERS, race_of_threads, &run);
        expect_one_session(&run.r, f, at_limit != OTOK_AT_LIMIT_DEFAULT ? 1 : (uint64_t)round + 1);
        if (at_limit == OTOK_AT_LIMIT_REFUSE)
            test_assert_code(OTOK_OK, otok_revoke_session(f->service, run.r.held[0].session_id, NULL));
        for (size_t i = 0; i < RACERS; i++) {
            if (i % 4 != 0 || i == 0)
                test_advance_s(run.nodes[i], 1);
        }
    }
    for (size_t i = 0; i < RACERS; i++) {
        if (i % 4 != 0)
            test_close(run.nodes[i]);
    }
    test_close(f);
}

/* I8 */
START_TEST(one_key_used_by_threads_of_four_nodes_gives_one_session)
{
    race_rounds(_i, OTOK_AT_LIMIT_DEFAULT, _i == TEST_LMDB ? 25 : 100);
}
END_TEST

/* I8, I4: what one of them began neither stands in the way of the others, nor do they end it. */
START_TEST(one_key_used_at_a_limit_of_one_gives_one_session)
{
    race_rounds(_i, OTOK_AT_LIMIT_EVICT, _i == TEST_LMDB ? 25 : 100);
}
END_TEST

/* I8, I4 */
START_TEST(one_key_used_where_the_limit_refuses_gives_one_session)
{
    race_rounds(_i, OTOK_AT_LIMIT_REFUSE, _i == TEST_LMDB ? 25 : 100);
}
END_TEST

static const test_fixture *parent;

static void race_of_processes(void *arg, size_t i)
{
    otok_error err;
    test_fixture f = *parent;
    f.service = NULL;
    int rc = otok_store_open_lmdb(f.folder, NULL, &f.store, &err);
    if (rc != OTOK_OK)
        test_leave(err.message, rc);
    test_reopen_service(&f);
    use_key(arg, &f, i);
    otok_service_close(f.service);
    otok_store_close(f.store);
}

/* I8, S4 */
START_TEST(one_key_used_by_processes_gives_one_session)
{
    race *r = test_shared(sizeof *r);
    test_fixture *f = test_open(TEST_LMDB);
    f->callbacks.event = NULL;
    test_plain_policy(f);
    for (int round = 0; round < 8; round++) {
        prepare(r, round);
        parent = f;
        test_processes(RACERS, race_of_processes, r);
        expect_one_session(r, f, (uint64_t)round + 1);
    }
    test_unshare(r, sizeof *r);
    test_close(f);
}
END_TEST

/* ------------------------------------------------------------------------------------------------- retry against replay */

typedef struct mixed {
    race r;
    test_fixture *f, *late; /* the second has a clock for which the window is over */
} mixed;

static void retry_or_replay(void *arg, size_t i)
{
    mixed *m = arg;
    use_key(&m->r, i == 0 ? m->late : m->f, i);
}

/* I8: whoever is answered beside a replay holds a token that is dead once the replay was told so. */
START_TEST(replay_among_retries_ends_the_session)
{
    mixed m;
    m.f = test_open(_i);
    m.f->callbacks.event = NULL;
    test_plain_policy(m.f);
    m.late = test_open_node(m.f, NULL);
    test_advance_s(m.late, TEST_DAY_S / 2);
    for (int round = 0; round < 20; round++) {
        prepare(&m.r, round);
        use_key(&m.r, m.f, 1);
        test_assert_code(OTOK_OK, m.r.rc[1]);
        test_held first = m.r.held[1];
        test_threads(RACERS, retry_or_replay, &m);
        test_assert_code(OTOK_E_ONCE, m.r.rc[0]);
        for (size_t i = 1; i < RACERS; i++) {
            ck_assert_msg(m.r.rc[i] == OTOK_OK || m.r.rc[i] == OTOK_E_ONCE, "%s", otok_error_name(m.r.rc[i]));
            ck_assert(m.r.rc[i] != OTOK_OK || strcmp(m.r.held[i].token, first.token) == 0);
        }
        test_assert_code(OTOK_E_TOKEN_UNKNOWN, test_refresh_code(m.f, first.token, NULL));
        use_key(&m.r, m.f, 1);
        test_assert_code(OTOK_E_ONCE, m.r.rc[1]);
    }
    test_close(m.late);
    test_close(m.f);
}
END_TEST

static void add_tests(TCase *tcase)
{
    const TTest *const on_both[] = {
        one_key_used_by_threads_of_four_nodes_gives_one_session,
        one_key_used_at_a_limit_of_one_gives_one_session,
        one_key_used_where_the_limit_refuses_gives_one_session,
        replay_among_retries_ends_the_session,
    };
    test_add_on_both(tcase, on_both, sizeof on_both / sizeof *on_both);
    tcase_add_test(tcase, one_key_used_by_processes_gives_one_session);
}

int main(void)
{
    return test_main("once_races", add_tests);
}
