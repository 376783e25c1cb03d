/*
 * introspect.c - what a token is worth at this moment (RFC 7662), and whether a session lives (V6, P1).
 *
 * The same checks as those of a refresh, in their order, but for the proof of possession, which is not at hand here.  Nothing is
 * written, unless the host wants the session ended.  Where it is not known, the answer is an error and never "not active".
 *
 * SPDX-License-Identifier: MIT
 */
#include "session/refresh.h"

#include <string.h>

enum { NAME_BOUND = 255 };

void otok_introspect_request_init(otok_introspect_request *request, size_t size)
{
    otok_struct_init(request, size);
}

/* One question, over all its attempts. */
struct question {
    otok_service *service;
    otok_introspect_request request; /* client_id NULL: the host itself asks, about the session */
    otok_peer peer;
    otok_id id;   /* of the session */
    bool offline; /* it is about an offline token of this generation */
    uint32_t generation;
    otok_jws *jwt;         /* it is about this access token */
    otok_on_owner on_live; /* may be NULL */
    void *on_live_arg;
};

/* One attempt at an answer. */
struct finding {
    otok_loaded session;
    otok_rules rules;
    int64_t now_us;
    otok_lifetime life;
    otok_str scope, audience[OTOK_MAX_AUDIENCE]; /* of the token */
    size_t audience_count;
    otok_answer answer; /* what the host leaves of them */
};

/* ------------------------------------------------------------------------------------------------------------ liveness */

/* What is found out is OTOK_OK: live; a code from OTOK_E_TOKEN_INVALID down: not; any other: nobody knows. */
static bool is_dead(int code)
{
    return code <= OTOK_E_TOKEN_INVALID;
}

static bool is_the_clients(const struct question *q, const struct finding *f)
{
    return otok_str_eq(f->session.record->client, otok_str_of(q->request.client_id));
}

/* A session that is sealed under a key that is gone has ended with that key. */
static int load(const struct question *q, struct finding *f, otok_error *err)
{
    int rc = otok_session_load(q->service, &q->id, &f->session, err);
    if (rc == OTOK_E_NOT_FOUND || rc == OTOK_E_KEY)
        rc = otok_fail(err, OTOK_E_TOKEN_UNKNOWN, "the session has ended");
    return rc == OTOK_OK && q->offline ? otok_loaded_has_token(&f->session, err) : rc;
}

/* Ours have no `nbf`; an access token that the host has signed itself may have one (RFC 7662 section 4). */
static bool has_begun(const otok_json *payload, int64_t now_us)
{
    int64_t nbf_s = 0;
    return otok_json_member(payload, "nbf") == NULL ||
           (otok_json_seconds(payload, "nbf", &nbf_s) && nbf_s <= now_us / OTOK_US_PER_S);
}

static int check_life(const struct question *q, struct finding *f, otok_error *err)
{
    /* Of a client that somebody else asks about it is not known what it is. */
    bool is_public = q->request.client_type == OTOK_CLIENT_PUBLIC && is_the_clients(q, f);
    int rc = otok_loaded_rules(q->service, &f->session, is_public, &f->rules, err);
    if (rc == OTOK_OK)
        rc = otok_rules_admit(&f->rules, err);
    if (rc != OTOK_OK)
        return rc;
    f->now_us = otok_service_now(q->service);
    if (q->jwt != NULL && !has_begun(q->jwt->payload, f->now_us))
        return otok_fail(err, OTOK_E_TOKEN_INVALID, "the access token is not good yet");
    f->life = otok_loaded_lifetime(&f->session, &f->rules, f->now_us);
    if (f->life.verdict != OTOK_OK)
        return otok_fail(err, f->life.verdict, "the session has ended");
    return otok_consent_check(&f->session, &f->rules, f->scope, err);
}

/* What a refresh would do with the token, or with the current one; a superseded one is no reuse here. */
static int check_rotation(const struct question *q, const struct finding *f, otok_error *err)
{
    uint32_t generation = q->offline ? q->generation : f->session.head.generation;
    switch (otok_rotation_of(&f->session, &f->rules, generation, f->now_us)) {
    case OTOK_ROTATION_KEEP:
    case OTOK_ROTATION_ADVANCE:
    case OTOK_ROTATION_RETRY:
        return OTOK_OK;
    case OTOK_ROTATION_AHEAD:
        return f->rules.ahead == OTOK_AHEAD_ANSWER
                   ? OTOK_OK
                   : otok_fail(err, OTOK_E_TOKEN_AHEAD, "the token is from the future, which the policy refuses");
    default:
        return otok_fail(err, OTOK_E_TOKEN_REUSED, "the token was superseded");
    }
}

