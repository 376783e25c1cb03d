/*
 * check_plans.c - what the server does for each statement: with a million records it walks no table from end to end,
 * and a refresh is a heap-only update.
 *
 * SPDX-License-Identifier: MIT
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "postgres/postgres.h"
#include "postgres/server.h"
#include "support/ask.h"

/* As sessions are: one realm, ten clients, four sessions a subject; a tenth has a key of a further index. */
static const char fill_text[] =
    "INSERT INTO %1$s.records SELECT"
    " int8send(1800000000000000 + i) || substring(decode(md5(i::text), 'hex') from 1 for 8), 1, 1,"
    " 1800000000000000 + i, 1800000000000000 + i,"
    " decode(md5('realm_key'), 'hex'), decode(md5('subject_key' || (i / 4)), 'hex'),"
    " decode(md5('client_key' || (i %% 10)), 'hex'), decode(md5('pair_key' || i), 'hex'),"
    " decode(md5('sid_key' || i), 'hex'), decode(md5('sweep_key'), 'hex'),"
    " CASE WHEN i %% 10 = 0 THEN ARRAY['\\x07'::bytea || decode(md5('other' || (i / 100)), 'hex')] ELSE '{}' END,"
    " ARRAY[decode(md5('link' || (i / 4)), 'hex')], 'r', 's', 'c', substring(decode(md5(i::text), 'hex') from 1 for "
    "24),"
    " decode(repeat(md5(i::text), 12), 'hex') FROM generate_series(1, 1000000) AS i";

static void must(PGconn *pg, const char *sql)
{
    PGresult *result = PQexec(pg, sql);
    ExecStatusType status = PQresultStatus(result);
    ck_assert_msg(status == PGRES_COMMAND_OK || status == PGRES_TUPLES_OK, "%s: %s", sql, PQerrorMessage(pg));
    PQclear(result);
}

/* What a parameter of that type is, where its value decides the plan: one that is there. */
static void add_value(char *out, size_t size, Oid type, otok_pg_statement statement)
{
    enum { INT8 = 20, BYTEA = 17, BYTEAS = 1001 };
    static const char *const keys[] = {"realm_key", "subject_key7", "client_key7",
                                       "pair_key7", "sid_key7",     "sweep_key"};
    size_t len = strlen(out);
    const char *key = "other7";
    if (statement >= OTOK_PG_SCAN && statement < OTOK_PG_SCAN_OTHER)
        key = keys[(statement - OTOK_PG_SCAN) % 6];
    else if (statement >= OTOK_PG_COUNT && statement < OTOK_PG_COUNT_OTHER)
        key = keys[statement - OTOK_PG_COUNT];
    if (type == INT8)
        (void)snprintf(out + len, size - len, "100");
    else if (type == BYTEAS)
        (void)snprintf(out + len, size - len,
                       "ARRAY[int8send(1800000000000007) || substring(decode(md5('7'), 'hex') from 1 for 8)]");
    else if (type == BYTEA)
        (void)snprintf(out + len, size - len, "decode(md5('%s'), 'hex')", key);
    else
        ck_abort_msg("a parameter of type %u", type);
}

static void explain(PGconn *pg, const char *name, otok_pg_statement statement, const char *mode)
{
    char sql[4096];
    PGresult *described = PQdescribePrepared(pg, name);
    (void)snprintf(sql, sizeof sql, "EXPLAIN EXECUTE %s(", name);
    for (int i = 0; i < PQnparams(described); i++) {
        (void)strncat(sql, i != 0 ? ", " : "", sizeof sql - strlen(sql) - 1);
        add_value(sql, sizeof sql, PQparamtype(described, i), statement);
    }
    PQclear(described);
    (void)strncat(sql, ")", sizeof sql - strlen(sql) - 1);
    PGresult *plan = PQexec(pg, sql);
    ck_assert_msg(PQresultStatus(plan) == PGRES_TUPLES_OK, "%s: %s", sql, PQerrorMessage(pg));
    ck_assert_int_gt(PQntuples(plan), 0);
    for (int i = 0; i < PQntuples(plan); i++) {
        const char *line = PQgetvalue(plan, i, 0);
        ck_assert_msg(strstr(line, "Seq Scan") == NULL, "statement %d, %s plan: %s", (int)statement, mode, line);
    }
    PQclear(plan);
}

