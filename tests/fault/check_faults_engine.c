/*
 * check_faults_engine.c - each commit and each read of a call fails, once and from then on, in every way that a store
 * may fail (R8, V5): what writes more than one record was then done whole or not at all, says so, and comes to its
 * right end when it is made again (I4, I7, I8, C1, V4, V7, P4, Q5, E2).
 *
 * SPDX-License-Identifier: MIT
 */
#include <stdio.h>
#include <string.h>

#include "support/broken_store.h"
#include "support/legacy.h"

static const char SCOPE[] = "openid offline_access profile";

enum { LOGINS = 3, A_FEW = 5 };

typedef struct world {
    test_fixture *f;
    broken_store *control;
    test_held held, second, logins[LOGINS];
    char old[OTOK_TOKEN_CHARS + 1], name[64], legacy[TEST_LEGACY_CHARS];
    int number;
    bool full; /* the store has said so */
    otok_tokens *tokens;
    otok_outbox_batch *batch;
    otok_error err;
} world;

/* A way to fail. */
typedef struct fault {
    const char *name;
    bool reads; /* fetch, scan and count; else commits */
    broken_plan plan;
} fault;

static const fault faults[] = {
    {"commit, IO", false, {.code = OTOK_E_IO, .as_result = true}},
    {"commit, busy", false, {.code = OTOK_E_BUSY, .as_result = true}},
    {"commit, full", false, {.code = OTOK_E_FULL, .as_result = true}},
    {"commit, no memory", false, {.code = OTOK_E_NOMEM, .as_result = true}},
    {"commit, uncertain, done", false, {.code = OTOK_E_UNCERTAIN, .as_result = true, .applied = true}},
    {"commit, uncertain, not done", false, {.code = OTOK_E_UNCERTAIN, .as_result = true}},
    {"commit, conflict", false, {.code = OTOK_E_CONFLICT, .as_result = true}},
    {"whole commit, IO", false, {.code = OTOK_E_IO}},
    {"whole commit, uncertain, done", false, {.code = OTOK_E_UNCERTAIN, .applied = true}},
    {"whole commit, full", false, {.code = OTOK_E_FULL}},
    {"read, IO", true, {.code = OTOK_E_IO}},
    {"read, busy", true, {.code = OTOK_E_BUSY}},
};

/* A call, and what to expect of it. */
typedef struct operation {
    const char *name;
    void (*prepare)(world *w);
    int (*call)(world *w);
    int done;  /* the code of one that was done */
    int again; /* of one that is made again after it was done */
    /* Whether it was done; aborts when it was done by half.  May be NULL. */
    bool (*was_done)(world *w);
    void (*is_whole)(world *w); /* once it was done, perhaps by the second call */
    void (*open)(world *w);     /* once; may be NULL */
    bool conflict_is_done;      /* a conflict means that somebody else has done it */
} operation;

/* ----------------------------------------------------------------------------------------------------------- asking */

static bool lives(world *w, const test_held *held)
{
    int32_t live = -1;
    test_assert_code(OTOK_OK, otok_session_is_live(w->f->service, held->session_id, &live, &w->err));
    return live == 1;
}

static uint64_t count_live(world *w)
{
    otok_filter filter = test_filter("alice", "phone", NULL);
    return test_count_live(w->f, &filter);
}

static void another_name(world *w)
{
    (void)snprintf(w->name, sizeof w->name, "name-%d", ++w->number);
}

static void end_all(world *w)
{
    otok_filter filter = test_filter("alice", NULL, NULL);
    test_assert_code(OTOK_OK, otok_revoke_matching(w->f->service, &filter, NULL, &w->err));
}

static test_held hold(world *w)
{
    otok_grant grant = test_grant("alice", "phone", SCOPE);
    test_held held = test_hold_grant(w->f, &grant);
    test_advance_s(w->f, 60);
    return held;
}

static void empty_outbox(world *w)
{
    otok_outbox_batch *batch = NULL;
    size_t n;
    do {
        test_assert_code(OTOK_OK, otok_outbox_read(w->f->service, 0, &batch, &w->err));
        n = batch->count;
        test_assert_code(OTOK_OK, otok_outbox_acknowledge(w->f->service, batch, &w->err));
        otok_outbox_batch_free(batch);
    } while (n != 0);
}

