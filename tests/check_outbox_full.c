/*
 * check_outbox_full.c - E2: an outbox that is full never stands in the way, and leaves a marker; one that is read while others
 * write, or whose process is killed, loses nothing.
 *
 * SPDX-License-Identifier: MIT
 */
#include "support/ask.h"
#include "support/crew.h"
#include "support/node.h"
#include "support/watch.h"

#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

/* ----------------------------------------------------------------------------------------------------------- helpers */

static int open_outbox(test_fixture *f, const char *realm, uint64_t limit)
{
    otok_config config;
    otok_service_close(f->service);
    f->service = NULL;
    otok_config_init(&config, sizeof config);
    config.issuer = TEST_ISSUER;
    config.realm = realm;
    config.policy = &f->policy;
    config.callbacks = &f->callbacks;
    config.user = f;
    config.outbox_limit = limit;
    return otok_service_open(&config, f->store, f->keyring, &f->service, NULL);
}

static test_fixture *open_box(int engine, uint64_t limit)
{
    test_fixture *f = test_open(engine);
    f->policy.access_token = OTOK_OFF;
    test_assert_code(OTOK_OK, open_outbox(f, NULL, limit));
    return f;
}

static otok_outbox_batch *read_batch(test_fixture *f, uint32_t limit)
{
    otok_outbox_batch *batch = NULL;
    test_assert_code(OTOK_OK, otok_outbox_read(f->service, limit, &batch, NULL));
    return batch;
}

/* What is in the outbox. */
typedef struct content {
    size_t events; /* but for overflows */
    size_t overflows;
    char overflow_id[64];
} content;

static void look_at(const otok_outbox_batch *batch, content *c)
{
    *c = (content){.events = batch->count};
    for (size_t i = 0; i < batch->count; i++) {
        if (batch->events[i]->type != OTOK_EVENT_OUTBOX_OVERFLOW)
            continue;
        c->overflows++;
        (void)snprintf(c->overflow_id, sizeof c->overflow_id, "%s", batch->events[i]->event_id);
    }
    c->events -= c->overflows;
}

static content look(test_fixture *f, bool acknowledge)
{
    content c;
    otok_outbox_batch *batch = read_batch(f, 1000);
    look_at(batch, &c);
    if (acknowledge)
        test_assert_code(OTOK_OK, otok_outbox_acknowledge(f->service, batch, NULL));
    otok_outbox_batch_free(batch);
    return c;
}

static void expect_content(test_fixture *f, size_t events, size_t overflows)
{
    content c = look(f, false);
    ck_assert_uint_eq(c.events, events);
    ck_assert_uint_eq(c.overflows, overflows);
}

static uint64_t overflowed(test_fixture *f)
{
    otok_stats stats;
    otok_stats_init(&stats, sizeof stats);
    test_assert_code(OTOK_OK, otok_stats_get(f->service, &stats, NULL));
    return stats.outbox_overflows;
}

/* ---------------------------------------------------------------------------------------------------------------- full */

enum { LIMIT = 5 };

static test_fixture *open_full(int engine, test_held *held)
{
    test_fixture *f = open_box(engine, LIMIT);
    for (int i = 0; i < LIMIT; i++)
        held[i] = test_hold(f, NULL, NULL);
    expect_content(f, LIMIT, 0);
    return f;
}

