/*
 * read.c - fetch, scan and count: one statement, one snapshot, one round trip each.
 *
 * A read that finds its connection lost is made again on another, while there is time: it changes nothing.  So is one that a database
 * which serializes has refused.
 *
 * SPDX-License-Identifier: MIT
 */
#include "postgres/postgres.h"

#include <string.h>

enum { ID_SIZE = 16, DIGEST_SIZE = 16 };

/* ---------------------------------------------------------------------------------------------------- statements */

static const char fetch_text[] = "SELECT id, " OTOK_PG_RECORD_COLUMNS " FROM %1.records WHERE id = ANY($1::bytea[])";

static const char fetch_links_text[] =
    "WITH found AS (SELECT id, " OTOK_PG_RECORD_COLUMNS " FROM %1.records WHERE id = ANY($1::bytea[])) "
    "SELECT id, " OTOK_PG_RECORD_COLUMNS " FROM found UNION ALL "
    "SELECT id, " OTOK_PG_RECORD_COLUMNS " FROM %1.records WHERE id = ANY("
    "ARRAY(SELECT DISTINCT l.link FROM (SELECT unnest(links) AS link FROM found) AS l "
    "WHERE l.link <> ALL($1::bytea[])))";

/* `%1` is the schema, `%2` the column of the key, `%3` what is ordered by, `%4` > or <, `%5` ASC or DESC. */
static const char scan_text[] = "SELECT id, " OTOK_PG_RECORD_COLUMNS " FROM %1.records WHERE %2 = $4::bytea AND "
                                "(%3, id) %4 ($1::bigint, $2::bytea) ORDER BY %3 %5, id %5 LIMIT $3::bigint";
static const char scan_other_text[] =
    "SELECT id, " OTOK_PG_RECORD_COLUMNS " FROM %1.records WHERE other_keys @> ARRAY[$4::bytea] "
    "AND other_keys <> '{}' AND "
    "(created_us, id) %4 ($1::bigint, $2::bytea) ORDER BY created_us %5, id %5 LIMIT $3::bigint";
static const char scan_all_text[] =
    "SELECT id, " OTOK_PG_RECORD_COLUMNS " FROM %1.records WHERE $1::bigint IS NOT NULL AND id %4 $2::bytea "
    "ORDER BY id %5 LIMIT $3::bigint";
static const char count_text[] = "SELECT count(*) FROM %1.records WHERE %2 = $1::bytea";
static const char count_other_text[] =
    "SELECT count(*) FROM %1.records WHERE other_keys @> ARRAY[$1::bytea] AND other_keys <> '{}'";

static char *fill(const char *text, const char *schema, int index, bool down)
{
    const char *const values[] = {schema, otok_pg_columns[index - 1],
                                  index == OTOK_INDEX_SWEEP ? "sweep_us" : "created_us", down ? "<" : ">",
                                  down ? "DESC" : "ASC"};
    return otok_pg_fill(text, values);
}

char *otok_pg_read_text(const char *schema, otok_pg_statement statement)
{
    if (statement == OTOK_PG_FETCH)
        return fill(fetch_text, schema, 1, false);
    if (statement == OTOK_PG_FETCH_LINKS)
        return fill(fetch_links_text, schema, 1, false);
    if (statement < OTOK_PG_SCAN)
        return fill(scan_all_text, schema, 1, statement == OTOK_PG_SCAN_ALL_DOWN);
    if (statement < OTOK_PG_SCAN_DOWN)
        return fill(scan_text, schema, 1 + (int)(statement - OTOK_PG_SCAN), false);
    if (statement < OTOK_PG_SCAN_OTHER)
        return fill(scan_text, schema, 1 + (int)(statement - OTOK_PG_SCAN_DOWN), true);
    if (statement < OTOK_PG_COUNT)
        return fill(scan_other_text, schema, 1, statement == OTOK_PG_SCAN_OTHER_DOWN);
    if (statement < OTOK_PG_COUNT_OTHER)
        return fill(count_text, schema, 1 + (int)(statement - OTOK_PG_COUNT), false);
    return fill(count_other_text, schema, 1, false);
}

/* ---------------------------------------------------------------------------------------------------- asking */

static int ask_once(otok_pg *store, otok_pg_statement statement, const otok_pg_parameters *p, PGresult **result,
                    bool *lost, otok_error *err)
{
    otok_pg_connection *connection;
    *lost = false;
    int rc = otok_pg_take(store, &connection, err);
    if (rc != OTOK_OK)
        return rc;
    rc = otok_pg_run(store, connection, statement, p, otok_pg_clock_us() + store->timeout_us, result, lost, err);
    otok_pg_give(store, connection, !*lost);
    return rc;
}

static int ask(otok_pg *store, otok_pg_statement statement, const otok_pg_parameters *p, PGresult **result,
               otok_error *err)
{
    int64_t deadline_us = otok_pg_clock_us() + store->timeout_us;
    size_t more = store->nconnections; /* all of them may have been lost */
    int cancel, rc;
    bool lost;
    (void)pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &cancel);
    do
        rc = ask_once(store, statement, p, result, &lost, err);
    while (((rc != OTOK_OK && lost && more-- > 0) || rc == OTOK_E_CONFLICT) && otok_pg_clock_us() < deadline_us);
    (void)pthread_setcancelstate(cancel, NULL);
    /* To callers a conflict is that of a commit, and may be no trouble. */
    return rc == OTOK_E_CONFLICT ? otok_pg_fail(err, OTOK_E_BUSY, "postgres: others were faster all the time") : rc;
}

