/*
 * erase.c - removes what is held about a subject, a client or a realm (V7).
 *
 * First a cutoff: from there on nothing of before is good for anything, whatever becomes of the rest of the work, which may be
 * interrupted anywhere and begun again.  Then everything that is filed under the erased, kind by kind.  Then the names in the mark
 * of the cutoff itself, which stays.  The events go last, for all of this made some.
 *
 * SPDX-License-Identifier: MIT
 */
#include "session/session.h"

enum { WALK_A_CALL = 65536 };

/* One erasure. */
struct erasing {
    otok_service *service;
    otok_scope_names names;
    otok_mark_head cutoffs; /* as far as they were moved */
    uint64_t erased;
};

/* ----------------------------------------------------------------------------------------------------------- a page */

/* Until when a record holds something dead: a mark its sessions, a token of another system that was used itself. */
static int64_t holds_until_us(const otok_service *service, const otok_record *record)
{
    otok_mark_head times;
    otok_once once;
    if (record->kind == OTOK_RECORD_ONCE || record->kind == OTOK_RECORD_TOMBSTONE)
        return otok_once_parse(record->body, &once) && once.adopted ? once.used_us : INT64_MIN;
    return otok_mark_times(service, record, &times) ? otok_cutoff_for(&times, OTOK_SESSION_LOGIN) : INT64_MIN;
}

/*
 * Before such a record goes, the cutoff of the erased has to hold that dead: it may be later, by a day, or for a revocation of this
 * moment, or of a node whose clock is ahead.
 */
static int cover(struct erasing *e, const otok_record *record, otok_error *err)
{
    const otok_cutoff_move move = {.at_us = holds_until_us(e->service, record)};
    if (move.at_us <= e->cutoffs.all_us)
        return OTOK_OK;
    return otok_cutoff_do(e->service, &e->names, &move, &e->cutoffs, err);
}

static int cover_all(struct erasing *e, const otok_rows *rows, otok_error *err)
{
    int rc = OTOK_OK;
    for (size_t i = 0; rc == OTOK_OK && i < rows->n; i++)
        rc = cover(e, rows->records[i], err);
    return rc;
}

/* The mark of the erased, for its cutoff; and the marker that events are missing, for it is true. */
static bool stays(const struct erasing *e, const otok_record *record)
{
    bool is_marker = record->kind == OTOK_RECORD_TOMBSTONE && record->subject.len == 0 && record->client.len == 0;
    return is_marker || otok_id_compare(&record->id, &e->names.mark) == 0;
}

/* OTOK_E_CONFLICT when some of them were changed meanwhile, and stayed. */
static int delete_rows(struct erasing *e, const otok_rows *rows, otok_error *err)
{
    otok_write writes[OTOK_BULK];
    otok_change changes[OTOK_BULK] = {0};
    bool conflict = false;
    size_t n = 0;
    for (size_t i = 0; i < rows->n; i++) {
        if (stays(e, rows->records[i]))
            continue;
        writes[n] = (otok_write){OTOK_WRITE_DELETE, rows->records[i]->version, rows->records[i]};
        changes[n] = (otok_change){.writes = &writes[n], .nwrites = 1};
        n++;
    }
    int rc = n != 0 ? otok_changes_commit(e->service, changes, n, err) : OTOK_OK;
    for (size_t i = 0; i < n; i++) {
        e->erased += changes[i].result == OTOK_OK;
        conflict |= changes[i].result == OTOK_E_CONFLICT;
    }
    return rc == OTOK_OK && conflict ? otok_fail(err, OTOK_E_CONFLICT, "others were faster: try again") : rc;
}

/* Those that this version cannot read too, which the walk of a cutoff leaves. */
static int remove_session(struct erasing *e, otok_record *record, otok_error *err)
{
    otok_loaded session; /* the record stays the row's */
    if (record->created_us > e->cutoffs.all_us)
        return OTOK_OK;
    if (otok_session_unpack(e->service, record, &session, NULL) != OTOK_OK)
        session = (otok_loaded){.record = record};
    int rc = otok_session_remove(e->service, &session, OTOK_REVOKED_BY_ERASURE, NULL, err);
    e->erased += rc == OTOK_OK;
    return rc;
}

static int remove_sessions(struct erasing *e, const otok_rows *rows, otok_place *place, otok_error *err)
{
    int rc = OTOK_OK;
    for (size_t i = 0; rc == OTOK_OK && i < rows->n; i++)
        rc = remove_session(e, rows->records[i], err);
    place->end |= place->at.created_us > e->cutoffs.all_us;
    return rc;
}

static int erase_page(struct erasing *e, uint32_t kind, otok_place *place, otok_error *err)
{
    const otok_place before = *place;
    otok_rows rows;
    int rc = otok_place_read(e->service, place, OTOK_BULK, &rows, err);
    if (rc != OTOK_OK)
        return rc;
    if (kind == OTOK_RECORD_PAIR || kind == OTOK_RECORD_ONCE)
        rc = cover_all(e, &rows, err);
    if (kind == OTOK_RECORD_EVENT && rows.n != 0) /* before they go: this may be interrupted, and nobody would know */
        rc = otok_outbox_mark(e->service, err);
    if (rc == OTOK_OK)
        rc = kind == OTOK_RECORD_SESSION ? remove_sessions(e, &rows, place, err) : delete_rows(e, &rows, err);
    otok_rows_free(&rows);
    if (rc == OTOK_E_CONFLICT)
        *place = before;
    return rc;
}

