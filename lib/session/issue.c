/*
 * issue.c - how a session begins (I2 to I6), and how the response that was lost is given again (I8).
 *
 * A new session, what it ends and what guards it are one commit; whoever loses a race reads everything again.
 *
 * SPDX-License-Identifier: MIT
 */
#include "session/birth.h"

static const char ONCE[] = "once"; /* the purpose of keys of issues */

/* One call, over all its attempts. */
struct issuing {
    otok_service *service;
    otok_grant grant;
    otok_peer peer;
    otok_id replaced; /* where grant.replaces is set */
    uint32_t attempt; /* 1, ... */
};

/* One attempt: what was read, and what is to be written. */
struct attempt {
    otok_rules rules;
    otok_birth birth;
    otok_once_use once;        /* of grant.once_key */
    otok_loaded found;         /* the session that came of it, or else the one to replace */
    otok_evictions *evictions; /* NULL: there is no limit */
    otok_mark_write guard;     /* of the limit */
    otok_once_write used;
    otok_answer answer;
};

static bool is_public(const struct issuing *i)
{
    return i->grant.client_type == OTOK_CLIENT_PUBLIC;
}

static bool is_owner(const struct issuing *i, const otok_record *record)
{
    return otok_str_eq(record->subject, otok_str_of(i->grant.subject)) &&
           otok_str_eq(record->client, otok_str_of(i->grant.client_id));
}

static otok_notice notice_of(const struct issuing *i, const struct attempt *a, int32_t type, int32_t reason,
                             const otok_loaded *session)
{
    return (otok_notice){
        .event = {.type = type,
                  .reason = reason,
                  .time_us = a->birth.now_us,
                  .ip = i->peer.ip,
                  .user_agent = i->peer.user_agent},
        .session = session,
    };
}

/* ---------------------------------------------------------------------------------------------------------- the answer */

static int mint(const struct issuing *i, const struct attempt *a, const otok_loaded *session, int32_t outcome,
                otok_tokens **out, otok_error *err)
{
    int64_t idle_expires_us = otok_time_add(session->head.refreshed_us, a->rules.idle_us);
    const otok_mint mint = {
        .session = session,
        .rules = &a->rules,
        .token = &a->birth.token,
        .answer = &a->answer,
        .peer = &i->peer,
        .nonce = i->grant.nonce,
        .now_us = a->birth.now_us,
        .idle_expires_us = otok_time_forward(idle_expires_us, a->birth.now_us),
        .max_expires_us = otok_time_add(session->body.started_us, a->rules.max_us),
        .outcome = outcome,
    };
    return otok_tokens_mint(i->service, &mint, out, err);
}

static int ask(const struct issuing *i, struct attempt *a, const otok_loaded *session, int32_t purpose, otok_error *err)
{
    const otok_asked asked = {
        .purpose = purpose,
        .attempt = i->attempt,
        .session = session,
        .rules = &a->rules,
        .now_us = a->birth.now_us,
        .scope = session->body.scope,
        .audience = session->body.audience,
        .audience_count = session->body.audience_count,
        .peer = &i->peer,
        .for_tokens = true,
    };
    return otok_ask_host(i->service, &asked, &a->answer, err);
}

/* ------------------------------------------------------------------------------------------------------- a new session */

/* With a key that is good for once, the handle follows from it: so the token can be made again, and is stored nowhere. */
static int draw_token(const struct issuing *i, otok_birth *birth, otok_error *err)
{
    const otok_realm_key *key = otok_service_now_keys(i->service)->active;
    birth->token = (otok_token){.key_id = key->id, .issued_ms = (uint64_t)(birth->now_us / OTOK_US_PER_MS)};
    if (i->grant.once_key != NULL)
        return otok_once_handle(key->once, i->grant.once_key, i->grant.client_id, birth->token.handle, err);
    return otok_random(birth->token.handle, sizeof birth->token.handle, err);
}

static int build(const struct issuing *i, struct attempt *a, otok_error *err)
{
    otok_birth *birth = &a->birth;
    int rc = draw_token(i, birth, err);
    birth->session.body.started_us = birth->now_us;
    /* An access token ends at a whole second: so does a session that ends with it. */
    if (birth->session.body.refresh_token == OTOK_OFF)
        birth->session.body.started_us -= birth->now_us % OTOK_US_PER_S;
    birth->session.head = (otok_head){.refreshed_us = birth->now_us};
    return rc == OTOK_OK ? otok_birth_build(i->service, i->grant.subject, i->grant.client_id, &a->rules, birth, err)
                         : rc;
}

