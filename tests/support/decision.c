/*
 * decision.c - see decision.h.
 *
 * SPDX-License-Identifier: MIT
 */
#include "support/decision.h"

#include <string.h>

const char *test_decision_name(int32_t decision)
{
    static const char *const names[] = {"an error", "GRANT", "IGNORE", "CONSENT", "CONSENT_REQUIRED", "DENY"};
    return decision >= 0 && (size_t)decision < TEST_COUNT(names) ? names[decision] : "?";
}

bool test_same_text(const char *a, const char *b)
{
    return a == NULL || b == NULL ? a == b : strcmp(a, b) == 0;
}

otok_offline_request test_good_request(void)
{
    otok_offline_request r;
    otok_offline_request_init(&r, sizeof r);
    r.scope = "openid offline_access files";
    r.response_type = "code";
    r.prompt = "consent";
    r.user_has_role = r.client_has_scope = r.client_may_refresh = r.consent_given = 1;
    return r;
}

otok_offline_request test_silent_request(void)
{
    otok_offline_request r = test_good_request();
    r.prompt = NULL;
    r.consent_given = 0;
    r.permitted_otherwise = 1;
    return r;
}

void test_decided(const char *what, const otok_offline_request *r, int32_t decision, int32_t reason, const char *error)
{
    otok_offline_decision *d = NULL;
    otok_error err = {0};
    int rc = otok_offline_decide(r, &d, &err);
    ck_assert_msg(rc == OTOK_OK, "%s: %s", what, err.message);
    ck_assert_msg(d->decision == decision && d->reason == reason && test_same_text(d->oauth_error, error),
                  "%s: expected %s, %d, %s, got %s, %d, %s", what, test_decision_name(decision), reason,
                  error != NULL ? error : "-", test_decision_name(d->decision), d->reason,
                  d->oauth_error != NULL ? d->oauth_error : "-");
    otok_offline_decision_free(d);
}

void test_granted_offline(const char *what, const otok_offline_request *r)
{
    test_decided(what, r, OTOK_OFFLINE_GRANT, OTOK_REASON_CONSENT_GIVEN, NULL);
}

void test_offline_scope(const otok_offline_request *r, const char *scope)
{
    otok_offline_decision *d = NULL;
    test_assert_code(OTOK_OK, otok_offline_decide(r, &d, NULL));
    ck_assert_str_eq(d->scope, scope);
    otok_offline_decision_free(d);
}

void test_invalid_offline(const char *what, const otok_offline_request *r, const char *field)
{
    otok_offline_decision *d = (otok_offline_decision *)(void *)&what;
    otok_error err = {0};
    int rc = otok_offline_decide(r, &d, &err);
    ck_assert_msg(rc == OTOK_E_INVALID, "%s: expected OTOK_E_INVALID, got %s", what, otok_error_name(rc));
    ck_assert_msg(strstr(err.message, field) != NULL, "%s: '%s' does not name %s", what, err.message, field);
    ck_assert_ptr_null(d);
    ck_assert_str_eq(otok_error_oauth(rc), "invalid_request");
    test_assert_code(OTOK_E_INVALID, otok_offline_decide(r, &d, NULL));
}
