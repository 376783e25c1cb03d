/*
 * write.c - groups, each a pipeline up to its own Sync.
 *
 * What is sent between two Syncs is one transaction (PostgreSQL's protocol, section "Pipelining"), committed by the second.  A pipeline
 * cannot branch on a count of rows, so a write that misses is an error inside its statement: it divides by the number of rows that it
 * found.  The server then skips the rest of the group and rolls it back; the groups behind it are not touched.
 *
 * What the server says at the Sync, ready, and no error before it, is the commit.  An error of a statement means that nothing was
 * written, for the Sync comes behind them all.  Whatever else happens behind a Sync that was sent leaves it in doubt.  A warning there
 * does too: a server that was asked to stop waiting for its standbys has committed, and warns.
 *
 * SPDX-License-Identifier: MIT
 */
#include "postgres/postgres.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { ID_SIZE = 16, BINARY = 1 };

/* ---------------------------------------------------------------------------------------------------- statements */

#define MISS_IS_AN_ERROR ") SELECT 1 / count(*) FROM w"

static const char *const texts[] = {
    [OTOK_PG_INSERT] = "INSERT INTO %1.records (id, " OTOK_PG_RECORD_COLUMNS ") VALUES "
                       "($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18)",
    /* As INSERT, without created_us, which stays; $18 is the version that is expected. */
    [OTOK_PG_PUT] = "WITH w AS (UPDATE %1.records SET kind = $2, version = $3, sweep_us = $4, realm_key = $5, "
                    "subject_key = $6, client_key = $7, pair_key = $8, sid_key = $9, sweep_key = $10, "
                    "other_keys = $11, links = $12, realm = $13, subject = $14, client = $15, head = $16, body = $17 "
                    "WHERE id = $1 AND version = $18 RETURNING 1" MISS_IS_AN_ERROR,
    [OTOK_PG_HEAD] = "WITH w AS (UPDATE %1.records SET version = $3, head = $4 "
                     "WHERE id = $1 AND version = $2 RETURNING 1" MISS_IS_AN_ERROR,
    [OTOK_PG_DELETE] = "WITH w AS (DELETE FROM %1.records WHERE id = $1 AND version = $2 "
                       "RETURNING 1" MISS_IS_AN_ERROR,
    [OTOK_PG_ASSERT] = "WITH w AS (SELECT 1 FROM %1.records WHERE id = $1 AND version = $2 "
                       "FOR SHARE" MISS_IS_AN_ERROR,
};

char *otok_pg_write_text(const char *schema, otok_pg_statement statement)
{
    return otok_pg_fill(texts[statement], &schema);
}

static otok_pg_statement statement_of(uint32_t op)
{
    switch (op) {
    case OTOK_WRITE_INSERT:
        return OTOK_PG_INSERT;
    case OTOK_WRITE_PUT:
        return OTOK_PG_PUT;
    case OTOK_WRITE_HEAD:
        return OTOK_PG_HEAD;
    case OTOK_WRITE_DELETE:
        return OTOK_PG_DELETE;
    default:
        return OTOK_PG_ASSERT;
    }
}

/* ---------------------------------------------------------------------------------------------------- parameters */

static void add_guarded(otok_pg_parameters *p, const otok_write *write)
{
    otok_pg_add_bytes(p, write->record->id.bytes, ID_SIZE);
    otok_pg_add_int64(p, (int64_t)write->expect);
    if (write->op == OTOK_WRITE_HEAD) {
        otok_pg_add_int64(p, (int64_t)write->record->version);
        otok_pg_add_bytes(p, write->record->head.data, write->record->head.len);
    }
}

/* All of a record but created_us, the fourth. */
static void add_put(otok_pg_parameters *p, const otok_write *write)
{
    enum { CREATED_AT = 3 };
    otok_pg_add_record(p, write->record);
    p->n--;
    for (int i = CREATED_AT; i < p->n; i++) {
        p->values[i] = p->values[i + 1];
        p->lengths[i] = p->lengths[i + 1];
        p->formats[i] = p->formats[i + 1];
    }
    otok_pg_add_int64(p, (int64_t)write->expect);
}

