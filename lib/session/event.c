/*
 * event.c - telling the host what happened, after the commit (E1).
 *
 * SPDX-License-Identifier: MIT
 */
#include "session/session.h"

#include <string.h>

void otok_callbacks_init(otok_callbacks *callbacks, size_t size)
{
    otok_struct_init(callbacks, size);
}

/* Names are at most 255 bytes; what a record holds is not NUL-terminated. */
static const char *terminated(char room[OTOK_MAX_NAME + 1], otok_str text)
{
    if (text.len == 0 || text.len > OTOK_MAX_NAME)
        return NULL;
    memcpy(room, text.data, text.len);
    room[text.len] = '\0';
    return room;
}

void otok_notice_complete(const otok_service *service, const otok_notice *notice, otok_told *out)
{
    const otok_loaded *session = notice->session;
    out->event = notice->event;
    out->event.size = sizeof out->event;
    out->event.realm = service->realm_text;
    if (out->event.time_us == 0)
        out->event.time_us = otok_service_now(service);
    if (session == NULL)
        return;
    otok_session_id_print(&session->record->id, out->session_id);
    out->event.session_id = out->session_id;
    out->event.subject = terminated(out->subject, session->record->subject);
    out->event.client_id = terminated(out->client_id, session->record->client);
    out->event.sid = terminated(out->sid, session->body.sid);
    out->event.grant_type = session->body.grant_type;
    out->event.kind = session->body.kind;
    if (out->event.generation == 0)
        out->event.generation = session->head.generation;
}

void otok_notice_send(const otok_service *service, const otok_notice *notice, const char *event_id)
{
    otok_told told;
    otok_count_event(service, &notice->event);
    if (service->callbacks.event == NULL)
        return;
    otok_notice_complete(service, notice, &told);
    told.event.event_id = event_id;
    service->callbacks.event(service->user, &told.event);
}
