/*
 * check_issue_access.c - sessions without a refresh token (otok_grant.refresh_token off): a plain login, client credentials.  They
 * live as long as their first access token (I3, I5), are nobody's to refresh, and take no place at the limit (I4).
 *
 * SPDX-License-Identifier: MIT
 */
#include "support/node.h"
#include "support/records.h"
#include "support/story.h"

#include <stdio.h>
#include <string.h>

#include "support/claims.h"
#include "support/introspect.h"
#include "support/watch.h"

static const char SCOPE[] = "openid profile";

static otok_grant plain_grant(void)
{
    otok_grant grant = test_grant(NULL, NULL, SCOPE);
    grant.refresh_token = OTOK_OFF;
    return grant;
}

static int64_t ends_us(test_fixture *f, const char *session_id)
{
    otok_session *session = NULL;
    test_assert_code(OTOK_OK, otok_session_get(f->service, session_id, &session, NULL));
    int64_t at_us = session->max_expires_us;
    otok_session_free(session);
    return at_us;
}

/* I3, I5: no refresh token anywhere in the answer; everything else as ever. */
START_TEST(answer_without_a_refresh_token)
{
    test_fixture *f = test_open(_i);
    otok_grant grant = plain_grant();
    const otok_tokens *tokens = test_granted(f, &grant);
    ck_assert_ptr_null(tokens->offline_token);
    ck_assert_int_eq(tokens->outcome, OTOK_OUTCOME_ISSUED);
    ck_assert_int_eq(tokens->access_expires_in_s, 300);
    ck_assert_int_eq(tokens->offline_expires_in_s, 300);
    cJSON *json = test_json(tokens->response_json);
    test_expect_absent(json, "refresh_token");
    test_expect_text(json, "access_token", tokens->access_token);
    test_expect_text(json, "id_token", tokens->id_token);
    test_expect_text(json, "token_type", "Bearer");
    test_expect_text(json, "scope", SCOPE);
    test_expect_number(json, "expires_in", 300);
    test_expect_nothing_empty(json);
    ck_assert_int_eq(cJSON_GetArraySize(json), 5);
    cJSON_Delete(json);
    ck_assert_ptr_null(strstr(tokens->response_json, "otok_"));
    ck_assert(test_is_active(f, tokens->access_token, NULL));
    ck_assert_uint_eq(test_count_events(f, OTOK_EVENT_ISSUED), 1);
    test_end(f);
}
END_TEST

/* I3, I5: access token and session end in the same second, whatever makes it short and however the clock stands in it. */
START_TEST(session_ends_with_its_access_token)
{
    static const struct {
        int64_t access_s, max_s, idle_s, grant_max_s, grant_idle_s, expected_s;
    } rows[] = {
        {0, 0, 0, 0, 0, 300},           {60, 0, 0, 0, 0, 60},
        {3600, 0, 0, 0, 0, 3600},       {3600, 100, 0, 0, 0, 100},
        {3600, 0, 100, 0, 0, 100},      {3600, 0, 0, 100, 0, 100},
        {3600, 0, 0, 0, 100, 100},      {1, 0, 0, 0, 0, 1},
        {3600, 50, 60, 70, 80, 50},     {3600, 80, 70, 60, 50, 50},
        {100, 200, 300, 400, 500, 100}, {5000000, 0, 0, 0, 0, 2592000},
    };
    static const int64_t parts[] = {0, 1, 499999, 999999};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        test_fixture *f = test_open(TEST_MEMORY);
        otok_grant grant = plain_grant();
        f->policy.access_token_lifetime_s = rows[i].access_s;
        f->policy.max_lifetime_s = rows[i].max_s;
        f->policy.idle_timeout_s = rows[i].idle_s;
        grant.max_lifetime_s = rows[i].grant_max_s;
        grant.idle_timeout_s = rows[i].grant_idle_s;
        test_reopen_service(f);
        for (size_t k = 0; k < sizeof parts / sizeof parts[0]; k++) {
            test_set_now_us(f, TEST_START_US + parts[k]);
            const otok_tokens *tokens = test_granted(f, &grant);
            cJSON *claims = test_jwt_claims(f, tokens->access_token);
            int64_t exp_s = test_number(claims, "exp");
            cJSON_Delete(claims);
            ck_assert_int_eq(exp_s, TEST_START_US / OTOK_US_PER_S + rows[i].expected_s);
            ck_assert_int_eq(ends_us(f, tokens->session_id), exp_s * OTOK_US_PER_S);
            ck_assert_int_eq(tokens->access_expires_in_s, rows[i].expected_s);
            test_set_now_us(f, exp_s * OTOK_US_PER_S - 1);
            ck_assert(test_is_active(f, tokens->access_token, NULL));
            int32_t live = 0;
            test_assert_code(OTOK_OK, otok_session_is_live(f->service, tokens->session_id, &live, NULL));
            ck_assert_int_eq(live, 1);
            test_set_now_us(f, exp_s * OTOK_US_PER_S);
            ck_assert(!test_is_active(f, tokens->access_token, NULL));
            test_assert_code(OTOK_OK, otok_session_is_live(f->service, tokens->session_id, &live, NULL));
            ck_assert_int_eq(live, 0);
        }
        test_end(f);
    }
}
END_TEST

