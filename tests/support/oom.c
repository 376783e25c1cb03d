/*
 * oom.c - every allocation of a call fails once.
 *
 * SPDX-License-Identifier: MIT
 */
#include "support/oom.h"

#include <assert.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { MOST_REPEATS = 64, LAST_REPEATS = 8 };

/* ----------------------------------------------------------------------------------------------------- the shortage */

oom_shortage test_shortage;

bool oom_is_refused(void)
{
    if (!test_shortage.armed)
        return false;
    test_shortage.count++;
    return test_shortage.count == test_shortage.k || (test_shortage.for_good && test_shortage.count > test_shortage.k);
}

bool oom_suspend(void)
{
    bool armed = test_shortage.armed;
    test_shortage.armed = false;
    return armed;
}

void oom_resume(bool armed)
{
    test_shortage.armed = armed;
}

const char *oom_where(void)
{
    static char text[200];
    (void)snprintf(text, sizeof text, "%s, allocation %llu %s failing", test_shortage.what,
                   (unsigned long long)test_shortage.k, test_shortage.for_good ? "and all later ones" : "alone");
    return text;
}

/* Says where it was; the signal then does what it does. */
static void on_crash(int signal_number)
{
    const char *text = oom_where();
    if (write(STDERR_FILENO, "crashed: ", 9) < 0 || write(STDERR_FILENO, text, strlen(text)) < 0)
        _exit(1);
    (void)signal(signal_number, SIG_DFL);
    (void)raise(signal_number);
}

/* -------------------------------------------------------------------------------------------------------- the stage */

static void open_stage(oom_stage *s, int engine)
{
    otok_lmdb_options options;
    otok_error err;
    memset(s, 0, sizeof *s);
    s->f = test_open(engine);
    if (engine == TEST_LMDB) { /* thousands of commits: none of them has to survive a power loss */
        otok_service_close(s->f->service);
        otok_store_close(s->f->store);
        otok_lmdb_options_init(&options, sizeof options);
        options.no_sync = 1;
        s->f->service = NULL;
        test_assert_code(OTOK_OK, otok_store_open_lmdb(s->f->folder, &options, &s->f->store, &err));
    }
    s->f->policy.retry_limit = 1000; /* counted: a retry writes */
    test_reopen_service(s->f);
    s->bystander = test_hold(s->f, "bystander", "tv");
}

static void close_stage(oom_stage *s)
{
    otok_outbox_batch_free(s->given_batch);
    otok_keyring_free(s->given_keyring);
    free(s->expected);
    test_close(s->f);
}

static bool has_outputs(const oom_stage *s)
{
    return s->tokens != NULL || s->page != NULL || s->session != NULL || s->service != NULL || s->keyring != NULL ||
           s->store != NULL || s->introspection != NULL || s->consent != NULL || s->consents != NULL ||
           s->keys != NULL || s->batch != NULL || s->decision != NULL || s->text != NULL || s->count != 0 ||
           s->time_us != 0 || s->live != 0;
}

static void free_outputs(oom_stage *s)
{
    otok_tokens_free(s->tokens);
    otok_page_free(s->page);
    otok_session_free(s->session);
    otok_service_close(s->service);
    otok_keyring_free(s->keyring);
    otok_store_close(s->store);
    otok_introspection_free(s->introspection);
    otok_consent_free(s->consent);
    otok_consent_page_free(s->consents);
    otok_key_list_free(s->keys);
    otok_outbox_batch_free(s->batch);
    otok_offline_decision_free(s->decision);
    otok_string_free(s->text);
    s->tokens = NULL;
    s->page = NULL;
    s->session = NULL;
    s->service = NULL;
    s->keyring = NULL;
    s->store = NULL;
    s->introspection = NULL;
    s->consent = NULL;
    s->consents = NULL;
    s->keys = NULL;
    s->batch = NULL;
    s->decision = NULL;
    s->text = NULL;
    s->count = 0;
    s->time_us = 0;
    s->live = 0;
}

/* -------------------------------------------------------------------------------------------------------- the sweep */

/* What a server answers with 503, or 500: never that the token is bad, or that it was the caller's fault. */
static bool is_honest(const oom_scenario *c, int code)
{
    static const int codes[] = {OTOK_E_NOMEM, OTOK_E_CRYPTO, OTOK_E_IO, OTOK_E_FULL, OTOK_E_BUSY, OTOK_E_UNCERTAIN};
    for (size_t i = 0; i < sizeof codes / sizeof codes[0]; i++) {
        if (codes[i] == code)
            return true;
    }
    return c->in_callback && code == OTOK_E_CALLBACK;
}

/* Who cannot keep a server's answer does not know what it was, and says so. */
static bool is_in_doubt(int rc)
{
    return rc == OTOK_E_UNCERTAIN && oom_settle != NULL;
}

static int64_t clock_us(void)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * OTOK_US_PER_S + now.tv_nsec / 1000;
}

