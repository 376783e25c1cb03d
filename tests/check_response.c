/*
 * check_response.c - P2: what every error of the library is on the wire.
 *
 * SPDX-License-Identifier: MIT
 */
/* link: -Wl,--wrap=otok_calloc -Wl,--wrap=otok_wipe_free */
#include "support/fixture.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "oauth/oauth.h"

#define NONCE "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"

void *__real_otok_calloc(size_t count, size_t size);
void *__wrap_otok_calloc(size_t count, size_t size);
void __real_otok_wipe_free(void *secret, size_t size);
void __wrap_otok_wipe_free(void *secret, size_t size);

static size_t allocated, allocations, wiped;
static bool memory_is_short;

void *__wrap_otok_calloc(size_t count, size_t size)
{
    allocated = count * size;
    allocations++;
    return memory_is_short ? NULL : __real_otok_calloc(count, size);
}

void __wrap_otok_wipe_free(void *secret, size_t size)
{
    wiped = size;
    __real_otok_wipe_free(secret, size);
}

static otok_error error_of(int code, const char *message)
{
    otok_error error;
    memset(&error, 0, sizeof error);
    error.code = code;
    (void)snprintf(error.message, sizeof error.message, "%s", message);
    return error;
}

static otok_http_response *answer(int code, const char *message, const char *nonce)
{
    otok_http_response *response = NULL;
    otok_error error = error_of(code, message), err = {0};
    int rc = otok_response_of_error(&error, nonce, &response, &err);
    ck_assert_msg(rc == OTOK_OK, "%s", err.message);
    ck_assert_uint_eq(response->size, sizeof *response);
    ck_assert_uint_eq(response->body_len, strlen(response->body));
    return response;
}

/* The value of a header that is there once; NULL. */
static const char *header(const otok_http_response *response, const char *name)
{
    const char *value = NULL;
    for (size_t i = 0; i < response->header_count; i++) {
        if (strcasecmp(response->headers[i].name, name) == 0) {
            ck_assert_msg(value == NULL, "%s is there twice", name);
            value = response->headers[i].value;
        }
    }
    return value;
}

static void assert_header(const otok_http_response *response, const char *name, const char *value)
{
    const char *got = header(response, name);
    if (value == NULL)
        ck_assert_msg(got == NULL, "%s: %s", name, got);
    else
        ck_assert_msg(got != NULL && strcmp(got, value) == 0, "%s: %s", name, got != NULL ? got : "none");
}

/* Nothing beside what the status and the nonce ask for. */
static void assert_headers(const otok_http_response *response, const char *nonce)
{
    int32_t status = response->status;
    assert_header(response, "Content-Type", "application/json");
    assert_header(response, "Cache-Control", "no-store");
    assert_header(response, "Pragma", "no-cache");
    assert_header(response, "Retry-After", status == 503 ? "1" : NULL);
    assert_header(response, "WWW-Authenticate", status == 401 ? "Basic realm=\"token endpoint\"" : NULL);
    assert_header(response, "Allow", status == 405 ? "POST" : NULL);
    assert_header(response, "DPoP-Nonce", nonce);
    size_t beside = (size_t)(status == 503 || status == 401 || status == 405) + (nonce != NULL);
    ck_assert_uint_eq(response->header_count, 3 + beside);
}

/* Parses the body, and compares the members of it: these, and no other. */
static void assert_body(const otok_http_response *response, const char *error, const char *description)
{
    otok_json *json;
    char expected[1024];
    test_assert_code(OTOK_OK, otok_json_parse(response->body, response->body_len, "body", &json, NULL));
    otok_json_free(json);
    if (description != NULL)
        (void)snprintf(expected, sizeof expected, "{\"error\":\"%s\",\"error_description\":\"%s\"}", error,
                       description);
    else
        (void)snprintf(expected, sizeof expected, "{\"error\":\"%s\"}", error);
    ck_assert_str_eq(response->body, expected);
}

#define TOLD    "what happened"
#define AGAIN   "try again with the same token"
#define TROUBLE "the request could not be answered"

