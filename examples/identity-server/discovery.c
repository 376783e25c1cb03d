/*
 * discovery.c - what programs read about this server and its users: metadata (OpenID Connect Discovery 1.0 section 3, RFC 8414), keys,
 * UserInfo (OpenID Connect Core 1.0 section 5.3).
 *
 * SPDX-License-Identifier: MIT
 */
#include <stdlib.h>
#include <string.h>

#include <cjson/cJSON.h>

#include "server.h"

/* ---------------------------------------------------------------------------------------------------- answers */

/* The text becomes the answer's: wiped and freed with it. */
static void answer_text_of(request *r, int status, const char *json)
{
    text body = {0};
    text_add(&body, json);
    answer_json(r, status, &body);
}

void answer_object(request *r, int status, cJSON *object)
{
    char *json = object != NULL ? cJSON_PrintUnformatted(object) : NULL;
    if (json != NULL)
        answer_text_of(r, status, json);
    else
        answer_refusal(r, OTOK_E_NOMEM, NULL);
    cJSON_free(json);
    cJSON_Delete(object);
}

/* The same for everybody: caches may keep it, and pages of any origin may read it. */
static void answer_is_public(request *r)
{
    answer_header(r, "Cache-Control", "public, max-age=300");
    answer_header(r, "Access-Control-Allow-Origin", "*");
}

/* ---------------------------------------------------------------------------------------------------- metadata */

static const char *const response_types[] = {"code", NULL};
static const char *const response_modes[] = {"query", NULL};
static const char *const grant_types[] = {
    "authorization_code", "refresh_token",      "urn:ietf:params:oauth:grant-type:device_code",
    "password",           "client_credentials", NULL};
static const char *const challenges[] = {"S256", NULL};
static const char *const token_auth[] = {"client_secret_basic", "client_secret_post", "none", NULL};
static const char *const secret_auth[] = {"client_secret_basic", "client_secret_post", NULL};
static const char *const subjects[] = {"public", NULL};
static const char *const prompts[] = {"none", "login", "consent", "select_account", NULL};
static const char *const claims[] = {"sub",   "iss", "aud", "exp",     "iat",  "auth_time",          "amr",
                                     "nonce", "azp", "sid", "at_hash", "name", "preferred_username", "email",
                                     NULL};

static const struct {
    const char *name;
    const char *const *values;
} lists[] = {
    {"response_types_supported", response_types},
    {"response_modes_supported", response_modes},
    {"grant_types_supported", grant_types},
    {"code_challenge_methods_supported", challenges},
    {"token_endpoint_auth_methods_supported", token_auth},
    {"revocation_endpoint_auth_methods_supported", token_auth},
    {"introspection_endpoint_auth_methods_supported", secret_auth},
    {"subject_types_supported", subjects},
    {"prompt_values_supported", prompts},
    {"claims_supported", claims},
};

static const struct {
    const char *name, *path;
} endpoints[] = {
    {"authorization_endpoint", "/authorize"},
    {"device_authorization_endpoint", "/device_authorization"},
    {"userinfo_endpoint", "/userinfo"},
    {"end_session_endpoint", "/logout"},
};

/* What is supported, or not, where the default of the specification would say otherwise. */
static const struct {
    const char *name;
    bool value;
} switches[] = {
    {"backchannel_logout_supported", true},
    {"backchannel_logout_session_supported", true},
    {"authorization_response_iss_parameter_supported", true}, /* RFC 9207 */
    {"claims_parameter_supported", false},
    {"request_parameter_supported", false},
    {"request_uri_parameter_supported", false},
    {"tls_client_certificate_bound_access_tokens", false}, /* the library could; here nobody looks at certificates */
};

/* Whatever some client may ask for. */
static bool add_scopes(const server *s, cJSON *object)
{
    const client *all;
    size_t n = directory_clients(s->directory, &all);
    text known = {0};
    cJSON *array = cJSON_AddArrayToObject(object, "scopes_supported");
    bool good = array != NULL;
    for (size_t i = 0; i < n; i++) {
        for (const char *const *name = all[i].scopes; good && name != NULL && *name != NULL; name++) {
            if (has_word(known.data, *name))
                continue;
            html(&known, "%h ", *name);
            good = !known.failed && cJSON_AddItemToArray(array, cJSON_CreateString(*name));
        }
    }
    text_free(&known);
    return good;
}

