/*
 * postgres/postgres.h - the PostgreSQL store, as its own files see it: a library of its own, which uses libofflinetok as any
 * backend does, by its public headers.
 *
 *     open.c    the public functions, options, the store object
 *     schema.c  what is in the database: migration, and whether it is there
 *     pool.c    connections: as many as are needed, waited for, opened again
 *     talk.c    one exchange with the server, with a deadline; what its errors mean
 *     row.c     a record as parameters, a row as a record
 *     read.c    fetch, scan, count
 *     write.c   groups, each a pipeline up to its own Sync
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef OTOK_POSTGRES_H
#define OTOK_POSTGRES_H

#include <libpq-fe.h>
#include <pthread.h>
#include <stdbool.h>
#include <sys/types.h>

#include <offlinetok/postgres.h>
#include <offlinetok/store.h>

/* ------------------------------------------------------------------------------------------------------------ statements */

/* Those that every connection has prepared; the text of each is in read.c or write.c. */
typedef enum otok_pg_statement {
    OTOK_PG_INSERT,
    OTOK_PG_PUT,
    OTOK_PG_HEAD,
    OTOK_PG_DELETE,
    OTOK_PG_ASSERT,
    OTOK_PG_FETCH,
    OTOK_PG_FETCH_LINKS,
    OTOK_PG_ALWAYS, /* those before it are prepared at once, those behind when they are needed */
    OTOK_PG_SCAN_ALL = OTOK_PG_ALWAYS,
    OTOK_PG_SCAN_ALL_DOWN,
    OTOK_PG_SCAN,                         /* of index 1; of index i: + i - 1 */
    OTOK_PG_SCAN_DOWN = OTOK_PG_SCAN + 6, /* as that */
    OTOK_PG_SCAN_OTHER = OTOK_PG_SCAN_DOWN + 6,
    OTOK_PG_SCAN_OTHER_DOWN,
    OTOK_PG_COUNT,
    OTOK_PG_COUNT_OTHER = OTOK_PG_COUNT + 6,
    OTOK_PG_STATEMENTS
} otok_pg_statement;

/* Indexes with a column, and a B-tree, of their own: 1 to this.  The library has no other; they are in one array, which has a GIN index. */
enum { OTOK_PG_COLUMNS = 6 };
extern const char *const otok_pg_columns[OTOK_PG_COLUMNS]; /* their names */

/* ---------------------------------------------------------------------------------------------------------------- pool.c */

typedef struct otok_pg_connection {
    PGconn *pg;                        /* NULL: not open */
    bool prepared[OTOK_PG_STATEMENTS]; /* which are */
    bool warned;                       /* the server has warned of something since this was made false */
    bool ended;                        /* the server has said its last word */
    bool taken;
} otok_pg_connection;

typedef struct otok_pg_waiter otok_pg_waiter;

/* What the store object holds. */
typedef struct otok_pg {
    pid_t pid;
    char *conninfo, *schema; /* schema: quoted as an identifier */
    int64_t wait_us, timeout_us;
    pthread_mutex_t mutex;
    otok_pg_waiter *waiters; /* the first in line */
    size_t nconnections;
    otok_pg_connection *connections;
} otok_pg;

/* A connection that is open and has what is always prepared; OTOK_E_BUSY, OTOK_E_STATE after fork, and what its opening fails with. */
int otok_pg_take(otok_pg *store, otok_pg_connection **out, otok_error *err);

/* Gives it back; one that is no good any more is closed. */
void otok_pg_give(otok_pg *store, otok_pg_connection *connection, bool good);

/* Opens one as a store is opened; for schema.c too, which needs no schema yet. */
int otok_pg_connect(const char *conninfo, PGconn **out, otok_error *err);

/* ---------------------------------------------------------------------------------------------------------------- talk.c */

/* Formats and returns `code`. */
int otok_pg_fail(otok_error *err, int code, const char *format, ...) __attribute__((__format__(__printf__, 3, 4)));

int64_t otok_pg_clock_us(void); /* monotonic */

/* What an SQLSTATE is: of a statement that was rolled back by it.  `lost`: the connection is of no use after it. */
int otok_pg_code(const char *sqlstate, bool *lost);

/* Fails with what a result, or (NULL) the connection, says. */
int otok_pg_fail_result(const PGconn *pg, const PGresult *result, otok_error *err);

