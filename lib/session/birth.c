/*
 * birth.c - the record of a session that is being made: by an issue, or by the adoption of another system's token.
 *
 * SPDX-License-Identifier: MIT
 */
#include "session/birth.h"

void otok_birth_init(otok_birth *birth)
{
    *birth = (otok_birth){.session.cutoff_us = INT64_MIN};
    otok_buf_init(&birth->scope, NULL, 0);
    otok_buf_init(&birth->body, NULL, 0);
}

void otok_birth_free(otok_birth *birth)
{
    otok_buf_free(&birth->scope);
    otok_buf_free(&birth->body);
    otok_mark_free(&birth->session.pair);
    otok_wipe(&birth->token, sizeof birth->token);
}

/* ----------------------------------------------------------------------------------------------- the marks that apply */

struct marks {
    const otok_service *service;
    otok_mark_head latest;
    otok_record *pair;
    bool unread, short_of_memory;
};

static int on_mark(void *arg, const otok_record *record)
{
    struct marks *marks = arg;
    otok_mark_head times;
    if (!otok_mark_times(marks->service, record, &times))
        marks->unread = true;
    marks->latest.all_us = otok_time_forward(marks->latest.all_us, times.all_us);
    marks->latest.login_us = otok_time_forward(marks->latest.login_us, times.login_us);
    if (record->kind != OTOK_RECORD_PAIR || !otok_str_eq(record->realm, marks->service->realm) || marks->pair != NULL)
        return 0;
    marks->pair = otok_record_copy(record);
    marks->short_of_memory = marks->pair == NULL;
    return marks->short_of_memory;
}

/* Looked up by a digest: it must be this subject's, with this client. */
static int unpack_pair(const otok_record *birth, otok_record *pair, otok_mark *out, otok_error *err)
{
    if (!otok_str_eq(pair->subject, birth->subject) || !otok_str_eq(pair->client, birth->client))
        return otok_fail(err, OTOK_E_FORMAT, "the mark of subject and client is another's");
    return otok_mark_unpack(pair, out, err);
}

/* The cutoffs and the mark of subject and client, in one snapshot. */
static int read_marks(otok_service *service, otok_birth *birth, otok_error *err)
{
    struct marks marks = {.service = service, .latest = {INT64_MIN, INT64_MIN}};
    otok_loaded *session = &birth->session;
    session->pair = (otok_mark){.head = {INT64_MIN, INT64_MIN}, .body.at_us = INT64_MIN};
    int rc = otok_store_fetch(service->store, birth->names.links, birth->names.nlinks, 0, on_mark, &marks, err);
    if (rc == OTOK_OK && marks.short_of_memory) /* which must not pass for absence */
        rc = otok_fail(err, OTOK_E_NOMEM, "out of memory");
    if (rc == OTOK_OK && marks.unread)
        rc = otok_fail(err, OTOK_E_FORMAT, "a cutoff of the session has a format that this version does not know");
    if (rc == OTOK_OK && marks.pair != NULL)
        rc = unpack_pair(&birth->record, marks.pair, &session->pair, err);
    if (rc != OTOK_OK) {
        otok_record_free(marks.pair);
        return rc;
    }
    session->cutoffs = marks.latest;
    session->cutoff_us = otok_cutoff_for(&marks.latest, session->body.kind);
    return OTOK_OK;
}

/* Later than every cutoff that applies, whatever the clocks of the nodes that set them (V3). */
static void set_created(otok_birth *birth)
{
    if (birth->record.created_us != 0)
        return;
    birth->record.created_us = birth->now_us;
    if (birth->session.cutoff_us >= birth->now_us)
        birth->record.created_us = otok_time_add(birth->session.cutoff_us, 1);
}

/* --------------------------------------------------------------------------------------------------------- the record */

static int set_names(otok_service *service, const char *subject, const char *client_id, otok_birth *birth,
                     otok_error *err)
{
    otok_record *record = &birth->record;
    record->size = sizeof *record;
    record->kind = OTOK_RECORD_SESSION;
    record->realm = service->realm;
    record->subject = otok_str_of(subject);
    record->client = otok_str_of(client_id);
    int rc =
        otok_names_of_session(service, record->subject, record->client, birth->session.body.sid, &birth->names, err);
    record->keys = birth->names.keys;
    record->nkeys = birth->names.nkeys;
    record->links = birth->names.links;
    record->nlinks = birth->names.nlinks;
    if (rc == OTOK_OK)
        rc = otok_token_session_id(&birth->token, service->realm, &record->id, err);
    return rc == OTOK_OK ? otok_random(&record->version, sizeof record->version, err) : rc;
}

/* Head, seal and their key: of one moment's keyring. */
static int seal(otok_service *service, otok_birth *birth, otok_error *err)
{
    const otok_realm_key *key = otok_service_now_keys(service)->active;
    otok_seal_scope scope = otok_seal_scope_of(&birth->record);
    birth->session.head.key_id = birth->session.seal_key_id = key->id;
    otok_head_print(&birth->session.head, birth->head);
    birth->record.head = (otok_str){birth->head, sizeof birth->head};
    int rc = otok_body_print(&birth->session.body, &scope, key->id, key->seal, &birth->body, err);
    birth->record.body = (otok_str){birth->body.data, birth->body.len};
    return rc;
}

int otok_birth_build(otok_service *service, const char *subject, const char *client_id, const otok_rules *rules,
                     otok_birth *birth, otok_error *err)
{
    birth->session.record = &birth->record;
    int rc = set_names(service, subject, client_id, birth, err);
    if (rc == OTOK_OK)
        rc = read_marks(service, birth, err);
    if (rc != OTOK_OK)
        return rc;
    set_created(birth);
    otok_lifetime life = otok_loaded_lifetime(&birth->session, rules, birth->now_us);
    birth->record.sweep_us = otok_sweep_due(life.expires_us, birth->now_us);
    return seal(service, birth, err);
}
