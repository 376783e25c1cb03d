/*
 * seen.c - a bounded set of digests, each until its time is over: what was used is not used again (P3).
 *
 * Entries lie in one array; a hash table of chains finds them, a heap tells which is over first.  So the room of those that are over is
 * found at once however full it is, and what an addition costs does not depend on what others have added: the chains are short, and
 * the heap is 16 deep for 65536.
 *
 * Clocks jump.  What was let go while the clock ran ahead may be good again when it is set right, and no one knows then whether it was
 * seen: so it counts as seen.  Of times up to `gone_us` something may have been let go because it was over, and in the span `far`
 * because it was from a time far ahead, which would otherwise hold its room until then.
 *
 * SPDX-License-Identifier: MIT
 */
#include "base/base.h"

#include <pthread.h>
#include <string.h>

#define NONE UINT32_MAX

/* Nothing that is good now is good for so long, unless the clock ran ahead when it was added. */
#define FAR_US (INT64_C(86400) * OTOK_US_PER_S)

typedef struct entry {
    uint8_t digest[OTOK_SEEN_SIZE];
    int64_t until_us;
    uint32_t next; /* of its chain, or of those that are free */
} entry;

struct otok_seen {
    pthread_mutex_t lock;
    uint32_t most, count;
    uint32_t chains; /* a power of two */
    uint64_t salt;   /* so that nobody outside can choose digests for one chain */
    entry *entries;  /* NULL, as the two others, until the first is added */
    uint32_t *chain; /* the first entry of each */
    uint32_t *heap;  /* of `count` entries: the one that is over first is at 0 */
    uint32_t unused; /* the first of the entries that are free */
    int64_t gone_us, far_from_us, far_to_us;
    int64_t latest_us; /* at least that of every entry */
};

int otok_seen_new(size_t most, otok_seen **out, otok_error *err)
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
    seen->salt = (uint64_t)otok_clock_monotonic_us() ^ (uint64_t)(uintptr_t)seen;
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
    (void)pthread_mutex_destroy(&seen->lock);
    otok_free(seen);
}

/* Those who never see any pay nothing. */
static bool has_room(otok_seen *seen)
{
    if (seen->entries != NULL)
        return true;
    entry *entries = otok_calloc(seen->most, sizeof *entries);
    uint32_t *chain = otok_calloc(seen->chains, sizeof *chain);
    uint32_t *heap = otok_calloc(seen->most, sizeof *heap);
    if (entries == NULL || chain == NULL || heap == NULL) {
        otok_free(entries);
        otok_free(chain);
        otok_free(heap);
        return false;
    }
    for (uint32_t i = 0; i < seen->most; i++)
        entries[i].next = i + 1 < seen->most ? i + 1 : NONE;
    memset(chain, 0xff, seen->chains * sizeof *chain); /* NONE */
    seen->entries = entries;
    seen->chain = chain;
    seen->heap = heap;
    return true;
}

/* ---- the chains ---- */

static uint32_t *chain_of(const otok_seen *seen, const uint8_t digest[OTOK_SEEN_SIZE])
{
    static const uint64_t odd = UINT64_C(0x9e3779b97f4a7c15);
    uint64_t hash = (otok_get_u64(digest) ^ seen->salt) * odd;
    hash = (hash ^ hash >> 32 ^ otok_get_u64(digest + 8)) * odd;
    return &seen->chain[(uint32_t)(hash >> 32) & (seen->chains - 1)];
}

static bool is_held(const otok_seen *seen, const uint8_t digest[OTOK_SEEN_SIZE])
{
    if (seen->entries == NULL)
        return false;
    for (uint32_t i = *chain_of(seen, digest); i != NONE; i = seen->entries[i].next) {
        if (memcmp(seen->entries[i].digest, digest, OTOK_SEEN_SIZE) == 0)
            return true;
    }
    return false;
}

/* Takes it out of its chain, and gives its room to the next that comes. */
static void let_go(otok_seen *seen, uint32_t i)
{
    entry *of = &seen->entries[i];
    uint32_t *link = chain_of(seen, of->digest);
    while (*link != i)
        link = &seen->entries[*link].next;
    *link = of->next;
    of->next = seen->unused;
    seen->unused = i;
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

/* For one that is full.  Each time something goes that was added under a clock far ahead: so it is not often. */
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

static void keep(otok_seen *seen, const uint8_t digest[OTOK_SEEN_SIZE], int64_t until_us)
{
    uint32_t i = seen->unused, *first = chain_of(seen, digest);
    entry *of = &seen->entries[i];
    seen->unused = of->next;
    memcpy(of->digest, digest, OTOK_SEEN_SIZE);
    of->until_us = until_us;
    of->next = *first;
    *first = i;
    seen->heap[seen->count++] = i;
    rise(seen, seen->count - 1);
    if (until_us > seen->latest_us)
        seen->latest_us = until_us;
}

/* With the lock.  One for which there is no memory is not added: as if it were full. */
static int add(otok_seen *seen, const uint8_t digest[OTOK_SEEN_SIZE], int64_t until_us, int64_t now_us)
{
    drop_those_over(seen, now_us);
    if (is_held(seen, digest) || may_be_gone(seen, until_us))
        return OTOK_SEEN_BEFORE;
    if (seen->count == seen->most)
        drop_those_far_ahead(seen, now_us);
    if (seen->count == seen->most || !has_room(seen))
        return OTOK_SEEN_FULL;
    keep(seen, digest, until_us);
    return OTOK_SEEN_NEW;
}

int otok_seen_add(otok_seen *seen, const uint8_t digest[OTOK_SEEN_SIZE], int64_t until_us, int64_t now_us)
{
    (void)pthread_mutex_lock(&seen->lock);
    int found = add(seen, digest, until_us, now_us);
    (void)pthread_mutex_unlock(&seen->lock);
    return found;
}