static int ask_host(const struct question *q, struct finding *f, uint32_t attempt, otok_error *err)
{
    const otok_asked asked = {
        .purpose = OTOK_PURPOSE_INTROSPECT,
        .attempt = attempt,
        .session = &f->session,
        .rules = &f->rules,
        .now_us = f->now_us,
        .scope = f->scope,
        .audience = f->audience,
        .audience_count = f->audience_count,
        .peer = &q->peer,
    };
    int rc = otok_ask_host(q->service, &asked, &f->answer, err);
    if (!f->answer.ends_session)
        return rc;
    int ended = otok_session_remove(q->service, &f->session, OTOK_REVOKED_BY_HOST, &q->peer, err);
    return ended == OTOK_OK ? rc : ended;
}

static int check(const struct question *q, struct finding *f, uint32_t attempt, otok_error *err)
{
    int rc = check_life(q, f, err);
    if (rc == OTOK_OK)
        rc = check_rotation(q, f, err);
    return rc == OTOK_OK ? ask_host(q, f, attempt, err) : rc;
}

/* ------------------------------------------------------------------------------------------------- what a token is for */

/* `aud` of a token of ours: one text, or some. */
static void read_audience(const otok_json *payload, struct finding *f)
{
    const otok_json *aud = otok_json_member(payload, "aud");
    const char *one = otok_json_text(payload, "aud");
    size_t n = aud != NULL && otok_json_is_array(aud) ? otok_json_count(aud) : 0;
    if (one != NULL)
        f->audience[f->audience_count++] = otok_str_of(one);
    for (size_t i = 0; i < n && i < OTOK_MAX_AUDIENCE; i++)
        f->audience[f->audience_count++] = otok_str_of(otok_json_string(otok_json_item(aud, i)));
}

static void read_extent(const struct question *q, struct finding *f)
{
    const otok_body *body = &f->session.body;
    if (q->jwt != NULL) {
        f->scope = otok_str_of(otok_json_text(q->jwt->payload, "scope"));
        read_audience(q->jwt->payload, f);
    } else {
        f->scope = body->scope;
        memcpy(f->audience, body->audience, sizeof f->audience);
        f->audience_count = body->audience_count;
    }
}

static bool is_among(const char *text, const otok_str *texts, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (otok_str_eq(texts[i], otok_str_of(text)))
            return true;
    }
    return false;
}

/* An offline token is shown to its client, and to the host itself; an access token also to whom it is meant for. */
static int check_asker(const struct question *q, const struct finding *f, const otok_str *audience, size_t n,
                       otok_error *err)
{
    const char *client_id = q->request.client_id;
    bool may_see = client_id != NULL ? is_the_clients(q, f) : q->jwt == NULL;
    if (q->jwt != NULL) {
        may_see = may_see || (client_id != NULL && is_among(client_id, audience, n));
        for (size_t i = 0; !may_see && i < q->request.resource_count; i++)
            may_see = is_among(q->request.resource[i], audience, n);
    }
    return may_see ? OTOK_OK : otok_fail(err, OTOK_E_TOKEN_INVALID, "the token is nothing to who asks");
}

/* ------------------------------------------------------------------------------------------------------------ the answer */

/* The public struct and its texts, in one piece of memory. */
struct introspection_box {
    otok_introspection introspection;
    char text[];
};

static const char *place(struct introspection_box *box, size_t *at, otok_str text)
{
    char *to = box->text + *at;
    if (text.len != 0)
        memcpy(to, text.data, text.len);
    to[text.len] = '\0';
    *at += text.len + 1;
    return to;
}

void otok_introspection_free(otok_introspection *introspection)
{
    otok_free(introspection);
}

static int answer_inactive(otok_introspection **out, otok_error *err)
{
    static const char inactive[] = "{\"active\":false}";
    struct introspection_box *box = otok_calloc(1, sizeof *box);
    if (box == NULL)
        return otok_fail(err, OTOK_E_NOMEM, "out of memory");
    box->introspection = (otok_introspection){.size = sizeof box->introspection, .response_json = inactive};
    *out = &box->introspection;
    return OTOK_OK;
}

