/*
 * mark.c - the record of a scope: its cutoffs and, for subject and client, the consent.
 *
 * SPDX-License-Identifier: MIT
 */
#include "session/session.h"

#include <string.h>

enum { LONGEST_BODY = 8192 };

int otok_mark_unpack(otok_record *record, otok_mark *out, otok_error *err)
{
    *out = (otok_mark){.head = {INT64_MIN, INT64_MIN}, .body.at_us = INT64_MIN};
    if (!otok_mark_head_parse(record->head, &out->head) || record->body.len > LONGEST_BODY ||
        !otok_mark_body_parse(record->body, &out->body))
        return otok_fail(err, OTOK_E_FORMAT, "a cutoff's record has a format that this version does not know");
    out->record = record;
    return OTOK_OK;
}

int otok_mark_fetch(otok_service *service, const otok_id *id, otok_mark *out, otok_error *err)
{
    otok_record *record;
    *out = (otok_mark){.head = {INT64_MIN, INT64_MIN}, .body.at_us = INT64_MIN};
    int rc = otok_record_fetch(service, id, &record, err);
    if (rc == OTOK_OK && record != NULL)
        rc = otok_mark_unpack(record, out, err);
    if (rc != OTOK_OK)
        otok_record_free(record);
    return rc;
}

void otok_mark_free(otok_mark *mark)
{
    otok_record_free(mark->record);
    mark->record = NULL;
}

bool otok_mark_times(const otok_service *service, const otok_record *record, otok_mark_head *times)
{
    *times = (otok_mark_head){INT64_MIN, INT64_MIN};
    bool is_mark = record->kind == OTOK_RECORD_CUTOFF || record->kind == OTOK_RECORD_PAIR;
    if (!is_mark || !otok_str_eq(record->realm, service->realm))
        return true;
    return otok_mark_head_parse(record->head, times);
}

int64_t otok_mark_filed_us(const otok_mark *mark)
{
    const otok_record *record = mark->record;
    for (size_t i = 0; record != NULL && i < record->nkeys; i++) {
        if (record->keys[i].index == OTOK_INDEX_SWEEP)
            return record->sweep_us;
    }
    return OTOK_UNLIMITED;
}

int64_t otok_mark_guard_us(const otok_service *service, const otok_mark *mark)
{
    int64_t filed_us = otok_mark_filed_us(mark);
    return filed_us != OTOK_UNLIMITED ? filed_us : otok_sweep_due(OTOK_UNLIMITED, otok_service_now(service));
}

/* Marks are found again by their owner: consents are listed so, and what is held about someone is exported and erased. */
static int set_keys(otok_service *service, otok_mark_write *out, bool filed, otok_error *err)
{
    size_t n = 0;
    int rc =
        otok_names_of_owner(service, OTOK_RECORD_PAIR, out->record.subject, out->record.client, out->keys, &n, err);
    if (rc == OTOK_OK && filed)
        rc = otok_sweep_key(service, &out->keys[n++], err);
    out->record.keys = out->keys;
    out->record.nkeys = n;
    return rc;
}

static int set_version(const otok_mark *mark, otok_mark_write *out, otok_error *err)
{
    if (mark->record == NULL) {
        out->write = (otok_write){OTOK_WRITE_INSERT, 0, &out->record};
        return otok_random(&out->record.version, sizeof out->record.version, err);
    }
    out->write = (otok_write){OTOK_WRITE_PUT, mark->record->version, &out->record};
    out->record.version = mark->record->version + 1;
    out->record.created_us = mark->record->created_us;
    return OTOK_OK;
}

int otok_mark_prepare(otok_service *service, const otok_scope_names *names, const otok_mark *mark, int64_t sweep_us,
                      otok_mark_write *out, otok_error *err)
{
    *out = (otok_mark_write){0};
    otok_buf_init(&out->body, NULL, 0);
    out->record = (otok_record){
        .size = sizeof out->record,
        .kind = names->mark_kind,
        .id = names->mark,
        .created_us = otok_service_now(service),
        .sweep_us = sweep_us,
        .realm = service->realm,
        .subject = otok_str_of(names->subject),
        .client = otok_str_of(names->client_id),
        .head = {out->head, sizeof out->head},
    };
    otok_mark_head_print(&mark->head, out->head);
    if (!otok_mark_body_print(&mark->body, &out->body))
        return otok_fail(err, OTOK_E_NOMEM, "out of memory");
    out->record.body = (otok_str){out->body.data, out->body.len};
    int rc = set_keys(service, out, sweep_us != OTOK_UNLIMITED, err);
    return rc == OTOK_OK ? set_version(mark, out, err) : rc;
}

void otok_mark_write_free(otok_mark_write *write)
{
    otok_buf_free(&write->body);
}
