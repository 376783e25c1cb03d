/*
 * cutoff.c - ending all sessions of a client with one write, beside durable commits of plain LMDB (PF9).  The last figure of a run:
 * nothing of that client can be refreshed afterwards, which is looked at too.
 *
 * SPDX-License-Identifier: MIT
 */
#include "bench/bench.h"

typedef struct cutter {
    bench_world *world;
    otok_service *service;
    int64_t at_us;
} cutter;

/* Each a moment later than the last: cutoffs only move forward. */
static uint64_t cut_one(void *arg, size_t thread)
{
    cutter *c = arg;
    otok_filter filter;
    otok_error err;
    (void)thread;
    otok_filter_init(&filter, sizeof filter);
    filter.client_id = BENCH_CLIENT;
    bench_advance(c->world, OTOK_US_PER_S);
    if (c->at_us != OTOK_NOW)
        c->at_us++;
    bench_ok(otok_cutoff_set(c->service, &filter, c->at_us, NULL, &err), &err, "otok_cutoff_set");
    return 1;
}

static double cut_us(void *arg, double seconds)
{
    return 1e6 / bench_rate(1, seconds, cut_one, arg);
}

/* Before every session, so that the store can be used afterwards; the write is the same. */
double bench_cutoff_us(bench_world *world, double seconds)
{
    cutter c = {world, bench_service(world, OTOK_ROTATION_NEVER, OTOK_OFF), (int64_t)world->sessions};
    double us = cut_us(&c, seconds);
    otok_service_close(c.service);
    return us;
}

static double commit_us(void *raw, double seconds)
{
    bench_raw_batch(raw, 1);
    return 1e6 / bench_rate(1, seconds, bench_raw_put, raw);
}

static void look_at_the_end(const bench *b, const cutter *c)
{
    otok_refresh_request request;
    otok_tokens *tokens = NULL;
    otok_refresh_request_init(&request, sizeof request);
    request.token = b->world.tokens[0];
    request.client_id = BENCH_CLIENT;
    request.client_type = OTOK_CLIENT_PUBLIC;
    bench_must(otok_refresh(c->service, &request, &tokens, NULL) == OTOK_E_TOKEN_REVOKED,
               "a session has outlived its client's cutoff");
}

void bench_cutoff(bench *b)
{
    if (!bench_wants(b, "PF9"))
        return;
    cutter c = {&b->world, bench_service(&b->world, OTOK_ROTATION_NEVER, OTOK_OFF), OTOK_NOW};
    bench_side sides[] = {
        {.name = "otok_cutoff_set", .measure = cut_us, .arg = &c},
        {.name = "LMDB, synced commit of one put", .measure = commit_us, .arg = b->raw},
    };
    bench_rounds(&b->plan, sides, 2);
    look_at_the_end(b, &c);
    const bench_figure figure = {
        .id = "PF9",
        .name = bench_format("cutoff of a client with %llu sessions", (unsigned long long)b->sessions * 9 / 10),
        .unit = "us",
        .goal_is = BENCH_RATIO_MOST,
        .goal = 2,
        .ours = &sides[0],
        .raw = &sides[1],
    };
    bench_tell(&b->report, &figure);
    otok_service_close(c.service);
}
