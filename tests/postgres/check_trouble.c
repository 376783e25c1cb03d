/*
 * check_trouble.c - connections that are killed, full, silent or inherited; statements that are cut off; databases that serialize
 * (R6, R8, T2, V5).
 *
 * SPDX-License-Identifier: MIT
 */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "postgres/server.h"
#include "support/ask.h"
#include "support/crew.h"
#include "support/raw.h"
#include "support/stress.h"

static otok_store *open_with(test_server *server, const char *name, const char *more)
{
    otok_store *store = NULL;
    otok_error err;
    test_server_begin(server, name);
    server->options.connections = 1;
    server->options.wait_ms = 1000;
    test_server_migrate(server);
    int rc = test_server_try(server, more, &store, &err);
    ck_assert_msg(rc == OTOK_OK, "%s: %s", otok_error_name(rc), err.message);
    return store;
}

static void reopen(const test_server *server, const otok_postgres_options *options, otok_store **store)
{
    otok_error err;
    otok_store_close(*store);
    int rc = otok_store_open_postgres(server->mine, options, store, &err);
    ck_assert_msg(rc == OTOK_OK, "%s: %s", otok_error_name(rc), err.message);
}

static void kill_backends(const test_server *server)
{
    test_server_sql(server, NULL,
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = '%s'",
                    server->schema);
}

/* ---------------------------------------------------------------------------------------------------- killed */

/* An idle connection that was lost is nobody's concern. */
START_TEST(a_connection_killed_between_two_calls_is_opened_again)
{
    test_server server;
    otok_store *store = open_with(&server, "idle", "");
    test_assert_code(OTOK_OK, test_raw_insert(store, 1, 10));
    for (uint64_t version = 1; version <= 5; version++) {
        char left[256];
        kill_backends(&server);
        do { /* it has gone when the server says so */
            test_server_sql(&server, left, "SELECT count(*) FROM pg_stat_activity WHERE application_name = '%s'",
                            server.schema);
        } while (strcmp(left, "0") != 0);
        test_assert_code(OTOK_OK, test_raw_head(store, 1, version));
    }
    kill_backends(&server);
    ck_assert_uint_eq(test_raw_version(store, 1), 6);
    otok_store_close(store);
}
END_TEST

enum { CLIENTS = 8, KILLS = 30 };

typedef struct siege {
    test_server server;
    otok_store *store;
    _Atomic uint64_t sure[CLIENTS], unsure[CLIENTS], refused[CLIENTS];
    const char *_Atomic wrong;
    _Atomic bool over;
} siege;

/* Each raises a record of its own: what was acknowledged is there, what was not tried is not, what is in doubt may be. */
static void raise_on_and_on(siege *s, size_t i)
{
    uint32_t number = (uint32_t)i + 1;
    uint64_t version = 1;
    while (!s->over) {
        int rc = test_raw_head(s->store, number, version);
        uint64_t stored = test_raw_version(s->store, number);
        bool happened = stored == version + 1;
        if (stored != version && !happened)
            s->wrong = "a version from nowhere";
        else if (rc == OTOK_OK && !happened)
            s->wrong = "an acknowledged write was lost";
        else if (rc != OTOK_OK && rc != OTOK_E_UNCERTAIN && rc != OTOK_E_BUSY)
            s->wrong = otok_error_name(rc);
        else if (rc == OTOK_E_BUSY && happened)
            s->wrong = "a write that was not tried took place";
        s->sure[i] += rc == OTOK_OK;
        s->unsure[i] += rc == OTOK_E_UNCERTAIN;
        s->refused[i] += rc == OTOK_E_BUSY;
        version = stored;
        if (s->wrong != NULL)
            return;
    }
}

static void besiege(void *arg, size_t i)
{
    siege *s = arg;
    if (i < CLIENTS) {
        raise_on_and_on(s, i);
        return;
    }
    for (int k = 0; k < KILLS; k++) {
        uint64_t before = 0, now;
        for (size_t c = 0; c < CLIENTS; c++)
            before += s->sure[c];
        kill_backends(&s->server);
        do { /* everybody goes on before the next */
            now = 0;
            for (size_t c = 0; c < CLIENTS; c++)
                now += s->sure[c];
        } while (now < before + 2 * CLIENTS && s->wrong == NULL);
    }
    s->over = true;
}

