/*
 * check_line.c - S3: a record as a line of JSON is the record, whatever is in it, and a line that is none is refused by the
 * name of what is wrong in it.
 *
 * SPDX-License-Identifier: MIT
 */
#include <stdlib.h>
#include <string.h>

#include "support/fixture.h"
#include "support/raw.h"

static otok_buf line;
static otok_line *room;
static otok_json *json;

static void set_up(void)
{
    otok_buf_init(&line, NULL, 0);
    room = malloc(sizeof *room);
    json = NULL;
}

static void tear_down(void)
{
    otok_json_free(json);
    otok_buf_free(&line);
    free(room);
}

static int parse(const char *text, size_t len, otok_error *err)
{
    otok_json_free(json);
    test_assert_code(OTOK_OK, otok_json_parse_long(text, len, OTOK_LINE_MAX, "line", &json, err));
    return otok_line_parse(json, room, err);
}

static void expect_same(const otok_record *a, const otok_record *b)
{
    ck_assert_uint_eq(a->kind, b->kind);
    ck_assert_mem_eq(a->id.bytes, b->id.bytes, sizeof a->id.bytes);
    ck_assert_uint_eq(a->version, b->version);
    ck_assert_int_eq(a->created_us, b->created_us);
    ck_assert_int_eq(a->sweep_us, b->sweep_us);
    ck_assert_uint_eq(a->nkeys, b->nkeys);
    for (size_t i = 0; i < a->nkeys; i++) {
        ck_assert_uint_eq(a->keys[i].index, b->keys[i].index);
        ck_assert_mem_eq(a->keys[i].digest, b->keys[i].digest, sizeof a->keys[i].digest);
    }
    ck_assert_uint_eq(a->nlinks, b->nlinks);
    for (size_t i = 0; i < a->nlinks; i++)
        ck_assert_mem_eq(a->links[i].bytes, b->links[i].bytes, sizeof a->links[i].bytes);
    ck_assert(otok_str_eq(a->realm, b->realm) && otok_str_eq(a->subject, b->subject));
    ck_assert(otok_str_eq(a->client, b->client) && otok_str_eq(a->head, b->head) && otok_str_eq(a->body, b->body));
}

static void expect_back(const otok_record *record)
{
    otok_error err = {0};
    line.len = 0;
    test_assert_code(OTOK_OK, otok_line_print(record, &line, &err));
    ck_assert_uint_le(line.len, OTOK_LINE_MAX);
    ck_assert_int_eq(line.data[line.len - 1], '\n');
    ck_assert_ptr_null(memchr(line.data, '\n', line.len - 1));
    int rc = parse((const char *)line.data, line.len - 1, &err);
    ck_assert_msg(rc == OTOK_OK, "%s", err.message);
    expect_same(record, &room->record);
}

/* ---------------------------------------------------------------------------------------------------- there and back */

START_TEST(numbers_at_their_ends_come_back)
{
    static const int64_t times[] = {INT64_MIN, INT64_MIN + 1, -1, 0, 1, INT64_C(9007199254740993), INT64_MAX};
    static const uint64_t versions[] = {0, 1, UINT64_C(9007199254740993), UINT64_MAX};
    for (size_t t = 0; t < sizeof times / sizeof times[0]; t++) {
        for (size_t v = 0; v < sizeof versions / sizeof versions[0]; v++) {
            otok_record record = test_raw_record(1, OTOK_RECORD_SESSION, versions[v], 3);
            record.created_us = times[t];
            record.sweep_us = times[sizeof times / sizeof times[0] - 1 - t];
            expect_back(&record);
        }
    }
}
END_TEST

/* Every length there is of what is base64url, and each kind. */
START_TEST(bytes_of_every_length_come_back)
{
    for (size_t len = 0; len <= OTOK_MAX_HEAD; len++) {
        otok_record record = test_raw_record((uint32_t)len, OTOK_RECORD_SESSION + len % 7, 1, len);
        uint8_t head[OTOK_MAX_HEAD];
        memset(head, (int)(0xff - len), sizeof head);
        record.head = (otok_str){head, len};
        expect_back(&record);
    }
}
END_TEST

START_TEST(the_largest_record_is_a_line_that_is_short_enough)
{
    static otok_index_key keys[OTOK_MAX_KEYS];
    static otok_id links[OTOK_MAX_LINKS];
    static char names[3][OTOK_MAX_NAME];
    static uint8_t head[OTOK_MAX_HEAD] = {0xff};
    otok_record record = test_raw_record(UINT32_MAX, OTOK_RECORD_TOMBSTONE, UINT64_MAX, OTOK_MAX_BODY);
    for (size_t i = 0; i < OTOK_MAX_KEYS; i++) {
        keys[i].index = (uint32_t)(OTOK_INDEX_MAX - i);
        memset(keys[i].digest, (int)(0xa0 + i), sizeof keys[i].digest);
        memset(links[i].bytes, (int)(0xb0 + i), sizeof links[i].bytes);
    }
    memset(names, '"', sizeof names); /* which takes two characters */
    record.keys = keys;
    record.nkeys = OTOK_MAX_KEYS;
    record.links = links;
    record.nlinks = OTOK_MAX_LINKS;
    record.realm = (otok_str){names[0], OTOK_MAX_NAME};
    record.subject = (otok_str){names[1], OTOK_MAX_NAME};
    record.client = (otok_str){names[2], OTOK_MAX_NAME};
    record.head = (otok_str){head, sizeof head};
    record.created_us = record.sweep_us = INT64_MIN;
    expect_back(&record);
}
END_TEST

