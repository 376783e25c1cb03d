/*
 * check_replaces.c - I4: the session that a new one takes the place of ends in the same commit.
 *
 * SPDX-License-Identifier: MIT
 */
#include "support/node.h"
#include "support/records.h"
#include "support/story.h"
#include "support/watch.h"

static otok_grant grant_for(const char *replaces)
{
    otok_grant grant = test_grant(NULL, NULL, "offline_access");
    grant.replaces = replaces;
    return grant;
}

/* I4 */
START_TEST(replaced_session_ends_in_the_commit_of_the_new_one)
{
    test_watch watch;
    otok_peer peer = test_peer(NULL, NULL, "192.0.2.9", "agent/9");
    test_fixture *f = test_open(_i);
    test_plain_policy(f);
    test_watch_fixture(&watch, f);
    test_held old = test_hold(f, NULL, NULL), beside = test_hold(f, NULL, NULL);
    test_rotate(f, &old, NULL);
    otok_grant grant = grant_for(old.session_id);
    grant.peer = &peer;
    test_forget_events(f);
    test_watch_reset(&watch);
    test_held born = test_hold_grant(f, &grant);
    ck_assert_uint_eq(watch.commits, 1);
    ck_assert(!test_has_session(f, old.session_id));
    test_assert_code(OTOK_E_TOKEN_UNKNOWN, test_refresh_code(f, old.token, NULL));
    test_assert_code(OTOK_OK, test_refresh_code(f, born.token, NULL));
    test_assert_code(OTOK_OK, test_refresh_code(f, beside.token, NULL));
    ck_assert_uint_eq(test_count_reasons(f, OTOK_EVENT_REVOKED, OTOK_REVOKED_BY_REPLACEMENT, old.session_id), 1);
    ck_assert_uint_eq(test_count_events(f, OTOK_EVENT_REVOKED), 1);
    ck_assert_uint_eq(test_count_events(f, OTOK_EVENT_ISSUED), 1);
    const otok_event *e = &test_last_event(f, OTOK_EVENT_REVOKED)->event;
    ck_assert_uint_eq(e->generation, 1);
    ck_assert_str_eq(e->ip, "192.0.2.9");
    ck_assert_str_eq(e->user_agent, "agent/9");
    test_close(f);
}
END_TEST

/* I4: step-up may make another kind of session of it; what is dead but not swept goes too. */
START_TEST(session_of_any_kind_and_state_is_replaced)
{
    test_fixture *f = test_open(TEST_MEMORY);
    test_plain_policy(f);
    otok_grant login = test_grant(NULL, NULL, "offline_access");
    login.kind = OTOK_SESSION_LOGIN;
    login.sid = "sso";
    login.max_lifetime_s = 60;
    test_held live = test_hold_grant(f, &login), dead = test_hold_grant(f, &login);
    otok_grant grant = grant_for(live.session_id);
    (void)test_hold_grant(f, &grant);
    ck_assert(!test_has_session(f, live.session_id));
    test_advance_s(f, 120);
    grant.replaces = dead.session_id;
    (void)test_hold_grant(f, &grant);
    ck_assert(!test_has_session(f, dead.session_id));
    test_close(f);
}
END_TEST

/* I4: nobody can end another's session with it. */
START_TEST(session_of_another_subject_or_client_is_not_replaced)
{
    static const char *const owners[][2] = {
        {"bob", "phone"}, {"alice", "tablet"}, {"bob", "tablet"}, {"phone", "alice"}};
    test_fixture *f = test_open(_i);
    test_plain_policy(f);
    for (size_t i = 0; i < sizeof owners / sizeof owners[0]; i++) {
        test_held others = test_hold(f, owners[i][0], owners[i][1]);
        otok_grant grant = grant_for(others.session_id);
        test_not_granted(f, &grant, OTOK_E_INVALID, "grant.replaces");
        test_assert_code(OTOK_OK, test_refresh_code(f, others.token, owners[i][1]));
    }
    test_close(f);
}
END_TEST

