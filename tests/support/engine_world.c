/*
 * engine_world.c - the world of engine.h: what is opened, whose everything is, and how each operation is asked for.
 *
 * SPDX-License-Identifier: MIT
 */
#include <stdio.h>
#include <string.h>

#include "support/engine_parts.h"

const char *const engine_sids[ENGINE_SIDS] = {"web-0", "web-1", "web-2"};
const char *const engine_consents[ENGINE_SCOPES + 1] = {"", "offline_access", "offline_access profile", "openid"};

enum { DAY_S = 86400, LEGACY_LIFE_S = 1800, MARGIN_S = 20, OUTBOX_LIMIT = 100000 };

/* -------------------------------------------------------------------------------------------------------- opening */

static int64_t shared_now(void *user)
{
    engine_shared *shared = user;
    return shared->ticks ? atomic_fetch_add(&shared->now_us, OTOK_US_PER_MS) : atomic_load(&shared->now_us);
}

static int open_service(const engine_setting *setting, engine_open *out, otok_keyring *keyring, otok_error *err)
{
    otok_config config;
    otok_policy policy;
    otok_callbacks callbacks;
    otok_policy_init(&policy, sizeof policy);
    policy.rotation = OTOK_ROTATION_AUTO;
    policy.retry_window_s = 10;
    policy.session_limit = ENGINE_LIMIT;
    policy.at_session_limit = OTOK_AT_LIMIT_EVICT;
    policy.access_token = OTOK_OFF;
    policy.once_window_s = DAY_S;
    otok_callbacks_init(&callbacks, sizeof callbacks);
    callbacks.now = shared_now;
    callbacks.adopt = engine_legacy_adopt;
    otok_config_init(&config, sizeof config);
    config.issuer = "https://id.example.org";
    config.policy = &policy;
    config.callbacks = &callbacks;
    config.user = setting->shared;
    config.outbox_limit = OUTBOX_LIMIT;
    return otok_service_open(&config, out->store, keyring, &out->service, err);
}

/* The judge's own commits need not be on the disk: it is not killed. */
static int open_store(const engine_setting *setting, engine_open *out, otok_error *err)
{
    otok_lmdb_options options;
    otok_store *lmdb;
    otok_lmdb_options_init(&options, sizeof options);
    options.no_sync = setting->is_judge;
    int rc = otok_store_open_lmdb(setting->folder, &options, &lmdb, err);
    if (rc != OTOK_OK)
        return rc;
    out->store = lmdb;
    return setting->fault != ENGINE_SOUND ? engine_store_faulty(lmdb, setting->fault, &out->store, err) : OTOK_OK;
}

int engine_open_all(const engine_setting *setting, engine_open *out, otok_error *err)
{
    otok_keyring *keyring;
    *out = (engine_open){.setting = setting};
    int rc = otok_keyring_load(setting->keys, NULL, &keyring, err);
    if (rc != OTOK_OK)
        return rc;
    rc = open_store(setting, out, err);
    if (rc == OTOK_OK)
        rc = open_service(setting, out, keyring, err);
    otok_keyring_free(keyring);
    return rc;
}

void engine_close_all(engine_open *open)
{
    otok_service_close(open->service);
    otok_store_close(open->store);
    open->service = NULL;
    open->store = NULL;
}

/* ------------------------------------------------------------------------------------------------------ whose it is */

engine_scope engine_nobody(void)
{
    return (engine_scope){.subject = ENGINE_ANY,
                          .client = ENGINE_ANY,
                          .sid = ENGINE_NOBODY,
                          .once = ENGINE_NOBODY,
                          .legacy = ENGINE_NOBODY};
}

engine_scope engine_once_scope(int64_t n)
{
    engine_scope scope = engine_nobody();
    scope.subject = (uint8_t)(n % ENGINE_SUBJECTS);
    scope.client = (uint8_t)(n / ENGINE_SUBJECTS % ENGINE_CLIENTS);
    scope.session_kind = n / ENGINE_PAIRS % 2 == 0 ? OTOK_SESSION_OFFLINE : OTOK_SESSION_LOGIN;
    scope.sid = (int32_t)(n % ENGINE_SIDS);
    scope.once = n;
    return scope;
}

