/*
 * claims.h - what is inside a JWT or a JSON answer, read with cJSON and not with the library's own reader.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef TEST_CLAIMS_H
#define TEST_CLAIMS_H

#include <cjson/cJSON.h>

#include "support/fixture.h"

/*
 * The parts of a compact JWS, after its signature was verified under the fixture's active key.  Freed with
 * cJSON_Delete().
 */
cJSON *test_jwt_header(const test_fixture *f, const char *jwt);
cJSON *test_jwt_claims(const test_fixture *f, const char *jwt);

/* Aborts unless it is a JSON object. */
cJSON *test_json(const char *text);

/*
 * Expectations of a member: text (NULL: absent), number, array of texts (`aud` of one text counts as an array of one).
 */
void test_expect_text(const cJSON *object, const char *name, const char *expected);
void test_expect_number(const cJSON *object, const char *name, int64_t expected);
void test_expect_texts(const cJSON *object, const char *name, const char *const *expected, size_t n);
void test_expect_absent(const cJSON *object, const char *name);
int64_t test_number(const cJSON *object, const char *name);

/* Aborts when a member, at any depth, is null, "", [] or {}. */
void test_expect_nothing_empty(const cJSON *json);

/*
 * Aborts unless at_hash is that of the access token (OpenID Connect Core section 3.1.3.6): the left half of the hash
 * that `alg` uses, which is SHA-512 for EdDSA with Ed25519 (RFC 8032) and SHA-256 for the others of ours.
 */
void test_expect_at_hash(const cJSON *id_token, const char *access_token, const char *alg);

#endif
