/*
 * check_issue_tokens.c - what access token (RFC 9068), ID token (OpenID Connect Core) and response (RFC 6749 section
 * 5.1) hold.
 *
 * SPDX-License-Identifier: MIT
 */
#include "support/story.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "support/claims.h"

#define NOW_S (TEST_START_US / OTOK_US_PER_S)

static const char *const amr[] = {"pwd", "otp"};
static const char *const phone[] = {"phone"};

static otok_grant rich_grant(void)
{
    otok_grant grant = test_grant("alice", "phone", "openid offline_access profile");
    grant.sub = "pairwise-7";
    grant.sid = "sso-1";
    grant.nonce = "n-0S6_WzA2Mj";
    grant.acr = "urn:mace:incommon:iap:silver";
    grant.amr = amr;
    grant.amr_count = 2;
    grant.auth_time_us = TEST_START_US - 100 * OTOK_US_PER_S;
    return grant;
}

/* I5 */
START_TEST(access_token_is_an_rfc_9068_one)
{
    test_fixture *f = test_open(TEST_MEMORY);
    static const char *const aud[] = {TEST_ISSUER};
    otok_grant grant = rich_grant();
    const otok_tokens *tokens = test_granted(f, &grant);
    cJSON *header = test_jwt_header(f, tokens->access_token), *claims = test_jwt_claims(f, tokens->access_token);
    test_expect_text(header, "typ", "at+jwt");
    test_expect_text(header, "alg", "ES256");
    test_expect_text(header, "kid", otok_keyring_signing(f->keyring)->kid);
    test_expect_text(claims, "iss", TEST_ISSUER);
    test_expect_text(claims, "sub", "pairwise-7");
    test_expect_text(claims, "client_id", "phone");
    test_expect_texts(claims, "aud", aud, 1);
    test_expect_text(claims, "scope", tokens->scope);
    test_expect_number(claims, "iat", NOW_S);
    test_expect_number(claims, "exp", NOW_S + 300);
    test_expect_number(claims, "auth_time", NOW_S - 100);
    test_expect_text(claims, "acr", "urn:mace:incommon:iap:silver");
    test_expect_texts(claims, "amr", amr, 2);
    ck_assert_uint_ge(strlen(cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(claims, "jti"))), 16);
    test_expect_absent(claims, "nonce");
    test_expect_absent(claims, "cnf");
    test_expect_nothing_empty(claims);
    cJSON_Delete(header);
    cJSON_Delete(claims);
    test_end(f);
}
END_TEST

/* I5 I3 */
START_TEST(id_token_holds_what_was_known_at_the_login)
{
    test_fixture *f = test_open(TEST_MEMORY);
    otok_grant grant = rich_grant();
    const otok_tokens *tokens = test_granted(f, &grant);
    cJSON *claims = test_jwt_claims(f, tokens->id_token);
    test_expect_text(claims, "iss", TEST_ISSUER);
    test_expect_text(claims, "sub", "pairwise-7");
    test_expect_texts(claims, "aud", phone, 1);
    test_expect_text(claims, "azp", "phone");
    test_expect_text(claims, "sid", "sso-1");
    test_expect_text(claims, "nonce", "n-0S6_WzA2Mj");
    test_expect_at_hash(claims, tokens->access_token, "ES256");
    test_expect_number(claims, "iat", NOW_S);
    test_expect_number(claims, "exp", NOW_S + 300);
    test_expect_number(claims, "auth_time", NOW_S - 100);
    test_expect_text(claims, "acr", "urn:mace:incommon:iap:silver");
    test_expect_texts(claims, "amr", amr, 2);
    test_expect_nothing_empty(claims);
    cJSON_Delete(claims);
    test_end(f);
}
END_TEST

/* I5: nothing known, nothing said; and never the type of an access token. */
START_TEST(bare_grant_makes_tokens_without_empty_claims)
{
    static const char *const optional[] = {"auth_time", "acr", "amr", "nonce", "cnf", "sid"};
    test_fixture *f = test_open(TEST_MEMORY);
    const otok_tokens *tokens = test_began(f);
    cJSON *access = test_jwt_claims(f, tokens->access_token), *id = test_jwt_claims(f, tokens->id_token);
    cJSON *header = test_jwt_header(f, tokens->id_token);
    for (size_t i = 0; i < sizeof optional / sizeof optional[0]; i++) {
        test_expect_absent(id, optional[i]);
        if (i < 5)
            test_expect_absent(access, optional[i]);
    }
    test_expect_text(access, "sub", "alice");
    test_expect_nothing_empty(access);
    test_expect_nothing_empty(id);
    ck_assert_str_ne(cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(header, "typ")), "at+jwt");
    cJSON_Delete(header);
    cJSON_Delete(access);
    cJSON_Delete(id);
    test_end(f);
}
END_TEST

