/*
 * raw.h - records written to a store and read from it directly, one at a time, by number.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef TEST_RAW_H
#define TEST_RAW_H

#include <stdbool.h>

#include <offlinetok/store.h>

/* The id of record `number`: rises with it, as those of sessions do with time. */
otok_id test_raw_id(uint32_t number);

/* A record of that number with one key in the index REALM; the caller may change it. */
otok_record test_raw_record(uint32_t number, uint32_t kind, uint64_t version, size_t body_len);

/* One write in a group of its own; its result. */
int test_raw_write(otok_store *store, uint32_t op, uint64_t expect, const otok_record *record, otok_error *err);

int test_raw_insert(otok_store *store, uint32_t number, size_t body_len); /* a session of version 1 */
int test_raw_head(otok_store *store, uint32_t number, uint64_t expect);   /* to expect + 1 */
int test_raw_delete(otok_store *store, uint32_t number, uint64_t expect);

/*
 * The version that is stored, 0 when there is none; aborts when the fetch fails or the body is not what it should be.
 */
uint64_t test_raw_version(otok_store *store, uint32_t number);

uint64_t test_raw_count(otok_store *store); /* under the key of test_raw_record() */

/* Raises the version by 1, however often others are faster; the code of what else goes wrong. */
int test_raw_raise(otok_store *store, uint32_t number);

otok_store *test_open_lmdb(const char *folder, const otok_lmdb_options *options); /* aborts when it fails */

/*
 * Ends a child of fork that inherited an open store: by exec, as most do, for valgrind would call what it inherited a
 * leak.  Its status is 0 or 1.
 */
void test_leave_child(bool good) __attribute__((__noreturn__));

/* The suite of a test program whose tests all need LMDB, in a build without: opening says so. */
int test_without_lmdb(const char *name);

#endif
