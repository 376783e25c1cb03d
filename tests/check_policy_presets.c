/*
 * check_policy_presets.c - presets: what each sets, what it leaves, and policies of older headers.
 *
 * SPDX-License-Identifier: MIT
 */
#include "support/fixture.h"

#include <stdlib.h>
#include <string.h>

#define S OTOK_US_PER_S

static const int32_t presets[] = {OTOK_PRESET_KEYCLOAK, OTOK_PRESET_BCP, OTOK_PRESET_FAPI2};

/* Where each kind of client stands under a preset; the bits of a kind: 2 public, 1 bound. */
typedef struct outcome {
    bool rotates;
    int64_t window_us;
    int admitted;
} outcome;

static void expect(const char *what, const otok_policy *policy, const outcome expected[4])
{
    for (unsigned kind = 0; kind < 4; kind++) {
        otok_rules rules;
        test_assert_code(OTOK_OK, otok_rules_of(policy, NULL, (kind & 2) != 0, (kind & 1) != 0, &rules, NULL));
        ck_assert_msg(rules.rotates == expected[kind].rotates, "%s, kind %u", what, kind);
        ck_assert_msg(rules.retry_window_us == expected[kind].window_us, "%s, kind %u", what, kind);
        int rc = otok_rules_admit(&rules, NULL);
        ck_assert_msg(rc == expected[kind].admitted, "%s, kind %u: %s", what, kind, otok_error_name(rc));
    }
}

static otok_policy policy_of(int32_t preset)
{
    otok_policy policy;
    otok_error err = {0};
    otok_policy_init(&policy, sizeof policy);
    int rc = otok_policy_preset(&policy, preset, &err);
    ck_assert_msg(rc == OTOK_OK, "%s: %s", otok_error_name(rc), err.message);
    return policy;
}

/* T1: confidential; confidential and bound; public; public and bound. */
static const outcome keycloak[] = {
    {false, 10 * S, OTOK_OK}, {false, 10 * S, OTOK_OK}, {false, 10 * S, OTOK_OK}, {false, 10 * S, OTOK_OK}};
static const outcome bcp[] = {
    {false, 60 * S, OTOK_OK}, {false, 60 * S, OTOK_OK}, {true, 10 * S, OTOK_OK}, {false, 60 * S, OTOK_OK}};
static const outcome fapi2[] = {{false, 60 * S, OTOK_E_SENDER},
                                {false, 60 * S, OTOK_OK},
                                {false, 10 * S, OTOK_E_UNAUTHORIZED_CLIENT},
                                {false, 60 * S, OTOK_E_UNAUTHORIZED_CLIENT}};

/* T1 */
START_TEST(each_preset_is_what_the_header_says)
{
    otok_policy policy = policy_of(OTOK_PRESET_KEYCLOAK);
    expect("keycloak", &policy, keycloak);
    policy = policy_of(OTOK_PRESET_BCP);
    expect("bcp", &policy, bcp);
    policy = policy_of(OTOK_PRESET_FAPI2);
    expect("fapi2", &policy, fapi2);
}
END_TEST

/* T1: "a window of 10 s if it is switched on". */
START_TEST(keycloak_with_rotation_switched_on_has_a_window_of_ten_seconds)
{
    otok_rules rules;
    otok_policy policy = policy_of(OTOK_PRESET_KEYCLOAK);
    policy.rotation = OTOK_ROTATION_ALWAYS;
    for (unsigned kind = 0; kind < 4; kind++) {
        test_assert_code(OTOK_OK, otok_rules_of(&policy, NULL, (kind & 2) != 0, (kind & 1) != 0, &rules, NULL));
        ck_assert(rules.rotates);
        ck_assert_int_eq(rules.retry_window_us, 10 * S);
    }
}
END_TEST

/* T1: "BCP: RFC 9700, which are the defaults". */
START_TEST(bcp_gives_the_rules_of_an_empty_policy)
{
    otok_policy set = policy_of(OTOK_PRESET_BCP), empty;
    otok_policy_init(&empty, sizeof empty);
    for (unsigned kind = 0; kind < 4; kind++) {
        otok_rules a, b;
        memset(&a, 0, sizeof a);
        memset(&b, 0, sizeof b);
        test_assert_code(OTOK_OK, otok_rules_of(&set, NULL, (kind & 2) != 0, (kind & 1) != 0, &a, NULL));
        test_assert_code(OTOK_OK, otok_rules_of(&empty, NULL, (kind & 2) != 0, (kind & 1) != 0, &b, NULL));
        ck_assert_int_eq(a.rotates, b.rotates);
        ck_assert_int_eq(a.reuse, b.reuse);
        ck_assert_int_eq(a.retry_window_us, b.retry_window_us);
        ck_assert_int_eq(a.rotate_after_us, b.rotate_after_us);
    }
}
END_TEST

/* T1 T3: RFC 9700 section 4.14.2 has reuse revoke the active token; what ends more than the session may stay. */
START_TEST(bcp_does_not_leave_reuse_unanswered)
{
    static const int32_t rows[][2] = {
        {OTOK_REUSE_DEFAULT, OTOK_REUSE_END_SESSION},
        {OTOK_REUSE_REJECT, OTOK_REUSE_END_SESSION},
        {OTOK_REUSE_END_SESSION, OTOK_REUSE_END_SESSION},
        {OTOK_REUSE_END_PAIR, OTOK_REUSE_END_PAIR},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        otok_policy policy;
        otok_rules rules;
        otok_policy_init(&policy, sizeof policy);
        policy.reuse = rows[i][0];
        test_assert_code(OTOK_OK, otok_policy_preset(&policy, OTOK_PRESET_BCP, NULL));
        test_assert_code(OTOK_OK, otok_rules_of(&policy, NULL, true, false, &rules, NULL));
        ck_assert_int_eq(rules.reuse, rows[i][1]);
    }
}
END_TEST

