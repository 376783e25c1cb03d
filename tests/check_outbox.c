/*
 * check_outbox.c - E2: the events of what changes state are records of the same commit, read in batches and removed when they are
 * acknowledged.  When it is full, crowded or its process is killed: check_outbox_full.c.
 *
 * SPDX-License-Identifier: MIT
 */
#include "support/ask.h"
#include "support/records.h"
#include "support/story.h"
#include "support/watch.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ----------------------------------------------------------------------------------------------------------- helpers */

enum { ROOM = 512 };

/* A copy of an event that outlives callback and batch. */
typedef struct kept {
    otok_event event;
    char realm[128], session_id[32], subject[256], client_id[256], sid[256], ip[80], user_agent[600], scope[128],
        event_id[64];
} kept;

typedef struct pile {
    kept *events;
    size_t n;
} pile;

static pile told; /* by the callback of the service under test */
static int (*on_event)(test_fixture *f, const otok_event *event);
static void (*note_in_fixture)(void *user, const otok_event *event);

static const char *keep(char *room, size_t size, const char *text)
{
    if (text == NULL)
        return NULL;
    ck_assert_uint_lt((size_t)snprintf(room, size, "%s", text), size);
    return room;
}

static void add(pile *p, const otok_event *event)
{
    ck_assert_uint_lt(p->n, ROOM);
    kept *k = &p->events[p->n++];
    k->event = *event;
    k->event.realm = keep(k->realm, sizeof k->realm, event->realm);
    k->event.session_id = keep(k->session_id, sizeof k->session_id, event->session_id);
    k->event.subject = keep(k->subject, sizeof k->subject, event->subject);
    k->event.client_id = keep(k->client_id, sizeof k->client_id, event->client_id);
    k->event.sid = keep(k->sid, sizeof k->sid, event->sid);
    k->event.ip = keep(k->ip, sizeof k->ip, event->ip);
    k->event.user_agent = keep(k->user_agent, sizeof k->user_agent, event->user_agent);
    k->event.scope = keep(k->scope, sizeof k->scope, event->scope);
    k->event.event_id = keep(k->event_id, sizeof k->event_id, event->event_id);
}

static void tell(void *user, const otok_event *event)
{
    add(&told, event);
    note_in_fixture(user, event);
    if (on_event != NULL)
        on_event(user, event);
}

static void open_outbox(test_fixture *f, const char *realm, uint64_t limit)
{
    otok_config config;
    otok_error err = {0};
    otok_service_close(f->service);
    otok_config_init(&config, sizeof config);
    config.issuer = TEST_ISSUER;
    config.realm = realm;
    config.policy = &f->policy;
    config.callbacks = &f->callbacks;
    config.user = f;
    config.outbox_limit = limit;
    int rc = otok_service_open(&config, f->store, f->keyring, &f->service, &err);
    ck_assert_msg(rc == OTOK_OK, "otok_service_open: %s: %s", otok_error_name(rc), err.message);
}

static test_fixture *open_box(int engine)
{
    test_fixture *f = test_open(engine);
    free(told.events);
    told = (pile){.events = calloc(ROOM, sizeof *told.events)};
    on_event = NULL;
    note_in_fixture = f->callbacks.event;
    f->callbacks.event = tell;
    f->policy.access_token = OTOK_OFF;
    open_outbox(f, NULL, 10000);
    return f;
}

static void close_box(test_fixture *f)
{
    free(told.events);
    told = (pile){0};
    test_end(f);
}

static void forget_told(test_fixture *f)
{
    told.n = 0;
    test_forget_events(f);
}

static otok_outbox_batch *read_batch(test_fixture *f, uint32_t limit)
{
    otok_error err = {0};
    otok_outbox_batch *batch = NULL;
    int rc = otok_outbox_read(f->service, limit, &batch, &err);
    ck_assert_msg(rc == OTOK_OK, "otok_outbox_read: %s: %s", otok_error_name(rc), err.message);
    ck_assert_uint_eq(batch->size, sizeof *batch);
    return batch;
}

static void acknowledge(test_fixture *f, const otok_outbox_batch *batch)
{
    otok_error err = {0};
    int rc = otok_outbox_acknowledge(f->service, batch, &err);
    ck_assert_msg(rc == OTOK_OK, "otok_outbox_acknowledge: %s: %s", otok_error_name(rc), err.message);
}

