/*
 * linear_client.c - a client: makes calls at random, and writes down what it asked and what it was told.
 *
 * SPDX-License-Identifier: MIT
 */
#include <stdio.h>
#include <string.h>

#include "support/linear_parts.h"

static const char *const subjects[LINEAR_NAMES] = {"alice", "bob"};
static const char *const apps[LINEAR_NAMES] = {"phone", "tv"};
static const char *const sids[LINEAR_NAMES] = {"sso-1", "sso-2"};

/* ------------------------------------------------------------------------------------------- what others have written */

static bool is_answered(const linear_call *call)
{
    return atomic_load(&call->answered) != 0;
}

static uint32_t calls_of(const linear_world *world, unsigned log)
{
    return atomic_load(&world->logs[log].n);
}

/* Sessions whose issue was answered, in the order of the logs; how many. */
static unsigned find_sessions(const linear_world *world, const linear_call *out[LINEAR_SESSIONS])
{
    unsigned n = 0;
    for (unsigned log = 0; log < LINEAR_LOGS; log++) {
        for (uint32_t i = 0; i < calls_of(world, log); i++) {
            const linear_call *call = &world->logs[log].calls[i];
            if (call->kind == LINEAR_ISSUE && is_answered(call) && call->code == OTOK_OK && n < LINEAR_SESSIONS)
                out[n++] = call;
        }
    }
    return n;
}

static unsigned count_issues(const linear_world *world)
{
    unsigned n = 0;
    for (unsigned log = 0; log < LINEAR_LOGS; log++) {
        for (uint32_t i = 0; i < calls_of(world, log); i++)
            n += world->logs[log].calls[i].kind == LINEAR_ISSUE;
    }
    return n;
}

/* The answer that a session's token of a generation, or of the highest one up to it, came with. */
static const linear_call *find_token(const linear_world *world, const char *session_id, uint32_t most)
{
    const linear_call *found = NULL;
    for (unsigned log = 0; log < LINEAR_LOGS; log++) {
        for (uint32_t i = 0; i < calls_of(world, log); i++) {
            const linear_call *call = &world->logs[log].calls[i];
            if (is_answered(call) && call->token[0] != '\0' && strcmp(call->session_id, session_id) == 0 &&
                call->generation <= most && (found == NULL || call->generation > found->generation))
                found = call;
        }
    }
    return found;
}

/* ---------------------------------------------------------------------------------------------------------- the calls */

static otok_filter filter_of(const linear_call *call)
{
    otok_filter filter;
    otok_filter_init(&filter, sizeof filter);
    if (call->subject != LINEAR_ANY)
        filter.subject = subjects[call->subject];
    if (call->app != LINEAR_ANY)
        filter.client_id = apps[call->app];
    if (call->sid != LINEAR_ANY)
        filter.sid = sids[call->sid];
    filter.whole_realm = call->subject == LINEAR_ANY && call->app == LINEAR_ANY && call->sid == LINEAR_ANY;
    return filter;
}

static void note_tokens(linear_call *call, const otok_tokens *tokens)
{
    if (tokens == NULL)
        return;
    call->outcome = tokens->outcome;
    call->generation = tokens->generation;
    memcpy(call->session_id, tokens->session_id, sizeof call->session_id);
    memcpy(call->token, tokens->offline_token, sizeof call->token);
}

static int issue(otok_service *service, linear_call *call)
{
    otok_tokens *tokens = NULL;
    otok_grant grant;
    otok_grant_init(&grant, sizeof grant);
    grant.subject = subjects[call->subject];
    grant.client_id = apps[call->app];
    grant.sid = call->sid != LINEAR_ANY ? sids[call->sid] : NULL;
    grant.scope = "offline_access";
    grant.client_type = OTOK_CLIENT_PUBLIC;
    int rc = otok_issue(service, &grant, &tokens, NULL);
    note_tokens(call, tokens);
    otok_tokens_free(tokens);
    return rc;
}

static int refresh(otok_service *service, linear_call *call, const char *token)
{
    otok_tokens *tokens = NULL;
    otok_refresh_request request;
    otok_refresh_request_init(&request, sizeof request);
    request.token = token;
    request.client_id = apps[call->app];
    request.client_type = OTOK_CLIENT_PUBLIC;
    int rc = otok_refresh(service, &request, &tokens, NULL);
    note_tokens(call, tokens);
    otok_tokens_free(tokens);
    return rc;
}

static int revoke_token(otok_service *service, const linear_call *call, const char *token)
{
    otok_revoke_request request;
    otok_revoke_request_init(&request, sizeof request);
    request.token = token;
    request.client_id = apps[call->app];
    request.client_type = OTOK_CLIENT_PUBLIC;
    return otok_revoke_token(service, &request, NULL);
}

