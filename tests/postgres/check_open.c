/*
 * check_open.c - how a store on PostgreSQL is made, opened and refused; what an administrator sees (S2, B5).
 *
 * SPDX-License-Identifier: MIT
 */
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "postgres/postgres.h"
#include "postgres/server.h"
#include "support/ask.h"
#include "support/crew.h"
#include "support/raw.h"

static void expect_refusal(const test_server *server, const char *more, int code, const char *says)
{
    otok_error err;
    otok_store *store = NULL;
    int rc = test_server_try(server, more, &store, &err);
    ck_assert_msg(rc == code, "expected %s, got %s: %s", otok_error_name(code), otok_error_name(rc),
                  rc != OTOK_OK ? err.message : "");
    ck_assert_ptr_null(store);
    ck_assert_msg(strstr(err.message, says) != NULL, "%s", err.message);
}

/* ---------------------------------------------------------------------------------------------------- the schema */

START_TEST(a_schema_that_is_not_there_is_refused_and_not_made)
{
    test_server server;
    char out[256];
    test_server_begin(&server, "absent");
    expect_refusal(&server, "", OTOK_E_FORMAT, "otok_postgres_migrate");
    test_server_sql(&server, out, "SELECT count(*) FROM pg_namespace WHERE nspname = '%s'", server.schema);
    ck_assert_str_eq(out, "0");
}
END_TEST

START_TEST(a_schema_of_another_version_is_refused_and_left_alone)
{
    test_server server;
    otok_error err;
    test_server_begin(&server, "version");
    test_server_migrate(&server);
    test_server_sql(&server, NULL, "UPDATE %s.meta SET version = 2", server.schema);
    expect_refusal(&server, "", OTOK_E_FORMAT, "version 2");
    test_assert_code(OTOK_E_FORMAT, otok_postgres_migrate(server.conninfo, &server.options, &err));
    test_server_sql(&server, NULL, "DELETE FROM %s.meta", server.schema);
    expect_refusal(&server, "", OTOK_E_FORMAT, "older version");
}
END_TEST

START_TEST(migrating_again_changes_nothing)
{
    test_server server;
    test_server_begin(&server, "again");
    otok_store *store = test_server_open(&server);
    test_assert_code(OTOK_OK, test_raw_insert(store, 1, 10));
    test_server_migrate(&server);
    ck_assert_uint_eq(test_raw_version(store, 1), 1);
    otok_store_close(store);
}
END_TEST

static void migrate_too(void *arg, size_t i)
{
    (void)i;
    test_server_migrate(arg);
}

START_TEST(of_many_that_migrate_at_once_all_find_it_done)
{
    for (int round = 0; round < 5; round++) {
        test_server server;
        test_server_begin(&server, "atonce");
        test_threads(8, migrate_too, &server);
        otok_store *store = test_server_open(&server);
        test_assert_code(OTOK_OK, test_raw_insert(store, 1, 10));
        otok_store_close(store);
    }
}
END_TEST

/* A schema is a name, not SQL: whatever is in it. */
static const char *const odd_names[] = {"Offline Tokens",
                                        "a\"b",
                                        "x\"; DROP SCHEMA public; --",
                                        "per%1cent%s%n",
                                        "select",
                                        "\xc3\xa9t\xc3\xa9 \xe2\x82\xac",
                                        "'quoted'",
                                        "a.b",
                                        "\\",
                                        "63.456789.123456789.123456789.123456789.123456789.123456789.123"};

START_TEST(a_schema_may_have_any_name)
{
    test_server server;
    otok_error err;
    test_server_begin(&server, "odd");
    server.options.schema = odd_names[_i];
    otok_store *store = test_server_open(&server);
    test_assert_code(OTOK_OK, test_raw_insert(store, 1, 10));
    ck_assert_uint_eq(test_raw_version(store, 1), 1);
    ck_assert_uint_eq(test_raw_count(store), 1);
    test_assert_code(OTOK_OK, test_raw_delete(store, 1, 1)); /* for who comes after */
    otok_store_close(store);
    char longer[70];
    memset(longer, 'x', sizeof longer);
    longer[64] = '\0';
    server.options.schema = longer;
    test_assert_code(OTOK_E_INVALID, otok_postgres_migrate(server.conninfo, &server.options, &err));
}
END_TEST

