/*
 * check_refresh_policy.c - policies by client and as they change, clocks that jump, and stores restored from a backup.
 *
 * SPDX-License-Identifier: MIT
 */
#include "support/story.h"

#include <string.h>

#include "support/records.h"

static const otok_tokens *rotated(test_fixture *f, const otok_tokens *tokens, uint32_t n)
{
    while (tokens->generation < n) {
        test_advance_s(f, 60);
        tokens = test_next(f, tokens->offline_token);
    }
    return tokens;
}

static test_fixture *open_rotating(int32_t ahead)
{
    test_fixture *f = test_open(TEST_MEMORY);
    f->policy.rotation = OTOK_ROTATION_ALWAYS;
    f->policy.reuse = OTOK_REUSE_REJECT;
    f->policy.ahead = ahead;
    test_reopen_service(f);
    return f;
}

/* ---------------------------------------------------------------------------------------------------- T5: restored */

/* Generations 0 to 4, and the record put back to generation `back`, as a backup would. */
static void restore(test_fixture *f, const otok_tokens *tokens[5], uint32_t back)
{
    otok_record *backup = NULL;
    tokens[0] = test_began(f);
    for (uint32_t i = 0; i < 5; i++) {
        if (i > 0)
            tokens[i] = rotated(f, tokens[i - 1], i);
        if (i == back)
            backup = test_session_record(f->store, tokens[0]->session_id);
    }
    test_advance_s(f, 60);
    test_put_back(f->store, backup);
    otok_record_free(backup);
    test_forget_events(f);
}

/* T5: the request is answered, an event says so, and every older token is reuse again: the one just before included. */
START_TEST(token_from_the_future_is_answered_and_moves_the_record_up)
{
    uint32_t back = (uint32_t)_i;
    const otok_tokens *tokens[5];
    test_fixture *f = open_rotating(OTOK_AHEAD_DEFAULT);
    restore(f, tokens, back);
    const otok_tokens *next = test_next(f, tokens[4]->offline_token);
    ck_assert_uint_ge(next->generation, 4);
    const test_event *e = test_last_event(f, OTOK_EVENT_STORE_ROLLED_BACK);
    ck_assert_ptr_nonnull(e);
    ck_assert_uint_eq(e->event.distance, 4 - back);
    ck_assert_str_eq(e->event.session_id, tokens[0]->session_id);
    ck_assert_uint_eq(test_count_events(f, OTOK_EVENT_STORE_ROLLED_BACK), 1);
    for (int i = 0; i < 4; i++)
        test_dead(f, tokens[i]->offline_token, OTOK_E_TOKEN_REUSED);
    test_advance_s(f, 60);
    ck_assert_uint_eq(test_next(f, next->offline_token)->generation, next->generation + 1);
    test_end(f);
}
END_TEST

/* T5: refused by policy, as often as it comes. */
START_TEST(token_from_the_future_can_be_refused)
{
    const otok_tokens *tokens[5];
    test_fixture *f = open_rotating(OTOK_AHEAD_REFUSE);
    restore(f, tokens, 1);
    for (int i = 0; i < 2; i++) {
        test_dead(f, tokens[4]->offline_token, OTOK_E_TOKEN_AHEAD);
        ck_assert_ptr_nonnull(test_last_event(f, OTOK_EVENT_STORE_ROLLED_BACK));
    }
    ck_assert_str_eq(otok_error_oauth(OTOK_E_TOKEN_AHEAD), "invalid_grant");
    test_end(f);
}
END_TEST

/* T5 R8: two who hold the same token from the future, a lost response: both get one successor. */
START_TEST(token_from_the_future_may_be_retried)
{
    const otok_tokens *tokens[5];
    test_fixture *f = open_rotating(OTOK_AHEAD_ANSWER);
    restore(f, tokens, 0);
    const otok_tokens *lost = test_next(f, tokens[4]->offline_token);
    test_expect_same(test_next(f, tokens[4]->offline_token), lost);
    test_end(f);
}
END_TEST

/* T5 T1: also when rotation was switched off since. */
START_TEST(token_from_the_future_is_recognised_without_rotation)
{
    const otok_tokens *tokens[5];
    test_fixture *f = open_rotating(OTOK_AHEAD_ANSWER);
    restore(f, tokens, 2);
    f->policy.rotation = OTOK_ROTATION_NEVER;
    test_reopen_service(f);
    ck_assert_uint_eq(test_next(f, tokens[4]->offline_token)->generation, 4);
    ck_assert_uint_eq(test_count_events(f, OTOK_EVENT_STORE_ROLLED_BACK), 1);
    test_dead(f, tokens[3]->offline_token, OTOK_E_TOKEN_REUSED);
    test_end(f);
}
END_TEST

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
        {1800, 0, OTOK_E_TOKEN_EXPIRED}, {0, 1800, OTOK_E_TOKEN_EXPIRED}, {4000, 0, OTOK_OK},
        {0, 4000, OTOK_OK},              {0, 0, OTOK_OK},
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

/* T1: a service whose own policy is nonsense does not open, or fails each request; never does it go on with another one. */
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

#define YEARS_S (INT64_C(3652) * TEST_DAY_S) /* ten of them */

/* L5: the clock jumps and comes back; nothing is expired by that, nothing revived, replay is still refused. */
START_TEST(clock_that_jumps_neither_expires_nor_revives)
{
    static const int64_t jumps[] = {-1, -3600, -2 * TEST_DAY_S, -YEARS_S};
    for (size_t i = 0; i < sizeof jumps / sizeof jumps[0]; i++) {
        test_fixture *f = open_rotating(0);
        const otok_tokens *first = test_began(f), *tokens = rotated(f, first, 3);
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
    test_fixture *f = open_rotating(0);
    const otok_tokens *tokens = test_began(f);
    otok_refresh_request request = test_refresh_request(tokens->offline_token, NULL);
    test_advance_s(f, YEARS_S);
    test_refused_untouched(f, &request, OTOK_E_TOKEN_EXPIRED);
    test_advance_s(f, 60 - YEARS_S);
    (void)test_next(f, tokens->offline_token);
    test_end(f);
}
END_TEST

/* L5: a rotation that was written with a clock ten years ahead; afterwards replay is refused, floods cost nothing, use works. */
START_TEST(rotation_under_a_wrong_clock_does_not_leave_its_window_open)
{
    test_fixture *f = open_rotating(0);
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
    test_fixture *f = open_rotating(0);
    const otok_tokens *tokens = rotated(f, test_began(f), 1);
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
        test_fixture *f = open_rotating(0);
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
    tcase_add_loop_test(tcase, token_from_the_future_is_answered_and_moves_the_record_up, 0, 4);
    tcase_add_test(tcase, token_from_the_future_can_be_refused);
    tcase_add_test(tcase, token_from_the_future_may_be_retried);
    tcase_add_test(tcase, token_from_the_future_is_recognised_without_rotation);
    tcase_add_test(tcase, policy_is_by_client);
    tcase_add_test(tcase, changed_policy_reaches_existing_sessions_at_once);
    tcase_add_test(tcase, no_policy_revives_what_was_cut_off);
    tcase_add_test(tcase, policy_callback_that_fails_or_makes_no_sense_fails_the_request);
    tcase_add_test(tcase, service_with_a_nonsense_policy_issues_nothing);
    tcase_add_loop_test(tcase, session_used_once_in_the_idle_timeout_lives_for_years, 0, 2);
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
