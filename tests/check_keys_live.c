/*
 * check_keys_live.c - keys are rotated while services serve: K2 (signing), K3 (MAC), K6 (files apart), K7 (seals).  Several threads
 * and processes at it: the second half.
 *
 * SPDX-License-Identifier: MIT
 */
#include "support/crew.h"
#include "support/introspect.h"
#include "support/node.h"
#include "support/records.h"

#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

/* ----------------------------------------------------------------------------------------------------------- helpers */

/* A keyring's files: `token_path` is empty where both sorts are in one. */
typedef struct files {
    char *folder;
    char path[4096], token_path[4096];
} files;

static const char *token_path(const files *at)
{
    return at->token_path[0] != '\0' ? at->token_path : NULL;
}

static files new_files(const test_fixture *f, bool apart)
{
    otok_error err = {0};
    files at = {.folder = test_new_folder()};
    (void)snprintf(at.path, sizeof at.path, "%s/keyring.json", at.folder);
    if (apart)
        (void)snprintf(at.token_path, sizeof at.token_path, "%s/token-keys.json", at.folder);
    int rc = otok_keyring_save(f->keyring, at.path, token_path(&at), &err);
    ck_assert_msg(rc == OTOK_OK, "otok_keyring_save: %s", err.message);
    return at;
}

static otok_keyring *load(const files *at)
{
    otok_error err = {0};
    otok_keyring *keyring = NULL;
    int rc = otok_keyring_load(at->path, token_path(at), &keyring, &err);
    ck_assert_msg(rc == OTOK_OK, "otok_keyring_load: %s", err.message);
    return keyring;
}

/* Takes `keyring` in the place of the fixture's. */
static void serve_with(test_fixture *f, otok_keyring *keyring)
{
    otok_keyring_free(f->keyring);
    f->keyring = keyring;
    test_reopen_service(f);
}

/* A fixture whose keyring came from files. */
static test_fixture *open_with_files(int engine, files *at, bool apart)
{
    test_fixture *f = test_open(engine);
    f->policy.access_token_lifetime_s = 30 * (int64_t)TEST_DAY_S;
    *at = new_files(f, apart);
    serve_with(f, load(at));
    return f;
}

static void close_with_files(test_fixture *f, files *at)
{
    test_remove_folder(at->folder);
    test_end(f);
}

static int change(const files *at, int32_t step, int32_t use, const char *kid)
{
    otok_key_change what;
    otok_key_change_init(&what, sizeof what);
    what.step = step;
    what.use = use;
    what.algorithm = step == OTOK_KEY_STEP_ADD && use == OTOK_KEY_SIGNING ? OTOK_ALG_ES256 : 0;
    what.kid = kid;
    return otok_keyring_change_file(at->path, token_path(at), &what, NULL, NULL);
}

static void must_change(const files *at, int32_t step, int32_t use, const char *kid)
{
    test_assert_code(OTOK_OK, change(at, step, use, kid));
}

static void reload(test_fixture *f)
{
    otok_error err = {0};
    int rc = otok_service_reload_keyring(f->service, &err);
    ck_assert_msg(rc == OTOK_OK, "otok_service_reload_keyring: %s: %s", otok_error_name(rc), err.message);
}

/* The kid of the only key of that use and state in the service; copies. */
typedef char kid_text[64];

static void kid_of(test_fixture *f, int32_t use, int32_t state, kid_text out)
{
    otok_key_list *list = NULL;
    size_t found = 0;
    test_assert_code(OTOK_OK, otok_service_keys(f->service, &list, NULL));
    for (size_t i = 0; i < list->count; i++) {
        if (list->keys[i]->use != use || list->keys[i]->state != state)
            continue;
        (void)snprintf(out, sizeof(kid_text), "%s", list->keys[i]->kid);
        found++;
    }
    otok_key_list_free(list);
    ck_assert_uint_eq(found, 1);
}

/* How many sessions need a MAC key of that state; its id in `id`, where it is not NULL. */
static uint64_t needed(test_fixture *f, int32_t state, int32_t *id)
{
    otok_key_list *list = NULL;
    uint64_t n = 0;
    test_assert_code(OTOK_OK, otok_service_keys(f->service, &list, NULL));
    for (size_t i = 0; i < list->count; i++) {
        const otok_key *key = list->keys[i];
        ck_assert(key->use == OTOK_KEY_TOKEN || key->sessions == 0);
        if (key->use != OTOK_KEY_TOKEN || key->state != state)
            continue;
        n += key->sessions;
        if (id != NULL)
            *id = key->token_id;
    }
    otok_key_list_free(list);
    return n;
}

static int32_t key_id_of(const char *token)
{
    otok_presented presented;
    ck_assert(otok_token_parse(token, &presented));
    return presented.token.key_id;
}

/* The kid in the header of a JWT. */
static void kid_in(const char *jwt, kid_text out)
{
    char json[512] = "";
    size_t room = sizeof json - 1;
    ck_assert(otok_unbase64url(jwt, strcspn(jwt, "."), (uint8_t *)json, &room));
    cJSON *header = cJSON_Parse(json);
    (void)snprintf(out, sizeof(kid_text), "%s", cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(header, "kid")));
    cJSON_Delete(header);
}

