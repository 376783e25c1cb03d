/*
 * check_refresh_store.c - refreshes that meet each other, stores that fail or cannot tell, signatures that fail, and
 * how little is written.
 *
 * SPDX-License-Identifier: MIT
 */
#include "support/story.h"

#include <string.h>

#include "support/records.h"
#include "support/watch.h"

typedef struct scene {
    test_fixture *f;
    test_watch watch;
    const otok_tokens *tokens;
    const otok_tokens *other; /* what the one who stepped in got */
    int left;                 /* how often something is still to happen */
} scene;

static void set_scene(scene *s, int32_t rotation)
{
    memset(s, 0, sizeof *s);
    s->f = test_open(TEST_MEMORY);
    s->f->policy.rotation = rotation;
    test_watch_fixture(&s->watch, s->f);
    s->tokens = test_began(s->f);
    test_advance_s(s->f, 60);
    test_forget_events(s->f);
    test_watch_reset(&s->watch);
}

/* ------------------------------------------------------------------------------------------- R6: meeting each other */

static void refresh_first(void *arg)
{
    scene *s = arg;
    s->other = test_next(s->f, s->tokens->offline_token);
}

/* R6: whoever comes between, before the first look at the session or just before the commit, both get one successor. */
START_TEST(refresh_that_is_overtaken_gets_the_same_successor)
{
    scene s;
    set_scene(&s, OTOK_ROTATION_ALWAYS);
    test_watch_step_in(&s.watch, 1, _i == 0 ? TEST_CALL_FETCH : TEST_CALL_COMMIT, refresh_first, &s);
    const otok_tokens *late = test_next(s.f, s.tokens->offline_token);
    ck_assert(s.watch.reached);
    ck_assert_int_eq(s.other->outcome, OTOK_OUTCOME_ADVANCED);
    ck_assert_int_eq(late->outcome, OTOK_OUTCOME_RETRIED);
    ck_assert_uint_eq(late->generation, s.tokens->generation + 1);
    test_expect_same(s.other, late);
    ck_assert_uint_eq(test_count_events(s.f, OTOK_EVENT_REFRESHED), 1);
    ck_assert_uint_eq(test_count_events(s.f, OTOK_EVENT_RETRIED), 1);
    test_end(s.f);
}
END_TEST

/* R6: each of many is overtaken just before its commit by the next. */
static void overtake(void *arg)
{
    scene *s = arg;
    if (s->left-- > 0) {
        test_watch_step_in(&s->watch, 1, TEST_CALL_COMMIT, overtake, s);
        const otok_tokens *mine = test_next(s->f, s->tokens->offline_token);
        ck_assert_uint_eq(mine->generation, s->tokens->generation + 1);
        if (s->other != NULL)
            test_expect_same(s->other, mine);
        s->other = mine;
    }
}

START_TEST(nested_refreshes_move_the_session_by_one_generation)
{
    scene s;
    set_scene(&s, OTOK_ROTATION_ALWAYS);
    s.left = 20;
    test_watch_step_in(&s.watch, 1, TEST_CALL_COMMIT, overtake, &s);
    const otok_tokens *last = test_next(s.f, s.tokens->offline_token);
    test_expect_same(last, s.other);
    ck_assert_uint_eq(test_count_events(s.f, OTOK_EVENT_REFRESHED), 1);
    ck_assert_uint_eq(test_count_events(s.f, OTOK_EVENT_RETRIED), 20);
    ck_assert_uint_eq(test_count_events(s.f, OTOK_EVENT_REUSE), 0);
    test_end(s.f);
}
END_TEST

static void revoke_first(void *arg)
{
    scene *s = arg;
    test_assert_code(OTOK_OK, otok_revoke_session(s->f->service, s->tokens->session_id, NULL));
}