static int answer_active(const struct question *q, const struct finding *f, int64_t expires_us, const otok_buf *json,
                         otok_introspection **out, otok_error *err)
{
    char id[OTOK_SESSION_ID_CHARS + 1];
    const otok_record *record = f->session.record;
    otok_session_id_print(&record->id, id);
    size_t room = sizeof id + record->subject.len + record->client.len + f->answer.scope.len + json->len + 4, at = 0;
    struct introspection_box *box = json->failed ? NULL : otok_calloc(1, sizeof *box + room);
    if (box == NULL)
        return otok_fail(err, OTOK_E_NOMEM, "out of memory");
    box->introspection = (otok_introspection){
        .size = sizeof box->introspection,
        .active = 1,
        .token = q->jwt != NULL ? OTOK_TOKEN_ACCESS : OTOK_TOKEN_OFFLINE,
        .session_id = place(box, &at, otok_str_of(id)),
        .subject = place(box, &at, record->subject),
        .client_id = place(box, &at, record->client),
        .scope = place(box, &at, f->answer.scope),
        .response_json = place(box, &at, (otok_str){json->data, json->len}),
        .expires_us = expires_us,
    };
    *out = &box->introspection;
    return OTOK_OK;
}

static void begin_active(otok_buf *json)
{
    otok_json_begin(json);
    otok_json_add_raw(json, "active", otok_str_of("true"));
}

static void add_audience(otok_buf *json, const otok_str *audience, size_t n)
{
    if (n == 1)
        otok_json_add_str(json, "aud", audience[0]);
    else if (n != 0)
        otok_json_add_string_array(json, "aud", audience, n);
}

/* --------------------------------------------------------------------------------------------------- of an offline token */

static void add_confirmation(otok_buf *json, const otok_body *body)
{
    char text[64];
    size_t len = otok_base64url_len(sizeof body->thumbprint);
    bool by_key = body->binding == OTOK_BINDING_JKT;
    if (!by_key && body->binding != OTOK_BINDING_X5T_S256)
        return;
    otok_base64url(body->thumbprint, sizeof body->thumbprint, text);
    otok_json_add_name(json, "cnf");
    otok_json_begin(json);
    otok_json_add_str(json, by_key ? "jkt" : "x5t#S256", (otok_str){text, len});
    otok_json_end(json);
}

/* When this generation came about; of one before it, or ahead, it is known only that it was not before the session. */
static int64_t issued_us(const struct question *q, const otok_loaded *session)
{
    bool is_current = q->generation == session->head.generation;
    return is_current && session->head.rotated_us != 0 ? session->head.rotated_us : session->body.started_us;
}

static int answer_offline(const struct question *q, const struct finding *f, otok_introspection **out, otok_error *err)
{
    otok_buf json;
    const otok_loaded *session = &f->session;
    const otok_body *body = &session->body;
    otok_buf_init(&json, NULL, 0);
    begin_active(&json);
    otok_json_add_str(&json, "scope", f->answer.scope);
    otok_json_add_str(&json, "client_id", session->record->client);
    otok_json_add_str(&json, "sub", body->sub.len != 0 ? body->sub : session->record->subject);
    if (body->audience_count != 0)
        add_audience(&json, f->answer.audience, f->answer.audience_count);
    otok_json_add_text(&json, "iss", q->service->issuer);
    if (f->life.expires_us != OTOK_UNLIMITED)
        otok_json_add_integer(&json, "exp", f->life.expires_us / OTOK_US_PER_S);
    otok_json_add_integer(&json, "iat", issued_us(q, session) / OTOK_US_PER_S);
    if (body->sid.len != 0)
        otok_json_add_str(&json, "sid", body->sid);
    add_confirmation(&json, body);
    if (body->auth_time_us != 0)
        otok_json_add_integer(&json, "auth_time", body->auth_time_us / OTOK_US_PER_S);
    if (body->acr.len != 0)
        otok_json_add_str(&json, "acr", body->acr);
    if (body->amr_count != 0)
        otok_json_add_string_array(&json, "amr", body->amr, body->amr_count);
    otok_json_end(&json);
    int rc = answer_active(q, f, f->life.expires_us, &json, out, err);
    otok_buf_free(&json);
    return rc;
}

/* --------------------------------------------------------------------------------------------------- of an access token */

