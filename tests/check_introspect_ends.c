/*
 * check_introspect_ends.c - "access tokens of a dead session, however it died, introspect as inactive at once" (V6): each end, and
 * each kind of token, and each who may ask.
 *
 * SPDX-License-Identifier: MIT
 */
#include "support/host.h"

#include <string.h>

#include "support/introspect.h"
#include "support/records.h"

static test_host host;
static const char *const api[] = {"https://api.example.org"};
static const char scope[] = "offline_access openid profile";

/* A session before and after its end. */
struct story {
    test_fixture *f;
    const otok_tokens *first, *last; /* generations 0 and 1 */
};

static int deny(test_fixture *f, const char *client_id, otok_policy *policy)
{
    (void)f;
    (void)client_id;
    policy->public_clients = OTOK_OFF;
    return 0;
}

static int constrain(test_fixture *f, const char *client_id, otok_policy *policy)
{
    (void)f;
    (void)client_id;
    policy->sender_constraint = OTOK_ON;
    return 0;
}

static int shorten(test_fixture *f, const char *client_id, otok_policy *policy)
{
    (void)f;
    (void)client_id;
    policy->max_lifetime_s = 30;
    return 0;
}

static void must(int rc, const otok_error *err)
{
    ck_assert_msg(rc == OTOK_OK, "%s: %s", otok_error_name(rc), err->message);
}

static void by_id(struct story *s)
{
    otok_error err;
    must(otok_revoke_session(s->f->service, s->last->session_id, &err), &err);
}

static void by_token(struct story *s)
{
    test_assert_code(OTOK_OK, test_revoke(s->f, s->first->offline_token, NULL));
}

static void cut_off(struct story *s, const char *subject, const char *client_id, const char *sid)
{
    otok_error err;
    otok_filter filter = test_filter(subject, client_id, sid);
    filter.whole_realm = subject == NULL && client_id == NULL && sid == NULL;
    must(otok_cutoff_set(s->f->service, &filter, OTOK_NOW, NULL, &err), &err);
}

static void by_subject(struct story *s)
{
    cut_off(s, "alice", NULL, NULL);
}

static void by_client(struct story *s)
{
    cut_off(s, NULL, "phone", NULL);
}

static void by_pair(struct story *s)
{
    cut_off(s, "alice", "phone", NULL);
}

static void by_sid(struct story *s)
{
    cut_off(s, NULL, NULL, "sso-1");
}

static void by_realm(struct story *s) /* CVE-2026-8922: ignored at introspection */
{
    cut_off(s, NULL, NULL, NULL);
}

static void by_reuse(struct story *s)
{
    test_advance_s(s->f, 60);
    test_dead(s->f, s->first->offline_token, OTOK_E_TOKEN_REUSED);
}

static void by_logout(struct story *s)
{
    otok_error err;
    otok_filter filter = test_filter(NULL, NULL, "sso-1");
    must(otok_logout(s->f->service, &filter, 1, NULL, &err), &err);
}

static void by_consent(struct story *s)
{
    otok_error err;
    must(otok_consent_revoke(s->f->service, "alice", "phone", NULL, &err), &err);
}

static void by_erasure(struct story *s)
{
    otok_error err;
    otok_filter filter = test_filter("alice", NULL, NULL);
    must(otok_erase(s->f->service, &filter, NULL, &err), &err);
}

static void by_idleness(struct story *s)
{
    s->f->policy.idle_timeout_s = 50;
    test_reopen_service(s->f);
    test_advance_s(s->f, 60);
}

static void by_age(struct story *s)
{
    s->f->client_policy = shorten;
}

static void by_constraint(struct story *s)
{
    s->f->client_policy = constrain;
}

static void by_veto(struct story *s)
{
    (void)s;
    host.refusal = OTOK_E_DENIED;
}

static void by_host(struct story *s)
{
    host.ends_session = true;
    test_dead(s->f, s->last->offline_token, OTOK_E_DENIED);
    host.ends_session = false;
}

static void by_replacement(struct story *s)
{
    otok_grant grant = test_grant(NULL, NULL, NULL);
    grant.replaces = s->last->session_id;
    (void)test_granted(s->f, &grant);
}

static void by_limit(struct story *s)
{
    s->f->policy.session_limit = 1;
    test_reopen_service(s->f);
    test_advance_s(s->f, 1);
    (void)test_began(s->f);
}

static void by_missing_consent(struct story *s)
{
    s->f->policy.consent = OTOK_ON;
    test_reopen_service(s->f);
}

static void by_narrower_consent(struct story *s)
{
    otok_error err;
    by_missing_consent(s);
    must(otok_consent_put(s->f->service, "alice", "phone", "offline_access openid", &err), &err);
}

