/*
 * broken_engine.c - the simplest store that there can be, with every fault in its place: `is(store, BROKEN_...)` is where it
 * goes wrong.  It keeps its records in the store below, one at a time, and finds what a key has by looking at all.
 *
 * SPDX-License-Identifier: MIT
 */
#include "support/broken_engine.h"

#include <stdlib.h>
#include <string.h>

static bool is(const broken_store *store, int fault)
{
    return store->fault == fault;
}

/* ------------------------------------------------------------------------------------------------------------- lists */

static void list_add(broken_list *list, const otok_record *record)
{
    if (list->n == list->room) {
        list->room = list->room * 2 + 16;
        list->records = realloc(list->records, list->room * sizeof *list->records);
        broken_check(list->records != NULL, "no memory");
    }
    list->records[list->n] = otok_record_copy(record);
    broken_check(list->records[list->n++] != NULL, "no memory");
}

static void list_free(broken_list *list)
{
    for (size_t i = 0; i < list->n; i++)
        otok_record_free(list->records[i]);
    free(list->records);
    *list = (broken_list){0};
}

static void list_drop(broken_list *list, size_t at)
{
    otok_record_free(list->records[at]);
    list->records[at] = list->records[--list->n];
}

static size_t list_find(const broken_list *list, const otok_id *id)
{
    size_t at = 0;
    while (at < list->n && memcmp(&list->records[at]->id, id, sizeof *id) != 0)
        at++;
    return at;
}

static int add_to_list(void *arg, const otok_record *record)
{
    list_add(arg, record);
    return 0;
}

/* ------------------------------------------------------------------------------------------------------------- below */

static void must(int rc, const otok_error *err)
{
    broken_check(rc == OTOK_OK, rc == OTOK_OK ? "" : err->message);
}

static bool id_matches(const broken_store *store, const otok_id *a, const otok_id *b)
{
    if (is(store, BROKEN_IDS_END_AT_NUL))
        return strncmp((const char *)a, (const char *)b, sizeof *a) == 0;
    return memcmp(a, b, is(store, BROKEN_IDS_OF_15_BYTES) ? 15 : sizeof *a) == 0;
}

/* Everything that is stored. */
static broken_list get_all(const broken_store *store)
{
    otok_error err;
    broken_list all = {0};
    otok_scan scan = {.size = sizeof scan, .limit = OTOK_MAX_FETCH};
    size_t before;
    do {
        before = all.n;
        must(otok_store_scan(store->inner, &scan, add_to_list, &all, &err), &err);
        if (all.n > 0)
            scan.after = all.records[all.n - 1]->id;
        scan.flags = OTOK_SCAN_AFTER;
    } while (all.n - before == OTOK_MAX_FETCH);
    return all;
}

/* The first id of those that this store takes for `id`. */
static otok_id first_like(const broken_store *store, const otok_id *id)
{
    otok_id first = *id;
    size_t same = is(store, BROKEN_IDS_END_AT_NUL) ? strnlen((const char *)id, sizeof *id) : 15;
    memset(first.bytes + same, 0, sizeof first.bytes - same);
    return first;
}

/* NULL, or the caller's. */
static otok_record *get(const broken_store *store, const otok_id *id)
{
    otok_error err;
    otok_record *found = NULL;
    broken_list list = {0};
    must(otok_store_fetch(store->inner, id, 1, 0, add_to_list, &list, &err), &err);
    if (is(store, BROKEN_IDS_END_AT_NUL) || is(store, BROKEN_IDS_OF_15_BYTES)) {
        otok_scan scan = {.size = sizeof scan, .flags = OTOK_SCAN_AFTER, .after = first_like(store, id), .limit = 1};
        must(otok_store_fetch(store->inner, &scan.after, 1, 0, add_to_list, &list, &err), &err);
        must(otok_store_scan(store->inner, &scan, add_to_list, &list, &err), &err);
    }
    for (size_t i = 0; i < list.n && found == NULL; i++) {
        if (id_matches(store, &list.records[i]->id, id))
            found = otok_record_copy(list.records[i]);
    }
    list_free(&list);
    return found;
}

