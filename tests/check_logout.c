/*
 * check_logout.c - login-bound sessions (I7), which logout ends, beside offline ones, which outlive it (I6).
 *
 * SPDX-License-Identifier: MIT
 */
#include "support/crew.h"
#include "support/introspect.h"
#include "support/node.h"
#include "support/watch.h"

#include <sched.h>
#include <string.h>

/* ----------------------------------------------------------------------------------------------------------- helpers */

static otok_grant grant_of(int32_t kind, const char *subject, const char *client_id, const char *sid)
{
    otok_grant grant = test_grant(subject, client_id, "offline_access");
    grant.kind = kind;
    grant.sid = sid;
    return grant;
}

static test_held hold(test_fixture *f, int32_t kind, const char *subject, const char *client_id, const char *sid)
{
    otok_grant grant = grant_of(kind, subject, client_id, sid);
    return test_hold_grant(f, &grant);
}

static test_held log_in(test_fixture *f, const char *sid)
{
    return hold(f, OTOK_SESSION_LOGIN, "alice", "phone", sid);
}

static uint64_t log_out(test_fixture *f, const otok_filter *filter, int32_t revoke_offline_access)
{
    otok_error err = {0};
    uint64_t ended = UINT64_MAX;
    int rc = otok_logout(f->service, filter, revoke_offline_access, &ended, &err);
    ck_assert_msg(rc == OTOK_OK, "otok_logout: %s: %s", otok_error_name(rc), err.message);
    return ended;
}

static uint64_t log_out_sid(test_fixture *f, const char *sid)
{
    otok_filter filter = test_filter(NULL, NULL, sid);
    return log_out(f, &filter, 0);
}

static void expect_gone(test_fixture *f, const test_held *held, const char *client_id)
{
    int rc = test_refresh_code(f, held->token, client_id);
    ck_assert_msg(rc == OTOK_E_TOKEN_UNKNOWN || rc == OTOK_E_TOKEN_REVOKED, "%s", otok_error_name(rc));
    ck_assert(!test_is_live(f, held->session_id));
}

/* --------------------------------------------------------------------------------------------------- whom a logout ends */

/* Each of two subjects with each of two clients, in each of two logins, in both kinds. */
enum { PEOPLE = 16 };

typedef struct person {
    const char *subject, *client_id, *sid;
    int32_t kind;
    test_held held;
} person;

typedef struct world {
    person people[PEOPLE];
} world;

static world populate(test_fixture *f)
{
    static const char *const subjects[] = {"alice", "bob"}, *const clients[] = {"phone", "tablet"};
    static const char *const sids[2][2] = {{"alice-1", "alice-2"}, {"bob-1", "bob-2"}};
    world w;
    for (size_t i = 0; i < PEOPLE; i++) {
        size_t s = i & 1, c = i >> 1 & 1, n = i >> 2 & 1;
        int32_t kind = (i >> 3 & 1) != 0 ? OTOK_SESSION_LOGIN : OTOK_SESSION_OFFLINE;
        w.people[i] = (person){.subject = subjects[s], .client_id = clients[c], .sid = sids[s][n], .kind = kind};
        w.people[i].held = hold(f, kind, subjects[s], clients[c], sids[s][n]);
    }
    return w;
}

static bool matches(const person *p, const otok_filter *filter)
{
    return (filter->subject == NULL || strcmp(filter->subject, p->subject) == 0) &&
           (filter->client_id == NULL || strcmp(filter->client_id, p->client_id) == 0) &&
           (filter->sid == NULL || strcmp(filter->sid, p->sid) == 0);
}

static const struct {
    const char *subject, *client_id, *sid;
} scopes[] = {
    {NULL, NULL, "alice-1"}, {"alice", NULL, NULL}, {NULL, "phone", NULL}, {"bob", "tablet", NULL},
    {NULL, NULL, "nobody"},  {"carol", NULL, NULL}, {NULL, NULL, NULL}, /* the last: the realm */
};
enum { SCOPES = sizeof scopes / sizeof *scopes };

static otok_filter scope_of(size_t i)
{
    otok_filter filter = test_filter(scopes[i].subject, scopes[i].client_id, scopes[i].sid);
    filter.whole_realm = i == SCOPES - 1;
    return filter;
}

