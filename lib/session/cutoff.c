/*
 * cutoff.c - cutoffs: one write ends any number of sessions at once (V2, V3); a walk then removes them.
 *
 * The record of a cutoff: head, the two times; body, format (1), cursor of the sweeper's walk (8 + 16), the sid if it is for one.
 * While there is a walk to do it is filed for the sweeper.
 *
 * SPDX-License-Identifier: MIT
 */
#include "session/session.h"

#include <string.h>

enum { FORMAT = 1, AT_CURSOR_TIME = 1, AT_CURSOR_ID = 9, AT_SID = 25, BODY_MAX = AT_SID + OTOK_MAX_NAME };

/* ------------------------------------------------------------------------------------------------------- its record */

struct cutoff_body {
    otok_cursor at;
    char sid[OTOK_MAX_NAME + 1];
};

static otok_str print_body(const struct cutoff_body *body, uint8_t out[BODY_MAX])
{
    size_t sid_len = strlen(body->sid);
    out[0] = FORMAT;
    otok_put_u64(out + AT_CURSOR_TIME, (uint64_t)body->at.created_us);
    memcpy(out + AT_CURSOR_ID, body->at.id.bytes, sizeof body->at.id.bytes);
    memcpy(out + AT_SID, body->sid, sid_len);
    return (otok_str){out, AT_SID + sid_len};
}

static bool parse_body(otok_str bytes, struct cutoff_body *out)
{
    const uint8_t *in = bytes.data;
    memset(out, 0, sizeof *out);
    if (bytes.len < AT_SID || bytes.len > BODY_MAX || in[0] != FORMAT)
        return false;
    out->at.created_us = (int64_t)otok_get_u64(in + AT_CURSOR_TIME);
    memcpy(out->at.id.bytes, in + AT_CURSOR_ID, sizeof out->at.id.bytes);
    memcpy(out->sid, in + AT_SID, bytes.len - AT_SID);
    return true;
}

/* The record as it stands, or NULL. */
static int fetch_cutoff(otok_service *service, const otok_id *id, otok_record **out, otok_cutoff_head *head,
                        otok_error *err)
{
    *head = (otok_cutoff_head){INT64_MIN, INT64_MIN};
    int rc = otok_record_fetch(service, id, out, err);
    if (rc == OTOK_OK && *out != NULL && !otok_cutoff_head_parse((*out)->head, head))
        rc = otok_fail(err, OTOK_E_FORMAT, "a cutoff's record has a format that this version does not know");
    if (rc != OTOK_OK) {
        otok_record_free(*out);
        *out = NULL;
    }
    return rc;
}

/* -------------------------------------------------------------------------------------------------------- moving it */

static int note_time(void *arg, const otok_record *record)
{
    *(int64_t *)arg = record->created_us;
    return 1;
}

/* The logical time of the newest session of the scope: whatever the clock of the node that issued it, now is not before it. */
static int newest_in(otok_service *service, const otok_index_key *index, int64_t *newest_us, otok_error *err)
{
    const otok_scan scan = {.size = sizeof scan, .key = *index, .flags = OTOK_SCAN_DESCENDING, .limit = 1};
    *newest_us = INT64_MIN;
    return otok_store_scan(service->store, &scan, note_time, newest_us, err);
}

static int place_of(otok_service *service, const otok_scope_names *names, int64_t at_us, int64_t now_us, int64_t *out,
                    otok_error *err)
{
    int64_t newest_us;
    *out = at_us;
    if (at_us != OTOK_NOW)
        return OTOK_OK;
    int rc = newest_in(service, &names->index, &newest_us, err);
    *out = otok_time_forward(newest_us, now_us);
    return rc;
}

