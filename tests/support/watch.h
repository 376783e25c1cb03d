/*
 * watch.h - a store put in front of another: counts what is asked of it, and lets a test step in before and after each call, to
 * do something through another service or to make the call fail.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef TEST_WATCH_H
#define TEST_WATCH_H

#include "support/fixture.h"

enum { TEST_CALL_FETCH = 1, TEST_CALL_COMMIT = 2, TEST_CALL_SCAN = 4, TEST_CALL_COUNT = 8, TEST_CALL_ANY = 15 };

typedef struct test_watch {
    otok_store *inner;
    uint64_t calls;   /* these four are updated atomically */
    uint64_t visited; /* records fetched or scanned */
    uint64_t scans;
    uint64_t commits;
    /*
     * When `at` is not 0: before the at-th call of the kinds in `kinds` from now on, `step_in` runs once (where it is set), and
     * then the call fails with `fail` (where it is set): not done at all, or, with `done`, done but not said.
     */
    uint64_t at;
    int kinds;
    void (*step_in)(void *arg);
    void *arg;
    int fail;
    bool done;
    bool on_and_on; /* every later call fails too */
    bool reached;   /* there was such a call */
} test_watch;

/* Puts the watch in front of the fixture's store, and opens its service anew. */
void test_watch_fixture(test_watch *watch, test_fixture *f);

void test_watch_reset(test_watch *watch); /* figures to 0, no stepping in */

/* From now on the at-th call (1 is the next) of these kinds fails with this code. */
void test_watch_fail(test_watch *watch, uint64_t at, int kinds, int code, bool done);

/* From now on the at-th call of these kinds is preceded by step_in(arg). */
void test_watch_step_in(test_watch *watch, uint64_t at, int kinds, void (*step_in)(void *), void *arg);

#endif
