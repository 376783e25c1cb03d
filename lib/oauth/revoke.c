/*
 * revoke.c - the revocation endpoint (RFC 7009) (P1, V1).
 *
 * `token_type_hint` is not looked at: a token says itself what it is (RFC 7009 section 2.1).  A proof is not needed, so one that is
 * there is not used up: it says which key the caller has, and a wrong one is refused.
 *
 * SPDX-License-Identifier: MIT
 */
#include "oauth/endpoint.h"

/* The body is JSON, since common clients fail on an empty one (P2). */
static int handle(otok_exchange *exchange, otok_error *err)
{
    otok_revoke_request request;
    const otok_params *params = &exchange->params;
    otok_revoke_request_init(&request, sizeof request);
    request.token = otok_form_get(params->form, "token");
    request.client_id = params->client_id;
    request.client_type = params->client_type;
    request.peer = &params->peer;
    if (request.token == NULL)
        return otok_fail(err, OTOK_E_INVALID, "token is required");
    int rc = otok_exchange_read_proof(exchange, err);
    if (rc == OTOK_OK)
        rc = otok_revoke_token(exchange->service, &request, err);
    return rc == OTOK_OK ? otok_exchange_answer(exchange, "{}", err) : rc;
}

int otok_endpoint_revoke(otok_service *service, const otok_http_request *request, otok_http_response **out,
                         otok_error *err)
{
    return otok_exchange_run(service, request, handle, NULL, out, err);
}
