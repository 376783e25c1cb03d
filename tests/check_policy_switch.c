/*
 * check_policy_switch.c - policies that change while sessions live: what that does to one, and what never.
 *
 * SPDX-License-Identifier: MIT
 */
#include "support/fixture.h"

#define S        OTOK_US_PER_S
#define DAY      OTOK_DAY_US
#define NOW      TEST_START_US
#define LONG_AGO (NOW - 100 * DAY)

static const int32_t rotations[] = {OTOK_ROTATION_DEFAULT, OTOK_ROTATION_NEVER, OTOK_ROTATION_ALWAYS,
                                    OTOK_ROTATION_AUTO};
enum { ROTATIONS = 4, KINDS = 4 }; /* the bits of a kind of client: 2 public, 1 bound */

static otok_policy default_policy(void)
{
    otok_policy policy;
    otok_policy_init(&policy, sizeof policy);
    return policy;
}

static otok_rules rules_for(const otok_policy *policy, unsigned kind)
{
    otok_error err = {0};
    otok_rules rules;
    int rc = otok_rules_of(policy, NULL, (kind & 2) != 0, (kind & 1) != 0, &rules, &err);
    ck_assert_msg(rc == OTOK_OK, "%s: %s", otok_error_name(rc), err.message);
    return rules;
}

static otok_rules rotating(int32_t rotation, unsigned kind)
{
    otok_policy policy = default_policy();
    policy.rotation = rotation;
    return rules_for(&policy, kind);
}

/* A session as far as rotation goes, and a token of it that is presented at a time. */
typedef struct session {
    uint32_t generation;
    int64_t rotated_us;
} session;

static int present(session *s, const otok_rules *rules, uint32_t generation, int64_t now_us)
{
    otok_rotation_in in = {.presented = generation,
                           .current = s->generation,
                           .now_us = now_us,
                           .started_us = LONG_AGO,
                           .rotated_us = s->rotated_us};
    int decision = otok_rotation_decide(&in, rules);
    if (decision == OTOK_ROTATION_ADVANCE) {
        s->generation++;
        s->rotated_us = now_us;
    }
    return decision;
}

/* T1 L4 */
START_TEST(switching_rotation_logs_nobody_out)
{
    static const int64_t ages[] = {0, S, 10 * S, 60 * S, DAY, 100 * DAY};
    for (size_t i = 0; i < (size_t)ROTATIONS * KINDS * 6; i++) {
        otok_rules rules = rotating(rotations[i % ROTATIONS], (unsigned)(i / ROTATIONS % KINDS));
        int64_t age_us = ages[i / ROTATIONS / KINDS];
        session s = {7, NOW - age_us};
        int got = present(&s, &rules, 7, NOW);
        int expected = rules.rotates && age_us >= rules.rotate_after_us ? OTOK_ROTATION_ADVANCE : OTOK_ROTATION_KEEP;
        ck_assert_int_eq(got, expected);
        ck_assert_int_eq(present(&s, &rules, s.generation, NOW), OTOK_ROTATION_KEEP); /* what it got is good in turn */
    }
}
END_TEST

/* T1: whatever rotation is switched to, a superseded token is what it was. */
START_TEST(switching_rotation_never_makes_a_superseded_token_valid_again)
{
    static const int64_t ages[] = {0, 12 * S, 13 * S, 62 * S, 63 * S, DAY, 100 * DAY};
    for (size_t i = 0; i < (size_t)KINDS * 7 * 4; i++) {
        unsigned kind = (unsigned)(i % KINDS);
        int64_t age_us = ages[i / KINDS % 7];
        uint32_t behind = (uint32_t)(i / KINDS / 7) + 1;
        bool in_time = behind == 1 && age_us <= (kind == 2 ? 12 * S : 62 * S); /* window and skew of that kind */
        for (size_t r = 0; r < ROTATIONS; r++) {
            otok_rules rules = rotating(rotations[r], kind);
            session s = {7, NOW - age_us};
            ck_assert_int_eq(present(&s, &rules, 7 - behind, NOW), in_time ? OTOK_ROTATION_RETRY : OTOK_ROTATION_REUSE);
            ck_assert_uint_eq(s.generation, 7);
        }
    }
}
END_TEST

