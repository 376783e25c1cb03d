/*
 * check_introspect.c - what is told about a token (V6, P1, RFC 7662): which token, to whom, and after which end of its session.
 *
 * SPDX-License-Identifier: MIT
 */
#include "support/story.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "support/claims.h"
#include "support/introspect.h"
#include "support/node.h"
#include "support/records.h"

#define NOW_S (TEST_START_US / OTOK_US_PER_S)

static const char *const api[] = {"https://api.example.org"}, *const files[] = {"https://files.example.org"};

static otok_grant api_grant(void)
{
    otok_grant grant = test_grant(NULL, NULL, NULL);
    grant.audience = api;
    grant.audience_count = 1;
    grant.sub = "pairwise-7";
    grant.sid = "sso-1";
    return grant;
}

/* ------------------------------------------------------------------------------------------------------- the response */

static void expect_members(const cJSON *json, const char *const *names, size_t n)
{
    size_t found = 0;
    for (size_t i = 0; i < n; i++)
        found += cJSON_GetObjectItemCaseSensitive(json, names[i]) != NULL;
    ck_assert_msg(found == n && (size_t)cJSON_GetArraySize(json) == n, "%zu of %zu members, of %d", found, n,
                  cJSON_GetArraySize(json));
}

/* RFC 7662 section 2.2: what an offline token is, and nothing of which nothing is known. */
START_TEST(offline_token_is_shown_to_its_client)
{
    static const char *const bare[] = {"active", "scope", "client_id", "sub", "iss", "exp", "iat"};
    static const char *const amr[] = {"pwd"};
    test_fixture *f = test_open(TEST_MEMORY);
    otok_grant grant = test_grant(NULL, NULL, NULL);
    otok_introspect_request request = test_introspect_request(test_granted(f, &grant)->offline_token, NULL);
    cJSON *json = test_active(f, &request);
    expect_members(json, bare, sizeof bare / sizeof bare[0]);
    cJSON_Delete(json);
    otok_peer peer = test_peer(TEST_JKT, NULL, NULL, NULL);
    grant = api_grant();
    grant.peer = &peer;
    grant.binding = OTOK_BINDING_JKT;
    grant.acr = "silver";
    grant.amr = amr;
    grant.amr_count = 1;
    grant.auth_time_us = TEST_START_US - OTOK_US_PER_S;
    request.token = test_granted(f, &grant)->offline_token;
    json = test_active(f, &request); /* without a proof: there is none to be had at introspection */
    test_expect_text(json, "scope", "openid offline_access profile");
    test_expect_text(json, "client_id", "phone");
    test_expect_text(json, "sub", "pairwise-7");
    test_expect_texts(json, "aud", api, 1);
    test_expect_text(json, "iss", TEST_ISSUER);
    test_expect_number(json, "iat", NOW_S);
    test_expect_number(json, "exp", NOW_S + 30 * 86400 + 300);
    test_expect_text(json, "sid", "sso-1");
    test_expect_text(cJSON_GetObjectItemCaseSensitive(json, "cnf"), "jkt", TEST_JKT);
    test_expect_number(json, "auth_time", NOW_S - 1);
    test_expect_text(json, "acr", "silver");
    test_expect_texts(json, "amr", amr, 1);
    cJSON_Delete(json);
    test_end(f);
}
END_TEST

/* RFC 7662: the sender constraint of an offline token; one to any key has none to show. */
START_TEST(offline_token_shows_what_it_is_bound_to)
{
    static const struct {
        int32_t binding;
        const char *member;
    } rows[] = {{OTOK_BINDING_X5T_S256, "x5t#S256"}, {OTOK_BINDING_DPOP, NULL}, {OTOK_BINDING_MTLS, NULL}};
    test_fixture *f = test_open(TEST_MEMORY);
    otok_peer peer = test_peer(TEST_JKT, TEST_OTHER_JKT, NULL, NULL);
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        otok_grant grant = test_grant(NULL, NULL, NULL);
        grant.binding = rows[i].binding;
        grant.peer = &peer;
        otok_introspect_request request = test_introspect_request(test_granted(f, &grant)->offline_token, NULL);
        cJSON *json = test_active(f, &request);
        if (rows[i].member != NULL)
            test_expect_text(cJSON_GetObjectItemCaseSensitive(json, "cnf"), rows[i].member, TEST_OTHER_JKT);
        else
            test_expect_absent(json, "cnf");
        cJSON_Delete(json);
    }
    test_end(f);
}
END_TEST

