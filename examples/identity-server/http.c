/*
 * http.c - requests: read whole, looked up in the table of routes, guarded, handed on.
 *
 * libmicrohttpd calls exchange_new() with the first line, exchange_go_on() once with the headers, with each piece of the body, and at
 * its end, and exchange_free() whatever became of it.
 *
 * SPDX-License-Identifier: MIT
 */
#include "http.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

/* A body that is too large is read so far, to be answered, and then the connection is closed. */
enum { MOST_IGNORED = 1 << 20 };

/* ------------------------------------------------------------------------------------------------------ what it says */

const char *request_header(const request *r, const char *name)
{
    return MHD_lookup_connection_value(r->connection, MHD_HEADER_KIND, name);
}

/* A cookie of that name it is, in the case in which it is written: browsers guard "__Host-", and older ones no "__host-". */
struct cookie {
    const char *name, *value;
};

static enum MHD_Result find_cookie(void *wanted, enum MHD_ValueKind kind, const char *name, const char *value)
{
    struct cookie *cookie = wanted;
    (void)kind;
    if (cookie->value == NULL && strcmp(name, cookie->name) == 0)
        cookie->value = value;
    return MHD_YES;
}

char *request_cookie(const request *r, const char *name)
{
    text full = {0};
    struct cookie found = {NULL, NULL};
    html(&full, "__Host-%h", name);
    if (!full.failed) {
        found.name = full.data;
        MHD_get_connection_values(r->connection, MHD_COOKIE_KIND, find_cookie, &found);
    }
    text_free(&full);
    return found.value != NULL && *found.value != '\0' ? strdup(found.value) : NULL;
}

const char *query_value(const request *r, const char *name)
{
    return r->query != NULL ? otok_form_get(r->query, name) : NULL;
}

const char *form_value(const request *r, const char *name)
{
    return r->form != NULL ? otok_form_get(r->form, name) : NULL;
}

/* At most two: more than one is an error already. */
struct proofs {
    const char **values;
    size_t count;
};

static enum MHD_Result add_proof(void *arg, enum MHD_ValueKind kind, const char *name, const char *value)
{
    struct proofs *proofs = arg;
    (void)kind;
    if (strcasecmp(name, "DPoP") == 0 && proofs->count < 2)
        proofs->values[proofs->count++] = value != NULL ? value : "";
    return MHD_YES;
}

void request_as_http(const request *r, const char *path, otok_http_request *out, const char **dpop)
{
    exchange *x = (exchange *)(uintptr_t)r;
    struct proofs proofs = {dpop, 0};
    MHD_get_connection_values(r->connection, MHD_HEADER_KIND, add_proof, &proofs);
    text_free(&x->endpoint);
    text_add(&x->endpoint, r->server->issuer);
    text_add(&x->endpoint, path);
    otok_http_request_init(out, sizeof *out);
    out->method = r->method;
    out->uri = x->endpoint.failed ? NULL : x->endpoint.data;
    out->content_type = request_header(r, MHD_HTTP_HEADER_CONTENT_TYPE);
    out->body = r->body;
    out->body_len = r->body_len;
    out->dpop = proofs.values;
    out->dpop_count = proofs.count;
    out->ip = r->ip;
    out->user_agent = request_header(r, MHD_HTTP_HEADER_USER_AGENT);
    out->authorization = request_header(r, MHD_HTTP_HEADER_AUTHORIZATION);
}

/* ------------------------------------------------------------------------------------------------------------ reading */

static int digit_of(char c)
{
    static const char hex[] = "0123456789abcdef";
    const char *place = c != '\0' ? strchr(hex, c | ('A' <= c && c <= 'F' ? 0x20 : 0)) : NULL;
    return place != NULL ? (int)(place - hex) : -1;
}

/* Percent-decodes what stands before the query; NULL: a bad escape, a control character, or no memory. */
static char *decode_path(const char *url)
{
    size_t len = strcspn(url, "?"), at = 0;
    char *path = malloc(len + 1);
    bool is_good = path != NULL && url[0] == '/';
    for (size_t i = 0; is_good && i < len; i++) {
        int c = (unsigned char)url[i];
        if (c == '%') {
            int high = digit_of(url[i + 1]), low = high >= 0 ? digit_of(url[i + 2]) : -1;
            c = low >= 0 ? high << 4 | low : 0;
            i += 2;
        }
        is_good = c >= 0x20 && c != 0x7f;
        if (is_good)
            path[at++] = (char)c;
    }
    if (!is_good) {
        free(path);
        return NULL;
    }
    path[at] = '\0';
    return path;
}

/* A proxy may send an absolute URL, of which only the path counts here (RFC 9112 section 3.2.2). */
static const char *without_origin(const char *url)
{
    const char *authority = strstr(url, "://");
    if (url[0] == '/' || authority == NULL)
        return url;
    const char *path = strchr(authority + 3, '/');
    return path != NULL ? path : "/";
}

static enum MHD_Result find_forwarded(void *last, enum MHD_ValueKind kind, const char *name, const char *value)
{
    (void)kind;
    if (strcasecmp(name, "X-Forwarded-For") == 0 && value != NULL)
        *(const char **)last = value;
    return MHD_YES;
}

