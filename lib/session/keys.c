/*
 * keys.c - a keyring as a service uses it, and how it goes on with another (K2, K3, K5).
 *
 * The keys are an immutable snapshot behind an atomic pointer: a call looks at it without a lock, and goes on with what it saw.
 * Snapshots whose place was taken are freed with the service, since no call says when it has done with one.
 *
 * SPDX-License-Identifier: MIT
 */
#include "session/session.h"

#include <pthread.h>
#include <stdatomic.h>
#include <string.h>

enum { PAUSE_US = 1000000 };

struct otok_key_cell {
    _Atomic(otok_keys *) now;
    pthread_mutex_t turn;   /* of whoever sets another */
    int64_t pause_until_us; /* monotonic; after a file that could not be read */
};

/* ------------------------------------------------------------------------------------------------------- one snapshot */

static int derive(const otok_service *service, const otok_token_key *key, const char *purpose, otok_mac_key **out,
                  otok_error *err)
{
    uint8_t subkey[OTOK_KEY_SIZE];
    int rc = otok_subkey(key->key, purpose, service->realm, subkey, err);
    if (rc == OTOK_OK)
        rc = otok_mac_key_new(subkey, out, err);
    otok_wipe(subkey, sizeof subkey);
    return rc;
}

static int derive_all(const otok_service *service, const otok_token_key *from, otok_realm_key *key, otok_error *err)
{
    key->id = from->id;
    int rc = derive(service, from, "token", &key->token, err);
    if (rc == OTOK_OK)
        rc = derive(service, from, "seal", &key->seal, err);
    if (rc == OTOK_OK)
        rc = derive(service, from, "cursor", &key->cursor, err);
    if (rc == OTOK_OK)
        rc = derive(service, from, "once", &key->once, err);
    if (rc == OTOK_OK)
        rc = derive(service, from, "adoption", &key->adoption, err);
    return rc == OTOK_OK ? derive(service, from, "nonce", &key->nonce, err) : rc;
}

static int derive_realm(const otok_service *service, otok_keys *keys, otok_error *err)
{
    const otok_keyring *keyring = keys->keyring;
    keys->realm = otok_calloc(keyring->ntoken, sizeof *keys->realm);
    if (keys->realm == NULL)
        return otok_fail(err, OTOK_E_NOMEM, "out of memory");
    keys->nrealm = keyring->ntoken;
    int rc = OTOK_OK;
    for (size_t i = 0; rc == OTOK_OK && i < keys->nrealm; i++) {
        rc = derive_all(service, &keyring->token[i], &keys->realm[i], err);
        if (&keyring->token[i] == otok_keyring_token(keyring))
            keys->active = &keys->realm[i];
    }
    return rc;
}

void otok_jose_header(const otok_signing_key *key, const char *typ, otok_buf *out)
{
    otok_json_begin(out);
    otok_json_add_text(out, "alg", otok_algorithm_name(otok_pkey_algorithm(key->pkey)));
    otok_json_add_text(out, "typ", typ);
    otok_json_add_text(out, "kid", key->kid);
    otok_json_end(out);
}

/* Those of every answer never change while the active key does not. */
static char *prepared_header(const otok_signing_key *key, const char *typ)
{
    otok_buf buf;
    otok_buf_init(&buf, NULL, 0);
    otok_jose_header(key, typ, &buf);
    char *text = buf.failed ? NULL : otok_strndup(buf.data, buf.len);
    otok_buf_free(&buf);
    return text;
}

static void free_keys(otok_keys *keys)
{
    for (size_t i = 0; i < keys->nrealm; i++) {
        otok_mac_key_free(keys->realm[i].token);
        otok_mac_key_free(keys->realm[i].seal);
        otok_mac_key_free(keys->realm[i].cursor);
        otok_mac_key_free(keys->realm[i].once);
        otok_mac_key_free(keys->realm[i].adoption);
        otok_mac_key_free(keys->realm[i].nonce);
    }
    otok_free(keys->realm);
    otok_free(keys->at_header);
    otok_free(keys->jwt_header);
    otok_keyring_free(keys->keyring);
    otok_free(keys);
}

static int fill_keys(const otok_service *service, otok_keys *keys, otok_error *err)
{
    keys->signing = otok_keyring_signing(keys->keyring);
    if (keys->signing->external && service->callbacks.sign == NULL)
        return otok_fail(err, OTOK_E_KEY, "the active signing key %s is external, and callbacks.sign is NULL",
                         keys->signing->kid);
    keys->at_header = prepared_header(keys->signing, "at+jwt"); /* RFC 9068 section 2.1 */
    keys->jwt_header = prepared_header(keys->signing, "JWT");
    if (keys->at_header == NULL || keys->jwt_header == NULL)
        return otok_fail(err, OTOK_E_NOMEM, "out of memory");
    return derive_realm(service, keys, err);
}

