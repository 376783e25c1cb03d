/*
 * conform_kit.c - what the clauses of the conformance kit are written with.
 *
 * SPDX-License-Identifier: MIT
 */
#include "store/store.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

void otok_kit_fail(otok_kit *kit, const char *format, ...)
{
    if (kit->failed)
        return;
    kit->failed = true;
    va_list args;
    va_start(args, format);
    (void)vsnprintf(kit->detail, sizeof kit->detail, format, args);
    va_end(args);
}

void otok_kit_open(otok_kit *kit, int32_t fresh)
{
    otok_error err = {0};
    otok_store_close(kit->store);
    kit->store = NULL;
    if (kit->failed)
        return;
    int rc = kit->conform->open(kit->conform->user, fresh, &kit->store, &err);
    if (rc != OTOK_OK || kit->store == NULL)
        otok_kit_fail(kit, "open(fresh = %d) returned %s (%s)", (int)fresh, otok_error_name(rc), err.message);
}

void otok_kit_clear(otok_kit *kit)
{
    while (kit->nrows > 0)
        otok_record_free(kit->rows[--kit->nrows]);
}

/* splitmix64 (Steele, Lea and Flood 2014): the kit's seed must mean the same everywhere. */
uint64_t otok_kit_random(otok_kit *kit, uint64_t below)
{
    uint64_t z = kit->random += UINT64_C(0x9e3779b97f4a7c15);
    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return (z ^ (z >> 31)) % below;
}

/* ------------------------------------------------------------------------------------------------------------- samples */

otok_id otok_kit_id(uint32_t number)
{
    otok_id id;
    otok_put_u32(id.bytes, number);
    memset(id.bytes + 4, 0xa5, sizeof id.bytes - 4);
    return id;
}

static uint32_t number_of(const otok_id *id)
{
    return otok_get_u32(id->bytes);
}

otok_index_key otok_kit_key(uint32_t index, uint8_t fill)
{
    otok_index_key key = {.index = index};
    memset(key.digest, fill, sizeof key.digest);
    return key;
}

void otok_kit_body(const otok_kit *kit, otok_sample *sample, size_t offset, size_t len)
{
    sample->record.body = (otok_str){.data = kit->noise + offset % 256, .len = len};
}

void otok_kit_sample(const otok_kit *kit, otok_sample *sample, uint32_t number)
{
    memset(sample, 0, sizeof *sample);
    sample->record = (otok_record){
        .size = sizeof(otok_record),
        .kind = OTOK_RECORD_SESSION,
        .id = otok_kit_id(number),
        .version = UINT64_C(0x9000000000000000) + number,
        .created_us = number,
        .sweep_us = 1000000 + (int64_t)number,
        .keys = sample->keys,
        .links = sample->links,
        .realm = {.data = "realm", .len = 5},
        .subject = {.data = "subject \xc3\xbc", .len = 10},
        .client = {.data = "client", .len = 6},
        .head = {.data = kit->noise + number % 200, .len = 20},
    };
    otok_kit_body(kit, sample, number, 200 + number % 100);
}

void otok_kit_add_key(otok_sample *sample, uint32_t index, uint8_t fill)
{
    sample->keys[sample->record.nkeys++] = otok_kit_key(index, fill);
}

void otok_kit_add_link(otok_sample *sample, uint32_t number)
{
    sample->links[sample->record.nlinks++] = otok_kit_id(number);
}

/* ------------------------------------------------------------------------------------------------------------- writes */

void otok_kit_commit(otok_kit *kit, otok_group *groups, size_t n)
{
    otok_error err = {0};
    if (kit->failed)
        return;
    int rc = otok_store_commit(kit->store, groups, n, &err);
    if (rc != OTOK_OK)
        otok_kit_fail(kit, "commit of %zu groups returned %s (%s), expected OTOK_OK", n, otok_error_name(rc),
                      err.message);
}

void otok_kit_expect_result(otok_kit *kit, const otok_group *group, int result, const char *what)
{
    if (!kit->failed && group->result != result)
        otok_kit_fail(kit, "%s: expected %s, the group's result is %s (%s)", what, otok_error_name(result),
                      otok_error_name(group->result), group->error.message);
}

void otok_kit_write(otok_kit *kit, uint32_t op, uint64_t expect, const otok_record *record, int result,
                    const char *what)
{
    otok_write write = {.op = op, .expect = expect, .record = record};
    otok_group group = {.writes = &write, .n = 1};
    otok_kit_commit(kit, &group, 1);
    otok_kit_expect_result(kit, &group, result, what);
}

void otok_kit_insert(otok_kit *kit, const otok_sample *sample)
{
    otok_kit_write(kit, OTOK_WRITE_INSERT, 0, &sample->record, OTOK_OK, "INSERT of a new id");
}

