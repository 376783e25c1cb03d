/*
 * conform_group.c - clauses: a group is all or nothing, and its own.
 *
 * SPDX-License-Identifier: MIT
 */
#include "store/store.h"

/* Records 1 to 4 and, without keys, 6; a group that puts 1, changes the head of 2, deletes 3, asserts 4 and inserts 5. */
struct mixture {
    otok_sample samples[7];
    otok_write writes[5];
};

enum { MIXTURE = 5 };

static void mixture_init(otok_kit *kit, struct mixture *mixture)
{
    static const uint32_t ops[MIXTURE] = {OTOK_WRITE_PUT, OTOK_WRITE_HEAD, OTOK_WRITE_DELETE, OTOK_WRITE_ASSERT,
                                          OTOK_WRITE_INSERT};
    for (uint32_t i = 1; i <= 6; i++) {
        otok_sample *sample = &mixture->samples[i];
        otok_kit_sample(kit, sample, i);
        if (i != 6) {
            otok_kit_add_key(sample, OTOK_INDEX_REALM, 1);
            otok_kit_add_key(sample, OTOK_INDEX_SWEEP, 1);
        }
        if (i != 5)
            otok_kit_insert(kit, sample);
    }
    for (uint32_t i = 0; i < MIXTURE; i++) {
        otok_sample *sample = &mixture->samples[i + 1];
        mixture->writes[i] = (otok_write){.op = ops[i], .expect = sample->record.version, .record = &sample->record};
        if (ops[i] == OTOK_WRITE_PUT || ops[i] == OTOK_WRITE_HEAD)
            sample->record.version++;
    }
    mixture->samples[1].record.sweep_us = 5;
    mixture->samples[1].keys[0] = otok_kit_key(OTOK_INDEX_REALM, 2);
    otok_kit_body(kit, &mixture->samples[1], 77, 777);
    mixture->samples[2].record.head = (otok_str){.data = "new", .len = 3};
}

static void expect_index(otok_kit *kit, uint32_t index, uint8_t fill, const uint32_t *numbers, size_t n,
                         const char *what)
{
    otok_scan scan = otok_kit_scan_of(index, fill, 0, 10);
    otok_kit_expect_rows(kit, &scan, numbers, n, what);
    if (index != OTOK_INDEX_ALL)
        otok_kit_expect_count(kit, scan.key, n, what);
}

static void expect_untouched(otok_kit *kit, const char *what)
{
    static const uint32_t four[] = {1, 2, 3, 4}, all[] = {1, 2, 3, 4, 6};
    otok_sample sample;
    otok_id absent = otok_kit_id(5);
    for (uint32_t i = 1; i <= 4; i++) {
        otok_kit_sample(kit, &sample, i);
        otok_kit_add_key(&sample, OTOK_INDEX_REALM, 1);
        otok_kit_add_key(&sample, OTOK_INDEX_SWEEP, 1);
        otok_kit_expect_record(kit, &sample.record, what);
    }
    otok_kit_expect_absent(kit, &absent, what);
    expect_index(kit, OTOK_INDEX_REALM, 1, four, 4, what);
    expect_index(kit, OTOK_INDEX_REALM, 2, NULL, 0, what);
    expect_index(kit, OTOK_INDEX_SWEEP, 1, four, 4, what);
    expect_index(kit, OTOK_INDEX_ALL, 0, all, 5, what);
}

/* Each write in turn is the stale one, at each place of the group. */
static void all_or_nothing(otok_kit *kit)
{
    struct mixture mixture;
    mixture_init(kit, &mixture);
    for (size_t stale = 0; stale < MIXTURE; stale++) {
        for (size_t place = 0; place < MIXTURE; place++) {
            otok_write writes[MIXTURE];
            otok_group group = {.writes = writes, .n = MIXTURE};
            otok_sample wrong = mixture.samples[stale + 1];
            for (size_t i = 0; i < MIXTURE; i++)
                writes[(i + MIXTURE - stale + place) % MIXTURE] = mixture.writes[i];
            wrong.record.version++;
            writes[place].record = &wrong.record;
            writes[place].expect++;
            if (writes[place].op == OTOK_WRITE_INSERT)
                wrong.record.id = otok_kit_id(6);
            otok_kit_commit(kit, &group, 1);
            otok_kit_expect_result(kit, &group, OTOK_E_CONFLICT, "a group of five writes, one of them stale");
            expect_untouched(kit, "after a group of five writes, one of them stale");
        }
    }
}

