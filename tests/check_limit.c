/*
 * check_limit.c - I4: how many live sessions a subject may have with a client, and which have to go for a new one.  Races:
 * check_cap_races.c; what a grant replaces: check_replaces.c.
 *
 * SPDX-License-Identifier: MIT
 */
#include "support/node.h"
#include "support/records.h"
#include "support/story.h"
#include "support/watch.h"

#include <stdio.h>
#include <string.h>

static void limit_to(test_fixture *f, int64_t sessions, int32_t at_limit)
{
    f->policy.session_limit = sessions;
    f->policy.at_session_limit = at_limit;
    test_plain_policy(f);
}

static uint64_t live(test_fixture *f)
{
    otok_filter filter = test_filter("alice", "phone", NULL);
    return test_count_live(f, &filter);
}

/* A session of alice's phone, a second later than the one before. */
static test_held next_of(test_fixture *f)
{
    test_advance_s(f, 1);
    return test_hold(f, NULL, NULL);
}

/* I4 */
START_TEST(oldest_session_ends_for_a_new_one_at_the_limit)
{
    enum { LIMIT = 3, ALL = 7 };
    test_held held[ALL];
    test_fixture *f = test_open(_i);
    limit_to(f, LIMIT, OTOK_AT_LIMIT_DEFAULT);
    for (size_t n = 0; n < ALL; n++) {
        held[n] = next_of(f);
        ck_assert_uint_eq(live(f), n < LIMIT ? n + 1 : LIMIT);
        for (size_t i = 0; i <= n; i++)
            ck_assert_int_eq(test_has_session(f, held[i].session_id), i + LIMIT > n);
    }
    ck_assert_uint_eq(test_count_events(f, OTOK_EVENT_EVICTED), ALL - LIMIT);
    for (size_t i = 0; i < ALL; i++) {
        bool evicted = i < ALL - LIMIT;
        ck_assert_uint_eq(test_count_reasons(f, OTOK_EVENT_EVICTED, 0, held[i].session_id), evicted);
        test_assert_code(evicted ? OTOK_E_TOKEN_UNKNOWN : OTOK_OK, test_refresh_code(f, held[i].token, NULL));
    }
    test_close(f);
}
END_TEST

/* I4, E1: the event says whose session it was, and where the request came from that ended it. */
START_TEST(eviction_is_told_with_who_and_where)
{
    otok_peer peer = test_peer(NULL, NULL, "192.0.2.7", "agent/7");
    test_fixture *f = test_open(TEST_MEMORY);
    limit_to(f, 1, OTOK_AT_LIMIT_EVICT);
    otok_grant grant = test_grant(NULL, NULL, NULL);
    grant.sid = "sso-1";
    grant.grant_type = OTOK_GRANT_DEVICE_CODE;
    const otok_tokens *first = test_granted(f, &grant);
    grant.sid = "sso-2";
    grant.peer = &peer;
    test_advance_s(f, 60);
    const otok_tokens *rotated = test_next(f, first->offline_token);
    (void)test_granted(f, &grant);
    const otok_event *e = &test_last_event(f, OTOK_EVENT_EVICTED)->event;
    ck_assert_str_eq(e->session_id, first->session_id);
    ck_assert_str_eq(e->subject, "alice");
    ck_assert_str_eq(e->client_id, "phone");
    ck_assert_str_eq(e->sid, "sso-1");
    ck_assert_int_eq(e->grant_type, OTOK_GRANT_DEVICE_CODE);
    ck_assert_uint_eq(e->generation, rotated->generation);
    ck_assert_str_eq(e->ip, "192.0.2.7");
    ck_assert_str_eq(e->user_agent, "agent/7");
    ck_assert_int_eq(e->time_us, f->now_us);
    ck_assert_uint_eq(test_count_events(f, OTOK_EVENT_REVOKED), 0);
    test_end(f);
}
END_TEST