/* V5: a racing refresh cannot bring a session back. */
START_TEST(refresh_overtaken_by_a_revocation_is_refused_and_revives_nothing)
{
    scene s;
    set_scene(&s, _i == 0 ? OTOK_ROTATION_ALWAYS : OTOK_ROTATION_NEVER);
    test_advance_s(s.f, 600); /* so that without rotation there is a touch to write */
    test_watch_step_in(&s.watch, 1, TEST_CALL_COMMIT, revoke_first, &s);
    test_dead(s.f, s.tokens->offline_token, OTOK_E_TOKEN_UNKNOWN);
    ck_assert(s.watch.reached);
    ck_assert(test_session_record(s.f->store, s.tokens->session_id) == NULL);
    test_dead(s.f, s.tokens->offline_token, OTOK_E_TOKEN_UNKNOWN);
    test_end(s.f);
}
END_TEST

/* R6, T3: the same for the end of a session by reuse; it ends once. */
START_TEST(reuse_overtaken_by_a_revocation_is_refused_all_the_same)
{
    scene s;
    set_scene(&s, OTOK_ROTATION_ALWAYS);
    (void)test_next(s.f, s.tokens->offline_token);
    test_advance_s(s.f, 60);
    test_watch_step_in(&s.watch, 1, TEST_CALL_COMMIT, revoke_first, &s);
    otok_refresh_request request = test_refresh_request(s.tokens->offline_token, NULL);
    otok_tokens *tokens = NULL;
    int rc = otok_refresh(s.f->service, &request, &tokens, NULL);
    ck_assert_msg(rc == OTOK_E_TOKEN_REUSED || rc == OTOK_E_TOKEN_UNKNOWN, "%s", otok_error_name(rc));
    ck_assert_ptr_null(test_session_record(s.f->store, s.tokens->session_id));
    ck_assert_uint_eq(test_count_events(s.f, OTOK_EVENT_REVOKED), 1);
    test_end(s.f);
}
END_TEST

/* ------------------------------------------------------------------------------------------ R7: signing that fails */

static otok_pkey *public_half(const otok_pkey *key)
{
    otok_buf storage;
    otok_jwk_numbers numbers;
    otok_pkey *half = NULL;
    otok_buf_init(&storage, NULL, 0);
    test_assert_code(OTOK_OK, otok_pkey_numbers(key, false, &storage, &numbers, NULL));
    test_assert_code(OTOK_OK, otok_pkey_from_numbers(otok_pkey_algorithm(key), &numbers, &half, NULL));
    otok_buf_free(&storage);
    return half;
}

/* R7 */
START_TEST(failure_to_sign_leaves_the_session_as_it_was)
{
    test_fixture *f = test_open(TEST_MEMORY);
    const otok_tokens *tokens = test_began(f);
    otok_refresh_request request = test_refresh_request(tokens->offline_token, NULL);
    otok_grant grant = test_grant(NULL, NULL, NULL);
    otok_pkey *whole = f->keyring->signing[0].pkey, *half = public_half(whole);
    test_advance_s(f, 60);
    test_forget_events(f);
    f->keyring->signing[0].pkey = half; /* which cannot sign */
    test_refused_untouched(f, &request, OTOK_E_KEY);
    test_not_granted(f, &grant, OTOK_E_KEY, "");
    ck_assert_uint_eq(f->nevents, 0);
    f->keyring->signing[0].pkey = whole;
    ck_assert_int_eq(test_next(f, tokens->offline_token)->outcome, OTOK_OUTCOME_ADVANCED);
    otok_pkey_free(half);
    test_end(f);
}
END_TEST

/* ------------------------------------------------------------------------------------ R8: stores that cannot tell */

