/*
 * check_backup.c - S4: a copy of a store in use is whole, and has everything that was acknowledged before it was asked for; and a
 * backup that fails leaves nothing behind.
 *
 * SPDX-License-Identifier: MIT
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include "store/store.h"
#include "support/ask.h"
#include "support/crew.h"
#include "support/raw.h"
#include "support/records.h"
#include "support/transfer.h"

#ifdef OTOK_HAVE_LMDB

static char *folder; /* around the copies */
static char copy[4200], source[4200];

static void set_up(void)
{
    folder = test_new_folder();
    (void)snprintf(copy, sizeof copy, "%s/copy", folder);
    (void)snprintf(source, sizeof source, "%s/source", folder);
}

static void tear_down(void)
{
    test_remove_folder(folder);
}

static otok_store *filled(uint32_t n)
{
    otok_lmdb_options options;
    otok_lmdb_options_init(&options, sizeof options);
    options.no_sync = 1;
    otok_store *store = test_open_lmdb(source, &options);
    for (uint32_t i = 1; i <= n; i++)
        test_assert_code(OTOK_OK, test_raw_insert(store, i, 100 + i % 3000));
    return store;
}

static int back_up(otok_store *store, const char *to)
{
    otok_error err = {0};
    int rc = otok_store_backup(store, to, NULL, &err);
    ck_assert_int_eq(rc, rc == OTOK_OK ? OTOK_OK : err.code);
    ck_assert(rc == OTOK_OK || err.message[0] != '\0');
    return rc;
}

static bool is_there(const char *path)
{
    struct stat st;
    return lstat(path, &st) == 0;
}

static bool is_beside(const char *name)
{
    char path[4200];
    (void)snprintf(path, sizeof path, "%s/%s", folder, name);
    return is_there(path);
}

static void expect_nothing_left(void)
{
    ck_assert(!is_there(copy));
    ck_assert(!is_beside("copy.new"));
}

static void expect_clean(otok_store *store, uint64_t records)
{
    otok_check result;
    otok_check_init(&result, sizeof result);
    test_assert_code(OTOK_OK, otok_store_check(store, 0, NULL, &result, NULL));
    ck_assert_uint_eq(result.findings, 0);
    ck_assert_uint_eq(result.records, records);
}

/* ---------------------------------------------------------------------------------------------------- the copy */

START_TEST(a_copy_has_every_record_and_is_smaller)
{
    otok_store *store = filled(1500);
    otok_check large, small;
    for (uint32_t i = 1; i <= 1000; i++)
        test_assert_code(OTOK_OK, test_raw_delete(store, i, 1));
    test_assert_code(OTOK_OK, back_up(store, copy));
    otok_store *again = test_open_lmdb(copy, NULL);
    test_file a = test_export(store), b = test_export(again);
    ck_assert_uint_eq(a.len, b.len);
    ck_assert_mem_eq(a.data, b.data, a.len);
    test_file_free(&a);
    test_file_free(&b);
    otok_check_init(&large, sizeof large);
    otok_check_init(&small, sizeof small);
    test_assert_code(OTOK_OK, otok_store_check(store, 0, NULL, &large, NULL));
    test_assert_code(OTOK_OK, otok_store_check(again, 0, NULL, &small, NULL));
    ck_assert_uint_eq(small.findings, 0);
    ck_assert_uint_lt(small.bytes, large.bytes * 3 / 4);
    test_assert_code(OTOK_OK, test_raw_insert(again, 1, 10)); /* it is a store like any other */
    ck_assert_uint_eq(test_raw_version(store, 1), 0);
    otok_store_close(again);
    otok_store_close(store);
}
END_TEST

