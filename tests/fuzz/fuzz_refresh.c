/*
 * fuzz_refresh.c - whole refreshes over a store in memory: whatever comes, a session changes only for a token that was
 * issued for it (R1, R2), and what is answered lies within what was granted (R3).
 *
 * An input is: which token to begin with; how many of its characters are changed, and how; who asks, and with what
 * proof; then, each up to a NUL, the scope, two resources, and a text that takes the token's place when "which" says
 * so.
 *
 * SPDX-License-Identifier: MIT
 */
#include "support/fuzzing.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "session/session.h"
#include "support/records.h"
#include "support/vectors.h"

#define ISSUER "https://id.example.org"
#define JKT    "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I"
#define SCOPE  "openid offline_access profile"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Tokens of the world, by what they are; RAW is the input's own text. */
enum { SUPERSEDED, PREVIOUS, CURRENT, BOUND, REVOKED, OTHER_REALM, GENUINE, RAW = GENUINE };

/* A small world that is made anew when a refresh has changed it. */
static struct world {
    otok_store *store;
    otok_keyring *keyring;
    otok_service *service, *elsewhere;
    int64_t now_us;
    char tokens[GENUINE][OTOK_TOKEN_CHARS + 1];
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
    otok_token_key *token = &keyring->token[keyring->ntoken++];
    *token = (otok_token_key){.id = 1, .state = OTOK_KEY_ACTIVE, .key = "a key that is known to everybody"};
    otok_json_free(jwk);
    world.keyring = keyring;
}

static otok_service *open_service(const char *realm)
{
    otok_config config;
    otok_callbacks callbacks;
    otok_service *service = NULL;
    otok_callbacks_init(&callbacks, sizeof callbacks);
    callbacks.now = world_now;
    otok_config_init(&config, sizeof config);
    config.issuer = ISSUER;
    config.realm = realm;
    config.callbacks = &callbacks;
    fuzz_must(otok_service_open(&config, world.store, world.keyring, &service, NULL) == OTOK_OK, "otok_service_open");
    return service;
}

/* Issues, and keeps the token under `which`. */
static void issue(otok_service *service, int which, int32_t binding, char session_id[OTOK_SESSION_ID_CHARS + 1])
{
    otok_grant grant;
    otok_peer peer;
    otok_tokens *tokens = NULL;
    otok_peer_init(&peer, sizeof peer);
    peer.jkt = JKT;
    otok_grant_init(&grant, sizeof grant);
    grant.subject = "alice";
    grant.client_id = "phone";
    grant.client_type = OTOK_CLIENT_PUBLIC;
    grant.scope = SCOPE;
    grant.binding = binding;
    grant.peer = binding != OTOK_BINDING_NONE ? &peer : NULL;
    fuzz_must(otok_issue(service, &grant, &tokens, NULL) == OTOK_OK, "otok_issue");
    memcpy(world.tokens[which], tokens->offline_token, OTOK_TOKEN_CHARS + 1);
    memcpy(session_id, tokens->session_id, OTOK_SESSION_ID_CHARS + 1);
    otok_tokens_free(tokens);
}

static void rotate(int from, int to)
{
    otok_refresh_request request;
    otok_tokens *tokens = NULL;
    otok_refresh_request_init(&request, sizeof request);
    request.token = world.tokens[from];
    request.client_id = "phone";
    request.client_type = OTOK_CLIENT_PUBLIC;
    world.now_us += 60 * OTOK_US_PER_S;
    fuzz_must(otok_refresh(world.service, &request, &tokens, NULL) == OTOK_OK, "otok_refresh");
    fuzz_must(tokens->outcome == OTOK_OUTCOME_ADVANCED, "a minute later the token is rotated");
    memcpy(world.tokens[to], tokens->offline_token, OTOK_TOKEN_CHARS + 1);
    otok_tokens_free(tokens);
}

static void make_world(void)
{
    char id[OTOK_SESSION_ID_CHARS + 1];
    if (world.keyring == NULL)
        make_keyring();
    otok_service_close(world.service);
    otok_service_close(world.elsewhere);
    otok_store_close(world.store);
    fuzz_must(otok_store_open_memory(&world.store, NULL) == OTOK_OK, "otok_store_open_memory");
    world.now_us = INT64_C(1800000000000000);
    world.service = open_service(NULL);
    world.elsewhere = open_service("elsewhere");
    issue(world.elsewhere, OTHER_REALM, OTOK_BINDING_NONE, id);
    issue(world.service, REVOKED, OTOK_BINDING_NONE, id);
    fuzz_must(otok_revoke_session(world.service, id, NULL) == OTOK_OK, "otok_revoke_session");
    issue(world.service, BOUND, OTOK_BINDING_JKT, id);
    issue(world.service, SUPERSEDED, OTOK_BINDING_NONE, id);
    rotate(SUPERSEDED, PREVIOUS);
    rotate(PREVIOUS, CURRENT);
    world.state = test_store_state(world.store);
}

/* ---------------------------------------------------------------------------------------------------- the request */

typedef struct ask {
    char *token, *scope, *resources[2];
    const char *client_id;
    int32_t client_type;
    const char *jkt;
} ask;

