/*
 * store/store.h - the store object, as the folder sees it; the contract itself is <offlinetok/store.h>.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef OTOK_STORE_H
#define OTOK_STORE_H

#include "base/base.h"

/* ---------------------------------------------------------------------------------------------------- store.c */

otok_store *otok_store_ref(otok_store *store);
const char *otok_store_name(const otok_store *store); /* of the engine, for messages */

/* The engine's own, OTOK_E_UNSUPPORTED where it has none; for check.c. */
int otok_store_run_check(otok_store *store, int32_t repair, const otok_watch *watch, otok_check *result,
                         otok_error *err);
int otok_store_run_backup(otok_store *store, const char *directory, const otok_watch *watch, otok_error *err);

/* ---------------------------------------------------------------------------------------------------- walk.c */

/* Every record of a store, in the order of ids, a page at a time: begun with its store and zeroes, ended with otok_walk_end(). */
enum { OTOK_WALK_PAGE = 256 };
typedef struct otok_walk {
    otok_store *store;
    otok_record *page[OTOK_WALK_PAGE]; /* those not handed out yet: from `at` to `n` */
    size_t at, n;
    otok_id last;
    bool begun, ended, short_of_memory;
} otok_walk;

/* The next one, which is the caller's to free; NULL at the end. */
int otok_walk_next(otok_walk *walk, otok_record **out, otok_error *err);
void otok_walk_end(otok_walk *walk);

/* A watch of any version, or none, as one that can be asked; OTOK_E_CALLBACK when it ends the call. */
int otok_watch_read(const otok_watch *in, otok_watch *out, otok_error *err);
int otok_watch_progress(const otok_watch *watch, uint64_t done, uint64_t total, otok_error *err);

/* ---------------------------------------------------------------------------------------------------- bounds.c */

/*
 * What is wrong with the arguments of a call, as a sentence that names the field; NULL when they are within the contract's
 * bounds.  Of a group, `write` is the one meant.
 */
const char *otok_fetch_fault(const otok_id *ids, size_t n, uint32_t flags, otok_emit emit);
const char *otok_group_fault(const otok_group *group, size_t *write);
const char *otok_scan_fault(const otok_scan *scan, otok_emit emit);
const char *otok_count_fault(const otok_index_key *key, const uint64_t *out);

/* The same of a record that a backend emitted. */
const char *otok_emitted_fault(const otok_record *record);

/* What a write adds to the 1 MiB of a group: its names, keys (20 bytes each), links, head and body, where they are read. */
size_t otok_write_bytes(const otok_write *write);

/* ---------------------------------------------------------------------------------------------------- memory_tree.c */

/* An ordered set of nodes that their owners allocate; sizes of subtrees make rank, count and balance.  No allocation. */
typedef struct otok_tree_key {
    otok_index_key index;
    int64_t order_us;
    otok_id id;
} otok_tree_key;

typedef struct otok_tree_node {
    struct otok_tree_node *left, *right;
    size_t size;
    otok_tree_key key;
    void *owner;
} otok_tree_node;

void otok_tree_insert(otok_tree_node **root, otok_tree_node *node);
void otok_tree_remove(otok_tree_node **root, const otok_tree_key *key);
otok_tree_node *otok_tree_find(otok_tree_node *root, const otok_tree_key *key);
otok_tree_node *otok_tree_at(otok_tree_node *root, size_t rank); /* rank < size of the tree */
size_t otok_tree_rank(const otok_tree_node *root, const otok_tree_key *key,
                      bool above); /* how many are below, or not above */

/* ---------------------------------------------------------------------------------------------------- conform_kit.c */

/*
 * What the clauses of the conformance kit are written with.  The first thing that goes wrong fails the clause; every function
 * below then does nothing, so that a clause is plain steps one after another.  `what` names the step in the failure's text.
 */
enum { OTOK_KIT_SAMPLES = OTOK_MAX_GROUP_WRITES };

