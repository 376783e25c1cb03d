/*
 * oom_change.c - what a call has made of a store, by its records and their versions.
 *
 * SPDX-License-Identifier: MIT
 */
#include "support/oom.h"

#include <string.h>

static int keep_one(void *arg, const otok_record *record)
{
    oom_versions *v = arg;
    if (v->n == OOM_MOST_RECORDS)
        ck_abort_msg("more records than %d", OOM_MOST_RECORDS);
    v->ids[v->n] = record->id;
    v->versions[v->n++] = record->version;
    return 0;
}

void oom_versions_of(otok_store *store, oom_versions *out)
{
    otok_error err;
    otok_scan scan = {.size = sizeof scan, .limit = OTOK_MAX_FETCH};
    size_t before;
    out->n = 0;
    do {
        before = out->n;
        test_assert_code(OTOK_OK, otok_store_scan(store, &scan, keep_one, out, &err));
        scan.flags = OTOK_SCAN_AFTER;
        if (out->n != 0)
            scan.after = out->ids[out->n - 1];
    } while (out->n - before == OTOK_MAX_FETCH);
}

/* Both are in the order of ids. */
oom_change oom_change_between(const oom_versions *old, const oom_versions *now)
{
    oom_change change = {0};
    size_t i = 0, j = 0;
    while (i < old->n || j < now->n) {
        int order = i == old->n ? 1 : j == now->n ? -1 : memcmp(&old->ids[i], &now->ids[j], sizeof old->ids[i]);
        change.deleted += order < 0;
        change.inserted += order > 0;
        change.raised += order == 0 && now->versions[j] == old->versions[i] + 1;
        change.spoiled +=
            order == 0 && now->versions[j] != old->versions[i] + 1 && now->versions[j] != old->versions[i];
        i += order <= 0;
        j += order >= 0;
    }
    return change;
}

bool oom_change_is(oom_change change, oom_change expected)
{
    return change.inserted == expected.inserted && change.raised == expected.raised &&
           change.deleted == expected.deleted && change.spoiled == expected.spoiled;
}
