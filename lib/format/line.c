/*
 * line.c - a record as one line of JSON, for moving stores (S3).
 *
 *     {"id":"...","kind":1,"version":"...","created_us":"...","sweep_us":"...","keys":["1 ..."],"links":["..."],
 *      "realm":"...","subject":"...","client":"...","head":"...","body":"..."}
 *
 * Bytes are base64url.  Numbers of 64 bits are texts: common readers of JSON round what is beyond 2^53.
 *
 * SPDX-License-Identifier: MIT
 */
#include "format/format.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { NUMBER_ROOM = 24, DIGEST_CHARS = 22, KEY_ROOM = 32 };

/* ---------------------------------------------------------------------------------------------------- printing */

static void add_bytes(otok_buf *out, const char *name, const void *data, size_t len)
{
    otok_json_add_name(out, name);
    otok_buf_add_u8(out, '"');
    otok_buf_add_base64url(out, data, len);
    otok_buf_add_u8(out, '"');
}

static void add_signed(otok_buf *out, const char *name, int64_t value)
{
    char text[NUMBER_ROOM];
    (void)snprintf(text, sizeof text, "%" PRId64, value);
    otok_json_add_text(out, name, text);
}

static void add_version(otok_buf *out, uint64_t version)
{
    char text[NUMBER_ROOM];
    (void)snprintf(text, sizeof text, "%" PRIu64, version);
    otok_json_add_text(out, "version", text);
}

static void add_keys(otok_buf *out, const otok_record *record)
{
    char text[OTOK_MAX_KEYS][KEY_ROOM];
    otok_str items[OTOK_MAX_KEYS];
    for (size_t i = 0; i < record->nkeys; i++) {
        otok_index_key key;
        memcpy(&key, (const uint8_t *)(const void *)record->keys + i * sizeof key, sizeof key); /* may be unaligned */
        int len = snprintf(text[i], sizeof text[i], "%" PRIu32 " ", key.index);
        otok_base64url(key.digest, sizeof key.digest, text[i] + len);
        items[i] = (otok_str){text[i], (size_t)len + DIGEST_CHARS};
    }
    otok_json_add_string_array(out, "keys", items, record->nkeys);
}

static void add_links(otok_buf *out, const otok_record *record)
{
    char text[OTOK_MAX_LINKS][DIGEST_CHARS];
    otok_str items[OTOK_MAX_LINKS];
    for (size_t i = 0; i < record->nlinks; i++) {
        otok_base64url(record->links[i].bytes, sizeof record->links[i].bytes, text[i]);
        items[i] = (otok_str){text[i], DIGEST_CHARS};
    }
    otok_json_add_string_array(out, "links", items, record->nlinks);
}

static int add_name(otok_buf *out, const char *name, otok_str text, otok_error *err)
{
    if (text.len != 0 && !otok_text_is_clean(text.data, text.len))
        return otok_fail(err, OTOK_E_FORMAT, "the %s of a record is not clean UTF-8", name);
    otok_json_add_str(out, name, text);
    return OTOK_OK;
}

int otok_line_print(const otok_record *record, otok_buf *out, otok_error *err)
{
    otok_json_begin(out);
    add_bytes(out, "id", record->id.bytes, sizeof record->id.bytes);
    otok_json_add_integer(out, "kind", record->kind);
    add_version(out, record->version);
    add_signed(out, "created_us", record->created_us);
    add_signed(out, "sweep_us", record->sweep_us);
    add_keys(out, record);
    add_links(out, record);
    int rc = add_name(out, "realm", record->realm, err);
    if (rc == OTOK_OK)
        rc = add_name(out, "subject", record->subject, err);
    if (rc == OTOK_OK)
        rc = add_name(out, "client", record->client, err);
    add_bytes(out, "head", record->head.data, record->head.len);
    add_bytes(out, "body", record->body.data, record->body.len);
    otok_json_end(out);
    otok_buf_add_u8(out, '\n');
    if (rc == OTOK_OK && out->failed)
        rc = otok_fail(err, OTOK_E_NOMEM, "no memory for a line");
    return rc;
}

/* ---------------------------------------------------------------------------------------------------- parsing */

static int is_wrong(otok_error *err, const char *name)
{
    return otok_fail(err, OTOK_E_FORMAT, "%s is missing, or not what it should be", name);
}

/* As it would be printed, and nothing else. */
static bool read_signed(const char *text, int64_t *out)
{
    char again[NUMBER_ROOM];
    if (text == NULL)
        return false;
    *out = strtoll(text, NULL, 10);
    (void)snprintf(again, sizeof again, "%" PRId64, *out);
    return strcmp(again, text) == 0;
}

