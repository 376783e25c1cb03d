/*
 * check_endpoint_revoke.c - the revocation endpoint (RFC 7009) (P1, P2, V1).
 *
 * SPDX-License-Identifier: MIT
 */
#include "support/endpoint.h"

#include <string.h>

#include "support/legacy.h"
#include "support/records.h"
#include "support/watch.h"

#define INVALID 400, "invalid_request", OTOK_E_INVALID

static void expect(test_fixture *f, const otok_http_request *request, int32_t status, const char *error, int32_t code)
{
    test_expect_outcome(f, otok_endpoint_revoke, request, (test_outcome){status, error, code});
}

/* Done, as far as the client is told: common clients fail on an empty body. */
static void expect_done(test_fixture *f, const otok_http_request *request)
{
    otok_http_response *response = test_ask_endpoint(f, otok_endpoint_revoke, request);
    ck_assert_int_eq(response->status, 200);
    ck_assert_str_eq(response->body, "{}");
    otok_http_response_free(response);
}

static otok_http_request post(const char *client_id, const char *token)
{
    return test_post(test_form("client_id=%s&token=%s", client_id, token));
}

/* P1 V1: current, superseded and expired tokens end their session; again is success too. */
START_TEST(revoked_session_has_ended)
{
    test_fixture *f = test_open(TEST_MEMORY);
    const otok_tokens *tokens = test_began(f), *next = test_rotated(f, tokens, 2), *other = test_began(f);
    otok_http_request request = post("phone", tokens->offline_token);
    expect_done(f, &request);
    ck_assert(!test_has_session(f, tokens->session_id));
    test_dead(f, next->offline_token, OTOK_E_TOKEN_UNKNOWN);
    expect_done(f, &request);
    test_advance_s(f, INT64_C(40) * TEST_DAY_S);
    request = post("phone", other->offline_token);
    expect_done(f, &request);
    ck_assert(!test_has_session(f, other->session_id));
    ck_assert_uint_eq(test_count_reasons(f, OTOK_EVENT_REVOKED, OTOK_REVOKED_BY_TOKEN, NULL), 2);
    test_end(f);
}
END_TEST

/* RFC 7009 section 2.1: a hint that is wrong, unknown or empty hinders nothing. */
START_TEST(hints_are_only_hints)
{
    static const char *const hints[] = {"refresh_token", "access_token", "saml", ""};
    test_fixture *f = test_open(TEST_MEMORY);
    for (size_t i = 0; i < sizeof hints / sizeof hints[0]; i++) {
        const otok_tokens *tokens = test_began(f);
        otok_http_request request =
            test_post(test_form("client_id=phone&token_type_hint=%s&token=%s", hints[i], tokens->offline_token));
        expect_done(f, &request);
        ck_assert(!test_has_session(f, tokens->session_id));
    }
    test_end(f);
}
END_TEST

/* RFC 7009 section 2.2: what is no token, or none any more, is revoked already. */
START_TEST(unknown_tokens_are_success)
{
    test_fixture *f = test_open(TEST_MEMORY);
    const otok_tokens *tokens = test_began(f);
    const char *const strings[] = {"x", "otok_", "a.b.c", "%F0%9F%94%91", "%2B"};
    for (size_t i = 0; i < sizeof strings / sizeof strings[0]; i++) {
        otok_http_request request = post("phone", strings[i]);
        expect_done(f, &request);
    }
    otok_http_request request = test_post(test_form("client_id=phone&token=%sx", tokens->offline_token));
    expect_done(f, &request);
    ck_assert(test_has_session(f, tokens->session_id));
    test_end(f);
}
END_TEST

