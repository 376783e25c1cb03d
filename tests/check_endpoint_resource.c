/*
 * check_endpoint_resource.c - calls of protected resources: with an access token alone, with a proof of its key (RFC 9449 section 7), with
 * its certificate (RFC 8705 section 3), and what each refusal says (RFC 6750 section 3) (P1, P3, V6).
 *
 * SPDX-License-Identifier: MIT
 */
#include "support/endpoint.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "support/claims.h"
#include "support/host.h"
#include "support/records.h"
#include "support/watch.h"

#define USERINFO "https://id.example.org/userinfo"
#define ALGS     "DPoP algs=\"ES256 EdDSA RS256 PS256\""
#define BEARER   "Bearer realm=\"resource\""

static const char *const api[] = {"https://api.example.org"}, *const other[] = {"https://other.example.org"};

/* A call of GET UserInfo: by a token that is bound to a key, or not. */
typedef struct story {
    test_fixture *f;
    test_prover prover;
    char *token, *authorization, *proof;
    char session_id[OTOK_SESSION_ID_CHARS + 1];
    const char *scope;
    otok_http_request request;
} story;

static void authorize(story *s, const char *scheme, const char *token)
{
    size_t size = strlen(scheme) + strlen(token) + 2;
    free(s->authorization);
    s->authorization = malloc(size);
    ck_assert_ptr_nonnull(s->authorization);
    (void)snprintf(s->authorization, size, "%s %s", scheme, token);
    s->request.authorization = s->authorization;
}

/* Puts a proof into the call: a good one, but for what the fields say. */
static void prove_as(story *s, test_proof proof)
{
    proof.method = proof.method != NULL ? proof.method : "GET";
    proof.uri = proof.uri != NULL ? proof.uri : USERINFO;
    proof.iat_us = s->f->now_us + proof.iat_us;
    proof.access_token = proof.ath != NULL || proof.access_token != NULL ? proof.access_token : s->token;
    otok_string_free(s->proof);
    s->proof = test_prove_call(&s->prover, &proof);
    s->request.dpop = (const char *const *)&s->proof;
    s->request.dpop_count = 1;
}

static void prove(story *s)
{
    prove_as(s, (test_proof){0});
}

static void begin_grant(story *s, otok_grant *grant, bool by_key, const char *x5t)
{
    *s = (story){.f = test_open(TEST_MEMORY), .prover = test_prover_new(OTOK_ALG_ES256)};
    const otok_peer peer = test_peer(by_key ? s->prover.jkt : NULL, x5t, NULL, NULL);
    grant->peer = &peer;
    const otok_tokens *tokens = test_granted(s->f, grant);
    s->token = otok_strdup(tokens->access_token);
    memcpy(s->session_id, tokens->session_id, sizeof s->session_id);
    otok_http_request_init(&s->request, sizeof s->request);
    s->request.method = "GET";
    s->request.uri = USERINFO;
    authorize(s, by_key ? "DPoP" : "Bearer", s->token);
    if (by_key)
        prove(s);
}

static void begin(story *s, bool by_key)
{
    otok_grant grant = test_grant(NULL, NULL, NULL);
    grant.binding = by_key ? OTOK_BINDING_JKT : OTOK_BINDING_NONE;
    begin_grant(s, &grant, by_key, NULL);
}

static void end(story *s)
{
    otok_string_free(s->proof);
    otok_string_free(s->token);
    free(s->authorization);
    test_prover_free(&s->prover);
    test_end(s->f);
}

/* ---------------------------------------------------------------------------------------------------- what comes of it */

static const char no_text[] = "";

static otok_introspection *accept(story *s)
{
    otok_introspection *found = NULL;
    otok_http_response *refusal = (otok_http_response *)(void *)&found;
    otok_error err = {0};
    test_assert_code(OTOK_OK, otok_endpoint_resource(s->f->service, &s->request, s->scope, &found, &refusal, &err));
    ck_assert_msg(refusal == NULL, "%s", refusal != NULL ? refusal->message : no_text);
    ck_assert_ptr_nonnull(found);
    ck_assert_int_eq(found->active, 1);
    ck_assert_int_eq(found->token, OTOK_TOKEN_ACCESS);
    return found;
}

