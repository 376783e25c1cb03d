/*
 * check_issue.c - what a grant becomes: kinds of grant, audience, extra claims, label and peer, sender constraint,
 * the host's word, durability.  What the tokens hold: check_issue_tokens.c.  What is refused as malformed:
 * check_badinput.c.
 *
 * SPDX-License-Identifier: MIT
 */
#include "support/story.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "support/claims.h"
#include "support/records.h"
#include "support/watch.h"

static otok_session *session_of(test_fixture *f, const char *session_id)
{
    otok_error err = {0};
    otok_session *session = NULL;
    int rc = otok_session_get(f->service, session_id, &session, &err);
    ck_assert_msg(rc == OTOK_OK, "%s: %s", otok_error_name(rc), err.message);
    return session;
}

/* I2 */
START_TEST(session_is_issued_for_each_grant_type_and_keeps_it)
{
    test_fixture *f = test_open(TEST_MEMORY);
    for (int32_t type = OTOK_GRANT_AUTHORIZATION_CODE; type <= OTOK_GRANT_TOKEN_EXCHANGE; type++) {
        otok_grant grant = test_grant(NULL, NULL, NULL);
        grant.grant_type = type;
        const otok_tokens *tokens = test_granted(f, &grant);
        (void)test_next(f, tokens->offline_token);
        otok_session *session = session_of(f, tokens->session_id);
        ck_assert_int_eq(session->grant_type, type);
        ck_assert_int_eq(test_last_event(f, OTOK_EVENT_ISSUED)->event.grant_type, type);
        otok_session_free(session);
    }
    test_end(f);
}
END_TEST

/* I2 */
START_TEST(two_sessions_of_one_subject_and_client_share_nothing)
{
    test_fixture *f = test_open(TEST_MEMORY);
    const otok_tokens *one = test_began(f), *two = test_began(f); /* in the same microsecond */
    cJSON *claims[2] = {test_jwt_claims(f, one->access_token), test_jwt_claims(f, two->access_token)};
    ck_assert_str_ne(one->session_id, two->session_id);
    ck_assert_str_ne(one->offline_token, two->offline_token);
    ck_assert_str_ne(cJSON_GetStringValue(cJSON_GetObjectItem(claims[0], "jti")),
                     cJSON_GetStringValue(cJSON_GetObjectItem(claims[1], "jti")));
    test_advance_s(f, 60);
    const otok_tokens *next = test_next(f, one->offline_token);
    ck_assert_uint_eq(next->generation, one->generation + 1);
    ck_assert_uint_eq(test_next(f, two->offline_token)->generation, two->generation + 1);
    test_assert_code(OTOK_OK, otok_revoke_session(f->service, one->session_id, NULL));
    test_dead(f, next->offline_token, OTOK_E_TOKEN_UNKNOWN);
    (void)test_next(f, two->offline_token);
    cJSON_Delete(claims[0]);
    cJSON_Delete(claims[1]);
    test_end(f);
}
END_TEST

/* I6 */
START_TEST(issued_token_works_after_a_restart)
{
    test_fixture *f = test_open(TEST_LMDB);
    const otok_tokens *tokens = test_began(f);
    test_restart(f);
    test_advance_s(f, 60);
    const otok_tokens *next = test_next(f, tokens->offline_token);
    test_restart(f);
    ck_assert_str_eq(next->session_id, tokens->session_id);
    test_expect_same(test_next(f, tokens->offline_token), next); /* T2, over a restart */
    test_advance_s(f, 60);
    (void)test_next(f, next->offline_token);
    test_end(f);
}
END_TEST

/* I6: the keyring too may come from its file. */
START_TEST(issued_token_works_with_the_keyring_read_again)
{
    test_fixture *f = test_open(TEST_LMDB);
    const otok_tokens *tokens = test_began(f);
    char path[4200];
    (void)snprintf(path, sizeof path, "%s/keyring.json", f->folder);
    test_assert_code(OTOK_OK, otok_keyring_save(f->keyring, path, NULL, NULL));
    otok_keyring_free(f->keyring);
    test_assert_code(OTOK_OK, otok_keyring_load(path, NULL, &f->keyring, NULL));
    test_restart(f);
    (void)test_next(f, tokens->offline_token);
    test_end(f);
}
END_TEST

