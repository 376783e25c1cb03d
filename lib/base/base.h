/*
 * base/base.h - errors, memory, bytes, text and time: what every folder stands on.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef OTOK_BASE_H
#define OTOK_BASE_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <offlinetok/offlinetok.h>
#include <offlinetok/store.h>

/* ---------------------------------------------------------------------------------------------------- error.c */

#define OTOK_PRINTF(text, first) __attribute__((__format__(__printf__, text, first)))

/* Fills `err` (may be NULL) and returns `code`; errno of the failed call goes in the second form.  Never name a token in it. */
int otok_fail(otok_error *err, int code, const char *format, ...) OTOK_PRINTF(3, 4);
int otok_fail_errno(otok_error *err, int code, int system_errno, const char *format, ...) OTOK_PRINTF(4, 5);

/* The code for an errno: FULL, NOMEM, PERMISSION, NOT_FOUND or IO. */
int otok_error_of_errno(int system_errno);

/* ---------------------------------------------------------------------------------------------------- memory.c */

/* The library's allocator: every allocation of ours goes through these four, so that tests can make each one fail. */
void *otok_malloc(size_t size);
void *otok_calloc(size_t count, size_t size);
void *otok_realloc(void *old, size_t size);
void otok_free(void *old);

char *otok_strdup(const char *text); /* NULL of NULL */
char *otok_strndup(const void *text, size_t len);

/* Overwrites secrets in a way that the compiler keeps; the second frees too (both take NULL). */
void otok_wipe(void *secret, size_t size);
void otok_wipe_free(void *secret, size_t size);

/* out = a + b, a * b; false when it does not fit. */
bool otok_size_add(size_t a, size_t b, size_t *out);
bool otok_size_mul(size_t a, size_t b, size_t *out);

/* Sum of two times or durations, stopping at INT64_MIN and INT64_MAX (OTOK_UNLIMITED) in place of overflowing. */
int64_t otok_time_add(int64_t a, int64_t b);
int64_t otok_seconds_to_us(int64_t seconds); /* OTOK_UNLIMITED stays OTOK_UNLIMITED */

/* ---------------------------------------------------------------------------------------------------- bytes.c */

/*
 * A growing buffer over storage that the caller may lend it first.  The first failed append sticks: check `failed` once, at the
 * end.  Freed with otok_buf_free(), which wipes.
 */
typedef struct otok_buf {
    uint8_t *data;
    size_t len;
    size_t room;
    uint8_t *lent;
    bool failed;
} otok_buf;

void otok_buf_init(otok_buf *buf, void *lent, size_t room); /* NULL, 0: grows on the heap from the start */
bool otok_buf_reserve(otok_buf *buf, size_t more);
void otok_buf_add(otok_buf *buf, const void *data, size_t len);
void otok_buf_add_u8(otok_buf *buf, uint8_t value);
void otok_buf_add_u16(otok_buf *buf, uint16_t value); /* big-endian, as all that follow */
void otok_buf_add_u32(otok_buf *buf, uint32_t value);
void otok_buf_add_u64(otok_buf *buf, uint64_t value);
void otok_buf_add_text(otok_buf *buf, const char *text);
void otok_buf_free(otok_buf *buf);

/* A reader that never passes the end: a short read gives zeroes and sticks in `failed`. */
typedef struct otok_reader {
    const uint8_t *data;
    size_t len;
    bool failed;
} otok_reader;

otok_reader otok_reader_of(const void *data, size_t len);
const uint8_t *otok_read(otok_reader *reader, size_t len); /* NULL when short */
uint8_t otok_read_u8(otok_reader *reader);
uint16_t otok_read_u16(otok_reader *reader);
uint32_t otok_read_u32(otok_reader *reader);
uint64_t otok_read_u64(otok_reader *reader);

void otok_put_u16(uint8_t *out, uint16_t value);
void otok_put_u32(uint8_t *out, uint32_t value);
void otok_put_u48(uint8_t *out, uint64_t value);
void otok_put_u64(uint8_t *out, uint64_t value);
uint16_t otok_get_u16(const uint8_t *in);
uint32_t otok_get_u32(const uint8_t *in);
uint64_t otok_get_u48(const uint8_t *in);
uint64_t otok_get_u64(const uint8_t *in);

