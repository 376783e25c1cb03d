/*
 * token.c - the token endpoint (RFC 6749 section 3.2) and its grants.
 *
 * Each grant finds out who agreed to what, an approval, and issue.c answers with tokens for it.  A refresh is the library's alone.
 *
 * SPDX-License-Identifier: MIT
 */
#include <stdlib.h>
#include <string.h>

#include "server.h"

/* ---------------------------------------------------------------------------------------------------- refresh */

static void refresh(request *r, const client *c, const otok_http_request *http)
{
    otok_http_response *response = NULL;
    otok_error err = {0};
    (void)c;
    int rc = otok_endpoint_token(r->server->service, http, &response, &err);
    answer_endpoint(r, rc, response, &err);
}

/* ---------------------------------------------------------------------------------------------------- authorization code */

/* That a code is good for once is the library's part: once_key is made of it (RFC 6749 section 4.1.2). */
static void redeem_code(request *r, const client *c, const otok_http_request *http)
{
    const char *code = form_value(r, "code"), *redirect_uri = form_value(r, "redirect_uri");
    const char *verifier = form_value(r, "code_verifier");
    approval a = {0};
    char *memory = NULL;
    if (code == NULL || redirect_uri == NULL || verifier == NULL) {
        answer_refusal(r, OTOK_E_INVALID, "code, redirect_uri and code_verifier are required");
        return;
    }
    if (!code_open(r, c, code, redirect_uri, verifier, &a, &memory)) {
        answer_refusal(r, OTOK_E_DENIED, "no such code, or not for this client, redirect_uri and code_verifier");
        return;
    }
    answer_tokens(r, http, &a);
    free(memory);
}

/* ---------------------------------------------------------------------------------------------------- grants without a page */

/* A grant that asks nobody is the consent itself; the client's refreshes look for it. */
static void answer_without_page(request *r, const otok_http_request *http, approval *a, const char *asked)
{
    char *granted = NULL, subject[SUBJECT_ROOM];
    otok_error err = {0};
    int rc = scope_granted(a->client, a->user, asked, a->grant_type, &granted, &err);
    if (rc == OTOK_OK && a->client->must_consent)
        rc = consent_add(r->server, subject_of(a, subject), a->client, granted, &err);
    a->scope = granted;
    if (rc == OTOK_OK)
        answer_tokens(r, http, a);
    else if (rc == OTOK_E_SCOPE)
        answer_refusal(r, rc, err.message);
    else
        answer_endpoint(r, rc, NULL, &err);
    free(granted);
}

static const char NO_SCOPE[] = "no scope is asked for that this client may have";

/* RFC 6749 section 4.3, for the few clients that are registered for it. */
static void check_password(request *r, const client *c, const otok_http_request *http)
{
    const char *name = form_value(r, "username"), *password = form_value(r, "password");
    text scopes = {0};
    approval a = {.client = c, .grant_type = OTOK_GRANT_PASSWORD, .auth_time_us = now_us(), .amr = "pwd"};
    if (name == NULL || password == NULL) {
        answer_refusal(r, OTOK_E_INVALID, "username and password are required");
        return;
    }
    client_scopes(c, form_value(r, "scope"), &scopes);
    if (scopes.failed)
        answer_refusal(r, OTOK_E_NOMEM, NULL);
    else if (scopes.len == 0)
        answer_refusal(r, OTOK_E_SCOPE, NO_SCOPE);
    else if ((a.user = login_check(r, name, password)) == NULL)
        answer_refusal(r, OTOK_E_DENIED, "wrong name or password, or too many attempts");
    else
        answer_without_page(r, http, &a, scopes.data);
    text_free(&scopes);
}

/* RFC 6749 section 4.4.  Nobody is there of whom an ID token or UserInfo could tell: those scopes are left out. */
static void act_for_itself(request *r, const client *c, const otok_http_request *http)
{
    text scopes = {0}, left = {0};
    char *rest = NULL;
    approval a = {.client = c, .grant_type = OTOK_GRANT_CLIENT_CREDENTIALS};
    client_scopes(c, form_value(r, "scope"), &scopes);
    char *first = scopes.data != NULL ? strtok_r(scopes.data, " ", &rest) : NULL;
    for (char *word = first; word != NULL; word = strtok_r(NULL, " ", &rest)) {
        if (!has_word("openid profile email", word))
            html(&left, "%h%h", left.len > 0 ? " " : "", word);
    }
    if (scopes.failed || left.failed)
        answer_refusal(r, OTOK_E_NOMEM, NULL);
    else if (c->secret == NULL)
        answer_refusal(r, OTOK_E_UNAUTHORIZED_CLIENT, "a public client has no credentials of its own");
    else if (left.len == 0)
        answer_refusal(r, OTOK_E_SCOPE, NO_SCOPE);
    else
        answer_without_page(r, http, &a, left.data);
    text_free(&scopes);
    text_free(&left);
}

/* ---------------------------------------------------------------------------------------------------- the endpoint */

static const struct {
    const char *name;
    void (*handle)(request *r, const client *c, const otok_http_request *http);
} grants[] = {
    {"refresh_token", refresh},
    {"authorization_code", redeem_code},
    {"urn:ietf:params:oauth:grant-type:device_code", do_device_token},
    {"password", check_password},
    {"client_credentials", act_for_itself},
};

void do_token(request *r)
{
    otok_http_request http;
    const char *dpop[2];
    const client *c = client_asks(r, "/token", &http, dpop);
    if (c == NULL)
        return;
    const char *grant_type = form_value(r, "grant_type");
    size_t i = 0;
    while (grant_type != NULL && i < sizeof grants / sizeof grants[0] && strcmp(grants[i].name, grant_type) != 0)
        i++;
    if (grant_type == NULL)
        answer_refusal(r, OTOK_E_INVALID, "grant_type is required");
    else if (i == sizeof grants / sizeof grants[0])
        answer_refusal(r, OTOK_E_GRANT_TYPE, "this server does not know that grant type");
    else if (c->is_resource_server || !client_may_use(c, grant_type))
        answer_refusal(r, OTOK_E_UNAUTHORIZED_CLIENT, "the client is not registered for that grant type");
    else
        grants[i].handle(r, c, &http);
}
