/*
 * rounds.c - sides of a figure measured in turns, so that what else the machine does falls on all of them.
 *
 * SPDX-License-Identifier: MIT
 */
#include "bench/bench.h"

#include <stdlib.h>
#include <time.h>

#include "support/crew.h"

static int ascending(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

bench_summary bench_summarize(const bench_side *side)
{
    double sorted[BENCH_ROUNDS] = {0};
    bench_must(side->n != 0, "a figure was never measured");
    for (size_t i = 0; i < side->n; i++)
        sorted[i] = side->seen[i];
    qsort(sorted, side->n, sizeof sorted[0], ascending);
    double median = (sorted[(side->n - 1) / 2] + sorted[side->n / 2]) / 2;
    return (bench_summary){median, sorted[0], sorted[side->n - 1]};
}

bench_side bench_once(const char *name, double value)
{
    return (bench_side){.name = name, .seen = {value}, .n = 1};
}

void bench_rounds(const bench_plan *plan, bench_side *sides, size_t n)
{
    for (size_t round = 0; round < plan->rounds && round < BENCH_ROUNDS; round++) {
        for (size_t i = 0; i < n; i++)
            sides[i].seen[sides[i].n++] = sides[i].measure(sides[i].arg, plan->seconds);
    }
}

/* ---------------------------------------------------------------------------------------------------- threads */

typedef struct tally {
    uint64_t n;
    uint8_t rest_of_line[64 - sizeof(uint64_t)];
} tally;

typedef struct crew {
    size_t threads;
    double seconds;
    bench_step step;
    void *arg;
    int64_t begun_us;
    atomic_bool over;
    tally done[BENCH_THREADS];
} crew;

static void sleep_s(double seconds)
{
    struct timespec time = {(time_t)seconds, (long)((seconds - (double)(time_t)seconds) * 1e9)};
    while (nanosleep(&time, &time) != 0)
        ;
}

/* The last of the crew is the clock. */
static void work(void *arg, size_t i)
{
    crew *c = arg;
    uint64_t n = 0;
    if (i == c->threads) {
        c->begun_us = otok_clock_monotonic_us(); /* all threads are there */
        sleep_s(c->seconds);
        atomic_store(&c->over, true);
        return;
    }
    while (!atomic_load_explicit(&c->over, memory_order_relaxed))
        n += c->step(c->arg, i);
    c->done[i].n = n;
}

static uint64_t counted;

uint64_t bench_done(void)
{
    return counted;
}

/* What was begun in time is ended, and counts; so does the time that it took. */
double bench_rate(size_t threads, double seconds, bench_step step, void *arg)
{
    static crew c; /* rates are measured one at a time */
    bench_must(threads <= BENCH_THREADS, "too many threads");
    c = (crew){.threads = threads, .seconds = seconds, .step = step, .arg = arg};
    test_threads(threads + 1, work, &c);
    int64_t us = otok_clock_monotonic_us() - c.begun_us;
    counted = 0;
    for (size_t i = 0; i < threads; i++)
        counted += c.done[i].n;
    return (double)counted * 1e6 / (double)us;
}

/* ---------------------------------------------------------------------------------------------------- walks */

static uint64_t common_divisor(uint64_t a, uint64_t b)
{
    while (b != 0) {
        uint64_t rest = a % b;
        a = b;
        b = rest;
    }
    return a;
}

/* Steps of the golden ratio: neighbours in time are never neighbours in the store. */
bench_walk bench_walk_of(uint64_t below, uint64_t seed)
{
    bench_walk walk = {.below = below, .at = seed % below, .stride = (uint64_t)((double)below * 0.6180339887) | 1};
    while (common_divisor(walk.stride, below) != 1)
        walk.stride += 2;
    return walk;
}

uint64_t bench_walk_next(bench_walk *walk)
{
    walk->at = (walk->at + walk->stride) % walk->below;
    return walk->at;
}
