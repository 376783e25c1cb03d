/*
 * custom_store.c - a store of your own: a whole backend, and the conformance kit over it.
 *
 * Records are in an array, in no order, under one mutex.  That is little, but it is all that the contract asks for: every
 * write is guarded by the version it expects, a group is all or nothing, and what a scan emits is in order.  It declares what
 * it has, OTOK_STORE_ATOMIC_GROUPS, and no more: nothing survives the process, and counting walks.
 *
 * Build: cc custom_store.c $(pkg-config --cflags --libs offlinetok) -pthread
 *
 * SPDX-License-Identifier: MIT
 */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <offlinetok/store.h>

struct shelf {
    pthread_mutex_t lock;
    otok_record **records; /* each a copy of ours */
    size_t n;
};

static int compare_ids(const void *a, const void *b)
{
    return memcmp(a, b, sizeof(otok_id));
}

/* Where the record of that id is, or NULL. */
static otok_record **find(const struct shelf *shelf, const otok_id *id)
{
    for (size_t i = 0; i < shelf->n; i++) {
        if (compare_ids(&shelf->records[i]->id, id) == 0)
            return &shelf->records[i];
    }
    return NULL;
}

/* ---- commit: check every guard, then allocate everything, and only then change the array, which cannot fail. */

static int guards_hold(const struct shelf *shelf, const otok_group *group)
{
    for (size_t i = 0; i < group->n; i++) {
        const otok_write *write = &group->writes[i];
        otok_record **old = find(shelf, &write->record->id);
        if (write->op == OTOK_WRITE_INSERT ? old != NULL : old == NULL || (*old)->version != write->expect)
            return 0;
    }
    return 1;
}

/* The record as it will be; NULL when memory is short. */
static otok_record *successor(const struct shelf *shelf, const otok_write *write)
{
    otok_record **old = find(shelf, &write->record->id), next = *write->record;
    if (write->op == OTOK_WRITE_PUT) {
        next.created_us = (*old)->created_us;
    } else if (write->op == OTOK_WRITE_HEAD) {
        next = **old;
        next.version = write->record->version;
        next.head = write->record->head;
    }
    return otok_record_copy(&next);
}

static void apply(struct shelf *shelf, const otok_write *write, otok_record *next)
{
    otok_record **old = find(shelf, &write->record->id);
    if (next != NULL && old == NULL) {
        shelf->records[shelf->n++] = next;
    } else if (next != NULL || write->op == OTOK_WRITE_DELETE) {
        otok_record_free(*old);
        *old = next != NULL ? next : shelf->records[--shelf->n];
    }
}

static int commit_group(struct shelf *shelf, const otok_group *group)
{
    otok_record *next[OTOK_MAX_GROUP_WRITES] = {NULL}; /* what INSERT, PUT and HEAD store */
    if (!guards_hold(shelf, group))
        return OTOK_E_CONFLICT;
    otok_record **room = realloc(shelf->records, (shelf->n + group->n) * sizeof *room);
    if (room == NULL)
        return OTOK_E_NOMEM;
    shelf->records = room;
    for (size_t i = 0; i < group->n; i++) {
        if (group->writes[i].op <= OTOK_WRITE_HEAD && (next[i] = successor(shelf, &group->writes[i])) == NULL) {
            while (i > 0)
                otok_record_free(next[--i]);
            return OTOK_E_NOMEM;
        }
    }
    for (size_t i = 0; i < group->n; i++)
        apply(shelf, &group->writes[i], next[i]);
    return OTOK_OK;
}

static int shelf_commit(void *self, otok_group *groups, size_t n, otok_error *err)
{
    struct shelf *shelf = self;
    (void)err;
    pthread_mutex_lock(&shelf->lock);
    for (size_t i = 0; i < n; i++)
        groups[i].result = commit_group(shelf, &groups[i]);
    pthread_mutex_unlock(&shelf->lock);
    return OTOK_OK;
}

/* ---- fetch: the ids, and with LINKS those that their records link to, each once. */

static int shelf_fetch(void *self, const otok_id *ids, size_t n, uint32_t flags, otok_emit emit, void *arg,
                       otok_error *err)
{
    struct shelf *shelf = self;
    size_t wanted = n;
    otok_id *all = malloc(n * (1 + OTOK_MAX_LINKS) * sizeof *all);
    if (all == NULL)
        return otok_error_set(err, OTOK_E_NOMEM, 0, "shelf: no memory for a fetch");
    memcpy(all, ids, n * sizeof *all);
    pthread_mutex_lock(&shelf->lock);
    for (size_t i = 0; i < n && (flags & OTOK_FETCH_LINKS) != 0; i++) {
        otok_record **found = find(shelf, &ids[i]);
        for (size_t j = 0; found != NULL && j < (*found)->nlinks; j++)
            all[wanted++] = (*found)->links[j];
    }
    qsort(all, wanted, sizeof *all, compare_ids);
    for (size_t i = 0; i < wanted; i++) {
        otok_record **found = i > 0 && compare_ids(&all[i], &all[i - 1]) == 0 ? NULL : find(shelf, &all[i]);
        if (found != NULL && emit(arg, *found) != 0)
            break;
    }
    pthread_mutex_unlock(&shelf->lock);
    free(all);
    return OTOK_OK;
}

