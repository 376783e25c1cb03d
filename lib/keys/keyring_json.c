/*
 * keyring_json.c - a keyring as JWKS (RFC 7517 section 5): read with suspicion, and printed.
 *
 * SPDX-License-Identifier: MIT
 */
#include "keys/keys.h"

#include <string.h>

static const char *const states[] = {
    NULL, [OTOK_KEY_NEXT] = "next", [OTOK_KEY_ACTIVE] = "active", [OTOK_KEY_RETIRED] = "retired"};

/* ---- printing ---- */

static void add_state(otok_buf *out, int32_t state, int64_t created_us)
{
    otok_json_add_text(out, "otok_state", states[state]);
    otok_json_add_integer(out, "otok_created_us", created_us);
}

/* A key a line, for those who look into the file. */
static void begin_key(otok_buf *out, bool *first)
{
    otok_buf_add_text(out, *first ? "\n" : ",\n");
    otok_json_begin(out);
    *first = false;
}

/* In the file an external key says that it is one: a key that has lost its private half must not pass for it (K4, K5). */
static int add_signing(otok_buf *out, const otok_signing_key *key, bool is_private, otok_error *err)
{
    int rc = otok_jwk_add_pkey(out, key->pkey, is_private && !key->external, err);
    otok_json_add_text(out, "kid", key->kid);
    otok_json_add_text(out, "alg", otok_algorithm_name(otok_pkey_algorithm(key->pkey)));
    otok_json_add_text(out, "use", "sig");
    if (is_private && key->external)
        otok_json_add_raw(out, "otok_external", (otok_str){"true", 4});
    if (is_private)
        add_state(out, key->state, key->created_us);
    otok_json_end(out);
    return rc;
}

static void add_token(otok_buf *out, const otok_token_key *key)
{
    otok_jwk_add_oct(out, key->key);
    otok_json_add_text(out, "kid", key->kid);
    otok_json_add_text(out, "alg", "HS256");
    otok_json_add_integer(out, "otok_id", key->id);
    add_state(out, key->state, key->created_us);
    otok_json_end(out);
}

static const char dropped_name[] = "otok_dropped_ids"; /* base64url of one byte each */

static void add_dropped(otok_buf *out, const otok_keyring *keyring)
{
    otok_json_add_name(out, dropped_name);
    otok_buf_add_u8(out, '"');
    otok_buf_add_base64url(out, keyring->dropped, keyring->ndropped);
    otok_buf_add_u8(out, '"');
}

int otok_keyring_print(const otok_keyring *keyring, unsigned which, otok_buf *out, otok_error *err)
{
    int rc = OTOK_OK;
    bool first = true;

    otok_json_begin(out);
    otok_json_add_name(out, "keys");
    otok_buf_add_u8(out, '[');
    for (size_t i = 0; (which & (OTOK_JWKS_SIGNING | OTOK_JWKS_PUBLIC)) != 0 && i < keyring->nsigning && rc == OTOK_OK;
         i++) {
        begin_key(out, &first);
        rc = add_signing(out, &keyring->signing[i], (which & OTOK_JWKS_SIGNING) != 0, err);
    }
    for (size_t i = 0; (which & OTOK_JWKS_TOKEN) != 0 && i < keyring->ntoken; i++) {
        begin_key(out, &first);
        add_token(out, &keyring->token[i]);
    }
    otok_buf_add_text(out, "\n]");
    if ((which & OTOK_JWKS_TOKEN) != 0 && keyring->ndropped != 0)
        add_dropped(out, keyring);
    otok_json_end(out);
    otok_buf_add_u8(out, '\n');
    if (rc == OTOK_OK && out->failed)
        rc = otok_fail(err, OTOK_E_NOMEM, "no memory for a JWKS");
    return rc;
}

/* ---- reading ---- */

static int read_state(const otok_json *jwk, int32_t *state, int64_t *created_us, otok_error *err)
{
    const char *text = otok_json_text(jwk, "otok_state");
    *state = 0;
    for (int32_t i = OTOK_KEY_NEXT; text != NULL && i <= OTOK_KEY_RETIRED; i++) {
        if (strcmp(text, states[i]) == 0)
            *state = i;
    }
    if (*state == 0)
        return otok_fail(err, OTOK_E_KEY, "otok_state is none of next, active, retired");
    if (!otok_json_integer(jwk, "otok_created_us", created_us) || *created_us < 0)
        return otok_fail(err, OTOK_E_KEY, "otok_created_us is missing or no time");
    return OTOK_OK;
}