static void expect_good(story *s)
{
    otok_introspection *found = accept(s);
    ck_assert_str_eq(found->session_id, s->session_id);
    ck_assert_str_eq(found->subject, "alice");
    ck_assert_str_eq(found->client_id, "phone");
    otok_introspection_free(found);
}

/* The whole refusal; freed with otok_http_response_free(). */
static otok_http_response *refused(story *s)
{
    otok_http_response *refusal = NULL;
    otok_introspection *found = (otok_introspection *)(void *)&refusal;
    otok_error err = {0};
    test_assert_code(OTOK_OK, otok_endpoint_resource(s->f->service, &s->request, s->scope, &found, &refusal, &err));
    ck_assert_ptr_null(found);
    ck_assert_ptr_nonnull(refusal);
    ck_assert_str_eq(test_header(refusal, "Content-Type"), "application/json");
    ck_assert_str_eq(test_header(refusal, "Cache-Control"), "no-store");
    ck_assert_uint_eq(strlen(refusal->body), refusal->body_len);
    ck_assert_int_eq(refusal->status == 503, test_header(refusal, "Retry-After") != NULL);
    ck_assert_int_eq(refusal->status < 500, test_header(refusal, "WWW-Authenticate") != NULL);
    ck_assert_ptr_nonnull(refusal->message);
    ck_assert(strstr(refusal->message, s->token) == NULL && strstr(refusal->body, s->token) == NULL);
    return refusal;
}

/* Refused with that; the challenge says the same, where there is one. */
static void expect(story *s, int32_t status, const char *error, int32_t code)
{
    otok_http_response *refusal = refused(s);
    ck_assert_msg(refusal->status == status && refusal->code == code, "expected %d %s, got %d %s (%s)", status,
                  otok_error_name(code), refusal->status, otok_error_name(refusal->code), refusal->message);
    cJSON *json = test_json(refusal->body);
    test_expect_text(json, "error", error);
    cJSON_Delete(json);
    const char *challenge = test_header(refusal, "WWW-Authenticate");
    char said[64];
    (void)snprintf(said, sizeof said, "error=\"%s\"", error != NULL ? error : no_text);
    ck_assert_int_eq(challenge != NULL && strstr(challenge, "error=") != NULL, status < 500 && error != NULL);
    ck_assert(challenge == NULL || error == NULL || strstr(challenge, said) != NULL);
    otok_http_response_free(refusal);
}

static void expect_challenge(story *s, const char *challenge)
{
    otok_http_response *refusal = refused(s);
    ck_assert_str_eq(test_header(refusal, "WWW-Authenticate"), challenge);
    otok_http_response_free(refusal);
}

#define BAD_TOKEN(code) 401, "invalid_token", (code)
#define BAD_PROOF       401, "invalid_dpop_proof", OTOK_E_DPOP_PROOF
#define BAD_REQUEST     400, "invalid_request", OTOK_E_INVALID
#define HOSTS_MISTAKE   500, "server_error", OTOK_E_STATE

/* ---------------------------------------------------------------------------------------------------- good calls */

/* P1 P3: by bearer tokens and by proven ones; the scheme is in any case (RFC 9110 section 11.1). */
START_TEST(good_tokens_are_accepted)
{
    static const char *const schemes[2][3] = {{"Bearer", "bearer", "BEARER "}, {"DPoP", "dpop", "DPOP  "}};
    for (int by_key = 0; by_key < 2; by_key++) {
        story s;
        begin(&s, by_key);
        for (size_t i = 0; i < 3; i++) {
            authorize(&s, schemes[by_key][i], s.token);
            prove(&s);
            expect_good(&s);
        }
        end(&s);
    }
}
END_TEST

/* P3: proofs of every algorithm that a key can have are covered where proofs are; here, that any method has one. */
START_TEST(method_is_the_calls_own)
{
    static const char *const methods[] = {"GET", "POST", "DELETE", "PROPFIND"};
    story s;
    begin(&s, true);
    for (size_t i = 0; i < sizeof methods / sizeof methods[0]; i++) {
        s.request.method = methods[i];
        prove_as(&s, (test_proof){.method = methods[i]});
        expect_good(&s);
    }
    end(&s);
}
END_TEST

