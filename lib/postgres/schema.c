/*
 * schema.c - what is in the database: migration, and whether it is there.
 *
 * No advisory locks, and nothing else that databases of the same protocol lack: of two that migrate at once, one fails at what the
 * other has made, and finds it done.
 *
 * SPDX-License-Identifier: MIT
 */
#include "postgres/postgres.h"

#include <stdlib.h>
#include <string.h>

enum { VERSION = 1 };

/* A migration takes as long as it takes. */
static const int64_t NEVER = INT64_MAX;

/*
 * `%1` is the schema.  A refresh changes head and version, which no index has: with a fillfactor below 100 it is a heap-only update.
 * The names are bytes, as the library has them; the view shows them as text.
 */
static const char *const steps[] = {
    "CREATE SCHEMA IF NOT EXISTS %1",

    "CREATE TABLE %1.meta (one boolean PRIMARY KEY CHECK (one), version integer NOT NULL)",

    "CREATE TABLE %1.records ("
    " id bytea PRIMARY KEY, kind bigint NOT NULL, version bigint NOT NULL,"
    " created_us bigint NOT NULL, sweep_us bigint NOT NULL,"
    " realm_key bytea, subject_key bytea, client_key bytea, pair_key bytea, sid_key bytea, sweep_key bytea,"
    " other_keys bytea[] NOT NULL, links bytea[] NOT NULL,"
    " realm bytea NOT NULL, subject bytea NOT NULL, client bytea NOT NULL,"
    " head bytea NOT NULL, body bytea NOT NULL) WITH (fillfactor = 85)",

    "CREATE INDEX records_realm ON %1.records (realm_key, created_us, id) WHERE realm_key IS NOT NULL",
    "CREATE INDEX records_subject ON %1.records (subject_key, created_us, id) WHERE subject_key IS NOT NULL",
    "CREATE INDEX records_client ON %1.records (client_key, created_us, id) WHERE client_key IS NOT NULL",
    "CREATE INDEX records_pair ON %1.records (pair_key, created_us, id) WHERE pair_key IS NOT NULL",
    "CREATE INDEX records_sid ON %1.records (sid_key, created_us, id) WHERE sid_key IS NOT NULL",
    "CREATE INDEX records_sweep ON %1.records (sweep_key, sweep_us, id) WHERE sweep_key IS NOT NULL",
    "CREATE INDEX records_other ON %1.records USING gin (other_keys) WHERE other_keys <> '{}'",

    /* The head: generation (4 bytes), key, flags, retries (2), rotated and refreshed in milliseconds (6 each). */
    "CREATE VIEW %1.offline_sessions AS SELECT"
    " translate(rtrim(encode(id, 'base64'), '='), '+/', '-_') AS session_id,"
    " convert_from(realm, 'UTF8') AS realm, convert_from(subject, 'UTF8') AS subject,"
    " convert_from(client, 'UTF8') AS client_id,"
    " timestamptz 'epoch' + created_us * interval '1 microsecond' AS created_at,"
    " timestamptz 'epoch' + ('x0000' || encode(substring(head from 15 for 6), 'hex'))::bit(64)::bigint"
    " * interval '1 millisecond' AS last_used_at,"
    " ('x' || encode(substring(head from 1 for 4), 'hex'))::bit(32)::bigint & 4294967295 AS generation,"
    " get_byte(head, 4) AS token_key"
    " FROM %1.records WHERE kind = 1",

    "INSERT INTO %1.meta (one, version) VALUES (true, 1)",
};

/* ---------------------------------------------------------------------------------------------------- questions */

static int run(PGconn *pg, const char *text, const char *schema, int64_t deadline_us, PGresult **out, otok_error *err)
{
    char *filled = otok_pg_fill(text, &schema);
    if (filled == NULL)
        return otok_pg_fail(err, OTOK_E_NOMEM, "postgres: no memory for a statement");
    int rc = otok_pg_simple(pg, filled, deadline_us, out, err);
    free(filled);
    return rc;
}

static int read_version(PGconn *pg, const char *schema, int64_t deadline_us, int *version, otok_error *err)
{
    PGresult *result = NULL;
    *version = 0;
    int rc = run(pg, "SELECT version FROM %1.meta", schema, deadline_us, &result, err);
    if (rc == OTOK_OK && PQntuples(result) == 1)
        *version = (int)strtol(PQgetvalue(result, 0, 0), NULL, 10);
    PQclear(result);
    return rc;
}

static int refuse_version(const char *schema, int version, otok_error *err)
{
    if (version > VERSION)
        return otok_pg_fail(err, OTOK_E_FORMAT, "postgres: schema %s has version %d, and this library knows %d: %s",
                            schema, version, VERSION, "upgrade the library");
    return otok_pg_fail(err, OTOK_E_FORMAT, "postgres: schema %s is not there, or of an older version: %s", schema,
                        "call otok_postgres_migrate(), or run offlinetok migrate");
}