/* What is not there but must be, and is there once: asked of a kid before its key joins the others. */
static int check_kid(const otok_keyring *keyring, const otok_json *jwk, const char *thumbprint, otok_error *err)
{
    const char *kid = otok_json_text(jwk, "kid");

    if (kid == NULL)
        return otok_fail(err, OTOK_E_KEY, "kid is missing");
    if (strcmp(kid, thumbprint) != 0)
        return otok_fail(err, OTOK_E_KEY, "kid is not the thumbprint of the key (RFC 7638)");
    bool twice = otok_keyring_by_kid(keyring, kid) != NULL;
    for (size_t i = 0; i < keyring->ntoken && !twice; i++)
        twice = strcmp(keyring->token[i].kid, kid) == 0;
    return twice ? otok_fail(err, OTOK_E_KEY, "kid is another key's as well") : OTOK_OK;
}

/* Either absent, or exactly as we print it. */
static int read_external(const otok_json *jwk, bool *out, otok_error *err)
{
    const otok_json *external = otok_json_member(jwk, "otok_external");
    uint8_t room[8];
    otok_buf text;
    otok_buf_init(&text, room, sizeof room);
    if (external != NULL)
        otok_json_print(external, &text);
    *out = external != NULL && otok_str_eq((otok_str){text.data, text.len}, otok_str_of("true"));
    otok_buf_free(&text);
    return external == NULL || *out ? OTOK_OK : otok_fail(err, OTOK_E_KEY, "otok_external is there, and not true");
}

static int read_signing(const otok_json *jwk, otok_keyring *keyring, otok_error *err)
{
    otok_signing_key key = {0};
    const otok_json *use = otok_json_member(jwk, "use");

    if (use != NULL && (otok_json_string(use) == NULL || strcmp(otok_json_string(use), "sig") != 0))
        return otok_fail(err, OTOK_E_KEY, "use is not sig");
    int rc = read_state(jwk, &key.state, &key.created_us, err);
    if (rc == OTOK_OK && key.state == OTOK_KEY_ACTIVE && otok_keyring_signing(keyring) != NULL)
        rc = otok_fail(err, OTOK_E_KEY, "otok_state is active, and so is that of another signing key");
    if (rc == OTOK_OK && keyring->nsigning == OTOK_MAX_KEYRING_KEYS)
        rc = otok_fail(err, OTOK_E_KEY, "%d signing keys are the most", OTOK_MAX_KEYRING_KEYS);
    if (rc == OTOK_OK)
        rc = read_external(jwk, &key.external, err);
    if (rc == OTOK_OK)
        rc = key.external ? otok_jwk_read_external(jwk, &key.pkey, err) : otok_jwk_read_pkey(jwk, true, &key.pkey, err);
    if (rc == OTOK_OK)
        rc = otok_pkey_thumbprint(key.pkey, key.kid, err);
    if (rc == OTOK_OK)
        rc = check_kid(keyring, jwk, key.kid, err);
    if (rc == OTOK_OK)
        keyring->signing[keyring->nsigning++] = key;
    else
        otok_pkey_free(key.pkey);
    return rc;
}

static int read_id(const otok_json *jwk, const otok_keyring *keyring, const char *kid, uint8_t *out, otok_error *err)
{
    int64_t id;
    if (!otok_json_integer(jwk, "otok_id", &id) || id != otok_oct_id(kid))
        return otok_fail(err, OTOK_E_KEY, "otok_id is missing, or not %d, which the key's is", otok_oct_id(kid));
    for (size_t i = 0; i < keyring->ntoken; i++) {
        if (keyring->token[i].id == id)
            return otok_fail(err, OTOK_E_KEY, "otok_id %d is another MAC key's as well", (int)id);
    }
    *out = (uint8_t)id;
    return OTOK_OK;
}

static int read_token(const otok_json *jwk, otok_keyring *keyring, otok_error *err)
{
    otok_token_key key = {0};

    int rc = read_state(jwk, &key.state, &key.created_us, err);
    if (rc == OTOK_OK && key.state == OTOK_KEY_ACTIVE && otok_keyring_token(keyring) != NULL)
        rc = otok_fail(err, OTOK_E_KEY, "otok_state is active, and so is that of another MAC key");
    if (rc == OTOK_OK && keyring->ntoken == OTOK_MAX_KEYRING_KEYS)
        rc = otok_fail(err, OTOK_E_KEY, "%d MAC keys are the most", OTOK_MAX_KEYRING_KEYS);
    if (rc == OTOK_OK)
        rc = otok_jwk_read_oct(jwk, key.key, err);
    if (rc == OTOK_OK)
        rc = otok_oct_thumbprint(key.key, key.kid, err);
    if (rc == OTOK_OK)
        rc = check_kid(keyring, jwk, key.kid, err);
    if (rc == OTOK_OK)
        rc = read_id(jwk, keyring, key.kid, &key.id, err);
    if (rc == OTOK_OK)
        keyring->token[keyring->ntoken++] = key;
    otok_wipe(&key, sizeof key);
    return rc;
}

