/*
 * offlinetok/offlinetok.h - offline sessions for identity servers.
 *
 * The offline_access tokens of OpenID Connect (OpenID Connect Core 1.0, section 11) let a backup job, a phone or a command
 * line act for a user who is not there, for months, across logouts and restarts.  A server links this library to issue,
 * refresh, revoke and list them:
 *
 *     1  conventions and errors                    8  introspect
 *     2  keyring, and how its keys are rotated     9  revoke: by token, session, filter; cutoffs; logout
 *     3  store                                    10  consents
 *     4  service, policy, callbacks, events       11  list, count, change
 *     5  offline_access: who may have it          12  export and erase a subject
 *     6  issue                                    13  sweep
 *     7  refresh                                  14  outbox and counters
 *                                                 15  endpoints
 *                                                 16  for what the host answers itself
 *                                                 17  moving, checking and backing up stores
 *
 * Words.  A session is one offline grant of one subject to one client in one realm (one device, usually).  A generation
 * counts the rotations of its token.  The host is the server that links the library.  A cutoff is a not-before: sessions
 * started at or before it are dead.  A session is live when a refresh would succeed; one without a refresh token, until it ends.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef OFFLINETOK_OFFLINETOK_H
#define OFFLINETOK_OFFLINETOK_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif
#if defined(__GNUC__)
#pragma GCC visibility push(default)
#endif

/* ====================================================================================== 1  conventions and errors =====
 *
 * Structs that go in begin with `size`, which otok_x_init() sets to the size of the struct that the caller was compiled
 * with (its argument), everything else to 0.  0 or NULL is the default of every member that does not say
 * "required".  Structs only ever grow at their end: an older, smaller one is read as if the rest were 0; a newer, larger
 * one is accepted when what this library does not know is 0, and OTOK_E_INVALID otherwise.
 *
 * What goes in need live only until the call returns, but for callbacks and their user pointer: until otok_service_close() has
 * returned.  Structs that come out are allocated by the library, are freed by the function named beside them (which takes NULL), and
 * are NULL on failure.  The text in them lives as long as they do.
 *
 * Text is NUL-terminated UTF-8 without control characters.  Names ending in _us are microseconds, since 1970-01-01T00:00Z
 * where they are points in time; those ending in _s are seconds.  Negative durations are errors.
 *
 * Functions return OTOK_OK or a negative OTOK_E_ code, never anything else, and fill the caller's otok_error, the last
 * parameter, which may be NULL.  Every function may be called from any thread at any time, on the same objects too, unless it
 * frees them.  The library starts no thread, installs no signal handler, reads no environment variable, prints nothing, and
 * never ends the process.
 */

/* No limit, 9223372036854775807; 0 always means the default. */
#define OTOK_UNLIMITED INT64_MAX

/* Error codes: what the caller does next.  Values are never reused.  otok_error_oauth() and otok_error_http() map to the wire. */
enum {
    OTOK_OK = 0,

    /* The call is wrong: mend it. */
    OTOK_E_INVALID = -1,     /* an argument; the message names the field */
    OTOK_E_POLICY = -2,      /* a policy that makes no sense; the message names the field */
    OTOK_E_UNSUPPORTED = -3, /* not in this build, or not by this store */
    OTOK_E_NOT_FOUND = -4,   /* no session, cutoff or file of that name */
    OTOK_E_STATE = -5,       /* used after fork, opened twice, or by an incompatible version */

    /* The machine is in trouble: try again, or call the operator. */
    OTOK_E_NOMEM = -10,
    OTOK_E_IO = -11,         /* system_errno tells */
    OTOK_E_FULL = -12,       /* no room on the disk, or in the map */
    OTOK_E_BUSY = -13,       /* not tried within the time allowed: try again */
    OTOK_E_UNCERTAIN = -14,  /* cannot tell whether it took place: try again, the retry is safe */
    OTOK_E_CONFLICT = -15,   /* others were faster, repeatedly: try again */
    OTOK_E_CRYPTO = -16,     /* libcrypto failed, or a key cannot be used */
    OTOK_E_FORMAT = -17,     /* stored data that this version does not understand, or damaged */
    OTOK_E_TAMPERED = -18,   /* a record whose seal does not fit: someone edited the database */
    OTOK_E_PERMISSION = -19, /* a file that others can read, or that is not ours */
    OTOK_E_KEY = -20,        /* a damaged or missing key; the message names it */
    OTOK_E_CALLBACK = -21,   /* a callback of the host failed: nothing was done */

    /* The token is refused; the session, where there is one, is as before unless it says otherwise. */
    OTOK_E_TOKEN_INVALID = -30,   /* malformed, forged, or under a key that is gone */
    OTOK_E_TOKEN_UNKNOWN = -31,   /* genuine, but its session is gone */
    OTOK_E_TOKEN_EXPIRED = -32,   /* idle for too long, or at its maximum age */
    OTOK_E_TOKEN_REVOKED = -33,   /* its session began before a cutoff */
    OTOK_E_TOKEN_REUSED = -34,    /* superseded: what the policy says on reuse was done (RFC 9700 section 4.14) */
    OTOK_E_TOKEN_RETRIES = -35,   /* superseded a moment ago, and retried too often */
    OTOK_E_TOKEN_AHEAD = -36,     /* from the future of a restored store, refused by policy: older ones are reuse now */
    OTOK_E_CLIENT_MISMATCH = -37, /* another client's token, at a refresh: invalid_grant */
    OTOK_E_SENDER = -38,          /* not the key or certificate that the session is bound to (RFC 9449, RFC 8705) */
    OTOK_E_SCOPE = -39,           /* asks for more scope than was granted */
    OTOK_E_TARGET = -40,          /* asks for a resource that was not granted (RFC 8707) */
    OTOK_E_TOKEN_TYPE = -41,      /* revocation of this token: off, or not for this client (RFC 7009 section 2.2.1) */
    OTOK_E_UNAUTHORIZED_CLIENT = -42, /* another client's token, at a revocation; or a client that the policy refuses */
    OTOK_E_LIMIT = -43,               /* the subject has as many sessions with this client as the policy allows */
    OTOK_E_CONSENT = -44,             /* the user's consent is gone: invalid_grant */
    OTOK_E_DENIED = -45,              /* the host's authorize callback said no: invalid_grant */
    OTOK_E_ONCE = -46,                /* otok_grant.once_key was used before: invalid_grant (RFC 6749 section 4.1.2) */
    OTOK_E_DPOP_PROOF = -47,          /* a DPoP proof that is missing, wrong, or was used before: invalid_dpop_proof */
    OTOK_E_DPOP_NONCE = -48,          /* a DPoP proof without a fresh nonce of ours: use_dpop_nonce */
    OTOK_E_CLIENT = -49,              /* no client, or one that must authenticate: invalid_client */
    OTOK_E_GRANT_TYPE = -50           /* a grant type that is not refresh_token: unsupported_grant_type */
};

/* 512 bytes for ever.  Never holds a token, a handle or a key. */
typedef struct otok_error {
    int32_t code;         /* OTOK_E_... */
    int32_t system_errno; /* errno of the failed system call, or 0 */
    char message[504];    /* English, NUL-terminated, names the field, file or key */
} otok_error;

/* Name of a code, such as "OTOK_E_BUSY"; "OTOK_E_?" for others.  Static text.  Since 0.1. */
const char *otok_error_name(int code);

/* The `error` of RFC 6749 section 5.2 (and RFC 7009, 8707, 9449) for a code; NULL for OTOK_OK.  Static text.  Since 0.1. */
const char *otok_error_oauth(int code);

/* The HTTP status for a code: 200, 400, 401, 500 or 503 (retry).  Since 0.1. */
int otok_error_http(int code);

/* Version of the library that is running, such as "0.1.0".  Static text.  Since 0.1. */
const char *otok_version(void);

/* Frees text that a function handed out; takes NULL; wipes it first.  Since 0.1. */
void otok_string_free(char *text);

/* =========================================================================================================  2  keyring */

/* Signature algorithms (RFC 7518, RFC 8037). */
enum { OTOK_ALG_DEFAULT = 0, OTOK_ALG_ES256 = 1, OTOK_ALG_EDDSA = 2, OTOK_ALG_RS256 = 3, OTOK_ALG_PS256 = 4 };

/*
 * A keyring holds the keys that seal offline tokens (MAC keys) and those that sign access and ID tokens.  Each is next
 * (published, not used yet), active (one of each sort) or retired (still verifies).  Keyrings are reference-counted: a
 * service keeps its own reference, and the caller may free theirs at once.
 */
typedef struct otok_keyring otok_keyring;

/* A new keyring: one MAC key, one signing key of `algorithm`.  OTOK_E_INVALID, OTOK_E_CRYPTO, OTOK_E_NOMEM.  Since 0.1. */
int otok_keyring_generate(int32_t algorithm, otok_keyring **out, otok_error *err);

/*
 * Reads a keyring: private JWKS JSON (RFC 7517).  `token_keys_path` names a file of its own for the MAC keys, so that they
 * can be guarded apart; NULL when both are in `path`.  OTOK_E_NOT_FOUND; OTOK_E_PERMISSION when another user owns a file, or
 * group or others can do anything with it; OTOK_E_KEY or OTOK_E_FORMAT when one key is damaged, naming it.  Since 0.1.
 */
int otok_keyring_load(const char *path, const char *token_keys_path, otok_keyring **out, otok_error *err);

/*
 * Writes a keyring, mode 0600, atomically and durably: a reader sees the old file or the new one whole.
 * OTOK_E_INVALID when both paths are one file; OTOK_E_NOT_FOUND (no such folder), OTOK_E_IO, OTOK_E_FULL, OTOK_E_PERMISSION.
 * Since 0.1.
 */
int otok_keyring_save(const otok_keyring *keyring, const char *path, const char *token_keys_path, otok_error *err);

/* The public keys as JWKS JSON, for the host's jwks_uri.  No MAC key is in it.  Freed with otok_string_free().  Since 0.1. */
int otok_keyring_jwks(const otok_keyring *keyring, char **out, otok_error *err);

