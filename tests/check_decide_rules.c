/*
 * check_decide_rules.c - who may have an offline token (I1): a test for each sentence of the promise.
 *
 * SPDX-License-Identifier: MIT
 */
#include "support/decision.h"

#include <string.h>

/* I1: "No offline_access in scope": as a word, in this spelling. */
START_TEST(request_that_does_not_ask_for_offline_access_is_ignored)
{
    static const char *const not_asking[] = {NULL, "", " ", "openid", "offline", "Offline_Access"};
    static const char *const nearly[] = {"no_offline_access", "offline_accessories", "offline_access:files"};
    static const char *const asking[] = {"offline_access", " offline_access ", "offline_access openid",
                                         "openid  offline_access"};
    otok_offline_request r = test_good_request();
    for (size_t i = 0; i < TEST_COUNT(not_asking); i++) {
        r.scope = not_asking[i];
        test_decided("not asking", &r, OTOK_OFFLINE_IGNORE, OTOK_REASON_NOT_ASKED, NULL);
    }
    for (size_t i = 0; i < TEST_COUNT(nearly); i++) {
        r.scope = nearly[i];
        test_decided(nearly[i], &r, OTOK_OFFLINE_IGNORE, OTOK_REASON_NOT_ASKED, NULL);
    }
    for (size_t i = 0; i < TEST_COUNT(asking); i++) {
        r.scope = asking[i];
        test_granted_offline(asking[i], &r);
    }
}
END_TEST

/* I1: "or client not registered for refresh: IGNORE". */
START_TEST(client_that_is_not_registered_for_refresh_is_ignored)
{
    otok_offline_request r = test_good_request();
    r.client_may_refresh = 0;
    test_decided("not registered", &r, OTOK_OFFLINE_IGNORE, OTOK_REASON_CLIENT_WITHOUT_REFRESH, NULL);
}
END_TEST

/* I1: "response_type does not hold the word `code` (any order: `id_token code` does, `codex` does not)". */
START_TEST(code_is_a_word_of_response_type_in_any_order_and_codex_is_not)
{
    static const char *const with[] = {"code",       "id_token code",       "code id_token",
                                       "code token", "token code id_token", "code code"};
    static const char *const without[] = {"codex", "token",  "id_token",   "id_token token", "none",
                                          "Code",  "encode", "code,token", "device_code"};
    otok_offline_request r = test_good_request();
    for (size_t i = 0; i < TEST_COUNT(with); i++) {
        r.response_type = with[i];
        test_granted_offline(with[i], &r);
    }
    for (size_t i = 0; i < TEST_COUNT(without); i++) {
        r.response_type = without[i];
        test_decided(without[i], &r, OTOK_OFFLINE_IGNORE, OTOK_REASON_NO_CODE, NULL);
    }
}
END_TEST

/* I1: "Role or client scope missing: DENY, telling which; on the wire invalid_scope (not_allowed only in keycloak)". */
START_TEST(missing_role_or_client_scope_is_denied_and_named)
{
    for (int keycloak = 0; keycloak < 2; keycloak++) {
        const char *error = keycloak ? "not_allowed" : "invalid_scope";
        otok_offline_request r = test_good_request();
        r.preset = keycloak;
        r.client_has_scope = 0;
        test_decided("no client scope", &r, OTOK_OFFLINE_DENY, OTOK_REASON_CLIENT_WITHOUT_SCOPE, error);
        r.user_has_role = 0;
        test_decided("neither", &r, OTOK_OFFLINE_DENY, OTOK_REASON_USER_WITHOUT_ROLE, error);
        r.client_has_scope = 1;
        test_decided("no role", &r, OTOK_OFFLINE_DENY, OTOK_REASON_USER_WITHOUT_ROLE, error);
    }
}
END_TEST

/* I1, Core section 11: MUST ignore: as if it had not been asked for, so nothing is there to be denied. */
START_TEST(what_must_be_ignored_is_not_denied)
{
    otok_offline_request r = test_good_request();
    r.user_has_role = r.client_has_scope = 0;
    r.prompt = NULL;
    test_decided("no prompt", &r, OTOK_OFFLINE_IGNORE, OTOK_REASON_NO_PROMPT, NULL);
    r.response_type = "token";
    test_decided("no code", &r, OTOK_OFFLINE_IGNORE, OTOK_REASON_NO_CODE, NULL);
    r.client_may_refresh = 0;
    test_decided("not registered", &r, OTOK_OFFLINE_IGNORE, OTOK_REASON_CLIENT_WITHOUT_REFRESH, NULL);
    r.scope = "openid";
    test_decided("not asked", &r, OTOK_OFFLINE_IGNORE, OTOK_REASON_NOT_ASKED, NULL);
}
END_TEST

