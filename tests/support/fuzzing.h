/*
 * fuzzing.h - what fuzz targets share: a failed property is a crash, and inputs are taken apart without ever reading
 * beyond them.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef TEST_FUZZING_H
#define TEST_FUZZING_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "crypto/crypto.h"

/* Prints `what` and aborts unless it is so: what an engine takes for a finding. */
void fuzz_must(bool is_so, const char *what);

/* The front of an input is taken off piece by piece; what is missing is 0. */
typedef struct fuzz_input {
    const uint8_t *data;
    size_t len;
} fuzz_input;

uint8_t fuzz_byte(fuzz_input *input);
void fuzz_bytes(fuzz_input *input, void *out, size_t len);

/* The text up to the next NUL, or all that is left: in memory of exactly its size, freed by the caller. */
char *fuzz_text(fuzz_input *input);

/* A MAC key that is the same in every process; never freed. */
const otok_mac_key *fuzz_mac_key(void);

#endif
