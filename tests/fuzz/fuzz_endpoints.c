/*
 * fuzz_endpoints.c - whole requests to the endpoints, and calls of a resource, over a store in memory: whatever comes, there is an answer,
 * in JSON and not to be cached, that is no failure of the server (P1, P2); and a session changes only for a token that was issued for it,
 * or for a grant that is answered with tokens (R1, V1).
 *
 * An input is: which endpoint and what is odd about the request; who has authenticated; then, up to a NUL, a DPoP proof, where "\1" is a
 * good one; the rest is the form, or the field Authorization, in which the bytes 1 to 6 stand for tokens of the world.
 *
 * SPDX-License-Identifier: MIT
 */
#include "support/fuzzing.h"

#include <stdlib.h>
#include <string.h>

#include "oauth/oauth.h"
#include "support/records.h"
#include "support/vectors.h"

#define ISSUER "https://id.example.org"
#define URI    "https://id.example.org/endpoint"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { SUPERSEDED, CURRENT, BOUND, CONFIDENTIAL, ACCESS, BOUND_ACCESS, TOKENS };
enum { TOKEN, REVOKE, INTROSPECT, ISSUE, RESOURCE, ENDPOINTS };

/* A small world that is made anew when a request has changed it. */
static struct world {
    otok_store *store;
    otok_keyring *keyring;
    otok_service *service;
    int64_t now_us;
    const otok_signing_key *prover; /* whom BOUND is bound to: the key that signs, too */
    char *tokens[TOKENS];
    uint64_t state;
} world;

static int64_t world_now(void *user)
{
    (void)user;
    return world.now_us;
}

/* ---------------------------------------------------------------------------------------------------- the world */

/* The same keys in every process, so that inputs mean the same. */
static void make_keyring(void)
{
    static const char text[] = "{" VECTOR_EC_PUBLIC "," VECTOR_EC_PRIVATE ",\"alg\":\"ES256\"}";
    otok_json *jwk = NULL;
    otok_keyring *keyring = otok_keyring_new(NULL);
    fuzz_must(keyring != NULL && otok_json_parse(text, strlen(text), "key", &jwk, NULL) == OTOK_OK, "memory");
    otok_signing_key *signing = &keyring->signing[keyring->nsigning++];
    fuzz_must(otok_jwk_read_pkey(jwk, true, &signing->pkey, NULL) == OTOK_OK, "otok_jwk_read_pkey");
    fuzz_must(otok_pkey_thumbprint(signing->pkey, signing->kid, NULL) == OTOK_OK, "otok_pkey_thumbprint");
    signing->state = OTOK_KEY_ACTIVE;
    world.prover = signing;
    otok_token_key *token = &keyring->token[keyring->ntoken++];
    *token = (otok_token_key){.id = 1, .state = OTOK_KEY_ACTIVE, .key = "a key that is known to everybody"};
    otok_json_free(jwk);
    world.keyring = keyring;
}

static void open_service(void)
{
    otok_config config;
    otok_callbacks callbacks;
    otok_callbacks_init(&callbacks, sizeof callbacks);
    callbacks.now = world_now;
    otok_config_init(&config, sizeof config);
    config.issuer = ISSUER;
    config.callbacks = &callbacks;
    fuzz_must(otok_service_open(&config, world.store, world.keyring, &world.service, NULL) == OTOK_OK,
              "otok_service_open");
}

static void keep(int which, const char *token)
{
    otok_free(world.tokens[which]);
    world.tokens[which] = otok_strdup(token);
    fuzz_must(world.tokens[which] != NULL, "memory");
}

static otok_grant grant_of(const char *client_id)
{
    otok_grant grant;
    otok_grant_init(&grant, sizeof grant);
    grant.subject = "alice";
    grant.client_id = client_id;
    grant.scope = "openid offline_access profile";
    return grant;
}