static size_t left(test_fixture *f)
{
    otok_outbox_batch *batch = read_batch(f, 1000);
    size_t n = batch->count;
    otok_outbox_batch_free(batch);
    return n;
}

/* Reads and acknowledges to the end. */
static void drain(test_fixture *f, uint32_t limit, pile *into)
{
    for (bool more = true; more;) {
        otok_outbox_batch *batch = read_batch(f, limit);
        for (size_t i = 0; i < batch->count; i++)
            add(into, batch->events[i]);
        more = batch->count != 0;
        acknowledge(f, batch);
        otok_outbox_batch_free(batch);
    }
}

static void clear_box(test_fixture *f)
{
    pile away = {.events = calloc(ROOM, sizeof *away.events)};
    drain(f, 0, &away);
    free(away.events);
    forget_told(f);
}

static bool same_text(const char *a, const char *b)
{
    return a == NULL || b == NULL ? a == b : strcmp(a, b) == 0;
}

static void expect_equal(const otok_event *a, const otok_event *b)
{
    ck_assert_uint_eq(b->size, sizeof *b);
    ck_assert_msg(a->type == b->type && a->reason == b->reason, "%d, %d is %d, %d", a->type, a->reason, b->type,
                  b->reason);
    ck_assert_msg(a->time_us == b->time_us, "event %d is of %lld, and of %lld", a->type, (long long)a->time_us,
                  (long long)b->time_us);
    ck_assert_msg(a->generation == b->generation && a->distance == b->distance && a->marks == b->marks &&
                      a->grant_type == b->grant_type && a->cutoff_us == b->cutoff_us && a->kind == b->kind,
                  "a number of event %d differs", a->type);
    ck_assert_msg(same_text(a->realm, b->realm) && same_text(a->session_id, b->session_id) &&
                      same_text(a->subject, b->subject) && same_text(a->client_id, b->client_id) &&
                      same_text(a->sid, b->sid) && same_text(a->ip, b->ip) && same_text(a->user_agent, b->user_agent) &&
                      same_text(a->scope, b->scope) && same_text(a->event_id, b->event_id),
                  "a text of event %d differs", a->type);
}

static const otok_event *with_id(const pile *p, const char *event_id)
{
    const otok_event *found = NULL;
    for (size_t i = 0; i < p->n; i++) {
        if (!same_text(p->events[i].event.event_id, event_id))
            continue;
        ck_assert_msg(found == NULL, "two events have the id %s", event_id);
        found = &p->events[i].event;
    }
    return found;
}

/* What the callback was told with an id is in the outbox, once and the same, and nothing else is. */
static void expect_as_told(const pile *outbox)
{
    size_t with = 0;
    for (size_t i = 0; i < told.n; i++) {
        const otok_event *event = &told.events[i].event;
        if (event->event_id == NULL)
            continue;
        const otok_event *there = with_id(outbox, event->event_id);
        ck_assert_msg(there != NULL, "event %d, reason %d, is not in the outbox", event->type, event->reason);
        expect_equal(event, there);
        with++;
    }
    ck_assert_uint_eq(with, outbox->n);
}

static size_t count(const pile *p, int32_t type, int32_t reason)
{
    size_t n = 0;
    for (size_t i = 0; i < p->n; i++)
        n += p->events[i].event.type == type && p->events[i].event.reason == reason;
    return n;
}

/* -------------------------------------------------------------------------------------------- every change has its event */

static void issue_one(test_fixture *f)
{
    (void)test_hold(f, NULL, NULL);
}

static void rotate_one(test_fixture *f)
{
    test_held held = test_hold(f, NULL, NULL);
    test_rotate(f, &held, NULL);
}

/* An old token comes back. */
static void reuse_one(test_fixture *f)
{
    test_held old = test_hold(f, NULL, NULL), held = old;
    test_rotate(f, &held, NULL);
    test_rotate(f, &held, NULL);
    test_assert_code(OTOK_E_TOKEN_REUSED, test_refresh_code(f, old.token, NULL));
    test_assert_code(f->policy.reuse == OTOK_REUSE_END_PAIR ? OTOK_E_TOKEN_REVOKED : OTOK_E_TOKEN_UNKNOWN,
                     test_refresh_code(f, held.token, NULL));
}