/* Sessions of two schemas do not meet. */
START_TEST(schemas_are_stores_of_their_own)
{
    test_server one, two;
    test_server_begin(&one, "one");
    test_server_begin(&two, "two");
    otok_store *a = test_server_open(&one), *b = test_server_open(&two);
    test_assert_code(OTOK_OK, test_raw_insert(a, 1, 10));
    ck_assert_uint_eq(test_raw_version(b, 1), 0);
    test_assert_code(OTOK_OK, test_raw_insert(b, 1, 10));
    otok_store_close(a);
    otok_store_close(b);
}
END_TEST

/* ---------------------------------------------------------------------------------------------------- who may */

START_TEST(a_role_without_rights_is_refused)
{
    test_server server, other;
    otok_error err;
    char conninfo[2048];
    test_server_begin(&server, "rights");
    test_server_migrate(&server);
    test_server_sql(&server, NULL, "CREATE ROLE \"role_%s\" LOGIN", server.schema);
    (void)snprintf(conninfo, sizeof conninfo, "user='role_%s'", server.schema);
    expect_refusal(&server, conninfo, OTOK_E_PERMISSION, "permission denied");
    test_server_begin(&other, "rightless");
    (void)snprintf(conninfo, sizeof conninfo, "%s user='role_%s'", other.conninfo, server.schema);
    test_assert_code(OTOK_E_PERMISSION, otok_postgres_migrate(conninfo, &other.options, &err));
    /* With the rights that the manual names it is enough; without one of them a write says so. */
    test_server_sql(&server, NULL, "GRANT USAGE ON SCHEMA %1$s TO \"role_%1$s\"", server.schema);
    test_server_sql(&server, NULL, "GRANT SELECT ON %1$s.meta, %1$s.records TO \"role_%1$s\"", server.schema);
    otok_store *store = NULL;
    (void)snprintf(conninfo, sizeof conninfo, "user='role_%s'", server.schema);
    test_assert_code(OTOK_OK, test_server_try(&server, conninfo, &store, &err));
    test_assert_code(OTOK_E_PERMISSION, test_raw_insert(store, 1, 10));
    test_server_sql(&server, NULL, "GRANT INSERT, UPDATE, DELETE ON %1$s.records TO \"role_%1$s\"", server.schema);
    test_assert_code(OTOK_OK, test_raw_insert(store, 1, 10));
    test_assert_code(OTOK_OK, test_raw_head(store, 1, 1));
    test_assert_code(OTOK_OK, test_raw_delete(store, 1, 2));
    otok_store_close(store);
}
END_TEST

/* ---------------------------------------------------------------------------------------------------- what is durable */

START_TEST(what_could_be_lost_is_refused)
{
    test_server server;
    otok_store *store = NULL;
    otok_error err;
    test_server_begin(&server, "durable");
    test_server_migrate(&server);
    expect_refusal(&server, "options='-c synchronous_commit=off'", OTOK_E_POLICY, "synchronous_commit is off");
    test_assert_code(OTOK_OK, test_server_try(&server, "options='-c synchronous_commit=local'", &store, &err));
    otok_store_close(store);
}
END_TEST

static void cluster(const char *format, ...) __attribute__((__format__(__printf__, 1, 2)));

static void cluster(const char *format, ...)
{
    char command[2048] = "tests/postgres/cluster.sh ";
    va_list arguments;
    va_start(arguments, format);
    (void)vsnprintf(command + strlen(command), sizeof command - strlen(command), format, arguments);
    va_end(arguments);
    ck_assert_msg(system(command) == 0, "%s", command);
}

static void connect_to(test_server *server, const char *name)
{
    (void)snprintf(server->conninfo, sizeof server->conninfo, "host=%s/%s dbname=postgres user=postgres",
                   getenv("CLUSTER"), name);
    (void)snprintf(server->mine, sizeof server->mine, "%s", server->conninfo);
}

