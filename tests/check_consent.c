/*
 * check_consent.c - C1, C2, V4: what a subject has allowed a client, and what a refresh makes of it.  Lists: check_consent_list.c;
 * races: check_consent_races.c.
 *
 * SPDX-License-Identifier: MIT
 */
#include "support/ask.h"
#include "support/node.h"
#include "support/records.h"
#include "support/watch.h"

#include <stdio.h>
#include <string.h>

static void put(test_fixture *f, const char *subject, const char *client_id, const char *scope)
{
    otok_error err;
    int rc = otok_consent_put(f->service, subject, client_id, scope, &err);
    ck_assert_msg(rc == OTOK_OK, "%s: %s", otok_error_name(rc), err.message);
}

static otok_consent *get(test_fixture *f, const char *subject, const char *client_id)
{
    otok_error err;
    otok_consent *consent = NULL;
    test_assert_code(OTOK_OK, otok_consent_get(f->service, subject, client_id, &consent, &err));
    ck_assert_uint_eq(consent->size, sizeof *consent);
    ck_assert_str_eq(consent->subject, subject);
    ck_assert_str_eq(consent->client_id, client_id);
    return consent;
}

static int get_code(test_fixture *f, const char *subject, const char *client_id)
{
    otok_error err;
    otok_consent *consent = NULL;
    int rc = otok_consent_get(f->service, subject, client_id, &consent, &err);
    ck_assert((rc == OTOK_OK) == (consent != NULL));
    otok_consent_free(consent);
    return rc;
}

static void assert_consent(test_fixture *f, const char *scope, int64_t granted_us, int64_t updated_us)
{
    otok_consent *consent = get(f, "alice", "phone");
    ck_assert_str_eq(consent->scope, scope);
    ck_assert_int_eq(consent->granted_us, granted_us);
    ck_assert_int_eq(consent->updated_us, updated_us);
    otok_consent_free(consent);
}

static uint64_t revoke(test_fixture *f, const char *subject, const char *client_id)
{
    otok_error err;
    uint64_t revoked = 77;
    test_assert_code(OTOK_OK, otok_consent_revoke(f->service, subject, client_id, &revoked, &err));
    return revoked;
}

/* ------------------------------------------------------------------------------------------------------- one consent */

/* C1 */
START_TEST(put_replaces_the_scopes_and_keeps_when_it_was_granted)
{
    test_fixture *f = test_open(_i);
    put(f, "alice", "phone", "  openid offline_access   openid ");
    assert_consent(f, "openid offline_access", TEST_START_US, TEST_START_US);
    test_advance_s(f, 60);
    put(f, "alice", "phone", "profile");
    test_restart(f);
    assert_consent(f, "profile", TEST_START_US, TEST_START_US + 60 * OTOK_US_PER_S);
    test_close(f);
}
END_TEST

/* C1, L5: stored times never move back */
START_TEST(clock_that_jumps_back_makes_no_consent_older)
{
    test_fixture *f = test_open(_i);
    put(f, "alice", "phone", "openid");
    test_advance_s(f, -TEST_DAY_S);
    put(f, "alice", "phone", "profile");
    assert_consent(f, "profile", TEST_START_US, TEST_START_US);
    test_close(f);
}
END_TEST

/* C1: never an error 500 */
START_TEST(unknown_consent_is_not_found)
{
    otok_error err;
    test_fixture *f = test_open(_i);
    otok_filter pair = test_filter("alice", "phone", NULL);
    test_assert_code(OTOK_E_NOT_FOUND, get_code(f, "alice", "phone"));
    put(f, "alice", "laptop", "openid");
    put(f, "bob", "phone", "openid");
    put(f, "phone", "alice", "openid");
    put(f, "alic", "ephone", "openid");
    test_assert_code(OTOK_E_NOT_FOUND, get_code(f, "alice", "phone"));
    test_assert_code(OTOK_OK, otok_cutoff_set(f->service, &pair, OTOK_NOW, NULL, &err)); /* a mark without a consent */
    test_assert_code(OTOK_E_NOT_FOUND, get_code(f, "alice", "phone"));
    put(f, "alice", "phone", "openid");
    test_assert_code(OTOK_OK, get_code(f, "alice", "phone"));
    (void)revoke(f, "alice", "phone");
    test_assert_code(OTOK_E_NOT_FOUND, get_code(f, "alice", "phone"));
    test_assert_code(OTOK_OK, get_code(f, "alice", "laptop"));
    test_close(f);
}
END_TEST

