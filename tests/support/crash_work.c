/*
 * crash_work.c - the worker: does what comes to its mind, and writes down what it was told.
 *
 * SPDX-License-Identifier: MIT
 */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "support/crash_parts.h"

const char *const crash_subjects[CRASH_SUBJECTS] = {"alice", "bob", "carol", "dave", "erin", "frank"};
const char *const crash_clients[CRASH_CLIENTS] = {"phone", "tv", "backup"};

/* ------------------------------------------------------------------------------------------------------- the table */

crash_known *crash_find(crash_table *table, const char *session_id)
{
    for (size_t i = 0; i < table->n; i++) {
        if (strcmp(table->sessions[i].session_id, session_id) == 0)
            return &table->sessions[i];
    }
    return NULL;
}

crash_known *crash_add(crash_table *table, const crash_op *issue, int64_t now_us)
{
    size_t at = table->n >= CRASH_MANY ? 0 : table->n;
    while (at < table->n && !table->sessions[at].dead)
        at++;
    if (at == CRASH_KNOWN)
        at = 0;
    if (at < table->n) {
        table->n--;
        memmove(&table->sessions[at], &table->sessions[at + 1], (table->n - at) * sizeof table->sessions[0]);
    }
    crash_known *known = &table->sessions[table->n++];
    *known = (crash_known){.subject = issue->subject, .client = issue->client, .generation = issue->generation};
    known->issue_begun = issue->begun;
    known->issue_ended = issue->ended;
    known->expires_us = issue->short_life ? now_us + CRASH_SHORT_LIFE_S * OTOK_US_PER_S : OTOK_UNLIMITED;
    memcpy(known->session_id, issue->session_id, sizeof known->session_id);
    memcpy(known->token, issue->token, sizeof known->token);
    return known;
}

/* --------------------------------------------------------------------------------------------------------- helpers */

uint64_t crash_next(crash_random *random, uint64_t below)
{
    uint64_t z = random->state += UINT64_C(0x9e3779b97f4a7c15);
    z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
    return (z ^ z >> 31) % below;
}

static int64_t shared_now(void *user)
{
    return ((const crash_shared *)user)->now_us;
}

int crash_open(const crash_setting *setting, otok_store **store, otok_service **service, otok_error *err)
{
    otok_config config;
    otok_policy policy;
    otok_callbacks callbacks;
    otok_store *lmdb;
    int rc = otok_store_open_lmdb(setting->folder, NULL, &lmdb, err);
    if (rc != OTOK_OK)
        return rc;
    *store = lmdb;
    if (setting->lossy)
        rc = crash_store_lossy(lmdb, store, err);
    otok_policy_init(&policy, sizeof policy);
    policy.access_token = OTOK_OFF;
    policy.sweep_grace_s = 60;
    otok_callbacks_init(&callbacks, sizeof callbacks);
    callbacks.now = shared_now;
    otok_config_init(&config, sizeof config);
    config.issuer = "https://id.example.org";
    config.policy = &policy;
    config.callbacks = &callbacks;
    config.user = setting->shared;
    return rc == OTOK_OK ? otok_service_open(&config, *store, setting->keyring, service, err) : rc;
}

otok_filter crash_filter(uint8_t subject, uint8_t client)
{
    otok_filter filter;
    otok_filter_init(&filter, sizeof filter);
    if (subject != CRASH_ANY)
        filter.subject = crash_subjects[subject];
    if (client != CRASH_ANY)
        filter.client_id = crash_clients[client];
    filter.whole_realm = subject == CRASH_ANY && client == CRASH_ANY;
    return filter;
}

int crash_refresh(otok_service *service, const crash_known *known, otok_tokens **out, otok_error *err)
{
    otok_refresh_request request;
    otok_refresh_request_init(&request, sizeof request);
    request.token = known->token;
    request.client_id = crash_clients[known->client];
    request.client_type = OTOK_CLIENT_PUBLIC;
    return otok_refresh(service, &request, out, err);
}

/* ------------------------------------------------------------------------------------------------------ operations */

static int issue(otok_service *service, crash_op *op, otok_tokens **tokens)
{
    otok_grant grant;
    otok_grant_init(&grant, sizeof grant);
    grant.subject = crash_subjects[op->subject];
    grant.client_id = crash_clients[op->client];
    grant.client_type = OTOK_CLIENT_PUBLIC;
    grant.scope = "offline_access";
    grant.max_lifetime_s = op->short_life ? CRASH_SHORT_LIFE_S : 0;
    return otok_issue(service, &grant, tokens, NULL);
}

static int revoke_by_token(otok_service *service, const crash_known *known)
{
    otok_revoke_request request;
    otok_revoke_request_init(&request, sizeof request);
    request.token = known->token;
    request.client_id = crash_clients[known->client];
    request.client_type = OTOK_CLIENT_PUBLIC;
    return otok_revoke_token(service, &request, NULL);
}