/* Where a full store may have made the library leave out what it had to tell, the marker of that will do. */
static size_t count_entered(world *w, int32_t type, int32_t reason, bool *overflowed)
{
    otok_outbox_batch *batch = NULL;
    size_t n = 0;
    *overflowed = false;
    test_assert_code(OTOK_OK, otok_outbox_read(w->f->service, 1000, &batch, &w->err));
    for (size_t i = 0; i < batch->count; i++) {
        n += batch->events[i]->type == type && batch->events[i]->reason == reason;
        *overflowed |= batch->events[i]->type == OTOK_EVENT_OUTBOX_OVERFLOW;
    }
    otok_outbox_batch_free(batch);
    return n;
}

static void expect_entered(world *w, int32_t type, int32_t reason, size_t expected)
{
    bool overflowed;
    size_t n = count_entered(w, type, reason, &overflowed);
    ck_assert_msg(n == expected || (overflowed && w->full && n < expected), "%zu instead of %zu events of type %d", n,
                  expected, type);
}

static int refresh(world *w, const char *token)
{
    otok_refresh_request request = test_refresh_request(token, "phone");
    return otok_refresh(w->f->service, &request, &w->tokens, &w->err);
}

/* ------------------------------------------------------------------------------------------------------------ issue */

static void hold_one_too_many(world *w)
{
    w->f->service->policy.session_limit = 0;
    end_all(w);
    w->held = hold(w);
    w->second = hold(w);
    another_name(w);
    empty_outbox(w);
    w->f->service->policy.session_limit = 1;
}

/* It evicts one, replaces another, and uses a key. */
static int issue_everything(world *w)
{
    otok_grant grant = test_grant("alice", "phone", SCOPE);
    grant.once_key = w->name;
    grant.replaces = w->second.session_id;
    return otok_issue(w->f->service, &grant, &w->tokens, &w->err);
}

static bool was_issued(world *w)
{
    bool before = lives(w, &w->held);
    ck_assert_msg(before == lives(w, &w->second), "only one of them was ended");
    ck_assert_uint_eq(count_live(w), before ? 2 : 1);
    return !before;
}

static void issued_once(world *w)
{
    ck_assert_ptr_nonnull(w->tokens);
    ck_assert(test_has_session(w->f, w->tokens->session_id));
    expect_entered(w, OTOK_EVENT_ISSUED, 0, 1);
    expect_entered(w, OTOK_EVENT_EVICTED, 0, 1);
    expect_entered(w, OTOK_EVENT_REVOKED, OTOK_REVOKED_BY_REPLACEMENT, 1);
    test_assert_code(OTOK_OK, test_refresh_code(w->f, w->tokens->offline_token, "phone"));
}

static int issue(world *w)
{
    otok_grant grant = test_grant("alice", "phone", SCOPE);
    return otok_issue(w->f->service, &grant, &w->tokens, &w->err);
}

static void hold_two(world *w)
{
    hold_one_too_many(w);
    w->f->service->policy.session_limit = 2;
}

/* What nobody holds a token of counts too. */
static bool was_evicted(world *w)
{
    ck_assert_uint_eq(count_live(w), 2);
    return !lives(w, &w->held);
}

static void issued_at_the_limit(world *w)
{
    ck_assert_ptr_nonnull(w->tokens);
    ck_assert(test_has_session(w->f, w->tokens->session_id));
    if (!w->full) {
        bool overflowed;
        ck_assert_uint_eq(count_entered(w, OTOK_EVENT_ISSUED, 0, &overflowed),
                          count_entered(w, OTOK_EVENT_EVICTED, 0, &overflowed));
    }
}

static void use_key_long_ago(world *w)
{
    otok_grant grant = test_grant("alice", "phone", SCOPE);
    end_all(w);
    another_name(w);
    grant.once_key = w->name;
    w->held = test_hold_grant(w->f, &grant);
    test_advance_s(w->f, 3600);
    empty_outbox(w);
}

static int replay_key(world *w)
{
    otok_grant grant = test_grant("alice", "phone", SCOPE);
    grant.once_key = w->name;
    return otok_issue(w->f->service, &grant, &w->tokens, &w->err);
}

static bool was_ended(world *w)
{
    return !test_has_session(w->f, w->held.session_id);
}

static void ended_by_key(world *w)
{
    expect_entered(w, OTOK_EVENT_REVOKED, OTOK_REVOKED_BY_ONCE, 1);
}

/* ---------------------------------------------------------------------------------------------------------- refresh */

static void hold_one(world *w)
{
    end_all(w);
    w->held = hold(w);
    empty_outbox(w);
}

