/*
 * check_cutoff.c - V3: cutoffs (not-before) of realm, client, subject, both, and SSO session; V5 as far as one thread shows it.
 *
 * SPDX-License-Identifier: MIT
 */
#include "support/ask.h"
#include "support/node.h"
#include "support/watch.h"

enum { HOUR_S = 3600 };
#define HOUR_US (INT64_C(3600) * OTOK_US_PER_S)

/* The five scopes that a session of alice, phone, s1 is in, and those beside it. */
static otok_filter scope_of(int i)
{
    switch (i) {
    case 0:
        return test_filter_realm();
    case 1:
        return test_filter(NULL, "phone", NULL);
    case 2:
        return test_filter("alice", NULL, NULL);
    case 3:
        return test_filter("alice", "phone", NULL);
    case 4:
        return test_filter(NULL, NULL, "s1");
    case 5:
        return test_filter(NULL, "laptop", NULL);
    case 6:
        return test_filter("bob", NULL, NULL);
    case 7:
        return test_filter("bob", "phone", NULL);
    case 8:
        return test_filter("alice", "laptop", NULL);
    default:
        return test_filter(NULL, NULL, "s2");
    }
}
enum { SCOPES = 5, ALL_SCOPES = 10 };

static test_held hold(test_fixture *f)
{
    otok_grant grant = test_grant("alice", "phone", "offline_access");
    grant.sid = "s1";
    return test_hold_grant(f, &grant);
}

static int64_t cut(test_fixture *f, int scope, int64_t at_us)
{
    otok_error err;
    int64_t effective_us = -1;
    otok_filter filter = scope_of(scope);
    int rc = otok_cutoff_set(f->service, &filter, at_us, &effective_us, &err);
    ck_assert_msg(rc == OTOK_OK, "scope %d: %s: %s", scope, otok_error_name(rc), err.message);
    return effective_us;
}

static int64_t standing(test_fixture *f, int scope)
{
    otok_error err;
    int64_t effective_us = -1;
    otok_filter filter = scope_of(scope);
    test_assert_code(OTOK_OK, otok_cutoff_get(f->service, &filter, &effective_us, &err));
    return effective_us;
}

/* V3 */
START_TEST(cutoff_of_each_scope_ends_the_sessions_in_it_only)
{
    for (int scope = 0; scope < ALL_SCOPES; scope++) {
        test_fixture *f = test_open(_i);
        test_held held = hold(f);
        cut(f, scope, OTOK_NOW);
        test_assert_code(scope < SCOPES ? OTOK_E_TOKEN_REVOKED : OTOK_OK, test_refresh_code(f, held.token, NULL));
        ck_assert_uint_eq(test_count_events(f, OTOK_EVENT_REFUSED), scope < SCOPES);
        test_close(f);
    }
}
END_TEST

/* V3, E1 */
START_TEST(event_of_a_cutoff_names_its_scope_and_time)
{
    for (int scope = 0; scope < SCOPES; scope++) {
        test_fixture *f = test_open(_i);
        otok_filter filter = scope_of(scope);
        int64_t effective_us = cut(f, scope, OTOK_NOW);
        const test_event *e = test_last_event(f, OTOK_EVENT_CUTOFF);
        ck_assert_ptr_nonnull(e);
        ck_assert_int_eq(e->event.cutoff_us, effective_us);
        ck_assert_pstr_eq(e->event.subject, filter.subject);
        ck_assert_pstr_eq(e->event.client_id, filter.client_id);
        ck_assert_pstr_eq(e->event.sid, filter.sid);
        ck_assert_ptr_null(e->event.session_id);
        test_close(f);
    }
}
END_TEST

/* V3 */
START_TEST(cutoff_stands_where_it_was_set_also_after_a_restart)
{
    test_fixture *f = test_open(_i);
    for (int scope = 0; scope < ALL_SCOPES; scope++) {
        otok_error err;
        int64_t unset = 0;
        otok_filter filter = scope_of(scope);
        test_assert_code(OTOK_E_NOT_FOUND, otok_cutoff_get(f->service, &filter, &unset, &err));
        int64_t at_us = TEST_START_US - scope * 1000 - 1;
        ck_assert_int_eq(cut(f, scope, at_us), at_us);
    }
    test_restart(f);
    for (int scope = 0; scope < ALL_SCOPES; scope++)
        ck_assert_int_eq(standing(f, scope), TEST_START_US - scope * 1000 - 1);
    test_close(f);
}
END_TEST

