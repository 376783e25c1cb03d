/*
 * home.c - the start page, and the style sheet, which is in the program.
 *
 * SPDX-License-Identifier: MIT
 */
#include "server.h"

static void html_yours(const request *r, text *out)
{
    const user *who = r->login != NULL ? r->login->user : NULL;
    text_add(out, "<section class=\"card\">\n<h2>Yours</h2>\n");
    if (who == NULL) {
        text_add(out, "<p>Log in to see which applications and devices act for you, and to stop them.</p>\n"
                      "<p><a class=\"button\" href=\"/account\">Log in</a></p>\n</section>\n");
        return;
    }
    html(out,
         "<p>You are logged in as <strong>%s</strong>.</p>\n"
         "<ul><li><a href=\"/account\">Your applications and devices</a></li>\n"
         "<li><a href=\"/device\">Connect a device</a> that shows you a code</li>\n",
         who->name);
    if (who->is_administrator)
        text_add(out, "<li><a href=\"/admin\">Administration</a>: everybody's sessions</li>\n");
    text_add(out, "</ul>\n</section>\n");
}

/* Clients that have a page of their own: the others are found in the README. */
static void html_applications(const request *r, text *out)
{
    const client *clients = NULL;
    size_t n = directory_clients(r->server->directory, &clients);
    text_add(out,
             "<section class=\"card\">\n<h2>Applications</h2>\n<p>These let you log in with this server:</p>\n<ul>\n");
    for (size_t i = 0; i < n; i++) {
        if (clients[i].is_resource_server)
            continue;
        if (clients[i].home != NULL)
            html(out, "<li><a href=\"%s\">%s</a></li>\n", clients[i].home, clients[i].name);
        else
            html(out, "<li>%s</li>\n", clients[i].name);
    }
    text_add(out, "</ul>\n</section>\n");
}

void show_home(request *r)
{
    text body = {0};
    text_add(&body,
             "<p class=\"lead\">Applications ask here who you are. Some ask to act for you when you are not there: a "
             "backup at "
             "night, a phone, a command line. That is an <em>offline session</em>. It outlives your logging out, and "
             "ends when you say so.</p>\n");
    text_add(&body, "<div class=\"grid\">\n");
    html_yours(r, &body);
    html_applications(r, &body);
    text_add(&body,
             "<section class=\"card\">\n<h2>For programs</h2>\n<ul>\n"
             "<li><a href=\"/.well-known/openid-configuration\">Metadata</a> (OpenID Connect Discovery)</li>\n"
             "<li><a href=\"/jwks\">Keys</a> that its tokens are signed with (JWKS)</li>\n</ul>\n</section>\n</div>\n");
    answer_page(r, 200, "Welcome", &body);
}

void show_style(request *r)
{
    text body = {0};
    text_append(&body, style_css, style_css_len);
    answer_header(r, "Cache-Control", "max-age=300");
    answer_text(r, 200, "text/css; charset=utf-8", &body);
}