/* C1 */
START_TEST(consent_after_a_revocation_is_a_new_one)
{
    test_fixture *f = test_open(_i);
    put(f, "alice", "phone", "openid profile");
    (void)revoke(f, "alice", "phone");
    test_advance_s(f, 60);
    put(f, "alice", "phone", "openid");
    assert_consent(f, "openid", f->now_us, f->now_us);
    test_close(f);
}
END_TEST

/* C1 */
START_TEST(consents_that_make_no_sense_are_invalid)
{
    static char longest[257], scope[4098];
    memset(longest, 'x', sizeof longest - 1);
    for (size_t i = 0; i + 1 < sizeof scope; i++)
        scope[i] = i % 2 == 0 ? (char)('a' + i / 2 % 26) : ' ';
    const struct {
        const char *subject, *client_id, *scope, *field;
    } wrong[] = {
        {NULL, "phone", "openid", "subject"},      {"", "phone", "openid", "subject"},
        {"al\nice", "phone", "openid", "subject"}, {longest, "phone", "openid", "subject"},
        {"alice", NULL, "openid", "client_id"},    {"alice", "", "openid", "client_id"},
        {"alice", longest, "openid", "client_id"}, {"alice", "phone", NULL, "scope"},
        {"alice", "phone", "", "scope"},           {"alice", "phone", "   ", "scope"},
        {"alice", "phone", "open\"id", "scope"},   {"alice", "phone", "openid\tprofile", "scope"},
        {"alice", "phone", scope, "scope"},
    };
    otok_error err;
    test_fixture *f = test_open(TEST_MEMORY);
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        int rc = otok_consent_put(f->service, wrong[i].subject, wrong[i].client_id, wrong[i].scope, &err);
        ck_assert_msg(rc == OTOK_E_INVALID, "%zu: %s", i, otok_error_name(rc));
        ck_assert_msg(strstr(err.message, wrong[i].field) != NULL, "%zu: %s", i, err.message);
    }
    ck_assert_uint_eq(test_count_records(f->store), 0);
    otok_consent *consent = NULL;
    uint64_t revoked = 77;
    test_assert_code(OTOK_E_INVALID, otok_consent_put(NULL, "a", "b", "c", &err));
    test_assert_code(OTOK_E_INVALID, otok_consent_get(NULL, "a", "b", &consent, &err));
    test_assert_code(OTOK_E_INVALID, otok_consent_get(f->service, "a", "b", NULL, &err));
    test_assert_code(OTOK_E_INVALID, otok_consent_get(f->service, "a", NULL, &consent, &err));
    test_assert_code(OTOK_E_INVALID, otok_consent_revoke(NULL, "a", "b", &revoked, &err));
    test_assert_code(OTOK_E_INVALID, otok_consent_revoke(f->service, "", "b", &revoked, &err));
    ck_assert_uint_eq(revoked, 0);
    scope[4095] = '\0';
    put(f, "alice", "phone", scope);
    otok_consent_free(NULL);
    test_close(f);
}
END_TEST

/* -------------------------------------------------------------------------------------------- beside a cutoff, and events */

static int keep_pair(void *arg, const otok_record *record)
{
    otok_record **out = arg;
    if (record->kind != OTOK_RECORD_PAIR)
        return 0;
    *out = otok_record_copy(record);
    return 1;
}

/* A copy of the one mark of subject and client in a store. */
static otok_record *take_pair(test_fixture *f)
{
    otok_error err;
    otok_record *record = NULL;
    otok_scan scan = {.size = sizeof scan, .limit = OTOK_MAX_FETCH};
    test_assert_code(OTOK_OK, otok_store_scan(f->store, &scan, keep_pair, &record, &err));
    ck_assert_ptr_nonnull(record);
    return record;
}

