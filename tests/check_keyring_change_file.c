/*
 * check_keyring_change_file.c - keyring files that are changed by many at once, and read again: K3, K4.
 *
 * SPDX-License-Identifier: MIT
 */
/* link: -Wl,--wrap=flock,--wrap=fchmod,--wrap=fstat,--wrap=fsync,--wrap=read,--wrap=write */
/* link: -Wl,--wrap=otok_malloc,--wrap=otok_calloc,--wrap=otok_realloc */
#include "keys/keys.h"
#include "support/crew.h"
#include "support/fixture.h"
#include "support/vectors.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static otok_error err; /* of the last call, in one thread */

static void ok(int rc)
{
    ck_assert_msg(rc == OTOK_OK, "%s: %s", otok_error_name(rc), err.message);
}

static void assert_fails(int rc, int expected, const char *word)
{
    ck_assert_msg(rc == expected, "%s: %s", otok_error_name(rc), rc != OTOK_OK ? err.message : "");
    ck_assert_int_eq(err.code, expected);
    ck_assert_msg(strstr(err.message, word) != NULL, "'%s' is not in '%s'", word, err.message);
}

/* ---- what the tests make fail ---- */

static struct {
    int flock_errno, flock_times, fchmod_errno, fstat_errno, fsync_errno; /* of the next calls; 0: they work */
    bool interrupted;                                                     /* the next read or write */
    int io_errno;                                                         /* and the one after it */
} failing;

static struct {
    bool armed;
    uint64_t k, count; /* the k-th allocation fails */
} shortage;

int __real_flock(int fd, int operation);
int __wrap_flock(int fd, int operation);
int __real_fchmod(int fd, mode_t mode);
int __wrap_fchmod(int fd, mode_t mode);
int __real_fstat(int fd, struct stat *st);
int __wrap_fstat(int fd, struct stat *st);
int __real_fsync(int fd);
int __wrap_fsync(int fd);
ssize_t __real_read(int fd, void *out, size_t len);
ssize_t __wrap_read(int fd, void *out, size_t len);
ssize_t __real_write(int fd, const void *data, size_t len);
ssize_t __wrap_write(int fd, const void *data, size_t len);
void *__real_otok_malloc(size_t size);
void *__wrap_otok_malloc(size_t size);
void *__real_otok_calloc(size_t count, size_t size);
void *__wrap_otok_calloc(size_t count, size_t size);
void *__real_otok_realloc(void *old, size_t size);
void *__wrap_otok_realloc(void *old, size_t size);

int __wrap_flock(int fd, int operation)
{
    if (failing.flock_times == 0 || operation != LOCK_EX)
        return __real_flock(fd, operation);
    failing.flock_times--;
    errno = failing.flock_errno;
    return -1;
}

int __wrap_fchmod(int fd, mode_t mode)
{
    if (failing.fchmod_errno == 0)
        return __real_fchmod(fd, mode);
    errno = failing.fchmod_errno;
    return -1;
}

int __wrap_fstat(int fd, struct stat *st)
{
    if (failing.fstat_errno == 0)
        return __real_fstat(fd, st);
    errno = failing.fstat_errno;
    return -1;
}

int __wrap_fsync(int fd)
{
    if (failing.fsync_errno == 0)
        return __real_fsync(fd);
    errno = failing.fsync_errno;
    return -1;
}

static bool io_fails(void)
{
    if (!failing.interrupted && failing.io_errno == 0) /* nothing is written here: threads come by */
        return false;
    errno = failing.interrupted ? EINTR : failing.io_errno;
    if (!failing.interrupted)
        failing.io_errno = 0;
    failing.interrupted = false;
    return true;
}

ssize_t __wrap_read(int fd, void *out, size_t len)
{
    return io_fails() ? -1 : __real_read(fd, out, len);
}

ssize_t __wrap_write(int fd, const void *data, size_t len)
{
    return io_fails() ? -1 : __real_write(fd, data, len);
}

static bool is_refused(void)
{
    return shortage.armed && ++shortage.count == shortage.k;
}

void *__wrap_otok_malloc(size_t size)
{
    return is_refused() ? NULL : __real_otok_malloc(size);
}

void *__wrap_otok_calloc(size_t count, size_t size)
{
    return is_refused() ? NULL : __real_otok_calloc(count, size);
}

void *__wrap_otok_realloc(void *old, size_t size)
{
    return is_refused() ? NULL : __real_otok_realloc(old, size);
}

/* ---- a folder of the test's own, with a keyring in one file or two ---- */

static char *folder;
static char path[4200], token_path[4200], lock_path[4300];

static void make_folder(void)
{
    folder = test_new_folder();
    (void)snprintf(path, sizeof path, "%s/keyring.json", folder);
    (void)snprintf(token_path, sizeof token_path, "%s/token-keys.json", folder);
    (void)snprintf(lock_path, sizeof lock_path, "%s.lock", path);
}

