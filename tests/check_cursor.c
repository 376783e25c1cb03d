/*
 * check_cursor.c - where a page ended: authenticated together with what it is a page of.
 *
 * SPDX-License-Identifier: MIT
 */
#include "support/story.h"

#include <string.h>

static otok_cursor sample(int64_t created_us)
{
    otok_cursor cursor = {created_us, {{0}}};
    for (uint8_t i = 0; i < 16; i++)
        cursor.id.bytes[i] = (uint8_t)(i * 17);
    return cursor;
}

static void print(int64_t created_us, const char *context, const otok_mac_key *key, char out[OTOK_CURSOR_CHARS + 1])
{
    otok_cursor cursor = sample(created_us);
    test_assert_code(OTOK_OK, otok_cursor_print(&cursor, otok_str_of(context), 9, key, out, NULL));
}

static void expect_forged(const char *text, const char *context, const otok_mac_key *key, const char *what,
                          size_t which)
{
    otok_cursor back;
    int rc = otok_cursor_parse(text, otok_str_of(context), key, &back, NULL);
    ck_assert_msg(rc == OTOK_E_INVALID, "%s %zu: %s", what, which, otok_error_name(rc));
}

/* Q1 */
START_TEST(cursor_survives_print_and_parse)
{
    static const int64_t times[] = {INT64_MIN, -1, 0, 1, TEST_START_US, INT64_MAX};
    otok_mac_key *key = test_mac_key(1);
    for (size_t i = 0; i < sizeof times / sizeof times[0]; i++) {
        char text[OTOK_CURSOR_CHARS + 1];
        uint8_t key_id = 0;
        otok_cursor back, cursor = sample(times[i]);
        print(times[i], "by subject", key, text);
        ck_assert_uint_eq(strlen(text), OTOK_CURSOR_CHARS);
        ck_assert(otok_cursor_key_id(text, &key_id));
        ck_assert_uint_eq(key_id, 9);
        test_assert_code(OTOK_OK, otok_cursor_parse(text, otok_str_of("by subject"), key, &back, NULL));
        ck_assert_int_eq(back.created_us, cursor.created_us);
        ck_assert_mem_eq(back.id.bytes, cursor.id.bytes, 16);
    }
    otok_mac_key_free(key);
}
END_TEST

/* Q1: "cannot be forged". */
START_TEST(every_flipped_bit_of_a_cursor_is_refused)
{
    char text[OTOK_CURSOR_CHARS + 1];
    otok_mac_key *key = test_mac_key(1);
    print(TEST_START_US, "context", key, text);
    for (size_t i = 0; i < OTOK_CURSOR_CHARS * 8; i++) {
        char bit = (char)(1 << i % 8);
        text[i / 8] = (char)(text[i / 8] ^ bit);
        expect_forged(text, "context", key, "bit", i);
        text[i / 8] = (char)(text[i / 8] ^ bit);
    }
    expect_forged(text, "contexu", key, "whole again, other context", 0);
    otok_mac_key_free(key);
}
END_TEST

/* Q1: "or carried to another filter". */
START_TEST(cursor_of_another_context_or_key_is_refused)
{
    static const char *const contexts[] = {"", "contex", "context ", "Context", "contextcontext", "tcontex"};
    char text[OTOK_CURSOR_CHARS + 1];
    otok_mac_key *key = test_mac_key(1), *other = test_mac_key(2);
    print(TEST_START_US, "context", key, text);
    for (size_t i = 0; i < sizeof contexts / sizeof contexts[0]; i++)
        expect_forged(text, contexts[i], key, "context", i);
    expect_forged(text, "context", other, "key", 0);
    otok_mac_key_free(key);
    otok_mac_key_free(other);
}
END_TEST

/* Q1, bad input */
START_TEST(text_that_is_no_cursor_is_refused)
{
    char good[OTOK_CURSOR_CHARS + 1], text[OTOK_CURSOR_CHARS + 8] = "";
    static const char *const none[] = {"", "A", "0", "not a cursor", "' OR 1=1 --", "\xff\xfe"};
    static const char *const tails[] = {"A", "=", " ", "\n", "AAAA"};
    uint8_t key_id;
    otok_mac_key *key = test_mac_key(1);
    print(TEST_START_US, "context", key, good);
    for (size_t i = 0; i < sizeof none / sizeof none[0]; i++) {
        expect_forged(none[i], "context", key, "no cursor", i);
        ck_assert(!otok_cursor_key_id(none[i], &key_id));
    }
    for (size_t i = 0; i < sizeof tails / sizeof tails[0]; i++) {
        (void)strcat(strcpy(text, good), tails[i]);
        expect_forged(text, "context", key, "tail", i);
    }
    for (size_t len = 0; len < OTOK_CURSOR_CHARS; len++) {
        memcpy(text, good, len);
        text[len] = '\0';
        expect_forged(text, "context", key, "length", len);
    }
    otok_mac_key_free(key);
}
END_TEST

/* Q1: 55 characters hold two bits more than 41 bytes: one spelling only. */
START_TEST(cursor_has_one_spelling)
{
    static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    char text[OTOK_CURSOR_CHARS + 1];
    size_t accepted = 0;
    otok_mac_key *key = test_mac_key(1);
    print(TEST_START_US, "context", key, text);
    for (size_t i = 0; i < 64; i++) {
        otok_cursor back;
        text[OTOK_CURSOR_CHARS - 1] = alphabet[i];
        accepted += otok_cursor_parse(text, otok_str_of("context"), key, &back, NULL) == OTOK_OK;
    }
    ck_assert_uint_eq(accepted, 1);
    otok_mac_key_free(key);
}
END_TEST

static void add_tests(TCase *tcase)
{
    tcase_add_test(tcase, cursor_survives_print_and_parse);
    tcase_add_test(tcase, every_flipped_bit_of_a_cursor_is_refused);
    tcase_add_test(tcase, cursor_of_another_context_or_key_is_refused);
    tcase_add_test(tcase, text_that_is_no_cursor_is_refused);
    tcase_add_test(tcase, cursor_has_one_spelling);
}

int main(void)
{
    return test_main("cursor", add_tests);
}
