/*
 * check_hygiene.c - K6: no token, handle or key byte where it does not belong, and no use in a copy of half of what there is.
 *
 * SPDX-License-Identifier: MIT
 */
#include "support/ask.h"
#include "support/node.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Secrets are looked for in three spellings, whole and in halves. */
typedef struct canary {
    const char *what;
    uint8_t bytes[128];
    size_t len;
} canary;

enum { MAX_CANARIES = 128 };
typedef struct canaries {
    canary each[MAX_CANARIES];
    size_t n;
} canaries;

static void add_raw(canaries *all, const char *what, const void *bytes, size_t len)
{
    ck_assert(all->n < MAX_CANARIES && len <= sizeof all->each[0].bytes);
    canary *c = &all->each[all->n++];
    c->what = what;
    c->len = len;
    memcpy(c->bytes, bytes, len);
}

static void add_secret(canaries *all, const char *what, const uint8_t *secret, size_t len)
{
    char text[128];
    add_raw(all, what, secret, len / 2);
    add_raw(all, what, secret + len / 2, len - len / 2);
    otok_base64url(secret, len, text);
    add_raw(all, what, text, otok_base64url_len(len) - 2);
    for (int upper = 0; upper < 2; upper++) {
        for (size_t i = 0; i < 12; i++)
            (void)snprintf(text + 2 * i, sizeof text - 2 * i, upper ? "%02X" : "%02x", secret[i]);
        add_raw(all, what, text, 24);
    }
}

/* Handle and MAC of a token, and every stretch of 16 characters of its text that holds some of them. */
static void add_token(canaries *all, const char *token)
{
    otok_presented presented;
    ck_assert(otok_token_parse(token, &presented));
    add_secret(all, "handle", presented.token.handle, sizeof presented.token.handle);
    add_secret(all, "MAC of a token", presented.mac, sizeof presented.mac);
    for (size_t i = 21; i + 16 <= strlen(token); i += 16)
        add_raw(all, "token", token + i, 16);
}

static void add_keys(canaries *all, const otok_keyring *keyring)
{
    otok_error err;
    otok_buf storage;
    otok_jwk_numbers numbers;
    otok_buf_init(&storage, NULL, 0);
    add_secret(all, "MAC key", otok_keyring_token(keyring)->key, OTOK_KEY_SIZE);
    test_assert_code(OTOK_OK, otok_pkey_numbers(otok_keyring_signing(keyring)->pkey, true, &storage, &numbers, &err));
    add_secret(all, "signing key", numbers.d.data, numbers.d.len);
    otok_buf_free(&storage);
}

static void assert_absent(const canaries *all, const void *data, size_t len, const char *where)
{
    for (size_t i = 0; i < all->n; i++) {
        const canary *c = &all->each[i];
        ck_assert_msg(memmem(data, len, c->bytes, c->len) == NULL, "%s: %s%s%s", where, c->what,
                      where[0] == 'm' ? ": " : "", where[0] == 'm' ? (const char *)data : "");
    }
}

static void assert_absent_in_text(const canaries *all, const char *text, const char *where)
{
    if (text != NULL)
        assert_absent(all, text, strlen(text), where);
}

static uint8_t *read_whole(const char *folder, const char *name, size_t *len)
{
    char path[4200];
    ck_assert_int_lt(snprintf(path, sizeof path, "%s/%s", folder, name), (int)sizeof path);
    FILE *file = fopen(path, "rb");
    ck_assert_msg(file != NULL, "%s", path);
    ck_assert_int_eq(fseek(file, 0, SEEK_END), 0);
    *len = (size_t)ftell(file);
    rewind(file);
    uint8_t *bytes = malloc(*len + 1);
    ck_assert_uint_eq(fread(bytes, 1, *len, file), *len);
    (void)fclose(file);
    return bytes;
}

/* The files are not to be opened beside LMDB in one process: so it is closed first. */
static void close_all(test_fixture *f)
{
    otok_service_close(f->service);
    otok_store_close(f->store);
    f->service = NULL;
    f->store = NULL;
}

