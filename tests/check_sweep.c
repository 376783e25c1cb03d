/*
 * check_sweep.c - L6: the sweeper finds every dead session, in bounded batches, and no other.
 *
 * SPDX-License-Identifier: MIT
 */
#include "support/ask.h"
#include "support/crew.h"
#include "support/node.h"
#include "support/watch.h"

#include <string.h>

#define DAYS(n) ((n) * (int64_t)TEST_DAY_S)

static uint64_t records(test_fixture *f)
{
    otok_filter realm = test_filter_realm();
    return test_count(f, &realm);
}

static void cut(test_fixture *f, const char *subject, const char *client_id)
{
    otok_error err;
    otok_filter filter = test_filter(subject, client_id, NULL);
    test_assert_code(OTOK_OK, otok_cutoff_set(f->service, &filter, OTOK_NOW, NULL, &err));
}

/* How each of the four deaths is brought about, after the session was issued; and what tells of it. */
static void die_idle(test_fixture *f)
{
    test_advance_s(f, DAYS(31));
}

static void die_of_age(test_fixture *f)
{
    f->policy.idle_timeout_s = OTOK_UNLIMITED;
    f->policy.max_lifetime_s = DAYS(60);
    test_reopen_service(f);
    test_advance_s(f, DAYS(61));
}

static void die_by_cutoff(test_fixture *f)
{
    cut(f, "alice", NULL);
}

static void die_by_policy(test_fixture *f)
{
    test_advance_s(f, 7200);
    f->policy.idle_timeout_s = 3600;
    test_reopen_service(f);
    test_advance_s(f, DAYS(30)); /* the least that the sweeper has to find out about it */
}

static const struct {
    void (*die)(test_fixture *);
    int32_t event, reason;
} deaths[] = {{die_idle, OTOK_EVENT_EXPIRED, OTOK_E_TOKEN_EXPIRED},
              {die_of_age, OTOK_EVENT_EXPIRED, OTOK_E_TOKEN_EXPIRED},
              {die_by_cutoff, OTOK_EVENT_REVOKED, OTOK_REVOKED_BY_CUTOFF},
              {die_by_policy, OTOK_EVENT_EXPIRED, OTOK_E_TOKEN_EXPIRED}};
enum { DEATHS = sizeof deaths / sizeof *deaths, N = 100 };

/* L6, E1 */
START_TEST(each_death_is_swept_with_an_event_for_each_session)
{
    static test_held held[N];
    for (int engine = TEST_MEMORY; engine <= TEST_LMDB; engine++) {
        test_fixture *f = test_open(engine);
        test_plain_policy(f);
        for (size_t i = 0; i < N; i++)
            held[i] = test_hold(f, "alice", "phone");
        deaths[_i].die(f);
        test_held live = test_hold(f, "bob", "phone");
        otok_sweep_result sum = test_sweep_out(f);
        bool expired = deaths[_i].event == OTOK_EVENT_EXPIRED;
        ck_assert_uint_eq(sum.expired, expired ? N + (deaths[_i].die == die_by_policy) : 0);
        ck_assert_uint_eq(sum.cut_off, expired ? 0 : N);
        for (size_t i = 0; i < N; i++) {
            ck_assert(!test_has_session(f, held[i].session_id));
            ck_assert_uint_eq(test_count_reasons(f, deaths[_i].event, deaths[_i].reason, held[i].session_id), 1);
        }
        if (deaths[_i].die != die_by_policy) { /* it idles for days while we sweep */
            ck_assert_uint_eq(records(f), 1);
            test_assert_code(OTOK_OK, test_refresh_code(f, live.token, NULL));
        }
        test_close(f);
    }
}
END_TEST

/* L6: nothing dead, nothing swept */
START_TEST(live_sessions_are_never_swept)
{
    static test_held held[N];
    test_fixture *f = test_open(_i);
    test_plain_policy(f);
    for (size_t i = 0; i < N; i++)
        held[i] = test_hold(f, "alice", "phone");
    for (int day = 0; day < 100; day++) {
        test_advance_s(f, DAYS(1));
        for (size_t i = (size_t)day % 25; i < N; i += 25)
            test_assert_code(OTOK_OK, test_refresh_held(f, &held[i], NULL));
        otok_sweep_result sum = test_sweep(f, 0);
        ck_assert_uint_eq(sum.expired + sum.cut_off, 0);
    }
    ck_assert_uint_eq(records(f), N);
    test_close(f);
}
END_TEST

