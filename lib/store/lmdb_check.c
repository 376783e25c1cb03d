/*
 * lmdb_check.c - whether the environment is whole: records and index entries against each other, in both directions.
 *
 * A look is made in many short read transactions, each a page of one database, so that a check of millions keeps nobody
 * from writing; in each of them record and entry are of one snapshot.  A repair is one write transaction: it is done or it is not.
 *
 * SPDX-License-Identifier: MIT
 */
#include "store/check.h"
#include "store/lmdb.h"

#ifdef OTOK_HAVE_LMDB

#include <stdio.h>
#include <string.h>

enum { PAGE = 256, MOST_KEY = 511 }; /* the latter as LMDB has it, for values of an index too */

/* An entry of the index that is missing, or too many. */
typedef struct fault {
    uint8_t key[OTOK_LMDB_KEY_SIZE], value[OTOK_LMDB_ENTRY_SIZE];
    otok_id id;
} fault;

typedef struct checker {
    otok_lmdb_env *env;
    MDB_txn *txn; /* of a repair; of the page */
    bool repair;
    const otok_watch *watch;
    otok_check *result;
    otok_error *err;
    uint64_t done, total;
    fault faults[PAGE * OTOK_MAX_KEYS]; /* of the page */
    size_t nfaults;
    struct { /* where the page before ended: whatever is there, damaged or not */
        uint8_t bytes[MOST_KEY];
        size_t len;
    } last_key, last_value;
    bool begun;
} checker;

static int trouble(const checker *c, int rc)
{
    return otok_lmdb_fail(c->env, c->err, rc, "checking");
}

static void tell(checker *c, bool mended, const otok_id *id, const char *what)
{
    otok_check_tell(c->watch, c->result, mended, id, what);
}

/* ---------------------------------------------------------------------------------------------------- the two sides */

static void add_fault(checker *c, const uint8_t *key, const uint8_t *value, const otok_id *id)
{
    fault *f = &c->faults[c->nfaults++];
    memcpy(f->key, key, sizeof f->key);
    memcpy(f->value, value, sizeof f->value);
    f->id = *id;
}

static int look_up_entry(checker *c, MDB_cursor *index, const otok_record *record, const otok_index_key *index_key)
{
    uint8_t key_bytes[OTOK_LMDB_KEY_SIZE], entry[OTOK_LMDB_ENTRY_SIZE];
    otok_lmdb_index_key(key_bytes, index_key);
    otok_lmdb_index_entry(entry, index_key->index == OTOK_INDEX_SWEEP ? record->sweep_us : record->created_us,
                          &record->id);
    MDB_val key = {.mv_size = sizeof key_bytes, .mv_data = key_bytes},
            value = {.mv_size = sizeof entry, .mv_data = entry};
    int rc = mdb_cursor_get(index, &key, &value, MDB_GET_BOTH);
    if (rc == MDB_NOTFOUND)
        add_fault(c, key_bytes, entry, &record->id);
    return rc == MDB_NOTFOUND ? MDB_SUCCESS : rc;
}

/* A record under the cursor of `where`. */
static int check_record(checker *c, MDB_cursor *index, MDB_dbi where, const MDB_val *key, const MDB_val *value)
{
    otok_lmdb_view view;
    otok_id id;
    MDB_val twin;
    if (key->mv_size != sizeof id.bytes) {
        tell(c, false, NULL, "a record is filed under something that is no id");
        return MDB_SUCCESS;
    }
    memcpy(id.bytes, key->mv_data, sizeof id.bytes);
    if (!otok_lmdb_decode(&view, &id, value->mv_data, value->mv_size)) {
        tell(c, false, &id, "cannot be read: it is damaged, or of a newer version");
        return MDB_SUCCESS;
    }
    c->result->sessions += view.record.kind == OTOK_RECORD_SESSION ? 1 : 0;
    MDB_val copy = {.mv_size = sizeof id.bytes, .mv_data = id.bytes};
    if (where == c->env->links && mdb_get(c->txn, c->env->records, &copy, &twin) == MDB_SUCCESS)
        tell(c, false, &id, "is there twice");
    int rc = MDB_SUCCESS;
    for (size_t i = 0; rc == MDB_SUCCESS && i < view.record.nkeys; i++)
        rc = look_up_entry(c, index, &view.record, &view.keys[i]);
    return rc;
}