/* Behind a value of JSON that is known to be good: over strings, and over what brackets enclose. */
static size_t behind_value(otok_str json, size_t at)
{
    const char *text = json.data;
    int depth = 0;
    for (bool in_string = false; at < json.len; at++) {
        char c = text[at];
        if (in_string) {
            at += c == '\\';
            in_string = c != '"';
            continue;
        }
        if (depth == 0 && (c == ',' || c == '}'))
            break;
        in_string = c == '"';
        depth += (c == '{' || c == '[') - (c == '}' || c == ']');
    }
    return at;
}

/* A host that has signed it itself may have left spaces. */
static bool is_member(otok_str member, const char *name)
{
    static const char white[] = " \t\r\n";
    const char *at = member.data;
    size_t len = strlen(name);
    at += strspn(at, white) + 1; /* behind the quote; behind the member there is a comma or a brace */
    if (strncmp(at, name, len) != 0 || at[len] != '"')
        return false;
    at += len + 1;
    return at[strspn(at, white)] == ':';
}

/*
 * The members as they were signed, so that numbers keep every digit; but scope and audience, which the host may have narrowed.
 * behind_value() passes a name and its colon like the value that follows.
 */
static void add_members(const struct finding *f, otok_str payload, otok_buf *json)
{
    const char *text = payload.data;
    for (size_t at = 1, end; at < payload.len; at = end + 1) { /* behind the brace */
        end = behind_value(payload, at);
        otok_str member = {text + at, end - at};
        if (is_member(member, "scope"))
            otok_json_add_str(json, "scope", f->answer.scope);
        else if (is_member(member, "aud"))
            add_audience(json, f->answer.audience, f->answer.audience_count);
        else if (!is_member(member, "active") && !is_member(member, "token_type")) /* which are ours to say */
            otok_json_add_fragment(json, member);
    }
}

static int answer_access(const struct question *q, const struct finding *f, otok_introspection **out, otok_error *err)
{
    otok_buf json;
    int64_t exp = 0;
    const otok_json *payload = q->jwt->payload;
    const otok_json *cnf = otok_json_member(payload, "cnf");
    bool is_dpop = cnf != NULL && otok_json_text(cnf, "jkt") != NULL; /* RFC 9449 section 6.2 */
    (void)otok_json_integer(payload, "exp", &exp);                    /* there is one: it was looked at */
    otok_buf_init(&json, NULL, 0);
    begin_active(&json);
    add_members(f, q->jwt->payload_text, &json);
    otok_json_add_text(&json, "token_type", is_dpop ? "DPoP" : "Bearer");
    otok_json_end(&json);
    int rc = answer_active(q, f, otok_seconds_to_us(exp), &json, out, err);
    otok_buf_free(&json);
    return rc;
}

/* ----------------------------------------------------------------------------------------------------------- the request */

static int read_resources(const otok_introspect_request *request, otok_error *err)
{
    if (request->resource_count > OTOK_MAX_AUDIENCE || (request->resource_count != 0 && request->resource == NULL))
        return otok_fail(err, OTOK_E_INVALID, "request.resource has more than %d items, or is NULL with a count",
                         OTOK_MAX_AUDIENCE);
    for (size_t i = 0; i < request->resource_count; i++) {
        if (request->resource[i] == NULL)
            return otok_fail(err, OTOK_E_INVALID, "request.resource: item %zu is NULL", i);
    }
    return OTOK_OK;
}

static int read_request(const otok_introspect_request *in, struct question *q, otok_error *err)
{
    otok_introspect_request *request = &q->request;
    int rc = otok_struct_read(request, sizeof *request, in, sizeof(size_t) + 2 * sizeof(char *),
                              "otok_introspect_request", err);
    if (rc == OTOK_OK && request->token == NULL)
        rc = otok_fail(err, OTOK_E_INVALID, "request.token is required");
    if (rc == OTOK_OK)
        rc = otok_text_check(request->client_id, NAME_BOUND, true, "request.client_id", NULL, err);
    if (rc == OTOK_OK)
        rc = read_resources(request, err);
    if (rc == OTOK_OK && request->client_type != OTOK_CLIENT_CONFIDENTIAL && request->client_type != OTOK_CLIENT_PUBLIC)
        rc = otok_fail(err, OTOK_E_INVALID, "request.client_type has no value %d", request->client_type);
    if (rc == OTOK_OK && request->unused != 0)
        rc = otok_fail(err, OTOK_E_INVALID, "request.unused is not 0");
    return rc == OTOK_OK ? otok_peer_read(request->peer, &q->peer, err) : rc;
}

