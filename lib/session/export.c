/*
 * export.c - everything that is held about a subject, as JSON (V7).
 *
 * Members are named as those of otok_session, otok_consent and otok_event, with the same numbers; what is not known or has no end
 * is left out.  Read kind by kind, not in one snapshot.
 *
 * SPDX-License-Identifier: MIT
 */
#include "session/session.h"

/* One export. */
struct export
{
    otok_service *service;
    otok_str subject;
    otok_buf json;
};

/* ------------------------------------------------------------------------------------------------------------- members */

static void add_bytes(otok_buf *json, const void *data, size_t len)
{
    otok_buf_add_u8(json, '"');
    otok_buf_add_base64url(json, data, len);
    otok_buf_add_u8(json, '"');
}

static void add_base64url(otok_buf *json, const char *name, const void *data, size_t len)
{
    otok_json_add_name(json, name);
    add_bytes(json, data, len);
}

/* What was damaged must not damage the whole: what is no text any more is shown as bytes. */
static void add_value(otok_buf *json, otok_str text)
{
    if (otok_text_is_clean(text.data, text.len))
        otok_json_add_quoted(json, text);
    else
        add_bytes(json, text.data, text.len);
}

static void add_str(otok_buf *json, const char *name, otok_str text)
{
    if (text.len == 0)
        return;
    otok_json_add_name(json, name);
    add_value(json, text);
}

static void add_text(otok_buf *json, const char *name, const char *text)
{
    add_str(json, name, otok_str_of(text));
}

static void add_number(otok_buf *json, const char *name, int64_t value)
{
    if (value != 0 && value != OTOK_UNLIMITED && value != INT64_MIN)
        otok_json_add_integer(json, name, value);
}

/* JSON that came from the host, as it came, unless it was damaged since. */
static int add_json(otok_buf *json, const char *name, otok_str text, otok_error *err)
{
    otok_json *parsed = NULL;
    if (text.len == 0)
        return OTOK_OK;
    int rc = otok_json_parse(text.data, text.len, name, &parsed, err);
    if (rc == OTOK_OK)
        otok_json_add_raw(json, name, text);
    else if (rc == OTOK_E_FORMAT)
        add_base64url(json, name, text.data, text.len);
    otok_json_free(parsed);
    return rc == OTOK_E_FORMAT ? OTOK_OK : rc;
}

static int add_claims(otok_buf *json, otok_str members, otok_error *err)
{
    otok_buf object;
    if (members.len == 0)
        return OTOK_OK;
    otok_buf_init(&object, NULL, 0);
    otok_json_begin(&object);
    otok_buf_add(&object, members.data, members.len);
    otok_json_end(&object);
    int rc = object.failed ? otok_fail(err, OTOK_E_NOMEM, "out of memory")
                           : add_json(json, "claims", (otok_str){object.data, object.len}, err);
    otok_buf_free(&object);
    return rc;
}

static void add_strings(otok_buf *json, const char *name, const otok_str *items, size_t n)
{
    if (n == 0)
        return;
    otok_json_add_name(json, name);
    for (size_t i = 0; i < n; i++) {
        otok_buf_add_u8(json, i == 0 ? '[' : ',');
        add_value(json, items[i]);
    }
    otok_buf_add_u8(json, ']');
}

static void add_session_id(otok_buf *json, const otok_id *id)
{
    char text[OTOK_SESSION_ID_CHARS + 1];
    otok_session_id_print(id, text);
    otok_json_add_text(json, "session_id", text);
}

/* The items of an array, one object each. */
static void begin_item(otok_buf *json)
{
    if (json->len > 0 && json->data[json->len - 1] != '[')
        otok_buf_add_u8(json, ',');
    otok_json_begin(json);
}

/* ------------------------------------------------------------------------------------------------------------ sessions */

static void add_times(otok_buf *json, const otok_loaded *session)
{
    add_number(json, "created_us", session->record->created_us);
    add_number(json, "started_us", session->body.started_us);
    add_number(json, "auth_time_us", session->body.auth_time_us);
    add_number(json, "last_used_us", session->head.refreshed_us);
    add_number(json, "rotated_us", session->head.rotated_us);
    add_number(json, "idle_timeout_s", session->body.idle_timeout_s);
    add_number(json, "max_lifetime_s", session->body.max_lifetime_s);
}

static void add_numbers(otok_buf *json, const otok_loaded *session)
{
    otok_json_add_integer(json, "kind", session->body.kind);
    otok_json_add_integer(json, "grant_type", session->body.grant_type);
    otok_json_add_integer(json, "binding", session->body.binding);
    add_number(json, "refresh_token", session->body.refresh_token);
    otok_json_add_integer(json, "generation", session->head.generation);
    otok_json_add_integer(json, "retries", session->head.retries);
    add_number(json, "ip_mark", session->head.ip_mark);
    add_number(json, "user_agent_mark", session->head.user_agent_mark);
    if (session->body.binding == OTOK_BINDING_JKT || session->body.binding == OTOK_BINDING_X5T_S256)
        add_base64url(json, "thumbprint", session->body.thumbprint, sizeof session->body.thumbprint);
}

