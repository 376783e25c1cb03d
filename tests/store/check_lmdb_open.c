/*
 * check_lmdb_open.c - opening the LMDB store: making it, refusing what is not ours, sharing it, fork and exec (S2, S4).
 *
 * SPDX-License-Identifier: MIT
 */
#include <check.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "store/lmdb.h"
#include "support/crew.h"
#include "support/fixture.h"
#include "support/raw.h"

#ifdef OTOK_HAVE_LMDB

static char *folder; /* of each test, empty at its beginning */
static char path[4096];

static void set_up(void)
{
    folder = test_new_folder();
    (void)snprintf(path, sizeof path, "%s/store", folder);
}

static void tear_down(void)
{
    test_remove_folder(folder);
}

static const char *in_store(const char *name)
{
    static char file[4096 + 64];
    (void)snprintf(file, sizeof file, "%s/%s", path, name);
    return file;
}

static otok_lmdb_options defaults(void)
{
    otok_lmdb_options options;
    otok_lmdb_options_init(&options, sizeof options);
    return options;
}

static int open_code(const otok_lmdb_options *options, otok_error *err)
{
    otok_store *store;
    int rc = otok_store_open_lmdb(path, options, &store, err);
    ck_assert(rc == OTOK_OK ? store != NULL : store == NULL);
    otok_store_close(store);
    return rc;
}

static void refused(int code, const char *words)
{
    otok_error err;
    test_assert_code(code, open_code(NULL, &err));
    ck_assert_msg(strstr(err.message, words) != NULL, "%s", err.message);
    ck_assert_ptr_nonnull(strstr(err.message, path)); /* which store it is about */
}

static void make_store(void)
{
    otok_store *store = test_open_lmdb(path, NULL);
    test_assert_code(OTOK_OK, test_raw_insert(store, 1, 100));
    otok_store_close(store);
}

static mode_t mode_of(const char *file)
{
    struct stat st;
    ck_assert_int_eq(stat(file, &st), 0);
    return st.st_mode & 07777;
}

/* ---------------------------------------------------------------------------------------------------- making it */

START_TEST(a_new_store_is_for_its_owner_alone)
{
    make_store();
    ck_assert_uint_eq(mode_of(path), 0700);
    ck_assert_uint_eq(mode_of(in_store("data.mdb")), 0600);
    ck_assert_uint_eq(mode_of(in_store("lock.mdb")), 0600);
    ck_assert_uint_eq(mode_of(in_store("write.lock")), 0600);
}
END_TEST

START_TEST(an_empty_folder_becomes_a_store_and_loses_its_open_mode)
{
    ck_assert_int_eq(mkdir(path, 0755), 0);
    make_store();
    ck_assert_uint_eq(mode_of(path), 0700);
}
END_TEST

START_TEST(what_a_crash_while_making_it_left_behind_is_made_anew)
{
    ck_assert_int_eq(mkdir(path, 0700), 0);
    FILE *file = fopen(in_store("data.new"), "w");
    ck_assert_ptr_nonnull(file);
    (void)fputs("half a store", file);
    (void)fclose(file);
    make_store();
    ck_assert_int_eq(access(in_store("data.new"), F_OK), -1);
}
END_TEST

START_TEST(a_missing_parent_is_not_found)
{
    otok_error err;
    (void)snprintf(path, sizeof path, "%s/no/store", folder);
    test_assert_code(OTOK_E_NOT_FOUND, open_code(NULL, &err));
}
END_TEST

START_TEST(records_are_there_after_reopening)
{
    make_store();
    otok_store *store = test_open_lmdb(path, NULL);
    ck_assert_uint_eq(test_raw_version(store, 1), 1);
    otok_store_close(store);
}
END_TEST

START_TEST(a_store_keeps_its_guarantees)
{
    otok_lmdb_options options = defaults();
    otok_store *store = test_open_lmdb(path, &options);
    ck_assert_uint_eq(otok_store_guarantees(store),
                      OTOK_STORE_ATOMIC_GROUPS | OTOK_STORE_DURABLE | OTOK_STORE_SHARED | OTOK_STORE_FAST_COUNT);
    otok_store_close(store);
    options.no_sync = 1;
    store = test_open_lmdb(path, &options);
    ck_assert_uint_eq(otok_store_guarantees(store) & OTOK_STORE_DURABLE, 0);
    otok_store_close(store);
}
END_TEST

