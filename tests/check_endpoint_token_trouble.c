/*
 * check_endpoint_token_trouble.c - the token endpoint when the store is in trouble, and when many come at once (P2, R6, R8).
 *
 * SPDX-License-Identifier: MIT
 */
#include "support/endpoint.h"

#include <stdio.h>
#include <string.h>

#include "support/crew.h"
#include "support/watch.h"

static void expect(test_fixture *f, const otok_http_request *request, int32_t status, const char *error, int32_t code)
{
    test_expect_outcome(f, otok_endpoint_token, request, (test_outcome){status, error, code});
}

static const struct {
    int32_t code, status;
    const char *error;
} troubles[] = {
    {OTOK_E_IO, 503, "temporarily_unavailable"},   {OTOK_E_FULL, 503, "temporarily_unavailable"},
    {OTOK_E_BUSY, 503, "temporarily_unavailable"}, {OTOK_E_UNCERTAIN, 503, "temporarily_unavailable"},
    {OTOK_E_FORMAT, 500, "server_error"},
};

/* R8: trouble of the store is 503 and Retry-After, never invalid_grant; the client's retry is answered. */
START_TEST(store_in_trouble_is_no_invalid_grant)
{
    for (int kind = TEST_CALL_FETCH; kind <= TEST_CALL_COMMIT; kind *= 2) {
        for (int done = 0; done <= (kind == TEST_CALL_COMMIT); done++) {
            test_fixture *f = test_open(TEST_MEMORY);
            test_watch watch;
            const otok_tokens *tokens = test_began(f);
            test_advance_s(f, 60);
            test_watch_fixture(&watch, f);
            test_watch_fail(&watch, 1, kind, troubles[_i].code, done);
            otok_http_request request = test_post_refresh(tokens->offline_token);
            expect(f, &request, troubles[_i].status, troubles[_i].error, troubles[_i].code);
            ck_assert(watch.reached);
            test_watch_reset(&watch);
            expect(f, &request, 200, NULL, OTOK_OK);
            ck_assert_uint_eq(test_next(f, tokens->offline_token)->generation, 1);
            test_end(f);
        }
    }
}
END_TEST

/* R6 R8: whoever loses every race is told to try again. */
START_TEST(lost_races_are_503)
{
    test_fixture *f = test_open(TEST_MEMORY);
    test_watch watch;
    const otok_tokens *tokens = test_began(f);
    test_advance_s(f, 60);
    test_watch_fixture(&watch, f);
    test_watch_fail(&watch, 1, TEST_CALL_COMMIT, OTOK_E_CONFLICT, false);
    watch.on_and_on = true;
    otok_http_request request = test_post_refresh(tokens->offline_token);
    expect(f, &request, 503, "temporarily_unavailable", OTOK_E_CONFLICT);
    test_watch_reset(&watch);
    watch.on_and_on = false;
    expect(f, &request, 200, NULL, OTOK_OK);
    test_end(f);
}
END_TEST

/* What a custom store does not support is no wrong method. */
START_TEST(unsupported_by_the_store_is_no_405)
{
    test_fixture *f = test_open(TEST_MEMORY);
    test_watch watch;
    const otok_tokens *tokens = test_began(f);
    test_watch_fixture(&watch, f);
    test_watch_fail(&watch, 1, TEST_CALL_FETCH, OTOK_E_UNSUPPORTED, false);
    otok_http_request request = test_post_refresh(tokens->offline_token);
    otok_http_response *response = test_ask_endpoint(f, otok_endpoint_token, &request);
    ck_assert_int_eq(response->status, 500);
    otok_http_response_free(response);
    test_end(f);
}
END_TEST

enum { CREW = 8, ROUNDS = 20 };

typedef struct race {
    test_fixture *f;
    otok_http_request request;
    char next[CREW][OTOK_TOKEN_CHARS + 1];
} race;

static void race_once(void *arg, size_t i)
{
    race *r = arg;
    otok_http_response *response = NULL;
    if (otok_endpoint_token(r->f->service, &r->request, &response, NULL) == OTOK_OK && response->status == 200) {
        const char *token = strstr(response->body, "\"refresh_token\":\"");
        if (token != NULL)
            memcpy(r->next[i], token + strlen("\"refresh_token\":\""), OTOK_TOKEN_CHARS);
    }
    otok_http_response_free(response);
}

/* R6: all who come at once with one token are answered, and with one successor. */
START_TEST(simultaneous_requests_get_one_successor)
{
    test_fixture *f = test_open(_i);
    char token[OTOK_TOKEN_CHARS + 1], form[256];
    memcpy(token, test_began(f)->offline_token, sizeof token);
    for (int round = 0; round < ROUNDS; round++) {
        race r = {.f = f};
        test_advance_s(f, 60);
        (void)snprintf(form, sizeof form, "grant_type=refresh_token&client_id=phone&refresh_token=%s", token);
        r.request = test_post(form);
        test_threads(CREW, race_once, &r);
        for (size_t i = 0; i < CREW; i++)
            ck_assert_str_eq(r.next[i], r.next[0]);
        ck_assert_uint_eq(strlen(r.next[0]), OTOK_TOKEN_CHARS);
        ck_assert_str_ne(r.next[0], token);
        memcpy(token, r.next[0], sizeof token);
    }
    ck_assert_uint_eq(test_next(f, token)->generation, ROUNDS);
    test_end(f);
}
END_TEST

static void add_tests(TCase *tcase)
{
    tcase_add_loop_test(tcase, store_in_trouble_is_no_invalid_grant, 0, sizeof troubles / sizeof troubles[0]);
    tcase_add_test(tcase, lost_races_are_503);
    tcase_add_test(tcase, unsupported_by_the_store_is_no_405);
    tcase_add_loop_test(tcase, simultaneous_requests_get_one_successor, TEST_MEMORY, TEST_LMDB + 1);
}

int main(void)
{
    return test_main("endpoint_token_trouble", add_tests);
}