typedef struct otok_sample {
    otok_record record; /* its keys and links are the two below: samples stay where they are */
    otok_index_key keys[OTOK_MAX_KEYS];
    otok_id links[OTOK_MAX_LINKS];
} otok_sample;

typedef struct otok_kit {
    const otok_conform *conform;
    otok_store *store; /* of the clause that runs */
    bool failed;
    bool short_of_memory; /* the kit itself: the clause says nothing about the store */
    char detail[400];
    uint64_t random;
    uint8_t *noise; /* OTOK_MAX_BODY + 256 bytes for bodies, a NUL among every seven */
    otok_sample *samples;
    otok_record **rows; /* what the last fetch or scan emitted */
    size_t nrows, room;
    size_t stop_after; /* emit asks for the end at this row; 0: never */
} otok_kit;

typedef struct otok_clause {
    const char *name;
    const char *says; /* the contract's words */
    void (*check)(otok_kit *kit);
    uint32_t needs; /* OTOK_STORE_... without which the clause does not apply */
} otok_clause;

void otok_kit_fail(otok_kit *kit, const char *format, ...) OTOK_PRINTF(2, 3);
void otok_kit_open(otok_kit *kit, int32_t fresh); /* closes the store that was open */
void otok_kit_clear(otok_kit *kit);               /* forgets the rows */
uint64_t otok_kit_random(otok_kit *kit, uint64_t below);

/* Sample `number`: a session with names, a head and a body of its own, no keys, no links; created_us is the number. */
otok_id otok_kit_id(uint32_t number);
otok_index_key otok_kit_key(uint32_t index, uint8_t fill); /* the digest is 16 times `fill` */
void otok_kit_sample(const otok_kit *kit, otok_sample *sample, uint32_t number);
void otok_kit_add_key(otok_sample *sample, uint32_t index, uint8_t fill);
void otok_kit_add_link(otok_sample *sample, uint32_t number);
void otok_kit_body(const otok_kit *kit, otok_sample *sample, size_t offset, size_t len);

/* Writes, each checked to have the result it should. */
void otok_kit_commit(otok_kit *kit, otok_group *groups, size_t n);
void otok_kit_write(otok_kit *kit, uint32_t op, uint64_t expect, const otok_record *record, int result,
                    const char *what);
void otok_kit_insert(otok_kit *kit, const otok_sample *sample);
void otok_kit_insert_range(otok_kit *kit, uint32_t first, uint32_t n,
                           void (*shape)(otok_kit *kit, otok_sample *sample));
void otok_kit_expect_result(otok_kit *kit, const otok_group *group, int result, const char *what);

/* Reads. */
void otok_kit_fetch(otok_kit *kit, const otok_id *ids, size_t n, uint32_t flags, const char *what);
void otok_kit_scan(otok_kit *kit, const otok_scan *scan, const char *what);
otok_scan otok_kit_scan_of(uint32_t index, uint8_t fill, uint32_t flags, uint32_t limit);
void otok_kit_expect_same(otok_kit *kit, const otok_record *want, const otok_record *seen, const char *what);
void otok_kit_expect_record(otok_kit *kit, const otok_record *want, const char *what);
void otok_kit_expect_absent(otok_kit *kit, const otok_id *id, const char *what);
void otok_kit_expect_fetched(otok_kit *kit, const uint32_t *numbers, size_t n, const char *what); /* in any order */
void otok_kit_expect_rows(otok_kit *kit, const otok_scan *scan, const uint32_t *numbers, size_t n, const char *what);
void otok_kit_expect_count(otok_kit *kit, otok_index_key key, uint64_t want, const char *what);

/* ---------------------------------------------------------------------------------------------------- conform_*.c */

/* The clauses, each list ended by one without a name. */
extern const otok_clause otok_clauses_record[], otok_clauses_fetch[], otok_clauses_write[], otok_clauses_group[],
    otok_clauses_order[], otok_clauses_index[], otok_clauses_reopen[], otok_clauses_model[];

#endif
