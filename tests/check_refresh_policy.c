/*
 * check_refresh_policy.c - policies by client and as they change, and clocks that jump.
 *
 * SPDX-License-Identifier: MIT
 */
#include "support/story.h"

#include <string.h>

#include "support/records.h"

static test_fixture *open_rotating(void)
{
    test_fixture *f = test_open(TEST_MEMORY);
    f->policy.rotation = OTOK_ROTATION_ALWAYS;
    f->policy.reuse = OTOK_REUSE_REJECT;
    test_reopen_service(f);
    return f;
}

/* ----------------------------------------------------------------------------------------------- L3 L4: policies */

static int by_client(test_fixture *f, const char *client_id, otok_policy *policy)
{
    (void)f;
    if (strcmp(client_id, "phone") == 0)
        policy->max_lifetime_s = 3600;
    if (strcmp(client_id, "laptop") == 0)
        policy->rotation = OTOK_ROTATION_NEVER;
    return 0;
}

/* L3: the service's values are the defaults that the callback finds. */
START_TEST(policy_is_by_client)
{
    test_fixture *f = test_open(TEST_MEMORY);
    f->policy.access_token_lifetime_s = 77;
    f->client_policy = by_client;
    test_reopen_service(f);
    otok_grant phone = test_grant(NULL, "phone", NULL), laptop = test_grant(NULL, "laptop", NULL);
    const otok_tokens *p = test_granted(f, &phone), *l = test_granted(f, &laptop);
    ck_assert_int_eq(p->access_expires_in_s, 77);
    ck_assert_int_eq(p->offline_expires_in_s, 3600);
    ck_assert_int_eq(l->access_expires_in_s, 77);
    test_advance_s(f, 3599);
    otok_refresh_request request = test_refresh_request(l->offline_token, "laptop");
    ck_assert_int_eq(test_next(f, p->offline_token)->outcome, OTOK_OUTCOME_ADVANCED);
    ck_assert_int_eq(test_answered(f, &request)->outcome, OTOK_OUTCOME_KEPT);
    test_advance_s(f, 2);
    test_dead(f, p->offline_token, OTOK_E_TOKEN_EXPIRED);
    (void)test_answered(f, &request);
    test_end(f);
}
END_TEST

/* L4: a change reaches existing sessions at once; a raised limit may revive what was not swept. */
START_TEST(changed_policy_reaches_existing_sessions_at_once)
{
    test_fixture *f = test_open(TEST_MEMORY);
    const otok_tokens *tokens = test_began(f);
    test_advance_s(f, 3600);
    static const struct {
        int64_t idle_s, max_s;
        int code;
    } rows[] = {
        {1800, 0, OTOK_E_TOKEN_EXPIRED},
        {0, 1800, OTOK_E_TOKEN_EXPIRED},
        {4000, 0, OTOK_OK},
        {0, 4000, OTOK_OK},
        {0, 0, OTOK_OK},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        f->policy.idle_timeout_s = rows[i].idle_s;
        f->policy.max_lifetime_s = rows[i].max_s;
        f->policy.rotation = OTOK_ROTATION_NEVER;
        test_reopen_service(f);
        int code = test_refresh_code(f, tokens->offline_token, NULL);
        ck_assert_msg(code == rows[i].code, "row %zu: %s", i, otok_error_name(code));
    }
    test_end(f);
}
END_TEST

/* L4: "a cutoff never un-kills", whatever the policy. */
START_TEST(no_policy_revives_what_was_cut_off)
{
    test_fixture *f = test_open(TEST_MEMORY);
    const otok_tokens *tokens = test_began(f);
    otok_filter phone = test_filter(NULL, "phone", NULL);
    test_assert_code(OTOK_OK, otok_cutoff_set(f->service, &phone, OTOK_NOW, NULL, NULL));
    f->policy.idle_timeout_s = f->policy.max_lifetime_s = OTOK_UNLIMITED;
    test_reopen_service(f);
    test_dead(f, tokens->offline_token, OTOK_E_TOKEN_REVOKED);
    test_end(f);
}
END_TEST

static int fails(test_fixture *f, const char *client_id, otok_policy *policy)
{
    (void)f;
    (void)client_id;
    policy->idle_timeout_s = OTOK_UNLIMITED;
    return 1;
}

static int nonsense(test_fixture *f, const char *client_id, otok_policy *policy)
{
    (void)f;
    (void)client_id;
    policy->retry_window_s = -1;
    return 0;
}