/* The public key of that kid in a JWKS; NULL. */
static otok_pkey *published_key(const char *jwks, const char *kid)
{
    otok_pkey *key = NULL;
    cJSON *set = cJSON_Parse(jwks);
    const cJSON *jwk = NULL;
    cJSON_ArrayForEach(jwk, cJSON_GetObjectItemCaseSensitive(set, "keys"))
    {
        otok_json *json = NULL;
        const char *its = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(jwk, "kid"));
        if (its == NULL || strcmp(its, kid) != 0)
            continue;
        char *text = cJSON_PrintUnformatted(jwk);
        test_assert_code(OTOK_OK, otok_json_parse(text, strlen(text), "a key of the JWKS", &json, NULL));
        test_assert_code(OTOK_OK, otok_jwk_read_pkey(json, false, &key, NULL));
        otok_json_free(json);
        free(text);
    }
    cJSON_Delete(set);
    return key;
}

/* Whether a relying party that has fetched this JWKS accepts the signature. */
static bool verifies(const char *jwks, const char *access_token)
{
    kid_text kid;
    otok_jws *jwt = NULL;
    kid_in(access_token, kid);
    otok_pkey *key = published_key(jwks, kid);
    test_assert_code(OTOK_OK, otok_jws_parse(access_token, strlen(access_token), &jwt, NULL));
    bool good = key != NULL && otok_jws_verify(jwt, access_token, key, NULL) == OTOK_OK;
    otok_jws_free(jwt);
    otok_pkey_free(key);
    return good;
}

static bool verifies_with(const files *at, const char *access_token)
{
    char *jwks = NULL;
    otok_keyring *keyring = load(at);
    test_assert_code(OTOK_OK, otok_keyring_jwks(keyring, &jwks, NULL));
    bool good = verifies(jwks, access_token);
    otok_string_free(jwks);
    otok_keyring_free(keyring);
    return good;
}

/* Rotating ones and, with i odd, confidential ones that never rotate. */
static test_held hold_either(test_fixture *f, size_t i)
{
    otok_grant grant = test_grant(NULL, "phone", "offline_access");
    grant.client_type = i % 2 != 0 ? OTOK_CLIENT_CONFIDENTIAL : OTOK_CLIENT_PUBLIC;
    return test_hold_grant(f, &grant);
}

static int refresh_either(test_fixture *f, test_held *held, size_t i)
{
    otok_tokens *tokens = NULL;
    otok_refresh_request request = test_refresh_request(held->token, "phone");
    request.client_type = i % 2 != 0 ? OTOK_CLIENT_CONFIDENTIAL : OTOK_CLIENT_PUBLIC;
    int rc = otok_refresh(f->service, &request, &tokens, NULL);
    if (rc == OTOK_OK)
        test_keep(held, tokens);
    return rc;
}

static void refresh_everyone(test_fixture *f, test_held *held, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        test_advance_s(f, 11);
        test_assert_code(OTOK_OK, refresh_either(f, &held[i], i));
    }
}

static bool ends_nobody(const test_fixture *f)
{
    return test_count_events(f, OTOK_EVENT_REUSE) == 0 && test_count_events(f, OTOK_EVENT_REVOKED) == 0 &&
           test_count_events(f, OTOK_EVENT_CUTOFF) == 0 && test_count_events(f, OTOK_EVENT_EXPIRED) == 0;
}

/* ---------------------------------------------------------------------------------------------- MAC keys, step by step */

enum { CLIENTS = 8 };

/* K3: next mints nothing; a token under an old key is issued anew under the active one; then nobody needs the old one. */
START_TEST(mac_key_is_rotated_and_nobody_is_logged_out)
{
    files at;
    kid_text old;
    int32_t old_id = 0, new_id = 0;
    test_held held[CLIENTS];
    test_fixture *f = open_with_files(_i % 2, &at, _i / 2 != 0);
    for (size_t i = 0; i < CLIENTS; i++)
        held[i] = hold_either(f, i);
    kid_of(f, OTOK_KEY_TOKEN, OTOK_KEY_ACTIVE, old);
    ck_assert_uint_eq(needed(f, OTOK_KEY_ACTIVE, &old_id), CLIENTS);
    must_change(&at, OTOK_KEY_STEP_ADD, OTOK_KEY_TOKEN, NULL);
    reload(f);
    refresh_everyone(f, held, CLIENTS);
    for (size_t i = 0; i < CLIENTS; i++)
        ck_assert_int_eq(key_id_of(held[i].token), old_id);
    ck_assert_uint_eq(needed(f, OTOK_KEY_NEXT, &new_id), 0);
    must_change(&at, OTOK_KEY_STEP_ACTIVATE, OTOK_KEY_TOKEN, NULL);
    reload(f);
    ck_assert_uint_eq(needed(f, OTOK_KEY_RETIRED, NULL), CLIENTS);
    refresh_everyone(f, held, CLIENTS / 2);
    refresh_everyone(f, held, CLIENTS / 2); /* presents the new one */
    ck_assert_uint_eq(needed(f, OTOK_KEY_RETIRED, NULL), CLIENTS / 2);
    refresh_everyone(f, held, CLIENTS);
    refresh_everyone(f, held, CLIENTS);
    for (size_t i = 0; i < CLIENTS; i++)
        ck_assert_int_eq(key_id_of(held[i].token), new_id);
    ck_assert_uint_eq(needed(f, OTOK_KEY_RETIRED, NULL), 0);
    ck_assert_uint_eq(needed(f, OTOK_KEY_ACTIVE, NULL), CLIENTS);
    must_change(&at, OTOK_KEY_STEP_DROP, OTOK_KEY_TOKEN, old);
    reload(f);
    refresh_everyone(f, held, CLIENTS);
    ck_assert(ends_nobody(f));
    close_with_files(f, &at);
}
END_TEST