/* Done or not done, the client gets a code that says "again", and again gives it the successor, once and for all. */
START_TEST(uncertain_commit_is_retryable_and_the_retry_gives_the_successor)
{
    bool done = _i != 0;
    scene s;
    set_scene(&s, OTOK_ROTATION_ALWAYS);
    test_watch_fail(&s.watch, 1, TEST_CALL_COMMIT, OTOK_E_UNCERTAIN, done);
    test_dead(s.f, s.tokens->offline_token, OTOK_E_UNCERTAIN);
    ck_assert_int_eq(otok_error_http(OTOK_E_UNCERTAIN), 503);
    ck_assert_str_eq(otok_error_oauth(OTOK_E_UNCERTAIN), "temporarily_unavailable");
    test_advance_s(s.f, 9);
    const otok_tokens *next = test_next(s.f, s.tokens->offline_token);
    ck_assert_int_eq(next->outcome, done ? OTOK_OUTCOME_RETRIED : OTOK_OUTCOME_ADVANCED);
    ck_assert_uint_eq(next->generation, s.tokens->generation + 1);
    test_expect_same(test_next(s.f, s.tokens->offline_token), next);
    test_advance_s(s.f, 60);
    ck_assert_uint_eq(test_next(s.f, next->offline_token)->generation, s.tokens->generation + 2);
    test_end(s.f);
}
END_TEST

static const int troubles[] = {OTOK_E_UNCERTAIN, OTOK_E_BUSY, OTOK_E_IO, OTOK_E_FULL, OTOK_E_NOMEM, OTOK_E_STATE};
enum { NTROUBLES = sizeof troubles / sizeof troubles[0] };

/* R8, CVE-2020-15223: whatever fails in the store, at whichever call, it is never said of the token. */
START_TEST(trouble_of_the_store_is_never_blamed_on_the_token)
{
    int trouble = troubles[_i];
    scene s;
    set_scene(&s, OTOK_ROTATION_ALWAYS);
    uint64_t at = 1;
    do {
        uint64_t state = test_store_state(s.watch.inner);
        test_watch_fail(&s.watch, at, TEST_CALL_ANY, trouble, false);
        otok_refresh_request request = test_refresh_request(s.tokens->offline_token, NULL);
        otok_tokens *tokens = NULL;
        int rc = otok_refresh(s.f->service, &request, &tokens, NULL);
        otok_tokens_free(tokens);
        if (!s.watch.reached)
            break;
        test_assert_code(trouble, rc);
        ck_assert_int_ne(otok_error_http(rc), 400);
        ck_assert_uint_eq(state, test_store_state(s.watch.inner));
        ck_assert_uint_eq(test_count_events(s.f, OTOK_EVENT_REFRESHED), 0);
    } while (++at < 100);
    ck_assert_uint_ge(at, 3);
    test_watch_reset(&s.watch);
    ck_assert_int_eq(test_next(s.f, s.tokens->offline_token)->outcome, OTOK_OUTCOME_RETRIED);
    test_end(s.f);
}
END_TEST

/* R8, T3: nor is a session said to have ended that could not be ended; the next attempt ends it. */
START_TEST(reuse_that_cannot_be_written_is_not_answered_as_done)
{
    int trouble = troubles[_i];
    scene s;
    set_scene(&s, OTOK_ROTATION_ALWAYS);
    const otok_tokens *next = test_next(s.f, s.tokens->offline_token);
    test_advance_s(s.f, 60);
    test_watch_fail(&s.watch, 1, TEST_CALL_COMMIT, trouble, false);
    test_dead(s.f, s.tokens->offline_token, trouble);
    ck_assert_uint_eq(test_count_events(s.f, OTOK_EVENT_REVOKED), 0);
    test_dead(s.f, s.tokens->offline_token, OTOK_E_TOKEN_REUSED);
    test_dead(s.f, next->offline_token, OTOK_E_TOKEN_UNKNOWN);
    test_end(s.f);
}
END_TEST

/* R8, I6: nothing is handed out for a session that may not be there. */
START_TEST(trouble_at_issue_hands_out_nothing)
{
    int trouble = troubles[_i];
    scene s;
    set_scene(&s, OTOK_ROTATION_ALWAYS);
    otok_grant grant = test_grant(NULL, NULL, NULL);
    for (int done = 0; done < (trouble == OTOK_E_UNCERTAIN ? 2 : 1); done++) {
        otok_tokens *tokens = NULL;
        test_watch_fail(&s.watch, 1, TEST_CALL_COMMIT, trouble, done != 0);
        test_assert_code(trouble, otok_issue(s.f->service, &grant, &tokens, NULL));
        ck_assert(s.watch.reached);
        ck_assert_ptr_null(tokens);
        ck_assert_uint_eq(test_count_events(s.f, OTOK_EVENT_ISSUED), 0);
    }
    test_end(s.f);
}
END_TEST

