/*
 * revoke.c - ending sessions: by token (RFC 7009), by id, by filter (V1, V2).
 *
 * SPDX-License-Identifier: MIT
 */
#include "session/refresh.h"

enum { NAME_BOUND = 255 };

void otok_revoke_request_init(otok_revoke_request *request, size_t size)
{
    otok_struct_init(request, size);
}

int otok_session_remove(otok_service *service, const otok_loaded *session, int32_t reason, const otok_peer *peer,
                        otok_error *err)
{
    const otok_write write = {OTOK_WRITE_DELETE, session->record->version, session->record};
    otok_notice notice = {{.type = OTOK_EVENT_REVOKED, .reason = reason}, session};
    if (peer != NULL) {
        notice.event.ip = peer->ip;
        notice.event.user_agent = peer->user_agent;
    }
    otok_change change = {.writes = &write, .nwrites = 1, .notices = &notice, .nnotices = 1};
    return otok_change_commit(service, &change, err);
}

/* ---------------------------------------------------------------------------------------------------------- by token */

/* Whose session a token is; OTOK_E_TOKEN_INVALID for what is neither kind of ours. */
static int session_of_token(otok_service *service, const char *text, otok_id *id, bool *is_access_token,
                            otok_error *err)
{
    otok_presented presented;
    otok_jws *jwt;
    *is_access_token = false;
    int rc = otok_token_present(service, text, &presented, id, err);
    otok_wipe(&presented, sizeof presented);
    if (rc == OTOK_E_TOKEN_INVALID) {
        rc = otok_access_token_read(service, text, &jwt, id, err);
        *is_access_token = rc == OTOK_OK;
        otok_jws_free(*is_access_token ? jwt : NULL);
    }
    return rc;
}

/* An access token is revoked for a client that has authenticated, where the policy allows it (RFC 7009 section 2.2.1). */
static int check_access_token(otok_service *service, const otok_revoke_request *request, const otok_loaded *session,
                              otok_error *err)
{
    otok_rules rules;
    bool is_public = request->client_type == OTOK_CLIENT_PUBLIC;
    int rc = otok_service_rules(service, request->client_id, is_public, session->body.binding, &rules, err);
    if (rc == OTOK_OK && (is_public || !rules.access_token_revocation))
        rc = otok_fail(err, OTOK_E_TOKEN_TYPE, "access tokens cannot be revoked by this client");
    return rc;
}

static int revoke_once(otok_service *service, const otok_revoke_request *request, const otok_peer *peer,
                       const otok_id *id, bool is_access_token, otok_error *err)
{
    otok_loaded session;
    int rc = otok_session_find(service, id, &session, err);
    if (rc != OTOK_OK)
        return rc == OTOK_E_NOT_FOUND ? OTOK_OK : rc; /* it has ended already */
    if (!otok_str_eq(session.record->client, otok_str_of(request->client_id)))
        rc = otok_fail(err, OTOK_E_UNAUTHORIZED_CLIENT, "the token is another client's");
    if (rc == OTOK_OK)
        rc = otok_binding_check(&session.body, peer, false, err);
    if (rc == OTOK_OK && is_access_token)
        rc = check_access_token(service, request, &session, err);
    if (rc == OTOK_OK)
        rc = otok_session_remove(service, &session, OTOK_REVOKED_BY_TOKEN, peer, err);
    otok_loaded_free(&session);
    return rc;
}

/* Not ours: a token of the system before, or nothing that there is to revoke (RFC 7009 section 2.2). */
static int revoke_foreign(otok_service *service, const otok_revoke_request *request, const otok_peer *peer,
                          otok_error *err)
{
    otok_adoption adoption;
    int rc = otok_adoption_ask(service, request->token, request->client_id, &adoption, err);
    if (rc == OTOK_OK)
        rc = otok_adoption_revoke(service, &adoption, request, peer, err);
    else if (rc == OTOK_E_TOKEN_INVALID)
        rc = OTOK_OK;
    otok_adoption_free(&adoption);
    return rc;
}

int otok_revoke_token(otok_service *service, const otok_revoke_request *request, otok_error *err)
{
    otok_revoke_request own;
    otok_peer peer;
    otok_id id;
    bool is_access_token;
    otok_error reason;
    if (service == NULL)
        return otok_fail(err, OTOK_E_INVALID, "service is required");
    int rc =
        otok_struct_read(&own, sizeof own, request, sizeof(size_t) + 2 * sizeof(char *), "otok_revoke_request", err);
    if (rc == OTOK_OK && own.token == NULL)
        rc = otok_fail(err, OTOK_E_INVALID, "request.token is required");
    if (rc == OTOK_OK)
        rc = otok_text_check(own.client_id, NAME_BOUND, true, "request.client_id", NULL, err);
    if (rc == OTOK_OK && own.unused != 0)
        rc = otok_fail(err, OTOK_E_INVALID, "request.unused is not 0");
    if (rc == OTOK_OK && own.client_type != OTOK_CLIENT_CONFIDENTIAL && own.client_type != OTOK_CLIENT_PUBLIC)
        rc = otok_fail(err, OTOK_E_INVALID, "request.client_type has no value %d", own.client_type);
    if (rc == OTOK_OK)
        rc = otok_peer_read(own.peer, &peer, err);
    if (rc != OTOK_OK)
        return rc;

    rc = session_of_token(service, own.token, &id, &is_access_token, &reason);
    if (rc == OTOK_E_TOKEN_INVALID)
        return revoke_foreign(service, &own, &peer, err);
    if (rc != OTOK_OK)
        return otok_error_set(err, rc, reason.system_errno, reason.message);
    otok_attempts attempts = otok_attempts_begin(service);
    do
        rc = revoke_once(service, &own, &peer, &id, is_access_token, err);
    while (otok_attempts_again(&attempts, &rc, err));
    return rc;
}

/* ------------------------------------------------------------------------------------------------------------- by id */

static int revoke_session_once(otok_service *service, const otok_id *id, otok_error *err)
{
    otok_loaded session;
    int rc = otok_session_find(service, id, &session, err);
    if (rc != OTOK_OK)
        return rc;
    rc = otok_session_remove(service, &session, OTOK_REVOKED_BY_SESSION, NULL, err);
    otok_loaded_free(&session);
    return rc;
}

int otok_revoke_session(otok_service *service, const char *session_id, otok_error *err)
{
    otok_id id;
    int rc;
    if (service == NULL || session_id == NULL)
        return otok_fail(err, OTOK_E_INVALID, "%s is required", service == NULL ? "service" : "session_id");
    if (!otok_session_id_parse(session_id, &id))
        return otok_fail(err, OTOK_E_INVALID, "session_id is not 22 characters of base64url");
    otok_attempts attempts = otok_attempts_begin(service);
    do
        rc = revoke_session_once(service, &id, err);
    while (otok_attempts_again(&attempts, &rc, err));
    return rc;
}

/* --------------------------------------------------------------------------------------------------------- by filter */

int otok_revoke_matching(otok_service *service, const otok_filter *filter, uint64_t *revoked, otok_error *err)
{
    otok_scope_names names;
    const otok_cutoff_move move = {.at_us = OTOK_NOW};
    if (revoked != NULL)
        *revoked = 0;
    if (service == NULL)
        return otok_fail(err, OTOK_E_INVALID, "service is required");
    int rc = otok_names_of_filter(service, filter, &names, err);
    return rc == OTOK_OK ? otok_end_sessions(service, &names, &move, OTOK_REVOKED_BY_FILTER, revoked, err) : rc;
}
