/*
 * engine.h - crash.h for everything around a session: the cap, consents, logout, adoption, keys good for once, erasure, rotation
 * of keys, and the outbox.
 *
 * Workers on one LMDB folder and one keyring file are killed in the middle of whatever they do.  Before it they wrote down in
 * shared memory what they were about to do, and behind it what they were told.  The judge opens both anew and holds what is
 * there against what was acknowledged; and it replays the outbox, which must come to exactly what is in the store: what was in
 * flight too, for both are one commit.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef TEST_ENGINE_H
#define TEST_ENGINE_H

#include <stdbool.h>
#include <stdint.h>

enum { ENGINE_STORY = 4096 };

/* What is wrong with the store that workers use: the judge must notice. */
enum {
    ENGINE_SOUND = 0,
    ENGINE_LATE = 1,     /* it acknowledges, and commits when it is next asked for something */
    ENGINE_EVENTLESS = 2 /* it leaves the outbox's record out of each group */
};

typedef struct engine_plan {
    uint64_t kills;
    uint64_t seed;
    unsigned workers;   /* at once; 1 to 3 */
    int fault;          /* ENGINE_... */
    const char *folder; /* an empty one, whose content is left for who wants to look */
} engine_plan;

typedef struct engine_report {
    uint64_t kills;
    uint64_t acknowledged; /* operations that were answered with OTOK_OK */
    uint64_t in_flight;    /* operations that a kill interrupted */
    uint64_t happened;     /* of those, effects that were found */
    uint64_t checked;      /* tokens presented by the judge */
    uint64_t events;       /* read from the outbox, and replayed */
    uint64_t evicted, adopted, once_again, keys_dropped;
    uint64_t lost; /* 0, or 1: the first thing that is wrong ends the run */
    char story[ENGINE_STORY];
} engine_report;

/* False when something was lost, lives on, or is not what was told. */
bool engine_run(const engine_plan *plan, engine_report *report);

#endif
