/*
 * check_transfer_file.c - S3: a file that is damaged, cut off or no export is refused, the message says where, and nothing
 * behind that place is written.
 *
 * SPDX-License-Identifier: MIT
 */
#include <stdlib.h>
#include <string.h>

#include "support/raw.h"
#include "support/records.h"
#include "support/transfer.h"

#include "format/format.h"

enum { RECORDS = 10, LAST = RECORDS + 2 }; /* lines */

static otok_store *from, *to;
static test_file file;

static void set_up(void)
{
    test_assert_code(OTOK_OK, otok_store_open_memory(&from, NULL));
    test_assert_code(OTOK_OK, otok_store_open_memory(&to, NULL));
    for (uint32_t i = 1; i <= RECORDS; i++)
        test_assert_code(OTOK_OK, test_raw_insert(from, i, i));
    file = test_export(from);
}

static void tear_down(void)
{
    test_file_free(&file);
    otok_store_close(from);
    otok_store_close(to);
}

/* ---------------------------------------------------------------------------------------------------- damages */

static void cut_off_in_a_line(void)
{
    size_t len;
    file.len = (size_t)(test_file_line(&file, 6, &len) - file.data) + 20;
}

static void cut_off_between_lines(void)
{
    size_t len;
    file.len = (size_t)(test_file_line(&file, 6, &len) - file.data);
}

static void without_last_line(void)
{
    test_file_replace(&file, LAST, 1, "", 0);
}

static void last_line_without_end(void)
{
    file.len--;
}

static void empty(void)
{
    file.len = 0;
}

static void swapped(void)
{
    size_t len;
    char *line = test_file_line(&file, 5, &len), *copy = strndup(line, len);
    test_file_replace(&file, 5, 1, "", 0);
    test_file_replace(&file, 6, 0, copy, strlen(copy));
    free(copy);
    test_file_sum(&file);
}

static void doubled(void)
{
    size_t len;
    char *line = test_file_line(&file, 5, &len), *copy = strndup(line, len);
    test_file_replace(&file, 5, 0, copy, strlen(copy));
    free(copy);
    test_file_sum(&file);
}

static void one_line_less(void)
{
    test_file_replace(&file, 5, 1, "", 0);
}

static void one_line_less_and_counted(void)
{
    test_file_replace(&file, 5, 1, "", 0);
    test_file_edit(&file, LAST - 1, "\"records\":10", "\"records\":9");
}

static void another_version_of_a_record(void)
{
    test_file_edit(&file, 5, "\"version\":\"1\"", "\"version\":\"2\"");
}

static void another_sum(void)
{
    test_file_edit(&file, LAST, "\"sha256\":\"", "\"sha256\":\"0");
}

static void sum_that_is_a_number(void)
{
    test_file_replace(&file, LAST, 1, "{\"records\":10,\"sha256\":7}\n", 26);
}

static void number_below_0(void)
{
    test_file_edit(&file, LAST, "\"records\":10", "\"records\":-10");
}

static void too_long_a_line(void)
{
    char *line = malloc(OTOK_LINE_MAX + 1);
    memset(line, ' ', OTOK_LINE_MAX);
    memcpy(line, "{\"id\":", 6);
    line[OTOK_LINE_MAX] = '\n';
    test_file_replace(&file, 5, 1, line, OTOK_LINE_MAX + 1);
    free(line);
}

static void a_line_without_end(void)
{
    char *rest = malloc(10 * OTOK_LINE_MAX);
    memset(rest, 'x', 10 * OTOK_LINE_MAX);
    test_file_replace(&file, 5, LAST, rest, 10 * OTOK_LINE_MAX);
    free(rest);
}

static void newer_version(void)
{
    test_file_edit(&file, 1, "\"version\":1", "\"version\":2");
    test_file_sum(&file);
}

static void version_as_text(void)
{
    test_file_edit(&file, 1, "\"version\":1", "\"version\":\"1\"");
    test_file_sum(&file);
}

static void another_format(void)
{
    test_file_edit(&file, 1, "offlinetok-records", "offlinetok-record");
    test_file_sum(&file);
}

