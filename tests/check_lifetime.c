/*
 * check_lifetime.c - when a session has ended: idle timeout, maximum lifetime, cutoffs; and when the sweeper looks at
 * it.
 *
 * SPDX-License-Identifier: MIT
 */
#include "support/fixture.h"

#define S     OTOK_US_PER_S
#define DAY   OTOK_DAY_US
#define START TEST_START_US
#define YEARS (3652 * OTOK_DAY_US) /* ten of them */
#define NONE  INT64_MIN            /* no cutoff */

static otok_rules rules_with(int64_t idle_us, int64_t max_us, int64_t touch_us)
{
    otok_rules rules = {0};
    rules.idle_us = idle_us;
    rules.max_us = max_us;
    rules.touch_us = touch_us;
    return rules;
}

/* A session that began at START and was last used at START + used_us. */
static otok_lifetime at(int64_t used_us, int64_t now_us, const otok_rules *rules)
{
    otok_lifetime_in in = {now_us, START, START, START + used_us, NONE};
    return otok_lifetime_of(&in, rules);
}

static otok_rules default_rules(void)
{
    otok_policy policy;
    otok_rules rules;
    otok_policy_init(&policy, sizeof policy);
    test_assert_code(OTOK_OK, otok_rules_of(&policy, NULL, false, false, &rules, NULL));
    return rules;
}

/* L1 R9 */
START_TEST(idle_session_ends_after_timeout_and_touch_interval)
{
    otok_rules rules = rules_with(30 * DAY, OTOK_UNLIMITED, 300 * S);
    static const struct {
        int64_t idle_us;
        int verdict;
    } rows[] = {
        {0, OTOK_OK},
        {30 * DAY - 1, OTOK_OK},
        {30 * DAY, OTOK_OK}, /* in the client's favour, since last use may be older than it is written */
        {30 * DAY + 300 * S - 1, OTOK_OK},
        {30 * DAY + 300 * S + 1, OTOK_E_TOKEN_EXPIRED},
        {YEARS, OTOK_E_TOKEN_EXPIRED},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        otok_lifetime got = at(DAY, START + DAY + rows[i].idle_us, &rules);
        test_assert_code(rows[i].verdict, got.verdict);
        ck_assert_int_eq(got.idle_expires_us, START + DAY + 30 * DAY + 300 * S);
    }
}
END_TEST

/* L1 L2: used at least once in each 30 days, the session never ends. */
START_TEST(session_with_default_rules_that_is_used_never_expires)
{
    otok_rules rules = default_rules();
    int64_t used = 0;
    for (int i = 0; i < 1000; i++) {
        otok_lifetime got = at(used, START + used + 30 * DAY, &rules);
        test_assert_code(OTOK_OK, got.verdict);
        ck_assert_int_eq(got.max_expires_us, OTOK_UNLIMITED);
        used += 30 * DAY;
    }
    test_assert_code(OTOK_E_TOKEN_EXPIRED, at(used, START + used + 31 * DAY, &rules).verdict);
}
END_TEST

/* L1 L2 */
START_TEST(unlimited_session_never_ends)
{
    otok_rules rules = rules_with(OTOK_UNLIMITED, OTOK_UNLIMITED, 300 * S);
    static const int64_t later[] = {0, YEARS, 100 * YEARS, INT64_MAX - START};
    for (size_t i = 0; i < sizeof later / sizeof later[0]; i++) {
        otok_lifetime got = at(0, START + later[i], &rules);
        test_assert_code(OTOK_OK, got.verdict);
        ck_assert_int_eq(got.idle_expires_us, OTOK_UNLIMITED);
        ck_assert_int_eq(got.max_expires_us, OTOK_UNLIMITED);
        ck_assert_int_eq(got.expires_us, OTOK_UNLIMITED);
    }
}
END_TEST