void otok_kit_insert_range(otok_kit *kit, uint32_t first, uint32_t n, void (*shape)(otok_kit *kit, otok_sample *sample))
{
    for (uint32_t done = 0; done < n && !kit->failed;) {
        otok_write writes[OTOK_KIT_SAMPLES];
        otok_group group = {.writes = writes};
        for (; group.n < OTOK_KIT_SAMPLES && done < n; group.n++, done++) {
            otok_sample *sample = &kit->samples[group.n];
            otok_kit_sample(kit, sample, first + done);
            if (shape != NULL)
                shape(kit, sample);
            writes[group.n] = (otok_write){.op = OTOK_WRITE_INSERT, .record = &sample->record};
        }
        otok_kit_commit(kit, &group, 1);
        otok_kit_expect_result(kit, &group, OTOK_OK, "INSERT of up to 64 new ids");
    }
}

/* ------------------------------------------------------------------------------------------------------------- reads */

static bool row_add(otok_kit *kit, const otok_record *record)
{
    if (kit->nrows == kit->room) {
        size_t room = kit->room * 2 + 64;
        otok_record **rows = otok_realloc(kit->rows, room * sizeof(otok_record *));
        if (rows == NULL)
            return false;
        kit->rows = rows;
        kit->room = room;
    }
    otok_record *copy = otok_record_copy(record);
    if (copy == NULL)
        return false;
    copy->size = record->size;
    kit->rows[kit->nrows++] = copy;
    return true;
}

static int collect(void *arg, const otok_record *record)
{
    enum { END = 7 };
    otok_kit *kit = arg;
    if (!row_add(kit, record)) {
        kit->short_of_memory = true;
        kit->failed = true;
        return END;
    }
    return kit->stop_after != 0 && kit->nrows >= kit->stop_after ? END : 0;
}

static void expect_read(otok_kit *kit, const char *function, int rc, const otok_error *err, const char *what)
{
    if (rc != OTOK_OK)
        otok_kit_fail(kit, "%s: %s returned %s (%s), expected OTOK_OK", what, function, otok_error_name(rc),
                      err->message);
    if (kit->stop_after != 0 && kit->nrows > kit->stop_after)
        otok_kit_fail(kit, "%s: %s emitted %zu records; emit asked for the end at record %zu", what, function,
                      kit->nrows, kit->stop_after);
}

void otok_kit_fetch(otok_kit *kit, const otok_id *ids, size_t n, uint32_t flags, const char *what)
{
    otok_error err = {0};
    otok_kit_clear(kit);
    if (!kit->failed)
        expect_read(kit, "fetch", otok_store_fetch(kit->store, ids, n, flags, collect, kit, &err), &err, what);
}

void otok_kit_scan(otok_kit *kit, const otok_scan *scan, const char *what)
{
    otok_error err = {0};
    otok_kit_clear(kit);
    if (!kit->failed)
        expect_read(kit, "scan", otok_store_scan(kit->store, scan, collect, kit, &err), &err, what);
    if (kit->nrows > scan->limit)
        otok_kit_fail(kit, "%s: scan emitted %zu records, the limit is %" PRIu32, what, kit->nrows, scan->limit);
}

otok_scan otok_kit_scan_of(uint32_t index, uint8_t fill, uint32_t flags, uint32_t limit)
{
    return (otok_scan){.size = sizeof(otok_scan), .key = otok_kit_key(index, fill), .flags = flags, .limit = limit};
}

/* ------------------------------------------------------------------------------------------------------------- comparing */

static void expect_i64(otok_kit *kit, const char *member, int64_t want, int64_t seen, const char *what)
{
    if (want != seen)
        otok_kit_fail(kit, "%s: %s is %" PRId64 ", expected %" PRId64, what, member, seen, want);
}

static void expect_u64(otok_kit *kit, const char *member, uint64_t want, uint64_t seen, const char *what)
{
    if (want != seen)
        otok_kit_fail(kit, "%s: %s is %" PRIu64 ", expected %" PRIu64, what, member, seen, want);
}

static void expect_bytes(otok_kit *kit, const char *member, otok_str want, otok_str seen, const char *what)
{
    size_t at = 0;
    if (want.len != seen.len) {
        otok_kit_fail(kit, "%s: %s has %zu bytes, expected %zu", what, member, seen.len, want.len);
    } else if (!otok_str_eq(want, seen)) {
        const uint8_t *a = want.data, *b = seen.data;
        while (a[at] == b[at])
            at++;
        otok_kit_fail(kit, "%s: %s differs at byte %zu of %zu: 0x%02x, expected 0x%02x", what, member, at, want.len,
                      b[at], a[at]);
    }
}

