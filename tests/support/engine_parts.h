/*
 * engine_parts.h - what the files of engine.h share: the world, the log that outlives a worker, and what the judge knows.
 *
 * engine_world.c opens and performs, engine_legacy.c is the system before, engine_work.c is the worker, engine_store.c the faulty stores, engine_kill.c kills,
 * engine_learn.c draws from the logs what must hold, engine_replay.c replays the outbox, engine_look.c looks at what is there,
 * engine.c goes round.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef TEST_ENGINE_PARTS_H
#define TEST_ENGINE_PARTS_H

#include "support/crash_parts.h"
#include "support/engine.h"

/* ---------------------------------------------------------------------------------------------------- the world */

enum {
    ENGINE_WORKERS = 3,
    ENGINE_SUBJECTS = 4,
    ENGINE_CLIENTS = 2,
    ENGINE_PAIRS = ENGINE_SUBJECTS * ENGINE_CLIENTS,
    ENGINE_SIDS = 3,
    ENGINE_SCOPES = 3, /* that are consented to: 1 to 3; 0 is none */
    ENGINE_LIMIT = 3,
    ENGINE_KEYS = 8,
    ENGINE_OPS = 256,
    ENGINE_KNOWN = 4096, /* more than can live: one that is forgotten would be a stranger */
    ENGINE_ANY = 255,
    ENGINE_NEW = 2,     /* keys that are good for once, and tokens of the system before, that come up in a round */
    ENGINE_REACH = 12,  /* rounds in which they are used */
    ENGINE_NUMBERS = 64 /* remembered of each; more than ENGINE_NEW * (ENGINE_REACH + 1) */
};

enum {
    ENGINE_NOBODY = -1,
    ENGINE_LEGACY_SID = 1000
}; /* a sid is one of ENGINE_SIDS, or that of a token of the system before */

typedef enum engine_kind {
    ENGINE_ISSUE,
    ENGINE_REFRESH,
    ENGINE_REVOKE,
    ENGINE_CONSENT_PUT,
    ENGINE_CONSENT_REVOKE,
    ENGINE_LOGOUT,
    ENGINE_LEGACY_REFRESH,
    ENGINE_LEGACY_REVOKE,
    ENGINE_KEY_STEP,
    ENGINE_SWEEP,
    ENGINE_ERASE
} engine_kind;

/* Whose a session is, and what an operation is aimed at. */
typedef struct engine_scope {
    uint8_t subject, client; /* ENGINE_ANY: not by that */
    int32_t session_kind;    /* OTOK_SESSION_... */
    int32_t sid;             /* ENGINE_NOBODY */
    int64_t once, legacy;    /* numbers; ENGINE_NOBODY */
} engine_scope;

typedef struct engine_op {
    engine_kind kind;
    engine_scope scope;
    int32_t consent;     /* CONSENT_PUT */
    int32_t with_access; /* LOGOUT: offline access too */
    int32_t step;        /* KEY_STEP */
    char kid[64];
    char target[OTOK_SESSION_ID_CHARS + 1]; /* REFRESH, REVOKE; ISSUE: what it replaces, or "" */
    char presented[OTOK_TOKEN_CHARS + 1];   /* REFRESH, REVOKE */
    uint64_t begun, ended;                  /* places in one order over all workers */
    _Atomic bool answered;
    int rc;
    int32_t outcome;
    uint32_t generation;
    char session_id[OTOK_SESSION_ID_CHARS + 1]; /* that came, with its token */
    char token[OTOK_TOKEN_CHARS + 1];
} engine_op;

typedef struct engine_log {
    _Atomic bool opened; /* the two below are set */
    int open_rc;
    char open_message[256];
    _Atomic uint32_t n; /* operations that were begun */
    engine_op ops[ENGINE_OPS];
} engine_log;

