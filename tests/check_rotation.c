/*
 * check_rotation.c - the truth table of what happens to a token by its generation, the time, and the policy.
 *
 * SPDX-License-Identifier: MIT
 */
#include "support/fixture.h"

#define S        OTOK_US_PER_S
#define NOW      TEST_START_US
#define LONG_AGO (NOW - 100 * OTOK_DAY_US)
#define YEARS    (3652 * OTOK_DAY_US) /* ten of them */

/* Window 10 s, skew 2 s, rotation after 10 s, retries not counted. */
static otok_rules rules_that(bool rotates)
{
    otok_rules rules = {0};
    rules.rotates = rotates;
    rules.retry_window_us = 10 * S;
    rules.retry_limit = OTOK_UNLIMITED;
    rules.clock_skew_us = 2 * S;
    rules.rotate_after_us = 10 * S;
    return rules;
}

static const char *name_of(int decision)
{
    static const char *const names[] = {"?", "KEEP", "ADVANCE", "RETRY", "EXHAUSTED", "REUSE", "AHEAD"};
    return names[decision >= OTOK_ROTATION_KEEP && decision <= OTOK_ROTATION_AHEAD ? decision : 0];
}

static void expect(const char *what, const otok_rotation_in *in, const otok_rules *rules, int expected)
{
    int got = otok_rotation_decide(in, rules);
    ck_assert_msg(got == expected, "%s: expected %s, got %s", what, name_of(expected), name_of(got));
}

/*
 * A row's `age_us` is how long ago the last rotation was; NEVER: the session was not rotated, or its window is closed.
 */
#define NEVER INT64_MIN

typedef struct row {
    const char *what;
    uint32_t presented, current;
    int64_t age_us;
    int on, off; /* what is expected with rotation on, and off */
} row;

static void expect_rows(const row *rows, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        for (int rotates = 0; rotates < 2; rotates++) {
            otok_rules rules = rules_that(rotates);
            otok_rotation_in in = {rows[i].presented, rows[i].current, NOW, LONG_AGO, 0, 0, false};
            in.rotated_us = rows[i].age_us == NEVER ? 0 : NOW - rows[i].age_us;
            expect(rows[i].what, &in, &rules, rotates ? rows[i].on : rows[i].off);
        }
    }
}

#define EXPECT_ROWS(rows) expect_rows(rows, sizeof(rows) / sizeof(rows)[0])
#define BOTH(decision)    (decision), (decision)

/* T1 T2 T3 T5 */
START_TEST(generation_decides_between_keep_advance_retry_reuse_and_ahead)
{
    static const row rows[] = {
        {"first token, never rotated", 0, 0, NEVER, OTOK_ROTATION_ADVANCE, OTOK_ROTATION_KEEP},
        {"current token, rotated long ago", 5, 5, 60 * S, OTOK_ROTATION_ADVANCE, OTOK_ROTATION_KEEP},
        {"current token, rotated just now", 5, 5, 0, BOTH(OTOK_ROTATION_KEEP)},
        {"previous token at once", 4, 5, 0, BOTH(OTOK_ROTATION_RETRY)},
        {"previous token too late", 4, 5, 60 * S, BOTH(OTOK_ROTATION_REUSE)},
        {"previous token, window closed", 4, 5, NEVER, BOTH(OTOK_ROTATION_REUSE)},
        {"two behind at once", 3, 5, 0, BOTH(OTOK_ROTATION_REUSE)},
        {"two behind too late", 3, 5, 60 * S, BOTH(OTOK_ROTATION_REUSE)},
        {"first of many", 0, 1000000, 0, BOTH(OTOK_ROTATION_REUSE)},
        {"one ahead", 6, 5, 0, BOTH(OTOK_ROTATION_AHEAD)},
        {"one ahead of the first", 1, 0, NEVER, BOTH(OTOK_ROTATION_AHEAD)},
        {"far ahead", 4000000, 5, 60 * S, BOTH(OTOK_ROTATION_AHEAD)},
    };
    EXPECT_ROWS(rows);
}
END_TEST

