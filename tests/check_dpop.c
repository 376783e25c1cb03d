/* link: -Wl,--wrap=otok_malloc,--wrap=otok_calloc,--wrap=otok_realloc,--wrap=otok_strdup */
/*
 * check_dpop.c - DPoP proofs as they are read: those of all four algorithms, and every one that is none (P3, RFC 9449 section 4.3).
 *
 * SPDX-License-Identifier: MIT
 */
#include "oauth/oauth.h"
#include "support/fixture.h"
#include "support/vectors.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define URI     "https://server.example.com/token"
#define IAT     1562262616
#define JTI     "-BwC3ESc6acc2lTc"
#define RFC_JKT "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I"

static long fail_at = -1; /* allocations until one fails; -1: none does */

void *__real_otok_malloc(size_t size);
void *__real_otok_calloc(size_t count, size_t size);
void *__real_otok_realloc(void *old, size_t size);
char *__real_otok_strdup(const char *text);
void *__wrap_otok_malloc(size_t size);
void *__wrap_otok_calloc(size_t count, size_t size);
void *__wrap_otok_realloc(void *old, size_t size);
char *__wrap_otok_strdup(const char *text);

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

void *__wrap_otok_realloc(void *old, size_t size)
{
    return is_short() ? NULL : __real_otok_realloc(old, size);
}

char *__wrap_otok_strdup(const char *text)
{
    return is_short() ? NULL : __real_otok_strdup(text);
}

/* ---- making them ---- */

static char *text_of(otok_buf *buf)
{
    ck_assert(!buf->failed);
    char *text = strndup((const char *)buf->data, buf->len);
    otok_buf_free(buf);
    return text;
}

static char *public_jwk(const otok_pkey *key)
{
    otok_buf jwk;
    otok_buf_init(&jwk, NULL, 0);
    otok_json_begin(&jwk);
    test_assert_code(OTOK_OK, otok_jwk_add_pkey(&jwk, key, false, NULL));
    otok_json_end(&jwk);
    return text_of(&jwk);
}

/* A member of header or payload as JSON text. */
typedef struct member {
    const char *name, *json;
} member;

enum { MEMBERS = 4 };

/* An object of members; where `other` names one of them it has its value (NULL: none), else it comes last, "+typ" as typ. */
static char *object_of(const member members[MEMBERS], const member *other)
{
    bool placed = other == NULL;
    otok_buf object;
    otok_buf_init(&object, NULL, 0);
    otok_json_begin(&object);
    for (size_t i = 0; i < MEMBERS && members[i].name != NULL; i++) {
        const char *json = members[i].json;
        if (other != NULL && strcmp(other->name, members[i].name) == 0) {
            json = other->json;
            placed = true;
        }
        if (json != NULL)
            otok_json_add_raw(&object, members[i].name, otok_str_of(json));
    }
    if (!placed)
        otok_json_add_raw(&object, other->name + (other->name[0] == '+'), otok_str_of(other->json));
    otok_json_end(&object);
    return text_of(&object);
}

static char *sign(const otok_pkey *key, const char *header, const char *payload)
{
    uint8_t room[1024];
    otok_buf jwt;
    otok_buf_init(&jwt, room, sizeof room);
    test_assert_code(OTOK_OK, otok_jws_sign_pkey(key, otok_str_of(header), otok_str_of(payload), &jwt, NULL));
    return text_of(&jwt);
}

/* A proof of that key, good but for a member of its header and one of its payload; either may be NULL. */
static char *prove(const otok_pkey *key, const member *in_header, const member *in_payload)
{
    char alg[16], *jwk = public_jwk(key);
    (void)snprintf(alg, sizeof alg, "\"%s\"", otok_algorithm_name(otok_pkey_algorithm(key)));
    const member header[MEMBERS] = {{"typ", "\"dpop+jwt\""}, {"alg", alg}, {"jwk", jwk}};
    const member payload[MEMBERS] = {
        {"jti", "\"" JTI "\""}, {"htm", "\"POST\""}, {"htu", "\"" URI "\""}, {"iat", "1562262616"}};
    char *first = object_of(header, in_header), *second = object_of(payload, in_payload);
    char *text = sign(key, first, second);
    free(first);
    free(second);
    free(jwk);
    return text;
}

static otok_pkey *new_key(int32_t algorithm)
{
    otok_pkey *key = NULL;
    test_assert_code(OTOK_OK, otok_pkey_generate(algorithm, &key, NULL));
    return key;
}

static otok_pkey *key_of(const char *jwk)
{
    otok_json *json = NULL;
    otok_pkey *key = NULL;
    test_assert_code(OTOK_OK, otok_json_parse(jwk, strlen(jwk), "jwk", &json, NULL));
    test_assert_code(OTOK_OK, otok_jwk_read_pkey(json, true, &key, NULL));
    otok_json_free(json);
    return key;
}

