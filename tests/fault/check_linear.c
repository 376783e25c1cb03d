/*
 * check_linear.c - is what concurrent clients are told linearizable?  In short; the long run is linear.c (R6, T2, T3, V1 to
 * V5, L6, Q4).  And the checker itself: it must explain what is right, and nothing else.
 *
 * SPDX-License-Identifier: MIT
 */
#include <stdio.h>
#include <string.h>

#include "support/broken_store.h"
#include "support/fixture.h"
#include "support/linear.h"

enum { SEED = 20260103 };

#ifdef __SANITIZE_THREAD__
const char *__tsan_default_options(void);

/* ThreadSanitizer does not know that a timed lock may be had with EOWNERDEAD, and takes its unlocking for a mistake. */
__attribute__((__visibility__("default"))) const char *__tsan_default_options(void)
{
    return "report_mutex_bugs=0";
}
#endif

/* ------------------------------------------------------------------------------------------------- histories by hand */

typedef struct history {
    linear_rules rules;
    linear_event events[LINEAR_MOST_EVENTS];
    size_t n;
} history;

/* Rotates at each refresh; two retries; reuse ends the session, which was issued from 1 to 2. */
static void begin(history *h)
{
    *h = (history){
        .rules = {LINEAR_NO_LIMIT, 2, 2, 0, 1000, 100, OTOK_REUSE_END_SESSION},
        .events = {{.kind = LINEAR_ISSUE, .invoked = 1, .answered = 2}},
        .n = 1,
    };
}

/* An `answered` of 0: never. */
static linear_event *add(history *h, linear_kind kind, uint32_t invoked, uint32_t answered)
{
    linear_event *event = &h->events[h->n++];
    *event = (linear_event){
        .kind = kind,
        .client = (unsigned)h->n,
        .unknown = answered == 0,
        .invoked = invoked,
        .answered = answered != 0 ? answered : UINT32_MAX,
    };
    return event;
}

static void add_refresh(history *h, uint32_t invoked, uint32_t answered, uint32_t presented, int32_t outcome)
{
    linear_event *event = add(h, LINEAR_REFRESH, invoked, answered);
    event->presented = presented;
    event->outcome = outcome;
    event->generation = presented + (outcome != OTOK_OUTCOME_KEPT);
}

static void add_refusal(history *h, uint32_t invoked, uint32_t answered, uint32_t presented, int32_t code)
{
    linear_event *event = add(h, LINEAR_REFRESH, invoked, answered);
    event->presented = presented;
    event->code = code;
}

static void add_shown(history *h, uint32_t invoked, uint32_t answered, uint32_t generation)
{
    linear_event *event = add(h, LINEAR_LIST, invoked, answered);
    event->shown = true;
    event->generation = generation;
}

static void must_explain(const history *h)
{
    ck_assert(linear_explained(&h->rules, h->events, h->n));
}

/* Without its last event something explains it, with it nothing; and that is how it is told. */
static void must_not_explain(const history *h)
{
    char told[LINEAR_STORY];
    history shorter = *h;
    ck_assert(linear_explained(&h->rules, h->events, h->n - 1));
    ck_assert(!linear_explained(&h->rules, h->events, h->n));
    shorter.n = linear_shorten(&shorter.rules, shorter.events, shorter.n);
    ck_assert(!linear_explained(&shorter.rules, shorter.events, shorter.n));
    ck_assert_uint_le(shorter.n, h->n);
    linear_tell(&shorter.rules, shorter.events, shorter.n, told, sizeof told);
    ck_assert_ptr_nonnull(strstr(told, "client"));
}

