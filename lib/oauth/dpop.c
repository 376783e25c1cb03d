/*
 * dpop.c - proofs of possession (P3, RFC 9449): read and verified; then, once MAC and client are good, time, nonce and replay.
 *
 * A proof is checked from what is cheap to what is not, the signature last.  What is wrong is named, and never shown.
 *
 * Replay is known within this service only, for as long as a proof could be good.  Others that share the realm are covered by the
 * nonce (policy.dpop_nonce): a proof is then good for two minutes at most, whatever the clock of the client says.
 *
 * SPDX-License-Identifier: MIT
 */
#include "oauth/oauth.h"

#include <string.h>

enum { PROOF_MAX = 8192, TEXT_MAX = 256 };

/* How far `iat` may be off where the nonce tells the time, and by any policy: nothing is good for longer. */
#define LOOSE_US (INT64_C(600) * OTOK_US_PER_S)

static int is_wrong(otok_error *err, const char *what)
{
    return otok_fail(err, OTOK_E_DPOP_PROOF, "the DPoP proof: %s", what);
}

/* What a proof was refused for further down; other failures are passed on as they are. */
static int pass_on(int rc, const otok_error *why, otok_error *err)
{
    if (rc == OTOK_E_TOKEN_INVALID || rc == OTOK_E_KEY || rc == OTOK_E_FORMAT)
        return is_wrong(err, why->message);
    return rc == OTOK_OK ? OTOK_OK : otok_fail(err, rc, "%s", why->message);
}

/* ---- the header and its key ---- */

/* Strangers choose the key that we verify with: what it costs has a bound. */
enum { RSA_N_CHARS = 683, RSA_E_CHARS = 6 };

static bool is_longer(const otok_json *jwk, const char *name, size_t most)
{
    const char *text = otok_json_text(jwk, name);
    return text != NULL && strlen(text) > most;
}

static int check_header(const otok_json *header, otok_error *err)
{
    const char *typ = otok_json_text(header, "typ");
    if (typ == NULL || strcmp(typ, "dpop+jwt") != 0)
        return is_wrong(err, "typ is not dpop+jwt");
    if (otok_algorithm_of_name(otok_json_text(header, "alg")) < 0)
        return is_wrong(err, "alg is none of ES256, EdDSA, RS256, PS256");
    if (otok_json_member(header, "crit") != NULL)
        return is_wrong(err, "crit names extensions, and none is known here");
    if (!otok_json_is_object(otok_json_member(header, "jwk")))
        return is_wrong(err, "jwk is missing, or not an object");
    if (is_longer(otok_json_member(header, "jwk"), "n", RSA_N_CHARS) ||
        is_longer(otok_json_member(header, "jwk"), "e", RSA_E_CHARS))
        return is_wrong(err, "jwk is an RSA key of more than 4096 bits, or with an exponent of more than 32");
    return OTOK_OK;
}

/* The JWK with the algorithm of the header, where it has none of its own: what a key is for is not left open (RFC 8725 section 3.1). */
static void print_jwk(const otok_json *header, otok_buf *out)
{
    otok_buf members;
    const otok_json *jwk = otok_json_member(header, "jwk");
    otok_buf_init(&members, NULL, 0);
    otok_json_print(jwk, &members);
    otok_json_begin(out);
    if (otok_json_member(jwk, "alg") == NULL)
        otok_json_add_text(out, "alg", otok_json_text(header, "alg"));
    if (!members.failed && members.len > 2) /* not {} */
        otok_json_add_fragment(out, (otok_str){members.data + 1, members.len - 2});
    otok_json_end(out);
    out->failed = out->failed || members.failed;
    otok_buf_free(&members);
}

/* A private member is refused: whoever sends his key to us sends it to others (RFC 9449 section 4.3, number 7). */
static int read_key(const otok_json *header, otok_pkey **out, otok_error *err)
{
    otok_error why = {0};
    otok_json *jwk = NULL;
    otok_buf text;
    *out = NULL;
    otok_buf_init(&text, NULL, 0);
    print_jwk(header, &text);
    int rc = text.failed ? otok_fail(&why, OTOK_E_NOMEM, "no memory for a DPoP proof")
                         : otok_json_parse((const char *)text.data, text.len, "jwk", &jwk, &why);
    if (rc == OTOK_OK)
        rc = otok_jwk_read_external(jwk, out, &why);
    otok_json_free(jwk);
    otok_buf_free(&text);
    return pass_on(rc, &why, err);
}

/* ---- the payload ---- */

