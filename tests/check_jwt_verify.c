/*
 * check_jwt_verify.c - statements of the host's, read again: whose they are, of which type, and under which keys (K1, K2, I5).
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

/* RFC 7515 section 4.1.9: no case, and "application/" may be left out, where there is no other slash. */
START_TEST(types_that_are_one)
{
    static const struct {
        const char *made, *asked;
        bool same;
    } rows[] = {
        {"logout+jwt", "logout+jwt", true},
        {"logout+jwt", "LOGOUT+Jwt", true},
        {"JWT", "jwt", true},
        {"application/logout+jwt", "logout+jwt", true},
        {"logout+jwt", "Application/Logout+JWT", true},
        {"application/JWT", "aPPLICATION/jwt", true},
        {"logout+jwt", "logout+jw", false},
        {"logout+jw", "logout+jwt", false},
        {"logout+jwt", "jwt", false},
        {"at+jwt", "JWT", false},
        {"JWT", "at+jwt", false},
        {"text/jwt", "jwt", false},
        {"text/jwt", "application/jwt", false},
        {"application", "application/jwt", false},
    };
    test_fixture *f = test_open(TEST_MEMORY);
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        char *jwt = signed_jwt(f, rows[i].made, "{}");
        ck_assert_msg((verified(f, jwt, rows[i].asked, NULL) == OTOK_OK) == rows[i].same, "%s as %s", rows[i].made,
                      rows[i].asked);
        otok_string_free(jwt);
    }
    test_end(f);
}
END_TEST

/* I5: ID tokens are read as JWT, also long after they have expired; access tokens and offline tokens are none. */
START_TEST(id_token_is_a_hint_when_it_has_expired)
{
    test_fixture *f = test_open(TEST_MEMORY);
    const otok_tokens *tokens = test_began(f);
    char *claims = NULL;
    test_advance_s(f, 365 * (int64_t)TEST_DAY_S);
    test_assert_code(OTOK_OK, verified(f, tokens->id_token, "JWT", &claims));
    cJSON *json = test_json(claims);
    test_expect_text(json, "sub", "alice");
    test_expect_text(json, "aud", "phone");
    cJSON_Delete(json);
    otok_string_free(claims);
    test_assert_code(OTOK_E_TOKEN_INVALID, verified(f, tokens->access_token, "JWT", NULL));
    test_assert_code(OTOK_OK, verified(f, tokens->access_token, "at+jwt", NULL));
    test_assert_code(OTOK_E_TOKEN_INVALID, verified(f, tokens->offline_token, "JWT", NULL));
    test_end(f);
}
END_TEST

/* K1: each character counts; and what is no JWT is none. */
START_TEST(forged_jwts_are_refused)
{
    static const char *const none[] = {
        "", ".", "..", "a.b.c", "e30.e30.", "e30.e30.AA", "eyJhbGciOiJub25lIiwidHlwIjoiSldUIn0.e30."};
    test_fixture *f = test_open(TEST_MEMORY), *other = test_open(TEST_MEMORY);
    char *jwt = signed_jwt(f, "JWT", LOGOUT), *foreign = signed_jwt(other, "JWT", LOGOUT);
    for (size_t i = 0; jwt[i] != '\0'; i++) {
        char was = jwt[i];
        jwt[i] = was == 'A' ? 'B' : 'A';
        test_assert_code(OTOK_E_TOKEN_INVALID, verified(f, jwt, "JWT", NULL));
        jwt[i] = was;
    }
    test_assert_code(OTOK_OK, verified(f, jwt, "JWT", NULL));
    for (size_t i = 0; i < sizeof none / sizeof none[0]; i++)
        test_assert_code(OTOK_E_TOKEN_INVALID, verified(f, none[i], "JWT", NULL));
    test_assert_code(OTOK_E_TOKEN_INVALID, verified(f, foreign, "JWT", NULL)); /* the same issuer, under other keys */
    char *endless = malloc(200001);
    ck_assert_ptr_nonnull(endless);
    memset(endless, 'a', 200000);
    endless[200000] = '\0';
    test_assert_code(OTOK_E_TOKEN_INVALID, verified(f, endless, "JWT", NULL));
    free(endless);
    otok_string_free(jwt);
    otok_string_free(foreign);
    test_end(f);
    test_end(other);
}
END_TEST