/* L1 L2: without an end there is no exp; iat is when the generation came about. */
START_TEST(offline_token_without_end_has_no_exp)
{
    test_fixture *f = test_open(TEST_MEMORY);
    f->policy.idle_timeout_s = OTOK_UNLIMITED;
    test_reopen_service(f);
    const otok_tokens *first = test_began(f), *next = test_rotated(f, first, 1);
    otok_introspect_request request = test_introspect_request(next->offline_token, NULL);
    cJSON *json = test_active(f, &request);
    test_expect_absent(json, "exp");
    test_expect_number(json, "iat", NOW_S + 60);
    cJSON_Delete(json);
    request.token = first->offline_token; /* a retry: it is still good */
    json = test_active(f, &request);
    test_expect_number(json, "iat", NOW_S);
    cJSON_Delete(json);
    test_end(f);
}
END_TEST

/* RFC 7662 section 2.2, RFC 9449 section 6.2: the claims as they were signed, and how the token is used. */
START_TEST(access_token_shows_its_claims)
{
    test_fixture *f = test_open(TEST_MEMORY);
    otok_peer peer = test_peer(TEST_JKT, NULL, NULL, NULL);
    for (int bound = 0; bound < 2; bound++) {
        otok_grant grant = api_grant();
        grant.claims = "{\"deep\":{\"a\":[1,{\"b\":null}]},\"s\":\"\\u00e4\\\\\\\"\"}";
        grant.peer = &peer;
        grant.binding = bound ? OTOK_BINDING_JKT : OTOK_BINDING_NONE;
        if (!bound)
            grant.peer = NULL;
        const otok_tokens *tokens = test_granted(f, &grant);
        otok_introspect_request request = test_introspect_request(tokens->access_token, NULL);
        otok_introspection *out = NULL;
        test_assert_code(OTOK_OK, otok_introspect(f->service, &request, &out, NULL));
        ck_assert_int_eq(out->token, OTOK_TOKEN_ACCESS);
        ck_assert_int_eq(out->expires_us, TEST_START_US + 300 * OTOK_US_PER_S);
        ck_assert_str_eq(out->subject, "alice");
        ck_assert_str_eq(out->session_id, tokens->session_id);
        cJSON *json = test_json(out->response_json), *claims = test_jwt_claims(f, tokens->access_token);
        ck_assert(cJSON_IsTrue(cJSON_GetObjectItemCaseSensitive(json, "active")));
        cJSON_DeleteItemFromObjectCaseSensitive(json, "active");
        test_expect_text(json, "token_type", bound ? "DPoP" : "Bearer");
        cJSON_DeleteItemFromObjectCaseSensitive(json, "token_type");
        ck_assert(cJSON_Compare(json, claims, 1));
        cJSON_Delete(json);
        cJSON_Delete(claims);
        otok_introspection_free(out);
    }
    test_end(f);
}
END_TEST

/* ----------------------------------------------------------------------------------------------------------- who asks */

/* P1: "an offline token for its own client only, an access token for its client and its audience". */
START_TEST(token_is_shown_to_whom_it_concerns)
{
    static const struct {
        const char *client;
        const char *const *resource;
        size_t resources;
        bool sees_offline, sees_access;
    } rows[] = {
        {"phone", NULL, 0, true, true},
        {"phone", files, 1, true, true},
        {"laptop", NULL, 0, false, false},
        {"PHONE", NULL, 0, false, false},
        {"https://api.example.org", NULL, 0, false, true},
        {"https://api.example.org/", NULL, 0, false, false},
        {"laptop", api, 1, false, true},
        {"laptop", files, 1, false, false},
        {TEST_ISSUER, NULL, 0, false, false},
        {"alice", NULL, 0, false, false},
    };
    test_fixture *f = test_open(TEST_MEMORY);
    otok_grant grant = api_grant();
    const otok_tokens *tokens = test_granted(f, &grant);
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        const char *const texts[] = {tokens->offline_token, tokens->access_token};
        for (size_t k = 0; k < 2; k++) {
            for (int32_t type = OTOK_CLIENT_CONFIDENTIAL; type <= OTOK_CLIENT_PUBLIC; type++) {
                otok_introspect_request request = test_introspect_request(texts[k], rows[i].client);
                request.resource = rows[i].resource;
                request.resource_count = rows[i].resources;
                request.client_type = type;
                if (k == 0 ? rows[i].sees_offline : rows[i].sees_access)
                    cJSON_Delete(test_active(f, &request));
                else
                    test_inactive(f, &request);
            }
        }
    }
    test_end(f);
}
END_TEST