static void write_below(const broken_store *store, uint32_t op, uint64_t expect, const otok_record *record)
{
    otok_error err;
    otok_write write = {.op = op, .expect = expect, .record = record};
    otok_group group = {.writes = &write, .n = 1};
    must(otok_store_commit(store->inner, &group, 1, &err), &err);
    must(group.result, &group.error);
}

/* Stores just this, whatever was there. */
static void set(const broken_store *store, const otok_record *record)
{
    otok_record *old = get(store, &record->id);
    if (old != NULL)
        write_below(store, OTOK_WRITE_DELETE, old->version, old);
    write_below(store, OTOK_WRITE_INSERT, 0, record);
    otok_record_free(old);
}

/* ------------------------------------------------------------------------------------------------------------- commit */

static uint64_t version_bits(const broken_store *store, uint64_t version)
{
    if (is(store, BROKEN_VERSIONS_OF_32_BITS))
        return version & UINT32_MAX;
    return is(store, BROKEN_VERSIONS_OF_63_BITS) ? version << 1 : version;
}

static bool fits_nothing(const broken_store *store, const otok_write *write)
{
    if (write->op == OTOK_WRITE_PUT && is(store, BROKEN_PUT_OF_NOTHING_INSERTS))
        return true;
    if (write->op == OTOK_WRITE_DELETE && is(store, BROKEN_DELETE_OF_NOTHING_IS_OK))
        return true;
    if (write->op == OTOK_WRITE_ASSERT && is(store, BROKEN_NOTHING_HAS_VERSION_0) && write->expect == 0)
        return true;
    return write->op == OTOK_WRITE_INSERT && !(is(store, BROKEN_DELETED_IDS_ARE_BURNT) &&
                                               list_find(&store->ghosts, &write->record->id) < store->ghosts.n);
}

static bool fits_record(const broken_store *store, const otok_write *write, const otok_record *old)
{
    if (store->reopened && is(store, BROKEN_REOPENED_WITHOUT_GUARDS))
        return true;
    switch (write->op) {
    case OTOK_WRITE_INSERT:
        return is(store, BROKEN_INSERT_REPLACES) ||
               (is(store, BROKEN_INSERT_OVER_ANOTHER_KIND) && old->kind != write->record->kind);
    case OTOK_WRITE_PUT:
        if (is(store, BROKEN_PUT_AT_ANY_VERSION))
            return true;
        break;
    case OTOK_WRITE_HEAD:
        if (is(store, BROKEN_HEAD_AT_ANY_VERSION))
            return true;
        break;
    case OTOK_WRITE_DELETE:
        if (is(store, BROKEN_DELETE_AT_ANY_VERSION))
            return true;
        break;
    default:
        if (is(store, BROKEN_ASSERT_IS_IGNORED))
            return true;
        break;
    }
    return version_bits(store, old->version) == version_bits(store, write->expect);
}

static bool fits(const broken_store *store, const otok_write *write)
{
    otok_record *old = get(store, &write->record->id);
    bool fit = old != NULL ? fits_record(store, write, old) : fits_nothing(store, write);
    if (!fit && old != NULL && write->op == OTOK_WRITE_PUT && is(store, BROKEN_STALE_PUT_CHANGES_HEAD)) {
        otok_record torn = *old;
        torn.head = write->record->head;
        set(store, &torn);
    }
    otok_record_free(old);
    return fit;
}

/* Keys that the old record has and the new one has none of that index for. */
static void keep_keys(otok_record *record, const otok_record *old, otok_index_key keys[OTOK_MAX_KEYS])
{
    for (size_t i = 0; i < record->nkeys; i++)
        keys[i] = record->keys[i];
    for (size_t i = 0; i < old->nkeys && record->nkeys < OTOK_MAX_KEYS; i++) {
        size_t j = 0;
        while (j < record->nkeys && keys[j].index != old->keys[i].index)
            j++;
        if (j == record->nkeys)
            keys[record->nkeys++] = old->keys[i];
    }
    record->keys = keys;
}

