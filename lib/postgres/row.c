/*
 * row.c - a record as parameters, a row as a record; all of it in PostgreSQL's binary formats.
 *
 * SPDX-License-Identifier: MIT
 */
#include "postgres/postgres.h"

#include <stdlib.h>
#include <string.h>

enum { INT64_SIZE = 8, ARRAY_HEAD = 20, BYTEA_OID = 17, ID_SIZE = 16, KEY_SIZE = 17, DIGEST_SIZE = 16 };

const char *const otok_pg_columns[OTOK_PG_COLUMNS] = {"realm_key", "subject_key", "client_key",
                                                      "pair_key",  "sid_key",     "sweep_key"};

/* ---------------------------------------------------------------------------------------------------- numbers */

static void put32(unsigned char *out, uint32_t value)
{
    for (int i = 3; i >= 0; i--, value >>= 8)
        out[i] = (unsigned char)value;
}

static void put64(unsigned char *out, uint64_t value)
{
    for (int i = 7; i >= 0; i--, value >>= 8)
        out[i] = (unsigned char)value;
}

static uint64_t get(const unsigned char *in, size_t len)
{
    uint64_t value = 0;
    for (size_t i = 0; i < len; i++)
        value = value << 8 | in[i];
    return value;
}

/* ---------------------------------------------------------------------------------------------------- parameters */

bool otok_pg_parameters_begin(otok_pg_parameters *p, size_t size)
{
    memset(p, 0, sizeof *p);
    p->room = malloc(size != 0 ? size : 1);
    p->size = size;
    return p->room != NULL;
}

void otok_pg_parameters_free(otok_pg_parameters *p)
{
    free(p->room);
    p->room = NULL;
}

/* All that is added has its place in `size`, which the caller has counted. */
static unsigned char *take(otok_pg_parameters *p, size_t len)
{
    unsigned char *at = p->room + p->used;
    p->used += len;
    return at;
}

static void add(otok_pg_parameters *p, const void *data, size_t len)
{
    p->values[p->n] = data;
    p->lengths[p->n] = (int)len;
    p->formats[p->n] = 1;
    p->n++;
}

void otok_pg_add_bytes(otok_pg_parameters *p, const void *data, size_t len)
{
    add(p, len != 0 ? data : "", len); /* a NULL pointer would be NULL */
}

void otok_pg_add_null(otok_pg_parameters *p)
{
    add(p, NULL, 0);
}

void otok_pg_add_int64(otok_pg_parameters *p, int64_t value)
{
    unsigned char *at = take(p, INT64_SIZE);
    put64(at, (uint64_t)value);
    add(p, at, INT64_SIZE);
}

size_t otok_pg_array_size(size_t n, size_t len)
{
    return ARRAY_HEAD + n * (4 + len);
}

/* Dimensions, whether there are NULLs, type of the items, how many, the first one's number; then each with its length. */
static unsigned char *begin_array(otok_pg_parameters *p, size_t n, size_t len)
{
    size_t size = n != 0 ? otok_pg_array_size(n, len) : 12;
    unsigned char *at = take(p, size);
    put32(at, n != 0);
    put32(at + 4, 0);
    put32(at + 8, BYTEA_OID);
    if (n != 0) {
        put32(at + 12, (uint32_t)n);
        put32(at + 16, 1);
    }
    add(p, at, size);
    return at + ARRAY_HEAD;
}

void otok_pg_add_array(otok_pg_parameters *p, const void *items, size_t n, size_t len)
{
    unsigned char *at = begin_array(p, n, len);
    for (size_t i = 0; i < n; i++, at += 4 + len) {
        put32(at, (uint32_t)len);
        memcpy(at + 4, (const unsigned char *)items + i * len, len);
    }
}

/* ---------------------------------------------------------------------------------------------------- a record */

size_t otok_pg_record_room(const otok_record *record)
{
    return 4 * sizeof(int64_t) + otok_pg_array_size(record->nkeys, KEY_SIZE) +
           otok_pg_array_size(record->nlinks, ID_SIZE);
}

static otok_index_key key_at(const otok_record *record, size_t i)
{
    otok_index_key key;
    memcpy(&key, (const unsigned char *)(const void *)record->keys + i * sizeof key, sizeof key); /* may be unaligned */
    return key;
}

static void add_keys(otok_pg_parameters *p, const otok_record *record)
{
    unsigned char others[OTOK_MAX_KEYS][KEY_SIZE];
    size_t nothers = 0;
    for (uint32_t index = 1; index <= OTOK_PG_COLUMNS; index++) {
        size_t i = 0;
        while (i < record->nkeys && key_at(record, i).index != index)
            i++;
        if (i == record->nkeys) {
            otok_pg_add_null(p);
        } else {
            otok_index_key key = key_at(record, i);
            unsigned char *at = take(p, DIGEST_SIZE);
            memcpy(at, key.digest, DIGEST_SIZE);
            add(p, at, DIGEST_SIZE);
        }
    }
    for (size_t i = 0; i < record->nkeys; i++) {
        otok_index_key key = key_at(record, i);
        if (key.index <= OTOK_PG_COLUMNS)
            continue;
        others[nothers][0] = (unsigned char)key.index;
        memcpy(others[nothers++] + 1, key.digest, DIGEST_SIZE);
    }
    otok_pg_add_array(p, others, nothers, KEY_SIZE);
}

