/*
 * check_authorize.c - the host is asked whether it agrees to a use of a session (R5): what it is told, how it refuses, how it ends
 * the session, and that whatever goes wrong with it refuses.
 *
 * SPDX-License-Identifier: MIT
 */
#include "support/host.h"

#include <string.h>

#include "support/introspect.h"
#include "support/node.h"
#include "support/records.h"
#include "support/watch.h"

static test_host host;

static test_fixture *open_host(void)
{
    test_fixture *f = test_open(TEST_MEMORY);
    test_install_host(f, &host);
    return f;
}

/* --------------------------------------------------------------------------------------------------- what it is told */

static void expect_use(const test_use *use, int32_t purpose, uint32_t attempt, const otok_tokens *tokens)
{
    ck_assert_int_eq(use->purpose, purpose);
    ck_assert_uint_eq(use->attempt, attempt);
    ck_assert_str_eq(use->subject, "alice");
    ck_assert_str_eq(use->client_id, "phone");
    ck_assert_str_eq(use->sub, "pairwise-7");
    ck_assert_str_eq(use->sid, "sso-1");
    ck_assert_str_eq(use->session_scope, "openid offline_access profile");
    ck_assert_str_eq(use->session_id, tokens->session_id);
    ck_assert_int_eq(use->kind, OTOK_SESSION_LOGIN);
    ck_assert_int_eq(use->state, OTOK_OK);
}

/* R5: purpose, attempt, session, scope, audience and where the request came from; of an issue before there is a record. */
START_TEST(host_is_told_what_it_is_asked_about)
{
    test_fixture *f = open_host();
    otok_peer peer = test_peer(NULL, NULL, "192.0.2.7", NULL);
    otok_grant grant = test_grant(NULL, NULL, NULL);
    grant.sub = "pairwise-7";
    grant.sid = "sso-1";
    grant.kind = OTOK_SESSION_LOGIN;
    grant.peer = &peer;
    const otok_tokens *tokens = test_granted(f, &grant);
    ck_assert_uint_eq(host.nuses, 2);
    for (size_t i = 0; i < 2; i++) {
        expect_use(&host.uses[i], OTOK_PURPOSE_ISSUE, 1, tokens);
        ck_assert(host.uses[i].for_claims == (i == 1));
        ck_assert_str_eq(host.uses[i].scope, "openid offline_access profile");
        ck_assert_uint_eq(host.uses[i].audience_count, 1);
        ck_assert_str_eq(host.uses[i].audience[0], TEST_ISSUER);
        ck_assert_str_eq(host.uses[i].ip, "192.0.2.7");
    }
    test_advance_s(f, 60);
    otok_refresh_request request = test_refresh_request(tokens->offline_token, NULL);
    request.scope = "profile";
    const otok_tokens *next = test_answered(f, &request);
    expect_use(test_last_use(&host), OTOK_PURPOSE_REFRESH, 1, tokens);
    ck_assert_str_eq(test_last_use(&host)->scope, "profile");
    ck_assert_str_eq(test_last_use(&host)->ip, "");
    ck_assert_uint_eq(test_last_use(&host)->generation, 0);
    test_expect_same(test_next(f, tokens->offline_token), next);
    expect_use(test_last_use(&host), OTOK_PURPOSE_RETRY, 1, tokens);
    ck_assert_uint_eq(test_last_use(&host)->generation, 1);
    size_t before = host.nuses;
    ck_assert(test_is_active(f, next->offline_token, NULL));
    ck_assert_uint_eq(host.nuses, before + 1); /* for claims it is not asked */
    expect_use(test_last_use(&host), OTOK_PURPOSE_INTROSPECT, 1, tokens);
    ck_assert(test_is_live(f, tokens->session_id));
    expect_use(test_last_use(&host), OTOK_PURPOSE_INTROSPECT, 1, tokens);
    test_end(f);
}
END_TEST