static void put(broken_store *store, const otok_write *write, const otok_record *old)
{
    otok_record record = *write->record;
    otok_index_key keys[OTOK_MAX_KEYS];
    if (old == NULL) {
        set(store, &record);
        return;
    }
    bool seldom = is(store, BROKEN_SELDOM_ENTRY_STAYS) && ++store->nth % 25 == 0;
    if (!is(store, BROKEN_PUT_TAKES_CREATED))
        record.created_us = old->created_us;
    if (is(store, BROKEN_PUT_KEEPS_BODY) || (is(store, BROKEN_PUT_OF_NO_BODY_KEEPS_IT) && record.body.len == 0))
        record.body = old->body;
    if (is(store, BROKEN_PUT_KEEPS_NAMES))
        record.subject = old->subject;
    if (is(store, BROKEN_PUT_KEEPS_SWEEP))
        record.sweep_us = old->sweep_us;
    if (is(store, BROKEN_KINDS_ARE_FOR_EVER))
        record.kind = old->kind;
    if (is(store, BROKEN_PUT_KEEPS_LINKS)) {
        record.links = old->links;
        record.nlinks = old->nlinks;
    }
    if (is(store, BROKEN_PUT_FILES_NOTHING_NEW)) {
        record.keys = old->keys;
        record.nkeys = old->nkeys;
    }
    if (is(store, BROKEN_PUT_KEEPS_OLD_ENTRIES) || seldom)
        keep_keys(&record, old, keys);
    list_add(&store->ghosts, old);
    set(store, &record);
}

static void head(broken_store *store, const otok_write *write, const otok_record *old)
{
    otok_record record = *old;
    uint8_t longer[OTOK_MAX_HEAD] = {0};
    record.version = is(store, BROKEN_HEAD_KEEPS_VERSION) ? old->version : write->record->version;
    record.head = write->record->head;
    if (is(store, BROKEN_HEAD_WRITES_BODY))
        record.body = write->record->body;
    if (is(store, BROKEN_HEAD_WRITES_SWEEP))
        record.sweep_us = write->record->sweep_us;
    if (is(store, BROKEN_HEAD_WRITES_KIND))
        record.kind = write->record->kind;
    if (is(store, BROKEN_HEADS_NEVER_SHRINK) && record.head.len < old->head.len) {
        memcpy(longer, old->head.data, old->head.len);
        if (record.head.len != 0)
            memcpy(longer, record.head.data, record.head.len);
        record.head = (otok_str){.data = longer, .len = old->head.len};
    }
    if (is(store, BROKEN_SELDOM_HEAD_IS_LOST) && ++store->nth % 25 == 0)
        record.head = old->head;
    set(store, &record);
}

static void take_neighbour(broken_store *store, const otok_id *id)
{
    otok_id next = *id;
    next.bytes[3]++;
    otok_record *record = get(store, &next);
    if (record != NULL)
        write_below(store, OTOK_WRITE_DELETE, record->version, record);
    otok_record_free(record);
}

static void apply(broken_store *store, const otok_write *write)
{
    otok_record *old = get(store, &write->record->id);
    otok_record moved;
    if (old != NULL)
        list_add(&store->before, old);
    if (write->op == OTOK_WRITE_INSERT) {
        list_add(&store->inserted, write->record);
        set(store, write->record);
    } else if (write->op == OTOK_WRITE_PUT) {
        put(store, write, old);
    } else if (old != NULL && write->op == OTOK_WRITE_HEAD) {
        head(store, write, old);
    } else if (old != NULL && write->op == OTOK_WRITE_DELETE) {
        list_add(&store->ghosts, old);
        write_below(store, OTOK_WRITE_DELETE, old->version, old);
        if (is(store, BROKEN_DELETE_TAKES_THE_NEIGHBOUR))
            take_neighbour(store, &old->id);
    } else if (old != NULL && is(store, BROKEN_ASSERT_MOVES_VERSION)) {
        moved = *old;
        moved.version++;
        set(store, &moved);
    } else if (old != NULL && is(store, BROKEN_ASSERT_WRITES_RECORD) && write->record->kind != 0) {
        set(store, write->record);
    }
    otok_record_free(old);
}