static int new_keys(const otok_service *service, otok_keyring *keyring, otok_keys **out, otok_error *err)
{
    otok_keys *keys = otok_calloc(1, sizeof *keys);
    if (keys == NULL)
        return otok_fail(err, OTOK_E_NOMEM, "out of memory");
    keys->keyring = otok_keyring_ref(keyring);
    int rc = fill_keys(service, keys, err);
    if (rc == OTOK_OK)
        *out = keys;
    else
        free_keys(keys);
    return rc;
}

/* ------------------------------------------------------------------------------------------------------------ the cell */

int otok_key_cell_new(const otok_service *service, otok_keyring *keyring, otok_key_cell **out, otok_error *err)
{
    otok_keys *keys = NULL;
    otok_key_cell *cell = otok_calloc(1, sizeof *cell);
    if (cell == NULL || pthread_mutex_init(&cell->turn, NULL) != 0) {
        otok_free(cell);
        return otok_fail(err, OTOK_E_NOMEM, "out of memory");
    }
    int rc = new_keys(service, keyring, &keys, err);
    atomic_init(&cell->now, keys);
    if (rc == OTOK_OK)
        *out = cell;
    else
        otok_key_cell_free(cell);
    return rc;
}

void otok_key_cell_free(otok_key_cell *cell)
{
    if (cell == NULL)
        return;
    for (otok_keys *keys = atomic_load(&cell->now), *before; keys != NULL; keys = before) {
        before = keys->before;
        free_keys(keys);
    }
    (void)pthread_mutex_destroy(&cell->turn);
    otok_free(cell);
}

const otok_keys *otok_service_now_keys(const otok_service *service)
{
    return atomic_load_explicit(&service->keys->now, memory_order_acquire);
}

/* With the turn: the same keys of the same file take nobody's place, so that those who reload every minute hold no more than others. */
static int set_keys(const otok_service *service, otok_keyring *keyring, otok_error *err)
{
    otok_keys *now = atomic_load(&service->keys->now), *keys = NULL;
    if (keyring == now->keyring ||
        (otok_keyring_same(keyring, now->keyring) && otok_keyring_same_files(keyring, now->keyring)))
        return OTOK_OK;
    int rc = new_keys(service, keyring, &keys, err);
    if (keys != NULL) {
        keys->before = now;
        atomic_store_explicit(&service->keys->now, keys, memory_order_release);
    }
    return rc;
}

int otok_service_set_keyring(otok_service *service, otok_keyring *keyring, otok_error *err)
{
    if (service == NULL || keyring == NULL)
        return otok_fail(err, OTOK_E_INVALID, "%s is required", service == NULL ? "service" : "keyring");
    (void)pthread_mutex_lock(&service->keys->turn);
    int rc = set_keys(service, keyring, err);
    (void)pthread_mutex_unlock(&service->keys->turn);
    return rc;
}

/* With the turn. */
static int reload(const otok_service *service, otok_error *err)
{
    otok_keyring *keyring;
    int rc = otok_keyring_reload(otok_service_now_keys(service)->keyring, &keyring, err);
    if (rc == OTOK_OK && keyring != NULL) {
        rc = set_keys(service, keyring, err);
        otok_keyring_free(keyring);
    }
    if (rc == OTOK_OK)
        service->keys->pause_until_us = 0;
    return rc;
}

int otok_service_reload_keyring(otok_service *service, otok_error *err)
{
    if (service == NULL)
        return otok_fail(err, OTOK_E_INVALID, "service is required");
    (void)pthread_mutex_lock(&service->keys->turn);
    int rc = reload(service, err);
    (void)pthread_mutex_unlock(&service->keys->turn);
    return rc;
}

/* ---------------------------------------------------------------------------------------------------------- finding one */

/*
 * Another process may have rotated.  A look at the file is cheap while it has not changed; one that is damaged is left alone for a
 * while, whatever strangers send us.  Then it is not known whether the key is: that is trouble, and not a token that is refused.
 */
static int look_again(const otok_service *service, otok_error *err)
{
    otok_key_cell *cell = service->keys;
    otok_error why;
    (void)pthread_mutex_lock(&cell->turn);
    int64_t now_us = otok_clock_monotonic_us();
    bool pause = now_us < cell->pause_until_us;
    int rc = pause ? OTOK_E_IO : reload(service, &why);
    if (!pause && (rc == OTOK_E_FORMAT || rc == OTOK_E_KEY)) /* which took reading the whole of it */
        cell->pause_until_us = now_us + PAUSE_US;
    (void)pthread_mutex_unlock(&cell->turn);
    if (rc == OTOK_OK || rc == OTOK_E_UNSUPPORTED)
        return OTOK_OK;
    return rc == OTOK_E_NOMEM
               ? otok_fail(err, rc, "out of memory")
               : otok_fail(err, OTOK_E_IO, "a key is not known, and the keyring's file cannot be read%s%s",
                           pause ? "" : ": ", pause ? "" : why.message);
}

