/*
 * answer.c - answers: made by one of the functions here, with the headers that every answer has, and the layout that every page has.
 *
 * SPDX-License-Identifier: MIT
 */
#include "http.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

/* A request has its exchange around it; const or not, it is ours. */
static exchange *exchange_of(const request *r)
{
    return (exchange *)(uintptr_t)r;
}

/* ------------------------------------------------------------------------------------------------------------ headers */

static void add_header(exchange *x, const char *name, const char *value)
{
    struct own_header own = {strdup(name), strdup(value)};
    if (own.name != NULL && own.value != NULL && x->nheaders < MOST_HEADERS) {
        x->headers[x->nheaders++] = own;
        return;
    }
    free(own.name);
    free(own.value);
    x->lost_header = true;
}

static struct own_header *find_header(exchange *x, const char *name)
{
    for (size_t i = 0; i < x->nheaders; i++) {
        if (strcasecmp(x->headers[i].name, name) == 0)
            return &x->headers[i];
    }
    return NULL;
}

void answer_header(request *r, const char *name, const char *value)
{
    exchange *x = exchange_of(r);
    struct own_header *old = find_header(x, name);
    char *copy = old != NULL ? strdup(value) : NULL;
    if (old == NULL) {
        add_header(x, name, value);
    } else if (copy == NULL) {
        x->lost_header = true;
    } else {
        free(old->value);
        old->value = copy;
    }
}

/* Values are base64url, made by this server: nothing in them needs quoting (RFC 6265 section 4.1.1). */
void answer_cookie(request *r, const char *name, const char *value, int64_t max_age_s)
{
    exchange *x = exchange_of(r);
    text cookie = {0};
    html(&cookie, "__Host-%h=%h; Path=/; Secure; HttpOnly; SameSite=Lax", name, value != NULL ? value : "");
    if (value == NULL || max_age_s != 0)
        html(&cookie, "; Max-Age=%d", value != NULL ? max_age_s : INT64_C(0));
    if (cookie.failed)
        x->lost_header = true;
    else
        add_header(x, MHD_HTTP_HEADER_SET_COOKIE, cookie.data);
    text_free(&cookie);
}

/*
 * Chromium holds the redirect that answers a form against form-action, so the page has to name where it will lead.  A source has no
 * IPv6 address (Content Security Policy Level 3 section 2.3.1): then the scheme has to do, as for the schemes of applications.
 */
