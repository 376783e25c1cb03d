/*
 * check_endpoint_resource.c - calls of protected resources: credentials, the session and the scope behind a token, and what each refusal
 * says (RFC 6750 section 3) (P1, V6).
 *
 * SPDX-License-Identifier: MIT
 */
#include "support/resource.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "support/claims.h"
#include "support/host.h"
#include "support/records.h"
#include "support/watch.h"

static const char *const api[] = {"https://api.example.org"}, *const other[] = {"https://other.example.org"};

/* ---------------------------------------------------------------------------------------------------- good calls */

/* P1 P3: by bearer tokens and by proven ones; the scheme is in any case (RFC 9110 section 11.1). */
START_TEST(good_tokens_are_accepted)
{
    static const char *const schemes[2][3] = {{"Bearer", "bearer", "BEARER "}, {"DPoP", "dpop", "DPOP  "}};
    for (int by_key = 0; by_key < 2; by_key++) {
        test_call s;
        test_call_begin(&s, by_key);
        for (size_t i = 0; i < 3; i++) {
            test_call_authorize(&s, schemes[by_key][i], s.token);
            test_call_prove(&s);
            test_call_is_good(&s);
        }
        test_call_end(&s);
    }
}
END_TEST

/* P3: any method can be proven. */
START_TEST(method_is_the_calls_own)
{
    static const char *const methods[] = {"GET", "POST", "DELETE", "PROPFIND"};
    test_call s;
    test_call_begin(&s, true);
    for (size_t i = 0; i < sizeof methods / sizeof methods[0]; i++) {
        s.request.method = methods[i];
        test_call_prove_as(&s, (test_proof){.method = methods[i]});
        test_call_is_good(&s);
    }
    test_call_end(&s);
}
END_TEST

/* I2 V6: a session without a refresh token lives as long as its access token, and is as good. */
START_TEST(token_of_a_session_without_refresh_is_accepted)
{
    test_call s;
    otok_grant grant = test_grant(NULL, NULL, NULL);
    grant.refresh_token = OTOK_OFF;
    test_call_begin_grant(&s, &grant, false, NULL);
    test_call_is_good(&s);
    test_advance_s(s.f, 298);
    test_call_is_good(&s);
    test_advance_s(s.f, 3);
    test_call_expect(&s, TEST_BAD_TOKEN(OTOK_E_TOKEN_INVALID));
    test_call_end(&s);
}
END_TEST

/* P1: what is known of the token is what an introspection tells. */
START_TEST(accepted_token_is_described)
{
    test_call s;
    test_call_begin(&s, true);
    otok_introspection *found = test_call_accept(&s);
    ck_assert_str_eq(found->scope, "openid offline_access profile");
    ck_assert_int_gt(found->expires_us, s.f->now_us);
    cJSON *json = test_json(found->response_json);
    test_expect_text(json, "token_type", "DPoP");
    test_expect_text(json, "sub", "alice");
    cJSON_Delete(json);
    otok_introspection_free(found);
    test_call_end(&s);
}
END_TEST

/* P1: content type, body and client are not looked at; nor is a proof that a bearer token does not need. */
START_TEST(other_parts_of_the_request_do_not_matter)
{
    test_call s;
    test_call_begin(&s, false);
    static const char *const junk[] = {"x", "y"};
    s.request.content_type = "text/plain";
    s.request.body = "%";
    s.request.body_len = 1;
    s.request.client_id = "tv";
    s.request.dpop = junk;
    s.request.dpop_count = 2;
    test_call_is_good(&s);
    test_call_end(&s);
}
END_TEST

/* ---------------------------------------------------------------------------------------------------- credentials */

/* RFC 6750 section 3.1: who brings no token at all, or another scheme, is told of no error. */
START_TEST(call_without_a_token_is_challenged)
{
    static const char *const rows[] = {NULL,          "",          "Basic cGhvbmU6eA==", "Bear abc", "Bearerabc",
                                       "Bearer\tabc", "DPoPx abc", "MAC id=\"1\"",       " ",        "\xff"};
    test_call s;
    test_call_begin(&s, false);
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        s.request.authorization = rows[i];
        test_call_expect(&s, 401, NULL, OTOK_E_TOKEN_INVALID);
        test_call_is_challenged(&s, TEST_BEARER ", " TEST_ALGS);
    }
    test_call_end(&s);
}
END_TEST