static const otok_realm_key *find_realm_key(const otok_keys *keys, uint8_t id)
{
    for (size_t i = 0; i < keys->nrealm; i++) {
        if (keys->realm[i].id == id)
            return &keys->realm[i];
    }
    return NULL;
}

int otok_service_key(const otok_service *service, uint8_t id, const otok_realm_key **out, otok_error *err)
{
    *out = find_realm_key(otok_service_now_keys(service), id);
    if (*out != NULL)
        return OTOK_OK;
    int rc = look_again(service, err);
    *out = find_realm_key(otok_service_now_keys(service), id);
    return rc;
}

int otok_service_signing_key(const otok_service *service, const char *kid, const otok_signing_key **out,
                             otok_error *err)
{
    *out = otok_keyring_by_kid(otok_service_now_keys(service)->keyring, kid);
    if (*out != NULL)
        return OTOK_OK;
    int rc = look_again(service, err);
    *out = otok_keyring_by_kid(otok_service_now_keys(service)->keyring, kid);
    return rc;
}

/* -------------------------------------------------------------------------------------------------------------- signing */

struct elsewhere {
    const otok_service *service;
    const otok_signing_key *key;
};

/* The host signs, and is not believed: a token that nobody can verify must not be handed out. */
static int sign_elsewhere(void *arg, const void *data, size_t data_len, uint8_t *signature, size_t *len,
                          otok_error *err)
{
    const struct elsewhere *at = arg;
    const otok_sign_request request = {
        .size = sizeof request,
        .kid = at->key->kid,
        .algorithm = otok_pkey_algorithm(at->key->pkey),
        .data = data,
        .data_len = data_len,
    };
    size_t room = *len;
    if (at->service->callbacks.sign(at->service->user, &request, signature, len) != 0)
        return otok_fail(err, OTOK_E_CALLBACK, "the host's sign callback failed");
    int rc = *len <= room ? otok_verify(at->key->pkey, data, data_len, signature, *len, err) : OTOK_E_TOKEN_INVALID;
    return rc == OTOK_E_TOKEN_INVALID
               ? otok_fail(err, OTOK_E_CRYPTO, "what the host's sign callback made is no signature of key %s",
                           at->key->kid)
               : rc;
}

int otok_service_sign(const otok_service *service, const otok_keys *keys, otok_str header, otok_str payload,
                      otok_buf *out, otok_error *err)
{
    struct elsewhere elsewhere = {service, keys->signing};
    return keys->signing->external ? otok_jws_sign(sign_elsewhere, &elsewhere, header, payload, out, err)
                                   : otok_jws_sign_pkey(keys->signing->pkey, header, payload, out, err);
}

/* ---------------------------------------------------------------------------------------------------------------- usage */

struct usage {
    uint64_t sessions[UINT8_MAX + 1]; /* by id of the MAC key */
};

static void count_rows(const otok_service *service, otok_rows *rows, struct usage *usage)
{
    otok_loaded session;
    for (size_t i = 0; i < rows->n; i++) {
        if (otok_session_unpack(service, rows->records[i], &session, NULL) != OTOK_OK)
            continue;
        rows->records[i] = NULL;
        usage->sessions[session.head.key_id]++;
        if (session.seal_key_id != session.head.key_id)
            usage->sessions[session.seal_key_id]++;
        otok_loaded_free(&session);
    }
}

static int count_usage(otok_service *service, struct usage *usage, otok_error *err)
{
    otok_place place = {.order = OTOK_ORDER_OLDEST_FIRST};
    int rc =
        otok_index_of(service, OTOK_RECORD_SESSION, OTOK_INDEX_REALM, (otok_str){0}, (otok_str){0}, &place.index, err);
    while (rc == OTOK_OK && !place.end) {
        otok_rows rows;
        rc = otok_place_read(service, &place, OTOK_BULK, &rows, err);
        if (rc == OTOK_OK) {
            count_rows(service, &rows, usage);
            otok_rows_free(&rows);
        }
    }
    return rc;
}

int otok_service_keys(otok_service *service, otok_key_list **out, otok_error *err)
{
    struct usage usage = {0};
    if (service == NULL || out == NULL)
        return otok_fail(err, OTOK_E_INVALID, "%s is required", service == NULL ? "service" : "out");
    *out = NULL;
    int rc = count_usage(service, &usage, err);
    if (rc == OTOK_OK)
        rc = otok_keyring_keys(otok_service_now_keys(service)->keyring, out, err);
    for (size_t i = 0; rc == OTOK_OK && i < (*out)->count; i++) {
        otok_key *key = (otok_key *)(uintptr_t)(*out)->keys[i]; /* it was made for us */
        key->sessions = usage.sessions[key->token_id];
        if (key->use != OTOK_KEY_TOKEN)
            key->sessions = 0;
    }
    return rc;
}
