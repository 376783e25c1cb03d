/*
 * format/format.h - everything that is parsed or printed: base64url, JSON, tokens, records, events, JWT, cursors.
 *
 * Parsers take (pointer, length), never assert on input, and refuse what they would not print themselves.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef OTOK_FORMAT_H
#define OTOK_FORMAT_H

#include "crypto/crypto.h"

/* ---------------------------------------------------------------------------------------------------- base64url.c */

/* RFC 4648 section 5, without padding. */
size_t otok_base64url_len(size_t bytes);
void otok_base64url(const void *data, size_t len, char *out); /* otok_base64url_len(len) characters, no NUL */
void otok_buf_add_base64url(otok_buf *buf, const void *data, size_t len);

/* Strict: no padding, no white space, no non-canonical trailing bits.  `*len` is the room in, the size out. */
bool otok_unbase64url(const char *text, size_t text_len, uint8_t *out, size_t *len);

/* ---------------------------------------------------------------------------------------------------- json.c */

/* The grammar of RFC 8259 and nothing beside it, 32 levels; `fault` is where it went wrong.  For json.c (json_scan.c). */
bool otok_json_scan(const char *text, size_t len, size_t *fault);

/* A parsed JSON text (RFC 8259).  At most 64 KiB and 32 levels; duplicate names, NUL and bad UTF-8 are refused. */
typedef struct otok_json otok_json;

/* OTOK_E_FORMAT, naming `what` and where.  The text may be gone afterwards. */
int otok_json_parse(const char *text, size_t len, const char *what, otok_json **out, otok_error *err);
int otok_json_parse_long(const char *text, size_t len, size_t most, const char *what, otok_json **out, otok_error *err);
void otok_json_free(otok_json *json); /* of the root; wipes strings */

bool otok_json_is_object(const otok_json *json);
bool otok_json_is_array(const otok_json *json);
size_t otok_json_count(const otok_json *array);
const otok_json *otok_json_item(const otok_json *array, size_t i);
const otok_json *otok_json_member(const otok_json *object, const char *name); /* case-sensitive; NULL when absent */
const char *otok_json_text(const otok_json *object, const char *name); /* string member, NULL when absent or other */
bool otok_json_integer(const otok_json *object, const char *name, int64_t *out); /* whole, below 2^53 */
/* A NumericDate (RFC 7519 section 2), which may have a fraction: rounded down; not negative, below 2^53. */
bool otok_json_seconds(const otok_json *object, const char *name, int64_t *out);
const char *otok_json_string(const otok_json *item); /* NULL when it is no string */

/* Calls `each` for the members of an object in order; stops at, and returns, what is not 0. */
int otok_json_each(const otok_json *object, int (*each)(void *arg, const char *name, const otok_json *value),
                   void *arg);

/* Compact text of a parsed value, appended. */
void otok_json_print(const otok_json *json, otok_buf *out);

/*
 * Printing straight into a buffer, for the hot path: members of one object, comma by itself.
 *     otok_json_begin(&b); otok_json_add_text(&b, "iss", issuer); otok_json_add_integer(&b, "exp", exp); otok_json_end(&b);
 */
void otok_json_begin(otok_buf *buf);
void otok_json_end(otok_buf *buf);
void otok_json_add_name(otok_buf *buf, const char *name);               /* ,"name": */
void otok_json_add_str(otok_buf *buf, const char *name, otok_str text); /* ,"name":"text" escaped */
void otok_json_add_text(otok_buf *buf, const char *name, const char *text);
void otok_json_add_plain(otok_buf *buf, const char *name, otok_str text); /* has nothing to escape: a token */
void otok_json_add_integer(otok_buf *buf, const char *name, int64_t value);
void otok_json_add_raw(otok_buf *buf, const char *name, otok_str json); /* ,"name":json as it is */
void otok_json_add_fragment(otok_buf *buf, otok_str members);           /* ,"a":1,"b":2 of text that is "a":1,"b":2 */
void otok_json_add_string_array(otok_buf *buf, const char *name, const otok_str *items, size_t n);
void otok_json_add_quoted(otok_buf *buf, otok_str text); /* "text" escaped, no comma */