static void whole_group(otok_kit *kit)
{
    struct mixture mixture;
    mixture_init(kit, &mixture);
    otok_group group = {.writes = mixture.writes, .n = MIXTURE};
    otok_kit_commit(kit, &group, 1);
    otok_kit_expect_result(kit, &group, OTOK_OK, "a group of PUT, HEAD, DELETE, ASSERT and INSERT");
    otok_kit_expect_absent(kit, &mixture.samples[3].record.id, "the deleted one of a group");
    for (size_t i = 1; i <= 5; i++) {
        if (i != 3)
            otok_kit_expect_record(kit, &mixture.samples[i].record, "a record of a group");
    }
    expect_index(kit, OTOK_INDEX_REALM, 1, (const uint32_t[]){2, 4, 5}, 3, "after the whole group");
    expect_index(kit, OTOK_INDEX_REALM, 2, (const uint32_t[]){1}, 1, "after the whole group");
    expect_index(kit, OTOK_INDEX_SWEEP, 1, (const uint32_t[]){1, 2, 4, 5}, 4, "after the whole group");
    expect_index(kit, OTOK_INDEX_ALL, 0, (const uint32_t[]){1, 2, 4, 5, 6}, 5, "after the whole group");
}

static void assert_guards(otok_kit *kit)
{
    otok_sample guard, sample;
    otok_kit_sample(kit, &guard, 1);
    otok_kit_sample(kit, &sample, 2);
    otok_kit_add_key(&sample, OTOK_INDEX_PAIR, 1);
    otok_kit_insert(kit, &guard);
    for (int first = 1; first >= 0; first--) {
        otok_write writes[2];
        otok_group group = {.writes = writes, .n = 2};
        writes[!first] = (otok_write){OTOK_WRITE_ASSERT, guard.record.version + 1, &guard.record};
        writes[first] = (otok_write){OTOK_WRITE_INSERT, 0, &sample.record};
        otok_kit_commit(kit, &group, 1);
        otok_kit_expect_result(kit, &group, OTOK_E_CONFLICT, "INSERT with an ASSERT of another version");
        otok_kit_expect_absent(kit, &sample.record.id, "after INSERT with an ASSERT of another version");
        otok_kit_expect_count(kit, sample.keys[0], 0, "after INSERT with an ASSERT of another version");
    }
    otok_write writes[] = {{OTOK_WRITE_ASSERT, guard.record.version, &guard.record},
                           {OTOK_WRITE_INSERT, 0, &sample.record}};
    otok_group group = {.writes = writes, .n = 2};
    otok_kit_commit(kit, &group, 1);
    otok_kit_expect_result(kit, &group, OTOK_OK, "INSERT with an ASSERT of the stored version");
    otok_kit_expect_record(kit, &sample.record, "after INSERT with an ASSERT of the stored version");
    otok_kit_expect_record(kit, &guard.record, "the record of an ASSERT");
}

/* A commit of eight groups; those of the bits of `stale` cannot take place. */
static void eight_groups(otok_kit *kit, uint32_t stale, const char *what)
{
    otok_write writes[8];
    otok_group groups[8] = {{0}};
    for (uint32_t i = 0; i < 8; i++) {
        otok_sample *sample = &kit->samples[i];
        otok_kit_sample(kit, sample, 100 * (stale + 1) + i);
        otok_kit_add_key(sample, OTOK_INDEX_REALM, (uint8_t)stale);
        if ((stale >> i & 1) != 0)
            otok_kit_insert(kit, sample);
        writes[i] = (otok_write){.op = OTOK_WRITE_INSERT, .record = &sample->record};
        groups[i] = (otok_group){.writes = &writes[i], .n = 1};
    }
    otok_kit_commit(kit, groups, 8);
    for (uint32_t i = 0; i < 8; i++)
        otok_kit_expect_result(kit, &groups[i], (stale >> i & 1) != 0 ? OTOK_E_CONFLICT : OTOK_OK, what);
    for (uint32_t i = 0; i < 8; i++)
        otok_kit_expect_record(kit, &kit->samples[i].record, what);
    otok_kit_expect_count(kit, otok_kit_key(OTOK_INDEX_REALM, (uint8_t)stale), 8, what);
}