/* P1 I3: each item of the audience, and the default one. */
START_TEST(each_of_the_audience_may_ask)
{
    test_fixture *f = test_open(TEST_MEMORY);
    const char *const both[] = {api[0], files[0]};
    otok_grant grant = test_grant(NULL, NULL, NULL);
    ck_assert(test_is_active(f, test_granted(f, &grant)->access_token, TEST_ISSUER));
    grant.audience = both;
    grant.audience_count = 2;
    const otok_tokens *tokens = test_granted(f, &grant);
    ck_assert(test_is_active(f, tokens->access_token, both[0]));
    ck_assert(test_is_active(f, tokens->access_token, both[1]));
    ck_assert(!test_is_active(f, tokens->access_token, TEST_ISSUER));
    test_end(f);
}
END_TEST

/* -------------------------------------------------------------------------------------------------- which token it is */

/* R6 T2 V6: what a refresh would answer is active, what it would refuse is not; an access token is good until it expires. */
START_TEST(superseded_tokens_are_inactive_and_end_nothing)
{
    test_fixture *f = test_open(TEST_MEMORY);
    const otok_tokens *first = test_began(f), *second = test_rotated(f, first, 1);
    ck_assert(test_is_active(f, first->offline_token, NULL)); /* it may be retried */
    ck_assert(test_is_active(f, first->access_token, NULL));
    const otok_tokens *third = test_rotated(f, second, 2);
    uint64_t state = test_store_state(f->store);
    test_forget_events(f);
    for (int i = 0; i < 3; i++) {
        ck_assert(!test_is_active(f, first->offline_token, NULL));
        ck_assert(test_is_active(f, second->offline_token, NULL));
        ck_assert(test_is_active(f, third->offline_token, NULL));
        ck_assert(test_is_active(f, first->access_token, NULL));
    }
    test_advance_s(f, 60);
    ck_assert(!test_is_active(f, second->offline_token, NULL)); /* too late for a retry */
    ck_assert(test_is_active(f, second->access_token, NULL));
    test_advance_s(f, 300);
    ck_assert(!test_is_active(f, third->access_token, NULL)); /* expired */
    ck_assert(test_is_live(f, third->session_id));
    ck_assert(state == test_store_state(f->store));
    ck_assert_uint_eq(f->nevents, 0);
    (void)test_next(f, third->offline_token);
    test_end(f);
}
END_TEST

/* T2: with a limit of retries, one that a refresh would refuse is inactive, and asking counts as none. */
START_TEST(exhausted_retries_are_inactive)
{
    test_fixture *f = test_open(TEST_MEMORY);
    f->policy.retry_limit = 1;
    test_reopen_service(f);
    const otok_tokens *first = test_began(f);
    (void)test_rotated(f, first, 1);
    for (int i = 0; i < 3; i++)
        ck_assert(test_is_active(f, first->offline_token, NULL));
    (void)test_next(f, first->offline_token);
    ck_assert(!test_is_active(f, first->offline_token, NULL));
    test_dead(f, first->offline_token, OTOK_E_TOKEN_RETRIES);
    test_end(f);
}
END_TEST

/* T5: as a refresh would answer it, and the session does not move up. */
START_TEST(token_from_the_future_is_as_the_policy_says)
{
    for (int32_t ahead = OTOK_AHEAD_DEFAULT; ahead <= OTOK_AHEAD_REFUSE; ahead++) {
        test_fixture *f = test_open(TEST_MEMORY);
        f->policy.ahead = ahead;
        test_reopen_service(f);
        const otok_tokens *first = test_began(f);
        otok_record *backup = test_session_record(f->store, first->session_id);
        const otok_tokens *later = test_rotated(f, first, 3);
        test_put_back(f->store, backup);
        otok_record_free(backup);
        uint64_t state = test_store_state(f->store);
        ck_assert(test_is_active(f, later->offline_token, NULL) == (ahead != OTOK_AHEAD_REFUSE));
        ck_assert(test_is_active(f, later->access_token, NULL));
        ck_assert(test_is_active(f, first->offline_token, NULL));
        ck_assert(state == test_store_state(f->store));
        if (ahead == OTOK_AHEAD_REFUSE) { /* what was refused stays so: then no token of the session is any good */
            test_dead(f, later->offline_token, OTOK_E_TOKEN_AHEAD);
            ck_assert(!test_is_active(f, later->offline_token, NULL));
            ck_assert(!test_is_live(f, later->session_id));
        }
        test_end(f);
    }
}
END_TEST

