/*
 * talk.c - one exchange with the server, with a deadline; what its errors mean.
 *
 * SPDX-License-Identifier: MIT
 */
#include "postgres/postgres.h"

#include <errno.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

int otok_pg_fail(otok_error *err, int code, const char *format, ...)
{
    otok_error own;
    va_list arguments;
    va_start(arguments, format);
    (void)vsnprintf(own.message, sizeof own.message, format, arguments);
    va_end(arguments);
    return otok_error_set(err, code, 0, own.message);
}

int64_t otok_pg_clock_us(void)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

/* ---------------------------------------------------------------------------------------------------- errors */

/*
 * The first that begins so, of PostgreSQL's appendix A.  A miss is a division by zero: see write.c.  The server rolled back in each case
 * but 40003; what it says while it goes away, or as a standby, is a reason to look for another.
 */
static const struct {
    const char *begins;
    int code;
    bool lost;
} states[] = {
    {"22012", OTOK_E_CONFLICT, false},   /* division_by_zero: no record of that version */
    {"23505", OTOK_E_CONFLICT, false},   /* unique_violation: a record of that id */
    {"40003", OTOK_E_UNCERTAIN, true},   /* statement_completion_unknown */
    {"40", OTOK_E_CONFLICT, false},      /* serialization_failure, deadlock_detected: decided anew */
    {"25006", OTOK_E_BUSY, true},        /* read_only_sql_transaction: a standby */
    {"57014", OTOK_E_BUSY, false},       /* query_canceled, statement_timeout */
    {"55P03", OTOK_E_BUSY, false},       /* lock_not_available */
    {"57P", OTOK_E_BUSY, true},          /* admin_shutdown, crash_shutdown, cannot_connect_now */
    {"08", OTOK_E_BUSY, true},           /* connection exceptions */
    {"53100", OTOK_E_FULL, false},       /* disk_full */
    {"53200", OTOK_E_NOMEM, false},      /* out_of_memory */
    {"53300", OTOK_E_BUSY, true},        /* too_many_connections */
    {"28", OTOK_E_PERMISSION, true},     /* invalid authorization */
    {"42501", OTOK_E_PERMISSION, false}, /* insufficient_privilege */
    {"3F000", OTOK_E_FORMAT, false},     /* invalid_schema_name */
    {"42P01", OTOK_E_FORMAT, false},     /* undefined_table */
    {"42703", OTOK_E_FORMAT, false},     /* undefined_column */
    {"26000", OTOK_E_BUSY, true},        /* invalid_sql_statement_name: a pooler gave us another's connection */
    {"0A000", OTOK_E_BUSY, true},        /* feature_not_supported: a cached plan, after a migration */
    {"XX001", OTOK_E_FORMAT, false},     /* data_corrupted */
};

int otok_pg_code(const char *sqlstate, bool *lost)
{
    for (size_t i = 0; sqlstate != NULL && i < sizeof states / sizeof states[0]; i++) {
        if (strncmp(sqlstate, states[i].begins, strlen(states[i].begins)) == 0) {
            *lost = states[i].lost;
            return states[i].code;
        }
    }
    *lost = sqlstate == NULL;
    return sqlstate == NULL ? OTOK_E_BUSY : OTOK_E_IO;
}

/* One line, without what libpq puts around it. */
int otok_pg_fail_result(const PGconn *pg, const PGresult *result, otok_error *err)
{
    bool lost;
    const char *text = result != NULL ? PQresultErrorField(result, PG_DIAG_MESSAGE_PRIMARY) : NULL;
    int code = otok_pg_code(result != NULL ? PQresultErrorField(result, PG_DIAG_SQLSTATE) : NULL, &lost);
    if (text == NULL)
        text =
            result != NULL && *PQresultErrorMessage(result) != '\0' ? PQresultErrorMessage(result) : PQerrorMessage(pg);
    if (result == NULL && *text == '\0' && PQstatus(pg) == CONNECTION_OK)
        text = "the server did not answer in time";
    size_t len = strcspn(text, "\n");
    return otok_pg_fail(err, code, "postgres: %.*s", (int)(len < 400 ? len : 400),
                        len != 0 ? text : "the connection was lost");
}

/*
 * Poolers write such errors themselves, when their server has gone: PgBouncer without the field that is not translated, and Odyssey as
 * a mere ERROR of the class 08.
 */