static bool is_too_large(const broken_store *store, const otok_group *group)
{
    size_t bytes = 0;
    for (size_t i = 0; i < group->n; i++)
        bytes += group->writes[i].op <= OTOK_WRITE_PUT ? group->writes[i].record->body.len : 0;
    return (is(store, BROKEN_GROUPS_OF_63) && group->n > 63) ||
           (is(store, BROKEN_GROUPS_OF_HALF_A_MEBIBYTE) && bytes > OTOK_MAX_GROUP_BYTES / 2);
}

static bool group_fits(const broken_store *store, const otok_group *group)
{
    size_t guards = is(store, BROKEN_ONLY_THE_FIRST_GUARDS) ? 1 : group->n;
    for (size_t i = 0; i < guards; i++) {
        if (is(store, BROKEN_ASSERT_GUARDS_ITSELF_ONLY) && group->n > 1 && group->writes[i].op == OTOK_WRITE_ASSERT)
            continue;
        if (!fits(store, &group->writes[i]))
            return false;
    }
    return true;
}

static void group_apply(broken_store *store, const otok_group *group)
{
    for (size_t i = 0; i < group->n; i++) {
        bool lost = (is(store, BROKEN_GROUPS_LOSE_A_WRITE) && i == 4) || (is(store, BROKEN_WRITE_64_IS_LOST) && i == 63);
        if (!lost)
            apply(store, &group->writes[i]);
    }
}

static int group_commit(broken_store *store, const otok_group *group)
{
    if (is_too_large(store, group))
        return OTOK_E_FULL;
    if (is(store, BROKEN_GROUPS_ARE_PARTIAL)) {
        for (size_t i = 0; i < group->n; i++) {
            if (!fits(store, &group->writes[i]))
                return OTOK_E_CONFLICT;
            apply(store, &group->writes[i]);
        }
        return OTOK_OK;
    }
    if (!group_fits(store, group))
        return OTOK_E_CONFLICT;
    group_apply(store, group);
    return OTOK_OK;
}

static bool share_an_id(const otok_group *a, const otok_group *b)
{
    for (size_t i = 0; i < a->n; i++) {
        for (size_t j = 0; j < b->n; j++) {
            if (memcmp(&a->writes[i].record->id, &b->writes[j].record->id, sizeof(otok_id)) == 0)
                return true;
        }
    }
    return false;
}

static void commit_groups(broken_store *store, otok_group *groups, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (is(store, BROKEN_CONFLICT_ENDS_THE_COMMIT) && i > 0 && groups[i - 1].result != OTOK_OK)
            groups[i].result = OTOK_E_CONFLICT;
        else if (is(store, BROKEN_COMMITS_OF_100_GROUPS) && i >= 100)
            groups[i].result = OTOK_E_BUSY;
        else if (is(store, BROKEN_NEITHER_SUCCEEDS) && n == 2 && share_an_id(&groups[0], &groups[1]))
            groups[i].result = OTOK_E_CONFLICT;
        else
            groups[i].result = group_commit(store, &groups[i]);
    }
}

/* All groups are checked before the first is written. */
static void commit_checked_before(broken_store *store, otok_group *groups, size_t n)
{
    for (size_t i = 0; i < n; i++)
        groups[i].result = group_fits(store, &groups[i]) ? OTOK_OK : OTOK_E_CONFLICT;
    for (size_t i = 0; i < n; i++) {
        if (groups[i].result == OTOK_OK)
            group_apply(store, &groups[i]);
    }
}

