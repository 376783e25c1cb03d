/*
 * check_endpoint_token_dpop.c - proofs of possession at the token endpoint: DPoP (RFC 9449 sections 5 and 8) and certificates
 * (RFC 8705) (P3).
 *
 * SPDX-License-Identifier: MIT
 */
#include "support/endpoint.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "support/claims.h"
#include "support/legacy.h"
#include "support/records.h"
#include "support/watch.h"

/* A client with a key, and a session of its that is bound. */
typedef struct story {
    test_fixture *f;
    test_prover prover;
    char token[OTOK_TOKEN_CHARS + 1];
    char *proof;
} story;

static story begin(int32_t algorithm, int32_t client_type, int32_t binding)
{
    story s = {.f = test_open(TEST_MEMORY), .prover = test_prover_new(algorithm)};
    otok_peer peer = test_peer(s.prover.jkt, TEST_JKT, NULL, NULL);
    otok_grant grant = test_grant(NULL, NULL, NULL);
    grant.client_type = client_type;
    grant.binding = binding;
    grant.peer = &peer;
    memcpy(s.token, test_granted(s.f, &grant)->offline_token, sizeof s.token);
    test_advance_s(s.f, 120);
    return s;
}

static void end(story *s)
{
    otok_string_free(s->proof);
    test_prover_free(&s->prover);
    test_end(s->f);
}

/* A refresh with a new proof of that key; the request points into the story. */
static otok_http_request prove_by(story *s, const test_prover *prover, const char *nonce)
{
    otok_http_request request = test_post_refresh(s->token);
    otok_string_free(s->proof);
    s->proof = test_prove(prover, TEST_TOKEN_URI, s->f->now_us, nonce);
    test_with_proof(&request, TEST_TOKEN_URI, (const char *const *)&s->proof);
    return request;
}

static otok_http_request prove(story *s, const char *nonce)
{
    return prove_by(s, &s->prover, nonce);
}

static void as_confidential(otok_http_request *request)
{
    request->client_id = "phone";
    request->client_type = OTOK_CLIENT_CONFIDENTIAL;
}

static void expect(story *s, const otok_http_request *request, int32_t status, const char *error, int32_t code)
{
    test_expect_outcome(s->f, otok_endpoint_token, request, (test_outcome){status, error, code});
}

/* Refused with that, and nothing is written; then its own proof is good (R2). */
static void expect_unconsumed(story *s, const otok_http_request *request, const char *error, int32_t code)
{
    uint64_t before = test_store_state(s->f->store);
    expect(s, request, 400, error, code);
    ck_assert_uint_eq(test_store_state(s->f->store), before);
    otok_http_request good = prove(s, NULL);
    expect(s, &good, 200, NULL, OTOK_OK);
}

#define BAD_PROOF "invalid_dpop_proof", OTOK_E_DPOP_PROOF

/* ---------------------------------------------------------------------------------------------------- what is answered */

/* The `cnf` of the access token in an answer, freed with cJSON_Delete(). */
static cJSON *confirmation(const test_fixture *f, const cJSON *answer)
{
    const char *token = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(answer, "access_token"));
    cJSON *claims = test_jwt_claims(f, token);
    cJSON *cnf = cJSON_DetachItemFromObjectCaseSensitive(claims, "cnf");
    cJSON_Delete(claims);
    return cnf;
}

/* P3: RFC 9449 section 5, for keys of every algorithm; a public client's session is bound to its key. */
START_TEST(bound_session_is_refreshed_with_its_key)
{
    story s = begin(_i, OTOK_CLIENT_PUBLIC, OTOK_BINDING_JKT);
    otok_http_request request = prove(&s, NULL);
    cJSON *json = test_answer(s.f, otok_endpoint_token, &request);
    test_expect_text(json, "token_type", "DPoP");
    cJSON *cnf = confirmation(s.f, json);
    test_expect_text(cnf, "jkt", s.prover.jkt);
    cJSON_Delete(cnf);
    cJSON_Delete(json);
    end(&s);
}
END_TEST