bool otok_pg_is_last(const PGresult *result)
{
    const char *severity = PQresultErrorField(result, PG_DIAG_SEVERITY_NONLOCALIZED);
    const char *state = PQresultErrorField(result, PG_DIAG_SQLSTATE);
    if (severity == NULL)
        severity = PQresultErrorField(result, PG_DIAG_SEVERITY);
    if (severity == NULL)
        return false;
    bool of_connection = state != NULL && (strncmp(state, "08", 2) == 0 || strncmp(state, "57P", 3) == 0);
    return strcmp(severity, "FATAL") == 0 || strcmp(severity, "PANIC") == 0 ||
           (strcmp(severity, "ERROR") == 0 && of_connection);
}

/* ---------------------------------------------------------------------------------------------------- texts */

/* Copies to `out`, if that is not NULL.  The length. */
static size_t fill(char *out, const char *text, const char *const *values)
{
    size_t len = 0;
    for (; *text != '\0'; text++) {
        bool is_place = text[0] == '%' && text[1] >= '1' && text[1] <= '9';
        const char *piece = is_place ? values[text[1] - '1'] : text;
        size_t n = is_place ? strlen(piece) : 1;
        for (size_t i = 0; out != NULL && i < n; i++)
            out[len + i] = piece[i];
        len += n;
        text += is_place;
    }
    return len;
}

char *otok_pg_fill(const char *text, const char *const *values)
{
    size_t len = fill(NULL, text, values);
    char *out = malloc(len + 1);
    if (out == NULL)
        return NULL;
    (void)fill(out, text, values);
    out[len] = '\0';
    return out;
}

/* ---------------------------------------------------------------------------------------------------- waiting */

/* False: an error, or too late. */
static bool wait_for(PGconn *pg, short events, int64_t deadline_us)
{
    struct pollfd socket = {.fd = PQsocket(pg), .events = events};
    for (;;) {
        int64_t left_us = deadline_us - otok_pg_clock_us();
        if (left_us <= 0 || socket.fd < 0)
            return false;
        int64_t left_ms = left_us / 1000 + 1;
        int n = poll(&socket, 1, left_ms < 60000 ? (int)left_ms : 60000);
        if (n > 0)
            return true;
        if (n < 0 && errno != EINTR)
            return false;
    }
}

/*
 * Some of what comes libpq drops when it has no memory for it, a pipeline's end among them, and waits on for what was there: that it
 * tells of trouble, and has no result that does, is all there is to see of that.
 */
bool otok_pg_next(PGconn *pg, int64_t deadline_us, PGresult **out)
{
    size_t told = strlen(PQerrorMessage(pg));
    *out = NULL;
    for (;;) {
        int unsent = PQflush(pg);
        if (unsent < 0)
            return false;
        if (PQisBusy(pg) == 0) {
            *out = PQgetResult(pg);
            return PQstatus(pg) == CONNECTION_OK;
        }
        if (strlen(PQerrorMessage(pg)) > told)
            return false;
        if (!wait_for(pg, (short)(unsent != 0 ? POLLIN | POLLOUT : POLLIN), deadline_us) || PQconsumeInput(pg) == 0)
            return false;
    }
}

/* ---------------------------------------------------------------------------------------------------- one statement */

static void name_of(otok_pg_statement statement, char name[16])
{
    (void)snprintf(name, 16, "otok_%d", (int)statement);
}

/* Everything up to the end of a command, of which the first result counts. */
static int receive(PGconn *pg, int64_t deadline_us, PGresult **out, bool *lost, otok_error *err)
{
    PGresult *result, *first = NULL;
    bool good;
    while ((good = otok_pg_next(pg, deadline_us, &result)) && result != NULL) {
        if (first == NULL)
            first = result;
        else
            PQclear(result);
    }
    if (!good) {
        PQclear(result);
        *lost = true;
    }
    ExecStatusType status = first != NULL ? PQresultStatus(first) : PGRES_FATAL_ERROR;
    if (good && (status == PGRES_COMMAND_OK || status == PGRES_TUPLES_OK)) {
        *out = first;
        return OTOK_OK;
    }
    int rc = otok_pg_fail_result(pg, good ? first : NULL, err);
    if (good && first != NULL) {
        (void)otok_pg_code(PQresultErrorField(first, PG_DIAG_SQLSTATE), lost);
        *lost = *lost || otok_pg_is_last(first);
    }
    PQclear(first);
    return rc;
}