static uint8_t number_of(const char *name, const char *const names[LINEAR_NAMES])
{
    for (uint8_t i = 0; name != NULL && i < LINEAR_NAMES; i++) {
        if (strcmp(name, names[i]) == 0)
            return i;
    }
    return LINEAR_ANY;
}

static int list(otok_service *service, linear_call *call)
{
    otok_page *page = NULL;
    otok_filter filter = filter_of(call);
    otok_list_request request;
    otok_list_request_init(&request, sizeof request);
    request.filter = &filter;
    int rc = otok_list(service, &request, &page, NULL);
    for (size_t i = 0; page != NULL && i < page->count && call->nrows < LINEAR_SESSIONS; i++) {
        const otok_session *session = page->sessions[i];
        linear_row *row = &call->rows[call->nrows++];
        memcpy(row->session_id, session->session_id, sizeof row->session_id);
        row->subject = number_of(session->subject, subjects);
        row->app = number_of(session->client_id, apps);
        row->sid = number_of(session->sid, sids);
        row->generation = session->generation;
    }
    otok_page_free(page);
    return rc;
}

static int get(otok_service *service, linear_call *call)
{
    otok_session *session = NULL;
    int rc = otok_session_get(service, call->session_id, &session, NULL);
    if (session != NULL) {
        call->outcome = session->state;
        call->generation = session->generation;
        call->retries = session->retries;
    }
    otok_session_free(session);
    return rc;
}

static int perform(linear_client *client, linear_call *call, const char *token)
{
    otok_filter filter = filter_of(call);
    switch (call->kind) {
    case LINEAR_ISSUE:
        return issue(client->service, call);
    case LINEAR_REFRESH:
        return refresh(client->service, call, token);
    case LINEAR_REVOKE_TOKEN:
        return revoke_token(client->service, call, token);
    case LINEAR_REVOKE_SESSION:
        return otok_revoke_session(client->service, call->session_id, NULL);
    case LINEAR_CUTOFF:
        return otok_cutoff_set(client->service, &filter, OTOK_NOW, NULL, NULL);
    case LINEAR_MATCHING:
        return otok_revoke_matching(client->service, &filter, NULL, NULL);
    case LINEAR_LIST:
        return list(client->service, call);
    case LINEAR_GET:
        return get(client->service, call);
    case LINEAR_SWEEP:
        return otok_sweep(client->service, 0, NULL, NULL);
    default:
        (void)atomic_fetch_add(&client->world->now_s,
                               (int64_t)(1 + linear_next(&client->random, (uint64_t)client->world->advance_s)));
        return OTOK_OK;
    }
}

/* What a call asks is in the log before it begins, so that it outlives who made it. */
static void make(linear_client *client, const linear_call *asked, const char *token)
{
    linear_world *world = client->world;
    linear_log *log = &world->logs[client->index];
    uint32_t n = atomic_load(&log->n);
    linear_call *call = &log->calls[n];
    if (n == LINEAR_LOG)
        return;
    call->kind = asked->kind;
    call->subject = asked->subject;
    call->app = asked->app;
    call->sid = asked->sid;
    call->presented = asked->presented;
    memcpy(call->session_id, asked->session_id, sizeof call->session_id);
    client->now_s = atomic_load(&world->now_s) + (int64_t)client->index * world->skew_s / LINEAR_CLIENTS;
    call->now_s = client->now_s;
    call->invoked = 1 + atomic_fetch_add(&world->order, 1);
    atomic_store(&log->n, n + 1);
    linear_step();
    call->code = perform(client, call, token);
    atomic_store(&call->answered, 1 + atomic_fetch_add(&world->order, 1));
}

/* ----------------------------------------------------------------------------------------------------------- the choice */

static linear_kind choose_kind(linear_client *client, unsigned sessions)
{
    static const struct {
        linear_kind kind;
        uint64_t share;
    } shares[] = {{LINEAR_REFRESH, 58},       {LINEAR_GET, 8},     {LINEAR_LIST, 8},   {LINEAR_ADVANCE, 8},
                  {LINEAR_ISSUE, 5},          {LINEAR_SWEEP, 4},   {LINEAR_CUTOFF, 3}, {LINEAR_REVOKE_TOKEN, 2},
                  {LINEAR_REVOKE_SESSION, 2}, {LINEAR_MATCHING, 2}};
    uint64_t at = linear_next(&client->random, 100);
    unsigned issues = count_issues(client->world);
    if (issues == 0 || (sessions == 0 && issues < 2))
        return LINEAR_ISSUE;
    for (size_t i = 0; i < sizeof shares / sizeof shares[0]; i++) {
        linear_kind kind = shares[i].kind;
        bool needs_session = kind == LINEAR_REFRESH || kind == LINEAR_GET || kind == LINEAR_REVOKE_TOKEN ||
                             kind == LINEAR_REVOKE_SESSION;
        if (at < shares[i].share && !(needs_session && sessions == 0) &&
            !(kind == LINEAR_ISSUE && issues >= LINEAR_FEW_SESSIONS))
            return kind;
        at = at < shares[i].share ? 0 : at - shares[i].share;
    }
    return LINEAR_LIST;
}

