/*
 * conform_model.c - clauses: some thousand random groups, and a model that says what must have become of them.
 *
 * The model is an array of records, one slot an id, without any index: what a scan should emit is found by looking at all.
 *
 * SPDX-License-Identifier: MIT
 */
#include "store/store.h"

#include <string.h>

enum { SLOTS = 48, GROUPS = 4, WRITES = 4, COMMITS = 1200, FILLS = 3, TIMES = 5, CHECK_EVERY = 60 };

struct model {
    otok_kit *kit;
    otok_record *slots[SLOTS];
    uint32_t sorted[SLOTS];
};

static const int64_t times[TIMES] = {-5, 0, 7, INT64_C(1700000000000000), INT64_MAX};

/* Indexes that the records of the model have keys of. */
static const uint32_t indexes[] = {OTOK_INDEX_REALM, OTOK_INDEX_SUBJECT, OTOK_INDEX_SWEEP, OTOK_INDEX_MAX};
enum { INDEXES = sizeof indexes / sizeof indexes[0] };

/* ------------------------------------------------------------------------------------------------------------- writes */

/* An id keeps its kind: that of its slot, or a tombstone. */
static void random_sample(otok_kit *kit, otok_sample *sample, uint32_t slot)
{
    otok_kit_sample(kit, sample, slot);
    otok_record *record = &sample->record;
    record->kind = slot % 6 + 1;
    record->version = otok_kit_random(kit, UINT64_MAX);
    record->created_us = times[otok_kit_random(kit, TIMES)];
    record->sweep_us = times[otok_kit_random(kit, TIMES)];
    record->head.len = otok_kit_random(kit, OTOK_MAX_HEAD + 1);
    record->head.data = kit->noise + otok_kit_random(kit, 200);
    size_t body = otok_kit_random(kit, 8) != 0 ? otok_kit_random(kit, 400) : otok_kit_random(kit, 9000);
    otok_kit_body(kit, sample, otok_kit_random(kit, 256), body);
    for (size_t i = 0; i < INDEXES; i++) {
        if (otok_kit_random(kit, 3) != 0)
            otok_kit_add_key(sample, indexes[i], (uint8_t)otok_kit_random(kit, FILLS));
    }
    for (uint64_t links = otok_kit_random(kit, 4); links > 0; links--)
        otok_kit_add_link(sample, (uint32_t)otok_kit_random(kit, SLOTS + 4));
}

/* Of ten writes about one is wrong: another version, a record that is not there or, for INSERT, one that is. */
static otok_write random_write(struct model *model, otok_sample *sample, uint32_t slot)
{
    otok_kit *kit = model->kit;
    const otok_record *stored = model->slots[slot];
    bool wrong = otok_kit_random(kit, 10) == 0;
    random_sample(kit, sample, slot);
    otok_write write = {.op = OTOK_WRITE_INSERT, .record = &sample->record};
    if ((stored == NULL) != wrong)
        return write;
    write.op = OTOK_WRITE_PUT + (uint32_t)otok_kit_random(kit, 4);
    write.expect = (stored != NULL ? stored->version : 0) + (wrong ? otok_kit_random(kit, 3) - 1 : 0);
    if (write.op == OTOK_WRITE_PUT || write.op == OTOK_WRITE_HEAD)
        sample->record.version = write.expect + 1;
    if (write.op == OTOK_WRITE_PUT && otok_kit_random(kit, 8) == 0)
        sample->record.kind = OTOK_RECORD_TOMBSTONE;
    if (write.op == OTOK_WRITE_PUT && stored != NULL && stored->kind == OTOK_RECORD_TOMBSTONE)
        sample->record.kind = OTOK_RECORD_TOMBSTONE;
    return write;
}

static bool fits(const struct model *model, const otok_group *group)
{
    for (size_t i = 0; i < group->n; i++) {
        const otok_write *write = &group->writes[i];
        const otok_record *stored = model->slots[otok_get_u32(write->record->id.bytes)];
        if (write->op == OTOK_WRITE_INSERT ? stored != NULL : stored == NULL || stored->version != write->expect)
            return false;
    }
    return true;
}

static void apply_write(struct model *model, const otok_write *write)
{
    otok_record **slot = &model->slots[otok_get_u32(write->record->id.bytes)];
    otok_record changed = *write->record, *stored = NULL;
    if (write->op == OTOK_WRITE_ASSERT)
        return;
    if (write->op == OTOK_WRITE_PUT) {
        changed.created_us = (*slot)->created_us;
    } else if (write->op == OTOK_WRITE_HEAD) {
        changed = **slot;
        changed.head = write->record->head;
        changed.version = write->record->version;
    }
    if (write->op != OTOK_WRITE_DELETE && (stored = otok_record_copy(&changed)) == NULL)
        model->kit->short_of_memory = model->kit->failed = true;
    otok_record_free(*slot);
    *slot = stored;
}

static void apply(struct model *model, const otok_group *group)
{
    for (size_t i = 0; i < group->n; i++)
        apply_write(model, &group->writes[i]);
}