/* R8: pg_terminate_backend in the middle of everything */
START_TEST(connections_killed_in_the_middle_lose_nothing_that_was_acknowledged)
{
    siege s = {.wrong = NULL};
    uint64_t unsure = 0, refused = 0, sure = 0;
    s.store = open_with(&s.server, "siege", "");
    s.server.options.connections = 4;
    s.server.options.wait_ms = 20000;
    reopen(&s.server, &s.server.options, &s.store);
    for (uint32_t i = 1; i <= CLIENTS; i++)
        test_assert_code(OTOK_OK, test_raw_insert(s.store, i, 10));
    test_threads(CLIENTS + 1, besiege, &s);
    ck_assert_msg(s.wrong == NULL, "%s", s.wrong);
    for (size_t i = 0; i < CLIENTS; i++) {
        sure += s.sure[i];
        unsure += s.unsure[i];
        refused += s.refused[i];
    }
    printf("%llu acknowledged, %llu in doubt, %llu not tried\n", (unsigned long long)sure, (unsigned long long)unsure,
           (unsigned long long)refused);
    ck_assert_uint_gt(unsure + refused, 0);
    otok_store_close(s.store);
}
END_TEST

/* ---------------------------------------------------------------------------------------------------- held up */

/* The server's statement_timeout ends a write before its commit: nothing was written, and that is what is said. */
START_TEST(a_statement_cut_off_by_the_server_was_not_written)
{
    test_server server;
    otok_store *store = open_with(&server, "timeout", "options='-c statement_timeout=1500'");
    test_assert_code(OTOK_OK, test_raw_insert(store, 1, 10));
    test_lock *lock = test_lock_rows(&server, "SELECT 1 FROM %s.records FOR UPDATE", server.schema);
    test_assert_code(OTOK_E_BUSY, test_raw_head(store, 1, 1));
    test_unlock(lock);
    ck_assert_uint_eq(test_raw_version(store, 1), 1);
    test_assert_code(OTOK_OK, test_raw_head(store, 1, 1));
    otok_store_close(store);
}
END_TEST

/* The library's own timeout cannot know: the server may still do it. */
START_TEST(a_commit_without_an_answer_in_time_is_in_doubt)
{
    test_server server;
    otok_store *store = open_with(&server, "silent", "");
    server.options.timeout_ms = 2000;
    reopen(&server, &server.options, &store);
    test_assert_code(OTOK_OK, test_raw_insert(store, 1, 10));
    test_lock *lock = test_lock_rows(&server, "SELECT 1 FROM %s.records FOR UPDATE", server.schema);
    test_assert_code(OTOK_E_UNCERTAIN, test_raw_head(store, 1, 1));
    ck_assert_uint_eq(test_raw_version(store, 1), 1); /* reads go on */
    test_unlock(lock);
    while (test_raw_version(store, 1) == 1) { /* the server had not heard that nobody waits */
    }
    test_assert_code(OTOK_E_CONFLICT, test_raw_head(store, 1, 1));
    ck_assert_uint_eq(test_raw_version(store, 1), 2);
    otok_store_close(store);
}
END_TEST

START_TEST(a_read_without_an_answer_in_time_is_busy)
{
    test_server server;
    otok_store *store = open_with(&server, "locked", "");
    otok_error err;
    uint64_t n;
    server.options.timeout_ms = 2000;
    reopen(&server, &server.options, &store);
    test_lock *lock = test_lock_rows(&server, "LOCK TABLE %s.records IN ACCESS EXCLUSIVE MODE", server.schema);
    otok_index_key key = {.index = OTOK_INDEX_REALM};
    test_assert_code(OTOK_E_BUSY, otok_store_count(store, &key, &n, &err));
    test_unlock(lock);
    test_assert_code(OTOK_OK, otok_store_count(store, &key, &n, &err));
    otok_store_close(store);
}
END_TEST

