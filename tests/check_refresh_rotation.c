/*
 * check_refresh_rotation.c - rotation, retries, reuse and restored backups as a client and the host's events see them.
 * The truth table is in check_rotation.c.
 *
 * SPDX-License-Identifier: MIT
 */
#include "support/story.h"

#include <string.h>

#include "support/records.h"
#include "support/watch.h"

static test_fixture *open_with(int32_t rotation, int32_t reuse)
{
    test_fixture *f = test_open(TEST_MEMORY);
    f->policy.rotation = rotation;
    f->policy.reuse = reuse;
    test_reopen_service(f);
    return f;
}

/* ----------------------------------------------------------------------------------------------------- T1: rotation */

/* T1: never, always, auto, for each kind of client, as a request sees it. */
START_TEST(token_rotates_as_policy_and_client_say)
{
    static const struct {
        int32_t rotation, client_type;
        bool bound, rotates;
    } rows[] = {
        {OTOK_ROTATION_DEFAULT, OTOK_CLIENT_PUBLIC, false, true},
        {OTOK_ROTATION_DEFAULT, OTOK_CLIENT_PUBLIC, true, false},
        {OTOK_ROTATION_DEFAULT, OTOK_CLIENT_CONFIDENTIAL, false, false},
        {OTOK_ROTATION_NEVER, OTOK_CLIENT_PUBLIC, false, false},
        {OTOK_ROTATION_ALWAYS, OTOK_CLIENT_CONFIDENTIAL, false, true},
        {OTOK_ROTATION_ALWAYS, OTOK_CLIENT_PUBLIC, true, true},
        {OTOK_ROTATION_AUTO, OTOK_CLIENT_PUBLIC, false, true},
    };
    otok_peer peer = test_peer(TEST_JKT, NULL, NULL, NULL);
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        test_fixture *f = open_with(rows[i].rotation, 0);
        otok_grant grant = test_grant(NULL, NULL, NULL);
        grant.client_type = rows[i].client_type;
        grant.binding = rows[i].bound ? OTOK_BINDING_JKT : OTOK_BINDING_NONE;
        grant.peer = &peer;
        const otok_tokens *tokens = test_granted(f, &grant);
        otok_refresh_request request = test_refresh_request(tokens->offline_token, NULL);
        request.client_type = rows[i].client_type;
        request.peer = &peer;
        test_advance_s(f, 3600);
        const otok_tokens *next = test_answered(f, &request);
        ck_assert_int_eq(next->outcome, rows[i].rotates ? OTOK_OUTCOME_ADVANCED : OTOK_OUTCOME_KEPT);
        ck_assert_uint_eq(next->generation, rows[i].rotates);
        ck_assert_int_eq(strcmp(next->offline_token, tokens->offline_token) != 0, rows[i].rotates);
        const test_event *e = test_last_event(f, OTOK_EVENT_REFRESHED);
        ck_assert_uint_eq(e->event.generation, next->generation);
        test_end(f);
    }
}
END_TEST

/* T1: switching either way logs nobody out and never makes a superseded token valid again. */
START_TEST(rotation_switched_on_off_on_neither_logs_out_nor_revives)
{
    test_fixture *f = open_with(OTOK_ROTATION_ALWAYS, OTOK_REUSE_REJECT);
    const otok_tokens *first = test_began(f), *tokens = test_rotated(f, first, 3);
    for (int i = 0; i < 6; i++) {
        f->policy.rotation = i % 2 == 0 ? OTOK_ROTATION_NEVER : OTOK_ROTATION_ALWAYS;
        test_reopen_service(f);
        test_advance_s(f, 60);
        const otok_tokens *superseded = tokens;
        tokens = test_next(f, tokens->offline_token);
        ck_assert_int_eq(tokens->outcome, i % 2 == 0 ? OTOK_OUTCOME_KEPT : OTOK_OUTCOME_ADVANCED);
        test_advance_s(f, 60);
        test_dead(f, first->offline_token, OTOK_E_TOKEN_REUSED);
        if (i % 2 == 1)
            test_dead(f, superseded->offline_token, OTOK_E_TOKEN_REUSED);
    }
    test_end(f);
}
END_TEST

