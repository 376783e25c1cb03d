/*
 * check_revoke.c - V1: the end of a session by one of its tokens (RFC 7009), or by its id.
 *
 * SPDX-License-Identifier: MIT
 */
#include "support/ask.h"
#include "support/node.h"
#include "support/watch.h"

#include <string.h>

static void assert_ended(test_fixture *f, const test_held *held)
{
    test_assert_code(OTOK_E_TOKEN_UNKNOWN, test_refresh_code(f, held->token, NULL));
    ck_assert(!test_has_session(f, held->session_id));
}

static void assert_revoked_event(const test_fixture *f, const test_held *held, int32_t reason)
{
    const test_event *e = test_last_event(f, OTOK_EVENT_REVOKED);
    ck_assert_ptr_nonnull(e);
    ck_assert_int_eq(e->event.reason, reason);
    ck_assert_str_eq(e->event.session_id, held->session_id);
    ck_assert_str_eq(e->event.subject, "alice");
    ck_assert_str_eq(e->event.client_id, "phone");
    ck_assert_uint_eq(test_count_events(f, OTOK_EVENT_REVOKED), 1);
}

/* V1, E1 */
START_TEST(current_token_ends_its_session_and_no_other)
{
    test_fixture *f = test_open(_i);
    test_held one = test_hold(f, NULL, NULL), other = test_hold(f, NULL, NULL);
    test_assert_code(OTOK_OK, test_revoke(f, one.token, NULL));
    assert_revoked_event(f, &one, OTOK_REVOKED_BY_TOKEN);
    assert_ended(f, &one);
    test_assert_code(OTOK_OK, test_refresh_code(f, other.token, NULL));
    test_close(f);
}
END_TEST

/* V1 */
START_TEST(superseded_token_ends_its_session)
{
    for (int rotations = 1; rotations <= 3; rotations++) {
        test_fixture *f = test_open(_i);
        test_held first = test_hold(f, NULL, NULL), latest = first;
        for (int i = 0; i < rotations; i++)
            test_rotate(f, &latest, NULL);
        test_assert_code(OTOK_OK, test_revoke(f, first.token, NULL));
        assert_ended(f, &latest);
        assert_revoked_event(f, &first, OTOK_REVOKED_BY_TOKEN);
        ck_assert_uint_eq(test_count_events(f, OTOK_EVENT_REUSE), 0);
        test_close(f);
    }
}
END_TEST

/* V1 */
START_TEST(expired_token_ends_its_session)
{
    test_fixture *f = test_open(_i);
    test_held held = test_hold(f, NULL, NULL);
    test_advance_s(f, 40 * (int64_t)TEST_DAY_S);
    test_assert_code(OTOK_E_TOKEN_EXPIRED, test_refresh_code(f, held.token, NULL));
    test_assert_code(OTOK_OK, test_revoke(f, held.token, NULL));
    ck_assert(!test_has_session(f, held.session_id));
    test_close(f);
}
END_TEST

/* V1: RFC 7009 section 2.2, "invalid tokens do not cause an error response" */
START_TEST(revoking_again_succeeds_and_tells_of_it_once)
{
    test_fixture *f = test_open(_i);
    test_held held = test_hold(f, NULL, NULL);
    for (int i = 0; i < 3; i++)
        test_assert_code(OTOK_OK, test_revoke(f, held.token, NULL));
    ck_assert_uint_eq(test_count_events(f, OTOK_EVENT_REVOKED), 1);
    test_close(f);
}
END_TEST

/* V1 */
START_TEST(unknown_string_is_success_and_touches_nothing)
{
    char long_text[20001];
    memset(long_text, 'a', sizeof long_text - 1);
    long_text[sizeof long_text - 1] = '\0';
    const char *const strings[] = {
        "x",       "otok_", "otok_AQEAAAAA", "a.b.c", "....", "eyJhbGciOiJub25lIn0.e30.", "45ghiukldjahdnhzdauz",
        long_text, " ",     "otok_====",     "%"};
    test_fixture *f = test_open(_i);
    test_held held = test_hold(f, NULL, NULL);
    for (size_t i = 0; i < sizeof strings / sizeof *strings; i++)
        test_assert_code(OTOK_OK, test_revoke(f, strings[i], NULL));
    ck_assert_uint_eq(test_count_events(f, OTOK_EVENT_REVOKED), 0);
    test_assert_code(OTOK_OK, test_refresh_code(f, held.token, NULL));
    test_close(f);
}
END_TEST

