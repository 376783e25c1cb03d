/*
 * session/session.h - sessions: what one is, how it lives, and the service that they belong to.
 *
 * rotation.c, lifetime.c, scope.c and policy.c decide, over values, without I/O; service.c, names.c, load.c and event.c are what
 * the operations (issue.c, refresh.c, revoke.c, cutoff.c, list.c, sweep.c) are built of.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef OTOK_SESSION_H
#define OTOK_SESSION_H

#include "keys/keys.h"
#include "store/store.h"

/* Attempts at a compare-and-swap before OTOK_E_CONFLICT. */
enum { OTOK_ATTEMPTS = 8 };

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
} otok_rules;

/* OTOK_E_POLICY, naming the member, when the policy makes no sense. */
int otok_rules_of(const otok_policy *policy, bool is_public, bool is_bound, otok_rules *out, otok_error *err);

/* The session's own limits, where they are tighter (0: none). */
void otok_rules_tighten(otok_rules *rules, int64_t idle_timeout_s, int64_t max_lifetime_s);

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

/* ---------------------------------------------------------------------------------------------------- service.c */

/* The subkeys of one MAC key for one realm. */
typedef struct otok_realm_key {
    uint8_t id;
    otok_mac_key *token;  /* offline tokens */
    otok_mac_key *seal;   /* the immutable part of records */
    otok_mac_key *cursor; /* cursors of lists */
} otok_realm_key;

struct otok_service {
    otok_store *store;
    otok_keyring *keyring;
    otok_realm_key *keys; /* as keyring->token */
    size_t nkeys;
    const otok_realm_key *active;
    char *issuer, *realm_text, *audience;
    otok_str realm;
    otok_policy policy;
    otok_callbacks callbacks;
    void *user;
    int64_t deadline_us;
    char *at_header, *jwt_header; /* JOSE headers of the active signing key */
};

const otok_realm_key *otok_service_key(const otok_service *service, uint8_t id); /* NULL when it is gone */
int64_t otok_service_now(const otok_service *service);

/* The policy for a client, by the host's callback, and the rules that follow for a session of it. */
int otok_service_rules(const otok_service *service, const char *client_id, bool is_public, uint8_t binding,
                       otok_rules *out, otok_error *err);

/* Commits one group of one write. */
int otok_service_write(otok_service *service, uint32_t op, uint64_t expect, const otok_record *record, otok_error *err);

/*
 * The most writes that one transaction is given in bulk.  Commits each on its own and tells what became of it; returns the first
 * trouble, which a conflict is not.
 */
enum { OTOK_BULK = 64 };
int otok_service_write_each(otok_service *service, const otok_write *writes, size_t n, int32_t *results,
                            otok_error *err);

/* Bounded repetition: false, with OTOK_E_CONFLICT or OTOK_E_BUSY in `*result`, when attempts or time are used up. */
typedef struct otok_attempts {
    int made;
    int64_t deadline_us; /* monotonic */
} otok_attempts;

otok_attempts otok_attempts_begin(const otok_service *service);
bool otok_attempts_again(otok_attempts *attempts, int *result, otok_error *err); /* while *result is OTOK_E_CONFLICT */

/* ---------------------------------------------------------------------------------------------------- names.c */

/* What a filter names: its cutoff's record and the index key to walk. */
typedef struct otok_scope_names {
    const char *subject, *client_id, *sid; /* as in the filter */
    bool whole_realm;
    otok_index_key index;
    otok_id cutoff;
    uint32_t cutoff_kind; /* OTOK_RECORD_CUTOFF or OTOK_RECORD_PAIR */
} otok_scope_names;

int otok_names_of_filter(const otok_service *service, const otok_filter *filter, otok_scope_names *out,
                         otok_error *err);

/* The index keys and the links of a session; `sid` may be empty. */
typedef struct otok_session_names {
    otok_index_key keys[OTOK_MAX_KEYS];
    size_t nkeys;
    otok_id links[OTOK_MAX_LINKS];
    size_t nlinks;
} otok_session_names;

int otok_names_of_session(const otok_service *service, otok_str subject, otok_str client, otok_str sid,
                          otok_session_names *out, otok_error *err);
int otok_sweep_key(const otok_service *service, otok_index_key *out, otok_error *err);

/* ---------------------------------------------------------------------------------------------------- rows.c */

/* Copies of records as a scan emits them, in order; freed with otok_rows_free(). */
typedef struct otok_rows {
    otok_record **records;
    size_t n, room;
    int64_t until_us; /* the order of the last one that is wanted */
    bool by_sweep;    /* order is sweep_us */
    bool past;        /* one behind until_us was seen */
    bool short_of_memory;
} otok_rows;

int otok_rows_scan(otok_service *service, const otok_scan *scan, otok_rows *rows, otok_error *err);
void otok_rows_free(otok_rows *rows);

/* A copy of one record, NULL when there is none; freed with otok_record_free(). */
int otok_record_fetch(otok_service *service, const otok_id *id, otok_record **out, otok_error *err);

/* ---------------------------------------------------------------------------------------------------- load.c */

/* A session in memory: a copy of its record, taken apart, with the latest cutoff that applies. */
typedef struct otok_loaded {
    otok_record *record;
    otok_head head;
    otok_body body; /* points into record */
    uint8_t seal_key_id;
    int64_t cutoff_us;
    bool cutoff_unread; /* there is one that this version cannot read */
} otok_loaded;

/* One fetch, one snapshot.  OTOK_E_NOT_FOUND; OTOK_E_FORMAT.  The seal is not checked: to show a session, or to end it. */
int otok_session_find(otok_service *service, const otok_id *id, otok_loaded *out, otok_error *err);

