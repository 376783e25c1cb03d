/*
 * record_copy.c - a record of one's own.
 *
 * SPDX-License-Identifier: MIT
 */
#include "store/store.h"

#include <stdalign.h>
#include <string.h>

/* Keys follow at once, then what needs no alignment. */
struct copy {
    otok_record record;
    size_t size;
};

_Static_assert(sizeof(struct copy) % alignof(otok_index_key) == 0, "keys are aligned behind a copy");
_Static_assert(alignof(otok_id) == 1, "ids need no alignment");

/* The source may be unaligned; NULL of an empty one. */
static const void *take(uint8_t **at, const void *from, size_t len)
{
    uint8_t *to = *at;
    if (len == 0)
        return NULL;
    memcpy(to, from, len);
    *at += len;
    return to;
}

static bool copy_size(const otok_record *record, size_t *size)
{
    size_t keys, links;
    *size = sizeof(struct copy);
    return otok_size_mul(record->nkeys, sizeof(otok_index_key), &keys) && otok_size_add(*size, keys, size) &&
           otok_size_mul(record->nlinks, sizeof(otok_id), &links) && otok_size_add(*size, links, size) &&
           otok_size_add(*size, record->realm.len, size) && otok_size_add(*size, record->subject.len, size) &&
           otok_size_add(*size, record->client.len, size) && otok_size_add(*size, record->head.len, size) &&
           otok_size_add(*size, record->body.len, size);
}

otok_record *otok_record_copy(const otok_record *record)
{
    size_t size;
    struct copy *copy = NULL;
    if (record == NULL || !copy_size(record, &size) || (copy = otok_malloc(size)) == NULL)
        return NULL;
    copy->record = *record;
    copy->record.size = sizeof copy->record;
    copy->size = size;

    uint8_t *at = (uint8_t *)(copy + 1);
    copy->record.keys = take(&at, record->keys, record->nkeys * sizeof(otok_index_key));
    copy->record.links = take(&at, record->links, record->nlinks * sizeof(otok_id));
    copy->record.realm.data = take(&at, record->realm.data, record->realm.len);
    copy->record.subject.data = take(&at, record->subject.data, record->subject.len);
    copy->record.client.data = take(&at, record->client.data, record->client.len);
    copy->record.head.data = take(&at, record->head.data, record->head.len);
    copy->record.body.data = take(&at, record->body.data, record->body.len);
    return &copy->record;
}

void otok_record_free(otok_record *record)
{
    if (record != NULL)
        otok_wipe_free(record, ((struct copy *)(void *)record)->size);
}
