/*
 * forged.c - forged tokens refused a second, beside the MAC that each of them costs (PF5); and that the store is not asked.
 *
 * SPDX-License-Identifier: MIT
 */
#include "bench/bench.h"

#include <stdio.h>
#include <string.h>

typedef struct forger {
    otok_service *service;
    char token[OTOK_TOKEN_CHARS + 1];
    bench_signer *signer;
} forger;

static uint64_t refuse_one(void *arg, size_t thread)
{
    forger *f = arg;
    otok_refresh_request request;
    otok_tokens *tokens = NULL;
    (void)thread;
    otok_refresh_request_init(&request, sizeof request);
    request.token = f->token;
    request.client_id = BENCH_CLIENT;
    request.client_type = OTOK_CLIENT_PUBLIC;
    bench_must(otok_refresh(f->service, &request, &tokens, NULL) == OTOK_E_TOKEN_INVALID,
               "a forged token was not refused");
    return 1;
}

static double refused_rate(void *arg, double seconds)
{
    return bench_rate(1, seconds, refuse_one, arg);
}

static double mac_rate(void *arg, double seconds)
{
    return bench_rate(1, seconds, bench_mac, ((forger *)arg)->signer);
}

/* ------------------------------------------------------------------------------- a store that nobody is to ask */

static int no_fetch(void *self, const otok_id *ids, size_t n, uint32_t flags, otok_emit emit, void *arg,
                    otok_error *err)
{
    (void)self, (void)ids, (void)n, (void)flags, (void)emit, (void)arg, (void)err;
    bench_must(false, "the store was asked for a forged token");
    return OTOK_E_IO;
}

static int no_commit(void *self, otok_group *groups, size_t n, otok_error *err)
{
    (void)self, (void)groups, (void)n, (void)err;
    bench_must(false, "a forged token was written about");
    return OTOK_E_IO;
}

static int no_scan(void *self, const otok_scan *scan, otok_emit emit, void *arg, otok_error *err)
{
    (void)self, (void)scan, (void)emit, (void)arg, (void)err;
    bench_must(false, "the store was walked for a forged token");
    return OTOK_E_IO;
}

static int no_count(void *self, const otok_index_key *key, uint64_t *out, otok_error *err)
{
    (void)self, (void)key, (void)out, (void)err;
    bench_must(false, "the store was counted for a forged token");
    return OTOK_E_IO;
}

static void nothing_to_close(void *self)
{
    (void)self;
}

static otok_store *store_nobody_asks(void)
{
    static const otok_store_vtab vtab = {
        .size = sizeof vtab,
        .guarantees = OTOK_STORE_ATOMIC_GROUPS,
        .name = "nobody's",
        .fetch = no_fetch,
        .commit = no_commit,
        .scan = no_scan,
        .count = no_count,
        .close = nothing_to_close,
    };
    otok_store *store = NULL;
    otok_error err;
    bench_ok(otok_store_open(&vtab, NULL, &store, &err), &err, "otok_store_open");
    return store;
}

void bench_forged(bench *b)
{
    bench_world apart = b->world; /* the same realm, keys and clock */
    forger f = {.signer = b->signer};
    if (!bench_wants(b, "PF5"))
        return;
    apart.store = store_nobody_asks();
    f.service = bench_service(&apart, OTOK_ROTATION_ALWAYS, OTOK_ON);
    memcpy(f.token, b->world.tokens[0], sizeof f.token);
    f.token[OTOK_TOKEN_CHARS - 8] = f.token[OTOK_TOKEN_CHARS - 8] == 'A' ? 'B' : 'A'; /* of its MAC */
    bench_side sides[] = {
        {.name = "otok_refresh of a token with a wrong MAC", .measure = refused_rate, .arg = &f},
        {.name = "HMAC-SHA256, context kept", .measure = mac_rate, .arg = &f},
    };
    bench_rounds(&b->plan, sides, 2);
    const bench_figure figure = {
        .id = "PF5",
        .name = "a forged token refused, 1 thread",
        .unit = "a second",
        .goal_is = BENCH_OURS_LEAST,
        .goal = 1500000,
        .ours = &sides[0],
        .raw = &sides[1],
    };
    bench_tell(&b->report, &figure);
    otok_service_close(f.service);
    otok_store_close(apart.store);
}
