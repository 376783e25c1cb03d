/*
 * logout.c - RP-initiated logout (OpenID Connect RP-Initiated Logout 1.0), and the same from the link on our own pages.
 *
 * Whoever sends a browser here with an ID token of its present login has shown that he belongs to it; anybody else could be a page that
 * wants to annoy, and the user is asked.
 *
 * SPDX-License-Identifier: MIT
 */
#include <stdlib.h>
#include <string.h>

#include <cjson/cJSON.h>

#include "server.h"

/* What a request of a logout says, as far as it is true. */
typedef struct departure {
    const client *client; /* whose post_logout_redirect_uri it is; NULL: unknown */
    const char *redirect_uri, *state;
    cJSON *hint; /* claims of an ID token that we have issued; NULL: none */
    const char *problem;
} departure;

static void departure_free(departure *d)
{
    cJSON_Delete(d->hint);
}

static const char *claim(const departure *d, const char *name)
{
    return cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(d->hint, name));
}

/* ---------------------------------------------------------------------------------------------------- reading */

/* Who the ID token was for; that it has expired is of no account (section 2). */
static const char *audience_of(const departure *d)
{
    const char *party = claim(d, "azp");
    return party != NULL ? party : claim(d, "aud");
}

/* OTOK_OK, also where the hint is none of ours, which is a problem; anything else: the library failed. */
static int read_hint(const request *r, const char *hint, departure *d, otok_error *err)
{
    char *claims = NULL;
    if (hint == NULL)
        return OTOK_OK;
    int rc = otok_jwt_verify(r->server->service, hint, "JWT", &claims, err);
    d->hint = rc == OTOK_OK ? cJSON_Parse(claims) : NULL;
    otok_string_free(claims);
    if (rc == OTOK_OK && d->hint == NULL)
        return out_of_memory(err);
    if (rc == OTOK_E_TOKEN_INVALID || rc == OTOK_E_INVALID)
        d->problem = "The application that sent you here has shown an ID token that is not of this server.";
    return d->problem != NULL ? OTOK_OK : rc;
}

static bool may_return_to(const client *c, const char *uri)
{
    const char *const *known = c->post_logout_redirect_uris;
    while (known != NULL && *known != NULL && strcmp(*known, uri) != 0)
        known++;
    return known != NULL && *known != NULL;
}

/* Section 3: never to an address that is not registered, exactly so, by this client. */
static void check_client(const request *r, const char *client_id, departure *d)
{
    const char *audience = d->hint != NULL ? audience_of(d) : NULL;
    if (client_id != NULL && d->hint != NULL && (audience == NULL || strcmp(audience, client_id) != 0)) {
        d->problem = "The application that sent you here has shown an ID token of another application.";
        return;
    }
    d->client = directory_client(r->server->directory, client_id != NULL ? client_id : audience);
    if (d->redirect_uri != NULL && (d->client == NULL || !may_return_to(d->client, d->redirect_uri)))
        d->problem = "The application that sent you here wants you to go on to an address that it has not registered.";
}

static int read_departure(const request *r, const otok_form *from, departure *d, otok_error *err)
{
    *d = (departure){
        .redirect_uri = otok_form_get(from, "post_logout_redirect_uri"),
        .state = otok_form_get(from, "state"),
    };
    int rc = read_hint(r, otok_form_get(from, "id_token_hint"), d, err);
    if (rc == OTOK_OK && d->problem == NULL)
        check_client(r, otok_form_get(from, "client_id"), d);
    return rc;
}

/* ---------------------------------------------------------------------------------------------------- what is done */

/* Back to the application, or, where it does not say to which address, to a page of ours. */
static void answer_gone(request *r, const departure *d)
{
    text url = {0};
    if (d->redirect_uri == NULL) {
        r->login = NULL; /* the page is of nobody any more */
        html(&url, "<div class=\"narrow\"><p class=\"notice notice-good\" role=\"status\">You are logged out.</p>"
                   "<p><a href=\"/\">To the start page</a></p></div>");
        answer_page(r, 200, "Logged out", &url);
        return;
    }
    text_add(&url, d->redirect_uri);
    if (d->state != NULL)
        html(&url, "%hstate=%u", strchr(d->redirect_uri, '?') != NULL ? "&" : "?", d->state);
    if (!url.failed)
        answer_see_other(r, url.data);
    else
        answer_problem(r, 503, "Busy", "You are logged out; but the way back to the application was lost.");
    text_free(&url);
}

