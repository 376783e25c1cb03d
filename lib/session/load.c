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

void otok_loaded_free(otok_loaded *loaded)
{
    otok_record_free(loaded->record);
    loaded->record = NULL;
}

int otok_session_unpack(const otok_service *service, otok_record *record, otok_loaded *out, otok_error *err)
{
    *out = (otok_loaded){.record = record, .cutoff_us = INT64_MIN};
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

static int verify_seal(const otok_service *service, const otok_loaded *loaded, otok_error *err)
{
    const otok_realm_key *key = otok_service_key(service, loaded->seal_key_id);
    if (key == NULL)
        return otok_fail(err, OTOK_E_KEY, "the session is sealed under MAC key %u, which is not in the keyring",
                         loaded->seal_key_id);
    otok_seal_scope scope = otok_seal_scope_of(loaded->record);
    return otok_body_verify(loaded->record->body, &scope, key->seal, err);
}

/* ------------------------------------------------------------------------------------------------------------ cutoffs */

bool otok_cutoff_time(const otok_service *service, const otok_record *record, int64_t *cutoff_us)
{
    otok_cutoff_head head;
    bool is_cutoff = record->kind == OTOK_RECORD_CUTOFF || record->kind == OTOK_RECORD_PAIR;
    *cutoff_us = INT64_MIN;
    if (!is_cutoff || !otok_str_eq(record->realm, service->realm))
        return true;
    if (!otok_cutoff_head_parse(record->head, &head))
        return false;
    *cutoff_us = head.all_us;
    return true;
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
    otok_record *record;
    int64_t cutoff_us;
    bool cutoff_unread;
    bool short_of_memory;
};

static int on_record(void *arg, const otok_record *record)
{
    struct found *found = arg;
    if (otok_id_compare(&record->id, found->id) == 0) {
        found->record = otok_record_copy(record);
        found->short_of_memory = found->record == NULL;
        return found->short_of_memory;
    }
    int64_t cutoff_us;
    if (!otok_cutoff_time(found->service, record, &cutoff_us))
        found->cutoff_unread = true;
    if (cutoff_us > found->cutoff_us) /* the latest of all (CVE-2026-18218 was the earliest) */
        found->cutoff_us = cutoff_us;
    return 0;
}

int otok_session_find(otok_service *service, const otok_id *id, otok_loaded *out, otok_error *err)
{
    struct found found = {.service = service, .id = id, .cutoff_us = INT64_MIN};
    *out = (otok_loaded){0};
    int rc = otok_store_fetch(service->store, id, 1, OTOK_FETCH_LINKS, on_record, &found, err);
    if (rc != OTOK_OK || found.record == NULL) {
        otok_record_free(found.record);
        if (rc == OTOK_OK && found.short_of_memory)
            rc = otok_fail(err, OTOK_E_NOMEM, "out of memory");
        return rc != OTOK_OK ? rc : otok_fail(err, OTOK_E_NOT_FOUND, "there is no such session");
    }
    rc = otok_session_unpack(service, found.record, out, err);
    if (rc != OTOK_OK) {
        otok_record_free(found.record);
        return rc;
    }
    out->cutoff_us = found.cutoff_us;
    out->cutoff_unread = found.cutoff_unread;
    return OTOK_OK;
}

int otok_session_load(otok_service *service, const otok_id *id, otok_loaded *out, otok_error *err)
{
    int rc = otok_session_find(service, id, out, err);
    if (rc != OTOK_OK)
        return rc;
    rc = verify_seal(service, out, err);
    if (rc == OTOK_OK && out->cutoff_unread)
        rc = otok_fail(err, OTOK_E_FORMAT, "a cutoff of the session has a format that this version does not know");
    if (rc == OTOK_OK && out->body.binding > OTOK_BINDING_MTLS)
        rc = otok_fail(err, OTOK_E_FORMAT, "the session has a binding that this version does not know");
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
    int64_t cutoff_us;
    (void)otok_cutoff_time(many->service, record, &cutoff_us); /* unread, it neither hides a session nor removes one */
    for (size_t i = 0; cutoff_us != INT64_MIN && i < many->n; i++) {
        otok_loaded *session = &many->sessions[i];
        if (cutoff_us > session->cutoff_us && links_to(session->record, &record->id))
            session->cutoff_us = cutoff_us;
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
