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

void otok_event_send(const otok_service *service, otok_event *event, const otok_loaded *session)
{
    char subject[OTOK_MAX_NAME + 1], client[OTOK_MAX_NAME + 1], sid[OTOK_MAX_NAME + 1], id[OTOK_SESSION_ID_CHARS + 1];
    if (service->callbacks.event == NULL)
        return;
    event->size = sizeof *event;
    event->realm = service->realm_text;
    if (event->time_us == 0)
        event->time_us = otok_service_now(service);
    if (session != NULL) {
        otok_session_id_print(&session->record->id, id);
        event->session_id = id;
        event->subject = terminated(subject, session->record->subject);
        event->client_id = terminated(client, session->record->client);
        event->sid = terminated(sid, session->body.sid);
        event->grant_type = session->body.grant_type;
        if (event->generation == 0)
            event->generation = session->head.generation;
    }
    service->callbacks.event(service->user, event);
}
