/*
 * introspect.c
 *
 * SPDX-License-Identifier: MIT
 */
#include "support/introspect.h"

#include <string.h>

#include "support/claims.h"

otok_introspect_request test_introspect_request(const char *token, const char *client_id)
{
    otok_introspect_request request;
    otok_introspect_request_init(&request, sizeof request);
    request.token = token;
    request.client_id = client_id != NULL ? client_id : "phone";
    request.client_type = OTOK_CLIENT_PUBLIC;
    return request;
}

static otok_introspection *introspect(test_fixture *f, const otok_introspect_request *request)
{
    otok_error err = {0};
    otok_introspection *out = NULL;
    int rc = otok_introspect(f->service, request, &out, &err);
    ck_assert_msg(rc == OTOK_OK, "otok_introspect: %s: %s", otok_error_name(rc), err.message);
    ck_assert_ptr_nonnull(out);
    ck_assert_uint_eq(out->size, sizeof *out);
    ck_assert_int_eq(err.code, OTOK_OK); /* what is not active is no error */
    return out;
}

cJSON *test_active(test_fixture *f, const otok_introspect_request *request)
{
    otok_introspection *out = introspect(f, request);
    ck_assert_msg(out->active == 1, "it is not active");
    cJSON *json = test_json(out->response_json);
    ck_assert(cJSON_IsTrue(cJSON_GetObjectItemCaseSensitive(json, "active")));
    test_expect_text(json, "client_id", out->client_id);
    test_expect_text(json, "scope", out->scope);
    test_expect_nothing_empty(json);
    if (out->expires_us == OTOK_UNLIMITED)
        test_expect_absent(json, "exp");
    else
        test_expect_number(json, "exp", out->expires_us / OTOK_US_PER_S);
    ck_assert_uint_eq(strlen(out->session_id), OTOK_SESSION_ID_CHARS);
    ck_assert(test_has_session(f, out->session_id));
    ck_assert(out->token == OTOK_TOKEN_OFFLINE || out->token == OTOK_TOKEN_ACCESS);
    ck_assert_ptr_nonnull(out->subject);
    otok_introspection_free(out);
    return json;
}

static void expect_inactive(otok_introspection *out)
{
    ck_assert_str_eq(out->response_json, "{\"active\":false}");
    ck_assert_int_eq(out->active, 0);
    ck_assert_int_eq(out->token, 0);
    ck_assert_int_eq(out->expires_us, 0);
    ck_assert(out->session_id == NULL && out->subject == NULL && out->client_id == NULL && out->scope == NULL);
}

void test_inactive(test_fixture *f, const otok_introspect_request *request)
{
    otok_introspection *out = introspect(f, request);
    expect_inactive(out);
    otok_introspection_free(out);
}

void test_not_introspected(test_fixture *f, const otok_introspect_request *request, int code)
{
    otok_error err = {0};
    otok_introspection *out = (otok_introspection *)&err; /* "NULL on failure": it must be set */
    int rc = otok_introspect(f->service, request, &out, &err);
    ck_assert_msg(rc == code, "expected %s, got %s: %s", otok_error_name(code), otok_error_name(rc), err.message);
    ck_assert_ptr_null(out);
    ck_assert_int_eq(err.code, code);
    ck_assert_msg(err.message[0] != '\0', "no message");
}

bool test_is_active(test_fixture *f, const char *token, const char *client_id)
{
    otok_introspect_request request = test_introspect_request(token, client_id);
    otok_introspection *out = introspect(f, &request);
    bool is_active = out->active;
    if (!is_active)
        expect_inactive(out);
    otok_introspection_free(out);
    return is_active;
}

bool test_is_live(test_fixture *f, const char *session_id)
{
    otok_error err = {0};
    int32_t live = -1;
    int rc = otok_session_is_live(f->service, session_id, &live, &err);
    ck_assert_msg(rc == OTOK_OK, "otok_session_is_live: %s: %s", otok_error_name(rc), err.message);
    ck_assert_int_eq(err.code, OTOK_OK);
    ck_assert(live == 0 || live == 1);
    return live;
}
