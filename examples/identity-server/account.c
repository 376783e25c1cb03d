/*
 * account.c - the user's page: which applications and devices act for him, since when, from where; and an end to each of them.
 *
 * SPDX-License-Identifier: MIT
 */
#include "console.h"

#include <stdlib.h>
#include <string.h>

enum { CONSENTS_AT_MOST = 1000 };

/* What the page shows: a page of the user's sessions, with the first one all consents, and the clients that these name. */
struct overview {
    otok_page *sessions, *browsers;
    otok_consent_page *consents;
    bool restarted;
    const char **clients; /* each once, in the order in which sessions and consents name them */
    size_t n;
};

static void overview_free(struct overview *o)
{
    otok_page_free(o->sessions);
    otok_page_free(o->browsers);
    otok_consent_page_free(o->consents);
    free(o->clients);
}

static void remember_client(struct overview *o, const char *id)
{
    for (size_t i = 0; i < o->n; i++) {
        if (strcmp(o->clients[i], id) == 0)
            return;
    }
    if (!is_own_client(id))
        o->clients[o->n++] = id;
}

static int name_clients(struct overview *o, bool with_consents, otok_error *err)
{
    o->n = 0;
    o->clients = calloc(o->sessions->count + o->consents->count + 1, sizeof *o->clients);
    if (o->clients == NULL)
        return out_of_memory(err);
    for (size_t i = 0; i < o->sessions->count; i++)
        remember_client(o, o->sessions->sessions[i]->client_id);
    for (size_t i = 0; with_consents && i < o->consents->count; i++)
        remember_client(o, o->consents->consents[i]->client_id);
    return OTOK_OK;
}

static int overview_read(const request *r, struct overview *o, otok_error *err)
{
    otok_filter mine, browsers;
    otok_list_request ask;
    otok_filter_init(&mine, sizeof mine);
    mine.subject = r->login->user->id;
    browsers = mine;
    browsers.client_id = BROWSER_CLIENT;
    otok_list_request_init(&ask, sizeof ask);
    ask.filter = &browsers; /* at most as many as the policy's session_limit allows */
    int code = sessions_read(r, &mine, &o->sessions, &o->restarted, err);
    if (code == OTOK_OK)
        code = otok_list(r->server->service, &ask, &o->browsers, err);
    ask.filter = &mine;
    ask.limit = CONSENTS_AT_MOST;
    if (code == OTOK_OK)
        code = otok_consent_list(r->server->service, &ask, &o->consents, err);
    if (code == OTOK_OK)
        code = name_clients(o, query_value(r, "cursor") == NULL || o->restarted, err);
    return code;
}

static const otok_consent *consent_for(const struct overview *o, const char *client_id)
{
    for (size_t i = 0; i < o->consents->count; i++) {
        if (strcmp(o->consents->consents[i]->client_id, client_id) == 0)
            return o->consents->consents[i];
    }
    return NULL;
}

/* The session of that client, on this page, that began last, or first. */
static const otok_session *session_of(const struct overview *o, const char *client_id, bool last)
{
    const otok_session *found = NULL;
    for (size_t i = 0; i < o->sessions->count; i++) {
        const otok_session *s = o->sessions->sessions[i];
        if (strcmp(s->client_id, client_id) == 0 && (found == NULL || last == (s->started_us > found->started_us)))
            found = s;
    }
    return found;
}

/* ----------------------------------------------------------------------------------------------------------- the page */

/* A client of which no consent is kept shows what its newest session may do. */
static void show_permissions(const request *r, const struct overview *o, const char *client_id, text *out)
{
    const otok_consent *consent = consent_for(o, client_id);
    const otok_session *newest = session_of(o, client_id, true), *oldest = session_of(o, client_id, false);
    if (consent != NULL) {
        html(out, "<p class=\"muted\">You allowed it ");
        html_time(out, consent->granted_us, now_us());
        html(out, " to:</p>");
        html_permissions(r, NULL, consent->scope, out);
    } else if (newest != NULL) {
        html(out, "<p class=\"muted\">It began ");
        html_time(out, oldest->started_us, now_us());
        html(out, ", and may:</p>");
        html_permissions(r, NULL, newest->scope, out);
    }
}

static void show_application(const request *r, const struct overview *o, const char *client_id, text *out)
{
    const char *name = client_title(r, client_id);
    session_table table = {.client_id = client_id, .action = "/account/sessions/", .verb = "Revoke"};
    html(out, "<section class=\"card\"><h2>%s</h2>", name);
    show_permissions(r, o, client_id, out);
    table.kind = OTOK_SESSION_OFFLINE;
    table.caption = "Devices on which it acts for you, also when you are not there";
    size_t shown = html_sessions(r, o->sessions, &table, out);
    table.kind = OTOK_SESSION_LOGIN;
    table.caption = "Devices on which it acts for you until you log out";
    shown += html_sessions(r, o->sessions, &table, out);
    if (shown == 0)
        html(out, "<p>It does not act for you on any device at present.</p>");
    html(out, "<form class=\"actions\" method=\"post\" action=\"/account/applications/%u\">", client_id);
    html_csrf(r, out);
    html(out,
         "<button class=\"button button-danger button-quiet\">Revoke everything for %s</button></form></section>\n",
         name);
}

static void show_applications(const request *r, const struct overview *o, text *out)
{
    for (size_t i = 0; i < o->n; i++)
        show_application(r, o, o->clients[i], out);
    if (o->n == 0 && (query_value(r, "cursor") != NULL || o->sessions->next_cursor != NULL))
        html(out, "<p class=\"card\">There are none on this page.</p>");
    else if (o->n == 0)
        html(
            out,
            "<section class=\"card\"><h2>No applications</h2><p>No application may act for you. When you allow one to, "
            "it is listed here, and here you can put an end to it.</p></section>");
    html_pager(r, "/account", o->sessions, out);
}