static bool add_endpoint(const server *s, cJSON *object, const char *name, const char *path)
{
    text uri = {0};
    html(&uri, "%h%h", s->issuer, path);
    bool good = !uri.failed && cJSON_AddStringToObject(object, name, uri.data) != NULL;
    text_free(&uri);
    return good;
}

static bool add_list(cJSON *object, const char *name, const char *const *values)
{
    cJSON *array = cJSON_AddArrayToObject(object, name);
    bool good = array != NULL;
    for (; good && *values != NULL; values++)
        good = cJSON_AddItemToArray(array, cJSON_CreateString(*values));
    return good;
}

static bool add_members(const server *s, cJSON *object)
{
    bool good = add_scopes(s, object);
    for (size_t i = 0; good && i < sizeof endpoints / sizeof endpoints[0]; i++)
        good = add_endpoint(s, object, endpoints[i].name, endpoints[i].path);
    for (size_t i = 0; good && i < sizeof lists / sizeof lists[0]; i++)
        good = add_list(object, lists[i].name, lists[i].values);
    for (size_t i = 0; good && i < sizeof switches / sizeof switches[0]; i++) {
        cJSON_DeleteItemFromObjectCaseSensitive(object, switches[i].name);
        good = cJSON_AddBoolToObject(object, switches[i].name, switches[i].value) != NULL;
    }
    return good;
}

/* What the library says of its endpoints. */
static int library_metadata(const server *s, char **out, otok_error *err)
{
    otok_metadata metadata;
    text token = {0}, revoke = {0}, introspect = {0}, jwks = {0};
    html(&token, "%h/token", s->issuer);
    html(&revoke, "%h/revoke", s->issuer);
    html(&introspect, "%h/introspect", s->issuer);
    html(&jwks, "%h/jwks", s->issuer);
    otok_metadata_init(&metadata, sizeof metadata);
    metadata.token_endpoint = token.data;
    metadata.revocation_endpoint = revoke.data;
    metadata.introspection_endpoint = introspect.data;
    metadata.jwks_uri = jwks.data;
    bool failed = token.failed || revoke.failed || introspect.failed || jwks.failed;
    int rc = failed ? OTOK_E_NOMEM : otok_endpoint_metadata(s->service, &metadata, out, err);
    text_free(&token);
    text_free(&revoke);
    text_free(&introspect);
    text_free(&jwks);
    return rc;
}

void show_metadata(request *r)
{
    char *json = NULL;
    otok_error err = {0};
    int rc = library_metadata(r->server, &json, &err);
    cJSON *object = rc == OTOK_OK ? cJSON_Parse(json) : NULL;
    otok_string_free(json);
    if (object == NULL || !add_members(r->server, object)) {
        cJSON_Delete(object);
        answer_endpoint(r, rc != OTOK_OK ? rc : OTOK_E_NOMEM, NULL, &err);
        return;
    }
    answer_is_public(r);
    answer_object(r, 200, object);
}

void show_jwks(request *r)
{
    char *json = NULL;
    otok_error err = {0};
    int rc = otok_endpoint_jwks(r->server->service, &json, &err);
    if (rc == OTOK_OK) {
        answer_is_public(r);
        answer_text_of(r, 200, json);
    } else {
        answer_endpoint(r, rc, NULL, &err);
    }
    otok_string_free(json);
}

/* ---------------------------------------------------------------------------------------------------- UserInfo */

static cJSON *claims_about(const user *u, const char *scopes)
{
    cJSON *object = user_claims(u, scopes);
    if (object != NULL && cJSON_AddStringToObject(object, "sub", u->id) != NULL)
        return object;
    cJSON_Delete(object);
    return NULL;
}

void show_userinfo(request *r)
{
    otok_http_request http;
    otok_introspection *token = NULL;
    otok_http_response *refusal = NULL;
    otok_error err = {0};
    const char *dpop[2];
    request_as_http(r, "/userinfo", &http, dpop);
    int rc = otok_endpoint_resource(r->server->service, &http, "openid", &token, &refusal, &err);
    const user *u = token != NULL ? directory_user(r->server->directory, token->subject) : NULL;
    if (rc != OTOK_OK || refusal != NULL)
        answer_endpoint(r, rc, refusal, &err);
    else if (u == NULL)
        answer_oauth_error(r, 403, "insufficient_scope", "the token is not about a user");
    else
        answer_object(r, 200, claims_about(u, token->scope));
    otok_introspection_free(token);
}