static int find_replaced(const struct issuing *i, struct attempt *a, otok_error *err)
{
    if (i->grant.replaces == NULL)
        return OTOK_OK;
    int rc = otok_session_find(i->service, &i->replaced, &a->found, err);
    if (rc == OTOK_E_NOT_FOUND) /* it has ended already */
        return OTOK_OK;
    if (rc == OTOK_OK && !is_owner(i, a->found.record))
        rc = otok_fail(err, OTOK_E_INVALID, "grant.replaces is not a session of this subject with this client");
    return rc;
}

/* What stands in the way may be what the same key has just begun elsewhere: then that is the answer. */
static int look_once_more(const struct issuing *i, int limited, otok_error *err)
{
    otok_once_use use;
    otok_error reason;
    if (i->grant.once_key == NULL)
        return limited;
    int rc = otok_once_find(i->service, ONCE, i->grant.once_key, &use, &reason);
    bool used = rc == OTOK_OK && use.record != NULL;
    otok_once_free(&use);
    if (rc != OTOK_OK)
        return otok_error_set(err, rc, reason.system_errno, reason.message);
    return used ? otok_fail(err, OTOK_E_CONFLICT, "grant.once_key was used meanwhile") : limited;
}

/*
 * The mark was read with the birth, before the sessions are counted: whoever commits it as it was then counted them all (I4).  A
 * session without a refresh token is not one of them, and ends none.
 */
static int apply_limit(const struct issuing *i, struct attempt *a, otok_error *err)
{
    otok_scope_names names;
    const otok_mark *pair = &a->birth.session.pair;
    const otok_id *replaced = i->grant.replaces != NULL ? &i->replaced : NULL;
    if (a->rules.session_limit == OTOK_UNLIMITED || a->birth.session.body.refresh_token == OTOK_OFF)
        return OTOK_OK;
    a->evictions = otok_calloc(1, sizeof *a->evictions);
    if (a->evictions == NULL)
        return otok_fail(err, OTOK_E_NOMEM, "out of memory");
    int rc = otok_limit_apply(i->service, &a->birth.session, &a->rules, replaced, a->birth.now_us, a->evictions, err);
    if (rc == OTOK_E_LIMIT || (rc == OTOK_OK && a->evictions->n != 0))
        rc = look_once_more(i, rc, err);
    if (rc == OTOK_OK)
        rc = otok_names_of_pair(i->service, i->grant.subject, i->grant.client_id, &names, err);
    if (rc == OTOK_OK)
        rc = otok_mark_prepare(i->service, &names, pair, otok_mark_guard_us(i->service, pair), &a->guard, err);
    return rc;
}

static int remember_once(const struct issuing *i, struct attempt *a, otok_error *err)
{
    const otok_birth *birth = &a->birth;
    const otok_once once = {
        .key_id = birth->token.key_id,
        .session = birth->record.id,
        .used_us = birth->now_us,
        .ends_us = otok_time_add(birth->now_us, a->rules.once_window_us),
    };
    if (i->grant.once_key == NULL)
        return OTOK_OK;
    int64_t keep_until_us = otok_time_add(birth->now_us, a->rules.once_keep_us);
    return otok_once_prepare(i->service, &a->once.id, &once, birth->record.subject, birth->record.client, keep_until_us,
                             &a->used, err);
}

/* What is one commit. */
struct changes {
    otok_write writes[OTOK_CHANGE_WRITES];
    otok_notice notices[OTOK_EVICT_MOST + 2];
    otok_change change;
};

static void add_end(struct changes *c, const otok_loaded *session, otok_notice notice)
{
    c->writes[c->change.nwrites++] = (otok_write){OTOK_WRITE_DELETE, session->record->version, session->record};
    c->notices[c->change.nnotices++] = notice;
}

static int commit(const struct issuing *i, const struct attempt *a, otok_error *err)
{
    struct changes c;
    c.change = (otok_change){.writes = c.writes, .notices = c.notices};
    for (size_t k = 0; a->evictions != NULL && k < a->evictions->n; k++) {
        const otok_loaded *oldest = &a->evictions->sessions[k];
        add_end(&c, oldest, notice_of(i, a, OTOK_EVENT_EVICTED, 0, oldest));
    }
    if (a->found.record != NULL)
        add_end(&c, &a->found, notice_of(i, a, OTOK_EVENT_REVOKED, OTOK_REVOKED_BY_REPLACEMENT, &a->found));
    c.writes[c.change.nwrites++] = (otok_write){OTOK_WRITE_INSERT, 0, &a->birth.record};
    c.notices[c.change.nnotices++] = notice_of(i, a, OTOK_EVENT_ISSUED, 0, &a->birth.session);
    if (i->grant.once_key != NULL)
        c.writes[c.change.nwrites++] = a->used.write;
    if (a->evictions != NULL)
        c.writes[c.change.nwrites++] = a->guard.write;
    return otok_change_commit(i->service, &c.change, err);
}

