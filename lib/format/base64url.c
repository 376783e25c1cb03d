/*
 * base64url.c - RFC 4648 section 5, without padding.
 *
 * SPDX-License-Identifier: MIT
 */
#include "format/format.h"

static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

/* The value of a character plus one; 0: it is none of the alphabet. */
#define ROW4(c, v) [c] = (v) + 1, [(c) + 1] = (v) + 2, [(c) + 2] = (v) + 3, [(c) + 3] = (v) + 4
#define ROW26(c, v)                                                                                                    \
    ROW4(c, v), ROW4((c) + 4, (v) + 4), ROW4((c) + 8, (v) + 8), ROW4((c) + 12, (v) + 12), ROW4((c) + 16, (v) + 16),    \
        ROW4((c) + 20, (v) + 20), [(c) + 24] = (v) + 25, [(c) + 25] = (v) + 26
static const uint8_t values[256] = {
    ROW26('A', 0), ROW26('a', 26), ROW4('0', 52), ROW4('4', 56), ['8'] = 61, ['9'] = 62, ['-'] = 63, ['_'] = 64,
};

size_t otok_base64url_len(size_t bytes)
{
    return bytes / 3 * 4 + (bytes % 3 != 0 ? bytes % 3 + 1 : 0);
}

void otok_base64url(const void *data, size_t len, char *out)
{
    const uint8_t *in = data;
    for (; len >= 3; in += 3, len -= 3) {
        uint32_t bits = (uint32_t)in[0] << 16 | (uint32_t)in[1] << 8 | in[2];
        *out++ = alphabet[bits >> 18];
        *out++ = alphabet[bits >> 12 & 63];
        *out++ = alphabet[bits >> 6 & 63];
        *out++ = alphabet[bits & 63];
    }
    if (len == 0)
        return;
    uint32_t bits = (uint32_t)in[0] << 16 | (len == 2 ? (uint32_t)in[1] << 8 : 0);
    *out++ = alphabet[bits >> 18];
    *out++ = alphabet[bits >> 12 & 63];
    if (len == 2)
        *out = alphabet[bits >> 6 & 63];
}

void otok_buf_add_base64url(otok_buf *buf, const void *data, size_t len)
{
    size_t chars = otok_base64url_len(len);
    if (chars != 0 && otok_buf_reserve(buf, chars)) {
        otok_base64url(data, len, (char *)buf->data + buf->len);
        buf->len += chars;
    }
}

/* The next `n` characters as one number; false when one of them is not of the alphabet. */
static bool group(const char *text, size_t n, uint32_t *bits)
{
    *bits = 0;
    for (size_t i = 0; i < n; i++) {
        uint8_t value = values[(uint8_t)text[i]];
        if (value == 0)
            return false;
        *bits = *bits << 6 | (uint32_t)(value - 1);
    }
    return true;
}

bool otok_unbase64url(const char *text, size_t text_len, uint8_t *out, size_t *len)
{
    size_t tail = text_len % 4;
    size_t bytes = text_len / 4 * 3 + (tail != 0 ? tail - 1 : 0);
    uint32_t bits;

    if (tail == 1 || bytes > *len)
        return false;
    for (size_t i = 0; i + 4 <= text_len; i += 4, out += 3) {
        if (!group(text + i, 4, &bits))
            return false;
        out[0] = (uint8_t)(bits >> 16);
        out[1] = (uint8_t)(bits >> 8);
        out[2] = (uint8_t)bits;
    }
    if (tail != 0) {
        /* The bits that are left over must be 0, or one value had several spellings. */
        if (!group(text + text_len - tail, tail, &bits) || (bits & (tail == 2 ? 15 : 3)) != 0)
            return false;
        out[0] = (uint8_t)(tail == 2 ? bits >> 4 : bits >> 10);
        if (tail == 3)
            out[1] = (uint8_t)(bits >> 2);
    }
    *len = bytes;
    return true;
}
