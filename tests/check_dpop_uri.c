/*
 * check_dpop_uri.c - whether two URIs are one endpoint (P3, RFC 9449 section 4.3, RFC 3986 section 6.2).
 *
 * SPDX-License-Identifier: MIT
 */
#include "oauth/oauth.h"
#include "support/fixture.h"

#include <stdlib.h>
#include <string.h>

/* A copy that ends where the text does, so that a look beyond it is seen. */
static bool equal(const char *a, const char *b)
{
    char *first = strdup(a), *second = strdup(b);
    bool is = otok_uri_equal(first, second);
    ck_assert(is == otok_uri_equal(second, first));
    free(first);
    free(second);
    return is;
}

static const struct {
    const char *a, *b;
} same[] = {
    {"https://id.example.org/token", "https://id.example.org/token"},
    {"HTTPS://ID.Example.ORG/token", "https://id.example.org/token"},
    {"https://id.example.org:443/token", "https://id.example.org/token"},
    {"https://id.example.org:0443/token", "https://id.example.org/token"},
    {"https://id.example.org:/token", "https://id.example.org/token"},
    {"http://id.example.org:80/token", "http://id.example.org/token"},
    {"https://id.example.org:08443/token", "https://id.example.org:8443/token"},
    {"https://id.example.org:0/", "https://id.example.org:00"},
    {"https://id.example.org", "https://id.example.org/"},
    {"https://id.example.org?q", "https://id.example.org/#f"},
    {"https://id.example.org:443", "https://id.example.org/"},
    {"https://id.example.org/token?a=b&c=%20/?", "https://id.example.org/token"},
    {"https://id.example.org/token#top", "https://id.example.org/token"},
    {"https://id.example.org/token?a#b?c", "https://id.example.org/token?"},
    {"https://id.example.org/%74oken", "https://id.example.org/token"},
    {"https://id.example.org/%7Euser/%2d%2E%5f", "https://id.example.org/~user/-._"},
    {"https://id.example.org/a%2fb", "https://id.example.org/a%2Fb"},
    {"https://%69d.example.org/", "https://id.example.org/"},
    {"https://%49D.example.org/", "https://id.example.org/"},
    {"https://i%c3%a9.example.org/", "https://i%C3%A9.example.org/"},
    {"https://id.example.org/a/./b", "https://id.example.org/a/b"},
    {"https://id.example.org/a/../b", "https://id.example.org/b"},
    {"https://id.example.org/a/%2e%2E/b", "https://id.example.org/b"},
    {"https://id.example.org/a/b/c/./../../g", "https://id.example.org/a/g"},
    {"https://id.example.org/../../token", "https://id.example.org/token"},
    {"https://id.example.org/a/.", "https://id.example.org/a/"},
    {"https://id.example.org/a/b/..", "https://id.example.org/a/"},
    {"https://id.example.org/..", "https://id.example.org"},
    {"https://id.example.org/a//../b", "https://id.example.org/a/b"},
    {"https://[::1]:443/t", "https://[::1]/t"},
    {"https://[2001:DB8::1.2.3.4]:8443/t", "https://[2001:db8::1.2.3.4]:8443/t"},
    {"https://127.0.0.1/!$&'()*+,;=:@", "https://127.0.0.1/!$&'()*+,;=:@"},
};

static const struct {
    const char *a, *b;
} different[] = {
    {"https://id.example.org/token", "http://id.example.org/token"},
    {"https://id.example.org/token", "https://id.example.com/token"},
    {"https://id.example.org/token", "https://id.example.org/Token"},
    {"https://id.example.org/token", "https://id.example.org/token/"},
    {"https://id.example.org/token", "https://id.example.org/"},
    {"https://id.example.org/token", "https://id.example.org//token"},
    {"https://id.example.org/token", "https://id.example.org:80/token"},
    {"http://id.example.org/token", "http://id.example.org:443/token"},
    {"https://id.example.org:8443/", "https://id.example.org:8444/"},
    {"https://id.example.org/a/b", "https://id.example.org/a%2Fb"},
    {"https://id.example.org/a%3Fb", "https://id.example.org/a?b"},
    {"https://id.example.org/a%25", "https://id.example.org/a%2525"},
    {"https://id.example.org/...", "https://id.example.org/"},
    {"https://id.example.org/.a", "https://id.example.org/a"},
    {"https://id.example.org/a..", "https://id.example.org/a"},
    {"https://id.example.org./", "https://id.example.org/"},
    {"https://[::1]/", "https://[::2]/"},
};

