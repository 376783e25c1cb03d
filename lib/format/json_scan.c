/*
 * json_scan.c - is this JSON?  The grammar of RFC 8259, to the letter.
 *
 * cJSON takes more than JSON: a byte order mark, any control character as white space or inside of strings, numbers
 * such as 01, 1. and +1, bad UTF-8, NUL.  What passes here has one meaning to every reader, and cJSON can only fail
 * for want of memory.
 *
 * SPDX-License-Identifier: MIT
 */
#include "format/format.h"

#include <string.h>

enum { DEPTH_MAX = 32, NUMBER_MAX = 63 }; /* cJSON cuts a number after 63 characters */

typedef struct scanner {
    const char *at;
    const char *end;
    int depth;
} scanner;

static bool value(scanner *s);

/* The next byte; 0 at the end, where no rule expects it. */
static uint8_t peek(const scanner *s)
{
    return s->at < s->end ? (uint8_t)*s->at : 0;
}

static bool take(scanner *s, char expected)
{
    if (s->at == s->end || *s->at != expected)
        return false;
    s->at++;
    return true;
}

static bool is_digit(uint8_t c)
{
    return c >= '0' && c <= '9';
}

static void skip_space(scanner *s)
{
    while (peek(s) == ' ' || peek(s) == '\t' || peek(s) == '\n' || peek(s) == '\r')
        s->at++;
}

static bool digits(scanner *s)
{
    const char *start = s->at;
    while (is_digit(peek(s)))
        s->at++;
    return s->at > start;
}

static bool number(scanner *s)
{
    const char *start = s->at;
    (void)take(s, '-');
    if (!take(s, '0') && !digits(s))
        return false;
    if (take(s, '.') && !digits(s))
        return false;
    if (take(s, 'e') || take(s, 'E')) {
        (void)(take(s, '+') || take(s, '-'));
        if (!digits(s))
            return false;
    }
    return s->at - start <= NUMBER_MAX;
}

static bool hex4(scanner *s, uint32_t *code)
{
    static const char hex[] = "0123456789abcdef0123456789ABCDEF";
    *code = 0;
    for (int i = 0; i < 4; i++) {
        uint8_t c = peek(s);
        const char *digit = c != 0 ? strchr(hex, c) : NULL;
        if (digit == NULL)
            return false;
        *code = *code << 4 | (uint32_t)((digit - hex) & 15);
        s->at++;
    }
    return true;
}

/* After \u.  Half of a surrogate pair is no character, and U+0000 would end the text early. */
static bool unicode(scanner *s)
{
    uint32_t code, low;
    if (!hex4(s, &code) || code == 0 || (code >= 0xdc00 && code <= 0xdfff))
        return false;
    if (code < 0xd800 || code > 0xdbff)
        return true;
    return take(s, '\\') && take(s, 'u') && hex4(s, &low) && low >= 0xdc00 && low <= 0xdfff;
}

static bool escape(scanner *s)
{
    uint8_t c = peek(s);
    if (c == 0 || strchr("\"\\/bfnrtu", c) == NULL)
        return false;
    s->at++;
    return c != 'u' || unicode(s);
}

/*
 * One character beyond ASCII.  JSON takes the controls U+0080 to U+009F as they are, which otok_text_is_clean() does
 * not.
 */
static bool utf8(scanner *s)
{
    uint8_t lead = peek(s);
    ptrdiff_t n = lead >= 0xf0 ? 4 : lead >= 0xe0 ? 3 : 2;
    if (s->end - s->at < n)
        return false;
    bool is_control = lead == 0xc2 && (uint8_t)s->at[1] >= 0x80 && (uint8_t)s->at[1] <= 0x9f;
    if (!is_control && !otok_text_is_clean(s->at, (size_t)n))
        return false;
    s->at += n;
    return true;
}

static bool string(scanner *s)
{
    if (!take(s, '"'))
        return false;
    for (;;) {
        uint8_t c = peek(s);
        if (c < 0x20)
            return false;
        if (c >= 0x80) {
            if (!utf8(s))
                return false;
            continue;
        }
        s->at++;
        if (c == '"')
            return true;
        if (c == '\\' && !escape(s))
            return false;
    }
}

static bool member(scanner *s)
{
    skip_space(s);
    if (!string(s))
        return false;
    skip_space(s);
    return take(s, ':') && value(s);
}

/* An object or an array: between the brackets, items with commas between them. */
static bool container(scanner *s, char close, bool (*item)(scanner *))
{
    s->at++;
    if (++s->depth > DEPTH_MAX)
        return false;
    skip_space(s);
    if (!take(s, close)) {
        do {
            if (!item(s))
                return false;
        } while (take(s, ','));
        if (!take(s, close))
            return false;
    }
    s->depth--;
    return true;
}

static bool literal(scanner *s, const char *word)
{
    size_t len = strlen(word);
    if ((size_t)(s->end - s->at) < len || memcmp(s->at, word, len) != 0)
        return false;
    s->at += len;
    return true;
}

static bool bare_value(scanner *s)
{
    switch (peek(s)) {
    case '{':
        return container(s, '}', member);
    case '[':
        return container(s, ']', value);
    case '"':
        return string(s);
    case 't':
        return literal(s, "true");
    case 'f':
        return literal(s, "false");
    case 'n':
        return literal(s, "null");
    default:
        return number(s);
    }
}

static bool value(scanner *s)
{
    skip_space(s);
    if (!bare_value(s))
        return false;
    skip_space(s);
    return true;
}

bool otok_json_scan(const char *text, size_t len, size_t *fault)
{
    scanner s = {.at = text, .end = text + len};
    bool good = value(&s) && s.at == s.end;
    *fault = (size_t)(s.at - text);
    return good;
}
