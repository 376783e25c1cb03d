/*
 * proxy_trials.c - trials, one after another.
 *
 * SPDX-License-Identifier: MIT
 */
#include "postgres/proxy_trials.h"

#include <offlinetok/postgres.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum {
    WINDOW_S = 60,
    US = 1000000,
    TIMEOUT_MS = 400,
    WAIT_MS = 1000,
    CONNECT_S = 2, /* libpq knows no shorter one */
    LONGEST_MS = WAIT_MS + CONNECT_S * 1000 + 8 * TIMEOUT_MS, /* and what a busy machine takes */
    GROUPS = 3,
    TEXT = 128
};

static const char client[] = "phone", schema[] = "ambiguity";

struct proxy_bench {
    char folder[64];
    char realm[96]; /* another bench on the same server sees nothing of this one */
    proxy *proxy;
    otok_keyring *keyring;
    otok_store *direct, *through;
    otok_service *truth, *service; /* over these */
    int64_t now_us;
    uint64_t n; /* trials so far: names */
    /* Of the trial that is running. */
    char subject[TEXT], token[TEXT], successor[TEXT], session_id[TEXT];
    uint32_t generation;
    otok_id ids[GROUPS];
    otok_group groups[GROUPS];
};

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
    policy.retry_window_s = policy.rotate_after_s = WINDOW_S;
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
static int open_patiently(const char *conninfo, const otok_postgres_options *options, otok_store **out,
                          otok_error *err)
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
    (void)snprintf(conninfo, sizeof conninfo, format, server, CONNECT_S);
    int rc = otok_postgres_migrate(conninfo, &options, err);
    if (rc == OTOK_OK)
        rc = otok_store_open_postgres(conninfo, &options, &b->direct, err);
    options.wait_ms = WAIT_MS;
    options.timeout_ms = TIMEOUT_MS;
    (void)snprintf(conninfo, sizeof conninfo, format, b->folder, CONNECT_S);
    return rc == OTOK_OK ? open_patiently(conninfo, &options, &b->through, err) : rc;
}