typedef struct engine_shared {
    _Atomic uint64_t order;
    _Atomic int64_t now_us; /* the clock of everybody: moves between rounds */
    bool ticks;             /* and in this one by a millisecond with each look */
    uint64_t round;
    int64_t began_us[ENGINE_NUMBERS];   /* of tokens of the system before */
    int64_t once_from[ENGINE_SUBJECTS]; /* keys before that are not used any more */
    char retired[ENGINE_KEYS][64];      /* kids of MAC keys that were retired before anybody began to work */
    size_t nretired;
    engine_log logs[ENGINE_WORKERS];
} engine_shared;

typedef struct engine_setting {
    const char *folder, *keys;
    engine_shared *shared;
    int fault;
    bool is_judge;
} engine_setting;

typedef struct engine_open {
    otok_store *store;
    otok_service *service;
    const engine_setting *setting;
} engine_open;

extern const char *const engine_sids[ENGINE_SIDS], *const engine_consents[ENGINE_SCOPES + 1];

int engine_open_all(const engine_setting *setting, engine_open *out, otok_error *err);
void engine_close_all(engine_open *open);

engine_scope engine_nobody(void);
engine_scope engine_once_scope(int64_t n); /* whose a key, or a token of the system before, is */
engine_scope engine_legacy_scope(int64_t n);
int64_t engine_first_number(const engine_shared *shared); /* that is used in this round */
int64_t engine_last_number(const engine_shared *shared);
bool engine_legacy_is_good(const engine_shared *shared, int64_t n); /* has not come to its own end */
otok_filter engine_filter(const engine_scope *scope, char sid[32]);

/* Does it, and notes begin and answer. */
void engine_perform(const engine_open *open, engine_op *op);

/* A token of the system before, and the host's callback that knows them. */
enum { ENGINE_LEGACY_CHARS = 1024 };
typedef struct engine_legacy {
    const char *subject, *client;
    char sid[32];
    int64_t started_us, ends_us;
} engine_legacy;

void engine_legacy_token(const engine_legacy *legacy, char out[ENGINE_LEGACY_CHARS]);
int engine_legacy_adopt(void *user, const char *token, const char *client_id, otok_adoption *adoption);

/* A faulty store over another one, which it takes. */
int engine_store_faulty(otok_store *inner, int fault, otok_store **out, otok_error *err);

/* ---------------------------------------------------------------------------------------------------- what is known */

typedef struct engine_known {
    char session_id[OTOK_SESSION_ID_CHARS + 1];
    char token[OTOK_TOKEN_CHARS + 1]; /* the newest that was acknowledged */
    uint64_t token_at;                /* when, in the order of everything */
    uint32_t generation;
    uint8_t first_key_id; /* under which its handle was derived; 0: not known, for it was not seen new */
    engine_scope scope;
    uint64_t issue_begun, issue_ended, issued_in;
    unsigned births;  /* how often it was told to be new */
    uint64_t dead_at; /* when its end was acknowledged; 0: not told */
    bool dead;        /* its end was acknowledged, or seen */
    bool maybe_dead;  /* an end was in flight */
    bool maybe_used;  /* a refresh was begun in this round */
    bool used;        /* or before */
    bool touched;     /* anything at all in this round */
} engine_known;

/* Of a key that is good for once, or a token of the system before. */
typedef struct engine_number {
    int64_t n;
    char session_id[OTOK_SESSION_ID_CHARS + 1]; /* "": none is known yet */
    bool dead, maybe_dead, touched;
    bool in_flight;     /* what would have told which session came of it */
    bool was_in_flight; /* in this round or one before: it may have come to one that has ended unseen */
} engine_number;

typedef struct engine_table {
    size_t n;
    engine_known sessions[ENGINE_KNOWN];
} engine_table;

engine_known *engine_find(engine_table *table, const char *session_id);
engine_known *engine_add(engine_table *table, const engine_op *birth); /* forgets the oldest dead when full */

/* A token that came: the newer one, of the higher generation, is kept. */
void engine_note_token(engine_known *known, const engine_op *op);