static void independent(otok_kit *kit)
{
    for (uint32_t i = 0; i < 8; i++)
        eight_groups(kit, 1u << i, "eight groups, one of which conflicts");
}

static void own_result(otok_kit *kit)
{
    static const uint32_t stale[] = {0, 0xff, 0x55, 0xaa, 0x0f, 0xf0, 0x91};
    for (size_t i = 0; i < sizeof stale / sizeof stale[0]; i++)
        eight_groups(kit, stale[i], "eight groups, some of which conflict");
}

/* Which of the two wins is the store's own affair. */
static void expect_one_winner(otok_kit *kit, otok_group *groups, const otok_record *first, const otok_record *second,
                              const char *what)
{
    otok_kit_commit(kit, groups, 2);
    if (kit->failed)
        return;
    if ((groups[0].result == OTOK_OK) == (groups[1].result == OTOK_OK)) {
        otok_kit_fail(kit, "%s: %s succeeded, expected exactly one", what,
                      groups[0].result == OTOK_OK ? "both" : "neither");
        return;
    }
    size_t winner = groups[0].result == OTOK_OK ? 0 : 1;
    otok_kit_expect_result(kit, &groups[!winner], OTOK_E_CONFLICT, what);
    otok_kit_expect_record(kit, winner == 0 ? first : second, what);
}

static void one_winner(otok_kit *kit)
{
    static const uint32_t ops[] = {OTOK_WRITE_INSERT, OTOK_WRITE_PUT, OTOK_WRITE_HEAD};
    otok_sample left, right, beside[2];
    for (uint32_t i = 0; i < 3; i++) {
        otok_kit_sample(kit, &left, 10 * i);
        otok_kit_sample(kit, &right, 10 * i);
        otok_kit_sample(kit, &beside[0], 10 * i + 1);
        otok_kit_sample(kit, &beside[1], 10 * i + 2);
        if (ops[i] != OTOK_WRITE_INSERT)
            otok_kit_insert(kit, &left);
        uint64_t expect = left.record.version++;
        right.record.version++;
        right.record.head = (otok_str){.data = "right", .len = 5};

        otok_write lefts[] = {{OTOK_WRITE_INSERT, 0, &beside[0].record}, {ops[i], expect, &left.record}};
        otok_write rights[] = {{OTOK_WRITE_INSERT, 0, &beside[1].record}, {ops[i], expect, &right.record}};
        otok_group groups[] = {{.writes = lefts, .n = 2}, {.writes = rights, .n = 2}};
        expect_one_winner(kit, groups, &left.record, &right.record, "two groups of one commit that expect the same");
        otok_kit_expect_absent(kit, &beside[groups[0].result == OTOK_OK].record.id,
                               "the other write of the group that lost");
        otok_kit_expect_record(kit, &beside[groups[0].result != OTOK_OK].record,
                               "the other write of the group that won");
    }
}

static void sixty_four_writes(otok_kit *kit)
{
    static const uint32_t stale_at = 63;
    otok_write writes[OTOK_MAX_GROUP_WRITES];
    otok_group group = {.writes = writes, .n = OTOK_MAX_GROUP_WRITES};
    otok_sample sample;
    otok_kit_insert_range(kit, 1, OTOK_MAX_GROUP_WRITES, NULL);
    for (uint32_t i = 0; i < OTOK_MAX_GROUP_WRITES; i++) {
        otok_record *record = &kit->samples[i].record;
        writes[i] = (otok_write){.op = OTOK_WRITE_HEAD, .expect = record->version + (i == stale_at), .record = record};
        record->version = writes[i].expect + 1;
        record->head = (otok_str){.data = kit->noise + 50 + i, .len = i % 25};
    }
    otok_kit_commit(kit, &group, 1);
    otok_kit_expect_result(kit, &group, OTOK_E_CONFLICT, "64 HEADs, the last of them stale");
    for (uint32_t i = 0; i < OTOK_MAX_GROUP_WRITES; i++) {
        otok_kit_sample(kit, &sample, 1 + i);
        otok_kit_expect_record(kit, &sample.record, "after 64 HEADs, the last of them stale");
    }
    writes[stale_at].expect--;
    kit->samples[stale_at].record.version--;
    otok_kit_commit(kit, &group, 1);
    otok_kit_expect_result(kit, &group, OTOK_OK, "64 HEADs");
    for (uint32_t i = 0; i < OTOK_MAX_GROUP_WRITES; i++)
        otok_kit_expect_record(kit, &kit->samples[i].record, "after 64 HEADs");
}

