/*
 * failover_load.c - a worker: one client's operations after another, and what it was told.
 *
 * SPDX-License-Identifier: MIT
 */
#include "postgres/failover.h"

#include <offlinetok/postgres.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { WINDOW_S = 60, US = 1000000, FEW_LIVE = 10, MOST_LIVE = 40 };
static const char client[] = "phone";

/* ---------------------------------------------------------------------------------------------------- a node */

static int64_t system_us(void)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_REALTIME, &now);
    return (int64_t)now.tv_sec * US + now.tv_nsec / 1000;
}

static int64_t node_now(void *user)
{
    return system_us() + ((const failover_node *)user)->offset_us;
}

int failover_open(failover_node *node, failover_shared *shared, const char *conninfo, otok_keyring *keyring,
                  otok_error *err)
{
    otok_policy policy;
    otok_callbacks callbacks;
    otok_config config;
    otok_postgres_options options;
    *node = (failover_node){.shared = shared};
    otok_policy_init(&policy, sizeof policy);
    policy.rotation = OTOK_ROTATION_ALWAYS;
    policy.retry_window_s = policy.rotate_after_s = WINDOW_S;
    policy.ahead = OTOK_AHEAD_REFUSE; /* what a lost rotation would look like */
    policy.access_token = OTOK_OFF;
    otok_callbacks_init(&callbacks, sizeof callbacks);
    callbacks.now = node_now;
    otok_config_init(&config, sizeof config);
    config.issuer = "https://id.example.org";
    config.policy = &policy;
    config.callbacks = &callbacks;
    config.user = node;
    otok_postgres_options_init(&options, sizeof options);
    options.connections = 1;
    int rc = otok_store_open_postgres(conninfo, &options, &node->store, err);
    return rc == OTOK_OK ? otok_service_open(&config, node->store, keyring, &node->service, err) : rc;
}

void failover_close(failover_node *node)
{
    otok_service_close(node->service);
    otok_store_close(node->store);
}

bool failover_is_in_doubt(int rc)
{
    return rc == OTOK_E_UNCERTAIN;
}

bool failover_is_untried(int rc)
{
    return rc == OTOK_E_BUSY || rc == OTOK_E_CONFLICT;
}

/* The longest time in which nobody was told OTOK_OK: two successes in a row bound it. */
static void note_success(failover_shared *shared)
{
    int64_t now_us = system_us();
    int64_t gap_us = now_us - atomic_exchange(&shared->last_done_us, now_us);
    int64_t longest_us = atomic_load(&shared->longest_us);
    while (gap_us > longest_us && !atomic_compare_exchange_weak(&shared->longest_us, &longest_us, gap_us))
        ;
}

static int note(failover_node *node, failover_worker *worker, int rc)
{
    if (rc == OTOK_OK) {
        note_success(node->shared);
        atomic_fetch_add(&worker->done, 1);
    } else if (failover_is_in_doubt(rc)) {
        atomic_fetch_add(&worker->in_doubt, 1);
    } else if (failover_is_untried(rc)) {
        atomic_fetch_add(&worker->untried, 1);
    }
    return rc;
}

int failover_wrong(failover_worker *worker, const failover_session *session, const char *what, int rc)
{
    (void)snprintf(worker->wrong, sizeof worker->wrong, "session %s, generation %lu acknowledged%s%s: %s: %s",
                   session != NULL ? session->id : "?", session != NULL ? (unsigned long)session->generation : 0,
                   session != NULL && session->in_doubt ? ", a refresh in doubt" : "",
                   session != NULL && session->untried ? ", a refresh not tried" : "", what, otok_error_name(rc));
    return FAILOVER_WRONG;
}

void failover_subject(const failover_shared *shared, const failover_worker *worker, uint32_t subject, char out[32])
{
    (void)snprintf(out, 32, "user-%d-%u", (int)(worker - shared->workers), (unsigned)subject);
}

/* ---------------------------------------------------------------------------------------------------- refresh */

static int refresh(failover_node *node, const failover_session *session, const char *token, otok_tokens **out)
{
    otok_refresh_request request;
    otok_refresh_request_init(&request, sizeof request);
    request.token = token;
    request.client_id = client;
    request.client_type = OTOK_CLIENT_PUBLIC;
    node->offset_us = session->offset_us;
    int rc = otok_refresh(node->service, &request, out, NULL);
    node->offset_us = 0;
    return rc;
}