/* I3: the default is the issuer (the service's own `audience`: below), RFC 9068 section 3. */
START_TEST(audience_is_the_issuer_unless_the_grant_names_resources)
{
    static const char *const issuer[] = {TEST_ISSUER};
    static const char *const resources[] = {"https://a.example", "https://b.example"};
    test_fixture *f = test_open(TEST_MEMORY);
    otok_grant grant = test_grant(NULL, NULL, NULL);
    cJSON *claims = test_jwt_claims(f, test_granted(f, &grant)->access_token);
    test_expect_texts(claims, "aud", issuer, 1);
    cJSON_Delete(claims);
    grant.audience = resources;
    for (grant.audience_count = 1; grant.audience_count <= 2; grant.audience_count++) {
        claims = test_jwt_claims(f, test_granted(f, &grant)->access_token);
        test_expect_texts(claims, "aud", resources, grant.audience_count);
        cJSON_Delete(claims);
    }
    test_end(f);
}
END_TEST

/* I3 */
START_TEST(audience_of_the_service_is_the_default_where_it_is_set)
{
    static const char *const api[] = {"https://api.example"};
    test_fixture *f = test_open(TEST_MEMORY);
    otok_config config;
    otok_service *service = NULL;
    otok_tokens *tokens = NULL;
    otok_grant grant = test_grant(NULL, NULL, NULL);
    otok_config_init(&config, sizeof config);
    config.issuer = TEST_ISSUER;
    config.audience = api[0];
    test_assert_code(OTOK_OK, otok_service_open(&config, f->store, f->keyring, &service, NULL));
    test_assert_code(OTOK_OK, otok_issue(service, &grant, &tokens, NULL));
    cJSON *claims = test_jwt_claims(f, tokens->access_token);
    test_expect_texts(claims, "aud", api, 1);
    cJSON_Delete(claims);
    otok_tokens_free(tokens);
    otok_service_close(service);
    test_end(f);
}
END_TEST

/* I3 */
START_TEST(extra_claims_are_in_access_tokens_as_they_were_given)
{
    test_fixture *f = test_open(TEST_MEMORY);
    otok_grant grant = test_grant(NULL, NULL, NULL);
    grant.claims = "{ \"tenant\" : \"bl\\u00fce \\\"x\\\"\", \"roles\":[\"a\",{\"b\":1.5}], \"big\":true }";
    const otok_tokens *tokens = test_granted(f, &grant);
    test_advance_s(f, 60);
    const otok_tokens *next = test_next(f, tokens->offline_token);
    const char *const access[] = {tokens->access_token, next->access_token};
    cJSON *expected = test_json(grant.claims);
    for (size_t i = 0; i < 2; i++) {
        cJSON *claims = test_jwt_claims(f, access[i]);
        for (const cJSON *item = expected->child; item != NULL; item = item->next)
            ck_assert(cJSON_Compare(item, cJSON_GetObjectItemCaseSensitive(claims, item->string), 1));
        cJSON_Delete(claims);
    }
    cJSON_Delete(expected);
    grant.claims = "{}";
    (void)test_granted(f, &grant);
    test_end(f);
}
END_TEST

/* I3 */
START_TEST(reserved_claim_names_are_refused)
{
    static const char *const names[] = {"iss",    "sub",       "aud",   "exp",       "nbf",    "iat",
                                        "jti",    "client_id", "scope", "auth_time", "acr",    "amr",
                                        "cnf",    "sid",       "act",   "nonce",     "azp",    "at_hash",
                                        "c_hash", "s_hash",    "typ",   "token_use", "events", "authorization_details",
                                        "active", "token_type"};
    test_fixture *f = test_open(TEST_MEMORY);
    otok_grant grant = test_grant(NULL, NULL, NULL);
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        char claims[100];
        (void)snprintf(claims, sizeof claims, "{\"a\":1,\"%s\":\"x\"}", names[i]);
        grant.claims = claims;
        test_not_granted(f, &grant, OTOK_E_INVALID, "claims");
        (void)snprintf(claims, sizeof claims, "{\"\\u00%02x%s\":\"x\"}", (unsigned)names[i][0], names[i] + 1);
        test_not_granted(f, &grant, OTOK_E_INVALID, "claims");
    }
    test_end(f);
}
END_TEST