/* I1: "neither `prompt` holding the word `consent` nor another permitting condition: IGNORE". */
START_TEST(prompt_must_hold_the_word_consent_or_something_else_permit_it)
{
    static const char *const with[] = {"consent", "consent login", "login consent select_account", " consent "};
    static const char *const without[] = {NULL, "", "login", "none", "consents", "no-consent", "Consent"};
    otok_offline_request r = test_good_request();
    for (size_t i = 0; i < TEST_COUNT(with); i++) {
        r.prompt = with[i];
        test_granted_offline(with[i], &r);
    }
    for (size_t i = 0; i < TEST_COUNT(without); i++) {
        r.prompt = without[i];
        r.permitted_otherwise = 0;
        test_decided("no consent in prompt", &r, OTOK_OFFLINE_IGNORE, OTOK_REASON_NO_PROMPT, NULL);
        r.permitted_otherwise = 1;
        test_granted_offline("permitted otherwise", &r);
    }
}
END_TEST

/* I1: "the keycloak preset waives it, and says that this departs from section 11". */
START_TEST(keycloak_preset_waives_the_prompt_rule_and_says_so)
{
    static const struct {
        const char *prompt;
        int32_t otherwise, waived;
    } rows[] = {{NULL, 0, 1}, {"login", 0, 1}, {"none", 0, 1}, {NULL, 1, 0}, {"consent", 0, 0}};
    for (size_t i = 0; i < TEST_COUNT(rows); i++) {
        otok_offline_decision *d = NULL;
        otok_offline_request r = test_good_request();
        r.preset = OTOK_OFFLINE_PRESET_KEYCLOAK;
        r.prompt = rows[i].prompt;
        r.permitted_otherwise = rows[i].otherwise;
        test_assert_code(OTOK_OK, otok_offline_decide(&r, &d, NULL));
        ck_assert_int_eq(d->decision, OTOK_OFFLINE_GRANT);
        ck_assert_int_eq(d->prompt_waived, rows[i].waived);
        otok_offline_decision_free(d);
    }
}
END_TEST

/* I1: the preset waives that rule and no other. */
START_TEST(keycloak_preset_waives_neither_consent_nor_code)
{
    otok_offline_request r = test_good_request();
    r.preset = OTOK_OFFLINE_PRESET_KEYCLOAK;
    r.prompt = NULL;
    r.consent_given = 0;
    test_decided("no consent", &r, OTOK_OFFLINE_CONSENT, OTOK_REASON_CONSENT_MISSING, NULL);
    r.response_type = "token";
    test_decided("no code", &r, OTOK_OFFLINE_IGNORE, OTOK_REASON_NO_CODE, NULL);
}
END_TEST

/* I1: "web clients must have consent, native ones should". */
START_TEST(web_clients_must_have_consent_and_native_ones_should)
{
    otok_offline_request r = test_silent_request();
    test_decided("web", &r, OTOK_OFFLINE_CONSENT, OTOK_REASON_CONSENT_MISSING, NULL);
    r.native_without_consent = 1;
    test_decided("web, whatever goes for native", &r, OTOK_OFFLINE_CONSENT, OTOK_REASON_CONSENT_MISSING, NULL);
    r.application_type = OTOK_APPLICATION_NATIVE;
    test_decided("native, by policy", &r, OTOK_OFFLINE_GRANT, OTOK_REASON_CONSENT_WAIVED, NULL);
    r.prompt = "consent";
    test_decided("native, but asking for it", &r, OTOK_OFFLINE_CONSENT, OTOK_REASON_CONSENT_MISSING, NULL);
    r.prompt = NULL;
    r.native_without_consent = 0;
    test_decided("native", &r, OTOK_OFFLINE_CONSENT, OTOK_REASON_CONSENT_MISSING, NULL);
}
END_TEST