/* One round of many processes that all want to be the first. */
static void open_and_insert(void *shared, size_t i)
{
    (void)shared;
    otok_store *store;
    otok_error err;
    int rc = otok_store_open_lmdb(path, NULL, &store, &err);
    if (rc != OTOK_OK)
        test_leave(err.message, rc);
    rc = test_raw_insert(store, (uint32_t)i, 10);
    if (rc != OTOK_OK)
        test_leave("insert", rc);
    otok_store_close(store);
}

START_TEST(processes_that_make_it_at_once_share_one_store)
{
    enum { ROUNDS = 25, PROCESSES = 4 };
    for (int round = 0; round < ROUNDS; round++) {
        (void)snprintf(path, sizeof path, "%s/store%d", folder, round);
        test_processes(PROCESSES, open_and_insert, NULL);
        otok_store *store = test_open_lmdb(path, NULL);
        ck_assert_uint_eq(test_raw_count(store), PROCESSES);
        otok_store_close(store);
    }
}
END_TEST

/* LMDB 0.9.26 to 0.9.31 destroy shared mutexes at the last close, which others may just be opening. */
static void open_and_close_often(void *shared, size_t i)
{
    (void)shared;
    for (uint32_t round = 0; round < 40; round++) {
        otok_store *store;
        otok_error err;
        int rc = otok_store_open_lmdb(path, NULL, &store, &err);
        if (rc != OTOK_OK)
            test_leave(err.message, rc);
        rc = test_raw_insert(store, (uint32_t)i * 1000 + round, 10);
        if (rc != OTOK_OK)
            test_leave("insert", rc);
        otok_store_close(store);
    }
}

START_TEST(processes_that_open_and_close_all_the_time_do_not_disturb_each_other)
{
    test_processes(4, open_and_close_often, NULL);
    otok_store *store = test_open_lmdb(path, NULL);
    ck_assert_uint_eq(test_raw_count(store), 160);
    otok_store_close(store);
}
END_TEST

/* ---------------------------------------------------------------------------------------------------- refusals */

START_TEST(a_folder_that_others_can_enter_is_refused)
{
    make_store();
    ck_assert_int_eq(chmod(path, 0750), 0);
    refused(OTOK_E_PERMISSION, "open to others (mode 0750)");
}
END_TEST

START_TEST(a_file_that_others_can_read_is_refused)
{
    static const char *const files[] = {"data.mdb", "lock.mdb", "write.lock"};
    make_store();
    for (size_t i = 0; i < sizeof files / sizeof files[0]; i++) {
        ck_assert_int_eq(chmod(in_store(files[i]), 0604), 0);
        refused(OTOK_E_PERMISSION, files[i]);
        ck_assert_int_eq(chmod(in_store(files[i]), 0600), 0);
    }
    test_assert_code(OTOK_OK, open_code(NULL, NULL));
}
END_TEST

START_TEST(a_symbolic_link_is_refused)
{
    static const char *const files[] = {"data.mdb", "lock.mdb", "write.lock"};
    char elsewhere[4200];
    make_store();
    for (size_t i = 0; i < sizeof files / sizeof files[0]; i++) {
        (void)snprintf(elsewhere, sizeof elsewhere, "%s/elsewhere", folder);
        ck_assert_int_eq(rename(in_store(files[i]), elsewhere), 0);
        ck_assert_int_eq(symlink(elsewhere, in_store(files[i])), 0);
        refused(OTOK_E_PERMISSION, "symbolic link");
        ck_assert_int_eq(rename(elsewhere, in_store(files[i])), 0);
    }
    (void)snprintf(elsewhere, sizeof elsewhere, "%s/elsewhere", folder);
    ck_assert_int_eq(rename(path, elsewhere), 0);
    ck_assert_int_eq(symlink(elsewhere, path), 0);
    refused(OTOK_E_PERMISSION, "symbolic link");
}
END_TEST

START_TEST(another_users_store_is_refused)
{
    make_store();
    if (geteuid() != 0)
        return; /* only root can give a file away */
    ck_assert_int_eq(chown(in_store("data.mdb"), 12345, (gid_t)-1), 0);
    refused(OTOK_E_PERMISSION, "belongs to user 12345");
}
END_TEST

START_TEST(a_folder_of_something_else_is_refused_and_left_alone)
{
    ck_assert_int_eq(mkdir(path, 0700), 0);
    FILE *file = fopen(in_store("thesis.txt"), "w");
    ck_assert_ptr_nonnull(file);
    (void)fclose(file);
    refused(OTOK_E_FORMAT, "not empty");
    ck_assert_int_eq(access(in_store("write.lock"), F_OK), -1);
    ck_assert_int_eq(access(in_store("data.mdb"), F_OK), -1);
}
END_TEST

