/*
 * check_claims.c - claims that the host gives at each use of a session (R5): those of the access token replace the grant's, those
 * of the ID token are added, and what the library says itself cannot be said otherwise.
 *
 * SPDX-License-Identifier: MIT
 */
#include "support/host.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "support/claims.h"
#include "support/introspect.h"
#include "support/records.h"

static test_host host;

static test_fixture *open_host(void)
{
    test_fixture *f = test_open(TEST_MEMORY);
    test_install_host(f, &host);
    return f;
}

static const otok_tokens *begin(test_fixture *f)
{
    otok_grant grant = test_grant(NULL, NULL, NULL);
    grant.claims = "{\"roles\":[\"reader\"],\"tenant\":\"t1\"}";
    return test_granted(f, &grant);
}

/* R5: at issue, and at a refresh with other ones. */
START_TEST(access_claims_replace_those_of_the_grant)
{
    test_fixture *f = open_host();
    host.access_claims = " { \"roles\" : [ \"writer\" ] , \"n\" : 12345678901234567890 } ";
    const otok_tokens *tokens = begin(f);
    cJSON *claims = test_jwt_claims(f, tokens->access_token), *id = test_jwt_claims(f, tokens->id_token);
    test_expect_texts(claims, "roles", (const char *const[]){"writer"}, 1);
    test_expect_absent(claims, "tenant");
    test_expect_text(claims, "sub", "alice");
    test_expect_absent(id, "roles");
    cJSON_Delete(claims);
    cJSON_Delete(id);
    otok_introspect_request request = test_introspect_request(tokens->access_token, NULL);
    otok_introspection *introspection = NULL;
    test_assert_code(OTOK_OK, otok_introspect(f->service, &request, &introspection, NULL));
    ck_assert_ptr_nonnull(strstr(introspection->response_json, "12345678901234567890")); /* every digit */
    otok_introspection_free(introspection);
    host.access_claims = "{\"roles\":[]}";
    claims = test_jwt_claims(f, test_next(f, tokens->offline_token)->access_token);
    ck_assert_int_eq(cJSON_GetArraySize(cJSON_GetObjectItemCaseSensitive(claims, "roles")), 0);
    cJSON_Delete(claims);
    test_end(f);
}
END_TEST

/* R5: for one answer: the session keeps the grant's. */
START_TEST(access_claims_are_for_one_answer)
{
    test_fixture *f = open_host();
    host.access_claims = "{}"; /* none at all */
    const otok_tokens *tokens = begin(f);
    cJSON *claims = test_jwt_claims(f, tokens->access_token);
    test_expect_absent(claims, "roles");
    test_expect_absent(claims, "tenant");
    cJSON_Delete(claims);
    host.access_claims = NULL;
    claims = test_jwt_claims(f, test_next(f, tokens->offline_token)->access_token);
    test_expect_text(claims, "tenant", "t1");
    cJSON_Delete(claims);
    test_end(f);
}
END_TEST

/* R5: beside the ones of the login, which stay. */
START_TEST(id_claims_are_added)
{
    test_fixture *f = open_host();
    host.id_claims = "{\"email\":\"a@example.org\",\"n\":1}";
    const otok_tokens *tokens = begin(f);
    cJSON *id = test_jwt_claims(f, tokens->id_token), *access = test_jwt_claims(f, tokens->access_token);
    test_expect_text(id, "email", "a@example.org");
    test_expect_text(id, "azp", "phone");
    test_expect_at_hash(id, tokens->access_token, "ES256");
    test_expect_absent(access, "email");
    test_expect_text(access, "tenant", "t1");
    cJSON_Delete(id);
    cJSON_Delete(access);
    test_end(f);
}
END_TEST