/* P1: "anything else exactly {"active":false}". */
START_TEST(anything_else_is_inactive)
{
    test_fixture *f = test_open(TEST_MEMORY);
    const otok_tokens *tokens = test_began(f);
    char forged[OTOK_TOKEN_CHARS + 1], cut[4096], *huge = malloc(200001);
    memset(huge, 'a', 200000);
    huge[200000] = '\0';
    memcpy(forged, tokens->offline_token, sizeof forged);
    forged[70] = forged[70] == 'A' ? 'B' : 'A';
    (void)snprintf(cut, sizeof cut, "%s", tokens->access_token);
    cut[strlen(cut) - 3] = cut[strlen(cut) - 3] == 'A' ? 'B' : 'A';
    const char *const others[] = {"",  "x",  "otok_", "a.b.c", forged, tokens->session_id, tokens->id_token,
                                  cut, huge, "\xff",  "..",    "{}"};
    for (size_t i = 0; i < sizeof others / sizeof others[0]; i++)
        ck_assert_msg(!test_is_active(f, others[i], NULL), "active: row %zu", i);
    ck_assert_uint_eq(test_count_events(f, OTOK_EVENT_REFUSED), 0);
    free(huge);
    test_end(f);
}
END_TEST

/* K2 K3: a token under a key that is gone; and one of another realm over the same store and keys. */
START_TEST(token_of_another_realm_is_inactive)
{
    test_fixture *f = test_open(TEST_MEMORY), *node = test_open_node(f, "elsewhere");
    const otok_tokens *tokens = test_began(f);
    ck_assert(!test_is_active(node, tokens->offline_token, NULL));
    ck_assert(!test_is_active(node, tokens->access_token, NULL));
    ck_assert(!test_is_live(node, tokens->session_id));
    ck_assert(test_is_active(f, tokens->access_token, NULL));
    test_close(node);
    test_end(f);
}
END_TEST

static void step(test_fixture *f, int32_t what, int32_t use, const char *kid)
{
    otok_key_change change;
    otok_keyring *next = NULL;
    otok_error err = {0};
    otok_key_change_init(&change, sizeof change);
    change.step = what;
    change.use = use;
    change.kid = kid;
    int rc = otok_keyring_change(f->keyring, &change, &next, &err);
    ck_assert_msg(rc == OTOK_OK, "otok_keyring_change: %s", err.message);
    otok_keyring_free(f->keyring);
    f->keyring = next;
}

/* K2 K3 V6: rotated, both go on; dropped, each takes its tokens with it. */
START_TEST(token_under_a_dropped_key_is_inactive)
{
    test_fixture *f = test_open(TEST_MEMORY);
    const otok_tokens *tokens = test_began(f);
    char signing[64], mac[64];
    (void)snprintf(signing, sizeof signing, "%s", otok_keyring_signing(f->keyring)->kid);
    (void)snprintf(mac, sizeof mac, "%s", otok_keyring_token(f->keyring)->kid);
    for (int32_t use = OTOK_KEY_SIGNING; use <= OTOK_KEY_TOKEN; use++) {
        step(f, OTOK_KEY_STEP_ADD, use, NULL);
        step(f, OTOK_KEY_STEP_ACTIVATE, use, NULL);
    }
    test_reopen_service(f);
    ck_assert(test_is_active(f, tokens->offline_token, NULL));
    ck_assert(test_is_active(f, tokens->access_token, NULL));
    step(f, OTOK_KEY_STEP_DROP, OTOK_KEY_SIGNING, signing);
    test_reopen_service(f);
    ck_assert(test_is_active(f, tokens->offline_token, NULL));
    ck_assert(!test_is_active(f, tokens->access_token, NULL));
    ck_assert(test_is_live(f, tokens->session_id));
    const otok_tokens *kept = test_next(f, tokens->offline_token); /* sealed anew, under the new MAC key */
    const otok_tokens *other = test_granted(f, &(otok_grant){.size = sizeof(otok_grant),
                                                             .subject = "bob",
                                                             .client_id = "phone",
                                                             .scope = "offline_access",
                                                             .client_type = OTOK_CLIENT_PUBLIC});
    step(f, OTOK_KEY_STEP_DROP, OTOK_KEY_TOKEN, mac);
    test_reopen_service(f);
    ck_assert(!test_is_active(f, tokens->offline_token, NULL));
    ck_assert(test_is_active(f, kept->offline_token, NULL));
    ck_assert(test_is_active(f, kept->access_token, NULL));
    ck_assert(test_is_active(f, other->offline_token, NULL));
    test_end(f);
}
END_TEST

