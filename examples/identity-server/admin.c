/*
 * admin.c - the administrator's first page: what happens, the applications, the users; and the metrics.
 *
 * SPDX-License-Identifier: MIT
 */
#include "console.h"

#include <ctype.h>
#include <string.h>

enum { USERS_AT_MOST = 50 };

/* How often the page asks for itself again, when that is wanted: only by this link, since it takes the page from under a reader. */
static const char live_interval[] = "5";

static bool is_live(const request *r)
{
    const char *live = query_value(r, "live");
    return live != NULL && strcmp(live, "1") == 0;
}

static void show_live_link(const request *r, text *out)
{
    if (is_live(r))
        html(out,
             "<p class=\"row\"><span class=\"muted\" role=\"status\">Live: this page renews itself every %s "
             "seconds.</span>"
             "<a class=\"button button-quiet button-small\" href=\"/admin\">Pause</a></p>",
             live_interval);
    else
        html(out, "<p class=\"row\"><span class=\"muted\">This page does not change by itself.</span>"
                  "<a class=\"button button-quiet button-small\" href=\"/admin?live=1\">Live</a></p>");
}

/* -------------------------------------------------------------------------------------------------------- applications */

static int count_of(const request *r, const char *user_id, const char *client_id, uint64_t *n, otok_error *err)
{
    otok_filter filter;
    otok_filter_init(&filter, sizeof filter);
    filter.subject = user_id;
    filter.client_id = client_id;
    filter.whole_realm = user_id == NULL && client_id == NULL;
    return otok_count(r->server->service, &filter, n, err);
}

static const char *type_of(const client *c)
{
    if (c->is_resource_server)
        return "Resource server";
    if (c->is_native)
        return c->secret == NULL ? "Native, public" : "Native, confidential";
    return c->secret == NULL ? "Web, public" : "Web, confidential";
}

static int show_application(const request *r, const char *id, const char *type, text *out, otok_error *err)
{
    char room[NUMBER_ROOM];
    uint64_t n = 0;
    int code = count_of(r, NULL, id, &n, err);
    html_row(out);
    html(out, "<a href=\"/admin/clients/%u\">%s</a> <span class=\"muted small\">%s</span>", id, client_title(r, id),
         id);
    html_cell(out, "Type", NULL);
    html(out, "%s", type);
    html_cell(out, "Sessions kept", "number");
    html(out, "%s", number_words(n, room));
    return code;
}

static int show_applications(const request *r, text *out, otok_error *err)
{
    static const char *const headings[] = {"Application", "Type", "Sessions kept", NULL};
    const client *clients;
    int code = OTOK_OK;
    html(out, "<section class=\"card\"><h2>Applications</h2>");
    html_table(out, "Sessions kept: also those that have ended, until they are swept away", headings);
    for (size_t i = 0, n = directory_clients(r->server->directory, &clients); i < n && code == OTOK_OK; i++)
        code = show_application(r, clients[i].id, type_of(&clients[i]), out, err);
    if (code == OTOK_OK)
        code = show_application(r, BROWSER_CLIENT, "This server itself", out, err);
    html_table_end(out);
    html(out, "</section>\n");
    return code;
}

/* --------------------------------------------------------------------------------------------------------------- users */

/* Without regard to the case of ASCII letters. */
static bool has_part(const char *whole, const char *part)
{
    for (; *whole != '\0'; whole++) {
        size_t i = 0;
        while (part[i] != '\0' && tolower((unsigned char)whole[i]) == tolower((unsigned char)part[i]))
            i++;
        if (part[i] == '\0')
            return true;
    }
    return false;
}

static bool is_wanted(const user *u, const char *part)
{
    return part == NULL || has_part(u->id, part) || has_part(u->name, part) || has_part(u->email, part);
}

static void show_search(const request *r, text *out)
{
    html(out,
         "<form class=\"search\" method=\"get\" action=\"/admin#users\" role=\"search\"><div class=\"field\">"
         "<label for=\"q\">Name, e-mail address or id of a user, or id of an application</label>"
         "<input id=\"q\" name=\"q\" type=\"search\" value=\"%s\" maxlength=\"255\" autocomplete=\"off\" "
         "spellcheck=\"false\">"
         "</div><button class=\"button\">Search</button></form>",
         query_value(r, "q"));
}

static int show_user(const request *r, const user *u, text *out, otok_error *err)
{
    char room[NUMBER_ROOM];
    uint64_t n = 0;
    int code = count_of(r, u->id, NULL, &n, err);
    html_row(out);
    html(out, "<a href=\"/admin/users/%u\">%s</a> <span class=\"muted small\">%s</span>", u->id, u->name, u->id);
    html_cell(out, "E-mail", NULL);
    html(out, "%s", u->email);
    html_cell(out, "May be offline", NULL);
    html(out, "%s", u->may_be_offline ? "yes" : "no");
    html_cell(out, "Sessions kept", "number");
    html(out, "%s", number_words(n, room));
    return code;
}

