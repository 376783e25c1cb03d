/*
 * lmdb_commit.c - the queue of those who commit, and its leader.
 *
 * Who finds nobody leading leads: lets others queue, takes their groups with its own, runs them in one transaction,
 * gives everybody their result and the lead to the first of those who came meanwhile.  There is no thread of ours.
 *
 * A follower sleeps on one of two words, those of even and those of odd batches, so that the end of a batch wakes with
 * one call those who were in it, and hardly anybody else; whoever is to lead next is woken by a bit.
 *
 * SPDX-License-Identifier: MIT
 */
#include "store/lmdb.h"

#ifdef OTOK_HAVE_LMDB

#include <sched.h>

enum { QUEUED, TAKEN, LEADS, FINISHED }; /* states of a waiter; QUEUED changes under the queue's mutex only */

enum { BATCH_GROUPS = 256, BATCH_BYTES = 4 << 20, WRITE_OVERHEAD = 256 };

typedef struct batch {
    otok_group *groups[BATCH_GROUPS];
    otok_lmdb_waiter *waiters[BATCH_GROUPS];
    size_t ngroups, nwaiters, bytes;
} batch;

bool otok_lmdb_queue_init(otok_lmdb_queue *queue)
{
    return pthread_mutex_init(&queue->mutex, NULL) == 0;
}

void otok_lmdb_queue_destroy(otok_lmdb_queue *queue)
{
    (void)pthread_mutex_destroy(&queue->mutex);
}

static void give(otok_lmdb_waiter *w, const otok_error *error)
{
    for (; w->done < w->n; w->done++) {
        w->groups[w->done].result = error->code;
        w->groups[w->done].error = *error;
    }
}

/* ---------------------------------------------------------------------------------------------------- the queue */

/* Whether whoever calls leads. */
static bool queue_join(otok_lmdb_queue *q, otok_lmdb_waiter *w)
{
    (void)pthread_mutex_lock(&q->mutex);
    bool leads = !q->led;
    q->led = true;
    atomic_fetch_add(&q->waiting, 1);
    w->word = q->batch & 1;
    w->bit = UINT32_C(1) << (q->ticket++ & 31);
    if (q->last != NULL)
        q->last->next = w;
    else
        q->first = w;
    q->last = w;
    (void)pthread_mutex_unlock(&q->mutex);
    return leads;
}

/* With the mutex held. */
static void queue_remove(otok_lmdb_queue *q, otok_lmdb_waiter *w)
{
    otok_lmdb_waiter *before = NULL;
    for (otok_lmdb_waiter *at = q->first; at != w; at = at->next)
        before = at;
    if (before != NULL)
        before->next = w->next;
    else
        q->first = w->next;
    if (q->last == w)
        q->last = before;
    atomic_fetch_sub(&q->waiting, 1);
}

static size_t group_bytes(const otok_group *group)
{
    size_t bytes = 0;
    for (size_t i = 0; i < group->n; i++)
        bytes += WRITE_OVERHEAD + otok_write_bytes(&group->writes[i]);
    return bytes;
}

/*
 * Moves what waits into the batch.  A call of many groups may be in it with some of them, and stays the first in the
 * queue.
 */
static void queue_take(otok_lmdb_queue *q, batch *b)
{
    b->ngroups = b->nwaiters = b->bytes = 0;
    (void)pthread_mutex_lock(&q->mutex);
    q->batch++;
    for (otok_lmdb_waiter *w = q->first; w != NULL; w = q->first) {
        size_t before = w->taken;
        while (w->taken < w->n && b->ngroups < BATCH_GROUPS) {
            size_t bytes = group_bytes(&w->groups[w->taken]);
            if (b->ngroups != 0 && b->bytes + bytes > BATCH_BYTES)
                break;
            b->bytes += bytes;
            b->groups[b->ngroups++] = &w->groups[w->taken++];
        }
        if (w->taken == before)
            break;
        atomic_store(&w->state, TAKEN);
        b->waiters[b->nwaiters++] = w;
        if (w->taken < w->n)
            break;
        queue_remove(q, w);
    }
    (void)pthread_mutex_unlock(&q->mutex);
}

static void wake(otok_lmdb_queue *q, uint32_t word, uint32_t bits)
{
    (void)atomic_fetch_add(&q->words[word], 1);
    otok_futex_wake(&q->words[word], bits);
}

/* The lead goes to the first in the queue.  A waiter may be gone once its state has changed and the mutex is free. */
static void queue_pass(otok_lmdb_queue *q)
{
    uint32_t word = 0, bit = 0;
    (void)pthread_mutex_lock(&q->mutex);
    otok_lmdb_waiter *next = q->first;
    q->led = next != NULL;
    if (next != NULL) {
        word = next->word;
        bit = next->bit;
        atomic_store(&next->state, LEADS);
    }
    (void)pthread_mutex_unlock(&q->mutex);
    if (bit != 0)
        wake(q, word, bit);
}

/* ---------------------------------------------------------------------------------------------------- leading */