START_TEST(nobody_else_may_read_a_copy)
{
    struct stat st;
    char data[4300];
    mode_t mask = umask(0);
    otok_store *store = filled(10);
    test_assert_code(OTOK_OK, back_up(store, copy));
    (void)umask(mask);
    ck_assert_int_eq(stat(copy, &st), 0);
    ck_assert_uint_eq(st.st_mode & 07777, 0700);
    (void)snprintf(data, sizeof data, "%s/data.mdb", copy);
    ck_assert_int_eq(stat(data, &st), 0);
    ck_assert_uint_eq(st.st_mode & 07777, 0600);
    (void)snprintf(data, sizeof data, "%s/lock.mdb", copy);
    ck_assert(!is_there(data)); /* a store makes its own */
    otok_store_close(store);
}
END_TEST

START_TEST(a_store_without_records_and_one_that_is_only_read_are_copied)
{
    char second[4300];
    otok_lmdb_options options;
    otok_store *store = filled(0), *again;
    test_assert_code(OTOK_OK, back_up(store, copy));
    otok_store_close(store);
    otok_lmdb_options_init(&options, sizeof options);
    options.read_only = 1;
    store = test_open_lmdb(copy, &options);
    (void)snprintf(second, sizeof second, "%s-of-copy//", copy);
    test_assert_code(OTOK_OK, back_up(store, second));
    otok_store_close(store);
    again = test_open_lmdb(second, NULL);
    expect_clean(again, 0);
    otok_store_close(again);
}
END_TEST

/* ---------------------------------------------------------------------------------------------------- in use */

enum { WRITERS = 4, ROOMY = 20000, COPIES = 5 };

typedef struct stage {
    test_fixture *f;
    atomic_bool stop;
    atomic_size_t n; /* of those below, which were acknowledged */
    test_held *held;
} stage;

static void issue_all_the_time(stage *s)
{
    while (!atomic_load(&s->stop)) {
        test_held held = test_hold(s->f, "alice", "phone");
        size_t at = atomic_load(&s->n);
        do
            if (at >= ROOMY)
                return;
        while (!atomic_compare_exchange_weak(&s->n, &at, at + 1));
        s->held[at] = held;
        (void)test_refresh_code(s->f, held.token, "phone");
    }
}

/* `known`: tokens that were handed out before the backup was asked for. */
static void expect_tokens_work(test_fixture *f, const test_held *held, size_t known)
{
    otok_service *service = NULL;
    otok_config config;
    otok_check result;
    otok_store *store = test_open_lmdb(copy, NULL);
    otok_config_init(&config, sizeof config);
    config.issuer = TEST_ISSUER;
    config.callbacks = &f->callbacks;
    config.user = f;
    test_assert_code(OTOK_OK, otok_service_open(&config, store, f->keyring, &service, NULL));
    for (size_t i = 0; i < known; i++) {
        int32_t live = 0;
        if (held[i].session_id[0] != '\0') /* one that is just being written down */
            test_assert_code(OTOK_OK, otok_session_is_live(service, held[i].session_id, &live, NULL));
        ck_assert_msg(live == 1 || held[i].session_id[0] == '\0', "session %zu of %zu is not in the copy", i, known);
    }
    otok_check_init(&result, sizeof result);
    test_assert_code(OTOK_OK, otok_service_check(service, NULL, &result, NULL));
    ck_assert_uint_eq(result.findings, 0);
    ck_assert_uint_ge(result.sessions, known);
    expect_clean(store, test_count_records(store));
    otok_service_close(service);
    otok_store_close(store);
}

static void back_up_while_in_use(stage *s)
{
    for (int i = 0; i < COPIES; i++) {
        size_t before = atomic_load(&s->n);
        while (atomic_load(&s->n) < before + 20 && atomic_load(&s->n) < ROOMY)
            (void)sched_yield();
        size_t known = atomic_load(&s->n);
        test_assert_code(OTOK_OK, back_up(s->f->store, copy));
        expect_tokens_work(s->f, s->held, known);
        test_remove_folder(strdup(copy));
    }
    atomic_store(&s->stop, true);
}

static void work(void *arg, size_t i)
{
    if (i == 0)
        back_up_while_in_use(arg);
    else
        issue_all_the_time(arg);
}

