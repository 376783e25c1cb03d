/*
 * broken_read.c - fetch, scan and count, with every fault in its place: what a key has is found by looking at all.
 *
 * SPDX-License-Identifier: MIT
 */
#include "support/broken_engine.h"

#include <string.h>

/* ------------------------------------------------------------------------------------------------------------- emit */

static otok_str until_nul(otok_str text)
{
    const void *nul = text.len != 0 ? memchr(text.data, 0, text.len) : NULL;
    if (nul != NULL)
        text.len = (size_t)((const char *)nul - (const char *)text.data);
    return text;
}

static otok_str cut(otok_str text, size_t bound)
{
    if (text.len > bound)
        text.len = bound;
    return text;
}

static int64_t to_milliseconds(int64_t time_us)
{
    return time_us / 1000 * 1000;
}

/* Changes a record of our own on its way out; `scratch` is as large as a body. */
static void distort(const broken_store *store, otok_record *record, otok_index_key keys[OTOK_MAX_KEYS],
                    uint8_t *scratch)
{
    switch (store->fault) {
    case BROKEN_SIZE_IS_UNSET:
        record->size = 0;
        break;
    case BROKEN_TIMES_IN_MILLISECONDS:
        record->created_us = to_milliseconds(record->created_us);
        record->sweep_us = to_milliseconds(record->sweep_us);
        break;
    case BROKEN_LINKS_ARE_FORGOTTEN:
        record->nlinks = 0;
        break;
    case BROKEN_KEYS_ARE_FORGOTTEN:
        record->nkeys = 0;
        break;
    case BROKEN_CLIENT_IS_FORGOTTEN:
        record->client.len = 0;
        break;
    case BROKEN_VERSION_IS_NOT_STORED:
        record->version = 0;
        break;
    case BROKEN_NAMES_END_AT_NUL:
        record->realm = until_nul(record->realm);
        break;
    case BROKEN_HEADS_END_AT_NUL:
        record->head = until_nul(record->head);
        break;
    case BROKEN_BODIES_END_AT_NUL:
        record->body = until_nul(record->body);
        break;
    case BROKEN_DIGESTS_END_AT_NUL:
        for (size_t i = 0; i < record->nkeys; i++) {
            memset(keys[i].digest, 0, sizeof keys[i].digest);
            memcpy(keys[i].digest, record->keys[i].digest, strnlen((const char *)record->keys[i].digest, 16));
            keys[i].index = record->keys[i].index;
        }
        record->keys = keys;
        break;
    case BROKEN_EMPTY_IS_A_NUL:
        if (record->subject.len == 0)
            record->subject = (otok_str){.data = "", .len = 1};
        break;
    case BROKEN_NAMES_OF_254:
        record->subject = cut(record->subject, 254);
        break;
    case BROKEN_BODIES_OF_65535:
        record->body = cut(record->body, 65535);
        break;
    case BROKEN_SEVEN_KEYS:
        if (record->nkeys > 7)
            record->nkeys = 7;
        break;
    case BROKEN_LONG_BODIES_ARE_TORN:
        if (record->body.len > 8000 && record->body.len < 9000) {
            memcpy(scratch, record->body.data, record->body.len);
            memset(scratch + 4096, 0, 512);
            record->body.data = scratch;
        }
        break;
    case BROKEN_EVENTS_ARE_SESSIONS:
        if (record->kind == OTOK_RECORD_EVENT)
            record->kind = OTOK_RECORD_SESSION;
        break;
    case BROKEN_VERSIONS_SATURATE:
        if (record->version == UINT64_MAX)
            record->version--;
        break;
    case BROKEN_TIMES_ARE_NOT_NEGATIVE:
        if (record->sweep_us < 0)
            record->sweep_us = 0;
        break;
    default:
        break;
    }
}

static int emit_one(const broken_store *store, const otok_record *record, otok_emit emit, void *arg)
{
    static uint8_t scratch[OTOK_MAX_BODY];
    otok_index_key keys[OTOK_MAX_KEYS];
    otok_record out = *record;
    distort(store, &out, keys, scratch);
    return emit(arg, &out);
}

static int emit_all(const broken_store *store, const broken_list *list, bool never_ends, bool returns, otok_emit emit,
                    void *arg)
{
    for (size_t i = 0; i < list->n; i++) {
        int rc = emit_one(store, list->records[i], emit, arg);
        if (rc != 0 && !never_ends)
            return returns ? rc : OTOK_OK;
    }
    return OTOK_OK;
}