/* P1: what is known of the token is what an introspection tells. */
START_TEST(accepted_token_is_described)
{
    story s;
    begin(&s, true);
    otok_introspection *found = accept(&s);
    ck_assert_str_eq(found->scope, "openid offline_access profile");
    ck_assert_int_gt(found->expires_us, s.f->now_us);
    cJSON *json = test_json(found->response_json);
    test_expect_text(json, "token_type", "DPoP");
    test_expect_text(json, "sub", "alice");
    cJSON_Delete(json);
    otok_introspection_free(found);
    end(&s);
}
END_TEST

/* P1: content type, body and client are not looked at; nor is a proof that a bearer token does not need. */
START_TEST(other_parts_of_the_request_do_not_matter)
{
    story s;
    begin(&s, false);
    static const char *const junk[] = {"x", "y"};
    s.request.content_type = "text/plain";
    s.request.body = "%";
    s.request.body_len = 1;
    s.request.client_id = "tv";
    s.request.dpop = junk;
    s.request.dpop_count = 2;
    expect_good(&s);
    end(&s);
}
END_TEST

/* ---------------------------------------------------------------------------------------------------- credentials */

/* RFC 6750 section 3.1: who brings no token at all, or another scheme, is told of no error. */
START_TEST(call_without_a_token_is_challenged)
{
    static const char *const rows[] = {NULL,          "",          "Basic cGhvbmU6eA==", "Bear abc", "Bearerabc",
                                       "Bearer\tabc", "DPoPx abc", "MAC id=\"1\"",       " ",        "\xff"};
    story s;
    begin(&s, false);
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        s.request.authorization = rows[i];
        expect(&s, 401, NULL, OTOK_E_TOKEN_INVALID);
        expect_challenge(&s, BEARER ", " ALGS);
    }
    end(&s);
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
    story s;
    begin(&s, false);
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        s.request.authorization = rows[i];
        expect(&s, BAD_REQUEST);
    }
    char *two = malloc(2 * strlen(s.authorization) + 3);
    (void)sprintf(two, "%s, %s", s.authorization, s.authorization); /* as a server joins two fields */
    s.request.authorization = two;
    expect(&s, BAD_REQUEST);
    free(two);
    end(&s);
}
END_TEST

/* P1: what is no access token of ours, however long. */
START_TEST(other_tokens_are_invalid)
{
    story s;
    begin(&s, false);
    otok_tokens *tokens = test_issue(s.f, NULL, NULL, NULL);
    char *longer = malloc(300001);
    memset(longer, 'a', 300000);
    longer[300000] = '\0';
    char *forged = otok_strdup(s.token);
    forged[strlen(forged) - 5] ^= 1;
    const char *const rows[] = {"x", "a.b.c", "..", tokens->offline_token, tokens->id_token, longer, forged};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        authorize(&s, "Bearer", rows[i]);
        expect(&s, BAD_TOKEN(OTOK_E_TOKEN_INVALID));
        authorize(&s, "DPoP", rows[i]);
        expect(&s, BAD_TOKEN(OTOK_E_TOKEN_INVALID));
    }
    otok_free(forged);
    free(longer);
    otok_tokens_free(tokens);
    end(&s);
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
        story s;
        begin_grant(&s, &grant, false, NULL);
        s.request.resource = rows[i].resource;
        s.request.resource_count = rows[i].resource != NULL;
        s.request.client_id = "phone";
        if (rows[i].good)
            expect_good(&s);
        else
            expect(&s, BAD_TOKEN(OTOK_E_TOKEN_INVALID));
        end(&s);
    }
}
END_TEST

static void revoke(story *s)
{
    test_assert_code(OTOK_OK, otok_revoke_session(s->f->service, s->session_id, NULL));
}

static void cut_off(story *s)
{
    otok_filter filter;
    otok_filter_init(&filter, sizeof filter);
    filter.subject = "alice";
    test_assert_code(OTOK_OK, otok_cutoff_set(s->f->service, &filter, OTOK_NOW, NULL, NULL));
}

static void wait_for_the_end(story *s)
{
    test_advance_s(s->f, 301);
}

static void demand_consent(story *s)
{
    s->f->policy.consent = OTOK_ON;
    test_reopen_service(s->f);
}