/* K6: every kind of trace that a session leaves: issue, rotation, retry, reuse, revocation, cutoff, sweep */
START_TEST(no_secret_is_in_the_files_of_the_database)
{
    static const char *const files[] = {"data.mdb", "lock.mdb"};
    otok_error err;
    static canaries all;
    static test_held held[4], old[4];
    test_fixture *f = test_open(TEST_LMDB);
    all.n = 0;
    add_keys(&all, f->keyring);
    for (size_t i = 0; i < 4; i++) {
        held[i] = old[i] = test_hold(f, "alice", i < 2 ? "phone" : "laptop");
        test_rotate(f, &held[i], i < 2 ? "phone" : "laptop");
        if (i == 0)
            add_token(&all, old[i].token);
        add_token(&all, held[i].token);
    }
    test_assert_code(OTOK_OK, test_refresh_code(f, old[3].token, "laptop")); /* a retry */
    test_rotate(f, &held[0], "phone");
    test_assert_code(OTOK_E_TOKEN_REUSED, test_refresh_code(f, old[0].token, "phone"));
    test_assert_code(OTOK_OK, otok_revoke_session(f->service, held[1].session_id, &err));
    otok_filter laptop = test_filter(NULL, "laptop", NULL);
    test_assert_code(OTOK_OK, otok_cutoff_set(f->service, &laptop, OTOK_NOW, NULL, &err));
    (void)test_sweep(f, 1);
    close_all(f);
    for (size_t i = 0; i < 2; i++) {
        size_t len = 0;
        uint8_t *bytes = read_whole(f->folder, files[i], &len);
        ck_assert_uint_gt(len, 0);
        assert_absent(&all, bytes, len, files[i]);
        if (i == 0)
            ck_assert_ptr_nonnull(memmem(bytes, len, "alice", 5)); /* the search does find what is there */
        free(bytes);
    }
    test_close(f);
}
END_TEST

static int collect(void *arg, const otok_record *record)
{
    const canaries *all = arg;
    const otok_str parts[] = {record->realm, record->subject, record->client, record->head, record->body};
    assert_absent(all, record->id.bytes, sizeof record->id.bytes, "id");
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
        if (parts[i].len > 0)
            assert_absent(all, parts[i].data, parts[i].len, "record");
    }
    for (size_t i = 0; i < record->nkeys; i++)
        assert_absent(all, record->keys[i].digest, sizeof record->keys[i].digest, "index key");
    return 0;
}

/* K6: what any backend is handed */
START_TEST(no_secret_is_in_the_records_of_a_store)
{
    otok_error err;
    otok_scan scan = {.size = sizeof scan, .limit = 1000};
    static canaries all;
    test_fixture *f = test_open(TEST_MEMORY);
    test_held held = test_hold(f, NULL, NULL);
    all.n = 0;
    add_keys(&all, f->keyring);
    add_token(&all, held.token);
    for (int i = 0; i < 2; i++) {
        test_rotate(f, &held, NULL);
        add_token(&all, held.token);
        test_assert_code(OTOK_OK, otok_store_scan(f->store, &scan, collect, &all, &err));
    }
    test_close(f);
}
END_TEST

/* Ways to make a call fail with a token in its hands; the message must not hold it. */
static void each_refusal(test_fixture *f, const test_held *held, const char *superseded, const canaries *all)
{
    otok_error err = {0};
    otok_tokens *tokens = NULL;
    otok_peer peer;
    otok_peer_init(&peer, sizeof peer);
    peer.jkt = TEST_OTHER_JKT;
    otok_refresh_request requests[6];
    for (size_t i = 0; i < 6; i++)
        requests[i] = test_refresh_request(held->token, NULL);
    requests[0].client_id = "tablet";
    requests[1].scope = "more";
    requests[2].client_id = held->token;
    requests[3].scope = held->token;
    requests[4].peer = &peer;
    requests[5].token = superseded;
    for (size_t i = 0; i < 6; i++) {
        int rc = otok_refresh(f->service, &requests[i], &tokens, &err);
        if (rc != OTOK_OK)
            assert_absent_in_text(all, err.message, "message of a refresh");
        otok_tokens_free(tokens);
        tokens = NULL;
    }
    char longer[200];
    (void)snprintf(longer, sizeof longer, "%s%s", held->token, "A");
    requests[0] = test_refresh_request(longer, NULL);
    test_assert_code(OTOK_E_TOKEN_INVALID, otok_refresh(f->service, &requests[0], &tokens, &err));
    assert_absent_in_text(all, err.message, "message of a refresh");
    ck_assert_int_ne(otok_revoke_session(f->service, held->token, &err), OTOK_OK);
    assert_absent_in_text(all, err.message, "message of a revocation");
}

