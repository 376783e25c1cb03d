/*
 * private_file.c - files that nobody else may read: read with suspicion, written whole or not at all.
 *
 * SPDX-License-Identifier: MIT
 */
#include "keys/keys.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

static int fail_io(otok_error *err, const char *path, const char *verb)
{
    int code = errno;
    return otok_fail_errno(err, otok_error_of_errno(code), code, "%s cannot be %s: %s", path, verb, strerror(code));
}

static int64_t nanoseconds(struct timespec time)
{
    return (int64_t)time.tv_sec * 1000000000 + time.tv_nsec;
}

static otok_file_stamp stamp_of(const struct stat *st)
{
    return (otok_file_stamp){.device = st->st_dev,
                             .inode = st->st_ino,
                             .size = st->st_size,
                             .modified_ns = nanoseconds(st->st_mtim),
                             .changed_ns = nanoseconds(st->st_ctim)};
}

bool otok_private_file_is(const char *path, const otok_file_stamp *stamp)
{
    struct stat st;
    if (lstat(path, &st) != 0)
        return false;
    otok_file_stamp now = stamp_of(&st);
    return now.device == stamp->device && now.inode == stamp->inode && now.size == stamp->size &&
           now.modified_ns == stamp->modified_ns && now.changed_ns == stamp->changed_ns;
}

/* Asked of the descriptor, so that nobody can swap the file between the question and its use. */
static int check_owner(int fd, const char *path, otok_file_stamp *stamp, otok_error *err)
{
    struct stat st;
    if (fstat(fd, &st) != 0)
        return fail_io(err, path, "examined");
    *stamp = stamp_of(&st);
    if (!S_ISREG(st.st_mode))
        return otok_fail(err, OTOK_E_PERMISSION, "%s is no regular file", path);
    if (st.st_uid != geteuid() && st.st_uid != 0)
        return otok_fail(err, OTOK_E_PERMISSION, "%s belongs to user %ju, not to us (%ju)", path, (uintmax_t)st.st_uid,
                         (uintmax_t)geteuid());
    if ((st.st_mode & (S_IRWXG | S_IRWXO)) != 0)
        return otok_fail(err, OTOK_E_PERMISSION, "%s has mode %04o: others can use it; chmod 600 it", path,
                         st.st_mode & 07777u);
    return OTOK_OK;
}

/* ---- reading ---- */

static int read_all(int fd, const char *path, size_t most, otok_buf *out, otok_error *err)
{
    enum { CHUNK = 16384 };
    for (;;) {
        if (!otok_buf_reserve(out, CHUNK))
            return otok_fail(err, OTOK_E_NOMEM, "no memory for %s", path);
        ssize_t n = read(fd, out->data + out->len, CHUNK);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return fail_io(err, path, "read");
        if (n == 0)
            return OTOK_OK;
        out->len += (size_t)n;
        if (out->len > most)
            return otok_fail(err, OTOK_E_FORMAT, "%s has more than %zu bytes", path, most);
    }
}

/* Opens a file that is ours alone. */
static int open_ours(const char *path, int flags, int *fd, otok_file_stamp *stamp, otok_error *err)
{
    /* O_NONBLOCK: a pipe in that place must not hold us up. */
    *fd = open(path, flags | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC, S_IRUSR | S_IWUSR);
    if (*fd < 0 && errno == ELOOP)
        return otok_fail_errno(err, OTOK_E_PERMISSION, ELOOP, "%s is a symbolic link", path);
    if (*fd < 0)
        return fail_io(err, path, "opened");
    int rc = check_owner(*fd, path, stamp, err);
    if (rc != OTOK_OK)
        (void)close(*fd);
    return rc;
}

int otok_private_file_check(const char *path, otok_error *err)
{
    otok_file_stamp stamp;
    int fd;
    int rc = open_ours(path, O_RDONLY, &fd, &stamp, err);
    if (rc == OTOK_OK)
        (void)close(fd);
    return rc;
}

int otok_private_file_read(const char *path, size_t most, otok_buf *out, otok_file_stamp *stamp, otok_error *err)
{
    int fd;
    int rc = open_ours(path, O_RDONLY, &fd, stamp, err);
    if (rc != OTOK_OK)
        return rc;
    rc = read_all(fd, path, most, out, err);
    (void)close(fd);
    return rc;
}

/* ---- writing ---- */

static int write_all(int fd, const char *path, otok_str text, otok_error *err)
{
    const char *at = text.data;
    size_t left = text.len;
    while (left > 0) {
        ssize_t n = write(fd, at, left);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return fail_io(err, path, "written");
        at += n;
        left -= (size_t)n;
    }
    return OTOK_OK;
}

