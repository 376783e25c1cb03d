/*
 * fuzz_jwt.c - JWTs that nobody signed: taken apart safely, without a byte lost, and never good.
 *
 * SPDX-License-Identifier: MIT
 */
#include "support/fuzzing.h"

#include <stdlib.h>
#include <string.h>

#include "keys/keys.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* One new key of each algorithm a process: what verifies under it was forged. */
static const otok_pkey *key_for(int32_t algorithm)
{
    static otok_pkey *keys[OTOK_ALG_PS256 + 1];
    if (keys[algorithm] == NULL && otok_pkey_generate(algorithm, &keys[algorithm], NULL) != OTOK_OK)
        abort();
    return keys[algorithm];
}

/* What was kept of payload and signature is all that the text says. */
static void it_is_whole(const otok_jws *jwt, const uint8_t *data, size_t size)
{
    otok_buf end;
    otok_buf_init(&end, NULL, 0);
    otok_buf_add_u8(&end, '.');
    otok_buf_add_base64url(&end, jwt->payload_text.data, jwt->payload_text.len);
    fuzz_must(end.len <= jwt->signed_len, "a payload is not longer than its text");
    size_t at = jwt->signed_len - end.len;
    otok_buf_add_u8(&end, '.');
    otok_buf_add_base64url(&end, jwt->signature, jwt->signature_len);
    fuzz_must(!end.failed && at + end.len == size && memcmp(data + at, end.data, end.len) == 0,
              "payload and signature have one spelling");
    otok_buf_free(&end);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    otok_jws *jwt;
    if (otok_jws_parse((const char *)data, size, &jwt, NULL) != OTOK_OK)
        return 0;
    it_is_whole(jwt, data, size);
    for (int32_t algorithm = OTOK_ALG_ES256; algorithm <= OTOK_ALG_PS256; algorithm++) {
        if (otok_jws_verify(jwt, (const char *)data, key_for(algorithm), NULL) != OTOK_E_TOKEN_INVALID)
            abort();
    }
    otok_jws_free(jwt);
    return 0;
}