/* E2: "an overflow leaves a marker and never blocks a revocation", nor anything else. */
START_TEST(full_outbox_stands_in_nobodys_way)
{
    otok_error err;
    test_held held[LIMIT];
    test_fixture *f = open_full(_i, held);
    test_held late = test_hold(f, NULL, NULL);
    test_rotate(f, &late, NULL);
    test_rotate(f, &held[0], NULL);
    test_assert_code(OTOK_OK, test_revoke(f, held[0].token, NULL));
    test_assert_code(OTOK_OK, otok_revoke_session(f->service, held[1].session_id, &err));
    ck_assert(!test_has_session(f, held[0].session_id));
    ck_assert(!test_has_session(f, held[1].session_id));
    test_assert_code(OTOK_OK, otok_consent_put(f->service, "alice", "phone", "openid", &err));
    test_assert_code(OTOK_OK, otok_consent_revoke(f->service, "alice", "phone", NULL, &err));
    ck_assert_int_ne(test_refresh_code(f, late.token, NULL), OTOK_OK);
    expect_content(f, LIMIT, 1);
    ck_assert_uint_ge(overflowed(f), 7);
    ck_assert_uint_eq(test_count_events(f, OTOK_EVENT_OUTBOX_OVERFLOW), 0); /* "in the outbox only" */
    test_close(f);
}
END_TEST

/* E2: the callback is told all the same, with the id of no event. */
START_TEST(what_is_left_out_is_told_without_an_id)
{
    test_held held[LIMIT];
    test_fixture *f = open_full(_i, held);
    ck_assert_ptr_nonnull(f->events[0].event.event_id);
    test_forget_events(f);
    (void)test_hold(f, NULL, NULL);
    ck_assert_uint_eq(f->nevents, 1);
    ck_assert_ptr_null(f->events[0].event.event_id);
    ck_assert_uint_eq(overflowed(f), 1);
    test_close(f);
}
END_TEST

/* V2 E2: a revocation of many is as whole as ever: exact, and each one is told. */
START_TEST(full_outbox_does_not_shorten_a_revocation)
{
    enum { MANY = 300 };
    otok_error err;
    uint64_t revoked = 0;
    otok_filter filter = test_filter("alice", NULL, NULL);
    test_fixture *f = open_box(_i, MANY + LIMIT);
    for (int i = 0; i < MANY; i++)
        (void)test_hold(f, NULL, NULL);
    test_assert_code(OTOK_OK, otok_revoke_matching(f->service, &filter, &revoked, &err));
    ck_assert_uint_eq(revoked, MANY);
    ck_assert_uint_eq(test_count(f, &filter), 0);
    ck_assert_uint_eq(test_count_reasons(f, OTOK_EVENT_REVOKED, OTOK_REVOKED_BY_FILTER, NULL), MANY);
    expect_content(f, MANY + LIMIT, 1);
    test_close(f);
}
END_TEST

/* L6 E2: nor a sweep. */
START_TEST(full_outbox_does_not_hold_up_the_sweeper)
{
    enum { MANY = 200 };
    otok_filter filter = test_filter("alice", NULL, NULL);
    test_fixture *f = open_box(_i, LIMIT);
    for (int i = 0; i < MANY; i++)
        (void)test_hold(f, NULL, NULL);
    (void)look(f, true); /* the marker goes too */
    test_advance_s(f, 31 * (int64_t)TEST_DAY_S);
    otok_sweep_result sum = test_sweep_out(f);
    ck_assert_uint_eq(sum.expired, MANY);
    ck_assert_uint_eq(test_count(f, &filter), 0);
    ck_assert_uint_eq(test_count_events(f, OTOK_EVENT_EXPIRED), MANY);
    expect_content(f, LIMIT, 1);
    test_close(f);
}
END_TEST

/* E2: one marker until it is acknowledged; then what is missed makes one of its own, another event with another id. */
START_TEST(overflow_after_an_acknowledgement_is_another_event)
{
    test_held held[LIMIT];
    char first[64];
    test_fixture *f = open_full(_i, held);
    (void)test_hold(f, NULL, NULL);
    content c = look(f, false);
    (void)snprintf(first, sizeof first, "%s", c.overflow_id);
    (void)test_hold(f, NULL, NULL);
    c = look(f, true);
    ck_assert_uint_eq(c.overflows, 1);
    ck_assert_str_eq(c.overflow_id, first);
    expect_content(f, 0, 0);
    for (int i = 0; i < LIMIT; i++)
        (void)test_hold(f, NULL, NULL);
    expect_content(f, LIMIT, 0);
    (void)test_hold(f, NULL, NULL);
    c = look(f, false);
    ck_assert_uint_eq(c.overflows, 1);
    ck_assert_msg(strcmp(c.overflow_id, first) != 0, "two events have the id %s", first);
    test_close(f);
}
END_TEST

