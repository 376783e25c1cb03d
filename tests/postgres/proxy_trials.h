/*
 * proxy_trials.h - one operation at a time through a proxy that spoils one message of it, and whether the answer was true (R8, T2).
 *
 * What was answered with OTOK_OK is in the database; what was answered with an error that says "not written" is not, and never will be;
 * what is UNCERTAIN is there or not.  The client then does the same again, with its old token or its once key, until it is told: that
 * has happened exactly once.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef TEST_PROXY_TRIALS_H
#define TEST_PROXY_TRIALS_H

#include <stdint.h>

#include <offlinetok/store.h>

#include "postgres/proxy.h"

typedef enum proxy_operation {
    PROXY_ISSUE,
    PROXY_REFRESH, /* with rotation */
    PROXY_REVOKE,
    PROXY_CUTOFF,
    PROXY_GROUPS, /* of the store: two inserts, and a change between them that misses, in one commit */
    PROXY_OPERATIONS
} proxy_operation;

typedef struct proxy_trial {
    proxy_operation operation;
    bool cold; /* its connection is opened within it */
    bool late; /* what is held arrives after the client has tried again; else before */
    proxy_plan plan;
} proxy_trial;

typedef struct proxy_bench proxy_bench;

typedef struct proxy_tally {
    uint64_t trials;
    uint64_t spoiled; /* of these: the message came */
    uint64_t ok, uncertain, untried;
    uint64_t happened; /* of the uncertain ones */
    uint64_t busy;     /* of the untried ones */
    uint64_t once;     /* the client's retries after which it had happened exactly once */
    uint64_t wrong;
    int64_t longest_ms;
    char story[512]; /* the first answer that was not true; "" */
} proxy_tally;

/* A proxy before the server in the folder `server`, and a schema of its own.  NULL: it says why in `story`. */
proxy_bench *proxy_bench_open(const char *server, char story[512]);
void proxy_bench_close(proxy_bench *bench);

/* Does one; false: it is told in the tally. */
bool proxy_try(proxy_bench *bench, const proxy_trial *trial, proxy_tally *tally);

/* How many messages an operation has when nothing goes wrong.  False: something does. */
bool proxy_count_messages(proxy_bench *bench, proxy_operation operation, bool cold, size_t counts[PROXY_WAYS]);

const char *proxy_operation_name(proxy_operation operation);

#endif