static otok_pkey *vector_key(void)
{
    return key_of("{\"alg\":\"ES256\"," VECTOR_EC_PUBLIC "," VECTOR_EC_PRIVATE "}");
}

/* ---- reading them ---- */

static int read_proof(const char *text, otok_proof *out, otok_error *err)
{
    char *copy = strdup(text); /* ends where the text does */
    int rc = otok_proof_read(copy, "POST", URI, out, err);
    free(copy);
    return rc;
}

static void accepted(const char *text)
{
    otok_error err = {0};
    otok_proof proof;
    int rc = read_proof(text, &proof, &err);
    ck_assert_msg(rc == OTOK_OK, "%s: %s", text, err.message);
    otok_proof_free(&proof);
}

/* With a message that has `why` in it, and nothing of the proof; and nothing is left in it. */
static void refused(const char *text, const char *why)
{
    static const otok_proof nothing;
    otok_error err = {0};
    otok_proof proof;
    memset(&proof, 0xee, sizeof proof);
    test_assert_code(OTOK_E_DPOP_PROOF, read_proof(text, &proof, &err));
    ck_assert_msg(strstr(err.message, why) != NULL, "\"%s\" does not say \"%s\"", err.message, why);
    ck_assert_ptr_null(strstr(err.message, JTI));
    ck_assert_ptr_null(strstr(err.message, "eyJ"));
    ck_assert_ptr_null(strstr(err.message, "server.example"));
    ck_assert_ptr_null(strstr(err.message, "SECRET"));
    ck_assert_ptr_null(proof.nonce);
    ck_assert_int_eq(proof.iat_us, nothing.iat_us);
    ck_assert_str_eq(proof.jkt, "");
    otok_proof_free(&proof);
}

/* ---- good ones ---- */

/* RFC 9449, sections 4.1 and 7.1: the same key; the second is for a resource, and its `ath` is not looked at here. */
static const char rfc_token[] = "eyJ0eXAiOiJkcG9wK2p3dCIsImFsZyI6IkVTMjU2IiwiandrIjp7Imt0eSI6Ik"
                                "VDIiwieCI6Imw4dEZyaHgtMzR0VjNoUklDUkRZOXpDa0RscEJoRjQyVVFVZldWQVdCR"
                                "nMiLCJ5IjoiOVZFNGpmX09rX282NHpiVFRsY3VOSmFqSG10NnY5VERWclUwQ2R2R1JE"
                                "QSIsImNydiI6IlAtMjU2In19.eyJqdGkiOiItQndDM0VTYzZhY2MybFRjIiwiaHRtIj"
                                "oiUE9TVCIsImh0dSI6Imh0dHBzOi8vc2VydmVyLmV4YW1wbGUuY29tL3Rva2VuIiwia"
                                "WF0IjoxNTYyMjYyNjE2fQ.2-GxA6T8lP4vfrg8v-FdWP0A0zdrj8igiMLvqRMUvwnQg"
                                "4PtFLbdLXiOSsX0x7NVY-FNyJK70nfbV37xRZT3Lg";
static const char rfc_resource[] = "eyJ0eXAiOiJkcG9wK2p3dCIsImFsZyI6IkVTMjU2IiwiandrIjp7Imt0eSI6Ik"
                                   "VDIiwieCI6Imw4dEZyaHgtMzR0VjNoUklDUkRZOXpDa0RscEJoRjQyVVFVZldWQVdCR"
                                   "nMiLCJ5IjoiOVZFNGpmX09rX282NHpiVFRsY3VOSmFqSG10NnY5VERWclUwQ2R2R1JE"
                                   "QSIsImNydiI6IlAtMjU2In19.eyJqdGkiOiJlMWozVl9iS2ljOC1MQUVCIiwiaHRtIj"
                                   "oiR0VUIiwiaHR1IjoiaHR0cHM6Ly9yZXNvdXJjZS5leGFtcGxlLm9yZy9wcm90ZWN0Z"
                                   "WRyZXNvdXJjZSIsImlhdCI6MTU2MjI2MjYxOCwiYXRoIjoiZlVIeU8ycjJaM0RaNTNF"
                                   "c05yV0JiMHhXWG9hTnk1OUlpS0NBcWtzbVFFbyJ9.2oW9RP35yRqzhrtNP86L-Ey71E"
                                   "OptxRimPPToA1plemAgR6pxHF8y6-yqyVnmcw6Fy1dqd-jfxSYoMxhAJpLjA";

