/*
 * seen.c - a bounded set of digests, each until its time is over: what was used is not used again (P3).
 *
 * Entries lie in one array; a hash table of chains finds them, a heap tells which is over first.  So the room of those that are over is
 * found at once however full it is, and what an addition costs does not depend on what others have added: the chains are short, and
 * the heap is 18 deep for 262144.
 *
 * Each takes room of its user's share and of its client's.  A user may hold a 256th of what is free, a client as much as is free: so
 * one user never has more than a 257th of all, and one client half; a thousand users who flood leave a fiftieth to the others, three
 * clients an eighth; and two hundred users of one client take all of its share.  What each holds is counted by a keyed hash in two
 * rows of numbers, and is the lesser of the two: who meets one flooder in both, one in 2^32, shares his lot.
 *
 * Clocks jump.  What was let go while the clock ran ahead may be good again when it is set right, and no one knows then whether it was
 * seen: that is said.  Of times up to `gone_us` something may have been let go because it was over, and in the span `far` because it
 * was from a time far ahead, which would otherwise hold its room until then.
 *
 * SPDX-License-Identifier: MIT
 */
#include "base/base.h"

#include <pthread.h>
#include <string.h>

enum { ROWS = 2, ROW = 65536, USER_PART = 256 };

/* Nothing that is good now is good for so long, unless the clock ran ahead when it was added. */
#define FAR_US (INT64_C(86400) * OTOK_US_PER_S)

typedef struct entry {
    uint8_t digest[OTOK_SEEN_SIZE];
    int64_t until_us;
    uint32_t next; /* of its chain, or of those that are free: by its number, from 1 on; 0: none */
    uint16_t user[ROWS], client[ROWS];
} entry;

struct otok_seen {
    pthread_mutex_t lock;
    uint32_t most, count;
    uint32_t chains; /* a power of two */
    uint64_t salt;   /* so that nobody outside can choose digests for one chain, or names for another's count */
    entry *entries; /* NULL, as the three others, until the first is added; only what is used of them is ever touched */
    uint32_t *chain; /* the first entry of each, by its number */
    uint32_t *heap;  /* of `count` entries, by their index: the one that is over first is at 0 */
    uint32_t *held;  /* ROWS times ROW: the entries that are charged there */
    uint32_t unused; /* the first of the entries that are free again, by its number */
    uint32_t fresh;  /* the index of the first that was never used */
    int64_t gone_us, far_from_us, far_to_us;
    int64_t latest_us; /* at least that of every entry */
};

int otok_seen_new(size_t most, uint64_t salt, otok_seen **out, otok_error *err)
{
    *out = NULL;
    if (most > UINT32_MAX / 4)
        return otok_fail(err, OTOK_E_INVALID, "%zu are too many to remember", most);
    otok_seen *seen = otok_calloc(1, sizeof *seen);
    if (seen == NULL || pthread_mutex_init(&seen->lock, NULL) != 0) {
        otok_free(seen);
        return otok_fail(err, OTOK_E_NOMEM, "out of memory");
    }
    seen->most = (uint32_t)most;
    for (seen->chains = 1; seen->chains < seen->most;)
        seen->chains *= 2;
    seen->salt = salt;
    seen->gone_us = seen->far_to_us = seen->latest_us = INT64_MIN;
    seen->far_from_us = INT64_MAX;
    *out = seen;
    return OTOK_OK;
}

void otok_seen_free(otok_seen *seen)
{
    if (seen == NULL)
        return;
    otok_free(seen->entries);
    otok_free(seen->chain);
    otok_free(seen->heap);
    otok_free(seen->held);
    (void)pthread_mutex_destroy(&seen->lock);
    otok_free(seen);
}

