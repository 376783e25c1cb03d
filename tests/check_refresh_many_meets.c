/*
 * check_refresh_many_meets.c - otok_refresh_many(): items of one session, and what the host's callbacks do to the sessions of the
 * other items.
 *
 * SPDX-License-Identifier: MIT
 */
#include <stdlib.h>
#include <string.h>

#include "support/host.h"
#include "support/legacy.h"
#include "support/many.h"
#include "support/watch.h"

static test_fixture *open_with(int engine, int64_t retry_limit)
{
    test_fixture *f = test_open(engine);
    f->policy.retry_limit = retry_limit;
    test_plain_policy(f);
    return f;
}

static uint32_t generation_of(test_fixture *f, const test_held *held)
{
    otok_session *session = NULL;
    test_assert_code(OTOK_OK, otok_session_get(f->service, held->session_id, &session, NULL));
    uint32_t generation = session->generation;
    otok_session_free(session);
    return generation;
}

/* -------------------------------------------------------------------------------------------------------- one token */

/* The first item advances, and the others have its successor. */
static void expect_one_successor(const test_many *m, size_t n)
{
    const otok_tokens *first = test_many_answered(m, 0, OTOK_OUTCOME_ADVANCED);
    for (size_t i = 1; i < n; i++)
        test_expect_same(first, test_many_answered(m, i, OTOK_OUTCOME_RETRIED));
}

/* R6 T2: also where each retry is counted, and so written. */
START_TEST(one_token_many_times_moves_its_session_by_one_generation)
{
    static const size_t sizes[] = {2, 50, 150};
    static const int64_t limits[] = {0, 150};
    for (size_t k = 0; k < 6; k++) {
        size_t n = sizes[k % 3];
        test_fixture *f = open_with(_i, limits[k / 3]);
        test_held *held = test_many_hold(f, 1);
        test_many *m = test_many_open(f);
        for (size_t i = 0; i < n; i++)
            (void)test_many_ask(m, held->token);
        test_many_refresh(m);
        expect_one_successor(m, n);
        ck_assert_uint_eq(generation_of(f, held), 1);
        ck_assert_uint_eq(test_count_events(f, OTOK_EVENT_REFRESHED), 1);
        ck_assert_uint_eq(test_count_events(f, OTOK_EVENT_RETRIED), n - 1);
        free(held);
        test_many_close(m);
        test_close(f);
    }
}
END_TEST

/* T2: over the limit it is refused, and the session goes on. */
START_TEST(retries_over_the_limit_are_refused_one_by_one)
{
    enum { N = 40, LIMIT = 30 };
    test_fixture *f = open_with(_i, LIMIT);
    test_held *held = test_many_hold(f, 1);
    test_many *m = test_many_open(f);
    for (size_t i = 0; i < N; i++)
        (void)test_many_ask(m, held->token);
    test_many_refresh(m);
    expect_one_successor(m, 1 + LIMIT);
    for (size_t i = 1 + LIMIT; i < N; i++)
        test_many_refused(m, i, OTOK_E_TOKEN_RETRIES);
    ck_assert_uint_eq(generation_of(f, held), 1);
    free(held);
    test_many_close(m);
    test_close(f);
}
END_TEST

/* R6: two of each, in another order the second time, over more than one transaction. */
START_TEST(tokens_that_come_twice_are_answered_twice_alike)
{
    enum { N = 100 };
    test_fixture *f = open_with(_i, 0);
    test_held *held = test_many_hold(f, N);
    test_many *m = test_many_open(f);
    test_many_ask_held(m, held, N);
    for (size_t i = N; i-- > 0;)
        (void)test_many_ask(m, held[i].token);
    test_many_refresh(m);
    for (size_t i = 0; i < N; i++)
        test_expect_same(test_many_answered(m, i, OTOK_OUTCOME_ADVANCED),
                         test_many_answered(m, 2 * N - 1 - i, OTOK_OUTCOME_RETRIED));
    free(held);
    test_many_close(m);
    test_close(f);
}
END_TEST