static void show_browsers(const request *r, const struct overview *o, text *out)
{
    const session_table table = {.caption = "Browsers, each with a login of its own",
                                 .client_id = BROWSER_CLIENT,
                                 .kind = ANY_KIND,
                                 .action = "/account/sessions/",
                                 .verb = "Log out",
                                 .current = r->login->session_id};
    html(out, "<section class=\"card\"><h2>Where you are logged in</h2>");
    html_sessions(r, o->browsers, &table, out);
    html(out, "</section>");
}

void show_account(request *r)
{
    otok_error err;
    struct overview o = {0};
    text body = {0};
    int code = overview_read(r, &o, &err);
    if (code == OTOK_OK) {
        html_done(r, &body);
        html_restarted(o.restarted, &body);
        html(&body,
             "<p class=\"lead\">What acts for you, %s (%s): since when, and from where. Whatever you do not know, "
             "revoke: "
             "an application that you miss can ask you again.</p>",
             r->login->user->name, r->login->user->id);
        show_applications(r, &o, &body);
        show_browsers(r, &o, &body);
        answer_page(r, 200, "Applications and devices", &body);
    } else {
        answer_failure(r, &err);
    }
    overview_free(&o);
}

/* -------------------------------------------------------------------------------------------------------- what it does */

/* The user's own session of that id; else NOT_FOUND, also when it is somebody else's, which is nobody's business. */
static int find_own(const request *r, otok_session **out, otok_error *err)
{
    int code = otok_session_get(r->server->service, r->rest, out, err);
    if (code == OTOK_OK && strcmp((*out)->subject, r->login->user->id) != 0)
        code = OTOK_E_NOT_FOUND;
    return code == OTOK_E_INVALID ? OTOK_E_NOT_FOUND : code;
}

static bool is_browser(const otok_session *s)
{
    return s != NULL && strcmp(s->client_id, BROWSER_CLIENT) == 0;
}

void do_account_revoke(request *r)
{
    otok_error err;
    otok_session *session = NULL;
    text path = {0};
    int code = find_own(r, &session, &err);
    bool is_this = code == OTOK_OK && strcmp(session->session_id, r->login->session_id) == 0;
    if (code == OTOK_OK)
        code = is_this ? login_end(r, false, &err) : session_end(r->server, session, &err);
    html(&path, "/account");
    if (code != OTOK_OK && code != OTOK_E_NOT_FOUND)
        answer_failure(r, &err);
    else if (is_this)
        answer_see_other(r, "/");
    else
        answer_done(r, &path, code != OTOK_OK ? "gone" : is_browser(session) ? "login" : "session");
    text_free(&path);
    otok_session_free(session);
}

static void ask_about_application(request *r, uint64_t live)
{
    char room[NUMBER_ROOM];
    const char *name = client_title(r, r->rest);
    text body = {0};
    html(&body, "<div class=\"narrow card\"><p>%s acts for you on <strong>%s devices</strong>.", name,
         number_words(live, room));
    html(&body, " If you revoke everything:</p><ul><li>it stops acting for you on all of them, at once;</li>"
                "<li>it loses every permission that you gave it;</li>"
                "<li>when you want to use it again, it has to ask you again.</li></ul>");
    html(&body, "<form class=\"actions\" method=\"post\" action=\"/account/applications/%u\">", r->rest);
    html_csrf(r, &body);
    html(&body,
         "<input type=\"hidden\" name=\"confirmed\" value=\"yes\">"
         "<button class=\"button button-danger\">Revoke everything for %s</button>"
         "<a class=\"button button-quiet\" href=\"/account\">Leave it as it is</a></form></div>",
         name);
    answer_page(r, 200, "Revoke everything?", &body);
}

/* Whether there is anything to revoke: a cutoff is kept for ever, so users do not set them for whatever names they like. */
static int look(const request *r, const otok_filter *both, uint64_t *live, bool *there, otok_error *err)
{
    otok_consent *consent = NULL;
    *live = 0;
    int code = otok_count_live(r->server->service, both, live, err);
    if (code == OTOK_OK)
        code = otok_consent_get(r->server->service, both->subject, both->client_id, &consent, err);
    *there = *live != 0 || consent != NULL;
    otok_consent_free(consent);
    return code == OTOK_E_NOT_FOUND || code == OTOK_E_INVALID ? OTOK_OK : code; /* none, or no name of any client */
}

/* Asks first when more than one session would end.  Logins of browsers end one by one. */
void do_account_application(request *r)
{
    otok_error err;
    otok_filter both;
    uint64_t live;
    bool there;
    text path = {0};
    otok_filter_init(&both, sizeof both);
    both.subject = r->login->user->id;
    both.client_id = r->rest;
    int code = look(r, &both, &live, &there, &err);
    if (code == OTOK_OK && (!there || is_own_client(r->rest))) {
        answer_problem(r, 404, "No such application", "No application of that name acts for you, or may.");
        return;
    }
    if (code == OTOK_OK && live > 1 && form_value(r, "confirmed") == NULL) {
        ask_about_application(r, live);
        return;
    }
    if (code == OTOK_OK)
        code = otok_consent_revoke(r->server->service, both.subject, both.client_id, NULL, &err);
    html(&path, "/account");
    if (code == OTOK_OK)
        answer_done(r, &path, "application");
    else
        answer_failure(r, &err);
    text_free(&path);
}
