/*
 * stress.c
 *
 * SPDX-License-Identifier: MIT
 */
#include "support/stress.h"

#include "support/ask.h"
#include "support/crew.h"

#include <sched.h>
#include <string.h>

enum {
    STEP_S = 5,
    ROUND = 2
}; /* of a retry window of 10 s; refreshes of each thread, the second of which began in this step */

typedef struct stress {
    test_fixture *f;
    size_t threads;
    int64_t end_us; /* monotonic */
    uint64_t step;  /* of the clock; atomic, as those below */
    size_t ready;
    test_held first;
    test_stress sum;
} stress;

static void count(stress *s, int rc, const otok_tokens *tokens)
{
    uint64_t *outcome = NULL;
    __atomic_add_fetch(&s->sum.calls, 1, __ATOMIC_RELAXED);
    if (rc != OTOK_OK) {
        if (__atomic_add_fetch(&s->sum.refused, 1, __ATOMIC_RELAXED) == 1)
            __atomic_store_n(&s->sum.first_refusal, rc, __ATOMIC_RELAXED);
        return;
    }
    outcome = tokens->outcome == OTOK_OUTCOME_ADVANCED  ? &s->sum.advanced
              : tokens->outcome == OTOK_OUTCOME_RETRIED ? &s->sum.retried
                                                        : &s->sum.kept;
    __atomic_add_fetch(outcome, 1, __ATOMIC_RELAXED);
}

static void move_clock(stress *s)
{
    if (__atomic_add_fetch(&s->ready, 1, __ATOMIC_SEQ_CST) < s->threads)
        return;
    __atomic_store_n(&s->ready, 0, __ATOMIC_SEQ_CST);
    test_advance_s(s->f, STEP_S);
    __atomic_add_fetch(&s->step, 1, __ATOMIC_SEQ_CST);
}

static void refresh_on_and_on(void *arg, size_t i)
{
    stress *s = arg;
    test_held held = s->first;
    uint64_t step = 0;
    int done = 0;
    (void)i;
    while (otok_clock_monotonic_us() < s->end_us) {
        otok_tokens *tokens = NULL;
        int rc = test_refresh(s->f, held.token, NULL, &tokens);
        count(s, rc, tokens);
        if (rc != OTOK_OK)
            break;
        test_keep(&held, tokens);
        uint64_t now = __atomic_load_n(&s->step, __ATOMIC_SEQ_CST);
        done = now == step ? done + 1 : 1;
        step = now;
        if (done == ROUND)
            move_clock(s);
        if (done >= ROUND)
            (void)sched_yield();
    }
}

test_stress test_stress_refresh(test_fixture *f, size_t threads, double seconds)
{
    otok_error err;
    otok_session *session = NULL;
    stress s = {.f = f, .threads = threads};
    f->policy.retry_window_s = 2 * STEP_S;
    f->policy.rotation = OTOK_ROTATION_ALWAYS;
    f->callbacks.event = NULL;
    test_plain_policy(f);
    s.first = test_hold(f, "alice", "phone");
    int64_t begin_us = otok_clock_monotonic_us();
    s.end_us = begin_us + (int64_t)(seconds * 1e6);
    test_threads(threads, refresh_on_and_on, &s);
    s.sum.seconds = (double)(otok_clock_monotonic_us() - begin_us) / 1e6;
    if (otok_session_get(f->service, s.first.session_id, &session, &err) != OTOK_OK)
        ck_abort_msg("otok_session_get: %s", err.message);
    s.sum.generation = session->generation;
    otok_session_free(session);
    return s.sum;
}
