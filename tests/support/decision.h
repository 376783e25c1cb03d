/*
 * decision.h - requests for offline_access, and what is expected of otok_offline_decide().
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef TEST_DECISION_H
#define TEST_DECISION_H

#include "support/fixture.h"

#define TEST_COUNT(rows) (sizeof(rows) / sizeof(rows)[0])

/* What every rule lets pass: a web client, prompt=consent, and the user has consented in this interaction. */
otok_offline_request test_good_request(void);

/* The same without that consent, and without a prompt; another condition permits it. */
otok_offline_request test_silent_request(void);

const char *test_decision_name(int32_t decision);  /* 0: an error */
bool test_same_text(const char *a, const char *b); /* either may be NULL */

/* Abort the test, naming `what`, unless the request is decided so: `error` is of the wire, or NULL. */
void test_decided(const char *what, const otok_offline_request *r, int32_t decision, int32_t reason, const char *error);
void test_granted_offline(const char *what, const otok_offline_request *r); /* for consent in this interaction */
void test_invalid_offline(const char *what, const otok_offline_request *r, const char *field);
void test_offline_scope(const otok_offline_request *r, const char *scope);

#endif
