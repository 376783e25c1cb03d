/*
 * check_oom.c - memory runs short, at every allocation of every call, once and for good (R7, R8, V5, E1): no crash, no
 * leak, nothing half done, a code that says so, and afterwards everything works.
 *
 * This program brings its own malloc(), so that the allocations of OpenSSL, cJSON, LMDB and libc are refused too.
 * Sanitizers have theirs: under them, and without glibc, only what goes through the library's own four functions is.
 *
 * SPDX-License-Identifier: MIT
 */
/* link: -Wl,--wrap=otok_malloc,--wrap=otok_calloc,--wrap=otok_realloc */

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "support/ask.h"
#include "support/records.h"

#if defined(__GLIBC__) && !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
#define EVERY_ALLOCATION 1
#else
#define EVERY_ALLOCATION 0
#endif

enum { IP_ROOM = 64, MOST_REPEATS = 64, LAST_REPEATS = 8 };

/* ----------------------------------------------------------------------------------------------------- the shortage */

static struct shortage {
    bool armed;
    bool for_good; /* from the k-th on, else the k-th alone */
    uint64_t k, count;
    int64_t living; /* allocations that were not freed */
    const char *what;
} shortage;

static bool is_refused(void)
{
    if (!shortage.armed)
        return false;
    shortage.count++;
    if (shortage.count != shortage.k && !(shortage.for_good && shortage.count > shortage.k))
        return false;
    errno = ENOMEM;
    return true;
}

#if EVERY_ALLOCATION

/* Seen by the shared libraries, which is what they are here for. */
#define FOR_EVERYBODY __attribute__((__visibility__("default")))

void *__libc_malloc(size_t size);
void *__libc_calloc(size_t count, size_t size);
void *__libc_realloc(void *old, size_t size);
void *__libc_memalign(size_t alignment, size_t size);
void __libc_free(void *old);

static void *note(void *allocated)
{
    shortage.living += allocated != NULL;
    return allocated;
}

FOR_EVERYBODY void *malloc(size_t size)
{
    return is_refused() ? NULL : note(__libc_malloc(size));
}

FOR_EVERYBODY void *calloc(size_t count, size_t size)
{
    return is_refused() ? NULL : note(__libc_calloc(count, size));
}

FOR_EVERYBODY void *realloc(void *old, size_t size)
{
    if (is_refused())
        return NULL;
    void *grown = __libc_realloc(old, size);
    shortage.living += (old == NULL && grown != NULL) - (old != NULL && grown == NULL && size == 0);
    return grown;
}

FOR_EVERYBODY void *memalign(size_t alignment, size_t size)
{
    return is_refused() ? NULL : note(__libc_memalign(alignment, size));
}

FOR_EVERYBODY void *aligned_alloc(size_t alignment, size_t size)
{
    return memalign(alignment, size);
}

FOR_EVERYBODY int posix_memalign(void **out, size_t alignment, size_t size)
{
    void *allocated = memalign(alignment, size);
    if (allocated == NULL)
        return ENOMEM;
    *out = allocated;
    return 0;
}

FOR_EVERYBODY void free(void *old)
{
    shortage.living -= old != NULL;
    __libc_free(old);
}

#endif

void *__real_otok_malloc(size_t size);
void *__real_otok_calloc(size_t count, size_t size);
void *__real_otok_realloc(void *old, size_t size);
void *__wrap_otok_malloc(size_t size);
void *__wrap_otok_calloc(size_t count, size_t size);
void *__wrap_otok_realloc(void *old, size_t size);

void *__wrap_otok_malloc(size_t size)
{
    return !EVERY_ALLOCATION && is_refused() ? NULL : __real_otok_malloc(size);
}

void *__wrap_otok_calloc(size_t count, size_t size)
{
    return !EVERY_ALLOCATION && is_refused() ? NULL : __real_otok_calloc(count, size);
}

void *__wrap_otok_realloc(void *old, size_t size)
{
    return !EVERY_ALLOCATION && is_refused() ? NULL : __real_otok_realloc(old, size);
}

