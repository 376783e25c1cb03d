/*
 * conform_order.c - clauses: the order of an index, and where a scan begins and ends.
 *
 * SPDX-License-Identifier: MIT
 */
#include "store/store.h"

#include <string.h>

static void insert_at(otok_kit *kit, uint32_t number, int64_t created_us, int64_t sweep_us)
{
    otok_sample sample;
    otok_kit_sample(kit, &sample, number);
    otok_kit_add_key(&sample, OTOK_INDEX_REALM, 1);
    otok_kit_add_key(&sample, OTOK_INDEX_SWEEP, 1);
    sample.record.created_us = created_us;
    sample.record.sweep_us = sweep_us;
    otok_kit_insert(kit, &sample);
}

static void expect_order(otok_kit *kit, uint32_t index, uint32_t flags, const uint32_t *numbers, size_t n,
                         const char *what)
{
    otok_scan scan = otok_kit_scan_of(index, 1, flags, OTOK_MAX_FETCH);
    otok_kit_expect_rows(kit, &scan, numbers, n, what);
}

static void by_created(otok_kit *kit)
{
    static const int64_t times[] = {300, 100, 500, 200, 400};
    static const uint32_t want[] = {1, 3, 0, 4, 2};
    for (uint32_t i = 0; i < 5; i++)
        insert_at(kit, i, times[i], -times[i]);
    expect_order(kit, OTOK_INDEX_REALM, 0, want, 5, "records of different created_us");
}

static void by_id(otok_kit *kit)
{
    static const uint32_t numbers[] = {0x80000001, 1, 0xff000000, 256, 255, 0x7fffffff};
    static const uint32_t want[] = {1, 255, 256, 0x7fffffff, 0x80000001, 0xff000000};
    for (uint32_t i = 0; i < 6; i++)
        insert_at(kit, numbers[i], 1000, -1000);
    expect_order(kit, OTOK_INDEX_REALM, 0, want, 6, "records of one created_us");
    expect_order(kit, OTOK_INDEX_SWEEP, 0, want, 6, "records of one sweep_us");
}

/* Record i has the i-th time, in both orders. */
static const int64_t signed_times[] = {INT64_MIN, INT64_MIN + 1, -4294967296, -256,       -1,       0,
                                       1,         255,           256,         4294967296, INT64_MAX};
enum { SIGNED_TIMES = sizeof signed_times / sizeof signed_times[0] };

static void with_signs(otok_kit *kit)
{
    uint32_t want[SIGNED_TIMES];
    for (uint32_t i = 0; i < SIGNED_TIMES; i++) {
        uint32_t number = i * 7 % SIGNED_TIMES;
        want[i] = i;
        insert_at(kit, number, signed_times[number], signed_times[number]);
    }
    expect_order(kit, OTOK_INDEX_REALM, 0, want, SIGNED_TIMES, "created_us of both signs");
    expect_order(kit, OTOK_INDEX_SWEEP, 0, want, SIGNED_TIMES, "sweep_us of both signs");
    for (uint32_t i = 0; i < SIGNED_TIMES; i++) {
        otok_scan scan = otok_kit_scan_of(OTOK_INDEX_REALM, 1, OTOK_SCAN_AFTER, OTOK_MAX_FETCH);
        scan.after_us = signed_times[i];
        scan.after = otok_kit_id(i);
        otok_kit_expect_rows(kit, &scan, want + i + 1, SIGNED_TIMES - 1 - i, "AFTER a time of either sign");
    }
}

static void descending(otok_kit *kit)
{
    static const uint32_t back[] = {4, 3, 2, 1}, by_sweep[] = {1, 2, 3, 4};
    for (uint32_t i = 1; i <= 4; i++)
        insert_at(kit, i, i <= 2 ? 10 : 20, -(int64_t)i);
    expect_order(kit, OTOK_INDEX_REALM, OTOK_SCAN_DESCENDING, back, 4, "DESCENDING");
    expect_order(kit, OTOK_INDEX_SWEEP, OTOK_SCAN_DESCENDING, by_sweep, 4, "DESCENDING in SWEEP");
    expect_order(kit, OTOK_INDEX_ALL, OTOK_SCAN_DESCENDING, back, 4, "DESCENDING in ALL");
    otok_scan scan = otok_kit_scan_of(OTOK_INDEX_REALM, 1, OTOK_SCAN_DESCENDING, 2);
    otok_kit_expect_rows(kit, &scan, back, 2, "DESCENDING with a limit");
}

