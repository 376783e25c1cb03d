/*
 * engine_legacy.c - the system before, and the host that takes over its offline tokens: JWTs under HS512, as Keycloak makes them.
 *
 * legacy.h has the same for tests of Check, whose assertions are not for a process that is killed.
 *
 * SPDX-License-Identifier: MIT
 */
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <stdio.h>
#include <string.h>

#include "support/engine_parts.h"

enum { MAC_SIZE = 64, MAC_CHARS = 86, PAYLOAD_ROOM = 512 };

static const char secret[] = "the realm's HS512 secret, which Keycloak makes of 128 random bytes";
static const char header[] = "{\"alg\":\"HS512\",\"typ\":\"JWT\"}";

static void mac_of(const char *text, size_t len, unsigned char out[MAC_SIZE])
{
    unsigned size = MAC_SIZE;
    (void)HMAC(EVP_sha512(), secret, (int)sizeof secret - 1, (const unsigned char *)text, len, out, &size);
}

/* The sid is in it, and so whose it is, and since when. */
void engine_legacy_token(const engine_legacy *legacy, char out[ENGINE_LEGACY_CHARS])
{
    char payload[PAYLOAD_ROOM];
    unsigned char mac[MAC_SIZE];
    int len = snprintf(payload, sizeof payload,
                       "{\"exp\":%lld,\"iat\":%lld,\"iss\":\"https://kc.example.org/realms/demo\",\"sub\":\"%s\","
                       "\"typ\":\"Offline\",\"azp\":\"%s\",\"sid\":\"%s\",\"scope\":\"offline_access\"}",
                       (long long)(legacy->ends_us / OTOK_US_PER_S), (long long)(legacy->started_us / OTOK_US_PER_S),
                       legacy->subject, legacy->client, legacy->sid);
    size_t at = otok_base64url_len(sizeof header - 1);
    otok_base64url(header, sizeof header - 1, out);
    out[at++] = '.';
    otok_base64url(payload, (size_t)len, out + at);
    at += otok_base64url_len((size_t)len);
    mac_of(out, at, mac);
    out[at++] = '.';
    otok_base64url(mac, sizeof mac, out + at);
    out[at + MAC_CHARS] = '\0';
}

static int set(otok_adoption *adoption, const otok_json *claims)
{
    char id[512];
    otok_legacy legacy;
    otok_grant grant;
    otok_legacy_init(&legacy, sizeof legacy);
    otok_grant_init(&grant, sizeof grant);
    grant.subject = otok_json_text(claims, "sub");
    grant.client_id = otok_json_text(claims, "azp");
    grant.scope = otok_json_text(claims, "scope");
    grant.sid = otok_json_text(claims, "sid");
    grant.client_type = OTOK_CLIENT_PUBLIC;
    (void)snprintf(id, sizeof id, "%s/%s", grant.sid, grant.client_id);
    if (!otok_json_integer(claims, "iat", &legacy.started_us) || !otok_json_integer(claims, "exp", &legacy.ends_us))
        return OTOK_E_INVALID;
    legacy.id = id;
    legacy.started_us *= OTOK_US_PER_S;
    legacy.ends_us *= OTOK_US_PER_S;
    legacy.grant = &grant;
    return otok_legacy_set(adoption, &legacy, NULL);
}

static bool is_genuine(const char *token, const char *last)
{
    unsigned char mac[MAC_SIZE];
    uint8_t presented[MAC_SIZE];
    size_t len = sizeof presented;
    mac_of(token, (size_t)(last - token), mac);
    return otok_unbase64url(last + 1, strlen(last + 1), presented, &len) && len == MAC_SIZE &&
           memcmp(mac, presented, MAC_SIZE) == 0;
}

int engine_legacy_adopt(void *user, const char *token, const char *client_id, otok_adoption *adoption)
{
    uint8_t payload[PAYLOAD_ROOM];
    size_t len = sizeof payload;
    otok_json *claims = NULL;
    const char *first = strchr(token, '.'), *last = strrchr(token, '.');
    (void)user;
    (void)client_id;
    if (first == NULL || last == first || !is_genuine(token, last))
        return 0;
    if (!otok_unbase64url(first + 1, (size_t)(last - first - 1), payload, &len) ||
        otok_json_parse((const char *)payload, len, "payload", &claims, NULL) != OTOK_OK)
        return 1;
    int rc = set(adoption, claims);
    otok_json_free(claims);
    return rc == OTOK_OK ? 0 : 1;
}