/* I3, bad input */
START_TEST(claims_that_are_no_json_object_are_refused)
{
    static const char *const bad[] = {" ",
                                      "[]",
                                      "\"a\"",
                                      "1",
                                      "null",
                                      "{",
                                      "{\"a\":1",
                                      "{\"a\":1}}",
                                      "{\"a\":1}{\"b\":2}",
                                      "{\"a\":1,}",
                                      "{a:1}",
                                      "{'a':1}",
                                      "{\"a\":1,\"a\":2}",
                                      "{\"a\":1,\"\\u0061\":2}",
                                      "{\"a\":NaN}",
                                      "{\"a\":01}",
                                      "{\"a\":\"\x01\"}",
                                      "{\"a\":\"\xff\"}",
                                      "{\"a\":\"\\u0000\"}",
                                      "{\"a\":\"\\ud800\"}",
                                      "{\"a\":1}//"};
    test_fixture *f = test_open(TEST_MEMORY);
    otok_grant grant = test_grant(NULL, NULL, NULL);
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        grant.claims = bad[i];
        test_not_granted(f, &grant, OTOK_E_INVALID, "claims");
    }
    test_end(f);
}
END_TEST

static char *repeated(const char *unit, size_t bytes)
{
    size_t len = strlen(unit);
    char *text = malloc(bytes + 1);
    for (size_t i = 0; i < bytes; i++)
        text[i] = unit[i % len];
    text[bytes] = '\0';
    return text;
}

/* I3: "each storable whole, truncated or not at all"; a cut leaves no half character. */
START_TEST(overlong_label_ip_and_user_agent_are_treated_as_the_policy_says)
{
    test_fixture *f = test_open(TEST_MEMORY);
    char *text = repeated("\xc3\xa4", 514), *ip = repeated("1", 65);
    otok_peer peer = test_peer(NULL, NULL, ip, text);
    otok_grant grant = test_grant(NULL, NULL, NULL);
    grant.label = text;
    grant.peer = &peer;
    static const struct {
        int32_t overlong;
        size_t text, ip;
    } rows[] = {{OTOK_OVERLONG_CUT, 512, 64}, {OTOK_OVERLONG_DROP, 0, 0}};
    for (size_t i = 0; i < 2; i++) {
        f->policy.overlong = rows[i].overlong;
        test_reopen_service(f);
        otok_session *session = session_of(f, test_granted(f, &grant)->session_id);
        const char *const got[] = {session->label, session->start_user_agent, session->start_ip};
        for (size_t j = 0; j < 3; j++) {
            size_t expected = j == 2 ? rows[i].ip : rows[i].text;
            ck_assert_uint_eq(got[j] != NULL ? strlen(got[j]) : 0, expected);
        }
        otok_session_free(session);
    }
    free(text);
    free(ip);
    test_end(f);
}
END_TEST

/* I3: an odd bound in bytes does not cut a character of two in half. */
START_TEST(cut_text_is_still_utf8)
{
    test_fixture *f = test_open(TEST_MEMORY);
    char *text = repeated("\xe2\x82\xac", 600);
    otok_grant grant = test_grant(NULL, NULL, NULL);
    f->policy.overlong = OTOK_OVERLONG_CUT;
    test_reopen_service(f);
    grant.label = text;
    otok_session *session = session_of(f, test_granted(f, &grant)->session_id);
    ck_assert_uint_eq(strlen(session->label), 510);
    otok_session_free(session);
    free(text);
    test_end(f);
}
END_TEST

/* I3: refused by default, each by its name; what just fits is kept whole. */
START_TEST(overlong_text_is_refused_by_default_and_the_longest_is_kept)
{
    static const struct {
        const char *field;
        size_t bound;
    } rows[] = {{"label", 512}, {"user_agent", 512}, {"ip", 64}};
    test_fixture *f = test_open(TEST_MEMORY);
    for (size_t i = 0; i < 3; i++) {
        char *text = repeated("x", rows[i].bound + 1);
        otok_peer peer = test_peer(NULL, NULL, i == 2 ? text : NULL, i == 1 ? text : NULL);
        otok_grant grant = test_grant(NULL, NULL, NULL);
        grant.label = i == 0 ? text : NULL;
        grant.peer = &peer;
        test_not_granted(f, &grant, OTOK_E_INVALID, rows[i].field);
        text[rows[i].bound] = '\0';
        otok_session *session = session_of(f, test_granted(f, &grant)->session_id);
        ck_assert_str_eq(i == 0 ? session->label : i == 1 ? session->start_user_agent : session->start_ip, text);
        otok_session_free(session);
        free(text);
    }
    test_end(f);
}
END_TEST