static void demand_less_consent(story *s)
{
    test_assert_code(OTOK_OK, otok_consent_put(s->f->service, "alice", "phone", "openid", NULL));
    demand_consent(s);
}

/* V6: a token is good while its session lives, however that ended; what it is refused for is never its scope. */
START_TEST(token_of_a_dead_session_is_invalid)
{
    static const struct {
        void (*end)(story *s);
        int32_t code;
    } rows[] = {
        {revoke, OTOK_E_TOKEN_UNKNOWN},   {cut_off, OTOK_E_TOKEN_REVOKED},     {wait_for_the_end, OTOK_E_TOKEN_INVALID},
        {demand_consent, OTOK_E_CONSENT}, {demand_less_consent, OTOK_E_SCOPE},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        story s;
        begin(&s, false);
        expect_good(&s);
        rows[i].end(&s);
        expect(&s, BAD_TOKEN(rows[i].code));
        end(&s);
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
        story s;
        begin(&s, by_key);
        for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
            s.scope = rows[i].scope;
            prove(&s);
            if (rows[i].good)
                expect_good(&s);
            else
                expect(&s, 403, "insufficient_scope", OTOK_E_SCOPE);
        }
        end(&s);
    }
    story s;
    begin(&s, false);
    s.scope = "email  openid";
    expect_challenge(&s,
                     BEARER ", error=\"insufficient_scope\", error_description=\"the access token is not for all of "
                            "this scope\", scope=\"email openid\"");
    end(&s);
}
END_TEST

/* P1: what the host's callback says holds here, too: no, or less. */
START_TEST(host_is_asked)
{
    story s;
    begin(&s, false);
    test_host host;
    test_install_host(s.f, &host);
    s.request.ip = "192.0.2.9";
    expect_good(&s);
    const test_use *use = test_last_use(&host);
    ck_assert_int_eq(use->purpose, OTOK_PURPOSE_INTROSPECT);
    ck_assert_str_eq(use->ip, "192.0.2.9");
    host.refusal = OTOK_E_DENIED;
    expect(&s, BAD_TOKEN(OTOK_E_DENIED));
    host.refusal = OTOK_E_BUSY;
    expect(&s, 503, "temporarily_unavailable", OTOK_E_BUSY);
    host.refusal = 0;
    host.scope = "profile";
    s.scope = "profile";
    expect_good(&s);
    s.scope = "openid";
    expect(&s, 403, "insufficient_scope", OTOK_E_SCOPE);
    host.scope = s.scope = NULL;
    host.ends_session = true;
    expect(&s, BAD_TOKEN(OTOK_E_DENIED));
    host.ends_session = false;
    expect(&s, BAD_TOKEN(OTOK_E_TOKEN_UNKNOWN));
    end(&s);
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
        story s;
        begin(&s, by_key);
        test_watch watch;
        test_host host;
        test_install_host(s.f, &host);
        test_watch_fixture(&watch, s.f);
        for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
            test_watch_fail(&watch, 1, TEST_CALL_FETCH, rows[i].code, false);
            expect(&s, rows[i].status, rows[i].error, rows[i].told);
            ck_assert(watch.reached);
            test_watch_reset(&watch);
        }
        host.returns = 1;
        expect(&s, 500, "server_error", OTOK_E_CALLBACK);
        host.returns = 0;
        expect_good(&s);
        end(&s);
    }
}
END_TEST

/* ---------------------------------------------------------------------------------------------------- DPoP */

/* P3: RFC 9449 section 7.2: a bound token is no bearer token, and a bearer token is no bound one. */
START_TEST(scheme_is_that_of_the_token)
{
    story bound;
    begin(&bound, true);
    story plain;
    begin(&plain, false);
    authorize(&bound, "Bearer", bound.token);
    expect(&bound, BAD_TOKEN(OTOK_E_TOKEN_INVALID)); /* with a good proof beside it */
    bound.request.dpop_count = 0;
    expect(&bound, BAD_TOKEN(OTOK_E_TOKEN_INVALID));
    authorize(&plain, "DPoP", plain.token);
    expect(&plain, BAD_TOKEN(OTOK_E_TOKEN_INVALID));
    prove(&plain);
    expect(&plain, BAD_TOKEN(OTOK_E_TOKEN_INVALID));
    end(&plain);
    end(&bound);
}
END_TEST