/* I5 */
START_TEST(no_id_token_without_openid_in_scope)
{
    static const char *const scopes[] = {"offline_access", "offline_access openidx", "offline_access OPENID",
                                         "profile"};
    test_fixture *f = test_open(TEST_MEMORY);
    for (size_t i = 0; i < sizeof scopes / sizeof scopes[0]; i++) {
        otok_grant grant = test_grant(NULL, NULL, scopes[i]);
        const otok_tokens *tokens = test_granted(f, &grant);
        cJSON *response = test_json(tokens->response_json);
        ck_assert_ptr_null(tokens->id_token);
        test_expect_absent(response, "id_token");
        cJSON_Delete(response);
    }
    test_end(f);
}
END_TEST

/* I5: one spelling of the scope everywhere. */
START_TEST(scope_is_normalised_in_answer_and_token)
{
    test_fixture *f = test_open(TEST_MEMORY);
    otok_grant grant = test_grant(NULL, NULL, "openid offline_access openid profile");
    const otok_tokens *tokens = test_granted(f, &grant);
    cJSON *claims = test_jwt_claims(f, tokens->access_token);
    ck_assert_str_eq(tokens->scope, "openid offline_access profile");
    test_expect_text(claims, "scope", "openid offline_access profile");
    cJSON_Delete(claims);
    test_end(f);
}
END_TEST

static void expect_response(const otok_tokens *tokens, const char *token_type)
{
    cJSON *response = test_json(tokens->response_json);
    test_expect_text(response, "access_token", tokens->access_token);
    test_expect_text(response, "token_type", token_type);
    test_expect_number(response, "expires_in", tokens->access_expires_in_s);
    test_expect_text(response, "refresh_token", tokens->offline_token);
    test_expect_text(response, "scope", tokens->scope);
    test_expect_text(response, "id_token", tokens->id_token);
    test_expect_nothing_empty(response);
    cJSON_Delete(response);
}

/* I5 */
START_TEST(response_is_the_json_of_rfc_6749)
{
    test_fixture *f = test_open(TEST_MEMORY);
    const otok_tokens *tokens = test_began(f);
    expect_response(tokens, "Bearer");
    ck_assert_uint_eq(strlen(tokens->offline_token), OTOK_TOKEN_CHARS);
    ck_assert_uint_eq(strlen(tokens->session_id), OTOK_SESSION_ID_CHARS);
    ck_assert_int_eq(tokens->outcome, OTOK_OUTCOME_ISSUED);
    ck_assert_uint_eq(tokens->generation, 0);
    ck_assert_int_eq(tokens->access_expires_in_s, 300);
    ck_assert_int_ge(tokens->offline_expires_in_s, 30 * 86400);
    ck_assert_int_le(tokens->offline_expires_in_s, 30 * 86400 + 300);
    test_advance_s(f, 60);
    expect_response(test_next(f, tokens->offline_token), "Bearer");
    test_end(f);
}
END_TEST

/* I3 I5: cnf and token_type of a bound session (RFC 9449 sections 5 and 6, RFC 8705 section 3.1). */
START_TEST(tokens_of_a_bound_session_say_so)
{
    static const struct {
        int32_t binding, client_type;
        const char *member, *token_type;
    } rows[] = {
        {OTOK_BINDING_JKT, OTOK_CLIENT_PUBLIC, "jkt", "DPoP"},
        {OTOK_BINDING_DPOP, OTOK_CLIENT_CONFIDENTIAL, "jkt", "DPoP"},
        {OTOK_BINDING_X5T_S256, OTOK_CLIENT_PUBLIC, "x5t#S256", "Bearer"},
        {OTOK_BINDING_MTLS, OTOK_CLIENT_CONFIDENTIAL, "x5t#S256", "Bearer"},
    };
    test_fixture *f = test_open(TEST_MEMORY);
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        bool dpop = strcmp(rows[i].member, "jkt") == 0;
        otok_peer peer = test_peer(dpop ? TEST_JKT : NULL, dpop ? NULL : TEST_JKT, NULL, NULL);
        otok_grant grant = test_grant(NULL, NULL, NULL);
        grant.binding = rows[i].binding;
        grant.client_type = rows[i].client_type;
        grant.peer = &peer;
        const otok_tokens *tokens = test_granted(f, &grant);
        cJSON *claims = test_jwt_claims(f, tokens->access_token);
        test_expect_text(cJSON_GetObjectItemCaseSensitive(claims, "cnf"), rows[i].member, TEST_JKT);
        expect_response(tokens, rows[i].token_type);
        cJSON_Delete(claims);
    }
    test_end(f);
}
END_TEST