/* Which failure it was, for messages. */
static const char *where(void)
{
    static char text[200];
    (void)snprintf(text, sizeof text, "%s, allocation %llu %s failing", shortage.what, (unsigned long long)shortage.k,
                   shortage.for_good ? "and all later ones" : "alone");
    return text;
}

/* Says where it was; the signal then does what it does. */
static void on_crash(int signal_number)
{
    const char *text = where();
    if (write(STDERR_FILENO, "crashed: ", 9) < 0 || write(STDERR_FILENO, text, strlen(text)) < 0)
        _exit(1);
    (void)signal(signal_number, SIG_DFL);
    (void)raise(signal_number);
}

/* -------------------------------------------------------------------------------------------------------- the stage */

typedef struct stage {
    test_fixture *f;
    test_held held;      /* the session that the call is about */
    test_held bystander; /* one that it is not about */
    char old[OTOK_TOKEN_CHARS + 1];
    char path[4200], name[32];
    int number;
    /* What calls hand out. */
    otok_tokens *tokens;
    otok_page *page;
    otok_session *session;
    otok_service *service;
    otok_keyring *keyring;
    otok_store *store;
    char *text;
    uint64_t count;
    int64_t time_us;
    otok_error err;
} stage;

typedef struct scenario {
    const char *name;
    void (*prepare)(stage *s); /* before the first call, and again whenever one was done */
    int (*call)(stage *s);
    void (*is_whole)(stage *s); /* after one that was done */
    int done;                   /* the code of such a one */
    bool in_steps;              /* several commits: one that fails may have done some of it */
} scenario;

static void open_stage(stage *s, int engine)
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

static void close_stage(stage *s)
{
    test_close(s->f);
}

static bool has_outputs(const stage *s)
{
    return s->tokens != NULL || s->page != NULL || s->session != NULL || s->service != NULL || s->keyring != NULL ||
           s->store != NULL || s->text != NULL || s->count != 0 || s->time_us != 0;
}

static void free_outputs(stage *s)
{
    otok_tokens_free(s->tokens);
    otok_page_free(s->page);
    otok_session_free(s->session);
    otok_service_close(s->service);
    otok_keyring_free(s->keyring);
    otok_store_close(s->store);
    otok_string_free(s->text);
    s->tokens = NULL;
    s->page = NULL;
    s->session = NULL;
    s->service = NULL;
    s->keyring = NULL;
    s->store = NULL;
    s->text = NULL;
    s->count = 0;
    s->time_us = 0;
}

/* -------------------------------------------------------------------------------------------------------- the sweep */

/* What a server answers with 503, or 500: never that the token is bad, or that it was the caller's fault. */
static bool is_honest(int code)
{
    static const int codes[] = {OTOK_E_NOMEM, OTOK_E_CRYPTO, OTOK_E_IO, OTOK_E_FULL, OTOK_E_BUSY, OTOK_E_UNCERTAIN};
    for (size_t i = 0; i < sizeof codes / sizeof codes[0]; i++) {
        if (codes[i] == code)
            return true;
    }
    return false;
}

static int call_short(const scenario *c, stage *s)
{
    shortage.count = 0;
    shortage.what = c->name;
    shortage.armed = true;
    int rc = c->call(s);
    shortage.armed = false;
    return rc;
}

/* A confidential client's: not rotated. */
static int refresh_bystander(stage *s)
{
    otok_tokens *tokens = NULL;
    otok_refresh_request request = test_refresh_request(s->bystander.token, "tv");
    request.client_type = OTOK_CLIENT_CONFIDENTIAL;
    int rc = otok_refresh(s->f->service, &request, &tokens, NULL);
    otok_tokens_free(tokens);
    return rc;
}

