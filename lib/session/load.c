/*
 * load.c - sessions out of the store: copied, taken apart, checked against what they should be.
 *
 * SPDX-License-Identifier: MIT
 */
#include "session/session.h"

#include <string.h>

otok_seal_scope otok_seal_scope_of(const otok_record *record)
{
    return (otok_seal_scope){
        .id = record->id,
        .created_us = record->created_us,
        .realm = record->realm,
        .subject = record->subject,
        .client = record->client,
        .links = record->links,
        .nlinks = record->nlinks,
    };
}

otok_lifetime otok_loaded_lifetime(const otok_loaded *loaded, const otok_rules *rules, int64_t now_us)
{
    const otok_lifetime_in in = {
        .now_us = now_us,
        .created_us = loaded->record->created_us,
        .started_us = loaded->body.started_us,
        .refreshed_us = loaded->head.refreshed_us,
        .cutoff_us = loaded->cutoff_us,
    };
    return otok_lifetime_of(&in, rules);
}

int otok_loaded_has_token(const otok_loaded *loaded, otok_error *err)
{
    return loaded->body.refresh_token != OTOK_OFF
               ? OTOK_OK
               : otok_fail(err, OTOK_E_TOKEN_INVALID, "the session has no refresh token, and none was handed out");
}

void otok_loaded_free(otok_loaded *loaded)
{
    otok_record_free(loaded->record);
    loaded->record = NULL;
    otok_mark_free(&loaded->pair);
}

int otok_session_unpack(const otok_service *service, otok_record *record, otok_loaded *out, otok_error *err)
{
    *out = (otok_loaded){.record = record, .cutoff_us = INT64_MIN, .cutoffs = {INT64_MIN, INT64_MIN}};
    int rc = OTOK_OK;
    /* Looked up by a digest: what was found must be what was looked for.  Sessions of other realms are invisible. */
    if (record->kind != OTOK_RECORD_SESSION || !otok_str_eq(record->realm, service->realm))
        rc = otok_fail(err, OTOK_E_NOT_FOUND, "there is no such session");
    else if (record->subject.len > OTOK_MAX_NAME || record->client.len > OTOK_MAX_NAME ||
             record->nlinks > OTOK_MAX_LINKS || !otok_head_parse(record->head, &out->head))
        rc = otok_fail(err, OTOK_E_FORMAT, "a session's head has a format that this version does not know");
    else
        rc = otok_body_parse(record->body, &out->body, &out->seal_key_id, err);
    if (rc != OTOK_OK)
        out->record = NULL;
    return rc;
}

int otok_session_verify(const otok_service *service, const otok_loaded *loaded, otok_error *err)
{
    const otok_realm_key *key;
    int rc = otok_service_key(service, loaded->seal_key_id, &key, err);
    if (rc != OTOK_OK)
        return rc;
    if (key == NULL)
        return otok_fail(err, OTOK_E_KEY, "the session is sealed under MAC key %u, which is not in the keyring",
                         loaded->seal_key_id);
    otok_seal_scope scope = otok_seal_scope_of(loaded->record);
    return otok_body_verify(loaded->record->body, &scope, key->seal, err);
}

int otok_loaded_rules(const otok_service *service, const otok_loaded *loaded, bool is_public, otok_rules *out,
                      otok_error *err)
{
    char client[OTOK_MAX_NAME + 1] = "";
    memcpy(client, loaded->record->client.data, loaded->record->client.len);
    int rc = otok_service_rules(service, client, is_public, loaded->body.binding, out, err);
    if (rc == OTOK_OK)
        otok_rules_tighten(out, loaded->body.idle_timeout_s, loaded->body.max_lifetime_s);
    return rc;
}

/* ------------------------------------------------------------------------------------------------------------ cutoffs */

int64_t otok_cutoff_for(const otok_mark_head *times, uint8_t kind)
{
    return kind == OTOK_SESSION_LOGIN && times->login_us > times->all_us ? times->login_us : times->all_us;
}

/* The latest of all (CVE-2026-18218 was the earliest). */
static void add_times(otok_mark_head *latest, const otok_mark_head *times)
{
    if (times->all_us > latest->all_us)
        latest->all_us = times->all_us;
    if (times->login_us > latest->login_us)
        latest->login_us = times->login_us;
}

static bool links_to(const otok_record *record, const otok_id *id)
{
    for (size_t i = 0; i < record->nlinks; i++) {
        if (otok_id_compare(&record->links[i], id) == 0)
            return true;
    }
    return false;
}

/* ---------------------------------------------------------------------------------------------------------------- one */

struct found {
    const otok_service *service;
    const otok_id *id;
    otok_record *record, *pair;
    otok_mark_head cutoffs;
    bool mark_unread;
    bool short_of_memory;
};

static int keep(struct found *found, const otok_record *record, otok_record **copy)
{
    otok_record_free(*copy);
    *copy = otok_record_copy(record);
    found->short_of_memory = *copy == NULL;
    return found->short_of_memory;
}

