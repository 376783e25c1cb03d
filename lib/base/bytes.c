/*
 * bytes.c - buffers, readers, big-endian numbers.
 *
 * SPDX-License-Identifier: MIT
 */
#include "base/base.h"

#include <string.h>

enum { FIRST_ROOM = 256 };

void otok_buf_init(otok_buf *buf, void *lent, size_t room)
{
    *buf = (otok_buf){.data = lent, .room = room, .lent = lent};
}

/* Never realloc(): what the buffer held may be secret, so the old place is wiped before it is given back. */
bool otok_buf_reserve(otok_buf *buf, size_t more)
{
    size_t need;
    if (buf->failed || !otok_size_add(buf->len, more, &need)) {
        buf->failed = true;
        return false;
    }
    if (need <= buf->room)
        return true;
    size_t room = buf->room < FIRST_ROOM ? FIRST_ROOM : buf->room;
    while (room < need) {
        if (!otok_size_mul(room, 2, &room))
            room = need;
    }
    uint8_t *data = otok_malloc(room);
    if (data == NULL) {
        buf->failed = true;
        return false;
    }
    if (buf->len != 0)
        memcpy(data, buf->data, buf->len);
    otok_wipe(buf->data, buf->len);
    if (buf->data != buf->lent)
        otok_free(buf->data);
    buf->data = data;
    buf->room = room;
    return true;
}

void otok_buf_add(otok_buf *buf, const void *data, size_t len)
{
    if (len != 0 && otok_buf_reserve(buf, len)) {
        memcpy(buf->data + buf->len, data, len);
        buf->len += len;
    }
}

void otok_buf_add_u8(otok_buf *buf, uint8_t value)
{
    otok_buf_add(buf, &value, 1);
}

void otok_buf_add_u16(otok_buf *buf, uint16_t value)
{
    uint8_t bytes[2];
    otok_put_u16(bytes, value);
    otok_buf_add(buf, bytes, sizeof bytes);
}

void otok_buf_add_u32(otok_buf *buf, uint32_t value)
{
    uint8_t bytes[4];
    otok_put_u32(bytes, value);
    otok_buf_add(buf, bytes, sizeof bytes);
}

void otok_buf_add_u64(otok_buf *buf, uint64_t value)
{
    uint8_t bytes[8];
    otok_put_u64(bytes, value);
    otok_buf_add(buf, bytes, sizeof bytes);
}

void otok_buf_add_text(otok_buf *buf, const char *text)
{
    otok_buf_add(buf, text, strlen(text));
}

void otok_buf_free(otok_buf *buf)
{
    otok_wipe(buf->data, buf->len);
    if (buf->data != buf->lent)
        otok_free(buf->data);
    otok_buf_init(buf, NULL, 0);
}

otok_reader otok_reader_of(const void *data, size_t len)
{
    return (otok_reader){.data = data, .len = len};
}

const uint8_t *otok_read(otok_reader *reader, size_t len)
{
    if (reader->failed || len > reader->len) {
        reader->failed = true;
        return NULL;
    }
    const uint8_t *at = reader->data;
    reader->data += len;
    reader->len -= len;
    return at;
}

uint8_t otok_read_u8(otok_reader *reader)
{
    const uint8_t *at = otok_read(reader, 1);
    return at != NULL ? *at : 0;
}

uint16_t otok_read_u16(otok_reader *reader)
{
    const uint8_t *at = otok_read(reader, 2);
    return at != NULL ? otok_get_u16(at) : 0;
}

uint32_t otok_read_u32(otok_reader *reader)
{
    const uint8_t *at = otok_read(reader, 4);
    return at != NULL ? otok_get_u32(at) : 0;
}

uint64_t otok_read_u64(otok_reader *reader)
{
    const uint8_t *at = otok_read(reader, 8);
    return at != NULL ? otok_get_u64(at) : 0;
}

static void put(uint8_t *out, uint64_t value, size_t bytes)
{
    for (size_t i = 0; i < bytes; i++)
        out[i] = (uint8_t)(value >> (8 * (bytes - 1 - i)));
}

static uint64_t get(const uint8_t *in, size_t bytes)
{
    uint64_t value = 0;
    for (size_t i = 0; i < bytes; i++)
        value = value << 8 | in[i];
    return value;
}

void otok_put_u16(uint8_t *out, uint16_t value)
{
    put(out, value, 2);
}

void otok_put_u32(uint8_t *out, uint32_t value)
{
    put(out, value, 4);
}

void otok_put_u48(uint8_t *out, uint64_t value)
{
    put(out, value, 6);
}

void otok_put_u64(uint8_t *out, uint64_t value)
{
    put(out, value, 8);
}

uint16_t otok_get_u16(const uint8_t *in)
{
    return (uint16_t)get(in, 2);
}

uint32_t otok_get_u32(const uint8_t *in)
{
    return (uint32_t)get(in, 4);
}

uint64_t otok_get_u48(const uint8_t *in)
{
    return get(in, 6);
}

uint64_t otok_get_u64(const uint8_t *in)
{
    return get(in, 8);
}

otok_str otok_str_of(const char *text)
{
    return (otok_str){.data = text, .len = text != NULL ? strlen(text) : 0};
}

bool otok_str_eq(otok_str a, otok_str b)
{
    return a.len == b.len && (a.len == 0 || memcmp(a.data, b.data, a.len) == 0);
}

int otok_id_compare(const otok_id *a, const otok_id *b)
{
    return memcmp(a->bytes, b->bytes, sizeof a->bytes);
}