static int read_key(const otok_json *jwk, unsigned which, otok_keyring *keyring, otok_error *err)
{
    const char *kty = otok_json_text(jwk, "kty");
    if (kty == NULL)
        return otok_fail(err, OTOK_E_KEY, "kty is missing");
    bool is_token = strcmp(kty, "oct") == 0;
    if (is_token && (which & OTOK_JWKS_TOKEN) == 0)
        return otok_fail(err, OTOK_E_KEY, "it is a MAC key, and those are to be in their own file");
    if (!is_token && (which & OTOK_JWKS_SIGNING) == 0)
        return otok_fail(err, OTOK_E_KEY, "it is a signing key in the file of the MAC keys");
    return is_token ? read_token(jwk, keyring, err) : read_signing(jwk, keyring, err);
}

/*
 * A key goes by its place and, where that is a thumbprint, its kid.  Nothing else of the key is repeated in a
 * message.
 */
static int name_key(const otok_json *jwk, size_t i, const char *what, const otok_error *reason, otok_error *err)
{
    const char *kid = otok_json_text(jwk, "kid");
    uint8_t bytes[OTOK_SHA256_SIZE];
    size_t len = sizeof bytes;
    bool is_thumbprint =
        kid != NULL && strlen(kid) == OTOK_KID_CHARS && otok_unbase64url(kid, OTOK_KID_CHARS, bytes, &len);

    return otok_fail(err, reason->code, "key %zu (kid %s): %s; in %s", i + 1, is_thumbprint ? kid : "unreadable",
                     reason->message, what);
}

static int read_dropped(const otok_json *root, const char *what, otok_keyring *keyring, otok_error *err)
{
    const char *text = otok_json_text(root, dropped_name);
    size_t n = sizeof keyring->dropped;
    if (otok_json_member(root, dropped_name) == NULL)
        return OTOK_OK;
    if (text == NULL || !otok_unbase64url(text, strlen(text), keyring->dropped, &n))
        return otok_fail(err, OTOK_E_FORMAT, "%s of %s is not base64url of at most %d bytes", dropped_name, what,
                         OTOK_MAX_DROPPED_IDS);
    keyring->ndropped = n;
    return OTOK_OK;
}

int otok_keyring_parse(const char *text, size_t len, unsigned which, const char *what, otok_keyring *keyring,
                       otok_error *err)
{
    otok_json *root;
    int rc = otok_json_parse_long(text, len, OTOK_KEYRING_FILE_MAX, what, &root, err);
    if (rc != OTOK_OK)
        return rc;

    const otok_json *keys = otok_json_member(root, "keys");
    size_t count = otok_json_count(keys);
    if (!otok_json_is_array(keys))
        rc = otok_fail(err, OTOK_E_FORMAT, "%s is no JWKS: \"keys\" is missing or no array", what);
    else if (count > (size_t)2 * OTOK_MAX_KEYRING_KEYS)
        rc = otok_fail(err, OTOK_E_KEY, "%s has %zu keys, %d are the most", what, count, 2 * OTOK_MAX_KEYRING_KEYS);
    for (size_t i = 0; i < count && rc == OTOK_OK; i++) {
        otok_error reason;
        rc = read_key(otok_json_item(keys, i), which, keyring, &reason);
        if (rc != OTOK_OK)
            (void)name_key(otok_json_item(keys, i), i, what, &reason, err);
    }
    if (rc == OTOK_OK && (which & OTOK_JWKS_TOKEN) != 0)
        rc = read_dropped(root, what, keyring, err);
    if (rc == OTOK_OK && (which & OTOK_JWKS_SIGNING) != 0 && otok_keyring_signing(keyring) == NULL)
        rc = otok_fail(err, OTOK_E_KEY, "no signing key is active in %s", what);
    if (rc == OTOK_OK && (which & OTOK_JWKS_TOKEN) != 0 && otok_keyring_token(keyring) == NULL)
        rc = otok_fail(err, OTOK_E_KEY, "no MAC key is active in %s", what);
    otok_json_free(root);
    return rc;
}
