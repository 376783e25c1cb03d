/*
 * check_jwt.c - statements of the host's, signed with the service's keys (K1, K5).  Those that are read: check_jwt_verify.c; JWS
 * itself: check_jws.c.
 *
 * SPDX-License-Identifier: MIT
 */
#include "support/story.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "support/claims.h"

static const char LOGOUT[] =
    "{\"aud\":\"phone\",\"events\":{\"http://schemas.openid.net/event/backchannel-logout\":{}}}";

static char *signed_jwt(test_fixture *f, const char *typ, const char *claims)
{
    char *jwt = NULL;
    otok_error err = {0};
    int rc = otok_jwt_sign(f->service, typ, claims, &jwt, &err);
    ck_assert_msg(rc == OTOK_OK && jwt != NULL, "%s: %s", otok_error_name(rc), err.message);
    return jwt;
}

/* Its code; the claims, where it is OTOK_OK, and NULL where it is not. */
static int verified(test_fixture *f, const char *jwt, const char *typ, char **out)
{
    char *claims = (char *)f;
    otok_error err = {0};
    int rc = otok_jwt_verify(f->service, jwt, typ, &claims, &err);
    ck_assert_int_eq(rc == OTOK_OK, claims != NULL);
    ck_assert(jwt == NULL || strlen(jwt) < 8 || strstr(err.message, jwt) == NULL);
    if (out != NULL)
        *out = claims;
    else
        otok_string_free(claims);
    return rc;
}

static void refuses(test_fixture *f, const char *typ, const char *claims, const char *word)
{
    char *jwt = (char *)f;
    otok_error err = {0};
    test_assert_code(OTOK_E_INVALID, otok_jwt_sign(f->service, typ, claims, &jwt, &err));
    ck_assert_ptr_null(jwt);
    ck_assert_msg(strstr(err.message, word) != NULL, "%s: %s", word, err.message);
}

/* ------------------------------------------------------------------------------------------------------------- signing */

/* K1: what was signed is what is read, whichever the algorithm; header and issuer are the library's. */
START_TEST(claims_come_back_as_they_were_written)
{
    static const int32_t algorithms[] = {OTOK_ALG_ES256, OTOK_ALG_EDDSA, OTOK_ALG_RS256, OTOK_ALG_PS256};
    test_fixture *f = test_open(TEST_MEMORY);
    otok_keyring_free(f->keyring);
    test_assert_code(OTOK_OK, otok_keyring_generate(algorithms[_i], &f->keyring, NULL));
    test_reopen_service(f);
    char *jwt = signed_jwt(f, "logout+jwt", "  { \"n\" : 12345678901234567890.10, \"q\":\"\\u00e9\\\"\" } ");
    char *claims = NULL;
    test_assert_code(OTOK_OK, verified(f, jwt, "logout+jwt", &claims));
    ck_assert_str_eq(claims, "{\"iss\":\"" TEST_ISSUER "\",\"n\" : 12345678901234567890.10, \"q\":\"\\u00e9\\\"\" }");
    cJSON *header = test_jwt_header(f, jwt);
    test_expect_text(header, "typ", "logout+jwt");
    test_expect_text(header, "alg", otok_algorithm_name(algorithms[_i]));
    test_expect_text(header, "kid", otok_keyring_signing(f->keyring)->kid);
    ck_assert_int_eq(cJSON_GetArraySize(header), 3);
    cJSON_Delete(header);
    otok_string_free(claims);
    otok_string_free(jwt);
    test_end(f);
}
END_TEST

/* An object without members, and what is white in it. */
START_TEST(no_claims_are_claims)
{
    static const char *const empty[] = {"{}", "{ }", " {\r\n\t} \n"};
    test_fixture *f = test_open(TEST_MEMORY);
    for (size_t i = 0; i < sizeof empty / sizeof empty[0]; i++) {
        char *claims = NULL, *jwt = signed_jwt(f, "JWT", empty[i]);
        test_assert_code(OTOK_OK, verified(f, jwt, "JWT", &claims));
        cJSON *json = test_json(claims);
        ck_assert_int_eq(cJSON_GetArraySize(json), 1);
        test_expect_text(json, "iss", TEST_ISSUER);
        cJSON_Delete(json);
        otok_string_free(claims);
        otok_string_free(jwt);
    }
    test_end(f);
}
END_TEST

