/*
 * keyring_change.c - the three steps of a rotation, each from one keyring to the next (K2, K3, K5).
 *
 * SPDX-License-Identifier: MIT
 */
#include "keys/keys.h"

#include <string.h>

void otok_key_change_init(otok_key_change *change, size_t size)
{
    otok_struct_init(change, size);
}

/* ---- what is asked for ---- */

/* What a step has no use for must be absent: who gives it expects something that would not happen. */
static int check_step(const otok_key_change *change, otok_error *err)
{
    bool adds = change->step == OTOK_KEY_STEP_ADD;
    if (change->step < OTOK_KEY_STEP_ADD || change->step > OTOK_KEY_STEP_DROP)
        return otok_fail(err, OTOK_E_INVALID, "change.step %d is none of OTOK_KEY_STEP_...", (int)change->step);
    if (change->use != OTOK_KEY_SIGNING && change->use != OTOK_KEY_TOKEN)
        return otok_fail(err, OTOK_E_INVALID, "change.use %d is none of OTOK_KEY_SIGNING, OTOK_KEY_TOKEN",
                         (int)change->use);
    if (change->unused != 0)
        return otok_fail(err, OTOK_E_INVALID, "change.unused is not 0");
    if (change->kid != NULL && adds)
        return otok_fail(err, OTOK_E_INVALID, "change.kid: a key that is added gets one of its own");
    if (change->algorithm != 0 && (!adds || change->use != OTOK_KEY_SIGNING))
        return otok_fail(err, OTOK_E_INVALID, "change.algorithm is for a signing key that is added");
    if (change->jwk != NULL && (!adds || change->use != OTOK_KEY_SIGNING))
        return otok_fail(err, OTOK_E_INVALID, "change.jwk is for a signing key that is added");
    if (change->kid == NULL && change->step == OTOK_KEY_STEP_DROP)
        return otok_fail(err, OTOK_E_INVALID, "change.kid is required");
    return OTOK_OK;
}

int otok_key_change_read(const otok_key_change *in, otok_key_change *out, otok_error *err)
{
    enum { KID_BOUND = 255 }; /* what is no thumbprint is the kid of no key; what is longer is no kid */
    int rc = otok_struct_read(out, sizeof *out, in, sizeof(size_t) + 2 * sizeof(int32_t), "otok_key_change", err);
    out->size = sizeof *out;
    if (rc == OTOK_OK)
        rc = check_step(out, err);
    if (rc == OTOK_OK && out->kid != NULL)
        rc = otok_text_check(out->kid, KID_BOUND, true, "change.kid", NULL, err);
    return rc;
}

/* ---- the keys of one use ---- */

static const char *name_of(int32_t use)
{
    return use == OTOK_KEY_SIGNING ? "signing key" : "MAC key";
}

static size_t count(const otok_keyring *keyring, int32_t use)
{
    return use == OTOK_KEY_SIGNING ? keyring->nsigning : keyring->ntoken;
}

static const char *kid_at(const otok_keyring *keyring, int32_t use, size_t i)
{
    return use == OTOK_KEY_SIGNING ? keyring->signing[i].kid : keyring->token[i].kid;
}

static int32_t *state_at(otok_keyring *keyring, int32_t use, size_t i)
{
    return use == OTOK_KEY_SIGNING ? &keyring->signing[i].state : &keyring->token[i].state;
}

/* The key that is named; without a name, the only next one.  A name is not repeated: it may be a key, given by mistake. */
static int find(otok_keyring *keyring, const otok_key_change *change, size_t *out, otok_error *err)
{
    size_t found = 0;
    for (size_t i = 0; i < count(keyring, change->use); i++) {
        if (change->kid != NULL ? strcmp(kid_at(keyring, change->use, i), change->kid) != 0
                                : *state_at(keyring, change->use, i) != OTOK_KEY_NEXT)
            continue;
        *out = i;
        found++;
    }
    if (found == 0)
        return otok_fail(err, OTOK_E_NOT_FOUND, change->kid != NULL ? "no %s has change.kid" : "no %s is next",
                         name_of(change->use));
    if (found > 1)
        return otok_fail(err, OTOK_E_INVALID, "change.kid is required: %zu %ss are next", found, name_of(change->use));
    return OTOK_OK;
}

/* ---- the steps ---- */

/* A kid that comes with an external key must be what it will be known by. */
static int check_external(const otok_keyring *keyring, const otok_json *jwk, const otok_signing_key *key,
                          int32_t algorithm, otok_error *err)
{
    const otok_json *kid = otok_json_member(jwk, "kid"), *use = otok_json_member(jwk, "use");
    if (algorithm != 0 && algorithm != otok_pkey_algorithm(key->pkey))
        return otok_fail(err, OTOK_E_INVALID, "change.algorithm is not that of change.jwk");
    if (kid != NULL && (otok_json_string(kid) == NULL || strcmp(otok_json_string(kid), key->kid) != 0))
        return otok_fail(err, OTOK_E_KEY, "kid is not the thumbprint of the key, %s (RFC 7638)", key->kid);
    if (use != NULL && (otok_json_string(use) == NULL || strcmp(otok_json_string(use), "sig") != 0))
        return otok_fail(err, OTOK_E_KEY, "use is not sig");
    if (otok_keyring_by_kid(keyring, key->kid) != NULL)
        return otok_fail(err, OTOK_E_STATE, "signing key %s is in the keyring already", key->kid);
    return OTOK_OK;
}

static int read_external(const otok_keyring *keyring, const otok_json *jwk, int32_t algorithm, otok_signing_key *key,
                         otok_error *err)
{
    int rc = otok_jwk_read_external(jwk, &key->pkey, err);
    if (rc == OTOK_OK)
        rc = otok_pkey_thumbprint(key->pkey, key->kid, err);
    if (rc == OTOK_OK)
        rc = check_external(keyring, jwk, key, algorithm, err);
    return rc;
}