/* E2: a marker has the members of an event. */
START_TEST(marker_of_an_overflow_is_an_event_of_its_realm)
{
    test_held held[LIMIT];
    test_fixture *f = open_full(_i, held);
    test_advance_s(f, 60);
    (void)test_hold(f, NULL, NULL);
    otok_outbox_batch *batch = read_batch(f, 1000);
    const otok_event *last = batch->events[batch->count - 1];
    ck_assert_int_eq(last->type, OTOK_EVENT_OUTBOX_OVERFLOW); /* it is the newest */
    ck_assert_str_eq(last->realm, TEST_ISSUER);
    ck_assert_int_eq(last->time_us, f->now_us);
    ck_assert_ptr_nonnull(last->event_id);
    ck_assert_ptr_null(last->session_id);
    ck_assert_ptr_null(last->subject);
    ck_assert_ptr_null(last->client_id);
    otok_outbox_batch_free(batch);
    test_close(f);
}
END_TEST

/* E2: it outlives a restart, and is of one realm. */
START_TEST(marker_outlives_a_restart_and_stays_in_its_realm)
{
    test_held held[LIMIT];
    test_fixture *f = open_full(_i, held);
    (void)test_hold(f, NULL, NULL);
    test_assert_code(OTOK_OK, open_outbox(f, "another", LIMIT));
    expect_content(f, 0, 0);
    (void)test_hold(f, NULL, NULL);
    expect_content(f, 1, 0);
    test_restart(f);
    test_assert_code(OTOK_OK, open_outbox(f, NULL, LIMIT));
    expect_content(f, LIMIT, 1);
    test_close(f);
}
END_TEST

/* E2: the reader may acknowledge the marker before the rest: what is missed after that is marked anew. */
START_TEST(commit_after_the_marker_was_acknowledged_marks_again)
{
    test_held held[LIMIT];
    test_fixture *f = open_full(_i, held);
    (void)test_hold(f, NULL, NULL);
    otok_outbox_batch *all = read_batch(f, 1000);
    (void)test_hold(f, NULL, NULL); /* missed: the marker that was read speaks for it */
    test_assert_code(OTOK_OK, otok_outbox_acknowledge(f->service, all, NULL));
    otok_outbox_batch_free(all);
    expect_content(f, 0, 0);
    for (int i = 0; i < LIMIT + 1; i++)
        (void)test_hold(f, NULL, NULL);
    expect_content(f, LIMIT, 1);
    test_close(f);
}
END_TEST

static void acknowledge_all(void *node)
{
    (void)look(node, true);
}

/* E2: the marker goes between the moment when a commit sees it and the moment when it relies on it. */
START_TEST(marker_that_goes_under_a_commit_is_missed)
{
    test_held held[LIMIT];
    test_watch watch;
    test_fixture *f = open_full(_i, held), *node = test_open_node(f, NULL);
    test_assert_code(OTOK_OK, open_outbox(node, NULL, LIMIT));
    test_watch_fixture(&watch, f);
    test_assert_code(OTOK_OK, open_outbox(f, NULL, LIMIT));
    (void)test_hold(f, NULL, NULL);
    expect_content(f, LIMIT, 1);
    test_advance_s(f, 60);
    test_watch_step_in(&watch, 1, TEST_CALL_COMMIT, acknowledge_all, node);
    test_assert_code(OTOK_OK, test_refresh_held(f, &held[0], NULL));
    ck_assert(watch.reached);
    content c = look(f, false);
    ck_assert_msg(c.events + c.overflows == 1, "%zu events and %zu overflows", c.events, c.overflows);
    test_close(f);
    test_close(node);
}
END_TEST