/* V3: subject+client shares its record with the consent; a session of the pair alone is no cutoff */
START_TEST(cutoff_that_was_never_set_is_not_found_though_sessions_exist)
{
    test_fixture *f = test_open(_i);
    (void)hold(f);
    cut(f, 2, TEST_START_US - 5);
    for (int scope = 0; scope < ALL_SCOPES; scope++) {
        otok_error err;
        int64_t at_us = 0;
        otok_filter filter = scope_of(scope);
        test_assert_code(scope == 2 ? OTOK_OK : OTOK_E_NOT_FOUND, otok_cutoff_get(f->service, &filter, &at_us, &err));
    }
    test_close(f);
}
END_TEST

/* V3: at or before is dead, later lives; an explicit past time is taken literally */
START_TEST(explicit_time_is_literal_to_the_microsecond)
{
    for (int scope = 0; scope < SCOPES; scope++) {
        test_fixture *f = test_open(_i);
        int64_t start_us = f->now_us;
        test_held first = hold(f);
        test_set_now_us(f, start_us + 1);
        test_held second = hold(f);
        test_set_now_us(f, start_us + 10 * HOUR_US);
        ck_assert_int_eq(cut(f, scope, start_us - 1), start_us - 1);
        test_assert_code(OTOK_OK, test_refresh_code(f, first.token, NULL));
        ck_assert_int_eq(cut(f, scope, start_us), start_us);
        test_assert_code(OTOK_E_TOKEN_REVOKED, test_refresh_code(f, first.token, NULL));
        test_assert_code(OTOK_OK, test_refresh_code(f, second.token, NULL));
        test_close(f);
    }
}
END_TEST

/* V3 */
START_TEST(cutoff_only_moves_forward)
{
    test_fixture *f = test_open(_i);
    for (int scope = 0; scope < SCOPES; scope++) {
        int64_t now_us = cut(f, scope, OTOK_NOW);
        ck_assert_int_ge(now_us, f->now_us);
        ck_assert_int_eq(cut(f, scope, now_us - HOUR_US), now_us);
        test_advance_s(f, -HOUR_S);
        ck_assert_int_ge(cut(f, scope, OTOK_NOW), now_us);
        ck_assert_int_ge(standing(f, scope), now_us);
        test_advance_s(f, HOUR_S);
    }
    test_close(f);
}
END_TEST

/* V3 */
START_TEST(cutoff_a_day_ahead_is_refused)
{
    static const int64_t ahead_us[] = {25 * HOUR_US, 48 * HOUR_US, 24 * 3650 * HOUR_US, INT64_MAX - TEST_START_US};
    test_fixture *f = test_open(_i);
    test_held held = hold(f);
    for (size_t i = 0; i < sizeof ahead_us / sizeof *ahead_us; i++) {
        for (int scope = 0; scope < SCOPES; scope++) {
            otok_error err;
            otok_filter filter = scope_of(scope);
            int64_t at_us = f->now_us + ahead_us[i];
            test_assert_code(OTOK_E_INVALID, otok_cutoff_set(f->service, &filter, at_us, NULL, &err));
            test_assert_code(OTOK_E_NOT_FOUND, otok_cutoff_get(f->service, &filter, &at_us, &err));
        }
    }
    test_assert_code(OTOK_OK, test_refresh_code(f, held.token, NULL));
    test_close(f);
}
END_TEST

/* V3: the latest of all counts, in whichever order they were set */
START_TEST(latest_of_all_cutoffs_wins)
{
    for (int late = 0; late < SCOPES; late++) {
        for (int early = 0; early < SCOPES; early++) {
            test_fixture *f = test_open(TEST_MEMORY);
            test_held held = hold(f);
            test_advance_s(f, 60);
            if (_i == 0)
                cut(f, late, f->now_us - 1);
            if (early != late)
                cut(f, early, TEST_START_US - HOUR_US);
            if (_i == 1)
                cut(f, late, f->now_us - 1);
            test_assert_code(OTOK_E_TOKEN_REVOKED, test_refresh_code(f, held.token, NULL));
            test_close(f);
        }
    }
}
END_TEST

/* V3: "later than every session already issued in that scope, whatever the clocks of the nodes" */
START_TEST(now_is_later_than_sessions_of_a_node_whose_clock_is_ahead)
{
    for (int scope = 0; scope < SCOPES; scope++) {
        test_fixture *f = test_open(_i), *ahead = test_open_node(f, NULL);
        test_advance_s(ahead, 20 * HOUR_S);
        test_held held = hold(ahead);
        ck_assert_int_ge(cut(f, scope, OTOK_NOW), ahead->now_us);
        test_assert_code(OTOK_E_TOKEN_REVOKED, test_refresh_code(f, held.token, NULL));
        test_assert_code(OTOK_E_TOKEN_REVOKED, test_refresh_code(ahead, held.token, NULL));
        test_close(ahead);
        test_close(f);
    }
}
END_TEST