/* R4 R5: "never iss, sub, aud, auth_time, acr, amr", nor any other name of the library's; however it is spelled. */
START_TEST(reserved_names_are_refused)
{
    static const char *const names[] = {
        "iss",    "sub",        "aud",       "exp",      "nbf", "iat",       "jti",    "client_id",
        "scope",  "auth_time",  "acr",       "amr",      "sid", "cnf",       "act",    "nonce",
        "azp",    "at_hash",    "c_hash",    "s_hash",   "typ", "token_use", "events", "authorization_details",
        "active", "token_type", "\\u0069ss", "s\\u0075b"};
    test_fixture *f = open_host();
    const otok_tokens *tokens = begin(f);
    otok_refresh_request request = test_refresh_request(tokens->offline_token, NULL);
    test_advance_s(f, 60);
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        char json[128];
        (void)snprintf(json, sizeof json, "{\"a\":1,\"%s\":\"x\"}", names[i]);
        otok_grant grant = test_grant(NULL, NULL, NULL);
        host.nuses = 0;
        host.access_claims = json;
        host.id_claims = NULL;
        test_refused_untouched(f, &request, OTOK_E_CALLBACK);
        test_not_granted(f, &grant, OTOK_E_CALLBACK, "otok_answer_set_access_claims");
        host.access_claims = NULL;
        host.id_claims = json;
        test_refused_untouched(f, &request, OTOK_E_CALLBACK);
        test_not_granted(f, &grant, OTOK_E_CALLBACK, "is reserved");
        host.id_claims = NULL;
        grant.claims = json;
        test_not_granted(f, &grant, OTOK_E_INVALID, "grant.claims");
    }
    test_end(f);
}
END_TEST

/* Bad input: what is no JSON object of at most 16 KiB fails the request, the session as before. */
START_TEST(claims_must_be_an_object_within_bounds)
{
    enum { MOST = 16384 };
    static char longest[MOST + 2];
    (void)snprintf(longest, sizeof longest, "{\"x\":\"%0*d\"}", MOST - 8, 0);
    const char *const bad[] = {"",
                               " ",
                               "[]",
                               "null",
                               "\"x\"",
                               "{",
                               "{a:1}",
                               "{\"a\":01}",
                               "{\"a\":1}x",
                               "{\"a\":1,}",
                               "{\"a\":1,\"a\":2}",
                               "{\"a\":\"\xff\"}"};
    test_fixture *f = open_host();
    const otok_tokens *tokens = begin(f);
    otok_refresh_request request = test_refresh_request(tokens->offline_token, NULL);
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        host.access_claims = bad[i];
        test_refused_untouched(f, &request, OTOK_E_CALLBACK);
        host.access_claims = NULL;
        host.id_claims = bad[i];
        test_refused_untouched(f, &request, OTOK_E_CALLBACK);
        host.id_claims = NULL;
    }
    host.access_claims = host.id_claims = longest;
    (void)test_answered(f, &request);
    (void)snprintf(longest, sizeof longest, "{\"x\":\"%0*d\"}", MOST - 7, 0);
    test_refused_untouched(f, &request, OTOK_E_CALLBACK);
    test_end(f);
}
END_TEST

static int set_twice(test_host *h, const otok_use *use, otok_answer *answer)
{
    (void)h;
    (void)use;
    ck_assert_int_eq(otok_answer_set_access_claims(answer, "{\"a\":1}"), OTOK_OK);
    ck_assert_int_eq(otok_answer_set_access_claims(answer, "{\"b\":2}"), OTOK_OK);
    return otok_answer_set_id_claims(answer, "{\"c\":3}");
}

/* R5: authorize may give them too; the last one counts, and what was handed in is copied. */
START_TEST(last_claims_count)
{
    test_fixture *f = open_host();
    host.authorize = set_twice;
    const otok_tokens *tokens = begin(f);
    cJSON *access = test_jwt_claims(f, tokens->access_token), *id = test_jwt_claims(f, tokens->id_token);
    test_expect_absent(access, "a");
    test_expect_number(access, "b", 2);
    test_expect_number(id, "c", 3);
    cJSON_Delete(access);
    cJSON_Delete(id);
    char *text = strdup("{\"d\":4}");
    host.access_claims = text;
    access = test_jwt_claims(f, test_next(f, tokens->offline_token)->access_token);
    test_expect_absent(access, "b");
    test_expect_number(access, "d", 4);
    cJSON_Delete(access);
    free(text);
    test_end(f);
}
END_TEST