engine_scope engine_legacy_scope(int64_t n)
{
    engine_scope scope = engine_nobody();
    scope.subject = (uint8_t)(n % ENGINE_SUBJECTS);
    scope.client = (uint8_t)(n / ENGINE_SUBJECTS % ENGINE_CLIENTS);
    scope.session_kind = OTOK_SESSION_OFFLINE;
    scope.sid = (int32_t)(ENGINE_LEGACY_SID + n);
    scope.legacy = n;
    return scope;
}

int64_t engine_first_number(const engine_shared *shared)
{
    int64_t round = (int64_t)shared->round;
    return round < ENGINE_REACH ? 0 : ENGINE_NEW * (round - ENGINE_REACH);
}

int64_t engine_last_number(const engine_shared *shared)
{
    return ENGINE_NEW * (int64_t)shared->round + ENGINE_NEW - 1;
}

static engine_legacy legacy_of(const engine_shared *shared, int64_t n)
{
    const engine_scope scope = engine_legacy_scope(n);
    int64_t began_us = shared->began_us[n % ENGINE_NUMBERS];
    engine_legacy legacy = {.subject = crash_subjects[scope.subject],
                            .client = crash_clients[scope.client],
                            .started_us = began_us,
                            .ends_us = began_us + LEGACY_LIFE_S * OTOK_US_PER_S};
    (void)snprintf(legacy.sid, sizeof legacy.sid, "s%lld", (long long)n);
    return legacy;
}

bool engine_legacy_is_good(const engine_shared *shared, int64_t n)
{
    return legacy_of(shared, n).ends_us > atomic_load(&shared->now_us) + MARGIN_S * OTOK_US_PER_S;
}

static const char *sid_text(int32_t sid, char room[32])
{
    if (sid == ENGINE_NOBODY)
        return NULL;
    if (sid < ENGINE_SIDS)
        return engine_sids[sid];
    (void)snprintf(room, 32, "s%d", (int)sid - ENGINE_LEGACY_SID);
    return room;
}

otok_filter engine_filter(const engine_scope *scope, char sid[32])
{
    otok_filter filter;
    otok_filter_init(&filter, sizeof filter);
    if (scope->subject != ENGINE_ANY)
        filter.subject = crash_subjects[scope->subject];
    if (scope->client != ENGINE_ANY)
        filter.client_id = crash_clients[scope->client];
    filter.sid = sid_text(scope->sid, sid);
    return filter;
}

/* ------------------------------------------------------------------------------------------------------- operations */

static int issue(const engine_open *open, const engine_op *op, otok_tokens **tokens)
{
    char once[32], sid[32];
    otok_grant grant;
    otok_grant_init(&grant, sizeof grant);
    grant.subject = crash_subjects[op->scope.subject];
    grant.client_id = crash_clients[op->scope.client];
    grant.client_type = OTOK_CLIENT_PUBLIC;
    grant.scope = "offline_access";
    grant.kind = op->scope.session_kind;
    grant.sid = sid_text(op->scope.sid, sid);
    grant.replaces = op->target[0] != '\0' ? op->target : NULL;
    (void)snprintf(once, sizeof once, "code-%lld", (long long)op->scope.once);
    grant.once_key = op->scope.once != ENGINE_NOBODY ? once : NULL;
    return otok_issue(open->service, &grant, tokens, NULL);
}

static int refresh(const engine_open *open, const engine_op *op, const char *token, otok_tokens **tokens)
{
    otok_refresh_request request;
    otok_refresh_request_init(&request, sizeof request);
    request.token = token;
    request.client_id = crash_clients[op->scope.client];
    request.client_type = OTOK_CLIENT_PUBLIC;
    return otok_refresh(open->service, &request, tokens, NULL);
}

static int revoke(const engine_open *open, const engine_op *op, const char *token)
{
    otok_revoke_request request;
    otok_revoke_request_init(&request, sizeof request);
    request.token = token;
    request.client_id = crash_clients[op->scope.client];
    request.client_type = OTOK_CLIENT_PUBLIC;
    return otok_revoke_token(open->service, &request, NULL);
}

static int log_out(const engine_open *open, const engine_op *op)
{
    char sid[32];
    otok_filter filter = engine_filter(&op->scope, sid);
    if (op->scope.sid != ENGINE_NOBODY)
        filter.subject = filter.client_id = NULL;
    return otok_logout(open->service, &filter, op->with_access, NULL, NULL);
}

