/*
 * check_mistakes.c - mistakes that others made, each a test named after it (TESTING.md, "Mistakes of others").
 *
 * CVE-2026-1035 (check and mark not atomic): check_races.c.  CVE-2020-15223 (success on a store error): check_revoke.c.
 * Clocks and processes: check_mistakes_nodes.c.
 *
 * SPDX-License-Identifier: MIT
 */
#include "support/ask.h"
#include "support/node.h"
#include "support/watch.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Turns `held` into the owner of a session two rotations on; what is returned is the first, long superseded token. */
static test_held rotate_twice(test_fixture *f, test_held *held)
{
    test_held first = *held;
    test_rotate(f, held, NULL);
    test_rotate(f, held, NULL);
    return first;
}

static void assert_alive_and_unconsumed(test_fixture *f, const test_held *held)
{
    otok_tokens *tokens = NULL;
    test_advance_s(f, 60);
    test_assert_code(OTOK_OK, test_refresh(f, held->token, NULL, &tokens));
    ck_assert_int_eq(tokens->outcome, OTOK_OUTCOME_ADVANCED); /* it is still the current one */
    otok_tokens_free(tokens);
    ck_assert_uint_eq(test_count_events(f, OTOK_EVENT_REUSE), 0);
    ck_assert_uint_eq(test_count_events(f, OTOK_EVENT_REVOKED), 0);
}

/* T3, R2: an old token from a client that is not its own was reason enough to end the family */
START_TEST(fosite_family_killed_before_the_client_is_checked)
{
    static const int32_t types[] = {OTOK_CLIENT_PUBLIC, OTOK_CLIENT_CONFIDENTIAL};
    test_fixture *f = test_open(_i);
    test_held held = test_hold(f, NULL, NULL), old = rotate_twice(f, &held);
    for (size_t i = 0; i < 2; i++) {
        otok_error err;
        otok_tokens *tokens = NULL;
        otok_refresh_request request = test_refresh_request(old.token, "thief");
        request.client_type = types[i];
        test_assert_code(OTOK_E_CLIENT_MISMATCH, otok_refresh(f->service, &request, &tokens, &err));
        ck_assert_ptr_null(tokens);
    }
    assert_alive_and_unconsumed(f, &held);
    test_close(f);
}
END_TEST

/* R1: an old token with a bad signature was reason enough too; and with the right generation it costs no store access */
START_TEST(fosite_family_killed_before_the_mac_is_checked)
{
    test_watch watch;
    test_fixture *f = test_open(_i);
    test_held held = test_hold(f, NULL, NULL), old = rotate_twice(f, &held);
    test_watch_fixture(&watch, f);
    for (size_t i = 0; i < strlen(old.token); i++) {
        test_held forged = old;
        forged.token[i] = old.token[i] == 'A' ? 'B' : 'A';
        test_assert_code(OTOK_E_TOKEN_INVALID, test_refresh_code(f, forged.token, NULL));
    }
    ck_assert_uint_eq(watch.calls, 0);
    assert_alive_and_unconsumed(f, &held);
    test_close(f);
}
END_TEST

/* R2: the current token was consumed, then the client failed to authenticate */
START_TEST(glewlwyd_token_consumed_before_the_client_is_authenticated)
{
    test_fixture *f = test_open(_i);
    test_held held = test_hold(f, NULL, NULL);
    test_advance_s(f, 60);
    for (int i = 0; i < 5; i++)
        test_assert_code(OTOK_E_CLIENT_MISMATCH, test_refresh_code(f, held.token, "tablet"));
    assert_alive_and_unconsumed(f, &held);
    test_close(f);
}
END_TEST

