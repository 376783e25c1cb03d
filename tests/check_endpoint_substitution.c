/*
 * check_endpoint_substitution.c - tokens in each other's place: what the service's own keys have signed for something else, or for
 * somebody else, is no access token at any endpoint, and does nothing (P1, P3, V1, V6, K1; RFC 8725 sections 2.7 and 2.8).
 *
 * SPDX-License-Identifier: MIT
 */
#include "oauth/oauth.h"
#include "support/resource.h"

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "support/claims.h"
#include "support/crew.h"
#include "support/introspect.h"
#include "support/node.h"

enum { ROOM = 4096 };

/* ---------------------------------------------------------------------------------------------------- made by hand */

/* The payload of a token of ours, with `with` in place of `what`, which must be there; NULL: as it is. */
static void payload_of(const char *token, const char *what, const char *with, char out[ROOM])
{
    otok_jws *jws;
    char text[ROOM];
    test_assert_code(OTOK_OK, otok_jws_parse(token, strlen(token), &jws, NULL));
    (void)snprintf(text, sizeof text, "%.*s", (int)jws->payload_text.len, (const char *)jws->payload_text.data);
    otok_jws_free(jws);
    const char *at = what != NULL ? strstr(text, what) : text;
    ck_assert_msg(at != NULL, "%s is not in %s", what, text);
    int len = snprintf(out, ROOM, "%.*s%s%s", (int)(at - text), text, with != NULL ? with : "",
                       at + (what != NULL ? strlen(what) : 0));
    ck_assert_int_lt(len, ROOM);
}

/* Signed with the service's own key, whatever the header says; freed with otok_string_free(). */
static char *sign_by_hand(const test_fixture *f, const char *header_rest, const char *payload)
{
    char header[512];
    otok_buf jwt;
    const otok_signing_key *key = otok_keyring_signing(f->keyring);
    (void)snprintf(header, sizeof header, header_rest, key->kid);
    otok_buf_init(&jwt, NULL, 0);
    test_assert_code(OTOK_OK, otok_jws_sign_pkey(key->pkey, otok_str_of(header), otok_str_of(payload), &jwt, NULL));
    char *text = otok_strndup(jwt.data, jwt.len);
    otok_buf_free(&jwt);
    return text;
}

#define GOOD_HEADER "{\"alg\":\"ES256\",\"typ\":\"at+jwt\",\"kid\":\"%s\"}"

/* ---------------------------------------------------------------------------------------------------- at every endpoint */

static void revoke_at(test_call *s, const char *token)
{
    otok_http_request request = test_post_as("phone", test_form("token=%s", token));
    cJSON_Delete(test_answer(s->f, otok_endpoint_revoke, &request));
}

/* Good for nothing: refused, not active, revoked without effect, no refresh; and the session lives on. */
static void expect_nothing_of(test_call *s, const char *token, const char *why)
{
    static const char *const schemes[] = {"Bearer", "DPoP"};
    for (size_t i = 0; i < 2; i++) {
        test_call_authorize(s, schemes[i], token);
        test_call_prove_as(s, (test_proof){.access_token = token});
        otok_http_response *refusal = test_call_refused(s);
        ck_assert_msg(refusal->status == 401 && refusal->code == OTOK_E_TOKEN_INVALID, "%s: %d, %s", why,
                      refusal->status, refusal->message);
        otok_http_response_free(refusal);
    }
    otok_introspect_request request = test_introspect_request(token, "phone");
    test_inactive(s->f, &request);
    revoke_at(s, token);
    ck_assert_msg(test_has_session(s->f, s->session_id), "%s", why);
    test_dead(s->f, token, OTOK_E_TOKEN_INVALID);
}

