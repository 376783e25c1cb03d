/*
 * engine_replay.c - the state that the outbox tells of, held against the state that is there (E2).
 *
 * They must be the same, whatever was in flight.  An erasure takes the events of its subject away: where some are missing, the
 * marker must say so, and what is replayed of that one is then set by the store.
 *
 * SPDX-License-Identifier: MIT
 */
#include <stdio.h>
#include <string.h>

#include "support/engine_parts.h"

enum { BATCHES = 16, BATCH = 1000, MARKS_OF_ONE = 1 + ENGINE_CLIENTS };

/* -------------------------------------------------------------------------------------------------------- whose it is */

static uint8_t index_of(const char *name, const char *const *names, uint8_t n)
{
    for (uint8_t i = 0; i < n; i++) {
        if (name != NULL && strcmp(names[i], name) == 0)
            return i;
    }
    return ENGINE_ANY;
}

static uint8_t subject_of(const char *name)
{
    return index_of(name, crash_subjects, ENGINE_SUBJECTS);
}

static bool is_erased(const engine_judge *j, uint8_t subject)
{
    return subject != ENGINE_ANY && j->erased[subject];
}

static bool any_erased(const engine_judge *j)
{
    bool any = false;
    for (uint8_t s = 0; s < ENGINE_SUBJECTS; s++)
        any |= j->erased[s];
    return any;
}

/* Whether what differs is of a subject whose events an erasure may have removed. */
static bool is_excused(engine_judge *j, uint8_t subject)
{
    j->missed |= is_erased(j, subject);
    return is_erased(j, subject);
}

static engine_session *find_session(engine_replay *replay, const otok_id *id)
{
    for (size_t i = 0; i < replay->nsessions; i++) {
        if (otok_id_compare(&replay->sessions[i].id, id) == 0)
            return &replay->sessions[i];
    }
    return NULL;
}

static void remove_session(engine_replay *replay, engine_session *session)
{
    *session = replay->sessions[--replay->nsessions];
}

static engine_session *add_session(engine_judge *j, const otok_id *id, uint8_t subject, uint8_t client, int32_t kind,
                                   uint32_t generation)
{
    if (j->replay.nsessions == ENGINE_SESSIONS) {
        engine_lose(j, NULL, "there are more than %d sessions", ENGINE_SESSIONS);
        return NULL;
    }
    engine_session *session = &j->replay.sessions[j->replay.nsessions++];
    *session = (engine_session){.id = *id, .generation = generation, .scope = engine_nobody()};
    session->scope.subject = subject;
    session->scope.client = client;
    session->scope.session_kind = kind;
    session->born_in = j->setting.shared->round;
    return session;
}

static engine_cutoff *find_cutoff(engine_replay *replay, const otok_id *id)
{
    for (size_t i = 0; i < replay->ncutoffs; i++) {
        if (otok_id_compare(&replay->cutoffs[i].id, id) == 0)
            return &replay->cutoffs[i];
    }
    return NULL;
}

static engine_cutoff *add_cutoff(engine_judge *j, const otok_id *id, uint8_t subject)
{
    if (j->replay.ncutoffs == ENGINE_CUTOFFS) {
        engine_lose(j, NULL, "there are more than %d cutoffs", ENGINE_CUTOFFS);
        return NULL;
    }
    engine_cutoff *cutoff = &j->replay.cutoffs[j->replay.ncutoffs++];
    *cutoff = (engine_cutoff){.id = *id, .times = {INT64_MIN, INT64_MIN}, .subject = subject};
    return cutoff;
}

/* ------------------------------------------------------------------------------------------------------- the events */

static void replay_issued(engine_judge *j, const otok_event *event)
{
    otok_id id;
    uint8_t client = index_of(event->client_id, crash_clients, ENGINE_CLIENTS);
    if (event->session_id == NULL || !otok_session_id_parse(event->session_id, &id) || client == ENGINE_ANY ||
        subject_of(event->subject) == ENGINE_ANY)
        engine_lose(j, NULL, "the outbox has a session of nobody");
    else if (find_session(&j->replay, &id) != NULL)
        engine_lose(j, engine_find(&j->table, event->session_id), "the outbox tells twice that it was issued");
    else
        (void)add_session(j, &id, subject_of(event->subject), client, event->kind, event->generation);
}

