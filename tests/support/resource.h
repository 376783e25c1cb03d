/*
 * resource.h - calls of a protected resource, and what came of them, in a line.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef TEST_RESOURCE_H
#define TEST_RESOURCE_H

#include "support/endpoint.h"

#define TEST_USERINFO_URI "https://id.example.org/userinfo"

/* What a refusal challenges with. */
#define TEST_ALGS   "DPoP algs=\"ES256 EdDSA RS256 PS256\""
#define TEST_BEARER "Bearer realm=\"resource\""

/* What must come of a call: status, `error`, code. */
#define TEST_BAD_TOKEN(code) 401, "invalid_token", (code)
#define TEST_BAD_PROOF       401, "invalid_dpop_proof", OTOK_E_DPOP_PROOF
#define TEST_BAD_REQUEST     400, "invalid_request", OTOK_E_INVALID
#define TEST_HOSTS_MISTAKE   500, "server_error", OTOK_E_STATE

/* A call of GET UserInfo by "phone" for "alice": by a token that is bound to the prover's key, or not. */
typedef struct test_call {
    test_fixture *f;
    test_prover prover;
    char *token, *authorization, *proof;
    char session_id[OTOK_SESSION_ID_CHARS + 1];
    const char *scope; /* what is demanded; NULL: nothing */
    otok_http_request request;
} test_call;

/* A good call; `x5t`: of the certificate that came with the grant, NULL for none.  A fixture of its own, over memory. */
void test_call_begin(test_call *s, bool by_key);
void test_call_begin_grant(test_call *s, otok_grant *grant, bool by_key, const char *x5t);
void test_call_end(test_call *s);

/* Puts a token into it; a proof: a good one, or one that is good but for what the fields say (`iat_us` counts from now). */
void test_call_authorize(test_call *s, const char *scheme, const char *token);
void test_call_prove(test_call *s);
void test_call_prove_as(test_call *s, test_proof proof);

/* Aborts unless it is accepted; what is known of its token is freed with otok_introspection_free(). */
otok_introspection *test_call_accept(test_call *s);
void test_call_is_good(test_call *s);

/* Aborts unless it is refused: the whole answer, freed with otok_http_response_free(). */
otok_http_response *test_call_refused(test_call *s);

/* Aborts unless it is refused with that; a challenge says the same, where there is one.  `error` NULL: none is said. */
void test_call_expect(test_call *s, int32_t status, const char *error, int32_t code);

/* Aborts unless it is refused with that value of WWW-Authenticate. */
void test_call_is_challenged(test_call *s, const char *challenge);

#endif
