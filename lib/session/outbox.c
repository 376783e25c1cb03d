/*
 * outbox.c - events as records, in the commit of what they tell of (E2).
 *
 * One record holds the events of one commit.  They are found by an index of their realm in the order of time, and removed once
 * they are acknowledged.  When there are too many, a marker stands for what is missing: every commit that leaves its events out
 * asserts that the marker is there, so whoever removes it before he compares misses nothing.
 *
 * SPDX-License-Identifier: MIT
 */
#include "session/session.h"

#include <stdio.h>
#include <string.h>

enum { DEFAULT_LIMIT = 100, LIMIT_BOUND = 1000, TIME_SIZE = 6 };

/* ------------------------------------------------------------------------------------------------------------- writing */

static int outbox_key(otok_service *service, otok_index_key *out, otok_error *err)
{
    return otok_index_of(service, OTOK_RECORD_EVENT, OTOK_INDEX_REALM, (otok_str){0}, (otok_str){0}, out, err);
}

static int read_room(otok_service *service, uint64_t *room, otok_error *err)
{
    otok_index_key key;
    uint64_t held = 0;
    int rc = outbox_key(service, &key, err);
    if (rc == OTOK_OK)
        rc = otok_store_count(service->store, &key, &held, err);
    *room = held < service->outbox_limit ? service->outbox_limit - held : 0;
    return rc;
}

int otok_outbox_begin(otok_service *service, int how, size_t n, otok_outbox *outbox, otok_error *err)
{
    *outbox = (otok_outbox){.room = how == OTOK_OUTBOX_NEVERTHELESS ? UINT64_MAX : 0};
    int rc = how == OTOK_OUTBOX_WHILE_ROOM ? read_room(service, &outbox->room, err) : OTOK_OK;
    if (rc == OTOK_OK)
        rc = otok_name_id(service, "otok-outbox-overflow", (otok_str){0}, &outbox->overflow_id, err);
    if (rc == OTOK_OK && outbox->room < n) /* it may run out before the end of this commit */
        rc = otok_record_fetch(service, &outbox->overflow_id, &outbox->overflow, err);
    return rc;
}

void otok_outbox_end(otok_outbox *outbox)
{
    otok_record_free(outbox->overflow);
    outbox->overflow = NULL;
}

/* A new record of events; `told` has whose they are. */
static int fill_record(otok_service *service, const otok_event *event, otok_outbox_entry *entry, otok_error *err)
{
    otok_record *record = &entry->record;
    *record = (otok_record){
        .size = sizeof *record,
        .kind = OTOK_RECORD_EVENT,
        .created_us = event->time_us,
        .sweep_us = event->time_us,
        .keys = entry->keys,
        .realm = service->realm,
        .subject = otok_str_of(event->subject),
        .client = otok_str_of(event->client_id),
        .body = {entry->body.data, entry->body.len},
    };
    int rc = otok_names_of_owner(service, OTOK_RECORD_EVENT, record->subject, record->client, entry->keys,
                                 &record->nkeys, err);
    entry->write = (otok_write){OTOK_WRITE_INSERT, 0, record};
    return rc == OTOK_OK ? otok_random(&record->version, sizeof record->version, err) : rc;
}

static int draw_id(otok_record *record, otok_error *err)
{
    otok_put_u48(record->id.bytes, (uint64_t)(record->created_us / OTOK_US_PER_MS));
    return otok_random(record->id.bytes + TIME_SIZE, sizeof record->id.bytes - TIME_SIZE, err);
}

static int print_told(const otok_service *service, const otok_change *change, otok_told *told, otok_event *events,
                      otok_buf *out, otok_error *err)
{
    for (size_t i = 0; i < change->nnotices; i++) {
        otok_notice_complete(service, &change->notices[i], &told[i]);
        events[i] = told[i].event;
    }
    return otok_events_print(events, change->nnotices, out, err);
}

static int print_events(const otok_service *service, const otok_change *change, otok_buf *out, otok_error *err)
{
    otok_told *told = otok_calloc(change->nnotices, sizeof *told);
    otok_event *events = otok_calloc(change->nnotices, sizeof *events);
    int rc = OTOK_E_NOMEM;
    if (told != NULL && events != NULL)
        rc = print_told(service, change, told, events, out, err);
    else
        (void)otok_fail(err, OTOK_E_NOMEM, "out of memory");
    otok_free(told);
    otok_free(events);
    return rc;
}