/* R5: who says claims alone is asked all the same; and not when introspecting. */
START_TEST(host_without_authorize_is_asked_for_claims)
{
    test_fixture *f = open_host();
    f->callbacks.authorize = NULL;
    test_reopen_service(f);
    host.access_claims = "{\"a\":1}";
    const otok_tokens *tokens = begin(f);
    cJSON *access = test_jwt_claims(f, tokens->access_token);
    test_expect_number(access, "a", 1);
    cJSON_Delete(access);
    ck_assert_uint_eq(host.nuses, 1);
    ck_assert(test_is_active(f, tokens->access_token, NULL));
    ck_assert_uint_eq(host.nuses, 1);
    host.claims_return = 1;
    test_dead(f, tokens->offline_token, OTOK_E_CALLBACK);
    test_end(f);
}
END_TEST

static int many_claims(void *user, const otok_use *use, otok_answer *answer)
{
    enum { MOST = 16384 };
    static char claims[MOST + 1];
    (void)user;
    (void)snprintf(claims, sizeof claims, "{\"x\":\"%0*d\"}", MOST - 8, 0);
    return use->purpose == OTOK_PURPOSE_REFRESH ? otok_answer_set_access_claims(answer, claims) : 0;
}

/* R5: claims that do not fit beside those of the grant are the host's mistake: no client is told that its request is invalid. */
START_TEST(too_many_claims_are_the_hosts_mistake)
{
    enum { ITEMS = 16, ITEM = 1024, DETAILS = 16384 };
    static char audience[ITEMS][ITEM + 1], details[DETAILS + 1];
    const char *items[ITEMS];
    test_fixture *f = test_open(TEST_MEMORY);
    f->callbacks.claims = many_claims;
    test_reopen_service(f);
    otok_grant grant = test_grant(NULL, NULL, NULL);
    for (size_t i = 0; i < ITEMS; i++) {
        memset(audience[i], '"', ITEM); /* which is two characters in JSON */
        audience[i][0] = (char)('a' + i);
        items[i] = audience[i];
    }
    (void)snprintf(details, sizeof details, "[{\"type\":\"%0*d\"}]", DETAILS - 13, 0);
    grant.audience = items;
    grant.audience_count = ITEMS;
    grant.authorization_details = details;
    const otok_tokens *tokens = test_granted(f, &grant);
    otok_tokens *next = NULL;
    test_advance_s(f, 120);
    test_assert_code(OTOK_E_CALLBACK, test_refresh(f, tokens->offline_token, "phone", &next));
    f->callbacks.claims = NULL;
    test_reopen_service(f);
    test_assert_code(OTOK_OK, test_refresh(f, tokens->offline_token, "phone", &next));
    otok_tokens_free(next);
    test_end(f);
}
END_TEST

static void add_tests(TCase *tcase)
{
    tcase_add_test(tcase, access_claims_replace_those_of_the_grant);
    tcase_add_test(tcase, access_claims_are_for_one_answer);
    tcase_add_test(tcase, id_claims_are_added);
    tcase_add_test(tcase, reserved_names_are_refused);
    tcase_add_test(tcase, claims_must_be_an_object_within_bounds);
    tcase_add_test(tcase, last_claims_count);
    tcase_add_test(tcase, host_without_authorize_is_asked_for_claims);
    tcase_add_test(tcase, too_many_claims_are_the_hosts_mistake);
}

int main(void)
{
    return test_main("claims", add_tests);
}