/* L2: the maximum counts from the start, whenever the session was used, and gets no touch interval. */
START_TEST(maximum_lifetime_ends_a_session_that_is_in_use)
{
    otok_rules rules = rules_with(30 * DAY, 90 * DAY, 300 * S);
    test_assert_code(OTOK_OK, at(89 * DAY, START + 90 * DAY - 1, &rules).verdict);
    test_assert_code(OTOK_E_TOKEN_EXPIRED, at(89 * DAY, START + 90 * DAY + 1, &rules).verdict);
    ck_assert_int_eq(at(89 * DAY, START + 89 * DAY, &rules).max_expires_us, START + 90 * DAY);
}
END_TEST

/* L1 L2 I5: what the tokens' lifetimes are cut to. */
START_TEST(earlier_of_idle_and_maximum_is_when_the_session_expires)
{
    otok_rules rules = rules_with(30 * DAY, 90 * DAY, 300 * S);
    otok_lifetime young = at(DAY, START + DAY, &rules);
    otok_lifetime old = at(80 * DAY, START + 80 * DAY, &rules);
    ck_assert_int_eq(young.expires_us, young.idle_expires_us);
    ck_assert_int_lt(young.idle_expires_us, young.max_expires_us);
    ck_assert_int_eq(old.expires_us, old.max_expires_us);
    ck_assert_int_lt(old.max_expires_us, old.idle_expires_us);
}
END_TEST

/* V3 L4: at or before the cutoff is dead; the start that people see does not count, the logical one does. */
START_TEST(session_created_at_or_before_a_cutoff_is_revoked)
{
    otok_rules rules = default_rules();
    static const struct {
        int64_t created_us, cutoff_us;
        int verdict;
    } rows[] = {
        {START, NONE, OTOK_OK},
        {START, START - 1, OTOK_OK},
        {START, START, OTOK_E_TOKEN_REVOKED},
        {START, START + 1, OTOK_E_TOKEN_REVOKED},
        {START, INT64_MAX, OTOK_E_TOKEN_REVOKED},
        {START + 5, START + 4, OTOK_OK},
        {START - 5, START - 4, OTOK_E_TOKEN_REVOKED},
        {INT64_MIN, NONE, OTOK_OK}, /* none set is no cutoff, whatever the session's time */
        {0, NONE, OTOK_OK},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        otok_lifetime_in in = {START, rows[i].created_us, START, START, rows[i].cutoff_us};
        int got = otok_lifetime_of(&in, &rules).verdict;
        ck_assert_msg(got == rows[i].verdict, "row %zu: got %s", i, otok_error_name(got));
    }
}
END_TEST

/* R1: cutoffs come before expiry. */
START_TEST(session_both_cut_off_and_expired_is_revoked)
{
    otok_rules rules = default_rules();
    otok_lifetime_in in = {START + YEARS, START, START, START, START};
    test_assert_code(OTOK_E_TOKEN_REVOKED, otok_lifetime_of(&in, &rules).verdict);
}
END_TEST

/* L5 */
START_TEST(clock_that_jumps_back_neither_expires_nor_revives)
{
    otok_rules rules = rules_with(30 * DAY, 90 * DAY, 300 * S);
    static const int64_t back[] = {1, S, DAY, YEARS, START, START + YEARS};
    for (size_t i = 0; i < sizeof back / sizeof back[0]; i++) {
        test_assert_code(OTOK_OK, at(0, START - back[i], &rules).verdict);
        test_assert_code(OTOK_OK, at(DAY, START - back[i], &rules).verdict);
        otok_lifetime_in cut = {START - back[i], START, START, START, START};
        test_assert_code(OTOK_E_TOKEN_REVOKED, otok_lifetime_of(&cut, &rules).verdict);
    }
}
END_TEST

