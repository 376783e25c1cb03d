/*
 * check_form.c - P2: application/x-www-form-urlencoded, and what is refused of it.
 *
 * SPDX-License-Identifier: MIT
 */
/* link: -Wl,--wrap=otok_calloc -Wl,--wrap=otok_wipe_free */
#include "support/fixture.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void *__real_otok_calloc(size_t count, size_t size);
void *__wrap_otok_calloc(size_t count, size_t size);
void __real_otok_wipe_free(void *secret, size_t size);
void __wrap_otok_wipe_free(void *secret, size_t size);

static size_t allocated, allocations, wiped;
static bool memory_is_short;

void *__wrap_otok_calloc(size_t count, size_t size)
{
    allocated = count * size;
    allocations++;
    return memory_is_short ? NULL : __real_otok_calloc(count, size);
}

void __wrap_otok_wipe_free(void *secret, size_t size)
{
    wiped = size;
    __real_otok_wipe_free(secret, size);
}

/* From bytes that end where the form ends, so that a sanitizer sees a read beyond. */
static int parse(const void *data, size_t len, otok_form **out, otok_error *err)
{
    void *copy = malloc(len != 0 ? len : 1);
    if (len != 0)
        memcpy(copy, data, len);
    int rc = otok_form_parse(copy, len, out, err);
    free(copy); /* the form lives on without it */
    return rc;
}

static void assert_refused(const void *data, size_t len, const char *reason)
{
    otok_form *form = (otok_form *)(void *)&form;
    otok_error err = {0};
    test_assert_code(OTOK_E_INVALID, parse(data, len, &form, &err));
    ck_assert_ptr_null(form);
    ck_assert_int_eq(err.code, OTOK_E_INVALID);
    ck_assert_msg(strstr(err.message, reason) != NULL, "%s: not because it %s", err.message, reason);
}

/* P2 */
START_TEST(form_is_taken_apart_into_names_and_values)
{
    static const struct {
        const char *form;
        size_t count;
        const char *pairs[6];
    } rows[] = {
        {"", 0, {0}},
        {"a=1", 1, {"a", "1"}},
        {"a=1&b=2", 2, {"a", "1", "b", "2"}},
        {"a", 1, {"a", ""}},
        {"a=", 1, {"a", ""}},
        {"a&b=&c", 3, {"a", "", "b", "", "c", ""}},
        {"a==", 1, {"a", "="}},
        {"a=b=c", 1, {"a", "b=c"}},
        {"a=1&A=2", 2, {"a", "1", "A", "2"}},
        {"a=1%0a2&b=%1b%7f%c2%85", 2, {"a", "1\n2", "b", "\x1b\x7f\xc2\x85"}},
        {"a\tb=1", 1, {"a\tb", "1"}},
        {"scope=openid+offline_access", 1, {"scope", "openid offline_access"}},
        {"scope=openid%20offline_access", 1, {"scope", "openid offline_access"}},
        {"a+b=%2B", 1, {"a b", "+"}},
        {"%61=%26%3d%3D%25", 1, {"a", "&==%"}},
        {"%26=1&%3D=2", 2, {"&", "1", "=", "2"}},
        {"a=%25%34%31", 1, {"a", "%41"}}, /* decoded once */
        {"a=%C3%a9%E2%82%ac%f0%9F%98%80", 1, {"a", "\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80"}},
        {"a=\xc3\xa9", 1, {"a", "\xc3\xa9"}},
        {"a=\xc3%a9", 1, {"a", "\xc3\xa9"}},
        {"a=;b=1", 1, {"a", ";b=1"}},
        {"resource=https%3A%2F%2Fapi.example%2F%3Fa%3D1%26b&resource=urn:x",
         2,
         {"resource", "https://api.example/?a=1&b", "resource", "urn:x"}},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        otok_form *form;
        otok_error err = {0};
        int rc = parse(rows[i].form, strlen(rows[i].form), &form, &err);
        ck_assert_msg(rc == OTOK_OK, "%s: %s", rows[i].form, err.message);
        ck_assert_uint_eq(otok_form_count(form), rows[i].count);
        for (size_t k = 0; k < rows[i].count; k++) {
            ck_assert_str_eq(otok_form_name(form, k), rows[i].pairs[2 * k]);
            ck_assert_str_eq(otok_form_value(form, k), rows[i].pairs[2 * k + 1]);
        }
        otok_form_free(form);
    }
}
END_TEST