/* R2: the same for whatever else is wrong with a request */
START_TEST(glewlwyd_token_consumed_by_a_request_that_fails)
{
    otok_peer peer;
    otok_grant grant = test_grant(NULL, NULL, "offline_access");
    test_fixture *f = test_open(_i);
    f->policy.rotation = OTOK_ROTATION_ALWAYS; /* by default a bound session has none */
    test_reopen_service(f);
    otok_peer_init(&peer, sizeof peer);
    peer.jkt = TEST_JKT;
    grant.peer = &peer;
    grant.binding = OTOK_BINDING_JKT;
    test_held held = test_hold_grant(f, &grant);
    static const char *const resources[] = {"https://other.example"};
    otok_peer wrong = peer;
    wrong.jkt = TEST_OTHER_JKT;
    otok_refresh_request requests[4];
    for (size_t i = 0; i < 4; i++) {
        requests[i] = test_refresh_request(held.token, NULL);
        requests[i].peer = &peer;
    }
    requests[0].peer = NULL;
    requests[1].peer = &wrong;
    requests[2].scope = "offline_access admin";
    requests[3].resource = resources;
    requests[3].resource_count = 1;
    static const int codes[] = {OTOK_E_DPOP_PROOF, OTOK_E_SENDER, OTOK_E_SCOPE, OTOK_E_TARGET};
    test_advance_s(f, 120);
    for (size_t i = 0; i < 8; i++) {
        otok_error err;
        otok_tokens *tokens = NULL;
        test_assert_code(codes[i % 4], otok_refresh(f->service, &requests[i % 4], &tokens, &err));
    }
    otok_tokens *tokens = NULL;
    otok_refresh_request good = test_refresh_request(held.token, NULL);
    good.peer = &peer;
    test_assert_code(OTOK_OK, otok_refresh(f->service, &good, &tokens, NULL));
    ck_assert_uint_eq(tokens->generation, 1);
    otok_tokens_free(tokens);
    test_close(f);
}
END_TEST

/* V1: a superseded token was "already inactive", and the live one lived on */
START_TEST(hydra_and_zitadel_revoking_a_superseded_token_leaves_the_live_one)
{
    test_fixture *f = test_open(_i);
    test_held held = test_hold(f, NULL, NULL), old = rotate_twice(f, &held);
    test_assert_code(OTOK_OK, test_revoke(f, old.token, NULL));
    test_assert_code(OTOK_E_TOKEN_UNKNOWN, test_refresh_code(f, held.token, NULL));
    test_close(f);
}
END_TEST

/* P2, R8: whoever loses every race is told to try again: never invalid_request, never invalid_grant; and has lost nothing */
START_TEST(hydra_and_dex_lost_race_answered_with_invalid_request)
{
    static const int codes[] = {OTOK_E_CONFLICT, OTOK_E_BUSY, OTOK_E_UNCERTAIN};
    test_watch watch;
    test_fixture *f = test_open(TEST_MEMORY);
    test_watch_fixture(&watch, f);
    test_held held = test_hold(f, NULL, NULL);
    test_advance_s(f, 60);
    for (size_t i = 0; i < 3; i++) {
        test_watch_fail(&watch, 1, TEST_CALL_COMMIT, codes[i], false);
        watch.on_and_on = true;
        int rc = test_refresh_code(f, held.token, NULL);
        test_assert_code(codes[i], rc);
        ck_assert_str_eq(otok_error_oauth(rc), "temporarily_unavailable");
        ck_assert_int_eq(otok_error_http(rc), 503);
        ck_assert_uint_le(watch.commits, OTOK_ATTEMPTS);
        test_watch_reset(&watch);
    }
    test_watch_fail(&watch, 1, TEST_CALL_COMMIT, OTOK_E_CONFLICT, false); /* once is mended in the same call */
    test_assert_code(OTOK_OK, test_refresh_held(f, &held, NULL));
    assert_alive_and_unconsumed(f, &held);
    test_close(f);
}
END_TEST

/* R8, T2: the commit took place and nobody said so: the client tries again with the same token, and gets its successor */
START_TEST(hydra_1928_commit_that_cannot_be_told_loses_the_session)
{
    test_watch watch;
    otok_tokens *tokens = NULL;
    test_fixture *f = test_open(TEST_MEMORY);
    test_watch_fixture(&watch, f);
    test_held held = test_hold(f, NULL, NULL);
    test_advance_s(f, 60);
    test_watch_fail(&watch, 1, TEST_CALL_COMMIT, OTOK_E_UNCERTAIN, true);
    int rc = test_refresh(f, held.token, NULL, &tokens);
    if (rc != OTOK_OK) { /* OTOK_OK, where the library looks for itself */
        test_assert_code(OTOK_E_UNCERTAIN, rc);
        test_assert_code(OTOK_OK, test_refresh(f, held.token, NULL, &tokens));
    }
    ck_assert_uint_eq(tokens->generation, 1);
    otok_tokens_free(tokens);
    ck_assert_uint_eq(test_count_events(f, OTOK_EVENT_REUSE), 0);
    test_close(f);
}
END_TEST