/* P3 */
START_TEST(published_proofs)
{
    otok_proof token, resource;
    test_assert_code(OTOK_OK, otok_proof_read(rfc_token, "POST", URI, &token, NULL));
    ck_assert_str_eq(token.jkt, RFC_JKT);
    ck_assert_int_eq(token.iat_us, IAT * OTOK_US_PER_S);
    ck_assert_ptr_null(token.nonce);
    ck_assert(!token.used);
    test_assert_code(OTOK_OK, otok_proof_read(rfc_resource, "GET", "https://resource.example.org/protectedresource",
                                              &resource, NULL));
    ck_assert_str_eq(resource.jkt, RFC_JKT);
    ck_assert_mem_ne(token.digest, resource.digest, sizeof token.digest);
    otok_proof_free(&token);
    otok_proof_free(&resource);
    otok_proof_free(NULL);
}
END_TEST

/* P3: the thumbprint is that of the key, however its JWK is written. */
START_TEST(proofs_of_each_algorithm)
{
    for (int32_t algorithm = OTOK_ALG_ES256; algorithm <= OTOK_ALG_PS256; algorithm++) {
        otok_pkey *key = new_key(algorithm);
        char jkt[OTOK_KID_CHARS + 1], jwk[2048], *plain = public_jwk(key), *text = prove(key, NULL, NULL);
        otok_proof proof, again;
        test_assert_code(OTOK_OK, otok_pkey_thumbprint(key, jkt, NULL));
        test_assert_code(OTOK_OK, read_proof(text, &proof, NULL));
        ck_assert_str_eq(proof.jkt, jkt);
        free(text);
        (void)snprintf(jwk, sizeof jwk, "{\"kid\":\"mine\",\"alg\":\"%s\",%s", otok_algorithm_name(algorithm),
                       plain + 1);
        text = prove(key, &(member){"jwk", jwk}, NULL);
        test_assert_code(OTOK_OK, read_proof(text, &again, NULL));
        ck_assert_str_eq(again.jkt, jkt);
        ck_assert_mem_eq(again.digest, proof.digest, sizeof proof.digest);
        otok_proof_free(&proof);
        otok_proof_free(&again);
        free(text);
        free(plain);
        otok_pkey_free(key);
    }
}
END_TEST

/* P3: what is compared for replay is key and jti, and nothing else. */
START_TEST(digest_is_of_key_and_jti)
{
    otok_pkey *keys[2] = {vector_key(), new_key(OTOK_ALG_ES256)};
    const member others[] = {{"jti", "\"another\""}, {"iat", "1562262617"}, {"nonce", "\"n\""}};
    const bool same[] = {false, true, true};
    char *text = prove(keys[0], NULL, NULL), *foreign = prove(keys[1], NULL, NULL);
    otok_proof first, other;
    test_assert_code(OTOK_OK, read_proof(text, &first, NULL));
    test_assert_code(OTOK_OK, read_proof(foreign, &other, NULL));
    ck_assert_mem_ne(first.digest, other.digest, sizeof first.digest);
    otok_proof_free(&other);
    free(foreign);
    for (size_t i = 0; i < 3; i++) {
        foreign = prove(keys[0], NULL, &others[i]);
        test_assert_code(OTOK_OK, read_proof(foreign, &other, NULL));
        ck_assert_int_eq(memcmp(first.digest, other.digest, sizeof first.digest) == 0, same[i]);
        otok_proof_free(&other);
        free(foreign);
    }
    free(text);
    otok_proof_free(&first);
    otok_pkey_free(keys[0]);
    otok_pkey_free(keys[1]);
}
END_TEST

#define A16    "aaaaaaaaaaaaaaaa"
#define A128   A16 A16 A16 A16 A16 A16 A16 A16
#define A255   A128 A16 A16 A16 A16 A16 A16 A16 "aaaaaaaaaaaaaaa"
#define OTHERS "\"kty\":\"EC\",\"crv\":\"P-256\","
#define X      "\"x\":\"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU\""
#define Y      "\"y\":\"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0\""

