/*
 * callbacks.c - what the library asks this host, and tells it: how a client's sessions live, whether a user may still do this, what is
 * said about them in tokens, and what happened.
 *
 * SPDX-License-Identifier: MIT
 */
#include "server.h"

#include <stdlib.h>
#include <string.h>

#include <cjson/cJSON.h>

enum { HOUR_S = 3600 };

/* ------------------------------------------------------------------------------------------------------------- policy */

static int client_policy(void *arg, const char *client_id, otok_policy *policy)
{
    const server *s = arg;
    const client *c = directory_client(s->directory, client_id);
    if (c != NULL && c->must_consent)
        policy->consent = OTOK_ON;
    if (c != NULL && c->needs_dpop_nonce)
        policy->dpop_nonce = OTOK_ON;
    if (strcmp(client_id, BROWSER_CLIENT) == 0) { /* which wants to know whether a login lives, and no tokens */
        policy->access_token = OTOK_OFF;
        policy->idle_timeout_s = INT64_C(10) * HOUR_S;
        policy->max_lifetime_s = INT64_C(24) * HOUR_S;
    } else if (is_own_client(client_id)) {
        device_policy(policy);
    }
    return 0;
}

/* --------------------------------------------------------------------------------------------------------------- veto */

static bool is_service_of(const char *subject, const client *c)
{
    const size_t len = sizeof SERVICE_SUBJECT - 1;
    return strncmp(subject, SERVICE_SUBJECT, len) == 0 && strcmp(subject + len, c->id) == 0 &&
           client_may_use(c, "client_credentials");
}

/* Why not; NULL: nothing speaks against it. */
static const char *objection(const server *s, const otok_session *session)
{
    const client *c = directory_client(s->directory, session->client_id);
    const user *u = directory_user(s->directory, session->subject);
    if (strcmp(session->client_id, BROWSER_CLIENT) == 0)
        return u != NULL ? NULL : "the user is not there any more";
    if (is_own_client(session->client_id)) /* a device's, which is asked for by whoever it is */
        return NULL;
    if (c == NULL)
        return "the client is not there any more";
    if (is_service_of(session->subject, c))
        return NULL;
    if (u == NULL)
        return "the user is not there any more";
    if (session->kind == OTOK_SESSION_OFFLINE && !u->may_be_offline)
        return "the user may not have offline sessions any more";
    return NULL;
}

static int authorize(void *arg, const otok_use *use, otok_answer *answer)
{
    const char *why_not = objection(arg, use->session);
    return why_not != NULL ? otok_answer_refuse(answer, OTOK_E_DENIED, why_not) : OTOK_OK;
}

/* ------------------------------------------------------------------------------------------------------------- claims */

cJSON *user_claims(const user *u, const char *scopes)
{
    cJSON *claims = cJSON_CreateObject();
    bool done = claims != NULL;
    if (done && has_word(scopes, "profile"))
        done = cJSON_AddStringToObject(claims, "name", u->name) != NULL &&
               cJSON_AddStringToObject(claims, "preferred_username", u->id) != NULL;
    if (done && has_word(scopes, "email"))
        done = cJSON_AddStringToObject(claims, "email", u->email) != NULL;
    if (done)
        return claims;
    cJSON_Delete(claims);
    return NULL;
}

static int claims(void *arg, const otok_use *use, otok_answer *answer)
{
    const server *s = arg;
    const user *u = directory_user(s->directory, use->session->subject);
    if (u == NULL || !has_word(use->scope, "openid")) /* a service account, or nothing to do with OpenID Connect */
        return OTOK_OK;
    cJSON *object = user_claims(u, use->scope);
    char *json = object != NULL ? cJSON_PrintUnformatted(object) : NULL;
    int rc = json != NULL ? otok_answer_set_id_claims(answer, json) : OTOK_E_NOMEM;
    if (rc == OTOK_OK)
        rc = otok_answer_set_access_claims(answer, json);
    cJSON_free(json);
    cJSON_Delete(object);
    return rc;
}

/* ------------------------------------------------------------------------------------------------------------- events */

static void event(void *arg, const otok_event *what)
{
    const server *s = arg;
    activity_event(s->activity, what);
}

void callbacks_set(otok_callbacks *callbacks)
{
    otok_callbacks_init(callbacks, sizeof *callbacks);
    callbacks->client_policy = client_policy;
    callbacks->authorize = authorize;
    callbacks->claims = claims;
    callbacks->event = event;
}