/* K3: dropped too early, its tokens are invalid: nobody is accused, nothing is ended, the others go on. */
START_TEST(token_under_a_dropped_key_is_invalid_and_no_reuse)
{
    files at;
    kid_text old;
    test_fixture *f = open_with_files(_i, &at, false);
    test_held stale = hold_either(f, 0), steady = hold_either(f, 1), fresh = hold_either(f, 0), before = fresh;
    test_held superseded = stale;
    test_rotate(f, &stale, NULL);
    kid_of(f, OTOK_KEY_TOKEN, OTOK_KEY_ACTIVE, old);
    must_change(&at, OTOK_KEY_STEP_ADD, OTOK_KEY_TOKEN, NULL);
    must_change(&at, OTOK_KEY_STEP_ACTIVATE, OTOK_KEY_TOKEN, NULL);
    reload(f);
    test_rotate(f, &fresh, NULL);
    must_change(&at, OTOK_KEY_STEP_DROP, OTOK_KEY_TOKEN, old);
    reload(f);
    test_assert_code(OTOK_E_TOKEN_INVALID, refresh_either(f, &stale, 0));
    test_assert_code(OTOK_E_TOKEN_INVALID, refresh_either(f, &steady, 1));
    test_assert_code(OTOK_E_TOKEN_INVALID, refresh_either(f, &superseded, 0));
    test_assert_code(OTOK_E_TOKEN_INVALID, refresh_either(f, &before, 0)); /* the one before the fresh one */
    ck_assert(!test_is_active(f, stale.token, "phone"));
    ck_assert(ends_nobody(f));
    ck_assert(test_has_session(f, stale.session_id));
    ck_assert(test_has_session(f, steady.session_id));
    test_assert_code(OTOK_OK, otok_revoke_session(f->service, stale.session_id, NULL)); /* can still be ended */
    test_rotate(f, &fresh, NULL);
    close_with_files(f, &at);
}
END_TEST

/* K3 T2 T3: which key a token is under has nothing to do with which generation it is. */
START_TEST(retry_and_reuse_are_the_same_across_keys)
{
    files at;
    int32_t new_id = 0;
    test_fixture *f = open_with_files(_i, &at, false);
    test_held first = hold_either(f, 0), previous = first;
    test_rotate(f, &previous, NULL);
    must_change(&at, OTOK_KEY_STEP_ADD, OTOK_KEY_TOKEN, NULL);
    must_change(&at, OTOK_KEY_STEP_ACTIVATE, OTOK_KEY_TOKEN, NULL);
    reload(f);
    (void)needed(f, OTOK_KEY_ACTIVE, &new_id);
    test_held current = previous, again = previous;
    test_rotate(f, &current, NULL);
    ck_assert_int_eq(key_id_of(current.token), new_id);
    test_assert_code(OTOK_OK, refresh_either(f, &again, 0));
    ck_assert_str_eq(again.token, current.token);
    test_assert_code(OTOK_E_TOKEN_REUSED, refresh_either(f, &first, 0));
    ck_assert(!test_has_session(f, current.session_id));
    close_with_files(f, &at);
}
END_TEST

/* K3 R9: a session that does not rotate, refreshed more often than its last use is written, is moved all the same. */
START_TEST(busy_session_without_rotation_leaves_the_old_key)
{
    files at;
    test_fixture *f = open_with_files(_i, &at, false);
    test_held held = hold_either(f, 1);
    must_change(&at, OTOK_KEY_STEP_ADD, OTOK_KEY_TOKEN, NULL);
    must_change(&at, OTOK_KEY_STEP_ACTIVATE, OTOK_KEY_TOKEN, NULL);
    reload(f);
    for (int i = 0; i < 3; i++) {
        test_advance_s(f, 1);
        test_assert_code(OTOK_OK, refresh_either(f, &held, 1));
    }
    ck_assert_uint_eq(needed(f, OTOK_KEY_RETIRED, NULL), 0);
    close_with_files(f, &at);
}
END_TEST

/* K3 I8: what was good for once stays so under another key; when the key is dropped too early, it is not good for another session. */
START_TEST(grant_that_was_used_once_is_not_used_again_under_another_key)
{
    files at;
    kid_text old;
    otok_tokens *tokens = NULL;
    test_fixture *f = open_with_files(_i, &at, false);
    otok_filter realm = test_filter_realm();
    otok_grant grant = test_grant(NULL, NULL, "offline_access");
    grant.once_key = "code";
    test_held held = test_hold_grant(f, &grant);
    kid_of(f, OTOK_KEY_TOKEN, OTOK_KEY_ACTIVE, old);
    must_change(&at, OTOK_KEY_STEP_ADD, OTOK_KEY_TOKEN, NULL);
    must_change(&at, OTOK_KEY_STEP_ACTIVATE, OTOK_KEY_TOKEN, NULL);
    reload(f);
    test_held again = test_hold_grant(f, &grant);
    ck_assert_str_eq(again.session_id, held.session_id);
    test_assert_code(OTOK_OK, test_refresh_code(f, again.token, NULL));
    test_assert_code(OTOK_OK, test_refresh_code(f, held.token, NULL));
    must_change(&at, OTOK_KEY_STEP_DROP, OTOK_KEY_TOKEN, old);
    reload(f);
    ck_assert_int_ne(otok_issue(f->service, &grant, &tokens, NULL), OTOK_OK);
    ck_assert_uint_eq(test_count(f, &realm), 1);
    close_with_files(f, &at);
}
END_TEST

