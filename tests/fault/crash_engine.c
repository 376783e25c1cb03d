/*
 * crash_engine.c - the long kill -9 loop over everything around a session (I4, I7, I8, C1, V3, V4, V7, P4, K3, E2).
 *
 *     crash_engine [KILLS [SEED [FOLDER]]]     10000 kills; a seed by the clock; a new folder in TMPDIR, or /tmp
 *
 * Every acknowledged operation holds, nothing revoked lives, and the outbox tells exactly what is in the store.
 *
 * SPDX-License-Identifier: MIT
 */
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <time.h>

#include "support/engine.h"
#include "support/fixture.h"

typedef struct phase {
    const char *name;
    unsigned workers, percent;
} phase;

static const phase phases[] = {{"one worker", 1, 50}, {"two workers", 2, 25}, {"three workers", 3, 25}};

static bool run_phase(const phase *p, uint64_t kills, uint64_t seed, const char *folder)
{
    char path[4096];
    engine_report r;
    (void)snprintf(path, sizeof path, "%s/%u", folder, p->workers);
    (void)mkdir(path, 0700);
    const engine_plan plan = {.kills = kills, .seed = seed, .workers = p->workers, .folder = path};
    time_t start = time(NULL);
    bool well = engine_run(&plan, &r);
    printf("%s: %llu kills, %llu operations acknowledged, %llu in flight (%llu effects of those found), %llu tokens "
           "presented by the judge, %llu events replayed, %llu evicted, %llu adopted, %llu issued once again, %llu MAC "
           "keys "
           "dropped, %llu lost, %lld s\n",
           p->name, (unsigned long long)r.kills, (unsigned long long)r.acknowledged, (unsigned long long)r.in_flight,
           (unsigned long long)r.happened, (unsigned long long)r.checked, (unsigned long long)r.events,
           (unsigned long long)r.evicted, (unsigned long long)r.adopted, (unsigned long long)r.once_again,
           (unsigned long long)r.keys_dropped, (unsigned long long)r.lost, (long long)(time(NULL) - start));
    if (!well)
        printf("LOST: %s\n(the store is left in %s)\n", r.story, path);
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