/* V1: a token with any character changed is an unknown string */
START_TEST(forged_token_is_success_and_touches_nothing)
{
    test_fixture *f = test_open(TEST_MEMORY);
    test_held held = test_hold(f, NULL, NULL);
    for (size_t i = 0; i < strlen(held.token); i++) {
        test_held forged = held;
        forged.token[i] = held.token[i] == 'A' ? 'B' : 'A';
        test_assert_code(OTOK_OK, test_revoke(f, forged.token, NULL));
    }
    ck_assert(test_has_session(f, held.session_id));
    test_assert_code(OTOK_OK, test_refresh_code(f, held.token, NULL));
    test_close(f);
}
END_TEST

/* V1 */
START_TEST(token_of_another_client_is_refused_and_untouched)
{
    static const int32_t types[] = {OTOK_CLIENT_PUBLIC, OTOK_CLIENT_CONFIDENTIAL};
    test_fixture *f = test_open(_i);
    test_held held = test_hold(f, NULL, NULL), old = held;
    test_rotate(f, &held, NULL);
    for (size_t i = 0; i < 2; i++) {
        test_assert_code(OTOK_E_UNAUTHORIZED_CLIENT, test_revoke_as(f, held.token, "tablet", types[i], NULL));
        test_assert_code(OTOK_E_UNAUTHORIZED_CLIENT, test_revoke_as(f, old.token, "tablet", types[i], NULL));
    }
    ck_assert_uint_eq(test_count_events(f, OTOK_EVENT_REVOKED), 0);
    test_assert_code(OTOK_OK, test_refresh_code(f, held.token, NULL));
    test_close(f);
}
END_TEST

static test_held hold_confidential(test_fixture *f)
{
    otok_grant grant = test_grant("alice", "backend", "offline_access profile");
    grant.client_type = OTOK_CLIENT_CONFIDENTIAL;
    return test_hold_grant(f, &grant);
}

/* V1 */
START_TEST(access_token_of_an_authenticated_client_ends_its_session)
{
    test_fixture *f = test_open(_i);
    test_held held = hold_confidential(f);
    test_assert_code(OTOK_E_UNAUTHORIZED_CLIENT,
                     test_revoke_as(f, held.access_token, "other", OTOK_CLIENT_CONFIDENTIAL, NULL));
    ck_assert(test_has_session(f, held.session_id));
    test_assert_code(OTOK_OK, test_revoke_as(f, held.access_token, "backend", OTOK_CLIENT_CONFIDENTIAL, NULL));
    ck_assert(!test_has_session(f, held.session_id));
    ck_assert_uint_eq(test_count_reasons(f, OTOK_EVENT_REVOKED, OTOK_REVOKED_BY_TOKEN, held.session_id), 1);
    test_assert_code(OTOK_E_TOKEN_UNKNOWN, test_refresh_code(f, held.token, "backend"));
    test_close(f);
}
END_TEST

/* V1 */
START_TEST(access_token_is_not_revoked_where_the_policy_or_the_client_type_forbids)
{
    test_fixture *f = test_open(_i);
    test_held held = hold_confidential(f);
    test_assert_code(OTOK_E_TOKEN_TYPE, test_revoke_as(f, held.access_token, "backend", OTOK_CLIENT_PUBLIC, NULL));
    ck_assert(test_has_session(f, held.session_id));
    f->policy.access_token_revocation = OTOK_OFF;
    test_reopen_service(f);
    test_assert_code(OTOK_E_TOKEN_TYPE,
                     test_revoke_as(f, held.access_token, "backend", OTOK_CLIENT_CONFIDENTIAL, NULL));
    ck_assert(test_has_session(f, held.session_id));
    test_assert_code(OTOK_OK, test_revoke_as(f, held.token, "backend", OTOK_CLIENT_CONFIDENTIAL, NULL));
    ck_assert(!test_has_session(f, held.session_id));
    test_close(f);
}
END_TEST