/* The last address of the last X-Forwarded-For is the proxy's own word; what stands before it anybody could have sent. */
static const char *forwarded(const request *r)
{
    const char *list = NULL;
    if (r->server->behind_proxy)
        MHD_get_connection_values(r->connection, MHD_HEADER_KIND, find_forwarded, (void *)&list);
    const char *comma = list != NULL ? strrchr(list, ',') : NULL;
    const char *last = comma != NULL ? comma + 1 : list;
    return last != NULL ? last + strspn(last, " \t") : NULL;
}

static void read_address(request *r)
{
    const union MHD_ConnectionInfo *info = MHD_get_connection_info(r->connection, MHD_CONNECTION_INFO_CLIENT_ADDRESS);
    const struct sockaddr *peer = info != NULL ? info->client_addr : NULL;
    const char *told = forwarded(r);
    unsigned char parsed[sizeof(struct in6_addr)];
    if (told != NULL && strlen(told) < sizeof r->ip &&
        (inet_pton(AF_INET, told, parsed) == 1 || inet_pton(AF_INET6, told, parsed) == 1))
        memcpy(r->ip, told, strlen(told) + 1);
    else if (peer != NULL && peer->sa_family == AF_INET)
        inet_ntop(AF_INET, &((const struct sockaddr_in *)(const void *)peer)->sin_addr, r->ip, sizeof r->ip);
    else if (peer != NULL && peer->sa_family == AF_INET6)
        inet_ntop(AF_INET6, &((const struct sockaddr_in6 *)(const void *)peer)->sin6_addr, r->ip, sizeof r->ip);
}

/* What is refused before a route is found, or by it: programs read JSON, people pages. */
static void refuse(request *r, bool is_program, int status, const char *title, const char *what)
{
    if (is_program)
        answer_oauth_error(r, status, "invalid_request", what);
    else
        answer_problem(r, status, title, what);
}

/* False: answered. */
static bool read_url(exchange *x)
{
    request *r = &x->request;
    otok_error err;
    const char *query = x->url != NULL ? strchr(x->url, '?') : NULL;
    x->path = x->url != NULL ? decode_path(x->url) : NULL;
    if (x->path == NULL) {
        answer_problem(r, MHD_HTTP_BAD_REQUEST, "Bad request", "This address cannot be read.");
        return false;
    }
    r->url = x->url;
    r->path = x->path;
    if (query != NULL && query[1] != '\0' &&
        otok_form_parse(query + 1, strlen(query + 1), &r->query, &err) != OTOK_OK) {
        answer_problem(r, MHD_HTTP_BAD_REQUEST, "Bad request",
                       "What stands behind the question mark of this address cannot be read: a parameter is there "
                       "twice, or is not "
                       "encoded as it should be.");
        return false;
    }
    return true;
}

static bool is_form(const request *r)
{
    static const char form[] = "application/x-www-form-urlencoded";
    const char *type = request_header(r, MHD_HTTP_HEADER_CONTENT_TYPE);
    size_t len = sizeof form - 1;
    return type != NULL && strncasecmp(type, form, len) == 0 && strchr("; \t", type[len]) != NULL;
}

/* False: answered. */
static bool read_body(exchange *x, const route *to)
{
    request *r = &x->request;
    otok_error err;
    const bool is_program = to->access == ROUTE_API;
    if (x->is_too_large || x->body.failed) {
        refuse(r, is_program, MHD_HTTP_CONTENT_TOO_LARGE, "Too large", "A request may have 64 KiB at most.");
        return false;
    }
    r->body = x->body.data != NULL ? x->body.data : "";
    r->body_len = x->body.len;
    if (!is_form(r) || otok_form_parse(r->body, r->body_len, &r->form, &err) == OTOK_OK)
        return true;
    refuse(r, is_program, MHD_HTTP_BAD_REQUEST, "Bad request", "This form cannot be read.");
    return false;
}

/* -------------------------------------------------------------------------------------------------------- the routes */

static bool has_path(const route *to, const char *path)
{
    size_t len = strlen(to->path);
    if (len > 1 && to->path[len - 1] == '/')
        return strncmp(to->path, path, len) == 0 && path[len] != '\0';
    return strcmp(to->path, path) == 0;
}

/* NULL: answered. */
static const route *find_route(exchange *x)
{
    request *r = &x->request;
    text allowed = {0};
    bool is_program = false;
    for (const route *to = routes; to->method != NULL; to++) {
        if (!has_path(to, r->path))
            continue;
        if (strcmp(to->method, r->method) == 0) {
            size_t len = strlen(to->path);
            r->rest = r->path + (to->path[len - 1] == '/' ? len : strlen(r->path));
            text_free(&allowed);
            return to;
        }
        is_program = to->access == ROUTE_API;
        html(&allowed, "%h%h%h", allowed.len != 0 ? ", " : "", to->method,
             strcmp(to->method, "GET") == 0 ? ", HEAD" : "");
    }
    if (allowed.data != NULL) {
        answer_header(r, MHD_HTTP_HEADER_ALLOW, allowed.data);
        refuse(r, is_program, MHD_HTTP_METHOD_NOT_ALLOWED, "Not this way", "This address takes no such request.");
    } else {
        answer_problem(r, MHD_HTTP_NOT_FOUND, "Not found", "There is no such page here.");
    }
    text_free(&allowed);
    return NULL;
}