/* E2 V5: and a revocation comes through all the same. */
START_TEST(marker_that_goes_under_a_revocation_does_not_stop_it)
{
    test_held held[LIMIT];
    test_watch watch;
    test_fixture *f = open_full(_i, held), *node = test_open_node(f, NULL);
    test_assert_code(OTOK_OK, open_outbox(node, NULL, LIMIT));
    test_watch_fixture(&watch, f);
    test_assert_code(OTOK_OK, open_outbox(f, NULL, LIMIT));
    (void)test_hold(f, NULL, NULL);
    test_watch_step_in(&watch, 1, TEST_CALL_COMMIT, acknowledge_all, node);
    test_assert_code(OTOK_OK, otok_revoke_session(f->service, held[0].session_id, NULL));
    ck_assert(watch.reached);
    ck_assert(!test_has_session(f, held[0].session_id));
    content c = look(f, false);
    ck_assert_msg(c.events + c.overflows == 1, "%zu events and %zu overflows", c.events, c.overflows);
    test_close(f);
    test_close(node);
}
END_TEST

typedef struct churn {
    test_watch watch;
    test_fixture *node;
    int times;
} churn;

/* A reader who takes everything, and others who fill it again, before each commit. */
static void churn_marker(void *arg)
{
    churn *c = arg;
    acknowledge_all(c->node);
    for (int i = 0; i < LIMIT + 1; i++)
        (void)test_hold(c->node, "bob", NULL);
    if (++c->times < 50)
        test_watch_step_in(&c->watch, 1, TEST_CALL_COMMIT, churn_marker, c);
}

/* E2: "never blocks a revocation", not even where the marker is another one each time. */
START_TEST(marker_that_never_stays_does_not_block_a_revocation)
{
    churn c = {.times = 0};
    test_held held[LIMIT];
    test_fixture *f = open_full(_i, held);
    c.node = test_open_node(f, NULL);
    test_assert_code(OTOK_OK, open_outbox(c.node, NULL, LIMIT));
    test_watch_fixture(&c.watch, f);
    test_assert_code(OTOK_OK, open_outbox(f, NULL, LIMIT));
    (void)test_hold(f, NULL, NULL);
    test_watch_step_in(&c.watch, 1, TEST_CALL_COMMIT, churn_marker, &c);
    test_assert_code(OTOK_OK, otok_revoke_session(f->service, held[0].session_id, NULL));
    ck_assert(!test_has_session(f, held[0].session_id));
    test_close(f);
    test_close(c.node);
}
END_TEST

/* -------------------------------------------------------------------------------------------------------- many at once */

enum { WRITERS = 8, TURNS = 60 };

typedef struct crowd {
    test_fixture *f;
    int failed;  /* atomic: calls that were not OTOK_OK */
    int first;   /* the code of one */
    int writing; /* atomic: who still writes */
    test_held held[WRITERS];
    test_id ids[WRITERS];              /* of their sessions: `held` is its thread's alone */
    unsigned seen[WRITERS][TURNS + 1]; /* of each rotation: how often it was read */
    char (*acknowledged)[64];          /* ids */
    size_t nacknowledged;
    bool twice; /* one came after its acknowledgement */
} crowd;

static void note_failure(crowd *c, int rc)
{
    if (rc == OTOK_OK)
        return;
    __atomic_store_n(&c->first, rc, __ATOMIC_SEQ_CST);
    __atomic_add_fetch(&c->failed, 1, __ATOMIC_SEQ_CST);
}

static void issue_turns(void *arg, size_t i)
{
    crowd *c = arg;
    (void)i;
    for (int turn = 0; turn < TURNS; turn++) {
        otok_error err;
        otok_tokens *tokens = NULL;
        otok_grant grant = test_grant(NULL, NULL, "offline_access");
        note_failure(c, otok_issue(c->f->service, &grant, &tokens, &err));
        otok_tokens_free(tokens);
    }
}