/* P3: a confidential client's access token is bound to the key of the moment, its session to none. */
START_TEST(confidential_client_may_change_keys)
{
    story s = begin(OTOK_ALG_ES256, OTOK_CLIENT_CONFIDENTIAL, OTOK_BINDING_DPOP);
    test_prover other = test_prover_new(OTOK_ALG_ES256);
    const test_prover *const provers[] = {&s.prover, &other};
    for (size_t i = 0; i < 2; i++) {
        otok_http_request request = prove_by(&s, provers[i], NULL);
        as_confidential(&request);
        cJSON *json = test_answer(s.f, otok_endpoint_token, &request), *cnf = confirmation(s.f, json);
        test_expect_text(cnf, "jkt", provers[i]->jkt);
        cJSON_Delete(cnf);
        cJSON_Delete(json);
    }
    otok_http_request request = test_post_refresh(s.token);
    as_confidential(&request);
    expect(&s, &request, 400, BAD_PROOF);
    test_prover_free(&other);
    end(&s);
}
END_TEST

/* P3: what is proven without need binds the access token; a refresh token that stays as it is stays unbound, too. */
START_TEST(unbound_session_may_come_with_a_proof)
{
    story s = begin(OTOK_ALG_EDDSA, OTOK_CLIENT_PUBLIC, OTOK_BINDING_NONE);
    s.f->policy.rotation = OTOK_ROTATION_NEVER;
    test_reopen_service(s.f);
    otok_http_request request = prove(&s, NULL);
    cJSON *json = test_answer(s.f, otok_endpoint_token, &request);
    test_expect_text(json, "token_type", "DPoP");
    cJSON_Delete(json);
    request = test_post_refresh(s.token);
    json = test_answer(s.f, otok_endpoint_token, &request);
    test_expect_text(json, "token_type", "Bearer");
    cJSON_Delete(json);
    end(&s);
}
END_TEST

/* P3 R2 R6: RFC 9449 section 5: the next refresh token of a public client is bound to the key with which it was asked for. */
START_TEST(rotation_binds_a_public_client_to_its_key)
{
    story s = begin(OTOK_ALG_ES256, OTOK_CLIENT_PUBLIC, OTOK_BINDING_NONE);
    test_prover other = test_prover_new(OTOK_ALG_ES256);
    char next[OTOK_TOKEN_CHARS + 1], again[OTOK_TOKEN_CHARS + 1];
    otok_http_request request = prove(&s, NULL);
    test_refresh_over(s.f, &request, next);
    ck_assert_str_ne(next, s.token);
    request = test_post_refresh(s.token); /* a retry */
    expect(&s, &request, 400, BAD_PROOF);
    request = prove_by(&s, &other, NULL);
    expect(&s, &request, 400, "invalid_grant", OTOK_E_SENDER);
    request = prove(&s, NULL);
    test_refresh_over(s.f, &request, again);
    ck_assert_str_eq(again, next);
    memcpy(s.token, next, sizeof s.token);
    test_advance_s(s.f, 120);
    request = test_post_refresh(s.token);
    expect_unconsumed(&s, &request, BAD_PROOF);
    request = prove_by(&s, &other, NULL);
    expect_unconsumed(&s, &request, "invalid_grant", OTOK_E_SENDER);
    test_prover_free(&other);
    end(&s);
}
END_TEST

/* P3: a confidential client's is bound to the client already. */
START_TEST(rotation_binds_no_confidential_client)
{
    story s = begin(OTOK_ALG_ES256, OTOK_CLIENT_CONFIDENTIAL, OTOK_BINDING_NONE);
    s.f->policy.rotation = OTOK_ROTATION_ALWAYS;
    test_reopen_service(s.f);
    otok_http_request request = prove(&s, NULL);
    as_confidential(&request);
    test_refresh_over(s.f, &request, s.token);
    test_advance_s(s.f, 120);
    request = test_post_refresh(s.token);
    as_confidential(&request);
    expect(&s, &request, 200, NULL, OTOK_OK);
    end(&s);
}
END_TEST

