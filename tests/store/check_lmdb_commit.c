/*
 * check_lmdb_commit.c - committing to the LMDB store: from many threads and processes, past the dead and the
 * cancelled, in time, and while the map grows (S1, S4, R8).
 *
 * SPDX-License-Identifier: MIT
 */
#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "store/lmdb.h"
#include "support/crew.h"
#include "support/fixture.h"
#include "support/raw.h"

#ifdef OTOK_HAVE_LMDB

enum { BUSY_MS = 200, PATIENCE_MS = 60000 };

static char *folder;
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

static otok_lmdb_options with_timeout(int64_t ms)
{
    otok_lmdb_options options;
    otok_lmdb_options_init(&options, sizeof options);
    options.busy_timeout_ms = ms;
    options.no_sync = 1; /* what is tested here is who comes when */
    return options;
}

/* ------------------------------------------------------------------------------------------------- holding the turn */

/* Maps write.lock as any process would. */
static otok_lmdb_lock *map_lock(void)
{
    char file[4200];
    (void)snprintf(file, sizeof file, "%s/write.lock", path);
    int fd = open(file, O_RDWR | O_CLOEXEC);
    void *map = fd >= 0 ? mmap(NULL, OTOK_LMDB_LOCK_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0) : MAP_FAILED;
    if (fd >= 0)
        (void)close(fd);
    return map != MAP_FAILED ? map : NULL;
}

/* A process that has the turn to write, and keeps it until it is killed or told to end. */
typedef struct holder {
    pid_t pid;
    int to, from;
} holder;

static holder hold_turn(void)
{
    int to[2], from[2];
    char byte = 0;
    ck_assert_int_eq(pipe2(to, O_CLOEXEC), 0);
    ck_assert_int_eq(pipe2(from, O_CLOEXEC), 0);
    holder h = {.pid = fork(), .to = to[1], .from = from[0]};
    ck_assert_int_ge(h.pid, 0);
    if (h.pid == 0) {
        otok_lmdb_lock *lock = map_lock();
        (void)close(to[1]);
        bool good = lock != NULL && pthread_mutex_lock(&lock->turn) == 0 && write(from[1], "h", 1) == 1;
        (void)!read(to[0], &byte, 1);
        if (good)
            good = pthread_mutex_unlock(&lock->turn) == 0;
        test_leave_child(good);
    }
    (void)close(to[0]);
    (void)close(from[1]);
    ck_assert_int_eq(read(h.from, &byte, 1), 1);
    return h;
}

static void release_turn(holder *h)
{
    int status;
    (void)close(h->to);
    (void)close(h->from);
    ck_assert_int_eq(waitpid(h->pid, &status, 0), h->pid);
    ck_assert_int_eq(status, 0);
}

static void kill_holder(holder *h)
{
    ck_assert_int_eq(kill(h->pid, SIGKILL), 0);
    ck_assert_int_eq(waitpid(h->pid, NULL, 0), h->pid);
    (void)close(h->to);
    (void)close(h->from);
}

/* ---------------------------------------------------------------------------------------------------- threads */

typedef struct job {
    otok_store *store;
    uint32_t rounds;
    int failed; /* the first code that was not OTOK_OK */
    uint32_t busy, done;
    uint32_t come; /* atomic: threads about to commit for the first time */
    holder *until; /* whose turn ends when all are */
} job;

static void raise_often(void *arg, size_t i)
{
    job *j = arg;
    (void)i;
    for (uint32_t round = 0; round < j->rounds; round++) {
        int rc = test_raw_raise(j->store, 1);
        if (rc != OTOK_OK)
            __atomic_store_n(&j->failed, rc, __ATOMIC_RELAXED);
    }
}

START_TEST(of_64_threads_that_raise_one_version_no_raise_is_lost)
{
    otok_lmdb_options options = with_timeout(PATIENCE_MS);
    job j = {.store = test_open_lmdb(path, &options), .rounds = 25};
    test_assert_code(OTOK_OK, test_raw_insert(j.store, 1, 300));
    test_threads(64, raise_often, &j);
    test_assert_code(OTOK_OK, j.failed);
    ck_assert_uint_eq(test_raw_version(j.store, 1), 1 + 64 * 25);
    otok_store_close(j.store);
}
END_TEST

static void insert_own(void *arg, size_t i)
{
    job *j = arg;
    for (uint32_t round = 0; round < j->rounds; round++) {
        int rc = test_raw_insert(j->store, (uint32_t)i * 1000 + round, 300);
        if (rc != OTOK_OK)
            __atomic_store_n(&j->failed, rc, __ATOMIC_RELAXED);
    }
}

