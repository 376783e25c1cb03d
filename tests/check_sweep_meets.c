/*
 * check_sweep_meets.c - L6: the sweeper meets another sweeper, a refresh, a store that fails, a callback that fails.
 *
 * SPDX-License-Identifier: MIT
 */
#include "support/ask.h"
#include "support/crew.h"
#include "support/node.h"
#include "support/watch.h"

#include <string.h>

#define DAYS(n) ((n) * (int64_t)TEST_DAY_S)

static uint64_t records(test_fixture *f)
{
    otok_filter realm = test_filter_realm();
    return test_count(f, &realm);
}

static void cut(test_fixture *f, const char *subject, const char *client_id)
{
    otok_error err;
    otok_filter filter = test_filter(subject, client_id, NULL);
    test_assert_code(OTOK_OK, otok_cutoff_set(f->service, &filter, OTOK_NOW, NULL, &err));
}

typedef struct sweepers {
    test_fixture *nodes[2];
    otok_sweep_result sums[2];
} sweepers;

static void sweep_one(void *arg, size_t i)
{
    sweepers *s = arg;
    s->sums[i] = test_sweep(s->nodes[i], 25);
}

/* L6: two sweepers at once */
START_TEST(two_sweepers_remove_each_session_once_with_one_event)
{
    enum { TWICE = 200 };
    for (int by_cutoff = 0; by_cutoff < 2; by_cutoff++) {
        sweepers s;
        uint64_t gone = 0;
        test_fixture *f = test_open(_i);
        test_plain_policy(f);
        for (int i = 0; i < TWICE; i++)
            otok_tokens_free(test_issue_plain(f, "alice", "phone"));
        test_advance_s(f, by_cutoff ? 0 : DAYS(31));
        if (by_cutoff)
            cut(f, "alice", NULL);
        for (int round = 0; round < 3; round++) {
            for (size_t i = 0; i < 2; i++)
                s.nodes[i] = test_open_node(f, NULL);
            test_threads(2, sweep_one, &s);
            for (size_t i = 0; i < 2; i++) {
                size_t told = test_count_events(s.nodes[i], OTOK_EVENT_EXPIRED) +
                              test_count_events(s.nodes[i], OTOK_EVENT_REVOKED);
                ck_assert_uint_eq(told, s.sums[i].expired + s.sums[i].cut_off);
                gone += told;
                test_close(s.nodes[i]);
            }
            test_advance_s(f, DAYS(1) + 60);
        }
        ck_assert_uint_eq(gone, TWICE);
        ck_assert_uint_eq(records(f), 0);
        test_close(f);
    }
}
END_TEST

typedef struct saviour {
    test_fixture *node;
    test_held held;
    int saved;
} saviour;

static void refresh_meanwhile(void *arg)
{
    saviour *s = arg;
    s->saved += test_refresh_held(s->node, &s->held, NULL) == OTOK_OK;
}

/* L6: "never one that was refreshed meanwhile": by a node for which it was not dead yet, before each call of the store */
START_TEST(session_refreshed_while_the_sweeper_looks_at_it_stays)
{
    uint64_t at = 1;
    int kept = 0;
    bool reached = true;
    for (; reached; at++) {
        test_fixture *f = test_open(TEST_MEMORY);
        saviour s = {.node = test_open_node(f, NULL)};
        test_watch watch;
        test_watch_fixture(&watch, f);
        s.held = test_hold(f, NULL, NULL);
        test_advance_s(s.node, DAYS(29));
        test_advance_s(f, DAYS(31));
        (void)test_sweep(f, 0);
        test_advance_s(f, DAYS(1) + 60);
        test_watch_step_in(&watch, at, TEST_CALL_ANY, refresh_meanwhile, &s);
        otok_sweep_result sum = test_sweep(f, 0);
        reached = watch.reached;
        ck_assert_int_eq(test_has_session(s.node, s.held.session_id), sum.expired == 0);
        if (s.saved != 0) {
            ck_assert_uint_eq(sum.expired, 0);
            ck_assert_uint_eq(test_count_events(f, OTOK_EVENT_EXPIRED), 0);
            test_assert_code(OTOK_OK, test_refresh_code(f, s.held.token, NULL));
            kept++;
        }
        test_close(s.node);
        test_close(f);
    }
    ck_assert_int_ge(kept, 2);
}
END_TEST