/* K1: an issuer that has to be escaped is the issuer all the same. */
START_TEST(issuer_is_escaped)
{
    otok_config config;
    test_fixture *f = test_open(TEST_MEMORY);
    otok_service *service = NULL;
    char *jwt = NULL, *claims = NULL;
    otok_config_init(&config, sizeof config);
    config.issuer = "https://id.example/\"\\,\"sub\":\"root";
    test_assert_code(OTOK_OK, otok_service_open(&config, f->store, f->keyring, &service, NULL));
    test_assert_code(OTOK_OK, otok_jwt_sign(service, "JWT", LOGOUT, &jwt, NULL));
    test_assert_code(OTOK_OK, otok_jwt_verify(service, jwt, "JWT", &claims, NULL));
    cJSON *json = test_json(claims);
    test_expect_text(json, "iss", config.issuer);
    test_expect_absent(json, "sub");
    cJSON_Delete(json);
    test_assert_code(OTOK_E_TOKEN_INVALID, verified(f, jwt, "JWT", NULL)); /* another service's, under the same keys */
    otok_string_free(claims);
    otok_string_free(jwt);
    otok_service_close(service);
    test_end(f);
}
END_TEST

/* Bad input: what is no object, what is none of the host's to say, what is said twice. */
START_TEST(claims_that_are_refused)
{
    static const char *const rows[][2] = {
        {"", "claims"},
        {"null", "object"},
        {"[]", "object"},
        {"\"iss\"", "object"},
        {"{", "claims"},
        {"{}{}", "claims"},
        {"{\"a\":1,\"a\":2}", "claims"},
        {"{\"a\":\"\\u0000\"}", "claims"},
        {"{\"a\":\"\xff\"}", "claims"},
        {"{\"a\":NaN}", "claims"},
        {"{\"iss\":\"" TEST_ISSUER "\"}", "iss"},
        {"{\"iss\":null}", "iss"},
        {"{\"a\":1,\"\\u0069s\\u0073\":\"x\"}", "iss"},
    };
    test_fixture *f = test_open(TEST_MEMORY);
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        refuses(f, "JWT", rows[i][0], rows[i][1]);
    char *jwt = signed_jwt(f, "JWT", "{\"ISS\":1,\"a\":{\"iss\":2}}"); /* other names, and another's */
    otok_string_free(jwt);
    test_end(f);
}
END_TEST

/* Bad input: types as they may be, and as they may not. */
START_TEST(types_that_are_refused)
{
    static const char longest[] = "application/aaaaaaaaaabbbbbbbbbbccccccccccddddddddddeeeeeeee+jwt";
    static const char *const bad[] = {NULL,  "",    "/",     "a/",    "/a",          "a/b/c", "a b",
                                      "a,b", "a\n", "\"a\"", "a;q=1", "caf\xc3\xa9", "a\\b"};
    static const char *const good[] = {"JWT", "a", "at+jwt", "application/logout+jwt", "x-y.z_0!#$&^", longest};
    char too_long[sizeof longest + 1];
    test_fixture *f = test_open(TEST_MEMORY);
    ck_assert_uint_eq(strlen(longest), 64);
    (void)snprintf(too_long, sizeof too_long, "%sx", longest);
    refuses(f, too_long, "{}", "typ");
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        refuses(f, bad[i], "{}", "typ");
        test_assert_code(OTOK_E_INVALID, verified(f, "a.b.c", bad[i], NULL));
    }
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
        char *jwt = signed_jwt(f, good[i], "{}");
        test_assert_code(OTOK_OK, verified(f, jwt, good[i], NULL));
        otok_string_free(jwt);
    }
    test_end(f);
}
END_TEST

/* {"a":"xxx"} of that length. */
static char *claims_of_length(size_t len)
{
    char *text = malloc(len + 1);
    ck_assert_ptr_nonnull(text);
    memset(text, 'x', len);
    memcpy(text, "{\"a\":\"", 6);
    memcpy(text + len - 2, "\"}", 3);
    return text;
}

/* What is signed can be read again: 64 KiB with the issuer, and not a byte more. */
START_TEST(largest_claims)
{
    test_fixture *f = test_open(TEST_MEMORY);
    size_t most = 65536 - strlen("\"iss\":\"" TEST_ISSUER "\",");
    char *largest = claims_of_length(most), *too_large = claims_of_length(most + 1), *huge = claims_of_length(65537);
    char *jwt = signed_jwt(f, "JWT", largest), *claims = NULL;
    test_assert_code(OTOK_OK, verified(f, jwt, "JWT", &claims));
    ck_assert_uint_eq(strlen(claims), 65536);
    refuses(f, "JWT", too_large, "65537 bytes together");
    refuses(f, "JWT", huge, "longer than 65536");
    otok_string_free(claims);
    otok_string_free(jwt);
    free(largest);
    free(too_large);
    free(huge);
    test_end(f);
}
END_TEST