/* P3: RFC 8705. */
START_TEST(certificates_are_compared)
{
    static const struct {
        int32_t binding;
        const char *x5t;
        int32_t status;
    } rows[] = {
        {OTOK_BINDING_X5T_S256, TEST_JKT, 200},   {OTOK_BINDING_X5T_S256, TEST_OTHER_JKT, 400},
        {OTOK_BINDING_X5T_S256, NULL, 400},       {OTOK_BINDING_MTLS, TEST_JKT, 200},
        {OTOK_BINDING_MTLS, TEST_OTHER_JKT, 200}, {OTOK_BINDING_MTLS, NULL, 400},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        story s = begin(OTOK_ALG_EDDSA, OTOK_CLIENT_PUBLIC, rows[i].binding);
        otok_http_request request = test_post_refresh(s.token);
        request.x5t_s256 = rows[i].x5t;
        bool good = rows[i].status == 200;
        expect(&s, &request, rows[i].status, good ? NULL : "invalid_grant", good ? OTOK_OK : OTOK_E_SENDER);
        request.x5t_s256 = TEST_JKT;
        expect(&s, &request, 200, NULL, OTOK_OK);
        end(&s);
    }
}
END_TEST

/* ---------------------------------------------------------------------------------------------------- what is refused */

/* P3: bad, missing and doubled proofs; always unconsumed. */
START_TEST(bad_proof_consumes_nothing)
{
    story s = begin(OTOK_ALG_ES256, OTOK_CLIENT_PUBLIC, OTOK_BINDING_JKT);
    otok_http_request request = test_post_refresh(s.token);
    expect_unconsumed(&s, &request, BAD_PROOF); /* missing */
    char *const first = test_prove(&s.prover, TEST_TOKEN_URI, s.f->now_us, NULL);
    char *const second = test_prove(&s.prover, TEST_TOKEN_URI, s.f->now_us, NULL);
    const char *const two[] = {first, second}, *const none[] = {""}, *const junk[] = {"x.y.z"};
    test_with_proof(&request, TEST_TOKEN_URI, two);
    request.dpop_count = 2;
    expect_unconsumed(&s, &request, BAD_PROOF);
    test_with_proof(&request, TEST_TOKEN_URI, none);
    expect_unconsumed(&s, &request, BAD_PROOF);
    test_with_proof(&request, TEST_TOKEN_URI, junk);
    expect_unconsumed(&s, &request, BAD_PROOF);
    test_with_proof(&request, TEST_REVOKE_URI, two); /* for another place */
    expect_unconsumed(&s, &request, BAD_PROOF);
    first[strlen(first) / 2] ^= 1;
    test_with_proof(&request, TEST_TOKEN_URI, two);
    expect_unconsumed(&s, &request, BAD_PROOF);
    otok_string_free(first);
    otok_string_free(second);
    end(&s);
}
END_TEST

/* P3: a proof is for its time. */
START_TEST(old_and_early_proofs_consume_nothing)
{
    static const int64_t off_s[] = {-62, 62};
    story s = begin(OTOK_ALG_ES256, OTOK_CLIENT_PUBLIC, OTOK_BINDING_JKT);
    for (size_t i = 0; i < 2; i++) {
        char *proof = test_prove(&s.prover, TEST_TOKEN_URI, s.f->now_us + off_s[i] * OTOK_US_PER_S, NULL);
        otok_http_request request = test_post_refresh(s.token);
        test_with_proof(&request, TEST_TOKEN_URI, (const char *const *)&proof);
        expect_unconsumed(&s, &request, BAD_PROOF);
        otok_string_free(proof);
    }
    end(&s);
}
END_TEST

