/* link: -Wl,--wrap=otok_mac,--wrap=otok_sha256 */
/*
 * check_token.c - the offline token and the session id: one spelling, nothing that was not sealed, no store access for
 * a forgery.
 *
 * SPDX-License-Identifier: MIT
 */
#include "support/story.h"

#include <stdio.h>
#include <string.h>

#include "support/watch.h"

/* A test says whether libcrypto fails from now on. */
static bool crypto_fails;

int __real_otok_mac(const otok_mac_key *key, const otok_str *parts, size_t n, uint8_t *out, otok_error *err);
int __wrap_otok_mac(const otok_mac_key *key, const otok_str *parts, size_t n, uint8_t *out, otok_error *err);
int __real_otok_sha256(const otok_str *parts, size_t n, uint8_t *out, otok_error *err);
int __wrap_otok_sha256(const otok_str *parts, size_t n, uint8_t *out, otok_error *err);

int __wrap_otok_mac(const otok_mac_key *key, const otok_str *parts, size_t n, uint8_t *out, otok_error *err)
{
    return crypto_fails ? otok_fail(err, OTOK_E_CRYPTO, "no MAC today") : __real_otok_mac(key, parts, n, out, err);
}

int __wrap_otok_sha256(const otok_str *parts, size_t n, uint8_t *out, otok_error *err)
{
    return crypto_fails ? otok_fail(err, OTOK_E_CRYPTO, "no digest today") : __real_otok_sha256(parts, n, out, err);
}

static otok_token sample(void)
{
    otok_token token = {7, 0x01020304, UINT64_C(1800000000123), {0}};
    for (uint8_t i = 0; i < OTOK_HANDLE_SIZE; i++)
        token.handle[i] = (uint8_t)(0xf0 ^ i);
    return token;
}

/* R1: what is printed is read back, at the ends of every field too. */
START_TEST(token_survives_print_and_parse)
{
    static const struct {
        uint8_t key_id;
        uint32_t generation;
        uint64_t issued_ms;
    } rows[] = {
        {1, 0, 0},
        {255, UINT32_MAX, (UINT64_C(1) << 48) - 1},
        {128, 0x80000000, UINT64_C(1) << 47},
        {7, 1, UINT64_C(1800000000000)},
    };
    otok_mac_key *key = test_mac_key(1);
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        char text[OTOK_TOKEN_CHARS + 1];
        otok_presented back;
        otok_token token = sample();
        token.key_id = rows[i].key_id;
        token.generation = rows[i].generation;
        token.issued_ms = rows[i].issued_ms;
        test_assert_code(OTOK_OK, otok_token_print(&token, key, text, NULL));
        ck_assert_uint_eq(strlen(text), 85);
        ck_assert_int_eq(strncmp(text, "otok_", 5), 0);
        ck_assert(otok_token_parse(text, &back));
        ck_assert_uint_eq(back.token.key_id, token.key_id);
        ck_assert_uint_eq(back.token.generation, token.generation);
        ck_assert_uint_eq(back.token.issued_ms, token.issued_ms);
        ck_assert_mem_eq(back.token.handle, token.handle, OTOK_HANDLE_SIZE);
        test_assert_code(OTOK_OK, otok_token_verify(&back, key, NULL));
    }
    otok_mac_key_free(key);
}
END_TEST

/* T2: the successor is a function of handle and generation: printed twice, it is the same. */
START_TEST(token_is_a_function_of_its_fields_and_key)
{
    char one[OTOK_TOKEN_CHARS + 1], two[OTOK_TOKEN_CHARS + 1], other[OTOK_TOKEN_CHARS + 1];
    otok_mac_key *key = test_mac_key(1), *another = test_mac_key(2);
    otok_token token = sample();
    test_assert_code(OTOK_OK, otok_token_print(&token, key, one, NULL));
    test_assert_code(OTOK_OK, otok_token_print(&token, key, two, NULL));
    test_assert_code(OTOK_OK, otok_token_print(&token, another, other, NULL));
    ck_assert_str_eq(one, two);
    ck_assert_str_ne(one, other);
    token.generation++;
    test_assert_code(OTOK_OK, otok_token_print(&token, key, two, NULL));
    ck_assert_str_ne(one, two);
    otok_mac_key_free(key);
    otok_mac_key_free(another);
}
END_TEST

