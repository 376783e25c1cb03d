/*
 * jwk.c - one key as a JWK: read, printed, its thumbprint.
 *
 * SPDX-License-Identifier: MIT
 */
#include "keys/keys.h"

#include <string.h>

enum { EC = 1, OKP = 2, RSA = 4 };

static const struct form {
    int32_t algorithm;
    unsigned sort;
    const char *kty;
    const char *crv; /* NULL: has none */
} forms[] = {
    {OTOK_ALG_ES256, EC, "EC", "P-256"},
    {OTOK_ALG_EDDSA, OKP, "OKP", "Ed25519"},
    {OTOK_ALG_RS256, RSA, "RSA", NULL},
    {OTOK_ALG_PS256, RSA, "RSA", NULL},
};

/* The public numbers in the order that RFC 7638 wants, "kty" coming between e and n, then the private ones. */
static const struct number {
    const char *name;
    size_t offset;
    unsigned sorts;
} numbers[] = {
    {"e", offsetof(otok_jwk_numbers, e), RSA},
    {"n", offsetof(otok_jwk_numbers, n), RSA},
    {"x", offsetof(otok_jwk_numbers, crv_x), EC | OKP},
    {"y", offsetof(otok_jwk_numbers, crv_y), EC},
    {"d", offsetof(otok_jwk_numbers, d), EC | OKP | RSA},
    {"p", offsetof(otok_jwk_numbers, p), RSA},
    {"q", offsetof(otok_jwk_numbers, q), RSA},
    {"dp", offsetof(otok_jwk_numbers, dp), RSA},
    {"dq", offsetof(otok_jwk_numbers, dq), RSA},
    {"qi", offsetof(otok_jwk_numbers, qi), RSA},
};

enum { FIRST_AFTER_KTY = 1, PUBLIC_NUMBERS = 4, NUMBERS = sizeof numbers / sizeof numbers[0] };

static const struct form *form_of(int32_t algorithm)
{
    for (size_t i = 0; i < sizeof forms / sizeof forms[0]; i++) {
        if (forms[i].algorithm == algorithm)
            return &forms[i];
    }
    return NULL;
}

static otok_str *number_at(otok_jwk_numbers *of, size_t i)
{
    return (otok_str *)(void *)((char *)of + numbers[i].offset);
}

/* ---- printing ---- */

static void add_bytes(otok_buf *out, const char *name, otok_str bytes)
{
    otok_json_add_name(out, name);
    otok_buf_add_u8(out, '"');
    otok_buf_add_base64url(out, bytes.data, bytes.len);
    otok_buf_add_u8(out, '"');
}

/* Those of the numbers that this key has. */
static void add_numbers(otok_buf *out, otok_jwk_numbers *of, size_t first, size_t end)
{
    for (size_t i = first; i < end; i++) {
        if (number_at(of, i)->len != 0)
            add_bytes(out, numbers[i].name, *number_at(of, i));
    }
}

int otok_jwk_add_pkey(otok_buf *out, const otok_pkey *key, bool with_private, otok_error *err)
{
    const struct form *form = form_of(otok_pkey_algorithm(key));
    otok_jwk_numbers of;
    otok_buf storage;

    otok_buf_init(&storage, NULL, 0);
    int rc = otok_pkey_numbers(key, with_private, &storage, &of, err);
    if (rc == OTOK_OK) {
        if (form->crv != NULL)
            otok_json_add_text(out, "crv", form->crv);
        add_numbers(out, &of, 0, FIRST_AFTER_KTY);
        otok_json_add_text(out, "kty", form->kty);
        add_numbers(out, &of, FIRST_AFTER_KTY, NUMBERS);
    }
    otok_buf_free(&storage);
    return rc;
}

void otok_jwk_add_oct(otok_buf *out, const uint8_t key[OTOK_KEY_SIZE])
{
    add_bytes(out, "k", (otok_str){key, OTOK_KEY_SIZE});
    otok_json_add_text(out, "kty", "oct");
}

/* ---- thumbprints ---- */

/*
 * RFC 7638: the digest of an object with the required members only, sorted by name.  Takes over `jwk`, which lacks
 * its end.
 */
static int digest(otok_buf *jwk, int rc, char out[OTOK_KID_CHARS + 1], otok_error *err)
{
    uint8_t sum[OTOK_SHA256_SIZE];
    otok_json_end(jwk);
    if (rc == OTOK_OK && jwk->failed)
        rc = otok_fail(err, OTOK_E_NOMEM, "no memory for a thumbprint");
    if (rc == OTOK_OK)
        rc = otok_sha256(&(otok_str){jwk->data, jwk->len}, 1, sum, err);
    if (rc == OTOK_OK) {
        otok_base64url(sum, sizeof sum, out);
        out[OTOK_KID_CHARS] = '\0';
    }
    otok_buf_free(jwk);
    return rc;
}

int otok_pkey_thumbprint(const otok_pkey *key, char out[OTOK_KID_CHARS + 1], otok_error *err)
{
    otok_buf jwk;
    otok_buf_init(&jwk, NULL, 0);
    otok_json_begin(&jwk);
    return digest(&jwk, otok_jwk_add_pkey(&jwk, key, false, err), out, err);
}

