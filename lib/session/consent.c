/*
 * consent.c - what a subject has allowed a client (C1, C2, V4).
 *
 * A consent stands in the mark of subject and client, which every session of theirs links to: a refresh reads it with the session,
 * and to revoke it is to move the cutoff beside it, in one write.
 *
 * SPDX-License-Identifier: MIT
 */
#include "session/session.h"

#include <string.h>

enum { SCOPE_BOUND = 4096, SCANS_A_PAGE = 4 };

/* -------------------------------------------------------------------------------------------------------- at a refresh */

int otok_consent_check(const otok_loaded *loaded, const otok_rules *rules, otok_str scope, otok_error *err)
{
    otok_str consent = loaded->pair.body.consent;
    if (!rules->needs_consent)
        return OTOK_OK;
    if (consent.len == 0)
        return otok_fail(err, OTOK_E_CONSENT, "the user's consent to this client is gone");
    /* Which takes a consent to offline access too. */
    bool offline = loaded->body.kind != OTOK_SESSION_LOGIN && loaded->body.refresh_token != OTOK_OFF;
    if (!otok_scope_covers(consent, scope) || (offline && !otok_scope_has(consent, "offline_access")))
        return otok_fail(err, OTOK_E_SCOPE, "the user's consent to this client does not cover the scope");
    return OTOK_OK;
}

/* ------------------------------------------------------------------------------------------------------- one consent */

/* A consent and its texts, in one piece of memory. */
struct consent_box {
    otok_consent consent;
    char text[];
};

static const char *put_text(char **at, otok_str text)
{
    char *to = memcpy(*at, text.data, text.len);
    to[text.len] = '\0';
    *at += text.len + 1;
    return to;
}

/* The mark has a consent, and so a record.  NULL when memory is short. */
static otok_consent *view_of(const otok_mark *mark)
{
    otok_str subject = mark->record->subject, client = mark->record->client, scope = mark->body.consent;
    struct consent_box *box = otok_malloc(sizeof *box + subject.len + client.len + scope.len + 3);
    if (box == NULL)
        return NULL;
    char *at = box->text;
    box->consent = (otok_consent){
        .size = sizeof box->consent,
        .subject = put_text(&at, subject),
        .client_id = put_text(&at, client),
        .scope = put_text(&at, scope),
        .granted_us = mark->body.granted_us,
        .updated_us = mark->body.updated_us,
    };
    return &box->consent;
}

void otok_consent_free(otok_consent *consent)
{
    otok_free(consent);
}

int otok_consent_get(otok_service *service, const char *subject, const char *client_id, otok_consent **out,
                     otok_error *err)
{
    otok_scope_names names;
    otok_mark mark;
    if (service == NULL || out == NULL)
        return otok_fail(err, OTOK_E_INVALID, "%s is required", service == NULL ? "service" : "out");
    *out = NULL;
    int rc = otok_names_of_pair(service, subject, client_id, &names, err);
    if (rc == OTOK_OK)
        rc = otok_mark_fetch(service, &names.mark, &mark, err);
    if (rc != OTOK_OK)
        return rc;
    if (mark.body.consent.len == 0)
        rc = otok_fail(err, OTOK_E_NOT_FOUND, "there is no consent of that subject to that client");
    else if ((*out = view_of(&mark)) == NULL)
        rc = otok_fail(err, OTOK_E_NOMEM, "out of memory");
    otok_mark_free(&mark);
    return rc;
}

/* ---------------------------------------------------------------------------------------------------------------- put */

static void set_consent(otok_mark_body *body, otok_str scope, int64_t now_us)
{
    if (body->consent.len == 0)
        body->granted_us = body->updated_us = now_us;
    body->updated_us = otok_time_forward(body->updated_us, now_us);
    body->consent = scope;
}

