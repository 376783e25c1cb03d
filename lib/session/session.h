/*
 * session/session.h - sessions: what one is, how it lives, and the service that they belong to.
 *
 * What the operations are built of: service.c, keys.c, names.c, rows.c, mark.c, load.c, change.c, event.c, use.c, tokens.c, jwt.c.  Pure
 * decisions are in rules.h, how a session begins in birth.h, one refresh and its attempts in refresh.h.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef OTOK_SESSION_H
#define OTOK_SESSION_H

#include "keys/keys.h"
#include "session/rules.h"
#include "store/store.h"

/* Attempts at a compare-and-swap before OTOK_E_CONFLICT. */
enum { OTOK_ATTEMPTS = 8 };

/* ---------------------------------------------------------------------------------------------------- keys.c */

/* The subkeys of one MAC key for one realm: each use has its own (K6). */
typedef struct otok_realm_key {
    uint8_t id;
    otok_mac_key *token;    /* offline tokens */
    otok_mac_key *seal;     /* the immutable part of records */
    otok_mac_key *cursor;   /* cursors of lists */
    otok_mac_key *once;     /* handles of sessions that were issued with a key that is good for once */
    otok_mac_key *adoption; /* handles of sessions that were adopted */
    otok_mac_key *nonce;    /* of DPoP proofs */
} otok_realm_key;

/* A keyring as a realm uses it.  Immutable. */
typedef struct otok_keys {
    struct otok_keys
        *before; /* those whose place it took: calls that began earlier may be using them; freed with the service */
    otok_keyring *keyring;
    otok_realm_key *realm; /* as keyring->token */
    size_t nrealm;
    const otok_realm_key *active;
    const otok_signing_key *signing; /* the active one */
    char *at_header, *jwt_header;    /* its JOSE headers */
} otok_keys;

/* The keys of the moment.  Whoever needs two things of them that go together asks once. */
const otok_keys *otok_service_now_keys(const otok_service *service);

/* A key by id, or by kid; NULL when it is not in the keyring, whose file was looked at again.  OTOK_E_IO when that failed. */
int otok_service_key(const otok_service *service, uint8_t id, const otok_realm_key **out, otok_error *err);
int otok_service_signing_key(const otok_service *service, const char *kid, const otok_signing_key **out,
                             otok_error *err);

/* Appends a JWT, signed with the active key, whose header it is.  OTOK_E_CRYPTO, OTOK_E_CALLBACK. */
int otok_service_sign(const otok_service *service, const otok_keys *keys, otok_str header, otok_str payload,
                      otok_buf *out, otok_error *err);
void otok_jose_header(const otok_signing_key *key, const char *typ, otok_buf *out);

typedef struct otok_key_cell otok_key_cell;
int otok_key_cell_new(const otok_service *service, otok_keyring *keyring, otok_key_cell **out, otok_error *err);
void otok_key_cell_free(otok_key_cell *cell);

/* ---------------------------------------------------------------------------------------------------- service.c */

typedef struct otok_counters otok_counters;

struct otok_service {
    otok_store *store;
    otok_key_cell *keys;
    char *issuer, *realm_text, *audience;
    otok_str realm;
    otok_policy policy;
    otok_ceilings ceilings;
    otok_callbacks callbacks;
    void *user;
    int64_t deadline_us;
    uint64_t outbox_limit; /* 0: none */
    otok_counters *counters;
    otok_seen *proofs; /* DPoP proofs that were used */
};

int64_t otok_service_now(const otok_service *service);

/* The policy for a client, by the host's callback, and the rules that follow for a session of it. */
int otok_service_rules(const otok_service *service, const char *client_id, bool is_public, uint8_t binding,
                       otok_rules *out, otok_error *err);

/* Bounded repetition: false, with OTOK_E_CONFLICT or OTOK_E_BUSY in `*result`, when attempts or time are used up. */
typedef struct otok_attempts {
    const otok_service *service;
    uint32_t made;
    int64_t deadline_us; /* monotonic */
} otok_attempts;