/* Everything that tells about that person agrees on whether he was logged out. */
static void expect_ended(test_fixture *f, const person *p, bool ended)
{
    otok_session *session = NULL;
    ck_assert_uint_eq(test_count_reasons(f, OTOK_EVENT_REVOKED, OTOK_REVOKED_BY_LOGOUT, p->held.session_id), ended);
    ck_assert_int_eq(test_is_live(f, p->held.session_id), !ended);
    ck_assert_int_eq(test_is_active(f, p->held.token, p->client_id), !ended);
    ck_assert_int_eq(test_is_active(f, p->held.access_token, p->client_id), !ended);
    int rc = otok_session_get(f->service, p->held.session_id, &session, NULL);
    test_assert_code(ended ? OTOK_E_NOT_FOUND : OTOK_OK, rc);
    if (rc == OTOK_OK) {
        ck_assert_int_eq(session->kind, p->kind);
        ck_assert_str_eq(session->sid, p->sid);
    }
    otok_session_free(session);
    rc = test_refresh_code(f, p->held.token, p->client_id);
    ck_assert_msg(ended ? rc == OTOK_E_TOKEN_UNKNOWN : rc == OTOK_OK, "%s, %s, %s, kind %d: %s", p->subject,
                  p->client_id, p->sid, p->kind, otok_error_name(rc));
}

static void expect_logout(int engine, size_t scope, int32_t revoke_offline_access)
{
    test_fixture *f = test_open(engine);
    world w = populate(f);
    otok_filter filter = scope_of(scope);
    uint64_t expected = 0;
    bool ended[PEOPLE];
    for (size_t i = 0; i < PEOPLE; i++) {
        ended[i] =
            matches(&w.people[i], &filter) && (revoke_offline_access != 0 || w.people[i].kind == OTOK_SESSION_LOGIN);
        expected += ended[i];
    }
    test_advance_s(f, 20);
    ck_assert_uint_eq(log_out(f, &filter, revoke_offline_access), expected);
    for (size_t i = 0; i < PEOPLE; i++)
        expect_ended(f, &w.people[i], ended[i]);
    ck_assert_uint_eq(test_count_events(f, OTOK_EVENT_REVOKED), expected);
    otok_filter realm = test_filter_realm();
    ck_assert_uint_eq(test_count(f, &realm), PEOPLE - expected);
    ck_assert_uint_eq(test_count_live(f, &realm), PEOPLE - expected);
    ck_assert_uint_eq(test_list(f, &realm, OTOK_ORDER_NEWEST_FIRST, 5, NULL, 0), PEOPLE - expected);
    test_close(f);
}

/* I7 V6 Q4: by sid, subject, client, both and realm: the login-bound ones, and them alone. */
START_TEST(logout_ends_the_login_bound_sessions_that_match)
{
    expect_logout(_i % 2, (size_t)_i / 2, 0);
}
END_TEST

/* I7: the offline ones too, where the logout says so. */
START_TEST(logout_with_revoke_offline_access_ends_both_kinds)
{
    expect_logout(_i % 2, (size_t)_i / 2, 1);
}
END_TEST

/* I7: "which also works when no classic session is left" */
START_TEST(revoke_offline_access_works_without_a_login_session_left)
{
    for (int by_subject = 0; by_subject < 2; by_subject++) {
        test_fixture *f = test_open(_i);
        otok_filter filter = by_subject ? test_filter("alice", NULL, NULL) : test_filter(NULL, NULL, "sso");
        test_held offline = hold(f, OTOK_SESSION_OFFLINE, "alice", "phone", "sso"), login = log_in(f, "sso");
        ck_assert_uint_eq(log_out(f, &filter, 0), 1);
        (void)test_sweep_out(f);
        expect_gone(f, &login, NULL);
        test_assert_code(OTOK_OK, test_refresh_held(f, &offline, NULL));
        ck_assert_uint_eq(log_out(f, &filter, 1), 1);
        expect_gone(f, &offline, NULL);
        ck_assert_uint_eq(log_out(f, &filter, 1), 0);
        test_close(f);
    }
}
END_TEST