void otok_pg_add_record(otok_pg_parameters *p, const otok_record *record)
{
    otok_pg_add_bytes(p, record->id.bytes, ID_SIZE);
    otok_pg_add_int64(p, record->kind);
    otok_pg_add_int64(p, (int64_t)record->version);
    otok_pg_add_int64(p, record->created_us);
    otok_pg_add_int64(p, record->sweep_us);
    add_keys(p, record);
    otok_pg_add_array(p, record->links, record->nlinks, ID_SIZE);
    otok_pg_add_bytes(p, record->realm.data, record->realm.len);
    otok_pg_add_bytes(p, record->subject.data, record->subject.len);
    otok_pg_add_bytes(p, record->client.data, record->client.len);
    otok_pg_add_bytes(p, record->head.data, record->head.len);
    otok_pg_add_bytes(p, record->body.data, record->body.len);
}

/* ---------------------------------------------------------------------------------------------------- a row */

enum {
    ID,
    KIND,
    VERSION,
    CREATED,
    SWEEP,
    KEYS,
    OTHER_KEYS = KEYS + OTOK_PG_COLUMNS,
    LINKS,
    REALM,
    SUBJECT,
    CLIENT,
    HEAD,
    BODY
};

static const unsigned char *bytes_at(const PGresult *result, int row, int column)
{
    return (const unsigned char *)PQgetvalue(result, row, column);
}

static bool read_int64(const PGresult *result, int row, int column, int64_t *out)
{
    if (PQgetisnull(result, row, column) || PQgetlength(result, row, column) != INT64_SIZE)
        return false;
    *out = (int64_t)get(bytes_at(result, row, column), INT64_SIZE);
    return true;
}

static otok_str read_bytes(const PGresult *result, int row, int column)
{
    return (otok_str){bytes_at(result, row, column), (size_t)PQgetlength(result, row, column)};
}

/* The items of an array, each of `len` bytes; more than `most`, or others, are false.  `*at` is the first, with its length before it. */
static bool read_array(const PGresult *result, int row, int column, size_t len, size_t most, const unsigned char **at,
                       size_t *n)
{
    const unsigned char *bytes = bytes_at(result, row, column);
    size_t size = (size_t)PQgetlength(result, row, column);
    *n = 0;
    *at = bytes;
    if (size < 12 || get(bytes + 4, 4) != 0)
        return false;
    if (get(bytes, 4) == 0)
        return true;
    if (size < ARRAY_HEAD || get(bytes, 4) != 1)
        return false;
    *n = (size_t)get(bytes + 12, 4);
    *at = bytes + ARRAY_HEAD;
    if (*n > most || size != otok_pg_array_size(*n, len))
        return false;
    for (size_t i = 0; i < *n; i++) {
        if (get(*at + i * (4 + len), 4) != len)
            return false;
    }
    return true;
}

static bool read_keys(const PGresult *result, int row, otok_pg_row *out)
{
    const unsigned char *others;
    size_t n = 0, nothers;
    for (int i = 0; i < OTOK_PG_COLUMNS; i++) {
        if (PQgetisnull(result, row, KEYS + i))
            continue;
        if (PQgetlength(result, row, KEYS + i) != DIGEST_SIZE)
            return false;
        out->keys[n].index = (uint32_t)i + 1;
        memcpy(out->keys[n++].digest, bytes_at(result, row, KEYS + i), DIGEST_SIZE);
    }
    if (!read_array(result, row, OTHER_KEYS, KEY_SIZE, OTOK_MAX_KEYS - n, &others, &nothers))
        return false;
    for (size_t i = 0; i < nothers; i++) {
        const unsigned char *at = others + i * (4 + KEY_SIZE) + 4;
        out->keys[n].index = at[0];
        memcpy(out->keys[n++].digest, at + 1, DIGEST_SIZE);
    }
    out->record.keys = n != 0 ? out->keys : NULL;
    out->record.nkeys = n;
    return true;
}

static bool read_links(const PGresult *result, int row, otok_pg_row *out)
{
    const unsigned char *at;
    size_t n;
    if (!read_array(result, row, LINKS, ID_SIZE, OTOK_MAX_LINKS, &at, &n))
        return false;
    for (size_t i = 0; i < n; i++)
        memcpy(out->links[i].bytes, at + i * (4 + ID_SIZE) + 4, ID_SIZE);
    out->record.links = n != 0 ? out->links : NULL;
    out->record.nlinks = n;
    return true;
}

bool otok_pg_read_row(const PGresult *result, int row, otok_pg_row *out)
{
    otok_record *record = &out->record;
    int64_t kind, version;
    *record = (otok_record){.size = sizeof *record};
    if (PQgetlength(result, row, ID) != ID_SIZE || !read_int64(result, row, KIND, &kind) ||
        !read_int64(result, row, VERSION, &version) || !read_int64(result, row, CREATED, &record->created_us) ||
        !read_int64(result, row, SWEEP, &record->sweep_us) || !read_keys(result, row, out) ||
        !read_links(result, row, out))
        return false;
    memcpy(record->id.bytes, bytes_at(result, row, ID), ID_SIZE);
    record->kind = (uint32_t)kind;
    record->version = (uint64_t)version;
    record->realm = read_bytes(result, row, REALM);
    record->subject = read_bytes(result, row, SUBJECT);
    record->client = read_bytes(result, row, CLIENT);
    record->head = read_bytes(result, row, HEAD);
    record->body = read_bytes(result, row, BODY);
    return kind >= OTOK_RECORD_SESSION && kind <= OTOK_RECORD_TOMBSTONE && record->head.len <= OTOK_MAX_HEAD &&
           record->body.len <= OTOK_MAX_BODY;
}
