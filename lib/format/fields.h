/*
 * format/fields.h - the fields of what is stored: tag (1), length (2), value.  For lib/format only.
 *
 * A table says which member of a struct is which field.  Fields stand in the order of the table, whose tags rise; what is 0 or
 * empty is left out.  What is not exactly what would be written is refused.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef OTOK_FIELDS_H
#define OTOK_FIELDS_H

#include "format/format.h"

/* What a member is. */
enum otok_field_kind {
    OTOK_FIELD_LONG,   /* int64_t */
    OTOK_FIELD_INT,    /* int32_t or uint32_t */
    OTOK_FIELD_BYTE,   /* uint8_t */
    OTOK_FIELD_DIGEST, /* uint8_t[OTOK_SHA256_SIZE] */
    OTOK_FIELD_TEXT,   /* otok_str */
    OTOK_FIELD_TEXTS   /* an array of otok_str, and a size_t that counts them */
};

typedef struct otok_field {
    uint8_t tag; /* not 0 */
    enum otok_field_kind kind;
    size_t offset;                   /* of the member in its struct */
    size_t most;                     /* bytes of a text; 0: what a length can say, 65535 */
    size_t count_offset, count_most; /* of TEXTS */
} otok_field;

/* Appends the fields of `from`; a text that is too long makes `out` fail. */
void otok_fields_print(const otok_field *table, size_t n, const void *from, otok_buf *out);

/* Fills what the fields name of `into`, which is all 0; its texts point into the bytes. */
bool otok_fields_parse(const otok_field *table, size_t n, otok_str bytes, void *into);

#endif
