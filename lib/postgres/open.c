/*
 * open.c - the public functions, options, the store object.
 *
 * SPDX-License-Identifier: MIT
 */
#include "postgres/postgres.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { MOST_CONNECTIONS = 1024, LONGEST_NAME = 63, DEFAULT_CONNECTIONS = 8 };
static const int64_t default_wait_ms = 5000, default_timeout_ms = 10000, most_ms = 86400000;

void otok_postgres_options_init(otok_postgres_options *options, size_t size)
{
    if (options == NULL || size < sizeof size)
        return;
    memset(options, 0, size);
    memcpy(options, &size, sizeof size);
}

/* As the library reads its structs: of an older or a newer header, if what is not known is 0. */
static bool read_struct(otok_postgres_options *out, const otok_postgres_options *in)
{
    size_t size;
    memset(out, 0, sizeof *out);
    if (in == NULL)
        return true;
    memcpy(&size, in, sizeof size);
    if (size < sizeof size || size > 65536)
        return false;
    const unsigned char *bytes = (const unsigned char *)in;
    for (size_t i = sizeof *out; i < size; i++) {
        if (bytes[i] != 0)
            return false;
    }
    memcpy(out, in, size < sizeof *out ? size : sizeof *out);
    return true;
}

static int read_options(const otok_postgres_options *in, otok_postgres_options *out, otok_error *err)
{
    if (!read_struct(out, in))
        return otok_pg_fail(err, OTOK_E_INVALID, "otok_postgres_options.size: call otok_postgres_options_init() first");
    if (out->schema == NULL || *out->schema == '\0')
        out->schema = "offlinetok";
    if (strlen(out->schema) > LONGEST_NAME)
        return otok_pg_fail(err, OTOK_E_INVALID, "otok_postgres_options.schema is longer than %d bytes", LONGEST_NAME);
    if (out->connections > MOST_CONNECTIONS || out->unused != 0)
        return otok_pg_fail(err, OTOK_E_INVALID, "otok_postgres_options.%s",
                            out->unused != 0 ? "unused is not 0" : "connections is more than 1024");
    if (out->wait_ms < 0 || out->wait_ms > most_ms || out->timeout_ms < 0 || out->timeout_ms > most_ms)
        return otok_pg_fail(err, OTOK_E_INVALID, "otok_postgres_options.wait_ms and timeout_ms are 0 to one day");
    if (out->connections == 0)
        out->connections = DEFAULT_CONNECTIONS;
    if (out->wait_ms == 0)
        out->wait_ms = default_wait_ms;
    if (out->timeout_ms == 0)
        out->timeout_ms = default_timeout_ms;
    return OTOK_OK;
}

/* As an identifier, whatever is in it. */
static char *quote(const char *name)
{
    size_t len = strlen(name), at = 0;
    char *out = malloc(2 * len + 3);
    if (out == NULL)
        return NULL;
    out[at++] = '"';
    for (size_t i = 0; i < len; i++) {
        if (name[i] == '"')
            out[at++] = '"';
        out[at++] = name[i];
    }
    out[at++] = '"';
    out[at] = '\0';
    return out;
}

char *otok_pg_text(const otok_pg *store, otok_pg_statement statement)
{
    return statement < OTOK_PG_FETCH ? otok_pg_write_text(store->schema, statement)
                                     : otok_pg_read_text(store->schema, statement);
}

/* ---------------------------------------------------------------------------------------------------- the store */

static void store_free(otok_pg *store)
{
    if (store->connections != NULL && store->pid == getpid()) /* those of a parent may have waiters, for ever */
        (void)pthread_mutex_destroy(&store->mutex);
    free(store->connections);
    free(store->conninfo);
    free(store->schema);
    free(store);
}

/* In a child of fork the sockets are the parent's: nothing is said on them, and something else put in their place. */
static void forget_inherited(PGconn *pg)
{
    int null = pg != NULL && PQsocket(pg) >= 0 ? open("/dev/null", O_RDWR | O_CLOEXEC) : -1;
    if (null < 0)
        return;
    if (dup2(null, PQsocket(pg)) >= 0)
        PQfinish(pg);
    (void)close(null);
}

