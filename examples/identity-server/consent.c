/*
 * consent.c - the consent page: who asks, whom, what for, and where the browser goes then.
 *
 * SPDX-License-Identifier: MIT
 */
#include <stdlib.h>
#include <string.h>

#include "authorize.h"

void html_permissions(const request *r, const client *c, const char *scopes, text *out)
{
    char *words = strdup(scopes == NULL ? "" : scopes), *rest = NULL;
    if (words == NULL) {
        out->failed = true; /* never a page that says less than what is asked */
        return;
    }
    html(out, "<ul class=\"permissions\">");
    for (char *word = strtok_r(words, " ", &rest); word != NULL; word = strtok_r(NULL, " ", &rest)) {
        const scope *known = directory_scope(r->server->directory, word);
        if (c == NULL || client_has_scope(c, word))
            html(out, "<li>%s</li>", known == NULL ? word : known->permission);
    }
    html(out, "</ul>");
    free(words);
}

static bool begins_with(const char *uri, const char *with)
{
    return strncmp(uri, with, strlen(with)) == 0;
}

/* What a user can recognise of a URI: the host of a site; that it is this machine; or the scheme that an application has. */
static void html_target(const char *uri, text *out)
{
    bool is_site = begins_with(uri, "https://") || begins_with(uri, "http://");
    size_t end =
        is_site ? strcspn(strchr(uri, ':') + 3, "/?") + (size_t)(strchr(uri, ':') + 3 - uri) : strcspn(uri, ":");
    char *origin = strndup(uri, end);
    bool is_here = begins_with(uri, "http://127.0.0.1") || begins_with(uri, "http://[::1]");
    if (origin == NULL)
        out->failed = true;
    html(out, "<p class=\"small muted\">Your browser then goes to %h<code>%s</code>.</p>",
         is_here ? "a program on your own device, at " : (is_site ? "" : "the application on your device that opens "),
         origin);
    free(origin);
}

static void html_question(const authorization *a, text *out)
{
    const client *c = a->client;
    const user *u = a->r->login->user;
    html(out, "<p class=\"lead\"><strong>%s</strong> asks <strong>%s</strong> (%s) for these permissions:</p>", c->name,
         u->name, u->id);
    html_permissions(a->r, c, a->scope.data, out);
    html(out, "<p class=\"small\">You can take them back at any time, under <a href=\"/account\">Account</a>.</p>");
    html_target(a->redirect_uri, out);
}

static void html_answers(const authorization *a, text *out)
{
    text url = {0};
    authorize_url(a, "/consent", true, &url);
    html(out, "<form method=\"post\" action=\"%s\">", url.data);
    html_csrf(a->r, out);
    html(out, "<div class=\"actions\">"
              "<button class=\"button\" type=\"submit\" name=\"answer\" value=\"allow\">Allow</button>"
              "<button class=\"button button-quiet\" type=\"submit\" name=\"answer\" value=\"refuse\">Refuse</button>"
              "</div></form>");
    out->failed = out->failed || url.failed;
    text_free(&url);
}

static void html_not_you(const authorization *a, text *out)
{
    text url = {0};
    authorize_url(a, "/authorize", true, &url);
    html(out, "<p class=\"small\">Not %s? <a href=\"/login?return=%u\">Log in as somebody else</a></p>",
         a->r->login->user->name, url.data);
    out->failed = out->failed || url.failed;
    text_free(&url);
}

void show_consent(const authorization *a)
{
    text title = {0}, body = {0};
    html(&title, "Allow %h?", a->client->name);
    html(&body, "<div class=\"card narrow\">");
    html_question(a, &body);
    html_answers(a, &body);
    html_not_you(a, &body);
    html(&body, "</div>");
    answer_may_post_to(a->r, a->redirect_uri);
    answer_page(a->r, 200, title.failed ? "Allow?" : title.data, &body);
    text_free(&title);
}
