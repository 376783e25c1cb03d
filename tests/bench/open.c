/*
 * open.c - opening a store, and what memory that takes, whatever is in it (PF6).
 *
 * SPDX-License-Identifier: MIT
 */
#include "bench/bench.h"

double bench_open_us(bench_world *world)
{
    int64_t begun_us = otok_clock_monotonic_us();
    bench_world_open(world);
    double us = (double)(otok_clock_monotonic_us() - begun_us);
    bench_world_close(world);
    return us;
}

static double open_ms(void *arg, double seconds)
{
    (void)seconds;
    return bench_open_us(&((bench *)arg)->world) / 1000;
}

static double raw_open_ms(void *arg, double seconds)
{
    (void)seconds;
    return bench_raw_reopen(((bench *)arg)->raw) / 1000;
}

/* The store is closed before, and after. */
void bench_open(bench *b)
{
    if (!bench_wants(b, "PF6"))
        return;
    bench_side sides[] = {
        {.name = "otok_store_open_lmdb", .measure = open_ms, .arg = b},
        {.name = "mdb_env_open and its databases", .measure = raw_open_ms, .arg = b},
    };
    bench_rounds(&b->plan, sides, 2);
    const bench_figure time = {
        .id = "PF6",
        .name = "open a store",
        .unit = "ms",
        .goal_is = BENCH_OURS_MOST,
        .goal = 10,
        .ours = &sides[0],
        .raw = &sides[1],
    };
    bench_tell(&b->report, &time);

    bench_memory memory = bench_resident(b, b->world.folder);
    const bench_side grown = bench_once("VmRSS", (memory.rss_after - memory.rss_before) / 1024);
    const bench_figure resident = {
        .id = "PF6",
        .name = "memory of a process grows by, when it opens it",
        .unit = "MiB",
        .goal_is = BENCH_OURS_MOST,
        .goal = 5,
        .ours = &grown,
        .note = bench_format("with keyring and service; of that RssAnon %.1f MiB",
                             (memory.anon_after - memory.anon_before) / 1024),
    };
    bench_tell(&b->report, &resident);
}