static int add_external(otok_keyring *keyring, const otok_key_change *change, otok_error *err)
{
    otok_signing_key key = {.external = true, .state = OTOK_KEY_NEXT, .created_us = otok_clock_now_us()};
    otok_error reason = {0};
    otok_json *jwk;
    int rc = otok_json_parse(change->jwk, strlen(change->jwk), "change.jwk", &jwk, err);
    if (rc != OTOK_OK) /* the caller's key, not a file of ours */
        return rc == OTOK_E_FORMAT ? otok_fail(err, OTOK_E_KEY, "change.jwk is no JSON") : rc;
    rc = read_external(keyring, jwk, change->algorithm, &key, &reason);
    otok_json_free(jwk);
    if (rc == OTOK_OK) {
        keyring->signing[keyring->nsigning++] = key;
        return OTOK_OK;
    }
    otok_pkey_free(key.pkey);
    return otok_fail(err, rc, "change.jwk: %s", reason.message);
}

static int add(otok_keyring *keyring, const otok_key_change *change, otok_error *err)
{
    if (count(keyring, change->use) == OTOK_MAX_KEYRING_KEYS)
        return otok_fail(err, OTOK_E_STATE, "%d %ss are the most", OTOK_MAX_KEYRING_KEYS, name_of(change->use));
    if (change->use == OTOK_KEY_TOKEN)
        return otok_keyring_add_token(keyring, OTOK_KEY_NEXT, err);
    if (change->jwk != NULL)
        return add_external(keyring, change, err);
    return otok_keyring_add_signing(keyring, change->algorithm, OTOK_KEY_NEXT, err);
}

/*
 * A retired key may come back: so a rotation is undone.  The active one stays as it is: whoever asks again after a failure
 * whose outcome he does not know has what he wanted.
 */
static int activate(otok_keyring *keyring, const otok_key_change *change, otok_error *err)
{
    size_t at = 0;
    int rc = find(keyring, change, &at, err);
    if (rc != OTOK_OK)
        return rc;
    for (size_t i = 0; i < count(keyring, change->use); i++) {
        int32_t *state = state_at(keyring, change->use, i);
        if (*state == OTOK_KEY_ACTIVE)
            *state = OTOK_KEY_RETIRED;
    }
    *state_at(keyring, change->use, at) = OTOK_KEY_ACTIVE;
    return OTOK_OK;
}

/* What is still sealed or derived under it somewhere must not be taken for another key's (K3); the oldest are forgotten. */
static void remember_id(otok_keyring *keyring, uint8_t id)
{
    if (keyring->ndropped == OTOK_MAX_DROPPED_IDS)
        memmove(keyring->dropped, keyring->dropped + 1, --keyring->ndropped);
    keyring->dropped[keyring->ndropped++] = id;
}

static int drop(otok_keyring *keyring, const otok_key_change *change, otok_error *err)
{
    size_t at = 0;
    int rc = find(keyring, change, &at, err);
    if (rc != OTOK_OK)
        return rc;
    if (*state_at(keyring, change->use, at) == OTOK_KEY_ACTIVE)
        return otok_fail(err, OTOK_E_STATE, "change.kid is the active %s's, which is not dropped",
                         name_of(change->use));
    if (change->use == OTOK_KEY_SIGNING) {
        otok_signing_key *gone = &keyring->signing[at];
        otok_pkey_free(gone->pkey);
        memmove(gone, gone + 1, (--keyring->nsigning - at) * sizeof *gone);
    } else {
        otok_token_key *gone = &keyring->token[at];
        remember_id(keyring, gone->id);
        memmove(gone, gone + 1, (--keyring->ntoken - at) * sizeof *gone);
        otok_wipe(&keyring->token[keyring->ntoken], sizeof *gone);
    }
    return OTOK_OK;
}

/* From no file: it is not what is there. */
static otok_keyring *copy(const otok_keyring *keyring, otok_error *err)
{
    otok_keyring *made = otok_keyring_new(err);
    if (made == NULL)
        return NULL;
    for (; made->nsigning < keyring->nsigning; made->nsigning++) {
        made->signing[made->nsigning] = keyring->signing[made->nsigning];
        (void)otok_pkey_ref(made->signing[made->nsigning].pkey);
    }
    memcpy(made->token, keyring->token, sizeof made->token);
    made->ntoken = keyring->ntoken;
    memcpy(made->dropped, keyring->dropped, sizeof made->dropped);
    made->ndropped = keyring->ndropped;
    return made;
}

int otok_keyring_change(const otok_keyring *keyring, const otok_key_change *change, otok_keyring **out, otok_error *err)
{
    static int (*const steps[])(otok_keyring *, const otok_key_change *, otok_error *) = {
        [OTOK_KEY_STEP_ADD] = add, [OTOK_KEY_STEP_ACTIVATE] = activate, [OTOK_KEY_STEP_DROP] = drop};
    otok_key_change own;
    if (keyring == NULL || out == NULL)
        return otok_fail(err, OTOK_E_INVALID, "%s is required", keyring == NULL ? "keyring" : "out");
    *out = NULL;
    int rc = otok_key_change_read(change, &own, err);
    if (rc == OTOK_OK)
        rc = otok_crypto_check(err);
    if (rc != OTOK_OK)
        return rc;
    otok_keyring *made = copy(keyring, err);
    if (made == NULL)
        return OTOK_E_NOMEM;
    rc = steps[own.step](made, &own, err);
    if (rc == OTOK_OK)
        *out = made;
    else
        otok_keyring_free(made);
    return rc;
}