/* P3: members that are there, and that are allowed. */
START_TEST(members_that_are_good)
{
    static const struct {
        bool in_header;
        member other;
    } rows[] = {
        {true, {"kid", "\"mine\""}},
        {true, {"x-of-the-clients", "{\"a\":[1,null]}"}},
        {true, {"jwk", "{" VECTOR_EC_PUBLIC ",\"use\":\"sig\",\"kid\":\"k\"}"}},
        {false, {"jti", "\"a\""}},
        {false, {"jti", "\"" A255 "a\""}},
        {false, {"jti", "\"\\u00e9\\\"\""}},
        {false, {"htu", "\"HTTPS://server.example.com:443/%74oken?a=b#c\""}},
        {false, {"iat", "0"}},
        {false, {"iat", "1562262616.0"}},
        {false, {"iat", "1562262616.789"}}, /* RFC 7519 section 2 */
        {false, {"iat", "9007199254740"}},
        {false, {"nonce", "\"n\""}},
        {false, {"nonce", "\"" A255 "a\""}},
        {false, {"ath", "\"fUHyO2r2Z3DZ53EsNrWBb0xWXoaNy59IiKCAqksmQEo\""}},
        {false, {"exp", "1"}},
    };
    otok_pkey *key = vector_key();
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        char *text = prove(key, rows[i].in_header ? &rows[i].other : NULL, rows[i].in_header ? NULL : &rows[i].other);
        accepted(text);
        free(text);
    }
    otok_pkey_free(key);
}
END_TEST

/* P3: nonce and time are kept as they are, for otok_proof_use(). */
START_TEST(nonce_and_time_are_kept)
{
    otok_pkey *key = vector_key();
    otok_proof proof;
    char *text = prove(key, NULL, &(member){"nonce", "\"0123456789abcdef0123456789abcdef\""});
    test_assert_code(OTOK_OK, read_proof(text, &proof, NULL));
    ck_assert_str_eq(proof.nonce, "0123456789abcdef0123456789abcdef");
    otok_proof_free(&proof);
    ck_assert_ptr_null(proof.nonce);
    free(text);
    otok_pkey_free(key);
}
END_TEST

/* ---- bad ones ---- */

