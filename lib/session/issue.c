/*
 * issue.c - how a session begins (I2, I5, I6).
 *
 * SPDX-License-Identifier: MIT
 */
#include "session/session.h"

#include <string.h>

/* A session that is being made: what its record is built of. */
struct birth {
    otok_record record;
    otok_loaded session; /* as the minting sees it; its record is the one above */
    otok_session_names names;
    otok_token token;
    otok_buf scope, body;
    uint8_t head[OTOK_HEAD_SIZE];
    int64_t now_us;
};

static int draw_token(otok_service *service, struct birth *birth, otok_error *err)
{
    birth->token = (otok_token){.key_id = service->active->id, .issued_ms = (uint64_t)(birth->now_us / OTOK_US_PER_MS)};
    int rc = otok_random(birth->token.handle, sizeof birth->token.handle, err);
    if (rc == OTOK_OK) /* at random, so that a record made again is never taken for the old one */
        rc = otok_random(&birth->record.version, sizeof birth->record.version, err);
    return rc == OTOK_OK ? otok_token_session_id(&birth->token, service->realm, &birth->record.id, err) : rc;
}

struct latest {
    const otok_service *service;
    int64_t cutoff_us;
    bool unread;
};

static int on_cutoff(void *arg, const otok_record *record)
{
    struct latest *latest = arg;
    int64_t cutoff_us;
    if (!otok_cutoff_time(latest->service, record, &cutoff_us))
        latest->unread = true;
    if (cutoff_us > latest->cutoff_us)
        latest->cutoff_us = cutoff_us;
    return 0;
}

/* Later than every cutoff that applies, whatever the clocks of the nodes that set them (V3). */
static int set_created(otok_service *service, struct birth *birth, otok_error *err)
{
    struct latest latest = {service, INT64_MIN, false};
    int rc = otok_store_fetch(service->store, birth->names.links, birth->names.nlinks, 0, on_cutoff, &latest, err);
    if (rc == OTOK_OK && latest.unread)
        rc = otok_fail(err, OTOK_E_FORMAT, "a cutoff of the session has a format that this version does not know");
    birth->record.created_us = birth->now_us;
    if (latest.cutoff_us >= birth->now_us)
        birth->record.created_us = otok_time_add(latest.cutoff_us, 1);
    return rc;
}

static int build_record(otok_service *service, const otok_grant *grant, const otok_rules *rules, struct birth *birth,
                        otok_error *err)
{
    otok_record *record = &birth->record;
    record->size = sizeof *record;
    record->kind = OTOK_RECORD_SESSION;
    record->realm = service->realm;
    record->subject = otok_str_of(grant->subject);
    record->client = otok_str_of(grant->client_id);
    int rc =
        otok_names_of_session(service, record->subject, record->client, birth->session.body.sid, &birth->names, err);
    if (rc == OTOK_OK)
        rc = set_created(service, birth, err);
    if (rc != OTOK_OK)
        return rc;
    record->keys = birth->names.keys;
    record->nkeys = birth->names.nkeys;
    record->links = birth->names.links;
    record->nlinks = birth->names.nlinks;

    birth->session.record = record;
    birth->session.body.started_us = birth->now_us;
    birth->session.head = (otok_head){.key_id = service->active->id, .refreshed_us = birth->now_us};
    birth->session.cutoff_us = INT64_MIN;
    otok_head_print(&birth->session.head, birth->head);
    record->head = (otok_str){birth->head, sizeof birth->head};
    otok_lifetime life = otok_loaded_lifetime(&birth->session, rules, birth->now_us);
    record->sweep_us = otok_sweep_due(life.expires_us, birth->now_us);

    otok_seal_scope scope = otok_seal_scope_of(record);
    rc = otok_body_print(&birth->session.body, &scope, service->active->id, service->active->seal, &birth->body, err);
    record->body = (otok_str){birth->body.data, birth->body.len};
    return rc;
}

static int mint(otok_service *service, const otok_grant *grant, const otok_peer *peer, const otok_rules *rules,
                struct birth *birth, otok_tokens **out, otok_error *err)
{
    const otok_mint mint = {
        .session = &birth->session,
        .rules = rules,
        .token = &birth->token,
        .scope = birth->session.body.scope,
        .audience = birth->session.body.audience,
        .audience_count = birth->session.body.audience_count,
        .peer = peer,
        .nonce = grant->nonce,
        .now_us = birth->now_us,
        .idle_expires_us = otok_time_add(birth->now_us, rules->idle_us),
        .max_expires_us = otok_time_add(birth->now_us, rules->max_us),
        .outcome = OTOK_OUTCOME_ISSUED,
    };
    return otok_tokens_mint(service, &mint, out, err);
}

static int issue(otok_service *service, const otok_grant *grant, const otok_peer *peer, struct birth *birth,
                 otok_tokens **out, otok_error *err)
{
    otok_rules rules;
    int rc = otok_service_rules(service, grant->client_id, grant->client_type == OTOK_CLIENT_PUBLIC,
                                (uint8_t)grant->binding, &rules, err);
    if (rc == OTOK_OK)
        rc = otok_grant_read(grant, peer, rules.overlong, &birth->scope, &birth->session.body, err);
    if (rc != OTOK_OK)
        return rc;
    otok_rules_tighten(&rules, grant->idle_timeout_s, grant->max_lifetime_s);
    birth->now_us = otok_service_now(service);
    rc = draw_token(service, birth, err);
    if (rc == OTOK_OK)
        rc = build_record(service, grant, &rules, birth, err);
    if (rc == OTOK_OK)
        rc = mint(service, grant, peer, &rules, birth, out, err);
    if (rc == OTOK_OK) /* minted before, returned after: what is returned is durable (R7) */
        rc = otok_service_write(service, OTOK_WRITE_INSERT, 0, &birth->record, err);
    if (rc == OTOK_OK) {
        otok_event event = {
            .type = OTOK_EVENT_ISSUED, .time_us = birth->now_us, .ip = peer->ip, .user_agent = peer->user_agent};
        otok_event_send(service, &event, &birth->session);
    }
    return rc;
}

int otok_issue(otok_service *service, const otok_grant *grant, otok_tokens **out, otok_error *err)
{
    otok_grant own;
    otok_peer peer;
    if (service == NULL || out == NULL)
        return otok_fail(err, OTOK_E_INVALID, "%s is required", service == NULL ? "service" : "out");
    *out = NULL;
    int rc = otok_struct_read(&own, sizeof own, grant, sizeof(size_t) + 3 * sizeof(char *), "otok_grant", err);
    if (rc == OTOK_OK)
        rc = otok_grant_check(&own, err);
    if (rc == OTOK_OK)
        rc = otok_peer_read(own.peer, &peer, err);
    if (rc != OTOK_OK)
        return rc;

    struct birth birth = {0};
    otok_tokens *tokens = NULL;
    otok_buf_init(&birth.scope, NULL, 0);
    otok_buf_init(&birth.body, NULL, 0);
    rc = issue(service, &own, &peer, &birth, &tokens, err);
    otok_buf_free(&birth.scope);
    otok_buf_free(&birth.body);
    otok_wipe(&birth.token, sizeof birth.token);
    if (rc != OTOK_OK) {
        otok_tokens_free(tokens);
        return rc;
    }
    *out = tokens;
    return OTOK_OK;
}