START_TEST(what_is_not_a_folder_is_refused)
{
    FILE *file = fopen(path, "w");
    ck_assert_ptr_nonnull(file);
    (void)fclose(file);
    refused(OTOK_E_FORMAT, "not a folder");
}
END_TEST

START_TEST(a_file_that_lmdb_cannot_read_is_refused)
{
    ck_assert_int_eq(mkdir(path, 0700), 0);
    FILE *file = fopen(in_store("data.mdb"), "w");
    ck_assert_ptr_nonnull(file);
    for (int i = 0; i < 10000; i++)
        (void)fputc('x', file);
    (void)fclose(file);
    ck_assert_int_eq(chmod(in_store("data.mdb"), 0600), 0);
    refused(OTOK_E_FORMAT, "opening");
}
END_TEST

/* Opens data.mdb with LMDB itself, nothing of ours having it open; puts something. */
static void tamper(const char *database, const char *key_text, const void *value, size_t len)
{
    MDB_env *env;
    MDB_txn *txn;
    MDB_dbi dbi;
    MDB_val key = {.mv_size = strlen(key_text), .mv_data = (void *)(uintptr_t)key_text};
    MDB_val data = {.mv_size = len, .mv_data = (void *)(uintptr_t)value};
    ck_assert_int_eq(mdb_env_create(&env), 0);
    ck_assert_int_eq(mdb_env_set_maxdbs(env, 8), 0);
    ck_assert_int_eq(mdb_env_open(env, path, 0, 0600), 0);
    ck_assert_int_eq(mdb_txn_begin(env, NULL, 0, &txn), 0);
    ck_assert_int_eq(mdb_dbi_open(txn, database, MDB_CREATE, &dbi), 0);
    ck_assert_int_eq(mdb_put(txn, dbi, &key, &data, 0), 0);
    ck_assert_int_eq(mdb_txn_commit(txn), 0);
    mdb_env_close(env);
}

START_TEST(another_programs_environment_is_refused)
{
    ck_assert_int_eq(mkdir(path, 0700), 0);
    tamper("addresses", "alice", "alice@example.org", 17);
    refused(OTOK_E_FORMAT, "belongs to another program");
}
END_TEST

START_TEST(another_programs_database_of_that_name_is_refused)
{
    ck_assert_int_eq(mkdir(path, 0700), 0);
    tamper("records", "alice", "alice@example.org", 17);
    tamper("links", "alice", "alice@example.org", 17);
    tamper("index", "alice", "alice@example.org", 17);
    tamper("meta", "format", "otok", 4);
    refused(OTOK_E_FORMAT, "belongs to another program");
}
END_TEST

START_TEST(a_newer_format_is_refused_with_its_number)
{
    make_store();
    tamper("meta", "format", "otoklmdb\0\0\0\2and more", 20);
    refused(OTOK_E_FORMAT, "format 2");
    refused(OTOK_E_FORMAT, "upgrade");
}
END_TEST