START_TEST(a_copy_of_a_store_in_use_has_all_that_was_acknowledged)
{
    stage s = {.f = test_open(TEST_LMDB), .held = calloc(ROOMY, sizeof(test_held))};
    test_plain_policy(s.f);
    test_reopen_service(s.f);
    test_threads(1 + WRITERS, work, &s);
    ck_assert_uint_gt(atomic_load(&s.n), COPIES * 20);
    free(s.held);
    test_close(s.f);
}
END_TEST

/* ---------------------------------------------------------------------------------------------------- refused */

static void make_file(const char *path, const char *text)
{
    FILE *file = fopen(path, "w");
    ck_assert_ptr_nonnull(file);
    (void)fputs(text, file);
    (void)fclose(file);
}

static void expect_file(const char *path, const char *text)
{
    char line[64] = "";
    FILE *file = fopen(path, "r");
    ck_assert_ptr_nonnull(file);
    ck_assert_uint_eq(fread(line, 1, sizeof line - 1, file), strlen(text));
    (void)fclose(file);
    ck_assert_str_eq(line, text);
}

START_TEST(what_is_there_is_not_touched)
{
    char inside[4400], beside[4300];
    otok_store *store = filled(10);
    (void)snprintf(inside, sizeof inside, "%s/precious", copy);
    (void)snprintf(beside, sizeof beside, "%s.new", copy);
    ck_assert_int_eq(mkdir(copy, 0755), 0);
    make_file(inside, "mine");
    test_assert_code(OTOK_E_INVALID, back_up(store, copy));
    expect_file(inside, "mine");
    ck_assert(!is_there(beside));
    test_assert_code(OTOK_E_INVALID, back_up(store, source)); /* itself */
    test_assert_code(OTOK_E_INVALID, back_up(store, inside)); /* a file */
    ck_assert_int_eq(unlink(inside), 0);
    ck_assert_int_eq(symlink("/nowhere", inside), 0);
    test_assert_code(OTOK_E_INVALID, back_up(store, inside));
    ck_assert(is_there(inside));
    ck_assert_int_eq(unlink(inside), 0);

    make_file(beside, "mine"); /* where the copy would be made */
    int rc = back_up(store, copy);
    ck_assert_msg(rc != OTOK_OK, "%s was in the way", beside);
    expect_file(beside, "mine");
    ck_assert_int_eq(unlink(beside), 0);
    ck_assert_int_eq(mkdir(beside, 0700), 0);
    (void)snprintf(inside, sizeof inside, "%s/precious", beside);
    make_file(inside, "mine");
    rc = back_up(store, copy);
    ck_assert_msg(rc != OTOK_OK, "%s was in the way", beside);
    expect_file(inside, "mine");
    otok_store_close(store);
}
END_TEST

/* A store that happens to be where the copy would be made is somebody's: this one, or another. */
START_TEST(a_store_of_the_name_of_the_folder_beside_is_not_touched)
{
    char beside[4300], inside[4400];
    (void)snprintf(beside, sizeof beside, "%s.new", copy);
    (void)snprintf(inside, sizeof inside, "%s/keyring", beside);
    otok_store *live = test_open_lmdb(beside, NULL);
    test_assert_code(OTOK_OK, test_raw_insert(live, 1, 10));
    test_assert_code(OTOK_E_INVALID, back_up(live, copy)); /* of itself */
    test_assert_code(OTOK_OK, test_raw_insert(live, 2, 10));
    make_file(inside, "mine");
    otok_store *store = filled(10);
    test_assert_code(OTOK_E_INVALID, back_up(store, copy)); /* of another, while it is in use */
    otok_store_close(live);
    test_assert_code(OTOK_E_INVALID, back_up(store, copy)); /* and while it is not */
    otok_store_close(store);
    expect_file(inside, "mine");
    live = test_open_lmdb(beside, NULL);
    ck_assert_uint_eq(test_raw_count(live), 2);
    otok_store_close(live);
}
END_TEST

/* A second one of the name would take the first one's copy away, and the first would answer for what the second has made so far. */
struct second {
    otok_store *store;
    int code, calls;
};

