/*
 * event.c - the events of one commit, as the outbox holds them (E2).
 *
 * Format (1), then for each event a length (2) and fields (fields.h).  The events of a commit have much in common, the request that
 * they come of above all: a text that is that of the event before is one bit, and so 64 events with names of the greatest length
 * fit into one record.
 *
 * SPDX-License-Identifier: MIT
 */
#include "format/fields.h"

#include <stddef.h>
#include <string.h>

/* ---------------------------------------------------------------------------------------------------- one event */

enum { FORMAT = 1, TEXTS = 7, SCOPE_MOST = 4096, IP_MOST = 64 };

/* An event with its texts counted, and without those that the event before has too. */
struct stored {
    int32_t type, reason, grant_type, kind;
    uint32_t generation, distance, marks;
    int64_t time_us, cutoff_us;
    uint8_t same; /* bit i: text i is that of the event before */
    otok_str texts[TEXTS];
};

#define MEMBER(member)   offsetof(struct stored, member), 0, 0, 0
#define TEXT(i, most)    offsetof(struct stored, texts) + (i) * sizeof(otok_str), most, 0, 0
#define EVENT_TEXT(name) offsetof(otok_event, name)

static const otok_field fields[] = {
    {1, OTOK_FIELD_INT, MEMBER(type)},
    {2, OTOK_FIELD_INT, MEMBER(reason)},
    {3, OTOK_FIELD_LONG, MEMBER(time_us)},
    {4, OTOK_FIELD_INT, MEMBER(generation)},
    {5, OTOK_FIELD_INT, MEMBER(distance)},
    {6, OTOK_FIELD_INT, MEMBER(marks)},
    {7, OTOK_FIELD_INT, MEMBER(grant_type)},
    {8, OTOK_FIELD_INT, MEMBER(kind)},
    {9, OTOK_FIELD_LONG, MEMBER(cutoff_us)},
    {10, OTOK_FIELD_BYTE, MEMBER(same)},
    {16, OTOK_FIELD_TEXT, TEXT(0, OTOK_SESSION_ID_CHARS)},
    {17, OTOK_FIELD_TEXT, TEXT(1, OTOK_MAX_NAME)},
    {18, OTOK_FIELD_TEXT, TEXT(2, OTOK_MAX_NAME)},
    {19, OTOK_FIELD_TEXT, TEXT(3, OTOK_MAX_NAME)},
    {20, OTOK_FIELD_TEXT, TEXT(4, IP_MOST)},
    {21, OTOK_FIELD_TEXT, TEXT(5, OTOK_EVENT_TEXT_MAX)},
    {22, OTOK_FIELD_TEXT, TEXT(6, SCOPE_MOST)},
};

enum { FIELDS = sizeof fields / sizeof fields[0], FIRST_TEXT = FIELDS - TEXTS };
enum { TEXT_ROOM = OTOK_SESSION_ID_CHARS + 3 * OTOK_MAX_NAME + IP_MOST + OTOK_EVENT_TEXT_MAX + SCOPE_MOST + TEXTS };

/* Where the texts are in an event. */
static const size_t members[TEXTS] = {EVENT_TEXT(session_id), EVENT_TEXT(subject), EVENT_TEXT(client_id),
                                      EVENT_TEXT(sid),        EVENT_TEXT(ip),      EVENT_TEXT(user_agent),
                                      EVENT_TEXT(scope)};

static otok_str text_of(const otok_event *event, size_t i)
{
    const char *text = *(const char *const *)(const void *)((const uint8_t *)event + members[i]);
    size_t most = fields[FIRST_TEXT + i].most;
    size_t len = text != NULL ? strnlen(text, most + 1) : 0;
    return (otok_str){text, otok_text_cut(text, len, most)};
}

/* ----------------------------------------------------------------------------------------------------- printing */

/* `before` holds the texts of the event before, and then those of this one. */
static struct stored stored_of(const otok_event *event, otok_str before[TEXTS])
{
    struct stored stored = {
        .type = event->type,
        .reason = event->reason,
        .grant_type = event->grant_type,
        .kind = event->kind,
        .generation = event->generation,
        .distance = event->distance,
        .marks = event->marks,
        .time_us = event->time_us,
        .cutoff_us = event->cutoff_us,
    };
    for (size_t i = 0; i < TEXTS; i++) {
        otok_str text = text_of(event, i);
        if (text.len != 0 && otok_str_eq(text, before[i]))
            stored.same = (uint8_t)(stored.same | 1U << i);
        else
            stored.texts[i] = text;
        before[i] = text;
    }
    return stored;
}

