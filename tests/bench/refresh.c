/*
 * refresh.c - refreshes a second: without rotation beside the signature that each of them is (PF1), without even that (PF4), with
 * rotation beside durable commits of plain LMDB (PF2, PF3), and over the number of threads.
 *
 * SPDX-License-Identifier: MIT
 */
#include "bench/bench.h"

#include <stdio.h>
#include <string.h>

enum { ROTATE_US = 61 * 1000000 }; /* older than that, a token is rotated */

typedef struct load {
    bench_world *world;
    otok_service *service;
    size_t threads;
    int32_t outcome; /* that each must have */
    bench_walk walks[BENCH_THREADS];
} load;

/* Sessions are dealt out to the threads: session i is of thread i % threads. */
static uint64_t refresh_one(void *arg, size_t thread)
{
    load *l = arg;
    uint64_t session = bench_walk_next(&l->walks[thread]) * l->threads + thread;
    char *token = l->world->tokens[session];
    otok_refresh_request request;
    otok_tokens *tokens = NULL;
    otok_error err;
    otok_refresh_request_init(&request, sizeof request);
    request.token = token;
    request.client_id = bench_client_of(session);
    request.client_type = OTOK_CLIENT_PUBLIC;
    if (l->outcome == OTOK_OUTCOME_ADVANCED)
        bench_advance(l->world, ROTATE_US);
    bench_ok(otok_refresh(l->service, &request, &tokens, &err), &err, "otok_refresh");
    bench_must(tokens->outcome == l->outcome, "a refresh had another outcome");
    if (tokens->outcome == OTOK_OUTCOME_ADVANCED)
        memcpy(token, tokens->offline_token, OTOK_TOKEN_CHARS);
    otok_tokens_free(tokens);
    return 1;
}

static load load_begin(bench_world *world, int32_t rotation, int32_t access_token, size_t threads)
{
    load l = {.world = world, .service = bench_service(world, rotation, access_token), .threads = threads};
    l.outcome = rotation == OTOK_ROTATION_NEVER ? OTOK_OUTCOME_KEPT : OTOK_OUTCOME_ADVANCED;
    for (size_t i = 0; i < threads; i++)
        l.walks[i] = bench_walk_of(world->sessions / threads, i * 7919);
    return l;
}

static double refresh_rate(void *arg, double seconds)
{
    load *l = arg;
    return bench_rate(l->threads, seconds, refresh_one, l);
}

double bench_refresh_rate(bench_world *world, int32_t rotation, int32_t access_token, size_t threads, double seconds)
{
    load l = load_begin(world, rotation, access_token, threads);
    double rate = refresh_rate(&l, seconds);
    otok_service_close(l.service);
    return rate;
}

/* ------------------------------------------------------------------------------------------- without rotation */

typedef struct raw_load {
    bench *b;
    size_t threads;
    double reached; /* refreshes in a commit of ours, just now */
} raw_load;

static double fresh_rate(void *arg, double seconds)
{
    raw_load *r = arg;
    return bench_rate(r->threads, seconds, bench_sign_fresh, r->b->signer);
}

static double prepared_rate(void *arg, double seconds)
{
    raw_load *r = arg;
    return bench_rate(r->threads, seconds, bench_sign_prepared, r->b->signer);
}

static void kept_with_signature(bench *b, size_t threads)
{
    load ours = load_begin(&b->world, OTOK_ROTATION_NEVER, OTOK_ON, threads);
    raw_load raw = {.b = b, .threads = threads};
    bench_side sides[] = {
        {.name = "otok_refresh", .measure = refresh_rate, .arg = &ours},
        {.name = "EVP_DigestSign, ES256, on a copy of a prepared context", .measure = prepared_rate, .arg = &raw},
        {.name = "EVP_DigestSign, ES256, a new context each time", .measure = fresh_rate, .arg = &raw},
    };
    bench_rounds(&b->plan, sides, 3);
    const bench_figure figure = {
        .id = "PF1",
        .name = bench_format("refresh, rotation off, ES256, %zu thread%s", threads, threads == 1 ? "" : "s"),
        .unit = "a second",
        .goal_is = BENCH_RATIO_LEAST,
        .goal = 0.85,
        .ours = &sides[0],
        .raw = &sides[1],
        .also = &sides[2],
    };
    bench_tell(&b->report, &figure);
    otok_service_close(ours.service);
}

/* What a refresh cannot do without when it signs nothing: its session, and a MAC to look at and one to answer with. */
static uint64_t get_and_mac(void *arg, size_t thread)
{
    bench *b = arg;
    (void)bench_mac(b->signer, thread);
    (void)bench_raw_get(b->raw, thread);
    (void)bench_mac(b->signer, thread);
    return 1;
}

static double get_and_mac_rate(void *arg, double seconds)
{
    raw_load *r = arg;
    return bench_rate(r->threads, seconds, get_and_mac, r->b);
}

static void kept_without_signature(bench *b, size_t threads)
{
    load ours = load_begin(&b->world, OTOK_ROTATION_NEVER, OTOK_OFF, threads);
    raw_load raw = {.b = b, .threads = threads};
    bench_side sides[] = {
        {.name = "otok_refresh", .measure = refresh_rate, .arg = &ours},
        {.name = "LMDB get, two HMAC-SHA256", .measure = get_and_mac_rate, .arg = &raw},
    };
    bench_rounds(&b->plan, sides, 2);
    const bench_figure figure = {
        .id = "PF4",
        .name = bench_format("refresh, rotation off, no access token, %zu thread%s", threads, threads == 1 ? "" : "s"),
        .unit = "a second",
        .goal_is = BENCH_OURS_LEAST,
        .goal = 400000.0 * (double)threads,
        .ours = &sides[0],
        .raw = &sides[1],
    };
    bench_tell(&b->report, &figure);
    otok_service_close(ours.service);
}

