/*
 * engine_store.c - stores that betray their users: the judge of engine.h must notice.
 *
 * SPDX-License-Identifier: MIT
 */
#include <pthread.h>
#include <stdlib.h>

#include "support/engine_parts.h"

typedef struct faulty {
    otok_store *inner;
    int fault;
    pthread_mutex_t mutex;
    otok_write writes[OTOK_MAX_GROUP_WRITES]; /* LATE: of the group that was acknowledged and not done */
    size_t n;
} faulty;

static void do_at_last(faulty *s)
{
    otok_group group = {.writes = s->writes, .n = s->n};
    if (s->n == 0)
        return;
    (void)otok_store_commit(s->inner, &group, 1, NULL);
    for (size_t i = 0; i < s->n; i++)
        otok_record_free((otok_record *)(uintptr_t)s->writes[i].record);
    s->n = 0;
}

static void catch_up(faulty *s)
{
    (void)pthread_mutex_lock(&s->mutex);
    do_at_last(s);
    (void)pthread_mutex_unlock(&s->mutex);
}

static int faulty_fetch(void *self, const otok_id *ids, size_t n, uint32_t flags, otok_emit emit, void *arg,
                        otok_error *err)
{
    faulty *s = self;
    catch_up(s);
    return otok_store_fetch(s->inner, ids, n, flags, emit, arg, err);
}

static int commit_late(faulty *s, otok_group *group)
{
    for (; s->n < group->n; s->n++) {
        s->writes[s->n] = group->writes[s->n];
        s->writes[s->n].record = otok_record_copy(group->writes[s->n].record);
    }
    group->result = OTOK_OK;
    return OTOK_OK;
}

/* Without the writes of events: what is left of a group is committed. */
static int commit_eventless(faulty *s, otok_group *groups, size_t n, otok_error *err)
{
    otok_group fewer[OTOK_BULK];
    otok_write(*writes)[OTOK_MAX_GROUP_WRITES] = calloc(n, sizeof *writes);
    for (size_t i = 0; i < n; i++) {
        fewer[i] = (otok_group){.writes = writes[i]};
        for (size_t k = 0; k < groups[i].n; k++) {
            const otok_write *write = &groups[i].writes[k];
            if (write->op != OTOK_WRITE_INSERT || write->record->kind != OTOK_RECORD_EVENT)
                writes[i][fewer[i].n++] = *write;
        }
    }
    int rc = otok_store_commit(s->inner, fewer, n, err);
    for (size_t i = 0; i < n; i++) {
        groups[i].result = fewer[i].result;
        groups[i].error = fewer[i].error;
    }
    free(writes);
    return rc;
}

static int faulty_commit(void *self, otok_group *groups, size_t n, otok_error *err)
{
    faulty *s = self;
    if (s->fault == ENGINE_EVENTLESS)
        return n <= OTOK_BULK ? commit_eventless(s, groups, n, err) : otok_store_commit(s->inner, groups, n, err);
    catch_up(s);
    return n == 1 ? commit_late(s, groups) : otok_store_commit(s->inner, groups, n, err);
}

static int faulty_scan(void *self, const otok_scan *scan, otok_emit emit, void *arg, otok_error *err)
{
    faulty *s = self;
    catch_up(s);
    return otok_store_scan(s->inner, scan, emit, arg, err);
}

static int faulty_count(void *self, const otok_index_key *key, uint64_t *out, otok_error *err)
{
    faulty *s = self;
    catch_up(s);
    return otok_store_count(s->inner, key, out, err);
}

static void faulty_close(void *self)
{
    faulty *s = self;
    catch_up(s);
    otok_store_close(s->inner);
    (void)pthread_mutex_destroy(&s->mutex);
    free(s);
}

int engine_store_faulty(otok_store *inner, int fault, otok_store **out, otok_error *err)
{
    faulty *s = calloc(1, sizeof *s);
    const otok_store_vtab vtab = {.size = sizeof vtab,
                                  .guarantees = otok_store_guarantees(inner),
                                  .name = "faulty",
                                  .fetch = faulty_fetch,
                                  .commit = faulty_commit,
                                  .scan = faulty_scan,
                                  .count = faulty_count,
                                  .close = faulty_close};
    if (s == NULL)
        return otok_error_set(err, OTOK_E_NOMEM, 0, "memory");
    s->inner = inner;
    s->fault = fault;
    (void)pthread_mutex_init(&s->mutex, NULL);
    return otok_store_open(&vtab, s, out, err);
}