static void issue(int which, int32_t client_type, int32_t binding)
{
    otok_grant grant = grant_of("phone");
    otok_peer peer;
    otok_tokens *tokens = NULL;
    otok_peer_init(&peer, sizeof peer);
    peer.jkt = world.prover->kid;
    grant.client_type = client_type;
    grant.binding = binding;
    grant.peer = binding != OTOK_BINDING_NONE ? &peer : NULL;
    fuzz_must(otok_issue(world.service, &grant, &tokens, NULL) == OTOK_OK, "otok_issue");
    keep(which, tokens->offline_token);
    if (which == CONFIDENTIAL || which == BOUND)
        keep(which == BOUND ? BOUND_ACCESS : ACCESS, tokens->access_token);
    otok_tokens_free(tokens);
}

/* Twice, so that the first is reuse. */
static void rotate(void)
{
    otok_refresh_request request;
    otok_refresh_request_init(&request, sizeof request);
    request.client_id = "phone";
    request.client_type = OTOK_CLIENT_PUBLIC;
    for (int i = 0; i < 2; i++) {
        otok_tokens *tokens = NULL;
        world.now_us += 60 * OTOK_US_PER_S;
        request.token = world.tokens[i == 0 ? SUPERSEDED : CURRENT];
        fuzz_must(otok_refresh(world.service, &request, &tokens, NULL) == OTOK_OK, "otok_refresh");
        keep(CURRENT, tokens->offline_token);
        otok_tokens_free(tokens);
    }
    world.now_us += 60 * OTOK_US_PER_S;
}

static void make_world(void)
{
    if (world.keyring == NULL)
        make_keyring();
    otok_service_close(world.service);
    otok_store_close(world.store);
    fuzz_must(otok_store_open_memory(&world.store, NULL) == OTOK_OK, "otok_store_open_memory");
    world.now_us = INT64_C(1800000000000000);
    open_service();
    issue(SUPERSEDED, OTOK_CLIENT_PUBLIC, OTOK_BINDING_NONE);
    rotate();
    issue(BOUND, OTOK_CLIENT_PUBLIC, OTOK_BINDING_JKT);
    issue(CONFIDENTIAL, OTOK_CLIENT_CONFIDENTIAL, OTOK_BINDING_NONE);
    world.state = test_store_state(world.store);
}

/* ---------------------------------------------------------------------------------------------------- the request */

typedef struct ask {
    int endpoint;
    otok_http_request http;
    const char *granted_to, *scope; /* of a grant, of a call */
    char *proof;
    const char *proofs[2];
    otok_buf form; /* and a NUL behind it */
    size_t form_len;
    bool names[TOKENS]; /* which tokens of the world are in the form */
} ask;

static void read_form(fuzz_input *input, ask *a)
{
    otok_buf_init(&a->form, NULL, 0);
    for (size_t i = 0; i < input->len; i++) {
        uint8_t byte = input->data[i];
        bool is_token = byte >= 1 && byte <= TOKENS;
        if (is_token) {
            a->names[byte - 1] = true;
            otok_buf_add_text(&a->form, world.tokens[byte - 1]);
        } else {
            otok_buf_add_u8(&a->form, byte);
        }
    }
    a->form_len = a->form.len;
    otok_buf_add_u8(&a->form, '\0');
    fuzz_must(!a->form.failed, "memory");
}

static void print_header(otok_buf *json)
{
    otok_json_begin(json);
    otok_json_add_text(json, "typ", "dpop+jwt");
    otok_json_add_text(json, "alg", "ES256");
    otok_json_add_name(json, "jwk");
    otok_json_begin(json);
    fuzz_must(otok_jwk_add_pkey(json, world.prover->pkey, false, NULL) == OTOK_OK, "otok_jwk_add_pkey");
    otok_json_end(json);
    otok_json_end(json);
}

/* No two are the same. */
static void print_payload(const ask *a, otok_buf *json)
{
    static int64_t made;
    uint8_t digest[OTOK_SHA256_SIZE];
    const otok_str token = otok_str_of(world.tokens[BOUND_ACCESS]);
    fuzz_must(otok_sha256(&token, 1, digest, NULL) == OTOK_OK, "otok_sha256");
    otok_json_begin(json);
    otok_json_add_name(json, "jti");
    otok_buf_add_u8(json, '"');
    otok_buf_add_base64url(json, &made, sizeof made);
    otok_buf_add_u8(json, '"');
    otok_json_add_name(json, "ath");
    otok_buf_add_u8(json, '"');
    otok_buf_add_base64url(json, digest, sizeof digest);
    otok_buf_add_u8(json, '"');
    otok_json_add_text(json, "htm", a->http.method);
    otok_json_add_text(json, "htu", URI);
    otok_json_add_integer(json, "iat", world.now_us / OTOK_US_PER_S);
    otok_json_end(json);
    made++;
}