START_TEST(one_call_after_another_is_explained)
{
    history h;
    begin(&h);
    add_refresh(&h, 3, 4, 0, OTOK_OUTCOME_ADVANCED);
    add_refresh(&h, 5, 6, 0, OTOK_OUTCOME_RETRIED);
    add_shown(&h, 7, 8, 1);
    add_refresh(&h, 9, 10, 1, OTOK_OUTCOME_ADVANCED);
    add_refusal(&h, 11, 12, 0, OTOK_E_TOKEN_REUSED);
    add_refusal(&h, 13, 14, 2, OTOK_E_TOKEN_UNKNOWN);
    (void)add(&h, LINEAR_LIST, 15, 16);
    add(&h, LINEAR_GET, 17, 18)->code = OTOK_E_NOT_FOUND;
    (void)add(&h, LINEAR_REVOKE_TOKEN, 19, 20);
    add(&h, LINEAR_REVOKE_SESSION, 21, 22)->code = OTOK_E_NOT_FOUND;
    must_explain(&h);
}
END_TEST

START_TEST(calls_at_once_are_explained_in_any_order)
{
    history h;
    begin(&h);
    add_refresh(&h, 3, 8, 0, OTOK_OUTCOME_RETRIED);
    add_refresh(&h, 4, 9, 0, OTOK_OUTCOME_ADVANCED);
    add_shown(&h, 5, 7, 0);
    (void)add(&h, LINEAR_CUTOFF, 10, 15);
    add_refresh(&h, 11, 16, 1, OTOK_OUTCOME_ADVANCED); /* before the cutoff, though it answered behind it */
    add_refusal(&h, 12, 14, 2, OTOK_E_TOKEN_REVOKED);
    must_explain(&h);
}
END_TEST

/* The first list saw nothing yet, though the issue had begun; what ends everybody may have come before it was born. */
START_TEST(a_session_may_be_born_behind_what_would_have_ended_it)
{
    history h;
    begin(&h);
    h.events[0].answered = 8;
    (void)add(&h, LINEAR_CUTOFF, 3, 4);
    (void)add(&h, LINEAR_LIST, 5, 6);
    add_shown(&h, 9, 10, 0);
    must_explain(&h);
    (void)add(&h, LINEAR_CUTOFF, 11, 12);
    add_refusal(&h, 13, 14, 0, OTOK_E_TOKEN_REVOKED);
    must_explain(&h);
    add_shown(&h, 15, 16, 0);
    must_not_explain(&h);
}
END_TEST

START_TEST(a_call_without_an_answer_may_have_happened_or_not)
{
    history h;
    begin(&h);
    add_refresh(&h, 3, 0, 0, OTOK_OUTCOME_ADVANCED);
    (void)add(&h, LINEAR_REVOKE_SESSION, 4, 0);
    add_shown(&h, 5, 6, 0);
    add_refresh(&h, 7, 8, 0, OTOK_OUTCOME_RETRIED); /* the first one has happened */
    add_shown(&h, 9, 10, 1);
    must_explain(&h);
    add_refusal(&h, 11, 12, 1, OTOK_E_TOKEN_UNKNOWN); /* now the second one has, too */
    must_explain(&h);
    add_shown(&h, 13, 14, 1);
    must_not_explain(&h);
}
END_TEST

START_TEST(a_call_without_an_answer_does_not_happen_before_it_began)
{
    history h;
    begin(&h);
    (void)add(&h, LINEAR_REVOKE_SESSION, 5, 0);
    add_refusal(&h, 3, 4, 0, OTOK_E_TOKEN_UNKNOWN);
    must_not_explain(&h);
}
END_TEST

START_TEST(two_rotations_of_one_token_are_found) /* R6, T2 */
{
    history h;
    begin(&h);
    add_refresh(&h, 3, 6, 0, OTOK_OUTCOME_ADVANCED);
    add_refresh(&h, 4, 5, 0, OTOK_OUTCOME_ADVANCED);
    must_not_explain(&h);
}
END_TEST