static void close_store(void *self)
{
    otok_pg *store = self;
    for (size_t i = 0; i < store->nconnections; i++) {
        if (store->pid == getpid())
            PQfinish(store->connections[i].pg);
        else
            forget_inherited(store->connections[i].pg);
    }
    store_free(store);
}

static otok_pg *store_new(const char *conninfo, const otok_postgres_options *options)
{
    otok_pg *store = calloc(1, sizeof *store);
    if (store == NULL)
        return NULL;
    store->pid = getpid();
    store->wait_us = options->wait_ms * 1000;
    store->timeout_us = options->timeout_ms * 1000;
    store->nconnections = options->connections;
    store->conninfo = strdup(conninfo);
    store->schema = quote(options->schema);
    otok_pg_connection *connections = calloc(options->connections, sizeof *connections);
    if (store->conninfo == NULL || store->schema == NULL || connections == NULL ||
        pthread_mutex_init(&store->mutex, NULL) != 0) {
        free(connections);
        store_free(store);
        return NULL;
    }
    store->connections = connections;
    return store;
}

/*
 * libpq's own words on what is wrong could show a piece of it, and so a password.  Nor do they tell reliably when it is memory that is
 * short: what is wrong is so a second time.
 */
static int check_conninfo(const char *conninfo, otok_error *err)
{
    for (int i = 0; i < 2; i++) {
        char *why = NULL;
        PQconninfoOption *parsed = PQconninfoParse(conninfo, &why);
        bool good = parsed != NULL, told = why != NULL;
        PQconninfoFree(parsed);
        PQfreemem(why);
        if (good)
            return OTOK_OK;
        if (!told)
            return otok_pg_fail(err, OTOK_E_NOMEM, "postgres: no memory for conninfo");
    }
    return otok_pg_fail(err, OTOK_E_INVALID, "conninfo is not a connection string that libpq can read");
}

int otok_store_open_postgres(const char *conninfo, const otok_postgres_options *options, otok_store **out,
                             otok_error *err)
{
    otok_postgres_options known;
    otok_pg_connection *first;
    if (out == NULL || conninfo == NULL)
        return otok_pg_fail(err, OTOK_E_INVALID, "%s is required", out == NULL ? "out" : "conninfo");
    *out = NULL;
    int rc = read_options(options, &known, err);
    if (rc == OTOK_OK)
        rc = check_conninfo(conninfo, err);
    if (rc != OTOK_OK)
        return rc;
    otok_pg *store = store_new(conninfo, &known);
    if (store == NULL)
        return otok_pg_fail(err, OTOK_E_NOMEM, "postgres: no memory for a store");
    const otok_store_vtab vtab = {.size = sizeof vtab,
                                  .guarantees = OTOK_STORE_ATOMIC_GROUPS | OTOK_STORE_DURABLE | OTOK_STORE_SHARED,
                                  .name = "postgres",
                                  .fetch = otok_pg_fetch,
                                  .commit = otok_pg_commit,
                                  .scan = otok_pg_scan,
                                  .count = otok_pg_count,
                                  .close = close_store};
    rc = otok_pg_take(store, &first, err); /* what is wrong with the database is said now */
    if (rc == OTOK_OK) {
        otok_pg_give(store, first, true);
        rc = otok_store_open(&vtab, store, out, err);
    }
    if (rc != OTOK_OK)
        close_store(store);
    return rc;
}

int otok_postgres_migrate(const char *conninfo, const otok_postgres_options *options, otok_error *err)
{
    otok_postgres_options known;
    PGconn *pg = NULL;
    if (conninfo == NULL)
        return otok_pg_fail(err, OTOK_E_INVALID, "conninfo is required");
    int rc = read_options(options, &known, err);
    if (rc == OTOK_OK)
        rc = check_conninfo(conninfo, err);
    char *schema = rc == OTOK_OK ? quote(known.schema) : NULL;
    if (rc == OTOK_OK && schema == NULL)
        rc = otok_pg_fail(err, OTOK_E_NOMEM, "postgres: no memory");
    if (rc == OTOK_OK)
        rc = otok_pg_connect(conninfo, &pg, err);
    if (rc == OTOK_OK)
        rc = otok_pg_migrate(pg, schema, err);
    PQfinish(pg);
    free(schema);
    return rc;
}