static int on_record(void *arg, const otok_record *record)
{
    struct found *found = arg;
    otok_mark_head times;
    if (otok_id_compare(&record->id, found->id) == 0)
        return keep(found, record, &found->record);
    if (!otok_mark_times(found->service, record, &times))
        found->mark_unread = true;
    add_times(&found->cutoffs, &times);
    bool is_pair = record->kind == OTOK_RECORD_PAIR && otok_str_eq(record->realm, found->service->realm);
    return is_pair ? keep(found, record, &found->pair) : 0;
}

/* The consent is looked up by a digest too: it must be this subject's, with this client. */
static void attach_pair(struct found *found, otok_loaded *out)
{
    if (found->pair == NULL)
        return;
    bool same = otok_str_eq(found->pair->subject, out->record->subject) &&
                otok_str_eq(found->pair->client, out->record->client);
    if (same && otok_mark_unpack(found->pair, &out->pair, NULL) == OTOK_OK)
        found->pair = NULL;
    else
        out->mark_unread = true;
}

int otok_session_find(otok_service *service, const otok_id *id, otok_loaded *out, otok_error *err)
{
    struct found found = {.service = service, .id = id, .cutoffs = {INT64_MIN, INT64_MIN}};
    *out = (otok_loaded){0};
    int rc = otok_store_fetch(service->store, id, 1, OTOK_FETCH_LINKS, on_record, &found, err);
    if (rc == OTOK_OK && found.short_of_memory) /* which must not pass for absence */
        rc = otok_fail(err, OTOK_E_NOMEM, "out of memory");
    if (rc == OTOK_OK)
        rc = found.record != NULL ? otok_session_unpack(service, found.record, out, err)
                                  : otok_fail(err, OTOK_E_NOT_FOUND, "there is no such session");
    if (rc == OTOK_OK) {
        found.record = NULL;
        out->cutoffs = found.cutoffs;
        out->cutoff_us = otok_cutoff_for(&out->cutoffs, out->body.kind);
        out->mark_unread = found.mark_unread;
        attach_pair(&found, out);
    }
    otok_record_free(found.record);
    otok_record_free(found.pair);
    return rc;
}

int otok_session_load(otok_service *service, const otok_id *id, otok_loaded *out, otok_error *err)
{
    int rc = otok_session_find(service, id, out, err);
    if (rc != OTOK_OK)
        return rc;
    rc = otok_session_verify(service, out, err);
    if (rc == OTOK_OK && out->mark_unread)
        rc = otok_fail(err, OTOK_E_FORMAT, "a cutoff of the session has a format that this version does not know");
    if (rc == OTOK_OK && (out->body.binding > OTOK_BINDING_MTLS || out->body.kind > OTOK_SESSION_LOGIN ||
                          out->body.refresh_token > OTOK_OFF))
        rc = otok_fail(err, OTOK_E_FORMAT, "the session has a binding or a kind that this version does not know");
    if (rc != OTOK_OK)
        otok_loaded_free(out);
    return rc;
}

/* --------------------------------------------------------------------------------------------------------------- many */

struct many {
    const otok_service *service;
    otok_loaded *sessions;
    size_t n;
};

static int on_link(void *arg, const otok_record *record)
{
    struct many *many = arg;
    otok_mark_head times;
    bool read = otok_mark_times(many->service, record, &times);
    for (size_t i = 0; i < many->n; i++) {
        otok_loaded *session = &many->sessions[i];
        if (!links_to(session->record, &record->id))
            continue;
        add_times(&session->cutoffs, &times);
        session->cutoff_us = otok_cutoff_for(&session->cutoffs, session->body.kind);
        session->mark_unread |= !read;
    }
    return 0;
}

static void add_id(otok_id *ids, size_t *n, const otok_id *id)
{
    for (size_t i = 0; i < *n; i++) {
        if (otok_id_compare(&ids[i], id) == 0)
            return;
    }
    ids[(*n)++] = *id;
}

/* A few sessions at a time, so that their links fit in one fetch. */
enum { SESSIONS_A_FETCH = 32 };

int otok_sessions_add_cutoffs(otok_service *service, otok_loaded *sessions, size_t n, otok_error *err)
{
    otok_id ids[SESSIONS_A_FETCH * OTOK_MAX_LINKS];
    int rc = OTOK_OK;
    for (size_t at = 0; rc == OTOK_OK && at < n; at += SESSIONS_A_FETCH) {
        struct many many = {service, sessions + at, n - at < SESSIONS_A_FETCH ? n - at : SESSIONS_A_FETCH};
        size_t nids = 0;
        for (size_t i = 0; i < many.n; i++) {
            for (size_t k = 0; k < many.sessions[i].record->nlinks; k++)
                add_id(ids, &nids, &many.sessions[i].record->links[k]);
        }
        if (nids != 0)
            rc = otok_store_fetch(service->store, ids, nids, 0, on_link, &many, err);
    }
    return rc;
}