/* P3: RFC 9449 section 4.3, each number that can be wrong at a resource; and then the token is still good. */
START_TEST(bad_proofs_are_refused)
{
    static const char other_ath[] = "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I";
    const struct {
        const char *what;
        test_proof proof;
    } rows[] = {
        {"other method", {.method = "POST"}},
        {"method in another case", {.method = "get"}},
        {"other URI", {.uri = TEST_TOKEN_URI}},
        {"other host", {.uri = "https://evil.example.org/userinfo"}},
        {"other scheme", {.uri = "http://id.example.org/userinfo"}},
        {"too old", {.iat_us = -62 * OTOK_US_PER_S}},
        {"too early", {.iat_us = 62 * OTOK_US_PER_S}},
        {"other ath", {.ath = other_ath}},
        {"empty ath", {.ath = ""}},
        {"short ath", {.ath = "0ZcOCORZNYy"}},
        {"ath with padding", {.ath = "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I="}},
        {"ath of another token", {.access_token = "another"}},
    };
    story s;
    begin(&s, true);
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        prove_as(&s, rows[i].proof);
        expect(&s, BAD_PROOF);
    }
    char *const plain = test_prove(&s.prover, USERINFO, s.f->now_us, NULL); /* no ath, as for the token endpoint */
    const char *const without[] = {plain}, *const two[] = {s.proof, s.proof}, *const none[] = {""};
    s.request.dpop = without;
    s.request.method = "POST";
    expect(&s, BAD_PROOF);
    s.request.method = "GET";
    s.request.dpop = two;
    s.request.dpop_count = 2;
    expect(&s, BAD_PROOF);
    s.request.dpop = none;
    s.request.dpop_count = 1;
    expect(&s, BAD_PROOF);
    s.request.dpop_count = 0;
    expect(&s, BAD_PROOF);
    prove(&s);
    expect_good(&s);
    otok_string_free(plain);
    end(&s);
}
END_TEST

/* P3: a stolen token and a key of one's own; and the proof of another token of the same key. */
START_TEST(proof_is_by_the_key_of_the_token_and_for_it)
{
    story s;
    begin(&s, true);
    story thief;
    begin(&thief, true);
    test_prover own = s.prover;
    s.prover = thief.prover;
    prove(&s);
    expect(&s, BAD_TOKEN(OTOK_E_SENDER)); /* RFC 9449 section 7.1 */
    s.prover = own;
    prove_as(&s, (test_proof){.access_token = thief.token});
    expect(&s, BAD_PROOF);
    prove(&s);
    expect_good(&s);
    end(&thief);
    end(&s);
}
END_TEST

/* P3: a proof is good once; one that came with a bad token, or for a dead session, is not used up. */
START_TEST(proof_is_used_up_by_a_good_token)
{
    story s;
    begin(&s, true);
    expect_good(&s);
    expect(&s, BAD_PROOF);
    prove(&s);
    s.f->policy.consent = OTOK_ON;
    test_reopen_service(s.f);
    expect(&s, BAD_TOKEN(OTOK_E_CONSENT));
    test_assert_code(OTOK_OK, otok_consent_put(s.f->service, "alice", "phone", "openid offline_access profile", NULL));
    expect_good(&s);
    expect(&s, BAD_PROOF);
    end(&s);
}
END_TEST

/* P3: what was used at a resource is not good at another endpoint of the same URI, and the other way round. */
START_TEST(proofs_are_remembered_over_endpoints)
{
    otok_grant grant = test_grant(NULL, NULL, NULL);
    grant.binding = OTOK_BINDING_JKT;
    story s;
    begin_grant(&s, &grant, true, NULL);
    s.request.method = "POST";
    s.request.uri = TEST_TOKEN_URI;
    prove_as(&s, (test_proof){.method = "POST", .uri = TEST_TOKEN_URI});
    expect_good(&s);
    otok_tokens *tokens = NULL;
    const otok_peer peer = test_peer(s.prover.jkt, NULL, NULL, NULL);
    grant.peer = &peer;
    test_assert_code(OTOK_OK, otok_issue(s.f->service, &grant, &tokens, NULL));
    otok_http_request refresh = test_post_refresh(tokens->offline_token);
    test_with_proof(&refresh, TEST_TOKEN_URI, (const char *const *)&s.proof);
    test_expect_outcome(s.f, otok_endpoint_token, &refresh,
                        (test_outcome){400, "invalid_dpop_proof", OTOK_E_DPOP_PROOF});
    otok_tokens_free(tokens);
    end(&s);
}
END_TEST