/* R5 R1: after every check of the library: of what that refuses the host hears nothing. */
START_TEST(host_is_not_asked_about_what_is_refused_anyway)
{
    test_fixture *f = open_host();
    const otok_tokens *first = test_began(f), *last = test_rotated(f, first, 2);
    host.nuses = 0;
    test_assert_code(OTOK_E_CLIENT_MISMATCH, test_refresh_code(f, last->offline_token, "laptop"));
    otok_refresh_request wider = test_refresh_request(last->offline_token, NULL);
    wider.scope = "admin";
    test_refused(f, &wider, OTOK_E_SCOPE);
    ck_assert(!test_is_active(f, last->offline_token, "laptop"));
    ck_assert(!test_is_active(f, first->offline_token, NULL));
    test_dead(f, first->offline_token, OTOK_E_TOKEN_REUSED);
    test_dead(f, last->offline_token, OTOK_E_TOKEN_UNKNOWN);
    ck_assert_uint_eq(host.nuses, 0);
    test_end(f);
}
END_TEST

struct meanwhile {
    test_fixture *node;
    const char *token;
};

static void refresh_meanwhile(void *arg)
{
    struct meanwhile *m = arg;
    test_assert_code(OTOK_OK, test_refresh_code(m->node, m->token, NULL));
}

/* R5: "and may be asked again after a conflict", about what was read again. */
START_TEST(host_is_asked_again_when_another_node_was_faster)
{
    test_watch watch;
    test_fixture *f = test_open(TEST_MEMORY);
    test_watch_fixture(&watch, f);
    test_fixture *node = test_open_node(f, NULL);
    const otok_tokens *tokens = test_began(f);
    test_install_host(f, &host);
    struct meanwhile m = {node, tokens->offline_token};
    __atomic_add_fetch(&node->now_us, 60 * OTOK_US_PER_S, __ATOMIC_SEQ_CST);
    test_advance_s(f, 60);
    test_watch_step_in(&watch, 1, TEST_CALL_COMMIT, refresh_meanwhile, &m);
    const otok_tokens *next = test_next(f, tokens->offline_token);
    ck_assert(watch.reached);
    ck_assert_int_eq(next->outcome, OTOK_OUTCOME_RETRIED);
    ck_assert_uint_eq(host.nuses, 4); /* authorize and claims, twice */
    ck_assert_int_eq(host.uses[0].purpose, OTOK_PURPOSE_REFRESH);
    ck_assert_uint_eq(host.uses[0].attempt, 1);
    ck_assert_int_eq(host.uses[2].purpose, OTOK_PURPOSE_RETRY);
    ck_assert_uint_eq(host.uses[2].attempt, 2);
    ck_assert_uint_eq(host.uses[2].generation, 1);
    test_close(node);
    test_end(f);
}
END_TEST

/* ----------------------------------------------------------------------------------------------------------- refusals */

static const int32_t refusals[] = {OTOK_E_DENIED,        OTOK_E_CONSENT,       OTOK_E_UNAUTHORIZED_CLIENT,
                                   OTOK_E_TOKEN_INVALID, OTOK_E_TOKEN_REVOKED, OTOK_E_ONCE,
                                   OTOK_E_SCOPE,         OTOK_E_BUSY};

/* R5 R2: any purpose, any code; the token is unconsumed, and works once the host agrees. */
START_TEST(refusal_leaves_the_token_unconsumed)
{
    test_fixture *f = open_host();
    otok_error err;
    otok_tokens *none = NULL;
    for (size_t i = 0; i < sizeof refusals / sizeof refusals[0]; i++) {
        const otok_tokens *first = test_began(f), *next = test_rotated(f, first, 1);
        otok_refresh_request retry = test_refresh_request(first->offline_token, NULL);
        otok_refresh_request current = test_refresh_request(next->offline_token, NULL);
        host.nuses = 0;
        host.refusal = refusals[i];
        host.description = "the user is locked";
        test_refused_untouched(f, &retry, refusals[i]);
        test_advance_s(f, 60);
        test_refused_untouched(f, &current, refusals[i]);
        test_assert_code(refusals[i], otok_refresh(f->service, &current, &none, &err));
        ck_assert_str_eq(err.message, "the user is locked");
        otok_grant grant = test_grant(NULL, NULL, NULL);
        test_not_granted(f, &grant, refusals[i], "the user is locked");
        host.refusal = 0;
        ck_assert_int_eq(test_next(f, next->offline_token)->outcome, OTOK_OUTCOME_ADVANCED);
    }
    test_end(f);
}
END_TEST