static int refresh_held(world *w)
{
    return refresh(w, w->held.token);
}

static bool was_rotated(world *w)
{
    otok_session *session = NULL;
    test_assert_code(OTOK_OK, otok_session_get(w->f->service, w->held.session_id, &session, &w->err));
    uint32_t generation = session->generation;
    otok_session_free(session);
    ck_assert_uint_le(generation, 1);
    expect_entered(w, OTOK_EVENT_REFRESHED, 0, generation);
    return generation == 1;
}

static void rotated_once(world *w)
{
    ck_assert(was_rotated(w));
    ck_assert_uint_eq(w->tokens->generation, 1);
    test_assert_code(OTOK_OK, test_refresh_code(w->f, w->tokens->offline_token, "phone"));
}

static void rotate_twice(world *w)
{
    hold_one(w);
    memcpy(w->old, w->held.token, sizeof w->old);
    test_rotate(w->f, &w->held, "phone");
    test_rotate(w->f, &w->held, "phone");
    empty_outbox(w);
}

static int refresh_old(world *w)
{
    return refresh(w, w->old);
}

static void ended_by_reuse(world *w)
{
    expect_entered(w, OTOK_EVENT_REUSE, 0, 1);
    expect_entered(w, OTOK_EVENT_REVOKED, OTOK_REVOKED_BY_REUSE, 1);
}

static void open_ending_pairs(world *w)
{
    w->f->service->policy.reuse = OTOK_REUSE_END_PAIR;
}

static bool pair_was_ended(world *w)
{
    bool ended = !lives(w, &w->held);
    expect_entered(w, OTOK_EVENT_REUSE, 0, ended);
    expect_entered(w, OTOK_EVENT_CUTOFF, 0, ended);
    return ended;
}

static void pair_is_ended(world *w)
{
    ck_assert(pair_was_ended(w));
}

static int end_session(void *user, const otok_use *use, otok_answer *answer)
{
    (void)user;
    return use->purpose == OTOK_PURPOSE_REFRESH ? -otok_answer_end_session(answer) : 0;
}

static void open_ending(world *w)
{
    w->f->service->callbacks.authorize = end_session;
}

static void ended_by_host(world *w)
{
    expect_entered(w, OTOK_EVENT_REVOKED, OTOK_REVOKED_BY_HOST, 1);
}

/* --------------------------------------------------------------------------------------------------------- adoption */

static void open_adopting(world *w)
{
    w->f->service->callbacks.adopt = test_legacy_adopt;
}

/* A token of another session of the system before. */
static void another_legacy(world *w)
{
    end_all(w);
    another_name(w);
    test_sweep_out(w->f);
    empty_outbox(w);
    const test_legacy legacy = {.sid = w->name, .sub = w->name};
    (void)snprintf(w->legacy, sizeof w->legacy, "%s", test_legacy_token(&legacy));
}

static int adopt(world *w)
{
    return refresh(w, w->legacy);
}

static bool was_adopted(world *w)
{
    otok_filter filter = test_filter(w->name, "phone", NULL);
    uint64_t n = test_count(w->f, &filter);
    ck_assert_uint_le(n, 1);
    expect_entered(w, OTOK_EVENT_ISSUED, 0, n);
    return n == 1;
}

/* Another spelling comes to the same session. */
static void adopted_once(world *w)
{
    char session_id[OTOK_SESSION_ID_CHARS + 1];
    (void)snprintf(session_id, sizeof session_id, "%s", w->tokens->session_id);
    ck_assert_uint_eq(w->tokens->generation, 1);
    otok_tokens_free(w->tokens);
    w->tokens = NULL;
    test_assert_code(OTOK_OK, refresh(w, test_legacy_spelling(w->legacy, 3)));
    ck_assert_str_eq(w->tokens->session_id, session_id);
    ck_assert(was_adopted(w));
}

static int revoke_legacy(world *w)
{
    return test_revoke(w->f, w->legacy, "phone");
}

static void legacy_is_dead(world *w)
{
    expect_entered(w, OTOK_EVENT_REVOKED, OTOK_REVOKED_BY_TOKEN, 1);
    test_assert_code(OTOK_E_TOKEN_UNKNOWN, adopt(w));
}

/* --------------------------------------------------------------------------------------------- consents and logout */

static void consent(world *w)
{
    hold_one(w);
    test_assert_code(OTOK_OK, otok_consent_put(w->f->service, "alice", "phone", SCOPE, &w->err));
}

