/*
 * check_lmdb_faults.c - the LMDB store on a disk that is full or fails, and beside readers that were killed (S4, R8).
 *
 * The system calls below stand before those of libc for LMDB too, and fail when a test says so.
 *
 * SPDX-License-Identifier: MIT
 */
#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#include "store/lmdb.h"
#include "support/crew.h"
#include "support/fixture.h"
#include "support/raw.h"

#ifdef OTOK_HAVE_LMDB

/* ---------------------------------------------------------------------------------------------------- faults */

enum { META_PAGES = 2 * 4096, SMALLEST_PAGE = 512 };

/* Each is the errno that the next calls of its sort fail with, as many as `times` says. */
static struct {
    int data, meta, sync, allocate; /* writes of pages, writes of the meta page, fdatasync, fallocate */
    int times;
    bool shortly; /* a write of pages writes less than it should */
} fault;

static void forget_faults(void)
{
    memset(&fault, 0, sizeof fault);
}

static bool strikes(int code)
{
    if (code == 0 || fault.times == 0)
        return false;
    fault.times--;
    errno = code;
    return true;
}

#define SEEN __attribute__((__visibility__("default"))) /* by liblmdb.so */

/* LMDB writes pages whole, and of the meta page a part. */
SEEN ssize_t pwrite(int fd, const void *data, size_t len, off_t offset)
{
    bool meta = offset < META_PAGES && len < SMALLEST_PAGE;
    if (strikes(meta ? fault.meta : fault.data))
        return -1;
    if (!meta && fault.shortly)
        len /= 2;
    return syscall(SYS_pwrite64, fd, data, len, offset);
}

SEEN ssize_t writev(int fd, const struct iovec *parts, int n)
{
    if (strikes(fault.data))
        return -1;
    return syscall(SYS_writev, fd, parts, fault.shortly ? n / 2 : n);
}

SEEN int fdatasync(int fd)
{
    return strikes(fault.sync) ? -1 : (int)syscall(SYS_fdatasync, fd);
}

SEEN int fallocate(int fd, int mode, off_t offset, off_t len)
{
    return strikes(fault.allocate) ? -1 : (int)syscall(SYS_fallocate, fd, mode, offset, len);
}

/* ---------------------------------------------------------------------------------------------------- each test */

static char *folder;
static char path[4096];

static void set_up(void)
{
    forget_faults();
    folder = test_new_folder();
    (void)snprintf(path, sizeof path, "%s/store", folder);
}

static void tear_down(void)
{
    (void)umount2(folder, MNT_DETACH); /* what mount_small() mounted, if it did */
    test_remove_folder(folder);
}

static void still_works(otok_store *store)
{
    forget_faults();
    ck_assert_uint_eq(test_raw_version(store, 1), 1);
    test_assert_code(OTOK_OK, test_raw_head(store, 1, 1));
    test_assert_code(OTOK_OK, test_raw_insert(store, 3, 5000));
    ck_assert_uint_eq(test_raw_version(store, 1), 2);
    ck_assert_uint_eq(test_raw_version(store, 3), 1);
    otok_store_close(store);
    store = test_open_lmdb(path, NULL);
    ck_assert_uint_eq(test_raw_version(store, 1), 2);
    ck_assert_uint_eq(test_raw_version(store, 3), 1);
    otok_store_close(store);
}

/* Inserts record 2 under the fault, with a body of many pages or of one; gives its result. */
static int insert_2(otok_store *store, size_t body_len, otok_error *err)
{
    otok_record record = test_raw_record(2, OTOK_RECORD_SESSION, 1, body_len);
    return test_raw_write(store, OTOK_WRITE_INSERT, 0, &record, err);
}

static otok_store *store_with_1(void)
{
    otok_store *store = test_open_lmdb(path, NULL);
    test_assert_code(OTOK_OK, test_raw_insert(store, 1, 3000));
    return store;
}

/* ------------------------------------------------------------------------------------------------ commits that fail */