static int read_text(const otok_json *payload, const char *name, const char **out, otok_error *err)
{
    const char *text = otok_json_text(payload, name);
    *out = text;
    if (text == NULL || text[0] == '\0' || strlen(text) > TEXT_MAX)
        return otok_fail(err, OTOK_E_DPOP_PROOF, "the DPoP proof: %s is not a text of 1 to %d bytes", name, TEXT_MAX);
    return OTOK_OK;
}

static int read_iat(const otok_json *payload, int64_t *out_us, otok_error *err)
{
    int64_t iat_s = 0;
    if (!otok_json_seconds(payload, "iat", &iat_s) || iat_s >= INT64_MAX / OTOK_US_PER_S)
        return is_wrong(err, "iat is missing, or not a number of seconds since 1970");
    *out_us = iat_s * OTOK_US_PER_S;
    return OTOK_OK;
}

static int read_nonce(const otok_json *payload, char **out, otok_error *err)
{
    const char *nonce = otok_json_text(payload, "nonce");
    if (otok_json_member(payload, "nonce") == NULL)
        return OTOK_OK;
    if (nonce == NULL)
        return is_wrong(err, "nonce is not a text");
    /* One that cannot be ours is another server's: it is answered as a stale one, with a fresh one. */
    *out = otok_strdup(strlen(nonce) == OTOK_NONCE_CHARS ? nonce : "");
    return *out != NULL ? OTOK_OK : otok_fail(err, OTOK_E_NOMEM, "no memory for a DPoP proof");
}

/* It is of an access token; in a request for one there is none, and nobody looks at it. */
static void read_ath(const otok_json *payload, char out[OTOK_KID_CHARS + 1])
{
    const char *ath = otok_json_text(payload, "ath");
    if (ath != NULL && strlen(ath) == OTOK_KID_CHARS)
        memcpy(out, ath, OTOK_KID_CHARS);
}

static int read_payload(const otok_json *payload, const char *method, const char *uri, otok_proof *out, otok_error *err)
{
    const char *jti = NULL, *htm = otok_json_text(payload, "htm");
    int rc = read_text(payload, "jti", &jti, err);
    if (rc != OTOK_OK)
        return rc;
    if (htm == NULL || strcmp(htm, method) != 0)
        return is_wrong(err, "htm is not the method of the request");
    if (!otok_uri_equal(otok_json_text(payload, "htu"), uri))
        return is_wrong(err, "htu is not the URI of the request");
    read_ath(payload, out->ath);
    rc = read_iat(payload, &out->iat_us, err);
    return rc == OTOK_OK ? read_nonce(payload, &out->nonce, err) : rc;
}

/* ---- the proof ---- */

/* One jti is one proof of one key: what others have used is no business of his. */
static int digest(const otok_json *payload, otok_proof *out, otok_error *err)
{
    otok_str jti = otok_str_of(otok_json_text(payload, "jti"));
    uint8_t lengths[2][4], sum[OTOK_SHA256_SIZE];
    otok_put_u32(lengths[0], OTOK_KID_CHARS);
    otok_put_u32(lengths[1], (uint32_t)jti.len);
    const otok_str parts[] = {
        {lengths[0], sizeof lengths[0]}, {out->jkt, OTOK_KID_CHARS}, {lengths[1], sizeof lengths[1]}, jti};
    int rc = otok_sha256(parts, sizeof parts / sizeof parts[0], sum, err);
    if (rc == OTOK_OK)
        memcpy(out->digest, sum, sizeof out->digest);
    return rc;
}

static int verify(const otok_jws *jwt, const char *text, otok_proof *out, otok_error *err)
{
    otok_error why = {0};
    otok_pkey *key;
    int rc = read_key(jwt->header, &key, err);
    if (rc == OTOK_OK)
        rc = pass_on(otok_jws_verify(jwt, text, key, &why), &why, err);
    if (rc == OTOK_OK)
        rc = otok_pkey_thumbprint(key, out->jkt, err);
    if (rc == OTOK_OK)
        rc = digest(jwt->payload, out, err);
    otok_pkey_free(key);
    return rc;
}

