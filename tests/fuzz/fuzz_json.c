/*
 * fuzz_json.c - what is taken as JSON can be read, and printed as JSON that prints the same.
 *
 * SPDX-License-Identifier: MIT
 */
#include "format/format.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int visit(void *arg, const char *name, const otok_json *value)
{
    int64_t number;
    const otok_json *object = arg;
    if (otok_json_member(object, name) != value) /* names are unique, so each finds its own */
        abort();
    (void)otok_json_integer(object, name, &number);
    return otok_json_each(value, visit, (void *)(uintptr_t)value);
}

static void print(const otok_json *json, otok_buf *out)
{
    otok_buf_init(out, NULL, 0);
    otok_json_print(json, out);
    if (out->failed)
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    otok_json *json, *again;
    otok_buf first, second;
    if (otok_json_parse((const char *)data, size, "input", &json, NULL) != OTOK_OK)
        return 0;
    (void)otok_json_each(json, visit, json);
    print(json, &first);
    if (otok_json_parse_long((const char *)first.data, first.len, 1 << 20, "output", &again, NULL) != OTOK_OK)
        abort();
    print(again, &second);
    if (first.len != second.len || memcmp(first.data, second.data, first.len) != 0)
        abort();
    otok_buf_free(&first);
    otok_buf_free(&second);
    otok_json_free(json);
    otok_json_free(again);
    return 0;
}