static uint8_t one_name(linear_client *client)
{
    return (uint8_t)linear_next(&client->random, LINEAR_NAMES);
}

/* Of an issue: mostly the first subject and client, so that sessions meet in filters.  Of a filter: any of the five. */
static void choose_names(linear_client *client, linear_call *call)
{
    uint64_t at = linear_next(&client->random, 20);
    if (call->kind == LINEAR_ISSUE) {
        call->subject = at < 16 ? 0 : 1;
        call->app = at % 4 != 0 ? 0 : 1;
        call->sid = at % 2 == 0 ? one_name(client) : LINEAR_ANY;
        return;
    }
    call->subject = call->app = call->sid = LINEAR_ANY;
    if (at < 10)
        call->subject = at < 8 ? 0 : 1;
    if (at < 6 || at == 10 || at == 11 || at == 12)
        call->app = at % 4 != 0 ? 0 : 1;
    if (at > 12 && at < 18)
        call->sid = one_name(client);
}

/* The latest session mostly. */
static const linear_call *choose_session(linear_client *client, const linear_call *const *sessions, unsigned n)
{
    const linear_call *latest = sessions[0];
    for (unsigned i = 1; i < n; i++) {
        if (atomic_load(&sessions[i]->answered) > atomic_load(&latest->answered))
            latest = sessions[i];
    }
    return linear_next(&client->random, 3) != 0 ? latest : sessions[linear_next(&client->random, n)];
}

/* The newest token mostly, else the one before, as who lost a response has it, seldom an older one. */
static const linear_call *choose_token(linear_client *client, const char *session_id)
{
    const linear_call *newest = find_token(client->world, session_id, UINT32_MAX);
    uint64_t at = linear_next(&client->random, 20);
    if (newest == NULL || newest->generation == 0 || at < 12)
        return newest;
    uint32_t back = at < 18 ? 1 : 2;
    return find_token(client->world, session_id, newest->generation > back ? newest->generation - back : 0);
}

static void make_one(linear_client *client)
{
    const linear_call *sessions[LINEAR_SESSIONS], *session = NULL, *token = NULL;
    unsigned n = find_sessions(client->world, sessions);
    linear_call call = {.kind = choose_kind(client, n)};
    choose_names(client, &call);
    if (n != 0 && call.kind != LINEAR_ISSUE) {
        session = choose_session(client, sessions, n);
        token = choose_token(client, session->session_id);
    }
    bool is_of_one = call.kind == LINEAR_REFRESH || call.kind == LINEAR_GET || call.kind == LINEAR_REVOKE_TOKEN ||
                     call.kind == LINEAR_REVOKE_SESSION;
    if (is_of_one) {
        call.subject = session->subject;
        call.app = session->app;
        call.sid = session->sid;
        call.presented = token->generation;
        memcpy(call.session_id, session->session_id, sizeof call.session_id);
    }
    make(client, &call, token != NULL ? token->token : NULL);
}

void linear_client_work(linear_client *client)
{
    for (unsigned i = 0; i < LINEAR_CALLS; i++)
        make_one(client);
}

void linear_client_audit(linear_client *client)
{
    const linear_call *sessions[LINEAR_SESSIONS];
    unsigned n = find_sessions(client->world, sessions);
    const linear_call all = {.kind = LINEAR_LIST, .subject = LINEAR_ANY, .app = LINEAR_ANY, .sid = LINEAR_ANY};
    make(client, &all, NULL);
    for (unsigned i = 0; i < n; i++) {
        const linear_call *token = find_token(client->world, sessions[i]->session_id, UINT32_MAX);
        linear_call call = {.kind = LINEAR_GET,
                            .subject = sessions[i]->subject,
                            .app = sessions[i]->app,
                            .sid = sessions[i]->sid,
                            .presented = token->generation};
        memcpy(call.session_id, sessions[i]->session_id, sizeof call.session_id);
        make(client, &call, NULL);
        call.kind = LINEAR_REFRESH;
        make(client, &call, token->token);
    }
}