static int back_up_once_more(void *user, uint64_t done, uint64_t total)
{
    struct second *second = user;
    (void)done;
    (void)total;
    if (second->calls++ == 0)
        second->code = back_up(second->store, copy);
    return 0;
}

START_TEST(two_of_one_name_at_once_are_one)
{
    struct second second = {.store = filled(10)};
    otok_watch watch = {.size = sizeof watch, .user = &second, .progress = back_up_once_more};
    test_assert_code(OTOK_OK, otok_store_backup(second.store, copy, &watch, NULL));
    test_assert_code(OTOK_E_BUSY, second.code);
    otok_store_close(second.store);
    ck_assert(!is_beside("copy.new"));
    ck_assert(!is_beside("copy/backup.part"));
    otok_store *store = test_open_lmdb(copy, NULL);
    expect_clean(store, 10);
    otok_store_close(store);
}
END_TEST

/* What a backup that was killed has left is removed by the next one; an empty folder gives way. */
START_TEST(leftovers_and_empty_folders_give_way)
{
    char beside[4300], left[4400];
    otok_store *store = filled(10);
    (void)snprintf(beside, sizeof beside, "%s.new", copy);
    ck_assert_int_eq(mkdir(beside, 0700), 0);
    (void)snprintf(left, sizeof left, "%s/data.mdb", beside);
    make_file(left, "half a copy");
    (void)snprintf(left, sizeof left, "%s/backup.part", beside);
    make_file(left, "");
    (void)snprintf(left, sizeof left, "%s/lock.mdb", beside);
    make_file(left, "");
    ck_assert_int_eq(mkdir(copy, 0755), 0);
    test_assert_code(OTOK_OK, back_up(store, copy));
    ck_assert(!is_there(beside));
    otok_store_close(store);
    store = test_open_lmdb(copy, NULL);
    expect_clean(store, 10);
    otok_store_close(store);
}
END_TEST

START_TEST(calls_that_are_wrong_are_refused)
{
    char path[PATH_MAX + 10];
    otok_watch no_watch = {.size = 0};
    otok_store *memory, *store = filled(10);
    test_assert_code(OTOK_OK, otok_store_open_memory(&memory, NULL));
    test_assert_code(OTOK_E_UNSUPPORTED, back_up(memory, copy));
    otok_store_close(memory);
    test_assert_code(OTOK_E_INVALID, back_up(NULL, copy));
    test_assert_code(OTOK_E_INVALID, back_up(store, NULL));
    test_assert_code(OTOK_E_INVALID, back_up(store, ""));
    test_assert_code(OTOK_E_INVALID, otok_store_backup(store, copy, &no_watch, NULL));
    memset(path, 'a', sizeof path - 1);
    path[0] = '/';
    path[sizeof path - 1] = '\0';
    test_assert_code(OTOK_E_INVALID, back_up(store, path));
    (void)snprintf(path, sizeof path, "%s/not/there", folder);
    test_assert_code(OTOK_E_IO, back_up(store, path));
    expect_nothing_left();
    otok_store_close(store);
}
END_TEST

/* ---------------------------------------------------------------------------------------------------- failing */

static int end_at_once(void *user, uint64_t done, uint64_t total)
{
    (void)done;
    (void)total;
    ++*(int *)user;
    return 1;
}

START_TEST(one_that_is_ended_leaves_nothing)
{
    int calls = 0;
    otok_watch watch;
    otok_store *store = filled(1000);
    otok_watch_init(&watch, sizeof watch);
    watch.progress = end_at_once;
    watch.user = &calls;
    test_assert_code(OTOK_E_CALLBACK, otok_store_backup(store, copy, &watch, NULL));
    ck_assert_int_eq(calls, 1);
    expect_nothing_left();
    test_assert_code(OTOK_OK, back_up(store, copy));
    otok_store_close(store);
}
END_TEST

