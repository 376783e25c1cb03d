/*
 * check_oom_endpoint.c - memory runs short while an endpoint answers: 503, or no answer and a code; never invalid_grant, and the retry
 * is answered (P1, P2, R8).
 *
 * SPDX-License-Identifier: MIT
 */
/* link: -Wl,--wrap=otok_malloc,--wrap=otok_calloc,--wrap=otok_realloc */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "support/endpoint.h"
#include "support/oom_allocators.h"

/* The code that an answer came of, or that there was none for.  What looks at it has the memory that it needs. */
static int ask(oom_stage *s, test_endpoint endpoint, const otok_http_request *request)
{
    otok_http_response *response = NULL;
    int code = endpoint(s->f->service, request, &response, &s->err);
    bool armed = oom_suspend();
    ck_assert_int_eq(code == OTOK_OK, response != NULL);
    if (response != NULL) {
        code = response->code;
        ck_assert_msg(response->status == otok_error_http(code), "%s", oom_where());
        s->err = (otok_error){.code = code};
        (void)snprintf(s->err.message, sizeof s->err.message, "%s", response->message != NULL ? response->message : "");
    }
    oom_resume(armed);
    otok_http_response_free(response);
    return code;
}

static int call_token(oom_stage *s)
{
    bool armed = oom_suspend();
    otok_http_request request = test_post_refresh(s->held.token);
    oom_resume(armed);
    return ask(s, otok_endpoint_token, &request);
}

static const test_prover *prover_of_all(void)
{
    static test_prover prover;
    if (prover.key == NULL)
        prover = test_prover_new(OTOK_ALG_ES256);
    return &prover;
}

/* The client makes a proof for each request, with memory of its own. */
static int call_token_with_proof(oom_stage *s)
{
    bool armed = oom_suspend();
    char *proof = test_prove(prover_of_all(), TEST_TOKEN_URI, s->f->now_us, NULL);
    otok_http_request request = test_post_refresh(s->held.token);
    oom_resume(armed);
    test_with_proof(&request, TEST_TOKEN_URI, (const char *const *)&proof);
    int code = ask(s, otok_endpoint_token, &request);
    otok_string_free(proof);
    return code;
}

static int call_revoke(oom_stage *s)
{
    bool armed = oom_suspend();
    otok_http_request request = test_post(test_form("client_id=phone&token=%s", s->held.token));
    oom_resume(armed);
    return ask(s, otok_endpoint_revoke, &request);
}

static int call_introspect(oom_stage *s)
{
    bool armed = oom_suspend();
    otok_http_request request = test_post_as("phone", test_form("token=%s", s->held.token));
    oom_resume(armed);
    return ask(s, otok_endpoint_introspect, &request);
}

/* ---- what the host answers itself */

/* Each call is another grant, which is good for once. */
static void another_grant(oom_stage *s)
{
    otok_filter filter = test_filter("alice", "phone", NULL);
    test_assert_code(OTOK_OK, otok_revoke_matching(s->f->service, &filter, NULL, &s->err));
    test_sweep_out(s->f);
    (void)snprintf(s->name, sizeof s->name, "code-%d", ++s->number);
}

/* The grant that is under test, for what takes an endpoint. */
static otok_grant granted;

static int issue(otok_service *service, const otok_http_request *request, otok_http_response **out, otok_error *err)
{
    return otok_endpoint_issue(service, request, &granted, out, err);
}

static int call_issue(oom_stage *s)
{
    bool armed = oom_suspend();
    granted = test_grant("alice", NULL, NULL);
    granted.once_key = s->name;
    char *proof = test_prove(prover_of_all(), TEST_TOKEN_URI, s->f->now_us, NULL);
    otok_http_request request = test_post("client_id=phone&grant_type=authorization_code&code=x");
    oom_resume(armed);
    test_with_proof(&request, TEST_TOKEN_URI, (const char *const *)&proof);
    int code = ask(s, issue, &request);
    otok_string_free(proof);
    return code;
}