static char *token_of(fuzz_input *input, int which)
{
    char *text = NULL;
    size_t changes = fuzz_byte(input) % 8;
    if (which != RAW) {
        text = malloc(OTOK_TOKEN_CHARS + 1);
        fuzz_must(text != NULL, "memory");
        memcpy(text, world.tokens[which], OTOK_TOKEN_CHARS + 1);
    }
    for (size_t i = 0; i < changes; i++) {
        size_t at = fuzz_byte(input) % OTOK_TOKEN_CHARS;
        uint8_t change = fuzz_byte(input);
        if (text != NULL)
            text[at] ^= (char)change;
    }
    return text;
}

static ask read_ask(fuzz_input *input)
{
    static const char *const clients[] = {"phone", "phone", "phone", "tv", "Phone", ""};
    static const char *const proofs[] = {NULL, JKT, "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs", "x"};
    ask a = {0};
    a.token = token_of(input, fuzz_byte(input) % (GENUINE + 1));
    uint8_t who = fuzz_byte(input);
    a.client_id = clients[who % (sizeof clients / sizeof clients[0])];
    a.client_type = who & 64 ? OTOK_CLIENT_CONFIDENTIAL : OTOK_CLIENT_PUBLIC;
    a.jkt = proofs[fuzz_byte(input) % (sizeof proofs / sizeof proofs[0])];
    a.scope = fuzz_text(input);
    a.resources[0] = fuzz_text(input);
    a.resources[1] = fuzz_text(input);
    if (a.token == NULL)
        a.token = fuzz_text(input);
    return a;
}

static void free_ask(ask *a)
{
    free(a->token);
    free(a->scope);
    free(a->resources[0]);
    free(a->resources[1]);
}

static int refresh(const ask *a, otok_tokens **out, otok_error *err)
{
    otok_refresh_request request;
    otok_peer peer;
    const char *const resources[] = {a->resources[0], a->resources[1]};
    otok_peer_init(&peer, sizeof peer);
    peer.jkt = a->jkt;
    otok_refresh_request_init(&request, sizeof request);
    request.token = a->token;
    request.client_id = a->client_id;
    request.client_type = a->client_type;
    request.scope = a->scope;
    request.resource = resources;
    request.resource_count = a->resources[1][0] != '\0' ? 2 : a->resources[0][0] != '\0';
    request.peer = &peer;
    return otok_refresh(world.service, &request, out, err);
}

/* ---------------------------------------------------------------------------------------------------- what holds */

static int which_token(const char *text)
{
    int which = 0;
    while (which < GENUINE && strcmp(world.tokens[which], text) != 0)
        which++;
    return which;
}

static void an_answer_is_deserved(const ask *a, const otok_tokens *tokens)
{
    int which = which_token(a->token);
    fuzz_must(which == PREVIOUS || which == CURRENT || which == BOUND, "only a token that lives is answered");
    fuzz_must(strcmp(a->client_id, "phone") == 0, "only its client is answered");
    fuzz_must(which != BOUND || (a->jkt != NULL && strcmp(a->jkt, JKT) == 0), "a bound token needs its key");
    fuzz_must(tokens->offline_token != NULL && tokens->access_token != NULL && tokens->response_json != NULL, "whole");
    otok_buf scope;
    otok_buf_init(&scope, NULL, 0);
    fuzz_must(otok_scope_narrow(otok_str_of(SCOPE), tokens->scope, &scope, NULL) == OTOK_OK, "the scope was granted");
    fuzz_must((tokens->id_token != NULL) == otok_scope_has(otok_str_of(tokens->scope), "openid"), "ID token by scope");
    otok_buf_free(&scope);
    for (int i = 0; i < 2; i++)
        fuzz_must(a->resources[0][0] == '\0' || strcmp(a->resources[0], ISSUER) == 0, "the resource was granted");
}

/* The message never shows what was presented. */
static void an_error_is_discreet(const ask *a, const otok_error *err)
{
    fuzz_must(strlen(a->token) < 16 || strstr(err->message, a->token) == NULL, "no token in a message");
    fuzz_must(memchr(err->message, '\0', sizeof err->message) != NULL, "a message ends");
}

static void only_its_own_token_moves_a_session(const ask *a, int rc)
{
    uint64_t state = test_store_state(world.store);
    if (state == world.state)
        return;
    int which = which_token(a->token);
    bool by_reuse = rc == OTOK_E_TOKEN_REUSED && which == SUPERSEDED && strcmp(a->client_id, "phone") == 0;
    bool by_answer = rc == OTOK_OK && (which == CURRENT || which == BOUND);
    fuzz_must(by_reuse || by_answer, "a session changes only for a token that was issued for it");
    make_world();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    fuzz_input input = {data, size};
    otok_tokens *tokens = NULL;
    otok_error err = {0};
    if (world.service == NULL)
        make_world();
    ask a = read_ask(&input);
    int rc = refresh(&a, &tokens, &err);
    fuzz_must((rc == OTOK_OK) == (tokens != NULL), "tokens on success, and on success only");
    fuzz_must(otok_error_http(rc) != 500 && otok_error_http(rc) != 503, "nothing that comes in makes the server fail");
    if (rc == OTOK_OK)
        an_answer_is_deserved(&a, tokens);
    else
        an_error_is_discreet(&a, &err);
    otok_tokens_free(tokens);
    only_its_own_token_moves_a_session(&a, rc);
    free_ask(&a);
    return 0;
}