/* Releases a reference; keys are wiped with the last one.  Since 0.1. */
void otok_keyring_free(otok_keyring *keyring);

/* What a key is for, and where it stands. */
enum { OTOK_KEY_SIGNING = 1, OTOK_KEY_TOKEN = 2 };
enum {
    OTOK_KEY_NEXT = 1,   /* published and accepted, makes nothing yet */
    OTOK_KEY_ACTIVE = 2, /* one of each use */
    OTOK_KEY_RETIRED = 3 /* accepted, makes nothing any more */
};

typedef struct otok_key {
    size_t size;
    const char *kid;   /* RFC 7638 thumbprint, 43 characters; of a MAC key too */
    int32_t use;       /* OTOK_KEY_SIGNING or OTOK_KEY_TOKEN */
    int32_t state;     /* OTOK_KEY_NEXT, _ACTIVE, _RETIRED */
    int32_t algorithm; /* OTOK_ALG_... of a signing key; 0 */
    int32_t token_id;  /* of a MAC key, 1 to 255: stands in every token; 0 */
    int32_t external;  /* 1: its private half is elsewhere; see otok_callbacks.sign */
    int32_t unused;
    int64_t created_us;
    uint64_t
        sessions; /* otok_service_keys(): whose offline token was last presented, or which is sealed, under this MAC key */
} otok_key;

typedef struct otok_key_list {
    size_t size;
    const otok_key *const *keys;
    size_t count;
} otok_key_list;

/* The keys of a keyring, signing keys first.  Freed with otok_key_list_free().  OTOK_E_INVALID, OTOK_E_NOMEM.  Since 0.1. */
int otok_keyring_keys(const otok_keyring *keyring, otok_key_list **out, otok_error *err);
void otok_key_list_free(otok_key_list *list);

/*
 * Rotation in three steps, with time between them.  ADD a next key; once every process and every client that caches the
 * JWKS has it, ACTIVATE it, and the active one is retired; once nothing is left under that (a signing key: after the
 * longest lifetime of an access token; a MAC key: when otok_service_keys() counts no session), DROP it.  Nobody is logged
 * out before DROP; a token under a dropped key is OTOK_E_TOKEN_INVALID.
 */
enum { OTOK_KEY_STEP_ADD = 1, OTOK_KEY_STEP_ACTIVATE = 2, OTOK_KEY_STEP_DROP = 3 };

typedef struct otok_key_change {
    size_t size;
    int32_t step;      /* OTOK_KEY_STEP_... */
    int32_t use;       /* OTOK_KEY_SIGNING or OTOK_KEY_TOKEN */
    int32_t algorithm; /* ADD of a signing key: OTOK_ALG_... */
    int32_t unused;    /* 0 */
    const char *kid;   /* ACTIVATE: default the only next key; DROP: required, and not the active one's */
    const char *jwk;   /* ADD of a signing key whose private half is elsewhere: its public JWK with `alg` (RFC 7517) */
} otok_key_change;

void otok_key_change_init(otok_key_change *change, size_t size);

/*
 * Makes one step, and a new keyring of it; the old one stays as it is.  OTOK_E_INVALID; OTOK_E_NOT_FOUND (no such key, or no
 * next one); OTOK_E_STATE (64 keys of a use are the most; the active one is not dropped); OTOK_E_KEY (a `jwk` that is none).
 * Since 0.1.
 */
int otok_keyring_change(const otok_keyring *keyring, const otok_key_change *change, otok_keyring **out,
                        otok_error *err);

/*
 * The same to a keyring file: read, changed and written under a lock, so that two administrators at once lose
 * nothing.  `out` (may be NULL) is the keyring as it is on disk now.  Errors: also those of otok_keyring_load() and
 * otok_keyring_save().  Since 0.1.
 */
int otok_keyring_change_file(const char *path, const char *token_keys_path, const otok_key_change *change,
                             otok_keyring **out, otok_error *err);

/* ============================================================================================================ 3  store */

/*
 * Where sessions are kept.  Stores are reference-counted like keyrings.  A store of a host's own: <offlinetok/store.h>.
 */
typedef struct otok_store otok_store;

typedef struct otok_lmdb_options {
    size_t size;
    uint64_t map_size;    /* bytes of address space to begin with; default 1 TiB (32-bit: 1 GiB).  It grows by itself */
    uint32_t max_readers; /* default 4096 */
    uint32_t unused;      /* 0 */
    int64_t busy_timeout_ms; /* how long a commit waits for its turn; default 5000 */
    int32_t no_sync;         /* 1: commits are not on stable storage when they return.  For tests and imports only */
    int32_t read_only;       /* 1: open what exists for reading */
} otok_lmdb_options;

void otok_lmdb_options_init(otok_lmdb_options *options, size_t size);

/*
 * Opens the LMDB store in the folder `directory`, and makes it (mode 0700) when it is not there or empty.  One process opens
 * a folder once: a second open shares the first.  Several processes may have it open; after fork a child opens its own.
 * Not on network file systems; containers that share one must share a PID namespace.
 * OTOK_E_PERMISSION, OTOK_E_FORMAT (newer or foreign), OTOK_E_FULL, OTOK_E_IO, OTOK_E_UNSUPPORTED (built without).  Since 0.1.
 */
int otok_store_open_lmdb(const char *directory, const otok_lmdb_options *options, otok_store **out, otok_error *err);

/* A store in memory, for tests and for hosts that want none of it on disk.  Since 0.1. */
int otok_store_open_memory(otok_store **out, otok_error *err);

/* Releases a reference; the backend is closed with the last one.  Takes NULL.  Since 0.1. */
void otok_store_close(otok_store *store);

/* ========================================================================================================== 4  service */

/* When a refresh rotates the token. */
enum {
    OTOK_ROTATION_DEFAULT = 0, /* AUTO */
    OTOK_ROTATION_NEVER = 1,
    OTOK_ROTATION_ALWAYS = 2,
    OTOK_ROTATION_AUTO = 3 /* for public clients without sender constraint (RFC 9700 section 4.14) */
};

/* What the reuse of a superseded token ends. */
enum {
    OTOK_REUSE_DEFAULT = 0,     /* END_SESSION */
    OTOK_REUSE_REJECT = 1,      /* nothing: the token is refused, that is all */
    OTOK_REUSE_END_SESSION = 2, /* the session */
    OTOK_REUSE_END_PAIR = 3     /* all sessions of that subject with that client, by a cutoff */
};

/* A token from the future proves that the store was restored from an older backup. */
enum { OTOK_AHEAD_DEFAULT = 0, OTOK_AHEAD_ANSWER = 1, OTOK_AHEAD_REFUSE = 2 };

/* A label, IP or user agent that is longer than its bound.  REFUSE, the default, refuses the whole request, refreshes included. */
enum { OTOK_OVERLONG_DEFAULT = 0, OTOK_OVERLONG_REFUSE = 1, OTOK_OVERLONG_CUT = 2, OTOK_OVERLONG_DROP = 3 };

/* A switch whose default is on. */
enum { OTOK_DEFAULT = 0, OTOK_ON = 1, OTOK_OFF = 2 };

/*
 * How sessions of a client live.  Evaluated at each use, so a change reaches existing sessions at once.  Nonsense (a negative
 * duration; retries without bound in time and in number) is OTOK_E_POLICY: the request fails, the session is untouched.
 */
typedef struct otok_policy {
    size_t size;
    int32_t rotation; /* OTOK_ROTATION_... */
    int32_t reuse;    /* OTOK_REUSE_... */
    int32_t ahead;    /* OTOK_AHEAD_... */
    int32_t overlong; /* OTOK_OVERLONG_... */

    int64_t idle_timeout_s; /* a session not refreshed for so long has ended; default 30 days */
    int64_t max_lifetime_s; /* a session this old has ended; default OTOK_UNLIMITED */

    /*
     * The immediately previous token, from the same client and key, gets the same successor again for retry_window_s after the
     * rotation (default 10 s; 60 s for confidential or key-bound clients), clock_skew_s of another node's clock forgiven
     * (default 2 s).  At most retry_limit times; default unlimited.  OTOK_UNLIMITED as window needs a limit.
     */
    int64_t retry_window_s;
    int64_t retry_limit; /* at most 65535, or OTOK_UNLIMITED */
    int64_t clock_skew_s;
    /* A current token younger than this comes back unchanged; default and least: retry_window_s, unless that is unlimited. */
    int64_t rotate_after_s;

    /*
     * Without rotation, last use is written at most this often; default 300 s.  Never more than a tenth of the idle timeout,
     * which is lengthened by it in the client's favour.
     */
    int64_t touch_interval_s;
    int64_t sweep_grace_s; /* a session is removed once it was seen dead for so long; default 1 day, at most 30 */

    int32_t access_token;            /* OTOK_OFF: the host mints its own access tokens */
    int32_t access_token_revocation; /* OTOK_OFF: an access token cannot be revoked, unsupported_token_type */
    int64_t access_token_lifetime_s; /* default 300 s; never beyond the session's end */
    int64_t id_token_lifetime_s;     /* default: as the access token */

    int32_t public_clients;    /* OTOK_OFF: refused, OTOK_E_UNAUTHORIZED_CLIENT */
    int32_t sender_constraint; /* OTOK_ON: sessions without one are refused, OTOK_E_SENDER; default off */
    int32_t consent;           /* OTOK_ON: a refresh needs a consent (chapter 10) that covers its scopes; default off */

    /*
     * Live sessions of one kind that a subject may have with a client; default unlimited.  At the limit a new one ends the
     * oldest by start, at most 32 in one issue, or is refused, OTOK_E_LIMIT.
     */
    int32_t at_session_limit; /* OTOK_AT_LIMIT_... */
    int64_t session_limit;

    /*
     * The same otok_grant.once_key gets the same session again for once_window_s (default 60 s), while its first token has
     * not been superseded.  Later it is refused, OTOK_E_ONCE, and its session ended, for once_keep_s (default 1 day, at
     * least the window, at most 30 days).
     */
    int64_t once_window_s;
    int64_t once_keep_s;
    int32_t once_reuse; /* OTOK_REUSE_END_SESSION, the default, or OTOK_REUSE_REJECT */

    int32_t dpop_nonce;    /* OTOK_ON: DPoP proofs need a nonce of ours (RFC 9449 section 8); default off */
    int64_t dpop_window_s; /* a proof is good for so long around its `iat`; default 60 s, at most 600 */
} otok_policy;