/* L4: what the policy becomes later makes such a session shorter, and never longer. */
START_TEST(later_policy_does_not_lengthen_it)
{
    test_fixture *f = test_open(TEST_MEMORY);
    otok_grant grant = plain_grant();
    const otok_tokens *tokens = test_granted(f, &grant);
    int64_t at_us = ends_us(f, tokens->session_id);
    f->policy.access_token_lifetime_s = 3600;
    f->policy.max_lifetime_s = 7200;
    test_reopen_service(f);
    ck_assert_int_eq(ends_us(f, tokens->session_id), at_us);
    f->policy.max_lifetime_s = 100;
    test_reopen_service(f);
    ck_assert_int_eq(ends_us(f, tokens->session_id), at_us - 200 * OTOK_US_PER_S);
    test_end(f);
}
END_TEST

/* I3: the switch has three values; off without an access token would be a session of nothing. */
START_TEST(values_that_are_refused)
{
    static const int32_t bad[] = {-1, 3, 100, INT32_MAX, INT32_MIN};
    static const int32_t on[] = {OTOK_DEFAULT, OTOK_ON};
    test_fixture *f = test_open(TEST_MEMORY);
    otok_grant grant = test_grant(NULL, NULL, NULL);
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        grant.refresh_token = bad[i];
        test_not_granted(f, &grant, OTOK_E_INVALID, "grant.refresh_token");
    }
    for (size_t i = 0; i < 2; i++) {
        grant.refresh_token = on[i];
        const otok_tokens *tokens = test_granted(f, &grant);
        ck_assert_ptr_nonnull(tokens->offline_token);
        test_assert_code(OTOK_OK, test_refresh_code(f, tokens->offline_token, NULL));
    }
    f->policy.access_token = OTOK_OFF;
    test_reopen_service(f);
    (void)test_granted(f, &grant);
    grant.refresh_token = OTOK_OFF;
    uint64_t state = test_store_state(f->store);
    test_not_granted(f, &grant, OTOK_E_INVALID, "grant.refresh_token");
    ck_assert_uint_eq(state, test_store_state(f->store));
    test_end(f);
}
END_TEST

/* I3: a host compiled with the header before it has no such member: it gets a refresh token. */
START_TEST(older_header_gets_a_refresh_token)
{
    test_fixture *f = test_open(TEST_MEMORY);
    otok_grant grant = plain_grant();
    grant.size = offsetof(otok_grant, refresh_token);
    ck_assert_ptr_nonnull(test_granted(f, &grant)->offline_token);
    test_end(f);
}
END_TEST