static const struct row {
    int code;
    int32_t status;
    const char *error, *description;
} table[] = {
    {OTOK_OK, 500, "server_error", TROUBLE}, /* no error: whoever made an answer of it is in trouble */
    {OTOK_E_INVALID, 400, "invalid_request", TOLD},
    {OTOK_E_POLICY, 500, "server_error", TROUBLE},
    {OTOK_E_UNSUPPORTED, 405, "invalid_request", TOLD},
    {OTOK_E_NOT_FOUND, 400, "invalid_request", TROUBLE},
    {OTOK_E_STATE, 500, "server_error", TROUBLE},
    {OTOK_E_NOMEM, 503, "temporarily_unavailable", AGAIN},
    {OTOK_E_IO, 503, "temporarily_unavailable", AGAIN},
    {OTOK_E_FULL, 503, "temporarily_unavailable", AGAIN},
    {OTOK_E_BUSY, 503, "temporarily_unavailable", AGAIN},
    {OTOK_E_UNCERTAIN, 503, "temporarily_unavailable", AGAIN},
    {OTOK_E_CONFLICT, 503, "temporarily_unavailable", AGAIN},
    {OTOK_E_CRYPTO, 500, "server_error", TROUBLE},
    {OTOK_E_FORMAT, 500, "server_error", TROUBLE},
    {OTOK_E_TAMPERED, 500, "server_error", TROUBLE},
    {OTOK_E_PERMISSION, 500, "server_error", TROUBLE},
    {OTOK_E_KEY, 500, "server_error", TROUBLE},
    {OTOK_E_CALLBACK, 500, "server_error", TROUBLE},
    {OTOK_E_TOKEN_INVALID, 400, "invalid_grant", TOLD},
    {OTOK_E_TOKEN_UNKNOWN, 400, "invalid_grant", TOLD},
    {OTOK_E_TOKEN_EXPIRED, 400, "invalid_grant", TOLD},
    {OTOK_E_TOKEN_REVOKED, 400, "invalid_grant", TOLD},
    {OTOK_E_TOKEN_REUSED, 400, "invalid_grant", TOLD},
    {OTOK_E_TOKEN_RETRIES, 400, "invalid_grant", TOLD},
    {OTOK_E_TOKEN_AHEAD, 400, "invalid_grant", TOLD},
    {OTOK_E_CLIENT_MISMATCH, 400, "invalid_grant", TOLD},
    {OTOK_E_SENDER, 400, "invalid_grant", TOLD},
    {OTOK_E_SCOPE, 400, "invalid_scope", TOLD},
    {OTOK_E_TARGET, 400, "invalid_target", TOLD},
    {OTOK_E_TOKEN_TYPE, 400, "unsupported_token_type", TOLD},
    {OTOK_E_UNAUTHORIZED_CLIENT, 400, "unauthorized_client", TOLD},
    {OTOK_E_LIMIT, 400, "invalid_grant", TOLD},
    {OTOK_E_CONSENT, 400, "invalid_grant", TOLD},
    {OTOK_E_DENIED, 400, "invalid_grant", TOLD},
    {OTOK_E_ONCE, 400, "invalid_grant", TOLD},
    {OTOK_E_DPOP_PROOF, 400, "invalid_dpop_proof", TOLD},
    {OTOK_E_DPOP_NONCE, 400, "use_dpop_nonce", TOLD},
    {OTOK_E_CLIENT, 401, "invalid_client", TOLD},
    {OTOK_E_GRANT_TYPE, 400, "unsupported_grant_type", TOLD},
    {-999, 500, "server_error", TROUBLE},
    {1, 500, "server_error", TROUBLE},
};

/* P2, R8: RFC 6749 section 5.2, RFC 7009 section 2.2.1, RFC 8707 section 2, RFC 9449 sections 5 and 8 */
START_TEST(every_error_has_its_status_headers_and_json)
{
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
        static const char *const nonces[] = {NULL, NONCE};
        for (size_t k = 0; k < 2; k++) {
            otok_http_response *response = answer(table[i].code, TOLD, nonces[k]);
            ck_assert_msg(response->status == table[i].status, "%s", otok_error_name(table[i].code));
            ck_assert_int_eq(response->code, table[i].code);
            ck_assert_str_eq(response->message, TOLD); /* the log has it all */
            assert_headers(response, nonces[k]);
            assert_body(response, table[i].error, table[i].description);
            otok_http_response_free(response);
        }
    }
}
END_TEST

