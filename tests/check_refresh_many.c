/*
 * check_refresh_many.c - otok_refresh_many(): each item is as with otok_refresh(), and on its own.  Items of one session, and what
 * the host's callbacks do meanwhile: check_refresh_many_meets.c; commits and the store's troubles: check_refresh_many_store.c.
 *
 * SPDX-License-Identifier: MIT
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "support/legacy.h"
#include "support/many.h"
#include "support/records.h"
#include "support/watch.h"

static test_fixture *open_plain(int engine)
{
    test_fixture *f = test_open(engine);
    test_plain_policy(f);
    return f;
}

/* ---------------------------------------------------------------------------------------------------------- the call */

/* B1: nothing is done, and the message names it. */
START_TEST(arguments_that_are_missing_are_named)
{
    test_fixture *f = open_plain(_i);
    test_held *held = test_many_hold(f, 1);
    otok_refresh_request request = test_refresh_request(held[0].token, NULL);
    const otok_refresh_request *const asked[] = {&request};
    otok_tokens *out[1];
    otok_error errors[1], err;
    uint64_t state = test_store_state(f->store);
    test_assert_code(OTOK_E_INVALID, otok_refresh_many(NULL, asked, 1, out, errors, &err));
    ck_assert_ptr_nonnull(strstr(err.message, "service"));
    test_assert_code(OTOK_E_INVALID, otok_refresh_many(f->service, NULL, 1, out, errors, &err));
    ck_assert_ptr_nonnull(strstr(err.message, "requests"));
    test_assert_code(OTOK_E_INVALID, otok_refresh_many(f->service, asked, 1, NULL, errors, &err));
    ck_assert_ptr_nonnull(strstr(err.message, "out"));
    test_assert_code(OTOK_E_INVALID, otok_refresh_many(f->service, asked, 1, out, NULL, &err));
    ck_assert_ptr_nonnull(strstr(err.message, "errors"));
    test_assert_code(OTOK_E_INVALID, otok_refresh_many(NULL, NULL, 0, NULL, NULL, NULL));
    ck_assert_uint_eq(state, test_store_state(f->store));
    free(held);
    test_close(f);
}
END_TEST

START_TEST(of_none_nothing_is_done)
{
    test_watch watch;
    test_fixture *f = open_plain(_i);
    test_watch_fixture(&watch, f);
    test_many *m = test_many_open(f);
    test_watch_reset(&watch);
    test_many_refresh(m);
    ck_assert_uint_eq(watch.calls, 0);
    test_many_close(m);
    test_close(f);
}
END_TEST

/* R6 R7: each has its own answer, in the order in which they were asked; the next call goes on from there. */
START_TEST(any_number_is_answered_in_order)
{
    static const size_t sizes[] = {1, 2, 128, 129, 500};
    test_fixture *f = open_plain(_i);
    test_held *held = test_many_hold(f, 500);
    test_many *m = test_many_open(f);
    for (size_t k = 0; k < sizeof sizes / sizeof sizes[0]; k++) {
        test_forget_events(f);
        test_many_clear(m);
        test_many_ask_held(m, held, sizes[k]);
        test_many_refresh(m);
        for (size_t i = 0; i < sizes[k]; i++) {
            const otok_tokens *tokens = test_many_answered(m, i, OTOK_OUTCOME_ADVANCED);
            ck_assert_str_eq(tokens->session_id, held[i].session_id);
            ck_assert_str_ne(tokens->offline_token, held[i].token);
            (void)strcpy(held[i].token, tokens->offline_token);
        }
        ck_assert_uint_eq(test_count_events(f, OTOK_EVENT_REFRESHED), sizes[k]);
        ck_assert_uint_eq(m->out[0]->generation, k + 1);
        test_advance_s(f, 60);
    }
    test_many_close(m);
    free(held);
    test_close(f);
}
END_TEST