static void nothing_was_done(const scenario *c, stage *s, int rc, uint64_t state, size_t events)
{
    ck_assert_msg(is_honest(rc), "%s: %s: %s", where(), otok_error_name(rc), s->err.message);
    ck_assert_msg(!has_outputs(s), "%s: something came out", where());
    if (!c->in_steps) {
        ck_assert_msg(test_store_state(s->f->store) == state, "%s: %s, and the store has changed", where(),
                      otok_error_name(rc));
        ck_assert_msg(s->f->nevents == events, "%s: %s, and an event was told", where(), otok_error_name(rc));
    }
    int others = refresh_bystander(s);
    ck_assert_msg(others == OTOK_OK, "%s: another session is refused afterwards: %s", where(), otok_error_name(others));
}

/* What OpenSSL and LMDB keep for later is no leak: that grows at most a few times. */
static bool leaks(const scenario *c, stage *s)
{
    int growths = 0;
    for (int i = 0; i < MOST_REPEATS; i++) {
        int64_t living = shortage.living;
        if (call_short(c, s) == c->done) {
            free_outputs(s);
            c->prepare(s);
            return false;
        }
        growths += i >= MOST_REPEATS - LAST_REPEATS && shortage.living > living;
    }
    return growths == LAST_REPEATS;
}

/* False when there are fewer than k allocations in the call. */
static bool fail_one(const scenario *c, stage *s, uint64_t k, uint64_t *survived)
{
    uint64_t state = test_store_state(s->f->store);
    size_t events = s->f->nevents;
    int64_t living = shortage.living;
    shortage.k = k;
    int rc = call_short(c, s);
    bool reached = shortage.count >= k;
    if (rc == c->done) {
        *survived += reached;
        c->is_whole(s);
        free_outputs(s);
        test_forget_events(s->f);
        c->prepare(s);
        return reached;
    }
    ck_assert_msg(reached, "%s: %s with all the memory there is: %s", c->name, otok_error_name(rc), s->err.message);
    int64_t left = shortage.living - living;
    nothing_was_done(c, s, rc, state, events);
    ck_assert_msg(left <= 0 || !leaks(c, s), "%s: leaks", where());
    if (c->in_steps)
        c->prepare(s);
    return true;
}

static void run_scenario(const scenario *c, int engine)
{
    stage s;
    uint64_t n[2], survived = 0;
    open_stage(&s, engine);
    c->prepare(&s);
    shortage.k = UINT64_MAX;
    ck_assert_msg(call_short(c, &s) == c->done, "%s: %s", c->name,
                  s.err.message); /* what is kept for ever is kept now */
    free_outputs(&s);
    test_forget_events(s.f);
    c->prepare(&s);
    for (int i = 0; i < 2; i++) {
        shortage.for_good = i != 0;
        for (n[i] = 0; fail_one(c, &s, n[i] + 1, &survived);)
            n[i]++;
    }
    printf("%-26s %s: %llu allocations, %llu failures survived\n", c->name, engine == TEST_LMDB ? "lmdb  " : "memory",
           (unsigned long long)n[0], (unsigned long long)survived);
    close_stage(&s);
}

/* ------------------------------------------------------------------------------------------------ issue and refresh */

static otok_peer peer_at(const char *ip)
{
    otok_peer peer;
    otok_peer_init(&peer, sizeof peer);
    peer.ip = ip;
    peer.user_agent = "test";
    return peer;
}

static void prepare_nothing(stage *s)
{
    (void)s;
}

static int call_issue(stage *s)
{
    static const char *const audience[] = {"https://api.example.org", "https://files.example.org"}, *const amr[] = {
                                                                                                        "pwd"};
    otok_grant grant = test_grant("alice", "phone", "openid offline_access profile");
    otok_peer peer = peer_at("192.0.2.1");
    grant.sid = "sid";
    grant.nonce = "nonce";
    grant.acr = "acr";
    grant.amr = amr;
    grant.amr_count = 1;
    grant.audience = audience;
    grant.audience_count = 2;
    grant.claims = "{\"tenant\":\"a\",\"groups\":[\"x\",\"y\"]}";
    grant.label = "Alice's phone";
    grant.peer = &peer;
    return otok_issue(s->f->service, &grant, &s->tokens, &s->err);
}

