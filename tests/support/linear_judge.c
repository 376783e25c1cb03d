/*
 * linear_judge.c - a history is split into those of its sessions, and each is judged by itself.
 *
 * SPDX-License-Identifier: MIT
 */
#include <stdio.h>
#include <string.h>

#include "support/linear_parts.h"

/* A session of a history.  One that nobody was told of may still be seen in a list. */
typedef struct session {
    char session_id[OTOK_SESSION_ID_CHARS + 1];
    uint8_t subject, app, sid;
    const linear_call *issue; /* NULL: its answer never came */
} session;

typedef struct judge {
    const linear_world *world;
    linear_report *report;
    session sessions[2 * LINEAR_SESSIONS];
    size_t nsessions;
} judge;

typedef struct events {
    linear_event events[LINEAR_MOST_EVENTS];
    size_t n;
    bool too_many;
} events;

/* ------------------------------------------------------------------------------------------------------------ answers */

/* Codes that leave it open; a walk that was not finished has set its cutoff, perhaps. */
static bool is_unknown(const linear_call *call)
{
    if (atomic_load(&call->answered) == 0 || call->code == OTOK_E_UNCERTAIN)
        return true;
    return call->kind == LINEAR_MATCHING && call->code != OTOK_OK;
}

/* Nothing was done, and nothing seen. */
static bool is_nothing(const linear_call *call)
{
    return !is_unknown(call) && (call->code == OTOK_E_BUSY || call->code == OTOK_E_CONFLICT);
}

static bool is_of_one(const linear_call *call)
{
    return call->kind == LINEAR_REFRESH || call->kind == LINEAR_GET || call->kind == LINEAR_REVOKE_TOKEN ||
           call->kind == LINEAR_REVOKE_SESSION;
}

static bool matches(const linear_call *call, const session *s)
{
    return (call->subject == LINEAR_ANY || call->subject == s->subject) &&
           (call->app == LINEAR_ANY || call->app == s->app) && (call->sid == LINEAR_ANY || call->sid == s->sid);
}

/* The reuse of one session's token ends all sessions of its pair by a cutoff. */
static bool ends_pair(const linear_world *world, const linear_call *call, const session *s)
{
    return world->rules.reuse == OTOK_REUSE_END_PAIR && call->kind == LINEAR_REFRESH && call->subject == s->subject &&
           call->app == s->app && (is_unknown(call) || call->code == OTOK_E_TOKEN_REUSED);
}

/* ------------------------------------------------------------------------------------------------------------ sessions */

static session *find_session(judge *j, const char *session_id)
{
    for (size_t i = 0; i < j->nsessions; i++) {
        if (strcmp(j->sessions[i].session_id, session_id) == 0)
            return &j->sessions[i];
    }
    return NULL;
}

static void add_session(judge *j, const char *session_id, uint8_t subject, uint8_t app, uint8_t sid,
                        const linear_call *issue)
{
    if (j->nsessions == sizeof j->sessions / sizeof j->sessions[0])
        return;
    session *s = &j->sessions[j->nsessions++];
    *s = (session){.subject = subject, .app = app, .sid = sid, .issue = issue};
    memcpy(s->session_id, session_id, sizeof s->session_id);
}

static void for_each_call(judge *j, void (*each)(judge *, const linear_call *))
{
    for (unsigned log = 0; log < LINEAR_LOGS; log++) {
        for (uint32_t i = 0; i < atomic_load(&j->world->logs[log].n); i++)
            each(j, &j->world->logs[log].calls[i]);
    }
}

static void find_issued(judge *j, const linear_call *call)
{
    if (call->kind == LINEAR_ISSUE && !is_unknown(call) && call->code == OTOK_OK)
        add_session(j, call->session_id, call->subject, call->app, call->sid, call);
}

static void find_listed(judge *j, const linear_call *call)
{
    for (uint32_t i = 0; atomic_load(&call->answered) != 0 && i < call->nrows; i++) {
        const linear_row *row = &call->rows[i];
        if (find_session(j, row->session_id) == NULL)
            add_session(j, row->session_id, row->subject, row->app, row->sid, NULL);
    }
}

/* -------------------------------------------------------------------------------------------------------------- events */

static void add_event(events *e, const linear_event *event)
{
    if (event->unknown && (linear_looks(event) || event->invoked == UINT32_MAX))
        return;
    if (e->n == LINEAR_MOST_EVENTS) {
        e->too_many = true;
        return;
    }
    e->events[e->n++] = *event;
}