static void remove_folder(void)
{
    test_remove_folder(folder);
}

static void save_new(const char *token_keys_path)
{
    otok_keyring *keyring;
    ok(otok_keyring_generate(OTOK_ALG_EDDSA, &keyring, &err));
    ok(otok_keyring_save(keyring, path, token_keys_path, &err));
    otok_keyring_free(keyring);
}

static otok_keyring *load(const char *token_keys_path)
{
    otok_keyring *keyring;
    ok(otok_keyring_load(path, token_keys_path, &keyring, &err));
    return keyring;
}

static otok_key_change step(int32_t what, int32_t use, const char *kid)
{
    otok_key_change change;
    otok_key_change_init(&change, sizeof change);
    change.step = what;
    change.use = use;
    change.kid = kid;
    change.algorithm = what == OTOK_KEY_STEP_ADD && use == OTOK_KEY_SIGNING ? OTOK_ALG_EDDSA : 0;
    return change;
}

static otok_keyring *change_file(const char *token_keys_path, otok_key_change change)
{
    otok_keyring *keyring;
    ok(otok_keyring_change_file(path, token_keys_path, &change, &keyring, &err));
    return keyring;
}

static void assert_unchanged(otok_keyring *keyring)
{
    otok_keyring *again = (otok_keyring *)1;
    ok(otok_keyring_reload(keyring, &again, &err));
    ck_assert_ptr_null(again);
}

static ino_t inode(const char *name)
{
    struct stat st;
    ck_assert_int_eq(stat(name, &st), 0);
    return st.st_ino;
}

/* ---- changes ---- */

/* K2, K3, K4: a whole rotation; what comes out is what is on the disk. */
START_TEST(rotation_of_a_file_is_what_is_read_afterwards)
{
    const char *token_keys_path = _i == 0 ? NULL : token_path;
    save_new(token_keys_path);
    for (int32_t use = OTOK_KEY_SIGNING; use <= OTOK_KEY_TOKEN; use++) {
        otok_keyring *first = load(token_keys_path);
        const char *old = use == OTOK_KEY_SIGNING ? first->signing[0].kid : first->token[0].kid;
        const otok_key_change steps[] = {step(OTOK_KEY_STEP_ADD, use, NULL), step(OTOK_KEY_STEP_ACTIVATE, use, NULL),
                                         step(OTOK_KEY_STEP_DROP, use, old)};
        for (size_t i = 0; i < 3; i++) {
            otok_keyring *changed = change_file(token_keys_path, steps[i]), *again = load(token_keys_path);
            ck_assert(otok_keyring_same(changed, again));
            ck_assert(!otok_keyring_same(changed, first));
            assert_unchanged(changed);
            otok_keyring_free(changed);
            otok_keyring_free(again);
        }
        otok_keyring_free(first);
    }
    struct stat st;
    ck_assert_int_eq(stat(lock_path, &st), 0);
    ck_assert_int_eq(st.st_mode & 07777, 0600);
    ck_assert_int_eq(st.st_size, 0);
}
END_TEST

/* So a crash leaves the keyring before the step or after it, and no third one. */
START_TEST(of_two_files_only_the_one_that_changed_is_written)
{
    save_new(token_path);
    ino_t signing = inode(path), token = inode(token_path);
    otok_key_change change = step(OTOK_KEY_STEP_ADD, OTOK_KEY_TOKEN, NULL);
    ok(otok_keyring_change_file(path, token_path, &change, NULL, &err));
    ck_assert_uint_eq(inode(path), signing);
    ck_assert_uint_ne(inode(token_path), token);
    token = inode(token_path);
    otok_keyring_free(change_file(token_path, step(OTOK_KEY_STEP_ADD, OTOK_KEY_SIGNING, NULL)));
    ck_assert_uint_ne(inode(path), signing);
    ck_assert_uint_eq(inode(token_path), token);
}
END_TEST

/* What changes nothing writes nothing. */
START_TEST(active_key_that_is_activated_leaves_the_file_alone)
{
    save_new(NULL);
    otok_keyring *keyring = load(NULL);
    otok_keyring *changed = change_file(NULL, step(OTOK_KEY_STEP_ACTIVATE, OTOK_KEY_TOKEN, keyring->token[0].kid));
    assert_unchanged(keyring);
    assert_unchanged(changed);
    otok_keyring_free(keyring);
    otok_keyring_free(changed);
}
END_TEST