static void reuse_pair(test_fixture *f)
{
    f->policy.reuse = OTOK_REUSE_END_PAIR;
    open_outbox(f, NULL, 10000);
    reuse_one(f);
}

static void revoke_by_token(test_fixture *f)
{
    test_assert_code(OTOK_OK, test_revoke(f, test_hold(f, NULL, NULL).token, NULL));
}

static void revoke_by_session(test_fixture *f)
{
    otok_error err;
    test_assert_code(OTOK_OK, otok_revoke_session(f->service, test_hold(f, NULL, NULL).session_id, &err));
}

static void revoke_by_filter(test_fixture *f)
{
    otok_error err;
    otok_filter filter = test_filter("alice", NULL, NULL);
    issue_one(f);
    test_assert_code(OTOK_OK, otok_revoke_matching(f->service, &filter, NULL, &err));
}

static void sweep_behind_cutoff(test_fixture *f)
{
    otok_error err;
    otok_filter filter = test_filter(NULL, "phone", NULL);
    issue_one(f);
    test_assert_code(OTOK_OK, otok_cutoff_set(f->service, &filter, OTOK_NOW, NULL, &err));
    ck_assert_uint_eq(test_sweep(f, 0).cut_off, 1);
}

static void grant_consent(test_fixture *f)
{
    otok_error err;
    test_assert_code(OTOK_OK, otok_consent_put(f->service, "alice", "phone", "openid offline_access", &err));
}

static void revoke_consent(test_fixture *f)
{
    otok_error err;
    grant_consent(f);
    issue_one(f);
    test_assert_code(OTOK_OK, otok_consent_revoke(f->service, "alice", "phone", NULL, &err));
}

static void log_out(test_fixture *f)
{
    otok_error err;
    otok_filter filter = test_filter(NULL, NULL, "sso");
    otok_grant grant = test_grant(NULL, NULL, "offline_access");
    grant.kind = OTOK_SESSION_LOGIN;
    grant.sid = "sso";
    (void)test_hold_grant(f, &grant);
    test_assert_code(OTOK_OK, otok_logout(f->service, &filter, 0, NULL, &err));
}

static void replace_one(test_fixture *f)
{
    test_held held = test_hold(f, NULL, NULL);
    otok_grant grant = test_grant(NULL, NULL, "offline_access");
    grant.replaces = held.session_id;
    (void)test_hold_grant(f, &grant);
}

static int end_it(void *user, const otok_use *use, otok_answer *answer)
{
    (void)user;
    return use->purpose == OTOK_PURPOSE_REFRESH ? otok_answer_end_session(answer) : 0;
}

static void end_by_host(test_fixture *f)
{
    f->callbacks.authorize = end_it;
    open_outbox(f, NULL, 10000);
    test_held held = test_hold(f, NULL, NULL);
    test_advance_s(f, 60);
    ck_assert_int_ne(test_refresh_code(f, held.token, NULL), OTOK_OK);
    ck_assert(!test_has_session(f, held.session_id));
}

static void code_again(test_fixture *f)
{
    otok_error err;
    otok_tokens *tokens = NULL;
    otok_grant grant = test_grant(NULL, NULL, "offline_access");
    grant.once_key = "code";
    (void)test_hold_grant(f, &grant);
    test_advance_s(f, 3600);
    test_assert_code(OTOK_E_ONCE, otok_issue(f->service, &grant, &tokens, &err));
}

static void evict_one(test_fixture *f)
{
    f->policy.session_limit = 1;
    open_outbox(f, NULL, 10000);
    issue_one(f);
    test_advance_s(f, 1);
    issue_one(f);
}

static void expire_one(test_fixture *f)
{
    issue_one(f);
    test_advance_s(f, 31 * (int64_t)TEST_DAY_S);
    ck_assert_uint_eq(test_sweep_out(f).expired, 1);
}

static void set_cutoff(test_fixture *f)
{
    otok_error err;
    otok_filter filter = test_filter("alice", "phone", NULL);
    test_assert_code(OTOK_OK, otok_cutoff_set(f->service, &filter, OTOK_NOW, NULL, &err));
}