int otok_proof_read(const char *text, const char *method, const char *uri, otok_proof *out, otok_error *err)
{
    otok_error why = {0};
    otok_jws *jwt = NULL;
    *out = (otok_proof){0};
    if (method == NULL || uri == NULL) /* the host's mistake, not the client's */
        return otok_fail(err, OTOK_E_INVALID, "request.%s is required with a DPoP proof",
                         method == NULL ? "method" : "uri");
    size_t len = text != NULL ? strnlen(text, PROOF_MAX + 1) : 0;
    if (len == 0 || len > PROOF_MAX)
        return is_wrong(err, len == 0 ? "it is empty" : "it is longer than 8192 bytes");
    int rc = pass_on(otok_jws_parse(text, len, &jwt, &why), &why, err);
    if (rc == OTOK_OK)
        rc = check_header(jwt->header, err);
    if (rc == OTOK_OK)
        rc = read_payload(jwt->payload, method, uri, out, err);
    if (rc == OTOK_OK)
        rc = verify(jwt, text, out, err);
    if (rc != OTOK_OK)
        otok_proof_free(out);
    otok_jws_free(jwt);
    return rc;
}

void otok_proof_free(otok_proof *proof)
{
    if (proof == NULL)
        return;
    otok_free(proof->nonce);
    *proof = (otok_proof){0};
}

int otok_proof_check_ath(const otok_proof *proof, const char *access_token, otok_error *err)
{
    uint8_t digest[OTOK_SHA256_SIZE];
    char ath[OTOK_KID_CHARS];
    otok_str token = otok_str_of(access_token);
    int rc = otok_sha256(&token, 1, digest, err);
    if (rc != OTOK_OK)
        return rc;
    otok_base64url(digest, sizeof digest, ath);
    return otok_equal_ct(ath, proof->ath, sizeof ath) ? OTOK_OK : is_wrong(err, "ath is not of the access token");
}

/* ---- the nonce ---- */

/*
 * A nonce is the id of a MAC key, a slot of time, and a MAC over both.  It is good in its slot, in the two that follow, and in the one
 * before, for the clocks of two processes differ.
 */
enum {
    SLOT_S = 30,
    SLOTS_BEFORE = 1,
    SLOTS_AFTER = 2,
    FRONT_SIZE = 8,
    MAC_SIZE = 16,
    NONCE_SIZE = FRONT_SIZE + MAC_SIZE
};

#define SLOT_MASK UINT64_C(0x00ffffffffffffff)

static uint64_t slot_of(int64_t now_us)
{
    return now_us > 0 ? (uint64_t)(now_us / (SLOT_S * OTOK_US_PER_S)) : 0;
}

static int nonce_mac(const otok_realm_key *key, const uint8_t front[FRONT_SIZE], uint8_t out[MAC_SIZE], otok_error *err)
{
    uint8_t mac[OTOK_SHA256_SIZE];
    int rc = otok_mac(key->nonce, &(otok_str){front, FRONT_SIZE}, 1, mac, err);
    if (rc == OTOK_OK)
        memcpy(out, mac, MAC_SIZE);
    otok_wipe(mac, sizeof mac);
    return rc;
}

int otok_nonce_print(otok_service *service, int64_t now_us, char out[OTOK_NONCE_CHARS + 1], otok_error *err)
{
    uint8_t bytes[NONCE_SIZE];
    out[0] = '\0';
    const otok_realm_key *key = otok_service_now_keys(service)->active;
    otok_put_u64(bytes, slot_of(now_us));
    bytes[0] = key->id; /* slots have no use for so many bits */
    int rc = nonce_mac(key, bytes, bytes + FRONT_SIZE, err);
    if (rc == OTOK_OK) {
        otok_base64url(bytes, sizeof bytes, out);
        out[OTOK_NONCE_CHARS] = '\0';
    }
    return rc;
}

static int is_stale(otok_error *err)
{
    return otok_fail(err, OTOK_E_DPOP_NONCE, "the DPoP proof's nonce is not a fresh one of this server's");
}

static bool parse_nonce(const char *nonce, uint8_t out[NONCE_SIZE])
{
    size_t len = NONCE_SIZE; /* what 32 characters are */
    return strnlen(nonce, OTOK_NONCE_CHARS + 1) == OTOK_NONCE_CHARS &&
           otok_unbase64url(nonce, OTOK_NONCE_CHARS, out, &len);
}

/*
 * Under any MAC key, also one that another process has made active meanwhile: rotating them is not noticed.  `end_us` is the last
 * moment at which it is good.
 */