static void largest_body(otok_kit *kit, otok_sample *sample)
{
    sample->record.realm = sample->record.subject = sample->record.client = sample->record.head = (otok_str){0};
    otok_kit_body(kit, sample, otok_get_u32(sample->record.id.bytes), OTOK_MAX_BODY);
}

static void a_mebibyte(otok_kit *kit)
{
    enum { N = OTOK_MAX_GROUP_BYTES / OTOK_MAX_BODY };
    otok_sample sample;
    otok_kit_insert_range(kit, 1, N, largest_body);
    for (uint32_t i = 1; i <= N; i++) {
        otok_kit_sample(kit, &sample, i);
        largest_body(kit, &sample);
        otok_kit_expect_record(kit, &sample.record, "one of 16 records of 64 KiB that were inserted in one group");
    }
}

static void commit_many(otok_kit *kit, otok_group *groups, size_t n, const char *what)
{
    otok_kit_commit(kit, groups, n);
    for (size_t i = 0; i < n; i++)
        otok_kit_expect_result(kit, &groups[i], OTOK_OK, what);
}

static void many_groups(otok_kit *kit)
{
    enum { N = OTOK_KIT_SAMPLES, ALL = 4 * N };
    otok_write writes[N];
    otok_sample sample;
    otok_group *groups = otok_calloc(ALL, sizeof *groups);
    otok_kit_insert_range(kit, 1, N, NULL);
    if (groups == NULL) {
        kit->short_of_memory = kit->failed = true;
        return;
    }
    for (uint32_t i = 0; i < N; i++) {
        otok_record *record = &kit->samples[i].record;
        writes[i] = (otok_write){.op = OTOK_WRITE_ASSERT, .expect = record->version, .record = record};
    }
    for (uint32_t i = 0; i < ALL; i++)
        groups[i] = (otok_group){.writes = &writes[i % N], .n = 1};
    commit_many(kit, groups, ALL, "256 groups of one commit, each an ASSERT");

    for (uint32_t i = 0; i < N; i++) {
        kit->samples[i].record.id = otok_kit_id(1001 + i);
        writes[i].op = OTOK_WRITE_INSERT;
    }
    commit_many(kit, groups, N, "64 groups of one commit, each an INSERT");
    otok_free(groups);
    for (uint32_t i = 0; i < N; i++) {
        otok_kit_sample(kit, &sample, 1 + i);
        sample.record.id = otok_kit_id(1001 + i);
        otok_kit_expect_record(kit, &sample.record, "after 64 groups of one commit");
    }
}

const otok_clause otok_clauses_group[] = {
    {"a_group_is_written_whole", "a group is atomic when its result is OTOK_OK", whole_group, 0},
    {"a_conflicting_group_writes_nothing", "otherwise OTOK_E_CONFLICT, and nothing of that group is written",
     all_or_nothing, 0},
    {"an_assert_guards_its_group", "ASSERT: the stored record has the version `expect`, or nothing is written",
     assert_guards, 0},
    {"groups_are_independent", "commit writes groups of records, each group all or nothing", independent, 0},
    {"each_group_gets_its_own_result", "gives every group its result, and returns OTOK_OK", own_result, 0},
    {"of_two_groups_one_succeeds", "at most one of two that expect the same version succeeds", one_winner, 0},
    {"a_group_takes_64_writes", "OTOK_MAX_GROUP_WRITES is 64", sixty_four_writes, 0},
    {"a_group_takes_a_mebibyte", "OTOK_MAX_GROUP_BYTES is 1048576", a_mebibyte, 0},
    {"a_commit_takes_many_groups", "commit takes independent groups, however many", many_groups, 0},
    {NULL, NULL, NULL, 0},
};
