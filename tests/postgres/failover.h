/*
 * failover.h - a load that goes on while primaries are killed and standbys promoted, and the proof that nothing it was told is
 * done is lost.
 *
 * Processes issue, refresh with rotation, revoke and cut off through a conninfo of several hosts, and note in memory that they share
 * with the judge what they were told, before they do the next thing.  The judge parks them, and uses every session that was ever
 * acknowledged.  What is in doubt (UNCERTAIN) may have happened or not, at most once; what was not tried (BUSY) must not have.
 *
 * Each session has a clock of its own, a minute and a bit ahead for each rotation: so every refresh rotates, and a retry is always
 * inside the window (T2).
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef TEST_FAILOVER_H
#define TEST_FAILOVER_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/types.h>

#include <offlinetok/offlinetok.h>

enum {
    FAILOVER_WORKERS = 4,
    FAILOVER_SESSIONS = 128,
    FAILOVER_SUBJECTS = 3,
    FAILOVER_TOKEN = 96,
    FAILOVER_STORY = 512
};

/* ---------------------------------------------------------------------------------------------------- what is known */

typedef enum failover_state {
    FAILOVER_LIVE,
    FAILOVER_MAYBE_DEAD, /* its end is in doubt */
    FAILOVER_DEAD        /* its end was acknowledged */
} failover_state;

typedef struct failover_session {
    char id[32];
    char token[FAILOVER_TOKEN]; /* the newest that was acknowledged */
    uint32_t generation;        /* its */
    uint32_t subject;
    failover_state state;
    bool in_doubt; /* a refresh of it is: one generation more at most */
    bool untried;  /* a refresh was answered with BUSY or CONFLICT since: no generation more */
    int64_t offset_us;
} failover_session;

typedef struct failover_worker {
    _Atomic bool parked;
    _Atomic uint64_t done, in_doubt, untried; /* operations, by their answers */
    uint64_t nsessions, nissued;
    failover_session sessions[FAILOVER_SESSIONS];
    char wrong[FAILOVER_STORY]; /* what must not be, and the worker stops; "" */
} failover_worker;

typedef struct failover_shared {
    _Atomic bool park, stop;
    _Atomic int64_t last_done_us, longest_us; /* without any success, of anybody */
    failover_worker workers[FAILOVER_WORKERS];
} failover_shared;

/* ---------------------------------------------------------------------------------------------------- the parts */

/* Of one process: its store, its service, its clock. */
typedef struct failover_node {
    failover_shared *shared;
    otok_store *store;
    otok_service *service;
    int64_t offset_us; /* of the clock, to the system's */
} failover_node;

int failover_open(failover_node *node, failover_shared *shared, const char *conninfo, otok_keyring *keyring,
                  otok_error *err);
void failover_close(failover_node *node);

/* A refresh with what must come of it; the code, or 1 when that was wrong: it is in `worker`'s story then. */
enum { FAILOVER_WRONG = 1 };
int failover_refresh(failover_node *node, failover_worker *worker, failover_session *session);
int failover_wrong(failover_worker *worker, const failover_session *session, const char *what, int rc);

void failover_subject(const failover_shared *shared, const failover_worker *worker, uint32_t subject, char out[32]);
bool failover_is_in_doubt(int rc); /* UNCERTAIN */
bool failover_is_untried(int rc);  /* BUSY, CONFLICT */

/* The life of a worker, until it is to stop. */
void failover_work(failover_node *node, failover_worker *worker, uint64_t seed);

/* Uses every session that was ever acknowledged.  False: something is lost, in the worker's story. */
bool failover_judge(failover_node *node, failover_worker *worker);

/* ---------------------------------------------------------------------------------------------------- the whole */

typedef struct failover_report {
    uint64_t rounds, done, in_doubt, untried, checked, lost;
    int64_t *without_us; /* time without service in each round; freed by the caller */
    char story[FAILOVER_STORY + 64];
} failover_report;

/* Over a primary of that name, in CLUSTER; it needs no standby yet.  False when something was lost, or a server does not start. */
bool failover_run(const char *primary, const char *other, uint64_t rounds, failover_report *report, FILE *progress);

/* Runs a function of cluster.sh; what it prints is in `out`, when that is not NULL.  The arguments end with NULL. */
bool failover_cluster(char *out, size_t size, const char *function, ...) __attribute__((__sentinel__));

#endif
