/*
 * check_policy_ceilings.c - what a service bounds, whatever a client's policy says.
 *
 * SPDX-License-Identifier: MIT
 */
#include "support/fixture.h"

#include <string.h>

#define S   OTOK_US_PER_S
#define DAY OTOK_DAY_US

static otok_policy default_policy(void)
{
    otok_policy policy;
    otok_policy_init(&policy, sizeof policy);
    return policy;
}

static otok_ceilings no_ceilings(void)
{
    otok_ceilings ceilings;
    otok_ceilings_init(&ceilings, sizeof ceilings);
    return ceilings;
}

static otok_rules rules_under(const otok_policy *policy, const otok_ceilings *ceilings)
{
    otok_error err = {0};
    otok_rules rules;
    int rc = otok_rules_of(policy, ceilings, true, false, &rules, &err);
    ck_assert_msg(rc == OTOK_OK, "%s: %s", otok_error_name(rc), err.message);
    return rules;
}

/* A member that has a ceiling: where it is in each of the three, and its default in a rule. */
static const struct bounded {
    const char *name;
    size_t ceiling, policy, rule;
    int64_t unit, by_default;
} members[] = {
    {"idle_timeout_s", offsetof(otok_ceilings, idle_timeout_s), offsetof(otok_policy, idle_timeout_s),
     offsetof(otok_rules, idle_us), S, 30 * DAY},
    {"max_lifetime_s", offsetof(otok_ceilings, max_lifetime_s), offsetof(otok_policy, max_lifetime_s),
     offsetof(otok_rules, max_us), S, OTOK_UNLIMITED},
    {"retry_window_s", offsetof(otok_ceilings, retry_window_s), offsetof(otok_policy, retry_window_s),
     offsetof(otok_rules, retry_window_us), S, 10 * S},
    {"access_token_lifetime_s", offsetof(otok_ceilings, access_token_lifetime_s),
     offsetof(otok_policy, access_token_lifetime_s), offsetof(otok_rules, access_token_us), S, 300 * S},
    {"id_token_lifetime_s", offsetof(otok_ceilings, id_token_lifetime_s), offsetof(otok_policy, id_token_lifetime_s),
     offsetof(otok_rules, id_token_us), S, 300 * S},
    {"session_limit", offsetof(otok_ceilings, session_limit), offsetof(otok_policy, session_limit),
     offsetof(otok_rules, session_limit), 1, OTOK_UNLIMITED},
};

enum { MEMBERS = sizeof members / sizeof members[0] };

static void set(void *in, size_t offset, int64_t value)
{
    memcpy((char *)in + offset, &value, sizeof value);
}

static int64_t get(const void *in, size_t offset)
{
    int64_t value;
    memcpy(&value, (const char *)in + offset, sizeof value);
    return value;
}

/* L3: the truth table, the same for each member. */
START_TEST(lower_of_policy_and_ceiling_counts)
{
    enum { DEFAULT = -1 };
    static const struct {
        int64_t policy, ceiling, expected; /* DEFAULT: what the member is without either */
    } rows[] = {
        {0, 0, DEFAULT},
        {7, 0, 7},
        {7, 8, 7},
        {8, 8, 8},
        {9, 8, 8},
        {0, 8, 8}, /* every default is more */
        {0, OTOK_UNLIMITED, DEFAULT},
        {9, OTOK_UNLIMITED, 9},
        {OTOK_UNLIMITED, 8, 8},
        {OTOK_UNLIMITED - 1, 8, 8}, /* seconds that do not fit into microseconds */
        {OTOK_UNLIMITED, 1, 1},
    };
    for (size_t m = 0; m < MEMBERS; m++) {
        for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
            otok_policy policy = default_policy();
            otok_ceilings ceilings = no_ceilings();
            set(&policy, members[m].policy, rows[i].policy);
            set(&ceilings, members[m].ceiling, rows[i].ceiling);
            otok_rules rules = rules_under(&policy, &ceilings);
            int64_t expected = rows[i].expected == DEFAULT ? members[m].by_default : rows[i].expected * members[m].unit;
            ck_assert_msg(get(&rules, members[m].rule) == expected, "%s, row %zu: %lld", members[m].name, i,
                          (long long)get(&rules, members[m].rule));
        }
    }
}
END_TEST