/* A standby would answer with what was; and behind synchronous standbys `local` does not wait for them. */
START_TEST(a_standby_is_refused_and_so_is_not_waiting_for_it)
{
    test_server server;
    test_server_begin(&server, "standby");
    cluster("primary first >/dev/null && tests/postgres/cluster.sh standby second first >/dev/null");
    connect_to(&server, "first");
    test_server_migrate(&server);
    expect_refusal(&server, "options='-c synchronous_commit=local'", OTOK_E_POLICY, "standbys");
    otok_store *store = test_server_open(&server);
    test_assert_code(OTOK_OK, test_raw_insert(store, 1, 10));
    otok_store_close(store);
    connect_to(&server, "second");
    server.options.wait_ms = 300;
    expect_refusal(&server, "", OTOK_E_BUSY, "read-only");
    expect_refusal(&server, "target_session_attrs=any", OTOK_E_BUSY, "read-only");
    cluster("remove second && tests/postgres/cluster.sh remove first");
}
END_TEST

/* A server that reads its configuration again changes nothing of what an open connection was accepted for: it waits for standbys. */
static const char *const levels[] = {"", "options='-c synchronous_commit=local'"};

START_TEST(a_connection_that_was_accepted_stays_durable)
{
    test_server server;
    otok_store *store = NULL;
    otok_error err;
    char level[256];
    uint64_t version = 1;
    test_server_begin(&server, "reload");
    cluster("primary reloaded >/dev/null");
    connect_to(&server, "reloaded");
    test_server_migrate(&server);
    server.options.timeout_ms = 1000;
    test_assert_code(OTOK_OK, test_server_try(&server, levels[_i], &store, &err));
    test_assert_code(OTOK_OK, test_raw_insert(store, 1, 10));
    test_server_sql(&server, NULL, "ALTER SYSTEM SET synchronous_commit = off");
    test_server_sql(&server, NULL, "SELECT pg_reload_conf()");
    do
        test_server_sql(&server, level, "SHOW synchronous_commit");
    while (strcmp(level, "off") != 0);
    test_server_sql(&server, NULL, "ALTER SYSTEM SET synchronous_standby_names = 'nobody'");
    test_server_sql(&server, NULL, "SELECT pg_reload_conf()");
    int rc;
    do /* Check's timeout ends what never comes */
        rc = test_raw_head(store, 1, version++);
    while (rc == OTOK_OK);
    test_assert_code(OTOK_E_UNCERTAIN, rc);
    otok_store_close(store);
    cluster("remove reloaded");
}
END_TEST

/* ---------------------------------------------------------------------------------------------------- whose functions */

static int count_one(void *arg, const otok_record *record)
{
    (void)record;
    ++*(int *)arg;
    return 0;
}

/* A function of a schema in the search_path that fits better than PostgreSQL's own would be called in its place. */
START_TEST(functions_of_others_are_not_called)
{
    test_server server;
    otok_error err;
    char subject[256];
    int n = 0;
    test_server_begin(&server, "path");
    test_server_sql(&server, NULL, "CREATE SCHEMA \"%s_else\"", server.schema);
    test_server_sql(&server, NULL,
                    "CREATE FUNCTION \"%1$s_else\".unnest(bytea[]) RETURNS SETOF bytea LANGUAGE sql AS "
                    "'SELECT NULL::bytea WHERE false'; "
                    "CREATE FUNCTION \"%1$s_else\".convert_from(bytea, text) RETURNS text LANGUAGE sql AS "
                    "'SELECT ''not theirs''::text'",
                    server.schema);
    size_t len = strlen(server.conninfo);
    (void)snprintf(server.conninfo + len, sizeof server.conninfo - len, " options='-c search_path=%s_else'",
                   server.schema);
    (void)snprintf(server.mine, sizeof server.mine, "%s", server.conninfo);
    otok_store *store = test_server_open(&server);
    otok_record record = test_raw_record(1, OTOK_RECORD_SESSION, 1, 10);
    const otok_id link = test_raw_id(2);
    record.links = &link;
    record.nlinks = 1;
    test_assert_code(OTOK_OK, test_raw_write(store, OTOK_WRITE_INSERT, 0, &record, &err));
    test_assert_code(OTOK_OK, test_raw_insert(store, 2, 10));
    test_assert_code(OTOK_OK, otok_store_fetch(store, &record.id, 1, OTOK_FETCH_LINKS, count_one, &n, &err));
    ck_assert_int_eq(n, 2);
    test_server_sql(&server, subject, "SELECT subject FROM %s.offline_sessions LIMIT 1", server.schema);
    ck_assert_str_ne(subject, "not theirs");
    otok_store_close(store);
}
END_TEST

/* ---------------------------------------------------------------------------------------------------- arguments */

