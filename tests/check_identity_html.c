/*
 * check_identity_html.c - the identity server's pages: what is not marked as HTML is shown as text, wherever it stands.
 *
 * SPDX-License-Identifier: MIT
 */
#include "support/fixture.h"

#include <string.h>

#include "../examples/identity-server/server.h"

int64_t now_us(void)
{
    return TEST_START_US;
}

static void check_text(text *t, const char *expected)
{
    ck_assert(!t->failed);
    ck_assert_uint_eq(t->len, strlen(expected));
    ck_assert_str_eq(t->data, expected);
    text_free(t);
    ck_assert_ptr_null(t->data);
}

START_TEST(text_is_escaped_html_and_numbers_are_not)
{
    text t = {0};
    html(&t, "<p title=\"%s\">%s %h %d%%</p>", "a\"b'c", "<script>&amp;", "<b>x</b>", INT64_MIN);
    check_text(&t, "<p title=\"a&quot;b&#39;c\">&lt;script&gt;&amp;amp; <b>x</b> -9223372036854775808%</p>");
}
END_TEST

START_TEST(nothing_is_shown_of_what_is_not_there)
{
    text t = {0};
    html(&t, "[%s%u%h]", NULL, NULL, NULL);
    text_add(&t, NULL);
    text_append(&t, "", 0);
    check_text(&t, "[]");
}
END_TEST

/* RFC 3986 section 2.3: everything but the unreserved characters is encoded, so that no value can end its parameter. */
START_TEST(url_part_keeps_no_delimiter)
{
    text t = {0};
    html(&t, "/x?a=%u&b=%u", "a b&c=d/?#+%\xc3\xa9\n", "AZaz09-._~");
    check_text(&t, "/x?a=a%20b%26c%3Dd%2F%3F%23%2B%25%C3%A9%0A&b=AZaz09-._~");
}
END_TEST

START_TEST(format_that_is_not_known_fails_the_page)
{
    static const char *const formats[] = {"%x", "%", "a %S", "%l"};
    for (size_t i = 0; i < sizeof formats / sizeof formats[0]; i++) {
        text t = {0};
        html(&t, formats[i]);
        ck_assert_msg(t.failed, "%s", formats[i]);
        text_add(&t, "more");
        ck_assert(t.data == NULL || strstr(t.data, "more") == NULL);
        text_free(&t);
    }
}
END_TEST

START_TEST(text_grows_to_any_length)
{
    text t = {0};
    for (int i = 0; i < 20000; i++)
        html(&t, "%s", "0123456789");
    ck_assert(!t.failed);
    ck_assert_uint_eq(t.len, 200000);
    ck_assert_uint_eq(strlen(t.data), 200000);
    ck_assert(strncmp(t.data + 199990, "0123456789", 10) == 0);
    text_append(&t, "x", SIZE_MAX); /* more than there can be: no byte is read */
    ck_assert(t.failed);
    text_free(&t);
}
END_TEST

START_TEST(times_are_told_in_the_largest_unit_that_fits)
{
    static const struct {
        int64_t seconds;
        const char *words;
    } rows[] = {
        {0, ">just now<"},
        {-1, ">1 second ago<"},
        {-59, ">59 seconds ago<"},
        {-60, ">1 minute ago<"},
        {-7199, ">1 hour ago<"},
        {-7200, ">2 hours ago<"},
        {3600, ">in 1 hour<"},
        {86399, ">in 23 hours<"},
        {172800, ">in 2 days<"},
        {-31557600, ">1 year ago<"},
        {1, ">in 1 second<"},
        {-2629800, ">1 month ago<"},
        {86400 * 25, ">in 25 days<"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        text t = {0};
        html_time(&t, TEST_START_US + rows[i].seconds * 1000000, TEST_START_US);
        ck_assert_msg(strstr(t.data, rows[i].words) != NULL, "%s", t.data);
        text_free(&t);
    }
}
END_TEST

START_TEST(times_have_their_exact_self_as_title)
{
    text t = {0};
    html_time(&t, TEST_START_US - 1, TEST_START_US);
    check_text(&t,
               "<time datetime=\"2027-01-15T07:59:59Z\" title=\"15 January 2027, 07:59:59 UTC\">1 second ago</time>");
}
END_TEST

START_TEST(times_that_are_none_have_words)
{
    text t = {0};
    html_time(&t, 0, TEST_START_US);
    check_text(&t, "never");
    html_time(&t, OTOK_UNLIMITED, TEST_START_US);
    check_text(&t, "no limit");
    html_time(&t, -5, TEST_START_US);
    check_text(&t, "unknown");
}
END_TEST

static void add_tests(TCase *tcase)
{
    tcase_add_test(tcase, text_is_escaped_html_and_numbers_are_not);
    tcase_add_test(tcase, nothing_is_shown_of_what_is_not_there);
    tcase_add_test(tcase, url_part_keeps_no_delimiter);
    tcase_add_test(tcase, format_that_is_not_known_fails_the_page);
    tcase_add_test(tcase, text_grows_to_any_length);
    tcase_add_test(tcase, times_are_told_in_the_largest_unit_that_fits);
    tcase_add_test(tcase, times_have_their_exact_self_as_title);
    tcase_add_test(tcase, times_that_are_none_have_words);
}

int main(void)
{
    return test_main("identity_html", add_tests);
}