static void without_first_line(void)
{
    test_file_replace(&file, 1, 1, "", 0);
    test_file_sum(&file);
}

static void first_line_is_an_array(void)
{
    test_file_replace(&file, 1, 1, "[1]\n", 4);
}

static void something_else_altogether(void)
{
    static const char text[] = "-- PostgreSQL database dump\n";
    test_file_replace(&file, 1, LAST, text, sizeof text - 1);
}

static void with_byte_order_mark(void)
{
    test_file_replace(&file, 1, 0, "\xef\xbb\xbf", 3);
}

static void ends_of_lines_as_on_windows(void)
{
    test_file made = {0};
    size_t len;
    for (size_t i = 1; i <= LAST; i++) {
        const char *line = test_file_line(&file, i, &len);
        test_file_add(&made, line, len - 1);
        test_file_add(&made, "\r\n", 2);
    }
    test_file_free(&file);
    file = made;
}

static void carriage_return_in_one_line(void)
{
    test_file_edit(&file, 5, "\n", "\r\n");
    test_file_sum(&file);
}

static void space_before_a_line(void)
{
    test_file_replace(&file, 5, 0, " ", 1);
    test_file_sum(&file);
}

static void an_empty_line(void)
{
    test_file_replace(&file, 5, 0, "\n", 1);
    test_file_sum(&file);
}

static void an_empty_line_behind(void)
{
    test_file_add(&file, "\n", 1);
}

static void a_second_export_behind(void)
{
    test_file copy = test_file_copy(&file);
    test_file_add(&file, copy.data, copy.len);
    test_file_free(&copy);
}

static void a_byte_that_is_0(void)
{
    size_t len;
    test_file_line(&file, 5, &len)[8] = '\0';
    test_file_sum(&file);
}

static void a_name_that_is_there_twice(void)
{
    test_file_edit(&file, 5, "\"kind\":1", "\"kind\":1,\"kind\":1");
    test_file_sum(&file);
}

static void a_member_that_is_not_known(void)
{
    test_file_edit(&file, 5, "\"kind\":1", "\"kind\":1,\"handle\":\"AA\"");
    test_file_sum(&file);
}

static void a_kind_that_is_not_known(void)
{
    test_file_edit(&file, 5, "\"kind\":1", "\"kind\":8");
    test_file_sum(&file);
}

/* These two are lines in order, and no record that a store takes. */
static void a_key_of_the_index_of_everything(void)
{
    test_file_edit(&file, 5, "\"keys\":[\"1 ", "\"keys\":[\"0 ");
    test_file_sum(&file);
}

static void two_keys_of_one_index(void)
{
    test_file_edit(&file, 5, "\"keys\":[", "\"keys\":[\"1 AQAAAAEAAAAAAAAAAAAAAA\",");
    test_file_sum(&file);
}

static const struct row {
    void (*damage)(void);
    const char *said;
    size_t written; /* records */
} rows[] = {
    {cut_off_in_a_line, "cut off after line 5", 4},
    {cut_off_between_lines, "cut off after line 5", 4},
    {without_last_line, "cut off after line 11", 10},
    {last_line_without_end, "cut off after line 11", 10},
    {empty, "cut off after line 0", 0},
    {swapped, "line 6: not in the order", 4},
    {doubled, "line 6: not in the order", 4},
    {one_line_less, "another number of records", 9},
    {one_line_less_and_counted, "another SHA-256", 9},
    {another_version_of_a_record, "another SHA-256", 10},
    {another_sum, "another SHA-256", 10},
    {sum_that_is_a_number, "another SHA-256", 10},
    {number_below_0, "another number of records", 10},
    {too_long_a_line, "line 5 is longer than", 3},
    {a_line_without_end, "line 5 is longer than", 3},
    {newer_version, "line 1: a version", 0},
    {version_as_text, "line 1: a version", 0},
    {another_format, "line 1 does not say", 0},
    {without_first_line, "line 1 does not say", 0},
    {first_line_is_an_array, "line 1 is not one object", 0},
    {something_else_altogether, "line 1 is not one object", 0},
    {with_byte_order_mark, "line 1 is not one object", 0},
    {ends_of_lines_as_on_windows, "line 1 is not one object", 0},
    {carriage_return_in_one_line, "line 5 is not one object", 3},
    {space_before_a_line, "line 5 is not one object", 3},
    {an_empty_line, "line 5 is not one object", 3},
    {an_empty_line_behind, "something follows", 10},
    {a_second_export_behind, "something follows", 10},
    {a_byte_that_is_0, "line 5: ", 3},
    {a_name_that_is_there_twice, "line 5: ", 3},
    {a_member_that_is_not_known, "line 5: not a record of 12 members", 3},
    {a_kind_that_is_not_known, "line 5: kind", 3},
    {a_key_of_the_index_of_everything, "line 5: record.keys", 3},
    {two_keys_of_one_index, "line 5: record.keys", 3},
};

