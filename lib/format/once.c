/*
 * once.c - the record of what is good for once.
 *
 * SPDX-License-Identifier: MIT
 */
#include "format/format.h"

#include <string.h>

enum { FORMAT = 1, AT_KEY_ID = 1, AT_ADOPTED = 2, AT_SESSION = 3, AT_USED = 19, AT_ENDS = 27 };

void otok_once_print(const otok_once *once, uint8_t out[OTOK_ONCE_SIZE])
{
    out[0] = FORMAT;
    out[AT_KEY_ID] = once->key_id;
    out[AT_ADOPTED] = once->adopted != 0;
    memcpy(out + AT_SESSION, once->session.bytes, sizeof once->session.bytes);
    otok_put_u64(out + AT_USED, (uint64_t)once->used_us);
    otok_put_u64(out + AT_ENDS, (uint64_t)once->ends_us);
}

bool otok_once_parse(otok_str bytes, otok_once *out)
{
    const uint8_t *in = bytes.data;
    if (bytes.len != OTOK_ONCE_SIZE || in[0] != FORMAT || in[AT_ADOPTED] > 1)
        return false;
    out->key_id = in[AT_KEY_ID];
    out->adopted = in[AT_ADOPTED];
    memcpy(out->session.bytes, in + AT_SESSION, sizeof out->session.bytes);
    out->used_us = (int64_t)otok_get_u64(in + AT_USED);
    out->ends_us = (int64_t)otok_get_u64(in + AT_ENDS);
    return true;
}
