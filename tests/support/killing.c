/*
 * killing.c
 *
 * SPDX-License-Identifier: MIT
 */
#include "support/killing.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "store/lmdb.h"
#include "support/ask.h"
#include "support/raw.h"
#include "support/records.h"
#include "support/transfer.h"

const char *const killing_names[KILLING_WORKS] = {"import", "repair", "sweep", "backup"};

#ifdef OTOK_HAVE_LMDB

enum { RECORDS = 1500, DEAD = 120, ALIVE = 5, TRIES = 3 };

typedef struct scene {
    int work;
    uint64_t random;
    char *folder;
    char path[4200], copy[4200];
    test_file file;  /* IMPORT: what is imported */
    test_fixture *f; /* SWEEP: keyring, clock and policy; its own store is not used */
    test_held alive[ALIVE];
    int64_t takes_us; /* the work, as fast as the machine is now */
    killing_report report;
} scene;

/* ---------------------------------------------------------------------------------------------------- a store */

static otok_store *open_store(const scene *s, bool no_sync)
{
    otok_lmdb_options options;
    otok_lmdb_options_init(&options, sizeof options);
    options.no_sync = no_sync;
    return test_open_lmdb(s->path, &options);
}

static otok_check check_store(otok_store *store)
{
    otok_check result;
    otok_error err = {0};
    otok_check_init(&result, sizeof result);
    int rc = otok_store_check(store, 0, NULL, &result, &err);
    ck_assert_msg(rc == OTOK_OK, "otok_store_check: %s", err.message);
    return result;
}

static void fill(otok_store *store)
{
    for (uint32_t i = 1; i <= RECORDS; i++)
        test_assert_code(OTOK_OK, test_raw_insert(store, i, i % 500));
}

static otok_service *open_service(const scene *s, otok_store *store)
{
    otok_service *service;
    otok_config config;
    otok_config_init(&config, sizeof config);
    config.issuer = TEST_ISSUER;
    config.policy = &s->f->policy;
    config.callbacks = &s->f->callbacks;
    config.user = s->f;
    test_assert_code(OTOK_OK, otok_service_open(&config, store, s->f->keyring, &service, NULL));
    return service;
}

/* ---------------------------------------------------------------------------------------------------- preparing */

void killing_drop_index(const char *directory)
{
    MDB_env *env;
    MDB_txn *txn;
    MDB_dbi index;
    ck_assert_int_eq(mdb_env_create(&env), 0);
    ck_assert_int_eq(mdb_env_set_maxdbs(env, 8), 0);
    ck_assert_int_eq(mdb_env_set_mapsize(env, (size_t)1 << 30), 0);
    ck_assert_int_eq(mdb_env_open(env, directory, MDB_NOLOCK | MDB_NOSYNC, 0600), 0);
    ck_assert_int_eq(mdb_txn_begin(env, NULL, 0, &txn), 0);
    ck_assert_int_eq(mdb_dbi_open(txn, "index", MDB_DUPSORT | MDB_DUPFIXED, &index), 0);
    ck_assert_int_eq(mdb_drop(txn, index, 0), 0);
    ck_assert_int_eq(mdb_txn_commit(txn), 0);
    mdb_env_close(env);
}

/* Sessions behind a cutoff that nobody has swept yet. */
static void let_some_die(scene *s, otok_store *store)
{
    otok_filter filter = test_filter("dead", NULL, NULL);
    otok_service *own = s->f->service;
    s->f->service = open_service(s, store);
    for (int i = 0; i < DEAD; i++)
        (void)test_hold(s->f, "dead", "phone");
    for (int i = 0; i < ALIVE; i++)
        if (s->alive[i].token[0] == '\0')
            s->alive[i] = test_hold(s->f, "alive", "phone");
    test_assert_code(OTOK_OK, otok_cutoff_set(s->f->service, &filter, OTOK_NOW, NULL, NULL));
    test_advance_s(s->f, 60);
    otok_service_close(s->f->service);
    s->f->service = own;
    test_forget_events(s->f);
}

