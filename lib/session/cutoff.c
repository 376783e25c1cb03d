/*
 * cutoff.c - not-before times for realm, client, subject, subject and client, sid (V2, V3): set, walked and swept; and logout, which
 * is a cutoff for login-bound sessions (I7).
 *
 * A cutoff is one write, and final from there on.  What it ended is removed by a walk over the sessions of its scope, which goes on
 * where it stopped: the mark holds its cursor, and is filed for the sweeper while there is a walk to do.
 *
 * SPDX-License-Identifier: MIT
 */
#include "session/session.h"

#include <string.h>

enum { WALK_A_CALL = 65536 };

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

/* Only ever forward.  False: there is nothing to write. */
static bool move_head(const otok_cutoff_move *move, int64_t place_us, otok_mark *mark)
{
    bool moved = place_us > mark->head.login_us;
    mark->head.login_us = otok_time_forward(mark->head.login_us, place_us);
    if (!move->login_only) {
        moved |= place_us > mark->head.all_us;
        mark->head.all_us = otok_time_forward(mark->head.all_us, place_us);
    }
    if (move->drop_consent && mark->body.consent.len != 0) {
        moved = true;
        mark->body.consent = (otok_str){0};
        mark->body.granted_us = mark->body.updated_us = 0;
    }
    return moved;
}

/* What is told of a move: why, that the consent is gone, and that the cutoff stands elsewhere. */
enum { MOVE_NOTICES = 3 };
static size_t make_notices(const otok_scope_names *names, const otok_cutoff_move *move, const otok_mark_head *head,
                           bool had_consent, otok_notice notices[MOVE_NOTICES])
{
    size_t n = 0;
    otok_event event = {.subject = names->subject, .client_id = names->client_id, .sid = names->sid};
    if (move->notice != NULL)
        notices[n++] = *move->notice;
    if (had_consent) {
        event.type = OTOK_EVENT_CONSENT_REVOKED;
        notices[n++] = (otok_notice){.event = event};
    }
    event.type = OTOK_EVENT_CUTOFF;
    event.kind = move->login_only ? OTOK_SESSION_LOGIN : OTOK_SESSION_OFFLINE;
    event.cutoff_us = move->login_only ? head->login_us : head->all_us;
    notices[n++] = (otok_notice){.event = event};
    return n;
}

static int commit_move(otok_service *service, const otok_scope_names *names, const otok_cutoff_move *move,
                       const otok_mark *mark, bool had_consent, int64_t now_us, otok_error *err)
{
    otok_mark_write write;
    otok_notice notices[MOVE_NOTICES];
    int rc = otok_mark_prepare(service, names, mark, now_us, &write, err);
    if (rc == OTOK_OK) {
        otok_change change = {.writes = &write.write, .nwrites = 1, .notices = notices};
        change.nnotices = make_notices(names, move, &mark->head, had_consent, notices);
        rc = otok_change_commit(service, &change, err);
    }
    otok_mark_write_free(&write);
    return rc;
}

static int move_once(otok_service *service, const otok_scope_names *names, const otok_cutoff_move *move,
                     otok_mark_head *out, otok_error *err)
{
    otok_mark mark;
    int64_t now_us = otok_service_now(service), place_us;
    int rc = otok_mark_fetch(service, &names->mark, &mark, err);
    if (rc != OTOK_OK)
        return rc;
    rc = place_of(service, names, move->at_us, now_us, &place_us, err);
    bool had_consent = move->drop_consent && mark.body.consent.len != 0;
    if (rc == OTOK_OK && move_head(move, place_us, &mark)) {
        mark.body.at_us = INT64_MIN; /* the walk begins again */
        mark.body.at = (otok_id){{0}};
        mark.body.sid = otok_str_of(names->sid);
        mark.body.stays |= service->callbacks.adopt != NULL;
        rc = commit_move(service, names, move, &mark, had_consent, now_us, err);
    } else if (rc == OTOK_OK && move->notice != NULL) { /* it stands there already */
        otok_notice_send(service, move->notice, NULL);
    }
    *out = mark.head;
    otok_mark_free(&mark);
    return rc;
}

int otok_cutoff_do(otok_service *service, const otok_scope_names *names, const otok_cutoff_move *move,
                   otok_mark_head *out, otok_error *err)
{
    int rc;
    otok_attempts attempts = otok_attempts_begin(service);
    do
        rc = move_once(service, names, move, out, err);
    while (otok_attempts_again(&attempts, &rc, err));
    return rc;
}