/* RFC 6750 section 3.1: invalid_request; two schemes in one field among them. */
START_TEST(malformed_credentials_are_a_bad_request)
{
    static const char *const rows[] = {
        "Bearer",          "Bearer ",      "DPoP",       "DPoP   ",          "Bearer a b",
        "Bearer a,b",      "Bearer \"a\"", "Bearer a\n", "Bearer a\x7f",     "Bearer \xc3\xa9",
        "Bearer =",        "Bearer a=b",   "Bearer a ",  "DPoP a, Bearer b", "Bearer a, DPoP b",
        "Bearer a\r\nX: y"};
    test_call s;
    test_call_begin(&s, false);
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        s.request.authorization = rows[i];
        test_call_expect(&s, TEST_BAD_REQUEST);
    }
    char *two = malloc(2 * strlen(s.authorization) + 3);
    (void)sprintf(two, "%s, %s", s.authorization, s.authorization); /* as a server joins two fields */
    s.request.authorization = two;
    test_call_expect(&s, TEST_BAD_REQUEST);
    free(two);
    test_call_end(&s);
}
END_TEST

/* P1: what is no access token of ours, however long. */
START_TEST(other_tokens_are_invalid)
{
    test_call s;
    test_call_begin(&s, false);
    otok_tokens *tokens = test_issue(s.f, NULL, NULL, NULL);
    char *longer = malloc(300001);
    memset(longer, 'a', 300000);
    longer[300000] = '\0';
    char *forged = otok_strdup(s.token);
    char *letter = &forged[strlen(forged) - 5];
    *letter = *letter == 'A' ? 'B' : 'A'; /* or it might be none of base64url */
    const char *const rows[] = {"x", "a.b.c", "..", tokens->offline_token, tokens->id_token, longer, forged};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        test_call_authorize(&s, "Bearer", rows[i]);
        test_call_expect(&s, TEST_BAD_TOKEN(OTOK_E_TOKEN_INVALID));
        test_call_authorize(&s, "DPoP", rows[i]);
        test_call_expect(&s, TEST_BAD_TOKEN(OTOK_E_TOKEN_INVALID));
    }
    otok_free(forged);
    free(longer);
    otok_tokens_free(tokens);
    test_call_end(&s);
}
END_TEST

/* ---------------------------------------------------------------------------------------------------- the session */

/* P1: for this server, or for a resource that it answers to as well; the token's client does not matter. */
START_TEST(audience_is_one_of_ours)
{
    static const struct {
        const char *const *granted, *const *resource;
        bool good;
    } rows[] = {
        {NULL, NULL, true}, {NULL, api, true}, {api, NULL, false}, {api, other, false}, {api, api, true},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        otok_grant grant = test_grant(NULL, NULL, NULL);
        grant.audience = rows[i].granted;
        grant.audience_count = rows[i].granted != NULL;
        test_call s;
        test_call_begin_grant(&s, &grant, false, NULL);
        s.request.resource = rows[i].resource;
        s.request.resource_count = rows[i].resource != NULL;
        s.request.client_id = "phone";
        if (rows[i].good)
            test_call_is_good(&s);
        else
            test_call_expect(&s, TEST_BAD_TOKEN(OTOK_E_TOKEN_INVALID));
        test_call_end(&s);
    }
}
END_TEST

static void revoke(test_call *s)
{
    test_assert_code(OTOK_OK, otok_revoke_session(s->f->service, s->session_id, NULL));
}

static void cut_off(test_call *s)
{
    otok_filter filter;
    otok_filter_init(&filter, sizeof filter);
    filter.subject = "alice";
    test_assert_code(OTOK_OK, otok_cutoff_set(s->f->service, &filter, OTOK_NOW, NULL, NULL));
}

static void wait_for_the_end(test_call *s)
{
    test_advance_s(s->f, 301);
}

static void demand_consent(test_call *s)
{
    s->f->policy.consent = OTOK_ON;
    test_reopen_service(s->f);
}

static void demand_less_consent(test_call *s)
{
    test_assert_code(OTOK_OK, otok_consent_put(s->f->service, "alice", "phone", "openid", NULL));
    demand_consent(s);
}

/* V6: a token is good while its session lives, however that ended; what it is refused for is never its scope. */
START_TEST(token_of_a_dead_session_is_invalid)
{
    static const struct {
        void (*end)(test_call *s);
        int32_t code;
    } rows[] = {
        {revoke, OTOK_E_TOKEN_UNKNOWN},   {cut_off, OTOK_E_TOKEN_REVOKED},     {wait_for_the_end, OTOK_E_TOKEN_INVALID},
        {demand_consent, OTOK_E_CONSENT}, {demand_less_consent, OTOK_E_SCOPE},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        test_call s;
        test_call_begin(&s, false);
        test_call_is_good(&s);
        rows[i].end(&s);
        test_call_expect(&s, TEST_BAD_TOKEN(rows[i].code));
        test_call_end(&s);
    }
}
END_TEST

