/*
 * stress_refresh.c - many threads refresh one session; the generation must move by exactly the number of ADVANCED answers, and
 * nobody may be refused.
 *
 *     stress_refresh [SECONDS [THREADS [FOLDER]]]     10 seconds, 64 threads, on LMDB in FOLDER (default TMPDIR, or /tmp);
 *                                                     FOLDER - is a store in memory
 *
 * SPDX-License-Identifier: MIT
 */
#include "support/stress.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int main(int argc, char **argv)
{
    double seconds = argc > 1 ? strtod(argv[1], NULL) : 10;
    size_t threads = argc > 2 ? (size_t)strtoul(argv[2], NULL, 10) : 64;
    bool in_memory = argc > 3 && strcmp(argv[3], "-") == 0;
    if (!(seconds > 0) || threads == 0 || threads > 4096) {
        (void)fprintf(stderr, "usage: %s [SECONDS [THREADS [FOLDER]]]\n", argv[0]);
        return 2;
    }
    if (argc > 3 && !in_memory)
        (void)setenv("TMPDIR", argv[3], 1);
    test_fixture *f = test_open(in_memory ? TEST_MEMORY : TEST_LMDB);
    test_stress sum = test_stress_refresh(f, threads, seconds);
    test_close(f);
    (void)printf("%zu threads, %.1f s: %llu refreshes (%.0f/s): %llu advanced, %llu retried, %llu kept, %llu refused; "
                 "generation %u\n",
                 threads, sum.seconds, (unsigned long long)sum.calls, (double)sum.calls / sum.seconds,
                 (unsigned long long)sum.advanced, (unsigned long long)sum.retried, (unsigned long long)sum.kept,
                 (unsigned long long)sum.refused, sum.generation);
    if (sum.refused != 0)
        (void)printf("the first refusal: %s\n", otok_error_name(sum.first_refusal));
    return sum.refused == 0 && sum.advanced == sum.generation && sum.advanced > 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
