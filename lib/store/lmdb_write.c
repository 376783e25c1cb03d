/*
 * lmdb_write.c - one group in a write transaction.
 *
 * Every version is checked before the first write, so a group that conflicts has changed nothing, and the groups
 * before it in the transaction need not be undone.  Nothing that points into the map is used once something was
 * written.
 *
 * SPDX-License-Identifier: MIT
 */
#include "store/lmdb.h"

#ifdef OTOK_HAVE_LMDB

#include <string.h>

/* Where one index entry of a record is. */
typedef struct entry {
    uint8_t key[OTOK_LMDB_KEY_SIZE], value[OTOK_LMDB_ENTRY_SIZE];
} entry;

static entry entry_of(const otok_index_key *key, const otok_id *id, int64_t created_us, int64_t sweep_us)
{
    entry e = {{0}, {0}};
    otok_lmdb_index_key(e.key, key);
    otok_lmdb_index_entry(e.value, key->index == OTOK_INDEX_SWEEP ? sweep_us : created_us, id);
    return e;
}

static int entry_add(otok_lmdb_env *env, MDB_txn *txn, const otok_index_key *index_key, const otok_id *id,
                     int64_t created_us, int64_t sweep_us)
{
    entry e = entry_of(index_key, id, created_us, sweep_us);
    MDB_val key = {.mv_size = sizeof e.key, .mv_data = e.key}, value = {.mv_size = sizeof e.value, .mv_data = e.value};
    int rc = mdb_put(txn, env->index, &key, &value,
                     MDB_APPENDDUP); /* packs pages: most entries are the newest of their key */
    return rc == MDB_KEYEXIST ? mdb_put(txn, env->index, &key, &value, 0) : rc;
}

static int entry_remove(otok_lmdb_env *env, MDB_txn *txn, const otok_index_key *index_key, const otok_id *id,
                        int64_t created_us, int64_t sweep_us)
{
    entry e = entry_of(index_key, id, created_us, sweep_us);
    MDB_val key = {.mv_size = sizeof e.key, .mv_data = e.key}, value = {.mv_size = sizeof e.value, .mv_data = e.value};
    int rc = mdb_del(txn, env->index, &key, &value);
    return rc == MDB_NOTFOUND ? MDB_SUCCESS : rc;
}

/* Whether `record` has an entry for `key` that is in the same place. */
static bool has_entry(const otok_record *record, const otok_index_key *key, bool same_sweep)
{
    for (size_t i = 0; i < record->nkeys; i++) {
        if (record->keys[i].index == key->index && memcmp(record->keys[i].digest, key->digest, sizeof key->digest) == 0)
            return key->index != OTOK_INDEX_SWEEP || same_sweep;
    }
    return false;
}

/* ---------------------------------------------------------------------------------------------------- writes */

static int put_value(otok_lmdb_env *env, MDB_txn *txn, MDB_dbi where, const otok_id *id, size_t len, unsigned flags)
{
    otok_id copy = *id;
    MDB_val key = {.mv_size = sizeof copy.bytes, .mv_data = copy.bytes},
            value = {.mv_size = len, .mv_data = env->value};
    return mdb_put(txn, where, &key, &value, flags);
}

static int insert(otok_lmdb_env *env, MDB_txn *txn, const otok_record *record)
{
    MDB_dbi where = otok_lmdb_is_link_kind(record->kind) ? env->links : env->records;
    size_t len = otok_lmdb_encode(env->value, record, record->created_us);
    int rc = put_value(env, txn, where, &record->id, len, MDB_APPEND); /* ids of sessions begin with the time */
    if (rc == MDB_KEYEXIST)
        rc = put_value(env, txn, where, &record->id, len, 0);
    for (size_t i = 0; rc == MDB_SUCCESS && i < record->nkeys; i++)
        rc = entry_add(env, txn, &record->keys[i], &record->id, record->created_us, record->sweep_us);
    return rc;
}

/* Only entries that move are touched. */
static int put(otok_lmdb_env *env, MDB_txn *txn, MDB_dbi where, const otok_record *new, const otok_lmdb_view *view)
{
    const otok_record *old = &view->record;
    bool same_sweep = old->sweep_us == new->sweep_us;
    size_t len = otok_lmdb_encode(env->value, new, old->created_us);
    int rc = put_value(env, txn, where, &new->id, len, 0);
    for (size_t i = 0; rc == MDB_SUCCESS && i < old->nkeys; i++) {
        if (!has_entry(new, &old->keys[i], same_sweep))
            rc = entry_remove(env, txn, &old->keys[i], &new->id, old->created_us, old->sweep_us);
    }
    for (size_t i = 0; rc == MDB_SUCCESS && i < new->nkeys; i++) {
        if (!has_entry(old, &new->keys[i], same_sweep))
            rc = entry_add(env, txn, &new->keys[i], &new->id, old->created_us, new->sweep_us);
    }
    return rc;
}

