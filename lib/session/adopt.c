/*
 * adopt.c - tokens that another system issued, taken over at their first use (P4).
 *
 * The host says what such a token holds.  One record for each legacy id, in the same commit as the session, makes every spelling of
 * it, every retry and every node come to one session.  The handle is derived from the legacy id, so that a retry can be answered.
 *
 * SPDX-License-Identifier: MIT
 */
#include "session/birth.h"
#include "session/refresh.h"

#include <string.h>

enum { NAME_BOUND = 255, TIME_SIZE = 6 };
static const char purpose[] = "adoption", own_prefix[] = "otok_";

void otok_legacy_init(otok_legacy *legacy, size_t size)
{
    otok_struct_init(legacy, size);
}

/* ------------------------------------------------------------------------------------------------------ what the host says */

/* Keeps what a body points to: printed and parsed again, it points into bytes of our own. */
static int copy_body(const otok_body *body, otok_adoption *out, otok_error *err)
{
    static const uint8_t no_key[OTOK_KEY_SIZE];
    const otok_seal_scope scope = {.created_us = 0}; /* the session's seal is made with its record */
    otok_mac_key *key;
    uint8_t key_id;
    int rc = otok_mac_key_new(no_key, &key, err);
    if (rc != OTOK_OK)
        return rc;
    rc = otok_body_print(body, &scope, 0, key, &out->texts, err);
    otok_mac_key_free(key);
    return rc == OTOK_OK ? otok_body_parse((otok_str){out->texts.data, out->texts.len}, &out->body, &key_id, err) : rc;
}

static int copy_grant(const otok_grant *grant, otok_adoption *out, otok_error *err)
{
    otok_grant own;
    otok_body body;
    otok_buf scope;
    otok_peer holder;
    int rc = otok_struct_read(&own, sizeof own, grant, sizeof(size_t) + 3 * sizeof(char *), "otok_grant", err);
    own.nonce = own.replaces = own.once_key = NULL;
    if (rc == OTOK_OK)
        rc = otok_grant_check(&own, err);
    if (rc == OTOK_OK && own.refresh_token == OTOK_OFF)
        rc = otok_fail(err, OTOK_E_INVALID, "legacy.grant.refresh_token is off, and a refresh token was presented");
    if (rc == OTOK_OK)
        rc = otok_peer_read(own.peer, &holder, err);
    if (rc != OTOK_OK)
        return rc;
    otok_buf_init(&scope, NULL, 0);
    rc = otok_grant_read(&own, &holder, OTOK_OVERLONG_DROP, &scope, &body, err);
    if (rc == OTOK_OK)
        rc = copy_body(&body, out, err);
    otok_buf_free(&scope);
    if (rc != OTOK_OK)
        return rc;
    out->subject = otok_strdup(own.subject);
    out->client_id = otok_strdup(own.client_id);
    out->client_type = own.client_type;
    return out->subject != NULL && out->client_id != NULL ? OTOK_OK : otok_fail(err, OTOK_E_NOMEM, "out of memory");
}

static int copy_legacy(otok_adoption *out, const otok_legacy *legacy, otok_error *err)
{
    otok_legacy own;
    if (out->found || out->failed != OTOK_OK)
        return otok_fail(err, OTOK_E_INVALID, "otok_legacy_set() was called before");
    int rc = otok_struct_read(&own, sizeof own, legacy, sizeof(size_t) + sizeof(char *), "otok_legacy", err);
    if (rc == OTOK_OK)
        rc = otok_text_check(own.id, NAME_BOUND, true, "legacy.id", NULL, err);
    if (rc == OTOK_OK && own.started_us <= 0)
        rc = otok_fail(err, OTOK_E_INVALID, "legacy.started_us is required");
    if (rc == OTOK_OK && own.ends_us < 0)
        rc = otok_fail(err, OTOK_E_INVALID, "legacy.ends_us is negative");
    if (rc == OTOK_OK)
        rc = copy_grant(own.grant, out, err);
    if (rc != OTOK_OK)
        return rc;
    out->started_us = own.started_us;
    out->ends_us = own.ends_us != 0 ? own.ends_us : OTOK_UNLIMITED;
    out->id = otok_strdup(own.id);
    out->found = out->id != NULL;
    return out->found ? OTOK_OK : otok_fail(err, OTOK_E_NOMEM, "out of memory");
}