/* P1 V1 K1: the very claims of a good access token, under what another sort of JWT has in its header. */
START_TEST(claims_of_an_access_token_in_another_jwt)
{
    static const char *const typs[] = {"JWT", "logout+jwt", "dpop+jwt", "application/at+jwt", "AT+JWT", "at+jwt+x"};
    static const char *const headers[] = {
        "{\"alg\":\"ES256\",\"kid\":\"%s\"}",
        "{\"alg\":\"ES256\",\"typ\":[\"at+jwt\"],\"kid\":\"%s\"}",
        "{\"alg\":\"ES256\",\"typ\":\"at+jwt\",\"kid\":\"%s\",\"crit\":[\"exp\"],\"exp\":1}",
        "{\"alg\":\"ES256\",\"typ\":\"at+jwt\",\"kid\":\"%s\",\"t\\u0079p\":\"at+jwt\"}",
        "{\"alg\":\"none\",\"typ\":\"at+jwt\",\"kid\":\"%s\"}",
        "{\"alg\":\"PS256\",\"typ\":\"at+jwt\",\"kid\":\"%s\"}",
        "{\"typ\":\"at+jwt\",\"kid\":\"%s\"}",
        "{\"alg\":\"ES256\",\"typ\":\"at+jwt\",\"jku\":\"%s\"}",
        "{\"alg\":\"ES256\",\"typ\":\"at+jwt\",\"kid\":[\"%s\"]}",
        "[\"%s\"]",
    };
    char payload[ROOM], claims[ROOM];
    test_call s;
    test_call_begin(&s, false);
    payload_of(s.token, NULL, NULL, payload);
    payload_of(s.token, "\"iss\":\"" TEST_ISSUER "\",", "", claims);
    for (size_t i = 0; i < sizeof typs / sizeof typs[0]; i++) {
        char *jwt = NULL;
        test_assert_code(OTOK_OK, otok_jwt_sign(s.f->service, typs[i], claims, &jwt, NULL));
        expect_nothing_of(&s, jwt, typs[i]);
        otok_string_free(jwt);
    }
    for (size_t i = 0; i < sizeof headers / sizeof headers[0]; i++) {
        char *jwt = sign_by_hand(s.f, headers[i], payload);
        expect_nothing_of(&s, jwt, headers[i]);
        otok_string_free(jwt);
    }
    char *jwt = sign_by_hand(s.f, GOOD_HEADER, payload); /* it is the header that made the difference */
    test_call_authorize(&s, "Bearer", jwt);
    test_call_is_good(&s);
    otok_string_free(jwt);
    test_call_end(&s);
}
END_TEST

/* P1 V1: claims that are another issuer's, out of date, of no session, or said twice. */
START_TEST(claims_that_are_no_access_tokens)
{
    static const char *const rows[][2] = {
        {TEST_ISSUER "\"", TEST_ISSUER "/\""},
        {"\"iss\":\"" TEST_ISSUER "\"", "\"iss\":[\"" TEST_ISSUER "\"]"},
        {"\"iss\":", "\"iss\":\"https://evil.example.org\",\"\\u0069ss\":"},
        {"\"iss\":", "\"i\\u0000ss\":"},
        {"\"exp\":", "\"exp\":1,\"x\":"},
        {"\"exp\":", "\"exp\":\"never\",\"x\":"},
        {"\"exp\":", "\"exp\":1e300,\"x\":"},
        {"\"exp\":", "\"nbf\":"},
        {"\"jti\":\"", "\"jti\":\"x"},
        {"\"jti\":", "\"jti\":null,\"x\":"},
        {"\"jti\":", "\"jti\":\"AAAAAAAAAAAAAAAAAAAAA!.AAAAAAAAAAAAAAAA\",\"x\":"},
    };
    char payload[ROOM];
    test_call s;
    test_call_begin(&s, false);
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        payload_of(s.token, rows[i][0], rows[i][1], payload);
        char *jwt = sign_by_hand(s.f, GOOD_HEADER, payload);
        expect_nothing_of(&s, jwt, rows[i][1]);
        otok_string_free(jwt);
    }
    test_call_end(&s);
}
END_TEST

