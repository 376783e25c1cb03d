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
    otok_wipe_free(keyring, sizeof *keyring);
}

static int generate_signing(otok_keyring *keyring, int32_t algorithm, otok_error *err)
{
    otok_signing_key *key = &keyring->signing[0];
    int rc = otok_pkey_generate(algorithm, &key->pkey, err);
    if (rc != OTOK_OK)
        return rc;
    keyring->nsigning = 1;
    key->state = OTOK_KEY_ACTIVE;
    key->created_us = otok_clock_now_us();
    return otok_pkey_thumbprint(key->pkey, key->kid, err);
}

/* The first id is random, so that tokens of another keyring are nearly always told by it. */
static int generate_token(otok_keyring *keyring, otok_error *err)
{
    otok_token_key *key = &keyring->token[0];
    char kid[OTOK_KID_CHARS + 1];
    int rc = otok_random(key->key, sizeof key->key, err);
    if (rc == OTOK_OK)
        rc = otok_oct_thumbprint(key->key, kid, err);
    if (rc != OTOK_OK)
        return rc;
    keyring->ntoken = 1;
    key->id = otok_oct_id(kid);
    key->state = OTOK_KEY_ACTIVE;
    key->created_us = otok_clock_now_us();
    return OTOK_OK;
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
    rc = generate_signing(keyring, algorithm == OTOK_ALG_DEFAULT ? OTOK_ALG_ES256 : algorithm, err);
    if (rc == OTOK_OK)
        rc = generate_token(keyring, err);
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