void otok_policy_init(otok_policy *policy, size_t size);

/* What happens at session_limit. */
enum { OTOK_AT_LIMIT_DEFAULT = 0, OTOK_AT_LIMIT_EVICT = 1, OTOK_AT_LIMIT_REFUSE = 2 };

/*
 * Presets.  KEYCLOAK: no rotation; a window of 10 s if it is switched on.  BCP: RFC 9700, which are the defaults.  FAPI2
 * (FAPI 2.0 Security Profile section 5.3.2.1): no rotation; neither public clients nor sessions without sender constraint.
 */
enum { OTOK_PRESET_KEYCLOAK = 1, OTOK_PRESET_BCP = 2, OTOK_PRESET_FAPI2 = 3 };

/*
 * Sets the members that a preset speaks of, and leaves the others.  `policy` must have been initialised.  OTOK_E_INVALID.
 * Since 0.1.
 */
int otok_policy_preset(otok_policy *policy, int32_t preset, otok_error *err);

/*
 * The most that a client can have: where the policy, the service's or its own, has more, this counts.  0: no ceiling.
 */
typedef struct otok_ceilings {
    size_t size;
    int64_t idle_timeout_s;
    int64_t max_lifetime_s;
    int64_t retry_window_s;
    int64_t access_token_lifetime_s;
    int64_t id_token_lifetime_s;
    int64_t session_limit;
} otok_ceilings;

void otok_ceilings_init(otok_ceilings *ceilings, size_t size);

/* What happened. */
enum {
    OTOK_EVENT_ISSUED = 1,
    OTOK_EVENT_REFRESHED = 2,         /* with or without rotation: see generation */
    OTOK_EVENT_RETRIED = 3,           /* the previous token got its successor again */
    OTOK_EVENT_REFUSED = 4,           /* a token with a good MAC; reason: OTOK_E_... */
    OTOK_EVENT_REUSE = 5,             /* an older token; distance: how many generations */
    OTOK_EVENT_REVOKED = 6,           /* reason: OTOK_REVOKED_... */
    OTOK_EVENT_EXPIRED = 7,           /* removed by the sweeper; reason: OTOK_E_TOKEN_EXPIRED */
    OTOK_EVENT_CUTOFF = 8,            /* a cutoff was set: cutoff_us, and the names that it is for */
    OTOK_EVENT_STORE_ROLLED_BACK = 9, /* a token from the future came: the store was restored from an older backup */
    OTOK_EVENT_EVICTED = 10,          /* ended by a newer session at policy.session_limit */
    OTOK_EVENT_CONSENT_GRANTED = 11,  /* or changed; scope */
    OTOK_EVENT_CONSENT_REVOKED = 12,
    OTOK_EVENT_OUTBOX_OVERFLOW = 13 /* in the outbox only: from here on events are missing (chapter 14) */
};

/* Why a session was revoked. */
enum {
    OTOK_REVOKED_BY_TOKEN = 1,       /* otok_revoke_token() */
    OTOK_REVOKED_BY_SESSION = 2,     /* otok_revoke_session() */
    OTOK_REVOKED_BY_FILTER = 3,      /* otok_revoke_matching() */
    OTOK_REVOKED_BY_CUTOFF = 4,      /* removed by the sweeper behind a cutoff */
    OTOK_REVOKED_BY_REUSE = 5,       /* a superseded token came back */
    OTOK_REVOKED_BY_CONSENT = 6,     /* otok_consent_revoke() */
    OTOK_REVOKED_BY_LOGOUT = 7,      /* otok_logout() */
    OTOK_REVOKED_BY_REPLACEMENT = 8, /* otok_grant.replaces */
    OTOK_REVOKED_BY_HOST = 9,        /* the authorize callback */
    OTOK_REVOKED_BY_ONCE = 10,       /* otok_grant.once_key came back (RFC 6749 section 4.1.2) */
    OTOK_REVOKED_BY_ERASURE = 11     /* otok_erase() */
};

/* Marks of an event. */
enum {
    OTOK_EVENT_OTHER_IP = 1,         /* a retry from another IP address than the rotation's */
    OTOK_EVENT_OTHER_USER_AGENT = 2, /* or with another user agent: a thief may be keeping the victim's rhythm */
    OTOK_EVENT_ADOPTED = 4           /* issued for, or revoked as, a token of another system: otok_callbacks.adopt */
};

typedef struct otok_event {
    size_t size;
    int32_t type;   /* OTOK_EVENT_... */
    int32_t reason; /* OTOK_E_... or OTOK_REVOKED_... */
    int64_t time_us;
    const char *realm;
    const char *session_id; /* these four may be NULL */
    const char *subject;
    const char *client_id;
    const char *sid;
    const char *ip; /* of the request that caused it, or NULL */
    const char *user_agent;
    uint32_t generation; /* of the session, after what happened */
    uint32_t distance;   /* generations: REUSE, the token was behind; STORE_ROLLED_BACK, it was ahead */
    uint32_t marks;      /* OTOK_EVENT_OTHER_... */
    int32_t grant_type;
    int64_t cutoff_us;
    const char *scope; /* of a consent, or NULL */
    const char
        *event_id; /* the same in callback and outbox, and in no other event; NULL for one that is not in the outbox */
    int32_t kind;  /* OTOK_SESSION_...; of a cutoff: LOGIN when it is for those alone */
    int32_t unused;
} otok_event;

/* What is to be answered, of which the host is asked whether it agrees. */
enum {
    OTOK_PURPOSE_ISSUE = 1,
    OTOK_PURPOSE_REFRESH = 2,
    OTOK_PURPOSE_RETRY = 3,     /* the same answer as a moment ago */
    OTOK_PURPOSE_INTROSPECT = 4 /* whether it is live */
};

struct otok_session; /* chapter 11 */
struct otok_peer;    /* chapter 6 */
struct otok_legacy;  /* chapter 7 */

/* A use of a session.  It lives until the callback returns. */
typedef struct otok_use {
    size_t size;
    int32_t purpose;  /* OTOK_PURPOSE_... */
    uint32_t attempt; /* 1; more when others were faster, and everything was read again */
    const struct otok_session *session;
    const char *scope;           /* of this answer */
    const char *const *audience; /* of its access token */
    size_t audience_count;
    const struct otok_peer *peer; /* never NULL */
} otok_use;

/*
 * What the host says to a use; what is handed in is copied.  Each returns OTOK_OK or OTOK_E_INVALID, OTOK_E_NOMEM; an error
 * that the callback passes over fails the request all the same, OTOK_E_CALLBACK.  Only inside the callback that was given
 * the answer. Since 0.1.
 */
typedef struct otok_answer otok_answer;

/*
 * Refuses: `code` is OTOK_E_DENIED (invalid_grant) or another code from OTOK_E_TOKEN_INVALID down, whose error goes on the
 * wire, or OTOK_E_BUSY (503).  `description` (may be NULL) becomes the message.  The token stays unconsumed.
 */
int otok_answer_refuse(otok_answer *answer, int32_t code, const char *description);
/* Refuses and ends the session: OTOK_REVOKED_BY_HOST. */
int otok_answer_end_session(otok_answer *answer);
/* Narrows the scope, or the audience; what was not in it is OTOK_E_INVALID. */
int otok_answer_set_scope(otok_answer *answer, const char *scope);
int otok_answer_set_audience(otok_answer *answer, const char *const *audience, size_t count);
/*
 * Extra claims: a JSON object with the bounds of otok_grant.claims.  Those of the access token replace the grant's; those
 * of the ID token are added.  Reserved names (see otok_grant.claims) are OTOK_E_INVALID.
 */
int otok_answer_set_access_claims(otok_answer *answer, const char *json);
int otok_answer_set_id_claims(otok_answer *answer, const char *json);

/* What otok_callbacks.sign is to sign. */
typedef struct otok_sign_request {
    size_t size;
    const char *kid;
    int32_t algorithm; /* OTOK_ALG_... */
    int32_t unused;
    const void *data;
    size_t data_len;
} otok_sign_request;

/* A token of another system in the making; see otok_legacy_set(). */
typedef struct otok_adoption otok_adoption;

/*
 * What the host tells the library.  All optional, called with no lock held and outside any store transaction, from the thread
 * whose call caused it.  What they are handed lives until they return.  They must return (no longjmp, no exception), and may
 * call the library.  0 is "go on": a binding sees to it that a callback which fails in its own language returns something else.
 */
typedef struct otok_callbacks {
    size_t size;
    /* The time, microseconds since 1970; default: the system's clock. */
    int64_t (*now)(void *user);
    /* Changes `policy`, which holds the service's, to this client's.  0; anything else fails the request, OTOK_E_CALLBACK. */
    int (*client_policy)(void *user, const char *client_id, otok_policy *policy);
    /* Told after the commit. */
    void (*event)(void *user, const otok_event *event);
    /*
     * Asked before an answer is made, after every check of the library: is the user enabled, the client there, the role
     * still given?  It agrees unless it says otherwise in `answer`.  0; anything else fails the request, OTOK_E_CALLBACK,
     * the session as before.
     */
    int (*authorize)(void *user, const otok_use *use, otok_answer *answer);
    /* Asked for claims, after authorize, with the scope that was left; not when introspecting.  Returns as authorize does. */
    int (*claims)(void *user, const otok_use *use, otok_answer *answer);
    /*
     * Given a token that is not this library's, and the client that presents it, which the host has authenticated: when it
     * is a valid token of the system before, calls otok_legacy_set().  Every process of a realm that ends sessions has it,
     * or none.  0 either way; anything else fails the request, OTOK_E_CALLBACK.
     */
    int (*adopt)(void *user, const char *token, const char *client_id, otok_adoption *adoption);
    /*
     * Signs with an external key (HSM, PKCS#11, KMS): writes a JOSE signature (RFC 7518 section 3; ES256: r || s, 64 bytes) to
     * `signature`, and its length to `*len`, which holds the room, 1024.  0; anything else fails the request, OTOK_E_CALLBACK.
     * What it made is verified before it is used.
     */
    int (*sign)(void *user, const otok_sign_request *request, uint8_t *signature, size_t *len);
} otok_callbacks;