/* ------------------------------------------------------------------------------------------------------------- fetch */

/* As it was before the last commit, where that touched it. */
static otok_record *get_stale(const broken_store *store, const otok_id *id)
{
    size_t at = broken_list_find(&store->before, id);
    return at < store->before.n ? otok_record_copy(store->before.records[at]) : broken_get(store, id);
}

static bool add_fetched(const broken_store *store, broken_list *list, const otok_id *id, bool linked)
{
    bool stale = broken_is(store, BROKEN_STALE_FETCH) || (broken_is(store, BROKEN_STALE_LINKS) && linked);
    otok_record *record = stale ? get_stale(store, id) : broken_get(store, id);
    if (record == NULL)
        return false;
    bool hidden = broken_is(store, BROKEN_TOMBSTONES_ARE_HIDDEN) && record->kind == OTOK_RECORD_TOMBSTONE;
    if (!hidden && (broken_list_find(list, id) == list->n || (broken_is(store, BROKEN_LINKS_TWICE) && linked)))
        broken_list_add(list, record);
    otok_record_free(record);
    return true;
}

static int add_links(const broken_store *store, broken_list *list, const otok_record *record)
{
    size_t n = record->nlinks;
    if (broken_is(store, BROKEN_LINKS_OF_THE_FIRST_ONLY) && record != list->records[0])
        n = 0;
    if (broken_is(store, BROKEN_SEVEN_LINKS) && n > 7)
        n = 7;
    for (size_t i = 0; i < n; i++) {
        otok_id link = record->links[i];
        if (!add_fetched(store, list, &link, true) && broken_is(store, BROKEN_ABSENT_LINK_IS_AN_ERROR))
            return OTOK_E_NOT_FOUND;
    }
    return OTOK_OK;
}

int broken_engine_fetch(broken_store *store, const otok_id *ids, size_t n, uint32_t flags, otok_emit emit, void *arg)
{
    broken_list list = {0};
    int rc = OTOK_OK;
    bool links = (flags & OTOK_FETCH_LINKS) != 0 || broken_is(store, BROKEN_LINKS_ALWAYS);
    for (size_t i = 0; i < n; i++) {
        bool lost = broken_is(store, BROKEN_FETCH_OF_1000) && i >= 1000;
        if (!lost && !add_fetched(store, &list, &ids[i], false) && broken_is(store, BROKEN_ABSENT_IS_AN_ERROR))
            rc = OTOK_E_NOT_FOUND;
    }
    size_t found = list.n;
    for (size_t i = 0; rc == OTOK_OK && i < (broken_is(store, BROKEN_LINKS_OF_LINKS) ? list.n : found); i++) {
        if (links && !broken_is(store, BROKEN_LINKS_ARE_IGNORED))
            rc = add_links(store, &list, list.records[i]);
    }
    if (rc == OTOK_OK)
        rc = emit_all(store, &list, broken_is(store, BROKEN_FETCH_NEVER_ENDS),
                      broken_is(store, BROKEN_FETCH_RETURNS_WHAT_EMIT_DID), emit, arg);
    broken_list_free(&list);
    return rc;
}

/* ------------------------------------------------------------------------------------------------------------- scan */

static bool index_matches(const broken_store *store, uint32_t a, uint32_t b)
{
    if (broken_is(store, BROKEN_INDEX_NUMBERS_ARE_IGNORED))
        return true;
    return broken_is(store, BROKEN_INDEX_NUMBERS_OF_7_BITS) ? (a & 0x7f) == (b & 0x7f) : a == b;
}

static bool digest_matches(const broken_store *store, const uint8_t *a, const uint8_t *b)
{
    if (broken_is(store, BROKEN_DIGESTS_ARE_TEXT))
        return strncmp((const char *)a, (const char *)b, 16) == 0;
    return memcmp(a, b, broken_is(store, BROKEN_DIGESTS_OF_15_BYTES) ? 15 : 16) == 0;
}

