/*
 * lmdb_record.c - a record as the bytes of a value, an index entry as a key and a value.
 *
 * SPDX-License-Identifier: MIT
 */
#include "store/lmdb.h"

#include <string.h>

enum { VALUE_FORMAT = 1, VERSION_AT = 8, CREATED_AT = 16, SWEEP_AT = 24, DIGEST_SIZE = OTOK_LMDB_KEY_SIZE - 1 };

/* Where the first eight bytes of a value have what. */
enum { FORMAT_AT, KIND_AT, NKEYS_AT, NLINKS_AT, HEAD_LEN_AT, REALM_LEN_AT, SUBJECT_LEN_AT, CLIENT_LEN_AT };

_Static_assert(sizeof(otok_id) == OTOK_LMDB_ID_SIZE && _Alignof(otok_id) == 1,
               "ids are read where they lie in the map");

bool otok_lmdb_is_link_kind(uint32_t kind)
{
    return kind == OTOK_RECORD_CUTOFF || kind == OTOK_RECORD_PAIR || kind == OTOK_RECORD_SWEEPER;
}

static bool is_zero(const uint8_t *bytes, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        if (bytes[i] != 0)
            return false;
    }
    return true;
}

static otok_str take(otok_reader *in, size_t len)
{
    return (otok_str){.data = otok_read(in, len), .len = len};
}

bool otok_lmdb_decode(otok_lmdb_view *out, const otok_id *id, const void *value, size_t len)
{
    const uint8_t *at = value;
    if (len < OTOK_LMDB_KEYS_AT || at[FORMAT_AT] != VALUE_FORMAT || at[NKEYS_AT] > OTOK_MAX_KEYS ||
        at[NLINKS_AT] > OTOK_MAX_LINKS || at[HEAD_LEN_AT] > OTOK_MAX_HEAD)
        return false;
    if (at[KIND_AT] < OTOK_RECORD_SESSION || at[KIND_AT] > OTOK_RECORD_TOMBSTONE)
        return false;
    if (!is_zero(at + OTOK_LMDB_HEAD_AT + at[HEAD_LEN_AT], OTOK_MAX_HEAD - (size_t)at[HEAD_LEN_AT]))
        return false;

    otok_record *record = &out->record;
    *record = (otok_record){.size = sizeof *record,
                            .kind = at[KIND_AT],
                            .id = *id,
                            .version = otok_get_u64(at + VERSION_AT),
                            .created_us = (int64_t)otok_get_u64(at + CREATED_AT),
                            .sweep_us = (int64_t)otok_get_u64(at + SWEEP_AT),
                            .nkeys = at[NKEYS_AT],
                            .nlinks = at[NLINKS_AT],
                            .head = {at + OTOK_LMDB_HEAD_AT, at[HEAD_LEN_AT]}};

    otok_reader in = otok_reader_of(at + OTOK_LMDB_KEYS_AT, len - OTOK_LMDB_KEYS_AT);
    for (size_t i = 0; i < record->nkeys; i++) {
        out->keys[i].index = otok_read_u8(&in);
        const uint8_t *digest = otok_read(&in, DIGEST_SIZE);
        if (digest == NULL || out->keys[i].index == OTOK_INDEX_ALL)
            return false;
        memcpy(out->keys[i].digest, digest, DIGEST_SIZE);
    }
    record->keys = record->nkeys != 0 ? out->keys : NULL;
    record->links = (const otok_id *)otok_read(&in, record->nlinks * OTOK_LMDB_ID_SIZE);
    record->realm = take(&in, at[REALM_LEN_AT]);
    record->subject = take(&in, at[SUBJECT_LEN_AT]);
    record->client = take(&in, at[CLIENT_LEN_AT]);
    if (in.failed || in.len > OTOK_MAX_BODY)
        return false;
    record->body = take(&in, in.len);
    return true;
}

static uint8_t *add(uint8_t *at, const void *data, size_t len)
{
    if (len != 0)
        memcpy(at, data, len);
    return at + len;
}

size_t otok_lmdb_encode(uint8_t out[OTOK_LMDB_MAX_VALUE], const otok_record *record, int64_t created_us)
{
    out[FORMAT_AT] = VALUE_FORMAT;
    out[KIND_AT] = (uint8_t)record->kind;
    out[NKEYS_AT] = (uint8_t)record->nkeys;
    out[NLINKS_AT] = (uint8_t)record->nlinks;
    out[REALM_LEN_AT] = (uint8_t)record->realm.len;
    out[SUBJECT_LEN_AT] = (uint8_t)record->subject.len;
    out[CLIENT_LEN_AT] = (uint8_t)record->client.len;
    otok_put_u64(out + CREATED_AT, (uint64_t)created_us);
    otok_put_u64(out + SWEEP_AT, (uint64_t)record->sweep_us);
    otok_lmdb_change_head(out, record->version, record->head);

    uint8_t *at = out + OTOK_LMDB_KEYS_AT;
    for (size_t i = 0; i < record->nkeys; i++) {
        otok_lmdb_index_key(at, &record->keys[i]);
        at += OTOK_LMDB_KEY_SIZE;
    }
    at = add(at, record->links, record->nlinks * OTOK_LMDB_ID_SIZE);
    at = add(at, record->realm.data, record->realm.len);
    at = add(at, record->subject.data, record->subject.len);
    at = add(at, record->client.data, record->client.len);
    at = add(at, record->body.data, record->body.len);
    return (size_t)(at - out);
}

void otok_lmdb_change_head(uint8_t *value, uint64_t version, otok_str head)
{
    value[HEAD_LEN_AT] = (uint8_t)head.len;
    otok_put_u64(value + VERSION_AT, version);
    memset(value + OTOK_LMDB_HEAD_AT, 0, OTOK_MAX_HEAD);
    (void)add(value + OTOK_LMDB_HEAD_AT, head.data, head.len);
}

void otok_lmdb_index_key(uint8_t out[OTOK_LMDB_KEY_SIZE], const otok_index_key *key)
{
    out[0] = (uint8_t)key->index;
    memcpy(out + 1, key->digest, DIGEST_SIZE);
}

/* With its sign bit flipped a big-endian number sorts as its value does. */
void otok_lmdb_index_entry(uint8_t out[OTOK_LMDB_ENTRY_SIZE], int64_t order_us, const otok_id *id)
{
    otok_put_u64(out, (uint64_t)order_us ^ (UINT64_C(1) << 63));
    memcpy(out + sizeof(uint64_t), id->bytes, sizeof id->bytes);
}