/* I1: another permitting condition, or prompt=consent, is about the prompt rule: it is no consent. */
START_TEST(prompt_rule_and_consent_rule_are_apart)
{
    otok_offline_request r = test_good_request();
    r.consent_given = 0;
    test_decided("asked with prompt, not given", &r, OTOK_OFFLINE_CONSENT, OTOK_REASON_CONSENT_MISSING, NULL);
    r = test_good_request();
    r.prompt = NULL;
    test_decided("given, not asked with prompt", &r, OTOK_OFFLINE_IGNORE, OTOK_REASON_NO_PROMPT, NULL);
}
END_TEST

/* I1: "consent of this interaction always counts". */
START_TEST(consent_of_this_interaction_always_counts)
{
    static const char *const prompt[] = {NULL, "none", "login", "consent", "login consent"};
    for (size_t i = 0; i < TEST_COUNT(prompt); i++) {
        otok_offline_request r = test_good_request();
        r.permitted_otherwise = 1;
        r.prompt = prompt[i];
        test_granted_offline("given", &r);
        r.saved_consent_counts = 1;
        r.saved_consent = "openid";
        test_granted_offline("given, although what is saved is less", &r);
    }
}
END_TEST

/* I1: "saved consent only where the client's policy says so and it covers every scope asked". */
START_TEST(saved_consent_counts_by_policy_and_for_every_scope)
{
    static const char *const enough[] = {"openid offline_access files", "files offline_access openid profile",
                                         " files  openid offline_access"};
    static const char *const short_of_it[] = {NULL,
                                              "",
                                              "openid offline_access",
                                              "openid files",
                                              "offline_access",
                                              "openid offline_access file",
                                              "openid,offline_access,files"};
    otok_offline_request r = test_silent_request();
    for (size_t i = 0; i < TEST_COUNT(enough); i++) {
        r.saved_consent = enough[i];
        r.saved_consent_counts = 1;
        test_decided(enough[i], &r, OTOK_OFFLINE_GRANT, OTOK_REASON_CONSENT_SAVED, NULL);
        r.saved_consent_counts = 0;
        test_decided("policy", &r, OTOK_OFFLINE_CONSENT, OTOK_REASON_CONSENT_MISSING, NULL);
    }
    r.saved_consent_counts = 1;
    for (size_t i = 0; i < TEST_COUNT(short_of_it); i++) {
        r.saved_consent = short_of_it[i];
        test_decided("too little", &r, OTOK_OFFLINE_CONSENT, OTOK_REASON_CONSENT_MISSING, NULL);
    }
}
END_TEST

/* I1: "and never in answer to prompt=consent". */
START_TEST(saved_consent_never_answers_prompt_consent)
{
    static const char *const prompt[] = {"consent", "consent login", "login consent"};
    otok_offline_request r = test_silent_request();
    r.saved_consent = r.scope;
    r.saved_consent_counts = 1;
    for (size_t i = 0; i < TEST_COUNT(prompt); i++) {
        r.prompt = prompt[i];
        test_decided(prompt[i], &r, OTOK_OFFLINE_CONSENT, OTOK_REASON_CONSENT_MISSING, NULL);
    }
    r.prompt = "login";
    test_decided("login", &r, OTOK_OFFLINE_GRANT, OTOK_REASON_CONSENT_SAVED, NULL);
    r.prompt = "none";
    test_decided("none", &r, OTOK_OFFLINE_GRANT, OTOK_REASON_CONSENT_SAVED, NULL);
}
END_TEST

/* I1: "Consent missing: CONSENT, or CONSENT_REQUIRED under prompt=none". */
START_TEST(missing_consent_is_consent_required_under_prompt_none)
{
    otok_offline_request r = test_silent_request();
    test_decided("may be asked", &r, OTOK_OFFLINE_CONSENT, OTOK_REASON_CONSENT_MISSING, NULL);
    r.prompt = "none";
    test_decided("none", &r, OTOK_OFFLINE_CONSENT_REQUIRED, OTOK_REASON_CONSENT_MISSING, "consent_required");
    r.permitted_otherwise = 0;
    test_decided("none, and nothing permits it", &r, OTOK_OFFLINE_IGNORE, OTOK_REASON_NO_PROMPT, NULL);
}
END_TEST