/* ---------------------------------------------------------------------------------------------------- form.c */

/* Bounds of an otok_form, which is public. */
enum { OTOK_FORM_MAX = 65536, OTOK_FORM_PARAMETERS = 64 };

/* ---------------------------------------------------------------------------------------------------- token.c */

/*
 * The offline token: "otok_" and base64url of 60 bytes: format 1, key id, generation (4), time of issue in ms (6), handle (16),
 * MAC (32) over the 28 bytes before.
 */
enum { OTOK_HANDLE_SIZE = 16, OTOK_TOKEN_CHARS = 85, OTOK_SESSION_ID_CHARS = 22 };

typedef struct otok_token {
    uint8_t key_id;
    uint32_t generation;
    uint64_t issued_ms; /* 48 bits */
    uint8_t handle[OTOK_HANDLE_SIZE];
} otok_token;

/* A token as it came: its fields and its MAC, which is not checked yet. */
typedef struct otok_presented {
    otok_token token;
    uint8_t mac[OTOK_SHA256_SIZE];
} otok_presented;

bool otok_token_parse(const char *text, otok_presented *out);
int otok_token_verify(const otok_presented *presented, const otok_mac_key *key,
                      otok_error *err); /* OTOK_E_TOKEN_INVALID */
int otok_token_print(const otok_token *token, const otok_mac_key *key, char out[OTOK_TOKEN_CHARS + 1], otok_error *err);

/* Session id: the 6 bytes of the time, then 10 bytes of SHA-256("otok-session", realm, time, handle). */
int otok_token_session_id(const otok_token *token, otok_str realm, otok_id *out, otok_error *err);
void otok_session_id_print(const otok_id *id, char out[OTOK_SESSION_ID_CHARS + 1]);
bool otok_session_id_parse(const char *text, otok_id *out);

/* ---------------------------------------------------------------------------------------------------- record.c */

/* The head of a session, 24 bytes: what a refresh changes.  Times have a resolution of one millisecond. */
typedef struct otok_head {
    uint32_t generation;
    uint8_t key_id; /* of the MAC key that was last presented */
    uint8_t flags;  /* OTOK_HEAD_... */
    uint16_t retries;
    int64_t rotated_us;   /* when this generation came about; 0: at the start */
    int64_t refreshed_us; /* last use */
    uint16_t ip_mark;     /* of the request that rotated: enough to tell another from it, not enough to tell which */
    uint16_t user_agent_mark;
} otok_head;

enum { OTOK_HEAD_SIZE = 24 };
enum {
    OTOK_HEAD_DOOMED = 1,  /* the sweeper saw it dead, and will remove it when it sees it so again after the grace */
    OTOK_HEAD_CLOSED = 2,  /* no retries with the previous token: this generation came with a token from the future */
    OTOK_HEAD_REFUSED = 4, /* and that token was refused, by policy */
    OTOK_HEAD_ADOPTED = 8  /* the token of another system that it was made for is good until its successor is used */
};

void otok_head_print(const otok_head *head, uint8_t out[OTOK_HEAD_SIZE]);
bool otok_head_parse(otok_str head, otok_head *out);

enum { OTOK_MAX_AUDIENCE = 16, OTOK_MAX_AMR = 16, OTOK_SEAL_SIZE = 16 };

/* The body of a session.  After parsing, every otok_str points into the bytes that were parsed. */
typedef struct otok_body {
    /* Sealed: never changes. */
    int64_t started_us;                     /* what people see; the maximum lifetime counts from it */
    int64_t auth_time_us;                   /* 0: unknown */
    int64_t idle_timeout_s, max_lifetime_s; /* 0: the policy's */
    uint8_t grant_type, binding;
    uint8_t kind;                         /* OTOK_SESSION_... */
    uint8_t refresh_token;                /* OTOK_OFF: none was handed out, and none will be; or 0 */
    uint8_t thumbprint[OTOK_SHA256_SIZE]; /* of a binding to one key or certificate */
    otok_str scope, sub, sid, acr;
    otok_str claims;                     /* the members of a JSON object, without its braces */
    otok_str authorization_details, act; /* JSON */
    otok_str start_ip, start_user_agent;
    otok_str audience[OTOK_MAX_AUDIENCE];
    size_t audience_count;
    otok_str amr[OTOK_MAX_AMR];
    size_t amr_count;
    /* Not sealed. */
    otok_str label, last_ip, last_user_agent;
    otok_str notes; /* JSON */
} otok_body;

