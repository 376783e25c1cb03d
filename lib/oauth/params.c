/*
 * params.c - what a request of an endpoint says: method, content type, form, client and peer.
 *
 * SPDX-License-Identifier: MIT
 */
#include "oauth/oauth.h"

#include <string.h>

enum { CLIENT_ID_BOUND = 255 };

void otok_http_request_init(otok_http_request *request, size_t size)
{
    otok_struct_init(request, size);
}

/* ---------------------------------------------------------------------------------------------------- content type */

/* Whether the text begins with `word`, which is lower case; without the locale, in which an I may be another letter. */
static bool begins_with(const char *text, size_t len, const char *word)
{
    size_t i = 0;
    while (i < len && word[i] != '\0' && otok_lower(text[i]) == word[i])
        i++;
    return word[i] == '\0';
}

static bool is_word(otok_str text, const char *word)
{
    return text.len == strlen(word) && begins_with(text.data, text.len, word);
}

static void skip_space(const char **at)
{
    while (**at == ' ' || **at == '\t')
        (*at)++;
}

/* A token of RFC 9110 section 5.6.2; empty where there is none. */
static otok_str read_token(const char **at)
{
    const char *start = *at;
    while (**at != '\0' &&
           ((otok_lower(**at) >= 'a' && otok_lower(**at) <= 'z') || strchr("0123456789!#$%&'*+-.^_`|~", **at)))
        (*at)++;
    return (otok_str){start, (size_t)(*at - start)};
}

/* What is between the quotes of a quoted-string (section 5.6.4), as it stands there. */
static bool read_quoted(const char **at, otok_str *out)
{
    const char *start = ++*at;
    while (**at != '\0' && **at != '"') {
        if (**at == '\\' && (*at)[1] != '\0')
            (*at)++;
        (*at)++;
    }
    *out = (otok_str){start, (size_t)(*at - start)};
    if (**at == '\0')
        return false;
    (*at)++;
    return true;
}

static bool read_value(const char **at, otok_str *out)
{
    if (**at == '"')
        return read_quoted(at, out);
    *out = read_token(at);
    return out->len != 0;
}

/* The parameters behind a media type (section 5.6.6), any of which may be missing between its semicolons. */
static bool are_parameters_good(const char *at)
{
    for (;;) {
        otok_str name, value;
        skip_space(&at);
        if (*at == '\0')
            return true;
        if (*at != ';')
            return false;
        at++;
        skip_space(&at);
        name = read_token(&at);
        if (name.len == 0)
            continue;
        if (*at != '=')
            return false;
        at++;
        if (!read_value(&at, &value) || (is_word(name, "charset") && !is_word(value, "utf-8")))
            return false;
    }
}

static bool is_form(const char *content_type)
{
    static const char form[] = "application/x-www-form-urlencoded";
    if (content_type == NULL)
        return false;
    skip_space(&content_type);
    return begins_with(content_type, strlen(content_type), form) && are_parameters_good(content_type + strlen(form));
}

/* ---------------------------------------------------------------------------------------------------- the form */

/* What is read is text; in a parameter that nobody reads may be anything (RFC 6749 section 3.2). */
static int check_text(const otok_form *form, otok_error *err)
{
    static const char *const read[] = {"grant_type", "refresh_token", "scope", "resource", "token", "client_id"};
    for (size_t i = 0; i < otok_form_count(form); i++) {
        const char *value = otok_form_value(form, i);
        for (size_t k = 0; k < sizeof read / sizeof read[0]; k++) {
            if (strcmp(otok_form_name(form, i), read[k]) == 0 && !otok_text_is_clean(value, strlen(value)))
                return otok_fail(err, OTOK_E_INVALID, "%s has control characters", read[k]);
        }
    }
    return OTOK_OK;
}

/* ---------------------------------------------------------------------------------------------------- who asks */

static int read_client(otok_params *params, otok_error *err)
{
    const otok_http_request *http = &params->http;
    const char *said = otok_form_get(params->form, "client_id");
    int rc = otok_text_check(said, CLIENT_ID_BOUND, false, "client_id", NULL, err);
    if (rc != OTOK_OK)
        return rc;
    /* Public clients alone need not authenticate (RFC 6749 section 3.2.1), and the host alone knows which those are. */
    if (http->client_id == NULL && http->client_type != OTOK_CLIENT_PUBLIC)
        return otok_fail(err, OTOK_E_CLIENT,
                         "no client has authenticated, and the host does not say that it is a public one");
    if (http->client_id == NULL && said == NULL)
        return otok_fail(err, OTOK_E_CLIENT, "no client has authenticated, and there is no client_id");
    /* Whoever brings a secret is no public client: its host has not looked, and it must not pass for one. */
    if (http->client_id == NULL && (otok_form_get(params->form, "client_secret") != NULL ||
                                    otok_form_get(params->form, "client_assertion") != NULL))
        return otok_fail(err, OTOK_E_CLIENT, "the client has credentials, and was not authenticated");
    if (http->client_id != NULL && said != NULL && strcmp(http->client_id, said) != 0)
        return otok_fail(err, OTOK_E_INVALID, "client_id is not the client that has authenticated");
    params->client_id = http->client_id != NULL ? http->client_id : said;
    params->client_type = http->client_id != NULL ? http->client_type : OTOK_CLIENT_PUBLIC;
    return OTOK_OK;
}

