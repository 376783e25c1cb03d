/*
 * check_list.c - Q2, Q3, Q4: what lists and counts say of sessions.  How they are paged through: check_list_pages.c.
 *
 * SPDX-License-Identifier: MIT
 */
#include "support/ask.h"
#include "support/node.h"
#include "support/watch.h"

#include <stdio.h>
#include <string.h>

#define DAY_US (INT64_C(86400) * OTOK_US_PER_S)

static otok_session *get(test_fixture *f, const char *session_id)
{
    otok_error err;
    otok_session *session = NULL;
    test_assert_code(OTOK_OK, otok_session_get(f->service, session_id, &session, &err));
    return session;
}

static otok_page *first_page(test_fixture *f, const otok_filter *filter)
{
    otok_error err;
    otok_page *page = NULL;
    otok_list_request request;
    otok_list_request_init(&request, sizeof request);
    request.filter = filter;
    test_assert_code(OTOK_OK, otok_list(f->service, &request, &page, &err));
    return page;
}

static void assert_same_session(const otok_session *a, const otok_session *b)
{
    const char *const texts[][2] = {{a->session_id, b->session_id},
                                    {a->subject, b->subject},
                                    {a->client_id, b->client_id},
                                    {a->scope, b->scope},
                                    {a->sid, b->sid},
                                    {a->label, b->label},
                                    {a->start_ip, b->start_ip},
                                    {a->start_user_agent, b->start_user_agent},
                                    {a->last_ip, b->last_ip},
                                    {a->last_user_agent, b->last_user_agent},
                                    {a->sub, b->sub},
                                    {a->notes, b->notes}};
    const int64_t numbers[][2] = {{a->grant_type, b->grant_type},
                                  {a->binding, b->binding},
                                  {a->started_us, b->started_us},
                                  {a->last_used_us, b->last_used_us},
                                  {a->rotated_us, b->rotated_us},
                                  {a->idle_expires_us, b->idle_expires_us},
                                  {a->max_expires_us, b->max_expires_us},
                                  {a->generation, b->generation},
                                  {a->retries, b->retries},
                                  {a->state, b->state},
                                  {a->kind, b->kind}};
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
        ck_assert_pstr_eq(texts[i][0], texts[i][1]);
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++)
        ck_assert_int_eq(numbers[i][0], numbers[i][1]);
}

static test_held hold_with_everything(test_fixture *f)
{
    otok_peer peer;
    otok_grant grant = test_grant("alice", "phone", "offline_access profile openid");
    otok_peer_init(&peer, sizeof peer);
    peer.ip = "192.0.2.1";
    peer.user_agent = "Browser/1";
    peer.jkt = TEST_JKT;
    grant.sid = "sso-1";
    grant.label = "Alice's Télephone";
    grant.grant_type = OTOK_GRANT_DEVICE_CODE;
    grant.binding = OTOK_BINDING_JKT;
    grant.peer = &peer;
    grant.max_lifetime_s = 90 * (int64_t)TEST_DAY_S;
    return test_hold_grant(f, &grant);
}

static void refresh_from(test_fixture *f, test_held *held, const char *ip, const char *user_agent)
{
    otok_error err;
    otok_peer peer;
    otok_tokens *tokens = NULL;
    otok_refresh_request request = test_refresh_request(held->token, NULL);
    otok_peer_init(&peer, sizeof peer);
    peer.ip = ip;
    peer.user_agent = user_agent;
    peer.jkt = TEST_JKT;
    request.peer = &peer;
    test_assert_code(OTOK_OK, otok_refresh(f->service, &request, &tokens, &err));
    test_keep(held, tokens);
}

