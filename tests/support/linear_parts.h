/*
 * linear_parts.h - what the files of linear.h share: the log of calls, clients, and the steps between which they are seized.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef TEST_LINEAR_PARTS_H
#define TEST_LINEAR_PARTS_H

#include <semaphore.h>
#include <stdatomic.h>

#include "session/session.h"
#include "support/linear.h"

enum {
    LINEAR_CLIENTS = 8,
    LINEAR_AUDITOR = LINEAR_CLIENTS, /* looks at everything when the others have ended */
    LINEAR_LOGS = LINEAR_CLIENTS + 1,
    LINEAR_CALLS = 6, /* of each client */
    LINEAR_LOG = 40,
    LINEAR_FEW_SESSIONS = 4, /* issued in a history, and one more by each client at most */
    LINEAR_SESSIONS = LINEAR_FEW_SESSIONS + LINEAR_CLIENTS,
    LINEAR_NAMES = 2, /* subjects; clients; sids */
    LINEAR_ANY = 255,
    LINEAR_START_S = 1800000000 /* where clocks begin */
};

typedef struct linear_random {
    uint64_t state;
} linear_random;

uint64_t linear_next(linear_random *random, uint64_t below);

/* ------------------------------------------------------------------------------------------------------------- the log */

/* A row of a list. */
typedef struct linear_row {
    char session_id[OTOK_SESSION_ID_CHARS + 1];
    uint8_t subject, app, sid;
    uint32_t generation;
} linear_row;

/* A call: what was asked, written before; what was answered, written behind. */
typedef struct linear_call {
    linear_kind kind;
    uint8_t subject, app, sid; /* of an issue; of a filter, where LINEAR_ANY names none, and three of them the realm */
    char session_id[OTOK_SESSION_ID_CHARS + 1]; /* asked of; of an issue, answered */
    uint32_t presented;
    int64_t now_s;
    uint32_t invoked;
    _Atomic uint32_t answered; /* 0: not yet; the last that is written */
    int32_t code, outcome;
    uint32_t generation, retries;
    char token[OTOK_TOKEN_CHARS + 1]; /* that came */
    uint32_t nrows;
    linear_row rows[LINEAR_SESSIONS];
} linear_call;

typedef struct linear_log {
    _Atomic uint32_t n; /* calls that were begun */
    linear_call calls[LINEAR_LOG];
} linear_log;

/* One history: may lie in memory that processes share. */
typedef struct linear_world {
    uint64_t seed, number;
    linear_rules rules;
    int64_t skew_s;         /* how far clocks of clients are apart at most */
    int64_t advance_s;      /* how far the clock is moved at once, at most */
    bool uncertain;         /* the store is, now and then */
    uint32_t victims;       /* bits of clients that are killed */
    _Atomic int64_t now_s;  /* of the clock, from its start */
    _Atomic uint32_t order; /* places of beginnings and answers, from 1 */
    linear_log logs[LINEAR_LOGS];
    char trouble[256]; /* of a process that could not begin */
} linear_world;

/* A new history: its rules follow from the seed. */
void linear_world_begin(linear_world *world, uint64_t seed, uint64_t number);

/* The service of this history: a realm of its own. */
int linear_service_open(const linear_world *world, otok_store *store, otok_keyring *keyring, otok_service **out,
                        otok_error *err);

/* -------------------------------------------------------------------------------------------------------------- clients */

/* Who runs when: one at a time. */
typedef struct linear_stepper {
    linear_random random;
    unsigned style;
    bool runs[LINEAR_CLIENTS];
    unsigned rank[LINEAR_CLIENTS];
    sem_t turns[LINEAR_CLIENTS];
} linear_stepper;

typedef struct linear_client {
    linear_world *world;
    unsigned index;
    linear_random random;
    otok_service *service;
    int64_t now_s;           /* during one call */
    linear_stepper *stepper; /* NULL: runs as it comes */
    uint64_t dies_in;        /* steps; 0: never */
} linear_client;

void linear_stepper_init(linear_stepper *stepper, uint64_t seed);
void linear_stepper_end(linear_stepper *stepper);
void linear_stepper_go(linear_stepper *stepper);                  /* the first one runs */
void linear_stepper_wait(linear_stepper *stepper, unsigned i);    /* for the first turn */
void linear_stepper_release(linear_stepper *stepper, unsigned i); /* has ended */

/* Where a client may be seized, or die.  Of the client of this thread, if it is one. */
void linear_step(void);
linear_client *linear_me(void);
void linear_be(linear_client *client);

/* A store that steps before each of its functions and behind each commit, over one that it takes over. */
int linear_store_open(const linear_store *store, otok_store **out, otok_error *err);

/* Makes the calls of a client; of the auditor, a look at every session. */
void linear_client_work(linear_client *client);
void linear_client_audit(linear_client *client);

/* ------------------------------------------------------------------------------------------------------------ judgement */

/* Splits a history into those of its sessions, and adds what was found to the report. */
void linear_judge(const linear_world *world, linear_report *report);

/* The forms of a run. */
bool linear_run_threads(const linear_plan *plan, otok_keyring *keyring, linear_report *report);
bool linear_run_processes(const linear_plan *plan, otok_keyring *keyring, linear_report *report);

/* Something other than a history has gone wrong; the run ends. */
bool linear_fail(linear_report *report, const char *what, const otok_error *err);
int64_t linear_clock_us(void); /* monotonic */

#endif
