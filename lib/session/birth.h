/*
 * session/birth.h - how a session begins: what issue.c and adopt.c are built of.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef OTOK_BIRTH_H
#define OTOK_BIRTH_H

#include "session/session.h"

/* ---------------------------------------------------------------------------------------------------- birth.c */

/* A session that is being made: what its record is built of. */
typedef struct otok_birth {
    otok_record record;
    otok_loaded session; /* as the minting sees it; its record is the one above */
    otok_session_names names;
    otok_token token; /* handle and time of issue: set before otok_birth_build() */
    otok_buf scope, body;
    uint8_t head[OTOK_HEAD_SIZE];
    int64_t now_us;
} otok_birth;

void otok_birth_init(otok_birth *birth);
void otok_birth_free(otok_birth *birth);

/*
 * Builds the record of a session whose body is read and whose token is drawn: session.head, session.body.started_us and
 * record.created_us (0: now, later than every cutoff) are set before.
 */
int otok_birth_build(otok_service *service, const char *subject, const char *client_id, const otok_rules *rules,
                     otok_birth *birth, otok_error *err);

/* ---------------------------------------------------------------------------------------------------- limit.c */

/* What a new session ends by policy.session_limit. */
typedef struct otok_evictions {
    otok_loaded sessions[OTOK_EVICT_MOST];
    size_t n;
} otok_evictions;

/* Finds them; OTOK_E_LIMIT where the policy refuses instead.  `replaced` (may be NULL) does not count. */
int otok_limit_apply(otok_service *service, const otok_loaded *born, const otok_rules *rules, const otok_id *replaced,
                     int64_t now_us, otok_evictions *out, otok_error *err);
void otok_evictions_free(otok_evictions *evictions);

/* ---------------------------------------------------------------------------------------------------- once.c */

/* What was good for once, by its name; `record` NULL: not used yet. */
typedef struct otok_once_use {
    otok_id id;
    otok_record *record; /* a copy */
    otok_once once;
} otok_once_use;

/* `purpose`: "once" (keys of issues) or "adoption". */
int otok_once_find(otok_service *service, const char *purpose, const char *name, otok_once_use *out, otok_error *err);
void otok_once_free(otok_once_use *use);

/* The token of the session that came of it: handle derived under `key`, time out of the session's id.  OTOK_E_TAMPERED when that
 * is not the session of the token. */
int otok_once_handle(const otok_mac_key *key, const char *name, const char *client_id, uint8_t out[OTOK_HANDLE_SIZE],
                     otok_error *err);
int otok_once_token(otok_service *service, const otok_once_use *use, const char *name, const char *client_id,
                    otok_token *out, otok_error *err);

/* The record that says that it was used. */
typedef struct otok_once_write {
    otok_record record;
    uint8_t body[OTOK_ONCE_SIZE];
    otok_index_key keys[OTOK_OWNER_KEYS + 1];
    otok_write write;
} otok_once_write;

/* `keep_until_us`: when the sweeper removes it; OTOK_UNLIMITED: never. */
int otok_once_prepare(otok_service *service, const otok_id *id, const otok_once *once, otok_str subject,
                      otok_str client, int64_t keep_until_us, otok_once_write *out, otok_error *err);

#endif