/* The life of a worker: until it is killed. */
void engine_work(const engine_setting *setting, engine_log *log, engine_table *table, uint64_t seed)
    __attribute__((__noreturn__));

/* ---------------------------------------------------------------------------------------------------- the replay */

typedef struct engine_session {
    otok_id id;
    uint32_t generation;
    engine_scope scope;
    uint64_t born_in;
    bool seen;
} engine_session;

typedef struct engine_cutoff {
    otok_id id; /* of its mark */
    otok_mark_head times;
    uint8_t subject; /* ENGINE_ANY */
    bool seen;
} engine_cutoff;

typedef struct engine_consent {
    int64_t time_us;
    unsigned mask; /* what it may be, for events of one moment have no order */
} engine_consent;

enum { ENGINE_SESSIONS = 1024, ENGINE_CUTOFFS = 16384, ENGINE_EVENTS = 1024 };

typedef struct engine_replay {
    size_t nsessions, ncutoffs;
    engine_session sessions[ENGINE_SESSIONS];
    engine_cutoff cutoffs[ENGINE_CUTOFFS];
    engine_consent consents[ENGINE_PAIRS];
    uint64_t evictions[ENGINE_PAIRS][2], issues[ENGINE_PAIRS][2]; /* by kind; issues that were begun */
} engine_replay;

/* ---------------------------------------------------------------------------------------------------- the judge */

typedef struct engine_judge {
    const engine_plan *plan;
    engine_report *report;
    engine_setting setting, own; /* the workers', and the judge's */
    engine_open open;
    char folder[4096], keys[4096];
    engine_table table;
    engine_number once[ENGINE_NUMBERS], legacy[ENGINE_NUMBERS];
    engine_replay replay;
    unsigned consents[ENGINE_PAIRS];    /* what was acknowledged, as masks */
    bool erased[ENGINE_SUBJECTS];       /* an erasure was begun in this round */
    bool overflowed, missed;            /* the outbox says that events are missing; some are */
    uint64_t last_drop;                 /* a round */
    uint64_t dropped_in[UINT8_MAX + 1]; /* rounds in which MAC keys went, perhaps; by id, which others may get later */
    size_t births;                      /* sessions that may be there without their token having been returned */
    size_t nkeys;                       /* MAC keys of the file, and how many there may be more or less */
    size_t keys_more, keys_less;
    uint8_t retired_ids[ENGINE_KEYS];                       /* of shared->retired */
    char evicted[ENGINE_EVENTS][OTOK_SESSION_ID_CHARS + 1]; /* in this round, by the outbox */
    size_t nevicted;
    crash_random random;
} engine_judge;

bool engine_is_lost(const engine_judge *j);

/* The first thing that is wrong ends the run.  `known` (may be NULL) is whose story is told. */
void engine_lose(engine_judge *j, const engine_known *known, const char *format, ...) OTOK_PRINTF(3, 4);

void engine_let_work_and_kill(engine_judge *j);

/* The number behind a scope, NULL where there is none. */
engine_number *engine_number_of(engine_judge *j, const engine_scope *scope);

void engine_learn_erasures(engine_judge *j);                 /* before the outbox is read */
void engine_learn(engine_judge *j);                          /* from the logs */
void engine_learn_one(engine_judge *j, const engine_op *op); /* of the judge's own */
void engine_learn_evicted(engine_judge *j);                  /* by the outbox: there is no other word of it (A) */
bool engine_is_answered(const engine_op *op);
bool engine_is_done(const engine_op *op);
bool engine_key_may_be_gone(const engine_judge *j, uint8_t key_id, uint64_t since); /* a round */
bool engine_first_key_may_be_gone(const engine_judge *j, const engine_known *known);

void engine_drain(engine_judge *j);   /* reads, acknowledges and replays */
void engine_compare(engine_judge *j); /* the replay and the store */
void engine_look(engine_judge *j, bool everybody);

#endif