/* I4: neither counted nor a reason to end or refuse another; those that have a token count as ever, of both kinds. */
START_TEST(limit_knows_nothing_of_them)
{
    static const int32_t at_limit[] = {OTOK_AT_LIMIT_EVICT, OTOK_AT_LIMIT_REFUSE};
    for (size_t i = 0; i < 4; i++) {
        test_fixture *f = test_open(i % 2 == 0 ? TEST_MEMORY : TEST_LMDB);
        otok_grant plain = plain_grant(), offline = test_grant(NULL, NULL, NULL);
        plain.sid = offline.sid = "sso";
        plain.kind = offline.kind = i % 2 == 0 ? OTOK_SESSION_OFFLINE : OTOK_SESSION_LOGIN;
        f->policy.session_limit = 2;
        f->policy.at_session_limit = at_limit[i / 2];
        test_reopen_service(f);
        const otok_tokens *first = test_granted(f, &offline), *alone[5];
        for (size_t n = 0; n < 5; n++)
            alone[n] = test_granted(f, &plain);
        test_advance_s(f, 1);
        const otok_tokens *second = test_granted(f, &offline);
        (void)test_granted(f, &plain);
        ck_assert_uint_eq(test_count_events(f, OTOK_EVENT_EVICTED), 0);
        if (at_limit[i / 2] == OTOK_AT_LIMIT_REFUSE)
            test_not_granted(f, &offline, OTOK_E_LIMIT, "as many sessions");
        test_advance_s(f, 1);
        if (at_limit[i / 2] == OTOK_AT_LIMIT_EVICT)
            (void)test_granted(f, &offline);
        ck_assert_int_eq(test_has_session(f, first->session_id), at_limit[i / 2] == OTOK_AT_LIMIT_REFUSE);
        ck_assert(test_has_session(f, second->session_id));
        for (size_t n = 0; n < 5; n++)
            ck_assert(test_has_session(f, alone[n]->session_id));
        test_end(f);
    }
}
END_TEST

/* I4: exact also where there are many of them before, between and behind those that count. */
START_TEST(limit_is_exact_among_many_of_them)
{
    enum { MANY = 70 }; /* more than are read at once */
    test_fixture *f = test_open(_i);
    otok_grant plain = plain_grant(), offline = test_grant(NULL, NULL, NULL);
    const otok_tokens *held[5];
    f->policy.session_limit = 3;
    test_reopen_service(f);
    for (size_t i = 0; i < 5; i++) {
        for (size_t n = 0; n < MANY; n++)
            (void)test_granted(f, &plain);
        test_advance_s(f, 1);
        held[i] = test_granted(f, &offline);
        test_advance_s(f, 1);
    }
    for (size_t i = 0; i < 5; i++)
        ck_assert_int_eq(test_has_session(f, held[i]->session_id), i >= 2);
    ck_assert_uint_eq(test_count_events(f, OTOK_EVENT_EVICTED), 2);
    otok_filter filter = test_filter("alice", "phone", NULL);
    ck_assert_uint_eq(test_count_live(f, &filter), 5 * MANY + 3);
    test_end(f);
}
END_TEST

/* I8: the lost response is given again, with an access token that ends when the first one did; never with a refresh token. */
START_TEST(once_key_gives_the_same_session_again)
{
    test_fixture *f = test_open(_i);
    otok_grant grant = plain_grant();
    grant.once_key = "code";
    const otok_tokens *first = test_granted(f, &grant);
    cJSON *claims = test_jwt_claims(f, first->access_token);
    int64_t exp_s = test_number(claims, "exp");
    cJSON_Delete(claims);
    test_advance_s(f, 30);
    for (int32_t value = OTOK_DEFAULT; value <= OTOK_OFF;
         value++) { /* it is the session's, and not the second grant's */
        grant.refresh_token = value;
        const otok_tokens *again = test_granted(f, &grant);
        ck_assert_int_eq(again->outcome, OTOK_OUTCOME_RETRIED);
        ck_assert_str_eq(again->session_id, first->session_id);
        ck_assert_ptr_null(again->offline_token);
        ck_assert_ptr_null(strstr(again->response_json, "refresh_token"));
        claims = test_jwt_claims(f, again->access_token);
        test_expect_number(claims, "exp", exp_s);
        cJSON_Delete(claims);
    }
    ck_assert_uint_eq(test_count_events(f, OTOK_EVENT_ISSUED), 1);
    test_advance_s(f, 31);
    otok_tokens *late = NULL;
    test_assert_code(OTOK_E_ONCE, otok_issue(f->service, &grant, &late, NULL));
    ck_assert_ptr_null(late);
    ck_assert(!test_has_session(f, first->session_id));
    test_end(f);
}
END_TEST