START_TEST(a_damaged_file_is_refused_where_the_damage_is)
{
    static const size_t pieces[] = {0, 1, 1000};
    rows[_i].damage();
    for (size_t i = 0; i < sizeof pieces / sizeof pieces[0]; i++) {
        otok_error err = {0};
        otok_transfer result;
        file.piece = pieces[i];
        test_assert_code(OTOK_E_FORMAT, test_import(to, &file, OTOK_IMPORT_REPLACE, 1, NULL, NULL));
        ck_assert_uint_eq(test_count_records(to), i == 0 ? 0 : rows[_i].written);
        test_assert_code(OTOK_E_FORMAT, test_import(to, &file, OTOK_IMPORT_REPLACE, 0, &result, &err));
        ck_assert_msg(strstr(err.message, rows[_i].said) != NULL, "%s", err.message);
        ck_assert_uint_eq(test_count_records(to), rows[_i].written);
        ck_assert_uint_eq(result.inserted + result.same, rows[_i].written);
    }
}
END_TEST

/* Mirroring does not take the end of a damaged file for the end of the records. */
START_TEST(what_is_behind_the_damage_is_not_removed)
{
    otok_transfer result;
    rows[_i].damage();
    for (uint32_t i = RECORDS + 1; i <= 3 * RECORDS; i++)
        test_assert_code(OTOK_OK, test_raw_insert(to, i, i));
    test_assert_code(OTOK_E_FORMAT, test_import(to, &file, OTOK_IMPORT_MIRROR, 0, &result, NULL));
    ck_assert_uint_eq(result.removed, 0);
    ck_assert_uint_eq(test_count_records(to), 2 * RECORDS + rows[_i].written);
}
END_TEST

START_TEST(no_bit_of_a_file_can_be_another)
{
    for (size_t i = 0; i < file.len; i++) {
        for (int bit = 0; bit < 8; bit++) {
            otok_error err = {0};
            file.data[i] = (char)(file.data[i] ^ (1 << bit));
            int rc = test_import(to, &file, OTOK_IMPORT_ADD, 1, NULL, &err);
            ck_assert_msg(rc == OTOK_E_FORMAT, "byte %zu, bit %d: %s", i, bit, otok_error_name(rc));
            ck_assert(err.message[0] != '\0');
            file.data[i] = (char)(file.data[i] ^ (1 << bit));
        }
    }
    test_assert_code(OTOK_OK, test_import(to, &file, OTOK_IMPORT_ADD, 0, NULL, NULL));
}
END_TEST

START_TEST(a_file_cut_off_anywhere_is_refused)
{
    size_t whole = file.len;
    for (file.len = 0; file.len < whole; file.len++)
        test_assert_code(OTOK_E_FORMAT, test_import(to, &file, OTOK_IMPORT_ADD, 1, NULL, NULL));
    ck_assert_uint_eq(test_count_records(to), 0);
}
END_TEST

/* ---------------------------------------------------------------------------------------------------- arguments */

static int import_with(otok_import *import)
{
    otok_error err = {0};
    int rc = otok_store_import(to, import, NULL, NULL, &err);
    ck_assert(rc == OTOK_OK || err.message[0] != '\0');
    return rc;
}