/* T1 */
START_TEST(last_generation_stops_advancing_and_never_wraps)
{
    static const row rows[] = {
        {"last but one", UINT32_MAX - 1, UINT32_MAX - 1, 60 * S, OTOK_ROTATION_ADVANCE, OTOK_ROTATION_KEEP},
        {"last", UINT32_MAX, UINT32_MAX, 60 * S, BOTH(OTOK_ROTATION_KEEP)},
        {"last, never rotated", UINT32_MAX, UINT32_MAX, NEVER, BOTH(OTOK_ROTATION_KEEP)},
        {"one behind the last", UINT32_MAX - 1, UINT32_MAX, 0, BOTH(OTOK_ROTATION_RETRY)},
        {"one behind the last, late", UINT32_MAX - 1, UINT32_MAX, 60 * S, BOTH(OTOK_ROTATION_REUSE)},
        {"first against last is no neighbour", 0, UINT32_MAX, 0, BOTH(OTOK_ROTATION_REUSE)},
        {"last against first is no neighbour", UINT32_MAX, 0, 0, BOTH(OTOK_ROTATION_AHEAD)},
        {"last against last but one", UINT32_MAX, UINT32_MAX - 1, 0, BOTH(OTOK_ROTATION_AHEAD)},
    };
    EXPECT_ROWS(rows);
}
END_TEST

/* T1 */
START_TEST(token_rotates_from_the_microsecond_on_that_rotate_after_ends)
{
    static const row rows[] = {
        {"just rotated", 5, 5, 0, BOTH(OTOK_ROTATION_KEEP)},
        {"a microsecond too young", 5, 5, 10 * S - 1, BOTH(OTOK_ROTATION_KEEP)},
        {"old enough", 5, 5, 10 * S, OTOK_ROTATION_ADVANCE, OTOK_ROTATION_KEEP},
        {"a microsecond older", 5, 5, 10 * S + 1, OTOK_ROTATION_ADVANCE, OTOK_ROTATION_KEEP},
    };
    EXPECT_ROWS(rows);
}
END_TEST

/* T1 */
START_TEST(first_token_counts_its_age_from_the_start_of_the_session)
{
    otok_rules rules = rules_that(true);
    otok_rotation_in in = {0, 0, NOW, NOW, 0, 0, false};
    expect("at its start", &in, &rules, OTOK_ROTATION_KEEP);
    in.started_us = NOW - 10 * S + 1;
    expect("a microsecond too young", &in, &rules, OTOK_ROTATION_KEEP);
    in.started_us = NOW - 10 * S;
    expect("old enough", &in, &rules, OTOK_ROTATION_ADVANCE);
}
END_TEST

/* T2 */
START_TEST(retry_window_ends_to_the_microsecond_after_window_and_skew)
{
    static const row rows[] = {
        {"same microsecond", 4, 5, 0, BOTH(OTOK_ROTATION_RETRY)},
        {"end of the window", 4, 5, 10 * S, BOTH(OTOK_ROTATION_RETRY)},
        {"in the forgiven skew", 4, 5, 12 * S - 1, BOTH(OTOK_ROTATION_RETRY)},
        {"behind the forgiven skew", 4, 5, 12 * S + 1, BOTH(OTOK_ROTATION_REUSE)},
        {"a node whose clock is behind", 4, 5, -2 * S, BOTH(OTOK_ROTATION_RETRY)},
        {"a clock that jumped back an hour", 4, 5, -3600 * S, BOTH(OTOK_ROTATION_RETRY)},
    };
    EXPECT_ROWS(rows);
}
END_TEST

/* T2 */
START_TEST(retry_window_does_not_slide_with_retries)
{
    otok_rules rules = rules_that(true);
    otok_rotation_in in = {4, 5, NOW, LONG_AGO, NOW - 9 * S, 0, false};
    for (in.retries = 0; in.retries < 70000; in.retries += 999)
        expect("inside, retried before", &in, &rules, OTOK_ROTATION_RETRY);
    in.rotated_us = NOW - 12 * S - 1;
    for (in.retries = 0; in.retries < 70000; in.retries += 999)
        expect("outside, retried before", &in, &rules, OTOK_ROTATION_REUSE);
}
END_TEST