/* Of one moment, events have no order: then each may have been the last. */
static void replay_consent(engine_judge *j, const otok_event *event)
{
    size_t client = index_of(event->client_id, crash_clients, ENGINE_CLIENTS);
    engine_consent *consent = &j->replay.consents[subject_of(event->subject) * ENGINE_CLIENTS + client];
    unsigned bit = 1;
    for (unsigned i = 1; event->type == OTOK_EVENT_CONSENT_GRANTED && i <= ENGINE_SCOPES; i++) {
        if (event->scope != NULL && strcmp(event->scope, engine_consents[i]) == 0)
            bit = 1U << i;
    }
    if (event->time_us > consent->time_us)
        *consent = (engine_consent){.time_us = event->time_us};
    if (event->time_us == consent->time_us)
        consent->mask |= bit;
}

static void replay_cutoff(engine_judge *j, const otok_event *event)
{
    otok_scope_names names;
    otok_filter filter;
    otok_filter_init(&filter, sizeof filter);
    filter.subject = event->subject;
    filter.client_id = event->client_id;
    filter.sid = event->sid;
    if (otok_names_of_filter(j->open.service, &filter, &names, NULL) != OTOK_OK) {
        engine_lose(j, NULL, "the outbox has a cutoff of nobody");
        return;
    }
    engine_cutoff *cutoff = find_cutoff(&j->replay, &names.mark);
    if (cutoff == NULL)
        cutoff = add_cutoff(j, &names.mark, subject_of(event->subject));
    if (cutoff == NULL)
        return;
    cutoff->times.login_us = otok_time_forward(cutoff->times.login_us, event->cutoff_us);
    if (event->kind != OTOK_SESSION_LOGIN)
        cutoff->times.all_us = otok_time_forward(cutoff->times.all_us, event->cutoff_us);
}

static void replay_beginnings(engine_judge *j, const otok_event *event)
{
    switch (event->type) {
    case OTOK_EVENT_ISSUED:
        replay_issued(j, event);
        break;
    case OTOK_EVENT_CONSENT_GRANTED:
    case OTOK_EVENT_CONSENT_REVOKED:
        replay_consent(j, event);
        break;
    case OTOK_EVENT_CUTOFF:
        replay_cutoff(j, event);
        break;
    case OTOK_EVENT_OUTBOX_OVERFLOW:
        j->overflowed = true;
        break;
    default:
        break;
    }
}

static engine_session *session_of(engine_judge *j, const otok_event *event)
{
    otok_id id;
    engine_session *session = otok_session_id_parse(event->session_id, &id) ? find_session(&j->replay, &id) : NULL;
    if (session == NULL && !is_excused(j, subject_of(event->subject)))
        engine_lose(j, engine_find(&j->table, event->session_id),
                    "the outbox has event %d of session %s, which is not there", event->type, event->session_id);
    return session;
}

static void replay_rotations(engine_judge *j, const otok_event *event)
{
    engine_session *session = event->type == OTOK_EVENT_REFRESHED ? session_of(j, event) : NULL;
    if (session != NULL && event->generation > session->generation)
        session->generation = event->generation;
}

static void note_evicted(engine_judge *j, const otok_event *event, const engine_session *session)
{
    size_t pair = (size_t)session->scope.subject * ENGINE_CLIENTS + session->scope.client;
    j->replay.evictions[pair][session->scope.session_kind]++;
    j->report->evicted++;
    if (j->nevicted < ENGINE_EVENTS)
        (void)snprintf(j->evicted[j->nevicted++], sizeof j->evicted[0], "%s", event->session_id);
}

static void replay_ends(engine_judge *j, const otok_event *event)
{
    bool is_end =
        event->type == OTOK_EVENT_EVICTED || event->type == OTOK_EVENT_REVOKED || event->type == OTOK_EVENT_EXPIRED;
    engine_session *session = is_end && event->session_id != NULL ? session_of(j, event) : NULL;
    if (session == NULL) /* a token of the system before was revoked that had not been adopted */
        return;
    if (event->type == OTOK_EVENT_EVICTED)
        note_evicted(j, event, session);
    remove_session(&j->replay, session);
}