static void roll_back(test_fixture *f)
{
    test_held held = test_hold(f, NULL, NULL);
    otok_record *backup = test_session_record(f->store, held.session_id);
    test_rotate(f, &held, NULL);
    test_rotate(f, &held, NULL);
    test_advance_s(f, 60);
    test_put_back(f->store, backup);
    otok_record_free(backup);
    test_assert_code(OTOK_OK, test_refresh_code(f, held.token, NULL));
}

static const struct {
    void (*happens)(test_fixture *f);
    int32_t type, reason;
} changes[] = {
    {issue_one, OTOK_EVENT_ISSUED, 0},
    {rotate_one, OTOK_EVENT_REFRESHED, 0},
    {reuse_one, OTOK_EVENT_REUSE, 0},
    {reuse_one, OTOK_EVENT_REVOKED, OTOK_REVOKED_BY_REUSE},
    {reuse_pair, OTOK_EVENT_REUSE, 0},
    {reuse_pair, OTOK_EVENT_CUTOFF, 0},
    {revoke_by_token, OTOK_EVENT_REVOKED, OTOK_REVOKED_BY_TOKEN},
    {revoke_by_session, OTOK_EVENT_REVOKED, OTOK_REVOKED_BY_SESSION},
    {revoke_by_filter, OTOK_EVENT_REVOKED, OTOK_REVOKED_BY_FILTER},
    {revoke_by_filter, OTOK_EVENT_CUTOFF, 0},
    {sweep_behind_cutoff, OTOK_EVENT_REVOKED, OTOK_REVOKED_BY_CUTOFF},
    {revoke_consent, OTOK_EVENT_REVOKED, OTOK_REVOKED_BY_CONSENT},
    {revoke_consent, OTOK_EVENT_CONSENT_REVOKED, 0},
    {log_out, OTOK_EVENT_REVOKED, OTOK_REVOKED_BY_LOGOUT},
    {log_out, OTOK_EVENT_CUTOFF, 0},
    {replace_one, OTOK_EVENT_REVOKED, OTOK_REVOKED_BY_REPLACEMENT},
    {end_by_host, OTOK_EVENT_REVOKED, OTOK_REVOKED_BY_HOST},
    {code_again, OTOK_EVENT_REVOKED, OTOK_REVOKED_BY_ONCE},
    {evict_one, OTOK_EVENT_EVICTED, 0},
    {expire_one, OTOK_EVENT_EXPIRED, OTOK_E_TOKEN_EXPIRED},
    {set_cutoff, OTOK_EVENT_CUTOFF, 0},
    {grant_consent, OTOK_EVENT_CONSENT_GRANTED, 0},
    {roll_back, OTOK_EVENT_STORE_ROLLED_BACK, 0},
};
enum { CHANGES = sizeof changes / sizeof *changes };

/* A clock that no two readings of agree on, as real ones are. */
static int64_t ticking(void *user)
{
    test_fixture *f = user;
    return __atomic_add_fetch(&f->now_us, 7, __ATOMIC_SEQ_CST);
}

/* E1 E2: each event of a change is in callback and outbox, with one id and the same members. */
static void expect_change_in_outbox(int engine, size_t row)
{
    test_fixture *f = open_box(engine);
    pile outbox = {.events = calloc(ROOM, sizeof *outbox.events)};
    f->callbacks.now = ticking;
    open_outbox(f, NULL, 10000);
    changes[row].happens(f);
    drain(f, 3, &outbox);
    expect_as_told(&outbox);
    ck_assert_msg(count(&outbox, changes[row].type, changes[row].reason) >= 1,
                  "row %zu: no event %d with reason %d in the outbox", row, changes[row].type, changes[row].reason);
    for (size_t i = 0; i < told.n; i++) {
        int32_t type = told.events[i].event.type;
        ck_assert_msg(told.events[i].event.event_id != NULL || type == OTOK_EVENT_REFUSED ||
                          (type == OTOK_EVENT_REFRESHED && changes[row].happens == roll_back),
                      "row %zu: event %d was told, and is not in the outbox", row, type);
    }
    free(outbox.events);
    close_box(f);
}

/* E1 E2 */
START_TEST(change_of_state_is_in_callback_and_outbox_with_one_id)
{
    expect_change_in_outbox(TEST_MEMORY, (size_t)_i);
}
END_TEST

