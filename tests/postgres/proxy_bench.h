/*
 * proxy_bench.h - what the two files behind proxy_trials.h share.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef TEST_PROXY_BENCH_H
#define TEST_PROXY_BENCH_H

#include "postgres/proxy_trials.h"

enum {
    PROXY_WINDOW_S = 60,
    PROXY_US = 1000000,
    PROXY_TIMEOUT_MS = 400,
    PROXY_WAIT_MS = 1000,
    PROXY_CONNECT_S = 2, /* libpq knows no shorter one */
    PROXY_LONGEST_MS =
        PROXY_WAIT_MS + PROXY_CONNECT_S * 1000 + 8 * PROXY_TIMEOUT_MS, /* and what a busy machine takes */
    PROXY_PARTS = 3,
    PROXY_TEXT = 128
};

struct proxy_bench {
    char folder[96];
    char realm[160]; /* another bench on the same server sees nothing of this one */
    proxy *proxy;
    otok_keyring *keyring;
    otok_store *direct, *through;
    otok_service *truth, *service; /* over these */
    int64_t now_us;
    uint64_t n; /* trials so far: names */
    /* Of the trial that is running. */
    char subject[PROXY_TEXT], token[PROXY_TEXT], successor[PROXY_TEXT], session_id[PROXY_TEXT];
    uint32_t generation;
    otok_id ids[PROXY_PARTS];
    otok_group groups[PROXY_PARTS];
};

/* Its connection is there after this. */
bool proxy_connect(proxy_bench *b);
void proxy_choose_ids(proxy_bench *b); /* of the groups of this trial */

/* Each gives the library's code, and keeps what came in the bench. */
int proxy_issue(proxy_bench *b, otok_service *service, const char *once_key, char token[PROXY_TEXT]);
int proxy_refresh(proxy_bench *b, otok_service *service, const char *token, char successor[PROXY_TEXT]);
int proxy_perform(proxy_bench *b, proxy_operation operation); /* through the proxy */

/* What the server says, asked directly; -1: that cannot be told. */
int proxy_how_often(proxy_bench *b, proxy_operation operation);
int proxy_count_record(proxy_bench *b, size_t i);

#endif