/* I4 */
START_TEST(new_session_is_refused_at_the_limit_where_the_policy_says_so)
{
    test_fixture *f = test_open(_i);
    otok_grant grant = test_grant(NULL, NULL, NULL);
    limit_to(f, 2, OTOK_AT_LIMIT_REFUSE);
    const otok_tokens *one = test_granted(f, &grant), *two = test_granted(f, &grant);
    for (int i = 0; i < 3; i++)
        test_not_granted(f, &grant, OTOK_E_LIMIT, "as many sessions");
    test_advance_s(f, 60);
    (void)test_next(f, one->offline_token);
    test_assert_code(OTOK_OK, otok_revoke_session(f->service, two->session_id, NULL));
    (void)test_granted(f, &grant);
    test_not_granted(f, &grant, OTOK_E_LIMIT, "as many sessions");
    ck_assert_uint_eq(test_count_events(f, OTOK_EVENT_EVICTED), 0);
    test_end(f);
}
END_TEST

/* I4: of `before` live sessions and `dead` ones, how many a new one ends: down to the limit less one, at most 32. */
START_TEST(evictions_follow_from_live_sessions_and_limit)
{
    static const struct {
        int64_t limit;
        size_t before, dead, evicted;
    } rows[] = {
        {1, 0, 0, 0},
        {1, 1, 0, 1},
        {1, 3, 0, 3},
        {2, 1, 0, 0},
        {2, 2, 0, 1},
        {2, 2, 3, 1},
        {3, 2, 9, 0},
        {5, 70, 0, 32},
        {40, 70, 0, 31},
        {39, 70, 0, 32},
        {70, 70, 0, 1},
        {71, 70, 0, 0},
        {1, 32, 0, 32},
        {1, 33, 0, 32},
        {64, 64, 70, 1},
        {INT64_MAX - 1, 3, 0, 0},
        {OTOK_UNLIMITED, 3, 0, 0},
    };
    for (size_t r = 0; r < sizeof rows / sizeof rows[0]; r++) {
        test_held oldest = {0};
        test_fixture *f = test_open(TEST_MEMORY);
        test_plain_policy(f);
        otok_grant mortal = test_grant(NULL, NULL, "offline_access");
        mortal.max_lifetime_s = 1;
        for (size_t i = 0; i < rows[r].dead; i++)
            (void)test_hold_grant(f, &mortal);
        for (size_t i = 0; i < rows[r].before; i++)
            oldest = i == 0 ? next_of(f) : (next_of(f), oldest);
        limit_to(f, rows[r].limit, OTOK_AT_LIMIT_EVICT);
        test_held born = next_of(f);
        ck_assert_msg(test_count_events(f, OTOK_EVENT_EVICTED) == rows[r].evicted, "row %zu: %zu evicted", r,
                      test_count_events(f, OTOK_EVENT_EVICTED));
        ck_assert_uint_eq(live(f), rows[r].before - rows[r].evicted + 1);
        ck_assert(test_has_session(f, born.session_id));
        if (rows[r].before != 0)
            ck_assert_int_eq(test_has_session(f, oldest.session_id), rows[r].evicted == 0);
        test_close(f);
    }
}
END_TEST

/* I4: a backlog, of a limit that was not there before, goes with the next issues; the oldest first. */
START_TEST(backlog_beyond_what_one_commit_takes_goes_with_the_next_issues)
{
    enum { BACKLOG = 100, LIMIT = 5 };
    static const size_t left[] = {BACKLOG - 32 + 1, BACKLOG - 64 + 2, BACKLOG - 96 + 3, LIMIT, LIMIT};
    test_held held[BACKLOG];
    test_fixture *f = test_open(_i);
    test_plain_policy(f);
    for (size_t i = 0; i < BACKLOG; i++)
        held[i] = next_of(f);
    limit_to(f, LIMIT, OTOK_AT_LIMIT_REFUSE);
    otok_grant grant = test_grant(NULL, NULL, NULL);
    test_not_granted(f, &grant, OTOK_E_LIMIT, "as many sessions");
    limit_to(f, LIMIT, OTOK_AT_LIMIT_EVICT);
    for (size_t i = 0; i < sizeof left / sizeof left[0]; i++) {
        (void)next_of(f);
        ck_assert_uint_eq(live(f), left[i]);
        size_t gone = 32 * (i + 1);
        for (size_t k = 0; k < BACKLOG && gone <= 96; k++)
            ck_assert_int_eq(test_has_session(f, held[k].session_id), k >= gone);
    }
    test_close(f);
}
END_TEST

