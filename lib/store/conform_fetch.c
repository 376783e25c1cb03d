/*
 * conform_fetch.c - clauses: fetch, links, and the end of a call.
 *
 * SPDX-License-Identifier: MIT
 */
#include "store/store.h"

#include <string.h>

/* Inserts record `number` with up to two links; 0 is none. */
static void insert_linked(otok_kit *kit, uint32_t number, uint32_t link, uint32_t another)
{
    otok_sample sample;
    otok_kit_sample(kit, &sample, number);
    if (link != 0)
        otok_kit_add_link(&sample, link);
    if (another != 0)
        otok_kit_add_link(&sample, another);
    otok_kit_insert(kit, &sample);
}

static void fetch_and_expect(otok_kit *kit, const uint32_t *asked, size_t n, uint32_t flags, const uint32_t *want,
                             size_t nwant, const char *what)
{
    otok_id ids[8];
    for (size_t i = 0; i < n; i++)
        ids[i] = otok_kit_id(asked[i]);
    otok_kit_fetch(kit, ids, n, flags, what);
    otok_kit_expect_fetched(kit, want, nwant, what);
}

static void absent_ids(otok_kit *kit)
{
    static const uint32_t asked[] = {10, 1, 11, 2}, want[] = {1, 2};
    otok_id id = otok_kit_id(1);
    otok_kit_expect_absent(kit, &id, "fetch from an empty store");
    insert_linked(kit, 1, 0, 0);
    insert_linked(kit, 2, 0, 0);
    fetch_and_expect(kit, asked, 4, 0, want, 2, "fetch of two absent and two stored ids");
    fetch_and_expect(kit, asked, 4, OTOK_FETCH_LINKS, want, 2, "the same with LINKS");
    fetch_and_expect(kit, asked, 1, 0, NULL, 0, "fetch of an absent id");
}

static void many_ids(otok_kit *kit)
{
    enum { N = OTOK_MAX_FETCH };
    otok_sample sample;
    struct many {
        otok_id ids[N];
        uint32_t numbers[N];
    } *many = otok_malloc(sizeof *many);
    if (many == NULL) {
        kit->short_of_memory = kit->failed = true;
        return;
    }
    otok_kit_insert_range(kit, 1, N, NULL);
    for (uint32_t i = 0; i < N; i++) {
        many->numbers[i] = 1 + i * 5 % N; /* in no order; 5 and 1024 have no common divisor */
        many->ids[i] = otok_kit_id(many->numbers[i]);
    }
    otok_kit_fetch(kit, many->ids, N, 0, "fetch of 1024 stored ids");
    otok_kit_expect_fetched(kit, many->numbers, N, "fetch of 1024 stored ids");
    for (uint32_t i = 0; i < kit->nrows && !kit->failed; i++) {
        otok_kit_sample(kit, &sample, otok_get_u32(kit->rows[i]->id.bytes));
        otok_kit_expect_same(kit, &sample.record, kit->rows[i], "one of 1024 fetched at once");
    }
    otok_free(many);
}

static void links_on_request(otok_kit *kit)
{
    static const uint32_t asked[] = {1, 2}, want[] = {1, 2, 3, 4, 5};
    otok_sample sample;
    insert_linked(kit, 1, 3, 5);
    insert_linked(kit, 2, 4, 0);
    for (uint32_t i = 3; i <= 5; i++)
        insert_linked(kit, i, 0, 0);
    fetch_and_expect(kit, asked, 1, OTOK_FETCH_LINKS, (const uint32_t[]){1, 3, 5}, 3, "a record with two links");
    fetch_and_expect(kit, asked, 2, OTOK_FETCH_LINKS, want, 5, "two records with links");
    for (size_t i = 0; i < kit->nrows && !kit->failed; i++) {
        if (kit->rows[i]->nlinks == 0) {
            otok_kit_sample(kit, &sample, otok_get_u32(kit->rows[i]->id.bytes));
            otok_kit_expect_same(kit, &sample.record, kit->rows[i], "a linked record");
        }
    }
}

static void eight_links(otok_kit *kit)
{
    static const uint32_t want[] = {1, 2, 3, 4, 5, 6, 7, 8, 9};
    otok_sample sample;
    otok_kit_sample(kit, &sample, 1);
    for (uint32_t i = 2; i <= 9; i++) {
        otok_kit_add_link(&sample, i);
        insert_linked(kit, i, 0, 0);
    }
    otok_kit_insert(kit, &sample);
    fetch_and_expect(kit, want, 1, OTOK_FETCH_LINKS, want, 9, "a record with eight links");
}

static void each_once(otok_kit *kit)
{
    static const uint32_t asked[] = {1, 2, 3}, want[] = {1, 2, 3, 4};
    insert_linked(kit, 1, 4, 2);
    insert_linked(kit, 2, 4, 1);
    insert_linked(kit, 3, 4, 3);
    insert_linked(kit, 4, 0, 0);
    fetch_and_expect(kit, asked, 2, OTOK_FETCH_LINKS, (const uint32_t[]){1, 2, 4}, 3,
                     "two records with a link in common");
    fetch_and_expect(kit, asked, 3, OTOK_FETCH_LINKS, want, 4, "records linked to each other, and one to itself");
    fetch_and_expect(kit, want, 4, OTOK_FETCH_LINKS, want, 4, "a record that is asked for and linked to");
}

static void no_links_unasked(otok_kit *kit)
{
    static const uint32_t asked[] = {1};
    insert_linked(kit, 1, 2, 0);
    insert_linked(kit, 2, 0, 0);
    fetch_and_expect(kit, asked, 1, 0, asked, 1, "fetch of a record with a link, without LINKS");
}