/* K5 */
START_TEST(external_key_comes_into_a_file_and_out_of_it)
{
    otok_key_change change = step(OTOK_KEY_STEP_ADD, OTOK_KEY_SIGNING, NULL);
    change.jwk = "{\"alg\":\"EdDSA\"," VECTOR_ED_PUBLIC "}";
    save_new(NULL);
    otok_keyring_free(change_file(NULL, change));
    otok_keyring_free(change_file(NULL, step(OTOK_KEY_STEP_ACTIVATE, OTOK_KEY_SIGNING, NULL)));
    otok_keyring *keyring = load(NULL);
    ck_assert(otok_keyring_signing(keyring)->external);
    ck_assert_str_eq(otok_keyring_signing(keyring)->kid, VECTOR_ED_THUMBPRINT);
    ck_assert(!keyring->signing[0].external);
    otok_keyring_free(keyring);
}
END_TEST

START_TEST(change_that_fails_leaves_file_and_lock_as_they_were)
{
    otok_key_change drop = step(OTOK_KEY_STEP_DROP, OTOK_KEY_TOKEN, "no such key");
    otok_keyring *out = (otok_keyring *)1;
    assert_fails(otok_keyring_change_file(path, NULL, &drop, &out, &err), OTOK_E_NOT_FOUND, path);
    ck_assert_ptr_null(out);
    ck_assert_int_eq(err.system_errno, ENOENT);
    ck_assert_int_ne(access(lock_path, F_OK), 0); /* nothing beside a name that was mistyped */
    save_new(NULL);
    otok_keyring *keyring = load(NULL);
    assert_fails(otok_keyring_change_file(NULL, NULL, &drop, &out, &err), OTOK_E_INVALID, "path");
    assert_fails(otok_keyring_load(path, NULL, NULL, &err), OTOK_E_INVALID, "out");
    assert_fails(otok_keyring_change_file(path, "", &drop, &out, &err), OTOK_E_INVALID, "token_keys_path");
    assert_fails(otok_keyring_change_file(path, path, &drop, &out, &err), OTOK_E_INVALID, "token_keys_path");
    assert_fails(otok_keyring_change_file(path, NULL, NULL, &out, &err), OTOK_E_INVALID, "otok_key_change");
    assert_fails(otok_keyring_change_file(path, NULL, &drop, &out, &err), OTOK_E_NOT_FOUND, "MAC key");
    drop.kid = keyring->token[0].kid;
    assert_fails(otok_keyring_change_file(path, NULL, &drop, NULL, &err), OTOK_E_STATE, "active");
    assert_unchanged(keyring);
    ck_assert_int_eq(chmod(path, 0640), 0);
    assert_fails(otok_keyring_change_file(path, NULL, &drop, &out, &err), OTOK_E_PERMISSION, "0640");
    ck_assert_int_eq(chmod(path, 0600), 0);
    otok_keyring_free(change_file(NULL, step(OTOK_KEY_STEP_ADD, OTOK_KEY_TOKEN, NULL)));
    otok_keyring_free(keyring);
}
END_TEST

/* A full disk: the step is not taken, and the lock is given back. */
START_TEST(step_that_cannot_be_written_is_not_taken)
{
    int status;
    save_new(NULL);
    otok_keyring *keyring = load(NULL);
    pid_t pid = fork();
    if (pid == 0) {
        struct rlimit limit = {100, 100};
        otok_key_change change = step(OTOK_KEY_STEP_ADD, OTOK_KEY_TOKEN, NULL);
        otok_keyring *out = (otok_keyring *)1;
        (void)signal(SIGXFSZ, SIG_IGN);
        (void)setrlimit(RLIMIT_FSIZE, &limit);
        int rc = otok_keyring_change_file(path, NULL, &change, &out, &err);
        _exit(rc == OTOK_E_IO && err.system_errno == EFBIG && out == NULL ? 0 : 1);
    }
    ck_assert_int_eq(waitpid(pid, &status, 0), pid);
    ck_assert_int_eq(status, 0);
    assert_unchanged(keyring);
    otok_keyring_free(change_file(NULL, step(OTOK_KEY_STEP_ADD, OTOK_KEY_TOKEN, NULL)));
    otok_keyring_free(keyring);
}
END_TEST

START_TEST(failures_of_the_disk_are_told)
{
    otok_key_change change = step(OTOK_KEY_STEP_ADD, OTOK_KEY_TOKEN, NULL);
    save_new(NULL);
    otok_keyring *keyring = load(NULL), *none;
    failing.fchmod_errno = EPERM;
    assert_fails(otok_keyring_save(keyring, path, NULL, &err), OTOK_E_PERMISSION, "made private");
    failing.fchmod_errno = 0;
    failing.fsync_errno = EIO;
    assert_fails(otok_keyring_change_file(path, NULL, &change, NULL, &err), OTOK_E_IO, "synced");
    assert_fails(otok_folder_sync(path, &err), OTOK_E_IO, folder);
    failing.fsync_errno = 0;
    failing.interrupted = true;
    failing.io_errno = EIO;
    assert_fails(otok_keyring_load(path, NULL, &none, &err), OTOK_E_IO, "read");
    ck_assert_ptr_null(none);
    failing.interrupted = true;
    failing.io_errno = ENOSPC;
    assert_fails(otok_keyring_save(keyring, path, NULL, &err), OTOK_E_FULL, "written");
    assert_unchanged(keyring);
    failing.interrupted = true;
    ok(otok_keyring_save(keyring, path, NULL, &err));
    otok_keyring_free(keyring);
}
END_TEST

