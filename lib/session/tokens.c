/*
 * tokens.c - what a client is answered with: offline token, access token (RFC 9068), ID token (OpenID Connect Core section 2), and
 * the JSON of it (RFC 6749 section 5.1).
 *
 * SPDX-License-Identifier: MIT
 */
#include "session/session.h"

#include <string.h>

enum { PAYLOAD_MAX = 65536 };
enum { RESPONSE_ROOM = 4096 }; /* on the stack; a larger one is allocated */
enum { JTI_RANDOM = 12, JTI_RANDOM_CHARS = 16, JTI_CHARS = OTOK_SESSION_ID_CHARS + 1 + JTI_RANDOM_CHARS };

static int64_t earliest(int64_t a, int64_t b, int64_t c)
{
    int64_t least = a < b ? a : b;
    return least < c ? least : c;
}

/* A token of the session ends with it, at the latest (I5). */
static int64_t end_s(const otok_mint *mint, int64_t lifetime_us)
{
    return earliest(otok_time_add(mint->now_us, lifetime_us), mint->idle_expires_us, mint->max_expires_us) /
           OTOK_US_PER_S;
}

static otok_str sub_of(const otok_loaded *session)
{
    return session->body.sub.len != 0 ? session->body.sub : session->record->subject;
}

/* Which proof the access token is bound to: DPoP wherever the peer proved a key, a certificate only where the session says so. */
static const char *confirmed_jkt(const otok_mint *mint)
{
    return mint->peer->jkt;
}

static const char *confirmed_x5t(const otok_mint *mint)
{
    uint8_t binding = mint->session->body.binding;
    return binding == OTOK_BINDING_X5T_S256 || binding == OTOK_BINDING_MTLS ? mint->peer->x5t_s256 : NULL;
}

static void add_confirmation(otok_buf *buf, const otok_mint *mint)
{
    if (confirmed_jkt(mint) == NULL && confirmed_x5t(mint) == NULL)
        return;
    otok_json_add_name(buf, "cnf");
    otok_json_begin(buf);
    if (confirmed_jkt(mint) != NULL)
        otok_json_add_text(buf, "jkt", confirmed_jkt(mint));
    if (confirmed_x5t(mint) != NULL)
        otok_json_add_text(buf, "x5t#S256", confirmed_x5t(mint));
    otok_json_end(buf);
}

/* How the user was authenticated: the same in every token of a session (R4). */
static void add_authentication(otok_buf *buf, const otok_body *body)
{
    if (body->auth_time_us != 0)
        otok_json_add_integer(buf, "auth_time", body->auth_time_us / OTOK_US_PER_S);
    if (body->acr.len != 0)
        otok_json_add_str(buf, "acr", body->acr);
    if (body->amr_count != 0)
        otok_json_add_string_array(buf, "amr", body->amr, body->amr_count);
}

/* One mint, and the keys of its moment: header, signature, at_hash and offline token go together. */
struct minting {
    otok_service *service;
    const otok_keys *keys;
    const otok_mint *mint;
};

/*
 * What nobody could read again is not made: a payload is JSON, of which we read 64 KiB.  Bounds of their own do not prevent it,
 * for escaping doubles what is full of quotes.
 */
static int sign(const struct minting *m, bool at, otok_buf *payload, otok_buf *out, otok_error *err)
{
    if (payload->failed)
        return otok_fail(err, OTOK_E_NOMEM, "out of memory");
    if (payload->len > PAYLOAD_MAX)
        return otok_fail(err, OTOK_E_INVALID, "the claims of the %s token are %zu bytes together, %d are the most",
                         at ? "access" : "ID", payload->len, PAYLOAD_MAX);
    otok_str header = otok_str_of(at ? m->keys->at_header : m->keys->jwt_header);
    return otok_service_sign(m->service, m->keys, header, (otok_str){payload->data, payload->len}, out, err);
}

/* ------------------------------------------------------------------------------------------------------- access token */

/* The session's id, a dot, and randomness: unique, and enough to find the session of an access token that is revoked. */
static int print_jti(const otok_id *session, char out[JTI_CHARS + 1], otok_error *err)
{
    uint8_t random[JTI_RANDOM];
    int rc = otok_random(random, sizeof random, err);
    otok_session_id_print(session, out);
    out[OTOK_SESSION_ID_CHARS] = '.';
    otok_base64url(random, sizeof random, out + OTOK_SESSION_ID_CHARS + 1);
    out[JTI_CHARS] = '\0';
    return rc;
}

