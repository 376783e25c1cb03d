/*
 * check_adoption.c - tokens of the system before, one client at a time (P4).
 *
 * SPDX-License-Identifier: MIT
 */
#include <string.h>

#include "support/legacy.h"
#include "support/records.h"
#include "support/watch.h"

#define DAY_US (INT64_C(86400) * OTOK_US_PER_S)

static const test_legacy plain = {0};

static test_fixture *open_with_legacy(int engine)
{
    test_fixture *f = test_open(engine);
    test_install_legacy(f);
    return f;
}

static test_held adopt(test_fixture *f, const char *token)
{
    test_held held = {0};
    otok_tokens *tokens = NULL;
    test_assert_code(OTOK_OK, test_refresh(f, token, NULL, &tokens));
    ck_assert_int_eq(tokens->outcome, OTOK_OUTCOME_ADOPTED);
    ck_assert_uint_eq(tokens->generation, 1);
    test_keep(&held, tokens);
    return held;
}

/* The legacy token is answered with the first native one, again. */
static void is_open(test_fixture *f, const char *legacy, const test_held *held)
{
    otok_tokens *tokens = NULL;
    test_assert_code(OTOK_OK, test_refresh(f, legacy, NULL, &tokens));
    ck_assert_int_eq(tokens->outcome, OTOK_OUTCOME_RETRIED);
    ck_assert_str_eq(tokens->session_id, held->session_id);
    ck_assert_str_eq(tokens->offline_token, held->token);
    otok_tokens_free(tokens);
}

START_TEST(a_legacy_token_becomes_a_session_that_began_when_it_did)
{
    test_fixture *f = open_with_legacy(_i);
    otok_session *session;
    otok_stats stats;
    test_held held = adopt(f, test_legacy_token(&plain));
    test_assert_code(OTOK_OK, otok_session_get(f->service, held.session_id, &session, NULL));
    ck_assert_str_eq(session->subject, "alice");
    ck_assert_str_eq(session->client_id, "phone");
    ck_assert_str_eq(session->sid, "5f3c1a7e");
    ck_assert_str_eq(session->scope, "openid offline_access profile");
    ck_assert_int_eq(session->started_us, TEST_START_US - 100 * DAY_US);
    ck_assert_int_eq(session->last_used_us, TEST_START_US);
    ck_assert_int_eq(session->state, OTOK_OK);
    otok_session_free(session);
    const test_event *event = test_last_event(f, OTOK_EVENT_ISSUED);
    ck_assert_ptr_nonnull(event);
    ck_assert_uint_eq(event->event.marks, OTOK_EVENT_ADOPTED);
    otok_stats_init(&stats, sizeof stats);
    test_assert_code(OTOK_OK, otok_stats_get(f->service, &stats, NULL));
    ck_assert_uint_eq(stats.adopted, 1);
    ck_assert_uint_eq(stats.forged, 0);
    test_close(f);
}
END_TEST

/* Whoever lost the answer, or never looks at it, comes again with the old token, in whatever spelling, for as long as the new one
 * was not used. */
START_TEST(until_its_successor_is_used_every_spelling_gets_it_again)
{
    test_fixture *f = open_with_legacy(_i);
    char legacy[TEST_LEGACY_CHARS];
    (void)strcpy(legacy, test_legacy_token(&plain));
    test_held held = adopt(f, legacy);
    for (unsigned n = 0; n < 16; n++)
        is_open(f, test_legacy_spelling(legacy, n), &held);
    for (int week = 0; week < 30; week++) { /* each use counts: the session is never idle */
        test_advance_s(f, 7 * TEST_DAY_S);
        is_open(f, legacy, &held);
    }
    ck_assert_uint_eq(test_count_records(f->store), 2); /* the session, and what the token was good for */
    test_close(f);
}
END_TEST