/* L6: bounded batches */
START_TEST(one_call_visits_no_more_than_its_limit_and_says_that_there_is_more)
{
    static const uint32_t limits[] = {1, 7, 64};
    for (size_t k = 0; k < sizeof limits / sizeof *limits; k++) {
        uint64_t gone = 0, calls = 0;
        otok_sweep_result result;
        otok_error err;
        test_fixture *f = test_open(_i);
        test_plain_policy(f);
        for (int i = 0; i < N; i++)
            otok_tokens_free(test_issue_plain(f, "alice", "phone"));
        cut(f, "alice", NULL);
        otok_sweep_result_init(&result, sizeof result);
        do {
            uint64_t before = records(f);
            test_assert_code(OTOK_OK, otok_sweep(f->service, limits[k], &result, &err));
            ck_assert_uint_le(result.visited, limits[k]);
            ck_assert_uint_le(result.cut_off, result.visited);
            ck_assert_uint_eq(before - records(f), result.cut_off);
            gone += result.cut_off;
            calls++;
        } while (result.more != 0);
        otok_sweep_result rest = test_sweep_out(f);
        ck_assert_uint_eq(gone + rest.cut_off, N);
        if (rest.cut_off == 0)
            ck_assert_uint_ge(calls, N / limits[k]);
        test_close(f);
    }
}
END_TEST

/* L6: sweep_grace_s */
START_TEST(first_sight_of_a_dead_session_does_not_remove_it_and_the_second_after_the_grace_does)
{
    test_fixture *f = test_open(_i);
    f->policy.sweep_grace_s = DAYS(2);
    test_reopen_service(f);
    test_held held = test_hold(f, NULL, NULL);
    test_advance_s(f, DAYS(31));
    for (int hour = 0; hour < 47; hour++) {
        ck_assert_uint_eq(test_sweep(f, 0).expired, 0);
        test_advance_s(f, 3600);
    }
    ck_assert(test_has_session(f, held.session_id));
    test_advance_s(f, 2 * 3600);
    ck_assert_uint_eq(test_sweep(f, 0).expired, 1);
    ck_assert(!test_has_session(f, held.session_id));
    ck_assert_uint_eq(test_count_reasons(f, OTOK_EVENT_EXPIRED, OTOK_E_TOKEN_EXPIRED, held.session_id), 1);
    test_close(f);
}
END_TEST

/* L5, L6: the clock goes ten years ahead, for an hour of sweeping, and comes back */
START_TEST(clock_that_jumps_ten_years_ahead_and_back_destroys_nothing)
{
    static test_held held[20];
    test_fixture *f = test_open(_i);
    for (size_t i = 0; i < 20; i++)
        held[i] = test_hold(f, "alice", "phone");
    test_advance_s(f, DAYS(3650));
    for (int minute = 0; minute < 60; minute++) {
        otok_sweep_result sum = test_sweep(f, 0);
        ck_assert_uint_eq(sum.expired + sum.cut_off, 0);
        test_advance_s(f, 60);
    }
    test_advance_s(f, -DAYS(3650));
    for (int day = 0; day < 25; day++) {
        test_advance_s(f, DAYS(1));
        ck_assert_uint_eq(test_sweep(f, 0).expired, 0);
    }
    for (size_t i = 0; i < 20; i++)
        test_assert_code(OTOK_OK, test_refresh_code(f, held[i].token, NULL));
    test_close(f);
}
END_TEST

