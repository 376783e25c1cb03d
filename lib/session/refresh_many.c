/*
 * refresh_many.c - several refreshes, one commit: what group commit gives to threads, for a host that has only one.
 *
 * All are checked, decided and minted first, then written at once, each as a group of its own.  Those that lost a race start again
 * together.  Of one session one goes after another, in their order: so many that come with one token do not race each other.
 *
 * SPDX-License-Identifier: MIT
 */
#include "session/refresh.h"

#include <string.h>

enum { AT_ONCE = 128 }; /* beyond which a commit hardly serves more a second, and those in it wait longer */

/* One of them; `out` and `error` are the caller's. */
typedef struct item {
    otok_refreshing r;
    otok_attempt a;
    otok_attempts attempts;
    otok_tokens **out;
    otok_error *error;
    bool done;
} item;

/* A call, and those of its items that have something to write. */
typedef struct many {
    otok_service *service;
    item *items;
    size_t n;
    item **writers;
    otok_change *changes; /* theirs */
    size_t nwriters;
} many;

static void finish(item *it, int rc)
{
    it->done = true;
    if (rc == OTOK_OK)
        *it->error = (otok_error){.code = OTOK_OK};
}

static void begin(many *m, const otok_refresh_request *const *requests, otok_tokens **out, otok_error *errors)
{
    for (size_t i = 0; i < m->n; i++) {
        item *it = &m->items[i];
        it->r = (otok_refreshing){.service = m->service};
        it->attempts = otok_attempts_begin(m->service);
        it->out = &out[i];
        it->error = &errors[i];
        it->done = otok_refreshing_begin(&it->r, requests[i], it->error) != OTOK_OK;
    }
}

static void end_attempt(item *it, int rc)
{
    rc = otok_attempt_end(&it->r, &it->a, rc, it->out);
    if (!otok_attempts_again(&it->attempts, &rc, it->error))
        finish(it, rc);
}

/* Whether one before it has still to do with the same session: is about to write it, or starts again. */
static bool waits(const many *m, const item *it)
{
    for (const item *before = m->items; before < it; before++) {
        if (!before->done && otok_id_compare(&before->r.id, &it->r.id) == 0)
            return true;
    }
    return false;
}

/* False when all are done. */
static bool attempt_each(many *m)
{
    bool attempted = false;
    m->nwriters = 0;
    for (size_t i = 0; i < m->n; i++) {
        item *it = &m->items[i];
        if (it->done)
            continue;
        attempted = true; /* the first of those that are not done does not wait */
        int rc = otok_attempt_find(&it->r, &it->a, it->error);
        if (rc == OTOK_OK && waits(m, it))
            continue;
        if (rc == OTOK_OK)
            rc = otok_attempt_begin(&it->r, &it->a, it->out, it->error);
        if (rc == OTOK_OK && it->a.writes) {
            m->writers[m->nwriters] = it;
            m->changes[m->nwriters++] = it->a.change;
        } else {
            end_attempt(it, rc);
        }
    }
    return attempted;
}

/* Each has its own result; of several troubles of one kind the first one's words serve for all. */
static void commit_all(many *m)
{
    otok_error trouble = {.code = OTOK_OK};
    if (m->nwriters == 0)
        return;
    (void)otok_changes_commit(m->service, m->changes, m->nwriters, &trouble);
    for (size_t i = 0; i < m->nwriters; i++) {
        item *it = m->writers[i];
        int rc = m->changes[i].result;
        if (rc == trouble.code)
            *it->error = trouble;
        else if (rc != OTOK_OK)
            (void)otok_fail(it->error, rc, "the refresh was not committed");
        end_attempt(it, rc);
    }
}

static void refresh_all(many *m)
{
    while (attempt_each(m))
        commit_all(m);
    for (size_t i = 0; i < m->n; i++)
        otok_refreshing_end(&m->items[i].r);
}

static int check_arguments(const otok_service *service, const otok_refresh_request *const *requests,
                           otok_tokens *const *out, const otok_error *errors, otok_error *err)
{
    const char *missing = service == NULL    ? "service"
                          : requests == NULL ? "requests"
                          : out == NULL      ? "out"
                          : errors == NULL   ? "errors"
                                             : NULL;
    return missing == NULL ? OTOK_OK : otok_fail(err, OTOK_E_INVALID, "%s is required", missing);
}

int otok_refresh_many(otok_service *service, const otok_refresh_request *const *requests, size_t n, otok_tokens **out,
                      otok_error *errors, otok_error *err)
{
    int rc = check_arguments(service, requests, out, errors, err);
    if (rc != OTOK_OK || n == 0)
        return rc;
    memset(out, 0, n * sizeof(otok_tokens *));
    size_t most = n < AT_ONCE ? n : AT_ONCE;
    many m = {
        .service = service,
        .items = otok_calloc(most, sizeof *m.items),
        .writers = otok_calloc(most, sizeof(item *)),
        .changes = otok_calloc(most, sizeof *m.changes),
    };
    if (m.items != NULL && m.writers != NULL && m.changes != NULL) {
        for (size_t at = 0; at < n; at += m.n) {
            m.n = n - at < most ? n - at : most;
            begin(&m, requests + at, out + at, errors + at);
            refresh_all(&m);
        }
    } else {
        rc = otok_fail(err, OTOK_E_NOMEM, "out of memory");
    }
    otok_free(m.items);
    otok_free(m.writers);
    otok_free(m.changes);
    return rc;
}
