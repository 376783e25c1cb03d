/*
 * check_transfer.c - S3: records from any store to any other, without logging anyone out.  Here: what an import does with what
 * is there already, and what ends one midway.  Files that are damaged: check_transfer_file.c; sessions that move:
 * check_transfer_sessions.c.
 *
 * SPDX-License-Identifier: MIT
 */
#include <string.h>

#include "support/broken_store.h"
#include "support/raw.h"
#include "support/records.h"
#include "support/transfer.h"

enum { MANY = 3000 };

static otok_store *memory(void)
{
    otok_store *store;
    test_assert_code(OTOK_OK, otok_store_open_memory(&store, NULL));
    return store;
}

static otok_store *filled(uint32_t first, uint32_t last, uint32_t step)
{
    otok_store *store = memory();
    for (uint32_t i = first; i <= last; i += step)
        test_assert_code(OTOK_OK, test_raw_insert(store, i, i % 40));
    return store;
}

static void expect_counts(const otok_transfer *r, uint64_t inserted, uint64_t replaced, uint64_t removed, uint64_t same)
{
    ck_assert_uint_eq(r->inserted, inserted);
    ck_assert_uint_eq(r->replaced, replaced);
    ck_assert_uint_eq(r->removed, removed);
    ck_assert_uint_eq(r->same, same);
}

static void expect_same_file(const test_file *a, const test_file *b)
{
    ck_assert_uint_eq(a->len, b->len);
    ck_assert_mem_eq(a->data, b->data, a->len);
}

/* ---------------------------------------------------------------------------------------------------- there and back */

/* Numbers of records around the page of a walk and the batch of an import; pieces around lines. */
START_TEST(an_export_that_was_imported_is_exported_the_same_to_the_byte)
{
    static const uint32_t numbers[] = {0, 1, 2, 255, 256, 257, 511, 512, 513, 1025};
    static const size_t pieces[] = {0, 1, 7, 4096};
    for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++) {
        otok_store *from = numbers[i] != 0 ? filled(1, numbers[i], 1) : memory();
        test_file file = test_export(from);
        for (size_t p = 0; p < sizeof pieces / sizeof pieces[0]; p++) {
            otok_store *to = memory();
            otok_transfer result;
            file.piece = pieces[p];
            test_assert_code(OTOK_OK, test_import(to, &file, OTOK_IMPORT_ADD, 0, &result, NULL));
            ck_assert_uint_eq(result.records, numbers[i]);
            expect_counts(&result, numbers[i], 0, 0, 0);
            test_file again = test_export(to);
            expect_same_file(&file, &again);
            test_file_free(&again);
            otok_store_close(to);
        }
        test_file_free(&file);
        otok_store_close(from);
    }
}
END_TEST

START_TEST(what_an_export_says_of_itself)
{
    static const char nothing[] = "{\"format\":\"offlinetok-records\",\"version\":1}\n(the last)\n";
    otok_store *store = memory();
    test_file file = test_export(store), summed = {0};
    test_file_add(&summed, nothing, sizeof nothing - 1);
    test_file_sum(&summed); /* makes the last line, by otok_sha256(), which is not what the export uses */
    expect_same_file(&summed, &file);
    test_file_free(&summed);
    test_file_free(&file);
    otok_store_close(store);
}
END_TEST

/* ---------------------------------------------------------------------------------------------------- what is there already */

enum {
    SAME,
    OTHER_BODY,
    OTHER_HEAD,
    OTHER_KEY,
    OTHER_SWEEP,
    OTHER_LINK,
    OTHER_NAME,
    OTHER_BIRTH,
    OTHER_KIND,
    TO_TOMBSTONE
};

/* Record 2 of the file as the store has it. */
static void insert_variant(otok_store *store, int variant)
{
    static const otok_index_key other_key = {.index = OTOK_INDEX_SUBJECT, .digest = {0x53}};
    static const otok_id link = {{7}};
    otok_record record = test_raw_record(2, OTOK_RECORD_SESSION, 5, 2);
    switch (variant) {
    case OTHER_BODY:
        record.body.len = 1;
        break;
    case OTHER_HEAD:
        record.head = (otok_str){"hea", 3};
        break;
    case OTHER_KEY:
        record.keys = &other_key;
        break;
    case OTHER_SWEEP:
        record.sweep_us++;
        break;
    case OTHER_LINK:
        record.links = &link;
        record.nlinks = 1;
        break;
    case OTHER_NAME:
        record.client = otok_str_of("c");
        break;
    case OTHER_BIRTH:
        record.created_us++;
        break;
    case OTHER_KIND:
        record.kind = OTOK_RECORD_PAIR;
        break;
    default:
        break;
    }
    test_assert_code(OTOK_OK, test_raw_write(store, OTOK_WRITE_INSERT, 0, &record, NULL));
}

