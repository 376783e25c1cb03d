/* link: -Wl,--wrap=otok_malloc */
/*
 * check_mark.c - the records of scopes, cutoffs and consents: nothing is read that was not written (V2, V3, C1).
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

/* ------------------------------------------------------------------------------------------------------------- heads */

/* V3 */
START_TEST(head_survives_print_and_parse)
{
    static const int64_t times[] = {INT64_MIN, INT64_MIN + 1, -1, 0, 1, TEST_START_US, INT64_MAX};
    for (size_t i = 0; i < sizeof times / sizeof times[0]; i++) {
        uint8_t bytes[OTOK_MARK_HEAD_SIZE];
        otok_mark_head back, head = {times[i], times[sizeof times / sizeof times[0] - 1 - i]};
        otok_mark_head_print(&head, bytes);
        ck_assert(otok_mark_head_parse((otok_str){bytes, sizeof bytes}, &back));
        ck_assert_int_eq(back.all_us, head.all_us);
        ck_assert_int_eq(back.login_us, head.login_us);
    }
}
END_TEST

/* V3, bad input */
START_TEST(head_of_another_length_is_refused)
{
    uint8_t bytes[64] = {0};
    otok_mark_head head;
    for (size_t len = 0; len <= sizeof bytes; len++)
        ck_assert(otok_mark_head_parse((otok_str){bytes, len}, &head) == (len == OTOK_MARK_HEAD_SIZE));
}
END_TEST

/* ------------------------------------------------------------------------------------------------------------ bodies */

static const char long_text[5000] = {1}; /* of whatever bytes: a record does not mind */

static otok_buf printed(const otok_mark_body *body)
{
    otok_buf buf;
    otok_buf_init(&buf, NULL, 0);
    ck_assert(otok_mark_body_print(body, &buf));
    return buf;
}

static bool parses(const void *bytes, size_t len)
{
    otok_mark_body back;
    uint8_t *exact = malloc(len + (len == 0)); /* ends where the bytes do */
    if (len != 0)
        memcpy(exact, bytes, len);
    bool good = otok_mark_body_parse((otok_str){exact, len}, &back);
    free(exact);
    return good;
}

static void expect_same(const otok_mark_body *a, const otok_mark_body *b)
{
    ck_assert_int_eq(a->at_us, b->at_us);
    ck_assert_mem_eq(a->at.bytes, b->at.bytes, sizeof a->at.bytes);
    ck_assert(otok_str_eq(a->sid, b->sid));
    ck_assert(otok_str_eq(a->consent, b->consent));
    ck_assert_int_eq(a->granted_us, b->granted_us);
    ck_assert_int_eq(a->updated_us, b->updated_us);
}

/* V2, V3, C1: the place of the walk, a sid, a consent; each alone, all, and as long as they may be. */
START_TEST(body_survives_print_and_parse)
{
    const otok_mark_body rows[] = {
        {.at_us = INT64_MIN},
        {.at_us = TEST_START_US, .at = {{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16}}},
        {.at_us = -1, .sid = otok_str_of("sso")},
        {.consent = otok_str_of("openid offline_access"), .granted_us = 1, .updated_us = TEST_START_US},
        {.consent = otok_str_of("openid"), .updated_us = -1},
        {.consent = otok_str_of("openid")},
        {INT64_MAX, {{255}}, {long_text, 255}, {long_text, 4096}, INT64_MIN, INT64_MAX, 1},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        otok_mark_body back;
        otok_buf buf = printed(&rows[i]);
        memset(&back, 0xee, sizeof back);
        ck_assert(otok_mark_body_parse((otok_str){buf.data, buf.len}, &back));
        expect_same(&rows[i], &back);
        otok_buf_free(&buf);
    }
}
END_TEST

/* C1: what a revoked consent leaves behind says nothing about it. */
START_TEST(times_go_with_their_consent)
{
    otok_mark_body body = {.at_us = 5, .granted_us = 6, .updated_us = 7}, without = {.at_us = 5};
    otok_buf one = printed(&body), other = printed(&without);
    ck_assert_uint_eq(one.len, other.len);
    ck_assert_mem_eq(one.data, other.data, one.len);
    otok_buf_free(&one);
    otok_buf_free(&other);
}
END_TEST

/* The front of a body, and fields behind it. */
static bool parses_fields(const void *fields, size_t len)
{
    uint8_t bytes[25 + 5000] = {1};
    memcpy(bytes + 25, fields, len);
    return parses(bytes, 25 + len);
}