/* I5 R4: nothing of one answer is in another: access tokens, ID tokens, scopes. */
START_TEST(answers_are_whole_and_do_not_mix)
{
    static const char *const scopes[] = {NULL, "offline_access", "openid profile"};
    enum { N = 30 };
    test_fixture *f = test_open(_i);
    test_many *m = test_many_open(f);
    test_held held[N];
    char subject[32];
    for (size_t i = 0; i < N; i++) {
        (void)snprintf(subject, sizeof subject, "user-%zu", i);
        test_keep(&held[i], test_issue(f, subject, NULL, NULL));
    }
    test_advance_s(f, 60);
    for (size_t i = 0; i < N; i++)
        test_many_ask(m, held[i].token)->scope = scopes[i % 3];
    test_many_refresh(m);
    for (size_t i = 0; i < N; i++) {
        const otok_tokens *tokens = test_many_answered(m, i, OTOK_OUTCOME_ADVANCED);
        ck_assert_str_eq(tokens->scope, i % 3 == 0 ? "openid offline_access profile" : scopes[i % 3]);
        ck_assert_int_eq(tokens->id_token != NULL, i % 3 != 1);
        ck_assert_ptr_nonnull(strstr(tokens->response_json, tokens->offline_token));
        ck_assert_ptr_nonnull(strstr(tokens->response_json, tokens->access_token));
        for (size_t j = 0; j < i; j++)
            ck_assert_str_ne(tokens->access_token, m->out[j]->access_token);
    }
    test_many_close(m);
    test_close(f);
}
END_TEST

/* Q2: what is written with the whole record is each session's own. */
START_TEST(each_session_remembers_where_it_was_used_from)
{
    enum { N = 20 };
    test_fixture *f = open_plain(_i);
    test_held *held = test_many_hold(f, N);
    test_many *m = test_many_open(f);
    otok_peer peers[N];
    char addresses[N][16];
    test_advance_s(f, 3600); /* longer than a touch interval */
    for (size_t i = 0; i < N; i++) {
        (void)snprintf(addresses[i], sizeof addresses[i], "192.0.2.%zu", i);
        peers[i] = test_peer(NULL, NULL, addresses[i], "agent");
        test_many_ask(m, held[i].token)->peer = &peers[i];
    }
    test_many_refresh(m);
    for (size_t i = 0; i < N; i++) {
        otok_session *session = NULL;
        (void)test_many_answered(m, i, OTOK_OUTCOME_ADVANCED);
        test_assert_code(OTOK_OK, otok_session_get(f->service, held[i].session_id, &session, NULL));
        ck_assert_str_eq(session->last_ip, addresses[i]);
        otok_session_free(session);
    }
    test_many_close(m);
    free(held);
    test_close(f);
}
END_TEST

/* --------------------------------------------------------------------------------------------------- good and bad ones */

/* A request struct of a newer library, with something in what this one does not know. */
typedef struct newer_request {
    otok_refresh_request known;
    uint64_t unknown;
} newer_request;

typedef struct mixed {
    test_fixture *f;
    char forged[OTOK_TOKEN_CHARS + 1];
    newer_request newer;
    otok_peer right, wrong;
} mixed;

static const char *const elsewhere[] = {"https://elsewhere.example.org"};

static otok_grant usual(const mixed *x)
{
    (void)x;
    return test_grant("alice", "phone", "offline_access");
}

static otok_grant brief(const mixed *x)
{
    otok_grant grant = usual(x);
    grant.idle_timeout_s = 30;
    return grant;
}

static otok_grant bound(const mixed *x)
{
    otok_grant grant = usual(x);
    grant.binding = OTOK_BINDING_JKT;
    grant.peer = &x->right;
    return grant;
}

static otok_grant cut_off(const mixed *x)
{
    (void)x;
    return test_grant("mallory", "phone", "offline_access");
}

static void revoke(mixed *x, test_many *m, size_t i, const test_held *held)
{
    (void)m;
    (void)i;
    test_assert_code(OTOK_OK, otok_revoke_session(x->f->service, held->session_id, NULL));
}

static void cut(mixed *x, test_many *m, size_t i, const test_held *held)
{
    otok_filter mallory = test_filter("mallory", NULL, NULL);
    (void)m;
    (void)i;
    (void)held;
    test_assert_code(OTOK_OK, otok_cutoff_set(x->f->service, &mallory, OTOK_NOW, NULL, NULL));
}

static void forge(mixed *x, test_many *m, size_t i, const test_held *held)
{
    (void)strcpy(x->forged, held->token);
    x->forged[OTOK_TOKEN_CHARS - 10] = x->forged[OTOK_TOKEN_CHARS - 10] == 'A' ? 'B' : 'A';
    m->requests[i].token = x->forged;
}

static void garble(mixed *x, test_many *m, size_t i, const test_held *held)
{
    (void)x;
    (void)held;
    m->requests[i].token = "not a token";
}

static void no_token(mixed *x, test_many *m, size_t i, const test_held *held)
{
    (void)x;
    (void)held;
    m->requests[i].token = NULL;
}

static void no_request(mixed *x, test_many *m, size_t i, const test_held *held)
{
    (void)x;
    (void)held;
    m->asked[i] = NULL;
}

static void newer(mixed *x, test_many *m, size_t i, const test_held *held)
{
    (void)held;
    x->newer = (newer_request){.known = m->requests[i], .unknown = 1};
    x->newer.known.size = sizeof x->newer;
    m->asked[i] = &x->newer.known;
}

