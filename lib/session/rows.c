/*
 * rows.c - what a scan emits, kept: the callbacks of a store must not call it again, so whoever works on rows copies them first.
 *
 * SPDX-License-Identifier: MIT
 */
#include "session/session.h"

static int on_row(void *arg, const otok_record *record)
{
    otok_rows *rows = arg;
    if ((rows->by_sweep ? record->sweep_us : record->created_us) > rows->until_us) {
        rows->past = true;
        return 1;
    }
    otok_record *copy = otok_record_copy(record);
    if (copy == NULL) {
        rows->short_of_memory = true;
        return 1;
    }
    rows->records[rows->n++] = copy;
    return 0;
}

int otok_rows_scan(otok_service *service, const otok_scan *scan, otok_rows *rows, otok_error *err)
{
    rows->n = 0;
    rows->past = rows->short_of_memory = false;
    rows->by_sweep = scan->key.index == OTOK_INDEX_SWEEP;
    rows->records = otok_calloc(scan->limit, sizeof(otok_record *));
    if (rows->records == NULL)
        return otok_fail(err, OTOK_E_NOMEM, "out of memory");
    int rc = otok_store_scan(service->store, scan, on_row, rows, err);
    if (rc == OTOK_OK && rows->short_of_memory)
        rc = otok_fail(err, OTOK_E_NOMEM, "out of memory");
    if (rc != OTOK_OK)
        otok_rows_free(rows);
    return rc;
}

void otok_rows_free(otok_rows *rows)
{
    for (size_t i = 0; i < rows->n; i++)
        otok_record_free(rows->records[i]);
    otok_free(rows->records);
    rows->records = NULL;
    rows->n = 0;
}

/* ------------------------------------------------------------------------------------------------------------- one */

struct one {
    otok_record *copy;
    bool short_of_memory;
};

static int on_one(void *arg, const otok_record *record)
{
    struct one *one = arg;
    one->copy = otok_record_copy(record);
    one->short_of_memory = one->copy == NULL;
    return 1;
}

int otok_record_fetch(otok_service *service, const otok_id *id, otok_record **out, otok_error *err)
{
    struct one one = {0};
    int rc = otok_store_fetch(service->store, id, 1, 0, on_one, &one, err);
    if (rc == OTOK_OK && one.short_of_memory) /* which must not pass for absence */
        rc = otok_fail(err, OTOK_E_NOMEM, "out of memory");
    if (rc != OTOK_OK) {
        otok_record_free(one.copy);
        one.copy = NULL;
    }
    *out = one.copy;
    return rc;
}
