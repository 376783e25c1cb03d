/*
 * grant.c - what a host hands in with a grant or a request, checked field by field.
 *
 * SPDX-License-Identifier: MIT
 */
#include "session/session.h"

#include <string.h>

enum {
    NAME_BOUND = 255,
    SCOPE_BOUND = 4096,
    CLAIMS_BOUND = 16384,
    NONCE_BOUND = 512,
    LABEL_BOUND = 512,
    USER_AGENT_BOUND = 512,
    IP_BOUND = 64,
    RESOURCE_BOUND = 1024,
    THUMBPRINT_CHARS = 43
};

void otok_grant_init(otok_grant *grant, size_t size)
{
    otok_struct_init(grant, size);
}

void otok_peer_init(otok_peer *peer, size_t size)
{
    otok_struct_init(peer, size);
}

/* ----------------------------------------------------------------------------------------------------------- the peer */

static bool thumbprint_of(const char *text, uint8_t out[OTOK_SHA256_SIZE])
{
    size_t size = OTOK_SHA256_SIZE;
    return strnlen(text, THUMBPRINT_CHARS + 1) == THUMBPRINT_CHARS &&
           otok_unbase64url(text, THUMBPRINT_CHARS, out, &size) && size == OTOK_SHA256_SIZE;
}

int otok_peer_read(const otok_peer *in, otok_peer *out, otok_error *err)
{
    uint8_t thumbprint[OTOK_SHA256_SIZE];
    memset(out, 0, sizeof *out);
    int rc = in != NULL ? otok_struct_read(out, sizeof *out, in, sizeof(size_t), "otok_peer", err) : OTOK_OK;
    if (rc != OTOK_OK)
        return rc;
    if (out->jkt != NULL && !thumbprint_of(out->jkt, thumbprint))
        return otok_fail(err, OTOK_E_INVALID, "peer.jkt is not a base64url SHA-256 thumbprint of 43 characters");
    if (out->x5t_s256 != NULL && !thumbprint_of(out->x5t_s256, thumbprint))
        return otok_fail(err, OTOK_E_INVALID, "peer.x5t_s256 is not a base64url SHA-256 thumbprint of 43 characters");
    return OTOK_OK;
}

int otok_text_bounded(const char *text, size_t bound, int32_t overlong, const char *field, otok_str *out,
                      otok_error *err)
{
    *out = (otok_str){0};
    if (text == NULL)
        return OTOK_OK;
    size_t len = strlen(text);
    if (!otok_text_is_clean(text, len))
        return otok_fail(err, OTOK_E_INVALID, "%s is not UTF-8 without control characters", field);
    if (len > bound && overlong == OTOK_OVERLONG_REFUSE)
        return otok_fail(err, OTOK_E_INVALID, "%s is longer than %zu bytes", field, bound);
    if (len > bound && overlong == OTOK_OVERLONG_DROP)
        return OTOK_OK;
    *out = (otok_str){text, otok_text_cut(text, len, bound)};
    return OTOK_OK;
}

int otok_peer_texts(const otok_peer *peer, int32_t overlong, otok_str *ip, otok_str *user_agent, otok_error *err)
{
    int rc = otok_text_bounded(peer->ip, IP_BOUND, overlong, "peer.ip", ip, err);
    return rc == OTOK_OK
               ? otok_text_bounded(peer->user_agent, USER_AGENT_BOUND, overlong, "peer.user_agent", user_agent, err)
               : rc;
}

static int same_thumbprint(const otok_body *body, const char *text)
{
    uint8_t thumbprint[OTOK_SHA256_SIZE];
    return thumbprint_of(text, thumbprint) && otok_equal_ct(thumbprint, body->thumbprint, sizeof thumbprint);
}