static void (*const ends[])(struct story *) = {
    by_id,          by_token,   by_subject,         by_client,          by_pair, by_sid,        by_realm, by_reuse,
    by_logout,      by_consent, by_erasure,         by_idleness,        by_age,  by_constraint, by_veto,  by_host,
    by_replacement, by_limit,   by_missing_consent, by_narrower_consent};
enum { ENDS = sizeof ends / sizeof ends[0] };

static struct story begin(int engine)
{
    struct story s = {.f = test_open(engine)};
    otok_grant grant = test_grant(NULL, NULL, scope);
    test_install_host(s.f, &host);
    grant.audience = api;
    grant.audience_count = 1;
    grant.sid = "sso-1";
    s.first = test_granted(s.f, &grant);
    s.last = test_rotated(s.f, s.first, 1);
    return s;
}

static void expect_all(const struct story *s, bool active)
{
    host.nuses = 0;
    ck_assert(test_is_active(s->f, s->last->offline_token, NULL) == active);
    ck_assert(test_is_active(s->f, s->last->access_token, NULL) == active);
    ck_assert(test_is_active(s->f, s->first->access_token, NULL) == active);
    ck_assert(test_is_active(s->f, s->last->access_token, api[0]) == active);
    otok_introspect_request request = test_introspect_request(s->first->access_token, "gateway");
    request.client_type = OTOK_CLIENT_CONFIDENTIAL;
    request.resource = api;
    request.resource_count = 1;
    if (active)
        cJSON_Delete(test_active(s->f, &request));
    else
        test_inactive(s->f, &request);
    ck_assert(test_is_live(s->f, s->last->session_id) == active);
}

static void each_end(int engine, int which)
{
    struct story s = begin(engine);
    expect_all(&s, true);
    ends[which](&s);
    expect_all(&s, false);
    test_end(s.f);
}

/* V6 */
START_TEST(token_of_a_dead_session_is_inactive)
{
    each_end(TEST_MEMORY, _i);
}
END_TEST

START_TEST(token_of_a_dead_session_is_inactive_on_lmdb)
{
    each_end(TEST_LMDB, _i);
}
END_TEST

/* V6 T1: a public client that the policy refuses is so where it asks itself; of whom others ask about it is not known. */
START_TEST(refused_public_client_is_told_nothing)
{
    struct story s = begin(TEST_MEMORY);
    s.f->client_policy = deny;
    ck_assert(!test_is_active(s.f, s.last->offline_token, NULL));
    ck_assert(!test_is_active(s.f, s.last->access_token, NULL));
    ck_assert(test_is_active(s.f, s.last->access_token, api[0]));
    test_end(s.f);
}
END_TEST

/* I7: the logout of its sid ends a login-bound session, and not an offline one. */
START_TEST(logout_ends_what_is_bound_to_the_login)
{
    struct story s = begin(TEST_MEMORY);
    otok_grant grant = test_grant(NULL, NULL, scope);
    otok_filter filter = test_filter(NULL, NULL, "sso-1");
    grant.sid = "sso-1";
    grant.kind = OTOK_SESSION_LOGIN;
    const otok_tokens *bound = test_granted(s.f, &grant);
    ck_assert(test_is_active(s.f, bound->access_token, NULL));
    test_assert_code(OTOK_OK, otok_logout(s.f->service, &filter, 0, NULL, NULL));
    ck_assert(!test_is_active(s.f, bound->access_token, NULL));
    ck_assert(!test_is_live(s.f, bound->session_id));
    expect_all(&s, true);
    test_end(s.f);
}
END_TEST

/* C2: a consent that covers everything keeps it alive. */
START_TEST(consent_that_covers_keeps_the_session_alive)
{
    struct story s = begin(TEST_MEMORY);
    by_missing_consent(&s);
    test_assert_code(OTOK_OK, otok_consent_put(s.f->service, "alice", "phone", scope, NULL));
    expect_all(&s, true);
    test_end(s.f);
}
END_TEST

/* V6: nobody knows a session of that id. */
START_TEST(unknown_session_is_not_live)
{
    test_fixture *f = test_open(TEST_MEMORY);
    ck_assert(!test_is_live(f, "AAAAAAAAAAAAAAAAAAAAAA"));
    test_end(f);
}
END_TEST

static void add_tests(TCase *tcase)
{
    tcase_add_loop_test(tcase, token_of_a_dead_session_is_inactive, 0, ENDS);
    tcase_add_loop_test(tcase, token_of_a_dead_session_is_inactive_on_lmdb, 0, ENDS);
    tcase_add_test(tcase, refused_public_client_is_told_nothing);
    tcase_add_test(tcase, logout_ends_what_is_bound_to_the_login);
    tcase_add_test(tcase, consent_that_covers_keeps_the_session_alive);
    tcase_add_test(tcase, unknown_session_is_not_live);
}

int main(void)
{
    return test_main("introspect_ends", add_tests);
}
