/*
 * ask.c
 *
 * SPDX-License-Identifier: MIT
 */
#include "support/ask.h"

#include <stdio.h>
#include <string.h>

static void must(int rc, const otok_error *err, const char *what)
{
    if (rc != OTOK_OK)
        ck_abort_msg("%s: %s: %s", what, otok_error_name(rc), err->message);
}

void test_plain_policy(test_fixture *f)
{
    f->policy.access_token = OTOK_OFF;
    test_reopen_service(f);
}

otok_tokens *test_issue_plain(test_fixture *f, const char *subject, const char *client_id)
{
    return test_issue(f, subject, client_id, "offline_access");
}

void test_keep(test_held *held, otok_tokens *tokens)
{
    (void)snprintf(held->token, sizeof held->token, "%s", tokens->offline_token);
    (void)snprintf(held->session_id, sizeof held->session_id, "%s", tokens->session_id);
    held->access_token[0] = '\0';
    if (tokens->access_token != NULL)
        (void)snprintf(held->access_token, sizeof held->access_token, "%s", tokens->access_token);
    otok_tokens_free(tokens);
}

test_held test_hold(test_fixture *f, const char *subject, const char *client_id)
{
    test_held held;
    test_keep(&held, test_issue_plain(f, subject, client_id));
    return held;
}

test_held test_hold_grant(test_fixture *f, const otok_grant *grant)
{
    otok_error err;
    otok_tokens *tokens = NULL;
    test_held held;
    must(otok_issue(f->service, grant, &tokens, &err), &err, "otok_issue");
    test_keep(&held, tokens);
    return held;
}

otok_refresh_request test_refresh_request(const char *token, const char *client_id)
{
    otok_refresh_request request;
    otok_refresh_request_init(&request, sizeof request);
    request.token = token;
    request.client_id = client_id != NULL ? client_id : "phone";
    request.client_type = OTOK_CLIENT_PUBLIC;
    return request;
}

int test_refresh_code(test_fixture *f, const char *token, const char *client_id)
{
    otok_tokens *tokens = NULL;
    int rc = test_refresh(f, token, client_id, &tokens);
    otok_tokens_free(tokens);
    return rc;
}

int test_refresh_held(test_fixture *f, test_held *held, const char *client_id)
{
    otok_tokens *tokens = NULL;
    int rc = test_refresh(f, held->token, client_id, &tokens);
    if (rc == OTOK_OK)
        test_keep(held, tokens);
    return rc;
}

void test_rotate(test_fixture *f, test_held *held, const char *client_id)
{
    otok_tokens *tokens = NULL;
    test_advance_s(f, 60);
    test_assert_code(OTOK_OK, test_refresh(f, held->token, client_id, &tokens));
    ck_assert_int_eq(tokens->outcome, OTOK_OUTCOME_ADVANCED);
    test_keep(held, tokens);
}

int test_revoke(test_fixture *f, const char *token, const char *client_id)
{
    return test_revoke_as(f, token, client_id, OTOK_CLIENT_PUBLIC, NULL);
}

int test_revoke_as(test_fixture *f, const char *token, const char *client_id, int32_t client_type, const char *jkt)
{
    otok_error err;
    otok_peer peer;
    otok_revoke_request request;
    otok_peer_init(&peer, sizeof peer);
    otok_revoke_request_init(&request, sizeof request);
    peer.jkt = jkt;
    request.token = token;
    request.client_id = client_id != NULL ? client_id : "phone";
    request.client_type = client_type;
    request.peer = jkt != NULL ? &peer : NULL;
    return otok_revoke_token(f->service, &request, &err);
}

otok_filter test_filter(const char *subject, const char *client_id, const char *sid)
{
    otok_filter filter;
    otok_filter_init(&filter, sizeof filter);
    filter.subject = subject;
    filter.client_id = client_id;
    filter.sid = sid;
    return filter;
}

otok_filter test_filter_realm(void)
{
    otok_filter filter = test_filter(NULL, NULL, NULL);
    filter.whole_realm = 1;
    return filter;
}

bool test_has_session(test_fixture *f, const char *session_id)
{
    otok_error err;
    otok_session *session = NULL;
    int rc = otok_session_get(f->service, session_id, &session, &err);
    if (rc != OTOK_E_NOT_FOUND)
        must(rc, &err, "otok_session_get");
    otok_session_free(session);
    return rc == OTOK_OK;
}

size_t test_list(test_fixture *f, const otok_filter *filter, int32_t order, uint32_t limit, test_id *ids, size_t room)
{
    char cursor[1024];
    size_t n = 0;
    bool more = true;
    otok_list_request request;
    otok_list_request_init(&request, sizeof request);
    request.filter = filter;
    request.order = order;
    request.limit = limit;
    while (more) {
        otok_error err;
        otok_page *page = NULL;
        must(otok_list(f->service, &request, &page, &err), &err, "otok_list");
        for (size_t i = 0; i < page->count; i++, n++) {
            if (ids != NULL && n < room)
                (void)snprintf(ids[n], sizeof ids[n], "%s", page->sessions[i]->session_id);
        }
        more = page->next_cursor != NULL;
        if (more)
            (void)snprintf(cursor, sizeof cursor, "%s", page->next_cursor);
        request.cursor = cursor;
        otok_page_free(page);
    }
    return n;
}

uint64_t test_count(test_fixture *f, const otok_filter *filter)
{
    otok_error err;
    uint64_t n = 0;
    must(otok_count(f->service, filter, &n, &err), &err, "otok_count");
    return n;
}

uint64_t test_count_live(test_fixture *f, const otok_filter *filter)
{
    otok_error err;
    uint64_t n = 0;
    must(otok_count_live(f->service, filter, &n, &err), &err, "otok_count_live");
    return n;
}

static void add_up(otok_sweep_result *sum, const otok_sweep_result *more)
{
    sum->visited += more->visited;
    sum->expired += more->expired;
    sum->cut_off += more->cut_off;
}

otok_sweep_result test_sweep(test_fixture *f, uint32_t limit)
{
    otok_error err;
    otok_sweep_result sum, result;
    int rounds = 0;
    otok_sweep_result_init(&sum, sizeof sum);
    otok_sweep_result_init(&result, sizeof result);
    do {
        must(otok_sweep(f->service, limit, &result, &err), &err, "otok_sweep");
        add_up(&sum, &result);
        ck_assert_msg(++rounds < 100000, "the sweeper finds no end");
    } while (result.more != 0);
    return sum;
}

otok_sweep_result test_sweep_out(test_fixture *f)
{
    otok_sweep_result sum = test_sweep(f, 0);
    int64_t grace = f->policy.sweep_grace_s != 0 ? f->policy.sweep_grace_s : TEST_DAY_S;
    for (int i = 0; i < 2; i++) {
        test_advance_s(f, grace + 60);
        otok_sweep_result next = test_sweep(f, 0);
        add_up(&sum, &next);
    }
    return sum;
}

size_t test_count_reasons(const test_fixture *f, int32_t type, int32_t reason, const char *session_id)
{
    size_t n = 0;
    for (size_t i = 0; i < f->nevents; i++) {
        const otok_event *e = &f->events[i].event;
        if (e->type != type || e->reason != reason)
            continue;
        n += session_id == NULL || (e->session_id != NULL && strcmp(e->session_id, session_id) == 0);
    }
    return n;
}

void test_add_on_both(TCase *tc, const TTest *const *tests, size_t n)
{
    for (size_t i = 0; i < n; i++)
        tcase_add_loop_test(tc, tests[i], TEST_MEMORY, TEST_LMDB + 1);
}
