/*
 * check_cap_races.c - I4 under races: at no moment does a subject have more sessions with a client than the policy allows, however
 * many threads, nodes and processes issue at once.
 *
 * SPDX-License-Identifier: MIT
 */
#include "support/ask.h"
#include "support/crew.h"
#include "support/node.h"

#include <sched.h>
#include <stdlib.h>
#include <string.h>

enum { ISSUERS = 8, LIMIT = 3, KEPT = 4 };

/* What forked processes share too. */
typedef struct flood_state {
    int32_t at_limit;
    size_t each;
    size_t running;           /* atomic: issuers that have not ended */
    uint64_t most;            /* that the watcher has seen at one moment */
    uint64_t issued, refused; /* atomic, these three */
    uint64_t revoked;
    int rc; /* of what must not fail */
} flood_state;

typedef struct runner {
    flood_state *flood;
    test_fixture *nodes[ISSUERS];
} runner;

static void note(flood_state *flood, int rc)
{
    if (rc != OTOK_OK)
        __atomic_store_n(&flood->rc, rc, __ATOMIC_SEQ_CST);
}

/* Every session is live here, so what the index holds is what there is at that moment: one snapshot. */
static void watch(flood_state *flood, test_fixture *f)
{
    otok_filter filter = test_filter("alice", "phone", NULL);
    while (__atomic_load_n(&flood->running, __ATOMIC_SEQ_CST) != 0) {
        uint64_t n = 0;
        note(flood, otok_count(f->service, &filter, &n, NULL));
        flood->most = n > flood->most ? n : flood->most;
        (void)sched_yield();
    }
}

static int issue(test_fixture *f, test_held *held)
{
    otok_tokens *tokens = NULL;
    otok_grant grant = test_grant(NULL, NULL, "offline_access");
    int rc;
    do
        rc = otok_issue(f->service, &grant, &tokens, NULL);
    while (rc == OTOK_E_CONFLICT); /* "try again" */
    if (rc == OTOK_OK)
        test_keep(held, tokens);
    return rc;
}

/* Issues, refreshes what it has, and now and then revokes one, so that there is room where the policy refuses. */
static void flow(flood_state *flood, test_fixture *f)
{
    test_held held[KEPT] = {0};
    for (size_t n = 0; n < flood->each; n++) {
        test_held *mine = &held[n % KEPT];
        if (mine->session_id[0] != '\0' && n % 3 == 0) {
            int rc = otok_revoke_session(f->service, mine->session_id, NULL);
            __atomic_add_fetch(&flood->revoked, rc == OTOK_OK, __ATOMIC_SEQ_CST);
            note(flood, rc == OTOK_E_NOT_FOUND || rc == OTOK_E_CONFLICT ? OTOK_OK : rc);
        } else if (mine->session_id[0] != '\0') {
            int rc = test_refresh_held(f, mine, NULL);
            note(flood, rc == OTOK_E_TOKEN_UNKNOWN || rc == OTOK_E_CONFLICT ? OTOK_OK : rc);
        }
        mine->session_id[0] = '\0';
        int rc = issue(f, mine);
        __atomic_add_fetch(&flood->issued, rc == OTOK_OK, __ATOMIC_SEQ_CST);
        __atomic_add_fetch(&flood->refused, rc == OTOK_E_LIMIT, __ATOMIC_SEQ_CST);
        note(flood, rc == OTOK_E_LIMIT && flood->at_limit == OTOK_AT_LIMIT_REFUSE ? OTOK_OK : rc);
    }
    __atomic_sub_fetch(&flood->running, 1, __ATOMIC_SEQ_CST);
}

static void begin(flood_state *flood, int32_t at_limit, size_t issuers, size_t each)
{
    memset(flood, 0, sizeof *flood);
    flood->at_limit = at_limit;
    flood->running = issuers;
    flood->each = each;
}

static test_fixture *open_limited(int engine, int32_t at_limit)
{
    test_fixture *f = test_open(engine);
    f->policy.session_limit = LIMIT;
    f->policy.at_session_limit = at_limit;
    f->policy.retry_window_s = 1;
    test_plain_policy(f);
    return f;
}