/* Q2 */
START_TEST(row_of_a_new_session_has_every_field)
{
    test_fixture *f = test_open(_i);
    test_held held = hold_with_everything(f);
    otok_session *s = get(f, held.session_id);
    ck_assert_str_eq(s->session_id, held.session_id);
    ck_assert_str_eq(s->subject, "alice");
    ck_assert_str_eq(s->client_id, "phone");
    ck_assert_str_eq(s->scope, "offline_access profile openid");
    ck_assert_str_eq(s->sid, "sso-1");
    ck_assert_str_eq(s->label, "Alice's Télephone");
    ck_assert_str_eq(s->start_ip, "192.0.2.1");
    ck_assert_str_eq(s->start_user_agent, "Browser/1");
    ck_assert_int_eq(s->grant_type, OTOK_GRANT_DEVICE_CODE);
    ck_assert_int_eq(s->binding, OTOK_BINDING_JKT);
    ck_assert_int_eq(s->started_us, TEST_START_US);
    ck_assert_int_eq(s->last_used_us, TEST_START_US);
    ck_assert_int_eq(s->rotated_us, 0);
    ck_assert_int_ge(s->idle_expires_us, TEST_START_US + 30 * DAY_US);
    ck_assert_int_le(s->idle_expires_us, TEST_START_US + 30 * DAY_US + 300 * OTOK_US_PER_S);
    ck_assert_int_eq(s->max_expires_us, TEST_START_US + 90 * DAY_US);
    ck_assert_uint_eq(s->generation, 0);
    ck_assert_uint_eq(s->retries, 0);
    ck_assert_int_eq(s->state, OTOK_OK);
    ck_assert_int_eq(s->kind, OTOK_SESSION_OFFLINE);
    ck_assert_str_eq(s->sub, "alice");
    otok_session_free(s);
    test_close(f);
}
END_TEST

/* Q2 */
START_TEST(row_of_a_used_session_shows_its_last_use)
{
    test_fixture *f = test_open(_i);
    f->policy.rotation = OTOK_ROTATION_ALWAYS;
    test_reopen_service(f);
    test_held held = hold_with_everything(f);
    for (uint32_t n = 1; n <= 3; n++) {
        char ip[32];
        (void)snprintf(ip, sizeof ip, "2001:db8::%u", n);
        test_advance_s(f, TEST_DAY_S);
        refresh_from(f, &held, ip, "App/2");
        test_restart(f);
        otok_session *s = get(f, held.session_id);
        ck_assert_int_eq(s->started_us, TEST_START_US);
        ck_assert_int_eq(s->last_used_us, f->now_us);
        ck_assert_int_eq(s->rotated_us, f->now_us);
        ck_assert_int_ge(s->idle_expires_us, f->now_us + 30 * DAY_US);
        ck_assert_str_eq(s->start_ip, "192.0.2.1");
        ck_assert_str_eq(s->start_user_agent, "Browser/1");
        ck_assert_str_eq(s->last_ip, ip);
        ck_assert_str_eq(s->last_user_agent, "App/2");
        ck_assert_uint_eq(s->generation, n);
        otok_session_free(s);
    }
    test_close(f);
}
END_TEST

/* Q2: a list shows the very same as otok_session_get() */
START_TEST(list_and_get_agree)
{
    test_fixture *f = test_open(_i);
    otok_filter filters[] = {test_filter("alice", NULL, NULL), test_filter(NULL, "phone", NULL),
                             test_filter("alice", "phone", NULL), test_filter(NULL, NULL, "sso-1"),
                             test_filter_realm()};
    test_held held = hold_with_everything(f);
    test_advance_s(f, TEST_DAY_S);
    refresh_from(f, &held, "2001:db8::1", "App/2");
    otok_session *s = get(f, held.session_id);
    for (size_t i = 0; i < sizeof filters / sizeof *filters; i++) {
        otok_page *page = first_page(f, &filters[i]);
        ck_assert_uint_eq(page->count, 1);
        assert_same_session(page->sessions[0], s);
        ck_assert_ptr_null(page->next_cursor);
        otok_page_free(page);
    }
    otok_session_free(s);
    test_close(f);
}
END_TEST