static bool has_key(const broken_store *store, const otok_record *record, const otok_index_key *key)
{
    static const uint8_t nothing[16] = {0};
    size_t n = broken_is(store, BROKEN_FOUR_KEYS_ARE_FILED) && record->nkeys > 4 ? 4 : record->nkeys;
    if (key->index == OTOK_INDEX_ALL)
        return !(broken_is(store, BROKEN_ALL_SKIPS_EVENTS) && record->kind == OTOK_RECORD_EVENT) &&
               !(broken_is(store, BROKEN_ALL_READS_DIGEST) && key->digest[0] != nothing[0]);
    if (broken_is(store, BROKEN_INDEXES_SKIP_TOMBSTONES) && record->kind == OTOK_RECORD_TOMBSTONE)
        return false;
    if (broken_is(store, BROKEN_REOPENED_WITHOUT_INDEX) && store->reopened)
        return false;
    for (size_t i = 0; i < n; i++) {
        if (index_matches(store, record->keys[i].index, key->index) &&
            digest_matches(store, record->keys[i].digest, key->digest))
            return true;
    }
    return false;
}

/* Every stored record, as the call sees it. */
static broken_list get_view(const broken_store *store, bool stale, bool ghosts)
{
    broken_list all = broken_get_all(store);
    for (size_t i = 0; stale && i < store->before.n; i++) {
        size_t at = broken_list_find(&all, &store->before.records[i]->id);
        if (at < all.n)
            broken_list_drop(&all, at);
        broken_list_add(&all, store->before.records[i]);
    }
    for (size_t i = 0; stale && i < store->inserted.n; i++) {
        size_t at = broken_list_find(&all, &store->inserted.records[i]->id);
        if (at < all.n)
            broken_list_drop(&all, at);
    }
    for (size_t i = 0; ghosts && i < store->ghosts.n; i++)
        broken_list_add(&all, store->ghosts.records[i]);
    return all;
}

/* Those that have the key, in no order; the caller's. */
static broken_list get_key(const broken_store *store, const otok_index_key *key, bool stale, bool ghosts)
{
    broken_list all = get_view(store, stale, ghosts), found = {0};
    for (size_t i = 0; i < all.n; i++) {
        if (has_key(store, all.records[i], key))
            broken_list_add(&found, all.records[i]);
    }
    /* What a cursor finds next where the key has nothing. */
    for (size_t i = 0; broken_is(store, BROKEN_SEEK_DOES_NOT_CHECK) && found.n == 0 && i < all.n; i++) {
        for (size_t j = 0; j < all.records[i]->nkeys && found.n == 0; j++) {
            if (all.records[i]->keys[j].index == key->index &&
                memcmp(all.records[i]->keys[j].digest, key->digest, 16) > 0)
                broken_list_add(&found, all.records[i]);
        }
    }
    broken_list_free(&all);
    return found;
}

/* The position of a record, or of the row to begin behind. */
struct position {
    int64_t time_us;
    otok_id id;
};

static struct position position_of(const broken_store *store, const otok_record *record, uint32_t index)
{
    struct position position = {.time_us = record->created_us, .id = record->id};
    if (index == OTOK_INDEX_SWEEP && !broken_is(store, BROKEN_SWEEP_BY_CREATED))
        position.time_us = record->sweep_us;
    if ((index == OTOK_INDEX_ALL && !broken_is(store, BROKEN_ALL_BY_CREATED)) ||
        broken_is(store, BROKEN_ORDER_OF_ID_ONLY))
        position.time_us = 0;
    return position;
}

static int compare_positions(const broken_store *store, const struct position *a, const struct position *b)
{
    if (a->time_us != b->time_us && broken_is(store, BROKEN_TIMES_HAVE_NO_SIGNS))
        return (uint64_t)a->time_us < (uint64_t)b->time_us ? -1 : 1;
    if (a->time_us != b->time_us)
        return a->time_us < b->time_us ? -1 : 1;
    if (broken_is(store, BROKEN_TIES_THE_WRONG_WAY))
        return memcmp(&b->id, &a->id, sizeof a->id);
    if (broken_is(store, BROKEN_IDS_HAVE_SIGNS) && a->id.bytes[0] != b->id.bytes[0])
        return (int8_t)a->id.bytes[0] < (int8_t)b->id.bytes[0] ? -1 : 1;
    return memcmp(&a->id, &b->id, sizeof a->id);
}

static void turn(broken_list *list)
{
    for (size_t i = 0; i < list->n / 2; i++) {
        otok_record *record = list->records[i];
        list->records[i] = list->records[list->n - 1 - i];
        list->records[list->n - 1 - i] = record;
    }
}

static void keep_range(broken_list *list, size_t first, size_t end)
{
    broken_list kept = {0};
    for (size_t i = first; i < end && i < list->n; i++)
        broken_list_add(&kept, list->records[i]);
    broken_list_free(list);
    *list = kept;
}

