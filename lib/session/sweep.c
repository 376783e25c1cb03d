/*
 * sweep.c - removing what is dead (L6).
 *
 * Every session is filed under the time at which to look at it: when it should have ended, and at least every 30 days.  One that
 * is seen dead is not removed at once but doomed, and looked at again after the grace: a clock that jumped ahead and was set right
 * meanwhile destroys nothing (L5).  What a cutoff killed needs no grace.
 *
 * SPDX-License-Identifier: MIT
 */
#include "session/session.h"

#include <string.h>

enum { DEFAULT_LIMIT = 1000 };

void otok_sweep_result_init(otok_sweep_result *result, size_t size)
{
    otok_struct_init(result, size);
}

/* What is to be done with one session. */
enum { MOVE, DOOM, REMOVE_EXPIRED, REMOVE_CUT_OFF };

struct verdict {
    int action;
    int64_t sweep_us;
};

static struct verdict judge(const otok_loaded *session, const otok_rules *rules, int64_t now_us)
{
    otok_lifetime life = otok_loaded_lifetime(session, rules, now_us);
    if (life.verdict == OTOK_E_TOKEN_REVOKED)
        return (struct verdict){.action = REMOVE_CUT_OFF};
    if (life.verdict == OTOK_OK)
        return (struct verdict){MOVE, otok_sweep_due(life.expires_us, now_us)};
    if (session->head.flags & OTOK_HEAD_DOOMED)
        return (struct verdict){.action = REMOVE_EXPIRED};
    return (struct verdict){DOOM, otok_time_add(now_us, rules->sweep_grace_us)};
}

/* What follows from a verdict, over storage of the caller's. */
struct sentence {
    struct verdict verdict;
    otok_record record;
    uint8_t head[OTOK_HEAD_SIZE];
    otok_write write;
    otok_notice notice;
};

static void prepare_write(struct sentence *change, const otok_loaded *session)
{
    otok_head head = session->head;
    change->record = *session->record;
    change->write = (otok_write){OTOK_WRITE_DELETE, session->record->version, &change->record};
    if (change->verdict.action != MOVE && change->verdict.action != DOOM)
        return;
    change->write.op = OTOK_WRITE_PUT;
    change->record.version++;
    change->record.sweep_us = change->verdict.sweep_us;
    head.flags &= (uint8_t)~OTOK_HEAD_DOOMED;
    if (change->verdict.action == DOOM)
        head.flags |= OTOK_HEAD_DOOMED;
    otok_head_print(&head, change->head);
    change->record.head = (otok_str){change->head, sizeof change->head};
}

static otok_change change_of(struct sentence *sentence, const otok_loaded *session)
{
    otok_change change = {.writes = &sentence->write, .nwrites = 1};
    prepare_write(sentence, session);
    if (sentence->verdict.action == REMOVE_CUT_OFF)
        sentence->notice.event = (otok_event){.type = OTOK_EVENT_REVOKED, .reason = OTOK_REVOKED_BY_CUTOFF};
    else if (sentence->verdict.action == REMOVE_EXPIRED)
        sentence->notice.event = (otok_event){.type = OTOK_EVENT_EXPIRED, .reason = OTOK_E_TOKEN_EXPIRED};
    else
        return change;
    sentence->notice.session = session;
    change.notices = &sentence->notice;
    change.nnotices = 1;
    return change;
}

static void count(const struct sentence *sentence, otok_sweep_result *result)
{
    result->cut_off += sentence->verdict.action == REMOVE_CUT_OFF;
    result->expired += sentence->verdict.action == REMOVE_EXPIRED;
}

/* What cannot be judged (a failing callback, a policy that makes no sense) is looked at again tomorrow, never removed. */
static int verdict_of(otok_service *service, const otok_loaded *session, int64_t now_us, struct verdict *out,
                      otok_error *err)
{
    otok_rules rules;
    int rc = otok_loaded_rules(service, session, false, &rules, err);
    *out = rc == OTOK_OK ? judge(session, &rules, now_us) : (struct verdict){MOVE, otok_time_add(now_us, OTOK_DAY_US)};
    return rc;
}

/* One commit, each session on its own: one that was refreshed meanwhile stays as it is, and is found again (L6). */
static int apply(otok_service *service, struct sentence *sentences, const otok_loaded *sessions, size_t n,
                 otok_sweep_result *result, otok_error *err)
{
    otok_change changes[OTOK_BULK];
    for (size_t i = 0; i < n; i++)
        changes[i] = change_of(&sentences[i], &sessions[i]);
    int rc = otok_changes_commit(service, changes, n, err);
    for (size_t i = 0; i < n; i++) {
        if (changes[i].result == OTOK_OK)
            count(&sentences[i], result);
    }
    return rc;
}