START_TEST(wrong_options_are_refused_by_name)
{
    static const struct {
        otok_lmdb_options options;
        const char *name;
    } rows[] = {
        {{.size = sizeof(otok_lmdb_options), .unused = 1}, "unused"},
        {{.size = sizeof(otok_lmdb_options), .busy_timeout_ms = -1}, "busy_timeout_ms"},
        {{.size = sizeof(otok_lmdb_options), .no_sync = 2}, "no_sync"},
        {{.size = sizeof(otok_lmdb_options), .read_only = -1}, "read_only"},
        {{.size = sizeof(otok_lmdb_options), .map_size = UINT64_MAX}, "map_size"},
        {{.size = sizeof(otok_lmdb_options), .max_readers = UINT32_MAX}, "max_readers"},
        {{.size = 1}, "size"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        otok_error err;
        test_assert_code(OTOK_E_INVALID, open_code(&rows[i].options, &err));
        ck_assert_msg(strstr(err.message, rows[i].name) != NULL, "%s", err.message);
    }
    otok_store *store;
    test_assert_code(OTOK_E_INVALID, otok_store_open_lmdb(NULL, NULL, &store, NULL));
    test_assert_code(OTOK_E_INVALID, otok_store_open_lmdb("", NULL, &store, NULL));
    test_assert_code(OTOK_E_INVALID, otok_store_open_lmdb(path, NULL, NULL, NULL));
}
END_TEST

/* ---------------------------------------------------------------------------------------------------- reading only */

START_TEST(reading_only_makes_nothing)
{
    otok_lmdb_options options = defaults();
    options.read_only = 1;
    test_assert_code(OTOK_E_NOT_FOUND, open_code(&options, NULL));
    ck_assert_int_eq(access(path, F_OK), -1);
}
END_TEST

START_TEST(reading_only_reads_and_refuses_to_write)
{
    otok_lmdb_options options = defaults();
    options.read_only = 1;
    make_store();
    otok_store *store = test_open_lmdb(path, &options);
    ck_assert_uint_eq(test_raw_version(store, 1), 1);
    test_assert_code(OTOK_E_UNSUPPORTED, test_raw_insert(store, 2, 10));
    otok_error err;
    test_assert_code(OTOK_E_STATE, open_code(NULL, &err)); /* not for writing too, in this process */
    otok_store_close(store);
    test_assert_code(OTOK_OK, open_code(NULL, NULL));
}
END_TEST

/* ---------------------------------------------------------------------------------------------------- sharing it */

START_TEST(a_second_opening_shares_the_first)
{
    otok_lmdb_options options = defaults();
    char other[4200];
    otok_store *first = test_open_lmdb(path, NULL);
    (void)snprintf(other, sizeof other, "%s/../%s/./store", folder, strrchr(folder, '/') + 1);
    otok_store *second = test_open_lmdb(other, NULL);
    options.read_only = 1;
    otok_store *reader = test_open_lmdb(path, &options);
    test_assert_code(OTOK_OK, test_raw_insert(first, 1, 10));
    test_assert_code(OTOK_E_CONFLICT, test_raw_insert(second, 1, 10));
    ck_assert_uint_eq(test_raw_version(reader, 1), 1);
    test_assert_code(OTOK_E_UNSUPPORTED, test_raw_head(reader, 1, 1));
    otok_store_close(first);
    test_assert_code(OTOK_OK, test_raw_head(second, 1, 1));
    otok_store_close(second);
    ck_assert_uint_eq(test_raw_version(reader, 1), 2);
    otok_store_close(reader);
}
END_TEST

/* Closing a descriptor of lock.mdb drops LMDB's lock, and the next process makes the table of readers anew. */
START_TEST(a_second_opening_leaves_the_locks_of_the_first)
{
    otok_store *first = test_open_lmdb(path, NULL);
    otok_store_close(test_open_lmdb(path, NULL));
    pid_t pid = fork();
    ck_assert_int_ge(pid, 0);
    if (pid == 0) {
        int fd = open(in_store("lock.mdb"), O_RDWR | O_CLOEXEC);
        struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = 0, .l_len = 1};
        test_leave_child(fd >= 0 && fcntl(fd, F_GETLK, &lock) == 0 && lock.l_type == F_RDLCK);
    }
    int status;
    ck_assert_int_eq(waitpid(pid, &status, 0), pid);
    ck_assert_int_eq(status, 0);
    otok_store_close(first);
}
END_TEST

START_TEST(a_second_opening_cannot_change_durability)
{
    otok_lmdb_options options = defaults();
    options.no_sync = 1;
    otok_store *store = test_open_lmdb(path, NULL);
    otok_error err;
    test_assert_code(OTOK_E_STATE, open_code(&options, &err));
    ck_assert_ptr_nonnull(strstr(err.message, "no_sync"));
    otok_store_close(store);
}
END_TEST

static void open_write_close(void *arg, size_t i)
{
    (void)arg;
    for (uint32_t round = 0; round < 10; round++) {
        otok_store *store = test_open_lmdb(path, NULL);
        test_assert_code(OTOK_OK, test_raw_insert(store, (uint32_t)i * 100 + round, 10));
        otok_store_close(store);
    }
}

START_TEST(threads_open_and_close_it_at_once)
{
    test_threads(8, open_write_close, NULL);
    otok_store *store = test_open_lmdb(path, NULL);
    ck_assert_uint_eq(test_raw_count(store), 80);
    otok_store_close(store);
}
END_TEST

/* ---------------------------------------------------------------------------------------------------- fork and exec */