/* Else the signing keys would take the place of the MAC keys. */
START_TEST(two_names_of_one_file_are_refused)
{
    char other[4300];
    otok_key_change change = step(OTOK_KEY_STEP_ADD, OTOK_KEY_TOKEN, NULL);
    save_new(NULL);
    otok_keyring *keyring = load(NULL);
    (void)snprintf(other, sizeof other, "%s/./keyring.json", folder);
    assert_fails(otok_keyring_save(keyring, path, other, &err), OTOK_E_INVALID, "token_keys_path");
    assert_fails(otok_keyring_change_file(path, other, &change, NULL, &err), OTOK_E_KEY, "MAC key");
    assert_unchanged(keyring);
    otok_keyring_free(keyring);
}
END_TEST

/* ---- the lock ---- */

START_TEST(lock_that_is_not_ours_alone_is_refused)
{
    otok_key_change change = step(OTOK_KEY_STEP_ADD, OTOK_KEY_TOKEN, NULL);
    save_new(NULL);
    otok_keyring *keyring = load(NULL);
    ck_assert_int_eq(symlink("keyring.json", lock_path), 0);
    assert_fails(otok_keyring_change_file(path, NULL, &change, NULL, &err), OTOK_E_PERMISSION, "symbolic link");
    ck_assert_int_eq(unlink(lock_path), 0);
    ck_assert_int_eq(mkfifo(lock_path, 0600), 0);
    assert_fails(otok_keyring_change_file(path, NULL, &change, NULL, &err), OTOK_E_PERMISSION, "no regular file");
    ck_assert_int_eq(unlink(lock_path), 0);
    ck_assert_int_eq(mkdir(lock_path, 0700), 0);
    ck_assert_int_ne(otok_keyring_change_file(path, NULL, &change, NULL, &err), OTOK_OK);
    ck_assert_ptr_nonnull(strstr(err.message, lock_path));
    ck_assert_int_eq(rmdir(lock_path), 0);
    ck_assert_int_eq(close(open(lock_path, O_WRONLY | O_CREAT, 0600)), 0);
    ck_assert_int_eq(chmod(lock_path, 0644), 0); /* whoever can read it can hold it for ever */
    assert_fails(otok_keyring_change_file(path, NULL, &change, NULL, &err), OTOK_E_PERMISSION, "0644");
    assert_unchanged(keyring);
    otok_keyring_free(keyring);
}
END_TEST

START_TEST(lock_is_private_whatever_the_umask)
{
    struct stat st;
    save_new(NULL);
    mode_t old = umask(0777);
    otok_keyring *keyring = change_file(NULL, step(OTOK_KEY_STEP_ADD, OTOK_KEY_TOKEN, NULL));
    (void)umask(old);
    ck_assert_int_eq(stat(lock_path, &st), 0);
    ck_assert_int_eq(st.st_mode & 07777, 0600);
    otok_keyring_free(keyring);
}
END_TEST

START_TEST(lock_survives_signals_and_tells_of_failures)
{
    otok_key_change change = step(OTOK_KEY_STEP_ADD, OTOK_KEY_TOKEN, NULL);
    save_new(NULL);
    otok_keyring *keyring = load(NULL);
    failing.flock_errno = ENOLCK;
    failing.flock_times = 1;
    assert_fails(otok_keyring_change_file(path, NULL, &change, NULL, &err), OTOK_E_IO, "locked");
    ck_assert_int_eq(err.system_errno, ENOLCK);
    failing.fchmod_errno = EPERM;
    assert_fails(otok_keyring_change_file(path, NULL, &change, NULL, &err), OTOK_E_PERMISSION, "made private");
    failing.fchmod_errno = 0;
    failing.fstat_errno = EIO;
    assert_fails(otok_keyring_change_file(path, NULL, &change, NULL, &err), OTOK_E_IO, "examined");
    failing.fstat_errno = 0;
    assert_unchanged(keyring);
    failing.flock_errno = EINTR;
    failing.flock_times = 3;
    ok(otok_keyring_change_file(path, NULL, &change, NULL, &err));
    ck_assert_int_eq(failing.flock_times, 0);
    otok_keyring_free(keyring);
}
END_TEST

