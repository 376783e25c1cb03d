/*
 * host.h - a host that says of a use of a session what the test wants, and keeps what it was asked.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef TEST_HOST_H
#define TEST_HOST_H

#include "support/story.h"

enum { TEST_MAX_USES = 64, TEST_MAX_SHOWN = 4 };

/* What it was asked: copies. */
typedef struct test_use {
    bool for_claims;
    int32_t purpose;
    uint32_t attempt;
    char scope[256], audience[TEST_MAX_SHOWN][128], ip[64];
    size_t audience_count;
    char session_id[32], subject[64], client_id[64], sub[64], sid[64], session_scope[256];
    uint32_t generation;
    int32_t kind, state;
} test_use;

/* What it says.  0 and NULL: it agrees. */
typedef struct test_host {
    int32_t refusal;
    const char *description;
    bool ends_session;
    const char *scope, *claims_scope; /* narrowed to, by authorize and by claims */
    const char *const *audience;
    size_t audience_count;
    const char *access_claims, *id_claims;
    int returns, claims_return;
    int32_t only; /* OTOK_PURPOSE_...: says it of these alone */
    /* In place of all that. */
    int (*authorize)(struct test_host *host, const otok_use *use, otok_answer *answer);
    void *arg;
    int last_failure; /* of what it said: the last code that was not OTOK_OK */
    test_use uses[TEST_MAX_USES];
    size_t nuses;
} test_host;

/* One host at a time; zeroes it. */
void test_install_host(test_fixture *f, test_host *host);

/* The last use that it was asked about; aborts when there was none. */
const test_use *test_last_use(const test_host *host);

#endif