static const struct {
    const char *name;
    int data, meta, sync, result;
} failures[] = {
    {"a page", EIO, 0, 0, OTOK_E_UNCERTAIN},         {"the sync", 0, 0, EIO, OTOK_E_UNCERTAIN},
    {"the meta page", 0, EIO, 0, OTOK_E_UNCERTAIN},  {"the meta page, full", 0, ENOSPC, 0, OTOK_E_UNCERTAIN},
    {"a page, full", ENOSPC, 0, 0, OTOK_E_FULL},     {"a page, quota", EDQUOT, 0, 0, OTOK_E_FULL},
    {"the sync, full", 0, 0, ENOSPC, OTOK_E_FULL},   {"a page, interrupted", EINTR, 0, 0, OTOK_OK},
    {"the sync, interrupted", 0, 0, EINTR, OTOK_OK}, {"the meta page, interrupted", 0, EINTR, 0, OTOK_OK},
};

START_TEST(a_commit_that_fails_says_what_is_certain_and_the_store_works_on)
{
    for (size_t body_len = 10; body_len <= 60000; body_len += 59990) {
        otok_error err;
        otok_store *store = store_with_1();
        fault.data = failures[_i].data;
        fault.meta = failures[_i].meta;
        fault.sync = failures[_i].sync;
        fault.times = 1;
        int rc = insert_2(store, body_len, &err);
        ck_assert_msg(rc == failures[_i].result, "%s: %s, %s", failures[_i].name, otok_error_name(rc), err.message);
        ck_assert_int_eq(fault.times, 0);
        if (rc != OTOK_OK) {
            int code = failures[_i].data + failures[_i].meta + failures[_i].sync;
            ck_assert_int_eq(err.system_errno, code);
            ck_assert_uint_eq(test_raw_version(store, 2), 0); /* the old meta page counts */
            test_assert_code(OTOK_OK, insert_2(store, body_len, NULL));
        }
        still_works(store);
        ck_assert_int_eq(unlink(strcat(strcpy((char[4200]){0}, path), "/data.mdb")), 0);
    }
}
END_TEST

START_TEST(every_group_of_a_failed_commit_is_uncertain)
{
    enum { N = 8 };
    otok_record records[N];
    otok_write writes[N];
    otok_group groups[N];
    otok_store *store = store_with_1();
    for (uint32_t i = 0; i < N; i++) {
        records[i] = test_raw_record(10 + i, OTOK_RECORD_SESSION, 1, 10);
        writes[i] = (otok_write){.op = OTOK_WRITE_INSERT, .record = &records[i]};
        groups[i] = (otok_group){.writes = &writes[i], .n = 1};
    }
    fault.meta = EIO;
    fault.times = 1;
    test_assert_code(OTOK_OK, otok_store_commit(store, groups, N, NULL));
    for (uint32_t i = 0; i < N; i++)
        test_assert_code(OTOK_E_UNCERTAIN, groups[i].result);
    still_works(store);
}
END_TEST

START_TEST(a_short_write_is_uncertain_where_the_disk_has_room)
{
    otok_store *store = store_with_1();
    fault.shortly = true;
    test_assert_code(OTOK_E_UNCERTAIN, insert_2(store, 60000, NULL));
    fault.shortly = false;
    ck_assert_uint_eq(test_raw_version(store, 2), 0);
    still_works(store);
}
END_TEST

/* The environment is opened anew after a failure; when that fails too, it is tried at the next call. */
START_TEST(a_store_that_cannot_be_opened_anew_is_tried_again_later)
{
    struct rlimit was, none;
    otok_store *store = store_with_1();
    ck_assert_int_eq(getrlimit(RLIMIT_NOFILE, &was), 0);
    none = was;
    none.rlim_cur = 0;
    fault.meta = EIO;
    fault.times = 1;
    ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &none), 0);
    int first = insert_2(store, 10, NULL);
    int second = insert_2(store, 10, NULL);
    otok_id id = test_raw_id(1);
    int read = otok_store_fetch(store, &id, 1, 0, (otok_emit)(void (*)(void))abort, NULL, NULL);
    ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &was), 0);
    test_assert_code(OTOK_E_UNCERTAIN, first);
    test_assert_code(OTOK_E_IO, second);
    test_assert_code(OTOK_E_IO, read);
    still_works(store);
}
END_TEST