/* K3 V6: a session that was not used since is sealed under the key that was dropped: it has ended with it. */
START_TEST(session_sealed_under_a_dropped_key_is_dead)
{
    test_fixture *f = test_open(TEST_MEMORY);
    const otok_tokens *tokens = test_began(f);
    char mac[64];
    (void)snprintf(mac, sizeof mac, "%s", otok_keyring_token(f->keyring)->kid);
    step(f, OTOK_KEY_STEP_ADD, OTOK_KEY_TOKEN, NULL);
    step(f, OTOK_KEY_STEP_ACTIVATE, OTOK_KEY_TOKEN, NULL);
    step(f, OTOK_KEY_STEP_DROP, OTOK_KEY_TOKEN, mac);
    test_reopen_service(f);
    test_dead(f, tokens->offline_token, OTOK_E_TOKEN_INVALID);
    ck_assert(!test_is_active(f, tokens->access_token, NULL));
    ck_assert(!test_is_live(f, tokens->session_id));
    test_end(f);
}
END_TEST

static int only_openid(void *user, const otok_use *use, otok_answer *answer)
{
    (void)user;
    return use->purpose == OTOK_PURPOSE_INTROSPECT ? otok_answer_set_scope(answer, "openid") : 0;
}

/* P1 K1: an access token that a host has signed itself (otok_jwt_sign()) is told as ours are: each member once, scope as it was narrowed,
 * and not before its time. */
START_TEST(token_that_the_host_signed_is_told_like_ours)
{
    test_fixture *f = test_open(TEST_MEMORY);
    f->callbacks.authorize = only_openid;
    test_reopen_service(f);
    otok_tokens *tokens = test_issue(f, NULL, NULL, NULL);
    for (int64_t late_s = 0; late_s <= 1; late_s++) {
        char claims[512], *jwt = NULL;
        (void)snprintf(claims, sizeof claims,
                       "{ \"aud\" : \"photos\", \"sub\":\"alice\", \"client_id\":\"phone\", \"scope\" : \"openid "
                       "profile\", \"active\" : false, \"token_type\":\"N_A\","
                       " \"exp\":9999999999, \"nbf\":%lld, \"jti\":\"%s.AAAAAAAAAAAAAAAA\"}",
                       (long long)(f->now_us / OTOK_US_PER_S + late_s), tokens->session_id);
        test_assert_code(OTOK_OK, otok_jwt_sign(f->service, "at+jwt", claims, &jwt, NULL));
        const otok_introspect_request request = test_introspect_request(jwt, "phone");
        if (late_s != 0) {
            test_inactive(f, &request);
        } else {
            cJSON *json = test_active(f, &request);
            test_expect_text(json, "scope", "openid");
            test_expect_text(json, "token_type", "Bearer");
            cJSON_Delete(json);
        }
        otok_string_free(jwt);
    }
    otok_tokens_free(tokens);
    test_close(f);
}
END_TEST

static void add_tests(TCase *tcase)
{
    tcase_add_test(tcase, offline_token_is_shown_to_its_client);
    tcase_add_test(tcase, offline_token_shows_what_it_is_bound_to);
    tcase_add_test(tcase, offline_token_without_end_has_no_exp);
    tcase_add_test(tcase, access_token_shows_its_claims);
    tcase_add_test(tcase, token_is_shown_to_whom_it_concerns);
    tcase_add_test(tcase, each_of_the_audience_may_ask);
    tcase_add_test(tcase, superseded_tokens_are_inactive_and_end_nothing);
    tcase_add_test(tcase, exhausted_retries_are_inactive);
    tcase_add_test(tcase, token_from_the_future_is_as_the_policy_says);
    tcase_add_test(tcase, anything_else_is_inactive);
    tcase_add_test(tcase, token_of_another_realm_is_inactive);
    tcase_add_test(tcase, token_under_a_dropped_key_is_inactive);
    tcase_add_test(tcase, session_sealed_under_a_dropped_key_is_dead);
    tcase_add_test(tcase, token_that_the_host_signed_is_told_like_ours);
}

int main(void)
{
    return test_main("introspect", add_tests);
}
