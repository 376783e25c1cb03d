/*
 * linear.h - do concurrent calls behave as if they had been made one after another?
 *
 * Eight clients issue, refresh, retry, revoke, cut off, list and sweep at once, and every call is written down with the
 * place of its beginning and of its answer in one order.  What belongs to one session is a history of its own.  A history is
 * explained when some order of its calls, each at one point between its beginning and its answer, gives the model of one
 * session the answers that were given (linear_search.c: Wing and Gong's search, with the memory that Lowe added).  A call
 * without an answer (killed, OTOK_E_UNCERTAIN) may have happened at any time since it began, or never.
 *
 * linear_model.c is the model, linear_world.c and linear_client.c make the calls, linear_run.c runs and judges histories.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef TEST_LINEAR_H
#define TEST_LINEAR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <offlinetok/store.h>

/* ------------------------------------------------------------------------------------------------ the model (pure) */

typedef enum linear_kind {
    LINEAR_ISSUE,
    LINEAR_REFRESH,
    LINEAR_REVOKE_TOKEN,
    LINEAR_REVOKE_SESSION,
    LINEAR_CUTOFF,   /* otok_cutoff_set(OTOK_NOW), and beside its refresh a reuse that ended the pair */
    LINEAR_MATCHING, /* otok_revoke_matching() */
    LINEAR_LIST,
    LINEAR_GET,
    LINEAR_SWEEP,
    LINEAR_ADVANCE /* of the clock: no call, and in no history */
} linear_kind;

/* What the model needs of a policy; LINEAR_NO_LIMIT for what has none. */
#define LINEAR_NO_LIMIT (INT64_MAX / 4)
typedef struct linear_rules {
    int64_t retry_window_s, retry_limit, clock_skew_s, rotate_after_s, idle_s, touch_s;
    int32_t reuse; /* OTOK_REUSE_... */
} linear_rules;

/* A call, as one session sees it. */
typedef struct linear_event {
    linear_kind kind;
    unsigned client;
    bool unknown;               /* no answer: what is below `presented` says nothing */
    uint32_t invoked, answered; /* UINT32_MAX: never */
    int64_t now_s;              /* the time that the call was told whenever it asked */
    uint32_t presented;         /* REFRESH: generation */
    int32_t code, outcome;      /* outcome of a REFRESH; of a GET, the state of the session */
    uint32_t generation;        /* REFRESH, GET, LIST */
    uint32_t retries;           /* GET */
    bool shown;                 /* LIST */
} linear_event;

/* ENDED: dead, and its record may be there for some time.  GONE: it was seen to be gone.  Neither is ever left. */
enum { LINEAR_UNBORN, LINEAR_LIVE, LINEAR_ENDED, LINEAR_GONE };

/* Without holes: compared bytewise. */
typedef struct linear_state {
    uint32_t phase, generation, retries, unused;
    int64_t started_s, rotated_s, refreshed_s;
} linear_state;

/* How many states an event may lead to, 0 when its answer cannot be given in this one; 2 are the most. */
int linear_apply(const linear_rules *rules, const linear_event *event, const linear_state *from, linear_state to[2]);

/* Whether an event only looks. */
bool linear_looks(const linear_event *event);

/* ----------------------------------------------------------------------------------------------------- the checker */

enum { LINEAR_MOST_EVENTS = 64, LINEAR_STORY = 16384 };

/* Whether some order explains the events of one session, at most LINEAR_MOST_EVENTS. */
bool linear_explained(const linear_rules *rules, const linear_event *events, size_t n);

/*
 * Makes a history that is not explained shorter: up to the first answer that is too much, without those that only looked and
 * are not needed, or that are of no help.  Of what is left, an answer that does not matter is made unknown.  The new number of
 * events.
 */
size_t linear_shorten(const linear_rules *rules, linear_event *events, size_t n);

/* Prints events in the order of their beginning. */
void linear_tell(const linear_rules *rules, const linear_event *events, size_t n, char *out, size_t size);

/* --------------------------------------------------------------------------------------------------------- the run */

/* A store under test: whatever otok_store_open() takes. */
typedef struct linear_store {
    const char *name;
    int (*open)(void *arg, otok_store **out, otok_error *err); /* a new one, or one that holds other realms */
    void *arg;
    bool one_at_a_time; /* it is not made for threads: a lock is put around it */
} linear_store;

enum {
    LINEAR_STEPPED,  /* threads, one of which runs at a time, from store call to store call: the seed decides all */
    LINEAR_THREADS,  /* threads, as they come */
    LINEAR_PROCESSES /* each with a store of its own; some are killed with SIGKILL */
};

typedef struct linear_plan {
    const linear_store *store;
    int form;
    uint64_t seed; /* a history's own is this and its number */
    uint64_t first, histories;
    int64_t most_seconds; /* no history is begun later; 0: no limit */
} linear_plan;

typedef struct linear_report {
    uint64_t histories, calls, sessions;
    uint64_t unknown, killed; /* calls without an answer; processes */
    uint64_t with_rotation, with_retry, with_reuse,
        with_races;      /* histories; races: an end met a refresh of the session */
    uint64_t violations; /* sessions that nothing explains */
    double seconds;
    size_t shortest;
    char story[LINEAR_STORY]; /* of the violation with the fewest events, or what went wrong otherwise */
} linear_report;

/* False when something is not explained. */
bool linear_run(const linear_plan *plan, linear_report *report);

/* Whether so many histories had what is to be tested: NULL, or what there was too little of. */
const char *linear_too_thin(const linear_report *report);

/* Adds up what is counted; keeps the shorter story. */
void linear_add(linear_report *sum, const linear_report *report);

#endif