/* K6 */
START_TEST(token_under_another_key_does_not_verify)
{
    char text[OTOK_TOKEN_CHARS + 1];
    otok_presented back;
    otok_mac_key *key = test_mac_key(1), *another = test_mac_key(2);
    otok_token token = sample();
    test_assert_code(OTOK_OK, otok_token_print(&token, key, text, NULL));
    ck_assert(otok_token_parse(text, &back));
    test_assert_code(OTOK_E_TOKEN_INVALID, otok_token_verify(&back, another, NULL));
    otok_mac_key_free(key);
    otok_mac_key_free(another);
}
END_TEST

/* The forms of a good token that are none: a row changes `text`, which has room for some more. */
static void one_shorter(char *text)
{
    text[84] = '\0';
}

static void empty(char *text)
{
    text[0] = '\0';
}

static void prefix_only(char *text)
{
    text[5] = '\0';
}

static void one_longer(char *text)
{
    (void)strcat(text, "A");
}

static void four_longer(char *text)
{
    (void)strcat(text, "AAAA");
}

static void padded(char *text)
{
    (void)strcat(text, "=");
}

static void pad_inside(char *text)
{
    text[84] = '=';
}

static void newline_behind(char *text)
{
    (void)strcat(text, "\n");
}

static void space_behind(char *text)
{
    (void)strcat(text, " ");
}

static void space_inside(char *text)
{
    text[40] = ' ';
}

static void space_before(char *text)
{
    memmove(text + 1, text, 86);
    text[0] = ' ';
}

static void standard_plus(char *text)
{
    text[50] = '+';
}

static void standard_slash(char *text)
{
    text[50] = '/';
}

static void upper_prefix(char *text)
{
    text[0] = 'O';
}

static void without_prefix(char *text)
{
    memmove(text, text + 5, 81);
}

static void (*const deform[])(char *) = {
    one_shorter,  empty,         prefix_only,    one_longer,   four_longer,
    padded,       pad_inside,    newline_behind, space_behind, space_inside,
    space_before, standard_plus, standard_slash, upper_prefix, without_prefix,
};
enum { NDEFORM = sizeof deform / sizeof deform[0] };

/* R1, bad input */
START_TEST(anything_but_the_exact_form_is_refused)
{
    char good[OTOK_TOKEN_CHARS + 1], text[200];
    otok_presented back;
    otok_mac_key *key = test_mac_key(1);
    otok_token token = sample();
    test_assert_code(OTOK_OK, otok_token_print(&token, key, good, NULL));
    for (size_t i = 0; i < NDEFORM; i++) {
        (void)snprintf(text, sizeof text, "%s", good);
        deform[i](text);
        ck_assert_msg(!otok_token_parse(text, &back), "deformation %zu is parsed", i);
    }
    otok_mac_key_free(key);
}
END_TEST

/* R1: a token is text, and of this format. */
START_TEST(no_text_and_another_format_are_refused)
{
    char text[OTOK_TOKEN_CHARS + 1];
    uint8_t bytes[60];
    size_t len = sizeof bytes;
    otok_presented back;
    otok_mac_key *key = test_mac_key(1);
    otok_token token = sample();
    ck_assert(!otok_token_parse(NULL, &back));
    test_assert_code(OTOK_OK, otok_token_print(&token, key, text, NULL));
    ck_assert(otok_unbase64url(text + 5, 80, bytes, &len));
    bytes[0] = 2;
    otok_base64url(bytes, sizeof bytes, text + 5);
    ck_assert(!otok_token_parse(text, &back));
    otok_mac_key_free(key);
}
END_TEST

/* Bad days: when libcrypto fails there is no token, no id, and no token is taken for good, nor for forged. */
START_TEST(failing_crypto_is_told)
{
    char text[OTOK_TOKEN_CHARS + 1], none[OTOK_TOKEN_CHARS + 1] = "";
    otok_presented back;
    otok_id id;
    otok_mac_key *key = test_mac_key(1);
    otok_token token = sample();
    test_assert_code(OTOK_OK, otok_token_print(&token, key, text, NULL));
    ck_assert(otok_token_parse(text, &back));
    crypto_fails = true;
    test_assert_code(OTOK_E_CRYPTO, otok_token_print(&token, key, none, NULL));
    ck_assert_str_eq(none, "");
    test_assert_code(OTOK_E_CRYPTO, otok_token_verify(&back, key, NULL));
    test_assert_code(OTOK_E_CRYPTO, otok_token_session_id(&token, otok_str_of("realm"), &id, NULL));
    crypto_fails = false;
    test_assert_code(OTOK_OK, otok_token_verify(&back, key, NULL));
    otok_mac_key_free(key);
}
END_TEST

