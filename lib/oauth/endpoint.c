/*
 * endpoint.c - a request on its way to an answer: what all that is answered has in common (P1, P2, P3).
 *
 * Whatever comes is answered: a handler fails with a code, and the answer to that code is made here.
 *
 * SPDX-License-Identifier: MIT
 */
#include "oauth/endpoint.h"

static const char *nonce_of(const otok_exchange *exchange)
{
    return exchange->nonce[0] != '\0' ? exchange->nonce : NULL;
}

int otok_exchange_answer(otok_exchange *exchange, const char *json, otok_error *err)
{
    enum { OK = 200 };
    return otok_response_json(OK, json, nonce_of(exchange), &exchange->response, err);
}

int otok_exchange_read_proof(otok_exchange *exchange, otok_error *err)
{
    const otok_http_request *http = &exchange->params.http;
    if (http->dpop_count == 0)
        return OTOK_OK;
    if (http->dpop_count > 1) /* RFC 9449 section 4.3 */
        return otok_fail(err, OTOK_E_DPOP_PROOF, "there is more than one DPoP proof");
    if (http->uri == NULL || http->dpop == NULL || http->dpop[0] == NULL)
        return otok_fail(err, OTOK_E_STATE, "%s is required where request.dpop_count is not 0",
                         http->uri == NULL ? "request.uri" : "request.dpop");
    if (!otok_uri_is_good(http->uri)) /* which no proof could be for: no client can mend it */
        return otok_fail(err, OTOK_E_STATE, "request.uri is not an absolute URI of http or https");
    int rc = otok_proof_read(http->dpop[0], http->method, http->uri, &exchange->proof, err);
    exchange->has_proof = rc == OTOK_OK;
    if (exchange->has_proof)
        exchange->params.peer.jkt = exchange->proof.jkt;
    return rc;
}

/* The nonce comes first: without one there is nothing to answer with, and so far the proof is not used up.  Who sends one that is not
 * asked for may have a stale one, and is told so too. */
int otok_exchange_use_proof(otok_exchange *exchange, const otok_owner *owner, const otok_rules *rules, int64_t now_us,
                            otok_error *err)
{
    if (!exchange->has_proof)
        return OTOK_OK;
    bool wanted = rules->dpop_nonce || exchange->proof.nonce != NULL;
    int rc = wanted ? otok_nonce_print(exchange->service, now_us, exchange->nonce, err) : OTOK_OK;
    return rc == OTOK_OK ? otok_proof_use(exchange->service, &exchange->proof, owner, rules, now_us, err) : rc;
}

static int run(otok_exchange *exchange, const otok_http_request *request, otok_exchange_handler handle,
               otok_http_response **out, otok_error *err)
{
    otok_error reason = {0};
    int rc = otok_params_read(request, &exchange->params, &reason);
    if (rc == OTOK_OK) {
        rc = handle(exchange, &reason);
        if (rc == OTOK_E_UNSUPPORTED) /* by a store: it is not the method */
            rc = OTOK_E_STATE;
        otok_params_free(&exchange->params);
    }
    if (exchange->has_proof)
        otok_proof_free(&exchange->proof);
    reason.code = rc;
    *out = exchange->response;
    return rc == OTOK_OK ? OTOK_OK : otok_response_of_error(&reason, nonce_of(exchange), out, err);
}

int otok_exchange_run(otok_service *service, const otok_http_request *request, otok_exchange_handler handle,
                      const void *beside, otok_http_response **out, otok_error *err)
{
    otok_exchange exchange = {.service = service, .beside = beside};
    otok_http_request own;
    if (service == NULL || request == NULL || out == NULL)
        return otok_fail(err, OTOK_E_INVALID, "%s is required",
                         service == NULL ? "service" : (request == NULL ? "request" : "out"));
    *out = NULL;
    /* A struct that cannot be read is the host's mistake; what is in it may be the client's. */
    int rc = otok_struct_read(&own, sizeof own, request, sizeof(size_t) + sizeof(char *), "otok_http_request", err);
    return rc == OTOK_OK ? run(&exchange, request, handle, out, err) : rc;
}