/* I3: what a session is bound to, the refresh must prove. */
START_TEST(bound_session_is_refreshed_with_its_proof_only)
{
    static const struct {
        int32_t binding;
        bool certificate, any; /* any proof of that kind will do */
    } rows[] = {
        {OTOK_BINDING_JKT, false, false},
        {OTOK_BINDING_X5T_S256, true, false},
        {OTOK_BINDING_DPOP, false, true},
        {OTOK_BINDING_MTLS, true, true},
    };
    test_fixture *f = test_open(TEST_MEMORY);
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        bool cert = rows[i].certificate;
        otok_peer own = test_peer(cert ? NULL : TEST_JKT, cert ? TEST_JKT : NULL, NULL, NULL);
        otok_peer other = test_peer(cert ? NULL : TEST_OTHER_JKT, cert ? TEST_OTHER_JKT : NULL, NULL, NULL);
        otok_peer crossed = test_peer(cert ? TEST_JKT : NULL, cert ? NULL : TEST_JKT, NULL, NULL);
        otok_peer nothing = test_peer(NULL, NULL, NULL, NULL);
        otok_grant grant = test_grant(NULL, NULL, NULL);
        grant.binding = rows[i].binding;
        grant.peer = &own;
        grant.client_type = rows[i].any ? OTOK_CLIENT_CONFIDENTIAL : OTOK_CLIENT_PUBLIC;
        otok_refresh_request request = test_refresh_request(test_granted(f, &grant)->offline_token, NULL);
        request.client_type = grant.client_type;
        int missing =
            cert ? OTOK_E_SENDER : OTOK_E_DPOP_PROOF; /* P3: a proof can be sent again, a certificate is there or not */
        test_refused_untouched(f, &request, missing);
        request.peer = &nothing;
        test_refused_untouched(f, &request, missing);
        request.peer = &crossed;
        test_refused_untouched(f, &request, missing);
        request.peer = &other;
        if (rows[i].any)
            (void)test_answered(f, &request);
        else
            test_refused_untouched(f, &request, OTOK_E_SENDER);
        request.peer = &own;
        (void)test_answered(f, &request);
    }
    test_end(f);
}
END_TEST

/* I3: no proof, no binding. */
START_TEST(binding_without_its_proof_is_not_granted)
{
    otok_peer wrong[] = {test_peer(NULL, TEST_JKT, NULL, NULL), test_peer(TEST_JKT, NULL, NULL, NULL)};
    test_fixture *f = test_open(TEST_MEMORY);
    otok_grant grant = test_grant(NULL, NULL, NULL);
    static const char *const fields[] = {"jkt", "x5t_s256"};
    for (size_t i = 0; i < 2; i++) {
        grant.binding = i == 0 ? OTOK_BINDING_JKT : OTOK_BINDING_X5T_S256;
        grant.peer = NULL;
        test_not_granted(f, &grant, OTOK_E_INVALID, fields[i]);
        grant.peer = &wrong[i];
        test_not_granted(f, &grant, OTOK_E_INVALID, fields[i]);
    }
    test_end(f);
}
END_TEST

/* E1 */
START_TEST(issue_is_told_with_who_and_where)
{
    test_fixture *f = test_open(TEST_MEMORY);
    otok_peer peer = test_peer(NULL, NULL, "192.0.2.1", "agent/1");
    otok_grant grant = test_grant(NULL, NULL, NULL);
    grant.sub = "pairwise";
    grant.sid = "sso";
    grant.peer = &peer;
    const otok_tokens *tokens = test_granted(f, &grant);
    ck_assert_uint_eq(f->nevents, 1);
    const otok_event *e = &test_last_event(f, OTOK_EVENT_ISSUED)->event;
    ck_assert_str_eq(e->session_id, tokens->session_id);
    ck_assert_str_eq(e->subject, "alice");
    ck_assert_str_eq(e->client_id, "phone");
    ck_assert_str_eq(e->sid, "sso");
    ck_assert_str_eq(e->ip, "192.0.2.1");
    ck_assert_str_eq(e->user_agent, "agent/1");
    ck_assert_int_eq(e->time_us, f->now_us);
    ck_assert_uint_eq(e->generation, tokens->generation);
    ck_assert_uint_eq(e->marks, 0);
    test_end(f);
}
END_TEST