/* The groups of one commit have no id in common: which of two that do comes first is the store's own affair. */
static void random_commit(struct model *model)
{
    otok_kit *kit = model->kit;
    otok_write writes[GROUPS * WRITES];
    otok_group groups[GROUPS];
    size_t n = 1 + otok_kit_random(kit, GROUPS), used = 0;
    uint32_t slot = (uint32_t)otok_kit_random(kit, SLOTS);
    memset(groups, 0, sizeof groups);
    for (size_t i = 0; i < n; i++) {
        groups[i].writes = &writes[used];
        groups[i].n = 1 + otok_kit_random(kit, WRITES);
        for (size_t j = 0; j < groups[i].n; j++, used++) {
            slot = (slot + 1 + (uint32_t)otok_kit_random(kit, 3)) % SLOTS;
            writes[used] = random_write(model, &kit->samples[used], slot);
        }
    }
    otok_kit_commit(kit, groups, n);
    for (size_t i = 0; i < n && !kit->failed; i++) {
        bool fit = fits(model, &groups[i]);
        otok_kit_expect_result(kit, &groups[i], fit ? OTOK_OK : OTOK_E_CONFLICT, "a random group");
        if (fit)
            apply(model, &groups[i]);
    }
}

/* ------------------------------------------------------------------------------------------------------------- reads */

static bool has_key(const otok_record *record, const otok_index_key *key)
{
    for (size_t i = 0; i < record->nkeys; i++) {
        if (record->keys[i].index == key->index)
            return memcmp(record->keys[i].digest, key->digest, sizeof key->digest) == 0;
    }
    return key->index == OTOK_INDEX_ALL;
}

static int64_t order_of(const otok_record *record, uint32_t index)
{
    if (index == OTOK_INDEX_ALL)
        return 0;
    return index == OTOK_INDEX_SWEEP ? record->sweep_us : record->created_us;
}

static bool is_before(const struct model *model, uint32_t a, uint32_t b, uint32_t index)
{
    int64_t left = order_of(model->slots[a], index), right = order_of(model->slots[b], index);
    return left != right ? left < right : a < b;
}

/* The slots that have the key, in the order of the walk, into model->sorted; ids are in the order of slots. */
static uint32_t sort_slots(struct model *model, const otok_scan *scan)
{
    uint32_t n = 0;
    bool descending = (scan->flags & OTOK_SCAN_DESCENDING) != 0;
    for (uint32_t slot = 0; slot < SLOTS; slot++) {
        if (model->slots[slot] == NULL || !has_key(model->slots[slot], &scan->key))
            continue;
        uint32_t at = n++;
        while (at > 0 && is_before(model, slot, model->sorted[at - 1], scan->key.index) != descending) {
            model->sorted[at] = model->sorted[at - 1];
            at--;
        }
        model->sorted[at] = slot;
    }
    return n;
}

/* Begins behind a row somewhere, half of the time. */
static void compare_scan(struct model *model, uint32_t index, uint8_t fill)
{
    otok_kit *kit = model->kit;
    otok_scan scan = otok_kit_scan_of(index, fill, (uint32_t)otok_kit_random(kit, 2) * OTOK_SCAN_DESCENDING,
                                      1 + (uint32_t)otok_kit_random(kit, SLOTS + 4));
    uint32_t n = sort_slots(model, &scan), first = 0;
    if (n > 0 && otok_kit_random(kit, 2) == 0) {
        first = 1 + (uint32_t)otok_kit_random(kit, n);
        const otok_record *last = model->slots[model->sorted[first - 1]];
        scan.flags |= OTOK_SCAN_AFTER;
        scan.after = last->id;
        scan.after_us = order_of(last, index);
    }
    uint32_t want = n - first < scan.limit ? n - first : scan.limit;
    otok_kit_expect_rows(kit, &scan, model->sorted + first, want, "a random scan");
    for (uint32_t i = 0; i < want && !kit->failed; i++)
        otok_kit_expect_same(kit, model->slots[model->sorted[first + i]], kit->rows[i], "a row of a random scan");
    if (index != OTOK_INDEX_ALL)
        otok_kit_expect_count(kit, scan.key, n, "a key among random groups");
}

static void compare_records(struct model *model)
{
    for (uint32_t slot = 0; slot < SLOTS; slot++) {
        otok_id id = otok_kit_id(slot);
        if (model->slots[slot] != NULL)
            otok_kit_expect_record(model->kit, model->slots[slot], "a record after random groups");
        else
            otok_kit_expect_absent(model->kit, &id, "an id that random groups left without a record");
    }
}

static void compare_indexes(struct model *model)
{
    for (int times_each = 0; times_each < 2; times_each++) {
        compare_scan(model, OTOK_INDEX_ALL, 0);
        for (size_t i = 0; i < INDEXES; i++) {
            for (uint32_t fill = 0; fill <= FILLS; fill++)
                compare_scan(model, indexes[i], (uint8_t)fill);
        }
    }
}

static void run_model(otok_kit *kit, void (*compare)(struct model *model))
{
    struct model model = {.kit = kit};
    for (uint32_t i = 1; i <= COMMITS && !kit->failed; i++) {
        random_commit(&model);
        if (i % CHECK_EVERY == 0)
            compare(&model);
    }
    for (size_t i = 0; i < SLOTS; i++)
        otok_record_free(model.slots[i]);
}

static void random_records(otok_kit *kit)
{
    run_model(kit, compare_records);
}

static void random_indexes(otok_kit *kit)
{
    run_model(kit, compare_indexes);
}

const otok_clause otok_clauses_model[] = {
    {"random_groups_leave_the_records_of_a_model", "all of it", random_records, 0},
    {"random_groups_leave_the_indexes_of_a_model", "all of it", random_indexes, 0},
    {NULL, NULL, NULL, 0},
};