/* P1 K6: the same keys and the same issuer, but a realm of its own: to it the token is of no session, and its nonces are stale. */
START_TEST(access_token_of_another_realm)
{
    char nonce[OTOK_NONCE_CHARS + 1];
    test_call s;
    test_call_begin(&s, true);
    test_fixture *home = s.f, *theirs = test_open_node(s.f, "theirs");
    test_assert_code(OTOK_OK, otok_nonce_print(theirs->service, home->now_us, nonce, NULL));
    test_call_prove_as(&s, (test_proof){.nonce = nonce});
    test_call_expect(&s, 401, "use_dpop_nonce", OTOK_E_DPOP_NONCE);
    test_call_prove(&s);
    s.f = theirs;
    test_call_expect(&s, TEST_BAD_TOKEN(OTOK_E_TOKEN_UNKNOWN));
    revoke_at(&s, s.token);
    s.f = home;
    test_call_is_good(&s); /* nor was the proof used up */
    test_close(theirs);
    test_call_end(&s);
}
END_TEST

/* RP-Initiated Logout: of all that a service signs, ID tokens alone are hints. */
START_TEST(only_id_tokens_are_hints)
{
    test_call s;
    test_call_begin(&s, false);
    char *logout = NULL, *claims = NULL;
    test_assert_code(OTOK_OK, otok_jwt_sign(s.f->service, "logout+jwt", "{\"sub\":\"alice\"}", &logout, NULL));
    const char *const rows[] = {logout, s.token, test_began(s.f)->offline_token, "alice"};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        test_assert_code(OTOK_E_TOKEN_INVALID, otok_jwt_verify(s.f->service, rows[i], "JWT", &claims, NULL));
        ck_assert_ptr_null(claims);
    }
    test_assert_code(OTOK_OK, otok_jwt_verify(s.f->service, test_began(s.f)->id_token, "JWT", &claims, NULL));
    otok_string_free(claims);
    otok_string_free(logout);
    test_call_end(&s);
}
END_TEST

/* ---------------------------------------------------------------------------------------------------- one proof, many threads */

enum { THREADS = 8, ROUNDS = 60 };

typedef struct race {
    test_call call;
    char *proofs[ROUNDS];
    atomic_uint served[ROUNDS], replays, others;
} race;

static void use_each(void *arg, size_t i)
{
    race *r = arg;
    (void)i;
    for (size_t n = 0; n < ROUNDS; n++) {
        otok_http_request request = r->call.request;
        otok_introspection *found = NULL;
        otok_http_response *refusal = NULL;
        request.dpop = (const char *const *)&r->proofs[n];
        if (otok_endpoint_resource(r->call.f->service, &request, NULL, &found, &refusal, NULL) != OTOK_OK)
            atomic_fetch_add(&r->others, 1);
        else if (found != NULL)
            atomic_fetch_add(&r->served[n], 1);
        else
            atomic_fetch_add(refusal->code == OTOK_E_DPOP_PROOF ? &r->replays : &r->others, 1);
        otok_introspection_free(found);
        otok_http_response_free(refusal);
    }
}

/* P3: who copies a call with its proof, and is as quick as its owner, is served in his place or not at all. */
START_TEST(of_threads_with_one_proof_one_is_served)
{
    race *r = calloc(1, sizeof *r);
    ck_assert_ptr_nonnull(r);
    test_call_begin(&r->call, true);
    for (size_t n = 0; n < ROUNDS; n++) {
        const test_proof proof = {
            .method = "GET", .uri = TEST_USERINFO_URI, .iat_us = r->call.f->now_us, .access_token = r->call.token};
        r->proofs[n] = test_prove_call(&r->call.prover, &proof);
    }
    test_threads(THREADS, use_each, r);
    for (size_t n = 0; n < ROUNDS; n++) {
        ck_assert_uint_eq(r->served[n], 1);
        otok_string_free(r->proofs[n]);
    }
    ck_assert_uint_eq(r->replays, (THREADS - 1) * ROUNDS);
    ck_assert_uint_eq(r->others, 0);
    test_call_end(&r->call);
    free(r);
}
END_TEST

static void add_tests(TCase *tcase)
{
    tcase_add_test(tcase, claims_of_an_access_token_in_another_jwt);
    tcase_add_test(tcase, claims_that_are_no_access_tokens);
    tcase_add_test(tcase, access_token_of_another_realm);
    tcase_add_test(tcase, only_id_tokens_are_hints);
    tcase_add_test(tcase, of_threads_with_one_proof_one_is_served);
}

int main(void)
{
    return test_main("endpoint_substitution", add_tests);
}