/* Whose body it is: what the seal holds together (K7). */
typedef struct otok_seal_scope {
    otok_id id;
    int64_t created_us;
    otok_str realm, subject, client;
    const otok_id *links;
    size_t nlinks;
} otok_seal_scope;

/* Appends format, key id, seal, sealed fields, other fields. */
int otok_body_print(const otok_body *body, const otok_seal_scope *scope, uint8_t key_id, const otok_mac_key *seal_key,
                    otok_buf *out, otok_error *err);

/* OTOK_E_FORMAT on anything that otok_body_print() would not write.  The seal is not checked; its key id is told. */
int otok_body_parse(otok_str bytes, otok_body *out, uint8_t *key_id, otok_error *err);

/* OTOK_E_TAMPERED when the sealed part, or whose it is, is not what was sealed. */
int otok_body_verify(otok_str bytes, const otok_seal_scope *scope, const otok_mac_key *seal_key, otok_error *err);

/* ---------------------------------------------------------------------------------------------------- mark.c */

/*
 * The records beside sessions.  A mark stands for a scope (realm, client, subject, subject and client, sid): its cutoff and, for
 * subject and client, the consent; written with every issue where there is a limit of sessions, it guards that.
 */
typedef struct otok_mark_head {
    int64_t all_us;   /* cutoff for sessions of every kind; INT64_MIN: none set */
    int64_t login_us; /* for login-bound sessions only */
} otok_mark_head;

enum { OTOK_MARK_HEAD_SIZE = 16 };

void otok_mark_head_print(const otok_mark_head *head, uint8_t out[OTOK_MARK_HEAD_SIZE]);
bool otok_mark_head_parse(otok_str head, otok_mark_head *out);

/* After parsing, every otok_str points into the bytes that were parsed. */
typedef struct otok_mark_body {
    int64_t at_us; /* the walk over what the cutoff ended: behind this session; INT64_MIN: from the start */
    otok_id at;
    otok_str sid;     /* where the scope is a sid */
    otok_str consent; /* scopes; empty: there is none */
    int64_t granted_us, updated_us;
    uint8_t stays; /* 1: of a sid, and not removed when its walk is done: a token of another system may be of it */
} otok_mark_body;

/* Appends, the two times with a consent only.  False when memory is short, the sid beyond 255 bytes or the consent beyond 4096. */
bool otok_mark_body_print(const otok_mark_body *body, otok_buf *out);
bool otok_mark_body_parse(otok_str bytes, otok_mark_body *out);

/* ---------------------------------------------------------------------------------------------------- once.c */

/* What was good for once: the key of an issue, or the token of another system.  It says which session came of it. */
typedef struct otok_once {
    uint8_t key_id;  /* of the MAC key that the handle was derived under */
    uint8_t adopted; /* 1: the token of another system */
    otok_id session;
    int64_t used_us;
    int64_t ends_us; /* of the window (issue), of the token (adopted); OTOK_UNLIMITED */
} otok_once;

enum { OTOK_ONCE_SIZE = 35 };

void otok_once_print(const otok_once *once, uint8_t out[OTOK_ONCE_SIZE]);
bool otok_once_parse(otok_str bytes, otok_once *out);

/* ---------------------------------------------------------------------------------------------------- event.c */

/* The events of one commit, as the outbox holds them.  `realm` and `event_id` are not in it: the record says which. */
enum { OTOK_EVENTS_MAX = 64, OTOK_EVENT_TEXT_MAX = 512 };

/*
 * Appends.  Texts are cut: a name at 255 bytes, an IP address at 64, a user agent at OTOK_EVENT_TEXT_MAX, a scope at 4096; an empty one
 * comes back as NULL.  OTOK_EVENTS_MAX events of one request without a scope always fit into a record.  OTOK_E_INVALID, with `out` as
 * before, for more events, or more than OTOK_MAX_BODY bytes; OTOK_E_NOMEM.
 */
