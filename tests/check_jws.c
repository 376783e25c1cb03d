/* link: -Wl,--wrap=otok_malloc,--wrap=otok_calloc */
/*
 * check_jws.c - JWS compact serialisation: signed and verified, and every way to talk a verifier round (K1, RFC 8725).
 *
 * SPDX-License-Identifier: MIT
 */
#include "keys/keys.h"
#include "support/fixture.h"
#include "support/vectors.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define OK(call)                                                                                                       \
    do {                                                                                                               \
        otok_error err = {0};                                                                                          \
        int rc_ = (call);                                                                                              \
        ck_assert_msg(rc_ == OTOK_OK, "%s: %s %s", #call, otok_error_name(rc_), err.message);                          \
    } while (0)

static long fail_at = -1; /* allocations until one fails; -1: none does */

void *__real_otok_malloc(size_t size);
void *__real_otok_calloc(size_t count, size_t size);
void *__wrap_otok_malloc(size_t size);
void *__wrap_otok_calloc(size_t count, size_t size);

static bool is_short(void)
{
    return fail_at >= 0 && fail_at-- == 0;
}

void *__wrap_otok_malloc(size_t size)
{
    return is_short() ? NULL : __real_otok_malloc(size);
}

void *__wrap_otok_calloc(size_t count, size_t size)
{
    return is_short() ? NULL : __real_otok_calloc(count, size);
}

static const int32_t algorithms[] = {OTOK_ALG_ES256, OTOK_ALG_EDDSA, OTOK_ALG_RS256, OTOK_ALG_PS256};
enum { ALGORITHMS = 4 };

static otok_pkey *key_of(const char *jwk)
{
    otok_json *json;
    otok_pkey *key;
    OK(otok_json_parse(jwk, strlen(jwk), "jwk", &json, &err));
    OK(otok_jwk_read_pkey(json, false, &key, &err));
    otok_json_free(json);
    return key;
}

/* Parses and verifies, as one does; the first code that is not OTOK_OK. */
static int check_bytes(const char *text, size_t len, const otok_pkey *key)
{
    char *copy = malloc(len != 0 ? len : 1); /* ends where the text does */
    otok_jws *jwt = NULL;
    memcpy(copy, text, len);
    int rc = otok_jws_parse(copy, len, &jwt, NULL);
    ck_assert((rc == OTOK_OK) == (jwt != NULL));
    if (rc == OTOK_OK)
        rc = otok_jws_verify(jwt, copy, key, NULL);
    otok_jws_free(jwt);
    free(copy);
    return rc;
}

static int check(const char *text, const otok_pkey *key)
{
    return check_bytes(text, strlen(text), key);
}

/* A JWT of any header and payload, NUL-terminated; freed with otok_buf_free(). */
static otok_buf sign(const otok_pkey *key, const char *header, const char *payload)
{
    otok_buf jwt;
    otok_buf_init(&jwt, NULL, 0);
    OK(otok_jws_sign_pkey(key, otok_str_of(header), otok_str_of(payload), &jwt, &err));
    otok_buf_add_u8(&jwt, 0);
    jwt.len--;
    return jwt;
}

static otok_pkey *generate(int32_t algorithm)
{
    otok_pkey *key;
    OK(otok_pkey_generate(algorithm, &key, &err));
    return key;
}

static const char *header_of(int32_t algorithm, char text[64])
{
    (void)snprintf(text, 64, "{\"alg\":\"%s\",\"typ\":\"JWT\"}", otok_algorithm_name(algorithm));
    return text;
}

/* RFC 7515, appendices A.2 and A.3. */
START_TEST(published_jwts_verify)
{
    otok_pkey *rs = key_of("{\"alg\":\"RS256\"," VECTOR_RSA_PUBLIC "}");
    otok_pkey *ps = key_of("{\"alg\":\"PS256\"," VECTOR_RSA_PUBLIC "}");
    otok_pkey *es = key_of("{\"alg\":\"ES256\"," VECTOR_EC_PUBLIC "}");
    ck_assert_int_eq(check(VECTOR_RS256_TEXT "." VECTOR_RS256_SIGNATURE, rs), OTOK_OK);
    ck_assert_int_eq(check(VECTOR_PS256_TEXT "." VECTOR_PS256_SIGNATURE, ps), OTOK_OK);
    ck_assert_int_eq(check(VECTOR_ES256_TEXT "." VECTOR_ES256_SIGNATURE, es), OTOK_OK);
    /* A good signature, but the header speaks of another algorithm than the key. */
    ck_assert_int_eq(check(VECTOR_RS256_TEXT "." VECTOR_RS256_SIGNATURE, ps), OTOK_E_TOKEN_INVALID);
    ck_assert_int_eq(check(VECTOR_PS256_TEXT "." VECTOR_PS256_SIGNATURE, rs), OTOK_E_TOKEN_INVALID);
    otok_pkey_free(rs);
    otok_pkey_free(ps);
    otok_pkey_free(es);
}
END_TEST

START_TEST(what_is_signed_is_verified_and_read)
{
    char header[64];
    otok_pkey *key = generate(algorithms[_i]);
    otok_buf text = sign(key, header_of(algorithms[_i], header), "{\"sub\":\"al\u00e9\"}");
    otok_jws *jwt;
    OK(otok_jws_parse((const char *)text.data, text.len, &jwt, &err));
    OK(otok_jws_verify(jwt, (const char *)text.data, key, &err));
    ck_assert_str_eq(otok_json_text(jwt->header, "alg"), otok_algorithm_name(algorithms[_i]));
    ck_assert_str_eq(otok_json_text(jwt->payload, "sub"), "al\u00e9");
    ck_assert(otok_str_eq(jwt->payload_text, otok_str_of("{\"sub\":\"al\u00e9\"}")));
    otok_jws_free(jwt);
    otok_buf_free(&text);
    otok_pkey_free(key);
}
END_TEST

START_TEST(signing_appends_to_what_is_there)
{
    otok_pkey *key = generate(OTOK_ALG_ES256);
    otok_buf buf;
    uint8_t room[8];
    otok_buf_init(&buf, room, sizeof room);
    otok_buf_add_text(&buf, "{\"jwt\":\"");
    OK(otok_jws_sign_pkey(key, otok_str_of("{\"alg\":\"ES256\"}"), otok_str_of("{}"), &buf, &err));
    ck_assert_int_eq(check_bytes((const char *)buf.data + 8, buf.len - 8, key), OTOK_OK);
    otok_buf_free(&buf);
    otok_pkey_free(key);
}
END_TEST

/* A signer as a host has one: what it is given, it keeps; what it says is signed. */
struct signer {
    int rc;
    size_t len, room;
    char text[64];
};

static int sign_elsewhere(void *key, const void *data, size_t data_len, uint8_t *signature, size_t *len,
                          otok_error *err)
{
    struct signer *signer = key;
    signer->room = *len;
    ck_assert_uint_lt(data_len, sizeof signer->text);
    memcpy(signer->text, data, data_len);
    memset(signature, 0, signer->len);
    *len = signer->len;
    return signer->rc == OTOK_OK ? OTOK_OK : otok_fail(err, signer->rc, "no");
}

/* K1: the key may be elsewhere; the signer sees header.payload alone, and its refusal is the answer. */
START_TEST(signer_of_a_host_signs_header_and_payload)
{
    struct signer signer = {.len = OTOK_SIGNATURE_MAX};
    const otok_str object = otok_str_of("{}");
    char before[] = "before";
    otok_jws *jwt;
    otok_buf buf;
    otok_buf_init(&buf, NULL, 0);
    otok_buf_add_text(&buf, before);
    OK(otok_jws_sign(sign_elsewhere, &signer, object, object, &buf, &err));
    ck_assert_str_eq(signer.text, "e30.e30");
    ck_assert_uint_eq(signer.room, OTOK_SIGNATURE_MAX);
    OK(otok_jws_parse((const char *)buf.data + strlen(before), buf.len - strlen(before), &jwt, &err));
    ck_assert_uint_eq(jwt->signature_len, OTOK_SIGNATURE_MAX);
    otok_jws_free(jwt);
    signer.rc = OTOK_E_CALLBACK;
    ck_assert_int_eq(otok_jws_sign(sign_elsewhere, &signer, object, object, &buf, NULL), OTOK_E_CALLBACK);
    otok_buf_free(&buf);
}
END_TEST

/* Bad days: each allocation of a signature and of a parse, missing in turn. */
START_TEST(short_memory_is_told)
{
    struct signer signer = {.len = OTOK_SIGNATURE_MAX};
    const char *text = "e30.eyJhIjoiYiJ9.AA";
    otok_jws *jwt;
    int rc;
    for (long n = 0; n < 2; n++) { /* header and payload; the signature, beyond the first room */
        otok_buf buf;
        otok_buf_init(&buf, NULL, 0);
        fail_at = n;
        rc = otok_jws_sign(sign_elsewhere, &signer, otok_str_of("{}"), otok_str_of("{}"), &buf, NULL);
        ck_assert_int_eq(rc, OTOK_E_NOMEM);
        otok_buf_free(&buf);
    }
    for (long n = 0;; n++) {
        fail_at = n;
        rc = otok_jws_parse(text, strlen(text), &jwt, NULL);
        if (fail_at >= 0)
            break;
        ck_assert_int_eq(rc, OTOK_E_NOMEM);
        ck_assert_ptr_null(jwt);
    }
    fail_at = -1;
    ck_assert_int_eq(rc, OTOK_OK);
    otok_jws_free(jwt);
}
END_TEST

START_TEST(jwt_with_any_character_changed_is_refused)
{
    static const char letters[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.=+/ \n";
    char header[64];
    otok_pkey *key = generate(algorithms[_i]);
    otok_buf text = sign(key, header_of(algorithms[_i], header), "{\"sub\":\"a\"}");
    char *jwt = (char *)text.data;
    for (size_t i = 0; i < text.len; i++) {
        char kept = jwt[i];
        for (size_t j = 0; j < sizeof letters; j += _i < 2 ? 1 : 7) {
            jwt[i] = letters[j];
            ck_assert_int_eq(check_bytes(jwt, text.len, key), jwt[i] == kept ? OTOK_OK : OTOK_E_TOKEN_INVALID);
        }
        jwt[i] = kept;
        ck_assert_int_eq(check_bytes(jwt, i, key), OTOK_E_TOKEN_INVALID); /* cut off there */
    }
    otok_buf_free(&text);
    otok_pkey_free(key);
}
END_TEST

/*
 * The header says what it likes: the key's own algorithm is the one that counts, and a header that disagrees is
 * refused.
 */
START_TEST(header_cannot_choose_the_algorithm)
{
    static const char *const headers[] = {
        "{\"alg\":\"none\"}",
        "{\"alg\":\"None\"}",
        "{\"alg\":\"\"}",
        "{\"alg\":null}",
        "{\"alg\":1}",
        "{\"alg\":[\"ES256\"]}",
        "{\"alg\":\"HS256\"}",
        "{\"alg\":\"es256\"}",
        "{\"alg\":\"ES256 \"}",
        "{\"alg\":\"ES384\"}",
        "{\"alg\":\"RS512\"}",
        "{}",
        "{\"Alg\":\"ES256\"}",
        "{\"typ\":\"JWT\"}",
        "{\"alg\":\"ES256\",\"crit\":[\"b64\"]}",
        "{\"alg\":\"EdDSA\",\"crit\":[]}",
        "{\"alg\":\"RS256\",\"crit\":null}",
        "{\"alg\":\"PS256\",\"b64\":false,\"crit\":[\"b64\"]}",
    };
    for (int k = 0; k < ALGORITHMS; k++) {
        otok_pkey *key = generate(algorithms[k]);
        for (size_t i = 0; i < sizeof headers / sizeof headers[0]; i++) {
            otok_buf text = sign(key, headers[i], "{}"); /* signed by the right key, even */
            ck_assert_int_eq(check((const char *)text.data, key), OTOK_E_TOKEN_INVALID);
            otok_buf_free(&text);
        }
        for (int other = 0; other < ALGORITHMS; other++) {
            char header[64];
            otok_buf text = sign(key, header_of(algorithms[other], header), "{}");
            ck_assert_int_eq(check((const char *)text.data, key), other == k ? OTOK_OK : OTOK_E_TOKEN_INVALID);
            otok_buf_free(&text);
        }
        otok_pkey_free(key);
    }
}
END_TEST

/*
 * CVE-2026-44699, CVE-2015-9235: a MAC whose key is the text of the public key, under "HS256" and under the key's own
 * alg.
 */
START_TEST(public_key_is_never_a_mac_key)
{
    static const char *const headers[] = {"{\"alg\":\"HS256\"}", "{\"alg\":\"RS256\"}"};
    otok_pkey *key = key_of("{\"alg\":\"RS256\"," VECTOR_RSA_PUBLIC "}");
    otok_jwk_numbers numbers;
    otok_buf storage;
    otok_buf_init(&storage, NULL, 0);
    OK(otok_pkey_numbers(key, false, &storage, &numbers, &err));
    uint8_t secret[OTOK_KEY_SIZE];
    memcpy(secret, numbers.n.data, sizeof secret);
    otok_mac_key *mac_key;
    OK(otok_mac_key_new(secret, &mac_key, &err));
    for (int i = 0; i < 2; i++) {
        otok_buf text;
        uint8_t mac[OTOK_SHA256_SIZE];
        otok_buf_init(&text, NULL, 0);
        otok_buf_add_base64url(&text, headers[i], strlen(headers[i]));
        otok_buf_add_text(&text, ".e30");
        OK(otok_mac(mac_key, &(otok_str){text.data, text.len}, 1, mac, &err));
        otok_buf_add_text(&text, ".");
        otok_buf_add_base64url(&text, mac, sizeof mac);
        ck_assert_int_eq(check_bytes((const char *)text.data, text.len, key), OTOK_E_TOKEN_INVALID);
        otok_buf_free(&text);
    }
    /* Nor can a MAC key be made of what a JWKS says is one, when a key to verify with is asked for. */
    otok_json *json;
    otok_pkey *none;
    static const char oct[] =
        "{\"kty\":\"oct\",\"alg\":\"HS256\",\"k\":\"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\"}";
    OK(otok_json_parse(oct, sizeof oct - 1, "jwk", &json, &err));
    ck_assert_int_eq(otok_jwk_read_pkey(json, false, &none, NULL), OTOK_E_KEY);
    otok_json_free(json);
    otok_mac_key_free(mac_key);
    otok_buf_free(&storage);
    otok_pkey_free(key);
}
END_TEST

START_TEST(malformed_jwts_are_refused)
{
    static const char *const bad[] = {
        "",
        ".",
        "..",
        "...",
        "a",
        "e30",
        "e30.e30",
        "e30.e30.",
        "e30..AA",
        ".e30.AA",
        "e30.e30.AA.AA",
        "e30.e30.AA.",
        "e30.e30.AA=",
        " e30.e30.AA",
        "e30.e30.AA ",
        "e30.e30.AA\n",
        "e30 .e30.AA",
        "e30.e30=.AA",
        "e31.e30.AA",
        "W10.e30.AA" /* [] */,
        "e30.W10.AA",
        "e30.bnVsbA.AA" /* null */,
        "e30.e30e30.AA" /* {}{} */,
        "eyJhIjoxLCJhIjoyfQ.e30.AA" /* a twice */,
        "e30.eyJhIjoxLCJhIjoyfQ.AA",
        "{}.{}.AA",
        "e30.e30.A",
        "e30.e30.AB",
    };
    otok_pkey *key = generate(OTOK_ALG_ES256);
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        ck_assert_msg(check(bad[i], key) == OTOK_E_TOKEN_INVALID, "%s", bad[i]);
    ck_assert_int_eq(check_bytes("e30.e30.A\0A", 11, key), OTOK_E_TOKEN_INVALID);
    otok_jws_free(NULL);
    otok_pkey_free(key);
}
END_TEST

START_TEST(sizes_have_bounds)
{
    static char text[OTOK_JWS_MAX + 64];
    otok_jws *jwt;
    /* The longest signature, and one that is longer. */
    size_t chars = otok_base64url_len(OTOK_SIGNATURE_MAX);
    memset(text, 'A', sizeof text);
    memcpy(text, "e30.e30.", 8);
    OK(otok_jws_parse(text, 8 + chars, &jwt, &err));
    ck_assert_uint_eq(jwt->signature_len, OTOK_SIGNATURE_MAX);
    ck_assert_uint_eq(jwt->signed_len, 7);
    otok_jws_free(jwt);
    ck_assert_int_eq(otok_jws_parse(text, 8 + chars + 1, &jwt, NULL), OTOK_E_TOKEN_INVALID);
    ck_assert_int_eq(otok_jws_parse(text, OTOK_JWS_MAX, &jwt, NULL), OTOK_E_TOKEN_INVALID);
    ck_assert_int_eq(otok_jws_parse(text, OTOK_JWS_MAX + 1, &jwt, NULL), OTOK_E_TOKEN_INVALID);
    ck_assert_ptr_null(jwt);
}
END_TEST

START_TEST(algorithms_have_names)
{
    for (int i = 0; i < ALGORITHMS; i++)
        ck_assert_int_eq(otok_algorithm_of_name(otok_algorithm_name(algorithms[i])), algorithms[i]);
    ck_assert_ptr_null(otok_algorithm_name(OTOK_ALG_DEFAULT));
    ck_assert_ptr_null(otok_algorithm_name(5));
    ck_assert_int_eq(otok_algorithm_of_name("none"), -1);
    ck_assert_int_eq(otok_algorithm_of_name(""), -1);
    ck_assert_int_eq(otok_algorithm_of_name("ES256 "), -1);
    ck_assert_int_eq(otok_algorithm_of_name(NULL), -1);
}
END_TEST

static void add_tests(TCase *tcase)
{
    tcase_add_test(tcase, published_jwts_verify);
    tcase_add_loop_test(tcase, what_is_signed_is_verified_and_read, 0, ALGORITHMS);
    tcase_add_test(tcase, signing_appends_to_what_is_there);
    tcase_add_test(tcase, signer_of_a_host_signs_header_and_payload);
    tcase_add_test(tcase, short_memory_is_told);
    tcase_add_loop_test(tcase, jwt_with_any_character_changed_is_refused, 0, ALGORITHMS);
    tcase_add_test(tcase, header_cannot_choose_the_algorithm);
    tcase_add_test(tcase, public_key_is_never_a_mac_key);
    tcase_add_test(tcase, malformed_jwts_are_refused);
    tcase_add_test(tcase, sizes_have_bounds);
    tcase_add_test(tcase, algorithms_have_names);
}

int main(void)
{
    return test_main("jws", add_tests);
}
