/*
 * issue.c - sessions issued a second, durably, beside plain LMDB doing the same puts in batches of the same size (PF11).
 *
 * SPDX-License-Identifier: MIT
 */
#include "bench/bench.h"

typedef struct issuing {
    bench *b;
    otok_service *service;
    size_t threads;
    double reached; /* sessions in a commit of ours, just now */
    atomic_uint_fast64_t next;
} issuing;

static uint64_t issue_one(void *arg, size_t thread)
{
    issuing *i = arg;
    char subject[32], sid[40];
    otok_grant grant;
    otok_tokens *tokens = NULL;
    otok_error err;
    (void)thread;
    bench_grant(atomic_fetch_add(&i->next, 1), subject, sid, &grant);
    bench_advance(&i->b->world, OTOK_US_PER_MS);
    bench_ok(otok_issue(i->service, &grant, &tokens, &err), &err, "otok_issue");
    otok_tokens_free(tokens);
    return 1;
}

static double issued_rate(void *arg, double seconds)
{
    issuing *i = arg;
    uint64_t before = bench_commits(&i->b->world);
    double rate = bench_rate(i->threads, seconds, issue_one, i);
    uint64_t commits = bench_commits(&i->b->world) - before;
    i->reached = (double)bench_done() / (double)(commits != 0 ? commits : 1);
    return rate;
}

static double raw_rate(void *arg, double seconds)
{
    issuing *i = arg;
    bench_raw_batch(i->b->raw, i->reached);
    return bench_rate(1, seconds, bench_raw_issue, i->b->raw);
}

static void issue_with(bench *b, size_t threads, uint64_t *next)
{
    issuing i = {.b = b, .service = bench_service(&b->world, OTOK_ROTATION_ALWAYS, OTOK_OFF), .threads = threads};
    atomic_init(&i.next, *next);
    bench_side sides[] = {
        {.name = "otok_issue", .measure = issued_rate, .arg = &i},
        {.measure = raw_rate, .arg = &i},
    };
    bench_rounds(&b->plan, sides, 2);
    sides[1].name = bench_format("LMDB, synced commits of the puts of %.1f issues, 1 thread", i.reached);
    const bench_figure figure = {
        .id = "PF11",
        .name = bench_format("issue, durable, no access token, %zu thread%s", threads, threads == 1 ? "" : "s"),
        .unit = "a second",
        .goal_is = BENCH_RATIO_LEAST,
        .goal = 0.90,
        .ours = &sides[0],
        .raw = &sides[1],
    };
    bench_tell(&b->report, &figure);
    *next = atomic_load(&i.next);
    otok_service_close(i.service);
}

void bench_issue(bench *b)
{
    uint64_t next = b->world.sessions;
    if (!bench_wants(b, "PF11"))
        return;
    issue_with(b, 1, &next);
    issue_with(b, 32, &next);
}