/* T2 */
START_TEST(retry_limit_refuses_inside_the_window_and_is_reuse_outside)
{
    otok_rules rules = rules_that(true);
    otok_rotation_in in = {4, 5, NOW, LONG_AGO, NOW - S, 0, false};
    rules.retry_limit = 3;
    for (in.retries = 0; in.retries < 3; in.retries++)
        expect("under the limit", &in, &rules, OTOK_ROTATION_RETRY);
    expect("at the limit", &in, &rules, OTOK_ROTATION_EXHAUSTED);
    in.retries = UINT32_MAX;
    expect("far over the limit", &in, &rules, OTOK_ROTATION_EXHAUSTED);
    in.rotated_us = NOW - 60 * S;
    expect("over the limit, too late", &in, &rules, OTOK_ROTATION_REUSE);
    in.retries = 0;
    expect("under the limit, too late", &in, &rules, OTOK_ROTATION_REUSE);
    in.retries = UINT32_MAX;
    in.presented = 5;
    in.rotated_us = NOW - S;
    expect("retries do not count against the current token", &in, &rules, OTOK_ROTATION_KEEP);
}
END_TEST

/* T2: "a limit without a window is Keycloak's Max Reuse". */
START_TEST(unlimited_window_is_bounded_by_the_limit_alone)
{
    static const int64_t ages[] = {0, 60 * S, 30 * OTOK_DAY_US, YEARS};
    otok_rules rules = rules_that(true);
    rules.retry_window_us = OTOK_UNLIMITED;
    rules.retry_limit = 2;
    for (size_t i = 0; i < sizeof ages / sizeof ages[0]; i++) {
        otok_rotation_in in = {4, 5, NOW, LONG_AGO, NOW - ages[i], 1, false};
        expect("under the limit", &in, &rules, OTOK_ROTATION_RETRY);
        in.retries = 2;
        expect("at the limit", &in, &rules, OTOK_ROTATION_EXHAUSTED);
        in.presented = 3;
        expect("older than the previous one", &in, &rules, OTOK_ROTATION_REUSE);
    }
    otok_rotation_in closed = {4, 5, NOW, LONG_AGO, 0, 0, false};
    expect("closed", &closed, &rules, OTOK_ROTATION_REUSE);
}
END_TEST

/*
 * T1: switching rotation off never makes a superseded token valid again: the table's `off` column, over many
 * distances.
 */
START_TEST(rotation_switched_off_keeps_superseded_tokens_superseded)
{
    otok_rules off = rules_that(false);
    for (uint32_t behind = 1; behind < 200; behind++) {
        otok_rotation_in in = {500 - behind, 500, NOW, LONG_AGO, NOW - 13 * S, 0, false};
        expect("superseded", &in, &off, OTOK_ROTATION_REUSE);
    }
}
END_TEST

/*
 * L5: ages below zero count as zero; but a time more than a day ahead cannot hold up rotation, which closes the
 * window.
 */
START_TEST(rotation_time_far_in_the_future_neither_opens_older_tokens_nor_holds_up_rotation)
{
    static const row rows[] = {
        {"previous, a minute ahead", 4, 5, -60 * S, BOTH(OTOK_ROTATION_RETRY)},
        {"previous, ten years ahead", 4, 5, -YEARS, BOTH(OTOK_ROTATION_EXHAUSTED)},
        {"two behind, a minute ahead", 3, 5, -60 * S, BOTH(OTOK_ROTATION_REUSE)},
        {"two behind, ten years ahead", 3, 5, -YEARS, BOTH(OTOK_ROTATION_REUSE)},
        {"previous, ten years ago", 4, 5, YEARS, BOTH(OTOK_ROTATION_REUSE)},
        {"current, ten years ago", 5, 5, YEARS, OTOK_ROTATION_ADVANCE, OTOK_ROTATION_KEEP},
        {"current, a minute ahead", 5, 5, -60 * S, BOTH(OTOK_ROTATION_KEEP)},
        {"current, ten years ahead", 5, 5, -YEARS, OTOK_ROTATION_ADVANCE, OTOK_ROTATION_KEEP},
    };
    EXPECT_ROWS(rows);
}
END_TEST