/*
 * What is committed must be on stable storage, and on the standbys that the server waits for.  Of a wait that was cut short nothing
 * but a warning tells: none may be held back.
 *
 * So that it stays so, the level is the connection's own from here on: a server whose configuration is read again would change it
 * under us.  `local` is as good as `on` while there are no standbys, and becomes that in case some are made.  Nor does anything but
 * what PostgreSQL brings have a say in what a statement means: whoever may create a function in a schema of the search_path could
 * otherwise have his own called, and hide cutoffs.
 *
 * By the way: each statement has an index that fits, and its plan is made once.  Without statistics, as where a table was empty a moment
 * ago, the server would rather walk the table, or sort what an index has in order.  Where it must, as in a table of one row, it takes
 * that for so costly that it loads a compiler for it: a tenth of a second, and 60 MB, for every connection.
 */
static int check_durability(PGconn *pg, int64_t deadline_us, otok_error *err)
{
    PGresult *result = NULL;
    int rc = otok_pg_simple(pg,
                            "SELECT current_setting('synchronous_commit'), "
                            "coalesce(current_setting('synchronous_standby_names', true), ''), "
                            "current_setting('transaction_read_only'), "
                            "set_config('synchronous_commit', CASE current_setting('synchronous_commit') "
                            "WHEN 'local' THEN 'on' ELSE current_setting('synchronous_commit') END, false), "
                            "set_config('search_path', '', false), "
                            "set_config('client_min_messages', 'warning', false), "
                            "set_config('plan_cache_mode', 'force_generic_plan', false), "
                            "set_config('enable_seqscan', 'off', false), set_config('enable_sort', 'off', false), "
                            "CASE WHEN current_setting('jit', true) = 'on' THEN set_config('jit', 'off', false) END",
                            deadline_us, &result, err);
    if (rc == OTOK_OK && PQntuples(result) != 1)
        rc = otok_pg_fail(err, OTOK_E_IO, "postgres: the server does not tell its settings");
    if (rc != OTOK_OK) {
        PQclear(result);
        return rc;
    }
    const char *level = PQgetvalue(result, 0, 0), *standbys = PQgetvalue(result, 0, 1);
    if (strcmp(PQgetvalue(result, 0, 2), "on") == 0)
        rc = otok_pg_fail(err, OTOK_E_BUSY, "postgres: the server is a standby, or read-only");
    else if (strcmp(level, "off") == 0)
        rc = otok_pg_fail(err, OTOK_E_POLICY, "postgres: synchronous_commit is off: what is answered could be lost");
    else if (strcmp(level, "local") == 0 && *standbys != '\0')
        rc = otok_pg_fail(err, OTOK_E_POLICY,
                          "postgres: synchronous_commit is local, and the server has synchronous standbys: %s",
                          "what is answered could be lost in a failover");
    PQclear(result);
    return rc;
}

int otok_pg_check_server(PGconn *pg, const char *schema, int64_t deadline_us, otok_error *err)
{
    int version = 0;
    int rc = check_durability(pg, deadline_us, err);
    if (rc == OTOK_OK)
        rc = read_version(pg, schema, deadline_us, &version, err);
    if (rc == OTOK_E_FORMAT)
        return refuse_version(schema, 0, err);
    return rc == OTOK_OK && version != VERSION ? refuse_version(schema, version, err) : rc;
}

/* ---------------------------------------------------------------------------------------------------- migration */

static int make(PGconn *pg, const char *schema, otok_error *err)
{
    int rc = otok_pg_simple(pg, "BEGIN", NEVER, NULL, err);
    for (size_t i = 0; rc == OTOK_OK && i < sizeof steps / sizeof steps[0]; i++)
        rc = run(pg, steps[i], schema, NEVER, NULL, err);
    if (rc == OTOK_OK)
        return otok_pg_simple(pg, "COMMIT", NEVER, NULL, err);
    (void)otok_pg_simple(pg, "ROLLBACK", NEVER, NULL, NULL);
    return rc;
}

int otok_pg_migrate(PGconn *pg, const char *schema, otok_error *err)
{
    int version = 0;
    int rc = otok_pg_simple(pg, "SELECT set_config('search_path', '', false)", NEVER, NULL, err);
    if (rc == OTOK_OK)
        rc = read_version(pg, schema, NEVER, &version, err);
    if (rc == OTOK_OK && version == VERSION)
        return OTOK_OK;
    if (rc == OTOK_OK && version > VERSION)
        return refuse_version(schema, version, err);
    if (rc != OTOK_OK && rc != OTOK_E_FORMAT)
        return rc;
    int made = make(pg, schema, err);
    if (made != OTOK_OK && read_version(pg, schema, NEVER, &version, NULL) == OTOK_OK && version == VERSION)
        return OTOK_OK; /* somebody else was faster */
    return made;
}