static int begin(const struct issuing *i, struct attempt *a, otok_tokens **out, otok_error *err)
{
    int rc = build(i, a, err);
    if (rc == OTOK_OK)
        rc = find_replaced(i, a, err);
    if (rc == OTOK_OK)
        rc = apply_limit(i, a, err);
    if (rc == OTOK_OK)
        rc = remember_once(i, a, err);
    if (rc == OTOK_OK)
        rc = ask(i, a, &a->birth.session, OTOK_PURPOSE_ISSUE, err);
    if (rc == OTOK_OK)
        rc = mint(i, a, &a->birth.session, OTOK_OUTCOME_ISSUED, out, err);
    return rc == OTOK_OK ? commit(i, a, err) : rc; /* minted before, returned after: what is returned is durable (R7) */
}

/* ------------------------------------------------------------------------------------------- a key that was used before */

static int refuse(otok_error *err)
{
    return otok_fail(err, OTOK_E_ONCE, "what the grant came from was used before: grant.once_key");
}

/* It came back when it was not good any more: either its holder or who redeemed it had stolen it (RFC 6749 section 4.1.2). */
static int end_replayed(const struct issuing *i, struct attempt *a, otok_error *err)
{
    if (!a->rules.once_ends_session)
        return refuse(err);
    otok_loaded_free(&a->found);
    int rc = otok_session_find(i->service, &a->once.once.session, &a->found, err);
    if (rc == OTOK_OK) /* the wrong key ends nothing */
        rc = otok_binding_check(&a->found.body, &i->peer, true, err);
    if (rc == OTOK_OK && is_owner(i, a->found.record))
        rc = otok_session_remove(i->service, &a->found, OTOK_REVOKED_BY_ONCE, &i->peer, err);
    return rc == OTOK_OK || rc == OTOK_E_NOT_FOUND ? refuse(err) : rc;
}

/* Whether the session is as it was issued. */
static bool is_untouched(const struct attempt *a)
{
    const otok_loaded *session = &a->found;
    return session->head.generation == 0 &&
           otok_loaded_lifetime(session, &a->rules, a->birth.now_us).verdict == OTOK_OK;
}

static int load_again(const struct issuing *i, struct attempt *a, otok_error *err)
{
    int rc = otok_session_load(i->service, &a->once.once.session, &a->found, err);
    if (rc == OTOK_OK && !is_owner(i, a->found.record))
        rc = otok_fail(err, OTOK_E_TAMPERED, "the record of grant.once_key was changed by someone else");
    if (rc == OTOK_OK)
        rc = otok_once_token(i->service, &a->once, i->grant.once_key, i->grant.client_id, &a->birth.token, err);
    /* It has ended; or its key has, and its token with it. */
    return rc == OTOK_E_NOT_FOUND || rc == OTOK_E_KEY ? refuse(err) : rc;
}

static int ask_again(const struct issuing *i, struct attempt *a, otok_error *err)
{
    int rc = ask(i, a, &a->found, OTOK_PURPOSE_RETRY, err);
    if (rc == OTOK_OK || !a->answer.ends_session)
        return rc;
    int ended = otok_session_remove(i->service, &a->found, OTOK_REVOKED_BY_HOST, &i->peer, err);
    return ended == OTOK_OK ? rc : ended;
}

/* From where else it came than the first time is told as it is of a refresh (T2). */
static void tell_retried(const struct issuing *i, const struct attempt *a)
{
    const otok_body *then = &a->found.body, *now = &a->birth.session.body;
    otok_notice notice = notice_of(i, a, OTOK_EVENT_RETRIED, 0, &a->found);
    if (!otok_str_eq(then->start_ip, now->start_ip))
        notice.event.marks |= OTOK_EVENT_OTHER_IP;
    if (!otok_str_eq(then->start_user_agent, now->start_user_agent))
        notice.event.marks |= OTOK_EVENT_OTHER_USER_AGENT;
    otok_notice_send(i->service, &notice, NULL);
}