START_TEST(a_limit_of_retries_does_not_close_it)
{
    test_fixture *f = open_with_legacy(_i);
    f->policy.retry_limit = 1;
    test_reopen_service(f);
    test_held held = adopt(f, test_legacy_token(&plain));
    for (int i = 0; i < 5; i++)
        is_open(f, test_legacy_token(&plain), &held);
    test_close(f);
}
END_TEST

/* "closes under T2/T3 at the first native use, rotation or not". */
START_TEST(the_first_use_of_its_successor_begins_the_window)
{
    test_fixture *f = open_with_legacy(_i);
    f->policy.rotation = OTOK_ROTATION_NEVER;
    test_reopen_service(f);
    test_held held = adopt(f, test_legacy_token(&plain));
    test_advance_s(f, 3600);
    test_assert_code(OTOK_OK, test_refresh_held(f, &held, NULL));
    test_advance_s(f, 5);
    is_open(f, test_legacy_token(&plain), &held);
    test_advance_s(f, 60);
    test_assert_code(OTOK_E_TOKEN_REUSED, test_refresh_code(f, test_legacy_token(&plain), NULL));
    ck_assert_uint_eq(test_last_event(f, OTOK_EVENT_REUSE)->event.distance, 1);
    test_assert_code(OTOK_E_TOKEN_UNKNOWN, test_refresh_code(f, held.token, NULL));
    test_assert_code(OTOK_E_TOKEN_UNKNOWN,
                     test_refresh_code(f, test_legacy_token(&plain), NULL)); /* and is no new one */
    test_close(f);
}
END_TEST

START_TEST(rotation_of_its_successor_closes_it_at_once)
{
    test_fixture *f = open_with_legacy(_i);
    test_held held = adopt(f, test_legacy_token(&plain));
    test_rotate(f, &held, NULL);
    test_assert_code(OTOK_E_TOKEN_REUSED, test_refresh_code(f, test_legacy_token(&plain), NULL));
    ck_assert_uint_eq(test_last_event(f, OTOK_EVENT_REUSE)->event.distance, 2);
    test_close(f);
}
END_TEST

START_TEST(it_survives_a_restart_and_a_rotation_of_the_mac_key)
{
    test_fixture *f = open_with_legacy(TEST_LMDB);
    test_held held = adopt(f, test_legacy_token(&plain));
    otok_key_change change;
    otok_keyring *next;
    otok_tokens *tokens = NULL;
    test_restart(f);
    is_open(f, test_legacy_token(&plain), &held);
    otok_key_change_init(&change, sizeof change);
    change.use = OTOK_KEY_TOKEN;
    for (change.step = OTOK_KEY_STEP_ADD; change.step <= OTOK_KEY_STEP_ACTIVATE; change.step++) {
        test_assert_code(OTOK_OK, otok_keyring_change(f->keyring, &change, &next, NULL));
        otok_keyring_free(f->keyring);
        f->keyring = next;
    }
    test_reopen_service(f);
    test_assert_code(OTOK_OK, test_refresh(f, test_legacy_token(&plain), NULL, &tokens));
    ck_assert_str_eq(tokens->session_id, held.session_id);
    ck_assert_int_eq(tokens->outcome, OTOK_OUTCOME_RETRIED);
    otok_tokens_free(tokens);
    test_assert_code(OTOK_OK, test_refresh_held(f, &held, NULL)); /* the one under the old key, too */
    test_close(f);
}
END_TEST

/* R8: done or not done, whoever asks again has one session in the end. */
START_TEST(a_commit_that_cannot_be_told_is_harmless)
{
    test_fixture *f = test_open(TEST_LMDB);
    test_watch watch = {0};
    otok_tokens *tokens = NULL;
    bool done = _i != 0;
    test_watch_fixture(&watch, f);
    test_install_legacy(f);
    test_watch_fail(&watch, 1, TEST_CALL_COMMIT, OTOK_E_UNCERTAIN, done);
    test_assert_code(OTOK_E_UNCERTAIN, test_refresh_code(f, test_legacy_token(&plain), NULL));
    test_assert_code(OTOK_OK, test_refresh(f, test_legacy_token(&plain), NULL, &tokens));
    ck_assert_int_eq(tokens->outcome, done ? OTOK_OUTCOME_RETRIED : OTOK_OUTCOME_ADOPTED);
    ck_assert_uint_eq(test_count_records(f->store), 2);
    otok_tokens_free(tokens);
    test_close(f);
}
END_TEST