/* Q2 */
START_TEST(what_was_not_given_is_null_and_what_has_no_end_is_unlimited)
{
    test_fixture *f = test_open(_i);
    f->policy.idle_timeout_s = OTOK_UNLIMITED;
    test_reopen_service(f);
    test_held held = test_hold(f, NULL, NULL);
    otok_session *s = get(f, held.session_id);
    ck_assert_ptr_null(s->sid);
    ck_assert_ptr_null(s->label);
    ck_assert_ptr_null(s->start_ip);
    ck_assert_ptr_null(s->start_user_agent);
    ck_assert(s->idle_expires_us == OTOK_UNLIMITED);
    ck_assert(s->max_expires_us == OTOK_UNLIMITED);
    ck_assert_int_eq(s->binding, OTOK_BINDING_NONE);
    ck_assert_int_eq(s->grant_type, OTOK_GRANT_AUTHORIZATION_CODE);
    otok_session_free(s);
    test_close(f);
}
END_TEST

/* Q2, T2: retries are counted where the policy limits them */
START_TEST(row_counts_the_retries_of_this_generation)
{
    test_fixture *f = test_open(_i);
    f->policy.retry_limit = 5;
    test_reopen_service(f);
    test_held held = test_hold(f, NULL, NULL), old = held;
    test_rotate(f, &held, NULL);
    for (uint32_t n = 1; n <= 3; n++) {
        test_assert_code(OTOK_OK, test_refresh_code(f, old.token, NULL));
        otok_session *s = get(f, held.session_id);
        ck_assert_uint_eq(s->retries, n);
        otok_session_free(s);
    }
    test_rotate(f, &held, NULL);
    otok_session *s = get(f, held.session_id);
    ck_assert_uint_eq(s->retries, 0);
    otok_session_free(s);
    test_close(f);
}
END_TEST

/* Q3: the library does not walk; whether the store has to, it says (OTOK_STORE_FAST_COUNT) */
START_TEST(count_does_not_walk)
{
    test_watch watch;
    test_fixture *f = test_open(TEST_LMDB);
    otok_filter filters[] = {test_filter("alice", NULL, NULL), test_filter(NULL, "phone", NULL),
                             test_filter("alice", "phone", NULL), test_filter_realm()};
    test_plain_policy(f);
    test_watch_fixture(&watch, f);
    for (int i = 0; i < 50; i++)
        otok_tokens_free(test_issue_plain(f, "alice", "phone"));
    test_watch_reset(&watch);
    for (size_t i = 0; i < sizeof filters / sizeof *filters; i++)
        ck_assert_uint_eq(test_count(f, &filters[i]), 50);
    ck_assert_uint_eq(watch.visited, 0);
    ck_assert_uint_eq(watch.scans, 0);
    test_close(f);
}
END_TEST

enum { GROUP = 7 };

/* Sessions that are live, idle, at their end, cut off, and revoked; GROUP of each (the revoked ones are gone at once). */
static void make_dead_and_live(test_fixture *f, test_held live[GROUP])
{
    otok_error err;
    otok_filter old = test_filter("alice", "old", NULL);
    otok_grant limited = test_grant("alice", "phone", "offline_access");
    limited.max_lifetime_s = 3600;
    for (int i = 0; i < GROUP; i++)
        otok_tokens_free(test_issue_plain(f, "alice", "phone"));
    test_advance_s(f, 31 * (int64_t)TEST_DAY_S);
    for (int i = 0; i < GROUP; i++) {
        (void)test_hold_grant(f, &limited);
        otok_tokens_free(test_issue_plain(f, "alice", "old"));
        test_held held = test_hold(f, "alice", "phone");
        test_assert_code(OTOK_OK, otok_revoke_session(f->service, held.session_id, &err));
        live[i] = test_hold(f, "alice", "phone");
    }
    test_advance_s(f, 7200);
    test_assert_code(OTOK_OK, otok_cutoff_set(f->service, &old, OTOK_NOW, NULL, &err));
}

