/*
 * check_policy.c - the rules that a policy gives for a kind of client: defaults, nonsense, tighter limits, admission.
 *
 * SPDX-License-Identifier: MIT
 */
#include "support/fixture.h"

#define S   OTOK_US_PER_S
#define DAY OTOK_DAY_US

static otok_policy default_policy(void)
{
    otok_policy policy;
    otok_policy_init(&policy, sizeof policy);
    return policy;
}

static otok_rules rules_of(const otok_policy *policy, bool is_public, bool is_bound)
{
    otok_error err = {0};
    otok_rules rules;
    int rc = otok_rules_of(policy, NULL, is_public, is_bound, &rules, &err);
    ck_assert_msg(rc == OTOK_OK, "%s: %s", otok_error_name(rc), err.message);
    return rules;
}

/* L1 L2 T1 T2 T3 T5 R9 I4 I5 I8 C2 P3 */
START_TEST(defaults_are_those_that_the_header_promises)
{
    otok_policy policy = default_policy();
    otok_rules rules = rules_of(&policy, true, false);
    ck_assert(rules.rotates);
    ck_assert_int_eq(rules.reuse, OTOK_REUSE_END_SESSION);
    ck_assert_int_eq(rules.ahead, OTOK_AHEAD_ANSWER);
    ck_assert_int_eq(rules.idle_us, 30 * DAY);
    ck_assert_int_eq(rules.max_us, OTOK_UNLIMITED);
    ck_assert_int_eq(rules.retry_window_us, 10 * S);
    ck_assert_int_eq(rules.retry_limit, OTOK_UNLIMITED);
    ck_assert_int_eq(rules.clock_skew_us, 2 * S);
    ck_assert_int_eq(rules.rotate_after_us, 10 * S);
    ck_assert_int_eq(rules.touch_us, 300 * S);
    ck_assert_int_eq(rules.sweep_grace_us, DAY);
    ck_assert(rules.access_token);
    ck_assert(rules.access_token_revocation);
    ck_assert_int_eq(rules.access_token_us, 300 * S);
    ck_assert_int_eq(rules.id_token_us, 300 * S);
    ck_assert(!rules.public_refused);
    ck_assert(!rules.binding_missing);
    ck_assert(!rules.needs_consent);
    ck_assert_int_eq(rules.overlong, OTOK_OVERLONG_REFUSE);
    ck_assert_int_eq(rules.session_limit, OTOK_UNLIMITED);
    ck_assert(rules.evicts);
    ck_assert_int_eq(rules.once_window_us, 60 * S);
    ck_assert_int_eq(rules.once_keep_us, DAY);
    ck_assert(rules.once_ends_session);
}
END_TEST

/* T1 */
START_TEST(retry_window_is_longer_for_confidential_and_bound_clients)
{
    otok_policy policy = default_policy();
    ck_assert_int_eq(rules_of(&policy, true, true).retry_window_us, 60 * S);
    ck_assert_int_eq(rules_of(&policy, false, false).retry_window_us, 60 * S);
    ck_assert_int_eq(rules_of(&policy, false, true).retry_window_us, 60 * S);
    ck_assert_int_eq(rules_of(&policy, false, true).rotate_after_us, 60 * S);
    policy.retry_window_s = 7;
    ck_assert_int_eq(rules_of(&policy, false, true).retry_window_us, 7 * S);
    ck_assert_int_eq(rules_of(&policy, true, false).retry_window_us, 7 * S);
}
END_TEST

/* T1: "never more often than rotate_after_s, which is at least the retry window". */
START_TEST(rotate_after_is_at_least_the_retry_window)
{
    otok_policy policy = default_policy();
    policy.retry_window_s = 20;
    ck_assert_int_eq(rules_of(&policy, true, false).rotate_after_us, 20 * S);
    policy.rotate_after_s = 5;
    ck_assert_int_eq(rules_of(&policy, true, false).rotate_after_us, 20 * S);
    policy.rotate_after_s = 3600;
    ck_assert_int_eq(rules_of(&policy, true, false).rotate_after_us, 3600 * S);
}
END_TEST