/* I7: without a sid nothing could ever log it out. */
START_TEST(login_bound_session_without_sid_is_refused)
{
    test_fixture *f = test_open(_i);
    otok_grant grant = grant_of(OTOK_SESSION_LOGIN, NULL, NULL, NULL);
    test_not_granted(f, &grant, OTOK_E_INVALID, "grant.sid");
    grant.sid = "";
    test_not_granted(f, &grant, OTOK_E_INVALID, "grant.sid");
    grant.sid = "sso";
    grant.kind = 2;
    test_not_granted(f, &grant, OTOK_E_INVALID, "grant.kind");
    grant.kind = -1;
    test_not_granted(f, &grant, OTOK_E_INVALID, "grant.kind");
    test_close(f);
}
END_TEST

/* I7: the filter's rules are those of any revocation. */
START_TEST(logout_of_nothing_in_particular_is_refused)
{
    otok_error err;
    test_fixture *f = test_open(_i);
    test_held held = log_in(f, "sso");
    otok_filter filters[] = {test_filter(NULL, NULL, NULL), test_filter("alice", NULL, "sso"),
                             test_filter(NULL, "phone", "sso"), test_filter("alice", "phone", "sso")};
    for (size_t i = 0; i < sizeof filters / sizeof *filters; i++) {
        for (int32_t all = 0; all < 2; all++)
            test_assert_code(OTOK_E_INVALID, otok_logout(f->service, &filters[i], all, NULL, &err));
    }
    filters[0] = test_filter(NULL, NULL, "sso");
    test_assert_code(OTOK_E_INVALID, otok_logout(f->service, NULL, 0, NULL, &err));
    test_assert_code(OTOK_E_INVALID, otok_logout(NULL, &filters[0], 0, NULL, &err));
    test_assert_code(OTOK_OK, test_refresh_code(f, held.token, NULL));
    test_assert_code(OTOK_OK, otok_logout(f->service, &filters[0], 0, NULL, NULL)); /* both may be NULL */
    expect_gone(f, &held, NULL);
    test_close(f);
}
END_TEST

/* -------------------------------------------------------------------------------------------------------- before and after */

/* I7: "never revived by a new login", of the same SSO session, of another, with the clock where it likes to be. */
START_TEST(new_login_never_revives_an_old_session)
{
    static const int64_t clocks_s[] = {0, 1, 3600, -3600};
    for (size_t i = 0; i < sizeof clocks_s / sizeof *clocks_s; i++) {
        test_fixture *f = test_open(_i);
        otok_filter alice = test_filter("alice", NULL, NULL);
        test_held old = log_in(f, "sso");
        ck_assert_uint_eq(log_out_sid(f, "sso"), 1);
        test_advance_s(f, clocks_s[i]);
        test_held same = log_in(f, "sso"), other = log_in(f, "sso-2");
        test_assert_code(OTOK_OK, test_refresh_code(f, same.token, NULL));
        test_assert_code(OTOK_OK, test_refresh_code(f, other.token, NULL));
        expect_gone(f, &old, NULL);
        ck_assert_uint_eq(log_out(f, &alice, 0), 2);
        test_held later = log_in(f, "sso-3");
        (void)test_sweep(f, 0);
        test_assert_code(OTOK_OK, test_refresh_code(f, later.token, NULL));
        expect_gone(f, &old, NULL);
        expect_gone(f, &same, NULL);
        expect_gone(f, &other, NULL);
        test_close(f);
    }
}
END_TEST

/* I7: not even where the walk has not come yet: the cutoff alone ends them, and goes on doing so. */
START_TEST(logout_whose_walk_failed_is_final_all_the_same)
{
    test_fixture *f = test_open(_i);
    test_watch watch;
    test_watch_fixture(&watch, f);
    otok_filter alice = test_filter("alice", NULL, NULL);
    test_held old = log_in(f, "sso"), offline = hold(f, OTOK_SESSION_OFFLINE, "alice", "phone", "sso");
    test_watch_fail(&watch, 2, TEST_CALL_COMMIT, OTOK_E_IO, false);
    uint64_t ended = 99;
    test_assert_code(OTOK_E_IO, otok_logout(f->service, &alice, 0, &ended, NULL));
    ck_assert_uint_eq(ended, 0);
    ck_assert(test_has_session(f, old.session_id));
    test_assert_code(OTOK_E_TOKEN_REVOKED, test_refresh_code(f, old.token, NULL));
    ck_assert(!test_is_active(f, old.token, "phone"));
    ck_assert(!test_is_active(f, old.access_token, "phone"));
    test_held later = log_in(f, "sso");
    test_assert_code(OTOK_E_TOKEN_REVOKED, test_refresh_code(f, old.token, NULL));
    test_assert_code(OTOK_OK, test_refresh_code(f, later.token, NULL));
    test_assert_code(OTOK_OK, test_refresh_code(f, offline.token, NULL));
    ck_assert_uint_eq(test_count_live(f, &alice), 2);
    ck_assert_uint_eq(test_list(f, &alice, OTOK_ORDER_NEWEST_FIRST, 10, NULL, 0), 2);
    test_close(f);
}
END_TEST

