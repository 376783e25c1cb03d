/*
 * list.c - a page of 50 sessions of one subject and of one client, beside the same page read with plain LMDB, and beside the same
 * page among 10,000 (PF7); the count of one client's sessions (PF8).
 *
 * SPDX-License-Identifier: MIT
 */
#include "bench/bench.h"

#include <stdio.h>

enum { FEW = 10000 };

typedef struct reader {
    otok_service *service;
    otok_filter filter;
    size_t counted;
} reader;

static uint64_t list_one(void *arg, size_t thread)
{
    reader *r = arg;
    otok_list_request request;
    otok_page *page = NULL;
    otok_error err;
    (void)thread;
    otok_list_request_init(&request, sizeof request);
    request.filter = &r->filter;
    request.limit = BENCH_PAGE;
    bench_ok(otok_list(r->service, &request, &page, &err), &err, "otok_list");
    bench_must(page->count == BENCH_PAGE, "a page is not full");
    otok_page_free(page);
    return 1;
}

static uint64_t count_one(void *arg, size_t thread)
{
    reader *r = arg;
    uint64_t n = 0;
    otok_error err;
    (void)thread;
    bench_ok(otok_count(r->service, &r->filter, &n, &err), &err, "otok_count");
    r->counted = n;
    return 1;
}

static reader reader_of(bench_world *world, const char *subject, const char *client_id)
{
    reader r = {.service = bench_service(world, OTOK_ROTATION_NEVER, OTOK_OFF)};
    otok_filter_init(&r.filter, sizeof r.filter);
    r.filter.subject = subject;
    r.filter.client_id = client_id;
    return r;
}

static double page_us(void *arg, double seconds)
{
    return 1e6 / bench_rate(1, seconds, list_one, arg);
}

static double count_us(void *arg, double seconds)
{
    return 1e6 / bench_rate(1, seconds, count_one, arg);
}

static double raw_page_of_client_us(void *raw, double seconds)
{
    return 1e6 / bench_rate(1, seconds, bench_raw_page_of_client, raw);
}

static double raw_page_of_subject_us(void *raw, double seconds)
{
    return 1e6 / bench_rate(1, seconds, bench_raw_page_of_subject, raw);
}

static double raw_count_us(void *raw, double seconds)
{
    return 1e6 / bench_rate(1, seconds, bench_raw_count, raw);
}

double bench_page_us(bench_world *world, const char *subject, const char *client_id, double seconds)
{
    reader r = reader_of(world, subject, client_id);
    double us = page_us(&r, seconds);
    otok_service_close(r.service);
    return us;
}

double bench_count_us(bench_world *world, double seconds)
{
    reader r = reader_of(world, NULL, BENCH_CLIENT);
    double us = count_us(&r, seconds);
    otok_service_close(r.service);
    return us;
}

/* -------------------------------------------------------------------------------------------------- the figures */

static void list_of(bench *b, bench_world *few, const char *subject, const char *client_id)
{
    const char *whose = subject != NULL ? "subject" : "client";
    reader many = reader_of(&b->world, subject, client_id), less = reader_of(few, subject, client_id);
    bench_side sides[] = {
        {.name = "otok_list", .measure = page_us, .arg = &many},
        {.name = "LMDB, index and 50 gets",
         .measure = subject != NULL ? raw_page_of_subject_us : raw_page_of_client_us,
         .arg = b->raw},
        {.name = bench_format("otok_list among %llu", (unsigned long long)few->sessions),
         .measure = page_us,
         .arg = &less},
    };
    bench_rounds(&b->plan, sides, 3);
    const bench_figure figure = {
        .id = "PF7",
        .name = bench_format("page of 50 sessions of a %s", whose),
        .unit = "us",
        .goal_is = BENCH_OURS_MOST,
        .goal = 200,
        .ours = &sides[0],
        .raw = &sides[1],
    };
    const bench_figure growth = {
        .id = "PF7",
        .name = bench_format("the same, beside it among %llu", (unsigned long long)few->sessions),
        .unit = "us",
        .goal_is = BENCH_RATIO_MOST,
        .goal = 1.5,
        .ours = &sides[0],
        .raw = &sides[2],
    };
    bench_tell(&b->report, &figure);
    bench_tell(&b->report, &growth);
    otok_service_close(many.service);
    otok_service_close(less.service);
}

void bench_list(bench *b)
{
    bench_world few;
    if (!bench_wants(b, "PF7"))
        return;
    bench_world_begin(&few, b->folder, "few");
    bench_world_fill(&few, b->smoke ? b->sessions : FEW);
    bench_world_open(&few);
    list_of(b, &few, BENCH_HEAVY, NULL);
    list_of(b, &few, NULL, BENCH_CLIENT);
    bench_world_end(&few);
}

void bench_count(bench *b)
{
    reader r;
    if (!bench_wants(b, "PF8"))
        return;
    r = reader_of(&b->world, NULL, BENCH_CLIENT);
    bench_side sides[] = {
        {.name = "otok_count", .measure = count_us, .arg = &r},
        {.name = "mdb_cursor_count", .measure = raw_count_us, .arg = b->raw},
    };
    bench_rounds(&b->plan, sides, 2);
    const bench_figure figure = {
        .id = "PF8",
        .name = bench_format("count of one client's sessions, %zu of them", r.counted),
        .unit = "us",
        .goal_is = BENCH_OURS_MOST,
        .goal = 50,
        .ours = &sides[0],
        .raw = &sides[1],
    };
    bench_tell(&b->report, &figure);
    otok_service_close(r.service);
}
