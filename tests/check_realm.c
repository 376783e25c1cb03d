/*
 * check_realm.c - sessions of one realm are invisible to another over the same store, with the same keyring.
 *
 * SPDX-License-Identifier: MIT
 */
#include "support/ask.h"
#include "support/node.h"

#include <stdio.h>

typedef struct two_realms {
    test_fixture *ours, *theirs;
    test_held held; /* a session of ours */
} two_realms;

static two_realms open_two(int engine)
{
    two_realms t;
    t.ours = test_open(engine);
    t.theirs = test_open_node(t.ours, "theirs");
    otok_grant grant = test_grant("alice", "phone", "offline_access");
    grant.sid = "s1";
    t.held = test_hold_grant(t.ours, &grant);
    return t;
}

static void close_two(two_realms *t)
{
    test_assert_code(OTOK_OK, test_refresh_code(t->ours, t->held.token, NULL)); /* untouched by all of it */
    ck_assert_uint_eq(test_count_events(t->theirs, OTOK_EVENT_REVOKED), 0);
    test_close(t->theirs);
    test_close(t->ours);
}

/* K6: a subkey for each realm */
START_TEST(token_of_another_realm_is_forged_here)
{
    two_realms t = open_two(_i);
    test_assert_code(OTOK_E_TOKEN_INVALID, test_refresh_code(t.theirs, t.held.token, NULL));
    test_assert_code(OTOK_OK, test_revoke(t.theirs, t.held.token, NULL));
    test_assert_code(OTOK_OK, test_revoke_as(t.theirs, t.held.access_token, NULL, OTOK_CLIENT_CONFIDENTIAL, NULL));
    ck_assert_uint_eq(test_count_events(t.theirs, OTOK_EVENT_REFUSED), 0);
    close_two(&t);
}
END_TEST

/* Q1, Q3 */
START_TEST(session_of_another_realm_is_neither_found_nor_listed_nor_counted)
{
    two_realms t = open_two(_i);
    otok_filter filters[] = {test_filter("alice", NULL, NULL), test_filter(NULL, "phone", NULL),
                             test_filter("alice", "phone", NULL), test_filter(NULL, NULL, "s1"), test_filter_realm()};
    ck_assert(!test_has_session(t.theirs, t.held.session_id));
    for (size_t i = 0; i < sizeof filters / sizeof *filters; i++) {
        ck_assert_uint_eq(test_list(t.theirs, &filters[i], 0, 0, NULL, 0), 0);
        ck_assert_uint_eq(test_count(t.theirs, &filters[i]), 0);
        ck_assert_uint_eq(test_count_live(t.theirs, &filters[i]), 0);
        ck_assert_uint_eq(test_list(t.ours, &filters[i], 0, 0, NULL, 0), 1);
    }
    close_two(&t);
}
END_TEST

/* V2, V3 */
START_TEST(revocation_and_cutoff_of_another_realm_do_not_reach_here)
{
    two_realms t = open_two(_i);
    otok_error err;
    otok_filter filters[] = {test_filter("alice", NULL, NULL), test_filter(NULL, "phone", NULL),
                             test_filter("alice", "phone", NULL), test_filter(NULL, NULL, "s1"), test_filter_realm()};
    test_assert_code(OTOK_E_NOT_FOUND, otok_revoke_session(t.theirs->service, t.held.session_id, &err));
    for (size_t i = 0; i < sizeof filters / sizeof *filters; i++) {
        uint64_t revoked = 9;
        int64_t at_us = 0;
        test_assert_code(OTOK_OK, otok_revoke_matching(t.theirs->service, &filters[i], &revoked, &err));
        ck_assert_uint_eq(revoked, 0);
        test_assert_code(OTOK_OK, otok_cutoff_set(t.theirs->service, &filters[i], OTOK_NOW, NULL, &err));
        test_assert_code(OTOK_E_NOT_FOUND, otok_cutoff_get(t.ours->service, &filters[i], &at_us, &err));
        test_assert_code(OTOK_OK, test_refresh_code(t.ours, t.held.token, NULL));
    }
    (void)test_sweep_out(t.theirs);
    close_two(&t);
}
END_TEST

/* The length of each name is part of what is hashed: "ab" + "c" is not "a" + "bc". */
START_TEST(names_that_run_together_are_not_the_same)
{
    static const char *const realms[] = {"ab", "a", "abc", NULL};
    static const char *const subjects[] = {"c", "bc", "x"};
    test_fixture *f = test_open(_i), *nodes[3];
    for (size_t i = 0; i < 3; i++) {
        nodes[i] = test_open_node(f, realms[i]);
        otok_tokens_free(test_issue_plain(nodes[i], subjects[i], "phone"));
    }
    for (size_t i = 0; i < 3; i++) {
        for (size_t k = 0; k < 3; k++) {
            otok_filter filter = test_filter(subjects[k], NULL, NULL);
            ck_assert_uint_eq(test_count(nodes[i], &filter), i == k);
        }
        test_close(nodes[i]);
    }
    test_close(f);
}
END_TEST

/* "thousands of them over one store are fine" */
START_TEST(a_thousand_realms_over_one_store)
{
    enum { MANY = 1000 };
    static otok_service *services[MANY];
    static test_held held[MANY];
    test_fixture *f = test_open(TEST_MEMORY), view = *f;
    for (size_t i = 0; i < MANY; i++) {
        otok_error err;
        char name[32];
        otok_config config;
        otok_config_init(&config, sizeof config);
        (void)snprintf(name, sizeof name, "realm-%zu", i);
        config.issuer = TEST_ISSUER;
        config.realm = name;
        test_assert_code(OTOK_OK, otok_service_open(&config, f->store, f->keyring, &services[i], &err));
        view.service = services[i];
        held[i] = test_hold(&view, "alice", "phone");
    }
    for (size_t i = 0; i < MANY; i++) {
        otok_filter realm = test_filter_realm();
        view.service = services[i];
        ck_assert_uint_eq(test_count(&view, &realm), 1);
        test_assert_code(OTOK_E_TOKEN_INVALID, test_refresh_code(&view, held[(i + 1) % MANY].token, NULL));
        test_assert_code(OTOK_OK, test_refresh_code(&view, held[i].token, NULL));
    }
    for (size_t i = 0; i < MANY; i++)
        otok_service_close(services[i]);
    test_close(f);
}
END_TEST

static void add_tests(TCase *tc)
{
    const TTest *const on_both[] = {
        token_of_another_realm_is_forged_here, session_of_another_realm_is_neither_found_nor_listed_nor_counted,
        revocation_and_cutoff_of_another_realm_do_not_reach_here, names_that_run_together_are_not_the_same};
    test_add_on_both(tc, on_both, sizeof on_both / sizeof *on_both);
    tcase_add_test(tc, a_thousand_realms_over_one_store);
}

int main(void)
{
    return test_main("realm", add_tests);
}
