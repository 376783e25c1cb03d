/*
 * proxy_trials.c - trials, one after another.
 *
 * SPDX-License-Identifier: MIT
 */
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "postgres/proxy_bench.h"

/* ---------------------------------------------------------------------------------------------------- judging */

/* What store.h calls not written, and what nobody can do anything about here. */
static bool is_not_written(int rc)
{
    return rc == OTOK_E_BUSY || rc == OTOK_E_CONFLICT || rc == OTOK_E_FULL || rc == OTOK_E_IO || rc == OTOK_E_NOMEM ||
           rc == OTOK_E_STATE;
}

static bool fits(int rc, int n)
{
    if (rc == OTOK_OK)
        return n == 1;
    if (rc == OTOK_E_UNCERTAIN)
        return n == 0 || n == 1;
    return is_not_written(rc) && n == 0;
}

static bool tell(proxy_tally *tally, const proxy_trial *trial, const char *what, int rc, int n)
{
    const proxy_plan *plan = &trial->plan;
    tally->wrong++;
    if (tally->story[0] == '\0')
        (void)snprintf(tally->story, sizeof tally->story,
                       "%s%s, %s message %zu to the %s%s: %s: %s, and it has happened %d times",
                       proxy_operation_name(trial->operation), trial->cold ? " on a new connection" : "",
                       proxy_deed_name(plan->deed), plan->nth, plan->way == PROXY_TO_SERVER ? "server" : "client",
                       trial->late ? " until after the retry" : "", what, otok_error_name(rc), n);
    return false;
}

static void count_answer(proxy_tally *tally, int rc, int n)
{
    tally->ok += rc == OTOK_OK;
    tally->uncertain += rc == OTOK_E_UNCERTAIN;
    tally->busy += rc == OTOK_E_BUSY;
    tally->untried += is_not_written(rc);
    tally->happened += rc == OTOK_E_UNCERTAIN && n == 1;
}

/* The groups that do not depend on each other: each has its own answer, which must be true; the miss is never done. */
static bool check_groups(proxy_bench *b, const proxy_trial *trial, proxy_tally *tally)
{
    bool good = true;
    int miss = b->groups[1].result;
    if (!is_not_written(miss) && miss != OTOK_E_UNCERTAIN)
        good = tell(tally, trial, "a miss", miss, 0);
    for (size_t i = 0; i < PROXY_PARTS; i += 2) {
        int n = proxy_count_record(b, i);
        if (!fits(b->groups[i].result, n))
            good = tell(tally, trial, i == 0 ? "the first group" : "the last group", b->groups[i].result, n);
    }
    return good;
}

static int64_t clock_ms(void)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* ---------------------------------------------------------------------------------------------------- a trial */

/* A session of a user of its own; a minute later, so that a refresh rotates.  Its connection is there, or is not. */
static bool set_up(proxy_bench *b, const proxy_trial *trial)
{
    (void)snprintf(b->subject, sizeof b->subject, "user-%llu", (unsigned long long)++b->n);
    proxy_choose_ids(b);
    if (trial->operation != PROXY_ISSUE && proxy_issue(b, b->truth, NULL, b->token) != OTOK_OK)
        return false;
    b->now_us += (int64_t)(PROXY_WINDOW_S + 3) * PROXY_US;
    if (!proxy_connect(b))
        return false;
    if (trial->cold)
        proxy_drop(b->proxy);
    return true;
}

/* Again until it is told, what is held let go after the first: what is in the way of it may be that. */
static int try_again(proxy_bench *b, const proxy_trial *trial)
{
    enum { TRIES = 20 };
    int rc = proxy_perform(b, trial->operation);
    proxy_release(b->proxy);
    for (int i = 0; i < TRIES && (rc == OTOK_E_UNCERTAIN || is_not_written(rc)); i++)
        rc = proxy_perform(b, trial->operation);
    return rc;
}