/* I4: what the walk visits does not grow with a backlog. */
START_TEST(walk_ends_where_enough_are_found)
{
    test_watch watch;
    test_fixture *f = test_open(TEST_MEMORY);
    test_plain_policy(f);
    for (int i = 0; i < 600; i++)
        (void)test_hold(f, NULL, NULL);
    test_watch_fixture(&watch, f);
    limit_to(f, 2, OTOK_AT_LIMIT_REFUSE);
    otok_tokens *tokens = NULL;
    otok_grant grant = test_grant(NULL, NULL, "offline_access");
    test_assert_code(OTOK_E_LIMIT, otok_issue(f->service, &grant, &tokens, NULL));
    ck_assert_uint_lt(watch.visited, 100);
    limit_to(f, 2, OTOK_AT_LIMIT_EVICT);
    test_watch_reset(&watch);
    (void)test_hold(f, NULL, NULL);
    ck_assert_uint_lt(watch.visited, 100);
    ck_assert_uint_eq(watch.commits, 1); /* the new one and the 32 that go */
    test_close(f);
}
END_TEST

/* I4, V2: nor with what was revoked all at once and is not removed yet. */
START_TEST(walk_does_not_pass_by_what_a_cutoff_ended)
{
    test_watch watch;
    test_fixture *f = test_open(_i);
    otok_filter filter = test_filter("alice", "phone", NULL);
    test_plain_policy(f);
    for (int i = 0; i < 300; i++)
        (void)test_hold(f, NULL, NULL);
    test_assert_code(OTOK_OK, otok_cutoff_set(f->service, &filter, OTOK_NOW, NULL, NULL));
    test_watch_fixture(&watch, f);
    limit_to(f, 2, OTOK_AT_LIMIT_EVICT);
    test_held first = test_hold(f, NULL, NULL); /* in the microsecond of the cutoff */
    (void)next_of(f);
    (void)next_of(f);
    ck_assert_uint_lt(watch.visited, 50);
    ck_assert(!test_has_session(f, first.session_id));
    ck_assert_uint_eq(test_count_events(f, OTOK_EVENT_EVICTED), 1);
    ck_assert_uint_eq(live(f), 2);
    test_close(f);
}
END_TEST

/* I4: "only live sessions count": idle for too long, at the end of their lifetime, behind a cutoff. */
START_TEST(dead_sessions_do_not_count)
{
    test_fixture *f = test_open(_i);
    otok_grant grant = test_grant(NULL, NULL, "offline_access");
    otok_filter filter = test_filter("alice", NULL, NULL);
    limit_to(f, 2, OTOK_AT_LIMIT_REFUSE);
    grant.idle_timeout_s = 60;
    test_held idle = test_hold_grant(f, &grant);
    grant.idle_timeout_s = 0;
    grant.max_lifetime_s = 60;
    (void)test_hold_grant(f, &grant);
    test_not_granted(f, &grant, OTOK_E_LIMIT, "as many sessions");
    test_advance_s(f, 120);
    grant.max_lifetime_s = 0;
    test_held cut[2] = {test_hold_grant(f, &grant), test_hold_grant(f, &grant)};
    test_not_granted(f, &grant, OTOK_E_LIMIT, "as many sessions");
    test_assert_code(OTOK_OK, otok_cutoff_set(f->service, &filter, OTOK_NOW, NULL, NULL));
    (void)test_hold_grant(f, &grant);
    limit_to(f, 2, OTOK_AT_LIMIT_EVICT);
    (void)test_hold_grant(f, &grant);
    ck_assert_uint_eq(test_count_events(f, OTOK_EVENT_EVICTED), 0);
    ck_assert(test_has_session(f, idle.session_id)); /* all of them are still there, dead */
    ck_assert(test_has_session(f, cut[0].session_id) && test_has_session(f, cut[1].session_id));
    ck_assert_uint_eq(live(f), 2);
    test_close(f);
}
END_TEST