/*
 * Those who were just told their results come back at once where there is much to do, and had better go along than wait for a sync of
 * their own behind this one: they are let run.  Where they are few, two that would alternate, say, they are waited for, but not long
 * beside what a batch takes.
 */
static void gather(otok_lmdb_queue *q)
{
    enum { FEW = 4, PART = 4, MOST_US = 1000 };
    uint32_t wanted = q->active < FEW ? q->active : FEW;
    int64_t most_us = q->batch_us / PART < MOST_US ? q->batch_us / PART : MOST_US;
    if (q->active < 2)
        return;
    int64_t until_us = otok_clock_monotonic_us() + most_us;
    do
        (void)sched_yield();
    while (atomic_load(&q->waiting) < wanted && otok_clock_monotonic_us() < until_us);
}

/* Tells those whose groups were in the batch. */
static void finish(otok_lmdb_queue *q, const batch *b, const otok_lmdb_waiter *leader)
{
    uint32_t words[2] = {0, 0};
    q->active = atomic_load(&q->waiting);
    for (size_t i = 0; i < b->nwaiters; i++) {
        otok_lmdb_waiter *w = b->waiters[i];
        w->done = w->taken;
        q->active += w->done == w->n;
        if (w == leader)
            continue;
        words[w->word] |= w->bit;
        if (w->done == w->n) {
            atomic_store(&w->state, FINISHED);
        } else {
            (void)pthread_mutex_lock(&q->mutex);
            atomic_store(&w->state, QUEUED);
            (void)pthread_mutex_unlock(&q->mutex);
        }
    }
    for (uint32_t i = 0; i < 2; i++) {
        if (words[i] != 0)
            wake(q, i, words[i]);
    }
}

static void lead(otok_lmdb_env *env, otok_lmdb_waiter *w, int64_t deadline_us)
{
    otok_lmdb_queue *q = &env->queue;
    otok_error error;
    batch b;
    while (w->done < w->n) {
        gather(q);
        if (otok_lmdb_lock_turn(env, deadline_us, &error) != OTOK_OK) {
            (void)pthread_mutex_lock(&q->mutex);
            queue_remove(q, w);
            (void)pthread_mutex_unlock(&q->mutex);
            give(w, &error);
            break;
        }
        queue_take(q, &b);
        int64_t begun_us = otok_clock_monotonic_us();
        otok_lmdb_batch_run(env, b.groups, b.ngroups);
        otok_lmdb_lock_pass(env);
        q->batch_us = otok_clock_monotonic_us() - begun_us;
        finish(q, &b, w);
    }
    queue_pass(q);
}

/* ---------------------------------------------------------------------------------------------------- following */

/* False when the wait is over its time: then nothing more of it is in any batch. */
static bool stay(otok_lmdb_env *env, otok_lmdb_waiter *w)
{
    otok_lmdb_queue *q = &env->queue;
    otok_error error;
    (void)pthread_mutex_lock(&q->mutex);
    bool stays = atomic_load(&w->state) != QUEUED;
    if (!stays)
        queue_remove(q, w);
    (void)pthread_mutex_unlock(&q->mutex);
    if (!stays) {
        (void)otok_fail(&error, OTOK_E_BUSY, "%s: other commits have been before this one all the time", env->path);
        give(w, &error);
    }
    return stays;
}

/* Whether it leads now; otherwise its groups have their results. */
static bool follow(otok_lmdb_env *env, otok_lmdb_waiter *w, int64_t deadline_us)
{
    _Atomic uint32_t *word = &env->queue.words[w->word];
    for (;;) {
        uint32_t seen = atomic_load(word); /* before the state, which changes before the word does */
        uint32_t state = atomic_load(&w->state);
        if (state == FINISHED || state == LEADS)
            return state == LEADS;
        bool bounded = state == QUEUED; /* what was taken must be waited for: the leader reads and writes it */
        if (!otok_futex_wait(word, seen, w->bit, bounded ? deadline_us : OTOK_UNLIMITED) && !stay(env, w))
            return false;
    }
}

int otok_lmdb_commit(void *self, otok_group *groups, size_t n, otok_error *err)
{
    const otok_lmdb *store = self;
    otok_lmdb_env *env = store->env;
    int cancel;
    int rc = otok_lmdb_refuse_inherited(env, err);
    if (rc != OTOK_OK)
        return rc;
    if (store->read_only)
        return otok_fail(err, OTOK_E_UNSUPPORTED, "%s was opened for reading only", env->path);
    if (n == 0)
        return OTOK_OK;

    int64_t deadline_us = store->busy_timeout_us;
    if (deadline_us != OTOK_UNLIMITED)
        deadline_us = otok_time_add(otok_clock_monotonic_us(), deadline_us);
    otok_lmdb_waiter w = {.groups = groups, .n = n};
    (void)pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &cancel); /* others wait for a leader, and it has locks */
    if (queue_join(&env->queue, &w) || follow(env, &w, deadline_us))
        lead(env, &w, deadline_us);
    (void)pthread_setcancelstate(cancel, NULL);
    return OTOK_OK;
}

#endif
