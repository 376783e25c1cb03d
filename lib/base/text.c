/*
 * text.c - what text may go in.
 *
 * SPDX-License-Identifier: MIT
 */
#include "base/base.h"

#include <string.h>

/* Length of the well-formed UTF-8 character at `p` (RFC 3629 section 4), 0 when there is none. */
static size_t utf8_char(const uint8_t *p, size_t len, uint32_t *code_point)
{
    static const struct {
        uint8_t mask, lead;
        uint32_t least;
    } forms[] = {{0x80, 0x00, 0}, {0xe0, 0xc0, 0x80}, {0xf0, 0xe0, 0x800}, {0xf8, 0xf0, 0x10000}};

    for (size_t n = 0; n < 4; n++) {
        if ((p[0] & forms[n].mask) != forms[n].lead)
            continue;
        if (len < n + 1)
            return 0;
        uint32_t code = (uint32_t)(p[0] & ~forms[n].mask & 0xff);
        for (size_t i = 1; i <= n; i++) {
            if ((p[i] & 0xc0) != 0x80)
                return 0;
            code = code << 6 | (p[i] & 0x3f);
        }
        if (code < forms[n].least || code > 0x10ffff || (code >= 0xd800 && code <= 0xdfff))
            return 0;
        *code_point = code;
        return n + 1;
    }
    return 0;
}

bool otok_text_is_clean(const void *text, size_t len)
{
    const uint8_t *p = text;
    while (len > 0) {
        uint32_t code;
        size_t n = utf8_char(p, len, &code);
        if (n == 0 || code < 0x20 || (code >= 0x7f && code <= 0x9f))
            return false;
        p += n;
        len -= n;
    }
    return true;
}

bool otok_text_is_utf8(const void *text, size_t len)
{
    const uint8_t *p = text;
    while (len > 0) {
        uint32_t code;
        size_t n = utf8_char(p, len, &code);
        if (n == 0 || code == 0)
            return false;
        p += n;
        len -= n;
    }
    return true;
}

size_t otok_text_cut(const void *text, size_t len, size_t bound)
{
    const uint8_t *p = text;
    if (len <= bound)
        return len;
    while (bound > 0 && (p[bound] & 0xc0) == 0x80)
        bound--;
    return bound;
}

int otok_text_check(const char *text, size_t bound, bool required, const char *field, size_t *len, otok_error *err)
{
    size_t size = text != NULL ? strnlen(text, bound + 1) : 0;
    if (len != NULL)
        *len = size;
    if (required && size == 0)
        return otok_fail(err, OTOK_E_INVALID, "%s is required and must not be empty", field);
    if (size > bound)
        return otok_fail(err, OTOK_E_INVALID, "%s is longer than %zu bytes", field, bound);
    if (size != 0 && !otok_text_is_clean(text, size))
        return otok_fail(err, OTOK_E_INVALID, "%s is not UTF-8 without control characters", field);
    return OTOK_OK;
}

int otok_texts_check(const otok_text_rule *rules, size_t n, otok_error *err)
{
    int rc = OTOK_OK;
    for (size_t i = 0; rc == OTOK_OK && i < n; i++)
        rc = otok_text_check(rules[i].text, rules[i].bound, rules[i].required, rules[i].field, NULL, err);
    return rc;
}

int otok_choices_check(const otok_choice_rule *rules, size_t n, int code, otok_error *err)
{
    for (size_t i = 0; i < n; i++) {
        if (rules[i].value < 0 || rules[i].value > rules[i].last)
            return otok_fail(err, code, "%s has no value %d", rules[i].field, rules[i].value);
    }
    return OTOK_OK;
}

char otok_lower(char c)
{
    return c >= 'A' && c <= 'Z' ? (char)(c - 'A' + 'a') : c;
}