/* I4: "of one kind". */
START_TEST(kinds_of_session_are_counted_apart)
{
    test_fixture *f = test_open(TEST_MEMORY);
    otok_grant offline = test_grant(NULL, NULL, "offline_access"), login = offline;
    login.kind = OTOK_SESSION_LOGIN;
    login.sid = "sso";
    limit_to(f, 1, OTOK_AT_LIMIT_REFUSE);
    test_held first = test_hold_grant(f, &offline), second = test_hold_grant(f, &login);
    test_not_granted(f, &offline, OTOK_E_LIMIT, "as many sessions");
    test_not_granted(f, &login, OTOK_E_LIMIT, "as many sessions");
    limit_to(f, 1, OTOK_AT_LIMIT_EVICT);
    (void)test_hold_grant(f, &login);
    ck_assert(test_has_session(f, first.session_id));
    ck_assert(!test_has_session(f, second.session_id));
    ck_assert_int_eq(test_last_event(f, OTOK_EVENT_EVICTED)->event.kind, OTOK_SESSION_LOGIN);
    (void)test_hold_grant(f, &offline);
    ck_assert(!test_has_session(f, first.session_id));
    test_close(f);
}
END_TEST

/* I4: names that only look alike when they are put one behind the other are apart too. */
START_TEST(subjects_clients_and_realms_are_counted_apart)
{
    static const char *const pairs[][2] = {
        {"alice", "phone"}, {"alice", "tablet"}, {"bob", "phone"}, {"alicep", "hone"}};
    test_fixture *f = test_open(TEST_MEMORY), *other;
    limit_to(f, 1, OTOK_AT_LIMIT_REFUSE);
    other = test_open_node(f, "https://other.example");
    for (size_t i = 0; i < 4; i++) {
        otok_grant grant = test_grant(pairs[i][0], pairs[i][1], "offline_access");
        (void)test_hold_grant(f, &grant);
        (void)test_hold_grant(other, &grant);
        test_not_granted(f, &grant, OTOK_E_LIMIT, "as many sessions");
    }
    test_close(other);
    test_close(f);
}
END_TEST

/* I4: "the oldest by start", whichever was used last. */
START_TEST(eviction_is_by_start_and_not_by_use)
{
    test_fixture *f = test_open(_i);
    limit_to(f, 2, OTOK_AT_LIMIT_EVICT);
    test_held first = next_of(f), second = next_of(f);
    for (int i = 0; i < 3; i++)
        test_rotate(f, &first, NULL);
    (void)next_of(f);
    ck_assert(!test_has_session(f, first.session_id));
    ck_assert(test_has_session(f, second.session_id));
    test_assert_code(OTOK_E_TOKEN_UNKNOWN, test_refresh_code(f, first.token, NULL));
    test_close(f);
}
END_TEST

static int two_for_the_tablet(test_fixture *f, const char *client_id, otok_policy *policy)
{
    (void)f;
    policy->session_limit = strcmp(client_id, "tablet") == 0 ? 2 : 0;
    return 0;
}

/* I4, L3 */
START_TEST(limit_is_the_clients)
{
    test_fixture *f = test_open(TEST_MEMORY);
    f->client_policy = two_for_the_tablet;
    test_plain_policy(f);
    for (int i = 0; i < 5; i++) {
        (void)test_hold(f, NULL, "phone");
        (void)test_hold(f, NULL, "tablet");
    }
    otok_filter tablet = test_filter("alice", "tablet", NULL);
    ck_assert_uint_eq(live(f), 5);
    ck_assert_uint_eq(test_count_live(f, &tablet), 2);
    test_close(f);
}
END_TEST

static int says_no(void *user, const otok_use *use, otok_answer *answer)
{
    (void)user;
    (void)use;
    return otok_answer_end_session(answer);
}

/* I4, R5: the host is asked before anything is ended. */
START_TEST(refused_issue_evicts_nobody)
{
    test_fixture *f = test_open(TEST_MEMORY);
    otok_grant grant = test_grant(NULL, NULL, "offline_access");
    limit_to(f, 1, OTOK_AT_LIMIT_EVICT);
    test_held held = test_hold(f, NULL, NULL);
    f->callbacks.authorize = says_no;
    test_reopen_service(f);
    test_not_granted(f, &grant, OTOK_E_DENIED, "host");
    f->callbacks.authorize = NULL;
    test_reopen_service(f);
    test_assert_code(OTOK_OK, test_refresh_code(f, held.token, NULL));
    test_close(f);
}
END_TEST

