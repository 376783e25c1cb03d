/*
 * growth.c - what things cost among ten thousand sessions, and among millions: one store that is filled up from scale to scale.
 *
 * SPDX-License-Identifier: MIT
 */
#include "bench/bench.h"

#include <stdio.h>
#include <stdlib.h>

enum { SWEPT = 1000, FORTY_DAYS_S = 40 * 86400 };

static double kept_us(void *arg, double seconds)
{
    return 1e6 / bench_refresh_rate(arg, OTOK_ROTATION_NEVER, OTOK_ON, 1, seconds);
}

static double rotated_us(void *arg, double seconds)
{
    return 1e6 / bench_refresh_rate(arg, OTOK_ROTATION_ALWAYS, OTOK_ON, 1, seconds);
}

static double page_of_subject_us(void *arg, double seconds)
{
    return bench_page_us(arg, BENCH_HEAVY, NULL, seconds);
}

static double page_of_client_us(void *arg, double seconds)
{
    return bench_page_us(arg, NULL, BENCH_CLIENT, seconds);
}

static double count_us(void *arg, double seconds)
{
    return bench_count_us(arg, seconds);
}

static double cutoff_us(void *arg, double seconds)
{
    return bench_cutoff_us(arg, seconds);
}

/* Sessions that are due to be looked at, and live on: nothing is removed.  The clock goes back afterwards. */
static double sweep_us(void *arg, double seconds)
{
    bench_world *world = arg;
    otok_sweep_result result;
    otok_error err;
    otok_service *service = bench_service(world, OTOK_ROTATION_NEVER, OTOK_OFF);
    (void)seconds;
    otok_sweep_result_init(&result, sizeof result);
    bench_advance(world, FORTY_DAYS_S * OTOK_US_PER_S);
    int64_t begun_us = otok_clock_monotonic_us();
    bench_ok(otok_sweep(service, SWEPT, &result, &err), &err, "otok_sweep");
    double us = (double)(otok_clock_monotonic_us() - begun_us);
    bench_must(result.visited != 0 && result.expired + result.cut_off == 0,
               "a sweep looked at nothing, or removed some");
    bench_advance(world, -FORTY_DAYS_S * OTOK_US_PER_S);
    otok_service_close(service);
    return us / (double)result.visited;
}

static double open_us(void *arg, double seconds)
{
    (void)seconds;
    return bench_open_us(arg);
}

/* -------------------------------------------------------------------------------------------------------- points */

static void add(cJSON *point, const char *name, double value)
{
    cJSON_AddNumberToObject(point, name, value);
    printf("%18.2f", value);
    (void)fflush(stdout);
}

static void measure(bench *b, cJSON *point)
{
    bench_side sides[] = {
        {.name = "sweep_us", .measure = sweep_us, .arg = &b->world},
        {.name = "kept_us", .measure = kept_us, .arg = &b->world},
        {.name = "page_of_subject_us", .measure = page_of_subject_us, .arg = &b->world},
        {.name = "page_of_client_us", .measure = page_of_client_us, .arg = &b->world},
        {.name = "count_us", .measure = count_us, .arg = &b->world},
        {.name = "cutoff_us", .measure = cutoff_us, .arg = &b->world},
        {.name = "rotated_us", .measure = rotated_us, .arg = &b->world},
    };
    enum { SIDES = sizeof sides / sizeof sides[0] };
    bench_rounds(&b->plan, sides, SIDES);
    for (size_t i = 0; i < SIDES; i++)
        add(point, sides[i].name, bench_summarize(&sides[i]).median);
}

static void point_at(bench *b, cJSON *points, uint64_t sessions)
{
    bench_side opening = {.name = "open_us", .measure = open_us, .arg = &b->world};
    cJSON *point = cJSON_CreateObject();
    cJSON_AddItemToArray(points, point);
    cJSON_AddNumberToObject(point, "sessions", (double)sessions);
    printf("%12llu", (unsigned long long)sessions);
    (void)fflush(stdout);
    bench_world_fill(&b->world, sessions);
    bench_rounds(&b->plan, &opening, 1);
    bench_memory memory = bench_resident(b, b->world.folder);
    bench_world_open(&b->world);
    add(point, "bytes", bench_bytes(&b->world) / (double)sessions);
    measure(b, point);
    bench_world_close(&b->world);
    add(point, "open_us", bench_summarize(&opening).median);
    add(point, "resident_mib", (memory.rss_after - memory.rss_before) / 1024);
    printf("\n");
}

void bench_growth(bench *b, const char *scales, const char *path)
{
    static const char *const columns[] = {"bytes a session", "sweep, us",    "kept, us",   "page of subject",
                                          "page of client",  "count, us",    "cutoff, us", "rotated, us",
                                          "open, us",        "resident, MiB"};
    char *end;
    cJSON *points;
    bench_report_begin(&b->report, b->folder);
    points = cJSON_AddArrayToObject(b->report.json, "points");
    printf("%12s", "sessions");
    for (size_t i = 0; i < sizeof columns / sizeof columns[0]; i++)
        printf("%18s", columns[i]);
    printf("\n");
    bench_world_begin(&b->world, b->folder, "ours");
    for (uint64_t sessions; (sessions = strtoull(scales, &end, 10)) != 0; scales = *end == ',' ? end + 1 : end)
        point_at(b, points, sessions);
    bench_world_end(&b->world);
    bench_report_end(&b->report, path);
}