/* ------------------------------------------------------------------------------------------------------------- cutoffs */

/* Scopes of cutoffs that the session is in. */
static const struct {
    const char *subject, *client_id, *sid;
} scopes[] = {{NULL, NULL, NULL},
              {"alice", NULL, NULL},
              {NULL, "phone", NULL},
              {"alice", "phone", NULL},
              {NULL, NULL, "5f3c1a7e"}};

static otok_filter scope_of(int i)
{
    return i == 0 ? test_filter_realm() : test_filter(scopes[i].subject, scopes[i].client_id, scopes[i].sid);
}

enum { NSCOPES = sizeof scopes / sizeof scopes[0] };

START_TEST(a_cutoff_newer_than_the_legacy_start_refuses_it_and_an_older_one_does_not)
{
    test_fixture *f = open_with_legacy(_i / NSCOPES);
    otok_filter filter = scope_of(_i % NSCOPES);
    int64_t started_us = TEST_START_US - 100 * DAY_US;
    test_assert_code(OTOK_OK, otok_cutoff_set(f->service, &filter, started_us - 1, NULL, NULL));
    test_held held = adopt(f, test_legacy_token(&plain));
    test_assert_code(OTOK_OK, otok_cutoff_set(f->service, &filter, started_us, NULL, NULL));
    test_assert_code(OTOK_E_TOKEN_REVOKED, test_refresh_code(f, held.token, NULL));
    const test_legacy second = {.sid = "5f3c1a7e", .azp = "phone", .scope = "offline_access", .sub = "alice"};
    uint64_t state = test_store_state(f->store);
    /* Another session of the same scopes, which was never adopted: a second legacy id. */
    test_assert_code(OTOK_E_TOKEN_REVOKED, test_refresh_code(f, test_legacy_token(&second), NULL));
    ck_assert_uint_eq(state, test_store_state(f->store));
    test_close(f);
}
END_TEST

START_TEST(never_adopted_before_a_cutoff_never_after_it)
{
    test_fixture *f = open_with_legacy(_i / NSCOPES);
    otok_filter filter = scope_of(_i % NSCOPES);
    test_assert_code(OTOK_OK, otok_cutoff_set(f->service, &filter, OTOK_NOW, NULL, NULL));
    (void)test_sweep_out(f); /* the cutoff of a sid goes when its sessions have gone, but not here */
    test_assert_code(OTOK_E_TOKEN_REVOKED, test_refresh_code(f, test_legacy_token(&plain), NULL));
    ck_assert_ptr_null(test_last_event(f, OTOK_EVENT_ISSUED));
    test_close(f);
}
END_TEST

START_TEST(the_maximum_lifetime_counts_from_the_legacy_start)
{
    test_fixture *f = open_with_legacy(_i);
    f->policy.max_lifetime_s = 101 * TEST_DAY_S;
    test_reopen_service(f);
    test_held held = adopt(f, test_legacy_token(&plain));
    test_advance_s(f, TEST_DAY_S + 1);
    test_assert_code(OTOK_E_TOKEN_EXPIRED, test_refresh_code(f, held.token, NULL));
    const test_legacy other = {.sid = "77aa"};
    test_assert_code(OTOK_E_TOKEN_EXPIRED, test_refresh_code(f, test_legacy_token(&other), NULL));
    test_close(f);
}
END_TEST

/* ---------------------------------------------------------------------------------------------------------- revocation */