/* I4, R8: the store fails at each of its calls in turn: nobody is evicted for a session that there is not. */
START_TEST(failing_store_evicts_nobody)
{
    test_watch watch;
    test_fixture *f = test_open(TEST_MEMORY);
    (void)next_of(f);
    test_held held = next_of(f);
    test_watch_fixture(&watch, f);
    limit_to(f, 2, OTOK_AT_LIMIT_EVICT);
    otok_grant grant = test_grant(NULL, NULL, "offline_access");
    uint64_t state = test_store_state(f->store), at = 0;
    int rc;
    do {
        otok_tokens *tokens = NULL;
        test_watch_fail(&watch, ++at, TEST_CALL_ANY, OTOK_E_IO, false);
        rc = otok_issue(f->service, &grant, &tokens, NULL);
        otok_tokens_free(tokens);
        ck_assert_int_eq(rc, watch.reached ? OTOK_E_IO : OTOK_OK);
        test_watch_reset(&watch);
        ck_assert_int_eq(state == test_store_state(f->store), rc != OTOK_OK);
    } while (rc != OTOK_OK);
    ck_assert_uint_gt(at, 3); /* marks, sessions, commit */
    ck_assert(test_has_session(f, held.session_id));
    ck_assert_uint_eq(live(f), 2);
    test_close(f);
}
END_TEST

/* I4, V3: the mark that guards the limit is the cutoff's too, and its walk goes on. */
START_TEST(issue_at_a_limit_leaves_the_walk_of_a_cutoff_to_the_sweeper)
{
    test_fixture *f = test_open(_i);
    otok_filter filter = test_filter("alice", "phone", NULL);
    int64_t cutoff_us = 0, later_us = 0;
    limit_to(f, 3, OTOK_AT_LIMIT_EVICT);
    test_held cut = next_of(f);
    test_assert_code(OTOK_OK, otok_cutoff_set(f->service, &filter, OTOK_NOW, &cutoff_us, NULL));
    test_held born = next_of(f);
    test_assert_code(OTOK_OK, otok_cutoff_get(f->service, &filter, &later_us, NULL));
    ck_assert_int_eq(later_us, cutoff_us);
    ck_assert(test_has_session(f, cut.session_id));
    ck_assert_uint_eq(test_sweep(f, 0).cut_off, 1);
    ck_assert(!test_has_session(f, cut.session_id));
    ck_assert(test_has_session(f, born.session_id));
    test_assert_code(OTOK_E_TOKEN_UNKNOWN, test_refresh_code(f, cut.token, NULL));
    test_close(f);
}
END_TEST

/* I4, C1: and the consent's. */
START_TEST(issue_at_a_limit_keeps_the_consent)
{
    test_fixture *f = test_open(TEST_MEMORY);
    otok_consent *before = NULL, *after = NULL;
    limit_to(f, 1, OTOK_AT_LIMIT_EVICT);
    test_assert_code(OTOK_OK, otok_consent_put(f->service, "alice", "phone", "offline_access profile", NULL));
    test_assert_code(OTOK_OK, otok_consent_get(f->service, "alice", "phone", &before, NULL));
    for (int i = 0; i < 3; i++)
        (void)next_of(f);
    test_assert_code(OTOK_OK, otok_consent_get(f->service, "alice", "phone", &after, NULL));
    ck_assert_str_eq(before->scope, after->scope);
    ck_assert_int_eq(before->granted_us, after->granted_us);
    ck_assert_int_eq(before->updated_us, after->updated_us);
    otok_consent_free(before);
    otok_consent_free(after);
    test_close(f);
}
END_TEST

/* -------------------------------------------------------------------------------------- what happens before the commit */

typedef struct meanwhile {
    test_fixture *node;
    test_held held;
} meanwhile;