/* R9 */
START_TEST(touch_interval_is_at_most_a_tenth_of_the_idle_timeout)
{
    otok_policy policy = default_policy();
    policy.idle_timeout_s = 1000;
    ck_assert_int_eq(rules_of(&policy, true, false).touch_us, 100 * S);
    policy.touch_interval_s = 900;
    ck_assert_int_eq(rules_of(&policy, true, false).touch_us, 100 * S);
    policy.touch_interval_s = 7;
    ck_assert_int_eq(rules_of(&policy, true, false).touch_us, 7 * S);
    policy.idle_timeout_s = OTOK_UNLIMITED;
    policy.touch_interval_s = 86400;
    ck_assert_int_eq(rules_of(&policy, true, false).touch_us, DAY);
}
END_TEST

/* L1 L2 */
START_TEST(unlimited_is_none_and_huge_does_not_overflow)
{
    otok_policy policy = default_policy();
    policy.idle_timeout_s = OTOK_UNLIMITED;
    policy.max_lifetime_s = OTOK_UNLIMITED - 1; /* seconds that do not fit into microseconds */
    otok_rules rules = rules_of(&policy, true, false);
    ck_assert_int_eq(rules.idle_us, OTOK_UNLIMITED);
    ck_assert_int_eq(rules.max_us, OTOK_UNLIMITED);
}
END_TEST

/* I5: the ID token lives as long as the access token where nothing else is said. */
START_TEST(id_token_lifetime_follows_the_access_token)
{
    otok_policy policy = default_policy();
    policy.access_token_lifetime_s = 77;
    ck_assert_int_eq(rules_of(&policy, true, false).id_token_us, 77 * S);
    policy.id_token_lifetime_s = 11;
    ck_assert_int_eq(rules_of(&policy, true, false).id_token_us, 11 * S);
    ck_assert_int_eq(rules_of(&policy, true, false).access_token_us, 77 * S);
}
END_TEST

typedef struct member {
    const char *name;
    size_t offset;
    bool is_choice; /* int32_t with values from 0 to `last` */
    int32_t last;
} member;

static const member members[] = {
    {"rotation", offsetof(otok_policy, rotation), true, OTOK_ROTATION_AUTO},
    {"reuse", offsetof(otok_policy, reuse), true, OTOK_REUSE_END_PAIR},
    {"ahead", offsetof(otok_policy, ahead), true, OTOK_AHEAD_REFUSE},
    {"overlong", offsetof(otok_policy, overlong), true, OTOK_OVERLONG_DROP},
    {"idle_timeout_s", offsetof(otok_policy, idle_timeout_s), false, 0},
    {"max_lifetime_s", offsetof(otok_policy, max_lifetime_s), false, 0},
    {"retry_window_s", offsetof(otok_policy, retry_window_s), false, 0},
    {"retry_limit", offsetof(otok_policy, retry_limit), false, 0},
    {"clock_skew_s", offsetof(otok_policy, clock_skew_s), false, 0},
    {"rotate_after_s", offsetof(otok_policy, rotate_after_s), false, 0},
    {"touch_interval_s", offsetof(otok_policy, touch_interval_s), false, 0},
    {"sweep_grace_s", offsetof(otok_policy, sweep_grace_s), false, 0},
    {"access_token", offsetof(otok_policy, access_token), true, OTOK_OFF},
    {"access_token_revocation", offsetof(otok_policy, access_token_revocation), true, OTOK_OFF},
    {"access_token_lifetime_s", offsetof(otok_policy, access_token_lifetime_s), false, 0},
    {"id_token_lifetime_s", offsetof(otok_policy, id_token_lifetime_s), false, 0},
    {"public_clients", offsetof(otok_policy, public_clients), true, OTOK_OFF},
    {"sender_constraint", offsetof(otok_policy, sender_constraint), true, OTOK_OFF},
    {"consent", offsetof(otok_policy, consent), true, OTOK_OFF},
    {"at_session_limit", offsetof(otok_policy, at_session_limit), true, OTOK_AT_LIMIT_REFUSE},
    {"session_limit", offsetof(otok_policy, session_limit), false, 0},
    {"once_window_s", offsetof(otok_policy, once_window_s), false, 0},
    {"once_keep_s", offsetof(otok_policy, once_keep_s), false, 0},
    {"once_reuse", offsetof(otok_policy, once_reuse), true, OTOK_REUSE_END_SESSION}, /* not END_PAIR */
    {"dpop_nonce", offsetof(otok_policy, dpop_nonce), true, OTOK_OFF},
    {"dpop_window_s", offsetof(otok_policy, dpop_window_s), false, 0},
};

