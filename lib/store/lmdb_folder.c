/*
 * lmdb_folder.c - the folder: whose it is, what is in it, making a new store in it.
 *
 * data.mdb and lock.mdb are never opened here while LMDB has them open: closing any descriptor of theirs drops the
 * locks by which LMDB's processes know of each other.
 *
 * SPDX-License-Identifier: MIT
 */
#include "store/lmdb.h"

#ifdef OTOK_HAVE_LMDB

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

/* Less than this is no room: LMDB writes many pages at once. */
static const uint64_t LEAST_ROOM = (uint64_t)1 << 20;

static const char DATA_NAME[] = "data.mdb";
static const char NEW_NAME[] = "data.new"; /* one that is being made */
static const char LMDB_LOCK_NAME[] = "lock.mdb";

/*
 * What may be in a folder without data.mdb: leftovers of an opening that did not end, and what every new file system
 * has; and data.mdb itself, which another process may have made since we looked (it is looked for again under the
 * lock).
 */
static const char *const LEFTOVERS[] = {".", "..", "data.mdb", "data.new", "lock.mdb", "write.lock", "lost+found"};

static int fail(const otok_lmdb_env *env, const char *name, int system_errno, otok_error *err)
{
    return otok_fail_errno(err, otok_error_of_errno(system_errno), system_errno, "%s%s%s: %s", env->path,
                           *name != '\0' ? "/" : "", name, strerror(system_errno));
}

static int check_owner(const otok_lmdb_env *env, const char *name, const struct stat *st, otok_error *err)
{
    const char *slash = *name != '\0' ? "/" : "";
    if (st->st_uid != geteuid())
        return otok_fail(err, OTOK_E_PERMISSION, "%s%s%s belongs to user %lu, and this process runs as user %lu",
                         env->path, slash, name, (unsigned long)st->st_uid, (unsigned long)geteuid());
    if ((st->st_mode & (S_IRWXG | S_IRWXO)) != 0)
        return otok_fail(err, OTOK_E_PERMISSION, "%s%s%s is open to others (mode %04o): chmod go= it", env->path, slash,
                         name, (unsigned)(st->st_mode & 07777));
    return OTOK_OK;
}

int otok_lmdb_folder_check(const otok_lmdb_env *env, const char *name, bool *exists, otok_error *err)
{
    struct stat st;
    *exists = fstatat(env->folder, name, &st, AT_SYMLINK_NOFOLLOW) == 0;
    if (!*exists)
        return errno == ENOENT ? OTOK_OK : fail(env, name, errno, err);
    if (!S_ISREG(st.st_mode))
        return otok_fail(err, OTOK_E_PERMISSION, "%s/%s is %s, not a file", env->path, name,
                         S_ISLNK(st.st_mode) ? "a symbolic link" : "something else");
    return check_owner(env, name, &st, err);
}