static void issue_meanwhile(void *arg)
{
    meanwhile *m = arg;
    m->held = test_hold(m->node, NULL, NULL);
}

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

/* I4: whether or not subject and client have a mark already. */
START_TEST(session_issued_between_count_and_commit_counts)
{
    for (int64_t limit = 1; limit <= 2; limit++) {
        for (int32_t at_limit = OTOK_AT_LIMIT_EVICT; at_limit <= OTOK_AT_LIMIT_REFUSE; at_limit++) {
            test_watch watch;
            test_fixture *f = test_open(_i);
            limit_to(f, limit, at_limit);
            meanwhile m = {.node = test_open_node(f, NULL)};
            test_watch_fixture(&watch, f);
            for (int64_t i = 1; i < limit; i++)
                (void)test_hold(f, NULL, NULL);
            test_watch_step_in(&watch, 1, TEST_CALL_COMMIT, issue_meanwhile, &m);
            otok_tokens *tokens = NULL;
            otok_grant grant = test_grant(NULL, NULL, "offline_access");
            int rc = otok_issue(f->service, &grant, &tokens, NULL);
            otok_tokens_free(tokens);
            test_assert_code(at_limit == OTOK_AT_LIMIT_REFUSE ? OTOK_E_LIMIT : OTOK_OK, rc);
            ck_assert_uint_eq(live(f), (uint64_t)limit);
            ck_assert_uint_eq(test_count_events(f, OTOK_EVENT_EVICTED), at_limit == OTOK_AT_LIMIT_EVICT);
            test_close(m.node);
            test_close(f);
        }
    }
}
END_TEST

/* I4: the one that has to go is being used. */
START_TEST(session_refreshed_between_count_and_commit_goes_as_it_is_then)
{
    test_watch watch;
    test_fixture *f = test_open(_i);
    limit_to(f, 1, OTOK_AT_LIMIT_EVICT);
    meanwhile m = {.node = test_open_node(f, NULL)};
    test_watch_fixture(&watch, f);
    m.held = test_hold(f, NULL, NULL);
    test_held first = m.held;
    test_advance_s(f, 60);
    test_set_now_us(m.node, f->now_us);
    test_watch_step_in(&watch, 1, TEST_CALL_COMMIT, refresh_meanwhile, &m);
    (void)test_hold(f, NULL, NULL);
    ck_assert_str_ne(first.token, m.held.token); /* it was rotated meanwhile, and has ended all the same */
    test_assert_code(OTOK_E_TOKEN_UNKNOWN, test_refresh_code(f, first.token, NULL));
    test_assert_code(OTOK_E_TOKEN_UNKNOWN, test_refresh_code(f, m.held.token, NULL));
    ck_assert_uint_eq(test_count_events(f, OTOK_EVENT_EVICTED), 1);
    ck_assert_uint_eq(test_last_event(f, OTOK_EVENT_EVICTED)->event.generation, 1);
    ck_assert_uint_eq(live(f), 1);
    test_close(m.node);
    test_close(f);
}
END_TEST

/* I4: and the other way round: what is evicted meanwhile is not brought back by the refresh. */
START_TEST(session_evicted_during_its_refresh_stays_evicted)
{
    test_watch watch;
    test_fixture *f = test_open(_i);
    limit_to(f, 1, OTOK_AT_LIMIT_EVICT);
    meanwhile m = {.node = test_open_node(f, NULL)};
    test_watch_fixture(&watch, f);
    test_held first = test_hold(f, NULL, NULL);
    test_advance_s(f, 60);
    test_watch_step_in(&watch, 1, TEST_CALL_COMMIT, issue_meanwhile, &m);
    test_assert_code(OTOK_E_TOKEN_UNKNOWN, test_refresh_code(f, first.token, NULL));
    ck_assert(!test_has_session(f, first.session_id));
    ck_assert_uint_eq(live(f), 1);
    test_close(m.node);
    test_close(f);
}
END_TEST

