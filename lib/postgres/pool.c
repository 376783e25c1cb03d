/*
 * pool.c - connections: opened when they are needed, as many as the options allow, waited for, and opened again when they were lost.
 *
 * SPDX-License-Identifier: MIT
 */
#include "postgres/postgres.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

/* A primary that is being replaced is looked for again after so long. */
enum { PAUSE_MS = 100 };

/* ---------------------------------------------------------------------------------------------------- opening */

/* What the server tells by the way is nobody's to read here; but that it warns may matter: see write.c. */
static void on_notice(void *arg, const PGresult *result)
{
    otok_pg_connection *connection = arg;
    const char *severity = PQresultErrorField(result, PG_DIAG_SEVERITY_NONLOCALIZED);
    connection->warned = connection->warned || (severity != NULL && strcmp(severity, "WARNING") == 0);
    connection->ended = connection->ended || otok_pg_is_last(result); /* an error while nothing was asked is a notice */
}

/*
 * Whether it is the password: then it is of no use to try again.  But a standby, or a server that is full, is met behind a good
 * password too.  What it was is in the text alone, and only where that was asked for before: so the connection is tried once more.
 */
static bool is_refused(PGconn *pg)
{
    if (PQconnectionNeedsPassword(pg) != 0)
        return true;
    if (PQconnectionUsedPassword(pg) == 0)
        return false;
    (void)PQsetErrorVerbosity(pg, PQERRORS_VERBOSE);
    PQreset(pg);
    (void)PQsetErrorVerbosity(pg, PQERRORS_DEFAULT);
    return PQstatus(pg) != CONNECTION_OK && strstr(PQerrorMessage(pg), " 28P01: ") != NULL;
}

int otok_pg_connect(const char *conninfo, PGconn **out, otok_error *err)
{
    /* What stands before `dbname` is a default, what stands behind it counts whatever the string says. */
    static const char *const names[] = {
        "target_session_attrs", "connect_timeout", "application_name", "dbname", "client_encoding", NULL};
    const char *const values[] = {"read-write", "3", "offlinetok", conninfo, "UTF8", NULL};
    *out = PQconnectdbParams(names, values, 1);
    if (*out == NULL)
        return otok_pg_fail(err, OTOK_E_NOMEM, "postgres: no memory for a connection");
    bool refused = PQstatus(*out) != CONNECTION_OK && is_refused(*out);
    if (PQstatus(*out) == CONNECTION_OK) {
        if (PQsetnonblocking(*out, 1) == 0)
            return OTOK_OK;
    }
    const char *text = PQerrorMessage(*out);
    int rc =
        otok_pg_fail(err, refused ? OTOK_E_PERMISSION : OTOK_E_BUSY, "postgres: %.*s", (int)strcspn(text, "\n"), text);
    PQfinish(*out);
    *out = NULL;
    return rc;
}

static void close_connection(otok_pg_connection *connection)
{
    PQfinish(connection->pg);
    connection->pg = NULL;
    connection->ended = false;
    memset(connection->prepared, 0, sizeof connection->prepared);
}

static int open_connection(otok_pg *store, otok_pg_connection *connection, otok_error *err)
{
    int rc = otok_pg_connect(store->conninfo, &connection->pg, err);
    if (rc != OTOK_OK)
        return rc;
    (void)PQsetNoticeReceiver(connection->pg, on_notice, connection);
    int64_t deadline_us = otok_pg_clock_us() + store->timeout_us;
    rc = otok_pg_check_server(connection->pg, store->schema, deadline_us, err);
    if (rc == OTOK_OK)
        rc = otok_pg_prepare_always(store, connection, deadline_us, err);
    if (rc != OTOK_OK)
        close_connection(connection);
    return rc;
}

/* A moment, but not beyond the deadline. */
static void pause_until(int64_t deadline_us)
{
    int64_t left_us = deadline_us - otok_pg_clock_us(), most_us = PAUSE_MS * INT64_C(1000);
    struct timespec pause = {.tv_nsec = (long)(left_us < most_us ? left_us : most_us) * 1000};
    if (left_us > 0)
        (void)nanosleep(&pause, NULL);
}

/* While there is no primary: a failover takes a moment. */
static int open_patiently(otok_pg *store, otok_pg_connection *connection, int64_t deadline_us, otok_error *err)
{
    int rc = open_connection(store, connection, err);
    while (rc == OTOK_E_BUSY && otok_pg_clock_us() < deadline_us) {
        pause_until(deadline_us);
        rc = open_connection(store, connection, err);
    }
    return rc;
}