/* E2: at the limit among threads: nobody fails, one marker, and no more in it than the limit and who came at that moment. */
START_TEST(threads_fill_the_outbox_and_leave_one_marker)
{
    enum { ROOM_FOR = WRITERS * TURNS / 2 };
    crowd c = {.f = open_box(_i, ROOM_FOR)};
    otok_filter filter = test_filter("alice", NULL, NULL);
    test_threads(WRITERS, issue_turns, &c);
    ck_assert_msg(c.failed == 0, "%d failed: %s", c.failed, otok_error_name(c.first));
    ck_assert_uint_eq(test_count_live(c.f, &filter), WRITERS * TURNS);
    content box = look(c.f, false);
    ck_assert_uint_eq(box.overflows, 1);
    ck_assert_uint_ge(box.events, ROOM_FOR);
    ck_assert_uint_lt(box.events, ROOM_FOR + WRITERS);
    ck_assert_uint_eq(box.events + overflowed(c.f), WRITERS * TURNS);
    test_close(c.f);
}
END_TEST

static void note_events(crowd *c, const otok_outbox_batch *batch)
{
    for (size_t i = 0; i < batch->count; i++) {
        const otok_event *event = batch->events[i];
        for (size_t k = 0; k < c->nacknowledged; k++)
            c->twice |= strcmp(c->acknowledged[k], event->event_id) == 0;
        for (size_t k = 0; event->type == OTOK_EVENT_REFRESHED && k < WRITERS; k++)
            c->seen[k][event->generation] += strcmp(c->ids[k], event->session_id) == 0;
    }
}

static void note_acknowledged(crowd *c, const otok_outbox_batch *batch)
{
    for (size_t i = 0; i < batch->count; i++)
        (void)snprintf(c->acknowledged[c->nacknowledged++], sizeof *c->acknowledged, "%s", batch->events[i]->event_id);
}

static void read_until_all_is_written(crowd *c)
{
    for (bool last = false, more = true; more || !last;) {
        otok_outbox_batch *batch = NULL;
        last = __atomic_load_n(&c->writing, __ATOMIC_SEQ_CST) == 0;
        note_failure(c, otok_outbox_read(c->f->service, 7, &batch, NULL));
        if (batch == NULL)
            return;
        more = batch->count != 0;
        note_events(c, batch);
        note_failure(c, otok_outbox_acknowledge(c->f->service, batch, NULL));
        note_acknowledged(c, batch);
        otok_outbox_batch_free(batch);
        (void)sched_yield();
    }
}

static void rotate_or_read(void *arg, size_t i)
{
    crowd *c = arg;
    if (i == WRITERS) {
        read_until_all_is_written(c);
        return;
    }
    for (int turn = 0; turn < TURNS; turn++) {
        test_advance_s(c->f, 60);
        int rc = OTOK_E_CONFLICT; /* a client tries again */
        while (rc == OTOK_E_CONFLICT)
            rc = test_refresh_held(c->f, &c->held[i], NULL);
        note_failure(c, rc);
    }
    __atomic_sub_fetch(&c->writing, 1, __ATOMIC_SEQ_CST);
}

/* E2: "at least once, none lost", and what is acknowledged does not come again. */
START_TEST(reader_among_rotating_threads_misses_nothing)
{
    crowd *c = calloc(1, sizeof *c);
    c->f = open_box(_i, 100000);
    c->writing = WRITERS;
    c->acknowledged = calloc(2 * (size_t)WRITERS * (TURNS + 1), sizeof *c->acknowledged);
    for (size_t i = 0; i < WRITERS; i++) {
        c->held[i] = test_hold(c->f, NULL, NULL);
        memcpy(c->ids[i], c->held[i].session_id, sizeof c->ids[i]);
    }
    test_threads(WRITERS + 1, rotate_or_read, c);
    ck_assert_msg(c->failed == 0, "%d failed: %s", c->failed, otok_error_name(c->first));
    ck_assert(!c->twice);
    for (size_t i = 0; i < WRITERS; i++) {
        for (size_t turn = 1; turn <= TURNS; turn++)
            ck_assert_msg(c->seen[i][turn] == 1, "rotation %zu of session %zu was read %u times", turn, i,
                          c->seen[i][turn]);
    }
    ck_assert_uint_eq(c->nacknowledged, WRITERS * (TURNS + 1));
    expect_content(c->f, 0, 0);
    free(c->acknowledged);
    test_close(c->f);
    free(c);
}
END_TEST

