/*
 * check_authorize_apart.c - the host is asked outside of everything (R5): one that takes its time holds up nobody, and one that
 * calls the library from inside its callback is answered.
 *
 * SPDX-License-Identifier: MIT
 */
#include "support/host.h"

#include <pthread.h>
#include <string.h>

#include "support/introspect.h"

static test_host host;

static test_fixture *open_host(int engine)
{
    test_fixture *f = test_open(engine);
    test_install_host(f, &host);
    return f;
}

/* ----------------------------------------------------------------------------------------------------- a slow host */

struct slow {
    test_fixture *f;
    pthread_mutex_t lock;
    pthread_cond_t moved;
    char session_id[32]; /* whose use it thinks about */
    const char *token;
    bool thinking, may_go;
    int code; /* of the refresh that waits */
};

static void slow_wait(struct slow *s, const bool *until)
{
    pthread_mutex_lock(&s->lock);
    while (!*until)
        pthread_cond_wait(&s->moved, &s->lock);
    pthread_mutex_unlock(&s->lock);
}

static void slow_say(struct slow *s, bool *what)
{
    pthread_mutex_lock(&s->lock);
    *what = true;
    pthread_cond_broadcast(&s->moved);
    pthread_mutex_unlock(&s->lock);
}

static int think(test_host *h, const otok_use *use, otok_answer *answer)
{
    struct slow *s = h->arg;
    (void)answer;
    if (strcmp(use->session->session_id, s->session_id) == 0) {
        slow_say(s, &s->thinking);
        slow_wait(s, &s->may_go);
    }
    return 0;
}

static void *refresh_slowly(void *arg)
{
    struct slow *s = arg;
    s->code = test_refresh_code(s->f, s->token, NULL);
    return NULL;
}

/* R5: "outside any store transaction": while it thinks, others refresh, issue, list, revoke and sweep. */
START_TEST(slow_host_holds_up_nobody)
{
    test_fixture *f = open_host(_i);
    struct slow slow = {.f = f, .lock = PTHREAD_MUTEX_INITIALIZER, .moved = PTHREAD_COND_INITIALIZER};
    pthread_t thread;
    test_held waits = test_hold(f, "alice", NULL), other = test_hold(f, "bob", NULL), third = test_hold(f, "eve", NULL);
    otok_filter realm = test_filter_realm();
    memcpy(slow.session_id, waits.session_id, sizeof waits.session_id);
    slow.token = waits.token;
    test_advance_s(f, 60);
    host.authorize = think;
    host.arg = &slow;
    f->callbacks.claims = NULL; /* which counts, without a lock */
    test_reopen_service(f);
    ck_assert_int_eq(pthread_create(&thread, NULL, refresh_slowly, &slow), 0);
    slow_wait(&slow, &slow.thinking);
    test_rotate(f, &other, NULL);
    test_rotate(f, &other, NULL);
    test_held fresh = test_hold(f, "mallory", NULL);
    ck_assert_uint_eq(test_list(f, &realm, 0, 2, NULL, 0), 4);
    test_assert_code(OTOK_OK, otok_revoke_session(f->service, third.session_id, NULL));
    test_assert_code(OTOK_OK, test_revoke(f, fresh.token, NULL));
    (void)test_sweep(f, 100);
    ck_assert(!slow.may_go);
    slow_say(&slow, &slow.may_go);
    ck_assert_int_eq(pthread_join(thread, NULL), 0);
    test_assert_code(OTOK_OK, slow.code);
    test_end(f);
}
END_TEST

