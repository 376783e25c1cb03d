/*
 * fuzz_keyring.c - a keyring that is taken is whole, prints, and reads back the same.
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
    if (first.len != second.len || memcmp(first.data, second.data, first.len) != 0)
        abort();
    otok_buf_free(&first);
    otok_buf_free(&second);
    otok_keyring_free(again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    otok_keyring *keyring = otok_keyring_new(NULL);
    if (otok_keyring_parse((const char *)data, size, ALL_KEYS, "input", keyring, NULL) == OTOK_OK) {
        char *jwks;
        if (otok_keyring_signing(keyring) == NULL || otok_keyring_token(keyring) == NULL)
            abort();
        read_back(keyring);
        if (otok_keyring_jwks(keyring, &jwks, NULL) != OTOK_OK || strstr(jwks, "\"d\"") != NULL ||
            strstr(jwks, "oct") != NULL)
            abort();
        otok_string_free(jwks);
    }
    otok_keyring_free(keyring);
    return 0;
}