static void prepare(scene *s)
{
    otok_store *store;
    if (s->work == KILLING_IMPORT) {
        test_remove_folder(strdup(s->path));
    } else if (s->work == KILLING_REPAIR) {
        killing_drop_index(s->path);
    } else if (s->work == KILLING_SWEEP) {
        store = open_store(s, true);
        let_some_die(s, store);
        otok_store_close(store);
    } else {
        test_remove_folder(strdup(s->copy));
    }
}

static void begin(scene *s)
{
    otok_store *store;
    s->folder = test_new_folder();
    (void)snprintf(s->path, sizeof s->path, "%s/store", s->folder);
    (void)snprintf(s->copy, sizeof s->copy, "%s/copy", s->folder);
    s->f = test_open(TEST_MEMORY);
    test_plain_policy(s->f);
    store = open_store(s, true);
    if (s->work != KILLING_SWEEP)
        fill(store);
    s->file = test_export(store);
    otok_store_close(store);
    prepare(s);
}

static void end(scene *s)
{
    test_file_free(&s->file);
    test_close(s->f);
    test_remove_folder(s->folder);
}

/* ---------------------------------------------------------------------------------------------------- working */

static int sweep_out(const scene *s, otok_store *store)
{
    otok_sweep_result result;
    otok_service *service = open_service(s, store);
    int rc;
    do {
        otok_sweep_result_init(&result, sizeof result);
        rc = otok_sweep(service, 0, &result, NULL);
    } while (rc == OTOK_OK && result.more != 0);
    otok_service_close(service);
    return rc;
}

/* In the child, or in the parent where nobody kills it. */
static int do_work(scene *s)
{
    otok_store *store = open_store(s, false);
    int rc;
    if (s->work == KILLING_IMPORT)
        rc = test_import(store, &s->file, OTOK_IMPORT_ADD, 0, NULL, NULL);
    else if (s->work == KILLING_REPAIR)
        rc = otok_store_check(store, 1, NULL, NULL, NULL);
    else if (s->work == KILLING_SWEEP)
        rc = sweep_out(s, store);
    else
        rc = otok_store_backup(store, s->copy, NULL, NULL);
    otok_store_close(store);
    return rc;
}

static int64_t clock_us(void)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * OTOK_US_PER_S + now.tv_nsec / 1000;
}

static uint64_t draw(scene *s, uint64_t below)
{
    s->random = s->random * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (s->random >> 33) % below;
}

/* Whether it was killed before it ended. */
static bool work_and_be_killed(scene *s)
{
    int status = 0;
    int64_t moment_us = (int64_t)draw(s, (uint64_t)s->takes_us + 1);
    const struct timespec wait = {.tv_sec = moment_us / 1000000, .tv_nsec = moment_us % 1000000 * 1000};
    pid_t pid = fork();
    ck_assert_int_ge(pid, 0);
    if (pid == 0)
        _exit(do_work(s) == OTOK_OK ? 0 : 1);
    (void)nanosleep(&wait, NULL);
    (void)kill(pid, SIGKILL);
    ck_assert_int_eq(waitpid(pid, &status, 0), pid);
    ck_assert_msg(WIFSIGNALED(status) || WEXITSTATUS(status) == 0, "%s failed after kill %llu", killing_names[s->work],
                  (unsigned long long)s->report.kills);
    return WIFSIGNALED(status);
}

/* ---------------------------------------------------------------------------------------------------- judging */

static void must_be_clean(const scene *s, const otok_check *check)
{
    ck_assert_msg(check->findings == 0, "%s: %llu findings after kill %llu", killing_names[s->work],
                  (unsigned long long)check->findings, (unsigned long long)s->report.kills);
}

static uint64_t judge_import(scene *s, otok_store *store)
{
    otok_transfer result;
    otok_check check = check_store(store);
    must_be_clean(s, &check);
    test_assert_code(OTOK_OK, test_import(store, &s->file, OTOK_IMPORT_ADD, 1, &result, NULL)); /* none is another */
    ck_assert_uint_eq(result.same, check.records);
    return result.same;
}

