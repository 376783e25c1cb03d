/*
 * limit.c - how many sessions a subject may have with a client (I4): who has to go for a new one.
 *
 * What is found here holds when the new session is committed, for it is committed together with the mark of subject and client,
 * which was read before: of two that are made at once, one starts again.
 *
 * SPDX-License-Identifier: MIT
 */
#include "session/birth.h"

#include <string.h>

/* A walk over the sessions of a subject with a client, oldest first. */
struct census {
    otok_service *service;
    const otok_loaded *born;
    const otok_rules *rules;
    const otok_id *replaced;
    int64_t now_us;
    int64_t live;
    otok_evictions *oldest;
};

static bool is_enough(const struct census *census)
{
    int64_t most = census->rules->evicts ? OTOK_EVICT_MOST : 1;
    return census->live - (census->rules->session_limit - 1) >= most;
}

/* Those of the same kind that have a token, taken apart; what this version cannot read is live to nobody. */
static size_t take_apart(const struct census *census, otok_rows *rows, otok_loaded *sessions)
{
    size_t n = 0;
    for (size_t i = 0; i < rows->n; i++) {
        bool is_replaced = census->replaced != NULL && otok_id_compare(&rows->records[i]->id, census->replaced) == 0;
        if (is_replaced || otok_session_unpack(census->service, rows->records[i], &sessions[n], NULL) != OTOK_OK ||
            sessions[n].body.kind != census->born->body.kind || sessions[n].body.refresh_token == OTOK_OFF)
            continue; /* the record stays with the rows */
        rows->records[i] = NULL;
        n++;
    }
    return n;
}

/* Moves what may have to go to the oldest. */
static int count(struct census *census, otok_loaded *session, otok_error *err)
{
    otok_rules rules;
    otok_evictions *oldest = census->oldest;
    int rc =
        otok_loaded_rules(census->service, session, false, &rules, err); /* how long it lives is the same for both */
    if (rc != OTOK_OK || otok_loaded_lifetime(session, &rules, census->now_us).verdict != OTOK_OK)
        return rc;
    census->live++;
    if (census->rules->evicts && oldest->n < OTOK_EVICT_MOST) {
        oldest->sessions[oldest->n++] = *session;
        *session = (otok_loaded){0};
    }
    return OTOK_OK;
}

static int count_rows(struct census *census, otok_rows *rows, otok_error *err)
{
    otok_loaded *sessions = otok_calloc(rows->n, sizeof *sessions);
    if (sessions == NULL)
        return otok_fail(err, OTOK_E_NOMEM, "out of memory");
    size_t n = take_apart(census, rows, sessions);
    int rc = otok_sessions_add_cutoffs(census->service, sessions, n, err);
    for (size_t i = 0; rc == OTOK_OK && i < n; i++)
        rc = count(census, &sessions[i], err);
    for (size_t i = 0; i < n; i++)
        otok_loaded_free(&sessions[i]);
    otok_free(sessions);
    return rc;
}

static int walk(struct census *census, otok_scan *scan, otok_error *err)
{
    int rc = OTOK_OK;
    bool more = true;
    while (rc == OTOK_OK && more && !is_enough(census)) {
        otok_rows rows = {.until_us = INT64_MAX};
        rc = otok_rows_scan(census->service, scan, &rows, err);
        more = rc == OTOK_OK && rows.n == scan->limit;
        if (rc == OTOK_OK && rows.n != 0) {
            const otok_record *last = rows.records[rows.n - 1];
            scan->flags = OTOK_SCAN_AFTER;
            scan->after_us = last->created_us;
            scan->after = last->id;
            rc = count_rows(census, &rows, err);
        }
        otok_rows_free(&rows);
    }
    return rc;
}

static otok_index_key pair_key_of(const otok_record *record)
{
    size_t i = 0;
    while (record->keys[i].index != OTOK_INDEX_PAIR)
        i++;
    return record->keys[i];
}

/* What the cutoff of subject and client has ended is older than all that may live: a walk need not pass by it. */
static void skip_cut_off(const otok_loaded *born, otok_scan *scan)
{
    int64_t cutoff_us = otok_cutoff_for(&born->pair.head, born->body.kind);
    if (born->pair.record == NULL || cutoff_us == INT64_MIN)
        return;
    scan->flags = OTOK_SCAN_AFTER;
    scan->after_us = cutoff_us;
    memset(scan->after.bytes, 0xff, sizeof scan->after.bytes);
}

/* Gives back those that may stay: the newer ones. */
static void keep_first(otok_evictions *evictions, int64_t n)
{
    while ((int64_t)evictions->n > n && evictions->n > 0)
        otok_loaded_free(&evictions->sessions[--evictions->n]);
}

int otok_limit_apply(otok_service *service, const otok_loaded *born, const otok_rules *rules, const otok_id *replaced,
                     int64_t now_us, otok_evictions *out, otok_error *err)
{
    struct census census = {service, born, rules, replaced, now_us, 0, out};
    otok_scan scan = {.size = sizeof scan, .key = pair_key_of(born->record), .limit = OTOK_BULK};
    out->n = 0;
    skip_cut_off(born, &scan);
    int rc = walk(&census, &scan, err);
    int64_t beyond = census.live - (rules->session_limit - 1);
    if (rc == OTOK_OK && beyond > 0 && !rules->evicts)
        rc = otok_fail(err, OTOK_E_LIMIT, "the subject has as many sessions with this client as the policy allows");
    keep_first(out, rc == OTOK_OK ? beyond : 0);
    return rc;
}

void otok_evictions_free(otok_evictions *evictions)
{
    keep_first(evictions, 0);
}