/* Records 1 to 6 at two times: 10, 10, 10, 20, 20, 20; sweep_us is the same, so that both orders are that of the numbers. */
static void insert_six(otok_kit *kit)
{
    for (uint32_t i = 1; i <= 6; i++)
        insert_at(kit, i, i <= 3 ? 10 : 20, i <= 3 ? 10 : 20);
}

/* Begins behind record `number`, stored or not, of `stored`: what follows it in both directions, in three indexes. */
static void expect_after(otok_kit *kit, uint32_t number, int64_t time_us, const uint32_t *stored, size_t n,
                         const char *what)
{
    static const uint32_t indexes[] = {OTOK_INDEX_REALM, OTOK_INDEX_SWEEP, OTOK_INDEX_ALL};
    uint32_t below[8], above[8];
    size_t nbelow = 0, nabove = 0;
    for (size_t i = 0; i < n; i++) {
        if (stored[i] > number)
            above[nabove++] = stored[i];
        if (stored[n - 1 - i] < number)
            below[nbelow++] = stored[n - 1 - i];
    }
    for (size_t i = 0; i < 3; i++) {
        otok_scan scan = otok_kit_scan_of(indexes[i], 1, OTOK_SCAN_AFTER, 10);
        scan.after_us = time_us;
        scan.after = otok_kit_id(number);
        otok_kit_expect_rows(kit, &scan, above, nabove, what);
        scan.flags |= OTOK_SCAN_DESCENDING;
        otok_kit_expect_rows(kit, &scan, below, nbelow, what);
    }
}

static const uint32_t six[] = {1, 2, 3, 4, 5, 6};

static void after(otok_kit *kit)
{
    insert_six(kit);
    for (uint32_t i = 1; i <= 6; i++)
        expect_after(kit, i, i <= 3 ? 10 : 20, six, 6, "AFTER a stored record");
}

static void after_nothing(otok_kit *kit)
{
    static const uint32_t left[] = {1, 3, 4, 6};
    otok_sample sample;
    insert_six(kit);
    expect_after(kit, 0, 5, six, 6, "AFTER a position before the first");
    expect_after(kit, 7, 30, six, 6, "AFTER a position behind the last");
    for (uint32_t i = 2; i <= 5; i += 3) {
        otok_kit_sample(kit, &sample, i);
        otok_kit_write(kit, OTOK_WRITE_DELETE, sample.record.version, &sample.record, OTOK_OK, "DELETE");
    }
    expect_after(kit, 2, 10, left, 4, "AFTER a deleted record");
    expect_after(kit, 5, 20, left, 4, "AFTER a deleted record");
    for (uint32_t i = 0; i < 2; i++) {
        otok_scan scan = otok_kit_scan_of(OTOK_INDEX_REALM, 1, OTOK_SCAN_AFTER, 10);
        scan.after_us = 15;
        memset(&scan.after, i == 0 ? 0 : 0xff, sizeof scan.after);
        otok_kit_expect_rows(kit, &scan, left + 2, 2, "AFTER a time between two records");
        scan.flags |= OTOK_SCAN_DESCENDING;
        otok_kit_expect_rows(kit, &scan, (const uint32_t[]){3, 1}, 2, "AFTER a time between two records, DESCENDING");
    }
}

static void with_realm(otok_kit *kit, otok_sample *sample)
{
    (void)kit;
    sample->record.created_us /= 10;
    otok_kit_add_key(sample, OTOK_INDEX_REALM, 1);
}