/* Q1 K3: a list goes on where it was. */
START_TEST(cursor_of_before_is_good_after)
{
    files at;
    test_id ids[CLIENTS];
    otok_page *page = NULL;
    char cursor[1024];
    test_fixture *f = open_with_files(_i, &at, false);
    otok_filter alice = test_filter("alice", NULL, NULL);
    for (size_t i = 0; i < CLIENTS; i++)
        (void)hold_either(f, i);
    ck_assert_uint_eq(test_list(f, &alice, OTOK_ORDER_NEWEST_FIRST, 10, ids, CLIENTS), CLIENTS);
    otok_list_request request;
    otok_list_request_init(&request, sizeof request);
    request.filter = &alice;
    request.limit = 3;
    test_assert_code(OTOK_OK, otok_list(f->service, &request, &page, NULL));
    (void)snprintf(cursor, sizeof cursor, "%s", page->next_cursor);
    otok_page_free(page);
    must_change(&at, OTOK_KEY_STEP_ADD, OTOK_KEY_TOKEN, NULL);
    must_change(&at, OTOK_KEY_STEP_ACTIVATE, OTOK_KEY_TOKEN, NULL);
    reload(f);
    request.cursor = cursor;
    test_assert_code(OTOK_OK, otok_list(f->service, &request, &page, NULL));
    ck_assert_str_eq(page->sessions[0]->session_id, ids[3]);
    otok_page_free(page);
    close_with_files(f, &at);
}
END_TEST

/* The id of the key that a session is sealed with: byte 1 of its body (ARCHITECTURE, Records). */
static int32_t seal_of(test_fixture *f, const char *session_id)
{
    otok_record *record = test_session_record(f->store, session_id);
    ck_assert_ptr_nonnull(record);
    int32_t id = ((const uint8_t *)record->body.data)[1];
    otok_record_free(record);
    return id;
}

static void swap_seal_byte(test_fixture *f, const char *session_id)
{
    otok_record *record = test_session_record(f->store, session_id);
    uint8_t body[4096];
    ck_assert_uint_le(record->body.len, sizeof body);
    memcpy(body, record->body.data, record->body.len);
    body[5] ^= 1;
    const void *was = record->body.data;
    record->body.data = body;
    test_put_back(f->store, record);
    record->body.data = was;
    otok_record_free(record);
}

/* K7 K3: the seal follows the key, and still seals. */
START_TEST(session_sealed_under_an_old_key_is_sealed_again)
{
    files at;
    int32_t old_id = 0, new_id = 0;
    test_fixture *f = open_with_files(_i % 2, &at, false);
    size_t kind = (size_t)_i / 2;
    test_held held = hold_either(f, kind);
    (void)needed(f, OTOK_KEY_ACTIVE, &old_id);
    ck_assert_int_eq(seal_of(f, held.session_id), old_id);
    must_change(&at, OTOK_KEY_STEP_ADD, OTOK_KEY_TOKEN, NULL);
    must_change(&at, OTOK_KEY_STEP_ACTIVATE, OTOK_KEY_TOKEN, NULL);
    reload(f);
    (void)needed(f, OTOK_KEY_ACTIVE, &new_id);
    for (int i = 0; i < 2; i++) {
        test_advance_s(f, 60);
        test_assert_code(OTOK_OK, refresh_either(f, &held, kind));
    }
    ck_assert_int_eq(seal_of(f, held.session_id), new_id);
    test_advance_s(f, 60);
    swap_seal_byte(f, held.session_id);
    test_assert_code(OTOK_E_TAMPERED, refresh_either(f, &held, kind));
    swap_seal_byte(f, held.session_id);
    test_assert_code(OTOK_OK, refresh_either(f, &held, kind));
    close_with_files(f, &at);
}
END_TEST

/* --------------------------------------------------------------------------------------------- signing keys, step by step */

/* K2: published before it signs, verified after it has signed, gone when it is dropped. */
START_TEST(signing_key_is_rotated_without_a_gap)
{
    files at;
    kid_text old, new, kid;
    test_fixture *f = open_with_files(_i, &at, false);
    test_held held = hold_either(f, 0), early = held;
    kid_of(f, OTOK_KEY_SIGNING, OTOK_KEY_ACTIVE, old);
    must_change(&at, OTOK_KEY_STEP_ADD, OTOK_KEY_SIGNING, NULL);
    reload(f);
    kid_of(f, OTOK_KEY_SIGNING, OTOK_KEY_NEXT, new);
    test_rotate(f, &held, NULL);
    kid_in(held.access_token, kid);
    ck_assert_str_eq(kid, old);
    char *jwks = NULL; /* as relying parties fetch it now, and keep it */
    test_assert_code(OTOK_OK, otok_keyring_jwks(f->keyring, &jwks, NULL));
    ck_assert_ptr_null(strstr(jwks, new)); /* the fixture's own reference is of before */
    otok_string_free(jwks);
    otok_keyring *published = load(&at);
    test_assert_code(OTOK_OK, otok_keyring_jwks(published, &jwks, NULL));
    must_change(&at, OTOK_KEY_STEP_ACTIVATE, OTOK_KEY_SIGNING, NULL);
    reload(f);
    test_rotate(f, &held, NULL);
    kid_in(held.access_token, kid);
    ck_assert_str_eq(kid, new);
    ck_assert(verifies(jwks, held.access_token));
    ck_assert(verifies(jwks, early.access_token));
    ck_assert(verifies_with(&at, early.access_token));
    ck_assert(verifies_with(&at, held.access_token));
    ck_assert(test_is_active(f, early.access_token, "phone"));
    must_change(&at, OTOK_KEY_STEP_DROP, OTOK_KEY_SIGNING, old);
    reload(f);
    ck_assert(!verifies_with(&at, early.access_token));
    ck_assert(!test_is_active(f, early.access_token, "phone"));
    ck_assert(verifies_with(&at, held.access_token));
    ck_assert(test_is_active(f, held.access_token, "phone"));
    test_rotate(f, &held, NULL);
    otok_string_free(jwks);
    otok_keyring_free(published);
    close_with_files(f, &at);
}
END_TEST