/* I6: both kinds outlive a restart, the offline one a logout too; and so does the logout. */
START_TEST(sessions_and_logout_outlive_a_restart)
{
    test_fixture *f = test_open(_i);
    test_held offline = hold(f, OTOK_SESSION_OFFLINE, "alice", "phone", "sso"), login = log_in(f, "sso"),
              other = log_in(f, "sso-2");
    test_restart(f);
    test_rotate(f, &offline, NULL);
    test_rotate(f, &login, NULL);
    ck_assert_uint_eq(log_out_sid(f, "sso"), 1);
    test_restart(f);
    expect_gone(f, &login, NULL);
    test_rotate(f, &offline, NULL);
    test_rotate(f, &other, NULL);
    test_close(f);
}
END_TEST

/* I7 V5: another node knows at once. */
START_TEST(logout_counts_on_every_node)
{
    test_fixture *f = test_open(_i), *node = test_open_node(f, NULL), *stranger = test_open_node(f, "another");
    test_held held = log_in(f, "sso"), foreign = log_in(stranger, "sso");
    test_assert_code(OTOK_OK, test_refresh_code(node, held.token, NULL));
    ck_assert_uint_eq(log_out_sid(node, "sso"), 1);
    expect_gone(f, &held, NULL);
    test_assert_code(OTOK_OK, test_refresh_code(stranger, foreign.token, NULL)); /* of another realm */
    test_close(stranger);
    test_close(node);
    test_close(f);
}
END_TEST

/* I7 T3: in every other respect it is a session like any other. */
START_TEST(login_bound_session_rotates_and_notices_reuse)
{
    test_fixture *f = test_open(_i);
    test_held first = log_in(f, "sso"), held = first, beside = log_in(f, "sso");
    test_rotate(f, &held, NULL);
    test_rotate(f, &held, NULL);
    const otok_event *rotated = &test_last_event(f, OTOK_EVENT_REFRESHED)->event;
    ck_assert_int_eq(rotated->kind, OTOK_SESSION_LOGIN);
    ck_assert_str_eq(rotated->sid, "sso");
    test_assert_code(OTOK_E_TOKEN_REUSED, test_refresh_code(f, first.token, NULL));
    expect_gone(f, &held, NULL);
    test_assert_code(OTOK_OK, test_refresh_code(f, beside.token, NULL));
    test_close(f);
}
END_TEST

/* I7 V3: one scope has a cutoff for logins and one for all, and neither moves the other. */
START_TEST(logout_and_revocation_of_one_scope_do_not_meet)
{
    otok_error err;
    uint64_t revoked = 0;
    test_fixture *f = test_open(_i);
    otok_filter alice = test_filter("alice", NULL, NULL);
    test_held first = hold(f, OTOK_SESSION_OFFLINE, "alice", "phone", "sso"), login = log_in(f, "sso");
    test_advance_s(f, 60);
    ck_assert_uint_eq(log_out(f, &alice, 0), 1);
    test_assert_code(OTOK_OK, test_refresh_code(f, first.token, NULL));
    test_assert_code(OTOK_OK, otok_revoke_matching(f->service, &alice, &revoked, &err));
    ck_assert_uint_eq(revoked, 1);
    expect_gone(f, &first, NULL);
    test_held second = hold(f, OTOK_SESSION_OFFLINE, "alice", "phone", "sso"), again = log_in(f, "sso");
    test_advance_s(f, 60);
    ck_assert_uint_eq(log_out(f, &alice, 0), 1);
    expect_gone(f, &again, NULL);
    (void)test_sweep(f, 0);
    test_assert_code(OTOK_OK, test_refresh_code(f, second.token, NULL));
    expect_gone(f, &login, NULL);
    test_close(f);
}
END_TEST

/* ---------------------------------------------------------------------------------------------------------------- events */

static bool same_text(const char *a, const char *b)
{
    return a == NULL || b == NULL ? a == b : strcmp(a, b) == 0;
}