/* In one transaction: all of the index, or nothing of it. */
static uint64_t judge_repair(scene *s, otok_store *store)
{
    otok_check check = check_store(store);
    ck_assert_msg(check.findings == 0 || check.findings == RECORDS, "half a repair after kill %llu",
                  (unsigned long long)s->report.kills);
    return check.findings == 0 ? RECORDS : 0;
}

static uint64_t judge_sweep(scene *s, otok_store *store)
{
    otok_check check = check_store(store), own;
    otok_service *service = open_service(s, store);
    otok_filter dead = test_filter("dead", NULL, NULL), alive = test_filter("alive", NULL, NULL);
    uint64_t left = 0, living = 0;
    must_be_clean(s, &check);
    otok_check_init(&own, sizeof own);
    test_assert_code(OTOK_OK, otok_service_check(service, NULL, &own, NULL));
    must_be_clean(s, &own);
    test_assert_code(OTOK_OK, otok_count(service, &dead, &left, NULL));
    test_assert_code(OTOK_OK, otok_count_live(service, &alive, &living, NULL));
    ck_assert_uint_eq(living, ALIVE);
    ck_assert_uint_le(left, DEAD);
    otok_service_close(service);
    return DEAD - left;
}

/* A copy that has its name is whole. */
static uint64_t judge_backup(scene *s, otok_store *store)
{
    struct stat st;
    otok_check check = check_store(store);
    must_be_clean(s, &check);
    ck_assert_uint_eq(check.records, RECORDS);
    if (stat(s->copy, &st) != 0)
        return 0;
    otok_store *copy = test_open_lmdb(s->copy, NULL);
    check = check_store(copy);
    must_be_clean(s, &check);
    ck_assert_uint_eq(check.records, RECORDS);
    otok_store_close(copy);
    test_remove_folder(strdup(s->copy));
    return RECORDS;
}

/* How much of the work is done. */
static uint64_t judge(scene *s)
{
    static uint64_t (*const judges[KILLING_WORKS])(scene *, otok_store *) = {judge_import, judge_repair, judge_sweep,
                                                                             judge_backup};
    otok_store *store = open_store(s, true);
    uint64_t done = judges[s->work](s, store);
    otok_store_close(store);
    return done;
}

/* ---------------------------------------------------------------------------------------------------- the loop */

/* Undisturbed, after whatever kills there were: it comes to its end. */
static void finish(scene *s)
{
    static const uint64_t whole[KILLING_WORKS] = {RECORDS, RECORDS, DEAD, RECORDS};
    int64_t begun_us = clock_us();
    ck_assert_msg(do_work(s) == OTOK_OK, "%s does not come to its end after kill %llu", killing_names[s->work],
                  (unsigned long long)s->report.kills);
    if (s->takes_us == 0)
        s->takes_us = clock_us() - begun_us;
    ck_assert_uint_eq(judge(s), whole[s->work]);
    prepare(s);
}

killing_report killing_run(int work, uint64_t kills, uint64_t seed)
{
    scene s = {.work = work, .random = seed};
    begin(&s);
    finish(&s); /* to see how long it takes */
    while (s.report.kills < kills && s.report.finished < 4 * kills + 100) {
        for (int i = 0; i < TRIES && s.report.kills < kills; i++) {
            bool killed = work_and_be_killed(&s);
            s.report.kills += killed;
            s.report.finished += !killed;
            s.takes_us = killed ? s.takes_us * 17 / 16 + 1 : s.takes_us * 7 / 8;
            s.report.begun += judge(&s) != 0 && killed;
        }
        finish(&s);
    }
    end(&s);
    return s.report;
}

#else

void killing_drop_index(const char *directory)
{
    (void)directory;
}

killing_report killing_run(int work, uint64_t kills, uint64_t seed)
{
    (void)work;
    (void)seed;
    return (killing_report){.kills = kills};
}

#endif
