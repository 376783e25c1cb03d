/*
 * check_failover.c - a primary that is killed, a standby that is promoted, and a wait for a standby that comes to no good end
 * (R8, V5, T2).  The long run is failover.c.
 *
 * SPDX-License-Identifier: MIT
 */
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "postgres/failover.h"
#include "postgres/server.h"
#include "support/ask.h"

START_TEST(nothing_acknowledged_is_lost_in_a_failover)
{
    enum { ROUNDS = 2 };
    failover_report report;
    ck_assert(failover_cluster(NULL, 0, "primary", "load_a", NULL));
    bool good = failover_run("load_a", "load_b", ROUNDS, &report, NULL);
    ck_assert_msg(good, "%s", report.story);
    ck_assert_uint_eq(report.rounds, ROUNDS);
    ck_assert_uint_eq(report.lost, 0);
    free(report.without_us);
    ck_assert(failover_cluster(NULL, 0, "remove", "load_a", NULL));
    ck_assert(failover_cluster(NULL, 0, "remove", "load_b", NULL));
}
END_TEST

/* ---------------------------------------------------------------------------------------------------- waits for a standby */

static const char primary[] = "wait_a", standby[] = "wait_b";

static void start_pair(void)
{
    ck_assert(failover_cluster(NULL, 0, "primary", primary, NULL));
    ck_assert(failover_cluster(NULL, 0, "standby", standby, primary, NULL));
}

static void remove_pair(void)
{
    (void)failover_cluster(NULL, 0, "remove", standby, NULL);
    (void)failover_cluster(NULL, 0, "remove", primary, NULL);
}

enum { ISSUE, REFRESH, REVOKE, CUT_OFF, OPERATIONS };

/* What ends the wait, and what stands in the conninfo: a server may have been told not to warn. */
static const struct {
    const char *sql;
    const char *more;
    int64_t timeout_ms;
} ways[] = {
    {"pg_cancel_backend(pid)", "", 0},
    {"pg_cancel_backend(pid)", " options='-c client_min_messages=error'", 0},
    {"pg_terminate_backend(pid)", "", 0},
    {"1", "", 500}, /* nothing: the library's own patience */
};
enum { WAYS = sizeof ways / sizeof ways[0] };

typedef struct call {
    test_fixture *f;
    int operation;
    test_held held;
    int rc;
} call;

static int operate(call *c)
{
    otok_tokens *tokens = NULL;
    otok_grant grant = test_grant("bob", "phone", "offline_access");
    otok_filter filter = test_filter("alice", NULL, NULL);
    int rc;
    grant.once_key = "a code";
    switch (c->operation) {
    case ISSUE:
        rc = otok_issue(c->f->service, &grant, &tokens, NULL);
        break;
    case REFRESH:
        rc = test_refresh(c->f, c->held.token, "phone", &tokens);
        ck_assert(rc != OTOK_OK || tokens->generation == 1);
        break;
    case REVOKE:
        return test_revoke(c->f, c->held.token, "phone");
    default:
        return otok_cutoff_set(c->f->service, &filter, OTOK_NOW, NULL, NULL);
    }
    otok_tokens_free(tokens);
    return rc;
}

static void *call_main(void *arg)
{
    call *c = arg;
    c->rc = operate(c);
    return NULL;
}

static int64_t count_waits(const test_server *server, const char *what)
{
    char sql[256], out[256];
    (void)snprintf(sql, sizeof sql,
                   "SELECT count(%s) FROM pg_stat_activity WHERE wait_event = 'SyncRep' AND application_name = '%s'",
                   what, server->schema);
    test_server_sql(server, out, "%s", sql);
    return strtoll(out, NULL, 10);
}

/* While the standby sleeps: begins, is seen to wait, and is told to stop. */
static int operate_without_standby(const test_server *server, call *c, const char *sql)
{
    pthread_t thread;
    ck_assert(failover_cluster(NULL, 0, "pause", standby, NULL));
    ck_assert_int_eq(pthread_create(&thread, NULL, call_main, c), 0);
    while (count_waits(server, "*") == 0) { /* Check's timeout ends what never comes */
    }
    (void)count_waits(server, sql);
    ck_assert_int_eq(pthread_join(thread, NULL), 0);
    ck_assert(failover_cluster(NULL, 0, "resume", standby, NULL));
    return c->rc;
}

static test_fixture *open_pair(test_server *server, const char *more, int64_t timeout_ms)
{
    char conninfo[sizeof server->conninfo];
    ck_assert(failover_cluster(conninfo, sizeof conninfo, "conninfo", primary, NULL));
    conninfo[strcspn(conninfo, "\n")] = '\0';
    ck_assert_int_eq(setenv("OTOK_TEST_POSTGRES", conninfo, 1), 0);
    test_server_begin(server, "wait");
    size_t len = strlen(server->mine);
    (void)snprintf(server->mine + len, sizeof server->mine - len, "%s", more);
    server->options.timeout_ms = timeout_ms;
    return test_server_fixture(server);
}

/*
 * The server has committed, and does not know whether the standby has: that is neither done nor not done.  Once the standby is awake,
 * the same again says what is so, and it has happened once.
 */
START_TEST(a_wait_for_a_standby_that_ends_early_is_in_doubt)
{
    test_server server;
    call c = {.operation = _i % OPERATIONS};
    uint64_t n = 0;
    c.f = open_pair(&server, ways[_i / OPERATIONS].more, ways[_i / OPERATIONS].timeout_ms);
    c.held = test_hold(c.f, "alice", "phone");
    test_advance_s(c.f, 60);
    test_assert_code(OTOK_E_UNCERTAIN, operate_without_standby(&server, &c, ways[_i / OPERATIONS].sql));
    while (count_waits(&server, "*") != 0) {
    }
    test_assert_code(OTOK_OK, operate(&c));
    otok_filter filter = test_filter("bob", NULL, NULL);
    test_assert_code(OTOK_OK, otok_count_live(c.f->service, &filter, &n, NULL));
    ck_assert_uint_eq(n, c.operation == ISSUE ? 1 : 0);
    if (c.operation == REVOKE || c.operation == CUT_OFF)
        ck_assert_int_ne(test_refresh_code(c.f, c.held.token, "phone"), OTOK_OK);
    test_close(c.f);
}
END_TEST

static void add(TCase *tcase)
{
    tcase_add_unchecked_fixture(tcase, start_pair, remove_pair);
    tcase_add_loop_test(tcase, a_wait_for_a_standby_that_ends_early_is_in_doubt, 0, WAYS * OPERATIONS);
    tcase_add_test(tcase, nothing_acknowledged_is_lost_in_a_failover);
}

int main(void)
{
    return test_main("failover", add);
}