static int enter_events(otok_service *service, const otok_change *change, otok_outbox_entry *entry, otok_error *err)
{
    otok_notice_complete(service, &change->notices[0], &entry->first);
    int rc = print_events(service, change, &entry->body, err);
    if (rc == OTOK_OK)
        rc = fill_record(service, &entry->first.event, entry, err);
    entry->held = true;
    return rc == OTOK_OK ? draw_id(&entry->record, err) : rc;
}

static int enter_overflow(otok_service *service, const otok_outbox *outbox, otok_outbox_entry *entry, otok_error *err)
{
    if (outbox->overflow != NULL) {
        entry->write = (otok_write){OTOK_WRITE_ASSERT, outbox->overflow->version, outbox->overflow};
        return OTOK_OK;
    }
    const otok_notice overflow = {.event.type = OTOK_EVENT_OUTBOX_OVERFLOW};
    otok_notice_complete(service, &overflow, &entry->first);
    int rc = otok_events_print(&entry->first.event, 1, &entry->body, err);
    if (rc == OTOK_OK)
        rc = fill_record(service, &entry->first.event, entry, err);
    entry->record.id = outbox->overflow_id;
    entry->record.kind = OTOK_RECORD_TOMBSTONE; /* which a full disk has room for */
    return rc;
}

int otok_outbox_enter(otok_service *service, otok_outbox *outbox, const otok_change *change, otok_outbox_entry *entry,
                      otok_error *err)
{
    otok_buf_init(&entry->body, NULL, 0);
    if (outbox->room == 0)
        return enter_overflow(service, outbox, entry, err);
    outbox->room--;
    return enter_events(service, change, entry, err);
}

int otok_outbox_mark(otok_service *service, otok_error *err)
{
    otok_outbox outbox;
    otok_outbox_entry entry = {0};
    int rc = otok_outbox_begin(service, OTOK_OUTBOX_MARKER, 1, &outbox, err);
    if (rc == OTOK_OK && outbox.overflow == NULL) {
        otok_buf_init(&entry.body, NULL, 0);
        rc = enter_overflow(service, &outbox, &entry, err);
        if (rc == OTOK_OK)
            rc = otok_service_write(service, OTOK_WRITE_INSERT, 0, &entry.record, err);
        otok_buf_free(&entry.body);
    }
    otok_outbox_end(&outbox);
    return rc == OTOK_E_CONFLICT ? OTOK_OK : rc; /* somebody else has left it */
}

void otok_outbox_entry_free(otok_outbox_entry *entry)
{
    otok_buf_free(&entry->body);
}

void otok_event_id_print(const otok_record *record, size_t n, char out[OTOK_EVENT_ID_CHARS + 1])
{
    uint8_t version[8];
    otok_id id = record->id;
    otok_put_u64(version, record->version);
    for (size_t i = 0; i < sizeof version; i++)
        id.bytes[sizeof id.bytes - sizeof version + i] ^= version[i];
    otok_session_id_print(&id, out);
    (void)snprintf(out + OTOK_SESSION_ID_CHARS, OTOK_EVENT_ID_CHARS - OTOK_SESSION_ID_CHARS + 1, ".%zu", n % 100);
}

/* ------------------------------------------------------------------------------------------------------------- reading */

/* An event and its texts, in one piece of memory. */
struct event_box {
    otok_event event;
    char id[OTOK_EVENT_ID_CHARS + 1];
    char text[];
};

struct batch_box {
    otok_outbox_batch batch;
    otok_rows rows;
    const otok_event **events;
    size_t room;
    const otok_service *service;
    size_t at; /* the row that is being read, and which of its events */
    size_t nth;
};

void otok_outbox_batch_free(otok_outbox_batch *batch)
{
    struct batch_box *box = (struct batch_box *)(void *)batch;
    if (box == NULL)
        return;
    for (size_t i = 0; i < box->batch.count; i++)
        otok_free((void *)(uintptr_t)box->events[i]);
    otok_free(box->events);
    otok_rows_free(&box->rows);
    otok_free(box);
}

static void keep(const char **text, char **at)
{
    size_t size = *text != NULL ? strlen(*text) + 1 : 0;
    if (size == 0)
        return;
    memcpy(*at, *text, size);
    *text = *at;
    *at += size;
}

