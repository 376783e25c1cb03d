/* link: -Wl,--wrap=otok_malloc */
/*
 * check_event_format.c - the events of a commit in the outbox: what comes out is what went in, and nothing is read that was not
 * written (E2).
 *
 * SPDX-License-Identifier: MIT
 */
#include "support/fixture.h"

#include <stdlib.h>
#include <string.h>

static bool memory_fails;

void *__real_otok_malloc(size_t size);
void *__wrap_otok_malloc(size_t size);

void *__wrap_otok_malloc(size_t size)
{
    return memory_fails ? NULL : __real_otok_malloc(size);
}

/* ----------------------------------------------------------------------------------------------------------- helpers */

static otok_event full_event(void)
{
    return (otok_event){
        .size = sizeof(otok_event),
        .type = OTOK_EVENT_REUSE,
        .reason = OTOK_E_TOKEN_REUSED,
        .time_us = TEST_START_US,
        .session_id = "AAAAAAAAAAAAAAAAAAAAAA",
        .subject = "al\u00e9",
        .client_id = "phone",
        .sid = "sso",
        .ip = "192.0.2.1",
        .user_agent = "agent/1",
        .generation = UINT32_MAX,
        .distance = 0x80000000,
        .marks = OTOK_EVENT_OTHER_IP | OTOK_EVENT_ADOPTED,
        .grant_type = OTOK_GRANT_CIBA,
        .cutoff_us = INT64_MIN,
        .scope = "openid offline_access",
        .kind = OTOK_SESSION_LOGIN,
    };
}

static bool same_text(const char *a, const char *b)
{
    return a == NULL || b == NULL ? a == b : strcmp(a, b) == 0;
}

static bool same_event(const otok_event *a, const otok_event *b)
{
    return a->type == b->type && a->reason == b->reason && a->time_us == b->time_us &&
           same_text(a->session_id, b->session_id) && same_text(a->subject, b->subject) &&
           same_text(a->client_id, b->client_id) && same_text(a->sid, b->sid) && same_text(a->ip, b->ip) &&
           same_text(a->user_agent, b->user_agent) && a->generation == b->generation && a->distance == b->distance &&
           a->marks == b->marks && a->grant_type == b->grant_type && a->cutoff_us == b->cutoff_us &&
           same_text(a->scope, b->scope) && a->kind == b->kind;
}

/* What each handed-out event must be. */
struct expected {
    const otok_event *events;
    size_t n, seen;
};

static int compare(void *arg, const otok_event *event)
{
    struct expected *expected = arg;
    ck_assert_uint_lt(expected->seen, expected->n);
    ck_assert_uint_eq(event->size, sizeof *event);
    ck_assert_ptr_null(event->realm);
    ck_assert_ptr_null(event->event_id);
    ck_assert_int_eq(event->unused, 0);
    ck_assert_msg(same_event(event, &expected->events[expected->seen]), "event %zu", expected->seen);
    expected->seen++;
    return 0;
}

static otok_buf printed(const otok_event *events, size_t n)
{
    otok_buf buf;
    otok_error err = {0};
    otok_buf_init(&buf, NULL, 0);
    int rc = otok_events_print(events, n, &buf, &err);
    ck_assert_msg(rc == OTOK_OK, "%s: %s", otok_error_name(rc), err.message);
    ck_assert_uint_le(buf.len, OTOK_MAX_BODY);
    return buf;
}

/* What is printed of `events` comes back as `expected`; the length of it. */
static size_t expect_back(const otok_event *events, const otok_event *expected, size_t n)
{
    struct expected all = {expected, n, 0};
    otok_buf buf = printed(events, n);
    size_t len = buf.len;
    test_assert_code(OTOK_OK, otok_events_parse((otok_str){buf.data, buf.len}, compare, &all, NULL));
    ck_assert_uint_eq(all.seen, n);
    otok_buf_free(&buf);
    return len;
}

static int count(void *arg, const otok_event *event)
{
    (void)event;
    ++*(size_t *)arg;
    return 0;
}

static int parse(const void *bytes, size_t len)
{
    size_t n = 0;
    uint8_t *exact = malloc(len + (len == 0)); /* ends where the bytes do */
    if (len != 0)
        memcpy(exact, bytes, len);
    int rc = otok_events_parse((otok_str){exact, len}, count, &n, NULL);
    free(exact);
    return rc;
}

