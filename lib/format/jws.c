/*
 * jws.c - JWS compact serialisation (RFC 7515 section 3.1), signed and verified.
 *
 * SPDX-License-Identifier: MIT
 */
#include "format/format.h"

#include <string.h>

static const struct {
    int32_t algorithm;
    const char *name;
} names[] = {
    {OTOK_ALG_ES256, "ES256"}, {OTOK_ALG_EDDSA, "EdDSA"}, {OTOK_ALG_RS256, "RS256"}, {OTOK_ALG_PS256, "PS256"}};

enum { ALGORITHMS = sizeof names / sizeof names[0] };

const char *otok_algorithm_name(int32_t algorithm)
{
    for (size_t i = 0; i < ALGORITHMS; i++) {
        if (names[i].algorithm == algorithm)
            return names[i].name;
    }
    return NULL;
}

int32_t otok_algorithm_of_name(const char *name)
{
    for (size_t i = 0; name != NULL && i < ALGORITHMS; i++) {
        if (strcmp(names[i].name, name) == 0)
            return names[i].algorithm;
    }
    return -1;
}

int otok_jws_sign(otok_jws_signer sign, void *key, otok_str header, otok_str payload, otok_buf *out, otok_error *err)
{
    uint8_t signature[OTOK_SIGNATURE_MAX];
    size_t len = sizeof signature, start = out->len;

    otok_buf_add_base64url(out, header.data, header.len);
    otok_buf_add_u8(out, '.');
    otok_buf_add_base64url(out, payload.data, payload.len);
    if (!out->failed) {
        int rc = sign(key, out->data + start, out->len - start, signature, &len, err);
        if (rc != OTOK_OK)
            return rc;
        otok_buf_add_u8(out, '.');
        otok_buf_add_base64url(out, signature, len);
    }
    return out->failed ? otok_fail(err, OTOK_E_NOMEM, "no memory for a JWT") : OTOK_OK;
}

static int sign_here(void *key, const void *data, size_t data_len, uint8_t *signature, size_t *len, otok_error *err)
{
    return otok_sign(*(const otok_pkey *const *)key, data, data_len, signature, len, err);
}

int otok_jws_sign_pkey(const otok_pkey *key, otok_str header, otok_str payload, otok_buf *out, otok_error *err)
{
    return otok_jws_sign(sign_here, &key, header, payload, out, err);
}

/* ---- taking apart ---- */

/* A part that is the base64url of a JSON object; `text_out` is that object's text, freed with otok_wipe_free(). */
static int parse_object(const char *text, size_t len, const char *what, otok_json **out, otok_str *text_out,
                        otok_error *err)
{
    size_t n = len / 4 * 3 + 3;
    uint8_t *bytes = otok_malloc(n);

    if (bytes == NULL)
        return otok_fail(err, OTOK_E_NOMEM, "no memory for a JWT");
    *text_out = (otok_str){bytes, n};
    if (!otok_unbase64url(text, len, bytes, &n))
        return otok_fail(err, OTOK_E_TOKEN_INVALID, "the %s of the JWT is not base64url", what);
    text_out->len = n;
    int rc = otok_json_parse((const char *)bytes, n, what, out, err);
    if (rc == OTOK_OK && !otok_json_is_object(*out))
        rc = OTOK_E_FORMAT;
    if (rc == OTOK_E_FORMAT)
        rc = otok_fail(err, OTOK_E_TOKEN_INVALID, "the %s of the JWT is not a JSON object", what);
    return rc;
}

static void free_text(otok_str text)
{
    otok_wipe_free((void *)(uintptr_t)text.data, text.len);
}

/* `dot` are the two places where header and payload end. */
static int parse_parts(otok_jws *jwt, const char *text, size_t len, const char *const dot[2], otok_error *err)
{
    const char *payload = dot[0] + 1, *signature = dot[1] + 1;
    size_t signature_chars = (size_t)(text + len - signature);
    otok_str header_text = {NULL, 0};

    jwt->signed_len = (size_t)(dot[1] - text);
    jwt->signature_len = sizeof jwt->signature;
    if (!otok_unbase64url(signature, signature_chars, jwt->signature, &jwt->signature_len) || jwt->signature_len == 0)
        return otok_fail(err, OTOK_E_TOKEN_INVALID, "the signature of the JWT is missing, too long or not base64url");
    int rc = parse_object(text, (size_t)(dot[0] - text), "header", &jwt->header, &header_text, err);
    free_text(header_text);
    if (rc == OTOK_OK)
        rc = parse_object(payload, (size_t)(dot[1] - payload), "payload", &jwt->payload, &jwt->payload_text, err);
    return rc;
}

int otok_jws_parse(const char *text, size_t len, otok_jws **out, otok_error *err)
{
    *out = NULL;
    if (len > OTOK_JWS_MAX)
        return otok_fail(err, OTOK_E_TOKEN_INVALID, "the JWT has %zu bytes, %d are the most", len, OTOK_JWS_MAX);

    const char *dot[2] = {NULL, NULL}, *end = text + len;
    if (len != 0)
        dot[0] = memchr(text, '.', len);
    if (dot[0] != NULL)
        dot[1] = memchr(dot[0] + 1, '.', (size_t)(end - dot[0] - 1));
    if (dot[1] == NULL) /* more than two dots are not base64url */
        return otok_fail(err, OTOK_E_TOKEN_INVALID, "the JWT has not three parts");

    otok_jws *jwt = otok_calloc(1, sizeof *jwt);
    if (jwt == NULL)
        return otok_fail(err, OTOK_E_NOMEM, "no memory for a JWT");
    int rc = parse_parts(jwt, text, len, dot, err);
    if (rc == OTOK_OK)
        *out = jwt;
    else
        otok_jws_free(jwt);
    return rc;
}

int otok_jws_verify(const otok_jws *jwt, const char *text, const otok_pkey *key, otok_error *err)
{
    if (otok_algorithm_of_name(otok_json_text(jwt->header, "alg")) != otok_pkey_algorithm(key))
        return otok_fail(err, OTOK_E_TOKEN_INVALID, "the JWT's alg is not the key's (RFC 8725 section 3.1)");
    if (otok_json_member(jwt->header, "crit") != NULL)
        return otok_fail(err, OTOK_E_TOKEN_INVALID, "the JWT has critical extensions, and none is known here");
    return otok_verify(key, text, jwt->signed_len, jwt->signature, jwt->signature_len, err);
}

void otok_jws_free(otok_jws *jwt)
{
    if (jwt == NULL)
        return;
    otok_json_free(jwt->header);
    otok_json_free(jwt->payload);
    free_text(jwt->payload_text);
    otok_wipe_free(jwt, sizeof *jwt);
}
