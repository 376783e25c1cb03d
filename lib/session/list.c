/*
 * list.c - sessions page by page, one by one, and counted (Q1 to Q4); and the walk through an index that other lists share.
 *
 * SPDX-License-Identifier: MIT
 */
#include "session/session.h"

#include <string.h>

enum { DEFAULT_LIMIT = 50, LIMIT_BOUND = 1000, SCANS_A_PAGE = 4 };

void otok_list_request_init(otok_list_request *request, size_t size)
{
    otok_struct_init(request, size);
}

int otok_list_request_read(const otok_list_request *in, otok_list_request *out, otok_error *err)
{
    int rc = otok_struct_read(out, sizeof *out, in, sizeof(size_t) + sizeof(otok_filter *), "otok_list_request", err);
    if (rc != OTOK_OK)
        return rc;
    if (out->limit > LIMIT_BOUND)
        return otok_fail(err, OTOK_E_INVALID, "request.limit is more than %d", LIMIT_BOUND);
    if (out->order != OTOK_ORDER_NEWEST_FIRST && out->order != OTOK_ORDER_OLDEST_FIRST)
        return otok_fail(err, OTOK_E_INVALID, "request.order has no value %d", out->order);
    if (out->limit == 0)
        out->limit = DEFAULT_LIMIT;
    return OTOK_OK;
}

/* ------------------------------------------------------------------------------------------------------------- places */

/* A cursor is bound to what it is a cursor of: the index key, which has realm, kind and names in it, and the order. */
enum { CONTEXT_SIZE = 4 + 16 + 1 };

static otok_str context_of(const otok_place *place, uint8_t room[CONTEXT_SIZE])
{
    otok_put_u32(room, place->index.index);
    memcpy(room + 4, place->index.digest, 16);
    room[20] = (uint8_t)place->order;
    return (otok_str){room, CONTEXT_SIZE};
}

int otok_place_resume(otok_service *service, const char *cursor, otok_place *place, otok_error *err)
{
    uint8_t key_id, room[CONTEXT_SIZE];
    if (cursor == NULL)
        return OTOK_OK;
    const otok_realm_key *key = NULL;
    int rc = otok_cursor_key_id(cursor, &key_id) ? otok_service_key(service, key_id, &key, err) : OTOK_OK;
    if (rc != OTOK_OK)
        return rc;
    if (key == NULL)
        return otok_fail(err, OTOK_E_INVALID, "cursor is not one of this library's");
    place->started = true;
    return otok_cursor_parse(cursor, context_of(place, room), key->cursor, &place->at, err);
}

int otok_place_print(otok_service *service, const otok_place *place, char out[OTOK_CURSOR_CHARS + 1], otok_error *err)
{
    uint8_t room[CONTEXT_SIZE];
    const otok_realm_key *key = otok_service_now_keys(service)->active;
    return otok_cursor_print(&place->at, context_of(place, room), key->id, key->cursor, out, err);
}

int otok_place_read(otok_service *service, otok_place *place, uint32_t limit, otok_rows *rows, otok_error *err)
{
    otok_scan scan = {.size = sizeof scan, .key = place->index, .limit = limit};
    if (place->order == OTOK_ORDER_NEWEST_FIRST)
        scan.flags |= OTOK_SCAN_DESCENDING;
    if (place->started) {
        scan.flags |= OTOK_SCAN_AFTER;
        scan.after_us = place->at.created_us;
        scan.after = place->at.id;
    }
    *rows = (otok_rows){.until_us = INT64_MAX};
    int rc = otok_rows_scan(service, &scan, rows, err);
    if (rc != OTOK_OK)
        return rc;
    place->end = rows->n < limit;
    if (rows->n != 0) {
        const otok_record *last = rows->records[rows->n - 1];
        place->at = (otok_cursor){last->created_us, last->id};
        place->started = true;
    }
    return OTOK_OK;
}

/* ---------------------------------------------------------------------------------------------------------- one session */

/*
 * Where the policy of the client does not tell, that is the state of the session, unless a cutoff has ended it: neither does one
 * client's failing callback hide everybody's sessions, nor is one shown as live that nobody knows to be so.
 */
static otok_lifetime life_without_rules(const otok_loaded *loaded, int64_t now_us, int why)
{
    const otok_rules endless = {.idle_us = OTOK_UNLIMITED, .max_us = OTOK_UNLIMITED};
    int verdict = otok_loaded_lifetime(loaded, &endless, now_us).verdict;
    return (otok_lifetime){.verdict = verdict != OTOK_OK ? verdict : why};
}