/* The file has 1, 2 and 3; the store 2 as the row says, and 4, which the file has not. */
static const struct row {
    int variant, mode, code;
    uint64_t inserted, replaced, removed, same;
} rows[] = {
    {SAME, OTOK_IMPORT_ADD, OTOK_OK, 2, 0, 0, 1},
    {SAME, OTOK_IMPORT_REPLACE, OTOK_OK, 2, 0, 0, 1},
    {SAME, OTOK_IMPORT_MIRROR, OTOK_OK, 2, 0, 1, 1},
    {OTHER_BODY, OTOK_IMPORT_ADD, OTOK_E_CONFLICT, 1, 0, 0, 0},
    {OTHER_BODY, OTOK_IMPORT_REPLACE, OTOK_OK, 2, 1, 0, 0},
    {OTHER_BODY, OTOK_IMPORT_MIRROR, OTOK_OK, 2, 1, 1, 0},
    {OTHER_HEAD, OTOK_IMPORT_ADD, OTOK_E_CONFLICT, 1, 0, 0, 0},
    {OTHER_HEAD, OTOK_IMPORT_REPLACE, OTOK_OK, 2, 1, 0, 0},
    {OTHER_KEY, OTOK_IMPORT_ADD, OTOK_E_CONFLICT, 1, 0, 0, 0},
    {OTHER_KEY, OTOK_IMPORT_MIRROR, OTOK_OK, 2, 1, 1, 0},
    {OTHER_SWEEP, OTOK_IMPORT_ADD, OTOK_E_CONFLICT, 1, 0, 0, 0},
    {OTHER_SWEEP, OTOK_IMPORT_MIRROR, OTOK_OK, 2, 1, 1, 0},
    {OTHER_LINK, OTOK_IMPORT_ADD, OTOK_E_CONFLICT, 1, 0, 0, 0},
    {OTHER_LINK, OTOK_IMPORT_REPLACE, OTOK_OK, 2, 1, 0, 0},
    {OTHER_NAME, OTOK_IMPORT_ADD, OTOK_E_CONFLICT, 1, 0, 0, 0},
    {OTHER_NAME, OTOK_IMPORT_REPLACE, OTOK_OK, 2, 1, 0, 0},
    {OTHER_BIRTH, OTOK_IMPORT_ADD, OTOK_E_CONFLICT, 1, 0, 0, 0},
    {OTHER_BIRTH, OTOK_IMPORT_REPLACE, OTOK_OK, 2, 1, 0, 0},
    {OTHER_BIRTH, OTOK_IMPORT_MIRROR, OTOK_OK, 2, 1, 1, 0},
    {OTHER_KIND, OTOK_IMPORT_ADD, OTOK_E_CONFLICT, 1, 0, 0, 0},
    {OTHER_KIND, OTOK_IMPORT_REPLACE, OTOK_OK, 2, 1, 0, 0},
    {OTHER_KIND, OTOK_IMPORT_MIRROR, OTOK_OK, 2, 1, 1, 0},
    {TO_TOMBSTONE, OTOK_IMPORT_ADD, OTOK_E_CONFLICT, 1, 0, 0, 0},
    {TO_TOMBSTONE, OTOK_IMPORT_REPLACE, OTOK_OK, 2, 1, 0, 0},
};

/* A store with nothing but what the file has, or with 4 as well. */
static void expect_content(otok_store *store, const test_file *file, bool with_four)
{
    otok_store *wanted = memory();
    otok_transfer r;
    test_file copy = test_file_copy(file);
    test_assert_code(OTOK_OK, test_import(wanted, &copy, OTOK_IMPORT_ADD, 0, NULL, NULL));
    if (with_four)
        test_assert_code(OTOK_OK, test_raw_insert(wanted, 4, 4));
    test_file there = test_export(store);
    test_assert_code(OTOK_OK, test_import(wanted, &there, OTOK_IMPORT_ADD, 1, &r, NULL)); /* all but the versions */
    expect_counts(&r, 0, 0, 0, with_four ? 4 : 3);
    ck_assert_uint_eq(test_count_records(store), with_four ? 4 : 3);
    test_file_free(&copy);
    test_file_free(&there);
    otok_store_close(wanted);
}