static size_t last_transaction(void)
{
    MDB_env *env;
    MDB_envinfo info;
    ck_assert_int_eq(mdb_env_create(&env), 0);
    ck_assert_int_eq(mdb_env_open(env, path, MDB_RDONLY, 0600), 0);
    ck_assert_int_eq(mdb_env_info(env, &info), 0);
    mdb_env_close(env);
    return info.me_last_txnid;
}

enum { SHARERS = 32 };

static void insert_with_others(void *arg, size_t i)
{
    job *j = arg;
    if (i < SHARERS) {
        (void)__atomic_add_fetch(&j->come, 1, __ATOMIC_SEQ_CST);
        insert_own(arg, i);
        return;
    }
    while (__atomic_load_n(&j->come, __ATOMIC_SEQ_CST) < SHARERS)
        (void)sched_yield();
    release_turn(j->until);
}

/* Nobody gets through before all have come: where a sync takes no time, one thread may be done before the next has begun. */
START_TEST(commits_of_many_threads_share_transactions)
{
    enum { THREADS = SHARERS, ROUNDS = 20 };
    otok_lmdb_options options = with_timeout(PATIENCE_MS);
    options.no_sync = 0;
    job j = {.store = test_open_lmdb(path, &options), .rounds = ROUNDS};
    holder h = hold_turn();
    j.until = &h;
    test_threads(THREADS + 1, insert_with_others, &j);
    test_assert_code(OTOK_OK, j.failed);
    ck_assert_uint_eq(test_raw_count(j.store), THREADS * ROUNDS);
    otok_store_close(j.store);
    ck_assert_uint_lt(last_transaction(), THREADS * ROUNDS);
}
END_TEST

START_TEST(one_call_of_a_thousand_groups_gives_each_its_result)
{
    enum { N = 1000 };
    static otok_record records[N];
    static otok_write writes[N];
    static otok_group groups[N];
    otok_store *store = test_open_lmdb(path, NULL);
    for (uint32_t i = 0; i < N; i++) { /* every third is one that is there already */
        records[i] = test_raw_record(i % 3 == 2 ? i - 1 : i, OTOK_RECORD_SESSION, 1, 6000);
        writes[i] = (otok_write){.op = OTOK_WRITE_INSERT, .record = &records[i]};
        groups[i] = (otok_group){.writes = &writes[i], .n = 1};
    }
    test_assert_code(OTOK_OK, otok_store_commit(store, groups, N, NULL));
    for (uint32_t i = 0; i < N; i++)
        test_assert_code(i % 3 == 2 ? OTOK_E_CONFLICT : OTOK_OK, groups[i].result);
    ck_assert_uint_eq(test_raw_count(store), N - N / 3);
    otok_store_close(store);
}
END_TEST

/* ---------------------------------------------------------------------------------------------------- processes */

static void process_raises(void *shared, size_t i)
{
    otok_store *store;
    otok_lmdb_options options = with_timeout(PATIENCE_MS);
    (void)shared;
    (void)i;
    int rc = otok_store_open_lmdb(path, &options, &store, NULL);
    if (rc != OTOK_OK)
        test_leave("open", rc);
    for (int round = 0; round < 200; round++) {
        if ((rc = test_raw_raise(store, 1)) != OTOK_OK)
            test_leave("raise", rc);
    }
    otok_store_close(store);
}

START_TEST(of_processes_that_raise_one_version_no_raise_is_lost)
{
    otok_store *store = test_open_lmdb(path, NULL);
    test_assert_code(OTOK_OK, test_raw_insert(store, 1, 300));
    otok_store_close(store);
    test_processes(4, process_raises, NULL);
    store = test_open_lmdb(path, NULL);
    ck_assert_uint_eq(test_raw_version(store, 1), 1 + 4 * 200);
    otok_store_close(store);
}
END_TEST

START_TEST(a_process_killed_in_its_turn_holds_nobody_up)
{
    otok_lmdb_options options = with_timeout(PATIENCE_MS);
    otok_store *store = test_open_lmdb(path, &options);
    test_assert_code(OTOK_OK, test_raw_insert(store, 1, 300));
    for (uint64_t version = 1; version <= 20; version++) {
        holder h = hold_turn();
        kill_holder(&h);
        test_assert_code(OTOK_OK, test_raw_head(store, 1, version));
    }
    otok_store_close(store);
}
END_TEST

