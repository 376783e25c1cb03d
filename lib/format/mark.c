/*
 * mark.c - the head and the body of marks, the records of scopes.
 *
 * A body is: format (1), where the walk is (8 + 16), fields (fields.h).
 *
 * SPDX-License-Identifier: MIT
 */
#include "format/fields.h"

#include <stddef.h>
#include <string.h>

enum { FORMAT = 1, SCOPE_MOST = 4096 };

static const otok_field fields[] = {
    {1, OTOK_FIELD_TEXT, offsetof(otok_mark_body, sid), OTOK_MAX_NAME, 0, 0},
    {2, OTOK_FIELD_TEXT, offsetof(otok_mark_body, consent), SCOPE_MOST, 0, 0},
    {3, OTOK_FIELD_LONG, offsetof(otok_mark_body, granted_us), 0, 0, 0},
    {4, OTOK_FIELD_LONG, offsetof(otok_mark_body, updated_us), 0, 0, 0},
    {5, OTOK_FIELD_BYTE, offsetof(otok_mark_body, stays), 0, 0, 0},
};

enum { FIELDS = sizeof fields / sizeof fields[0] };

void otok_mark_head_print(const otok_mark_head *head, uint8_t out[OTOK_MARK_HEAD_SIZE])
{
    otok_put_u64(out, (uint64_t)head->all_us);
    otok_put_u64(out + 8, (uint64_t)head->login_us);
}

bool otok_mark_head_parse(otok_str head, otok_mark_head *out)
{
    const uint8_t *in = head.data;
    if (head.len != OTOK_MARK_HEAD_SIZE)
        return false;
    out->all_us = (int64_t)otok_get_u64(in);
    out->login_us = (int64_t)otok_get_u64(in + 8);
    return true;
}

bool otok_mark_body_print(const otok_mark_body *body, otok_buf *out)
{
    otok_mark_body with = *body;
    if (with.consent.len == 0)
        with.granted_us = with.updated_us = 0; /* of no consent, and nothing to keep about one that is gone */
    otok_buf_add_u8(out, FORMAT);
    otok_buf_add_u64(out, (uint64_t)with.at_us);
    otok_buf_add(out, with.at.bytes, sizeof with.at.bytes);
    otok_fields_print(fields, FIELDS, &with, out);
    return !out->failed;
}

bool otok_mark_body_parse(otok_str bytes, otok_mark_body *out)
{
    otok_reader reader = otok_reader_of(bytes.data, bytes.len);
    uint8_t format = otok_read_u8(&reader);
    memset(out, 0, sizeof *out);
    out->at_us = (int64_t)otok_read_u64(&reader);
    const uint8_t *at = otok_read(&reader, sizeof out->at.bytes);
    if (at == NULL || format != FORMAT)
        return false;
    memcpy(out->at.bytes, at, sizeof out->at.bytes);
    return otok_fields_parse(fields, FIELDS, (otok_str){reader.data, reader.len}, out) &&
           (out->consent.len != 0 || (out->granted_us == 0 && out->updated_us == 0));
}
