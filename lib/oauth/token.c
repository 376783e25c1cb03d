/*
 * token.c - the token endpoint for grant_type=refresh_token (RFC 6749 section 6), with resources (RFC 8707) and DPoP (RFC 9449
 * section 5) (P1, P3).
 *
 * SPDX-License-Identifier: MIT
 */
#include "oauth/endpoint.h"

#include <string.h>

static int check_grant_type(const otok_params *params, otok_error *err)
{
    const char *grant_type = otok_form_get(params->form, "grant_type");
    if (grant_type == NULL)
        return otok_fail(err, OTOK_E_INVALID, "grant_type is required");
    if (strcmp(grant_type, "refresh_token") != 0)
        return otok_fail(err, OTOK_E_GRANT_TYPE, "grant_type is not refresh_token");
    if (otok_form_get(params->form, "refresh_token") == NULL)
        return otok_fail(err, OTOK_E_INVALID, "refresh_token is required");
    return OTOK_OK;
}

/* `resource` may be there several times (RFC 8707 section 2); an empty one counts as omitted. */
static int read_resources(const otok_form *form, const char *resources[OTOK_MAX_AUDIENCE], size_t *n, otok_error *err)
{
    *n = 0;
    for (size_t i = 0; i < otok_form_count(form); i++) {
        const char *value = otok_form_value(form, i);
        if (strcmp(otok_form_name(form, i), "resource") != 0 || value[0] == '\0')
            continue;
        if (*n == OTOK_MAX_AUDIENCE)
            return otok_fail(err, OTOK_E_TARGET, "resource is there more than %d times", OTOK_MAX_AUDIENCE);
        resources[(*n)++] = value;
    }
    return OTOK_OK;
}

/* To be called by the refresh once MAC, client and bound key are good: strangers fill no memory with proofs (P3). */
static int on_owner(void *exchange, const otok_owner *owner, const otok_rules *rules, int64_t now_us, otok_error *err)
{
    return otok_exchange_use_proof(exchange, owner, rules, now_us, err);
}

/*
 * Whether it is worth while to verify a signature for this request: a token that is no token of ours, and that no host adopts, is
 * refused whatever comes with it.
 */
static int is_forged(otok_service *service, const char *token, bool *forged, otok_error *err)
{
    otok_presented presented;
    otok_id id;
    int rc = otok_token_present(service, token, &presented, &id, err);
    otok_wipe(&presented, sizeof presented);
    *forged = rc == OTOK_E_TOKEN_INVALID && service->callbacks.adopt == NULL;
    return rc == OTOK_E_TOKEN_INVALID ? OTOK_OK : rc;
}

static int refresh(otok_exchange *exchange, const otok_refresh_request *request, otok_error *err)
{
    otok_tokens *tokens = NULL;
    int rc = otok_refresh_with(exchange->service, request, on_owner, exchange, &tokens, err);
    if (rc == OTOK_OK)
        rc = otok_exchange_answer(exchange, tokens->response_json, err);
    otok_tokens_free(tokens);
    return rc;
}

static int handle(otok_exchange *exchange, otok_error *err)
{
    const otok_params *params = &exchange->params;
    const char *resources[OTOK_MAX_AUDIENCE];
    otok_refresh_request request;
    bool forged = false;
    otok_refresh_request_init(&request, sizeof request);
    int rc = check_grant_type(params, err);
    if (rc == OTOK_OK)
        rc = read_resources(params->form, resources, &request.resource_count, err);
    if (rc == OTOK_OK)
        rc = is_forged(exchange->service, otok_form_get(params->form, "refresh_token"), &forged, err);
    if (rc == OTOK_OK && !forged)
        rc = otok_exchange_read_proof(exchange, err);
    if (rc != OTOK_OK)
        return rc;
    request.token = otok_form_get(params->form, "refresh_token");
    request.client_id = params->client_id;
    request.client_type = params->client_type;
    request.scope = otok_form_get(params->form, "scope");
    request.resource = resources;
    request.peer = &params->peer;
    return refresh(exchange, &request, err);
}

int otok_endpoint_token(otok_service *service, const otok_http_request *request, otok_http_response **out,
                        otok_error *err)
{
    return otok_exchange_run(service, request, handle, NULL, out, err);
}
