/*
 * check_issue_access_guard.c - sessions without a refresh token, against those who want more of them: a token that was never handed
 * out is good for nothing, and a consent is asked for what was granted (I3, C2, K6).
 *
 * SPDX-License-Identifier: MIT
 */
#include "session/birth.h"
#include "support/introspect.h"
#include "support/story.h"

static const char SCOPE[] = "openid profile";

static otok_grant plain_grant(void)
{
    otok_grant grant = test_grant(NULL, NULL, SCOPE);
    grant.refresh_token = OTOK_OFF;
    return grant;
}

/* The refresh token that such a session would have: its handle follows from the once key, for who has the keyring. */
static void derive_token(test_fixture *f, const char *once_key, uint32_t generation, char out[OTOK_TOKEN_CHARS + 1])
{
    const otok_realm_key *key = otok_service_now_keys(f->service)->active;
    otok_token token = {
        .key_id = key->id, .generation = generation, .issued_ms = (uint64_t)(f->now_us / OTOK_US_PER_MS)};
    test_assert_code(OTOK_OK, otok_once_handle(key->once, once_key, "phone", token.handle, NULL));
    test_assert_code(OTOK_OK, otok_token_print(&token, key->token, out, NULL));
}

/* I3 K6: nobody refreshes it: not even a token that is right to the byte, of this generation or one to come. */
START_TEST(token_that_was_not_handed_out_is_good_for_nothing)
{
    char derived[OTOK_TOKEN_CHARS + 1];
    test_fixture *f = test_open(_i);
    otok_grant grant = plain_grant();
    grant.once_key = "code";
    for (uint32_t generation = 0; generation < 3; generation++) {
        derive_token(f, "code", generation, derived);
        const otok_tokens *tokens = test_granted(f, &grant);
        const otok_refresh_request request = test_refresh_request(derived, "phone");
        test_refused_untouched(f, &request, OTOK_E_TOKEN_INVALID);
        ck_assert(!test_is_active(f, derived, "phone"));
        ck_assert(test_is_active(f, tokens->access_token, "phone"));
    }
    grant = test_grant(NULL, NULL, SCOPE);
    grant.once_key = "other";
    derive_token(f, "other", 0, derived);
    ck_assert_str_eq(test_granted(f, &grant)->offline_token, derived); /* it is the switch that made the difference */
    test_end(f);
}
END_TEST

/* C2: a plain login is no offline access: its consent need not cover that, but everything that was granted. */
START_TEST(consent_to_offline_access_is_not_needed)
{
    static const struct {
        const char *consent;
        bool plain, offline;
    } rows[] = {
        {NULL, false, false},
        {"openid", false, false},
        {"openid profile", true, false},
        {"openid profile offline_access", true, true},
    };
    test_fixture *f = test_open(_i);
    otok_grant grant = plain_grant();
    f->policy.consent = OTOK_ON;
    test_reopen_service(f);
    const otok_tokens *plain = test_granted(f, &grant);
    grant.refresh_token = OTOK_ON;
    const otok_tokens *offline = test_granted(f, &grant);
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        if (rows[i].consent != NULL)
            test_assert_code(OTOK_OK, otok_consent_put(f->service, "alice", "phone", rows[i].consent, NULL));
        ck_assert_int_eq(test_is_active(f, plain->access_token, NULL), rows[i].plain);
        ck_assert_int_eq(test_is_live(f, plain->session_id), rows[i].plain);
        ck_assert_int_eq(test_is_active(f, offline->access_token, NULL), rows[i].offline);
    }
    test_assert_code(OTOK_OK, otok_consent_revoke(f->service, "alice", "phone", NULL, NULL));
    ck_assert(!test_is_active(f, plain->access_token, NULL));
    test_end(f);
}
END_TEST

/* B2: room for what is to come must be 0, or a later version could not give it a meaning. */
START_TEST(room_in_the_struct_is_zero)
{
    test_fixture *f = test_open(TEST_MEMORY);
    otok_grant grant = test_grant(NULL, NULL, NULL);
    grant.unused = 1;
    test_not_granted(f, &grant, OTOK_E_INVALID, "grant.unused");
    grant.size = offsetof(otok_grant, refresh_token); /* an older header has no such member */
    (void)test_granted(f, &grant);
    test_end(f);
}
END_TEST

static void add_tests(TCase *tcase)
{
    const TTest *const both[] = {token_that_was_not_handed_out_is_good_for_nothing,
                                 consent_to_offline_access_is_not_needed};
    test_add_on_both(tcase, both, sizeof both / sizeof both[0]);
    tcase_add_test(tcase, room_in_the_struct_is_zero);
}

int main(void)
{
    return test_main("issue_access_guard", add_tests);
}