static int revoke_consent(world *w)
{
    return otok_consent_revoke(w->f->service, "alice", "phone", NULL, &w->err);
}

static bool consent_was_revoked(world *w)
{
    otok_consent *found = NULL;
    int rc = otok_consent_get(w->f->service, "alice", "phone", &found, &w->err);
    otok_consent_free(found);
    ck_assert(rc == OTOK_OK || rc == OTOK_E_NOT_FOUND);
    ck_assert_msg((rc == OTOK_OK) == lives(w, &w->held), "half revoked");
    expect_entered(w, OTOK_EVENT_CONSENT_REVOKED, 0, rc != OTOK_OK);
    return rc != OTOK_OK;
}

static void consent_and_session_are_gone(world *w)
{
    ck_assert(consent_was_revoked(w));
    ck_assert(!test_has_session(w->f, w->held.session_id));
    expect_entered(w, OTOK_EVENT_REVOKED, OTOK_REVOKED_BY_CONSENT, 1);
}

static void log_in(world *w)
{
    otok_grant grant = test_grant("alice", "phone", SCOPE);
    hold_one(w);
    grant.kind = OTOK_SESSION_LOGIN;
    grant.sid = "sso";
    for (int i = 0; i < LOGINS; i++)
        w->logins[i] = test_hold_grant(w->f, &grant);
    empty_outbox(w);
}

static int log_out(world *w)
{
    otok_filter filter = test_filter("alice", NULL, NULL);
    return otok_logout(w->f->service, &filter, 0, NULL, &w->err);
}

static int log_out_of_sid(world *w)
{
    otok_filter filter = test_filter(NULL, NULL, "sso");
    return otok_logout(w->f->service, &filter, 0, NULL, &w->err);
}

static bool was_logged_out(world *w)
{
    int n = 0;
    for (int i = 0; i < LOGINS; i++)
        n += lives(w, &w->logins[i]);
    ck_assert_msg(n == 0 || n == LOGINS, "%d of %d sessions outlived the logout", n, LOGINS);
    ck_assert_msg(lives(w, &w->held), "the offline session has ended");
    return n == 0;
}

static void logins_are_gone(world *w)
{
    ck_assert(was_logged_out(w));
    for (int i = 0; i < LOGINS; i++)
        ck_assert(!test_has_session(w->f, w->logins[i].session_id));
    expect_entered(w, OTOK_EVENT_REVOKED, OTOK_REVOKED_BY_LOGOUT, LOGINS);
}

/* ----------------------------------------------------------------------------------------- update, erase and outbox */

static int update(world *w)
{
    otok_session_change change;
    otok_session_change_init(&change, sizeof change);
    change.session_id = w->held.session_id;
    change.label = "the old phone";
    change.notes = "{\"colour\":\"red\"}";
    return otok_session_update(w->f->service, &change, &w->err);
}

static bool was_updated(world *w)
{
    otok_session *session = NULL;
    test_assert_code(OTOK_OK, otok_session_get(w->f->service, w->held.session_id, &session, &w->err));
    bool labelled = session->label != NULL, noted = session->notes != NULL;
    otok_session_free(session);
    ck_assert_msg(labelled == noted, "half changed");
    return labelled;
}

static void updated(world *w)
{
    test_assert_code(OTOK_OK, test_refresh_code(w->f, w->held.token, "phone"));
}

static int issue_to_erase(world *w)
{
    otok_grant grant = test_grant(w->name, "phone", SCOPE);
    grant.once_key = w->name;
    return otok_issue(w->f->service, &grant, &w->tokens, &w->err);
}

/* One record of each kind. */
static void something_to_erase(world *w)
{
    empty_outbox(w);
    another_name(w);
    otok_filter filter = test_filter(w->name, NULL, NULL);
    test_assert_code(OTOK_OK, otok_cutoff_set(w->f->service, &filter, OTOK_NOW, NULL, &w->err));
    test_assert_code(OTOK_OK, otok_consent_put(w->f->service, w->name, "phone", SCOPE, &w->err));
    test_assert_code(OTOK_OK, issue_to_erase(w));
    test_keep(&w->held, w->tokens);
    w->tokens = NULL;
}

static int erase(world *w)
{
    otok_filter filter = test_filter(w->name, NULL, NULL);
    return otok_erase(w->f->service, &filter, NULL, &w->err);
}