/* ----------------------------------------------------------------------------------------------------------- the steps */

/* The index that the records of a kind are filed in under whom is erased. */
static int index_of(const struct erasing *e, uint32_t kind, otok_index_key *out, otok_error *err)
{
    const char *subject = e->names.subject, *client = e->names.client_id;
    uint32_t index = subject != NULL ? OTOK_INDEX_SUBJECT : client != NULL ? OTOK_INDEX_CLIENT : OTOK_INDEX_REALM;
    otok_str name = otok_str_of(subject != NULL ? subject : client);
    return otok_index_of(e->service, kind, index, name, (otok_str){0}, out, err);
}

static int erase_kind(struct erasing *e, uint32_t kind, otok_error *err)
{
    otok_place place = {.order = OTOK_ORDER_OLDEST_FIRST};
    int rc = index_of(e, kind, &place.index, err);
    while (rc == OTOK_OK && !place.end) {
        otok_attempts attempts = otok_attempts_begin(e->service);
        do
            rc = erase_page(e, kind, &place, err);
        while (otok_attempts_again(&attempts, &rc, err));
    }
    return rc;
}

static int erase_sessions(struct erasing *e, otok_error *err)
{
    otok_ended_walk walk = {.at.created_us = INT64_MIN};
    int rc = OTOK_OK;
    while (rc == OTOK_OK && !walk.done)
        rc = otok_cutoff_walk(e->service, &e->names.index, &e->cutoffs, OTOK_REVOKED_BY_ERASURE, WALK_A_CALL, &walk,
                              err);
    e->erased += walk.removed;
    return rc == OTOK_OK && walk.unread ? erase_kind(e, OTOK_RECORD_SESSION, err) : rc;
}

/* The mark stays, for its cutoff; without a name, and with nothing for the sweeper to walk. */
static int forget_once(struct erasing *e, otok_error *err)
{
    otok_scope_names nameless = e->names;
    otok_mark_write write;
    otok_mark mark;
    int rc = otok_mark_fetch(e->service, &e->names.mark, &mark, err);
    if (rc != OTOK_OK)
        return rc;
    /* A mark that was taken over has moved it on, or somebody else: that walk is ours, for the sweeper could not find it. */
    e->cutoffs = mark.head;
    rc = erase_sessions(e, err);
    nameless.subject = nameless.client_id = nameless.sid = NULL;
    mark.body = (otok_mark_body){.at_us = INT64_MIN};
    if (rc == OTOK_OK) {
        rc = otok_mark_prepare(e->service, &nameless, &mark, OTOK_UNLIMITED, &write, err);
        if (rc == OTOK_OK)
            rc = otok_service_write(e->service, write.write.op, write.write.expect, &write.record, err);
        otok_mark_write_free(&write);
    }
    otok_mark_free(&mark);
    return rc;
}

static int forget_names(struct erasing *e, otok_error *err)
{
    int rc;
    otok_attempts attempts = otok_attempts_begin(e->service);
    do
        rc = forget_once(e, err);
    while (otok_attempts_again(&attempts, &rc, err));
    return rc;
}

static int erase_all(struct erasing *e, otok_error *err)
{
    const otok_cutoff_move move = {.at_us = OTOK_NOW};
    int rc = otok_cutoff_do(e->service, &e->names, &move, &e->cutoffs, err);
    if (rc == OTOK_OK)
        rc = erase_sessions(e, err);
    if (rc == OTOK_OK)
        rc = erase_kind(e, OTOK_RECORD_PAIR, err);
    if (rc == OTOK_OK)
        rc = erase_kind(e, OTOK_RECORD_ONCE, err);
    if (rc == OTOK_OK)
        rc = forget_names(e, err);
    uint64_t before = e->erased;
    if (rc == OTOK_OK)
        rc = erase_kind(e, OTOK_RECORD_EVENT, err);
    return rc == OTOK_OK && e->erased != before ? otok_outbox_mark(e->service, err) : rc;
}

int otok_erase(otok_service *service, const otok_filter *filter, uint64_t *erased, otok_error *err)
{
    struct erasing e = {.service = service};
    if (erased != NULL)
        *erased = 0;
    if (service == NULL)
        return otok_fail(err, OTOK_E_INVALID, "service is required");
    int rc = otok_names_of_filter(service, filter, &e.names, err);
    if (rc == OTOK_OK && e.names.sid != NULL)
        rc = otok_fail(err, OTOK_E_INVALID, "filter.sid cannot be erased: a subject, a client, or the whole realm");
    if (rc == OTOK_OK && e.names.subject != NULL && e.names.client_id != NULL)
        rc = otok_fail(err, OTOK_E_INVALID, "filter.subject and filter.client_id stand alone here");
    if (rc == OTOK_OK)
        rc = erase_all(&e, err);
    if (erased != NULL)
        *erased = e.erased;
    return rc;
}