/* A child that fork() gave the descriptor to must not hold the lock on. */
START_TEST(lock_is_given_back_though_a_child_has_it_too)
{
    int lock, again, pipes[2];
    save_new(NULL);
    ok(otok_private_file_lock(path, &lock, &err));
    ck_assert_int_eq(fcntl(lock, F_GETFD) & FD_CLOEXEC, FD_CLOEXEC);
    ck_assert_int_eq(pipe(pipes), 0);
    pid_t pid = fork();
    if (pid == 0) {
        char byte;
        (void)close(pipes[1]);
        _exit(read(pipes[0], &byte, 1) == 0 ? 0 : 1); /* until the parent has closed its end */
    }
    otok_private_file_unlock(lock);
    ok(otok_private_file_lock(path, &again, &err));
    otok_private_file_unlock(again);
    (void)close(pipes[1]);
    ck_assert_int_eq(waitpid(pid, NULL, 0), pid);
}
END_TEST

/* Of another user, as root's would be: whose file the lock would be is not for us to decide. */
START_TEST(change_of_a_file_that_is_not_ours_leaves_no_lock)
{
    otok_key_change change = step(OTOK_KEY_STEP_ADD, OTOK_KEY_TOKEN, NULL);
    save_new(NULL);
    ck_assert_int_eq(chmod(path, 0640), 0);
    assert_fails(otok_keyring_change_file(path, NULL, &change, NULL, &err), OTOK_E_PERMISSION, "mode 0640");
    ck_assert_int_ne(access(lock_path, F_OK), 0);
}
END_TEST

/* ---- many at once ---- */

enum { CREW = 6, ADDS = 5 };

typedef struct race {
    char kid[CREW][ADDS][OTOK_KID_CHARS + 1];
    const char *token_keys_path;
} race;

/* The odd ones add signing keys, the even ones MAC keys. */
static int32_t use_of(size_t i)
{
    return i % 2 == 1 ? OTOK_KEY_SIGNING : OTOK_KEY_TOKEN;
}

static void add_keys(void *arg, size_t i)
{
    race *r = arg;
    for (size_t k = 0; k < ADDS; k++) {
        otok_error mine;
        otok_keyring *keyring;
        otok_key_change change = step(OTOK_KEY_STEP_ADD, use_of(i), NULL);
        int rc = otok_keyring_change_file(path, r->token_keys_path, &change, &keyring, &mine);
        if (rc != OTOK_OK)
            test_leave(mine.message, rc);
        memcpy(r->kid[i][k],
               use_of(i) == OTOK_KEY_SIGNING ? keyring->signing[keyring->nsigning - 1].kid
                                             : keyring->token[keyring->ntoken - 1].kid,
               sizeof r->kid[i][k]);
        otok_keyring_free(keyring);
    }
}

static void assert_nothing_was_lost(const race *r)
{
    otok_keyring *keyring = load(r->token_keys_path);
    otok_key_list *list;
    ok(otok_keyring_keys(keyring, &list, &err));
    ck_assert_uint_eq(list->count, 2 + CREW * ADDS);
    for (size_t i = 0; i < CREW; i++) {
        for (size_t k = 0; k < ADDS; k++) {
            size_t found = 0;
            for (size_t at = 0; at < list->count; at++)
                found += list->keys[at]->use == use_of(i) && strcmp(list->keys[at]->kid, r->kid[i][k]) == 0;
            ck_assert_uint_eq(found, 1);
        }
    }
    otok_key_list_free(list);
    otok_keyring_free(keyring);
}

/* K3 */
START_TEST(processes_that_add_keys_at_once_lose_none)
{
    race *r = test_shared(sizeof *r);
    r->token_keys_path = _i == 0 ? NULL : token_path;
    save_new(r->token_keys_path);
    test_processes(CREW, add_keys, r);
    assert_nothing_was_lost(r);
    test_unshare(r, sizeof *r);
}
END_TEST

/* K3 */
START_TEST(threads_that_add_keys_at_once_lose_none)
{
    static race r;
    r.token_keys_path = _i == 0 ? NULL : token_path;
    save_new(r.token_keys_path);
    test_threads(CREW, add_keys, &r);
    assert_nothing_was_lost(&r);
}
END_TEST

static void add_mac_keys(void *arg, size_t i)
{
    char other[4300];
    (void)arg;
    (void)snprintf(other, sizeof other, "%s/other.json", folder);
    for (size_t k = 0; k < ADDS; k++) {
        otok_error mine;
        otok_key_change change = step(OTOK_KEY_STEP_ADD, OTOK_KEY_TOKEN, NULL);
        int rc = otok_keyring_change_file(i % 2 == 0 ? path : other, token_path, &change, NULL, &mine);
        if (rc != OTOK_OK)
            test_leave(mine.message, rc);
    }
}

/* K3, K6: two issuers with signing keys of their own, and MAC keys in one file. */
START_TEST(keyrings_that_share_their_mac_keys_lose_none)
{
    char other[4300];
    (void)snprintf(other, sizeof other, "%s/other.json", folder);
    save_new(token_path);
    otok_keyring *keyring = load(token_path);
    ok(otok_keyring_save(keyring, other, token_path, &err));
    otok_keyring_free(keyring);
    test_processes(CREW, add_mac_keys, NULL);
    keyring = load(token_path);
    ck_assert_uint_eq(keyring->ntoken, 1 + CREW * ADDS);
    otok_keyring_free(keyring);
}
END_TEST