/* The same at whatever point of a commit it happens to be. */
START_TEST(processes_killed_while_they_commit_hold_nobody_up)
{
    otok_lmdb_options options = with_timeout(PATIENCE_MS);
    otok_store *store = test_open_lmdb(path, &options);
    test_assert_code(OTOK_OK, test_raw_insert(store, 1, 300));
    for (int i = 0; i < 100; i++) {
        int ready[2];
        char byte;
        ck_assert_int_eq(pipe2(ready, O_CLOEXEC), 0);
        pid_t pid = fork();
        ck_assert_int_ge(pid, 0);
        if (pid == 0) {
            otok_store *own;
            if (otok_store_open_lmdb(path, &options, &own, NULL) != OTOK_OK || write(ready[1], "r", 1) != 1)
                _exit(1);
            for (;;)
                (void)test_raw_raise(own, 1);
        }
        (void)close(ready[1]);
        ck_assert_int_eq(read(ready[0], &byte, 1), 1);
        (void)close(ready[0]);
        for (int n = 0; n < i % 10; n++)
            test_assert_code(OTOK_OK, test_raw_raise(store, 1));
        ck_assert_int_eq(kill(pid, SIGKILL), 0);
        ck_assert_int_eq(waitpid(pid, NULL, 0), pid);
        test_assert_code(OTOK_OK, test_raw_raise(store, 1));
    }
    otok_store_close(store);
}
END_TEST

/* A crash of the machine leaves the mutex in the file as it was: held by a thread that no longer is. */
START_TEST(a_lock_that_outlived_a_crash_of_the_machine_is_made_anew)
{
    otok_lmdb_options options = with_timeout(BUSY_MS);
    otok_store *store = test_open_lmdb(path, &options);
    otok_lmdb_lock *lock = map_lock();
    ck_assert_ptr_nonnull(lock);
    ck_assert_int_eq(pthread_mutex_lock(&lock->turn), 0);
    otok_lmdb_lock held = *lock;
    ck_assert_int_eq(pthread_mutex_unlock(&lock->turn), 0);
    otok_store_close(store);
    *lock = held;
    ck_assert_int_eq(munmap(lock, OTOK_LMDB_LOCK_SIZE), 0);
    store = test_open_lmdb(path, &options);
    test_assert_code(OTOK_OK, test_raw_insert(store, 1, 300));
    otok_store_close(store);
}
END_TEST

/* ---------------------------------------------------------------------------------------------------- in time */

START_TEST(a_commit_that_does_not_get_its_turn_is_busy_and_not_written)
{
    otok_lmdb_options options = with_timeout(BUSY_MS);
    otok_store *store = test_open_lmdb(path, &options);
    otok_record record = test_raw_record(1, OTOK_RECORD_SESSION, 1, 10);
    otok_error err;
    holder h = hold_turn();
    int64_t begin_us = otok_clock_monotonic_us();
    test_assert_code(OTOK_E_BUSY, test_raw_write(store, OTOK_WRITE_INSERT, 0, &record, &err));
    int64_t took_us = otok_clock_monotonic_us() - begin_us;
    ck_assert_int_ge(took_us, BUSY_MS * OTOK_US_PER_MS);
    ck_assert_int_lt(took_us, (BUSY_MS + 5000) * OTOK_US_PER_MS);
    ck_assert_int_eq(err.code, OTOK_E_BUSY);
    ck_assert_uint_eq(test_raw_version(store, 1), 0); /* reading goes on meanwhile */
    release_turn(&h);
    test_assert_code(OTOK_OK, test_raw_write(store, OTOK_WRITE_INSERT, 0, &record, NULL));
    otok_store_close(store);
}
END_TEST

static void insert_or_be_busy(void *arg, size_t i)
{
    job *j = arg;
    int rc = test_raw_insert(j->store, (uint32_t)i, 10);
    if (rc == OTOK_E_BUSY)
        (void)__atomic_add_fetch(&j->busy, 1, __ATOMIC_RELAXED);
    else if (rc == OTOK_OK)
        (void)__atomic_add_fetch(&j->done, 1, __ATOMIC_RELAXED);
}

START_TEST(the_followers_of_a_leader_without_a_turn_are_busy_too)
{
    otok_lmdb_options options = with_timeout(BUSY_MS);
    job j = {.store = test_open_lmdb(path, &options)};
    holder h = hold_turn();
    test_threads(16, insert_or_be_busy, &j);
    ck_assert_uint_eq(j.busy, 16);
    ck_assert_uint_eq(test_raw_count(j.store), 0);
    release_turn(&h);
    j.busy = 0;
    test_threads(16, insert_or_be_busy, &j);
    ck_assert_uint_eq(j.done, 16);
    ck_assert_uint_eq(test_raw_count(j.store), 16);
    otok_store_close(j.store);
}
END_TEST