/* V1: an access token ends its session for a client that has authenticated (RFC 7009 section 2.2.1). */
START_TEST(access_tokens_are_for_authenticated_clients)
{
    test_fixture *f = test_open(TEST_MEMORY);
    const otok_tokens *tokens = test_began(f);
    otok_http_request request = post("phone", tokens->access_token);
    expect(f, &request, 400, "unsupported_token_type", OTOK_E_TOKEN_TYPE);
    ck_assert(test_has_session(f, tokens->session_id));
    request = test_post_as("phone", test_form("token=%s", tokens->access_token));
    f->policy.access_token_revocation = OTOK_OFF;
    test_reopen_service(f);
    expect(f, &request, 400, "unsupported_token_type", OTOK_E_TOKEN_TYPE);
    f->policy.access_token_revocation = OTOK_ON;
    test_reopen_service(f);
    expect_done(f, &request);
    ck_assert(!test_has_session(f, tokens->session_id));
    test_end(f);
}
END_TEST

/* V1 P2: another client's token, and forms that are none; untouched. */
START_TEST(errors_touch_nothing)
{
    test_fixture *f = test_open(TEST_MEMORY);
    const otok_tokens *tokens = test_began(f);
    uint64_t before = test_store_state(f->store);
    otok_http_request request = post("tv", tokens->offline_token);
    expect(f, &request, 400, "unauthorized_client", OTOK_E_UNAUTHORIZED_CLIENT);
    request = test_post(test_form("token=%s", tokens->offline_token));
    expect(f, &request, 401, "invalid_client", OTOK_E_CLIENT);
    request = test_post("client_id=phone");
    expect(f, &request, INVALID);
    request = test_post("client_id=phone&token=");
    expect(f, &request, INVALID);
    request = test_post(test_form("client_id=phone&token=%s&token=x", tokens->offline_token));
    expect(f, &request, INVALID);
    request = test_post_as("tv", test_form("client_id=phone&token=%s", tokens->offline_token));
    expect(f, &request, INVALID);
    request = post("phone", tokens->offline_token);
    request.method = "DELETE";
    expect(f, &request, 405, "invalid_request", OTOK_E_UNSUPPORTED);
    ck_assert_uint_eq(test_store_state(f->store), before);
    test_end(f);
}
END_TEST

/* V1 R8: trouble is never success; again is. */
START_TEST(store_in_trouble_is_never_success)
{
    static const int32_t codes[] = {OTOK_E_IO, OTOK_E_FULL, OTOK_E_BUSY, OTOK_E_UNCERTAIN, OTOK_E_NOMEM};
    for (size_t i = 0; i < sizeof codes / sizeof codes[0]; i++) {
        for (int kind = TEST_CALL_FETCH; kind <= TEST_CALL_COMMIT; kind *= 2) {
            test_fixture *f = test_open(TEST_MEMORY);
            test_watch watch;
            const otok_tokens *tokens = test_began(f);
            test_watch_fixture(&watch, f);
            test_watch_fail(&watch, 1, kind, codes[i], false);
            otok_http_request request = post("phone", tokens->offline_token);
            expect(f, &request, 503, "temporarily_unavailable", codes[i]);
            test_watch_reset(&watch);
            ck_assert(test_has_session(f, tokens->session_id));
            expect_done(f, &request);
            ck_assert(!test_has_session(f, tokens->session_id));
            test_end(f);
        }
    }
}
END_TEST

/* ---------------------------------------------------------------------------------------------------- proofs */

typedef struct story {
    test_fixture *f;
    test_prover prover;
    const otok_tokens *tokens;
} story;

static story begin(void)
{
    story s = {.f = test_open(TEST_MEMORY), .prover = test_prover_new(OTOK_ALG_ES256)};
    otok_peer peer = test_peer(s.prover.jkt, NULL, NULL, NULL);
    otok_grant grant = test_grant(NULL, NULL, NULL);
    grant.binding = OTOK_BINDING_JKT;
    grant.peer = &peer;
    s.tokens = test_granted(s.f, &grant);
    return s;
}

static void end(story *s)
{
    test_prover_free(&s->prover);
    test_end(s->f);
}

/* V1: whoever has lost the key can still revoke. */
START_TEST(bound_token_needs_no_proof)
{
    story s = begin();
    otok_http_request request = post("phone", s.tokens->offline_token);
    expect_done(s.f, &request);
    ck_assert(!test_has_session(s.f, s.tokens->session_id));
    end(&s);
}
END_TEST

