/*
 * memory.c - the allocator, wiping, and sums that do not overflow.
 *
 * SPDX-License-Identifier: MIT
 */
#include "base/base.h"

#include <stdlib.h>
#include <string.h>

void *otok_malloc(size_t size)
{
    return malloc(size != 0 ? size : 1);
}

void *otok_calloc(size_t count, size_t size)
{
    return calloc(count != 0 ? count : 1, size != 0 ? size : 1);
}

void *otok_realloc(void *old, size_t size)
{
    return realloc(old, size != 0 ? size : 1);
}

void otok_free(void *old)
{
    free(old);
}

char *otok_strdup(const char *text)
{
    return text != NULL ? otok_strndup(text, strlen(text)) : NULL;
}

char *otok_strndup(const void *text, size_t len)
{
    char *copy = otok_malloc(len + 1);
    if (copy != NULL) {
        if (len != 0)
            memcpy(copy, text, len);
        copy[len] = '\0';
    }
    return copy;
}

void otok_wipe(void *secret, size_t size)
{
    if (secret != NULL)
        explicit_bzero(secret, size);
}

void otok_wipe_free(void *secret, size_t size)
{
    otok_wipe(secret, size);
    otok_free(secret);
}

void otok_string_free(char *text)
{
    if (text != NULL)
        otok_wipe_free(text, strlen(text));
}

bool otok_size_add(size_t a, size_t b, size_t *out)
{
    return !__builtin_add_overflow(a, b, out);
}

bool otok_size_mul(size_t a, size_t b, size_t *out)
{
    return !__builtin_mul_overflow(a, b, out);
}

int64_t otok_time_add(int64_t a, int64_t b)
{
    int64_t sum;
    if (a == OTOK_UNLIMITED || b == OTOK_UNLIMITED)
        return OTOK_UNLIMITED;
    if (__builtin_add_overflow(a, b, &sum))
        return a < 0 ? INT64_MIN : INT64_MAX;
    return sum;
}

int64_t otok_seconds_to_us(int64_t seconds)
{
    int64_t us;
    if (__builtin_mul_overflow(seconds, OTOK_US_PER_S, &us))
        return seconds < 0 ? INT64_MIN : OTOK_UNLIMITED;
    return us;
}