static void set(otok_policy *policy, const member *m, int64_t value)
{
    if (m->is_choice)
        *(int32_t *)(void *)((char *)policy + m->offset) = (int32_t)value;
    else
        *(int64_t *)(void *)((char *)policy + m->offset) = value;
}

static void expect_nonsense(const otok_policy *policy, const char *name)
{
    otok_error err = {0};
    otok_rules rules;
    int rc = otok_rules_of(policy, NULL, true, false, &rules, &err);
    ck_assert_msg(rc == OTOK_E_POLICY, "%s: %s", name, otok_error_name(rc));
    ck_assert_int_eq(err.code, OTOK_E_POLICY);
    ck_assert_msg(strstr(err.message, name) != NULL, "'%s' does not name %s", err.message, name);
}

/* I8: the sessions beside it came of other keys. */
START_TEST(once_key_that_comes_back_cannot_end_the_pair)
{
    otok_policy policy = default_policy();
    policy.once_reuse = OTOK_REUSE_END_PAIR;
    expect_nonsense(&policy, "once_reuse");
}
END_TEST

/* T1 */
START_TEST(each_nonsense_value_is_refused_by_name)
{
    static const int64_t durations[] = {-1, -86400, INT64_MIN};
    static const int32_t beyond[] = {1, 100, INT32_MAX - 10};
    for (size_t i = 0; i < sizeof members / sizeof members[0]; i++) {
        const member *m = &members[i];
        for (size_t j = 0; j < 3; j++) {
            otok_policy policy = default_policy();
            set(&policy, m, m->is_choice ? m->last + beyond[j] : durations[j]);
            expect_nonsense(&policy, m->name);
        }
        otok_policy policy = default_policy();
        set(&policy, m, -1);
        expect_nonsense(&policy, m->name);
    }
}
END_TEST

/* Every value of a choice that the header lists is sense. */
START_TEST(each_listed_choice_is_accepted)
{
    for (size_t i = 0; i < sizeof members / sizeof members[0]; i++) {
        for (int32_t value = 0; members[i].is_choice && value <= members[i].last; value++) {
            otok_policy policy = default_policy();
            set(&policy, &members[i], value);
            (void)rules_of(&policy, true, false);
        }
    }
}
END_TEST

/* T1 */
START_TEST(retries_without_bound_in_time_and_in_number_are_refused)
{
    otok_policy policy = default_policy();
    policy.retry_window_s = OTOK_UNLIMITED;
    expect_nonsense(&policy, "retry_");
    policy.retry_limit = OTOK_UNLIMITED;
    expect_nonsense(&policy, "retry_");
    policy.retry_limit = 1;
    otok_rules rules = rules_of(&policy, true, false);
    ck_assert_int_eq(rules.retry_window_us, OTOK_UNLIMITED);
    ck_assert_int_eq(rules.retry_limit, 1);
}
END_TEST

/* T1: an unlimited skew is a window without bound by another name. */
START_TEST(unlimited_clock_skew_is_refused)
{
    otok_policy policy = default_policy();
    policy.clock_skew_s = OTOK_UNLIMITED;
    expect_nonsense(&policy, "clock_skew_s");
}
END_TEST