static int sweep_sessions(otok_service *service, otok_loaded *sessions, size_t n, int64_t now_us,
                          otok_sweep_result *result, otok_error *err)
{
    otok_error first = {0};
    struct sentence *sentences = otok_calloc(n, sizeof *sentences);
    if (sentences == NULL)
        return otok_fail(err, OTOK_E_NOMEM, "out of memory");
    int judged = OTOK_OK;
    int rc = otok_sessions_add_cutoffs(service, sessions, n, err);
    for (size_t i = 0; rc == OTOK_OK && i < n; i++) {
        int one = verdict_of(service, &sessions[i], now_us, &sentences[i].verdict, judged == OTOK_OK ? &first : NULL);
        judged = judged == OTOK_OK ? one : judged;
    }
    if (rc == OTOK_OK && n != 0)
        rc = apply(service, sentences, sessions, n, result, err);
    otok_free(sentences);
    if (rc == OTOK_OK && judged != OTOK_OK) /* the rest is done: now say so */
        rc = otok_error_set(err, judged, 0, first.message);
    return rc;
}

/* ----------------------------------------------------------------------------------------------------------- the page */

/* One call. */
struct sweep {
    otok_service *service;
    otok_index_key key;
    int64_t now_us;
    uint32_t limit;
    otok_sweep_result result;
};

static uint32_t left_of(const struct sweep *sweep)
{
    return sweep->result.visited < sweep->limit ? (uint32_t)(sweep->limit - sweep->result.visited) : 0;
}

/* What this version cannot read is looked at again in a month, so that it does not stand in the way of the rest. */
static int set_aside(const struct sweep *sweep, const otok_record *unread, otok_error *err)
{
    otok_record record = *unread;
    record.version++;
    record.sweep_us = otok_sweep_due(OTOK_UNLIMITED, sweep->now_us);
    int rc = otok_service_write(sweep->service, OTOK_WRITE_PUT, unread->version, &record, err);
    return rc == OTOK_E_CONFLICT ? OTOK_OK : rc;
}

/* The walk of a cutoff takes what is left of the limit. */
static int sweep_cutoff(struct sweep *sweep, const otok_record *cutoff, otok_error *err)
{
    otok_ended_walk walk = {.at.created_us = INT64_MIN};
    if (left_of(sweep) == 0)
        return OTOK_OK;
    int rc = otok_cutoff_sweep(sweep->service, cutoff, left_of(sweep), &walk, err);
    sweep->result.visited += walk.visited;
    sweep->result.cut_off += walk.removed;
    return rc;
}

/* The sessions among the rows, taken apart. */
static size_t sessions_of(const struct sweep *sweep, otok_rows *rows, otok_loaded *sessions)
{
    size_t n = 0;
    for (size_t i = 0; i < rows->n; i++) {
        if (rows->records[i]->kind == OTOK_RECORD_SESSION &&
            otok_session_unpack(sweep->service, rows->records[i], &sessions[n], NULL) == OTOK_OK) {
            rows->records[i] = NULL;
            n++;
        }
    }
    return n;
}

/* A head that is not empty: it was seen to have ended, as a session that is doomed. */
static const uint8_t doomed[] = {1};

/*
 * What was good for once is forgotten when its time has come, after the grace: a clock that ran ahead must not make anything good
 * again.  A token of another system ends later than we file ahead.
 */
static int sweep_once(struct sweep *sweep, const otok_record *record, otok_error *err)
{
    otok_once once;
    otok_rules rules;
    otok_record later = *record;
    if (!otok_once_parse(record->body, &once))
        return OTOK_E_FORMAT;
    int rc = otok_rules_of(&sweep->service->policy, &sweep->service->ceilings, false, false, &rules, err);
    if (rc != OTOK_OK)
        return rc;
    int64_t end_us = once.adopted ? once.ends_us : record->sweep_us;
    bool ended = end_us <= sweep->now_us, again = ended && record->head.len != 0;
    later.version++;
    later.head = (otok_str){doomed, ended ? sizeof doomed : 0};
    later.sweep_us = ended ? otok_time_add(sweep->now_us, rules.sweep_grace_us) : otok_sweep_due(end_us, sweep->now_us);
    sweep->result.visited++;
    rc = otok_service_write(sweep->service, again ? OTOK_WRITE_DELETE : OTOK_WRITE_PUT, record->version, &later, err);
    return rc == OTOK_E_CONFLICT ? OTOK_OK : rc;
}