static bool has_entry(const otok_lmdb_view *view, const uint8_t *key, const uint8_t *value)
{
    uint8_t own_key[OTOK_LMDB_KEY_SIZE], own_value[OTOK_LMDB_ENTRY_SIZE];
    const otok_record *record = &view->record;
    for (size_t i = 0; i < record->nkeys; i++) {
        otok_lmdb_index_key(own_key, &view->keys[i]);
        otok_lmdb_index_entry(
            own_value, view->keys[i].index == OTOK_INDEX_SWEEP ? record->sweep_us : record->created_us, &record->id);
        if (memcmp(own_key, key, sizeof own_key) == 0 && memcmp(own_value, value, sizeof own_value) == 0)
            return true;
    }
    return false;
}

/* An entry of the index.  One of a record that cannot be read stays: it may be right. */
static int check_entry(checker *c, const MDB_val *key, const MDB_val *value)
{
    otok_lmdb_view view;
    MDB_val stored;
    otok_id id;
    if (key->mv_size != OTOK_LMDB_KEY_SIZE || value->mv_size != OTOK_LMDB_ENTRY_SIZE) {
        tell(c, false, NULL, "an entry of the index has a length that is not one");
        return MDB_SUCCESS;
    }
    memcpy(id.bytes, (const uint8_t *)value->mv_data + OTOK_LMDB_ENTRY_SIZE - sizeof id.bytes, sizeof id.bytes);
    int rc = otok_lmdb_find(c->txn, c->env->records, c->env->links, &id, &stored, NULL);
    if (rc != MDB_SUCCESS && rc != MDB_NOTFOUND)
        return rc;
    if (rc == MDB_SUCCESS && !otok_lmdb_decode(&view, &id, stored.mv_data, stored.mv_size))
        return MDB_SUCCESS;
    if (rc == MDB_NOTFOUND || !has_entry(&view, key->mv_data, value->mv_data))
        add_fault(c, key->mv_data, value->mv_data, &id);
    return MDB_SUCCESS;
}

/* ---------------------------------------------------------------------------------------------------- a page */

static MDB_val val_of(void *data, size_t size)
{
    return (MDB_val){.mv_size = size, .mv_data = data};
}

static bool is_at(const MDB_val *val, const uint8_t *bytes, size_t len)
{
    return val->mv_size == len && memcmp(val->mv_data, bytes, len) == 0;
}

/* Behind the last key of the page before; `behind` steps over it where it is still there. */
static int seek_key(checker *c, MDB_cursor *cursor, MDB_val *key, MDB_val *value, MDB_cursor_op behind)
{
    *key = val_of(c->last_key.bytes, c->last_key.len);
    int rc = mdb_cursor_get(cursor, key, value, MDB_SET_RANGE);
    if (rc == MDB_SUCCESS && is_at(key, c->last_key.bytes, c->last_key.len))
        rc = mdb_cursor_get(cursor, key, value, behind);
    return rc;
}

/* Behind the last entry of the page before, under its key or the next one. */
static int seek_entry(checker *c, MDB_cursor *cursor, MDB_val *key, MDB_val *value)
{
    *key = val_of(c->last_key.bytes, c->last_key.len);
    *value = val_of(c->last_value.bytes, c->last_value.len);
    int rc = mdb_cursor_get(cursor, key, value, MDB_GET_BOTH_RANGE);
    if (rc == MDB_SUCCESS && is_at(value, c->last_value.bytes, c->last_value.len))
        return mdb_cursor_get(cursor, key, value, MDB_NEXT);
    return rc == MDB_NOTFOUND ? seek_key(c, cursor, key, value, MDB_NEXT_NODUP) : rc;
}

static int seek(checker *c, bool entries, MDB_cursor *cursor, MDB_val *key, MDB_val *value)
{
    if (!c->begun)
        return mdb_cursor_get(cursor, key, value, MDB_FIRST);
    return entries ? seek_entry(c, cursor, key, value) : seek_key(c, cursor, key, value, MDB_NEXT);
}