/* I5: "a host that mints its own access tokens turns ours off". */
START_TEST(access_tokens_can_be_off)
{
    test_fixture *f = test_open(TEST_MEMORY);
    f->policy.access_token = OTOK_OFF;
    test_reopen_service(f);
    const otok_tokens *tokens = test_began(f);
    cJSON *response = test_json(tokens->response_json), *id = test_jwt_claims(f, tokens->id_token);
    ck_assert_ptr_null(tokens->access_token);
    test_expect_absent(response, "access_token");
    test_expect_text(response, "refresh_token", tokens->offline_token);
    test_expect_text(response, "id_token", tokens->id_token);
    test_expect_nothing_empty(response);
    test_expect_absent(id, "at_hash");
    cJSON_Delete(response);
    cJSON_Delete(id);
    test_end(f);
}
END_TEST

/* I5 */
START_TEST(jti_is_unique)
{
    enum { N = 64 };
    char seen[N][64];
    test_fixture *f = test_open(TEST_MEMORY);
    const otok_tokens *tokens = test_began(f);
    for (size_t i = 0; i < N; i++) { /* in one microsecond, of one session */
        cJSON *claims = test_jwt_claims(f, test_next(f, tokens->offline_token)->access_token);
        (void)snprintf(seen[i], sizeof seen[i], "%s",
                       cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(claims, "jti")));
        for (size_t j = 0; j < i; j++)
            ck_assert_str_ne(seen[i], seen[j]);
        cJSON_Delete(claims);
    }
    test_end(f);
}
END_TEST

static void expect_ends(test_fixture *f, const otok_tokens *tokens, int64_t end_us)
{
    const char *const jwts[] = {tokens->access_token, tokens->id_token};
    for (size_t i = 0; i < 2; i++) {
        cJSON *claims = test_jwt_claims(f, jwts[i]);
        ck_assert_int_le(test_number(claims, "exp"), end_us / OTOK_US_PER_S);
        ck_assert_int_gt(test_number(claims, "exp"), f->now_us / OTOK_US_PER_S - 1);
        cJSON_Delete(claims);
    }
    ck_assert_int_le(tokens->access_expires_in_s, (end_us - f->now_us) / OTOK_US_PER_S);
    ck_assert_int_le(tokens->offline_expires_in_s, (end_us - f->now_us) / OTOK_US_PER_S);
}

/* I5: by the session's own maximum, by the policy's, and on a microsecond that is no whole second. */
START_TEST(access_and_id_tokens_never_outlive_the_session)
{
    test_fixture *f = test_open(TEST_MEMORY);
    test_set_now_us(f, TEST_START_US + 999999);
    otok_grant grant = test_grant(NULL, NULL, NULL);
    grant.max_lifetime_s = 100;
    int64_t end = f->now_us + 100 * OTOK_US_PER_S;
    const otok_tokens *tokens = test_granted(f, &grant);
    expect_ends(f, tokens, end);
    test_advance_s(f, 60);
    tokens = test_next(f, tokens->offline_token);
    expect_ends(f, tokens, end);
    f->policy.max_lifetime_s = 80;
    test_reopen_service(f);
    expect_ends(f, test_next(f, tokens->offline_token), end - 20 * OTOK_US_PER_S);
    test_end(f);
}
END_TEST