int otok_legacy_set(otok_adoption *adoption, const otok_legacy *legacy, otok_error *err)
{
    if (adoption == NULL)
        return otok_fail(err, OTOK_E_INVALID, "adoption is required");
    int rc = copy_legacy(adoption, legacy, &adoption->error);
    if (rc != OTOK_OK) {
        adoption->failed = rc;
        return otok_error_set(err, rc, adoption->error.system_errno, adoption->error.message);
    }
    return OTOK_OK;
}

int otok_adoption_ask(otok_service *service, const char *token, const char *client_id, otok_adoption *out,
                      otok_error *err)
{
    *out = (otok_adoption){0};
    otok_buf_init(&out->texts, NULL, 0);
    if (service->callbacks.adopt == NULL || strncmp(token, own_prefix, sizeof own_prefix - 1) == 0)
        return otok_fail(err, OTOK_E_TOKEN_INVALID, "the token is malformed, or not one of this realm's");
    if (service->callbacks.adopt(service->user, token, client_id, out) != 0)
        return otok_fail(err, OTOK_E_CALLBACK, "the host's adopt callback failed");
    if (out->failed != OTOK_OK) /* the host may have passed it over: fail closed */
        return out->failed == OTOK_E_INVALID
                   ? otok_fail(err, OTOK_E_CALLBACK, "the host's adopt callback: %s", out->error.message)
                   : otok_error_set(err, out->failed, out->error.system_errno, out->error.message);
    return out->found ? OTOK_OK : otok_fail(err, OTOK_E_TOKEN_INVALID, "the token is of no system that is known");
}

void otok_adoption_free(otok_adoption *adoption)
{
    otok_free(adoption->id);
    otok_free(adoption->subject);
    otok_free(adoption->client_id);
    otok_buf_free(&adoption->texts);
}

/* -------------------------------------------------------------------------------------------------------- adopted before */

/* The record of its id must be of the same owner, or the host gives one id to two sessions. */
static int check_owner(const otok_once_use *use, const otok_adoption *adoption, otok_error *err)
{
    bool same = otok_str_eq(use->record->subject, otok_str_of(adoption->subject)) &&
                otok_str_eq(use->record->client, otok_str_of(adoption->client_id));
    return same ? OTOK_OK : otok_fail(err, OTOK_E_CALLBACK, "legacy.id was that of another subject or client before");
}

static int check_client(const otok_adoption *adoption, const char *client_id, int refusal, otok_error *err)
{
    return strcmp(adoption->client_id, client_id) == 0 ? OTOK_OK
                                                       : otok_fail(err, refusal, "the token is another client's");
}

int otok_adoption_find(otok_refreshing *r, bool *adopted, otok_error *err)
{
    otok_once_use use;
    const otok_adoption *adoption = r->adoption;
    *adopted = false;
    int rc = check_client(adoption, r->request.client_id, OTOK_E_CLIENT_MISMATCH, err);
    if (rc == OTOK_OK)
        rc = otok_once_find(r->service, purpose, adoption->id, &use, err);
    if (rc != OTOK_OK)
        return rc;
    *adopted = use.record != NULL;
    if (*adopted)
        rc = check_owner(&use, adoption, err);
    if (*adopted && rc == OTOK_OK)
        rc = otok_once_token(r->service, &use, adoption->id, adoption->client_id, &r->presented.token, err);
    if (rc == OTOK_E_KEY)
        rc = otok_fail(err, OTOK_E_TOKEN_INVALID, "the token was adopted under a key that is not in the keyring");
    r->presented.token.generation = 0; /* as which it counts: what it was answered with is 1 */
    r->id = use.once.session;
    otok_once_free(&use);
    return rc;
}

