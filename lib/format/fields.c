/*
 * fields.c - fields of tag, length and value, after a table.
 *
 * SPDX-License-Identifier: MIT
 */
#include "format/fields.h"

#include <string.h>

/* Of what has always the same size: numbers, big-endian, and digests. */
static const size_t sizes[] = {
    [OTOK_FIELD_LONG] = 8, [OTOK_FIELD_INT] = 4, [OTOK_FIELD_BYTE] = 1, [OTOK_FIELD_DIGEST] = OTOK_SHA256_SIZE};

static size_t most_of(const otok_field *field)
{
    return field->most != 0 ? field->most : UINT16_MAX;
}

static bool is_zero(const uint8_t *bytes, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        if (bytes[i] != 0)
            return false;
    }
    return true;
}

/* ------------------------------------------------------------------------------------------------------- printing */

static void print_value(uint8_t tag, const void *value, size_t len, otok_buf *out)
{
    otok_buf_add_u8(out, tag);
    otok_buf_add_u16(out, (uint16_t)len);
    otok_buf_add(out, value, len);
}

static void print_texts(const otok_field *field, const otok_str *texts, size_t count, otok_buf *out)
{
    for (size_t i = 0; i < count; i++) {
        if (texts[i].len > most_of(field))
            out->failed = true;
        else if (texts[i].len != 0)
            print_value(field->tag, texts[i].data, texts[i].len, out);
    }
}

/* Left out when it is 0. */
static void print_number(const otok_field *field, const void *at, otok_buf *out)
{
    uint8_t number[8];
    const uint8_t *value = at;
    if (field->kind == OTOK_FIELD_LONG) {
        otok_put_u64(number, (uint64_t) * (const int64_t *)at);
        value = number;
    } else if (field->kind == OTOK_FIELD_INT) {
        otok_put_u32(number, *(const uint32_t *)at);
        value = number;
    }
    if (!is_zero(value, sizes[field->kind]))
        print_value(field->tag, value, sizes[field->kind], out);
}

static void print_field(const otok_field *field, const void *from, otok_buf *out)
{
    const void *at = (const uint8_t *)from + field->offset;
    const void *count = (const uint8_t *)from + field->count_offset;
    if (field->kind == OTOK_FIELD_TEXTS)
        print_texts(field, at, *(const size_t *)count, out);
    else if (field->kind == OTOK_FIELD_TEXT)
        print_texts(field, at, 1, out);
    else
        print_number(field, at, out);
}

void otok_fields_print(const otok_field *table, size_t n, const void *from, otok_buf *out)
{
    for (size_t i = 0; i < n; i++)
        print_field(&table[i], from, out);
}

/* -------------------------------------------------------------------------------------------------------- parsing */

static bool parse_number(const otok_field *field, otok_str value, void *at)
{
    if (value.len != sizes[field->kind] || is_zero(value.data, value.len))
        return false;
    if (field->kind == OTOK_FIELD_LONG)
        *(int64_t *)at = (int64_t)otok_get_u64(value.data);
    else if (field->kind == OTOK_FIELD_INT)
        *(uint32_t *)at = otok_get_u32(value.data);
    else
        memcpy(at, value.data, value.len);
    return true;
}

/* Of TEXTS one more; tags that repeat come here as often as they stand. */
static bool parse_text(const otok_field *field, otok_str value, otok_str *texts, size_t *count, size_t count_most)
{
    if (value.len == 0 || value.len > most_of(field) || *count == count_most)
        return false;
    texts[(*count)++] = value;
    return true;
}

static bool parse_field(const otok_field *field, otok_str value, void *into)
{
    void *at = (uint8_t *)into + field->offset;
    void *count = (uint8_t *)into + field->count_offset;
    if (field->kind == OTOK_FIELD_TEXTS)
        return parse_text(field, value, at, count, field->count_most);
    if (field->kind == OTOK_FIELD_TEXT)
        return parse_text(field, value, at, &(size_t){0}, 1);
    return parse_number(field, value, at);
}

bool otok_fields_parse(const otok_field *table, size_t n, otok_str bytes, void *into)
{
    otok_reader reader = otok_reader_of(bytes.data, bytes.len);
    size_t i = 0; /* the field that may come next: those before it have had their turn */
    while (reader.len > 0) {
        uint8_t tag = otok_read_u8(&reader);
        size_t len = otok_read_u16(&reader);
        otok_str value = {otok_read(&reader, len), len};
        while (i < n && table[i].tag != tag)
            i++;
        if (i == n || reader.failed || !parse_field(&table[i], value, into))
            return false;
        if (table[i].kind != OTOK_FIELD_TEXTS)
            i++;
    }
    return true;
}