/* L3: where there is none, a policy's own values count, "none" among them. */
START_TEST(no_ceilings_bound_nothing)
{
    otok_policy policy = default_policy();
    otok_ceilings none = no_ceilings(), sizeless;
    memset(&sizeless, 0, sizeof sizeless);
    sizeless.idle_timeout_s = 1; /* of a struct without a size nothing is read */
    const otok_ceilings *const ceilings[] = {NULL, &none, &sizeless};
    policy.idle_timeout_s = OTOK_UNLIMITED;
    for (size_t i = 0; i < sizeof ceilings / sizeof ceilings[0]; i++) {
        otok_rules rules = rules_under(&policy, ceilings[i]);
        ck_assert_int_eq(rules.idle_us, OTOK_UNLIMITED);
        ck_assert_int_eq(rules.max_us, OTOK_UNLIMITED);
        ck_assert_int_eq(rules.session_limit, OTOK_UNLIMITED);
        test_assert_code(OTOK_OK, otok_ceilings_check(ceilings[i], NULL));
    }
}
END_TEST

/* L3 R9: never more than a tenth of the idle timeout, which the ceiling has shortened. */
START_TEST(ceiling_of_the_idle_timeout_shortens_the_touch_interval)
{
    otok_policy policy = default_policy();
    otok_ceilings ceilings = no_ceilings();
    ceilings.idle_timeout_s = 100;
    ck_assert_int_eq(rules_under(&policy, &ceilings).touch_us, 10 * S);
}
END_TEST

/* L3 I5: the ID token follows the access token as it is, and has a ceiling of its own. */
START_TEST(id_token_follows_the_access_token_under_its_ceiling)
{
    otok_policy policy = default_policy();
    otok_ceilings ceilings = no_ceilings();
    policy.access_token_lifetime_s = 3600;
    ceilings.access_token_lifetime_s = 100;
    ck_assert_int_eq(rules_under(&policy, &ceilings).id_token_us, 100 * S);
    ceilings.id_token_lifetime_s = 50;
    ck_assert_int_eq(rules_under(&policy, &ceilings).id_token_us, 50 * S);
    ck_assert_int_eq(rules_under(&policy, &ceilings).access_token_us, 100 * S);
    policy.id_token_lifetime_s = 200; /* longer than the access token, where that is what the policy says */
    ceilings.id_token_lifetime_s = 0;
    ck_assert_int_eq(rules_under(&policy, &ceilings).id_token_us, 200 * S);
}
END_TEST

/*
 * T1: rotate_after_s is at least the window as it is under its ceiling: no longer for a window that was cut, and not
 * nothing for one that was unlimited.
 */
START_TEST(rotation_waits_for_the_window_under_its_ceiling)
{
    static const struct {
        int64_t window_s, rotate_after_s, ceiling_s, window_us, rotate_after_us;
    } rows[] = {
        {0, 0, 5, 5 * S, 5 * S},
        {600, 0, 60, 60 * S, 60 * S},
        {600, 30, 60, 60 * S, 60 * S},
        {600, 700, 60, 60 * S, 700 * S},
        {OTOK_UNLIMITED, 0, 60, 60 * S, 60 * S},
        {OTOK_UNLIMITED, 0, 0, OTOK_UNLIMITED, 0},
        {OTOK_UNLIMITED, 5, OTOK_UNLIMITED, OTOK_UNLIMITED, 5 * S},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        otok_policy policy = default_policy();
        otok_ceilings ceilings = no_ceilings();
        policy.retry_window_s = rows[i].window_s;
        policy.retry_limit = 3;
        policy.rotate_after_s = rows[i].rotate_after_s;
        ceilings.retry_window_s = rows[i].ceiling_s;
        otok_rules rules = rules_under(&policy, &ceilings);
        ck_assert_int_eq(rules.retry_window_us, rows[i].window_us);
        ck_assert_int_eq(rules.rotate_after_us, rows[i].rotate_after_us);
        ck_assert_int_eq(rules.retry_limit, 3);
    }
}
END_TEST

