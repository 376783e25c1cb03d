/*
 * refresh.c - the way of one refresh: parse, MAC, load, check, decide, ask the host, mint, commit, tell.
 *
 * Checks run cheapest first and nothing is written until all have passed (R1).  Whoever loses a race starts again from what the
 * winner wrote, and then finds that it is a retry (R6).
 *
 * SPDX-License-Identifier: MIT
 */
#include "session/refresh.h"

#include <string.h>

enum { NAME_BOUND = 255, SCOPE_BOUND = 4096 };

void otok_refresh_request_init(otok_refresh_request *request, size_t size)
{
    otok_struct_init(request, size);
}

/* ----------------------------------------------------------------------------------------------- before the store */

static int read_request(otok_refreshing *r, const otok_refresh_request *in, otok_error *err)
{
    int rc = otok_struct_read(&r->request, sizeof r->request, in, sizeof(size_t) + 2 * sizeof(char *),
                              "otok_refresh_request", err);
    if (rc != OTOK_OK)
        return rc;
    if (r->request.token == NULL)
        return otok_fail(err, OTOK_E_INVALID, "request.token is required");
    rc = otok_text_check(r->request.client_id, NAME_BOUND, true, "request.client_id", NULL, err);
    if (rc == OTOK_OK)
        rc = otok_text_check(r->request.scope, SCOPE_BOUND, false, "request.scope", NULL, err);
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
    const otok_realm_key *key;
    int rc = otok_service_key(service, out->token.key_id, &key, err);
    if (rc != OTOK_OK)
        return rc;
    if (key == NULL)
        return otok_fail(err, OTOK_E_TOKEN_INVALID, "the token is under a key that is not in the keyring");
    rc = otok_token_verify(out, key->token, err);
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
static int narrow_audience(const otok_refreshing *r, otok_attempt *a, otok_error *err)
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

static int check_life(const otok_refreshing *r, otok_attempt *a, otok_error *err)
{
    bool is_public = r->request.client_type == OTOK_CLIENT_PUBLIC;
    int rc = otok_loaded_rules(r->service, &a->session, is_public, &a->rules, err);
    if (rc == OTOK_OK)
        rc = otok_rules_admit(&a->rules, err);
    if (rc != OTOK_OK)
        return rc;
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

/* Everything up to the decision; what it refuses leaves the token unconsumed and is never taken for reuse (R2). */
static int examine(const otok_refreshing *r, otok_attempt *a, otok_error *err)
{
    if (!otok_str_eq(a->session.record->client, otok_str_of(r->request.client_id)))
        return otok_fail(err, OTOK_E_CLIENT_MISMATCH, "the token is another client's");
    int rc = check_life(r, a, err);
    if (rc == OTOK_OK)
        rc = otok_binding_check(&a->session.body, &r->peer, true, err);
    if (rc == OTOK_OK && r->on_owner != NULL)
        rc = r->on_owner(r->on_owner_arg, &(otok_owner){a->session.record->subject, a->session.record->client},
                         &a->rules, a->now_us, err);
    if (rc == OTOK_OK)
        rc = otok_peer_texts(&r->peer, a->rules.overlong, &a->ip, &a->user_agent, err);
    if (rc == OTOK_OK)
        a->decision = otok_rotation_of(&a->session, &a->rules, r->presented.token.generation, a->now_us);
    return rc;
}

/* ------------------------------------------------------------------------------------------------------------ commit */

static bool peer_is_new(const otok_attempt *a)
{
    const otok_body *body = &a->session.body;
    otok_str last_ip = body->last_ip.len != 0 ? body->last_ip : body->start_ip;
    otok_str last_user_agent = body->last_user_agent.len != 0 ? body->last_user_agent : body->start_user_agent;
    return (a->ip.len != 0 && !otok_str_eq(a->ip, last_ip)) ||
           (a->user_agent.len != 0 && !otok_str_eq(a->user_agent, last_user_agent));
}

/* Where the session is used from goes with a whole write, at most once a touch interval; so does a seal under a new key. */
static int print_body(otok_service *service, otok_attempt *a, otok_record *record, otok_buf *body, otok_error *err)
{
    const otok_realm_key *key = otok_service_now_keys(service)->active;
    if (a->ip.len != 0)
        a->session.body.last_ip = a->ip;
    if (a->user_agent.len != 0)
        a->session.body.last_user_agent = a->user_agent;
    otok_seal_scope scope = otok_seal_scope_of(record);
    int rc = otok_body_print(&a->session.body, &scope, key->id, key->seal, body, err);
    record->body = (otok_str){body->data, body->len};
    return rc;
}

bool otok_binds_to_key(const otok_refreshing *r, const otok_body *body)
{
    bool is_free = body->binding == OTOK_BINDING_NONE || body->binding == OTOK_BINDING_DPOP;
    return r->request.client_type == OTOK_CLIENT_PUBLIC && r->peer.jkt != NULL && is_free;
}

void otok_bind_to_key(const otok_refreshing *r, otok_body *body)
{
    size_t size = sizeof body->thumbprint;
    body->binding = OTOK_BINDING_JKT;
    (void)otok_unbase64url(r->peer.jkt, strlen(r->peer.jkt), body->thumbprint, &size); /* checked with the peer */
}

/* Fills in a->change: the new head, or the whole record; `notice`, where there is one, is told with it. */
static int prepare_write(const otok_refreshing *r, otok_attempt *a, const otok_notice *notice, otok_error *err)
{
    bool rested = a->now_us - a->session.head.refreshed_us >= a->rules.touch_us;
    bool binds = a->decision == OTOK_ROTATION_ADVANCE && otok_binds_to_key(r, &a->session.body);
    otok_head_print(&a->head, a->printed_head);
    a->record = *a->session.record;
    a->record.head = (otok_str){a->printed_head, sizeof a->printed_head};
    a->record.version++;
    a->write = (otok_write){OTOK_WRITE_HEAD, a->session.record->version, &a->record};
    a->change = (otok_change){.writes = &a->write, .nwrites = 1};
    if (notice != NULL) {
        a->notice = *notice;
        a->change.notices = &a->notice;
        a->change.nnotices = 1;
    }
    bool resealed = a->session.seal_key_id != otok_service_now_keys(r->service)->active->id;
    if (!binds && !resealed && !(rested && peer_is_new(a)))
        return OTOK_OK;
    if (binds)
        otok_bind_to_key(r, &a->session.body);
    a->write.op = OTOK_WRITE_PUT;
    return print_body(r->service, a, &a->record, &a->printed_body, err);
}

/* ------------------------------------------------------------------------------------------------------------ events */

static otok_notice notice_of(const otok_refreshing *r, const otok_attempt *a, int32_t type)
{
    return (otok_notice){
        {.type = type, .time_us = a->now_us, .ip = r->peer.ip, .user_agent = r->peer.user_agent},
        a->session.record != NULL ? &a->session : NULL,
    };
}

/* What a thief who keeps the victim's rhythm cannot hide: where the retry comes from (T2). */
static uint32_t marks_of(const otok_attempt *a)
{
    const otok_head *head = &a->session.head;
    uint32_t marks = 0;
    if (a->ip_mark != head->ip_mark)
        marks |= OTOK_EVENT_OTHER_IP;
    if (a->user_agent_mark != head->user_agent_mark)
        marks |= OTOK_EVENT_OTHER_USER_AGENT;
    return marks;
}

static otok_notice answered(const otok_refreshing *r, const otok_attempt *a)
{
    bool retried = a->decision == OTOK_ROTATION_RETRY;
    otok_notice notice = notice_of(r, a, retried ? OTOK_EVENT_RETRIED : OTOK_EVENT_REFRESHED);
    notice.event.marks = retried ? marks_of(a) : 0;
    notice.event.generation = a->head.generation;
    return notice;
}

static otok_notice rolled_back(const otok_refreshing *r, const otok_attempt *a)
{
    otok_notice notice = notice_of(r, a, OTOK_EVENT_STORE_ROLLED_BACK);
    notice.event.distance = r->presented.token.generation - a->session.head.generation;
    notice.event.generation = r->presented.token.generation;
    return notice;
}

static void tell_refused(const otok_refreshing *r, const otok_attempt *a, int reason)
{
    static const otok_id none;
    char id[OTOK_SESSION_ID_CHARS + 1];
    otok_notice notice = notice_of(r, a, OTOK_EVENT_REFUSED);
    notice.event.reason = reason;
    otok_session_id_print(&r->id, id);
    notice.event.session_id = otok_id_compare(&r->id, &none) != 0 ? id : NULL; /* of a token that was never adopted */
    otok_notice_send(r->service, &notice, NULL);
}

/* ------------------------------------------------------------------------------------------------------------- reuse */

static int end_session(const otok_refreshing *r, const otok_attempt *a, const otok_notice *reused, otok_error *err)
{
    const otok_write write = {OTOK_WRITE_DELETE, a->session.record->version, a->session.record};
    otok_notice notices[2] = {*reused, notice_of(r, a, OTOK_EVENT_REVOKED)};
    otok_change change = {.writes = &write, .nwrites = 1, .notices = notices, .nnotices = 2};
    notices[1].event.reason = OTOK_REVOKED_BY_REUSE;
    return otok_change_commit(r->service, &change, err);
}

static int end_pair(const otok_refreshing *r, const otok_attempt *a, const otok_notice *reused, otok_error *err)
{
    char subject[OTOK_MAX_NAME + 1] = "";
    otok_scope_names names;
    otok_mark_head cutoffs;
    const otok_cutoff_move move = {.at_us = OTOK_NOW, .notice = reused};
    memcpy(subject, a->session.record->subject.data, a->session.record->subject.len);
    int rc = otok_names_of_pair(r->service, subject, r->request.client_id, &names, err);
    return rc == OTOK_OK ? otok_cutoff_do(r->service, &names, &move, &cutoffs, err) : rc;
}

/* An older token came back: either its holder or whoever holds the newer one stole it (RFC 9700 section 4.14).  What the policy
 * ends has been ended when this returns OTOK_E_TOKEN_REUSED. */
static int reuse(const otok_refreshing *r, const otok_attempt *a, otok_error *err)
{
    otok_notice reused = notice_of(r, a, OTOK_EVENT_REUSE);
    reused.event.distance = a->session.head.generation - r->presented.token.generation;
    int rc = OTOK_OK;
    if (a->rules.reuse == OTOK_REUSE_END_SESSION)
        rc = end_session(r, a, &reused, err);
    else if (a->rules.reuse == OTOK_REUSE_END_PAIR)
        rc = end_pair(r, a, &reused, err);
    else
        otok_notice_send(r->service, &reused, NULL);
    return rc == OTOK_OK ? otok_fail(err, OTOK_E_TOKEN_REUSED, "the token was superseded") : rc;
}

/* ------------------------------------------------------------------------------------------------------- the attempt */

static int ask_host(const otok_refreshing *r, otok_attempt *a, otok_error *err)
{
    const otok_asked asked = {
        .purpose = a->decision == OTOK_ROTATION_RETRY ? OTOK_PURPOSE_RETRY : OTOK_PURPOSE_REFRESH,
        .attempt = r->attempt,
        .session = &a->session,
        .rules = &a->rules,
        .now_us = a->now_us,
        .scope = {a->scope.data, a->scope.len},
        .audience = a->audience,
        .audience_count = a->audience_count,
        .peer = &r->peer,
        .for_tokens = true,
    };
    return otok_ask_host(r->service, &asked, &a->answer, err);
}

int otok_attempt_compose(const otok_refreshing *r, otok_attempt *a, otok_error *err)
{
    int rc = otok_scope_narrow(a->session.body.scope, r->request.scope, &a->scope, err);
    if (rc == OTOK_OK)
        rc = narrow_audience(r, a, err);
    if (rc == OTOK_OK)
        rc = otok_consent_check(&a->session, &a->rules, (otok_str){a->scope.data, a->scope.len}, err);
    return rc == OTOK_OK ? ask_host(r, a, err) : rc;
}

int otok_attempt_mint(const otok_refreshing *r, const otok_attempt *a, const otok_token *token, int32_t outcome,
                      otok_tokens **out, otok_error *err)
{
    bool is_same = r->adoption == NULL && token->generation == r->presented.token.generation;
    const otok_mint mint = {
        .session = &a->session,
        .rules = &a->rules,
        .token = token,
        .presented = is_same ? r->request.token : NULL,
        .answer = &a->answer,
        .peer = &r->peer,
        .now_us = a->now_us,
        .idle_expires_us = otok_time_add(a->now_us, a->rules.idle_us),
        .max_expires_us = otok_time_add(a->session.body.started_us, a->rules.max_us),
        .outcome = outcome,
    };
    otok_error why = {0};
    int rc = otok_tokens_mint(r->service, &mint, out, &why);
    if (rc == OTOK_E_INVALID) /* its claims are too many: those of the host, and no fault of who asks */
        rc = otok_fail(err, OTOK_E_CALLBACK, "%s", why.message);
    else if (rc != OTOK_OK)
        rc = otok_error_set(err, rc, why.system_errno, why.message);
    return rc;
}

static int mint(const otok_refreshing *r, const otok_attempt *a, otok_tokens **out, otok_error *err)
{
    otok_token token = r->presented.token;
    token.generation = a->head.generation;
    int32_t outcome = a->decision == OTOK_ROTATION_ADVANCE ? OTOK_OUTCOME_ADVANCED
                      : a->decision == OTOK_ROTATION_RETRY ? OTOK_OUTCOME_RETRIED
                                                           : OTOK_OUTCOME_KEPT;
    int rc = otok_attempt_mint(r, a, &token, outcome, out, err);
    otok_wipe(&token, sizeof token);
    return rc;
}

/* The session moves up to the token, which is refused all the same. */
static int refuse_ahead(const otok_refreshing *r, otok_attempt *a, otok_error *err)
{
    int rc = OTOK_OK;
    if (otok_attempt_make_head(r, a)) {
        const otok_notice notice = rolled_back(r, a);
        rc = prepare_write(r, a, &notice, err);
        if (rc == OTOK_OK)
            rc = otok_change_commit(r->service, &a->change, err);
    }
    return rc == OTOK_OK ? otok_fail(err, OTOK_E_TOKEN_AHEAD,
                                     "the token is from the future: the store was restored from an older backup")
                         : rc;
}

/* What goes with the write in the outbox is what changes the session; the rest is told beside it. */
static int answer(const otok_refreshing *r, otok_attempt *a, otok_tokens **out, otok_error *err)
{
    int rc = otok_attempt_read_marks(a, err);
    if (rc != OTOK_OK)
        return rc;
    a->writes = otok_attempt_make_head(r, a);
    rc = mint(r, a, out, err);
    if (rc != OTOK_OK || !a->writes)
        return rc;
    const otok_notice told = a->decision == OTOK_ROTATION_AHEAD ? rolled_back(r, a) : answered(r, a);
    bool changes = a->decision == OTOK_ROTATION_ADVANCE || a->decision == OTOK_ROTATION_AHEAD;
    return prepare_write(r, a, changes ? &told : NULL, err);
}

/* The answer is on its way: what was written, if anything, is durable. */
static void tell_answered(const otok_refreshing *r, const otok_attempt *a)
{
    bool rotated = a->decision == OTOK_ROTATION_ADVANCE;
    if (rotated)
        otok_count_one(r->service, OTOK_COUNT_ROTATED);
    if (rotated && a->writes) /* which was told with the write */
        return;
    const otok_notice told = answered(r, a);
    otok_notice_send(r->service, &told, NULL);
}

static int decided(const otok_refreshing *r, otok_attempt *a, otok_tokens **out, otok_error *err)
{
    int rc;
    switch (a->decision) {
    case OTOK_ROTATION_REUSE:
        return reuse(r, a, err);
    case OTOK_ROTATION_EXHAUSTED:
        return otok_fail(err, OTOK_E_TOKEN_RETRIES, "the token was superseded, and has been retried too often");
    default:
        rc = otok_attempt_compose(r, a, err);
        if (rc != OTOK_OK)
            return rc;
        return a->decision == OTOK_ROTATION_AHEAD && a->rules.ahead == OTOK_AHEAD_REFUSE ? refuse_ahead(r, a, err)
                                                                                         : answer(r, a, out, err);
    }
}

/* The host said no, and that the session is to end. */
static int end_refused(const otok_refreshing *r, const otok_attempt *a, int refusal, otok_error *err)
{
    otok_error why;
    int rc = otok_session_remove(r->service, &a->session, OTOK_REVOKED_BY_HOST, &r->peer, &why);
    return rc == OTOK_OK ? refusal : otok_error_set(err, rc, why.system_errno, why.message);
}

static bool is_refusal(int code)
{
    return code <= OTOK_E_TOKEN_INVALID && code != OTOK_E_TOKEN_REUSED;
}

/* A token of this library, or of another system whose session was adopted before. */
static int refresh_known(const otok_refreshing *r, otok_attempt *a, otok_tokens **out, otok_error *err)
{
    int rc = otok_session_load(r->service, &r->id, &a->session, err);
    if (rc == OTOK_E_NOT_FOUND)
        rc = otok_fail(err, OTOK_E_TOKEN_UNKNOWN, "the session of the token has ended");
    if (rc == OTOK_OK)
        rc = otok_loaded_has_token(&a->session, err);
    if (rc == OTOK_OK)
        rc = examine(r, a, err);
    if (rc == OTOK_OK)
        rc = decided(r, a, out, err);
    if (rc != OTOK_OK && a->answer.ends_session)
        rc = end_refused(r, a, rc, err);
    return rc;
}

int otok_attempt_find(otok_refreshing *r, otok_attempt *a, otok_error *err)
{
    bool adopted = true;
    *a = (otok_attempt){0};
    otok_buf_init(&a->scope, NULL, 0);
    otok_buf_init(&a->printed_body, NULL, 0);
    int rc = r->adoption != NULL ? otok_adoption_find(r, &adopted, err) : OTOK_OK;
    a->adopts = !adopted;
    return rc;
}

int otok_attempt_begin(otok_refreshing *r, otok_attempt *a, otok_tokens **out, otok_error *err)
{
    r->attempt++;
    return a->adopts ? otok_adopt(r, a, out, err) : refresh_known(r, a, out, err);
}

int otok_attempt_end(const otok_refreshing *r, otok_attempt *a, int rc, otok_tokens **out)
{
    if (rc == OTOK_OK && !a->adopts)
        tell_answered(r, a);
    if (is_refusal(rc))
        tell_refused(r, a, rc);
    if (rc != OTOK_OK) {
        otok_tokens_free(*out);
        *out = NULL;
    }
    otok_answer_free(&a->answer);
    otok_buf_free(&a->scope);
    otok_buf_free(&a->printed_body);
    otok_loaded_free(&a->session);
    return rc;
}

static int attempt(otok_refreshing *r, otok_tokens **out, otok_error *err)
{
    otok_attempt a;
    int rc = otok_attempt_find(r, &a, err);
    if (rc == OTOK_OK)
        rc = otok_attempt_begin(r, &a, out, err);
    if (rc == OTOK_OK && a.writes)
        rc = otok_change_commit(r->service, &a.change, err);
    return otok_attempt_end(r, &a, rc, out);
}

/* ------------------------------------------------------------------------------------------------------- the request */

int otok_refreshing_begin(otok_refreshing *r, const otok_refresh_request *request, otok_error *err)
{
    int rc = read_request(r, request, err);
    if (rc != OTOK_OK)
        return rc;
    rc = otok_token_present(r->service, r->request.token, &r->presented, &r->id, err);
    if (rc == OTOK_E_TOKEN_INVALID) { /* not ours: perhaps it is of the system before */
        rc = otok_adoption_ask(r->service, r->request.token, r->request.client_id, &r->legacy, err);
        r->adoption = &r->legacy;
        if (rc == OTOK_E_TOKEN_INVALID)
            otok_count_one(r->service, OTOK_COUNT_FORGED);
    }
    return rc;
}

void otok_refreshing_end(otok_refreshing *r)
{
    otok_adoption_free(&r->legacy);
    otok_wipe(&r->presented, sizeof r->presented);
}

int otok_refresh_with(otok_service *service, const otok_refresh_request *request, otok_on_owner on_owner, void *arg,
                      otok_tokens **out, otok_error *err)
{
    otok_refreshing r = {.service = service, .on_owner = on_owner, .on_owner_arg = arg};
    if (service == NULL || out == NULL)
        return otok_fail(err, OTOK_E_INVALID, "%s is required", service == NULL ? "service" : "out");
    *out = NULL;
    int rc = otok_refreshing_begin(&r, request, err);
    if (rc == OTOK_OK) {
        otok_attempts attempts = otok_attempts_begin(service);
        do
            rc = attempt(&r, out, err);
        while (otok_attempts_again(&attempts, &rc, err));
    }
    otok_refreshing_end(&r);
    return rc;
}

int otok_refresh(otok_service *service, const otok_refresh_request *request, otok_tokens **out, otok_error *err)
{
    return otok_refresh_with(service, request, NULL, NULL, out, err);
}
