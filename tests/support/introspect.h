/*
 * introspect.h - introspection in a line.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef TEST_INTROSPECT_H
#define TEST_INTROSPECT_H

#include <cjson/cJSON.h>

#include "support/story.h"

/* Who asks, and of what type it is (a public client). */
otok_introspect_request test_introspect_request(const char *token, const char *client_id);

/* The response, which is active and agrees with the struct around it; freed with cJSON_Delete(). */
cJSON *test_active(test_fixture *f, const otok_introspect_request *request);

/* Aborts unless it is told {"active":false} and nothing else. */
void test_inactive(test_fixture *f, const otok_introspect_request *request);

/* Aborts unless it fails with that code, and with no answer. */
void test_not_introspected(test_fixture *f, const otok_introspect_request *request, int code);

/* Whether the token is active to that public client; aborts when it cannot be told. */
bool test_is_active(test_fixture *f, const char *token, const char *client_id);

/* otok_session_is_live(); aborts when it cannot be told. */
bool test_is_live(test_fixture *f, const char *session_id);

#endif
