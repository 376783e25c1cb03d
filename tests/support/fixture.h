/*
 * fixture.h - what most tests stand on: a service with a clock that the test moves, over memory or a real LMDB folder, whose
 * events are recorded.  Everything aborts the test (ck_abort) when the setting up itself fails.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef TEST_FIXTURE_H
#define TEST_FIXTURE_H

#include <check.h>
#include <pthread.h>
#include <stdbool.h>

#include "session/session.h"

#define TEST_ISSUER   "https://id.example.org"
#define TEST_START_US INT64_C(1800000000000000) /* where the clock of a new fixture stands */

enum { TEST_MEMORY = 0, TEST_LMDB = 1 };
enum { TEST_MAX_EVENTS = 4096 };

/* A copy of an event, kept after the callback. */
typedef struct test_event {
    otok_event event; /* its texts point into the four below, or are NULL */
    char session_id[32], subject[256], client_id[256], sid[256], ip[128], user_agent[600];
} test_event;

typedef struct test_fixture {
    int engine;
    char *folder; /* of LMDB, NULL for memory; removed by test_close() */
    otok_store *store;
    otok_keyring *keyring;
    otok_service *service;
    otok_policy policy;       /* change it, then test_reopen_service() */
    otok_callbacks callbacks; /* now and event are the fixture's */
    int64_t now_us;           /* atomic access through test_now()/test_advance_s() when threads run */
    test_event *events;
    size_t nevents; /* recorded under a mutex */
    pthread_mutex_t *lock;
    /* A client_policy of the test's: set it, then test_reopen_service(); gets the fixture. */
    int (*client_policy)(struct test_fixture *fixture, const char *client_id, otok_policy *policy);
    const char *realm; /* NULL: the issuer; change it, then test_reopen_service() */
} test_fixture;

/* Opens store, keyring (ES256) and service.  Default policy. */
test_fixture *test_open(int engine);
void test_close(test_fixture *f);

void test_reopen_service(test_fixture *f); /* closes and opens the service only, with f->policy */
void test_restart(test_fixture *f); /* closes service and store (LMDB: from disk again), opens both; same keyring */

void test_advance_s(test_fixture *f, int64_t seconds);
void test_set_now_us(test_fixture *f, int64_t now_us);

/* Issue with defaults: subject, client ("phone", public), scope "openid offline_access profile" where NULL is given. */
otok_grant test_grant(const char *subject, const char *client_id, const char *scope);
otok_tokens *test_issue(test_fixture *f, const char *subject, const char *client_id,
                        const char *scope); /* aborts on failure */

/* Refresh as that (public) client: the code, and the tokens when it is OTOK_OK (freed by the caller). */
int test_refresh(test_fixture *f, const char *token, const char *client_id, otok_tokens **out);

/* Expect-style helpers: abort with the name of the code that came. */
#define test_assert_code(expected, got)                                                                                \
    do { /* each once: a call that fails must not be made again for the message */                                     \
        int test_expected = (expected), test_got = (got);                                                              \
        ck_assert_msg(test_expected == test_got, "expected %s, got %s", otok_error_name(test_expected),                \
                      otok_error_name(test_got));                                                                      \
    } while (0)

const test_event *test_last_event(const test_fixture *f, int32_t type); /* NULL when there was none */
size_t test_count_events(const test_fixture *f, int32_t type);
void test_forget_events(test_fixture *f);

/* A new folder for a test, removed with everything in it by test_remove_folder(). */
char *test_new_folder(void);
void test_remove_folder(char *folder); /* frees too */

/* Runs the suite in one SRunner with CK_NORMAL; the value for main() to return. */
int test_main(const char *name, void (*add)(TCase *));

#endif
