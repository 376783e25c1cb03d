/*
 * refresh.c - the way of one refresh: parse, MAC, load, check, decide, mint, commit, tell.
 *
 * Checks run cheapest first and nothing is written until all have passed (R1).  Whoever loses a race starts again from what the
 * winner wrote, and then finds that it is a retry (R6).
 *
 * SPDX-License-Identifier: MIT
 */
#include "session/session.h"

#include <string.h>

enum { NAME_BOUND = 255, SCOPE_BOUND = 4096 };

void otok_refresh_request_init(otok_refresh_request *request, size_t size)
{
    otok_struct_init(request, size);
}

/* One call, over all its attempts. */
struct refresh {
    otok_service *service;
    otok_refresh_request request;
    otok_peer peer;
    otok_presented presented;
    otok_id id;
};

/* One attempt: what was read, and what was decided about it. */
struct attempt {
    otok_loaded session;
    otok_rules rules;
    int64_t now_us;
    int decision;
    otok_str ip, user_agent;
    uint16_t ip_mark, user_agent_mark;
    otok_str audience[OTOK_MAX_AUDIENCE];
    size_t audience_count;
    otok_buf scope;
    otok_head head; /* as it will be */
};

/* ----------------------------------------------------------------------------------------------- before the store */

static int read_request(struct refresh *r, const otok_refresh_request *in, otok_error *err)
{
    size_t len;
    int rc = otok_struct_read(&r->request, sizeof r->request, in, sizeof(size_t) + 2 * sizeof(char *),
                              "otok_refresh_request", err);
    if (rc != OTOK_OK)
        return rc;
    if (r->request.token == NULL)
        return otok_fail(err, OTOK_E_INVALID, "request.token is required");
    rc = otok_text_check(r->request.client_id, NAME_BOUND, true, "request.client_id", &len, err);
    if (rc == OTOK_OK)
        rc = otok_text_check(r->request.scope, SCOPE_BOUND, false, "request.scope", &len, err);
    if (rc != OTOK_OK)
        return rc;
    if (r->request.unused != 0)
        return otok_fail(err, OTOK_E_INVALID, "request.unused is not 0");
    if (r->request.client_type != OTOK_CLIENT_CONFIDENTIAL && r->request.client_type != OTOK_CLIENT_PUBLIC)
        return otok_fail(err, OTOK_E_INVALID, "request.client_type has no value %d", r->request.client_type);
    if (r->request.resource_count > OTOK_MAX_AUDIENCE ||
        (r->request.resource_count != 0 && r->request.resource == NULL))
        return otok_fail(err, OTOK_E_INVALID, "request.resource has more than %d items, or is NULL with a count",
                         OTOK_MAX_AUDIENCE);
    return otok_peer_read(r->request.peer, &r->peer, err);
}

int otok_token_present(const otok_service *service, const char *text, otok_presented *out, otok_id *id, otok_error *err)
{
    if (!otok_token_parse(text, out))
        return otok_fail(err, OTOK_E_TOKEN_INVALID, "the token is malformed");
    const otok_realm_key *key = otok_service_key(service, out->token.key_id);
    if (key == NULL)
        return otok_fail(err, OTOK_E_TOKEN_INVALID, "the token is under a key that is not in the keyring");
    int rc = otok_token_verify(out, key->token, err);
    return rc == OTOK_OK ? otok_token_session_id(&out->token, service->realm, id, err) : rc;
}

/* --------------------------------------------------------------------------------------------- against the session */

static bool is_among(otok_str text, const otok_str *texts, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (otok_str_eq(texts[i], text))
            return true;
    }
    return false;
}

/* Narrows the audience (RFC 8707 section 2.2). */
static int narrow_audience(const struct refresh *r, struct attempt *a, otok_error *err)
{
    const otok_body *body = &a->session.body;
    const otok_str by_default = otok_str_of(r->service->audience);
    const otok_str *granted = body->audience_count != 0 ? body->audience : &by_default;
    size_t ngranted = body->audience_count != 0 ? body->audience_count : 1;
    for (size_t i = 0; i < r->request.resource_count; i++) {
        otok_str asked = otok_str_of(r->request.resource[i]);
        if (!is_among(asked, granted, ngranted))
            return otok_fail(err, OTOK_E_TARGET, "request.resource asks for a resource that was not granted");
        if (!is_among(asked, a->audience, a->audience_count)) /* one that is named twice is one */
            a->audience[a->audience_count++] = asked;
    }
    if (a->audience_count == 0) {
        memcpy(a->audience, body->audience, sizeof a->audience);
        a->audience_count = body->audience_count;
    }
    return OTOK_OK;
}

