/*
 * check_metadata.c - what clients read before they use the endpoints: keys and metadata (P1, K2, RFC 8414).
 *
 * SPDX-License-Identifier: MIT
 */
#include "support/endpoint.h"

#include <stdio.h>
#include <string.h>

#include "support/claims.h"

static const char *const all[] = {"ES256", "EdDSA", "RS256", "PS256"};

static cJSON *metadata_of(test_fixture *f, const otok_metadata *metadata)
{
    char *text = NULL;
    test_assert_code(OTOK_OK, otok_endpoint_metadata(f->service, metadata, &text, NULL));
    cJSON *json = test_json(text);
    test_expect_nothing_empty(json);
    otok_string_free(text);
    return json;
}

static otok_metadata whole(void)
{
    otok_metadata metadata;
    otok_metadata_init(&metadata, sizeof metadata);
    metadata.token_endpoint = TEST_TOKEN_URI;
    metadata.revocation_endpoint = TEST_REVOKE_URI;
    metadata.introspection_endpoint = "https://id.example.org/introspect?a=\"b\"";
    metadata.jwks_uri = "https://id.example.org/jwks";
    return metadata;
}

static void add_key(test_fixture *f, int32_t step, int32_t algorithm)
{
    otok_key_change change;
    otok_keyring *next = NULL;
    otok_key_change_init(&change, sizeof change);
    change.step = step;
    change.use = OTOK_KEY_SIGNING;
    change.algorithm = algorithm;
    test_assert_code(OTOK_OK, otok_keyring_change(f->keyring, &change, &next, NULL));
    otok_keyring_free(f->keyring);
    f->keyring = next;
    test_assert_code(OTOK_OK, otok_service_set_keyring(f->service, next, NULL));
}

/* P1: RFC 8414 section 2: where the endpoints are, and what they understand. */
START_TEST(endpoints_are_described)
{
    test_fixture *f = test_open(TEST_MEMORY);
    otok_metadata metadata = whole();
    cJSON *json = metadata_of(f, &metadata);
    test_expect_text(json, "issuer", TEST_ISSUER);
    test_expect_text(json, "token_endpoint", metadata.token_endpoint);
    test_expect_text(json, "revocation_endpoint", metadata.revocation_endpoint);
    test_expect_text(json, "introspection_endpoint", metadata.introspection_endpoint);
    test_expect_text(json, "jwks_uri", metadata.jwks_uri);
    test_expect_texts(json, "id_token_signing_alg_values_supported", all, 1);
    test_expect_texts(json, "dpop_signing_alg_values_supported", all, 4);
    ck_assert(cJSON_IsTrue(cJSON_GetObjectItemCaseSensitive(json, "tls_client_certificate_bound_access_tokens")));
    ck_assert_int_eq(cJSON_GetArraySize(json), 8); /* and nothing that is the host's */
    cJSON_Delete(json);
    test_end(f);
}
END_TEST

/* P1: an endpoint that is not there is not told of. */
START_TEST(absent_endpoints_are_left_out)
{
    test_fixture *f = test_open(TEST_MEMORY);
    otok_metadata metadata;
    otok_metadata_init(&metadata, sizeof metadata);
    cJSON *json = metadata_of(f, &metadata);
    test_expect_text(json, "issuer", TEST_ISSUER);
    test_expect_texts(json, "id_token_signing_alg_values_supported", all, 1);
    ck_assert_int_eq(cJSON_GetArraySize(json), 2);
    cJSON_Delete(json);
    test_end(f);
}
END_TEST

static size_t count_keys(test_fixture *f)
{
    char *text = NULL;
    test_assert_code(OTOK_OK, otok_endpoint_jwks(f->service, &text, NULL));
    ck_assert_ptr_null(strstr(text, "\"d\""));
    ck_assert_ptr_null(strstr(text, "\"k\""));
    cJSON *json = test_json(text);
    size_t n = (size_t)cJSON_GetArraySize(cJSON_GetObjectItemCaseSensitive(json, "keys"));
    cJSON_Delete(json);
    otok_string_free(text);
    return n;
}

/* K2 P1: keys as they are now: the next one is there before it signs, a retired one stays, and is no algorithm any more. */
START_TEST(keys_are_those_of_the_moment)
{
    static const char *const both[] = {"ES256", "PS256"}, *const second[] = {"PS256"};
    test_fixture *f = test_open(TEST_MEMORY);
    const otok_metadata metadata = whole();
    ck_assert_uint_eq(count_keys(f), 1);
    add_key(f, OTOK_KEY_STEP_ADD, OTOK_ALG_PS256);
    ck_assert_uint_eq(count_keys(f), 2);
    cJSON *json = metadata_of(f, &metadata);
    test_expect_texts(json, "id_token_signing_alg_values_supported", both, 2);
    cJSON_Delete(json);
    add_key(f, OTOK_KEY_STEP_ACTIVATE, 0);
    ck_assert_uint_eq(count_keys(f), 2);
    json = metadata_of(f, &metadata);
    test_expect_texts(json, "id_token_signing_alg_values_supported", second, 1);
    cJSON_Delete(json);
    test_end(f);
}
END_TEST

/* What is wrong is named, and nothing is handed out. */
START_TEST(mistakes_are_named)
{
    static char lengthy[4096];
    const char *const bad[] = {"", "https://id.example.org/\n", "https://\xff", lengthy};
    test_fixture *f = test_open(TEST_MEMORY);
    otok_error err;
    char *text = NULL;
    memset(lengthy, 'x', sizeof lengthy - 1);
    for (size_t i = 0; i < 4 * sizeof bad / sizeof bad[0]; i++) {
        static const char *const names[] = {"token_endpoint", "revocation_endpoint", "introspection_endpoint",
                                            "jwks_uri"};
        otok_metadata metadata = whole();
        const char **const members[] = {&metadata.token_endpoint, &metadata.revocation_endpoint,
                                        &metadata.introspection_endpoint, &metadata.jwks_uri};
        *members[i % 4] = bad[i / 4];
        test_assert_code(OTOK_E_INVALID, otok_endpoint_metadata(f->service, &metadata, &text, &err));
        ck_assert_ptr_nonnull(strstr(err.message, names[i % 4]));
        ck_assert_ptr_null(text);
    }
    struct {
        otok_metadata metadata;
        uint64_t more;
    } newer = {whole(), 1};
    newer.metadata.size = sizeof newer;
    test_assert_code(OTOK_E_INVALID, otok_endpoint_metadata(f->service, &newer.metadata, &text, NULL));
    test_assert_code(OTOK_E_INVALID, otok_endpoint_metadata(f->service, NULL, &text, NULL));
    test_assert_code(OTOK_E_INVALID, otok_endpoint_metadata(NULL, &newer.metadata, &text, NULL));
    test_assert_code(OTOK_E_INVALID, otok_endpoint_metadata(f->service, &newer.metadata, NULL, NULL));
    test_assert_code(OTOK_E_INVALID, otok_endpoint_jwks(NULL, &text, NULL));
    test_assert_code(OTOK_E_INVALID, otok_endpoint_jwks(f->service, NULL, NULL));
    test_end(f);
}
END_TEST

static void add_tests(TCase *tcase)
{
    tcase_add_test(tcase, endpoints_are_described);
    tcase_add_test(tcase, absent_endpoints_are_left_out);
    tcase_add_test(tcase, keys_are_those_of_the_moment);
    tcase_add_test(tcase, mistakes_are_named);
}

int main(void)
{
    return test_main("metadata", add_tests);
}
