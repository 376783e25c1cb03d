/*
 * fuzz_events.c - the events of a commit, out of a database that anybody may have edited: they are refused, or are exactly what
 * would be printed for what was handed out (E2).
 *
 * SPDX-License-Identifier: MIT
 */
#include "support/fuzzing.h"

#include <stdlib.h>
#include <string.h>

#include "format/format.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Copies of what was handed out: its texts do not live longer. */
struct events {
    otok_event all[OTOK_EVENTS_MAX];
    size_t n;
};

static const char *copy_of(const char *text)
{
    char *copy = text != NULL ? strdup(text) : NULL;
    fuzz_must((copy == NULL) == (text == NULL), "memory");
    return copy;
}

static int keep(void *arg, const otok_event *event)
{
    struct events *events = arg;
    fuzz_must(events->n < OTOK_EVENTS_MAX, "no more events than there may be");
    otok_event *copy = &events->all[events->n++];
    *copy = *event;
    copy->session_id = copy_of(event->session_id);
    copy->subject = copy_of(event->subject);
    copy->client_id = copy_of(event->client_id);
    copy->sid = copy_of(event->sid);
    copy->ip = copy_of(event->ip);
    copy->user_agent = copy_of(event->user_agent);
    copy->scope = copy_of(event->scope);
    return 0;
}

static void forget(struct events *events)
{
    for (size_t i = 0; i < events->n; i++) {
        const otok_event *event = &events->all[i];
        const char *const texts[] = {event->session_id, event->subject,    event->client_id, event->sid,
                                     event->ip,         event->user_agent, event->scope};
        for (size_t j = 0; j < sizeof texts / sizeof texts[0]; j++)
            free((void *)(uintptr_t)texts[j]);
    }
    events->n = 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct events events;
    int rc = otok_events_parse((otok_str){data, size}, keep, &events, NULL);
    fuzz_must(rc == OTOK_OK || rc == OTOK_E_FORMAT, "events are parsed or refused");
    if (rc == OTOK_OK) {
        otok_buf again;
        otok_buf_init(&again, NULL, 0);
        fuzz_must(otok_events_print(events.all, events.n, &again, NULL) == OTOK_OK, "otok_events_print");
        fuzz_must(again.len == size && memcmp(again.data, data, size) == 0, "events are printed as they were parsed");
        otok_buf_free(&again);
    }
    forget(&events);
    return 0;
}