/* Header fields of which a request has one at most. */
struct single {
    int host, length, encoding, authorization;
    bool is_bad; /* a name that is none, or an encoding that is not known here */
};

static enum MHD_Result count_single(void *arg, enum MHD_ValueKind kind, const char *name, const char *value)
{
    struct single *found = arg;
    (void)kind;
    found->host += strcasecmp(name, MHD_HTTP_HEADER_HOST) == 0;
    found->length += strcasecmp(name, MHD_HTTP_HEADER_CONTENT_LENGTH) == 0;
    found->authorization += strcasecmp(name, MHD_HTTP_HEADER_AUTHORIZATION) == 0;
    if (strcasecmp(name, MHD_HTTP_HEADER_TRANSFER_ENCODING) == 0) {
        found->encoding++;
        found->is_bad = found->is_bad || value == NULL || strcasecmp(value, "chunked") != 0;
    }
    found->is_bad = found->is_bad || strpbrk(name, " \t") != NULL;
    return MHD_YES;
}

/*
 * Where a request ends, and who authenticates with it, would depend on who looks, a proxy before us or we: such a request is refused,
 * and nothing behind it is read (RFC 9112 section 6.3).
 */
static bool is_ambiguous(request *r)
{
    struct single found = {0};
    MHD_get_connection_values(r->connection, MHD_HEADER_KIND, count_single, &found);
    return found.is_bad || found.host > 1 || found.authorization > 1 || found.length + found.encoding > 1;
}

static void handle(exchange *x)
{
    if (x->is_ambiguous) {
        answer_header(&x->request, MHD_HTTP_HEADER_CONNECTION, "close");
        answer_oauth_error(&x->request, MHD_HTTP_BAD_REQUEST, "invalid_request",
                           "a header field is there twice, or two contradict each other");
        return;
    }
    if (!read_url(x))
        return;
    const route *to = find_route(x);
    if (to != NULL && read_body(x, to) && guard(x, to))
        to->handle(&x->request);
}

/* ---------------------------------------------------------------------------------------- what libmicrohttpd calls */

void *exchange_new(void *of, const char *url, struct MHD_Connection *connection)
{
    exchange *x = calloc(1, sizeof *x);
    if (x == NULL)
        return NULL;
    x->url = strdup(without_origin(url));
    x->request.server = of;
    x->request.connection = connection;
    x->request.path = "";
    return x;
}

/* The headers are there. */
static void begin(exchange *x, const char *method)
{
    request *r = &x->request;
    const char *length = request_header(r, MHD_HTTP_HEADER_CONTENT_LENGTH);
    x->has_begun = true;
    r->method = strcmp(method, MHD_HTTP_METHOD_HEAD) == 0 ? MHD_HTTP_METHOD_GET : method;
    x->is_too_large = length != NULL && strtoull(length, NULL, 10) > MOST_BODY;
    x->is_ambiguous = is_ambiguous(r);
    read_address(r);
}

/* False: it goes on and on. */
static bool take(exchange *x, const char *data, size_t len)
{
    x->is_too_large = x->is_too_large || len > MOST_BODY - x->body.len;
    if (!x->is_too_large) {
        text_append(&x->body, data, len);
        return true;
    }
    x->request.body_len += len; /* counts what is ignored; a request like this is never handed on */
    return x->request.body_len <= MOST_IGNORED;
}

enum MHD_Result exchange_go_on(void *of, struct MHD_Connection *connection, const char *url, const char *method,
                               const char *version, const char *data, size_t *data_len, void **exchange_of)
{
    exchange *x = *exchange_of;
    (void)of, (void)connection, (void)url, (void)version;
    if (x == NULL)
        return MHD_NO;
    if (!x->has_begun) {
        begin(x, method);
        if (!x->is_too_large && !x->is_ambiguous)
            return MHD_YES;
    } else if (*data_len != 0) {
        size_t len = *data_len;
        *data_len = 0;
        return take(x, data, len) ? MHD_YES : MHD_NO;
    }
    handle(x);
    return answer_send(x);
}

void exchange_free(void *of, struct MHD_Connection *connection, void **exchange_of, enum MHD_RequestTerminationCode how)
{
    exchange *x = *exchange_of;
    (void)of, (void)connection, (void)how;
    *exchange_of = NULL;
    if (x == NULL)
        return;
    otok_form_free(x->request.query);
    otok_form_free(x->request.form);
    login_free(x->login);
    if (x->response != NULL)
        MHD_destroy_response(x->response);
    for (size_t i = 0; i < x->nheaders; i++) {
        free(x->headers[i].name);
        free(x->headers[i].value);
    }
    text_free(&x->body);
    text_free(&x->endpoint);
    text_free(&x->may_post_to);
    free(x->request.csrf);
    free(x->path);
    free(x->url);
    free(x);
}