typedef struct reading {
    otok_store *store;
    bool ended;
    int failed;
} reading;

static int same_record(void *arg, const otok_record *record)
{
    (void)record;
    ++*(int *)arg;
    return 0;
}

static void fail_or_read(void *arg, size_t i)
{
    reading *r = arg;
    otok_id id = test_raw_id(1);
    if (i > 0) {
        while (!__atomic_load_n(&r->ended, __ATOMIC_ACQUIRE)) {
            int found = 0;
            int rc = otok_store_fetch(r->store, &id, 1, 0, same_record, &found, NULL);
            if (rc != OTOK_OK || found != 1)
                __atomic_store_n(&r->failed, rc != OTOK_OK ? rc : OTOK_E_NOT_FOUND, __ATOMIC_RELAXED);
        }
        return;
    }
    for (uint32_t round = 0; round < 50; round++) {
        fault.times = 1;
        if (insert_2(r->store, 10, NULL) != OTOK_E_UNCERTAIN)
            __atomic_store_n(&r->failed, OTOK_E_STATE, __ATOMIC_RELAXED);
    }
    __atomic_store_n(&r->ended, true, __ATOMIC_RELEASE);
}

START_TEST(readers_go_on_while_commits_fail_and_the_store_is_opened_anew)
{
    reading r = {.store = store_with_1()};
    fault.meta = EIO;
    test_threads(5, fail_or_read, &r);
    test_assert_code(OTOK_OK, r.failed);
    still_works(r.store);
}
END_TEST

/* ---------------------------------------------------------------------------------------------------- no room */

START_TEST(without_room_new_sessions_are_refused_and_what_ends_them_is_not)
{
    otok_error err;
    otok_record cutoff = test_raw_record(9, OTOK_RECORD_CUTOFF, 1, 20);
    otok_record gone = test_raw_record(4, OTOK_RECORD_TOMBSTONE, 2, 0);
    otok_store *store = store_with_1();
    for (uint32_t i = 4; i < 400; i++)
        test_assert_code(OTOK_OK, test_raw_insert(store, i * 10, 3000));
    test_assert_code(OTOK_OK, test_raw_insert(store, 4, 3000));

    fault.allocate = ENOSPC;
    fault.times = -1; /* from now on */
    int rc;
    uint32_t n = 5000;
    while ((rc = test_raw_insert(store, n, 30000)) == OTOK_OK) /* what was kept in reserve is not for these */
        ck_assert_uint_lt(++n, 5100);
    test_assert_code(OTOK_E_FULL, rc);
    test_assert_code(OTOK_E_FULL, insert_2(store, 10, &err));
    ck_assert_int_eq(err.system_errno, ENOSPC);
    test_assert_code(OTOK_OK, test_raw_delete(store, 50, 1));
    test_assert_code(OTOK_OK, test_raw_head(store, 60, 1));
    test_assert_code(OTOK_OK, test_raw_write(store, OTOK_WRITE_INSERT, 0, &cutoff, NULL));
    test_assert_code(OTOK_OK, test_raw_write(store, OTOK_WRITE_PUT, 1, &gone, NULL));
    ck_assert_uint_eq(test_raw_version(store, 50), 0);
    still_works(store);
}
END_TEST