/* V3: "a session issued afterwards is later than the cutoff" */
START_TEST(session_issued_after_the_cutoff_lives_though_its_node_is_behind)
{
    for (int scope = 0; scope < SCOPES; scope++) {
        test_fixture *f = test_open(_i), *behind = test_open_node(f, NULL);
        test_advance_s(behind, -20 * HOUR_S);
        test_held before = hold(behind);
        cut(f, scope, OTOK_NOW);
        test_held held = hold(behind), again = hold(f);
        test_assert_code(OTOK_E_TOKEN_REVOKED, test_refresh_code(behind, before.token, NULL));
        test_assert_code(OTOK_OK, test_refresh_code(behind, held.token, NULL));
        test_assert_code(OTOK_OK, test_refresh_code(f, held.token, NULL));
        test_assert_code(OTOK_OK, test_refresh_code(f, again.token, NULL));
        cut(behind, scope, OTOK_NOW);
        test_assert_code(OTOK_E_TOKEN_REVOKED, test_refresh_code(f, held.token, NULL));
        test_assert_code(OTOK_E_TOKEN_REVOKED, test_refresh_code(f, again.token, NULL));
        test_close(behind);
        test_close(f);
    }
}
END_TEST

/* V3: what people see is when it began, not the logical time that a cutoff pushed it to */
START_TEST(start_that_is_shown_is_the_clock_of_the_node_that_issued)
{
    otok_error err;
    otok_session *session = NULL;
    test_fixture *f = test_open(_i), *behind = test_open_node(f, NULL);
    test_advance_s(behind, -20 * HOUR_S);
    cut(f, 0, OTOK_NOW);
    test_held held = hold(behind);
    test_assert_code(OTOK_OK, otok_session_get(f->service, held.session_id, &session, &err));
    ck_assert_int_eq(session->started_us, behind->now_us);
    otok_session_free(session);
    test_close(behind);
    test_close(f);
}
END_TEST

/* V3, V5 */
START_TEST(cutoff_of_one_service_is_seen_by_another_at_once)
{
    for (int scope = 0; scope < SCOPES; scope++) {
        test_fixture *f = test_open(_i), *node = test_open_node(f, NULL);
        test_held held = hold(node);
        for (int i = 0; i < 3; i++) /* whatever it might remember, it does now */
            test_assert_code(OTOK_OK, test_refresh_code(node, held.token, NULL));
        cut(f, scope, OTOK_NOW);
        test_assert_code(OTOK_E_TOKEN_REVOKED, test_refresh_code(node, held.token, NULL));
        test_close(node);
        test_close(f);
    }
}
END_TEST

/* V3: a refresh makes no session younger than a cutoff; a cutoff never un-kills */
START_TEST(cut_off_session_stays_dead_through_clocks_policies_and_restarts)
{
    test_fixture *f = test_open(_i);
    test_held held = hold(f), old = held;
    test_rotate(f, &held, NULL);
    cut(f, 2, TEST_START_US);
    for (int i = 0; i < 4; i++) {
        test_assert_code(OTOK_E_TOKEN_REVOKED, test_refresh_code(f, held.token, NULL));
        test_assert_code(OTOK_E_TOKEN_REVOKED, test_refresh_code(f, old.token, NULL));
        test_advance_s(f, i % 2 != 0 ? 2 * HOUR_S : -HOUR_S);
        f->policy.rotation = i % 2 != 0 ? OTOK_ROTATION_NEVER : OTOK_ROTATION_ALWAYS;
        test_restart(f);
    }
    ck_assert_uint_eq(test_count_events(f, OTOK_EVENT_REUSE), 0);
    test_close(f);
}
END_TEST

/* V3: "they only move forward and are never cleared", L6: the sweeper's walk is not the end of a cutoff */
START_TEST(cutoff_stands_after_the_sweeper_has_walked_behind_it)
{
    for (int scope = 0; scope < SCOPES; scope++) {
        test_fixture *f = test_open(_i), *late = test_open_node(f, NULL);
        (void)hold(f);
        test_advance_s(f, HOUR_S);
        int64_t at_us = cut(f, scope, OTOK_NOW);
        ck_assert_uint_eq(test_sweep_out(f).cut_off, 1);
        (void)test_sweep_out(f);
        if (scope < SCOPES - 1) /* a sid's has nothing more to say when all of its sessions are gone */
            ck_assert_int_eq(standing(f, scope), at_us);
        test_held held = hold(late); /* its clock stands before the cutoff */
        test_assert_code(OTOK_OK, test_refresh_code(late, held.token, NULL));
        test_close(late);
        test_close(f);
    }
}
END_TEST