/* ------------------------------------------------------------------------------------------------------------- adopted now */

/* The first native token of the session: time of issue and handle, under the active key. */
static int draw_token(otok_service *service, const otok_adoption *adoption, int64_t now_us, otok_token *token,
                      otok_id *session, otok_error *err)
{
    const otok_realm_key *key = otok_service_now_keys(service)->active;
    *token = (otok_token){
        .key_id = key->id,
        .generation = 1,
        .issued_ms = (uint64_t)(now_us / OTOK_US_PER_MS),
    };
    int rc = otok_once_handle(key->adoption, adoption->id, adoption->client_id, token->handle, err);
    return rc == OTOK_OK ? otok_token_session_id(token, service->realm, session, err) : rc;
}

static int prepare_once(otok_service *service, const otok_adoption *adoption, const otok_token *token,
                        const otok_id *session, int64_t now_us, otok_once_write *out, otok_error *err)
{
    otok_id id;
    const otok_once once = {
        .key_id = token->key_id,
        .adopted = 1,
        .session = *session,
        .used_us = now_us,
        .ends_us = adoption->ends_us,
    };
    /* A record with an end is looked at every 30 days; without one it is never forgotten. */
    int64_t look_us = adoption->ends_us != OTOK_UNLIMITED ? otok_sweep_due(adoption->ends_us, now_us) : OTOK_UNLIMITED;
    int rc = otok_name_id(service, purpose, otok_str_of(adoption->id), &id, err);
    return rc == OTOK_OK ? otok_once_prepare(service, &id, &once, otok_str_of(adoption->subject),
                                             otok_str_of(adoption->client_id), look_us, out, err)
                         : rc;
}

/* The session as the legacy one was: its start counts, for cutoffs too; its last use is now. */
static int build(const otok_refreshing *r, otok_attempt *a, otok_birth *birth, otok_error *err)
{
    const otok_adoption *adoption = r->adoption;
    int64_t started_us = adoption->started_us < a->now_us ? adoption->started_us : a->now_us;
    birth->now_us = a->now_us;
    birth->session.body = adoption->body;
    if (otok_binds_to_key(r, &adoption->body))
        otok_bind_to_key(r, &birth->session.body);
    birth->session.body.started_us = started_us;
    birth->session.body.start_ip = a->ip;
    birth->session.body.start_user_agent = a->user_agent;
    birth->session.head = (otok_head){
        .generation = 1,
        .flags = OTOK_HEAD_ADOPTED,
        .rotated_us = a->now_us,
        .refreshed_us = a->now_us,
        .ip_mark = a->ip_mark,
        .user_agent_mark = a->user_agent_mark,
    };
    birth->record.created_us = started_us;
    int rc = draw_token(r->service, adoption, a->now_us, &birth->token, &birth->record.id, err);
    return rc == OTOK_OK ? otok_birth_build(r->service, adoption->subject, adoption->client_id, &a->rules, birth, err)
                         : rc;
}

/* The rules, and what does not need the record. */
static int examine(const otok_refreshing *r, otok_attempt *a, otok_error *err)
{
    const otok_adoption *adoption = r->adoption;
    bool is_public = r->request.client_type == OTOK_CLIENT_PUBLIC;
    uint8_t binding = otok_binds_to_key(r, &adoption->body) ? OTOK_BINDING_JKT : adoption->body.binding;
    int rc = otok_service_rules(r->service, r->request.client_id, is_public, binding, &a->rules, err);
    if (rc == OTOK_OK)
        rc = otok_rules_admit(&a->rules, err);
    if (rc != OTOK_OK)
        return rc;
    otok_rules_tighten(&a->rules, adoption->body.idle_timeout_s, adoption->body.max_lifetime_s);
    a->now_us = otok_service_now(r->service);
    a->decision = OTOK_ROTATION_ADVANCE;
    if (adoption->ends_us <= a->now_us)
        return otok_fail(err, OTOK_E_TOKEN_EXPIRED, "the token of the system before has ended");
    rc = otok_binding_check(&adoption->body, &r->peer, true, err);
    if (rc == OTOK_OK && r->on_owner != NULL)
        rc = r->on_owner(r->on_owner_arg,
                         &(otok_owner){otok_str_of(adoption->subject), otok_str_of(adoption->client_id)}, &a->rules,
                         a->now_us, err);
    if (rc == OTOK_OK)
        rc = otok_peer_texts(&r->peer, a->rules.overlong, &a->ip, &a->user_agent, err);
    return rc == OTOK_OK ? otok_attempt_read_marks(a, err) : rc;
}

