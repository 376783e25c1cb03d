/*
 * check_introspect_trouble.c - where it cannot be told, introspection fails, and is never "not active" (V6, P1); and what is asked
 * wrongly.
 *
 * SPDX-License-Identifier: MIT
 */
#include "support/introspect.h"

#include <stdlib.h>
#include <string.h>

#include "support/records.h"
#include "support/watch.h"

/* The offline token, the access token and the session, each of which must fail with that code. */
static void expect_trouble(test_fixture *f, const otok_tokens *tokens, int code)
{
    otok_error err = {0};
    int32_t live = 7;
    otok_introspect_request request = test_introspect_request(tokens->offline_token, NULL);
    test_not_introspected(f, &request, code);
    request.token = tokens->access_token;
    test_not_introspected(f, &request, code);
    test_assert_code(code, otok_session_is_live(f->service, tokens->session_id, &live, &err));
    ck_assert_int_eq(err.code, code);
    ck_assert_int_eq(live, 0);
}

/* P1: "a store failure is 503, never inactive". */
START_TEST(failing_store_is_an_error)
{
    static const int codes[] = {OTOK_E_IO, OTOK_E_BUSY, OTOK_E_NOMEM, OTOK_E_STATE};
    test_watch watch;
    test_fixture *f = test_open(TEST_MEMORY);
    test_watch_fixture(&watch, f);
    const otok_tokens *tokens = test_began(f);
    for (size_t i = 0; i < sizeof codes / sizeof codes[0]; i++) {
        test_watch_fail(&watch, 1, TEST_CALL_FETCH, codes[i], false);
        watch.on_and_on = true;
        expect_trouble(f, tokens, codes[i]);
        test_watch_reset(&watch);
        ck_assert(test_is_active(f, tokens->access_token, NULL));
    }
    test_end(f);
}
END_TEST

/* K7: a record that was changed is not one of a session that has ended. */
START_TEST(tampered_record_is_an_error)
{
    test_fixture *f = test_open(TEST_MEMORY);
    const otok_tokens *tokens = test_began(f), *other = test_began(f);
    otok_record *own = test_session_record(f->store, tokens->session_id);
    otok_record *another = test_session_record(f->store, other->session_id), edited = *own;
    edited.body = another->body;
    test_put_back(f->store, &edited);
    expect_trouble(f, tokens, OTOK_E_TAMPERED);
    edited.body = (otok_str){"?", 1};
    test_put_back(f->store, &edited);
    expect_trouble(f, tokens, OTOK_E_FORMAT);
    otok_record_free(own);
    otok_record_free(another);
    test_end(f);
}
END_TEST

static int fails(test_fixture *f, const char *client_id, otok_policy *policy)
{
    (void)f;
    (void)client_id;
    (void)policy;
    return 1;
}

static int nonsense(test_fixture *f, const char *client_id, otok_policy *policy)
{
    (void)f;
    (void)client_id;
    policy->idle_timeout_s = -1;
    return 0;
}

/* T1: closed, and not inactive. */
START_TEST(failing_policy_is_an_error)
{
    test_fixture *f = test_open(TEST_MEMORY);
    const otok_tokens *tokens = test_began(f);
    f->client_policy = fails;
    expect_trouble(f, tokens, OTOK_E_CALLBACK);
    f->client_policy = nonsense;
    expect_trouble(f, tokens, OTOK_E_POLICY);
    test_end(f);
}
END_TEST

/* R1: what is no token of ours costs no store access. */
START_TEST(forged_token_does_not_reach_the_store)
{
    test_watch watch;
    test_fixture *f = test_open(TEST_MEMORY);
    test_watch_fixture(&watch, f);
    const otok_tokens *tokens = test_began(f);
    char forged[OTOK_TOKEN_CHARS + 1];
    memcpy(forged, tokens->offline_token, sizeof forged);
    forged[50] = forged[50] == 'A' ? 'B' : 'A';
    test_watch_reset(&watch);
    ck_assert(!test_is_active(f, forged, NULL));
    ck_assert(!test_is_active(f, tokens->id_token, NULL));
    ck_assert_uint_eq(watch.calls, 0);
    ck_assert(test_is_active(f, tokens->access_token, NULL));
    ck_assert_uint_eq(watch.calls, 1);
    ck_assert_uint_eq(watch.commits, 0);
    test_end(f);
}
END_TEST

static void expect_invalid(test_fixture *f, const otok_introspect_request *request, const char *field)
{
    otok_error err = {0};
    otok_introspection *out = NULL;
    test_assert_code(OTOK_E_INVALID, otok_introspect(f->service, request, &out, &err));
    ck_assert_msg(strstr(err.message, field) != NULL, "the message does not name %s: %s", field, err.message);
    ck_assert_ptr_null(out);
}

