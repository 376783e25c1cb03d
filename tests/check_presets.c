/*
 * check_presets.c - presets and ceilings in a service that runs, and switched while sessions live (T1, L3, L4).
 *
 * SPDX-License-Identifier: MIT
 */
#include "support/records.h"
#include "support/story.h"

static void preset(test_fixture *f, int32_t which)
{
    otok_policy_init(&f->policy, sizeof f->policy);
    if (which != 0)
        test_assert_code(OTOK_OK, otok_policy_preset(&f->policy, which, NULL));
    test_reopen_service(f);
}

static int issue_as(test_fixture *f, int32_t client_type, int32_t binding, test_held *held)
{
    otok_peer peer = test_peer(TEST_JKT, NULL, NULL, NULL);
    otok_grant grant = test_grant(NULL, NULL, "offline_access");
    otok_tokens *tokens = NULL;
    grant.client_type = client_type;
    grant.binding = binding;
    grant.peer = &peer;
    int rc = otok_issue(f->service, &grant, &tokens, NULL);
    if (rc == OTOK_OK)
        test_keep(held, tokens);
    return rc;
}

static int refresh_by(test_fixture *f, test_held *held, int32_t client_type, const char *jkt, int32_t *outcome)
{
    otok_peer peer = test_peer(jkt, NULL, NULL, NULL);
    otok_refresh_request request = test_refresh_request(held->token, NULL);
    otok_tokens *tokens = NULL;
    request.client_type = client_type;
    request.peer = &peer;
    int rc = otok_refresh(f->service, &request, &tokens, NULL);
    if (rc == OTOK_OK) {
        *outcome = tokens->outcome;
        test_keep(held, tokens);
    }
    return rc;
}

static int refresh_as(test_fixture *f, test_held *held, int32_t client_type, int32_t *outcome)
{
    return refresh_by(f, held, client_type, TEST_JKT, outcome);
}

/* T1: "fapi2 (never; refuses clients that are public or unconstrained)". */
START_TEST(fapi2_has_neither_public_nor_unconstrained_clients)
{
    test_fixture *f = test_open(_i);
    test_held held;
    int32_t outcome;
    preset(f, OTOK_PRESET_FAPI2);
    uint64_t state = test_store_state(f->store);
    test_assert_code(OTOK_E_UNAUTHORIZED_CLIENT, issue_as(f, OTOK_CLIENT_PUBLIC, OTOK_BINDING_JKT, &held));
    test_assert_code(OTOK_E_SENDER, issue_as(f, OTOK_CLIENT_CONFIDENTIAL, OTOK_BINDING_NONE, &held));
    ck_assert_uint_eq(state, test_store_state(f->store));
    test_assert_code(OTOK_OK, issue_as(f, OTOK_CLIENT_CONFIDENTIAL, OTOK_BINDING_DPOP, &held));
    for (int i = 0; i < 3; i++) {
        test_advance_s(f, 3600);
        test_assert_code(OTOK_OK, refresh_as(f, &held, OTOK_CLIENT_CONFIDENTIAL, &outcome));
        ck_assert_int_eq(outcome, OTOK_OUTCOME_KEPT);
    }
    test_close(f);
}
END_TEST

/* P3, L4: a policy that now demands what a session has not refuses it, unconsumed; when it no longer does, the session lives. */
START_TEST(a_stricter_policy_refuses_without_ending)
{
    test_fixture *f = test_open(_i);
    test_held public_one, plain;
    int32_t outcome;
    test_assert_code(OTOK_OK, issue_as(f, OTOK_CLIENT_PUBLIC, OTOK_BINDING_JKT, &public_one));
    test_assert_code(OTOK_OK, issue_as(f, OTOK_CLIENT_CONFIDENTIAL, OTOK_BINDING_NONE, &plain));
    preset(f, OTOK_PRESET_FAPI2);
    uint64_t state = test_store_state(f->store);
    for (int i = 0; i < 3; i++) {
        test_advance_s(f, 60);
        test_assert_code(OTOK_E_UNAUTHORIZED_CLIENT, refresh_as(f, &public_one, OTOK_CLIENT_PUBLIC, &outcome));
        test_assert_code(OTOK_E_SENDER, refresh_as(f, &plain, OTOK_CLIENT_CONFIDENTIAL, &outcome));
    }
    ck_assert_uint_eq(state, test_store_state(f->store));
    preset(f, 0);
    test_assert_code(OTOK_OK, refresh_as(f, &public_one, OTOK_CLIENT_PUBLIC, &outcome));
    test_assert_code(OTOK_OK, refresh_as(f, &plain, OTOK_CLIENT_CONFIDENTIAL, &outcome));
    test_close(f);
}
END_TEST