/* What the reader of a small outbox knows of each session: by events, and by comparing where some are missing. */
typedef struct learner {
    crowd c;
    uint32_t known[WRITERS];
    uint64_t compared;
} learner;

static uint32_t generation_of(test_fixture *f, const char *session_id)
{
    otok_session *session = NULL;
    uint32_t generation = 0;
    if (otok_session_get(f->service, session_id, &session, NULL) == OTOK_OK)
        generation = session->generation;
    otok_session_free(session);
    return generation;
}

static void compare_all(learner *l)
{
    for (size_t k = 0; k < WRITERS; k++)
        l->known[k] = generation_of(l->c.f, l->c.ids[k]);
    l->compared++;
}

static void learn(learner *l, const otok_outbox_batch *batch)
{
    for (size_t i = 0; i < batch->count; i++) {
        const otok_event *event = batch->events[i];
        for (size_t k = 0; event->type == OTOK_EVENT_REFRESHED && k < WRITERS; k++) {
            if (strcmp(l->c.ids[k], event->session_id) == 0 && l->known[k] < event->generation)
                l->known[k] = event->generation;
        }
    }
}

/* As the header says: notes that something is missing, acknowledges, and then compares. */
static void learn_until_all_is_written(learner *l)
{
    for (bool last = false, more = true; more || !last;) {
        content in_it = {0};
        otok_outbox_batch *batch = NULL;
        last = __atomic_load_n(&l->c.writing, __ATOMIC_SEQ_CST) == 0;
        note_failure(&l->c, otok_outbox_read(l->c.f->service, 0, &batch, NULL));
        if (batch == NULL)
            return;
        learn(l, batch);
        look_at(batch, &in_it);
        more = batch->count != 0;
        note_failure(&l->c, otok_outbox_acknowledge(l->c.f->service, batch, NULL));
        otok_outbox_batch_free(batch);
        if (in_it.overflows != 0)
            compare_all(l);
        for (int k = 0; k < 20; k++) /* slower than they write */
            (void)sched_yield();
    }
}

static void rotate_or_learn(void *arg, size_t i)
{
    learner *l = arg;
    if (i < WRITERS)
        rotate_or_read(&l->c, i);
    else
        learn_until_all_is_written(l);
}

/* E2: a marker that goes at the moment when somebody relies on it: whoever compares after acknowledging knows everything. */
START_TEST(reader_of_a_full_outbox_knows_everything_in_the_end)
{
    for (int round = 0; round < (_i == TEST_MEMORY ? 20 : 4); round++) {
        learner *l = calloc(1, sizeof *l);
        l->c.f = open_box(_i, LIMIT);
        l->c.writing = WRITERS;
        for (size_t i = 0; i < WRITERS; i++) {
            l->c.held[i] = test_hold(l->c.f, NULL, NULL);
            memcpy(l->c.ids[i], l->c.held[i].session_id, sizeof l->c.ids[i]);
        }
        test_threads(WRITERS + 1, rotate_or_learn, l);
        ck_assert_msg(l->c.failed == 0, "%d failed: %s", l->c.failed, otok_error_name(l->c.first));
        for (size_t i = 0; i < WRITERS; i++) {
            ck_assert_uint_eq(generation_of(l->c.f, l->c.ids[i]), TURNS);
            ck_assert_msg(l->known[i] == TURNS, "session %zu: %u are known of %d, after %llu comparisons", i,
                          l->known[i], TURNS, (unsigned long long)l->compared);
        }
        expect_content(l->c.f, 0, 0);
        test_close(l->c.f);
        free(l);
    }
}
END_TEST