static bool is_filed(const otok_record *record)
{
    for (size_t i = 0; i < record->nkeys; i++) {
        if (record->keys[i].index == OTOK_INDEX_SWEEP)
            return true;
    }
    return false;
}

/* C1, V3: the cutoff beside it stands, and so does the walk that the sweeper has to do for it */
START_TEST(put_leaves_the_cutoff_and_its_walk_alone)
{
    otok_error err;
    int64_t at_us = 0, again_us = 0;
    test_fixture *f = test_open(_i);
    otok_filter pair = test_filter("alice", "phone", NULL);
    test_held held = test_hold(f, "alice", "phone");
    test_assert_code(OTOK_OK, otok_cutoff_set(f->service, &pair, OTOK_NOW, &at_us, &err));
    otok_record *before = take_pair(f);
    test_advance_s(f, 60);
    put(f, "alice", "phone", "offline_access");
    otok_record *after = take_pair(f);
    ck_assert(is_filed(before) && is_filed(after));
    ck_assert_int_eq(after->sweep_us, before->sweep_us);
    test_assert_code(OTOK_OK, otok_cutoff_get(f->service, &pair, &again_us, &err));
    ck_assert_int_eq(again_us, at_us);
    test_assert_code(OTOK_E_TOKEN_REVOKED, test_refresh_code(f, held.token, NULL));
    (void)test_sweep(f, 0);
    ck_assert(!test_has_session(f, held.session_id));
    put(f, "alice", "phone", "profile");
    otok_record *done = take_pair(f);
    ck_assert(!is_filed(done));
    assert_consent(f, "profile", TEST_START_US + 60 * OTOK_US_PER_S, f->now_us);
    otok_record_free(before);
    otok_record_free(after);
    otok_record_free(done);
    test_close(f);
}
END_TEST

/* By another node, behind the watch. */
static void cut_off(void *node)
{
    otok_error err;
    otok_filter pair = test_filter("alice", "phone", NULL);
    test_assert_code(OTOK_OK, otok_cutoff_set(((test_fixture *)node)->service, &pair, TEST_START_US - 5, NULL, &err));
}

/* C1, S1: a cutoff that was set between reading and writing is not lost, and neither is the consent */
START_TEST(put_that_loses_a_race_is_made_again)
{
    test_watch watch;
    otok_error err;
    int64_t at_us = 0;
    test_fixture *f = test_open(_i), *node = test_open_node(f, NULL);
    otok_filter pair = test_filter("alice", "phone", NULL);
    test_watch_fixture(&watch, f);
    test_watch_step_in(&watch, 1, TEST_CALL_COMMIT, cut_off, node);
    put(f, "alice", "phone", "openid");
    ck_assert(watch.reached);
    test_assert_code(OTOK_OK, otok_cutoff_get(f->service, &pair, &at_us, &err));
    ck_assert_int_eq(at_us, TEST_START_US - 5);
    assert_consent(f, "openid", TEST_START_US, TEST_START_US);
    ck_assert_uint_eq(test_count_events(f, OTOK_EVENT_CONSENT_GRANTED), 1);
    test_close(node);
    test_close(f);
}
END_TEST

static char told_scope[256];

static void note_scope(void *user, const otok_event *event)
{
    (void)user;
    (void)snprintf(told_scope, sizeof told_scope, "%d:%s:%s:%s", event->type, event->subject, event->client_id,
                   event->scope != NULL ? event->scope : "-");
}

/* E1 */
START_TEST(consents_are_told_of)
{
    char expected[64];
    test_fixture *f = test_open(_i);
    void (*record)(void *, const otok_event *) = f->callbacks.event;
    f->callbacks.event = note_scope;
    test_reopen_service(f);
    put(f, "alice", "phone", "profile  openid");
    (void)snprintf(expected, sizeof expected, "%d:alice:phone:profile openid", OTOK_EVENT_CONSENT_GRANTED);
    ck_assert_str_eq(told_scope, expected);
    f->callbacks.event = record;
    test_reopen_service(f);
    (void)revoke(f, "alice", "phone");
    ck_assert_uint_eq(test_count_events(f, OTOK_EVENT_CONSENT_REVOKED), 1);
    ck_assert_str_eq(test_last_event(f, OTOK_EVENT_CONSENT_REVOKED)->subject, "alice");
    ck_assert_str_eq(test_last_event(f, OTOK_EVENT_CONSENT_REVOKED)->client_id, "phone");
    test_advance_s(f, 1);
    (void)revoke(f, "alice", "phone"); /* there was none */
    ck_assert_uint_eq(test_count_events(f, OTOK_EVENT_CONSENT_REVOKED), 1);
    ck_assert_uint_eq(test_count_events(f, OTOK_EVENT_CUTOFF), 2);
    test_close(f);
}
END_TEST

