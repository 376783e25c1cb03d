/*
 * record.c - the head and the body of records.
 *
 * A body is: format (1), key id of the seal (1), seal (16), length of the sealed part (4), the sealed part, the rest.  Both parts
 * are fields of tag (1), length (2), value, in the order of the table below; a field whose value is empty is left out.  What is
 * not exactly what we would write is refused.
 *
 * SPDX-License-Identifier: MIT
 */
#include "format/format.h"

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

void otok_cutoff_head_print(const otok_cutoff_head *head, uint8_t out[OTOK_CUTOFF_HEAD_SIZE])
{
    otok_put_u64(out, (uint64_t)head->all_us);
    otok_put_u64(out + 8, (uint64_t)head->login_us);
}

bool otok_cutoff_head_parse(otok_str head, otok_cutoff_head *out)
{
    const uint8_t *in = head.data;
    if (head.len != OTOK_CUTOFF_HEAD_SIZE)
        return false;
    out->all_us = (int64_t)otok_get_u64(in);
    out->login_us = (int64_t)otok_get_u64(in + 8);
    return true;
}

/* ------------------------------------------------------------------------------------------------------ fields */

enum { FORMAT = 1, AT_KEY_ID = 1, AT_SEAL = 2, AT_SEALED_LEN = 18, AT_FIELDS = 22 };

/* How a member of otok_body is written. */
enum kind { TIME, BYTE, THUMBPRINT, TEXT, TEXTS };

static const struct field {
    uint8_t tag;
    enum kind kind;
    size_t offset;              /* in otok_body */
    size_t count_offset, bound; /* of TEXTS */
} fields[] = {
    {1, TIME, offsetof(otok_body, started_us), 0, 0},
    {2, TIME, offsetof(otok_body, auth_time_us), 0, 0},
    {3, TIME, offsetof(otok_body, idle_timeout_s), 0, 0},
    {4, TIME, offsetof(otok_body, max_lifetime_s), 0, 0},
    {5, BYTE, offsetof(otok_body, grant_type), 0, 0},
    {6, BYTE, offsetof(otok_body, binding), 0, 0},
    {7, THUMBPRINT, offsetof(otok_body, thumbprint), 0, 0},
    {8, TEXT, offsetof(otok_body, scope), 0, 0},
    {9, TEXT, offsetof(otok_body, sub), 0, 0},
    {10, TEXT, offsetof(otok_body, sid), 0, 0},
    {11, TEXT, offsetof(otok_body, acr), 0, 0},
    {12, TEXT, offsetof(otok_body, claims), 0, 0},
    {13, TEXT, offsetof(otok_body, start_ip), 0, 0},
    {14, TEXT, offsetof(otok_body, start_user_agent), 0, 0},
    {15, TEXTS, offsetof(otok_body, audience), offsetof(otok_body, audience_count), OTOK_MAX_AUDIENCE},
    {16, TEXTS, offsetof(otok_body, amr), offsetof(otok_body, amr_count), OTOK_MAX_AMR},
    /* From here on not sealed. */
    {64, TEXT, offsetof(otok_body, label), 0, 0},
    {65, TEXT, offsetof(otok_body, last_ip), 0, 0},
    {66, TEXT, offsetof(otok_body, last_user_agent), 0, 0},
};

enum { FIRST_UNSEALED_TAG = 64 };

static void add_field(otok_buf *out, uint8_t tag, otok_str value)
{
    if (value.len > UINT16_MAX)
        out->failed = true;
    if (value.len == 0 || out->failed)
        return;
    otok_buf_add_u8(out, tag);
    otok_buf_add_u16(out, (uint16_t)value.len);
    otok_buf_add(out, value.data, value.len);
}

static bool is_zero(const uint8_t *bytes, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        if (bytes[i] != 0)
            return false;
    }
    return true;
}