/* Whether there is nothing in it but leftovers of ours. */
static int is_empty(const otok_lmdb_env *env, bool *empty, otok_error *err)
{
    int fd = openat(env->folder, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *listing = fd >= 0 ? fdopendir(fd) : NULL;
    if (listing == NULL) {
        int rc = errno;
        if (fd >= 0)
            (void)close(fd);
        return fail(env, "", rc, err);
    }
    *empty = true;
    for (struct dirent *entry; *empty && (entry = readdir(listing)) != NULL;) {
        bool known = false;
        for (size_t i = 0; i < sizeof LEFTOVERS / sizeof LEFTOVERS[0]; i++)
            known = known || strcmp(entry->d_name, LEFTOVERS[i]) == 0;
        *empty = known;
    }
    (void)closedir(listing);
    return OTOK_OK;
}

static int open_directory(otok_lmdb_env *env, otok_error *err)
{
    struct stat st;
    env->folder = open(env->path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (env->folder < 0 && errno == ENOENT && !env->read_only) {
        if (mkdir(env->path, S_IRWXU) != 0 && errno != EEXIST)
            return fail(env, "", errno, err);
        env->folder = open(env->path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    }
    if (env->folder >= 0)
        return OTOK_OK;
    int rc = errno;
    if (lstat(env->path, &st) == 0 && S_ISLNK(st.st_mode))
        return otok_fail(err, OTOK_E_PERMISSION, "%s is a symbolic link: name the folder itself", env->path);
    if (rc == ENOTDIR && lstat(env->path, &st) == 0)
        return otok_fail_errno(err, OTOK_E_FORMAT, rc, "%s is not a folder", env->path);
    return fail(env, "", rc, err);
}

/* A store, or room for one.  An empty folder of ours gets the mode that a new one has. */
int otok_lmdb_folder_open(otok_lmdb_env *env, bool *fresh, otok_error *err)
{
    struct stat st;
    bool exists, empty = false;
    int rc = open_directory(env, err);
    if (rc != OTOK_OK)
        return rc;
    rc = otok_lmdb_folder_check(env, DATA_NAME, &exists, err);
    if (rc == OTOK_OK && !exists && (rc = is_empty(env, &empty, err)) == OTOK_OK) {
        if (env->read_only)
            return otok_fail(err, OTOK_E_NOT_FOUND, "%s holds no store", env->path);
        if (!empty)
            return otok_fail(err, OTOK_E_FORMAT, "%s is not empty, and holds no store", env->path);
    }
    if (rc != OTOK_OK)
        return rc;
    if (fstat(env->folder, &st) != 0)
        return fail(env, "", errno, err);
    if (!exists && st.st_uid == geteuid() && (st.st_mode & (S_IRWXG | S_IRWXO)) != 0) {
        if (fchmod(env->folder, S_IRWXU) != 0 || fstat(env->folder, &st) != 0)
            return fail(env, "", errno, err);
    }
    *fresh = !exists;
    env->device = st.st_dev;
    env->inode = st.st_ino;
    return check_owner(env, "", &st, err);
}

void otok_lmdb_folder_path(const otok_lmdb_env *env, const char *name, char *out, size_t size)
{
    struct stat st;
    const char *slash = *name != '\0' ? "/" : "";
    (void)snprintf(out, size, "/proc/self/fd/%d", env->folder);
    if (stat(out, &st) == 0 && st.st_dev == env->device && st.st_ino == env->inode)
        (void)snprintf(out, size, "/proc/self/fd/%d%s%s", env->folder, slash, name);
    else
        (void)snprintf(out, size, "%s%s%s", env->path, slash, name);
}

static int sync_directory(const otok_lmdb_env *env, const char *name, otok_error *err)
{
    int fd = openat(env->folder, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) /* a parent that this user may pass, but not read, was there before us */
        return errno == EACCES ? OTOK_OK : fail(env, name, errno, err);
    int rc = fsync(fd) == 0 ? 0 : errno;
    (void)close(fd);
    return rc == 0 || rc == EINVAL || rc == EROFS ? OTOK_OK : fail(env, name, rc, err);
}

/* At every opening: whoever made the store may have died before they got here. */
int otok_lmdb_folder_sync(otok_lmdb_env *env, otok_error *err)
{
    int rc = sync_directory(env, ".", err);
    return rc == OTOK_OK ? sync_directory(env, "..", err) : rc;
}

/*
 * A power loss before LMDB's first commit leaves a file that LMDB refuses.  So a new one is made under another name,
 * and gets its own when it is whole and synced.
 */
int otok_lmdb_folder_prepare(otok_lmdb_env *env, otok_error *err)
{
    bool exists;
    int rc = otok_lmdb_folder_check(env, DATA_NAME, &exists, err);
    if (rc == OTOK_OK && !exists) {
        if (unlinkat(env->folder, NEW_NAME, 0) != 0 && errno != ENOENT)
            return fail(env, NEW_NAME, errno, err);
        rc = otok_lmdb_env_create(env, NEW_NAME, err);
        if (rc == OTOK_OK && renameat(env->folder, NEW_NAME, env->folder, DATA_NAME) != 0)
            rc = fail(env, DATA_NAME, errno, err);
        if (rc != OTOK_OK)
            (void)unlinkat(env->folder, NEW_NAME, 0);
    }
    if (rc == OTOK_OK)
        rc = otok_lmdb_folder_check(env, LMDB_LOCK_NAME, &exists, err);
    return rc;
}

/* LMDB calls a short write EIO; on a disk without room that is what it means. */
int otok_lmdb_folder_errno(const otok_lmdb_env *env, int rc)
{
    struct statvfs fs;
    if (rc != EIO || fstatvfs(env->folder, &fs) != 0)
        return rc;
    return (uint64_t)fs.f_bavail * fs.f_frsize < LEAST_ROOM ? ENOSPC : rc;
}

static int fallocate_all(int fd, off_t from, off_t to)
{
    static const char zeroes[4096];
    int rc;
    do
        rc = fallocate(fd, 0, 0, to) == 0 ? 0 : errno;
    while (rc == EINTR);
    if (rc != EOPNOTSUPP)
        return rc;
    for (off_t at = from; at < to;) { /* as far as it has none: others may be using the rest */
        size_t len = to - at < (off_t)sizeof zeroes ? (size_t)(to - at) : sizeof zeroes;
        ssize_t written = pwrite(fd, zeroes, len, at);
        if (written <= 0 && (written == 0 || errno != EINTR))
            return written == 0 ? ENOSPC : errno;
        at += written > 0 ? written : 0;
    }
    return 0;
}

/*
 * LMDB makes lock.mdb sparse and writes to it through the map: on a full disk that is SIGBUS.  While another process
 * has it open its size must not change: they would not see the slots that we would use.
 */
int otok_lmdb_folder_allocate_lock(otok_lmdb_env *env, otok_error *err)
{
    struct stat st;
    int rc = 0;
    int fd = openat(env->folder, LMDB_LOCK_NAME, O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (fd < 0)
        return errno == EROFS && env->read_only ? OTOK_OK : fail(env, LMDB_LOCK_NAME, errno, err);

    struct flock others = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = 0, .l_len = 1};
    if (fstat(fd, &st) != 0 || fcntl(fd, F_GETLK, &others) != 0) {
        rc = errno;
    } else {
        off_t size = ((off_t)env->max_readers + 3) * OTOK_LMDB_LINE; /* with the header before the slots */
        if (others.l_type != F_UNLCK || size < st.st_size)
            size = st.st_size;
        if (size > 0)
            rc = fallocate_all(fd, st.st_size, size);
    }
    (void)close(fd);
    return rc == 0 ? OTOK_OK : fail(env, LMDB_LOCK_NAME, rc, err);
}

#endif