static void import_row(int engine, int nth)
{
    const struct row *row = &rows[nth / 2];
    int32_t dry_run = nth % 2;
    char *folder = test_new_folder();
    otok_store *from = filled(1, 1, 1), *to = engine == TEST_LMDB ? test_open_lmdb(folder, NULL) : memory();
    otok_transfer r;
    otok_error err = {0};
    insert_variant(from, SAME);
    test_assert_code(OTOK_OK, test_raw_insert(from, 3, 3));
    test_file file = test_export(from);
    if (row->variant == TO_TOMBSTONE)
        test_file_edit(&file, 3, "\"kind\":1", "\"kind\":7");
    test_file_sum(&file);
    insert_variant(to, row->variant);
    test_assert_code(OTOK_OK, test_raw_insert(to, 4, 4));
    uint64_t state = test_store_state(to);

    test_assert_code(row->code, test_import(to, &file, row->mode, dry_run, &r, &err));
    expect_counts(&r, row->inserted, row->replaced, row->removed, row->same);
    if (dry_run != 0)
        ck_assert_uint_eq(test_store_state(to), state);
    if (row->code == OTOK_E_CONFLICT)
        ck_assert_msg(strstr(err.message, "line 3") != NULL, "%s", err.message);
    else if (dry_run == 0)
        expect_content(to, &file, row->mode != OTOK_IMPORT_MIRROR);
    if (row->code == OTOK_OK && dry_run == 0) { /* a second one has nothing left to do */
        test_assert_code(OTOK_OK, test_import(to, &file, row->mode, 0, &r, NULL));
        expect_counts(&r, 0, 0, 0, 3);
    }
    test_file_free(&file);
    otok_store_close(from);
    otok_store_close(to);
    test_remove_folder(folder);
}

START_TEST(what_an_import_does_with_what_is_there_in_memory)
{
    import_row(TEST_MEMORY, _i);
}
END_TEST

START_TEST(what_an_import_does_with_what_is_there_in_lmdb)
{
    import_row(TEST_LMDB, _i);
}
END_TEST

/* Stores and file are gone through side by side: over many pages of both, each interleaved with the other. */
START_TEST(mirroring_makes_one_store_of_another_whatever_was_there)
{
    static const uint32_t steps[][2] = {{1, 1}, {1, 2}, {2, 1}, {2, 3}, {3, 2}, {7, 5}, {1, MANY}, {MANY, 1}};
    for (size_t i = 0; i < sizeof steps / sizeof steps[0]; i++) {
        otok_store *from = filled(1, MANY, steps[i][0]), *to = filled(1, MANY, steps[i][1]);
        otok_transfer r;
        test_file file = test_export(from);
        test_assert_code(OTOK_OK, test_import(to, &file, OTOK_IMPORT_MIRROR, 0, &r, NULL));
        test_file again = test_export(to);
        expect_same_file(&file, &again);
        ck_assert_uint_eq(r.inserted + r.same, test_count_records(from));
        test_file_free(&again);
        test_file_free(&file);
        otok_store_close(from);
        otok_store_close(to);
    }
}
END_TEST

/* ---------------------------------------------------------------------------------------------------- ended midway */

static int end_at(void *user, uint64_t done, uint64_t total)
{
    ck_assert_uint_eq(total, 0);
    return done >= *(uint64_t *)user;
}

START_TEST(progress_ends_an_import_and_another_one_finishes_it)
{
    uint64_t most = 2000;
    otok_store *from = filled(1, MANY, 1), *to = memory();
    otok_transfer r;
    otok_watch watch;
    otok_import import;
    test_file file = test_export(from);
    otok_watch_init(&watch, sizeof watch);
    otok_import_init(&import, sizeof import);
    otok_transfer_init(&r, sizeof r);
    watch.progress = end_at;
    watch.user = &most;
    import.read = test_file_read;
    import.user = &file;
    test_assert_code(OTOK_E_CALLBACK, otok_store_import(to, &import, &watch, &r, NULL));
    ck_assert_uint_gt(r.inserted, 0);
    ck_assert_uint_lt(r.inserted, MANY);
    ck_assert_uint_eq(test_count_records(to), r.inserted); /* what was done stays */
    uint64_t before = r.inserted;
    test_assert_code(OTOK_OK, test_import(to, &file, OTOK_IMPORT_ADD, 0, &r, NULL));
    expect_counts(&r, MANY - before, 0, 0, before);
    test_file_free(&file);
    otok_store_close(from);
    otok_store_close(to);
}
END_TEST

START_TEST(progress_and_write_end_an_export)
{
    uint64_t most = 2000;
    otok_store *from = filled(1, MANY, 1);
    test_file file = {0};
    otok_transfer r;
    otok_watch watch;
    otok_watch_init(&watch, sizeof watch);
    otok_transfer_init(&r, sizeof r);
    watch.progress = end_at;
    watch.user = &most;
    test_assert_code(OTOK_E_CALLBACK, otok_store_export(from, test_file_write, &file, &watch, &r, NULL));
    ck_assert_uint_ge(r.records, most);
    ck_assert_uint_lt(r.records, MANY);
    test_file_free(&file);
    otok_store_close(from);
}
END_TEST