static void add_texts(otok_buf *json, const otok_body *body)
{
    add_str(json, "scope", body->scope);
    add_str(json, "sub", body->sub);
    add_str(json, "sid", body->sid);
    add_str(json, "acr", body->acr);
    add_strings(json, "amr", body->amr, body->amr_count);
    add_strings(json, "audience", body->audience, body->audience_count);
    add_str(json, "label", body->label);
    add_str(json, "start_ip", body->start_ip);
    add_str(json, "start_user_agent", body->start_user_agent);
    add_str(json, "last_ip", body->last_ip);
    add_str(json, "last_user_agent", body->last_user_agent);
}

static int add_objects(otok_buf *json, const otok_body *body, otok_error *err)
{
    int rc = add_claims(json, body->claims, err);
    if (rc == OTOK_OK)
        rc = add_json(json, "authorization_details", body->authorization_details, err);
    if (rc == OTOK_OK)
        rc = add_json(json, "act", body->act, err);
    return rc == OTOK_OK ? add_json(json, "notes", body->notes, err) : rc;
}

/* What this version cannot read is held all the same, and shown as far as it can be. */
static int add_session(struct export *export, otok_record **record, otok_error *err)
{
    otok_loaded session;
    begin_item(&export->json);
    add_session_id(&export->json, &(*record)->id);
    add_str(&export->json, "client_id", (*record)->client);
    int rc = otok_session_unpack(export->service, *record, &session, NULL);
    if (rc == OTOK_OK) {
        *record = NULL;
        add_times(&export->json, &session);
        add_numbers(&export->json, &session);
        add_texts(&export->json, &session.body);
        rc = add_objects(&export->json, &session.body, err);
        otok_loaded_free(&session);
    } else {
        add_number(&export->json, "created_us", (*record)->created_us);
        add_base64url(&export->json, "unread", (*record)->body.data, (*record)->body.len);
        rc = OTOK_OK;
    }
    otok_json_end(&export->json);
    return rc;
}

/* --------------------------------------------------------------------------------------------------- consents, cutoffs */

static int add_consent(struct export *export, otok_record **record, otok_error *err)
{
    otok_mark mark;
    (void)err;
    if (otok_mark_unpack(*record, &mark, NULL) != OTOK_OK || mark.body.consent.len == 0)
        return OTOK_OK;
    begin_item(&export->json);
    add_str(&export->json, "client_id", (*record)->client);
    add_str(&export->json, "scope", mark.body.consent);
    add_number(&export->json, "granted_us", mark.body.granted_us);
    add_number(&export->json, "updated_us", mark.body.updated_us);
    otok_json_end(&export->json);
    return OTOK_OK;
}

/* `login_us`: of the cutoff for login-bound sessions only. */
static void add_mark(struct export *export, const otok_record *record, const otok_mark_head *head)
{
    begin_item(&export->json);
    add_str(&export->json, "client_id", record->client);
    add_number(&export->json, "cutoff_us", head->all_us);
    add_number(&export->json, "login_us", head->login_us);
    otok_json_end(&export->json);
}

static int add_cutoff(struct export *export, otok_record **record, otok_error *err)
{
    otok_mark mark;
    (void)err;
    if (otok_mark_unpack(*record, &mark, NULL) != OTOK_OK) {
        begin_item(&export->json);
        add_str(&export->json, "client_id", (*record)->client);
        add_base64url(&export->json, "unread", (*record)->body.data, (*record)->body.len);
        otok_json_end(&export->json);
    } else if (mark.head.all_us != INT64_MIN || mark.head.login_us != INT64_MIN) {
        add_mark(export, *record, &mark.head);
    }
    return OTOK_OK;
}

/* ------------------------------------------------------------------------------------------------------ once, and events */

/* Keys of issues, or (`adopted`) tokens of another system: by their digests, for nothing else is held of them. */
static void add_used(struct export *export, const otok_record *record, bool adopted)
{
    otok_once once;
    bool read = otok_once_parse(record->body, &once);
    if (read ? (once.adopted != 0) != adopted : adopted)
        return;
    begin_item(&export->json);
    add_base64url(&export->json, "digest", record->id.bytes, sizeof record->id.bytes);
    add_str(&export->json, "client_id", record->client);
    if (read) {
        add_session_id(&export->json, &once.session);
        add_number(&export->json, "used_us", once.used_us);
        add_number(&export->json, "ends_us", once.ends_us);
    } else {
        add_base64url(&export->json, "unread", record->body.data, record->body.len);
    }
    otok_json_end(&export->json);
}

static int add_once_key(struct export *export, otok_record **record, otok_error *err)
{
    (void)err;
    add_used(export, *record, false);
    return OTOK_OK;
}

static int add_adopted(struct export *export, otok_record **record, otok_error *err)
{
    (void)err;
    add_used(export, *record, true);
    return OTOK_OK;
}

/* The events of one record. */
struct telling {
    otok_buf *json;
    const otok_record *record;
    size_t n;
};