/* Its cutoffs as they stand, which may have ended it long ago. */
static int check_life(const otok_attempt *a, const otok_birth *birth, otok_error *err)
{
    switch (otok_loaded_lifetime(&birth->session, &a->rules, a->now_us).verdict) {
    case OTOK_E_TOKEN_REVOKED:
        return otok_fail(err, OTOK_E_TOKEN_REVOKED, "the session of the system before began before a cutoff");
    case OTOK_E_TOKEN_EXPIRED:
        return otok_fail(err, OTOK_E_TOKEN_EXPIRED, "the session of the system before is at its maximum age");
    default:
        return OTOK_OK;
    }
}

/* Written where there is a limit of sessions, so that an issue that counted without this one counts again (I4). */
static int prepare_guard(otok_service *service, const otok_adoption *adoption, const otok_birth *birth,
                         otok_mark_write *out, otok_error *err)
{
    otok_scope_names names;
    const otok_mark *pair = &birth->session.pair;
    int rc = otok_names_of_pair(service, adoption->subject, adoption->client_id, &names, err);
    return rc == OTOK_OK ? otok_mark_prepare(service, &names, pair, otok_mark_guard_us(service, pair), out, err) : rc;
}

static int commit_with(const otok_refreshing *r, const otok_attempt *a, const otok_write *writes, size_t n,
                       otok_error *err)
{
    otok_notice notice = {
        {.type = OTOK_EVENT_ISSUED,
         .time_us = a->now_us,
         .ip = r->peer.ip,
         .user_agent = r->peer.user_agent,
         .marks = OTOK_EVENT_ADOPTED},
        &a->session,
    };
    otok_change change = {.writes = writes, .nwrites = n, .notices = &notice, .nnotices = 1};
    return otok_change_commit(r->service, &change, err);
}

static int commit(const otok_refreshing *r, const otok_attempt *a, const otok_birth *birth, otok_error *err)
{
    otok_once_write once = {0};
    otok_mark_write guard = {0};
    bool limited = a->rules.session_limit != OTOK_UNLIMITED;
    int rc = prepare_once(r->service, r->adoption, &birth->token, &birth->record.id, a->now_us, &once, err);
    if (rc == OTOK_OK && limited)
        rc = prepare_guard(r->service, r->adoption, birth, &guard, err);
    if (rc == OTOK_OK) {
        const otok_write writes[] = {{OTOK_WRITE_INSERT, 0, &birth->record}, once.write, guard.write};
        rc = commit_with(r, a, writes, limited ? 3 : 2, err);
    }
    otok_mark_write_free(&guard);
    return rc;
}

