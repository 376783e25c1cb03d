/*
 * endpoint.c - see endpoint.h.
 *
 * SPDX-License-Identifier: MIT
 */
#include "support/endpoint.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "support/claims.h"

enum { FORMS = 8, FORM_ROOM = 16384 };

const char *test_form(const char *format, ...)
{
    static _Thread_local char forms[FORMS][FORM_ROOM];
    static _Thread_local size_t at;
    va_list args;
    char *form = forms[at++ % FORMS];
    va_start(args, format);
    int len = vsnprintf(form, FORM_ROOM, format, args);
    va_end(args);
    ck_assert(len >= 0 && len < FORM_ROOM);
    return form;
}

/* ---------------------------------------------------------------------------------------------------- the request */

otok_http_request test_post_as(const char *client_id, const char *form)
{
    otok_http_request request;
    otok_http_request_init(&request, sizeof request);
    request.method = "POST";
    request.content_type = "application/x-www-form-urlencoded";
    request.body = form;
    request.body_len = strlen(form);
    request.client_id = client_id;
    request.client_type = client_id != NULL ? OTOK_CLIENT_CONFIDENTIAL : OTOK_CLIENT_PUBLIC;
    return request;
}

otok_http_request test_post(const char *form)
{
    return test_post_as(NULL, form);
}

otok_http_request test_post_refresh(const char *token)
{
    return test_post(test_form("grant_type=refresh_token&client_id=phone&refresh_token=%s", token));
}

/* ---------------------------------------------------------------------------------------------------- the answer */

const char *test_header(const otok_http_response *response, const char *name)
{
    for (size_t i = 0; i < response->header_count; i++) {
        if (strcmp(response->headers[i].name, name) == 0)
            return response->headers[i].value;
    }
    return NULL;
}

/* P2: what holds for every answer, good or bad. */
static void check_form(const otok_http_response *response)
{
    const char *type = test_header(response, "Content-Type"), *cache = test_header(response, "Cache-Control");
    ck_assert(type != NULL && strncmp(type, "application/json", strlen("application/json")) == 0);
    ck_assert(cache != NULL && strcmp(cache, "no-store") == 0);
    ck_assert_uint_eq(strlen(response->body), response->body_len);
    cJSON *json = test_json(response->body);
    test_expect_nothing_empty(json);
    cJSON_Delete(json);
    ck_assert_int_eq(response->status == 200, response->code == OTOK_OK);
    ck_assert_int_eq(response->code == OTOK_OK, response->message == NULL);
    ck_assert(response->message == NULL || strstr(response->message, "otok_") == NULL);
}

otok_http_response *test_ask_endpoint(test_fixture *f, test_endpoint endpoint, const otok_http_request *request)
{
    otok_http_response *response = NULL;
    otok_error err = {0};
    test_assert_code(OTOK_OK, endpoint(f->service, request, &response, &err));
    ck_assert_ptr_nonnull(response);
    check_form(response);
    return response;
}

static void check_headers(const otok_http_response *response)
{
    const char *retry = test_header(response, "Retry-After");
    ck_assert_int_eq(response->status == 503, retry != NULL);
    ck_assert(retry == NULL || (atoi(retry) > 0 && atoi(retry) <= 5)); /* R8: below half of the retry window */
    ck_assert_int_eq(response->status == 401, test_header(response, "WWW-Authenticate") != NULL);
    ck_assert_int_eq(response->status == 405, test_header(response, "Allow") != NULL);
    ck_assert(response->code != OTOK_E_DPOP_NONCE || test_header(response, "DPoP-Nonce") != NULL);
}

void test_expect_outcome(test_fixture *f, test_endpoint endpoint, const otok_http_request *request,
                         test_outcome expected)
{
    otok_http_response *response = test_ask_endpoint(f, endpoint, request);
    ck_assert_msg(response->status == expected.status && response->code == expected.code,
                  "expected %d %s, got %d %s (%s)", expected.status, otok_error_name(expected.code), response->status,
                  otok_error_name(response->code), response->message != NULL ? response->message : "");
    check_headers(response);
    cJSON *json = test_json(response->body);
    test_expect_text(json, "error", expected.error);
    cJSON_Delete(json);
    otok_http_response_free(response);
}