/* What is made again under the same name inherits nothing; the key is good again, for it is not known any more. */
static void erased(world *w)
{
    otok_consent *found = NULL;
    otok_outbox_batch *batch = NULL;
    otok_filter filter = test_filter(w->name, NULL, NULL);
    ck_assert_uint_eq(test_count(w->f, &filter), 0);
    test_assert_code(OTOK_E_NOT_FOUND, otok_consent_get(w->f->service, w->name, "phone", &found, &w->err));
    test_assert_code(OTOK_E_TOKEN_UNKNOWN, test_refresh_code(w->f, w->held.token, "phone"));
    test_assert_code(OTOK_OK, otok_outbox_read(w->f->service, 1000, &batch, &w->err));
    for (size_t i = 0; i < batch->count; i++)
        ck_assert(batch->events[i]->subject == NULL || strcmp(batch->events[i]->subject, w->name) != 0);
    otok_outbox_batch_free(batch);
    test_assert_code(OTOK_OK, issue_to_erase(w));
    ck_assert_int_eq(w->tokens->outcome, OTOK_OUTCOME_ISSUED);
}

static void enter_a_few(world *w)
{
    empty_outbox(w);
    for (int i = 0; i < A_FEW; i++)
        (void)hold(w);
    otok_outbox_batch_free(w->batch);
    test_assert_code(OTOK_OK, otok_outbox_read(w->f->service, 0, &w->batch, &w->err));
    ck_assert_uint_eq(w->batch->count, A_FEW);
    (void)hold(w); /* which the batch does not have */
}

static int acknowledge(world *w)
{
    return otok_outbox_acknowledge(w->f->service, w->batch, &w->err);
}

static bool was_acknowledged(world *w)
{
    bool overflowed;
    size_t n = count_entered(w, OTOK_EVENT_ISSUED, 0, &overflowed);
    ck_assert(n == 1 || n == A_FEW + 1); /* on these stores: each write is one of its own */
    return n == 1;
}

static void acknowledged(world *w)
{
    expect_entered(w, OTOK_EVENT_ISSUED, 0, 1);
}

/* ---------------------------------------------------------------------------------------------------------- running */

static const operation operations[] = {
    {"issue, everything", hold_one_too_many, issue_everything, OTOK_OK, OTOK_OK, was_issued, .is_whole = issued_once},
    {"issue, evicting", hold_two, issue, OTOK_OK, OTOK_OK, was_evicted, .is_whole = issued_at_the_limit},
    {"issue, once replayed", use_key_long_ago, replay_key, OTOK_E_ONCE, OTOK_E_ONCE, was_ended,
     .is_whole = ended_by_key},
    {"refresh", hold_one, refresh_held, OTOK_OK, OTOK_OK, was_rotated, .is_whole = rotated_once},
    {"refresh, reuse", rotate_twice, refresh_old, OTOK_E_TOKEN_REUSED, OTOK_E_TOKEN_UNKNOWN, was_ended,
     .is_whole = ended_by_reuse},
    {"refresh, reuse, pair", rotate_twice, refresh_old, OTOK_E_TOKEN_REUSED, OTOK_E_TOKEN_REVOKED, pair_was_ended,
     .is_whole = pair_is_ended, .open = open_ending_pairs},
    {"refresh, ended", hold_one, refresh_held, OTOK_E_DENIED, OTOK_E_TOKEN_UNKNOWN, was_ended,
     .is_whole = ended_by_host, .open = open_ending},
    {"adopt", another_legacy, adopt, OTOK_OK, OTOK_OK, was_adopted, .is_whole = adopted_once, .open = open_adopting},
    {"revoke_token, legacy", another_legacy, revoke_legacy, OTOK_OK, OTOK_OK, NULL, .is_whole = legacy_is_dead,
     .open = open_adopting},
    {"consent_revoke", consent, revoke_consent, OTOK_OK, OTOK_OK, consent_was_revoked,
     .is_whole = consent_and_session_are_gone},
    {"logout", log_in, log_out, OTOK_OK, OTOK_OK, was_logged_out, .is_whole = logins_are_gone},
    {"logout, by sid", log_in, log_out_of_sid, OTOK_OK, OTOK_OK, was_logged_out, .is_whole = logins_are_gone},
    {"session_update", hold_one, update, OTOK_OK, OTOK_OK, was_updated, .is_whole = updated},
    {"erase", something_to_erase, erase, OTOK_OK, OTOK_OK, NULL, .is_whole = erased},
    {"outbox_acknowledge", enter_a_few, acknowledge, OTOK_OK, OTOK_OK, was_acknowledged, .is_whole = acknowledged,
     .conflict_is_done = true},
};