START_TEST(no_descriptor_is_inherited_by_exec)
{
    otok_store *store = test_open_lmdb(path, NULL);
    DIR *all = opendir("/proc/self/fd");
    ck_assert_ptr_nonnull(all);
    int ours = 0;
    for (struct dirent *entry; (entry = readdir(all)) != NULL;) {
        char link[300], target[4300];
        (void)snprintf(link, sizeof link, "/proc/self/fd/%s", entry->d_name);
        ssize_t len = readlink(link, target, sizeof target - 1);
        if (len < 0)
            continue;
        target[len] = '\0';
        if (strncmp(target, path, strlen(path)) != 0)
            continue;
        ours++;
        ck_assert_msg((fcntl(atoi(entry->d_name), F_GETFD) & FD_CLOEXEC) != 0, "%s lacks FD_CLOEXEC", target);
    }
    (void)closedir(all);
    ck_assert_int_ge(ours, 4); /* the folder, data.mdb twice, lock.mdb, write.lock */
    otok_store_close(store);
}
END_TEST

static int no_record(void *arg, const otok_record *record)
{
    (void)arg;
    (void)record;
    return 0;
}

START_TEST(a_child_is_refused_its_parents_store_and_opens_its_own)
{
    otok_store *store = test_open_lmdb(path, NULL);
    test_assert_code(OTOK_OK, test_raw_insert(store, 1, 10));
    (void)test_raw_version(store, 1); /* a reader is in the pool */
    pid_t pid = fork();
    ck_assert_int_ge(pid, 0);
    if (pid == 0) {
        otok_id id = test_raw_id(1);
        otok_record record = test_raw_record(2, OTOK_RECORD_SESSION, 1, 10);
        otok_scan scan = {.size = sizeof scan, .limit = 1};
        uint64_t count;
        otok_error err;
        bool good = otok_store_fetch(store, &id, 1, 0, no_record, NULL, &err) == OTOK_E_STATE &&
                    strstr(err.message, "fork") != NULL &&
                    otok_store_scan(store, &scan, no_record, NULL, NULL) == OTOK_E_STATE &&
                    otok_store_count(store, record.keys, &count, NULL) == OTOK_E_STATE &&
                    test_raw_insert(store, 2, 10) == OTOK_E_STATE;
        otok_store *own = NULL;
        good = good && otok_store_open_lmdb(path, NULL, &own, NULL) == OTOK_OK && test_raw_head(own, 1, 1) == OTOK_OK;
        otok_store_close(store); /* leaves the parent's locks, and its own, as they are */
        good = good && test_raw_head(own, 1, 2) == OTOK_OK && test_raw_insert(own, 3, 10) == OTOK_OK;
        otok_store_close(own);
        test_leave_child(good);
    }
    int status;
    ck_assert_int_eq(waitpid(pid, &status, 0), pid);
    ck_assert_int_eq(status, 0);
    ck_assert_uint_eq(test_raw_version(store, 1), 3);
    ck_assert_uint_eq(test_raw_version(store, 3), 1);
    test_assert_code(OTOK_OK, test_raw_head(store, 1, 3));
    otok_store_close(store);
}
END_TEST

/*
 * The registry's mutex may be held, in the child for ever, by a thread that is opening something at the time of the
 * fork.  Not under sanitizers, whose own allocators do not survive that (seen: ThreadSanitizer's).
 */
static void *open_and_close(void *stop)
{
    char other[4200];
    (void)snprintf(other, sizeof other, "%s/other", folder);
    while (!__atomic_load_n((bool *)stop, __ATOMIC_ACQUIRE))
        otok_store_close(test_open_lmdb(other, NULL));
    return NULL;
}

START_TEST(fork_while_another_thread_opens_leaves_the_child_able_to_open)
{
#if defined(__SANITIZE_THREAD__) || defined(__SANITIZE_ADDRESS__)
    return;
#endif
    pthread_t thread;
    bool stop = false;
    ck_assert_int_eq(pthread_create(&thread, NULL, open_and_close, &stop), 0);
    for (int i = 0; i < 100; i++) {
        pid_t pid = fork();
        ck_assert_int_ge(pid, 0);
        if (pid == 0) {
            (void)alarm(60);
            otok_store *store;
            int rc = otok_store_open_lmdb(path, NULL, &store, NULL);
            if (rc == OTOK_OK)
                rc = test_raw_insert(store, (uint32_t)i, 10);
            otok_store_close(store);
            test_leave_child(rc == OTOK_OK);
        }
        int status;
        ck_assert_int_eq(waitpid(pid, &status, 0), pid);
        ck_assert_int_eq(status, 0);
    }
    __atomic_store_n(&stop, true, __ATOMIC_RELEASE);
    ck_assert_int_eq(pthread_join(thread, NULL), 0);
    otok_store *store = test_open_lmdb(path, NULL);
    ck_assert_uint_eq(test_raw_count(store), 100);
    otok_store_close(store);
}
END_TEST