/* T1: switched off within the window, a lost response is still harmless. */
START_TEST(lost_response_is_harmless_when_rotation_was_switched_off_meanwhile)
{
    test_fixture *f = open_with(OTOK_ROTATION_ALWAYS, 0);
    const otok_tokens *first = test_rotated(f, test_began(f), 1), *lost = test_rotated(f, first, 2);
    f->policy.rotation = OTOK_ROTATION_NEVER;
    test_reopen_service(f);
    test_expect_same(test_next(f, first->offline_token), lost);
    test_end(f);
}
END_TEST

static void to_last_but_one(otok_head *head)
{
    head->generation = UINT32_MAX - 1;
}

/* T1: at the last generation it stops advancing; it never wraps. */
START_TEST(last_generation_is_kept_for_ever)
{
    test_fixture *f = open_with(OTOK_ROTATION_ALWAYS, 0);
    const otok_tokens *first = test_began(f);
    char text[OTOK_TOKEN_CHARS + 1];
    otok_presented presented;
    ck_assert(otok_token_parse(first->offline_token, &presented));
    presented.token.generation = UINT32_MAX - 1;
    test_assert_code(OTOK_OK,
                     otok_token_print(&presented.token, otok_service_now_keys(f->service)->active->token, text, NULL));
    test_change_head(f->store, first->session_id, to_last_but_one);
    test_advance_s(f, 60);
    const otok_tokens *last = test_next(f, text);
    ck_assert_int_eq(last->outcome, OTOK_OUTCOME_ADVANCED);
    ck_assert_uint_eq(last->generation, UINT32_MAX);
    for (int i = 0; i < 3; i++) {
        test_advance_s(f, 3600);
        const otok_tokens *again = test_next(f, last->offline_token);
        ck_assert_int_eq(again->outcome, OTOK_OUTCOME_KEPT);
        test_expect_same(again, last);
    }
    test_dead(f, first->offline_token, OTOK_E_TOKEN_REUSED);
    test_end(f);
}
END_TEST

/* ------------------------------------------------------------------------------------------------------ T2: retries */

/* T2 */
START_TEST(refresh_after_lost_response_returns_same_successor)
{
    test_fixture *f = open_with(OTOK_ROTATION_ALWAYS, 0);
    const otok_tokens *first = test_began(f), *lost = test_rotated(f, first, 1);
    for (int i = 0; i < 5; i++) { /* at 0, 2, 4, 6 and 8 seconds */
        const otok_tokens *again = test_next(f, first->offline_token);
        ck_assert_int_eq(again->outcome, OTOK_OUTCOME_RETRIED);
        test_expect_same(again, lost);
        ck_assert_str_ne(again->access_token, lost->access_token);
        test_advance_s(f, 2);
    }
    ck_assert_uint_eq(test_count_events(f, OTOK_EVENT_RETRIED), 5);
    ck_assert_uint_eq(test_last_event(f, OTOK_EVENT_RETRIED)->event.generation, 1);
    (void)test_rotated(f, lost, 2);
    test_end(f);
}
END_TEST

/* T2: the window does not slide, and skew is forgiven: at 12 s still, a second later no more. */
START_TEST(retry_window_ends_on_time_however_often_it_was_used)
{
    test_fixture *f = open_with(OTOK_ROTATION_ALWAYS, OTOK_REUSE_REJECT);
    const otok_tokens *first = test_began(f), *lost = test_rotated(f, first, 1);
    for (int i = 0; i < 12; i++) {
        test_expect_same(test_next(f, first->offline_token), lost);
        test_advance_s(f, 1);
    }
    test_advance_s(f, 1);
    test_dead(f, first->offline_token, OTOK_E_TOKEN_REUSED);
    test_end(f);
}
END_TEST

/* T2: "it closes by itself once the successor is rotated". */
START_TEST(retry_window_closes_when_the_successor_is_rotated)
{
    test_fixture *f = open_with(OTOK_ROTATION_ALWAYS, 0);
    f->policy.retry_window_s = OTOK_UNLIMITED;
    f->policy.retry_limit = 10;
    test_reopen_service(f);
    const otok_tokens *first = test_began(f), *second = test_rotated(f, first, 1);
    test_expect_same(test_next(f, first->offline_token), second);
    (void)test_rotated(f, second, 2);
    test_dead(f, first->offline_token, OTOK_E_TOKEN_REUSED);
    test_end(f);
}
END_TEST

