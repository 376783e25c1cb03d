/*
 * fuzz_jwt.c - JWTs that nobody signed: taken apart safely, and never good.
 *
 * SPDX-License-Identifier: MIT
 */
#include "keys/keys.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* One new key of each algorithm a process: what verifies under it was forged. */
static const otok_pkey *key_for(int32_t algorithm)
{
    static otok_pkey *keys[OTOK_ALG_PS256 + 1];
    if (keys[algorithm] == NULL && otok_pkey_generate(algorithm, &keys[algorithm], NULL) != OTOK_OK)
        abort();
    return keys[algorithm];
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    otok_jwt *jwt;
    if (otok_jwt_parse((const char *)data, size, &jwt, NULL) != OTOK_OK)
        return 0;
    for (int32_t algorithm = OTOK_ALG_ES256; algorithm <= OTOK_ALG_PS256; algorithm++) {
        if (otok_jwt_verify(jwt, (const char *)data, key_for(algorithm), NULL) != OTOK_E_TOKEN_INVALID)
            abort();
    }
    otok_jwt_free(jwt);
    return 0;
}