/* -------------------------------------------------------------------------------------------------- there and back */

/* E2: every member, alone and with the others; realm and id are the record's. */
START_TEST(event_survives_print_and_parse)
{
    otok_event full = full_event(), none = {.size = sizeof none};
    otok_event expected[3] = {full, none, full};
    (void)expect_back(&none, &none, 1);
    (void)expect_back(&full, &full, 1);
    otok_event events[3] = {full, none, full};
    events[0].realm = "realm";
    events[2].event_id = "id";
    (void)expect_back(events, expected, 3);
    ck_assert_uint_eq(expect_back(NULL, NULL, 0), 1);
}
END_TEST

/* E2: what the events of a commit have in common costs one bit; and what only looks like it is kept apart. */
START_TEST(text_of_the_event_before_is_written_once)
{
    otok_event events[4] = {full_event(), full_event(), full_event(), full_event()};
    events[1].subject = "bob";
    events[2].subject = NULL;
    events[3].subject = "al";
    size_t one = expect_back(events, events, 1), all = expect_back(events, events, 4);
    ck_assert_uint_lt(all, 3 * one);
}
END_TEST

/* E2: an empty text is none. */
START_TEST(empty_text_comes_back_as_none)
{
    otok_event event = full_event(), expected = event;
    event.sid = event.scope = "";
    expected.sid = expected.scope = NULL;
    (void)expect_back(&event, &expected, 1);
}
END_TEST

/* A text of `len` bytes, the last of them a character of two bytes when it is cut there. */
static char *text_of(size_t len)
{
    char *text = malloc(len + 2);
    memset(text, 'x', len);
    memcpy(text + len - 1, "\u00e9", 3);
    return text; /* len + 1 bytes */
}

/* E2: texts are cut between characters, each at its own bound. */
START_TEST(long_texts_are_cut_between_characters)
{
    static const struct {
        size_t member, most;
    } rows[] = {
        {offsetof(otok_event, session_id), 22}, {offsetof(otok_event, subject), 255},
        {offsetof(otok_event, client_id), 255}, {offsetof(otok_event, sid), 255},
        {offsetof(otok_event, ip), 64},         {offsetof(otok_event, user_agent), OTOK_EVENT_TEXT_MAX},
        {offsetof(otok_event, scope), 4096},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        otok_event event = full_event(), expected = event;
        char *text = text_of(rows[i].most), *cut = text_of(rows[i].most);
        cut[rows[i].most - 1] = '\0';
        *(const char **)(void *)((char *)&event + rows[i].member) = text;
        *(const char **)(void *)((char *)&expected + rows[i].member) = cut;
        (void)expect_back(&event, &expected, 1);
        memset(text, 'y', rows[i].most);
        text[rows[i].most] = '\0'; /* as long as it may be */
        *(const char **)(void *)((char *)&expected + rows[i].member) = text;
        (void)expect_back(&event, &expected, 1);
        free(text);
        free(cut);
    }
}
END_TEST

/* ------------------------------------------------------------------------------------------------------------ bounds */

static char names[OTOK_EVENTS_MAX][3][256], agents[OTOK_EVENTS_MAX][OTOK_EVENT_TEXT_MAX + 1];
static char addresses[OTOK_EVENTS_MAX][65], scopes[OTOK_EVENTS_MAX][4097], ids[OTOK_EVENTS_MAX][23];

static void fill(char *text, size_t len, size_t which)
{
    memset(text, 'x', len);
    text[0] = (char)('0' + which); /* none is that of the event before */
    text[len] = '\0';
}

/* Events of one commit whose names differ, and are as long as names are. */
static void longest_events(otok_event events[OTOK_EVENTS_MAX])
{
    for (size_t i = 0; i < OTOK_EVENTS_MAX; i++) {
        for (size_t j = 0; j < 3; j++)
            fill(names[i][j], 255, i);
        fill(agents[i], OTOK_EVENT_TEXT_MAX, i);
        fill(addresses[i], 64, i);
        fill(scopes[i], 4096, i);
        fill(ids[i], 22, i);
        events[i] = full_event();
        events[i].session_id = ids[i];
        events[i].subject = names[i][0];
        events[i].client_id = names[i][1];
        events[i].sid = names[i][2];
        events[i].user_agent = agents[0];
        events[i].ip = addresses[0];
        events[i].scope = NULL;
    }
}