/* One session, whichever attempt was the one that began it: the client's retry is answered with the same (I8). */
static void issued_is_whole(oom_stage *s)
{
    otok_filter filter = test_filter("alice", "phone", NULL);
    ck_assert_uint_eq(test_count(s->f, &filter), 1);
}

static int call_resource(oom_stage *s, const char *scope, const char *scheme, const char *token, const char *proof)
{
    char authorization[8192];
    otok_http_request request;
    otok_http_response *refusal = NULL;
    (void)snprintf(authorization, sizeof authorization, "%s %s", scheme, token);
    otok_http_request_init(&request, sizeof request);
    request.method = "POST";
    request.uri = TEST_TOKEN_URI;
    request.authorization = authorization;
    request.dpop = &proof;
    request.dpop_count = proof != NULL;
    int code = otok_endpoint_resource(s->f->service, &request, scope, &s->introspection, &refusal, &s->err);
    bool armed = oom_suspend();
    ck_assert_int_eq(code == OTOK_OK, (s->introspection != NULL) != (refusal != NULL));
    if (refusal != NULL) {
        code = refusal->code;
        ck_assert_msg(refusal->status == 403 || refusal->status == otok_error_http(code), "%s", oom_where());
        s->err = (otok_error){.code = code};
        (void)snprintf(s->err.message, sizeof s->err.message, "%s", refusal->message);
    }
    oom_resume(armed);
    otok_http_response_free(refusal);
    return code;
}

/* A refusal needs memory too. */
static int call_without_scope(oom_stage *s)
{
    return call_resource(s, "email", "Bearer", s->held.access_token, NULL);
}

static int call_with_proof(oom_stage *s)
{
    bool armed = oom_suspend();
    const test_prover *prover = prover_of_all();
    const otok_peer peer = test_peer(prover->jkt, NULL, NULL, NULL);
    otok_grant grant = test_grant("bob", NULL, NULL);
    grant.peer = &peer;
    grant.binding = OTOK_BINDING_JKT;
    if (s->second.access_token[0] == '\0')
        s->second = test_hold_grant(s->f, &grant);
    const test_proof how = {.uri = TEST_TOKEN_URI, .iat_us = s->f->now_us, .access_token = s->second.access_token};
    char *proof = test_prove_call(prover, &how);
    oom_resume(armed);
    int code = call_resource(s, "openid profile", "DPoP", s->second.access_token, proof);
    otok_string_free(proof);
    return code;
}

static void call_is_whole(oom_stage *s)
{
    ck_assert_ptr_nonnull(s->introspection);
    ck_assert_str_eq(s->introspection->subject, "bob");
    ck_assert_ptr_nonnull(strstr(s->introspection->response_json, s->second.session_id));
}

static void refusal_is_whole(oom_stage *s)
{
    ck_assert_ptr_null(s->introspection);
}

static int call_refuse(oom_stage *s)
{
    otok_http_response *response = NULL;
    int code = otok_endpoint_refuse(OTOK_E_DENIED, "no", &response, &s->err);
    bool armed = oom_suspend();
    ck_assert_int_eq(code == OTOK_OK, response != NULL);
    oom_resume(armed);
    otok_http_response_free(response);
    return code;
}

static int call_form(oom_stage *s)
{
    otok_form *form = NULL;
    int code = otok_form_parse("a=1&b=2", 7, &form, &s->err);
    bool armed = oom_suspend();
    ck_assert_int_eq(code == OTOK_OK, form != NULL);
    oom_resume(armed);
    otok_form_free(form);
    return code;
}

static void nothing_is_left(oom_stage *s)
{
    ck_assert(test_has_session(s->f, s->bystander.session_id));
}