int otok_events_print(const otok_event *events, size_t n, otok_buf *out, otok_error *err);

/*
 * Hands out each event, whose texts live until `each` returns; stops at, and returns, what is not 0.  OTOK_E_FORMAT on anything that
 * otok_events_print() would not write; then some may have been handed out.
 */
int otok_events_parse(otok_str bytes, int (*each)(void *arg, const otok_event *event), void *arg, otok_error *err);

/* ---------------------------------------------------------------------------------------------------- jws.c */

/* Makes a JOSE signature; `*len` is the room in, OTOK_SIGNATURE_MAX, the size out.  Of a key here: otok_jws_sign_pkey. */
typedef int (*otok_jws_signer)(void *key, const void *data, size_t data_len, uint8_t *signature, size_t *len,
                               otok_error *err);

/* Appends header.payload.signature (RFC 7515 compact).  `header` is JSON text, prepared once a key. */
int otok_jws_sign(otok_jws_signer sign, void *key, otok_str header, otok_str payload, otok_buf *out, otok_error *err);
int otok_jws_sign_pkey(const otok_pkey *key, otok_str header, otok_str payload, otok_buf *out, otok_error *err);

/* A compact JWS taken apart; header and payload are parsed, the signature is not checked.  Freed with otok_jws_free(). */
typedef struct otok_jws {
    otok_json *header;
    otok_json *payload;
    otok_str payload_text; /* as it was signed: JSON; lives as long as the JWT */
    size_t signed_len;     /* of the text that is signed: header.payload */
    uint8_t signature[OTOK_SIGNATURE_MAX];
    size_t signature_len;
} otok_jws;

/* More than the largest access token of ours: 64 KiB of claims are 86 KiB of base64url. */
enum { OTOK_JWS_MAX = 98304 };

int otok_jws_parse(const char *text, size_t len, otok_jws **out, otok_error *err); /* OTOK_E_TOKEN_INVALID */

/* The algorithm is the key's; the header's `alg` must say the same (RFC 8725 section 3.1), and `crit` must be absent. */
int otok_jws_verify(const otok_jws *jwt, const char *text, const otok_pkey *key, otok_error *err);
void otok_jws_free(otok_jws *jwt);

const char *otok_algorithm_name(int32_t algorithm); /* "ES256", ...; NULL */
int32_t otok_algorithm_of_name(const char *name);   /* OTOK_ALG_...; -1 */

/* ---------------------------------------------------------------------------------------------------- cursor.c */

/* Where a page ended; authenticated together with what it is a page of, so that it cannot be forged or carried elsewhere. */
typedef struct otok_cursor {
    int64_t created_us;
    otok_id id;
} otok_cursor;

enum { OTOK_CURSOR_CHARS = 55 };

int otok_cursor_print(const otok_cursor *cursor, otok_str context, uint8_t key_id, const otok_mac_key *key,
                      char out[OTOK_CURSOR_CHARS + 1], otok_error *err);
bool otok_cursor_key_id(const char *text, uint8_t *key_id);
int otok_cursor_parse(const char *text, otok_str context, const otok_mac_key *key, otok_cursor *out,
                      otok_error *err); /* INVALID */

/* ---------------------------------------------------------------------------------------------------- line.c */

/* A record as one line of JSON, with its end.  OTOK_E_FORMAT: a name in it is not text. */
int otok_line_print(const otok_record *record, otok_buf *out, otok_error *err);

/* A record that was read from a line, over room of its own: large, so not for the stack.  Its names point into the JSON. */
typedef struct otok_line {
    otok_record record;
    otok_index_key keys[OTOK_MAX_KEYS];
    otok_id links[OTOK_MAX_LINKS];
    uint8_t head[OTOK_MAX_HEAD];
    uint8_t body[OTOK_MAX_BODY];
} otok_line;

/* The longest line: base64url of the largest body, and the rest. */
enum { OTOK_LINE_MAX = 131072 };

int otok_line_parse(const otok_json *json, otok_line *out, otok_error *err); /* OTOK_E_FORMAT, naming the member */

#endif
