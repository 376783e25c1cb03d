/*
 * issue.c - what an approval is worth: which scopes are left of those that were asked, and the tokens for them.
 *
 * SPDX-License-Identifier: MIT
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "server.h"

enum { MOST_AUDIENCES = 16 };

/* ---------------------------------------------------------------------------------------------------- scopes */

static int refuse(int code, const char *why, otok_error *err)
{
    *err = (otok_error){.code = code};
    snprintf(err->message, sizeof err->message, "%s", why);
    return code;
}

/* What is left of the scopes; `err` tells why there is nothing. */
static int read_decision(const otok_offline_decision *decision, char **granted, otok_error *err)
{
    if (decision->oauth_error != NULL)
        return refuse(OTOK_E_SCOPE, decision->description, err);
    if (decision->scope[0] == '\0')
        return refuse(OTOK_E_SCOPE, "no scope is asked for that this client may have", err);
    *granted = strdup(decision->scope);
    return *granted != NULL ? OTOK_OK : out_of_memory(err);
}

/* Who comes here has agreed: the user on a page or by giving the password away, or the client itself. */
int scope_granted(const client *c, const user *u, const char *asked, int32_t grant_type, char **granted,
                  otok_error *err)
{
    otok_offline_request q;
    otok_offline_decision *decision = NULL;
    otok_offline_request_init(&q, sizeof q);
    q.scope = asked;
    q.grant_type = grant_type;
    q.application_type = c->is_native ? OTOK_APPLICATION_NATIVE : OTOK_APPLICATION_WEB;
    q.user_has_role = u == NULL || u->may_be_offline; /* of a service account: as its scopes say */
    q.client_has_scope = client_has_scope(c, "offline_access");
    q.client_may_refresh = client_may_use(c, "refresh_token");
    q.consent_given = 1;
    q.client_credentials_allowed = 1;
    int rc = otok_offline_decide(&q, &decision, err);
    if (rc == OTOK_OK)
        rc = read_decision(decision, granted, err);
    otok_offline_decision_free(decision);
    return rc;
}

static void add_words(text *out, const char *words)
{
    const char *at = words;
    while (at != NULL && *at != '\0') {
        size_t len = strcspn(at, " ");
        char *word = strndup(at, len);
        if (word == NULL)
            out->failed = true;
        else if (len > 0 && !has_word(out->data, word)) {
            text_add(out, out->len > 0 ? " " : "");
            text_add(out, word);
        }
        free(word);
        at += len + strspn(at + len, " ");
    }
}

int consent_add(server *s, const char *subject, const client *c, const char *granted, otok_error *err)
{
    otok_consent *before = NULL;
    text all = {0};
    int rc = otok_consent_get(s->service, subject, c->id, &before, err);
    if (rc != OTOK_OK && rc != OTOK_E_NOT_FOUND)
        return rc;
    add_words(&all, before != NULL ? before->scope : NULL);
    add_words(&all, granted);
    rc = all.failed ? out_of_memory(err) : otok_consent_put(s->service, subject, c->id, all.data, err);
    text_free(&all);
    otok_consent_free(before);
    return rc;
}

/* ---------------------------------------------------------------------------------------------------- the grant */

const char *subject_of(const approval *a, char out[SUBJECT_ROOM])
{
    snprintf(out, SUBJECT_ROOM, "%s%s", a->user != NULL ? "" : SERVICE_SUBJECT,
             a->user != NULL ? a->user->id : a->client->id);
    return out;
}

/* A grant in the making, and what its texts are in. */
struct issue {
    otok_grant grant;
    otok_peer peer;
    char *sid, *once_key, *words;
    char subject[SUBJECT_ROOM], agent[AGENT_NAME];
    const char *audience[MOST_AUDIENCES];
    size_t audience_count;
};

static void issue_free(struct issue *i)
{
    free(i->sid);
    free(i->once_key);
    free(i->words);
}

static bool has_audience(const struct issue *i, const char *audience)
{
    for (size_t k = 0; k < i->audience_count; k++) {
        if (strcmp(i->audience[k], audience) == 0)
            return true;
    }
    return false;
}

static void add_audience(struct issue *i, const char *audience)
{
    if (!has_audience(i, audience) && i->audience_count < MOST_AUDIENCES)
        i->audience[i->audience_count++] = audience;
}