START_TEST(a_lost_rotation_is_found) /* T2 */
{
    history h;
    begin(&h);
    add_refresh(&h, 3, 4, 0, OTOK_OUTCOME_ADVANCED);
    add_refresh(&h, 5, 6, 1, OTOK_OUTCOME_ADVANCED);
    add_refresh(&h, 7, 8, 2, OTOK_OUTCOME_KEPT);
    must_not_explain(&h);
    h.n--;
    add_shown(&h, 7, 8, 1);
    must_not_explain(&h);
}
END_TEST

START_TEST(a_session_that_comes_back_is_found) /* V5 */
{
    static const linear_kind ends[] = {LINEAR_REVOKE_TOKEN, LINEAR_REVOKE_SESSION, LINEAR_CUTOFF, LINEAR_MATCHING};
    for (size_t i = 0; i < sizeof ends / sizeof ends[0]; i++) {
        history h;
        begin(&h);
        (void)add(&h, ends[i], 3, 5);
        add_refusal(&h, 4, 6, 0, ends[i] <= LINEAR_REVOKE_SESSION ? OTOK_E_TOKEN_UNKNOWN : OTOK_E_TOKEN_REVOKED);
        add_refresh(&h, 7, 8, 0, OTOK_OUTCOME_ADVANCED);
        must_not_explain(&h);
    }
}
END_TEST

START_TEST(a_stale_list_is_found) /* Q4 */
{
    history h;
    begin(&h);
    add_refresh(&h, 3, 4, 0, OTOK_OUTCOME_ADVANCED);
    (void)add(&h, LINEAR_REVOKE_TOKEN, 5, 8);
    add_shown(&h, 6, 10, 1); /* had begun before the revocation was answered */
    must_explain(&h);
    add_shown(&h, 9, 11, 1);
    must_not_explain(&h);
}
END_TEST

START_TEST(a_list_that_misses_a_live_session_is_found) /* Q4 */
{
    history h;
    begin(&h);
    (void)add(&h, LINEAR_LIST, 3, 4);
    must_not_explain(&h);
}
END_TEST

START_TEST(a_reuse_that_ends_nothing_is_found) /* T3 */
{
    history h;
    begin(&h);
    add_refresh(&h, 3, 4, 0, OTOK_OUTCOME_ADVANCED);
    add_refresh(&h, 5, 6, 1, OTOK_OUTCOME_ADVANCED);
    add_refusal(&h, 7, 8, 0, OTOK_E_TOKEN_REUSED);
    add_refresh(&h, 9, 10, 2, OTOK_OUTCOME_ADVANCED);
    must_not_explain(&h);
    h.rules.reuse = OTOK_REUSE_REJECT;
    must_explain(&h);
}
END_TEST

/* Two reuses at once both end the pair; behind that there is nothing to reuse. */
START_TEST(a_reuse_that_ends_the_pair_is_a_cutoff) /* T3 */
{
    history h;
    begin(&h);
    h.rules.reuse = OTOK_REUSE_END_PAIR;
    add_refresh(&h, 3, 4, 0, OTOK_OUTCOME_ADVANCED);
    add_refresh(&h, 5, 6, 1, OTOK_OUTCOME_ADVANCED);
    add_refusal(&h, 7, 11, 0, OTOK_E_TOKEN_REUSED);
    (void)add(&h, LINEAR_CUTOFF, 7, 11);
    add_refusal(&h, 8, 10, 0, OTOK_E_TOKEN_REUSED);
    (void)add(&h, LINEAR_CUTOFF, 8, 10);
    add_refusal(&h, 12, 13, 2, OTOK_E_TOKEN_REVOKED);
    must_explain(&h);
    add_refresh(&h, 14, 15, 2, OTOK_OUTCOME_ADVANCED);
    must_not_explain(&h);
}
END_TEST

