/*
 * check_once_replay.c - I8: a key that was good for one issue comes back: who, when, and what became of its session; and when its
 * record, or the store, is not what it should be.
 *
 * SPDX-License-Identifier: MIT
 */
#include "support/records.h"
#include "support/story.h"
#include "support/watch.h"

#include <string.h>

enum { WINDOW_S = 60, KEEP_S = TEST_DAY_S }; /* by default */

static otok_grant grant_with(const char *once_key)
{
    otok_grant grant = test_grant(NULL, NULL, NULL);
    grant.once_key = once_key;
    return grant;
}

static int code_of(test_fixture *f, const otok_grant *grant)
{
    otok_tokens *tokens = NULL;
    int rc = otok_issue(f->service, grant, &tokens, NULL);
    ck_assert_int_eq(tokens != NULL, rc == OTOK_OK);
    otok_tokens_free(tokens);
    return rc;
}

/* ---------------------------------------------------------------------------------------------------------- the replay */

enum { SAME, OTHER_SUBJECT, OTHER_CLIENT, WHOS };
enum { AT_ONCE, LAST_MOMENT, CLOCK_BEHIND, AT_THE_END, LATER, WHENS };
enum { FRESH, ROTATED, REVOKED, EXPIRED, CUT_OFF, STATES };

static void put_into_state(test_fixture *f, const otok_tokens *tokens, int state)
{
    otok_filter filter = test_filter("alice", "phone", NULL);
    if (state == ROTATED) {
        otok_policy policy = f->policy; /* sooner than it would be: inside the window */
        f->policy.retry_window_s = f->policy.rotate_after_s = 1;
        test_reopen_service(f);
        test_advance_s(f, 2);
        ck_assert_uint_eq(test_next(f, tokens->offline_token)->generation, 1);
        test_advance_s(f, -2);
        f->policy = policy;
        test_reopen_service(f);
    } else if (state == REVOKED) {
        test_assert_code(OTOK_OK, otok_revoke_session(f->service, tokens->session_id, NULL));
    } else if (state == EXPIRED) {
        f->policy.max_lifetime_s = 1;
        test_reopen_service(f);
        test_advance_s(f, 2);
    } else if (state == CUT_OFF) {
        test_assert_code(OTOK_OK, otok_cutoff_set(f->service, &filter, OTOK_NOW, NULL, NULL));
    }
}

static void expect_answer(int who, int when, int state, int32_t reuse)
{
    static const int64_t moments_us[] = {0, WINDOW_S * OTOK_US_PER_S - 1, -3600 * OTOK_US_PER_S,
                                         WINDOW_S * OTOK_US_PER_S, (KEEP_S - 1) * OTOK_US_PER_S};
    test_fixture *f = test_open(TEST_MEMORY);
    f->policy.once_reuse = reuse;
    test_reopen_service(f);
    otok_grant grant = grant_with("code");
    const otok_tokens *first = test_granted(f, &grant), *beside = test_began(f);
    put_into_state(f, first, state);
    test_forget_events(f);
    if (state != EXPIRED || when > AT_ONCE)
        test_set_now_us(f, TEST_START_US + moments_us[when]);
    grant.subject = who == OTHER_SUBJECT ? "mallory" : "alice";
    grant.client_id = who == OTHER_CLIENT ? "tablet" : "phone";

    bool inside = when < AT_THE_END, was_there = state != REVOKED;
    bool alive = state == FRESH || (state == EXPIRED && when == CLOCK_BEHIND);
    bool answered = who == SAME && inside && alive;
    bool ended = who == SAME && !answered && was_there && reuse != OTOK_REUSE_REJECT;
    int rc = code_of(f, &grant);
    ck_assert_msg(rc == (answered ? OTOK_OK : OTOK_E_ONCE), "who %d, when %d, state %d, reuse %d: %s", who, when, state,
                  reuse, otok_error_name(rc));
    ck_assert_msg(test_has_session(f, first->session_id) == (was_there && !ended),
                  "who %d, when %d, state %d, reuse %d: it has%s ended", who, when, state, reuse, ended ? " not" : "");
    ck_assert_uint_eq(test_count_reasons(f, OTOK_EVENT_REVOKED, OTOK_REVOKED_BY_ONCE, first->session_id), ended);
    ck_assert_uint_eq(f->nevents, (size_t)ended + answered);
    ck_assert(test_has_session(f, beside->session_id));
    if (!answered) /* and so it stays */
        test_assert_code(OTOK_E_ONCE, code_of(f, &grant));
    test_end(f);
}