/* Bad input, in each member. */
START_TEST(wrong_requests_are_refused_by_name)
{
    static const char *const many[17] = {"a"}, *const none[] = {NULL};
    test_fixture *f = test_open(TEST_MEMORY);
    const otok_introspect_request good = test_introspect_request("x", NULL);
    otok_introspect_request request = good;
    char name[257];
    memset(name, 'n', 256);
    name[256] = '\0';
    request.token = NULL;
    expect_invalid(f, &request, "request.token");
    const char *const clients[] = {NULL, "", name, "a\nb", "\xff"};
    for (size_t i = 0; i < sizeof clients / sizeof clients[0]; i++) {
        request = good;
        request.client_id = clients[i];
        expect_invalid(f, &request, "request.client_id");
    }
    request = good;
    request.resource_count = 1;
    expect_invalid(f, &request, "request.resource");
    request.resource = none;
    expect_invalid(f, &request, "request.resource");
    request.resource = many;
    request.resource_count = 17;
    expect_invalid(f, &request, "request.resource");
    request = good;
    request.client_type = 2;
    expect_invalid(f, &request, "request.client_type");
    request = good;
    request.unused = 1;
    expect_invalid(f, &request, "request.unused");
    request = good;
    otok_peer peer = test_peer("short", NULL, NULL, NULL);
    request.peer = &peer;
    expect_invalid(f, &request, "peer.jkt");
    request = good;
    request.size = 4;
    expect_invalid(f, &request, "otok_introspect_request");
    expect_invalid(f, NULL, "otok_introspect_request");
    test_end(f);
}
END_TEST

/* Bad input: NULL where something is required, and NULL that is fine. */
START_TEST(null_is_no_crash)
{
    test_fixture *f = test_open(TEST_MEMORY);
    otok_introspect_request request = test_introspect_request("x", NULL);
    otok_introspection *out = NULL;
    int32_t live = 0;
    test_assert_code(OTOK_E_INVALID, otok_introspect(NULL, &request, &out, NULL));
    test_assert_code(OTOK_E_INVALID, otok_introspect(f->service, &request, NULL, NULL));
    test_assert_code(OTOK_E_INVALID, otok_session_is_live(NULL, "AAAAAAAAAAAAAAAAAAAAAA", &live, NULL));
    test_assert_code(OTOK_E_INVALID, otok_session_is_live(f->service, NULL, &live, NULL));
    test_assert_code(OTOK_E_INVALID, otok_session_is_live(f->service, "AAAAAAAAAAAAAAAAAAAAAA", NULL, NULL));
    test_assert_code(OTOK_E_INVALID, otok_session_is_live(f->service, "short", &live, NULL));
    test_assert_code(OTOK_OK, otok_introspect(f->service, &request, &out, NULL));
    otok_introspection_free(out);
    otok_introspection_free(NULL);
    test_end(f);
}
END_TEST

/* E3: what was answered is counted, active or not; what failed is not. */
START_TEST(introspections_are_counted)
{
    test_fixture *f = test_open(TEST_MEMORY);
    otok_stats stats;
    const otok_tokens *tokens = test_began(f);
    otok_introspect_request request = test_introspect_request(tokens->offline_token, NULL);
    ck_assert(test_is_active(f, tokens->access_token, NULL));
    ck_assert(!test_is_active(f, "x", NULL));
    f->client_policy = fails;
    test_not_introspected(f, &request, OTOK_E_CALLBACK);
    otok_stats_init(&stats, sizeof stats);
    test_assert_code(OTOK_OK, otok_stats_get(f->service, &stats, NULL));
    ck_assert_uint_eq(stats.introspected, 2);
    ck_assert_uint_eq(stats.refused, 0);
    ck_assert_uint_eq(stats.reuse, 0);
    test_end(f);
}
END_TEST

static void add_tests(TCase *tcase)
{
    tcase_add_test(tcase, failing_store_is_an_error);
    tcase_add_test(tcase, tampered_record_is_an_error);
    tcase_add_test(tcase, failing_policy_is_an_error);
    tcase_add_test(tcase, forged_token_does_not_reach_the_store);
    tcase_add_test(tcase, wrong_requests_are_refused_by_name);
    tcase_add_test(tcase, null_is_no_crash);
    tcase_add_test(tcase, introspections_are_counted);
}

int main(void)
{
    return test_main("introspect_trouble", add_tests);
}
