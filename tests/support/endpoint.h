/*
 * endpoint.h - requests to the endpoints and what came of them, in a line; and clients that make DPoP proofs.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef TEST_ENDPOINT_H
#define TEST_ENDPOINT_H

#include <cjson/cJSON.h>

#include "support/story.h"

#define TEST_TOKEN_URI  "https://id.example.org/token"
#define TEST_REVOKE_URI "https://id.example.org/revoke"

typedef int (*test_endpoint)(otok_service *service, const otok_http_request *request, otok_http_response **out,
                             otok_error *err);

/* A form, in storage of the calling thread that the eighth call after it overwrites. */
const char *test_form(const char *format, ...) __attribute__((__format__(__printf__, 1, 2)));

/* A POST of a form by nobody who has authenticated; of that client, which has; of phone's refresh, with nothing else in it. */
otok_http_request test_post(const char *form);
otok_http_request test_post_as(const char *client_id, const char *form);
otok_http_request test_post_refresh(const char *token);

/*
 * The answer, of which holds what holds for each: JSON without anything empty in it, no-store, no token in the message.  Freed with
 * otok_http_response_free().
 */
otok_http_response *test_ask_endpoint(test_fixture *f, test_endpoint endpoint, const otok_http_request *request);

/* The value of a header, NULL when it is not there. */
const char *test_header(const otok_http_response *response, const char *name);

/* What must come of a request. */
typedef struct test_outcome {
    int32_t status;
    const char *error; /* NULL: none */
    int32_t code;
} test_outcome;

/* Aborts unless it is answered so, with the headers that belong to that status. */
void test_expect_outcome(test_fixture *f, test_endpoint endpoint, const otok_http_request *request,
                         test_outcome expected);

/* The body of an answer 200, freed with cJSON_Delete(). */
cJSON *test_answer(test_fixture *f, test_endpoint endpoint, const otok_http_request *request);

/* Refreshes over the endpoint; aborts unless it is answered.  `next` may be `token`. */
void test_refresh_over(test_fixture *f, const otok_http_request *request, char next[OTOK_TOKEN_CHARS + 1]);

/* ---- DPoP */

/* A client's key. */
typedef struct test_prover {
    otok_pkey *key;
    char jkt[OTOK_KID_CHARS + 1];
} test_prover;

test_prover test_prover_new(int32_t algorithm);
void test_prover_free(test_prover *prover);

/* A proof for a POST there, at that time; `nonce` may be NULL; no two are the same.  Freed with otok_string_free(). */
char *test_prove(const test_prover *prover, const char *uri, int64_t now_us, const char *nonce);

/* The same for any request; the fields may be NULL, but for the URI. */
typedef struct test_proof {
    const char *method; /* default: POST */
    const char *uri;
    int64_t iat_us;
    const char *nonce;
    const char *access_token; /* whose digest is `ath` */
    const char *ath;          /* or this, whatever it is */
} test_proof;

char *test_prove_call(const test_prover *prover, const test_proof *proof);

/* Puts a proof into a request. */
void test_with_proof(otok_http_request *request, const char *uri, const char *const *proof);

#endif