static const struct bad_member {
    member other; /* json NULL: it is missing */
    const char *why;
} bad_headers[] =
    {
        {{"typ", NULL}, "typ"},
        {{"typ", "1"}, "typ"},
        {{"typ", "null"}, "typ"},
        {{"typ", "\"\""}, "typ"},
        {{"typ", "\"JWT\""}, "typ"},
        {{"typ", "\"at+jwt\""}, "typ"},
        {{"typ", "\"DPoP+JWT\""}, "typ"},
        {{"typ", "[\"dpop+jwt\"]"}, "typ"},
        {{"+typ", "\"dpop+jwt\""}, "header"}, /* twice */
        {{"alg", NULL}, "alg"},
        {{"alg", "1"}, "alg"},
        {{"alg", "\"none\""}, "alg"},
        {{"alg", "\"None\""}, "alg"},
        {{"alg", "\"\""}, "alg"},
        {{"alg", "\"es256\""}, "alg"},
        {{"alg", "\"HS256\""}, "alg"},
        {{"alg", "\"ES384\""}, "alg"},
        {{"alg", "\"ES256K\""}, "alg"},
        {{"alg", "\"RS512\""}, "alg"},
        {{"alg", "\"RS256\""}, "kty"},
        {{"alg", "\"EdDSA\""}, "kty"},
        {{"+alg", "\"none\""}, "header"},
        {{"crit", "[\"b64\"]"}, "crit"},
        {{"crit", "[]"}, "crit"},
        {{"crit", "null"}, "crit"},
        {{"jwk", NULL}, "jwk"},
        {{"jwk", "null"}, "jwk"},
        {{"jwk", "\"" A16 "\""}, "jwk"},
        {{"jwk", "[]"}, "jwk"},
        {{"jwk", "{}"}, "kty"},
        {{"jwk", "{\"kty\":1}"}, "kty"},
        {{"jwk", "{\"kty\":\"EC\"}"}, "crv"},
        {{"jwk", "{\"kty\":\"oct\",\"k\":\"SECRET\"}"}, "k is private"},
        {{"jwk", "{\"kty\":\"EC\",\"crv\":1," X "," Y "}"}, "crv"},
        {{"jwk", "{\"kty\":\"EC\",\"crv\":\"P-384\"," X "," Y "}"}, "crv"},
        {{"jwk", "{\"kty\":\"EC\",\"crv\":\"secp256k1\"," X "," Y "}"}, "crv"},
        {{"jwk", "{\"kty\":\"EC\",\"crv\":\"P-384\","
                 "\"x\":\"qofKIr6LBTeOscce8yCtdG4dO2KLp5uYWfdB4IJUKjhVAvJdv1UpbDpUXjhydgq3\","
                 "\"y\":\"NhfeSpYmLG9dnpi_kpLcKfj0Hb0omhR86doxE7XwuMAKYLHOHX6BnXpDHXyQ6g5f\"}"},
         "crv"},
        {{"jwk", "{" OTHERS X "}"}, "y is missing"},
        {{"jwk", "{" OTHERS Y "}"}, "x is missing"},
        {{"jwk", "{" OTHERS Y ",\"x\":1}"}, "x is missing"},
        {{"jwk", "{" OTHERS Y ",\"x\":\"\"}"}, "x is empty"},
        {{"jwk", "{" OTHERS Y ",\"x\":\"+/+/\"}"}, "x is not base64url"},
        {{"jwk", "{" OTHERS Y ",\"x\":\"AQAB\"}"}, ""},
        {{"jwk", "{" OTHERS X ",\"y\":\"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU\"}"}, ""}, /* not on the curve */
        {{"jwk", "{" VECTOR_EC_PUBLIC ",\"d\":\"jpsQnnGQmL-YBIffH1136cspYG6-0iY7X1fCE9-E9LI\"}"}, "d is private"},
        {{"jwk", "{" VECTOR_EC_PUBLIC ",\"d\":null}"}, "d is private"},
        {{"jwk", "{" VECTOR_EC_PUBLIC ",\"p\":\"SECRET\"}"}, "p is private"},
        {{"jwk", "{" VECTOR_EC_PUBLIC ",\"qi\":\"SECRET\"}"}, "qi is private"},
        {{"jwk", "{" VECTOR_EC_PUBLIC ",\"k\":\"SECRET\"}"}, "k is private"},
        {{"jwk", "{" VECTOR_EC_PUBLIC ",\"oth\":[]}"}, "oth is private"},
        {{"jwk", "{" VECTOR_EC_PUBLIC ",\"alg\":\"EdDSA\"}"}, "kty"},
        {{"jwk", "{" VECTOR_EC_PUBLIC ",\"alg\":\"ES384\"}"}, "alg"},
        {{"jwk", "{" VECTOR_EC_PUBLIC ",\"alg\":null}"}, "alg"},
        {{"jwk", "{" VECTOR_EC_PUBLIC ",\"kty\":\"EC\"}"}, "header"},
        {{"jwk", "{" VECTOR_RSA_PUBLIC "}"}, "kty"},
        {{"jwk", "{" VECTOR_RSA_PUBLIC ",\"alg\":\"RS256\"}"}, "alg"},
        {{"+jwk", "{" VECTOR_EC_PUBLIC "}"}, "header"},
},
  bad_payloads[] = {
      {{"jti", NULL}, "jti"},
      {{"jti", "null"}, "jti"},
      {{"jti", "1"}, "jti"},
      {{"jti", "[\"a\"]"}, "jti"},
      {{"jti", "\"\""}, "jti"},
      {{"jti", "\"" A255 "aa\""}, "jti"},
      {{"jti", "\"a\\u0000b\""}, "payload"},
      {{"+jti", "\"a\""}, "payload"},
      {{"htm", NULL}, "htm"},
      {{"htm", "1"}, "htm"},
      {{"htm", "\"\""}, "htm"},
      {{"htm", "\"GET\""}, "htm"},
      {{"htm", "\"post\""}, "htm"},
      {{"htm", "\"POST \""}, "htm"},
      {{"+htm", "\"POST\""}, "payload"},
      {{"htu", NULL}, "htu"},
      {{"htu", "1"}, "htu"},
      {{"htu", "\"\""}, "htu"},
      {{"htu", "\"/token\""}, "htu"},
      {{"htu", "\"http://server.example.com/token\""}, "htu"},
      {{"htu", "\"https://server.example.com/\""}, "htu"},
      {{"htu", "\"https://server.example.com/token/\""}, "htu"},
      {{"htu", "\"https://server.example.com:8443/token\""}, "htu"},
      {{"htu", "\"https://server.example.com.evil.example/token\""}, "htu"},
      {{"htu", "\"https://server.example.com@evil.example/token\""}, "htu"},
      {{"+htu", "\"" URI "\""}, "payload"},
      {{"iat", NULL}, "iat"},
      {{"iat", "null"}, "iat"},
      {{"iat", "\"1562262616\""}, "iat"},
      {{"iat", "true"}, "iat"},
      {{"iat", "-0.5"}, "iat"},
      {{"iat", "-1"}, "iat"},
      {{"iat", "1e300"}, "iat"},
      {{"iat", "9223372036854"}, "iat"}, /* in microseconds it is the end of time */
      {{"iat", "9223372036855"}, "iat"}, /* and this is beyond it */
      {{"iat", "9007199254740991"}, "iat"},
      {{"iat", "9223372036854775807"}, "iat"},
      {{"+iat", "1562262616"}, "payload"},
      {{"nonce", "1"}, "nonce"},
      {{"nonce", "null"}, "nonce"},
      {{"nonce", "[]"}, "nonce"},
};