/* T1: nor is one hidden in seconds that do not fit into microseconds. */
START_TEST(window_that_overflows_is_without_bound_too)
{
    otok_policy policy = default_policy();
    policy.clock_skew_s = OTOK_UNLIMITED - 1;
    expect_nonsense(&policy, "clock_skew_s");
    policy = default_policy();
    policy.retry_window_s = OTOK_UNLIMITED / OTOK_US_PER_S + 1;
    expect_nonsense(&policy, "retry_window_s");
    policy.retry_limit = 1;
    ck_assert_int_eq(rules_of(&policy, true, false).retry_window_us, OTOK_UNLIMITED);
}
END_TEST

/* T2: the counter in the head of a record has 16 bits; a limit that it cannot reach would be none. */
START_TEST(retry_limit_can_be_counted_to)
{
    otok_policy policy = default_policy();
    policy.retry_window_s = OTOK_UNLIMITED;
    policy.retry_limit = UINT16_MAX;
    ck_assert_int_eq(rules_of(&policy, true, false).retry_limit, UINT16_MAX);
    policy.retry_limit++;
    expect_nonsense(&policy, "retry_limit");
    policy.retry_window_s = 0;
    expect_nonsense(&policy, "retry_limit");
    policy.retry_limit = OTOK_UNLIMITED;
    ck_assert_int_eq(rules_of(&policy, true, false).retry_limit, OTOK_UNLIMITED);
}
END_TEST

/* I3 L3 */
START_TEST(session_limits_only_tighten)
{
    static const struct {
        int64_t idle_s, max_s, idle_us, max_us;
    } rows[] = {
        {0, 0, 30 * DAY, 90 * DAY},
        {60, 0, 60 * S, 90 * DAY},
        {0, 60, 30 * DAY, 60 * S},
        {31 * 86400, 91 * 86400, 30 * DAY, 90 * DAY},
        {OTOK_UNLIMITED, OTOK_UNLIMITED, 30 * DAY, 90 * DAY},
        {30 * 86400, 90 * 86400, 30 * DAY, 90 * DAY},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        otok_policy policy = default_policy();
        policy.max_lifetime_s = 90 * 86400;
        otok_rules rules = rules_of(&policy, true, false);
        otok_rules_tighten(&rules, rows[i].idle_s, rows[i].max_s);
        ck_assert_int_eq(rules.idle_us, rows[i].idle_us);
        ck_assert_int_eq(rules.max_us, rows[i].max_us);
    }
}
END_TEST

/* L3: "none" is a limit like another: a session's own one is tighter. */
START_TEST(session_limits_tighten_unlimited_rules)
{
    otok_policy policy = default_policy();
    policy.idle_timeout_s = OTOK_UNLIMITED;
    otok_rules rules = rules_of(&policy, true, false);
    otok_rules_tighten(&rules, 3600, 7200);
    ck_assert_int_eq(rules.idle_us, 3600 * S);
    ck_assert_int_eq(rules.max_us, 7200 * S);
}
END_TEST

/* R9: never more than a tenth of the idle timeout, the session's own included. */
START_TEST(tightened_idle_timeout_tightens_the_touch_interval)
{
    otok_policy policy = default_policy();
    otok_rules rules = rules_of(&policy, true, false);
    otok_rules_tighten(&rules, 100, 0);
    ck_assert_int_le(rules.touch_us, 10 * S);
}
END_TEST

