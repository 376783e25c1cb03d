/*
 * check_authorize_narrow.c - the host leaves less of scope and audience than was asked for (R5), and never more.
 *
 * SPDX-License-Identifier: MIT
 */
#include "support/host.h"

#include <string.h>

#include "support/claims.h"
#include "support/introspect.h"
#include "support/records.h"

static test_host host;
static const char *const both[] = {"https://api.example.org", "https://files.example.org"};

static const otok_tokens *begin(test_fixture *f)
{
    otok_grant grant = test_grant(NULL, NULL, NULL);
    grant.audience = both;
    grant.audience_count = 2;
    return test_granted(f, &grant);
}

static test_fixture *open_host(void)
{
    test_fixture *f = test_open(TEST_MEMORY);
    test_install_host(f, &host);
    return f;
}

static void expect_extent(test_fixture *f, const otok_tokens *tokens, const char *scope, const char *const *audience,
                          size_t n)
{
    cJSON *claims = test_jwt_claims(f, tokens->access_token), *response = test_json(tokens->response_json);
    ck_assert_str_eq(tokens->scope, scope);
    test_expect_text(claims, "scope", scope);
    test_expect_text(response, "scope", scope);
    test_expect_texts(claims, "aud", audience, n);
    cJSON_Delete(claims);
    cJSON_Delete(response);
}

/* R5: at issue and at refresh; each word once, as in every scope. */
START_TEST(host_narrows_scope_and_audience)
{
    test_fixture *f = open_host();
    const char *const twice[] = {both[1], both[1]};
    host.scope = "  profile offline_access profile ";
    host.audience = twice;
    host.audience_count = 2;
    const otok_tokens *tokens = begin(f);
    expect_extent(f, tokens, "profile offline_access", &both[1], 1);
    test_advance_s(f, 60);
    expect_extent(f, test_next(f, tokens->offline_token), "profile offline_access", &both[1], 1);
    ck_assert_str_eq(test_last_use(&host)->scope, "profile offline_access"); /* of claims, which comes after */
    ck_assert_uint_eq(test_last_use(&host)->audience_count, 1);
    ck_assert_str_eq(test_last_use(&host)->audience[0], both[1]);
    test_end(f);
}
END_TEST

/* R5 R3: of this answer alone: the session keeps what was granted. */
START_TEST(narrowing_is_for_one_answer)
{
    test_fixture *f = open_host();
    host.scope = "offline_access";
    const otok_tokens *tokens = begin(f);
    ck_assert_ptr_null(tokens->id_token); /* openid is gone */
    host.scope = NULL;
    test_advance_s(f, 60);
    const otok_tokens *next = test_next(f, tokens->offline_token);
    expect_extent(f, next, "openid offline_access profile", both, 2);
    ck_assert_ptr_nonnull(next->id_token);
    test_end(f);
}
END_TEST

/* R5: claims has the last word, over what authorize has left. */
START_TEST(host_narrows_again_with_claims)
{
    test_fixture *f = open_host();
    host.scope = "openid profile";
    host.claims_scope = "profile";
    expect_extent(f, begin(f), "profile", both, 2);
    host.claims_scope = "offline_access"; /* authorize has taken it away */
    otok_grant grant = test_grant(NULL, NULL, NULL);
    test_not_granted(f, &grant, OTOK_E_CALLBACK, "otok_answer_set_scope");
    test_end(f);
}
END_TEST

/* R5 R3: from what the client asked for, not from what was granted. */
START_TEST(host_narrows_what_the_client_has_narrowed)
{
    test_fixture *f = open_host();
    const otok_tokens *tokens = begin(f);
    otok_refresh_request request = test_refresh_request(tokens->offline_token, NULL);
    request.scope = "profile openid";
    request.resource = &both[0];
    request.resource_count = 1;
    host.scope = "openid";
    host.audience = &both[0];
    host.audience_count = 1;
    expect_extent(f, test_answered(f, &request), "openid", both, 1);
    host.scope = "offline_access";
    test_refused_untouched(f, &request, OTOK_E_CALLBACK);
    host.scope = NULL;
    host.audience = &both[1];
    test_refused_untouched(f, &request, OTOK_E_CALLBACK);
    test_end(f);
}
END_TEST