int otok_pg_simple(PGconn *pg, const char *text, int64_t deadline_us, PGresult **out, otok_error *err)
{
    PGresult *result = NULL;
    bool lost;
    int rc =
        PQsendQuery(pg, text) != 0 ? receive(pg, deadline_us, &result, &lost, err) : otok_pg_fail_result(pg, NULL, err);
    if (out != NULL)
        *out = result;
    else
        PQclear(result);
    return rc;
}

static int send_prepare(otok_pg *store, otok_pg_connection *connection, otok_pg_statement statement, otok_error *err)
{
    char name[16];
    char *text = otok_pg_text(store, statement);
    if (text == NULL)
        return otok_pg_fail(err, OTOK_E_NOMEM, "postgres: no memory for a statement");
    name_of(statement, name);
    int sent = PQsendPrepare(connection->pg, name, text, 0, NULL);
    free(text);
    return sent != 0 ? OTOK_OK : otok_pg_fail_result(connection->pg, NULL, err);
}

static int prepare(otok_pg *store, otok_pg_connection *connection, otok_pg_statement statement, int64_t deadline_us,
                   bool *lost, otok_error *err)
{
    PGresult *result = NULL;
    int rc = send_prepare(store, connection, statement, err);
    *lost = rc != OTOK_OK;
    if (rc == OTOK_OK)
        rc = receive(connection->pg, deadline_us, &result, lost, err);
    PQclear(result);
    connection->prepared[statement] = rc == OTOK_OK;
    return rc;
}

/* The first failure counts; what is behind it is only skipped. */
static int receive_sync(PGconn *pg, int64_t deadline_us, otok_error *err)
{
    int rc = OTOK_OK;
    bool synced = false;
    while (!synced) {
        PGresult *result;
        bool good = otok_pg_next(pg, deadline_us, &result);
        ExecStatusType status = PQresultStatus(result);
        synced = !good || (result != NULL && status == PGRES_PIPELINE_SYNC);
        if (rc == OTOK_OK && (!good || (result != NULL && status == PGRES_FATAL_ERROR)))
            rc = otok_pg_fail_result(pg, good ? result : NULL, err);
        PQclear(result);
    }
    return rc;
}

int otok_pg_prepare_always(otok_pg *store, otok_pg_connection *connection, int64_t deadline_us, otok_error *err)
{
    PGconn *pg = connection->pg;
    int rc = PQenterPipelineMode(pg) != 0 ? OTOK_OK : otok_pg_fail_result(pg, NULL, err);
    for (otok_pg_statement i = OTOK_PG_INSERT; rc == OTOK_OK && i < OTOK_PG_ALWAYS; i++)
        rc = send_prepare(store, connection, i, err);
    if (rc == OTOK_OK && PQpipelineSync(pg) == 0)
        rc = otok_pg_fail_result(pg, NULL, err);
    if (rc == OTOK_OK)
        rc = receive_sync(pg, deadline_us, err);
    if (rc == OTOK_OK && PQexitPipelineMode(pg) == 0)
        rc = otok_pg_fail_result(pg, NULL, err);
    for (otok_pg_statement i = OTOK_PG_INSERT; i < OTOK_PG_ALWAYS; i++)
        connection->prepared[i] = rc == OTOK_OK;
    return rc;
}

int otok_pg_run(otok_pg *store, otok_pg_connection *connection, otok_pg_statement statement,
                const otok_pg_parameters *parameters, int64_t deadline_us, PGresult **out, bool *lost, otok_error *err)
{
    enum { BINARY = 1 };
    char name[16];
    *out = NULL;
    *lost = false;
    int rc = connection->prepared[statement] ? OTOK_OK : prepare(store, connection, statement, deadline_us, lost, err);
    if (rc != OTOK_OK)
        return rc;
    name_of(statement, name);
    if (PQsendQueryPrepared(connection->pg, name, parameters->n, parameters->values, parameters->lengths,
                            parameters->formats, BINARY) == 0) {
        *lost = true;
        return otok_pg_fail_result(connection->pg, NULL, err);
    }
    return receive(connection->pg, deadline_us, out, lost, err);
}