/* E1 E2 */
START_TEST(change_of_state_is_in_callback_and_outbox_with_one_id_on_lmdb)
{
    expect_change_in_outbox(TEST_LMDB, (size_t)_i);
}
END_TEST

/* E2: "state changes only" */
START_TEST(what_changes_no_state_is_told_and_not_in_the_outbox)
{
    test_fixture *f = open_box(_i);
    test_held old = test_hold(f, NULL, NULL), held = old;
    test_rotate(f, &held, NULL);
    otok_grant grant = test_grant(NULL, "worker", "offline_access");
    otok_refresh_request request;
    grant.client_type = OTOK_CLIENT_CONFIDENTIAL;
    test_held confidential = test_hold_grant(f, &grant);
    clear_box(f);
    test_assert_code(OTOK_OK, test_refresh_code(f, held.token, NULL)); /* comes back unchanged */
    test_assert_code(OTOK_OK, test_refresh_code(f, old.token, NULL));  /* the successor again */
    test_assert_code(OTOK_E_CLIENT_MISMATCH, test_refresh_code(f, held.token, "tablet"));
    test_advance_s(f, 3600);
    request = test_refresh_request(confidential.token, "worker");
    request.client_type = OTOK_CLIENT_CONFIDENTIAL;
    ck_assert_int_eq(test_answered(f, &request)->outcome, OTOK_OUTCOME_KEPT); /* writes last use, rotates nothing */
    ck_assert_uint_eq(count(&told, OTOK_EVENT_REFRESHED, 0), 2);
    ck_assert_uint_eq(count(&told, OTOK_EVENT_RETRIED, 0), 1);
    ck_assert_uint_eq(test_count_events(f, OTOK_EVENT_REFUSED), 1);
    for (size_t i = 0; i < told.n; i++)
        ck_assert_msg(told.events[i].event.event_id == NULL, "event %d has an id", told.events[i].event.type);
    ck_assert_uint_eq(left(f), 0);
    close_box(f);
}
END_TEST

/* E2: the default is no outbox. */
START_TEST(without_limit_there_is_no_outbox)
{
    test_fixture *f = open_box(_i);
    open_outbox(f, NULL, 0);
    revoke_by_filter(f);
    ck_assert_uint_ge(told.n, 3);
    for (size_t i = 0; i < told.n; i++)
        ck_assert_ptr_null(told.events[i].event.event_id);
    open_outbox(f, NULL, 10);
    ck_assert_uint_eq(left(f), 0);
    close_box(f);
}
END_TEST

/* E2 */
START_TEST(texts_survive_the_outbox)
{
    char longest[256];
    test_fixture *f = open_box(_i);
    pile outbox = {.events = calloc(ROOM, sizeof *outbox.events)};
    otok_peer peer = test_peer(NULL, NULL, "2001:db8::1", "ag\u00e9nt/1 (\"quoted\"; \\)");
    otok_error err;
    memset(longest, 's', sizeof longest);
    longest[255] = '\0';
    otok_grant grant = test_grant("al\u00efce", longest, "offline_access");
    grant.sid = longest;
    grant.peer = &peer;
    grant.grant_type = OTOK_GRANT_DEVICE_CODE;
    test_held held = test_hold_grant(f, &grant);
    test_advance_s(f, 1);
    test_assert_code(OTOK_OK, otok_consent_put(f->service, "al\u00efce", longest, "profile:rw offline_access", &err));
    open_outbox(f, NULL, 10000); /* nothing of it is in the service */
    drain(f, 0, &outbox);
    ck_assert_uint_eq(outbox.n, 2);
    const otok_event *issued = &outbox.events[0].event, *consent = &outbox.events[1].event;
    ck_assert_int_eq(issued->type, OTOK_EVENT_ISSUED);
    ck_assert_str_eq(issued->realm, TEST_ISSUER);
    ck_assert_str_eq(issued->session_id, held.session_id);
    ck_assert_str_eq(issued->subject, "al\u00efce");
    ck_assert_str_eq(issued->client_id, longest);
    ck_assert_str_eq(issued->sid, longest);
    ck_assert_str_eq(issued->ip, "2001:db8::1");
    ck_assert_str_eq(issued->user_agent, "ag\u00e9nt/1 (\"quoted\"; \\)");
    ck_assert_int_eq(issued->grant_type, OTOK_GRANT_DEVICE_CODE);
    ck_assert_ptr_null(issued->scope);
    ck_assert_int_eq(consent->type, OTOK_EVENT_CONSENT_GRANTED);
    ck_assert_str_eq(consent->scope, told.events[1].event.scope);
    ck_assert_ptr_nonnull(strstr(consent->scope, "offline_access"));
    ck_assert_str_eq(consent->client_id, longest);
    ck_assert_ptr_null(consent->sid);
    ck_assert_ptr_null(consent->ip);
    expect_as_told(&outbox);
    free(outbox.events);
    close_box(f);
}
END_TEST