/* T2: over the limit, inside the window, refused without ending; a limit without a window is Keycloak's Max Reuse. */
START_TEST(retries_over_the_limit_are_refused_and_end_nothing)
{
    test_fixture *f = open_with(OTOK_ROTATION_ALWAYS, 0);
    f->policy.retry_window_s = _i == 0 ? 0 : OTOK_UNLIMITED;
    f->policy.retry_limit = 3;
    test_reopen_service(f);
    const otok_tokens *tokens = test_began(f);
    for (uint32_t generation = 1; generation <= 2; generation++) { /* the count begins anew with each generation */
        const otok_tokens *superseded = tokens;
        tokens = test_rotated(f, tokens, generation);
        test_advance_s(f, _i == 0 ? 1 : 7 * TEST_DAY_S);
        for (int i = 0; i < 3; i++)
            test_expect_same(test_next(f, superseded->offline_token), tokens);
        otok_refresh_request request = test_refresh_request(superseded->offline_token, NULL);
        test_refused_untouched(f, &request, OTOK_E_TOKEN_RETRIES);
        test_refused_untouched(f, &request, OTOK_E_TOKEN_RETRIES);
        ck_assert_int_eq(test_last_event(f, OTOK_EVENT_REFUSED)->event.reason, OTOK_E_TOKEN_RETRIES);
    }
    ck_assert_str_eq(otok_error_oauth(OTOK_E_TOKEN_RETRIES), "invalid_grant");
    (void)test_rotated(f, tokens, 3);
    test_end(f);
}
END_TEST

/* T2: expiry and cutoffs come first, in the window too. */
START_TEST(retry_of_a_dead_session_is_refused)
{
    test_fixture *f = open_with(OTOK_ROTATION_ALWAYS, 0);
    const otok_tokens *first = test_began(f);
    otok_filter alice = test_filter("alice", NULL, NULL);
    otok_refresh_request request = test_refresh_request(first->offline_token, NULL);
    (void)test_rotated(f, first, 1);
    f->policy.max_lifetime_s = 59;
    test_reopen_service(f);
    test_refused_untouched(f, &request, OTOK_E_TOKEN_EXPIRED);
    f->policy.max_lifetime_s = 0;
    test_reopen_service(f);
    (void)test_next(f, first->offline_token);
    test_assert_code(OTOK_OK, otok_cutoff_set(f->service, &alice, OTOK_NOW, NULL, NULL));
    test_refused_untouched(f, &request, OTOK_E_TOKEN_REVOKED);
    test_end(f);
}
END_TEST

/* T2: a lost response after a restart of the server, from disk. */
START_TEST(lost_response_is_harmless_over_a_restart)
{
    test_fixture *f = test_open(TEST_LMDB);
    const otok_tokens *first = test_began(f), *lost = test_rotated(f, first, 1);
    test_restart(f);
    test_expect_same(test_next(f, first->offline_token), lost);
    test_advance_s(f, 60);
    test_restart(f);
    test_dead(f, first->offline_token, OTOK_E_TOKEN_REUSED); /* CVE-2026-9802 of Keycloak */
    test_end(f);
}
END_TEST

/* T2 E1: a retry from elsewhere is answered, and marked. */
START_TEST(retry_from_another_address_or_agent_is_marked)
{
    static const struct {
        const char *ip, *user_agent;
        uint32_t marks;
    } rows[] = {
        {"192.0.2.1", "agent/1", 0},
        {"192.0.2.2", "agent/1", OTOK_EVENT_OTHER_IP},
        {"192.0.2.1", "agent/2", OTOK_EVENT_OTHER_USER_AGENT},
        {"2001:db8::1", "agent/2", OTOK_EVENT_OTHER_IP | OTOK_EVENT_OTHER_USER_AGENT},
    };
    test_fixture *f = open_with(OTOK_ROTATION_ALWAYS, 0);
    const otok_tokens *first = test_began(f); /* from nowhere: the rotation's peer counts */
    otok_refresh_request request = test_refresh_request(first->offline_token, NULL);
    otok_peer own = test_peer(NULL, NULL, "192.0.2.1", "agent/1");
    request.peer = &own;
    test_advance_s(f, 60);
    (void)test_answered(f, &request);
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        otok_peer peer = test_peer(NULL, NULL, rows[i].ip, rows[i].user_agent);
        request.peer = &peer;
        (void)test_answered(f, &request);
        const otok_event *e = &test_last_event(f, OTOK_EVENT_RETRIED)->event;
        ck_assert_uint_eq(e->marks, rows[i].marks);
        ck_assert_str_eq(e->ip, rows[i].ip);
        ck_assert_str_eq(e->user_agent, rows[i].user_agent);
    }
    test_end(f);
}
END_TEST