/* V1 P3: but a wrong one is refused, and so is one for another place, or one that was used. */
START_TEST(wrong_proof_is_refused)
{
    story s = begin();
    test_prover thief = test_prover_new(OTOK_ALG_ES256);
    char *const proofs[] = {test_prove(&thief, TEST_REVOKE_URI, s.f->now_us, NULL),
                            test_prove(&s.prover, TEST_TOKEN_URI, s.f->now_us, NULL)};
    otok_http_request request = post("phone", s.tokens->offline_token);
    test_with_proof(&request, TEST_REVOKE_URI, (const char *const *)&proofs[0]);
    expect(s.f, &request, 400, "invalid_grant", OTOK_E_SENDER);
    test_with_proof(&request, TEST_REVOKE_URI, (const char *const *)&proofs[1]);
    expect(s.f, &request, 400, "invalid_dpop_proof", OTOK_E_DPOP_PROOF);
    request.dpop_count = 2;
    expect(s.f, &request, 400, "invalid_dpop_proof", OTOK_E_DPOP_PROOF);
    request.dpop_count = 1;
    request.uri = NULL;
    expect(s.f, &request, 500, "server_error", OTOK_E_STATE);
    ck_assert(test_has_session(s.f, s.tokens->session_id));
    otok_string_free(proofs[0]);
    otok_string_free(proofs[1]);
    test_prover_free(&thief);
    end(&s);
}
END_TEST

/* P3: no proof is needed here, and none is used up: whoever has the token may end it. */
START_TEST(right_proof_is_not_used_up)
{
    story s = begin();
    char *const proof = test_prove(&s.prover, TEST_REVOKE_URI, s.f->now_us, NULL);
    const char *const clients[] = {"tv", "phone"}, *const tokens[] = {s.tokens->offline_token, "unknown"};
    otok_http_request request;
    for (size_t i = 0; i < 2; i++) {
        request = post(clients[i], tokens[i]);
        test_with_proof(&request, TEST_REVOKE_URI, (const char *const *)&proof);
        expect(s.f, &request, i == 0 ? 400 : 200, i == 0 ? "unauthorized_client" : NULL,
               i == 0 ? OTOK_E_UNAUTHORIZED_CLIENT : OTOK_OK);
    }
    request = post("phone", s.tokens->offline_token);
    test_with_proof(&request, TEST_REVOKE_URI, (const char *const *)&proof);
    expect_done(s.f, &request);
    ck_assert(!test_has_session(s.f, s.tokens->session_id));
    otok_string_free(proof);
    end(&s);
}
END_TEST

/* V1 P4: a token of the system before is remembered as revoked. */
START_TEST(legacy_token_stays_revoked)
{
    test_fixture *f = test_open(TEST_MEMORY);
    test_install_legacy(f);
    const test_legacy legacy = {0};
    const char *token = test_legacy_token(&legacy);
    otok_http_request request = post("phone", token);
    expect_done(f, &request);
    request = test_post_refresh(token);
    otok_http_response *response = test_ask_endpoint(f, otok_endpoint_token, &request);
    ck_assert_int_eq(response->status, 400);
    ck_assert_ptr_nonnull(strstr(response->body, "invalid_grant"));
    otok_http_response_free(response);
    test_end(f);
}
END_TEST

static void add_tests(TCase *tcase)
{
    tcase_add_test(tcase, revoked_session_has_ended);
    tcase_add_test(tcase, hints_are_only_hints);
    tcase_add_test(tcase, unknown_tokens_are_success);
    tcase_add_test(tcase, access_tokens_are_for_authenticated_clients);
    tcase_add_test(tcase, errors_touch_nothing);
    tcase_add_test(tcase, store_in_trouble_is_never_success);
    tcase_add_test(tcase, bound_token_needs_no_proof);
    tcase_add_test(tcase, wrong_proof_is_refused);
    tcase_add_test(tcase, right_proof_is_not_used_up);
    tcase_add_test(tcase, legacy_token_stays_revoked);
}

int main(void)
{
    return test_main("endpoint_revoke", add_tests);
}
