/*
 * offlinetok/postgres.h - sessions in PostgreSQL: for those who outgrow one machine.  Of libofflinetok-postgres, so that nobody else
 * links libpq.
 *
 * The database holds one table of records, <schema>.records, and for administrators the view <schema>.offline_sessions.  Any number of
 * servers may share it, of one realm or of many.  Revocation is instant and a returned token durable as far as the database is: with
 * synchronous standbys also through a failover.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef OFFLINETOK_POSTGRES_H
#define OFFLINETOK_POSTGRES_H

#include <stddef.h>
#include <stdint.h>

#include <offlinetok/offlinetok.h>

#ifdef __cplusplus
extern "C" {
#endif
#if defined(__GNUC__)
#pragma GCC visibility push(default)
#endif

typedef struct otok_postgres_options {
    size_t size;
    const char *schema;   /* at most 63 bytes; default "offlinetok" */
    uint32_t connections; /* at once, at most; default 8.  Opened when they are needed */
    uint32_t unused;      /* 0 */
    int64_t wait_ms; /* how long a call waits for a free connection, or for a primary; default 5000: then OTOK_E_BUSY */
    int64_t timeout_ms; /* and for an answer; default 10000: then OTOK_E_BUSY, of a commit OTOK_E_UNCERTAIN */
} otok_postgres_options;

void otok_postgres_options_init(otok_postgres_options *options, size_t size);

/*
 * Makes the schema, or brings an older one to this version, in one transaction; nothing is done to one that is at it.  Never called
 * by otok_store_open_postgres().  Needs a role that may create it.  OTOK_E_FORMAT: it is of a newer version; OTOK_E_PERMISSION; and as
 * below.  Since 0.1.
 */
int otok_postgres_migrate(const char *conninfo, const otok_postgres_options *options, otok_error *err);

/*
 * Opens a store.  `conninfo` is libpq's connection string, with TLS and hosts as it has them; several hosts survive a failover
 * (target_session_attrs=read-write and connect_timeout=3 are defaults here).  `options` may be NULL.  A child of fork opens its own:
 * what it inherited is OTOK_E_STATE, and may be closed.
 *
 * OTOK_E_INVALID; OTOK_E_FORMAT: the schema is not there, or of another version, see otok_postgres_migrate(); OTOK_E_POLICY:
 * synchronous_commit is off, or local where the server has synchronous standbys; OTOK_E_PERMISSION; OTOK_E_BUSY: no primary can be
 * reached; OTOK_E_IO, OTOK_E_NOMEM.  Since 0.1.
 */
int otok_store_open_postgres(const char *conninfo, const otok_postgres_options *options, otok_store **out,
                             otok_error *err);

#if defined(__GNUC__)
#pragma GCC visibility pop
#endif
#ifdef __cplusplus
}
#endif
#endif