START_TEST(no_statement_walks_the_table)
{
    static const char *const modes[] = {"force_generic_plan", "force_custom_plan"};
    test_server server;
    char name[32], sql[256];
    test_server_begin(&server, "plans");
    test_server_migrate(&server);
    test_server_sql(&server, NULL, fill_text, server.schema);
    test_server_sql(&server, NULL, "VACUUM ANALYZE %s.records", server.schema);
    PGconn *pg = PQconnectdb(server.conninfo);
    ck_assert_int_eq(PQstatus(pg), CONNECTION_OK);
    must(pg, "SET enable_seqscan = off"); /* as the store's own connections have it */
    must(pg, "SET enable_sort = off");
    for (otok_pg_statement i = 0; i < OTOK_PG_STATEMENTS; i++) {
        char *text = i < OTOK_PG_FETCH ? otok_pg_write_text(server.schema, i) : otok_pg_read_text(server.schema, i);
        (void)snprintf(name, sizeof name, "s%d", (int)i);
        PGresult *prepared = PQprepare(pg, name, text, 0, NULL);
        ck_assert_msg(PQresultStatus(prepared) == PGRES_COMMAND_OK, "%s: %s", text, PQerrorMessage(pg));
        PQclear(prepared);
        free(text);
        for (size_t mode = 0; mode < 2; mode++) {
            (void)snprintf(sql, sizeof sql, "SET plan_cache_mode = %s", modes[mode]);
            must(pg, sql);
            explain(pg, name, i, modes[mode]);
        }
    }
    PQfinish(pg);
    test_server_sql(&server, NULL, "DROP SCHEMA %s CASCADE", server.schema);
}
END_TEST

/* R3: nothing that is indexed changes, and the page has room for the next version of the row. */
START_TEST(a_refresh_is_a_heap_only_update)
{
    enum { SESSIONS = 400, ROTATIONS = 5 };
    static test_held held[SESSIONS];
    test_server server;
    char sql[512];
    test_server_begin(&server, "hot");
    test_fixture *f = test_server_fixture(&server);
    f->policy.rotation = OTOK_ROTATION_ALWAYS;
    test_plain_policy(f);
    for (size_t i = 0; i < SESSIONS; i++)
        held[i] = test_hold(f, NULL, NULL);
    for (int k = 0; k < ROTATIONS; k++) {
        test_advance_s(f, 60);
        for (size_t i = 0; i < SESSIONS; i++)
            test_assert_code(OTOK_OK, test_refresh_held(f, &held[i], NULL));
    }
    test_close(f); /* a server process tells its figures when it ends */
    (void)snprintf(sql, sizeof sql,
                   "SELECT n_tup_upd FROM pg_stat_user_tables WHERE schemaname = '%s' AND relname = 'records'",
                   server.schema);
    while (test_server_number(&server, sql) < SESSIONS * ROTATIONS) {
    }
    int64_t updates = test_server_number(&server, sql);
    (void)snprintf(sql, sizeof sql,
                   "SELECT n_tup_hot_upd FROM pg_stat_user_tables WHERE schemaname = '%s' AND relname = 'records'",
                   server.schema);
    int64_t hot = test_server_number(&server, sql);
    printf("%lld of %lld updates were heap-only\n", (long long)hot, (long long)updates);
    ck_assert_int_ge(hot * 100, updates * 95);
}
END_TEST

static void add(TCase *tc)
{
    tcase_add_test(tc, no_statement_walks_the_table);
    tcase_add_test(tc, a_refresh_is_a_heap_only_update);
}

int main(void)
{
    return test_main("postgres: plans", add);
}