/* I8: nor is a refresh token withheld from a session that has one. */
START_TEST(once_key_of_a_session_with_a_token)
{
    test_fixture *f = test_open(TEST_MEMORY);
    otok_grant grant = test_grant(NULL, NULL, NULL);
    grant.once_key = "code";
    const otok_tokens *first = test_granted(f, &grant);
    grant.refresh_token = OTOK_OFF;
    test_expect_same(first, test_granted(f, &grant));
    test_end(f);
}
END_TEST

/* I4: it takes the place of another, and another its own, in one commit. */
START_TEST(replaces_and_is_replaced)
{
    test_fixture *f = test_open(_i);
    otok_grant plain = plain_grant(), offline = test_grant(NULL, NULL, NULL);
    const otok_tokens *first = test_granted(f, &offline);
    plain.replaces = first->session_id;
    const otok_tokens *second = test_granted(f, &plain);
    ck_assert(!test_has_session(f, first->session_id));
    test_dead(f, first->offline_token, OTOK_E_TOKEN_UNKNOWN);
    offline.replaces = second->session_id;
    const otok_tokens *third = test_granted(f, &offline);
    ck_assert(!test_is_active(f, second->access_token, NULL));
    ck_assert(test_has_session(f, third->session_id));
    ck_assert_uint_eq(test_count_events(f, OTOK_EVENT_REVOKED), 2);
    test_end(f);
}
END_TEST

/* I7: of the kind LOGIN it ends with the login, of the kind OFFLINE it does not. */
START_TEST(logout_ends_a_plain_login)
{
    test_fixture *f = test_open(TEST_MEMORY);
    otok_grant grant = plain_grant();
    otok_filter filter = test_filter(NULL, NULL, "sso");
    grant.sid = "sso";
    const otok_tokens *offline = test_granted(f, &grant);
    grant.kind = OTOK_SESSION_LOGIN;
    const otok_tokens *login = test_granted(f, &grant);
    test_assert_code(OTOK_OK, otok_logout(f->service, &filter, 0, NULL, NULL));
    ck_assert(!test_is_active(f, login->access_token, NULL));
    ck_assert(test_is_active(f, offline->access_token, NULL));
    test_end(f);
}
END_TEST

/* V1, V2, V6, Q1, L6: listed, revoked by its access token or its id, and swept, like all others. */
START_TEST(listed_revoked_and_swept_like_all_others)
{
    test_fixture *f = test_open(_i);
    otok_grant grant = plain_grant();
    otok_filter filter = test_filter("alice", "phone", NULL);
    const otok_tokens *one = test_granted(f, &grant), *two = test_granted(f, &grant), *three = test_granted(f, &grant);
    ck_assert_uint_eq(test_count_live(f, &filter), 3);
    test_assert_code(OTOK_OK, test_revoke_as(f, one->access_token, "phone", OTOK_CLIENT_CONFIDENTIAL, NULL));
    test_assert_code(OTOK_OK, otok_revoke_session(f->service, two->session_id, NULL));
    ck_assert(!test_is_active(f, one->access_token, NULL));
    ck_assert(!test_is_active(f, two->access_token, NULL));
    ck_assert(test_is_active(f, three->access_token, NULL));
    test_advance_s(f, 300);
    ck_assert_uint_eq(test_list(f, &filter, OTOK_ORDER_NEWEST_FIRST, 10, NULL, 0), 0);
    ck_assert_uint_eq(test_sweep_out(f).expired, 1);
    ck_assert(!test_has_session(f, three->session_id));
    test_end(f);
}
END_TEST

