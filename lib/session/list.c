/*
 * list.c - sessions page by page, one by one, and counted (Q1 to Q4).
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

/* ---------------------------------------------------------------------------------------------------------- one row */

/* A row and its texts, in one piece of memory. */
struct session_box {
    otok_session session;
    char text[];
};

static const char *place(struct session_box *box, size_t *at, otok_str text)
{
    if (text.len == 0)
        return NULL;
    char *to = box->text + *at;
    memcpy(to, text.data, text.len);
    to[text.len] = '\0';
    *at += text.len + 1;
    return to;
}

static otok_str or_else(otok_str first, otok_str second)
{
    return first.len != 0 ? first : second;
}

static otok_session *row_of(const otok_loaded *loaded, const otok_lifetime *life)
{
    char id[OTOK_SESSION_ID_CHARS + 1];
    const otok_body *body = &loaded->body;
    otok_session_id_print(&loaded->record->id, id);
    const otok_str texts[] = {
        {id, OTOK_SESSION_ID_CHARS},
        loaded->record->subject,
        loaded->record->client,
        body->scope,
        body->sid,
        body->label,
        body->start_ip,
        body->start_user_agent,
        or_else(body->last_ip, body->start_ip),
        or_else(body->last_user_agent, body->start_user_agent),
    };
    size_t room = 0, at = 0;
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++)
        room += texts[i].len + 1;
    struct session_box *box = otok_calloc(1, sizeof *box + room);
    if (box == NULL)
        return NULL;
    box->session = (otok_session){
        .size = sizeof box->session,
        .session_id = place(box, &at, texts[0]),
        .subject = place(box, &at, texts[1]),
        .client_id = place(box, &at, texts[2]),
        .scope = place(box, &at, texts[3]),
        .sid = place(box, &at, texts[4]),
        .label = place(box, &at, texts[5]),
        .start_ip = place(box, &at, texts[6]),
        .start_user_agent = place(box, &at, texts[7]),
        .last_ip = place(box, &at, texts[8]),
        .last_user_agent = place(box, &at, texts[9]),
        .grant_type = body->grant_type,
        .binding = body->binding,
        .started_us = body->started_us,
        .last_used_us = loaded->head.refreshed_us,
        .rotated_us = loaded->head.rotated_us,
        .idle_expires_us = life->idle_expires_us,
        .max_expires_us = life->max_expires_us,
        .generation = loaded->head.generation,
        .retries = loaded->head.retries,
        .state = life->verdict,
    };
    return &box->session;
}

void otok_session_free(otok_session *session)
{
    otok_free(session);
}

/* Lifetime by the policy of its client; the type of the client plays no part in it. */
static int life_of(otok_service *service, const otok_loaded *loaded, int64_t now_us, otok_lifetime *out,
                   otok_error *err)
{
    char client[OTOK_MAX_NAME + 1] = "";
    otok_rules rules;
    memcpy(client, loaded->record->client.data, loaded->record->client.len);
    int rc = otok_service_rules(service, client, false, loaded->body.binding, &rules, err);
    if (rc == OTOK_OK) {
        otok_rules_tighten(&rules, loaded->body.idle_timeout_s, loaded->body.max_lifetime_s);
        *out = otok_loaded_lifetime(loaded, &rules, now_us);
    }
    return rc;
}

int otok_session_get(otok_service *service, const char *session_id, otok_session **out, otok_error *err)
{
    otok_id id;
    otok_loaded loaded;
    otok_lifetime life;
    if (service == NULL || session_id == NULL || out == NULL)
        return otok_fail(err, OTOK_E_INVALID, "service, session_id and out are required");
    *out = NULL;
    if (!otok_session_id_parse(session_id, &id))
        return otok_fail(err, OTOK_E_INVALID, "session_id is not 22 characters of base64url");
    int rc = otok_session_find(service, &id, &loaded, err);
    if (rc != OTOK_OK)
        return rc;
    rc = life_of(service, &loaded, otok_service_now(service), &life, err);
    if (rc == OTOK_OK && (*out = row_of(&loaded, &life)) == NULL)
        rc = otok_fail(err, OTOK_E_NOMEM, "out of memory");
    otok_loaded_free(&loaded);
    return rc;
}

/* ---------------------------------------------------------------------------------------------------------- a page */

struct page_box {
    otok_page page;
    char cursor[OTOK_CURSOR_CHARS + 1];
    const otok_session *sessions[];
};