/* Adds and drops, until it is killed. */
static void rotate_for_ever(const char *token_keys_path)
{
    for (;;) {
        for (int32_t use = OTOK_KEY_SIGNING; use <= OTOK_KEY_TOKEN; use++) {
            otok_key_change change = step(OTOK_KEY_STEP_ADD, use, NULL);
            otok_keyring *keyring;
            if (otok_keyring_change_file(path, token_keys_path, &change, &keyring, NULL) != OTOK_OK)
                _exit(1);
            change = step(OTOK_KEY_STEP_DROP, use,
                          use == OTOK_KEY_SIGNING ? keyring->signing[keyring->nsigning - 1].kid
                                                  : keyring->token[keyring->ntoken - 1].kid);
            if (otok_keyring_change_file(path, token_keys_path, &change, NULL, NULL) != OTOK_OK)
                _exit(1);
            otok_keyring_free(keyring);
        }
    }
}

enum { KILLS = 60, TOO_MANY = 40 };

/* The keys that a kill between ADD and DROP left. */
static void drop_the_rest(const char *token_keys_path)
{
    otok_keyring *keyring = load(token_keys_path);
    for (size_t i = 1; keyring->nsigning > TOO_MANY && i < keyring->nsigning; i++)
        otok_keyring_free(
            change_file(token_keys_path, step(OTOK_KEY_STEP_DROP, OTOK_KEY_SIGNING, keyring->signing[i].kid)));
    for (size_t i = 1; keyring->ntoken > TOO_MANY && i < keyring->ntoken; i++)
        otok_keyring_free(
            change_file(token_keys_path, step(OTOK_KEY_STEP_DROP, OTOK_KEY_TOKEN, keyring->token[i].kid)));
    otok_keyring_free(keyring);
}

/* K4: the file is whole, the active keys are those of before, and nobody waits for the dead. */
START_TEST(killed_while_changing_leaves_a_whole_keyring_and_no_lock)
{
    const char *token_keys_path = _i == 0 ? NULL : token_path;
    uint32_t seed = 12345;
    int status;
    save_new(token_keys_path);
    otok_keyring *first = load(token_keys_path);
    for (int round = 0; round < KILLS; round++) {
        pid_t pid = fork();
        if (pid == 0)
            rotate_for_ever(token_keys_path);
        seed = seed * 1103515245 + 12345;
        (void)usleep(seed >> 16 & 8191);
        ck_assert_int_eq(kill(pid, SIGKILL), 0);
        ck_assert_int_eq(waitpid(pid, &status, 0), pid);
        ck_assert(WIFSIGNALED(status));
        otok_keyring *again = load(token_keys_path);
        ck_assert_str_eq(otok_keyring_signing(again)->kid, otok_keyring_signing(first)->kid);
        ck_assert_str_eq(otok_keyring_token(again)->kid, otok_keyring_token(first)->kid);
        otok_keyring_free(again);
        drop_the_rest(token_keys_path);
        otok_keyring_free(
            change_file(token_keys_path, step(OTOK_KEY_STEP_ACTIVATE, OTOK_KEY_TOKEN, otok_keyring_token(first)->kid)));
    }
    otok_keyring_free(first);
}
END_TEST

/* ---- reading again ---- */

static void assert_changed(const otok_keyring *keyring, otok_keyring **again)
{
    ok(otok_keyring_reload(keyring, again, &err));
    ck_assert_ptr_nonnull(*again);
    ck_assert(!otok_keyring_same(keyring, *again));
    assert_unchanged(*again);
}

/* K3 */
START_TEST(reload_reads_what_has_changed_and_nothing_else)
{
    save_new(token_path);
    otok_keyring *keyring = load(token_path), *again;
    assert_unchanged(keyring);
    for (int32_t use = OTOK_KEY_SIGNING; use <= OTOK_KEY_TOKEN; use++) { /* either file */
        otok_key_change change = step(OTOK_KEY_STEP_ADD, use, NULL);
        ok(otok_keyring_change_file(path, token_path, &change, NULL, &err));
        assert_changed(keyring, &again);
        otok_keyring_free(keyring);
        keyring = again;
    }
    ok(otok_keyring_save(keyring, path, token_path, &err)); /* another file, the same keys */
    ok(otok_keyring_reload(keyring, &again, &err));
    ck_assert(otok_keyring_same(keyring, again));
    otok_keyring_free(again);
    otok_keyring_free(keyring);
}
END_TEST