/* E2: as many as there may be, with names as long as there may be, of one request, fit into one record. */
START_TEST(most_events_of_one_request_fit)
{
    static otok_event events[OTOK_EVENTS_MAX];
    longest_events(events);
    (void)expect_back(events, events, OTOK_EVENTS_MAX);
    for (size_t i = 0; i < OTOK_EVENTS_MAX; i++)
        events[i].scope = scopes[0];
    (void)expect_back(events, events, OTOK_EVENTS_MAX);
}
END_TEST

/* E2: what does not fit is refused, and leaves nothing behind: the caller may write an overflow instead. */
START_TEST(more_than_fits_is_refused)
{
    static otok_event events[OTOK_EVENTS_MAX + 1];
    otok_error err = {0};
    otok_buf buf;
    otok_buf_init(&buf, NULL, 0);
    otok_buf_add_text(&buf, "before");
    longest_events(events);
    test_assert_code(OTOK_E_INVALID, otok_events_print(events, OTOK_EVENTS_MAX + 1, &buf, &err));
    ck_assert_uint_eq(buf.len, 6);
    for (size_t i = 0; i < OTOK_EVENTS_MAX; i++)
        events[i].scope = scopes[i];
    test_assert_code(OTOK_E_INVALID, otok_events_print(events, OTOK_EVENTS_MAX, &buf, &err));
    ck_assert_uint_eq(buf.len, 6);
    test_assert_code(OTOK_OK, otok_events_print(events, 1, &buf, &err));
    test_assert_code(OTOK_OK, parse(buf.data + 6, buf.len - 6));
    otok_buf_free(&buf);
}
END_TEST

/* E2, bad input: each event is good, and all of them are more than a record has room for. */
START_TEST(more_than_fits_is_not_parsed)
{
    static otok_event events[OTOK_EVENTS_MAX];
    otok_buf all;
    otok_buf_init(&all, NULL, 0);
    otok_buf_add_u8(&all, 1);
    longest_events(events);
    for (size_t i = 0; all.len <= OTOK_MAX_BODY; i++) {
        test_assert_code(OTOK_OK, parse(all.data, all.len));
        events[i].user_agent = agents[i];
        events[i].ip = addresses[i];
        events[i].scope = scopes[i];
        otok_buf one = printed(&events[i], 1);
        otok_buf_add(&all, one.data + 1, one.len - 1);
        otok_buf_free(&one);
    }
    test_assert_code(OTOK_E_FORMAT, parse(all.data, all.len));
    otok_buf_free(&all);
}
END_TEST

/* Bad days */
START_TEST(short_memory_is_told)
{
    otok_event event = full_event();
    otok_buf buf;
    otok_buf_init(&buf, NULL, 0);
    memory_fails = true;
    test_assert_code(OTOK_E_NOMEM, otok_events_print(&event, 1, &buf, NULL));
    memory_fails = false;
    otok_buf_free(&buf);
}
END_TEST

/* --------------------------------------------------------------------------------------------------------- bad input */

#define PARSE(text) parse(text, sizeof(text) - 1)

/* E2, bad input: one byte of an event's length at a time, fields of another spelling. */
START_TEST(anything_but_the_exact_form_is_refused)
{
    test_assert_code(OTOK_OK, PARSE("\1"));
    test_assert_code(OTOK_OK, PARSE("\1\0\0"));
    test_assert_code(OTOK_OK, PARSE("\1\0\7\1\0\4\0\0\0\1"));
    test_assert_code(OTOK_E_FORMAT, PARSE(""));
    test_assert_code(OTOK_E_FORMAT, PARSE("\2"));
    test_assert_code(OTOK_E_FORMAT, PARSE("\1\0"));
    test_assert_code(OTOK_E_FORMAT, PARSE("\1\0\1"));
    test_assert_code(OTOK_E_FORMAT, PARSE("\1\0\7\1\0\4\0\0\0\0"));          /* a number that is 0 */
    test_assert_code(OTOK_E_FORMAT, PARSE("\1\0\6\1\0\3\0\0\1"));            /* a short one */
    test_assert_code(OTOK_E_FORMAT, PARSE("\1\0\4\13\0\1x"));                /* an unknown tag */
    test_assert_code(OTOK_OK, PARSE("\1\0\4\21\0\1x"));                      /* a subject */
    test_assert_code(OTOK_E_FORMAT, PARSE("\1\0\4\21\0\1\0"));               /* with a NUL in it */
    test_assert_code(OTOK_OK, PARSE("\1\0\4\21\0\1x\0\4\12\0\1\2"));         /* the same subject */
    test_assert_code(OTOK_E_FORMAT, PARSE("\1\0\4\21\0\1x\0\4\21\0\1x"));    /* the same in full */
    test_assert_code(OTOK_E_FORMAT, PARSE("\1\0\4\12\0\1\2"));               /* the same as none */
    test_assert_code(OTOK_E_FORMAT, PARSE("\1\0\4\21\0\1x\0\4\12\0\1\202")); /* an eighth text */
    test_assert_code(OTOK_E_FORMAT, PARSE("\1\0\4\21\0\1x\0\10\12\0\1\2\21\0\1y"));
}
END_TEST