/* RFC 6750 section 3.1: insufficient_scope, with what is needed. */
START_TEST(scope_is_demanded)
{
    static const struct {
        const char *scope;
        bool good;
    } rows[] = {
        {NULL, true},     {"", true},
        {"openid", true}, {"profile openid", true},
        {"email", false}, {"openid email", false},
        {"open", false},  {"OPENID", false},
    };
    for (int by_key = 0; by_key < 2; by_key++) {
        test_call s;
        test_call_begin(&s, by_key);
        for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
            s.scope = rows[i].scope;
            test_call_prove(&s);
            if (rows[i].good)
                test_call_is_good(&s);
            else
                test_call_expect(&s, 403, "insufficient_scope", OTOK_E_SCOPE);
        }
        test_call_end(&s);
    }
    test_call s;
    test_call_begin(&s, false);
    s.scope = "email  openid";
    test_call_is_challenged(&s, TEST_BEARER
                            ", error=\"insufficient_scope\", error_description=\"the access token is not for all of "
                            "this scope\", scope=\"email openid\"");
    test_call_end(&s);
}
END_TEST

/* P1: what the host's callback says holds here, too: no, or less. */
START_TEST(host_is_asked)
{
    test_call s;
    test_call_begin(&s, false);
    test_host host;
    test_install_host(s.f, &host);
    s.request.ip = "192.0.2.9";
    test_call_is_good(&s);
    const test_use *use = test_last_use(&host);
    ck_assert_int_eq(use->purpose, OTOK_PURPOSE_INTROSPECT);
    ck_assert_str_eq(use->ip, "192.0.2.9");
    host.refusal = OTOK_E_DENIED;
    test_call_expect(&s, TEST_BAD_TOKEN(OTOK_E_DENIED));
    host.refusal = OTOK_E_BUSY;
    test_call_expect(&s, 503, "temporarily_unavailable", OTOK_E_BUSY);
    host.refusal = 0;
    host.scope = "profile";
    s.scope = "profile";
    test_call_is_good(&s);
    s.scope = "openid";
    test_call_expect(&s, 403, "insufficient_scope", OTOK_E_SCOPE);
    host.scope = s.scope = NULL;
    host.ends_session = true;
    test_call_expect(&s, TEST_BAD_TOKEN(OTOK_E_DENIED));
    host.ends_session = false;
    test_call_expect(&s, TEST_BAD_TOKEN(OTOK_E_TOKEN_UNKNOWN));
    test_call_end(&s);
}
END_TEST

/* P1: trouble is 503 or 500, and never a bad token; the proof is good afterwards. */
START_TEST(trouble_is_never_a_bad_token)
{
    static const struct {
        int32_t code, status;
        const char *error;
        int32_t told;
    } rows[] = {
        {OTOK_E_IO, 503, "temporarily_unavailable", OTOK_E_IO},
        {OTOK_E_BUSY, 503, "temporarily_unavailable", OTOK_E_BUSY},
        {OTOK_E_NOMEM, 503, "temporarily_unavailable", OTOK_E_NOMEM},
        {OTOK_E_FORMAT, 500, "server_error", OTOK_E_FORMAT},
        {OTOK_E_UNSUPPORTED, 500, "server_error", OTOK_E_UNSUPPORTED},
        {OTOK_E_INVALID, 500, "server_error", OTOK_E_STATE},
    };
    for (int by_key = 0; by_key < 2; by_key++) {
        test_call s;
        test_call_begin(&s, by_key);
        test_watch watch;
        test_host host;
        test_install_host(s.f, &host);
        test_watch_fixture(&watch, s.f);
        for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
            test_watch_fail(&watch, 1, TEST_CALL_FETCH, rows[i].code, false);
            test_call_expect(&s, rows[i].status, rows[i].error, rows[i].told);
            ck_assert(watch.reached);
            test_watch_reset(&watch);
        }
        host.returns = 1;
        test_call_expect(&s, 500, "server_error", OTOK_E_CALLBACK);
        host.returns = 0;
        test_call_is_good(&s);
        test_call_end(&s);
    }
}
END_TEST

/* ---------------------------------------------------------------------------------------------------- challenges */

/* RFC 6750 section 3, RFC 9449 section 7: each with the error in the challenge of the scheme that came. */
START_TEST(challenge_is_that_of_the_scheme)
{
    test_call s;
    test_call_begin(&s, true);
    test_call_authorize(&s, "Bearer", "x");
    test_call_is_challenged(&s, TEST_BEARER
                            ", error=\"invalid_token\", error_description=\"the JWT has not three parts\", " TEST_ALGS);
    test_call_authorize(&s, "DPoP", "x");
    test_call_is_challenged(&s,
                            TEST_ALGS ", error=\"invalid_token\", error_description=\"the JWT has not three parts\"");
    s.request.authorization = "Bearer";
    test_call_is_challenged(&s, TEST_BEARER
                            ", error=\"invalid_request\", error_description=\"Authorization is not a scheme and a "
                            "token\"");
    test_call_end(&s);
}
END_TEST

