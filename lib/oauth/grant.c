/*
 * grant.c - the token endpoint for grants that the host has verified: a code, a device code, a password (P1, P3).
 *
 * The request is read once more as every other is, so that who asks, and with which proof, is told here as it is at a refresh.
 *
 * SPDX-License-Identifier: MIT
 */
#include "oauth/endpoint.h"

#include <string.h>

/* Who asks is the request's matter; whose grant it is, the grant's. */
static int complete(const otok_params *params, otok_grant *grant, otok_error *err)
{
    if (grant->client_id != NULL && strcmp(grant->client_id, params->client_id) != 0) /* RFC 6749 section 5.2 */
        return otok_fail(err, OTOK_E_CLIENT_MISMATCH, "the grant is another client's");
    grant->client_id = params->client_id;
    grant->client_type = params->client_type;
    grant->peer = &params->peer;
    int rc = otok_grant_check(grant, err);
    return rc == OTOK_E_INVALID ? OTOK_E_STATE : rc; /* the host's mistake: before a proof is used up for it */
}

/* RFC 9449 section 10: the key that an authorization request has named, and none but that. */
static int check_key(const otok_params *params, const otok_peer *named, otok_error *err)
{
    otok_peer own;
    int rc = otok_peer_read(named, &own, err);
    if (rc != OTOK_OK)
        return rc == OTOK_E_INVALID ? OTOK_E_STATE : rc;
    if (own.jkt == NULL)
        return OTOK_OK;
    if (params->peer.jkt == NULL)
        return otok_fail(err, OTOK_E_DPOP_PROOF, "the grant is for a DPoP key, and none was proven");
    return strcmp(own.jkt, params->peer.jkt) == 0 ? OTOK_OK
                                                  : otok_fail(err, OTOK_E_SENDER, "the grant is for another DPoP key");
}

/*
 * RFC 9449 section 5, RFC 8705 section 4: a public client's refresh token is bound to its key or certificate; a confidential one may
 * change them, and is bound by how it authenticates.  Its access token has the key in any case.
 */
static int bind_session(const otok_params *params, otok_grant *grant, otok_error *err)
{
    bool proven = params->peer.jkt != NULL, certified = params->peer.x5t_s256 != NULL;
    bool is_public = params->client_type == OTOK_CLIENT_PUBLIC;
    bool is_free = grant->binding == OTOK_BINDING_NONE || grant->binding == OTOK_BINDING_DPOP;
    if (is_public && proven && is_free)
        grant->binding = OTOK_BINDING_JKT;
    if (is_public && certified && grant->binding == OTOK_BINDING_MTLS)
        grant->binding = OTOK_BINDING_X5T_S256;
    if (!proven && (grant->binding == OTOK_BINDING_JKT || grant->binding == OTOK_BINDING_DPOP))
        return otok_fail(err, OTOK_E_DPOP_PROOF, "the grant is for a DPoP key, and none was proven");
    if (!certified && (grant->binding == OTOK_BINDING_X5T_S256 || grant->binding == OTOK_BINDING_MTLS))
        return otok_fail(err, OTOK_E_SENDER, "the grant is for a client certificate, and none was presented");
    return OTOK_OK;
}

/* The grant is good, says the host: so it is no stranger whose proof is remembered. */
static int use_proof(otok_exchange *exchange, const otok_grant *grant, otok_error *err)
{
    otok_rules rules;
    bool is_public = grant->client_type == OTOK_CLIENT_PUBLIC;
    const otok_owner owner = {otok_str_of(grant->subject), otok_str_of(grant->client_id)};
    if (!exchange->has_proof)
        return OTOK_OK;
    int rc = otok_service_rules(exchange->service, grant->client_id, is_public, (uint8_t)grant->binding, &rules, err);
    return rc == OTOK_OK ? otok_exchange_use_proof(exchange, &owner, &rules, otok_service_now(exchange->service), err)
                         : rc;
}

/* A grant that makes no sense is the host's mistake: the client is not told that its request is invalid. */
static int issue(otok_exchange *exchange, const otok_grant *grant, otok_error *err)
{
    otok_tokens *tokens = NULL;
    int rc = otok_issue(exchange->service, grant, &tokens, err);
    if (rc == OTOK_OK)
        rc = otok_exchange_answer(exchange, tokens->response_json, err);
    otok_tokens_free(tokens);
    return rc == OTOK_E_INVALID ? OTOK_E_STATE : rc;
}

static int handle(otok_exchange *exchange, otok_error *err)
{
    otok_grant grant = *(const otok_grant *)exchange->beside;
    const otok_peer *named = grant.peer;
    int rc = complete(&exchange->params, &grant, err);
    if (rc == OTOK_OK)
        rc = otok_exchange_read_proof(exchange, err);
    if (rc == OTOK_OK)
        rc = check_key(&exchange->params, named, err);
    if (rc == OTOK_OK)
        rc = bind_session(&exchange->params, &grant, err);
    if (rc == OTOK_OK)
        rc = use_proof(exchange, &grant, err);
    return rc == OTOK_OK ? issue(exchange, &grant, err) : rc;
}

int otok_endpoint_issue(otok_service *service, const otok_http_request *request, const otok_grant *grant,
                        otok_http_response **out, otok_error *err)
{
    otok_grant own;
    if (grant == NULL || out == NULL)
        return otok_fail(err, OTOK_E_INVALID, "%s is required", out == NULL ? "out" : "grant");
    *out = NULL;
    int rc = otok_struct_read(&own, sizeof own, grant, sizeof(size_t) + 3 * sizeof(char *), "otok_grant", err);
    own.size = sizeof own;
    return rc == OTOK_OK ? otok_exchange_run(service, request, handle, &own, out, err) : rc;
}
