/*
 * broken_write.c - commit, with every fault in its place: `broken_is(store, BROKEN_...)` is where it goes wrong.
 *
 * SPDX-License-Identifier: MIT
 */
#include "support/broken_engine.h"

#include <string.h>

static uint64_t version_bits(const broken_store *store, uint64_t version)
{
    if (broken_is(store, BROKEN_VERSIONS_OF_32_BITS))
        return version & UINT32_MAX;
    return broken_is(store, BROKEN_VERSIONS_OF_63_BITS) ? version << 1 : version;
}

static bool fits_nothing(const broken_store *store, const otok_write *write)
{
    if (write->op == OTOK_WRITE_PUT && broken_is(store, BROKEN_PUT_OF_NOTHING_INSERTS))
        return true;
    if (write->op == OTOK_WRITE_DELETE && broken_is(store, BROKEN_DELETE_OF_NOTHING_IS_OK))
        return true;
    if (write->op == OTOK_WRITE_ASSERT && broken_is(store, BROKEN_NOTHING_HAS_VERSION_0) && write->expect == 0)
        return true;
    return write->op == OTOK_WRITE_INSERT && !(broken_is(store, BROKEN_DELETED_IDS_ARE_BURNT) &&
                                               broken_list_find(&store->ghosts, &write->record->id) < store->ghosts.n);
}

static bool fits_record(const broken_store *store, const otok_write *write, const otok_record *old)
{
    if (store->reopened && broken_is(store, BROKEN_REOPENED_WITHOUT_GUARDS))
        return true;
    switch (write->op) {
    case OTOK_WRITE_INSERT:
        return broken_is(store, BROKEN_INSERT_REPLACES) ||
               (broken_is(store, BROKEN_INSERT_OVER_ANOTHER_KIND) && old->kind != write->record->kind);
    case OTOK_WRITE_PUT:
        if (broken_is(store, BROKEN_PUT_AT_ANY_VERSION))
            return true;
        break;
    case OTOK_WRITE_HEAD:
        if (broken_is(store, BROKEN_HEAD_AT_ANY_VERSION))
            return true;
        break;
    case OTOK_WRITE_DELETE:
        if (broken_is(store, BROKEN_DELETE_AT_ANY_VERSION))
            return true;
        break;
    default:
        if (broken_is(store, BROKEN_ASSERT_IS_IGNORED))
            return true;
        break;
    }
    return version_bits(store, old->version) == version_bits(store, write->expect);
}

static bool fits(const broken_store *store, const otok_write *write)
{
    otok_record *old = broken_get(store, &write->record->id);
    bool fit = old != NULL ? fits_record(store, write, old) : fits_nothing(store, write);
    if (!fit && old != NULL && write->op == OTOK_WRITE_PUT && broken_is(store, BROKEN_STALE_PUT_CHANGES_HEAD)) {
        otok_record torn = *old;
        torn.head = write->record->head;
        broken_set(store, &torn);
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
        broken_set(store, &record);
        return;
    }
    bool seldom = broken_is(store, BROKEN_SELDOM_ENTRY_STAYS) && ++store->nth % 25 == 0;
    if (!broken_is(store, BROKEN_PUT_TAKES_CREATED))
        record.created_us = old->created_us;
    if (broken_is(store, BROKEN_PUT_KEEPS_BODY) ||
        (broken_is(store, BROKEN_PUT_OF_NO_BODY_KEEPS_IT) && record.body.len == 0))
        record.body = old->body;
    if (broken_is(store, BROKEN_PUT_KEEPS_NAMES))
        record.subject = old->subject;
    if (broken_is(store, BROKEN_PUT_KEEPS_SWEEP))
        record.sweep_us = old->sweep_us;
    if (broken_is(store, BROKEN_KINDS_ARE_FOR_EVER))
        record.kind = old->kind;
    if (broken_is(store, BROKEN_PUT_KEEPS_LINKS)) {
        record.links = old->links;
        record.nlinks = old->nlinks;
    }
    if (broken_is(store, BROKEN_PUT_FILES_NOTHING_NEW)) {
        record.keys = old->keys;
        record.nkeys = old->nkeys;
    }
    if (broken_is(store, BROKEN_PUT_KEEPS_OLD_ENTRIES) || seldom)
        keep_keys(&record, old, keys);
    broken_list_add(&store->ghosts, old);
    broken_set(store, &record);
}

static void head(broken_store *store, const otok_write *write, const otok_record *old)
{
    otok_record record = *old;
    uint8_t longer[OTOK_MAX_HEAD] = {0};
    record.version = broken_is(store, BROKEN_HEAD_KEEPS_VERSION) ? old->version : write->record->version;
    record.head = write->record->head;
    if (broken_is(store, BROKEN_HEAD_WRITES_BODY))
        record.body = write->record->body;
    if (broken_is(store, BROKEN_HEAD_WRITES_SWEEP))
        record.sweep_us = write->record->sweep_us;
    if (broken_is(store, BROKEN_HEAD_WRITES_KIND))
        record.kind = write->record->kind;
    if (broken_is(store, BROKEN_HEADS_NEVER_SHRINK) && record.head.len < old->head.len) {
        memcpy(longer, old->head.data, old->head.len);
        if (record.head.len != 0)
            memcpy(longer, record.head.data, record.head.len);
        record.head = (otok_str){.data = longer, .len = old->head.len};
    }
    if (broken_is(store, BROKEN_SELDOM_HEAD_IS_LOST) && ++store->nth % 25 == 0)
        record.head = old->head;
    broken_set(store, &record);
}