/* T1 T2 T3: on, off and on again, in the life of one session. */
START_TEST(session_lives_through_rotation_switched_on_off_and_on)
{
    otok_rules off = rotating(OTOK_ROTATION_NEVER, 2), on = rotating(OTOK_ROTATION_ALWAYS, 2);
    session s = {0, 0};
    ck_assert_int_eq(present(&s, &off, 0, NOW - DAY), OTOK_ROTATION_KEEP);
    ck_assert_int_eq(present(&s, &on, 0, NOW), OTOK_ROTATION_ADVANCE); /* at its next refresh */
    ck_assert_int_eq(present(&s, &on, 0, NOW + S), OTOK_ROTATION_RETRY);
    ck_assert_int_eq(present(&s, &off, 0, NOW + S), OTOK_ROTATION_RETRY); /* the response may still be lost */
    ck_assert_int_eq(present(&s, &off, 0, NOW + 13 * S), OTOK_ROTATION_REUSE);
    ck_assert_int_eq(present(&s, &off, 1, NOW + DAY), OTOK_ROTATION_KEEP);
    ck_assert_int_eq(present(&s, &off, 0, NOW + DAY), OTOK_ROTATION_REUSE);
    ck_assert_int_eq(present(&s, &on, 1, NOW + 2 * DAY), OTOK_ROTATION_ADVANCE);
    ck_assert_int_eq(present(&s, &on, 0, NOW + 2 * DAY), OTOK_ROTATION_REUSE); /* in no window: two behind */
    ck_assert_int_eq(present(&s, &off, 2, NOW + 3 * DAY), OTOK_ROTATION_KEEP);
    ck_assert_int_eq(present(&s, &off, 1, NOW + 3 * DAY), OTOK_ROTATION_REUSE);
    ck_assert_uint_eq(s.generation, 2);
}
END_TEST

/* T1 L4: the window is that of the moment, for the previous token alone. */
START_TEST(changed_window_and_limit_reach_the_previous_token_at_once)
{
    static const struct {
        int64_t window_s, limit;
        int previous;
    } rows[] = {
        {10, 0, OTOK_ROTATION_REUSE}, {29, 0, OTOK_ROTATION_RETRY}, {30, 0, OTOK_ROTATION_RETRY},
        {30, 1, OTOK_ROTATION_RETRY}, {10, 1, OTOK_ROTATION_REUSE}, {OTOK_UNLIMITED, 1, OTOK_ROTATION_RETRY},
        {27, 0, OTOK_ROTATION_REUSE}, {28, 0, OTOK_ROTATION_RETRY},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        otok_policy policy = default_policy();
        policy.retry_window_s = rows[i].window_s;
        policy.retry_limit = rows[i].limit;
        otok_rules rules = rules_for(&policy, 2);
        session s = {7, NOW - 30 * S};
        ck_assert_int_eq(present(&s, &rules, 6, NOW), rows[i].previous);
        ck_assert_int_eq(present(&s, &rules, 5, NOW), OTOK_ROTATION_REUSE);
    }
}
END_TEST

/* T1: so for whole presets, from each to each. */
START_TEST(presets_may_follow_each_other_in_any_order)
{
    static const int32_t presets[] = {OTOK_PRESET_KEYCLOAK, OTOK_PRESET_BCP, OTOK_PRESET_FAPI2};
    for (size_t i = 0; i < (size_t)27 * KINDS; i++) {
        const size_t order[] = {i % 3, i / 3 % 3, i / 9 % 3};
        unsigned kind = (unsigned)(i / 27);
        session s = {0, 0};
        for (size_t step = 0; step < 3; step++) {
            otok_policy policy = default_policy();
            test_assert_code(OTOK_OK, otok_policy_preset(&policy, presets[order[step]], NULL));
            otok_rules rules = rules_for(&policy, kind);
            int64_t now_us = NOW + (int64_t)step * DAY;
            uint32_t before = s.generation;
            if (otok_rules_admit(&rules, NULL) != OTOK_OK) /* refused by kind, as it is: nothing moves */
                continue;
            present(&s, &rules, before, now_us);
            ck_assert_uint_eq(s.generation, before + (rules.rotates ? 1 : 0));
            for (uint32_t old = 0; old < before; old++)
                ck_assert_int_eq(present(&s, &rules, old, now_us + DAY / 2), OTOK_ROTATION_REUSE);
        }
    }
}
END_TEST

static int verdict_of(const otok_policy *policy, int64_t cutoff_us)
{
    otok_rules rules = rules_for(policy, 2);
    otok_lifetime_in in = {.now_us = NOW,
                           .created_us = NOW - 50 * DAY,
                           .started_us = NOW - 50 * DAY,
                           .refreshed_us = NOW - 5 * DAY,
                           .cutoff_us = cutoff_us};
    return otok_lifetime_of(&in, &rules).verdict;
}