/* I1: "`none consent` is invalid", as none with any other word (Core section 3.1.2.1), whatever else is asked. */
START_TEST(none_beside_another_word_is_invalid)
{
    static const char *const prompt[] = {"none consent", "consent none", "none login", "login none consent", "none x"};
    otok_offline_request r = test_good_request();
    for (size_t i = 0; i < TEST_COUNT(prompt); i++) {
        r.prompt = prompt[i];
        r.scope = "openid offline_access";
        test_invalid_offline(prompt[i], &r, "request.prompt");
        r.scope = "openid";
        test_invalid_offline(prompt[i], &r, "request.prompt");
    }
    r = test_silent_request();
    r.prompt = "none none";
    test_decided("twice the same", &r, OTOK_OFFLINE_CONSENT_REQUIRED, OTOK_REASON_CONSENT_MISSING, "consent_required");
    r.prompt = "nonesuch consent";
    test_decided("another word", &r, OTOK_OFFLINE_CONSENT, OTOK_REASON_CONSENT_MISSING, NULL);
}
END_TEST

/* I1: "IGNORE drops offline_access from the scope that is returned", and nothing else does. */
START_TEST(ignore_drops_offline_access_from_the_scope)
{
    static const char *const rows[][3] = {
        /* asked, where it is ignored, where it is not */
        {"openid offline_access files", "openid files", "openid offline_access files"},
        {"offline_access openid", "openid", "offline_access openid"},
        {"openid offline_access", "openid", "openid offline_access"},
        {"offline_access", "", "offline_access"},
        {"offline_access  offline_access ", "", "offline_access"},
        {" b a b  offline_access c a", "b a c", "b a offline_access c"},
        {"offline_accessories offline_access no_offline_access", "offline_accessories no_offline_access",
         "offline_accessories offline_access no_offline_access"},
    };
    for (size_t i = 0; i < TEST_COUNT(rows); i++) {
        otok_offline_request r = test_good_request();
        r.scope = rows[i][0];
        test_offline_scope(&r, rows[i][2]);
        r.consent_given = 0;
        test_offline_scope(&r, rows[i][2]);
        r.user_has_role = 0;
        test_offline_scope(&r, rows[i][2]);
        r.prompt = NULL;
        test_offline_scope(&r, rows[i][1]);
    }
    otok_offline_request r = test_good_request();
    r.scope = NULL;
    test_offline_scope(&r, "");
}
END_TEST

static const int32_t other_grants[] = {OTOK_GRANT_PASSWORD, OTOK_GRANT_CLIENT_CREDENTIALS, OTOK_GRANT_DEVICE_CODE,
                                       OTOK_GRANT_CIBA,     OTOK_GRANT_JWT_BEARER,         OTOK_GRANT_TOKEN_EXCHANGE};

static otok_offline_request by_grant(int32_t grant_type)
{
    otok_offline_request r = test_good_request();
    r.grant_type = grant_type;
    r.response_type = r.prompt = NULL;
    r.token_exchange_allowed = r.client_credentials_allowed = 1;
    return r;
}

/* I1: "Password, ... grants skip the response_type and prompt rules", and no other. */
START_TEST(other_grants_skip_the_response_type_and_prompt_rules_only)
{
    for (size_t i = 0; i < TEST_COUNT(other_grants); i++) {
        otok_offline_request r = by_grant(other_grants[i]);
        test_granted_offline("no response_type, no prompt", &r);
        r.response_type = "token";
        r.prompt = "login";
        test_granted_offline("others", &r);
        r.client_has_scope = 0;
        test_decided("no client scope", &r, OTOK_OFFLINE_DENY, OTOK_REASON_CLIENT_WITHOUT_SCOPE, "invalid_scope");
        r.user_has_role = 0;
        test_decided("no role", &r, OTOK_OFFLINE_DENY, OTOK_REASON_USER_WITHOUT_ROLE, "invalid_scope");
        r.client_may_refresh = 0;
        test_decided("not registered", &r, OTOK_OFFLINE_IGNORE, OTOK_REASON_CLIENT_WITHOUT_REFRESH, NULL);
        r.scope = NULL;
        test_decided("not asked", &r, OTOK_OFFLINE_IGNORE, OTOK_REASON_NOT_ASKED, NULL);
    }
}
END_TEST

/* I1: the consent rule is not skipped; where nobody is there to be asked, there is an error to answer with. */
START_TEST(missing_consent_is_an_error_where_nobody_can_be_asked)
{
    for (size_t i = 0; i < TEST_COUNT(other_grants); i++) {
        otok_offline_request r = by_grant(other_grants[i]);
        bool somebody = r.grant_type == OTOK_GRANT_DEVICE_CODE || r.grant_type == OTOK_GRANT_CIBA;
        r.consent_given = 0;
        test_decided("missing", &r, OTOK_OFFLINE_CONSENT, OTOK_REASON_CONSENT_MISSING,
                     somebody ? NULL : "invalid_scope");
        r.saved_consent = r.scope;
        r.saved_consent_counts = 1;
        test_decided("saved", &r, OTOK_OFFLINE_GRANT, OTOK_REASON_CONSENT_SAVED, NULL);
    }
}
END_TEST

