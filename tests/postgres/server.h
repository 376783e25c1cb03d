/*
 * server.h - the server that OTOK_TEST_POSTGRES names, for tests: a schema for each of them, SQL behind the library's back, and a
 * service on a store there.  Everything aborts the test when it fails.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef TEST_SERVER_H
#define TEST_SERVER_H

#include <offlinetok/postgres.h>

#include "support/fixture.h"

typedef struct test_server {
    char schema[64];               /* of this test alone */
    char conninfo[1024];           /* as OTOK_TEST_POSTGRES has it */
    char mine[1200];               /* the same with an application_name of this test */
    otok_postgres_options options; /* with the schema */
} test_server;

void test_server_begin(test_server *server, const char *name);
void test_server_migrate(const test_server *server);
otok_store *test_server_open(const test_server *server); /* migrates too */

/* Opens with more in the conninfo; the code. */
int test_server_try(const test_server *server, const char *more, otok_store **out, otok_error *err);

/* What a statement gives in its first row and column; "" where there is none.  `out` may be NULL. */
void test_server_sql(const test_server *server, char out[256], const char *format, ...)
    __attribute__((__format__(__printf__, 3, 4)));
int64_t test_server_number(const test_server *server, const char *sql);

/* A fixture, as test_open() has it, over a store of that schema; test_close() closes it. */
test_fixture *test_server_fixture(const test_server *server);

/* A transaction that holds the rows of a query until it is ended. */
typedef struct test_lock test_lock;
test_lock *test_lock_rows(const test_server *server, const char *format, ...)
    __attribute__((__format__(__printf__, 2, 3)));
void test_unlock(test_lock *lock);

#endif
