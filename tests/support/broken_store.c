/*
 * broken_store.c - failures on demand; the faults are in broken_write.c and broken_read.c.
 *
 * SPDX-License-Identifier: MIT
 */
#include "support/broken_store.h"

#include <stdio.h>
#include <stdlib.h>

#include "support/broken_engine.h"

static const broken_fault_row rows[] = {
#define BROKEN(name, clause) {#name, clause},
#include "support/broken_faults.h"
#undef BROKEN
};

void broken_check(bool holds, const char *what)
{
    if (!holds) {
        (void)fprintf(stderr, "broken store: %s\n", what);
        abort();
    }
}

int broken_faults(void)
{
    return (int)(sizeof rows / sizeof rows[0]);
}

const broken_fault_row *broken_fault(int fault)
{
    return &rows[fault];
}

/* ------------------------------------------------------------------------------------------------------------- plans */

static bool is_due(broken_plan *plan)
{
    if (plan->skip > 0) {
        plan->skip--;
        return false;
    }
    return plan->times > 0 && plan->times-- > 0;
}

void broken_store_fail_commits(broken_store *store, broken_plan plan)
{
    pthread_mutex_lock(&store->lock);
    store->commits = plan;
    pthread_mutex_unlock(&store->lock);
}

void broken_store_fail_reads(broken_store *store, int code, unsigned skip, unsigned times)
{
    pthread_mutex_lock(&store->lock);
    store->reads = (broken_plan){.code = code, .skip = skip, .times = times};
    pthread_mutex_unlock(&store->lock);
}

void broken_store_before_commit(broken_store *store, void (*hook)(void *arg), void *arg)
{
    pthread_mutex_lock(&store->lock);
    store->hook = hook;
    store->hook_arg = arg;
    pthread_mutex_unlock(&store->lock);
}

broken_calls broken_store_calls(broken_store *store)
{
    pthread_mutex_lock(&store->lock);
    broken_calls calls = store->calls;
    pthread_mutex_unlock(&store->lock);
    return calls;
}

/* Counts a read; what it is to fail with, or OTOK_OK. */
static int begin_read(broken_store *store, uint64_t *calls, otok_error *err)
{
    pthread_mutex_lock(&store->lock);
    (*calls)++;
    int rc = is_due(&store->reads) ? store->reads.code : OTOK_OK;
    pthread_mutex_unlock(&store->lock);
    return rc != OTOK_OK ? otok_error_set(err, rc, 0, "broken store: a read fails on demand") : OTOK_OK;
}

/* ------------------------------------------------------------------------------------------------------------- functions */

static int broken_fetch(void *self, const otok_id *ids, size_t n, uint32_t flags, otok_emit emit, void *arg,
                        otok_error *err)
{
    broken_store *store = self;
    int rc = begin_read(store, &store->calls.fetches, err);
    if (rc != OTOK_OK)
        return rc;
    if (store->fault == BROKEN_NOTHING)
        return otok_store_fetch(store->inner, ids, n, flags, emit, arg, err);
    return broken_engine_fetch(store, ids, n, flags, emit, arg);
}

static int broken_scan(void *self, const otok_scan *scan, otok_emit emit, void *arg, otok_error *err)
{
    broken_store *store = self;
    int rc = begin_read(store, &store->calls.scans, err);
    if (rc != OTOK_OK)
        return rc;
    if (store->fault == BROKEN_NOTHING)
        return otok_store_scan(store->inner, scan, emit, arg, err);
    return broken_engine_scan(store, scan, emit, arg);
}

static int broken_count(void *self, const otok_index_key *key, uint64_t *out, otok_error *err)
{
    broken_store *store = self;
    int rc = begin_read(store, &store->calls.counts, err);
    if (rc != OTOK_OK)
        return rc;
    if (store->fault == BROKEN_NOTHING)
        return otok_store_count(store->inner, key, out, err);
    return broken_engine_count(store, key, out);
}

static int pass_on(broken_store *store, otok_group *groups, size_t n, otok_error *err)
{
    if (store->fault == BROKEN_NOTHING)
        return otok_store_commit(store->inner, groups, n, err);
    return broken_engine_commit(store, groups, n);
}

static int broken_commit(void *self, otok_group *groups, size_t n, otok_error *err)
{
    broken_store *store = self;
    pthread_mutex_lock(&store->lock);
    bool fails = is_due(&store->commits);
    broken_plan plan = store->commits;
    void (*hook)(void *arg) = store->hook;
    void *hook_arg = store->hook_arg;
    store->calls.commits++;
    store->calls.groups += n;
    for (size_t i = 0; i < n; i++)
        store->calls.writes += groups[i].n;
    pthread_mutex_unlock(&store->lock);

    if (hook != NULL)
        hook(hook_arg);
    if (!fails)
        return pass_on(store, groups, n, err);
    if (plan.applied) {
        int rc = pass_on(store, groups, n, err);
        if (rc != OTOK_OK)
            return rc;
    }
    for (size_t i = 0; i < n; i++) {
        if (!plan.applied || groups[i].result == OTOK_OK)
            groups[i].result = otok_error_set(&groups[i].error, plan.code, 0, "broken store: a group fails on demand");
    }
    return plan.as_result ? OTOK_OK : otok_error_set(err, plan.code, 0, "broken store: a commit fails on demand");
}

static void broken_close(void *self)
{
    broken_store *store = self;
    broken_engine_close(store);
    otok_store_close(store->inner);
    pthread_mutex_destroy(&store->lock);
    free(store);
}

/* ------------------------------------------------------------------------------------------------------------- open */

static otok_store *open_over(otok_store *inner, int fault, bool reopened, broken_store **control)
{
    otok_error err = {0};
    otok_store *out = NULL;
    broken_store *store = calloc(1, sizeof *store);
    broken_check(store != NULL, "no memory");
    if (inner == NULL)
        broken_check(otok_store_open_memory(&inner, &err) == OTOK_OK, err.message);
    pthread_mutex_init(&store->lock, NULL);
    store->inner = inner;
    store->fault = fault;
    store->reopened = reopened;

    otok_store_vtab vtab = {
        .size = sizeof vtab,
        .guarantees = otok_store_guarantees(inner) | (fault != BROKEN_NOTHING ? OTOK_STORE_DURABLE : 0),
        .name = "broken",
        .fetch = broken_fetch,
        .commit = broken_commit,
        .scan = broken_scan,
        .count = broken_count,
        .close = broken_close,
    };
    broken_check(otok_store_open(&vtab, store, &out, &err) == OTOK_OK, err.message);
    if (control != NULL)
        *control = store;
    return out;
}

otok_store *broken_store_open(otok_store *inner, int fault, broken_store **control)
{
    return open_over(inner, fault, false, control);
}

otok_store *broken_store_reopen(otok_store *inner, int fault, broken_store **control)
{
    return open_over(inner, fault, true, control);
}