static void absent_links(otok_kit *kit)
{
    static const uint32_t asked[] = {1}, want[] = {1, 2};
    insert_linked(kit, 1, 9, 2);
    insert_linked(kit, 2, 0, 0);
    fetch_and_expect(kit, asked, 1, OTOK_FETCH_LINKS, want, 2, "a record with links to an absent and to a stored one");
}

static void links_of_links(otok_kit *kit)
{
    static const uint32_t asked[] = {1}, want[] = {1, 2};
    insert_linked(kit, 1, 2, 0);
    insert_linked(kit, 2, 3, 0);
    insert_linked(kit, 3, 0, 0);
    fetch_and_expect(kit, asked, 1, OTOK_FETCH_LINKS, want, 2, "1 links to 2, 2 links to 3, 1 is asked for");
}

static void end_of_fetch(otok_kit *kit)
{
    otok_id ids[6];
    for (uint32_t i = 0; i < 6; i++) {
        ids[i] = otok_kit_id(i + 1);
        insert_linked(kit, i + 1, i == 5 ? 1 : i + 2, 0);
    }
    for (uint32_t flags = 0; flags <= OTOK_FETCH_LINKS; flags++) {
        for (kit->stop_after = 1; kit->stop_after <= 6; kit->stop_after++) {
            otok_kit_fetch(kit, ids, 6, flags, "emit returned 7");
            if (!kit->failed && kit->nrows != kit->stop_after)
                otok_kit_fail(kit, "fetch emitted %zu records, emit asked for the end at %zu", kit->nrows,
                              kit->stop_after);
        }
    }
}

static void end_of_scan(otok_kit *kit)
{
    otok_sample sample;
    for (uint32_t i = 1; i <= 6; i++) {
        otok_kit_sample(kit, &sample, i);
        otok_kit_add_key(&sample, OTOK_INDEX_REALM, 1);
        otok_kit_insert(kit, &sample);
    }
    for (uint32_t run = 0; run < 4; run++) {
        otok_scan scan =
            otok_kit_scan_of(run < 2 ? OTOK_INDEX_REALM : OTOK_INDEX_ALL, 1, run % 2 * OTOK_SCAN_DESCENDING, 10);
        for (kit->stop_after = 1; kit->stop_after <= 6; kit->stop_after++) {
            otok_kit_scan(kit, &scan, "emit returned 7");
            if (!kit->failed && kit->nrows != kit->stop_after)
                otok_kit_fail(kit, "scan emitted %zu records, emit asked for the end at %zu", kit->nrows,
                              kit->stop_after);
        }
    }
}

static void fetch_at_once(otok_kit *kit)
{
    otok_sample sample, linking;
    otok_kit_sample(kit, &sample, 1);
    otok_kit_sample(kit, &linking, 2);
    otok_kit_add_link(&linking, 1);
    otok_kit_insert(kit, &linking);
    otok_kit_insert(kit, &sample);
    otok_kit_expect_record(kit, &sample.record, "right after INSERT");
    for (uint32_t i = 1; i <= 20; i++) {
        bool put = i % 2 == 0;
        sample.record.head.data = kit->noise + i;
        sample.record.version++;
        if (put)
            otok_kit_body(kit, &sample, i, 100 + i);
        otok_kit_write(kit, put ? OTOK_WRITE_PUT : OTOK_WRITE_HEAD, sample.record.version - 1, &sample.record, OTOK_OK,
                       "PUT and HEAD in turn");
        otok_kit_expect_record(kit, &sample.record, put ? "right after PUT" : "right after HEAD");
        otok_kit_fetch(kit, &linking.record.id, 1, OTOK_FETCH_LINKS, "by way of a link");
        for (size_t row = 0; row < kit->nrows && !kit->failed; row++) {
            if (otok_id_compare(&kit->rows[row]->id, &sample.record.id) == 0)
                otok_kit_expect_same(kit, &sample.record, kit->rows[row], "by way of a link, right after a write");
        }
    }
    otok_kit_write(kit, OTOK_WRITE_DELETE, sample.record.version, &sample.record, OTOK_OK, "DELETE");
    otok_kit_expect_absent(kit, &sample.record.id, "right after DELETE");
}

const otok_clause otok_clauses_fetch[] = {
    {"absent_ids_are_no_error", "an absent one is no error", absent_ids, 0},
    {"fetch_takes_1024_ids", "emits, in any order, those of the `n` ids that exist (1 to OTOK_MAX_FETCH)", many_ids, 0},
    {"links_are_emitted_on_request", "LINKS: emit also the records that those found link to", links_on_request, 0},
    {"eight_links_are_emitted", "at most OTOK_MAX_LINKS records that fetch emits with this one on request", eight_links,
     0},
    {"each_record_is_emitted_once", "LINKS: each at most once in a call", each_once, 0},
    {"links_are_not_emitted_unasked", "records are emitted with this one on request only", no_links_unasked, 0},
    {"absent_links_are_no_error", "an absent one is no error", absent_links, 0},
    {"links_of_links_are_not_followed", "LINKS: what those of the `n` ids that exist link to", links_of_links, 0},
    {"fetch_ends_when_emit_says_so", "a value other than 0 ends the call, which then returns OTOK_OK", end_of_fetch, 0},
    {"scan_ends_when_emit_says_so", "a value other than 0 ends the call, which then returns OTOK_OK", end_of_scan, 0},
    {"fetch_sees_every_commit", "every commit that returned before a fetch began is visible to it", fetch_at_once, 0},
    {NULL, NULL, NULL, 0},
};
