/*
 * fuzz_lmdb_record.c - a value out of a damaged data.mdb: it is refused, or it is exactly what would be stored for
 * what was read.
 *
 * SPDX-License-Identifier: MIT
 */
#include "support/fuzzing.h"

#include <stdlib.h>
#include <string.h>

#include "store/lmdb.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static uint8_t again[OTOK_LMDB_MAX_VALUE];

/* Reads every byte that the record points to, so that a sanitizer sees those that are not the value's. */
static size_t touch(const otok_record *record)
{
    const otok_str texts[] = {record->realm, record->subject, record->client, record->head, record->body};
    size_t sum = 0;
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        for (size_t n = 0; n < texts[i].len; n++)
            sum += ((const uint8_t *)texts[i].data)[n];
    }
    for (size_t i = 0; i < record->nlinks; i++)
        sum += record->links[i].bytes[0] + record->links[i].bytes[15];
    for (size_t i = 0; i < record->nkeys; i++)
        sum += record->keys[i].digest[15];
    return sum;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const otok_id id = {.bytes = {7}};
    otok_lmdb_view view;
    uint8_t *value = malloc(size + 1); /* as in the map: at no alignment */
    if (value == NULL)
        return 0;
    if (size != 0)
        memcpy(value + 1, data, size);
    if (otok_lmdb_decode(&view, &id, value + 1, size)) {
        (void)touch(&view.record);
        fuzz_must(size <= sizeof again, "no record is longer than the longest");
        size_t len = otok_lmdb_encode(again, &view.record, view.record.created_us);
        fuzz_must(len == size && memcmp(again, value + 1, len) == 0, "a record is stored as it was read");
    }
    free(value);
    return 0;
}