/* L3 T1: fails closed, unconsumed, as the server's fault. */
START_TEST(policy_callback_that_fails_or_makes_no_sense_fails_the_request)
{
    static const struct {
        int (*callback)(test_fixture *, const char *, otok_policy *);
        int code;
        const char *named;
    } rows[] = {{fails, OTOK_E_CALLBACK, "client_policy"}, {nonsense, OTOK_E_POLICY, "retry_window_s"}};
    for (size_t i = 0; i < 2; i++) {
        test_fixture *f = test_open(TEST_MEMORY);
        const otok_tokens *tokens = test_began(f);
        otok_refresh_request request = test_refresh_request(tokens->offline_token, NULL);
        otok_grant grant = test_grant(NULL, NULL, NULL);
        test_advance_s(f, 60);
        f->client_policy = rows[i].callback;
        test_reopen_service(f);
        test_refused_untouched(f, &request, rows[i].code);
        test_not_granted(f, &grant, rows[i].code, rows[i].named);
        ck_assert_int_eq(otok_error_http(rows[i].code), 500);
        ck_assert_str_eq(otok_error_oauth(rows[i].code), "server_error");
        f->client_policy = NULL;
        test_reopen_service(f);
        ck_assert_int_eq(test_next(f, tokens->offline_token)->outcome, OTOK_OUTCOME_ADVANCED);
        test_end(f);
    }
}
END_TEST

/*
 * T1: a service whose own policy is nonsense does not open, or fails each request; never does it go on with another
 * one.
 */
START_TEST(service_with_a_nonsense_policy_issues_nothing)
{
    test_fixture *f = test_open(TEST_MEMORY);
    otok_config config;
    otok_policy policy;
    otok_service *service = NULL;
    otok_tokens *tokens = NULL;
    otok_grant grant = test_grant(NULL, NULL, NULL);
    otok_config_init(&config, sizeof config);
    otok_policy_init(&policy, sizeof policy);
    policy.idle_timeout_s = -5;
    config.issuer = TEST_ISSUER;
    config.policy = &policy;
    int rc = otok_service_open(&config, f->store, f->keyring, &service, NULL);
    if (rc == OTOK_OK)
        rc = otok_issue(service, &grant, &tokens, NULL);
    test_assert_code(OTOK_E_POLICY, rc);
    ck_assert_ptr_null(tokens);
    ck_assert_uint_eq(test_count_records(f->store), 0);
    otok_service_close(service);
    test_end(f);
}
END_TEST

/* --------------------------------------------------------------------------------------------------- L1 L5: clocks */

/* L1: at least one refresh in each idle timeout keeps the session, for ten years. */
START_TEST(session_used_once_in_the_idle_timeout_lives_for_years)
{
    test_fixture *f = test_open(TEST_MEMORY);
    f->policy.rotation = _i == 0 ? OTOK_ROTATION_ALWAYS : OTOK_ROTATION_NEVER;
    test_reopen_service(f);
    const otok_tokens *tokens = test_began(f);
    for (int i = 0; i < 122; i++) {
        test_advance_s(f, 30 * TEST_DAY_S);
        tokens = test_next(f, tokens->offline_token);
    }
    test_advance_s(f, 31 * TEST_DAY_S);
    test_dead(f, tokens->offline_token, OTOK_E_TOKEN_EXPIRED);
    test_end(f);
}
END_TEST

/*
 * L1, I5: a retry is a use as well.  Where the window is longer than the timeout, who always retries is not expired, and what it
 * is handed does not outlive the session.
 */
START_TEST(retries_keep_the_session_and_never_outlive_it)
{
    test_fixture *f = test_open(TEST_MEMORY);
    f->policy.rotation = OTOK_ROTATION_ALWAYS;
    f->policy.idle_timeout_s = f->policy.access_token_lifetime_s = 600;
    f->policy.retry_window_s = _i == 0 ? 3600 : OTOK_UNLIMITED;
    f->policy.retry_limit = _i == 0 ? 0 : 100; /* Keycloak's Max Reuse */
    test_reopen_service(f);
    const otok_tokens *first = test_began(f), *next = first;
    while (next->generation == 0) {
        test_advance_s(f, 600);
        next = test_next(f, first->offline_token);
    }
    for (int i = 0; i < 5; i++) {
        test_advance_s(f, 600);
        next = test_next(f, first->offline_token);
        ck_assert_int_eq(next->outcome, OTOK_OUTCOME_RETRIED);
    }
    test_advance_s(f, next->offline_expires_in_s - 1);
    ck_assert_int_le(next->access_expires_in_s, next->offline_expires_in_s);
    (void)test_next(f, next->offline_token);
    test_end(f);
}
END_TEST