static int sweep_other(struct sweep *sweep, const otok_record *record, otok_error *err)
{
    switch (record->kind) {
    case OTOK_RECORD_CUTOFF:
    case OTOK_RECORD_PAIR:
        return sweep_cutoff(sweep, record, err);
    case OTOK_RECORD_ONCE:
    case OTOK_RECORD_TOMBSTONE:
        return sweep_once(sweep, record, err);
    default: /* a session that could not be read, or what this version does not know */
        return OTOK_E_FORMAT;
    }
}

/* What is not a session, or could not be read as one. */
static int sweep_others(struct sweep *sweep, const otok_rows *rows, otok_error *err)
{
    int rc = OTOK_OK;
    for (size_t i = 0; rc == OTOK_OK && i < rows->n; i++) {
        if (rows->records[i] == NULL)
            continue;
        rc = sweep_other(sweep, rows->records[i], err);
        if (rc == OTOK_E_FORMAT)
            rc = set_aside(sweep, rows->records[i], err);
    }
    return rc;
}

static int sweep_rows(struct sweep *sweep, otok_rows *rows, otok_error *err)
{
    otok_loaded *sessions = otok_calloc(rows->n, sizeof *sessions);
    if (sessions == NULL)
        return otok_fail(err, OTOK_E_NOMEM, "out of memory");
    size_t n = sessions_of(sweep, rows, sessions);
    int rc = n != 0 ? sweep_sessions(sweep->service, sessions, n, sweep->now_us, &sweep->result, err) : OTOK_OK;
    sweep->result.visited += n;
    if (rc == OTOK_OK)
        rc = sweep_others(sweep, rows, err);
    for (size_t i = 0; i < n; i++)
        otok_loaded_free(&sessions[i]);
    otok_free(sessions);
    return rc;
}

/* What is due, in the order of the time at which to look. */
static int sweep_due(struct sweep *sweep, bool *end, otok_error *err)
{
    uint32_t left = left_of(sweep);
    const otok_scan scan = {.size = sizeof scan, .key = sweep->key, .limit = left < OTOK_BULK ? left : OTOK_BULK};
    otok_rows rows = {.until_us = sweep->now_us};
    int rc = otok_rows_scan(sweep->service, &scan, &rows, err);
    if (rc != OTOK_OK)
        return rc;
    *end = rows.n < scan.limit;
    rc = sweep_rows(sweep, &rows, err);
    otok_rows_free(&rows);
    return rc;
}

/* A clock that was ahead may have filed records years away: those at the far end are looked at now. */
static int sweep_far(struct sweep *sweep, otok_error *err)
{
    uint32_t left = left_of(sweep);
    const otok_scan scan = {
        .size = sizeof scan,
        .key = sweep->key,
        .flags = OTOK_SCAN_DESCENDING,
        .limit = left < OTOK_BULK ? left : OTOK_BULK,
    };
    otok_rows rows = {.until_us = INT64_MAX};
    int64_t far_us = otok_time_add(otok_sweep_due(OTOK_UNLIMITED, sweep->now_us), OTOK_DAY_US);
    int rc = otok_rows_scan(sweep->service, &scan, &rows, err);
    if (rc != OTOK_OK)
        return rc;
    while (rows.n > 0 && rows.records[rows.n - 1]->sweep_us <= far_us)
        otok_record_free(rows.records[--rows.n]);
    rc = sweep_rows(sweep, &rows, err);
    otok_rows_free(&rows);
    return rc;
}

int otok_sweep(otok_service *service, uint32_t limit, otok_sweep_result *result, otok_error *err)
{
    struct sweep sweep = {.service = service, .limit = limit != 0 ? limit : DEFAULT_LIMIT};
    bool end = false;
    if (service == NULL)
        return otok_fail(err, OTOK_E_INVALID, "service is required");
    if (result != NULL && (result->size < sizeof(size_t) || result->size > UINT16_MAX))
        return otok_fail(err, OTOK_E_INVALID, "otok_sweep_result.size is %zu: call otok_sweep_result_init() first",
                         result->size);
    sweep.now_us = otok_service_now(service);
    int rc = otok_sweep_key(service, &sweep.key, err);
    if (rc == OTOK_OK)
        rc = sweep_far(&sweep, err);
    /* Pages of cutoffs without a session to remove add nothing to what was visited, so the pages are counted too. */
    for (uint32_t pages = 0; rc == OTOK_OK && !end && left_of(&sweep) != 0 && pages <= sweep.limit / OTOK_BULK; pages++)
        rc = sweep_due(&sweep, &end, err);
    sweep.result.more = !end || left_of(&sweep) == 0;
    if (result != NULL) {
        sweep.result.size = result->size;
        memcpy(result, &sweep.result, result->size < sizeof sweep.result ? result->size : sizeof sweep.result);
    }
    return rc;
}