/* One attempt.  `scope` is NUL-terminated too. */
static int put_once(otok_service *service, const otok_scope_names *names, otok_str scope, otok_error *err)
{
    otok_mark mark;
    otok_mark_write put;
    int rc = otok_mark_fetch(service, &names->mark, &mark, err);
    if (rc != OTOK_OK)
        return rc;
    set_consent(&mark.body, scope, otok_service_now(service));
    rc = otok_mark_prepare(service, names, &mark, otok_mark_filed_us(&mark), &put, err);
    if (rc == OTOK_OK) {
        otok_notice notice = {.event = {.type = OTOK_EVENT_CONSENT_GRANTED,
                                        .subject = names->subject,
                                        .client_id = names->client_id,
                                        .scope = scope.data}};
        otok_change change = {.writes = &put.write, .nwrites = 1, .notices = &notice, .nnotices = 1};
        rc = otok_change_commit(service, &change, err);
    }
    otok_mark_write_free(&put);
    otok_mark_free(&mark);
    return rc;
}

static int read_scope(const char *scope, otok_buf *out, otok_error *err)
{
    int rc = otok_text_check(scope, SCOPE_BOUND, true, "scope", NULL, err);
    if (rc == OTOK_OK)
        rc = otok_scope_normalise(scope, out, err);
    if (rc == OTOK_OK && out->len == 0)
        rc = otok_fail(err, OTOK_E_INVALID, "scope is required and must not be empty");
    return rc;
}

int otok_consent_put(otok_service *service, const char *subject, const char *client_id, const char *scope,
                     otok_error *err)
{
    otok_scope_names names;
    otok_buf normal;
    if (service == NULL)
        return otok_fail(err, OTOK_E_INVALID, "service is required");
    int rc = otok_names_of_pair(service, subject, client_id, &names, err);
    if (rc != OTOK_OK)
        return rc;
    otok_buf_init(&normal, NULL, 0);
    rc = read_scope(scope, &normal, err);
    size_t len = normal.len;
    otok_buf_add_u8(&normal, 0);
    if (rc == OTOK_OK && normal.failed)
        rc = otok_fail(err, OTOK_E_NOMEM, "out of memory");
    if (rc == OTOK_OK) {
        otok_attempts attempts = otok_attempts_begin(service);
        do
            rc = put_once(service, &names, (otok_str){normal.data, len}, err);
        while (otok_attempts_again(&attempts, &rc, err));
    }
    otok_buf_free(&normal);
    return rc;
}

/* ------------------------------------------------------------------------------------------------------------- revoke */

int otok_consent_revoke(otok_service *service, const char *subject, const char *client_id, uint64_t *revoked,
                        otok_error *err)
{
    const otok_cutoff_move move = {.at_us = OTOK_NOW, .drop_consent = true};
    otok_scope_names names;
    uint64_t ended = 0;
    if (revoked != NULL)
        *revoked = 0;
    if (service == NULL)
        return otok_fail(err, OTOK_E_INVALID, "service is required");
    int rc = otok_names_of_pair(service, subject, client_id, &names, err);
    if (rc == OTOK_OK)
        rc = otok_end_sessions(service, &names, &move, OTOK_REVOKED_BY_CONSENT, &ended, err);
    if (revoked != NULL)
        *revoked = ended;
    return rc;
}

/* --------------------------------------------------------------------------------------------------------------- list */

struct page_box {
    otok_consent_page page;
    char cursor[OTOK_CURSOR_CHARS + 1];
    otok_consent *consents[];
};

void otok_consent_page_free(otok_consent_page *page)
{
    struct page_box *box = (struct page_box *)(void *)page;
    if (box == NULL)
        return;
    for (size_t i = 0; i < box->page.count; i++)
        otok_consent_free(box->consents[i]);
    otok_free(box);
}