/* I1: "token exchange and client credentials are off by default, a policy switch each". */
START_TEST(token_exchange_and_client_credentials_have_a_switch_each)
{
    otok_offline_request r = by_grant(OTOK_GRANT_TOKEN_EXCHANGE);
    r.client_credentials_allowed = 0;
    test_granted_offline("exchange on", &r);
    r.token_exchange_allowed = 0;
    r.client_credentials_allowed = 1;
    test_decided("exchange off", &r, OTOK_OFFLINE_IGNORE, OTOK_REASON_GRANT_TYPE_OFF, NULL);
    r.grant_type = OTOK_GRANT_CLIENT_CREDENTIALS;
    test_granted_offline("credentials on", &r);
    r.token_exchange_allowed = 1;
    r.client_credentials_allowed = 0;
    test_decided("credentials off", &r, OTOK_OFFLINE_IGNORE, OTOK_REASON_GRANT_TYPE_OFF, NULL);
    r = test_good_request();
    test_granted_offline("no switch for the others", &r);
}
END_TEST

/* RFC 6749 section 5.2: error_description = %x20-21 / %x23-5B / %x5D-7E. */
START_TEST(description_is_fit_for_error_description)
{
    static const otok_offline_request empty = {.size = sizeof empty, .response_type = "code"};
    otok_offline_request rows[] = {empty,
                                   test_good_request(),
                                   test_good_request(),
                                   test_good_request(),
                                   test_silent_request(),
                                   test_silent_request()};
    rows[2].user_has_role = 0;
    rows[3].client_has_scope = 0;
    rows[5].prompt = "none";
    for (size_t i = 0; i < TEST_COUNT(rows); i++) {
        otok_offline_decision *d = NULL;
        test_assert_code(OTOK_OK, otok_offline_decide(&rows[i], &d, NULL));
        ck_assert_uint_gt(strlen(d->description), 10);
        for (const char *c = d->description; *c != '\0'; c++)
            ck_assert_msg(*c >= 0x20 && *c < 0x7f && *c != '"' && *c != '\\', "%s", d->description);
        otok_offline_decision_free(d);
    }
}
END_TEST

static void add_tests(TCase *tcase)
{
    tcase_add_test(tcase, request_that_does_not_ask_for_offline_access_is_ignored);
    tcase_add_test(tcase, client_that_is_not_registered_for_refresh_is_ignored);
    tcase_add_test(tcase, code_is_a_word_of_response_type_in_any_order_and_codex_is_not);
    tcase_add_test(tcase, missing_role_or_client_scope_is_denied_and_named);
    tcase_add_test(tcase, what_must_be_ignored_is_not_denied);
    tcase_add_test(tcase, prompt_must_hold_the_word_consent_or_something_else_permit_it);
    tcase_add_test(tcase, keycloak_preset_waives_the_prompt_rule_and_says_so);
    tcase_add_test(tcase, keycloak_preset_waives_neither_consent_nor_code);
    tcase_add_test(tcase, web_clients_must_have_consent_and_native_ones_should);
    tcase_add_test(tcase, prompt_rule_and_consent_rule_are_apart);
    tcase_add_test(tcase, consent_of_this_interaction_always_counts);
    tcase_add_test(tcase, saved_consent_counts_by_policy_and_for_every_scope);
    tcase_add_test(tcase, saved_consent_never_answers_prompt_consent);
    tcase_add_test(tcase, missing_consent_is_consent_required_under_prompt_none);
    tcase_add_test(tcase, none_beside_another_word_is_invalid);
    tcase_add_test(tcase, ignore_drops_offline_access_from_the_scope);
    tcase_add_test(tcase, other_grants_skip_the_response_type_and_prompt_rules_only);
    tcase_add_test(tcase, missing_consent_is_an_error_where_nobody_can_be_asked);
    tcase_add_test(tcase, token_exchange_and_client_credentials_have_a_switch_each);
    tcase_add_test(tcase, description_is_fit_for_error_description);
}

int main(void)
{
    return test_main("decide_rules", add_tests);
}