typedef struct crowd {
    otok_store *store;
    int rc[2];
} crowd;

static void write_one(void *arg, size_t i)
{
    crowd *c = arg;
    c->rc[i] = test_raw_head(c->store, (uint32_t)i + 1, 1);
}

/* One connection, and whoever has it waits for a lock: the other is told that it was not tried. */
START_TEST(a_full_pool_is_busy_and_not_for_ever)
{
    test_server server;
    crowd c = {.store = open_with(&server, "full", "")};
    server.options.timeout_ms = 4000;
    reopen(&server, &server.options, &c.store);
    test_assert_code(OTOK_OK, test_raw_insert(c.store, 1, 10));
    test_assert_code(OTOK_OK, test_raw_insert(c.store, 2, 10));
    test_lock *lock = test_lock_rows(&server, "SELECT 1 FROM %s.records FOR UPDATE", server.schema);
    test_threads(2, write_one, &c);
    test_unlock(lock);
    ck_assert_msg((c.rc[0] == OTOK_E_BUSY && c.rc[1] == OTOK_E_UNCERTAIN) ||
                      (c.rc[1] == OTOK_E_BUSY && c.rc[0] == OTOK_E_UNCERTAIN),
                  "%s, %s", otok_error_name(c.rc[0]), otok_error_name(c.rc[1]));
    test_assert_code(OTOK_OK, test_raw_insert(c.store, 3, 10));
    otok_store_close(c.store);
}
END_TEST

/* ---------------------------------------------------------------------------------------------------- groups */

/* Groups that name the same records in different orders would wait for each other: they are sorted. */
static void write_crosswise(void *arg, size_t i)
{
    enum { RECORDS = 8, ROUNDS = 60 };
    siege *s = arg;
    for (int round = 0; round < ROUNDS && s->wrong == NULL; round++) {
        otok_record records[RECORDS];
        otok_write writes[RECORDS];
        otok_error err;
        for (uint32_t k = 0; k < RECORDS; k++) {
            uint32_t number = 1 + (i % 2 == 0 ? k : RECORDS - 1 - k);
            uint64_t version = test_raw_version(s->store, number);
            records[k] = test_raw_record(number, OTOK_RECORD_SESSION, version + 1, 10);
            writes[k] = (otok_write){.op = OTOK_WRITE_HEAD, .expect = version, .record = &records[k]};
        }
        otok_group group = {.writes = writes, .n = RECORDS};
        int rc = otok_store_commit(s->store, &group, 1, &err);
        if (rc != OTOK_OK || (group.result != OTOK_OK && group.result != OTOK_E_CONFLICT))
            s->wrong = otok_error_name(rc != OTOK_OK ? rc : group.result);
        s->sure[i] += rc == OTOK_OK && group.result == OTOK_OK;
    }
}

START_TEST(groups_that_cross_do_not_deadlock_and_are_whole)
{
    siege s = {.wrong = NULL};
    char before[256], after[256];
    uint64_t sure = 0;
    s.store = open_with(&s.server, "cross", "");
    s.server.options.connections = 4;
    s.server.options.wait_ms = 20000;
    reopen(&s.server, &s.server.options, &s.store);
    for (uint32_t k = 1; k <= 8; k++)
        test_assert_code(OTOK_OK, test_raw_insert(s.store, k, 10));
    test_server_sql(&s.server, before, "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()");
    test_threads(4, write_crosswise, &s);
    test_server_sql(&s.server, after, "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()");
    ck_assert_msg(s.wrong == NULL, "%s", s.wrong);
    ck_assert_str_eq(before, after);
    for (size_t i = 0; i < 4; i++)
        sure += s.sure[i];
    for (uint32_t k = 1; k <= 8; k++)
        ck_assert_uint_eq(test_raw_version(s.store, k), 1 + sure);
    otok_store_close(s.store);
}
END_TEST