/* Restored from a backup, over the old one, with the old one's size and time. */
START_TEST(file_written_in_place_with_its_old_time_has_changed)
{
    otok_keyring *again;
    struct stat before, now;
    save_new(NULL);
    otok_keyring *keyring = load(NULL);
    int fd = open(path, O_RDWR);
    ck_assert_int_eq(fstat(fd, &before), 0);
    do { /* until the clock of the file system has moved */
        const struct timespec times[] = {before.st_atim, before.st_mtim};
        ck_assert_int_eq(futimens(fd, times), 0);
        ck_assert_int_eq(fstat(fd, &now), 0);
    } while (now.st_ctim.tv_sec == before.st_ctim.tv_sec && now.st_ctim.tv_nsec == before.st_ctim.tv_nsec);
    ok(otok_keyring_reload(keyring, &again, &err));
    ck_assert_ptr_nonnull(again);
    (void)close(fd);
    otok_keyring_free(again);
    otok_keyring_free(keyring);
}
END_TEST

START_TEST(reload_of_a_file_that_is_gone_or_damaged_fails)
{
    save_new(NULL);
    otok_keyring *keyring = load(NULL), *again = (otok_keyring *)1;
    ck_assert_int_eq(truncate(path, 10), 0); /* in place, as no careful program would */
    assert_fails(otok_keyring_reload(keyring, &again, &err), OTOK_E_FORMAT, path);
    ck_assert_ptr_null(again);
    ck_assert_int_eq(unlink(path), 0);
    assert_fails(otok_keyring_reload(keyring, &again, &err), OTOK_E_NOT_FOUND, path);
    save_new(NULL);
    ok(otok_keyring_reload(keyring, &again, &err));
    ck_assert_ptr_nonnull(again);
    otok_keyring_free(again);
    otok_keyring_free(keyring);
}
END_TEST

START_TEST(keyring_of_no_file_is_not_reloaded)
{
    otok_keyring *keyring, *changed, *again = (otok_keyring *)1;
    otok_key_change change = step(OTOK_KEY_STEP_ADD, OTOK_KEY_TOKEN, NULL);
    ok(otok_keyring_generate(OTOK_ALG_EDDSA, &keyring, &err));
    assert_fails(otok_keyring_reload(keyring, &again, &err), OTOK_E_UNSUPPORTED, "no file");
    ck_assert_ptr_null(again);
    ok(otok_keyring_save(keyring, path, NULL, &err));
    otok_keyring_free(keyring);
    keyring = load(NULL);
    ok(otok_keyring_change(keyring, &change, &changed, &err)); /* not what is in the file */
    assert_fails(otok_keyring_reload(changed, &again, &err), OTOK_E_UNSUPPORTED, "no file");
    otok_keyring_free(keyring);
    otok_keyring_free(changed);
}
END_TEST

START_TEST(keyring_that_was_opened_knows_its_file)
{
    otok_keyring *made, *read;
    ok(otok_keyring_open(path, OTOK_ALG_EDDSA, &made, &err));
    ok(otok_keyring_open(path, OTOK_ALG_EDDSA, &read, &err));
    assert_unchanged(made);
    assert_unchanged(read);
    otok_keyring_free(read);
    otok_keyring_free(change_file(NULL, step(OTOK_KEY_STEP_ADD, OTOK_KEY_TOKEN, NULL)));
    assert_changed(made, &read);
    otok_keyring_free(made);
    otok_keyring_free(read);
}
END_TEST

/* A server that becomes a daemon goes to "/" after it has read its keys. */
START_TEST(relative_path_is_found_again_from_elsewhere)
{
    otok_keyring *keyring, *changed;
    save_new(token_path);
    ck_assert_int_eq(chdir(folder), 0);
    ok(otok_keyring_load("keyring.json", "./token-keys.json", &keyring, &err));
    ck_assert_int_eq(chdir("/"), 0);
    assert_unchanged(keyring);
    otok_keyring_free(change_file(token_path, step(OTOK_KEY_STEP_ADD, OTOK_KEY_TOKEN, NULL)));
    assert_changed(keyring, &changed);
    otok_keyring_free(keyring);
    otok_keyring_free(changed);
}
END_TEST

/* A stamp that could not be taken is no file's: the file is read once more. */
START_TEST(file_whose_stamp_is_unknown_is_read_again)
{
    otok_file_stamp stamp;
    static const char text[] = "text";
    failing.fstat_errno = EIO;
    ok(otok_private_file_write(path, (otok_str){text, 4}, true, &stamp, &err));
    failing.fstat_errno = 0;
    ck_assert(!otok_private_file_is(path, &stamp));
    ok(otok_private_file_write(path, (otok_str){text, 4}, true, &stamp, &err));
    ck_assert(otok_private_file_is(path, &stamp));
}
END_TEST