/* What the service's own key signed, with a header and a payload that it would not make. */
static void odd_one_is_refused(test_fixture *f, const char *header_rest, const char *payload)
{
    char header[256];
    otok_buf jwt;
    otok_buf_init(&jwt, NULL, 0);
    const otok_signing_key *key = otok_keyring_signing(f->keyring);
    (void)snprintf(header, sizeof header, "{\"kid\":\"%s\"%s}", key->kid, header_rest);
    test_assert_code(OTOK_OK, otok_jws_sign_pkey(key->pkey, otok_str_of(header), otok_str_of(payload), &jwt, NULL));
    otok_buf_add_u8(&jwt, '\0');
    ck_assert(!jwt.failed);
    ck_assert_msg(verified(f, (const char *)jwt.data, "JWT", NULL) == OTOK_E_TOKEN_INVALID, "%s %s", header, payload);
    otok_buf_free(&jwt);
}

/* K1, RFC 8725: the algorithm is the key's, an extension is not passed over, and issuer and type are texts that are there. */
START_TEST(good_signature_is_not_enough)
{
    static const char ours[] = "{\"iss\":\"" TEST_ISSUER "\"}";
    test_fixture *f = test_open(TEST_MEMORY);
    odd_one_is_refused(f, ",\"typ\":\"JWT\",\"alg\":\"RS256\"", ours);
    odd_one_is_refused(f, ",\"typ\":\"JWT\",\"alg\":\"none\"", ours);
    odd_one_is_refused(f, ",\"typ\":\"JWT\"", ours);
    odd_one_is_refused(f, ",\"typ\":\"JWT\",\"alg\":\"ES256\",\"crit\":[\"b64\"],\"b64\":false", ours);
    odd_one_is_refused(f, ",\"alg\":\"ES256\"", ours);
    odd_one_is_refused(f, ",\"typ\":7,\"alg\":\"ES256\"", ours);
    odd_one_is_refused(f, ",\"typ\":\"\",\"alg\":\"ES256\"", ours);
    odd_one_is_refused(f, ",\"typ\":\"application/\",\"alg\":\"ES256\"", ours);
    odd_one_is_refused(f, ",\"typ\":\"JWT\",\"alg\":\"ES256\"", "{}");
    odd_one_is_refused(f, ",\"typ\":\"JWT\",\"alg\":\"ES256\"", "{\"iss\":7}");
    odd_one_is_refused(f, ",\"typ\":\"JWT\",\"alg\":\"ES256\"", "{\"iss\":\"" TEST_ISSUER "/\"}");
    test_end(f);
}
END_TEST

/* ---------------------------------------------------------------------------------------------------------------- keys */

static void change_file(const char *path, int32_t step, const char *kid)
{
    otok_error err = {0};
    otok_key_change change;
    otok_key_change_init(&change, sizeof change);
    change.step = step;
    change.use = OTOK_KEY_SIGNING;
    change.algorithm = step == OTOK_KEY_STEP_ADD ? OTOK_ALG_EDDSA : 0;
    change.kid = kid;
    int rc = otok_keyring_change_file(path, NULL, &change, NULL, &err);
    ck_assert_msg(rc == OTOK_OK, "%s: %s", otok_error_name(rc), err.message);
}

/* Another process of the realm, with the keyring of the file as it is now. */
static otok_service *open_other(test_fixture *f, const char *path)
{
    otok_config config;
    otok_keyring *keyring = NULL;
    otok_service *service = NULL;
    test_assert_code(OTOK_OK, otok_keyring_load(path, NULL, &keyring, NULL));
    otok_config_init(&config, sizeof config);
    config.issuer = TEST_ISSUER;
    test_assert_code(OTOK_OK, otok_service_open(&config, f->store, keyring, &service, NULL));
    otok_keyring_free(keyring);
    return service;
}

