/*
 * check_endpoint_token.c - the token endpoint: what a refresh is answered with, and every error (P1, P2, R8).
 *
 * SPDX-License-Identifier: MIT
 */
#include "support/endpoint.h"

#include <stdio.h>
#include <string.h>

#include "support/claims.h"
#include "support/host.h"
#include "support/records.h"

#define GOOD "grant_type=refresh_token&client_id=phone&refresh_token="

static const char *const api[] = {"https://api.example.org", "https://files.example.org"};

static void expect(test_fixture *f, const otok_http_request *request, int32_t status, const char *error, int32_t code)
{
    test_expect_outcome(f, otok_endpoint_token, request, (test_outcome){status, error, code});
}

static void refresh_once(test_fixture *f, const char *token)
{
    char next[OTOK_TOKEN_CHARS + 1];
    otok_http_request request = test_post_refresh(token);
    test_refresh_over(f, &request, next);
}

/* ---------------------------------------------------------------------------------------------------- what is answered */

/* P1: RFC 6749 section 5.1, and the answer is that of otok_refresh(). */
START_TEST(refresh_is_answered)
{
    test_fixture *f = test_open(TEST_MEMORY);
    const otok_tokens *tokens = test_began(f);
    test_advance_s(f, 60);
    otok_http_request request = test_post_refresh(tokens->offline_token);
    cJSON *json = test_answer(f, otok_endpoint_token, &request);
    test_expect_text(json, "token_type", "Bearer");
    test_expect_text(json, "scope", "openid offline_access profile");
    test_expect_number(json, "expires_in", 300);
    ck_assert(cJSON_GetObjectItemCaseSensitive(json, "access_token") != NULL);
    ck_assert(cJSON_GetObjectItemCaseSensitive(json, "id_token") != NULL);
    const char *next = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(json, "refresh_token"));
    ck_assert_str_ne(next, tokens->offline_token); /* a public client's is rotated */
    test_expect_same(test_next(f, tokens->offline_token), test_next(f, next));
    cJSON_Delete(json);
    test_end(f);
}
END_TEST

/* P1 R3: `scope` and `resource` narrow the access token; what is empty counts as omitted (P2). */
START_TEST(scope_and_resource_narrow)
{
    test_fixture *f = test_open(TEST_MEMORY);
    otok_grant grant = test_grant(NULL, NULL, NULL);
    grant.audience = api;
    grant.audience_count = 2;
    const char *token = test_granted(f, &grant)->offline_token;
    otok_http_request request =
        test_post(test_form("%s%s&scope=profile&resource=&resource=https%%3A%%2F%%2Fapi.example.org", GOOD, token));
    cJSON *json = test_answer(f, otok_endpoint_token, &request);
    test_expect_text(json, "scope", "profile");
    test_expect_absent(json, "id_token");
    cJSON *claims = test_jwt_claims(f, cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(json, "access_token")));
    test_expect_texts(claims, "aud", api, 1);
    cJSON_Delete(claims);
    cJSON_Delete(json);
    request = test_post(test_form("scope=&resource=&%s%s", GOOD, token));
    json = test_answer(f, otok_endpoint_token, &request);
    test_expect_text(json, "scope", "openid offline_access profile");
    cJSON_Delete(json);
    test_end(f);
}
END_TEST

/* P1: who has authenticated need not say so again in the form, and is not taken for a public client. */
START_TEST(authenticated_client_is_confidential)
{
    test_fixture *f = test_open(TEST_MEMORY);
    char next[OTOK_TOKEN_CHARS + 1];
    otok_grant grant = test_grant(NULL, NULL, NULL);
    grant.client_type = OTOK_CLIENT_CONFIDENTIAL;
    const char *token = test_granted(f, &grant)->offline_token;
    test_advance_s(f, 3600);
    otok_http_request request = test_post_as("phone", test_form("grant_type=refresh_token&refresh_token=%s", token));
    test_refresh_over(f, &request, next);
    ck_assert_str_eq(next, token); /* AUTO: not rotated */
    request.client_type = OTOK_CLIENT_PUBLIC;
    test_refresh_over(f, &request, next);
    ck_assert_str_ne(next, token);
    test_end(f);
}
END_TEST