otok_str otok_str_of(const char *text); /* {NULL, 0} of NULL */
bool otok_str_eq(otok_str a, otok_str b);
int otok_id_compare(const otok_id *a, const otok_id *b);

/* ---------------------------------------------------------------------------------------------------- text.c */

/* Strict UTF-8 (RFC 3629) without control characters (U+0000 to U+001F, U+007F to U+009F). */
bool otok_text_is_clean(const void *text, size_t len);

/* Strict UTF-8 in which any character may stand but NUL. */
bool otok_text_is_utf8(const void *text, size_t len);

/* Of ASCII; other bytes are themselves, whatever the locale. */
char otok_lower(char c);

/* The longest prefix of at most `bound` bytes that does not cut a character in two. */
size_t otok_text_cut(const void *text, size_t len, size_t bound);

/*
 * Checks a text argument and gives its length: OTOK_E_INVALID, naming `field`, when it is longer than `bound`, not clean,
 * or (`required`) NULL or empty.  NULL gives 0.  `len` may be NULL.
 */
int otok_text_check(const char *text, size_t bound, bool required, const char *field, size_t *len, otok_error *err);

/* The same for a table of them: the first that is wrong. */
typedef struct otok_text_rule {
    const char *text, *field;
    size_t bound;
    bool required;
} otok_text_rule;

int otok_texts_check(const otok_text_rule *rules, size_t n, otok_error *err);

/* Numbers that stand for a choice, 0 to `last`: `code`, naming the field of the first that is none. */
typedef struct otok_choice_rule {
    int32_t value, last;
    const char *field;
} otok_choice_rule;

int otok_choices_check(const otok_choice_rule *rules, size_t n, int code, otok_error *err);

/* ---------------------------------------------------------------------------------------------------- structs.c */

/*
 * Reads a struct that begins with `size_t size` and may be of an older or a newer header into `known` bytes at `out`:
 * OTOK_E_INVALID, naming `what`, when it is smaller than `least` or has something else than 0 beyond what is known.
 */
int otok_struct_read(void *out, size_t known, const void *in, size_t least, const char *what, otok_error *err);

/* Zeroes `size` bytes and sets the size member; the body of every otok_x_init(). */
void otok_struct_init(void *out, size_t size);

/*
 * A struct of results that the caller lends, or does not (NULL): checked before the work, OTOK_E_INVALID when its size is not set; given
 * afterwards as much of `from`, of `known` bytes, as it has room for.
 */
int otok_struct_lent(const void *out, const char *what, otok_error *err);
void otok_struct_give(void *out, const void *from, size_t known);

/* ---------------------------------------------------------------------------------------------------- time.c */

#define OTOK_US_PER_S  INT64_C(1000000)
#define OTOK_US_PER_MS INT64_C(1000)

int64_t otok_clock_now_us(void);       /* CLOCK_REALTIME */
int64_t otok_clock_monotonic_us(void); /* CLOCK_MONOTONIC, for deadlines */

/* ---------------------------------------------------------------------------------------------------- seen.c */

/* What was seen not long ago: a bounded set of digests, each until its time is over.  Shared by threads. */
typedef struct otok_seen otok_seen;

enum { OTOK_SEEN_SIZE = 16 };
enum {
    OTOK_SEEN_NEW = 0,
    OTOK_SEEN_BEFORE = 1,
    OTOK_SEEN_FULL =
        2, /* as many of this user, of this client, or of all as there may be are still good; it was not added */
    OTOK_SEEN_UNKNOWN = 3 /* one of its time may have been let go, for the clock was set back; it was not added */
};

/* Who showed it, by digests of their names: of whose shares it takes room. */
typedef struct otok_seen_by {
    uint64_t user, client;
} otok_seen_by;

/* `salt` is secret, and random. */
int otok_seen_new(size_t most, uint64_t salt, otok_seen **out, otok_error *err);
void otok_seen_free(otok_seen *seen);

/* Adds it, unless it is there. */
int otok_seen_add(otok_seen *seen, const uint8_t digest[OTOK_SEEN_SIZE], const otok_seen_by *by, int64_t until_us,
                  int64_t now_us);

#endif
