/*
 * lmdb_batch.c - many groups in one synced transaction, and what its failures mean.
 *
 * LMDB commits in three steps: it writes the pages, syncs, and writes the meta page that makes them count.  When the
 * third fails the environment panics; so where it has not panicked, nothing of the transaction took place, and a full
 * disk or a shortage of memory is just that.  An I/O error is called uncertain all the same: the device is not to be
 * believed.
 *
 * SPDX-License-Identifier: MIT
 */
#include "store/lmdb.h"

#ifdef OTOK_HAVE_LMDB

#include <errno.h>
#include <fcntl.h>

enum { MOST_TRIES = 100 }; /* more than an address space can double, and a bound for what should not be */

/*
 * Blocks that data.mdb has beyond its last page.  When the disk has no more, new sessions are refused while these are
 * still there, so that what is needed then has room to be written: revocations, cutoffs, refreshes.
 */
static const uint64_t RESERVE = (uint64_t)1 << 20;

typedef enum outcome { DONE, AGAIN, SMALLER } outcome;

static void give(otok_group **groups, size_t n, const otok_error *error)
{
    for (size_t i = 0; i < n; i++) {
        groups[i]->result = error->code;
        groups[i]->error = *error;
    }
}

static bool is_full(int rc)
{
    return rc == ENOSPC || rc == EDQUOT;
}

/* ---------------------------------------------------------------------------------------------------- room */

/* New sessions, and what is kept about them: what a full disk can do without.  Marks and tombstones revoke. */
static bool can_wait(uint32_t kind)
{
    return kind == OTOK_RECORD_SESSION || kind == OTOK_RECORD_ONCE || kind == OTOK_RECORD_EVENT;
}

static bool needs_room(const otok_lmdb_env *env, const otok_group *group)
{
    for (size_t i = 0; env->reserve_works && i < group->n; i++) {
        if (group->writes[i].op == OTOK_WRITE_INSERT && can_wait(group->writes[i].record->kind))
            return true;
    }
    return false;
}

static void keep_reserve(otok_lmdb_env *env)
{
    MDB_envinfo info;
    MDB_stat stat;
    int fd, rc;
    if (mdb_env_info(env->mdb, &info) != MDB_SUCCESS || mdb_env_stat(env->mdb, &stat) != MDB_SUCCESS ||
        mdb_env_get_fd(env->mdb, &fd) != MDB_SUCCESS)
        return;
    uint64_t end = ((uint64_t)info.me_last_pgno + 1) * stat.ms_psize;
    if (end + RESERVE <= env->reserved_end)
        return;
    do
        rc = fallocate(fd, FALLOC_FL_KEEP_SIZE, (off_t)end, (off_t)(2 * RESERVE)) == 0 ? 0 : errno;
    while (rc == EINTR);
    if (rc == 0)
        env->reserved_end = end + 2 * RESERVE;
    else if (!is_full(rc))
        env->reserve_works = false;
    env->low = is_full(rc);
}

/* ---------------------------------------------------------------------------------------------------- failures */

/* After a commit that failed: whether its last step was the one, as the next transaction is told. */
static bool has_panicked(const otok_lmdb_env *env)
{
    MDB_txn *txn;
    int rc = mdb_txn_begin(env->mdb, NULL, 0, &txn);
    if (rc == MDB_SUCCESS)
        mdb_txn_abort(txn);
    return rc != MDB_SUCCESS && rc != MDB_MAP_RESIZED;
}

/* LMDB cannot tell, or is not asked: the environment is opened anew, which reads what the disk has. */
static outcome fail_uncertain(otok_lmdb_env *env, otok_group **groups, size_t n, int rc)
{
    otok_error error, ignored;
    (void)otok_fail_errno(&error, OTOK_E_UNCERTAIN, rc > 0 ? rc : 0,
                          "%s: the commit may or may not have taken place: %s", env->path, mdb_strerror(rc));
    give(groups, n, &error);
    (void)otok_lmdb_env_restart(env, &ignored);
    return DONE;
}