/* Every value of each choice, as the rules have it; 0 is the default. */
START_TEST(each_choice_becomes_the_rule_that_it_names)
{
    for (int32_t value = 1; value <= 3; value++) {
        otok_policy policy = default_policy();
        policy.reuse = policy.overlong = value;
        ck_assert_int_eq(rules_of(&policy, true, false).reuse, value);
        ck_assert_int_eq(rules_of(&policy, true, false).overlong, value);
    }
    static const struct {
        int32_t value;
        bool on_by_default, off_by_default; /* what the switch says */
    } rows[] = {{OTOK_DEFAULT, true, false}, {OTOK_ON, true, true}, {OTOK_OFF, false, false}};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        otok_policy policy = default_policy();
        policy.access_token = policy.access_token_revocation = policy.consent = rows[i].value;
        otok_rules rules = rules_of(&policy, false, false);
        ck_assert_int_eq(rules.access_token, rows[i].on_by_default);
        ck_assert_int_eq(rules.access_token_revocation, rows[i].on_by_default);
        ck_assert_int_eq(rules.needs_consent, rows[i].off_by_default);
    }
    otok_policy policy = default_policy();
    policy.ahead = OTOK_AHEAD_REFUSE;
    policy.at_session_limit = OTOK_AT_LIMIT_REFUSE;
    policy.once_reuse = OTOK_REUSE_REJECT;
    otok_rules rules = rules_of(&policy, true, false);
    ck_assert_int_eq(rules.ahead, OTOK_AHEAD_REFUSE);
    ck_assert(!rules.evicts && !rules.once_ends_session);
    policy.ahead = OTOK_AHEAD_ANSWER;
    policy.at_session_limit = OTOK_AT_LIMIT_EVICT;
    policy.once_reuse = OTOK_REUSE_END_SESSION;
    rules = rules_of(&policy, true, false);
    ck_assert_int_eq(rules.ahead, OTOK_AHEAD_ANSWER);
    ck_assert(rules.evicts && rules.once_ends_session);
}
END_TEST

/* P3 T1: the truth table of who is admitted; the kind of client is told first. */
START_TEST(public_and_unbound_sessions_are_refused_where_the_policy_says_so)
{
    static const struct {
        int32_t public_clients, sender_constraint;
        int confidential, confidential_bound, public, public_bound;
    } rows[] = {
        {OTOK_DEFAULT, OTOK_DEFAULT, OTOK_OK, OTOK_OK, OTOK_OK, OTOK_OK},
        {OTOK_DEFAULT, OTOK_ON, OTOK_E_SENDER, OTOK_OK, OTOK_E_SENDER, OTOK_OK},
        {OTOK_DEFAULT, OTOK_OFF, OTOK_OK, OTOK_OK, OTOK_OK, OTOK_OK},
        {OTOK_ON, OTOK_DEFAULT, OTOK_OK, OTOK_OK, OTOK_OK, OTOK_OK},
        {OTOK_ON, OTOK_ON, OTOK_E_SENDER, OTOK_OK, OTOK_E_SENDER, OTOK_OK},
        {OTOK_ON, OTOK_OFF, OTOK_OK, OTOK_OK, OTOK_OK, OTOK_OK},
        {OTOK_OFF, OTOK_DEFAULT, OTOK_OK, OTOK_OK, OTOK_E_UNAUTHORIZED_CLIENT, OTOK_E_UNAUTHORIZED_CLIENT},
        {OTOK_OFF, OTOK_ON, OTOK_E_SENDER, OTOK_OK, OTOK_E_UNAUTHORIZED_CLIENT, OTOK_E_UNAUTHORIZED_CLIENT},
        {OTOK_OFF, OTOK_OFF, OTOK_OK, OTOK_OK, OTOK_E_UNAUTHORIZED_CLIENT, OTOK_E_UNAUTHORIZED_CLIENT},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        otok_policy policy = default_policy();
        policy.public_clients = rows[i].public_clients;
        policy.sender_constraint = rows[i].sender_constraint;
        const int expected[] = {rows[i].confidential, rows[i].confidential_bound, rows[i].public, rows[i].public_bound};
        for (unsigned kind = 0; kind < 4; kind++) {
            otok_error err = {0};
            otok_rules rules = rules_of(&policy, (kind & 2) != 0, (kind & 1) != 0);
            int rc = otok_rules_admit(&rules, &err);
            ck_assert_msg(rc == expected[kind], "row %zu, kind %u: %s", i, kind, otok_error_name(rc));
            ck_assert_msg(rc == OTOK_OK ||
                              strstr(err.message, rc == OTOK_E_SENDER ? "sender_constraint" : "public_clients") != NULL,
                          "%s", err.message);
        }
    }
}
END_TEST