otok_attempts otok_attempts_begin(const otok_service *service);
bool otok_attempts_again(otok_attempts *attempts, int *result, otok_error *err); /* while *result is OTOK_E_CONFLICT */

/* ---------------------------------------------------------------------------------------------------- names.c */

/* The key of an index over the records of one kind. */
int otok_index_of(const otok_service *service, uint32_t kind, uint32_t index, otok_str a, otok_str b,
                  otok_index_key *out, otok_error *err);
int otok_sweep_key(const otok_service *service, otok_index_key *out, otok_error *err);

/* The id of a record that is found by what it is about. */
int otok_name_id(const otok_service *service, const char *purpose, otok_str name, otok_id *out, otok_error *err);

/* What a filter names: its mark's record and the index of sessions to walk. */
typedef struct otok_scope_names {
    const char *subject, *client_id, *sid; /* as in the filter */
    bool whole_realm;
    otok_index_key index;
    otok_id mark;
    uint32_t mark_kind; /* OTOK_RECORD_CUTOFF or OTOK_RECORD_PAIR */
} otok_scope_names;

int otok_names_of_filter(const otok_service *service, const otok_filter *filter, otok_scope_names *out,
                         otok_error *err);
int otok_names_of_pair(const otok_service *service, const char *subject, const char *client_id, otok_scope_names *out,
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

/* The index keys of another record of a subject or client (either may be empty): REALM, SUBJECT, CLIENT.  Gives how many. */
enum { OTOK_OWNER_KEYS = 3 };
int otok_names_of_owner(const otok_service *service, uint32_t kind, otok_str subject, otok_str client,
                        otok_index_key keys[OTOK_OWNER_KEYS], size_t *n, otok_error *err);

/* ---------------------------------------------------------------------------------------------------- rows.c */

/* Copies of records as a scan emits them, in order; freed with otok_rows_free(). */
typedef struct otok_rows {
    otok_record **records; /* as many as the scan's limit: a store emits no more */
    size_t n;
    int64_t until_us; /* the order of the last one that is wanted */
    bool by_sweep;    /* order is sweep_us */
    bool past;        /* one behind until_us was seen */
    bool short_of_memory;
} otok_rows;

int otok_rows_scan(otok_service *service, const otok_scan *scan, otok_rows *rows, otok_error *err);
void otok_rows_free(otok_rows *rows);

/* A copy of one record, NULL when there is none; freed with otok_record_free(). */
int otok_record_fetch(otok_service *service, const otok_id *id, otok_record **out, otok_error *err);

/* ---------------------------------------------------------------------------------------------------- mark.c */

/* The mark of a scope as it stands: cutoff, consent, guard of the limit of sessions (format.h). */
typedef struct otok_mark {
    otok_record *record; /* a copy; NULL: there is none yet */
    otok_mark_head head;
    otok_mark_body body; /* points into record, or at what the caller has put there */
} otok_mark;

int otok_mark_fetch(otok_service *service, const otok_id *id, otok_mark *out, otok_error *err);

/* Takes a record apart, which is the mark's from here on unless it fails: OTOK_E_FORMAT. */
int otok_mark_unpack(otok_record *record, otok_mark *out, otok_error *err);
void otok_mark_free(otok_mark *mark);

/* The times of a mark of this realm, INT64_MIN for any other record; false when it cannot be read. */
bool otok_mark_times(const otok_service *service, const otok_record *record, otok_mark_head *times);

/* The write that makes the stored record what `mark` says, over room of its own; freed with otok_mark_write_free(). */
typedef struct otok_mark_write {
    otok_record record;
    uint8_t head[OTOK_MARK_HEAD_SIZE];
    otok_buf body;
    otok_index_key keys[OTOK_OWNER_KEYS + 1];
    otok_write write;
} otok_mark_write;

/* When the sweeper looks at a mark as it is filed now; and at one that is written to guard the limit of sessions. */
int64_t otok_mark_filed_us(const otok_mark *mark);
int64_t otok_mark_guard_us(const otok_service *service, const otok_mark *mark);

/* `sweep_us`: when the sweeper should look; OTOK_UNLIMITED: never. */
int otok_mark_prepare(otok_service *service, const otok_scope_names *names, const otok_mark *mark, int64_t sweep_us,
                      otok_mark_write *out, otok_error *err);
void otok_mark_write_free(otok_mark_write *write);

/* ---------------------------------------------------------------------------------------------------- load.c */

/* A session in memory: a copy of its record, taken apart, with the latest cutoff that applies. */
typedef struct otok_loaded {
    otok_record *record;
    otok_head head;
    otok_body body; /* points into record */
    uint8_t seal_key_id;
    int64_t cutoff_us;
    otok_mark_head cutoffs; /* the latest of each */
    otok_mark pair;         /* of subject and client, where there is one */
    bool mark_unread;       /* there is one that this version cannot read */
} otok_loaded;

/* One fetch, one snapshot.  OTOK_E_NOT_FOUND; OTOK_E_FORMAT.  The seal is not checked: to show a session, or to end it. */
int otok_session_find(otok_service *service, const otok_id *id, otok_loaded *out, otok_error *err);

/* The same for use: also OTOK_E_TAMPERED, OTOK_E_KEY when it is sealed under a key that is gone, and OTOK_E_FORMAT when a mark, the
 * binding or the kind is one that this version does not know, which must not pass for none. */
int otok_session_load(otok_service *service, const otok_id *id, otok_loaded *out, otok_error *err);
void otok_loaded_free(otok_loaded *loaded);

/* OTOK_E_TOKEN_INVALID: it is without a refresh token, so that what looks like one of it is none, whoever made it. */
int otok_loaded_has_token(const otok_loaded *loaded, otok_error *err);

/* Takes a record apart without its seal being checked, for lists and the sweeper.  `record` is the session's from here on, unless
 * it fails. */
int otok_session_unpack(const otok_service *service, otok_record *record, otok_loaded *out, otok_error *err);

/* The seal: OTOK_E_TAMPERED, OTOK_E_KEY when it was made under a key that is gone. */
int otok_session_verify(const otok_service *service, const otok_loaded *loaded, otok_error *err);

/* Completes cutoff_us of several sessions with one fetch. */
int otok_sessions_add_cutoffs(otok_service *service, otok_loaded *sessions, size_t n, otok_error *err);

/* Which of a mark's times, or of several marks' latest ones, ends a session of that kind. */
int64_t otok_cutoff_for(const otok_mark_head *times, uint8_t kind);

otok_seal_scope otok_seal_scope_of(const otok_record *record);
otok_lifetime otok_loaded_lifetime(const otok_loaded *loaded, const otok_rules *rules, int64_t now_us);

/* The rules for a session by the policy of its client, tightened by its own limits. */
int otok_loaded_rules(const otok_service *service, const otok_loaded *loaded, bool is_public, otok_rules *out,
                      otok_error *err);

/* C2: OTOK_E_CONSENT, OTOK_E_SCOPE.  `scope`: of this answer. */
int otok_consent_check(const otok_loaded *loaded, const otok_rules *rules, otok_str scope, otok_error *err);

/* ---------------------------------------------------------------------------------------------------- view.c */

/* A session as the host sees it, in one piece of memory; freed with otok_session_free(). */
otok_session *otok_session_view(const otok_loaded *loaded, const otok_lifetime *life);

/* ---------------------------------------------------------------------------------------------------- event.c */

/* What is told once something is committed: about a session (may be NULL).  `event` holds what is not the session's. */
typedef struct otok_notice {
    otok_event event;
    const otok_loaded *session;
} otok_notice;

/* A notice with all its texts, NUL-terminated. */
typedef struct otok_told {
    otok_event event;
    char session_id[OTOK_SESSION_ID_CHARS + 1];
    char subject[OTOK_MAX_NAME + 1], client_id[OTOK_MAX_NAME + 1], sid[OTOK_MAX_NAME + 1];
} otok_told;

void otok_notice_complete(const otok_service *service, const otok_notice *notice, otok_told *out);

/* Counts it, and hands it to the host.  `event_id` may be NULL. */
void otok_notice_send(const otok_service *service, const otok_notice *notice, const char *event_id);

/* ---------------------------------------------------------------------------------------------------- change.c */

/* Writes that are one group, and what is told of them: in the outbox with them, to the host after them. */
typedef struct otok_change {
    const otok_write *writes;
    size_t nwrites; /* at most OTOK_CHANGE_WRITES */
    otok_notice *notices;
    size_t nnotices; /* at most OTOK_EVENTS_MAX */
    int32_t result;  /* of otok_changes_commit() */
} otok_change;

/* A session, its pair, its once key, the one it replaces and those it evicts. */
enum { OTOK_EVICT_MOST = 32, OTOK_CHANGE_WRITES = OTOK_EVICT_MOST + 4 };

int otok_change_commit(otok_service *service, otok_change *change, otok_error *err);

/*
 * The most changes that one transaction is given in bulk.  Commits each on its own and says what became of it; returns the first
 * trouble, which a conflict is not.
 */
enum { OTOK_BULK = 64 };
int otok_changes_commit(otok_service *service, otok_change *changes, size_t n, otok_error *err);

/* One write of which nothing is told. */
int otok_service_write(otok_service *service, uint32_t op, uint64_t expect, const otok_record *record, otok_error *err);

/* ---------------------------------------------------------------------------------------------------- outbox.c */

/* Events are put in while there is room; or nevertheless; or the marker that they are missing, in their place. */
enum { OTOK_OUTBOX_WHILE_ROOM, OTOK_OUTBOX_NEVERTHELESS, OTOK_OUTBOX_MARKER };

/* What the outbox has room for, as of the beginning of a commit. */
typedef struct otok_outbox {
    uint64_t room;
    otok_record *overflow; /* the marker, when there may be no room; NULL: it is not there yet */
    otok_id overflow_id;
} otok_outbox;

int otok_outbox_begin(otok_service *service, int how, size_t n, otok_outbox *outbox, otok_error *err);
void otok_outbox_end(otok_outbox *outbox);

/* What goes into a change's group for its notices, over room of its own. */
enum { OTOK_EVENT_ID_CHARS = OTOK_SESSION_ID_CHARS + 3 };
typedef struct otok_outbox_entry {
    otok_record record;
    otok_index_key keys[OTOK_OWNER_KEYS];
    otok_told first; /* whose names it is filed under */
    otok_buf body;
    otok_write write;
    bool held; /* the events are in it; otherwise it is the marker that they are missing */
} otok_outbox_entry;

int otok_outbox_enter(otok_service *service, otok_outbox *outbox, const otok_change *change, otok_outbox_entry *entry,
                      otok_error *err);
void otok_outbox_entry_free(otok_outbox_entry *entry);

/* Leaves the marker: events were removed that nobody read. */
int otok_outbox_mark(otok_service *service, otok_error *err);

/* The id of the n-th event of a record: of its id and version, since the marker's id is always the same. */
void otok_event_id_print(const otok_record *record, size_t n, char out[OTOK_EVENT_ID_CHARS + 1]);

/* ---------------------------------------------------------------------------------------------------- stats.c */

enum {
    OTOK_COUNT_FORGED,
    OTOK_COUNT_CONFLICT,
    OTOK_COUNT_INTROSPECTED,
    OTOK_COUNT_OUTBOX_OVERFLOW,
    OTOK_COUNT_ROTATED /* beside the event */
};

int otok_counters_new(otok_counters **out, otok_error *err);
void otok_counters_free(otok_counters *counters);
void otok_count_event(const otok_service *service, const otok_event *event);
void otok_count_one(const otok_service *service, int what);

/* ---------------------------------------------------------------------------------------------------- use.c */

/* What the host said to a use of a session. */
struct otok_answer {
    int32_t refusal; /* OTOK_OK: it agrees */
    bool ends_session;
    int failed; /* of a call of the host's that it passed over */
    otok_str scope;
    const otok_str *audience;
    size_t audience_count;
    otok_buf scope_text; /* what was narrowed */
    otok_str audience_items[OTOK_MAX_AUDIENCE];
    char *access_claims, *id_claims; /* members without their braces; NULL: none were given */
    otok_error error;
};

/* A use that the host is asked about. */
typedef struct otok_asked {
    int32_t purpose;
    uint32_t attempt;
    const otok_loaded *session;
    const otok_rules *rules;
    int64_t now_us;
    otok_str scope;
    const otok_str *audience;
    size_t audience_count;
    const otok_peer *peer;
    bool for_tokens; /* claims are wanted */
} otok_asked;

/*
 * Asks authorize, then claims.  `answer` holds the scope and audience that are left; freed with otok_answer_free(), after a failure
 * too.  A refusal is its code.  OTOK_E_CALLBACK.
 */
int otok_ask_host(otok_service *service, const otok_asked *asked, otok_answer *answer, otok_error *err);
void otok_answer_free(otok_answer *answer);

/* ---------------------------------------------------------------------------------------------------- tokens.c */

/* What a response is made of. */
typedef struct otok_mint {
    const otok_loaded *session;
    const otok_rules *rules;
    const otok_token *token; /* generation and handle; printed under the active key */
    const char *presented;   /* the text of that very token under its own key, or NULL: it need not be printed again */
    const otok_answer *answer; /* scope, audience and claims */
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

/* An access token of this service, verified; freed with otok_jws_free().  OTOK_E_TOKEN_INVALID when it is none, or has expired. */
int otok_access_token_read(otok_service *service, const char *text, otok_jws **out, otok_id *session, otok_error *err);

/* ---------------------------------------------------------------------------------------------------- grant.c */

/* Reads a request's peer (NULL: nothing is known) and checks its thumbprints; IP and user agent are checked where they are kept. */
int otok_peer_read(const otok_peer *in, otok_peer *out, otok_error *err);

/* A text that has a bound: refused, cut or dropped when it is longer, as the policy says. */
int otok_text_bounded(const char *text, size_t bound, int32_t overlong, const char *field, otok_str *out,
                      otok_error *err);
int otok_peer_texts(const otok_peer *peer, int32_t overlong, otok_str *ip, otok_str *user_agent, otok_error *err);

/* Checks extra claims, a JSON object, and points `out` at its members, without the braces.  `field` names it in messages. */
int otok_claims_read(const char *json, const char *field, otok_str *out, otok_error *err);

/* The members of a JSON object as they were written, without its braces; its text was parsed before. */
otok_str otok_json_members(const char *json, size_t len);

/* Checks a grant and fills `body` with what it says; the texts stay the grant's, but for the scope, which goes to `scope`. */
int otok_grant_read(const otok_grant *grant, const otok_peer *peer, int32_t overlong, otok_buf *scope, otok_body *body,
                    otok_error *err);

/* The first checks, which the policy needs: subject, client and the small numbers. */
int otok_grant_check(const otok_grant *grant, otok_error *err);

/* OTOK_E_SENDER, or OTOK_E_DPOP_PROOF where none came, unless the peer has proven what the session is bound to.  With `must` off, an
 * absent proof is fine. */
int otok_binding_check(const otok_body *body, const otok_peer *peer, bool must, otok_error *err);

/* ---------------------------------------------------------------------------------------------------- refresh.c */

/* Parses and proves a token, without the store, and says whose session it is.  OTOK_E_TOKEN_INVALID.  Wipe what is presented. */
int otok_token_present(const otok_service *service, const char *text, otok_presented *out, otok_id *id,
                       otok_error *err);

/* Whose a session is. */
typedef struct otok_owner {
    otok_str subject, client;
} otok_owner;

/* Called once a token is known to be this client's, and bound to no other key, in each attempt and before anything is written (P3). */
typedef int (*otok_on_owner)(void *arg, const otok_owner *owner, const otok_rules *rules, int64_t now_us,
                             otok_error *err);

/* otok_refresh() with such a call, which may be NULL. */
int otok_refresh_with(otok_service *service, const otok_refresh_request *request, otok_on_owner on_owner, void *arg,
                      otok_tokens **out, otok_error *err);

/* ---------------------------------------------------------------------------------------------------- introspect.c */

/* An access token, read and verified, that is used at a resource of these names: whoever its client is. */
typedef struct otok_access_use {
    otok_jws *jwt;
    otok_id session;
    const char *const *resource;
    size_t resource_count;
    const otok_peer *peer;
    otok_on_owner on_live; /* called once it is known to be live, and for that resource; may be NULL */
    void *on_live_arg;
} otok_access_use;

/* What is not active is an error here: from OTOK_E_TOKEN_INVALID down, with the reason. */
int otok_access_token_use(otok_service *service, const otok_access_use *use, otok_introspection **out, otok_error *err);

/* ---------------------------------------------------------------------------------------------------- revoke.c, cutoff.c */

/* Ends a session if it still has the version that was loaded, and tells of it. */
int otok_session_remove(otok_service *service, const otok_loaded *session, int32_t reason, const otok_peer *peer,
                        otok_error *err);

/* A walk over what a cutoff ended: where it is, and what it did. */
typedef struct otok_ended_walk {
    otok_cursor at; /* behind this one; created_us INT64_MIN: from the start */
    uint64_t visited, removed;
    bool unread; /* there were some that this version cannot read: they stay */
    bool done;
} otok_ended_walk;

/* Removes the sessions of an index that the cutoffs ended, at most `limit` more, an event with `reason` for each. */
int otok_cutoff_walk(otok_service *service, const otok_index_key *index, const otok_mark_head *cutoffs, int32_t reason,
                     uint32_t limit, otok_ended_walk *walk, otok_error *err);

/*
 * Moves the cutoffs of a scope forward (OTOK_NOW: past every session of it), for login-bound sessions only or for all, files its
 * mark for the sweeper, and tells of it.  `drop_consent`: in the same commit.  `out`: as they are now.
 */
typedef struct otok_cutoff_move {
    int64_t at_us;
    bool login_only, drop_consent;
    const otok_notice *notice; /* told with it: why; may be NULL */
} otok_cutoff_move;

int otok_cutoff_do(otok_service *service, const otok_scope_names *names, const otok_cutoff_move *move,
                   otok_mark_head *out, otok_error *err);

/* The whole of it: moves, and walks to the end. */
int otok_end_sessions(otok_service *service, const otok_scope_names *names, const otok_cutoff_move *move,
                      int32_t reason, uint64_t *ended, otok_error *err);

/* The sweeper's part: goes on with the walk that a mark asks for, and files or unfiles it accordingly. */
int otok_cutoff_sweep(otok_service *service, const otok_record *record, uint32_t limit, otok_ended_walk *walk,
                      otok_error *err);

/* ---------------------------------------------------------------------------------------------------- list.c */

/* A place in an index: where a page begins, and what its cursor is bound to. */
typedef struct otok_place {
    otok_index_key index;
    uint32_t order; /* OTOK_ORDER_... */
    otok_cursor at;
    bool started, end;
} otok_place;

/* Reads a list's request, but for its filter. */
int otok_list_request_read(const otok_list_request *in, otok_list_request *out, otok_error *err);
int otok_place_resume(otok_service *service, const char *cursor, otok_place *place, otok_error *err);
int otok_place_print(otok_service *service, const otok_place *place, char out[OTOK_CURSOR_CHARS + 1], otok_error *err);

/* The next rows, and the place behind them. */
int otok_place_read(otok_service *service, otok_place *place, uint32_t limit, otok_rows *rows, otok_error *err);

#endif