/* ------------------------------------------------------------------------------------------------------------- reuse */

/* T3 V5: an old token ends its session for the items behind it, whichever comes first, and for nobody else. */
START_TEST(an_old_token_ends_its_session_in_either_order)
{
    for (size_t old_at = 0; old_at < 3; old_at += 2) {
        test_fixture *f = open_with(_i, 0);
        test_held *held = test_many_hold(f, 2);
        test_held old = held[0];
        test_many *m = test_many_open(f);
        test_rotate(f, &held[0], NULL);
        test_rotate(f, &held[0], NULL);
        test_advance_s(f, 60);
        test_forget_events(f);
        (void)test_many_ask(m, old_at == 0 ? old.token : held[0].token);
        (void)test_many_ask(m, held[1].token);
        (void)test_many_ask(m, old_at == 0 ? held[0].token : old.token);
        test_many_refresh(m);
        test_many_refused(m, old_at, OTOK_E_TOKEN_REUSED);
        (void)test_many_answered(m, 1, OTOK_OUTCOME_ADVANCED);
        if (old_at == 0)
            test_many_refused(m, 2, OTOK_E_TOKEN_UNKNOWN);
        else
            test_assert_code(
                OTOK_E_TOKEN_UNKNOWN,
                test_refresh_code(f, test_many_answered(m, 0, OTOK_OUTCOME_ADVANCED)->offline_token, NULL));
        ck_assert(!test_has_session(f, held[0].session_id));
        ck_assert_uint_eq(test_count_events(f, OTOK_EVENT_REUSE), 1);
        ck_assert_uint_eq(test_count_reasons(f, OTOK_EVENT_REVOKED, OTOK_REVOKED_BY_REUSE, held[0].session_id), 1);
        test_assert_code(OTOK_OK, test_refresh_code(f, m->out[1]->offline_token, NULL));
        free(held);
        test_many_close(m);
        test_close(f);
    }
}
END_TEST

/* ------------------------------------------------------------------------------------------------------- the callback */

/* What the host's callback does when it is asked about one session. */
typedef struct plot {
    test_fixture *f;
    const test_held *when; /* it is this one */
    const test_held *whom; /* what it is done to */
    otok_tokens *tokens;   /* what a refresh there got */
    int done;
} plot;

static bool is_time(plot *p, const otok_use *use)
{
    return strcmp(use->session->session_id, p->when->session_id) == 0 && p->done++ == 0;
}

static int refuse(test_host *host, const otok_use *use, otok_answer *answer)
{
    return is_time(host->arg, use) ? otok_answer_refuse(answer, OTOK_E_DENIED, "not today") : 0;
}

static int end(test_host *host, const otok_use *use, otok_answer *answer)
{
    return is_time(host->arg, use) ? otok_answer_end_session(answer) : 0;
}

static int be_broken(test_host *host, const otok_use *use, otok_answer *answer)
{
    (void)answer;
    return is_time(host->arg, use) ? -1 : 0;
}

static int revoke(test_host *host, const otok_use *use, otok_answer *answer)
{
    plot *p = host->arg;
    (void)answer;
    if (is_time(p, use))
        test_assert_code(OTOK_OK, otok_revoke_session(p->f->service, p->whom->session_id, NULL));
    return 0;
}

static int refresh(test_host *host, const otok_use *use, otok_answer *answer)
{
    plot *p = host->arg;
    (void)answer;
    if (is_time(p, use))
        test_assert_code(OTOK_OK, test_refresh(p->f, p->whom->token, NULL, &p->tokens));
    return 0;
}

static int refresh_many(test_host *host, const otok_use *use, otok_answer *answer)
{
    plot *p = host->arg;
    otok_refresh_request request = test_refresh_request(p->whom->token, NULL);
    const otok_refresh_request *const asked[] = {&request};
    otok_error errors[1];
    (void)answer;
    if (is_time(p, use))
        test_assert_code(OTOK_OK, otok_refresh_many(p->f->service, asked, 1, &p->tokens, errors, NULL));
    return 0;
}

