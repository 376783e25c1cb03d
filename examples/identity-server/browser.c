/*
 * browser.c - who is logged in at a browser, and the login page.
 *
 * A login is a session of the library: LOGIN, of the client BROWSER_CLIENT, which is this server.  Its cookie is that session's name,
 * sealed; everything else is in the record.  So a login ends as all sessions do, by logout, by a cutoff of user or realm, and by
 * its age; it outlives a restart; and the account console can show it.  It is never refreshed: the idle timeout is how long it lasts.
 *
 * SPDX-License-Identifier: MIT
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "server.h"

#define COOKIE  "login"
#define PURPOSE "login"
#define KNOWN   "known"

enum { COOKIE_ENDS_AFTER_S = 24 * 3600, KNOWN_ENDS_AFTER_S = 365 * 24 * 3600 };
enum { FAILURES_OF_NAME = 5, FAILURES_OF_ADDRESS = 20 };

/* ------------------------------------------------------------------------------------------------- who is logged in */

void login_free(login *l)
{
    if (l == NULL)
        return;
    free(l->sid);
    free(l->session_id);
    free(l);
}

/* The login that a session is; NULL in `*out` when it is none, or the user is not there any more. */
static int login_of_session(const server *s, const otok_session *session, login **out)
{
    const user *u = directory_user(s->directory, session->subject);
    if (u == NULL || strcmp(session->client_id, BROWSER_CLIENT) != 0 || session->kind != OTOK_SESSION_LOGIN)
        return OTOK_OK;
    login *l = calloc(1, sizeof *l);
    if (l == NULL)
        return OTOK_E_NOMEM;
    l->user = u;
    l->auth_time_us = session->started_us;
    l->session_id = strdup(session->session_id);
    l->sid = strdup(session->sid == NULL ? "" : session->sid);
    if (l->session_id == NULL || l->sid == NULL) {
        login_free(l);
        return OTOK_E_NOMEM;
    }
    *out = l;
    return OTOK_OK;
}

static int find_session(const server *s, const char *session_id, login **out, otok_error *err)
{
    otok_session *session = NULL;
    int32_t is_live = 0;
    int code = otok_session_is_live(s->service, session_id, &is_live, err);
    if (code != OTOK_OK || !is_live)
        return code;
    code = otok_session_get(s->service, session_id, &session, err);
    if (code == OTOK_E_NOT_FOUND)
        return OTOK_OK;
    if (code == OTOK_OK)
        code = login_of_session(s, session, out);
    otok_session_free(session);
    return code;
}

int login_find(request *r, login **out, otok_error *err)
{
    char *cookie = request_cookie(r, COOKIE);
    char *session_id = cookie == NULL ? NULL : unseal_text(r->server->seal, PURPOSE, cookie, now_us());
    int code = OTOK_OK;
    *out = NULL;
    if (session_id != NULL)
        code = find_session(r->server, session_id, out, err);
    if (code == OTOK_E_NOMEM)
        *err = (otok_error){.code = code, .message = "no memory for a login"};
    free(session_id);
    free(cookie);
    return code;
}

/* ------------------------------------------------------------------------------------------------------ begin and end */

void login_cookie_remove(request *r)
{
    answer_cookie(r, COOKIE, NULL, 0);
}

/* Somebody else logs in at this browser: whoever was there is logged out, of everything that hangs on that login. */
static int end_other(request *r, const user *u, otok_error *err)
{
    if (r->login == NULL || r->login->user == u)
        return OTOK_OK;
    return login_logout(r->server, r->login->user, r->login->sid, false, err);
}

/* A user agent as the library takes it, or NULL: it is from outside. */
static const char *fit_user_agent(const request *r)
{
    const char *agent = request_header(r, "User-Agent");
    size_t len = 0;
    while (agent != NULL && agent[len] >= ' ' && agent[len] <= '~')
        len++;
    return agent != NULL && agent[len] == '\0' && len <= 512 ? agent : NULL;
}

/*
 * The session of a login.  The same user once more, since a client asked for it, is the same SSO session: what hangs on its sid lives
 * on, and ends with it.
 */
