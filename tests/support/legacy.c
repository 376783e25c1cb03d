/*
 * legacy.c - tokens of the system before.
 *
 * SPDX-License-Identifier: MIT
 */
#include "support/legacy.h"

#include <cjson/cJSON.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <stdio.h>
#include <string.h>

enum { MAC_SIZE = 64, MAC_CHARS = 86 };

static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
static const char default_secret[] = "the realm's HS512 secret, which Keycloak makes of 128 random bytes";
static const char header[] = "{\"alg\":\"HS512\",\"typ\":\"JWT\",\"kid\":\"0f9d3c6e-9a6f-4b52-8a5e-3f1f0e7f8a11\"}";

static const char *or_default(const char *text, const char *by_default)
{
    return text != NULL ? text : by_default;
}

static void mac_of(const char *secret, const char *text, size_t len, unsigned char out[MAC_SIZE])
{
    unsigned size = MAC_SIZE;
    ck_assert_ptr_nonnull(
        HMAC(EVP_sha512(), secret, (int)strlen(secret), (const unsigned char *)text, len, out, &size));
}

const char *test_legacy_token(const test_legacy *legacy)
{
    static _Thread_local char token[TEST_LEGACY_CHARS];
    char payload[1024], exp[64] = "", cnf[128] = "";
    unsigned char mac[MAC_SIZE];
    int64_t started_us =
        legacy->started_us != 0 ? legacy->started_us : TEST_START_US - INT64_C(100) * TEST_DAY_S * OTOK_US_PER_S;
    if (legacy->ends_us != 0)
        (void)snprintf(exp, sizeof exp, "\"exp\":%lld,", (long long)(legacy->ends_us / OTOK_US_PER_S));
    if (legacy->jkt != NULL)
        (void)snprintf(cnf, sizeof cnf, ",\"cnf\":{\"jkt\":\"%s\"}", legacy->jkt);
    int len =
        snprintf(payload, sizeof payload,
                 "{%s\"iat\":%lld,\"jti\":\"3c1d\",\"iss\":\"https://kc.example.org/realms/demo\","
                 "\"aud\":\"https://kc.example.org/realms/demo\",\"sub\":\"%s\",\"typ\":\"Offline\",\"azp\":\"%s\","
                 "\"sid\":\"%s\",\"scope\":\"%s\"%s}",
                 exp, (long long)(started_us / OTOK_US_PER_S), or_default(legacy->sub, "alice"),
                 or_default(legacy->azp, "phone"), or_default(legacy->sid, "5f3c1a7e"),
                 or_default(legacy->scope, "openid offline_access profile"), cnf);
    ck_assert_int_lt(len, (int)sizeof payload);
    size_t at = otok_base64url_len(sizeof header - 1);
    otok_base64url(header, sizeof header - 1, token);
    token[at++] = '.';
    otok_base64url(payload, (size_t)len, token + at);
    at += otok_base64url_len((size_t)len);
    mac_of(or_default(legacy->secret, default_secret), token, at, mac);
    token[at++] = '.';
    otok_base64url(mac, sizeof mac, token + at);
    token[at + MAC_CHARS] = '\0';
    return token;
}

/* The last character of 86 carries two bits of the MAC; a lax decoder drops the other four. */
const char *test_legacy_spelling(const char *token, unsigned n)
{
    static _Thread_local char other[TEST_LEGACY_CHARS];
    size_t len = strlen(token);
    memcpy(other, token, len + 1);
    const char *at = strchr(alphabet, other[len - 1]);
    other[len - 1] = alphabet[((unsigned)(at - alphabet) & 0x30) | (n & 0x0f)];
    return other;
}

/* As many decoders do: what is left over at the end is dropped, whatever it is. */
static size_t lax_decode(const char *text, size_t len, unsigned char *out)
{
    unsigned bits = 0, held = 0;
    size_t n = 0;
    for (size_t i = 0; i < len; i++) {
        const char *at = text[i] != '\0' ? strchr(alphabet, text[i]) : NULL;
        if (at == NULL)
            return 0;
        held = (held << 6 | (unsigned)(at - alphabet)) & 0xffff;
        bits += 6;
        if (bits >= 8) {
            bits -= 8;
            out[n++] = (unsigned char)(held >> bits);
        }
    }
    return n;
}

static const char *text_of(const cJSON *object, const char *name)
{
    return cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(object, name));
}

static int64_t seconds_of(const cJSON *object, const char *name)
{
    const cJSON *item = cJSON_GetObjectItemCaseSensitive(object, name);
    return cJSON_IsNumber(item) ? (int64_t)item->valuedouble * OTOK_US_PER_S : 0;
}

static int set(otok_adoption *adoption, const cJSON *claims)
{
    char id[512];
    otok_legacy legacy;
    otok_grant grant;
    otok_peer holder;
    otok_legacy_init(&legacy, sizeof legacy);
    otok_grant_init(&grant, sizeof grant);
    otok_peer_init(&holder, sizeof holder);
    (void)snprintf(id, sizeof id, "%s/%s", text_of(claims, "sid"), text_of(claims, "azp"));
    grant.subject = text_of(claims, "sub");
    grant.client_id = text_of(claims, "azp");
    grant.scope = text_of(claims, "scope");
    grant.sid = text_of(claims, "sid");
    grant.client_type = OTOK_CLIENT_PUBLIC;
    holder.jkt = text_of(cJSON_GetObjectItemCaseSensitive(claims, "cnf"), "jkt");
    grant.peer = &holder;
    grant.binding = holder.jkt != NULL ? OTOK_BINDING_JKT : OTOK_BINDING_NONE;
    legacy.id = id;
    legacy.started_us = seconds_of(claims, "iat");
    legacy.ends_us = seconds_of(claims, "exp");
    legacy.grant = &grant;
    return otok_legacy_set(adoption, &legacy, NULL);
}

int test_legacy_adopt(void *user, const char *token, const char *client_id, otok_adoption *adoption)
{
    unsigned char mac[MAC_SIZE], presented[TEST_LEGACY_CHARS], payload[TEST_LEGACY_CHARS];
    const char *first = strchr(token, '.'), *last = strrchr(token, '.');
    (void)user;
    (void)client_id;
    if (first == NULL || last == first || strlen(token) >= TEST_LEGACY_CHARS)
        return 0;
    mac_of(default_secret, token, (size_t)(last - token), mac);
    if (lax_decode(last + 1, strlen(last + 1), presented) != MAC_SIZE || memcmp(mac, presented, MAC_SIZE) != 0)
        return 0; /* not one of that Keycloak's */
    size_t len = lax_decode(first + 1, (size_t)(last - first - 1), payload);
    cJSON *claims = cJSON_ParseWithLength((const char *)payload, len);
    int rc = claims != NULL ? set(adoption, claims) : 0;
    cJSON_Delete(claims);
    return rc == OTOK_OK ? 0 : 1;
}

void test_install_legacy(test_fixture *f)
{
    f->callbacks.adopt = test_legacy_adopt;
    test_reopen_service(f);
}
