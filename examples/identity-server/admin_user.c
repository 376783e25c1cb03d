/*
 * admin_user.c - the administrator's page of a user: what he has allowed, his sessions, an end to each, and all that is held about him.
 *
 * SPDX-License-Identifier: MIT
 */
#include "console.h"

#include <string.h>

enum { CONSENTS_AT_MOST = 1000 };

static int show_facts(const request *r, const otok_filter *filter, uint64_t kept, text *out, otok_error *err)
{
    const user *u = directory_user(r->server->directory, filter->subject);
    html(out, "<section class=\"card\"><h2>About</h2><dl class=\"facts\"><dt>Id</dt><dd><code>%s</code></dd>",
         filter->subject);
    if (u != NULL)
        html(out, "<dt>E-mail</dt><dd>%s</dd><dt>May be offline</dt><dd>%s</dd><dt>Administrator</dt><dd>%s</dd>",
             u->email, u->may_be_offline ? "yes" : "no", u->is_administrator ? "yes" : "no");
    int code = html_kept(r, filter, kept, out, err);
    html(out, "</dl><p><a class=\"button button-quiet\" href=\"/admin/users/%u?export=1\" download=\"%s.json\">",
         filter->subject, filter->subject);
    html(out, "Export all that is held about this user (JSON)</a></p></section>\n");
    return code;
}

static void show_consent(const request *r, const otok_consent *consent, text *out)
{
    const char *name = client_title(r, consent->client_id);
    int64_t now = now_us();
    html_row(out);
    html(out, "<a href=\"/admin/clients/%u\">%s</a>", consent->client_id, name);
    html_cell(out, "May", NULL);
    html_permissions(r, NULL, consent->scope, out);
    html_cell(out, "Since", NULL);
    html_time(out, consent->granted_us, now);
    html_cell(out, "Changed", NULL);
    html_time(out, consent->updated_us, now);
    html(out, "\n<td role=\"cell\" class=\"act\">");
    html_post(r, "/admin/consents", out);
    html(out,
         "<input type=\"hidden\" name=\"user\" value=\"%s\"><input type=\"hidden\" name=\"client\" value=\"%s\">"
         "<button class=\"button button-danger button-quiet button-small\">Withdraw<span class=\"hidden\"> what %s may "
         "do, and end "
         "its sessions</span></button></form>",
         consent->subject, consent->client_id, name);
}

static int show_consents(const request *r, const otok_filter *filter, text *out, otok_error *err)
{
    static const char *const headings[] = {"Application", "May", "Since", "Changed", "", NULL};
    otok_list_request ask;
    otok_consent_page *page = NULL;
    otok_list_request_init(&ask, sizeof ask);
    ask.filter = filter;
    ask.limit = CONSENTS_AT_MOST;
    int code = otok_consent_list(r->server->service, &ask, &page, err);
    size_t n = code == OTOK_OK ? page->count : 0;
    html(out, "<section class=\"card\"><h2>Consents</h2>");
    if (n != 0)
        html_table(out, "To withdraw one ends the sessions that rest on it", headings);
    for (size_t i = 0; i < n; i++)
        show_consent(r, page->consents[i], out);
    if (n != 0)
        html_table_end(out);
    else
        html(out, "<p>None.</p>");
    html(out, "</section>\n");
    otok_consent_page_free(page);
    return code;
}

static int show_sessions(const request *r, const otok_filter *filter, text *out, otok_error *err)
{
    const session_table table = {.caption = "Live sessions",
                                 .kind = ANY_KIND,
                                 .with_browsers = true,
                                 .for_administrators = true,
                                 .action = "/admin/sessions/",
                                 .verb = "Revoke",
                                 .from = "user",
                                 .current = r->login->session_id};
    text path = {0};
    html(&path, "/admin/users/%u", filter->subject);
    int code = html_session_list(r, filter, &table, &path, out, err);
    text_free(&path);
    return code;
}

static void show_end(const request *r, const char *id, text *out)
{
    html(out, "<section class=\"card card-danger\"><h2>End all sessions of ");
    html_user_title(r, id, out);
    html(out, "</h2><p>Every application that acts for this user stops, and every browser is logged out, at once. What "
              "was allowed "
              "stays: applications can be connected again.</p>");
    html_post(r, "/admin/cutoffs", out);
    html(
        out,
        "<input type=\"hidden\" name=\"user\" value=\"%s\"><button class=\"button button-danger\">End all sessions of ",
        id);
    html_user_title(r, id, out);
    html(out, "…</button></form></section>\n");
}

static void answer_export(request *r)
{
    otok_error err;
    char *json = NULL;
    text body = {0};
    if (otok_subject_export(r->server->service, r->rest, &json, &err) == OTOK_OK) {
        text_add(&body, json);
        answer_header(r, "Content-Disposition", "attachment");
        answer_json(r, 200, &body);
    } else {
        answer_failure(r, &err);
    }
    otok_string_free(json);
}

/* Whether the directory knows the user, or the store has something about him. */
static int is_there(const request *r, const otok_filter *filter, uint64_t *kept, bool *there, otok_error *err)
{
    otok_list_request ask;
    otok_consent_page *page = NULL;
    otok_list_request_init(&ask, sizeof ask);
    ask.filter = filter;
    ask.limit = 1;
    int code = otok_count(r->server->service, filter, kept, err);
    if (code == OTOK_OK)
        code = otok_consent_list(r->server->service, &ask, &page, err);
    *there = code == OTOK_OK && (directory_user(r->server->directory, filter->subject) != NULL || *kept != 0 ||
                                 page->count != 0 || page->next_cursor != NULL);
    otok_consent_page_free(page);
    return code == OTOK_E_INVALID ? OTOK_OK : code; /* no name that anybody could have */
}

static void answer_user(request *r, const otok_filter *filter, uint64_t kept)
{
    otok_error err;
    text body = {0};
    const user *u = directory_user(r->server->directory, filter->subject);
    html_done(r, &body);
    html(&body, "<p><a href=\"/admin\">Back to the administration</a></p>");
    if (u == NULL)
        html(&body,
             "<p class=\"notice notice-warn\">Not a user of the directory: a service, or a user who was removed.</p>");
    int code = show_facts(r, filter, kept, &body, &err);
    if (code == OTOK_OK)
        code = show_consents(r, filter, &body, &err);
    if (code == OTOK_OK)
        code = show_sessions(r, filter, &body, &err);
    show_end(r, filter->subject, &body);
    if (code == OTOK_OK)
        answer_page(r, 200, u != NULL ? u->name : filter->subject, &body);
    else
        answer_failure(r, &err);
    text_free(&body);
}

void show_admin_user(request *r)
{
    otok_error err;
    otok_filter filter;
    uint64_t kept = 0;
    bool there = false;
    otok_filter_init(&filter, sizeof filter);
    filter.subject = r->rest;
    int code = is_there(r, &filter, &kept, &there, &err);
    if (code != OTOK_OK)
        answer_failure(r, &err);
    else if (!there)
        answer_problem(r, 404, "No such user", "Not in the directory, and without consents and sessions.");
    else if (query_value(r, "export") != NULL)
        answer_export(r);
    else
        answer_user(r, &filter, kept);
}