/* I4, bad input */
START_TEST(what_is_no_session_id_is_not_replaced)
{
    static const char *const bad[] = {
        "",
        "x",
        "AAAAAAAAAAAAAAAAAAAAA",
        "AAAAAAAAAAAAAAAAAAAAAAA",
        "AAAAAAAAAAAAAAAAAAAAA=",
        "AAAAAAAAAAAAAAAAAAAAAB",
        "AAAAAAAAAA AAAAAAAAAAA",
        "\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff"};
    test_fixture *f = test_open(TEST_MEMORY);
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        otok_grant grant = grant_for(bad[i]);
        test_not_granted(f, &grant, OTOK_E_INVALID, "grant.replaces");
    }
    test_close(f);
}
END_TEST

/* I4: "one that has ended already is no error"; neither is one that never was, or that is another realm's. */
START_TEST(session_that_is_not_there_is_not_missed)
{
    test_fixture *f = test_open(_i), *other = test_open_node(f, "https://other.example");
    test_plain_policy(f);
    test_plain_policy(other);
    test_held ended = test_hold(f, NULL, NULL), foreign = test_hold(other, NULL, NULL);
    test_assert_code(OTOK_OK, otok_revoke_session(f->service, ended.session_id, NULL));
    const char *const ids[] = {ended.session_id, "AAAAAAAAAAAAAAAAAAAAAA", foreign.session_id};
    test_forget_events(f);
    for (size_t i = 0; i < 3; i++) {
        otok_grant grant = grant_for(ids[i]);
        (void)test_hold_grant(f, &grant);
    }
    ck_assert_uint_eq(test_count_events(f, OTOK_EVENT_REVOKED), 0);
    test_assert_code(OTOK_OK, test_refresh_code(other, foreign.token, NULL));
    test_close(other);
    test_close(f);
}
END_TEST

/* I4: it does not count at the limit, whether it is the oldest or not, and ends once. */
START_TEST(replaced_session_makes_room_at_the_limit)
{
    for (int32_t at_limit = OTOK_AT_LIMIT_EVICT; at_limit <= OTOK_AT_LIMIT_REFUSE; at_limit++) {
        for (size_t which = 0; which < 2; which++) {
            test_fixture *f = test_open(_i);
            f->policy.session_limit = 2;
            f->policy.at_session_limit = at_limit;
            test_plain_policy(f);
            test_held held[2] = {test_hold(f, NULL, NULL)};
            test_advance_s(f, 1);
            held[1] = test_hold(f, NULL, NULL);
            otok_grant grant = grant_for(held[which].session_id);
            (void)test_hold_grant(f, &grant);
            ck_assert(!test_has_session(f, held[which].session_id));
            ck_assert(test_has_session(f, held[1 - which].session_id));
            ck_assert_uint_eq(test_count_events(f, OTOK_EVENT_EVICTED), 0);
            ck_assert_uint_eq(test_count_events(f, OTOK_EVENT_REVOKED), 1);
            test_close(f);
        }
    }
}
END_TEST

/* I4: beyond what one commit evicts, the replaced one ends beside them. */
START_TEST(replaced_session_ends_beside_a_full_eviction)
{
    test_fixture *f = test_open(_i);
    test_plain_policy(f);
    test_held old = test_hold(f, NULL, NULL);
    for (int i = 0; i < 40; i++)
        (void)test_hold(f, NULL, NULL);
    f->policy.session_limit = 1;
    test_reopen_service(f);
    otok_grant grant = grant_for(old.session_id);
    grant.once_key = "code";
    (void)test_hold_grant(f, &grant);
    otok_filter filter = test_filter("alice", "phone", NULL);
    ck_assert_uint_eq(test_count_live(f, &filter), 40 - 32 + 1);
    ck_assert_uint_eq(test_count_events(f, OTOK_EVENT_EVICTED), 32);
    ck_assert_uint_eq(test_count_reasons(f, OTOK_EVENT_EVICTED, 0, old.session_id), 0);
    ck_assert_uint_eq(test_count_reasons(f, OTOK_EVENT_REVOKED, OTOK_REVOKED_BY_REPLACEMENT, old.session_id), 1);
    test_close(f);
}
END_TEST

