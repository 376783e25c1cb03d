/*
 * killing.h - long work on a store of LMDB, killed in the middle: an import, a repair, a sweep, a backup.
 *
 * A child does the work; it is killed at a moment drawn from the time that the work takes.  What it leaves behind is a store that a
 * check calls clean, in which nothing is half done; and whoever does the work once more comes to its end.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef TEST_KILLING_H
#define TEST_KILLING_H

#include <stdbool.h>
#include <stdint.h>

enum { KILLING_IMPORT = 0, KILLING_REPAIR = 1, KILLING_SWEEP = 2, KILLING_BACKUP = 3, KILLING_WORKS = 4 };

typedef struct killing_report {
    uint64_t kills;    /* of work that had not ended yet */
    uint64_t begun;    /* of those, how many were found to have changed something */
    uint64_t finished; /* work that ended before it was killed */
} killing_report;

extern const char *const killing_names[KILLING_WORKS];

/* Removes every entry of the index of an LMDB store that nobody has open: what a repair makes anew. */
void killing_drop_index(const char *directory);

/* Aborts the test when something is wrong, and says at which kill. */
killing_report killing_run(int work, uint64_t kills, uint64_t seed);

#endif
