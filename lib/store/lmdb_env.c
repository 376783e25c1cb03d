/*
 * lmdb_env.c - the LMDB environment: create, open, close, grow, open again.
 *
 * SPDX-License-Identifier: MIT
 */
#include "store/lmdb.h"

#ifdef OTOK_HAVE_LMDB

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <string.h>
#include <unistd.h>

enum { DATABASES = 4, FORMAT_SIZE = 12, NEW_MAP_SIZE = 1 << 20 };

static const size_t LEAST_MAP = (size_t)1 << 18; /* halving the address space asked for ends here */

static const char FORMAT_KEY[] = "format";
static const char FORMAT_MAGIC[8] = {'o', 't', 'o', 'k', 'l', 'm', 'd', 'b'};

/* What an error of LMDB's is here; positive ones are errno. */
static const struct {
    int mdb, code;
} codes[] = {
    {MDB_MAP_FULL, OTOK_E_FULL},        {MDB_TXN_FULL, OTOK_E_FULL},       {MDB_READERS_FULL, OTOK_E_BUSY},
    {MDB_CORRUPTED, OTOK_E_FORMAT},     {MDB_INVALID, OTOK_E_FORMAT},      {MDB_VERSION_MISMATCH, OTOK_E_FORMAT},
    {MDB_PAGE_NOTFOUND, OTOK_E_FORMAT}, {MDB_INCOMPATIBLE, OTOK_E_FORMAT}, {MDB_NOTFOUND, OTOK_E_FORMAT},
};

int otok_lmdb_code(int rc)
{
    for (size_t i = 0; i < sizeof codes / sizeof codes[0]; i++) {
        if (codes[i].mdb == rc)
            return codes[i].code;
    }
    return rc > 0 ? otok_error_of_errno(rc) : OTOK_E_IO;
}

int otok_lmdb_fail(const otok_lmdb_env *env, otok_error *err, int rc, const char *what)
{
    return otok_fail_errno(err, otok_lmdb_code(rc), rc > 0 ? rc : 0, "%s: %s: %s", env->path, what, mdb_strerror(rc));
}

/* ---------------------------------------------------------------------------------------------------- databases */

static MDB_val val_of(const void *data, size_t size)
{
    return (MDB_val){.mv_size = size, .mv_data = (void *)(uintptr_t)data};
}

static int open_databases(otok_lmdb_env *env, MDB_txn *txn, unsigned flags, MDB_dbi *meta)
{
    int rc = mdb_dbi_open(txn, "meta", flags, meta);
    if (rc == MDB_SUCCESS)
        rc = mdb_dbi_open(txn, "records", flags, &env->records);
    if (rc == MDB_SUCCESS)
        rc = mdb_dbi_open(txn, "links", flags, &env->links);
    if (rc == MDB_SUCCESS)
        rc = mdb_dbi_open(txn, "index", flags | MDB_DUPSORT | MDB_DUPFIXED, &env->index);
    return rc;
}

static int put_format(MDB_txn *txn, MDB_dbi meta)
{
    uint8_t format[FORMAT_SIZE];
    memcpy(format, FORMAT_MAGIC, sizeof FORMAT_MAGIC);
    otok_put_u32(format + sizeof FORMAT_MAGIC, OTOK_LMDB_FORMAT);
    MDB_val key = val_of(FORMAT_KEY, sizeof FORMAT_KEY - 1), data = val_of(format, sizeof format);
    return mdb_put(txn, meta, &key, &data, 0);
}

static int check_format(const otok_lmdb_env *env, MDB_txn *txn, MDB_dbi meta, otok_error *err)
{
    MDB_val key = val_of(FORMAT_KEY, sizeof FORMAT_KEY - 1), data;
    int rc = mdb_get(txn, meta, &key, &data);
    if (rc == MDB_NOTFOUND || (rc == MDB_SUCCESS && (data.mv_size < FORMAT_SIZE ||
                                                     memcmp(data.mv_data, FORMAT_MAGIC, sizeof FORMAT_MAGIC) != 0)))
        return otok_fail(err, OTOK_E_FORMAT, "%s: data.mdb belongs to another program", env->path);
    if (rc != MDB_SUCCESS)
        return otok_lmdb_fail(env, err, rc, "reading the format");
    uint32_t format = otok_get_u32((const uint8_t *)data.mv_data + sizeof FORMAT_MAGIC);
    if (format != OTOK_LMDB_FORMAT)
        return otok_fail(err, OTOK_E_FORMAT, "%s has format %lu, and this version of the library knows %d: %s",
                         env->path, (unsigned long)format, OTOK_LMDB_FORMAT, "upgrade the library");
    return OTOK_OK;
}

/* ---------------------------------------------------------------------------------------------------- create */