/* ---------------------------------------------------------------------------------------------------- the host */

/* P2: what the host got wrong is a 500. */
START_TEST(mistakes_of_the_host_are_no_bad_requests)
{
    for (int row = 0; row < 9; row++) {
        test_call s;
        test_call_begin(&s, true);
        static const char *const null[] = {NULL};
        s.request.method = row == 0 ? NULL : s.request.method;
        s.request.uri = row == 1 ? NULL : s.request.uri;
        s.request.x5t_s256 = row == 2 ? "short" : NULL;
        s.request.resource = row == 3 ? null : NULL;
        s.request.resource_count = row == 3 || row == 4;
        s.request.resource_count = row == 5 ? 17 : s.request.resource_count;
        s.request.dpop = row == 6 ? NULL : (row == 7 ? null : s.request.dpop);
        s.scope = row == 8 ? "a\"b" : NULL;
        test_call_expect(&s, TEST_HOSTS_MISTAKE);
        test_call_end(&s);
    }
}
END_TEST

/* B2: a host compiled with the header before it has no such member: what lies there is no token. */
START_TEST(older_header_has_no_token)
{
    test_call s;
    test_call_begin(&s, false);
    s.request.size = offsetof(otok_http_request, authorization);
    test_call_expect(&s, 401, NULL, OTOK_E_TOKEN_INVALID);
    s.request.size = sizeof s.request;
    test_call_is_good(&s);
    test_call_end(&s);
}
END_TEST

/* B2: no answer where the call itself is wrong. */
START_TEST(wrong_calls_have_no_answer)
{
    test_call s;
    test_call_begin(&s, false);
    otok_introspection *found = (otok_introspection *)(void *)&s;
    otok_http_response *refusal = (otok_http_response *)(void *)&s;
    struct {
        otok_http_request known;
        void *more;
    } newer = {.known = s.request, .more = &newer};
    newer.known.size = sizeof newer;
    otok_service *service = s.f->service;
    test_assert_code(OTOK_E_INVALID, otok_endpoint_resource(NULL, &s.request, NULL, &found, &refusal, NULL));
    ck_assert_ptr_null(found);
    ck_assert_ptr_null(refusal);
    test_assert_code(OTOK_E_INVALID, otok_endpoint_resource(service, NULL, NULL, &found, &refusal, NULL));
    test_assert_code(OTOK_E_INVALID, otok_endpoint_resource(service, &s.request, NULL, NULL, &refusal, NULL));
    test_assert_code(OTOK_E_INVALID, otok_endpoint_resource(service, &s.request, NULL, &found, NULL, NULL));
    test_assert_code(OTOK_E_INVALID, otok_endpoint_resource(service, &newer.known, NULL, &found, &refusal, NULL));
    ck_assert_ptr_null(found);
    ck_assert_ptr_null(refusal);
    s.request.size = offsetof(otok_http_request, authorization); /* of an older header: there is no token */
    test_call_expect(&s, 401, NULL, OTOK_E_TOKEN_INVALID);
    test_call_end(&s);
}
END_TEST

/* V6: a call writes nothing. */
START_TEST(nothing_is_written)
{
    test_call s;
    test_call_begin(&s, true);
    uint64_t before = test_store_state(s.f->store);
    test_call_is_good(&s);
    test_call_expect(&s, TEST_BAD_PROOF);
    ck_assert_uint_eq(test_store_state(s.f->store), before);
    test_call_end(&s);
}
END_TEST

static void add_tests(TCase *tcase)
{
    tcase_add_test(tcase, good_tokens_are_accepted);
    tcase_add_test(tcase, method_is_the_calls_own);
    tcase_add_test(tcase, token_of_a_session_without_refresh_is_accepted);
    tcase_add_test(tcase, accepted_token_is_described);
    tcase_add_test(tcase, other_parts_of_the_request_do_not_matter);
    tcase_add_test(tcase, call_without_a_token_is_challenged);
    tcase_add_test(tcase, malformed_credentials_are_a_bad_request);
    tcase_add_test(tcase, other_tokens_are_invalid);
    tcase_add_test(tcase, audience_is_one_of_ours);
    tcase_add_test(tcase, token_of_a_dead_session_is_invalid);
    tcase_add_test(tcase, scope_is_demanded);
    tcase_add_test(tcase, host_is_asked);
    tcase_add_test(tcase, trouble_is_never_a_bad_token);
    tcase_add_test(tcase, challenge_is_that_of_the_scheme);
    tcase_add_test(tcase, mistakes_of_the_host_are_no_bad_requests);
    tcase_add_test(tcase, older_header_has_no_token);
    tcase_add_test(tcase, wrong_calls_have_no_answer);
    tcase_add_test(tcase, nothing_is_written);
}

int main(void)
{
    return test_main("endpoint_resource", add_tests);
}
