/*
 * fuzz_base64url.c - what is taken is exactly what we would print.
 *
 * SPDX-License-Identifier: MIT
 */
#include "format/format.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    uint8_t *bytes = malloc(size + 1);
    char *text = malloc(otok_base64url_len(size) + 1);
    size_t len = size;
    if (otok_unbase64url((const char *)data, size, bytes, &len)) {
        otok_base64url(bytes, len, text);
        if (otok_base64url_len(len) != size || memcmp(text, data, size) != 0)
            abort();
    }
    otok_base64url(data, size, text);
    len = size;
    if (!otok_unbase64url(text, otok_base64url_len(size), bytes, &len) || len != size || memcmp(bytes, data, size) != 0)
        abort();
    free(bytes);
    free(text);
    return 0;
}