/* T1: retries without number have a bound in time where the ceiling gives one. */
START_TEST(ceiling_bounds_an_unlimited_window_in_time)
{
    otok_policy policy = default_policy();
    otok_ceilings ceilings = no_ceilings();
    otok_rules rules;
    policy.retry_window_s = OTOK_UNLIMITED;
    test_assert_code(OTOK_E_POLICY, otok_rules_of(&policy, &ceilings, true, false, &rules, NULL));
    ceilings.retry_window_s = OTOK_UNLIMITED; /* is none */
    test_assert_code(OTOK_E_POLICY, otok_rules_of(&policy, &ceilings, true, false, &rules, NULL));
    ceilings.retry_window_s = 60;
    rules = rules_under(&policy, &ceilings);
    ck_assert_int_eq(rules.retry_window_us, 60 * S);
    ck_assert_int_eq(rules.retry_limit, OTOK_UNLIMITED);
}
END_TEST

/* L3: a ceiling makes no sense of nonsense. */
START_TEST(negative_values_of_a_policy_are_refused_under_ceilings_too)
{
    for (size_t m = 0; m < MEMBERS; m++) {
        otok_policy policy = default_policy();
        otok_ceilings ceilings = no_ceilings();
        otok_error err = {0};
        otok_rules rules;
        set(&policy, members[m].policy, -1);
        set(&ceilings, members[m].ceiling, 8);
        test_assert_code(OTOK_E_POLICY, otok_rules_of(&policy, &ceilings, true, false, &rules, &err));
        ck_assert_msg(strstr(err.message, members[m].name) != NULL, "%s", err.message);
    }
}
END_TEST

/* L3 */
START_TEST(negative_ceiling_is_refused_by_name)
{
    static const int64_t values[] = {-1, -86400, INT64_MIN};
    for (size_t m = 0; m < MEMBERS; m++) {
        for (size_t i = 0; i < sizeof values / sizeof values[0]; i++) {
            otok_ceilings ceilings = no_ceilings();
            otok_error err = {0};
            set(&ceilings, members[m].ceiling, values[i]);
            test_assert_code(OTOK_E_POLICY, otok_ceilings_check(&ceilings, &err));
            ck_assert_msg(strstr(err.message, "ceilings.") != NULL && strstr(err.message, members[m].name) != NULL,
                          "%s", err.message);
        }
        otok_ceilings ceilings = no_ceilings();
        set(&ceilings, members[m].ceiling, OTOK_UNLIMITED);
        test_assert_code(OTOK_OK, otok_ceilings_check(&ceilings, NULL));
    }
}
END_TEST

/* L3 I3: a session's own limit is under both. */
START_TEST(session_tightens_what_the_ceiling_left)
{
    otok_policy policy = default_policy();
    otok_ceilings ceilings = no_ceilings();
    ceilings.idle_timeout_s = 1000;
    ceilings.max_lifetime_s = 5000;
    otok_rules rules = rules_under(&policy, &ceilings);
    otok_rules_tighten(&rules, 2000, 4000);
    ck_assert_int_eq(rules.idle_us, 1000 * S);
    ck_assert_int_eq(rules.max_us, 4000 * S);
}
END_TEST

static void add_tests(TCase *tcase)
{
    tcase_add_test(tcase, lower_of_policy_and_ceiling_counts);
    tcase_add_test(tcase, no_ceilings_bound_nothing);
    tcase_add_test(tcase, ceiling_of_the_idle_timeout_shortens_the_touch_interval);
    tcase_add_test(tcase, id_token_follows_the_access_token_under_its_ceiling);
    tcase_add_test(tcase, rotation_waits_for_the_window_under_its_ceiling);
    tcase_add_test(tcase, ceiling_bounds_an_unlimited_window_in_time);
    tcase_add_test(tcase, negative_values_of_a_policy_are_refused_under_ceilings_too);
    tcase_add_test(tcase, negative_ceiling_is_refused_by_name);
    tcase_add_test(tcase, session_tightens_what_the_ceiling_left);
}

int main(void)
{
    return test_main("policy_ceilings", add_tests);
}
