/*
 * lmdb_backup.c - a compacted copy of the environment as of one moment, in a folder of its own.
 *
 * The copy is made in a folder beside, `<directory>.new`, and gets its name when it is whole, verified, and on stable storage.  One that
 * was killed leaves the folder beside, which the next backup of that name removes.  It knows it by a file in it, which is locked while
 * the backup runs: what has none is not ours, and may well be somebody's store.
 *
 * SPDX-License-Identifier: MIT
 */
#include "store/lmdb.h"

#ifdef OTOK_HAVE_LMDB

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

static const char DATA_NAME[] = "data.mdb";
static const char MARK_NAME[] = "backup.part";
static const char *const LOCK_NAMES[] = {"lock.mdb", "write.lock"};

/* A backup under way. */
struct backup {
    otok_lmdb_env *env;
    const otok_watch *watch;
    otok_error *err;
    const char *directory;
    char beside[PATH_MAX];
    int folder; /* beside */
    int mark;   /* in it; locked */
};

static int fail(const struct backup *b, const char *what)
{
    int system_errno = errno;
    int code = otok_error_of_errno(system_errno);
    if (code == OTOK_E_NOT_FOUND) /* no store says that: a folder around it that is not there */
        code = OTOK_E_IO;
    return otok_fail_errno(b->err, code, system_errno, "%s: %s: %s", b->directory, what, strerror(system_errno));
}

/* ---------------------------------------------------------------------------------------------------- the folder beside */

static void remove_locks(const struct backup *b)
{
    for (size_t i = 0; i < sizeof LOCK_NAMES / sizeof LOCK_NAMES[0]; i++)
        (void)unlinkat(b->folder, LOCK_NAMES[i], 0);
}

static void close_beside(struct backup *b)
{
    if (b->mark >= 0)
        (void)close(b->mark);
    if (b->folder >= 0)
        (void)close(b->folder);
    b->mark = b->folder = -1;
}

/* What is in it and is not ours keeps it there. */
static void remove_beside(struct backup *b)
{
    (void)unlinkat(b->folder, DATA_NAME, 0);
    remove_locks(b);
    (void)unlinkat(b->folder, MARK_NAME, 0);
    close_beside(b);
    (void)rmdir(b->beside);
}

