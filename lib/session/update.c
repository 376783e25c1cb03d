/*
 * update.c - what the host may change of a session: its label and notes (Q5).
 *
 * SPDX-License-Identifier: MIT
 */
#include "session/session.h"

enum { LABEL_BOUND = 512, NOTES_BOUND = 2048 };

void otok_session_change_init(otok_session_change *change, size_t size)
{
    otok_struct_init(change, size);
}

/* Notes are kept as the text that came, so that numbers keep every digit. */
static int check_notes(const char *notes, otok_error *err)
{
    otok_json *json;
    otok_error reason;
    otok_str text = otok_str_of(notes);
    if (text.len == 0)
        return OTOK_OK;
    if (text.len > NOTES_BOUND)
        return otok_fail(err, OTOK_E_INVALID, "change.notes is longer than %d bytes", NOTES_BOUND);
    int rc = otok_json_parse(text.data, text.len, "change.notes", &json, &reason);
    if (rc == OTOK_E_NOMEM)
        return otok_fail(err, rc, "out of memory");
    if (rc != OTOK_OK)
        return otok_fail(err, OTOK_E_INVALID, "%s", reason.message);
    if (!otok_json_is_object(json))
        rc = otok_fail(err, OTOK_E_INVALID, "change.notes is not a JSON object");
    otok_json_free(json);
    return rc;
}

static int read_change(const otok_session_change *in, otok_session_change *out, otok_id *id, otok_error *err)
{
    int rc = otok_struct_read(out, sizeof *out, in, sizeof(size_t) + sizeof(char *), "otok_session_change", err);
    if (rc != OTOK_OK)
        return rc;
    if (out->session_id == NULL || !otok_session_id_parse(out->session_id, id))
        return otok_fail(err, OTOK_E_INVALID, "change.session_id is not 22 characters of base64url");
    rc = otok_text_check(out->label, LABEL_BOUND, false, "change.label", NULL, err);
    return rc == OTOK_OK ? check_notes(out->notes, err) : rc;
}

/* Sets what is given; false when that is what the session has already. */
static bool apply(const otok_session_change *change, otok_body *body)
{
    otok_str label = change->label != NULL ? otok_str_of(change->label) : body->label;
    otok_str notes = change->notes != NULL ? otok_str_of(change->notes) : body->notes;
    bool differs = !otok_str_eq(label, body->label) || !otok_str_eq(notes, body->notes);
    body->label = label;
    body->notes = notes;
    return differs;
}

/* The seal was good when the session was loaded, and what it holds together is in the body as it was: so it is made anew. */
static int write(otok_service *service, const otok_loaded *session, otok_error *err)
{
    const otok_realm_key *key = otok_service_now_keys(service)->active;
    otok_record record = *session->record;
    otok_seal_scope scope = otok_seal_scope_of(&record);
    otok_buf body;
    otok_buf_init(&body, NULL, 0);
    int rc = otok_body_print(&session->body, &scope, key->id, key->seal, &body, err);
    if (rc == OTOK_OK) {
        record.body = (otok_str){body.data, body.len};
        record.version++;
        rc = otok_service_write(service, OTOK_WRITE_PUT, session->record->version, &record, err);
    }
    otok_buf_free(&body);
    return rc;
}

static int update_once(otok_service *service, const otok_id *id, const otok_session_change *change, otok_error *err)
{
    otok_loaded session;
    int rc = otok_session_load(service, id, &session, err);
    if (rc != OTOK_OK)
        return rc;
    if (apply(change, &session.body))
        rc = write(service, &session, err);
    otok_loaded_free(&session);
    return rc;
}

int otok_session_update(otok_service *service, const otok_session_change *change, otok_error *err)
{
    otok_session_change own;
    otok_id id;
    if (service == NULL)
        return otok_fail(err, OTOK_E_INVALID, "service is required");
    int rc = read_change(change, &own, &id, err);
    if (rc != OTOK_OK)
        return rc;
    otok_attempts attempts = otok_attempts_begin(service);
    do
        rc = update_once(service, &id, &own, err);
    while (otok_attempts_again(&attempts, &rc, err));
    return rc;
}