static void replay_all(engine_judge *j, otok_outbox_batch *const *batches, size_t n,
                       void (*replay)(engine_judge *, const otok_event *))
{
    for (size_t i = 0; i < n; i++) {
        for (size_t k = 0; k < batches[i]->count && !engine_is_lost(j); k++)
            replay(j, batches[i]->events[k]);
    }
}

static bool read_batch(engine_judge *j, otok_outbox_batch **batch)
{
    otok_error err = {0};
    int rc = otok_outbox_read(j->open.service, BATCH, batch, &err);
    if (rc == OTOK_OK)
        rc = otok_outbox_acknowledge(j->open.service, *batch, &err);
    if (rc != OTOK_OK)
        engine_lose(j, NULL, "the outbox cannot be read: %s: %s", otok_error_name(rc), err.message);
    return rc == OTOK_OK && (*batch)->count != 0;
}

void engine_drain(engine_judge *j)
{
    otok_outbox_batch *batches[BATCHES] = {NULL};
    size_t n = 0;
    while (n < BATCHES && read_batch(j, &batches[n]))
        j->report->events += batches[n++]->count;
    if (n == BATCHES)
        engine_lose(j, NULL, "the outbox does not come to an end");
    replay_all(j, batches, n, replay_beginnings);
    replay_all(j, batches, n, replay_rotations);
    replay_all(j, batches, n, replay_ends);
    if (j->overflowed && !any_erased(j))
        engine_lose(j, NULL, "the outbox has overflowed, or holds what cannot be read");
    for (size_t i = 0; i < BATCHES; i++)
        otok_outbox_batch_free(batches[i]);
}

/* ------------------------------------------------------------------------------------------------------ what is there */

static void compare_session(engine_judge *j, const otok_record *record)
{
    otok_head head;
    char subject[OTOK_MAX_NAME + 1] = "", client[OTOK_MAX_NAME + 1] = "", id[OTOK_SESSION_ID_CHARS + 1];
    memcpy(subject, record->subject.data, record->subject.len);
    memcpy(client, record->client.data, record->client.len);
    otok_session_id_print(&record->id, id);
    engine_session *session = find_session(&j->replay, &record->id);
    bool parsed = otok_head_parse(record->head, &head);
    if (session == NULL && parsed && is_excused(j, subject_of(subject)))
        session = add_session(j, &record->id, subject_of(subject), index_of(client, crash_clients, ENGINE_CLIENTS),
                              OTOK_SESSION_OFFLINE, head.generation);
    if (session == NULL || !parsed) {
        engine_lose(j, engine_find(&j->table, id), "session %s is there, and the outbox did not tell of it", id);
        return;
    }
    session->seen = true;
    if (session->generation != head.generation && is_excused(j, subject_of(subject)))
        session->generation = head.generation;
    if (session->generation != head.generation)
        engine_lose(j, engine_find(&j->table, id), "session %s has generation %lu, by the outbox %lu", id,
                    (unsigned long)head.generation, (unsigned long)session->generation);
}

/* The marks of a subject: its own, and those with each client. */
static bool is_mark_of(const engine_judge *j, uint8_t subject, const otok_id *id)
{
    bool found = false;
    for (int client = -1; client < ENGINE_CLIENTS; client++) {
        otok_scope_names names;
        otok_filter filter;
        otok_filter_init(&filter, sizeof filter);
        filter.subject = crash_subjects[subject];
        filter.client_id = client >= 0 ? crash_clients[client] : NULL;
        found |= otok_names_of_filter(j->open.service, &filter, &names, NULL) == OTOK_OK &&
                 otok_id_compare(&names.mark, id) == 0;
    }
    return found;
}

static uint8_t erased_owner(const engine_judge *j, const otok_id *id)
{
    for (uint8_t s = 0; s < ENGINE_SUBJECTS; s++) {
        if (j->erased[s] && is_mark_of(j, s, id))
            return s;
    }
    return ENGINE_ANY;
}