/* Those who never see any pay nothing. */
static bool has_memory(otok_seen *seen)
{
    if (seen->entries != NULL)
        return true;
    entry *entries = otok_calloc(seen->most, sizeof *entries);
    uint32_t *chain = otok_calloc(seen->chains, sizeof *chain);
    uint32_t *heap = otok_calloc(seen->most, sizeof *heap);
    uint32_t *held = otok_calloc((size_t)ROWS * ROW, sizeof *held);
    if (entries == NULL || chain == NULL || heap == NULL || held == NULL) {
        otok_free(entries);
        otok_free(chain);
        otok_free(heap);
        otok_free(held);
        return false;
    }
    seen->entries = entries;
    seen->chain = chain;
    seen->heap = heap;
    seen->held = held;
    return true;
}

static uint64_t hash(const otok_seen *seen, uint64_t a, uint64_t b)
{
    static const uint64_t odd = UINT64_C(0x9e3779b97f4a7c15);
    uint64_t mixed = (a ^ seen->salt) * odd;
    mixed = (mixed ^ mixed >> 32 ^ b) * odd;
    return mixed ^ mixed >> 32;
}

/* ---- the shares ---- */

static void find_places(const otok_seen *seen, uint64_t name, uint16_t places[ROWS])
{
    uint64_t mixed = hash(seen, name, 0);
    for (size_t row = 0; row < ROWS; row++, mixed >>= 16)
        places[row] = (uint16_t)mixed;
}

static uint32_t *count_at(const otok_seen *seen, size_t row, uint16_t place)
{
    return &seen->held[row * ROW + place];
}

static uint32_t held_at(const otok_seen *seen, const uint16_t places[ROWS])
{
    uint32_t least = UINT32_MAX;
    for (size_t row = 0; row < ROWS; row++) {
        uint32_t held = *count_at(seen, row, places[row]);
        least = held < least ? held : least;
    }
    return least;
}

static void charge(const otok_seen *seen, const entry *of)
{
    for (size_t row = 0; row < ROWS; row++) {
        ++*count_at(seen, row, of->user[row]);
        ++*count_at(seen, row, of->client[row]);
    }
}

static void give_back(const otok_seen *seen, const entry *of)
{
    for (size_t row = 0; row < ROWS; row++) {
        --*count_at(seen, row, of->user[row]);
        --*count_at(seen, row, of->client[row]);
    }
}

static bool has_share(const otok_seen *seen, const entry *of)
{
    uint32_t free = seen->most - seen->count;
    return free != 0 && held_at(seen, of->user) <= free / USER_PART && held_at(seen, of->client) <= free;
}

/* ---- the chains ---- */

static uint32_t *chain_of(const otok_seen *seen, const uint8_t digest[OTOK_SEEN_SIZE])
{
    return &seen->chain[(uint32_t)hash(seen, otok_get_u64(digest), otok_get_u64(digest + 8)) & (seen->chains - 1)];
}

static bool is_held(const otok_seen *seen, const uint8_t digest[OTOK_SEEN_SIZE])
{
    if (seen->entries == NULL)
        return false;
    for (uint32_t n = *chain_of(seen, digest); n != 0; n = seen->entries[n - 1].next) {
        if (memcmp(seen->entries[n - 1].digest, digest, OTOK_SEEN_SIZE) == 0)
            return true;
    }
    return false;
}

/* Takes it out of its chain, and gives its room to the next that comes. */
static void let_go(otok_seen *seen, uint32_t i)
{
    entry *of = &seen->entries[i];
    uint32_t *link = chain_of(seen, of->digest);
    while (*link != i + 1)
        link = &seen->entries[*link - 1].next;
    *link = of->next;
    of->next = seen->unused;
    seen->unused = i + 1;
    give_back(seen, of);
}

/* ---- the heap ---- */

static int64_t until_at(const otok_seen *seen, uint32_t at)
{
    return seen->entries[seen->heap[at]].until_us;
}

static void swap(otok_seen *seen, uint32_t a, uint32_t b)
{
    uint32_t was = seen->heap[a];
    seen->heap[a] = seen->heap[b];
    seen->heap[b] = was;
}

static void rise(otok_seen *seen, uint32_t at)
{
    for (uint32_t up = (at - 1) / 2; at > 0 && until_at(seen, at) < until_at(seen, up); at = up, up = (at - 1) / 2)
        swap(seen, at, up);
}