/* A proof for this request, which comes with the bound access token. */
static char *prove(const ask *a)
{
    otok_buf header, payload, proof;
    otok_buf_init(&header, NULL, 0);
    otok_buf_init(&payload, NULL, 0);
    otok_buf_init(&proof, NULL, 0);
    print_header(&header);
    print_payload(a, &payload);
    int rc = otok_jws_sign_pkey(world.prover->pkey, (otok_str){header.data, header.len},
                                (otok_str){payload.data, payload.len}, &proof, NULL);
    otok_buf_add_u8(&proof, '\0');
    fuzz_must(rc == OTOK_OK && !proof.failed, "otok_jws_sign_pkey");
    char *text = strdup((const char *)proof.data);
    fuzz_must(text != NULL, "memory");
    otok_buf_free(&proof);
    otok_buf_free(&payload);
    otok_buf_free(&header);
    return text;
}

static void read_ask(fuzz_input *input, ask *a)
{
    static const char *const clients[] = {NULL, "phone", "tv", "Phone"};
    static const char *const types[] = {"application/x-www-form-urlencoded", NULL, "text/plain",
                                        "application/x-www-form-urlencoded; charset=UTF-8"};
    uint8_t how = fuzz_byte(input), who = fuzz_byte(input);
    a->endpoint = how % 32 % ENDPOINTS;
    otok_http_request_init(&a->http, sizeof a->http);
    a->http.method = how & 128 ? "GET" : "POST";
    a->http.content_type = types[how >> 5 & 3];
    a->http.uri = URI;
    a->http.client_id = clients[who % 4];
    a->http.client_type = who & 4 ? OTOK_CLIENT_PUBLIC : OTOK_CLIENT_CONFIDENTIAL;
    a->http.ip = who & 8 ? "192.0.2.1" : NULL;
    a->granted_to = who & 32 ? "phone" : NULL;
    a->scope = who & 64 ? "openid" : (who & 128 ? "email" : NULL);
    a->proof = fuzz_text(input);
    if (strcmp(a->proof, "\1") == 0) {
        free(a->proof);
        a->proof = prove(a);
    }
    a->proofs[0] = a->proofs[1] = a->http.user_agent = a->proof;
    a->http.dpop = a->proofs;
    a->http.dpop_count = a->proof[0] != '\0' ? (size_t)1 + (who >> 4 & 1) : 0;
    read_form(input, a);
    a->http.body = a->form.data;
    a->http.body_len = a->form_len;
    a->http.authorization = who & 8 ? NULL : (const char *)a->form.data;
}

static void free_ask(ask *a)
{
    free(a->proof);
    otok_buf_free(&a->form);
}

/* ---------------------------------------------------------------------------------------------------- what holds */

static bool has_header(const otok_http_response *response, const char *name, const char *value)
{
    for (size_t i = 0; i < response->header_count; i++) {
        if (strcmp(response->headers[i].name, name) == 0)
            return strcmp(response->headers[i].value, value) == 0;
    }
    return false;
}

static void an_answer_is_whole(const ask *a, const otok_http_response *response)
{
    otok_json *json = NULL;
    bool silent = a->endpoint == RESOURCE && response->status == 401; /* there was no token, and so no error */
    fuzz_must(response->status == 200 || (response->status >= 400 && response->status <= 405),
              "nothing that comes in makes the server fail");
    fuzz_must((response->status == 200) == (response->code == OTOK_OK), "200 on success, and on success only");
    fuzz_must(has_header(response, "Cache-Control", "no-store"), "no answer is kept");
    fuzz_must(strlen(response->body) == response->body_len, "a body as long as it says");
    fuzz_must(otok_json_parse(response->body, response->body_len, "body", &json, NULL) == OTOK_OK, "JSON");
    fuzz_must(otok_json_is_object(json), "an object");
    fuzz_must(silent || (otok_json_text(json, "error") != NULL) == (response->status != 200),
              "error is there when it is one");
    otok_json_free(json);
}

