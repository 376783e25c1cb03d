/*
 * check_endpoint_issue.c - grants that the host has verified, answered as the token endpoint answers (P1, P2, P3, I3, I8).
 *
 * SPDX-License-Identifier: MIT
 */
#include "support/endpoint.h"

#include <stdlib.h>
#include <string.h>

#include "support/claims.h"
#include "support/host.h"
#include "support/records.h"
#include "support/watch.h"

/* A client at the token endpoint with a code that its host has verified. */
typedef struct story {
    test_fixture *f;
    test_prover prover;
    char *proof;
    otok_http_request request;
    otok_grant grant;
} story;

static story begin(void)
{
    story s = {.f = test_open(TEST_MEMORY), .prover = test_prover_new(OTOK_ALG_ES256)};
    s.request = test_post(test_form("grant_type=authorization_code&code=c&client_id=phone&note=%%0a"));
    s.grant = test_grant(NULL, NULL, NULL);
    s.grant.client_id = NULL;
    return s;
}

static void end(story *s)
{
    otok_string_free(s->proof);
    test_prover_free(&s->prover);
    test_end(s->f);
}

/* A new proof of that key in the story's request. */
static void prove_by(story *s, const test_prover *prover, const char *nonce)
{
    otok_string_free(s->proof);
    s->proof = test_prove(prover, TEST_TOKEN_URI, s->f->now_us, nonce);
    test_with_proof(&s->request, TEST_TOKEN_URI, (const char *const *)&s->proof);
}

static void confidential(story *s)
{
    s->request.client_id = "phone";
    s->request.client_type = OTOK_CLIENT_CONFIDENTIAL;
}

/* The grant of the story that is under test, for what takes an endpoint. */
static const otok_grant *granted;

static int endpoint(otok_service *service, const otok_http_request *request, otok_http_response **out, otok_error *err)
{
    return otok_endpoint_issue(service, request, granted, out, err);
}

static cJSON *answer(story *s)
{
    granted = &s->grant;
    return test_answer(s->f, endpoint, &s->request);
}

static void expect(story *s, int32_t status, const char *error, int32_t code)
{
    granted = &s->grant;
    test_expect_outcome(s->f, endpoint, &s->request, (test_outcome){status, error, code});
}

/* The same, and no session began. */
static void expect_nothing(story *s, int32_t status, const char *error, int32_t code)
{
    uint64_t before = test_store_state(s->f->store);
    expect(s, status, error, code);
    ck_assert_uint_eq(test_store_state(s->f->store), before);
}

static const char *text_of(const cJSON *json, const char *name)
{
    const char *text = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(json, name));
    ck_assert_msg(text != NULL, "%s is missing", name);
    return text;
}

/* What the access token of an answer is bound to; NULL: nothing.  Freed with cJSON_Delete(). */
static cJSON *confirmation(const story *s, const cJSON *json)
{
    cJSON *claims = test_jwt_claims(s->f, text_of(json, "access_token"));
    cJSON *cnf = cJSON_DetachItemFromObjectCaseSensitive(claims, "cnf");
    cJSON_Delete(claims);
    return cnf;
}

/* The code of a refresh of what was answered, by a public client with that key (NULL: none). */
static int refresh_by(story *s, const cJSON *json, const test_prover *prover)
{
    otok_http_response *response;
    otok_http_request request = test_post_refresh(text_of(json, "refresh_token"));
    char *proof = prover != NULL ? test_prove(prover, TEST_TOKEN_URI, s->f->now_us, NULL) : NULL;
    if (prover != NULL)
        test_with_proof(&request, TEST_TOKEN_URI, (const char *const *)&proof);
    response = test_ask_endpoint(s->f, otok_endpoint_token, &request);
    int code = response->code;
    otok_http_response_free(response);
    otok_string_free(proof);
    return code;
}

#define BAD_PROOF "invalid_dpop_proof", OTOK_E_DPOP_PROOF

/* ---------------------------------------------------------------------------------------------------- what is answered */