/* Who opens the store, and forks, may be gone and his pid come round, for a grandchild: what that inherited is still not its own. */
static pid_t told_pid;

__attribute__((__visibility__("default"))) pid_t getpid(void)
{
    return told_pid != 0 ? told_pid : (pid_t)syscall(SYS_getpid);
}

/* The process that has inherited the store, its pid that of the one who opened it. */
static void open_under_the_pid(pid_t first, int answer)
{
    otok_store *own = NULL;
    while (getppid() == first)
        (void)sched_yield();
    told_pid = first;
    (void)alarm(60);
    char good = otok_store_open_lmdb(path, NULL, &own, NULL) == OTOK_OK && test_raw_insert(own, 1, 10) == OTOK_OK;
    otok_store_close(own);
    good = write(answer, &good, 1) == 1;
    test_leave_child(good);
}

START_TEST(a_pid_that_came_round_makes_an_inherited_store_nobodys_own)
{
    int ends[2], status;
    char good = 0;
    ck_assert_int_eq(pipe(ends), 0);
    pid_t first = fork();
    ck_assert_int_ge(first, 0);
    if (first == 0) {
        (void)test_open_lmdb(path, NULL);
        pid_t self = getpid(), second = fork();
        if (second == 0)
            open_under_the_pid(self, ends[1]);
        test_leave_child(second > 0);
    }
    (void)close(ends[1]);
    ck_assert_int_eq(waitpid(first, &status, 0), first);
    ck_assert_int_eq(read(ends[0], &good, 1), 1);
    (void)close(ends[0]);
    ck_assert_int_eq(good, 1);
}
END_TEST

static void add(TCase *tcase)
{
    tcase_add_checked_fixture(tcase, set_up, tear_down);
    tcase_add_test(tcase, a_new_store_is_for_its_owner_alone);
    tcase_add_test(tcase, an_empty_folder_becomes_a_store_and_loses_its_open_mode);
    tcase_add_test(tcase, what_a_crash_while_making_it_left_behind_is_made_anew);
    tcase_add_test(tcase, a_missing_parent_is_not_found);
    tcase_add_test(tcase, records_are_there_after_reopening);
    tcase_add_test(tcase, a_store_keeps_its_guarantees);
    tcase_add_test(tcase, processes_that_make_it_at_once_share_one_store);
    tcase_add_test(tcase, processes_that_open_and_close_all_the_time_do_not_disturb_each_other);
    tcase_add_test(tcase, a_folder_that_others_can_enter_is_refused);
    tcase_add_test(tcase, a_file_that_others_can_read_is_refused);
    tcase_add_test(tcase, a_symbolic_link_is_refused);
    tcase_add_test(tcase, another_users_store_is_refused);
    tcase_add_test(tcase, a_folder_of_something_else_is_refused_and_left_alone);
    tcase_add_test(tcase, what_is_not_a_folder_is_refused);
    tcase_add_test(tcase, a_file_that_lmdb_cannot_read_is_refused);
    tcase_add_test(tcase, another_programs_environment_is_refused);
    tcase_add_test(tcase, another_programs_database_of_that_name_is_refused);
    tcase_add_test(tcase, a_newer_format_is_refused_with_its_number);
    tcase_add_test(tcase, wrong_options_are_refused_by_name);
    tcase_add_test(tcase, reading_only_makes_nothing);
    tcase_add_test(tcase, reading_only_reads_and_refuses_to_write);
    tcase_add_test(tcase, a_second_opening_shares_the_first);
    tcase_add_test(tcase, a_second_opening_leaves_the_locks_of_the_first);
    tcase_add_test(tcase, a_second_opening_cannot_change_durability);
    tcase_add_test(tcase, threads_open_and_close_it_at_once);
    tcase_add_test(tcase, no_descriptor_is_inherited_by_exec);
    tcase_add_test(tcase, a_child_is_refused_its_parents_store_and_opens_its_own);
    tcase_add_test(tcase, a_pid_that_came_round_makes_an_inherited_store_nobodys_own);
    tcase_add_test(tcase, fork_while_another_thread_opens_leaves_the_child_able_to_open);
}

int main(void)
{
    return test_main("lmdb open", add);
}

#else

int main(void)
{
    return test_without_lmdb("lmdb open");
}

#endif