/* L6: a sweep that cannot read or write says so, and loses nothing: idle sessions (0), and cut off ones (1) */
START_TEST(sweep_over_a_failing_store_is_no_success_and_is_made_up_for)
{
    bool reached = true;
    for (uint64_t at = 1; reached; at++) {
        otok_error err;
        test_watch watch;
        test_fixture *f = test_open(TEST_MEMORY);
        test_plain_policy(f);
        test_watch_fixture(&watch, f);
        for (int i = 0; i < 100; i++)
            otok_tokens_free(test_issue_plain(f, "alice", "phone"));
        if (_i == 1)
            cut(f, "alice", NULL);
        test_advance_s(f, DAYS(31));
        (void)(_i == 0 ? test_sweep(f, 0).visited : 0);
        test_advance_s(f, DAYS(2));
        test_watch_fail(&watch, at, TEST_CALL_ANY, OTOK_E_IO, false);
        int rc = otok_sweep(f->service, 0, NULL, &err);
        reached = watch.reached;
        test_assert_code(reached ? OTOK_E_IO : OTOK_OK, rc);
        test_watch_reset(&watch);
        (void)test_sweep_out(f);
        ck_assert_uint_eq(records(f), 0);
        ck_assert_uint_eq(test_count_events(f, _i == 0 ? OTOK_EVENT_EXPIRED : OTOK_EVENT_REVOKED), 100);
        test_close(f);
    }
}
END_TEST

static bool speechless;

static int fail_when_speechless(test_fixture *f, const char *client_id, otok_policy *policy)
{
    (void)f;
    policy->idle_timeout_s = OTOK_UNLIMITED;
    return speechless && strcmp(client_id, "phone") == 0 ? -1 : 0;
}

/* L6: without its policy nobody knows whether a session is dead: it stays, whatever else the sweep does */
START_TEST(session_whose_policy_cannot_be_had_is_not_swept)
{
    test_fixture *f = test_open(_i);
    f->client_policy = fail_when_speechless;
    test_reopen_service(f);
    speechless = false;
    test_held held = test_hold(f, "alice", "phone");
    speechless = true;
    for (int day = 0; day < 70; day++) {
        otok_error err;
        test_advance_s(f, DAYS(1));
        (void)otok_sweep(f->service, 0, NULL, &err);
    }
    speechless = false;
    test_assert_code(OTOK_OK, test_refresh_code(f, held.token, NULL));
    ck_assert_uint_eq(test_count_events(f, OTOK_EVENT_EXPIRED), 0);
    test_close(f);
}
END_TEST

/* L6: and one client's callback does not keep the sweeper from the sessions of the others for ever */
START_TEST(client_whose_policy_cannot_be_had_does_not_stop_the_sweep_of_others)
{
    test_fixture *f = test_open(_i);
    f->client_policy = fail_when_speechless;
    test_reopen_service(f);
    speechless = false;
    (void)test_hold(f, "alice", "phone");
    otok_grant grant = test_grant("bob", "laptop", "offline_access");
    grant.max_lifetime_s = DAYS(2);
    test_held dead = test_hold_grant(f, &grant);
    speechless = true;
    for (int day = 0; day < 70; day++) {
        otok_error err;
        test_advance_s(f, DAYS(1));
        for (int call = 0; call < 5; call++)
            (void)otok_sweep(f->service, 0, NULL, &err);
    }
    speechless = false;
    ck_assert(!test_has_session(f, dead.session_id));
    test_close(f);
}
END_TEST

/* ----------------------------------------------------------------------------------------- one group of many fails */

/* In front of a store: the first group of each commit finds the disk full, the others are done. */
static int first_is_full(void *self, otok_group *groups, size_t n, otok_error *err)
{
    int rc = n > 1 ? otok_store_commit(self, groups + 1, n - 1, err) : OTOK_OK;
    groups[0].result = otok_error_set(&groups[0].error, OTOK_E_FULL, 0, "the test's first group");
    return rc;
}

static int pass_fetch(void *self, const otok_id *ids, size_t n, uint32_t flags, otok_emit emit, void *arg,
                      otok_error *err)
{
    return otok_store_fetch(self, ids, n, flags, emit, arg, err);
}

static int pass_scan(void *self, const otok_scan *scan, otok_emit emit, void *arg, otok_error *err)
{
    return otok_store_scan(self, scan, emit, arg, err);
}

static int pass_count(void *self, const otok_index_key *key, uint64_t *out, otok_error *err)
{
    return otok_store_count(self, key, out, err);
}

static void pass_close(void *self)
{
    (void)self; /* the fixture's own */
}