/* I3 L3: tighter than the policy has effect, looser has none. */
START_TEST(limits_of_a_session_only_tighten)
{
    static const struct {
        int64_t idle_s, max_s, last_alive_s;
    } rows[] = {
        {0, 0, 1000}, {100, 0, 100}, {0, 100, 100}, {5000, 50000, 1000}, {OTOK_UNLIMITED, OTOK_UNLIMITED, 1000}};
    test_fixture *f = test_open(TEST_MEMORY);
    f->policy.idle_timeout_s = 1000;
    f->policy.max_lifetime_s = 10000;
    test_reopen_service(f);
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        otok_grant grant = test_grant(NULL, NULL, NULL);
        grant.idle_timeout_s = rows[i].idle_s;
        grant.max_lifetime_s = rows[i].max_s;
        const otok_tokens *lives = test_granted(f, &grant), *dies = test_granted(f, &grant);
        test_advance_s(f, rows[i].last_alive_s - 1);
        (void)test_next(f, lives->offline_token);
        test_advance_s(f, rows[i].last_alive_s / 10 + 2);
        test_dead(f, dies->offline_token, OTOK_E_TOKEN_EXPIRED);
    }
    test_end(f);
}
END_TEST

/* K1 I5: the kinds of key that sign, and the hash that goes with each. */
START_TEST(tokens_are_signed_by_each_kind_of_key)
{
    static const int32_t kinds[] = {OTOK_ALG_ES256, OTOK_ALG_EDDSA, OTOK_ALG_RS256, OTOK_ALG_PS256};
    static const char *const names[] = {"ES256", "EdDSA", "RS256", "PS256"};
    test_fixture *f = test_open(TEST_MEMORY);
    for (size_t i = 0; i < 4; i++) {
        otok_keyring_free(f->keyring);
        test_assert_code(OTOK_OK, otok_keyring_generate(kinds[i], &f->keyring, NULL));
        test_reopen_service(f);
        const otok_tokens *tokens = test_began(f);
        cJSON *header = test_jwt_header(f, tokens->access_token), *id = test_jwt_header(f, tokens->id_token);
        test_expect_text(header, "alg", names[i]);
        test_expect_text(id, "alg", names[i]);
        cJSON *claims = test_jwt_claims(f, tokens->id_token);
        test_expect_at_hash(claims, tokens->access_token, names[i]);
        cJSON_Delete(claims);
        cJSON_Delete(header);
        cJSON_Delete(id);
    }
    test_end(f);
}
END_TEST

