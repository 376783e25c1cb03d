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
    DETAILS_BOUND = 16384,
    ACT_BOUND = 4096,
    NONCE_BOUND = 512,
    ONCE_KEY_BOUND = 255,
    LABEL_BOUND = 512,
    USER_AGENT_BOUND = 512,
    IP_BOUND = 64,
    RESOURCE_BOUND = 1024,
    THUMBPRINT_CHARS = 43
};

/*
 * A record must have room for what comes later: label and notes change, and last use has an address and a user agent.  FRAME is
 * more than the front of a body, its numbers, and the tags of its texts, each of which is 3 bytes; notes have at most 2 KiB.
 */
enum {
    FIELD_TAG = 3,
    FRAME = 256,
    NOTES_BOUND = 2048,
    LATER = LABEL_BOUND + 2 * (IP_BOUND + USER_AGENT_BOUND) +
            NOTES_BOUND /* twice: an adopted one gets those of its start later */
};
enum { GRANT_BOUND = OTOK_MAX_BODY - FRAME - LATER };

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
    out->size = sizeof *out; /* it is shown to the host's callbacks */
    if ((out->ip != NULL && !otok_text_is_clean(out->ip, strlen(out->ip))) ||
        (out->user_agent != NULL && !otok_text_is_clean(out->user_agent, strlen(out->user_agent))))
        return otok_fail(err, OTOK_E_INVALID, "peer.ip or peer.user_agent is not UTF-8 without control characters");
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
        return by_key ? otok_fail(err, OTOK_E_DPOP_PROOF, "the session is bound to a DPoP key, and none was proven")
                      : otok_fail(err, OTOK_E_SENDER,
                                  "the session is bound to a client certificate, and none was presented");
    if (proof != NULL && to_one && !same_thumbprint(body, proof))
        return otok_fail(err, OTOK_E_SENDER, "not the key or certificate that the session is bound to");
    return OTOK_OK;
}

/* ---------------------------------------------------------------------------------------------------------- the grant */

static int check_texts(const otok_grant *grant, otok_error *err)
{
    const otok_text_rule texts[] = {
        {grant->subject, "grant.subject", NAME_BOUND, true},
        {grant->client_id, "grant.client_id", NAME_BOUND, true},
        {grant->scope, "grant.scope", SCOPE_BOUND, true},
        {grant->sub, "grant.sub", NAME_BOUND, grant->sub != NULL},
        {grant->sid, "grant.sid", NAME_BOUND, grant->sid != NULL},
        {grant->nonce, "grant.nonce", NONCE_BOUND, false},
        {grant->acr, "grant.acr", NAME_BOUND, false},
        {grant->once_key, "grant.once_key", ONCE_KEY_BOUND, grant->once_key != NULL},
    };
    return otok_texts_check(texts, sizeof texts / sizeof texts[0], err);
}

static int check_choices(const otok_grant *grant, otok_error *err)
{
    const otok_choice_rule choices[] = {
        {grant->grant_type, OTOK_GRANT_TOKEN_EXCHANGE, "grant.grant_type"},
        {grant->client_type, OTOK_CLIENT_PUBLIC, "grant.client_type"},
        {grant->binding, OTOK_BINDING_MTLS, "grant.binding"},
        {grant->kind, OTOK_SESSION_LOGIN, "grant.kind"},
        {grant->refresh_token, OTOK_OFF, "grant.refresh_token"},
    };
    return otok_choices_check(choices, sizeof choices / sizeof choices[0], OTOK_E_INVALID, err);
}