int otok_oct_thumbprint(const uint8_t key[OTOK_KEY_SIZE], char out[OTOK_KID_CHARS + 1], otok_error *err)
{
    uint8_t room[128];
    otok_buf jwk;
    otok_buf_init(&jwk, room, sizeof room);
    otok_json_begin(&jwk);
    otok_jwk_add_oct(&jwk, key);
    return digest(&jwk, OTOK_OK, out, err);
}

uint8_t otok_oct_id(const char kid[OTOK_KID_CHARS + 1])
{
    uint8_t thumbprint[OTOK_SHA256_SIZE] = {0};
    size_t len = sizeof thumbprint;
    (void)otok_unbase64url(kid, OTOK_KID_CHARS, thumbprint, &len);
    return (uint8_t)(1 + thumbprint[0] % UINT8_MAX);
}

/* ---- reading ---- */

static bool is_text(const otok_json *jwk, const char *name, const char *expected)
{
    const char *text = otok_json_text(jwk, name);
    return text != NULL && strcmp(text, expected) == 0;
}

static int read_bytes(const otok_json *jwk, const char *name, uint8_t *out, size_t *len, otok_error *err)
{
    const char *text = otok_json_text(jwk, name);
    if (text == NULL)
        return otok_fail(err, OTOK_E_KEY, "%s is missing", name);
    if (!otok_unbase64url(text, strlen(text), out, len))
        return otok_fail(err, OTOK_E_KEY, "%s is not base64url, or too long", name);
    if (*len == 0)
        return otok_fail(err, OTOK_E_KEY, "%s is empty", name);
    return OTOK_OK;
}

int otok_jwk_read_pkey(const otok_json *jwk, bool with_private, otok_pkey **out, otok_error *err)
{
    const struct form *form = form_of(otok_algorithm_of_name(otok_json_text(jwk, "alg")));
    size_t count = with_private ? NUMBERS : PUBLIC_NUMBERS;
    otok_jwk_numbers of = {0};

    *out = NULL;
    if (form == NULL)
        return otok_fail(err, OTOK_E_KEY, "alg is none of ES256, EdDSA, RS256, PS256");
    if (!is_text(jwk, "kty", form->kty))
        return otok_fail(err, OTOK_E_KEY, "kty is not %s, as its alg demands", form->kty);
    if (form->crv != NULL && !is_text(jwk, "crv", form->crv))
        return otok_fail(err, OTOK_E_KEY, "crv is not %s, as its alg demands", form->crv);

    uint8_t *storage = otok_calloc(NUMBERS, OTOK_JWK_NUMBER_MAX);
    if (storage == NULL)
        return otok_fail(err, OTOK_E_NOMEM, "no memory for a key");
    int rc = OTOK_OK;
    for (size_t i = 0; i < count && rc == OTOK_OK; i++) {
        if ((numbers[i].sorts & form->sort) == 0)
            continue;
        size_t len = OTOK_JWK_NUMBER_MAX;
        uint8_t *at = storage + i * OTOK_JWK_NUMBER_MAX;
        rc = read_bytes(jwk, numbers[i].name, at, &len, err);
        *number_at(&of, i) = (otok_str){at, len};
    }
    if (rc == OTOK_OK)
        rc = otok_pkey_from_numbers(form->algorithm, &of, out, err);
    otok_wipe_free(storage, (size_t)NUMBERS * OTOK_JWK_NUMBER_MAX);
    return rc;
}

int otok_jwk_read_external(const otok_json *jwk, otok_pkey **out, otok_error *err)
{
    static const char *const others[] = {"oth", "k"}; /* RFC 7518 sections 6.3.2.7 and 6.4.1 */
    const char *found = NULL;
    for (size_t i = PUBLIC_NUMBERS; i < NUMBERS && found == NULL; i++)
        found = otok_json_member(jwk, numbers[i].name) != NULL ? numbers[i].name : NULL;
    for (size_t i = 0; i < sizeof others / sizeof others[0] && found == NULL; i++)
        found = otok_json_member(jwk, others[i]) != NULL ? others[i] : NULL;
    *out = NULL;
    if (found != NULL)
        return otok_fail(err, OTOK_E_KEY, "%s is private, and must not be in a key whose private half is elsewhere",
                         found);
    return otok_jwk_read_pkey(jwk, false, out, err);
}

int otok_jwk_read_oct(const otok_json *jwk, uint8_t out[OTOK_KEY_SIZE], otok_error *err)
{
    size_t len = OTOK_KEY_SIZE;
    if (!is_text(jwk, "alg", "HS256"))
        return otok_fail(err, OTOK_E_KEY, "alg of a MAC key is not HS256");
    int rc = read_bytes(jwk, "k", out, &len, err);
    if (rc == OTOK_OK && len != OTOK_KEY_SIZE)
        rc = otok_fail(err, OTOK_E_KEY, "k has %zu bytes, not %d", len, OTOK_KEY_SIZE);
    return rc;
}