static int call_short(const oom_scenario *c, oom_stage *s)
{
    test_shortage.count = 0;
    test_shortage.what = c->name;
    int64_t start_us = clock_us();
    test_shortage.armed = true;
    int rc = c->call(s);
    test_shortage.armed = false;
    int64_t took_us = clock_us() - start_us;
    if (took_us > test_shortage.longest_us)
        test_shortage.longest_us = took_us;
    if (is_in_doubt(rc))
        oom_settle();
    return rc;
}

int oom_refresh_bystander(oom_stage *s)
{
    otok_tokens *tokens = NULL;
    otok_refresh_request request = test_refresh_request(s->bystander.token, "tv");
    request.client_type = OTOK_CLIENT_CONFIDENTIAL;
    int rc = otok_refresh(s->f->service, &request, &tokens, NULL);
    otok_tokens_free(tokens);
    return rc;
}

/* True: it was done. */
static bool was_done_after_all(oom_stage *s)
{
    static oom_versions now;
    const oom_change none = {0};
    oom_versions_of(s->f->store, &now);
    oom_change change = oom_change_between(&s->before, &now);
    ck_assert_msg(oom_change_is(change, none) || oom_change_is(change, s->done),
                  "%s: in doubt, and neither done nor not: %zu records inserted, %zu raised, %zu deleted, %zu spoiled",
                  oom_where(), change.inserted, change.raised, change.deleted, change.spoiled);
    return !oom_change_is(change, none);
}

/* False: it was done, and could not be said. */
static bool nothing_was_done(const oom_scenario *c, oom_stage *s, int rc, uint64_t state, size_t events)
{
    ck_assert_msg(is_honest(c, rc), "%s: %s: %s", oom_where(), otok_error_name(rc), s->err.message);
    ck_assert_msg(!has_outputs(s), "%s: something came out", oom_where());
    bool done = !c->in_steps && is_in_doubt(rc) && was_done_after_all(s);
    if (!c->in_steps) {
        ck_assert_msg(done || test_store_state(s->f->store) == state, "%s: %s, and the store has changed", oom_where(),
                      otok_error_name(rc));
        ck_assert_msg(s->f->nevents == events, "%s: %s, and an event was told", oom_where(), otok_error_name(rc));
    }
    int others = oom_refresh_bystander(s);
    ck_assert_msg(others == OTOK_OK, "%s: another session is refused afterwards: %s", oom_where(),
                  otok_error_name(others));
    return !done;
}

static void prepare_anew(const oom_scenario *c, oom_stage *s)
{
    test_forget_events(s->f);
    c->prepare(s);
}

/* What OpenSSL and LMDB keep for later is no leak: that grows at most a few times. */
static bool leaks(const oom_scenario *c, oom_stage *s)
{
    int growths = 0;
    for (int i = 0; i < MOST_REPEATS; i++) {
        int64_t living = test_shortage.living;
        int rc = call_short(c, s);
        if (rc == c->done) {
            free_outputs(s);
            c->prepare(s);
            return false;
        }
        growths += i >= MOST_REPEATS - LAST_REPEATS && test_shortage.living > living;
        if (is_in_doubt(rc))
            prepare_anew(c, s);
    }
    return growths == LAST_REPEATS;
}

/* False when there are fewer than k allocations in the call. */
static bool fail_one(const oom_scenario *c, oom_stage *s, uint64_t k, uint64_t *survived)
{
    uint64_t state = test_store_state(s->f->store);
    size_t events = s->f->nevents;
    if (oom_settle != NULL)
        oom_versions_of(s->f->store, &s->before);
    int64_t living = test_shortage.living;
    test_shortage.k = k;
    int rc = call_short(c, s);
    bool reached = test_shortage.count >= k;
    if (rc == c->done) {
        *survived += reached;
        c->is_whole(s);
        free_outputs(s);
        test_forget_events(s->f);
        c->prepare(s);
        return reached;
    }
    ck_assert_msg(reached, "%s: %s with all the memory there is: %s", c->name, otok_error_name(rc), s->err.message);
    int64_t left = test_shortage.living - living;
    bool undone = nothing_was_done(c, s, rc, state, events);
    if (c->is_sound != NULL && undone && !is_in_doubt(rc))
        c->is_sound(s);
    ck_assert_msg(left <= 0 || !leaks(c, s), "%s: leaks", oom_where());
    if (c->in_steps || !undone)
        prepare_anew(c, s);
    return true;
}

/* The first: what is kept for ever is kept now. */
static void call_with_all_memory(const oom_scenario *c, oom_stage *s)
{
    static oom_versions now;
    test_shortage.k = UINT64_MAX;
    oom_versions_of(s->f->store, &s->before);
    ck_assert_msg(call_short(c, s) == c->done, "%s: %s", c->name, s->err.message);
    oom_versions_of(s->f->store, &now);
    s->done = oom_change_between(&s->before, &now);
    free_outputs(s);
    test_forget_events(s->f);
    c->prepare(s);
}

void oom_run(const oom_scenario *c, int engine)
{
    oom_stage s;
    uint64_t n[2], survived = 0;
    open_stage(&s, engine);
    if (c->open != NULL)
        c->open(&s);
    c->prepare(&s);
    call_with_all_memory(c, &s);
    for (int i = 0; i < 2; i++) {
        test_shortage.for_good = i != 0;
        for (n[i] = 0; fail_one(c, &s, n[i] + 1, &survived);)
            n[i]++;
    }
    printf("%-26s %s: %llu allocations, %llu failures survived\n", c->name, engine == TEST_LMDB ? "lmdb  " : "memory",
           (unsigned long long)n[0], (unsigned long long)survived);
    close_stage(&s);
}

