/*
 * space.c - bytes on disk a session, and what they are made of (PF10).
 *
 * SPDX-License-Identifier: MIT
 */
#include "bench/bench.h"

void bench_space(bench *b)
{
    if (!bench_wants(b, "PF10"))
        return;
    bench_pages pages = bench_raw_pages(b->raw);
    double size = (double)pages.page_size / (double)b->world.sessions;
    double index = (double)(pages.all - pages.records - pages.links - pages.unused) * size;
    const bench_side ours = bench_once("data.mdb", (double)pages.all * size);
    const bench_side records =
        bench_once("the records alone, without keys, pages and indexes", (double)bench_raw_value_size(b->raw));
    const bench_figure figure = {
        .id = "PF10",
        .name = bench_format("on disk a session, all indexes, body of %zu", bench_raw_body_size(b->raw)),
        .unit = "bytes",
        .goal_is = BENCH_OURS_MOST,
        .goal = 780,
        .ours = &ours,
        .raw = &records,
        .note =
            bench_format("pages of records %.0f, of indexes %.0f (%.1f entries a session), of marks %.1f, unused %.1f",
                         (double)pages.records * size, index, (double)pages.index_entries / (double)b->world.sessions,
                         (double)pages.links * size, (double)pages.unused * size),
    };
    bench_tell(&b->report, &figure);
}