static void print_event(const struct stored *stored, otok_buf *out)
{
    size_t start = out->len;
    otok_buf_add_u16(out, 0);
    otok_fields_print(fields, FIELDS, stored, out);
    if (!out->failed)
        otok_put_u16(out->data + start, (uint16_t)(out->len - start - 2));
}

int otok_events_print(const otok_event *events, size_t n, otok_buf *out, otok_error *err)
{
    otok_str before[TEXTS] = {{NULL, 0}};
    size_t start = out->len;
    if (n > OTOK_EVENTS_MAX)
        return otok_fail(err, OTOK_E_INVALID, "%zu events in one commit, %d are the most", n, OTOK_EVENTS_MAX);
    otok_buf_add_u8(out, FORMAT);
    for (size_t i = 0; i < n; i++) {
        struct stored stored = stored_of(&events[i], before);
        print_event(&stored, out);
    }
    if (out->failed)
        return otok_fail(err, OTOK_E_NOMEM, "no memory for the events of a commit");
    if (out->len - start > OTOK_MAX_BODY) {
        out->len = start;
        return otok_fail(err, OTOK_E_INVALID, "the events of one commit are longer than %d bytes", OTOK_MAX_BODY);
    }
    return OTOK_OK;
}

/* ------------------------------------------------------------------------------------------------------ parsing */

/* Whether a text is one that is written so: nothing for what is the same, no text again, and none with a NUL in it. */
static bool is_exact(otok_str text, bool is_same, otok_str before)
{
    if (is_same)
        return text.len == 0 && before.len != 0;
    return text.len == 0 || (!otok_str_eq(text, before) && memchr(text.data, '\0', text.len) == NULL);
}

/* Puts back the texts of the event before, and keeps those of this one for the next. */
static bool complete(struct stored *stored, otok_str before[TEXTS])
{
    for (size_t i = 0; i < TEXTS; i++) {
        bool is_same = (stored->same >> i & 1) != 0;
        if (!is_exact(stored->texts[i], is_same, before[i]))
            return false;
        if (is_same)
            stored->texts[i] = before[i];
        before[i] = stored->texts[i];
    }
    return stored->same >> TEXTS == 0;
}

static int hand_out(const struct stored *stored, int (*each)(void *arg, const otok_event *event), void *arg)
{
    char room[TEXT_ROOM], *next = room;
    otok_event event = {
        .size = sizeof event,
        .type = stored->type,
        .reason = stored->reason,
        .time_us = stored->time_us,
        .generation = stored->generation,
        .distance = stored->distance,
        .marks = stored->marks,
        .grant_type = stored->grant_type,
        .cutoff_us = stored->cutoff_us,
        .kind = stored->kind,
    };
    for (size_t i = 0; i < TEXTS; i++) {
        otok_str text = stored->texts[i];
        if (text.len == 0)
            continue;
        memcpy(next, text.data, text.len);
        next[text.len] = '\0';
        *(const char **)(void *)((uint8_t *)&event + members[i]) = next;
        next += text.len + 1;
    }
    return each(arg, &event);
}

/* Takes one event off; false when it is none. */
static bool parse_event(otok_reader *reader, otok_str before[TEXTS], struct stored *out)
{
    size_t len = otok_read_u16(reader);
    const uint8_t *bytes = otok_read(reader, len);
    memset(out, 0, sizeof *out);
    return bytes != NULL && otok_fields_parse(fields, FIELDS, (otok_str){bytes, len}, out) && complete(out, before);
}

int otok_events_parse(otok_str bytes, int (*each)(void *arg, const otok_event *event), void *arg, otok_error *err)
{
    otok_reader reader = otok_reader_of(bytes.data, bytes.len);
    otok_str before[TEXTS] = {{NULL, 0}};
    int rc = 0;
    if (otok_read_u8(&reader) != FORMAT || bytes.len > OTOK_MAX_BODY)
        return otok_fail(err, OTOK_E_FORMAT, "the events of a commit have a format that this version does not know");
    for (size_t n = 0; rc == 0 && reader.len > 0; n++) {
        struct stored stored;
        if (n == OTOK_EVENTS_MAX || !parse_event(&reader, before, &stored))
            return otok_fail(err, OTOK_E_FORMAT, "the events of a commit are damaged, or of a newer version");
        rc = hand_out(&stored, each, arg);
    }
    return rc;
}