/* E1 I7: one cutoff of the kind that it is for, with the names that it is for, and a revocation for each session. */
START_TEST(logout_is_told_with_kind_and_names)
{
    test_fixture *f = test_open(_i % 2);
    otok_filter filter = scope_of((size_t)_i / 2);
    world w = populate(f);
    test_forget_events(f);
    (void)log_out(f, &filter, 0);
    ck_assert_uint_eq(test_count_events(f, OTOK_EVENT_CUTOFF), 1);
    const otok_event *cutoff = &test_last_event(f, OTOK_EVENT_CUTOFF)->event;
    ck_assert_int_eq(cutoff->kind, OTOK_SESSION_LOGIN);
    ck_assert_int_ge(cutoff->cutoff_us, f->now_us);
    ck_assert(same_text(cutoff->subject, filter.subject));
    ck_assert(same_text(cutoff->client_id, filter.client_id));
    ck_assert(same_text(cutoff->sid, filter.sid));
    ck_assert_int_eq(f->events[0].event.type, OTOK_EVENT_CUTOFF); /* first: from then on they are dead */
    for (size_t i = 1; i < f->nevents; i++) {
        const otok_event *e = &f->events[i].event;
        ck_assert_int_eq(e->type, OTOK_EVENT_REVOKED);
        ck_assert_int_eq(e->reason, OTOK_REVOKED_BY_LOGOUT);
        ck_assert_int_eq(e->kind, OTOK_SESSION_LOGIN);
        ck_assert(e->session_id != NULL && e->subject != NULL && e->client_id != NULL && e->sid != NULL);
    }
    (void)w;
    test_close(f);
}
END_TEST

/* E1 */
START_TEST(event_of_an_issue_says_the_kind)
{
    test_fixture *f = test_open(_i);
    (void)log_in(f, "sso");
    ck_assert_int_eq(test_last_event(f, OTOK_EVENT_ISSUED)->event.kind, OTOK_SESSION_LOGIN);
    (void)hold(f, OTOK_SESSION_OFFLINE, "alice", "phone", "sso");
    ck_assert_int_eq(test_last_event(f, OTOK_EVENT_ISSUED)->event.kind, OTOK_SESSION_OFFLINE);
    test_close(f);
}
END_TEST

/* ---------------------------------------------------------------------------------------------------------- the sweeper */

enum { CROWD = 150 };

static void hold_crowd(test_fixture *f, const char *sid)
{
    for (int i = 0; i < CROWD; i++)
        (void)hold(f, i % 3 == 0 ? OTOK_SESSION_OFFLINE : OTOK_SESSION_LOGIN, "alice", "phone", sid);
}

/* L6 I7: wherever the walk was interrupted, the sweeper goes to its end, and leaves the offline ones where they are. */
START_TEST(sweeper_finishes_an_interrupted_logout)
{
    bool reached = true;
    for (uint64_t at = 2; reached; at++) { /* the first commit is the cutoff itself */
        test_watch watch;
        uint64_t ended = 99999;
        test_fixture *f = test_open(TEST_MEMORY);
        otok_filter filter = _i != 0 ? test_filter("alice", NULL, NULL) : test_filter(NULL, NULL, "sso");
        test_plain_policy(f);
        hold_crowd(f, "sso");
        test_watch_fixture(&watch, f);
        test_watch_fail(&watch, at, TEST_CALL_COMMIT, OTOK_E_IO, false);
        watch.on_and_on = true;
        int rc = otok_logout(f->service, &filter, 0, &ended, NULL);
        reached = watch.reached;
        test_assert_code(reached ? OTOK_E_IO : OTOK_OK, rc);
        otok_filter realm = test_filter_realm();
        ck_assert_uint_eq(ended, CROWD - test_count(f, &realm)); /* "also when it fails midway" */
        ck_assert_uint_eq(test_count_live(f, &realm), CROWD / 3);
        test_watch_reset(&watch);
        ck_assert_uint_eq(ended + test_sweep(f, 20).cut_off, CROWD - CROWD / 3);
        ck_assert_uint_eq(test_count(f, &realm), CROWD / 3);
        ck_assert_uint_eq(test_count_live(f, &realm), CROWD / 3);
        test_close(f);
    }
}
END_TEST