static int check_nonce(const otok_service *service, const char *nonce, int64_t now_us, int64_t *end_us, otok_error *err)
{
    uint8_t bytes[NONCE_SIZE], mac[MAC_SIZE];
    const otok_realm_key *key;
    if (!parse_nonce(nonce, bytes))
        return is_stale(err);
    uint64_t slot = otok_get_u64(bytes) & SLOT_MASK, now = slot_of(now_us);
    if (slot > now + SLOTS_BEFORE || now > slot + SLOTS_AFTER)
        return is_stale(err);
    int rc = otok_service_key(service, bytes[0], &key, err);
    if (rc == OTOK_OK && key == NULL)
        return is_stale(err);
    if (rc == OTOK_OK)
        rc = nonce_mac(key, bytes, mac, err);
    if (rc == OTOK_OK && !otok_equal_ct(mac, bytes + FRONT_SIZE, sizeof mac))
        rc = is_stale(err);
    if (rc == OTOK_OK)
        *end_us = otok_seconds_to_us((int64_t)(slot + SLOTS_AFTER + 1) * SLOT_S) - 1;
    return rc;
}

bool otok_nonce_is_fresh(otok_service *service, const char *nonce, int64_t now_us)
{
    int64_t end_us;
    return nonce != NULL && check_nonce(service, nonce, now_us, &end_us, NULL) == OTOK_OK;
}

/* ---- its use ---- */

/*
 * Where a nonce is demanded, it is the nonce that tells when a proof was made, and by our clock; so `iat`, by that of the client, may be
 * off by ten minutes (RFC 9449 section 11.1 allows any skew then).  A nonce that is there without need makes nothing looser.
 */
static int check_iat(const otok_proof *proof, const otok_rules *rules, int64_t now_us, otok_error *err)
{
    int64_t window_us = rules->dpop_window_us;
    if (rules->dpop_nonce && window_us < LOOSE_US)
        window_us = LOOSE_US;
    if (now_us > otok_time_add(proof->iat_us, window_us))
        return is_wrong(err, "iat is too long ago");
    if (otok_time_add(now_us, window_us) < proof->iat_us)
        return is_wrong(err, "iat is in the future");
    return OTOK_OK;
}

static int digest_of_name(const char *kind, otok_str name, uint64_t *out, otok_error *err)
{
    uint8_t sum[OTOK_SHA256_SIZE];
    const otok_str parts[] = {otok_str_of(kind), name};
    int rc = otok_sha256(parts, sizeof parts / sizeof parts[0], sum, err);
    if (rc == OTOK_OK)
        *out = otok_get_u64(sum);
    return rc;
}

/*
 * Remembered until no policy, however it is changed meanwhile, could have it good: its nonce ends when it ends, and no window is wider
 * than ten minutes.
 */
static int remember(otok_service *service, const otok_proof *proof, const otok_owner *owner, int64_t nonce_end_us,
                    int64_t now_us, otok_error *err)
{
    otok_seen_by by = {0};
    int64_t until_us = otok_time_add(proof->iat_us, LOOSE_US);
    int rc = digest_of_name("user:", owner->subject, &by.user, err);
    if (rc == OTOK_OK)
        rc = digest_of_name("client:", owner->client, &by.client, err);
    if (rc != OTOK_OK)
        return rc;
    switch (
        otok_seen_add(service->proofs, proof->digest, &by, nonce_end_us < until_us ? nonce_end_us : until_us, now_us)) {
    case OTOK_SEEN_NEW:
        return OTOK_OK;
    case OTOK_SEEN_BEFORE:
        return is_wrong(err, "it was used before");
    case OTOK_SEEN_UNKNOWN:
        return otok_fail(err, OTOK_E_BUSY, "whether the DPoP proof was used before is not known: a clock was set back");
    default:
        return otok_fail(err, OTOK_E_BUSY, "more DPoP proofs of this user or client at once than are remembered");
    }
}

int otok_proof_use(otok_service *service, otok_proof *proof, const otok_owner *owner, const otok_rules *rules,
                   int64_t now_us, otok_error *err)
{
    int64_t nonce_end_us = OTOK_UNLIMITED;
    int rc = OTOK_OK;
    if (proof->used)
        return OTOK_OK;
    if (proof->nonce != NULL)
        rc = check_nonce(service, proof->nonce, now_us, &nonce_end_us, err);
    else if (rules->dpop_nonce)
        rc = otok_fail(err, OTOK_E_DPOP_NONCE, "the DPoP proof needs a nonce of this server's");
    if (rc == OTOK_OK)
        rc = check_iat(proof, rules, now_us, err);
    if (rc == OTOK_OK)
        rc = remember(service, proof, owner, nonce_end_us, now_us, err);
    proof->used = rc == OTOK_OK;
    return rc;
}
