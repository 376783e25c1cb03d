/*
 * offlinetok/store.h - for those who write a backend.
 *
 * A store keeps records and knows nothing of tokens.  A record has an identity, a version, a few opaque index keys, a small
 * head that changes often and a body that rarely does.  A backend is five functions over such records:
 *
 *     fetch    read records by id, and on request what they link to, in one snapshot
 *     commit   write groups of records, each group all or nothing, every write guarded by the version it expects
 *     scan     walk one index key in order, or everything in id order
 *     count    how many records one index key has
 *     close    release the backend
 *
 * Compare-and-swap is part of the contract, so a "get, then put" backend cannot be expressed.  Whoever writes a backend runs
 * otok_store_conform() over it: each clause of this contract is one of its checks.  examples/custom_store.c is a whole one.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef OFFLINETOK_STORE_H
#define OFFLINETOK_STORE_H

#include <stddef.h>
#include <stdint.h>

#include <offlinetok/offlinetok.h>

#ifdef __cplusplus
extern "C" {
#endif
#if defined(__GNUC__)
#pragma GCC visibility push(default)
#endif

/* ------------------------------------------------------------------------------------------------------------- records */

/* 16 bytes, unique over realms and kinds; compared bytewise.  Ids of sessions begin with their time of issue. */
typedef struct otok_id {
    uint8_t bytes[16];
} otok_id;

/* Bytes that somebody else owns; not NUL-terminated; data may be NULL when len is 0. */
typedef struct otok_str {
    const void *data;
    size_t len;
} otok_str;

/* The kinds of record.  An id never changes its kind, except to OTOK_RECORD_TOMBSTONE. */
enum {
    OTOK_RECORD_SESSION = 1,
    OTOK_RECORD_CUTOFF = 2,
    OTOK_RECORD_PAIR = 3,
    OTOK_RECORD_ONCE = 4,
    OTOK_RECORD_EVENT = 5,
    OTOK_RECORD_SWEEPER = 6,
    OTOK_RECORD_TOMBSTONE = 7
};

/*
 * Indexes.  The digest of a key is opaque (realm, kind and name are hashed into it).  Records under one key of the index
 * OTOK_INDEX_SWEEP are in the order of (sweep_us, id), under a key of every other index in the order of (created_us, id).
 * OTOK_INDEX_ALL is for otok_scan only: every record, in id order.
 */
enum {
    OTOK_INDEX_ALL = 0,
    OTOK_INDEX_REALM = 1,
    OTOK_INDEX_SUBJECT = 2,
    OTOK_INDEX_CLIENT = 3,
    OTOK_INDEX_PAIR = 4,
    OTOK_INDEX_SID = 5,
    OTOK_INDEX_SWEEP = 6,
    OTOK_INDEX_MAX = 255
};

typedef struct otok_index_key {
    uint32_t index;
    uint8_t digest[16];
} otok_index_key;

/* Bounds of one record and of one group; the dispatcher refuses what is beyond them before a backend sees it. */
enum {
    OTOK_MAX_HEAD = 24,
    OTOK_MAX_KEYS = 8,
    OTOK_MAX_LINKS = 8,
    OTOK_MAX_NAME = 255,
    OTOK_MAX_BODY = 65536,
    OTOK_MAX_GROUP_WRITES = 64,
    OTOK_MAX_GROUP_BYTES = 1048576,
    OTOK_MAX_FETCH = 1024
};

typedef struct otok_record {
    size_t size;                /* sizeof(otok_record) */
    uint32_t kind;              /* OTOK_RECORD_... */
    otok_id id;                 /* never changes */
    uint64_t version;           /* chosen by the caller: random at birth, then + 1 */
    int64_t created_us;         /* logical time of creation, the order of every index but SWEEP; never changes */
    int64_t sweep_us;           /* the order of the index SWEEP */
    const otok_index_key *keys; /* at most OTOK_MAX_KEYS, no two with the same index */
    size_t nkeys;
    const otok_id *links; /* at most OTOK_MAX_LINKS records that fetch emits with this one on request */
    size_t nlinks;
    otok_str realm, subject, client; /* for administrators' SQL, not for look-ups; each at most OTOK_MAX_NAME bytes */
    otok_str head;                   /* at most OTOK_MAX_HEAD bytes: what a refresh changes */
    otok_str body;                   /* at most OTOK_MAX_BODY bytes, opaque */
} otok_record;