/* P3: the same proof again. */
START_TEST(replayed_proof_consumes_nothing)
{
    story s = begin(OTOK_ALG_ES256, OTOK_CLIENT_PUBLIC, OTOK_BINDING_JKT);
    otok_http_request request = prove(&s, NULL);
    expect(&s, &request, 200, NULL, OTOK_OK);
    expect_unconsumed(&s, &request, BAD_PROOF);
    end(&s);
}
END_TEST

/* P3: the memory of proofs is filled for owners only: one that came with another's token, or a forged one, is not used up. */
START_TEST(proof_with_a_bad_token_is_not_used_up)
{
    story s = begin(OTOK_ALG_ES256, OTOK_CLIENT_PUBLIC, OTOK_BINDING_JKT);
    const otok_http_request good = prove(&s, NULL);
    otok_http_request request = good;
    request.body = test_form("grant_type=refresh_token&client_id=tv&refresh_token=%s", s.token);
    request.body_len = strlen(request.body);
    expect(&s, &request, 400, "invalid_grant", OTOK_E_CLIENT_MISMATCH);
    request.body = test_form("grant_type=refresh_token&client_id=phone&refresh_token=%sx", s.token);
    request.body_len = strlen(request.body);
    expect(&s, &request, 400, "invalid_grant", OTOK_E_TOKEN_INVALID);
    expect(&s, &good, 200, NULL, OTOK_OK);
    end(&s);
}
END_TEST

/* P3 R2: another key is invalid_grant, and no reuse. */
START_TEST(wrong_key_consumes_nothing)
{
    story s = begin(OTOK_ALG_ES256, OTOK_CLIENT_PUBLIC, OTOK_BINDING_JKT);
    test_prover thief = test_prover_new(OTOK_ALG_ES256);
    otok_http_request request = prove_by(&s, &thief, NULL);
    expect(&s, &request, 400, "invalid_grant", OTOK_E_SENDER);
    expect_unconsumed(&s, &request, "invalid_grant", OTOK_E_SENDER); /* nor the proof: a stranger's fills no memory */
    ck_assert_uint_eq(test_count_events(s.f, OTOK_EVENT_REUSE), 0);
    test_prover_free(&thief);
    end(&s);
}
END_TEST

/* P3: a policy that now demands a binding refuses sessions without one, whatever they come with. */
START_TEST(policy_demands_a_binding)
{
    story s = begin(OTOK_ALG_ES256, OTOK_CLIENT_PUBLIC, OTOK_BINDING_NONE);
    s.f->policy.sender_constraint = OTOK_ON;
    test_reopen_service(s.f);
    otok_http_request request = test_post_refresh(s.token);
    expect(&s, &request, 400, "invalid_grant", OTOK_E_SENDER);
    s.f->policy.sender_constraint = OTOK_OFF;
    test_reopen_service(s.f);
    expect(&s, &request, 200, NULL, OTOK_OK);
    end(&s);
}
END_TEST

/* A host that does not say which endpoint this is: its own mistake, and not the client's. */
START_TEST(proof_without_uri_is_the_hosts_mistake)
{
    story s = begin(OTOK_ALG_ES256, OTOK_CLIENT_PUBLIC, OTOK_BINDING_JKT);
    otok_http_request request = prove(&s, NULL);
    request.uri = NULL;
    otok_http_response *response = test_ask_endpoint(s.f, otok_endpoint_token, &request);
    ck_assert_int_eq(response->status, 500);
    ck_assert_ptr_nonnull(strstr(response->message, "request.uri"));
    otok_http_response_free(response);
    request.uri = "/token"; /* as many a server hands it over: no proof could be for that */
    expect(&s, &request, 500, "server_error", OTOK_E_STATE);
    request.uri = TEST_TOKEN_URI;
    request.dpop = NULL;
    expect(&s, &request, 500, "server_error", OTOK_E_STATE);
    end(&s);
}
END_TEST

/* ---------------------------------------------------------------------------------------------------- nonces and retries */