static void tokens_are_whole(const otok_tokens *tokens)
{
    ck_assert_ptr_nonnull(tokens);
    ck_assert_uint_eq(strlen(tokens->offline_token), OTOK_TOKEN_CHARS);
    ck_assert_uint_eq(strlen(tokens->session_id), OTOK_SESSION_ID_CHARS);
    ck_assert_ptr_nonnull(tokens->access_token);
    ck_assert_ptr_nonnull(tokens->id_token);
    ck_assert_str_eq(tokens->scope, "openid offline_access profile");
    ck_assert_ptr_nonnull(strstr(tokens->response_json, tokens->access_token));
    ck_assert_ptr_nonnull(strstr(tokens->response_json, tokens->id_token));
    ck_assert_ptr_nonnull(strstr(tokens->response_json, tokens->offline_token));
}

static void issue_is_whole(stage *s)
{
    tokens_are_whole(s->tokens);
    ck_assert(test_has_session(s->f, s->tokens->session_id));
    ck_assert_uint_eq(test_count_events(s->f, OTOK_EVENT_ISSUED), 1);
    test_assert_code(OTOK_OK, test_refresh_code(s->f, s->tokens->offline_token, "phone"));
    test_assert_code(OTOK_OK, otok_revoke_session(s->f->service, s->tokens->session_id, NULL));
}

static void hold_fresh(stage *s)
{
    otok_peer peer = peer_at("192.0.2.1");
    otok_grant grant = test_grant("alice", "phone", NULL);
    grant.peer = &peer;
    if (s->held.session_id[0] != '\0')
        (void)otok_revoke_session(s->f->service, s->held.session_id, NULL);
    s->held = test_hold_grant(s->f, &grant);
    memcpy(s->old, s->held.token, sizeof s->old);
    test_forget_events(s->f);
}

static void hold_for_a_minute(stage *s)
{
    hold_fresh(s);
    test_advance_s(s->f, 60);
}

/* Longer than a touch interval: what it is used from is written too, and that is a whole record. */
static void hold_for_an_hour(stage *s)
{
    hold_fresh(s);
    test_advance_s(s->f, 3600);
}

static int refresh_from(stage *s, const char *token, const char *ip)
{
    otok_refresh_request request = test_refresh_request(token, "phone");
    otok_peer peer = peer_at(ip);
    request.peer = &peer;
    return otok_refresh(s->f->service, &request, &s->tokens, &s->err);
}

static void rotate_once(stage *s)
{
    hold_for_a_minute(s);
    test_assert_code(OTOK_OK, refresh_from(s, s->held.token, "192.0.2.1"));
    test_keep(&s->held, s->tokens);
    s->tokens = NULL;
    test_forget_events(s->f);
}

static void rotate_twice(stage *s)
{
    rotate_once(s);
    test_advance_s(s->f, 60);
    test_assert_code(OTOK_OK, test_refresh_held(s->f, &s->held, "phone"));
    test_forget_events(s->f);
}

static int call_refresh(stage *s)
{
    return refresh_from(s, s->held.token, "192.0.2.1");
}

static int call_refresh_elsewhere(stage *s)
{
    return refresh_from(s, s->held.token, "192.0.2.2");
}

static int call_refresh_old(stage *s)
{
    return refresh_from(s, s->old, "192.0.2.1");
}

static void kept_is_whole(stage *s)
{
    tokens_are_whole(s->tokens);
    ck_assert_int_eq(s->tokens->outcome, OTOK_OUTCOME_KEPT);
    ck_assert_str_eq(s->tokens->offline_token, s->held.token);
}

/* The rotation's marks are there too: a retry from the same place is not taken for one from another (T2). */
static void advanced_is_whole(stage *s)
{
    tokens_are_whole(s->tokens);
    ck_assert_int_eq(s->tokens->outcome, OTOK_OUTCOME_ADVANCED);
    ck_assert_uint_eq(s->tokens->generation, 1);
    otok_record *record = test_session_record(s->f->store, s->held.session_id);
    otok_head head;
    ck_assert(otok_head_parse(record->head, &head));
    ck_assert_uint_eq(head.generation, 1);
    ck_assert_msg(head.ip_mark != 0 && head.user_agent_mark != 0, "%s: the rotation lost its marks", where());
    otok_record_free(record);
    test_assert_code(OTOK_OK, test_refresh_code(s->f, s->tokens->offline_token, "phone"));
}

