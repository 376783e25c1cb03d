/*
 * check_crypto.c - digests, MACs, subkeys, randomness and signatures against published answers (K1, K6).
 *
 * SPDX-License-Identifier: MIT
 */
#include "keys/keys.h"
#include "support/crew.h"
#include "support/fixture.h"
#include "support/vectors.h"

#include <openssl/err.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const int32_t algorithms[] = {OTOK_ALG_ES256, OTOK_ALG_EDDSA, OTOK_ALG_RS256, OTOK_ALG_PS256};
enum { ALGORITHMS = 4 };

#define OK(call)                                                                                                       \
    do {                                                                                                               \
        otok_error err = {0};                                                                                          \
        int rc_ = (call);                                                                                              \
        ck_assert_msg(rc_ == OTOK_OK, "%s: %s %s", #call, otok_error_name(rc_), err.message);                          \
    } while (0)

static otok_str str(const char *text)
{
    return otok_str_of(text);
}

static size_t from_hex(const char *hex, uint8_t *out)
{
    size_t n = 0;
    for (; *hex != '\0'; hex += 2) {
        unsigned byte = 0;
        (void)sscanf(hex, "%2x", &byte);
        out[n++] = (uint8_t)byte;
    }
    return n;
}

static void assert_hex(const uint8_t *bytes, size_t len, const char *hex)
{
    char text[2 * 128 + 1] = "";
    for (size_t i = 0; i < len; i++)
        (void)snprintf(text + 2 * i, 3, "%02x", bytes[i]);
    ck_assert_str_eq(text, hex);
}

/* ---- digests and MACs ---- */

/* FIPS 180-2, appendix B. */
START_TEST(sha256_of_parts_is_that_of_the_whole)
{
    otok_str parts[] = {{"abcdbcdecdefdefgefghfghighij", 28}, {NULL, 0}, {"hijkijkljklmklmnlmnomnopnopq", 28}};
    uint8_t out[OTOK_SHA256_SIZE];
    OK(otok_sha256(parts, 3, out, &err));
    assert_hex(out, sizeof out, "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1");
    OK(otok_sha256(NULL, 0, out, &err));
    assert_hex(out, sizeof out, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
}
END_TEST

/* RFC 4231: the cases whose keys have at most 32 bytes, to which zeroes may be added (RFC 2104 section 2). */
START_TEST(hmac_gives_the_answers_of_rfc_4231)
{
    static const struct {
        const char *key, *data, *mac;
    } rows[] = {
        {"0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b", "4869205468657265",
         "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7"},
        {"4a656665", "7768617420646f2079612077616e7420666f72206e6f7468696e673f",
         "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"},
        {"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
         "dddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddd",
         "773ea91e36800e46854db8ebd09181a72959098b3ef8c122d9635514ced565fe"},
        {"0102030405060708090a0b0c0d0e0f10111213141516171819",
         "cdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcd",
         "82558a389a443c0ea4cc819899f2083a85f0faa3e578f8077a2e3ff46729665b"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        uint8_t key[OTOK_KEY_SIZE] = {0}, data[64], mac[OTOK_SHA256_SIZE];
        (void)from_hex(rows[i].key, key);
        size_t len = from_hex(rows[i].data, data);
        otok_mac_key *prepared;
        OK(otok_mac_key_new(key, &prepared, &err));
        for (size_t cut = 0; cut <= len; cut++) {
            otok_str parts[] = {{data, cut}, {data + cut, len - cut}};
            OK(otok_mac(prepared, parts, 2, mac, &err));
            assert_hex(mac, sizeof mac, rows[i].mac);
        }
        otok_mac_key_free(prepared);
    }
    otok_mac_key_free(NULL);
}
END_TEST

/* RFC 5869, appendix A.1 to A.3. */
START_TEST(hkdf_gives_the_answers_of_rfc_5869)
{
    uint8_t secret[80], salt[80], info[80], out[82];
    memset(secret, 0x0b, 22);
    for (size_t i = 0; i < 80; i++)
        salt[i] = (uint8_t)i, info[i] = (uint8_t)(0xf0 + i);
    OK(otok_hkdf((otok_str){secret, 22}, (otok_str){salt, 13}, (otok_str){info, 10}, out, 42, &err));
    assert_hex(out, 42, "3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf34007208d5b887185865");
    OK(otok_hkdf((otok_str){secret, 22}, (otok_str){NULL, 0}, (otok_str){NULL, 0}, out, 42, &err));
    assert_hex(out, 42, "8da4e775a563c18f715f802a063c5a31b8a11f5c5ee1879ec3454e5f3c738d2d9d201395faa4b61a96c8");
    for (size_t i = 0; i < 80; i++)
        secret[i] = (uint8_t)i, salt[i] = (uint8_t)(0x60 + i), info[i] = (uint8_t)(0xb0 + i);
    OK(otok_hkdf((otok_str){secret, 80}, (otok_str){salt, 80}, (otok_str){info, 80}, out, 82, &err));
    assert_hex(out, 82,
               "b11e398dc80327a1c8e7f78c596a49344f012eda2d4efad8a050cc4c19afa97c59045a99cac7827271cb41c65e590e09"
               "da3275600c2f09b8367793a9aca3db71cc30c58179ec3e87c14c01d5c1f3434f1d87");
}
END_TEST

/* K6: no two uses, and no two realms, have one key, however their names are cut. */
START_TEST(each_purpose_and_realm_has_a_subkey_of_its_own)
{
    static const char *const names[][2] = {{"token", "a"}, {"token", "b"}, {"seal", "a"}, {"token", ""},
                                           {"tokena", ""}, {"toke", "na"}, {"", "tokena"}};
    enum { N = sizeof names / sizeof names[0] };
    uint8_t key[OTOK_KEY_SIZE] = {1}, keys[N][OTOK_KEY_SIZE], again[OTOK_KEY_SIZE];
    for (size_t i = 0; i < N; i++) {
        OK(otok_subkey(key, names[i][0], str(names[i][1]), keys[i], &err));
        OK(otok_subkey(key, names[i][0], str(names[i][1]), again, &err));
        ck_assert(otok_equal_ct(keys[i], again, sizeof again));
        ck_assert(!otok_equal_ct(keys[i], key, sizeof key));
        for (size_t j = 0; j < i; j++)
            ck_assert(!otok_equal_ct(keys[i], keys[j], sizeof again));
    }
    char realm[2000];
    memset(realm, 'r', sizeof realm);
    OK(otok_subkey(key, "token", (otok_str){realm, sizeof realm}, keys[0], &err));
    OK(otok_subkey(key, "token", (otok_str){realm, sizeof realm - 1}, keys[1], &err));
    ck_assert(!otok_equal_ct(keys[0], keys[1], sizeof again));
}
END_TEST

START_TEST(comparison_sees_every_byte)
{
    uint8_t a[32] = {0}, b[32] = {0};
    ck_assert(otok_equal_ct(a, b, sizeof a));
    ck_assert(otok_equal_ct(NULL, NULL, 0));
    for (size_t i = 0; i < 8 * sizeof a; i++) {
        b[i / 8] ^= (uint8_t)(1 << i % 8);
        ck_assert(!otok_equal_ct(a, b, sizeof a));
        b[i / 8] = 0;
    }
}
END_TEST

/* CVE-2019-1549: random state shared over fork. */
START_TEST(child_draws_other_random_bytes_than_its_parent)
{
    uint8_t mine[32], theirs[32];
    int fds[2];
    OK(otok_random(mine, sizeof mine, &err)); /* seeds the generator before the fork */
    ck_assert_int_eq(pipe(fds), 0);
    pid_t pid = fork();
    if (pid == 0) {
        (void)otok_random(theirs, sizeof theirs, NULL);
        _exit(write(fds[1], theirs, sizeof theirs) == sizeof theirs ? 0 : 1);
    }
    OK(otok_random(mine, sizeof mine, &err));
    ck_assert_int_eq(read(fds[0], theirs, sizeof theirs), sizeof theirs);
    ck_assert(memcmp(mine, theirs, sizeof mine) != 0);
    close(fds[0]);
    close(fds[1]);
}
END_TEST

/* ---- signatures ---- */

static otok_pkey *key_of(const char *jwk, bool is_private, int expected)
{
    otok_json *json;
    otok_pkey *key;
    OK(otok_json_parse(jwk, strlen(jwk), "jwk", &json, &err));
    otok_error err = {0};
    int rc = otok_jwk_read_pkey(json, is_private, &key, &err);
    ck_assert_msg(rc == expected, "%s: %s %s", jwk, otok_error_name(rc), err.message);
    ck_assert(rc == OTOK_OK || (key == NULL && err.message[0] != '\0'));
    ck_assert_uint_eq(ERR_peek_error(), 0);
    otok_json_free(json);
    return key;
}

static int verify_text(const otok_pkey *key, const char *text, const char *signature)
{
    uint8_t bytes[OTOK_SIGNATURE_MAX];
    size_t len = sizeof bytes;
    ck_assert(otok_unbase64url(signature, strlen(signature), bytes, &len));
    int rc = otok_verify(key, text, strlen(text), bytes, len, NULL);
    ck_assert_uint_eq(ERR_peek_error(), 0);
    return rc;
}

/* RFC 7515, appendices A.2 and A.3; RFC 8037, appendix A.4.  K1. */
START_TEST(published_signatures_are_good)
{
    otok_pkey *rs = key_of("{\"alg\":\"RS256\"," VECTOR_RSA_PUBLIC "}", false, OTOK_OK);
    otok_pkey *ps = key_of("{\"alg\":\"PS256\"," VECTOR_RSA_PUBLIC "}", false, OTOK_OK);
    otok_pkey *es = key_of("{\"alg\":\"ES256\"," VECTOR_EC_PUBLIC "}", false, OTOK_OK);
    otok_pkey *ed = key_of("{\"alg\":\"EdDSA\"," VECTOR_ED_PUBLIC "}", false, OTOK_OK);
    ck_assert_int_eq(verify_text(rs, VECTOR_RS256_TEXT, VECTOR_RS256_SIGNATURE), OTOK_OK);
    ck_assert_int_eq(verify_text(ps, VECTOR_PS256_TEXT, VECTOR_PS256_SIGNATURE), OTOK_OK);
    ck_assert_int_eq(verify_text(es, VECTOR_ES256_TEXT, VECTOR_ES256_SIGNATURE), OTOK_OK);
    ck_assert_int_eq(verify_text(ed, VECTOR_EDDSA_TEXT, VECTOR_EDDSA_SIGNATURE), OTOK_OK);
    /* RFC 7518 section 3.5 */
    ck_assert_int_eq(verify_text(ps, VECTOR_PS256_TEXT, VECTOR_PS256_SIGNATURE_SALT_20), OTOK_E_TOKEN_INVALID);
    ck_assert_int_eq(verify_text(ps, VECTOR_PS256_TEXT, VECTOR_PS256_SIGNATURE_SALT_0), OTOK_E_TOKEN_INVALID);
    ck_assert_int_eq(verify_text(ps, VECTOR_PS256_TEXT, VECTOR_PS256_SIGNATURE_MGF1_SHA1), OTOK_E_TOKEN_INVALID);
    /* One RSA key, two algorithms: the key's counts. */
    ck_assert_int_eq(verify_text(rs, VECTOR_PS256_TEXT, VECTOR_PS256_SIGNATURE), OTOK_E_TOKEN_INVALID);
    ck_assert_int_eq(verify_text(ps, VECTOR_RS256_TEXT, VECTOR_RS256_SIGNATURE), OTOK_E_TOKEN_INVALID);
    otok_pkey_free(rs);
    otok_pkey_free(ps);
    otok_pkey_free(es);
    otok_pkey_free(ed);
}
END_TEST

static void assert_signs(const char *jwk, const char *text, const char *expected)
{
    otok_pkey *key = key_of(jwk, true, OTOK_OK);
    uint8_t signature[OTOK_SIGNATURE_MAX];
    size_t len = sizeof signature;
    char printed[OTOK_SIGNATURE_MAX * 2] = "";
    OK(otok_sign(key, text, strlen(text), signature, &len, &err));
    otok_base64url(signature, len, printed);
    ck_assert_str_eq(printed, expected);
    otok_pkey_free(key);
}

START_TEST(deterministic_signatures_are_the_published_ones)
{
    assert_signs("{\"alg\":\"RS256\"," VECTOR_RSA_PUBLIC "," VECTOR_RSA_PRIVATE "}", VECTOR_RS256_TEXT,
                 VECTOR_RS256_SIGNATURE);
    assert_signs("{\"alg\":\"EdDSA\"," VECTOR_ED_PUBLIC "," VECTOR_ED_PRIVATE "}", VECTOR_EDDSA_TEXT,
                 VECTOR_EDDSA_SIGNATURE);
}
END_TEST

static otok_pkey *generate(int32_t algorithm)
{
    otok_pkey *key;
    OK(otok_pkey_generate(algorithm, &key, &err));
    ck_assert_int_eq(otok_pkey_algorithm(key), algorithm);
    ck_assert(otok_pkey_is_private(key));
    return key;
}

static size_t sign(const otok_pkey *key, const char *text, uint8_t signature[OTOK_SIGNATURE_MAX])
{
    size_t len = OTOK_SIGNATURE_MAX;
    OK(otok_sign(key, text, strlen(text), signature, &len, &err));
    return len;
}

START_TEST(signature_with_any_bit_flipped_is_refused)
{
    otok_pkey *key = generate(algorithms[_i]);
    uint8_t signature[OTOK_SIGNATURE_MAX];
    size_t len = sign(key, "text", signature);
    ck_assert_uint_eq(len, _i < 2 ? 64 : 256);
    ck_assert_int_eq(otok_verify(key, "text", 4, signature, len, NULL), OTOK_OK);
    for (size_t i = 0; i < 8 * len; i++) {
        signature[i / 8] ^= (uint8_t)(1 << i % 8);
        ck_assert_int_eq(otok_verify(key, "text", 4, signature, len, NULL), OTOK_E_TOKEN_INVALID);
        signature[i / 8] ^= (uint8_t)(1 << i % 8);
    }
    for (int bit = 0; bit < 32; bit++) {
        char text[] = "text";
        text[bit / 8] ^= (char)(1 << bit % 8);
        ck_assert_int_eq(otok_verify(key, text, 4, signature, len, NULL), OTOK_E_TOKEN_INVALID);
    }
    ck_assert_uint_eq(ERR_peek_error(), 0);
    otok_pkey_free(key);
}
END_TEST

START_TEST(signature_of_another_length_is_refused)
{
    otok_pkey *key = generate(algorithms[_i]);
    uint8_t signature[OTOK_SIGNATURE_MAX] = {0};
    size_t len = sign(key, "text", signature);
    for (size_t other = 0; other <= sizeof signature; other++) {
        if (other != len)
            ck_assert_int_eq(otok_verify(key, "text", 4, signature, other, NULL), OTOK_E_TOKEN_INVALID);
    }
    ck_assert_uint_eq(ERR_peek_error(), 0);
    otok_pkey_free(key);
}
END_TEST

/* The order of P-256, and numbers beside it (SEC 2 section 2.4.2); CVE-2022-21449: r = s = 0. */
START_TEST(ecdsa_numbers_out_of_range_are_refused)
{
    static const char *const numbers[] = {"0000000000000000000000000000000000000000000000000000000000000000",
                                          "ffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551",
                                          "ffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632552",
                                          "ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
                                          "0000000000000000000000000000000000000000000000000000000000000001"};
    otok_pkey *key = generate(OTOK_ALG_ES256);
    uint8_t good[OTOK_SIGNATURE_MAX];
    (void)sign(key, "text", good);
    for (int i = 0; i < 36; i++) {
        uint8_t bad[64];
        memcpy(bad, good, sizeof bad);
        if (i / 6 < 5)
            (void)from_hex(numbers[i / 6], bad);
        if (i % 6 < 5)
            (void)from_hex(numbers[i % 6], bad + 32);
        ck_assert_int_eq(otok_verify(key, "text", 4, bad, sizeof bad, NULL), i == 35 ? OTOK_OK : OTOK_E_TOKEN_INVALID);
    }
    ck_assert_uint_eq(ERR_peek_error(), 0);
    otok_pkey_free(key);
}
END_TEST

START_TEST(signature_of_another_key_is_refused)
{
    otok_pkey *keys[2 * ALGORITHMS];
    uint8_t signature[OTOK_SIGNATURE_MAX];
    for (int i = 0; i < 2 * ALGORITHMS; i++)
        keys[i] = generate(algorithms[i % ALGORITHMS]);
    for (int i = 0; i < 2 * ALGORITHMS; i++) {
        size_t len = sign(keys[i], "text", signature);
        for (int j = 0; j < 2 * ALGORITHMS; j++)
            ck_assert_int_eq(otok_verify(keys[j], "text", 4, signature, len, NULL),
                             i == j ? OTOK_OK : OTOK_E_TOKEN_INVALID);
    }
    for (int i = 0; i < 2 * ALGORITHMS; i++)
        otok_pkey_free(keys[i]);
    otok_pkey_free(NULL);
}
END_TEST

START_TEST(too_little_room_is_an_error_and_nothing_is_written)
{
    otok_pkey *key = generate(algorithms[_i]);
    uint8_t signature[OTOK_SIGNATURE_MAX];
    size_t len = sign(key, "text", signature), less = len - 1;
    memset(signature, 7, sizeof signature);
    ck_assert_int_eq(otok_sign(key, "text", 4, signature, &less, NULL), OTOK_E_INVALID);
    for (size_t i = 0; i < len; i++)
        ck_assert_int_eq(signature[i], 7);
    OK(otok_sign(key, "text", 4, signature, &len, &err));
    otok_pkey_free(key);
}
END_TEST

/* ---- keys ---- */

START_TEST(key_survives_the_way_through_its_numbers)
{
    otok_pkey *key = generate(algorithms[_i]), *private_again, *public_again;
    otok_jwk_numbers numbers;
    otok_buf storage;
    uint8_t signature[OTOK_SIGNATURE_MAX];
    size_t len = sizeof signature;

    otok_buf_init(&storage, NULL, 0);
    OK(otok_pkey_numbers(key, true, &storage, &numbers, &err));
    OK(otok_pkey_from_numbers(algorithms[_i], &numbers, &private_again, &err));
    len = sign(private_again, "text", signature);
    ck_assert_int_eq(otok_verify(key, "text", 4, signature, len, NULL), OTOK_OK);
    otok_buf_free(&storage);

    OK(otok_pkey_numbers(key, false, &storage, &numbers, &err));
    ck_assert_uint_eq(numbers.d.len + numbers.p.len + numbers.q.len + numbers.dp.len + numbers.dq.len + numbers.qi.len,
                      0);
    OK(otok_pkey_from_numbers(algorithms[_i], &numbers, &public_again, &err));
    ck_assert(!otok_pkey_is_private(public_again));
    ck_assert_int_eq(otok_verify(public_again, "text", 4, signature, len, NULL), OTOK_OK);
    ck_assert_int_eq(otok_sign(public_again, "text", 4, signature, &len, NULL), OTOK_E_KEY);
    ck_assert_int_eq(otok_pkey_numbers(public_again, true, &storage, &numbers, NULL), OTOK_E_KEY);
    otok_buf_free(&storage);
    otok_pkey_free(key);
    otok_pkey_free(private_again);
    otok_pkey_free(public_again);
}
END_TEST

/* What numbers begin with a zero byte, one in 256 times. */
START_TEST(short_ec_numbers_are_padded)
{
    otok_buf storage;
    otok_jwk_numbers numbers;
    bool seen = false;
    for (int i = 0; i < 20000 && !seen; i++) {
        otok_pkey *key = generate(OTOK_ALG_ES256), *again;
        otok_buf_init(&storage, NULL, 0);
        OK(otok_pkey_numbers(key, true, &storage, &numbers, &err));
        ck_assert_uint_eq(numbers.crv_x.len + numbers.crv_y.len + numbers.d.len, 96);
        seen = *(const uint8_t *)numbers.crv_x.data == 0;
        if (seen) {
            OK(otok_pkey_from_numbers(OTOK_ALG_ES256, &numbers, &again, &err));
            otok_pkey_free(again);
        }
        otok_buf_free(&storage);
        otok_pkey_free(key);
    }
    ck_assert(seen);
}
END_TEST

START_TEST(private_half_of_another_key_is_refused)
{
    otok_pkey *key = generate(algorithms[_i]), *other = generate(algorithms[_i]), *out;
    otok_jwk_numbers a, b;
    otok_buf first, second;
    otok_buf_init(&first, NULL, 0);
    otok_buf_init(&second, NULL, 0);
    OK(otok_pkey_numbers(key, true, &first, &a, &err));
    OK(otok_pkey_numbers(other, true, &second, &b, &err));
    otok_str *mine[] = {&a.d, &a.p, &a.q, &a.dp, &a.dq, &a.qi}, *theirs[] = {&b.d, &b.p, &b.q, &b.dp, &b.dq, &b.qi};
    for (size_t i = 0; i < (_i < 2 ? 1 : 6); i++) {
        otok_str kept = *mine[i];
        *mine[i] = *theirs[i];
        ck_assert_int_eq(otok_pkey_from_numbers(algorithms[_i], &a, &out, NULL), OTOK_E_KEY);
        ck_assert_ptr_null(out);
        *mine[i] = (otok_str){NULL, 0};
        if (i > 0) /* without d it is a public key */
            ck_assert_int_eq(otok_pkey_from_numbers(algorithms[_i], &a, &out, NULL), OTOK_E_KEY);
        *mine[i] = kept;
    }
    ck_assert_uint_eq(ERR_peek_error(), 0);
    OK(otok_pkey_from_numbers(algorithms[_i], &a, &out, &err));
    otok_pkey_free(out);
    otok_pkey_free(key);
    otok_pkey_free(other);
    otok_buf_free(&first);
    otok_buf_free(&second);
}
END_TEST

#define EC  "\"alg\":\"ES256\",\"kty\":\"EC\",\"crv\":\"P-256\""
#define RSA "\"alg\":\"RS256\",\"kty\":\"RSA\""
#define X   "\"x\":\"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU\""

START_TEST(keys_that_are_none_are_refused)
{
    static const char *const bad[] = {
        "{}",
        "{" EC "," X "}",
        "{" EC "," X ",\"y\":\"\"}",
        "{" EC "," X ",\"y\":\"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a1\"}", /* spare bits */
        "{" EC "," X ",\"y\":\"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a4\"}", /* not on the curve */
        "{" EC
        ",\"x\":\"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\",\"y\":\"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\"}",
        "{" EC "," X ",\"y\":\"AMfxRM0bvZt-hyzf7bnuufSzaV1uqQskrYpGIyiFiOWt\"}", /* 33 bytes */
        "{" EC "," X ",\"y\":7}",
        "{\"alg\":\"ES256\",\"kty\":\"EC\",\"crv\":\"P-384\",\"y\":\"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0\"," X
        "}",
        "{\"alg\":\"ES256\",\"kty\":\"EC\",\"crv\":\"secp256k1\",\"y\":\"x_FEzRu9m36HLN_"
        "tue659LNpXW6pCyStikYjKIWI5a0\"," X "}",
        "{\"alg\":\"ES384\"," VECTOR_EC_PUBLIC "}",
        "{\"alg\":\"EdDSA\"," VECTOR_EC_PUBLIC "}",
        "{\"alg\":\"ES256\"," VECTOR_ED_PUBLIC "}",
        "{\"alg\":\"RS256\"," VECTOR_EC_PUBLIC "}",
        "{\"alg\":\"HS256\"," VECTOR_RSA_PUBLIC "}",
        "{\"alg\":\"none\"," VECTOR_RSA_PUBLIC "}",
        "{" VECTOR_RSA_PUBLIC "}",
        "{\"alg\":\"EdDSA\",\"kty\":\"OKP\",\"crv\":\"Ed448\",\"x\":\"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo\"}",
        "{\"alg\":\"EdDSA\",\"kty\":\"OKP\",\"crv\":\"Ed25519\",\"x\":\"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHUQ\"}",
        "{" RSA ",\"e\":\"AQAB\",\"n\":\"AQAB\"}",
        "{" RSA ",\"e\":\"AQAB\"}",
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        ck_assert_ptr_null(key_of(bad[i], false, OTOK_E_KEY));
}
END_TEST

/* n and e of `bits` and more, as they are, with a byte put before or after. */
static int import_rsa(size_t bits, uint8_t last, const uint8_t *e, size_t e_len)
{
    uint8_t n[OTOK_RSA_BITS_MAX / 8 + 1];
    size_t len = (bits + 7) / 8;
    memset(n, 0x5a, sizeof n);
    n[0] = bits % 8 == 0 ? 0x80 : (uint8_t)(1 << (bits % 8 - 1));
    n[len - 1] = last;
    otok_jwk_numbers numbers = {.n = {n, len}, .e = {e, e_len}};
    otok_pkey *key;
    int rc = otok_pkey_from_numbers(OTOK_ALG_RS256, &numbers, &key, NULL);
    otok_pkey_free(key);
    return rc;
}

START_TEST(rsa_sizes_and_exponents_have_bounds)
{
    static const uint8_t e[] = {1, 0, 1}, zero_led[] = {0, 1, 0, 1}, even[] = {1, 0, 2}, one[] = {1}, three[] = {3};
    static const uint8_t longest[] = {0xff, 0, 0, 0, 0, 0, 0, 1}, too_long[] = {1, 0, 0, 0, 0, 0, 0, 0, 1};
    ck_assert_int_eq(import_rsa(2048, 1, e, 3), OTOK_OK);
    ck_assert_int_eq(import_rsa(2047, 1, e, 3), OTOK_E_KEY);
    ck_assert_int_eq(import_rsa(8192, 1, e, 3), OTOK_OK);
    ck_assert_int_eq(import_rsa(8193, 1, e, 3), OTOK_E_KEY);
    ck_assert_int_eq(import_rsa(2048, 2, e, 3), OTOK_E_KEY);
    ck_assert_int_eq(import_rsa(2048, 1, zero_led, 4), OTOK_E_KEY);
    ck_assert_int_eq(import_rsa(2048, 1, even, 3), OTOK_E_KEY);
    ck_assert_int_eq(import_rsa(2048, 1, one, 1), OTOK_E_KEY);
    ck_assert_int_eq(import_rsa(2048, 1, three, 1), OTOK_OK);
    ck_assert_int_eq(import_rsa(2048, 1, longest, 8), OTOK_OK);
    ck_assert_int_eq(import_rsa(2048, 1, too_long, 9), OTOK_E_KEY);
    ck_assert_int_eq(import_rsa(2048, 1, e, 0), OTOK_E_KEY);
    ck_assert_uint_eq(ERR_peek_error(), 0);
}
END_TEST

START_TEST(unknown_algorithms_are_refused)
{
    static const int32_t bad[] = {OTOK_ALG_DEFAULT, -1, 5, INT32_MAX};
    otok_jwk_numbers numbers = {0};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        otok_pkey *key = (otok_pkey *)1;
        ck_assert_int_eq(otok_pkey_generate(bad[i], &key, NULL), OTOK_E_INVALID);
        ck_assert_ptr_null(key);
        ck_assert_int_eq(otok_pkey_from_numbers(bad[i], &numbers, &key, NULL), OTOK_E_INVALID);
        ck_assert_ptr_null(key);
    }
}
END_TEST

/* RFC 7638 section 3.1, RFC 8037 appendix A.3. */
START_TEST(thumbprints_are_the_published_ones)
{
    char kid[OTOK_KID_CHARS + 1];
    otok_pkey *rsa = key_of("{\"alg\":\"PS256\"," VECTOR_7638_PUBLIC "}", false, OTOK_OK);
    otok_pkey *ed = key_of("{\"alg\":\"EdDSA\"," VECTOR_ED_PUBLIC "," VECTOR_ED_PRIVATE "}", true, OTOK_OK);
    OK(otok_pkey_thumbprint(rsa, kid, &err));
    ck_assert_str_eq(kid, VECTOR_7638_THUMBPRINT);
    OK(otok_pkey_thumbprint(ed, kid, &err));
    ck_assert_str_eq(kid, VECTOR_ED_THUMBPRINT);
    otok_pkey_free(rsa);
    otok_pkey_free(ed);
}
END_TEST

/* ---- threads ---- */

typedef struct shared {
    otok_mac_key *mac;
    otok_pkey *keys[ALGORITHMS];
    uint8_t expected[256][OTOK_SHA256_SIZE];
} shared;

enum { THREADS = 8, ROUNDS = 200 };

static void use_keys(void *arg, size_t thread)
{
    shared *s = arg;
    uint8_t out[OTOK_SHA256_SIZE], signature[OTOK_SIGNATURE_MAX];
    for (size_t i = 0; i < ROUNDS; i++) {
        uint8_t text = (uint8_t)(i + thread);
        otok_str part = {&text, 1};
        if (otok_mac(s->mac, &part, 1, out, NULL) != OTOK_OK || memcmp(out, s->expected[text], sizeof out) != 0)
            abort();
        const otok_pkey *key = s->keys[i % 8 == 0 ? 2 + i / 8 % 2 : i % 2]; /* RSA is slow */
        size_t len = sizeof signature;
        if (otok_sign(key, &text, 1, signature, &len, NULL) != OTOK_OK ||
            otok_verify(key, &text, 1, signature, len, NULL) != OTOK_OK)
            abort();
    }
}

START_TEST(threads_share_keys)
{
    static shared s;
    uint8_t key[OTOK_KEY_SIZE] = {9};
    OK(otok_mac_key_new(key, &s.mac, &err));
    for (int i = 0; i < ALGORITHMS; i++)
        s.keys[i] = generate(algorithms[i]);
    for (int i = 0; i < 256; i++) {
        uint8_t text = (uint8_t)i;
        OK(otok_mac(s.mac, &(otok_str){&text, 1}, 1, s.expected[i], &err));
    }
    test_threads(THREADS, use_keys, &s);
    for (int i = 0; i < ALGORITHMS; i++)
        otok_pkey_free(s.keys[i]);
    otok_mac_key_free(s.mac);
}
END_TEST

static void mac_once(void *arg, size_t thread)
{
    shared *s = arg;
    uint8_t out[OTOK_SHA256_SIZE], text = (uint8_t)thread;
    if (otok_mac(s->mac, &(otok_str){&text, 1}, 1, out, NULL) != OTOK_OK ||
        memcmp(out, s->expected[text], sizeof out) != 0)
        abort();
}

START_TEST(more_threads_than_kept_contexts_come_and_go)
{
    static shared s;
    uint8_t key[OTOK_KEY_SIZE] = {9};
    OK(otok_mac_key_new(key, &s.mac, &err));
    for (int i = 0; i < 256; i++) {
        uint8_t text = (uint8_t)i;
        OK(otok_mac(s.mac, &(otok_str){&text, 1}, 1, s.expected[i], &err));
    }
    for (int i = 0; i < 4; i++)
        test_threads(150, mac_once, &s);
    otok_mac_key_free(s.mac);
}
END_TEST

START_TEST(library_and_headers_of_openssl_fit)
{
    OK(otok_crypto_check(&err));
}
END_TEST

/* ---- the host's errors ---- */

/* Each call that may put errors into the queue, those that fail among them. */
static void use_openssl(void)
{
    otok_pkey *key = generate(OTOK_ALG_ES256), *refused;
    otok_mac_key *mac;
    otok_jwk_numbers numbers;
    otok_buf storage;
    uint8_t signature[OTOK_SIGNATURE_MAX] = {0}, bytes[OTOK_SHA512_SIZE];
    size_t len = sign(key, "text", signature);
    OK(otok_crypto_check(&err));
    OK(otok_verify(key, "text", 4, signature, len, &err));
    ck_assert_int_eq(otok_verify(key, "other", 5, signature, len, NULL), OTOK_E_TOKEN_INVALID);
    OK(otok_random(bytes, sizeof bytes, &err));
    OK(otok_sha256(&(otok_str){"text", 4}, 1, bytes, &err));
    OK(otok_sha512((otok_str){"text", 4}, bytes, &err));
    OK(otok_hkdf(str("secret"), str(""), str("info"), bytes, OTOK_KEY_SIZE, &err));
    OK(otok_mac_key_new(bytes, &mac, &err));
    OK(otok_mac(mac, &(otok_str){"text", 4}, 1, bytes, &err));
    otok_mac_key_free(mac);
    otok_buf_init(&storage, NULL, 0);
    OK(otok_pkey_numbers(key, true, &storage, &numbers, &err));
    numbers.crv_x = numbers.crv_y; /* no point of the curve: OpenSSL has much to say about it */
    ck_assert_int_eq(otok_pkey_from_numbers(OTOK_ALG_ES256, &numbers, &refused, NULL), OTOK_E_KEY);
    otok_buf_free(&storage);
    otok_pkey_free(key);
}

/* B1: emptied, and a host that looked for the reason of its own failure found none. */
START_TEST(errors_that_the_host_had_are_left_to_it)
{
    use_openssl();
    ck_assert_uint_eq(ERR_peek_error(), 0);
    ERR_raise(ERR_LIB_USER, 101);
    ck_assert_int_eq(ERR_set_mark(), 1); /* a mark of the host's own */
    ERR_raise(ERR_LIB_USER, 102);
    use_openssl();
    ck_assert_int_eq(ERR_GET_REASON(ERR_peek_last_error()), 102);
    ck_assert_int_eq(ERR_pop_to_mark(), 1);
    ck_assert_int_eq(ERR_GET_REASON(ERR_get_error()), 101);
    ck_assert_uint_eq(ERR_get_error(), 0);
}
END_TEST

/* Else every bad token was a shortage of memory, and was to be tried again, for as long as the host left that there. */
START_TEST(shortage_of_the_host_is_not_taken_for_ours)
{
    ERR_raise(ERR_LIB_USER, ERR_R_MALLOC_FAILURE);
    use_openssl();
    ck_assert_int_eq(ERR_GET_REASON(ERR_get_error()), ERR_R_MALLOC_FAILURE);
    ck_assert_uint_eq(ERR_get_error(), 0);
}
END_TEST

START_TEST(key_lives_as_long_as_its_last_reference)
{
    otok_pkey *key = generate(OTOK_ALG_ES256);
    uint8_t signature[OTOK_SIGNATURE_MAX];
    ck_assert_ptr_eq(otok_pkey_ref(key), key);
    otok_pkey_free(key);
    (void)sign(key, "text", signature);
    otok_pkey_free(key);
}
END_TEST

static void add_tests(TCase *tcase)
{
    tcase_add_test(tcase, library_and_headers_of_openssl_fit);
    tcase_add_test(tcase, sha256_of_parts_is_that_of_the_whole);
    tcase_add_test(tcase, hmac_gives_the_answers_of_rfc_4231);
    tcase_add_test(tcase, hkdf_gives_the_answers_of_rfc_5869);
    tcase_add_test(tcase, each_purpose_and_realm_has_a_subkey_of_its_own);
    tcase_add_test(tcase, comparison_sees_every_byte);
    tcase_add_test(tcase, child_draws_other_random_bytes_than_its_parent);
    tcase_add_test(tcase, published_signatures_are_good);
    tcase_add_test(tcase, deterministic_signatures_are_the_published_ones);
    tcase_add_loop_test(tcase, signature_with_any_bit_flipped_is_refused, 0, ALGORITHMS);
    tcase_add_loop_test(tcase, signature_of_another_length_is_refused, 0, ALGORITHMS);
    tcase_add_test(tcase, ecdsa_numbers_out_of_range_are_refused);
    tcase_add_test(tcase, signature_of_another_key_is_refused);
    tcase_add_loop_test(tcase, too_little_room_is_an_error_and_nothing_is_written, 0, ALGORITHMS);
    tcase_add_loop_test(tcase, key_survives_the_way_through_its_numbers, 0, ALGORITHMS);
    tcase_add_test(tcase, short_ec_numbers_are_padded);
    tcase_add_loop_test(tcase, private_half_of_another_key_is_refused, 0, ALGORITHMS);
    tcase_add_test(tcase, keys_that_are_none_are_refused);
    tcase_add_test(tcase, rsa_sizes_and_exponents_have_bounds);
    tcase_add_test(tcase, unknown_algorithms_are_refused);
    tcase_add_test(tcase, thumbprints_are_the_published_ones);
    tcase_add_test(tcase, errors_that_the_host_had_are_left_to_it);
    tcase_add_test(tcase, shortage_of_the_host_is_not_taken_for_ours);
    tcase_add_test(tcase, key_lives_as_long_as_its_last_reference);
    tcase_add_test(tcase, threads_share_keys);
    tcase_add_test(tcase, more_threads_than_kept_contexts_come_and_go);
}

int main(void)
{
    return test_main("crypto", add_tests);
}