int otok_binding_check(const otok_body *body, const otok_peer *peer, bool must, otok_error *err)
{
    bool by_key = body->binding == OTOK_BINDING_JKT || body->binding == OTOK_BINDING_DPOP;
    bool to_one = body->binding == OTOK_BINDING_JKT || body->binding == OTOK_BINDING_X5T_S256;
    const char *proof = by_key ? peer->jkt : peer->x5t_s256;
    if (body->binding == OTOK_BINDING_NONE)
        return OTOK_OK;
    if (proof == NULL && must)
        return otok_fail(err, OTOK_E_SENDER,
                         by_key ? "the session is bound to a DPoP key, and none was proven"
                                : "the session is bound to a client certificate, and none was presented");
    if (proof != NULL && to_one && !same_thumbprint(body, proof))
        return otok_fail(err, OTOK_E_SENDER, "not the key or certificate that the session is bound to");
    return OTOK_OK;
}

/* ---------------------------------------------------------------------------------------------------------- the grant */

int otok_grant_check(const otok_grant *grant, otok_error *err)
{
    const struct {
        const char *text, *field;
        size_t bound;
        bool required;
    } texts[] = {
        {grant->subject, "grant.subject", NAME_BOUND, true},
        {grant->client_id, "grant.client_id", NAME_BOUND, true},
        {grant->scope, "grant.scope", SCOPE_BOUND, true},
        {grant->sub, "grant.sub", NAME_BOUND, grant->sub != NULL},
        {grant->sid, "grant.sid", NAME_BOUND, grant->sid != NULL},
        {grant->nonce, "grant.nonce", NONCE_BOUND, false},
        {grant->acr, "grant.acr", NAME_BOUND, false},
    };
    size_t len;
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        int rc = otok_text_check(texts[i].text, texts[i].bound, texts[i].required, texts[i].field, &len, err);
        if (rc != OTOK_OK)
            return rc;
    }
    if (grant->grant_type < OTOK_GRANT_AUTHORIZATION_CODE || grant->grant_type > OTOK_GRANT_TOKEN_EXCHANGE)
        return otok_fail(err, OTOK_E_INVALID, "grant.grant_type has no value %d", grant->grant_type);
    if (grant->client_type != OTOK_CLIENT_CONFIDENTIAL && grant->client_type != OTOK_CLIENT_PUBLIC)
        return otok_fail(err, OTOK_E_INVALID, "grant.client_type has no value %d", grant->client_type);
    if (grant->binding < OTOK_BINDING_NONE || grant->binding > OTOK_BINDING_MTLS)
        return otok_fail(err, OTOK_E_INVALID, "grant.binding has no value %d", grant->binding);
    if (grant->unused != 0)
        return otok_fail(err, OTOK_E_INVALID, "grant.unused is not 0");
    if (grant->auth_time_us < 0)
        return otok_fail(err, OTOK_E_INVALID, "grant.auth_time_us is negative");
    if (grant->idle_timeout_s < 0 || grant->max_lifetime_s < 0)
        return otok_fail(err, OTOK_E_INVALID, "grant.%s is negative",
                         grant->idle_timeout_s < 0 ? "idle_timeout_s" : "max_lifetime_s");
    return OTOK_OK;
}

static int read_list(const char *const *in, size_t count, size_t bound, size_t item_bound, const char *field,
                     otok_str *out, size_t *out_count, otok_error *err)
{
    if (count > bound || (count != 0 && in == NULL))
        return otok_fail(err, OTOK_E_INVALID, "%s has more than %zu items, or is NULL with a count", field, bound);
    for (size_t i = 0; i < count; i++) {
        int rc = otok_text_check(in[i], item_bound, true, field, &out[i].len, err);
        if (rc != OTOK_OK)
            return rc;
        out[i].data = in[i];
    }
    *out_count = count;
    return OTOK_OK;
}

/* The names that the library itself gives, or that other specifications give a meaning which a host must not forge here. */
static int check_claim(void *arg, const char *name, const otok_json *value)
{
    static const char *const reserved[] = {
        "iss",   "sub",       "aud",    "exp",    "nbf", "iat",       "jti",    "client_id",
        "scope", "auth_time", "acr",    "amr",    "sid", "cnf",       "act",    "nonce",
        "azp",   "at_hash",   "c_hash", "s_hash", "typ", "token_use", "events", "authorization_details"};
    (void)value;
    for (size_t i = 0; i < sizeof reserved / sizeof reserved[0]; i++) {
        if (strcmp(name, reserved[i]) == 0)
            return otok_fail(arg, OTOK_E_INVALID, "grant.claims: \"%s\" is reserved", name);
    }
    return OTOK_OK;
}