/* P1 I1: the answer is that of RFC 6749 section 5.1, and the tokens live. */
START_TEST(verified_grant_is_answered_with_tokens)
{
    story s = begin();
    cJSON *json = answer(&s);
    test_expect_text(json, "token_type", "Bearer");
    test_expect_text(json, "scope", "openid offline_access profile");
    ck_assert_uint_eq(strlen(text_of(json, "refresh_token")), OTOK_TOKEN_CHARS);
    cJSON *claims = test_jwt_claims(s.f, text_of(json, "access_token"));
    test_expect_text(claims, "client_id", "phone");
    test_expect_absent(claims, "cnf");
    cJSON_Delete(claims);
    claims = test_jwt_claims(s.f, text_of(json, "id_token"));
    test_expect_text(claims, "aud", "phone");
    cJSON_Delete(claims);
    test_assert_code(OTOK_OK, refresh_by(&s, json, NULL));
    cJSON_Delete(json);
    end(&s);
}
END_TEST

/* P1: a grant without a refresh token is answered without one, and its access token lives. */
START_TEST(grant_without_a_refresh_token_has_none)
{
    story s = begin();
    s.grant.refresh_token = OTOK_OFF;
    prove_by(&s, &s.prover, NULL);
    cJSON *json = answer(&s), *cnf = confirmation(&s, json);
    test_expect_absent(json, "refresh_token");
    test_expect_text(json, "token_type", "DPoP");
    test_expect_text(cnf, "jkt", s.prover.jkt);
    cJSON_Delete(cnf);
    cJSON_Delete(json);
    s.grant.size = offsetof(otok_grant, refresh_token); /* of an older header, which has no such switch */
    prove_by(&s, &s.prover, NULL);
    json = answer(&s);
    ck_assert_uint_eq(strlen(text_of(json, "refresh_token")), OTOK_TOKEN_CHARS);
    cJSON_Delete(json);
    s.grant.size = sizeof s.grant;
    s.f->policy.access_token = OTOK_OFF;
    test_reopen_service(s.f);
    prove_by(&s, &s.prover, NULL);
    expect_nothing(&s, 500, "server_error", OTOK_E_STATE);
    end(&s);
}
END_TEST

/* P1: where a request comes from is kept, and it is the request's, whatever the grant says; of that the key alone counts. */
START_TEST(peer_and_type_are_those_of_the_request)
{
    story s = begin();
    const otok_peer other = test_peer(NULL, TEST_JKT, "198.51.100.1", "Other/1");
    s.grant.peer = &other;
    s.grant.client_type = OTOK_CLIENT_PUBLIC;
    confidential(&s);
    s.request.ip = "192.0.2.9";
    s.request.user_agent = "Agent/1";
    cJSON *json = answer(&s), *cnf = confirmation(&s, json);
    ck_assert_ptr_null(cnf);
    const test_event *issued = test_last_event(s.f, OTOK_EVENT_ISSUED);
    ck_assert_str_eq(issued->ip, "192.0.2.9");
    ck_assert_str_eq(issued->user_agent, "Agent/1");
    cJSON_Delete(json);
    s.f->policy.public_clients = OTOK_OFF;
    test_reopen_service(s.f);
    expect(&s, 200, NULL, OTOK_OK);
    s.request.client_type = OTOK_CLIENT_PUBLIC;
    expect_nothing(&s, 400, "unauthorized_client", OTOK_E_UNAUTHORIZED_CLIENT);
    end(&s);
}
END_TEST

/* P3 I3: RFC 9449 section 5: a public client's session is bound to the key that it proved. */
START_TEST(proof_binds_the_session_of_a_public_client)
{
    static const int32_t bindings[] = {OTOK_BINDING_NONE, OTOK_BINDING_JKT, OTOK_BINDING_DPOP};
    for (size_t i = 0; i < sizeof bindings / sizeof bindings[0]; i++) {
        story s = begin();
        test_prover thief = test_prover_new(OTOK_ALG_ES256);
        s.grant.binding = bindings[i];
        prove_by(&s, &s.prover, NULL);
        cJSON *json = answer(&s), *cnf = confirmation(&s, json);
        test_expect_text(json, "token_type", "DPoP");
        test_expect_text(cnf, "jkt", s.prover.jkt);
        cJSON_Delete(cnf);
        test_assert_code(OTOK_E_DPOP_PROOF, refresh_by(&s, json, NULL));
        test_assert_code(OTOK_E_SENDER, refresh_by(&s, json, &thief));
        test_assert_code(OTOK_OK, refresh_by(&s, json, &s.prover));
        cJSON_Delete(json);
        test_prover_free(&thief);
        end(&s);
    }
}
END_TEST

