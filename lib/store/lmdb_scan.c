/*
 * lmdb_scan.c - scan and count: the entries of one index key, or everything in id order.
 *
 * SPDX-License-Identifier: MIT
 */
#include "store/lmdb.h"

#ifdef OTOK_HAVE_LMDB

#include <string.h>

/* ---------------------------------------------------------------------------------------------------- scan */

/* Puts the cursor on the first entry of the walk. */
static int seek_entry(MDB_cursor *cursor, MDB_val *key, MDB_val *data, const otok_scan *scan)
{
    uint8_t entry[OTOK_LMDB_ENTRY_SIZE];
    bool down = (scan->flags & OTOK_SCAN_DESCENDING) != 0;
    int rc = mdb_cursor_get(cursor, key, data, MDB_SET);
    if (rc != MDB_SUCCESS)
        return rc;
    if ((scan->flags & OTOK_SCAN_AFTER) == 0)
        return mdb_cursor_get(cursor, key, data, down ? MDB_LAST_DUP : MDB_FIRST_DUP);

    otok_lmdb_index_entry(entry, scan->after_us, &scan->after);
    *data = (MDB_val){.mv_size = sizeof entry, .mv_data = entry};
    rc = mdb_cursor_get(cursor, key, data, MDB_GET_BOTH_RANGE);
    if (down) {
        if (rc == MDB_NOTFOUND) { /* all are before it; the search may have left the cursor anywhere */
            rc = mdb_cursor_get(cursor, key, data, MDB_SET);
            return rc == MDB_SUCCESS ? mdb_cursor_get(cursor, key, data, MDB_LAST_DUP) : rc;
        }
        return rc == MDB_SUCCESS ? mdb_cursor_get(cursor, key, data, MDB_PREV_DUP) : rc;
    }
    if (rc == MDB_SUCCESS && data->mv_size == sizeof entry && memcmp(data->mv_data, entry, sizeof entry) == 0)
        rc = mdb_cursor_get(cursor, key, data, MDB_NEXT_DUP);
    return rc;
}

static int scan_key(otok_lmdb_reading *r, const otok_scan *scan)
{
    MDB_cursor *cursor;
    MDB_val data, value;
    otok_lmdb_view view;
    uint8_t bytes[OTOK_LMDB_KEY_SIZE];
    MDB_val key = {.mv_size = sizeof bytes, .mv_data = bytes};
    MDB_cursor_op next = (scan->flags & OTOK_SCAN_DESCENDING) != 0 ? MDB_PREV_DUP : MDB_NEXT_DUP;

    otok_lmdb_index_key(bytes, &scan->key);
    int rc = mdb_cursor_open(r->txn, r->env->index, &cursor);
    if (rc != MDB_SUCCESS)
        return otok_lmdb_fail(r->env, r->err, rc, "scanning");
    rc = seek_entry(cursor, &key, &data, scan);
    int result = OTOK_OK;
    for (uint32_t visited = 0; rc == MDB_SUCCESS && visited < scan->limit && !r->ended; visited++) {
        otok_id id;
        if (data.mv_size != OTOK_LMDB_ENTRY_SIZE) {
            rc = MDB_CORRUPTED;
            break;
        }
        memcpy(id.bytes, (const uint8_t *)data.mv_data + sizeof(uint64_t), sizeof id.bytes);
        int found = otok_lmdb_find(r->txn, r->env->records, r->env->links, &id, &value, NULL);
        if (found != MDB_SUCCESS) /* an entry without its record is damage too */
            result = otok_lmdb_fail(r->env, r->err, found, "scanning");
        else
            result = otok_lmdb_emit(r, &id, &value, &view);
        if (result != OTOK_OK)
            goto out;
        rc = mdb_cursor_get(cursor, &key, &data, next);
    }
    if (rc != MDB_SUCCESS && rc != MDB_NOTFOUND)
        result = otok_lmdb_fail(r->env, r->err, rc, "scanning");
out:
    mdb_cursor_close(cursor);
    return result;
}

static int seek_id(MDB_cursor *cursor, MDB_val *key, MDB_val *data, const otok_scan *scan)
{
    bool down = (scan->flags & OTOK_SCAN_DESCENDING) != 0;
    otok_id after = scan->after;
    if ((scan->flags & OTOK_SCAN_AFTER) == 0)
        return mdb_cursor_get(cursor, key, data, down ? MDB_LAST : MDB_FIRST);
    *key = (MDB_val){.mv_size = sizeof after.bytes, .mv_data = after.bytes};
    int rc = mdb_cursor_get(cursor, key, data, MDB_SET_RANGE);
    if (down)
        return rc == MDB_NOTFOUND ? mdb_cursor_get(cursor, key, data, MDB_LAST)
                                  : (rc == MDB_SUCCESS ? mdb_cursor_get(cursor, key, data, MDB_PREV) : rc);
    if (rc == MDB_SUCCESS && key->mv_size == sizeof after.bytes &&
        memcmp(key->mv_data, scan->after.bytes, sizeof after.bytes) == 0)
        rc = mdb_cursor_get(cursor, key, data, MDB_NEXT);
    return rc;
}