/* V1: of a forged access token nothing is believed */
START_TEST(damaged_access_token_is_an_unknown_string)
{
    test_fixture *f = test_open(TEST_MEMORY);
    test_held held = hold_confidential(f);
    for (size_t i = 0; i < strlen(held.access_token); i += 3) {
        test_held forged = held;
        forged.access_token[i] = held.access_token[i] == 'A' ? 'B' : 'A';
        test_assert_code(OTOK_OK, test_revoke_as(f, forged.access_token, "backend", OTOK_CLIENT_CONFIDENTIAL, NULL));
        ck_assert_msg(test_has_session(f, held.session_id), "character %zu", i);
    }
    test_close(f);
}
END_TEST

static test_held hold_bound(test_fixture *f)
{
    otok_peer peer;
    otok_grant grant = test_grant(NULL, NULL, "offline_access");
    otok_peer_init(&peer, sizeof peer);
    peer.jkt = TEST_JKT;
    grant.peer = &peer;
    grant.binding = OTOK_BINDING_JKT;
    return test_hold_grant(f, &grant);
}

/* V1 */
START_TEST(bound_token_needs_no_proof_but_not_a_wrong_one)
{
    static const char *const good[] = {NULL, TEST_JKT};
    test_fixture *f = test_open(_i);
    for (size_t i = 0; i < 2; i++) {
        test_held held = hold_bound(f);
        test_assert_code(OTOK_E_SENDER, test_revoke_as(f, held.token, NULL, OTOK_CLIENT_PUBLIC, TEST_OTHER_JKT));
        ck_assert(test_has_session(f, held.session_id));
        test_assert_code(OTOK_OK, test_revoke_as(f, held.token, NULL, OTOK_CLIENT_PUBLIC, good[i]));
        ck_assert(!test_has_session(f, held.session_id));
    }
    test_close(f);
}
END_TEST

/* V2 */
START_TEST(session_is_revoked_by_its_id_once)
{
    otok_error err;
    test_fixture *f = test_open(_i);
    test_held held = test_hold(f, NULL, NULL), other = test_hold(f, NULL, NULL);
    test_assert_code(OTOK_OK, otok_revoke_session(f->service, held.session_id, &err));
    assert_revoked_event(f, &held, OTOK_REVOKED_BY_SESSION);
    assert_ended(f, &held);
    test_assert_code(OTOK_E_NOT_FOUND, otok_revoke_session(f->service, held.session_id, &err));
    ck_assert_uint_eq(test_count_events(f, OTOK_EVENT_REVOKED), 1);
    test_assert_code(OTOK_OK, test_refresh_code(f, other.token, NULL));
    test_close(f);
}
END_TEST

/* V2 */
START_TEST(session_ids_that_are_none_are_refused)
{
    const char *const ids[] = {NULL,
                               "",
                               "x",
                               "AAAAAAAAAAAAAAAAAAAAA",
                               "AAAAAAAAAAAAAAAAAAAAAAA",
                               "AAAAAAAAAAAAAAAAAAAAA ",
                               "AAAAAAAAAAAAAAAAAAAAA=",
                               "AAAAAAAAAAAAAAAAAAAAAB"};
    test_fixture *f = test_open(TEST_MEMORY);
    for (size_t i = 0; i < sizeof ids / sizeof *ids; i++) {
        otok_error err;
        int rc = otok_revoke_session(f->service, ids[i], &err);
        ck_assert_msg(rc == OTOK_E_INVALID || (ids[i] != NULL && rc == OTOK_E_NOT_FOUND), "id %zu: %s", i,
                      otok_error_name(rc));
    }
    test_close(f);
}
END_TEST

static int by_token(test_fixture *f, const test_held *held)
{
    return test_revoke(f, held->token, NULL);
}