static int change_head(otok_lmdb_env *env, MDB_txn *txn, MDB_dbi where, const otok_record *record,
                       const MDB_val *stored)
{
    size_t len = stored->mv_size;
    memcpy(env->value, stored->mv_data, len);
    otok_lmdb_change_head(env->value, record->version, record->head);
    return put_value(env, txn, where, &record->id, len, 0);
}

static int delete (otok_lmdb_env *env, MDB_txn *txn, MDB_dbi where, const otok_lmdb_view *view)
{
    const otok_record *old = &view->record;
    otok_id id = old->id;
    MDB_val key = {.mv_size = sizeof id.bytes, .mv_data = id.bytes};
    int rc = mdb_del(txn, where, &key, NULL);
    for (size_t i = 0; rc == MDB_SUCCESS && i < old->nkeys; i++)
        rc = entry_remove(env, txn, &old->keys[i], &id, old->created_us, old->sweep_us);
    return rc;
}

/* ---------------------------------------------------------------------------------------------------- groups */

/* What is stored under the id of a write: MDB_NOTFOUND, or an error; MDB_CORRUPTED when it cannot be read. */
static int look_up(otok_lmdb_env *env, MDB_txn *txn, const otok_write *write, MDB_val *stored, MDB_dbi *where,
                   otok_lmdb_view *view)
{
    const otok_id *id = &write->record->id;
    int rc = otok_lmdb_find(txn, env->records, env->links, id, stored, where);
    if (rc == MDB_SUCCESS && !otok_lmdb_decode(view, id, stored->mv_data, stored->mv_size))
        rc = MDB_CORRUPTED;
    return rc;
}

/* The group's result; or 1, and *mdb is LMDB's error: what it meets in a page that is damaged spoils the transaction for all. */
static int check(otok_lmdb_env *env, MDB_txn *txn, const otok_write *write, int *mdb, otok_error *err)
{
    const otok_id *id = &write->record->id;
    otok_lmdb_view view;
    MDB_val stored;
    int rc = otok_lmdb_find(txn, env->records, env->links, id, &stored, NULL);
    if (rc != MDB_SUCCESS && rc != MDB_NOTFOUND) {
        *mdb = rc;
        return 1;
    }
    bool exists = rc == MDB_SUCCESS;
    if (exists && !otok_lmdb_decode(&view, id, stored.mv_data, stored.mv_size))
        return otok_fail(err, OTOK_E_FORMAT, "%s holds a record that this version of the library cannot read",
                         env->path);
    if (write->op == OTOK_WRITE_INSERT ? exists : !exists || view.record.version != write->expect)
        return otok_fail(err, OTOK_E_CONFLICT, "%s: %s", env->path,
                         write->op == OTOK_WRITE_INSERT ? "there is a record of that id"
                         : exists                       ? "the record has another version"
                                                        : "there is no record of that id");
    return OTOK_OK;
}

static int apply(otok_lmdb_env *env, MDB_txn *txn, const otok_write *write)
{
    otok_lmdb_view view;
    MDB_val stored;
    MDB_dbi where;
    if (write->op == OTOK_WRITE_ASSERT)
        return MDB_SUCCESS;
    if (write->op == OTOK_WRITE_INSERT)
        return insert(env, txn, write->record);
    int rc = look_up(env, txn, write, &stored, &where, &view);
    if (rc != MDB_SUCCESS)
        return rc;
    if (write->op == OTOK_WRITE_HEAD)
        return change_head(env, txn, where, write->record, &stored);
    return write->op == OTOK_WRITE_PUT ? put(env, txn, where, write->record, &view) : delete (env, txn, where, &view);
}

int otok_lmdb_group_apply(otok_lmdb_env *env, MDB_txn *txn, otok_group *group, bool *wrote, int *mdb)
{
    group->error.code = OTOK_OK;
    group->error.system_errno = 0;
    group->error.message[0] = '\0';
    for (size_t i = 0; i < group->n; i++) {
        int rc = check(env, txn, &group->writes[i], mdb, &group->error);
        if (rc != OTOK_OK)
            return rc;
    }
    for (size_t i = 0; i < group->n; i++) {
        int rc = apply(env, txn, &group->writes[i]);
        if (rc != MDB_SUCCESS) {
            *mdb = rc;
            return 1;
        }
        *wrote = *wrote || group->writes[i].op != OTOK_WRITE_ASSERT;
    }
    return OTOK_OK;
}

#endif
