/*
 * crew.h - threads, and processes, that begin together.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef TEST_CREW_H
#define TEST_CREW_H

#include <pthread.h>
#include <stddef.h>

/* Runs body(arg, 0 .. n - 1) in n threads that a barrier releases at once; returns when all have ended. */
void test_threads(size_t n, void (*body)(void *arg, size_t i), void *arg);

/*
 * The same in n processes, forked from here.  `shared` comes from test_shared().  A body ends its process with test_leave()
 * when something is wrong: Check's assertions are for the parent, which aborts here with that message.
 */
void test_processes(size_t n, void (*body)(void *shared, size_t i), void *shared);
void test_leave(const char *what, int code) __attribute__((__noreturn__));

/* Zeroed memory that forked processes share; test_unshare() gives it back. */
void *test_shared(size_t size);
void test_unshare(void *shared, size_t size);

/* A barrier for processes and threads alike; lives in test_shared() memory for processes. */
void test_barrier_init(pthread_barrier_t *barrier, unsigned n);

#endif