/* T2: where a request came from is kept and compared; what is not fit to be kept fails nothing. */
START_TEST(address_is_kept)
{
    test_fixture *f = test_open(TEST_MEMORY);
    char next[OTOK_TOKEN_CHARS + 1];
    const otok_tokens *tokens = test_began(f);
    test_advance_s(f, 3600);
    otok_http_request request = test_post_refresh(tokens->offline_token);
    request.ip = "192.0.2.7";
    request.user_agent = "bad \xff agent";
    test_refresh_over(f, &request, next);
    ck_assert_str_eq(test_last_event(f, OTOK_EVENT_REFRESHED)->ip, "192.0.2.7");
    request.ip = "192.0.2.8";
    test_refresh_over(f, &request, next);
    ck_assert_uint_eq(test_last_event(f, OTOK_EVENT_RETRIED)->event.marks, OTOK_EVENT_OTHER_IP);
    test_end(f);
}
END_TEST

/* ---------------------------------------------------------------------------------------------------- errors */

#define INVALID 400, "invalid_request", OTOK_E_INVALID

/* P2: each error of RFC 6749 section 5.2 and RFC 8707, by its form alone; the token in it lives, and goes on living. */
static const struct {
    const char *before, *behind; /* the token */
    int32_t status;
    const char *error;
    int32_t code;
} bad_forms[] = {
    {"client_id=phone&refresh_token=", "", INVALID},
    {"grant_type=&client_id=phone&refresh_token=", "", INVALID},
    {"grant_type=password&client_id=phone&refresh_token=", "", 400, "unsupported_grant_type", OTOK_E_GRANT_TYPE},
    {"grant_type=Refresh_token&client_id=phone&refresh_token=", "", 400, "unsupported_grant_type", OTOK_E_GRANT_TYPE},
    {"grant_type=refresh_token&client_id=phone&x=", "", INVALID},
    {"grant_type=refresh_token&client_id=phone&refresh_token=&x=", "", INVALID},
    {GOOD, "&refresh_token=again", INVALID},
    {GOOD, "&grant_type=refresh_token", INVALID},
    {GOOD, "&scope=openid&scope=openid", INVALID},
    {GOOD, "&client_id=phone", INVALID},
    {GOOD, "&x=%00", INVALID},
    {GOOD, "&x=%ff", INVALID},
    {GOOD, "&x=%4", INVALID},
    {"grant_type=refresh_token&refresh_token=", "", 401, "invalid_client", OTOK_E_CLIENT},
    {"grant_type=refresh_token&client_id=&refresh_token=", "", 401, "invalid_client", OTOK_E_CLIENT},
    {GOOD, "&scope=openid+email", 400, "invalid_scope", OTOK_E_SCOPE},
    {GOOD, "&scope=open%22id", 400, "invalid_scope", OTOK_E_SCOPE},
    {GOOD, "&resource=https%3A%2F%2Fother.example.org", 400, "invalid_target", OTOK_E_TARGET},
    {"grant_type=refresh_token&client_id=tv&refresh_token=", "", 400, "invalid_grant", OTOK_E_CLIENT_MISMATCH},
    {GOOD, "x", 400, "invalid_grant", OTOK_E_TOKEN_INVALID},
};

START_TEST(bad_form_is_answered_and_consumes_nothing)
{
    test_fixture *f = test_open(TEST_MEMORY);
    const otok_tokens *tokens = test_began(f);
    test_advance_s(f, 60);
    uint64_t before = test_store_state(f->store);
    otok_http_request request =
        test_post(test_form("%s%s%s", bad_forms[_i].before, tokens->offline_token, bad_forms[_i].behind));
    expect(f, &request, bad_forms[_i].status, bad_forms[_i].error, bad_forms[_i].code);
    ck_assert_uint_eq(test_store_state(f->store), before);
    refresh_once(f, tokens->offline_token);
    test_end(f);
}
END_TEST

