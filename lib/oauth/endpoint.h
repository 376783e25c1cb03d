/*
 * oauth/endpoint.h - what the endpoints share: a request on its way to an answer.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef OTOK_ENDPOINT_H
#define OTOK_ENDPOINT_H

#include "oauth/oauth.h"

/* ---------------------------------------------------------------------------------------------------- endpoint.c */

/* One request, and what is to be answered. */
typedef struct otok_exchange {
    otok_service *service;
    const void *beside; /* what the host hands in beside the request; NULL: nothing */
    otok_params params;
    otok_proof proof;
    bool has_proof;
    char nonce[OTOK_NONCE_CHARS + 1]; /* for the client's next proof; empty: none is wanted */
    otok_http_response *response;
} otok_exchange;

/* What one endpoint does: answers with otok_exchange_answer(), or fails with the code that is to be answered with. */
typedef int (*otok_exchange_handler)(otok_exchange *exchange, otok_error *err);

/*
 * Reads a request, has it handled, and answers it.  OTOK_E_INVALID when an argument is NULL or `request` too new, OTOK_E_NOMEM: there
 * is no answer.
 */
int otok_exchange_run(otok_service *service, const otok_http_request *request, otok_exchange_handler handle,
                      const void *beside, otok_http_response **out, otok_error *err);

/* 200 with this JSON. */
int otok_exchange_answer(otok_exchange *exchange, const char *json, otok_error *err);

/*
 * Reads the DPoP proof, where there is one, and puts its key into the peer (RFC 9449 section 5).  OTOK_E_DPOP_PROOF; OTOK_E_STATE:
 * the host has not said what a proof is compared with.
 */
int otok_exchange_read_proof(otok_exchange *exchange, otok_error *err);

/* Uses it up, once the token is known to be this client's; with a nonce for the next one where the client needs them. */
int otok_exchange_use_proof(otok_exchange *exchange, const otok_owner *owner, const otok_rules *rules, int64_t now_us,
                            otok_error *err);

#endif