/* The same session and the same token, and nothing is written (I8). */
static int answer_again(const struct issuing *i, struct attempt *a, otok_tokens **out, otok_error *err)
{
    if (!is_owner(i, a->once.record)) /* who has someone else's key must not be able to end anything with it */
        return refuse(err);
    if (a->birth.now_us >= a->once.once.ends_us)
        return end_replayed(i, a, err);
    int rc = load_again(i, a, err);
    if (rc == OTOK_OK)
        rc = otok_loaded_rules(i->service, &a->found, is_public(i), &a->rules, err);
    if (rc == OTOK_OK)
        rc = otok_binding_check(&a->found.body, &i->peer, true, err);
    if (rc == OTOK_OK && !is_untouched(a))
        return end_replayed(i, a, err);
    if (rc == OTOK_OK)
        rc = ask_again(i, a, err);
    if (rc == OTOK_OK)
        rc = mint(i, a, &a->found, OTOK_OUTCOME_RETRIED, out, err);
    if (rc == OTOK_OK)
        tell_retried(i, a);
    return rc;
}

/* --------------------------------------------------------------------------------------------------------- the attempt */

/* Without a refresh token a session lives as long as its first access token, of which there must be one. */
static int limit_to_access_token(struct attempt *a, otok_error *err)
{
    otok_rules *rules = &a->rules;
    otok_body *body = &a->birth.session.body;
    if (body->refresh_token != OTOK_OFF)
        return OTOK_OK;
    if (!rules->access_token)
        return otok_fail(err, OTOK_E_INVALID, "grant.refresh_token is off, and policy.access_token too");
    int64_t life_us = rules->access_token_us;
    life_us = life_us < rules->idle_us ? life_us : rules->idle_us;
    life_us = life_us < rules->max_us ? life_us : rules->max_us;
    body->max_lifetime_s = life_us / OTOK_US_PER_S;
    otok_rules_tighten(rules, 0, body->max_lifetime_s);
    return OTOK_OK;
}

static int read_grant(const struct issuing *i, struct attempt *a, otok_error *err)
{
    const otok_grant *grant = &i->grant;
    int rc = otok_service_rules(i->service, grant->client_id, is_public(i), (uint8_t)grant->binding, &a->rules, err);
    if (rc == OTOK_OK)
        rc = otok_rules_admit(&a->rules, err);
    if (rc == OTOK_OK)
        rc = otok_grant_read(grant, &i->peer, a->rules.overlong, &a->birth.scope, &a->birth.session.body, err);
    if (rc != OTOK_OK)
        return rc;
    otok_rules_tighten(&a->rules, grant->idle_timeout_s, grant->max_lifetime_s);
    return limit_to_access_token(a, err);
}

static void free_attempt(struct attempt *a)
{
    otok_answer_free(&a->answer);
    otok_mark_write_free(&a->guard);
    if (a->evictions != NULL)
        otok_evictions_free(a->evictions);
    otok_free(a->evictions);
    otok_loaded_free(&a->found);
    otok_once_free(&a->once);
    otok_birth_free(&a->birth);
}

static int attempt(const struct issuing *i, otok_tokens **out, otok_error *err)
{
    struct attempt a = {0};
    otok_birth_init(&a.birth);
    int rc = read_grant(i, &a, err);
    if (rc == OTOK_OK && i->grant.once_key != NULL)
        rc = otok_once_find(i->service, ONCE, i->grant.once_key, &a.once, err);
    a.birth.now_us = otok_service_now(i->service);
    if (rc == OTOK_OK)
        rc = a.once.record != NULL ? answer_again(i, &a, out, err) : begin(i, &a, out, err);
    if (rc != OTOK_OK) {
        otok_tokens_free(*out);
        *out = NULL;
    }
    free_attempt(&a);
    return rc;
}

static int read_request(struct issuing *i, const otok_grant *in, otok_error *err)
{
    otok_grant *grant = &i->grant;
    int rc = otok_struct_read(grant, sizeof *grant, in, sizeof(size_t) + 3 * sizeof(char *), "otok_grant", err);
    if (rc == OTOK_OK)
        rc = otok_grant_check(grant, err);
    if (rc == OTOK_OK && grant->replaces != NULL)
        (void)otok_session_id_parse(grant->replaces, &i->replaced); /* its form was checked with the grant */
    return rc == OTOK_OK ? otok_peer_read(grant->peer, &i->peer, err) : rc;
}

int otok_issue(otok_service *service, const otok_grant *grant, otok_tokens **out, otok_error *err)
{
    struct issuing i = {.service = service};
    if (service == NULL || out == NULL)
        return otok_fail(err, OTOK_E_INVALID, "%s is required", service == NULL ? "service" : "out");
    *out = NULL;
    int rc = read_request(&i, grant, err);
    if (rc != OTOK_OK)
        return rc;
    otok_attempts attempts = otok_attempts_begin(service);
    do {
        i.attempt++;
        rc = attempt(&i, out, err);
    } while (otok_attempts_again(&attempts, &rc, err));
    return rc;
}