typedef struct limited {
    test_file *file;
    size_t calls, most;
    bool lies; /* about how much it read */
} limited;

static int write_some(void *user, const void *data, size_t len)
{
    limited *l = user;
    return ++l->calls > l->most ? -1 : test_file_write(l->file, data, len);
}

static int read_some(void *user, void *data, size_t room, size_t *len)
{
    limited *l = user;
    if (++l->calls <= l->most)
        return test_file_read(l->file, data, room, len);
    *len = room + 1;
    return l->lies ? 0 : 1;
}

START_TEST(a_write_that_fails_ends_the_export_wherever_it_is)
{
    otok_store *from = filled(1, 10, 1);
    for (size_t most = 0; most < 12; most++) {
        test_file file = {0};
        limited l = {.file = &file, .most = most};
        otok_error err = {0};
        test_assert_code(OTOK_E_CALLBACK, otok_store_export(from, write_some, &l, NULL, NULL, &err));
        ck_assert_uint_eq(l.calls, most + 1);
        ck_assert_ptr_nonnull(strstr(err.message, "write"));
        test_file_free(&file);
    }
    otok_store_close(from);
}
END_TEST

START_TEST(a_read_that_fails_ends_the_import_wherever_it_is)
{
    otok_store *from = filled(1, 10, 1);
    test_file file = test_export(from);
    file.piece = 100;
    for (size_t most = 0; most < file.len / 100; most++) {
        otok_store *to = memory();
        limited l = {.file = &file, .most = most, .lies = most % 2 != 0};
        otok_import import;
        otok_import_init(&import, sizeof import);
        import.read = read_some;
        import.user = &l;
        file.at = 0;
        test_assert_code(OTOK_E_CALLBACK, otok_store_import(to, &import, NULL, NULL, NULL));
        ck_assert_uint_le(test_count_records(to), most * 100 / 150);
        otok_store_close(to);
    }
    test_file_free(&file);
    otok_store_close(from);
}
END_TEST

/* What the store says goes to the caller, and what was written before it stays. */
START_TEST(a_store_that_fails_midway_ends_the_import_and_another_one_finishes_it)
{
    static const int codes[] = {OTOK_E_FULL, OTOK_E_BUSY, OTOK_E_IO, OTOK_E_UNCERTAIN, OTOK_E_NOMEM};
    otok_store *from = filled(1, MANY, 1);
    test_file file = test_export(from);
    for (size_t i = 0; i < 2 * sizeof codes / sizeof codes[0]; i++) {
        broken_store *control;
        otok_transfer r;
        otok_store *to = broken_store_open(NULL, BROKEN_NOTHING, &control);
        broken_store_fail_commits(control,
                                  (broken_plan){.code = codes[i / 2], .skip = 3, .times = 1, .as_result = i % 2 != 0});
        test_assert_code(codes[i / 2], test_import(to, &file, OTOK_IMPORT_ADD, 0, &r, NULL));
        uint64_t before = test_count_records(to);
        ck_assert_uint_eq(r.inserted, before);
        ck_assert_uint_gt(before, 0);
        ck_assert_uint_lt(before, MANY);
        broken_store_fail_reads(control, codes[i / 2], 2, 1);
        test_assert_code(codes[i / 2], test_import(to, &file, OTOK_IMPORT_ADD, 0, &r, NULL));
        test_assert_code(OTOK_OK, test_import(to, &file, OTOK_IMPORT_ADD, 0, &r, NULL));
        test_file again = test_export(to);
        expect_same_file(&file, &again);
        test_file_free(&again);
        otok_store_close(to);
    }
    test_file_free(&file);
    otok_store_close(from);
}
END_TEST

static void add(TCase *tc)
{
    int both = 2 * (int)(sizeof rows / sizeof rows[0]);
    tcase_add_test(tc, an_export_that_was_imported_is_exported_the_same_to_the_byte);
    tcase_add_test(tc, what_an_export_says_of_itself);
    tcase_add_loop_test(tc, what_an_import_does_with_what_is_there_in_memory, 0, both);
    tcase_add_loop_test(tc, what_an_import_does_with_what_is_there_in_lmdb, 0, both);
    tcase_add_test(tc, mirroring_makes_one_store_of_another_whatever_was_there);
    tcase_add_test(tc, progress_ends_an_import_and_another_one_finishes_it);
    tcase_add_test(tc, progress_and_write_end_an_export);
    tcase_add_test(tc, a_write_that_fails_ends_the_export_wherever_it_is);
    tcase_add_test(tc, a_read_that_fails_ends_the_import_wherever_it_is);
    tcase_add_test(tc, a_store_that_fails_midway_ends_the_import_and_another_one_finishes_it);
}

int main(void)
{
    return test_main("transfer", add);
}
