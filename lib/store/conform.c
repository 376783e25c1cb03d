/*
 * conform.c - the conformance kit: runs every clause over a store of its own.
 *
 * SPDX-License-Identifier: MIT
 */
#include "store/store.h"

#include <stdio.h>
#include <string.h>

enum { NOISE = OTOK_MAX_BODY + 256, DOES_NOT_APPLY = -1 };

static const otok_clause *const lists[] = {
    otok_clauses_record, otok_clauses_fetch, otok_clauses_write,  otok_clauses_group,
    otok_clauses_order,  otok_clauses_index, otok_clauses_reopen, otok_clauses_model,
};

static int kit_init(otok_kit *kit, const otok_conform *conform)
{
    *kit = (otok_kit){.conform = conform, .random = conform->seed};
    kit->noise = otok_malloc(NOISE);
    kit->samples = otok_malloc(OTOK_KIT_SAMPLES * sizeof *kit->samples);
    if (kit->noise == NULL || kit->samples == NULL)
        return OTOK_E_NOMEM;
    for (size_t i = 0; i < NOISE; i++)
        kit->noise[i] = i % 7 == 3 ? 0 : (uint8_t)otok_kit_random(kit, 256);
    return OTOK_OK;
}

static void kit_free(otok_kit *kit)
{
    otok_kit_clear(kit);
    otok_free(kit->rows);
    otok_free(kit->noise);
    otok_free(kit->samples);
}

static void report(const otok_conform *conform, const otok_clause *clause, int passed, const char *detail)
{
    if (conform->report != NULL)
        conform->report(conform->user, clause->name, passed, detail);
}

/* Notes the first clause that fails in `err`; OTOK_E_NOMEM ends the run. */
static int run(otok_kit *kit, const otok_clause *clause, int so_far, otok_error *err)
{
    char detail[sizeof kit->detail + 200];
    kit->failed = false;
    kit->stop_after = 0;
    kit->random = kit->conform->seed;
    otok_kit_open(kit, 1);
    bool applies = kit->failed || (otok_store_guarantees(kit->store) & clause->needs) == clause->needs;
    if (applies && !kit->failed)
        clause->check(kit);
    otok_kit_clear(kit);
    otok_store_close(kit->store);
    kit->store = NULL;

    if (kit->short_of_memory) {
        report(kit->conform, clause, DOES_NOT_APPLY, "the kit ran out of memory");
        return otok_fail(err, OTOK_E_NOMEM, "no memory for the conformance kit, in %s", clause->name);
    }
    if (!kit->failed) {
        report(kit->conform, clause, applies ? 1 : DOES_NOT_APPLY, clause->says);
        return so_far;
    }
    (void)snprintf(detail, sizeof detail, "%s.  The contract: %s", kit->detail, clause->says);
    report(kit->conform, clause, 0, detail);
    return so_far != OTOK_OK ? so_far : otok_fail(err, OTOK_E_UNSUPPORTED, "%s: %s", clause->name, kit->detail);
}

int otok_store_conform(const otok_conform *kit, otok_error *err)
{
    otok_conform known;
    otok_kit own;
    int rc = otok_struct_read(&known, sizeof known, kit, sizeof known, "kit", err);
    if (rc != OTOK_OK)
        return rc;
    if (known.open == NULL)
        return otok_fail(err, OTOK_E_INVALID, "kit.open is required");
    if (kit_init(&own, &known) != OTOK_OK) {
        kit_free(&own);
        return otok_fail(err, OTOK_E_NOMEM, "no memory for the conformance kit");
    }
    for (size_t i = 0; i < sizeof lists / sizeof lists[0]; i++) {
        for (const otok_clause *clause = lists[i]; clause->name != NULL && rc != OTOK_E_NOMEM; clause++)
            rc = run(&own, clause, rc, err);
    }
    kit_free(&own);
    return rc;
}