/* L6 I7: on disk, over a restart in the middle of the walk. */
START_TEST(sweeper_finishes_a_logout_after_a_restart)
{
    test_watch watch;
    uint64_t ended = 0;
    test_fixture *f = test_open(TEST_LMDB);
    otok_filter filter = _i != 0 ? test_filter("alice", NULL, NULL) : test_filter(NULL, NULL, "sso");
    otok_filter realm = test_filter_realm();
    test_plain_policy(f);
    hold_crowd(f, "sso");
    test_watch_fixture(&watch, f);
    test_watch_fail(&watch, 3, TEST_CALL_COMMIT, OTOK_E_IO, false);
    test_assert_code(OTOK_E_IO, otok_logout(f->service, &filter, 0, &ended, NULL));
    ck_assert_uint_lt(ended, CROWD - CROWD / 3);
    test_restart(f);
    ck_assert_uint_eq(test_sweep(f, 20).cut_off, CROWD - CROWD / 3 - ended);
    ck_assert_uint_eq(test_count(f, &realm), CROWD / 3);
    ck_assert_uint_eq(test_count_live(f, &realm), CROWD / 3);
    test_close(f);
}
END_TEST

/* I6 I7: offline sessions under the cutoff of a logout are not the sweeper's, however often it comes, and used ones never are. */
START_TEST(sweeper_never_removes_offline_sessions_behind_a_logout)
{
    test_fixture *f = test_open(_i);
    otok_filter filters[] = {test_filter(NULL, NULL, "sso"), test_filter("alice", NULL, NULL),
                             test_filter(NULL, "phone", NULL), test_filter("alice", "phone", NULL),
                             test_filter_realm()};
    test_held offline = hold(f, OTOK_SESSION_OFFLINE, "alice", "phone", "sso");
    for (size_t i = 0; i < sizeof filters / sizeof *filters; i++) {
        (void)log_in(f, "sso");
        ck_assert_uint_eq(log_out(f, &filters[i], 0), 1);
    }
    for (int week = 0; week < 10; week++) {
        ck_assert_uint_eq(test_sweep(f, 0).cut_off, 0);
        test_advance_s(f, 7 * (int64_t)TEST_DAY_S);
        test_rotate(f, &offline, NULL);
        ck_assert(test_is_live(f, offline.session_id));
    }
    ck_assert_uint_eq(test_count_events(f, OTOK_EVENT_REVOKED), sizeof filters / sizeof *filters);
    ck_assert_uint_eq(test_count_events(f, OTOK_EVENT_EXPIRED), 0);
    test_close(f);
}
END_TEST

/* ---------------------------------------------------------------------------------------------------------------- races */

enum { RACERS = 5, WAYS = 4 };

/* Racer 0 logs out after a while, the others refresh until they are refused. */
typedef struct race {
    int way;
    int patience;
    test_held held[RACERS]; /* each racer's latest */
    int returned;           /* atomic: 1 when the logout has */
    int rc_end;
    int rc[RACERS];
    bool late[RACERS]; /* a refresh that began later than that succeeded */
} race;

static int end_by(test_fixture *f, int way)
{
    otok_filter filters[WAYS] = {test_filter(NULL, NULL, "sso"), test_filter("alice", NULL, NULL),
                                 test_filter(NULL, "phone", NULL), test_filter(NULL, NULL, "sso")};
    return otok_logout(f->service, &filters[way], way == 3, NULL, NULL);
}

static void run_race(race *r, test_fixture *f, size_t i)
{
    for (int k = 0; i == 0 && k < r->patience; k++)
        (void)sched_yield();
    if (i == 0) {
        r->rc_end = end_by(f, r->way);
        __atomic_store_n(&r->returned, 1, __ATOMIC_SEQ_CST);
        return;
    }
    do {
        bool after = __atomic_load_n(&r->returned, __ATOMIC_SEQ_CST) != 0;
        r->rc[i] = test_refresh_held(f, &r->held[i], NULL);
        r->late[i] = r->late[i] || (after && r->rc[i] == OTOK_OK);
        (void)sched_yield();
    } while (r->rc[i] == OTOK_OK && !r->late[i]);
}

static void prepare(race *r, test_fixture *f, int way, int patience)
{
    memset(r, 0, sizeof *r);
    test_held held = log_in(f, "sso");
    for (size_t i = 0; i < RACERS; i++)
        r->held[i] = held;
    test_advance_s(f, 60); /* the first refresh rotates, the others retry */
    r->way = way;
    r->patience = patience;
}

