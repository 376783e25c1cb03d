/*
 * memory.c - the store in memory: two trees under one lock.
 *
 * `by_id` holds every record, `by_key` one entry for each of its keys.  What a group needs is allocated before the lock is
 * taken; from there on nothing can fail.
 *
 * SPDX-License-Identifier: MIT
 */
#include "store/store.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

struct memory {
    pthread_rwlock_t lock;
    otok_tree_node *by_id;
    otok_tree_node *by_key;
};

struct item {
    otok_record *record;
    uint8_t head[OTOK_MAX_HEAD]; /* what record->head points to, so that HEAD allocates nothing */
    otok_tree_node by_id;
    otok_tree_node by_key[]; /* record->nkeys */
};

/* ------------------------------------------------------------------------------------------------------------- items */

static void item_free(struct item *item)
{
    if (item != NULL) {
        otok_record_free(item->record);
        otok_wipe_free(item, sizeof *item);
    }
}

static void item_set_head(struct item *item, otok_str head)
{
    if (head.len != 0)
        memcpy(item->head, head.data, head.len);
    item->record->head = (otok_str){.data = item->head, .len = head.len};
}

static struct item *item_new(const otok_record *record)
{
    struct item *item = otok_calloc(1, sizeof *item + record->nkeys * sizeof item->by_key[0]);
    if (item == NULL || (item->record = otok_record_copy(record)) == NULL) {
        item_free(item);
        return NULL;
    }
    item_set_head(item, record->head);
    return item;
}

static otok_tree_key id_key(const otok_id *id)
{
    return (otok_tree_key){.id = *id};
}

static struct item *item_find(const struct memory *memory, const otok_id *id)
{
    otok_tree_key key = id_key(id);
    otok_tree_node *node = otok_tree_find(memory->by_id, &key);
    return node != NULL ? node->owner : NULL;
}

static void item_link(struct memory *memory, struct item *item)
{
    const otok_record *record = item->record;
    item->by_id.owner = item;
    item->by_id.key = id_key(&record->id);
    otok_tree_insert(&memory->by_id, &item->by_id);
    for (size_t i = 0; i < record->nkeys; i++) {
        otok_tree_node *node = &item->by_key[i];
        node->owner = item;
        node->key.index = record->keys[i];
        node->key.order_us = record->keys[i].index == OTOK_INDEX_SWEEP ? record->sweep_us : record->created_us;
        node->key.id = record->id;
        otok_tree_insert(&memory->by_key, node);
    }
}

static void item_unlink(struct memory *memory, struct item *item)
{
    otok_tree_remove(&memory->by_id, &item->by_id.key);
    for (size_t i = 0; i < item->record->nkeys; i++)
        otok_tree_remove(&memory->by_key, &item->by_key[i].key);
}

/* ------------------------------------------------------------------------------------------------------------- commit */

static bool write_fits(const struct memory *memory, const otok_write *write)
{
    const struct item *item = item_find(memory, &write->record->id);
    if (write->op == OTOK_WRITE_INSERT)
        return item == NULL;
    return item != NULL && item->record->version == write->expect;
}

/* `spare` is the item that INSERT and PUT store, else NULL; what is no longer stored is left in it. */
static void write_apply(struct memory *memory, const otok_write *write, struct item **spare)
{
    struct item *old = item_find(memory, &write->record->id);
    if (*spare != NULL) {
        if (old != NULL) {
            (*spare)->record->created_us = old->record->created_us;
            item_unlink(memory, old);
        }
        item_link(memory, *spare);
        *spare = old;
    } else if (old != NULL && write->op == OTOK_WRITE_HEAD) {
        item_set_head(old, write->record->head);
        old->record->version = write->record->version;
    } else if (old != NULL && write->op == OTOK_WRITE_DELETE) {
        item_unlink(memory, old);
        *spare = old;
    }
}