START_TEST(folder_whose_name_is_too_long_is_not_synced)
{
    static char name[5000];
    memset(name, '/', sizeof name - 2);
    name[sizeof name - 2] = 'k';
    ck_assert_int_eq(otok_folder_sync(name, &err), OTOK_E_IO);
    ck_assert_int_eq(err.system_errno, ENAMETOOLONG);
    assert_fails(otok_folder_sync("/no/such/folder/file", &err), OTOK_E_NOT_FOUND, "/no/such/folder/");
    ok(otok_folder_sync("/tmp/", &err));
}
END_TEST

/* ---- out of memory ---- */

static int load_both(otok_keyring **out)
{
    return otok_keyring_load(path, token_path, out, &err);
}

static int add_token(otok_keyring **out)
{
    otok_key_change change = step(OTOK_KEY_STEP_ADD, OTOK_KEY_TOKEN, NULL);
    return otok_keyring_change_file(path, token_path, &change, out, &err);
}

static int add_signing(otok_keyring **out)
{
    otok_key_change change = step(OTOK_KEY_STEP_ADD, OTOK_KEY_SIGNING, NULL);
    return otok_keyring_change_file(path, token_path, &change, out, &err);
}

/* Each allocation of ours fails once: then the step was not taken. */
START_TEST(file_call_without_memory_fails_and_can_be_tried_again)
{
    static int (*const calls[])(otok_keyring **) = {load_both, add_token, add_signing};
    save_new(token_path);
    otok_keyring *before = load(token_path);
    int rc = OTOK_E_NOMEM;
    for (shortage.k = 1; rc != OTOK_OK; shortage.k++) {
        otok_keyring *out = (otok_keyring *)1, *after;
        shortage.count = 0;
        shortage.armed = true;
        rc = calls[_i](&out);
        shortage.armed = false;
        ck_assert_msg(rc == OTOK_OK || (rc == OTOK_E_NOMEM && out == NULL), "allocation %llu: %s %s",
                      (unsigned long long)shortage.k, otok_error_name(rc), err.message);
        after = load(token_path);
        ck_assert(otok_keyring_same(rc == OTOK_OK ? out : before, after));
        otok_keyring_free(after);
        if (rc == OTOK_OK)
            otok_keyring_free(out);
    }
    ck_assert_uint_gt(shortage.k, 5);
    otok_keyring_free(before);
}
END_TEST

static void add_tests(TCase *tcase)
{
    tcase_add_checked_fixture(tcase, make_folder, remove_folder);
    tcase_add_loop_test(tcase, rotation_of_a_file_is_what_is_read_afterwards, 0, 2);
    tcase_add_test(tcase, of_two_files_only_the_one_that_changed_is_written);
    tcase_add_test(tcase, active_key_that_is_activated_leaves_the_file_alone);
    tcase_add_test(tcase, external_key_comes_into_a_file_and_out_of_it);
    tcase_add_test(tcase, change_that_fails_leaves_file_and_lock_as_they_were);
    tcase_add_test(tcase, step_that_cannot_be_written_is_not_taken);
    tcase_add_test(tcase, failures_of_the_disk_are_told);
    tcase_add_test(tcase, two_names_of_one_file_are_refused);
    tcase_add_test(tcase, change_of_a_file_that_is_not_ours_leaves_no_lock);
    tcase_add_test(tcase, lock_that_is_not_ours_alone_is_refused);
    tcase_add_test(tcase, lock_is_private_whatever_the_umask);
    tcase_add_test(tcase, lock_survives_signals_and_tells_of_failures);
    tcase_add_test(tcase, lock_is_given_back_though_a_child_has_it_too);
    tcase_add_loop_test(tcase, processes_that_add_keys_at_once_lose_none, 0, 2);
    tcase_add_loop_test(tcase, threads_that_add_keys_at_once_lose_none, 0, 2);
    tcase_add_test(tcase, keyrings_that_share_their_mac_keys_lose_none);
    tcase_add_loop_test(tcase, killed_while_changing_leaves_a_whole_keyring_and_no_lock, 0, 2);
    tcase_add_test(tcase, reload_reads_what_has_changed_and_nothing_else);
    tcase_add_test(tcase, file_written_in_place_with_its_old_time_has_changed);
    tcase_add_test(tcase, reload_of_a_file_that_is_gone_or_damaged_fails);
    tcase_add_test(tcase, keyring_of_no_file_is_not_reloaded);
    tcase_add_test(tcase, keyring_that_was_opened_knows_its_file);
    tcase_add_test(tcase, relative_path_is_found_again_from_elsewhere);
    tcase_add_test(tcase, file_whose_stamp_is_unknown_is_read_again);
    tcase_add_test(tcase, folder_whose_name_is_too_long_is_not_synced);
    tcase_add_loop_test(tcase, file_call_without_memory_fails_and_can_be_tried_again, 0, 3);
}

int main(void)
{
    return test_main("keyring_change_file", add_tests);
}