/* P3: RFC 9449 section 9: use_dpop_nonce with a nonce, and that is good. */
START_TEST(nonce_is_demanded_and_given)
{
    char nonce[64];
    story s;
    begin(&s, true);
    s.f->policy.dpop_nonce = OTOK_ON;
    test_reopen_service(s.f);
    prove(&s);
    otok_http_response *refusal = refused(&s);
    ck_assert_int_eq(refusal->status, 401);
    ck_assert_int_eq(refusal->code, OTOK_E_DPOP_NONCE);
    ck_assert_str_eq(test_header(refusal, "WWW-Authenticate"),
                     ALGS ", error=\"use_dpop_nonce\", error_description=\"the DPoP proof needs a nonce of this "
                          "server's\"");
    ck_assert_uint_lt(strlen(test_header(refusal, "DPoP-Nonce")), sizeof nonce);
    (void)snprintf(nonce, sizeof nonce, "%s", test_header(refusal, "DPoP-Nonce"));
    otok_http_response_free(refusal);
    prove_as(&s, (test_proof){.nonce = nonce});
    expect_good(&s);
    prove_as(&s, (test_proof){.nonce = "stale"});
    expect(&s, 401, "use_dpop_nonce", OTOK_E_DPOP_NONCE);
    end(&s);
}
END_TEST

/* The story's token with another member, signed by the same server. */
static void add_claim(story *s, const char *member)
{
    otok_jws *jws;
    otok_buf payload, token;
    const otok_keys *keys = otok_service_now_keys(s->f->service);
    otok_buf_init(&payload, NULL, 0);
    otok_buf_init(&token, NULL, 0);
    test_assert_code(OTOK_OK, otok_jws_parse(s->token, strlen(s->token), &jws, NULL));
    otok_buf_add(&payload, jws->payload_text.data, jws->payload_text.len - 1);
    otok_buf_add_text(&payload, member);
    test_assert_code(OTOK_OK, otok_service_sign(s->f->service, keys, otok_str_of(keys->at_header),
                                                (otok_str){payload.data, payload.len}, &token, NULL));
    otok_string_free(s->token);
    s->token = otok_strndup(token.data, token.len);
    authorize(s, "Bearer", s->token);
    otok_jws_free(jws);
    otok_buf_free(&token);
    otok_buf_free(&payload);
}

/* P3: a later version may bind tokens in another way, which must not pass for none. */
START_TEST(token_bound_to_what_is_not_known_is_refused)
{
    static const char *const members[] = {",\"cnf\":{\"jwk\":{}}}", ",\"cnf\":{}}", ",\"cnf\":\"x\"}",
                                          ",\"cnf\":null}"};
    for (size_t i = 0; i < sizeof members / sizeof members[0]; i++) {
        story s;
        begin(&s, false);
        add_claim(&s, members[i]);
        expect(&s, BAD_TOKEN(OTOK_E_TOKEN_INVALID));
        end(&s);
    }
    story s;
    begin(&s, false);
    add_claim(&s, ",\"tenant\":\"x\"}");
    expect_good(&s);
    end(&s);
}
END_TEST

/* ---------------------------------------------------------------------------------------------------- certificates */

