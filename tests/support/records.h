/*
 * records.h - a look into a store behind the library's back: whether anything was written, and records put back as
 * they were.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef TEST_RECORDS_H
#define TEST_RECORDS_H

#include "support/fixture.h"

size_t test_count_records(otok_store *store); /* of every kind */

/* A digest of everything in a store: the same before and after when nothing was written. */
uint64_t test_store_state(otok_store *store);

/* A copy of the record of a session, freed with otok_record_free(); NULL when there is none. */
otok_record *test_session_record(otok_store *store, const char *session_id);

/* Puts a record in the place of the one that has its id now, as restoring an older backup would. */
void test_put_back(otok_store *store, const otok_record *record);

/* Changes the head of a session's record. */
void test_change_head(otok_store *store, const char *session_id, void (*change)(otok_head *head));

#endif