/* ------------------------------------------------------------------------------------------------------------- revoke */

/* V4 */
START_TEST(revoking_a_consent_ends_the_sessions_of_that_subject_with_that_client)
{
    test_fixture *f = test_open(_i);
    test_held one = test_hold(f, "alice", "phone"), two = test_hold(f, "alice", "phone");
    test_held laptop = test_hold(f, "alice", "laptop"), bob = test_hold(f, "bob", "phone");
    if (_i == TEST_MEMORY) /* and also when there was none */
        put(f, "alice", "phone", "offline_access");
    test_advance_s(f, 1);
    ck_assert_uint_eq(revoke(f, "alice", "phone"), 2);
    ck_assert_uint_eq(test_count_reasons(f, OTOK_EVENT_REVOKED, OTOK_REVOKED_BY_CONSENT, NULL), 2);
    ck_assert(!test_has_session(f, one.session_id) && !test_has_session(f, two.session_id));
    test_assert_code(OTOK_E_TOKEN_UNKNOWN, test_refresh_code(f, one.token, NULL));
    test_assert_code(OTOK_OK, test_refresh_code(f, laptop.token, "laptop"));
    test_assert_code(OTOK_OK, test_refresh_code(f, bob.token, NULL));
    test_held after = test_hold(f, "alice", "phone");
    test_assert_code(OTOK_OK, test_refresh_code(f, after.token, NULL));
    ck_assert_uint_eq(revoke(f, "nobody", "phone"), 0);
    test_close(f);
}
END_TEST

/* V4: "in one commit": after a crash behind the first one nothing of it is left to do for the safety of anybody */
START_TEST(consent_and_sessions_end_in_one_commit)
{
    otok_error err;
    uint64_t revoked = 77;
    test_watch watch;
    test_fixture *f = test_open(_i);
    test_held held = test_hold(f, "alice", "phone");
    put(f, "alice", "phone", "offline_access");
    test_watch_fixture(&watch, f);
    test_watch_fail(&watch, 2, TEST_CALL_COMMIT, OTOK_E_IO, false);
    test_assert_code(OTOK_E_IO, otok_consent_revoke(f->service, "alice", "phone", &revoked, &err));
    ck_assert_uint_eq(revoked, 0);
    test_assert_code(OTOK_E_NOT_FOUND, get_code(f, "alice", "phone"));
    test_assert_code(OTOK_E_TOKEN_REVOKED, test_refresh_code(f, held.token, NULL));
    test_close(f);
}
END_TEST

/* ---------------------------------------------------------------------------------------------------------- at a refresh */