/* P3: RFC 9449 section 10: a code that was asked for with dpop_jkt is for that key, whoever has stolen it. */
START_TEST(grant_for_a_key_needs_a_proof_of_that_key)
{
    for (int32_t type = OTOK_CLIENT_CONFIDENTIAL; type <= OTOK_CLIENT_PUBLIC; type++) {
        story s = begin();
        test_prover thief = test_prover_new(OTOK_ALG_ES256);
        const otok_peer named = test_peer(s.prover.jkt, NULL, NULL, NULL);
        const otok_peer nonsense = test_peer("no thumbprint", NULL, NULL, NULL);
        s.request.client_id = "phone";
        s.request.client_type = type;
        s.grant.peer = &named;
        expect_nothing(&s, 400, "invalid_dpop_proof", OTOK_E_DPOP_PROOF);
        prove_by(&s, &thief, NULL);
        expect_nothing(&s, 400, "invalid_grant", OTOK_E_SENDER);
        prove_by(&s, &s.prover, NULL);
        s.grant.peer = &nonsense;
        expect_nothing(&s, 500, "server_error", OTOK_E_STATE);
        s.grant.peer = &named;
        expect(&s, 200, NULL, OTOK_OK);
        test_prover_free(&thief);
        end(&s);
    }
}
END_TEST

/* P3 I3: a confidential client's access token is bound to its key, and its session to how it authenticates. */
START_TEST(proof_binds_the_access_token_of_a_confidential_client)
{
    story s = begin();
    confidential(&s);
    prove_by(&s, &s.prover, NULL);
    cJSON *json = answer(&s), *cnf = confirmation(&s, json);
    test_expect_text(json, "token_type", "DPoP");
    test_expect_text(cnf, "jkt", s.prover.jkt);
    cJSON_Delete(cnf);
    test_assert_code(OTOK_OK, refresh_by(&s, json, NULL));
    cJSON_Delete(json);
    end(&s);
}
END_TEST

/* P3 I3: RFC 8705: a certificate binds where the grant says it, and only there. */
START_TEST(certificate_binds_where_the_grant_says_it)
{
    static const struct {
        int32_t binding;
        const char *x5t;
        bool bound, good;
    } rows[] = {
        {OTOK_BINDING_NONE, TEST_JKT, false, true}, {OTOK_BINDING_X5T_S256, TEST_JKT, true, true},
        {OTOK_BINDING_MTLS, TEST_JKT, true, true},  {OTOK_BINDING_X5T_S256, NULL, false, false},
        {OTOK_BINDING_MTLS, NULL, false, false},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        story s = begin();
        s.grant.binding = rows[i].binding;
        s.request.x5t_s256 = rows[i].x5t;
        if (rows[i].good) {
            cJSON *json = answer(&s), *cnf = confirmation(&s, json);
            ck_assert_int_eq(cnf != NULL, rows[i].bound);
            if (cnf != NULL)
                test_expect_text(cnf, "x5t#S256", TEST_JKT);
            test_expect_text(json, "token_type", "Bearer");
            cJSON_Delete(cnf);
            cJSON_Delete(json);
        } else {
            expect_nothing(&s, 400, "invalid_grant", OTOK_E_SENDER);
        }
        end(&s);
    }
}
END_TEST