static int issue_login(request *r, const user *u, const char *sid, otok_tokens **out, otok_error *err)
{
    static const char *const amr[] = {"pwd"};
    char label[AGENT_NAME];
    bool is_again = r->login != NULL && r->login->user == u;
    otok_grant grant;
    otok_peer peer;
    otok_peer_init(&peer, sizeof peer);
    peer.ip = r->ip;
    peer.user_agent = fit_user_agent(r);
    otok_grant_init(&grant, sizeof grant);
    grant.subject = u->id;
    grant.client_id = BROWSER_CLIENT;
    grant.scope = "login";
    grant.kind = OTOK_SESSION_LOGIN;
    grant.sid = is_again ? r->login->sid : sid;
    grant.replaces = is_again ? r->login->session_id : NULL;
    grant.auth_time_us = now_us();
    grant.amr = amr;
    grant.amr_count = 1;
    grant.peer = &peer;
    grant.label = agent_name(peer.user_agent, label);
    return otok_issue(r->server->service, &grant, out, err);
}

/* false: answered with what failed. */
static bool begin_login(request *r, const user *u)
{
    static const otok_error no_crypto = {.code = OTOK_E_CRYPTO, .message = "a login could not be sealed"};
    otok_tokens *tokens = NULL;
    otok_error err = no_crypto;
    char *sid = random_name(), *cookie = NULL;
    int code = sid == NULL ? OTOK_E_CRYPTO : end_other(r, u, &err);
    if (code == OTOK_OK)
        code = issue_login(r, u, sid, &tokens, &err);
    if (code == OTOK_OK)
        cookie =
            seal_text(r->server->seal, PURPOSE, tokens->session_id, now_us() + COOKIE_ENDS_AFTER_S * INT64_C(1000000));
    bool good = cookie != NULL;
    if (good)
        answer_cookie(r, COOKIE, cookie, 0);
    else
        answer_failure(r, code == OTOK_OK ? &no_crypto : &err);
    otok_tokens_free(tokens);
    free(cookie);
    free(sid);
    return good;
}

/* ---------------------------------------------------------------------------------------------------------- passwords */

/*
 * Strangers who guess the password of a name close it, and would so lock its user out.  So a browser in which he has logged in has a
 * sealed cookie that says so, a random name and his: failures there are counted by that.  NULL: this is no such browser, or not of
 * this name.
 */
static char *known_browser(const request *r, const char *name)
{
    char *cookie = request_cookie(r, KNOWN);
    char *plain = cookie == NULL ? NULL : unseal_text(r->server->seal, KNOWN, cookie, now_us());
    const char *space = plain == NULL ? NULL : strchr(plain, ' ');
    free(cookie);
    if (space != NULL && strcmp(space + 1, name) == 0)
        return plain;
    free(plain);
    return NULL;
}

/* Without this cookie a login is as good: so nothing is said where there is no memory for it. */
static void remember_browser(request *r, const user *u)
{
    text plain = {0};
    char *known = known_browser(r, u->id), *name = known == NULL ? random_name() : NULL, *cookie = NULL;
    html(&plain, "%h %h", name, u->id);
    if (name != NULL && !plain.failed)
        cookie = seal_text(r->server->seal, KNOWN, plain.data, now_us() + KNOWN_ENDS_AFTER_S * INT64_C(1000000));
    if (cookie != NULL)
        answer_cookie(r, KNOWN, cookie, KNOWN_ENDS_AFTER_S);
    text_free(&plain);
    free(cookie);
    free(name);
    free(known);
}

/* `who`: whose failures are counted.  A success forgives him, but not the address: who guesses may have an account of his own. */
static const user *check_throttled(request *r, const char *who, const char *name, const char *password)
{
    const user *u = directory_user(r->server->directory, name);
    guesser *of = throttle_enter("login of", who, FAILURES_OF_NAME);
    guesser *from = of != NULL ? throttle_enter("login from", r->ip, FAILURES_OF_ADDRESS) : NULL;
    bool is_right = from != NULL && user_has_password(u, password);
    if (from != NULL)
        throttle_leave(from, is_right ? GUESS_PASSED : GUESS_FAILED);
    if (of != NULL)
        throttle_leave(of, is_right ? GUESS_FORGIVES : from != NULL ? GUESS_FAILED : GUESS_PASSED);
    return is_right ? u : NULL;
}

/* The answers read the same, whether the name, the password or the number of guesses was wrong; of a wrong name they take as long. */
const user *login_check(request *r, const char *name, const char *password)
{
    if (name == NULL || password == NULL)
        return NULL;
    char *known = known_browser(r, name);
    const user *u = check_throttled(r, known != NULL ? known : name, name, password);
    free(known);
    return u;
}