/* Writes the record of a cutoff at `head`, filed for the sweeper from the start of its walk. */
static int write_cutoff(otok_service *service, const otok_scope_names *names, const otok_record *old,
                        const otok_cutoff_head *head, int64_t now_us, otok_error *err)
{
    uint8_t head_bytes[OTOK_CUTOFF_HEAD_SIZE], body_bytes[BODY_MAX];
    otok_index_key sweep;
    struct cutoff_body body = {.at.created_us = INT64_MIN};
    otok_record record = {
        .size = sizeof record,
        .kind = names->cutoff_kind,
        .id = names->cutoff,
        .created_us = old != NULL ? old->created_us : now_us,
        .sweep_us = now_us,
        .keys = &sweep,
        .nkeys = 1,
        .realm = service->realm,
        .subject = otok_str_of(names->subject),
        .client = otok_str_of(names->client_id),
        .head = {head_bytes, sizeof head_bytes},
    };
    if (names->sid != NULL)
        memcpy(body.sid, names->sid, strlen(names->sid));
    otok_cutoff_head_print(head, head_bytes);
    record.body = print_body(&body, body_bytes);
    int rc = otok_sweep_key(service, &sweep, err);
    if (rc != OTOK_OK)
        return rc;
    if (old == NULL) {
        rc = otok_random(&record.version, sizeof record.version, err);
        return rc == OTOK_OK ? otok_service_write(service, OTOK_WRITE_INSERT, 0, &record, err) : rc;
    }
    record.version = old->version + 1;
    return otok_service_write(service, OTOK_WRITE_PUT, old->version, &record, err);
}

/* One attempt; `moved` tells whether there was anything to write. */
static int move_once(otok_service *service, const otok_scope_names *names, int64_t at_us, int64_t *effective_us,
                     bool *moved, otok_error *err)
{
    otok_record *old;
    otok_cutoff_head head;
    int64_t now_us = otok_service_now(service), place_us;
    int rc = fetch_cutoff(service, &names->cutoff, &old, &head, err);
    if (rc == OTOK_OK)
        rc = place_of(service, names, at_us, now_us, &place_us, err);
    if (rc == OTOK_OK) {
        *moved = place_us > head.all_us; /* only ever forward */
        if (*moved) {
            head.all_us = place_us;
            rc = write_cutoff(service, names, old, &head, now_us, err);
        }
        *effective_us = head.all_us;
    }
    otok_record_free(old);
    return rc;
}

int otok_cutoff_move(otok_service *service, const otok_scope_names *names, int64_t at_us, int64_t *effective_us,
                     otok_error *err)
{
    bool moved = false;
    int rc;
    otok_attempts attempts = otok_attempts_begin(service);
    do
        rc = move_once(service, names, at_us, effective_us, &moved, err);
    while (otok_attempts_again(&attempts, &rc, err));
    if (rc == OTOK_OK && moved) {
        otok_event event = {
            .type = OTOK_EVENT_CUTOFF,
            .subject = names->subject,
            .client_id = names->client_id,
            .sid = names->sid,
            .cutoff_us = *effective_us,
        };
        otok_event_send(service, &event, NULL);
    }
    return rc;
}

int otok_cutoff_set(otok_service *service, const otok_filter *filter, int64_t at_us, int64_t *effective_us,
                    otok_error *err)
{
    otok_scope_names names;
    int64_t effective = 0;
    if (service == NULL)
        return otok_fail(err, OTOK_E_INVALID, "service is required");
    int rc = otok_names_of_filter(service, filter, &names, err);
    if (rc != OTOK_OK)
        return rc;
    if (at_us < 0 || at_us > otok_time_add(otok_service_now(service), OTOK_DAY_US))
        return otok_fail(err, OTOK_E_INVALID, "at_us is negative, or more than a day ahead of the clock");
    rc = otok_cutoff_move(service, &names, at_us, &effective, err);
    if (rc == OTOK_OK && effective_us != NULL)
        *effective_us = effective;
    return rc;
}

int otok_cutoff_get(otok_service *service, const otok_filter *filter, int64_t *effective_us, otok_error *err)
{
    otok_scope_names names;
    otok_record *record;
    otok_cutoff_head head;
    if (service == NULL || effective_us == NULL)
        return otok_fail(err, OTOK_E_INVALID, "%s is required", service == NULL ? "service" : "effective_us");
    int rc = otok_names_of_filter(service, filter, &names, err);
    if (rc == OTOK_OK)
        rc = fetch_cutoff(service, &names.cutoff, &record, &head, err);
    if (rc != OTOK_OK)
        return rc;
    otok_record_free(record);
    if (head.all_us == INT64_MIN)
        return otok_fail(err, OTOK_E_NOT_FOUND, "no cutoff was set for that");
    *effective_us = head.all_us;
    return OTOK_OK;
}

