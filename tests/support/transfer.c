/*
 * transfer.c
 *
 * SPDX-License-Identifier: MIT
 */
#include "support/transfer.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "store/transfer.h"

void test_file_add(test_file *file, const void *data, size_t len)
{
    if (file->room - file->len < len) {
        file->room = 2 * (file->len + len);
        file->data = realloc(file->data, file->room);
        ck_assert_ptr_nonnull(file->data);
    }
    if (len != 0)
        memcpy(file->data + file->len, data, len);
    file->len += len;
}

void test_file_free(test_file *file)
{
    free(file->data);
    memset(file, 0, sizeof *file);
}

test_file test_file_copy(const test_file *file)
{
    test_file copy = {0};
    test_file_add(&copy, file->data, file->len);
    return copy;
}

int test_file_write(void *user, const void *data, size_t len)
{
    test_file_add(user, data, len);
    return 0;
}

int test_file_read(void *user, void *data, size_t room, size_t *len)
{
    test_file *file = user;
    size_t n = file->len - file->at;
    if (n > room)
        n = room;
    if (file->piece != 0 && n > file->piece)
        n = file->piece;
    if (n != 0)
        memcpy(data, file->data + file->at, n);
    file->at += n;
    *len = n;
    return 0;
}

test_file test_export(otok_store *store)
{
    test_file file = {0};
    otok_error err;
    int rc = otok_store_export(store, test_file_write, &file, NULL, NULL, &err);
    ck_assert_msg(rc == OTOK_OK, "otok_store_export: %s", err.message);
    return file;
}

int test_import(otok_store *store, test_file *file, int32_t mode, int32_t dry_run, otok_transfer *result,
                otok_error *err)
{
    otok_import import;
    otok_import_init(&import, sizeof import);
    import.read = test_file_read;
    import.user = file;
    import.mode = mode;
    import.dry_run = dry_run;
    file->at = 0;
    if (result != NULL)
        otok_transfer_init(result, sizeof *result);
    return otok_store_import(store, &import, NULL, result, err);
}

char *test_file_line(const test_file *file, size_t number, size_t *len)
{
    char *line = file->data, *end = file->data + file->len;
    *len = 0;
    for (size_t i = 1; line < end; i++) {
        char *after = memchr(line, '\n', (size_t)(end - line));
        after = after != NULL ? after + 1 : end;
        if (i == number) {
            *len = (size_t)(after - line);
            return line;
        }
        line = after;
    }
    return end;
}

void test_file_replace(test_file *file, size_t first, size_t n, const char *text, size_t len)
{
    test_file made = {.piece = file->piece};
    size_t unused;
    size_t from = (size_t)(test_file_line(file, first, &unused) - file->data);
    size_t to = (size_t)(test_file_line(file, first + n, &unused) - file->data);
    test_file_add(&made, file->data, from);
    test_file_add(&made, text, len);
    test_file_add(&made, file->data + to, file->len - to);
    free(file->data);
    *file = made;
}

void test_file_edit(test_file *file, size_t number, const char *old, const char *now)
{
    size_t len;
    const char *line = test_file_line(file, number, &len);
    const char *at = memmem(line, len, old, strlen(old));
    test_file made = {0};
    ck_assert_msg(at != NULL, "no %s in line %zu", old, number);
    test_file_add(&made, line, (size_t)(at - line));
    test_file_add(&made, now, strlen(now));
    test_file_add(&made, at + strlen(old), len - (size_t)(at - line) - strlen(old));
    test_file_replace(file, number, 1, made.data, made.len);
    test_file_free(&made);
}

void test_file_sum(test_file *file)
{
    uint8_t sum[OTOK_SHA256_SIZE];
    char text[OTOK_TRANSFER_SUM_CHARS + 1], last[256];
    size_t lines = 0, len;
    while (test_file_line(file, lines + 1, &len), len != 0)
        lines++;
    size_t before = (size_t)(test_file_line(file, lines, &len) - file->data);
    otok_str all = {file->data, before};
    test_assert_code(OTOK_OK, otok_sha256(&all, 1, sum, NULL));
    otok_transfer_print_sum(sum, text);
    int n = snprintf(last, sizeof last, "{\"records\":%zu,\"sha256\":\"%s\"}\n", lines - 2, text);
    test_file_replace(file, lines, 1, last, (size_t)n);
}