cJSON *test_answer(test_fixture *f, test_endpoint endpoint, const otok_http_request *request)
{
    otok_http_response *response = test_ask_endpoint(f, endpoint, request);
    ck_assert_msg(response->status == 200, "%d %s", response->status, response->body);
    cJSON *json = test_json(response->body);
    otok_http_response_free(response);
    return json;
}

void test_refresh_over(test_fixture *f, const otok_http_request *request, char next[OTOK_TOKEN_CHARS + 1])
{
    cJSON *json = test_answer(f, otok_endpoint_token, request);
    const cJSON *token = cJSON_GetObjectItemCaseSensitive(json, "refresh_token");
    ck_assert(cJSON_IsString(token) && strlen(token->valuestring) == OTOK_TOKEN_CHARS);
    memcpy(next, token->valuestring, OTOK_TOKEN_CHARS + 1);
    cJSON_Delete(json);
}

/* ---------------------------------------------------------------------------------------------------- DPoP */

test_prover test_prover_new(int32_t algorithm)
{
    test_prover prover = {0};
    test_assert_code(OTOK_OK, otok_pkey_generate(algorithm, &prover.key, NULL));
    test_assert_code(OTOK_OK, otok_pkey_thumbprint(prover.key, prover.jkt, NULL));
    return prover;
}

void test_prover_free(test_prover *prover)
{
    otok_pkey_free(prover->key);
    prover->key = NULL;
}

static void add_header(otok_buf *json, const test_prover *prover)
{
    otok_json_begin(json);
    otok_json_add_text(json, "typ", "dpop+jwt");
    otok_json_add_text(json, "alg", otok_algorithm_name(otok_pkey_algorithm(prover->key)));
    otok_json_add_name(json, "jwk");
    otok_json_begin(json);
    test_assert_code(OTOK_OK, otok_jwk_add_pkey(json, prover->key, false, NULL));
    otok_json_end(json);
    otok_json_end(json);
}

static void add_ath(otok_buf *json, const test_proof *proof)
{
    uint8_t digest[OTOK_SHA256_SIZE];
    char ath[64] = "";
    const otok_str token = otok_str_of(proof->access_token);
    test_assert_code(OTOK_OK, otok_sha256(&token, 1, digest, NULL));
    otok_base64url(digest, sizeof digest, ath);
    if (proof->ath != NULL || proof->access_token != NULL)
        otok_json_add_text(json, "ath", proof->ath != NULL ? proof->ath : ath);
}

static void add_claims(otok_buf *json, const test_proof *proof)
{
    uint8_t random[16];
    char jti[32] = "";
    test_assert_code(OTOK_OK, otok_random(random, sizeof random, NULL));
    otok_base64url(random, sizeof random, jti);
    otok_json_begin(json);
    otok_json_add_text(json, "jti", jti);
    otok_json_add_text(json, "htm", proof->method != NULL ? proof->method : "POST");
    otok_json_add_text(json, "htu", proof->uri);
    otok_json_add_integer(json, "iat", proof->iat_us / OTOK_US_PER_S);
    add_ath(json, proof);
    if (proof->nonce != NULL)
        otok_json_add_text(json, "nonce", proof->nonce);
    otok_json_end(json);
}

char *test_prove_call(const test_prover *prover, const test_proof *proof)
{
    otok_buf header, claims, jws;
    otok_buf_init(&header, NULL, 0);
    otok_buf_init(&claims, NULL, 0);
    otok_buf_init(&jws, NULL, 0);
    add_header(&header, prover);
    add_claims(&claims, proof);
    test_assert_code(OTOK_OK, otok_jws_sign_pkey(prover->key, (otok_str){header.data, header.len},
                                                 (otok_str){claims.data, claims.len}, &jws, NULL));
    char *text = otok_strndup(jws.data, jws.len);
    ck_assert_ptr_nonnull(text);
    otok_buf_free(&jws);
    otok_buf_free(&claims);
    otok_buf_free(&header);
    return text;
}

char *test_prove(const test_prover *prover, const char *uri, int64_t now_us, const char *nonce)
{
    const test_proof proof = {.uri = uri, .iat_us = now_us, .nonce = nonce};
    return test_prove_call(prover, &proof);
}

void test_with_proof(otok_http_request *request, const char *uri, const char *const *proof)
{
    request->uri = uri;
    request->dpop = proof;
    request->dpop_count = 1;
}