/* ---------------------------------------------------------------------------------------------------------- the walk */

static void tell_removed(otok_service *service, const otok_loaded *session, int32_t reason)
{
    otok_event event = {.type = OTOK_EVENT_REVOKED, .reason = reason};
    otok_event_send(service, &event, session);
}

/* Removes sessions in one commit, each on its own.  One that was changed meanwhile stays, and `all` says so. */
static int remove_all(otok_service *service, otok_loaded *sessions, size_t n, int32_t reason, uint64_t *removed,
                      bool *all, otok_error *err)
{
    otok_write writes[OTOK_BULK] = {0};
    int32_t results[OTOK_BULK];
    for (size_t i = 0; i < n; i++)
        writes[i] = (otok_write){OTOK_WRITE_DELETE, sessions[i].record->version, sessions[i].record};
    int rc = otok_service_write_each(service, writes, n, results, err);
    for (size_t i = 0; i < n; i++) {
        if (results[i] == OTOK_OK) {
            (*removed)++;
            tell_removed(service, &sessions[i], reason);
        } else {
            *all = false;
        }
    }
    return rc;
}

/* Takes rows apart for removal.  What this version cannot read stays: it is dead all the same. */
static size_t take_apart(otok_service *service, otok_rows *rows, otok_loaded *sessions)
{
    size_t n = 0;
    for (size_t i = 0; i < rows->n; i++) {
        if (otok_session_unpack(service, rows->records[i], &sessions[n], NULL) == OTOK_OK) {
            rows->records[i] = NULL;
            n++;
        }
    }
    return n;
}

static int walk_page(otok_service *service, const otok_index_key *index, int64_t cutoff_us, int32_t reason,
                     uint32_t limit, otok_walk *walk, otok_error *err)
{
    otok_scan scan = {.size = sizeof scan, .key = *index, .limit = limit};
    otok_rows rows = {.until_us = cutoff_us};
    otok_loaded *sessions = otok_calloc(limit, sizeof *sessions);
    bool all = true;
    if (sessions == NULL)
        return otok_fail(err, OTOK_E_NOMEM, "out of memory");
    if (walk->at.created_us != INT64_MIN) {
        scan.flags = OTOK_SCAN_AFTER;
        scan.after_us = walk->at.created_us;
        scan.after = walk->at.id;
    }
    int rc = otok_rows_scan(service, &scan, &rows, err);
    bool end = rows.past || rows.n < limit;
    otok_cursor last = walk->at;
    if (rows.n != 0)
        last = (otok_cursor){rows.records[rows.n - 1]->created_us, rows.records[rows.n - 1]->id};
    walk->visited += rows.n;
    size_t n = take_apart(service, &rows, sessions);
    walk->unread |= n < rows.n;
    if (n != 0)
        rc = remove_all(service, sessions, n, reason, &walk->removed, &all, err);
    for (size_t i = 0; i < n; i++)
        otok_loaded_free(&sessions[i]);
    otok_rows_free(&rows);
    otok_free(sessions);
    if (rc == OTOK_OK && all) { /* otherwise the same page again: what changed meanwhile is still dead */
        walk->at = last;
        walk->done = end;
    }
    return rc;
}

int otok_cutoff_walk(otok_service *service, const otok_index_key *index, int64_t cutoff_us, int32_t reason,
                     uint32_t limit, otok_walk *walk, otok_error *err)
{
    int rc = OTOK_OK;
    uint64_t end = walk->visited + limit;
    while (rc == OTOK_OK && !walk->done && walk->visited < end) {
        uint64_t left = end - walk->visited;
        rc = walk_page(service, index, cutoff_us, reason, left < OTOK_BULK ? (uint32_t)left : OTOK_BULK, walk, err);
    }
    return rc;
}

