/*
 * crash_store.c - a store that acknowledges before it commits: the judge of crash.h must notice.
 *
 * SPDX-License-Identifier: MIT
 */
#include <pthread.h>
#include <stdlib.h>

#include "support/crash_parts.h"

/* The one commit that was acknowledged and not done: groups of one write, as the sessions' operations make them. */
typedef struct lossy {
    otok_store *inner;
    pthread_mutex_t mutex;
    uint32_t op;
    uint64_t expect;
    otok_record *record; /* NULL: none */
} lossy;

static void do_at_last(lossy *s)
{
    otok_write write = {s->op, s->expect, s->record};
    otok_group group = {.writes = &write, .n = 1};
    if (s->record == NULL)
        return;
    (void)otok_store_commit(s->inner, &group, 1, NULL);
    otok_record_free(s->record);
    s->record = NULL;
}

static void catch_up(lossy *s)
{
    (void)pthread_mutex_lock(&s->mutex);
    do_at_last(s);
    (void)pthread_mutex_unlock(&s->mutex);
}

static int lossy_fetch(void *self, const otok_id *ids, size_t n, uint32_t flags, otok_emit emit, void *arg,
                       otok_error *err)
{
    lossy *s = self;
    catch_up(s);
    return otok_store_fetch(s->inner, ids, n, flags, emit, arg, err);
}

static int lossy_commit(void *self, otok_group *groups, size_t n, otok_error *err)
{
    lossy *s = self;
    catch_up(s);
    if (n != 1 || groups[0].n != 1)
        return otok_store_commit(s->inner, groups, n, err);
    s->op = groups[0].writes[0].op;
    s->expect = groups[0].writes[0].expect;
    s->record = otok_record_copy(groups[0].writes[0].record);
    groups[0].result = s->record != NULL ? OTOK_OK : OTOK_E_NOMEM;
    return OTOK_OK;
}

static int lossy_scan(void *self, const otok_scan *scan, otok_emit emit, void *arg, otok_error *err)
{
    lossy *s = self;
    catch_up(s);
    return otok_store_scan(s->inner, scan, emit, arg, err);
}

static int lossy_count(void *self, const otok_index_key *key, uint64_t *out, otok_error *err)
{
    lossy *s = self;
    catch_up(s);
    return otok_store_count(s->inner, key, out, err);
}

static void lossy_close(void *self)
{
    lossy *s = self;
    catch_up(s);
    otok_store_close(s->inner);
    (void)pthread_mutex_destroy(&s->mutex);
    free(s);
}

int crash_store_lossy(otok_store *inner, otok_store **out, otok_error *err)
{
    lossy *s = calloc(1, sizeof *s);
    const otok_store_vtab vtab = {.size = sizeof vtab,
                                  .guarantees = otok_store_guarantees(inner),
                                  .name = "lossy",
                                  .fetch = lossy_fetch,
                                  .commit = lossy_commit,
                                  .scan = lossy_scan,
                                  .count = lossy_count,
                                  .close = lossy_close};
    if (s == NULL)
        return otok_error_set(err, OTOK_E_NOMEM, 0, "memory");
    s->inner = inner;
    (void)pthread_mutex_init(&s->mutex, NULL);
    return otok_store_open(&vtab, s, out, err);
}