START_TEST(calls_that_are_wrong_are_refused_and_read_nothing)
{
    otok_import import;
    otok_watch watch = {.size = 0};
    otok_transfer result = {.size = 0};
    otok_import_init(&import, sizeof import);
    import.user = &file;
    test_assert_code(OTOK_E_INVALID, import_with(NULL));
    test_assert_code(OTOK_E_INVALID, import_with(&import)); /* no read */
    import.read = test_file_read;
    test_assert_code(OTOK_E_INVALID, otok_store_import(NULL, &import, NULL, NULL, NULL));
    test_assert_code(OTOK_E_INVALID, otok_store_import(to, &import, &watch, NULL, NULL));
    test_assert_code(OTOK_E_INVALID, otok_store_import(to, &import, NULL, &result, NULL));
    import.mode = OTOK_IMPORT_MIRROR + 1;
    test_assert_code(OTOK_E_INVALID, import_with(&import));
    import.mode = -1;
    test_assert_code(OTOK_E_INVALID, import_with(&import));
    import.mode = OTOK_IMPORT_ADD;
    import.dry_run = 2;
    test_assert_code(OTOK_E_INVALID, import_with(&import));
    import.dry_run = 0;
    import.size = 0;
    test_assert_code(OTOK_E_INVALID, import_with(&import));
    test_assert_code(OTOK_E_INVALID, otok_store_export(NULL, test_file_write, &file, NULL, NULL, NULL));
    test_assert_code(OTOK_E_INVALID, otok_store_export(from, NULL, &file, NULL, NULL, NULL));
    test_assert_code(OTOK_E_INVALID, otok_store_export(from, test_file_write, &file, &watch, NULL, NULL));
    test_assert_code(OTOK_E_INVALID, otok_store_export(from, test_file_write, &file, NULL, &result, NULL));
    ck_assert_uint_eq(file.at, 0);
    ck_assert_uint_eq(test_count_records(to), 0);
}
END_TEST

/* A result of an older header is filled as far as it goes; a newer import is taken when what is not known here is 0. */
START_TEST(structs_of_older_and_newer_headers)
{
    struct {
        otok_import known;
        uint64_t later;
    } newer;
    struct {
        otok_transfer known;
        uint64_t later;
    } wide;
    otok_transfer narrow;
    otok_import_init(&newer.known, sizeof newer);
    newer.known.read = test_file_read;
    newer.known.user = &file;
    newer.later = 1;
    test_assert_code(OTOK_E_INVALID, import_with(&newer.known));
    newer.later = 0;
    test_assert_code(OTOK_OK, import_with(&newer.known));

    memset(&narrow, 0xee, sizeof narrow);
    otok_transfer_init(&narrow, offsetof(otok_transfer, inserted));
    file.at = 0;
    test_assert_code(OTOK_OK, otok_store_import(to, &newer.known, NULL, &narrow, NULL));
    ck_assert_uint_eq(narrow.records, RECORDS);
    ck_assert_uint_eq(narrow.size, offsetof(otok_transfer, inserted));
    ck_assert_uint_eq(narrow.same, UINT64_C(0xeeeeeeeeeeeeeeee));
    otok_transfer_init(&wide.known, sizeof wide);
    wide.later = 7;
    file.at = 0;
    test_assert_code(OTOK_OK, otok_store_import(to, &newer.known, NULL, &wide.known, NULL));
    ck_assert_uint_eq(wide.known.same, RECORDS);
    ck_assert_uint_eq(wide.known.size, sizeof wide);
    ck_assert_uint_eq(wide.later, 7);
}
END_TEST

static void add(TCase *tc)
{
    int n = (int)(sizeof rows / sizeof rows[0]);
    tcase_add_checked_fixture(tc, set_up, tear_down);
    tcase_add_loop_test(tc, a_damaged_file_is_refused_where_the_damage_is, 0, n);
    tcase_add_loop_test(tc, what_is_behind_the_damage_is_not_removed, 0, n);
    tcase_add_test(tc, no_bit_of_a_file_can_be_another);
    tcase_add_test(tc, a_file_cut_off_anywhere_is_refused);
    tcase_add_test(tc, calls_that_are_wrong_are_refused_and_read_nothing);
    tcase_add_test(tc, structs_of_older_and_newer_headers);
}

int main(void)
{
    return test_main("transfer_file", add);
}