int otok_lmdb_env_create(otok_lmdb_env *env, const char *name, otok_error *err)
{
    char path[PATH_MAX];
    MDB_env *mdb = NULL;
    MDB_txn *txn = NULL;
    MDB_dbi meta;

    otok_lmdb_folder_path(env, name, path, sizeof path);
    int rc = mdb_env_create(&mdb);
    if (rc == MDB_SUCCESS)
        rc = mdb_env_set_maxdbs(mdb, DATABASES);
    if (rc == MDB_SUCCESS)
        rc = mdb_env_set_mapsize(mdb, NEW_MAP_SIZE);
    if (rc == MDB_SUCCESS)
        rc = mdb_env_open(mdb, path, MDB_NOSUBDIR | MDB_NOLOCK, 0600);
    if (rc == MDB_SUCCESS)
        rc = mdb_txn_begin(mdb, NULL, 0, &txn);
    if (rc == MDB_SUCCESS) {
        rc = open_databases(env, txn, MDB_CREATE, &meta);
        if (rc == MDB_SUCCESS)
            rc = put_format(txn, meta);
        if (rc == MDB_SUCCESS)
            rc = mdb_txn_commit(txn);
        else
            mdb_txn_abort(txn);
    }
    if (rc == MDB_SUCCESS)
        rc = mdb_env_sync(mdb, 1);
    if (mdb != NULL)
        mdb_env_close(mdb);
    return rc == MDB_SUCCESS ? OTOK_OK
                             : otok_lmdb_fail(env, err, otok_lmdb_folder_errno(env, rc), "making a new store");
}

/* --------------------------------------------------------------------------------------------------- open and close */

static int open_mapped(otok_lmdb_env *env, const char *path, size_t map_size)
{
    unsigned flags = MDB_NOTLS | MDB_NORDAHEAD | (env->read_only ? MDB_RDONLY : 0U) | (env->no_sync ? MDB_NOSYNC : 0U);
    MDB_env *mdb;
    int fd;
    int rc = mdb_env_create(&mdb);
    if (rc != MDB_SUCCESS)
        return rc;
    rc = mdb_env_set_maxdbs(mdb, DATABASES);
    if (rc == MDB_SUCCESS)
        rc = mdb_env_set_maxreaders(mdb, env->max_readers);
    if (rc == MDB_SUCCESS)
        rc = mdb_env_set_mapsize(mdb, map_size);
    if (rc == MDB_SUCCESS)
        rc = mdb_env_open(mdb, path, flags, 0600);
    if (rc == MDB_SUCCESS) /* LMDB sees to its other descriptors itself */
        rc = mdb_env_get_fd(mdb, &fd) == MDB_SUCCESS && fcntl(fd, F_SETFD, FD_CLOEXEC) == 0 ? MDB_SUCCESS : errno;
    if (rc == MDB_SUCCESS)
        env->mdb = mdb;
    else
        mdb_env_close(mdb);
    return rc;
}

/* Opens the databases of an environment that is mapped; `*mdb` is MDB_MAP_RESIZED when others have outgrown the map. */
static int open_checked(otok_lmdb_env *env, int *mdb, otok_error *err)
{
    MDB_txn *txn = NULL;
    MDB_dbi meta;
    int dead;
    *mdb = mdb_txn_begin(env->mdb, NULL, MDB_RDONLY, &txn);
    if (*mdb == MDB_READERS_FULL) { /* perhaps of the dead; and whoever is alive may not look for a long time */
        (void)mdb_reader_check(env->mdb, &dead);
        *mdb = mdb_txn_begin(env->mdb, NULL, MDB_RDONLY, &txn);
    }
    if (*mdb != MDB_SUCCESS)
        return otok_lmdb_fail(env, err, *mdb, "opening");
    int rc = open_databases(env, txn, 0, &meta);
    if (rc == MDB_NOTFOUND || rc == MDB_INCOMPATIBLE)
        rc = otok_fail(err, OTOK_E_FORMAT, "%s: data.mdb belongs to another program", env->path);
    else if (rc != MDB_SUCCESS)
        rc = otok_lmdb_fail(env, err, rc, "opening");
    else
        rc = check_format(env, txn, meta, err);
    if (rc != OTOK_OK) {
        mdb_txn_abort(txn);
        return rc;
    }
    rc = mdb_txn_commit(txn); /* keeps the databases open */
    return rc == MDB_SUCCESS ? OTOK_OK : otok_lmdb_fail(env, err, rc, "opening");
}

/* A limit of address space; a tool such as valgrind, which keeps most of it for itself and says EINVAL. */
static bool is_too_large(int rc)
{
    return rc == ENOMEM || rc == EAGAIN || rc == EINVAL;
}