static int perform(otok_service *service, crash_op *op, const crash_known *known, otok_tokens **tokens)
{
    otok_filter filter = crash_filter(op->subject, op->client);
    switch (op->kind) {
    case CRASH_ISSUE:
        return issue(service, op, tokens);
    case CRASH_REFRESH:
        return crash_refresh(service, known, tokens, NULL);
    case CRASH_REVOKE_ID:
        return otok_revoke_session(service, op->session_id, NULL);
    case CRASH_REVOKE_TOKEN:
        return revoke_by_token(service, known);
    case CRASH_CUTOFF:
        return otok_cutoff_set(service, &filter, OTOK_NOW, &op->effective_us, NULL);
    case CRASH_MATCHING:
        return otok_revoke_matching(service, &filter, NULL, NULL);
    default:
        return otok_sweep(service, 0, NULL, NULL);
    }
}

static void note_answer(crash_op *op, int rc, const otok_tokens *tokens)
{
    op->rc = rc;
    if (tokens != NULL) {
        memcpy(op->token, tokens->offline_token, sizeof op->token);
        memcpy(op->session_id, tokens->session_id, sizeof op->session_id);
        op->generation = tokens->generation;
    }
}

/* What the worker itself goes on with. */
static void learn(crash_table *table, const crash_op *op, int64_t now_us)
{
    crash_known *known = crash_find(table, op->session_id);
    if (op->kind == CRASH_ISSUE && op->rc == OTOK_OK)
        (void)crash_add(table, op, now_us);
    else if (op->kind == CRASH_REFRESH && op->rc == OTOK_OK)
        memcpy(known->token, op->token, sizeof known->token);
    else if (op->kind == CRASH_REFRESH || op->kind == CRASH_REVOKE_ID || op->kind == CRASH_REVOKE_TOKEN)
        known->dead = true;
}

/* ----------------------------------------------------------------------------------------------------- deliberation */

static size_t count_live(const crash_table *table)
{
    size_t n = 0;
    for (size_t i = 0; i < table->n; i++)
        n += !table->sessions[i].dead;
    return n;
}

static crash_kind choose(crash_random *random, size_t live)
{
    static const struct {
        crash_kind kind;
        uint64_t share;
    } shares[] = {{CRASH_REFRESH, 46}, {CRASH_ISSUE, 30},   {CRASH_REVOKE_ID, 9}, {CRASH_REVOKE_TOKEN, 4},
                  {CRASH_CUTOFF, 3},   {CRASH_MATCHING, 2}, {CRASH_SWEEP, 6}};
    uint64_t at = crash_next(random, 100);
    if (live == 0 || (live < CRASH_FEW_LIVE && at < 40))
        return CRASH_ISSUE;
    if (live > CRASH_MANY_LIVE && at < 60)
        return CRASH_REVOKE_ID;
    for (size_t i = 0; i < sizeof shares / sizeof shares[0]; i++) {
        if (at < shares[i].share)
            return shares[i].kind;
        at -= shares[i].share;
    }
    return CRASH_SWEEP;
}

static const crash_known *pick(const crash_table *table, crash_random *random)
{
    size_t at = (size_t)crash_next(random, table->n);
    while (table->sessions[at].dead)
        at = (at + 1) % table->n;
    return &table->sessions[at];
}

/* Cutoffs of a pair mostly, of a subject or a client sometimes, of the realm hardly ever. */
static void aim(crash_op *op, crash_random *random)
{
    uint64_t at = crash_next(random, 40);
    op->subject = (uint8_t)crash_next(random, CRASH_SUBJECTS);
    op->client = (uint8_t)crash_next(random, CRASH_CLIENTS);
    if (op->kind != CRASH_CUTOFF && op->kind != CRASH_MATCHING)
        return;
    if (at < 8)
        op->client = CRASH_ANY;
    if (at == 0 || at == 8)
        op->subject = CRASH_ANY;
}

static bool needs_session(crash_kind kind)
{
    return kind == CRASH_REFRESH || kind == CRASH_REVOKE_ID || kind == CRASH_REVOKE_TOKEN;
}

static void one_operation(const crash_setting *setting, otok_service *service, crash_log *log, crash_table *table,
                          crash_random *random)
{
    uint32_t n = atomic_load(&log->n);
    crash_op *op = &log->ops[n];
    const crash_known *known = NULL;
    otok_tokens *tokens = NULL;
    op->kind = choose(random, count_live(table));
    aim(op, random);
    op->short_life = crash_next(random, 6) == 0;
    if (needs_session(op->kind)) {
        known = pick(table, random);
        memcpy(op->session_id, known->session_id, sizeof op->session_id);
    }
    op->begun = atomic_fetch_add(&setting->shared->order, 1);
    atomic_store(&log->n, n + 1);

    int rc = perform(service, op, known, &tokens);
    note_answer(op, rc, tokens);
    op->ended = atomic_fetch_add(&setting->shared->order, 1);
    atomic_store(&op->answered, true); /* from here on it is a promise */
    otok_tokens_free(tokens);
    learn(table, op, setting->shared->now_us);
}

void crash_work(const crash_setting *setting, crash_log *log, crash_table *table, uint64_t seed)
{
    otok_store *store;
    otok_service *service;
    otok_error err = {0};
    crash_random random = {seed};
    log->open_rc = crash_open(setting, &store, &service, &err);
    (void)snprintf(log->open_message, sizeof log->open_message, "%.250s", err.message);
    atomic_store(&log->opened, true);
    while (log->open_rc == OTOK_OK && atomic_load(&log->n) < CRASH_OPS)
        one_operation(setting, service, log, table, &random);
    for (;;)
        (void)pause();
}
