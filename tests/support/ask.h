/*
 * ask.h - what tests ask of a fixture in a line: filters, revocations, lists, sweeps, and whether a token lives.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef TEST_ASK_H
#define TEST_ASK_H

#include "support/fixture.h"

/* Thumbprints, as a host hands them over: base64url SHA-256. */
#define TEST_JKT       "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I"
#define TEST_OTHER_JKT "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs"

enum { TEST_DAY_S = 86400 };

/* As many sessions as it takes, quickly: no access tokens, no ID tokens (issue with test_issue_plain()). */
void test_plain_policy(test_fixture *f);

/* Issues with the scope "offline_access": no ID token. */
otok_tokens *test_issue_plain(test_fixture *f, const char *subject, const char *client_id);

/* The same, whose token and session id the caller keeps. */
typedef struct test_held {
    char token[OTOK_TOKEN_CHARS + 1];
    char session_id[OTOK_SESSION_ID_CHARS + 1];
    char access_token[4096]; /* empty: none */
} test_held;

test_held test_hold(test_fixture *f, const char *subject, const char *client_id); /* plain */
test_held test_hold_grant(test_fixture *f, const otok_grant *grant);
void test_keep(test_held *held, otok_tokens *tokens); /* takes what is in `tokens`, and frees them */

otok_refresh_request test_refresh_request(const char *token, const char *client_id);

/* The code of a refresh as that public client; the tokens are dropped. */
int test_refresh_code(test_fixture *f, const char *token, const char *client_id);

/* Refreshes, and keeps what came in `held` when it is OTOK_OK. */
int test_refresh_held(test_fixture *f, test_held *held, const char *client_id);

/* Rotates: moves the clock by a minute, refreshes, keeps the successor; aborts unless it was ADVANCED. */
void test_rotate(test_fixture *f, test_held *held, const char *client_id);

/* RFC 7009, as a public client where nothing else is said. */
int test_revoke(test_fixture *f, const char *token, const char *client_id);
int test_revoke_as(test_fixture *f, const char *token, const char *client_id, int32_t client_type, const char *jkt);

/* NULL: not in the filter. */
otok_filter test_filter(const char *subject, const char *client_id, const char *sid);
otok_filter test_filter_realm(void);

/* Whether otok_session_get() finds it. */
bool test_has_session(test_fixture *f, const char *session_id);

/* Live sessions that a list shows, walked to its end in pages of `limit`; ids where `ids` is not NULL (up to `room`). */
typedef char test_id[OTOK_SESSION_ID_CHARS + 1];
size_t test_list(test_fixture *f, const otok_filter *filter, int32_t order, uint32_t limit, test_id *ids, size_t room);
uint64_t test_count(test_fixture *f, const otok_filter *filter);
uint64_t test_count_live(test_fixture *f, const otok_filter *filter);

/* Sweeps until nothing more is to be done at once; the sums. */
otok_sweep_result test_sweep(test_fixture *f, uint32_t limit);

/* The same, then again after the grace of a dead session, twice: what is dead now is gone then.  Moves the clock. */
otok_sweep_result test_sweep_out(test_fixture *f);

/* How many events of that type and reason there were for that session (NULL: any). */
size_t test_count_reasons(const test_fixture *f, int32_t type, int32_t reason, const char *session_id);

/* Each test once over memory and once over LMDB, as _i. */
void test_add_on_both(TCase *tc, const TTest *const *tests, size_t n);

#endif