static bool read_unsigned(const char *text, uint64_t *out)
{
    char again[NUMBER_ROOM];
    if (text == NULL)
        return false;
    *out = strtoull(text, NULL, 10);
    (void)snprintf(again, sizeof again, "%" PRIu64, *out);
    return strcmp(again, text) == 0;
}

static bool read_digest(const char *text, uint8_t out[16])
{
    size_t len = 16;
    return text != NULL && strlen(text) == DIGEST_CHARS && otok_unbase64url(text, DIGEST_CHARS, out, &len) && len == 16;
}

static bool read_key(const char *text, otok_index_key *out)
{
    char index[NUMBER_ROOM];
    uint64_t number = 0;
    const char *space = text != NULL ? strchr(text, ' ') : NULL;
    if (space == NULL || (size_t)(space - text) >= sizeof index)
        return false;
    memcpy(index, text, (size_t)(space - text));
    index[space - text] = '\0';
    if (!read_unsigned(index, &number) || number > OTOK_INDEX_MAX)
        return false;
    out->index = (uint32_t)number;
    return read_digest(space + 1, out->digest);
}

static bool read_keys(const otok_json *json, otok_line *out)
{
    size_t n = otok_json_is_array(json) ? otok_json_count(json) : OTOK_MAX_KEYS + 1;
    if (n > OTOK_MAX_KEYS)
        return false;
    for (size_t i = 0; i < n; i++) {
        if (!read_key(otok_json_string(otok_json_item(json, i)), &out->keys[i]))
            return false;
    }
    out->record.keys = out->keys;
    out->record.nkeys = n;
    return true;
}

static bool read_links(const otok_json *json, otok_line *out)
{
    size_t n = otok_json_is_array(json) ? otok_json_count(json) : OTOK_MAX_LINKS + 1;
    if (n > OTOK_MAX_LINKS)
        return false;
    for (size_t i = 0; i < n; i++) {
        if (!read_digest(otok_json_string(otok_json_item(json, i)), out->links[i].bytes))
            return false;
    }
    out->record.links = out->links;
    out->record.nlinks = n;
    return true;
}

static bool read_name(const otok_json *json, const char *name, otok_str *out)
{
    const char *text = otok_json_text(json, name);
    *out = otok_str_of(text);
    return text != NULL && out->len <= OTOK_MAX_NAME && otok_text_is_clean(text, out->len);
}

static bool read_bytes(const otok_json *json, const char *name, uint8_t *room, size_t most, otok_str *out)
{
    const char *text = otok_json_text(json, name);
    size_t len = most;
    if (text == NULL || !otok_unbase64url(text, strlen(text), room, &len))
        return false;
    *out = (otok_str){room, len};
    return true;
}

static int read_line(const otok_json *json, otok_line *out, otok_error *err)
{
    otok_record *record = &out->record;
    int64_t kind = 0;
    if (!read_digest(otok_json_text(json, "id"), record->id.bytes))
        return is_wrong(err, "id");
    if (!otok_json_integer(json, "kind", &kind) || kind < 1 || kind > OTOK_RECORD_TOMBSTONE)
        return is_wrong(err, "kind");
    record->kind = (uint32_t)kind;
    if (!read_unsigned(otok_json_text(json, "version"), &record->version))
        return is_wrong(err, "version");
    if (!read_signed(otok_json_text(json, "created_us"), &record->created_us))
        return is_wrong(err, "created_us");
    if (!read_signed(otok_json_text(json, "sweep_us"), &record->sweep_us))
        return is_wrong(err, "sweep_us");
    if (!read_keys(otok_json_member(json, "keys"), out))
        return is_wrong(err, "keys");
    if (!read_links(otok_json_member(json, "links"), out))
        return is_wrong(err, "links");
    if (!read_name(json, "realm", &record->realm))
        return is_wrong(err, "realm");
    if (!read_name(json, "subject", &record->subject))
        return is_wrong(err, "subject");
    if (!read_name(json, "client", &record->client))
        return is_wrong(err, "client");
    if (!read_bytes(json, "head", out->head, sizeof out->head, &record->head))
        return is_wrong(err, "head");
    if (!read_bytes(json, "body", out->body, sizeof out->body, &record->body))
        return is_wrong(err, "body");
    return OTOK_OK;
}

static int count_member(void *count, const char *name, const otok_json *value)
{
    (void)name;
    (void)value;
    ++*(size_t *)count;
    return 0;
}

int otok_line_parse(const otok_json *json, otok_line *out, otok_error *err)
{
    enum { MEMBERS = 12 };
    size_t members = 0;
    memset(&out->record, 0, sizeof out->record);
    out->record.size = sizeof out->record;
    if (otok_json_is_object(json))
        (void)otok_json_each(json, count_member, &members);
    if (members != MEMBERS)
        return otok_fail(err, OTOK_E_FORMAT, "not a record of %d members", MEMBERS);
    return read_line(json, out, err);
}