START_TEST(a_wrong_argument_is_named)
{
    test_server server;
    otok_store *store = NULL;
    otok_error err;
    test_server_begin(&server, "arguments");
    otok_postgres_options options = server.options;
    test_assert_code(OTOK_E_INVALID, otok_store_open_postgres(NULL, NULL, &store, &err));
    ck_assert_ptr_nonnull(strstr(err.message, "conninfo"));
    test_assert_code(OTOK_E_INVALID, otok_store_open_postgres(server.mine, NULL, NULL, &err));
    test_assert_code(OTOK_E_INVALID, otok_postgres_migrate(NULL, NULL, &err));
    options.connections = 1025;
    test_assert_code(OTOK_E_INVALID, otok_store_open_postgres(server.mine, &options, &store, &err));
    options = server.options;
    options.wait_ms = -1;
    test_assert_code(OTOK_E_INVALID, otok_store_open_postgres(server.mine, &options, &store, &err));
    options = server.options;
    options.unused = 1;
    test_assert_code(OTOK_E_INVALID, otok_store_open_postgres(server.mine, &options, &store, &err));
    options = server.options;
    options.size = 1;
    test_assert_code(OTOK_E_INVALID, otok_store_open_postgres(server.mine, &options, &store, &err));
    ck_assert_ptr_null(store);
}
END_TEST

START_TEST(a_conninfo_of_a_newer_or_older_header_is_read_as_every_struct)
{
    struct {
        otok_postgres_options known;
        uint64_t later;
    } newer;
    test_server server;
    otok_store *store = NULL;
    otok_error err;
    test_server_begin(&server, "structs");
    test_server_migrate(&server);
    memset(&newer, 0, sizeof newer);
    newer.known = server.options;
    newer.known.size = sizeof newer;
    test_assert_code(OTOK_OK, otok_store_open_postgres(server.mine, &newer.known, &store, &err));
    otok_store_close(store);
    newer.later = 1;
    test_assert_code(OTOK_E_INVALID, otok_store_open_postgres(server.mine, &newer.known, &store, &err));
    newer.known.size = offsetof(otok_postgres_options, connections);
    test_assert_code(OTOK_OK, otok_store_open_postgres(server.mine, &newer.known, &store, &err));
    otok_store_close(store);
}
END_TEST

START_TEST(what_is_no_conninfo_or_no_server_is_said)
{
    test_server server;
    otok_store *store = NULL;
    otok_error err;
    test_server_begin(&server, "nowhere");
    server.options.wait_ms = 200;
    test_assert_code(OTOK_E_INVALID, otok_store_open_postgres("no conninfo", &server.options, &store, &err));
    test_assert_code(OTOK_E_BUSY, otok_store_open_postgres("host=/nowhere", &server.options, &store, &err));
    ck_assert_ptr_nonnull(strstr(err.message, "/nowhere"));
}
END_TEST

/* Where there is no server it is looked for until wait_ms is over, and not longer.  The machine may be busy: the fastest counts. */
START_TEST(a_server_that_is_not_there_is_not_waited_for_longer_than_asked)
{
    test_server server;
    otok_store *store = NULL;
    int64_t fastest_us = INT64_MAX;
    test_server_begin(&server, "brief");
    server.options.wait_ms = 10;
    for (int i = 0; i < 10; i++) {
        int64_t start_us = otok_pg_clock_us();
        test_assert_code(OTOK_E_BUSY, otok_store_open_postgres("host=/nowhere", &server.options, &store, NULL));
        int64_t took_us = otok_pg_clock_us() - start_us;
        fastest_us = took_us < fastest_us ? took_us : fastest_us;
    }
    ck_assert_int_ge(fastest_us, 10000);
    ck_assert_int_lt(fastest_us, 50000);
}
END_TEST

/* ---------------------------------------------------------------------------------------------------- plans */

/*
 * A server compiles a plan that it thinks costly, which takes longer than all that the library ever asks: so it is told not to.  One that
 * was told to write down what it compiles has written nothing.
 */
static int ignore(void *arg, const otok_record *record)
{
    (void)arg;
    (void)record;
    return 0;
}