/* -------------------------------------------------------------------------------------------------------------- reloading */

/* K3: a node that was not told reads the file by itself when a token under a new key comes. */
START_TEST(node_that_meets_an_unknown_key_reads_the_file)
{
    files at;
    int32_t new_id = 0;
    test_fixture *f = open_with_files(_i % 2, &at, _i / 2 != 0), *node = test_open_node(f, NULL);
    test_held held = hold_either(f, 0);
    must_change(&at, OTOK_KEY_STEP_ADD, OTOK_KEY_TOKEN, NULL);
    must_change(&at, OTOK_KEY_STEP_ADD, OTOK_KEY_SIGNING, NULL);
    must_change(&at, OTOK_KEY_STEP_ACTIVATE, OTOK_KEY_TOKEN, NULL);
    must_change(&at, OTOK_KEY_STEP_ACTIVATE, OTOK_KEY_SIGNING, NULL);
    reload(f);
    (void)needed(f, OTOK_KEY_ACTIVE, &new_id);
    test_rotate(f, &held, NULL);
    ck_assert_int_eq(key_id_of(held.token), new_id);
    test_set_now_us(node, f->now_us);
    test_held elsewhere = held;
    test_rotate(node, &elsewhere, NULL);
    ck_assert_int_eq(key_id_of(elsewhere.token), new_id);
    ck_assert(test_is_active(node, held.access_token, "phone"));
    ck_assert(ends_nobody(f) && ends_nobody(node));
    test_close(node);
    close_with_files(f, &at);
}
END_TEST

/* K2: and when an access token under a new key is shown to it. */
START_TEST(node_that_is_shown_an_access_token_of_a_new_key_reads_the_file)
{
    files at;
    test_fixture *f = open_with_files(_i, &at, false), *node = test_open_node(f, NULL);
    must_change(&at, OTOK_KEY_STEP_ADD, OTOK_KEY_SIGNING, NULL);
    must_change(&at, OTOK_KEY_STEP_ACTIVATE, OTOK_KEY_SIGNING, NULL);
    reload(f);
    test_held held = hold_either(f, 0);
    ck_assert(test_is_active(node, held.access_token, "phone"));
    test_close(node);
    close_with_files(f, &at);
}
END_TEST

/* K4: a file that cannot be read changes nothing: the service says so, and goes on. */
START_TEST(reload_that_fails_leaves_the_service_as_it_was)
{
    files at;
    char aside[4200];
    test_fixture *f = open_with_files(_i, &at, false);
    test_held held = hold_either(f, 0);
    reload(f); /* nothing has changed */
    (void)snprintf(aside, sizeof aside, "%s.aside", at.path);
    ck_assert_int_eq(rename(at.path, aside), 0);
    test_assert_code(OTOK_E_NOT_FOUND, otok_service_reload_keyring(f->service, NULL));
    test_rotate(f, &held, NULL);
    FILE *damaged = fopen(at.path, "w");
    ck_assert_ptr_nonnull(damaged);
    ck_assert_int_gt(fprintf(damaged, "{\"keys\":["), 0);
    ck_assert_int_eq(fclose(damaged), 0);
    ck_assert_int_eq(chmod(at.path, 0600), 0);
    test_assert_code(OTOK_E_FORMAT, otok_service_reload_keyring(f->service, NULL));
    test_rotate(f, &held, NULL);
    ck_assert_int_eq(chmod(at.path, 0644), 0);
    test_assert_code(OTOK_E_PERMISSION, otok_service_reload_keyring(f->service, NULL));
    test_rotate(f, &held, NULL);
    ck_assert_int_eq(rename(aside, at.path), 0);
    reload(f);
    test_rotate(f, &held, NULL);
    test_assert_code(OTOK_E_INVALID, otok_service_reload_keyring(NULL, NULL));
    close_with_files(f, &at);
}
END_TEST

START_TEST(keyring_of_no_file_cannot_be_reloaded)
{
    test_fixture *f = test_open(_i);
    test_held held = hold_either(f, 0);
    test_assert_code(OTOK_E_UNSUPPORTED, otok_service_reload_keyring(f->service, NULL));
    test_rotate(f, &held, NULL);
    test_assert_code(OTOK_E_INVALID, otok_service_set_keyring(f->service, NULL, NULL));
    test_assert_code(OTOK_E_INVALID, otok_service_set_keyring(NULL, f->keyring, NULL));
    test_rotate(f, &held, NULL);
    test_end(f);
}
END_TEST

static size_t occurrences(const char *path, const char *word)
{
    char text[65536];
    FILE *file = fopen(path, "r");
    ck_assert_ptr_nonnull(file);
    text[fread(text, 1, sizeof text - 1, file)] = '\0';
    (void)fclose(file);
    size_t n = 0;
    for (const char *p = text; (p = strstr(p, word)) != NULL; p++)
        n++;
    return n;
}