/* --------------------------------------------------------------------------------------------- reading, acknowledging */

static void expect_same_batch(const otok_outbox_batch *a, const otok_outbox_batch *b)
{
    ck_assert_uint_eq(a->count, b->count);
    for (size_t i = 0; i < a->count; i++)
        expect_equal(a->events[i], b->events[i]);
}

/* E2: "at least once" */
START_TEST(batch_comes_again_until_it_is_acknowledged)
{
    test_fixture *f = open_box(_i);
    for (int i = 0; i < 5; i++)
        issue_one(f);
    otok_outbox_batch *first = read_batch(f, 3), *again = read_batch(f, 3);
    ck_assert_uint_eq(first->count, 3);
    expect_same_batch(first, again);
    otok_outbox_batch_free(again);
    test_restart(f); /* without having acknowledged */
    open_outbox(f, NULL, 10000);
    again = read_batch(f, 3);
    expect_same_batch(first, again);
    otok_outbox_batch_free(again);
    acknowledge(f, first);
    again = read_batch(f, 0);
    ck_assert_uint_eq(again->count, 2);
    for (size_t i = 0; i < first->count; i++) {
        for (size_t k = 0; k < again->count; k++)
            ck_assert_str_ne(first->events[i]->event_id, again->events[k]->event_id);
    }
    otok_outbox_batch_free(again);
    otok_outbox_batch_free(first);
    close_box(f);
}
END_TEST

/* E2: "what another reader has acknowledged is no error", and what came since stays. */
START_TEST(two_readers_acknowledge_one_batch)
{
    test_fixture *f = open_box(_i);
    issue_one(f);
    issue_one(f);
    otok_outbox_batch *a = read_batch(f, 0), *b = read_batch(f, 1);
    expect_equal(a->events[0], b->events[0]);
    issue_one(f);
    acknowledge(f, b);
    ck_assert_uint_eq(left(f), 2);
    acknowledge(f, a);
    acknowledge(f, a);
    acknowledge(f, b);
    otok_outbox_batch *rest = read_batch(f, 0);
    ck_assert_uint_eq(rest->count, 1);
    ck_assert_str_eq(rest->events[0]->event_id, told.events[2].event.event_id);
    otok_outbox_batch_free(a);
    otok_outbox_batch_free(b);
    otok_outbox_batch_free(rest);
    close_box(f);
}
END_TEST

/* E2: an empty batch is one too. */
START_TEST(empty_outbox_is_an_empty_batch)
{
    test_fixture *f = open_box(_i);
    otok_outbox_batch *batch = read_batch(f, 0);
    ck_assert_uint_eq(batch->count, 0);
    acknowledge(f, batch);
    otok_outbox_batch_free(batch);
    otok_outbox_batch_free(NULL);
    close_box(f);
}
END_TEST

/* E2: "the oldest events", "about in the order of time" */
START_TEST(events_come_in_the_order_of_time)
{
    enum { MANY = 40 };
    test_fixture *f = open_box(_i);
    test_held held[2] = {test_hold(f, NULL, NULL), test_hold(f, "bob", "tablet")};
    pile outbox = {.events = calloc(ROOM, sizeof *outbox.events)};
    for (int i = 0; i < MANY; i++)
        test_rotate(f, &held[i % 2], i % 2 == 0 ? "phone" : "tablet");
    drain(f, 7, &outbox);
    ck_assert_uint_eq(outbox.n, MANY + 2);
    for (size_t i = 2; i < outbox.n; i++)
        expect_equal(&told.events[i].event, &outbox.events[i].event);
    free(outbox.events);
    close_box(f);
}
END_TEST