START_TEST(revoked_before_it_was_ever_adopted_it_stays_so_until_its_end)
{
    test_fixture *f = open_with_legacy(_i);
    const test_legacy ending = {.ends_us = TEST_START_US + 90 * DAY_US};
    char legacy[TEST_LEGACY_CHARS];
    (void)strcpy(legacy, test_legacy_token(&ending));
    test_assert_code(OTOK_OK, test_revoke(f, legacy, "phone"));
    test_assert_code(OTOK_OK, test_revoke(f, test_legacy_spelling(legacy, 3), "phone"));
    ck_assert_uint_eq(test_count_reasons(f, OTOK_EVENT_REVOKED, OTOK_REVOKED_BY_TOKEN, NULL), 1);
    for (int day = 0; day < 89; day += 11) {
        test_assert_code(OTOK_E_TOKEN_UNKNOWN, test_refresh_code(f, test_legacy_spelling(legacy, 5), NULL));
        test_advance_s(f, 11 * TEST_DAY_S);
        (void)test_sweep(f, 0);
    }
    test_advance_s(f, 3 * TEST_DAY_S);
    (void)test_sweep(f, 0); /* its own end has come, and the grace has passed: now the host refuses it, and we forget */
    ck_assert_uint_eq(test_count_records(f->store), 0);
    test_assert_code(OTOK_E_TOKEN_EXPIRED, test_refresh_code(f, legacy, NULL));
    test_close(f);
}
END_TEST

/* L5: a sweeper whose clock ran ten years ahead for a moment makes nothing good again. */
START_TEST(a_clock_that_jumps_does_not_bring_it_back)
{
    test_fixture *f = open_with_legacy(_i);
    const test_legacy ending = {.ends_us = TEST_START_US + 90 * DAY_US};
    char legacy[TEST_LEGACY_CHARS];
    (void)strcpy(legacy, test_legacy_token(&ending));
    test_assert_code(OTOK_OK, test_revoke(f, legacy, "phone"));
    test_set_now_us(f, TEST_START_US + 3650 * DAY_US);
    (void)test_sweep(f, 0);
    test_set_now_us(f, TEST_START_US + DAY_US);
    test_assert_code(OTOK_E_TOKEN_UNKNOWN, test_refresh_code(f, legacy, NULL));
    for (int i = 0; i < 80; i++) {
        test_advance_s(f, TEST_DAY_S);
        (void)test_sweep(f, 0);
        test_assert_code(OTOK_E_TOKEN_UNKNOWN, test_refresh_code(f, legacy, NULL));
    }
    test_close(f);
}
END_TEST

/* V7: an erasure on a node whose clock is behind does not bring it back either. */
START_TEST(an_erasure_with_a_clock_behind_does_not_bring_it_back)
{
    test_fixture *f = open_with_legacy(_i);
    otok_filter alice = test_filter("alice", NULL, NULL);
    test_assert_code(OTOK_OK, test_revoke(f, test_legacy_token(&plain), "phone"));
    test_set_now_us(f, TEST_START_US - 3650 * DAY_US);
    test_assert_code(OTOK_OK, otok_erase(f->service, &alice, NULL, NULL));
    test_set_now_us(f, TEST_START_US);
    test_assert_code(OTOK_E_TOKEN_REVOKED, test_refresh_code(f, test_legacy_token(&plain), NULL));
    test_close(f);
}
END_TEST

/* V5: whichever process sweeps: the cutoff of a sid outlives its sessions where a host adopts. */
START_TEST(a_sweeper_that_does_not_adopt_does_not_bring_it_back)
{
    test_fixture *f = open_with_legacy(_i);
    otok_filter sid = test_filter(NULL, NULL, "5f3c1a7e");
    test_assert_code(OTOK_OK, otok_logout(f->service, &sid, 1, NULL, NULL));
    f->callbacks.adopt = NULL;
    test_reopen_service(f);
    for (int i = 0; i < 5; i++)
        (void)test_sweep_out(f);
    test_install_legacy(f);
    test_assert_code(OTOK_E_TOKEN_REVOKED, test_refresh_code(f, test_legacy_token(&plain), NULL));
    test_close(f);
}
END_TEST

