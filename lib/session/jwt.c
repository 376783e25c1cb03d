/*
 * jwt.c - what a host has signed with the service's keys, and reads again: logout tokens, id_token_hint, and the like (K1, K2, K5).
 *
 * Every JWT of a service has its issuer in it, and a type of its own in its header, so that none passes for another
 * (RFC 8725 section 3.11).
 *
 * SPDX-License-Identifier: MIT
 */
#include "session/session.h"

#include <string.h>

/* Of JSON we read 64 KiB: what nobody could read again is not made. */
enum { TYP_MAX = 64, CLAIMS_MAX = 65536 };

/* Where "application/" is left out it is meant, if the rest has no slash of its own (RFC 7515 section 4.1.9). */
static const char application[] = "application/";

/* ------------------------------------------------------------------------------------------------------------- the type */

/* Without the locale, in which an I may be another letter. */
static bool is_name_char(char c)
{
    return (otok_lower(c) >= 'a' && otok_lower(c) <= 'z') || (c != '\0' && strchr("0123456789!#$&-^_.+", c) != NULL);
}

/* A media type, or its subtype alone (RFC 6838 section 4.2). */
static bool is_media_type(const char *typ, size_t len)
{
    size_t slashes = 0;
    for (size_t i = 0; i < len; i++) {
        bool is_slash = typ[i] == '/' && i != 0 && i + 1 < len;
        slashes += is_slash;
        if (!is_slash && !is_name_char(typ[i]))
            return false;
    }
    return len != 0 && slashes <= 1;
}

static int check_typ(const char *typ, otok_error *err)
{
    size_t len = typ != NULL ? strnlen(typ, TYP_MAX + 1) : 0;
    if (len <= TYP_MAX && is_media_type(typ, len))
        return OTOK_OK;
    return otok_fail(err, OTOK_E_INVALID, "typ is not a media type of at most %d characters", TYP_MAX);
}

static const char *subtype_of(const char *typ)
{
    size_t i = 0;
    while (application[i] != '\0' && otok_lower(typ[i]) == application[i])
        i++;
    return application[i] == '\0' && strchr(typ + i, '/') == NULL ? typ + i : typ;
}

/* Names of types know no case (RFC 6838 section 4.2). */
static bool is_same_typ(const char *a, const char *b)
{
    a = subtype_of(a);
    b = subtype_of(b);
    while (*a != '\0' && otok_lower(*a) == otok_lower(*b)) {
        a++;
        b++;
    }
    return *a == *b;
}

/* ---------------------------------------------------------------------------------------------------------------- signing */

/* The issuer is the service's to say. */
static int read_claims(const char *json, otok_str *members, otok_error *err)
{
    otok_error why = {0};
    otok_json *parsed = NULL;
    size_t len = strnlen(json, CLAIMS_MAX + 1);
    if (len > CLAIMS_MAX)
        return otok_fail(err, OTOK_E_INVALID, "claims are longer than %d bytes", CLAIMS_MAX);
    int rc = otok_json_parse(json, len, "claims", &parsed, &why);
    if (rc == OTOK_E_FORMAT)
        rc = otok_fail(err, OTOK_E_INVALID, "%s", why.message);
    else if (rc != OTOK_OK)
        rc = otok_fail(err, rc, "%s", why.message);
    else if (!otok_json_is_object(parsed))
        rc = otok_fail(err, OTOK_E_INVALID, "claims are not a JSON object");
    else if (otok_json_member(parsed, "iss") != NULL)
        rc = otok_fail(err, OTOK_E_INVALID, "claims: \"iss\" is the service's issuer, and must not be among them");
    else
        *members = otok_json_members(json, len);
    otok_json_free(parsed);
    return rc;
}

