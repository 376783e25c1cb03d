/*
 * fuzz_token.c - texts that claim to be tokens or session ids: what is parsed is what would be printed, and a MAC fits
 * one text only.
 *
 * An input is a text, or (first byte 1) the fields of a token that is printed under a known key, and bytes that spoil
 * it.
 *
 * SPDX-License-Identifier: MIT
 */
#include "support/fuzzing.h"

#include <stdlib.h>
#include <string.h>

#include "format/format.h"

enum { PREFIX_CHARS = 5, WHOLE_CHARS_BEFORE_MAC = 37 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void a_session_id_is_printed_as_it_was_parsed(const char *text)
{
    otok_id id;
    char again[OTOK_SESSION_ID_CHARS + 1];
    if (!otok_session_id_parse(text, &id))
        return;
    otok_session_id_print(&id, again);
    fuzz_must(strcmp(text, again) == 0, "a session id is printed as it was parsed");
}

/* What is before the MAC; with the right MAC behind it, it is the whole token. */
static void a_token_is_printed_as_it_was_parsed(const char *text)
{
    otok_presented presented;
    char again[OTOK_TOKEN_CHARS + 1];
    if (!otok_token_parse(text, &presented))
        return;
    fuzz_must(strlen(text) == OTOK_TOKEN_CHARS, "a token has one length");
    fuzz_must(otok_token_print(&presented.token, fuzz_mac_key(), again, NULL) == OTOK_OK, "otok_token_print");
    fuzz_must(memcmp(text, again, PREFIX_CHARS + WHOLE_CHARS_BEFORE_MAC) == 0, "a token is printed as it was parsed");
    int rc = otok_token_verify(&presented, fuzz_mac_key(), NULL);
    fuzz_must((rc == OTOK_OK) == (strcmp(text, again) == 0), "a MAC fits one text only");
    fuzz_must(rc == OTOK_OK || rc == OTOK_E_TOKEN_INVALID, "a bad MAC is an invalid token");
}

static void a_token_that_was_spoilt_is_refused(fuzz_input *input)
{
    otok_token token = {0};
    otok_presented presented;
    char text[OTOK_TOKEN_CHARS + 1], spoilt[OTOK_TOKEN_CHARS + 1];
    token.key_id = fuzz_byte(input);
    fuzz_bytes(input, &token.generation, sizeof token.generation);
    fuzz_bytes(input, &token.issued_ms, 6);
    fuzz_bytes(input, token.handle, sizeof token.handle);
    fuzz_must(otok_token_print(&token, fuzz_mac_key(), text, NULL) == OTOK_OK, "otok_token_print");
    fuzz_must(otok_token_parse(text, &presented), "what is printed can be parsed");
    fuzz_must(memcmp(&presented.token.handle, token.handle, sizeof token.handle) == 0 &&
                  presented.token.generation == token.generation && presented.token.issued_ms == token.issued_ms &&
                  presented.token.key_id == token.key_id,
              "what is printed is parsed as it was");
    fuzz_must(otok_token_verify(&presented, fuzz_mac_key(), NULL) == OTOK_OK, "the MAC fits");

    memcpy(spoilt, text, sizeof text);
    while (input->len > 0) {
        size_t at = fuzz_byte(input) % OTOK_TOKEN_CHARS;
        spoilt[at] = (char)(spoilt[at] ^ (char)fuzz_byte(input));
    }
    if (strcmp(spoilt, text) != 0 && otok_token_parse(spoilt, &presented))
        fuzz_must(otok_token_verify(&presented, fuzz_mac_key(), NULL) == OTOK_E_TOKEN_INVALID,
                  "a spoilt token is refused");
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    fuzz_input input = {data, size};
    if (size > 0 && data[0] == 1) {
        (void)fuzz_byte(&input);
        a_token_that_was_spoilt_is_refused(&input);
        return 0;
    }
    char *text = fuzz_text(&input);
    a_token_is_printed_as_it_was_parsed(text);
    a_session_id_is_printed_as_it_was_parsed(text);
    free(text);
    return 0;
}