static int emit_rows(const PGresult *result, otok_emit emit, void *arg, otok_error *err)
{
    otok_pg_row row;
    int n = PQntuples(result);
    for (int i = 0; i < n; i++) {
        if (!otok_pg_read_row(result, i, &row))
            return otok_pg_fail(err, OTOK_E_FORMAT, "postgres: a record that this version of the library cannot read");
        if (emit(arg, &row.record) != 0)
            break;
    }
    return OTOK_OK;
}

/* ---------------------------------------------------------------------------------------------------- the functions */

int otok_pg_fetch(void *self, const otok_id *ids, size_t n, uint32_t flags, otok_emit emit, void *arg, otok_error *err)
{
    otok_pg_parameters p;
    PGresult *result = NULL;
    otok_pg_statement statement = (flags & OTOK_FETCH_LINKS) != 0 ? OTOK_PG_FETCH_LINKS : OTOK_PG_FETCH;
    if (!otok_pg_parameters_begin(&p, otok_pg_array_size(n, ID_SIZE)))
        return otok_pg_fail(err, OTOK_E_NOMEM, "postgres: no memory for a fetch");
    otok_pg_add_array(&p, ids, n, ID_SIZE);
    int rc = ask(self, statement, &p, &result, err);
    if (rc == OTOK_OK)
        rc = emit_rows(result, emit, arg, err);
    PQclear(result);
    otok_pg_parameters_free(&p);
    return rc;
}

/* Before everything, or behind it: ids have 16 bytes. */
static void add_place(otok_pg_parameters *p, const otok_scan *scan)
{
    static const unsigned char beyond[ID_SIZE + 1] = {255, 255, 255, 255, 255, 255, 255, 255, 255,
                                                      255, 255, 255, 255, 255, 255, 255, 255};
    bool down = (scan->flags & OTOK_SCAN_DESCENDING) != 0;
    if ((scan->flags & OTOK_SCAN_AFTER) != 0) {
        otok_pg_add_int64(p, scan->after_us);
        otok_pg_add_bytes(p, scan->after.bytes, ID_SIZE);
    } else {
        otok_pg_add_int64(p, down ? INT64_MAX : INT64_MIN);
        otok_pg_add_bytes(p, beyond, down ? sizeof beyond : 0);
    }
    otok_pg_add_int64(p, scan->limit);
}

static void add_key(otok_pg_parameters *p, const otok_index_key *key, unsigned char room[1 + DIGEST_SIZE])
{
    room[0] = (unsigned char)key->index;
    memcpy(room + 1, key->digest, DIGEST_SIZE);
    if (key->index > OTOK_PG_COLUMNS)
        otok_pg_add_bytes(p, room, 1 + DIGEST_SIZE);
    else
        otok_pg_add_bytes(p, room + 1, DIGEST_SIZE);
}

static otok_pg_statement statement_of(const otok_scan *scan)
{
    bool down = (scan->flags & OTOK_SCAN_DESCENDING) != 0;
    if (scan->key.index == OTOK_INDEX_ALL)
        return down ? OTOK_PG_SCAN_ALL_DOWN : OTOK_PG_SCAN_ALL;
    if (scan->key.index > OTOK_PG_COLUMNS)
        return down ? OTOK_PG_SCAN_OTHER_DOWN : OTOK_PG_SCAN_OTHER;
    return (otok_pg_statement)((down ? OTOK_PG_SCAN_DOWN : OTOK_PG_SCAN) + (int)scan->key.index - 1);
}

int otok_pg_scan(void *self, const otok_scan *scan, otok_emit emit, void *arg, otok_error *err)
{
    unsigned char key[1 + DIGEST_SIZE];
    otok_pg_parameters p;
    PGresult *result = NULL;
    if (!otok_pg_parameters_begin(&p, 2 * sizeof(int64_t)))
        return otok_pg_fail(err, OTOK_E_NOMEM, "postgres: no memory for a scan");
    add_place(&p, scan);
    if (scan->key.index != OTOK_INDEX_ALL)
        add_key(&p, &scan->key, key);
    int rc = ask(self, statement_of(scan), &p, &result, err);
    if (rc == OTOK_OK)
        rc = emit_rows(result, emit, arg, err);
    PQclear(result);
    otok_pg_parameters_free(&p);
    return rc;
}

int otok_pg_count(void *self, const otok_index_key *key, uint64_t *out, otok_error *err)
{
    unsigned char room[1 + DIGEST_SIZE];
    otok_pg_parameters p;
    PGresult *result = NULL;
    bool other = key->index > OTOK_PG_COLUMNS;
    if (!otok_pg_parameters_begin(&p, 0))
        return otok_pg_fail(err, OTOK_E_NOMEM, "postgres: no memory for a count");
    add_key(&p, key, room);
    otok_pg_statement statement =
        other ? OTOK_PG_COUNT_OTHER : (otok_pg_statement)((int)OTOK_PG_COUNT + (int)key->index - 1);
    int rc = ask(self, statement, &p, &result, err);
    if (rc == OTOK_OK && (PQntuples(result) != 1 || PQgetlength(result, 0, 0) != sizeof(int64_t)))
        rc = otok_pg_fail(err, OTOK_E_FORMAT, "postgres: a count that is no number");
    if (rc == OTOK_OK) {
        const unsigned char *bytes = (const unsigned char *)PQgetvalue(result, 0, 0);
        *out = 0;
        for (size_t i = 0; i < sizeof(int64_t); i++)
            *out = *out << 8 | bytes[i];
    }
    PQclear(result);
    otok_pg_parameters_free(&p);
    return rc;
}
