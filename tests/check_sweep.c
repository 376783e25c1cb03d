/*
 * check_sweep.c - L6: the sweeper finds every dead session, in bounded batches, and no other.
 *
 * SPDX-License-Identifier: MIT
 */
#include "support/ask.h"
#include "support/node.h"

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
        sweeper_of_one_realm_leaves_the_other_alone};
    test_add_on_both(tc, on_both, sizeof on_both / sizeof *on_both);
    tcase_add_loop_test(tc, each_death_is_swept_with_an_event_for_each_session, 0, DEATHS);
}

int main(void)
{
    return test_main("sweep", add_tests);
}
