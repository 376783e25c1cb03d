/*
 * check_endpoint_resource_dpop.c - calls of protected resources with bound tokens: by a proof of their key (RFC 9449 section 7), or their
 * certificate (RFC 8705 section 3) (P3).
 *
 * SPDX-License-Identifier: MIT
 */
#include "support/resource.h"

#include <stdio.h>
#include <string.h>

/* ---------------------------------------------------------------------------------------------------- DPoP */

/* P3: RFC 9449 section 7.2: a bound token is no bearer token, and a bearer token is no bound one. */
START_TEST(scheme_is_that_of_the_token)
{
    test_call bound;
    test_call_begin(&bound, true);
    test_call plain;
    test_call_begin(&plain, false);
    test_call_authorize(&bound, "Bearer", bound.token);
    test_call_expect(&bound, TEST_BAD_TOKEN(OTOK_E_TOKEN_INVALID)); /* with a good proof beside it */
    bound.request.dpop_count = 0;
    test_call_expect(&bound, TEST_BAD_TOKEN(OTOK_E_TOKEN_INVALID));
    test_call_authorize(&plain, "DPoP", plain.token);
    test_call_expect(&plain, TEST_BAD_TOKEN(OTOK_E_TOKEN_INVALID));
    test_call_prove(&plain);
    test_call_expect(&plain, TEST_BAD_TOKEN(OTOK_E_TOKEN_INVALID));
    test_call_end(&plain);
    test_call_end(&bound);
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
    test_call s;
    test_call_begin(&s, true);
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        test_call_prove_as(&s, rows[i].proof);
        test_call_expect(&s, TEST_BAD_PROOF);
    }
    char *const plain =
        test_prove(&s.prover, TEST_USERINFO_URI, s.f->now_us, NULL); /* no ath, as for the token endpoint */
    const char *const without[] = {plain}, *const two[] = {s.proof, s.proof}, *const none[] = {""};
    s.request.dpop = without;
    s.request.method = "POST";
    test_call_expect(&s, TEST_BAD_PROOF);
    s.request.method = "GET";
    s.request.dpop = two;
    s.request.dpop_count = 2;
    test_call_expect(&s, TEST_BAD_PROOF);
    s.request.dpop = none;
    s.request.dpop_count = 1;
    test_call_expect(&s, TEST_BAD_PROOF);
    s.request.dpop_count = 0;
    test_call_expect(&s, TEST_BAD_PROOF);
    test_call_prove(&s);
    test_call_is_good(&s);
    otok_string_free(plain);
    test_call_end(&s);
}
END_TEST

/* P3: a stolen token and a key of one's own; and the proof of another token of the same key. */
START_TEST(proof_is_by_the_key_of_the_token_and_for_it)
{
    test_call s;
    test_call_begin(&s, true);
    test_call thief;
    test_call_begin(&thief, true);
    test_prover own = s.prover;
    s.prover = thief.prover;
    test_call_prove(&s);
    test_call_expect(&s, TEST_BAD_TOKEN(OTOK_E_SENDER)); /* RFC 9449 section 7.1 */
    s.prover = own;
    test_call_prove_as(&s, (test_proof){.access_token = thief.token});
    test_call_expect(&s, TEST_BAD_PROOF);
    test_call_prove(&s);
    test_call_is_good(&s);
    test_call_end(&thief);
    test_call_end(&s);
}
END_TEST

/* P3: a proof is good once; one that came with a bad token, or for a dead session, is not used up. */
START_TEST(proof_is_used_up_by_a_good_token)
{
    test_call s;
    test_call_begin(&s, true);
    test_call_is_good(&s);
    test_call_expect(&s, TEST_BAD_PROOF);
    test_call_prove(&s);
    s.f->policy.consent = OTOK_ON;
    test_reopen_service(s.f);
    test_call_expect(&s, TEST_BAD_TOKEN(OTOK_E_CONSENT));
    test_assert_code(OTOK_OK, otok_consent_put(s.f->service, "alice", "phone", "openid offline_access profile", NULL));
    test_call_is_good(&s);
    test_call_expect(&s, TEST_BAD_PROOF);
    test_call_end(&s);
}
END_TEST

