/*
 * instead_of_lmdb.c - for tests that stand on LMDB: linked in with --wrap=otok_store_open_lmdb, it gives them a store on PostgreSQL
 * in its place, in the database that OTOK_TEST_POSTGRES names.  A folder has a schema of its own; so a new folder is a new store, a
 * second process that opens it has the same, and one that was removed is gone.
 *
 * With OTOK_TEST_IMPATIENT nobody waits for a server that cannot be reached: it is memory that is short.
 *
 * SPDX-License-Identifier: MIT
 */
#include <fcntl.h>
#include <libpq-fe.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <offlinetok/postgres.h>
#include <offlinetok/store.h>

#include "support/oom.h"

int __wrap_otok_store_open_lmdb(const char *directory, const otok_lmdb_options *options, otok_store **out,
                                otok_error *err);

enum { LONGEST = 1200 };

/* The name follows from a file in the folder, made by whoever is the first, and called as LMDB's is: it shows that a store is there. */
static int name_schema(const char *directory, char *name, size_t size)
{
    char path[4096];
    struct stat st;
    (void)mkdir(directory, 0700);
    (void)snprintf(path, sizeof path, "%s/data.mdb", directory);
    int fd = open(path, O_RDONLY | O_CREAT | O_CLOEXEC, 0600);
    int rc = fd >= 0 ? fstat(fd, &st) : -1;
    if (fd >= 0)
        (void)close(fd);
    if (rc == 0)
        (void)snprintf(name, size, "test_%llu_%lld_%ld", (unsigned long long)st.st_ino, (long long)st.st_mtim.tv_sec,
                       st.st_mtim.tv_nsec);
    return rc;
}

/* With a name by which the server knows the connections of this process. */
static bool name_server(char *conninfo, size_t size)
{
    const char *given = getenv("OTOK_TEST_POSTGRES");
    return given != NULL &&
           (size_t)snprintf(conninfo, size, "%s application_name=test_%d", given, (int)getpid()) < size;
}

int __wrap_otok_store_open_lmdb(const char *directory, const otok_lmdb_options *options, otok_store **out,
                                otok_error *err)
{
    char schema[64], conninfo[LONGEST];
    otok_postgres_options known;
    (void)options;
    *out = NULL;
    if (!name_server(conninfo, sizeof conninfo) || name_schema(directory, schema, sizeof schema) != 0)
        return otok_error_set(err, OTOK_E_INVALID, 0, "no OTOK_TEST_POSTGRES, or no such folder");
    otok_postgres_options_init(&known, sizeof known);
    known.schema = schema;
    known.wait_ms = getenv("OTOK_TEST_IMPATIENT") != NULL ? 1 : 0;
    int rc = otok_postgres_migrate(conninfo, &known, err);
    return rc == OTOK_OK ? otok_store_open_postgres(conninfo, &known, out, err) : rc;
}

/* A connection of the pool that is lost is closed at once, and one thread has no other: so there is none, when the server is done. */
void oom_settle(void)
{
    static const struct timespec pause = {.tv_nsec = 1000000};
    char sql[200], conninfo[LONGEST];
    bool over = false;
    ck_assert(name_server(conninfo, sizeof conninfo));
    PGconn *pg = PQconnectdb(conninfo);
    (void)snprintf(sql, sizeof sql, "SELECT 1 FROM pg_stat_activity WHERE application_name = 'test_%d' AND pid <> %d",
                   (int)getpid(), PQbackendPID(pg));
    for (int tries = 0; !over && tries < 5000; tries++) {
        PGresult *result = PQexec(pg, sql);
        over = PQresultStatus(result) == PGRES_TUPLES_OK && PQntuples(result) == 0;
        PQclear(result);
        if (!over)
            (void)nanosleep(&pause, NULL);
    }
    PQfinish(pg);
    if (!over)
        ck_abort_msg("connections that were lost do not end");
}
