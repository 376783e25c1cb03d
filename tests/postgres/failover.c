/*
 * failover.c - the primary is killed and the standby promoted, again and again, under load from four processes (R8, V5, T2).
 *
 *     cluster.sh run failover [ROUNDS]     100 rounds
 *
 * SPDX-License-Identifier: MIT
 */
#include "postgres/failover.h"

#include <stdlib.h>

static int by_size(const void *a, const void *b)
{
    int64_t left = *(const int64_t *)a, right = *(const int64_t *)b;
    return (left > right) - (left < right);
}

static void print(failover_report *report)
{
    size_t n = (size_t)report->rounds;
    qsort(report->without_us, n, sizeof report->without_us[0], by_size);
    printf("failover: %llu rounds, %llu operations acknowledged, %llu in doubt, %llu not tried, %llu sessions checked, "
           "%llu lost or revoked and alive",
           (unsigned long long)n, (unsigned long long)report->done, (unsigned long long)report->in_doubt,
           (unsigned long long)report->untried, (unsigned long long)report->checked, (unsigned long long)report->lost);
    if (n > 0)
        printf("; without service %lld ms (median), %lld ms (of 99 in 100), %lld ms (most)",
               (long long)report->without_us[n / 2] / 1000, (long long)report->without_us[(99 * n - 1) / 100] / 1000,
               (long long)report->without_us[n - 1] / 1000);
    printf("\n");
}

int main(int argc, char **argv)
{
    uint64_t rounds = argc > 1 ? strtoull(argv[1], NULL, 10) : 100;
    failover_report report;
    bool good = failover_run("primary", "second", rounds, &report, stdout);
    print(&report);
    if (!good)
        printf("FAILED: %s\n", report.story);
    free(report.without_us);
    return good ? EXIT_SUCCESS : EXIT_FAILURE;
}