/* K6: MAC keys and signing keys stay in files of their own, whatever is changed. */
START_TEST(files_apart_stay_apart)
{
    files at;
    test_fixture *f = open_with_files(TEST_MEMORY, &at, true);
    for (int32_t use = OTOK_KEY_SIGNING; use <= OTOK_KEY_TOKEN; use++) {
        must_change(&at, OTOK_KEY_STEP_ADD, use, NULL);
        must_change(&at, OTOK_KEY_STEP_ACTIVATE, use, NULL);
    }
    ck_assert_uint_eq(occurrences(at.path, "\"oct\""), 0);
    ck_assert_uint_eq(occurrences(at.path, "\"EC\""), 2);
    ck_assert_uint_eq(occurrences(at.token_path, "\"oct\""), 2);
    ck_assert_uint_eq(occurrences(at.token_path, "\"EC\""), 0);
    reload(f);
    otok_keyring *keyring = NULL;
    test_assert_code(OTOK_OK, otok_keyring_load(at.path, at.token_path, &keyring, NULL));
    otok_keyring_free(keyring);
    ck_assert_int_ne(otok_keyring_load(at.path, NULL, &keyring, NULL), OTOK_OK); /* alone it mints no offline token */
    close_with_files(f, &at);
}
END_TEST

/* ------------------------------------------------------------------------------------------------------------ many at once */

enum { WORKERS = 4, TURNS = 40 };

typedef struct load_test {
    test_fixture *f;
    otok_keyring *rings[3]; /* before, between, after: each knows every key that makes tokens */
    test_held held[WORKERS];
    int failed, first, inactive; /* atomic */
} load_test;

static void use_service(load_test *l, size_t i)
{
    for (int turn = 0; turn < TURNS; turn++) {
        otok_introspection *shown = NULL;
        otok_key_list *keys = NULL;
        otok_introspect_request request = test_introspect_request(l->held[i].access_token, "phone");
        test_advance_s(l->f, 11);
        int rc = refresh_either(l->f, &l->held[i], i);
        if (rc == OTOK_OK)
            rc = otok_introspect(l->f->service, &request, &shown, NULL);
        if (rc == OTOK_OK && shown->active != 1)
            __atomic_add_fetch(&l->inactive, 1, __ATOMIC_SEQ_CST);
        if (rc == OTOK_OK)
            rc = otok_service_keys(l->f->service, &keys, NULL);
        if (rc != OTOK_OK) {
            __atomic_store_n(&l->first, rc, __ATOMIC_SEQ_CST);
            __atomic_add_fetch(&l->failed, 1, __ATOMIC_SEQ_CST);
        }
        otok_key_list_free(keys);
        otok_introspection_free(shown);
    }
}

static void use_or_set(void *arg, size_t i)
{
    load_test *l = arg;
    if (i < WORKERS) {
        use_service(l, i);
        return;
    }
    for (int turn = 0; turn < TURNS; turn++) {
        int rc = otok_service_set_keyring(l->f->service, l->rings[turn % 3], NULL);
        if (rc != OTOK_OK)
            __atomic_add_fetch(&l->failed, 1, __ATOMIC_SEQ_CST);
        (void)sched_yield();
    }
}

static otok_keyring *changed(const otok_keyring *keyring, int32_t step, int32_t use)
{
    otok_key_change what;
    otok_keyring *next = NULL;
    otok_key_change_init(&what, sizeof what);
    what.step = step;
    what.use = use;
    what.algorithm = step == OTOK_KEY_STEP_ADD && use == OTOK_KEY_SIGNING ? OTOK_ALG_ES256 : 0;
    test_assert_code(OTOK_OK, otok_keyring_change(keyring, &what, &next, NULL));
    return next;
}

/* Both keys: one step further. */
static otok_keyring *changed_both(const otok_keyring *keyring, int32_t step)
{
    otok_keyring *one = changed(keyring, step, OTOK_KEY_SIGNING);
    otok_keyring *both = changed(one, step, OTOK_KEY_TOKEN);
    otok_keyring_free(one);
    return both;
}

/* K2 K3: a service takes another keyring at any moment, forwards and back, with every thread in the middle of something. */
START_TEST(keyring_is_set_under_load)
{
    load_test *l = calloc(1, sizeof *l);
    l->f = test_open(_i);
    l->f->policy.access_token_lifetime_s = 30 * (int64_t)TEST_DAY_S;
    l->rings[0] = changed_both(l->f->keyring, OTOK_KEY_STEP_ADD);
    l->rings[1] = changed_both(l->rings[0], OTOK_KEY_STEP_ACTIVATE);
    l->rings[2] = changed_both(l->rings[1], OTOK_KEY_STEP_ADD);
    test_reopen_service(l->f);
    test_assert_code(OTOK_OK, otok_service_set_keyring(l->f->service, l->rings[0], NULL));
    for (size_t i = 0; i < WORKERS; i++)
        l->held[i] = hold_either(l->f, i);
    test_threads(WORKERS + 1, use_or_set, l);
    ck_assert_msg(l->failed == 0, "%d calls failed: %s", l->failed, otok_error_name(l->first));
    ck_assert_int_eq(l->inactive, 0);
    for (size_t i = 0; i < 3; i++)
        otok_keyring_free(l->rings[i]);
    refresh_everyone(l->f, l->held, WORKERS);
    test_close(l->f);
    free(l);
}
END_TEST

/* ---------------------------------------------------------------------------------------------------------------- processes */

enum { NODES = 3, SHARED = 6, MOMENTS = 3 };

/* What the processes share: the clients' tokens, each used by one node at a time, the clock, and how far the operator is. */
typedef struct live {
    int64_t now_us;
    struct {
        pthread_mutex_t lock;
        test_held held;
    } clients[SHARED];
    uint64_t turns[NODES]; /* atomic, these three */
    uint64_t steps;
    int stop;
} live;