static linear_event event_of(const linear_call *call, unsigned client)
{
    bool unknown = is_unknown(call);
    return (linear_event){
        .kind = call->kind,
        .client = client,
        .unknown = unknown,
        .invoked = call->invoked,
        .answered = unknown ? UINT32_MAX : atomic_load(&call->answered),
        .now_s = call->now_s,
        .presented = call->presented,
        .code = unknown ? OTOK_OK : call->code,
        .outcome = call->outcome,
        .generation = call->generation,
        .retries = call->retries,
    };
}

static void add_list(events *e, const linear_call *call, linear_event event, const session *s)
{
    for (uint32_t i = 0; i < call->nrows; i++) {
        if (strcmp(call->rows[i].session_id, s->session_id) == 0) {
            event.shown = true;
            event.generation = call->rows[i].generation;
        }
    }
    add_event(e, &event);
}

/* What a call is to a session, if anything. */
static void project(const linear_world *world, const session *s, const linear_call *call, unsigned client, events *e)
{
    linear_event event = event_of(call, client);
    bool same = call->session_id[0] != '\0' && strcmp(call->session_id, s->session_id) == 0;
    if (is_nothing(call) || call->kind == LINEAR_ADVANCE)
        return;
    if (call->kind == LINEAR_SWEEP) {
        if (world->rules.idle_s <= 2 * world->advance_s) /* otherwise nothing expires */
            add_event(e, &event);
    } else if (call->kind == LINEAR_ISSUE) {
        if (call == s->issue)
            add_event(e, &event);
    } else if (is_of_one(call) && same) {
        add_event(e, &event);
    } else if (call->kind == LINEAR_LIST && matches(call, s)) {
        add_list(e, call, event, s);
    } else if ((call->kind == LINEAR_CUTOFF || call->kind == LINEAR_MATCHING) && matches(call, s)) {
        add_event(e, &event);
    }
    if (ends_pair(world, call, s) && !(same && event.unknown)) {
        event.kind = LINEAR_CUTOFF;
        event.code = OTOK_OK;
        add_event(e, &event);
    }
}

/* A session's id begins with the time of its issue. */
static int64_t issued_s(const session *s)
{
    otok_id id = {{0}};
    int64_t ms = 0;
    (void)otok_session_id_parse(s->session_id, &id);
    for (size_t i = 0; i < 6; i++)
        ms = ms << 8 | id.bytes[i];
    return ms / 1000 - LINEAR_START_S;
}

static bool may_have_made(const linear_call *call, const session *s)
{
    return call->kind == LINEAR_ISSUE && is_unknown(call) && call->subject == s->subject && call->app == s->app &&
           call->sid == s->sid && call->now_s == issued_s(s);
}

/* The issue of a session that nobody was told of: one of those without an answer.  Where there are more, any may be. */
static void add_unanswered_issue(judge *j, const session *s, events *e)
{
    linear_event event = {.kind = LINEAR_ISSUE, .unknown = true, .invoked = UINT32_MAX, .answered = UINT32_MAX};
    for (unsigned log = 0; log < LINEAR_LOGS; log++) {
        for (uint32_t i = 0; i < atomic_load(&j->world->logs[log].n); i++) {
            const linear_call *call = &j->world->logs[log].calls[i];
            if (may_have_made(call, s) && call->invoked < event.invoked) {
                event.invoked = call->invoked;
                event.now_s = call->now_s;
                event.client = log;
            }
        }
    }
    add_event(e, &event);
}

/* ------------------------------------------------------------------------------------------------------------ coverage */

/* Two calls at once. */
static bool overlap(const linear_event *a, const linear_event *b)
{
    return a->invoked != b->invoked && a->invoked < b->answered && b->invoked < a->answered;
}

static bool is_end(const linear_event *event)
{
    return event->kind == LINEAR_REVOKE_TOKEN || event->kind == LINEAR_REVOKE_SESSION || event->kind == LINEAR_CUTOFF ||
           event->kind == LINEAR_MATCHING;
}

static bool has_race(const events *e)
{
    for (size_t i = 0; i < e->n; i++) {
        for (size_t k = 0; k < e->n; k++) {
            if (is_end(&e->events[i]) && e->events[k].kind == LINEAR_REFRESH && overlap(&e->events[i], &e->events[k]))
                return true;
        }
    }
    return false;
}

typedef struct coverage {
    bool rotation, retry, reuse, race;
} coverage;