/* A small generator of numbers below `bound`, the same in each run. */
static int64_t some(uint64_t *state, int64_t bound)
{
    *state = *state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (int64_t)((*state >> 33) % (uint64_t)bound);
}

/*
 * L1 R9 L3: whatever the rhythm of use, the timeout is kept in the client's favour, and exceeded by at most the touch
 * interval.
 */
START_TEST(session_used_at_any_rhythm_within_the_idle_timeout_lives)
{
    uint64_t state = (uint64_t)_i;
    test_fixture *f = test_open(TEST_MEMORY);
    f->policy.rotation = _i % 2 == 0 ? OTOK_ROTATION_ALWAYS : OTOK_ROTATION_NEVER;
    test_reopen_service(f);
    otok_grant grant = test_grant(NULL, NULL, "offline_access");
    grant.idle_timeout_s = 20 + some(&state, 10000);
    const otok_tokens *tokens = test_granted(f, &grant);
    for (int i = 0; i < 200; i++) {
        test_advance_s(f, some(&state, 3) == 0 ? grant.idle_timeout_s : some(&state, grant.idle_timeout_s));
        tokens = test_next(f, tokens->offline_token);
    }
    test_advance_s(f, grant.idle_timeout_s + grant.idle_timeout_s / 10 + 1);
    test_dead(f, tokens->offline_token, OTOK_E_TOKEN_EXPIRED);
    test_end(f);
}
END_TEST

/* T1 L3: no more often than rotate_after_s. */
START_TEST(token_younger_than_rotate_after_is_kept)
{
    test_fixture *f = open_rotating();
    f->policy.rotate_after_s = 3600;
    test_reopen_service(f);
    const otok_tokens *tokens = test_began(f);
    for (uint32_t hour = 0; hour < 3; hour++) {
        for (int i = 0; i < 3; i++) {
            test_advance_s(f, 1199);
            test_expect_same(test_next(f, tokens->offline_token), tokens);
        }
        test_advance_s(f, 3);
        tokens = test_next(f, tokens->offline_token);
        ck_assert_uint_eq(tokens->generation, hour + 1);
    }
    test_end(f);
}
END_TEST

#define YEARS_S (INT64_C(3652) * TEST_DAY_S) /* ten of them */

/* L5: the clock jumps and comes back; nothing is expired by that, nothing revived, replay is still refused. */
START_TEST(clock_that_jumps_neither_expires_nor_revives)
{
    static const int64_t jumps[] = {-1, -3600, -2 * TEST_DAY_S, -YEARS_S};
    for (size_t i = 0; i < sizeof jumps / sizeof jumps[0]; i++) {
        test_fixture *f = open_rotating();
        const otok_tokens *first = test_began(f), *tokens = test_rotated(f, first, 3);
        otok_filter bob = test_filter("bob", NULL, NULL);
        otok_grant grant = test_grant("bob", NULL, NULL);
        const otok_tokens *dead = test_granted(f, &grant);
        test_assert_code(OTOK_OK, otok_cutoff_set(f->service, &bob, OTOK_NOW, NULL, NULL));
        test_advance_s(f, 600 + jumps[i]);
        tokens = test_next(f, tokens->offline_token);
        test_dead(f, first->offline_token, OTOK_E_TOKEN_REUSED);
        test_dead(f, dead->offline_token, OTOK_E_TOKEN_REVOKED);
        test_advance_s(f, -jumps[i]);
        tokens = test_next(f, tokens->offline_token);
        test_dead(f, first->offline_token, OTOK_E_TOKEN_REUSED);
        test_dead(f, dead->offline_token, OTOK_E_TOKEN_REVOKED);
        test_end(f);
    }
}
END_TEST

/* L5: ahead and back again: what looked idle is not, and was not touched meanwhile. */
START_TEST(jump_forward_and_back_destroys_nothing)
{
    test_fixture *f = open_rotating();
    const otok_tokens *tokens = test_began(f);
    otok_refresh_request request = test_refresh_request(tokens->offline_token, NULL);
    test_advance_s(f, YEARS_S);
    test_refused_untouched(f, &request, OTOK_E_TOKEN_EXPIRED);
    test_advance_s(f, 60 - YEARS_S);
    (void)test_next(f, tokens->offline_token);
    test_end(f);
}
END_TEST