static bool begin_parameters(otok_pg_parameters *p, const otok_write *write)
{
    bool whole = write->op == OTOK_WRITE_INSERT || write->op == OTOK_WRITE_PUT;
    size_t size =
        3 * sizeof(int64_t) + (whole ? otok_pg_record_room(write->record) + OTOK_PG_COLUMNS * sizeof(otok_id) : 0);
    if (!otok_pg_parameters_begin(p, size))
        return false;
    if (write->op == OTOK_WRITE_INSERT)
        otok_pg_add_record(p, write->record);
    else if (write->op == OTOK_WRITE_PUT)
        add_put(p, write);
    else
        add_guarded(p, write);
    return true;
}

/* ---------------------------------------------------------------------------------------------------- sending */

/* OTOK_E_NOMEM and OTOK_E_BUSY: it was not queued whole. */
static int send_write(otok_pg_connection *connection, const otok_write *write, otok_error *err)
{
    otok_pg_parameters p;
    char name[16];
    otok_pg_statement statement = statement_of(write->op);
    if (!begin_parameters(&p, write))
        return otok_pg_fail(err, OTOK_E_NOMEM, "postgres: no memory for a write");
    (void)snprintf(name, sizeof name, "otok_%d", (int)statement);
    int sent = PQsendQueryPrepared(connection->pg, name, p.n, p.values, p.lengths, p.formats, BINARY);
    otok_pg_parameters_free(&p);
    return sent != 0 ? OTOK_OK : otok_pg_fail_result(connection->pg, NULL, err);
}

static int by_id(const void *a, const void *b)
{
    const otok_write *const *left = a, *const *right = b;
    return memcmp((*left)->record->id.bytes, (*right)->record->id.bytes, ID_SIZE);
}

/*
 * In the order of ids, so that no two groups wait for each other.  Without its Sync a group is never committed, whatever of it has
 * reached the server: only where that failed is it in doubt.
 */
static int send_group(otok_pg_connection *connection, const otok_group *group, otok_error *err)
{
    const otok_write *sorted[OTOK_MAX_GROUP_WRITES] = {NULL};
    int rc = OTOK_OK;
    for (size_t i = 0; i < group->n; i++)
        sorted[i] = &group->writes[i];
    qsort(sorted, group->n, sizeof sorted[0], by_id);
    for (size_t i = 0; rc == OTOK_OK && i < group->n; i++)
        rc = send_write(connection, sorted[i], err);
    if (rc == OTOK_OK && PQpipelineSync(connection->pg) == 0)
        rc = otok_pg_fail(err, OTOK_E_UNCERTAIN, "postgres: the connection failed in a commit");
    return rc;
}

/* ---------------------------------------------------------------------------------------------------- receiving */

static int doubt(otok_group *group, const char *message)
{
    group->result = otok_pg_fail(&group->error, OTOK_E_UNCERTAIN, "postgres: %s", message);
    return group->result;
}

/*
 * What one result says of its group.  An error that libpq has made itself, having no memory for what came, says nothing of what the
 * server did; nor does one that ends the connection: it may be a pooler's, whose server has committed and died before it could say so.
 */
static void note(const otok_pg_connection *connection, otok_group *group, const PGresult *result, size_t *done,
                 bool *lost)
{
    ExecStatusType status = PQresultStatus(result);
    if (status == PGRES_COMMAND_OK || status == PGRES_TUPLES_OK)
        ++*done;
    if (status != PGRES_FATAL_ERROR && status != PGRES_BAD_RESPONSE)
        return;
    bool of_server = PQresultErrorField(result, PG_DIAG_SQLSTATE) != NULL, last = otok_pg_is_last(result), gone;
    *lost = *lost || last || !of_server;
    if (group->result != OTOK_OK)
        return;
    if (!of_server || last) {
        (void)doubt(group, "the connection failed in a commit");
        return;
    }
    group->result = otok_pg_fail_result(connection->pg, result, &group->error);
    (void)otok_pg_code(PQresultErrorField(result, PG_DIAG_SQLSTATE), &gone);
    *lost = *lost || gone;
}

