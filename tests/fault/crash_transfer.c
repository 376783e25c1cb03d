/*
 * crash_transfer.c - the long kill -9 loop over imports, repairs, sweeps and backups (S3, S4, L6).
 *
 *     crash_transfer [KILLS [SEED]]     10000 kills; a seed by the clock
 *
 * SPDX-License-Identifier: MIT
 */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "support/killing.h"

static uint64_t kills, seed;

START_TEST(every_kill_leaves_a_clean_store_and_work_that_can_be_finished)
{
    time_t start = time(NULL);
    killing_report r = killing_run(_i, (kills + KILLING_WORKS - 1) / KILLING_WORKS, seed);
    printf("%-6s %llu killed, %llu of which had done something, %llu came to their end before, %lld s\n",
           killing_names[_i], (unsigned long long)r.kills, (unsigned long long)r.begun, (unsigned long long)r.finished,
           (long long)(time(NULL) - start));
    (void)fflush(stdout);
}
END_TEST

int main(int argc, char **argv)
{
    TCase *tcase = tcase_create("crash_transfer");
    Suite *suite = suite_create("crash_transfer");
    kills = argc > 1 ? strtoull(argv[1], NULL, 10) : 10000;
    seed = argc > 2 ? strtoull(argv[2], NULL, 10) : (uint64_t)time(NULL);
    printf("seed %llu\n", (unsigned long long)seed);
    (void)fflush(stdout);
    tcase_set_timeout(tcase, 0);
    tcase_add_loop_test(tcase, every_kill_leaves_a_clean_store_and_work_that_can_be_finished, 0, KILLING_WORKS);
    suite_add_tcase(suite, tcase);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