/* 40001: the library decides anew, and nobody is refused. */
START_TEST(a_database_that_serializes_refuses_nobody)
{
    test_server server;
    otok_error err;
    test_server_begin(&server, "serial");
    test_fixture *f = test_server_fixture(&server);
    otok_service_close(f->service);
    otok_store_close(f->store);
    f->service = NULL;
    test_assert_code(
        OTOK_OK, test_server_try(&server, "options='-c default_transaction_isolation=serializable'", &f->store, &err));
    test_reopen_service(f);
    test_stress sum = test_stress_refresh(f, 4, 1.5);
    ck_assert_msg(sum.refused == 0, "%llu refused, the first with %s", (unsigned long long)sum.refused,
                  otok_error_name(sum.first_refusal));
    ck_assert_uint_eq(sum.generation, sum.advanced);
    ck_assert_uint_ge(sum.advanced, 1);
    test_close(f);
}
END_TEST

static int ignore(void *arg, const otok_record *record)
{
    (void)arg;
    (void)record;
    return 0;
}

/* Three raise records that they share and add others; one reads them all, and is told of no conflict. */
static void write_or_read(void *arg, size_t i)
{
    enum { RECORDS = 20, READS = 400, ROOM = 100000 };
    siege *s = arg;
    otok_error err;
    for (uint32_t k = 0; i < 3 && !s->over; k++) {
        uint32_t number = 1 + k % RECORDS;
        uint64_t version = test_raw_version(s->store, number);
        otok_record raised = test_raw_record(number, OTOK_RECORD_SESSION, version + 1, 10);
        otok_record added = test_raw_record((uint32_t)(i + 1) * ROOM + k, OTOK_RECORD_SESSION, 1, 10);
        otok_write writes[] = {{.op = OTOK_WRITE_HEAD, .expect = version, .record = &raised},
                               {.op = OTOK_WRITE_INSERT, .record = &added}};
        otok_group group = {.writes = writes, .n = 2};
        (void)otok_store_commit(s->store, &group, 1, &err);
    }
    for (int k = 0; i == 3 && k < READS && s->wrong == NULL; k++) {
        otok_scan scan = {.size = sizeof scan, .key = {.index = OTOK_INDEX_REALM}, .limit = 1000};
        int rc = otok_store_scan(s->store, &scan, ignore, NULL, &err);
        s->wrong = rc != OTOK_OK ? otok_error_name(rc) : NULL;
    }
    s->over = s->over || i == 3;
}

START_TEST(a_database_that_serializes_tells_no_reader_of_a_conflict)
{
    siege s = {.wrong = NULL};
    s.store = open_with(&s.server, "readers", "");
    size_t len = strlen(s.server.mine);
    (void)snprintf(s.server.mine + len, sizeof s.server.mine - len,
                   " options='-c default_transaction_isolation=serializable'");
    s.server.options.connections = 4;
    s.server.options.wait_ms = 20000;
    reopen(&s.server, &s.server.options, &s.store);
    for (uint32_t k = 1; k <= 20; k++)
        test_assert_code(OTOK_OK, test_raw_insert(s.store, k, 10));
    test_threads(4, write_or_read, &s);
    ck_assert_msg(s.wrong == NULL, "%s", s.wrong);
    otok_store_close(s.store);
}
END_TEST

/* More than a batch of groups in one commit, of which some miss. */
START_TEST(many_groups_of_one_commit_have_each_its_own_result)
{
    enum { GROUPS = 200 };
    static otok_record records[GROUPS];
    static otok_write writes[GROUPS];
    static otok_group groups[GROUPS];
    test_server server;
    otok_error err;
    otok_store *store = open_with(&server, "groups", "");
    for (uint32_t i = 0; i < GROUPS; i += 3)
        test_assert_code(OTOK_OK, test_raw_insert(store, i + 1, 10));
    for (uint32_t i = 0; i < GROUPS; i++) {
        records[i] = test_raw_record(i + 1, OTOK_RECORD_SESSION, 1, 2000);
        writes[i] = (otok_write){.op = OTOK_WRITE_INSERT, .record = &records[i]};
        groups[i] = (otok_group){.writes = &writes[i], .n = 1};
    }
    test_assert_code(OTOK_OK, otok_store_commit(store, groups, GROUPS, &err));
    for (uint32_t i = 0; i < GROUPS; i++)
        test_assert_code(i % 3 == 0 ? OTOK_E_CONFLICT : OTOK_OK, groups[i].result);
    ck_assert_uint_eq(test_raw_count(store), GROUPS);
    otok_store_close(store);
}
END_TEST