/* Bad input, RFC 8259: text with quotes, backslashes and characters beyond ASCII arrives as it was. */
START_TEST(text_of_the_grant_is_escaped_in_tokens)
{
    static const char odd[] = "a\"b\\c/\xc3\xa4\xf0\x9f\x94\x91<>&'";
    test_fixture *f = test_open(TEST_MEMORY);
    otok_grant grant = test_grant(odd, odd, "openid offline_access");
    grant.sid = grant.nonce = grant.acr = odd;
    cJSON *claims = test_jwt_claims(f, test_granted(f, &grant)->id_token);
    static const char *const names[] = {"sub", "azp", "sid", "nonce", "acr"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        test_expect_text(claims, names[i], odd);
    cJSON_Delete(claims);
    test_end(f);
}
END_TEST

/* I3, V1: everything at its bound and to be escaped: what was handed out is recognised when it is revoked. */
START_TEST(largest_access_token_can_be_revoked)
{
    enum { RESOURCE = 1024, NAME = 255, CLAIMS = 16384 };
    static char resource[RESOURCE + 1], name[NAME + 1], claims[CLAIMS + 1];
    const char *audience[16], *methods[16];
    memset(resource, '"', RESOURCE);
    memset(name, '"', NAME);
    (void)snprintf(claims, sizeof claims, "{\"x\":\"%0*d\"}", CLAIMS - 8, 0);
    for (size_t i = 0; i < 16; i++) {
        audience[i] = resource;
        methods[i] = name;
    }
    test_fixture *f = test_open(TEST_MEMORY);
    otok_grant grant = test_grant(name, name, NULL);
    grant.client_type = OTOK_CLIENT_CONFIDENTIAL;
    grant.acr = name;
    grant.claims = claims;
    grant.audience = audience;
    grant.amr = methods;
    grant.audience_count = grant.amr_count = 16;
    const otok_tokens *tokens = test_granted(f, &grant);
    test_assert_code(OTOK_OK, test_revoke_as(f, tokens->access_token, name, OTOK_CLIENT_CONFIDENTIAL, NULL));
    test_assert_code(OTOK_E_TOKEN_UNKNOWN, test_refresh_code(f, tokens->offline_token, name));
    test_end(f);
}
END_TEST

/* A keyring that takes the other's place, on and on. */
struct changing {
    test_fixture *f;
    otok_keyring *keyrings[2];
    bool stop; /* atomic */
};

static void *change_keyrings(void *arg)
{
    struct changing *c = arg;
    for (size_t i = 0; i < 500 && !__atomic_load_n(&c->stop, __ATOMIC_ACQUIRE); i++) {
        if (otok_service_set_keyring(c->f->service, c->keyrings[i % 2], NULL) != OTOK_OK)
            abort();
    }
    return NULL;
}

/* The header of a token, verified under the key that it names, in whichever keyring that is. */
static otok_jws *verified(const struct changing *c, const char *token)
{
    otok_jws *jwt = NULL;
    test_assert_code(OTOK_OK, otok_jws_parse(token, strlen(token), &jwt, NULL));
    const char *kid = otok_json_text(jwt->header, "kid");
    const otok_signing_key *key = otok_keyring_by_kid(c->keyrings[0], kid);
    if (key == NULL)
        key = otok_keyring_by_kid(c->keyrings[1], kid);
    ck_assert_ptr_nonnull(key);
    test_assert_code(OTOK_OK, otok_jws_verify(jwt, token, key->pkey, NULL));
    return jwt;
}

/* K2 I5: key, header and at_hash of one answer go together, whenever the keyring changes. */
START_TEST(tokens_of_one_answer_go_together_while_keys_change)
{
    struct changing c = {.f = test_open(TEST_MEMORY)};
    pthread_t thread;
    char at_hash[OTOK_AT_HASH_MAX + 1];
    c.keyrings[0] = c.f->keyring;
    test_assert_code(OTOK_OK, otok_keyring_generate(OTOK_ALG_EDDSA, &c.keyrings[1], NULL));
    ck_assert_int_eq(pthread_create(&thread, NULL, change_keyrings, &c), 0);
    for (int i = 0; i < 100; i++) {
        otok_tokens *tokens = test_issue(c.f, NULL, NULL, NULL);
        otok_jws *access = verified(&c, tokens->access_token), *id = verified(&c, tokens->id_token);
        int32_t algorithm = otok_algorithm_of_name(otok_json_text(id->header, "alg"));
        ck_assert_str_eq(otok_json_text(access->header, "kid"), otok_json_text(id->header, "kid"));
        test_assert_code(OTOK_OK, otok_at_hash(algorithm, otok_str_of(tokens->access_token), at_hash, NULL));
        ck_assert_str_eq(otok_json_text(id->payload, "at_hash"), at_hash);
        otok_jws_free(access);
        otok_jws_free(id);
        otok_tokens_free(tokens);
    }
    __atomic_store_n(&c.stop, true, __ATOMIC_RELEASE);
    ck_assert_int_eq(pthread_join(thread, NULL), 0);
    otok_keyring_free(c.keyrings[1]);
    test_end(c.f);
}
END_TEST

static void add_tests(TCase *tcase)
{
    tcase_add_test(tcase, access_token_is_an_rfc_9068_one);
    tcase_add_test(tcase, id_token_holds_what_was_known_at_the_login);
    tcase_add_test(tcase, bare_grant_makes_tokens_without_empty_claims);
    tcase_add_test(tcase, no_id_token_without_openid_in_scope);
    tcase_add_test(tcase, scope_is_normalised_in_answer_and_token);
    tcase_add_test(tcase, response_is_the_json_of_rfc_6749);
    tcase_add_test(tcase, tokens_of_a_bound_session_say_so);
    tcase_add_test(tcase, access_tokens_can_be_off);
    tcase_add_test(tcase, jti_is_unique);
    tcase_add_test(tcase, access_and_id_tokens_never_outlive_the_session);
    tcase_add_test(tcase, limits_of_a_session_only_tighten);
    tcase_add_test(tcase, tokens_are_signed_by_each_kind_of_key);
    tcase_add_test(tcase, text_of_the_grant_is_escaped_in_tokens);
    tcase_add_test(tcase, largest_access_token_can_be_revoked);
    tcase_add_test(tcase, tokens_of_one_answer_go_together_while_keys_change);
}

int main(void)
{
    return test_main("issue_tokens", add_tests);
}
