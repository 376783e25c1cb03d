/*
 * fuzz_cursor.c - cursors of lists (Q1): only what was printed for this page, under this key, is ever taken.
 *
 * An input is a text, or (first byte 1) a cursor's fields, a context, and bytes that spoil the text or the context.
 *
 * SPDX-License-Identifier: MIT
 */
#include "support/fuzzing.h"

#include <stdlib.h>
#include <string.h>

#include "format/format.h"

enum { KEY_ID = 7, CONTEXT = 21 };

/* base64url; and what the last character of 41 bytes can be, whose two spare bits are 0. */
static const char ALPHABET[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
static const char LAST_CHARS[] = "AEIMQUYcgkosw048";

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Who does not have the key does not find a cursor: an engine neither. */
static void a_text_out_of_nowhere_is_refused(const char *text)
{
    static const otok_str context = {"a page", 6};
    otok_cursor cursor;
    uint8_t key_id;
    bool is_whole = strlen(text) == OTOK_CURSOR_CHARS && strspn(text, ALPHABET) == OTOK_CURSOR_CHARS &&
                    strchr(LAST_CHARS, text[OTOK_CURSOR_CHARS - 1]) != NULL;
    fuzz_must(otok_cursor_key_id(text, &key_id) == is_whole, "a cursor tells its key when it is whole");
    fuzz_must(otok_cursor_parse(text, context, fuzz_mac_key(), &cursor, NULL) == OTOK_E_INVALID,
              "a forged cursor is refused");
}

static void a_cursor_is_for_one_page_only(fuzz_input *input)
{
    otok_cursor cursor, back;
    uint8_t context[CONTEXT], key_id = 0, what;
    char text[OTOK_CURSOR_CHARS + 1], spoilt[OTOK_CURSOR_CHARS + 1];
    memset(&cursor, 0, sizeof cursor);
    fuzz_bytes(input, &cursor.created_us, sizeof cursor.created_us);
    fuzz_bytes(input, &cursor.id, sizeof cursor.id);
    fuzz_bytes(input, context, sizeof context);
    otok_str page = {context, sizeof context};
    fuzz_must(otok_cursor_print(&cursor, page, KEY_ID, fuzz_mac_key(), text, NULL) == OTOK_OK, "otok_cursor_print");
    fuzz_must(otok_cursor_key_id(text, &key_id) && key_id == KEY_ID, "a cursor tells its key");
    fuzz_must(otok_cursor_parse(text, page, fuzz_mac_key(), &back, NULL) == OTOK_OK, "what is printed can be parsed");
    fuzz_must(back.created_us == cursor.created_us && otok_id_compare(&back.id, &cursor.id) == 0, "and says the same");

    uint8_t other[CONTEXT];
    memcpy(other, context, sizeof other);
    memcpy(spoilt, text, sizeof text);
    while (input->len > 0) {
        what = fuzz_byte(input);
        if (what % 2 == 0)
            spoilt[what / 2 % OTOK_CURSOR_CHARS] ^= (char)fuzz_byte(input);
        else
            other[what / 2 % CONTEXT] ^= fuzz_byte(input);
    }
    if (strcmp(spoilt, text) == 0 && memcmp(other, context, sizeof other) == 0)
        return;
    page.data = other;
    fuzz_must(otok_cursor_parse(spoilt, page, fuzz_mac_key(), &back, NULL) == OTOK_E_INVALID,
              "another page's cursor is refused");
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    fuzz_input input = {data, size};
    if (size > 0 && data[0] == 1) {
        (void)fuzz_byte(&input);
        a_cursor_is_for_one_page_only(&input);
        return 0;
    }
    char *text = fuzz_text(&input);
    a_text_out_of_nowhere_is_refused(text);
    free(text);
    return 0;
}