proxy_bench *proxy_bench_open(const char *server, char story[512])
{
    otok_error err = {.message = "no memory, or no socket"};
    proxy_bench *b = calloc(1, sizeof *b);
    if (b == NULL)
        return NULL;
    (void)snprintf(b->folder, sizeof b->folder, "/tmp/otok-proxy.XXXXXX");
    b->now_us = (int64_t)time(NULL) * US;
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

static void keep_tokens(proxy_bench *b, char token[TEXT], otok_tokens *tokens)
{
    (void)snprintf(token, TEXT, "%s", tokens->offline_token);
    (void)snprintf(b->session_id, sizeof b->session_id, "%s", tokens->session_id);
    b->generation = tokens->generation;
    otok_tokens_free(tokens);
}

static int issue(proxy_bench *b, otok_service *service, const char *once_key, char token[TEXT])
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

static int refresh(proxy_bench *b, otok_service *service, const char *token, char successor[TEXT])
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

static void choose_ids(proxy_bench *b)
{
    for (size_t i = 0; i < GROUPS; i++) {
        memset(b->ids[i].bytes, 0, sizeof b->ids[i].bytes);
        memcpy(b->ids[i].bytes, &b->now_us, sizeof b->now_us);
        memcpy(b->ids[i].bytes + 8, &b->n, 7);
        b->ids[i].bytes[15] = (uint8_t)i;
    }
}

/* The second changes a record that is not there: a miss among others, which must not be touched by it. */
static int commit_groups(proxy_bench *b)
{
    otok_record records[GROUPS];
    otok_write writes[GROUPS];
    for (size_t i = 0; i < GROUPS; i++) {
        records[i] = (otok_record){.size = sizeof records[i], .kind = OTOK_RECORD_ONCE, .id = b->ids[i], .version = 1};
        records[i].created_us = b->now_us;
        writes[i] = (otok_write){.op = i == 1 ? OTOK_WRITE_HEAD : OTOK_WRITE_INSERT, .record = &records[i]};
        b->groups[i] = (otok_group){.writes = &writes[i], .n = 1};
    }
    int rc = otok_store_commit(b->through, b->groups, GROUPS, NULL);
    for (size_t i = 0; i < GROUPS; i++) {
        if (rc != OTOK_OK)
            b->groups[i].result = rc;
        b->groups[i].writes = NULL;
    }
    return rc == OTOK_OK ? b->groups[0].result : rc;
}

static int perform(proxy_bench *b, proxy_operation operation)
{
    otok_filter filter = by_subject(b);
    b->successor[0] = '\0';
    switch (operation) {
    case PROXY_ISSUE:
        return issue(b, b->service, b->subject, b->successor);
    case PROXY_REFRESH:
        return refresh(b, b->service, b->token, b->successor);
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

static int count_record(proxy_bench *b, size_t i)
{
    int n = 0;
    return otok_store_fetch(b->direct, &b->ids[i], 1, 0, see, &n, NULL) == OTOK_OK ? n : -1;
}

static int how_often(proxy_bench *b, proxy_operation operation)
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
        return count_record(b, 0);
    }
}

/* ---------------------------------------------------------------------------------------------------- judging */

/* What store.h calls not written, and what nobody can do anything about here. */
static bool is_not_written(int rc)
{
    return rc == OTOK_E_BUSY || rc == OTOK_E_CONFLICT || rc == OTOK_E_FULL || rc == OTOK_E_IO || rc == OTOK_E_NOMEM ||
           rc == OTOK_E_STATE;
}

static bool fits(int rc, int n)
{
    if (rc == OTOK_OK)
        return n == 1;
    if (rc == OTOK_E_UNCERTAIN)
        return n == 0 || n == 1;
    return is_not_written(rc) && n == 0;
}

static bool tell(proxy_tally *tally, const proxy_trial *trial, const char *what, int rc, int n)
{
    const proxy_plan *plan = &trial->plan;
    if (tally->story[0] == '\0')
        (void)snprintf(tally->story, sizeof tally->story,
                       "%s%s, %s message %zu to the %s%s: %s: %s, and it has happened %d times",
                       proxy_operation_name(trial->operation), trial->cold ? " on a new connection" : "",
                       proxy_deed_name(plan->deed), plan->nth, plan->way == PROXY_TO_SERVER ? "server" : "client",
                       trial->late ? " until after the retry" : "", what, otok_error_name(rc), n);
    return false;
}

static void count_answer(proxy_tally *tally, int rc, int n)
{
    tally->ok += rc == OTOK_OK;
    tally->uncertain += rc == OTOK_E_UNCERTAIN;
    tally->untried += is_not_written(rc);
    tally->happened += rc == OTOK_E_UNCERTAIN && n == 1;
}

/* The groups that do not depend on each other: each has its own answer, which must be true; the miss is never done. */
static bool check_groups(proxy_bench *b, const proxy_trial *trial, proxy_tally *tally)
{
    bool good = true;
    int miss = b->groups[1].result;
    if (!is_not_written(miss) && miss != OTOK_E_UNCERTAIN)
        good = tell(tally, trial, "a miss", miss, 0);
    for (size_t i = 0; i < GROUPS; i += 2) {
        int n = count_record(b, i);
        if (!fits(b->groups[i].result, n))
            good = tell(tally, trial, i == 0 ? "the first group" : "the last group", b->groups[i].result, n);
    }
    return good;
}

static int64_t clock_ms(void)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* ---------------------------------------------------------------------------------------------------- a trial */

/* A session of a user of its own; a minute later, so that a refresh rotates.  Its connection is there, or is not. */
static bool set_up(proxy_bench *b, const proxy_trial *trial)
{
    otok_id nobody = {{0}};
    int n = 0;
    (void)snprintf(b->subject, sizeof b->subject, "user-%llu", (unsigned long long)++b->n);
    choose_ids(b);
    if (trial->operation != PROXY_ISSUE && issue(b, b->truth, NULL, b->token) != OTOK_OK)
        return false;
    b->now_us += (int64_t)(WINDOW_S + 3) * US;
    if (otok_store_fetch(b->through, &nobody, 1, 0, see, &n, NULL) != OTOK_OK)
        return false;
    if (trial->cold)
        proxy_drop(b->proxy);
    return true;
}

/* Again until it is told, what is held let go after the first: what is in the way of it may be that. */
static int try_again(proxy_bench *b, const proxy_trial *trial)
{
    enum { TRIES = 20 };
    int rc = perform(b, trial->operation);
    proxy_release(b->proxy);
    for (int i = 0; i < TRIES && (rc == OTOK_E_UNCERTAIN || is_not_written(rc)); i++)
        rc = perform(b, trial->operation);
    return rc;
}

static bool check_retry(proxy_bench *b, const proxy_trial *trial, const char *first, proxy_tally *tally)
{
    uint32_t generation = b->generation;
    char successor[TEXT];
    int rc = try_again(b, trial);
    (void)snprintf(successor, sizeof successor, "%s", b->successor);
    if (trial->operation == PROXY_REFRESH)
        b->generation = generation;
    int n = how_often(b, trial->operation);
    if (rc != OTOK_OK || n != 1)
        return tell(tally, trial, "the retry", rc, n);
    if (*first != '\0' && strcmp(first, successor) != 0)
        return tell(tally, trial, "the retry gave another token", rc, n);
    if (trial->operation == PROXY_REFRESH || trial->operation == PROXY_ISSUE)
        rc = refresh(b, b->truth, successor, b->successor); /* what the client holds now is good */
    else
        rc = refresh(b, b->truth, b->token, b->successor) == OTOK_OK ? OTOK_E_STATE : OTOK_OK;
    return rc == OTOK_OK || tell(tally, trial, "afterwards the token", rc, n);
}

static bool judge(proxy_bench *b, const proxy_trial *trial, int rc, int64_t took_ms, proxy_tally *tally)
{
    char first[TEXT];
    bool good = true;
    (void)snprintf(first, sizeof first, "%s", b->successor);
    if (!trial->late)
        proxy_release(b->proxy);
    int n = how_often(b, trial->operation);
    count_answer(tally, rc, n);
    if (took_ms > LONGEST_MS)
        good = tell(tally, trial, "it took too long", rc, n);
    if (trial->operation == PROXY_GROUPS) {
        proxy_release(b->proxy);
        return check_groups(b, trial, tally) && good;
    }
    if (!fits(rc, n))
        good = tell(tally, trial, "the answer is not true", rc, n);
    return check_retry(b, trial, first, tally) && good;
}

static int perform_and_time(proxy_bench *b, const proxy_trial *trial, int64_t *took_ms)
{
    uint32_t generation = b->generation;
    int64_t begun_ms = clock_ms();
    int rc = perform(b, trial->operation);
    *took_ms = clock_ms() - begun_ms;
    if (trial->operation == PROXY_REFRESH)
        b->generation = generation; /* what was, to count from */
    return rc;
}

bool proxy_try(proxy_bench *b, const proxy_trial *trial, proxy_tally *tally)
{
    size_t counts[PROXY_WAYS];
    int64_t took_ms;
    tally->trials++;
    bool ready = false;
    for (int tries = 0; !ready && tries < 10; tries++)
        ready = set_up(b, trial);
    if (!ready)
        return tell(tally, trial, "it cannot be prepared", OTOK_E_STATE, 0);
    proxy_plan_make(b->proxy, &trial->plan);
    int rc = perform_and_time(b, trial, &took_ms);
    proxy_plan_end(b->proxy, counts);
    if (took_ms > tally->longest_ms)
        tally->longest_ms = took_ms;
    return judge(b, trial, rc, took_ms, tally);
}

/* How many messages an operation has when nothing goes wrong; a server that is slow is asked again. */
static bool count_messages(proxy_bench *b, proxy_operation operation, bool cold, size_t counts[PROXY_WAYS])
{
    const proxy_trial trial = {.operation = operation, .cold = cold};
    int64_t took_ms;
    int rc = OTOK_E_BUSY;
    for (int tries = 0; rc != OTOK_OK && tries < 10; tries++) {
        if (!set_up(b, &trial))
            continue;
        proxy_plan_make(b->proxy, &trial.plan);
        rc = perform_and_time(b, &trial, &took_ms);
        proxy_plan_end(b->proxy, counts);
        if (took_ms > TIMEOUT_MS)
            rc = OTOK_E_BUSY; /* something was done twice, perhaps */
    }
    return rc == OTOK_OK && counts[PROXY_TO_SERVER] > 0 && counts[PROXY_TO_CLIENT] > 0;
}

static bool spoil(proxy_bench *b, proxy_trial *trial, bool hold, proxy_tally *tally)
{
    bool good = true;
    for (int deed = 0; deed < PROXY_DEEDS; deed++) {
        trial->plan.deed = (proxy_deed)deed;
        bool is_error = deed == PROXY_FATAL || deed == PROXY_SHUTDOWN;
        if ((is_error && trial->plan.way == PROXY_TO_SERVER) || (deed == PROXY_HOLD && !hold))
            continue;
        trial->late = false;
        good = proxy_try(b, trial, tally) && good;
        trial->late = true;
        if (deed == PROXY_HOLD && trial->plan.way == PROXY_TO_SERVER)
            good = proxy_try(b, trial, tally) && good;
    }
    return good;
}

bool proxy_try_all(proxy_bench *b, proxy_operation operation, bool cold, const proxy_choice *choice,
                   proxy_tally *tally)
{
    size_t counts[PROXY_WAYS];
    bool good = count_messages(b, operation, cold, counts);
    if (!good)
        (void)snprintf(tally->story, sizeof tally->story, "%s: not even undisturbed", proxy_operation_name(operation));
    for (int way = 0; good && way < PROXY_WAYS; way++) {
        for (size_t nth = choice->first; nth <= counts[way]; nth += choice->step) {
            proxy_trial trial = {.operation = operation, .cold = cold, .plan = {.way = (proxy_way)way, .nth = nth}};
            good = spoil(b, &trial, nth % choice->hold_step == (size_t)operation % choice->hold_step, tally) && good;
        }
    }
    return good;
}