static int group_apply(struct memory *memory, const otok_group *group, struct item **spares)
{
    for (size_t i = 0; i < group->n; i++) {
        if (!write_fits(memory, &group->writes[i]))
            return OTOK_E_CONFLICT;
    }
    for (size_t i = 0; i < group->n; i++)
        write_apply(memory, &group->writes[i], &spares[i]);
    return OTOK_OK;
}

static int group_commit(struct memory *memory, const otok_group *group)
{
    struct item *spares[OTOK_MAX_GROUP_WRITES] = {NULL};
    int result = OTOK_OK;

    for (size_t i = 0; i < group->n && result == OTOK_OK; i++) {
        const otok_write *write = &group->writes[i];
        if (write->op == OTOK_WRITE_INSERT || write->op == OTOK_WRITE_PUT) {
            spares[i] = item_new(write->record);
            if (spares[i] == NULL)
                result = OTOK_E_NOMEM;
        }
    }
    if (result == OTOK_OK) {
        (void)pthread_rwlock_wrlock(&memory->lock);
        result = group_apply(memory, group, spares);
        (void)pthread_rwlock_unlock(&memory->lock);
    }
    for (size_t i = 0; i < group->n; i++)
        item_free(spares[i]);
    return result;
}

static int memory_commit(void *self, otok_group *groups, size_t n, otok_error *err)
{
    (void)err;
    for (size_t i = 0; i < n; i++)
        groups[i].result = group_commit(self, &groups[i]);
    return OTOK_OK;
}

/* ------------------------------------------------------------------------------------------------------------- fetch */

static int by_id(const void *a, const void *b)
{
    const struct item *left = *(struct item *const *)a, *right = *(struct item *const *)b;
    return otok_id_compare(&left->record->id, &right->record->id);
}

/* The records of `ids`, and what they link to, into `found`, which has room for all. */
static size_t find_all(const struct memory *memory, const otok_id *ids, size_t n, uint32_t flags, struct item **found)
{
    size_t nfound = 0;
    for (size_t i = 0; i < n; i++) {
        struct item *item = item_find(memory, &ids[i]);
        if (item == NULL)
            continue;
        found[nfound++] = item;
        for (size_t j = 0; (flags & OTOK_FETCH_LINKS) != 0 && j < item->record->nlinks; j++) {
            struct item *linked = item_find(memory, &item->record->links[j]);
            if (linked != NULL)
                found[nfound++] = linked;
        }
    }
    return nfound;
}

static int memory_fetch(void *self, const otok_id *ids, size_t n, uint32_t flags, otok_emit emit, void *arg,
                        otok_error *err)
{
    enum { AT_ONCE = 4, ROOM = AT_ONCE * (1 + OTOK_MAX_LINKS) };
    struct memory *memory = self;
    struct item *few[ROOM], **found = few;
    if (n > AT_ONCE && (found = otok_malloc(n * (1 + OTOK_MAX_LINKS) * sizeof *found)) == NULL)
        return otok_fail(err, OTOK_E_NOMEM, "no memory to fetch %zu records", n);

    (void)pthread_rwlock_rdlock(&memory->lock);
    size_t nfound = find_all(memory, ids, n, flags, found);
    if (nfound > 1)
        qsort(found, nfound, sizeof *found, by_id);
    for (size_t i = 0; i < nfound; i++) {
        if ((i == 0 || found[i] != found[i - 1]) && emit(arg, found[i]->record) != 0)
            break;
    }
    (void)pthread_rwlock_unlock(&memory->lock);

    if (found != few)
        otok_free(found);
    return OTOK_OK;
}

/* ------------------------------------------------------------------------------------------------------------- scan */

/* The entries of one key are those from rank `first` to below `end`. */
struct range {
    otok_tree_node *tree;
    size_t first, end;
};

static struct range range_of(const struct memory *memory, const otok_index_key *index)
{
    bool all = index->index == OTOK_INDEX_ALL;
    otok_tree_key low = {.order_us = INT64_MIN}, high = {.order_us = INT64_MAX};
    struct range range = {.tree = all ? memory->by_id : memory->by_key};
    if (!all)
        low.index = high.index = *index;
    memset(&high.id, 0xff, sizeof high.id);
    range.first = otok_tree_rank(range.tree, &low, false);
    range.end = otok_tree_rank(range.tree, &high, true);
    return range;
}

