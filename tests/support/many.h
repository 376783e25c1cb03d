/*
 * many.h - some refreshes in one call of otok_refresh_many(), and what each must come to.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef TEST_MANY_H
#define TEST_MANY_H

#include "support/ask.h"

enum { TEST_MANY = 512 };

typedef struct test_many {
    test_fixture *f;
    size_t n;
    otok_refresh_request requests[TEST_MANY];
    const otok_refresh_request *asked[TEST_MANY]; /* what is handed in: a test may put something else there */
    otok_tokens *out[TEST_MANY];
    otok_error errors[TEST_MANY];
} test_many;

test_many *test_many_open(test_fixture *f);
void test_many_close(test_many *m);
void test_many_clear(test_many *m); /* as it was opened */

/* One more request, as the public client "phone"; the token must live as long as the request. */
otok_refresh_request *test_many_ask(test_many *m, const char *token);

/* One for each of `n` sessions. */
void test_many_ask_held(test_many *m, const test_held *held, size_t n);

/*
 * Refreshes them; what came of the time before is freed.  Aborts unless the call is OTOK_OK, and each item has an answer and no
 * error, or a code with a message that shows no token, and no answer.
 */
void test_many_refresh(test_many *m);

/* The item's answer was this code, or that outcome. */
void test_many_refused(const test_many *m, size_t i, int code);
const otok_tokens *test_many_answered(const test_many *m, size_t i, int32_t outcome);

/* `n` sessions of subjects of their own with "phone", a minute old: the next refresh rotates. */
test_held *test_many_hold(test_fixture *f, size_t n); /* freed with free() */

#endif