void otok_callbacks_init(otok_callbacks *callbacks, size_t size);

typedef struct otok_config {
    size_t size;
    const char *issuer; /* required: `iss` of access and ID tokens; at most 512 bytes */
    const char *realm;  /* default: the issuer; at most 255 bytes.  Sessions of one realm are invisible to another */
    /*
     * The embedded default, when otok_service_open() gets neither store nor keyring: a folder (made when it is not there,
     * mode 0700) with the LMDB store in "store" and the keyring in "keyring.json", made there (ES256) when neither is there
     * yet.
     */
    const char *directory;
    const char *audience;      /* `aud` of access tokens whose grant names none (RFC 9068 section 3); default: issuer */
    const otok_policy *policy; /* copied; default: every default */
    const otok_callbacks *callbacks; /* copied */
    void *user;                      /* handed to each callback */
    int64_t deadline_ms;             /* after so long over all attempts a call answers OTOK_E_BUSY; default 10000 */
    const otok_ceilings *ceilings;   /* copied; default: none */
    /*
     * Commits whose events the outbox holds, at most or a few more; default 0: no outbox (chapter 14).  It misses none where every
     * process of the realm has one.
     */
    uint64_t outbox_limit;
} otok_config;

void otok_config_init(otok_config *config, size_t size);

/* One realm's view of a store: cheap; thousands of them over one store are fine. */
typedef struct otok_service otok_service;

/*
 * Opens a service.  It keeps references of its own on `store` and `keyring`.  Both NULL: see otok_config.directory; one alone
 * is OTOK_E_INVALID.  Also whatever opening the store and loading the keyring return.  Since 0.1.
 */
int otok_service_open(const otok_config *config, otok_store *store, otok_keyring *keyring, otok_service **out,
                      otok_error *err);

/* Ends a service; no call may be running in it.  Takes NULL.  Since 0.1. */
void otok_service_close(otok_service *service);

/*
 * Goes on with another keyring, from the next call on; the keys before it are wiped when the service is closed.
 * OTOK_E_INVALID, OTOK_E_KEY (an external key without otok_callbacks.sign), OTOK_E_NOMEM, OTOK_E_CRYPTO.  Since 0.1.
 */
int otok_service_set_keyring(otok_service *service, otok_keyring *keyring, otok_error *err);

/*
 * Reads the keyring's file again; nothing happens when it has not changed.  A service also does so by itself when it meets
 * a key that it does not know.  OTOK_E_UNSUPPORTED when the keyring came from no file; and what otok_keyring_load() and
 * otok_service_set_keyring() return, the service going on as before.  Since 0.1.
 */
int otok_service_reload_keyring(otok_service *service, otok_error *err);

/*
 * The keys in use, and how many sessions of this realm need each MAC key, by a walk over all of them.  Freed with
 * otok_key_list_free().  Since 0.1.
 */
int otok_service_keys(otok_service *service, otok_key_list **out, otok_error *err);

/* =================================================================================================== 5  offline_access */

/* The grant by which the session came about (RFC 6749; RFC 8628; OpenID CIBA; RFC 7523; RFC 8693); kept on the session. */
enum {
    OTOK_GRANT_AUTHORIZATION_CODE = 0,
    OTOK_GRANT_PASSWORD = 1,
    OTOK_GRANT_CLIENT_CREDENTIALS = 2,
    OTOK_GRANT_DEVICE_CODE = 3,
    OTOK_GRANT_CIBA = 4,
    OTOK_GRANT_JWT_BEARER = 5,
    OTOK_GRANT_TOKEN_EXCHANGE = 6
};

/* The client's application_type (OpenID Connect Dynamic Client Registration 1.0 section 2). */
enum { OTOK_APPLICATION_WEB = 0, OTOK_APPLICATION_NATIVE = 1 };

/*
 * KEYCLOAK: as Keycloak has it.  The prompt rule is waived, which departs from OpenID Connect Core section 11, and a request
 * that is denied is answered with not_allowed.
 */
enum { OTOK_OFFLINE_PRESET_STANDARD = 0, OTOK_OFFLINE_PRESET_KEYCLOAK = 1 };

/*
 * What is asked, and what the host knows about client and user.  Text that the request does not have is NULL, and empty text
 * counts as omitted (RFC 6749 section 3.1).  Switches are 0 or 1.
 */
typedef struct otok_offline_request {
    size_t size;
    const char *scope;         /* as asked; at most 4096 bytes */
    const char *response_type; /* required where there is an authorization request; at most 255 bytes */
    const char *prompt;        /* at most 255 bytes; `none` beside another word is refused */
    const char *saved_consent; /* the scopes that the user granted this client earlier; at most 4096 bytes */
    int32_t grant_type;        /* OTOK_GRANT_... */
    int32_t application_type;  /* OTOK_APPLICATION_... */
    int32_t preset;            /* OTOK_OFFLINE_PRESET_... */

    int32_t user_has_role;       /* 1: the user, or the service account, has the role offline_access */
    int32_t client_has_scope;    /* 1: the client has the client scope offline_access */
    int32_t client_may_refresh;  /* 1: the client is registered for the grant type refresh_token */
    int32_t consent_given;       /* 1: the user has consented in this interaction */
    int32_t permitted_otherwise; /* 1: another condition permits offline access without prompt=consent */

    /* What the host's policy for this client says. */
    int32_t saved_consent_counts;       /* 1: saved_consent may stand for asking */
    int32_t native_without_consent;     /* 1: a native client may go without consent, which it should have */
    int32_t token_exchange_allowed;     /* 1: offline tokens by token exchange */
    int32_t client_credentials_allowed; /* 1: offline tokens by client credentials */
} otok_offline_request;

void otok_offline_request_init(otok_offline_request *request, size_t size);

/* What to do with a request. */
enum {
    OTOK_OFFLINE_GRANT = 1,            /* issue an offline token */
    OTOK_OFFLINE_IGNORE = 2,           /* go on as if offline_access had not been asked for */
    OTOK_OFFLINE_CONSENT = 3,          /* ask the user, then decide again; nobody there to ask: oauth_error is set */
    OTOK_OFFLINE_CONSENT_REQUIRED = 4, /* the user would have to be asked, and prompt=none forbids it */
    OTOK_OFFLINE_DENY = 5              /* refuse the request */
};

/* Why: the first of these, in this order, that is the case. */
enum {
    OTOK_REASON_NOT_ASKED = 1,              /* IGNORE: offline_access is not in scope */
    OTOK_REASON_CLIENT_WITHOUT_REFRESH = 2, /* IGNORE: client_may_refresh is 0 */
    OTOK_REASON_GRANT_TYPE_OFF = 3,         /* IGNORE: token exchange or client credentials, not allowed by policy */
    OTOK_REASON_NO_CODE = 4,                /* IGNORE: response_type does not hold the word code */
    OTOK_REASON_NO_PROMPT = 5,              /* IGNORE: neither the word consent in prompt nor another condition */
    OTOK_REASON_USER_WITHOUT_ROLE = 6,      /* DENY: user_has_role is 0 */
    OTOK_REASON_CLIENT_WITHOUT_SCOPE = 7,   /* DENY: client_has_scope is 0 */
    OTOK_REASON_CONSENT_GIVEN = 8,          /* GRANT: in this interaction */
    OTOK_REASON_CONSENT_SAVED = 9,          /* GRANT: earlier, and for every scope that is asked */
    OTOK_REASON_CONSENT_WAIVED = 10,        /* GRANT: native_without_consent */
    OTOK_REASON_CONSENT_MISSING = 11        /* CONSENT or CONSENT_REQUIRED */
};

/* Freed with otok_offline_decision_free(). */
typedef struct otok_offline_decision {
    size_t size;
    int32_t decision;        /* OTOK_OFFLINE_... */
    int32_t reason;          /* OTOK_REASON_... */
    const char *oauth_error; /* the request fails, with this `error`; NULL: it goes on.  Static text */
    const char *description; /* the reason in English, fit for `error_description`.  Static text */
    const char *scope;       /* to go on with: each word once; on IGNORE without offline_access; may be "" */
    int32_t prompt_waived;   /* 1: section 11 would have it ignored; the preset KEYCLOAK let it pass */
    int32_t unused;
} otok_offline_decision;

void otok_offline_decision_free(otok_offline_decision *decision);

/*
 * Decides whether a request gets an offline token (OpenID Connect Core 1.0 section 11).  It looks at `request` and nothing
 * else; otok_issue() does not call it.  OTOK_E_INVALID, which is invalid_request on the wire: the message names the member.
 * OTOK_E_NOMEM.  Since 0.1.
 */
int otok_offline_decide(const otok_offline_request *request, otok_offline_decision **out, otok_error *err);

/* ============================================================================================================ 6  issue */

/* How the client authenticated, which is the host's work (RFC 6749 section 2.1). */
enum { OTOK_CLIENT_CONFIDENTIAL = 0, OTOK_CLIENT_PUBLIC = 1 };

/* Sender constraint of a session: to one key, to one certificate, or that there be one. */
enum {
    OTOK_BINDING_NONE = 0,
    OTOK_BINDING_JKT = 1,      /* this DPoP key (RFC 9449): for public clients */
    OTOK_BINDING_X5T_S256 = 2, /* this client certificate (RFC 8705): for public clients */
    OTOK_BINDING_DPOP = 3,     /* any DPoP key: for confidential clients (RFC 9449 section 5) */
    OTOK_BINDING_MTLS = 4      /* any certificate: for confidential clients (RFC 8705 section 7.1) */
};

