/*
 * check_endpoint_introspect.c - the introspection endpoint (RFC 7662): each kind of token, by each who asks (P1, P2).
 *
 * SPDX-License-Identifier: MIT
 */
#include "support/endpoint.h"

#include <string.h>

#include "support/claims.h"
#include "support/host.h"
#include "support/records.h"
#include "support/watch.h"

#define INVALID 400, "invalid_request", OTOK_E_INVALID

static const char *const api[] = {"https://api.example.org"}, *const other[] = {"https://other.example.org"};

static void expect(test_fixture *f, const otok_http_request *request, int32_t status, const char *error, int32_t code)
{
    test_expect_outcome(f, otok_endpoint_introspect, request, (test_outcome){status, error, code});
}

/* Whether it is told to be active; what is not is told with exactly this. */
static bool is_active(test_fixture *f, const otok_http_request *request)
{
    otok_http_response *response = test_ask_endpoint(f, otok_endpoint_introspect, request);
    ck_assert_int_eq(response->status, 200);
    bool active = strcmp(response->body, "{\"active\":false}") != 0;
    cJSON *json = test_json(response->body);
    ck_assert_int_eq(cJSON_IsTrue(cJSON_GetObjectItemCaseSensitive(json, "active")), active);
    cJSON_Delete(json);
    otok_http_response_free(response);
    return active;
}

static otok_http_request ask(const char *client_id, const char *token)
{
    return test_post_as(client_id, test_form("token=%s", token));
}

static const otok_tokens *begin(test_fixture *f)
{
    otok_grant grant = test_grant(NULL, NULL, NULL);
    grant.client_type = OTOK_CLIENT_CONFIDENTIAL;
    grant.audience = api;
    grant.audience_count = 1;
    return test_granted(f, &grant);
}

/* P1: an offline token to its own client only; an access token to its client and its audience. */
START_TEST(token_is_shown_to_whom_it_concerns)
{
    static const struct {
        const char *client_id;
        const char *const *resource;
        bool sees_offline, sees_access;
    } rows[] = {
        {"phone", NULL, true, true}, {"tv", NULL, false, false},  {"https://api.example.org", NULL, false, true},
        {"tv", api, false, true},    {"tv", other, false, false}, {"Phone", other, false, false},
    };
    test_fixture *f = test_open(TEST_MEMORY);
    const otok_tokens *tokens = begin(f);
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        otok_http_request request = ask(rows[i].client_id, tokens->offline_token);
        request.resource = rows[i].resource;
        request.resource_count = rows[i].resource != NULL;
        ck_assert_int_eq(is_active(f, &request), rows[i].sees_offline);
        request.body = test_form("token=%s", tokens->access_token);
        request.body_len = strlen(request.body);
        ck_assert_int_eq(is_active(f, &request), rows[i].sees_access);
        request.body = test_form("token=%s", tokens->id_token);
        request.body_len = strlen(request.body);
        ck_assert(!is_active(f, &request));
    }
    test_end(f);
}
END_TEST

/* RFC 7662 section 2.2. */
START_TEST(active_token_is_described)
{
    test_fixture *f = test_open(TEST_MEMORY);
    const otok_tokens *tokens = begin(f);
    otok_http_request request = ask("phone", tokens->offline_token);
    cJSON *json = test_answer(f, otok_endpoint_introspect, &request);
    test_expect_text(json, "client_id", "phone");
    test_expect_text(json, "scope", "openid offline_access profile");
    test_expect_text(json, "iss", TEST_ISSUER);
    test_expect_texts(json, "aud", api, 1);
    cJSON_Delete(json);
    request = ask("phone", tokens->access_token);
    json = test_answer(f, otok_endpoint_introspect, &request);
    test_expect_text(json, "token_type", "Bearer");
    cJSON_Delete(json);
    test_end(f);
}
END_TEST

