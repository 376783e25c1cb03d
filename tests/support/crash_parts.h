/*
 * crash_parts.h - what the files of crash.h share: the log that outlives a worker, what the judge knows, and the names.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef TEST_CRASH_PARTS_H
#define TEST_CRASH_PARTS_H

#include <stdatomic.h>

#include "session/session.h"
#include "support/crash.h"

enum { CRASH_SUBJECTS = 6, CRASH_CLIENTS = 3, CRASH_ANY = 255, CRASH_WORKERS = 4, CRASH_OPS = 512 };

/* A worker that is not killed for long may issue with each operation: none of the living is forgotten for want of room. */
enum { CRASH_MANY_LIVE = 128, CRASH_MANY = 256, CRASH_KNOWN = CRASH_WORKERS * (CRASH_MANY_LIVE + CRASH_OPS) };
enum { CRASH_SHORT_LIFE_S = 600, CRASH_FEW_LIVE = 24 };

extern const char *const crash_subjects[CRASH_SUBJECTS], *const crash_clients[CRASH_CLIENTS];

/* ---------------------------------------------------------------------------------------------------- the log */

typedef enum crash_kind {
    CRASH_ISSUE,
    CRASH_REFRESH,
    CRASH_REVOKE_ID,
    CRASH_REVOKE_TOKEN,
    CRASH_CUTOFF,
    CRASH_MATCHING,
    CRASH_SWEEP
} crash_kind;

/* One operation: what was to be done, written before; what was answered, written behind. */
typedef struct crash_op {
    crash_kind kind;
    uint8_t subject, client; /* of an issue; of a filter, where CRASH_ANY names none */
    bool short_life;         /* ISSUE: max_lifetime_s */
    char session_id[OTOK_SESSION_ID_CHARS + 1];
    uint64_t begun, ended; /* places in one order over all workers */
    _Atomic bool answered;
    int rc;
    char token[OTOK_TOKEN_CHARS + 1]; /* ISSUE, REFRESH: that came */
    uint32_t generation;
    int64_t effective_us; /* CUTOFF */
} crash_op;

typedef struct crash_log {
    _Atomic bool opened; /* the two below are set */
    int open_rc;
    char open_message[256];
    _Atomic uint32_t n; /* operations that were begun */
    crash_op ops[CRASH_OPS];
} crash_log;

typedef struct crash_shared {
    _Atomic uint64_t order;
    int64_t now_us; /* the clock of everybody; stands while workers run */
    crash_log logs[CRASH_WORKERS];
} crash_shared;

/* ---------------------------------------------------------------------------------------------------- sessions */

/* A session that was acknowledged, and what is known of it. */
typedef struct crash_known {
    char session_id[OTOK_SESSION_ID_CHARS + 1];
    char token[OTOK_TOKEN_CHARS + 1]; /* the newest that was acknowledged */
    uint32_t generation;
    uint8_t subject, client;
    int64_t expires_us;  /* OTOK_UNLIMITED */
    bool dead;           /* its end was acknowledged, or seen */
    bool removed;        /* so was the removal of its record */
    bool maybe_dead;     /* an end was in flight */
    bool maybe_advanced; /* a refresh was in flight */
    bool touched;        /* anything at all in this round */
    uint64_t issue_begun, issue_ended;
    uint64_t issued_in, last_in; /* rounds; what was last acknowledged is `last` */
    crash_kind last;
} crash_known;

typedef struct crash_table {
    size_t n;
    crash_known sessions[CRASH_KNOWN];
} crash_table;

crash_known *crash_find(crash_table *table, const char *session_id);
crash_known *crash_add(crash_table *table, const crash_op *issue,
                       int64_t now_us); /* forgets the oldest dead where there are many */

/* ---------------------------------------------------------------------------------------------------- helpers */

typedef struct crash_random {
    uint64_t state;
} crash_random;

uint64_t crash_next(crash_random *random, uint64_t below); /* splitmix64 */

typedef struct crash_setting {
    const char *folder;
    otok_keyring *keyring;
    crash_shared *shared;
    bool lossy;
} crash_setting;

int crash_open(const crash_setting *setting, otok_store **store, otok_service **service, otok_error *err);
otok_filter crash_filter(uint8_t subject, uint8_t client);
int crash_refresh(otok_service *service, const crash_known *known, otok_tokens **out, otok_error *err);

/* The life of a worker: until it is killed. */
void crash_work(const crash_setting *setting, crash_log *log, crash_table *table, uint64_t seed)
    __attribute__((__noreturn__));

/* A store that says OTOK_OK, and commits when it is next asked for something.  Takes `inner`. */
int crash_store_lossy(otok_store *inner, otok_store **out, otok_error *err);

/* Whether every index holds the records that name it, in order, and no other; what is wrong goes to `story`. */
bool crash_indexes_agree(otok_service *service, otok_store *store, char story[CRASH_STORY]);

#endif