/* L6: "every session is looked at least once in 30 days", also where the sweeper once saw it while the clock was wrong */
START_TEST(session_seen_under_a_wrong_clock_is_looked_at_again_within_30_days)
{
    test_fixture *f = test_open(_i);
    test_held held = test_hold(f, NULL, NULL);
    test_advance_s(f, DAYS(3650));
    (void)test_sweep(f, 0);
    test_advance_s(f, -DAYS(3650));
    (void)test_sweep(f, 0);
    for (int day = 0; day < 64; day++) { /* dies at 30, is looked at by 60 */
        test_advance_s(f, DAYS(1));
        (void)test_sweep(f, 0);
    }
    ck_assert(!test_has_session(f, held.session_id));
    ck_assert_uint_eq(test_count_events(f, OTOK_EVENT_EXPIRED), 1);
    test_close(f);
}
END_TEST

/* L6: sessions without any end are looked at too, for the day when a policy gives them one */
START_TEST(every_session_is_looked_at_once_in_30_days)
{
    test_fixture *f = test_open(_i);
    f->policy.idle_timeout_s = OTOK_UNLIMITED;
    test_plain_policy(f);
    for (int i = 0; i < N; i++)
        otok_tokens_free(test_issue_plain(f, "alice", "phone"));
    for (int month = 0; month < 4; month++) {
        uint64_t visited = 0;
        for (int day = 0; day < 30; day++) {
            test_advance_s(f, DAYS(1));
            otok_sweep_result sum = test_sweep(f, 0);
            visited += sum.visited;
            ck_assert_uint_eq(sum.expired, 0);
        }
        ck_assert_uint_ge(visited, N);
        ck_assert_uint_le(visited, 3 * N);
    }
    test_close(f);
}
END_TEST

/* L6: the sweeper is behind a cutoff, the process ends, another one goes on */
START_TEST(walk_behind_a_cutoff_is_resumed_after_a_restart_and_by_another_service)
{
    enum { MANY = 300 };
    otok_error err;
    otok_sweep_result result;
    uint64_t gone = 0, visited = 0;
    test_fixture *f = test_open(_i);
    test_plain_policy(f);
    for (int i = 0; i < MANY; i++)
        otok_tokens_free(test_issue_plain(f, i % 2 != 0 ? "alice" : "bob", "phone"));
    cut(f, NULL, "phone");
    test_held live = test_hold(f, "alice", "phone");
    test_forget_events(f);
    otok_sweep_result_init(&result, sizeof result);
    for (int i = 0; i < 4 * MANY; i++) {
        test_assert_code(OTOK_OK, otok_sweep(f->service, 40, &result, &err));
        gone += result.cut_off;
        visited += result.visited;
        if (result.more == 0)
            break;
        if (i % 3 == 0)
            test_restart(f);
        if (i % 3 == 1) {
            test_fixture *node = test_open_node(f, NULL);
            test_assert_code(OTOK_OK, otok_sweep(node->service, 40, &result, &err));
            ck_assert_uint_eq(test_count_events(node, OTOK_EVENT_REVOKED), result.cut_off);
            gone += result.cut_off;
            visited += result.visited;
            test_close(node);
        }
    }
    gone += test_sweep_out(f).cut_off;
    ck_assert_uint_eq(gone, MANY);
    ck_assert_uint_le(visited, MANY + 100);
    ck_assert_uint_eq(records(f), 1);
    test_assert_code(OTOK_OK, test_refresh_code(f, live.token, NULL));
    test_close(f);
}
END_TEST

typedef struct sweepers {
    test_fixture *nodes[2];
    otok_sweep_result sums[2];
} sweepers;

static void sweep_one(void *arg, size_t i)
{
    sweepers *s = arg;
    s->sums[i] = test_sweep(s->nodes[i], 25);
}