static int check_life(const struct refresh *r, struct attempt *a, otok_error *err)
{
    const otok_body *body = &a->session.body;
    bool is_public = r->request.client_type == OTOK_CLIENT_PUBLIC;
    int rc = otok_service_rules(r->service, r->request.client_id, is_public, body->binding, &a->rules, err);
    if (rc != OTOK_OK)
        return rc;
    otok_rules_tighten(&a->rules, body->idle_timeout_s, body->max_lifetime_s);
    a->now_us = otok_service_now(r->service);
    switch (otok_loaded_lifetime(&a->session, &a->rules, a->now_us).verdict) {
    case OTOK_E_TOKEN_REVOKED:
        return otok_fail(err, OTOK_E_TOKEN_REVOKED, "the session began before a cutoff");
    case OTOK_E_TOKEN_EXPIRED:
        return otok_fail(err, OTOK_E_TOKEN_EXPIRED, "the session was idle for too long, or is at its maximum age");
    default:
        return OTOK_OK;
    }
}

static void decide(const struct refresh *r, struct attempt *a)
{
    const otok_head *head = &a->session.head;
    bool closed = head->flags & OTOK_HEAD_CLOSED;
    const otok_rotation_in in = {
        .presented = r->presented.token.generation,
        .current = head->generation,
        .now_us = a->now_us,
        .started_us = closed ? head->rotated_us : a->session.body.started_us,
        .rotated_us = closed ? 0 : head->rotated_us,
        .retries = head->retries,
    };
    a->decision = otok_rotation_decide(&in, &a->rules);
    /* What was refused as a token from the future stays so, as long as the policy does. */
    if (in.presented == in.current && head->flags & OTOK_HEAD_REFUSED && a->rules.ahead == OTOK_AHEAD_REFUSE)
        a->decision = OTOK_ROTATION_AHEAD;
}

/* Everything up to the decision; what it refuses leaves the token unconsumed and is never taken for reuse (R2). */
static int examine(const struct refresh *r, struct attempt *a, otok_error *err)
{
    if (!otok_str_eq(a->session.record->client, otok_str_of(r->request.client_id)))
        return otok_fail(err, OTOK_E_CLIENT_MISMATCH, "the token is another client's");
    int rc = check_life(r, a, err);
    if (rc == OTOK_OK)
        rc = otok_binding_check(&a->session.body, &r->peer, true, err);
    if (rc == OTOK_OK)
        rc = otok_peer_texts(&r->peer, a->rules.overlong, &a->ip, &a->user_agent, err);
    if (rc == OTOK_OK)
        decide(r, a);
    return rc;
}

/* ------------------------------------------------------------------------------------------------------ the new head */

/* Enough to tell one address or user agent from another, not enough to tell which; 0: unknown. */
static int mark_of(otok_str text, uint16_t *mark, otok_error *err)
{
    uint8_t digest[OTOK_SHA256_SIZE];
    const otok_str parts[] = {otok_str_of("otok-mark"), text};
    *mark = 0;
    int rc = text.len != 0 ? otok_sha256(parts, 2, digest, err) : OTOK_OK;
    if (rc == OTOK_OK && text.len != 0)
        *mark = otok_get_u16(digest) != 0 ? otok_get_u16(digest) : 1;
    return rc;
}

static int read_marks(struct attempt *a, otok_error *err)
{
    if (a->decision != OTOK_ROTATION_ADVANCE && a->decision != OTOK_ROTATION_RETRY)
        return OTOK_OK;
    int rc = mark_of(a->ip, &a->ip_mark, err);
    return rc == OTOK_OK ? mark_of(a->user_agent, &a->user_agent_mark, err) : rc;
}