int broken_engine_commit(broken_store *store, otok_group *groups, size_t n)
{
    list_free(&store->before);
    list_free(&store->inserted);
    if (is(store, BROKEN_CONFLICT_POISONS_THE_COMMIT)) {
        bool fit = true;
        for (size_t i = 0; i < n; i++)
            fit = fit && group_fits(store, &groups[i]);
        for (size_t i = 0; i < n; i++)
            groups[i].result = fit ? group_commit(store, &groups[i]) : OTOK_E_CONFLICT;
    } else if (is(store, BROKEN_GUARDS_BEFORE_ALL_GROUPS)) {
        commit_checked_before(store, groups, n);
    } else {
        commit_groups(store, groups, n);
    }
    for (size_t i = 0; is(store, BROKEN_RESULTS_ARE_REVERSED) && i < n / 2; i++) {
        int32_t result = groups[i].result;
        groups[i].result = groups[n - 1 - i].result;
        groups[n - 1 - i].result = result;
    }
    for (size_t i = 0; i < n; i++) {
        if (is(store, BROKEN_RESULTS_ARE_FORGOTTEN) && n > 1)
            groups[i].result = 1;
        if (is(store, BROKEN_CONFLICT_IS_RETURNED) && n > 1 && groups[i].result == OTOK_E_CONFLICT)
            return OTOK_E_CONFLICT;
    }
    return OTOK_OK;
}

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
static void distort(const broken_store *store, otok_record *record, otok_index_key keys[OTOK_MAX_KEYS], uint8_t *scratch)
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
    size_t at = list_find(&store->before, id);
    return at < store->before.n ? otok_record_copy(store->before.records[at]) : get(store, id);
}

static bool add_fetched(const broken_store *store, broken_list *list, const otok_id *id, bool linked)
{
    bool stale = is(store, BROKEN_STALE_FETCH) || (is(store, BROKEN_STALE_LINKS) && linked);
    otok_record *record = stale ? get_stale(store, id) : get(store, id);
    if (record == NULL)
        return false;
    bool hidden = is(store, BROKEN_TOMBSTONES_ARE_HIDDEN) && record->kind == OTOK_RECORD_TOMBSTONE;
    if (!hidden && (list_find(list, id) == list->n || (is(store, BROKEN_LINKS_TWICE) && linked)))
        list_add(list, record);
    otok_record_free(record);
    return true;
}

static int add_links(const broken_store *store, broken_list *list, const otok_record *record)
{
    size_t n = record->nlinks;
    if (is(store, BROKEN_LINKS_OF_THE_FIRST_ONLY) && record != list->records[0])
        n = 0;
    if (is(store, BROKEN_SEVEN_LINKS) && n > 7)
        n = 7;
    for (size_t i = 0; i < n; i++) {
        otok_id link = record->links[i];
        if (!add_fetched(store, list, &link, true) && is(store, BROKEN_ABSENT_LINK_IS_AN_ERROR))
            return OTOK_E_NOT_FOUND;
    }
    return OTOK_OK;
}

int broken_engine_fetch(broken_store *store, const otok_id *ids, size_t n, uint32_t flags, otok_emit emit, void *arg)
{
    broken_list list = {0};
    int rc = OTOK_OK;
    bool links = (flags & OTOK_FETCH_LINKS) != 0 || is(store, BROKEN_LINKS_ALWAYS);
    for (size_t i = 0; i < n; i++) {
        bool lost = is(store, BROKEN_FETCH_OF_1000) && i >= 1000;
        if (!lost && !add_fetched(store, &list, &ids[i], false) && is(store, BROKEN_ABSENT_IS_AN_ERROR))
            rc = OTOK_E_NOT_FOUND;
    }
    size_t found = list.n;
    for (size_t i = 0; rc == OTOK_OK && i < (is(store, BROKEN_LINKS_OF_LINKS) ? list.n : found); i++) {
        if (links && !is(store, BROKEN_LINKS_ARE_IGNORED))
            rc = add_links(store, &list, list.records[i]);
    }
    if (rc == OTOK_OK)
        rc = emit_all(store, &list, is(store, BROKEN_FETCH_NEVER_ENDS), is(store, BROKEN_FETCH_RETURNS_WHAT_EMIT_DID), emit,
                      arg);
    list_free(&list);
    return rc;
}

/* ------------------------------------------------------------------------------------------------------------- scan */

