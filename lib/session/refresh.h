/*
 * session/refresh.h - one refresh and its attempts: what refresh.c, head.c and adopt.c share.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef OTOK_REFRESH_H
#define OTOK_REFRESH_H

#include "session/session.h"

/* ---------------------------------------------------------------------------------------------------- adopt.c */

/* A token of another system, as the host's callback has it: deep copies. */
struct otok_adoption {
    bool found; /* otok_legacy_set() was called */
    int failed; /* of otok_legacy_set(), which the host may have passed over */
    char *id, *subject, *client_id;
    int64_t started_us, ends_us;
    int32_t client_type;
    otok_body body; /* points into `texts` */
    otok_buf texts;
    otok_error error;
};

/* Asks the host.  OTOK_E_TOKEN_INVALID when it is not one, or there is nobody to ask.  Freed with otok_adoption_free(). */
int otok_adoption_ask(otok_service *service, const char *token, const char *client_id, otok_adoption *out,
                      otok_error *err);
void otok_adoption_free(otok_adoption *adoption);

/* Revokes one, whether or not it was adopted before. */
int otok_adoption_revoke(otok_service *service, const otok_adoption *adoption, const otok_revoke_request *request,
                         const otok_peer *peer, otok_error *err);

/* ---------------------------------------------------------------------------------------------------- refresh.c, head.c */

/* One refresh, over all its attempts. */
typedef struct otok_refreshing {
    otok_service *service;
    otok_refresh_request request;
    otok_peer peer;
    otok_presented presented;
    otok_id id;
    otok_adoption *adoption; /* the token is another system's: &legacy */
    otok_adoption legacy;
    otok_on_owner on_owner; /* may be NULL */
    void *on_owner_arg;
    uint32_t attempt; /* 1, ... */
} otok_refreshing;

/* One attempt: what was read, what was decided about it, and what is to be written.  Points into itself. */
typedef struct otok_attempt {
    bool adopts; /* the token of another system, now: which writes and tells for itself */
    otok_loaded session;
    otok_rules rules;
    int64_t now_us;
    int decision;
    otok_str ip, user_agent;
    uint16_t ip_mark, user_agent_mark;
    otok_str audience[OTOK_MAX_AUDIENCE];
    size_t audience_count;
    otok_buf scope;
    otok_answer answer;
    otok_head head; /* as it will be */
    bool writes;    /* the answer counts once `change` is committed */
    otok_change change;
    otok_write write;
    otok_record record;
    uint8_t printed_head[OTOK_HEAD_SIZE];
    otok_buf printed_body;
    otok_notice notice;
} otok_attempt;

/* A request, checked as far as that goes without the store.  `r` has its service; ended after a failure too. */
int otok_refreshing_begin(otok_refreshing *r, const otok_refresh_request *request, otok_error *err);
void otok_refreshing_end(otok_refreshing *r);

/* Whose session the token is of is in `r` then, and nothing is held: what is not begun may be found again later. */
int otok_attempt_find(otok_refreshing *r, otok_attempt *a, otok_error *err);

/*
 * An attempt that was found, up to what it is to write: all is checked, decided and minted.  On OTOK_OK with `writes` the caller commits
 * `change`; then, and after any failure, of otok_attempt_find() too, ends the attempt with what became of it, which is what is returned.
 */
int otok_attempt_begin(otok_refreshing *r, otok_attempt *a, otok_tokens **out, otok_error *err);
int otok_attempt_end(const otok_refreshing *r, otok_attempt *a, int rc, otok_tokens **out);

/* Scope, audience, consent, and what the host says: everything that an answer needs. */
int otok_attempt_compose(const otok_refreshing *r, otok_attempt *a, otok_error *err);
int otok_attempt_mint(const otok_refreshing *r, const otok_attempt *a, const otok_token *token, int32_t outcome,
                      otok_tokens **out, otok_error *err);

/*
 * Whether a new refresh token is to be bound to the key that was proven, and that: a public client's own is, where nothing else binds it
 * (RFC 9449 section 5).
 */
bool otok_binds_to_key(const otok_refreshing *r, const otok_body *body);
void otok_bind_to_key(const otok_refreshing *r, otok_body *body);

/* Whose session a token of another system is, when it was adopted before. */
int otok_adoption_find(otok_refreshing *r, bool *adopted, otok_error *err);

/* Makes a session of it, and answers. */
int otok_adopt(const otok_refreshing *r, otok_attempt *a, otok_tokens **out, otok_error *err);

/* OTOK_ROTATION_... for a token of that generation. */
int otok_rotation_of(const otok_loaded *session, const otok_rules *rules, uint32_t presented, int64_t now_us);

/* Fills in the marks of address and user agent, where the decision needs them. */
int otok_attempt_read_marks(otok_attempt *a, otok_error *err);

/* The head as it will be; false when nothing is to be written. */
bool otok_attempt_make_head(const otok_refreshing *r, otok_attempt *a);

#endif
