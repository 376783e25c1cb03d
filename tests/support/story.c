/*
 * story.c
 *
 * SPDX-License-Identifier: MIT
 */
#include "support/story.h"

#include <string.h>

#include "support/records.h"

enum { ROOM = 4096 };
static otok_tokens *handed_out[ROOM]; /* of the one test that runs */
static size_t nhanded_out;

static const otok_tokens *hand_out(otok_tokens *tokens)
{
    ck_assert_ptr_nonnull(tokens);
    ck_assert_uint_lt(nhanded_out, ROOM);
    handed_out[nhanded_out++] = tokens;
    return tokens;
}

const otok_tokens *test_granted(test_fixture *f, const otok_grant *grant)
{
    otok_error err = {0};
    otok_tokens *tokens = NULL;
    int rc = otok_issue(f->service, grant, &tokens, &err);
    ck_assert_msg(rc == OTOK_OK, "otok_issue: %s: %s", otok_error_name(rc), err.message);
    return hand_out(tokens);
}

const otok_tokens *test_began(test_fixture *f)
{
    otok_grant grant = test_grant(NULL, NULL, NULL);
    return test_granted(f, &grant);
}

const otok_tokens *test_answered(test_fixture *f, const otok_refresh_request *request)
{
    otok_error err = {0};
    otok_tokens *tokens = NULL;
    int rc = otok_refresh(f->service, request, &tokens, &err);
    ck_assert_msg(rc == OTOK_OK, "otok_refresh: %s: %s", otok_error_name(rc), err.message);
    return hand_out(tokens);
}

const otok_tokens *test_next(test_fixture *f, const char *token)
{
    otok_refresh_request request = test_refresh_request(token, NULL);
    return test_answered(f, &request);
}

const otok_tokens *test_rotated(test_fixture *f, const otok_tokens *tokens, uint32_t n)
{
    while (tokens->generation < n) {
        test_advance_s(f, 60);
        tokens = test_next(f, tokens->offline_token);
        ck_assert_int_eq(tokens->outcome, OTOK_OUTCOME_ADVANCED);
    }
    return tokens;
}

/* "otok_" and more of base64url than any name of ours has. */
static bool shows_token(const char *message)
{
    static const char base64url[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    const char *at = strstr(message, "otok_");
    return at != NULL && strspn(at, base64url) > 40;
}

static void expect_failure(int expected, int got, const otok_error *err, const otok_tokens *tokens)
{
    ck_assert_msg(expected == got, "expected %s, got %s: %s", otok_error_name(expected), otok_error_name(got),
                  got == OTOK_OK ? "" : err->message);
    ck_assert_ptr_null(tokens);
    ck_assert_int_eq(err->code, expected);
    ck_assert_msg(err->message[0] != '\0', "no message");
    ck_assert_msg(!shows_token(err->message), "a token in the message: %s", err->message);
}

void test_refused(test_fixture *f, const otok_refresh_request *request, int code)
{
    otok_error err = {0};
    otok_tokens *tokens = (otok_tokens *)&err; /* "NULL on failure": it must be set */
    int rc = otok_refresh(f->service, request, &tokens, &err);
    if (rc == OTOK_OK)
        otok_tokens_free(tokens);
    expect_failure(code, rc, &err, rc == OTOK_OK ? NULL : tokens);
}

void test_refused_untouched(test_fixture *f, const otok_refresh_request *request, int code)
{
    uint64_t state = test_store_state(f->store);
    size_t reuse = test_count_events(f, OTOK_EVENT_REUSE), revoked = test_count_events(f, OTOK_EVENT_REVOKED);
    test_refused(f, request, code);
    ck_assert_msg(state == test_store_state(f->store), "%s: something was written", otok_error_name(code));
    ck_assert_uint_eq(reuse, test_count_events(f, OTOK_EVENT_REUSE));
    ck_assert_uint_eq(revoked, test_count_events(f, OTOK_EVENT_REVOKED));
}

void test_not_granted(test_fixture *f, const otok_grant *grant, int code, const char *field)
{
    otok_error err = {0};
    otok_tokens *tokens = (otok_tokens *)&err;
    uint64_t state = test_store_state(f->store);
    size_t events = f->nevents;
    int rc = otok_issue(f->service, grant, &tokens, &err);
    if (rc == OTOK_OK)
        otok_tokens_free(tokens);
    ck_assert_msg(rc == code, "%s: expected %s, got %s: %s", field, otok_error_name(code), otok_error_name(rc),
                  err.message);
    expect_failure(code, rc, &err, tokens);
    ck_assert_msg(strstr(err.message, field) != NULL, "the message does not name %s: %s", field, err.message);
    ck_assert_msg(state == test_store_state(f->store), "%s: something was written", field);
    ck_assert_uint_eq(events, f->nevents);
}

void test_not_refreshed(test_fixture *f, const otok_refresh_request *request, int code, const char *field)
{
    otok_error err = {0};
    otok_tokens *tokens = NULL;
    uint64_t state = test_store_state(f->store);
    int rc = otok_refresh(f->service, request, &tokens, &err);
    otok_tokens_free(tokens);
    ck_assert_msg(rc == code, "%s: expected %s, got %s", field, otok_error_name(code), otok_error_name(rc));
    ck_assert_msg(strstr(err.message, field) != NULL, "the message does not name %s: %s", field, err.message);
    ck_assert_msg(state == test_store_state(f->store), "%s: something was written", field);
}

void test_dead(test_fixture *f, const char *token, int code)
{
    otok_refresh_request request = test_refresh_request(token, NULL);
    test_refused(f, &request, code);
}

void test_expect_same(const otok_tokens *a, const otok_tokens *b)
{
    ck_assert_str_eq(a->offline_token, b->offline_token);
    ck_assert_str_eq(a->session_id, b->session_id);
    ck_assert_uint_eq(a->generation, b->generation);
}

otok_mac_key *test_mac_key(uint8_t byte)
{
    uint8_t bytes[OTOK_KEY_SIZE];
    otok_mac_key *key = NULL;
    memset(bytes, byte, sizeof bytes);
    test_assert_code(OTOK_OK, otok_mac_key_new(bytes, &key, NULL));
    return key;
}

otok_peer test_peer(const char *jkt, const char *x5t_s256, const char *ip, const char *user_agent)
{
    otok_peer peer;
    otok_peer_init(&peer, sizeof peer);
    peer.jkt = jkt;
    peer.x5t_s256 = x5t_s256;
    peer.ip = ip;
    peer.user_agent = user_agent;
    return peer;
}

void test_end(test_fixture *f)
{
    while (nhanded_out > 0)
        otok_tokens_free(handed_out[--nhanded_out]);
    test_close(f);
}