static struct event_box *copy_event(const struct batch_box *batch, const otok_event *event)
{
    const char *const texts[] = {batch->service->realm_text, event->session_id, event->subject,
                                 event->client_id,           event->sid,        event->ip,
                                 event->user_agent,          event->scope};
    size_t size = 0;
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++)
        size += texts[i] != NULL ? strlen(texts[i]) + 1 : 0;
    struct event_box *box = otok_malloc(sizeof *box + size);
    if (box == NULL)
        return NULL;
    box->event = *event;
    box->event.size = sizeof box->event;
    box->event.realm = batch->service->realm_text;
    char *at = box->text;
    keep(&box->event.realm, &at);
    keep(&box->event.session_id, &at);
    keep(&box->event.subject, &at);
    keep(&box->event.client_id, &at);
    keep(&box->event.sid, &at);
    keep(&box->event.ip, &at);
    keep(&box->event.user_agent, &at);
    keep(&box->event.scope, &at);
    otok_event_id_print(batch->rows.records[batch->at], batch->nth, box->id);
    box->event.event_id = box->id;
    return box;
}

static int add_event(void *arg, const otok_event *event)
{
    struct batch_box *box = arg;
    if (box->batch.count == box->room) {
        size_t room = box->room != 0 ? box->room * 2 : DEFAULT_LIMIT;
        const otok_event **more = otok_realloc(box->events, room * sizeof *more);
        if (more == NULL)
            return OTOK_E_NOMEM;
        box->events = more;
        box->room = room;
    }
    struct event_box *copy = copy_event(box, event);
    if (copy == NULL)
        return OTOK_E_NOMEM;
    box->events[box->batch.count++] = &copy->event;
    box->nth++;
    return OTOK_OK;
}

static int read_rows(struct batch_box *box, otok_error *err)
{
    int rc = OTOK_OK;
    for (box->at = 0; rc == OTOK_OK && box->at < box->rows.n; box->at++) {
        box->nth = 0;
        rc = otok_events_parse(box->rows.records[box->at]->body, add_event, box, err);
        if (rc ==
            OTOK_E_FORMAT) /* what this version cannot read is missing too, and must not stand in the way of the rest */
            rc = add_event(box, &(otok_event){.type = OTOK_EVENT_OUTBOX_OVERFLOW,
                                              .time_us = box->rows.records[box->at]->created_us});
        if (rc == OTOK_E_NOMEM)
            rc = otok_fail(err, rc, "out of memory");
    }
    box->batch.events = box->events;
    return rc;
}

int otok_outbox_read(otok_service *service, uint32_t limit, otok_outbox_batch **out, otok_error *err)
{
    otok_scan scan = {.size = sizeof scan, .limit = limit != 0 ? limit : DEFAULT_LIMIT};
    if (service == NULL || out == NULL)
        return otok_fail(err, OTOK_E_INVALID, "%s is required", service == NULL ? "service" : "out");
    *out = NULL;
    if (limit > LIMIT_BOUND)
        return otok_fail(err, OTOK_E_INVALID, "limit is more than %d", LIMIT_BOUND);
    struct batch_box *box = otok_calloc(1, sizeof *box);
    if (box == NULL)
        return otok_fail(err, OTOK_E_NOMEM, "out of memory");
    box->service = service;
    box->batch.size = sizeof box->batch;
    box->rows.until_us = INT64_MAX;
    int rc = outbox_key(service, &scan.key, err);
    if (rc == OTOK_OK)
        rc = otok_rows_scan(service, &scan, &box->rows, err);
    if (rc == OTOK_OK)
        rc = read_rows(box, err);
    if (rc != OTOK_OK) {
        otok_outbox_batch_free(&box->batch);
        return rc;
    }
    *out = &box->batch;
    return OTOK_OK;
}

/* An event's record never changes, so a conflict means that another reader was here. */
int otok_outbox_acknowledge(otok_service *service, const otok_outbox_batch *batch, otok_error *err)
{
    const struct batch_box *box = (const struct batch_box *)(const void *)batch;
    if (service == NULL || batch == NULL)
        return otok_fail(err, OTOK_E_INVALID, "%s is required", service == NULL ? "service" : "batch");
    int rc = OTOK_OK;
    if (box->rows.n != 0 && !otok_str_eq(box->rows.records[0]->realm, service->realm))
        return otok_fail(err, OTOK_E_INVALID, "batch is of another realm");
    for (size_t at = 0; rc == OTOK_OK && at < box->rows.n; at += OTOK_BULK) {
        otok_write writes[OTOK_BULK];
        otok_change changes[OTOK_BULK] = {0};
        size_t n = box->rows.n - at < OTOK_BULK ? box->rows.n - at : OTOK_BULK;
        for (size_t i = 0; i < n; i++) {
            const otok_record *record = box->rows.records[at + i];
            writes[i] = (otok_write){OTOK_WRITE_DELETE, record->version, record};
            changes[i] = (otok_change){.writes = &writes[i], .nwrites = 1};
        }
        rc = otok_changes_commit(service, changes, n, err);
    }
    return rc;
}
