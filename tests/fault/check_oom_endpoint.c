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

/* The client makes a proof for each request, with memory of its own. */
static int call_token_with_proof(oom_stage *s)
{
    static test_prover prover;
    bool armed = oom_suspend();
    if (prover.key == NULL)
        prover = test_prover_new(OTOK_ALG_ES256);
    char *proof = test_prove(&prover, TEST_TOKEN_URI, s->f->now_us, NULL);
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
static void token_is_whole(oom_stage *s)
{
    otok_tokens *tokens = NULL;
    test_assert_code(OTOK_OK, test_refresh(s->f, s->held.token, "phone", &tokens));
    ck_assert_uint_eq(tokens->generation, 1);
    otok_tokens_free(tokens);
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
     .is_whole = token_is_whole,
     .in_steps = true},
    {.name = "revoke", .prepare = oom_hold_fresh, .call = call_revoke, .is_whole = revoked_is_whole, .in_steps = true},
    {.name = "introspect", .prepare = oom_hold_fresh, .call = call_introspect, .is_whole = introspected_is_whole},
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
