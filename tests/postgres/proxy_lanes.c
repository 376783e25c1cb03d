/*
 * proxy_lanes.c - the list of trials, and the threads that take from it.
 *
 * SPDX-License-Identifier: MIT
 */
#include "postgres/proxy_lanes.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { LANES = 16 }; /* each has up to four connections at a time, of the hundred that a server takes */

typedef struct lane {
    proxy_lanes *all;
    proxy_bench *bench;
    proxy_tally tally;
    pthread_t thread;
    bool good;
} lane;

struct proxy_lanes {
    lane lanes[LANES];
    proxy_trial *trials;
    size_t n, room;
    atomic_size_t next;
};

proxy_lanes *proxy_lanes_open(const char *server, char story[512])
{
    proxy_lanes *lanes = calloc(1, sizeof *lanes);
    (void)snprintf(story, 512, "no memory");
    for (size_t i = 0; lanes != NULL && i < LANES; i++) {
        lanes->lanes[i].all = lanes;
        lanes->lanes[i].bench = proxy_bench_open(server, story);
        if (lanes->lanes[i].bench == NULL) {
            proxy_lanes_close(lanes);
            return NULL;
        }
    }
    if (lanes != NULL)
        story[0] = '\0';
    return lanes;
}

void proxy_lanes_close(proxy_lanes *lanes)
{
    if (lanes == NULL)
        return;
    for (size_t i = 0; i < LANES; i++)
        proxy_bench_close(lanes->lanes[i].bench);
    free(lanes->trials);
    free(lanes);
}

/* ---------------------------------------------------------------------------------------------------- the list */

static bool add(proxy_lanes *lanes, const proxy_trial *trial)
{
    if (lanes->n == lanes->room) {
        size_t room = 2 * lanes->room + 64;
        proxy_trial *trials = realloc(lanes->trials, room * sizeof *trials);
        if (trials == NULL)
            return false;
        lanes->trials = trials;
        lanes->room = room;
    }
    lanes->trials[lanes->n++] = *trial;
    return true;
}

static bool add_deeds(proxy_lanes *lanes, proxy_trial trial, bool rare)
{
    bool good = true;
    for (int deed = 0; deed < PROXY_DEEDS; deed++) {
        bool is_error = deed == PROXY_FATAL || deed == PROXY_ERROR || deed == PROXY_SHUTDOWN;
        bool is_rare = deed != PROXY_CUT_BEFORE && deed != PROXY_CUT_AFTER;
        if ((is_error && trial.plan.way == PROXY_TO_SERVER) || (is_rare && !rare))
            continue;
        trial.plan.deed = (proxy_deed)deed;
        trial.late = false;
        good = good && add(lanes, &trial);
        trial.late = true;
        if (deed == PROXY_HOLD && trial.plan.way == PROXY_TO_SERVER)
            good = good && add(lanes, &trial);
    }
    return good;
}

bool proxy_lanes_add(proxy_lanes *lanes, proxy_operation operation, bool cold, const proxy_choice *choice,
                     proxy_tally *tally)
{
    size_t counts[PROXY_WAYS];
    bool good = proxy_count_messages(lanes->lanes[0].bench, operation, cold, counts);
    for (int way = 0; good && way < PROXY_WAYS; way++) {
        for (size_t nth = choice->first; good && nth <= counts[way]; nth += choice->step) {
            proxy_trial trial = {.operation = operation, .cold = cold, .plan = {.way = (proxy_way)way, .nth = nth}};
            good = add_deeds(lanes, trial, nth % choice->rare_step == (size_t)operation % choice->rare_step);
        }
    }
    if (!good && tally->story[0] == '\0')
        (void)snprintf(tally->story, sizeof tally->story, "%s: not even undisturbed", proxy_operation_name(operation));
    return good;
}

/* ---------------------------------------------------------------------------------------------------- the threads */

static void *run(void *arg)
{
    lane *l = arg;
    size_t i;
    while ((i = atomic_fetch_add(&l->all->next, 1)) < l->all->n)
        l->good = proxy_try(l->bench, &l->all->trials[i], &l->tally) && l->good;
    return NULL;
}

static void sum_up(proxy_tally *sum, const proxy_tally *part)
{
    sum->trials += part->trials;
    sum->spoiled += part->spoiled;
    sum->ok += part->ok;
    sum->uncertain += part->uncertain;
    sum->untried += part->untried;
    sum->happened += part->happened;
    sum->busy += part->busy;
    sum->once += part->once;
    sum->wrong += part->wrong;
    if (part->longest_ms > sum->longest_ms)
        sum->longest_ms = part->longest_ms;
    if (sum->story[0] == '\0')
        memcpy(sum->story, part->story, sizeof sum->story);
}

bool proxy_lanes_try(proxy_lanes *lanes, proxy_tally *tally)
{
    size_t running = 0;
    bool good = true;
    atomic_store(&lanes->next, 0);
    for (; running < LANES; running++) {
        lane *l = &lanes->lanes[running];
        l->tally = (proxy_tally){.trials = 0};
        l->good = true;
        if (pthread_create(&l->thread, NULL, run, l) != 0)
            break;
    }
    for (size_t i = 0; i < running; i++) {
        lane *l = &lanes->lanes[i];
        (void)pthread_join(l->thread, NULL);
        sum_up(tally, &l->tally);
        good = good && l->good;
    }
    lanes->n = 0;
    if (running == 0 && tally->story[0] == '\0')
        (void)snprintf(tally->story, sizeof tally->story, "no thread");
    return good && running > 0;
}
