/*
 * authorize.h - an authorization request, which authorize_check.c checks, authorize.c answers, and consent.c shows.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef IDENTITY_SERVER_AUTHORIZE_H
#define IDENTITY_SERVER_AUTHORIZE_H

#include "server.h"

typedef struct authorization {
    request *r;
    const client *client;
    const char *redirect_uri; /* one of the client's */
    const char *state, *nonce, *challenge, *dpop_jkt;
    const char *prompt; /* "": none */
    int64_t max_age_s;  /* -1: none */
    int64_t asked_us;   /* when this server sent the user to the login page for this request; 0: it did not */
    char *hinted;       /* the subject of id_token_hint, or NULL */
    bool is_allowed;    /* by the user, on the consent page, now */
    text scope;         /* to be granted */
} authorization;

/* What a request can be refused for; the table ends with is_so NULL. */
typedef struct mistake {
    bool (*is_so)(const authorization *a);
    const char *error, *description;
} mistake;

extern const mistake authorize_mistakes[];

/* The request once more, at a path: what the state between pages is.  `with_asked`: also when the user was sent to the login page. */
void authorize_url(const authorization *a, const char *path, bool with_asked, text *out);

void show_consent(const authorization *a);

#endif