/* K7: that there is no token is under the seal: who edits the database makes no session of it that counts, or lives, otherwise. */
START_TEST(it_is_sealed)
{
    test_fixture *f = test_open(TEST_MEMORY);
    otok_grant grant = plain_grant();
    otok_id id;
    otok_record *record = NULL;
    const otok_tokens *tokens = test_granted(f, &grant);
    ck_assert(otok_session_id_parse(tokens->session_id, &id));
    test_assert_code(OTOK_OK, otok_record_fetch(f->service, &id, &record, NULL));
    uint8_t *body = (uint8_t *)(uintptr_t)record->body.data;
    size_t at = 0;
    while (at + 4 <= record->body.len && memcmp(body + at, "\x14\0\x01\x02", 4) != 0)
        at++;
    ck_assert_uint_le(at + 4, record->body.len);
    body[at + 3] = OTOK_ON;
    uint64_t version = record->version++;
    test_assert_code(OTOK_OK, otok_service_write(f->service, OTOK_WRITE_PUT, version, record, NULL));
    otok_loaded loaded;
    test_assert_code(OTOK_E_TAMPERED, otok_session_load(f->service, &id, &loaded, NULL));
    otok_record_free(record);
    test_end(f);
}
END_TEST

static int adopt_without(void *user, const char *token, const char *client_id, otok_adoption *adoption)
{
    otok_legacy legacy;
    otok_grant grant = test_grant("alice", client_id, "offline_access");
    otok_error err = {0};
    (void)user;
    grant.refresh_token = token[0] == 'x' ? OTOK_OFF : OTOK_ON;
    otok_legacy_init(&legacy, sizeof legacy);
    legacy.id = token;
    legacy.started_us = TEST_START_US - OTOK_DAY_US;
    legacy.grant = &grant;
    int rc = otok_legacy_set(adoption, &legacy, &err);
    test_assert_code(token[0] == 'x' ? OTOK_E_INVALID : OTOK_OK, rc);
    ck_assert(rc == OTOK_OK || strstr(err.message, "refresh_token") != NULL);
    return 0;
}

/* P4: who presents a refresh token of the system before gets one of this. */
START_TEST(adopted_session_has_a_token)
{
    test_fixture *f = test_open(TEST_MEMORY);
    f->callbacks.adopt = adopt_without;
    test_reopen_service(f);
    test_assert_code(OTOK_E_CALLBACK, test_refresh_code(f, "x-legacy", NULL));
    test_assert_code(OTOK_OK, test_refresh_code(f, "legacy", NULL));
    test_end(f);
}
END_TEST

static void add_tests(TCase *tcase)
{
    const TTest *const both[] = {limit_is_exact_among_many_of_them, answer_without_a_refresh_token,
                                 once_key_gives_the_same_session_again, replaces_and_is_replaced,
                                 listed_revoked_and_swept_like_all_others};
    test_add_on_both(tcase, both, sizeof both / sizeof both[0]);
    tcase_add_test(tcase, session_ends_with_its_access_token);
    tcase_add_test(tcase, later_policy_does_not_lengthen_it);
    tcase_add_test(tcase, values_that_are_refused);
    tcase_add_test(tcase, older_header_gets_a_refresh_token);
    tcase_add_test(tcase, limit_knows_nothing_of_them);
    tcase_add_test(tcase, once_key_of_a_session_with_a_token);
    tcase_add_test(tcase, logout_ends_a_plain_login);
    tcase_add_test(tcase, it_is_sealed);
    tcase_add_test(tcase, adopted_session_has_a_token);
}

int main(void)
{
    return test_main("issue_access", add_tests);
}