/* L5: for UBSan; a session without limits lives through every combination, and times never wrap into the past. */
START_TEST(extreme_times_do_not_overflow)
{
    static const int64_t times[] = {INT64_MIN, INT64_MIN + 1, -1, 0, 1, START, INT64_MAX - 1, INT64_MAX};
    enum { N = sizeof times / sizeof times[0] };
    for (size_t i = 0; i < (size_t)N * N * N; i++) {
        otok_lifetime_in in = {times[i % N], START, times[i / N % N], times[i / N / N], NONE};
        otok_rules none = rules_with(OTOK_UNLIMITED, OTOK_UNLIMITED, INT64_MAX);
        otok_rules huge = rules_with(INT64_MAX - 1, INT64_MAX - 1, INT64_MAX);
        test_assert_code(OTOK_OK, otok_lifetime_of(&in, &none).verdict);
        otok_lifetime got = otok_lifetime_of(&in, &huge);
        ck_assert_int_ge(got.max_expires_us, in.started_us);
        ck_assert_int_ge(got.idle_expires_us, in.refreshed_us);
        ck_assert(got.expires_us <= got.max_expires_us && got.expires_us <= got.idle_expires_us);
    }
}
END_TEST

/* L5 */
START_TEST(stored_times_never_move_back)
{
    static const int64_t times[] = {INT64_MIN, -1, 0, 1, START, START + 1, INT64_MAX};
    enum { N = sizeof times / sizeof times[0] };
    for (size_t i = 0; i < N; i++) {
        for (size_t j = 0; j < N; j++)
            ck_assert_int_eq(otok_time_forward(times[i], times[j]), times[i > j ? i : j]);
    }
}
END_TEST

/* L6 */
START_TEST(sweeper_looks_at_the_end_and_at_least_every_thirty_days)
{
    static const struct {
        int64_t expires_us, now_us, due_us;
    } rows[] = {
        {START + DAY, START, START + DAY},
        {START + 30 * DAY, START, START + 30 * DAY},
        {START + 30 * DAY + 1, START, START + 30 * DAY},
        {START + YEARS, START, START + 30 * DAY},
        {OTOK_UNLIMITED, START, START + 30 * DAY},
        {OTOK_UNLIMITED, INT64_MAX, INT64_MAX},
        {OTOK_UNLIMITED, INT64_MAX - 1, INT64_MAX},
        {OTOK_UNLIMITED, INT64_MIN, INT64_MIN + 30 * DAY},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        ck_assert_int_eq(otok_sweep_due(rows[i].expires_us, rows[i].now_us), rows[i].due_us);
    ck_assert_int_le(otok_sweep_due(START - DAY, START), START); /* dead already: due */
}
END_TEST

/* L3 L1: a session's own limits. */
START_TEST(tightened_rules_end_the_session_earlier)
{
    otok_rules rules = default_rules();
    otok_rules_tighten(&rules, 3600, 7200);
    test_assert_code(OTOK_OK, at(0, START + 3600 * S, &rules).verdict);
    test_assert_code(OTOK_E_TOKEN_EXPIRED, at(0, START + 3600 * S + 361 * S, &rules).verdict);
    test_assert_code(OTOK_E_TOKEN_EXPIRED, at(7100 * S, START + 7201 * S, &rules).verdict);
}
END_TEST

static void add_tests(TCase *tcase)
{
    tcase_add_test(tcase, idle_session_ends_after_timeout_and_touch_interval);
    tcase_add_test(tcase, session_with_default_rules_that_is_used_never_expires);
    tcase_add_test(tcase, unlimited_session_never_ends);
    tcase_add_test(tcase, maximum_lifetime_ends_a_session_that_is_in_use);
    tcase_add_test(tcase, earlier_of_idle_and_maximum_is_when_the_session_expires);
    tcase_add_test(tcase, session_created_at_or_before_a_cutoff_is_revoked);
    tcase_add_test(tcase, session_both_cut_off_and_expired_is_revoked);
    tcase_add_test(tcase, clock_that_jumps_back_neither_expires_nor_revives);
    tcase_add_test(tcase, extreme_times_do_not_overflow);
    tcase_add_test(tcase, stored_times_never_move_back);
    tcase_add_test(tcase, sweeper_looks_at_the_end_and_at_least_every_thirty_days);
    tcase_add_test(tcase, tightened_rules_end_the_session_earlier);
}

int main(void)
{
    return test_main("lifetime", add_tests);
}