static int erase(const engine_open *open, const engine_op *op)
{
    otok_filter filter;
    otok_filter_init(&filter, sizeof filter);
    filter.subject = crash_subjects[op->scope.subject];
    return otok_erase(open->service, &filter, NULL, NULL);
}

static int change_keys(const engine_open *open, const engine_op *op)
{
    otok_key_change change;
    otok_key_change_init(&change, sizeof change);
    change.step = op->step;
    change.use = OTOK_KEY_TOKEN;
    change.kid = op->kid[0] != '\0' ? op->kid : NULL;
    int rc = otok_keyring_change_file(open->setting->keys, NULL, &change, NULL, NULL);
    return rc == OTOK_OK ? otok_service_reload_keyring(open->service, NULL) : rc;
}

static int perform(const engine_open *open, const engine_op *op, otok_tokens **tokens)
{
    char legacy[ENGINE_LEGACY_CHARS] = "";
    const char *subject = op->scope.subject != ENGINE_ANY ? crash_subjects[op->scope.subject] : NULL;
    const char *client = op->scope.client != ENGINE_ANY ? crash_clients[op->scope.client] : NULL;
    if (op->scope.legacy != ENGINE_NOBODY) {
        const engine_legacy of = legacy_of(open->setting->shared, op->scope.legacy);
        engine_legacy_token(&of, legacy);
    }
    switch (op->kind) {
    case ENGINE_ISSUE:
        return issue(open, op, tokens);
    case ENGINE_REFRESH:
        return refresh(open, op, op->presented, tokens);
    case ENGINE_REVOKE:
        return revoke(open, op, op->presented);
    case ENGINE_CONSENT_PUT:
        return otok_consent_put(open->service, subject, client, engine_consents[op->consent], NULL);
    case ENGINE_CONSENT_REVOKE:
        return otok_consent_revoke(open->service, subject, client, NULL, NULL);
    case ENGINE_LOGOUT:
        return log_out(open, op);
    case ENGINE_LEGACY_REFRESH:
        return refresh(open, op, legacy, tokens);
    case ENGINE_LEGACY_REVOKE:
        return revoke(open, op, legacy);
    case ENGINE_KEY_STEP:
        return change_keys(open, op);
    case ENGINE_ERASE:
        return erase(open, op);
    default:
        return otok_sweep(open->service, 0, NULL, NULL);
    }
}

void engine_perform(const engine_open *open, engine_op *op)
{
    otok_tokens *tokens = NULL;
    op->rc = perform(open, op, &tokens);
    if (tokens != NULL) {
        memcpy(op->token, tokens->offline_token, sizeof op->token);
        memcpy(op->session_id, tokens->session_id, sizeof op->session_id);
        op->generation = tokens->generation;
        op->outcome = tokens->outcome;
    }
    op->ended = atomic_fetch_add(&open->setting->shared->order, 1);
    atomic_store(&op->answered, true); /* from here on it is a promise */
    otok_tokens_free(tokens);
}

/* ------------------------------------------------------------------------------------------------------- the table */

engine_known *engine_find(engine_table *table, const char *session_id)
{
    for (size_t i = 0; i < table->n; i++) {
        if (strcmp(table->sessions[i].session_id, session_id) == 0)
            return &table->sessions[i];
    }
    return NULL;
}

engine_known *engine_add(engine_table *table, const engine_op *birth)
{
    if (table->n == ENGINE_KNOWN) {
        size_t at = 0;
        while (at < ENGINE_KNOWN - 1 && !table->sessions[at].dead)
            at++;
        memmove(&table->sessions[at], &table->sessions[at + 1], (ENGINE_KNOWN - 1 - at) * sizeof table->sessions[0]);
        table->n--;
    }
    engine_known *known = &table->sessions[table->n++];
    *known = (engine_known){.scope = birth->scope, .issue_begun = birth->begun, .issue_ended = birth->ended};
    memcpy(known->session_id, birth->session_id, sizeof known->session_id);
    engine_note_token(known, birth);
    return known;
}

void engine_note_token(engine_known *known, const engine_op *op)
{
    if (op->generation < known->generation || (op->generation == known->generation && op->ended < known->token_at))
        return;
    known->generation = op->generation;
    known->token_at = op->ended;
    memcpy(known->token, op->token, sizeof known->token);
}
