/*
 * crash.h - processes that are killed in the middle of whatever they do, and the proof that nothing they were told is
 * done is lost.
 *
 * A worker issues, refreshes, revokes, sets cutoffs and sweeps on an LMDB folder, and writes down in shared memory what
 * it is about to do and what the library answered: that memory outlives it.  The judge kills it, opens the store, and
 * holds what is there against what was acknowledged.  What was in flight may have happened or not; everything else must
 * be exactly as answered.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef TEST_CRASH_H
#define TEST_CRASH_H

#include <stdbool.h>
#include <stdint.h>

enum { CRASH_STORY = 1024 };

typedef struct crash_plan {
    uint64_t kills;
    uint64_t seed;
    unsigned workers;   /* at once; 1 to 4 */
    bool newborn;       /* every store is made by the worker that is killed: it may be while it makes it */
    bool lossy;         /* over a store that acknowledges before it commits: the judge must notice */
    const char *folder; /* an empty one, whose content is left for who wants to look */
} crash_plan;

typedef struct crash_report {
    uint64_t kills;
    uint64_t acknowledged;   /* operations that were answered with OTOK_OK */
    uint64_t in_flight;      /* operations that a kill interrupted */
    uint64_t happened;       /* of those, how many were found done */
    uint64_t checked;        /* sessions held against what was acknowledged, over all rounds */
    uint64_t lost;           /* 0, or 1: the first one ends the run */
    char story[CRASH_STORY]; /* what was lost, and how it came to that */
} crash_report;

/* False when something was lost. */
bool crash_run(const crash_plan *plan, crash_report *report);

#endif