/* P3 I3: RFC 8705 section 4: any certificate is for who authenticates; a public client's session is bound to the one it came with. */
START_TEST(certificate_of_a_public_client_is_the_only_one)
{
    for (int32_t type = OTOK_CLIENT_CONFIDENTIAL; type <= OTOK_CLIENT_PUBLIC; type++) {
        story s = begin();
        s.request.client_id = "phone";
        s.request.client_type = type;
        s.request.x5t_s256 = TEST_JKT;
        s.grant.binding = OTOK_BINDING_MTLS;
        cJSON *json = answer(&s);
        otok_http_request request = test_post_refresh(text_of(json, "refresh_token"));
        request.client_id = "phone";
        request.client_type = type;
        request.x5t_s256 = TEST_OTHER_JKT;
        test_expect_outcome(s.f, otok_endpoint_token, &request,
                            type == OTOK_CLIENT_PUBLIC ? (test_outcome){400, "invalid_grant", OTOK_E_SENDER}
                                                       : (test_outcome){200, NULL, OTOK_OK});
        request.x5t_s256 = TEST_JKT;
        test_expect_outcome(s.f, otok_endpoint_token, &request, (test_outcome){200, NULL, OTOK_OK});
        cJSON_Delete(json);
        end(&s);
    }
}
END_TEST

/* ---------------------------------------------------------------------------------------------------- proofs */

/* P3: a proof that is wrong, missing, doubled, old or used issues nothing. */
START_TEST(bad_proof_issues_nothing)
{
    story s = begin();
    static const char *const none[] = {""}, *const junk[] = {"x.y.z"};
    s.grant.binding = OTOK_BINDING_JKT;
    expect_nothing(&s, 400, BAD_PROOF); /* the grant is for a key */
    s.grant.binding = OTOK_BINDING_DPOP;
    expect_nothing(&s, 400, BAD_PROOF);
    s.grant.binding = OTOK_BINDING_NONE;
    test_with_proof(&s.request, TEST_TOKEN_URI, none);
    expect_nothing(&s, 400, BAD_PROOF);
    test_with_proof(&s.request, TEST_TOKEN_URI, junk);
    expect_nothing(&s, 400, BAD_PROOF);
    prove_by(&s, &s.prover, NULL);
    s.request.uri = TEST_REVOKE_URI;
    expect_nothing(&s, 400, BAD_PROOF);
    s.request.uri = TEST_TOKEN_URI;
    const char *const two[] = {s.proof, s.proof};
    s.request.dpop = two;
    s.request.dpop_count = 2;
    expect_nothing(&s, 400, BAD_PROOF);
    s.request.dpop_count = 1;
    test_advance_s(s.f, 120);
    expect_nothing(&s, 400, BAD_PROOF);
    prove_by(&s, &s.prover, NULL);
    expect(&s, 200, NULL, OTOK_OK);
    expect_nothing(&s, 400, BAD_PROOF);
    end(&s);
}
END_TEST

/* P3: what the host has got wrong, and what is another client's, uses no proof up. */
START_TEST(proof_of_a_bad_grant_is_not_used_up)
{
    story s = begin();
    prove_by(&s, &s.prover, NULL);
    s.grant.client_id = "tv";
    expect_nothing(&s, 400, "invalid_grant", OTOK_E_CLIENT_MISMATCH);
    s.grant.client_id = "phone";
    s.grant.subject = NULL;
    expect_nothing(&s, 500, "server_error", OTOK_E_STATE);
    s.grant.subject = "alice";
    expect(&s, 200, NULL, OTOK_OK);
    end(&s);
}
END_TEST

/* P3: RFC 9449 section 8: the client's policy demands nonces, and every answer to a proof has the next one. */
START_TEST(nonce_is_demanded_and_given)
{
    char nonce[64];
    story s = begin();
    s.f->policy.dpop_nonce = OTOK_ON;
    test_reopen_service(s.f);
    prove_by(&s, &s.prover, NULL);
    uint64_t before = test_store_state(s.f->store);
    granted = &s.grant;
    otok_http_response *response = test_ask_endpoint(s.f, endpoint, &s.request);
    ck_assert_int_eq(response->code, OTOK_E_DPOP_NONCE);
    ck_assert_ptr_nonnull(strstr(response->body, "use_dpop_nonce"));
    ck_assert_uint_lt(strlen(test_header(response, "DPoP-Nonce")), sizeof nonce);
    memcpy(nonce, test_header(response, "DPoP-Nonce"), strlen(test_header(response, "DPoP-Nonce")) + 1);
    otok_http_response_free(response);
    ck_assert_uint_eq(test_store_state(s.f->store), before);
    prove_by(&s, &s.prover, nonce);
    response = test_ask_endpoint(s.f, endpoint, &s.request);
    ck_assert_int_eq(response->status, 200);
    ck_assert_ptr_nonnull(test_header(response, "DPoP-Nonce"));
    otok_http_response_free(response);
    end(&s);
}
END_TEST