static void take_nonce(story *s, const otok_http_request *request, int32_t status, char nonce[64])
{
    otok_http_response *response = test_ask_endpoint(s->f, otok_endpoint_token, request);
    ck_assert_msg(response->status == status, "%d %s", response->status, response->body);
    ck_assert_ptr_nonnull(test_header(response, "DPoP-Nonce"));
    (void)snprintf(nonce, 64, "%s", test_header(response, "DPoP-Nonce"));
    ck_assert_int_eq(response->code, status == 200 ? OTOK_OK : OTOK_E_DPOP_NONCE);
    otok_http_response_free(response);
}

/* P3: RFC 9449 section 8: use_dpop_nonce with a nonce, that nonce, success with the next one; a stale one begins anew. */
START_TEST(nonce_is_demanded_and_given)
{
    char nonce[64], next[64];
    story s = begin(OTOK_ALG_ES256, OTOK_CLIENT_PUBLIC, OTOK_BINDING_JKT);
    s.f->policy.dpop_nonce = OTOK_ON;
    test_reopen_service(s.f);
    uint64_t before = test_store_state(s.f->store);
    otok_http_request request = prove(&s, NULL);
    take_nonce(&s, &request, 400, nonce);
    request = prove(&s, "not-a-nonce");
    take_nonce(&s, &request, 400, nonce);
    ck_assert_uint_eq(test_store_state(s.f->store), before);
    request = prove(&s, nonce);
    take_nonce(&s, &request, 200, next);
    test_advance_s(s.f, 3600);
    request = prove(&s, next);
    take_nonce(&s, &request, 400, next);
    request = prove(&s, next);
    take_nonce(&s, &request, 200, next);
    end(&s);
}
END_TEST

/* P3: a nonce that nobody asked for, and that is stale, comes back with one that is not. */
START_TEST(stale_nonce_without_need_is_answered_with_a_fresh_one)
{
    char nonce[64];
    story s = begin(OTOK_ALG_ES256, OTOK_CLIENT_PUBLIC, OTOK_BINDING_JKT);
    otok_http_request request = prove(&s, NULL);
    otok_http_response *response = test_ask_endpoint(s.f, otok_endpoint_token, &request);
    ck_assert_ptr_null(test_header(response, "DPoP-Nonce"));
    otok_http_response_free(response);
    request = prove(&s, "stale");
    take_nonce(&s, &request, 400, nonce);
    request = prove(&s, nonce);
    take_nonce(&s, &request, 200, nonce);
    end(&s);
}
END_TEST

/* R8 P3: attempts of one request are no replay of its proof; after a 503 the client proves anew. */
START_TEST(lost_race_uses_its_proof_once)
{
    story s = begin(OTOK_ALG_ES256, OTOK_CLIENT_PUBLIC, OTOK_BINDING_JKT);
    test_watch watch;
    test_watch_fixture(&watch, s.f);
    test_watch_fail(&watch, 1, TEST_CALL_COMMIT, OTOK_E_CONFLICT, false);
    test_advance_s(s.f, TEST_DAY_S);
    otok_http_request request = prove(&s, NULL);
    expect(&s, &request, 200, NULL, OTOK_OK);
    ck_assert(watch.reached);
    test_watch_reset(&watch);
    test_watch_fail(&watch, 1, TEST_CALL_COMMIT, OTOK_E_UNCERTAIN, true);
    test_advance_s(s.f, TEST_DAY_S);
    request = prove(&s, NULL);
    expect(&s, &request, 503, "temporarily_unavailable", OTOK_E_UNCERTAIN);
    test_watch_reset(&watch);
    request = prove(&s, NULL);
    expect(&s, &request, 200, NULL, OTOK_OK);
    end(&s);
}
END_TEST