/* P2: a code that comes later has a row above, too. */
START_TEST(table_has_every_code_of_the_library)
{
    for (int code = 0; code > -1000; code--) {
        size_t found = 0;
        for (size_t i = 0; i < sizeof table / sizeof table[0]; i++)
            found += table[i].code == code;
        if (strcmp(otok_error_name(code), "OTOK_E_?") != 0)
            ck_assert_msg(found == 1, "%s", otok_error_name(code));
    }
}
END_TEST

/* R8: a client that waits is back before half of the shortest default window for retries is over. */
START_TEST(retry_after_is_below_half_the_retry_window)
{
    static const int32_t presets[] = {OTOK_PRESET_KEYCLOAK, OTOK_PRESET_BCP, OTOK_PRESET_FAPI2};
    static const otok_ceilings none = {.size = sizeof none};
    otok_http_response *response = answer(OTOK_E_UNCERTAIN, TOLD, NULL);
    int64_t seconds = strtol(header(response, "Retry-After"), NULL, 10);
    for (size_t i = 0; i < 2 * (sizeof presets / sizeof presets[0]); i++) {
        otok_policy policy;
        otok_rules rules;
        otok_policy_init(&policy, sizeof policy);
        test_assert_code(OTOK_OK, otok_policy_preset(&policy, presets[i / 2], NULL));
        test_assert_code(OTOK_OK, otok_rules_of(&policy, &none, i % 2 == 0, false, &rules, NULL));
        ck_assert_int_lt(2 * otok_seconds_to_us(seconds), rules.retry_window_us);
    }
    ck_assert_int_gt(seconds, 0);
    otok_http_response_free(response);
}
END_TEST

/* P2: %x20-21 / %x23-5B / %x5D-7E */
START_TEST(description_keeps_to_its_alphabet)
{
    static const struct {
        const char *message, *description;
    } rows[] = {
        {"", NULL},
        {"scope is longer than 4096 bytes", "scope is longer than 4096 bytes"},
        {"the \"claims\" member", "the 'claims' member"},
        {"a\\b", "a?b"},
        {"a\r\nSet-Cookie: b=c", "a??Set-Cookie: b=c"},
        {"a\tb\x1b[0m\x7f", "a?b?[0m?"},
        {"caf\xc3\xa9 \xf0\x9f\x98\x80 \xe2\x82\xac", "caf? ? ?"},
        {"\xff\xfe", "??"},
        {" !#[]^~", " !#[]^~"},
        {"\"}{\"error\":\"x", "'}{'error':'x"},
        {"</script>", "</script>"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        otok_http_response *response = answer(OTOK_E_INVALID, rows[i].message, NULL);
        assert_body(response, "invalid_request", rows[i].description);
        if (rows[i].description == NULL)
            ck_assert_ptr_null(response->message);
        else
            ck_assert_str_eq(response->message, rows[i].message);
        otok_http_response_free(response);
    }
}
END_TEST

/* P2: of every byte, and of a message without an end. */
START_TEST(any_message_makes_an_answer)
{
    for (int c = 1; c < 256; c++) {
        otok_error error = error_of(OTOK_E_SCOPE, "");
        otok_http_response *response;
        memset(error.message, c, sizeof error.message); /* no NUL */
        test_assert_code(OTOK_OK, otok_response_of_error(&error, NONCE, &response, NULL));
        const char *from = strstr(response->body, "_description\":\"");
        ck_assert_int_eq(from != NULL, (c & 0xc0) != 0x80 || strstr(response->body, "_description\":\"\"") != NULL);
        for (const char *p = response->body; *p != '\0'; p++)
            ck_assert(*p >= 0x20 && *p <= 0x7e && *p != '\\');
        ck_assert_uint_eq(strlen(response->message), sizeof error.message - 1);
        assert_headers(response, NONCE);
        otok_http_response_free(response);
    }
}
END_TEST

/* P2: files, keys and callbacks are no business of those who ask; the log has them. */
START_TEST(trouble_of_ours_is_not_described)
{
    static const char *const secret = "/etc/keys/ring.jwks: key bwcK0esc";
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
        otok_http_response *response = answer(table[i].code, secret, NULL);
        bool told = strstr(response->body, "ring.jwks") != NULL;
        ck_assert_int_eq(told, strcmp(table[i].description, TOLD) == 0);
        ck_assert(!told || response->status < 500);
        ck_assert_str_eq(response->message, secret);
        otok_http_response_free(response);
    }
}
END_TEST

