/*
 * check_base64url.c - RFC 4648 section 5 without padding: there and back, and what is refused.
 *
 * SPDX-License-Identifier: MIT
 */
#include "support/fixture.h"

#include <stdlib.h>
#include <string.h>

/* RFC 4648 section 10, and the two characters that are not those of base64. */
START_TEST(known_answers_come_out_and_go_in)
{
    static const struct {
        const char *bytes, *text;
    } rows[] = {{"", ""},           {"f", "Zg"},          {"fo", "Zm8"},          {"foo", "Zm9v"},
                {"foob", "Zm9vYg"}, {"fooba", "Zm9vYmE"}, {"foobar", "Zm9vYmFy"}, {"\xfb\xff\xbe", "-_--"}};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        char text[16] = "";
        uint8_t bytes[16];
        size_t len = strlen(rows[i].bytes), chars = otok_base64url_len(len), back = sizeof bytes;
        ck_assert_uint_eq(chars, strlen(rows[i].text));
        otok_base64url(rows[i].bytes, len, text);
        ck_assert_str_eq(text, rows[i].text);
        ck_assert(otok_unbase64url(text, chars, bytes, &back));
        ck_assert_uint_eq(back, len);
        ck_assert(len == 0 || memcmp(bytes, rows[i].bytes, len) == 0);
    }
}
END_TEST

START_TEST(every_length_and_value_survives_the_round_trip)
{
    uint8_t in[256], out[256];
    char text[400];
    for (size_t i = 0; i < sizeof in; i++)
        in[i] = (uint8_t)(i * 167 + 13);
    for (size_t len = 0; len <= sizeof in; len++) {
        size_t back = sizeof out;
        memset(text, '!', sizeof text);
        otok_base64url(in, len, text);
        ck_assert_int_eq(text[otok_base64url_len(len)], '!'); /* nothing beyond its end */
        ck_assert(otok_unbase64url(text, otok_base64url_len(len), out, &back));
        ck_assert_uint_eq(back, len);
        ck_assert(memcmp(in, out, len) == 0);
    }
}
END_TEST

/* One value, one spelling: of all texts of one to four characters, exactly those that we would print are taken. */
START_TEST(only_what_we_would_print_is_taken)
{
    static const char letters[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_=+/ \n\t\r.\x80\xff";
    char text[4], again[5];
    size_t n = sizeof letters; /* NUL is one of them */
    for (size_t chars = 1; chars <= 3; chars++) {
        for (size_t i = 0; i < n * n * n; i++) {
            uint8_t bytes[3];
            size_t len = sizeof bytes;
            text[0] = letters[i % n], text[1] = letters[i / n % n], text[2] = letters[i / n / n];
            if (!otok_unbase64url(text, chars, bytes, &len))
                continue;
            ck_assert_uint_eq(otok_base64url_len(len), chars);
            otok_base64url(bytes, len, again);
            ck_assert(memcmp(text, again, chars) == 0);
        }
    }
}
END_TEST

START_TEST(number_of_values_taken_is_that_of_the_bytes)
{
    static const size_t expected[] = {1, 0, 256, 65536};
    for (size_t chars = 1; chars <= 3; chars++) {
        size_t taken = 0;
        for (uint32_t i = 0; i < 1u << (8 * (chars == 3 ? 3 : 2)); i++) {
            char text[3] = {(char)(i & 0xff), (char)(i >> 8 & 0xff), (char)(i >> 16)};
            uint8_t bytes[3];
            size_t len = sizeof bytes;
            taken += otok_unbase64url(text, chars, bytes, &len);
        }
        ck_assert_uint_eq(taken, expected[chars]);
    }
}
END_TEST

START_TEST(padding_space_and_lengths_that_no_bytes_have_are_refused)
{
    static const char *const bad[] = {"A",      "AAAAA", "Zg==", "Zg=", "Zm9vYg==", " Zg", "Zg ", "Z g",
                                      "Zm9v\n", "Zm+v",  "Zm/v", "Zh",  "Zm9vYh",   "Zm9", "===="};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        uint8_t bytes[16];
        size_t len = sizeof bytes;
        ck_assert_msg(!otok_unbase64url(bad[i], strlen(bad[i]), bytes, &len), "%s", bad[i]);
    }
}
END_TEST

START_TEST(no_byte_is_written_beyond_the_room)
{
    for (size_t room = 0; room < 8; room++) {
        uint8_t *bytes = malloc(room != 0 ? room : 1);
        size_t len = room;
        ck_assert_int_eq(otok_unbase64url("Zm9vYmE", 7, bytes, &len), room >= 5);
        free(bytes);
    }
}
END_TEST

START_TEST(buffer_grows_by_what_is_added)
{
    uint8_t room[4];
    otok_buf buf;
    otok_buf_init(&buf, room, sizeof room);
    otok_buf_add_base64url(&buf, "foobar", 6);
    otok_buf_add_base64url(&buf, NULL, 0);
    otok_buf_add_base64url(&buf, "f", 1);
    ck_assert(!buf.failed);
    ck_assert_uint_eq(buf.len, 10);
    ck_assert(memcmp(buf.data, "Zm9vYmFyZg", 10) == 0);
    otok_buf_free(&buf);
}
END_TEST

static void add_tests(TCase *tcase)
{
    tcase_add_test(tcase, known_answers_come_out_and_go_in);
    tcase_add_test(tcase, every_length_and_value_survives_the_round_trip);
    tcase_add_test(tcase, only_what_we_would_print_is_taken);
    tcase_add_test(tcase, number_of_values_taken_is_that_of_the_bytes);
    tcase_add_test(tcase, padding_space_and_lengths_that_no_bytes_have_are_refused);
    tcase_add_test(tcase, no_byte_is_written_beyond_the_room);
    tcase_add_test(tcase, buffer_grows_by_what_is_added);
}

int main(void)
{
    return test_main("base64url", add_tests);
}