/* What one that was killed has left; what has no mark goes only where it is empty. */
static int remove_leftover(struct backup *b)
{
    b->folder = open(b->beside, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    b->mark = b->folder >= 0 ? openat(b->folder, MARK_NAME, O_RDONLY | O_NOFOLLOW | O_CLOEXEC) : -1;
    if (b->mark < 0) {
        close_beside(b);
        (void)rmdir(b->beside);
        return OTOK_OK;
    }
    if (flock(b->mark, LOCK_EX | LOCK_NB) != 0) {
        close_beside(b);
        return otok_fail(b->err, OTOK_E_BUSY, "%s: another backup is being made in it", b->beside);
    }
    remove_beside(b);
    return OTOK_OK;
}

static int mark_beside(struct backup *b)
{
    b->folder = open(b->beside, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (b->folder < 0)
        return fail(b, "opening a folder beside it");
    b->mark = openat(b->folder, MARK_NAME, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, S_IRUSR | S_IWUSR);
    if (b->mark >= 0 && flock(b->mark, LOCK_EX | LOCK_NB) == 0)
        return OTOK_OK;
    int rc = fail(b, "marking a folder beside it");
    close_beside(b);
    return rc;
}

static int make_beside(struct backup *b)
{
    struct stat st;
    int len = snprintf(b->beside, sizeof b->beside, "%s", b->directory);
    while (len > 1 && len < (int)sizeof b->beside && b->beside[len - 1] == '/')
        b->beside[--len] = '\0';
    if (len < 0 || (size_t)len + sizeof ".new" > sizeof b->beside)
        return otok_fail(b->err, OTOK_E_INVALID, "directory is longer than a path may be");
    /* A folder that is empty gives way to the copy; anything else stays. */
    if (lstat(b->directory, &st) == 0 && rmdir(b->directory) != 0)
        return otok_fail(b->err, OTOK_E_INVALID, "%s is there, and not an empty folder", b->directory);
    memcpy(b->beside + len, ".new", sizeof ".new");
    int rc = remove_leftover(b);
    if (rc != OTOK_OK)
        return rc;
    if (mkdir(b->beside, S_IRWXU) == 0)
        return mark_beside(b);
    if (errno == EEXIST)
        return otok_fail(b->err, OTOK_E_INVALID, "%s is there, and no backup has left it", b->beside);
    return fail(b, "making a folder beside it");
}

/* ---------------------------------------------------------------------------------------------------- the copy */

/* No growth of the map comes in between: whoever wants that waits for readers. */
static int copy(const struct backup *b, int fd)
{
    otok_lmdb_slot *slot;
    int rc = otok_lmdb_read_begin(b->env, &slot, b->err);
    if (rc != OTOK_OK)
        return rc;
    int mdb = mdb_env_copyfd2(b->env->mdb, fd, MDB_CP_COMPACT);
    otok_lmdb_read_end(b->env, slot);
    if (mdb == MDB_SUCCESS && fsync(fd) != 0)
        mdb = errno;
    if (mdb == MDB_SUCCESS)
        return OTOK_OK;
    return otok_fail_errno(b->err, otok_lmdb_code(mdb), mdb > 0 ? mdb : 0, "%s: copying: %s", b->directory,
                           mdb_strerror(mdb));
}

static int write_copy(const struct backup *b)
{
    int fd = openat(b->folder, DATA_NAME, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, S_IRUSR | S_IWUSR);
    if (fd < 0)
        return fail(b, "making the copy");
    int rc = copy(b, fd);
    if (close(fd) != 0 && rc == OTOK_OK)
        rc = fail(b, "closing the copy");
    return rc;
}

/* Opened as what it is to be, and looked through. */
static int verify(const struct backup *b)
{
    otok_lmdb_options options;
    otok_check found = {.size = sizeof found};
    otok_watch silent = *b->watch;
    otok_store *store;
    silent.finding = NULL;
    otok_lmdb_options_init(&options, sizeof options);
    int rc = otok_store_open_lmdb(b->beside, &options, &store, b->err);
    if (rc != OTOK_OK)
        return rc;
    rc = otok_store_check(store, 0, &silent, &found, b->err);
    otok_store_close(store);
    if (rc == OTOK_OK && found.findings != 0)
        rc = otok_fail(b->err, OTOK_E_FORMAT, "%s: the copy has %llu faults, so the store has: check it", b->directory,
                       (unsigned long long)found.findings);
    remove_locks(b); /* a store makes its own when it is opened */
    return rc;
}

static int name_it(const struct backup *b)
{
    if (fsync(b->folder) != 0)
        return fail(b, "syncing the folder");
    if (rename(b->beside, b->directory) != 0)
        return fail(b, "naming the copy");
    (void)unlinkat(b->folder, MARK_NAME, 0);
    int parent = openat(b->folder, "..", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int rc = parent < 0 || fsync(parent) == 0 ? OTOK_OK : fail(b, "syncing the folder around it");
    if (parent >= 0)
        (void)close(parent);
    return rc;
}

int otok_lmdb_backup(void *self, const char *directory, const otok_watch *watch, otok_error *err)
{
    const otok_lmdb *store = self;
    struct backup b = {.env = store->env, .watch = watch, .err = err, .directory = directory, .folder = -1, .mark = -1};
    int cancel;
    int rc = otok_lmdb_refuse_inherited(store->env, err);
    (void)pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &cancel); /* it would keep the lock */
    if (rc == OTOK_OK)
        rc = make_beside(&b);
    bool made = rc == OTOK_OK;
    if (rc == OTOK_OK)
        rc = write_copy(&b);
    if (rc == OTOK_OK)
        rc = verify(&b);
    if (rc == OTOK_OK)
        rc = name_it(&b);
    if (rc != OTOK_OK && made)
        remove_beside(&b);
    close_beside(&b);
    (void)pthread_setcancelstate(cancel, NULL);
    return rc;
}

#endif