static int sign(otok_service *service, const char *typ, otok_str members, otok_buf *out, otok_error *err)
{
    const otok_keys *keys = otok_service_now_keys(service);
    otok_buf header, payload;
    otok_buf_init(&header, NULL, 0);
    otok_buf_init(&payload, NULL, 0);
    otok_jose_header(keys->signing, typ, &header);
    otok_json_begin(&payload);
    otok_json_add_text(&payload, "iss", service->issuer);
    otok_json_add_fragment(&payload, members);
    otok_json_end(&payload);
    int rc = OTOK_OK;
    if (header.failed || payload.failed)
        rc = otok_fail(err, OTOK_E_NOMEM, "out of memory");
    else if (payload.len > CLAIMS_MAX)
        rc = otok_fail(err, OTOK_E_INVALID, "claims and issuer are %zu bytes together, %d are the most", payload.len,
                       CLAIMS_MAX);
    else
        rc = otok_service_sign(service, keys, (otok_str){header.data, header.len},
                               (otok_str){payload.data, payload.len}, out, err);
    otok_buf_free(&header);
    otok_buf_free(&payload);
    return rc;
}

int otok_jwt_sign(otok_service *service, const char *typ, const char *claims, char **out, otok_error *err)
{
    otok_str members = {0};
    otok_buf jwt;
    if (out != NULL)
        *out = NULL;
    if (service == NULL || claims == NULL || out == NULL)
        return otok_fail(err, OTOK_E_INVALID, "%s is required",
                         service == NULL  ? "service"
                         : claims == NULL ? "claims"
                                          : "out");
    int rc = check_typ(typ, err);
    if (rc == OTOK_OK)
        rc = read_claims(claims, &members, err);
    if (rc != OTOK_OK)
        return rc;
    otok_buf_init(&jwt, NULL, 0);
    rc = sign(service, typ, members, &jwt, err);
    if (rc == OTOK_OK && (*out = otok_strndup(jwt.data, jwt.len)) == NULL)
        rc = otok_fail(err, OTOK_E_NOMEM, "out of memory");
    otok_buf_free(&jwt);
    return rc;
}

/* -------------------------------------------------------------------------------------------------------------- verifying */

static bool is_ours(const otok_service *service, const otok_jws *jws, const char *typ)
{
    const char *its_typ = otok_json_text(jws->header, "typ"), *iss = otok_json_text(jws->payload, "iss");
    return its_typ != NULL && is_same_typ(its_typ, typ) && iss != NULL && strcmp(iss, service->issuer) == 0;
}

/* The signature last: what is not meant for us costs none, and has nobody look at the keyring's file. */
static int verify(const otok_service *service, const otok_jws *jws, const char *text, const char *typ, otok_error *err)
{
    const char *kid = otok_json_text(jws->header, "kid");
    const otok_signing_key *key = NULL;
    if (kid == NULL || !is_ours(service, jws, typ))
        return otok_fail(err, OTOK_E_TOKEN_INVALID, "the JWT has another typ or issuer, or no kid");
    int rc = otok_service_signing_key(service, kid, &key, err);
    if (rc != OTOK_OK)
        return rc;
    return key != NULL ? otok_jws_verify(jws, text, key->pkey, err)
                       : otok_fail(err, OTOK_E_TOKEN_INVALID, "the JWT is not under a key of this service");
}

int otok_jwt_verify(otok_service *service, const char *jwt, const char *typ, char **claims, otok_error *err)
{
    otok_jws *jws = NULL;
    if (claims != NULL)
        *claims = NULL;
    if (service == NULL || jwt == NULL || claims == NULL)
        return otok_fail(err, OTOK_E_INVALID, "%s is required",
                         service == NULL ? "service"
                         : jwt == NULL   ? "jwt"
                                         : "claims");
    int rc = check_typ(typ, err);
    if (rc == OTOK_OK)
        rc = otok_jws_parse(jwt, strnlen(jwt, OTOK_JWS_MAX + 1), &jws, err);
    if (rc == OTOK_OK)
        rc = verify(service, jws, jwt, typ, err);
    if (rc == OTOK_OK && (*claims = otok_strndup(jws->payload_text.data, jws->payload_text.len)) == NULL)
        rc = otok_fail(err, OTOK_E_NOMEM, "out of memory");
    otok_jws_free(jws);
    return rc;
}