/* V5: whichever process set it, too: one that does not adopt may be what ends SSO sessions. */
START_TEST(a_cutoff_of_a_process_that_does_not_adopt_stays_where_another_does)
{
    test_fixture *f = test_open(_i);
    otok_filter sid = test_filter(NULL, NULL, "5f3c1a7e");
    test_assert_code(OTOK_OK, otok_logout(f->service, &sid, 1, NULL, NULL));
    test_install_legacy(f);
    for (int i = 0; i < 5; i++)
        (void)test_sweep_out(f);
    f->callbacks.adopt = NULL; /* from there on whoever sweeps */
    test_reopen_service(f);
    test_assert_code(OTOK_OK, otok_cutoff_set(f->service, &sid, OTOK_NOW, NULL, NULL));
    for (int i = 0; i < 5; i++)
        (void)test_sweep_out(f);
    test_install_legacy(f);
    test_assert_code(OTOK_E_TOKEN_REVOKED, test_refresh_code(f, test_legacy_token(&plain), NULL));
    test_close(f);
}
END_TEST

/* V1: a proof is not needed to revoke, but a wrong one is refused. */
START_TEST(the_wrong_key_revokes_nothing_that_was_not_adopted)
{
    test_fixture *f = open_with_legacy(_i);
    const test_legacy bound = {.jkt = TEST_JKT};
    uint64_t state = test_store_state(f->store);
    test_assert_code(OTOK_E_SENDER,
                     test_revoke_as(f, test_legacy_token(&bound), "phone", OTOK_CLIENT_PUBLIC, TEST_OTHER_JKT));
    ck_assert_uint_eq(state, test_store_state(f->store));
    test_assert_code(OTOK_OK, test_revoke(f, test_legacy_token(&bound), "phone"));
    test_close(f);
}
END_TEST

START_TEST(revoking_the_legacy_token_ends_the_session_that_it_became)
{
    test_fixture *f = open_with_legacy(_i);
    test_held held = adopt(f, test_legacy_token(&plain));
    test_assert_code(OTOK_E_UNAUTHORIZED_CLIENT, test_revoke(f, test_legacy_token(&plain), "other"));
    test_assert_code(OTOK_OK, test_refresh_held(f, &held, NULL));
    test_assert_code(OTOK_OK, test_revoke(f, test_legacy_token(&plain), "phone"));
    test_assert_code(OTOK_E_TOKEN_UNKNOWN, test_refresh_code(f, held.token, NULL));
    test_assert_code(OTOK_E_TOKEN_UNKNOWN, test_refresh_code(f, test_legacy_token(&plain), NULL));
    test_assert_code(OTOK_OK, test_revoke(f, test_legacy_token(&plain), "phone"));
    test_close(f);
}
END_TEST

START_TEST(another_client_revokes_nothing_that_was_not_adopted)
{
    test_fixture *f = open_with_legacy(_i);
    uint64_t state = test_store_state(f->store);
    test_assert_code(OTOK_E_UNAUTHORIZED_CLIENT, test_revoke(f, test_legacy_token(&plain), "other"));
    ck_assert_uint_eq(state, test_store_state(f->store));
    (void)adopt(f, test_legacy_token(&plain));
    test_close(f);
}
END_TEST

/* ------------------------------------------------------------------------------------------------------------- refused */

static void is_refused_untouched(test_fixture *f, const char *token, const char *client, int code)
{
    uint64_t state = test_store_state(f->store);
    test_assert_code(code, test_refresh_code(f, token, client));
    ck_assert_uint_eq(state, test_store_state(f->store));
}