START_TEST(a_reuse_that_is_answered_is_found) /* T3 */
{
    history h;
    begin(&h);
    add_refresh(&h, 3, 4, 0, OTOK_OUTCOME_ADVANCED);
    add_refresh(&h, 5, 6, 1, OTOK_OUTCOME_ADVANCED);
    add_refresh(&h, 7, 8, 0, OTOK_OUTCOME_RETRIED);
    must_not_explain(&h);
}
END_TEST

START_TEST(a_retry_too_many_is_found) /* T4 */
{
    history h;
    begin(&h);
    add_refresh(&h, 3, 4, 0, OTOK_OUTCOME_ADVANCED);
    add_refresh(&h, 5, 9, 0, OTOK_OUTCOME_RETRIED);
    add_refresh(&h, 6, 10, 0, OTOK_OUTCOME_RETRIED);
    add_refusal(&h, 7, 11, 0, OTOK_E_TOKEN_RETRIES);
    must_explain(&h);
    add_refresh(&h, 8, 12, 0, OTOK_OUTCOME_RETRIED);
    must_not_explain(&h);
}
END_TEST

START_TEST(a_retry_behind_its_window_is_found) /* T4 */
{
    history h;
    begin(&h);
    h.rules.retry_window_s = h.rules.rotate_after_s = 10;
    add_refresh(&h, 3, 4, 0, OTOK_OUTCOME_KEPT);
    add_refresh(&h, 5, 6, 0, OTOK_OUTCOME_ADVANCED);
    h.events[h.n - 1].now_s = 10;
    add_refresh(&h, 7, 8, 0, OTOK_OUTCOME_RETRIED);
    h.events[h.n - 1].now_s = 22; /* the window, and the skew */
    must_explain(&h);
    h.events[h.n - 1].now_s = 23;
    must_not_explain(&h);
}
END_TEST

START_TEST(a_session_that_nobody_ended_and_is_dead_is_found) /* V5 */
{
    static const int32_t codes[] = {OTOK_E_TOKEN_UNKNOWN, OTOK_E_TOKEN_REVOKED, OTOK_E_TOKEN_EXPIRED, OTOK_E_IO};
    for (size_t i = 0; i < sizeof codes / sizeof codes[0]; i++) {
        history h;
        begin(&h);
        add_refusal(&h, 3, 4, 0, codes[i]);
        must_not_explain(&h);
    }
}
END_TEST

/* What has expired may go with a sweep; what a clock that is behind has refreshed since may not. */
START_TEST(a_sweep_that_ends_a_live_session_is_found) /* L6 */
{
    history h;
    begin(&h);
    add(&h, LINEAR_SWEEP, 3, 6)->now_s = 1100;
    add_refusal(&h, 7, 8, 0, OTOK_E_TOKEN_UNKNOWN);
    must_explain(&h);
    h.events[1].now_s = 1099;
    must_not_explain(&h);

    begin(&h);
    add_refresh(&h, 3, 4, 0, OTOK_OUTCOME_ADVANCED);
    h.events[1].now_s = 1000;
    add(&h, LINEAR_SWEEP, 5, 6)->now_s = 1100;
    add_refusal(&h, 7, 8, 1, OTOK_E_TOKEN_UNKNOWN);
    must_not_explain(&h);
}
END_TEST

/* A long history of which three calls matter. */
START_TEST(a_story_is_short)
{
    history h;
    begin(&h);
    add_refresh(&h, 3, 4, 0, OTOK_OUTCOME_ADVANCED);
    (void)add(&h, LINEAR_REVOKE_SESSION, 5, 6);
    for (uint32_t i = 0; i < 20; i++)
        add_refusal(&h, 10 + 2 * i, 11 + 2 * i, 0, OTOK_E_TOKEN_UNKNOWN);
    add_shown(&h, 60, 61, 1);
    for (uint32_t i = 0; i < 20; i++)
        add_refusal(&h, 70 + 2 * i, 71 + 2 * i, 0, OTOK_E_TOKEN_UNKNOWN);
    h.n = linear_shorten(&h.rules, h.events, h.n);
    ck_assert_uint_le(h.n, 4);
    ck_assert(!linear_explained(&h.rules, h.events, h.n));
}
END_TEST

