/*
 * fuzz_dpop.c - DPoP proofs (P3): whatever comes, what is accepted is signed by its key for this method and URI, and is good once; URIs
 * that are equal are so in every way; and no nonce is ours that we did not make.
 *
 * An input is what it is about, and then: the proof as it comes; or header and payload, which are signed by a known key; or a
 * nonce; or two URIs.  Texts end at NUL.
 *
 * SPDX-License-Identifier: MIT
 */
#include "support/fuzzing.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "oauth/oauth.h"
#include "support/vectors.h"

#define URI    "https://server.example.com/token"
#define NOW_US (INT64_C(1562262616) * OTOK_US_PER_S)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static otok_service *service;
static otok_pkey *key;
static char jkt[OTOK_KID_CHARS + 1], fresh[OTOK_NONCE_CHARS + 1];

/* The keyring is new in each process: so no input can have a nonce of its own. */
static void make_world(void)
{
    static const char jwk[] = "{" VECTOR_EC_PUBLIC "," VECTOR_EC_PRIVATE ",\"alg\":\"ES256\"}";
    otok_config config;
    otok_store *store = NULL;
    otok_keyring *keyring = NULL;
    otok_json *json = NULL;
    otok_config_init(&config, sizeof config);
    config.issuer = "https://server.example.com";
    fuzz_must(otok_store_open_memory(&store, NULL) == OTOK_OK, "otok_store_open_memory");
    fuzz_must(otok_keyring_generate(OTOK_ALG_ES256, &keyring, NULL) == OTOK_OK, "otok_keyring_generate");
    fuzz_must(otok_service_open(&config, store, keyring, &service, NULL) == OTOK_OK, "otok_service_open");
    otok_keyring_free(keyring);
    otok_store_close(store);
    fuzz_must(otok_json_parse(jwk, strlen(jwk), "key", &json, NULL) == OTOK_OK, "otok_json_parse");
    fuzz_must(otok_jwk_read_pkey(json, true, &key, NULL) == OTOK_OK, "otok_jwk_read_pkey");
    otok_json_free(json);
    fuzz_must(otok_pkey_thumbprint(key, jkt, NULL) == OTOK_OK, "otok_pkey_thumbprint");
    fuzz_must(otok_nonce_print(service, NOW_US, fresh, NULL) == OTOK_OK, "otok_nonce_print");
}

/* Good once; and a nonce in it is none of ours. */
static void use_it(otok_proof *proof)
{
    const otok_rules rules = {.dpop_window_us = 60 * OTOK_US_PER_S};
    const otok_owner owner = {otok_str_of("alice"), otok_str_of("phone")};
    int rc = otok_proof_use(service, proof, &owner, &rules, NOW_US, NULL);
    fuzz_must(rc != OTOK_OK || proof->used, "what was used says so");
    fuzz_must(rc != OTOK_OK ||
                  (proof->iat_us >= NOW_US - rules.dpop_window_us && proof->iat_us <= NOW_US + rules.dpop_window_us),
              "it is of this minute");
    fuzz_must(proof->nonce == NULL || rc == OTOK_E_DPOP_NONCE, "a nonce is not ours");
    proof->used = false;
    fuzz_must(otok_proof_use(service, proof, &owner, &rules, NOW_US, NULL) != OTOK_OK, "it is not good twice");
}

/* What was accepted, read once more by plain means. */
static void it_is_one(const char *text, const otok_proof *proof)
{
    otok_jws *jwt = NULL;
    fuzz_must(strlen(text) <= 8192 && otok_jws_parse(text, strlen(text), &jwt, NULL) == OTOK_OK, "it is a JWT");
    const char *typ = otok_json_text(jwt->header, "typ"), *htm = otok_json_text(jwt->payload, "htm");
    const char *jti = otok_json_text(jwt->payload, "jti");
    const otok_json *jwk = otok_json_member(jwt->header, "jwk");
    fuzz_must(typ != NULL && strcmp(typ, "dpop+jwt") == 0, "typ");
    fuzz_must(htm != NULL && strcmp(htm, "POST") == 0, "htm");
    fuzz_must(otok_uri_equal(otok_json_text(jwt->payload, "htu"), URI), "htu");
    fuzz_must(jti != NULL && *jti != '\0' && strlen(jti) <= 256, "jti");
    fuzz_must(otok_json_member(jwk, "d") == NULL && otok_json_member(jwt->header, "crit") == NULL, "no d, no crit");
    fuzz_must(strlen(proof->jkt) == OTOK_KID_CHARS && !proof->used, "its thumbprint");
    otok_jws_free(jwt);
}

/* Gives whether it was accepted. */
static bool read_it(const char *text, bool by_known_key)
{
    otok_proof proof;
    int rc = otok_proof_read(text, "POST", URI, &proof, NULL);
    fuzz_must(rc == OTOK_OK || rc == OTOK_E_DPOP_PROOF, "a proof is good or bad");
    if (rc == OTOK_OK) {
        it_is_one(text, &proof);
        fuzz_must(!by_known_key || strcmp(proof.jkt, jkt) == 0, "it is signed by the key in it");
        use_it(&proof);
    }
    otok_proof_free(&proof);
    return rc == OTOK_OK;
}

static void read_signed(fuzz_input *input)
{
    uint8_t room[1024];
    otok_buf jwt;
    char *header = fuzz_text(input), *payload = fuzz_text(input);
    otok_buf_init(&jwt, room, sizeof room);
    fuzz_must(otok_jws_sign_pkey(key, otok_str_of(header), otok_str_of(payload), &jwt, NULL) == OTOK_OK,
              "otok_jws_sign_pkey");
    otok_buf_add_u8(&jwt, 0);
    fuzz_must(!jwt.failed, "memory");
    char *text = (char *)jwt.data;
    if (read_it(text, true)) { /* one bit of the signature, and it is none */
        text[jwt.len - 10] = text[jwt.len - 10] == 'A' ? 'B' : 'A';
        fuzz_must(!read_it(text, true), "it is signed");
    }
    otok_buf_free(&jwt);
    free(header);
    free(payload);
}

static void compare_uris(fuzz_input *input)
{
    char *a = fuzz_text(input), *b = fuzz_text(input);
    bool is_uri = otok_uri_equal(a, a), same = otok_uri_equal(a, b);
    fuzz_must(same == otok_uri_equal(b, a), "equal both ways");
    fuzz_must(!same || (is_uri && otok_uri_equal(b, b)), "what is none is equal to nothing");
    if (is_uri && strlen(a) < 4096 && strchr(a, '#') == NULL) {
        char more[4200];
        (void)snprintf(more, sizeof more, "%s%s", a, strchr(a, '?') != NULL ? "&c=d#e" : "?c=d#e");
        fuzz_must(otok_uri_equal(a, more), "query and fragment do not count");
    }
    free(a);
    free(b);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    enum { AS_IT_COMES, SIGNED, NONCE, URIS, KINDS };
    fuzz_input input = {data, size};
    char *text = NULL;
    if (service == NULL)
        make_world();
    switch (fuzz_byte(&input) % KINDS) {
    case AS_IT_COMES:
        text = fuzz_text(&input);
        (void)read_it(text, false);
        break;
    case SIGNED:
        read_signed(&input);
        break;
    case NONCE:
        text = fuzz_text(&input);
        fuzz_must(!otok_nonce_is_fresh(service, text, NOW_US), "no nonce is ours that we did not make");
        fuzz_must(otok_nonce_is_fresh(service, fresh, NOW_US), "ours is");
        break;
    default:
        compare_uris(&input);
    }
    free(text);
    return 0;
}
