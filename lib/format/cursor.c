/*
 * cursor.c - where a page ended (Q1): key id (1), created_us (8), id (16), MAC (16) over those and the context of the page.
 *
 * SPDX-License-Identifier: MIT
 */
#include "format/format.h"

#include <string.h>

enum { AT_KEY_ID = 0, AT_TIME = 1, AT_ID = 9, AT_MAC = 25, MAC_SIZE = 16, SIZE = 41 };

static int mac_of(const uint8_t fields[AT_MAC], otok_str context, const otok_mac_key *key,
                  uint8_t out[OTOK_SHA256_SIZE], otok_error *err)
{
    return otok_mac(key, (otok_str[]){{fields, AT_MAC}, context}, 2, out, err);
}

static bool decode(const char *text, uint8_t bytes[SIZE])
{
    size_t size = SIZE;
    return text != NULL && strnlen(text, OTOK_CURSOR_CHARS + 1) == OTOK_CURSOR_CHARS &&
           otok_unbase64url(text, OTOK_CURSOR_CHARS, bytes, &size) && size == SIZE;
}

int otok_cursor_print(const otok_cursor *cursor, otok_str context, uint8_t key_id, const otok_mac_key *key,
                      char out[OTOK_CURSOR_CHARS + 1], otok_error *err)
{
    uint8_t bytes[SIZE];
    uint8_t mac[OTOK_SHA256_SIZE];
    bytes[AT_KEY_ID] = key_id;
    otok_put_u64(bytes + AT_TIME, (uint64_t)cursor->created_us);
    memcpy(bytes + AT_ID, cursor->id.bytes, sizeof cursor->id.bytes);
    int rc = mac_of(bytes, context, key, mac, err);
    if (rc != OTOK_OK)
        return rc;
    memcpy(bytes + AT_MAC, mac, MAC_SIZE);
    otok_base64url(bytes, sizeof bytes, out);
    out[OTOK_CURSOR_CHARS] = '\0';
    return OTOK_OK;
}

bool otok_cursor_key_id(const char *text, uint8_t *key_id)
{
    uint8_t bytes[SIZE];
    if (!decode(text, bytes))
        return false;
    *key_id = bytes[AT_KEY_ID];
    return true;
}

int otok_cursor_parse(const char *text, otok_str context, const otok_mac_key *key, otok_cursor *out, otok_error *err)
{
    uint8_t bytes[SIZE];
    uint8_t mac[OTOK_SHA256_SIZE];
    if (!decode(text, bytes))
        return otok_fail(err, OTOK_E_INVALID, "cursor is not one of this library's");
    int rc = mac_of(bytes, context, key, mac, err);
    if (rc != OTOK_OK)
        return rc;
    if (!otok_equal_ct(mac, bytes + AT_MAC, MAC_SIZE))
        return otok_fail(err, OTOK_E_INVALID, "cursor is forged, or from another filter, order or realm");
    out->created_us = (int64_t)otok_get_u64(bytes + AT_TIME);
    memcpy(out->id.bytes, bytes + AT_ID, sizeof out->id.bytes);
    return OTOK_OK;
}
