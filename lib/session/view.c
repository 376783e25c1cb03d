/*
 * view.c - a session as the host sees it: in lists, in callbacks, in what is exported (Q2).
 *
 * SPDX-License-Identifier: MIT
 */
#include "session/session.h"

#include <string.h>

/* A session and its texts, in one piece of memory. */
struct session_box {
    otok_session session;
    char text[];
};

static const char *place(struct session_box *box, size_t *at, otok_str text)
{
    if (text.len == 0)
        return NULL;
    char *to = box->text + *at;
    memcpy(to, text.data, text.len);
    to[text.len] = '\0';
    *at += text.len + 1;
    return to;
}

static otok_str or_else(otok_str first, otok_str second)
{
    return first.len != 0 ? first : second;
}

/* Which text goes to which member. */
struct shown_text {
    const char **member;
    otok_str text;
};

static struct session_box *box_of(const struct shown_text *texts, size_t n)
{
    size_t room = 0;
    for (size_t i = 0; i < n; i++)
        room += texts[i].text.len + 1;
    return otok_calloc(1, sizeof(struct session_box) + room);
}

static otok_session numbers_of(const otok_loaded *loaded, const otok_lifetime *life)
{
    return (otok_session){
        .size = sizeof(otok_session),
        .grant_type = loaded->body.grant_type,
        .binding = loaded->body.binding,
        .started_us = loaded->body.started_us,
        .last_used_us = loaded->head.refreshed_us,
        .rotated_us = loaded->head.rotated_us,
        .idle_expires_us = life->idle_expires_us,
        .max_expires_us = life->max_expires_us,
        .generation = loaded->head.generation,
        .retries = loaded->head.retries,
        .state = life->verdict,
        .kind = loaded->body.kind,
    };
}

otok_session *otok_session_view(const otok_loaded *loaded, const otok_lifetime *life)
{
    char id[OTOK_SESSION_ID_CHARS + 1];
    const otok_body *body = &loaded->body;
    otok_session session = numbers_of(loaded, life);
    otok_session_id_print(&loaded->record->id, id);
    const struct shown_text texts[] = {
        {&session.session_id, {id, OTOK_SESSION_ID_CHARS}},
        {&session.subject, loaded->record->subject},
        {&session.client_id, loaded->record->client},
        {&session.scope, body->scope},
        {&session.sid, body->sid},
        {&session.label, body->label},
        {&session.start_ip, body->start_ip},
        {&session.start_user_agent, body->start_user_agent},
        {&session.last_ip, or_else(body->last_ip, body->start_ip)},
        {&session.last_user_agent, or_else(body->last_user_agent, body->start_user_agent)},
        {&session.sub, or_else(body->sub, loaded->record->subject)},
        {&session.notes, body->notes},
    };
    size_t n = sizeof texts / sizeof texts[0], at = 0;
    struct session_box *box = box_of(texts, n);
    if (box == NULL)
        return NULL;
    for (size_t i = 0; i < n; i++)
        *texts[i].member = place(box, &at, texts[i].text);
    box->session = session;
    return &box->session;
}

void otok_session_free(otok_session *session)
{
    otok_free(session);
}