/* ---------------------------------------------------------------------------------------------------- taking */

/* One that is open, or else one that can be; NULL: all are taken.  With the mutex. */
static otok_pg_connection *find(otok_pg *store)
{
    otok_pg_connection *closed = NULL;
    for (size_t i = 0; i < store->nconnections; i++) {
        otok_pg_connection *connection = &store->connections[i];
        if (!connection->taken && connection->pg != NULL)
            return connection;
        if (!connection->taken && closed == NULL)
            closed = connection;
    }
    return closed;
}

static struct timespec at(int64_t us)
{
    return (struct timespec){.tv_sec = (time_t)(us / 1000000), .tv_nsec = (long)(us % 1000000) * 1000};
}

/* Who waits, in the order in which they came: each is handed a connection, so that nobody who comes later is faster. */
struct otok_pg_waiter {
    pthread_cond_t handed;
    otok_pg_connection *connection; /* NULL: not yet */
    struct otok_pg_waiter *next;
};

static bool init_condition(pthread_cond_t *condition)
{
    pthread_condattr_t attributes;
    if (pthread_condattr_init(&attributes) != 0)
        return false;
    bool good =
        pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC) == 0 && pthread_cond_init(condition, &attributes) == 0;
    (void)pthread_condattr_destroy(&attributes);
    return good;
}

static void join(otok_pg *store, otok_pg_waiter *waiter)
{
    otok_pg_waiter **at = &store->waiters;
    while (*at != NULL)
        at = &(*at)->next;
    *at = waiter;
}

static void leave(otok_pg *store, const otok_pg_waiter *waiter)
{
    otok_pg_waiter **at = &store->waiters;
    while (*at != NULL && *at != waiter)
        at = &(*at)->next;
    if (*at != NULL)
        *at = waiter->next;
}

/* With the mutex. */
static otok_pg_connection *wait_in_line(otok_pg *store, int64_t deadline_us)
{
    const struct timespec until = at(deadline_us);
    otok_pg_waiter waiter = {.next = NULL};
    int rc = 0;
    if (!init_condition(&waiter.handed))
        return NULL;
    join(store, &waiter);
    while (waiter.connection == NULL && rc == 0)
        rc = pthread_cond_timedwait(&waiter.handed, &store->mutex, &until);
    leave(store, &waiter);
    (void)pthread_cond_destroy(&waiter.handed);
    return waiter.connection;
}

static otok_pg_connection *wait_for_one(otok_pg *store, int64_t deadline_us)
{
    (void)pthread_mutex_lock(&store->mutex);
    otok_pg_connection *connection = find(store);
    if (connection == NULL)
        connection = wait_in_line(store, deadline_us);
    if (connection != NULL)
        connection->taken = true;
    (void)pthread_mutex_unlock(&store->mutex);
    return connection;
}

/* The server has closed it while nobody was looking: to be seen without asking it, in what has come since. */
static bool is_stale(otok_pg_connection *connection)
{
    bool read = PQconsumeInput(connection->pg) != 0;
    PQfreemem(PQnotifies(connection->pg)); /* looks through it; there are no notifications */
    return !read || connection->ended || PQstatus(connection->pg) != CONNECTION_OK;
}

int otok_pg_take(otok_pg *store, otok_pg_connection **out, otok_error *err)
{
    int64_t deadline_us = otok_pg_clock_us() + store->wait_us;
    *out = NULL;
    if (store->pid != getpid())
        return otok_pg_fail(err, OTOK_E_STATE, "postgres: opened before fork: a child process opens its own");
    otok_pg_connection *connection = wait_for_one(store, deadline_us);
    if (connection == NULL)
        return otok_pg_fail(err, OTOK_E_BUSY, "postgres: all %zu connections were taken all the time",
                            store->nconnections);
    if (connection->pg != NULL && is_stale(connection))
        close_connection(connection);
    int rc = connection->pg != NULL ? OTOK_OK : open_patiently(store, connection, deadline_us, err);
    if (rc == OTOK_OK)
        *out = connection;
    else
        otok_pg_give(store, connection, true);
    return rc;
}

void otok_pg_give(otok_pg *store, otok_pg_connection *connection, bool good)
{
    if (!good)
        close_connection(connection);
    (void)pthread_mutex_lock(&store->mutex);
    otok_pg_waiter *first = store->waiters;
    connection->taken = first != NULL;
    if (first != NULL) {
        store->waiters = first->next;
        first->connection = connection;
        (void)pthread_cond_signal(&first->handed);
    }
    (void)pthread_mutex_unlock(&store->mutex);
}
