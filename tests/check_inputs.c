/*
 * check_inputs.c - what a grant may hold (I3, I7): it arrives in tokens, response, introspection and the session that the host
 * sees, and what is no such thing is refused by name.
 *
 * SPDX-License-Identifier: MIT
 */
#include "support/host.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "support/claims.h"
#include "support/introspect.h"

#define DETAILS                                                                                                        \
    "[{\"type\":\"payment\",\"amount\":12345678901234567890.50},{\"type\":\"account\",\"locations\":[\"x\"]}]"
#define ACT "{\"sub\":\"admin@example.org\",\"act\":{\"sub\":\"https://service.example.org\"}}"

static const char *const amr[] = {"pwd", "otp"};
static const char *const resources[] = {"https://api.example.org", "https://files.example.org"};

static otok_grant full_grant(const otok_peer *peer)
{
    otok_grant grant = test_grant(NULL, NULL, NULL);
    grant.sub = "pairwise-7";
    grant.sid = "sso-1";
    grant.nonce = "n-0S6_WzA2Mj";
    grant.acr = "silver";
    grant.amr = amr;
    grant.amr_count = 2;
    grant.audience = resources;
    grant.audience_count = 2;
    grant.auth_time_us = TEST_START_US - OTOK_US_PER_S;
    grant.claims = "{\"tenant\":\"t1\"}";
    grant.authorization_details = " \r\n" DETAILS "\t ";
    grant.act = "\n" ACT " ";
    grant.label = "Pat's phone";
    grant.peer = peer;
    grant.binding = OTOK_BINDING_JKT;
    grant.kind = OTOK_SESSION_LOGIN;
    grant.grant_type = OTOK_GRANT_DEVICE_CODE;
    grant.once_key = "code-1";
    return grant;
}

static void expect_raw(const char *json, const char *name, const char *value)
{
    char member[512];
    (void)snprintf(member, sizeof member, "\"%s\":%s", name, value);
    ck_assert_msg(strstr(json, member) != NULL, "no %s in %s", member, json);
}

static void expect_common(const cJSON *claims)
{
    test_expect_text(claims, "sub", "pairwise-7");
    test_expect_text(claims, "client_id", "phone");
    test_expect_text(claims, "scope", "openid offline_access profile");
    test_expect_texts(claims, "aud", resources, 2);
    test_expect_texts(claims, "amr", amr, 2);
    test_expect_text(claims, "acr", "silver");
    test_expect_number(claims, "auth_time", TEST_START_US / OTOK_US_PER_S - 1);
    test_expect_text(cJSON_GetObjectItemCaseSensitive(claims, "cnf"), "jkt", TEST_JKT);
    test_expect_text(claims, "iss", TEST_ISSUER);
}

static void expect_access(test_fixture *f, const char *token, const char *response)
{
    cJSON *claims = test_jwt_claims(f, token), *inner;
    expect_common(claims);
    test_expect_text(claims, "tenant", "t1");
    test_expect_text(cJSON_GetObjectItemCaseSensitive(claims, "act"), "sub", "admin@example.org");
    inner = cJSON_GetObjectItemCaseSensitive(claims, "authorization_details");
    ck_assert_int_eq(cJSON_GetArraySize(inner), 2);
    test_expect_text(cJSON_GetArrayItem(inner, 0), "type", "payment");
    cJSON_Delete(claims);
    expect_raw(response, "authorization_details", DETAILS); /* RFC 9396 section 7 */
}

static void expect_introspected(test_fixture *f, const char *access_token)
{
    otok_introspect_request request = test_introspect_request(access_token, NULL);
    otok_introspection *out = NULL;
    test_assert_code(OTOK_OK, otok_introspect(f->service, &request, &out, NULL));
    expect_raw(out->response_json, "authorization_details", DETAILS); /* byte for byte: every digit of the amount */
    expect_raw(out->response_json, "act", ACT);
    expect_raw(out->response_json, "tenant", "\"t1\"");
    ck_assert_str_eq(out->subject, "alice");
    otok_introspection_free(out);
    cJSON *claims = test_active(f, &request);
    expect_common(claims);
    cJSON_Delete(claims);
}

static void expect_session(test_fixture *f, const char *session_id)
{
    otok_session *session = NULL;
    test_assert_code(OTOK_OK, otok_session_get(f->service, session_id, &session, NULL));
    ck_assert_str_eq(session->subject, "alice");
    ck_assert_str_eq(session->sub, "pairwise-7");
    ck_assert_str_eq(session->sid, "sso-1");
    ck_assert_str_eq(session->label, "Pat's phone");
    ck_assert_str_eq(session->start_ip, "192.0.2.7");
    ck_assert_str_eq(session->start_user_agent, "agent/1");
    ck_assert_int_eq(session->kind, OTOK_SESSION_LOGIN);
    ck_assert_int_eq(session->binding, OTOK_BINDING_JKT);
    ck_assert_int_eq(session->grant_type, OTOK_GRANT_DEVICE_CODE);
    ck_assert_ptr_null(session->notes);
    otok_session_free(session);
}

