/*
 * linear.c - the long run: random histories of eight clients, on every store, and whether each is linearizable (R6, T2, T3,
 * V1 to V5, L6, Q4).
 *
 *     linear [HISTORIES [SEED [FOLDER [FIRST]]]]     10000; a seed by the clock; an empty folder (a new one in TMPDIR, or
 *                                                    /tmp); the number of the first history, 0
 *
 * The histories are shared out: memory in steps, which the seed decides wholly; memory and LMDB with threads as they come;
 * LMDB in steps; LMDB with processes, of which some are killed.  `linear 1 SEED FOLDER NUMBER` begins with one that was made
 * in steps, and makes it again.
 *
 * SPDX-License-Identifier: MIT
 */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "support/fixture.h"
#include "support/linear.h"

/* Fewer say nothing about what they had in them. */
enum { MANY = 100 };

typedef struct phase {
    const char *name;
    bool lmdb;
    int form;
    uint64_t percent;
} phase;

static const phase phases[] = {
    {"memory, in steps", false, LINEAR_STEPPED, 40},
    {"memory, threads", false, LINEAR_THREADS, 20},
    {"LMDB, in steps", true, LINEAR_STEPPED, 10},
    {"LMDB, threads", true, LINEAR_THREADS, 15},
    {"LMDB, processes, killed", true, LINEAR_PROCESSES, 15},
};

static int open_memory(void *arg, otok_store **out, otok_error *err)
{
    (void)arg;
    return otok_store_open_memory(out, err);
}

/* What the disk keeps is another test's concern. */
static int open_lmdb(void *arg, otok_store **out, otok_error *err)
{
    otok_lmdb_options options;
    otok_lmdb_options_init(&options, sizeof options);
    options.no_sync = 1;
    return otok_store_open_lmdb(arg, &options, out, err);
}

static void tell(const char *name, const linear_report *r)
{
    printf("%-24s %6llu histories (%.0f a second), %llu calls, %llu sessions; %llu calls without an answer, %llu "
           "processes killed; rotation in %llu, retry in %llu, reuse in %llu, an end met a refresh in %llu; %llu "
           "violations\n",
           name, (unsigned long long)r->histories, r->seconds > 0 ? (double)r->histories / r->seconds : 0,
           (unsigned long long)r->calls, (unsigned long long)r->sessions, (unsigned long long)r->unknown,
           (unsigned long long)r->killed, (unsigned long long)r->with_rotation, (unsigned long long)r->with_retry,
           (unsigned long long)r->with_reuse, (unsigned long long)r->with_races, (unsigned long long)r->violations);
    (void)fflush(stdout);
}

static linear_report run_phase(const phase *p, uint64_t histories, uint64_t seed, uint64_t first, char *folder)
{
    linear_report report;
    const linear_store memory = {.name = "memory", .open = open_memory};
    const linear_store lmdb = {.name = "LMDB", .open = open_lmdb, .arg = folder};
    const linear_plan plan = {
        .store = p->lmdb ? &lmdb : &memory,
        .form = p->form,
        .seed = seed,
        .first = first,
        .histories = (histories * p->percent + 99) / 100,
    };
    (void)linear_run(&plan, &report);
    tell(p->name, &report);
    return report;
}

int main(int argc, char **argv)
{
    uint64_t histories = argc > 1 ? strtoull(argv[1], NULL, 10) : 10000;
    uint64_t seed = argc > 2 ? strtoull(argv[2], NULL, 10) : (uint64_t)time(NULL);
    char *own = argc > 3 ? NULL : test_new_folder();
    uint64_t first = argc > 4 ? strtoull(argv[4], NULL, 10) : 0;
    static linear_report sum;
    printf("seed %llu\n", (unsigned long long)seed);
    for (size_t i = 0; i < sizeof phases / sizeof phases[0]; i++) {
        linear_report report =
            run_phase(&phases[i], histories, seed, first + sum.histories, own != NULL ? own : argv[3]);
        linear_add(&sum, &report);
    }
    tell("all", &sum);
    const char *thin = sum.histories >= MANY ? linear_too_thin(&sum) : NULL;
    if (sum.violations != 0)
        printf("VIOLATED:\n%s", sum.story);
    if (thin != NULL)
        printf("TOO THIN: too few histories with %s\n", thin);
    test_remove_folder(own);
    return sum.violations == 0 && thin == NULL ? EXIT_SUCCESS : EXIT_FAILURE;
}
