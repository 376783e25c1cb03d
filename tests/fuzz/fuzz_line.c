/*
 * fuzz_line.c - lines of an export, which anybody may have edited: a line is refused, or is a record that a store takes and that
 * comes back from it; and a file of such lines is refused, or leaves a store that is whole.
 *
 * An input is a record's line without its end, and then what stands between the first and the last line of a file.
 *
 * SPDX-License-Identifier: MIT
 */
#include "support/fuzzing.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "store/transfer.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static otok_line first, second;

static bool parse(const void *data, size_t size, otok_line *out)
{
    otok_json *json = NULL;
    int rc = otok_json_parse_long(data, size, OTOK_LINE_MAX, "line", &json, NULL);
    if (rc == OTOK_OK)
        rc = otok_line_parse(json, out, NULL);
    fuzz_must(rc == OTOK_OK || rc == OTOK_E_FORMAT, "a line is parsed or refused");
    if (rc == OTOK_OK) { /* its names point into the JSON */
        otok_record *copy = otok_record_copy(&out->record);
        fuzz_must(copy != NULL, "memory");
        otok_record_free(copy);
    }
    otok_json_free(json);
    return rc == OTOK_OK;
}

static void a_record_is_printed_as_it_was_parsed(const uint8_t *data, size_t size)
{
    otok_json *json = NULL;
    otok_buf again;
    if (!parse(data, size, &first))
        return;
    fuzz_must(otok_json_parse_long((const char *)data, size, OTOK_LINE_MAX, "line", &json, NULL) == OTOK_OK,
              "as before");
    fuzz_must(otok_line_parse(json, &first, NULL) == OTOK_OK, "a line is parsed the same each time");
    otok_buf_init(&again, NULL, 0);
    fuzz_must(otok_line_print(&first.record, &again, NULL) == OTOK_OK, "what was parsed can be printed");
    fuzz_must(again.len <= OTOK_LINE_MAX && again.data[again.len - 1] == '\n', "it is a line that is short enough");
    fuzz_must(parse(again.data, again.len - 1, &second), "what was printed can be parsed");
    fuzz_must(first.record.version == second.record.version && first.record.nkeys == second.record.nkeys &&
                  first.record.nlinks == second.record.nlinks && first.record.body.len == second.record.body.len &&
                  memcmp(first.body, second.body, first.record.body.len) == 0,
              "and it is the same record");
    otok_buf_free(&again);
    otok_json_free(json);
}

/* ---------------------------------------------------------------------------------------------------- a file */

typedef struct file {
    otok_buf text;
    size_t at;
} file;

static int read_file(void *user, void *data, size_t room, size_t *len)
{
    file *f = user;
    *len = f->text.len - f->at < room ? f->text.len - f->at : room;
    if (*len != 0)
        memcpy(data, f->text.data + f->at, *len);
    f->at += *len;
    return 0;
}

static void make_file(file *f, const uint8_t *data, size_t size)
{
    static const char head[] = "{\"format\":\"offlinetok-records\",\"version\":1}\n";
    uint8_t sum[OTOK_SHA256_SIZE];
    char text[OTOK_TRANSFER_SUM_CHARS + 1], last[160];
    size_t lines = 0;
    otok_buf_init(&f->text, NULL, 0);
    otok_buf_add(&f->text, head, sizeof head - 1);
    otok_buf_add(&f->text, data, size);
    if (size != 0 && data[size - 1] != '\n')
        otok_buf_add_u8(&f->text, '\n');
    for (size_t i = sizeof head - 1; i < f->text.len; i++)
        lines += f->text.data[i] == '\n';
    otok_str all = {f->text.data, f->text.len};
    fuzz_must(otok_sha256(&all, 1, sum, NULL) == OTOK_OK, "otok_sha256");
    otok_transfer_print_sum(sum, text);
    (void)snprintf(last, sizeof last, "{\"records\":%zu,\"sha256\":\"%s\"}\n", lines, text);
    otok_buf_add(&f->text, last, strlen(last));
}

static void a_file_is_imported_or_refused(const uint8_t *data, size_t size)
{
    file f = {.at = 0};
    otok_store *store = NULL;
    otok_import import;
    otok_transfer result;
    otok_check check;
    make_file(&f, data, size);
    fuzz_must(otok_store_open_memory(&store, NULL) == OTOK_OK, "otok_store_open_memory");
    otok_import_init(&import, sizeof import);
    otok_transfer_init(&result, sizeof result);
    otok_check_init(&check, sizeof check);
    import.read = read_file;
    import.user = &f;
    int rc = otok_store_import(store, &import, NULL, &result, NULL);
    fuzz_must(rc == OTOK_OK || rc == OTOK_E_FORMAT, "a file is imported or refused");
    fuzz_must(otok_store_check(store, 0, NULL, &check, NULL) == OTOK_OK, "otok_store_check");
    fuzz_must(check.findings == 0 && check.records == result.inserted, "the store has what was said to be inserted");
    fuzz_must(rc != OTOK_OK || result.inserted == result.records, "an import that succeeded is whole");
    otok_store_close(store);
    otok_buf_free(&f.text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    a_record_is_printed_as_it_was_parsed(data, size);
    a_file_is_imported_or_refused(data, size);
    return 0;
}