/* I3 I7: all at once, at issue and after a refresh, from disk too. */
START_TEST(every_input_arrives)
{
    test_fixture *f = test_open(_i);
    otok_peer peer = test_peer(TEST_JKT, NULL, "192.0.2.7", "agent/1");
    otok_grant grant = full_grant(&peer);
    const otok_tokens *tokens = test_granted(f, &grant);
    for (int round = 0; round < 2; round++) {
        expect_access(f, tokens->access_token, tokens->response_json);
        expect_introspected(f, tokens->access_token);
        expect_session(f, tokens->session_id);
        cJSON *id = test_jwt_claims(f, tokens->id_token);
        test_expect_text(id, "sid", "sso-1");
        test_expect_text(id, "nonce", round == 0 ? "n-0S6_WzA2Mj" : NULL);
        test_expect_absent(id, "act");
        test_expect_absent(id, "authorization_details");
        cJSON_Delete(id);
        test_restart(f);
        otok_refresh_request request = test_refresh_request(tokens->offline_token, NULL);
        request.peer = &peer;
        tokens = test_answered(f, &request);
    }
    test_end(f);
}
END_TEST

/* I3: nothing known, nothing said, and nothing empty. */
START_TEST(inputs_that_are_not_given_are_nowhere)
{
    test_fixture *f = test_open(TEST_MEMORY);
    otok_grant grant = test_grant(NULL, NULL, NULL);
    grant.authorization_details = grant.act = grant.claims = "";
    const otok_tokens *tokens = test_granted(f, &grant);
    cJSON *claims = test_jwt_claims(f, tokens->access_token), *response = test_json(tokens->response_json);
    test_expect_absent(claims, "act");
    test_expect_absent(claims, "authorization_details");
    test_expect_absent(response, "authorization_details");
    otok_session *session = NULL;
    test_assert_code(OTOK_OK, otok_session_get(f->service, tokens->session_id, &session, NULL));
    ck_assert_int_eq(session->kind, OTOK_SESSION_OFFLINE);
    ck_assert_str_eq(session->sub, "alice");
    otok_session_free(session);
    cJSON_Delete(claims);
    cJSON_Delete(response);
    test_end(f);
}
END_TEST

/* Bad input: RFC 9396 section 2, RFC 8693 section 4.1. */
START_TEST(json_that_is_something_else_is_refused)
{
    static const char *const details[] = {"{}",
                                          "[]",
                                          "[1]",
                                          "[{}]",
                                          "[{\"type\":1}]",
                                          "[{\"type\":null}]",
                                          "[{\"Type\":\"x\"}]",
                                          "[{\"type\":\"x\"},[]]",
                                          "null",
                                          "\"x\"",
                                          " ",
                                          "[{\"type\":\"x\"}] x",
                                          "[{\"type\":\"x\"}],\"sub\":\"root\"",
                                          "[{\"type\":\"x\"}],[{\"type\":\"y\"}]",
                                          "[{\"type\":\"x\"}",
                                          "{\"type\":\"x\"}",
                                          "[{\"type\":\"x\",\"type\":\"y\"}]",
                                          "[{\"type\":\"\xff\"}]",
                                          "],["};
    static const char *const acts[] = {"[]",
                                       "null",
                                       "\"x\"",
                                       "1",
                                       " ",
                                       "{",
                                       "{}}",
                                       "{},\"sub\":\"root\"",
                                       "{},{}",
                                       "{\"sub\":\"a\",\"sub\":\"b\"}",
                                       "{\"sub\":'a'}"};
    test_fixture *f = test_open(TEST_MEMORY);
    for (size_t i = 0; i < sizeof details / sizeof details[0]; i++) {
        otok_grant grant = test_grant(NULL, NULL, NULL);
        grant.authorization_details = details[i];
        test_not_granted(f, &grant, OTOK_E_INVALID, "grant.authorization_details");
    }
    for (size_t i = 0; i < sizeof acts / sizeof acts[0]; i++) {
        otok_grant grant = test_grant(NULL, NULL, NULL);
        grant.act = acts[i];
        test_not_granted(f, &grant, OTOK_E_INVALID, "grant.act");
    }
    test_end(f);
}
END_TEST