/* P3 */
START_TEST(members_that_are_missing_or_wrong)
{
    otok_pkey *key = vector_key();
    for (size_t i = 0; i < sizeof bad_headers / sizeof bad_headers[0]; i++) {
        char *text = prove(key, &bad_headers[i].other, NULL);
        refused(text, bad_headers[i].why);
        free(text);
    }
    for (size_t i = 0; i < sizeof bad_payloads / sizeof bad_payloads[0]; i++) {
        char *text = prove(key, NULL, &bad_payloads[i].other);
        refused(text, bad_payloads[i].why);
        free(text);
    }
    otok_pkey_free(key);
}
END_TEST

/* P3: header and payload are objects, and there is nothing beside them. */
START_TEST(parts_that_are_no_objects)
{
    static const char *const texts[] = {"", "[]", "null", "\"a\"", "1", "{", "{}{}", "{} x", "{\"a\":\"\xff\"}"};
    otok_pkey *key = vector_key();
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        char *text = sign(key, texts[i], "{}");
        refused(text, "header");
        free(text);
        text = sign(key, "{\"typ\":\"dpop+jwt\"}", texts[i]);
        refused(text, "payload");
        free(text);
    }
    otok_pkey_free(key);
}
END_TEST

/* P3, RFC 8725 section 2.1: no signature at all; and the public key as the secret of a MAC. */
START_TEST(algorithms_that_anybody_can_sign_with)
{
    otok_pkey *key = vector_key();
    uint8_t secret[OTOK_KEY_SIZE], sum[OTOK_SHA256_SIZE];
    size_t len = sizeof secret;
    otok_mac_key *mac = NULL;
    otok_buf forged;
    char *none = prove(key, &(member){"alg", "\"none\""}, NULL), *hs = prove(key, &(member){"alg", "\"HS256\""}, NULL);
    refused(none, "alg");
    *(strrchr(none, '.') + 1) = '\0';
    refused(none, "signature");
    ck_assert(otok_unbase64url("f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU", 43, secret, &len));
    test_assert_code(OTOK_OK, otok_mac_key_new(secret, &mac, NULL));
    *strrchr(hs, '.') = '\0';
    test_assert_code(OTOK_OK, otok_mac(mac, &(otok_str){hs, strlen(hs)}, 1, sum, NULL));
    otok_buf_init(&forged, NULL, 0);
    otok_buf_add_text(&forged, hs);
    otok_buf_add_u8(&forged, '.');
    otok_buf_add_base64url(&forged, sum, sizeof sum);
    free(hs);
    hs = text_of(&forged);
    refused(hs, "alg");
    free(hs);
    free(none);
    otok_mac_key_free(mac);
    otok_pkey_free(key);
}
END_TEST

/* P3: a proof is signed by the key that is in it, with its algorithm. */
START_TEST(signatures_of_others)
{
    otok_pkey *key = vector_key(), *other = new_key(OTOK_ALG_ES256);
    otok_pkey *rs = key_of("{\"alg\":\"RS256\"," VECTOR_RSA_PUBLIC "," VECTOR_RSA_PRIVATE "}");
    otok_pkey *ps = key_of("{\"alg\":\"PS256\"," VECTOR_RSA_PUBLIC "," VECTOR_RSA_PRIVATE "}");
    const struct {
        const otok_pkey *key;
        member in_header;
        const char *why;
    } rows[] = {
        {other, {"jwk", "{" VECTOR_EC_PUBLIC "}"}, "signature"},
        {rs, {"alg", "\"PS256\""}, "signature"},
        {ps, {"alg", "\"RS256\""}, "signature"},
        {ps, {"jwk", "{" VECTOR_RSA_PUBLIC ",\"alg\":\"RS256\"}"}, "alg"},
        {rs, {"jwk", "{" VECTOR_7638_PUBLIC "}"}, "signature"},
        {rs, {"jwk", "{" VECTOR_EC_PUBLIC "}"}, "kty"},
        {rs, {"jwk", "{\"kty\":\"RSA\",\"e\":\"AQAB\",\"n\":\"" A128 "\"}"}, ""},     /* 768 bits */
        {rs, {"jwk", "{\"kty\":\"RSA\",\"e\":\"AQ\",\"n\":\"" A255 A128 "a\"}"}, ""}, /* to the power of one */
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        char *text = prove(rows[i].key, &rows[i].in_header, NULL);
        refused(text, rows[i].why);
        free(text);
    }
    otok_pkey_free(key);
    otok_pkey_free(other);
    otok_pkey_free(rs);
    otok_pkey_free(ps);
}
END_TEST