/* ----------------------------------------------------------------------------------------------------- the login page */

/* A path of this server, which a browser cannot take for another place: "//host" and "/\host" it would. */
static bool is_own_path(const char *url)
{
    if (url == NULL || url[0] != '/' || url[1] == '/')
        return false;
    while (*url > ' ' && *url <= '~' && *url != '\\')
        url++;
    return *url == '\0';
}

static const char *path_or_default(const char *url)
{
    return is_own_path(url) ? url : "/account";
}

void login_ask(request *r, const char *url)
{
    text to = {0};
    html(&to, "/login?return=%u", path_or_default(url));
    if (to.failed)
        answer_problem(r, 500, "Something went wrong", "There is no memory for this page. Please try again.");
    else
        answer_see_other(r, to.data);
    text_free(&to);
}

/* The parameters of the authorization request that a login is for; NULL: it is for something else. */
static otok_form *request_behind(const char *url)
{
    static const char path[] = "/authorize?";
    otok_form *query = NULL;
    if (strncmp(url, path, strlen(path)) != 0)
        return NULL;
    url += strlen(path);
    return otok_form_parse(url, strlen(url), &query, NULL) == OTOK_OK ? query : NULL;
}

static void html_error(const char *error, text *out)
{
    if (error != NULL)
        html(out, "<div class=\"notice notice-bad\" role=\"alert\" id=\"error\"><p>%s</p></div>", error);
}

/* `name` stands in the field already. */
static void html_form(const request *r, const char *name, const char *error, const char *url, text *out)
{
    const char *wrong = error == NULL ? "" : " aria-invalid=\"true\" aria-describedby=\"error\"";
    html(out, "<form method=\"post\" action=\"/login\">");
    html_csrf(r, out);
    html(out,
         "<input type=\"hidden\" name=\"return\" value=\"%s\">"
         "<div class=\"field\"><label for=\"username\">User name</label>"
         "<input id=\"username\" name=\"username\" type=\"text\" value=\"%s\" maxlength=\"255\" required%h%h "
         "autocomplete=\"username\" autocapitalize=\"none\" spellcheck=\"false\"></div>"
         "<div class=\"field\"><label for=\"password\">Password</label>"
         "<input id=\"password\" name=\"password\" type=\"password\" maxlength=\"255\" required%h%h "
         "autocomplete=\"current-password\"></div>"
         "<div class=\"actions\"><button class=\"button\" type=\"submit\">Log in</button></div></form>",
         url, name, wrong, name == NULL ? " autofocus" : "", wrong, name == NULL ? "" : " autofocus");
}

/* Once more: `name` and `error` are of the try before. */
static void show_form(request *r, int status, const char *name, const char *error, const char *url)
{
    text body = {0};
    const char *redirect_uri = NULL;
    otok_form *query = request_behind(url);
    const client *c = query == NULL ? NULL : authorize_client(r->server, query, &redirect_uri);
    if (name == NULL && query != NULL)
        name = otok_form_get(query, "login_hint");
    if (name == NULL && r->login != NULL)
        name = r->login->user->id;
    html(&body, "<div class=\"card narrow\">");
    html_error(error, &body);
    if (c != NULL) {
        html(&body, "<p class=\"lead\">to go on to <strong>%s</strong></p>", c->name);
        answer_may_post_to(r, redirect_uri);
    }
    if (r->login != NULL)
        html(&body, "<p class=\"muted\">You are logged in as %s. Whoever logs in now takes that place.</p>",
             r->login->user->name);
    html_form(r, name, error, url, &body);
    html(&body, "</div>");
    answer_page(r, status, "Log in", &body);
    otok_form_free(query);
}

void show_login(request *r)
{
    show_form(r, 200, NULL, NULL, path_or_default(query_value(r, "return")));
}

void do_login(request *r)
{
    const char *url = path_or_default(form_value(r, "return")), *name = form_value(r, "username");
    const user *u = login_check(r, name, form_value(r, "password"));
    if (u == NULL) {
        show_form(
            r, 403, name,
            "User name or password is not right. After several failures nobody gets in by that name for five minutes.",
            url);
    } else if (begin_login(r, u)) {
        remember_browser(r, u);
        answer_see_other(r, url);
    }
}