/* I8 P3: the response was lost: the same code with a new proof is answered with the same token, with the old proof not. */
START_TEST(lost_response_is_given_again_to_a_new_proof)
{
    story s = begin();
    s.grant.once_key = "code-1";
    prove_by(&s, &s.prover, NULL);
    cJSON *first = answer(&s);
    expect_nothing(&s, 400, BAD_PROOF);
    prove_by(&s, &s.prover, NULL);
    cJSON *again = answer(&s);
    ck_assert_str_eq(text_of(again, "refresh_token"), text_of(first, "refresh_token"));
    test_prover thief = test_prover_new(OTOK_ALG_ES256);
    prove_by(&s, &thief, NULL);
    expect_nothing(&s, 400, "invalid_grant", OTOK_E_SENDER);
    test_advance_s(s.f, 3600);
    prove_by(&s, &s.prover, NULL);
    expect(&s, 400, "invalid_grant", OTOK_E_ONCE);
    test_prover_free(&thief);
    cJSON_Delete(again);
    cJSON_Delete(first);
    end(&s);
}
END_TEST

/* ---------------------------------------------------------------------------------------------------- what is refused */

/* P2: the request is read as strictly as that of a refresh. */
START_TEST(bad_request_is_answered)
{
    static const struct {
        const char *form;
        int32_t status;
        const char *error;
        int32_t code;
    } rows[] = {
        {"client_id=phone&client_id=phone", 400, "invalid_request", OTOK_E_INVALID},
        {"client_id=phone&code=%", 400, "invalid_request", OTOK_E_INVALID},
        {"client_id=phone&code=%00", 400, "invalid_request", OTOK_E_INVALID},
        {"", 401, "invalid_client", OTOK_E_CLIENT},
        {"client_id=phone&client_secret=x", 401, "invalid_client", OTOK_E_CLIENT},
        {"client_id=tv", 400, "invalid_grant", OTOK_E_CLIENT_MISMATCH},
    };
    story s = begin();
    s.grant.client_id = "phone";
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        s.request = test_post(rows[i].form);
        expect_nothing(&s, rows[i].status, rows[i].error, rows[i].code);
    }
    s.request = test_post("client_id=phone");
    s.request.method = "GET";
    expect_nothing(&s, 405, "invalid_request", OTOK_E_UNSUPPORTED);
    s.request.method = "POST";
    s.request.content_type = "application/json";
    expect_nothing(&s, 400, "invalid_request", OTOK_E_INVALID);
    s.request = test_post_as("tv", "client_id=phone");
    expect_nothing(&s, 400, "invalid_request", OTOK_E_INVALID);
    end(&s);
}
END_TEST

/* P1: a client that has authenticated needs no form at all. */
START_TEST(authenticated_client_needs_no_parameters)
{
    story s = begin();
    confidential(&s);
    s.request.body = NULL;
    s.request.body_len = 0;
    expect(&s, 200, NULL, OTOK_OK);
    end(&s);
}
END_TEST

/* P2: a grant that makes no sense is the host's mistake, and a 500: the client cannot mend it. */
START_TEST(mistakes_of_the_host_are_no_bad_requests)
{
    static const char *const audience[] = {NULL};
    for (int row = 0; row < 8; row++) {
        story s = begin();
        s.grant.subject = row == 0 ? NULL : s.grant.subject;
        s.grant.scope = row == 1 ? "a\"b" : (row == 2 ? NULL : s.grant.scope);
        s.grant.binding = row == 3 ? 9 : 0;
        s.grant.max_lifetime_s = row == 4 ? -1 : 0;
        s.grant.audience = audience;
        s.grant.audience_count = row == 5;
        s.request.client_type = row == 6 ? 7 : s.request.client_type;
        s.request.x5t_s256 = row == 7 ? "short" : NULL;
        expect_nothing(&s, 500, "server_error", OTOK_E_STATE);
        end(&s);
    }
}
END_TEST