/* P3: one text is one proof: no other spelling, and no byte of it may be another. */
START_TEST(no_byte_of_it_may_be_another)
{
    char text[sizeof rfc_token + 2];
    size_t len = sizeof rfc_token - 1;
    for (size_t i = 0; i < len; i++) {
        memcpy(text, rfc_token, sizeof rfc_token);
        text[i] = text[i] == 'A' ? 'B' : text[i] == '.' ? 'A' : 'A';
        refused(text, "");
        text[i] = (char)(rfc_token[i] + 1); /* the bits of a last character that mean nothing, among others */
        refused(text, "");
    }
    static const char more[] = "=. \n\tA&\x80";
    for (size_t i = 0; i < sizeof more - 1; i++) {
        (void)snprintf(text, sizeof text, "%s%c", rfc_token, more[i]);
        refused(text, "");
        (void)snprintf(text, sizeof text, "%c%s", more[i], rfc_token);
        refused(text, "");
    }
    for (size_t n = 0; n < len; n++) {
        memcpy(text, rfc_token, n);
        text[n] = '\0';
        refused(text, "");
    }
}
END_TEST

/* P3: sizes are capped: to the byte. */
START_TEST(long_proofs)
{
    enum { MOST = 8192 };
    otok_pkey *key = vector_key();
    char filler[MOST] = "\"", *text = NULL;
    memset(filler + 1, 'a', sizeof filler - 1);
    size_t longest = 0;
    for (size_t n = 5000; longest <= MOST; n++) {
        memset(filler + 1, 'a', n);
        filler[n] = '"';
        filler[n + 1] = '\0';
        text = prove(key, NULL, &(member){"more", filler});
        longest = strlen(text);
        if (longest <= MOST && longest > MOST - 4)
            accepted(text);
        else if (longest > MOST)
            refused(text, "8192");
        else
            n += (MOST - longest) / 2;
        free(text);
    }
    char *endless = malloc(1 << 20);
    memset(endless, 'a', 1 << 20);
    endless[(1 << 20) - 1] = '\0';
    refused(endless, "8192");
    endless[MOST + 1] = '\0';
    refused(endless, "8192");
    endless[MOST] = '\0';
    refused(endless, "three parts");
    free(endless);
    refused("", "empty");
    otok_proof proof;
    test_assert_code(OTOK_E_DPOP_PROOF, otok_proof_read(NULL, "POST", URI, &proof, NULL));
    otok_pkey_free(key);
}
END_TEST

/* P3: what the host leaves out is its mistake, and not the client's. */
START_TEST(host_that_does_not_say_what_was_asked)
{
    otok_proof proof;
    test_assert_code(OTOK_E_INVALID, otok_proof_read(rfc_token, "POST", NULL, &proof, NULL));
    test_assert_code(OTOK_E_INVALID, otok_proof_read(rfc_token, NULL, URI, &proof, NULL));
    test_assert_code(OTOK_E_DPOP_PROOF, otok_proof_read(rfc_token, "POST", "/token", &proof, NULL));
    test_assert_code(OTOK_E_DPOP_PROOF, otok_proof_read(rfc_token, "", URI, &proof, NULL));
}
END_TEST

/* P3: a nonce that cannot be ours is another server's: no bad proof, but one to be answered as a stale nonce. */
START_TEST(nonce_of_another_server_is_a_stale_one)
{
    static const char *const nonces[] = {"\"\"", "\"n\"", "\"" A255 "aa\""};
    otok_pkey *key = vector_key();
    test_fixture *f = test_open(TEST_MEMORY);
    const otok_rules rules = {.dpop_window_us = 60 * OTOK_US_PER_S};
    const otok_owner owner = {otok_str_of("alice"), otok_str_of("phone")};
    for (size_t i = 0; i < sizeof nonces / sizeof nonces[0]; i++) {
        otok_proof proof;
        char *text = prove(key, NULL, &(member){"nonce", nonces[i]});
        test_assert_code(OTOK_OK, read_proof(text, &proof, NULL));
        test_assert_code(OTOK_E_DPOP_NONCE, otok_proof_use(f->service, &proof, &owner, &rules, proof.iat_us, NULL));
        otok_proof_free(&proof);
        free(text);
    }
    otok_pkey_free(key);
    test_close(f);
}
END_TEST