static void add_audience(otok_buf *buf, const struct minting *m)
{
    const otok_answer *answer = m->mint->answer;
    if (answer->audience_count == 0)
        otok_json_add_text(buf, "aud", m->service->audience);
    else if (answer->audience_count == 1)
        otok_json_add_str(buf, "aud", answer->audience[0]);
    else
        otok_json_add_string_array(buf, "aud", answer->audience, answer->audience_count);
}

static void add_if_any(otok_buf *buf, const char *name, otok_str json)
{
    if (json.len != 0)
        otok_json_add_raw(buf, name, json);
}

/* The host's claims take the place of the grant's. */
static otok_str access_claims(const otok_mint *mint)
{
    const char *claims = mint->answer->access_claims;
    return claims != NULL ? otok_str_of(claims) : mint->session->body.claims;
}

static int add_access_token(const struct minting *m, otok_buf *out, otok_error *err)
{
    uint8_t lent[2048];
    char jti[JTI_CHARS + 1];
    otok_buf payload;
    const otok_mint *mint = m->mint;
    const otok_body *body = &mint->session->body;
    otok_buf_init(&payload, lent, sizeof lent);
    int rc = print_jti(&mint->session->record->id, jti, err);
    otok_json_begin(&payload);
    otok_json_add_text(&payload, "iss", m->service->issuer);
    otok_json_add_str(&payload, "sub", sub_of(mint->session));
    add_audience(&payload, m);
    otok_json_add_str(&payload, "client_id", mint->session->record->client);
    otok_json_add_integer(&payload, "iat", mint->now_us / OTOK_US_PER_S);
    otok_json_add_integer(&payload, "exp", end_s(mint, mint->rules->access_token_us));
    otok_json_add_text(&payload, "jti", jti);
    otok_json_add_str(&payload, "scope", mint->answer->scope);
    add_authentication(&payload, body);
    add_confirmation(&payload, mint);
    add_if_any(&payload, "authorization_details", body->authorization_details); /* RFC 9396 section 9.1 */
    add_if_any(&payload, "act", body->act);
    otok_json_add_fragment(&payload, access_claims(mint));
    otok_json_end(&payload);
    if (rc == OTOK_OK)
        rc = sign(m, true, &payload, out, err);
    otok_buf_free(&payload);
    return rc;
}

/* ----------------------------------------------------------------------------------------------------------- ID token */

/* The digest is the one of the signature's algorithm; Ed25519 hashes with SHA-512 (RFC 8032 section 5.1). */
int otok_at_hash(int32_t algorithm, otok_str access_token, char out[OTOK_AT_HASH_MAX + 1], otok_error *err)
{
    uint8_t digest[OTOK_SHA512_SIZE];
    size_t half = algorithm == OTOK_ALG_EDDSA ? OTOK_SHA512_SIZE / 2 : OTOK_SHA256_SIZE / 2;
    int rc = algorithm == OTOK_ALG_EDDSA ? otok_sha512(access_token, digest, err)
                                         : otok_sha256(&access_token, 1, digest, err);
    if (rc != OTOK_OK)
        return rc;
    otok_base64url(digest, half, out);
    out[otok_base64url_len(half)] = '\0';
    return OTOK_OK;
}

static int add_at_hash(const struct minting *m, otok_str access_token, otok_buf *payload, otok_error *err)
{
    char at_hash[OTOK_AT_HASH_MAX + 1];
    if (access_token.len == 0)
        return OTOK_OK;
    int rc = otok_at_hash(otok_pkey_algorithm(m->keys->signing->pkey), access_token, at_hash, err);
    if (rc == OTOK_OK)
        otok_json_add_text(payload, "at_hash", at_hash);
    return rc;
}

static int add_id_token(const struct minting *m, otok_str access_token, otok_buf *out, otok_error *err)
{
    uint8_t lent[2048];
    const otok_mint *mint = m->mint;
    const otok_loaded *session = mint->session;
    otok_buf payload;
    otok_buf_init(&payload, lent, sizeof lent);
    otok_json_begin(&payload);
    otok_json_add_text(&payload, "iss", m->service->issuer);
    otok_json_add_str(&payload, "sub", sub_of(session));
    otok_json_add_str(&payload, "aud", session->record->client);
    otok_json_add_str(&payload, "azp", session->record->client);
    otok_json_add_integer(&payload, "iat", mint->now_us / OTOK_US_PER_S);
    otok_json_add_integer(&payload, "exp", end_s(mint, mint->rules->id_token_us));
    add_authentication(&payload, &session->body);
    if (session->body.sid.len != 0)
        otok_json_add_str(&payload, "sid", session->body.sid);
    if (mint->nonce != NULL && mint->nonce[0] != '\0')
        otok_json_add_text(&payload, "nonce", mint->nonce);
    int rc = add_at_hash(m, access_token, &payload, err);
    otok_json_add_fragment(&payload, otok_str_of(mint->answer->id_claims));
    otok_json_end(&payload);
    if (rc == OTOK_OK)
        rc = sign(m, false, &payload, out, err);
    otok_buf_free(&payload);
    return rc;
}

