/*
 * check_endpoint_refuse.c - what a host answers when it refuses a request itself (P2).
 *
 * SPDX-License-Identifier: MIT
 */
#include "support/endpoint.h"

#include <stdio.h>
#include <string.h>

#include "support/claims.h"

static otok_http_response *refuse(int code, const char *description)
{
    otok_http_response *response = NULL;
    otok_error err = {0};
    int rc = otok_endpoint_refuse(code, description, &response, &err);
    ck_assert_msg(rc == OTOK_OK, "%s", err.message);
    ck_assert_int_eq(response->status, otok_error_http(code));
    ck_assert_int_eq(response->code, code);
    ck_assert_uint_eq(response->body_len, strlen(response->body));
    ck_assert_str_eq(test_header(response, "Cache-Control"), "no-store");
    ck_assert_str_eq(test_header(response, "Content-Type"), "application/json");
    return response;
}

static void expect_description(const otok_http_response *response, int code, const char *description)
{
    cJSON *json = test_json(response->body);
    test_expect_text(json, "error", otok_error_oauth(code));
    test_expect_text(json, "error_description", description);
    ck_assert_int_eq(cJSON_GetArraySize(json), description != NULL ? 2 : 1);
    cJSON_Delete(json);
}

/* P2: every error of the library can be said, with the host's words, or with none. */
START_TEST(every_error_can_be_said)
{
    size_t codes = 0;
    for (int code = -1; code > -1000; code--) {
        if (strcmp(otok_error_name(code), "OTOK_E_?") == 0)
            continue;
        codes++;
        otok_http_response *response = refuse(code, "the code is none of ours");
        expect_description(response, code, "the code is none of ours");
        ck_assert_str_eq(response->message, "the code is none of ours");
        ck_assert_int_eq(response->status == 401, test_header(response, "WWW-Authenticate") != NULL);
        ck_assert_int_eq(response->status == 503, test_header(response, "Retry-After") != NULL);
        otok_http_response_free(response);
        response = refuse(code, NULL);
        expect_description(response, code, NULL);
        ck_assert_str_eq(response->message, otok_error_name(code)); /* for the log there is always something */
        otok_http_response_free(response);
    }
    ck_assert_uint_gt(codes, 30);
}
END_TEST

/* P2: RFC 6749 section 5.2 */
START_TEST(errors_of_grants_are_those_of_the_standard)
{
    static const struct {
        int code;
        int32_t status;
        const char *error;
    } rows[] = {
        {OTOK_E_DENIED, 400, "invalid_grant"},
        {OTOK_E_INVALID, 400, "invalid_request"},
        {OTOK_E_CLIENT, 401, "invalid_client"},
        {OTOK_E_UNAUTHORIZED_CLIENT, 400, "unauthorized_client"},
        {OTOK_E_GRANT_TYPE, 400, "unsupported_grant_type"},
        {OTOK_E_SCOPE, 400, "invalid_scope"},
        {OTOK_E_TARGET, 400, "invalid_target"},
        {OTOK_E_BUSY, 503, "temporarily_unavailable"},
        {OTOK_E_IO, 503, "temporarily_unavailable"},
        {OTOK_E_STATE, 500, "server_error"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        otok_http_response *response = refuse(rows[i].code, "no");
        cJSON *json = test_json(response->body);
        ck_assert_int_eq(response->status, rows[i].status);
        test_expect_text(json, "error", rows[i].error);
        cJSON_Delete(json);
        otok_http_response_free(response);
    }
}
END_TEST

/* P2: its alphabet is that of RFC 6749 section 5.2, whatever the host has put into it; it is cut, and not in a character. */
START_TEST(description_is_safe_and_bounded)
{
    char longest[2001];
    memset(longest, 'x', sizeof longest - 1);
    longest[sizeof longest - 1] = '\0';
    memcpy(longest + 502, "\xc3\xa9", 2); /* across the bound of the message */
    otok_http_response *response = refuse(OTOK_E_DENIED, "a\"b\\c\r\nSet-Cookie: d\xe2\x82\xac</script>");
    expect_description(response, OTOK_E_DENIED, "a'b?c??Set-Cookie: d?</script>");
    ck_assert_str_eq(response->message, "a\"b\\c??Set-Cookie: d\xe2\x82\xac</script>"); /* one line of a log */
    otok_http_response_free(response);
    response = refuse(OTOK_E_DENIED, longest);
    ck_assert_uint_eq(strlen(response->message), 502);
    ck_assert_uint_lt(response->body_len, 600);
    otok_http_response_free(response);
    response = refuse(OTOK_E_DENIED, "");
    expect_description(response, OTOK_E_DENIED, NULL);
    otok_http_response_free(response);
}
END_TEST

/* B2 */
START_TEST(what_is_no_error_cannot_be_refused_with)
{
    static const int codes[] = {OTOK_OK, 1, 400, -999, INT32_MIN, INT32_MAX};
    otok_error err = {0};
    for (size_t i = 0; i < sizeof codes / sizeof codes[0]; i++) {
        otok_http_response *response = (otok_http_response *)(void *)&err;
        test_assert_code(OTOK_E_INVALID, otok_endpoint_refuse(codes[i], "no", &response, &err));
        ck_assert_ptr_null(response);
        ck_assert_ptr_nonnull(strstr(err.message, "code"));
    }
    otok_http_response *response = NULL;
    test_assert_code(OTOK_E_INVALID, otok_endpoint_refuse(OTOK_E_DENIED, "\xff", &response, &err));
    ck_assert_ptr_null(response);
    test_assert_code(OTOK_E_INVALID, otok_endpoint_refuse(OTOK_E_DENIED, "no", NULL, NULL));
}
END_TEST

static void add_tests(TCase *tcase)
{
    tcase_add_test(tcase, every_error_can_be_said);
    tcase_add_test(tcase, errors_of_grants_are_those_of_the_standard);
    tcase_add_test(tcase, description_is_safe_and_bounded);
    tcase_add_test(tcase, what_is_no_error_cannot_be_refused_with);
}

int main(void)
{
    return test_main("endpoint_refuse", add_tests);
}