/* L5: whatever the clocks say, the current token is never refused. */
START_TEST(current_token_is_kept_or_advanced_whatever_the_clocks_say)
{
    static const int64_t times[] = {INT64_MIN,   INT64_MIN + 1, -1,       0, 1, NOW - YEARS, NOW,
                                    NOW + YEARS, INT64_MAX - 1, INT64_MAX};
    enum { N = sizeof times / sizeof times[0] };
    for (size_t i = 0; i < (size_t)N * N * N * 2; i++) {
        otok_rules rules = rules_that(i & 1);
        otok_rotation_in in = {7, 7, times[i / 2 % N], times[i / 2 / N % N], times[i / 2 / N / N], 0, false};
        int got = otok_rotation_decide(&in, &rules);
        ck_assert_msg(got == OTOK_ROTATION_KEEP || (got == OTOK_ROTATION_ADVANCE && rules.rotates), "%s", name_of(got));
    }
}
END_TEST

/* L5, T3: nor does any clock make a token that is two behind anything but reuse; run under UBSan for the arithmetic. */
START_TEST(extreme_clocks_neither_overflow_nor_revive)
{
    static const int64_t times[] = {INT64_MIN, -1, 0, 1, NOW, INT64_MAX - 1, INT64_MAX};
    enum { N = sizeof times / sizeof times[0] };
    for (size_t i = 0; i < (size_t)N * N * N; i++) {
        otok_rules rules = rules_that(true);
        rules.retry_window_us = times[i / N / N % N] > 0 ? times[i / N / N] : 10 * S;
        rules.rotate_after_us = rules.clock_skew_us = INT64_MAX - 1;
        rules.retry_limit = 1;
        otok_rotation_in in = {5, 7, times[i % N], LONG_AGO, times[i / N % N], 0, false};
        expect("two behind", &in, &rules, OTOK_ROTATION_REUSE);
        in.presented = 6;
        int got = otok_rotation_decide(&in, &rules);
        ck_assert_msg(got == OTOK_ROTATION_RETRY || got == OTOK_ROTATION_EXHAUSTED || got == OTOK_ROTATION_REUSE, "%s",
                      name_of(got));
        in.presented = 8;
        expect("ahead", &in, &rules, OTOK_ROTATION_AHEAD);
    }
}
END_TEST

/*
 * P4: while the first token of ours was never used, the one of another system that it stands for gets it again, whatever
 * window and limit say; from its first use on that one has the window of T2, and then it is reuse.
 */
START_TEST(token_of_another_system_is_good_until_its_successor_is_used)
{
    static const struct {
        const char *what;
        uint32_t presented, current;
        int64_t age_us;
        uint32_t retries;
        int unused, used; /* what is expected before and after the first use of the current token */
    } rows[] = {
        {"adopted a moment ago", 0, 1, 0, 0, OTOK_ROTATION_RETRY, OTOK_ROTATION_RETRY},
        {"adopted long ago", 0, 1, YEARS, 0, OTOK_ROTATION_RETRY, OTOK_ROTATION_REUSE},
        {"no time of rotation", 0, 1, NEVER, 0, OTOK_ROTATION_RETRY, OTOK_ROTATION_REUSE},
        {"a clock ten years ahead", 0, 1, -YEARS, 0, OTOK_ROTATION_RETRY, OTOK_ROTATION_EXHAUSTED},
        {"retried up to the limit", 0, 1, 0, 3, OTOK_ROTATION_RETRY, OTOK_ROTATION_EXHAUSTED},
        {"retried beyond it, late", 0, 1, YEARS, UINT32_MAX, OTOK_ROTATION_RETRY, OTOK_ROTATION_REUSE},
        {"two behind", 0, 2, 0, 0, OTOK_ROTATION_REUSE, OTOK_ROTATION_REUSE},
        {"the token of ours", 1, 1, 60 * S, 0, OTOK_ROTATION_ADVANCE, OTOK_ROTATION_ADVANCE},
        {"the token of ours, young", 1, 1, S, 0, OTOK_ROTATION_KEEP, OTOK_ROTATION_KEEP},
        {"from the future", 2, 1, 0, 0, OTOK_ROTATION_AHEAD, OTOK_ROTATION_AHEAD},
    };
    otok_rules rules = rules_that(true);
    rules.retry_limit = 3;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        otok_rotation_in in = {rows[i].presented, rows[i].current, NOW, LONG_AGO, 0, rows[i].retries, true};
        in.rotated_us = rows[i].age_us == NEVER ? 0 : NOW - rows[i].age_us;
        expect(rows[i].what, &in, &rules, rows[i].unused);
        in.unused = false;
        expect(rows[i].what, &in, &rules, rows[i].used);
    }
}
END_TEST

