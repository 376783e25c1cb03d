/*
 * size.c - the shared library without symbols, and the memory of a process that does nothing but open an empty store (PF12).
 *
 * SPDX-License-Identifier: MIT
 */
#include "bench/bench.h"

#include <stdio.h>
#include <sys/stat.h>

bench_memory bench_resident(const bench *b, const char *folder)
{
    char command[2 * BENCH_PATH + 16];
    bench_memory memory = {0};
    (void)snprintf(command, sizeof command, "'%s' '%s'", b->resident, folder);
    FILE *pipe = popen(command, "r");
    bench_must(pipe != NULL && fscanf(pipe, "%lf %lf %lf %lf", &memory.rss_before, &memory.rss_after,
                                      &memory.anon_before, &memory.anon_after) == 4,
               command);
    bench_must(pclose(pipe) == 0, command);
    return memory;
}

void bench_size(bench *b)
{
    char folder[BENCH_PATH + 16];
    struct stat library;
    if (!bench_wants(b, "PF12"))
        return;
    bench_must(stat(b->shared, &library) == 0, b->shared);
    const bench_side size = bench_once("libofflinetok.so, stripped", (double)library.st_size / 1024);
    const bench_figure file = {
        .id = "PF12",
        .name = "shared library, stripped",
        .unit = "KiB",
        .goal_is = BENCH_OURS_MOST,
        .goal = 200,
        .ours = &size,
    };
    bench_tell(&b->report, &file);

    (void)snprintf(folder, sizeof folder, "%s/empty", b->folder);
    bench_memory memory = bench_resident(b, folder);
    const bench_side after = bench_once("VmRSS with a service open", memory.rss_after / 1024);
    const bench_side before = bench_once("before the first call, libcrypto and all linked", memory.rss_before / 1024);
    const bench_figure resident = {
        .id = "PF12",
        .name = "memory of a process with an empty store",
        .unit = "MiB",
        .goal_is = BENCH_OURS_MOST,
        .goal = 6,
        .ours = &after,
        .raw = &before,
        .note =
            bench_format("of that RssAnon %.1f MiB, before %.1f", memory.anon_after / 1024, memory.anon_before / 1024),
    };
    bench_tell(&b->report, &resident);
}
