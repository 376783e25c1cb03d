/*
 * json_write.c - JSON printed straight into a buffer.
 *
 * SPDX-License-Identifier: MIT
 */
#include "format/format.h"

#include <inttypes.h>
#include <stdio.h>

void otok_json_begin(otok_buf *buf)
{
    otok_buf_add_u8(buf, '{');
}

void otok_json_end(otok_buf *buf)
{
    otok_buf_add_u8(buf, '}');
}

static void add_comma(otok_buf *buf)
{
    if (buf->len > 0 && buf->data[buf->len - 1] != '{')
        otok_buf_add_u8(buf, ',');
}

/* What must be escaped (RFC 8259 section 7), and nothing else. */
static void add_escaped(otok_buf *buf, uint8_t c)
{
    static const char hex[] = "0123456789abcdef";
    static const char letters[] = {
        ['\b'] = 'b', ['\f'] = 'f', ['\n'] = 'n', ['\r'] = 'r', ['\t'] = 't', ['"'] = '"', ['\\'] = '\\'};

    otok_buf_add_u8(buf, '\\');
    if (letters[c] != 0) {
        otok_buf_add_u8(buf, (uint8_t)letters[c]);
    } else {
        char code[] = {'u', '0', '0', hex[c >> 4], hex[c & 15]};
        otok_buf_add(buf, code, sizeof code);
    }
}

void otok_json_add_quoted(otok_buf *buf, otok_str text)
{
    const uint8_t *bytes = text.data;
    size_t plain = 0; /* where the characters begin that were not added yet */

    otok_buf_add_u8(buf, '"');
    for (size_t i = 0; i < text.len; i++) {
        if (bytes[i] >= 0x20 && bytes[i] != '"' && bytes[i] != '\\')
            continue;
        otok_buf_add(buf, bytes + plain, i - plain);
        add_escaped(buf, bytes[i]);
        plain = i + 1;
    }
    if (plain < text.len)
        otok_buf_add(buf, bytes + plain, text.len - plain);
    otok_buf_add_u8(buf, '"');
}

void otok_json_add_name(otok_buf *buf, const char *name)
{
    add_comma(buf);
    otok_json_add_quoted(buf, otok_str_of(name));
    otok_buf_add_u8(buf, ':');
}

void otok_json_add_str(otok_buf *buf, const char *name, otok_str text)
{
    otok_json_add_name(buf, name);
    otok_json_add_quoted(buf, text);
}

void otok_json_add_text(otok_buf *buf, const char *name, const char *text)
{
    otok_json_add_str(buf, name, otok_str_of(text));
}

void otok_json_add_plain(otok_buf *buf, const char *name, otok_str text)
{
    otok_json_add_name(buf, name);
    otok_buf_add_u8(buf, '"');
    otok_buf_add(buf, text.data, text.len);
    otok_buf_add_u8(buf, '"');
}

void otok_json_add_integer(otok_buf *buf, const char *name, int64_t value)
{
    char digits[24];
    int len = snprintf(digits, sizeof digits, "%" PRId64, value);
    otok_json_add_name(buf, name);
    otok_buf_add(buf, digits, (size_t)len);
}

void otok_json_add_raw(otok_buf *buf, const char *name, otok_str json)
{
    otok_json_add_name(buf, name);
    otok_buf_add(buf, json.data, json.len);
}

void otok_json_add_fragment(otok_buf *buf, otok_str members)
{
    if (members.len != 0) {
        add_comma(buf);
        otok_buf_add(buf, members.data, members.len);
    }
}

void otok_json_add_string_array(otok_buf *buf, const char *name, const otok_str *items, size_t n)
{
    otok_json_add_name(buf, name);
    otok_buf_add_u8(buf, '[');
    for (size_t i = 0; i < n; i++) {
        if (i != 0)
            otok_buf_add_u8(buf, ',');
        otok_json_add_quoted(buf, items[i]);
    }
    otok_buf_add_u8(buf, ']');
}