static int add_event(void *arg, const otok_event *event)
{
    struct telling *telling = arg;
    otok_buf *json = telling->json;
    char id[OTOK_EVENT_ID_CHARS + 1];
    otok_event_id_print(telling->record, telling->n++, id);
    begin_item(json);
    otok_json_add_text(json, "event_id", id);
    otok_json_add_integer(json, "type", event->type);
    add_number(json, "reason", event->reason);
    add_number(json, "time_us", event->time_us);
    add_text(json, "session_id", event->session_id);
    add_text(json, "subject", event->subject);
    add_text(json, "client_id", event->client_id);
    add_text(json, "sid", event->sid);
    add_text(json, "ip", event->ip);
    add_text(json, "user_agent", event->user_agent);
    add_number(json, "generation", event->generation);
    add_number(json, "distance", event->distance);
    add_number(json, "marks", event->marks);
    otok_json_add_integer(json, "grant_type", event->grant_type);
    otok_json_add_integer(json, "kind", event->kind);
    add_number(json, "cutoff_us", event->cutoff_us);
    add_text(json, "scope", event->scope);
    otok_json_end(json);
    return OTOK_OK;
}

static int add_events(struct export *export, otok_record **record, otok_error *err)
{
    size_t start = export->json.len;
    struct telling telling = {.json = &export->json, .record = *record};
    (void)err;
    if (otok_events_parse((*record)->body, add_event, &telling, NULL) != OTOK_OK && !export->json.failed) {
        export->json.len = start; /* what was read of it goes with the rest of it */
        begin_item(&export->json);
        add_number(&export->json, "time_us", (*record)->created_us);
        add_base64url(&export->json, "unread", (*record)->body.data, (*record)->body.len);
        otok_json_end(&export->json);
    }
    return OTOK_OK;
}

/* ------------------------------------------------------------------------------------------------------------ the whole */

/* Appends what there is to say of a record, which it may keep: then `*record` is NULL. */
typedef int (*add_record)(struct export *export, otok_record **record, otok_error *err);

/* The records of a kind that are filed under the subject. */
static int add_kind(struct export *export, uint32_t kind, add_record add, otok_error *err)
{
    otok_place place = {.order = OTOK_ORDER_OLDEST_FIRST};
    int rc =
        otok_index_of(export->service, kind, OTOK_INDEX_SUBJECT, export->subject, (otok_str){0}, &place.index, err);
    while (rc == OTOK_OK && !place.end) {
        otok_rows rows;
        rc = otok_place_read(export->service, &place, OTOK_BULK, &rows, err);
        for (size_t i = 0; rc == OTOK_OK && i < rows.n; i++)
            rc = add(export, &rows.records[i], err);
        otok_rows_free(&rows);
    }
    return rc;
}

static int add_array(struct export *export, const char *name, uint32_t kind, add_record add, otok_error *err)
{
    otok_json_add_name(&export->json, name);
    otok_buf_add_u8(&export->json, '[');
    int rc = add_kind(export, kind, add, err);
    otok_buf_add_u8(&export->json, ']');
    return rc;
}

static int add_all(struct export *export, otok_error *err)
{
    otok_buf *json = &export->json;
    otok_json_begin(json);
    otok_json_add_str(json, "realm", export->service->realm);
    otok_json_add_str(json, "subject", export->subject);
    otok_json_add_integer(json, "exported_us", otok_service_now(export->service));
    int rc = add_array(export, "sessions", OTOK_RECORD_SESSION, add_session, err);
    if (rc == OTOK_OK)
        rc = add_array(export, "consents", OTOK_RECORD_PAIR, add_consent, err);
    if (rc == OTOK_OK)
        rc = add_array(export, "cutoffs", OTOK_RECORD_PAIR, add_cutoff, err);
    if (rc == OTOK_OK)
        rc = add_array(export, "once_keys", OTOK_RECORD_ONCE, add_once_key, err);
    if (rc == OTOK_OK)
        rc = add_array(export, "adopted_tokens", OTOK_RECORD_ONCE, add_adopted, err);
    if (rc == OTOK_OK)
        rc = add_array(export, "events", OTOK_RECORD_EVENT, add_events, err);
    otok_json_end(json);
    otok_buf_add_u8(json, '\0');
    return rc == OTOK_OK && json->failed ? otok_fail(err, OTOK_E_NOMEM, "out of memory") : rc;
}

int otok_subject_export(otok_service *service, const char *subject, char **out, otok_error *err)
{
    if (service == NULL || out == NULL)
        return otok_fail(err, OTOK_E_INVALID, "%s is required", service == NULL ? "service" : "out");
    *out = NULL;
    int rc = otok_text_check(subject, OTOK_MAX_NAME, true, "subject", NULL, err);
    if (rc != OTOK_OK)
        return rc;
    struct export export = {.service = service, .subject = otok_str_of(subject)};
    otok_buf_init(&export.json, NULL, 0);
    rc = add_all(&export, err);
    if (rc == OTOK_OK && (*out = otok_strndup(export.json.data, export.json.len - 1)) == NULL)
        rc = otok_fail(err, OTOK_E_NOMEM, "out of memory");
    otok_buf_free(&export.json);
    return rc;
}