static int call_metadata(oom_stage *s)
{
    otok_metadata metadata;
    otok_metadata_init(&metadata, sizeof metadata);
    metadata.token_endpoint = TEST_TOKEN_URI;
    return otok_endpoint_metadata(s->f->service, &metadata, &s->text, &s->err);
}

static int call_jwks(oom_stage *s)
{
    return otok_endpoint_jwks(s->f->service, &s->text, &s->err);
}

/* One generation, whichever attempt was the one that did it. */
static void is_one_generation(oom_stage *s, const otok_peer *peer)
{
    otok_tokens *tokens = NULL;
    otok_refresh_request request = test_refresh_request(s->held.token, "phone");
    request.peer = peer;
    test_assert_code(OTOK_OK, otok_refresh(s->f->service, &request, &tokens, NULL));
    ck_assert_uint_eq(tokens->generation, 1);
    otok_tokens_free(tokens);
}

static void token_is_whole(oom_stage *s)
{
    is_one_generation(s, NULL);
}

/* It is bound to the key that was proven for it (RFC 9449 section 5). */
static void proven_token_is_whole(oom_stage *s)
{
    otok_peer peer = test_peer(prover_of_all()->jkt, NULL, NULL, NULL);
    test_assert_code(OTOK_E_DPOP_PROOF, test_refresh_code(s->f, s->held.token, "phone"));
    is_one_generation(s, &peer);
}

static void revoked_is_whole(oom_stage *s)
{
    ck_assert(!test_has_session(s->f, s->held.session_id));
}

static void introspected_is_whole(oom_stage *s)
{
    ck_assert(test_has_session(s->f, s->held.session_id));
}

static void text_is_whole(oom_stage *s)
{
    ck_assert_ptr_nonnull(s->text);
    ck_assert_ptr_nonnull(strrchr(s->text, '}'));
}

/* What was committed stays when there is no memory left to say so: the client's retry is answered with the same (T2). */
static const oom_scenario scenarios[] = {
    {.name = "token",
     .prepare = oom_hold_for_a_minute,
     .call = call_token,
     .is_whole = token_is_whole,
     .in_steps = true},
    {.name = "token with a proof",
     .prepare = oom_hold_for_a_minute,
     .call = call_token_with_proof,
     .is_whole = proven_token_is_whole,
     .in_steps = true},
    {.name = "revoke", .prepare = oom_hold_fresh, .call = call_revoke, .is_whole = revoked_is_whole, .in_steps = true},
    {.name = "introspect", .prepare = oom_hold_fresh, .call = call_introspect, .is_whole = introspected_is_whole},
    {.name = "issue with a proof",
     .prepare = another_grant,
     .call = call_issue,
     .is_whole = issued_is_whole,
     .in_steps = true},
    {.name = "resource with a proof",
     .prepare = oom_prepare_nothing,
     .call = call_with_proof,
     .is_whole = call_is_whole},
    {.name = "resource out of scope",
     .prepare = oom_hold_fresh,
     .call = call_without_scope,
     .is_whole = refusal_is_whole,
     .done = OTOK_E_SCOPE},
    {.name = "refuse", .prepare = oom_prepare_nothing, .call = call_refuse, .is_whole = nothing_is_left},
    {.name = "form", .prepare = oom_prepare_nothing, .call = call_form, .is_whole = nothing_is_left},
    {.name = "metadata", .prepare = oom_prepare_nothing, .call = call_metadata, .is_whole = text_is_whole},
    {.name = "jwks", .prepare = oom_prepare_nothing, .call = call_jwks, .is_whole = text_is_whole},
};

START_TEST(endpoint_without_memory)
{
    oom_run(&scenarios[_i], TEST_MEMORY);
}
END_TEST

static void add_tests(TCase *tc)
{
    tcase_add_loop_test(tc, endpoint_without_memory, 0, sizeof scenarios / sizeof scenarios[0]);
}

int main(void)
{
    return oom_main("oom_endpoint", add_tests, EVERY_ALLOCATION);
}