/* ---- scan and count: look at every record, sort those that have the key. */

struct row {
    int64_t order_us;
    otok_id id;
    const otok_record *record;
};

static int compare_rows(const void *a, const void *b)
{
    const struct row *left = a, *right = b;
    if (left->order_us != right->order_us)
        return left->order_us < right->order_us ? -1 : 1;
    return compare_ids(&left->id, &right->id);
}

static int has_key(const otok_record *record, const otok_index_key *key)
{
    for (size_t i = 0; i < record->nkeys; i++) {
        if (record->keys[i].index == key->index)
            return memcmp(record->keys[i].digest, key->digest, sizeof key->digest) == 0;
    }
    return key->index == OTOK_INDEX_ALL;
}

/* ALL is in the order of the id alone: there, every time counts as 0. */
static int64_t order_in(uint32_t index, int64_t created_us, int64_t sweep_us)
{
    if (index == OTOK_INDEX_ALL)
        return 0;
    return index == OTOK_INDEX_SWEEP ? sweep_us : created_us;
}

static int shelf_scan(void *self, const otok_scan *scan, otok_emit emit, void *arg, otok_error *err)
{
    struct shelf *shelf = self;
    int descending = (scan->flags & OTOK_SCAN_DESCENDING) != 0, after = (scan->flags & OTOK_SCAN_AFTER) != 0;
    struct row behind = {order_in(scan->key.index, scan->after_us, scan->after_us), scan->after, NULL};
    size_t n = 0, emitted = 0;
    pthread_mutex_lock(&shelf->lock);
    struct row *rows = malloc((shelf->n + 1) * sizeof *rows);
    for (size_t i = 0; rows != NULL && i < shelf->n; i++) {
        const otok_record *record = shelf->records[i];
        struct row row = {order_in(scan->key.index, record->created_us, record->sweep_us), record->id, record};
        int c = compare_rows(&row, &behind);
        if (has_key(record, &scan->key) && (!after || (descending ? c < 0 : c > 0)))
            rows[n++] = row;
    }
    if (n > 1)
        qsort(rows, n, sizeof *rows, compare_rows);
    while (emitted < n && emitted < scan->limit) {
        const struct row *row = &rows[descending ? n - 1 - emitted : emitted];
        emitted++;
        if (emit(arg, row->record) != 0)
            break;
    }
    pthread_mutex_unlock(&shelf->lock);
    int rc = rows != NULL ? OTOK_OK : otok_error_set(err, OTOK_E_NOMEM, 0, "shelf: no memory for a scan");
    free(rows);
    return rc;
}

static int shelf_count(void *self, const otok_index_key *key, uint64_t *out, otok_error *err)
{
    struct shelf *shelf = self;
    (void)err;
    *out = 0;
    pthread_mutex_lock(&shelf->lock);
    for (size_t i = 0; i < shelf->n; i++)
        *out += has_key(shelf->records[i], key) ? 1 : 0;
    pthread_mutex_unlock(&shelf->lock);
    return OTOK_OK;
}

/* ---- open and close: that is the whole backend. */

static void shelf_close(void *self)
{
    struct shelf *shelf = self;
    for (size_t i = 0; i < shelf->n; i++)
        otok_record_free(shelf->records[i]);
    free(shelf->records);
    pthread_mutex_destroy(&shelf->lock);
    free(shelf);
}

static int shelf_open(otok_store **out, otok_error *err)
{
    const otok_store_vtab vtab = {
        .size = sizeof vtab,
        .guarantees = OTOK_STORE_ATOMIC_GROUPS,
        .name = "shelf",
        .fetch = shelf_fetch,
        .commit = shelf_commit,
        .scan = shelf_scan,
        .count = shelf_count,
        .close = shelf_close,
    };
    struct shelf *shelf = calloc(1, sizeof *shelf);
    if (shelf == NULL || pthread_mutex_init(&shelf->lock, NULL) != 0) {
        free(shelf);
        return otok_error_set(err, OTOK_E_NOMEM, 0, "shelf: no memory");
    }
    int rc = otok_store_open(&vtab, shelf, out, err);
    if (rc != OTOK_OK)
        shelf_close(shelf);
    return rc;
}

/* ---- Does it keep the contract? */

static int open_for_kit(void *user, int32_t fresh, otok_store **out, otok_error *err)
{
    (void)user;
    (void)fresh; /* always 1: 0 is for stores that declare OTOK_STORE_DURABLE */
    return shelf_open(out, err);
}

static void report(void *user, const char *clause, int32_t passed, const char *detail)
{
    (void)user;
    printf("%s  %s: %s\n", passed == 1 ? "pass" : passed == 0 ? "FAIL" : "n/a ", clause, detail);
}

int main(void)
{
    otok_error err;
    otok_conform kit = {sizeof kit, NULL, open_for_kit, report, 1};
    int rc = otok_store_conform(&kit, &err);
    if (rc != OTOK_OK)
        fprintf(stderr, "%s: %s\n", otok_error_name(rc), err.message);
    return rc == OTOK_OK ? EXIT_SUCCESS : EXIT_FAILURE;
}