/* Brackets inside each other, `n` deep around 1. */
static const char *nested(char *room, size_t n, const char *open, const char *close)
{
    char *at = room;
    for (size_t i = 0; i < n; i++)
        at += sprintf(at, "%s", open);
    at += sprintf(at, "1");
    for (size_t i = 0; i < n; i++)
        at += sprintf(at, "%s", close);
    return room;
}

/* I3 V6: as deep as the token can be read again, and no deeper: JSON of ours has 32 levels. */
START_TEST(value_is_no_deeper_than_its_token_can_be_read)
{
    char act[512], claims[512];
    test_fixture *f = test_open(TEST_MEMORY);
    otok_grant grant = test_grant(NULL, NULL, NULL);
    grant.act = nested(act, 31, "{\"a\":", "}");
    grant.claims = nested(claims, 32, "{\"b\":", "}");
    ck_assert(test_is_active(f, test_granted(f, &grant)->access_token, NULL));
    grant.act = nested(act, 32, "{\"a\":", "}");
    test_not_granted(f, &grant, OTOK_E_INVALID, "grant.act");
    grant.act = NULL;
    grant.claims = nested(claims, 33, "{\"b\":", "}");
    test_not_granted(f, &grant, OTOK_E_INVALID, "grant.claims");
    test_end(f);
}
END_TEST

/* A JSON text of exactly that many bytes. */
static char *padded(const char *before, const char *after, size_t size)
{
    char *text = malloc(size + 1);
    size_t fixed = strlen(before) + strlen(after);
    (void)snprintf(text, size + 1, "%s%0*d%s", before, (int)(size - fixed), 0, after);
    ck_assert_uint_eq(strlen(text), size);
    return text;
}

/* Bad input: each at its bound, and one byte beyond. */
START_TEST(each_input_has_its_bound)
{
    static const struct {
        const char *before, *after, *field;
        size_t bound;
    } rows[] = {
        {"{\"x\":\"", "\"}", "grant.claims", 16384},
        {"[{\"type\":\"", "\"}]", "grant.authorization_details", 16384},
        {"{\"sub\":\"", "\"}", "grant.act", 4096},
        {"", "", "grant.once_key", 255},
        {"", "", "grant.sid", 255},
        {"", "", "grant.sub", 255},
    };
    test_fixture *f = test_open(TEST_MEMORY);
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        for (size_t beyond = 0; beyond < 2; beyond++) {
            char *text = padded(rows[i].before, rows[i].after, rows[i].bound + beyond);
            otok_grant grant = test_grant(NULL, NULL, NULL);
            const char **const members[] = {
                &grant.claims, &grant.authorization_details, &grant.act, &grant.once_key, &grant.sid, &grant.sub};
            *members[i] = text;
            if (beyond == 0)
                ck_assert(test_is_active(f, test_granted(f, &grant)->access_token, NULL));
            else
                test_not_granted(f, &grant, OTOK_E_INVALID, rows[i].field);
            free(text);
        }
    }
    test_end(f);
}
END_TEST

/* Bad input. */
START_TEST(small_inputs_are_checked)
{
    test_fixture *f = test_open(TEST_MEMORY);
    otok_grant grant = test_grant(NULL, NULL, NULL);
    static const int32_t kinds[] = {-1, 2, INT32_MAX, INT32_MIN};
    for (size_t i = 0; i < 4; i++) {
        grant.kind = kinds[i];
        test_not_granted(f, &grant, OTOK_E_INVALID, "grant.kind");
    }
    grant.kind = OTOK_SESSION_LOGIN; /* I7: its logout would not find it */
    test_not_granted(f, &grant, OTOK_E_INVALID, "grant.sid");
    grant.kind = OTOK_SESSION_OFFLINE;
    static const char *const ids[] = {"",
                                      "x",
                                      "AAAAAAAAAAAAAAAAAAAAA",
                                      "AAAAAAAAAAAAAAAAAAAAAAA",
                                      "AAAAAAAAAAAAAAAAAAAAA=",
                                      "AAAAAAAAAAAAAAAAAAAAAB"};
    for (size_t i = 0; i < sizeof ids / sizeof ids[0]; i++) {
        grant.replaces = ids[i];
        test_not_granted(f, &grant, OTOK_E_INVALID, "grant.replaces");
    }
    grant.replaces = NULL;
    static const char *const keys[] = {"", "a\nb", "\xc3"};
    for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++) {
        grant.once_key = keys[i];
        test_not_granted(f, &grant, OTOK_E_INVALID, "grant.once_key");
    }
    test_end(f);
}
END_TEST

/* ------------------------------------------------------------------------------------------------------------- the sum */

struct full {
    char *claims, *details, *act, *scope, *name, *resource[16], *method[16];
};

static char *filled(char c, size_t size)
{
    char *text = malloc(size + 1);
    memset(text, c, size);
    text[size] = '\0';
    return text;
}