static void compare_mark(engine_judge *j, const otok_record *record)
{
    otok_mark_head times;
    engine_cutoff *cutoff = find_cutoff(&j->replay, &record->id);
    if (!otok_mark_head_parse(record->head, &times)) {
        engine_lose(j, NULL, "a mark cannot be read");
        return;
    }
    if (times.login_us == INT64_MIN && cutoff == NULL) /* of a consent, or a guard */
        return;
    uint8_t erased = erased_owner(j, &record->id);
    if (cutoff == NULL && is_excused(j, erased))
        cutoff = add_cutoff(j, &record->id, erased);
    if (cutoff == NULL) {
        engine_lose(j, NULL, "a cutoff is there, and the outbox did not tell of it");
        return;
    }
    cutoff->seen = true;
    bool same = cutoff->times.all_us == times.all_us && cutoff->times.login_us == times.login_us;
    /* It may have been erased and begun anew; but where it is later, that was not told. */
    bool later = times.all_us > cutoff->times.all_us || times.login_us > cutoff->times.login_us;
    if (!same && (later ? is_excused(j, erased) : is_erased(j, erased)))
        cutoff->times = times;
    if (cutoff->times.all_us != times.all_us || cutoff->times.login_us != times.login_us)
        engine_lose(j, NULL, "a cutoff stands at %lld and %lld, by the outbox at %lld and %lld",
                    (long long)times.all_us, (long long)times.login_us, (long long)cutoff->times.all_us,
                    (long long)cutoff->times.login_us);
}

struct page {
    engine_judge *j;
    uint32_t rows;
    otok_id last;
};

static int on_record(void *arg, const otok_record *record)
{
    struct page *page = arg;
    page->rows++;
    page->last = record->id;
    if (record->kind == OTOK_RECORD_SESSION)
        compare_session(page->j, record);
    else if (record->kind == OTOK_RECORD_CUTOFF || record->kind == OTOK_RECORD_PAIR)
        compare_mark(page->j, record);
    else if (record->kind != OTOK_RECORD_ONCE && record->kind != OTOK_RECORD_EVENT &&
             record->kind != OTOK_RECORD_TOMBSTONE)
        engine_lose(page->j, NULL, "a record is there of kind %u", record->kind);
    return engine_is_lost(page->j);
}

static void scan_all(engine_judge *j)
{
    struct page page = {.j = j};
    otok_scan scan = {.size = sizeof scan, .limit = OTOK_MAX_FETCH};
    do {
        page.rows = 0;
        if (otok_store_scan(j->open.store, &scan, on_record, &page, NULL) != OTOK_OK)
            engine_lose(j, NULL, "the records cannot be read");
        scan.flags = OTOK_SCAN_AFTER;
        scan.after = page.last;
    } while (!engine_is_lost(j) && page.rows == OTOK_MAX_FETCH);
}

/* What was told of and is not there. */
static void settle_unseen(engine_judge *j)
{
    for (size_t i = j->replay.nsessions; i > 0 && !engine_is_lost(j); i--) {
        engine_session *session = &j->replay.sessions[i - 1];
        char id[OTOK_SESSION_ID_CHARS + 1];
        otok_session_id_print(&session->id, id);
        if (!session->seen && is_excused(j, session->scope.subject))
            remove_session(&j->replay, session);
        else if (!session->seen)
            engine_lose(j, engine_find(&j->table, id), "session %s is there by the outbox, and not in the store", id);
    }
    for (size_t i = j->replay.ncutoffs; i > 0 && !engine_is_lost(j); i--) {
        engine_cutoff *cutoff = &j->replay.cutoffs[i - 1];
        if (!cutoff->seen && is_erased(j, cutoff->subject))
            *cutoff = j->replay.cutoffs[--j->replay.ncutoffs];
        else if (!cutoff->seen)
            engine_lose(j, NULL, "a cutoff is there by the outbox, and not in the store");
    }
}

/* What otok_cutoff_get() says is the cutoff for sessions of every kind. */
static void compare_told_cutoff(engine_judge *j, const otok_filter *filter)
{
    otok_scope_names names;
    int64_t told_us = INT64_MIN;
    int rc = otok_cutoff_get(j->open.service, filter, &told_us, NULL);
    if (otok_names_of_filter(j->open.service, filter, &names, NULL) != OTOK_OK)
        engine_lose(j, NULL, "a filter cannot be read");
    const engine_cutoff *cutoff = find_cutoff(&j->replay, &names.mark);
    if ((rc != OTOK_OK && rc != OTOK_E_NOT_FOUND) || told_us != (cutoff != NULL ? cutoff->times.all_us : INT64_MIN))
        engine_lose(j, NULL, "otok_cutoff_get says %s and %lld", otok_error_name(rc), (long long)told_us);
}