/* E2: the limit counts commits, and what one commit did stays together. */
START_TEST(limit_of_a_read_counts_commits)
{
    otok_error err;
    otok_outbox_batch *batch = NULL;
    test_fixture *f = open_box(_i);
    evict_one(f);
    clear_box(f);
    test_advance_s(f, 1);
    issue_one(f); /* evicts another, in one commit */
    test_advance_s(f, 1);
    f->policy.session_limit = OTOK_UNLIMITED;
    open_outbox(f, NULL, 10000);
    for (int i = 0; i < 149; i++)
        issue_one(f);
    batch = read_batch(f, 1);
    ck_assert_uint_eq(batch->count, 2);
    ck_assert_int_eq(batch->events[0]->type + batch->events[1]->type, OTOK_EVENT_ISSUED + OTOK_EVENT_EVICTED);
    ck_assert_str_ne(batch->events[0]->event_id, batch->events[1]->event_id);
    otok_outbox_batch_free(batch);
    batch = read_batch(f, 0);
    ck_assert_uint_eq(batch->count, 101);
    otok_outbox_batch_free(batch);
    batch = read_batch(f, 1000);
    ck_assert_uint_eq(batch->count, 151);
    otok_outbox_batch_free(batch);
    batch = (otok_outbox_batch *)&err;
    test_assert_code(OTOK_E_INVALID, otok_outbox_read(f->service, 1001, &batch, &err));
    ck_assert_ptr_null(batch);
    ck_assert_ptr_nonnull(strstr(err.message, "limit"));
    close_box(f);
}
END_TEST

/* E2, and conventions: NULL is an argument error that names what is missing. */
START_TEST(nothing_is_read_from_nothing)
{
    otok_error err = {0};
    otok_outbox_batch *batch = NULL;
    test_fixture *f = open_box(TEST_MEMORY);
    test_assert_code(OTOK_E_INVALID, otok_outbox_read(NULL, 0, &batch, &err));
    ck_assert(err.message[0] != '\0');
    test_assert_code(OTOK_E_INVALID, otok_outbox_read(f->service, 0, NULL, &err));
    test_assert_code(OTOK_E_INVALID, otok_outbox_acknowledge(f->service, NULL, &err));
    batch = read_batch(f, 0);
    test_assert_code(OTOK_E_INVALID, otok_outbox_acknowledge(NULL, batch, NULL));
    otok_outbox_batch_free(batch);
    close_box(f);
}
END_TEST

/* E2: realms share a store, not an outbox. */
START_TEST(another_realm_sees_nothing_of_it)
{
    test_fixture *f = open_box(_i);
    issue_one(f);
    otok_outbox_batch *mine = read_batch(f, 0);
    open_outbox(f, "another", 10000);
    ck_assert_uint_eq(left(f), 0);
    issue_one(f);
    ck_assert_uint_eq(left(f), 1);
    otok_error err;
    (void)otok_outbox_acknowledge(f->service, mine, &err); /* whatever it answers, the events are not its own */
    ck_assert_uint_eq(left(f), 1);
    open_outbox(f, NULL, 10000);
    otok_outbox_batch *again = read_batch(f, 0);
    expect_same_batch(mine, again);
    otok_outbox_batch_free(again);
    otok_outbox_batch_free(mine);
    close_box(f);
}
END_TEST

/* E2 V7: the outbox keeps nothing of a subject that was erased, and everything of the others. */
START_TEST(erased_subject_leaves_the_outbox_too)
{
    otok_error err;
    otok_filter filter = test_filter("alice", NULL, NULL);
    test_fixture *f = open_box(_i);
    pile outbox = {.events = calloc(ROOM, sizeof *outbox.events)};
    for (int i = 0; i < 5; i++) {
        issue_one(f);
        (void)test_hold(f, "bob", NULL);
    }
    test_assert_code(OTOK_OK, otok_erase(f->service, &filter, NULL, &err));
    drain(f, 0, &outbox);
    size_t bobs = 0;
    for (size_t i = 0; i < outbox.n; i++) {
        const char *subject = outbox.events[i].event.subject;
        ck_assert_msg(!same_text(subject, "alice"), "event %d still names her", outbox.events[i].event.type);
        bobs += same_text(subject, "bob");
    }
    ck_assert_uint_eq(bobs, 5);
    free(outbox.events);
    close_box(f);
}
END_TEST

