/*
 * code.c - the authorization code: a sealed text that holds what its user has agreed to, good for a minute.
 *
 * So nothing is kept of codes, and any server that has the key can spend one.  That it is spent only once is the store's: a code has a
 * name, which becomes otok_grant.once_key.  The name is inside the seal, since the same bytes may be spelt in several ways.
 *
 * SPDX-License-Identifier: MIT
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "server.h"

#define PURPOSE "code"

enum { ENDS_AFTER_S = 60 }; /* RFC 6749 section 4.1.2: ten minutes at most */

/* One line each, empty where there is none. */
enum { NAME, CLIENT, USER, SCOPE, SID, NONCE, AMR, AUTH_TIME, REDIRECT_URI, CHALLENGE, JKT, LINES };

static char *seal_lines(const request *r, const char *const lines[LINES])
{
    text plain = {0};
    char *sealed = NULL;
    for (size_t i = 0; i < LINES; i++) {
        if (lines[i] != NULL && strchr(lines[i], '\n') != NULL)
            plain.failed = true; /* whoever made this approval let one through: better no code than another's */
        text_add(&plain, lines[i]);
        text_add(&plain, "\n");
    }
    if (!plain.failed)
        sealed = seal_text(r->server->seal, PURPOSE, plain.data, now_us() + ENDS_AFTER_S * INT64_C(1000000));
    text_free(&plain);
    return sealed;
}

char *code_make(const request *r, const approval *a, const char *redirect_uri, const char *challenge)
{
    char auth_time[24], *name = random_name();
    (void)snprintf(auth_time, sizeof auth_time, "%" PRId64, a->auth_time_us);
    const char *const lines[LINES] = {
        [NAME] = name,           [CLIENT] = a->client->id, [USER] = a->user->id,
        [SCOPE] = a->scope,      [SID] = a->sid,           [NONCE] = a->nonce,
        [AMR] = a->amr,          [AUTH_TIME] = auth_time,  [REDIRECT_URI] = redirect_uri,
        [CHALLENGE] = challenge, [JKT] = a->dpop_jkt,
    };
    char *code = name == NULL ? NULL : seal_lines(r, lines);
    free(name);
    return code;
}

/* Cuts the text into its lines, in place; an empty one is NULL. */
static bool cut_lines(char *plain, const char *lines[LINES])
{
    for (size_t i = 0; i < LINES; i++) {
        char *end = strchr(plain, '\n');
        if (end == NULL)
            return false;
        *end = '\0';
        lines[i] = *plain != '\0' ? plain : NULL;
        plain = end + 1;
    }
    return *plain == '\0';
}

/* RFC 7636 section 4.1, and section 4.6 with S256. */
static bool is_verifier_of(const char *verifier, const char *challenge)
{
    static const char unreserved[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~";
    size_t len = verifier == NULL ? 0 : strlen(verifier);
    if (len < 43 || len > 128 || strspn(verifier, unreserved) != len)
        return false;
    char *hash = sha256_name(verifier);
    bool good = same_text(hash, challenge);
    free(hash);
    return good;
}

bool code_open(const request *r, const client *c, const char *code, const char *redirect_uri, const char *verifier,
               approval *out, char **memory)
{
    const char *lines[LINES];
    char *plain = code == NULL ? NULL : unseal_text(r->server->seal, PURPOSE, code, now_us());
    *memory = NULL;
    if (plain == NULL || !cut_lines(plain, lines) || !same_text(lines[CLIENT], c->id) ||
        !same_text(lines[REDIRECT_URI], redirect_uri) || !is_verifier_of(verifier, lines[CHALLENGE])) {
        free(plain);
        return false;
    }
    *out = (approval){
        .client = c,
        .user = directory_user(r->server->directory, lines[USER]),
        .scope = lines[SCOPE],
        .sid = lines[SID],
        .nonce = lines[NONCE],
        .code = lines[NAME],
        .auth_time_us = strtoimax(lines[AUTH_TIME] == NULL ? "0" : lines[AUTH_TIME], NULL, 10),
        .grant_type = OTOK_GRANT_AUTHORIZATION_CODE,
        .amr = lines[AMR],
        .dpop_jkt = lines[JKT],
    };
    *memory = plain;
    if (out->user != NULL && out->scope != NULL)
        return true;
    free(plain);
    *memory = NULL;
    return false;
}
