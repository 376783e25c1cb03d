/*
 * admin_end.c - what an administrator can put an end to: a session, a consent, all sessions of an application, of a user, or of all.
 *
 * SPDX-License-Identifier: MIT
 */
#include "console.h"

#include <string.h>

/* What has to be typed before everybody is thrown out. */
static const char realm_word[] = "END";

void do_admin_revoke(request *r)
{
    otok_error err;
    otok_session *session = NULL;
    text path = {0};
    const char *from = form_value(r, "from");
    int code = otok_session_get(r->server->service, r->rest, &session, &err);
    if (code == OTOK_OK && from != NULL && strcmp(from, "client") == 0)
        html(&path, "/admin/clients/%u", session->client_id);
    else if (code == OTOK_OK)
        html(&path, "/admin/users/%u", session->subject);
    else
        html(&path, "/admin");
    if (code == OTOK_OK)
        code = session_end(r->server, session, &err);
    if (code == OTOK_OK)
        answer_done(r, &path, "session");
    else if (code == OTOK_E_NOT_FOUND || code == OTOK_E_INVALID)
        answer_done(r, &path, "gone");
    else
        answer_failure(r, &err);
    text_free(&path);
    otok_session_free(session);
}

void do_admin_consent(request *r)
{
    otok_error err;
    text path = {0};
    const char *user_id = form_value(r, "user"), *client_id = form_value(r, "client");
    if (user_id == NULL || client_id == NULL) {
        answer_problem(r, 400, "Bad request", "A user and an application are needed.");
        return;
    }
    html(&path, "/admin/users/%u", user_id);
    if (otok_consent_revoke(r->server->service, user_id, client_id, NULL, &err) == OTOK_OK)
        answer_done(r, &path, "consent");
    else
        answer_failure(r, &err);
    text_free(&path);
}

/* ------------------------------------------------------------------------------------------------------------- cutoffs */

/* False: not exactly one of the three. */
static bool read_scope(const request *r, otok_filter *filter)
{
    const char *realm = form_value(r, "realm");
    otok_filter_init(filter, sizeof *filter);
    filter->subject = form_value(r, "user");
    filter->client_id = form_value(r, "client");
    filter->whole_realm = realm != NULL && strcmp(realm, "1") == 0;
    return (filter->subject != NULL) + (filter->client_id != NULL) + (filter->whole_realm != 0) == 1;
}

static void html_scope(const request *r, const otok_filter *filter, text *out)
{
    if (filter->subject != NULL)
        html_user_title(r, filter->subject, out);
    else
        html(out, "%s", filter->client_id != NULL ? client_title(r, filter->client_id) : "everybody");
}

static void show_word(bool is_wrong, text *out)
{
    html(out, "<div class=\"field\"><label for=\"word\">Type %s to confirm</label>", realm_word);
    html(out, "<input id=\"word\" name=\"word\" type=\"text\" autocomplete=\"off\" spellcheck=\"false\" required");
    if (is_wrong)
        html(out, " aria-invalid=\"true\" aria-describedby=\"wrong\"><p id=\"wrong\" class=\"hint\">That was something "
                  "else.</p>");
    else
        html(out, ">");
    html(out, "</div>");
}

/* What it does, before it is done. */
static void ask_first(request *r, const otok_filter *filter, uint64_t kept)
{
    char room[NUMBER_ROOM];
    const char *word = form_value(r, "word");
    text body = {0};
    if (word != NULL)
        html(&body, "<p class=\"narrow notice notice-bad\" role=\"alert\">Nothing was done: please type %s.</p>",
             realm_word);
    html(&body, "<div class=\"narrow card\"><p>This ends all sessions of <strong>");
    html_scope(r, filter, &body);
    html(&body,
         "</strong>, %s at most.</p><ul><li>Every offline token of them is refused from that moment on, and cannot be "
         "brought back.</li>",
         number_words(kept, room));
    if (filter->client_id == NULL || strcmp(filter->client_id, BROWSER_CLIENT) == 0)
        html(&body, "<li>Every browser is logged out%s.</li>", filter->subject == NULL ? ", yours too" : "");
    html(&body, "<li>What was allowed stays: who logs in again can connect again.</li></ul>");
    html_post(r, "/admin/cutoffs", &body);
    if (filter->whole_realm)
        html(&body, "<input type=\"hidden\" name=\"realm\" value=\"1\">");
    else
        html(&body,
             "<input type=\"hidden\" name=\"%s\" value=\"%s\"><input type=\"hidden\" name=\"confirmed\" value=\"yes\">",
             filter->subject != NULL ? "user" : "client",
             filter->subject != NULL ? filter->subject : filter->client_id);
    if (filter->whole_realm)
        show_word(word != NULL, &body);
    html(&body, "<div class=\"actions\"><button class=\"button button-danger\">End all sessions</button>"
                "<a class=\"button button-quiet\" href=\"/admin\">Leave it as it is</a></div></form></div>");
    answer_page(r, 200, "End all sessions?", &body);
}

static bool is_confirmed(const request *r, const otok_filter *filter)
{
    const char *word = form_value(r, "word");
    return filter->whole_realm ? word != NULL && strcmp(word, realm_word) == 0 : form_value(r, "confirmed") != NULL;
}

static void set_cutoff(request *r, const otok_filter *filter)
{
    otok_error err;
    text path = {0};
    html(&path, "/admin");
    if (!filter->whole_realm)
        html(&path, "/%h/%u", filter->subject != NULL ? "users" : "clients",
             filter->subject != NULL ? filter->subject : filter->client_id);
    if (otok_cutoff_set(r->server->service, filter, OTOK_NOW, NULL, &err) == OTOK_OK)
        answer_done(r, &path, filter->subject != NULL ? "user" : filter->client_id != NULL ? "client" : "realm");
    else
        answer_failure(r, &err);
    text_free(&path);
}

void do_admin_cutoff(request *r)
{
    otok_error err;
    otok_filter filter;
    uint64_t kept = 0;
    if (!read_scope(r, &filter)) {
        answer_problem(r, 400, "Bad request", "All sessions of what? Of one user, one application, or everybody.");
    } else if (is_confirmed(r, &filter)) {
        set_cutoff(r, &filter);
    } else if (otok_count(r->server->service, &filter, &kept, &err) == OTOK_OK) {
        ask_first(r, &filter, kept);
    } else {
        answer_failure(r, &err);
    }
}