/* ------------------------------------------------------------------------------------------------- in the same commit */

static size_t found_in_callback;

static int look_up(test_fixture *f, const otok_event *event)
{
    otok_outbox_batch *batch = read_batch(f, 1000);
    for (size_t i = 0; i < batch->count; i++)
        found_in_callback += same_text(batch->events[i]->event_id, event->event_id);
    otok_outbox_batch_free(batch);
    return 0;
}

/* E1 E2: told after the commit, so that the outbox has it by then. */
START_TEST(event_is_in_the_outbox_when_the_callback_is_told)
{
    test_fixture *f = open_box(_i);
    found_in_callback = 0;
    on_event = look_up;
    rotate_one(f);
    revoke_by_filter(f);
    on_event = NULL;
    ck_assert_uint_ge(told.n, 6);
    ck_assert_uint_eq(found_in_callback, told.n);
    close_box(f);
}
END_TEST

static size_t rotations_in_outbox(test_fixture *f, const char *session_id)
{
    size_t n = 0;
    pile outbox = {.events = calloc(ROOM, sizeof *outbox.events)};
    drain(f, 0, &outbox);
    for (size_t i = 0; i < outbox.n; i++)
        n += outbox.events[i].event.type == OTOK_EVENT_REFRESHED &&
             same_text(outbox.events[i].event.session_id, session_id);
    free(outbox.events);
    return n;
}

/* E2 R8: a commit that failed has no event, and one of which nobody knows whether it took place has one if it did. */
START_TEST(event_shares_the_fate_of_its_commit)
{
    static const struct {
        int code;
        bool done;
    } rows[] = {{OTOK_E_IO, false}, {OTOK_E_BUSY, false}, {OTOK_E_UNCERTAIN, false}, {OTOK_E_UNCERTAIN, true}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        test_fixture *f = open_box(_i);
        test_watch watch;
        test_watch_fixture(&watch, f);
        open_outbox(f, NULL, 10000);
        test_held held = test_hold(f, NULL, NULL);
        clear_box(f);
        test_advance_s(f, 60);
        test_watch_fail(&watch, 1, TEST_CALL_COMMIT, rows[i].code, rows[i].done);
        int rc = test_refresh_code(f, held.token, NULL);
        ck_assert(watch.reached);
        ck_assert_msg(rc != OTOK_OK || rows[i].done, "row %zu", i);
        ck_assert_uint_eq(rotations_in_outbox(f, held.session_id), rows[i].done ? 1 : 0);
        test_assert_code(OTOK_OK,
                         test_refresh_code(f, held.token, NULL)); /* the same token: a retry where it was done */
        ck_assert_uint_eq(rotations_in_outbox(f, held.session_id), rows[i].done ? 0 : 1);
        close_box(f);
    }
}
END_TEST

static void add_tests(TCase *tc)
{
    const TTest *const on_both[] = {
        what_changes_no_state_is_told_and_not_in_the_outbox,
        without_limit_there_is_no_outbox,
        texts_survive_the_outbox,
        batch_comes_again_until_it_is_acknowledged,
        two_readers_acknowledge_one_batch,
        empty_outbox_is_an_empty_batch,
        events_come_in_the_order_of_time,
        limit_of_a_read_counts_commits,
        another_realm_sees_nothing_of_it,
        erased_subject_leaves_the_outbox_too,
        event_is_in_the_outbox_when_the_callback_is_told,
        event_shares_the_fate_of_its_commit,
    };
    tcase_add_loop_test(tc, change_of_state_is_in_callback_and_outbox_with_one_id, 0, CHANGES);
    tcase_add_loop_test(tc, change_of_state_is_in_callback_and_outbox_with_one_id_on_lmdb, 0, CHANGES);
    test_add_on_both(tc, on_both, sizeof on_both / sizeof *on_both);
    tcase_add_test(tc, nothing_is_read_from_nothing);
}

int main(void)
{
    return test_main("outbox", add_tests);
}