int otok_grant_check(const otok_grant *grant, otok_error *err)
{
    otok_id replaced;
    int rc = check_texts(grant, err);
    if (rc == OTOK_OK)
        rc = check_choices(grant, err);
    if (rc != OTOK_OK)
        return rc;
    if (grant->kind == OTOK_SESSION_LOGIN && grant->sid == NULL) /* or its logout would not find it (I7) */
        return otok_fail(err, OTOK_E_INVALID, "grant.sid is required where grant.kind is OTOK_SESSION_LOGIN");
    if (grant->replaces != NULL && !otok_session_id_parse(grant->replaces, &replaced))
        return otok_fail(err, OTOK_E_INVALID, "grant.replaces is not 22 characters of base64url");
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

/* ------------------------------------------------------------------------------------------------------------ JSON */

static const char white[] = " \t\r\n";

/* Text that somebody else wrote, which must be JSON: what is wrong with it is the caller's mistake. */
static int parse(const char *text, size_t len, const char *field, otok_json **out, otok_error *err)
{
    otok_error reason;
    int rc = otok_json_parse(text, len, field, out, &reason);
    if (rc == OTOK_E_NOMEM)
        return otok_fail(err, rc, "out of memory");
    return rc == OTOK_OK ? OTOK_OK : otok_fail(err, OTOK_E_INVALID, "%s", reason.message);
}

struct claim_check {
    const char *field;
    otok_error *err;
};

/* The names that the library itself gives, or that other specifications give a meaning which a host must not forge here. */
static int check_claim(void *arg, const char *name, const otok_json *value)
{
    static const char *const reserved[] = {
        "iss",    "sub",       "aud",    "exp",    "nbf", "iat",       "jti",    "client_id",
        "scope",  "auth_time", "acr",    "amr",    "sid", "cnf",       "act",    "nonce",
        "azp",    "at_hash",   "c_hash", "s_hash", "typ", "token_use", "events", "authorization_details",
        "active", "token_type"};
    const struct claim_check *check = arg;
    (void)value;
    for (size_t i = 0; i < sizeof reserved / sizeof reserved[0]; i++) {
        if (strcmp(name, reserved[i]) == 0)
            return otok_fail(check->err, OTOK_E_INVALID, "%s: \"%s\" is reserved", check->field, name);
    }
    return OTOK_OK;
}

/* As they were written, so that numbers keep every digit. */
otok_str otok_json_members(const char *json, size_t len)
{
    const char *from = json + strspn(json, white) + 1; /* behind the brace */
    const char *to = json + len;
    while (to[-1] != '}')
        to--;
    from += strspn(from, white);
    return (otok_str){from, (size_t)(to - 1 - from)};
}

int otok_claims_read(const char *json, const char *field, otok_str *out, otok_error *err)
{
    otok_json *parsed;
    struct claim_check check = {field, err};
    size_t len = json != NULL ? strnlen(json, CLAIMS_BOUND + 1) : 0;
    *out = (otok_str){0};
    if (len == 0)
        return OTOK_OK;
    if (len > CLAIMS_BOUND)
        return otok_fail(err, OTOK_E_INVALID, "%s is longer than %d bytes", field, CLAIMS_BOUND);
    int rc = parse(json, len, field, &parsed, err);
    if (rc != OTOK_OK)
        return rc;
    if (!otok_json_is_object(parsed))
        rc = otok_fail(err, OTOK_E_INVALID, "%s is not a JSON object", field);
    else
        rc = otok_json_each(parsed, check_claim, &check);
    otok_json_free(parsed);
    if (rc == OTOK_OK)
        *out = otok_json_members(json, len);
    return rc;
}

/* RFC 9396 section 2: objects with a `type`, one at least. */
static int check_details(const otok_json *details, otok_error *err)
{
    size_t n = otok_json_is_array(details) ? otok_json_count(details) : 0;
    if (n == 0)
        return otok_fail(err, OTOK_E_INVALID, "grant.authorization_details is not a JSON array of objects");
    for (size_t i = 0; i < n; i++) {
        const otok_json *item = otok_json_item(details, i);
        if (!otok_json_is_object(item) || otok_json_text(item, "type") == NULL)
            return otok_fail(err, OTOK_E_INVALID, "grant.authorization_details: item %zu is not an object with a type",
                             i);
    }
    return OTOK_OK;
}

/* RFC 8693 section 4.1. */
static int check_act(const otok_json *act, otok_error *err)
{
    return otok_json_is_object(act) ? OTOK_OK : otok_fail(err, OTOK_E_INVALID, "grant.act is not a JSON object");
}

static otok_str trimmed(const char *text, size_t len)
{
    size_t from = strspn(text, white);
    while (len > from && strchr(white, text[len - 1]) != NULL)
        len--;
    return (otok_str){text + from, len - from};
}

/*
 * A value that becomes a member of an access token, kept as the text that came.  It is parsed as the one item of an array: as
 * deep as it will stand there, or a token would be made that nobody can read.
 */
static int read_value(const char *text, size_t bound, const char *field,
                      int (*check)(const otok_json *value, otok_error *err), otok_str *out, otok_error *err)
{
    otok_json *parsed = NULL;
    otok_buf array;
    size_t len = text != NULL ? strnlen(text, bound + 1) : 0;
    if (len == 0)
        return OTOK_OK;
    if (len > bound)
        return otok_fail(err, OTOK_E_INVALID, "%s is longer than %zu bytes", field, bound);
    otok_buf_init(&array, NULL, 0);
    otok_buf_add_u8(&array, '[');
    otok_buf_add(&array, text, len);
    otok_buf_add_u8(&array, ']');
    int rc = array.failed ? otok_fail(err, OTOK_E_NOMEM, "out of memory")
                          : parse((const char *)array.data, array.len, field, &parsed, err);
    if (rc == OTOK_OK && otok_json_count(parsed) != 1)
        rc = otok_fail(err, OTOK_E_INVALID, "%s is not one JSON value", field);
    if (rc == OTOK_OK)
        rc = check(otok_json_item(parsed, 0), err);
    if (rc == OTOK_OK)
        *out = trimmed(text, len);
    otok_json_free(parsed);
    otok_buf_free(&array);
    return rc;
}

/* --------------------------------------------------------------------------------------------------------- the body */

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

static size_t texts_size(const otok_str *texts, size_t n)
{
    size_t size = 0;
    for (size_t i = 0; i < n; i++)
        size += FIELD_TAG + texts[i].len;
    return size;
}

/* Each has a bound of its own; all at their bounds would be more than a record holds. */
static int check_sum(const otok_body *body, otok_error *err)
{
    const otok_str texts[] = {body->scope, body->sub,      body->sid,
                              body->acr,   body->claims,   body->authorization_details,
                              body->act,   body->start_ip, body->start_user_agent};
    size_t size = texts_size(texts, sizeof texts / sizeof texts[0]) + texts_size(body->audience, body->audience_count) +
                  texts_size(body->amr, body->amr_count);
    if (size > GRANT_BOUND)
        return otok_fail(err, OTOK_E_INVALID,
                         "grant.claims, authorization_details, act, audience and the rest are %zu bytes together, "
                         "%d are the most",
                         size, GRANT_BOUND);
    return OTOK_OK;
}

static int read_lists(const otok_grant *grant, otok_body *body, otok_error *err)
{
    int rc = read_list(grant->audience, grant->audience_count, OTOK_MAX_AUDIENCE, RESOURCE_BOUND, "grant.audience",
                       body->audience, &body->audience_count, err);
    return rc == OTOK_OK ? read_list(grant->amr, grant->amr_count, OTOK_MAX_AMR, NAME_BOUND, "grant.amr", body->amr,
                                     &body->amr_count, err)
                         : rc;
}

static int read_json(const otok_grant *grant, otok_body *body, otok_error *err)
{
    int rc = otok_claims_read(grant->claims, "grant.claims", &body->claims, err);
    if (rc == OTOK_OK)
        rc = read_value(grant->authorization_details, DETAILS_BOUND, "grant.authorization_details", check_details,
                        &body->authorization_details, err);
    return rc == OTOK_OK ? read_value(grant->act, ACT_BOUND, "grant.act", check_act, &body->act, err) : rc;
}

int otok_grant_read(const otok_grant *grant, const otok_peer *peer, int32_t overlong, otok_buf *scope, otok_body *body,
                    otok_error *err)
{
    *body = (otok_body){
        .auth_time_us = grant->auth_time_us,
        .idle_timeout_s = grant->idle_timeout_s,
        .max_lifetime_s = grant->max_lifetime_s,
        .grant_type = (uint8_t)grant->grant_type,
        .kind = (uint8_t)grant->kind,
        .refresh_token = grant->refresh_token == OTOK_OFF ? OTOK_OFF : 0,
        .sub = otok_str_of(grant->sub),
        .sid = otok_str_of(grant->sid),
        .acr = otok_str_of(grant->acr),
    };
    int rc = otok_scope_normalise(grant->scope, scope, err);
    if (rc == OTOK_OK && scope->len == 0)
        rc = otok_fail(err, OTOK_E_INVALID, "grant.scope is required and must not be empty");
    body->scope = (otok_str){scope->data, scope->len};
    if (rc == OTOK_OK)
        rc = read_lists(grant, body, err);
    if (rc == OTOK_OK)
        rc = read_json(grant, body, err);
    if (rc == OTOK_OK)
        rc = read_binding(grant, peer, body, err);
    if (rc == OTOK_OK)
        rc = otok_text_bounded(grant->label, LABEL_BOUND, overlong, "grant.label", &body->label, err);
    if (rc == OTOK_OK)
        rc = otok_peer_texts(peer, overlong, &body->start_ip, &body->start_user_agent, err);
    return rc == OTOK_OK ? check_sum(body, err) : rc;
}
