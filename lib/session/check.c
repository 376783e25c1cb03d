/*
 * check.c - whether the records of a realm are what this library wrote (K7): what the store's own check cannot know.
 *
 * SPDX-License-Identifier: MIT
 */
#include "session/session.h"

#include <stdio.h>
#include <string.h>

enum { TELL_EACH = 1024 };

/* A check under way. */
struct checker {
    otok_service *service;
    otok_watch watch;
    otok_check result;
};

static void tell(struct checker *c, const otok_id *id, const char *what)
{
    char text[OTOK_SESSION_ID_CHARS + 1], sentence[sizeof(otok_error) + 64];
    otok_session_id_print(id, text);
    (void)snprintf(sentence, sizeof sentence, "record %s: %s", text, what);
    c->result.findings++;
    if (c->watch.finding != NULL)
        c->watch.finding(c->watch.user, sentence, 0);
}

/* ---------------------------------------------------------------------------------------------------- sessions */

static bool has_key(const otok_record *record, const otok_index_key *key)
{
    for (size_t i = 0; i < record->nkeys; i++) {
        if (record->keys[i].index == key->index && memcmp(record->keys[i].digest, key->digest, sizeof key->digest) == 0)
            return true;
    }
    return false;
}

/* An index key or a cutoff that a record does not name would leave the session out of a list, or out of a revocation. */
static bool is_named(const otok_record *record, const otok_session_names *names)
{
    bool same = record->nkeys == names->nkeys && record->nlinks == names->nlinks;
    for (size_t i = 0; same && i < names->nkeys; i++)
        same = has_key(record, &names->keys[i]);
    return same && (names->nlinks == 0 || memcmp(record->links, names->links, names->nlinks * sizeof(otok_id)) == 0);
}

static int check_names(struct checker *c, const otok_loaded *session, otok_error *err)
{
    otok_session_names names;
    const otok_record *record = session->record;
    int rc = otok_names_of_session(c->service, record->subject, record->client, session->body.sid, &names, err);
    if (rc == OTOK_OK && !is_named(record, &names))
        tell(c, &record->id, "its index keys or links are not those of its subject, client and sid");
    return rc;
}

static bool is_finding(int rc)
{
    return rc == OTOK_E_FORMAT || rc == OTOK_E_TAMPERED || rc == OTOK_E_KEY;
}

/* `record` is used up. */
static int check_session(struct checker *c, otok_record *record, otok_error *err)
{
    otok_error why = {0};
    otok_loaded session;
    const otok_id id = record->id;
    c->result.sessions++;
    int rc = otok_session_unpack(c->service, record, &session, &why);
    if (rc != OTOK_OK) {
        otok_record_free(record);
    } else {
        rc = otok_session_verify(c->service, &session, &why);
        if (rc == OTOK_OK)
            rc = check_names(c, &session, &why);
        otok_loaded_free(&session);
    }
    if (is_finding(rc)) {
        tell(c, &id, why.message);
        return OTOK_OK;
    }
    return rc == OTOK_OK ? OTOK_OK : otok_fail_errno(err, rc, why.system_errno, "%s", why.message);
}

/* ---------------------------------------------------------------------------------------------------- what is no session */

static int pass_by(void *arg, const otok_event *event)
{
    (void)arg;
    (void)event;
    return 0;
}

/* `record` is used up. */
static int check_mark(struct checker *c, otok_record *record, otok_error *err)
{
    otok_error why = {0};
    otok_mark mark;
    const otok_id id = record->id;
    int rc = otok_mark_unpack(record, &mark, &why);
    if (rc == OTOK_OK)
        otok_mark_free(&mark);
    else
        otok_record_free(record);
    if (rc == OTOK_E_FORMAT)
        tell(c, &id, why.message);
    return rc == OTOK_OK || rc == OTOK_E_FORMAT ? OTOK_OK : otok_fail(err, rc, "%s", why.message);
}

static int check_other(struct checker *c, otok_record *record, otok_error *err)
{
    otok_error why = {0};
    otok_once once;
    int rc = OTOK_OK;
    if (record->kind == OTOK_RECORD_ONCE && !otok_once_parse(record->body, &once))
        tell(c, &record->id, "what was good for once cannot be read");
    if (record->kind == OTOK_RECORD_EVENT)
        rc = otok_events_parse(record->body, pass_by, NULL, &why);
    if (rc == OTOK_E_FORMAT) {
        tell(c, &record->id, why.message);
        rc = OTOK_OK;
    }
    otok_record_free(record);
    return rc == OTOK_OK ? OTOK_OK : otok_fail(err, rc, "%s", why.message);
}

/* ---------------------------------------------------------------------------------------------------- the whole */

static int check_record(struct checker *c, otok_record *record, otok_error *err)
{
    if (!otok_str_eq(record->realm, c->service->realm)) {
        otok_record_free(record);
        return OTOK_OK;
    }
    c->result.records++;
    switch (record->kind) {
    case OTOK_RECORD_SESSION:
        return check_session(c, record, err);
    case OTOK_RECORD_CUTOFF:
    case OTOK_RECORD_PAIR:
        return check_mark(c, record, err);
    default:
        return check_other(c, record, err);
    }
}

static int check_all(struct checker *c, otok_error *err)
{
    otok_walk walk = {.store = c->service->store};
    otok_record *record = NULL;
    uint64_t done = 0;
    int rc = OTOK_OK;
    while (rc == OTOK_OK && (rc = otok_walk_next(&walk, &record, err)) == OTOK_OK && record != NULL) {
        rc = check_record(c, record, err);
        if (rc == OTOK_OK && ++done % TELL_EACH == 0)
            rc = otok_watch_progress(&c->watch, done, 0, err);
    }
    otok_walk_end(&walk);
    return rc;
}

int otok_service_check(otok_service *service, const otok_watch *watch, otok_check *result, otok_error *err)
{
    struct checker checker = {.service = service, .result = {.size = sizeof checker.result}};
    if (service == NULL)
        return otok_fail(err, OTOK_E_INVALID, "service is required");
    int rc = otok_struct_lent(result, "otok_check", err);
    if (rc == OTOK_OK)
        rc = otok_watch_read(watch, &checker.watch, err);
    if (rc != OTOK_OK)
        return rc;
    rc = check_all(&checker, err);
    otok_struct_give(result, &checker.result, sizeof checker.result);
    return rc;
}