static int open_with_size(otok_lmdb_env *env, const char *path, size_t size, int *mdb, otok_error *err)
{
    *mdb = open_mapped(env, path, size);
    if (*mdb != MDB_SUCCESS)
        return otok_lmdb_fail(env, err, *mdb, "opening");
    int rc = open_checked(env, mdb, err);
    if (rc != OTOK_OK) {
        mdb_env_close(env->mdb);
        env->mdb = NULL;
    }
    return rc;
}

int otok_lmdb_env_start(otok_lmdb_env *env, otok_error *err)
{
    char path[PATH_MAX];
    MDB_envinfo info;
    int dead, mdb;
    int rc = otok_lmdb_folder_allocate_lock(env, err);
    if (rc != OTOK_OK)
        return rc;
    otok_lmdb_folder_path(env, "", path, sizeof path);
    size_t size = env->map_size;
    while ((rc = open_with_size(env, path, size, &mdb, err)) != OTOK_OK) {
        if (is_too_large(mdb) && size / 2 >= LEAST_MAP)
            size /= 2;
        else if (mdb == MDB_MAP_RESIZED && size <= SIZE_MAX / 4) /* another process grew it just now */
            size *= 2;
        else
            return rc;
    }
    (void)mdb_reader_check(env->mdb, &dead);
    (void)mdb_env_info(env->mdb, &info);
    env->map_size = info.me_mapsize;
    env->reserved_end = 0;
    env->reserve_works = !env->read_only;
    env->low = false;
    env->readers_checked_us = otok_clock_monotonic_us();
    return OTOK_OK;
}

void otok_lmdb_env_stop(otok_lmdb_env *env)
{
    for (size_t i = 0; i < OTOK_LMDB_SLOTS; i++) {
        mdb_txn_abort(env->slots[i].txn);
        env->slots[i].txn = NULL;
    }
    mdb_env_close(env->mdb);
    env->mdb = NULL;
}

/* ---------------------------------------------------------------------------------------------------- changes */

/* Closing is as delicate as opening: see otok_lmdb_lock_enter(). */
int otok_lmdb_env_restart(otok_lmdb_env *env, otok_error *err)
{
    int64_t deadline_us = otok_clock_monotonic_us() + OTOK_US_PER_S;
    otok_lmdb_gate_close(env);
    int rc = otok_lmdb_lock_enter(env, deadline_us, err);
    if (rc == OTOK_OK) {
        if (env->mdb != NULL)
            otok_lmdb_env_stop(env);
        rc = otok_lmdb_env_start(env, err);
        otok_lmdb_lock_leave(env);
    }
    (void)atomic_fetch_add(&env->generation, 1);
    otok_lmdb_gate_open(env);
    return rc;
}

/* Twice as much, and room for twice what is there: another process may have outgrown this one's map by far. */
int otok_lmdb_env_grow(otok_lmdb_env *env, bool by_others, otok_error *err)
{
    MDB_envinfo info;
    MDB_stat stat;
    size_t size = env->map_size, used, want;

    otok_lmdb_gate_close(env);
    int rc = mdb_env_info(env->mdb, &info);
    if (rc == MDB_SUCCESS)
        rc = mdb_env_stat(env->mdb, &stat);
    if (rc == MDB_SUCCESS) {
        used = (info.me_last_pgno + 1) * stat.ms_psize;
        want = used > SIZE_MAX / 4 ? SIZE_MAX / 2 : used * 2;
        if (size <= SIZE_MAX / 4 && !by_others)
            size *= 2;
        while (size < want && size <= SIZE_MAX / 4)
            size *= 2;
        rc = size > env->map_size || by_others ? mdb_env_set_mapsize(env->mdb, size) : MDB_MAP_FULL;
    }
    (void)atomic_fetch_add(&env->generation, 1);
    otok_lmdb_gate_open(env);
    if (rc == MDB_SUCCESS) {
        env->map_size = size;
        return OTOK_OK;
    }
    if (rc != MDB_MAP_FULL) { /* LMDB is without a map now */
        otok_error ignored;
        (void)otok_lmdb_env_restart(env, &ignored);
    }
    return otok_fail_errno(err, OTOK_E_FULL, rc > 0 ? rc : 0, "%s: no address space for a map of %zu bytes: %s",
                           env->path, size, mdb_strerror(rc));
}

int otok_lmdb_env_mend(otok_lmdb_env *env, uint32_t generation, int rc, otok_error *err)
{
    int result = OTOK_OK;
    (void)pthread_mutex_lock(&env->change);
    if (atomic_load(&env->generation) == generation)
        result = rc == MDB_MAP_RESIZED ? otok_lmdb_env_grow(env, true, err) : otok_lmdb_env_restart(env, err);
    (void)pthread_mutex_unlock(&env->change);
    return result;
}

#endif