/* A time of rotation never moves back (L5), unless it lies more than a day ahead: see is_due() in rotation.c.  0 means never. */
static int64_t rotation_time(int64_t stored_us, int64_t now_us)
{
    int64_t time_us = stored_us > otok_time_add(now_us, OTOK_DAY_US) ? now_us : otok_time_forward(stored_us, now_us);
    return time_us > OTOK_US_PER_MS ? time_us : OTOK_US_PER_MS;
}

static bool touch_is_due(const struct refresh *r, const struct attempt *a)
{
    const otok_head *head = &a->session.head;
    return a->now_us - head->refreshed_us >= a->rules.touch_us || head->key_id != r->presented.token.key_id ||
           a->session.seal_key_id != r->service->active->id;
}

static void touch(const struct refresh *r, struct attempt *a)
{
    a->head.refreshed_us = otok_time_forward(a->session.head.refreshed_us, a->now_us);
    a->head.key_id = r->presented.token.key_id;
    a->head.flags &= OTOK_HEAD_CLOSED;
}

/* The head as it will be; false when nothing is to be written. */
static bool make_head(const struct refresh *r, struct attempt *a)
{
    a->head = a->session.head;
    switch (a->decision) {
    case OTOK_ROTATION_KEEP:
        if (!touch_is_due(r, a)) /* R9 */
            return false;
        touch(r, a);
        return true;
    case OTOK_ROTATION_ADVANCE:
        touch(r, a);
        a->head.flags = 0;
        a->head.generation++;
        a->head.retries = 0;
        a->head.rotated_us = rotation_time(a->session.head.rotated_us, a->now_us);
        a->head.ip_mark = a->ip_mark;
        a->head.user_agent_mark = a->user_agent_mark;
        return true;
    case OTOK_ROTATION_RETRY: { /* read-only, but for the count; in a window that is longer than a touch interval it is a use too */
        bool counted = a->rules.retry_limit != OTOK_UNLIMITED && a->head.retries < UINT16_MAX;
        if (!counted && !touch_is_due(r, a))
            return false;
        touch(r, a);
        a->head.retries = (uint16_t)(a->head.retries + counted);
        return true;
    }
    default: /* AHEAD: up to what was reached; every older token is reuse again (T5) */
        if (a->head.generation == r->presented.token.generation)
            return false;
        touch(r, a);
        a->head.flags = OTOK_HEAD_CLOSED | (a->rules.ahead == OTOK_AHEAD_REFUSE ? OTOK_HEAD_REFUSED : 0);
        a->head.generation = r->presented.token.generation;
        a->head.retries = 0;
        a->head.rotated_us = rotation_time(a->session.head.rotated_us, a->now_us);
        return true;
    }
}

/* ------------------------------------------------------------------------------------------------------------ commit */

static bool peer_is_new(const struct attempt *a)
{
    const otok_body *body = &a->session.body;
    otok_str last_ip = body->last_ip.len != 0 ? body->last_ip : body->start_ip;
    otok_str last_user_agent = body->last_user_agent.len != 0 ? body->last_user_agent : body->start_user_agent;
    return (a->ip.len != 0 && !otok_str_eq(a->ip, last_ip)) ||
           (a->user_agent.len != 0 && !otok_str_eq(a->user_agent, last_user_agent));
}

/* Where the session is used from goes with a whole write, at most once a touch interval; so does a seal under a new key. */
static int put(otok_service *service, struct attempt *a, otok_record *record, otok_error *err)
{
    otok_buf body;
    if (a->ip.len != 0)
        a->session.body.last_ip = a->ip;
    if (a->user_agent.len != 0)
        a->session.body.last_user_agent = a->user_agent;
    otok_buf_init(&body, NULL, 0);
    otok_seal_scope scope = otok_seal_scope_of(record);
    int rc = otok_body_print(&a->session.body, &scope, service->active->id, service->active->seal, &body, err);
    record->body = (otok_str){body.data, body.len};
    if (rc == OTOK_OK)
        rc = otok_service_write(service, OTOK_WRITE_PUT, a->session.record->version, record, err);
    otok_buf_free(&body);
    return rc;
}

static int commit(const struct refresh *r, struct attempt *a, otok_error *err)
{
    uint8_t head[OTOK_HEAD_SIZE];
    otok_record record = *a->session.record;
    otok_head_print(&a->head, head);
    record.head = (otok_str){head, sizeof head};
    record.version++;
    bool rested = a->now_us - a->session.head.refreshed_us >= a->rules.touch_us;
    if (a->session.seal_key_id != r->service->active->id || (rested && peer_is_new(a)))
        return put(r->service, a, &record, err);
    return otok_service_write(r->service, OTOK_WRITE_HEAD, a->session.record->version, &record, err);
}