static live *shared;
static test_fixture *origin;
static files origin_files;
static otok_keyring *moments[MOMENTS]; /* the file as it was: old, next, new */

static int64_t shared_now(void *user)
{
    (void)user;
    return __atomic_load_n(&shared->now_us, __ATOMIC_SEQ_CST);
}

/* A node of its own: its own handle on the store, its own service. */
static test_fixture *open_process_node(const otok_keyring *keyring)
{
    test_fixture *f = calloc(1, sizeof *f);
    otok_error err;
    *f = *origin;
    f->store = NULL;
    f->service = NULL;
    f->callbacks.now = shared_now;
    f->callbacks.event = NULL;
    f->keyring = (otok_keyring *)(uintptr_t)keyring;
    int rc = otok_store_open_lmdb(f->folder, NULL, &f->store, &err);
    if (rc != OTOK_OK)
        test_leave(err.message, rc);
    test_reopen_service(f);
    return f;
}

static void close_process_node(test_fixture *f)
{
    otok_service_close(f->service);
    otok_store_close(f->store);
    free(f);
}

/* A resource server shows the client's access token, then the client refreshes; both must succeed. */
static void serve_client(test_fixture *f, size_t i)
{
    otok_introspection *shown = NULL;
    test_held *held = &shared->clients[i].held;
    pthread_mutex_lock(&shared->clients[i].lock);
    __atomic_add_fetch(&shared->now_us, 11 * OTOK_US_PER_S, __ATOMIC_SEQ_CST);
    otok_introspect_request request = test_introspect_request(held->access_token, "phone");
    int rc = otok_introspect(f->service, &request, &shown, NULL);
    if (rc == OTOK_OK && shown->active != 1)
        test_leave("an access token is inactive", OTOK_E_TOKEN_INVALID);
    otok_introspection_free(shown);
    if (rc == OTOK_OK)
        rc = refresh_either(f, held, i);
    if (rc != OTOK_OK)
        test_leave("a client is refused", rc);
    pthread_mutex_unlock(&shared->clients[i].lock);
}

static void prepare_processes(void)
{
    pthread_mutexattr_t attributes;
    shared = test_shared(sizeof *shared);
    origin = open_with_files(TEST_LMDB, &origin_files, false);
    pthread_mutexattr_init(&attributes);
    pthread_mutexattr_setpshared(&attributes, PTHREAD_PROCESS_SHARED);
    for (size_t i = 0; i < SHARED; i++) {
        pthread_mutex_init(&shared->clients[i].lock, &attributes);
        shared->clients[i].held = hold_either(origin, i);
    }
    pthread_mutexattr_destroy(&attributes);
    shared->now_us = origin->now_us;
}

/* Every client lives, and every access token that is out verifies under the newest JWKS. */
static void expect_everyone_well(void)
{
    test_set_now_us(origin, shared->now_us);
    serve_with(origin, load(&origin_files));
    for (size_t i = 0; i < SHARED; i++) {
        test_held *held = &shared->clients[i].held;
        ck_assert_msg(verifies_with(&origin_files, held->access_token), "client %zu", i);
        test_advance_s(origin, 11);
        test_assert_code(OTOK_OK, refresh_either(origin, held, i));
        ck_assert_msg(verifies_with(&origin_files, held->access_token), "client %zu", i);
    }
    shared->now_us = origin->now_us;
}

static void finish_processes(void)
{
    close_with_files(origin, &origin_files);
    test_unshare(shared, sizeof *shared);
}

static void serve_with_a_moment(void *arg, size_t i)
{
    (void)arg;
    test_fixture *f = open_process_node(moments[i]);
    for (size_t turn = 0; turn < 4 * SHARED; turn++)
        serve_client(f, (turn + i) % SHARED);
    close_process_node(f);
}

/* K2 K3: nodes that loaded the file before ADD, before ACTIVATE, and after, serve the same clients. */
START_TEST(processes_with_keyrings_of_different_moments_serve_the_same_clients)
{
    int32_t use = _i == 0 ? OTOK_KEY_SIGNING : OTOK_KEY_TOKEN;
    prepare_processes();
    moments[0] = load(&origin_files);
    must_change(&origin_files, OTOK_KEY_STEP_ADD, use, NULL);
    moments[1] = load(&origin_files);
    must_change(&origin_files, OTOK_KEY_STEP_ACTIVATE, use, NULL);
    moments[2] = load(&origin_files);
    for (int round = 0; round < 3; round++) {
        test_processes(NODES, serve_with_a_moment, NULL);
        expect_everyone_well();
    }
    for (size_t i = 0; i < MOMENTS; i++)
        otok_keyring_free(moments[i]);
    finish_processes();
}
END_TEST

static void node_until_stop(size_t i)
{
    otok_keyring *keyring = NULL;
    if (otok_keyring_load(origin_files.path, NULL, &keyring, NULL) != OTOK_OK)
        test_leave("no keyring", OTOK_E_NOT_FOUND);
    test_fixture *f = open_process_node(keyring);
    for (uint64_t turn = 0; __atomic_load_n(&shared->stop, __ATOMIC_SEQ_CST) == 0; turn++) {
        uint64_t steps = __atomic_load_n(&shared->steps, __ATOMIC_SEQ_CST);
        int rc = otok_service_reload_keyring(f->service, NULL);
        if (rc != OTOK_OK)
            test_leave("otok_service_reload_keyring", rc);
        for (size_t k = 0; k < SHARED; k++)
            serve_client(f, (turn + k) % SHARED);
        __atomic_store_n(&shared->turns[i], steps, __ATOMIC_SEQ_CST);
    }
    close_process_node(f);
    otok_keyring_free(keyring);
}