/* R5: "what was not in it is OTOK_E_INVALID", and so is nothing. */
START_TEST(host_cannot_widen_nor_leave_nothing)
{
    static const char *const scopes[] = {"openid admin", "OPENID", "openid\tprofile", "", " ", "\"", "\xff"};
    static const char *const strange[] = {"https://api.example.org", "https://evil.example.org"};
    static const char *const many[17] = {"https://api.example.org"};
    const struct {
        const char *const *audience;
        size_t count;
    } audiences[] = {{strange, 2}, {both, 0}, {many, 17}, {many, 2}, {(const char *const[]){""}, 1}};
    test_fixture *f = open_host();
    const otok_tokens *tokens = begin(f);
    otok_refresh_request request = test_refresh_request(tokens->offline_token, NULL);
    test_advance_s(f, 60);
    for (size_t i = 0; i < sizeof scopes / sizeof scopes[0]; i++) {
        host.scope = scopes[i];
        test_refused_untouched(f, &request, OTOK_E_CALLBACK);
    }
    host.scope = NULL;
    for (size_t i = 0; i < sizeof audiences / sizeof audiences[0]; i++) {
        host.audience = audiences[i].audience;
        host.audience_count = audiences[i].count;
        test_refused_untouched(f, &request, OTOK_E_CALLBACK);
    }
    test_end(f);
}
END_TEST

/* R5 I3: a session without an audience of its own has the service's, which is there to be kept. */
START_TEST(default_audience_can_be_named)
{
    static const char *const by_default[] = {TEST_ISSUER};
    test_fixture *f = open_host();
    otok_grant grant = test_grant(NULL, NULL, NULL);
    host.audience = by_default;
    host.audience_count = 1;
    expect_extent(f, test_granted(f, &grant), "openid offline_access profile", by_default, 1);
    host.audience = both;
    test_not_granted(f, &grant, OTOK_E_CALLBACK, "otok_answer_set_audience");
    test_end(f);
}
END_TEST

/* R5 V6: what has been taken away since is not in the answer, and every other member is as it was signed. */
START_TEST(introspection_shows_what_the_host_leaves)
{
    test_fixture *f = open_host();
    otok_grant grant = test_grant(NULL, NULL, NULL);
    grant.audience = both;
    grant.audience_count = 2;
    grant.claims = "{ \"n\" : 12345678901234567890.5 , \"t\":\"a,}]\\\"{\" ,\"o\":{\"scope\":\"x\",\"aud\":[\"y\"]} }";
    const otok_tokens *tokens = test_granted(f, &grant);
    const char *const texts[] = {tokens->access_token, tokens->offline_token};
    host.scope = "profile";
    host.audience = both;
    host.audience_count = 1;
    for (size_t i = 0; i < 2; i++) {
        otok_introspect_request request = test_introspect_request(texts[i], NULL);
        cJSON *json = test_active(f, &request);
        test_expect_text(json, "scope", "profile");
        test_expect_texts(json, "aud", both, 1);
        if (i == 0) {
            const cJSON *inner = cJSON_GetObjectItemCaseSensitive(json, "o");
            test_expect_text(inner, "scope", "x");
            test_expect_text(json, "t", "a,}]\"{");
        }
        cJSON_Delete(json);
    }
    test_end(f);
}
END_TEST

/* R5 P1: a resource that the host has taken out of the audience is told nothing. */
START_TEST(resource_that_the_host_took_away_is_told_nothing)
{
    test_fixture *f = open_host();
    const otok_tokens *tokens = begin(f);
    otok_introspect_request request = test_introspect_request(tokens->access_token, both[1]);
    cJSON_Delete(test_active(f, &request));
    host.audience = both;
    host.audience_count = 1;
    test_inactive(f, &request);
    request.client_id = both[0];
    cJSON_Delete(test_active(f, &request));
    test_end(f);
}
END_TEST

static void add_tests(TCase *tcase)
{
    tcase_add_test(tcase, host_narrows_scope_and_audience);
    tcase_add_test(tcase, narrowing_is_for_one_answer);
    tcase_add_test(tcase, host_narrows_again_with_claims);
    tcase_add_test(tcase, host_narrows_what_the_client_has_narrowed);
    tcase_add_test(tcase, host_cannot_widen_nor_leave_nothing);
    tcase_add_test(tcase, default_audience_can_be_named);
    tcase_add_test(tcase, introspection_shows_what_the_host_leaves);
    tcase_add_test(tcase, resource_that_the_host_took_away_is_told_nothing);
}

int main(void)
{
    return test_main("authorize_narrow", add_tests);
}