/* A second service over the fixture's store, whose commits all lose their first group. */
static otok_service *open_over_full(test_fixture *f, otok_store **store)
{
    otok_error err;
    otok_service *service = NULL;
    otok_config config = {.size = sizeof config, .issuer = TEST_ISSUER, .callbacks = &f->callbacks, .user = f};
    const otok_store_vtab vtab = {
        .size = sizeof vtab,
        .guarantees = OTOK_STORE_ATOMIC_GROUPS,
        .name = "full",
        .fetch = pass_fetch,
        .commit = first_is_full,
        .scan = pass_scan,
        .count = pass_count,
        .close = pass_close,
    };
    test_assert_code(OTOK_OK, otok_store_open(&vtab, f->store, store, &err));
    test_assert_code(OTOK_OK, otok_service_open(&config, *store, f->keyring, &service, &err));
    return service;
}

/* L6, V2, E1: the error of one session hides none of those that were removed beside it. */
START_TEST(session_that_cannot_be_removed_hides_no_other_that_was)
{
    enum { SESSIONS = 5 };
    otok_error err;
    otok_store *store;
    otok_sweep_result result;
    uint64_t removed = 0;
    test_fixture *f = test_open(TEST_MEMORY);
    otok_grant grant = test_grant("alice", NULL, "offline_access");
    grant.max_lifetime_s = _i == 0 ? 60 : 0;
    for (int i = 0; i < SESSIONS; i++)
        (void)test_hold_grant(f, &grant);
    if (_i == 0) { /* seen dead once: the next sweep removes them */
        test_advance_s(f, DAYS(1));
        test_assert_code(OTOK_OK, otok_sweep(f->service, 0, NULL, &err));
        test_advance_s(f, DAYS(2));
    } else {
        cut(f, "alice", NULL); /* so that the walk alone is left to do */
        test_forget_events(f);
    }
    otok_service *service = open_over_full(f, &store);
    otok_sweep_result_init(&result, sizeof result);
    int rc = otok_sweep(service, 0, &result, &err);
    removed = result.expired + result.cut_off;
    test_assert_code(OTOK_E_FULL, rc);
    ck_assert_str_eq(err.message, "the test's first group");
    ck_assert_uint_eq(records(f), 1);
    ck_assert_uint_eq(removed, SESSIONS - 1);
    ck_assert_uint_eq(test_count_events(f, _i == 0 ? OTOK_EVENT_EXPIRED : OTOK_EVENT_REVOKED), SESSIONS - 1);
    otok_service_close(service);
    otok_store_close(store);
    test_close(f);
}
END_TEST

static void sweep_meanwhile(void *arg)
{
    test_fixture *node = arg;
    ck_assert_uint_eq(test_sweep(node, 0).cut_off, 1);
}

/* Q4, V5: a sweeper that comes late removes it and keeps the cutoff for those who have read it before. */
START_TEST(session_that_is_swept_while_a_list_looks_at_it_is_not_shown_as_live)
{
    test_watch watch;
    otok_error err;
    uint64_t live = 9;
    test_fixture *f = test_open(_i);
    otok_filter sid = test_filter(NULL, NULL, "s1"), alice = test_filter("alice", NULL, NULL);
    otok_grant grant = test_grant("alice", "phone", "offline_access");
    grant.sid = "s1";
    (void)test_hold_grant(f, &grant);
    test_assert_code(OTOK_OK, otok_cutoff_set(f->service, &sid, OTOK_NOW, NULL, &err));
    test_advance_s(f, DAYS(2));
    test_fixture *node = test_open_node(f, NULL);
    test_watch_fixture(&watch, f);
    test_watch_step_in(&watch, 1, TEST_CALL_FETCH, sweep_meanwhile, node);
    test_assert_code(OTOK_OK, otok_count_live(f->service, &alice, &live, &err));
    ck_assert(watch.reached);
    ck_assert_uint_eq(live, 0);
    test_advance_s(f, DAYS(1));
    (void)test_sweep(f, 0);
    test_assert_code(OTOK_E_NOT_FOUND, otok_cutoff_get(f->service, &sid, &(int64_t){0}, &err));
    test_close(node);
    test_close(f);
}
END_TEST

static void add_tests(TCase *tc)
{
    const TTest *const on_both[] = {two_sweepers_remove_each_session_once_with_one_event,
                                    session_that_is_swept_while_a_list_looks_at_it_is_not_shown_as_live,
                                    session_whose_policy_cannot_be_had_is_not_swept,
                                    client_whose_policy_cannot_be_had_does_not_stop_the_sweep_of_others};
    test_add_on_both(tc, on_both, sizeof on_both / sizeof *on_both);
    tcase_add_loop_test(tc, session_that_cannot_be_removed_hides_no_other_that_was, 0, 2);
    tcase_add_test(tc, session_refreshed_while_the_sweeper_looks_at_it_stays);
    tcase_add_loop_test(tc, sweep_over_a_failing_store_is_no_success_and_is_made_up_for, 0, 2);
}

int main(void)
{
    return test_main("sweep_meets", add_tests);
}