static void retried_is_whole(stage *s)
{
    tokens_are_whole(s->tokens);
    ck_assert_int_eq(s->tokens->outcome, OTOK_OUTCOME_RETRIED);
    ck_assert_str_eq(s->tokens->offline_token, s->held.token);
    const test_event *event = test_last_event(s->f, OTOK_EVENT_RETRIED);
    ck_assert_msg(event != NULL && event->event.marks == 0, "%s: a retry from the same place is marked", where());
}

static void reuse_is_whole(stage *s)
{
    ck_assert_ptr_null(s->tokens);
    ck_assert(!test_has_session(s->f, s->held.session_id));
    ck_assert_uint_eq(test_count_events(s->f, OTOK_EVENT_REUSE), 1);
    ck_assert_uint_eq(test_count_reasons(s->f, OTOK_EVENT_REVOKED, OTOK_REVOKED_BY_REUSE, s->held.session_id), 1);
}

/* ----------------------------------------------------------------------------------------------------------- revoke */

static int call_revoke_token(stage *s)
{
    otok_revoke_request request;
    otok_revoke_request_init(&request, sizeof request);
    request.token = s->held.token;
    request.client_id = "phone";
    request.client_type = OTOK_CLIENT_PUBLIC;
    return otok_revoke_token(s->f->service, &request, &s->err);
}

/* An access token out of which memory was too short to make sense is not a string of no known form. */
static int call_revoke_access_token(stage *s)
{
    otok_revoke_request request;
    otok_revoke_request_init(&request, sizeof request);
    request.token = s->held.access_token;
    request.client_id = "phone";
    request.client_type = OTOK_CLIENT_CONFIDENTIAL;
    return otok_revoke_token(s->f->service, &request, &s->err);
}

static int call_revoke_session(stage *s)
{
    return otok_revoke_session(s->f->service, s->held.session_id, &s->err);
}

static void revoked_is_gone(stage *s)
{
    ck_assert_msg(!test_has_session(s->f, s->held.session_id), "%s: OTOK_OK was said, and the session lives", where());
    ck_assert_uint_eq(test_count_events(s->f, OTOK_EVENT_REVOKED), 1);
}

enum { A_FEW = 5 };

static void hold_a_few(stage *s)
{
    otok_filter filter = test_filter("alice", "phone", NULL);
    (void)otok_revoke_matching(s->f->service, &filter, NULL, NULL);
    for (int i = 0; i < A_FEW; i++)
        s->held = test_hold(s->f, "alice", "phone");
    test_forget_events(s->f);
}

static int call_revoke_matching(stage *s)
{
    otok_filter filter = test_filter("alice", "phone", NULL);
    int rc = otok_revoke_matching(s->f->service, &filter, &s->count, &s->err);
    if (rc != OTOK_OK)
        s->count = 0; /* how many were removed before */
    return rc;
}

static void matching_are_gone(stage *s)
{
    otok_filter filter = test_filter("alice", "phone", NULL);
    ck_assert_msg(s->count == A_FEW, "%s: %llu were removed", where(), (unsigned long long)s->count);
    ck_assert_uint_eq(test_count(s->f, &filter), 0);
    test_assert_code(OTOK_E_TOKEN_UNKNOWN, test_refresh_code(s->f, s->held.token, "phone"));
}

static otok_filter next_cutoff(stage *s)
{
    (void)snprintf(s->name, sizeof s->name, "nobody-%d", s->number);
    return test_filter(s->name, NULL, NULL);
}

static void another_cutoff(stage *s)
{
    s->number++;
}

static int call_cutoff_new(stage *s)
{
    otok_filter filter = next_cutoff(s);
    return otok_cutoff_set(s->f->service, &filter, OTOK_NOW, &s->time_us, &s->err);
}