static bool check_retry(proxy_bench *b, const proxy_trial *trial, const char *first, proxy_tally *tally)
{
    uint32_t generation = b->generation;
    char successor[PROXY_TEXT];
    int rc = try_again(b, trial);
    (void)snprintf(successor, sizeof successor, "%s", b->successor);
    if (trial->operation == PROXY_REFRESH)
        b->generation = generation;
    int n = proxy_how_often(b, trial->operation);
    if (rc != OTOK_OK || n != 1)
        return tell(tally, trial, "the retry", rc, n);
    tally->once++;
    if (*first != '\0' && strcmp(first, successor) != 0)
        return tell(tally, trial, "the retry gave another token", rc, n);
    if (trial->operation == PROXY_REFRESH || trial->operation == PROXY_ISSUE)
        rc = proxy_refresh(b, b->truth, successor, b->successor); /* what the client holds now is good */
    else
        rc = proxy_refresh(b, b->truth, b->token, b->successor) == OTOK_OK ? OTOK_E_STATE : OTOK_OK;
    return rc == OTOK_OK || tell(tally, trial, "afterwards the token", rc, n);
}

static bool judge(proxy_bench *b, const proxy_trial *trial, int rc, int64_t took_ms, proxy_tally *tally)
{
    char first[PROXY_TEXT];
    bool good = true;
    (void)snprintf(first, sizeof first, "%s", b->successor);
    if (!trial->late)
        proxy_release(b->proxy);
    int n = proxy_how_often(b, trial->operation);
    count_answer(tally, rc, n);
    if (took_ms > PROXY_LONGEST_MS)
        good = tell(tally, trial, "it took too long", rc, n);
    if (trial->operation == PROXY_GROUPS) {
        proxy_release(b->proxy);
        return check_groups(b, trial, tally) && good;
    }
    if (!fits(rc, n))
        good = tell(tally, trial, "the answer is not true", rc, n);
    return check_retry(b, trial, first, tally) && good;
}

static int perform_and_time(proxy_bench *b, const proxy_trial *trial, int64_t *took_ms)
{
    uint32_t generation = b->generation;
    int64_t begun_ms = clock_ms();
    int rc = proxy_perform(b, trial->operation);
    *took_ms = clock_ms() - begun_ms;
    if (trial->operation == PROXY_REFRESH)
        b->generation = generation; /* what was, to count from */
    return rc;
}

bool proxy_try(proxy_bench *b, const proxy_trial *trial, proxy_tally *tally)
{
    size_t counts[PROXY_WAYS];
    int64_t took_ms;
    tally->trials++;
    bool ready = false;
    for (int tries = 0; !ready && tries < 10; tries++)
        ready = set_up(b, trial);
    if (!ready)
        return tell(tally, trial, "it cannot be prepared", OTOK_E_STATE, 0);
    proxy_plan_make(b->proxy, &trial->plan);
    int rc = perform_and_time(b, trial, &took_ms);
    tally->spoiled += proxy_plan_end(b->proxy, counts);
    if (took_ms > tally->longest_ms)
        tally->longest_ms = took_ms;
    return judge(b, trial, rc, took_ms, tally);
}

/* A server that is slow is asked again. */
bool proxy_count_messages(proxy_bench *b, proxy_operation operation, bool cold, size_t counts[PROXY_WAYS])
{
    const proxy_trial trial = {.operation = operation, .cold = cold};
    int64_t took_ms;
    int rc = OTOK_E_BUSY;
    for (int tries = 0; rc != OTOK_OK && tries < 10; tries++) {
        if (!set_up(b, &trial))
            continue;
        proxy_plan_make(b->proxy, &trial.plan);
        rc = perform_and_time(b, &trial, &took_ms);
        (void)proxy_plan_end(b->proxy, counts);
        if (took_ms > PROXY_TIMEOUT_MS)
            rc = OTOK_E_BUSY; /* something was done twice, perhaps */
    }
    return rc == OTOK_OK && counts[PROXY_TO_SERVER] > 0 && counts[PROXY_TO_CLIENT] > 0;
}