static void cover(const events *e, coverage *seen)
{
    for (size_t i = 0; i < e->n; i++) {
        const linear_event *event = &e->events[i];
        if (event->unknown || event->kind != LINEAR_REFRESH)
            continue;
        seen->rotation |= event->code == OTOK_OK && event->outcome == OTOK_OUTCOME_ADVANCED;
        seen->retry |= event->code == OTOK_OK && event->outcome == OTOK_OUTCOME_RETRIED;
        seen->reuse |= event->code == OTOK_E_TOKEN_REUSED;
    }
    seen->race |= has_race(e);
}

/* ----------------------------------------------------------------------------------------------------------- verdicts */

static void violate(judge *j, const session *s, events *e)
{
    linear_report *report = j->report;
    char history[LINEAR_STORY - 512];
    report->violations++;
    e->n = linear_shorten(&j->world->rules, e->events, e->n);
    if (report->story[0] != '\0' && e->n >= report->shortest)
        return;
    report->shortest = e->n;
    linear_tell(&j->world->rules, e->events, e->n, history, sizeof history);
    (void)snprintf(report->story, sizeof report->story,
                   "history %llu, session %s of %s: nothing explains the last answer of these calls (what does not "
                   "help to is left "
                   "out)\n%s",
                   (unsigned long long)j->world->number, s->session_id, s->subject == 0 ? "alice" : "bob", history);
}

static void judge_session(judge *j, const session *s, coverage *seen)
{
    events e = {.n = 0};
    if (s->issue == NULL)
        add_unanswered_issue(j, s, &e);
    for (unsigned log = 0; log < LINEAR_LOGS; log++) {
        for (uint32_t i = 0; i < atomic_load(&j->world->logs[log].n); i++)
            project(j->world, s, &j->world->logs[log].calls[i], log, &e);
    }
    j->report->sessions++;
    cover(&e, seen);
    if (e.too_many)
        (void)linear_fail(j->report, "a session has more events than the checker takes", NULL);
    else if (!linear_explained(&j->world->rules, e.events, e.n))
        violate(j, s, &e);
}

/* The successor is a function of the token: one generation, one text (T2). */
static void compare_tokens(judge *j, const linear_call *call)
{
    for (unsigned log = 0; log < LINEAR_LOGS; log++) {
        for (uint32_t i = 0; i < atomic_load(&j->world->logs[log].n); i++) {
            const linear_call *other = &j->world->logs[log].calls[i];
            if (call->token[0] == '\0' || other->token[0] == '\0' || call->generation != other->generation ||
                strcmp(call->session_id, other->session_id) != 0 || strcmp(call->token, other->token) == 0)
                continue;
            j->report->violations++;
            if (j->report->story[0] == '\0')
                (void)snprintf(j->report->story, sizeof j->report->story,
                               "history %llu, session %s: generation %u has two tokens\n",
                               (unsigned long long)j->world->number, call->session_id, call->generation);
        }
    }
}

/* One issue makes one session: those that nobody was told of are not more than the issues without an answer. */
static void count_strangers(judge *j)
{
    size_t strangers = 0, issues = 0;
    for (size_t i = 0; i < j->nsessions; i++)
        strangers += j->sessions[i].issue == NULL;
    for (unsigned log = 0; log < LINEAR_LOGS; log++) {
        for (uint32_t i = 0; i < atomic_load(&j->world->logs[log].n); i++) {
            const linear_call *call = &j->world->logs[log].calls[i];
            issues += call->kind == LINEAR_ISSUE && is_unknown(call);
        }
    }
    if (strangers <= issues)
        return;
    j->report->violations++;
    if (j->report->story[0] == '\0')
        (void)snprintf(j->report->story, sizeof j->report->story,
                       "history %llu: %zu sessions are listed that nobody was told of, and %zu issues have no answer\n",
                       (unsigned long long)j->world->number, strangers, issues);
}

static void count(judge *j, const linear_call *call)
{
    j->report->calls++;
    j->report->unknown += is_unknown(call);
}

void linear_judge(const linear_world *world, linear_report *report)
{
    judge j = {.world = world, .report = report};
    coverage seen = {0};
    for_each_call(&j, find_issued);
    for_each_call(&j, find_listed);
    for (size_t i = 0; i < j.nsessions; i++)
        judge_session(&j, &j.sessions[i], &seen);
    count_strangers(&j);
    for_each_call(&j, compare_tokens);
    for_each_call(&j, count);
    report->histories++;
    report->with_rotation += seen.rotation;
    report->with_retry += seen.retry;
    report->with_reuse += seen.reuse;
    report->with_races += seen.race;
}
