/*
 * lmdb_record.c - a record as the bytes of a value, an index entry as a key and a value.
 *
 * SPDX-License-Identifier: MIT
 */
#include "store/lmdb.h"

#include <string.h>

enum { VALUE_FORMAT = 1, VERSION_AT = 8, CREATED_AT = 16, SWEEP_AT = 24 };
enum { DIGEST_SIZE = OTOK_LMDB_KEY_SIZE - 1 };

/* Where the first eight bytes of a value have what. */
enum { FORMAT_AT, KIND_AT, NKEYS_AT, NLINKS_AT, HEAD_LEN_AT, REALM_LEN_AT, SUBJECT_LEN_AT, CLIENT_LEN_AT };

_Static_assert(sizeof(otok_id) == DIGEST_SIZE && sizeof((otok_index_key *)NULL)->digest == DIGEST_SIZE,
               "the digest of a key and the id of a link may be the same bytes");

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

/* How many digests there are: numbered in the order of their first use, none beyond the next; else -1. */
static int count_digests(const uint8_t *numbers, size_t n)
{
    int count = 0;
    for (size_t i = 0; i < n; i++) {
        if (numbers[i] > count)
            return -1;
        count += numbers[i] == count;
    }
    return count;
}

static bool each_once(const uint8_t (*digests)[DIGEST_SIZE], int count)
{
    for (int i = 1; i < count; i++) {
        for (int j = 0; j < i; j++) {
            if (memcmp(digests[i], digests[j], DIGEST_SIZE) == 0)
                return false;
        }
    }
    return true;
}

/* Keys and links, into the view's own. */
static bool read_digests(otok_reader *in, otok_lmdb_view *out)
{
    size_t nkeys = out->record.nkeys, nlinks = out->record.nlinks;
    const uint8_t *indexes = otok_read(in, nkeys), *numbers = otok_read(in, nkeys + nlinks);
    int count = in->failed ? -1 : count_digests(numbers, nkeys + nlinks);
    const void *at = count < 0 ? NULL : otok_read(in, (size_t)count * DIGEST_SIZE);
    const uint8_t(*digests)[DIGEST_SIZE] = (const uint8_t(*)[DIGEST_SIZE])at;
    if (count < 0 || in->failed || !each_once(digests, count))
        return false;
    for (size_t i = 0; i < nkeys; i++) {
        out->keys[i].index = indexes[i];
        if (indexes[i] == OTOK_INDEX_ALL)
            return false;
        memcpy(out->keys[i].digest, digests[numbers[i]], DIGEST_SIZE);
    }
    for (size_t i = 0; i < nlinks; i++)
        memcpy(out->links[i].bytes, digests[numbers[nkeys + i]], DIGEST_SIZE);
    return true;
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
    if (!read_digests(&in, out))
        return false;
    record->keys = record->nkeys != 0 ? out->keys : NULL;
    record->links = record->nlinks != 0 ? out->links : NULL;
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

/* The number of `digest` among those at `digests`, where it is put when it is new. */
static uint8_t number_of(uint8_t (*digests)[DIGEST_SIZE], size_t *count, const uint8_t *digest)
{
    size_t i = 0;
    while (i < *count && memcmp(digests[i], digest, DIGEST_SIZE) != 0)
        i++;
    if (i == *count)
        memcpy(digests[(*count)++], digest, DIGEST_SIZE);
    return (uint8_t)i;
}

static uint8_t *add_digests(uint8_t *at, const otok_record *record)
{
    size_t n = record->nkeys + record->nlinks, count = 0;
    uint8_t *numbers = at + record->nkeys;
    uint8_t(*digests)[DIGEST_SIZE] = (void *)(numbers + n);
    for (size_t i = 0; i < record->nkeys; i++) {
        at[i] = (uint8_t)record->keys[i].index;
        numbers[i] = number_of(digests, &count, record->keys[i].digest);
    }
    for (size_t i = 0; i < record->nlinks; i++)
        numbers[record->nkeys + i] = number_of(digests, &count, record->links[i].bytes);
    return digests[count];
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

    uint8_t *at = add_digests(out + OTOK_LMDB_KEYS_AT, record);
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
