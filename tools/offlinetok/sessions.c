/*
 * sessions.c - list, show, count.
 *
 * SPDX-License-Identifier: MIT
 */
#include "tool.h"

#include <cjson/cJSON.h>
#include <stdlib.h>
#include <string.h>

/* ------------------------------------------------------------------------------------------------------- list */

/* A list under way. */
typedef struct lister {
    const options *o;
    place place;
    otok_list_request request;
    int64_t now_us;
    size_t shown;
    char *cursor; /* where to go on; NULL: it is the end */
    table *table; /* for humans */
    cJSON *rows;  /* for machines, unless each is a line of its own */
} lister;

static const char *const headings[] = {"SESSION", "SUBJECT", "CLIENT", "LAST USED", "ENDS",
                                       "DEVICE",  "STARTED", "KIND",   "FROM",      "SCOPE"};

static int64_t end_of(const otok_session *s)
{
    return s->idle_expires_us < s->max_expires_us ? s->idle_expires_us : s->max_expires_us;
}

static void add_row(lister *l, const otok_session *s)
{
    char used[TIME_ROOM], ends[TIME_ROOM], started[TIME_ROOM];
    time_relative(s->last_used_us, l->now_us, used);
    time_relative(end_of(s), l->now_us, ends);
    time_relative(s->started_us, l->now_us, started);
    const char *device = s->label != NULL ? s->label : s->start_user_agent;
    const char *const cells[] = {s->session_id,
                                 s->subject,
                                 s->client_id,
                                 used,
                                 s->state == OTOK_OK ? ends : word_of_state(s->state),
                                 device,
                                 started,
                                 word_of_kind(s->kind),
                                 s->last_ip != NULL ? s->last_ip : s->start_ip,
                                 s->scope};
    table_add(l->table, cells);
}

static int show_row(lister *l, const otok_session *s)
{
    l->shown++;
    if (l->table != NULL)
        add_row(l, s);
    else if (l->rows == NULL)
        return json_print_line(json_of_session(s));
    else
        json_append(l->rows, json_of_session(s));
    return EXIT_DONE;
}

static int show_page(lister *l)
{
    otok_page *page;
    otok_error err;
    if (otok_list(l->place.service, &l->request, &page, &err) != OTOK_OK)
        return complain("listing", &err);
    int rc = EXIT_DONE;
    for (size_t i = 0; rc == EXIT_DONE && i < page->count; i++)
        rc = show_row(l, page->sessions[i]);
    free(l->cursor);
    l->cursor = page->next_cursor != NULL ? strdup(page->next_cursor) : NULL;
    if (rc == EXIT_DONE && page->next_cursor != NULL && l->cursor == NULL)
        rc = complain_memory();
    otok_page_free(page);
    l->request.cursor = l->cursor;
    return rc;
}

/* A page may be short: it is filled by those behind it. */
static int show_pages(lister *l)
{
    size_t wanted = l->o->all ? SIZE_MAX : l->request.limit;
    int rc;
    do {
        size_t left = wanted - l->shown;
        l->request.limit = left < MOST_A_PAGE ? (uint32_t)left : MOST_A_PAGE;
        rc = show_page(l);
        if (rc == EXIT_DONE && l->o->all && l->table != NULL && l->shown != 0 && !table_print(l->table, stdout))
            rc = complain_memory();
        if (ferror(stdout) != 0) /* which is said at the end */
            break;
    } while (rc == EXIT_DONE && l->cursor != NULL && l->shown < wanted);
    return rc;
}

/* Who takes other policies for those of the servers would miss sessions without knowing. */
static void tell_of_others(const lister *l)
{
    char number[NUMBER_ROOM];
    uint64_t n = 0;
    bool is_whole = l->cursor == NULL && l->o->cursor == NULL;
    if (!is_whole || otok_count(l->place.service, l->request.filter, &n, NULL) != OTOK_OK || n <= l->shown)
        return;
    note(l->o, "Not shown, as ended and not swept yet%s: %s",
         l->o->policy != NULL ? "" : " by the library's policies (--policy)", sessions_words(n - l->shown, number));
}

static int finish_table(lister *l, const char *whose)
{
    if (l->shown == 0)
        printf("No sessions %s.\n", whose);
    else if (!table_print(l->table, stdout))
        return complain_memory();
    if (l->cursor != NULL)
        printf("\nThere may be more: the same with --cursor %s, or with --all\n", l->cursor);
    tell_of_others(l);
    return EXIT_DONE;
}

static int finish_json(lister *l)
{
    cJSON *document = cJSON_CreateObject();
    json_add_filter(document, l->request.filter, l->place.realm);
    json_add(document, "sessions", l->rows);
    l->rows = NULL;
    json_add_text(document, "next_cursor", l->cursor);
    return json_print(document);
}