/*
 * Kinds of session.  An OFFLINE one survives logout.  A LOGIN one, of an ordinary refresh token, is ended by the logout of its
 * `sid`, which it must have, or of its subject.
 */
enum { OTOK_SESSION_OFFLINE = 0, OTOK_SESSION_LOGIN = 1 };

/*
 * What the host has verified in a request: proofs of possession as base64url SHA-256 thumbprints (43 characters), and where it
 * came from.  NULL where there was none.
 */
typedef struct otok_peer {
    size_t size;
    const char *jkt;        /* of the key of a valid DPoP proof (RFC 9449 section 6) */
    const char *x5t_s256;   /* of the client certificate (RFC 8705 section 3.1) */
    const char *ip;         /* at most 64 bytes */
    const char *user_agent; /* at most 512 bytes */
} otok_peer;

void otok_peer_init(otok_peer *peer, size_t size);

/* Bounds: longer is OTOK_E_INVALID (label, IP and user agent: as the policy says). */
typedef struct otok_grant {
    size_t size;
    const char *subject;    /* required: the user, at most 255 bytes, compared bytewise */
    const char *client_id;  /* required: at most 255 bytes, compared bytewise */
    const char *scope;      /* required: at most 4096 bytes, separated by spaces */
    int32_t grant_type;     /* OTOK_GRANT_... */
    int32_t client_type;    /* OTOK_CLIENT_... */
    const char *sub;        /* `sub` on the wire where it is another (pairwise); default: subject; at most 255 bytes */
    const char *sid;        /* the SSO session that it was granted in; at most 255 bytes */
    const char *nonce;      /* of the first ID token; at most 512 bytes */
    const char *acr;        /* at most 255 bytes */
    const char *const *amr; /* at most 16, each at most 255 bytes */
    size_t amr_count;
    const char *const *audience; /* resources granted (RFC 8707): at most 16, each at most 1024 bytes */
    size_t audience_count;
    int64_t auth_time_us; /* when the user was authenticated; 0: unknown */
    /*
     * Extra claims of access tokens: a JSON object of at most 16 KiB, whose members go in as they are written.  Refused are
     * iss, sub, aud, exp, nbf, iat, jti, client_id, scope, auth_time, acr, amr, sid, cnf, act, nonce, azp, at_hash, c_hash,
     * s_hash, typ, token_use, events, authorization_details, active and token_type.
     */
    const char *claims;
    const char *label;      /* a name for the device that the user recognises; at most 512 bytes */
    const otok_peer *peer;  /* where the request came from */
    int32_t binding;        /* OTOK_BINDING_...; the peer must have proven the key or certificate */
    int32_t kind;           /* OTOK_SESSION_... */
    int64_t idle_timeout_s; /* tighter limits of this session; looser ones have no effect */
    int64_t max_lifetime_s;
    const char *authorization_details; /* RFC 9396: a JSON array of objects with a `type`, at most 16 KiB */
    const char *act; /* who acts for the subject (RFC 8693 section 4.1): a JSON object, at most 4 KiB */
    /*
     * The session that this one takes the place of, ended in the same commit (step-up, a new login on the same device).  It
     * must be of the same subject and client; one that has ended already is no error.
     */
    const char *replaces;
    /*
     * Makes a lost response harmless: what this grant came from and is good for once, such as a hash of the authorization
     * code; at most 255 bytes, not to be guessed.  The same key from the same client and subject is answered with the same
     * session and token, for policy.once_window_s.
     */
    const char *once_key;
    /*
     * OTOK_OFF: no refresh token is handed out, and the session lives as long as its first access token: a plain login, or client
     * credentials (RFC 6749 section 4.4.3), whose tokens can be introspected and revoked like all others.  It does not count for
     * policy.session_limit.
     */
    int32_t refresh_token; /* OTOK_DEFAULT, OTOK_ON, OTOK_OFF */
    int32_t unused;        /* 0 */
} otok_grant;

void otok_grant_init(otok_grant *grant, size_t size);

/* How a token came about. */
enum {
    OTOK_OUTCOME_ISSUED = 1,
    OTOK_OUTCOME_KEPT = 2,     /* the same generation comes back */
    OTOK_OUTCOME_ADVANCED = 3, /* rotated */
    OTOK_OUTCOME_RETRIED = 4,  /* the answer of a moment ago, again */
    OTOK_OUTCOME_ADOPTED = 5   /* issued for a token of another system */
};

/* Wiped and freed with otok_tokens_free(). */
typedef struct otok_tokens {
    size_t size;
    const char *offline_token; /* the refresh token: 85 characters; NULL where grant.refresh_token is off */
    const char *access_token;  /* RFC 9068; NULL when the policy has it off */
    const char *id_token;      /* NULL unless `openid` is in scope */
    const char *scope;         /* of the access token */
    const char *session_id;    /* 22 characters, no secret */
    const char *response_json; /* all of it as RFC 6749 section 5.1 says; the answer to the client */
    int64_t access_expires_in_s;
    int64_t offline_expires_in_s; /* without a refresh; OTOK_UNLIMITED */
    int32_t outcome;              /* OTOK_OUTCOME_... */
    uint32_t generation;
} otok_tokens;

void otok_tokens_free(otok_tokens *tokens);

/*
 * Issues a session: when this returns OTOK_OK it is on stable storage. OTOK_E_INVALID, OTOK_E_POLICY, OTOK_E_CALLBACK,
 * OTOK_E_CRYPTO; OTOK_E_LIMIT; OTOK_E_ONCE; OTOK_E_UNAUTHORIZED_CLIENT and OTOK_E_SENDER, as the policy says; OTOK_E_SENDER and
 * OTOK_E_DPOP_PROOF where a once_key comes again without what its session is bound to; what the authorize callback says; and the
 * store's.  On OTOK_E_UNCERTAIN a session that nobody holds a token of may be left behind; the sweeper removes it.  Since 0.1.
 */
int otok_issue(otok_service *service, const otok_grant *grant, otok_tokens **out, otok_error *err);

/* ========================================================================================================== 7  refresh */

typedef struct otok_refresh_request {
    size_t size;
    const char *token;     /* required: as it came */
    const char *client_id; /* required: the client that the host has authenticated, or that a public one says it is */
    int32_t client_type;   /* OTOK_CLIENT_... */
    int32_t unused;        /* 0 */
    const char *scope;     /* narrows the access token (RFC 6749 section 6); default: all that was granted */
    const char *const *resource; /* narrows the audience (RFC 8707) */
    size_t resource_count;
    const otok_peer *peer;
} otok_refresh_request;

void otok_refresh_request_init(otok_refresh_request *request, size_t size);

/*
 * Refreshes.  Checks run cheapest first, and nothing is written until all have passed; a forged token costs one MAC and no
 * store access.  Simultaneous calls with one token move its session by one generation and get the same successor.  What is
 * returned is durable.  OTOK_E_TOKEN_..., OTOK_E_CLIENT_MISMATCH, OTOK_E_SENDER, OTOK_E_DPOP_PROOF, OTOK_E_SCOPE, OTOK_E_TARGET
 * as their names say, the token unconsumed (but for TOKEN_REUSED, which does what the policy says); OTOK_E_BUSY, OTOK_E_UNCERTAIN
 * and OTOK_E_CONFLICT: the client tries again with the same token.  Since 0.1.
 */
int otok_refresh(otok_service *service, const otok_refresh_request *request, otok_tokens **out, otok_error *err);

/*
 * Refreshes `n` requests with one commit for as many as a transaction holds, for a host with one thread and an event loop: those
 * that came in while it was busy, at once.  Each is as with otok_refresh(), and on its own: where errors[i].code is OTOK_OK, out[i]
 * is its answer, freed with otok_tokens_free(); otherwise out[i] is NULL.  Threads need it not: their calls of otok_refresh() share
 * commits.  `out` and `errors` have room for `n`.  OTOK_E_INVALID and OTOK_E_NOMEM are about the call, of which nothing was done.
 * Since 0.1.
 */
int otok_refresh_many(otok_service *service, const otok_refresh_request *const *requests, size_t n, otok_tokens **out,
                      otok_error *errors, otok_error *err);

/*
 * A token of another system, such as the offline token of a Keycloak that this library takes the place of, is adopted at
 * its first refresh: see otok_callbacks.adopt.  It counts as generation 0 of the session that is made, whose first token is
 * generation 1; until that is used, it is answered with that again; from then on it is superseded like any
 * other.  policy.session_limit neither refuses an adoption nor evicts for one; the next issue counts it.
 */
typedef struct otok_legacy {
    size_t size;
    const char *id;     /* required: of its session, the same for every spelling of the token; at most 255 bytes */
    int64_t started_us; /* required: when that session began; cutoffs and the maximum lifetime count from it */
    int64_t ends_us;    /* when the token ends; 0 or OTOK_UNLIMITED: never.  Until then its id is remembered */
    /*
     * Required: what it holds.  A `binding` to a key or certificate is to the one in `peer`; of `peer` nothing else is
     * looked at, and nonce, replaces and once_key are not.
     */
    const otok_grant *grant;
} otok_legacy;

void otok_legacy_init(otok_legacy *legacy, size_t size);

/* Says what a token is; copies.  To be called inside the callback, once.  OTOK_E_INVALID, OTOK_E_NOMEM.  Since 0.1. */
int otok_legacy_set(otok_adoption *adoption, const otok_legacy *legacy, otok_error *err);

/* ======================================================================================================  8  introspect */

/* A request of RFC 7662. */
typedef struct otok_introspect_request {
    size_t size;
    const char *token;     /* required: offline or access token */
    const char *client_id; /* required: who asks, as the host has authenticated it */
    const char *const
        *resource;         /* what else it answers to: an access token is shown to its client and to its audience */
    size_t resource_count; /* at most 16 */
    int32_t client_type;   /* OTOK_CLIENT_... */
    int32_t unused;        /* 0 */
    const otok_peer *peer; /* where the request came from */
} otok_introspect_request;