/* E2, bad input: no more events, and no longer texts, than are written. */
START_TEST(more_than_is_written_is_refused)
{
    static uint8_t bytes[OTOK_MAX_BODY + 1] = {1};
    test_assert_code(OTOK_OK, parse(bytes, 1 + 2 * OTOK_EVENTS_MAX));
    test_assert_code(OTOK_E_FORMAT, parse(bytes, 1 + 2 * (OTOK_EVENTS_MAX + 1)));
    static const uint16_t most[] = {22, 255, 255, 255, 64, OTOK_EVENT_TEXT_MAX, 4096};
    memset(bytes + 1, 'x', sizeof bytes - 1);
    for (size_t i = 0; i < sizeof most / sizeof most[0]; i++) {
        for (uint16_t over = 0; over < 2; over++) {
            uint16_t len = (uint16_t)(most[i] + over);
            otok_put_u16(bytes + 1, (uint16_t)(3 + len));
            bytes[3] = (uint8_t)(16 + i);
            otok_put_u16(bytes + 4, len);
            test_assert_code(over ? OTOK_E_FORMAT : OTOK_OK, parse(bytes, 6U + len));
        }
    }
}
END_TEST

/* E2, bad input: cut anywhere, it ends with an event or it is refused. */
START_TEST(truncated_events_are_refused)
{
    otok_event events[2] = {full_event(), full_event()};
    otok_buf buf = printed(events, 2);
    size_t accepted = 0;
    for (size_t len = 0; len < buf.len; len++)
        accepted += parse(buf.data, len) == OTOK_OK;
    ck_assert_uint_eq(accepted, 2); /* after none, and after the first */
    otok_buf_free(&buf);
}
END_TEST

static int stop_at_second(void *arg, const otok_event *event)
{
    (void)event;
    return ++*(int *)arg == 2 ? 77 : 0;
}

/* E2 */
START_TEST(what_is_not_0_stops)
{
    otok_event events[3] = {full_event(), full_event(), full_event()};
    otok_buf buf = printed(events, 3);
    int seen = 0;
    ck_assert_int_eq(otok_events_parse((otok_str){buf.data, buf.len}, stop_at_second, &seen, NULL), 77);
    ck_assert_int_eq(seen, 2);
    otok_buf_free(&buf);
}
END_TEST

static void add_tests(TCase *tcase)
{
    tcase_add_test(tcase, event_survives_print_and_parse);
    tcase_add_test(tcase, text_of_the_event_before_is_written_once);
    tcase_add_test(tcase, empty_text_comes_back_as_none);
    tcase_add_test(tcase, long_texts_are_cut_between_characters);
    tcase_add_test(tcase, most_events_of_one_request_fit);
    tcase_add_test(tcase, more_than_fits_is_refused);
    tcase_add_test(tcase, more_than_fits_is_not_parsed);
    tcase_add_test(tcase, short_memory_is_told);
    tcase_add_test(tcase, anything_but_the_exact_form_is_refused);
    tcase_add_test(tcase, more_than_is_written_is_refused);
    tcase_add_test(tcase, truncated_events_are_refused);
    tcase_add_test(tcase, what_is_not_0_stops);
}

int main(void)
{
    return test_main("event_format", add_tests);
}
