/*
 * authorize.c - the authorization endpoint: OpenID Connect Core 1.0 section 3.1.2 as RFC 9700 wants it today, the code flow with PKCE and
 * nothing else.
 *
 * Nothing is kept between its pages.  The query is the state: login and consent page carry it along, and at every step it is checked anew
 * from its beginning.
 *
 * SPDX-License-Identifier: MIT
 */
#include "authorize.h"

#include <cjson/cJSON.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ASKED "asked"

enum { ASKED_ENDS_AFTER_S = 3600 };

/* ------------------------------------------------------------------------------------------------- to and fro */

void authorize_url(const authorization *a, const char *path, bool with_asked, text *out)
{
    const otok_form *query = a->r->query;
    const char *separator = "?";
    text_add(out, path);
    for (size_t i = 0; i < otok_form_count(query); i++) {
        const char *name = otok_form_name(query, i);
        if (!with_asked && strcmp(name, ASKED) == 0)
            continue;
        html(out, "%h%u=%u", separator, name, otok_form_value(query, i));
        separator = "&";
    }
}

static void answer_no_memory(request *r)
{
    otok_error err = {.code = OTOK_E_NOMEM, .message = "no memory for an authorization"};
    answer_failure(r, &err);
}

/* Back to the client, with one answer; `description` may be NULL.  Who answered is told too (RFC 9207). */
static void go_back(const authorization *a, const char *name, const char *value, const char *description)
{
    text url = {0};
    html(&url, "%h%h%h=%u", a->redirect_uri, strchr(a->redirect_uri, '?') == NULL ? "?" : "&", name, value);
    if (description != NULL)
        html(&url, "&error_description=%u", description);
    if (a->state != NULL)
        html(&url, "&state=%u", a->state);
    html(&url, "&iss=%u", a->r->server->issuer);
    if (url.failed)
        answer_no_memory(a->r);
    else
        answer_see_other(a->r, url.data);
    text_free(&url);
}

/* false, so that a step of below can end with it. */
static bool refuse(const authorization *a, const char *error, const char *description)
{
    go_back(a, "error", error, description);
    return false;
}

/* ------------------------------------------------------------------------------------------------- client and target */

const client *authorize_client(const server *s, const otok_form *query, const char **redirect_uri)
{
    const client *c = query == NULL ? NULL : directory_client(s->directory, otok_form_get(query, "client_id"));
    *redirect_uri = query == NULL ? NULL : otok_form_get(query, "redirect_uri");
    return c != NULL && client_has_redirect(c, *redirect_uri) ? c : NULL;
}

/* Until it is known where the client is, nobody is sent anywhere (RFC 6749 section 4.1.2.1). */
static bool has_target(authorization *a)
{
    request *r = a->r;
    const char *id = query_value(r, "client_id");
    a->client = authorize_client(r->server, r->query, &a->redirect_uri);
    if (a->client != NULL)
        return true;
    if (directory_client(r->server->directory, id) == NULL)
        answer_problem(
            r, 400, "Unknown application",
            "An application sent you here that is not registered with this server. You cannot go on from here; "
            "whoever runs that application has to mend it.");
    else
        answer_problem(
            r, 400, "Unknown address",
            "An application sent you here, and wants you back at an address (redirect_uri) that is not registered "
            "for it. So you are not sent on. Whoever runs that application has to mend it.");
    return false;
}

/* ------------------------------------------------------------------------------------------------- what it says */

static bool is_well_formed(authorization *a)
{
    const char *prompt = query_value(a->r, "prompt"), *age = query_value(a->r, "max_age");
    a->state = query_value(a->r, "state");
    a->nonce = query_value(a->r, "nonce");
    a->challenge = query_value(a->r, "code_challenge");
    a->dpop_jkt = query_value(a->r, "dpop_jkt");
    a->prompt = prompt == NULL ? "" : prompt;
    for (const mistake *m = authorize_mistakes; m->is_so != NULL; m++) {
        if (m->is_so(a))
            return refuse(a, m->error, m->description);
    }
    a->max_age_s = age == NULL ? -1 : strtoimax(age, NULL, 10);
    return true;
}