/* R5 P1: at introspection a refusal is "not active", but for one that says that it cannot be told now. */
START_TEST(refusal_at_introspection_is_inactive)
{
    test_fixture *f = open_host();
    const otok_tokens *tokens = test_began(f);
    const char *const texts[] = {tokens->offline_token, tokens->access_token};
    for (size_t i = 0; i < sizeof refusals / sizeof refusals[0]; i++) {
        for (size_t k = 0; k < 2; k++) {
            otok_introspect_request request = test_introspect_request(texts[k], NULL);
            host.refusal = refusals[i];
            if (refusals[i] == OTOK_E_BUSY)
                test_not_introspected(f, &request, OTOK_E_BUSY);
            else
                test_inactive(f, &request);
            host.refusal = 0;
            cJSON_Delete(test_active(f, &request));
        }
    }
    test_end(f);
}
END_TEST

/* R5: the event of a refusal has the code that the host picked. */
START_TEST(refusal_is_told)
{
    test_fixture *f = open_host();
    const otok_tokens *tokens = test_began(f);
    host.refusal = OTOK_E_DENIED;
    test_dead(f, tokens->offline_token, OTOK_E_DENIED);
    const test_event *e = test_last_event(f, OTOK_EVENT_REFUSED);
    ck_assert_int_eq(e->event.reason, OTOK_E_DENIED);
    ck_assert_str_eq(e->event.session_id, tokens->session_id);
    test_end(f);
}
END_TEST

/* R5: a refusal must be one: any other code is the host's mistake, and refuses too. */
START_TEST(code_that_is_no_refusal_fails_the_request)
{
    static const int32_t codes[] = {1,   OTOK_E_INVALID, OTOK_E_NOT_FOUND, OTOK_E_IO, OTOK_E_CONFLICT, OTOK_E_KEY, -29,
                                    -51, -1000,          INT32_MIN};
    test_fixture *f = open_host();
    const otok_tokens *tokens = test_began(f);
    otok_refresh_request request = test_refresh_request(tokens->offline_token, NULL);
    test_advance_s(f, 60);
    for (size_t i = 0; i < sizeof codes / sizeof codes[0]; i++) {
        host.refusal = codes[i];
        test_refused_untouched(f, &request, OTOK_E_CALLBACK);
        test_assert_code(OTOK_E_INVALID, host.last_failure);
    }
    test_end(f);
}
END_TEST

/* Bad input: a description is text that goes into a message of 504 bytes. */
START_TEST(description_is_clean_and_cut_between_characters)
{
    enum { MOST = sizeof((otok_error *)NULL)->message - 1 };
    char text[2 * MOST + 2];
    test_fixture *f = open_host();
    const otok_tokens *tokens = test_began(f);
    otok_refresh_request request = test_refresh_request(tokens->offline_token, NULL);
    otok_tokens *none = NULL;
    otok_error err;
    for (size_t i = 0; i < MOST + 1; i++)
        memcpy(text + 2 * i, "\xc3\xa4", 2);
    text[sizeof text - 2] = '\0';
    host.refusal = OTOK_E_DENIED;
    host.description = text;
    test_assert_code(OTOK_E_DENIED, otok_refresh(f->service, &request, &none, &err));
    ck_assert_uint_eq(strlen(err.message), MOST - 1);
    ck_assert(otok_text_is_clean(err.message, MOST - 1));
    host.description = "line\nbreak";
    test_refused_untouched(f, &request, OTOK_E_CALLBACK);
    host.description = NULL;
    test_refused_untouched(f, &request, OTOK_E_DENIED);
    test_end(f);
}
END_TEST