/* RFC 8707: resources have a bound, of which the client is told. */
START_TEST(resources_are_bounded)
{
    test_fixture *f = test_open(TEST_MEMORY);
    char form[1024];
    (void)snprintf(form, sizeof form, "%s%s", GOOD, test_began(f)->offline_token);
    for (size_t i = 1; i <= OTOK_MAX_AUDIENCE + 1; i++) {
        size_t len = strlen(form);
        (void)snprintf(form + len, sizeof form - len, "&resource=%s", "https%3A%2F%2Fid.example.org");
        otok_http_request request = test_post(form);
        if (i <= OTOK_MAX_AUDIENCE)
            expect(f, &request, 200, NULL, OTOK_OK);
        else
            expect(f, &request, 400, "invalid_target", OTOK_E_TARGET);
    }
    test_end(f);
}
END_TEST

/* P2: a parameter that is missing is named, as the client knows it. */
START_TEST(missing_parameter_is_named)
{
    static const struct {
        test_endpoint endpoint;
        const char *form, *description;
    } rows[] = {
        {otok_endpoint_token, "x=y", "grant_type is required"},
        {otok_endpoint_token, "grant_type=refresh_token", "\"refresh_token is required"},
        {otok_endpoint_revoke, "x=y", "\"token is required"},
        {otok_endpoint_introspect, "x=y", "\"token is required"},
    };
    test_fixture *f = test_open(TEST_MEMORY);
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        otok_http_request request = test_post_as("phone", rows[i].form);
        otok_http_response *response = test_ask_endpoint(f, rows[i].endpoint, &request);
        ck_assert_msg(strstr(response->body, rows[i].description) != NULL, "%s", response->body);
        otok_http_response_free(response);
    }
    test_end(f);
}
END_TEST

/* P2: what is wrong around the form. */
START_TEST(bad_request_is_answered)
{
    static const char big[OTOK_FORM_MAX + 1];
    test_fixture *f = test_open(TEST_MEMORY);
    const otok_http_request good = test_post_refresh(test_began(f)->offline_token);
    otok_http_request request = good;
    request.method = "GET";
    expect(f, &request, 405, "invalid_request", OTOK_E_UNSUPPORTED);
    request = good;
    request.content_type = "application/json";
    expect(f, &request, INVALID);
    request.content_type = NULL;
    expect(f, &request, INVALID);
    request = good;
    request.body = big;
    request.body_len = sizeof big;
    expect(f, &request, INVALID);
    request = good;
    request.client_id = "tv"; /* the form says phone */
    expect(f, &request, INVALID);
    request.body_len = 0;
    expect(f, &request, INVALID);
    expect(f, &good, 200, NULL, OTOK_OK);
    test_end(f);
}
END_TEST

/* P2: what has become of the session; each of them is one answer to a stranger. */
START_TEST(dead_token_is_invalid_grant)
{
    test_fixture *f = test_open(TEST_MEMORY);
    const otok_tokens *tokens = test_began(f), *other = test_began(f);
    const otok_tokens *third = test_rotated(f, tokens, 2);
    otok_http_request request = test_post_refresh(tokens->offline_token);
    expect(f, &request, 400, "invalid_grant", OTOK_E_TOKEN_REUSED);
    request = test_post_refresh(third->offline_token);
    expect(f, &request, 400, "invalid_grant", OTOK_E_TOKEN_UNKNOWN);
    const otok_filter everything = test_filter_realm();
    test_assert_code(OTOK_OK, otok_cutoff_set(f->service, &everything, OTOK_NOW, NULL, NULL));
    request = test_post_refresh(other->offline_token);
    expect(f, &request, 400, "invalid_grant", OTOK_E_TOKEN_REVOKED);
    const otok_tokens *late = test_began(f);
    test_advance_s(f, INT64_C(31) * TEST_DAY_S);
    request = test_post_refresh(late->offline_token);
    expect(f, &request, 400, "invalid_grant", OTOK_E_TOKEN_EXPIRED);
    test_end(f);
}
END_TEST