/* P2 */
START_TEST(json_is_answered_as_it_is)
{
    static const int32_t statuses[] = {200, 400, 401, 405, 503};
    otok_http_response *response;
    otok_error err = {0};
    for (size_t i = 0; i < sizeof statuses / sizeof statuses[0]; i++) {
        char body[] = "{\"scope\":\"caf\xc3\xa9 \\\"\"}", nonce[] = NONCE;
        test_assert_code(OTOK_OK, otok_response_json(statuses[i], body, nonce, &response, NULL));
        body[2] = nonce[2] = 'X'; /* it has its own */
        ck_assert_int_eq(response->status, statuses[i]);
        ck_assert_int_eq(response->code, OTOK_OK);
        ck_assert_ptr_null(response->message);
        ck_assert_str_eq(response->body, "{\"scope\":\"caf\xc3\xa9 \\\"\"}");
        ck_assert_uint_eq(response->body_len, strlen(response->body));
        assert_headers(response, NONCE);
        otok_http_response_free(response);
    }
    test_assert_code(OTOK_OK, otok_response_json(200, "{}", NULL, &response, NULL));
    ck_assert_str_eq(response->body, "{}");
    assert_headers(response, NULL);
    otok_http_response_free(response);
    test_assert_code(OTOK_E_INVALID, otok_response_json(200, NULL, NULL, &response, &err));
    ck_assert_ptr_null(response);
    test_assert_code(OTOK_E_INVALID, otok_response_json(200, "", NULL, &response, &err));
    ck_assert_ptr_null(response);
}
END_TEST

/* P2: the tokens of a good answer do not stay behind. */
START_TEST(response_is_one_allocation_and_wiped_whole)
{
    otok_http_response *response;
    otok_error error = error_of(OTOK_E_CLIENT, TOLD), err = {0};

    allocations = wiped = 0;
    test_assert_code(OTOK_OK, otok_response_json(200, "{\"refresh_token\":\"x\"}", NONCE, &response, NULL));
    otok_http_response_free(response);
    ck_assert_uint_eq(allocations, 1);
    ck_assert_uint_eq(wiped, allocated);

    allocations = wiped = 0;
    test_assert_code(OTOK_OK, otok_response_of_error(&error, NONCE, &response, NULL));
    otok_http_response_free(response);
    ck_assert_uint_eq(allocations, 1);
    ck_assert_uint_eq(wiped, allocated);
    otok_http_response_free(NULL);

    memory_is_short = true;
    test_assert_code(OTOK_E_NOMEM, otok_response_json(200, "{}", NULL, &response, &err));
    ck_assert_ptr_null(response);
    test_assert_code(OTOK_E_NOMEM, otok_response_of_error(&error, NULL, &response, &err));
    ck_assert_ptr_null(response);
    ck_assert_int_eq(err.code, OTOK_E_NOMEM);
    memory_is_short = false;
}
END_TEST

static void add_tests(TCase *tcase)
{
    tcase_add_test(tcase, every_error_has_its_status_headers_and_json);
    tcase_add_test(tcase, table_has_every_code_of_the_library);
    tcase_add_test(tcase, retry_after_is_below_half_the_retry_window);
    tcase_add_test(tcase, description_keeps_to_its_alphabet);
    tcase_add_test(tcase, any_message_makes_an_answer);
    tcase_add_test(tcase, trouble_of_ours_is_not_described);
    tcase_add_test(tcase, json_is_answered_as_it_is);
    tcase_add_test(tcase, response_is_one_allocation_and_wiped_whole);
}

int main(void)
{
    return test_main("response", add_tests);
}