void otok_introspect_request_init(otok_introspect_request *request, size_t size);

/* What a token is. */
enum { OTOK_TOKEN_OFFLINE = 1, OTOK_TOKEN_ACCESS = 2 };

/* Of what is not active, nothing but response_json is told.  Freed with otok_introspection_free(). */
typedef struct otok_introspection {
    size_t size;
    int32_t active;
    int32_t token;          /* OTOK_TOKEN_...; 0 */
    const char *session_id; /* these four are NULL when it is not active */
    const char *subject;
    const char *client_id;
    const char *scope;
    int64_t expires_us;        /* OTOK_UNLIMITED; 0 when it is not active */
    const char *response_json; /* RFC 7662 section 2.2; {"active":false} and nothing else */
} otok_introspection;

void otok_introspection_free(otok_introspection *introspection);

/*
 * Tells about a token: an offline one to its own client, an access token to its client and its audience; anything else is
 * not active.  An access token is active while its session lives, however that ended.  Nothing is consumed, and a
 * superseded token is no reuse here.  A failure of store or callback is an error, never "not active".  Since 0.1.
 */
int otok_introspect(otok_service *service, const otok_introspect_request *request, otok_introspection **out,
                    otok_error *err);

/* Whether that session is live, for hosts that mint their own access tokens; 0 for an unknown one.  Since 0.1. */
int otok_session_is_live(otok_service *service, const char *session_id, int32_t *live, otok_error *err);

/* =========================================================================================================== 9  revoke */

/* A request of RFC 7009. */
typedef struct otok_revoke_request {
    size_t size;
    const char *token;     /* required: offline or access token; anything else is success */
    const char *client_id; /* required */
    int32_t client_type;   /* OTOK_CLIENT_...; an access token is revoked only for a client that has authenticated */
    int32_t unused;        /* 0 */
    const otok_peer *peer; /* a proof is not needed, but a wrong one is refused */
} otok_revoke_request;

void otok_revoke_request_init(otok_revoke_request *request, size_t size);

/*
 * Ends the session of a token: current, superseded or expired.  A token that is unknown or of no known form is OTOK_OK
 * (RFC 7009 section 2.2).  OTOK_E_UNAUTHORIZED_CLIENT, OTOK_E_SENDER: untouched.  OTOK_E_TOKEN_TYPE: access tokens of public
 * clients, or switched off.  A failure of the store is never success.  Since 0.1.
 */
int otok_revoke_token(otok_service *service, const otok_revoke_request *request, otok_error *err);

/* Ends the session of that id.  OTOK_E_NOT_FOUND when there is none (any more).  Since 0.1. */
int otok_revoke_session(otok_service *service, const char *session_id, otok_error *err);

/*
 * Which sessions: of a subject, of a client, of both, of an SSO session (`sid` alone), or of the whole realm behind its
 * explicit flag.  An empty filter, or another combination, is OTOK_E_INVALID.
 */
typedef struct otok_filter {
    size_t size;
    const char *subject;
    const char *client_id;
    const char *sid;
    int32_t whole_realm; /* 1: every session of the realm */
    int32_t unused;      /* 0 */
} otok_filter;

void otok_filter_init(otok_filter *filter, size_t size);

/*
 * Ends every session that matches.  A cutoff is written first, so that the revocation is whole and immediate whatever their
 * number; then they are removed one by one, which may be interrupted and repeated: the sweeper finishes it.  `revoked` (may
 * be NULL) is how many this call removed, also when it fails midway.  Since 0.1.
 */
int otok_revoke_matching(otok_service *service, const otok_filter *filter, uint64_t *revoked, otok_error *err);

/* Now: later than every session of that scope, whatever the clocks of the nodes. */
enum { OTOK_NOW = 0 };

/*
 * Sets a cutoff: one write.  `at_us` OTOK_NOW, or a time in the past, taken literally (a day ahead of the clock is
 * OTOK_E_INVALID).  Cutoffs only move forward and are never cleared, but for that of a `sid`, which goes once the sweeper has
 * removed its sessions; `effective_us` (may be NULL) is where it stands now.
 * Sessions issued afterwards are later than it.  Since 0.1.
 */
int otok_cutoff_set(otok_service *service, const otok_filter *filter, int64_t at_us, int64_t *effective_us,
                    otok_error *err);

/* Where a cutoff stands; OTOK_E_NOT_FOUND when none was set for exactly that scope.  Since 0.1. */
int otok_cutoff_get(otok_service *service, const otok_filter *filter, int64_t *effective_us, otok_error *err);

/*
 * Logout (OpenID Connect Back-Channel Logout 1.0): ends the login-bound sessions that match, by a cutoff for them, as
 * otok_revoke_matching() does; no later login revives one.  Offline sessions live on, unless `revoke_offline_access` is 1, the
 * event member of that name.  `ended` (may be NULL) is how many this call removed.  Since 0.1.
 */
int otok_logout(otok_service *service, const otok_filter *filter, int32_t revoke_offline_access, uint64_t *ended,
                otok_error *err);

/* =======================================================================================================  10  consents */

/* What a subject has allowed a client.  Freed with otok_consent_free(). */
typedef struct otok_consent {
    size_t size;
    const char *subject;
    const char *client_id;
    const char *scope;
    int64_t granted_us; /* the first time */
    int64_t updated_us;
} otok_consent;

void otok_consent_free(otok_consent *consent);

/* Saves a consent; the scopes replace those before.  OTOK_E_INVALID, and the store's.  Since 0.1. */
int otok_consent_put(otok_service *service, const char *subject, const char *client_id, const char *scope,
                     otok_error *err);

/* OTOK_E_NOT_FOUND when there is none.  Since 0.1. */
int otok_consent_get(otok_service *service, const char *subject, const char *client_id, otok_consent **out,
                     otok_error *err);

/*
 * Revokes a consent and ends that subject's sessions with that client, in one commit, and also when there was no consent.
 * `revoked` (may be NULL) is how many sessions this call removed.  Since 0.1.
 */
int otok_consent_revoke(otok_service *service, const char *subject, const char *client_id, uint64_t *revoked,
                        otok_error *err);

/* =================================================================================================  11  list and count */

/* A session as lists show it.  Never a token. */
typedef struct otok_session {
    size_t size;
    const char *session_id;
    const char *subject;
    const char *client_id;
    const char *scope;
    const char *sid; /* these six may be NULL */
    const char *label;
    const char *start_ip;
    const char *start_user_agent;
    const char *last_ip; /* as of about the last touch_interval_s */
    const char *last_user_agent;
    int32_t grant_type; /* OTOK_GRANT_... */
    int32_t binding;    /* OTOK_BINDING_... */
    int64_t started_us;
    int64_t last_used_us;
    int64_t rotated_us;      /* 0: never */
    int64_t idle_expires_us; /* OTOK_UNLIMITED */
    int64_t max_expires_us;  /* OTOK_UNLIMITED */
    uint32_t generation;
    uint32_t retries; /* of the current generation, where the policy counts them */
    /*
     * OTOK_OK: live.  OTOK_E_TOKEN_EXPIRED, OTOK_E_TOKEN_REVOKED: dead.  OTOK_E_CALLBACK, OTOK_E_POLICY: the policy of its
     * client does not tell, and both ends are 0.  OTOK_E_FORMAT: a cutoff that this version cannot read.
     */
    int32_t state;
    int32_t kind;      /* OTOK_SESSION_... */
    const char *sub;   /* on the wire */
    const char *notes; /* of the host, a JSON object; may be NULL */
} otok_session;

typedef struct otok_page {
    size_t size;
    const otok_session *const *sessions;
    size_t count;
    const char *next_cursor; /* NULL at the end.  A page may be short, even empty, and still have one */
} otok_page;

enum { OTOK_ORDER_NEWEST_FIRST = 0, OTOK_ORDER_OLDEST_FIRST = 1 };

typedef struct otok_list_request {
    size_t size;
    const otok_filter *filter; /* required */
    const char *cursor;        /* next_cursor of the page before, for the same filter and order; NULL: from the start */
    int32_t order;             /* OTOK_ORDER_... */
    uint32_t limit;            /* sessions a page, 1 to 1000; default 50 */
} otok_list_request;

void otok_list_request_init(otok_list_request *request, size_t size);

/*
 * A page of sessions that are not known to be dead.  The work of one call is bounded whatever the number of sessions, live
 * or dead.  Cursors survive inserts and deletes; one that is forged, or from another filter, order or realm, is
 * OTOK_E_INVALID.  Freed with otok_page_free().  Since 0.1.
 */
int otok_list(otok_service *service, const otok_list_request *request, otok_page **out, otok_error *err);
void otok_page_free(otok_page *page);

/* One session, live or not; OTOK_E_NOT_FOUND.  Freed with otok_session_free().  Since 0.1. */
int otok_session_get(otok_service *service, const char *session_id, otok_session **out, otok_error *err);
void otok_session_free(otok_session *session);

/*
 * How many records match, dead ones included until they are swept: no walk on stores that count fast, LMDB among them.
 * otok_count_live() walks, and counts live sessions exactly.  Since 0.1.
 */
int otok_count(otok_service *service, const otok_filter *filter, uint64_t *out, otok_error *err);
int otok_count_live(otok_service *service, const otok_filter *filter, uint64_t *out, otok_error *err);

/* What can be changed of a session. */
typedef struct otok_session_change {
    size_t size;
    const char *session_id; /* required */
    const char *label;      /* at most 512 bytes; "": none; NULL: as it is */
    const char *notes;      /* a JSON object, at most 2 KiB, shown to nobody but the host; "": none; NULL: as it is */
} otok_session_change;

void otok_session_change_init(otok_session_change *change, size_t size);

/* OTOK_E_NOT_FOUND, OTOK_E_INVALID.  Since 0.1. */
int otok_session_update(otok_service *service, const otok_session_change *change, otok_error *err);

