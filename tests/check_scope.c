/*
 * check_scope.c - scopes are sets of words (RFC 6749 section 3.3): one spelling, narrowing, membership.
 *
 * SPDX-License-Identifier: MIT
 */
/* link: -Wl,--wrap=otok_malloc */
#include "support/fixture.h"

#include <stdio.h>
#include <string.h>

/* The linker brings the library's calls of otok_malloc() here. */
void *__real_otok_malloc(size_t size);
void *__wrap_otok_malloc(size_t size);

static bool no_memory;

void *__wrap_otok_malloc(size_t size)
{
    return no_memory ? NULL : __real_otok_malloc(size);
}

typedef struct answer {
    int rc;
    char text[256];
} answer;

static void take(answer *a, otok_buf *buf)
{
    ck_assert(!buf->failed);
    ck_assert_uint_lt(buf->len, sizeof a->text);
    if (buf->len > 0)
        memcpy(a->text, buf->data, buf->len);
    a->text[buf->len] = '\0';
    otok_buf_free(buf);
}

static answer normalised(const char *scope)
{
    answer a = {0};
    otok_buf buf;
    otok_buf_init(&buf, NULL, 0);
    a.rc = otok_scope_normalise(scope, &buf, NULL);
    take(&a, &buf);
    return a;
}

static answer narrowed(const char *granted, const char *asked)
{
    answer a = {0};
    otok_buf buf;
    otok_buf_init(&buf, NULL, 0);
    a.rc = otok_scope_narrow(otok_str_of(granted), asked, &buf, NULL);
    take(&a, &buf);
    return a;
}

