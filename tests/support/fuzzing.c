/*
 * fuzzing.c
 *
 * SPDX-License-Identifier: MIT
 */
#include "support/fuzzing.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void fuzz_must(bool is_so, const char *what)
{
    if (is_so)
        return;
    (void)fprintf(stderr, "does not hold: %s\n", what);
    abort();
}

uint8_t fuzz_byte(fuzz_input *input)
{
    if (input->len == 0)
        return 0;
    input->len--;
    return *input->data++;
}

void fuzz_bytes(fuzz_input *input, void *out, size_t len)
{
    for (size_t i = 0; i < len; i++)
        ((uint8_t *)out)[i] = fuzz_byte(input);
}

char *fuzz_text(fuzz_input *input)
{
    size_t len = 0;
    while (len < input->len && input->data[len] != '\0')
        len++;
    char *text = malloc(len + 1);
    fuzz_must(text != NULL, "memory");
    if (len != 0)
        memcpy(text, input->data, len);
    text[len] = '\0';
    input->data += len;
    input->len -= len;
    (void)fuzz_byte(input); /* the NUL */
    return text;
}

const otok_mac_key *fuzz_mac_key(void)
{
    static const uint8_t bytes[OTOK_KEY_SIZE] = "a key that is known to everybody";
    static otok_mac_key *key;
    if (key == NULL)
        fuzz_must(otok_mac_key_new(bytes, &key, NULL) == OTOK_OK, "otok_mac_key_new");
    return key;
}