/* Which of ours it is; OTOK_E_TOKEN_INVALID when it is neither. */
static int read_token(struct question *q, otok_error *err)
{
    otok_presented presented;
    int rc = otok_token_present(q->service, q->request.token, &presented, &q->id, err);
    q->offline = rc == OTOK_OK;
    q->generation = q->offline ? presented.token.generation : 0;
    otok_wipe(&presented, sizeof presented);
    return rc == OTOK_E_TOKEN_INVALID ? otok_access_token_read(q->service, q->request.token, &q->jwt, &q->id, err) : rc;
}

/* Cheapest first: who asks is looked at before the host is asked, and again when it has narrowed the audience. */
static int answer_once(const struct question *q, uint32_t attempt, otok_introspection **out, otok_error *err)
{
    struct finding f = {0};
    int rc = load(q, &f, err);
    if (rc == OTOK_OK) {
        read_extent(q, &f);
        rc = check_asker(q, &f, f.audience, f.audience_count, err);
    }
    if (rc == OTOK_OK)
        rc = check(q, &f, attempt, err);
    if (rc == OTOK_OK)
        rc = check_asker(q, &f, f.answer.audience, f.answer.audience_count, err);
    if (rc == OTOK_OK && q->on_live != NULL)
        rc = q->on_live(q->on_live_arg, &(otok_owner){f.session.record->subject, f.session.record->client}, &f.rules,
                        f.now_us, err);
    if (rc == OTOK_OK && out != NULL)
        rc = q->jwt != NULL ? answer_access(q, &f, out, err) : answer_offline(q, &f, out, err);
    otok_answer_free(&f.answer);
    otok_loaded_free(&f.session);
    return rc;
}

/* Again when the host wants a session ended that changed meanwhile. */
static int answer(const struct question *q, otok_introspection **out, otok_error *err)
{
    otok_attempts attempts = otok_attempts_begin(q->service);
    int rc;
    do
        rc = answer_once(q, attempts.made + 1, out, err);
    while (otok_attempts_again(&attempts, &rc, err));
    return rc;
}

/* What is not active is no error: it leaves none behind. */
static int told(int rc, const otok_error *reason, otok_error *err)
{
    return is_dead(rc) || rc == OTOK_OK ? OTOK_OK : otok_error_set(err, rc, reason->system_errno, reason->message);
}

int otok_introspect(otok_service *service, const otok_introspect_request *request, otok_introspection **out,
                    otok_error *err)
{
    struct question q = {.service = service};
    otok_error reason;
    if (service == NULL || out == NULL)
        return otok_fail(err, OTOK_E_INVALID, "%s is required", service == NULL ? "service" : "out");
    *out = NULL;
    int rc = read_request(request, &q, &reason);
    if (rc == OTOK_OK)
        rc = read_token(&q, &reason);
    if (rc == OTOK_OK)
        rc = answer(&q, out, &reason);
    if (is_dead(rc))
        rc = answer_inactive(out, &reason);
    if (rc == OTOK_OK)
        otok_count_one(service, OTOK_COUNT_INTROSPECTED);
    otok_jws_free(q.jwt);
    return told(rc, &reason, err);
}

int otok_access_token_use(otok_service *service, const otok_access_use *use, otok_introspection **out, otok_error *err)
{
    struct question q = {
        .service = service,
        .request = {.resource = use->resource, .resource_count = use->resource_count},
        .peer = *use->peer,
        .id = use->session,
        .jwt = use->jwt,
        .on_live = use->on_live,
        .on_live_arg = use->on_live_arg,
    };
    return answer(&q, out, err);
}

int otok_session_is_live(otok_service *service, const char *session_id, int32_t *live, otok_error *err)
{
    struct question q = {.service = service};
    otok_error reason;
    if (service == NULL || session_id == NULL || live == NULL)
        return otok_fail(err, OTOK_E_INVALID, "service, session_id and live are required");
    *live = 0;
    if (!otok_session_id_parse(session_id, &q.id))
        return otok_fail(err, OTOK_E_INVALID, "session_id is not 22 characters of base64url");
    int rc = otok_peer_read(NULL, &q.peer, &reason);
    if (rc == OTOK_OK)
        rc = answer(&q, NULL, &reason);
    *live = rc == OTOK_OK;
    return told(rc, &reason, err);
}