static void take_neighbour(broken_store *store, const otok_id *id)
{
    otok_id next = *id;
    next.bytes[3]++;
    otok_record *record = broken_get(store, &next);
    if (record != NULL)
        broken_write_below(store, OTOK_WRITE_DELETE, record->version, record);
    otok_record_free(record);
}

static void apply(broken_store *store, const otok_write *write)
{
    otok_record *old = broken_get(store, &write->record->id);
    otok_record moved;
    if (old != NULL)
        broken_list_add(&store->before, old);
    if (write->op == OTOK_WRITE_INSERT) {
        broken_list_add(&store->inserted, write->record);
        broken_set(store, write->record);
    } else if (write->op == OTOK_WRITE_PUT) {
        put(store, write, old);
    } else if (old != NULL && write->op == OTOK_WRITE_HEAD) {
        head(store, write, old);
    } else if (old != NULL && write->op == OTOK_WRITE_DELETE) {
        broken_list_add(&store->ghosts, old);
        broken_write_below(store, OTOK_WRITE_DELETE, old->version, old);
        if (broken_is(store, BROKEN_DELETE_TAKES_THE_NEIGHBOUR))
            take_neighbour(store, &old->id);
    } else if (old != NULL && broken_is(store, BROKEN_ASSERT_MOVES_VERSION)) {
        moved = *old;
        moved.version++;
        broken_set(store, &moved);
    } else if (old != NULL && broken_is(store, BROKEN_ASSERT_WRITES_RECORD) && write->record->kind != 0) {
        broken_set(store, write->record);
    }
    otok_record_free(old);
}

static bool is_too_large(const broken_store *store, const otok_group *group)
{
    size_t bytes = 0;
    for (size_t i = 0; i < group->n; i++)
        bytes += group->writes[i].op <= OTOK_WRITE_PUT ? group->writes[i].record->body.len : 0;
    return (broken_is(store, BROKEN_GROUPS_OF_63) && group->n > 63) ||
           (broken_is(store, BROKEN_GROUPS_OF_HALF_A_MEBIBYTE) && bytes > OTOK_MAX_GROUP_BYTES / 2);
}

static bool group_fits(const broken_store *store, const otok_group *group)
{
    size_t guards = broken_is(store, BROKEN_ONLY_THE_FIRST_GUARDS) ? 1 : group->n;
    for (size_t i = 0; i < guards; i++) {
        if (broken_is(store, BROKEN_ASSERT_GUARDS_ITSELF_ONLY) && group->n > 1 &&
            group->writes[i].op == OTOK_WRITE_ASSERT)
            continue;
        if (!fits(store, &group->writes[i]))
            return false;
    }
    return true;
}

static void group_apply(broken_store *store, const otok_group *group)
{
    for (size_t i = 0; i < group->n; i++) {
        bool lost = (broken_is(store, BROKEN_GROUPS_LOSE_A_WRITE) && i == 4) ||
                    (broken_is(store, BROKEN_WRITE_64_IS_LOST) && i == 63);
        if (!lost)
            apply(store, &group->writes[i]);
    }
}

static int group_commit(broken_store *store, const otok_group *group)
{
    if (is_too_large(store, group))
        return OTOK_E_FULL;
    if (broken_is(store, BROKEN_GROUPS_ARE_PARTIAL)) {
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
        if (broken_is(store, BROKEN_CONFLICT_ENDS_THE_COMMIT) && i > 0 && groups[i - 1].result != OTOK_OK)
            groups[i].result = OTOK_E_CONFLICT;
        else if (broken_is(store, BROKEN_COMMITS_OF_100_GROUPS) && i >= 100)
            groups[i].result = OTOK_E_BUSY;
        else if (broken_is(store, BROKEN_NEITHER_SUCCEEDS) && n == 2 && share_an_id(&groups[0], &groups[1]))
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
    broken_list_free(&store->before);
    broken_list_free(&store->inserted);
    if (broken_is(store, BROKEN_CONFLICT_POISONS_THE_COMMIT)) {
        bool fit = true;
        for (size_t i = 0; i < n; i++)
            fit = fit && group_fits(store, &groups[i]);
        for (size_t i = 0; i < n; i++)
            groups[i].result = fit ? group_commit(store, &groups[i]) : OTOK_E_CONFLICT;
    } else if (broken_is(store, BROKEN_GUARDS_BEFORE_ALL_GROUPS)) {
        commit_checked_before(store, groups, n);
    } else {
        commit_groups(store, groups, n);
    }
    for (size_t i = 0; broken_is(store, BROKEN_RESULTS_ARE_REVERSED) && i < n / 2; i++) {
        int32_t result = groups[i].result;
        groups[i].result = groups[n - 1 - i].result;
        groups[n - 1 - i].result = result;
    }
    for (size_t i = 0; i < n; i++) {
        if (broken_is(store, BROKEN_RESULTS_ARE_FORGOTTEN) && n > 1)
            groups[i].result = 1;
        if (broken_is(store, BROKEN_CONFLICT_IS_RETURNED) && n > 1 && groups[i].result == OTOK_E_CONFLICT)
            return OTOK_E_CONFLICT;
    }
    return OTOK_OK;
}