/* V5: what is revoked while the host thinks stays so. */
START_TEST(session_that_is_revoked_while_the_host_thinks_is_gone)
{
    test_fixture *f = open_host(_i);
    struct slow slow = {.f = f, .lock = PTHREAD_MUTEX_INITIALIZER, .moved = PTHREAD_COND_INITIALIZER};
    pthread_t thread;
    test_held waits = test_hold(f, "alice", NULL);
    memcpy(slow.session_id, waits.session_id, sizeof waits.session_id);
    slow.token = waits.token;
    test_advance_s(f, 60);
    host.authorize = think;
    host.arg = &slow;
    ck_assert_int_eq(pthread_create(&thread, NULL, refresh_slowly, &slow), 0);
    slow_wait(&slow, &slow.thinking);
    test_assert_code(OTOK_OK, otok_revoke_session(f->service, waits.session_id, NULL));
    slow_say(&slow, &slow.may_go);
    ck_assert_int_eq(pthread_join(thread, NULL), 0);
    test_assert_code(OTOK_E_TOKEN_UNKNOWN, slow.code);
    ck_assert(!test_has_session(f, waits.session_id));
    test_end(f);
}
END_TEST

/* -------------------------------------------------------------------------------------------- a host that calls back */

struct inside {
    test_fixture *f;
    test_held other;
    bool entered, revokes;
};

/* Everything that a host may want to know or do while it is asked; the calls that this makes ask it again. */
static int call_back(test_host *h, const otok_use *use, otok_answer *answer)
{
    struct inside *in = h->arg;
    otok_filter filter = test_filter(use->session->subject, NULL, NULL);
    (void)answer;
    if (in->entered)
        return 0;
    in->entered = true;
    ck_assert_uint_eq(test_list(in->f, &filter, 0, 10, NULL, 0), use->purpose == OTOK_PURPOSE_ISSUE ? 0 : 1);
    test_rotate(in->f, &in->other, NULL);
    ck_assert(test_is_live(in->f, in->other.session_id));
    ck_assert(test_is_active(in->f, in->other.token, NULL));
    if (use->purpose != OTOK_PURPOSE_ISSUE) {
        ck_assert(test_has_session(in->f, use->session->session_id));
        ck_assert(test_is_live(in->f, use->session->session_id));
    }
    if (in->revokes)
        test_assert_code(OTOK_OK, otok_revoke_session(in->f->service, use->session->session_id, NULL));
    return 0;
}

/* R5: "and may call the library". */
START_TEST(host_may_call_the_library_while_it_is_asked)
{
    test_fixture *f = open_host(_i);
    struct inside in = {.f = f, .other = test_hold(f, "bob", NULL), .entered = false};
    host.authorize = call_back;
    host.arg = &in;
    test_held held = test_hold(f, "alice", NULL); /* inside an issue */
    ck_assert(in.entered);
    test_advance_s(f, 60);
    in.entered = false;
    test_rotate(f, &held, NULL);
    ck_assert(in.entered);
    in.entered = false;
    ck_assert(test_is_active(f, held.token, NULL));
    ck_assert(in.entered);
    test_end(f);
}
END_TEST

/* R5 V5: even the session that it is asked about. */
START_TEST(host_may_revoke_the_session_while_it_is_asked)
{
    test_fixture *f = open_host(_i);
    struct inside in = {.f = f, .other = test_hold(f, "bob", NULL), .revokes = true};
    test_held held = test_hold(f, "alice", NULL);
    host.authorize = call_back;
    host.arg = &in;
    test_advance_s(f, 60);
    test_assert_code(OTOK_E_TOKEN_UNKNOWN, test_refresh_code(f, held.token, NULL));
    ck_assert(in.entered);
    ck_assert(!test_has_session(f, held.session_id));
    test_rotate(f, &in.other, NULL);
    test_end(f);
}
END_TEST

static void add_tests(TCase *tcase)
{
    const TTest *const on_both[] = {slow_host_holds_up_nobody, session_that_is_revoked_while_the_host_thinks_is_gone,
                                    host_may_call_the_library_while_it_is_asked,
                                    host_may_revoke_the_session_while_it_is_asked};
    test_add_on_both(tcase, on_both, sizeof on_both / sizeof on_both[0]);
}

int main(void)
{
    return test_main("authorize_apart", add_tests);
}
