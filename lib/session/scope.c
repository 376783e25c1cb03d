/*
 * scope.c - sets of scope words (RFC 6749 section 3.3).
 *
 * SPDX-License-Identifier: MIT
 */
#include "session/rules.h"

#include <string.h>

/* scope-token = 1*( %x21 / %x23-5B / %x5D-7E ) */
static bool is_word_char(uint8_t c)
{
    return c > 0x20 && c < 0x7f && c != '"' && c != '\\';
}

/* The next word at or behind *at; empty at the end. */
static otok_str next_word(otok_str text, size_t *at)
{
    const char *p = text.data;
    while (*at < text.len && p[*at] == ' ')
        (*at)++;
    size_t start = *at;
    while (*at < text.len && p[*at] != ' ')
        (*at)++;
    return (otok_str){*at > start ? p + start : NULL, *at - start};
}

/* What was appended since `start`; an empty buffer has no address to count from. */
static otok_str since(const otok_buf *out, size_t start)
{
    return out->len > start ? (otok_str){out->data + start, out->len - start} : (otok_str){0};
}

static bool has_word(otok_str scope, otok_str word)
{
    size_t at = 0;
    for (otok_str w = next_word(scope, &at); w.len != 0; w = next_word(scope, &at)) {
        if (otok_str_eq(w, word))
            return true;
    }
    return false;
}

bool otok_scope_has(otok_str scope, const char *word)
{
    return has_word(scope, otok_str_of(word));
}

bool otok_scope_covers(otok_str granted, otok_str asked)
{
    size_t at = 0;
    for (otok_str w = next_word(asked, &at); w.len != 0; w = next_word(asked, &at)) {
        if (!has_word(granted, w))
            return false;
    }
    return true;
}

/* What is kept moves to the left, over what has been read already. */
size_t otok_scope_drop(char *scope, size_t len, const char *word)
{
    const otok_str whole = {scope, len}, dropped = otok_str_of(word);
    size_t at = 0, kept = 0;
    for (otok_str w = next_word(whole, &at); w.len != 0; w = next_word(whole, &at)) {
        if (otok_str_eq(w, dropped))
            continue;
        if (kept != 0)
            scope[kept++] = ' ';
        memmove(scope + kept, w.data, w.len);
        kept += w.len;
    }
    return kept;
}

int otok_scope_normalise(const char *scope, otok_buf *out, otok_error *err)
{
    otok_str text = otok_str_of(scope);
    size_t start = out->len, at = 0;
    for (size_t i = 0; i < text.len; i++) {
        if (scope[i] != ' ' && !is_word_char((uint8_t)scope[i]))
            return otok_fail(err, OTOK_E_INVALID, "scope has a character that RFC 6749 section 3.3 does not allow");
    }
    for (otok_str w = next_word(text, &at); w.len != 0; w = next_word(text, &at)) {
        if (has_word(since(out, start), w))
            continue;
        if (out->len != start)
            otok_buf_add_u8(out, ' ');
        otok_buf_add(out, w.data, w.len);
    }
    return out->failed ? otok_fail(err, OTOK_E_NOMEM, "out of memory") : OTOK_OK;
}

int otok_scope_narrow(otok_str granted, const char *asked, otok_buf *out, otok_error *err)
{
    size_t start = out->len;
    int rc = otok_scope_normalise(asked, out, err);
    if (rc != OTOK_OK)
        return rc == OTOK_E_INVALID ? otok_fail(err, OTOK_E_SCOPE, "scope has a character that is not allowed") : rc;
    otok_str normal = since(out, start);
    if (normal.len == 0)
        otok_buf_add(out, granted.data, granted.len);
    /* The word is not in the message: it may be anything, a token that was sent in the wrong place too. */
    if (!otok_scope_covers(granted, normal))
        return otok_fail(err, OTOK_E_SCOPE, "scope asks for a word that was not granted");
    return out->failed ? otok_fail(err, OTOK_E_NOMEM, "out of memory") : OTOK_OK;
}
