/*
 * linear_step.c - the steps between which clients are seized: every call of the store.  What one does between two of them
 * touches nothing that another sees.
 *
 * SPDX-License-Identifier: MIT
 */
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

#include "support/linear_parts.h"

/* How the next one is chosen.  Even chances seldom leave one behind for long, so others have ranks, and lose them. */
enum { EVENLY, STICKY, BY_RANK, STYLES };

static _Thread_local linear_client *me;

linear_client *linear_me(void)
{
    return me;
}

void linear_be(linear_client *client)
{
    me = client;
}

/* ------------------------------------------------------------------------------------------------------ one at a time */

void linear_stepper_init(linear_stepper *stepper, uint64_t seed)
{
    *stepper = (linear_stepper){.random = {seed}};
    stepper->style = (unsigned)linear_next(&stepper->random, STYLES);
    for (unsigned i = 0; i < LINEAR_CLIENTS; i++) {
        stepper->runs[i] = true;
        stepper->rank[i] = 1000 + (unsigned)linear_next(&stepper->random, 1000);
        (void)sem_init(&stepper->turns[i], 0, 0);
    }
}

void linear_stepper_end(linear_stepper *stepper)
{
    for (unsigned i = 0; i < LINEAR_CLIENTS; i++)
        (void)sem_destroy(&stepper->turns[i]);
}

static unsigned any_that_runs(linear_stepper *stepper)
{
    unsigned at = (unsigned)linear_next(&stepper->random, LINEAR_CLIENTS);
    while (!stepper->runs[at])
        at = (at + 1) % LINEAR_CLIENTS;
    return at;
}

static unsigned first_by_rank(const linear_stepper *stepper)
{
    unsigned first = LINEAR_CLIENTS;
    for (unsigned i = 0; i < LINEAR_CLIENTS; i++) {
        if (stepper->runs[i] && (first == LINEAR_CLIENTS || stepper->rank[i] > stepper->rank[first]))
            first = i;
    }
    return first;
}

static unsigned next_one(linear_stepper *stepper, unsigned i)
{
    switch (stepper->style) {
    case STICKY:
        return stepper->runs[i] && linear_next(&stepper->random, 8) != 0 ? i : any_that_runs(stepper);
    case BY_RANK:
        if (linear_next(&stepper->random, 10) == 0)
            stepper->rank[i] = (unsigned)linear_next(&stepper->random, 2000);
        return first_by_rank(stepper);
    default:
        return any_that_runs(stepper);
    }
}

/* Whoever has the turn has the stepper. */
static void wait_for_turn(linear_stepper *stepper, unsigned i)
{
    while (sem_wait(&stepper->turns[i]) != 0 && errno == EINTR) {
    }
}

void linear_stepper_go(linear_stepper *stepper)
{
    (void)sem_post(&stepper->turns[any_that_runs(stepper)]);
}

void linear_stepper_wait(linear_stepper *stepper, unsigned i)
{
    wait_for_turn(stepper, i);
}

void linear_stepper_release(linear_stepper *stepper, unsigned i)
{
    stepper->runs[i] = false;
    for (unsigned k = 0; k < LINEAR_CLIENTS; k++) {
        if (stepper->runs[k]) {
            (void)sem_post(&stepper->turns[next_one(stepper, i)]);
            return;
        }
    }
}

void linear_step(void)
{
    if (me == NULL)
        return;
    if (me->dies_in != 0 && --me->dies_in == 0)
        (void)kill(getpid(), SIGKILL);
    if (me->stepper != NULL) {
        unsigned next = next_one(me->stepper, me->index);
        if (next == me->index)
            return;
        (void)sem_post(&me->stepper->turns[next]);
        wait_for_turn(me->stepper, me->index);
    } else if (linear_next(&me->random, 2) == 0) {
        (void)sched_yield();
    }
}

/* ----------------------------------------------------------------------------------------------------------- the store */

typedef struct stepping {
    otok_store *inner;
    bool one_at_a_time;
    pthread_mutex_t mutex;
} stepping;

static void enter(stepping *s)
{
    linear_step();
    if (s->one_at_a_time)
        (void)pthread_mutex_lock(&s->mutex);
}

static int leave(stepping *s, int rc)
{
    if (s->one_at_a_time)
        (void)pthread_mutex_unlock(&s->mutex);
    return rc;
}

static int step_fetch(void *self, const otok_id *ids, size_t n, uint32_t flags, otok_emit emit, void *arg,
                      otok_error *err)
{
    stepping *s = self;
    enter(s);
    return leave(s, otok_store_fetch(s->inner, ids, n, flags, emit, arg, err));
}

static int step_scan(void *self, const otok_scan *scan, otok_emit emit, void *arg, otok_error *err)
{
    stepping *s = self;
    enter(s);
    return leave(s, otok_store_scan(s->inner, scan, emit, arg, err));
}

static int step_count(void *self, const otok_index_key *key, uint64_t *out, otok_error *err)
{
    stepping *s = self;
    enter(s);
    return leave(s, otok_store_count(s->inner, key, out, err));
}

/* In some histories one commit of twelve answers that it cannot tell, when it was done and when it was not. */
static bool is_to_be_uncertain(void)
{
    return me != NULL && me->world->uncertain && me->index < LINEAR_CLIENTS && linear_next(&me->random, 12) == 0;
}

static int commit_uncertainly(stepping *s, otok_group *groups, size_t n, otok_error *err)
{
    if (linear_next(&me->random, 2) == 0)
        (void)otok_store_commit(s->inner, groups, n, NULL);
    return otok_error_set(err, OTOK_E_UNCERTAIN, 0, "the store cannot tell, on demand");
}

static int step_commit(void *self, otok_group *groups, size_t n, otok_error *err)
{
    stepping *s = self;
    bool uncertain = is_to_be_uncertain();
    enter(s);
    int rc = leave(s, uncertain ? commit_uncertainly(s, groups, n, err) : otok_store_commit(s->inner, groups, n, err));
    linear_step();
    return rc;
}

static void step_close(void *self)
{
    stepping *s = self;
    otok_store_close(s->inner);
    (void)pthread_mutex_destroy(&s->mutex);
    free(s);
}

int linear_store_open(const linear_store *store, otok_store **out, otok_error *err)
{
    otok_store *inner = NULL;
    stepping *s = calloc(1, sizeof *s);
    int rc = s != NULL ? store->open(store->arg, &inner, err) : otok_error_set(err, OTOK_E_NOMEM, 0, "out of memory");
    if (rc != OTOK_OK) {
        free(s);
        return rc;
    }
    const otok_store_vtab vtab = {
        .size = sizeof vtab,
        .guarantees = otok_store_guarantees(inner),
        .name = store->name,
        .fetch = step_fetch,
        .commit = step_commit,
        .scan = step_scan,
        .count = step_count,
        .close = step_close,
    };
    s->inner = inner;
    s->one_at_a_time = store->one_at_a_time;
    (void)pthread_mutex_init(&s->mutex, NULL);
    return otok_store_open(&vtab, s, out, err);
}