/* The same for use: also OTOK_E_TAMPERED, OTOK_E_KEY when it is sealed under a key that is gone, and OTOK_E_FORMAT when a cutoff or
 * the binding is of a kind that this version does not know, which must not pass for none. */
int otok_session_load(otok_service *service, const otok_id *id, otok_loaded *out, otok_error *err);
void otok_loaded_free(otok_loaded *loaded);

/* Takes a record apart without its seal being checked, for lists and the sweeper.  `record` is the session's from here on, unless
 * it fails. */
int otok_session_unpack(const otok_service *service, otok_record *record, otok_loaded *out, otok_error *err);

/* Completes cutoff_us of several sessions with one fetch. */
int otok_sessions_add_cutoffs(otok_service *service, otok_loaded *sessions, size_t n, otok_error *err);

/* The time of a cutoff or pair record of this realm, INT64_MIN for any other record; false when it cannot be read. */
bool otok_cutoff_time(const otok_service *service, const otok_record *record, int64_t *cutoff_us);

otok_seal_scope otok_seal_scope_of(const otok_record *record);
otok_lifetime otok_loaded_lifetime(const otok_loaded *loaded, const otok_rules *rules, int64_t now_us);

/* ---------------------------------------------------------------------------------------------------- event.c */

/* Sends an event about a session (may be NULL).  `event` holds type and whatever else is not the session's. */
void otok_event_send(const otok_service *service, otok_event *event, const otok_loaded *session);

/* ---------------------------------------------------------------------------------------------------- tokens.c */

/* What a response is made of. */
typedef struct otok_mint {
    const otok_loaded *session;
    const otok_rules *rules;
    const otok_token *token; /* generation and handle; printed under the active key */
    otok_str scope;          /* normalised, of this response */
    const otok_str *audience;
    size_t audience_count;
    const otok_peer *peer;
    const char *nonce;
    int64_t now_us;
    int64_t idle_expires_us; /* of the session, once this response is out */
    int64_t max_expires_us;
    int32_t outcome;
} otok_mint;

/* at_hash (OpenID Connect Core section 3.1.3.6): base64url of the left half of the digest that goes with the algorithm. */
enum { OTOK_AT_HASH_MAX = 43 };
int otok_at_hash(int32_t algorithm, otok_str access_token, char out[OTOK_AT_HASH_MAX + 1], otok_error *err);

int otok_tokens_mint(otok_service *service, const otok_mint *mint, otok_tokens **out, otok_error *err);

/* The session of an access token of this service: OTOK_E_TOKEN_INVALID when it is none of ours, or has expired. */
int otok_access_token_session(otok_service *service, const char *text, otok_id *id, otok_error *err);

/* ---------------------------------------------------------------------------------------------------- grant.c */

/* Reads a request's peer (NULL: nothing is known) and checks its thumbprints; IP and user agent are checked where they are kept. */
int otok_peer_read(const otok_peer *in, otok_peer *out, otok_error *err);

/* A text that has a bound: refused, cut or dropped when it is longer, as the policy says. */
int otok_text_bounded(const char *text, size_t bound, int32_t overlong, const char *field, otok_str *out,
                      otok_error *err);
int otok_peer_texts(const otok_peer *peer, int32_t overlong, otok_str *ip, otok_str *user_agent, otok_error *err);

/* Checks a grant and fills `body` with what it says; the texts stay the grant's, but for the scope, which goes to `scope`. */
int otok_grant_read(const otok_grant *grant, const otok_peer *peer, int32_t overlong, otok_buf *scope, otok_body *body,
                    otok_error *err);

/* The first checks, which the policy needs: subject, client and the small numbers. */
int otok_grant_check(const otok_grant *grant, otok_error *err);

/* OTOK_E_SENDER unless the peer has proven what the session is bound to.  With `must` off, an absent proof is fine. */
int otok_binding_check(const otok_body *body, const otok_peer *peer, bool must, otok_error *err);

/* ---------------------------------------------------------------------------------------------------- refresh.c */

/* Parses and proves a token, without the store, and says whose session it is.  OTOK_E_TOKEN_INVALID.  Wipe what is presented. */
int otok_token_present(const otok_service *service, const char *text, otok_presented *out, otok_id *id,
                       otok_error *err);

/* ---------------------------------------------------------------------------------------------------- revoke.c, cutoff.c */

/* Ends a session if it still has the version that was loaded, and tells of it. */
int otok_session_remove(otok_service *service, const otok_loaded *session, int32_t reason, const otok_peer *peer,
                        otok_error *err);

/* A walk over what a cutoff ended: where it is, and what it did. */
typedef struct otok_walk {
    otok_cursor at; /* behind this one; created_us INT64_MIN: from the start */
    uint64_t visited, removed;
    bool unread; /* there were some that this version cannot read: they stay */
    bool done;
} otok_walk;

/* Removes the sessions of an index key that began at or before the cutoff, at most `limit` more, an event with `reason` for each. */
int otok_cutoff_walk(otok_service *service, const otok_index_key *index, int64_t cutoff_us, int32_t reason,
                     uint32_t limit, otok_walk *walk, otok_error *err);

/* Moves a cutoff forward (OTOK_NOW: past every session of its scope), files it for the sweeper, and tells of it. */
int otok_cutoff_move(otok_service *service, const otok_scope_names *names, int64_t at_us, int64_t *effective_us,
                     otok_error *err);

/* The sweeper's part: goes on with the walk that a cutoff's record asks for, and files or unfiles the record accordingly. */
int otok_cutoff_sweep(otok_service *service, const otok_record *cutoff, uint32_t limit, otok_walk *walk,
                      otok_error *err);

#endif