/* Until each node has served everybody with what the file says now. */
static void wait_for_nodes(void)
{
    const struct timespec pause = {0, 500000};
    uint64_t steps = __atomic_add_fetch(&shared->steps, 1, __ATOMIC_SEQ_CST);
    for (size_t i = 0; i < NODES; i++) {
        while (__atomic_load_n(&shared->turns[i], __ATOMIC_SEQ_CST) < steps)
            (void)nanosleep(&pause, NULL);
    }
}

static void must_step(int32_t step, int32_t use, const char *kid)
{
    int rc = change(&origin_files, step, use, kid);
    if (rc != OTOK_OK)
        test_leave("otok_keyring_change_file", rc);
    wait_for_nodes();
}

/* The active key's kid, in the file as it is now. */
static void active_kid(int32_t use, kid_text out)
{
    otok_key_list *list = NULL;
    otok_keyring *keyring = NULL;
    int rc = otok_keyring_load(origin_files.path, NULL, &keyring, NULL);
    if (rc == OTOK_OK)
        rc = otok_keyring_keys(keyring, &list, NULL);
    if (rc != OTOK_OK)
        test_leave("otok_keyring_keys", rc);
    for (size_t i = 0; i < list->count; i++) {
        if (list->keys[i]->use == use && list->keys[i]->state == OTOK_KEY_ACTIVE)
            (void)snprintf(out, sizeof(kid_text), "%s", list->keys[i]->kid);
    }
    otok_key_list_free(list);
    otok_keyring_free(keyring);
}

/* By the rules of the header: drop a MAC key when no session needs it any more. */
static void wait_until_unneeded(test_fixture *f)
{
    for (int patience = 0; needed(f, OTOK_KEY_RETIRED, NULL) != 0; patience++) {
        if (patience > 50)
            test_leave("sessions need the retired key", OTOK_E_STATE);
        wait_for_nodes();
    }
}

static void operate(void)
{
    kid_text old;
    otok_keyring *keyring = NULL;
    if (otok_keyring_load(origin_files.path, NULL, &keyring, NULL) != OTOK_OK)
        test_leave("no keyring", OTOK_E_NOT_FOUND);
    test_fixture *f = open_process_node(keyring);
    for (int round = 0; round < 4; round++) {
        int32_t use = round % 2 == 0 ? OTOK_KEY_TOKEN : OTOK_KEY_SIGNING;
        active_kid(use, old);
        must_step(OTOK_KEY_STEP_ADD, use, NULL);
        must_step(OTOK_KEY_STEP_ACTIVATE, use, NULL);
        int rc = otok_service_reload_keyring(f->service, NULL);
        if (rc != OTOK_OK)
            test_leave("otok_service_reload_keyring", rc);
        wait_for_nodes(); /* nobody holds an access token of before: each has been refreshed */
        if (use == OTOK_KEY_TOKEN)
            wait_until_unneeded(f);
        must_step(OTOK_KEY_STEP_DROP, use, old);
    }
    close_process_node(f);
    otok_keyring_free(keyring);
    __atomic_store_n(&shared->stop, 1, __ATOMIC_SEQ_CST);
}

static void operate_or_serve(void *arg, size_t i)
{
    (void)arg;
    if (i == NODES)
        operate();
    else
        node_until_stop(i);
}

/* K2 K3: an operator rotates and drops keys of both sorts, twice, while several processes serve: nobody notices. */
START_TEST(keys_are_rotated_and_dropped_while_processes_serve)
{
    prepare_processes();
    test_processes(NODES + 1, operate_or_serve, NULL);
    expect_everyone_well();
    otok_filter realm = test_filter_realm();
    ck_assert_uint_eq(test_count_live(origin, &realm), SHARED);
    otok_key_list *list = NULL;
    test_assert_code(OTOK_OK, otok_service_keys(origin->service, &list, NULL));
    ck_assert_uint_eq(list->count, 2); /* what was dropped is gone */
    otok_key_list_free(list);
    finish_processes();
}
END_TEST

static void add_tests(TCase *tc)
{
    const TTest *const on_both[] = {
        token_under_a_dropped_key_is_invalid_and_no_reuse,
        retry_and_reuse_are_the_same_across_keys,
        busy_session_without_rotation_leaves_the_old_key,
        grant_that_was_used_once_is_not_used_again_under_another_key,
        cursor_of_before_is_good_after,
        signing_key_is_rotated_without_a_gap,
        node_that_is_shown_an_access_token_of_a_new_key_reads_the_file,
        reload_that_fails_leaves_the_service_as_it_was,
        keyring_of_no_file_cannot_be_reloaded,
        keyring_is_set_under_load,
    };
    tcase_add_loop_test(tc, mac_key_is_rotated_and_nobody_is_logged_out, 0, 4);
    tcase_add_loop_test(tc, session_sealed_under_an_old_key_is_sealed_again, 0, 4);
    tcase_add_loop_test(tc, node_that_meets_an_unknown_key_reads_the_file, 0, 4);
    tcase_add_test(tc, files_apart_stay_apart);
    test_add_on_both(tc, on_both, sizeof on_both / sizeof *on_both);
    tcase_add_loop_test(tc, processes_with_keyrings_of_different_moments_serve_the_same_clients, 0, 2);
    tcase_add_test(tc, keys_are_rotated_and_dropped_while_processes_serve);
}

int main(void)
{
    return test_main("keys_live", add_tests);
}