/* Who looks at the scopes that are granted: this server, for UserInfo, and then the others. */
static bool find_audience(const server *s, const char *granted, struct issue *i)
{
    char *rest = NULL;
    i->words = strdup(granted);
    if (i->words == NULL)
        return false;
    if (has_word(granted, "openid") || has_word(granted, "profile") || has_word(granted, "email"))
        add_audience(i, s->issuer);
    for (char *word = strtok_r(i->words, " ", &rest); word != NULL; word = strtok_r(NULL, " ", &rest)) {
        const scope *known = directory_scope(s->directory, word);
        if (known != NULL && known->audience != NULL)
            add_audience(i, known->audience);
    }
    return true;
}

/* RFC 8707 section 2.2: the client may name those of them that it wants tokens for.  False: it names another. */
static bool narrow_audience(const otok_form *form, struct issue *i)
{
    const char *named[MOST_AUDIENCES];
    size_t n = 0;
    for (size_t k = 0; k < otok_form_count(form); k++) {
        const char *value = otok_form_value(form, k);
        if (strcmp(otok_form_name(form, k), "resource") != 0 || value[0] == '\0')
            continue;
        if (n == MOST_AUDIENCES || !has_audience(i, value))
            return false;
        named[n++] = value;
    }
    i->audience_count = n > 0 ? 0 : i->audience_count;
    for (size_t k = 0; k < n; k++)
        add_audience(i, named[k]);
    return true;
}

/* Each kind of session is what the scopes and the client's registration say. */
static void choose_kind(const approval *a, otok_grant *grant)
{
    bool is_service = a->grant_type == OTOK_GRANT_CLIENT_CREDENTIALS;
    grant->kind = has_word(a->scope, "offline_access") ? OTOK_SESSION_OFFLINE : OTOK_SESSION_LOGIN;
    if (grant->kind == OTOK_SESSION_LOGIN && (is_service || !client_may_use(a->client, "refresh_token")))
        grant->refresh_token = OTOK_OFF; /* RFC 6749 section 4.4.3 */
}

/* False: memory or libcrypto failed. */
static bool build(const request *r, const approval *a, struct issue *i)
{
    otok_grant *grant = &i->grant;
    i->sid = a->sid != NULL ? strdup(a->sid) : random_name(); /* a login of its own, where there is no browser's */
    i->once_key = a->code != NULL ? sha256_name(a->code) : NULL;
    if (i->sid == NULL || (a->code != NULL && i->once_key == NULL) || !find_audience(r->server, a->scope, i))
        return false;
    otok_grant_init(grant, sizeof *grant);
    grant->subject = subject_of(a, i->subject);
    grant->scope = a->scope;
    grant->grant_type = a->grant_type;
    grant->sid = i->sid;
    grant->nonce = a->nonce;
    grant->amr = &a->amr;
    grant->amr_count = a->amr != NULL ? 1 : 0;
    grant->audience = i->audience;
    grant->auth_time_us = a->auth_time_us;
    grant->label = a->label;
    if (grant->label == NULL) /* the browser's, or where there was none, the client's own */
        grant->label = i->agent[0] != '\0' ? i->agent : agent_name(request_header(r, "User-Agent"), i->agent);
    grant->once_key = i->once_key;
    choose_kind(a, grant);
    return true;
}

static void issue(request *r, const otok_http_request *http, const approval *a, struct issue *i)
{
    otok_http_response *response = NULL;
    otok_error err = {0};
    if (!build(r, a, i)) {
        answer_refusal(r, OTOK_E_CRYPTO, NULL);
        return;
    }
    if (!narrow_audience(r->form, i)) {
        answer_refusal(r, OTOK_E_TARGET, "the resource was not granted");
        return;
    }
    i->grant.audience_count = i->audience_count;
    if (a->dpop_jkt != NULL) { /* RFC 9449 section 10 */
        otok_peer_init(&i->peer, sizeof i->peer);
        i->peer.jkt = a->dpop_jkt;
        i->grant.peer = &i->peer;
    }
    int rc = otok_endpoint_issue(r->server->service, http, &i->grant, &response, &err);
    answer_endpoint(r, rc, response, &err);
}

/* What was approved before a logout, or before an administrator's cutoff, is not to be redeemed after it. */
void answer_tokens(request *r, const otok_http_request *http, const approval *a)
{
    struct issue i = {0};
    otok_error err = {0};
    bool lives = true;
    int rc = a->sid != NULL ? login_lives(r->server, a->user, a->sid, &lives, i.agent, &err) : OTOK_OK;
    if (rc != OTOK_OK)
        answer_endpoint(r, rc, NULL, &err);
    else if (!lives)
        answer_refusal(r, OTOK_E_DENIED, "the login in which the user agreed has ended");
    else
        issue(r, http, a, &i);
    issue_free(&i);
}