/* ------------------------------------------------------------------------------------------------------------ events */

static otok_event event_of(const struct refresh *r, const struct attempt *a, int32_t type)
{
    return (otok_event){.type = type, .time_us = a->now_us, .ip = r->peer.ip, .user_agent = r->peer.user_agent};
}

/* What a thief who keeps the victim's rhythm cannot hide: where the retry comes from (T2). */
static uint32_t marks_of(const struct attempt *a)
{
    const otok_head *head = &a->session.head;
    uint32_t marks = 0;
    if (a->ip_mark != head->ip_mark)
        marks |= OTOK_EVENT_OTHER_IP;
    if (a->user_agent_mark != head->user_agent_mark)
        marks |= OTOK_EVENT_OTHER_USER_AGENT;
    return marks;
}

static void tell_rolled_back(const struct refresh *r, const struct attempt *a)
{
    otok_event event = event_of(r, a, OTOK_EVENT_STORE_ROLLED_BACK);
    event.distance = r->presented.token.generation - a->session.head.generation;
    event.generation = r->presented.token.generation;
    otok_event_send(r->service, &event, &a->session);
}

static void tell_answered(const struct refresh *r, const struct attempt *a)
{
    otok_event event = event_of(r, a, OTOK_EVENT_REFRESHED);
    if (a->decision == OTOK_ROTATION_RETRY) {
        event.type = OTOK_EVENT_RETRIED;
        event.marks = marks_of(a);
    }
    event.generation = a->head.generation;
    otok_event_send(r->service, &event, &a->session);
}

static void tell_refused(const struct refresh *r, const struct attempt *a, int reason)
{
    char id[OTOK_SESSION_ID_CHARS + 1];
    otok_event event = event_of(r, a, OTOK_EVENT_REFUSED);
    event.reason = reason;
    otok_session_id_print(&r->id, id);
    event.session_id = id;
    otok_event_send(r->service, &event, a->session.record != NULL ? &a->session : NULL);
}

/* ------------------------------------------------------------------------------------------------------------- reuse */

static int end_pair(const struct refresh *r, const struct attempt *a, otok_error *err)
{
    char subject[OTOK_MAX_NAME + 1] = "";
    otok_filter filter;
    otok_filter_init(&filter, sizeof filter);
    memcpy(subject, a->session.record->subject.data, a->session.record->subject.len);
    filter.subject = subject;
    filter.client_id = r->request.client_id;
    return otok_cutoff_set(r->service, &filter, OTOK_NOW, NULL, err);
}

/* An older token came back: either its holder or whoever holds the newer one stole it (RFC 9700 section 4.14).  What the policy
 * ends has been ended when this returns OTOK_E_TOKEN_REUSED. */
static int reuse(const struct refresh *r, struct attempt *a, otok_error *err)
{
    otok_event event = event_of(r, a, OTOK_EVENT_REUSE), ended = event_of(r, a, OTOK_EVENT_REVOKED);
    int rc = OTOK_OK;
    if (a->rules.reuse == OTOK_REUSE_END_SESSION)
        rc = otok_service_write(r->service, OTOK_WRITE_DELETE, a->session.record->version, a->session.record, err);
    else if (a->rules.reuse == OTOK_REUSE_END_PAIR)
        rc = end_pair(r, a, err);
    if (rc != OTOK_OK)
        return rc;
    event.distance = a->session.head.generation - r->presented.token.generation;
    otok_event_send(r->service, &event, &a->session);
    if (a->rules.reuse == OTOK_REUSE_END_SESSION) {
        ended.reason = OTOK_REVOKED_BY_REUSE;
        otok_event_send(r->service, &ended, &a->session);
    }
    return otok_fail(err, OTOK_E_TOKEN_REUSED, "the token was superseded");
}

/* ------------------------------------------------------------------------------------------------------- the attempt */