/* ------------------------------------------------------------------------------------------------- the sweeper's part */

static int names_of_cutoff(otok_service *service, const otok_record *cutoff, const char *sid, otok_scope_names *out,
                           otok_error *err)
{
    char subject[OTOK_MAX_NAME + 1] = "", client[OTOK_MAX_NAME + 1] = "";
    otok_filter filter;
    otok_filter_init(&filter, sizeof filter);
    if (cutoff->subject.len > OTOK_MAX_NAME || cutoff->client.len > OTOK_MAX_NAME)
        return otok_fail(err, OTOK_E_FORMAT, "a cutoff's record has a name that is too long");
    if (cutoff->subject.len != 0)
        filter.subject = memcpy(subject, cutoff->subject.data, cutoff->subject.len);
    if (cutoff->client.len != 0)
        filter.client_id = memcpy(client, cutoff->client.data, cutoff->client.len);
    if (sid[0] != '\0')
        filter.sid = sid;
    filter.whole_realm = filter.subject == NULL && filter.client_id == NULL && filter.sid == NULL;
    int rc = otok_names_of_filter(service, &filter, out, err);
    out->subject = out->client_id = out->sid = NULL; /* they end with this function; the index key stays */
    if (rc == OTOK_E_INVALID)                        /* it is nobody's argument, but a damaged record */
        rc = otok_fail(err, OTOK_E_FORMAT, "a cutoff's record has names that are none");
    return rc;
}

/* Where the walk stands.  Done: no longer filed. */
static int write_progress(otok_service *service, const otok_record *cutoff, struct cutoff_body *body,
                          const otok_walk *walk, otok_error *err)
{
    uint8_t bytes[BODY_MAX];
    otok_record record = *cutoff;
    body->at = walk->at;
    if (walk->done)
        body->at.created_us = INT64_MIN;
    record.body = print_body(body, bytes);
    record.version++;
    if (walk->done)
        record.nkeys = 0;
    return otok_service_write(service, OTOK_WRITE_PUT, cutoff->version, &record, err);
}

/*
 * The cutoff of a sid goes once nothing is left that it holds dead: SSO sessions are many, and none begins twice.  Seen in one
 * whole walk, that is: one that began in the middle is made again from the start, tomorrow, as what cannot be read may make
 * each walk one in pieces, and the sweeper must come to an end.
 */
static int finish_sid(otok_service *service, const otok_record *cutoff, struct cutoff_body *body, otok_walk *walk,
                      otok_error *err)
{
    bool whole = body->at.created_us == INT64_MIN;
    if (whole && !walk->unread)
        return otok_service_write(service, OTOK_WRITE_DELETE, cutoff->version, cutoff, err);
    otok_record tomorrow = *cutoff;
    tomorrow.sweep_us = otok_time_add(otok_service_now(service), OTOK_DAY_US);
    walk->done = whole;
    walk->at.created_us = INT64_MIN;
    return write_progress(service, &tomorrow, body, walk, err);
}

int otok_cutoff_sweep(otok_service *service, const otok_record *cutoff, uint32_t limit, otok_walk *walk,
                      otok_error *err)
{
    struct cutoff_body body;
    otok_cutoff_head head;
    otok_scope_names names;
    if (!parse_body(cutoff->body, &body) || !otok_cutoff_head_parse(cutoff->head, &head))
        return otok_fail(err, OTOK_E_FORMAT, "a cutoff's record has a format that this version does not know");
    int rc = names_of_cutoff(service, cutoff, body.sid, &names, err);
    if (rc != OTOK_OK)
        return rc;
    walk->at = body.at;
    rc = otok_cutoff_walk(service, &names.index, head.all_us, OTOK_REVOKED_BY_CUTOFF, limit, walk, err);
    if (rc == OTOK_OK && walk->done && body.sid[0] != '\0')
        rc = finish_sid(service, cutoff, &body, walk, err);
    else if (rc == OTOK_OK)
        rc = write_progress(service, cutoff, &body, walk, err);
    return rc == OTOK_E_CONFLICT ? OTOK_OK : rc; /* it moved meanwhile, or another sweeper was there: next time */
}