/* The copy of a damaged store would be one: its administrator is told, while there may be an older one that is good. */
START_TEST(a_damaged_store_gives_no_copy)
{
    char data[4300];
    uint8_t page[4096], *at;
    otok_error err = {0};
    otok_store *store = filled(40);
    otok_store_close(store);
    (void)snprintf(data, sizeof data, "%s/data.mdb", source);
    int fd = open(data, O_RDWR);
    ck_assert_int_ge(fd, 0);
    bool done = false;
    for (off_t offset = 0; pread(fd, page, sizeof page, offset) == sizeof page; offset += (off_t)sizeof page) {
        while ((at = memmem(page, sizeof page, "\1\1\1\0\4", 5)) != NULL) { /* where a value begins: see store/lmdb.h */
            at[0] = 9;
            done = pwrite(fd, page, sizeof page, offset) == sizeof page;
        }
    }
    (void)close(fd);
    ck_assert(done);
    store = test_open_lmdb(source, NULL);
    test_assert_code(OTOK_E_FORMAT, otok_store_backup(store, copy, NULL, &err));
    ck_assert_ptr_nonnull(strstr(err.message, "check it"));
    expect_nothing_left();
    otok_store_close(store);
}
END_TEST

/* A disk of every size that is too small, until one is large enough. */
START_TEST(a_full_disk_leaves_nothing_behind)
{
    static const char *const sizes[] = {"16k", "64k", "256k", "1m", "1536k", "64m"};
    char there[4300], beside[4300], options[64];
    otok_store *store = filled(1000);
    int rc = OTOK_E_FULL;
    (void)snprintf(there, sizeof there, "%s/disk/copy", folder);
    (void)snprintf(beside, sizeof beside, "%s/disk/copy.new", folder);
    (void)snprintf(copy, sizeof copy, "%s/disk", folder);
    ck_assert_int_eq(mkdir(copy, 0700), 0);
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        (void)snprintf(options, sizeof options, "size=%s,mode=0700", sizes[i]);
        if (mount("none", copy, "tmpfs", 0, options) != 0) {
            ck_assert_msg(errno == EPERM || errno == EACCES, "mount: %s", strerror(errno));
            (void)fprintf(stderr, "not tested: this user may not mount a file system\n");
            rc = OTOK_OK;
            break;
        }
        rc = back_up(store, there);
        ck_assert_msg(rc == OTOK_OK || rc == OTOK_E_FULL, "%s: %s", sizes[i], otok_error_name(rc));
        ck_assert_msg(!is_there(beside) && is_there(there) == (rc == OTOK_OK), "%s: something is left", sizes[i]);
        ck_assert_int_eq(umount2(copy, MNT_DETACH), 0);
    }
    test_assert_code(OTOK_OK, rc);
    expect_clean(store, 1000);
    otok_store_close(store);
}
END_TEST

static void add(TCase *tc)
{
    tcase_add_checked_fixture(tc, set_up, tear_down);
    tcase_add_test(tc, a_copy_has_every_record_and_is_smaller);
    tcase_add_test(tc, nobody_else_may_read_a_copy);
    tcase_add_test(tc, a_store_without_records_and_one_that_is_only_read_are_copied);
    tcase_add_test(tc, a_copy_of_a_store_in_use_has_all_that_was_acknowledged);
    tcase_add_test(tc, what_is_there_is_not_touched);
    tcase_add_test(tc, a_store_of_the_name_of_the_folder_beside_is_not_touched);
    tcase_add_test(tc, two_of_one_name_at_once_are_one);
    tcase_add_test(tc, leftovers_and_empty_folders_give_way);
    tcase_add_test(tc, calls_that_are_wrong_are_refused);
    tcase_add_test(tc, one_that_is_ended_leaves_nothing);
    tcase_add_test(tc, a_damaged_store_gives_no_copy);
    tcase_add_test(tc, a_full_disk_leaves_nothing_behind);
}

int main(void)
{
    return test_main("backup", add);
}

#else

int main(void)
{
    return test_without_lmdb("backup");
}

#endif