static void a_cutoff_that_stands(stage *s)
{
    otok_filter filter = test_filter("alice", NULL, NULL);
    hold_fresh(s);
    test_assert_code(OTOK_OK, otok_cutoff_set(s->f->service, &filter, OTOK_NOW, NULL, NULL));
    test_advance_s(s->f, 60);
    hold_fresh(s);
}

static int call_cutoff_again(stage *s)
{
    otok_filter filter = test_filter("alice", NULL, NULL);
    return otok_cutoff_set(s->f->service, &filter, OTOK_NOW, &s->time_us, &s->err);
}

static void cutoff_stands(stage *s)
{
    otok_filter filter = next_cutoff(s);
    int64_t at_us;
    test_assert_code(OTOK_OK, otok_cutoff_get(s->f->service, &filter, &at_us, NULL));
    ck_assert_int_eq(at_us, s->time_us);
}

static void cutoff_moved(stage *s)
{
    ck_assert_int_ge(s->time_us, s->f->now_us);
    test_assert_code(OTOK_E_TOKEN_REVOKED, test_refresh_code(s->f, s->held.token, "phone"));
}

static int call_cutoff_get(stage *s)
{
    otok_filter filter = test_filter("alice", NULL, NULL);
    return otok_cutoff_get(s->f->service, &filter, &s->time_us, &s->err);
}

static void cutoff_is_told(stage *s)
{
    ck_assert_int_gt(s->time_us, 0);
}

/* ----------------------------------------------------------------------------------------------- list, count, sweep */

static int call_list(stage *s)
{
    otok_filter filter = test_filter("alice", "phone", NULL);
    otok_list_request request;
    otok_list_request_init(&request, sizeof request);
    request.filter = &filter;
    request.limit = A_FEW - 1;
    return otok_list(s->f->service, &request, &s->page, &s->err);
}

static void page_is_whole(stage *s)
{
    ck_assert_uint_eq(s->page->count, A_FEW - 1);
    ck_assert_ptr_nonnull(s->page->next_cursor);
    for (size_t i = 0; i < s->page->count; i++)
        ck_assert_str_eq(s->page->sessions[i]->subject, "alice");
}

static int call_session_get(stage *s)
{
    return otok_session_get(s->f->service, s->held.session_id, &s->session, &s->err);
}

static void session_is_whole(stage *s)
{
    ck_assert_str_eq(s->session->session_id, s->held.session_id);
}

static int call_count(stage *s)
{
    otok_filter filter = test_filter("alice", "phone", NULL);
    return otok_count(s->f->service, &filter, &s->count, &s->err);
}

static int call_count_live(stage *s)
{
    otok_filter filter = test_filter("alice", "phone", NULL);
    return otok_count_live(s->f->service, &filter, &s->count, &s->err);
}

static void count_is_right(stage *s)
{
    ck_assert_uint_eq(s->count, A_FEW);
}

/* A few behind a cutoff, which is filed for the sweeper too. */
static void leave_some_dead(stage *s)
{
    otok_filter filter = test_filter("alice", "phone", NULL);
    hold_a_few(s);
    test_assert_code(OTOK_OK, otok_cutoff_set(s->f->service, &filter, OTOK_NOW, NULL, NULL));
    test_advance_s(s->f, 60);
    test_forget_events(s->f);
}

static int call_sweep(stage *s)
{
    return otok_sweep(s->f->service, 0, NULL, &s->err);
}

static void dead_are_gone(stage *s)
{
    otok_filter filter = test_filter("alice", "phone", NULL);
    ck_assert_uint_eq(test_count(s->f, &filter), 0);
    ck_assert_uint_le(test_count_reasons(s->f, OTOK_EVENT_REVOKED, OTOK_REVOKED_BY_CUTOFF, NULL), A_FEW);
    test_assert_code(OTOK_OK, refresh_bystander(s));
}

/* ------------------------------------------------------------------------------------------ service, store, keyring */