/* Threads with little patience among threads with much: what said OTOK_OK is there, what said BUSY is not. */
static void impatient(void *arg, size_t i)
{
    otok_lmdb_options options = with_timeout(i % 2 == 0 ? 1 : PATIENCE_MS);
    job *j = arg;
    otok_store *store = test_open_lmdb(path, &options);
    for (uint32_t round = 0; round < 200; round++) {
        uint32_t number = (uint32_t)i * 1000 + round;
        int rc = test_raw_insert(store, number, 300);
        if (rc != OTOK_OK && (rc != OTOK_E_BUSY || i % 2 == 1))
            __atomic_store_n(&j->failed, rc, __ATOMIC_RELAXED);
        if (test_raw_version(store, number) != (rc == OTOK_OK ? 1 : 0))
            __atomic_store_n(&j->failed, OTOK_E_UNCERTAIN, __ATOMIC_RELAXED);
    }
    otok_store_close(store);
}

START_TEST(what_gave_up_waiting_was_not_written)
{
    otok_lmdb_options options = with_timeout(PATIENCE_MS);
    job j = {.store = test_open_lmdb(path, &options)};
    test_threads(16, impatient, &j);
    test_assert_code(OTOK_OK, j.failed);
    otok_store_close(j.store);
}
END_TEST

/* ------------------------------------------------------------------------------------------------ cancelled threads */

typedef struct victim {
    otok_store *store;
    uint32_t number;
    uint32_t acknowledged; /* how many of its inserts were answered with OTOK_OK */
    int failed;
} victim;

static void *insert_until_cancelled(void *arg)
{
    victim *v = arg;
    for (;;) {
        int rc = test_raw_insert(v->store, v->number + v->acknowledged, 10);
        if (rc != OTOK_OK)
            v->failed = rc;
        v->acknowledged++;
        pthread_testcancel();
    }
    return NULL;
}

START_TEST(cancelled_threads_neither_hang_others_nor_lose_what_was_written)
{
    otok_lmdb_options options = with_timeout(PATIENCE_MS);
    otok_store *store = test_open_lmdb(path, &options);
    for (uint32_t round = 0; round < 50; round++) {
        victim victims[4];
        pthread_t threads[4];
        holder h = {0};
        if (round % 2 == 0)
            h = hold_turn(); /* one leads and waits, the others follow, when they are cancelled */
        for (uint32_t i = 0; i < 4; i++) {
            victims[i] = (victim){.store = store, .number = (round * 4 + i) << 16};
            ck_assert_int_eq(pthread_create(&threads[i], NULL, insert_until_cancelled, &victims[i]), 0);
        }
        for (uint32_t i = 0; i < 4; i++)
            ck_assert_int_eq(pthread_cancel(threads[i]), 0);
        if (round % 2 == 0)
            release_turn(&h);
        for (uint32_t i = 0; i < 4; i++) {
            void *end;
            ck_assert_int_eq(pthread_join(threads[i], &end), 0);
            ck_assert_ptr_eq(end, PTHREAD_CANCELED);
            test_assert_code(OTOK_OK, victims[i].failed);
            for (uint32_t n = 0; n < victims[i].acknowledged; n++)
                ck_assert_uint_eq(test_raw_version(store, victims[i].number + n), 1);
        }
        test_assert_code(OTOK_OK, test_raw_insert(store, UINT32_MAX - round, 10));
    }
    otok_store_close(store);
}
END_TEST

/* ---------------------------------------------------------------------------------------------------- growth */

typedef struct growth {
    otok_store *store;
    bool ended;
    uint32_t written;
    int failed;
} growth;

static void grow_and_read(void *arg, size_t i)
{
    growth *g = arg;
    if (i == 0) {
        for (uint32_t n = 0; n < 400; n++) {
            int rc = test_raw_insert(g->store, n, 8000);
            if (rc != OTOK_OK)
                g->failed = rc;
            __atomic_store_n(&g->written, n + 1, __ATOMIC_RELEASE);
        }
        __atomic_store_n(&g->ended, true, __ATOMIC_RELEASE);
        return;
    }
    while (!__atomic_load_n(&g->ended, __ATOMIC_ACQUIRE)) {
        uint32_t written = __atomic_load_n(&g->written, __ATOMIC_ACQUIRE);
        for (uint32_t n = written > 20 ? written - 20 : 0; n < written; n++)
            ck_assert_uint_eq(test_raw_version(g->store, n), 1); /* with the body it should have */
        ck_assert_uint_ge(test_raw_count(g->store), written);
    }
}