static void compare_told_cutoffs(engine_judge *j)
{
    char room[32];
    for (uint8_t s = 0; s < ENGINE_SUBJECTS; s++) {
        engine_scope scope = engine_nobody();
        scope.subject = s;
        otok_filter of_subject = engine_filter(&scope, room);
        compare_told_cutoff(j, &of_subject);
        for (scope.client = 0; scope.client < ENGINE_CLIENTS; scope.client++) {
            otok_filter of_pair = engine_filter(&scope, room);
            compare_told_cutoff(j, &of_pair);
        }
    }
    for (int32_t sid = 0; sid < ENGINE_SIDS; sid++) {
        engine_scope scope = engine_nobody();
        scope.sid = sid;
        otok_filter of_sid = engine_filter(&scope, room);
        compare_told_cutoff(j, &of_sid);
    }
}

/* --------------------------------------------------------------------------------------------------------- consents */

static unsigned bit_of(const char *scope)
{
    unsigned i = ENGINE_SCOPES;
    while (i > 0 && strcmp(engine_consents[i], scope) != 0)
        i--;
    return 1U << i;
}

static void list_consents(engine_judge *j, unsigned there[ENGINE_PAIRS])
{
    otok_consent_page *page = NULL;
    otok_list_request request;
    otok_filter everything;
    otok_filter_init(&everything, sizeof everything);
    everything.whole_realm = 1;
    otok_list_request_init(&request, sizeof request);
    request.filter = &everything;
    request.limit = 1000;
    for (size_t i = 0; i < ENGINE_PAIRS; i++)
        there[i] = 1;
    if (otok_consent_list(j->open.service, &request, &page, NULL) != OTOK_OK || page->next_cursor != NULL) {
        engine_lose(j, NULL, "the consents cannot be listed");
        return;
    }
    for (size_t i = 0; i < page->count; i++) {
        const otok_consent *consent = page->consents[i];
        size_t client = index_of(consent->client_id, crash_clients, ENGINE_CLIENTS);
        there[subject_of(consent->subject) * ENGINE_CLIENTS + client] = bit_of(consent->scope);
    }
    otok_consent_page_free(page);
}

static void compare_consents(engine_judge *j)
{
    unsigned there[ENGINE_PAIRS];
    list_consents(j, there);
    for (size_t i = 0; i < ENGINE_PAIRS && !engine_is_lost(j); i++) {
        engine_consent *consent = &j->replay.consents[i];
        bool same = (consent->mask & there[i]) != 0, gone = there[i] == 1; /* with the mark that it was in */
        uint8_t subject = (uint8_t)(i / ENGINE_CLIENTS);
        if (!same && (gone ? is_erased(j, subject) : is_excused(j, subject)))
            consent->mask = there[i];
        if ((consent->mask & there[i]) == 0)
            engine_lose(j, NULL, "the consent of %s to %s is %#x, by the outbox %#x",
                        crash_subjects[i / ENGINE_CLIENTS], crash_clients[i % ENGINE_CLIENTS], there[i], consent->mask);
        if ((j->consents[i] & there[i]) == 0)
            engine_lose(j, NULL, "the consent of %s to %s is %#x, by what was told %#x",
                        crash_subjects[i / ENGINE_CLIENTS], crash_clients[i % ENGINE_CLIENTS], there[i],
                        j->consents[i]);
        consent->mask = j->consents[i] = there[i];
    }
}

void engine_compare(engine_judge *j)
{
    for (size_t i = 0; i < j->replay.nsessions; i++)
        j->replay.sessions[i].seen = false;
    for (size_t i = 0; i < j->replay.ncutoffs; i++)
        j->replay.cutoffs[i].seen = false;
    scan_all(j);
    settle_unseen(j);
    if (!engine_is_lost(j))
        compare_told_cutoffs(j);
    if (!engine_is_lost(j))
        compare_consents(j);
    if (j->missed && !j->overflowed)
        engine_lose(j, NULL, "events of an erased subject are missing, and no marker says so");
}