typedef struct otok_consent_page {
    size_t size;
    const otok_consent *const *consents;
    size_t count;
    const char *next_cursor; /* NULL at the end.  A page may be short, even empty, and still have one */
} otok_consent_page;

/* A page of the consents of a subject, of a client, or of the realm, as otok_list().  Since 0.1. */
int otok_consent_list(otok_service *service, const otok_list_request *request, otok_consent_page **out,
                      otok_error *err);
void otok_consent_page_free(otok_consent_page *page);

/* ================================================================================================  12  export and erase */

/*
 * Everything that is held about a subject, as JSON: sessions, consents, cutoffs, once keys, adopted tokens, and events in the
 * outbox.  No token, no handle.  Freed with otok_string_free().  Since 0.1.
 */
int otok_subject_export(otok_service *service, const char *subject, char **out, otok_error *err);

/*
 * Removes everything that is held about a subject, a client, or the whole realm (one of the three, or OTOK_E_INVALID):
 * sessions, consents, once keys, adopted tokens, events in the outbox.  What is left is the cutoff, with no name in it, so
 * that no token of before comes back, and a client that is made again inherits nothing.  It may be interrupted and
 * repeated; what an issue or an adoption adds that was running meanwhile stays until it is.  Readers of the outbox find the
 * marker that events are missing.  `erased` (may be NULL): how many records this call removed, also when it fails
 * midway.  Since 0.1.
 */
int otok_erase(otok_service *service, const otok_filter *filter, uint64_t *erased, otok_error *err);

/* =========================================================================================================== 13  sweep */

typedef struct otok_sweep_result {
    size_t size;
    uint64_t visited; /* sessions looked at */
    uint64_t expired; /* removed: idle for too long, or at their maximum age */
    uint64_t cut_off; /* removed: behind a cutoff */
    int32_t more;     /* 1: there is more to do at once */
    int32_t unused;
} otok_sweep_result;

void otok_sweep_result_init(otok_sweep_result *result, size_t size);

/*
 * Removes dead sessions of this realm, by this service's policies: a process that sweeps has the same policy and
 * client_policy as those that serve.  It visits at most `limit` (0: 1000) in this call, never one that was refreshed
 * meanwhile. The host calls it every minute or so, and again while result->more is 1; several processes may do so at once.
 * `result` may be NULL.  Since 0.1.
 */
int otok_sweep(otok_service *service, uint32_t limit, otok_sweep_result *result, otok_error *err);

/* =============================================================================================  14  outbox and counters */

/*
 * With otok_config.outbox_limit, the events of what changes state (issued, rotated, reuse that ended something, revoked,
 * evicted, expired, cutoff, consents, store rolled back) are also records of their own, in the same commit: whoever reads
 * them misses none, crash or not. At least once: an event may come again until it is acknowledged, with the same event_id.
 *
 * When the outbox is full, the events of a commit are left out, and OTOK_EVENT_OUTBOX_OVERFLOW is there instead.  Its
 * reader notes that he has to compare everything, acknowledges, and then compares: what is missed later makes an overflow
 * of its own.
 */
typedef struct otok_outbox_batch {
    size_t size;
    const otok_event *const *events; /* about in the order of time */
    size_t count;
} otok_outbox_batch;

/*
 * Reads the oldest events, those of at most `limit` commits (0: 100; at most 1000).  Freed with otok_outbox_batch_free().
 * OTOK_E_INVALID, and the store's.  Since 0.1.
 */
int otok_outbox_read(otok_service *service, uint32_t limit, otok_outbox_batch **out, otok_error *err);

/* Removes a batch's events for good; what another reader has acknowledged is no error.  Since 0.1. */
int otok_outbox_acknowledge(otok_service *service, const otok_outbox_batch *batch, otok_error *err);
void otok_outbox_batch_free(otok_outbox_batch *batch);

/* What a service has done since it was opened, in this process. */
typedef struct otok_stats {
    size_t size;
    uint64_t issued; /* adopted ones too */
    uint64_t adopted;
    uint64_t refreshed; /* answered refreshes: kept, rotated and retried */
    uint64_t rotated;
    uint64_t retried;
    uint64_t refused; /* genuine tokens that were refused */
    uint64_t forged;  /* tokens that were malformed, or under no MAC of ours */
    uint64_t reuse;
    uint64_t revoked;
    uint64_t evicted;
    uint64_t expired;
    uint64_t cutoffs;
    uint64_t consents_granted;
    uint64_t consents_revoked;
    uint64_t introspected;
    uint64_t rolled_back;      /* tokens from the future of a restored store */
    uint64_t conflicts;        /* commits that were made again, since others were faster */
    uint64_t outbox_overflows; /* commits whose events were left out */
} otok_stats;

void otok_stats_init(otok_stats *stats, size_t size);
int otok_stats_get(const otok_service *service, otok_stats *stats, otok_error *err);

/*
 * The counters of some services as OpenMetrics text (application/openmetrics-text; version=1.0.0), one time series for each
 * realm. Freed with otok_string_free().  OTOK_E_INVALID (n is 0, one is NULL, or two have one realm), OTOK_E_NOMEM.  Since
 * 0.1.
 */
int otok_stats_openmetrics(const otok_service *const *services, size_t n, char **out, otok_error *err);

/* =======================================================================================================  15  endpoints */

/*
 * The endpoints as bytes: the host moves them between its HTTP server and these functions, authenticates the client, and that is all.
 * A request of which the body was read whole; texts may be NULL where there was no such header.
 */
typedef struct otok_http_request {
    size_t size;
    const char *method; /* required: "POST" */
    const char
        *uri; /* required with DPoP: the absolute URI of the endpoint as clients know it (RFC 9449 section 4.3) */
    const char *content_type; /* as it came */
    const void *body;
    size_t body_len;
    /*
     * Who the host has authenticated, and of which type it is.  NULL: nobody; then client_type is OTOK_CLIENT_PUBLIC, by which the
     * host vouches that whom the body's client_id names is a public client, and any other is answered with invalid_client.
     */
    const char *client_id;
    int32_t client_type; /* OTOK_CLIENT_... of client_id */
    int32_t unused;      /* 0 */
    const char *const
        *dpop; /* the values of every DPoP header field: more than one is an error (RFC 9449 section 4.3) */
    size_t dpop_count;
    const char *x5t_s256; /* of the client's certificate (RFC 8705 section 3.1) */
    const char *ip;       /* where it came from; what is not fit to be kept is left out */
    const char *user_agent;
    const char *const *resource; /* introspection: what else the caller answers to, see otok_introspect_request */
    size_t resource_count;
    const char *authorization; /* otok_endpoint_resource(): the value of that header field */
} otok_http_request;

void otok_http_request_init(otok_http_request *request, size_t size);

typedef struct otok_http_header {
    const char *name;
    const char *value;
} otok_http_header;

/* What to answer.  Freed with otok_http_response_free(), which wipes it. */
typedef struct otok_http_response {
    size_t size;
    int32_t status;
    int32_t code; /* OTOK_OK, or the OTOK_E_... that it came of: for logs */
    const otok_http_header *headers;
    size_t header_count;
    const char *body; /* JSON, NUL-terminated */
    size_t body_len;
    const char *message; /* of the error, for logs; NULL */
} otok_http_response;

void otok_http_response_free(otok_http_response *response);

/*
 * The token endpoint for grant_type=refresh_token (RFC 6749 section 6), with `scope`, `resource` (RFC 8707) and DPoP (RFC 9449);
 * the revocation endpoint (RFC 7009); the introspection endpoint (RFC 7662), for callers that have authenticated.
 *
 * Whatever the request is, there is an answer, and OTOK_OK: errors on the wire are answers, and `no-store` like all of them.  Other
 * codes say that none could be made: OTOK_E_INVALID (an argument is NULL, or a struct too new), OTOK_E_NOMEM.  Since 0.1.
 */
int otok_endpoint_token(otok_service *service, const otok_http_request *request, otok_http_response **out,
                        otok_error *err);
int otok_endpoint_revoke(otok_service *service, const otok_http_request *request, otok_http_response **out,
                         otok_error *err);
int otok_endpoint_introspect(otok_service *service, const otok_http_request *request, otok_http_response **out,
                             otok_error *err);

/* The service's public keys, as they are now, for its jwks_uri.  Freed with otok_string_free().  Since 0.1. */
int otok_endpoint_jwks(otok_service *service, char **out, otok_error *err);

/* Where the endpoints are; NULL: there is none of that sort. */
typedef struct otok_metadata {
    size_t size;
    const char *token_endpoint;
    const char *revocation_endpoint;
    const char *introspection_endpoint;
    const char *jwks_uri;
} otok_metadata;

void otok_metadata_init(otok_metadata *metadata, size_t size);

/*
 * The members of authorization server metadata (RFC 8414 section 2) that describe these endpoints, as a JSON object to be merged
 * with the host's: issuer, the URIs, what is signed and proven with which algorithms.  Freed with otok_string_free().  Since 0.1.
 */
int otok_endpoint_metadata(otok_service *service, const otok_metadata *metadata, char **out, otok_error *err);

/* ==============================================================================  16  for what the host answers itself */

/*
 * Its own grants, its protected resources, its own signed statements: what these take of the protocol beside sessions.
 */

/*
 * application/x-www-form-urlencoded, a body or a query, read as strictly as the endpoints read theirs: at most 64 KiB and 64
 * parameters; bad escapes, NUL, bad UTF-8, and a name that is there twice (but `resource`, RFC 8707) are OTOK_E_INVALID.  Names and
 * values may have other control characters in them: who does not know a parameter ignores it (RFC 6749 section 3.2).
 */
typedef struct otok_form otok_form;

/* Wiped and freed with otok_form_free().  OTOK_E_INVALID, OTOK_E_NOMEM.  Since 0.1. */
int otok_form_parse(const void *data, size_t len, otok_form **out, otok_error *err);
void otok_form_free(otok_form *form);

/* A parameter's value, NULL when it is not there or empty (RFC 6749 section 3.1).  Since 0.1. */
const char *otok_form_get(const otok_form *form, const char *name);