/* --------------------------------------------------------------------------------------------------------------- writes */

/*
 * What a write does, when the stored record has the version `expect` (INSERT: when there is no record of that id).
 *
 *   INSERT  stores `record`
 *   PUT     replaces the record by `record`: head, body, keys, links, sweep_us, names; created_us stays
 *   HEAD    replaces head and version, nothing else; only id, version and head of `record` are read
 *   DELETE  removes the record; only the id of `record` is read
 *   ASSERT  changes nothing; only the id of `record` is read
 *
 * Otherwise the group's result is OTOK_E_CONFLICT, and nothing of that group is written.  Absence cannot be asserted: insert
 * a guard record.  One id stands at most once in a group; groups of one commit may name the same id, and then at most one of
 * two that expect the same version succeeds.
 */
enum { OTOK_WRITE_INSERT = 1, OTOK_WRITE_PUT = 2, OTOK_WRITE_HEAD = 3, OTOK_WRITE_DELETE = 4, OTOK_WRITE_ASSERT = 5 };

typedef struct otok_write {
    uint32_t op;
    uint64_t expect;
    const otok_record *record;
} otok_write;

/*
 * A group is atomic and, in a store that declares OTOK_STORE_DURABLE, on stable storage when its result is OTOK_OK.
 * Results: OTOK_OK, OTOK_E_CONFLICT; OTOK_E_UNCERTAIN (the store cannot tell whether it took place); OTOK_E_BUSY (not tried);
 * OTOK_E_FULL, OTOK_E_IO, OTOK_E_NOMEM, OTOK_E_STATE (not written).
 */
typedef struct otok_group {
    const otok_write *writes;
    size_t n;
    int32_t result;
    otok_error error;
} otok_group;

/* ---------------------------------------------------------------------------------------------------------------- reads */

/*
 * Called for each record found.  What `record` points to lives until the callback returns, and may be unaligned bytes of the
 * backend's own memory.  A value other than 0 ends the call, which then returns OTOK_OK.  A callback never calls the store.
 */
typedef int (*otok_emit)(void *arg, const otok_record *record);

/* fetch: emit also the records that those found link to, out of the same snapshot; each at most once in a call. */
enum { OTOK_FETCH_LINKS = 1 };

/* scan: from the end; begin behind `after` (exclusive) in the direction of the walk, whether or not that record still exists. */
enum { OTOK_SCAN_DESCENDING = 1, OTOK_SCAN_AFTER = 2 };

typedef struct otok_scan {
    size_t size;        /* sizeof(otok_scan) */
    otok_index_key key; /* index OTOK_INDEX_ALL: every record in id order, digest and after_us unused */
    uint32_t flags;
    int64_t after_us; /* with OTOK_SCAN_AFTER: created_us (SWEEP: sweep_us) and id of the record to begin behind */
    otok_id after;
    uint32_t limit; /* rows visited at most; 1 to OTOK_MAX_FETCH.  Fewer emitted: the end was reached */
} otok_scan;

/* -------------------------------------------------------------------------------------------------------------- backend */

/* What a store guarantees.  A store without ATOMIC_GROUPS is refused at open. */
enum {
    OTOK_STORE_ATOMIC_GROUPS = 1, /* a group is all or nothing, also over a crash */
    OTOK_STORE_DURABLE = 2,       /* OTOK_OK means: survives a power loss */
    OTOK_STORE_SHARED = 4,        /* several processes may have it open at once */
    OTOK_STORE_FAST_COUNT = 8     /* count does not walk */
};

/*
 * The five functions.  All are called from any number of threads at once.  Every commit that returned before a fetch, scan or
 * count began is visible to it, from any process (read from the primary).  Nothing is promised between two calls.
 *
 * fetch   Emits, in any order, those of the `n` ids that exist (1 to OTOK_MAX_FETCH); an absent one is no error.
 * commit  Gives every group its result, and returns OTOK_OK; or returns the error that every group shares, nothing written.
 * scan    Emits the records of one key in order.
 * count   How many records the key has, dead ones included.
 * close   Ends the backend; nothing else is running in it.
 *
 * Errors are negative OTOK_E_ codes, but neither OTOK_E_NOT_FOUND nor those of tokens (-30 and below), which are not for a store
 * to say; details go to `err` (may be NULL) through otok_error_set().
 */