static void fill(struct full *full, otok_grant *grant)
{
    full->claims = padded("{\"x\":\"", "\"}", 16384);
    full->details = padded("[{\"type\":\"", "\"}]", 16384);
    full->act = padded("{\"sub\":\"", "\"}", 4096);
    full->scope = filled('s', 4096);
    full->name = filled('n', 255);
    for (size_t i = 0; i < 16; i++) {
        full->resource[i] = filled((char)('a' + i), 1024);
        full->method[i] = filled((char)('a' + i), 255);
    }
    grant->claims = full->claims;
    grant->authorization_details = full->details;
    grant->act = full->act;
    grant->scope = full->scope;
    grant->sub = grant->sid = grant->acr = full->name;
    grant->audience = (const char *const *)full->resource;
    grant->amr = (const char *const *)full->method;
    grant->audience_count = grant->amr_count = 16;
}

static void empty(struct full *full)
{
    free(full->claims);
    free(full->details);
    free(full->act);
    free(full->scope);
    free(full->name);
    for (size_t i = 0; i < 16; i++) {
        free(full->resource[i]);
        free(full->method[i]);
    }
}

/* I3: everything at its bound is more than a record holds: refused in words.  A resource or two less, and it works; with room
 * for what is written later. */
START_TEST(sum_of_everything_fits_a_record)
{
    struct full full;
    char agent[513];
    memset(agent, 'u', 512);
    agent[512] = '\0';
    char *label = filled('l', 512), *notes = padded("{\"x\":\"", "\"}", 2048), *ip = filled('9', 64);
    test_fixture *f = test_open(TEST_LMDB);
    otok_peer peer = test_peer(NULL, NULL, ip, agent);
    otok_grant grant = test_grant(NULL, NULL, NULL);
    fill(&full, &grant);
    grant.peer = &peer;
    test_not_granted(f, &grant, OTOK_E_INVALID, "together");
    size_t n = 16;
    int rc = OTOK_E_INVALID;
    otok_tokens *tokens = NULL;
    while (rc == OTOK_E_INVALID && n > 0) {
        grant.audience_count = --n;
        rc = otok_issue(f->service, &grant, &tokens, NULL);
    }
    test_assert_code(OTOK_OK, rc);
    ck_assert_uint_ge(n, 14);
    ck_assert(test_is_active(f, tokens->access_token, NULL));
    otok_session_change change;
    otok_session_change_init(&change, sizeof change);
    change.session_id = tokens->session_id;
    change.label = label;
    change.notes = notes;
    test_assert_code(OTOK_OK, otok_session_update(f->service, &change, NULL));
    agent[0] = ip[0] = '8'; /* used from elsewhere, which is written beside where it began */
    otok_refresh_request request = test_refresh_request(tokens->offline_token, NULL);
    request.peer = &peer;
    test_advance_s(f, 86400);
    (void)test_answered(f, &request);
    otok_session *session = NULL;
    test_assert_code(OTOK_OK, otok_session_get(f->service, tokens->session_id, &session, NULL));
    ck_assert_str_eq(session->notes, notes);
    ck_assert_str_eq(session->last_ip, ip);
    ck_assert_str_ne(session->start_ip, ip);
    otok_session_free(session);
    otok_tokens_free(tokens);
    empty(&full);
    free(label);
    free(notes);
    free(ip);
    test_end(f);
}
END_TEST

/* I3: what escaping doubles may fit a record and no token: no token is made that nobody can read. */
START_TEST(token_that_nobody_could_read_is_not_made)
{
    struct full full;
    test_fixture *f = test_open(TEST_MEMORY);
    otok_grant grant = test_grant(NULL, NULL, NULL);
    fill(&full, &grant);
    for (size_t i = 0; i < 16; i++)
        memset(full.resource[i], '"', 1024);
    grant.audience_count = 12;
    test_not_granted(f, &grant, OTOK_E_INVALID, "access token");
    empty(&full);
    test_end(f);
}
END_TEST

static void add_tests(TCase *tcase)
{
    const TTest *const on_both[] = {every_input_arrives};
    test_add_on_both(tcase, on_both, 1);
    tcase_add_test(tcase, inputs_that_are_not_given_are_nowhere);
    tcase_add_test(tcase, json_that_is_something_else_is_refused);
    tcase_add_test(tcase, value_is_no_deeper_than_its_token_can_be_read);
    tcase_add_test(tcase, each_input_has_its_bound);
    tcase_add_test(tcase, small_inputs_are_checked);
    tcase_add_test(tcase, sum_of_everything_fits_a_record);
    tcase_add_test(tcase, token_that_nobody_could_read_is_not_made);
}

int main(void)
{
    return test_main("inputs", add_tests);
}