/* -------------------------------------------------------------------------------------------------------------- stores */

static int open_memory(void *arg, otok_store **out, otok_error *err)
{
    (void)arg;
    return otok_store_open_memory(out, err);
}

static int open_lmdb(void *arg, otok_store **out, otok_error *err)
{
    otok_lmdb_options options;
    otok_lmdb_options_init(&options, sizeof options);
    options.no_sync = 1;
    return otok_store_open_lmdb(arg, &options, out, err);
}

static const linear_store memory = {.name = "memory", .open = open_memory};

static linear_report run_from(const linear_store *store, int form, uint64_t first, uint64_t histories)
{
    linear_report report;
    const linear_plan plan = {.store = store, .form = form, .seed = SEED, .first = first, .histories = histories};
    (void)linear_run(&plan, &report);
    return report;
}

static linear_report run(const linear_store *store, int form, uint64_t histories)
{
    return run_from(store, form, 0, histories);
}

/* What threads and processes meet is the machine's to say: where it was too little there are more histories. */
static void is_linearizable(const linear_store *store, int form, uint64_t histories)
{
    uint64_t runs = 1, most_runs = form == LINEAR_STEPPED ? 1 : 5;
    linear_report report = run(store, form, histories);
    for (; runs < most_runs && report.violations == 0 && linear_too_thin(&report) != NULL; runs++) {
        linear_report more = run_from(store, form, runs * histories, histories);
        linear_add(&report, &more);
    }
    const char *thin = linear_too_thin(&report);
    ck_assert_msg(report.violations == 0, "%llu violations; %s", (unsigned long long)report.violations, report.story);
    ck_assert_msg(thin == NULL, "too few histories with %s", thin);
    ck_assert_uint_eq(report.histories, runs * histories);
}

START_TEST(memory_in_steps_is_linearizable)
{
    is_linearizable(&memory, LINEAR_STEPPED, 300);
}
END_TEST

/* Histories in which a sid's cutoff was removed under a list, and under a sweep, that had read it or what it holds dead. */
START_TEST(what_a_cutoff_held_dead_stays_so_for_calls_that_were_running)
{
    static const uint64_t histories[] = {842, 10425};
    const linear_plan plan = {
        .store = &memory, .form = LINEAR_STEPPED, .seed = 77, .first = histories[_i], .histories = 1};
    linear_report report;
    (void)linear_run(&plan, &report);
    ck_assert_msg(report.violations == 0, "%s", report.story);
    ck_assert_uint_eq(report.histories, 1);
}
END_TEST

START_TEST(memory_with_threads_is_linearizable)
{
    is_linearizable(&memory, LINEAR_THREADS, 100);
}
END_TEST

START_TEST(lmdb_with_threads_is_linearizable)
{
    char *folder = test_new_folder();
    const linear_store lmdb = {.name = "LMDB", .open = open_lmdb, .arg = folder};
    is_linearizable(&lmdb, LINEAR_THREADS, 100);
    test_remove_folder(folder);
}
END_TEST

START_TEST(lmdb_with_processes_that_are_killed_is_linearizable)
{
    char *folder = test_new_folder();
    const linear_store lmdb = {.name = "LMDB", .open = open_lmdb, .arg = folder};
    is_linearizable(&lmdb, LINEAR_PROCESSES, 60);
    test_remove_folder(folder);
}
END_TEST

START_TEST(the_seed_decides_a_run_in_steps)
{
    linear_report a = run(&memory, LINEAR_STEPPED, 40), b = run(&memory, LINEAR_STEPPED, 40);
    ck_assert_uint_eq(a.calls, b.calls);
    ck_assert_uint_eq(a.sessions, b.sessions);
    ck_assert_uint_eq(a.unknown, b.unknown);
    ck_assert_uint_eq(a.with_reuse, b.with_reuse);
    ck_assert_uint_eq(a.with_races, b.with_races);
}
END_TEST