/* P1 R8: trouble is 503 or 500, never invalid_grant; what the host's callback says is answered. */
START_TEST(trouble_is_never_a_bad_grant)
{
    static const struct {
        int32_t code, status;
        const char *error;
    } rows[] = {
        {OTOK_E_IO, 503, "temporarily_unavailable"},
        {OTOK_E_FULL, 503, "temporarily_unavailable"},
        {OTOK_E_UNCERTAIN, 503, "temporarily_unavailable"},
        {OTOK_E_FORMAT, 500, "server_error"},
    };
    story s = begin();
    test_watch watch;
    test_host host;
    test_install_host(s.f, &host);
    test_watch_fixture(&watch, s.f);
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        test_watch_fail(&watch, 1, TEST_CALL_COMMIT, rows[i].code, false);
        expect_nothing(&s, rows[i].status, rows[i].error, rows[i].code);
        ck_assert(watch.reached);
        test_watch_reset(&watch);
    }
    host.returns = 1;
    expect_nothing(&s, 500, "server_error", OTOK_E_CALLBACK);
    host.returns = 0;
    host.refusal = OTOK_E_DENIED;
    expect_nothing(&s, 400, "invalid_grant", OTOK_E_DENIED);
    host.refusal = 0;
    expect(&s, 200, NULL, OTOK_OK);
    end(&s);
}
END_TEST

/* B2: no answer where the call itself is wrong. */
START_TEST(wrong_calls_have_no_answer)
{
    story s = begin();
    otok_http_response *response = NULL;
    otok_error err = {0};
    struct {
        otok_grant known;
        void *more;
    } newer = {.known = s.grant, .more = &newer};
    newer.known.size = sizeof newer;
    otok_service *service = s.f->service;
    test_assert_code(OTOK_E_INVALID, otok_endpoint_issue(NULL, &s.request, &s.grant, &response, &err));
    test_assert_code(OTOK_E_INVALID, otok_endpoint_issue(service, NULL, &s.grant, &response, &err));
    test_assert_code(OTOK_E_INVALID, otok_endpoint_issue(service, &s.request, NULL, &response, &err));
    test_assert_code(OTOK_E_INVALID, otok_endpoint_issue(service, &s.request, &s.grant, NULL, &err));
    test_assert_code(OTOK_E_INVALID, otok_endpoint_issue(service, &s.request, &newer.known, &response, &err));
    ck_assert_ptr_nonnull(strstr(err.message, "otok_grant"));
    s.grant.size = 0;
    test_assert_code(OTOK_E_INVALID, otok_endpoint_issue(service, &s.request, &s.grant, &response, NULL));
    ck_assert_ptr_null(response);
    end(&s);
}
END_TEST

static void add_tests(TCase *tcase)
{
    tcase_add_test(tcase, verified_grant_is_answered_with_tokens);
    tcase_add_test(tcase, grant_without_a_refresh_token_has_none);
    tcase_add_test(tcase, peer_and_type_are_those_of_the_request);
    tcase_add_test(tcase, proof_binds_the_session_of_a_public_client);
    tcase_add_test(tcase, grant_for_a_key_needs_a_proof_of_that_key);
    tcase_add_test(tcase, proof_binds_the_access_token_of_a_confidential_client);
    tcase_add_test(tcase, certificate_binds_where_the_grant_says_it);
    tcase_add_test(tcase, certificate_of_a_public_client_is_the_only_one);
    tcase_add_test(tcase, bad_proof_issues_nothing);
    tcase_add_test(tcase, proof_of_a_bad_grant_is_not_used_up);
    tcase_add_test(tcase, nonce_is_demanded_and_given);
    tcase_add_test(tcase, lost_response_is_given_again_to_a_new_proof);
    tcase_add_test(tcase, bad_request_is_answered);
    tcase_add_test(tcase, authenticated_client_needs_no_parameters);
    tcase_add_test(tcase, mistakes_of_the_host_are_no_bad_requests);
    tcase_add_test(tcase, trouble_is_never_a_bad_grant);
    tcase_add_test(tcase, wrong_calls_have_no_answer);
}

int main(void)
{
    return test_main("endpoint_issue", add_tests);
}