static int show_matches(const request *r, const char *part, text *out, otok_error *err)
{
    static const char *const headings[] = {"User", "E-mail", "May be offline", "Sessions kept", NULL};
    const user *users;
    size_t matches = 0;
    int code = OTOK_OK;
    for (size_t i = 0, n = directory_users(r->server->directory, &users); i < n && code == OTOK_OK; i++) {
        if (!is_wanted(&users[i], part) || matches++ >= USERS_AT_MOST)
            continue;
        if (matches == 1)
            html_table(out, part == NULL ? "All users" : "Users who match", headings);
        code = show_user(r, &users[i], out, err);
    }
    if (matches != 0)
        html_table_end(out);
    else
        html(out, "<p role=\"status\">No user of the directory matches.</p>");
    if (matches > USERS_AT_MOST)
        html(out, "<p>%d more match: please search for more of the name.</p>", (int64_t)(matches - USERS_AT_MOST));
    return code;
}

/* Whom the directory does not know (any more), but the store does: a user who was deleted, or the account of a service. */
static int show_strangers(const request *r, const char *id, text *out, otok_error *err)
{
    uint64_t of_user = 0, of_client = 0;
    otok_error ignored; /* what is no name matches nothing */
    if (id == NULL)
        return OTOK_OK;
    int code = directory_user(r->server->directory, id) == NULL ? count_of(r, id, NULL, &of_user, &ignored) : OTOK_OK;
    if (code == OTOK_OK && directory_client(r->server->directory, id) == NULL)
        code = count_of(r, NULL, id, &of_client, &ignored);
    if (of_user != 0)
        html(out, "<p>Not in the directory, but with sessions: the user <a href=\"/admin/users/%u\">%s</a>.</p>", id,
             id);
    if (of_client != 0)
        html(out,
             "<p>Not in the directory, but with sessions: the application <a href=\"/admin/clients/%u\">%s</a>.</p>",
             id, id);
    else if (directory_client(r->server->directory, id) != NULL)
        html(out, "<p>There is the application <a href=\"/admin/clients/%u\">%s</a>.</p>", id, client_title(r, id));
    if (code != OTOK_OK && code != OTOK_E_INVALID)
        *err = ignored;
    return code == OTOK_E_INVALID ? OTOK_OK : code;
}

static int show_users(const request *r, text *out, otok_error *err)
{
    const char *part = query_value(r, "q");
    html(out, "<section class=\"card\" id=\"users\"><h2>Users</h2>");
    show_search(r, out);
    int code = show_strangers(r, part, out, err);
    if (code == OTOK_OK)
        code = show_matches(r, part, out, err);
    html(out, "</section>\n");
    return code;
}

/* ------------------------------------------------------------------------------------------------------------ the page */

static int show_end(const request *r, text *out, otok_error *err)
{
    char room[NUMBER_ROOM];
    uint64_t n = 0;
    int code = count_of(r, NULL, NULL, &n, err);
    html(out,
         "<section class=\"card card-danger\"><h2>Emergency</h2><p>This server keeps <strong>%s</strong> sessions. All "
         "of them "
         "can be ended by one write: every application, every device and every browser, your own too.</p>",
         number_words(n, room));
    html_post(r, "/admin/cutoffs", out);
    html(out, "<input type=\"hidden\" name=\"realm\" value=\"1\">"
              "<button class=\"button button-danger\">End all sessions…</button></form></section>\n");
    return code;
}

void show_admin(request *r)
{
    otok_error err;
    otok_stats stats;
    text body = {0};
    otok_stats_init(&stats, sizeof stats);
    html_done(r, &body);
    show_live_link(r, &body);
    int code = otok_stats_get(r->server->service, &stats, &err);
    if (code == OTOK_OK)
        html_activity(r->server->activity, &stats, &body);
    if (code == OTOK_OK)
        code = show_applications(r, &body, &err);
    if (code == OTOK_OK)
        code = show_users(r, &body, &err);
    html_events(r->server->activity, &body);
    if (code == OTOK_OK)
        code = show_end(r, &body, &err);
    if (code == OTOK_OK && is_live(r))
        answer_header(r, "Refresh", live_interval);
    if (code == OTOK_OK)
        answer_page(r, 200, "Administration", &body);
    else
        answer_failure(r, &err);
    text_free(&body);
}

/* ------------------------------------------------------------------------------------------------------------- metrics */

/* What a proxy on this machine hands on does not come from this machine. */
static bool is_local(const request *r)
{
    if (request_header(r, "X-Forwarded-For") != NULL || request_header(r, "Forwarded") != NULL)
        return false;
    return strncmp(r->ip, "127.", 4) == 0 || strcmp(r->ip, "::1") == 0 || strncmp(r->ip, "::ffff:127.", 11) == 0;
}

void show_metrics(request *r)
{
    otok_error err;
    char *metrics = NULL;
    text body = {0};
    if (!is_local(r)) {
        answer_problem(r, 403, "Not from there", "The metrics are for programs on this server's machine.");
        return;
    }
    const otok_service *services[] = {r->server->service};
    if (otok_stats_openmetrics(services, 1, &metrics, &err) == OTOK_OK) {
        text_add(&body, metrics);
        answer_text(r, 200, "application/openmetrics-text; version=1.0.0; charset=utf-8", &body);
    } else {
        answer_failure(r, &err);
    }
    otok_string_free(metrics);
}
