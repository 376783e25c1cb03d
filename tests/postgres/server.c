/*
 * server.c
 *
 * SPDX-License-Identifier: MIT
 */
#include "postgres/server.h"

#include <libpq-fe.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { LONGEST = 4096 };

struct test_lock {
    PGconn *pg;
};

void test_server_begin(test_server *server, const char *name)
{
    static unsigned n;
    const char *conninfo = getenv("OTOK_TEST_POSTGRES");
    if (conninfo == NULL)
        ck_abort_msg("OTOK_TEST_POSTGRES names no server");
    memset(server, 0, sizeof *server);
    (void)snprintf(server->schema, sizeof server->schema, "%.40s_%d_%u", name, (int)getpid(), n++);
    (void)snprintf(server->conninfo, sizeof server->conninfo, "%s", conninfo);
    (void)snprintf(server->mine, sizeof server->mine, "%s application_name=%s", conninfo, server->schema);
    otok_postgres_options_init(&server->options, sizeof server->options);
    server->options.schema = server->schema;
}

void test_server_migrate(const test_server *server)
{
    otok_error err;
    int rc = otok_postgres_migrate(server->conninfo, &server->options, &err);
    if (rc != OTOK_OK)
        ck_abort_msg("otok_postgres_migrate: %s: %s", otok_error_name(rc), err.message);
}

otok_store *test_server_open(const test_server *server)
{
    otok_error err;
    otok_store *store = NULL;
    test_server_migrate(server);
    int rc = otok_store_open_postgres(server->mine, &server->options, &store, &err);
    if (rc != OTOK_OK)
        ck_abort_msg("otok_store_open_postgres: %s: %s", otok_error_name(rc), err.message);
    return store;
}

int test_server_try(const test_server *server, const char *more, otok_store **out, otok_error *err)
{
    char conninfo[LONGEST];
    (void)snprintf(conninfo, sizeof conninfo, "%s %s", server->mine, more);
    return otok_store_open_postgres(conninfo, &server->options, out, err);
}

/* ---------------------------------------------------------------------------------------------------- SQL */

static PGconn *connect_to(const test_server *server)
{
    PGconn *pg = PQconnectdb(server->conninfo);
    if (PQstatus(pg) != CONNECTION_OK)
        ck_abort_msg("%s", PQerrorMessage(pg));
    return pg;
}

static PGresult *must(PGconn *pg, const char *sql)
{
    PGresult *result = PQexec(pg, sql);
    ExecStatusType status = PQresultStatus(result);
    if (status != PGRES_COMMAND_OK && status != PGRES_TUPLES_OK)
        ck_abort_msg("%s: %s", sql, PQerrorMessage(pg));
    return result;
}

void test_server_sql(const test_server *server, char out[256], const char *format, ...)
{
    char sql[LONGEST];
    va_list arguments;
    va_start(arguments, format);
    (void)vsnprintf(sql, sizeof sql, format, arguments);
    va_end(arguments);
    PGconn *pg = connect_to(server);
    PGresult *result = must(pg, sql);
    if (out != NULL)
        (void)snprintf(out, 256, "%s", PQntuples(result) > 0 ? PQgetvalue(result, 0, 0) : "");
    PQclear(result);
    PQfinish(pg);
}

int64_t test_server_number(const test_server *server, const char *sql)
{
    char out[256];
    test_server_sql(server, out, "%s", sql);
    return strtoll(out, NULL, 10);
}

test_lock *test_lock_rows(const test_server *server, const char *format, ...)
{
    char sql[LONGEST];
    test_lock *lock = calloc(1, sizeof *lock);
    va_list arguments;
    va_start(arguments, format);
    (void)vsnprintf(sql, sizeof sql, format, arguments);
    va_end(arguments);
    lock->pg = connect_to(server);
    PQclear(must(lock->pg, "BEGIN"));
    PQclear(must(lock->pg, sql));
    return lock;
}

void test_unlock(test_lock *lock)
{
    PQclear(must(lock->pg, "COMMIT"));
    PQfinish(lock->pg);
    free(lock);
}

/* ---------------------------------------------------------------------------------------------------- a fixture */

test_fixture *test_server_fixture(const test_server *server)
{
    test_fixture *f = test_open(TEST_MEMORY);
    otok_service_close(f->service);
    otok_store_close(f->store);
    f->service = NULL;
    f->store = test_server_open(server);
    test_reopen_service(f);
    return f;
}