/* The index of marks that a filter names: of a subject, of a client, or of the realm. */
static int index_of(otok_service *service, const otok_filter *filter, otok_index_key *out, otok_error *err)
{
    otok_scope_names names;
    int rc = otok_names_of_filter(service, filter, &names, err);
    if (rc != OTOK_OK)
        return rc;
    if (names.sid != NULL)
        return otok_fail(err, OTOK_E_INVALID, "filter.sid has no consents");
    if (names.subject != NULL && names.client_id != NULL)
        return otok_fail(err, OTOK_E_INVALID, "filter.subject and filter.client_id: one consent, otok_consent_get()");
    uint32_t index = names.subject != NULL     ? OTOK_INDEX_SUBJECT
                     : names.client_id != NULL ? OTOK_INDEX_CLIENT
                                               : OTOK_INDEX_REALM;
    otok_str name = otok_str_of(names.subject != NULL ? names.subject : names.client_id);
    return otok_index_of(service, OTOK_RECORD_PAIR, index, name, (otok_str){0}, out, err);
}

/* Adds the consent of a mark, which is the row's no longer; marks without one, or that cannot be read, are passed over. */
static int add_row(struct page_box *box, otok_record **row, otok_error *err)
{
    otok_mark mark;
    int rc = OTOK_OK;
    if (otok_mark_unpack(*row, &mark, NULL) != OTOK_OK)
        return OTOK_OK;
    *row = NULL;
    if (mark.body.consent.len != 0) {
        otok_consent *consent = view_of(&mark);
        if (consent != NULL)
            box->consents[box->page.count++] = consent;
        else
            rc = otok_fail(err, OTOK_E_NOMEM, "out of memory");
    }
    otok_mark_free(&mark);
    return rc;
}

static int read_on(otok_service *service, otok_place *place, uint32_t limit, struct page_box *box, otok_error *err)
{
    otok_rows rows;
    int rc = otok_place_read(service, place, limit, &rows, err);
    if (rc != OTOK_OK)
        return rc;
    for (size_t i = 0; rc == OTOK_OK && i < rows.n; i++)
        rc = add_row(box, &rows.records[i], err);
    otok_rows_free(&rows);
    return rc;
}

/* A few scans at most, so that a call's work is bounded however many marks have no consent. */
static int fill_page(otok_service *service, otok_place *place, uint32_t limit, struct page_box *box, otok_error *err)
{
    int rc = OTOK_OK;
    for (int i = 0; rc == OTOK_OK && i < SCANS_A_PAGE && !place->end && box->page.count < limit; i++)
        rc = read_on(service, place, limit - (uint32_t)box->page.count, box, err);
    if (rc != OTOK_OK || place->end)
        return rc;
    box->page.next_cursor = box->cursor;
    return otok_place_print(service, place, box->cursor, err);
}

int otok_consent_list(otok_service *service, const otok_list_request *request, otok_consent_page **out, otok_error *err)
{
    otok_list_request own;
    otok_place place = {0};
    if (service == NULL || out == NULL)
        return otok_fail(err, OTOK_E_INVALID, "%s is required", service == NULL ? "service" : "out");
    *out = NULL;
    int rc = otok_list_request_read(request, &own, err);
    if (rc == OTOK_OK)
        rc = index_of(service, own.filter, &place.index, err);
    if (rc != OTOK_OK)
        return rc;
    place.order = (uint32_t)own.order;
    rc = otok_place_resume(service, own.cursor, &place, err);
    if (rc != OTOK_OK)
        return rc;
    struct page_box *box = otok_calloc(1, sizeof *box + own.limit * sizeof box->consents[0]);
    if (box == NULL)
        return otok_fail(err, OTOK_E_NOMEM, "out of memory");
    box->page.size = sizeof box->page;
    box->page.consents = (const otok_consent *const *)box->consents;
    rc = fill_page(service, &place, own.limit, box, err);
    if (rc != OTOK_OK) {
        otok_consent_page_free(&box->page);
        return rc;
    }
    *out = &box->page;
    return OTOK_OK;
}