/* Fails as many commits as are left, then lets them pass. */
static void storm(void *arg)
{
    scene *s = arg;
    if (s->left-- <= 0) {
        s->watch.fail = 0;
        s->watch.on_and_on = false;
        s->watch.at = 0;
    }
}

static void raise_storm(scene *s, int conflicts)
{
    s->left = conflicts;
    test_watch_fail(&s->watch, 1, TEST_CALL_COMMIT, OTOK_E_CONFLICT, false);
    s->watch.step_in = storm;
    s->watch.arg = s;
    s->watch.on_and_on = true;
}

/* R6 R8 */
START_TEST(conflicts_are_ridden_out_up_to_a_bound)
{
    scene s;
    set_scene(&s, OTOK_ROTATION_ALWAYS);
    raise_storm(&s, OTOK_ATTEMPTS + 100);
    test_dead(s.f, s.tokens->offline_token, OTOK_E_CONFLICT);
    ck_assert_uint_eq(s.watch.commits, OTOK_ATTEMPTS);
    ck_assert_int_eq(otok_error_http(OTOK_E_CONFLICT), 503);
    ck_assert_str_eq(otok_error_oauth(OTOK_E_CONFLICT), "temporarily_unavailable");
    raise_storm(&s, OTOK_ATTEMPTS - 1);
    ck_assert_int_eq(test_next(s.f, s.tokens->offline_token)->outcome, OTOK_OUTCOME_ADVANCED);
    ck_assert_uint_eq(test_count_events(s.f, OTOK_EVENT_REFRESHED), 1);
    test_end(s.f);
}
END_TEST

/* -------------------------------------------------------------------------------- R9, T1, T2: how little is written */

/* R9 */
START_TEST(without_rotation_last_use_is_written_once_a_touch_interval)
{
    scene s;
    set_scene(&s, OTOK_ROTATION_NEVER);
    for (int i = 0; i < 360; i++) {
        const otok_tokens *next = test_next(s.f, s.tokens->offline_token);
        ck_assert_int_eq(next->outcome, OTOK_OUTCOME_KEPT);
        test_expect_same(next, s.tokens);
        test_advance_s(s.f, 10);
    }
    ck_assert_uint_ge(s.watch.commits, 3600 / 300 - 1);
    ck_assert_uint_le(s.watch.commits, 3600 / 300 + 1);
    test_end(s.f);
}
END_TEST

/* R9 L1: used just before the touch interval ended, and then only after the whole idle timeout. */
START_TEST(unwritten_last_use_counts_in_the_clients_favour)
{
    scene s;
    set_scene(&s, OTOK_ROTATION_NEVER); /* a minute has passed */
    test_advance_s(s.f, 239);
    (void)test_next(s.f, s.tokens->offline_token);
    ck_assert_uint_eq(s.watch.commits, 0);
    test_advance_s(s.f, 30 * TEST_DAY_S);
    (void)test_next(s.f, s.tokens->offline_token);
    test_end(s.f);
}
END_TEST

/* T1: workers who share a token, and floods, cost nothing. */
START_TEST(flood_with_a_young_token_writes_nothing)
{
    scene s;
    set_scene(&s, OTOK_ROTATION_ALWAYS);
    const otok_tokens *next = test_next(s.f, s.tokens->offline_token);
    test_watch_reset(&s.watch);
    for (int i = 0; i < 100; i++) {
        const otok_tokens *same = test_next(s.f, next->offline_token);
        test_expect_same(same, next);
        ck_assert_int_eq(same->outcome, OTOK_OUTCOME_KEPT);
    }
    ck_assert_uint_eq(s.watch.commits, 0);
    test_end(s.f);
}
END_TEST

