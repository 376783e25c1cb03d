/*
 * record.c - the head, the body and the seal of a session's record.
 *
 * A body is: format (1), key id of the seal (1), seal (16), length of the sealed part (4), the sealed part, the rest.  Both parts
 * are fields (fields.h).  What is not exactly what we would write is refused.
 *
 * SPDX-License-Identifier: MIT
 */
#include "format/fields.h"

#include <stddef.h>
#include <string.h>

/* ------------------------------------------------------------------------------------------------------- heads */

static uint64_t ms_of(int64_t us)
{
    return us > 0 ? (uint64_t)us / (uint64_t)OTOK_US_PER_MS & UINT64_C(0xffffffffffff) : 0;
}

void otok_head_print(const otok_head *head, uint8_t out[OTOK_HEAD_SIZE])
{
    otok_put_u32(out, head->generation);
    out[4] = head->key_id;
    out[5] = head->flags;
    otok_put_u16(out + 6, head->retries);
    otok_put_u48(out + 8, ms_of(head->rotated_us));
    otok_put_u48(out + 14, ms_of(head->refreshed_us));
    otok_put_u16(out + 20, head->ip_mark);
    otok_put_u16(out + 22, head->user_agent_mark);
}

bool otok_head_parse(otok_str head, otok_head *out)
{
    const uint8_t *in = head.data;
    if (head.len != OTOK_HEAD_SIZE)
        return false;
    out->generation = otok_get_u32(in);
    out->key_id = in[4];
    out->flags = in[5];
    out->retries = otok_get_u16(in + 6);
    out->rotated_us = (int64_t)otok_get_u48(in + 8) * OTOK_US_PER_MS;
    out->refreshed_us = (int64_t)otok_get_u48(in + 14) * OTOK_US_PER_MS;
    out->ip_mark = otok_get_u16(in + 20);
    out->user_agent_mark = otok_get_u16(in + 22);
    return true;
}

/* ------------------------------------------------------------------------------------------------------ fields */

enum { FORMAT = 1, AT_KEY_ID = 1, AT_SEAL = 2, AT_SEALED_LEN = 18, AT_FIELDS = 22 };

#define MEMBER(member)        offsetof(otok_body, member), 0, 0, 0
#define MEMBERS(member, most) offsetof(otok_body, member), 0, offsetof(otok_body, member##_count), most

static const otok_field sealed_fields[] = {
    {1, OTOK_FIELD_LONG, MEMBER(started_us)},
    {2, OTOK_FIELD_LONG, MEMBER(auth_time_us)},
    {3, OTOK_FIELD_LONG, MEMBER(idle_timeout_s)},
    {4, OTOK_FIELD_LONG, MEMBER(max_lifetime_s)},
    {5, OTOK_FIELD_BYTE, MEMBER(grant_type)},
    {6, OTOK_FIELD_BYTE, MEMBER(binding)},
    {7, OTOK_FIELD_DIGEST, MEMBER(thumbprint)},
    {8, OTOK_FIELD_TEXT, MEMBER(scope)},
    {9, OTOK_FIELD_TEXT, MEMBER(sub)},
    {10, OTOK_FIELD_TEXT, MEMBER(sid)},
    {11, OTOK_FIELD_TEXT, MEMBER(acr)},
    {12, OTOK_FIELD_TEXT, MEMBER(claims)},
    {13, OTOK_FIELD_TEXT, MEMBER(start_ip)},
    {14, OTOK_FIELD_TEXT, MEMBER(start_user_agent)},
    {15, OTOK_FIELD_TEXTS, MEMBERS(audience, OTOK_MAX_AUDIENCE)},
    {16, OTOK_FIELD_TEXTS, MEMBERS(amr, OTOK_MAX_AMR)},
    {17, OTOK_FIELD_BYTE, MEMBER(kind)},
    {18, OTOK_FIELD_TEXT, MEMBER(authorization_details)},
    {19, OTOK_FIELD_TEXT, MEMBER(act)},
    {20, OTOK_FIELD_BYTE, MEMBER(refresh_token)},
};

/* The tags of what is not sealed begin at 64. */
static const otok_field other_fields[] = {
    {64, OTOK_FIELD_TEXT, MEMBER(label)},
    {65, OTOK_FIELD_TEXT, MEMBER(last_ip)},
    {66, OTOK_FIELD_TEXT, MEMBER(last_user_agent)},
    {67, OTOK_FIELD_TEXT, MEMBER(notes)},
};

enum {
    SEALED_FIELDS = sizeof sealed_fields / sizeof sealed_fields[0],
    OTHER_FIELDS = sizeof other_fields / sizeof other_fields[0]
};