/* A new file, on stable storage when this returns.  Nothing is left of it on failure. */
static int write_new(const char *path, otok_str text, int *out, otok_error *err)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, S_IRUSR | S_IWUSR);
    if (fd < 0)
        return fail_io(err, path, "made");
    int rc = OTOK_OK;
    if (fchmod(fd, S_IRUSR | S_IWUSR) != 0) /* whatever the umask took away */
        rc = fail_io(err, path, "made private");
    if (rc == OTOK_OK)
        rc = write_all(fd, path, text, err);
    if (rc == OTOK_OK && fsync(fd) != 0)
        rc = fail_io(err, path, "synced");
    if (rc == OTOK_OK) {
        *out = fd;
        return OTOK_OK;
    }
    (void)close(fd);
    (void)unlink(path);
    return rc;
}

/* A name lives in its folder, and survives a power failure once that is synced. */
int otok_folder_sync(const char *path, otok_error *err)
{
    size_t len = strlen(path);
    while (len > 1 && path[len - 1] == '/') /* of a folder's own name */
        len--;
    while (len > 0 && path[len - 1] != '/')
        len--;
    /* No allocation: what was written is in its place already, and must not fail for want of memory. */
    char folder[PATH_MAX] = ".";
    if (len >= sizeof folder) {
        errno = ENAMETOOLONG;
        return fail_io(err, path, "synced");
    }
    if (len != 0) {
        memcpy(folder, path, len);
        folder[len] = '\0';
    }
    int rc = OTOK_OK;
    int fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0 || fsync(fd) != 0)
        rc = fail_io(err, folder, "synced");
    if (fd >= 0)
        (void)close(fd);
    return rc;
}

/* A name beside `path` that nobody else uses. */
static int name_beside(const char *path, char **out, otok_error *err)
{
    uint8_t random[8];
    int rc = otok_random(random, sizeof random, err);
    if (rc != OTOK_OK)
        return rc;
    size_t room = strlen(path) + sizeof ".0123456789abcdef.new";
    *out = otok_malloc(room);
    if (*out == NULL)
        return otok_fail(err, OTOK_E_NOMEM, "no memory for a path");
    (void)snprintf(*out, room, "%s.%016jx.new", path, (uintmax_t)otok_get_u64(random));
    return OTOK_OK;
}

/* rename() takes the place of a file, link() refuses to: of two that make one, one loses and sees it. */
static int put_in_place(const char *fresh, const char *path, bool replace, otok_error *err)
{
    int rc = OTOK_OK;
    if (replace ? rename(fresh, path) != 0 : link(fresh, path) != 0)
        rc = errno == EEXIST && !replace ? otok_fail_errno(err, OTOK_E_CONFLICT, EEXIST, "%s is there already", path)
                                         : fail_io(err, path, replace ? "replaced" : "made");
    if (!replace || rc != OTOK_OK)
        (void)unlink(fresh);
    return rc;
}

int otok_private_file_write(const char *path, otok_str text, bool replace, otok_file_stamp *stamp, otok_error *err)
{
    char *fresh = NULL;
    int fd = -1;
    struct stat st = {0};
    int rc = name_beside(path, &fresh, err);
    if (rc == OTOK_OK)
        rc = write_new(fresh, text, &fd, err);
    if (rc != OTOK_OK) {
        otok_free(fresh);
        return rc;
    }
    rc = put_in_place(fresh, path, replace, err);
    otok_free(fresh);
    (void)fstat(fd, &st); /* after the new name, which counts as a change; one that fails leaves a stamp of no file */
    (void)close(fd);      /* fsync() has told what there was to tell */
    if (stamp != NULL)
        *stamp = stamp_of(&st);
    return rc == OTOK_OK ? otok_folder_sync(path, err) : rc;
}

/* ---- locking ---- */

/* Of a descriptor of its own each time, so that other threads are excluded too. */
static int take_lock(int fd, const char *path, otok_error *err)
{
    if (fchmod(fd, S_IRUSR | S_IWUSR) != 0) /* the umask of its maker may have taken even that away */
        return fail_io(err, path, "made private");
    while (flock(fd, LOCK_EX) != 0) {
        if (errno != EINTR)
            return fail_io(err, path, "locked");
    }
    return OTOK_OK;
}

int otok_private_file_lock(const char *path, int *lock, otok_error *err)
{
    otok_file_stamp stamp;
    size_t room = strlen(path) + sizeof ".lock";
    char *name = otok_malloc(room);
    if (name == NULL)
        return otok_fail(err, OTOK_E_NOMEM, "no memory for a path");
    (void)snprintf(name, room, "%s.lock", path);
    int rc = open_ours(name, O_RDWR | O_CREAT, lock, &stamp, err);
    if (rc == OTOK_OK) {
        rc = take_lock(*lock, name, err);
        if (rc != OTOK_OK)
            (void)close(*lock);
    }
    otok_free(name);
    return rc;
}

/* A child of fork has the descriptor too: closing ours would not do. */
void otok_private_file_unlock(int lock)
{
    (void)flock(lock, LOCK_UN);
    (void)close(lock);
}
