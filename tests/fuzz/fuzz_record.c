/*
 * fuzz_record.c - bytes out of a database, which anybody may have edited: a body or a head is refused, or is exactly
 * what would be printed for what was read; and no seal fits it but its own (K7).
 *
 * An input is a body whole, and a head in its first 24 bytes.
 *
 * SPDX-License-Identifier: MIT
 */
#include "support/fuzzing.h"

#include <string.h>

#include "format/format.h"

enum { AT_SEAL = 2 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void a_head_is_printed_as_it_was_parsed(const uint8_t *data, size_t size)
{
    otok_head head;
    uint8_t again[OTOK_HEAD_SIZE];
    if (!otok_head_parse((otok_str){data, size}, &head))
        return;
    fuzz_must(size == OTOK_HEAD_SIZE, "a head has one size");
    otok_head_print(&head, again);
    fuzz_must(memcmp(again, data, sizeof again) == 0, "a head is printed as it was parsed");
}

static otok_seal_scope anybody(void)
{
    return (otok_seal_scope){
        .created_us = 1,
        .realm = otok_str_of("https://id.example.org"),
        .subject = otok_str_of("alice"),
        .client = otok_str_of("phone"),
    };
}

static void the_seal_fits_nobody_else(const otok_buf *printed)
{
    otok_seal_scope scope = anybody();
    otok_str bytes = {printed->data, printed->len};
    fuzz_must(otok_body_verify(bytes, &scope, fuzz_mac_key(), NULL) == OTOK_OK, "its own seal fits");
    scope.subject = otok_str_of("mallory");
    fuzz_must(otok_body_verify(bytes, &scope, fuzz_mac_key(), NULL) == OTOK_E_TAMPERED,
              "a body cannot change its subject");
}

static void a_body_is_printed_as_it_was_parsed(const uint8_t *data, size_t size)
{
    otok_body body;
    otok_buf again;
    uint8_t key_id;
    otok_seal_scope scope = anybody();
    int rc = otok_body_parse((otok_str){data, size}, &body, &key_id, NULL);
    fuzz_must(rc == OTOK_OK || rc == OTOK_E_FORMAT, "a body is parsed or refused");
    if (rc != OTOK_OK)
        return;
    otok_buf_init(&again, NULL, 0);
    fuzz_must(otok_body_print(&body, &scope, key_id, fuzz_mac_key(), &again, NULL) == OTOK_OK, "otok_body_print");
    fuzz_must(again.len == size && memcmp(again.data, data, AT_SEAL) == 0 &&
                  memcmp(again.data + AT_SEAL + OTOK_SEAL_SIZE, data + AT_SEAL + OTOK_SEAL_SIZE,
                         size - AT_SEAL - OTOK_SEAL_SIZE) == 0,
              "a body is printed as it was parsed");
    rc = otok_body_verify((otok_str){data, size}, &scope, fuzz_mac_key(), NULL);
    bool same = memcmp(again.data, data, size) == 0;
    fuzz_must(rc == (same ? OTOK_OK : OTOK_E_TAMPERED), "only the right seal fits");
    the_seal_fits_nobody_else(&again);
    otok_buf_free(&again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    a_head_is_printed_as_it_was_parsed(data, size < OTOK_HEAD_SIZE ? size : OTOK_HEAD_SIZE);
    a_body_is_printed_as_it_was_parsed(data, size);
    return 0;
}
