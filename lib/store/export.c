/*
 * export.c - every record of a store as lines of JSON (S3); import.c reads them.
 *
 * SPDX-License-Identifier: MIT
 */
#include "store/transfer.h"

#include <stdio.h>

void otok_transfer_init(otok_transfer *transfer, size_t size)
{
    otok_struct_init(transfer, size);
}

void otok_transfer_print_sum(const uint8_t sum[OTOK_SHA256_SIZE], char out[OTOK_TRANSFER_SUM_CHARS + 1])
{
    for (size_t i = 0; i < OTOK_SHA256_SIZE; i++)
        (void)snprintf(out + 2 * i, 3, "%02x", sum[i]);
}

/* An export under way. */
struct writer {
    int (*write)(void *user, const void *data, size_t len);
    void *user;
    otok_sum *sum;
    otok_buf line;
};

/* Sends the line, and begins the next. */
static int send_line(struct writer *w, bool summed, otok_error *err)
{
    int rc = w->line.failed ? otok_fail(err, OTOK_E_NOMEM, "no memory for a line") : OTOK_OK;
    if (rc == OTOK_OK && summed)
        rc = otok_sum_add(w->sum, w->line.data, w->line.len, err);
    if (rc == OTOK_OK && w->write(w->user, w->line.data, w->line.len) != 0)
        rc = otok_fail(err, OTOK_E_CALLBACK, "write refused what was exported");
    w->line.len = 0;
    return rc;
}

static int send_head(struct writer *w, otok_error *err)
{
    otok_json_begin(&w->line);
    otok_json_add_text(&w->line, "format", OTOK_TRANSFER_FORMAT);
    otok_json_add_integer(&w->line, "version", OTOK_TRANSFER_VERSION);
    otok_json_end(&w->line);
    otok_buf_add_u8(&w->line, '\n');
    return send_line(w, true, err);
}

static int send_tail(struct writer *w, uint64_t records, otok_error *err)
{
    uint8_t sum[OTOK_SHA256_SIZE];
    char text[OTOK_TRANSFER_SUM_CHARS + 1];
    int rc = otok_sum_end(w->sum, sum, err);
    if (rc != OTOK_OK)
        return rc;
    otok_transfer_print_sum(sum, text);
    otok_json_begin(&w->line);
    otok_json_add_integer(&w->line, "records", (int64_t)records);
    otok_json_add_text(&w->line, "sha256", text);
    otok_json_end(&w->line);
    otok_buf_add_u8(&w->line, '\n');
    return send_line(w, false, err);
}

static int send_records(struct writer *w, otok_store *store, const otok_watch *watch, otok_transfer *result,
                        otok_error *err)
{
    otok_walk walk = {.store = store};
    otok_record *record = NULL;
    int rc = OTOK_OK;
    while (rc == OTOK_OK && (rc = otok_walk_next(&walk, &record, err)) == OTOK_OK && record != NULL) {
        rc = otok_line_print(record, &w->line, err);
        otok_record_free(record);
        if (rc == OTOK_OK)
            rc = send_line(w, true, err);
        if (rc == OTOK_OK && ++result->records % OTOK_TRANSFER_TELL == 0)
            rc = otok_watch_progress(watch, result->records, 0, err);
    }
    otok_walk_end(&walk);
    return rc;
}

static int export(struct writer *w, otok_store *store, const otok_watch *watch, otok_transfer *result, otok_error *err)
{
    int rc = otok_sum_new(&w->sum, err);
    if (rc == OTOK_OK)
        rc = send_head(w, err);
    if (rc == OTOK_OK)
        rc = send_records(w, store, watch, result, err);
    if (rc == OTOK_OK)
        rc = send_tail(w, result->records, err);
    otok_sum_free(w->sum);
    otok_buf_free(&w->line);
    return rc;
}

int otok_store_export(otok_store *store, int (*write)(void *user, const void *data, size_t len), void *user,
                      const otok_watch *watch, otok_transfer *result, otok_error *err)
{
    struct writer writer = {.write = write, .user = user};
    otok_transfer done = {.size = sizeof done};
    otok_watch own;
    if (store == NULL || write == NULL)
        return otok_fail(err, OTOK_E_INVALID, "%s is required", store == NULL ? "store" : "write");
    int rc = otok_struct_lent(result, "otok_transfer", err);
    if (rc == OTOK_OK)
        rc = otok_watch_read(watch, &own, err);
    if (rc != OTOK_OK)
        return rc;
    otok_buf_init(&writer.line, NULL, 0);
    rc = export(&writer, store, &own, &done, err);
    otok_struct_give(result, &done, sizeof done);
    return rc;
}