/* K2: under a next, an active and a retired key, of a keyring that another process has changed; until it is dropped. */
START_TEST(jwts_while_signing_keys_are_rotated)
{
    test_fixture *f = test_open(TEST_MEMORY);
    char *folder = test_new_folder(), path[4200], kid[OTOK_KID_CHARS + 1];
    char *old = signed_jwt(f, "JWT", LOGOUT), *new = NULL;
    (void)snprintf(path, sizeof path, "%s/keyring.json", folder);
    (void)snprintf(kid, sizeof kid, "%s", otok_keyring_signing(f->keyring)->kid);
    test_assert_code(OTOK_OK, otok_keyring_save(f->keyring, path, NULL, NULL));
    otok_keyring_free(f->keyring);
    test_assert_code(OTOK_OK, otok_keyring_load(path, NULL, &f->keyring, NULL));
    test_reopen_service(f);

    change_file(path, OTOK_KEY_STEP_ADD, NULL);
    otok_service *adding = open_other(f, path);
    change_file(path, OTOK_KEY_STEP_ACTIVATE, NULL);
    otok_service *other = open_other(f, path);
    test_assert_code(OTOK_OK, otok_jwt_sign(other, "JWT", LOGOUT, &new, NULL));
    char *claims = NULL;
    test_assert_code(OTOK_OK, otok_jwt_verify(adding, new, "JWT", &claims, NULL)); /* next there */
    otok_string_free(claims);
    test_assert_code(OTOK_OK, otok_jwt_verify(other, old, "JWT", &claims, NULL)); /* retired there */
    otok_string_free(claims);
    test_assert_code(OTOK_OK, verified(f, new, "JWT", NULL)); /* not known here: the file is read again */
    test_assert_code(OTOK_OK, verified(f, old, "JWT", NULL));

    change_file(path, OTOK_KEY_STEP_DROP, kid);
    test_assert_code(OTOK_OK, otok_service_reload_keyring(f->service, NULL));
    test_assert_code(OTOK_E_TOKEN_INVALID, verified(f, old, "JWT", NULL));
    test_assert_code(OTOK_OK, verified(f, new, "JWT", NULL));
    otok_service_close(adding);
    otok_service_close(other);
    otok_string_free(old);
    otok_string_free(new);
    test_remove_folder(folder);
    test_end(f);
}
END_TEST

/* K2: a key that is not known beside a file that cannot be read is trouble of ours, and not a JWT that is refused. */
START_TEST(unreadable_keyring_is_not_a_bad_jwt)
{
    test_fixture *f = test_open(TEST_MEMORY), *other = test_open(TEST_MEMORY);
    char *folder = test_new_folder(), path[4200];
    char *own = signed_jwt(f, "JWT", LOGOUT), *foreign = signed_jwt(other, "JWT", LOGOUT);
    (void)snprintf(path, sizeof path, "%s/keyring.json", folder);
    test_assert_code(OTOK_OK, otok_keyring_save(f->keyring, path, NULL, NULL));
    otok_keyring_free(f->keyring);
    test_assert_code(OTOK_OK, otok_keyring_load(path, NULL, &f->keyring, NULL));
    test_reopen_service(f);
    ck_assert_int_eq(remove(path), 0);
    test_assert_code(OTOK_E_IO, verified(f, foreign, "JWT", NULL));
    test_assert_code(OTOK_E_TOKEN_INVALID, verified(f, foreign, "logout+jwt", NULL)); /* nobody looks for its key */
    test_assert_code(OTOK_OK, verified(f, own, "JWT", NULL));
    otok_string_free(own);
    otok_string_free(foreign);
    test_remove_folder(folder);
    test_end(f);
    test_end(other);
}
END_TEST

static void add_tests(TCase *tcase)
{
    tcase_add_test(tcase, types_that_are_one);
    tcase_add_test(tcase, id_token_is_a_hint_when_it_has_expired);
    tcase_add_test(tcase, forged_jwts_are_refused);
    tcase_add_test(tcase, good_signature_is_not_enough);
    tcase_add_test(tcase, jwts_while_signing_keys_are_rotated);
    tcase_add_test(tcase, unreadable_keyring_is_not_a_bad_jwt);
}

int main(void)
{
    return test_main("jwt_verify", add_tests);
}