START_TEST(a_file_system_without_reservations_is_none_the_worse)
{
    fault.allocate = EOPNOTSUPP;
    fault.times = -1;
    otok_store *store = test_open_lmdb(path, NULL); /* lock.mdb gets its blocks otherwise */
    struct stat st;
    char file[4200];
    (void)snprintf(file, sizeof file, "%s/lock.mdb", path);
    ck_assert_int_eq(stat(file, &st), 0);
    ck_assert_int_ge(st.st_blocks * 512, 4096 * 64);
    test_assert_code(OTOK_OK, test_raw_insert(store, 1, 3000));
    still_works(store);
}
END_TEST

/* A file system of its own, in memory; false where that is not allowed. */
static bool mount_small(const char *size)
{
    char options[64];
    (void)snprintf(options, sizeof options, "size=%s,mode=0700", size);
    if (mount("none", folder, "tmpfs", 0, options) == 0)
        return true;
    ck_assert_msg(errno == EPERM || errno == EACCES, "mount: %s", strerror(errno));
    (void)fprintf(stderr, "not tested: this user may not mount a file system\n");
    return false;
}

static void fill_up(void)
{
    static const char zeroes[4096];
    char file[4200];
    (void)snprintf(file, sizeof file, "%s/ballast", folder);
    int fd = open(file, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    ck_assert_int_ge(fd, 0);
    while (write(fd, zeroes, sizeof zeroes) == (ssize_t)sizeof zeroes)
        ;
    while (write(fd, zeroes, 1) == 1)
        ;
    (void)close(fd);
}

static void free_ballast(void)
{
    char file[4200];
    (void)snprintf(file, sizeof file, "%s/ballast", folder);
    ck_assert_int_eq(unlink(file), 0);
}

START_TEST(making_a_store_on_a_full_disk_is_full_and_no_signal)
{
    if (!mount_small("300k"))
        return;
    otok_store *store = NULL;
    fill_up();
    for (int room = 0; room < 80; room++) { /* each time it gets a page further */
        otok_error err;
        int rc = otok_store_open_lmdb(path, NULL, &store, &err);
        if (rc == OTOK_OK)
            break;
        ck_assert_msg(rc == OTOK_E_FULL, "%s, %s", otok_error_name(rc), err.message);
        char file[4200];
        (void)snprintf(file, sizeof file, "%s/ballast", folder);
        struct stat st;
        ck_assert_int_eq(stat(file, &st), 0);
        ck_assert_int_eq(truncate(file, st.st_size > 4096 ? st.st_size - 4096 : 0), 0);
    }
    free_ballast();
    otok_store_close(store);
}
END_TEST

START_TEST(on_a_full_disk_revocation_works_and_room_that_is_made_is_used)
{
    if (!mount_small("8m"))
        return;
    otok_store *store = test_open_lmdb(path, NULL);
    uint32_t n = 0;
    while (n < 50) /* so that the reserve is used up while it is filled */
        test_assert_code(OTOK_OK, test_raw_insert(store, n++, 3000));
    fill_up();
    int rc;
    while ((rc = test_raw_insert(store, n, 3000)) == OTOK_OK)
        ck_assert_uint_lt(++n, 5000);
    test_assert_code(OTOK_E_FULL, rc);
    ck_assert_uint_eq(test_raw_version(store, n), 0);
    for (uint32_t i = 0; i < n; i += 2)
        test_assert_code(OTOK_OK, test_raw_delete(store, i, 1));
    otok_store_close(store);
    store = test_open_lmdb(path, NULL); /* opening on a full disk */
    for (uint32_t i = 1; i < n; i += 4)
        test_assert_code(OTOK_OK, test_raw_delete(store, i, 1));
    for (uint32_t i = 0; i < n; i++)
        ck_assert_uint_eq(test_raw_version(store, i), i % 4 == 3 ? 1 : 0);
    free_ballast();
    test_assert_code(OTOK_OK, test_raw_insert(store, n, 3000));
    ck_assert_uint_eq(test_raw_version(store, n), 1);
    otok_store_close(store);
}
END_TEST

/* Without the reserve, which some file systems do not give: LMDB itself meets the end of the disk. */
START_TEST(a_disk_that_fills_up_in_a_commit_is_full_and_nothing_of_it_is_there)
{
    if (!mount_small("4m"))
        return;
    otok_store *store = store_with_1();
    fault.allocate = EOPNOTSUPP;
    fault.times = -1;
    uint32_t n = 100;
    int rc;
    while ((rc = test_raw_insert(store, n, 30000)) == OTOK_OK)
        ck_assert_uint_lt(++n, 5000);
    test_assert_code(OTOK_E_FULL, rc);
    ck_assert_uint_eq(test_raw_version(store, n), 0);
    ck_assert_uint_eq(test_raw_count(store), n - 99);
    test_assert_code(OTOK_OK, test_raw_delete(store, 100, 1));
    test_assert_code(OTOK_OK, test_raw_delete(store, 101, 1));
    test_assert_code(OTOK_OK, test_raw_delete(store, 102, 1));
    test_assert_code(OTOK_OK, test_raw_insert(store, n, 30000)); /* what was deleted has made room */
    otok_store_close(store);
}
END_TEST

/* ---------------------------------------------------------------------------------------------------- readers */

/* Opens the store with LMDB itself and reads; dies with the snapshot open. */
static void die_reading(void)
{
    MDB_env *env;
    MDB_txn *txn;
    if (mdb_env_create(&env) != 0 || mdb_env_open(env, path, MDB_RDONLY, 0600) != 0 ||
        mdb_txn_begin(env, NULL, MDB_RDONLY, &txn) != 0)
        _exit(1);
    (void)kill(getpid(), SIGKILL);
}

START_TEST(the_place_of_a_killed_reader_is_freed)
{
    otok_lmdb_options options;
    otok_lmdb_options_init(&options, sizeof options);
    options.max_readers = 4;
    otok_store *store = test_open_lmdb(path, &options);
    test_assert_code(OTOK_OK, test_raw_insert(store, 1, 10));
    for (int i = 0; i < 20; i++) {
        int status;
        pid_t pid = fork();
        ck_assert_int_ge(pid, 0);
        if (pid == 0)
            die_reading();
        ck_assert_int_eq(waitpid(pid, &status, 0), pid);
        ck_assert_msg(WIFSIGNALED(status) || i >= 4, "the reader did not get as far as being killed");
    }
    ck_assert_uint_eq(test_raw_version(store, 1), 1); /* finds the table full, and then not */
    otok_store_close(store);
}
END_TEST

/* Somebody has it open who neither reads nor writes, so that nobody but the one who opens it can clear the table. */
START_TEST(a_table_full_of_killed_readers_does_not_keep_anybody_from_opening)
{
    otok_lmdb_options options;
    otok_lmdb_options_init(&options, sizeof options);
    options.max_readers = 4;
    otok_store *store = test_open_lmdb(path, &options);
    test_assert_code(OTOK_OK, test_raw_insert(store, 1, 10));
    for (int i = 0; i < 8; i++) {
        pid_t pid = fork();
        ck_assert_int_ge(pid, 0);
        if (pid == 0)
            die_reading();
        ck_assert_int_eq(waitpid(pid, NULL, 0), pid);
    }
    int status;
    pid_t pid = fork();
    ck_assert_int_ge(pid, 0);
    if (pid == 0) {
        otok_store *own;
        otok_error err = {0};
        int rc = otok_store_open_lmdb(path, &options, &own, &err);
        if (rc != OTOK_OK)
            fprintf(stderr, "%s\n", err.message);
        bool good = rc == OTOK_OK && test_raw_version(own, 1) == 1;
        otok_store_close(own);
        test_leave_child(good);
    }
    ck_assert_int_eq(waitpid(pid, &status, 0), pid);
    ck_assert_int_eq(status, 0);
    otok_store_close(store);
}
END_TEST

/* ---------------------------------------------------------------------------------------------------- a damaged page */

/* Makes branch pages of the records name a page that is not there; the id of a record that cannot be reached then. */
static void lose_a_page(otok_id *lost)
{
    enum { PAGE = 4096, FLAGS_AT = 10, LOWER_AT = 12, NODES_AT = 16, BRANCH = 1, KEY_AT = 8, ID_SIZE = 16 };
    uint8_t page[PAGE];
    uint16_t flags, lower, at, key_size;
    bool found = false;
    char file[4200];
    (void)snprintf(file, sizeof file, "%s/data.mdb", path);
    int fd = open(file, O_RDWR | O_CLOEXEC);
    ck_assert_int_ge(fd, 0);
    for (off_t where = 0; syscall(SYS_pread64, fd, page, sizeof page, where) == PAGE; where += PAGE) {
        memcpy(&flags, page + FLAGS_AT, sizeof flags);
        memcpy(&lower, page + LOWER_AT, sizeof lower);
        if (flags != BRANCH || lower < NODES_AT + 3 * sizeof at)
            continue;
        memcpy(&at, page + NODES_AT + sizeof at, sizeof at); /* the second node: the first has no key */
        memcpy(&key_size, page + at + KEY_AT - sizeof key_size, sizeof key_size);
        if (key_size != ID_SIZE)
            continue;
        memcpy(lost->bytes, page + at + KEY_AT, ID_SIZE);
        memset(page + at, 0x7f, KEY_AT - sizeof key_size);
        ck_assert_int_eq(syscall(SYS_pwrite64, fd, page, sizeof page, where), PAGE);
        found = true;
    }
    (void)close(fd);
    ck_assert(found);
}

START_TEST(a_damaged_page_fails_those_who_need_it_alone)
{
    otok_store *store = test_open_lmdb(path, NULL);
    for (uint32_t i = 1; i <= 100; i++)
        test_assert_code(OTOK_OK, test_raw_insert(store, i, 300));
    otok_store_close(store);
    otok_record good = test_raw_record(100, OTOK_RECORD_SESSION, 2, 10), bad = good, better = good;
    better.version = 3;
    lose_a_page(&bad.id);

    store = test_open_lmdb(path, NULL);
    otok_write writes[3] = {{OTOK_WRITE_HEAD, 1, &good}, {OTOK_WRITE_HEAD, 1, &bad}, {OTOK_WRITE_HEAD, 2, &better}};
    otok_group groups[3] = {
        {.writes = &writes[0], .n = 1}, {.writes = &writes[1], .n = 1}, {.writes = &writes[2], .n = 1}};
    test_assert_code(OTOK_OK, otok_store_commit(store, groups, 3, NULL));
    test_assert_code(OTOK_OK, groups[0].result);
    test_assert_code(OTOK_E_FORMAT, groups[1].result);
    test_assert_code(OTOK_OK, groups[2].result);
    otok_store_close(store);
}
END_TEST

/* Somebody who stays inside a snapshot until told to leave. */
typedef struct sitter {
    otok_store *store;
    pthread_t thread;
    int code;
    otok_error err;
} sitter;

static pthread_mutex_t room = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t moved = PTHREAD_COND_INITIALIZER;
static int inside, refused;
static bool leave;

static int sit(void *arg, const otok_record *record)
{
    (void)arg;
    (void)record;
    pthread_mutex_lock(&room);
    inside++;
    pthread_cond_broadcast(&moved);
    while (!leave)
        pthread_cond_wait(&moved, &room);
    pthread_mutex_unlock(&room);
    return 0;
}

static void *come_in(void *arg)
{
    sitter *s = arg;
    otok_id id = test_raw_id(1);
    s->code = otok_store_fetch(s->store, &id, 1, 0, sit, NULL, &s->err);
    pthread_mutex_lock(&room);
    refused += s->code != OTOK_OK;
    pthread_cond_broadcast(&moved);
    pthread_mutex_unlock(&room);
    return NULL;
}

START_TEST(more_readers_than_there_are_places_are_busy_and_told_why)
{
    enum { MANY = 16 };
    sitter sitters[MANY];
    int n = 0;
    otok_lmdb_options options;
    otok_lmdb_options_init(&options, sizeof options);
    options.max_readers = 3;
    otok_store *store = test_open_lmdb(path, &options);
    test_assert_code(OTOK_OK, test_raw_insert(store, 1, 10));
    while (refused == 0) {
        ck_assert_int_lt(n, MANY);
        sitters[n] = (sitter){.store = store};
        ck_assert_int_eq(pthread_create(&sitters[n].thread, NULL, come_in, &sitters[n]), 0);
        n++;
        pthread_mutex_lock(&room);
        while (inside + refused < n)
            pthread_cond_wait(&moved, &room);
        pthread_mutex_unlock(&room);
    }
    ck_assert_int_ge(n, 4);
    test_assert_code(OTOK_E_BUSY, sitters[n - 1].code);
    ck_assert_msg(strstr(sitters[n - 1].err.message, "max_readers") != NULL, "%s", sitters[n - 1].err.message);
    pthread_mutex_lock(&room);
    leave = true;
    pthread_cond_broadcast(&moved);
    pthread_mutex_unlock(&room);
    for (int i = 0; i < n; i++)
        ck_assert_int_eq(pthread_join(sitters[i].thread, NULL), 0);
    ck_assert_uint_eq(test_raw_version(store, 1), 1);
    otok_store_close(store);
}
END_TEST

static void read_often(void *arg, size_t i)
{
    reading *r = arg;
    otok_id id = test_raw_id(1);
    (void)i;
    for (int n = 0; n < 200; n++) {
        int found = 0;
        int rc = otok_store_fetch(r->store, &id, 1, 0, same_record, &found, NULL);
        if (rc != OTOK_OK && rc != OTOK_E_BUSY)
            __atomic_store_n(&r->failed, rc, __ATOMIC_RELAXED);
    }
}

/* 300 threads, and 256 slots. */
START_TEST(more_threads_than_slots_read)
{
    reading r = {.store = store_with_1()};
    test_threads(300, read_often, &r);
    test_assert_code(OTOK_OK, r.failed);
    still_works(r.store);
}
END_TEST

static void add(TCase *tcase)
{
    tcase_add_checked_fixture(tcase, set_up, tear_down);
    tcase_add_loop_test(tcase, a_commit_that_fails_says_what_is_certain_and_the_store_works_on, 0,
                        (int)(sizeof failures / sizeof failures[0]));
    tcase_add_test(tcase, every_group_of_a_failed_commit_is_uncertain);
    tcase_add_test(tcase, a_short_write_is_uncertain_where_the_disk_has_room);
    tcase_add_test(tcase, a_store_that_cannot_be_opened_anew_is_tried_again_later);
    tcase_add_test(tcase, readers_go_on_while_commits_fail_and_the_store_is_opened_anew);
    tcase_add_test(tcase, without_room_new_sessions_are_refused_and_what_ends_them_is_not);
    tcase_add_test(tcase, a_file_system_without_reservations_is_none_the_worse);
    tcase_add_test(tcase, making_a_store_on_a_full_disk_is_full_and_no_signal);
    tcase_add_test(tcase, on_a_full_disk_revocation_works_and_room_that_is_made_is_used);
    tcase_add_test(tcase, a_disk_that_fills_up_in_a_commit_is_full_and_nothing_of_it_is_there);
    tcase_add_test(tcase, the_place_of_a_killed_reader_is_freed);
    tcase_add_test(tcase, a_table_full_of_killed_readers_does_not_keep_anybody_from_opening);
    tcase_add_test(tcase, a_damaged_page_fails_those_who_need_it_alone);
    tcase_add_test(tcase, more_readers_than_there_are_places_are_busy_and_told_why);
    tcase_add_test(tcase, more_threads_than_slots_read);
}

int main(void)
{
    return test_main("lmdb faults", add);
}

#else

int main(void)
{
    return test_without_lmdb("lmdb faults");
}

#endif