static void not_zero(mixed *x, test_many *m, size_t i, const test_held *held)
{
    (void)x;
    (void)held;
    m->requests[i].unused = 1;
}

static void other_client(mixed *x, test_many *m, size_t i, const test_held *held)
{
    (void)x;
    (void)held;
    m->requests[i].client_id = "laptop";
}

static void wide_scope(mixed *x, test_many *m, size_t i, const test_held *held)
{
    (void)x;
    (void)held;
    m->requests[i].scope = "offline_access admin";
}

static void other_target(mixed *x, test_many *m, size_t i, const test_held *held)
{
    (void)x;
    (void)held;
    m->requests[i].resource = elsewhere;
    m->requests[i].resource_count = 1;
}

static void other_key(mixed *x, test_many *m, size_t i, const test_held *held)
{
    (void)held;
    m->requests[i].peer = &x->wrong;
}

static const struct kind {
    const char *name;
    otok_grant (*grant)(const mixed *x);
    void (*spoil)(mixed *x, test_many *m, size_t i, const test_held *held); /* NULL: nothing more is wrong with it */
    int code;
} kinds[] = {
    {"good", usual, NULL, OTOK_OK},
    {"forged", usual, forge, OTOK_E_TOKEN_INVALID},
    {"no token", usual, garble, OTOK_E_TOKEN_INVALID},
    {"token NULL", usual, no_token, OTOK_E_INVALID},
    {"request NULL", usual, no_request, OTOK_E_INVALID},
    {"too new", usual, newer, OTOK_E_INVALID},
    {"unused is not 0", usual, not_zero, OTOK_E_INVALID},
    {"another client", usual, other_client, OTOK_E_CLIENT_MISMATCH},
    {"expired", brief, NULL, OTOK_E_TOKEN_EXPIRED},
    {"revoked", usual, revoke, OTOK_E_TOKEN_UNKNOWN},
    {"cut off", cut_off, cut, OTOK_E_TOKEN_REVOKED},
    {"scope", usual, wide_scope, OTOK_E_SCOPE},
    {"target", usual, other_target, OTOK_E_TARGET},
    {"no proof", bound, NULL, OTOK_E_DPOP_PROOF},
    {"another key", bound, other_key, OTOK_E_SENDER},
};

enum { KINDS = sizeof kinds / sizeof kinds[0], MIXED = 150 };

static void prepare_mix(mixed *x, test_many *m, test_held *held)
{
    x->right = test_peer(TEST_JKT, NULL, NULL, NULL);
    x->wrong = test_peer(TEST_OTHER_JKT, NULL, NULL, NULL);
    for (size_t i = 0; i < MIXED; i++) {
        otok_grant grant = kinds[i * 7 % KINDS].grant(x);
        held[i] = test_hold_grant(x->f, &grant);
    }
    test_advance_s(x->f, 60);
    for (size_t i = 0; i < MIXED; i++) {
        (void)test_many_ask(m, held[i].token);
        if (kinds[i * 7 % KINDS].spoil != NULL)
            kinds[i * 7 % KINDS].spoil(x, m, i, &held[i]);
    }
    test_forget_events(x->f);
}

/* What otok_refresh() says to the same request, word for word. */
static void expect_alike(const test_many *m, size_t i)
{
    otok_tokens *tokens = NULL;
    otok_error err = {0};
    test_assert_code(m->errors[i].code, otok_refresh(m->f->service, m->asked[i], &tokens, &err));
    ck_assert_str_eq(m->errors[i].message, err.message);
}

/* R1 R2: bad ones among good ones: the good ones are answered, the bad ones refused with their own code, unconsumed. */
START_TEST(each_item_is_as_with_otok_refresh_and_on_its_own)
{
    mixed x = {.f = open_plain(_i)};
    test_many *m = test_many_open(x.f);
    test_held held[MIXED];
    otok_record *before[MIXED];
    prepare_mix(&x, m, held);
    for (size_t i = 0; i < MIXED; i++)
        before[i] = test_session_record(x.f->store, held[i].session_id);
    test_many_refresh(m);
    for (size_t i = 0; i < MIXED; i++) {
        const struct kind *kind = &kinds[i * 7 % KINDS];
        otok_record *after = test_session_record(x.f->store, held[i].session_id);
        ck_assert_msg(m->errors[i].code == kind->code, "%s: %s", kind->name, otok_error_name(m->errors[i].code));
        ck_assert_int_eq(before[i] != NULL, after != NULL);
        if (kind->code == OTOK_OK)
            ck_assert_str_eq(test_many_answered(m, i, OTOK_OUTCOME_ADVANCED)->session_id, held[i].session_id);
        else
            expect_alike(m, i);
        if (after != NULL)
            ck_assert_msg((before[i]->version == after->version) == (kind->code != OTOK_OK), "%s: written or not",
                          kind->name);
        otok_record_free(before[i]);
        otok_record_free(after);
    }
    ck_assert_uint_eq(test_count_events(x.f, OTOK_EVENT_REFRESHED), MIXED / KINDS);
    ck_assert_uint_eq(test_count_events(x.f, OTOK_EVENT_REUSE), 0);
    ck_assert_uint_eq(test_count_events(x.f, OTOK_EVENT_REVOKED), 0);
    test_many_close(m);
    test_close(x.f);
}
END_TEST

