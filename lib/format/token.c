/*
 * token.c - the offline token and the session id.
 *
 * A token proves itself: a MAC over (handle, generation) under a key of this realm.  So the successor is a function of the token,
 * and nothing secret is stored.
 *
 * SPDX-License-Identifier: MIT
 */
#include "format/format.h"

#include <string.h>

enum {
    FORMAT = 1,
    AT_FORMAT = 0,
    AT_KEY_ID = 1,
    AT_GENERATION = 2,
    AT_TIME = 6,
    AT_HANDLE = 12,
    AT_MAC = 28,
    SIZE = 60,
    TIME_SIZE = 6
};

static const char prefix[] = "otok_";
enum { PREFIX_CHARS = sizeof prefix - 1 };

static void print_fields(const otok_token *token, uint8_t out[AT_MAC])
{
    out[AT_FORMAT] = FORMAT;
    out[AT_KEY_ID] = token->key_id;
    otok_put_u32(out + AT_GENERATION, token->generation);
    otok_put_u48(out + AT_TIME, token->issued_ms);
    memcpy(out + AT_HANDLE, token->handle, OTOK_HANDLE_SIZE);
}

bool otok_token_parse(const char *text, otok_presented *out)
{
    uint8_t bytes[SIZE];
    size_t size = sizeof bytes;
    if (text == NULL || strnlen(text, OTOK_TOKEN_CHARS + 1) != OTOK_TOKEN_CHARS ||
        memcmp(text, prefix, PREFIX_CHARS) != 0)
        return false;
    /* 80 characters are 60 bytes. */
    bool good = otok_unbase64url(text + PREFIX_CHARS, OTOK_TOKEN_CHARS - PREFIX_CHARS, bytes, &size) &&
                bytes[AT_FORMAT] == FORMAT;
    if (good) {
        out->token.key_id = bytes[AT_KEY_ID];
        out->token.generation = otok_get_u32(bytes + AT_GENERATION);
        out->token.issued_ms = otok_get_u48(bytes + AT_TIME);
        memcpy(out->token.handle, bytes + AT_HANDLE, OTOK_HANDLE_SIZE);
        memcpy(out->mac, bytes + AT_MAC, sizeof out->mac);
    }
    otok_wipe(bytes, sizeof bytes);
    return good;
}

int otok_token_verify(const otok_presented *presented, const otok_mac_key *key, otok_error *err)
{
    uint8_t fields[AT_MAC];
    uint8_t mac[OTOK_SHA256_SIZE];
    print_fields(&presented->token, fields);
    int rc = otok_mac(key, &(otok_str){fields, sizeof fields}, 1, mac, err);
    if (rc == OTOK_OK && !otok_equal_ct(mac, presented->mac, sizeof mac))
        rc = otok_fail(err, OTOK_E_TOKEN_INVALID, "the token is not one of this realm's");
    otok_wipe(fields, sizeof fields);
    otok_wipe(mac, sizeof mac);
    return rc;
}

int otok_token_print(const otok_token *token, const otok_mac_key *key, char out[OTOK_TOKEN_CHARS + 1], otok_error *err)
{
    uint8_t bytes[SIZE];
    print_fields(token, bytes);
    int rc = otok_mac(key, &(otok_str){bytes, AT_MAC}, 1, bytes + AT_MAC, err);
    if (rc == OTOK_OK) {
        memcpy(out, prefix, PREFIX_CHARS);
        otok_base64url(bytes, sizeof bytes, out + PREFIX_CHARS);
        out[OTOK_TOKEN_CHARS] = '\0';
    }
    otok_wipe(bytes, sizeof bytes);
    return rc;
}

/* The time comes first, so that records of sessions lie in the order of issue. */
int otok_token_session_id(const otok_token *token, otok_str realm, otok_id *out, otok_error *err)
{
    static const char purpose[] = "otok-session";
    uint8_t realm_len[4];
    uint8_t digest[OTOK_SHA256_SIZE];
    otok_put_u32(realm_len, (uint32_t)realm.len);
    otok_put_u48(out->bytes, token->issued_ms);
    const otok_str parts[] = {
        {purpose, sizeof purpose - 1}, {realm_len, sizeof realm_len},     realm,
        {out->bytes, TIME_SIZE},       {token->handle, OTOK_HANDLE_SIZE},
    };
    int rc = otok_sha256(parts, sizeof parts / sizeof parts[0], digest, err);
    if (rc == OTOK_OK)
        memcpy(out->bytes + TIME_SIZE, digest, sizeof out->bytes - TIME_SIZE);
    return rc;
}

void otok_session_id_print(const otok_id *id, char out[OTOK_SESSION_ID_CHARS + 1])
{
    otok_base64url(id->bytes, sizeof id->bytes, out);
    out[OTOK_SESSION_ID_CHARS] = '\0';
}

bool otok_session_id_parse(const char *text, otok_id *out)
{
    size_t size = sizeof out->bytes; /* what 22 characters are */
    return text != NULL && strnlen(text, OTOK_SESSION_ID_CHARS + 1) == OTOK_SESSION_ID_CHARS &&
           otok_unbase64url(text, OTOK_SESSION_ID_CHARS, out->bytes, &size);
}