/* Whom the client believes to be there (OpenID Connect Core 3.1.2.1): by an ID token of ours, which may have expired. */
static bool is_hint_good(authorization *a)
{
    const char *hint = query_value(a->r, "id_token_hint");
    char *claims = NULL;
    otok_error err;
    if (hint == NULL)
        return true;
    int code = otok_jwt_verify(a->r->server->service, hint, "JWT", &claims, &err);
    if (code == OTOK_E_TOKEN_INVALID || code == OTOK_E_INVALID)
        return refuse(a, "invalid_request", "id_token_hint is not an ID token of this server");
    if (code != OTOK_OK) {
        answer_failure(a->r, &err);
        return false;
    }
    cJSON *json = cJSON_Parse(claims);
    const char *sub = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(json, "sub"));
    a->hinted = sub == NULL ? NULL : strdup(sub);
    cJSON_Delete(json);
    otok_string_free(claims);
    if (a->hinted == NULL)
        answer_no_memory(a->r);
    return a->hinted != NULL;
}

/* ------------------------------------------------------------------------------------------------- login */

/*
 * prompt=login and max_age=0 ask for a login that is later than the request, and the request comes back after it unchanged.  So the time
 * at which the user was sent to the login page travels in it, sealed: nobody can leave the login out by taking a word from the URL.
 * The seal's purpose is the request, whole: nor can he by adding a time that was sealed for another one, before he logged in.
 */
static void asked_purpose(const authorization *a, text *out)
{
    text_add(out, "asked to log in");
    authorize_url(a, "", false, out);
}

static void read_asked(authorization *a)
{
    const char *sealed = query_value(a->r, ASKED);
    text purpose = {0};
    asked_purpose(a, &purpose);
    char *plain =
        sealed == NULL || purpose.failed ? NULL : unseal_text(a->r->server->seal, purpose.data, sealed, now_us());
    a->asked_us = plain == NULL ? 0 : strtoimax(plain, NULL, 10);
    text_free(&purpose);
    free(plain);
}

/* NULL: no memory. */
static char *make_asked(const authorization *a)
{
    char now[24], *sealed = NULL;
    text purpose = {0};
    asked_purpose(a, &purpose);
    (void)snprintf(now, sizeof now, "%" PRId64, now_us());
    if (!purpose.failed)
        sealed = seal_text(a->r->server->seal, purpose.data, now, now_us() + ASKED_ENDS_AFTER_S * INT64_C(1000000));
    text_free(&purpose);
    return sealed;
}

static bool ask_login(const authorization *a)
{
    text url = {0};
    if (has_word(a->prompt, "none"))
        return refuse(a, "login_required", NULL);
    char *sealed = make_asked(a);
    authorize_url(a, "/authorize", false, &url);
    html(&url, "&" ASKED "=%u", sealed);
    if (url.failed || sealed == NULL)
        answer_no_memory(a->r);
    else
        login_ask(a->r, url.data);
    text_free(&url);
    free(sealed);
    return false;
}

static bool has_login(authorization *a)
{
    const login *l = a->r->login;
    if (l == NULL)
        return ask_login(a);
    bool is_fresh = a->asked_us > 0 && l->auth_time_us >= a->asked_us;
    bool is_other = a->hinted != NULL && strcmp(a->hinted, l->user->id) != 0;
    bool is_old = a->max_age_s >= 0 && now_us() - l->auth_time_us > a->max_age_s * 1000000;
    bool must_login = has_word(a->prompt, "login") || has_word(a->prompt, "select_account");
    if (is_fresh)
        return !is_other || refuse(a, "login_required", "somebody else than id_token_hint says has logged in");
    return !(is_other || is_old || must_login) || ask_login(a);
}

/* ------------------------------------------------------------------------------------------------- consent */

/* Every word of `scopes` is in `saved`. */
static bool covers(const char *saved, const char *scopes)
{
    char *words = strdup(scopes), *rest = NULL;
    bool good = words != NULL;
    for (char *word = words == NULL ? NULL : strtok_r(words, " ", &rest); word != NULL && good;
         word = strtok_r(NULL, " ", &rest))
        good = has_word(saved, word);
    free(words);
    return good;
}