/* Every parameter, in the order in which they came, without a value as ""; NULL behind the last.  Since 0.1. */
size_t otok_form_count(const otok_form *form);
const char *otok_form_name(const otok_form *form, size_t i);
const char *otok_form_value(const otok_form *form, size_t i);

/*
 * Issues a session for a grant that the host has verified (an authorization code, a device code, a password), and answers the
 * token request for it as otok_endpoint_token() would: with the tokens, or with the error.
 *
 * Of `grant`, client_id may be NULL: that of the request, which must be the same otherwise; client_type and peer are the
 * request's, but where grant->peer has a jkt, the proof must be of that key (dpop_jkt, RFC 9449 section 10).  A DPoP proof is
 * verified, and binds: the session of a public client to its key, the access token of a confidential one.  A certificate does so
 * where grant->binding says it, a public client's session to that one alone.  The request is read once more, as otok_endpoint_token() reads it; a grant that otok_issue() calls
 * OTOK_E_INVALID is the host's mistake, and a 500.  Returns as otok_endpoint_token().  Since 0.1.
 */
int otok_endpoint_issue(otok_service *service, const otok_http_request *request, const otok_grant *grant,
                        otok_http_response **out, otok_error *err);

/*
 * The answer to a request that the host refuses, with the `error` and status of `code` and this description (may be NULL): say
 * OTOK_E_DENIED, invalid_grant, for a code that is none, or OTOK_E_CLIENT for a wrong secret.  OTOK_E_INVALID (that is no error of
 * ours, or no UTF-8), OTOK_E_NOMEM.  Since 0.1.
 */
int otok_endpoint_refuse(int code, const char *description, otok_http_response **out, otok_error *err);

/*
 * Whether a call of a protected resource of this server, such as UserInfo, may be answered: by the access token in
 * request->authorization, of the scheme Bearer (RFC 6750) or DPoP (RFC 9449 section 7), with its proof and `ath`, or its
 * certificate; its session lives, its audience is one of request->resource, or the service's own, and its scope has every word
 * of `scope` (may be NULL).  Of the request, method and uri are required; content_type, body and client are not looked at.
 *
 * Either `*out` is what is known of the token, or `*refusal` what is to be answered instead, WWW-Authenticate and all; the other
 * is NULL.  Other codes: as otok_endpoint_token().  Since 0.1.
 */
int otok_endpoint_resource(otok_service *service, const otok_http_request *request, const char *scope,
                           otok_introspection **out, otok_http_response **refusal, otok_error *err);

/*
 * Signs a statement of the host's with the active signing key (RFC 7515), such as a logout token (OpenID Connect Back-Channel
 * Logout 1.0 section 2.4), an authorization response or signed user info: `claims` is a JSON object, whose members go in as they
 * are written behind `iss`, which is the service's issuer and must not be among them; at most 64 KiB with it.  `typ` goes into
 * the header (RFC 8725 section 3.11): at most 64 characters of a media type, "logout+jwt", say.  Freed with otok_string_free().
 * OTOK_E_INVALID, OTOK_E_CRYPTO, OTOK_E_CALLBACK (an external key), OTOK_E_NOMEM.  Since 0.1.
 */
int otok_jwt_sign(otok_service *service, const char *typ, const char *claims, char **out, otok_error *err);

/*
 * The claims of a JWT that this service signed and that has this `typ`: "JWT" for ID tokens, such as an id_token_hint.  Whether it
 * has expired is the caller's to look at: a hint may have (OpenID Connect RP-Initiated Logout 1.0 section 2).  Freed with
 * otok_string_free().  OTOK_E_TOKEN_INVALID, OTOK_E_INVALID, OTOK_E_CRYPTO, OTOK_E_IO (its key is not known, and the keyring's
 * file cannot be read), OTOK_E_NOMEM.  Since 0.1.
 */
int otok_jwt_verify(otok_service *service, const char *jwt, const char *typ, char **claims, otok_error *err);

/* ========================================================================  17  moving, checking and backing up stores */

/* How a long call is watched. */
typedef struct otok_watch {
    size_t size;
    void *user; /* handed to both */
    /* Every thousand records or so; `total` 0: not known.  0 goes on; anything else ends the call, OTOK_E_CALLBACK; what was done stays. */
    int (*progress)(void *user, uint64_t done, uint64_t total);
    /* What a check finds, one sentence each, without secrets; `mended`: 1 when it was repaired. */
    void (*finding)(void *user, const char *what, int32_t mended);
} otok_watch;

void otok_watch_init(otok_watch *watch, size_t size);

/*
 * The records of a store, of all realms and kinds, as JSON lines: a line that says what this is, one record a line in the order
 * of ids, and a last one with their number and the SHA-256 of all lines before.  They are of use with the keyring only, which is
 * moved apart; no token can be made of them (K6).
 *
 * Memory is flat.  A store may be in use meanwhile, but what changes during the walk may be missed: so a move is an export
 * and an import while the servers run, and another one, OTOK_IMPORT_MIRROR, when they have been stopped, which has little left to do.
 */
typedef struct otok_transfer {
    size_t size;
    uint64_t records; /* of the file */
    uint64_t inserted;
    uint64_t replaced;
    uint64_t removed;
    uint64_t same;
} otok_transfer;

void otok_transfer_init(otok_transfer *transfer, size_t size);

/* What was exported goes to `write`, in pieces; 0, or the call ends with OTOK_E_CALLBACK.  `watch` and `result` may be NULL.  Since 0.1. */
int otok_store_export(otok_store *store, int (*write)(void *user, const void *data, size_t len), void *user,
                      const otok_watch *watch, otok_transfer *result, otok_error *err);

/* What is done with a record that the store has already, in another version. */
enum {
    OTOK_IMPORT_ADD = 0,     /* OTOK_E_CONFLICT, and the import ends there */
    OTOK_IMPORT_REPLACE = 1, /* it is replaced */
    OTOK_IMPORT_MIRROR = 2   /* it is replaced, and what the file does not have is removed */
};

typedef struct otok_import {
    size_t size;
    /* Required: reads up to `room` bytes; `*len` 0 is the end.  0, or the call ends with OTOK_E_CALLBACK. */
    int (*read)(void *user, void *data, size_t room, size_t *len);
    void *user;
    int32_t mode;    /* OTOK_IMPORT_... */
    int32_t dry_run; /* 1: reads everything, compares, and writes nothing */
} otok_import;

void otok_import_init(otok_import *import, size_t size);

/*
 * Writes exported records into a store, as they are: sessions, cutoffs and consents go on as they were, and nobody is logged
 * out (S3).  An import that was ended, killed or refused midway is begun again from the start, and finds most done.
 * OTOK_E_FORMAT (not such a file, damaged, cut off, out of order: the message names the line), OTOK_E_CONFLICT, and the store's.
 * `watch` and `result` may be NULL.  Since 0.1.
 */
int otok_store_import(otok_store *store, const otok_import *import, const otok_watch *watch, otok_transfer *result,
                      otok_error *err);

typedef struct otok_check {
    size_t size;
    uint64_t records;
    uint64_t sessions;
    uint64_t index_entries; /* 0: the engine does not show them */
    uint64_t findings;
    uint64_t mended;
    uint64_t bytes;      /* of the store's file; 0: not known */
    uint64_t bytes_free; /* of those, what can be used again */
} otok_check;

void otok_check_init(otok_check *check, size_t size);

/*
 * Whether a store is whole: every record can be read, every index entry has its record, and every record its index entries.
 * `repair` 1 makes the indexes anew from the records, in one transaction, where they differ; records are never changed.
 * Findings are no error of the call: `result`, which may be NULL, counts them, and `watch` is told.  OTOK_E_UNSUPPORTED: this
 * store cannot repair.  It may be in use meanwhile.  Since 0.1.
 */
int otok_store_check(otok_store *store, int32_t repair, const otok_watch *watch, otok_check *result, otok_error *err);

/*
 * Whether the records of a realm are what this library wrote: formats, seals (K7), the index keys and links that their contents
 * ask for.  Needs the keyring: a session that is sealed under a key that is gone is a finding.  Since 0.1.
 */
int otok_service_check(otok_service *service, const otok_watch *watch, otok_check *result, otok_error *err);

/*
 * A copy of an LMDB store as of one moment, compacted, in a new folder, while it is in use; verified after it was written, and on
 * stable storage when this returns.  What is left of one that failed is removed.  Without the keyring, which is kept apart.
 * OTOK_E_INVALID (the folder is there and not empty), OTOK_E_UNSUPPORTED (another engine: back it up by its own means), OTOK_E_FULL,
 * OTOK_E_IO.  Since 0.1.
 */
int otok_store_backup(otok_store *store, const char *directory, const otok_watch *watch, otok_error *err);

/* The names of the realms that a store has sessions of, at most `most` of them, by one walk.  Freed with otok_names_free().  Since 0.1. */
typedef struct otok_names {
    size_t size;
    const char *const *names;
    size_t count;
} otok_names;

int otok_store_realms(otok_store *store, size_t most, otok_names **out, otok_error *err);
void otok_names_free(otok_names *names);

/* What an offline token says of itself; nothing of it is a secret. */
typedef struct otok_token_info {
    size_t size;
    int32_t genuine;   /* 1: its MAC is good, for this realm.  0: nothing of the rest can be believed */
    int32_t key_state; /* OTOK_KEY_... of the MAC key that it names; 0: not in the keyring */
    uint32_t token_id; /* of that key */
    uint32_t generation;
    int64_t issued_us;   /* when its session was */
    char session_id[24]; /* 22 characters */
} otok_token_info;

void otok_token_info_init(otok_token_info *info, size_t size);

/* OTOK_E_TOKEN_INVALID: not of the form of one.  The store is not asked.  Since 0.1. */
int otok_token_inspect(otok_service *service, const char *token, otok_token_info *info, otok_error *err);

#if defined(__GNUC__)
#pragma GCC visibility pop
#endif
#ifdef __cplusplus
}
#endif
#endif
