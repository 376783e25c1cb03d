/*
 * bounds.c - the bounds of the store contract.
 *
 * SPDX-License-Identifier: MIT
 */
#include "store/store.h"

enum { KEY_BYTES = 20, LINK_BYTES = 16 };

static bool index_is_known(uint32_t index)
{
    return index >= OTOK_INDEX_REALM && index <= OTOK_INDEX_MAX;
}

static bool is_within(otok_str text, size_t bound)
{
    return text.len <= bound && (text.data != NULL || text.len == 0);
}

static const char *keys_fault(const otok_record *record)
{
    if (record->nkeys > OTOK_MAX_KEYS)
        return "record.nkeys is more than 8";
    if (record->nkeys != 0 && record->keys == NULL)
        return "record.keys is required where nkeys is not 0";
    for (size_t i = 0; i < record->nkeys; i++) {
        if (!index_is_known(record->keys[i].index))
            return "record.keys: an index is not 1 to 255";
        for (size_t j = 0; j < i; j++) {
            if (record->keys[j].index == record->keys[i].index)
                return "record.keys: two have the same index";
        }
    }
    return NULL;
}

static const char *head_fault(const otok_record *record)
{
    return is_within(record->head, OTOK_MAX_HEAD) ? NULL : "record.head is longer than 24 bytes, or NULL";
}

static const char *record_fault(const otok_record *record)
{
    if (record->kind < OTOK_RECORD_SESSION || record->kind > OTOK_RECORD_TOMBSTONE)
        return "record.kind is unknown";
    if (record->nlinks > OTOK_MAX_LINKS)
        return "record.nlinks is more than 8";
    if (record->nlinks != 0 && record->links == NULL)
        return "record.links is required where nlinks is not 0";
    if (!is_within(record->realm, OTOK_MAX_NAME))
        return "record.realm is longer than 255 bytes, or NULL";
    if (!is_within(record->subject, OTOK_MAX_NAME))
        return "record.subject is longer than 255 bytes, or NULL";
    if (!is_within(record->client, OTOK_MAX_NAME))
        return "record.client is longer than 255 bytes, or NULL";
    if (!is_within(record->body, OTOK_MAX_BODY))
        return "record.body is longer than 65536 bytes, or NULL";
    const char *fault = head_fault(record);
    return fault != NULL ? fault : keys_fault(record);
}

/* Of its keys and links the numbers: they may be unaligned.  Its kind may be one that a later version knows. */
const char *otok_emitted_fault(const otok_record *record)
{
    if (record == NULL || record->nkeys > OTOK_MAX_KEYS || record->nlinks > OTOK_MAX_LINKS ||
        (record->nkeys != 0 && record->keys == NULL) || (record->nlinks != 0 && record->links == NULL))
        return "a record with more than 8 keys or links, or none where it says that there are";
    if (!is_within(record->realm, OTOK_MAX_NAME) || !is_within(record->subject, OTOK_MAX_NAME) ||
        !is_within(record->client, OTOK_MAX_NAME) || !is_within(record->head, OTOK_MAX_HEAD) ||
        !is_within(record->body, OTOK_MAX_BODY))
        return "a record with a text that is longer than its bound, or NULL";
    return NULL;
}

static const char *write_fault(const otok_write *write)
{
    otok_record known;
    if (write->record == NULL)
        return "record is required";
    if (otok_struct_read(&known, sizeof known, write->record, sizeof known, "record", NULL) != OTOK_OK)
        return "record.size is not that of an otok_record";
    if ((write->op == OTOK_WRITE_PUT || write->op == OTOK_WRITE_HEAD) && write->record->version != write->expect + 1)
        return "record.version is not expect + 1";

    switch (write->op) {
    case OTOK_WRITE_INSERT:
    case OTOK_WRITE_PUT:
        return record_fault(write->record);
    case OTOK_WRITE_HEAD:
        return head_fault(write->record);
    case OTOK_WRITE_DELETE:
    case OTOK_WRITE_ASSERT:
        return NULL;
    default:
        return "op is unknown";
    }
}

size_t otok_write_bytes(const otok_write *write)
{
    const otok_record *record = write->record;
    switch (write->op) {
    case OTOK_WRITE_INSERT:
    case OTOK_WRITE_PUT:
        return record->realm.len + record->subject.len + record->client.len + record->head.len + record->body.len +
               record->nkeys * KEY_BYTES + record->nlinks * LINK_BYTES;
    case OTOK_WRITE_HEAD:
        return record->head.len;
    default:
        return 0;
    }
}

const char *otok_group_fault(const otok_group *group, size_t *write)
{
    size_t bytes = 0;
    *write = 0;
    if (group->n == 0 || group->writes == NULL)
        return "a group without writes";
    if (group->n > OTOK_MAX_GROUP_WRITES)
        return "a group of more than 64 writes";
    for (size_t i = 0; i < group->n; i++) {
        *write = i;
        const char *fault = write_fault(&group->writes[i]);
        if (fault != NULL)
            return fault;
        for (size_t j = 0; j < i; j++) {
            if (otok_id_compare(&group->writes[i].record->id, &group->writes[j].record->id) == 0)
                return "record.id is in this group already";
        }
        bytes += otok_write_bytes(&group->writes[i]);
        if (bytes > OTOK_MAX_GROUP_BYTES)
            return "a group of more than 1 MiB";
    }
    return NULL;
}

const char *otok_fetch_fault(const otok_id *ids, size_t n, uint32_t flags, otok_emit emit)
{
    if (n == 0 || n > OTOK_MAX_FETCH)
        return "n is not 1 to 1024";
    if (ids == NULL)
        return "ids is required";
    if ((flags & ~(uint32_t)OTOK_FETCH_LINKS) != 0)
        return "flags has an unknown bit";
    return emit != NULL ? NULL : "emit is required";
}

const char *otok_scan_fault(const otok_scan *scan, otok_emit emit)
{
    otok_scan known;
    if (scan == NULL)
        return "scan is required";
    if (otok_struct_read(&known, sizeof known, scan, sizeof known, "scan", NULL) != OTOK_OK)
        return "scan.size is not that of an otok_scan";
    if (scan->key.index != OTOK_INDEX_ALL && !index_is_known(scan->key.index))
        return "scan.key.index is not 0 to 255";
    if ((scan->flags & ~(uint32_t)(OTOK_SCAN_DESCENDING | OTOK_SCAN_AFTER)) != 0)
        return "scan.flags has an unknown bit";
    if (scan->limit == 0 || scan->limit > OTOK_MAX_FETCH)
        return "scan.limit is not 1 to 1024";
    return emit != NULL ? NULL : "emit is required";
}

const char *otok_count_fault(const otok_index_key *key, const uint64_t *out)
{
    if (key == NULL)
        return "key is required";
    if (!index_is_known(key->index))
        return "key.index is not 1 to 255";
    return out != NULL ? NULL : "out is required";
}