typedef struct meanwhile {
    test_fixture *node;
    test_held held;
    int scope; /* SCOPES: otok_revoke_session() */
} meanwhile;

static void end_meanwhile(void *arg)
{
    meanwhile *m = arg;
    otok_error err;
    if (m->scope < SCOPES)
        cut(m->node, m->scope, OTOK_NOW);
    else
        test_assert_code(OTOK_OK, otok_revoke_session(m->node->service, m->held.session_id, &err));
}

/* V5: the end comes before each call of the store that a refresh makes; whatever it answers, the session is not brought back */
START_TEST(refresh_that_loaded_before_the_revocation_resurrects_nothing)
{
    test_fixture *f = test_open(TEST_MEMORY);
    meanwhile m = {.node = test_open_node(f, NULL), .scope = _i};
    test_watch watch;
    test_watch_fixture(&watch, f);
    for (uint64_t at = 1;; at++) {
        test_held held = hold(f);
        m.held = held;
        test_advance_s(f, 60);
        test_advance_s(m.node, 60);
        test_watch_step_in(&watch, at, TEST_CALL_ANY, end_meanwhile, &m);
        int rc = test_refresh_held(f, &held, NULL);
        if (!watch.reached) {
            ck_assert_uint_gt(at, 2); /* at least a fetch and a commit */
            break;
        }
        if (_i == SCOPES && at > 1)
            test_assert_code(OTOK_E_TOKEN_UNKNOWN, rc); /* its commit cannot have gone through */
        int after = test_refresh_code(f, held.token, NULL);
        ck_assert(after == OTOK_E_TOKEN_UNKNOWN || after == OTOK_E_TOKEN_REVOKED);
        after = test_refresh_code(m.node, held.token, NULL);
        ck_assert(after == OTOK_E_TOKEN_UNKNOWN || after == OTOK_E_TOKEN_REVOKED);
    }
    test_close(m.node);
    test_close(f);
}
END_TEST

static void cut_meanwhile(void *arg)
{
    meanwhile *m = arg;
    cut(m->node, m->scope, OTOK_NOW);
}

/* V3: a cutoff before each call of the store that another cutoff makes: the later one stands */
START_TEST(two_cutoffs_at_once_leave_the_later_one)
{
    test_fixture *f = test_open(TEST_MEMORY);
    meanwhile m = {.node = test_open_node(f, NULL), .scope = _i};
    test_watch watch;
    test_watch_fixture(&watch, f);
    for (uint64_t at = 1;; at++) {
        test_advance_s(m.node, HOUR_S);
        test_watch_step_in(&watch, at, TEST_CALL_ANY, cut_meanwhile, &m);
        cut(f, _i, TEST_START_US - HOUR_US + (int64_t)at);
        if (!watch.reached)
            break;
        ck_assert_int_ge(standing(f, _i), m.node->now_us);
    }
    test_close(m.node);
    test_close(f);
}
END_TEST

static void add_tests(TCase *tc)
{
    const TTest *const on_both[] = {cutoff_of_each_scope_ends_the_sessions_in_it_only,
                                    event_of_a_cutoff_names_its_scope_and_time,
                                    cutoff_stands_where_it_was_set_also_after_a_restart,
                                    cutoff_that_was_never_set_is_not_found_though_sessions_exist,
                                    explicit_time_is_literal_to_the_microsecond,
                                    cutoff_only_moves_forward,
                                    cutoff_a_day_ahead_is_refused,
                                    now_is_later_than_sessions_of_a_node_whose_clock_is_ahead,
                                    session_issued_after_the_cutoff_lives_though_its_node_is_behind,
                                    start_that_is_shown_is_the_clock_of_the_node_that_issued,
                                    cutoff_of_one_service_is_seen_by_another_at_once,
                                    cut_off_session_stays_dead_through_clocks_policies_and_restarts,
                                    cutoff_stands_after_the_sweeper_has_walked_behind_it};
    test_add_on_both(tc, on_both, sizeof on_both / sizeof *on_both);
    tcase_add_loop_test(tc, latest_of_all_cutoffs_wins, 0, 2);
    tcase_add_loop_test(tc, refresh_that_loaded_before_the_revocation_resurrects_nothing, 0, SCOPES + 1);
    tcase_add_loop_test(tc, two_cutoffs_at_once_leave_the_later_one, 0, SCOPES);
}

int main(void)
{
    return test_main("cutoff", add_tests);
}