/* T1: never, always and auto, for every kind of client. */
START_TEST(rotation_follows_policy_and_kind_of_client)
{
    static const struct {
        int32_t rotation;
        bool is_public, is_bound, rotates;
    } rows[] = {
        {OTOK_ROTATION_DEFAULT, true, false, true},   {OTOK_ROTATION_DEFAULT, true, true, false},
        {OTOK_ROTATION_DEFAULT, false, false, false}, {OTOK_ROTATION_DEFAULT, false, true, false},
        {OTOK_ROTATION_AUTO, true, false, true},      {OTOK_ROTATION_AUTO, true, true, false},
        {OTOK_ROTATION_AUTO, false, false, false},    {OTOK_ROTATION_AUTO, false, true, false},
        {OTOK_ROTATION_NEVER, true, false, false},    {OTOK_ROTATION_NEVER, true, true, false},
        {OTOK_ROTATION_NEVER, false, false, false},   {OTOK_ROTATION_NEVER, false, true, false},
        {OTOK_ROTATION_ALWAYS, true, false, true},    {OTOK_ROTATION_ALWAYS, true, true, true},
        {OTOK_ROTATION_ALWAYS, false, false, true},   {OTOK_ROTATION_ALWAYS, false, true, true},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        otok_policy policy;
        otok_rules rules;
        otok_policy_init(&policy, sizeof policy);
        policy.rotation = rows[i].rotation;
        test_assert_code(OTOK_OK, otok_rules_of(&policy, NULL, rows[i].is_public, rows[i].is_bound, &rules, NULL));
        otok_rotation_in in = {3, 3, NOW, LONG_AGO, NOW - OTOK_DAY_US, 0, false};
        ck_assert_msg(rules.rotates == rows[i].rotates, "row %zu", i);
        expect("by rules_of", &in, &rules, rows[i].rotates ? OTOK_ROTATION_ADVANCE : OTOK_ROTATION_KEEP);
    }
}
END_TEST

/* T1 T2: Keycloak's Max Reuse must rotate too, although "rotate_after_s is at least the retry window". */
START_TEST(unlimited_retry_window_still_lets_the_token_rotate)
{
    otok_policy policy;
    otok_rules rules;
    otok_policy_init(&policy, sizeof policy);
    policy.rotation = OTOK_ROTATION_ALWAYS;
    policy.retry_window_s = OTOK_UNLIMITED;
    policy.retry_limit = 3;
    test_assert_code(OTOK_OK, otok_rules_of(&policy, NULL, true, false, &rules, NULL));
    otok_rotation_in in = {3, 3, NOW, LONG_AGO, NOW - OTOK_DAY_US, 0, false};
    expect("a day old", &in, &rules, OTOK_ROTATION_ADVANCE);
}
END_TEST

static void add_tests(TCase *tcase)
{
    tcase_add_test(tcase, generation_decides_between_keep_advance_retry_reuse_and_ahead);
    tcase_add_test(tcase, last_generation_stops_advancing_and_never_wraps);
    tcase_add_test(tcase, token_rotates_from_the_microsecond_on_that_rotate_after_ends);
    tcase_add_test(tcase, first_token_counts_its_age_from_the_start_of_the_session);
    tcase_add_test(tcase, retry_window_ends_to_the_microsecond_after_window_and_skew);
    tcase_add_test(tcase, retry_window_does_not_slide_with_retries);
    tcase_add_test(tcase, retry_limit_refuses_inside_the_window_and_is_reuse_outside);
    tcase_add_test(tcase, unlimited_window_is_bounded_by_the_limit_alone);
    tcase_add_test(tcase, rotation_switched_off_keeps_superseded_tokens_superseded);
    tcase_add_test(tcase, rotation_time_far_in_the_future_neither_opens_older_tokens_nor_holds_up_rotation);
    tcase_add_test(tcase, current_token_is_kept_or_advanced_whatever_the_clocks_say);
    tcase_add_test(tcase, extreme_clocks_neither_overflow_nor_revive);
    tcase_add_test(tcase, token_of_another_system_is_good_until_its_successor_is_used);
    tcase_add_test(tcase, rotation_follows_policy_and_kind_of_client);
    tcase_add_test(tcase, unlimited_retry_window_still_lets_the_token_rotate);
}

int main(void)
{
    return test_main("rotation", add_tests);
}
