/*
 * story.h - issues and refreshes of which a test says only how they must end.  Tokens that come back live until
 * test_end().
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef TEST_STORY_H
#define TEST_STORY_H

#include "support/ask.h"

/* These abort unless the call succeeds. */
const otok_tokens *test_granted(test_fixture *f, const otok_grant *grant);
const otok_tokens *test_began(test_fixture *f); /* the default grant of test_issue() */
const otok_tokens *test_answered(test_fixture *f, const otok_refresh_request *request);
const otok_tokens *test_next(test_fixture *f, const char *token); /* as the public client "phone" */

/* The token of that session at generation `n`, with a minute before each rotation; aborts unless each one rotates. */
const otok_tokens *test_rotated(test_fixture *f, const otok_tokens *tokens, uint32_t n);

/* These abort unless the call fails with that code, a message that shows no token, and no tokens. */
void test_refused(test_fixture *f, const otok_refresh_request *request, int code);
void test_not_granted(test_fixture *f, const otok_grant *grant, int code,
                      const char *field); /* which the message names */

/* The same, and the store is as before and nobody was revoked or accused of reuse: the token is unconsumed. */
void test_refused_untouched(test_fixture *f, const otok_refresh_request *request, int code);

/* Refused with that code and a message that names the field, with nothing written. */
void test_not_refreshed(test_fixture *f, const otok_refresh_request *request, int code, const char *field);

/* Refused with that code as the public client "phone". */
void test_dead(test_fixture *f, const char *token, int code);

/* The same generation, an offline token that is the same to the byte. */
void test_expect_same(const otok_tokens *a, const otok_tokens *b);

/* A MAC key of 32 equal bytes; freed with otok_mac_key_free(). */
otok_mac_key *test_mac_key(uint8_t byte);

/* A client's proof of possession and address. */
otok_peer test_peer(const char *jkt, const char *x5t_s256, const char *ip, const char *user_agent);

/* Frees what the story handed out, and closes the fixture. */
void test_end(test_fixture *f);

#endif
