/*
 * proxy_run.c - each message of each operation, on old connections and new ones, spoiled in every way, again and again (R8, T2).
 *
 *     cluster.sh run proxy_run [ROUNDS]     100 rounds
 *
 * SPDX-License-Identifier: MIT
 */
#include <stdio.h>
#include <stdlib.h>

#include "postgres/proxy_lanes.h"

/* Those that wait longest first. */
static bool one_round(proxy_lanes *lanes, uint64_t round, proxy_tally *tally)
{
    const proxy_choice every = {1, 1, 1};
    bool good = true;
    for (int operation = 0; operation < PROXY_OPERATIONS; operation++) {
        /* Opening a connection is the same before each: a part of it in each round. */
        const proxy_choice some = {1 + (size_t)(round + (uint64_t)operation) % 10, 10, 1};
        good = proxy_lanes_add(lanes, (proxy_operation)operation, true, &some, tally) && good;
    }
    for (int operation = 0; operation < PROXY_OPERATIONS; operation++)
        good = proxy_lanes_add(lanes, (proxy_operation)operation, false, &every, tally) && good;
    return proxy_lanes_try(lanes, tally) && good;
}

static void print(uint64_t rounds, const proxy_tally *tally)
{
    printf("ambiguity: %llu rounds, %llu trials, %llu messages spoiled, %llu answers OK, %llu UNCERTAIN (%llu of them "
           "done), %llu BUSY, %llu not done otherwise, %llu retries of which exactly one came, %llu wrong, longest "
           "%lld ms\n",
           (unsigned long long)rounds, (unsigned long long)tally->trials, (unsigned long long)tally->spoiled,
           (unsigned long long)tally->ok, (unsigned long long)tally->uncertain, (unsigned long long)tally->happened,
           (unsigned long long)tally->busy, (unsigned long long)(tally->untried - tally->busy),
           (unsigned long long)tally->once, (unsigned long long)tally->wrong, (long long)tally->longest_ms);
    if (tally->story[0] != '\0')
        printf("FAILED: %s\n", tally->story);
    (void)fflush(stdout);
}

int main(int argc, char **argv)
{
    uint64_t rounds = argc > 1 ? strtoull(argv[1], NULL, 10) : 100, round = 0;
    char server[128];
    const char *cluster = getenv("CLUSTER");
    proxy_tally tally = {.trials = 0};
    (void)snprintf(server, sizeof server, "%s/primary", cluster != NULL ? cluster : ".");
    proxy_lanes *lanes = proxy_lanes_open(server, tally.story);
    bool good = lanes != NULL;
    while (good && round < rounds) {
        good = one_round(lanes, round, &tally);
        round++;
        if (round < rounds)
            print(round, &tally);
    }
    print(round, &tally);
    proxy_lanes_close(lanes);
    return good ? EXIT_SUCCESS : EXIT_FAILURE;
}