static void log_out(request *r, const departure *d, bool revoke_offline_access)
{
    otok_error err = {0};
    if (r->login == NULL || login_end(r, revoke_offline_access, &err) == OTOK_OK)
        answer_gone(r, d);
    else
        answer_failure(r, &err);
}

/*
 * Nobody is logged in at this browser, but the application still is, by a login that has expired here: that ends for good.  One that
 * lives is in another browser, and an ID token, which many have seen, does not end it.
 */
static void end_forgotten(request *r, const departure *d)
{
    otok_error err = {0};
    bool lives = false;
    char device[AGENT_NAME];
    const char *sid = claim(d, "sid");
    const user *u = directory_user(r->server->directory, claim(d, "sub"));
    int rc = sid != NULL && u != NULL ? login_lives(r->server, u, sid, &lives, device, &err) : OTOK_OK;
    if (rc == OTOK_OK && sid != NULL && u != NULL && !lives)
        rc = login_logout(r->server, u, sid, false, &err);
    if (rc == OTOK_OK)
        answer_gone(r, d);
    else
        answer_failure(r, &err);
}

/* ---------------------------------------------------------------------------------------------------- the page */

static void html_hidden(text *page, const char *name, const char *value)
{
    if (value != NULL)
        html(page, "<input type=\"hidden\" name=\"%h\" value=\"%s\">", name, value);
}

static void ask(request *r, const departure *d)
{
    text page = {0};
    html(&page, "<div class=\"card narrow\"><p class=\"lead\">%s%h logged in as <strong>%s</strong> (%s).</p>",
         d->client != NULL ? d->client->name : "You are", d->client != NULL ? " asks you to log out here. You are" : "",
         r->login->user->name, r->login->user->id);
    html(&page, "<form method=\"post\" action=\"/logout/confirm\">");
    html_csrf(r, &page);
    html_hidden(&page, "client_id", d->client != NULL ? d->client->id : NULL);
    html_hidden(&page, "post_logout_redirect_uri", d->redirect_uri);
    html_hidden(&page, "state", d->state);
    html(&page, "<label class=\"check\"><input type=\"checkbox\" name=\"revoke_offline_access\" value=\"1\" "
                "aria-describedby=\"offline\"> Also end what acts for me when I am not there</label>"
                "<p class=\"hint\" id=\"offline\">Applications lose the permission to act for you in your absence, and "
                "you are logged out on all your devices.</p>"
                "<div class=\"actions\"><button class=\"button\">Log out</button>"
                "<a class=\"button button-quiet\" href=\"/account\">Stay logged in</a></div></form></div>");
    if (d->redirect_uri != NULL)
        answer_may_post_to(r, d->redirect_uri);
    answer_page(r, 200, "Log out?", &page);
}

static bool is_of_this_login(const request *r, const departure *d)
{
    return d->hint != NULL && same_text(claim(d, "sid"), r->login->sid) &&
           same_text(claim(d, "sub"), r->login->user->id);
}

void show_end_session(request *r)
{
    departure d;
    otok_error err = {0};
    int rc = read_departure(r, r->query, &d, &err);
    if (rc != OTOK_OK)
        answer_failure(r, &err);
    else if (d.problem != NULL)
        answer_problem(r, 400, "You were not logged out", d.problem);
    else if (r->login == NULL)
        end_forgotten(r, &d);
    else if (is_of_this_login(r, &d))
        log_out(r, &d, false);
    else
        ask(r, &d);
    departure_free(&d);
}

/* The form's fields are those that the request had, and are looked at again. */
void do_end_session(request *r)
{
    departure d;
    otok_error err = {0};
    int rc = read_departure(r, r->form, &d, &err);
    if (rc != OTOK_OK)
        answer_failure(r, &err);
    else if (d.problem != NULL)
        answer_problem(r, 400, "You were not logged out", d.problem);
    else
        log_out(r, &d, form_value(r, "revoke_offline_access") != NULL);
    departure_free(&d);
}