static int decide(const authorization *a, const char *saved, otok_offline_decision **out, otok_error *err)
{
    otok_offline_request offline;
    otok_offline_request_init(&offline, sizeof offline);
    offline.scope = query_value(a->r, "scope");
    offline.response_type = query_value(a->r, "response_type");
    offline.prompt = a->prompt;
    offline.saved_consent = saved;
    offline.saved_consent_counts = 1;
    offline.application_type = a->client->is_native ? OTOK_APPLICATION_NATIVE : OTOK_APPLICATION_WEB;
    offline.user_has_role = a->r->login->user->may_be_offline;
    offline.client_has_scope = client_has_scope(a->client, "offline_access");
    offline.client_may_refresh = client_may_use(a->client, "refresh_token");
    offline.consent_given = a->is_allowed;
    return otok_offline_decide(&offline, out, err);
}

/*
 * What was allowed earlier is not asked again, but of a public client: any program on the user's device could pass for that, and would
 * have its tokens without a click (RFC 8252 section 8.6).
 */
static bool must_ask(const authorization *a, const otok_offline_decision *decision, const char *saved)
{
    return a->client->secret == NULL || has_word(a->prompt, "consent") || decision->decision == OTOK_OFFLINE_CONSENT ||
           (a->client->must_consent && !covers(saved, a->scope.data));
}

/* What a decision leaves: the scope, and whether the user is to be asked.  false: answered. */
static bool apply(authorization *a, const otok_offline_decision *decision, const char *saved)
{
    if (decision->oauth_error != NULL)
        return refuse(a, decision->oauth_error, decision->description);
    client_scopes(a->client, decision->scope, &a->scope);
    if (a->scope.failed) {
        answer_no_memory(a->r);
        return false;
    }
    if (a->scope.len == 0)
        return refuse(a, "invalid_scope", "no scope is asked that this client may have");
    if (a->is_allowed || !must_ask(a, decision, saved))
        return true;
    if (has_word(a->prompt, "none"))
        return refuse(a, "consent_required", NULL);
    show_consent(a);
    return false;
}

/* The scope is asked, permitted, and allowed by the user; the last of it now, or earlier. */
static bool has_consent(authorization *a)
{
    const server *s = a->r->server;
    otok_offline_decision *decision = NULL;
    otok_consent *saved = NULL;
    otok_error err;
    bool good = false;
    int code = otok_consent_get(s->service, a->r->login->user->id, a->client->id, &saved, &err);
    const char *scopes = saved == NULL ? NULL : saved->scope;
    if (code == OTOK_OK || code == OTOK_E_NOT_FOUND)
        code = decide(a, scopes, &decision, &err);
    if (code == OTOK_OK)
        good = apply(a, decision, scopes);
    else if (code == OTOK_E_INVALID) /* all else that is asked of the library here is our own */
        (void)refuse(a, "invalid_scope", "scope is malformed");
    else
        answer_failure(a->r, &err);
    otok_offline_decision_free(decision);
    otok_consent_free(saved);
    return good;
}

/* ------------------------------------------------------------------------------------------------- the code */

static void give_code(const authorization *a)
{
    const login *l = a->r->login;
    const approval granted = {
        .client = a->client,
        .user = l->user,
        .scope = a->scope.data,
        .sid = l->sid,
        .nonce = a->nonce,
        .auth_time_us = l->auth_time_us,
        .grant_type = OTOK_GRANT_AUTHORIZATION_CODE,
        .amr = "pwd",
        .dpop_jkt = a->dpop_jkt,
    };
    otok_error err;
    if (a->is_allowed && consent_add(a->r->server, l->user->id, a->client, a->scope.data, &err) != OTOK_OK) {
        answer_failure(a->r, &err);
        return;
    }
    char *code = code_make(a->r, &granted, a->redirect_uri, a->challenge);
    if (code == NULL)
        answer_no_memory(a->r);
    else
        go_back(a, "code", code, NULL);
    free(code);
}

static void authorize(request *r, const char *user_says)
{
    authorization a = {.r = r, .is_allowed = user_says != NULL && strcmp(user_says, "allow") == 0};
    if (has_target(&a) && is_well_formed(&a) && is_hint_good(&a)) {
        read_asked(&a);
        if (has_login(&a)) {
            if (user_says != NULL && strcmp(user_says, "refuse") == 0)
                (void)refuse(&a, "access_denied", "the user refused");
            else if (has_consent(&a))
                give_code(&a);
        }
    }
    free(a.hinted);
    text_free(&a.scope);
}

void show_authorize(request *r)
{
    authorize(r, NULL);
}

void do_consent(request *r)
{
    authorize(r, form_value(r, "answer"));
}
