/*
 * store/check.h - what check.c and the checks of engines have in common.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef OTOK_CHECK_H
#define OTOK_CHECK_H

#include "format/format.h"
#include "store/store.h"

/* The watch is told each time that so many records, or entries, are done. */
enum { OTOK_CHECK_TELL = 1024 };

/* Counts a finding and tells of it: "record <id> <what>", or `what` alone where `id` is NULL. */
void otok_check_tell(const otok_watch *watch, otok_check *result, bool mended, const otok_id *id, const char *what);

#endif
