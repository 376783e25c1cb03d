/*
 * check_once.c - the record of what is good for once: nothing is read that was not written (I8, P4).
 *
 * SPDX-License-Identifier: MIT
 */
#include "support/fixture.h"

#include <string.h>

static const otok_once sample = {
    .key_id = 7,
    .adopted = 1,
    .session = {{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16}},
    .used_us = TEST_START_US,
    .ends_us = OTOK_UNLIMITED,
};

/* I8, P4 */
START_TEST(once_survives_print_and_parse)
{
    const otok_once rows[] = {sample, {0}, {255, 0, {{255}}, INT64_MIN, -1}, {1, 1, {{0}}, INT64_MAX, INT64_MIN}};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        uint8_t bytes[OTOK_ONCE_SIZE];
        otok_once back;
        memset(&back, 0xee, sizeof back);
        otok_once_print(&rows[i], bytes);
        ck_assert(otok_once_parse((otok_str){bytes, sizeof bytes}, &back));
        ck_assert_uint_eq(back.key_id, rows[i].key_id);
        ck_assert_uint_eq(back.adopted, rows[i].adopted);
        ck_assert_mem_eq(back.session.bytes, rows[i].session.bytes, sizeof back.session.bytes);
        ck_assert_int_eq(back.used_us, rows[i].used_us);
        ck_assert_int_eq(back.ends_us, rows[i].ends_us);
    }
}
END_TEST

/* I8, bad input: one length, one format, and a flag is 0 or 1. */
START_TEST(anything_but_the_exact_form_is_refused)
{
    uint8_t bytes[OTOK_ONCE_SIZE + 8] = {0};
    otok_once back;
    otok_once_print(&sample, bytes);
    for (size_t len = 0; len <= sizeof bytes; len++)
        ck_assert(otok_once_parse((otok_str){bytes, len}, &back) == (len == OTOK_ONCE_SIZE));
    for (unsigned value = 0; value < 256; value++) {
        bytes[0] = (uint8_t)value;
        ck_assert(otok_once_parse((otok_str){bytes, OTOK_ONCE_SIZE}, &back) == (value == 1));
    }
    bytes[0] = 1;
    for (unsigned value = 0; value < 256; value++) {
        bytes[2] = (uint8_t)value;
        ck_assert(otok_once_parse((otok_str){bytes, OTOK_ONCE_SIZE}, &back) == (value <= 1));
    }
}
END_TEST

/* P4: any truth is written as 1, so that it can be read again. */
START_TEST(flag_is_written_as_one)
{
    uint8_t bytes[OTOK_ONCE_SIZE];
    otok_once back, once = sample;
    once.adopted = 2;
    otok_once_print(&once, bytes);
    ck_assert(otok_once_parse((otok_str){bytes, sizeof bytes}, &back));
    ck_assert_uint_eq(back.adopted, 1);
}
END_TEST

static void add_tests(TCase *tcase)
{
    tcase_add_test(tcase, once_survives_print_and_parse);
    tcase_add_test(tcase, anything_but_the_exact_form_is_refused);
    tcase_add_test(tcase, flag_is_written_as_one);
}

int main(void)
{
    return test_main("once", add_tests);
}