START_TEST(the_map_grows_under_readers)
{
    otok_lmdb_options options = with_timeout(PATIENCE_MS);
    options.map_size = 65536;
    growth g = {.store = test_open_lmdb(path, &options)};
    test_threads(5, grow_and_read, &g);
    test_assert_code(OTOK_OK, g.failed);
    ck_assert_uint_eq(test_raw_count(g.store), 400);
    otok_store_close(g.store);
}
END_TEST

static void grow_in_process(void *shared, size_t i)
{
    otok_store *store;
    otok_lmdb_options options = with_timeout(PATIENCE_MS);
    options.map_size = i == 0 ? 65536 : 1 << 20;
    pthread_barrier_t *turn = shared;
    int rc = otok_store_open_lmdb(path, &options, &store, NULL);
    if (rc != OTOK_OK)
        test_leave("open", rc);
    for (uint32_t round = 0; round < 60; round++) { /* by turns, so that each meets what the other's growth did */
        for (uint32_t n = 0; n < 5 && round % 2 == i; n++) {
            if ((rc = test_raw_insert(store, round * 10 + n, 8000)) != OTOK_OK)
                test_leave("insert", rc);
        }
        pthread_barrier_wait(turn);
        for (uint32_t n = 0; n < 5; n++) {
            if (test_raw_version(store, round * 10 + n) != 1)
                test_leave("a record of this round is not there", OTOK_E_NOT_FOUND);
        }
        pthread_barrier_wait(turn);
    }
    otok_store_close(store);
}

START_TEST(two_processes_grow_it_by_turns)
{
    pthread_barrier_t *turn = test_shared(sizeof *turn);
    test_barrier_init(turn, 2);
    test_processes(2, grow_in_process, turn);
    test_unshare(turn, sizeof *turn);
    otok_store *store = test_open_lmdb(path, NULL);
    ck_assert_uint_eq(test_raw_count(store), 300);
    otok_store_close(store);
}
END_TEST

static void grow_at_once(void *shared, size_t i)
{
    otok_store *store;
    otok_lmdb_options options = with_timeout(PATIENCE_MS);
    (void)shared;
    options.map_size = 65536;
    int rc = otok_store_open_lmdb(path, &options, &store, NULL);
    if (rc != OTOK_OK)
        test_leave("open", rc);
    for (uint32_t n = 0; n < 200; n++) {
        if ((rc = test_raw_insert(store, (uint32_t)i * 1000 + n, 8000)) != OTOK_OK)
            test_leave("insert", rc);
        if (test_raw_version(store, (uint32_t)i * 1000 + n) != 1)
            test_leave("what was just written is not there", OTOK_E_NOT_FOUND);
    }
    otok_store_close(store);
}

START_TEST(processes_grow_it_at_once)
{
    test_processes(3, grow_at_once, NULL);
    otok_store *store = test_open_lmdb(path, NULL);
    ck_assert_uint_eq(test_raw_count(store), 600);
    otok_store_close(store);
}
END_TEST

static void add(TCase *tcase)
{
    tcase_add_checked_fixture(tcase, set_up, tear_down);
    tcase_add_test(tcase, of_64_threads_that_raise_one_version_no_raise_is_lost);
    tcase_add_test(tcase, commits_of_many_threads_share_transactions);
    tcase_add_test(tcase, one_call_of_a_thousand_groups_gives_each_its_result);
    tcase_add_test(tcase, of_processes_that_raise_one_version_no_raise_is_lost);
    tcase_add_test(tcase, a_process_killed_in_its_turn_holds_nobody_up);
    tcase_add_test(tcase, processes_killed_while_they_commit_hold_nobody_up);
    tcase_add_test(tcase, a_lock_that_outlived_a_crash_of_the_machine_is_made_anew);
    tcase_add_test(tcase, a_commit_that_does_not_get_its_turn_is_busy_and_not_written);
    tcase_add_test(tcase, the_followers_of_a_leader_without_a_turn_are_busy_too);
    tcase_add_test(tcase, what_gave_up_waiting_was_not_written);
    tcase_add_test(tcase, cancelled_threads_neither_hang_others_nor_lose_what_was_written);
    tcase_add_test(tcase, the_map_grows_under_readers);
    tcase_add_test(tcase, two_processes_grow_it_by_turns);
    tcase_add_test(tcase, processes_grow_it_at_once);
}

int main(void)
{
    return test_main("lmdb commit", add);
}

#else

int main(void)
{
    return test_without_lmdb("lmdb commit");
}

#endif