/* ----------------------------------------------------------------------------------------------------------- the whole */

/* Texts of the response, one behind the other in a buffer that moves as it grows: so by place, and empty for none. */
struct place {
    size_t at, len;
};

struct response {
    otok_buf text;
    struct place offline_token, access_token, id_token, scope, session_id, json;
};

static struct place close_text(otok_buf *text, size_t at)
{
    struct place place = {at, text->len - at};
    otok_buf_add_u8(text, '\0');
    return place;
}

static otok_str text_at(const struct response *response, struct place place)
{
    return (otok_str){response->text.data + place.at, place.len};
}

static int print_offline_token(const struct minting *m, char text[OTOK_TOKEN_CHARS + 1], otok_error *err)
{
    const otok_realm_key *key = m->keys->active;
    if (m->mint->presented != NULL && m->mint->token->key_id == key->id) {
        memcpy(text, m->mint->presented, OTOK_TOKEN_CHARS + 1);
        return OTOK_OK;
    }
    otok_token token = *m->mint->token;
    token.key_id = key->id;
    int rc = otok_token_print(&token, key->token, text, err);
    otok_wipe(&token, sizeof token);
    return rc;
}

static int add_offline_token(const struct minting *m, struct response *response, otok_error *err)
{
    char text[OTOK_TOKEN_CHARS + 1];
    if (m->mint->session->body.refresh_token == OTOK_OFF)
        return OTOK_OK;
    int rc = print_offline_token(m, text, err);
    if (rc == OTOK_OK) {
        size_t at = response->text.len;
        otok_buf_add(&response->text, text, OTOK_TOKEN_CHARS);
        response->offline_token = close_text(&response->text, at);
    }
    otok_wipe(text, sizeof text);
    return rc;
}

static int add_signed_tokens(const struct minting *m, struct response *response, otok_error *err)
{
    int rc = OTOK_OK;
    size_t at = response->text.len;
    if (m->mint->rules->access_token) {
        rc = add_access_token(m, &response->text, err);
        response->access_token = close_text(&response->text, at);
    }
    if (rc == OTOK_OK && otok_scope_has(m->mint->answer->scope, "openid")) {
        otok_buf id_token; /* its payload is made of the access token, which must not move meanwhile */
        otok_buf_init(&id_token, NULL, 0);
        rc = add_id_token(m, text_at(response, response->access_token), &id_token, err);
        at = response->text.len;
        otok_buf_add(&response->text, id_token.data, id_token.len);
        response->id_token = close_text(&response->text, at);
        otok_buf_free(&id_token);
    }
    return rc;
}

static void add_small_texts(const otok_mint *mint, struct response *response)
{
    char id[OTOK_SESSION_ID_CHARS + 1];
    size_t at = response->text.len;
    otok_buf_add(&response->text, mint->answer->scope.data, mint->answer->scope.len);
    response->scope = close_text(&response->text, at);
    otok_session_id_print(&mint->session->record->id, id);
    at = response->text.len;
    otok_buf_add(&response->text, id, OTOK_SESSION_ID_CHARS);
    response->session_id = close_text(&response->text, at);
}

static int64_t access_expires_in_s(const otok_mint *mint)
{
    int64_t left = end_s(mint, mint->rules->access_token_us) - mint->now_us / OTOK_US_PER_S;
    return left > 0 ? left : 0;
}

static void add_response(const otok_mint *mint, struct response *response)
{
    uint8_t lent[RESPONSE_ROOM];
    otok_buf json;
    otok_buf_init(&json, lent, sizeof lent);
    otok_json_begin(&json);
    if (response->access_token.len != 0) {
        otok_json_add_plain(&json, "access_token", text_at(response, response->access_token));
        otok_json_add_text(&json, "token_type", confirmed_jkt(mint) != NULL ? "DPoP" : "Bearer");
        otok_json_add_integer(&json, "expires_in", access_expires_in_s(mint));
    }
    if (response->offline_token.len != 0)
        otok_json_add_plain(&json, "refresh_token", text_at(response, response->offline_token));
    if (response->id_token.len != 0)
        otok_json_add_plain(&json, "id_token", text_at(response, response->id_token));
    otok_json_add_str(&json, "scope", mint->answer->scope);
    add_if_any(&json, "authorization_details", mint->session->body.authorization_details); /* RFC 9396 section 7 */
    otok_json_end(&json);
    size_t at = response->text.len;
    otok_buf_add(&response->text, json.data, json.len);
    response->json = close_text(&response->text, at);
    response->text.failed |= json.failed;
    otok_buf_free(&json);
}

