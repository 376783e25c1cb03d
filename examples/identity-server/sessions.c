/*
 * sessions.c - the sessions of a login: whether it lives, and its end, at which everything ends that hangs on it.
 *
 * What hangs together by a login has one sid: the session of the browser, and those that clients were given in it until logout.
 *
 * SPDX-License-Identifier: MIT
 */
#include <stdlib.h>
#include <string.h>

#include "server.h"

/* ------------------------------------------------------------------------------------------------------ whether it lives */

struct search {
    const user *user;
    bool *lives;
    char *device;
};

static bool is_browser(void *arg, const otok_session *session)
{
    const struct search *search = arg;
    if (strcmp(session->client_id, BROWSER_CLIENT) != 0 || strcmp(session->subject, search->user->id) != 0 ||
        session->state != OTOK_OK)
        return true;
    *search->lives = true;
    (void)agent_name(session->start_user_agent, search->device);
    return false;
}

/* The session of the browser is the oldest of its sid: it is on the first page. */
int login_lives(server *s, const user *u, const char *sid, bool *lives, char device[AGENT_NAME], otok_error *err)
{
    struct search search = {u, lives, device};
    otok_filter filter;
    otok_filter_init(&filter, sizeof filter);
    filter.sid = sid;
    *lives = false;
    device[0] = '\0';
    return sessions_each(s, &filter, is_browser, &search, err);
}

/* -------------------------------------------------------------------------------------------------------------- its end */

int login_logout(server *s, const user *u, const char *sid, bool revoke_offline_access, otok_error *err)
{
    otok_filter filter;
    otok_filter_init(&filter, sizeof filter);
    if (revoke_offline_access)
        filter.subject = u->id;
    else
        filter.sid = sid;
    notices_logout(s, u, sid, revoke_offline_access); /* before: afterwards nobody knows who had sessions */
    return otok_logout(s->service, &filter, revoke_offline_access, NULL, err);
}

int login_end(request *r, bool revoke_offline_access, otok_error *err)
{
    int code = login_logout(r->server, r->login->user, r->login->sid, revoke_offline_access, err);
    if (code == OTOK_OK)
        login_cookie_remove(r);
    return code;
}

int session_end(server *s, const otok_session *session, otok_error *err)
{
    const user *u = directory_user(s->directory, session->subject);
    if (u != NULL && session->sid != NULL && strcmp(session->client_id, BROWSER_CLIENT) == 0)
        return login_logout(s, u, session->sid, false, err);
    return otok_revoke_session(s->service, session->session_id, err);
}