/* ------------------------------------------------------------------------------------------------ the end of a session */

enum { AT_REFRESH, AT_RETRY, AT_INTROSPECTION, AT_LIVE };

static int use_as(test_fixture *f, int how, const otok_tokens *first, const otok_tokens *next)
{
    switch (how) {
    case AT_RETRY:
        return test_refresh_code(f, first->offline_token, NULL);
    case AT_INTROSPECTION:
        return test_is_active(f, next->access_token, NULL) ? OTOK_OK : OTOK_E_DENIED;
    case AT_LIVE:
        return test_is_live(f, next->session_id) ? OTOK_OK : OTOK_E_DENIED;
    default:
        return test_refresh_code(f, next->offline_token, NULL);
    }
}

/* R5: "and may also end the session": OTOK_REVOKED_BY_HOST, and its tokens are unknown. */
START_TEST(host_ends_a_session_at_any_use_of_it)
{
    test_fixture *f = open_host();
    for (int how = AT_REFRESH; how <= AT_LIVE; how++) {
        const otok_tokens *other = test_began(f), *first = test_began(f), *next = test_rotated(f, first, 1);
        host.ends_session = true;
        test_assert_code(OTOK_E_DENIED, use_as(f, how, first, next));
        host.ends_session = false;
        ck_assert(!test_has_session(f, next->session_id));
        ck_assert_uint_eq(test_count_reasons(f, OTOK_EVENT_REVOKED, OTOK_REVOKED_BY_HOST, next->session_id), 1);
        test_dead(f, next->offline_token, OTOK_E_TOKEN_UNKNOWN);
        ck_assert(!test_is_active(f, next->access_token, NULL));
        (void)test_next(f, other->offline_token);
    }
    test_end(f);
}
END_TEST

/* R5: a code that the host picked stands, whichever it says first. */
START_TEST(host_ends_a_session_with_a_code_of_its_own)
{
    test_fixture *f = open_host();
    const otok_tokens *tokens = test_began(f);
    host.ends_session = true;
    host.refusal = OTOK_E_CONSENT;
    test_dead(f, tokens->offline_token, OTOK_E_CONSENT);
    ck_assert(!test_has_session(f, tokens->session_id));
    test_end(f);
}
END_TEST

/* R5 V5: one that moved on meanwhile is ended all the same, after the host was asked again. */
START_TEST(host_ends_a_session_that_was_refreshed_meanwhile)
{
    for (int how = AT_REFRESH; how <= AT_LIVE; how++) {
        test_watch watch;
        test_fixture *f = test_open(TEST_MEMORY);
        test_watch_fixture(&watch, f);
        test_fixture *node = test_open_node(f, NULL);
        const otok_tokens *first = test_began(f), *next = test_rotated(f, first, 1);
        test_install_host(f, &host);
        host.ends_session = true;
        struct meanwhile m = {node, next->offline_token};
        __atomic_add_fetch(&node->now_us, 120 * OTOK_US_PER_S, __ATOMIC_SEQ_CST);
        test_watch_step_in(&watch, 1, TEST_CALL_COMMIT, refresh_meanwhile, &m);
        int rc = use_as(f, how, first, next);
        if (how == AT_RETRY) /* what was a retry is reuse by now, which ends it as well */
            test_assert_code(OTOK_E_TOKEN_REUSED, rc);
        else
            test_assert_code(OTOK_E_DENIED, rc);
        ck_assert(watch.reached);
        ck_assert(!test_has_session(f, next->session_id));
        if (how != AT_RETRY)
            ck_assert_uint_eq(test_last_use(&host)->attempt, 2);
        test_close(node);
        test_end(f);
    }
}
END_TEST