/* P1 V6: anything else is exactly {"active":false}; a superseded token is, and starts no reuse. */
START_TEST(anything_else_is_inactive)
{
    test_fixture *f = test_open(TEST_MEMORY);
    const otok_tokens *tokens = test_began(f), *third = test_rotated(f, tokens, 2);
    const char *const strings[] = {"x", "a.b.c", "%2B", "otok_", tokens->offline_token};
    uint64_t before = test_store_state(f->store);
    for (size_t i = 0; i < sizeof strings / sizeof strings[0]; i++) {
        otok_http_request request = ask("phone", strings[i]);
        ck_assert(!is_active(f, &request));
    }
    ck_assert_uint_eq(test_store_state(f->store), before);
    ck_assert_uint_eq(test_count_events(f, OTOK_EVENT_REUSE), 0);
    otok_http_request current = ask("phone", third->offline_token), access = ask("phone", third->access_token);
    ck_assert(is_active(f, &current));
    ck_assert(is_active(f, &access));
    test_assert_code(OTOK_OK, otok_revoke_session(f->service, tokens->session_id, NULL));
    ck_assert(!is_active(f, &current));
    ck_assert(!is_active(f, &access));
    test_end(f);
}
END_TEST

/* RFC 7662 section 2.1: who has not authenticated learns nothing, not even of a token that is none. */
START_TEST(only_authenticated_callers_are_answered)
{
    test_fixture *f = test_open(TEST_MEMORY);
    const otok_tokens *tokens = test_began(f);
    const char *const strings[] = {tokens->offline_token, tokens->access_token, "x"};
    for (size_t i = 0; i < sizeof strings / sizeof strings[0]; i++) {
        otok_http_request request = test_post(test_form("token=%s", strings[i]));
        expect(f, &request, 401, "invalid_client", OTOK_E_CLIENT);
        request = test_post(test_form("client_id=phone&token=%s", strings[i]));
        expect(f, &request, 401, "invalid_client", OTOK_E_CLIENT);
        request = ask("phone", strings[i]);
        request.client_type = OTOK_CLIENT_PUBLIC;
        expect(f, &request, 401, "invalid_client", OTOK_E_CLIENT);
    }
    test_end(f);
}
END_TEST

/* P2: forms that are none. */
START_TEST(bad_request_is_answered)
{
    test_fixture *f = test_open(TEST_MEMORY);
    static const char *const forms[] = {"", "token=", "x=y", "token=a&token=b", "token=%00", "client_id=tv&token=a"};
    for (size_t i = 0; i < sizeof forms / sizeof forms[0]; i++) {
        otok_http_request request = test_post_as("phone", forms[i]);
        expect(f, &request, INVALID);
    }
    otok_http_request request = ask("phone", "x");
    request.method = "GET";
    expect(f, &request, 405, "invalid_request", OTOK_E_UNSUPPORTED);
    test_end(f);
}
END_TEST

/* P1: trouble is 503 or 500, and never inactive. */
START_TEST(trouble_is_never_inactive)
{
    static const struct {
        int32_t code, status;
        const char *error;
    } rows[] = {
        {OTOK_E_IO, 503, "temporarily_unavailable"},
        {OTOK_E_BUSY, 503, "temporarily_unavailable"},
        {OTOK_E_UNCERTAIN, 503, "temporarily_unavailable"},
        {OTOK_E_FORMAT, 500, "server_error"},
    };
    test_fixture *f = test_open(TEST_MEMORY);
    test_watch watch;
    test_host host;
    test_install_host(f, &host);
    const otok_tokens *tokens = test_began(f);
    const char *const strings[] = {tokens->offline_token, tokens->access_token};
    test_watch_fixture(&watch, f);
    for (size_t i = 0; i < 2; i++) {
        otok_http_request request = ask("phone", strings[i]);
        for (size_t row = 0; row < sizeof rows / sizeof rows[0]; row++) {
            test_watch_fail(&watch, 1, TEST_CALL_FETCH, rows[row].code, false);
            expect(f, &request, rows[row].status, rows[row].error, rows[row].code);
            test_watch_reset(&watch);
        }
        host.returns = 1;
        expect(f, &request, 500, "server_error", OTOK_E_CALLBACK);
        host.returns = 0;
        ck_assert(is_active(f, &request));
        host.refusal = OTOK_E_DENIED;
        ck_assert(!is_active(f, &request));
        host.refusal = 0;
    }
    test_end(f);
}
END_TEST

static void add_tests(TCase *tcase)
{
    tcase_add_test(tcase, token_is_shown_to_whom_it_concerns);
    tcase_add_test(tcase, active_token_is_described);
    tcase_add_test(tcase, anything_else_is_inactive);
    tcase_add_test(tcase, only_authenticated_callers_are_answered);
    tcase_add_test(tcase, bad_request_is_answered);
    tcase_add_test(tcase, trouble_is_never_inactive);
}

int main(void)
{
    return test_main("endpoint_introspect", add_tests);
}