static int call_service_open(stage *s)
{
    otok_config config;
    otok_config_init(&config, sizeof config);
    config.issuer = TEST_ISSUER;
    return otok_service_open(&config, s->f->store, s->f->keyring, &s->service, &s->err);
}

static void service_works(stage *s)
{
    ck_assert_ptr_nonnull(s->service);
    ck_assert_ptr_nonnull(otok_service_now_keys(s->service)->active);
    ck_assert_ptr_nonnull(otok_service_now_keys(s->service)->at_header);
}

static void new_directory(stage *s)
{
    char *folder = test_new_folder();
    (void)snprintf(s->path, sizeof s->path, "%s", folder);
    free(folder);
}

static int call_service_open_directory(stage *s)
{
    otok_config config;
    otok_config_init(&config, sizeof config);
    config.issuer = TEST_ISSUER;
    config.directory = s->path;
    return otok_service_open(&config, NULL, NULL, &s->service, &s->err);
}

/* Whatever failed before in that folder has left nothing that is in the way. */
static void directory_works(stage *s)
{
    otok_tokens *tokens = NULL;
    otok_grant grant = test_grant(NULL, NULL, NULL);
    test_assert_code(OTOK_OK, otok_issue(s->service, &grant, &tokens, NULL));
    otok_tokens_free(tokens);
    test_remove_folder(strdup(s->path));
}

static int call_store_open_memory(stage *s)
{
    return otok_store_open_memory(&s->store, &s->err);
}

static int call_store_open_lmdb(stage *s)
{
    return otok_store_open_lmdb(s->path, NULL, &s->store, &s->err);
}

static void store_works(stage *s)
{
    ck_assert_uint_eq(test_count_records(s->store), 0);
    if (s->path[0] != '\0')
        test_remove_folder(strdup(s->path));
}

static int call_keyring_generate(stage *s)
{
    return otok_keyring_generate(OTOK_ALG_ES256, &s->keyring, &s->err);
}

static void keyring_is_whole(stage *s)
{
    ck_assert_ptr_nonnull(otok_keyring_signing(s->keyring));
    ck_assert_ptr_nonnull(otok_keyring_token(s->keyring));
}

static void new_keyring_file(stage *s)
{
    new_directory(s);
    (void)snprintf(s->path + strlen(s->path), 32, "/keyring.json");
}

static void save_keyring(stage *s)
{
    new_keyring_file(s);
    test_assert_code(OTOK_OK, otok_keyring_save(s->f->keyring, s->path, NULL, &s->err));
}

static void remove_keyring(stage *s)
{
    *strrchr(s->path, '/') = '\0';
    test_remove_folder(strdup(s->path));
}

static int call_keyring_save(stage *s)
{
    return otok_keyring_save(s->f->keyring, s->path, NULL, &s->err);
}

static int call_keyring_load(stage *s)
{
    return otok_keyring_load(s->path, NULL, &s->keyring, &s->err);
}

static void saved_can_be_loaded(stage *s)
{
    test_assert_code(OTOK_OK, call_keyring_load(s));
    ck_assert_str_eq(otok_keyring_signing(s->keyring)->kid, otok_keyring_signing(s->f->keyring)->kid);
    remove_keyring(s);
}

static void loaded_is_whole(stage *s)
{
    keyring_is_whole(s);
    ck_assert_str_eq(otok_keyring_signing(s->keyring)->kid, otok_keyring_signing(s->f->keyring)->kid);
    remove_keyring(s);
}

static int call_jwks(stage *s)
{
    return otok_keyring_jwks(s->f->keyring, &s->text, &s->err);
}

static void jwks_is_whole(stage *s)
{
    ck_assert_ptr_nonnull(strstr(s->text, otok_keyring_signing(s->f->keyring)->kid));
}

/* ------------------------------------------------------------------------------------------------------------ tests */