/* K6, E1, B1: "Never holds a token, a handle or a key" */
START_TEST(no_secret_is_in_messages_or_events)
{
    static canaries all;
    test_fixture *f = test_open(_i);
    test_held held = test_hold(f, NULL, NULL), old = held;
    all.n = 0;
    add_keys(&all, f->keyring);
    add_token(&all, old.token);
    test_rotate(f, &held, NULL);
    add_token(&all, held.token);
    test_rotate(f, &held, NULL);
    add_token(&all, held.token);
    each_refusal(f, &held, old.token, &all);
    ck_assert_uint_ge(test_count_events(f, OTOK_EVENT_REUSE), 1);
    for (size_t i = 0; i < f->nevents; i++) {
        const otok_event *e = &f->events[i].event;
        const char *const texts[] = {e->session_id, e->subject, e->client_id, e->sid, e->ip, e->user_agent};
        for (size_t k = 0; k < sizeof texts / sizeof *texts; k++)
            assert_absent_in_text(&all, texts[k], "event");
    }
    test_close(f);
}
END_TEST

static void copy_file(const char *from, const char *to, const char *name)
{
    char path[4200];
    size_t len = 0;
    uint8_t *bytes = read_whole(from, name, &len);
    ck_assert_int_lt(snprintf(path, sizeof path, "%s/%s", to, name), (int)sizeof path);
    FILE *file = fopen(path, "wb");
    ck_assert_ptr_nonnull(file);
    ck_assert_uint_eq(fwrite(bytes, 1, len, file), len);
    (void)fclose(file);
    free(bytes);
}

/* K6: the thief has data.mdb, and makes a keyring of his own */
START_TEST(database_without_its_keyring_gives_no_usable_token)
{
    otok_error err;
    test_fixture *f = test_open(TEST_LMDB), *thief = test_open(TEST_LMDB);
    test_held held = test_hold(f, "alice", NULL), own = test_hold(thief, "mallory", NULL);
    close_all(f);
    close_all(thief);
    copy_file(f->folder, thief->folder, "data.mdb");
    test_assert_code(OTOK_OK, otok_store_open_lmdb(thief->folder, NULL, &thief->store, &err));
    test_reopen_service(thief);
    ck_assert(test_has_session(thief, held.session_id));
    test_assert_code(OTOK_E_TOKEN_INVALID, test_refresh_code(thief, held.token, NULL));
    test_assert_code(OTOK_E_TOKEN_UNKNOWN, test_refresh_code(thief, own.token, NULL));
    test_close(thief);
    test_close(f);
}
END_TEST

/* K6: the thief has the keyring, and a database of his own with a session of his own */
START_TEST(keyring_without_its_database_gives_no_usable_token)
{
    test_fixture *f = test_open(_i), *thief = test_open(_i);
    test_held held = test_hold(f, NULL, NULL);
    otok_keyring_free(thief->keyring);
    thief->keyring = otok_keyring_ref(f->keyring);
    test_reopen_service(thief);
    test_held own = test_hold(thief, NULL, NULL);
    test_assert_code(OTOK_E_TOKEN_UNKNOWN, test_refresh_code(thief, held.token, NULL));
    test_assert_code(OTOK_E_TOKEN_UNKNOWN, test_refresh_code(f, own.token, NULL));
    test_assert_code(OTOK_OK, test_refresh_code(f, held.token, NULL));
    test_close(thief);
    test_close(f);
}
END_TEST

/* K6: the keyring's public half has no private one in it */
START_TEST(no_secret_is_in_the_jwks)
{
    otok_error err;
    char *jwks = NULL;
    static canaries all;
    test_fixture *f = test_open(TEST_MEMORY);
    all.n = 0;
    add_keys(&all, f->keyring);
    test_assert_code(OTOK_OK, otok_keyring_jwks(f->keyring, &jwks, &err));
    assert_absent_in_text(&all, jwks, "JWKS");
    ck_assert_ptr_null(strstr(jwks, "\"d\""));
    ck_assert_ptr_null(strstr(jwks, "\"k\""));
    otok_string_free(jwks);
    test_close(f);
}
END_TEST

static void add_tests(TCase *tc)
{
    const TTest *const on_both[] = {no_secret_is_in_messages_or_events,
                                    keyring_without_its_database_gives_no_usable_token};
    test_add_on_both(tc, on_both, sizeof on_both / sizeof *on_both);
    tcase_add_test(tc, no_secret_is_in_the_files_of_the_database);
    tcase_add_test(tc, no_secret_is_in_the_records_of_a_store);
    tcase_add_test(tc, database_without_its_keyring_gives_no_usable_token);
    tcase_add_test(tc, no_secret_is_in_the_jwks);
}

int main(void)
{
    return test_main("hygiene", add_tests);
}