/* Equal to nothing, not even to themselves. */
static const char *const none[] = {
    "",
    "token",
    "/token",
    "//id.example.org/token",
    "https",
    "https:",
    "https:/",
    "https://",
    "https:///token",
    "https://:443/",
    "https:id.example.org/token",
    "https:/id.example.org/token",
    " https://id.example.org/",
    "https://id.example.org/ ",
    "https://id.example.org/a b",
    "https://id.example.org/a\tb",
    "https://id.example.org/\n",
    "https://id.example.org/\x7f",
    "https://id.example.org/\xc3\xa9",
    "https://\xc3\xa9.example.org/",
    "https://id.example.org\\token",
    "https://id.example.org/a\\b",
    "https://id.example.org/<a>",
    "https://id.example.org/\"",
    "https://id.example.org/^",
    "https://id.example.org/`",
    "https://id.example.org/{a}",
    "https://id.example.org/|",
    "https://id.example.org/[",
    "https://id.example.org/%",
    "https://id.example.org/%2",
    "https://id.example.org/%2g",
    "https://id.example.org/%g2",
    "https://id.example.org/?%",
    "https://id.example.org/#%4",
    "https://id.example.org/##",
    "https://id.example.org/?\"",
    "https://id%.example.org/",
    "https://user@id.example.org/token",
    "https://user:word@id.example.org/token",
    "https://id.example.org:port/",
    "https://id.example.org:65536/",
    "https://id.example.org:99999999999999999999/",
    "https://id.example.org:-1/",
    "https://id.example.org:443:443/",
    "https://[]/",
    "https://[::1/",
    "https://[::1",
    "https://[",
    "https://[::g]/",
    "https://[::1]a/",
    "https://[::1%25eth0]/",
    "ftp://id.example.org/token",
    "httpss://id.example.org/token",
    "http//id.example.org/token",
    "urn:example:token",
};

/* P3 */
START_TEST(the_same_endpoint_written_in_another_way)
{
    for (size_t i = 0; i < sizeof same / sizeof same[0]; i++)
        ck_assert_msg(equal(same[i].a, same[i].b), "%s is not %s", same[i].a, same[i].b);
}
END_TEST

/* P3 */
START_TEST(another_endpoint)
{
    for (size_t i = 0; i < sizeof different / sizeof different[0]; i++) {
        ck_assert_msg(!equal(different[i].a, different[i].b), "%s is %s", different[i].a, different[i].b);
        ck_assert_msg(equal(different[i].a, different[i].a), "%s is none", different[i].a);
        ck_assert_msg(equal(different[i].b, different[i].b), "%s is none", different[i].b);
    }
}
END_TEST

/* P3 */
START_TEST(what_is_no_absolute_http_uri_is_equal_to_nothing)
{
    for (size_t i = 0; i < sizeof none / sizeof none[0]; i++) {
        ck_assert_msg(!equal(none[i], none[i]), "%s is one", none[i]);
        ck_assert_msg(!equal(none[i], "https://id.example.org/token"), "%s is one", none[i]);
    }
    ck_assert(!otok_uri_equal(NULL, "https://id.example.org/"));
    ck_assert(!otok_uri_equal("https://id.example.org/", NULL));
    ck_assert(!otok_uri_equal(NULL, NULL));
}
END_TEST

/* P3: bounded, to the byte; and no normal form is longer than there is room for. */
START_TEST(long_uris)
{
    enum { MOST = 8192 };
    static const char *const starts[] = {"https://id.example.org/", "https://id.example.org?", "https://",
                                         "https://id/#"};
    for (size_t i = 0; i < sizeof starts / sizeof starts[0]; i++) {
        char text[MOST + 2];
        memset(text, 'a', sizeof text);
        memcpy(text, starts[i], strlen(starts[i]));
        text[MOST] = '\0';
        ck_assert(equal(text, text));
        text[MOST] = 'a';
        text[MOST + 1] = '\0';
        ck_assert(!equal(text, text));
    }
}
END_TEST

static void add_tests(TCase *tcase)
{
    tcase_add_test(tcase, the_same_endpoint_written_in_another_way);
    tcase_add_test(tcase, another_endpoint);
    tcase_add_test(tcase, what_is_no_absolute_http_uri_is_equal_to_nothing);
    tcase_add_test(tcase, long_uris);
}

int main(void)
{
    return test_main("dpop_uri", add_tests);
}
