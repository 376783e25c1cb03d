/*
 * guard.c - who sent this request, and whether a page of ours made them do so.
 *
 * A form of ours has a token: the browser's random cookie and its login, sealed.  Another site can neither read it nor make one, and it
 * is no good in another browser, or after another login.  That would do; Origin and Sec-Fetch-Site are looked at as well.
 *
 * SPDX-License-Identifier: MIT
 */
#include "http.h"

#include <stdlib.h>
#include <string.h>

static const int64_t form_lives_us = INT64_C(12) * 3600 * 1000000;

enum { COOKIE_LEN = 22 };

/* What a token of this browser says.  NULL: no memory. */
static char *statement(const request *r, const char *browser)
{
    text out = {0};
    html(&out, "%h %h", browser, r->login != NULL ? r->login->session_id : "");
    if (!out.failed)
        return out.data;
    text_free(&out);
    return NULL;
}

/* The browser's cookie; one is made where there is none, or what no cookie of ours looks like. */
static char *browser_of(request *r)
{
    char *browser = request_cookie(r, "browser");
    if (browser != NULL && strlen(browser) == COOKIE_LEN)
        return browser;
    free(browser);
    browser = random_name();
    if (browser != NULL)
        answer_cookie(r, "browser", browser, 0);
    return browser;
}

/* False: libcrypto or memory failed. */
static bool make_token(request *r, const char *browser)
{
    char *plain = browser != NULL ? statement(r, browser) : NULL;
    if (plain != NULL)
        r->csrf = seal_text(r->server->seal, "form", plain, now_us() + form_lives_us);
    free(plain);
    return r->csrf != NULL;
}

static bool has_good_token(const request *r, const char *browser)
{
    char *plain = statement(r, browser);
    char *told = unseal_text(r->server->seal, "form", form_value(r, "csrf"), now_us());
    bool is_good = same_text(plain, told);
    free(plain);
    free(told);
    return is_good;
}

/* A page with our Referrer-Policy sends "null" as Origin: then Sec-Fetch-Site tells, and in browsers without that the token alone. */
static bool is_from_here(const request *r)
{
    const char *site = request_header(r, "Sec-Fetch-Site"), *origin = request_header(r, "Origin");
    if (site != NULL)
        return strcmp(site, "same-origin") == 0 || strcmp(site, "none") == 0;
    if (origin == NULL || strcmp(origin, "null") == 0)
        return true;
    return strcmp(origin, r->server->issuer) == 0; /* which is an origin, and no more */
}

static bool may_come(request *r, const route *to)
{
    bool needs_user = to->access == ROUTE_USER || to->access == ROUTE_ADMIN;
    if (needs_user && r->login == NULL) {
        login_ask(r, strcmp(r->method, "GET") == 0 ? r->url : "/");
        return false;
    }
    if (to->access == ROUTE_ADMIN && !r->login->user->is_administrator) {
        answer_problem(r, MHD_HTTP_FORBIDDEN, "For administrators", "You are logged in, but not as an administrator.");
        return false;
    }
    return true;
}

static bool may_post(request *r, const char *browser)
{
    if (strcmp(r->method, "POST") != 0)
        return true;
    if (is_from_here(r) && has_good_token(r, browser))
        return true;
    answer_problem(r, MHD_HTTP_FORBIDDEN, "This form cannot be used",
                   "It is too old, you have logged in or out since, or your browser keeps no cookies for this site. "
                   "Nothing was done. Go back, reload the page, and try again.");
    return false;
}

bool guard(exchange *x, const route *to)
{
    request *r = &x->request;
    otok_error err;
    if (to->access == ROUTE_API)
        return true;
    if (login_find(r, &x->login, &err) != OTOK_OK) {
        answer_failure(r, &err);
        return false;
    }
    r->login = x->login;
    char *browser = browser_of(r);
    bool is_ready = make_token(r, browser);
    if (!is_ready)
        answer_problem(r, MHD_HTTP_INTERNAL_SERVER_ERROR, "Out of order", "This server is out of memory.");
    bool may = is_ready && may_come(r, to) && may_post(r, browser);
    free(browser);
    return may;
}