static void assert_logged_out(const race *r, test_fixture *f)
{
    test_assert_code(OTOK_OK, r->rc_end);
    for (size_t i = 0; i < RACERS; i++) {
        ck_assert_msg(!r->late[i], "a refresh that began after the logout had returned succeeded");
        ck_assert_msg(i == 0 || r->rc[i] == OTOK_E_TOKEN_UNKNOWN || r->rc[i] == OTOK_E_TOKEN_REVOKED, "%s",
                      otok_error_name(r->rc[i]));
        expect_gone(f, &r->held[i], NULL);
    }
    ck_assert(!test_has_session(f, r->held[0].session_id));
}

typedef struct runners {
    race r;
    test_fixture *nodes[RACERS];
} runners;

static void race_of_threads(void *arg, size_t i)
{
    runners *run = arg;
    run_race(&run->r, run->nodes[i], i);
}

static void race_rounds(int engine, int way, int rounds)
{
    runners run;
    test_fixture *f = test_open(engine);
    f->callbacks.event = NULL;
    test_plain_policy(f);
    test_held offline = hold(f, OTOK_SESSION_OFFLINE, "alice", "phone", way == 3 ? "sso-0" : "sso");
    for (size_t i = 0; i < RACERS; i++) /* two nodes */
        run.nodes[i] = i % 2 != 0 ? test_open_node(f, NULL) : f;
    for (int round = 0; round < rounds; round++) {
        prepare(&run.r, f, way, round % 7 * 3);
        for (size_t i = 0; i < RACERS; i++)
            test_set_now_us(run.nodes[i], f->now_us);
        test_threads(RACERS, race_of_threads, &run);
        assert_logged_out(&run.r, f);
    }
    test_assert_code(OTOK_OK, test_refresh_code(f, offline.token, NULL));
    for (size_t i = 1; i < RACERS; i += 2)
        test_close(run.nodes[i]);
    test_close(f);
}

/* I7 V5: by sid, by subject, of a client, with revoke_offline_access */
START_TEST(logout_among_refreshing_threads_is_final_in_memory)
{
    race_rounds(TEST_MEMORY, _i, 150);
}
END_TEST

/* I7 V5 */
START_TEST(logout_among_refreshing_threads_is_final_on_lmdb)
{
    race_rounds(TEST_LMDB, _i, 30);
}
END_TEST

static const test_fixture *parent;

static void race_of_processes(void *arg, size_t i)
{
    otok_error err;
    test_fixture f = *parent;
    f.service = NULL;
    int rc = otok_store_open_lmdb(f.folder, NULL, &f.store, &err);
    if (rc != OTOK_OK)
        test_leave(err.message, rc);
    test_reopen_service(&f);
    run_race(arg, &f, i);
    otok_service_close(f.service);
    otok_store_close(f.store);
}

/* I7 V5 S4 */
START_TEST(logout_among_refreshing_processes_is_final)
{
    race *r = test_shared(sizeof *r);
    test_fixture *f = test_open(TEST_LMDB);
    f->callbacks.event = NULL;
    test_plain_policy(f);
    for (int round = 0; round < 8; round++) {
        prepare(r, f, _i, 20 + round % 7 * 50);
        parent = f;
        test_processes(RACERS, race_of_processes, r);
        assert_logged_out(r, f);
    }
    test_unshare(r, sizeof *r);
    test_close(f);
}
END_TEST

enum { ISSUERS = 4, EACH = 30 };

/* Logins and offline grants while the subject is logged out, on nodes whose clocks do not agree. */
typedef struct flood {
    test_fixture *nodes[ISSUERS + 1];
    int began, returned; /* atomic: of the logout */
    int rc;
    struct {
        test_held held;
        bool before, after; /* returned before the logout began; began after it had returned */
    } issued[ISSUERS][EACH];
} flood;

static int32_t kind_of(size_t k)
{
    return k % 3 == 0 ? OTOK_SESSION_OFFLINE : OTOK_SESSION_LOGIN;
}