static void limit(otok_kit *kit)
{
    enum { N = OTOK_MAX_FETCH + 30 };
    static const uint32_t limits[] = {1, 2, 63, 64, 100, 1000, OTOK_MAX_FETCH};
    otok_kit_insert_range(kit, 0, N, with_realm);
    for (size_t i = 0; i < sizeof limits / sizeof limits[0]; i++) {
        for (uint32_t run = 0; run < 4; run++) {
            otok_scan scan = otok_kit_scan_of(run < 2 ? OTOK_INDEX_REALM : OTOK_INDEX_ALL, 1,
                                              run % 2 * OTOK_SCAN_DESCENDING, limits[i]);
            otok_kit_scan(kit, &scan, "a key of 1054 records");
            if (!kit->failed && kit->nrows != limits[i])
                otok_kit_fail(kit, "a scan of 1054 records emitted %zu, the limit is %u", kit->nrows,
                              (unsigned)limits[i]);
        }
    }
}

/* Page by page, each beginning behind the last row of the one before. */
static void pages(otok_kit *kit)
{
    enum { N = 45 };
    otok_kit_insert_range(kit, 0, N, with_realm);
    for (uint32_t run = 0; run < 4 * 12 && !kit->failed; run++) {
        uint32_t flags = run % 2 * OTOK_SCAN_DESCENDING, size = 1 + run / 4, seen = 0;
        otok_scan scan = otok_kit_scan_of(run / 2 % 2 != 0 ? OTOK_INDEX_REALM : OTOK_INDEX_ALL, 1, flags, size);
        do {
            otok_kit_scan(kit, &scan, "page by page");
            for (size_t i = 0; i < kit->nrows && !kit->failed; i++, seen++) {
                uint32_t want = flags != 0 ? N - 1 - seen : seen, number = otok_get_u32(kit->rows[i]->id.bytes);
                if (number != want)
                    otok_kit_fail(kit, "in pages of %u, row %u is record %u, expected %u", (unsigned)size,
                                  (unsigned)seen, (unsigned)number, (unsigned)want);
                scan.after = kit->rows[i]->id;
                scan.after_us = kit->rows[i]->created_us;
            }
            scan.flags |= OTOK_SCAN_AFTER;
        } while (kit->nrows == size && !kit->failed);
        if (!kit->failed && seen != N)
            otok_kit_fail(kit, "pages of %u ended after %u records of 45", (unsigned)size, (unsigned)seen);
    }
}

static void by_sweep(otok_kit *kit)
{
    static const int64_t times[] = {300, 100, 500, 200, 400};
    static const uint32_t want[] = {1, 3, 0, 4, 2};
    for (uint32_t i = 0; i < 5; i++)
        insert_at(kit, i, -times[i], times[i]);
    expect_order(kit, OTOK_INDEX_SWEEP, 0, want, 5, "records of different sweep_us");
    otok_scan scan = otok_kit_scan_of(OTOK_INDEX_SWEEP, 1, OTOK_SCAN_AFTER, 10);
    scan.after_us = 200;
    scan.after = otok_kit_id(3);
    otok_kit_expect_rows(kit, &scan, want + 2, 3, "AFTER a sweep_us");
}

static void sweep_moves(otok_kit *kit)
{
    otok_sample sample;
    for (uint32_t i = 1; i <= 3; i++)
        insert_at(kit, i, 7, INT64_C(10) * i);
    otok_kit_sample(kit, &sample, 1);
    otok_kit_add_key(&sample, OTOK_INDEX_REALM, 1);
    otok_kit_add_key(&sample, OTOK_INDEX_SWEEP, 1);
    sample.record.sweep_us = 25;
    sample.record.version++;
    otok_kit_write(kit, OTOK_WRITE_PUT, sample.record.version - 1, &sample.record, OTOK_OK, "PUT of another sweep_us");
    expect_order(kit, OTOK_INDEX_SWEEP, 0, (const uint32_t[]){2, 1, 3}, 3, "after PUT of another sweep_us");
    expect_order(kit, OTOK_INDEX_REALM, 0, (const uint32_t[]){1, 2, 3}, 3,
                 "the other indexes after PUT of another sweep_us");
    otok_kit_expect_count(kit, otok_kit_key(OTOK_INDEX_SWEEP, 1), 3, "after PUT of another sweep_us");
    sample.record.sweep_us = 1;
    sample.record.version++;
    otok_kit_write(kit, OTOK_WRITE_HEAD, sample.record.version - 1, &sample.record, OTOK_OK, "HEAD");
    expect_order(kit, OTOK_INDEX_SWEEP, 0, (const uint32_t[]){2, 1, 3}, 3,
                 "after a HEAD whose record has another sweep_us");
}

