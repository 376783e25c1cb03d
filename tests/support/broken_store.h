/*
 * broken_store.h - a store over another one that fails on demand, or breaks exactly one sentence of the contract.
 *
 * Without a fault it passes every call on; then it may be used from any number of threads, and so may the functions below.
 * With a fault it is a slow, single-threaded engine of its own over the other store's records: it is for the conformance kit.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef TEST_BROKEN_STORE_H
#define TEST_BROKEN_STORE_H

#include <stdbool.h>
#include <stdint.h>

#include <offlinetok/store.h>

/* Lives as long as the store that it is the control of. */
typedef struct broken_store broken_store;

/*
 * Takes over the reference on `inner` (NULL: a new memory store).  `fault` is BROKEN_NOTHING, or one of the rows that
 * broken_fault() counts up to broken_faults().  Aborts the test when memory is short.
 */
enum { BROKEN_NOTHING = -1 };
otok_store *broken_store_open(otok_store *inner, int fault, broken_store **control);

/* A store over what the last one left behind, which declares OTOK_STORE_DURABLE; for the kit's `open` with fresh 0. */
otok_store *broken_store_reopen(otok_store *inner, int fault, broken_store **control);

/* ------------------------------------------------------------------------------------------------------- on demand */

/*
 * After `skip` commits from now, the next `times` fail with `code`: as the result of each group that would have succeeded when
 * `as_result`, as what commit returns otherwise.  `applied`: the groups are committed all the same (OTOK_E_UNCERTAIN).
 */
typedef struct broken_plan {
    int code;
    unsigned skip, times;
    bool applied, as_result;
} broken_plan;

void broken_store_fail_commits(broken_store *store, broken_plan plan);
void broken_store_fail_reads(broken_store *store, int code, unsigned skip, unsigned times); /* fetch, scan and count */

/*
 * Called before each commit is passed on (after it was counted), with no lock held: for what happens between a caller's fetch
 * and its commit.  It may use the store below, and this one too where it takes care to end.  NULL: no longer.
 */
void broken_store_before_commit(broken_store *store, void (*hook)(void *arg), void *arg);

typedef struct broken_calls {
    uint64_t fetches, commits, scans, counts, groups, writes;
} broken_calls;

broken_calls broken_store_calls(broken_store *store);

/* ------------------------------------------------------------------------------------------------------- faults */

typedef struct broken_fault_row {
    const char *name;
    const char *clause; /* of the conformance kit, which must not hold */
} broken_fault_row;

int broken_faults(void);
const broken_fault_row *broken_fault(int fault);

#endif
