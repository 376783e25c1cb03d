/*
 * session/rules.h - what is decided over values, without I/O: policies, rotation, lifetime, scopes.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef OTOK_RULES_H
#define OTOK_RULES_H

#include "format/format.h"

#define OTOK_DAY_US (INT64_C(86400) * OTOK_US_PER_S)

/* ---------------------------------------------------------------------------------------------------- policy.c */

/* A policy with every default filled in, for one kind of client and session; durations in microseconds. */
typedef struct otok_rules {
    bool rotates;
    int32_t reuse, ahead, overlong;
    int64_t idle_us, max_us;
    int64_t retry_window_us, retry_limit; /* OTOK_UNLIMITED */
    int64_t clock_skew_us, rotate_after_us, touch_us, sweep_grace_us;
    bool access_token, access_token_revocation;
    int64_t access_token_us, id_token_us;
    bool public_refused;  /* it is a public client, and those are refused */
    bool binding_missing; /* it is a session without sender constraint, and must have one */
    bool needs_consent;
    int64_t session_limit; /* OTOK_UNLIMITED */
    bool evicts;           /* at the limit */
    int64_t once_window_us, once_keep_us;
    bool once_ends_session;
    bool dpop_nonce;
    int64_t dpop_window_us;
} otok_rules;

/* OTOK_E_POLICY, naming the member, when the policy makes no sense.  `ceilings`: size 0 for none. */
int otok_rules_of(const otok_policy *policy, const otok_ceilings *ceilings, bool is_public, bool is_bound,
                  otok_rules *out, otok_error *err);
int otok_ceilings_check(const otok_ceilings *ceilings, otok_error *err);

/* The session's own limits, where they are tighter (0: none). */
void otok_rules_tighten(otok_rules *rules, int64_t idle_timeout_s, int64_t max_lifetime_s);

/* Whether the rules have such a session at all: OTOK_E_UNAUTHORIZED_CLIENT, OTOK_E_SENDER. */
int otok_rules_admit(const otok_rules *rules, otok_error *err);

/* ---------------------------------------------------------------------------------------------------- rotation.c (pure) */

/* What to do with a token whose MAC, client, key, lifetime and cutoffs are all good. */
enum {
    OTOK_ROTATION_KEEP = 1,      /* the current token comes back */
    OTOK_ROTATION_ADVANCE = 2,   /* the next generation */
    OTOK_ROTATION_RETRY = 3,     /* the previous token, in time: its successor again */
    OTOK_ROTATION_EXHAUSTED = 4, /* the previous token, in time, too often: refused, nothing ended */
    OTOK_ROTATION_REUSE = 5,     /* an older token, or the previous one too late */
    OTOK_ROTATION_AHEAD = 6      /* from the future: the store was restored */
};

typedef struct otok_rotation_in {
    uint32_t presented, current; /* generations */
    int64_t now_us;
    int64_t started_us; /* when the current token came about, where rotated_us is 0 */
    int64_t rotated_us; /* 0: never, or the window for retries is closed */
    uint32_t retries;
    bool unused; /* the current token was never used: the previous one, of another system, has no window (P4) */
} otok_rotation_in;

int otok_rotation_decide(const otok_rotation_in *in, const otok_rules *rules);

/* ---------------------------------------------------------------------------------------------------- lifetime.c (pure) */

typedef struct otok_lifetime_in {
    int64_t now_us;
    int64_t created_us;   /* logical: cutoffs compare with it */
    int64_t started_us;   /* the maximum lifetime counts from it */
    int64_t refreshed_us; /* last use; the idle timeout counts from it */
    int64_t cutoff_us;    /* the latest that applies; INT64_MIN: none */
} otok_lifetime_in;

typedef struct otok_lifetime {
    int verdict;             /* OTOK_OK, OTOK_E_TOKEN_EXPIRED or OTOK_E_TOKEN_REVOKED */
    int64_t idle_expires_us; /* OTOK_UNLIMITED */
    int64_t max_expires_us;  /* OTOK_UNLIMITED */
    int64_t expires_us;      /* the earlier one */
} otok_lifetime;

otok_lifetime otok_lifetime_of(const otok_lifetime_in *in, const otok_rules *rules);

/* The later of a stored time and now: stored times never move back (L5). */
int64_t otok_time_forward(int64_t stored_us, int64_t now_us);

/* When the sweeper should look at a session that ends at `expires_us`: then, and at least every 30 days (L6). */
int64_t otok_sweep_due(int64_t expires_us, int64_t now_us);

/* ---------------------------------------------------------------------------------------------------- scope.c (pure) */

/* Checks the alphabet (RFC 6749 section 3.3) and appends the words once each, separated by one space.  OTOK_E_INVALID. */
int otok_scope_normalise(const char *scope, otok_buf *out, otok_error *err);
bool otok_scope_has(otok_str scope, const char *word);
bool otok_scope_covers(otok_str granted, otok_str asked); /* every word of the second is in the first */

/* Takes a word out of a scope, in place, and gives the new length. */
size_t otok_scope_drop(char *scope, size_t len, const char *word);

/* Appends the words asked for (NULL or empty: all that is granted); OTOK_E_SCOPE when one was not granted. */
int otok_scope_narrow(otok_str granted, const char *asked, otok_buf *out, otok_error *err);

#endif