/* The members of the object as they were written, so that numbers keep every digit. */
static int read_claims(const char *text, otok_str *out, otok_error *err)
{
    otok_json *json;
    otok_error reason;
    size_t len = text != NULL ? strnlen(text, CLAIMS_BOUND + 1) : 0;
    if (len == 0)
        return OTOK_OK;
    if (len > CLAIMS_BOUND)
        return otok_fail(err, OTOK_E_INVALID, "grant.claims is longer than %d bytes", CLAIMS_BOUND);
    int rc = otok_json_parse(text, len, "grant.claims", &json, &reason);
    if (rc == OTOK_E_NOMEM)
        return otok_fail(err, rc, "out of memory");
    if (rc != OTOK_OK)
        return otok_fail(err, OTOK_E_INVALID, "%s", reason.message);
    if (!otok_json_is_object(json))
        rc = otok_fail(err, OTOK_E_INVALID, "grant.claims is not a JSON object");
    else
        rc = otok_json_each(json, check_claim, err);
    otok_json_free(json);
    if (rc != OTOK_OK)
        return rc;
    static const char white[] = " \t\r\n";
    const char *from = text + strspn(text, white) + 1; /* behind the brace */
    const char *to = text + len;
    while (to[-1] != '}')
        to--;
    from += strspn(from, white);
    out->data = from;
    out->len = (size_t)(to - 1 - from);
    return OTOK_OK;
}

static int read_binding(const otok_grant *grant, const otok_peer *peer, otok_body *body, otok_error *err)
{
    body->binding = (uint8_t)grant->binding;
    bool by_key = grant->binding == OTOK_BINDING_JKT || grant->binding == OTOK_BINDING_DPOP;
    const char *proof = by_key ? peer->jkt : peer->x5t_s256;
    if (grant->binding == OTOK_BINDING_NONE)
        return OTOK_OK;
    if (proof == NULL)
        return otok_fail(err, OTOK_E_INVALID, "grant.binding requires grant.peer.%s", by_key ? "jkt" : "x5t_s256");
    if (grant->binding == OTOK_BINDING_JKT || grant->binding == OTOK_BINDING_X5T_S256)
        (void)thumbprint_of(proof, body->thumbprint); /* its form was checked with the peer */
    return OTOK_OK;
}

int otok_grant_read(const otok_grant *grant, const otok_peer *peer, int32_t overlong, otok_buf *scope, otok_body *body,
                    otok_error *err)
{
    *body = (otok_body){
        .auth_time_us = grant->auth_time_us,
        .idle_timeout_s = grant->idle_timeout_s,
        .max_lifetime_s = grant->max_lifetime_s,
        .grant_type = (uint8_t)grant->grant_type,
        .sub = otok_str_of(grant->sub),
        .sid = otok_str_of(grant->sid),
        .acr = otok_str_of(grant->acr),
    };
    int rc = otok_scope_normalise(grant->scope, scope, err);
    if (rc == OTOK_OK && scope->len == 0)
        rc = otok_fail(err, OTOK_E_INVALID, "grant.scope is required and must not be empty");
    body->scope = (otok_str){scope->data, scope->len};
    if (rc == OTOK_OK)
        rc = read_list(grant->audience, grant->audience_count, OTOK_MAX_AUDIENCE, RESOURCE_BOUND, "grant.audience",
                       body->audience, &body->audience_count, err);
    if (rc == OTOK_OK)
        rc = read_list(grant->amr, grant->amr_count, OTOK_MAX_AMR, NAME_BOUND, "grant.amr", body->amr, &body->amr_count,
                       err);
    if (rc == OTOK_OK)
        rc = read_claims(grant->claims, &body->claims, err);
    if (rc == OTOK_OK)
        rc = read_binding(grant, peer, body, err);
    if (rc == OTOK_OK)
        rc = otok_text_bounded(grant->label, LABEL_BOUND, overlong, "grant.label", &body->label, err);
    if (rc == OTOK_OK)
        rc = otok_peer_texts(peer, overlong, &body->start_ip, &body->start_user_agent, err);
    return rc;
}
