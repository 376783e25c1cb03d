/*
 * store/transfer.h - what export.c writes and import.c reads: lines of JSON, the first of which says what this is, and the last how many
 * records there are and the SHA-256 of all lines before it.
 *
 *     {"format":"offlinetok-records","version":1}
 *     {"id":...}                                      a record (format/line.c), in the order of ids
 *     {"records":1,"sha256":"..."}
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef OTOK_TRANSFER_H
#define OTOK_TRANSFER_H

#include "format/format.h"
#include "store/store.h"

#define OTOK_TRANSFER_FORMAT "offlinetok-records"
enum { OTOK_TRANSFER_VERSION = 1, OTOK_TRANSFER_SUM_CHARS = 2 * OTOK_SHA256_SIZE };

/* The watch is told each time that so many records are done. */
enum { OTOK_TRANSFER_TELL = 1024 };

void otok_transfer_print_sum(const uint8_t sum[OTOK_SHA256_SIZE], char out[OTOK_TRANSFER_SUM_CHARS + 1]);

#endif