static int mint(const struct refresh *r, const struct attempt *a, otok_tokens **out, otok_error *err)
{
    otok_token token = r->presented.token;
    token.generation = a->head.generation;
    const otok_mint mint = {
        .session = &a->session,
        .rules = &a->rules,
        .token = &token,
        .scope = {a->scope.data, a->scope.len},
        .audience = a->audience,
        .audience_count = a->audience_count,
        .peer = &r->peer,
        .now_us = a->now_us,
        .idle_expires_us = otok_time_add(a->now_us, a->rules.idle_us),
        .max_expires_us = otok_time_add(a->session.body.started_us, a->rules.max_us),
        .outcome = a->decision == OTOK_ROTATION_ADVANCE ? OTOK_OUTCOME_ADVANCED
                   : a->decision == OTOK_ROTATION_RETRY ? OTOK_OUTCOME_RETRIED
                                                        : OTOK_OUTCOME_KEPT,
    };
    int rc = otok_tokens_mint(r->service, &mint, out, err);
    otok_wipe(&token, sizeof token);
    return rc;
}

static int answer(const struct refresh *r, struct attempt *a, otok_tokens **out, otok_error *err)
{
    int rc = otok_scope_narrow(a->session.body.scope, r->request.scope, &a->scope, err);
    if (rc == OTOK_OK)
        rc = narrow_audience(r, a, err);
    if (rc == OTOK_OK)
        rc = read_marks(a, err);
    if (rc != OTOK_OK)
        return rc;
    bool refuse = a->decision == OTOK_ROTATION_AHEAD && a->rules.ahead == OTOK_AHEAD_REFUSE;
    bool write = make_head(r, a);
    if (!refuse)
        rc = mint(r, a, out, err);
    if (rc == OTOK_OK && write)
        rc = commit(r, a, err);
    if (rc != OTOK_OK)
        return rc;
    if (write && a->decision == OTOK_ROTATION_AHEAD)
        tell_rolled_back(r, a);
    if (!refuse)
        tell_answered(r, a);
    return refuse ? otok_fail(err, OTOK_E_TOKEN_AHEAD,
                              "the token is from the future: the store was restored from an older backup")
                  : OTOK_OK;
}

static int decided(const struct refresh *r, struct attempt *a, otok_tokens **out, otok_error *err)
{
    switch (a->decision) {
    case OTOK_ROTATION_REUSE:
        return reuse(r, a, err);
    case OTOK_ROTATION_EXHAUSTED:
        return otok_fail(err, OTOK_E_TOKEN_RETRIES, "the token was superseded, and has been retried too often");
    default:
        return answer(r, a, out, err);
    }
}

static bool is_refusal(int code)
{
    return code <= OTOK_E_TOKEN_INVALID && code != OTOK_E_TOKEN_REUSED;
}

static int attempt(const struct refresh *r, otok_tokens **out, otok_error *err)
{
    struct attempt a = {0};
    otok_buf_init(&a.scope, NULL, 0);
    int rc = otok_session_load(r->service, &r->id, &a.session, err);
    if (rc == OTOK_E_NOT_FOUND)
        rc = otok_fail(err, OTOK_E_TOKEN_UNKNOWN, "the session of the token has ended");
    if (rc == OTOK_OK)
        rc = examine(r, &a, err);
    if (rc == OTOK_OK)
        rc = decided(r, &a, out, err);
    if (is_refusal(rc))
        tell_refused(r, &a, rc);
    if (rc != OTOK_OK) {
        otok_tokens_free(*out);
        *out = NULL;
    }
    otok_buf_free(&a.scope);
    otok_loaded_free(&a.session);
    return rc;
}

int otok_refresh(otok_service *service, const otok_refresh_request *request, otok_tokens **out, otok_error *err)
{
    struct refresh r = {.service = service};
    if (service == NULL || out == NULL)
        return otok_fail(err, OTOK_E_INVALID, "%s is required", service == NULL ? "service" : "out");
    *out = NULL;
    int rc = read_request(&r, request, err);
    if (rc == OTOK_OK)
        rc = otok_token_present(service, r.request.token, &r.presented, &r.id, err);
    if (rc == OTOK_OK) {
        otok_attempts attempts = otok_attempts_begin(service);
        do
            rc = attempt(&r, out, err);
        while (otok_attempts_again(&attempts, &rc, err));
    }
    otok_wipe(&r.presented, sizeof r.presented);
    return rc;
}