/* Q3, Q4 */
START_TEST(dead_sessions_are_not_listed_before_the_sweeper_comes)
{
    test_id ids[64];
    test_held live[GROUP];
    test_fixture *f = test_open(_i);
    otok_filter alice = test_filter("alice", NULL, NULL), old = test_filter("alice", "old", NULL);
    otok_filter phone = test_filter(NULL, "phone", NULL), realm = test_filter_realm();
    make_dead_and_live(f, live);
    ck_assert_uint_eq(test_list(f, &alice, OTOK_ORDER_OLDEST_FIRST, 3, ids, 64), GROUP);
    for (size_t i = 0; i < GROUP; i++) {
        size_t found = 0;
        for (size_t k = 0; k < GROUP; k++)
            found += strcmp(ids[i], live[k].session_id) == 0;
        ck_assert_uint_eq(found, 1);
    }
    ck_assert_uint_eq(test_list(f, &phone, OTOK_ORDER_NEWEST_FIRST, 0, NULL, 0), GROUP);
    ck_assert_uint_eq(test_list(f, &realm, OTOK_ORDER_NEWEST_FIRST, 0, NULL, 0), GROUP);
    ck_assert_uint_eq(test_list(f, &old, OTOK_ORDER_NEWEST_FIRST, 0, NULL, 0), 0);
    ck_assert_uint_eq(test_count_live(f, &alice), GROUP);
    ck_assert_uint_eq(test_count_live(f, &phone), GROUP);
    ck_assert_uint_eq(test_count_live(f, &realm), GROUP);
    ck_assert_uint_eq(test_count_live(f, &old), 0);
    ck_assert_uint_eq(test_count(f, &alice), 4 * GROUP);
    ck_assert_uint_eq(test_count(f, &old), GROUP);
    (void)test_sweep_out(f);
    ck_assert_uint_eq(test_count(f, &alice), GROUP);
    test_close(f);
}
END_TEST

/* Q4, L4: policy and cutoffs count at the time of the list, on every node */
START_TEST(list_follows_policy_and_cutoff_at_once)
{
    otok_error err;
    test_fixture *f = test_open(_i), *node = test_open_node(f, NULL);
    otok_filter alice = test_filter("alice", NULL, NULL), realm = test_filter_realm();
    otok_tokens_free(test_issue_plain(f, "alice", "phone"));
    test_advance_s(f, 7200);
    test_advance_s(node, 7200);
    ck_assert_uint_eq(test_count_live(node, &alice), 1);
    node->policy.idle_timeout_s = 3600;
    test_reopen_service(node);
    ck_assert_uint_eq(test_count_live(node, &alice), 0);
    ck_assert_uint_eq(test_list(node, &alice, 0, 0, NULL, 0), 0);
    ck_assert_uint_eq(test_list(f, &alice, 0, 0, NULL, 0), 1);
    test_assert_code(OTOK_OK, otok_cutoff_set(node->service, &realm, OTOK_NOW, NULL, &err));
    ck_assert_uint_eq(test_list(f, &alice, 0, 0, NULL, 0), 0);
    ck_assert_uint_eq(test_count_live(f, &alice), 0);
    test_close(node);
    test_close(f);
}
END_TEST

/* Q2: "One session, live or not" */
START_TEST(get_shows_dead_sessions_too)
{
    otok_error err;
    otok_session *none = NULL;
    test_fixture *f = test_open(_i);
    test_held held = test_hold(f, NULL, NULL);
    test_advance_s(f, 40 * (int64_t)TEST_DAY_S);
    otok_session_free(get(f, held.session_id));
    test_assert_code(OTOK_OK, otok_revoke_session(f->service, held.session_id, &err));
    test_assert_code(OTOK_E_NOT_FOUND, otok_session_get(f->service, held.session_id, &none, &err));
    ck_assert_ptr_null(none);
    test_assert_code(OTOK_E_INVALID, otok_session_get(f->service, NULL, &none, &err));
    test_close(f);
}
END_TEST

/* ------------------------------------------------------------------------------------------- what nobody can tell */

/* A policy of one client: what client_policy answers for "broken". */
static int failing_policy(test_fixture *f, const char *client_id, otok_policy *policy)
{
    (void)f;
    (void)policy;
    return strcmp(client_id, "broken") == 0 ? -1 : 0;
}

static int nonsense_policy(test_fixture *f, const char *client_id, otok_policy *policy)
{
    (void)f;
    if (strcmp(client_id, "broken") == 0)
        policy->idle_timeout_s = -1;
    return 0;
}