/* R5: the host's no is its error, its failure is 500; neither consumes the token. */
START_TEST(host_refuses)
{
    test_fixture *f = test_open(TEST_MEMORY);
    test_host host;
    test_install_host(f, &host);
    otok_http_request request = test_post_refresh(test_began(f)->offline_token);
    host.refusal = OTOK_E_DENIED;
    host.description = "the user is \"locked\"";
    expect(f, &request, 400, "invalid_grant", OTOK_E_DENIED);
    host.refusal = OTOK_E_BUSY;
    expect(f, &request, 503, "temporarily_unavailable", OTOK_E_BUSY);
    host.refusal = 0;
    host.returns = 7;
    expect(f, &request, 500, "server_error", OTOK_E_CALLBACK);
    host.returns = 0;
    expect(f, &request, 200, NULL, OTOK_OK);
    test_end(f);
}
END_TEST

/* T1: a policy that refuses public clients says so. */
START_TEST(public_client_is_refused_by_policy)
{
    test_fixture *f = test_open(TEST_MEMORY);
    otok_http_request request = test_post_refresh(test_began(f)->offline_token);
    f->policy.public_clients = OTOK_OFF;
    test_reopen_service(f);
    expect(f, &request, 400, "unauthorized_client", OTOK_E_UNAUTHORIZED_CLIENT);
    test_end(f);
}
END_TEST

/* The host's mistakes are told the host, with no answer. */
START_TEST(host_mistakes_are_codes)
{
    test_fixture *f = test_open(TEST_MEMORY);
    const otok_http_request good = test_post_refresh(test_began(f)->offline_token);
    const test_endpoint endpoints[] = {otok_endpoint_token, otok_endpoint_revoke, otok_endpoint_introspect};
    otok_error err;
    otok_http_response *response = NULL;
    for (size_t i = 0; i < sizeof endpoints / sizeof endpoints[0]; i++) {
        struct {
            otok_http_request request;
            uint64_t more;
        } newer = {good, 1};
        newer.request.size = sizeof newer;
        test_assert_code(OTOK_E_INVALID, endpoints[i](NULL, &good, &response, &err));
        ck_assert_ptr_nonnull(strstr(err.message, "service"));
        test_assert_code(OTOK_E_INVALID, endpoints[i](f->service, NULL, &response, &err));
        test_assert_code(OTOK_E_INVALID, endpoints[i](f->service, &good, NULL, NULL));
        test_assert_code(OTOK_E_INVALID, endpoints[i](f->service, &newer.request, &response, &err));
        ck_assert_ptr_nonnull(strstr(err.message, "otok_http_request"));
        ck_assert_ptr_null(response);
    }
    test_end(f);
}
END_TEST

static void add_tests(TCase *tcase)
{
    tcase_add_test(tcase, refresh_is_answered);
    tcase_add_test(tcase, scope_and_resource_narrow);
    tcase_add_test(tcase, authenticated_client_is_confidential);
    tcase_add_test(tcase, address_is_kept);
    tcase_add_loop_test(tcase, bad_form_is_answered_and_consumes_nothing, 0, sizeof bad_forms / sizeof bad_forms[0]);
    tcase_add_test(tcase, resources_are_bounded);
    tcase_add_test(tcase, missing_parameter_is_named);
    tcase_add_test(tcase, bad_request_is_answered);
    tcase_add_test(tcase, dead_token_is_invalid_grant);
    tcase_add_test(tcase, host_refuses);
    tcase_add_test(tcase, public_client_is_refused_by_policy);
    tcase_add_test(tcase, host_mistakes_are_codes);
}

int main(void)
{
    return test_main("endpoint_token", add_tests);
}