/* ----------------------------------------------------------------------------------------------- parts of scenarios */

otok_peer oom_peer_at(const char *ip)
{
    otok_peer peer;
    otok_peer_init(&peer, sizeof peer);
    peer.ip = ip;
    peer.user_agent = "test";
    return peer;
}

void oom_prepare_nothing(oom_stage *s)
{
    (void)s;
}

void oom_hold_fresh(oom_stage *s)
{
    otok_peer peer = oom_peer_at("192.0.2.1");
    otok_grant grant = test_grant("alice", "phone", NULL);
    grant.peer = &peer;
    if (s->held.session_id[0] != '\0')
        (void)otok_revoke_session(s->f->service, s->held.session_id, NULL);
    s->held = test_hold_grant(s->f, &grant);
    memcpy(s->old, s->held.token, sizeof s->old);
    test_forget_events(s->f);
}

void oom_hold_for_a_minute(oom_stage *s)
{
    oom_hold_fresh(s);
    test_advance_s(s->f, 60);
}

int oom_refresh_from(oom_stage *s, const char *token, const char *ip)
{
    otok_refresh_request request = test_refresh_request(token, "phone");
    otok_peer peer = oom_peer_at(ip);
    request.peer = &peer;
    return otok_refresh(s->f->service, &request, &s->tokens, &s->err);
}

void oom_rotate_once(oom_stage *s)
{
    oom_hold_for_a_minute(s);
    test_assert_code(OTOK_OK, oom_refresh_from(s, s->held.token, "192.0.2.1"));
    test_keep(&s->held, s->tokens);
    s->tokens = NULL;
    test_forget_events(s->f);
}

void oom_tokens_are_whole(const otok_tokens *tokens, const char *scope)
{
    ck_assert_ptr_nonnull(tokens);
    ck_assert_uint_eq(strlen(tokens->offline_token), OTOK_TOKEN_CHARS);
    ck_assert_uint_eq(strlen(tokens->session_id), OTOK_SESSION_ID_CHARS);
    ck_assert_ptr_nonnull(tokens->access_token);
    ck_assert_ptr_nonnull(tokens->id_token);
    ck_assert_str_eq(tokens->scope, scope);
    ck_assert_ptr_nonnull(strstr(tokens->response_json, tokens->access_token));
    ck_assert_ptr_nonnull(strstr(tokens->response_json, tokens->id_token));
    ck_assert_ptr_nonnull(strstr(tokens->response_json, tokens->offline_token));
}

void oom_new_directory(oom_stage *s)
{
    char *folder = test_new_folder();
    (void)snprintf(s->path, sizeof s->path, "%s", folder);
    free(folder);
}

void oom_new_keyring_file(oom_stage *s)
{
    oom_new_directory(s);
    (void)snprintf(s->path + strlen(s->path), 32, "/keyring.json");
}

void oom_save_keyring(oom_stage *s)
{
    oom_new_keyring_file(s);
    test_assert_code(OTOK_OK, otok_keyring_save(s->f->keyring, s->path, NULL, &s->err));
}

void oom_remove_keyring(oom_stage *s)
{
    *strrchr(s->path, '/') = '\0';
    test_remove_folder(strdup(s->path));
}

/* ------------------------------------------------------------------------------------------------------------- main */

/* Check gives a test a number alone: part and scenario. */
enum { A_PART = 1000 };
static const oom_scenario *parts[OOM_MOST_PARTS];
static int nparts;

static const oom_scenario *scenario_of(int number)
{
    return &parts[number / A_PART][number % A_PART];
}

START_TEST(every_allocation_may_fail_over_memory)
{
    oom_run(scenario_of(_i), TEST_MEMORY);
}
END_TEST

START_TEST(every_allocation_may_fail_over_lmdb)
{
    oom_run(scenario_of(_i), TEST_LMDB);
}
END_TEST

void oom_add(TCase *tc, int engines, const oom_scenario *scenarios, size_t n)
{
    assert(nparts < OOM_MOST_PARTS && n < A_PART);
    int first = nparts * A_PART, end = first + (int)n;
    parts[nparts++] = scenarios;
    if (engines & OOM_MEMORY)
        tcase_add_loop_test(tc, every_allocation_may_fail_over_memory, first, end);
    if (engines & OOM_LMDB)
        tcase_add_loop_test(tc, every_allocation_may_fail_over_lmdb, first, end);
}

int oom_main(const char *name, void (*add)(TCase *tc), bool every_allocation)
{
    (void)setenv("OTOK_TEST_IMPATIENT", "1", 1);
    if (!every_allocation)
        printf("a sanitizer's allocator, or no glibc: only the library's own allocations fail\n");
    (void)signal(SIGSEGV, on_crash);
    (void)signal(SIGABRT, on_crash);
    return test_main(name, add);
}