/* ------------------------------------------------------------------------------------------------------- broken stores */

static int open_broken(void *arg, otok_store **out, otok_error *err)
{
    (void)err;
    *out = broken_store_open(NULL, *(const int *)arg, NULL);
    return OTOK_OK;
}

/* Stores that ignore versions, that answer from what was, or that lose something. */
static const char *const faults[] = {
    "HEAD_AT_ANY_VERSION", "HEAD_KEEPS_VERSION", "DELETE_OF_NOTHING_IS_OK", "STALE_FETCH",
    "STALE_LINKS",         "STALE_SCAN",         "SELDOM_HEAD_IS_LOST",
};

static int fault_of(const char *name)
{
    for (int i = 0; i < broken_faults(); i++) {
        if (strcmp(broken_fault(i)->name, name) == 0)
            return i;
    }
    ck_abort_msg("there is no fault %s", name);
}

/* The run itself is tested: over a store that is broken, it must tell. */
START_TEST(a_store_that_is_not_atomic_is_found_out)
{
    int fault = fault_of(faults[_i]);
    const linear_store broken = {.name = "broken", .open = open_broken, .arg = &fault, .one_at_a_time = true};
    linear_report report = run(&broken, LINEAR_STEPPED, 60);
    ck_assert_msg(report.violations != 0, "%s: %llu histories, and nothing was noticed", faults[_i],
                  (unsigned long long)report.histories);
    printf("%s: %s", faults[_i], report.story);
}
END_TEST

static void add_by_hand(TCase *tc)
{
    tcase_add_test(tc, one_call_after_another_is_explained);
    tcase_add_test(tc, calls_at_once_are_explained_in_any_order);
    tcase_add_test(tc, a_session_may_be_born_behind_what_would_have_ended_it);
    tcase_add_test(tc, a_call_without_an_answer_may_have_happened_or_not);
    tcase_add_test(tc, a_call_without_an_answer_does_not_happen_before_it_began);
    tcase_add_test(tc, two_rotations_of_one_token_are_found);
    tcase_add_test(tc, a_lost_rotation_is_found);
    tcase_add_test(tc, a_session_that_comes_back_is_found);
    tcase_add_test(tc, a_stale_list_is_found);
    tcase_add_test(tc, a_list_that_misses_a_live_session_is_found);
    tcase_add_test(tc, a_reuse_that_ends_nothing_is_found);
    tcase_add_test(tc, a_reuse_that_ends_the_pair_is_a_cutoff);
    tcase_add_test(tc, a_reuse_that_is_answered_is_found);
    tcase_add_test(tc, a_retry_too_many_is_found);
    tcase_add_test(tc, a_retry_behind_its_window_is_found);
    tcase_add_test(tc, a_session_that_nobody_ended_and_is_dead_is_found);
    tcase_add_test(tc, a_sweep_that_ends_a_live_session_is_found);
    tcase_add_test(tc, a_story_is_short);
}

static void add_all(TCase *tc)
{
    add_by_hand(tc);
    tcase_add_test(tc, memory_in_steps_is_linearizable);
    tcase_add_loop_test(tc, what_a_cutoff_held_dead_stays_so_for_calls_that_were_running, 0, 2);
    tcase_add_test(tc, memory_with_threads_is_linearizable);
    tcase_add_test(tc, lmdb_with_threads_is_linearizable);
    tcase_add_test(tc, lmdb_with_processes_that_are_killed_is_linearizable);
    tcase_add_test(tc, the_seed_decides_a_run_in_steps);
    tcase_add_loop_test(tc, a_store_that_is_not_atomic_is_found_out, 0, sizeof faults / sizeof faults[0]);
}

int main(void)
{
    return test_main("linear", add_all);
}
