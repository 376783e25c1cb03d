/*
 * proxy_bench.c - the bench: stores and services on both sides of a proxy, the operations, and how often they have happened.
 *
 * SPDX-License-Identifier: MIT
 */
#include "postgres/proxy_bench.h"

#include <offlinetok/postgres.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static const char client[] = "phone", schema[] = "ambiguity";

const char *proxy_operation_name(proxy_operation operation)
{
    static const char *const names[PROXY_OPERATIONS] = {"issue", "refresh", "revoke", "cutoff", "groups"};
    return names[operation];
}

/* ---------------------------------------------------------------------------------------------------- the bench */

static int64_t bench_now(void *user)
{
    return ((const proxy_bench *)user)->now_us;
}

static int open_service(proxy_bench *b, otok_store *store, otok_service **out, otok_error *err)
{
    otok_policy policy;
    otok_callbacks callbacks;
    otok_config config;
    otok_policy_init(&policy, sizeof policy);
    policy.rotation = OTOK_ROTATION_ALWAYS;
    policy.retry_window_s = policy.rotate_after_s = PROXY_WINDOW_S;
    policy.access_token = OTOK_OFF;
    otok_callbacks_init(&callbacks, sizeof callbacks);
    callbacks.now = bench_now;
    otok_config_init(&config, sizeof config);
    config.issuer = "https://id.example.org";
    config.realm = b->realm;
    config.policy = &policy;
    config.callbacks = &callbacks;
    config.user = b;
    return otok_service_open(&config, store, b->keyring, out, err);
}

/* A connection is opened within the timeout, which is short for a machine that has much else to do. */
static int open_patiently(const char *conninfo, const otok_postgres_options *options, otok_store **out, otok_error *err)
{
    enum { TRIES = 20 };
    int rc = OTOK_E_BUSY;
    for (int i = 0; rc == OTOK_E_BUSY && i < TRIES; i++)
        rc = otok_store_open_postgres(conninfo, options, out, err);
    return rc;
}

static int open_stores(proxy_bench *b, const char *server, otok_error *err)
{
    static const char format[] = "host=%s dbname=postgres user=postgres sslmode=disable gssencmode=disable "
                                 "connect_timeout=%d";
    char conninfo[512];
    otok_postgres_options options;
    otok_postgres_options_init(&options, sizeof options);
    options.schema = schema;
    options.connections = 1;
    (void)snprintf(conninfo, sizeof conninfo, format, server, PROXY_CONNECT_S);
    int rc = otok_postgres_migrate(conninfo, &options, err);
    if (rc == OTOK_OK)
        rc = otok_store_open_postgres(conninfo, &options, &b->direct, err);
    options.wait_ms = PROXY_WAIT_MS;
    options.timeout_ms = PROXY_TIMEOUT_MS;
    (void)snprintf(conninfo, sizeof conninfo, format, b->folder, PROXY_CONNECT_S);
    return rc == OTOK_OK ? open_patiently(conninfo, &options, &b->through, err) : rc;
}

proxy_bench *proxy_bench_open(const char *server, char story[512])
{
    otok_error err = {.message = "no memory, or no socket"};
    proxy_bench *b = calloc(1, sizeof *b);
    if (b == NULL)
        return NULL;
    (void)snprintf(b->folder, sizeof b->folder, "%.80s-proxy.XXXXXX", server); /* goes with the cluster */
    b->now_us = (int64_t)time(NULL) * PROXY_US;
    if (mkdtemp(b->folder) != NULL)
        (void)snprintf(b->realm, sizeof b->realm, "%s-%lld", b->folder, (long long)b->now_us);
    if (b->realm[0] != '\0')
        b->proxy = proxy_open(b->folder, server);
    if (b->proxy != NULL && otok_keyring_generate(OTOK_ALG_DEFAULT, &b->keyring, &err) == OTOK_OK &&
        open_stores(b, server, &err) == OTOK_OK && open_service(b, b->direct, &b->truth, &err) == OTOK_OK &&
        open_service(b, b->through, &b->service, &err) == OTOK_OK)
        return b;
    (void)snprintf(story, 512, "%.500s", err.message);
    proxy_bench_close(b);
    return NULL;
}

void proxy_bench_close(proxy_bench *b)
{
    if (b == NULL)
        return;
    otok_service_close(b->service);
    otok_service_close(b->truth);
    otok_store_close(b->through);
    otok_store_close(b->direct);
    otok_keyring_free(b->keyring);
    proxy_close(b->proxy);
    (void)rmdir(b->folder);
    free(b);
}

/* ---------------------------------------------------------------------------------------------------- operations */

static void keep_tokens(proxy_bench *b, char token[PROXY_TEXT], otok_tokens *tokens)
{
    (void)snprintf(token, PROXY_TEXT, "%s", tokens->offline_token);
    (void)snprintf(b->session_id, sizeof b->session_id, "%s", tokens->session_id);
    b->generation = tokens->generation;
    otok_tokens_free(tokens);
}

int proxy_issue(proxy_bench *b, otok_service *service, const char *once_key, char token[PROXY_TEXT])
{
    otok_tokens *tokens = NULL;
    otok_grant grant;
    otok_grant_init(&grant, sizeof grant);
    grant.subject = b->subject;
    grant.client_id = client;
    grant.client_type = OTOK_CLIENT_PUBLIC;
    grant.scope = "offline_access";
    grant.once_key = once_key;
    int rc = otok_issue(service, &grant, &tokens, NULL);
    if (rc == OTOK_OK)
        keep_tokens(b, token, tokens);
    return rc;
}