/* R5: an end that the store did not carry out is no end, and the request fails. */
START_TEST(end_that_fails_is_an_error)
{
    for (int how = AT_REFRESH; how <= AT_INTROSPECTION; how++) {
        test_watch watch;
        test_fixture *f = test_open(TEST_MEMORY);
        test_watch_fixture(&watch, f);
        const otok_tokens *first = test_began(f), *next = test_rotated(f, first, 1);
        test_install_host(f, &host);
        host.ends_session = true;
        test_watch_fail(&watch, 1, TEST_CALL_COMMIT, OTOK_E_IO, false);
        otok_introspect_request request = test_introspect_request(next->offline_token, NULL);
        if (how == AT_INTROSPECTION)
            test_not_introspected(f, &request, OTOK_E_IO);
        else
            test_assert_code(OTOK_E_IO, use_as(f, how, first, next));
        ck_assert(test_has_session(f, next->session_id));
        test_end(f);
    }
}
END_TEST

/* ------------------------------------------------------------------------------------------------------------ failures */

/* R5: "a failing callback: 500, closed", whatever else it said. */
START_TEST(failing_callback_fails_the_request)
{
    test_fixture *f = open_host();
    const otok_tokens *tokens = test_began(f);
    otok_refresh_request request = test_refresh_request(tokens->offline_token, NULL);
    otok_grant grant = test_grant(NULL, NULL, NULL);
    test_advance_s(f, 60);
    for (int i = 0; i < 4; i++) {
        host.returns = i < 2 ? (i == 0 ? 1 : OTOK_E_DENIED) : 0;
        host.claims_return = i < 2 ? 0 : -1;
        host.ends_session = i == 1;
        host.refusal = i == 1 ? OTOK_E_DENIED : 0;
        test_refused_untouched(f, &request, OTOK_E_CALLBACK);
        test_not_granted(f, &grant, OTOK_E_CALLBACK, i < 2 ? "authorize" : "claims");
        ck_assert_int_eq(otok_error_http(OTOK_E_CALLBACK), 500);
        ck_assert(test_has_session(f, tokens->session_id));
    }
    test_end(f);
}
END_TEST

/* R5 P1: a failure is never "not active". */
START_TEST(failing_callback_fails_the_introspection)
{
    test_fixture *f = open_host();
    const otok_tokens *tokens = test_began(f);
    otok_introspect_request request = test_introspect_request(tokens->access_token, NULL);
    int32_t live = 7;
    host.returns = 1;
    test_not_introspected(f, &request, OTOK_E_CALLBACK);
    test_assert_code(OTOK_E_CALLBACK, otok_session_is_live(f->service, tokens->session_id, &live, NULL));
    ck_assert_int_eq(live, 0);
    test_end(f);
}
END_TEST

static int pass_over(test_host *h, const otok_use *use, otok_answer *answer)
{
    (void)use;
    h->last_failure = otok_answer_set_scope(answer, "root");
    ck_assert_int_eq(otok_answer_set_scope(answer, "profile"), OTOK_E_INVALID);
    ck_assert_int_eq(otok_answer_end_session(answer), OTOK_E_INVALID);
    ck_assert_int_eq(otok_answer_refuse(answer, OTOK_E_DENIED, NULL), OTOK_E_INVALID);
    ck_assert_int_eq(otok_answer_set_access_claims(answer, "{}"), OTOK_E_INVALID);
    ck_assert_int_eq(otok_answer_set_id_claims(answer, "{}"), OTOK_E_INVALID);
    ck_assert_int_eq(otok_answer_set_audience(answer, use->audience, 1), OTOK_E_INVALID);
    return 0;
}