START_TEST(what_the_host_does_not_know_is_refused_and_nothing_is_written)
{
    test_fixture *f = open_with_legacy(_i);
    const test_legacy forged = {.secret = "guessed"}, ended = {.ends_us = TEST_START_US - OTOK_US_PER_S};
    is_refused_untouched(f, test_legacy_token(&forged), NULL, OTOK_E_TOKEN_INVALID);
    is_refused_untouched(f, "not.a.jwt", NULL, OTOK_E_TOKEN_INVALID);
    is_refused_untouched(f, "otok_forged", NULL, OTOK_E_TOKEN_INVALID);
    is_refused_untouched(f, test_legacy_token(&ended), NULL, OTOK_E_TOKEN_EXPIRED);
    is_refused_untouched(f, test_legacy_token(&plain), "other", OTOK_E_CLIENT_MISMATCH);
    f->callbacks.adopt = NULL;
    test_reopen_service(f);
    is_refused_untouched(f, test_legacy_token(&plain), NULL, OTOK_E_TOKEN_INVALID);
    test_assert_code(OTOK_OK, test_revoke(f, test_legacy_token(&plain), "phone")); /* of no known form */
    test_close(f);
}
END_TEST

static int fail_to_adopt(void *user, const char *token, const char *client_id, otok_adoption *adoption)
{
    (void)test_legacy_adopt(user, token, client_id, adoption);
    return 1;
}

/* Passes over that the library did not take it. */
static int adopt_twice(void *user, const char *token, const char *client_id, otok_adoption *adoption)
{
    (void)test_legacy_adopt(user, token, client_id, adoption);
    (void)test_legacy_adopt(user, token, client_id, adoption);
    return 0;
}

static int adopt_nobody(void *user, const char *token, const char *client_id, otok_adoption *adoption)
{
    otok_legacy legacy;
    otok_grant grant;
    (void)user;
    (void)token;
    otok_legacy_init(&legacy, sizeof legacy);
    otok_grant_init(&grant, sizeof grant);
    grant.client_id = client_id;
    grant.scope = "offline_access";
    grant.subject = "";
    legacy.id = "1";
    legacy.started_us = TEST_START_US;
    legacy.grant = &grant;
    ck_assert_int_eq(OTOK_E_INVALID, otok_legacy_set(adoption, &legacy, NULL));
    return 0;
}

START_TEST(a_failing_or_careless_callback_fails_closed)
{
    static const struct {
        int (*adopt)(void *, const char *, const char *, otok_adoption *);
        int code;
    } rows[] = {{fail_to_adopt, OTOK_E_CALLBACK}, {adopt_twice, OTOK_E_CALLBACK}, {adopt_nobody, OTOK_E_CALLBACK}};
    test_fixture *f = test_open(_i);
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        f->callbacks.adopt = rows[i].adopt;
        test_reopen_service(f);
        is_refused_untouched(f, test_legacy_token(&plain), NULL, rows[i].code);
        test_assert_code(rows[i].code, test_revoke(f, test_legacy_token(&plain), "phone"));
    }
    test_close(f);
}
END_TEST

/* One legacy id is one session: the host's mistake must not hand one user's session to another. */
START_TEST(an_id_that_was_another_subjects_is_refused)
{
    test_fixture *f = open_with_legacy(_i);
    const test_legacy bob = {.sub = "bob"};
    test_held held = adopt(f, test_legacy_token(&plain));
    is_refused_untouched(f, test_legacy_token(&bob), NULL, OTOK_E_CALLBACK);
    test_assert_code(OTOK_E_CALLBACK, test_revoke(f, test_legacy_token(&bob), "phone"));
    test_assert_code(OTOK_OK, test_refresh_held(f, &held, NULL));
    test_close(f);
}
END_TEST

START_TEST(a_bound_legacy_token_needs_its_key)
{
    test_fixture *f = open_with_legacy(_i);
    const test_legacy bound = {.jkt = TEST_JKT};
    otok_peer right = test_peer(TEST_JKT, NULL, "192.0.2.1", "app"),
              wrong = test_peer(TEST_OTHER_JKT, NULL, NULL, NULL);
    otok_refresh_request request = test_refresh_request(test_legacy_token(&bound), NULL);
    test_refused_untouched(f, &request, OTOK_E_DPOP_PROOF);
    request.peer = &wrong;
    test_refused_untouched(f, &request, OTOK_E_SENDER);
    request.peer = &right;
    ck_assert_int_eq(test_answered(f, &request)->outcome, OTOK_OUTCOME_ADOPTED);
    ck_assert_int_eq(test_answered(f, &request)->outcome, OTOK_OUTCOME_RETRIED);
    request.peer = &wrong;
    test_refused_untouched(f, &request, OTOK_E_SENDER);
    test_end(f);
}
END_TEST