/* E3: they are counted as otok_refresh() counts them. */
START_TEST(what_is_answered_and_refused_is_counted)
{
    mixed x = {.f = open_plain(_i)};
    test_many *m = test_many_open(x.f);
    test_held held[MIXED];
    otok_stats stats[2];
    prepare_mix(&x, m, held);
    for (size_t k = 0; k < 2; k++)
        otok_stats_init(&stats[k], sizeof stats[k]);
    test_assert_code(OTOK_OK, otok_stats_get(x.f->service, &stats[0], NULL));
    test_many_refresh(m);
    test_assert_code(OTOK_OK, otok_stats_get(x.f->service, &stats[1], NULL));
    ck_assert_uint_eq(stats[1].refreshed - stats[0].refreshed, MIXED / KINDS);
    ck_assert_uint_eq(stats[1].rotated - stats[0].rotated, MIXED / KINDS);
    ck_assert_uint_eq(stats[1].forged - stats[0].forged, 2 * MIXED / KINDS);
    ck_assert_uint_eq(stats[1].refused - stats[0].refused, 8 * MIXED / KINDS);
    ck_assert_uint_eq(stats[1].conflicts - stats[0].conflicts, 0);
    test_many_close(m);
    test_close(x.f);
}
END_TEST

/* --------------------------------------------------------------------------------------------------------- adoption */

/* P4: tokens of the system before, in several spellings, among our own. */
START_TEST(tokens_of_another_system_are_adopted_once)
{
    static const test_legacy plain = {0}, wrong = {.secret = "another secret"};
    char legacy[TEST_LEGACY_CHARS], spelling[TEST_LEGACY_CHARS], forged[TEST_LEGACY_CHARS];
    test_fixture *f = open_plain(_i);
    test_install_legacy(f);
    test_held *held = test_many_hold(f, 2);
    test_many *m = test_many_open(f);
    (void)strcpy(legacy, test_legacy_token(&plain));
    (void)strcpy(spelling, test_legacy_spelling(legacy, 3));
    (void)strcpy(forged, test_legacy_token(&wrong));
    (void)test_many_ask(m, held[0].token);
    (void)test_many_ask(m, legacy);
    (void)test_many_ask(m, forged);
    (void)test_many_ask(m, spelling);
    (void)test_many_ask(m, held[1].token);
    test_many_refresh(m);
    (void)test_many_answered(m, 0, OTOK_OUTCOME_ADVANCED);
    const otok_tokens *adopted = test_many_answered(m, 1, OTOK_OUTCOME_ADOPTED);
    test_many_refused(m, 2, OTOK_E_TOKEN_INVALID);
    test_expect_same(adopted, test_many_answered(m, 3, OTOK_OUTCOME_RETRIED));
    (void)test_many_answered(m, 4, OTOK_OUTCOME_ADVANCED);
    ck_assert_uint_eq(test_count_events(f, OTOK_EVENT_ISSUED), 1);
    ck_assert_uint_eq(test_count_events(f, OTOK_EVENT_RETRIED), 1);
    free(held);
    test_many_close(m);
    test_close(f);
}
END_TEST

static void add_tests(TCase *tc)
{
    const TTest *const on_both[] = {arguments_that_are_missing_are_named,
                                    of_none_nothing_is_done,
                                    any_number_is_answered_in_order,
                                    answers_are_whole_and_do_not_mix,
                                    each_session_remembers_where_it_was_used_from,
                                    each_item_is_as_with_otok_refresh_and_on_its_own,
                                    what_is_answered_and_refused_is_counted,
                                    tokens_of_another_system_are_adopted_once};
    test_add_on_both(tc, on_both, sizeof on_both / sizeof *on_both);
}

int main(void)
{
    return test_main("refresh_many", add_tests);
}