/* P3: RFC 8705 section 3: the certificate of the call is that of the token. */
START_TEST(certificates_are_compared)
{
    static const struct {
        int32_t binding;
        const char *x5t;
        bool good;
    } rows[] = {
        {OTOK_BINDING_X5T_S256, TEST_JKT, true},    {OTOK_BINDING_X5T_S256, TEST_OTHER_JKT, false},
        {OTOK_BINDING_X5T_S256, NULL, false},       {OTOK_BINDING_MTLS, TEST_JKT, true},
        {OTOK_BINDING_MTLS, TEST_OTHER_JKT, false}, {OTOK_BINDING_MTLS, NULL, false},
        {OTOK_BINDING_NONE, TEST_OTHER_JKT, true},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        for (int by_key = 0; by_key < 2; by_key++) {
            otok_grant grant = test_grant(NULL, NULL, NULL);
            grant.binding = rows[i].binding;
            story s;
            begin_grant(&s, &grant, by_key, TEST_JKT);
            s.request.x5t_s256 = rows[i].x5t;
            if (rows[i].good)
                expect_good(&s);
            else
                expect(&s, BAD_TOKEN(OTOK_E_SENDER));
            end(&s);
        }
    }
}
END_TEST

/* ---------------------------------------------------------------------------------------------------- challenges */

/* RFC 6750 section 3, RFC 9449 section 7: each with the error in the challenge of the scheme that came. */
START_TEST(challenge_is_that_of_the_scheme)
{
    story s;
    begin(&s, true);
    authorize(&s, "Bearer", "x");
    expect_challenge(&s, BEARER ", error=\"invalid_token\", error_description=\"the JWT has not three parts\", " ALGS);
    authorize(&s, "DPoP", "x");
    expect_challenge(&s, ALGS ", error=\"invalid_token\", error_description=\"the JWT has not three parts\"");
    s.request.authorization = "Bearer";
    expect_challenge(&s, BEARER ", error=\"invalid_request\", error_description=\"Authorization is not a scheme and a "
                                "token\"");
    end(&s);
}
END_TEST

/* ---------------------------------------------------------------------------------------------------- the host */

/* P2: what the host got wrong is a 500. */
START_TEST(mistakes_of_the_host_are_no_bad_requests)
{
    for (int row = 0; row < 9; row++) {
        story s;
        begin(&s, true);
        static const char *const null[] = {NULL};
        s.request.method = row == 0 ? NULL : s.request.method;
        s.request.uri = row == 1 ? NULL : s.request.uri;
        s.request.x5t_s256 = row == 2 ? "short" : NULL;
        s.request.resource = row == 3 ? null : NULL;
        s.request.resource_count = row == 3 || row == 4;
        s.request.resource_count = row == 5 ? 17 : s.request.resource_count;
        s.request.dpop = row == 6 ? NULL : (row == 7 ? null : s.request.dpop);
        s.scope = row == 8 ? "a\"b" : NULL;
        expect(&s, HOSTS_MISTAKE);
        end(&s);
    }
}
END_TEST

/* B2: no answer where the call itself is wrong. */
START_TEST(wrong_calls_have_no_answer)
{
    story s;
    begin(&s, false);
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
    expect(&s, 401, NULL, OTOK_E_TOKEN_INVALID);
    end(&s);
}
END_TEST

/* V6: a call writes nothing. */
START_TEST(nothing_is_written)
{
    story s;
    begin(&s, true);
    uint64_t before = test_store_state(s.f->store);
    expect_good(&s);
    expect(&s, BAD_PROOF);
    ck_assert_uint_eq(test_store_state(s.f->store), before);
    end(&s);
}
END_TEST

static void add_tests(TCase *tcase)
{
    tcase_add_test(tcase, good_tokens_are_accepted);
    tcase_add_test(tcase, method_is_the_calls_own);
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
    tcase_add_test(tcase, scheme_is_that_of_the_token);
    tcase_add_test(tcase, bad_proofs_are_refused);
    tcase_add_test(tcase, proof_is_by_the_key_of_the_token_and_for_it);
    tcase_add_test(tcase, proof_is_used_up_by_a_good_token);
    tcase_add_test(tcase, proofs_are_remembered_over_endpoints);
    tcase_add_test(tcase, nonce_is_demanded_and_given);
    tcase_add_test(tcase, token_bound_to_what_is_not_known_is_refused);
    tcase_add_test(tcase, certificates_are_compared);
    tcase_add_test(tcase, challenge_is_that_of_the_scheme);
    tcase_add_test(tcase, mistakes_of_the_host_are_no_bad_requests);
    tcase_add_test(tcase, wrong_calls_have_no_answer);
    tcase_add_test(tcase, nothing_is_written);
}

int main(void)
{
    return test_main("endpoint_resource", add_tests);
}