void otok_page_free(otok_page *page)
{
    struct page_box *box = (struct page_box *)(void *)page;
    if (box == NULL)
        return;
    for (size_t i = 0; i < box->page.count; i++)
        otok_free((void *)(uintptr_t)box->sessions[i]);
    otok_free(box);
}

/* One walk over the sessions of a filter. */
struct walk {
    otok_service *service;
    otok_scope_names names;
    uint32_t order;
    otok_cursor at;
    bool started, end;
    int64_t now_us;
};

/* A cursor is bound to what it is a cursor of: the index key, which has realm and names in it, and the order. */
static otok_str context_of(const struct walk *walk, uint8_t room[21])
{
    otok_put_u32(room, walk->names.index.index);
    memcpy(room + 4, walk->names.index.digest, 16);
    room[20] = (uint8_t)walk->order;
    return (otok_str){room, 21};
}

static int resume(struct walk *walk, const char *cursor, otok_error *err)
{
    uint8_t key_id, room[21];
    if (cursor == NULL)
        return OTOK_OK;
    const otok_realm_key *key = otok_cursor_key_id(cursor, &key_id) ? otok_service_key(walk->service, key_id) : NULL;
    if (key == NULL)
        return otok_fail(err, OTOK_E_INVALID, "cursor is not one of this library's");
    walk->started = true;
    return otok_cursor_parse(cursor, context_of(walk, room), key->cursor, &walk->at, err);
}

static int print_cursor(const struct walk *walk, struct page_box *box, otok_error *err)
{
    uint8_t room[21];
    const otok_realm_key *key = walk->service->active;
    int rc = otok_cursor_print(&walk->at, context_of(walk, room), key->id, key->cursor, box->cursor, err);
    if (rc == OTOK_OK)
        box->page.next_cursor = box->cursor;
    return rc;
}

/* Reads on, at most `limit` rows, each taken apart and with its cutoffs; what this version cannot read is passed over. */
static int read_on(struct walk *walk, uint32_t limit, otok_loaded *out, size_t *n, otok_error *err)
{
    otok_scan scan = {.size = sizeof scan, .key = walk->names.index, .limit = limit};
    otok_rows rows = {.until_us = INT64_MAX};
    if (walk->order == OTOK_ORDER_NEWEST_FIRST)
        scan.flags |= OTOK_SCAN_DESCENDING;
    if (walk->started) {
        scan.flags |= OTOK_SCAN_AFTER;
        scan.after_us = walk->at.created_us;
        scan.after = walk->at.id;
    }
    *n = 0;
    int rc = otok_rows_scan(walk->service, &scan, &rows, err);
    if (rc != OTOK_OK)
        return rc;
    walk->end = rows.n < limit;
    for (size_t i = 0; i < rows.n; i++) {
        walk->at = (otok_cursor){rows.records[i]->created_us, rows.records[i]->id};
        walk->started = true;
        if (otok_session_unpack(walk->service, rows.records[i], &out[*n], NULL) == OTOK_OK) {
            rows.records[i] = NULL;
            (*n)++;
        }
    }
    otok_rows_free(&rows);
    /* Read behind the page: cutoffs only grow, so what is shown as live was live when the page was read (Q4). */
    return *n != 0 ? otok_sessions_add_cutoffs(walk->service, out, *n, err) : OTOK_OK;
}

typedef int (*on_live)(void *arg, const otok_loaded *loaded, const otok_lifetime *life);

/* Reads on and hands out the live ones; OTOK_E_NOMEM when the callback is not content. */
static int live_on(struct walk *walk, uint32_t limit, on_live each, void *arg, otok_error *err)
{
    size_t n = 0;
    otok_lifetime life;
    otok_loaded *sessions = otok_calloc(limit, sizeof *sessions);
    if (sessions == NULL)
        return otok_fail(err, OTOK_E_NOMEM, "out of memory");
    int rc = read_on(walk, limit, sessions, &n, err);
    for (size_t i = 0; rc == OTOK_OK && i < n; i++) {
        rc = life_of(walk->service, &sessions[i], walk->now_us, &life, err);
        if (rc == OTOK_OK && life.verdict == OTOK_OK && each(arg, &sessions[i], &life) != 0)
            rc = otok_fail(err, OTOK_E_NOMEM, "out of memory");
    }
    for (size_t i = 0; i < n; i++)
        otok_loaded_free(&sessions[i]);
    otok_free(sessions);
    return rc;
}