/* Errors, and the answers of endpoints that hand out none, never show a token. */
static void an_answer_is_discreet(const ask *a, const otok_http_response *response)
{
    for (int i = 0; i < TOKENS; i++) {
        bool is_handed_out = (a->endpoint == TOKEN || a->endpoint == ISSUE) && response->status == 200;
        fuzz_must(is_handed_out || strstr(response->body, world.tokens[i]) == NULL, "no token in an answer");
        fuzz_must(response->message == NULL || strstr(response->message, world.tokens[i]) == NULL, "nor in a message");
    }
}

/* `code`: what the request came to. */
static void only_its_own_token_moves_a_session(const ask *a, int code)
{
    bool named = a->endpoint == ISSUE; /* that it is a grant says the host */
    if (test_store_state(world.store) == world.state)
        return;
    for (int i = 0; i < TOKENS; i++)
        named = named || a->names[i];
    fuzz_must(named, "a session changes only for a token that was issued for it");
    fuzz_must(a->endpoint != INTROSPECT && a->endpoint != RESOURCE, "a question changes nothing");
    fuzz_must(code == OTOK_OK || (code == OTOK_E_TOKEN_REUSED && a->names[SUPERSEDED]),
              "a refusal changes nothing, but for reuse");
    fuzz_must(a->endpoint == ISSUE || a->http.client_id == NULL || strcmp(a->http.client_id, "phone") == 0,
              "nor does another client");
    make_world();
}

/* Whoever is let in has named an access token that lives, and one that is bound with its proof. */
static void only_good_tokens_are_accepted(const ask *a, const otok_introspection *found)
{
    fuzz_must(found->active == 1 && strcmp(found->subject, "alice") == 0, "what is accepted is known");
    fuzz_must(a->names[ACCESS] || (a->names[BOUND_ACCESS] && a->http.dpop_count == 1), "and was named");
    fuzz_must(a->scope == NULL || strcmp(a->scope, "openid") == 0, "and has the scope");
}

/* ---------------------------------------------------------------------------------------------------- the answer */

/* NULL: a call of a resource was let in. */
static otok_http_response *call(const ask *a)
{
    otok_introspection *found = NULL;
    otok_http_response *refusal = NULL;
    int rc = otok_endpoint_resource(world.service, &a->http, a->scope, &found, &refusal, NULL);
    fuzz_must(rc == OTOK_OK && (found == NULL) != (refusal == NULL), "there is one answer");
    if (found != NULL)
        only_good_tokens_are_accepted(a, found);
    otok_introspection_free(found);
    return refusal;
}

static otok_http_response *answer(const ask *a)
{
    static int (*const endpoints[])(otok_service *, const otok_http_request *, otok_http_response **, otok_error *) = {
        [TOKEN] = otok_endpoint_token, [REVOKE] = otok_endpoint_revoke, [INTROSPECT] = otok_endpoint_introspect};
    otok_http_response *response = NULL;
    const otok_grant grant = grant_of(a->granted_to);
    if (a->endpoint == RESOURCE)
        return call(a);
    int rc = a->endpoint == ISSUE ? otok_endpoint_issue(world.service, &a->http, &grant, &response, NULL)
                                  : endpoints[a->endpoint](world.service, &a->http, &response, NULL);
    fuzz_must(rc == OTOK_OK && response != NULL, "there is an answer");
    return response;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    fuzz_input input = {data, size};
    ask a = {0};
    if (world.service == NULL)
        make_world();
    read_ask(&input, &a);
    otok_http_response *response = answer(&a);
    if (response != NULL) {
        an_answer_is_whole(&a, response);
        an_answer_is_discreet(&a, response);
    }
    only_its_own_token_moves_a_session(&a, response != NULL ? response->code : OTOK_OK);
    otok_http_response_free(response);
    free_ask(&a);
    return 0;
}