int otok_end_sessions(otok_service *service, const otok_scope_names *names, const otok_cutoff_move *move,
                      int32_t reason, uint64_t *ended, otok_error *err)
{
    otok_mark_head cutoffs;
    otok_ended_walk walk = {.at.created_us = INT64_MIN};
    int rc = otok_cutoff_do(service, names, move, &cutoffs, err); /* whole and immediate from here on */
    while (rc == OTOK_OK && !walk.done)
        rc = otok_cutoff_walk(service, &names->index, &cutoffs, reason, WALK_A_CALL, &walk, err);
    if (ended != NULL)
        *ended = walk.removed;
    return rc;
}

int otok_cutoff_set(otok_service *service, const otok_filter *filter, int64_t at_us, int64_t *effective_us,
                    otok_error *err)
{
    otok_scope_names names;
    otok_mark_head cutoffs;
    const otok_cutoff_move move = {.at_us = at_us};
    if (service == NULL)
        return otok_fail(err, OTOK_E_INVALID, "service is required");
    int rc = otok_names_of_filter(service, filter, &names, err);
    if (rc != OTOK_OK)
        return rc;
    if (at_us < 0 || at_us > otok_time_add(otok_service_now(service), OTOK_DAY_US))
        return otok_fail(err, OTOK_E_INVALID, "at_us is negative, or more than a day ahead of the clock");
    rc = otok_cutoff_do(service, &names, &move, &cutoffs, err);
    if (rc == OTOK_OK && effective_us != NULL)
        *effective_us = cutoffs.all_us;
    return rc;
}

int otok_cutoff_get(otok_service *service, const otok_filter *filter, int64_t *effective_us, otok_error *err)
{
    otok_scope_names names;
    otok_mark mark;
    if (service == NULL || effective_us == NULL)
        return otok_fail(err, OTOK_E_INVALID, "%s is required", service == NULL ? "service" : "effective_us");
    int rc = otok_names_of_filter(service, filter, &names, err);
    if (rc == OTOK_OK)
        rc = otok_mark_fetch(service, &names.mark, &mark, err);
    if (rc != OTOK_OK)
        return rc;
    otok_mark_free(&mark);
    if (mark.head.all_us == INT64_MIN)
        return otok_fail(err, OTOK_E_NOT_FOUND, "no cutoff was set for that");
    *effective_us = mark.head.all_us;
    return OTOK_OK;
}

int otok_logout(otok_service *service, const otok_filter *filter, int32_t revoke_offline_access, uint64_t *ended,
                otok_error *err)
{
    otok_scope_names names;
    const otok_cutoff_move move = {.at_us = OTOK_NOW, .login_only = revoke_offline_access == 0};
    if (ended != NULL)
        *ended = 0;
    if (service == NULL)
        return otok_fail(err, OTOK_E_INVALID, "service is required");
    if (revoke_offline_access != 0 && revoke_offline_access != 1)
        return otok_fail(err, OTOK_E_INVALID, "revoke_offline_access is neither 0 nor 1");
    int rc = otok_names_of_filter(service, filter, &names, err);
    return rc == OTOK_OK ? otok_end_sessions(service, &names, &move, OTOK_REVOKED_BY_LOGOUT, ended, err) : rc;
}

/* ---------------------------------------------------------------------------------------------------------- the walk */

/* Removes sessions in one commit, each on its own.  One that was changed meanwhile stays, and `all` says so. */
static int remove_all(otok_service *service, otok_loaded *sessions, size_t n, int32_t reason, uint64_t *removed,
                      bool *all, otok_error *err)
{
    otok_write writes[OTOK_BULK];
    otok_notice notices[OTOK_BULK];
    otok_change changes[OTOK_BULK];
    for (size_t i = 0; i < n; i++) {
        writes[i] = (otok_write){OTOK_WRITE_DELETE, sessions[i].record->version, sessions[i].record};
        notices[i] = (otok_notice){{.type = OTOK_EVENT_REVOKED, .reason = reason}, &sessions[i]};
        changes[i] = (otok_change){.writes = &writes[i], .nwrites = 1, .notices = &notices[i], .nnotices = 1};
    }
    int rc = otok_changes_commit(service, changes, n, err);
    for (size_t i = 0; i < n; i++) {
        if (changes[i].result == OTOK_OK)
            (*removed)++;
        else
            *all = false;
    }
    return rc;
}