/* In any order: no two keys of a record have the same index. */
static void expect_keys(otok_kit *kit, const otok_record *want, const otok_record *seen, const char *what)
{
    expect_u64(kit, "nkeys", want->nkeys, seen->nkeys, what);
    for (size_t i = 0; i < want->nkeys && !kit->failed; i++) {
        size_t j = 0;
        while (j < seen->nkeys &&
               (seen->keys[j].index != want->keys[i].index ||
                memcmp(seen->keys[j].digest, want->keys[i].digest, sizeof want->keys[i].digest) != 0))
            j++;
        if (j == seen->nkeys)
            otok_kit_fail(kit, "%s: the key of index %" PRIu32 " is missing or another", what, want->keys[i].index);
    }
}

void otok_kit_expect_same(otok_kit *kit, const otok_record *want, const otok_record *seen, const char *what)
{
    if (kit->failed)
        return;
    expect_bytes(kit, "id", (otok_str){want->id.bytes, sizeof want->id}, (otok_str){seen->id.bytes, sizeof seen->id},
                 what);
    expect_u64(kit, "size", sizeof(otok_record), seen->size, what);
    expect_u64(kit, "kind", want->kind, seen->kind, what);
    expect_u64(kit, "version", want->version, seen->version, what);
    expect_i64(kit, "created_us", want->created_us, seen->created_us, what);
    expect_i64(kit, "sweep_us", want->sweep_us, seen->sweep_us, what);
    expect_keys(kit, want, seen, what);
    expect_bytes(kit, "links", (otok_str){want->links, want->nlinks * sizeof(otok_id)},
                 (otok_str){seen->links, seen->nlinks * sizeof(otok_id)}, what);
    expect_bytes(kit, "realm", want->realm, seen->realm, what);
    expect_bytes(kit, "subject", want->subject, seen->subject, what);
    expect_bytes(kit, "client", want->client, seen->client, what);
    expect_bytes(kit, "head", want->head, seen->head, what);
    expect_bytes(kit, "body", want->body, seen->body, what);
}

void otok_kit_expect_record(otok_kit *kit, const otok_record *want, const char *what)
{
    otok_kit_fetch(kit, &want->id, 1, 0, what);
    if (kit->failed)
        return;
    if (kit->nrows != 1)
        otok_kit_fail(kit, "%s: fetch of one stored record emitted %zu", what, kit->nrows);
    else
        otok_kit_expect_same(kit, want, kit->rows[0], what);
}

void otok_kit_expect_absent(otok_kit *kit, const otok_id *id, const char *what)
{
    otok_kit_fetch(kit, id, 1, 0, what);
    if (!kit->failed && kit->nrows != 0)
        otok_kit_fail(kit, "%s: fetch emitted %zu records, expected none", what, kit->nrows);
}

void otok_kit_expect_fetched(otok_kit *kit, const uint32_t *numbers, size_t n, const char *what)
{
    for (size_t i = 0; i < n && !kit->failed; i++) {
        size_t times = 0;
        for (size_t j = 0; j < kit->nrows; j++)
            times += number_of(&kit->rows[j]->id) == numbers[i];
        if (times != 1)
            otok_kit_fail(kit, "%s: record %" PRIu32 " was emitted %zu times, expected once", what, numbers[i], times);
    }
    if (!kit->failed && kit->nrows != n)
        otok_kit_fail(kit, "%s: fetch emitted %zu records, expected %zu", what, kit->nrows, n);
}

void otok_kit_expect_rows(otok_kit *kit, const otok_scan *scan, const uint32_t *numbers, size_t n, const char *what)
{
    otok_kit_scan(kit, scan, what);
    for (size_t i = 0; i < n && i < kit->nrows && !kit->failed; i++) {
        if (number_of(&kit->rows[i]->id) != numbers[i])
            otok_kit_fail(kit, "%s: row %zu of the scan is record %" PRIu32 ", expected %" PRIu32, what, i,
                          number_of(&kit->rows[i]->id), numbers[i]);
    }
    if (!kit->failed && kit->nrows != n)
        otok_kit_fail(kit, "%s: the scan emitted %zu records, expected %zu", what, kit->nrows, n);
}

void otok_kit_expect_count(otok_kit *kit, otok_index_key key, uint64_t want, const char *what)
{
    otok_error err = {0};
    uint64_t seen = 0;
    if (kit->failed)
        return;
    int rc = otok_store_count(kit->store, &key, &seen, &err);
    if (rc != OTOK_OK)
        otok_kit_fail(kit, "%s: count returned %s (%s), expected OTOK_OK", what, otok_error_name(rc), err.message);
    else if (seen != want)
        otok_kit_fail(kit, "%s: count is %" PRIu64 ", expected %" PRIu64, what, seen, want);
}