static void sink(otok_seen *seen, uint32_t at)
{
    for (uint32_t down = 2 * at + 1; down < seen->count; down = 2 * at + 1) {
        if (down + 1 < seen->count && until_at(seen, down + 1) < until_at(seen, down))
            down++;
        if (until_at(seen, at) <= until_at(seen, down))
            return;
        swap(seen, at, down);
        at = down;
    }
}

/* ---- what is over ---- */

static void drop_those_over(otok_seen *seen, int64_t now_us)
{
    while (seen->count > 0 && until_at(seen, 0) < now_us) {
        uint32_t first = seen->heap[0];
        if (seen->entries[first].until_us > seen->gone_us)
            seen->gone_us = seen->entries[first].until_us;
        let_go(seen, first);
        seen->heap[0] = seen->heap[--seen->count];
        sink(seen, 0);
    }
}

/* For one that is full, or whose share is.  Each time something goes that was added under a clock far ahead: so it is not often. */
static void drop_those_far_ahead(otok_seen *seen, int64_t now_us)
{
    int64_t most_us = otok_time_add(now_us, FAR_US);
    uint32_t held = seen->count;
    if (seen->latest_us <= most_us)
        return;
    seen->count = 0;
    seen->latest_us = INT64_MIN;
    for (uint32_t at = 0; at < held; at++) { /* those that stay move to the front, and are made a heap again */
        uint32_t i = seen->heap[at];
        int64_t until_us = seen->entries[i].until_us;
        if (until_us > most_us) {
            seen->far_from_us = until_us < seen->far_from_us ? until_us : seen->far_from_us;
            seen->far_to_us = until_us > seen->far_to_us ? until_us : seen->far_to_us;
            let_go(seen, i);
            continue;
        }
        seen->latest_us = until_us > seen->latest_us ? until_us : seen->latest_us;
        seen->heap[seen->count++] = i;
        rise(seen, seen->count - 1);
    }
}

static bool may_be_gone(const otok_seen *seen, int64_t until_us)
{
    return until_us <= seen->gone_us || (until_us >= seen->far_from_us && until_us <= seen->far_to_us);
}

/* The index of an entry that is free: there is one. */
static uint32_t take(otok_seen *seen)
{
    if (seen->unused == 0)
        return seen->fresh++;
    uint32_t i = seen->unused - 1;
    seen->unused = seen->entries[i].next;
    return i;
}

static void keep(otok_seen *seen, const entry *added)
{
    uint32_t i = take(seen), *first = chain_of(seen, added->digest);
    seen->entries[i] = *added;
    seen->entries[i].next = *first;
    *first = i + 1;
    charge(seen, added);
    seen->heap[seen->count++] = i;
    rise(seen, seen->count - 1);
    if (added->until_us > seen->latest_us)
        seen->latest_us = added->until_us;
}

/* With the lock.  One for which there is no memory is not added: as if it were full. */
static int add(otok_seen *seen, const entry *added, int64_t now_us)
{
    drop_those_over(seen, now_us);
    if (is_held(seen, added->digest))
        return OTOK_SEEN_BEFORE;
    if (may_be_gone(seen, added->until_us))
        return OTOK_SEEN_UNKNOWN;
    if (!has_memory(seen))
        return OTOK_SEEN_FULL;
    if (!has_share(seen, added))
        drop_those_far_ahead(seen, now_us);
    if (!has_share(seen, added))
        return OTOK_SEEN_FULL;
    keep(seen, added);
    return OTOK_SEEN_NEW;
}

int otok_seen_add(otok_seen *seen, const uint8_t digest[OTOK_SEEN_SIZE], const otok_seen_by *by, int64_t until_us,
                  int64_t now_us)
{
    entry added = {.until_us = until_us};
    memcpy(added.digest, digest, OTOK_SEEN_SIZE);
    find_places(seen, by->user, added.user);
    find_places(seen, by->client, added.client);
    (void)pthread_mutex_lock(&seen->lock);
    int found = add(seen, &added, now_us);
    (void)pthread_mutex_unlock(&seen->lock);
    return found;
}