void answer_may_post_to(request *r, const char *url)
{
    exchange *x = exchange_of(r);
    static const char in_scheme[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789+-.";
    static const char in_source[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-.:";
    size_t scheme = strspn(url, in_scheme);
    if (scheme == 0 || url[scheme] != ':')
        return;
    size_t len = scheme + 1;
    bool is_web =
        (scheme == 4 && strncasecmp(url, "http", 4) == 0) || (scheme == 5 && strncasecmp(url, "https", 5) == 0);
    if (is_web && strncmp(url + len, "//", 2) == 0) {
        size_t authority = strcspn(url + len + 2, "/?#");
        if (authority != 0 && strspn(url + len + 2, in_source) == authority)
            len += 2 + authority;
    }
    text_append(&x->may_post_to, " ", 1);
    text_append(&x->may_post_to, url, len);
}

static enum MHD_Result set_policy(const exchange *x, struct MHD_Response *response)
{
    text policy = {0};
    html(&policy,
         "default-src 'none'; style-src 'self'; img-src 'self' data:; form-action 'self'%h; frame-ancestors 'none'; "
         "base-uri 'none'",
         x->may_post_to.data);
    enum MHD_Result done = policy.failed || x->may_post_to.failed
                               ? MHD_NO
                               : MHD_add_response_header(response, "Content-Security-Policy", policy.data);
    text_free(&policy);
    return done;
}

static enum MHD_Result set_headers(exchange *x)
{
    static const struct {
        const char *name, *value;
    } common[] = {
        {"Cache-Control", "no-store"},
        {"X-Content-Type-Options", "nosniff"},
        {"Referrer-Policy", "no-referrer"},
        {"Cross-Origin-Opener-Policy", "same-origin"},
    };
    enum MHD_Result done = set_policy(x, x->response);
    for (size_t i = 0; done == MHD_YES && i < sizeof common / sizeof common[0]; i++) {
        if (find_header(x, common[i].name) == NULL)
            done = MHD_add_response_header(x->response, common[i].name, common[i].value);
    }
    if (done == MHD_YES && strncmp(x->request.server->issuer, "https:", 6) == 0)
        done = MHD_add_response_header(x->response, "Strict-Transport-Security", "max-age=31536000");
    for (size_t i = 0; done == MHD_YES && i < x->nheaders; i++)
        done = MHD_add_response_header(x->response, x->headers[i].name, x->headers[i].value);
    return x->lost_header ? MHD_NO : done;
}

enum MHD_Result answer_send(exchange *x)
{
    request *r = &x->request;
    if (r->status == 0) {
        fprintf(stderr, "identity-server: %s %s: no answer was made\n", r->method, r->path);
        answer_problem(r, MHD_HTTP_INTERNAL_SERVER_ERROR, "Out of order", "Something is wrong on our side.");
    }
    if (x->response == NULL || set_headers(x) != MHD_YES)
        return MHD_NO; /* out of memory: the connection is closed */
    return MHD_queue_response(r->connection, (unsigned)r->status, x->response);
}

/* ------------------------------------------------------------------------------------------------------------- bodies */

static void free_body(void *body)
{
    text_free(body);
    free(body);
}

static void set_answer(request *r, int status, struct MHD_Response *response)
{
    exchange *x = exchange_of(r);
    if (x->response != NULL)
        MHD_destroy_response(x->response);
    r->status = status;
    x->response = response;
}

/* The text lives, and is wiped at its end, with the response. */
void answer_text(request *r, int status, const char *type, text *body)
{
    static char nothing[] = "";
    text *kept = malloc(sizeof *kept);
    struct MHD_Response *response = NULL;
    if (kept != NULL && !body->failed) {
        *kept = *body;
        *body = (text){0};
        response = MHD_create_response_from_buffer_with_free_callback_cls(
            kept->len, kept->data != NULL ? kept->data : nothing, free_body, kept);
    }
    if (response == NULL && kept != NULL && !body->failed)
        free_body(kept);
    else if (response == NULL)
        free(kept);
    text_free(body);
    answer_header(r, MHD_HTTP_HEADER_CONTENT_TYPE, type);
    set_answer(r, status, response);
}

void answer_json(request *r, int status, text *body)
{
    answer_text(r, status, "application/json", body);
}

void answer_see_other(request *r, const char *url)
{
    text body = {0};
    answer_header(r, MHD_HTTP_HEADER_LOCATION, url);
    answer_text(r, MHD_HTTP_SEE_OTHER, "text/plain", &body);
}

/* Trouble that somebody should look at.  Who keeps a server busy shall not fill its log as well. */
static void say(const request *r, int code, const char *message)
{
    if (otok_error_http(code) >= 500 && code != OTOK_E_BUSY)
        fprintf(stderr, "identity-server: %s: %s: %s\n", r->path, otok_error_name(code), message);
}

static void free_library(void *response)
{
    otok_http_response_free(response);
}

void answer_library(request *r, otok_http_response *response)
{
    if (response == NULL) /* then answer_send() says that no answer was made */
        return;
    say(r, response->code, response->message != NULL ? response->message : "");
    for (size_t i = 0; i < response->header_count; i++)
        answer_header(r, response->headers[i].name, response->headers[i].value);
    int status = response->status;
    struct MHD_Response *own = MHD_create_response_from_buffer_with_free_callback_cls(
        response->body_len, (void *)(uintptr_t)response->body, free_library, response);
    if (own == NULL)
        otok_http_response_free(response);
    set_answer(r, status, own);
}

/* A string of our own: what is in it needs no escape in JSON. */
void answer_oauth_error(request *r, int status, const char *error, const char *description)
{
    text body = {0};
    html(&body, "{\"error\":\"%h\"", error);
    if (description != NULL)
        html(&body, ",\"error_description\":\"%h\"", description);
    text_add(&body, "}");
    answer_json(r, status, &body);
}

/* -------------------------------------------------------------------------------------------------------------- pages */

static void html_link(const request *r, const char *path, const char *name, text *out)
{
    html(out, "<li><a href=\"%s\"%h>%s</a></li>", path, strcmp(r->path, path) == 0 ? " aria-current=\"page\"" : "",
         name);
}

static void html_top(const request *r, text *out)
{
    const user *who = r->login != NULL ? r->login->user : NULL;
    text_add(out, "<header class=\"top\"><a class=\"brand\" href=\"/\">Identity server</a>");
    if (who != NULL) {
        html(out, "<nav aria-label=\"You\"><ul><li class=\"who\">Logged in as %s</li>", who->name);
        html_link(r, "/account", "Account", out);
        if (who->is_administrator)
            html_link(r, "/admin", "Administration", out);
        html_link(r, "/logout", "Log out", out);
        text_add(out, "</ul></nav>");
    }
    text_add(out, "</header>\n");
}

void answer_page(request *r, int status, const char *title, text *body)
{
    text page = {0};
    html(&page,
         "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n"
         "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n"
         "<meta name=\"color-scheme\" content=\"light dark\">\n"
         "<title>%s – Identity server</title>\n<link rel=\"stylesheet\" href=\"/style.css\">\n"
         "<link rel=\"icon\" href=\"data:,\">\n</head>\n<body>\n"
         "<a class=\"skip\" href=\"#main\">To the content</a>\n",
         title);
    html_top(r, &page);
    html(&page, "<main id=\"main\" tabindex=\"-1\">\n<h1>%s</h1>\n%h\n</main>\n", title, body->data);
    text_add(&page, "<footer class=\"bottom\">An example of libofflinetok: offline sessions for identity "
                    "servers.</footer>\n</body>\n</html>\n");
    page.failed = page.failed || body->failed;
    text_free(body);
    answer_text(r, status, "text/html; charset=utf-8", &page);
}

void answer_problem(request *r, int status, const char *title, const char *what)
{
    text body = {0};
    html(&body, "<p class=\"notice notice-bad\" role=\"alert\">%s</p>\n<p><a href=\"/\">To the start page</a></p>",
         what);
    answer_page(r, status, title, &body);
}

void answer_failure(request *r, const otok_error *err)
{
    int status = otok_error_http(err->code);
    if (status == MHD_HTTP_OK) /* no error of the library at all */
        status = MHD_HTTP_INTERNAL_SERVER_ERROR;
    say(r, err->code, err->message);
    if (status == MHD_HTTP_SERVICE_UNAVAILABLE) {
        answer_header(r, MHD_HTTP_HEADER_RETRY_AFTER, "1");
        answer_problem(r, status, "Busy", "This server cannot do that at the moment. Try again in a little while.");
    } else if (status >= 500) {
        answer_problem(r, status, "Out of order", "Something is wrong on our side. It was written to the log.");
    } else {
        answer_problem(r, status, "Not possible", "This request cannot be carried out.");
    }
}

void html_csrf(const request *r, text *out)
{
    html(out, "<input type=\"hidden\" name=\"csrf\" value=\"%s\">", r->csrf);
}