/* The results of a group, up to its Sync; false: the connection is lost, and the group has the result that this leaves it with. */
static bool receive_group(otok_pg_connection *connection, otok_group *group, int64_t deadline_us, bool *lost)
{
    PGresult *result;
    size_t done = 0;
    bool synced = false;
    group->result = OTOK_OK;
    connection->warned = false; /* libpq hands a warning over before the results that came ahead of it: any counts */
    while (!synced) {
        if (!otok_pg_next(connection->pg, deadline_us, &result)) {
            PQclear(result);
            if (group->result == OTOK_OK) /* what failed in the group before that is known */
                (void)doubt(group, "the connection was lost, or silent, in a commit");
            return false;
        }
        synced = result != NULL && PQresultStatus(result) == PGRES_PIPELINE_SYNC;
        if (result != NULL && !synced)
            note(connection, group, result, &done, lost);
        PQclear(result);
    }
    if (group->result == OTOK_OK && done != group->n)
        (void)doubt(group, "the server has not answered every statement");
    if (group->result == OTOK_OK && connection->warned)
        (void)doubt(group, "the server warned in a commit: it may not be on the standbys");
    return true;
}

static void give_all(otok_group *groups, size_t n, int code, const char *message)
{
    for (size_t i = 0; i < n; i++)
        groups[i].result = otok_pg_fail(&groups[i].error, code, "postgres: %s", message);
}

/* So many groups are on the way at once, at most: what both sides have to buffer has a bound. */
enum { BATCH = 64 };

/* Sends and receives a batch.  False: the connection is lost. */
static bool run_batch(otok_pg_connection *connection, otok_group *groups, size_t n, int64_t deadline_us)
{
    bool lost = false;
    for (size_t i = 0; i < n; i++) {
        groups[i].result = send_group(connection, &groups[i], &groups[i].error);
        if (groups[i].result != OTOK_OK) { /* what was queued before is on its way, perhaps */
            give_all(groups, i, OTOK_E_UNCERTAIN, "the connection failed in a commit");
            give_all(groups + i + 1, n - i - 1, OTOK_E_BUSY, "not tried: the connection failed before");
            return false;
        }
    }
    for (size_t i = 0; i < n; i++) {
        if (!receive_group(connection, &groups[i], deadline_us, &lost)) {
            give_all(groups + i + 1, n - i - 1, OTOK_E_UNCERTAIN, "the connection was lost in a commit");
            return false;
        }
    }
    return !lost;
}

/* ---------------------------------------------------------------------------------------------------- commit */

/* False: the connection was lost. */
static bool run_all(otok_pg_connection *connection, otok_group *groups, size_t n, int64_t timeout_us)
{
    bool good = true;
    for (size_t at = 0; at < n; at += BATCH) {
        size_t size = n - at < BATCH ? n - at : BATCH;
        if (good)
            good = run_batch(connection, groups + at, size, otok_pg_clock_us() + timeout_us);
        else
            give_all(groups + at, size, OTOK_E_BUSY, "not tried: the connection was lost before");
    }
    return good && PQexitPipelineMode(connection->pg) != 0;
}

/* `lost`: the connection. */
static int commit_once(otok_pg *store, otok_group *groups, size_t n, bool *lost, otok_error *err)
{
    otok_pg_connection *connection;
    *lost = false;
    int rc = otok_pg_take(store, &connection, err);
    if (rc != OTOK_OK)
        return rc;
    if (PQenterPipelineMode(connection->pg) == 0)
        rc = otok_pg_fail_result(connection->pg, NULL, err);
    *lost = rc != OTOK_OK || !run_all(connection, groups, n, store->timeout_us);
    otok_pg_give(store, connection, !*lost);
    return rc;
}

static bool is_untried(const otok_group *groups, size_t n)
{
    size_t i = 0;
    while (i < n && groups[i].result == OTOK_E_BUSY)
        i++;
    return i == n;
}

/* A connection that was lost before anything was done, as those of a server that went away while nobody asked, is not the end. */
static int commit(otok_pg *store, otok_group *groups, size_t n, otok_error *err)
{
    int64_t deadline_us = otok_pg_clock_us() + store->wait_us;
    size_t more = store->nconnections;
    bool lost;
    int rc;
    do
        rc = commit_once(store, groups, n, &lost, err);
    while (rc == OTOK_OK && lost && is_untried(groups, n) && more-- > 0 && otok_pg_clock_us() < deadline_us);
    return rc;
}

int otok_pg_commit(void *self, otok_group *groups, size_t n, otok_error *err)
{
    int cancel;
    (void)pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &cancel);
    int rc = commit(self, groups, n, err);
    (void)pthread_setcancelstate(cancel, NULL);
    return rc;
}