static bool index_matches(const broken_store *store, uint32_t a, uint32_t b)
{
    if (is(store, BROKEN_INDEX_NUMBERS_ARE_IGNORED))
        return true;
    return is(store, BROKEN_INDEX_NUMBERS_OF_7_BITS) ? (a & 0x7f) == (b & 0x7f) : a == b;
}

static bool digest_matches(const broken_store *store, const uint8_t *a, const uint8_t *b)
{
    if (is(store, BROKEN_DIGESTS_ARE_TEXT))
        return strncmp((const char *)a, (const char *)b, 16) == 0;
    return memcmp(a, b, is(store, BROKEN_DIGESTS_OF_15_BYTES) ? 15 : 16) == 0;
}

static bool has_key(const broken_store *store, const otok_record *record, const otok_index_key *key)
{
    static const uint8_t nothing[16] = {0};
    size_t n = is(store, BROKEN_FOUR_KEYS_ARE_FILED) && record->nkeys > 4 ? 4 : record->nkeys;
    if (key->index == OTOK_INDEX_ALL)
        return !(is(store, BROKEN_ALL_SKIPS_EVENTS) && record->kind == OTOK_RECORD_EVENT) &&
               !(is(store, BROKEN_ALL_READS_DIGEST) && key->digest[0] != nothing[0]);
    if (is(store, BROKEN_INDEXES_SKIP_TOMBSTONES) && record->kind == OTOK_RECORD_TOMBSTONE)
        return false;
    if (is(store, BROKEN_REOPENED_WITHOUT_INDEX) && store->reopened)
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
    broken_list all = get_all(store);
    for (size_t i = 0; stale && i < store->before.n; i++) {
        size_t at = list_find(&all, &store->before.records[i]->id);
        if (at < all.n)
            list_drop(&all, at);
        list_add(&all, store->before.records[i]);
    }
    for (size_t i = 0; stale && i < store->inserted.n; i++) {
        size_t at = list_find(&all, &store->inserted.records[i]->id);
        if (at < all.n)
            list_drop(&all, at);
    }
    for (size_t i = 0; ghosts && i < store->ghosts.n; i++)
        list_add(&all, store->ghosts.records[i]);
    return all;
}

/* Those that have the key, in no order; the caller's. */
static broken_list get_key(const broken_store *store, const otok_index_key *key, bool stale, bool ghosts)
{
    broken_list all = get_view(store, stale, ghosts), found = {0};
    for (size_t i = 0; i < all.n; i++) {
        if (has_key(store, all.records[i], key))
            list_add(&found, all.records[i]);
    }
    /* What a cursor finds next where the key has nothing. */
    for (size_t i = 0; is(store, BROKEN_SEEK_DOES_NOT_CHECK) && found.n == 0 && i < all.n; i++) {
        for (size_t j = 0; j < all.records[i]->nkeys && found.n == 0; j++) {
            if (all.records[i]->keys[j].index == key->index &&
                memcmp(all.records[i]->keys[j].digest, key->digest, 16) > 0)
                list_add(&found, all.records[i]);
        }
    }
    list_free(&all);
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
    if (index == OTOK_INDEX_SWEEP && !is(store, BROKEN_SWEEP_BY_CREATED))
        position.time_us = record->sweep_us;
    if ((index == OTOK_INDEX_ALL && !is(store, BROKEN_ALL_BY_CREATED)) || is(store, BROKEN_ORDER_OF_ID_ONLY))
        position.time_us = 0;
    return position;
}