/* I8 (RFC 6749 section 4.1.2): who, when, what became of the session, by policy. */
START_TEST(answer_follows_from_who_when_and_what_became_of_the_session)
{
    static const int32_t reuses[] = {OTOK_REUSE_DEFAULT, OTOK_REUSE_REJECT, OTOK_REUSE_END_SESSION};
    for (int when = 0; when < WHENS; when++) {
        for (int state = 0; state < STATES; state++) {
            for (size_t i = 0; i < 3; i++)
                expect_answer(_i, when, state, reuses[i]);
        }
    }
}
END_TEST

/* I8 */
START_TEST(replay_is_told_with_where_it_came_from)
{
    otok_peer peer = test_peer(NULL, NULL, "192.0.2.66", "thief/1");
    test_fixture *f = test_open(_i);
    otok_grant grant = grant_with("code");
    const otok_tokens *first = test_granted(f, &grant);
    test_advance_s(f, WINDOW_S);
    grant.peer = &peer;
    test_assert_code(OTOK_E_ONCE, code_of(f, &grant));
    const otok_event *e = &test_last_event(f, OTOK_EVENT_REVOKED)->event;
    ck_assert_int_eq(e->reason, OTOK_REVOKED_BY_ONCE);
    ck_assert_str_eq(e->session_id, first->session_id);
    ck_assert_str_eq(e->ip, "192.0.2.66");
    ck_assert_str_eq(e->user_agent, "thief/1");
    test_dead(f, first->offline_token, OTOK_E_TOKEN_UNKNOWN);
    test_end(f);
}
END_TEST

/* I8: whoever has another key than the session is bound to gets nothing, and ends nothing, in time or later. */
START_TEST(replay_with_another_proof_ends_nothing)
{
    for (int32_t reuse = OTOK_REUSE_REJECT; reuse <= OTOK_REUSE_END_SESSION; reuse++) {
        otok_peer own = test_peer(TEST_JKT, NULL, NULL, NULL), other = test_peer(TEST_OTHER_JKT, NULL, NULL, NULL);
        test_fixture *f = test_open(TEST_MEMORY);
        f->policy.once_reuse = reuse;
        test_reopen_service(f);
        otok_grant grant = grant_with("code");
        grant.binding = OTOK_BINDING_JKT;
        grant.peer = &own;
        const otok_tokens *first = test_granted(f, &grant);
        test_expect_same(first, test_granted(f, &grant));
        grant.peer = NULL;
        test_not_granted(f, &grant, OTOK_E_INVALID, "jkt"); /* the host's mistake: it ends nothing */
        grant.binding = OTOK_BINDING_NONE;                  /* as a host has it where no proof came */
        test_assert_code(OTOK_E_DPOP_PROOF, code_of(f, &grant));
        grant.binding = OTOK_BINDING_JKT;
        grant.peer = &other;
        test_assert_code(OTOK_E_SENDER, code_of(f, &grant));
        test_advance_s(f, 3600);
        test_assert_code(reuse == OTOK_REUSE_REJECT ? OTOK_E_ONCE : OTOK_E_SENDER, code_of(f, &grant));
        ck_assert(test_has_session(f, first->session_id));
        test_end(f);
    }
}
END_TEST

/* ------------------------------------------------------------------------------------------------------------ the store */

/* I8, R8: at a retry, and at a replay, the store fails at each of its calls in turn: that is no refusal, and nothing has ended. */
START_TEST(failing_store_neither_answers_nor_ends)
{
    test_watch watch;
    test_fixture *f = test_open(TEST_MEMORY);
    test_watch_fixture(&watch, f);
    otok_grant grant = grant_with("code");
    const otok_tokens *first = test_granted(f, &grant);
    for (int replay = 0; replay <= 1; replay++) {
        uint64_t state = test_store_state(f->store), at = 0;
        int rc;
        do {
            test_watch_fail(&watch, ++at, TEST_CALL_ANY, OTOK_E_BUSY, false);
            rc = code_of(f, &grant);
            ck_assert_int_eq(rc, watch.reached ? OTOK_E_BUSY : replay != 0 ? OTOK_E_ONCE : OTOK_OK);
            test_watch_reset(&watch);
            ck_assert(rc == OTOK_E_ONCE || state == test_store_state(f->store));
        } while (rc == OTOK_E_BUSY);
        ck_assert_uint_gt(at, 2);
        ck_assert_int_eq(test_has_session(f, first->session_id), replay == 0);
        test_advance_s(f, WINDOW_S);
    }
    test_end(f);
}
END_TEST