#define FIELDS(text) parses_fields(text, sizeof(text) - 1)

/* V2, C1, bad input */
START_TEST(anything_but_the_exact_form_is_refused)
{
    ck_assert(FIELDS(""));
    ck_assert(FIELDS("\1\0\1x\2\0\1y\3\0\010\0\0\0\0\0\0\0\1\4\0\010\0\0\0\0\0\0\0\1"));
    ck_assert_msg(!FIELDS("\3\0\010\0\0\0\0\0\0\0\1"), "granted without consent");
    ck_assert_msg(!FIELDS("\1\0\1x\4\0\010\0\0\0\0\0\0\0\1"), "updated without consent");
    ck_assert_msg(!FIELDS("\2\0\1y\3\0\010\0\0\0\0\0\0\0\0"), "a time of 0");
    ck_assert_msg(!FIELDS("\2\0\1y\3\0\7\0\0\0\0\0\0\1"), "a short time");
    ck_assert_msg(!FIELDS("\2\0\1y\1\0\1x"), "tags that fall");
    ck_assert_msg(!FIELDS("\1\0\1x\1\0\1x"), "a tag twice");
    ck_assert_msg(!FIELDS("\1\0\0"), "an empty text");
    ck_assert(FIELDS("\1\0\1x\5\0\1\1"));
    ck_assert_msg(!FIELDS("\6\0\1x"), "an unknown tag");
    ck_assert_msg(!FIELDS("\0\0\1x"), "no tag");
    ck_assert_msg(!FIELDS("\1\0\2x"), "beyond the end");
    ck_assert_msg(!FIELDS("\1\0\2"), "a length alone");
    ck_assert_msg(!FIELDS("\1\0"), "half a length");
    ck_assert_msg(!FIELDS("\1"), "a tag alone");
}
END_TEST

/* C1, bad input: texts have bounds, both ways. */
START_TEST(longer_texts_are_neither_printed_nor_parsed)
{
    static const otok_mark_body rows[] = {{.sid = {long_text, 256}}, {.consent = {long_text, 4097}}};
    uint8_t field[3 + 4097] = {0};
    for (size_t i = 0; i < 2; i++) {
        otok_buf buf;
        otok_buf_init(&buf, NULL, 0);
        ck_assert(!otok_mark_body_print(&rows[i], &buf));
        otok_buf_free(&buf);
        uint16_t most = i == 0 ? 255 : 4096;
        field[0] = (uint8_t)(1 + i);
        otok_put_u16(field + 1, most);
        ck_assert(parses_fields(field, 3U + most));
        otok_put_u16(field + 1, (uint16_t)(most + 1));
        ck_assert(!parses_fields(field, 4U + most));
    }
}
END_TEST

/* Bad input: every length, every format. */
START_TEST(another_format_or_length_is_refused)
{
    const otok_mark_body body = {.at_us = 1, .sid = otok_str_of("sso"), .consent = otok_str_of("openid")};
    otok_buf buf = printed(&body);
    size_t accepted = 0;
    for (size_t len = 0; len < buf.len; len++)
        accepted += parses(buf.data, len);
    ck_assert_msg(accepted == 2, "%zu: bare, and with sid, and no other", accepted);
    for (unsigned format = 0; format < 256; format++) {
        buf.data[0] = (uint8_t)format;
        ck_assert(parses(buf.data, buf.len) == (format == 1));
    }
    otok_buf_free(&buf);
}
END_TEST

/* Bad days */
START_TEST(short_memory_is_told)
{
    const otok_mark_body body = {.at_us = 1, .sid = otok_str_of("sso")};
    otok_buf buf;
    otok_buf_init(&buf, NULL, 0);
    memory_fails = true;
    ck_assert(!otok_mark_body_print(&body, &buf));
    memory_fails = false;
    otok_buf_free(&buf);
}
END_TEST

static void add_tests(TCase *tcase)
{
    tcase_add_test(tcase, head_survives_print_and_parse);
    tcase_add_test(tcase, head_of_another_length_is_refused);
    tcase_add_test(tcase, body_survives_print_and_parse);
    tcase_add_test(tcase, times_go_with_their_consent);
    tcase_add_test(tcase, anything_but_the_exact_form_is_refused);
    tcase_add_test(tcase, longer_texts_are_neither_printed_nor_parsed);
    tcase_add_test(tcase, another_format_or_length_is_refused);
    tcase_add_test(tcase, short_memory_is_told);
}

int main(void)
{
    return test_main("mark", add_tests);
}