static int by_access_token(test_fixture *f, const test_held *held)
{
    return test_revoke_as(f, held->access_token, NULL, OTOK_CLIENT_CONFIDENTIAL, NULL);
}

static int by_session(test_fixture *f, const test_held *held)
{
    otok_error err;
    return otok_revoke_session(f->service, held->session_id, &err);
}

static int by_filter(test_fixture *f, const test_held *held)
{
    otok_error err;
    otok_filter filter = test_filter("alice", NULL, NULL);
    (void)held;
    return otok_revoke_matching(f->service, &filter, NULL, &err);
}

static int by_cutoff(test_fixture *f, const test_held *held)
{
    otok_error err;
    otok_filter filter = test_filter("alice", "phone", NULL);
    (void)held;
    return otok_cutoff_set(f->service, &filter, OTOK_NOW, NULL, &err);
}

typedef int (*ending)(test_fixture *, const test_held *);
static const ending endings[] = {by_token, by_access_token, by_session, by_filter, by_cutoff};
enum { ENDINGS = sizeof endings / sizeof *endings };

/* The at-th call of the store fails during `end`: then success is a lie, unless the session is dead.  Tells if it came to it. */
static bool fail_at(test_fixture *f, test_watch *watch, ending end, uint64_t at, int code, bool done)
{
    test_held held = test_hold(f, NULL, NULL);
    test_watch_fail(watch, at, TEST_CALL_ANY, code, done);
    int rc = end(f, &held);
    bool reached = watch->reached;
    test_watch_reset(watch);
    if (rc == OTOK_OK)
        ck_assert_msg(test_refresh_code(f, held.token, NULL) != OTOK_OK, "call %u failed with %s, yet it says OTOK_OK",
                      (unsigned)at, otok_error_name(code));
    for (int i = 0; i < 3 && rc != OTOK_OK && rc != OTOK_E_NOT_FOUND; i++)
        rc = end(f, &held);
    ck_assert_msg(rc == OTOK_OK || rc == OTOK_E_NOT_FOUND, "%s when tried again", otok_error_name(rc));
    ck_assert_int_ne(test_refresh_code(f, held.token, NULL), OTOK_OK);
    return reached;
}

/* V1, V2: each call of the store, each way to fail, each way to end a session (CVE-2020-15223) */
START_TEST(store_failure_is_never_success)
{
    static const int codes[] = {OTOK_E_IO, OTOK_E_BUSY, OTOK_E_FULL, OTOK_E_NOMEM, OTOK_E_UNCERTAIN};
    test_fixture *f = test_open(TEST_MEMORY);
    test_watch watch;
    test_watch_fixture(&watch, f);
    for (size_t i = 0; i < sizeof codes / sizeof *codes; i++) {
        uint64_t at = 1;
        while (fail_at(f, &watch, endings[_i], at, codes[i], false))
            at++;
        ck_assert_uint_gt(at, 1);
    }
    for (uint64_t at = 1; fail_at(f, &watch, endings[_i], at, OTOK_E_UNCERTAIN, true); at++)
        continue;
    test_close(f);
}
END_TEST

/* V1: a store that stays away */
START_TEST(store_that_is_down_is_reported_and_the_session_lives_on)
{
    static const int codes[] = {OTOK_E_IO, OTOK_E_BUSY, OTOK_E_UNCERTAIN, OTOK_E_FULL, OTOK_E_CONFLICT};
    static const int kinds[] = {TEST_CALL_ANY, TEST_CALL_COMMIT};
    test_fixture *f = test_open(TEST_MEMORY);
    test_watch watch;
    test_watch_fixture(&watch, f);
    test_held held = test_hold(f, NULL, NULL);
    for (size_t i = 0; i < 10; i++) {
        test_watch_fail(&watch, 1, kinds[i % 2], codes[i / 2], false);
        watch.on_and_on = true;
        if (codes[i / 2] == OTOK_E_CONFLICT)
            watch.kinds = TEST_CALL_COMMIT;
        test_assert_code(codes[i / 2], endings[_i](f, &held));
        test_watch_reset(&watch);
        test_assert_code(OTOK_OK, test_refresh_code(f, held.token, NULL));
        ck_assert_uint_eq(test_count_events(f, OTOK_EVENT_REVOKED), 0);
    }
    test_close(f);
}
END_TEST