/* T1: "sets the members that a preset speaks of, and leaves the others". */
START_TEST(preset_leaves_the_other_members)
{
    static const struct {
        size_t offset, size;
        bool by[3]; /* set by keycloak, bcp, fapi2 */
    } set[] = {
        {offsetof(otok_policy, rotation), sizeof(int32_t), {true, true, true}},
        {offsetof(otok_policy, reuse), sizeof(int32_t), {false, true, false}},
        {offsetof(otok_policy, retry_window_s), sizeof(int64_t), {true, true, false}},
        {offsetof(otok_policy, public_clients), sizeof(int32_t), {false, false, true}},
        {offsetof(otok_policy, sender_constraint), sizeof(int32_t), {false, false, true}},
    };
    for (size_t p = 0; p < 3; p++) {
        otok_policy before, after;
        memset(&before, 0x01, sizeof before);
        before.size = sizeof before;
        before.reuse = OTOK_REUSE_REJECT;
        after = before;
        test_assert_code(OTOK_OK, otok_policy_preset(&after, presets[p], NULL));
        for (size_t i = 0; i < sizeof set / sizeof set[0]; i++) {
            bool same = memcmp((char *)&before + set[i].offset, (char *)&after + set[i].offset, set[i].size) == 0;
            ck_assert_msg(same != set[i].by[p], "preset %zu, member %zu", p, i);
            memcpy((char *)&after + set[i].offset, (char *)&before + set[i].offset, set[i].size);
        }
        ck_assert_msg(memcmp(&before, &after, sizeof before) == 0, "preset %zu", p);
    }
}
END_TEST

/* A policy of an older header: its memory ends where its size says, which ASan and the bytes behind it watch. */
static int preset_of_size(size_t size, int32_t preset, otok_error *err)
{
    enum { BEHIND = 64 };
    unsigned char *room = malloc(size + BEHIND);
    memset(room, 0xa5, size + BEHIND);
    otok_policy_init((otok_policy *)(void *)room, size);
    int rc = otok_policy_preset((otok_policy *)(void *)room, preset, err);
    for (size_t i = size; i < size + BEHIND; i++)
        ck_assert_msg(room[i] == 0xa5, "size %zu, preset %d: byte %zu", size, preset, i);
    if (rc != OTOK_OK) { /* nothing of it was set */
        for (size_t i = sizeof size; i < size; i++)
            ck_assert_int_eq(room[i], 0);
    }
    free(room);
    return rc;
}

/* T1 B3: written to its end, not behind it; and never in part, or it would lose its refusals without a word. */
START_TEST(policy_of_an_older_header_gets_a_whole_preset_or_none)
{
    const size_t least[] = {offsetof(otok_policy, retry_limit), offsetof(otok_policy, retry_limit),
                            offsetof(otok_policy, consent)};
    for (size_t p = 0; p < 3; p++) {
        for (size_t size = sizeof(size_t); size <= sizeof(otok_policy) + 32; size++) {
            otok_error err = {0};
            int rc = preset_of_size(size, presets[p], &err);
            ck_assert_msg(rc == (size < least[p] ? OTOK_E_INVALID : OTOK_OK), "preset %zu, size %zu: %s", p, size,
                          otok_error_name(rc));
            ck_assert_msg(rc == OTOK_OK || strstr(err.message, "otok_policy") != NULL, "%s", err.message);
        }
    }
}
END_TEST

/* B1 */
START_TEST(preset_that_is_none_and_policy_without_size_are_refused)
{
    static const int32_t unknown[] = {0, 4, -1, INT32_MAX, INT32_MIN};
    otok_error err = {0};
    otok_policy policy, untouched;
    otok_policy_init(&policy, sizeof policy);
    untouched = policy;
    for (size_t i = 0; i < sizeof unknown / sizeof unknown[0]; i++) {
        test_assert_code(OTOK_E_INVALID, otok_policy_preset(&policy, unknown[i], &err));
        ck_assert_msg(strstr(err.message, "preset") != NULL, "%s", err.message);
        ck_assert_int_eq(memcmp(&policy, &untouched, sizeof policy), 0);
    }
    policy.size = 0;
    for (size_t i = 0; i < 3; i++) {
        test_assert_code(OTOK_E_INVALID, otok_policy_preset(&policy, presets[i], &err));
        ck_assert_msg(strstr(err.message, "otok_policy_init") != NULL, "%s", err.message);
        test_assert_code(OTOK_E_INVALID, otok_policy_preset(NULL, presets[i], &err));
        ck_assert_msg(strstr(err.message, "policy is required") != NULL, "%s", err.message);
    }
}
END_TEST

static void add_tests(TCase *tcase)
{
    tcase_add_test(tcase, each_preset_is_what_the_header_says);
    tcase_add_test(tcase, keycloak_with_rotation_switched_on_has_a_window_of_ten_seconds);
    tcase_add_test(tcase, bcp_gives_the_rules_of_an_empty_policy);
    tcase_add_test(tcase, bcp_does_not_leave_reuse_unanswered);
    tcase_add_test(tcase, preset_leaves_the_other_members);
    tcase_add_test(tcase, policy_of_an_older_header_gets_a_whole_preset_or_none);
    tcase_add_test(tcase, preset_that_is_none_and_policy_without_size_are_refused);
}

int main(void)
{
    return test_main("policy_presets", add_tests);
}