static int list(lister *l)
{
    if (!l->o->json)
        l->table = table_new(headings, sizeof headings / sizeof headings[0]);
    else if (!l->o->all)
        l->rows = cJSON_CreateArray();
    char *whose = filter_words(l->request.filter, l->place.realm);
    int rc = whose == NULL || (!l->o->json && l->table == NULL) ? complain_memory() : show_pages(l);
    if (rc == EXIT_DONE && l->o->json)
        rc = l->o->all ? EXIT_DONE : finish_json(l);
    else if (rc == EXIT_DONE)
        rc = finish_table(l, whose);
    free(whose);
    free(l->cursor);
    table_free(l->table);
    cJSON_Delete(l->rows);
    return rc;
}

int command_list(const options *o)
{
    otok_filter filter;
    lister l = {.o = o, .now_us = time_now()};
    int rc = filter_read(o, FILTER_REALM, &filter);
    if (rc == EXIT_DONE)
        rc = paging_read(o, &l.request);
    if (rc == EXIT_DONE)
        rc = place_open(o, OPEN_SERVICE, true, &l.place);
    if (rc != EXIT_DONE)
        return rc;
    l.request.filter = &filter;
    rc = list(&l);
    place_close(&l.place);
    return rc;
}

/* ------------------------------------------------------------------------------------------------------- show */

/* Both ways: "2026-11-22T05:30:00Z (3 days ago)". */
static const char *both(int64_t us, int64_t now_us, char room[2 * TIME_ROOM + 4])
{
    char absolute[TIME_ROOM], relative[TIME_ROOM];
    time_absolute(us, absolute);
    time_relative(us, now_us, relative);
    bool in_words = us <= 0 || us == OTOK_UNLIMITED;
    (void)snprintf(room, 2 * TIME_ROOM + 4, in_words ? "%s" : "%s (%s)", absolute, relative);
    return room;
}

static void show(const otok_session *s, const char *realm)
{
    char started[2 * TIME_ROOM + 4], used[sizeof started], rotated[sizeof started], idle[sizeof started],
        most[sizeof started], generation[16], retries[16];
    int64_t now_us = time_now();
    bool known = s->idle_expires_us != 0;
    (void)snprintf(generation, sizeof generation, "%u", (unsigned)s->generation);
    (void)snprintf(retries, sizeof retries, "%u", (unsigned)s->retries);
    const fact facts[] = {
        {"session", s->session_id},
        {"state", word_of_state(s->state)},
        {"realm", realm},
        {"subject", s->subject},
        {"sub on the wire", strcmp(s->sub, s->subject) != 0 ? s->sub : NULL},
        {"client", s->client_id},
        {"label", s->label},
        {"scope", s->scope},
        {"kind", word_of_kind(s->kind)},
        {"SSO session", s->sid},
        {"grant", word_of_grant(s->grant_type)},
        {"bound to", s->binding != OTOK_BINDING_NONE ? word_of_binding(s->binding) : NULL},
        {"started", both(s->started_us, now_us, started)},
        {"  from", s->start_ip},
        {"  with", s->start_user_agent},
        {"last used", both(s->last_used_us, now_us, used)},
        {"  from", s->last_ip},
        {"  with", s->last_user_agent},
        {"rotated", both(s->rotated_us, now_us, rotated)},
        {"generation", generation},
        {"retries", s->retries != 0 ? retries : NULL},
        {"ends unless used", known ? both(s->idle_expires_us, now_us, idle) : "unknown"},
        {"ends at last", known ? both(s->max_expires_us, now_us, most) : "unknown"},
        {"notes", s->notes},
    };
    facts_print(facts, sizeof facts / sizeof facts[0]);
}

int command_show(const options *o)
{
    otok_session *session;
    otok_error err;
    place p;
    int rc = place_open(o, OPEN_SERVICE, true, &p);
    if (rc != EXIT_DONE)
        return rc;
    if (otok_session_get(p.service, o->arguments[0], &session, &err) != OTOK_OK) {
        rc = complain(o->arguments[0], &err);
    } else if (o->json) {
        cJSON *json = json_of_session(session);
        json_add_text(json, "realm", p.realm);
        rc = json_print(json);
    } else {
        show(session, p.realm);
    }
    otok_session_free(session);
    place_close(&p);
    return rc;
}

/* ------------------------------------------------------------------------------------------------------- count */

static int print_count(const options *o, const place *p, const otok_filter *filter, uint64_t n)
{
    if (!o->json) {
        printf("%llu\n", (unsigned long long)n);
        return EXIT_DONE;
    }
    cJSON *json = cJSON_CreateObject();
    json_add_filter(json, filter, p->realm);
    json_add_count(json, o->live ? "live" : "records", n);
    return json_print(json);
}

int command_count(const options *o)
{
    otok_filter filter;
    otok_error err;
    uint64_t n = 0;
    place p;
    int rc = filter_read(o, FILTER_REALM, &filter);
    if (rc == EXIT_DONE)
        rc = place_open(o, OPEN_SERVICE, true, &p);
    if (rc != EXIT_DONE)
        return rc;
    int code = o->live ? otok_count_live(p.service, &filter, &n, &err) : otok_count(p.service, &filter, &n, &err);
    rc = code == OTOK_OK ? print_count(o, &p, &filter, n) : complain("counting", &err);
    place_close(&p);
    return rc;
}
