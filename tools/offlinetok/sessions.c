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

static const char *const headings[] = {"SESSION", "SUBJECT", "CLIENT", "LAST USED", "ENDS",
                                       "DEVICE",  "STARTED", "KIND",   "FROM",      "SCOPE"};

static int64_t end_of(const otok_session *s)
{
    return s->idle_expires_us < s->max_expires_us ? s->idle_expires_us : s->max_expires_us;
}

static void add_row(pages *p, const otok_session *s)
{
    char used[TIME_ROOM], ends[TIME_ROOM], started[TIME_ROOM];
    time_relative(s->last_used_us, p->now_us, used);
    time_relative(end_of(s), p->now_us, ends);
    time_relative(s->started_us, p->now_us, started);
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
    pages_add_row(p, cells);
}

static int show_page(pages *p)
{
    otok_page *page;
    otok_error err;
    if (otok_list(p->place->service, &p->request, &page, &err) != OTOK_OK)
        return complain("listing", &err);
    int rc = EXIT_DONE;
    for (size_t i = 0; rc == EXIT_DONE && i < page->count; i++) {
        if (p->table != NULL)
            add_row(p, page->sessions[i]);
        else
            rc = pages_add_json(p, json_of_session(page->sessions[i]));
    }
    if (rc == EXIT_DONE)
        rc = pages_next(p, page->next_cursor);
    otok_page_free(page);
    return rc;
}

/* Who takes other policies for those of the servers would miss sessions without knowing. */
static void tell_of_others(const pages *p)
{
    char number[NUMBER_ROOM];
    uint64_t n = 0;
    bool is_whole = p->cursor == NULL && p->o->cursor == NULL;
    if (!is_whole || otok_count(p->place->service, p->request.filter, &n, NULL) != OTOK_OK || n <= p->shown)
        return;
    note(p->o, "Not shown, as ended and not swept yet%s: %s",
         p->o->policy != NULL ? "" : " by the library's policies (--policy)", sessions_words(n - p->shown, number));
}

static int list(pages *p, const char *whose)
{
    int rc = pages_show(p, show_page);
    if (rc == EXIT_DONE)
        rc = pages_finish(p, "sessions", whose);
    if (rc == EXIT_DONE && p->table != NULL)
        tell_of_others(p);
    return rc;
}

int command_list(const options *o)
{
    otok_filter filter;
    place there;
    pages p = {.place = &there};
    int rc = filter_read(o, FILTER_REALM, &filter);
    if (rc == EXIT_DONE)
        rc = paging_read(o, &p.request);
    if (rc == EXIT_DONE)
        rc = place_open(o, OPEN_SERVICE, true, &there);
    if (rc != EXIT_DONE)
        return rc;
    p.request.filter = &filter;
    char *whose = filter_words(&filter, there.realm);
    rc = whose != NULL ? pages_begin(&p, o, headings, sizeof headings / sizeof headings[0]) : complain_memory();
    if (rc == EXIT_DONE)
        rc = list(&p, whose);
    free(whose);
    pages_end(&p);
    place_close(&there);
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