static void remember(checker *c, bool entries, const MDB_val *key, const MDB_val *value)
{
    c->last_key.len = key->mv_size < MOST_KEY ? key->mv_size : MOST_KEY;
    memcpy(c->last_key.bytes, key->mv_data, c->last_key.len);
    if (entries) {
        c->last_value.len = value->mv_size < MOST_KEY ? value->mv_size : MOST_KEY;
        memcpy(c->last_value.bytes, value->mv_data, c->last_value.len);
    }
    c->begun = true;
}

/* Looks at the next PAGE of a database, in the transaction that is open; `*n` is how many there were. */
static int look_at(checker *c, MDB_dbi where, size_t *n)
{
    bool entries = where == c->env->index;
    MDB_cursor *cursor, *index;
    MDB_val key, value;
    *n = 0;
    int rc = mdb_cursor_open(c->txn, where, &cursor);
    if (rc != MDB_SUCCESS)
        return rc;
    rc = mdb_cursor_open(c->txn, c->env->index, &index);
    if (rc != MDB_SUCCESS) {
        mdb_cursor_close(cursor);
        return rc;
    }
    rc = seek(c, entries, cursor, &key, &value);
    while (rc == MDB_SUCCESS) {
        rc = entries ? check_entry(c, &key, &value) : check_record(c, index, where, &key, &value);
        if (rc != MDB_SUCCESS)
            break;
        remember(c, entries, &key, &value);
        *(entries ? &c->result->index_entries : &c->result->records) += 1;
        if (++*n == PAGE)
            break;
        rc = mdb_cursor_get(cursor, &key, &value, MDB_NEXT);
    }
    mdb_cursor_close(index);
    mdb_cursor_close(cursor);
    return rc == MDB_NOTFOUND ? MDB_SUCCESS : rc;
}

/* What was found in the page: told, and mended in a repair. */
static int settle(checker *c, bool entries)
{
    int rc = MDB_SUCCESS;
    for (size_t i = 0; rc == MDB_SUCCESS && i < c->nfaults; i++) {
        fault *f = &c->faults[i];
        MDB_val key = val_of(f->key, sizeof f->key), value = val_of(f->value, sizeof f->value);
        char what[64];
        (void)snprintf(what, sizeof what,
                       entries ? "does not have an entry that index %u has" : "is missing in index %u", f->key[0]);
        if (c->repair)
            rc = entries ? mdb_del(c->txn, c->env->index, &key, &value)
                         : mdb_put(c->txn, c->env->index, &key, &value, 0);
        if (rc == MDB_SUCCESS)
            tell(c, c->repair, &f->id, what);
    }
    c->nfaults = 0;
    return rc;
}

static int page(checker *c, MDB_dbi where, size_t *n)
{
    otok_lmdb_slot *slot = NULL;
    if (!c->repair) {
        int rc = otok_lmdb_read_begin(c->env, &slot, c->err);
        if (rc != OTOK_OK)
            return rc;
        c->txn = slot->txn;
    }
    int mdb = look_at(c, where, n);
    if (slot != NULL)
        otok_lmdb_read_end(c->env, slot);
    if (mdb == MDB_SUCCESS)
        mdb = settle(c, where == c->env->index);
    return mdb == MDB_SUCCESS ? OTOK_OK : trouble(c, mdb);
}

static int check_database(checker *c, MDB_dbi where)
{
    size_t n = PAGE;
    int rc = OTOK_OK;
    c->begun = false;
    while (rc == OTOK_OK && n == PAGE) {
        rc = page(c, where, &n);
        c->done += n;
        if (rc == OTOK_OK)
            rc = otok_watch_progress(c->watch, c->done, c->total > c->done ? c->total : c->done, c->err);
    }
    return rc;
}

/* ---------------------------------------------------------------------------------------------------- the whole */

/* Pages that the list of free ones names: a number, then so many of them, in each value. */
static int count_free(MDB_txn *txn, uint64_t *pages)
{
    enum { FREE_LIST = 0 };
    MDB_cursor *cursor;
    MDB_val key, value;
    int rc = mdb_cursor_open(txn, FREE_LIST, &cursor);
    if (rc != MDB_SUCCESS)
        return rc;
    while ((rc = mdb_cursor_get(cursor, &key, &value, MDB_NEXT)) == MDB_SUCCESS) {
        size_t count = 0;
        if (value.mv_size >= sizeof count)
            memcpy(&count, value.mv_data, sizeof count);
        *pages += count;
    }
    mdb_cursor_close(cursor);
    return rc == MDB_NOTFOUND ? MDB_SUCCESS : rc;
}