static int end_it(void *user, const otok_use *use, otok_answer *answer)
{
    (void)user;
    ck_assert_str_eq(use->session->subject, "alice");
    return otok_answer_end_session(answer);
}

START_TEST(the_host_may_end_it_before_it_begins)
{
    test_fixture *f = open_with_legacy(_i);
    f->callbacks.authorize = end_it;
    test_reopen_service(f);
    test_assert_code(OTOK_E_DENIED, test_refresh_code(f, test_legacy_token(&plain), NULL));
    f->callbacks.authorize = NULL;
    test_reopen_service(f);
    test_assert_code(OTOK_E_TOKEN_UNKNOWN, test_refresh_code(f, test_legacy_token(&plain), NULL));
    test_close(f);
}
END_TEST

START_TEST(a_client_that_needs_consent_has_it_or_is_not_adopted)
{
    test_fixture *f = open_with_legacy(_i);
    f->policy.consent = OTOK_ON;
    test_reopen_service(f);
    is_refused_untouched(f, test_legacy_token(&plain), NULL, OTOK_E_CONSENT);
    test_assert_code(OTOK_OK, otok_consent_put(f->service, "alice", "phone", "openid offline_access", NULL));
    is_refused_untouched(f, test_legacy_token(&plain), NULL, OTOK_E_SCOPE);
    test_assert_code(OTOK_OK, otok_consent_put(f->service, "alice", "phone", "openid offline_access profile", NULL));
    (void)adopt(f, test_legacy_token(&plain));
    test_close(f);
}
END_TEST

static void add(TCase *tc)
{
    const TTest *const tests[] = {
        a_legacy_token_becomes_a_session_that_began_when_it_did,
        until_its_successor_is_used_every_spelling_gets_it_again,
        a_limit_of_retries_does_not_close_it,
        the_first_use_of_its_successor_begins_the_window,
        rotation_of_its_successor_closes_it_at_once,
        the_maximum_lifetime_counts_from_the_legacy_start,
        revoked_before_it_was_ever_adopted_it_stays_so_until_its_end,
        a_clock_that_jumps_does_not_bring_it_back,
        an_erasure_with_a_clock_behind_does_not_bring_it_back,
        a_sweeper_that_does_not_adopt_does_not_bring_it_back,
        a_cutoff_of_a_process_that_does_not_adopt_stays_where_another_does,
        the_wrong_key_revokes_nothing_that_was_not_adopted,
        revoking_the_legacy_token_ends_the_session_that_it_became,
        another_client_revokes_nothing_that_was_not_adopted,
        what_the_host_does_not_know_is_refused_and_nothing_is_written,
        a_failing_or_careless_callback_fails_closed,
        an_id_that_was_another_subjects_is_refused,
        a_bound_legacy_token_needs_its_key,
        the_host_may_end_it_before_it_begins,
        a_client_that_needs_consent_has_it_or_is_not_adopted,
    };
    test_add_on_both(tc, tests, sizeof tests / sizeof tests[0]);
    tcase_add_loop_test(tc, a_commit_that_cannot_be_told_is_harmless, 0, 2);
    tcase_add_test(tc, it_survives_a_restart_and_a_rotation_of_the_mac_key);
    tcase_add_loop_test(tc, a_cutoff_newer_than_the_legacy_start_refuses_it_and_an_older_one_does_not, 0, 2 * NSCOPES);
    tcase_add_loop_test(tc, never_adopted_before_a_cutoff_never_after_it, 0, 2 * NSCOPES);
}

int main(void)
{
    return test_main("adoption", add);
}