/* ---------------------------------------------------------------------------------------------------- fork */

START_TEST(a_child_of_fork_is_refused_and_leaves_the_parents_connections_alone)
{
    test_server server;
    otok_store *store = open_with(&server, "fork", ""), *own = NULL;
    test_assert_code(OTOK_OK, test_raw_insert(store, 1, 10));
    pid_t child = fork();
    if (child == 0) {
        bool good = test_raw_head(store, 1, 1) == OTOK_E_STATE;
        otok_store_close(store);
        good = good && otok_store_open_postgres(server.mine, &server.options, &own, NULL) == OTOK_OK &&
               test_raw_head(own, 1, 1) == OTOK_OK;
        otok_store_close(own);
        _exit(good ? 0 : 1);
    }
    int status = -1;
    ck_assert_int_eq(waitpid(child, &status, 0), child);
    ck_assert_int_eq(status, 0);
    test_assert_code(OTOK_OK, test_raw_head(store, 1, 2));
    char n[256];
    do { /* the child's own goes when the server says so */
        test_server_sql(&server, n, "SELECT count(*) FROM pg_stat_activity WHERE application_name = '%s'",
                        server.schema);
    } while (strcmp(n, "2") == 0);
    ck_assert_str_eq(n, "1");
    otok_store_close(store);
}
END_TEST

/* ---------------------------------------------------------------------------------------------------- cancelled */

typedef struct cancelled {
    otok_store *store;
    _Atomic uint64_t version;
} cancelled;

static void *raise_until_cancelled(void *arg)
{
    cancelled *c = arg;
    for (;;) {
        if (test_raw_head(c->store, 1, c->version) == OTOK_OK)
            c->version++;
        pthread_testcancel();
    }
    return NULL;
}

/* A thread that is cancelled in a call takes no connection with it. */
START_TEST(a_cancelled_thread_leaves_the_pool_whole)
{
    test_server server;
    cancelled c = {.store = open_with(&server, "cancel", ""), .version = 1};
    test_assert_code(OTOK_OK, test_raw_insert(c.store, 1, 10));
    for (int i = 0; i < 20; i++) {
        pthread_t thread;
        uint64_t before = c.version;
        ck_assert_int_eq(pthread_create(&thread, NULL, raise_until_cancelled, &c), 0);
        while (c.version < before + 3) {
        }
        ck_assert_int_eq(pthread_cancel(thread), 0);
        ck_assert_int_eq(pthread_join(thread, NULL), 0);
        ck_assert_uint_eq(test_raw_version(c.store, 1), c.version);
    }
    otok_store_close(c.store);
}
END_TEST

static void add(TCase *tc)
{
    tcase_add_test(tc, a_connection_killed_between_two_calls_is_opened_again);
    tcase_add_test(tc, connections_killed_in_the_middle_lose_nothing_that_was_acknowledged);
    tcase_add_test(tc, a_statement_cut_off_by_the_server_was_not_written);
    tcase_add_test(tc, a_commit_without_an_answer_in_time_is_in_doubt);
    tcase_add_test(tc, a_read_without_an_answer_in_time_is_busy);
    tcase_add_test(tc, a_full_pool_is_busy_and_not_for_ever);
    tcase_add_test(tc, groups_that_cross_do_not_deadlock_and_are_whole);
    tcase_add_test(tc, a_database_that_serializes_refuses_nobody);
    tcase_add_test(tc, a_database_that_serializes_tells_no_reader_of_a_conflict);
    tcase_add_test(tc, many_groups_of_one_commit_have_each_its_own_result);
    tcase_add_test(tc, a_child_of_fork_is_refused_and_leaves_the_parents_connections_alone);
    tcase_add_test(tc, a_cancelled_thread_leaves_the_pool_whole);
}

int main(void)
{
    return test_main("postgres: trouble", add);
}
