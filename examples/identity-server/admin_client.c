/*
 * admin_client.c - the administrator's page of an application: all its sessions, page by page, and an end to them.
 *
 * SPDX-License-Identifier: MIT
 */
#include "console.h"

#include <string.h>

static void show_words(const char *const *words, text *out)
{
    for (size_t i = 0; words != NULL && words[i] != NULL; i++)
        html(out, "%s<code>%s</code>", i != 0 ? " " : "", words[i]);
}

static void show_registration(const client *c, text *out)
{
    html(out, "<dt>Type</dt><dd>%s, %s</dd>", c->is_native ? "native application" : "web application",
         c->secret == NULL ? "public" : "confidential: it has a secret");
    html(out, "<dt>Grants</dt><dd>");
    show_words(c->grant_types, out);
    html(out, "</dd><dt>Scopes</dt><dd>");
    show_words(c->scopes, out);
    html(out, "</dd><dt>Consent</dt><dd>%s</dd>",
         c->must_consent ? "each user is asked, and it is checked at every refresh" : "not asked for");
}

static int show_facts(const request *r, const otok_filter *filter, uint64_t kept, text *out, otok_error *err)
{
    const client *c = directory_client(r->server->directory, filter->client_id);
    html(out, "<section class=\"card\"><h2>About it</h2><dl class=\"facts\"><dt>Id</dt><dd><code>%s</code></dd>",
         filter->client_id);
    if (c != NULL)
        show_registration(c, out);
    int code = html_kept(r, filter, kept, out, err);
    html(out, "</dl></section>\n");
    return code;
}

static int show_sessions(const request *r, const otok_filter *filter, text *out, otok_error *err)
{
    const session_table table = {.caption = "Live sessions",
                                 .client_id = filter->client_id,
                                 .kind = ANY_KIND,
                                 .for_administrators = true,
                                 .with_users = true,
                                 .action = "/admin/sessions/",
                                 .verb = "Revoke",
                                 .from = "client",
                                 .current = r->login->session_id};
    text path = {0};
    html(&path, "/admin/clients/%u", filter->client_id);
    int code = html_session_list(r, filter, &table, &path, out, err);
    text_free(&path);
    return code;
}

static void show_end(const request *r, const char *id, text *out)
{
    const char *name = client_title(r, id);
    html(out, "<section class=\"card card-danger\"><h2>End all sessions of %s</h2>", name);
    html(out, "<p>Every token that it holds is worth nothing from that moment on, of every user and on every device. "
              "What its users "
              "have allowed stays: they can connect it again at once.</p>");
    html_post(r, "/admin/cutoffs", out);
    html(out,
         "<input type=\"hidden\" name=\"client\" value=\"%s\">"
         "<button class=\"button button-danger\">End all sessions of %s…</button></form></section>\n",
         id, name);
}

/* Also an application that was taken out of the directory, as long as there are sessions of it. */
void show_admin_client(request *r)
{
    otok_error err;
    otok_filter filter;
    uint64_t kept = 0;
    text body = {0};
    otok_filter_init(&filter, sizeof filter);
    filter.client_id = r->rest;
    bool is_known = directory_client(r->server->directory, r->rest) != NULL || is_own_client(r->rest);
    int code = otok_count(r->server->service, &filter, &kept, &err);
    if (code == OTOK_E_INVALID || (code == OTOK_OK && !is_known && kept == 0)) {
        answer_problem(r, 404, "No such application", "It is not in the directory, and has no sessions.");
        return;
    }
    html_done(r, &body);
    html(&body, "<p><a href=\"/admin\">Back to the administration</a></p>");
    if (!is_known)
        html(&body, "<p class=\"notice notice-warn\">It is not in the directory any more: its tokens are refused.</p>");
    if (code == OTOK_OK)
        code = show_facts(r, &filter, kept, &body, &err);
    if (code == OTOK_OK)
        code = show_sessions(r, &filter, &body, &err);
    show_end(r, r->rest, &body);
    if (code == OTOK_OK)
        answer_page(r, 200, client_title(r, r->rest), &body);
    else
        answer_failure(r, &err);
    text_free(&body);
}