/* L4: down and up again, idle and maximum; a cutoff stays. */
START_TEST(changed_limits_reach_a_session_at_once_and_no_limit_undoes_a_cutoff)
{
    static const struct {
        int64_t idle_s, max_s;
        int verdict;
    } rows[] = {
        {0, 0, OTOK_OK},
        {4 * 86400, 0, OTOK_E_TOKEN_EXPIRED},
        {5 * 86400, 0, OTOK_OK}, /* and the touch interval */
        {6 * 86400, 0, OTOK_OK},
        {OTOK_UNLIMITED, 0, OTOK_OK},
        {0, 49 * 86400, OTOK_E_TOKEN_EXPIRED},
        {0, 50 * 86400, OTOK_E_TOKEN_EXPIRED},
        {0, 51 * 86400, OTOK_OK},
        {OTOK_UNLIMITED, OTOK_UNLIMITED, OTOK_OK},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        otok_policy policy = default_policy();
        policy.idle_timeout_s = rows[i].idle_s;
        policy.max_lifetime_s = rows[i].max_s;
        test_assert_code(rows[i].verdict, verdict_of(&policy, INT64_MIN));
        test_assert_code(rows[i].verdict, verdict_of(&policy, NOW - 50 * DAY - 1));
        test_assert_code(OTOK_E_TOKEN_REVOKED, verdict_of(&policy, NOW - 50 * DAY));
    }
}
END_TEST

/* L3 L4: a ceiling is a policy too: it comes and goes with the service. */
START_TEST(ceiling_reaches_a_session_at_once_and_goes_again)
{
    otok_policy policy = default_policy();
    otok_ceilings ceilings;
    otok_rules rules;
    otok_lifetime_in in = {.now_us = NOW, .started_us = NOW - 50 * DAY, .refreshed_us = NOW, .cutoff_us = INT64_MIN};
    otok_ceilings_init(&ceilings, sizeof ceilings);
    static const int64_t max_s[] = {0, 49 * 86400, 51 * 86400, 0};
    static const int verdicts[] = {OTOK_OK, OTOK_E_TOKEN_EXPIRED, OTOK_OK, OTOK_OK};
    for (size_t i = 0; i < 4; i++) {
        ceilings.max_lifetime_s = max_s[i];
        test_assert_code(OTOK_OK, otok_rules_of(&policy, &ceilings, true, false, &rules, NULL));
        test_assert_code(verdicts[i], otok_lifetime_of(&in, &rules).verdict);
    }
}
END_TEST

/* P3 T1 L4: refusals of a kind of session come and go with the policy. */
START_TEST(refusal_of_public_and_unbound_sessions_is_that_of_the_moment)
{
    static const struct {
        int32_t value;
        int public_clients, sender_constraint;
    } rows[] = {
        {OTOK_DEFAULT, OTOK_OK, OTOK_OK},
        {OTOK_ON, OTOK_OK, OTOK_E_SENDER},
        {OTOK_OFF, OTOK_E_UNAUTHORIZED_CLIENT, OTOK_OK},
        {OTOK_DEFAULT, OTOK_OK, OTOK_OK},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        otok_policy policy = default_policy();
        policy.public_clients = rows[i].value;
        otok_rules rules = rules_for(&policy, 2);
        test_assert_code(rows[i].public_clients, otok_rules_admit(&rules, NULL));
        policy = default_policy();
        policy.sender_constraint = rows[i].value;
        rules = rules_for(&policy, 2);
        test_assert_code(rows[i].sender_constraint, otok_rules_admit(&rules, NULL));
    }
}
END_TEST

static void add_tests(TCase *tcase)
{
    tcase_add_test(tcase, switching_rotation_logs_nobody_out);
    tcase_add_test(tcase, switching_rotation_never_makes_a_superseded_token_valid_again);
    tcase_add_test(tcase, session_lives_through_rotation_switched_on_off_and_on);
    tcase_add_test(tcase, changed_window_and_limit_reach_the_previous_token_at_once);
    tcase_add_test(tcase, presets_may_follow_each_other_in_any_order);
    tcase_add_test(tcase, changed_limits_reach_a_session_at_once_and_no_limit_undoes_a_cutoff);
    tcase_add_test(tcase, ceiling_reaches_a_session_at_once_and_goes_again);
    tcase_add_test(tcase, refusal_of_public_and_unbound_sessions_is_that_of_the_moment);
}

int main(void)
{
    return test_main("policy_switch", add_tests);
}