/* Refused as invalid, with no store access, no event, and for whatever client. */
static void expect_forgery(test_fixture *f, test_watch *watch, const char *text, const char *what, size_t which)
{
    otok_error err = {0};
    otok_tokens *tokens = NULL;
    otok_refresh_request request = test_refresh_request(text, NULL);
    test_watch_reset(watch);
    int rc = otok_refresh(f->service, &request, &tokens, &err);
    ck_assert_msg(rc == OTOK_E_TOKEN_INVALID, "%s %zu: %s", what, which, otok_error_name(rc));
    ck_assert_ptr_null(tokens);
    ck_assert_msg(watch->calls == 0, "%s %zu: the store was asked", what, which);
    ck_assert_msg(f->nevents == 0, "%s %zu: an event", what, which);
}

static void watched(test_fixture **f, test_watch *watch, const otok_tokens **tokens)
{
    *f = test_open(TEST_MEMORY);
    test_watch_fixture(watch, *f);
    *tokens = test_began(*f);
    test_forget_events(*f);
}

/* R1, bad input: each of the 85 characters, each of its bits. */
START_TEST(every_flipped_bit_is_refused_without_store_access)
{
    test_fixture *f;
    test_watch watch;
    const otok_tokens *tokens;
    watched(&f, &watch, &tokens);
    for (size_t i = 0; i < OTOK_TOKEN_CHARS * 8; i++) {
        char text[OTOK_TOKEN_CHARS + 1];
        (void)snprintf(text, sizeof text, "%s", tokens->offline_token);
        text[i / 8] = (char)(text[i / 8] ^ (1 << i % 8));
        expect_forgery(f, &watch, text, "bit", i);
    }
    ck_assert_uint_eq(test_next(f, tokens->offline_token)->generation, tokens->generation);
    test_end(f);
}
END_TEST

/* R1, bad input: each of the 480 bits that are encoded, so that the text is always of the right form. */
START_TEST(every_flipped_encoded_bit_is_refused_without_store_access)
{
    test_fixture *f;
    test_watch watch;
    const otok_tokens *tokens;
    watched(&f, &watch, &tokens);
    for (size_t i = 0; i < 60 * 8; i++) {
        char text[OTOK_TOKEN_CHARS + 1];
        uint8_t bytes[60];
        size_t len = sizeof bytes;
        (void)snprintf(text, sizeof text, "%s", tokens->offline_token);
        ck_assert(otok_unbase64url(text + 5, 80, bytes, &len));
        bytes[i / 8] = (uint8_t)(bytes[i / 8] ^ (1 << i % 8));
        otok_base64url(bytes, sizeof bytes, text + 5);
        expect_forgery(f, &watch, text, "bit", i);
    }
    test_end(f);
}
END_TEST

/* R1, bad input */
START_TEST(deformed_token_is_refused_without_store_access)
{
    test_fixture *f;
    test_watch watch;
    const otok_tokens *tokens;
    watched(&f, &watch, &tokens);
    for (size_t i = 0; i < NDEFORM; i++) {
        char text[200];
        (void)snprintf(text, sizeof text, "%s", tokens->offline_token);
        deform[i](text);
        if (text[0] != '\0') /* an empty one is an argument that is missing */
            expect_forgery(f, &watch, text, "deformation", i);
    }
    test_end(f);
}
END_TEST

/* R1: a JWT, a UUID, a megabyte. */
START_TEST(foreign_token_is_refused_without_store_access)
{
    test_fixture *f;
    test_watch watch;
    const otok_tokens *tokens;
    static char megabyte[1 << 20];
    watched(&f, &watch, &tokens);
    memset(megabyte, 'A', sizeof megabyte - 1);
    expect_forgery(f, &watch, tokens->access_token, "foreign", 0);
    expect_forgery(f, &watch, "6f1c1f1e-7a1b-4a8e-9d5b-1d5f0f7b7c11", "foreign", 1);
    expect_forgery(f, &watch, megabyte, "foreign", 2);
    expect_forgery(f, &watch, tokens->session_id, "foreign", 3);
    test_end(f);
}
END_TEST

/* K6: each realm has its own subkey. */
START_TEST(token_of_another_realm_is_refused_without_store_access)
{
    test_fixture *f;
    test_watch watch;
    const otok_tokens *tokens;
    watched(&f, &watch, &tokens);
    f->realm = "another realm";
    test_reopen_service(f);
    expect_forgery(f, &watch, tokens->offline_token, "realm", 0);
    f->realm = NULL;
    test_reopen_service(f);
    (void)test_next(f, tokens->offline_token);
    test_end(f);
}
END_TEST