int proxy_refresh(proxy_bench *b, otok_service *service, const char *token, char successor[PROXY_TEXT])
{
    otok_tokens *tokens = NULL;
    otok_refresh_request request;
    otok_refresh_request_init(&request, sizeof request);
    request.token = token;
    request.client_id = client;
    request.client_type = OTOK_CLIENT_PUBLIC;
    int rc = otok_refresh(service, &request, &tokens, NULL);
    if (rc == OTOK_OK)
        keep_tokens(b, successor, tokens);
    return rc;
}

static int revoke_token(proxy_bench *b)
{
    otok_revoke_request request;
    otok_revoke_request_init(&request, sizeof request);
    request.token = b->token;
    request.client_id = client;
    request.client_type = OTOK_CLIENT_PUBLIC;
    return otok_revoke_token(b->service, &request, NULL);
}

static otok_filter by_subject(const proxy_bench *b)
{
    otok_filter filter;
    otok_filter_init(&filter, sizeof filter);
    filter.subject = b->subject;
    return filter;
}

/* No other bench has the name of this one's folder, which ends in six letters. */
void proxy_choose_ids(proxy_bench *b)
{
    enum { LETTERS = 6 };
    for (size_t i = 0; i < PROXY_PARTS; i++) {
        uint8_t *bytes = b->ids[i].bytes;
        memset(bytes, 0, sizeof b->ids[i].bytes);
        memcpy(bytes, b->folder + strlen(b->folder) - LETTERS, LETTERS);
        memcpy(bytes + LETTERS, &b->n, sizeof b->n);
        bytes[15] = (uint8_t)i;
    }
}

/* The second changes a record that is not there: a miss among others, which must not be touched by it. */
static int commit_groups(proxy_bench *b)
{
    otok_record records[PROXY_PARTS];
    otok_write writes[PROXY_PARTS];
    for (size_t i = 0; i < PROXY_PARTS; i++) {
        records[i] = (otok_record){.size = sizeof records[i], .kind = OTOK_RECORD_ONCE, .id = b->ids[i], .version = 1};
        records[i].created_us = b->now_us;
        writes[i] = (otok_write){.op = i == 1 ? OTOK_WRITE_HEAD : OTOK_WRITE_INSERT, .record = &records[i]};
        b->groups[i] = (otok_group){.writes = &writes[i], .n = 1};
    }
    int rc = otok_store_commit(b->through, b->groups, PROXY_PARTS, NULL);
    for (size_t i = 0; i < PROXY_PARTS; i++) {
        if (rc != OTOK_OK)
            b->groups[i].result = rc;
        b->groups[i].writes = NULL;
    }
    return rc == OTOK_OK ? b->groups[0].result : rc;
}

int proxy_perform(proxy_bench *b, proxy_operation operation)
{
    otok_filter filter = by_subject(b);
    b->successor[0] = '\0';
    switch (operation) {
    case PROXY_ISSUE:
        return proxy_issue(b, b->service, b->subject, b->successor);
    case PROXY_REFRESH:
        return proxy_refresh(b, b->service, b->token, b->successor);
    case PROXY_REVOKE:
        return revoke_token(b);
    case PROXY_CUTOFF:
        return otok_cutoff_set(b->service, &filter, OTOK_NOW, NULL, NULL);
    default:
        return commit_groups(b);
    }
}

/* ---------------------------------------------------------------------------------------------------- the truth */

/* How often it has happened; -1: that cannot be told. */
static int count_sessions(proxy_bench *b)
{
    uint64_t n = 0;
    otok_filter filter = by_subject(b);
    return otok_count_live(b->truth, &filter, &n, NULL) == OTOK_OK ? (int)n : -1;
}

static int count_generations(proxy_bench *b)
{
    otok_session *session = NULL;
    int n = -1;
    if (otok_session_get(b->truth, b->session_id, &session, NULL) == OTOK_OK)
        n = (int)session->generation - (int)b->generation;
    otok_session_free(session);
    return n;
}

static int count_ends(proxy_bench *b)
{
    otok_session *session = NULL;
    int rc = otok_session_get(b->truth, b->session_id, &session, NULL);
    otok_session_free(session);
    return rc == OTOK_OK ? 0 : rc == OTOK_E_NOT_FOUND ? 1 : -1;
}

static int count_cutoffs(proxy_bench *b)
{
    int64_t at_us;
    otok_filter filter = by_subject(b);
    int rc = otok_cutoff_get(b->truth, &filter, &at_us, NULL);
    return rc == OTOK_OK ? 1 : rc == OTOK_E_NOT_FOUND ? 0 : -1;
}

static int see(void *arg, const otok_record *record)
{
    (void)record;
    ++*(int *)arg;
    return 0;
}

int proxy_count_record(proxy_bench *b, size_t i)
{
    int n = 0;
    return otok_store_fetch(b->direct, &b->ids[i], 1, 0, see, &n, NULL) == OTOK_OK ? n : -1;
}

int proxy_how_often(proxy_bench *b, proxy_operation operation)
{
    switch (operation) {
    case PROXY_ISSUE:
        return count_sessions(b);
    case PROXY_REFRESH:
        return count_generations(b);
    case PROXY_REVOKE:
        return count_ends(b);
    case PROXY_CUTOFF:
        return count_cutoffs(b);
    default:
        return proxy_count_record(b, 0);
    }
}

bool proxy_connect(proxy_bench *b)
{
    const otok_id nobody = {{0}};
    int n = 0;
    return otok_store_fetch(b->through, &nobody, 1, 0, see, &n, NULL) == OTOK_OK;
}