/* -------------------------------------------------------------------------------------------------------- T3: reuse */

/* T3 E1 */
START_TEST(reuse_event_names_who_where_and_how_far_behind)
{
    test_fixture *f = open_with(OTOK_ROTATION_ALWAYS, OTOK_REUSE_REJECT);
    const otok_tokens *tokens[6];
    otok_peer peer = test_peer(NULL, NULL, "203.0.113.9", "thief/1");
    tokens[0] = test_began(f);
    for (uint32_t i = 1; i < 6; i++)
        tokens[i] = test_rotated(f, tokens[i - 1], i);
    test_advance_s(f, 60);
    for (uint32_t i = 0; i < 5; i++) {
        otok_refresh_request request = test_refresh_request(tokens[i]->offline_token, NULL);
        request.peer = &peer;
        test_refused(f, &request, OTOK_E_TOKEN_REUSED);
        const otok_event *e = &test_last_event(f, OTOK_EVENT_REUSE)->event;
        ck_assert_uint_eq(e->distance, 5 - i);
        ck_assert_str_eq(e->session_id, tokens[0]->session_id);
        ck_assert_str_eq(e->subject, "alice");
        ck_assert_str_eq(e->client_id, "phone");
        ck_assert_str_eq(e->ip, "203.0.113.9");
        ck_assert_str_eq(e->user_agent, "thief/1");
        ck_assert_uint_eq(e->generation, 5);
    }
    test_end(f);
}
END_TEST

typedef struct family {
    const otok_tokens *first, *current, *sibling, *other_client, *other_subject;
} family;

static family found_family(test_fixture *f)
{
    family all;
    otok_grant laptop = test_grant("alice", "laptop", NULL), bob = test_grant("bob", "phone", NULL);
    all.sibling = test_began(f);
    all.other_client = test_granted(f, &laptop);
    all.other_subject = test_granted(f, &bob);
    all.first = test_began(f);
    all.current = test_rotated(f, all.first, 2);
    test_advance_s(f, 60);
    return all;
}

static int code_for(test_fixture *f, const otok_tokens *tokens, const char *client_id)
{
    return test_refresh_code(f, tokens->offline_token, client_id);
}

/* T3: reject, end the session (default), end the pair; sessions of others survive each. */
START_TEST(reuse_does_what_the_policy_says_and_spares_the_others)
{
    static const struct {
        int32_t reuse;
        bool session_lives, sibling_lives;
        size_t revoked;
    } rows[] = {
        {OTOK_REUSE_REJECT, true, true, 0},
        {OTOK_REUSE_DEFAULT, false, true, 1},
        {OTOK_REUSE_END_SESSION, false, true, 1},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        test_fixture *f = open_with(OTOK_ROTATION_ALWAYS, rows[i].reuse);
        family all = found_family(f);
        test_dead(f, all.first->offline_token, OTOK_E_TOKEN_REUSED);
        ck_assert_uint_eq(test_count_reasons(f, OTOK_EVENT_REVOKED, OTOK_REVOKED_BY_REUSE, all.first->session_id),
                          rows[i].revoked);
        ck_assert_uint_eq(test_count_events(f, OTOK_EVENT_REUSE), 1);
        test_assert_code(rows[i].session_lives ? OTOK_OK : OTOK_E_TOKEN_UNKNOWN, code_for(f, all.current, "phone"));
        test_assert_code(rows[i].sibling_lives ? OTOK_OK : OTOK_E_TOKEN_UNKNOWN, code_for(f, all.sibling, "phone"));
        test_assert_code(OTOK_OK, code_for(f, all.other_client, "laptop"));
        test_assert_code(OTOK_OK, code_for(f, all.other_subject, "phone"));
        test_end(f);
    }
}
END_TEST

static bool is_dead(int code)
{
    return code == OTOK_E_TOKEN_REVOKED || code == OTOK_E_TOKEN_UNKNOWN;
}

