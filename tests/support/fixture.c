/*
 * fixture.c
 *
 * SPDX-License-Identifier: MIT
 */
#include "support/fixture.h"

#include <ftw.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void must(int rc, const otok_error *err)
{
    if (rc != OTOK_OK)
        ck_abort_msg("%s: %s", otok_error_name(rc), err->message);
}

static int64_t fixture_now(void *user)
{
    test_fixture *f = user;
    return __atomic_load_n(&f->now_us, __ATOMIC_SEQ_CST);
}

static const char *keep(char *room, size_t size, const char *text)
{
    if (text == NULL)
        return NULL;
    (void)snprintf(room, size, "%s", text);
    return room;
}

static void fixture_event(void *user, const otok_event *event)
{
    test_fixture *f = user;
    pthread_mutex_lock(f->lock);
    if (f->nevents < TEST_MAX_EVENTS) {
        test_event *e = &f->events[f->nevents++];
        e->event = *event;
        e->event.realm = NULL;
        e->event.session_id = keep(e->session_id, sizeof e->session_id, event->session_id);
        e->event.subject = keep(e->subject, sizeof e->subject, event->subject);
        e->event.client_id = keep(e->client_id, sizeof e->client_id, event->client_id);
        e->event.sid = keep(e->sid, sizeof e->sid, event->sid);
        e->event.ip = keep(e->ip, sizeof e->ip, event->ip);
        e->event.user_agent = keep(e->user_agent, sizeof e->user_agent, event->user_agent);
    }
    pthread_mutex_unlock(f->lock);
}

static int fixture_client_policy(void *user, const char *client_id, otok_policy *policy)
{
    test_fixture *f = user;
    return f->client_policy != NULL ? f->client_policy(f, client_id, policy) : 0;
}

static void open_store(test_fixture *f)
{
    otok_error err;
    if (f->engine == TEST_LMDB)
        must(otok_store_open_lmdb(f->folder, NULL, &f->store, &err), &err);
    else
        must(otok_store_open_memory(&f->store, &err), &err);
}

static void open_service(test_fixture *f)
{
    otok_config config;
    otok_error err;
    otok_config_init(&config, sizeof config);
    config.issuer = TEST_ISSUER;
    config.realm = f->realm;
    config.policy = &f->policy;
    config.callbacks = &f->callbacks;
    config.user = f;
    must(otok_service_open(&config, f->store, f->keyring, &f->service, &err), &err);
}

test_fixture *test_open(int engine)
{
    otok_error err;
    test_fixture *f = calloc(1, sizeof *f);
    f->events = calloc(TEST_MAX_EVENTS, sizeof *f->events);
    f->lock = malloc(sizeof *f->lock);
    pthread_mutex_init(f->lock, NULL);
    f->engine = engine;
    f->folder = engine == TEST_LMDB ? test_new_folder() : NULL;
    f->now_us = TEST_START_US;
    otok_policy_init(&f->policy, sizeof f->policy);
    otok_callbacks_init(&f->callbacks, sizeof f->callbacks);
    f->callbacks.now = fixture_now;
    f->callbacks.event = fixture_event;
    f->callbacks.client_policy = fixture_client_policy;
    must(otok_keyring_generate(OTOK_ALG_ES256, &f->keyring, &err), &err);
    open_store(f);
    open_service(f);
    return f;
}

void test_close(test_fixture *f)
{
    otok_service_close(f->service);
    otok_store_close(f->store);
    otok_keyring_free(f->keyring);
    test_remove_folder(f->folder);
    pthread_mutex_destroy(f->lock);
    free(f->lock);
    free(f->events);
    free(f);
}

void test_reopen_service(test_fixture *f)
{
    otok_service_close(f->service);
    open_service(f);
}

void test_restart(test_fixture *f)
{
    otok_service_close(f->service);
    if (f->engine == TEST_LMDB) {
        otok_store_close(f->store);
        open_store(f);
    }
    open_service(f);
}

void test_advance_s(test_fixture *f, int64_t seconds)
{
    __atomic_add_fetch(&f->now_us, seconds * OTOK_US_PER_S, __ATOMIC_SEQ_CST);
}

void test_set_now_us(test_fixture *f, int64_t now_us)
{
    __atomic_store_n(&f->now_us, now_us, __ATOMIC_SEQ_CST);
}

otok_grant test_grant(const char *subject, const char *client_id, const char *scope)
{
    otok_grant grant;
    otok_grant_init(&grant, sizeof grant);
    grant.subject = subject != NULL ? subject : "alice";
    grant.client_id = client_id != NULL ? client_id : "phone";
    grant.scope = scope != NULL ? scope : "openid offline_access profile";
    grant.client_type = OTOK_CLIENT_PUBLIC;
    return grant;
}

otok_tokens *test_issue(test_fixture *f, const char *subject, const char *client_id, const char *scope)
{
    otok_error err;
    otok_tokens *tokens = NULL;
    otok_grant grant = test_grant(subject, client_id, scope);
    must(otok_issue(f->service, &grant, &tokens, &err), &err);
    return tokens;
}

int test_refresh(test_fixture *f, const char *token, const char *client_id, otok_tokens **out)
{
    otok_error err;
    otok_refresh_request request;
    otok_refresh_request_init(&request, sizeof request);
    request.token = token;
    request.client_id = client_id != NULL ? client_id : "phone";
    request.client_type = OTOK_CLIENT_PUBLIC;
    *out = NULL;
    return otok_refresh(f->service, &request, out, &err);
}

const test_event *test_last_event(const test_fixture *f, int32_t type)
{
    for (size_t i = f->nevents; i > 0; i--) {
        if (f->events[i - 1].event.type == type)
            return &f->events[i - 1];
    }
    return NULL;
}

size_t test_count_events(const test_fixture *f, int32_t type)
{
    size_t n = 0;
    for (size_t i = 0; i < f->nevents; i++)
        n += f->events[i].event.type == type;
    return n;
}

void test_forget_events(test_fixture *f)
{
    f->nevents = 0;
}

char *test_new_folder(void)
{
    const char *base = getenv("TMPDIR");
    char path[4096];
    (void)snprintf(path, sizeof path, "%s/offlinetok-test-XXXXXX", base != NULL ? base : "/tmp");
    if (mkdtemp(path) == NULL)
        ck_abort_msg("mkdtemp: %s", path);
    return strdup(path);
}

static int remove_one(const char *path, const struct stat *st, int flag, struct FTW *ftw)
{
    (void)st;
    (void)flag;
    (void)ftw;
    return remove(path);
}

void test_remove_folder(char *folder)
{
    if (folder != NULL)
        (void)nftw(folder, remove_one, 16, FTW_DEPTH | FTW_PHYS);
    free(folder);
}

int test_main(const char *name, void (*add)(TCase *))
{
    Suite *suite = suite_create(name);
    TCase *tcase = tcase_create(name);
    tcase_set_timeout(tcase, 120);
    add(tcase);
    suite_add_tcase(suite, tcase);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