/* It went by: exactly one generation more, and only a refresh in doubt may have made it before. */
static int learn_success(failover_worker *worker, failover_session *session, const otok_tokens *tokens)
{
    bool advanced = tokens->outcome == OTOK_OUTCOME_ADVANCED;
    bool retried = tokens->outcome == OTOK_OUTCOME_RETRIED && session->in_doubt;
    if (session->state == FAILOVER_DEAD)
        return failover_wrong(worker, session, "a revoked session lives", OTOK_OK);
    if (tokens->generation != session->generation + 1)
        return failover_wrong(worker, session, "not one generation more", OTOK_OK);
    if (!advanced && !retried)
        return failover_wrong(worker, session, "what was not done has happened", OTOK_OK);
    (void)snprintf(session->token, sizeof session->token, "%s", tokens->offline_token);
    session->generation = tokens->generation;
    session->state = FAILOVER_LIVE;
    session->in_doubt = session->untried = false;
    return OTOK_OK;
}

static int learn_failure(failover_worker *worker, failover_session *session, int rc)
{
    if (failover_is_in_doubt(rc)) {
        session->in_doubt = true;
    } else if (failover_is_untried(rc)) {
        session->untried = true;
    } else if (session->state != FAILOVER_LIVE && (rc == OTOK_E_TOKEN_UNKNOWN || rc == OTOK_E_TOKEN_REVOKED)) {
        session->state = FAILOVER_DEAD;
    } else {
        return failover_wrong(worker, session, "a refresh", rc);
    }
    return rc;
}

/* The token before, a moment after its rotation: the same successor (T2). */
static int present_the_previous(failover_node *node, failover_worker *worker, failover_session *session,
                                const char *previous)
{
    otok_tokens *tokens = NULL;
    int rc = note(node, worker, refresh(node, session, previous, &tokens));
    if (rc == OTOK_OK && strcmp(tokens->offline_token, session->token) != 0)
        rc = failover_wrong(worker, session, "the token before got another successor", rc);
    else if (rc != OTOK_OK && !failover_is_in_doubt(rc) && !failover_is_untried(rc))
        rc = failover_wrong(worker, session, "the token before", rc);
    otok_tokens_free(tokens);
    return rc;
}

int failover_refresh(failover_node *node, failover_worker *worker, failover_session *session)
{
    char previous[FAILOVER_TOKEN];
    otok_tokens *tokens = NULL;
    if (!session->in_doubt && !session->untried)
        session->offset_us += (int64_t)(WINDOW_S + 3) * US;
    memcpy(previous, session->token, sizeof previous);
    int rc = note(node, worker, refresh(node, session, session->token, &tokens));
    if (rc != OTOK_OK)
        return learn_failure(worker, session, rc);
    rc = learn_success(worker, session, tokens);
    otok_tokens_free(tokens);
    if (rc == OTOK_OK && session->generation % 4 == 0)
        rc = present_the_previous(node, worker, session, previous);
    return rc;
}

/* ---------------------------------------------------------------------------------------------------- issue, revoke, cut off */

static size_t count_live(const failover_worker *worker)
{
    size_t n = 0;
    for (size_t i = 0; i < worker->nsessions; i++)
        n += worker->sessions[i].state != FAILOVER_DEAD;
    return n;
}

/* Room for one more: that of the dead which was there longest, when all is taken. */
static failover_session *make_room(failover_worker *worker)
{
    size_t at = 0;
    if (worker->nsessions < FAILOVER_SESSIONS)
        return &worker->sessions[worker->nsessions++];
    while (worker->sessions[at].state != FAILOVER_DEAD) /* MOST_LIVE sees to it that there is one */
        at++;
    memmove(&worker->sessions[at], &worker->sessions[at + 1],
            (FAILOVER_SESSIONS - 1 - at) * sizeof worker->sessions[0]);
    return &worker->sessions[FAILOVER_SESSIONS - 1];
}