/* The row of the session with that id; NULL when the page has none. */
static const otok_session *row_of(const otok_page *page, const char *session_id)
{
    for (size_t i = 0; i < page->count; i++) {
        if (strcmp(page->sessions[i]->session_id, session_id) == 0)
            return page->sessions[i];
    }
    return NULL;
}

/*
 * Q1, Q4: one client whose policy cannot be told hides nobody's sessions, and its own are shown as what they are: not as live, nor
 * not at all.
 */
START_TEST(client_whose_policy_fails_spoils_no_list)
{
    static int (*const policies[])(test_fixture *, const char *, otok_policy *) = {failing_policy, nonsense_policy};
    static const int codes[] = {OTOK_E_CALLBACK, OTOK_E_POLICY};
    for (size_t i = 0; i < sizeof codes / sizeof *codes; i++) {
        otok_error err;
        uint64_t n = 77;
        test_fixture *f = test_open(_i);
        otok_filter alice = test_filter("alice", NULL, NULL), phone = test_filter(NULL, "phone", NULL);
        test_held good = test_hold(f, "alice", "phone"), broken = test_hold(f, "alice", "broken");
        f->client_policy = policies[i];
        otok_page *page = first_page(f, &alice);
        ck_assert_uint_eq(page->count, 2);
        ck_assert_int_eq(row_of(page, good.session_id)->state, OTOK_OK);
        const otok_session *row = row_of(page, broken.session_id);
        ck_assert_int_eq(row->state, codes[i]);
        ck_assert_int_eq(row->idle_expires_us, 0);
        ck_assert_int_eq(row->max_expires_us, 0);
        otok_session *s = get(f, broken.session_id);
        assert_same_session(row, s);
        otok_session_free(s);
        otok_page_free(page);
        test_assert_code(codes[i], otok_count_live(f->service, &alice, &n, &err)); /* a number cannot say so */
        ck_assert_uint_eq(n, 77);
        ck_assert_uint_eq(test_count_live(f, &phone), 1);
        test_close(f);
    }
}
END_TEST

/* Q4, V2: what a cutoff has ended needs no policy to be dead */
START_TEST(cut_off_session_is_dead_whatever_its_policy)
{
    otok_error err;
    test_fixture *f = test_open(_i);
    otok_filter alice = test_filter("alice", NULL, NULL), broken = test_filter(NULL, "broken", NULL);
    test_held held = test_hold(f, "alice", "broken");
    otok_tokens_free(test_issue_plain(f, "alice", "phone"));
    f->client_policy = failing_policy;
    test_assert_code(OTOK_OK, otok_cutoff_set(f->service, &broken, OTOK_NOW, NULL, &err));
    ck_assert_uint_eq(test_list(f, &alice, 0, 0, NULL, 0), 1);
    ck_assert_uint_eq(test_count_live(f, &alice), 1);
    otok_session *s = get(f, held.session_id);
    ck_assert_int_eq(s->state, OTOK_E_TOKEN_REVOKED);
    otok_session_free(s);
    test_close(f);
}
END_TEST

static int keep_cutoff(void *arg, const otok_record *record)
{
    otok_record **out = arg;
    if (record->kind != OTOK_RECORD_CUTOFF)
        return 0;
    *out = otok_record_copy(record);
    return 1;
}

