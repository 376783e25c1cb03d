/*
 * fuzz_keyring.c - a keyring that is taken is whole, prints, and reads back the same; so is a public key that is to join one.
 *
 * SPDX-License-Identifier: MIT
 */
#include "keys/keys.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { ALL_KEYS = OTOK_JWKS_SIGNING | OTOK_JWKS_TOKEN };

static void print(const otok_keyring *keyring, otok_buf *out)
{
    otok_buf_init(out, NULL, 0);
    if (otok_keyring_print(keyring, ALL_KEYS, out, NULL) != OTOK_OK)
        abort();
}

static void read_back(const otok_keyring *keyring)
{
    otok_buf first, second;
    otok_keyring *again = otok_keyring_new(NULL);
    print(keyring, &first);
    if (otok_keyring_parse((const char *)first.data, first.len, ALL_KEYS, "output", again, NULL) != OTOK_OK)
        abort();
    print(again, &second);
    if (first.len != second.len || memcmp(first.data, second.data, first.len) != 0 ||
        !otok_keyring_same(keyring, again))
        abort();
    otok_buf_free(&first);
    otok_buf_free(&second);
    otok_keyring_free(again);
}

static void list(const otok_keyring *keyring)
{
    otok_key_list *keys;
    if (otok_keyring_keys(keyring, &keys, NULL) != OTOK_OK || keys->count != keyring->nsigning + keyring->ntoken)
        abort();
    otok_key_list_free(keys);
}

/* The input as a JWK whose private half is elsewhere. */
static void add_external(const uint8_t *data, size_t size)
{
    static otok_keyring *base;
    otok_keyring *changed;
    otok_key_change change;
    if (base == NULL && otok_keyring_generate(OTOK_ALG_EDDSA, &base, NULL) != OTOK_OK)
        abort();
    char *jwk = calloc(1, size + 1);
    memcpy(jwk, data, size);
    otok_key_change_init(&change, sizeof change);
    change.step = OTOK_KEY_STEP_ADD;
    change.use = OTOK_KEY_SIGNING;
    change.jwk = jwk;
    if (otok_keyring_change(base, &change, &changed, NULL) == OTOK_OK) {
        if (changed->nsigning != 2 || !changed->signing[1].external || otok_pkey_is_private(changed->signing[1].pkey))
            abort();
        read_back(changed);
    }
    otok_keyring_free(changed);
    free(jwk);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    otok_keyring *keyring = otok_keyring_new(NULL);
    if (otok_keyring_parse((const char *)data, size, ALL_KEYS, "input", keyring, NULL) == OTOK_OK) {
        char *jwks;
        if (otok_keyring_signing(keyring) == NULL || otok_keyring_token(keyring) == NULL)
            abort();
        read_back(keyring);
        list(keyring);
        if (otok_keyring_jwks(keyring, &jwks, NULL) != OTOK_OK || strstr(jwks, "\"d\"") != NULL ||
            strstr(jwks, "\"oct\"") != NULL || strstr(jwks, "otok_") != NULL)
            abort();
        otok_string_free(jwks);
    }
    otok_keyring_free(keyring);
    add_external(data, size);
    return 0;
}
