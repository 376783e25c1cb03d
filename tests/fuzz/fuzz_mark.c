/*
 * fuzz_mark.c - the records beside sessions, out of a database that anybody may have edited: each is refused, or is exactly what
 * would be printed for what was read.
 *
 * An input is the body of a mark whole, its head in the first 16 bytes, what is good for once in the first 35.
 *
 * SPDX-License-Identifier: MIT
 */
#include "support/fuzzing.h"

#include <string.h>

#include "format/format.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* The front of an input. */
static otok_str front(const uint8_t *data, size_t size, size_t most)
{
    return (otok_str){data, size < most ? size : most};
}

static void a_head_is_printed_as_it_was_parsed(otok_str bytes)
{
    otok_mark_head head;
    uint8_t again[OTOK_MARK_HEAD_SIZE];
    if (!otok_mark_head_parse(bytes, &head))
        return;
    otok_mark_head_print(&head, again);
    fuzz_must(bytes.len == sizeof again && memcmp(again, bytes.data, sizeof again) == 0,
              "a head is printed as it was parsed");
}

static void once_is_printed_as_it_was_parsed(otok_str bytes)
{
    otok_once once;
    uint8_t again[OTOK_ONCE_SIZE];
    if (!otok_once_parse(bytes, &once))
        return;
    otok_once_print(&once, again);
    fuzz_must(bytes.len == sizeof again && memcmp(again, bytes.data, sizeof again) == 0,
              "what is good for once is printed as it was parsed");
}

static void a_body_is_printed_as_it_was_parsed(otok_str bytes)
{
    otok_mark_body body;
    otok_buf again;
    if (!otok_mark_body_parse(bytes, &body))
        return;
    otok_buf_init(&again, NULL, 0);
    fuzz_must(otok_mark_body_print(&body, &again), "a body that was parsed is printed");
    fuzz_must(again.len == bytes.len && memcmp(again.data, bytes.data, again.len) == 0,
              "a body is printed as it was parsed");
    otok_buf_free(&again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    a_head_is_printed_as_it_was_parsed(front(data, size, OTOK_MARK_HEAD_SIZE));
    once_is_printed_as_it_was_parsed(front(data, size, OTOK_ONCE_SIZE));
    a_body_is_printed_as_it_was_parsed((otok_str){data, size});
    return 0;
}