START_TEST(arguments_that_are_missing)
{
    test_fixture *f = test_open(TEST_MEMORY);
    char *text = (char *)f;
    test_assert_code(OTOK_E_INVALID, otok_jwt_sign(NULL, "JWT", "{}", &text, NULL));
    ck_assert_ptr_null(text);
    refuses(f, "JWT", NULL, "claims");
    test_assert_code(OTOK_E_INVALID, otok_jwt_sign(f->service, "JWT", "{}", NULL, NULL));
    text = (char *)f;
    test_assert_code(OTOK_E_INVALID, otok_jwt_verify(NULL, "a.b.c", "JWT", &text, NULL));
    ck_assert_ptr_null(text);
    test_assert_code(OTOK_E_INVALID, verified(f, NULL, "JWT", NULL));
    test_assert_code(OTOK_E_INVALID, otok_jwt_verify(f->service, "a.b.c", "JWT", NULL, NULL));
    test_end(f);
}
END_TEST

/* The private half of the external key below, as an HSM would have it. */
static struct {
    otok_pkey *key;
    unsigned asked;
    bool fails;
} elsewhere;

static int sign_elsewhere(void *user, const otok_sign_request *request, uint8_t *signature, size_t *len)
{
    (void)user;
    elsewhere.asked++;
    ck_assert_int_eq(request->algorithm, OTOK_ALG_ES256);
    return elsewhere.fails ||
           otok_sign(elsewhere.key, request->data, request->data_len, signature, len, NULL) != OTOK_OK;
}

static void serve_with_external_key(test_fixture *f)
{
    otok_key_change change;
    otok_keyring *added = NULL, *active = NULL;
    otok_buf jwk;
    test_assert_code(OTOK_OK, otok_pkey_generate(OTOK_ALG_ES256, &elsewhere.key, NULL));
    otok_buf_init(&jwk, NULL, 0);
    otok_json_begin(&jwk);
    otok_json_add_text(&jwk, "alg", "ES256");
    test_assert_code(OTOK_OK, otok_jwk_add_pkey(&jwk, elsewhere.key, false, NULL));
    otok_json_end(&jwk);
    otok_buf_add_u8(&jwk, '\0');
    otok_key_change_init(&change, sizeof change);
    change.step = OTOK_KEY_STEP_ADD;
    change.use = OTOK_KEY_SIGNING;
    change.jwk = (const char *)jwk.data;
    test_assert_code(OTOK_OK, otok_keyring_change(f->keyring, &change, &added, NULL));
    change.step = OTOK_KEY_STEP_ACTIVATE;
    change.jwk = NULL;
    test_assert_code(OTOK_OK, otok_keyring_change(added, &change, &active, NULL));
    otok_buf_free(&jwk);
    otok_keyring_free(added);
    otok_keyring_free(f->keyring);
    f->keyring = active;
    f->callbacks.sign = sign_elsewhere;
    test_reopen_service(f);
}

/* K5: a key whose private half is elsewhere signs them too; verifying needs the public half only. */
START_TEST(external_key_signs_jwts)
{
    char *jwt = NULL;
    otok_error err = {0};
    test_fixture *f = test_open(TEST_MEMORY);
    serve_with_external_key(f);
    jwt = signed_jwt(f, "logout+jwt", LOGOUT);
    test_assert_code(OTOK_OK, verified(f, jwt, "logout+jwt", NULL));
    ck_assert_uint_eq(elsewhere.asked, 1);
    otok_string_free(jwt);
    elsewhere.fails = true;
    test_assert_code(OTOK_E_CALLBACK, otok_jwt_sign(f->service, "logout+jwt", LOGOUT, &jwt, &err));
    ck_assert_ptr_null(jwt);
    ck_assert_uint_eq(elsewhere.asked, 2);
    refuses(f, "logout+jwt", "{\"iss\":1}", "iss"); /* nobody is asked for what is not signed */
    ck_assert_uint_eq(elsewhere.asked, 2);
    otok_pkey_free(elsewhere.key);
    test_end(f);
}
END_TEST

static void add_tests(TCase *tcase)
{
    tcase_add_loop_test(tcase, claims_come_back_as_they_were_written, 0, 4);
    tcase_add_test(tcase, no_claims_are_claims);
    tcase_add_test(tcase, issuer_is_escaped);
    tcase_add_test(tcase, claims_that_are_refused);
    tcase_add_test(tcase, types_that_are_refused);
    tcase_add_test(tcase, largest_claims);
    tcase_add_test(tcase, arguments_that_are_missing);
    tcase_add_test(tcase, external_key_signs_jwts);
}

int main(void)
{
    return test_main("jwt", add_tests);
}
