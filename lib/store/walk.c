/*
 * walk.c - every record of a store, in the order of ids, a page at a time: what export, import and check are made of.
 *
 * SPDX-License-Identifier: MIT
 */
#include "store/store.h"

static int keep(void *arg, const otok_record *record)
{
    otok_walk *walk = arg;
    otok_record *copy = otok_record_copy(record);
    walk->short_of_memory = copy == NULL;
    if (copy != NULL)
        walk->page[walk->n++] = copy;
    return copy == NULL;
}

static void forget(otok_walk *walk)
{
    for (size_t i = walk->at; i < walk->n; i++)
        otok_record_free(walk->page[i]);
    walk->at = walk->n = 0;
}

static int read_page(otok_walk *walk, otok_error *err)
{
    otok_scan scan = {.size = sizeof scan, .limit = OTOK_WALK_PAGE, .key = {.index = OTOK_INDEX_ALL}};
    if (walk->begun) {
        scan.flags = OTOK_SCAN_AFTER;
        scan.after = walk->last;
    }
    walk->begun = true;
    walk->at = walk->n = 0;
    int rc = otok_store_scan(walk->store, &scan, keep, walk, err);
    if (rc == OTOK_OK && walk->short_of_memory)
        rc = otok_fail(err, OTOK_E_NOMEM, "no memory for a page of records");
    if (rc != OTOK_OK) {
        forget(walk);
        return rc;
    }
    walk->ended = walk->n < OTOK_WALK_PAGE;
    if (walk->n != 0)
        walk->last = walk->page[walk->n - 1]->id;
    return OTOK_OK;
}

int otok_walk_next(otok_walk *walk, otok_record **out, otok_error *err)
{
    *out = NULL;
    if (walk->at == walk->n && !walk->ended) {
        int rc = read_page(walk, err);
        if (rc != OTOK_OK)
            return rc;
    }
    if (walk->at < walk->n)
        *out = walk->page[walk->at++];
    return OTOK_OK;
}

void otok_walk_end(otok_walk *walk)
{
    forget(walk);
}

/* ---------------------------------------------------------------------------------------------------- watching */

void otok_watch_init(otok_watch *watch, size_t size)
{
    otok_struct_init(watch, size);
}

int otok_watch_read(const otok_watch *in, otok_watch *out, otok_error *err)
{
    *out = (otok_watch){.size = sizeof *out};
    if (in == NULL)
        return OTOK_OK;
    int rc = otok_struct_read(out, sizeof *out, in, sizeof(size_t), "otok_watch", err);
    out->size = sizeof *out;
    return rc;
}

int otok_watch_progress(const otok_watch *watch, uint64_t done, uint64_t total, otok_error *err)
{
    if (watch->progress == NULL || watch->progress(watch->user, done, total) == 0)
        return OTOK_OK;
    return otok_fail(err, OTOK_E_CALLBACK, "ended by watch.progress");
}