enum { ITEMS = 5 };

typedef struct play {
    plot plot;
    test_host host;
    test_held *held;
    test_many *m;
} play;

static void begin_play(play *p, int engine, int (*authorize)(test_host *, const otok_use *, otok_answer *), size_t when,
                       size_t whom)
{
    memset(p, 0, sizeof *p);
    test_fixture *f = open_with(engine, 0);
    test_install_host(f, &p->host);
    p->held = test_many_hold(f, ITEMS);
    p->plot = (plot){.f = f, .when = &p->held[when], .whom = &p->held[whom]};
    p->host.authorize = authorize;
    p->host.arg = &p->plot;
    p->m = test_many_open(f);
    test_many_ask_held(p->m, p->held, ITEMS);
    test_many_refresh(p->m);
}

static void end_play(play *p)
{
    otok_tokens_free(p->plot.tokens);
    free(p->held);
    test_many_close(p->m);
    test_close(p->plot.f);
}

static void expect_others_advanced(const play *p, size_t but)
{
    for (size_t i = 0; i < ITEMS; i++) {
        if (i != but)
            (void)test_many_answered(p->m, i, OTOK_OUTCOME_ADVANCED);
    }
}

/* R5: a veto, an ended session and a callback that fails are of one item. */
START_TEST(what_the_host_says_to_one_item_is_of_that_alone)
{
    static const struct {
        int (*authorize)(test_host *, const otok_use *, otok_answer *);
        int code;
        bool lives;
    } rows[] = {{refuse, OTOK_E_DENIED, true}, {end, OTOK_E_DENIED, false}, {be_broken, OTOK_E_CALLBACK, true}};
    for (size_t k = 0; k < sizeof rows / sizeof rows[0]; k++) {
        play p;
        begin_play(&p, _i, rows[k].authorize, 2, 2);
        test_many_refused(p.m, 2, rows[k].code);
        expect_others_advanced(&p, 2);
        ck_assert_int_eq(test_has_session(p.plot.f, p.held[2].session_id), rows[k].lives);
        ck_assert_uint_eq(test_count_reasons(p.plot.f, OTOK_EVENT_REVOKED, OTOK_REVOKED_BY_HOST, NULL), !rows[k].lives);
        test_assert_code(rows[k].lives ? OTOK_OK : OTOK_E_TOKEN_UNKNOWN,
                         test_refresh_code(p.plot.f, p.held[2].token, NULL));
        end_play(&p);
    }
}
END_TEST

/* V5: revoked inside the callback: an item before, which is minted already and not written yet; itself; one behind. */
START_TEST(a_session_that_a_callback_revokes_does_not_come_back)
{
    for (size_t whom = 1; whom <= 3; whom++) {
        play p;
        begin_play(&p, _i, revoke, 2, whom);
        test_many_refused(p.m, whom, OTOK_E_TOKEN_UNKNOWN);
        expect_others_advanced(&p, whom);
        ck_assert(!test_has_session(p.plot.f, p.held[whom].session_id));
        ck_assert_uint_eq(test_count_events(p.plot.f, OTOK_EVENT_REFRESHED), ITEMS - 1);
        end_play(&p);
    }
}
END_TEST

/* R6: refreshed inside the callback: whoever comes later gets the same successor. */
START_TEST(a_session_that_a_callback_refreshes_moves_by_one_generation)
{
    int (*const how[])(test_host *, const otok_use *, otok_answer *) = {refresh, refresh_many};
    for (size_t k = 0; k < 6; k++) {
        play p;
        size_t whom = 1 + k % 3;
        begin_play(&p, _i, how[k / 3], 2, whom);
        ck_assert_ptr_nonnull(p.plot.tokens);
        ck_assert_int_eq(p.plot.tokens->outcome, OTOK_OUTCOME_ADVANCED);
        test_expect_same(p.plot.tokens, test_many_answered(p.m, whom, OTOK_OUTCOME_RETRIED));
        expect_others_advanced(&p, whom);
        ck_assert_uint_eq(generation_of(p.plot.f, &p.held[whom]), 1);
        end_play(&p);
    }
}
END_TEST