/* Takes apart those rows that the cutoffs ended.  What this version cannot read stays: it is dead all the same. */
static size_t take_dead(otok_service *service, const otok_mark_head *cutoffs, otok_rows *rows, otok_loaded *sessions,
                        bool *unread)
{
    size_t n = 0;
    for (size_t i = 0; i < rows->n; i++) {
        otok_loaded *session = &sessions[n];
        int rc = otok_session_unpack(service, rows->records[i], session, NULL);
        *unread |= rc != OTOK_OK;
        if (rc != OTOK_OK)
            continue;
        rows->records[i] = NULL;
        if (session->record->created_us <= otok_cutoff_for(cutoffs, session->body.kind))
            n++;
        else
            otok_loaded_free(session); /* an offline session lives on after logout */
    }
    return n;
}

static int walk_page(otok_service *service, const otok_index_key *index, const otok_mark_head *cutoffs, int32_t reason,
                     uint32_t limit, otok_ended_walk *walk, otok_error *err)
{
    otok_scan scan = {.size = sizeof scan, .key = *index, .limit = limit};
    otok_rows rows = {.until_us = otok_cutoff_for(cutoffs, OTOK_SESSION_LOGIN)}; /* the later one */
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
    size_t n = take_dead(service, cutoffs, &rows, sessions, &walk->unread);
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

int otok_cutoff_walk(otok_service *service, const otok_index_key *index, const otok_mark_head *cutoffs, int32_t reason,
                     uint32_t limit, otok_ended_walk *walk, otok_error *err)
{
    int rc = OTOK_OK;
    uint64_t end = walk->visited + limit;
    while (rc == OTOK_OK && !walk->done && walk->visited < end) {
        uint64_t left = end - walk->visited;
        rc = walk_page(service, index, cutoffs, reason, left < OTOK_BULK ? (uint32_t)left : OTOK_BULK, walk, err);
    }
    return rc;
}

/* ------------------------------------------------------------------------------------------------- the sweeper's part */

/* Whose a mark is, out of its record, whose texts are not NUL-terminated. */
struct owner {
    char subject[OTOK_MAX_NAME + 1], client[OTOK_MAX_NAME + 1], sid[OTOK_MAX_NAME + 1];
    otok_scope_names names;
};

static const char *name_in(char room[OTOK_MAX_NAME + 1], otok_str text)
{
    if (text.len == 0)
        return NULL;
    room[text.len] = '\0';
    return memcpy(room, text.data, text.len);
}

static int owner_of(otok_service *service, const otok_mark *mark, struct owner *out, otok_error *err)
{
    const otok_record *record = mark->record;
    otok_filter filter;
    otok_filter_init(&filter, sizeof filter);
    if (record->subject.len > OTOK_MAX_NAME || record->client.len > OTOK_MAX_NAME)
        return otok_fail(err, OTOK_E_FORMAT, "a cutoff's record has a name that is too long");
    filter.subject = name_in(out->subject, record->subject);
    filter.client_id = name_in(out->client, record->client);
    filter.sid = name_in(out->sid, mark->body.sid);
    filter.whole_realm = filter.subject == NULL && filter.client_id == NULL && filter.sid == NULL;
    int rc = otok_names_of_filter(service, &filter, &out->names, err);
    bool fits = rc == OTOK_OK && otok_id_compare(&out->names.mark, &record->id) == 0;
    if (rc == OTOK_E_INVALID || (rc == OTOK_OK && !fits)) /* it is nobody's argument, but a damaged record */
        rc = otok_fail(err, OTOK_E_FORMAT, "a cutoff's record has names that are not its own");
    return rc;
}

/* Writes where the walk stands; `sweep_us` OTOK_UNLIMITED: it is done. */
static int write_progress(otok_service *service, const struct owner *owner, otok_mark *mark,
                          const otok_ended_walk *walk, int64_t sweep_us, otok_error *err)
{
    otok_mark_write write;
    mark->body.at_us = sweep_us == OTOK_UNLIMITED ? INT64_MIN : walk->at.created_us;
    mark->body.at = walk->at.id;
    if (mark->body.at_us == INT64_MIN)
        mark->body.at = (otok_id){{0}};
    int rc = otok_mark_prepare(service, &owner->names, mark, sweep_us, &write, err);
    if (rc == OTOK_OK)
        rc = otok_service_write(service, write.write.op, write.write.expect, &write.record, err);
    otok_mark_write_free(&write);
    return rc;
}

/*
 * The cutoff of a sid goes once nothing is left that it holds dead: SSO sessions are many, and none begins twice.  Seen in one
 * whole walk, that is: one that began in the middle is made again from the start, tomorrow, as what cannot be read may make
 * each walk one in pieces, and the sweeper must come to an end.  So is one that removed something: a list that read that before
 * looks for the cutoff after it (Q4).  Where tokens of another system are adopted it stays, whoever has set it and whoever sweeps
 * next: one of them may be of that sid.
 */
static int finish_sid(otok_service *service, const struct owner *owner, otok_mark *mark, otok_ended_walk *walk,
                      otok_error *err)
{
    bool whole = mark->body.at_us == INT64_MIN;
    int64_t latest_us = otok_time_forward(mark->head.all_us, mark->head.login_us);
    /* Calls that have read sessions or the cutoff before it goes may still be running: it goes a day later. */
    bool settled = otok_time_add(latest_us, OTOK_DAY_US) <= otok_service_now(service) && walk->removed == 0;
    mark->body.stays |= service->callbacks.adopt != NULL;
    if (whole && settled && !walk->unread && !mark->body.stays)
        return otok_service_write(service, OTOK_WRITE_DELETE, mark->record->version, mark->record, err);
    walk->at.created_us = INT64_MIN;
    int64_t tomorrow_us = otok_time_add(otok_service_now(service), OTOK_DAY_US);
    return write_progress(service, owner, mark, walk, whole && settled ? OTOK_UNLIMITED : tomorrow_us, err);
}

static int note_any(void *arg, const otok_record *record)
{
    (void)record;
    *(bool *)arg = true;
    return 1;
}

/* A mark that guards a limit of sessions and says nothing else goes with the last of them; else it is looked at again in a month. */
static int sweep_guard(otok_service *service, const struct owner *owner, otok_mark *mark, otok_ended_walk *walk,
                       otok_error *err)
{
    bool any = false;
    const otok_scan scan = {.size = sizeof scan, .key = owner->names.index, .limit = 1};
    int rc = otok_store_scan(service->store, &scan, note_any, &any, err);
    walk->visited++;
    if (rc != OTOK_OK)
        return rc;
    if (!any)
        return otok_service_write(service, OTOK_WRITE_DELETE, mark->record->version, mark->record, err);
    return write_progress(service, owner, mark, walk, otok_sweep_due(OTOK_UNLIMITED, otok_service_now(service)), err);
}

static bool is_guard(const otok_mark *mark)
{
    return mark->record->kind == OTOK_RECORD_PAIR && mark->head.login_us == INT64_MIN &&
           mark->head.all_us == INT64_MIN && mark->body.consent.len == 0;
}

static int sweep_mark(otok_service *service, const struct owner *owner, otok_mark *mark, uint32_t limit,
                      otok_ended_walk *walk, otok_error *err)
{
    walk->at = (otok_cursor){mark->body.at_us, mark->body.at};
    if (is_guard(mark)) {
        int guarded = sweep_guard(service, owner, mark, walk, err);
        return guarded == OTOK_E_CONFLICT ? OTOK_OK : guarded;
    }
    int rc = otok_cutoff_walk(service, &owner->names.index, &mark->head, OTOK_REVOKED_BY_CUTOFF, limit, walk, err);
    if (rc == OTOK_OK && walk->done && mark->body.sid.len != 0)
        rc = finish_sid(service, owner, mark, walk, err);
    else if (rc == OTOK_OK)
        rc = write_progress(service, owner, mark, walk, walk->done ? OTOK_UNLIMITED : mark->record->sweep_us, err);
    return rc == OTOK_E_CONFLICT ? OTOK_OK : rc; /* it moved meanwhile, or another sweeper was there: next time */
}

int otok_cutoff_sweep(otok_service *service, const otok_record *record, uint32_t limit, otok_ended_walk *walk,
                      otok_error *err)
{
    struct owner owner;
    otok_mark mark;
    otok_record *copy = otok_record_copy(record);
    if (copy == NULL)
        return otok_fail(err, OTOK_E_NOMEM, "out of memory");
    int rc = otok_mark_unpack(copy, &mark, err);
    if (rc != OTOK_OK) {
        otok_record_free(copy);
        return rc;
    }
    rc = owner_of(service, &mark, &owner, err);
    if (rc == OTOK_OK)
        rc = sweep_mark(service, &owner, &mark, limit, walk, err);
    otok_mark_free(&mark);
    return rc;
}