typedef struct otok_store_vtab {
    size_t size;         /* sizeof(otok_store_vtab) */
    uint32_t guarantees; /* OTOK_STORE_... */
    const char *name;    /* of the engine, for messages; copied */
    int (*fetch)(void *self, const otok_id *ids, size_t n, uint32_t flags, otok_emit emit, void *arg, otok_error *err);
    int (*commit)(void *self, otok_group *groups, size_t n, otok_error *err);
    int (*scan)(void *self, const otok_scan *scan, otok_emit emit, void *arg, otok_error *err);
    int (*count)(void *self, const otok_index_key *key, uint64_t *out, otok_error *err);
    void (*close)(void *self);
    /*
     * For maintenance, and NULL where the engine has nothing of its own: otok_store_check() then walks the records, and neither
     * repairs nor sees an entry of an index without its record; otok_store_backup() is OTOK_E_UNSUPPORTED.
     */
    int (*check)(void *self, int32_t repair, const otok_watch *watch, otok_check *result, otok_error *err);
    int (*backup)(void *self, const char *directory, const otok_watch *watch, otok_error *err);
} otok_store_vtab;

/*
 * Makes a store of a backend.  The vtab is copied; `self` belongs to the store from here on and is closed with its last
 * reference; on failure it stays the caller's.  Errors: OTOK_E_INVALID, OTOK_E_UNSUPPORTED (no atomic groups, a function
 * missing), OTOK_E_NOMEM.  Thread-safe.  Since 0.1.
 */
int otok_store_open(const otok_store_vtab *vtab, void *self, otok_store **out, otok_error *err);

/* What the store guarantees, OTOK_STORE_...  Thread-safe.  Since 0.1. */
uint32_t otok_store_guarantees(const otok_store *store);

/*
 * The five functions with the contract's bounds checked, of what goes in and of what a backend emits; what the library itself
 * calls.  Thread-safe.  Since 0.1.
 */
int otok_store_fetch(otok_store *store, const otok_id *ids, size_t n, uint32_t flags, otok_emit emit, void *arg,
                     otok_error *err);
int otok_store_commit(otok_store *store, otok_group *groups, size_t n, otok_error *err);
int otok_store_scan(otok_store *store, const otok_scan *scan, otok_emit emit, void *arg, otok_error *err);
int otok_store_count(otok_store *store, const otok_index_key *key, uint64_t *out, otok_error *err);

/*
 * Deep copy of a record in one allocation, for backends and callbacks that keep what they were given; freed with
 * otok_record_free(), which takes NULL.  NULL when memory is short.  Thread-safe.  Since 0.1.
 */
otok_record *otok_record_copy(const otok_record *record);
void otok_record_free(otok_record *record);

/* Fills `err` when it is not NULL: `message` is cut to fit.  Returns `code`.  Thread-safe.  Since 0.1. */
int otok_error_set(otok_error *err, int code, int system_errno, const char *message);

/* ---------------------------------------------------------------------------------------------------------- conformance */

/*
 * The conformance kit: runs every clause of the contract over a backend, in one thread, and reports each by name.
 *
 * `open` opens the backend; `fresh` is 1 for an empty one and 0 to open again what the last one left behind (asked only of a
 * store that declares OTOK_STORE_DURABLE).  The kit closes each store it opened before it opens the next.
 * `report` is called once a clause: `passed` 1 or 0, or -1 where the clause does not apply; `detail` says what was seen.
 */
typedef struct otok_conform {
    size_t size; /* sizeof(otok_conform) */
    void *user;
    int (*open)(void *user, int32_t fresh, otok_store **out, otok_error *err);
    void (*report)(void *user, const char *clause, int32_t passed, const char *detail); /* may be NULL */
    uint64_t seed;                                                                      /* of the randomised clauses */
} otok_conform;

/* OTOK_OK when every clause holds, OTOK_E_UNSUPPORTED when one does not (the first is named in `err`).  Since 0.1. */
int otok_store_conform(const otok_conform *kit, otok_error *err);

#if defined(__GNUC__)
#pragma GCC visibility pop
#endif
#ifdef __cplusplus
}
#endif
#endif