/* T2: a retry is read-only, unless retries are counted. */
START_TEST(retry_writes_nothing_but_a_counter_where_there_is_a_limit)
{
    scene s;
    set_scene(&s, OTOK_ROTATION_ALWAYS);
    s.f->policy.retry_limit = _i == 0 ? 0 : 100;
    test_reopen_service(s.f);
    (void)test_next(s.f, s.tokens->offline_token);
    uint64_t state = test_store_state(s.watch.inner);
    test_watch_reset(&s.watch);
    for (int i = 0; i < 10; i++)
        (void)test_next(s.f, s.tokens->offline_token);
    ck_assert_uint_eq(s.watch.commits, _i == 0 ? 0 : 10);
    ck_assert((state == test_store_state(s.watch.inner)) == (_i == 0));
    test_end(s.f);
}
END_TEST

/* T4: one record of one size, however often it rotated. */
START_TEST(rotations_do_not_make_the_store_grow)
{
    test_fixture *f = test_open(TEST_MEMORY);
    const otok_tokens *tokens = test_began(f);
    size_t records = test_count_records(f->store);
    otok_record *before = test_session_record(f->store, tokens->session_id);
    for (int i = 0; i < 1000; i++) {
        test_advance_s(f, 60);
        tokens = test_next(f, tokens->offline_token);
    }
    otok_record *after = test_session_record(f->store, tokens->session_id);
    ck_assert_uint_eq(tokens->generation, 1000);
    ck_assert_uint_eq(records, test_count_records(f->store));
    ck_assert_uint_eq(before->head.len + before->body.len, after->head.len + after->body.len);
    otok_record_free(before);
    otok_record_free(after);
    test_end(f);
}
END_TEST

/* K7: a record whose owner was exchanged in the database is not refreshed. */
START_TEST(record_with_another_subject_is_tampered_with)
{
    test_fixture *f = test_open(TEST_MEMORY);
    const otok_tokens *tokens = test_began(f);
    otok_record *record = test_session_record(f->store, tokens->session_id);
    record->subject = otok_str_of("admin");
    test_put_back(f->store, record);
    otok_refresh_request request = test_refresh_request(tokens->offline_token, NULL);
    test_refused_untouched(f, &request, OTOK_E_TAMPERED);
    otok_record_free(record);
    test_end(f);
}
END_TEST

static void add_tests(TCase *tcase)
{
    tcase_add_loop_test(tcase, refresh_that_is_overtaken_gets_the_same_successor, 0, 2);
    tcase_add_test(tcase, nested_refreshes_move_the_session_by_one_generation);
    tcase_add_loop_test(tcase, refresh_overtaken_by_a_revocation_is_refused_and_revives_nothing, 0, 2);
    tcase_add_test(tcase, reuse_overtaken_by_a_revocation_is_refused_all_the_same);
    tcase_add_test(tcase, failure_to_sign_leaves_the_session_as_it_was);
    tcase_add_loop_test(tcase, uncertain_commit_is_retryable_and_the_retry_gives_the_successor, 0, 2);
    tcase_add_loop_test(tcase, trouble_of_the_store_is_never_blamed_on_the_token, 0, NTROUBLES);
    tcase_add_loop_test(tcase, reuse_that_cannot_be_written_is_not_answered_as_done, 0, NTROUBLES);
    tcase_add_loop_test(tcase, trouble_at_issue_hands_out_nothing, 0, NTROUBLES);
    tcase_add_test(tcase, conflicts_are_ridden_out_up_to_a_bound);
    tcase_add_test(tcase, without_rotation_last_use_is_written_once_a_touch_interval);
    tcase_add_test(tcase, unwritten_last_use_counts_in_the_clients_favour);
    tcase_add_test(tcase, flood_with_a_young_token_writes_nothing);
    tcase_add_loop_test(tcase, retry_writes_nothing_but_a_counter_where_there_is_a_limit, 0, 2);
    tcase_add_test(tcase, rotations_do_not_make_the_store_grow);
    tcase_add_test(tcase, record_with_another_subject_is_tampered_with);
}

int main(void)
{
    return test_main("refresh_store", add_tests);
}