/* P2: nothing between two & is nothing, as the WHATWG URL standard has it; it does not count towards the limit. */
START_TEST(nothing_between_separators_is_passed_over)
{
    static const char *const same[] = {"a=1&&b=2", "&a=1&b=2", "a=1&b=2&", "&&&a=1&&&&b=2&&&"};
    char *many = malloc(OTOK_FORM_MAX);
    otok_form *form;
    for (size_t i = 0; i < sizeof same / sizeof same[0]; i++) {
        test_assert_code(OTOK_OK, parse(same[i], strlen(same[i]), &form, NULL));
        ck_assert_uint_eq(otok_form_count(form), 2);
        ck_assert_str_eq(otok_form_name(form, 1), "b");
        ck_assert_str_eq(otok_form_value(form, 1), "2");
        otok_form_free(form);
    }
    memset(many, '&', OTOK_FORM_MAX);
    test_assert_code(OTOK_OK, parse(many, OTOK_FORM_MAX, &form, NULL));
    ck_assert_uint_eq(otok_form_count(form), 0);
    otok_form_free(form);
    free(many);
}
END_TEST

/* P2: of the bytes that one escape can make, or that stand there as they are, those that may be in a text. */
START_TEST(every_byte_is_taken_or_refused_escaped_and_plain)
{
    for (int c = 0; c < 256; c++) {
        char lower[8], upper[8], plain[] = {'a', '=', (char)c};
        bool is_text = c >= 0x01 && c < 0x80;
        otok_form *form;
        (void)snprintf(lower, sizeof lower, "a=%%%02x", c);
        (void)snprintf(upper, sizeof upper, "a=%%%02X", c);
        const char *const escaped[] = {lower, upper};
        for (size_t i = 0; i < 2; i++) {
            if (!is_text) {
                assert_refused(escaped[i], 5, "is not UTF-8 without NUL");
                continue;
            }
            test_assert_code(OTOK_OK, parse(escaped[i], 5, &form, NULL));
            ck_assert_int_eq(otok_form_value(form, 0)[0], c);
            ck_assert_int_eq(otok_form_value(form, 0)[1], '\0');
            otok_form_free(form);
        }
        if (c == '%' || c == '&')
            continue;
        test_assert_code(is_text ? OTOK_OK : OTOK_E_INVALID, parse(plain, sizeof plain, &form, NULL));
        if (is_text)
            ck_assert_int_eq(otok_form_value(form, 0)[0], c == '+' ? ' ' : c);
        otok_form_free(form);
    }
}
END_TEST