/* I5: one spelling of a scope. */
START_TEST(words_are_written_once_each_with_one_space_between)
{
    static const char *const rows[][2] = {
        {"openid", "openid"},
        {"openid offline_access", "openid offline_access"},
        {"openid openid", "openid"},
        {"a b a c b", "a b c"},
        {"a ab abc ab a", "a ab abc"},
        {"abc ab a", "abc ab a"},
        {"OpenID openid", "OpenID openid"},
        {"!#$%&'()*+,-./:;<=>?@[]^_`{|}~ 0", "!#$%&'()*+,-./:;<=>?@[]^_`{|}~ 0"},
        {"https://api.example.org/read urn:x:y", "https://api.example.org/read urn:x:y"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        answer a = normalised(rows[i][0]);
        test_assert_code(OTOK_OK, a.rc);
        ck_assert_str_eq(a.text, rows[i][1]);
    }
}
END_TEST

/* Bad input: the alphabet of RFC 6749 section 3.3, nothing else. */
START_TEST(characters_outside_the_alphabet_are_refused)
{
    for (int c = 1; c < 256; c++) {
        char scope[] = "open?id";
        bool fine = c == ' ' || (c >= 0x21 && c <= 0x7e && c != '"' && c != '\\');
        scope[4] = (char)c;
        int rc = normalised(scope).rc;
        ck_assert_msg(rc == (fine ? OTOK_OK : OTOK_E_INVALID), "character 0x%02x: %s", (unsigned)c,
                      otok_error_name(rc));
    }
}
END_TEST

/* R3 */
START_TEST(narrowing_answers_what_is_asked_and_was_granted)
{
    static const struct {
        const char *granted, *asked;
        int rc;
        const char *answer;
    } rows[] = {
        {"a b c", NULL, OTOK_OK, "a b c"},  {"a b c", "", OTOK_OK, "a b c"},      {"a b c", "a b c", OTOK_OK, "a b c"},
        {"a b c", "b", OTOK_OK, "b"},       {"a b c", "a c", OTOK_OK, "a c"},     {"a b c", "b b", OTOK_OK, "b"},
        {"a b c", "d", OTOK_E_SCOPE, NULL}, {"a b c", "a d", OTOK_E_SCOPE, NULL}, {"a b c", "A", OTOK_E_SCOPE, NULL},
        {"abc", "ab", OTOK_E_SCOPE, NULL},  {"abc", "bc", OTOK_E_SCOPE, NULL},    {"ab", "abc", OTOK_E_SCOPE, NULL},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        answer a = narrowed(rows[i].granted, rows[i].asked);
        ck_assert_msg(a.rc == rows[i].rc, "row %zu: %s", i, otok_error_name(a.rc));
        if (rows[i].answer != NULL)
            ck_assert_str_eq(a.text, rows[i].answer);
    }
}
END_TEST

/* R3: on the wire a malformed scope is invalid_scope (RFC 6749 section 5.2). */
START_TEST(narrowing_to_a_malformed_scope_is_refused)
{
    static const char *const malformed[] = {"a\"", "a\\", "a\tb", "a\nb", "\x7f", "\xc3\xa4"};
    for (size_t i = 0; i < sizeof malformed / sizeof malformed[0]; i++) {
        int rc = narrowed("a b c", malformed[i]).rc;
        ck_assert_msg(rc == OTOK_E_SCOPE || rc == OTOK_E_INVALID, "row %zu: %s", i, otok_error_name(rc));
    }
}
END_TEST

/* I5: whole words, bytewise. */
START_TEST(scope_has_whole_words_only)
{
    otok_str scope = otok_str_of("openid offline_access profile");
    static const char *const in[] = {"openid", "offline_access", "profile"};
    static const char *const out[] = {"open",   "id", "offline", "access", "profil", "rofile", "openid offline_access",
                                      "OpenID", ""};
    for (size_t i = 0; i < sizeof in / sizeof in[0]; i++)
        ck_assert(otok_scope_has(scope, in[i]));
    for (size_t i = 0; i < sizeof out / sizeof out[0]; i++)
        ck_assert_msg(!otok_scope_has(scope, out[i]), "%s", out[i]);
    ck_assert(!otok_scope_has(otok_str_of(""), "openid"));
    ck_assert(!otok_scope_has(otok_str_of(NULL), "openid"));
}
END_TEST

/* I1: saved consent covers what is asked, or does not. */
START_TEST(scope_covers_another_when_it_has_every_word)
{
    static const struct {
        const char *granted, *asked;
        bool covers;
    } rows[] = {
        {"a b c", "c a", true}, {"a b c", " b  b ", true}, {"a", NULL, true},  {NULL, "", true},
        {"a b c", "d", false},  {"a b c", "a d", false},   {"ab", "a", false}, {NULL, "a", false},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        ck_assert_msg(otok_scope_covers(otok_str_of(rows[i].granted), otok_str_of(rows[i].asked)) == rows[i].covers,
                      "row %zu", i);
}
END_TEST

/* I1 */
START_TEST(dropped_word_leaves_the_others_with_one_space_between)
{
    static const char *const rows[][2] = {
        {"a b c", "b c"}, {"b a c", "b c"}, {"b c a", "b c"}, {"b c", "b c"},
        {"a", ""},        {"", ""},         {"a a b a", "b"}, {"aa a ab", "aa ab"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        char scope[16];
        (void)snprintf(scope, sizeof scope, "%s", rows[i][0]);
        size_t len = otok_scope_drop(scope, strlen(scope), "a");
        ck_assert_msg(len == strlen(rows[i][1]) && memcmp(scope, rows[i][1], len) == 0, "row %zu: %.*s", i, (int)len,
                      scope);
    }
}
END_TEST

/* I5: a scope is bytes with a length: what stands behind it does not count. */
START_TEST(scope_ends_with_its_length)
{
    otok_str scope = {"openid profile", 10}; /* "openid pro" */
    ck_assert(otok_scope_has(scope, "pro"));
    ck_assert(!otok_scope_has(scope, "profile"));
    otok_buf buf;
    otok_buf_init(&buf, NULL, 0);
    test_assert_code(OTOK_E_SCOPE, otok_scope_narrow(scope, "profile", &buf, NULL));
    otok_buf_free(&buf);
}
END_TEST

/* B1 R3: without memory the answer is neither a scope nor that it was not granted. */
START_TEST(scope_that_finds_no_memory_says_so)
{
    static const char *const asked[] = {NULL, "", "a", "b a"};
    otok_error err = {0};
    otok_buf buf;
    no_memory = true;
    for (size_t i = 0; i < sizeof asked / sizeof asked[0]; i++) {
        otok_buf_init(&buf, NULL, 0);
        test_assert_code(OTOK_E_NOMEM, otok_scope_narrow(otok_str_of("a b"), asked[i], &buf, &err));
        ck_assert_int_eq(err.code, OTOK_E_NOMEM);
        otok_buf_free(&buf);
    }
    otok_buf_init(&buf, NULL, 0);
    test_assert_code(OTOK_E_NOMEM, otok_scope_normalise("a b", &buf, &err));
    otok_buf_free(&buf);
    no_memory = false;
}
END_TEST

static void add_tests(TCase *tcase)
{
    tcase_add_test(tcase, words_are_written_once_each_with_one_space_between);
    tcase_add_test(tcase, characters_outside_the_alphabet_are_refused);
    tcase_add_test(tcase, narrowing_answers_what_is_asked_and_was_granted);
    tcase_add_test(tcase, narrowing_to_a_malformed_scope_is_refused);
    tcase_add_test(tcase, scope_has_whole_words_only);
    tcase_add_test(tcase, scope_covers_another_when_it_has_every_word);
    tcase_add_test(tcase, dropped_word_leaves_the_others_with_one_space_between);
    tcase_add_test(tcase, scope_ends_with_its_length);
    tcase_add_test(tcase, scope_that_finds_no_memory_says_so);
}

int main(void)
{
    return test_main("scope", add_tests);
}