/* Q2: lists handed out what opens the session */
START_TEST(cve_2026_40166_list_returns_secrets)
{
    otok_error err;
    test_fixture *f = test_open(_i);
    otok_page *page = NULL;
    otok_filter filter = test_filter("alice", NULL, NULL);
    otok_list_request request;
    test_held held = test_hold(f, NULL, NULL), first = rotate_twice(f, &held);
    otok_list_request_init(&request, sizeof request);
    request.filter = &filter;
    request.limit = 1;
    otok_tokens_free(test_issue(f, NULL, NULL, NULL)); /* so that there is a cursor */
    request.order = OTOK_ORDER_OLDEST_FIRST;
    test_assert_code(OTOK_OK, otok_list(f->service, &request, &page, &err));
    const otok_session *s = page->sessions[0];
    const char *const texts[] = {
        s->session_id, s->subject,          s->client_id, s->scope,          s->sid, page->next_cursor, s->label,
        s->start_ip,   s->start_user_agent, s->last_ip,   s->last_user_agent};
    ck_assert_str_eq(s->session_id, held.session_id);
    ck_assert_ptr_nonnull(page->next_cursor);
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        for (size_t at = 21; texts[i] != NULL && at + 8 <= OTOK_TOKEN_CHARS; at++) {
            char part[9];
            (void)snprintf(part, sizeof part, "%.8s", held.token + at);
            ck_assert_ptr_null(strstr(texts[i], part));
            (void)snprintf(part, sizeof part, "%.8s", first.token + at);
            ck_assert_ptr_null(strstr(texts[i], part));
        }
    }
    otok_page_free(page);
    test_close(f);
}
END_TEST

/* V3: of the realm's and the client's not-before the earlier one counted */
START_TEST(cve_2026_18218_earlier_of_two_cutoffs_wins)
{
    otok_error err;
    test_fixture *f = test_open(_i);
    otok_filter realm = test_filter_realm(), client = test_filter(NULL, "phone", NULL);
    test_held held = test_hold(f, NULL, NULL);
    test_advance_s(f, 60);
    test_assert_code(OTOK_OK, otok_cutoff_set(f->service, &client, TEST_START_US - 1000, NULL, &err));
    test_assert_code(OTOK_OK, otok_cutoff_set(f->service, &realm, OTOK_NOW, NULL, &err));
    test_assert_code(OTOK_E_TOKEN_REVOKED, test_refresh_code(f, held.token, NULL));
    test_assert_code(OTOK_OK, otok_cutoff_set(f->service, &client, TEST_START_US - 500, NULL, &err));
    test_assert_code(OTOK_E_TOKEN_REVOKED, test_refresh_code(f, held.token, NULL));
    test_close(f);
}
END_TEST

/* I2: an id that comes again points old tokens, and old revocations, at somebody else's session */
START_TEST(cve_2025_12390_reused_session_ids)
{
    enum { MANY = 2000 };
    static test_held held[MANY];
    otok_error err;
    test_fixture *f = test_open(TEST_MEMORY);
    test_plain_policy(f);
    for (size_t i = 0; i < MANY; i++) { /* all in one microsecond, half of them gone before the next comes */
        held[i] = test_hold(f, "alice", "phone");
        if (i % 2 == 0)
            test_assert_code(OTOK_OK, otok_revoke_session(f->service, held[i].session_id, &err));
        if (i % 500 == 0)
            test_restart(f);
    }
    for (size_t i = 0; i < MANY; i++) {
        test_assert_code(i % 2 == 0 ? OTOK_E_TOKEN_UNKNOWN : OTOK_OK, test_refresh_code(f, held[i].token, NULL));
        for (size_t k = 0; k < i; k++)
            ck_assert(memcmp(held[i].session_id, held[k].session_id, sizeof held[i].session_id) != 0);
    }
    test_close(f);
}
END_TEST

/* Signs header.payload with HMAC-SHA256 under `key`, as "alg":"HS256" would have it. */
static char *forge_hs256(const char *header, const char *payload, size_t payload_len, const void *key, size_t key_len)
{
    uint8_t mac[OTOK_SHA256_SIZE], block[OTOK_KEY_SIZE] = {0};
    otok_error err;
    otok_mac_key *mac_key = NULL;
    otok_buf text;
    otok_str part = {key, key_len};
    if (key_len > 64) /* as HMAC shortens a long key */
        test_assert_code(OTOK_OK, otok_sha256(&part, 1, block, &err));
    else
        memcpy(block, key, key_len < sizeof block ? key_len : sizeof block);
    otok_buf_init(&text, NULL, 0);
    otok_buf_add_base64url(&text, header, strlen(header));
    otok_buf_add_text(&text, ".");
    otok_buf_add(&text, payload, payload_len);
    part = (otok_str){text.data, text.len};
    test_assert_code(OTOK_OK, otok_mac_key_new(block, &mac_key, &err));
    test_assert_code(OTOK_OK, otok_mac(mac_key, &part, 1, mac, &err));
    otok_buf_add_text(&text, ".");
    otok_buf_add_base64url(&text, mac, sizeof mac);
    char *jwt = strndup((const char *)text.data, text.len);
    otok_mac_key_free(mac_key);
    otok_buf_free(&text);
    return jwt;
}

