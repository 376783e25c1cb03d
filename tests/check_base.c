/*
 * check_base.c - what every folder stands on: errors, memory, bytes, text, structs.
 *
 * SPDX-License-Identifier: MIT
 */
#include "support/fixture.h"

#include <errno.h>
#include <string.h>

START_TEST(a_message_that_does_not_fit_is_cut_and_terminated)
{
    otok_error err;
    char longer[2000];
    memset(longer, 'x', sizeof longer - 1);
    longer[sizeof longer - 1] = '\0';
    ck_assert_int_eq(otok_error_set(&err, OTOK_E_IO, EIO, longer), OTOK_E_IO);
    ck_assert_int_eq(err.code, OTOK_E_IO);
    ck_assert_int_eq(err.system_errno, EIO);
    ck_assert_uint_eq(strlen(err.message), sizeof err.message - 1);
    ck_assert_int_eq(otok_error_set(NULL, OTOK_E_IO, 0, NULL), OTOK_E_IO);
    ck_assert_uint_eq(sizeof err, 512);
}
END_TEST

START_TEST(an_errno_has_the_code_that_tells_what_to_do)
{
    static const struct {
        int number, code;
    } rows[] = {
        {ENOMEM, OTOK_E_NOMEM},      {ENOSPC, OTOK_E_FULL},      {EDQUOT, OTOK_E_FULL}, {EACCES, OTOK_E_PERMISSION},
        {EPERM, OTOK_E_PERMISSION},  {EROFS, OTOK_E_PERMISSION}, {EIO, OTOK_E_IO},      {ENOENT, OTOK_E_NOT_FOUND},
        {ENOTDIR, OTOK_E_NOT_FOUND}, {EMFILE, OTOK_E_IO},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        test_assert_code(rows[i].code, otok_error_of_errno(rows[i].number));
}
END_TEST

/* L5 */
START_TEST(sums_of_times_stop_at_the_ends_and_unlimited_stays_unlimited)
{
    static const struct {
        int64_t a, b, sum;
    } rows[] = {
        {1, 2, 3},
        {INT64_MAX - 1, 5, INT64_MAX},
        {INT64_MIN, -1, INT64_MIN},
        {OTOK_UNLIMITED, -5, OTOK_UNLIMITED},
        {-5, OTOK_UNLIMITED, OTOK_UNLIMITED},
        {INT64_MIN, INT64_MAX - 1, -2},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        ck_assert_int_eq(otok_time_add(rows[i].a, rows[i].b), rows[i].sum);
    ck_assert_int_eq(otok_seconds_to_us(3), 3000000);
    ck_assert_int_eq(otok_seconds_to_us(OTOK_UNLIMITED), OTOK_UNLIMITED);
    ck_assert_int_eq(otok_seconds_to_us(INT64_MIN), INT64_MIN);
}
END_TEST

START_TEST(sizes_that_overflow_are_noticed)
{
    size_t out;
    ck_assert(otok_size_add(1, 2, &out) && out == 3);
    ck_assert(!otok_size_add(SIZE_MAX, 1, &out));
    ck_assert(otok_size_mul(3, 4, &out) && out == 12);
    ck_assert(!otok_size_mul(SIZE_MAX, 2, &out));
}
END_TEST

START_TEST(a_buffer_grows_from_lent_storage_and_keeps_what_it_holds)
{
    uint8_t lent[4];
    otok_buf buf;
    otok_buf_init(&buf, lent, sizeof lent);
    otok_buf_add_u16(&buf, 0x0102);
    ck_assert_ptr_eq(buf.data, lent);
    otok_buf_add_u32(&buf, 0x03040506);
    otok_buf_add_u64(&buf, UINT64_C(0x0708090a0b0c0d0e));
    otok_buf_add_u8(&buf, 15);
    otok_buf_add_text(&buf, "ab");
    ck_assert_uint_eq(buf.len, 17);
    ck_assert_ptr_ne(buf.data, lent);
    for (uint8_t i = 0; i < 15; i++)
        ck_assert_uint_eq(buf.data[i], i + 1);
    ck_assert_uint_eq(lent[0], 0); /* wiped when it was left */
    otok_buf_free(&buf);
}
END_TEST

START_TEST(a_buffer_that_cannot_grow_stays_failed)
{
    otok_buf buf;
    otok_buf_init(&buf, NULL, 0);
    otok_buf_add_u8(&buf, 1);
    ck_assert(!otok_buf_reserve(&buf, SIZE_MAX));
    otok_buf_add_u8(&buf, 2);
    ck_assert(buf.failed);
    ck_assert_uint_eq(buf.len, 1);
    otok_buf_free(&buf);
}
END_TEST

START_TEST(a_reader_never_passes_the_end)
{
    const uint8_t bytes[] = {1, 2, 3, 4, 5, 6, 7};
    otok_reader reader = otok_reader_of(bytes, sizeof bytes);
    ck_assert_uint_eq(otok_read_u8(&reader), 1);
    ck_assert_uint_eq(otok_read_u16(&reader), 0x0203);
    ck_assert_uint_eq(otok_read_u64(&reader), 0);
    ck_assert(reader.failed);
    ck_assert_uint_eq(otok_read_u8(&reader), 0); /* it sticks */
    reader = otok_reader_of(bytes, sizeof bytes);
    ck_assert_uint_eq(otok_read_u32(&reader), 0x01020304);
    ck_assert_ptr_null(otok_read(&reader, 4));
}
END_TEST

START_TEST(numbers_are_big_endian)
{
    uint8_t bytes[8];
    otok_put_u48(bytes, UINT64_C(0x010203040506));
    ck_assert_uint_eq(bytes[0], 1);
    ck_assert_uint_eq(bytes[5], 6);
    ck_assert_uint_eq(otok_get_u48(bytes), UINT64_C(0x010203040506));
    otok_put_u64(bytes, UINT64_MAX - 1);
    ck_assert_uint_eq(otok_get_u64(bytes), UINT64_MAX - 1);
    otok_put_u16(bytes, 0xabcd);
    ck_assert_uint_eq(otok_get_u16(bytes), 0xabcd);
}
END_TEST

START_TEST(text_is_strict_utf8_without_control_characters)
{
    static const struct {
        const char *text;
        bool clean;
    } rows[] = {
        {"", true},
        {"plain", true},
        {"caf\xc3\xa9", true},
        {"\xe2\x82\xac", true},
        {"\xf0\x9f\x94\x91", true},
        {"\xf4\x8f\xbf\xbf", true},  /* U+10FFFF */
        {"\xf4\x90\x80\x80", false}, /* above it */
        {"\xc0\x80", false},         /* overlong NUL */
        {"\xc1\xbf", false},         /* overlong */
        {"\xe0\x9f\xbf", false},     /* overlong */
        {"\xf0\x8f\xbf\xbf", false}, /* overlong */
        {"\xed\xa0\x80", false},     /* a surrogate */
        {"\xc3", false},             /* cut short */
        {"\xe2\x82", false},
        {"\x80", false}, /* no lead */
        {"\xff", false},
        {"tab\there", false},
        {"del\x7f", false},
        {"c1\xc2\x85", false}, /* U+0085 */
        {"nbsp\xc2\xa0", true},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        ck_assert_msg(otok_text_is_clean(rows[i].text, strlen(rows[i].text)) == rows[i].clean, "row %zu", i);
        if (rows[i].clean)
            ck_assert_msg(otok_text_is_utf8(rows[i].text, strlen(rows[i].text)), "row %zu", i);
    }
    ck_assert(!otok_text_is_clean("a\0b", 3));
}
END_TEST

START_TEST(utf8_may_have_any_character_but_nul)
{
    static const char *const good[] = {"", "tab\there", "del\x7f", "c1\xc2\x85", "\x01\x1f", "a\r\n"};
    static const char *const bad[] = {"\xc0\x80", "\xed\xa0\x80", "\xc3", "\x80", "\xff", "a\n\xf4\x90\x80\x80"};
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++)
        ck_assert_msg(otok_text_is_utf8(good[i], strlen(good[i])), "row %zu", i);
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        ck_assert_msg(!otok_text_is_utf8(bad[i], strlen(bad[i])), "row %zu", i);
    ck_assert(!otok_text_is_utf8("a\0b", 3));
}
END_TEST

START_TEST(text_is_never_cut_inside_a_character)
{
    ck_assert_uint_eq(otok_text_cut("abc", 3, 5), 3);
    ck_assert_uint_eq(otok_text_cut("abcdef", 6, 5), 5);
    ck_assert_uint_eq(otok_text_cut("ab\xe2\x82\xac", 5, 4), 2);
    ck_assert_uint_eq(otok_text_cut("\xf0\x9f\x94\x91", 4, 3), 0);
}
END_TEST

START_TEST(a_text_argument_is_refused_by_the_name_of_its_field)
{
    otok_error err;
    size_t len;
    static const struct {
        const char *text;
        bool required, good;
    } rows[] = {
        {NULL, false, true},  {NULL, true, false},    {"", false, true},     {"", true, false},
        {"four", true, true}, {"fives", true, false}, {"a\nb", true, false},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        int rc = otok_text_check(rows[i].text, 4, rows[i].required, "x.field", &len, &err);
        test_assert_code(rows[i].good ? OTOK_OK : OTOK_E_INVALID, rc);
        ck_assert(rc == OTOK_OK || strstr(err.message, "x.field") != NULL);
    }
}
END_TEST

struct grown {
    size_t size;
    int64_t known;
    int64_t newer;
};

struct known {
    size_t size;
    int64_t known;
};

START_TEST(structs_of_older_and_newer_headers_are_read)
{
    otok_error err;
    struct known out;
    struct grown in = {sizeof in, 7, 0};
    test_assert_code(OTOK_OK, otok_struct_read(&out, sizeof out, &in, sizeof(size_t), "in", &err));
    ck_assert_int_eq(out.known, 7);
    in.newer = 1; /* what is not known must be 0 */
    test_assert_code(OTOK_E_INVALID, otok_struct_read(&out, sizeof out, &in, sizeof(size_t), "in", &err));
    in.size = sizeof(size_t); /* older: the rest is as if 0 */
    test_assert_code(OTOK_OK, otok_struct_read(&out, sizeof out, &in, sizeof(size_t), "in", &err));
    ck_assert_int_eq(out.known, 0);
    in.size = 0; /* never initialised */
    test_assert_code(OTOK_E_INVALID, otok_struct_read(&out, sizeof out, &in, sizeof(size_t), "in", &err));
    in.size = SIZE_MAX;
    test_assert_code(OTOK_E_INVALID, otok_struct_read(&out, sizeof out, &in, sizeof(size_t), "in", &err));
    test_assert_code(OTOK_E_INVALID, otok_struct_read(&out, sizeof out, NULL, sizeof(size_t), "in", &err));
}
END_TEST

static void add_tests(TCase *tcase)
{
    tcase_add_test(tcase, a_message_that_does_not_fit_is_cut_and_terminated);
    tcase_add_test(tcase, an_errno_has_the_code_that_tells_what_to_do);
    tcase_add_test(tcase, sums_of_times_stop_at_the_ends_and_unlimited_stays_unlimited);
    tcase_add_test(tcase, sizes_that_overflow_are_noticed);
    tcase_add_test(tcase, a_buffer_grows_from_lent_storage_and_keeps_what_it_holds);
    tcase_add_test(tcase, a_buffer_that_cannot_grow_stays_failed);
    tcase_add_test(tcase, a_reader_never_passes_the_end);
    tcase_add_test(tcase, numbers_are_big_endian);
    tcase_add_test(tcase, text_is_strict_utf8_without_control_characters);
    tcase_add_test(tcase, utf8_may_have_any_character_but_nul);
    tcase_add_test(tcase, text_is_never_cut_inside_a_character);
    tcase_add_test(tcase, a_text_argument_is_refused_by_the_name_of_its_field);
    tcase_add_test(tcase, structs_of_older_and_newer_headers_are_read);
}

int main(void)
{
    return test_main("base", add_tests);
}