START_TEST(no_plan_is_compiled)
{
    test_server server;
    otok_store *store = NULL;
    otok_error err;
    uint64_t n;
    test_server_begin(&server, "compiled");
    test_server_migrate(&server);
    test_assert_code(OTOK_OK, test_server_try(&server, "options='-c jit_dump_bitcode=on'", &store, &err));
    test_assert_code(OTOK_OK, test_raw_insert(store, 1, 10));
    test_assert_code(OTOK_OK, test_raw_head(store, 1, 1));
    ck_assert_uint_eq(test_raw_version(store, 1), 2);
    ck_assert_uint_eq(test_raw_count(store), 1);
    for (uint32_t index = OTOK_INDEX_REALM; index <= OTOK_PG_COLUMNS + 1; index++) {
        otok_scan scan = {.size = sizeof scan, .limit = 10, .key = {.index = index}};
        test_assert_code(OTOK_OK, otok_store_count(store, &scan.key, &n, &err));
        test_assert_code(OTOK_OK, otok_store_scan(store, &scan, ignore, NULL, &err));
        scan.flags = OTOK_SCAN_DESCENDING;
        test_assert_code(OTOK_OK, otok_store_scan(store, &scan, ignore, NULL, &err));
    }
    ck_assert_int_eq(test_server_number(&server, "SELECT count(*) FROM pg_ls_dir('.') AS f WHERE f LIKE '%.bc'"), 0);
    otok_store_close(store);
}
END_TEST

/* ---------------------------------------------------------------------------------------------------- the view */

START_TEST(an_administrator_sees_sessions)
{
    test_server server;
    char out[256];
    test_server_begin(&server, "view");
    test_fixture *f = test_server_fixture(&server);
    f->policy.rotation = OTOK_ROTATION_ALWAYS;
    test_plain_policy(f);
    test_held held = test_hold(f, "Zo\xc3\xab", "phone");
    for (int i = 0; i < 3; i++)
        test_rotate(f, &held, "phone");
    test_server_sql(&server, out, "SELECT count(*) FROM %s.offline_sessions", server.schema);
    ck_assert_str_eq(out, "1");
    test_server_sql(&server, out,
                    "SELECT session_id || ' ' || realm || ' ' || subject || ' ' || client_id || ' ' || generation "
                    "|| ' ' || token_key FROM %s.offline_sessions",
                    server.schema);
    char expected[256];
    (void)snprintf(expected, sizeof expected, "%s %s Zo\xc3\xab phone 3 ", held.session_id, TEST_ISSUER);
    ck_assert_msg(strncmp(out, expected, strlen(expected)) == 0, "%s", out);
    test_server_sql(&server, out,
                    "SELECT (extract(epoch FROM created_at)::bigint - 1800000000) || ' ' || "
                    "(extract(epoch FROM last_used_at)::bigint - 1800000000) FROM %s.offline_sessions",
                    server.schema);
    ck_assert_str_eq(out, "0 180");
    test_close(f);
}
END_TEST

static void add(TCase *tc)
{
    tcase_add_test(tc, a_schema_that_is_not_there_is_refused_and_not_made);
    tcase_add_test(tc, a_schema_of_another_version_is_refused_and_left_alone);
    tcase_add_test(tc, migrating_again_changes_nothing);
    tcase_add_test(tc, of_many_that_migrate_at_once_all_find_it_done);
    tcase_add_loop_test(tc, a_schema_may_have_any_name, 0, sizeof odd_names / sizeof odd_names[0]);
    tcase_add_test(tc, schemas_are_stores_of_their_own);
    tcase_add_test(tc, a_role_without_rights_is_refused);
    tcase_add_test(tc, what_could_be_lost_is_refused);
    tcase_add_test(tc, a_standby_is_refused_and_so_is_not_waiting_for_it);
    tcase_add_loop_test(tc, a_connection_that_was_accepted_stays_durable, 0, sizeof levels / sizeof levels[0]);
    tcase_add_test(tc, functions_of_others_are_not_called);
    tcase_add_test(tc, a_wrong_argument_is_named);
    tcase_add_test(tc, a_conninfo_of_a_newer_or_older_header_is_read_as_every_struct);
    tcase_add_test(tc, what_is_no_conninfo_or_no_server_is_said);
    tcase_add_test(tc, a_server_that_is_not_there_is_not_waited_for_longer_than_asked);
    tcase_add_test(tc, no_plan_is_compiled);
    tcase_add_test(tc, an_administrator_sees_sessions);
}

int main(void)
{
    return test_main("postgres: open", add);
}