/* K6: nor does another keyring know it. */
START_TEST(token_of_another_keyring_is_refused_without_store_access)
{
    test_fixture *f;
    test_watch watch;
    const otok_tokens *tokens;
    otok_keyring *own;
    watched(&f, &watch, &tokens);
    own = f->keyring;
    test_assert_code(OTOK_OK, otok_keyring_generate(OTOK_ALG_ES256, &f->keyring, NULL));
    test_reopen_service(f);
    expect_forgery(f, &watch, tokens->offline_token, "keyring", 0);
    otok_keyring_free(own);
    test_end(f);
}
END_TEST

/* I5: the session id is a function of realm, time and handle, and of nothing else. */
START_TEST(session_id_depends_on_realm_time_and_handle)
{
    otok_id id, same, other;
    otok_token token = sample(), next = token;
    otok_str realm = otok_str_of("realm");
    test_assert_code(OTOK_OK, otok_token_session_id(&token, realm, &id, NULL));
    next.generation++;
    next.key_id++;
    test_assert_code(OTOK_OK, otok_token_session_id(&next, realm, &same, NULL));
    ck_assert_mem_eq(id.bytes, same.bytes, 16);
    ck_assert_uint_eq(otok_get_u48(id.bytes), token.issued_ms);
    test_assert_code(OTOK_OK, otok_token_session_id(&token, otok_str_of("realn"), &other, NULL));
    ck_assert_mem_ne(id.bytes, other.bytes, 16);
    next = token;
    next.handle[15] ^= 1;
    test_assert_code(OTOK_OK, otok_token_session_id(&next, realm, &other, NULL));
    ck_assert_mem_ne(id.bytes, other.bytes, 16);
    next = token;
    next.issued_ms++;
    test_assert_code(OTOK_OK, otok_token_session_id(&next, realm, &other, NULL));
    ck_assert_mem_ne(id.bytes + 6, other.bytes + 6, 10);
}
END_TEST

/* I5, bad input: 22 characters hold 132 bits, four more than an id has: they must be 0. */
START_TEST(session_id_has_one_spelling)
{
    static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    static const char *const bad[] = {"",
                                      "A",
                                      "AAAAAAAAAAAAAAAAAAAAA",
                                      "AAAAAAAAAAAAAAAAAAAAAAA",
                                      "AAAAAAAAAAAAAAAAAAAAAA==",
                                      "AAAAAAAAAA AAAAAAAAAAA",
                                      "AAAAAAAAAAAAAAAAAAAAA=",
                                      "AAAAAAAAAA+AAAAAAAAAAA"};
    char text[OTOK_SESSION_ID_CHARS + 1];
    otok_id id, back;
    memset(id.bytes, 0xa7, sizeof id.bytes);
    otok_session_id_print(&id, text);
    ck_assert_uint_eq(strlen(text), 22);
    ck_assert(otok_session_id_parse(text, &back));
    ck_assert_mem_eq(id.bytes, back.bytes, 16);
    size_t accepted = 0;
    for (size_t i = 0; i < 64; i++) {
        text[21] = alphabet[i];
        accepted += otok_session_id_parse(text, &back);
    }
    ck_assert_uint_eq(accepted, 4);
    ck_assert(!otok_session_id_parse(NULL, &back));
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        ck_assert_msg(!otok_session_id_parse(bad[i], &back), "'%s' is parsed", bad[i]);
}
END_TEST

static void add_tests(TCase *tcase)
{
    tcase_add_test(tcase, token_survives_print_and_parse);
    tcase_add_test(tcase, token_is_a_function_of_its_fields_and_key);
    tcase_add_test(tcase, token_under_another_key_does_not_verify);
    tcase_add_test(tcase, anything_but_the_exact_form_is_refused);
    tcase_add_test(tcase, no_text_and_another_format_are_refused);
    tcase_add_test(tcase, failing_crypto_is_told);
    tcase_add_test(tcase, every_flipped_bit_is_refused_without_store_access);
    tcase_add_test(tcase, every_flipped_encoded_bit_is_refused_without_store_access);
    tcase_add_test(tcase, deformed_token_is_refused_without_store_access);
    tcase_add_test(tcase, foreign_token_is_refused_without_store_access);
    tcase_add_test(tcase, token_of_another_realm_is_refused_without_store_access);
    tcase_add_test(tcase, token_of_another_keyring_is_refused_without_store_access);
    tcase_add_test(tcase, session_id_depends_on_realm_time_and_handle);
    tcase_add_test(tcase, session_id_has_one_spelling);
}

int main(void)
{
    return test_main("token", add_tests);
}