/* -------------------------------------------------------------------------------------------------------------- killed */

enum { SESSIONS = 6, GENERATIONS = 4096, KILLS = 40 };

/* What outlives a worker. */
typedef struct life {
    int64_t now_us;
    struct {
        test_id id;
        char tokens[2][OTOK_TOKEN_CHARS + 1]; /* a kill may tear the one that is being written */
        int latest;                           /* atomic: which of the two is good */
    } clients[SESSIONS];
    uint8_t seen[SESSIONS][GENERATIONS]; /* rotations that the reader noted, before he acknowledged them */
    uint64_t turns;                      /* atomic */
    int failed;
} life;

static void note_rotations(life *l, const otok_outbox_batch *batch)
{
    for (size_t i = 0; i < batch->count; i++) {
        const otok_event *event = batch->events[i];
        for (size_t k = 0; event->type == OTOK_EVENT_REFRESHED && k < SESSIONS; k++) {
            if (strcmp(event->session_id, l->clients[k].id) == 0)
                l->seen[k][event->generation % GENERATIONS] = 1;
        }
    }
}

/* Reads, notes, acknowledges: one batch. */
static int read_some(test_fixture *f, life *l, size_t *count)
{
    otok_outbox_batch *batch = NULL;
    int rc = otok_outbox_read(f->service, 5, &batch, NULL);
    if (rc != OTOK_OK)
        return rc;
    note_rotations(l, batch);
    *count = batch->count;
    rc = otok_outbox_acknowledge(f->service, batch, NULL);
    otok_outbox_batch_free(batch);
    return rc;
}

static void keep_token(life *l, size_t i, const char *token)
{
    int other = 1 - l->clients[i].latest;
    memcpy(l->clients[i].tokens[other], token, OTOK_TOKEN_CHARS + 1);
    __atomic_store_n(&l->clients[i].latest, other, __ATOMIC_SEQ_CST);
}

/* Refreshes with what it was given last: when the answer got lost with the worker before, it gets it again. */
static int refresh_all(test_fixture *f, life *l, int64_t seconds)
{
    int rc = OTOK_OK;
    for (size_t i = 0; rc == OTOK_OK && i < SESSIONS; i++) {
        otok_tokens *tokens = NULL;
        test_advance_s(f, seconds);
        __atomic_store_n(&l->now_us, f->now_us, __ATOMIC_SEQ_CST);
        rc = test_refresh(f, l->clients[i].tokens[l->clients[i].latest], NULL, &tokens);
        if (rc == OTOK_OK)
            keep_token(l, i, tokens->offline_token);
        otok_tokens_free(tokens);
        __atomic_add_fetch(&l->turns, 1, __ATOMIC_SEQ_CST);
    }
    return rc;
}

static void work_until_killed(test_fixture *f, life *l)
{
    size_t n = 0;
    f->store = NULL;
    f->service = NULL;
    test_set_now_us(f, l->now_us);
    int rc = otok_store_open_lmdb(f->folder, NULL, &f->store, NULL);
    if (rc == OTOK_OK)
        rc = open_outbox(f, NULL, 100000);
    if (rc == OTOK_OK)
        rc = refresh_all(f, l, 0);
    while (rc == OTOK_OK) {
        rc = refresh_all(f, l, 60);
        if (rc == OTOK_OK)
            rc = read_some(f, l, &n);
    }
    l->failed = rc;
    _exit(1);
}

static void pause_us(long us)
{
    const struct timespec pause = {0, us * 1000};
    (void)nanosleep(&pause, NULL);
}