/* Over both stores. */
static const scenario on_stores[] = {
    {"issue", prepare_nothing, call_issue, issue_is_whole, OTOK_OK, false},
    {"refresh, kept", hold_fresh, call_refresh, kept_is_whole, OTOK_OK, false},
    {"refresh, advanced", hold_for_a_minute, call_refresh, advanced_is_whole, OTOK_OK, false},
    {"refresh, advanced and moved", hold_for_an_hour, call_refresh_elsewhere, advanced_is_whole, OTOK_OK, false},
    {"refresh, retried", rotate_once, call_refresh_old, retried_is_whole, OTOK_OK, false},
    {"refresh, reused", rotate_twice, call_refresh_old, reuse_is_whole, OTOK_E_TOKEN_REUSED, false},
    {"revoke_token", hold_fresh, call_revoke_token, revoked_is_gone, OTOK_OK, false},
    {"revoke_token, access token", hold_fresh, call_revoke_access_token, revoked_is_gone, OTOK_OK, false},
    {"revoke_session", hold_fresh, call_revoke_session, revoked_is_gone, OTOK_OK, false},
    {"revoke_matching", hold_a_few, call_revoke_matching, matching_are_gone, OTOK_OK, true},
    {"cutoff_set, new", another_cutoff, call_cutoff_new, cutoff_stands, OTOK_OK, false},
    {"cutoff_set, moved", a_cutoff_that_stands, call_cutoff_again, cutoff_moved, OTOK_OK, false},
    {"cutoff_get", a_cutoff_that_stands, call_cutoff_get, cutoff_is_told, OTOK_OK, false},
    {"list", hold_a_few, call_list, page_is_whole, OTOK_OK, false},
    {"session_get", hold_fresh, call_session_get, session_is_whole, OTOK_OK, false},
    {"count", hold_a_few, call_count, count_is_right, OTOK_OK, false},
    {"count_live", hold_a_few, call_count_live, count_is_right, OTOK_OK, false},
    {"sweep", leave_some_dead, call_sweep, dead_are_gone, OTOK_OK, true},
    {"service_open", prepare_nothing, call_service_open, service_works, OTOK_OK, false},
};

/* Apart from any. */
static const scenario alone[] = {
    {"service_open, directory", new_directory, call_service_open_directory, directory_works, OTOK_OK, false},
    {"store_open_memory", prepare_nothing, call_store_open_memory, store_works, OTOK_OK, false},
    {"store_open_lmdb", new_directory, call_store_open_lmdb, store_works, OTOK_OK, false},
    {"keyring_generate", prepare_nothing, call_keyring_generate, keyring_is_whole, OTOK_OK, false},
    {"keyring_save", new_keyring_file, call_keyring_save, saved_can_be_loaded, OTOK_OK, false},
    {"keyring_load", save_keyring, call_keyring_load, loaded_is_whole, OTOK_OK, false},
    {"keyring_jwks", prepare_nothing, call_jwks, jwks_is_whole, OTOK_OK, false},
};

enum { ON_STORES = sizeof on_stores / sizeof on_stores[0], ALONE = sizeof alone / sizeof alone[0] };

START_TEST(every_allocation_may_fail_over_memory)
{
    run_scenario(&on_stores[_i], TEST_MEMORY);
}
END_TEST

START_TEST(every_allocation_may_fail_over_lmdb)
{
    run_scenario(&on_stores[_i], TEST_LMDB);
}
END_TEST

START_TEST(every_allocation_may_fail_while_things_are_opened)
{
    run_scenario(&alone[_i], TEST_MEMORY);
}
END_TEST

static void add(TCase *tc)
{
    tcase_add_loop_test(tc, every_allocation_may_fail_over_memory, 0, ON_STORES);
    tcase_add_loop_test(tc, every_allocation_may_fail_over_lmdb, 0, ON_STORES);
    tcase_add_loop_test(tc, every_allocation_may_fail_while_things_are_opened, 0, ALONE);
}

int main(void)
{
    if (!EVERY_ALLOCATION)
        printf("a sanitizer's allocator, or no glibc: only the library's own allocations fail\n");
    (void)signal(SIGSEGV, on_crash);
    (void)signal(SIGABRT, on_crash);
    return test_main("out of memory", add);
}