/* C2, as a table */
START_TEST(consent_decides_over_the_scopes_of_this_answer)
{
    enum { OFFLINE = OTOK_SESSION_OFFLINE, LOGIN = OTOK_SESSION_LOGIN };
    static const struct {
        bool needed;
        const char *consent;
        int kind;
        const char *scope;
        int code;
    } rows[] = {
        {false, "", OFFLINE, "openid", OTOK_OK},
        {false, "profile", OFFLINE, "openid", OTOK_OK},
        {true, "", OFFLINE, "openid", OTOK_E_CONSENT},
        {true, "", LOGIN, "openid", OTOK_E_CONSENT},
        {true, "", OFFLINE, "", OTOK_E_CONSENT},
        {true, "openid offline_access", OFFLINE, "openid", OTOK_OK},
        {true, "offline_access openid", OFFLINE, "openid offline_access", OTOK_OK},
        {true, "openid", OFFLINE, "openid", OTOK_E_SCOPE},
        {true, "openid offline_accessx", OFFLINE, "openid", OTOK_E_SCOPE},
        {true, "openid", LOGIN, "openid", OTOK_OK},
        {true, "openid", LOGIN, "openid offline_access", OTOK_E_SCOPE},
        {true, "openid offline_access", OFFLINE, "openid profile", OTOK_E_SCOPE},
        {true, "openid offline_access", LOGIN, "openid profile", OTOK_E_SCOPE},
        {true, "openid profile offline_access", OFFLINE, "profile", OTOK_OK},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        otok_loaded loaded = {.body.kind = (uint8_t)rows[i].kind, .pair.body.consent = otok_str_of(rows[i].consent)};
        otok_rules rules = {.needs_consent = rows[i].needed};
        otok_error err;
        int rc = otok_consent_check(&loaded, &rules, otok_str_of(rows[i].scope), &err);
        ck_assert_msg(rc == rows[i].code, "row %zu: %s", i, otok_error_name(rc));
    }
    ck_assert_str_eq(otok_error_oauth(OTOK_E_CONSENT), "invalid_grant");
    ck_assert_str_eq(otok_error_oauth(OTOK_E_SCOPE), "invalid_scope");
}
END_TEST

static int refresh_for(test_fixture *f, const char *token, const char *scope)
{
    otok_error err;
    otok_tokens *tokens = NULL;
    otok_refresh_request request = test_refresh_request(token, NULL);
    request.scope = scope;
    int rc = otok_refresh(f->service, &request, &tokens, &err);
    otok_tokens_free(tokens);
    return rc;
}

/* C2: unconsumed, and the record as it was */
static void assert_refused(test_fixture *f, const char *token, const char *scope, int code)
{
    uint64_t before = test_store_state(f->store);
    test_assert_code(code, refresh_for(f, token, scope));
    ck_assert(test_store_state(f->store) == before);
}

/* C2 */
START_TEST(refresh_needs_a_consent_that_covers_it)
{
    test_fixture *f = test_open(_i);
    put(f, "alice", "phone", "openid offline_access profile");
    f->policy.consent = OTOK_ON;
    test_reopen_service(f);
    otok_tokens *tokens = test_issue(f, "alice", "phone", "openid offline_access profile");
    test_advance_s(f, 60);
    put(f, "alice", "phone", "openid profile");
    assert_refused(f, tokens->offline_token, NULL, OTOK_E_SCOPE);
    assert_refused(f, tokens->offline_token, "openid", OTOK_E_SCOPE); /* offline_access is what it is all about */
    put(f, "alice", "phone", "openid offline_access");
    assert_refused(f, tokens->offline_token, NULL, OTOK_E_SCOPE);
    assert_refused(f, tokens->offline_token, "profile", OTOK_E_SCOPE);
    test_assert_code(OTOK_OK, refresh_for(f, tokens->offline_token, "openid"));
    put(f, "alice", "phone", "openid offline_access profile email");
    test_assert_code(OTOK_OK, refresh_for(f, tokens->offline_token, NULL)); /* a retry of what was never consumed */
    otok_tokens_free(tokens);
    test_close(f);
}
END_TEST

/* C2, L4: a policy that begins to ask for consents reaches the sessions there are, and so does one that no longer does */
START_TEST(refresh_without_any_consent_is_refused_unconsumed)
{
    test_fixture *f = test_open(_i);
    test_held held = test_hold(f, "alice", "phone");
    f->policy.consent = OTOK_ON;
    test_reopen_service(f);
    test_advance_s(f, 60);
    assert_refused(f, held.token, NULL, OTOK_E_CONSENT);
    f->policy.consent = OTOK_OFF;
    test_reopen_service(f);
    test_assert_code(OTOK_OK, test_refresh_code(f, held.token, NULL));
    test_close(f);
}
END_TEST

