/*
 * check_consent_races.c - V4, V5: after a consent was revoked no refresh that begins later succeeds, whatever raced with it; and
 * consents that are put and revoked at once are there or not there, as a whole.
 *
 * SPDX-License-Identifier: MIT
 */
#include "support/ask.h"
#include "support/crew.h"
#include "support/node.h"

#include <sched.h>
#include <string.h>

enum { RACERS = 5 };

/* Racer 0 revokes the consent after a while; the others refresh until they are refused. */
typedef struct race {
    test_fixture *nodes[RACERS];
    test_held held[RACERS];
    int patience;
    int returned; /* atomic: 1 when the revocation has */
    int rc[RACERS];
    bool late[RACERS];
} race;

static void refresh_until_refused(race *r, size_t i)
{
    do {
        bool after = __atomic_load_n(&r->returned, __ATOMIC_SEQ_CST) != 0;
        r->rc[i] = test_refresh_held(r->nodes[i], &r->held[i], NULL);
        r->late[i] = r->late[i] || (after && r->rc[i] == OTOK_OK);
        (void)sched_yield();
    } while (r->rc[i] == OTOK_OK && !r->late[i]);
}

static void refresh_or_revoke(void *arg, size_t i)
{
    race *r = arg;
    otok_error err;
    if (i != 0) {
        refresh_until_refused(r, i);
        return;
    }
    for (int k = 0; k < r->patience; k++)
        (void)sched_yield();
    r->rc[0] = otok_consent_revoke(r->nodes[0]->service, "alice", "phone", NULL, &err);
    __atomic_store_n(&r->returned, 1, __ATOMIC_SEQ_CST);
}

static void prepare(race *r, int patience)
{
    otok_error err;
    test_fixture *f = r->nodes[0];
    test_assert_code(OTOK_OK, otok_consent_put(f->service, "alice", "phone", "offline_access", &err));
    test_held held = test_hold(f, "alice", "phone");
    test_advance_s(f, 60);
    for (size_t i = 0; i < RACERS; i++) {
        r->held[i] = held;
        r->late[i] = false;
        test_set_now_us(r->nodes[i], f->now_us);
    }
    r->returned = 0;
    r->patience = patience;
}

static void assert_dead_for_good(race *r)
{
    otok_error err;
    otok_consent *consent = NULL;
    test_fixture *f = r->nodes[0];
    test_assert_code(OTOK_OK, r->rc[0]);
    test_assert_code(OTOK_E_NOT_FOUND, otok_consent_get(f->service, "alice", "phone", &consent, &err));
    for (size_t i = 1; i < RACERS; i++) {
        ck_assert_msg(!r->late[i], "a refresh that began after the revocation had returned succeeded");
        ck_assert_msg(r->rc[i] == OTOK_E_TOKEN_UNKNOWN || r->rc[i] == OTOK_E_TOKEN_REVOKED ||
                          r->rc[i] == OTOK_E_CONSENT,
                      "%s", otok_error_name(r->rc[i]));
        ck_assert_int_ne(test_refresh_code(f, r->held[i].token, NULL), OTOK_OK);
    }
    /* A consent that is given again revives nothing. */
    test_assert_code(OTOK_OK, otok_consent_put(f->service, "alice", "phone", "offline_access", &err));
    for (size_t i = 1; i < RACERS; i++)
        ck_assert_int_ne(test_refresh_code(f, r->held[i].token, NULL), OTOK_OK);
    ck_assert(!test_has_session(f, r->held[0].session_id));
}

/* V4, V5 */
START_TEST(revoked_consent_is_final_among_refreshes)
{
    static race r;
    test_fixture *f = test_open(_i);
    f->policy.consent = OTOK_ON;
    f->callbacks.event = NULL;
    test_plain_policy(f);
    for (size_t i = 0; i < RACERS; i++) /* two nodes */
        r.nodes[i] = i % 2 != 0 ? test_open_node(f, NULL) : f;
    for (int round = 0; round < (_i == TEST_MEMORY ? 200 : 40); round++) {
        prepare(&r, round % 7 * 3);
        test_threads(RACERS, refresh_or_revoke, &r);
        assert_dead_for_good(&r);
    }
    for (size_t i = 1; i < RACERS; i += 2)
        test_close(r.nodes[i]);
    test_close(f);
}
END_TEST

/* ------------------------------------------------------------------------------------------------------ put against revoke */

typedef struct meeting {
    test_fixture *nodes[RACERS];
    int rc[RACERS];
} meeting;

static void put_or_revoke(void *arg, size_t i)
{
    meeting *m = arg;
    otok_error err;
    m->rc[i] = i == 0 ? otok_consent_revoke(m->nodes[i]->service, "alice", "phone", NULL, &err)
                      : otok_consent_put(m->nodes[i]->service, "alice", "phone", i % 2 ? "openid" : "profile", &err);
}

/* C1, V4: the cutoff of the revocation stands whoever came last, and what is there is one of the consents that were put */
START_TEST(consents_put_and_revoked_at_once_leave_one_of_them_or_none)
{
    static meeting m;
    otok_error err;
    test_fixture *f = test_open(_i);
    otok_filter pair = test_filter("alice", "phone", NULL);
    for (size_t i = 0; i < RACERS; i++)
        m.nodes[i] = i % 2 != 0 ? test_open_node(f, NULL) : f;
    for (int round = 0; round < (_i == TEST_MEMORY ? 300 : 40); round++) {
        int64_t cutoff_us = 0;
        otok_consent *consent = NULL;
        test_held held = test_hold(f, "alice", "phone");
        test_advance_s(f, 1);
        for (size_t i = 0; i < RACERS; i++)
            test_set_now_us(m.nodes[i], f->now_us);
        test_threads(RACERS, put_or_revoke, &m);
        for (size_t i = 0; i < RACERS; i++)
            test_assert_code(OTOK_OK, m.rc[i]);
        test_assert_code(OTOK_OK, otok_cutoff_get(f->service, &pair, &cutoff_us, &err));
        ck_assert_int_ge(cutoff_us, f->now_us);
        ck_assert_int_ne(test_refresh_code(f, held.token, NULL), OTOK_OK);
        int rc = otok_consent_get(f->service, "alice", "phone", &consent, &err);
        ck_assert(rc == OTOK_OK || rc == OTOK_E_NOT_FOUND);
        if (consent != NULL)
            ck_assert(strcmp(consent->scope, "openid") == 0 || strcmp(consent->scope, "profile") == 0);
        otok_consent_free(consent);
    }
    for (size_t i = 1; i < RACERS; i += 2)
        test_close(m.nodes[i]);
    test_close(f);
}
END_TEST

static void add_tests(TCase *tc)
{
    const TTest *const on_both[] = {revoked_consent_is_final_among_refreshes,
                                    consents_put_and_revoked_at_once_leave_one_of_them_or_none};
    test_add_on_both(tc, on_both, sizeof on_both / sizeof *on_both);
}

int main(void)
{
    return test_main("consent_races", add_tests);
}