static otok_record *once_record(test_fixture *f, const char *once_key)
{
    otok_id id;
    otok_record *record = NULL;
    test_assert_code(OTOK_OK, otok_name_id(f->service, "once", otok_str_of(once_key), &id, NULL));
    test_assert_code(OTOK_OK, otok_record_fetch(f->service, &id, &record, NULL));
    ck_assert_ptr_nonnull(record);
    return record;
}

/* I8, K7: who can write to the database does not turn a key of theirs into someone else's session. */
START_TEST(edited_record_gives_nobody_elses_session)
{
    test_fixture *f = test_open(_i);
    otok_grant victims = grant_with("victim's"), thiefs = grant_with("thief's");
    thiefs.subject = "mallory";
    const otok_tokens *victim = test_granted(f, &victims);
    (void)test_granted(f, &thiefs);
    otok_record *good = once_record(f, "victim's"), *record = once_record(f, "thief's");
    otok_record edited = *record; /* the thief's key with the victim's session */
    edited.body = good->body;
    test_put_back(f->store, &edited);
    test_not_granted(f, &thiefs, OTOK_E_TAMPERED, "changed");
    edited = *good; /* the victim's key as if it were the thief's, who has got hold of it */
    edited.subject = otok_str_of("mallory");
    test_put_back(f->store, &edited);
    victims.subject = "mallory";
    test_not_granted(f, &victims, OTOK_E_TAMPERED, "changed");
    test_advance_s(f, WINDOW_S); /* nor does it end it */
    test_not_granted(f, &victims, OTOK_E_ONCE, "grant.once_key");
    test_not_granted(f, &thiefs, OTOK_E_ONCE, "grant.once_key");
    ck_assert(test_has_session(f, victim->session_id));
    otok_record_free(good);
    otok_record_free(record);
    test_end(f);
}
END_TEST

/* I8, K7: nor for another of one's own, with a token that would be nobody's. */
START_TEST(edited_record_is_not_answered_with_a_token_that_does_not_fit)
{
    test_fixture *f = test_open(TEST_MEMORY);
    otok_grant grants[] = {grant_with("code-1"), grant_with("code-2")};
    const otok_tokens *tokens[] = {test_granted(f, &grants[0]), test_granted(f, &grants[1])};
    otok_record *records[] = {once_record(f, "code-1"), once_record(f, "code-2")};
    otok_record edited = *records[0];
    edited.body = records[1]->body;
    test_put_back(f->store, &edited);
    test_not_granted(f, &grants[0], OTOK_E_TAMPERED, "changed");
    for (size_t i = 0; i < 2; i++) {
        ck_assert(test_has_session(f, tokens[i]->session_id));
        otok_record_free(records[i]);
    }
    test_end(f);
}
END_TEST

/* I8: of a newer version, or damaged: nothing is issued that may have been issued already. */
START_TEST(record_that_cannot_be_read_is_not_taken_for_none)
{
    test_fixture *f = test_open(_i);
    otok_grant grant = grant_with("code");
    (void)test_granted(f, &grant);
    otok_record *record = once_record(f, "code");
    uint8_t body[OTOK_ONCE_SIZE];
    memcpy(body, record->body.data, sizeof body);
    otok_record edited = *record;
    edited.body.data = body;
    body[0]++;
    test_put_back(f->store, &edited);
    test_not_granted(f, &grant, OTOK_E_FORMAT, "good for once");
    otok_record_free(record);
    test_end(f);
}
END_TEST

static void add_tests(TCase *tcase)
{
    const TTest *const on_both[] = {
        replay_is_told_with_where_it_came_from,
        edited_record_gives_nobody_elses_session,
        record_that_cannot_be_read_is_not_taken_for_none,
    };
    test_add_on_both(tcase, on_both, sizeof on_both / sizeof *on_both);
    tcase_add_loop_test(tcase, answer_follows_from_who_when_and_what_became_of_the_session, 0, WHOS);
    tcase_add_test(tcase, replay_with_another_proof_ends_nothing);
    tcase_add_test(tcase, edited_record_is_not_answered_with_a_token_that_does_not_fit);
    tcase_add_test(tcase, failing_store_neither_answers_nor_ends);
}

int main(void)
{
    return test_main("once_replay", add_tests);
}