static void all_by_id(otok_kit *kit)
{
    static const uint32_t numbers[] = {5, 0xfffffffe, 3, 0x80000000, 1, 7},
                          want[] = {1, 3, 5, 7, 0x80000000, 0xfffffffe};
    otok_sample sample;
    for (uint32_t i = 0; i < 6; i++) {
        otok_kit_sample(kit, &sample, numbers[i]);
        sample.record.created_us = -(int64_t)i;
        sample.record.kind = 1 + i;
        otok_kit_insert(kit, &sample);
    }
    expect_order(kit, OTOK_INDEX_ALL, 0, want, 6, "ALL, records of six kinds without keys");
    for (uint32_t i = 0; i < 6; i++) {
        otok_scan scan = otok_kit_scan_of(OTOK_INDEX_ALL, 0xee, OTOK_SCAN_AFTER, 10);
        scan.after = otok_kit_id(want[i]);
        scan.after_us = i % 2 == 0 ? INT64_MAX : INT64_MIN;
        otok_kit_expect_rows(kit, &scan, want + i + 1, 5 - i, "ALL, where digest and after_us are unused");
        scan.limit = 2;
        otok_kit_expect_rows(kit, &scan, want + i + 1, 5 - i < 2 ? 5 - i : 2, "ALL, two rows of records of six kinds");
    }
}

static void all_kinds(otok_kit *kit)
{
    static const uint32_t want[] = {1, 2, 3, 4, 5, 6, 7};
    otok_sample sample;
    for (uint32_t kind = OTOK_RECORD_TOMBSTONE; kind >= OTOK_RECORD_SESSION; kind--) {
        otok_kit_sample(kit, &sample, kind);
        sample.record.kind = kind;
        otok_kit_add_key(&sample, OTOK_INDEX_REALM, 1);
        otok_kit_insert(kit, &sample);
    }
    expect_order(kit, OTOK_INDEX_ALL, 0, want, 7, "ALL, a record of each kind");
    expect_order(kit, OTOK_INDEX_REALM, 0, want, 7, "one key, a record of each kind");
    otok_kit_expect_count(kit, otok_kit_key(OTOK_INDEX_REALM, 1), 7, "one key, a record of each kind");
}

const otok_clause otok_clauses_order[] = {
    {"an_index_is_in_order_of_created_us", "under a key of every other index in the order of (created_us, id)",
     by_created, 0},
    {"equal_times_are_in_order_of_id", "in the order of (created_us, id), (sweep_us, id)", by_id, 0},
    {"times_have_signs", "created_us and sweep_us are int64_t", with_signs, 0},
    {"descending_walks_from_the_end", "DESCENDING: from the end", descending, 0},
    {"after_is_exclusive", "AFTER: begin behind `after` (exclusive) in the direction of the walk", after, 0},
    {"after_needs_no_record", "AFTER: whether or not that record still exists", after_nothing, 0},
    {"limit_bounds_the_rows", "limit: rows visited at most; 1 to OTOK_MAX_FETCH", limit, 0},
    {"only_the_last_page_is_short", "fewer emitted: the end was reached", pages, 0},
    {"sweep_is_in_order_of_sweep_us", "under one key of OTOK_INDEX_SWEEP in the order of (sweep_us, id)", by_sweep, 0},
    {"put_moves_the_sweep_order", "PUT replaces sweep_us", sweep_moves, 0},
    {"all_is_in_order_of_id", "OTOK_INDEX_ALL: every record in id order, digest and after_us unused", all_by_id, 0},
    {"indexes_hold_every_kind", "OTOK_INDEX_ALL: every record", all_kinds, 0},
    {NULL, NULL, NULL, 0},
};