/* Whether an error was the server's last word on this connection. */
bool otok_pg_is_last(const PGresult *result);

/* Sends what is queued, and waits for the next result: NULL ends those of one command.  False: the connection is lost, or it is too late. */
bool otok_pg_next(PGconn *pg, int64_t deadline_us, PGresult **out);

/* The text with `%1`, `%2` and so on replaced by values; freed with free(), NULL: no memory. */
char *otok_pg_fill(const char *text, const char *const *values);

/* Runs a text without parameters; its first result, to be cleared, goes to `out`, which may be NULL. */
int otok_pg_simple(PGconn *pg, const char *text, int64_t deadline_us, PGresult **out, otok_error *err);

/* Prepares what is always prepared, in one exchange. */
int otok_pg_prepare_always(otok_pg *store, otok_pg_connection *connection, int64_t deadline_us, otok_error *err);

/* Runs one statement, outside a pipeline, and gives its only result, to be cleared. */
typedef struct otok_pg_parameters otok_pg_parameters;
int otok_pg_run(otok_pg *store, otok_pg_connection *connection, otok_pg_statement statement,
                const otok_pg_parameters *parameters, int64_t deadline_us, PGresult **out, bool *lost, otok_error *err);

/* ----------------------------------------------------------------------------------------------------------------- row.c */

/* Parameters in binary, over room of their own where that is needed. */
enum { OTOK_PG_MOST_PARAMETERS = 18 };
struct otok_pg_parameters {
    int n;
    const char *values[OTOK_PG_MOST_PARAMETERS];
    int lengths[OTOK_PG_MOST_PARAMETERS];
    int formats[OTOK_PG_MOST_PARAMETERS];
    unsigned char *room; /* freed with otok_pg_parameters_free() */
    size_t used, size;
};

/* `size`: bytes for numbers and arrays.  False: no memory. */
bool otok_pg_parameters_begin(otok_pg_parameters *p, size_t size);
void otok_pg_parameters_free(otok_pg_parameters *p);
void otok_pg_add_bytes(otok_pg_parameters *p, const void *data, size_t len);
void otok_pg_add_null(otok_pg_parameters *p);
void otok_pg_add_int64(otok_pg_parameters *p, int64_t value);
void otok_pg_add_array(otok_pg_parameters *p, const void *items, size_t n,
                       size_t len); /* bytea[] of items of one length */
size_t otok_pg_array_size(size_t n, size_t len);

/* The columns of a record, in the order in which they are read and written: behind the id. */
#define OTOK_PG_RECORD_COLUMNS                                                                                         \
    "kind, version, created_us, sweep_us, realm_key, subject_key, client_key, pair_key, sid_key, sweep_key, "          \
    "other_keys, links, realm, subject, client, head, body"

size_t otok_pg_record_room(const otok_record *record);
void otok_pg_add_record(otok_pg_parameters *p, const otok_record *record); /* id and all columns */

/* A row, "id, " and those columns: points into the result and itself.  False: not what this library writes. */
typedef struct otok_pg_row {
    otok_record record;
    otok_index_key keys[OTOK_MAX_KEYS];
    otok_id links[OTOK_MAX_LINKS];
} otok_pg_row;
bool otok_pg_read_row(const PGresult *result, int row, otok_pg_row *out);

/* ------------------------------------------------------------------------------------------------------ read.c, write.c */

int otok_pg_fetch(void *self, const otok_id *ids, size_t n, uint32_t flags, otok_emit emit, void *arg, otok_error *err);
int otok_pg_scan(void *self, const otok_scan *scan, otok_emit emit, void *arg, otok_error *err);
int otok_pg_count(void *self, const otok_index_key *key, uint64_t *out, otok_error *err);
int otok_pg_commit(void *self, otok_group *groups, size_t n, otok_error *err);

/* The text of a statement with the schema in it; freed with free(). */
char *otok_pg_text(const otok_pg *store, otok_pg_statement statement);
char *otok_pg_read_text(const char *schema, otok_pg_statement statement);
char *otok_pg_write_text(const char *schema, otok_pg_statement statement);

/* -------------------------------------------------------------------------------------------------------------- schema.c */

int otok_pg_migrate(PGconn *pg, const char *schema, otok_error *err);

/* Whether the schema is there, in this version, and what is committed is durable. */
int otok_pg_check_server(PGconn *pg, const char *schema, int64_t deadline_us, otok_error *err);

#endif
