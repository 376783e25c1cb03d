/*
 * oauth/oauth.h - what OAuth and OpenID Connect say about requests, above sessions.
 *
 * decide.c decides, over values, without I/O.  token.c, revoke.c and introspect.c are the endpoints, grant.c answers the grants that
 * the host has verified; they are built of endpoint.c (the way from request to answer), params.c (what a request says), dpop.c (proofs
 * of possession) and response.c (what is answered).  resource.c judges calls of protected resources, metadata.c describes the endpoints.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef OTOK_OAUTH_H
#define OTOK_OAUTH_H

#include "session/session.h"

/* The scope that asks for an offline token (OpenID Connect Core section 11). */
#define OTOK_OFFLINE_ACCESS "offline_access"

/* ---------------------------------------------------------------------------------------------------- params.c */

/* A request of an endpoint, with its form taken apart; wiped and freed with otok_params_free(). */
typedef struct otok_params {
    otok_http_request http;
    otok_form *form;
    const char *client_id; /* who asks: authenticated, or a public client that says so */
    int32_t client_type;
    otok_peer peer; /* without a DPoP key, and with what is fit to be kept: the two below, so this is not copied */
    char ip[64 + 1], user_agent[512 + 1];
} otok_params;

/*
 * Reads a POST with a form: OTOK_E_INVALID (invalid_request) for a wrong content type, a broken form, or a client_id that is not the
 * authenticated client's; OTOK_E_CLIENT (invalid_client) where nobody asks.  OTOK_E_UNSUPPORTED: the method is another (405).
 * OTOK_E_STATE (500): what is wrong is the host's.
 */
int otok_params_read(const otok_http_request *request, otok_params *out, otok_error *err);
void otok_params_free(otok_params *params);

/* The host's part of any request, and nothing of method, form and client.  OTOK_E_STATE. */
int otok_params_read_call(const otok_http_request *request, otok_params *out, otok_error *err);

/* ---------------------------------------------------------------------------------------------------- dpop.c */

/* A DPoP proof (RFC 9449 section 4.2) whose signature, method, URI and size are good; time, nonce and replay are not checked yet. */
typedef struct otok_proof {
    char jkt[OTOK_KID_CHARS + 1]; /* thumbprint of its key */
    char ath[OTOK_KID_CHARS + 1]; /* empty: none, or none that a SHA-256 could be */
    int64_t iat_us;
    char *nonce;                    /* NULL: none */
    uint8_t digest[OTOK_SEEN_SIZE]; /* of key and jti */
    bool used; /* it is remembered as used in this request: another attempt of the same is no replay */
} otok_proof;

/* OTOK_E_DPOP_PROOF.  `text` is the header's value. */
int otok_proof_read(const char *text, const char *method, const char *uri, otok_proof *out, otok_error *err);
void otok_proof_free(otok_proof *proof);

/*
 * Time, nonce, replay: to be called once MAC and client are good, so that strangers fill no memory; what it takes is the owner's.
 * OTOK_E_DPOP_PROOF; OTOK_E_DPOP_NONCE; OTOK_E_BUSY: the owner, or his client, has used too many at once, or it cannot be known
 * whether this one was.
 */
int otok_proof_use(otok_service *service, otok_proof *proof, const otok_owner *owner, const otok_rules *rules,
                   int64_t now_us, otok_error *err);

/* Whether it was made for this access token too: its `ath` (RFC 9449 section 4.3).  OTOK_E_DPOP_PROOF. */
int otok_proof_check_ath(const otok_proof *proof, const char *access_token, otok_error *err);

/* A nonce (RFC 9449 section 8): its time slot and a MAC over that; so nothing is kept, and every process knows it. */
enum { OTOK_NONCE_CHARS = 32 };
int otok_nonce_print(otok_service *service, int64_t now_us, char out[OTOK_NONCE_CHARS + 1], otok_error *err);
bool otok_nonce_is_fresh(otok_service *service, const char *nonce, int64_t now_us);

/* Both URIs without query and fragment, and normalised as RFC 3986 sections 6.2.2 and 6.2.3 say. */
bool otok_uri_equal(const char *a, const char *b);

/* Whether it is one that can be equal to another: an absolute URI of http or https. */
bool otok_uri_is_good(const char *text);

/* ---------------------------------------------------------------------------------------------------- response.c */

/*
 * The answer to an error: status and JSON of RFC 6749 section 5.2 for `code`, `description` in its alphabet, no-store, and what the code
 * asks for beside: Retry-After (a few seconds, less than half the retry window), WWW-Authenticate with a 401, Allow with a 405,
 * DPoP-Nonce.  `nonce` may be NULL.
 */
int otok_response_of_error(const otok_error *error, const char *nonce, otok_http_response **out, otok_error *err);

/* How an error is answered where its code alone does not say it. */
typedef struct otok_refusal {
    int32_t status;
    const char *name;        /* `error`; NULL: the client is told of none */
    const char *description; /* any text, of which the first OTOK_DESCRIPTION_MAX bytes are told; NULL: none */
    const char *challenge;   /* WWW-Authenticate; NULL: that of the token endpoint where the status is 401 */
} otok_refusal;

enum { OTOK_DESCRIPTION_MAX = sizeof((otok_error *)0)->message - 1 };

/* `error` is for the log. */
int otok_response_refuse(const otok_refusal *refusal, const otok_error *error, const char *nonce,
                         otok_http_response **out, otok_error *err);

/* What a client is told of an error with that status, where nobody says otherwise: of trouble of ours no more than what to do. */
const char *otok_error_description(const otok_error *error, int32_t status);

/* Appends a description in the alphabet of RFC 6749 section 5.2, which is that of RFC 6750 section 3 too. */
void otok_buf_add_description(otok_buf *buf, const char *text);

/* 200, or another, with a JSON body. */
int otok_response_json(int32_t status, const char *body, const char *nonce, otok_http_response **out, otok_error *err);

#endif