/* P3: what was used at a resource is not good at another endpoint of the same URI, and the other way round. */
START_TEST(proofs_are_remembered_over_endpoints)
{
    otok_grant grant = test_grant(NULL, NULL, NULL);
    grant.binding = OTOK_BINDING_JKT;
    test_call s;
    test_call_begin_grant(&s, &grant, true, NULL);
    s.request.method = "POST";
    s.request.uri = TEST_TOKEN_URI;
    test_call_prove_as(&s, (test_proof){.method = "POST", .uri = TEST_TOKEN_URI});
    test_call_is_good(&s);
    otok_tokens *tokens = NULL;
    const otok_peer peer = test_peer(s.prover.jkt, NULL, NULL, NULL);
    grant.peer = &peer;
    test_assert_code(OTOK_OK, otok_issue(s.f->service, &grant, &tokens, NULL));
    otok_http_request refresh = test_post_refresh(tokens->offline_token);
    test_with_proof(&refresh, TEST_TOKEN_URI, (const char *const *)&s.proof);
    test_expect_outcome(s.f, otok_endpoint_token, &refresh,
                        (test_outcome){400, "invalid_dpop_proof", OTOK_E_DPOP_PROOF});
    otok_tokens_free(tokens);
    test_call_end(&s);
}
END_TEST

/* P3: RFC 9449 section 9: use_dpop_nonce with a nonce, and that is good. */
START_TEST(nonce_is_demanded_and_given)
{
    char nonce[64];
    test_call s;
    test_call_begin(&s, true);
    s.f->policy.dpop_nonce = OTOK_ON;
    test_reopen_service(s.f);
    test_call_prove(&s);
    otok_http_response *refusal = test_call_refused(&s);
    ck_assert_int_eq(refusal->status, 401);
    ck_assert_int_eq(refusal->code, OTOK_E_DPOP_NONCE);
    ck_assert_str_eq(test_header(refusal, "WWW-Authenticate"),
                     TEST_ALGS ", error=\"use_dpop_nonce\", error_description=\"the DPoP proof needs a nonce of this "
                               "server's\"");
    ck_assert_uint_lt(strlen(test_header(refusal, "DPoP-Nonce")), sizeof nonce);
    (void)snprintf(nonce, sizeof nonce, "%s", test_header(refusal, "DPoP-Nonce"));
    otok_http_response_free(refusal);
    test_call_prove_as(&s, (test_proof){.nonce = nonce});
    test_call_is_good(&s);
    test_call_prove_as(&s, (test_proof){.nonce = "stale"});
    test_call_expect(&s, 401, "use_dpop_nonce", OTOK_E_DPOP_NONCE);
    test_call_end(&s);
}
END_TEST

/* The story's token with another member, signed by the same server. */
static void add_claim(test_call *s, const char *member)
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
    test_call_authorize(s, "Bearer", s->token);
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
        test_call s;
        test_call_begin(&s, false);
        add_claim(&s, members[i]);
        test_call_expect(&s, TEST_BAD_TOKEN(OTOK_E_TOKEN_INVALID));
        test_call_end(&s);
    }
    test_call s;
    test_call_begin(&s, false);
    add_claim(&s, ",\"tenant\":\"x\"}");
    test_call_is_good(&s);
    test_call_end(&s);
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
            test_call s;
            test_call_begin_grant(&s, &grant, by_key, TEST_JKT);
            s.request.x5t_s256 = rows[i].x5t;
            if (rows[i].good)
                test_call_is_good(&s);
            else
                test_call_expect(&s, TEST_BAD_TOKEN(OTOK_E_SENDER));
            test_call_end(&s);
        }
    }
}
END_TEST

static void add_tests(TCase *tcase)
{
    tcase_add_test(tcase, scheme_is_that_of_the_token);
    tcase_add_test(tcase, bad_proofs_are_refused);
    tcase_add_test(tcase, proof_is_by_the_key_of_the_token_and_for_it);
    tcase_add_test(tcase, proof_is_used_up_by_a_good_token);
    tcase_add_test(tcase, proofs_are_remembered_over_endpoints);
    tcase_add_test(tcase, nonce_is_demanded_and_given);
    tcase_add_test(tcase, token_bound_to_what_is_not_known_is_refused);
    tcase_add_test(tcase, certificates_are_compared);
}

int main(void)
{
    return test_main("endpoint_resource_dpop", add_tests);
}