/* P2 */
START_TEST(escapes_without_two_digits_are_refused)
{
    static const char *const bad[] = {"a=%",   "a=%4",  "a=%4&b=1", "a=%&b=1",  "a=%g1",  "a=%1g",   "a=%%41", "a=%-1",
                                      "a=%+1", "a=% 1", "a=%0x41",  "a=%u0041", "a=%@A",  "a=%G0",   "a=%/0",  "a=%:0",
                                      "a=%`0", "%=1",   "%4=1",     "%4",       "a%zz=1", "a=1&b=%", "a=%1",   "a=1%2"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        assert_refused(bad[i], strlen(bad[i]), "has a % without two hexadecimal digits");
    /* What stands beyond the end is not the form's. */
    otok_form *form;
    test_assert_code(OTOK_E_INVALID, otok_form_parse("a=%41", 4, &form, NULL));
    test_assert_code(OTOK_E_INVALID, otok_form_parse("a=%41", 3, &form, NULL));
}
END_TEST

/* P2: NUL and bad UTF-8, in names and in values. */
START_TEST(what_is_no_text_is_refused)
{
    static const struct {
        const char *form;
        size_t len;
    } rows[] = {
        {"a=1\0b", 5},       {"a\0=1", 4},           {"a=%00", 5},           {"%00=1", 5},        {"\0", 1},
        {"a=%c3", 5},        {"a=%c3&b=%a9", 11},    {"a=%a9", 5},           {"a=%c0%af", 8},     {"a=%c1%81", 8},
        {"a=%ed%a0%80", 11}, {"a=%f4%90%80%80", 14}, {"a=%f5%80%80%80", 14}, {"a=%e0%80%80", 11}, {"a=\xff", 3},
        {"%c3%28=1", 8},     {"a=%e2%82", 8},        {"a=%fe%ff", 8},        {"a=%c0%80", 8}, /* NUL, overlong */
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        assert_refused(rows[i].form, rows[i].len, "is not UTF-8 without NUL");
}
END_TEST

/* P2: RFC 6749 section 3.2, RFC 8707 section 2: those who read the first and those who read the last see the same. */
START_TEST(every_parameter_is_there_once_but_resource)
{
    static const struct {
        const char *form, *reason; /* NULL: it is good */
    } rows[] = {
        {"resource=a&resource=b&resource=a", NULL},
        {"resource=a&resource=", NULL},
        {"a=1&A=1&b=1", NULL},
        {"scope=a&scope=b", "parameters 1 and 2 of the form have the same name"},
        {"scope=a&scope=a", "parameters 1 and 2"},
        {"scope=a&b=1&sc%6Fpe=a", "parameters 1 and 3"},
        {"scope=&scope=a", "parameters 1 and 2"},
        {"scope&scope=a", "parameters 1 and 2"},
        {"scope=a&scope", "parameters 1 and 2"},
        {"resource=a&resource=b&x=1&y=1&x=1", "parameters 3 and 5"},
        {"RESOURCE=a&RESOURCE=b", "parameters 1 and 2"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        otok_form *form = NULL;
        if (rows[i].reason != NULL) {
            assert_refused(rows[i].form, strlen(rows[i].form), rows[i].reason);
            continue;
        }
        test_assert_code(OTOK_OK, parse(rows[i].form, strlen(rows[i].form), &form, NULL));
        otok_form_free(form);
    }
}
END_TEST

/* P2: RFC 6749 section 3.1: one without a value counts as left out. */
START_TEST(value_is_found_by_name)
{
    static const char text[] = "token=t&scope=&hint&resource=&resource=r&resource=s";
    otok_form *form;
    test_assert_code(OTOK_OK, parse(text, sizeof text - 1, &form, NULL));
    ck_assert_str_eq(otok_form_get(form, "token"), "t");
    ck_assert_str_eq(otok_form_get(form, "resource"), "r");
    static const char *const none[] = {"scope", "hint", "Token", "toke", "tokens", "", NULL};
    for (size_t i = 0; i < sizeof none / sizeof none[0]; i++)
        ck_assert_ptr_null(otok_form_get(form, none[i]));
    ck_assert_str_eq(otok_form_value(form, 1), "");
    ck_assert_str_eq(otok_form_value(form, 2), "");
    otok_form_free(form);
}
END_TEST

/* B2 */
START_TEST(behind_the_last_parameter_there_is_nothing)
{
    otok_form *form;
    otok_error err = {0};
    test_assert_code(OTOK_OK, parse("a=1", 3, &form, NULL));
    ck_assert_ptr_null(otok_form_name(form, 1));
    ck_assert_ptr_null(otok_form_value(form, 1));
    ck_assert_ptr_null(otok_form_name(form, SIZE_MAX));
    ck_assert_ptr_null(otok_form_value(form, SIZE_MAX));
    otok_form_free(form);
    ck_assert_uint_eq(otok_form_count(NULL), 0);
    ck_assert_ptr_null(otok_form_name(NULL, 0));
    ck_assert_ptr_null(otok_form_value(NULL, 0));
    ck_assert_ptr_null(otok_form_get(NULL, "a"));
    test_assert_code(OTOK_E_INVALID, otok_form_parse("a=1", 3, NULL, &err));
}
END_TEST

/* P2 */
START_TEST(parameter_without_a_name_is_refused)
{
    assert_refused("=", 1, "parameter 1 of the form has no name");
    assert_refused("=1", 2, "parameter 1 of the form has no name");
    assert_refused("a=1&=2", 6, "parameter 2 of the form has no name");
    assert_refused("a=1&&==", 7, "parameter 2 of the form has no name");
}
END_TEST

/* P2 */
START_TEST(size_and_number_of_parameters_are_bounded)
{
    char *text = malloc(OTOK_FORM_MAX + 1);
    otok_form *form;
    memset(text, 'x', OTOK_FORM_MAX + 1);
    test_assert_code(OTOK_OK, parse(text, OTOK_FORM_MAX, &form, NULL));
    ck_assert_uint_eq(strlen(otok_form_name(form, 0)), OTOK_FORM_MAX);
    otok_form_free(form);
    assert_refused(text, OTOK_FORM_MAX + 1, "is longer than 65536 bytes");
    test_assert_code(OTOK_E_INVALID, otok_form_parse(text, SIZE_MAX, &form, NULL)); /* not read, not added to */

    size_t len = 0;
    for (int i = 0; i < OTOK_FORM_PARAMETERS; i++)
        len += (size_t)sprintf(text + len, "p%d=%d&", i, i);
    test_assert_code(OTOK_OK, parse(text, len, &form, NULL));
    ck_assert_uint_eq(otok_form_count(form), OTOK_FORM_PARAMETERS);
    ck_assert_str_eq(otok_form_name(form, OTOK_FORM_PARAMETERS - 1), "p63");
    ck_assert_str_eq(otok_form_value(form, OTOK_FORM_PARAMETERS - 1), "63");
    otok_form_free(form);
    text[len++] = 'q';
    assert_refused(text, len, "has more than 64 parameters");
    free(text);
}
END_TEST

/* P2: whatever stands in the wrong place of a broken form may be a token. */
START_TEST(messages_never_repeat_what_was_sent)
{
    static const char *const bad[] = {"SECRET=%", "SECRET%",    "a=SECRET%zz",   "a=SECRET%00",
                                      "=SECRET",  "SECRET=%ff", "SECRET&SECRET", "SECRET=1&SECRET=2"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        otok_form *form;
        otok_error err = {0};
        test_assert_code(OTOK_E_INVALID, parse(bad[i], strlen(bad[i]), &form, &err));
        ck_assert_msg(strstr(err.message, "SECRET") == NULL, "%s", err.message);
        ck_assert_ptr_nonnull(strstr(err.message, "1"));
    }
}
END_TEST

/* P2: passwords and tokens are in it. */
START_TEST(form_is_one_allocation_and_wiped_whole)
{
    static const char *const forms[] = {"", "refresh_token=abc&client_secret=def", "refresh_token=abc&b=%"};
    otok_form *form;
    for (size_t i = 0; i < sizeof forms / sizeof forms[0]; i++) {
        allocations = wiped = 0;
        (void)parse(forms[i], strlen(forms[i]), &form, NULL);
        otok_form_free(form);
        ck_assert_uint_eq(allocations, 1);
        ck_assert_uint_eq(wiped, allocated);
    }
    otok_form_free(NULL);
    memory_is_short = true;
    test_assert_code(OTOK_E_NOMEM, parse("a=1", 3, &form, NULL));
    ck_assert_ptr_null(form);
    memory_is_short = false;
}
END_TEST

/* P2 */
START_TEST(no_bytes_are_an_empty_form_but_a_length_needs_some)
{
    otok_form *form;
    test_assert_code(OTOK_OK, otok_form_parse(NULL, 0, &form, NULL));
    ck_assert_uint_eq(otok_form_count(form), 0);
    otok_form_free(form);
    test_assert_code(OTOK_E_INVALID, otok_form_parse(NULL, 1, &form, NULL));
    ck_assert_ptr_null(form);
}
END_TEST

static void add_tests(TCase *tcase)
{
    tcase_add_test(tcase, form_is_taken_apart_into_names_and_values);
    tcase_add_test(tcase, nothing_between_separators_is_passed_over);
    tcase_add_test(tcase, every_byte_is_taken_or_refused_escaped_and_plain);
    tcase_add_test(tcase, escapes_without_two_digits_are_refused);
    tcase_add_test(tcase, what_is_no_text_is_refused);
    tcase_add_test(tcase, every_parameter_is_there_once_but_resource);
    tcase_add_test(tcase, value_is_found_by_name);
    tcase_add_test(tcase, behind_the_last_parameter_there_is_nothing);
    tcase_add_test(tcase, parameter_without_a_name_is_refused);
    tcase_add_test(tcase, size_and_number_of_parameters_are_bounded);
    tcase_add_test(tcase, messages_never_repeat_what_was_sent);
    tcase_add_test(tcase, form_is_one_allocation_and_wiped_whole);
    tcase_add_test(tcase, no_bytes_are_an_empty_form_but_a_length_needs_some);
}

int main(void)
{
    return test_main("form", add_tests);
}
