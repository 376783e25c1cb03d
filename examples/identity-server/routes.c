/*
 * routes.c - every address of this server, who may come there, and who answers.
 *
 * SPDX-License-Identifier: MIT
 */
#include "server.h"

enum { MOST_URL = 16384, BAD_REQUEST = 400 };

/*
 * A client may send a browser here by a POST from a page of its own.  The browser sends no cookie with that (SameSite=Lax), so nobody
 * would be logged in; sent on to the same request as a GET, it does.
 */
static void as_get(request *r)
{
    text url = {0};
    html(&url, "%h", r->path);
    for (size_t i = 0; r->form != NULL && i < otok_form_count(r->form); i++)
        html(&url, "%h%u=%u", i == 0 ? "?" : "&", otok_form_name(r->form, i), otok_form_value(r->form, i));
    if (r->form != NULL && !url.failed && url.len <= MOST_URL)
        answer_see_other(r, url.data);
    else
        answer_problem(r, BAD_REQUEST, "Bad request",
                       "The application that sent you here sent a form that cannot be read.");
    text_free(&url);
}

const route routes[] = {
    {"GET", "/", ROUTE_BROWSER, show_home},
    {"GET", "/style.css", ROUTE_API, show_style},

    {"GET", "/.well-known/openid-configuration", ROUTE_API, show_metadata},
    {"GET", "/.well-known/oauth-authorization-server", ROUTE_API, show_metadata},
    {"GET", "/jwks", ROUTE_API, show_jwks},
    {"GET", "/userinfo", ROUTE_API, show_userinfo},
    {"POST", "/userinfo", ROUTE_API, show_userinfo},

    {"POST", "/token", ROUTE_API, do_token},
    {"POST", "/revoke", ROUTE_API, do_revoke},
    {"POST", "/introspect", ROUTE_API, do_introspect},
    {"POST", "/device_authorization", ROUTE_API, do_device_authorization},

    {"GET", "/login", ROUTE_BROWSER, show_login},
    {"POST", "/login", ROUTE_BROWSER, do_login},
    {"GET", "/authorize", ROUTE_BROWSER, show_authorize},
    {"POST", "/authorize", ROUTE_API, as_get},
    {"POST", "/consent", ROUTE_USER, do_consent},
    {"GET", "/device", ROUTE_USER, show_device},
    {"POST", "/device", ROUTE_USER, do_device},
    {"GET", "/logout", ROUTE_BROWSER, show_end_session},
    {"POST", "/logout", ROUTE_API, as_get},
    {"POST", "/logout/confirm", ROUTE_BROWSER, do_end_session},

    {"GET", "/account", ROUTE_USER, show_account},
    {"POST", "/account/sessions/", ROUTE_USER, do_account_revoke},
    {"POST", "/account/applications/", ROUTE_USER, do_account_application},

    {"GET", "/admin", ROUTE_ADMIN, show_admin},
    {"GET", "/admin/clients/", ROUTE_ADMIN, show_admin_client},
    {"GET", "/admin/users/", ROUTE_ADMIN, show_admin_user},
    {"POST", "/admin/sessions/", ROUTE_ADMIN, do_admin_revoke},
    {"POST", "/admin/consents", ROUTE_ADMIN, do_admin_consent},
    {"POST", "/admin/cutoffs", ROUTE_ADMIN, do_admin_cutoff},
    {"GET", "/metrics", ROUTE_API, show_metrics},

    {NULL, NULL, 0, NULL},
};