/* Q4, V5: a session behind a mark that this version cannot read is not shown as live, for no refresh of it succeeds */
START_TEST(session_behind_an_unread_mark_is_not_live)
{
    otok_error err;
    otok_record *mark = NULL;
    test_fixture *f = test_open(_i);
    otok_filter alice = test_filter("alice", NULL, NULL), realm = test_filter_realm();
    test_held held = test_hold(f, "alice", NULL), bob = test_hold(f, "bob", NULL);
    test_assert_code(OTOK_OK, otok_cutoff_set(f->service, &alice, 1, NULL, &err));
    otok_scan scan = {.size = sizeof scan, .limit = OTOK_MAX_FETCH};
    test_assert_code(OTOK_OK, otok_store_scan(f->store, &scan, keep_cutoff, &mark, &err));
    otok_record newer = *mark;
    newer.head = otok_str_of("a head of a newer form");
    newer.version++;
    test_assert_code(OTOK_OK, otok_service_write(f->service, OTOK_WRITE_PUT, mark->version, &newer, &err));

    test_assert_code(OTOK_E_FORMAT, test_refresh_code(f, held.token, NULL));
    otok_page *page = first_page(f, &realm);
    ck_assert_uint_eq(page->count, 2);
    ck_assert_int_eq(row_of(page, held.session_id)->state, OTOK_E_FORMAT);
    ck_assert_int_eq(row_of(page, bob.session_id)->state, OTOK_OK);
    otok_session *s = get(f, held.session_id);
    ck_assert_int_eq(s->state, OTOK_E_FORMAT);
    ck_assert_uint_eq(test_count_live(f, &realm), 1);
    test_advance_s(f, 40 * (int64_t)TEST_DAY_S); /* over is over */
    ck_assert_uint_eq(test_list(f, &realm, 0, 0, NULL, 0), 0);
    otok_session_free(s);
    otok_page_free(page);
    otok_record_free(mark);
    test_close(f);
}
END_TEST

static int ask(test_fixture *f, int what, const test_held *held)
{
    otok_error err;
    uint64_t n = 0;
    int64_t at_us = 0;
    otok_page *page = NULL;
    otok_session *session = NULL;
    otok_list_request request;
    otok_filter alice = test_filter("alice", NULL, NULL);
    otok_list_request_init(&request, sizeof request);
    request.filter = &alice;
    int rc = what == 0   ? otok_list(f->service, &request, &page, &err)
             : what == 1 ? otok_count(f->service, &alice, &n, &err)
             : what == 2 ? otok_count_live(f->service, &alice, &n, &err)
             : what == 3 ? otok_session_get(f->service, held->session_id, &session, &err)
                         : otok_cutoff_get(f->service, &alice, &at_us, &err);
    ck_assert(rc == OTOK_OK || (page == NULL && session == NULL));
    otok_page_free(page);
    otok_session_free(session);
    return rc;
}

/* Q1, Q3, V3: what cannot be read is not taken for absent */
START_TEST(store_that_cannot_be_read_is_no_empty_list)
{
    static const int codes[] = {OTOK_E_IO, OTOK_E_BUSY, OTOK_E_NOMEM, OTOK_E_FORMAT};
    otok_error err;
    test_watch watch;
    test_fixture *f = test_open(TEST_MEMORY);
    otok_filter alice = test_filter("alice", NULL, NULL);
    test_assert_code(OTOK_OK, otok_cutoff_set(f->service, &alice, TEST_START_US - 1, NULL, &err));
    test_held held = test_hold(f, NULL, NULL);
    test_watch_fixture(&watch, f);
    for (size_t i = 0; i < sizeof codes / sizeof *codes; i++) {
        for (uint64_t at = 1;; at++) {
            test_watch_fail(&watch, at, TEST_CALL_ANY, codes[i], false);
            int rc = ask(f, _i, &held);
            if (!watch.reached) {
                ck_assert_uint_gt(at, 1);
                break;
            }
            test_assert_code(codes[i], rc);
        }
    }
    test_close(f);
}
END_TEST

static void add_tests(TCase *tc)
{
    const TTest *const on_both[] = {row_of_a_new_session_has_every_field,
                                    row_of_a_used_session_shows_its_last_use,
                                    list_and_get_agree,
                                    what_was_not_given_is_null_and_what_has_no_end_is_unlimited,
                                    row_counts_the_retries_of_this_generation,
                                    dead_sessions_are_not_listed_before_the_sweeper_comes,
                                    list_follows_policy_and_cutoff_at_once,
                                    get_shows_dead_sessions_too,
                                    client_whose_policy_fails_spoils_no_list,
                                    cut_off_session_is_dead_whatever_its_policy,
                                    session_behind_an_unread_mark_is_not_live};
    test_add_on_both(tc, on_both, sizeof on_both / sizeof *on_both);
    tcase_add_test(tc, count_does_not_walk);
    tcase_add_loop_test(tc, store_that_cannot_be_read_is_no_empty_list, 0, 5);
}

int main(void)
{
    return test_main("list", add_tests);
}