/* I3, P3: what the policy does not have is not issued. */
START_TEST(client_and_binding_that_the_policy_refuses_are_refused)
{
    test_fixture *f = test_open(TEST_MEMORY);
    otok_peer peer = test_peer(TEST_JKT, NULL, NULL, NULL);
    otok_grant grant = test_grant(NULL, NULL, NULL);
    f->policy.public_clients = OTOK_OFF;
    test_reopen_service(f);
    test_not_granted(f, &grant, OTOK_E_UNAUTHORIZED_CLIENT, "public");
    grant.client_type = OTOK_CLIENT_CONFIDENTIAL;
    (void)test_granted(f, &grant);
    f->policy.sender_constraint = OTOK_ON;
    test_reopen_service(f);
    test_not_granted(f, &grant, OTOK_E_SENDER, "constraint");
    grant.binding = OTOK_BINDING_DPOP;
    grant.peer = &peer;
    (void)test_granted(f, &grant);
    test_end(f);
}
END_TEST

/* I2, V3: "a session issued afterwards is later than the cutoff", whatever the clock of the node that set it; by kind. */
START_TEST(session_is_later_than_every_cutoff_that_applies)
{
    test_fixture *f = test_open(_i);
    otok_filter alice = test_filter("alice", NULL, NULL), sso = test_filter(NULL, NULL, "sso");
    int64_t ahead_us = f->now_us + 3600 * OTOK_US_PER_S, cutoff_us = 0;
    otok_grant grant = test_grant(NULL, NULL, NULL);
    grant.sid = "sso";
    for (int32_t kind = OTOK_SESSION_OFFLINE; kind <= OTOK_SESSION_LOGIN; kind++) {
        grant.kind = kind;
        const otok_tokens *before = test_granted(f, &grant);
        test_assert_code(OTOK_OK, otok_cutoff_set(f->service, &sso, ahead_us + 1, NULL, NULL));
        test_assert_code(OTOK_OK, otok_cutoff_set(f->service, &alice, ahead_us, &cutoff_us, NULL));
        const otok_tokens *after = test_granted(f, &grant);
        otok_session *session = session_of(f, after->session_id);
        ck_assert_int_eq(session->started_us, f->now_us);
        ck_assert_int_eq(session->state, OTOK_OK);
        otok_session_free(session);
        test_dead(f, before->offline_token, OTOK_E_TOKEN_REVOKED);
        (void)test_next(f, after->offline_token);
        ahead_us += OTOK_US_PER_S;
    }
    test_end(f);
}
END_TEST

/* I7: what ends login-bound sessions only neither ends an offline one nor moves it. */
START_TEST(login_cutoff_is_for_sessions_of_a_login)
{
    test_fixture *f = test_open(_i);
    otok_filter alice = test_filter("alice", NULL, NULL);
    otok_grant offline = test_grant(NULL, NULL, NULL), login = offline;
    login.kind = OTOK_SESSION_LOGIN;
    login.sid = "sso";
    const otok_tokens *kept = test_granted(f, &offline), *ended = test_granted(f, &login);
    test_assert_code(OTOK_OK, otok_logout(f->service, &alice, 0, NULL, NULL));
    (void)test_next(f, kept->offline_token);
    test_dead(f, ended->offline_token, OTOK_E_TOKEN_UNKNOWN);
    login.sid = "sso-2";
    const otok_tokens *born[] = {test_granted(f, &offline), test_granted(f, &login)};
    for (size_t i = 0; i < 2; i++) {
        otok_record *record = test_session_record(f->store, born[i]->session_id);
        ck_assert_int_eq(record->created_us > f->now_us, i == 1);
        otok_record_free(record);
        (void)test_next(f, born[i]->offline_token);
    }
    test_end(f);
}
END_TEST

static struct {
    int32_t purpose;
    uint32_t attempts;
    char ip[32];
    int fails;
    bool narrows;
} asked;

static int authorize(void *user, const otok_use *use, otok_answer *answer)
{
    (void)user;
    asked.purpose = use->purpose;
    asked.attempts = use->attempt;
    (void)snprintf(asked.ip, sizeof asked.ip, "%s", use->peer->ip != NULL ? use->peer->ip : "");
    return asked.narrows ? otok_answer_set_scope(answer, "openid offline_access") : asked.fails;
}