/* I4: one that ends by itself meanwhile leaves its room to the new one: nobody else is evicted. */
START_TEST(session_revoked_between_count_and_commit_makes_room)
{
    test_watch watch;
    test_fixture *f = test_open(_i);
    limit_to(f, 2, OTOK_AT_LIMIT_EVICT);
    meanwhile m = {.node = test_open_node(f, NULL)};
    test_watch_fixture(&watch, f);
    m.held = next_of(f);
    test_held second = next_of(f);
    test_watch_step_in(&watch, 1, TEST_CALL_COMMIT, revoke_meanwhile, &m);
    (void)next_of(f);
    ck_assert(test_has_session(f, second.session_id));
    ck_assert_uint_eq(test_count_events(f, OTOK_EVENT_EVICTED), 0);
    ck_assert_uint_eq(live(f), 2);
    test_close(m.node);
    test_close(f);
}
END_TEST

/* I4, E2: "an event each", in the outbox too. */
START_TEST(evictions_are_in_the_outbox_with_the_issue)
{
    test_fixture *f = test_open(TEST_MEMORY);
    test_plain_policy(f);
    for (int i = 0; i < 40; i++)
        (void)test_hold(f, NULL, NULL);
    f->policy.session_limit = 1;
    otok_config config;
    otok_service *service = NULL;
    otok_tokens *tokens = NULL;
    otok_outbox_batch *batch = NULL;
    otok_grant grant = test_grant(NULL, NULL, "offline_access");
    otok_config_init(&config, sizeof config);
    config.issuer = TEST_ISSUER;
    config.policy = &f->policy;
    config.callbacks = &f->callbacks;
    config.user = f;
    config.outbox_limit = 10;
    test_assert_code(OTOK_OK, otok_service_open(&config, f->store, f->keyring, &service, NULL));
    test_assert_code(OTOK_OK, otok_issue(service, &grant, &tokens, NULL));
    test_assert_code(OTOK_OK, otok_outbox_read(service, 0, &batch, NULL));
    ck_assert_uint_eq(batch->count, 33);
    for (size_t i = 0; i < batch->count; i++) {
        bool issued = strcmp(batch->events[i]->session_id, tokens->session_id) == 0;
        ck_assert_int_eq(batch->events[i]->type, issued ? OTOK_EVENT_ISSUED : OTOK_EVENT_EVICTED);
        ck_assert_int_eq(issued, i == 32); /* whoever reads them in order never sees one too many */
    }
    otok_outbox_batch_free(batch);
    otok_tokens_free(tokens);
    otok_service_close(service);
    test_close(f);
}
END_TEST

static void add_tests(TCase *tcase)
{
    const TTest *const on_both[] = {
        oldest_session_ends_for_a_new_one_at_the_limit,
        new_session_is_refused_at_the_limit_where_the_policy_says_so,
        backlog_beyond_what_one_commit_takes_goes_with_the_next_issues,
        walk_does_not_pass_by_what_a_cutoff_ended,
        dead_sessions_do_not_count,
        eviction_is_by_start_and_not_by_use,
        issue_at_a_limit_leaves_the_walk_of_a_cutoff_to_the_sweeper,
        session_issued_between_count_and_commit_counts,
        session_refreshed_between_count_and_commit_goes_as_it_is_then,
        session_evicted_during_its_refresh_stays_evicted,
        session_revoked_between_count_and_commit_makes_room,
    };
    test_add_on_both(tcase, on_both, sizeof on_both / sizeof *on_both);
    tcase_add_test(tcase, eviction_is_told_with_who_and_where);
    tcase_add_test(tcase, evictions_follow_from_live_sessions_and_limit);
    tcase_add_test(tcase, walk_ends_where_enough_are_found);
    tcase_add_test(tcase, kinds_of_session_are_counted_apart);
    tcase_add_test(tcase, subjects_clients_and_realms_are_counted_apart);
    tcase_add_test(tcase, limit_is_the_clients);
    tcase_add_test(tcase, refused_issue_evicts_nobody);
    tcase_add_test(tcase, failing_store_evicts_nobody);
    tcase_add_test(tcase, issue_at_a_limit_keeps_the_consent);
    tcase_add_test(tcase, evictions_are_in_the_outbox_with_the_issue);
}

int main(void)
{
    return test_main("limit", add_tests);
}