/* Both databases at once, in the order of their ids. */
typedef struct side {
    MDB_cursor *cursor;
    MDB_val key, data;
    int rc;
} side;

static int scan_sides(otok_lmdb_reading *r, const otok_scan *scan, side sides[2])
{
    bool down = (scan->flags & OTOK_SCAN_DESCENDING) != 0;
    otok_lmdb_view view;
    for (size_t i = 0; i < 2; i++)
        sides[i].rc = seek_id(sides[i].cursor, &sides[i].key, &sides[i].data, scan);
    for (uint32_t visited = 0; visited < scan->limit && !r->ended; visited++) {
        side *s = &sides[0];
        if (sides[0].rc == MDB_NOTFOUND)
            s = &sides[1];
        else if (sides[0].rc == MDB_SUCCESS && sides[1].rc == MDB_SUCCESS)
            s = (memcmp(sides[0].key.mv_data, sides[1].key.mv_data, sizeof(otok_id)) < 0) != down ? &sides[0]
                                                                                                  : &sides[1];
        if (s->rc == MDB_NOTFOUND)
            return OTOK_OK;
        if (s->rc != MDB_SUCCESS || s->key.mv_size != sizeof(otok_id))
            return otok_lmdb_fail(r->env, r->err, s->rc != MDB_SUCCESS ? s->rc : MDB_CORRUPTED, "scanning");
        otok_id id;
        memcpy(id.bytes, s->key.mv_data, sizeof id.bytes);
        int rc = otok_lmdb_emit(r, &id, &s->data, &view);
        if (rc != OTOK_OK)
            return rc;
        s->rc = mdb_cursor_get(s->cursor, &s->key, &s->data, down ? MDB_PREV : MDB_NEXT);
    }
    return OTOK_OK;
}

static int scan_all(otok_lmdb_reading *r, const otok_scan *scan)
{
    side sides[2] = {0};
    int result = OTOK_OK;
    int rc = mdb_cursor_open(r->txn, r->env->records, &sides[0].cursor);
    if (rc == MDB_SUCCESS)
        rc = mdb_cursor_open(r->txn, r->env->links, &sides[1].cursor);
    if (rc == MDB_SUCCESS)
        result = scan_sides(r, scan, sides);
    else
        result = otok_lmdb_fail(r->env, r->err, rc, "scanning");
    mdb_cursor_close(sides[0].cursor);
    mdb_cursor_close(sides[1].cursor);
    return result;
}

int otok_lmdb_scan(void *self, const otok_scan *scan, otok_emit emit, void *arg, otok_error *err)
{
    const otok_lmdb *store = self;
    otok_lmdb_slot *slot;
    int rc = otok_lmdb_refuse_inherited(store->env, err);
    if (rc == OTOK_OK)
        rc = otok_lmdb_read_begin(store->env, &slot, err);
    if (rc != OTOK_OK)
        return rc;
    otok_lmdb_reading r = {.env = store->env, .txn = slot->txn, .emit = emit, .arg = arg, .err = err};
    rc = scan->key.index == OTOK_INDEX_ALL ? scan_all(&r, scan) : scan_key(&r, scan);
    otok_lmdb_read_end(store->env, slot);
    return rc;
}

/* ---------------------------------------------------------------------------------------------------- count */

static int count_key(otok_lmdb_reading *r, const otok_index_key *index_key, uint64_t *out)
{
    MDB_cursor *cursor;
    MDB_val data;
    uint8_t bytes[OTOK_LMDB_KEY_SIZE];
    MDB_val key = {.mv_size = sizeof bytes, .mv_data = bytes};
    size_t n = 0;

    otok_lmdb_index_key(bytes, index_key);
    int rc = mdb_cursor_open(r->txn, r->env->index, &cursor);
    if (rc != MDB_SUCCESS)
        return otok_lmdb_fail(r->env, r->err, rc, "counting");
    rc = mdb_cursor_get(cursor, &key, &data, MDB_SET);
    if (rc == MDB_SUCCESS)
        rc = mdb_cursor_count(cursor, &n);
    mdb_cursor_close(cursor);
    if (rc != MDB_SUCCESS && rc != MDB_NOTFOUND)
        return otok_lmdb_fail(r->env, r->err, rc, "counting");
    *out = n;
    return OTOK_OK;
}

int otok_lmdb_count(void *self, const otok_index_key *key, uint64_t *out, otok_error *err)
{
    const otok_lmdb *store = self;
    otok_lmdb_slot *slot;
    int rc = otok_lmdb_refuse_inherited(store->env, err);
    if (rc == OTOK_OK)
        rc = otok_lmdb_read_begin(store->env, &slot, err);
    if (rc != OTOK_OK)
        return rc;
    otok_lmdb_reading r = {.env = store->env, .txn = slot->txn, .err = err};
    rc = count_key(&r, key, out);
    otok_lmdb_read_end(store->env, slot);
    return rc;
}

#endif