static void sort(const broken_store *store, broken_list *list, uint32_t index)
{
    for (size_t i = 1; i < list->n; i++) {
        otok_record *record = list->records[i];
        struct position at = position_of(store, record, index);
        size_t j = i;
        for (; j > 0; j--) {
            struct position before = position_of(store, list->records[j - 1], index);
            if (compare_positions(store, &before, &at) <= 0)
                break;
            list->records[j] = list->records[j - 1];
        }
        list->records[j] = record;
    }
}

/* How many of the sorted list `scan` is to begin behind. */
static size_t skip_after(const broken_store *store, const broken_list *list, const otok_scan *scan, bool descending)
{
    struct position after = {.time_us = scan->after_us, .id = scan->after};
    size_t skip = 0;
    bool found = false;
    if ((scan->key.index == OTOK_INDEX_ALL && !broken_is(store, BROKEN_ALL_BY_CREATED)) ||
        broken_is(store, BROKEN_ORDER_OF_ID_ONLY))
        after.time_us = 0;
    if (broken_is(store, BROKEN_AFTER_ASCENDS) && descending)
        return 0;
    for (size_t i = 0; i < list->n; i++) {
        struct position at = position_of(store, list->records[i], scan->key.index);
        if (broken_is(store, BROKEN_SWEEP_AFTER_BY_CREATED) && scan->key.index == OTOK_INDEX_SWEEP)
            at.time_us = list->records[i]->created_us;
        int c = compare_positions(store, &at, &after);
        if (broken_is(store, BROKEN_AFTER_SKIPS_TIES) && at.time_us == after.time_us &&
            scan->key.index != OTOK_INDEX_ALL)
            c = 0;
        found = found || c == 0;
        if ((descending ? c > 0 : c < 0) || (c == 0 && !broken_is(store, BROKEN_AFTER_IS_INCLUSIVE)))
            skip = i + 1;
    }
    return broken_is(store, BROKEN_AFTER_NEEDS_ITS_RECORD) && !found ? list->n : skip;
}

static size_t limit_of(const broken_store *store, const otok_scan *scan)
{
    if (broken_is(store, BROKEN_LIMIT_IS_IGNORED))
        return SIZE_MAX;
    if (broken_is(store, BROKEN_LIMIT_OF_1000) && scan->limit > 1000)
        return 1000;
    return broken_is(store, BROKEN_PAGES_ARE_SHORT) && scan->limit > 1 ? scan->limit - 1 : scan->limit;
}

int broken_engine_scan(broken_store *store, const otok_scan *scan, otok_emit emit, void *arg)
{
    bool descending = (scan->flags & OTOK_SCAN_DESCENDING) != 0 && !broken_is(store, BROKEN_DESCENDING_IS_IGNORED);
    bool turns_page = descending && broken_is(store, BROKEN_DESCENDING_TURNS_THE_FIRST_PAGE);
    broken_list list = get_key(store, &scan->key, broken_is(store, BROKEN_STALE_SCAN),
                               broken_is(store, BROKEN_DELETE_LEAVES_ENTRIES) && scan->key.index != OTOK_INDEX_ALL);
    sort(store, &list, scan->key.index);
    if (descending && !turns_page)
        turn(&list);
    size_t first = (scan->flags & OTOK_SCAN_AFTER) != 0 ? skip_after(store, &list, scan, descending) : 0;
    size_t limit = limit_of(store, scan);
    keep_range(&list, first, limit > SIZE_MAX - first ? SIZE_MAX : first + limit);
    if (turns_page)
        turn(&list);
    for (size_t i = 0; i < list.n && broken_is(store, BROKEN_SCAN_WITHOUT_BODY); i++)
        list.records[i]->body.len = 0;
    int rc = emit_all(store, &list, broken_is(store, BROKEN_SCAN_NEVER_ENDS),
                      broken_is(store, BROKEN_SCAN_RETURNS_WHAT_EMIT_DID), emit, arg);
    broken_list_free(&list);
    return rc;
}

int broken_engine_count(broken_store *store, const otok_index_key *key, uint64_t *out)
{
    bool ghosts = broken_is(store, BROKEN_COUNT_KEEPS_DELETED) || broken_is(store, BROKEN_COUNT_KEEPS_PUT);
    broken_list list = get_key(store, key, broken_is(store, BROKEN_STALE_COUNT), ghosts);
    *out = list.n;
    if (broken_is(store, BROKEN_COUNT_IS_ABOUT_RIGHT) && list.n > 100)
        *out = list.n / 10 * 10;
    broken_list_free(&list);
    return OTOK_OK;
}