static void print_member(const otok_body *body, const struct field *field, otok_buf *out)
{
    const uint8_t *at = (const uint8_t *)body + field->offset;
    uint8_t number[8];
    size_t count = 1;
    switch (field->kind) {
    case TIME:
        otok_put_u64(number, (uint64_t) * (const int64_t *)(const void *)at);
        add_field(out, field->tag, (otok_str){number, is_zero(number, sizeof number) ? 0 : sizeof number});
        break;
    case BYTE:
        add_field(out, field->tag, (otok_str){at, *at != 0});
        break;
    case THUMBPRINT:
        add_field(out, field->tag, (otok_str){at, is_zero(at, OTOK_SHA256_SIZE) ? 0 : OTOK_SHA256_SIZE});
        break;
    case TEXTS:
        count = *(const size_t *)(const void *)((const uint8_t *)body + field->count_offset);
        /* fall through */
    case TEXT:
        for (size_t i = 0; i < count; i++)
            add_field(out, field->tag, ((const otok_str *)(const void *)at)[i]);
        break;
    }
}

static bool parse_member(otok_body *body, const struct field *field, otok_str value)
{
    uint8_t *at = (uint8_t *)body + field->offset;
    size_t *count;
    switch (field->kind) {
    case TIME:
        if (value.len != 8 || is_zero(value.data, 8))
            return false;
        *(int64_t *)(void *)at = (int64_t)otok_get_u64(value.data);
        return true;
    case BYTE:
        if (value.len != 1 || is_zero(value.data, 1))
            return false;
        *at = *(const uint8_t *)value.data;
        return true;
    case THUMBPRINT:
        if (value.len != OTOK_SHA256_SIZE || is_zero(value.data, value.len))
            return false;
        memcpy(at, value.data, value.len);
        return true;
    case TEXT:
        *(otok_str *)(void *)at = value;
        return true;
    case TEXTS:
        count = (size_t *)(void *)((uint8_t *)body + field->count_offset);
        if (*count == field->bound)
            return false;
        ((otok_str *)(void *)at)[(*count)++] = value;
        return true;
    }
    return false;
}

static const struct field *field_of_tag(uint8_t tag)
{
    for (size_t i = 0; i < sizeof fields / sizeof fields[0]; i++) {
        if (fields[i].tag == tag)
            return &fields[i];
    }
    return NULL;
}

/* Reads the fields of one part: tags rise, and only those of TEXTS repeat. */
static bool parse_fields(otok_reader *reader, bool sealed, otok_body *body)
{
    uint8_t last = 0;
    while (reader->len > 0) {
        uint8_t tag = otok_read_u8(reader);
        size_t len = otok_read_u16(reader);
        const uint8_t *value = otok_read(reader, len);
        const struct field *field = field_of_tag(tag);
        if (value == NULL || len == 0 || field == NULL || (tag < FIRST_UNSEALED_TAG) != sealed)
            return false;
        if (tag < last || (tag == last && field->kind != TEXTS) || !parse_member(body, field, (otok_str){value, len}))
            return false;
        last = tag;
    }
    return true;
}

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
    size_t start = out->len, sealed_len = 0;
    otok_buf_add_u8(out, FORMAT);
    otok_buf_add_u8(out, key_id);
    otok_buf_add(out, blank, sizeof blank);
    for (size_t i = 0; i < sizeof fields / sizeof fields[0]; i++) {
        print_member(body, &fields[i], out);
        if (fields[i].tag < FIRST_UNSEALED_TAG)
            sealed_len = out->len - start - AT_FIELDS;
    }
    if (out->failed)
        return otok_fail(err, OTOK_E_NOMEM, "out of memory");
    uint8_t *bytes = out->data + start;
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
    const uint8_t *front = otok_read(&reader, AT_FIELDS);
    if (front == NULL || front[0] != FORMAT)
        return false;
    sealed->len = otok_get_u32(front + AT_SEALED_LEN);
    sealed->data = otok_read(&reader, sealed->len);
    *rest = (otok_str){reader.data, reader.len};
    return sealed->data != NULL;
}

int otok_body_parse(otok_str bytes, otok_body *out, uint8_t *key_id, otok_error *err)
{
    otok_str sealed, rest;
    memset(out, 0, sizeof *out);
    if (!split(bytes, &sealed, &rest))
        return otok_fail(err, OTOK_E_FORMAT, "a session record has a format that this version does not know");
    otok_reader first = otok_reader_of(sealed.data, sealed.len), second = otok_reader_of(rest.data, rest.len);
    if (!parse_fields(&first, true, out) || !parse_fields(&second, false, out))
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