/* Kills it somewhere in the middle of a turn after the next few. */
static void kill_a_worker(test_fixture *f, life *l, unsigned round)
{
    uint64_t turns = __atomic_load_n(&l->turns, __ATOMIC_SEQ_CST) + SESSIONS + 1 + round * 7 % 23;
    pid_t pid = fork();
    int status = 0;
    ck_assert_int_ge(pid, 0);
    if (pid == 0)
        work_until_killed(f, l);
    while (__atomic_load_n(&l->turns, __ATOMIC_SEQ_CST) < turns && l->failed == OTOK_OK)
        pause_us(200);
    pause_us((long)(round * 131 % 1700));
    (void)kill(pid, SIGKILL);
    ck_assert_int_eq(waitpid(pid, &status, 0), pid);
    ck_assert_msg(l->failed == OTOK_OK, "the worker: %s", otok_error_name(l->failed));
}

/* Each generation that a session has reached has its event, and none that it has not. */
static void expect_sessions_as_in_outbox(test_fixture *f, const life *l)
{
    for (size_t i = 0; i < SESSIONS; i++) {
        otok_session *session = NULL;
        test_assert_code(OTOK_OK, otok_session_get(f->service, l->clients[i].id, &session, NULL));
        ck_assert_uint_lt(session->generation, GENERATIONS);
        for (uint32_t n = 1; n < GENERATIONS; n++)
            ck_assert_msg((l->seen[i][n] != 0) == (n <= session->generation),
                          "session %zu is at generation %u; rotation %u is %sin the outbox", i, session->generation, n,
                          l->seen[i][n] != 0 ? "" : "not ");
        otok_session_free(session);
    }
}

/* E2: "none lost in a crash": each rotation that is committed has its event, and each event its commit. */
START_TEST(killed_worker_leaves_session_and_outbox_in_agreement)
{
    test_fixture *f = open_box(TEST_LMDB, 100000);
    life *l = test_shared(sizeof *l);
    for (size_t i = 0; i < SESSIONS; i++) {
        test_held held = test_hold(f, NULL, NULL);
        memcpy(l->clients[i].id, held.session_id, sizeof held.session_id);
        keep_token(l, i, held.token);
    }
    l->now_us = f->now_us;
    otok_service_close(f->service);
    otok_store_close(f->store);
    for (unsigned round = 0; round < KILLS; round++) {
        size_t n = 1;
        f->service = NULL;
        kill_a_worker(f, l, round);
        test_assert_code(OTOK_OK, otok_store_open_lmdb(f->folder, NULL, &f->store, NULL));
        test_set_now_us(f, l->now_us);
        test_assert_code(OTOK_OK, open_outbox(f, NULL, 100000));
        while (n != 0)
            test_assert_code(OTOK_OK, read_some(f, l, &n));
        expect_sessions_as_in_outbox(f, l);
        otok_service_close(f->service);
        otok_store_close(f->store);
    }
    f->service = NULL;
    f->store = NULL;
    test_unshare(l, sizeof *l);
    test_close(f);
}
END_TEST

static void add_tests(TCase *tc)
{
    const TTest *const on_both[] = {
        full_outbox_stands_in_nobodys_way,
        what_is_left_out_is_told_without_an_id,
        full_outbox_does_not_shorten_a_revocation,
        full_outbox_does_not_hold_up_the_sweeper,
        overflow_after_an_acknowledgement_is_another_event,
        marker_of_an_overflow_is_an_event_of_its_realm,
        marker_outlives_a_restart_and_stays_in_its_realm,
        commit_after_the_marker_was_acknowledged_marks_again,
        marker_that_goes_under_a_commit_is_missed,
        marker_that_goes_under_a_revocation_does_not_stop_it,
        marker_that_never_stays_does_not_block_a_revocation,
        threads_fill_the_outbox_and_leave_one_marker,
        reader_among_rotating_threads_misses_nothing,
        reader_of_a_full_outbox_knows_everything_in_the_end,
    };
    test_add_on_both(tc, on_both, sizeof on_both / sizeof *on_both);
    tcase_add_test(tc, killed_worker_leaves_session_and_outbox_in_agreement);
}

int main(void)
{
    return test_main("outbox_full", add_tests);
}