START_TEST(names_that_json_escapes_come_back)
{
    static const char *const names[] = {"", "\"", "\\", "\"}", "/", "\xc3\xa9\xe2\x82\xac\xf0\x9f\x94\x91", "a b", "{"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        otok_record record = test_raw_record(1, OTOK_RECORD_CUTOFF, 1, 0);
        record.realm = record.subject = record.client = otok_str_of(names[i]);
        expect_back(&record);
    }
}
END_TEST

/* A store of one's own may hold anything: what is no text would not come back, so it does not go out. */
START_TEST(a_name_that_is_no_text_is_not_printed)
{
    static const char *const names[] = {"\xff", "a\nb", "\x7f", "\xc0\x80", "\xed\xa0\x80"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        otok_error err = {0};
        otok_record record = test_raw_record(1, OTOK_RECORD_SESSION, 1, 0);
        record.subject = otok_str_of(names[i]);
        line.len = 0;
        test_assert_code(OTOK_E_FORMAT, otok_line_print(&record, &line, &err));
        ck_assert_ptr_nonnull(strstr(err.message, "subject"));
        ck_assert_ptr_null(strstr(err.message, names[i]));
    }
}
END_TEST

/* ---------------------------------------------------------------------------------------------------- what is none */

#define ID     "\"id\":\"AQAAAAEAAAAAAAAAAAAAAA\""
#define KEY    "1 UgAAAAAAAAAAAAAAAAAAAA"
#define NAMES  "\"realm\":\"r\",\"subject\":\"s\",\"client\":\"c\""
#define MIDDLE "\"version\":\"1\",\"created_us\":\"1\",\"sweep_us\":\"0\",\"keys\":[\"" KEY "\"],\"links\":[]"
#define START  "{" ID ",\"kind\":1," MIDDLE "," NAMES
#define GOOD   START ",\"head\":\"aGVhZA\",\"body\":\"AQ\"}"

/* A piece of a good line, what comes in its place, and what the error names. */
static const struct row {
    const char *old, *now, *named;
} rows[] = {
    {"AQAAAAEAAAAAAAAAAAAAAA", "AQAAAAEAAAAAAAAAAAAAA", "id"},
    {"AQAAAAEAAAAAAAAAAAAAAA", "AQAAAAEAAAAAAAAAAAAAAAAA", "id"},
    {"AQAAAAEAAAAAAAAAAAAAAA", "AQAAAAEAAAAAAAAAAAAAAB", "id"}, /* bits to spare that are not 0 */
    {"AQAAAAEAAAAAAAAAAAAAAA", "AQAAAAEAAAAAAAAAAAAA+A", "id"},
    {"\"kind\":1", "\"kind\":0", "kind"},
    {"\"kind\":1", "\"kind\":8", "kind"},
    {"\"kind\":1", "\"kind\":-1", "kind"},
    {"\"kind\":1", "\"kind\":1.5", "kind"},
    {"\"kind\":1", "\"kind\":\"1\"", "kind"},
    {"\"kind\":1", "\"kind\":4294967297", "kind"},
    {"\"version\":\"1\"", "\"version\":1", "version"},
    {"\"version\":\"1\"", "\"version\":\"\"", "version"},
    {"\"version\":\"1\"", "\"version\":\"01\"", "version"},
    {"\"version\":\"1\"", "\"version\":\"+1\"", "version"},
    {"\"version\":\"1\"", "\"version\":\"-1\"", "version"},
    {"\"version\":\"1\"", "\"version\":\" 1\"", "version"},
    {"\"version\":\"1\"", "\"version\":\"1x\"", "version"},
    {"\"version\":\"1\"", "\"version\":\"18446744073709551616\"", "version"},
    {"\"created_us\":\"1\"", "\"created_us\":\"9223372036854775808\"", "created_us"},
    {"\"created_us\":\"1\"", "\"created_us\":\"-0\"", "created_us"},
    {"\"created_us\":\"1\"", "\"created_us\":null", "created_us"},
    {"\"sweep_us\":\"0\"", "\"sweep_us\":\"-9223372036854775809\"", "sweep_us"},
    {"\"sweep_us\":\"0\"", "\"sweep_us\":\"1e3\"", "sweep_us"},
    {"[\"" KEY "\"]", "\"" KEY "\"", "keys"},
    {"[\"" KEY "\"]", "[1]", "keys"},
    {"[\"" KEY "\"]", "[\"UgAAAAAAAAAAAAAAAAAAAA\"]", "keys"},
    {"[\"" KEY "\"]", "[\"256 UgAAAAAAAAAAAAAAAAAAAA\"]", "keys"},
    {"[\"" KEY "\"]", "[\"1  UgAAAAAAAAAAAAAAAAAAAA\"]", "keys"},
    {"[\"" KEY "\"]", "[\"1 UgAAAAAAAAAAAAAAAAAAA\"]", "keys"},
    {"[\"" KEY "\"]", "[\"000000000000000000000000000000000001 UgAAAAAAAAAAAAAAAAAAAA\"]", "keys"},
    {"[\"" KEY "\"]", "[\"\",\"\",\"\",\"\",\"\",\"\",\"\",\"\",\"\"]", "keys"},
    {"\"links\":[]", "\"links\":{}", "links"},
    {"\"links\":[]", "\"links\":[\"AQ\"]", "links"},
    {"\"links\":[]", "\"links\":[null]", "links"},
    {"\"realm\":\"r\"", "\"realm\":7", "realm"},
    {"\"subject\":\"s\"", "\"subject\":\"a\\nb\"", "subject"},
    {"\"client\":\"c\"", "\"client\":null", "client"},
    {"\"head\":\"aGVhZA\"", "\"head\":\"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\"", "head"}, /* 27 bytes */
    {"\"head\":\"aGVhZA\"", "\"head\":\"aGVhZA==\"", "head"},
    {"\"head\":\"aGVhZA\"", "\"head\":\"aGVhZ\"", "head"},
    {"\"body\":\"AQ\"", "\"body\":\"A Q\"", "body"},
    {"\"body\":\"AQ\"", "\"body\":7", "body"},
    {",\"body\":\"AQ\"", "", "members"},
    {"\"body\":\"AQ\"", "\"body\":\"AQ\",\"more\":1", "members"},
    {"\"body\":\"AQ\"", "\"Body\":\"AQ\"", "body"},
    {GOOD, "[]", "members"},
    {GOOD, "{}", "members"},
    {GOOD, "null", "members"},
};