/* I8 */
START_TEST(once_key_is_kept_at_least_for_its_window)
{
    static const struct {
        int64_t window_s, keep_s, window_us, keep_us;
    } rows[] = {
        {0, 0, 60 * S, DAY},
        {10, 5, 10 * S, 10 * S},
        {10, 10, 10 * S, 10 * S},
        {10, 11, 10 * S, 11 * S},
        {2 * 86400, 0, 2 * DAY, 2 * DAY},
        {0, 59, 60 * S, 60 * S},
        {0, 30 * 86400, 60 * S, 30 * DAY},
        {30 * 86400, 1, 30 * DAY, 30 * DAY},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        otok_policy policy = default_policy();
        policy.once_window_s = rows[i].window_s;
        policy.once_keep_s = rows[i].keep_s;
        ck_assert_int_eq(rules_of(&policy, true, false).once_window_us, rows[i].window_us);
        ck_assert_int_eq(rules_of(&policy, true, false).once_keep_us, rows[i].keep_us);
    }
}
END_TEST

START_TEST(once_key_is_not_kept_for_longer_than_30_days)
{
    otok_policy policy = default_policy();
    policy.once_keep_s = 30 * 86400 + 1;
    expect_nonsense(&policy, "once_keep_s");
    policy.once_window_s = OTOK_UNLIMITED;
    expect_nonsense(&policy, "once_window_s");
}
END_TEST

/* I4: a limit is at least one, for 0 is the default. */
START_TEST(session_limit_is_the_number_that_was_set)
{
    static const int64_t rows[][2] = {{0, OTOK_UNLIMITED}, {1, 1}, {200, 200}, {OTOK_UNLIMITED, OTOK_UNLIMITED}};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        otok_policy policy = default_policy();
        policy.session_limit = rows[i][0];
        ck_assert_int_eq(rules_of(&policy, true, false).session_limit, rows[i][1]);
    }
}
END_TEST

/* L6: what is looked at every 30 days cannot have a longer grace. */
START_TEST(sweep_grace_is_at_most_thirty_days)
{
    otok_policy policy = default_policy();
    policy.sweep_grace_s = 30 * 86400;
    ck_assert_int_eq(rules_of(&policy, true, false).sweep_grace_us, 30 * DAY);
    policy.sweep_grace_s++;
    expect_nonsense(&policy, "sweep_grace_s");
}
END_TEST

static void add_tests(TCase *tcase)
{
    tcase_add_test(tcase, defaults_are_those_that_the_header_promises);
    tcase_add_test(tcase, retry_window_is_longer_for_confidential_and_bound_clients);
    tcase_add_test(tcase, rotate_after_is_at_least_the_retry_window);
    tcase_add_test(tcase, touch_interval_is_at_most_a_tenth_of_the_idle_timeout);
    tcase_add_test(tcase, unlimited_is_none_and_huge_does_not_overflow);
    tcase_add_test(tcase, id_token_lifetime_follows_the_access_token);
    tcase_add_test(tcase, once_key_that_comes_back_cannot_end_the_pair);
    tcase_add_test(tcase, each_nonsense_value_is_refused_by_name);
    tcase_add_test(tcase, each_listed_choice_is_accepted);
    tcase_add_test(tcase, retries_without_bound_in_time_and_in_number_are_refused);
    tcase_add_test(tcase, unlimited_clock_skew_is_refused);
    tcase_add_test(tcase, window_that_overflows_is_without_bound_too);
    tcase_add_test(tcase, retry_limit_can_be_counted_to);
    tcase_add_test(tcase, session_limits_only_tighten);
    tcase_add_test(tcase, session_limits_tighten_unlimited_rules);
    tcase_add_test(tcase, tightened_idle_timeout_tightens_the_touch_interval);
    tcase_add_test(tcase, each_choice_becomes_the_rule_that_it_names);
    tcase_add_test(tcase, public_and_unbound_sessions_are_refused_where_the_policy_says_so);
    tcase_add_test(tcase, once_key_is_kept_at_least_for_its_window);
    tcase_add_test(tcase, once_key_is_not_kept_for_longer_than_30_days);
    tcase_add_test(tcase, session_limit_is_the_number_that_was_set);
    tcase_add_test(tcase, sweep_grace_is_at_most_thirty_days);
}

int main(void)
{
    return test_main("policy", add_tests);
}