void bench_refresh_kept(bench *b)
{
    for (size_t threads = 1; threads <= 2 && bench_wants(b, "PF1"); threads++)
        kept_with_signature(b, threads);
    for (size_t threads = 1; threads <= 2 && bench_wants(b, "PF4"); threads++)
        kept_without_signature(b, threads);
}

/* ---------------------------------------------------------------------------------------------- with rotation */

/* The batch that ours reached is the one that the raw side then has. */
typedef struct rotation {
    load load;
    raw_load *raw;
} rotation;

static double rotated_rate(void *arg, double seconds)
{
    rotation *r = arg;
    uint64_t before = bench_commits(r->load.world);
    double rate = refresh_rate(&r->load, seconds);
    uint64_t commits = bench_commits(r->load.world) - before;
    r->raw->reached = (double)bench_done() / (double)(commits != 0 ? commits : 1);
    return rate;
}

static double put_rate(void *arg, double seconds)
{
    raw_load *r = arg;
    bench_raw_batch(r->b->raw, r->reached);
    return bench_rate(1, seconds, bench_raw_put, r->b->raw);
}

/* Ours, without and with an access token; each followed by plain LMDB. */
typedef struct rotations {
    rotation plain, signing;
    raw_load plain_raw, signing_raw;
    bench_side sides[4];
} rotations;

static void rotate(bench *b, rotations *r, size_t threads)
{
    *r = (rotations){.plain_raw = {.b = b}, .signing_raw = {.b = b}};
    r->plain = (rotation){load_begin(&b->world, OTOK_ROTATION_ALWAYS, OTOK_OFF, threads), &r->plain_raw};
    r->signing = (rotation){load_begin(&b->world, OTOK_ROTATION_ALWAYS, OTOK_ON, threads), &r->signing_raw};
    r->sides[0] = (bench_side){.name = "otok_refresh", .measure = rotated_rate, .arg = &r->plain};
    r->sides[1] = (bench_side){.measure = put_rate, .arg = &r->plain_raw};
    r->sides[2] = (bench_side){.name = "otok_refresh", .measure = rotated_rate, .arg = &r->signing};
    r->sides[3] = (bench_side){.measure = put_rate, .arg = &r->signing_raw};
    bench_rounds(&b->plan, r->sides, 4);
    r->sides[1].name = bench_format("LMDB, synced commits of %.1f puts, 1 thread", r->plain_raw.reached);
    r->sides[3].name = bench_format("LMDB, synced commits of %.1f puts, 1 thread", r->signing_raw.reached);
    otok_service_close(r->plain.load.service);
    otok_service_close(r->signing.load.service);
}

static void tell_rotations(bench *b, const rotations *r, size_t threads)
{
    bench_figure figure = {
        .id = threads == 1 ? "PF2" : "PF3",
        .name =
            bench_format("refresh, rotated, durable, no access token, %zu thread%s", threads, threads == 1 ? "" : "s"),
        .unit = "a second",
        .goal_is = BENCH_RATIO_LEAST,
        .goal = 0.90,
        .ours = &r->sides[0],
        .raw = &r->sides[1],
    };
    bench_tell(&b->report, &figure);
    figure.name = bench_format("refresh, rotated, durable, ES256, %zu thread%s", threads, threads == 1 ? "" : "s");
    figure.ours = &r->sides[2];
    figure.raw = &r->sides[3];
    bench_tell(&b->report, &figure);
}

/* More threads, more a second. */
static void tell_rise(bench *b, const bench_side *fewer, const bench_side *more, size_t threads)
{
    const bench_figure figure = {
        .id = "PF3",
        .name = bench_format("refresh, rotated, no access token: %zu threads beside fewer", threads),
        .unit = "a second",
        .goal_is = BENCH_RATIO_LEAST,
        .goal = 1,
        .ours = more,
        .raw = fewer,
    };
    bench_tell(&b->report, &figure);
}

static void add_point(cJSON *curve, const rotations *r, size_t threads)
{
    cJSON *point = cJSON_CreateObject();
    cJSON_AddItemToArray(curve, point);
    cJSON_AddNumberToObject(point, "threads", (double)threads);
    cJSON_AddNumberToObject(point, "plain", bench_summarize(&r->sides[0]).median);
    cJSON_AddNumberToObject(point, "signing", bench_summarize(&r->sides[2]).median);
    cJSON_AddNumberToObject(point, "raw", bench_summarize(&r->sides[1]).median);
    cJSON_AddNumberToObject(point, "batch", r->plain_raw.reached);
}

/* Goals are set for 1, 8, 32 and 128 threads; what is between makes the curve. */
static bool has_goal(size_t threads)
{
    return threads == 1 || threads == 8 || threads == 32 || threads == BENCH_THREADS;
}

void bench_refresh_rotated(bench *b)
{
    static rotations r;
    bench_side before = {0};
    cJSON *curve = cJSON_AddArrayToObject(b->report.json, "threads");
    for (size_t threads = 1; threads <= BENCH_THREADS; threads *= 2) {
        if (!bench_wants(b, threads == 1 ? "PF2" : "PF3"))
            continue;
        rotate(b, &r, threads);
        add_point(curve, &r, threads);
        if (!has_goal(threads))
            continue;
        tell_rotations(b, &r, threads);
        if (before.n != 0)
            tell_rise(b, &before, &r.sides[0], threads);
        before = r.sides[0];
        before.name = "with fewer threads";
    }
}
