/*
 * check_refresh_restored.c - tokens from the future: the store was restored from an older backup (T5).
 *
 * SPDX-License-Identifier: MIT
 */
#include "support/records.h"
#include "support/story.h"
#include "support/watch.h"

static test_fixture *open_rotating(int32_t ahead)
{
    test_fixture *f = test_open(TEST_MEMORY);
    f->policy.rotation = OTOK_ROTATION_ALWAYS;
    f->policy.reuse = OTOK_REUSE_REJECT;
    f->policy.ahead = ahead;
    test_reopen_service(f);
    return f;
}

/* Generations 0 to 4, and the record put back to generation `back`, as a backup would. */
static void restore(test_fixture *f, const otok_tokens *tokens[5], uint32_t back)
{
    otok_record *backup = NULL;
    tokens[0] = test_began(f);
    for (uint32_t i = 0; i < 5; i++) {
        if (i > 0)
            tokens[i] = test_rotated(f, tokens[i - 1], i);
        if (i == back)
            backup = test_session_record(f->store, tokens[0]->session_id);
    }
    test_advance_s(f, 60);
    test_put_back(f->store, backup);
    otok_record_free(backup);
    test_forget_events(f);
}

/* T5: the request is answered, an event says so, and every older token is reuse again: the one just before included. */
START_TEST(token_from_the_future_is_answered_and_moves_the_record_up)
{
    uint32_t back = (uint32_t)_i;
    const otok_tokens *tokens[5];
    test_fixture *f = open_rotating(OTOK_AHEAD_DEFAULT);
    restore(f, tokens, back);
    const otok_tokens *next = test_next(f, tokens[4]->offline_token);
    ck_assert_uint_ge(next->generation, 4);
    const test_event *e = test_last_event(f, OTOK_EVENT_STORE_ROLLED_BACK);
    ck_assert_ptr_nonnull(e);
    ck_assert_uint_eq(e->event.distance, 4 - back);
    ck_assert_str_eq(e->event.session_id, tokens[0]->session_id);
    ck_assert_uint_eq(test_count_events(f, OTOK_EVENT_STORE_ROLLED_BACK), 1);
    for (int i = 0; i < 4; i++)
        test_dead(f, tokens[i]->offline_token, OTOK_E_TOKEN_REUSED);
    test_advance_s(f, 60);
    ck_assert_uint_eq(test_next(f, next->offline_token)->generation, next->generation + 1);
    test_end(f);
}
END_TEST

/* T5: refused by policy, as often as it comes. */
START_TEST(token_from_the_future_can_be_refused)
{
    const otok_tokens *tokens[5];
    test_fixture *f = open_rotating(OTOK_AHEAD_REFUSE);
    restore(f, tokens, 1);
    for (int i = 0; i < 2; i++) {
        test_dead(f, tokens[4]->offline_token, OTOK_E_TOKEN_AHEAD);
        ck_assert_ptr_nonnull(test_last_event(f, OTOK_EVENT_STORE_ROLLED_BACK));
    }
    ck_assert_str_eq(otok_error_oauth(OTOK_E_TOKEN_AHEAD), "invalid_grant");
    test_end(f);
}
END_TEST

/* R6 T2 T5: two requests with one token from the future, the response of one is lost: both get the same token. */
START_TEST(token_from_the_future_that_comes_twice_is_answered_twice_alike)
{
    const otok_tokens *tokens[5];
    test_fixture *f = open_rotating(OTOK_AHEAD_ANSWER);
    restore(f, tokens, 0);
    const otok_tokens *lost = test_next(f, tokens[4]->offline_token);
    test_expect_same(test_next(f, tokens[4]->offline_token), lost);
    test_end(f);
}
END_TEST

typedef struct race {
    test_fixture *f;
    const char *token;
    const otok_tokens *other;
} race;

static void refresh_first(void *arg)
{
    race *r = arg;
    r->other = test_next(r->f, r->token);
}

/* R6 T5: the same, the second between the first one's look at the session and its commit. */
START_TEST(simultaneous_refreshes_with_a_token_from_the_future_get_the_same_token)
{
    const otok_tokens *tokens[5];
    test_watch watch;
    test_fixture *f = open_rotating(OTOK_AHEAD_ANSWER);
    restore(f, tokens, 0);
    test_watch_fixture(&watch, f);
    race r = {f, tokens[4]->offline_token, NULL};
    test_watch_step_in(&watch, 1, TEST_CALL_COMMIT, refresh_first, &r);
    const otok_tokens *late = test_next(f, r.token);
    test_expect_same(r.other, late);
    ck_assert_uint_eq(test_count_events(f, OTOK_EVENT_STORE_ROLLED_BACK), 1);
    test_end(f);
}
END_TEST

/* T5 T3: the restored store does not know of the reuse that ended the session, but a superseded token is still that. */
START_TEST(superseded_token_ahead_of_the_restored_record_moves_it_only_so_far)
{
    const otok_tokens *tokens[5];
    test_fixture *f = open_rotating(OTOK_AHEAD_ANSWER);
    restore(f, tokens, 0);
    (void)test_next(f, tokens[2]->offline_token);
    test_dead(f, tokens[1]->offline_token, OTOK_E_TOKEN_REUSED);
    ck_assert_uint_ge(test_next(f, tokens[4]->offline_token)->generation, 4);
    ck_assert_uint_eq(test_count_events(f, OTOK_EVENT_STORE_ROLLED_BACK), 2);
    test_dead(f, tokens[2]->offline_token, OTOK_E_TOKEN_REUSED);
    test_dead(f, tokens[3]->offline_token, OTOK_E_TOKEN_REUSED);
    test_end(f);
}
END_TEST

/* T5 T1: also when rotation was switched off since. */
START_TEST(token_from_the_future_is_recognised_without_rotation)
{
    const otok_tokens *tokens[5];
    test_fixture *f = open_rotating(OTOK_AHEAD_ANSWER);
    restore(f, tokens, 2);
    f->policy.rotation = OTOK_ROTATION_NEVER;
    test_reopen_service(f);
    ck_assert_uint_eq(test_next(f, tokens[4]->offline_token)->generation, 4);
    ck_assert_uint_eq(test_count_events(f, OTOK_EVENT_STORE_ROLLED_BACK), 1);
    test_dead(f, tokens[3]->offline_token, OTOK_E_TOKEN_REUSED);
    test_end(f);
}
END_TEST

static void add_tests(TCase *tcase)
{
    tcase_add_loop_test(tcase, token_from_the_future_is_answered_and_moves_the_record_up, 0, 4);
    tcase_add_test(tcase, token_from_the_future_can_be_refused);
    tcase_add_test(tcase, token_from_the_future_that_comes_twice_is_answered_twice_alike);
    tcase_add_test(tcase, simultaneous_refreshes_with_a_token_from_the_future_get_the_same_token);
    tcase_add_test(tcase, superseded_token_ahead_of_the_restored_record_moves_it_only_so_far);
    tcase_add_test(tcase, token_from_the_future_is_recognised_without_rotation);
}

int main(void)
{
    return test_main("refresh_restored", add_tests);
}