/* R5: what it narrows is the access token's; the session keeps what was granted. */
START_TEST(host_is_asked_before_a_session_begins)
{
    test_fixture *f = test_open(TEST_MEMORY);
    otok_peer peer = test_peer(NULL, NULL, "192.0.2.3", NULL);
    otok_grant grant = test_grant(NULL, NULL, NULL);
    memset(&asked, 0, sizeof asked);
    grant.peer = &peer;
    f->callbacks.authorize = authorize;
    test_reopen_service(f);
    asked.fails = 1;
    test_not_granted(f, &grant, OTOK_E_CALLBACK, "authorize");
    asked.fails = 0;
    asked.narrows = true;
    const otok_tokens *tokens = test_granted(f, &grant);
    ck_assert_int_eq(asked.purpose, OTOK_PURPOSE_ISSUE);
    ck_assert_uint_eq(asked.attempts, 1);
    ck_assert_str_eq(asked.ip, "192.0.2.3");
    ck_assert_str_eq(tokens->scope, "openid offline_access");
    otok_session *session = session_of(f, tokens->session_id);
    ck_assert_str_eq(session->scope, "openid offline_access profile");
    otok_session_free(session);
    test_end(f);
}
END_TEST

/* R5: "may be asked again after a conflict", and is told so. */
START_TEST(host_is_asked_again_when_others_were_faster)
{
    test_watch watch;
    test_fixture *f = test_open(TEST_MEMORY);
    otok_grant grant = test_grant(NULL, NULL, NULL);
    memset(&asked, 0, sizeof asked);
    f->callbacks.authorize = authorize;
    test_watch_fixture(&watch, f);
    test_watch_fail(&watch, 1, TEST_CALL_COMMIT, OTOK_E_CONFLICT, false);
    (void)test_granted(f, &grant);
    ck_assert_uint_eq(asked.attempts, 2);
    test_watch_fail(&watch, 1, TEST_CALL_COMMIT, OTOK_E_CONFLICT, false);
    watch.on_and_on = true;
    otok_tokens *tokens = NULL;
    test_assert_code(OTOK_E_CONFLICT, otok_issue(f->service, &grant, &tokens, NULL));
    ck_assert_ptr_null(tokens);
    ck_assert_uint_eq(asked.attempts, OTOK_ATTEMPTS);
    test_end(f);
}
END_TEST

static void add_tests(TCase *tcase)
{
    tcase_add_test(tcase, client_and_binding_that_the_policy_refuses_are_refused);
    tcase_add_loop_test(tcase, session_is_later_than_every_cutoff_that_applies, TEST_MEMORY, TEST_LMDB + 1);
    tcase_add_loop_test(tcase, login_cutoff_is_for_sessions_of_a_login, TEST_MEMORY, TEST_LMDB + 1);
    tcase_add_test(tcase, host_is_asked_before_a_session_begins);
    tcase_add_test(tcase, host_is_asked_again_when_others_were_faster);
    tcase_add_test(tcase, session_is_issued_for_each_grant_type_and_keeps_it);
    tcase_add_test(tcase, two_sessions_of_one_subject_and_client_share_nothing);
    tcase_add_test(tcase, issued_token_works_after_a_restart);
    tcase_add_test(tcase, issued_token_works_with_the_keyring_read_again);
    tcase_add_test(tcase, audience_is_the_issuer_unless_the_grant_names_resources);
    tcase_add_test(tcase, audience_of_the_service_is_the_default_where_it_is_set);
    tcase_add_test(tcase, extra_claims_are_in_access_tokens_as_they_were_given);
    tcase_add_test(tcase, reserved_claim_names_are_refused);
    tcase_add_test(tcase, claims_that_are_no_json_object_are_refused);
    tcase_add_test(tcase, overlong_label_ip_and_user_agent_are_treated_as_the_policy_says);
    tcase_add_test(tcase, cut_text_is_still_utf8);
    tcase_add_test(tcase, overlong_text_is_refused_by_default_and_the_longest_is_kept);
    tcase_add_test(tcase, bound_session_is_refreshed_with_its_proof_only);
    tcase_add_test(tcase, binding_without_its_proof_is_not_granted);
    tcase_add_test(tcase, issue_is_told_with_who_and_where);
}

int main(void)
{
    return test_main("issue", add_tests);
}