/* The type of the client plays no part in how long a session lives. */
static int life_of(otok_service *service, const otok_loaded *loaded, int64_t now_us, otok_lifetime *out,
                   otok_error *err)
{
    otok_rules rules;
    otok_error reason;
    int rc = otok_loaded_rules(service, loaded, false, &rules, &reason);
    if (rc == OTOK_OK)
        *out = otok_loaded_lifetime(loaded, &rules, now_us);
    else if (rc == OTOK_E_CALLBACK || rc == OTOK_E_POLICY)
        *out = life_without_rules(loaded, now_us, rc);
    else
        return otok_error_set(err, rc, reason.system_errno, reason.message);
    if (loaded->mark_unread && out->verdict == OTOK_OK) /* what cannot be read may be what ended it */
        out->verdict = OTOK_E_FORMAT;
    return OTOK_OK;
}

int otok_session_get(otok_service *service, const char *session_id, otok_session **out, otok_error *err)
{
    otok_id id;
    otok_loaded loaded;
    otok_lifetime life = {0};
    if (service == NULL || session_id == NULL || out == NULL)
        return otok_fail(err, OTOK_E_INVALID, "service, session_id and out are required");
    *out = NULL;
    if (!otok_session_id_parse(session_id, &id))
        return otok_fail(err, OTOK_E_INVALID, "session_id is not 22 characters of base64url");
    int rc = otok_session_find(service, &id, &loaded, err);
    if (rc != OTOK_OK)
        return rc;
    rc = life_of(service, &loaded, otok_service_now(service), &life, err);
    if (rc == OTOK_OK && (*out = otok_session_view(&loaded, &life)) == NULL)
        rc = otok_fail(err, OTOK_E_NOMEM, "out of memory");
    otok_loaded_free(&loaded);
    return rc;
}

/* ------------------------------------------------------------------------------------------------------------- a page */

struct page_box {
    otok_page page;
    char cursor[OTOK_CURSOR_CHARS + 1];
    otok_session *sessions[];
};

void otok_page_free(otok_page *page)
{
    struct page_box *box = (struct page_box *)(void *)page;
    if (box == NULL)
        return;
    for (size_t i = 0; i < box->page.count; i++)
        otok_session_free(box->sessions[i]);
    otok_free(box);
}

/* One walk over the sessions of a filter. */
struct walk {
    otok_service *service;
    otok_place place;
    int64_t now_us;
};

static int begin_walk(otok_service *service, const otok_filter *filter, int32_t order, struct walk *walk,
                      otok_error *err)
{
    otok_scope_names names;
    *walk = (struct walk){.service = service, .place.order = (uint32_t)order};
    int rc = otok_names_of_filter(service, filter, &names, err);
    if (rc != OTOK_OK)
        return rc;
    walk->place.index = names.index;
    walk->now_us = otok_service_now(service);
    return OTOK_OK;
}

/* Reads on, at most `limit` rows, each taken apart and with its cutoffs; what this version cannot read is passed over. */
static int read_on(struct walk *walk, uint32_t limit, otok_loaded *out, size_t *n, otok_error *err)
{
    otok_rows rows;
    *n = 0;
    int rc = otok_place_read(walk->service, &walk->place, limit, &rows, err);
    if (rc != OTOK_OK)
        return rc;
    for (size_t i = 0; i < rows.n; i++) {
        if (otok_session_unpack(walk->service, rows.records[i], &out[*n], NULL) == OTOK_OK) {
            rows.records[i] = NULL;
            (*n)++;
        }
    }
    otok_rows_free(&rows);
    /* Read behind the page: cutoffs only grow, so what is shown as live was live when the page was read (Q4). */
    return *n != 0 ? otok_sessions_add_cutoffs(walk->service, out, *n, err) : OTOK_OK;
}

typedef int (*on_session)(void *arg, const otok_loaded *loaded, const otok_lifetime *life, otok_error *err);