/* T3: all sessions of that subject and client, and a new one of theirs lives, though it is the same microsecond. */
START_TEST(reuse_can_end_all_sessions_of_the_pair)
{
    test_fixture *f = open_with(OTOK_ROTATION_ALWAYS, OTOK_REUSE_END_PAIR);
    family all = found_family(f);
    test_dead(f, all.first->offline_token, OTOK_E_TOKEN_REUSED);
    const otok_tokens *anew = test_began(f);
    ck_assert(is_dead(code_for(f, all.current, "phone")));
    ck_assert(is_dead(code_for(f, all.sibling, "phone")));
    test_assert_code(OTOK_OK, code_for(f, all.other_client, "laptop"));
    test_assert_code(OTOK_OK, code_for(f, all.other_subject, "phone"));
    test_assert_code(OTOK_OK, code_for(f, anew, "phone"));
    test_end(f);
}
END_TEST

/* T3: "(one write)": whatever the number of sessions. */
START_TEST(reuse_ends_the_pair_in_a_number_of_commits_that_does_not_grow)
{
    uint64_t commits[2];
    for (int i = 0; i < 2; i++) {
        test_watch watch;
        test_fixture *f = open_with(OTOK_ROTATION_ALWAYS, OTOK_REUSE_END_PAIR);
        test_watch_fixture(&watch, f);
        family all = found_family(f);
        for (int j = 0; j < i * 100; j++)
            (void)test_began(f);
        test_watch_reset(&watch);
        test_dead(f, all.first->offline_token, OTOK_E_TOKEN_REUSED);
        commits[i] = watch.commits;
        test_end(f);
    }
    ck_assert_uint_eq(commits[0], commits[1]);
    ck_assert_uint_le(commits[0], 2);
}
END_TEST

/* T3 T4: over the whole life of a session, and with REJECT each time anew. */
START_TEST(every_older_token_is_reuse_however_many_there_are)
{
    enum { N = 300 };
    const otok_tokens *tokens[N];
    test_fixture *f = open_with(OTOK_ROTATION_ALWAYS, OTOK_REUSE_REJECT);
    f->policy.access_token = OTOK_OFF;
    test_reopen_service(f);
    tokens[0] = test_began(f);
    for (uint32_t i = 1; i < N; i++)
        tokens[i] = test_rotated(f, tokens[i - 1], i);
    test_advance_s(f, 20 * TEST_DAY_S);
    for (size_t i = 0; i < N - 1; i++)
        test_dead(f, tokens[i]->offline_token, OTOK_E_TOKEN_REUSED);
    (void)test_next(f, tokens[N - 1]->offline_token);
    test_end(f);
}
END_TEST

static void add_tests(TCase *tcase)
{
    tcase_add_test(tcase, token_rotates_as_policy_and_client_say);
    tcase_add_test(tcase, rotation_switched_on_off_on_neither_logs_out_nor_revives);
    tcase_add_test(tcase, lost_response_is_harmless_when_rotation_was_switched_off_meanwhile);
    tcase_add_test(tcase, last_generation_is_kept_for_ever);
    tcase_add_test(tcase, refresh_after_lost_response_returns_same_successor);
    tcase_add_test(tcase, retry_window_ends_on_time_however_often_it_was_used);
    tcase_add_test(tcase, retry_window_closes_when_the_successor_is_rotated);
    tcase_add_loop_test(tcase, retries_over_the_limit_are_refused_and_end_nothing, 0, 2);
    tcase_add_test(tcase, retry_of_a_dead_session_is_refused);
    tcase_add_test(tcase, lost_response_is_harmless_over_a_restart);
    tcase_add_test(tcase, retry_from_another_address_or_agent_is_marked);
    tcase_add_test(tcase, reuse_event_names_who_where_and_how_far_behind);
    tcase_add_test(tcase, reuse_does_what_the_policy_says_and_spares_the_others);
    tcase_add_test(tcase, reuse_can_end_all_sessions_of_the_pair);
    tcase_add_test(tcase, reuse_ends_the_pair_in_a_number_of_commits_that_does_not_grow);
    tcase_add_test(tcase, every_older_token_is_reuse_however_many_there_are);
}

int main(void)
{
    return test_main("refresh_rotation", add_tests);
}