/*
 * L5: a rotation that was written with a clock ten years ahead; afterwards replay is refused, floods cost nothing, use
 * works.
 */
START_TEST(rotation_under_a_wrong_clock_does_not_leave_its_window_open)
{
    test_fixture *f = open_rotating();
    f->policy.idle_timeout_s = OTOK_UNLIMITED;
    test_reopen_service(f);
    const otok_tokens *first = test_began(f);
    test_advance_s(f, YEARS_S);
    const otok_tokens *second = test_next(f, first->offline_token);
    test_advance_s(f, 60 - YEARS_S);
    const otok_tokens *third = test_next(f, second->offline_token);
    ck_assert_uint_eq(third->generation, 2);
    test_dead(f, first->offline_token, OTOK_E_TOKEN_REUSED);
    test_expect_same(test_next(f, second->offline_token), third);
    test_expect_same(test_next(f, third->offline_token), third); /* young: it comes back unchanged */
    test_advance_s(f, 60);
    test_dead(f, second->offline_token, OTOK_E_TOKEN_REUSED);
    ck_assert_uint_eq(test_next(f, third->offline_token)->generation, 3);
    test_end(f);
}
END_TEST

/* L5: stored times never move back. */
START_TEST(last_use_never_moves_back)
{
    test_fixture *f = open_rotating();
    const otok_tokens *tokens = test_rotated(f, test_began(f), 1);
    int64_t last_used_us = 0;
    for (int i = 0; i < 10; i++) {
        otok_session *session = NULL;
        test_advance_s(f, i % 2 == 0 ? 60 : -3600);
        tokens = test_next(f, tokens->offline_token);
        test_assert_code(OTOK_OK, otok_session_get(f->service, tokens->session_id, &session, NULL));
        ck_assert_int_ge(session->last_used_us, last_used_us);
        ck_assert_int_le(session->started_us, session->last_used_us);
        last_used_us = session->last_used_us;
        otok_session_free(session);
    }
    test_end(f);
}
END_TEST

/* L5: no arithmetic overflows (under UBSan), and afterwards whoever has the newest token goes on. */
START_TEST(absurd_clocks_crash_nothing)
{
    static const int64_t clocks[] = {INT64_MIN, INT64_MIN + 1, -1, 0, 1, INT64_MAX - 1, INT64_MAX};
    for (size_t i = 0; i < sizeof clocks / sizeof clocks[0]; i++) {
        test_fixture *f = open_rotating();
        otok_grant grant = test_grant(NULL, NULL, NULL);
        otok_tokens *tokens = NULL;
        test_held held;
        test_keep(&held, test_issue(f, NULL, NULL, NULL));
        test_set_now_us(f, clocks[i]);
        (void)test_refresh_held(f, &held, NULL);
        (void)otok_issue(f->service, &grant, &tokens, NULL);
        otok_tokens_free(tokens);
        test_set_now_us(f, TEST_START_US + 60 * OTOK_US_PER_S);
        int rc = test_refresh_held(f, &held, NULL);
        ck_assert_msg(rc == OTOK_OK, "clock %zu: %s", i, otok_error_name(rc));
        test_end(f);
    }
}
END_TEST

static void add_tests(TCase *tcase)
{
    tcase_add_test(tcase, policy_is_by_client);
    tcase_add_test(tcase, changed_policy_reaches_existing_sessions_at_once);
    tcase_add_test(tcase, no_policy_revives_what_was_cut_off);
    tcase_add_test(tcase, policy_callback_that_fails_or_makes_no_sense_fails_the_request);
    tcase_add_test(tcase, service_with_a_nonsense_policy_issues_nothing);
    tcase_add_loop_test(tcase, session_used_once_in_the_idle_timeout_lives_for_years, 0, 2);
    tcase_add_loop_test(tcase, retries_keep_the_session_and_never_outlive_it, 0, 2);
    tcase_add_loop_test(tcase, session_used_at_any_rhythm_within_the_idle_timeout_lives, 0, 20);
    tcase_add_test(tcase, token_younger_than_rotate_after_is_kept);
    tcase_add_test(tcase, clock_that_jumps_neither_expires_nor_revives);
    tcase_add_test(tcase, jump_forward_and_back_destroys_nothing);
    tcase_add_test(tcase, rotation_under_a_wrong_clock_does_not_leave_its_window_open);
    tcase_add_test(tcase, last_use_never_moves_back);
    tcase_add_test(tcase, absurd_clocks_crash_nothing);
}

int main(void)
{
    return test_main("refresh_policy", add_tests);
}