/* P4 P3: a bound token of the system before is adopted with its key. */
START_TEST(bound_token_is_adopted_with_its_key)
{
    test_fixture *f = test_open(TEST_MEMORY);
    char next[OTOK_TOKEN_CHARS + 1];
    test_prover prover = test_prover_new(OTOK_ALG_ES256);
    test_install_legacy(f);
    const test_legacy legacy = {.jkt = prover.jkt};
    const char *token = test_legacy_token(&legacy);
    otok_http_request request = test_post_refresh(token);
    char *proof = test_prove(&prover, TEST_TOKEN_URI, f->now_us, NULL);
    test_with_proof(&request, TEST_TOKEN_URI, (const char *const *)&proof);
    test_refresh_over(f, &request, next);
    test_expect_outcome(f, otok_endpoint_token, &request, (test_outcome){400, BAD_PROOF}); /* again */
    otok_string_free(proof);
    test_prover_free(&prover);
    test_end(f);
}
END_TEST

/* P4 P3: RFC 9449 section 5: what a public client gets for an unbound token of the system before is bound to the key that it proved. */
START_TEST(adoption_binds_a_public_client_to_its_key)
{
    test_fixture *f = test_open(TEST_MEMORY);
    char next[OTOK_TOKEN_CHARS + 1];
    test_prover prover = test_prover_new(OTOK_ALG_ES256);
    test_install_legacy(f);
    f->policy.sender_constraint = OTOK_ON;
    test_reopen_service(f);
    const test_legacy legacy = {0};
    otok_http_request request = test_post_refresh(test_legacy_token(&legacy));
    char *proof = test_prove(&prover, TEST_TOKEN_URI, f->now_us, NULL);
    test_with_proof(&request, TEST_TOKEN_URI, (const char *const *)&proof);
    test_refresh_over(f, &request, next);
    request = test_post_refresh(next);
    test_expect_outcome(f, otok_endpoint_token, &request, (test_outcome){400, BAD_PROOF});
    request = test_post_refresh(test_legacy_token(&legacy)); /* its retry too */
    test_expect_outcome(f, otok_endpoint_token, &request, (test_outcome){400, BAD_PROOF});
    otok_string_free(proof);
    proof = test_prove(&prover, TEST_TOKEN_URI, f->now_us, NULL);
    request = test_post_refresh(next);
    test_with_proof(&request, TEST_TOKEN_URI, (const char *const *)&proof);
    test_expect_outcome(f, otok_endpoint_token, &request, (test_outcome){200, NULL, OTOK_OK});
    otok_string_free(proof);
    test_prover_free(&prover);
    test_end(f);
}
END_TEST

static void add_tests(TCase *tcase)
{
    tcase_add_loop_test(tcase, bound_session_is_refreshed_with_its_key, OTOK_ALG_ES256, OTOK_ALG_PS256 + 1);
    tcase_add_test(tcase, confidential_client_may_change_keys);
    tcase_add_test(tcase, unbound_session_may_come_with_a_proof);
    tcase_add_test(tcase, rotation_binds_a_public_client_to_its_key);
    tcase_add_test(tcase, rotation_binds_no_confidential_client);
    tcase_add_test(tcase, certificates_are_compared);
    tcase_add_test(tcase, bad_proof_consumes_nothing);
    tcase_add_test(tcase, old_and_early_proofs_consume_nothing);
    tcase_add_test(tcase, replayed_proof_consumes_nothing);
    tcase_add_test(tcase, proof_with_a_bad_token_is_not_used_up);
    tcase_add_test(tcase, wrong_key_consumes_nothing);
    tcase_add_test(tcase, policy_demands_a_binding);
    tcase_add_test(tcase, proof_without_uri_is_the_hosts_mistake);
    tcase_add_test(tcase, nonce_is_demanded_and_given);
    tcase_add_test(tcase, stale_nonce_without_need_is_answered_with_a_fresh_one);
    tcase_add_test(tcase, lost_race_uses_its_proof_once);
    tcase_add_test(tcase, bound_token_is_adopted_with_its_key);
    tcase_add_test(tcase, adoption_binds_a_public_client_to_its_key);
}

int main(void)
{
    return test_main("endpoint_token_dpop", add_tests);
}