/* T1, L4: presets are switched under living sessions, both ways: nobody is logged out, and no superseded token is good again. */
START_TEST(presets_are_switched_both_ways)
{
    static const struct {
        int32_t which, outcome; /* of a public client's refresh, an hour after the last */
    } steps[] = {
        {OTOK_PRESET_KEYCLOAK, OTOK_OUTCOME_KEPT}, {OTOK_PRESET_BCP, OTOK_OUTCOME_ADVANCED},
        {OTOK_PRESET_KEYCLOAK, OTOK_OUTCOME_KEPT}, {0, OTOK_OUTCOME_ADVANCED},
        {OTOK_PRESET_BCP, OTOK_OUTCOME_ADVANCED},  {OTOK_PRESET_KEYCLOAK, OTOK_OUTCOME_KEPT},
    };
    test_fixture *f = test_open(_i);
    test_held held, superseded = {0};
    int32_t outcome;
    f->policy.reuse = OTOK_REUSE_REJECT;
    test_reopen_service(f);
    test_assert_code(OTOK_OK, issue_as(f, OTOK_CLIENT_PUBLIC, OTOK_BINDING_NONE, &held));
    for (size_t i = 0; i < sizeof steps / sizeof steps[0]; i++) {
        test_held before = held;
        preset(f, steps[i].which);
        f->policy.reuse = OTOK_REUSE_REJECT;
        test_reopen_service(f);
        test_advance_s(f, 3600);
        test_assert_code(OTOK_OK, refresh_by(f, &held, OTOK_CLIENT_PUBLIC, NULL, &outcome));
        ck_assert_int_eq(outcome, steps[i].outcome);
        if (superseded.token[0] != '\0')
            test_assert_code(OTOK_E_TOKEN_REUSED, test_refresh_code(f, superseded.token, NULL));
        if (outcome == OTOK_OUTCOME_ADVANCED)
            superseded = before;
        test_advance_s(f, 3600);
    }
    test_close(f);
}
END_TEST

static int generous(test_fixture *f, const char *client_id, otok_policy *policy)
{
    (void)f;
    (void)client_id;
    policy->idle_timeout_s = OTOK_UNLIMITED;
    policy->access_token_lifetime_s = 86400;
    return 0;
}

/* L3: what a client's policy has beyond the ceilings does not count. */
START_TEST(ceilings_hold_for_the_policy_of_a_client)
{
    otok_ceilings ceilings;
    test_fixture *f = test_open(_i);
    f->client_policy = generous;
    test_reopen_service(f);
    otok_ceilings_init(&ceilings, sizeof ceilings);
    ceilings.idle_timeout_s = 7 * TEST_DAY_S;
    ceilings.access_token_lifetime_s = 600;
    f->service->ceilings = ceilings;
    otok_tokens *tokens = test_issue(f, NULL, NULL, NULL);
    ck_assert_int_eq(tokens->access_expires_in_s, 600);
    ck_assert_int_eq(tokens->offline_expires_in_s, 7 * TEST_DAY_S);
    test_held held;
    test_keep(&held, tokens);
    test_advance_s(f, 6 * TEST_DAY_S);
    test_assert_code(OTOK_OK, test_refresh_held(f, &held, NULL));
    test_advance_s(f, 8 * TEST_DAY_S);
    test_assert_code(OTOK_E_TOKEN_EXPIRED, test_refresh_code(f, held.token, NULL));
    f->service->ceilings = (otok_ceilings){0}; /* L4: gone, and the session is what its client's policy says */
    test_assert_code(OTOK_OK, test_refresh_held(f, &held, NULL));
    test_close(f);
}
END_TEST

static void add(TCase *tc)
{
    tcase_add_loop_test(tc, fapi2_has_neither_public_nor_unconstrained_clients, TEST_MEMORY, TEST_LMDB + 1);
    tcase_add_loop_test(tc, a_stricter_policy_refuses_without_ending, TEST_MEMORY, TEST_LMDB + 1);
    tcase_add_loop_test(tc, presets_are_switched_both_ways, TEST_MEMORY, TEST_LMDB + 1);
    tcase_add_loop_test(tc, ceilings_hold_for_the_policy_of_a_client, TEST_MEMORY, TEST_LMDB + 1);
}

int main(void)
{
    return test_main("presets", add);
}
