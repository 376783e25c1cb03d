/*
 * claims.c
 *
 * SPDX-License-Identifier: MIT
 */
#include "support/claims.h"

#include <openssl/evp.h>
#include <stdlib.h>
#include <string.h>

static void verify(const test_fixture *f, const char *text)
{
    otok_error err;
    otok_jws *jwt = NULL;
    int rc = otok_jws_parse(text, strlen(text), &jwt, &err);
    if (rc == OTOK_OK)
        rc = otok_jws_verify(jwt, text, otok_keyring_signing(f->keyring)->pkey, &err);
    otok_jws_free(jwt);
    if (rc != OTOK_OK)
        ck_abort_msg("%s: %s: %s", otok_error_name(rc), err.message, text);
}

/* Part 0 or 1 of a compact JWS. */
static cJSON *part(const test_fixture *f, const char *text, int which)
{
    verify(f, text);
    const char *begin = which == 0 ? text : strchr(text, '.') + 1;
    size_t len = strcspn(begin, "."), room = len;
    char *json = calloc(1, room + 1);
    ck_assert(otok_unbase64url(begin, len, (uint8_t *)json, &room));
    json[room] = '\0';
    cJSON *parsed = test_json(json);
    free(json);
    return parsed;
}

cJSON *test_jwt_header(const test_fixture *f, const char *jwt)
{
    return part(f, jwt, 0);
}

cJSON *test_jwt_claims(const test_fixture *f, const char *jwt)
{
    return part(f, jwt, 1);
}

cJSON *test_json(const char *text)
{
    cJSON *json = cJSON_ParseWithOpts(text, NULL, 1);
    ck_assert_msg(cJSON_IsObject(json), "not a JSON object: %s", text);
    return json;
}

static const cJSON *member(const cJSON *object, const char *name)
{
    const cJSON *found = cJSON_GetObjectItemCaseSensitive(object, name);
    ck_assert_msg(found != NULL, "no member %s", name);
    return found;
}

void test_expect_absent(const cJSON *object, const char *name)
{
    ck_assert_msg(cJSON_GetObjectItemCaseSensitive(object, name) == NULL, "there is a member %s", name);
}

void test_expect_text(const cJSON *object, const char *name, const char *expected)
{
    if (expected == NULL) {
        test_expect_absent(object, name);
        return;
    }
    const char *got = cJSON_GetStringValue(member(object, name));
    ck_assert_msg(got != NULL && strcmp(got, expected) == 0, "%s is %s, not %s", name, got != NULL ? got : "no text",
                  expected);
}

int64_t test_number(const cJSON *object, const char *name)
{
    const cJSON *found = member(object, name);
    ck_assert_msg(cJSON_IsNumber(found), "%s is no number", name);
    return (int64_t)found->valuedouble;
}

void test_expect_number(const cJSON *object, const char *name, int64_t expected)
{
    int64_t got = test_number(object, name);
    ck_assert_msg(got == expected, "%s is %lld, not %lld", name, (long long)got, (long long)expected);
}

void test_expect_texts(const cJSON *object, const char *name, const char *const *expected, size_t n)
{
    const cJSON *found = member(object, name);
    if (n == 1 && cJSON_IsString(found)) {
        test_expect_text(object, name, expected[0]);
        return;
    }
    ck_assert_msg(cJSON_IsArray(found) && (size_t)cJSON_GetArraySize(found) == n, "%s has not %zu items", name, n);
    for (size_t i = 0; i < n; i++)
        ck_assert_str_eq(cJSON_GetStringValue(cJSON_GetArrayItem(found, (int)i)), expected[i]);
}

static bool is_empty(const cJSON *json)
{
    if (cJSON_IsString(json))
        return json->valuestring[0] == '\0';
    return cJSON_IsNull(json) || ((cJSON_IsArray(json) || cJSON_IsObject(json)) && json->child == NULL);
}

/* Recursion as deep as the JSON that we made ourselves. */
void test_expect_nothing_empty(const cJSON *json)
{
    for (const cJSON *item = json->child; item != NULL; item = item->next) {
        ck_assert_msg(!is_empty(item), "member %s is empty", item->string != NULL ? item->string : "of an array");
        test_expect_nothing_empty(item);
    }
}

void test_expect_at_hash(const cJSON *id_token, const char *access_token, const char *alg)
{
    unsigned char digest[EVP_MAX_MD_SIZE];
    char expected[EVP_MAX_MD_SIZE] = "";
    unsigned size = 0;
    const EVP_MD *hash = strcmp(alg, "EdDSA") == 0 ? EVP_sha512() : EVP_sha256();
    ck_assert_int_eq(EVP_Digest(access_token, strlen(access_token), digest, &size, hash, NULL), 1);
    otok_base64url(digest, size / 2, expected);
    test_expect_text(id_token, "at_hash", expected);
}