/* What is fit to be kept: strangers choose what their requests say of themselves, and no refresh fails because of it. */
static const char *keep(const char *text, char *out, size_t bound)
{
    size_t len = text != NULL ? strlen(text) : 0;
    if (len == 0 || !otok_text_is_clean(text, len))
        return NULL;
    len = otok_text_cut(text, len, bound);
    memcpy(out, text, len);
    out[len] = '\0';
    return out;
}

static void read_peer(otok_params *params)
{
    otok_peer_init(&params->peer, sizeof params->peer);
    params->peer.x5t_s256 = params->http.x5t_s256;
    params->peer.ip = keep(params->http.ip, params->ip, sizeof params->ip - 1);
    params->peer.user_agent = keep(params->http.user_agent, params->user_agent, sizeof params->user_agent - 1);
}

/* ---------------------------------------------------------------------------------------------------- the host's part */

static int check_host_texts(otok_params *params, otok_error *err)
{
    otok_peer peer;
    const otok_http_request *http = &params->http;
    const otok_choice_rule type = {http->client_type, OTOK_CLIENT_PUBLIC, "request.client_type"};
    int rc = otok_text_check(http->client_id, CLIENT_ID_BOUND, http->client_id != NULL, "request.client_id", NULL, err);
    if (rc == OTOK_OK)
        rc = otok_choices_check(&type, 1, OTOK_E_INVALID, err);
    return rc == OTOK_OK ? otok_peer_read(&params->peer, &peer, err) : rc;
}

/* What a client cannot have done wrong: it is not told that its request is invalid. */
static int check_host(otok_params *params, otok_error *err)
{
    otok_error why = {0};
    const otok_http_request *http = &params->http;
    int rc = check_host_texts(params, &why);
    if (rc != OTOK_OK)
        return otok_fail(err, rc == OTOK_E_INVALID ? OTOK_E_STATE : rc, "%s", why.message);
    if (http->unused != 0)
        return otok_fail(err, OTOK_E_STATE, "request.unused is not 0");
    if (http->body == NULL && http->body_len != 0)
        return otok_fail(err, OTOK_E_STATE, "request.body is NULL with a length");
    if (http->resource_count > OTOK_MAX_AUDIENCE || (http->resource_count != 0 && http->resource == NULL))
        return otok_fail(err, OTOK_E_STATE, "request.resource has more than %d items, or is NULL with a count",
                         OTOK_MAX_AUDIENCE);
    for (size_t i = 0; i < http->resource_count; i++) {
        if (http->resource[i] == NULL)
            return otok_fail(err, OTOK_E_STATE, "request.resource: item %zu is NULL", i);
    }
    return OTOK_OK;
}

/* ---------------------------------------------------------------------------------------------------- the request */

int otok_params_read_call(const otok_http_request *request, otok_params *out, otok_error *err)
{
    memset(out, 0, sizeof *out);
    int rc = otok_struct_read(&out->http, sizeof out->http, request, sizeof request->size, "otok_http_request", err);
    if (rc == OTOK_OK) {
        out->http.size = sizeof out->http;
        read_peer(out);
        rc = check_host(out, err);
    }
    if (rc != OTOK_OK)
        otok_params_free(out);
    return rc;
}

static int read_form(otok_params *params, otok_error *err)
{
    const otok_http_request *http = &params->http;
    if (http->method == NULL || strcmp(http->method, "POST") != 0)
        return otok_fail(err, OTOK_E_UNSUPPORTED, "the method is not POST");
    if (!is_form(http->content_type))
        return otok_fail(err, OTOK_E_INVALID, "the content type is not application/x-www-form-urlencoded in UTF-8");
    int rc = otok_form_parse(http->body, http->body_len, &params->form, err);
    return rc == OTOK_OK ? check_text(params->form, err) : rc;
}

int otok_params_read(const otok_http_request *request, otok_params *out, otok_error *err)
{
    int rc = otok_params_read_call(request, out, err);
    if (rc != OTOK_OK)
        return rc;
    rc = read_form(out, err);
    if (rc == OTOK_OK)
        rc = read_client(out, err);
    if (rc != OTOK_OK)
        otok_params_free(out);
    return rc;
}

void otok_params_free(otok_params *params)
{
    if (params != NULL) {
        otok_form_free(params->form);
        otok_wipe(params, sizeof *params);
    }
}
