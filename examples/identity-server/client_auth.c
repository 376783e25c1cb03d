/*
 * client_auth.c - which client asks (RFC 6749 section 2.3), and the two endpoints that need nothing but that: revocation and
 * introspection.
 *
 * SPDX-License-Identifier: MIT
 */
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include <openssl/crypto.h>
#include <openssl/evp.h>

#include "server.h"

enum { MOST_BASIC = 1024 }; /* characters of base64: far more than an id and a secret of ours */

/* ---------------------------------------------------------------------------------------------------- refusals */

void answer_endpoint(request *r, int code, otok_http_response *response, const otok_error *err)
{
    if (code == OTOK_OK) {
        answer_library(r, response);
        return;
    }
    fprintf(stderr, "identity-server: %s: %s: %s\n", r->path, otok_error_name(code), err->message);
    if (otok_error_http(code) == 503)
        answer_header(r, "Retry-After", "1");
    answer_oauth_error(r, otok_error_http(code), otok_error_oauth(code), NULL);
}

void answer_refusal(request *r, int code, const char *description)
{
    otok_http_response *response = NULL;
    otok_error err = {0};
    int rc = otok_endpoint_refuse(code, description, &response, &err);
    answer_endpoint(r, rc, response, &err);
}

/* ---------------------------------------------------------------------------------------------------- HTTP Basic */

/* What a client says that it is. */
typedef struct credentials {
    const char *id, *secret;          /* secret NULL: none */
    otok_form *id_form, *secret_form; /* where they are, when they came in a header */
} credentials;

static void credentials_free(credentials *c)
{
    otok_form_free(c->id_form);
    otok_form_free(c->secret_form);
}

/* A part of Basic credentials is form-encoded (RFC 6749 section 2.3.1): it is the value of a form with one name, so. */
static const char *form_decoded(const char *part, otok_form **form)
{
    char body[MOST_BASIC + 8];
    int len = snprintf(body, sizeof body, "v=%s", part);
    int rc = len > 0 && (size_t)len < sizeof body ? otok_form_parse(body, (size_t)len, form, NULL) : OTOK_E_INVALID;
    OPENSSL_cleanse(body, sizeof body);
    return rc == OTOK_OK && otok_form_count(*form) == 1 ? otok_form_get(*form, "v") : NULL;
}

/* Base64 with its padding.  False: it is none, or has a NUL in it. */
static bool decode_base64(const char *in, char out[MOST_BASIC])
{
    size_t len = strlen(in), padding = 0;
    if (len == 0 || len > MOST_BASIC || len % 4 != 0 || strspn(in, "\t\n\r ") != 0)
        return false;
    while (padding < 2 && in[len - 1 - padding] == '=')
        padding++;
    int size = EVP_DecodeBlock((unsigned char *)out, (const unsigned char *)in, (int)len);
    if (size < (int)padding)
        return false;
    out[(size_t)size - padding] = '\0';
    return strlen(out) == (size_t)size - padding;
}

static bool read_basic(const char *header, credentials *out)
{
    char decoded[MOST_BASIC];
    if (strncasecmp(header, "Basic ", 6) != 0 || !decode_base64(header + 6 + strspn(header + 6, " "), decoded))
        return false;
    char *colon = strchr(decoded, ':');
    if (colon != NULL) {
        *colon = '\0';
        out->id = form_decoded(decoded, &out->id_form);
        out->secret = form_decoded(colon + 1, &out->secret_form);
    }
    OPENSSL_cleanse(decoded, sizeof decoded);
    return out->id != NULL && out->secret != NULL;
}

/* ---------------------------------------------------------------------------------------------------- the client */

/* OTOK_OK, or what is wrong with how the client says who it is. */
static int read_credentials(const request *r, const otok_form *form, credentials *out, const char **why)
{
    const char *header = request_header(r, "Authorization");
    const char *id = otok_form_get(form, "client_id"), *secret = otok_form_get(form, "client_secret");
    if (otok_form_get(form, "client_assertion") != NULL || otok_form_get(form, "client_assertion_type") != NULL) {
        *why = "client assertions are not supported";
        return OTOK_E_CLIENT;
    }
    if (header == NULL) {
        *out = (credentials){.id = id, .secret = secret};
        *why = "client_id is missing";
        return id != NULL ? OTOK_OK : OTOK_E_CLIENT;
    }
    if (secret != NULL) { /* RFC 6749 section 2.3: not more than one method in a request */
        *why = "the client authenticates in two ways at once";
        return OTOK_E_INVALID;
    }
    *why = "the Authorization header is not that of client_secret_basic";
    if (!read_basic(header, out))
        return OTOK_E_CLIENT;
    *why = "client_id is not the client of the Authorization header";
    return id == NULL || strcmp(id, out->id) == 0 ? OTOK_OK : OTOK_E_INVALID;
}

/* A public client has no secret, and brings none: who does was meant to be another. */
static bool is_good(const client *c, const char *secret)
{
    return secret != NULL ? client_has_secret(c, secret) : c != NULL && c->secret == NULL;
}

const client *client_of(request *r, const otok_form *form)
{
    credentials said = {0};
    const char *why = NULL;
    const client *c = NULL;
    int code = read_credentials(r, form, &said, &why);
    if (code == OTOK_OK) {
        c = directory_client(r->server->directory, said.id);
        if (!is_good(c, said.secret)) {
            c = NULL;
            code = OTOK_E_CLIENT;
            why = "no such client, or not with this secret";
        }
    }
    credentials_free(&said);
    if (c == NULL)
        answer_refusal(r, code, why);
    return c;
}

/* ---------------------------------------------------------------------------------------------------- the endpoints */

const client *client_asks(request *r, const char *path, otok_http_request *http, const char **dpop)
{
    if (r->form == NULL) {
        answer_refusal(r, OTOK_E_INVALID, "the content type is not application/x-www-form-urlencoded");
        return NULL;
    }
    const client *c = client_of(r, r->form);
    if (c == NULL)
        return NULL;
    request_as_http(r, path, http, dpop);
    http->client_id = c->id;
    http->client_type = c->secret != NULL ? OTOK_CLIENT_CONFIDENTIAL : OTOK_CLIENT_PUBLIC;
    return c;
}

void do_revoke(request *r)
{
    otok_http_request http;
    otok_http_response *response = NULL;
    otok_error err = {0};
    const char *dpop[2];
    if (client_asks(r, "/revoke", &http, dpop) == NULL)
        return;
    int rc = otok_endpoint_revoke(r->server->service, &http, &response, &err);
    answer_endpoint(r, rc, response, &err);
}

/* A resource server's id is the audience of the tokens that are meant for it. */
void do_introspect(request *r)
{
    otok_http_request http;
    otok_http_response *response = NULL;
    otok_error err = {0};
    const char *dpop[2];
    const client *c = client_asks(r, "/introspect", &http, dpop);
    if (c == NULL)
        return;
    if (c->is_resource_server) {
        http.resource = &c->id;
        http.resource_count = 1;
    }
    int rc = otok_endpoint_introspect(r->server->service, &http, &response, &err);
    answer_endpoint(r, rc, response, &err);
}
