/*
 * broken_engine.h - the inside of a broken store.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef TEST_BROKEN_ENGINE_H
#define TEST_BROKEN_ENGINE_H

#include <pthread.h>

#include "support/broken_store.h"

enum {
#define BROKEN(name, clause) BROKEN_##name,
#include "support/broken_faults.h"
#undef BROKEN
};

/* Records that are its own. */
typedef struct broken_list {
    otok_record **records;
    size_t n, room;
} broken_list;

struct broken_store {
    otok_store *inner;
    int fault;
    bool reopened;

    pthread_mutex_t lock; /* of what follows */
    broken_plan commits, reads;
    broken_calls calls;
    void (*hook)(void *arg);
    void *hook_arg;

    /* Of the engine; used by one thread. */
    broken_list ghosts;   /* deleted, or replaced by PUT */
    broken_list before;   /* as they were before the last commit touched them */
    broken_list inserted; /* by the last commit */
    unsigned nth;
};

void broken_check(bool holds, const char *what); /* aborts, saying what */

int broken_engine_fetch(broken_store *store, const otok_id *ids, size_t n, uint32_t flags, otok_emit emit, void *arg);
int broken_engine_scan(broken_store *store, const otok_scan *scan, otok_emit emit, void *arg);
int broken_engine_count(broken_store *store, const otok_index_key *key, uint64_t *out);
int broken_engine_commit(broken_store *store, otok_group *groups, size_t n);
void broken_engine_close(broken_store *store);

#endif