enum { OPERATIONS = sizeof operations / sizeof operations[0], FAULTS = sizeof faults / sizeof faults[0] };

static uint64_t count_calls(world *w, const fault *how)
{
    broken_calls calls = broken_store_calls(w->control);
    return how->reads ? calls.fetches + calls.scans + calls.counts : calls.commits;
}

static void arm(world *w, const fault *how, unsigned skip, unsigned times)
{
    broken_plan plan = how->plan;
    plan.skip = skip;
    plan.times = times;
    if (how->reads)
        broken_store_fail_reads(w->control, plan.code, skip, times);
    else
        broken_store_fail_commits(w->control, plan);
}

static void drop_tokens(world *w)
{
    otok_tokens_free(w->tokens);
    w->tokens = NULL;
}

/* The second time nothing fails. */
static void make_again(world *w, const operation *what, bool done, const char *where)
{
    drop_tokens(w);
    int rc = what->call(w);
    ck_assert_msg(rc == what->done || (done && rc == what->again), "%s: the second time %s: %s", where,
                  otok_error_name(rc), w->err.message);
    ck_assert_msg(what->was_done == NULL || what->was_done(w), "%s: it was not done the second time", where);
}

enum { FOR_GOOD = 1000000 };

/* False when the call makes fewer calls of that sort. */
static bool fail_one(world *w, const operation *what, const fault *how, unsigned skip, unsigned times)
{
    char where[128];
    (void)snprintf(where, sizeof where, "%s: %s, call %u%s", what->name, how->name, skip + 1,
                   times == 1 ? "" : " and all later ones");
    what->prepare(w);
    w->full = how->plan.code == OTOK_E_FULL;
    uint64_t before = count_calls(w, how);
    arm(w, how, skip, times);
    int rc = what->call(w);
    arm(w, how, 0, 0);
    bool reached = count_calls(w, how) - before > skip;
    bool conflict = how->plan.code == OTOK_E_CONFLICT;
    ck_assert_msg(rc == what->done || (reached && !conflict && rc == how->plan.code), "%s: %s: %s", where,
                  otok_error_name(rc), w->err.message);
    ck_assert_msg(rc == OTOK_OK || w->tokens == NULL, "%s: something came out", where);
    bool known = what->was_done != NULL && !(conflict && what->conflict_is_done);
    bool done = known && what->was_done(w);
    ck_assert_msg(rc != what->done || !known || done, "%s: it was not done", where);
    if (rc != what->done || !known)
        make_again(w, what, done || !known, where);
    what->is_whole(w);
    drop_tokens(w);
    return reached;
}

/* Gives how many calls there are. */
static unsigned fail_each(world *w, const operation *what, const fault *how, unsigned times)
{
    unsigned skip = 0;
    while (fail_one(w, what, how, skip, times))
        skip++;
    return skip;
}

static void run(world *w, const operation *what)
{
    unsigned n[2] = {0, 0};
    for (size_t i = 0; i < FAULTS; i++) {
        unsigned calls = fail_each(w, what, &faults[i], 1);
        ck_assert_msg(calls != 0 || faults[i].reads, "%s: no commit", what->name);
        if (faults[i].plan.code != OTOK_E_CONFLICT) /* which others cannot win for ever */
            (void)fail_each(w, what, &faults[i], FOR_GOOD);
        n[faults[i].reads] = calls;
    }
    printf("%-24s %u commits, %u reads\n", what->name, n[false], n[true]);
}

START_TEST(every_call_of_the_store_may_fail_once)
{
    const operation *what = &operations[_i];
    world w = {.f = test_open(TEST_MEMORY)};
    w.f->store = broken_store_open(w.f->store, BROKEN_NOTHING, &w.control);
    test_reopen_service(w.f);
    w.f->service->outbox_limit = 1000;
    if (what->open != NULL)
        what->open(&w);
    run(&w, what);
    otok_outbox_batch_free(w.batch);
    test_close(w.f);
}
END_TEST

static void add(TCase *tc)
{
    tcase_add_loop_test(tc, every_call_of_the_store_may_fail_once, 0, OPERATIONS);
}

int main(void)
{
    return test_main("faults of the store", add);
}