/* K1, V1: the public key, which everybody has, taken for the secret of an HMAC; and no signature at all */
START_TEST(cve_2026_44699_public_key_used_as_an_hmac_key)
{
    static const char *const algorithms[] = {"HS256", "none", "hs256", "None", ""};
    otok_error err;
    char *jwks = NULL, header[256];
    test_fixture *f = test_open(TEST_MEMORY);
    test_held held = test_hold(f, NULL, NULL);
    const char *payload = strchr(held.access_token, '.') + 1;
    size_t payload_len = (size_t)(strchr(payload, '.') - payload);
    const otok_signing_key *key = otok_keyring_signing(f->keyring);
    otok_buf storage;
    otok_jwk_numbers numbers;
    otok_buf_init(&storage, NULL, 0);
    test_assert_code(OTOK_OK, otok_pkey_numbers(key->pkey, false, &storage, &numbers, &err));
    test_assert_code(OTOK_OK, otok_keyring_jwks(f->keyring, &jwks, &err));
    const otok_str secrets[] = {numbers.crv_x, numbers.crv_y, otok_str_of(jwks), otok_str_of(key->kid)};
    for (size_t i = 0; i < 5 * 4; i++) {
        otok_str secret = secrets[i / 5];
        (void)snprintf(header, sizeof header, "{\"alg\":\"%s\",\"typ\":\"at+jwt\",\"kid\":\"%s\"}", algorithms[i % 5],
                       key->kid);
        char *forged = forge_hs256(header, payload, payload_len, secret.data, secret.len);
        test_assert_code(OTOK_OK, test_revoke_as(f, forged, NULL, OTOK_CLIENT_CONFIDENTIAL, NULL));
        strrchr(forged, '.')[1] = '\0';
        test_assert_code(OTOK_OK, test_revoke_as(f, forged, NULL, OTOK_CLIENT_CONFIDENTIAL, NULL));
        ck_assert(test_has_session(f, held.session_id));
        free(forged);
    }
    test_assert_code(OTOK_OK, test_revoke_as(f, held.access_token, NULL, OTOK_CLIENT_CONFIDENTIAL, NULL));
    ck_assert(!test_has_session(f, held.session_id)); /* the true one does */
    otok_buf_free(&storage);
    otok_string_free(jwks);
    test_close(f);
}
END_TEST

/* R5, R7: the host says no, or cannot say: refused, unconsumed (ZITADEL CVE-2023-22492, as far as a policy callback can veto) */
static bool locked;
static int refuse_when_locked(test_fixture *f, const char *client_id, otok_policy *policy)
{
    (void)f;
    (void)client_id;
    (void)policy;
    return locked ? -1 : 0;
}

START_TEST(cve_2023_22492_who_is_locked_out_can_still_refresh)
{
    test_fixture *f = test_open(_i);
    f->client_policy = refuse_when_locked;
    test_reopen_service(f);
    locked = false;
    test_held held = test_hold(f, NULL, NULL);
    locked = true;
    test_advance_s(f, 60);
    for (int i = 0; i < 3; i++)
        test_assert_code(OTOK_E_CALLBACK, test_refresh_code(f, held.token, NULL));
    locked = false;
    assert_alive_and_unconsumed(f, &held);
    test_close(f);
}
END_TEST

static void add_tests(TCase *tc)
{
    const TTest *const on_both[] = {fosite_family_killed_before_the_client_is_checked,
                                    fosite_family_killed_before_the_mac_is_checked,
                                    glewlwyd_token_consumed_before_the_client_is_authenticated,
                                    glewlwyd_token_consumed_by_a_request_that_fails,
                                    hydra_and_zitadel_revoking_a_superseded_token_leaves_the_live_one,
                                    cve_2026_40166_list_returns_secrets,
                                    cve_2026_18218_earlier_of_two_cutoffs_wins,
                                    cve_2023_22492_who_is_locked_out_can_still_refresh};
    test_add_on_both(tc, on_both, sizeof on_both / sizeof *on_both);
    tcase_add_test(tc, hydra_and_dex_lost_race_answered_with_invalid_request);
    tcase_add_test(tc, hydra_1928_commit_that_cannot_be_told_loses_the_session);
    tcase_add_test(tc, cve_2025_12390_reused_session_ids);
    tcase_add_test(tc, cve_2026_44699_public_key_used_as_an_hmac_key);
}

int main(void)
{
    return test_main("mistakes", add_tests);
}