static int measure_in(checker *c, MDB_txn *txn)
{
    const MDB_dbi databases[] = {c->env->records, c->env->links, c->env->index};
    uint64_t free_pages = 0;
    MDB_envinfo info;
    MDB_stat stat;
    int rc = mdb_env_info(c->env->mdb, &info);
    for (size_t i = 0; rc == MDB_SUCCESS && i < sizeof databases / sizeof databases[0]; i++) {
        rc = mdb_stat(txn, databases[i], &stat);
        c->total += rc == MDB_SUCCESS ? stat.ms_entries : 0;
    }
    if (rc == MDB_SUCCESS)
        rc = count_free(txn, &free_pages);
    if (rc == MDB_SUCCESS) {
        c->result->bytes = ((uint64_t)info.me_last_pgno + 1) * stat.ms_psize;
        c->result->bytes_free = free_pages * stat.ms_psize;
    }
    return rc;
}

static int measure(checker *c)
{
    otok_lmdb_slot *slot;
    int rc = otok_lmdb_read_begin(c->env, &slot, c->err);
    if (rc != OTOK_OK)
        return rc;
    int mdb = measure_in(c, slot->txn);
    otok_lmdb_read_end(c->env, slot);
    return mdb == MDB_SUCCESS ? OTOK_OK : trouble(c, mdb);
}

static int check_all(checker *c)
{
    int rc = check_database(c, c->env->records);
    if (rc == OTOK_OK)
        rc = check_database(c, c->env->links);
    return rc == OTOK_OK ? check_database(c, c->env->index) : rc;
}

/* With the turn to write and `change` held. */
static int repair(checker *c)
{
    int mdb = c->env->mdb != NULL ? mdb_txn_begin(c->env->mdb, NULL, 0, &c->txn) : MDB_PANIC;
    if (mdb != MDB_SUCCESS)
        return trouble(c, mdb);
    int rc = check_all(c);
    if (rc == OTOK_OK && c->result->mended != 0) {
        mdb = mdb_txn_commit(c->txn);
        return mdb == MDB_SUCCESS ? OTOK_OK : trouble(c, otok_lmdb_folder_errno(c->env, mdb));
    }
    mdb_txn_abort(c->txn);
    return rc;
}

static int repair_in_turn(const otok_lmdb *store, checker *c)
{
    otok_lmdb_env *env = store->env;
    int cancel;
    if (store->read_only)
        return otok_fail(c->err, OTOK_E_STATE, "%s was opened for reading only", env->path);
    (void)pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &cancel);
    int64_t deadline_us = otok_time_add(otok_clock_monotonic_us(), store->busy_timeout_us);
    int rc = otok_lmdb_lock_turn(env, deadline_us, c->err);
    if (rc == OTOK_OK) {
        (void)pthread_mutex_lock(&env->change);
        rc = repair(c);
        (void)pthread_mutex_unlock(&env->change);
        otok_lmdb_lock_pass(env);
    }
    if (rc != OTOK_OK)
        c->result->mended = 0;
    (void)pthread_setcancelstate(cancel, NULL);
    return rc;
}

int otok_lmdb_check(void *self, int32_t repairs, const otok_watch *watch, otok_check *result, otok_error *err)
{
    const otok_lmdb *store = self;
    int rc = otok_lmdb_refuse_inherited(store->env, err);
    if (rc != OTOK_OK)
        return rc;
    checker *c = otok_calloc(1, sizeof *c);
    if (c == NULL)
        return otok_fail(err, OTOK_E_NOMEM, "no memory for a check");
    c->env = store->env;
    c->watch = watch;
    c->result = result;
    c->err = err;
    c->repair = repairs != 0;
    rc = measure(c);
    if (rc == OTOK_OK)
        rc = c->repair ? repair_in_turn(store, c) : check_all(c);
    otok_free(c);
    return rc;
}

#endif