/* L6: two sweepers at once */
START_TEST(two_sweepers_remove_each_session_once_with_one_event)
{
    enum { TWICE = 200 };
    for (int by_cutoff = 0; by_cutoff < 2; by_cutoff++) {
        sweepers s;
        uint64_t gone = 0;
        test_fixture *f = test_open(_i);
        test_plain_policy(f);
        for (int i = 0; i < TWICE; i++)
            otok_tokens_free(test_issue_plain(f, "alice", "phone"));
        test_advance_s(f, by_cutoff ? 0 : DAYS(31));
        if (by_cutoff)
            cut(f, "alice", NULL);
        for (int round = 0; round < 3; round++) {
            for (size_t i = 0; i < 2; i++)
                s.nodes[i] = test_open_node(f, NULL);
            test_threads(2, sweep_one, &s);
            for (size_t i = 0; i < 2; i++) {
                size_t told = test_count_events(s.nodes[i], OTOK_EVENT_EXPIRED) +
                              test_count_events(s.nodes[i], OTOK_EVENT_REVOKED);
                ck_assert_uint_eq(told, s.sums[i].expired + s.sums[i].cut_off);
                gone += told;
                test_close(s.nodes[i]);
            }
            test_advance_s(f, DAYS(1) + 60);
        }
        ck_assert_uint_eq(gone, TWICE);
        ck_assert_uint_eq(records(f), 0);
        test_close(f);
    }
}
END_TEST

typedef struct saviour {
    test_fixture *node;
    test_held held;
    int saved;
} saviour;

static void refresh_meanwhile(void *arg)
{
    saviour *s = arg;
    s->saved += test_refresh_held(s->node, &s->held, NULL) == OTOK_OK;
}

/* L6: "never one that was refreshed meanwhile": by a node for which it was not dead yet, before each call of the store */
START_TEST(session_refreshed_while_the_sweeper_looks_at_it_stays)
{
    uint64_t at = 1;
    int kept = 0;
    bool reached = true;
    for (; reached; at++) {
        test_fixture *f = test_open(TEST_MEMORY);
        saviour s = {.node = test_open_node(f, NULL)};
        test_watch watch;
        test_watch_fixture(&watch, f);
        s.held = test_hold(f, NULL, NULL);
        test_advance_s(s.node, DAYS(29));
        test_advance_s(f, DAYS(31));
        (void)test_sweep(f, 0);
        test_advance_s(f, DAYS(1) + 60);
        test_watch_step_in(&watch, at, TEST_CALL_ANY, refresh_meanwhile, &s);
        otok_sweep_result sum = test_sweep(f, 0);
        reached = watch.reached;
        ck_assert_int_eq(test_has_session(s.node, s.held.session_id), sum.expired == 0);
        if (s.saved != 0) {
            ck_assert_uint_eq(sum.expired, 0);
            ck_assert_uint_eq(test_count_events(f, OTOK_EVENT_EXPIRED), 0);
            test_assert_code(OTOK_OK, test_refresh_code(f, s.held.token, NULL));
            kept++;
        }
        test_close(s.node);
        test_close(f);
    }
    ck_assert_int_ge(kept, 2);
}
END_TEST

/* L6: realms are swept apart */
START_TEST(sweeper_of_one_realm_leaves_the_other_alone)
{
    test_fixture *f = test_open(_i), *other = test_open_node(f, "other");
    test_held ours = test_hold(f, NULL, NULL), theirs = test_hold(other, NULL, NULL);
    test_advance_s(f, DAYS(31));
    ck_assert_uint_eq(test_sweep_out(f).expired, 1);
    ck_assert(!test_has_session(f, ours.session_id));
    ck_assert(test_has_session(other, theirs.session_id));
    test_assert_code(OTOK_OK, test_refresh_code(other, theirs.token, NULL));
    test_close(other);
    test_close(f);
}
END_TEST

/* L6: a sweep that cannot read or write says so, and loses nothing: idle sessions (0), and cut off ones (1) */
START_TEST(sweep_over_a_failing_store_is_no_success_and_is_made_up_for)
{
    bool reached = true;
    for (uint64_t at = 1; reached; at++) {
        otok_error err;
        test_watch watch;
        test_fixture *f = test_open(TEST_MEMORY);
        test_plain_policy(f);
        test_watch_fixture(&watch, f);
        for (int i = 0; i < 100; i++)
            otok_tokens_free(test_issue_plain(f, "alice", "phone"));
        if (_i == 1)
            cut(f, "alice", NULL);
        test_advance_s(f, DAYS(31));
        (void)(_i == 0 ? test_sweep(f, 0).visited : 0);
        test_advance_s(f, DAYS(2));
        test_watch_fail(&watch, at, TEST_CALL_ANY, OTOK_E_IO, false);
        int rc = otok_sweep(f->service, 0, NULL, &err);
        reached = watch.reached;
        test_assert_code(reached ? OTOK_E_IO : OTOK_OK, rc);
        test_watch_reset(&watch);
        (void)test_sweep_out(f);
        ck_assert_uint_eq(records(f), 0);
        ck_assert_uint_eq(test_count_events(f, _i == 0 ? OTOK_EVENT_EXPIRED : OTOK_EVENT_REVOKED), 100);
        test_close(f);
    }
}
END_TEST

