/*
 * resource.c - see resource.h.
 *
 * SPDX-License-Identifier: MIT
 */
#include "support/resource.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "support/claims.h"

void test_call_authorize(test_call *s, const char *scheme, const char *token)
{
    size_t size = strlen(scheme) + strlen(token) + 2;
    free(s->authorization);
    s->authorization = malloc(size);
    ck_assert_ptr_nonnull(s->authorization);
    (void)snprintf(s->authorization, size, "%s %s", scheme, token);
    s->request.authorization = s->authorization;
}

void test_call_prove_as(test_call *s, test_proof proof)
{
    proof.method = proof.method != NULL ? proof.method : "GET";
    proof.uri = proof.uri != NULL ? proof.uri : TEST_USERINFO_URI;
    proof.iat_us = s->f->now_us + proof.iat_us;
    proof.access_token = proof.ath != NULL || proof.access_token != NULL ? proof.access_token : s->token;
    otok_string_free(s->proof);
    s->proof = test_prove_call(&s->prover, &proof);
    s->request.dpop = (const char *const *)&s->proof;
    s->request.dpop_count = 1;
}

void test_call_prove(test_call *s)
{
    test_call_prove_as(s, (test_proof){0});
}

void test_call_begin_grant(test_call *s, otok_grant *grant, bool by_key, const char *x5t)
{
    *s = (test_call){.f = test_open(TEST_MEMORY), .prover = test_prover_new(OTOK_ALG_ES256)};
    const otok_peer peer = test_peer(by_key ? s->prover.jkt : NULL, x5t, NULL, NULL);
    grant->peer = &peer;
    const otok_tokens *tokens = test_granted(s->f, grant);
    s->token = otok_strdup(tokens->access_token);
    memcpy(s->session_id, tokens->session_id, sizeof s->session_id);
    otok_http_request_init(&s->request, sizeof s->request);
    s->request.method = "GET";
    s->request.uri = TEST_USERINFO_URI;
    test_call_authorize(s, by_key ? "DPoP" : "Bearer", s->token);
    if (by_key)
        test_call_prove(s);
}

void test_call_begin(test_call *s, bool by_key)
{
    otok_grant grant = test_grant(NULL, NULL, NULL);
    grant.binding = by_key ? OTOK_BINDING_JKT : OTOK_BINDING_NONE;
    test_call_begin_grant(s, &grant, by_key, NULL);
}

void test_call_end(test_call *s)
{
    otok_string_free(s->proof);
    otok_string_free(s->token);
    free(s->authorization);
    test_prover_free(&s->prover);
    test_end(s->f);
}

/* ---------------------------------------------------------------------------------------------------- what comes of it */

static const char no_text[] = "";

otok_introspection *test_call_accept(test_call *s)
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

void test_call_is_good(test_call *s)
{
    otok_introspection *found = test_call_accept(s);
    ck_assert_str_eq(found->session_id, s->session_id);
    ck_assert_str_eq(found->subject, "alice");
    ck_assert_str_eq(found->client_id, "phone");
    otok_introspection_free(found);
}

otok_http_response *test_call_refused(test_call *s)
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

void test_call_expect(test_call *s, int32_t status, const char *error, int32_t code)
{
    otok_http_response *refusal = test_call_refused(s);
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

void test_call_is_challenged(test_call *s, const char *challenge)
{
    otok_http_response *refusal = test_call_refused(s);
    ck_assert_str_eq(test_header(refusal, "WWW-Authenticate"), challenge);
    otok_http_response_free(refusal);
}
