/*
 * check_decide_input.c - bad input of otok_offline_decide(): missing, too long, not clean, out of range, newer.
 *
 * SPDX-License-Identifier: MIT
 */
/* link: -Wl,--wrap=otok_malloc */
#include "support/decision.h"

#include <string.h>

void *__real_otok_malloc(size_t size);
void *__wrap_otok_malloc(size_t size);

static bool memory_is_short;

void *__wrap_otok_malloc(size_t size)
{
    return memory_is_short ? NULL : __real_otok_malloc(size);
}

/* Zeroes: nothing that the host has not said works in favour of a grant. */
START_TEST(nothing_is_granted_by_default)
{
    otok_offline_request r;
    otok_offline_request_init(&r, sizeof r);
    test_invalid_offline("no response_type", &r, "request.response_type");
    r.response_type = "code";
    r.scope = "offline_access";
    test_decided("defaults", &r, OTOK_OFFLINE_IGNORE, OTOK_REASON_CLIENT_WITHOUT_REFRESH, NULL);
}
END_TEST

START_TEST(missing_arguments_and_structs_are_refused)
{
    otok_offline_decision *d = NULL;
    otok_error err = {0};
    otok_offline_request r = test_good_request();
    test_assert_code(OTOK_E_INVALID, otok_offline_decide(&r, NULL, &err));
    ck_assert_str_eq(err.message, "out is required");
    test_assert_code(OTOK_E_INVALID, otok_offline_decide(&r, NULL, NULL));
    test_assert_code(OTOK_E_INVALID, otok_offline_decide(NULL, &d, &err));
    ck_assert_str_eq(err.message, "otok_offline_request is required");
    r.size = 0;
    test_invalid_offline("not initialised", &r, "otok_offline_request");
    r.size = sizeof(size_t);
    test_invalid_offline("too small", &r, "otok_offline_request");
    otok_offline_decision_free(NULL);
    otok_offline_request_init(NULL, sizeof r);
}
END_TEST

/* A request as a newer header would have it, and one of an older. */
START_TEST(struct_of_another_version_is_read_by_its_size)
{
    struct {
        otok_offline_request request;
        uint64_t unknown;
    } newer = {test_good_request(), 0};
    newer.request.size = sizeof newer;
    test_granted_offline("newer", &newer.request);
    newer.unknown = 1;
    test_invalid_offline("newer, with what is not known", &newer.request, "otok_offline_request");

    otok_offline_request older = test_good_request();
    older.native_without_consent = 77; /* behind its end */
    older.size = offsetof(otok_offline_request, native_without_consent);
    test_granted_offline("older", &older);
}
END_TEST

START_TEST(texts_that_are_not_clean_or_too_long_are_refused_by_name)
{
    static char long_scope[4098], long_words[257];
    const struct {
        const char *field;
        size_t offset;
        const char *too_long;
    } texts[] = {
        {"request.scope", offsetof(otok_offline_request, scope), long_scope},
        {"request.response_type", offsetof(otok_offline_request, response_type), long_words},
        {"request.prompt", offsetof(otok_offline_request, prompt), long_words},
        {"request.saved_consent", offsetof(otok_offline_request, saved_consent), long_scope},
    };
    static const char *const unclean[] = {"code\tconsent", "code\n",        "\x7f", "\xc2\x80",
                                          "\xff",          "code \xe2\x82", "\x01"};
    memset(long_scope, 'a', sizeof long_scope - 1);
    memset(long_words, 'a', sizeof long_words - 1);
    for (size_t i = 0; i < TEST_COUNT(texts); i++) {
        for (size_t k = 0; k <= TEST_COUNT(unclean); k++) {
            otok_offline_request r = test_good_request();
            const char *text = k < TEST_COUNT(unclean) ? unclean[k] : texts[i].too_long;
            memcpy((char *)&r + texts[i].offset, &text, sizeof text);
            test_invalid_offline(texts[i].field, &r, texts[i].field);
        }
    }
}
END_TEST

START_TEST(texts_of_the_greatest_length_are_taken)
{
    static char scope[4097], words[256];
    otok_offline_request r = test_good_request();
    memset(scope, 'a', sizeof scope - 1);
    memcpy(scope, "offline_access ", 15);
    r.scope = r.saved_consent = scope;
    test_granted_offline("scope", &r);
    test_offline_scope(&r, scope);
    r.prompt = NULL;
    test_offline_scope(&r, scope + 15);
    memset(words, 'a', sizeof words - 1);
    memcpy(words, "code consent ", 13);
    r.response_type = r.prompt = words;
    test_granted_offline("words", &r);
}
END_TEST