/* I4, R8: no new session, no end of the old one. */
START_TEST(failing_store_ends_nothing)
{
    test_watch watch;
    test_fixture *f = test_open(TEST_MEMORY);
    test_plain_policy(f);
    test_held old = test_hold(f, NULL, NULL);
    otok_grant grant = grant_for(old.session_id);
    uint64_t state = test_store_state(f->store), at = 0;
    int rc;
    test_watch_fixture(&watch, f);
    do {
        otok_tokens *tokens = NULL;
        test_watch_fail(&watch, ++at, TEST_CALL_ANY, OTOK_E_BUSY, false);
        rc = otok_issue(f->service, &grant, &tokens, NULL);
        otok_tokens_free(tokens);
        ck_assert_int_eq(rc, watch.reached ? OTOK_E_BUSY : OTOK_OK);
        test_watch_reset(&watch);
        ck_assert_int_eq(state == test_store_state(f->store), rc != OTOK_OK);
        ck_assert_int_eq(test_has_session(f, old.session_id), rc != OTOK_OK);
    } while (rc != OTOK_OK);
    ck_assert_uint_gt(at, 3);
    test_close(f);
}
END_TEST

static int says_no(void *user, const otok_use *use, otok_answer *answer)
{
    (void)user;
    (void)use;
    return otok_answer_refuse(answer, OTOK_E_DENIED, "not today");
}

/* I4, R5 */
START_TEST(refused_issue_replaces_nothing)
{
    test_fixture *f = test_open(TEST_MEMORY);
    test_held old = test_hold(f, NULL, NULL);
    otok_grant grant = grant_for(old.session_id);
    f->callbacks.authorize = says_no;
    test_reopen_service(f);
    test_not_granted(f, &grant, OTOK_E_DENIED, "not today");
    ck_assert(test_has_session(f, old.session_id));
    test_close(f);
}
END_TEST

/* -------------------------------------------------------------------------------------- what happens before the commit */

typedef struct meanwhile {
    test_fixture *node;
    test_held held;
} meanwhile;

static void refresh_meanwhile(void *arg)
{
    meanwhile *m = arg;
    test_assert_code(OTOK_OK, test_refresh_held(m->node, &m->held, NULL));
}

static void revoke_meanwhile(void *arg)
{
    meanwhile *m = arg;
    test_assert_code(OTOK_OK, otok_revoke_session(m->node->service, m->held.session_id, NULL));
}

/* I4: it is refreshed, or revoked, at that very moment. */
START_TEST(session_that_changes_before_the_commit_is_replaced_as_it_is_then)
{
    for (int revoked = 0; revoked <= 1; revoked++) {
        test_watch watch;
        test_fixture *f = test_open(_i);
        test_plain_policy(f);
        meanwhile m = {.node = test_open_node(f, NULL)};
        test_watch_fixture(&watch, f);
        m.held = test_hold(f, NULL, NULL);
        test_advance_s(f, 60);
        test_set_now_us(m.node, f->now_us);
        test_watch_step_in(&watch, 1, TEST_CALL_COMMIT, revoked != 0 ? revoke_meanwhile : refresh_meanwhile, &m);
        otok_grant grant = grant_for(m.held.session_id);
        test_held born = test_hold_grant(f, &grant);
        test_assert_code(OTOK_E_TOKEN_UNKNOWN, test_refresh_code(f, m.held.token, NULL));
        test_assert_code(OTOK_OK, test_refresh_code(f, born.token, NULL));
        ck_assert_uint_eq(test_count_events(f, OTOK_EVENT_REVOKED), revoked == 0);
        test_close(m.node);
        test_close(f);
    }
}
END_TEST

static void add_tests(TCase *tcase)
{
    const TTest *const on_both[] = {
        replaced_session_ends_in_the_commit_of_the_new_one,
        session_of_another_subject_or_client_is_not_replaced,
        session_that_is_not_there_is_not_missed,
        replaced_session_makes_room_at_the_limit,
        replaced_session_ends_beside_a_full_eviction,
        session_that_changes_before_the_commit_is_replaced_as_it_is_then,
    };
    test_add_on_both(tcase, on_both, sizeof on_both / sizeof *on_both);
    tcase_add_test(tcase, session_of_any_kind_and_state_is_replaced);
    tcase_add_test(tcase, what_is_no_session_id_is_not_replaced);
    tcase_add_test(tcase, failing_store_ends_nothing);
    tcase_add_test(tcase, refused_issue_replaces_nothing);
}

int main(void)
{
    return test_main("replaces", add_tests);
}
