/*
 * watch.c
 *
 * SPDX-License-Identifier: MIT
 */
#include "support/watch.h"

#include <string.h>

typedef struct counted {
    test_watch *watch;
    otok_emit emit;
    void *arg;
} counted;

static int count_visit(void *arg, const otok_record *record)
{
    counted *c = arg;
    __atomic_add_fetch(&c->watch->visited, 1, __ATOMIC_RELAXED);
    return c->emit(c->arg, record);
}

/* Whether this call is the one to fail; whoever steps in does so here. */
static bool reach(test_watch *w, int kind)
{
    __atomic_add_fetch(&w->calls, 1, __ATOMIC_RELAXED);
    if (w->at == 0 || (w->kinds & kind) == 0)
        return false;
    if (w->at > 1) {
        w->at--;
        return false;
    }
    if (!w->on_and_on)
        w->at = 0;
    w->reached = true;
    if (w->step_in != NULL)
        w->step_in(w->arg);
    return w->fail != 0;
}

static int watch_fetch(void *self, const otok_id *ids, size_t n, uint32_t flags, otok_emit emit, void *arg,
                       otok_error *err)
{
    test_watch *w = self;
    counted c = {w, emit, arg};
    if (reach(w, TEST_CALL_FETCH))
        return otok_error_set(err, w->fail, 0, "the test's fetch");
    return otok_store_fetch(w->inner, ids, n, flags, count_visit, &c, err);
}

static int watch_commit(void *self, otok_group *groups, size_t n, otok_error *err)
{
    test_watch *w = self;
    bool fails = reach(w, TEST_CALL_COMMIT);
    int rc = OTOK_OK;
    __atomic_add_fetch(&w->commits, 1, __ATOMIC_RELAXED);
    if (!fails || w->done)
        rc = otok_store_commit(w->inner, groups, n, err);
    for (size_t i = 0; fails && i < n; i++)
        groups[i].result = otok_error_set(&groups[i].error, w->fail, 0, "the test's commit");
    return rc;
}

static int watch_scan(void *self, const otok_scan *scan, otok_emit emit, void *arg, otok_error *err)
{
    test_watch *w = self;
    counted c = {w, emit, arg};
    __atomic_add_fetch(&w->scans, 1, __ATOMIC_RELAXED);
    if (reach(w, TEST_CALL_SCAN))
        return otok_error_set(err, w->fail, 0, "the test's scan");
    return otok_store_scan(w->inner, scan, count_visit, &c, err);
}

static int watch_count(void *self, const otok_index_key *key, uint64_t *out, otok_error *err)
{
    test_watch *w = self;
    if (reach(w, TEST_CALL_COUNT))
        return otok_error_set(err, w->fail, 0, "the test's count");
    return otok_store_count(w->inner, key, out, err);
}

static void watch_close(void *self)
{
    test_watch *w = self;
    otok_store_close(w->inner);
    w->inner = NULL;
}

void test_watch_fixture(test_watch *watch, test_fixture *f)
{
    otok_store_vtab vtab;
    otok_error err;
    memset(watch, 0, sizeof *watch);
    memset(&vtab, 0, sizeof vtab);
    vtab.size = sizeof vtab;
    vtab.guarantees = otok_store_guarantees(f->store);
    vtab.name = "watch";
    vtab.fetch = watch_fetch;
    vtab.commit = watch_commit;
    vtab.scan = watch_scan;
    vtab.count = watch_count;
    vtab.close = watch_close;
    watch->inner = f->store;
    if (otok_store_open(&vtab, watch, &f->store, &err) != OTOK_OK)
        ck_abort_msg("otok_store_open: %s", err.message);
    test_reopen_service(f);
}

void test_watch_reset(test_watch *watch)
{
    otok_store *inner = watch->inner;
    memset(watch, 0, sizeof *watch);
    watch->inner = inner;
}

void test_watch_fail(test_watch *watch, uint64_t at, int kinds, int code, bool done)
{
    test_watch_reset(watch);
    watch->at = at;
    watch->kinds = kinds;
    watch->fail = code;
    watch->done = done;
}

void test_watch_step_in(test_watch *watch, uint64_t at, int kinds, void (*step_in)(void *), void *arg)
{
    test_watch_reset(watch);
    watch->at = at;
    watch->kinds = kinds;
    watch->step_in = step_in;
    watch->arg = arg;
}