/* T3 P4: in their order also where one comes with the token of the system before, whose session is not known until it is looked for. */
START_TEST(an_adopted_token_takes_its_turn)
{
    static const test_legacy plain = {0};
    for (uint32_t used = 0; used < 2; used++) {
        char legacy[TEST_LEGACY_CHARS];
        test_fixture *f = open_with(_i, 0);
        test_install_legacy(f);
        test_many *m = test_many_open(f);
        otok_tokens *tokens = NULL;
        test_held held;
        (void)strcpy(legacy, test_legacy_token(&plain));
        test_assert_code(OTOK_OK, test_refresh(f, legacy, NULL, &tokens));
        test_keep(&held, tokens);
        for (uint32_t i = 0; i < used; i++)
            test_rotate(f, &held, NULL);
        test_advance_s(f, 60);
        test_forget_events(f);
        (void)test_many_ask(m, held.token);
        (void)test_many_ask(m, legacy);
        test_many_refresh(m);
        (void)test_many_answered(m, 0, OTOK_OUTCOME_ADVANCED);
        test_many_refused(m, 1, OTOK_E_TOKEN_REUSED);
        ck_assert_uint_eq(test_count_events(f, OTOK_EVENT_REFRESHED), 1);
        ck_assert_uint_eq(test_count_events(f, OTOK_EVENT_REUSE), 1);
        test_many_close(m);
        test_close(f);
    }
}
END_TEST

static void rename_it(void *arg)
{
    plot *p = arg;
    otok_session_change change;
    otok_session_change_init(&change, sizeof change);
    change.session_id = p->whom->session_id;
    change.label = "renamed";
    test_assert_code(OTOK_OK, otok_session_update(p->f->service, &change, NULL));
}

/* T3: one that has lost a race and starts again is still before those behind it. */
START_TEST(an_old_token_that_starts_again_keeps_its_turn)
{
    test_watch watch;
    test_fixture *f = open_with(_i, 0);
    test_watch_fixture(&watch, f);
    test_held *held = test_many_hold(f, 1), old = *held;
    plot p = {.f = f, .whom = held};
    test_many *m = test_many_open(f);
    test_rotate(f, held, NULL);
    test_rotate(f, held, NULL);
    test_advance_s(f, 60);
    (void)test_many_ask(m, old.token);
    (void)test_many_ask(m, held->token);
    test_watch_step_in(&watch, 1, TEST_CALL_COMMIT, rename_it, &p);
    test_many_refresh(m);
    ck_assert(watch.reached);
    test_many_refused(m, 0, OTOK_E_TOKEN_REUSED);
    test_many_refused(m, 1, OTOK_E_TOKEN_UNKNOWN);
    free(held);
    test_many_close(m);
    test_close(f);
}
END_TEST

static void add_tests(TCase *tc)
{
    const TTest *const on_both[] = {one_token_many_times_moves_its_session_by_one_generation,
                                    retries_over_the_limit_are_refused_one_by_one,
                                    tokens_that_come_twice_are_answered_twice_alike,
                                    an_old_token_ends_its_session_in_either_order,
                                    an_adopted_token_takes_its_turn,
                                    an_old_token_that_starts_again_keeps_its_turn,
                                    what_the_host_says_to_one_item_is_of_that_alone,
                                    a_session_that_a_callback_revokes_does_not_come_back,
                                    a_session_that_a_callback_refreshes_moves_by_one_generation};
    test_add_on_both(tc, on_both, sizeof on_both / sizeof *on_both);
}

int main(void)
{
    return test_main("refresh_many_meets", add_tests);
}