static void log_in_or_out(void *arg, size_t i)
{
    flood *s = arg;
    otok_filter alice = test_filter("alice", NULL, NULL);
    for (size_t k = 0; i < ISSUERS && k < EACH; k++) {
        s->issued[i][k].after = __atomic_load_n(&s->returned, __ATOMIC_SEQ_CST) != 0;
        s->issued[i][k].held = hold(s->nodes[i], kind_of(k), "alice", "phone", "sso");
        s->issued[i][k].before = __atomic_load_n(&s->began, __ATOMIC_SEQ_CST) == 0;
    }
    if (i < ISSUERS)
        return;
    for (int k = 0; k < 30; k++)
        (void)sched_yield();
    __atomic_store_n(&s->began, 1, __ATOMIC_SEQ_CST);
    s->rc = otok_logout(s->nodes[ISSUERS]->service, &alice, 0, NULL, NULL);
    __atomic_store_n(&s->returned, 1, __ATOMIC_SEQ_CST);
}

static void expect_parted(const flood *s)
{
    for (size_t i = 0; i < ISSUERS * EACH; i++) {
        int rc = test_refresh_code(s->nodes[ISSUERS], s->issued[i / EACH][i % EACH].held.token, NULL);
        bool offline = kind_of(i % EACH) == OTOK_SESSION_OFFLINE;
        if (offline || s->issued[i / EACH][i % EACH].after)
            test_assert_code(OTOK_OK, rc);
        else if (s->issued[i / EACH][i % EACH].before)
            ck_assert_msg(rc == OTOK_E_TOKEN_UNKNOWN || rc == OTOK_E_TOKEN_REVOKED, "%s", otok_error_name(rc));
    }
}

/* I7 V3: who had logged in before is out, who logs in afterwards is in, whatever the clocks say; offline sessions are untouched. */
START_TEST(logout_among_issuing_threads_parts_before_from_after)
{
    static const int64_t clocks_s[ISSUERS] = {0, 3600, -3600, 40000};
    static flood s;
    for (int round = 0; round < (_i == TEST_MEMORY ? 30 : 5); round++) {
        memset(&s, 0, sizeof s);
        s.nodes[ISSUERS] = test_open(_i);
        test_plain_policy(s.nodes[ISSUERS]);
        for (size_t i = 0; i < ISSUERS; i++) {
            s.nodes[i] = test_open_node(s.nodes[ISSUERS], NULL);
            test_advance_s(s.nodes[i], clocks_s[i]);
        }
        test_threads(ISSUERS + 1, log_in_or_out, &s);
        test_assert_code(OTOK_OK, s.rc);
        expect_parted(&s);
        (void)test_sweep(s.nodes[ISSUERS], 0);
        expect_parted(&s);
        for (size_t i = 0; i < ISSUERS + 1; i++)
            test_close(s.nodes[i]);
    }
}
END_TEST

static void add_tests(TCase *tc)
{
    const TTest *const on_both[] = {
        revoke_offline_access_works_without_a_login_session_left,
        login_bound_session_without_sid_is_refused,
        logout_of_nothing_in_particular_is_refused,
        new_login_never_revives_an_old_session,
        logout_whose_walk_failed_is_final_all_the_same,
        sessions_and_logout_outlive_a_restart,
        logout_counts_on_every_node,
        login_bound_session_rotates_and_notices_reuse,
        logout_and_revocation_of_one_scope_do_not_meet,
        event_of_an_issue_says_the_kind,
        sweeper_never_removes_offline_sessions_behind_a_logout,
        logout_among_issuing_threads_parts_before_from_after,
    };
    tcase_add_loop_test(tc, logout_ends_the_login_bound_sessions_that_match, 0, 2 * SCOPES);
    tcase_add_loop_test(tc, logout_with_revoke_offline_access_ends_both_kinds, 0, 2 * SCOPES);
    tcase_add_loop_test(tc, logout_is_told_with_kind_and_names, 0, 2 * SCOPES);
    test_add_on_both(tc, on_both, sizeof on_both / sizeof *on_both);
    tcase_add_loop_test(tc, sweeper_finishes_an_interrupted_logout, 0, 2);
    tcase_add_loop_test(tc, sweeper_finishes_a_logout_after_a_restart, 0, 2);
    tcase_add_loop_test(tc, logout_among_refreshing_threads_is_final_in_memory, 0, WAYS);
    tcase_add_loop_test(tc, logout_among_refreshing_threads_is_final_on_lmdb, 0, WAYS);
    tcase_add_loop_test(tc, logout_among_refreshing_processes_is_final, 0, WAYS);
}

int main(void)
{
    return test_main("logout", add_tests);
}
