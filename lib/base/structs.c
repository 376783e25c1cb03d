/*
 * structs.c - structs of older and newer headers.
 *
 * SPDX-License-Identifier: MIT
 */
#include "base/base.h"

#include <string.h>

int otok_struct_read(void *out, size_t known, const void *in, size_t least, const char *what, otok_error *err)
{
    if (in == NULL)
        return otok_fail(err, OTOK_E_INVALID, "%s is required", what);
    size_t size;
    memcpy(&size, in, sizeof size);
    if (size < least || size > 65536)
        return otok_fail(err, OTOK_E_INVALID, "%s.size is %zu: call %s_init() first", what, size, what);
    const uint8_t *bytes = in;
    for (size_t i = known; i < size; i++) {
        if (bytes[i] != 0)
            return otok_fail(err, OTOK_E_INVALID, "%s has members that this version of the library does not know",
                             what);
    }
    memset(out, 0, known);
    memcpy(out, in, size < known ? size : known);
    return OTOK_OK;
}

int otok_struct_lent(const void *out, const char *what, otok_error *err)
{
    size_t size = sizeof size;
    if (out != NULL)
        memcpy(&size, out, sizeof size);
    if (size >= sizeof size && size <= 65536)
        return OTOK_OK;
    return otok_fail(err, OTOK_E_INVALID, "%s.size is %zu: call %s_init() first", what, size, what);
}

void otok_struct_give(void *out, const void *from, size_t known)
{
    size_t size;
    if (out == NULL)
        return;
    memcpy(&size, out, sizeof size);
    if (size > sizeof size)
        memcpy((uint8_t *)out + sizeof size, (const uint8_t *)from + sizeof size,
               (size < known ? size : known) - sizeof size);
}

void otok_struct_init(void *out, size_t size)
{
    if (out == NULL || size < sizeof size)
        return;
    memset(out, 0, size);
    memcpy(out, &size, sizeof size);
}
