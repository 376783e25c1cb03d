/*
 * legacy.h - the system before: a Keycloak whose offline tokens are JWTs under HS512, and a host that takes them over.
 *
 * The host verifies them as a hurried one would: what decodes is what counts, so that one token has several spellings.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef TEST_LEGACY_H
#define TEST_LEGACY_H

#include "support/story.h"

enum { TEST_LEGACY_CHARS = 2048 };

/* What an offline token of that Keycloak says; NULL and 0 are defaults. */
typedef struct test_legacy {
    const char *sub;    /* "alice" */
    const char *azp;    /* "phone", a public client */
    const char *sid;    /* "5f3c…" */
    const char *scope;  /* "openid offline_access profile" */
    int64_t started_us; /* TEST_START_US - 100 days */
    int64_t ends_us;    /* 0: no `exp` */
    const char *jkt;    /* `cnf` of a bound one */
    const char *secret; /* of the realm's HS512 key */
} test_legacy;

/* The token, in static storage of the calling thread that the next call overwrites. */
const char *test_legacy_token(const test_legacy *legacy);

/* Another spelling of it that a lax decoder takes for the same: n from 1 to 15. */
const char *test_legacy_spelling(const char *token, unsigned n);

/* The host's callback: maps such tokens; `user` is not looked at. */
int test_legacy_adopt(void *user, const char *token, const char *client_id, otok_adoption *adoption);

/* Installs it in a fixture. */
void test_install_legacy(test_fixture *f);

#endif