/* Again with its once key until it is told: one session comes of it, which the judge counts. */
static int issue(failover_node *node, failover_worker *worker, uint32_t subject)
{
    char name[32], once[64];
    otok_tokens *tokens = NULL;
    otok_grant grant;
    int rc;
    failover_subject(node->shared, worker, subject, name);
    (void)snprintf(once, sizeof once, "%s-%llu", name, (unsigned long long)worker->nissued++);
    otok_grant_init(&grant, sizeof grant);
    grant.subject = name;
    grant.client_id = client;
    grant.client_type = OTOK_CLIENT_PUBLIC;
    grant.scope = "offline_access";
    grant.once_key = once;
    do
        rc = note(node, worker, otok_issue(node->service, &grant, &tokens, NULL));
    while (failover_is_in_doubt(rc) || failover_is_untried(rc));
    if (rc != OTOK_OK)
        return failover_wrong(worker, NULL, "an issue", rc);
    failover_session *session = make_room(worker);
    *session = (failover_session){.subject = subject, .generation = tokens->generation, .state = FAILOVER_LIVE};
    (void)snprintf(session->id, sizeof session->id, "%s", tokens->session_id);
    (void)snprintf(session->token, sizeof session->token, "%s", tokens->offline_token);
    otok_tokens_free(tokens);
    return OTOK_OK;
}

static int revoke_once(failover_node *node, const failover_session *session)
{
    otok_revoke_request request;
    otok_revoke_request_init(&request, sizeof request);
    request.token = session->token;
    request.client_id = client;
    request.client_type = OTOK_CLIENT_PUBLIC;
    return otok_revoke_token(node->service, &request, NULL);
}

static int revoke(failover_node *node, failover_worker *worker, failover_session *session, bool again)
{
    int rc;
    do {
        rc = note(node, worker, revoke_once(node, session));
        if (rc == OTOK_OK)
            session->state = FAILOVER_DEAD;
        else if (failover_is_in_doubt(rc))
            session->state = FAILOVER_MAYBE_DEAD;
        else if (!failover_is_untried(rc))
            return failover_wrong(worker, session, "a revocation", rc);
    } while (again && rc != OTOK_OK);
    return rc;
}

static int cut_off(failover_node *node, failover_worker *worker, uint32_t subject)
{
    char name[32];
    otok_filter filter;
    failover_subject(node->shared, worker, subject, name);
    otok_filter_init(&filter, sizeof filter);
    filter.subject = name;
    int rc = note(node, worker, otok_cutoff_set(node->service, &filter, OTOK_NOW, NULL, NULL));
    if (failover_is_untried(rc))
        return rc;
    if (rc != OTOK_OK && !failover_is_in_doubt(rc))
        return failover_wrong(worker, NULL, "a cutoff", rc);
    for (size_t i = 0; i < worker->nsessions; i++) {
        failover_session *session = &worker->sessions[i];
        if (session->subject == subject && session->state != FAILOVER_DEAD)
            session->state = rc == OTOK_OK ? FAILOVER_DEAD : FAILOVER_MAYBE_DEAD;
    }
    return rc;
}

/* ---------------------------------------------------------------------------------------------------- a life */

static uint64_t next(uint64_t *state, uint64_t below) /* splitmix64 */
{
    uint64_t z = *state += UINT64_C(0x9e3779b97f4a7c15);
    z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
    return (z ^ z >> 31) % below;
}

static failover_session *pick(failover_worker *worker, uint64_t *seed)
{
    size_t at = (size_t)next(seed, worker->nsessions);
    while (worker->sessions[at].state == FAILOVER_DEAD)
        at = (at + 1) % worker->nsessions;
    return &worker->sessions[at];
}

static void one_operation(failover_node *node, failover_worker *worker, uint64_t *seed)
{
    size_t live = count_live(worker);
    uint64_t at = next(seed, 100);
    uint32_t subject = (uint32_t)next(seed, FAILOVER_SUBJECTS);
    if (live == 0 || (live < FEW_LIVE && at < 50) || (live < MOST_LIVE && at < 20)) {
        (void)issue(node, worker, subject);
        return;
    }
    failover_session *session = pick(worker, seed);
    if (live >= MOST_LIVE || at >= 86)
        (void)revoke(node, worker, session, at % 2 == 0);
    else if (at == 85)
        (void)cut_off(node, worker, subject);
    else
        (void)failover_refresh(node, worker, session);
    if (session->state == FAILOVER_DEAD && worker->wrong[0] == '\0')
        (void)failover_refresh(node, worker, session); /* at once: refused */
}

void failover_work(failover_node *node, failover_worker *worker, uint64_t seed)
{
    static const struct timespec moment = {.tv_nsec = 1000000};
    while (!atomic_load(&node->shared->stop)) {
        bool park = atomic_load(&node->shared->park) || worker->wrong[0] != '\0';
        atomic_store(&worker->parked, park);
        if (park)
            (void)nanosleep(&moment, NULL);
        else
            one_operation(node, worker, &seed);
    }
}