static int compare_positions(const broken_store *store, const struct position *a, const struct position *b)
{
    if (a->time_us != b->time_us && is(store, BROKEN_TIMES_HAVE_NO_SIGNS))
        return (uint64_t)a->time_us < (uint64_t)b->time_us ? -1 : 1;
    if (a->time_us != b->time_us)
        return a->time_us < b->time_us ? -1 : 1;
    if (is(store, BROKEN_TIES_THE_WRONG_WAY))
        return memcmp(&b->id, &a->id, sizeof a->id);
    if (is(store, BROKEN_IDS_HAVE_SIGNS) && a->id.bytes[0] != b->id.bytes[0])
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
        list_add(&kept, list->records[i]);
    list_free(list);
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
    if ((scan->key.index == OTOK_INDEX_ALL && !is(store, BROKEN_ALL_BY_CREATED)) || is(store, BROKEN_ORDER_OF_ID_ONLY))
        after.time_us = 0;
    if (is(store, BROKEN_AFTER_ASCENDS) && descending)
        return 0;
    for (size_t i = 0; i < list->n; i++) {
        struct position at = position_of(store, list->records[i], scan->key.index);
        if (is(store, BROKEN_SWEEP_AFTER_BY_CREATED) && scan->key.index == OTOK_INDEX_SWEEP)
            at.time_us = list->records[i]->created_us;
        int c = compare_positions(store, &at, &after);
        if (is(store, BROKEN_AFTER_SKIPS_TIES) && at.time_us == after.time_us && scan->key.index != OTOK_INDEX_ALL)
            c = 0;
        found = found || c == 0;
        if ((descending ? c > 0 : c < 0) || (c == 0 && !is(store, BROKEN_AFTER_IS_INCLUSIVE)))
            skip = i + 1;
    }
    return is(store, BROKEN_AFTER_NEEDS_ITS_RECORD) && !found ? list->n : skip;
}

static size_t limit_of(const broken_store *store, const otok_scan *scan)
{
    if (is(store, BROKEN_LIMIT_IS_IGNORED))
        return SIZE_MAX;
    if (is(store, BROKEN_LIMIT_OF_1000) && scan->limit > 1000)
        return 1000;
    return is(store, BROKEN_PAGES_ARE_SHORT) && scan->limit > 1 ? scan->limit - 1 : scan->limit;
}

int broken_engine_scan(broken_store *store, const otok_scan *scan, otok_emit emit, void *arg)
{
    bool descending = (scan->flags & OTOK_SCAN_DESCENDING) != 0 && !is(store, BROKEN_DESCENDING_IS_IGNORED);
    bool turns_page = descending && is(store, BROKEN_DESCENDING_TURNS_THE_FIRST_PAGE);
    broken_list list = get_key(store, &scan->key, is(store, BROKEN_STALE_SCAN),
                               is(store, BROKEN_DELETE_LEAVES_ENTRIES) && scan->key.index != OTOK_INDEX_ALL);
    sort(store, &list, scan->key.index);
    if (descending && !turns_page)
        turn(&list);
    size_t first = (scan->flags & OTOK_SCAN_AFTER) != 0 ? skip_after(store, &list, scan, descending) : 0;
    size_t limit = limit_of(store, scan);
    keep_range(&list, first, limit > SIZE_MAX - first ? SIZE_MAX : first + limit);
    if (turns_page)
        turn(&list);
    for (size_t i = 0; i < list.n && is(store, BROKEN_SCAN_WITHOUT_BODY); i++)
        list.records[i]->body.len = 0;
    int rc = emit_all(store, &list, is(store, BROKEN_SCAN_NEVER_ENDS), is(store, BROKEN_SCAN_RETURNS_WHAT_EMIT_DID), emit,
                      arg);
    list_free(&list);
    return rc;
}

int broken_engine_count(broken_store *store, const otok_index_key *key, uint64_t *out)
{
    bool ghosts = is(store, BROKEN_COUNT_KEEPS_DELETED) || is(store, BROKEN_COUNT_KEEPS_PUT);
    broken_list list = get_key(store, key, is(store, BROKEN_STALE_COUNT), ghosts);
    *out = list.n;
    if (is(store, BROKEN_COUNT_IS_ABOUT_RIGHT) && list.n > 100)
        *out = list.n / 10 * 10;
    list_free(&list);
    return OTOK_OK;
}

/* ------------------------------------------------------------------------------------------------------------- close */

void broken_engine_close(broken_store *store)
{
    /* The last commit was in a buffer that nobody synced. */
    for (size_t i = 0; is(store, BROKEN_REOPENED_WITHOUT_LAST) && i < store->before.n; i++)
        set(store, store->before.records[i]);
    list_free(&store->ghosts);
    list_free(&store->before);
    list_free(&store->inserted);
}
