/*
 * keyring.c - keys in memory: made, found, counted, published.
 *
 * SPDX-License-Identifier: MIT
 */
#include "keys/keys.h"

#include <string.h>

otok_keyring *otok_keyring_new(otok_error *err)
{
    otok_keyring *keyring = otok_calloc(1, sizeof *keyring);
    if (keyring == NULL)
        (void)otok_fail(err, OTOK_E_NOMEM, "no memory for a keyring");
    else
        atomic_init(&keyring->references, 1);
    return keyring;
}

otok_keyring *otok_keyring_ref(otok_keyring *keyring)
{
    atomic_fetch_add_explicit(&keyring->references, 1, memory_order_relaxed);
    return keyring;
}

void otok_keyring_free(otok_keyring *keyring)
{
    if (keyring == NULL || atomic_fetch_sub_explicit(&keyring->references, 1, memory_order_acq_rel) != 1)
        return;
    for (size_t i = 0; i < keyring->nsigning; i++)
        otok_pkey_free(keyring->signing[i].pkey);
    otok_free(keyring->files.path);
    otok_free(keyring->files.token_keys_path);
    otok_wipe_free(keyring, sizeof *keyring);
}

int otok_keyring_add_signing(otok_keyring *keyring, int32_t algorithm, int32_t state, otok_error *err)
{
    otok_signing_key key = {.state = state, .created_us = otok_clock_now_us()};
    int rc = otok_pkey_generate(algorithm == OTOK_ALG_DEFAULT ? OTOK_ALG_ES256 : algorithm, &key.pkey, err);
    if (rc == OTOK_OK)
        rc = otok_pkey_thumbprint(key.pkey, key.kid, err);
    if (rc == OTOK_OK)
        keyring->signing[keyring->nsigning++] = key;
    else
        otok_pkey_free(key.pkey);
    return rc;
}

/* By a key that is here, or by one that was and may still be sealed or derived under (K3). */
static bool is_taken(const otok_keyring *keyring, uint8_t id)
{
    bool found = memchr(keyring->dropped, id, keyring->ndropped) != NULL;
    for (size_t i = 0; i < keyring->ntoken; i++)
        found = found || keyring->token[i].id == id;
    return found;
}

/* The first id is random, so that tokens of another keyring are nearly always told by it. */
static int draw_token(otok_token_key *key, otok_error *err)
{
    int rc = otok_random(key->key, sizeof key->key, err);
    if (rc == OTOK_OK)
        rc = otok_oct_thumbprint(key->key, key->kid, err);
    if (rc == OTOK_OK)
        key->id = otok_oct_id(key->kid);
    return rc;
}

/* Beside 63 keys and 128 that were dropped three draws of four are in vain: as many as these only where the random numbers are none. */
enum { DRAWS = 256 };

int otok_keyring_add_token(otok_keyring *keyring, int32_t state, otok_error *err)
{
    otok_token_key key = {.state = state, .created_us = otok_clock_now_us()};
    int rc = draw_token(&key, err);
    for (int i = 1; rc == OTOK_OK && is_taken(keyring, key.id); i++)
        rc = i < DRAWS ? draw_token(&key, err) : otok_fail(err, OTOK_E_CRYPTO, "no MAC key has an id that is free");
    if (rc == OTOK_OK)
        keyring->token[keyring->ntoken++] = key;
    otok_wipe(&key, sizeof key);
    return rc;
}

int otok_keyring_generate(int32_t algorithm, otok_keyring **out, otok_error *err)
{
    if (out == NULL)
        return otok_fail(err, OTOK_E_INVALID, "out is required");
    *out = NULL;
    int rc = otok_crypto_check(err);
    if (rc != OTOK_OK)
        return rc;
    otok_keyring *keyring = otok_keyring_new(err);
    if (keyring == NULL)
        return OTOK_E_NOMEM;
    rc = otok_keyring_add_signing(keyring, algorithm, OTOK_KEY_ACTIVE, err);
    if (rc == OTOK_OK)
        rc = otok_keyring_add_token(keyring, OTOK_KEY_ACTIVE, err);
    if (rc == OTOK_OK)
        *out = keyring;
    else
        otok_keyring_free(keyring);
    return rc;
}

const otok_signing_key *otok_keyring_signing(const otok_keyring *keyring)
{
    for (size_t i = 0; i < keyring->nsigning; i++) {
        if (keyring->signing[i].state == OTOK_KEY_ACTIVE)
            return &keyring->signing[i];
    }
    return NULL;
}

const otok_signing_key *otok_keyring_by_kid(const otok_keyring *keyring, const char *kid)
{
    for (size_t i = 0; kid != NULL && i < keyring->nsigning; i++) {
        if (strcmp(keyring->signing[i].kid, kid) == 0)
            return &keyring->signing[i];
    }
    return NULL;
}

const otok_token_key *otok_keyring_token(const otok_keyring *keyring)
{
    for (size_t i = 0; i < keyring->ntoken; i++) {
        if (keyring->token[i].state == OTOK_KEY_ACTIVE)
            return &keyring->token[i];
    }
    return NULL;
}

static bool has_signing(const otok_keyring *keyring, const otok_signing_key *key)
{
    const otok_signing_key *other = otok_keyring_by_kid(keyring, key->kid);
    return other != NULL && other->state == key->state && other->external == key->external &&
           otok_pkey_algorithm(other->pkey) == otok_pkey_algorithm(key->pkey);
}

static bool has_token(const otok_keyring *keyring, const otok_token_key *key)
{
    bool found = false;
    for (size_t i = 0; i < keyring->ntoken; i++)
        found = found || (keyring->token[i].state == key->state && strcmp(keyring->token[i].kid, key->kid) == 0);
    return found;
}

/* No key is in a keyring twice: where there are as many, and each is there, they are the same. */
bool otok_keyring_same(const otok_keyring *a, const otok_keyring *b)
{
    bool same = a->nsigning == b->nsigning && a->ntoken == b->ntoken;
    for (size_t i = 0; same && i < a->nsigning; i++)
        same = has_signing(b, &a->signing[i]);
    for (size_t i = 0; same && i < a->ntoken; i++)
        same = has_token(b, &a->token[i]);
    return same;
}

static bool same_path(const char *a, const char *b)
{
    return a == b || (a != NULL && b != NULL && strcmp(a, b) == 0);
}

bool otok_keyring_same_files(const otok_keyring *a, const otok_keyring *b)
{
    const otok_keyring_files *one = &a->files, *other = &b->files;
    return same_path(one->path, other->path) && same_path(one->token_keys_path, other->token_keys_path) &&
           memcmp(&one->stamp, &other->stamp, sizeof one->stamp) == 0 &&
           memcmp(&one->token_keys_stamp, &other->token_keys_stamp, sizeof one->token_keys_stamp) == 0;
}

int otok_keyring_jwks(const otok_keyring *keyring, char **out, otok_error *err)
{
    otok_buf text;
    if (keyring == NULL || out == NULL)
        return otok_fail(err, OTOK_E_INVALID, "%s is required", keyring == NULL ? "keyring" : "out");
    otok_buf_init(&text, NULL, 0);
    *out = NULL;
    int rc = otok_keyring_print(keyring, OTOK_JWKS_PUBLIC, &text, err);
    if (rc == OTOK_OK) {
        *out = otok_strndup(text.data, text.len);
        if (*out == NULL)
            rc = otok_fail(err, OTOK_E_NOMEM, "no memory for a JWKS");
    }
    otok_buf_free(&text);
    return rc;
}