/* P3, RFC 9449 section 7.1: `ath` is of one access token, and is asked for at resources only; whatever else it is, it is none. */
START_TEST(proof_is_of_an_access_token)
{
    static const char token[] = "Kz~8mXK1EalYznwH-LC-1fBAo.4Ljp~zsPE_NeO.gxU";
    static const char *const none[] = {NULL,
                                       "\"\"",
                                       "null",
                                       "7",
                                       "\"fUHyO2r2Z3DZ53EsNrWBb0xWXoaNy59IiKCAqksmQE\"",
                                       "\"fUHyO2r2Z3DZ53EsNrWBb0xWXoaNy59IiKCAqksmQEp\"",
                                       "\"fUHyO2r2Z3DZ53EsNrWBb0xWXoaNy59IiKCAqksmQEoo\"",
                                       "\"fUHyO2r2Z3DZ53EsNrWBb0xWXoaNy59IiKCAqksmQEo=\"",
                                       "\"guHyO2r2Z3DZ53EsNrWBb0xWXoaNy59IiKCAqksmQEo\""};
    otok_pkey *key = vector_key();
    otok_proof proof;
    char *text = prove(key, NULL, &(member){"ath", "\"fUHyO2r2Z3DZ53EsNrWBb0xWXoaNy59IiKCAqksmQEo\""});
    test_assert_code(OTOK_OK, read_proof(text, &proof, NULL));
    test_assert_code(OTOK_OK, otok_proof_check_ath(&proof, token, NULL));
    test_assert_code(OTOK_E_DPOP_PROOF, otok_proof_check_ath(&proof, token + 1, NULL));
    test_assert_code(OTOK_E_DPOP_PROOF, otok_proof_check_ath(&proof, "", NULL));
    otok_proof_free(&proof);
    free(text);
    for (size_t i = 0; i < sizeof none / sizeof none[0]; i++) {
        text = prove(key, NULL, none[i] != NULL ? &(member){"ath", none[i]} : NULL);
        test_assert_code(OTOK_OK, read_proof(text, &proof, NULL));
        test_assert_code(OTOK_E_DPOP_PROOF, otok_proof_check_ath(&proof, token, NULL));
        otok_proof_free(&proof);
        free(text);
    }
    otok_pkey_free(key);
}
END_TEST

/* P3: a stranger chooses the key, and not what it costs us. */
START_TEST(rsa_keys_that_cost_too_much_are_refused)
{
    char n[1024], e[1024];
    (void)snprintf(n, sizeof n, "{\"kty\":\"RSA\",\"e\":\"AQAB\",\"n\":\"%0684d\"}", 1);
    (void)snprintf(e, sizeof e, "{\"kty\":\"RSA\",\"e\":\"%07d\",\"n\":\"%0342d\"}", 1, 1);
    const char *const jwks[] = {n, e};
    otok_pkey *key = vector_key();
    for (size_t i = 0; i < 2; i++) {
        char *text = prove(key, &(member){"jwk", jwks[i]}, NULL);
        refused(text, "RSA key of more than 4096 bits");
        free(text);
    }
    otok_pkey_free(key);
}
END_TEST

/* P3: without memory it is no bad proof, and nothing stays behind. */
START_TEST(each_allocation_that_fails)
{
    otok_pkey *key = vector_key();
    char *text = prove(key, NULL, &(member){"nonce", "\"n\""});
    otok_proof proof;
    long n = 0;
    for (int rc = OTOK_E_NOMEM; rc != OTOK_OK; n++) {
        fail_at = n;
        rc = otok_proof_read(text, "POST", URI, &proof, NULL);
        bool failed = fail_at < 0;
        fail_at = -1;
        test_assert_code(failed ? OTOK_E_NOMEM : OTOK_OK, rc);
        ck_assert((rc == OTOK_OK) == (proof.nonce != NULL));
        otok_proof_free(&proof);
    }
    ck_assert_int_gt(n, 5);
    free(text);
    otok_pkey_free(key);
}
END_TEST

static void add_tests(TCase *tcase)
{
    tcase_add_test(tcase, published_proofs);
    tcase_add_test(tcase, proofs_of_each_algorithm);
    tcase_add_test(tcase, digest_is_of_key_and_jti);
    tcase_add_test(tcase, members_that_are_good);
    tcase_add_test(tcase, nonce_and_time_are_kept);
    tcase_add_test(tcase, members_that_are_missing_or_wrong);
    tcase_add_test(tcase, parts_that_are_no_objects);
    tcase_add_test(tcase, algorithms_that_anybody_can_sign_with);
    tcase_add_test(tcase, signatures_of_others);
    tcase_add_test(tcase, no_byte_of_it_may_be_another);
    tcase_add_test(tcase, long_proofs);
    tcase_add_test(tcase, host_that_does_not_say_what_was_asked);
    tcase_add_test(tcase, each_allocation_that_fails);
    tcase_add_test(tcase, nonce_of_another_server_is_a_stale_one);
    tcase_add_test(tcase, proof_is_of_an_access_token);
    tcase_add_test(tcase, rsa_keys_that_cost_too_much_are_refused);
}

int main(void)
{
    return test_main("dpop", add_tests);
}