/* C2, I7: of a login-bound session nobody had to consent to offline access */
START_TEST(login_bound_session_needs_a_consent_to_its_scopes_only)
{
    test_fixture *f = test_open(_i);
    otok_grant grant = test_grant("alice", "phone", "openid profile");
    grant.kind = OTOK_SESSION_LOGIN;
    grant.sid = "sso";
    put(f, "alice", "phone", "openid profile");
    f->policy.consent = OTOK_ON;
    test_reopen_service(f);
    test_held held = test_hold_grant(f, &grant);
    test_advance_s(f, 60);
    test_assert_code(OTOK_OK, test_refresh_code(f, held.token, NULL));
    put(f, "alice", "phone", "openid");
    assert_refused(f, held.token, NULL, OTOK_E_SCOPE);
    test_close(f);
}
END_TEST

/* C2: what cannot be read is not taken for no consent, nor for one */
START_TEST(consent_that_cannot_be_read_is_neither_there_nor_absent)
{
    otok_error err;
    otok_consent *consent = NULL;
    test_fixture *f = test_open(_i);
    put(f, "alice", "phone", "offline_access");
    otok_record *pair = take_pair(f);
    otok_record damaged = *pair;
    damaged.body = otok_str_of("?");
    damaged.version++;
    test_assert_code(OTOK_OK, otok_service_write(f->service, OTOK_WRITE_PUT, pair->version, &damaged, &err));
    test_assert_code(OTOK_E_FORMAT, otok_consent_get(f->service, "alice", "phone", &consent, &err));
    test_assert_code(OTOK_E_FORMAT, otok_consent_put(f->service, "alice", "phone", "openid", &err));
    otok_record_free(pair);
    test_close(f);
}
END_TEST

/* C1: an error of the store is an error, and never "not found" */
START_TEST(store_that_fails_is_no_missing_consent)
{
    static const int codes[] = {OTOK_E_IO, OTOK_E_BUSY, OTOK_E_NOMEM, OTOK_E_UNCERTAIN};
    otok_error err;
    test_watch watch;
    otok_consent *consent = NULL;
    test_fixture *f = test_open(TEST_MEMORY);
    put(f, "alice", "phone", "openid");
    test_watch_fixture(&watch, f);
    for (size_t i = 0; i < sizeof codes / sizeof *codes; i++) {
        if (codes[i] != OTOK_E_UNCERTAIN) { /* which only a commit can be */
            test_watch_fail(&watch, 1, TEST_CALL_FETCH, codes[i], false);
            test_assert_code(codes[i], otok_consent_get(f->service, "alice", "phone", &consent, &err));
            test_watch_fail(&watch, 1, TEST_CALL_FETCH, codes[i], false);
            test_assert_code(codes[i], otok_consent_put(f->service, "alice", "phone", "profile", &err));
        }
        test_watch_fail(&watch, 1, TEST_CALL_COMMIT, codes[i], false);
        test_assert_code(codes[i], otok_consent_put(f->service, "alice", "phone", "profile", &err));
        assert_consent(f, "openid", TEST_START_US, TEST_START_US);
    }
    test_close(f);
}
END_TEST

static void add_tests(TCase *tc)
{
    const TTest *const on_both[] = {put_replaces_the_scopes_and_keeps_when_it_was_granted,
                                    clock_that_jumps_back_makes_no_consent_older,
                                    unknown_consent_is_not_found,
                                    consent_after_a_revocation_is_a_new_one,
                                    put_leaves_the_cutoff_and_its_walk_alone,
                                    put_that_loses_a_race_is_made_again,
                                    consents_are_told_of,
                                    revoking_a_consent_ends_the_sessions_of_that_subject_with_that_client,
                                    consent_and_sessions_end_in_one_commit,
                                    refresh_needs_a_consent_that_covers_it,
                                    refresh_without_any_consent_is_refused_unconsumed,
                                    login_bound_session_needs_a_consent_to_its_scopes_only,
                                    consent_that_cannot_be_read_is_neither_there_nor_absent};
    test_add_on_both(tc, on_both, sizeof on_both / sizeof *on_both);
    tcase_add_test(tc, consents_that_make_no_sense_are_invalid);
    tcase_add_test(tc, consent_decides_over_the_scopes_of_this_answer);
    tcase_add_test(tc, store_that_fails_is_no_missing_consent);
}

int main(void)
{
    return test_main("consent", add_tests);
}