/* Nothing was written: mends what can be mended. */
static outcome fail_clean(otok_lmdb_env *env, otok_group **groups, size_t n, int rc)
{
    otok_error error;
    int dead;
    if (rc == MDB_MAP_FULL || rc == MDB_MAP_RESIZED) {
        (void)mdb_reader_check(env->mdb, &dead);
        if (otok_lmdb_env_grow(env, rc == MDB_MAP_RESIZED, &error) == OTOK_OK)
            return AGAIN;
        give(groups, n, &error);
        return DONE;
    }
    if (rc == EINTR)
        return AGAIN;
    if (rc == MDB_PANIC) {
        if (otok_lmdb_env_restart(env, &error) == OTOK_OK)
            return AGAIN;
        give(groups, n, &error);
        return DONE;
    }
    if (n > 1 && !is_full(rc)) /* the one at fault fails alone */
        return SMALLER;
    if (is_full(rc))
        (void)mdb_reader_check(env->mdb, &dead);
    (void)otok_lmdb_fail(env, &error, rc, "writing");
    give(groups, n, &error);
    return DONE;
}

/* mdb_txn_commit() failed, and has ended the transaction. */
static outcome fail_commit(otok_lmdb_env *env, otok_group **groups, size_t n, int rc)
{
    if (has_panicked(env))
        return fail_uncertain(env, groups, n, rc);
    rc = otok_lmdb_folder_errno(env, rc);
    if (is_full(rc) || rc == ENOMEM || rc == EINTR || rc == MDB_MAP_FULL || rc == MDB_TXN_FULL)
        return fail_clean(env, groups, n, rc);
    return fail_uncertain(env, groups, n, rc);
}

/* ---------------------------------------------------------------------------------------------------- attempts */

static void check_readers(otok_lmdb_env *env)
{
    int dead;
    int64_t now_us = otok_clock_monotonic_us();
    if (now_us - env->readers_checked_us >= 60 * OTOK_US_PER_S) {
        env->readers_checked_us = now_us;
        (void)mdb_reader_check(env->mdb, &dead);
    }
}

static int apply_groups(otok_lmdb_env *env, MDB_txn *txn, otok_group **groups, size_t n, bool *wrote)
{
    int mdb = MDB_SUCCESS;
    for (size_t i = 0; i < n; i++) {
        otok_group *group = groups[i];
        if (env->low && needs_room(env, group)) {
            group->result = otok_fail_errno(&group->error, OTOK_E_FULL, ENOSPC, "%s: the disk is full", env->path);
            continue;
        }
        group->result = otok_lmdb_group_apply(env, txn, group, wrote, &mdb);
        if (group->result > OTOK_OK)
            return mdb;
    }
    return MDB_SUCCESS;
}

static outcome give_up(otok_lmdb_env *env, otok_group **groups, size_t n)
{
    otok_error error;
    (void)otok_fail(&error, OTOK_E_BUSY, "%s: not written after %d attempts", env->path, MOST_TRIES);
    give(groups, n, &error);
    return DONE;
}

/* One transaction.  With the environment to ourselves, so far as writing goes. */
static outcome attempt(otok_lmdb_env *env, otok_group **groups, size_t n)
{
    MDB_txn *txn;
    bool wrote = false;
    if (env->mdb == NULL)
        return fail_clean(env, groups, n, MDB_PANIC);
    check_readers(env);
    for (size_t i = 0; i < n; i++) {
        if (needs_room(env, groups[i])) {
            keep_reserve(env);
            break;
        }
    }
    int rc = mdb_txn_begin(env->mdb, NULL, 0, &txn);
    if (rc != MDB_SUCCESS)
        return fail_clean(env, groups, n, rc);
    rc = apply_groups(env, txn, groups, n, &wrote);
    if (rc != MDB_SUCCESS || !wrote) {
        mdb_txn_abort(txn);
        return rc == MDB_SUCCESS ? DONE : fail_clean(env, groups, n, rc);
    }
    rc = mdb_txn_commit(txn);
    return rc == MDB_SUCCESS ? DONE : fail_commit(env, groups, n, rc);
}

void otok_lmdb_batch_run(otok_lmdb_env *env, otok_group **groups, size_t n)
{
    size_t size = n;
    int tries = 0;
    (void)pthread_mutex_lock(&env->change);
    while (n > 0) {
        if (size > n)
            size = n;
        outcome what = tries < MOST_TRIES ? attempt(env, groups, size) : give_up(env, groups, size);
        tries++;
        if (what == SMALLER) {
            size = (size + 1) / 2;
        } else if (what == DONE) {
            groups += size;
            n -= size;
            tries = 0;
        }
    }
    (void)pthread_mutex_unlock(&env->change);
}

#endif
