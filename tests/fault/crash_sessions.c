/*
 * crash_sessions.c - the long kill -9 loop (I6, R7, R8, V5, S4).
 *
 *     crash_sessions [KILLS [SEED [FOLDER]]]     10000 kills; a seed by the clock; a new folder in TMPDIR, or /tmp
 *
 * Most kills fall on one worker alone, a third on two or three at once, some on one that makes its store.
 *
 * SPDX-License-Identifier: MIT
 */
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <time.h>

#include "support/crash.h"
#include "support/fixture.h"

typedef struct phase {
    const char *name;
    unsigned workers;
    bool newborn;
    unsigned percent;
} phase;

static const phase phases[] = {
    {"one worker", 1, false, 57},
    {"two workers", 2, false, 18},
    {"three workers", 3, false, 15},
    {"making the store", 1, true, 10},
};

static bool run_phase(const phase *p, uint64_t kills, uint64_t seed, const char *folder)
{
    char path[4096];
    crash_report report;
    (void)snprintf(path, sizeof path, "%s/%u%s", folder, p->workers, p->newborn ? "-newborn" : "");
    (void)mkdir(path, 0700);
    const crash_plan plan = {
        .kills = kills, .seed = seed, .workers = p->workers, .newborn = p->newborn, .folder = path};
    time_t start = time(NULL);
    bool well = crash_run(&plan, &report);
    printf("%s: %llu kills, %llu operations acknowledged, %llu in flight (%llu effects of those found), %llu sessions "
           "checked, %llu lost, "
           "%lld s\n",
           p->name, (unsigned long long)report.kills, (unsigned long long)report.acknowledged,
           (unsigned long long)report.in_flight, (unsigned long long)report.happened,
           (unsigned long long)report.checked, (unsigned long long)report.lost, (long long)(time(NULL) - start));
    if (!well)
        printf("LOST: %s\n(the store is left in %s)\n", report.story, path);
    (void)fflush(stdout);
    return well;
}

int main(int argc, char **argv)
{
    uint64_t kills = argc > 1 ? strtoull(argv[1], NULL, 10) : 10000;
    uint64_t seed = argc > 2 ? strtoull(argv[2], NULL, 10) : (uint64_t)time(NULL);
    char *folder = argc > 3 ? NULL : test_new_folder();
    bool well = true;
    for (size_t i = 0; i < sizeof phases / sizeof phases[0] && well; i++)
        well =
            run_phase(&phases[i], (kills * phases[i].percent + 99) / 100, seed + i, folder != NULL ? folder : argv[3]);
    if (well)
        test_remove_folder(folder);
    return well ? EXIT_SUCCESS : EXIT_FAILURE;
}
