/*
 * authorize_check.c - what can be wrong with an authorization request that is from a known client, and for a known address.
 *
 * SPDX-License-Identifier: MIT
 */
#include <string.h>

#include "authorize.h"

enum { NONCE_MAX = 512, SHA256_TEXT = 43 };

static bool has_request(const authorization *a)
{
    return query_value(a->r, "request") != NULL;
}

static bool has_request_uri(const authorization *a)
{
    return query_value(a->r, "request_uri") != NULL;
}

static bool has_registration(const authorization *a)
{
    return query_value(a->r, "registration") != NULL;
}

static bool has_other_mode(const authorization *a)
{
    const char *mode = query_value(a->r, "response_mode");
    return mode != NULL && strcmp(mode, "query") != 0;
}

static bool lacks_type(const authorization *a)
{
    return query_value(a->r, "response_type") == NULL;
}

static bool has_other_type(const authorization *a)
{
    return strcmp(query_value(a->r, "response_type"), "code") != 0;
}

static bool may_not_ask(const authorization *a)
{
    return !client_may_use(a->client, "authorization_code");
}

/* The base64url of a SHA-256. */
static bool is_sha256(const char *value)
{
    static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    return strlen(value) == SHA256_TEXT && strspn(value, alphabet) == SHA256_TEXT;
}

/* RFC 9700 section 2.1.1, for every client; RFC 7636 section 4.3: without a method it would be plain. */
static bool lacks_challenge(const authorization *a)
{
    const char *method = query_value(a->r, "code_challenge_method");
    return a->challenge == NULL || !is_sha256(a->challenge) || method == NULL || strcmp(method, "S256") != 0;
}

static bool has_bad_jkt(const authorization *a)
{
    return a->dpop_jkt != NULL && !is_sha256(a->dpop_jkt);
}

/* What the library would not put into an ID token. */
static bool has_bad_nonce(const authorization *a)
{
    const char *at = a->nonce == NULL ? "" : a->nonce;
    if (strlen(at) > NONCE_MAX)
        return true;
    while ((unsigned char)*at >= ' ' && *at != 0x7f)
        at++;
    return *at != '\0';
}

/* Every word is known, and `none` is alone (OpenID Connect Core 3.1.2.1). */
static bool has_bad_prompt(const authorization *a)
{
    static const char *const words[] = {"none", "login", "consent", "select_account"};
    size_t len = strlen(a->prompt), known = 0, letters = 0;
    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++)
        known += has_word(a->prompt, words[i]) ? strlen(words[i]) : 0;
    for (size_t i = 0; i < len; i++)
        letters += a->prompt[i] != ' ';
    return letters != known || (has_word(a->prompt, "none") && letters != strlen("none"));
}

/* Digits, and not more of them than a lifetime takes. */
static bool has_bad_max_age(const authorization *a)
{
    const char *age = query_value(a->r, "max_age");
    return age != NULL && (strlen(age) > 10 || strspn(age, "0123456789") != strlen(age));
}

/* Whether a resource is this server, or looks at a scope that this client may have. */
static bool is_resource(const authorization *a, const char *resource)
{
    const server *s = a->r->server;
    if (strcmp(resource, s->issuer) == 0)
        return true;
    for (size_t i = 0; a->client->scopes[i] != NULL; i++) {
        const scope *known = directory_scope(s->directory, a->client->scopes[i]);
        if (known != NULL && known->audience != NULL && strcmp(known->audience, resource) == 0)
            return true;
    }
    return false;
}

static bool has_other_resource(const authorization *a)
{
    const otok_form *query = a->r->query;
    for (size_t i = 0; i < otok_form_count(query); i++) {
        const char *value = otok_form_value(query, i);
        if (strcmp(otok_form_name(query, i), "resource") == 0 && *value != '\0' && !is_resource(a, value))
            return true;
    }
    return false;
}

/* The first that is so is told to the client. */
const mistake authorize_mistakes[] = {
    {has_request, "request_not_supported", NULL},
    {has_request_uri, "request_uri_not_supported", NULL},
    {has_registration, "registration_not_supported", NULL},
    {has_other_mode, "invalid_request", "response_mode: only query is supported"},
    {lacks_type, "invalid_request", "response_type is missing"},
    {has_other_type, "unsupported_response_type", "response_type: only code is supported"},
    {may_not_ask, "unauthorized_client", "this client is not registered for authorization_code"},
    {lacks_challenge, "invalid_request", "code_challenge with code_challenge_method=S256 is required"},
    {has_bad_jkt, "invalid_request", "dpop_jkt is not the base64url of a SHA-256"},
    {has_bad_nonce, "invalid_request", "nonce is longer than 512 bytes, or has control characters"},
    {has_bad_prompt, "invalid_request", "prompt has an unknown word, or none beside another"},
    {has_bad_max_age, "invalid_request", "max_age is not a number of seconds"},
    {has_other_resource, "invalid_target", "no scope of this client is for that resource"},
    {0},
};