/* One that was never adopted is remembered as one whose session has ended. */
static int revoke_unused(otok_service *service, const otok_adoption *adoption, int32_t reason, const otok_peer *peer,
                         otok_error *err)
{
    otok_token token;
    otok_id session;
    otok_once_write once;
    int64_t now_us = otok_service_now(service);
    otok_notice notice = {.event = {.type = OTOK_EVENT_REVOKED,
                                    .reason = reason,
                                    .time_us = now_us,
                                    .subject = adoption->subject,
                                    .client_id = adoption->client_id,
                                    .ip = peer->ip,
                                    .user_agent = peer->user_agent,
                                    .marks = OTOK_EVENT_ADOPTED}};
    int rc = draw_token(service, adoption, now_us, &token, &session, err);
    if (rc == OTOK_OK)
        rc = prepare_once(service, adoption, &token, &session, now_us, &once, err);
    otok_wipe(&token, sizeof token);
    if (rc != OTOK_OK)
        return rc;
    once.record.kind = OTOK_RECORD_TOMBSTONE; /* which a full disk has room for */
    otok_change change = {.writes = &once.write, .nwrites = 1, .notices = &notice, .nnotices = 1};
    return otok_change_commit(service, &change, err);
}

static int adopt(const otok_refreshing *r, otok_attempt *a, otok_birth *birth, otok_tokens **out, otok_error *err)
{
    int rc = examine(r, a, err);
    if (rc == OTOK_OK)
        rc = build(r, a, birth, err);
    if (rc == OTOK_OK)
        rc = check_life(a, birth, err);
    if (rc != OTOK_OK)
        return rc;
    a->session = birth->session;
    rc = otok_attempt_compose(r, a, err);
    if (rc == OTOK_OK)
        rc = otok_attempt_mint(r, a, &birth->token, OTOK_OUTCOME_ADOPTED, out, err);
    if (rc == OTOK_OK)
        rc = commit(r, a, birth, err);
    if (rc != OTOK_OK && a->answer.ends_session) {
        otok_error why;
        int ended = revoke_unused(r->service, r->adoption, OTOK_REVOKED_BY_HOST, &r->peer, &why);
        rc = ended == OTOK_OK ? rc : otok_error_set(err, ended, why.system_errno, why.message);
    }
    a->session = (otok_loaded){0}; /* it was lent */
    return rc;
}

int otok_adopt(const otok_refreshing *r, otok_attempt *a, otok_tokens **out, otok_error *err)
{
    otok_birth birth;
    otok_birth_init(&birth);
    int rc = adopt(r, a, &birth, out, err);
    otok_birth_free(&birth);
    return rc;
}

/* ---------------------------------------------------------------------------------------------------------------- revoked */

static int revoke_used(otok_service *service, const otok_once_use *use, const otok_adoption *adoption,
                       const otok_peer *peer, otok_error *err)
{
    otok_loaded session;
    int rc = check_owner(use, adoption, err);
    if (rc == OTOK_OK)
        rc = otok_session_find(service, &use->once.session, &session, err);
    if (rc != OTOK_OK)
        return rc == OTOK_E_NOT_FOUND ? OTOK_OK : rc; /* it has ended already */
    rc = otok_session_remove(service, &session, OTOK_REVOKED_BY_TOKEN, peer, err);
    otok_loaded_free(&session);
    return rc;
}

static int revoke_once(otok_service *service, const otok_adoption *adoption, const otok_peer *peer, otok_error *err)
{
    otok_once_use use;
    int rc = otok_once_find(service, purpose, adoption->id, &use, err);
    if (rc != OTOK_OK)
        return rc;
    rc = otok_binding_check(&adoption->body, peer, false, err);
    if (rc == OTOK_OK)
        rc = use.record != NULL ? revoke_used(service, &use, adoption, peer, err)
                                : revoke_unused(service, adoption, OTOK_REVOKED_BY_TOKEN, peer, err);
    otok_once_free(&use);
    return rc;
}

int otok_adoption_revoke(otok_service *service, const otok_adoption *adoption, const otok_revoke_request *request,
                         const otok_peer *peer, otok_error *err)
{
    int rc = check_client(adoption, request->client_id, OTOK_E_UNAUTHORIZED_CLIENT, err);
    if (rc != OTOK_OK)
        return rc;
    otok_attempts attempts = otok_attempts_begin(service);
    do
        rc = revoke_once(service, adoption, peer, err);
    while (otok_attempts_again(&attempts, &rc, err));
    return rc;
}