/* Reads on and hands out those that have not ended, so far as can be told. */
static int walk_on(struct walk *walk, uint32_t limit, on_session each, void *arg, otok_error *err)
{
    size_t n = 0;
    otok_lifetime life = {0};
    otok_loaded *sessions = otok_calloc(limit, sizeof *sessions);
    if (sessions == NULL)
        return otok_fail(err, OTOK_E_NOMEM, "out of memory");
    int rc = read_on(walk, limit, sessions, &n, err);
    for (size_t i = 0; rc == OTOK_OK && i < n; i++) {
        rc = life_of(walk->service, &sessions[i], walk->now_us, &life, err);
        if (rc == OTOK_OK && life.verdict != OTOK_E_TOKEN_EXPIRED && life.verdict != OTOK_E_TOKEN_REVOKED)
            rc = each(arg, &sessions[i], &life, err);
    }
    for (size_t i = 0; i < n; i++)
        otok_loaded_free(&sessions[i]);
    otok_free(sessions);
    return rc;
}

static int add_row(void *arg, const otok_loaded *loaded, const otok_lifetime *life, otok_error *err)
{
    struct page_box *box = arg;
    otok_session *row = otok_session_view(loaded, life);
    if (row == NULL)
        return otok_fail(err, OTOK_E_NOMEM, "out of memory");
    box->sessions[box->page.count++] = row;
    return OTOK_OK;
}

/* A few scans at most, so that a call's work is bounded however many of the sessions are dead (Q1). */
static int fill_page(struct walk *walk, uint32_t limit, struct page_box *box, otok_error *err)
{
    int rc = OTOK_OK;
    for (int i = 0; rc == OTOK_OK && i < SCANS_A_PAGE && !walk->place.end && box->page.count < limit; i++)
        rc = walk_on(walk, limit - (uint32_t)box->page.count, add_row, box, err);
    if (rc != OTOK_OK || walk->place.end)
        return rc;
    box->page.next_cursor = box->cursor;
    return otok_place_print(walk->service, &walk->place, box->cursor, err);
}

int otok_list(otok_service *service, const otok_list_request *request, otok_page **out, otok_error *err)
{
    otok_list_request own;
    struct walk walk;
    if (service == NULL || out == NULL)
        return otok_fail(err, OTOK_E_INVALID, "%s is required", service == NULL ? "service" : "out");
    *out = NULL;
    int rc = otok_list_request_read(request, &own, err);
    if (rc == OTOK_OK)
        rc = begin_walk(service, own.filter, own.order, &walk, err);
    if (rc == OTOK_OK)
        rc = otok_place_resume(service, own.cursor, &walk.place, err);
    if (rc != OTOK_OK)
        return rc;
    struct page_box *box = otok_calloc(1, sizeof *box + own.limit * sizeof box->sessions[0]);
    if (box == NULL)
        return otok_fail(err, OTOK_E_NOMEM, "out of memory");
    box->page.size = sizeof box->page;
    box->page.sessions = (const otok_session *const *)box->sessions;
    rc = fill_page(&walk, own.limit, box, err);
    if (rc != OTOK_OK) {
        otok_page_free(&box->page);
        return rc;
    }
    *out = &box->page;
    return OTOK_OK;
}

/* ------------------------------------------------------------------------------------------------------------- counts */

int otok_count(otok_service *service, const otok_filter *filter, uint64_t *out, otok_error *err)
{
    otok_scope_names names;
    if (service == NULL || out == NULL)
        return otok_fail(err, OTOK_E_INVALID, "%s is required", service == NULL ? "service" : "out");
    int rc = otok_names_of_filter(service, filter, &names, err);
    return rc == OTOK_OK ? otok_store_count(service->store, &names.index, out, err) : rc;
}

/* A number has no room for "who knows": what cannot be told by a policy fails the count.  Behind an unread mark no refresh succeeds. */
static int count_one(void *arg, const otok_loaded *loaded, const otok_lifetime *life, otok_error *err)
{
    (void)loaded;
    if (life->verdict == OTOK_E_CALLBACK || life->verdict == OTOK_E_POLICY)
        return otok_fail(err, life->verdict, "not counted: the policy of a client does not tell which sessions live");
    if (life->verdict == OTOK_OK)
        ++*(uint64_t *)arg;
    return OTOK_OK;
}

int otok_count_live(otok_service *service, const otok_filter *filter, uint64_t *out, otok_error *err)
{
    struct walk walk;
    uint64_t n = 0;
    if (service == NULL || out == NULL)
        return otok_fail(err, OTOK_E_INVALID, "%s is required", service == NULL ? "service" : "out");
    int rc = begin_walk(service, filter, OTOK_ORDER_OLDEST_FIRST, &walk, err);
    while (rc == OTOK_OK && !walk.place.end)
        rc = walk_on(&walk, LIMIT_BOUND, count_one, &n, err);
    if (rc == OTOK_OK)
        *out = n;
    return rc;
}