static void skip_to_after(struct range *range, const otok_scan *scan)
{
    otok_tree_key after = id_key(&scan->after);
    if (scan->key.index != OTOK_INDEX_ALL) {
        after.index = scan->key;
        after.order_us = scan->after_us;
    }
    if ((scan->flags & OTOK_SCAN_DESCENDING) != 0)
        range->end = otok_tree_rank(range->tree, &after, false);
    else
        range->first = otok_tree_rank(range->tree, &after, true);
}

static int memory_scan(void *self, const otok_scan *scan, otok_emit emit, void *arg, otok_error *err)
{
    struct memory *memory = self;
    (void)err;
    (void)pthread_rwlock_rdlock(&memory->lock);
    struct range range = range_of(memory, &scan->key);
    if ((scan->flags & OTOK_SCAN_AFTER) != 0)
        skip_to_after(&range, scan);
    for (uint32_t i = 0; i < scan->limit && range.first < range.end; i++) {
        size_t rank = (scan->flags & OTOK_SCAN_DESCENDING) != 0 ? --range.end : range.first++;
        const struct item *item = otok_tree_at(range.tree, rank)->owner;
        if (emit(arg, item->record) != 0)
            break;
    }
    (void)pthread_rwlock_unlock(&memory->lock);
    return OTOK_OK;
}

static int memory_count(void *self, const otok_index_key *key, uint64_t *out, otok_error *err)
{
    struct memory *memory = self;
    (void)err;
    (void)pthread_rwlock_rdlock(&memory->lock);
    struct range range = range_of(memory, key);
    (void)pthread_rwlock_unlock(&memory->lock);
    *out = range.end - range.first;
    return OTOK_OK;
}

/* ------------------------------------------------------------------------------------------------------------- open */

static void items_free(otok_tree_node *node)
{
    if (node != NULL) {
        items_free(node->left);
        items_free(node->right);
        item_free(node->owner);
    }
}

static void memory_close(void *self)
{
    struct memory *memory = self;
    items_free(memory->by_id);
    (void)pthread_rwlock_destroy(&memory->lock);
    otok_free(memory);
}

/* Left to itself, glibc lets readers keep a writer waiting for ever. */
static int lock_init(pthread_rwlock_t *lock)
{
    pthread_rwlockattr_t attr;
    int rc = pthread_rwlockattr_init(&attr);
    if (rc != 0)
        return rc;
#ifdef __GLIBC__
    (void)pthread_rwlockattr_setkind_np(&attr, PTHREAD_RWLOCK_PREFER_WRITER_NONRECURSIVE_NP);
#endif
    rc = pthread_rwlock_init(lock, &attr);
    (void)pthread_rwlockattr_destroy(&attr);
    return rc;
}

static const otok_store_vtab memory_vtab = {
    .size = sizeof(otok_store_vtab),
    .guarantees = OTOK_STORE_ATOMIC_GROUPS | OTOK_STORE_FAST_COUNT,
    .name = "memory",
    .fetch = memory_fetch,
    .commit = memory_commit,
    .scan = memory_scan,
    .count = memory_count,
    .close = memory_close,
};

int otok_store_open_memory(otok_store **out, otok_error *err)
{
    if (out == NULL)
        return otok_fail(err, OTOK_E_INVALID, "out is required");
    *out = NULL;
    struct memory *memory = otok_calloc(1, sizeof *memory);
    int rc = memory != NULL ? lock_init(&memory->lock) : ENOMEM;
    if (rc != 0) {
        otok_free(memory);
        return otok_fail_errno(err, OTOK_E_NOMEM, rc, "no memory for a store");
    }
    rc = otok_store_open(&memory_vtab, memory, out, err);
    if (rc != OTOK_OK)
        memory_close(memory);
    return rc;
}
