/*
 * crash_index.c - every index of a store held against its records (S1): the same records, in the same order, the same
 * number.
 *
 * SPDX-License-Identifier: MIT
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "support/crash_parts.h"

/* Where one record stands in one index. */
typedef struct entry {
    otok_index_key key;
    int64_t order_us;
    otok_id id;
} entry;

typedef struct entries {
    entry *at;
    size_t n, room;
    otok_id last; /* of a scan */
    int64_t last_us;
    size_t rows;
    otok_index_key only; /* index 0: every key */
} entries;

static void add(entries *all, const otok_index_key *key, int64_t order_us, const otok_id *id)
{
    if (all->n == all->room) {
        all->room = all->room * 2 + 64;
        all->at = realloc(all->at, all->room * sizeof *all->at);
    }
    memset(&all->at[all->n], 0, sizeof *all->at);
    all->at[all->n].key.index = key->index;
    memcpy(all->at[all->n].key.digest, key->digest, sizeof key->digest);
    all->at[all->n].order_us = order_us;
    all->at[all->n++].id = *id;
}

static int64_t order_in(const otok_record *record, uint32_t index)
{
    return index == OTOK_INDEX_SWEEP ? record->sweep_us : record->created_us;
}

static int on_record(void *arg, const otok_record *record)
{
    entries *all = arg;
    all->rows++;
    all->last = record->id;
    all->last_us = order_in(record, all->only.index);
    if (all->only.index != OTOK_INDEX_ALL) {
        add(all, &all->only, all->last_us, &record->id);
        return 0;
    }
    for (size_t i = 0; i < record->nkeys; i++)
        add(all, &record->keys[i], order_in(record, record->keys[i].index), &record->id);
    return 0;
}

/* A whole index, page by page. */
static int read_all(otok_store *store, const otok_index_key *key, entries *out, otok_error *err)
{
    otok_scan scan = {.size = sizeof scan, .key = *key, .limit = 100};
    *out = (entries){.only = *key};
    int rc;
    do {
        out->rows = 0;
        rc = otok_store_scan(store, &scan, on_record, out, err);
        scan.flags = OTOK_SCAN_AFTER;
        scan.after = out->last;
        scan.after_us = out->last_us;
    } while (rc == OTOK_OK && out->rows == scan.limit);
    return rc;
}

static int compare_keys(const otok_index_key *a, const otok_index_key *b)
{
    if (a->index != b->index)
        return a->index < b->index ? -1 : 1;
    return memcmp(a->digest, b->digest, sizeof a->digest);
}

static int compare(const void *one, const void *two)
{
    const entry *a = one, *b = two;
    int by_key = compare_keys(&a->key, &b->key);
    if (by_key != 0)
        return by_key;
    if (a->order_us != b->order_us)
        return a->order_us < b->order_us ? -1 : 1;
    return otok_id_compare(&a->id, &b->id);
}

/* The entries of one key as records say they should be, and as the index has them. */
static bool key_agrees(otok_store *store, const otok_index_key *key, const entry *want, size_t n,
                       char story[CRASH_STORY])
{
    entries seen;
    otok_error err = {0};
    uint64_t counted = 0;
    int rc = read_all(store, key, &seen, &err);
    if (rc == OTOK_OK)
        rc = otok_store_count(store, key, &counted, &err);
    bool agrees =
        rc == OTOK_OK && counted == n && seen.n == n && (n == 0 || memcmp(seen.at, want, n * sizeof *want) == 0);
    if (!agrees)
        (void)snprintf(story, CRASH_STORY,
                       "index %u disagrees with the records: %zu name it, it has %zu, count says %llu: %s %s",
                       key->index, n, seen.n, (unsigned long long)counted, otok_error_name(rc), err.message);
    free(seen.at);
    return agrees;
}

/* Keys that no record may name any more. */
static bool named_keys_agree(otok_service *service, otok_store *store, const entries *all, char story[CRASH_STORY])
{
    bool agrees = true;
    for (size_t i = 0; agrees && i < CRASH_SUBJECTS * CRASH_CLIENTS; i++) {
        otok_session_names names;
        if (otok_names_of_session(service, otok_str_of(crash_subjects[i / CRASH_CLIENTS]),
                                  otok_str_of(crash_clients[i % CRASH_CLIENTS]), (otok_str){0}, &names,
                                  NULL) != OTOK_OK)
            return false;
        for (size_t k = 0; agrees && k < names.nkeys; k++) {
            size_t at = 0, n = 0;
            while (at < all->n && compare_keys(&all->at[at].key, &names.keys[k]) != 0)
                at++;
            while (at + n < all->n && compare_keys(&all->at[at + n].key, &names.keys[k]) == 0)
                n++;
            if (n == 0)
                agrees = key_agrees(store, &names.keys[k], NULL, 0, story);
        }
    }
    return agrees;
}

bool crash_indexes_agree(otok_service *service, otok_store *store, char story[CRASH_STORY])
{
    static const otok_index_key everything;
    entries all;
    otok_error err = {0};
    int rc = read_all(store, &everything, &all, &err);
    bool agrees = rc == OTOK_OK;
    if (!agrees)
        (void)snprintf(story, CRASH_STORY, "the records cannot be read: %s: %s", otok_error_name(rc), err.message);
    if (all.n != 0)
        qsort(all.at, all.n, sizeof *all.at, compare);
    for (size_t i = 0, n; agrees && i < all.n; i += n) {
        for (n = 1; i + n < all.n && compare_keys(&all.at[i].key, &all.at[i + n].key) == 0;)
            n++;
        agrees = key_agrees(store, &all.at[i].key, &all.at[i], n, story);
    }
    agrees = agrees && named_keys_agree(service, store, &all, story);
    free(all.at);
    return agrees;
}
