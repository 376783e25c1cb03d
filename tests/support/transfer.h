/*
 * transfer.h - what a store exports, as a file in memory that tests read lines of, damage, and import.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef TEST_TRANSFER_H
#define TEST_TRANSFER_H

#include "support/fixture.h"

typedef struct test_file {
    char *data;
    size_t len, room;
    size_t at;    /* what was read */
    size_t piece; /* how much is read at once; 0: as much as is asked for */
} test_file;

test_file test_export(otok_store *store); /* aborts when it fails */
void test_file_add(test_file *file, const void *data, size_t len);
void test_file_free(test_file *file);
test_file test_file_copy(const test_file *file);

/* As otok_store_export() and otok_store_import() want them: `user` is a test_file. */
int test_file_write(void *user, const void *data, size_t len);
int test_file_read(void *user, void *data, size_t room, size_t *len);

/* An import from the beginning of the file; `result` and `err` may be NULL. */
int test_import(otok_store *store, test_file *file, int32_t mode, int32_t dry_run, otok_transfer *result,
                otok_error *err);

/* Line `number`, counted from 1, with its end; `*len` is 0 when there is none. */
char *test_file_line(const test_file *file, size_t number, size_t *len);

/* The lines from `first` on, `n` of them, become this text. */
void test_file_replace(test_file *file, size_t first, size_t n, const char *text, size_t len);

/* The first `old` in line `number` becomes `now`; aborts when there is none. */
void test_file_edit(test_file *file, size_t number, const char *old, const char *now);

/* The last line as it would be for the lines before it. */
void test_file_sum(test_file *file);

#endif