/* R5: "an error that the callback passes over fails the request all the same", with everything as before. */
START_TEST(mistake_that_is_passed_over_fails_the_request)
{
    test_fixture *f = open_host();
    const otok_tokens *tokens = test_began(f);
    otok_refresh_request request = test_refresh_request(tokens->offline_token, NULL);
    otok_introspect_request introspection = test_introspect_request(tokens->offline_token, NULL);
    test_advance_s(f, 60);
    host.authorize = pass_over;
    test_not_refreshed(f, &request, OTOK_E_CALLBACK, "otok_answer_set_scope");
    test_assert_code(OTOK_E_INVALID, host.last_failure);
    test_not_introspected(f, &introspection, OTOK_E_CALLBACK);
    ck_assert(test_has_session(f, tokens->session_id));
    test_end(f);
}
END_TEST

static int hand_nothing(test_host *h, const otok_use *use, otok_answer *answer)
{
    int *which = h->arg;
    (void)use;
    switch ((*which)++) {
    case 0:
        return otok_answer_set_scope(answer, NULL) == OTOK_E_INVALID ? 0 : 99;
    case 1:
        return otok_answer_set_audience(answer, NULL, 1) == OTOK_E_INVALID ? 0 : 99;
    case 2:
        return otok_answer_set_audience(answer, (const char *const[]){NULL}, 1) == OTOK_E_INVALID ? 0 : 99;
    case 3:
        return otok_answer_set_access_claims(answer, NULL) == OTOK_E_INVALID ? 0 : 99;
    default:
        return otok_answer_set_id_claims(answer, NULL) == OTOK_E_INVALID ? 0 : 99;
    }
}

/* Bad input: NULL in any place is a mistake and no crash. */
START_TEST(setters_take_null)
{
    test_fixture *f = open_host();
    const otok_tokens *tokens = test_began(f);
    otok_refresh_request request = test_refresh_request(tokens->offline_token, NULL);
    int which = 0;
    host.authorize = hand_nothing;
    host.arg = &which;
    while (which < 5)
        test_refused_untouched(f, &request, OTOK_E_CALLBACK);
    test_assert_code(OTOK_E_INVALID, otok_answer_end_session(NULL));
    test_assert_code(OTOK_E_INVALID, otok_answer_refuse(NULL, OTOK_E_DENIED, NULL));
    test_assert_code(OTOK_E_INVALID, otok_answer_set_scope(NULL, "openid"));
    test_assert_code(OTOK_E_INVALID, otok_answer_set_audience(NULL, NULL, 0));
    test_assert_code(OTOK_E_INVALID, otok_answer_set_access_claims(NULL, "{}"));
    test_assert_code(OTOK_E_INVALID, otok_answer_set_id_claims(NULL, "{}"));
    test_end(f);
}
END_TEST

static void add_tests(TCase *tcase)
{
    tcase_add_test(tcase, host_is_told_what_it_is_asked_about);
    tcase_add_test(tcase, host_is_not_asked_about_what_is_refused_anyway);
    tcase_add_test(tcase, host_is_asked_again_when_another_node_was_faster);
    tcase_add_test(tcase, refusal_leaves_the_token_unconsumed);
    tcase_add_test(tcase, refusal_at_introspection_is_inactive);
    tcase_add_test(tcase, refusal_is_told);
    tcase_add_test(tcase, code_that_is_no_refusal_fails_the_request);
    tcase_add_test(tcase, description_is_clean_and_cut_between_characters);
    tcase_add_test(tcase, host_ends_a_session_at_any_use_of_it);
    tcase_add_test(tcase, host_ends_a_session_with_a_code_of_its_own);
    tcase_add_test(tcase, host_ends_a_session_that_was_refreshed_meanwhile);
    tcase_add_test(tcase, end_that_fails_is_an_error);
    tcase_add_test(tcase, failing_callback_fails_the_request);
    tcase_add_test(tcase, failing_callback_fails_the_introspection);
    tcase_add_test(tcase, mistake_that_is_passed_over_fails_the_request);
    tcase_add_test(tcase, setters_take_null);
}

int main(void)
{
    return test_main("authorize", add_tests);
}