/* -------------------------------------------------------------------------------------------------------- seal */

static int seal_of(const otok_seal_scope *scope, uint8_t key_id, otok_str sealed, const otok_mac_key *key,
                   uint8_t seal[OTOK_SHA256_SIZE], otok_error *err)
{
    /* Fixed-size values and lengths first, then the texts: no two scopes have the same bytes. */
    uint8_t numbers[16 + 8 + 1 + 3 * 4 + 1];
    memcpy(numbers, scope->id.bytes, 16);
    otok_put_u64(numbers + 16, (uint64_t)scope->created_us);
    numbers[24] = key_id;
    otok_put_u32(numbers + 25, (uint32_t)scope->realm.len);
    otok_put_u32(numbers + 29, (uint32_t)scope->subject.len);
    otok_put_u32(numbers + 33, (uint32_t)scope->client.len);
    numbers[37] = (uint8_t)scope->nlinks;
    const otok_str parts[] = {
        {numbers, sizeof numbers},
        scope->realm,
        scope->subject,
        scope->client,
        {scope->links, scope->nlinks * sizeof(otok_id)},
        sealed,
    };
    return otok_mac(key, parts, sizeof parts / sizeof parts[0], seal, err);
}

int otok_body_print(const otok_body *body, const otok_seal_scope *scope, uint8_t key_id, const otok_mac_key *seal_key,
                    otok_buf *out, otok_error *err)
{
    static const uint8_t blank[OTOK_SEAL_SIZE + 4];
    uint8_t seal[OTOK_SHA256_SIZE];
    size_t start = out->len;
    otok_buf_add_u8(out, FORMAT);
    otok_buf_add_u8(out, key_id);
    otok_buf_add(out, blank, sizeof blank);
    otok_fields_print(sealed_fields, SEALED_FIELDS, body, out);
    size_t end = out->len;
    otok_fields_print(other_fields, OTHER_FIELDS, body, out);
    if (out->failed)
        return otok_fail(err, OTOK_E_NOMEM, "out of memory");
    uint8_t *bytes = out->data + start;
    size_t sealed_len = end - start - AT_FIELDS;
    otok_put_u32(bytes + AT_SEALED_LEN, (uint32_t)sealed_len);
    int rc = seal_of(scope, key_id, (otok_str){bytes + AT_FIELDS, sealed_len}, seal_key, seal, err);
    if (rc == OTOK_OK)
        memcpy(bytes + AT_SEAL, seal, OTOK_SEAL_SIZE);
    return rc;
}

/* The parts of a body; false when it is too short for them. */
static bool split(otok_str bytes, otok_str *sealed, otok_str *rest)
{
    otok_reader reader = otok_reader_of(bytes.data, bytes.len);
    uint8_t format = otok_read_u8(&reader);
    (void)otok_read(&reader, AT_SEALED_LEN - AT_KEY_ID);
    sealed->len = otok_read_u32(&reader);
    sealed->data = otok_read(&reader, sealed->len);
    *rest = (otok_str){reader.data, reader.len};
    return !reader.failed && format == FORMAT;
}

int otok_body_parse(otok_str bytes, otok_body *out, uint8_t *key_id, otok_error *err)
{
    otok_str sealed, rest;
    memset(out, 0, sizeof *out);
    if (!split(bytes, &sealed, &rest))
        return otok_fail(err, OTOK_E_FORMAT, "a session record has a format that this version does not know");
    if (!otok_fields_parse(sealed_fields, SEALED_FIELDS, sealed, out) ||
        !otok_fields_parse(other_fields, OTHER_FIELDS, rest, out))
        return otok_fail(err, OTOK_E_FORMAT, "a session record is damaged, or of a newer version");
    *key_id = ((const uint8_t *)bytes.data)[AT_KEY_ID];
    return OTOK_OK;
}

int otok_body_verify(otok_str bytes, const otok_seal_scope *scope, const otok_mac_key *seal_key, otok_error *err)
{
    otok_str sealed, rest;
    uint8_t seal[OTOK_SHA256_SIZE];
    if (!split(bytes, &sealed, &rest))
        return otok_fail(err, OTOK_E_FORMAT, "a session record has a format that this version does not know");
    const uint8_t *front = bytes.data;
    int rc = seal_of(scope, front[AT_KEY_ID], sealed, seal_key, seal, err);
    if (rc == OTOK_OK && !otok_equal_ct(seal, front + AT_SEAL, OTOK_SEAL_SIZE))
        rc = otok_fail(err, OTOK_E_TAMPERED, "a session record was changed by someone else");
    return rc;
}
