/*
 * introspect.c - the introspection endpoint (RFC 7662) (P1).
 *
 * Only who has authenticated may ask (RFC 7662 section 2.1), so that nobody fishes for tokens.
 *
 * SPDX-License-Identifier: MIT
 */
#include "oauth/endpoint.h"

static int handle(otok_exchange *exchange, otok_error *err)
{
    otok_introspect_request request;
    otok_introspection *found = NULL;
    const otok_params *params = &exchange->params;
    if (params->client_type == OTOK_CLIENT_PUBLIC) /* which is also what a stranger is taken for */
        return otok_fail(err, OTOK_E_CLIENT, "introspection is for those who have authenticated");
    otok_introspect_request_init(&request, sizeof request);
    request.token = otok_form_get(params->form, "token");
    request.client_id = params->client_id;
    request.client_type = params->client_type;
    request.resource = params->http.resource;
    request.resource_count = params->http.resource_count;
    request.peer = &params->peer;
    if (request.token == NULL)
        return otok_fail(err, OTOK_E_INVALID, "token is required");
    int rc = otok_introspect(exchange->service, &request, &found, err);
    if (rc == OTOK_OK)
        rc = otok_exchange_answer(exchange, found->response_json, err);
    otok_introspection_free(found);
    return rc;
}

int otok_endpoint_introspect(otok_service *service, const otok_http_request *request, otok_http_response **out,
                             otok_error *err)
{
    return otok_exchange_run(service, request, handle, NULL, out, err);
}