typedef struct intruder {
    test_fixture *node;
    test_held held;
    int rotated;
} intruder;

static void refresh_meanwhile(void *arg)
{
    intruder *in = arg;
    in->rotated += test_refresh_held(in->node, &in->held, NULL) == OTOK_OK;
}

/* V1, V5: the revocation meets a rotation that was faster; it must win in the end */
START_TEST(revocation_that_loses_the_race_to_a_rotation_still_ends_the_session)
{
    test_fixture *f = test_open(TEST_MEMORY);
    intruder in = {.node = test_open_node(f, NULL)};
    test_watch watch;
    test_watch_fixture(&watch, f);
    for (uint64_t at = 1;; at++) {
        in.held = test_hold(f, NULL, NULL);
        test_held old = in.held;
        test_advance_s(f, 60);
        test_advance_s(in.node, 60);
        test_watch_step_in(&watch, at, TEST_CALL_ANY, refresh_meanwhile, &in);
        test_assert_code(OTOK_OK, endings[_i](f, &old));
        if (!watch.reached)
            break;
        ck_assert_int_ne(test_refresh_code(f, in.held.token, NULL), OTOK_OK);
        ck_assert_int_ne(test_refresh_code(in.node, in.held.token, NULL), OTOK_OK);
    }
    ck_assert_int_ge(in.rotated, 1);
    test_close(in.node);
    test_close(f);
}
END_TEST

/* V1: "required" */
START_TEST(revocation_without_token_or_client_is_invalid)
{
    otok_error err;
    otok_revoke_request request;
    test_fixture *f = test_open(TEST_MEMORY);
    otok_revoke_request_init(&request, sizeof request);
    request.client_id = "phone";
    test_assert_code(OTOK_E_INVALID, otok_revoke_token(f->service, &request, &err));
    ck_assert_ptr_nonnull(strstr(err.message, "token"));
    request.token = "x";
    request.client_id = NULL;
    test_assert_code(OTOK_E_INVALID, otok_revoke_token(f->service, &request, &err));
    ck_assert_ptr_nonnull(strstr(err.message, "client_id"));
    test_assert_code(OTOK_E_INVALID, otok_revoke_token(f->service, NULL, NULL));
    test_close(f);
}
END_TEST

static void add_tests(TCase *tc)
{
    const TTest *const on_both[] = {current_token_ends_its_session_and_no_other,
                                    superseded_token_ends_its_session,
                                    expired_token_ends_its_session,
                                    revoking_again_succeeds_and_tells_of_it_once,
                                    unknown_string_is_success_and_touches_nothing,
                                    token_of_another_client_is_refused_and_untouched,
                                    access_token_of_an_authenticated_client_ends_its_session,
                                    access_token_is_not_revoked_where_the_policy_or_the_client_type_forbids,
                                    bound_token_needs_no_proof_but_not_a_wrong_one,
                                    session_is_revoked_by_its_id_once};
    test_add_on_both(tc, on_both, sizeof on_both / sizeof *on_both);
    tcase_add_test(tc, forged_token_is_success_and_touches_nothing);
    tcase_add_test(tc, damaged_access_token_is_an_unknown_string);
    tcase_add_test(tc, session_ids_that_are_none_are_refused);
    tcase_add_test(tc, revocation_without_token_or_client_is_invalid);
    tcase_add_loop_test(tc, store_failure_is_never_success, 0, ENDINGS);
    tcase_add_loop_test(tc, store_that_is_down_is_reported_and_the_session_lives_on, 0, ENDINGS);
    tcase_add_loop_test(tc, revocation_that_loses_the_race_to_a_rotation_still_ends_the_session, 0, ENDINGS);
}

int main(void)
{
    return test_main("revoke", add_tests);
}
