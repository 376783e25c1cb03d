/*
 * store.c - the store object: a backend, its name, a count of references; and what stands between a backend and its callers.
 *
 * A backend sees only calls within the contract's bounds, and callers see only results that the contract knows.
 *
 * SPDX-License-Identifier: MIT
 */
#include "store/store.h"

#include <stdatomic.h>
#include <string.h>

struct otok_store {
    otok_store_vtab vtab;
    void *self;
    char *name;
    atomic_size_t references;
};

/* No backend returns this: a group that still has it got no result. */
enum { NO_RESULT = 1 };

int otok_store_open(const otok_store_vtab *vtab, void *self, otok_store **out, otok_error *err)
{
    if (out == NULL)
        return otok_fail(err, OTOK_E_INVALID, "out is required");
    *out = NULL;

    otok_store_vtab known;
    int rc = otok_struct_read(&known, sizeof known, vtab, offsetof(otok_store_vtab, fetch), "vtab", err);
    if (rc != OTOK_OK)
        return rc;
    if (known.fetch == NULL || known.commit == NULL || known.scan == NULL || known.count == NULL || known.close == NULL)
        return otok_fail(err, OTOK_E_UNSUPPORTED, "vtab lacks one of fetch, commit, scan, count, close");
    if ((known.guarantees & OTOK_STORE_ATOMIC_GROUPS) == 0)
        return otok_fail(err, OTOK_E_UNSUPPORTED,
                         "vtab.guarantees: a store without OTOK_STORE_ATOMIC_GROUPS is of no use");

    otok_store *store = otok_calloc(1, sizeof *store);
    char *name = otok_strdup(known.name != NULL ? known.name : "custom");
    if (store == NULL || name == NULL) {
        otok_free(store);
        otok_free(name);
        return otok_fail(err, OTOK_E_NOMEM, "no memory for a store");
    }
    store->vtab = known;
    store->vtab.name = name;
    store->self = self;
    store->name = name;
    atomic_init(&store->references, 1);
    *out = store;
    return OTOK_OK;
}

otok_store *otok_store_ref(otok_store *store)
{
    (void)atomic_fetch_add_explicit(&store->references, 1, memory_order_relaxed);
    return store;
}

void otok_store_close(otok_store *store)
{
    if (store == NULL || atomic_fetch_sub_explicit(&store->references, 1, memory_order_acq_rel) != 1)
        return;
    store->vtab.close(store->self);
    otok_free(store->name);
    otok_free(store);
}

uint32_t otok_store_guarantees(const otok_store *store)
{
    return store != NULL ? store->vtab.guarantees : 0;
}

const char *otok_store_name(const otok_store *store)
{
    return store->name;
}

/*
 * Whether a code is one that a store may fail with.  It knows no tokens, and an absent record is no error: taken at its word, a
 * backend that says so in its trouble would have refreshes refused for good, and revocations succeed (CVE-2020-15223).
 */
static bool is_trouble(int rc)
{
    return rc < 0 && rc > OTOK_E_TOKEN_INVALID && rc != OTOK_E_NOT_FOUND;
}

/* What a backend returned, as what its caller gets: a code of the contract, and always with a detail of the same code. */
static int answer(const otok_store *store, const char *function, int rc, const otok_error *detail, otok_error *err)
{
    if (rc == OTOK_OK)
        return OTOK_OK;
    if (!is_trouble(rc))
        return otok_fail(err, OTOK_E_STATE, "%s: %s returned %d, which is no error code of a store", store->name,
                         function, rc);
    if (detail->code != rc)
        return otok_fail(err, rc, "%s: %s failed", store->name, function);
    if (err != NULL)
        *err = *detail;
    return rc;
}

/*
 * What a backend emits, as its caller gets it: as many as were asked for, none behind the end, and none beyond the bounds, for which
 * nobody has room.
 */
struct gate {
    otok_emit emit;
    void *arg;
    size_t left;
    bool ended;
    const char *fault;
};

static int pass(void *arg, const otok_record *record)
{
    struct gate *gate = arg;
    if (gate->fault == NULL && (gate->ended || gate->left == 0))
        gate->fault = gate->ended ? "a record behind the end that was asked for" : "more records than were asked for";
    if (gate->fault == NULL)
        gate->fault = otok_emitted_fault(record);
    if (gate->fault != NULL)
        return 1;
    gate->left--;
    gate->ended = gate->emit(gate->arg, record) != 0;
    return gate->ended;
}

static int emitted(const otok_store *store, const char *function, int rc, const struct gate *gate, otok_error *err)
{
    return rc != OTOK_OK || gate->fault == NULL
               ? rc
               : otok_fail(err, OTOK_E_STATE, "%s: %s emitted %s", store->name, function, gate->fault);
}

