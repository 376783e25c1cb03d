/*
 * broken_engine.h - the inside of a broken store: the simplest engine that there can be.  It keeps its records in the store
 * below, one at a time, and finds what a key has by looking at all.
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

bool broken_is(const broken_store *store, int fault);

/* Lists, broken_engine.c. */
void broken_list_add(broken_list *list, const otok_record *record);
void broken_list_free(broken_list *list);
void broken_list_drop(broken_list *list, size_t at);
size_t broken_list_find(const broken_list *list, const otok_id *id); /* list->n when it is not there */
int broken_list_emit(void *list, const otok_record *record);

/* The store below, broken_engine.c. */
broken_list broken_get_all(const broken_store *store);
otok_record *broken_get(const broken_store *store, const otok_id *id); /* NULL, or the caller's */
void broken_set(const broken_store *store, const otok_record *record); /* stores just this, whatever was there */
void broken_write_below(const broken_store *store, uint32_t op, uint64_t expect, const otok_record *record);

int broken_engine_fetch(broken_store *store, const otok_id *ids, size_t n, uint32_t flags, otok_emit emit, void *arg);
int broken_engine_scan(broken_store *store, const otok_scan *scan, otok_emit emit, void *arg);
int broken_engine_count(broken_store *store, const otok_index_key *key, uint64_t *out);
int broken_engine_commit(broken_store *store, otok_group *groups, size_t n);
void broken_engine_close(broken_store *store);

#endif