static void expect_kept(const flood_state *flood, test_fixture *f, uint64_t all)
{
    otok_filter filter = test_filter("alice", "phone", NULL);
    test_assert_code(OTOK_OK, flood->rc);
    ck_assert_msg(flood->most <= LIMIT, "%llu at one moment", (unsigned long long)flood->most);
    ck_assert_uint_eq(flood->issued + flood->refused, all);
    uint64_t left = test_count_live(f, &filter);
    ck_assert_uint_le(left, LIMIT);
    if (flood->at_limit == OTOK_AT_LIMIT_EVICT)
        ck_assert_uint_eq(flood->refused, 0);
    else
        ck_assert_uint_eq(flood->issued, flood->revoked + left); /* nobody was evicted */
}

static void race_of_threads(void *arg, size_t i)
{
    runner *run = arg;
    if (i == ISSUERS)
        watch(run->flood, run->nodes[0]);
    else
        flow(run->flood, run->nodes[i]);
}

static void race(int engine, int32_t at_limit, size_t each)
{
    flood_state flood;
    runner run = {.flood = &flood};
    test_fixture *f = open_limited(engine, at_limit);
    size_t evicted = 0, revoked = 0;
    for (size_t i = 0; i < ISSUERS; i++) { /* four nodes */
        run.nodes[i] = i % 4 != 0 ? test_open_node(f, NULL) : f;
        test_set_now_us(run.nodes[i], TEST_START_US + (int64_t)(i % 4) * OTOK_US_PER_S);
    }
    begin(&flood, at_limit, ISSUERS, each);
    test_threads(ISSUERS + 1, race_of_threads, &run);
    expect_kept(&flood, f, ISSUERS * each);
    for (size_t i = 0; i < ISSUERS; i++) {
        if (i % 4 == 0 && i != 0)
            continue;
        evicted += test_count_events(run.nodes[i], OTOK_EVENT_EVICTED);
        revoked += test_count_events(run.nodes[i], OTOK_EVENT_REVOKED);
    }
    otok_filter filter = test_filter("alice", "phone", NULL);
    ck_assert_uint_eq(revoked, flood.revoked);
    ck_assert_uint_eq(flood.issued, evicted + revoked + test_count(f, &filter)); /* each has ended once */
    for (size_t i = 0; i < ISSUERS; i++) {
        if (i % 4 != 0)
            test_close(run.nodes[i]);
    }
    test_close(f);
}

/* I4 */
START_TEST(limit_holds_at_every_moment_while_threads_issue_in_memory)
{
    race(TEST_MEMORY, _i, 60);
}
END_TEST

/* I4 */
START_TEST(limit_holds_at_every_moment_while_threads_issue_on_lmdb)
{
    race(TEST_LMDB, _i, 15);
}
END_TEST

static const test_fixture *parent;
enum { PROCESSES = 4 };

static void race_of_processes(void *arg, size_t i)
{
    otok_error err;
    test_fixture f = *parent;
    f.service = NULL;
    f.callbacks.event = NULL;
    int rc = otok_store_open_lmdb(f.folder, NULL, &f.store, &err);
    if (rc != OTOK_OK)
        test_leave(err.message, rc);
    test_reopen_service(&f);
    if (i == PROCESSES)
        watch(arg, &f);
    else
        flow(arg, &f);
    otok_service_close(f.service);
    otok_store_close(f.store);
}

/* I4, S4 */
START_TEST(limit_holds_at_every_moment_while_processes_issue)
{
    flood_state *flood = test_shared(sizeof *flood);
    test_fixture *f = open_limited(TEST_LMDB, _i);
    begin(flood, _i, PROCESSES, 20);
    parent = f;
    test_processes(PROCESSES + 1, race_of_processes, flood);
    expect_kept(flood, f, PROCESSES * 20);
    test_unshare(flood, sizeof *flood);
    test_close(f);
}
END_TEST

static void add_tests(TCase *tcase)
{
    const int first = OTOK_AT_LIMIT_EVICT, end = OTOK_AT_LIMIT_REFUSE + 1;
    tcase_add_loop_test(tcase, limit_holds_at_every_moment_while_threads_issue_in_memory, first, end);
    tcase_add_loop_test(tcase, limit_holds_at_every_moment_while_threads_issue_on_lmdb, first, end);
    tcase_add_loop_test(tcase, limit_holds_at_every_moment_while_processes_issue, first, end);
}

int main(void)
{
    return test_main("cap_races", add_tests);
}