static int begin_walk(otok_service *service, const otok_filter *filter, int32_t order, struct walk *walk,
                      otok_error *err)
{
    *walk = (struct walk){.service = service, .order = (uint32_t)order};
    int rc = otok_names_of_filter(service, filter, &walk->names, err);
    walk->now_us = otok_service_now(service);
    return rc;
}

static int add_row(void *arg, const otok_loaded *loaded, const otok_lifetime *life)
{
    struct page_box *box = arg;
    otok_session *row = row_of(loaded, life);
    if (row == NULL)
        return 1;
    box->sessions[box->page.count++] = row;
    return 0;
}

/* A few scans at most, so that a call's work is bounded however many of the sessions are dead (Q1). */
static int fill_page(struct walk *walk, uint32_t limit, struct page_box *box, otok_error *err)
{
    int rc = OTOK_OK;
    for (int i = 0; rc == OTOK_OK && i < SCANS_A_PAGE && !walk->end && box->page.count < limit; i++)
        rc = live_on(walk, limit - (uint32_t)box->page.count, add_row, box, err);
    return rc == OTOK_OK && !walk->end ? print_cursor(walk, box, err) : rc;
}

int otok_list(otok_service *service, const otok_list_request *request, otok_page **out, otok_error *err)
{
    otok_list_request own;
    struct walk walk;
    if (service == NULL || out == NULL)
        return otok_fail(err, OTOK_E_INVALID, "%s is required", service == NULL ? "service" : "out");
    *out = NULL;
    int rc =
        otok_struct_read(&own, sizeof own, request, sizeof(size_t) + sizeof(otok_filter *), "otok_list_request", err);
    if (rc != OTOK_OK)
        return rc;
    if (own.limit > LIMIT_BOUND)
        return otok_fail(err, OTOK_E_INVALID, "request.limit is more than %d", LIMIT_BOUND);
    if (own.order != OTOK_ORDER_NEWEST_FIRST && own.order != OTOK_ORDER_OLDEST_FIRST)
        return otok_fail(err, OTOK_E_INVALID, "request.order has no value %d", own.order);
    uint32_t limit = own.limit != 0 ? own.limit : DEFAULT_LIMIT;
    rc = begin_walk(service, own.filter, own.order, &walk, err);
    if (rc == OTOK_OK)
        rc = resume(&walk, own.cursor, err);
    if (rc != OTOK_OK)
        return rc;
    struct page_box *box = otok_calloc(1, sizeof *box + limit * sizeof box->sessions[0]);
    if (box == NULL)
        return otok_fail(err, OTOK_E_NOMEM, "out of memory");
    box->page.size = sizeof box->page;
    box->page.sessions = box->sessions;
    rc = fill_page(&walk, limit, box, err);
    if (rc != OTOK_OK) {
        otok_page_free(&box->page);
        return rc;
    }
    *out = &box->page;
    return OTOK_OK;
}

/* ------------------------------------------------------------------------------------------------------------ counts */

int otok_count(otok_service *service, const otok_filter *filter, uint64_t *out, otok_error *err)
{
    otok_scope_names names;
    if (service == NULL || out == NULL)
        return otok_fail(err, OTOK_E_INVALID, "%s is required", service == NULL ? "service" : "out");
    int rc = otok_names_of_filter(service, filter, &names, err);
    return rc == OTOK_OK ? otok_store_count(service->store, &names.index, out, err) : rc;
}

static int count_one(void *arg, const otok_loaded *loaded, const otok_lifetime *life)
{
    (void)loaded;
    (void)life;
    ++*(uint64_t *)arg;
    return 0;
}

int otok_count_live(otok_service *service, const otok_filter *filter, uint64_t *out, otok_error *err)
{
    struct walk walk;
    uint64_t n = 0;
    if (service == NULL || out == NULL)
        return otok_fail(err, OTOK_E_INVALID, "%s is required", service == NULL ? "service" : "out");
    int rc = begin_walk(service, filter, OTOK_ORDER_OLDEST_FIRST, &walk, err);
    while (rc == OTOK_OK && !walk.end)
        rc = live_on(&walk, LIMIT_BOUND, count_one, &n, err);
    if (rc == OTOK_OK)
        *out = n;
    return rc;
}
