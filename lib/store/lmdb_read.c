/*
 * lmdb_read.c - fetch: records by id, and what they link to.
 *
 * SPDX-License-Identifier: MIT
 */
#include "store/lmdb.h"

#ifdef OTOK_HAVE_LMDB

#include <string.h>

enum { FEW_IDS = 16 };

int otok_lmdb_find(MDB_txn *txn, MDB_dbi first, MDB_dbi second, const otok_id *id, MDB_val *out, MDB_dbi *where)
{
    otok_id copy = *id;
    MDB_val key = {.mv_size = sizeof copy.bytes, .mv_data = copy.bytes};
    MDB_dbi found = first;
    int rc = mdb_get(txn, first, &key, out);
    if (rc == MDB_NOTFOUND) {
        found = second;
        rc = mdb_get(txn, second, &key, out);
    }
    if (where != NULL)
        *where = found;
    return rc;
}

int otok_lmdb_emit(otok_lmdb_reading *r, const otok_id *id, const MDB_val *value, otok_lmdb_view *view)
{
    if (!otok_lmdb_decode(view, id, value->mv_data, value->mv_size))
        return otok_fail(r->err, OTOK_E_FORMAT, "%s holds a record that this version of the library cannot read",
                         r->env->path);
    r->ended = r->emit(r->arg, &view->record) != 0;
    return OTOK_OK;
}

/* Ids in their order, each once: so they are found page by page, and a linked one is not emitted twice. */
static size_t sort_ids(otok_id *ids, size_t n)
{
    size_t gap = 1;
    while (gap < n / 3)
        gap = gap * 3 + 1;
    for (; gap > 0; gap /= 3) {
        for (size_t i = gap; i < n; i++) {
            otok_id id = ids[i];
            size_t j = i;
            for (; j >= gap && otok_id_compare(&ids[j - gap], &id) > 0; j -= gap)
                ids[j] = ids[j - gap];
            ids[j] = id;
        }
    }
    size_t kept = 0;
    for (size_t i = 0; i < n; i++) {
        if (kept == 0 || otok_id_compare(&ids[kept - 1], &ids[i]) != 0)
            ids[kept++] = ids[i];
    }
    return kept;
}

static bool has_id(const otok_id *sorted, size_t n, const otok_id *id)
{
    size_t low = 0;
    while (low < n) {
        size_t middle = low + (n - low) / 2;
        int order = otok_id_compare(&sorted[middle], id);
        if (order == 0)
            return true;
        if (order < 0)
            low = middle + 1;
        else
            n = middle;
    }
    return false;
}

/* Emits those of the sorted `ids` that exist; collects what they link to in `links` (may be NULL). */
static int emit_ids(otok_lmdb_reading *r, const otok_id *ids, size_t n, bool links_first, otok_id *links,
                    size_t *nlinks)
{
    otok_lmdb_view view;
    MDB_val value;
    MDB_dbi first = links_first ? r->env->links : r->env->records,
            second = links_first ? r->env->records : r->env->links;
    for (size_t i = 0; i < n && !r->ended; i++) {
        int rc = otok_lmdb_find(r->txn, first, second, &ids[i], &value, NULL);
        if (rc == MDB_NOTFOUND)
            continue;
        if (rc != MDB_SUCCESS)
            return otok_lmdb_fail(r->env, r->err, rc, "fetching");
        rc = otok_lmdb_emit(r, &ids[i], &value, &view);
        if (rc != OTOK_OK)
            return rc;
        for (size_t j = 0; links != NULL && j < view.record.nlinks; j++)
            links[(*nlinks)++] = view.record.links[j];
    }
    return OTOK_OK;
}

static int fetch_sorted(otok_lmdb_reading *r, otok_id *ids, size_t n, bool follow)
{
    otok_id *links = ids + n;
    size_t nlinks = 0, others = 0;
    n = sort_ids(ids, n);
    int rc = emit_ids(r, ids, n, false, follow ? links : NULL, &nlinks);
    if (rc != OTOK_OK || r->ended || nlinks == 0)
        return rc;
    nlinks = sort_ids(links, nlinks);
    for (size_t i = 0; i < nlinks; i++) {
        if (!has_id(ids, n, &links[i]))
            links[others++] = links[i];
    }
    return emit_ids(r, links, others, true, NULL, NULL);
}

int otok_lmdb_fetch(void *self, const otok_id *ids, size_t n, uint32_t flags, otok_emit emit, void *arg,
                    otok_error *err)
{
    const otok_lmdb *store = self;
    otok_lmdb_slot *slot;
    otok_id few[FEW_IDS * (1 + OTOK_MAX_LINKS)], *copy = few;
    bool follow = (flags & OTOK_FETCH_LINKS) != 0;

    int rc = otok_lmdb_refuse_inherited(store->env, err);
    if (rc != OTOK_OK)
        return rc;
    if (n > FEW_IDS && (copy = otok_malloc(n * (follow ? 1 + OTOK_MAX_LINKS : 1) * sizeof *copy)) == NULL)
        return otok_fail(err, OTOK_E_NOMEM, "no memory to fetch %zu records", n);
    memcpy(copy, ids, n * sizeof *copy);

    rc = otok_lmdb_read_begin(store->env, &slot, err);
    if (rc == OTOK_OK) {
        otok_lmdb_reading r = {.env = store->env, .txn = slot->txn, .emit = emit, .arg = arg, .err = err};
        rc = fetch_sorted(&r, copy, n, follow);
        otok_lmdb_read_end(store->env, slot);
    }
    if (copy != few)
        otok_free(copy);
    return rc;
}

#endif