int otok_store_fetch(otok_store *store, const otok_id *ids, size_t n, uint32_t flags, otok_emit emit, void *arg,
                     otok_error *err)
{
    const char *fault = store != NULL ? otok_fetch_fault(ids, n, flags, emit) : "store is required";
    if (fault != NULL)
        return otok_fail(err, OTOK_E_INVALID, "fetch: %s", fault);
    otok_error detail = {0};
    struct gate gate = {.emit = emit, .arg = arg, .left = n * (1 + OTOK_MAX_LINKS)};
    int rc = store->vtab.fetch(store->self, ids, n, flags, pass, &gate, &detail);
    return emitted(store, "fetch", answer(store, "fetch", rc, &detail, err), &gate, err);
}

int otok_store_scan(otok_store *store, const otok_scan *scan, otok_emit emit, void *arg, otok_error *err)
{
    const char *fault = store != NULL ? otok_scan_fault(scan, emit) : "store is required";
    if (fault != NULL)
        return otok_fail(err, OTOK_E_INVALID, "scan: %s", fault);
    otok_error detail = {0};
    struct gate gate = {.emit = emit, .arg = arg, .left = scan->limit};
    int rc = store->vtab.scan(store->self, scan, pass, &gate, &detail);
    return emitted(store, "scan", answer(store, "scan", rc, &detail, err), &gate, err);
}

int otok_store_count(otok_store *store, const otok_index_key *key, uint64_t *out, otok_error *err)
{
    const char *fault = store != NULL ? otok_count_fault(key, out) : "store is required";
    if (fault != NULL)
        return otok_fail(err, OTOK_E_INVALID, "count: %s", fault);
    otok_error detail = {0};
    *out = 0;
    return answer(store, "count", store->vtab.count(store->self, key, out, &detail), &detail, err);
}

static int fail_all(otok_group *groups, size_t n, const otok_error *detail, otok_error *err)
{
    for (size_t i = 0; i < n; i++) {
        groups[i].result = detail->code;
        groups[i].error = *detail;
    }
    if (err != NULL)
        *err = *detail;
    return detail->code;
}

/* A group that the backend forgot, or gave no result of the contract, may have been written or not. */
static void settle(const otok_store *store, otok_group *group)
{
    if (group->result == OTOK_OK)
        return;
    if (!is_trouble(group->result))
        group->result = otok_fail(&group->error, OTOK_E_UNCERTAIN, "%s: commit gave a group no result", store->name);
    else if (group->error.code != group->result)
        (void)otok_fail(&group->error, group->result, "%s: %s", store->name,
                        group->result == OTOK_E_CONFLICT ? "another version is stored" : "the group was not committed");
}

int otok_store_commit(otok_store *store, otok_group *groups, size_t n, otok_error *err)
{
    otok_error detail = {0};
    if (store == NULL || (groups == NULL && n != 0))
        return otok_fail(err, OTOK_E_INVALID, "commit: %s is required", store == NULL ? "store" : "groups");
    for (size_t i = 0; i < n; i++) {
        size_t write = 0;
        const char *fault = otok_group_fault(&groups[i], &write);
        if (fault != NULL) {
            (void)otok_fail(&detail, OTOK_E_INVALID, "commit: groups[%zu].writes[%zu]: %s", i, write, fault);
            return fail_all(groups, n, &detail, err);
        }
    }
    if (n == 0)
        return OTOK_OK;

    for (size_t i = 0; i < n; i++) {
        groups[i].result = NO_RESULT;
        memset(&groups[i].error, 0, sizeof groups[i].error);
    }
    otok_error shared;
    int rc = store->vtab.commit(store->self, groups, n, &detail);
    if (rc != OTOK_OK && !is_trouble(rc)) /* which does not say that nothing was written */
        rc = otok_fail(&shared, OTOK_E_UNCERTAIN, "%s: commit returned %d, which is no error code of a store",
                       store->name, rc);
    else
        rc = answer(store, "commit", rc, &detail, &shared);
    if (rc != OTOK_OK)
        return fail_all(groups, n, &shared, err);
    for (size_t i = 0; i < n; i++)
        settle(store, &groups[i]);
    return OTOK_OK;
}

int otok_store_run_check(otok_store *store, int32_t repair, const otok_watch *watch, otok_check *result,
                         otok_error *err)
{
    otok_error detail = {0};
    if (store->vtab.check == NULL)
        return otok_fail(err, OTOK_E_UNSUPPORTED, "%s: this store has no check of its own, and cannot repair",
                         store->name);
    int rc = store->vtab.check(store->self, repair, watch, result, &detail);
    return answer(store, "check", rc, &detail, err);
}

int otok_store_run_backup(otok_store *store, const char *directory, const otok_watch *watch, otok_error *err)
{
    otok_error detail = {0};
    if (store->vtab.backup == NULL)
        return otok_fail(err, OTOK_E_UNSUPPORTED, "%s: this store is backed up by the means of its engine",
                         store->name);
    return answer(store, "backup", store->vtab.backup(store->self, directory, watch, &detail), &detail, err);
}