/* RFC 6749 section 3.3: scope-token = 1*( %x21 / %x23-5B / %x5D-7E ); what is saved is only compared. */
START_TEST(scope_beyond_its_alphabet_is_refused)
{
    static const char *const bad[] = {"offline_access \"files\"", "offline_access a\\b", "offline_access caf\xc3\xa9"};
    for (size_t i = 0; i < TEST_COUNT(bad); i++) {
        otok_offline_request r = test_good_request();
        r.scope = bad[i];
        test_invalid_offline(bad[i], &r, "scope");
        r.prompt = NULL;
        test_invalid_offline(bad[i], &r, "scope");
        r = test_good_request();
        r.saved_consent = bad[i];
        test_granted_offline("saved", &r);
    }
}
END_TEST

START_TEST(authorization_request_needs_a_response_type)
{
    otok_offline_request r = test_good_request();
    r.response_type = NULL;
    test_invalid_offline("NULL", &r, "request.response_type");
    r.response_type = "";
    test_invalid_offline("empty", &r, "request.response_type");
}
END_TEST

START_TEST(numbers_that_have_no_meaning_are_refused_by_name)
{
#define MEMBER(name, last)                                                                                             \
    {                                                                                                                  \
        "request." #name, offsetof(otok_offline_request, name), last                                                   \
    }
    static const struct {
        const char *field;
        size_t offset;
        int32_t last;
    } members[] = {
        MEMBER(grant_type, OTOK_GRANT_TOKEN_EXCHANGE),
        MEMBER(application_type, OTOK_APPLICATION_NATIVE),
        MEMBER(preset, OTOK_OFFLINE_PRESET_KEYCLOAK),
        MEMBER(user_has_role, 1),
        MEMBER(client_has_scope, 1),
        MEMBER(client_may_refresh, 1),
        MEMBER(consent_given, 1),
        MEMBER(permitted_otherwise, 1),
        MEMBER(saved_consent_counts, 1),
        MEMBER(native_without_consent, 1),
        MEMBER(token_exchange_allowed, 1),
        MEMBER(client_credentials_allowed, 1),
    };
#undef MEMBER
    for (size_t i = 0; i < TEST_COUNT(members); i++) {
        const int32_t bad[] = {-1, members[i].last + 1, INT32_MAX, INT32_MIN};
        for (size_t k = 0; k < TEST_COUNT(bad); k++) {
            otok_offline_request r = test_good_request();
            memcpy((char *)&r + members[i].offset, &bad[k], sizeof bad[k]);
            test_invalid_offline(members[i].field, &r, members[i].field);
        }
    }
}
END_TEST

START_TEST(memory_that_runs_short_is_no_decision)
{
    otok_offline_request r = test_good_request();
    otok_offline_decision *d = NULL;
    otok_error err = {0};
    memory_is_short = true;
    int rc = otok_offline_decide(&r, &d, &err);
    memory_is_short = false;
    test_assert_code(OTOK_E_NOMEM, rc);
    ck_assert_int_eq(err.code, OTOK_E_NOMEM);
    ck_assert_ptr_null(d);
    test_granted_offline("afterwards", &r);
}
END_TEST

static void add_tests(TCase *tcase)
{
    tcase_add_test(tcase, nothing_is_granted_by_default);
    tcase_add_test(tcase, missing_arguments_and_structs_are_refused);
    tcase_add_test(tcase, struct_of_another_version_is_read_by_its_size);
    tcase_add_test(tcase, texts_that_are_not_clean_or_too_long_are_refused_by_name);
    tcase_add_test(tcase, texts_of_the_greatest_length_are_taken);
    tcase_add_test(tcase, scope_beyond_its_alphabet_is_refused);
    tcase_add_test(tcase, authorization_request_needs_a_response_type);
    tcase_add_test(tcase, numbers_that_have_no_meaning_are_refused_by_name);
    tcase_add_test(tcase, memory_that_runs_short_is_no_decision);
}

int main(void)
{
    return test_main("decide_input", add_tests);
}