static char *spoilt(const struct row *row)
{
    const char *at = strstr(GOOD, row->old);
    size_t before = (size_t)(at - GOOD), len = sizeof GOOD + strlen(row->now);
    char *text = calloc(1, len);
    ck_assert_ptr_nonnull(at);
    memcpy(text, GOOD, before);
    strcat(text, row->now);
    strcat(text, at + strlen(row->old));
    return text;
}

START_TEST(a_good_line_is_read)
{
    otok_error err = {0};
    int rc = parse(GOOD, strlen(GOOD), &err);
    ck_assert_msg(rc == OTOK_OK, "%s", err.message);
    ck_assert_uint_eq(room->record.head.len, 4);
    ck_assert_mem_eq(room->record.head.data, "head", 4);
}
END_TEST

START_TEST(a_spoilt_line_is_refused_by_name)
{
    otok_error err = {0};
    char *text = spoilt(&rows[_i]);
    int rc = parse(text, strlen(text), &err);
    ck_assert_msg(rc == OTOK_E_FORMAT, "%s: %s", otok_error_name(rc), text);
    ck_assert_msg(strstr(err.message, rows[_i].named) != NULL, "%s does not name %s: %s", err.message, rows[_i].named,
                  text);
    free(text);
}
END_TEST

START_TEST(a_name_or_body_that_is_too_long_is_refused)
{
    otok_error err = {0};
    struct row row = {"\"realm\":\"r\"", NULL, "realm"};
    char name[16 + OTOK_MAX_NAME + 3] = "\"realm\":\"";
    memset(name + strlen(name), 'n', OTOK_MAX_NAME + 1);
    strcat(name, "\"");
    row.now = name;
    char *text = spoilt(&row);
    test_assert_code(OTOK_E_FORMAT, parse(text, strlen(text), &err));
    ck_assert_ptr_nonnull(strstr(err.message, "realm"));
    free(text);

    static char body[OTOK_MAX_BODY / 3 * 4 + 64] = "\"body\":\"";
    memset(body + strlen(body), 'A', OTOK_MAX_BODY / 3 * 4 + 4); /* one or two bytes more than the most */
    strcat(body, "\"");
    text = spoilt(&(struct row){"\"body\":\"AQ\"", body, "body"});
    test_assert_code(OTOK_E_FORMAT, parse(text, strlen(text), &err));
    ck_assert_ptr_nonnull(strstr(err.message, "body"));
    free(text);
}
END_TEST

static void add(TCase *tc)
{
    tcase_add_checked_fixture(tc, set_up, tear_down);
    tcase_add_test(tc, numbers_at_their_ends_come_back);
    tcase_add_test(tc, bytes_of_every_length_come_back);
    tcase_add_test(tc, the_largest_record_is_a_line_that_is_short_enough);
    tcase_add_test(tc, names_that_json_escapes_come_back);
    tcase_add_test(tc, a_name_that_is_no_text_is_not_printed);
    tcase_add_test(tc, a_good_line_is_read);
    tcase_add_loop_test(tc, a_spoilt_line_is_refused_by_name, 0, sizeof rows / sizeof rows[0]);
    tcase_add_test(tc, a_name_or_body_that_is_too_long_is_refused);
}

int main(void)
{
    return test_main("line", add);
}