/* The public struct and its texts, in one piece of memory. */
struct tokens_box {
    otok_tokens tokens;
    size_t text_len;
    char text[];
};

static const char *text_in(const struct tokens_box *box, struct place place)
{
    return place.len != 0 ? box->text + place.at : NULL;
}

static otok_tokens *pack(const otok_mint *mint, const struct response *response)
{
    struct tokens_box *box = otok_calloc(1, sizeof *box + response->text.len);
    if (box == NULL)
        return NULL;
    memcpy(box->text, response->text.data, response->text.len);
    box->text_len = response->text.len;
    int64_t session_end_us = earliest(mint->idle_expires_us, mint->max_expires_us, OTOK_UNLIMITED);
    box->tokens = (otok_tokens){
        .size = sizeof box->tokens,
        .offline_token = text_in(box, response->offline_token),
        .access_token = text_in(box, response->access_token),
        .id_token = text_in(box, response->id_token),
        .scope = text_in(box, response->scope),
        .session_id = text_in(box, response->session_id),
        .response_json = text_in(box, response->json),
        .access_expires_in_s = response->access_token.len != 0 ? access_expires_in_s(mint) : 0,
        .offline_expires_in_s =
            session_end_us == OTOK_UNLIMITED ? OTOK_UNLIMITED : (session_end_us - mint->now_us) / OTOK_US_PER_S,
        .outcome = mint->outcome,
        .generation = mint->token->generation,
    };
    return &box->tokens;
}

void otok_tokens_free(otok_tokens *tokens)
{
    struct tokens_box *box = (struct tokens_box *)(void *)tokens;
    if (box != NULL)
        otok_wipe_free(box, sizeof *box + box->text_len);
}

int otok_tokens_mint(otok_service *service, const otok_mint *mint, otok_tokens **out, otok_error *err)
{
    const struct minting minting = {service, otok_service_now_keys(service), mint};
    struct response response = {0};
    uint8_t lent[RESPONSE_ROOM];
    otok_buf_init(&response.text, lent, sizeof lent);
    int rc = add_offline_token(&minting, &response, err);
    if (rc == OTOK_OK)
        rc = add_signed_tokens(&minting, &response, err);
    if (rc == OTOK_OK) {
        add_small_texts(mint, &response);
        add_response(mint, &response);
        *out = response.text.failed ? NULL : pack(mint, &response);
        if (*out == NULL)
            rc = otok_fail(err, OTOK_E_NOMEM, "out of memory");
    }
    otok_buf_free(&response.text);
    return rc;
}

/* ------------------------------------------------------------------------------------------- the other way: whose is it */

static bool is_ours(const otok_service *service, const otok_json *header, const otok_json *payload)
{
    const char *typ = otok_json_text(header, "typ"), *iss = otok_json_text(payload, "iss");
    int64_t exp;
    return typ != NULL && strcmp(typ, "at+jwt") == 0 && iss != NULL && strcmp(iss, service->issuer) == 0 &&
           otok_json_integer(payload, "exp", &exp) && exp > otok_service_now(service) / OTOK_US_PER_S;
}

static bool names_session(const otok_json *payload, otok_id *session)
{
    char text[OTOK_SESSION_ID_CHARS + 1] = "";
    const char *jti = otok_json_text(payload, "jti");
    if (jti != NULL && strlen(jti) == JTI_CHARS && jti[OTOK_SESSION_ID_CHARS] == '.')
        memcpy(text, jti, OTOK_SESSION_ID_CHARS);
    return otok_session_id_parse(text, session);
}

int otok_access_token_read(otok_service *service, const char *text, otok_jws **out, otok_id *session, otok_error *err)
{
    otok_jws *jwt;
    *out = NULL;
    int rc = otok_jws_parse(text, strnlen(text, OTOK_JWS_MAX + 1), &jwt, err);
    if (rc != OTOK_OK)
        return rc;
    const char *kid = otok_json_text(jwt->header, "kid");
    const otok_signing_key *key = NULL;
    if (kid != NULL && is_ours(service, jwt->header, jwt->payload) && names_session(jwt->payload, session))
        rc = otok_service_signing_key(service, kid, &key, err);
    if (rc == OTOK_OK)
        rc = key != NULL ? otok_jws_verify(jwt, text, key->pkey, err)
                         : otok_fail(err, OTOK_E_TOKEN_INVALID, "not an access token of this service");
    if (rc != OTOK_OK) {
        otok_jws_free(jwt);
        return rc;
    }
    *out = jwt;
    return OTOK_OK;
}