static bool speechless;

static int fail_when_speechless(test_fixture *f, const char *client_id, otok_policy *policy)
{
    (void)f;
    policy->idle_timeout_s = OTOK_UNLIMITED;
    return speechless && strcmp(client_id, "phone") == 0 ? -1 : 0;
}

/* L6: without its policy nobody knows whether a session is dead: it stays, whatever else the sweep does */
START_TEST(session_whose_policy_cannot_be_had_is_not_swept)
{
    test_fixture *f = test_open(_i);
    f->client_policy = fail_when_speechless;
    test_reopen_service(f);
    speechless = false;
    test_held held = test_hold(f, "alice", "phone");
    speechless = true;
    for (int day = 0; day < 70; day++) {
        otok_error err;
        test_advance_s(f, DAYS(1));
        (void)otok_sweep(f->service, 0, NULL, &err);
    }
    speechless = false;
    test_assert_code(OTOK_OK, test_refresh_code(f, held.token, NULL));
    ck_assert_uint_eq(test_count_events(f, OTOK_EVENT_EXPIRED), 0);
    test_close(f);
}
END_TEST

/* L6: and one client's callback does not keep the sweeper from the sessions of the others for ever */
START_TEST(client_whose_policy_cannot_be_had_does_not_stop_the_sweep_of_others)
{
    test_fixture *f = test_open(_i);
    f->client_policy = fail_when_speechless;
    test_reopen_service(f);
    speechless = false;
    (void)test_hold(f, "alice", "phone");
    otok_grant grant = test_grant("bob", "laptop", "offline_access");
    grant.max_lifetime_s = DAYS(2);
    test_held dead = test_hold_grant(f, &grant);
    speechless = true;
    for (int day = 0; day < 70; day++) {
        otok_error err;
        test_advance_s(f, DAYS(1));
        for (int call = 0; call < 5; call++)
            (void)otok_sweep(f->service, 0, NULL, &err);
    }
    speechless = false;
    ck_assert(!test_has_session(f, dead.session_id));
    test_close(f);
}
END_TEST

static void add_tests(TCase *tc)
{
    const TTest *const on_both[] = {
        live_sessions_are_never_swept,
        one_call_visits_no_more_than_its_limit_and_says_that_there_is_more,
        first_sight_of_a_dead_session_does_not_remove_it_and_the_second_after_the_grace_does,
        clock_that_jumps_ten_years_ahead_and_back_destroys_nothing,
        session_seen_under_a_wrong_clock_is_looked_at_again_within_30_days,
        every_session_is_looked_at_once_in_30_days,
        walk_behind_a_cutoff_is_resumed_after_a_restart_and_by_another_service,
        two_sweepers_remove_each_session_once_with_one_event,
        sweeper_of_one_realm_leaves_the_other_alone,
        session_whose_policy_cannot_be_had_is_not_swept,
        client_whose_policy_cannot_be_had_does_not_stop_the_sweep_of_others};
    test_add_on_both(tc, on_both, sizeof on_both / sizeof *on_both);
    tcase_add_loop_test(tc, each_death_is_swept_with_an_event_for_each_session, 0, DEATHS);
    tcase_add_test(tc, session_refreshed_while_the_sweeper_looks_at_it_stays);
    tcase_add_loop_test(tc, sweep_over_a_failing_store_is_no_success_and_is_made_up_for, 0, 2);
}

int main(void)
{
    return test_main("sweep", add_tests);
}
