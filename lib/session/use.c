/*
 * use.c - what the host says to a use of a session: whether it agrees, with how much of it, and with which claims (R5).
 *
 * It is asked outside of every store transaction and with no lock held, so that it may take its time, and may call the library.
 * Whatever goes wrong there refuses.
 *
 * SPDX-License-Identifier: MIT
 */
#include "session/session.h"

#include <string.h>

enum { SCOPE_BOUND = 4096 };

/* ---------------------------------------------------------------------------------------------------------- the answer */

/* What the host did wrong stays wrong, whatever it says afterwards. */
static int spoil(otok_answer *answer, int code)
{
    answer->failed = code;
    return code;
}

/* The first check of every setter. */
static int usable(const otok_answer *answer)
{
    return answer != NULL ? answer->failed : OTOK_E_INVALID;
}

/* Among the codes that there are: nothing else may come out of the library. */
static bool is_refusal(int32_t code)
{
    bool is_known = strcmp(otok_error_name(code), otok_error_name(INT32_MIN)) != 0;
    bool is_finding = code == OTOK_E_TOKEN_REUSED; /* which is the library's to say */
    return code == OTOK_E_BUSY || (code <= OTOK_E_TOKEN_INVALID && is_known && !is_finding);
}

int otok_answer_refuse(otok_answer *answer, int32_t code, const char *description)
{
    int rc = usable(answer);
    if (rc != OTOK_OK)
        return rc;
    const char *text = description != NULL ? description : "the host refuses this use of the session";
    size_t len = strnlen(text, sizeof answer->error.message);
    if (!is_refusal(code))
        return spoil(answer, otok_fail(&answer->error, OTOK_E_INVALID, "otok_answer_refuse: %d is no refusal", code));
    len = otok_text_cut(text, len, sizeof answer->error.message - 1);
    if (!otok_text_is_clean(text, len))
        return spoil(answer, otok_fail(&answer->error, OTOK_E_INVALID,
                                       "otok_answer_refuse: description is not UTF-8 without control characters"));
    answer->refusal = otok_fail(&answer->error, code, "%.*s", (int)len, text);
    return OTOK_OK;
}

int otok_answer_end_session(otok_answer *answer)
{
    int rc = usable(answer);
    if (rc == OTOK_OK && answer->refusal == OTOK_OK)
        rc = otok_answer_refuse(answer, OTOK_E_DENIED, "the host has ended the session");
    if (rc == OTOK_OK)
        answer->ends_session = true;
    return rc;
}

/* The words of the new scope, each of which must be in the old one. */
static int read_scope(const otok_answer *answer, const char *scope, otok_buf *words, otok_error *err)
{
    size_t len;
    int rc = otok_text_check(scope, SCOPE_BOUND, true, "otok_answer_set_scope: scope", &len, err);
    if (rc == OTOK_OK)
        rc = otok_scope_normalise(scope, words, err);
    if (rc == OTOK_OK && words->len == 0)
        rc = otok_fail(err, OTOK_E_INVALID, "otok_answer_set_scope: nothing is left of the scope");
    if (rc == OTOK_OK && !otok_scope_covers(answer->scope, (otok_str){words->data, words->len}))
        rc = otok_fail(err, OTOK_E_INVALID, "otok_answer_set_scope: a word was not in the scope");
    return rc;
}

int otok_answer_set_scope(otok_answer *answer, const char *scope)
{
    otok_buf words;
    otok_error error;
    int rc = usable(answer);
    if (rc != OTOK_OK)
        return rc;
    otok_buf_init(&words, NULL, 0);
    rc = read_scope(answer, scope, &words, &error);
    if (rc != OTOK_OK) {
        otok_buf_free(&words);
        answer->error = error;
        return spoil(answer, rc);
    }
    otok_buf_free(&answer->scope_text);
    answer->scope_text = words;
    answer->scope = (otok_str){words.data, words.len};
    return OTOK_OK;
}

static const otok_str *find(const otok_str *texts, size_t n, otok_str text)
{
    for (size_t i = 0; i < n; i++) {
        if (otok_str_eq(texts[i], text))
            return &texts[i];
    }
    return NULL;
}

/* What is narrowed is among what was there, so the texts are those that were there. */
static int read_audience(const otok_answer *answer, const char *const *audience, size_t count, otok_str *items,
                         size_t *n, otok_error *err)
{
    *n = 0;
    if (audience == NULL || count == 0 || count > OTOK_MAX_AUDIENCE)
        return otok_fail(err, OTOK_E_INVALID, "otok_answer_set_audience: there must be 1 to %d items",
                         OTOK_MAX_AUDIENCE);
    for (size_t i = 0; i < count; i++) {
        const otok_str *item = find(answer->audience, answer->audience_count, otok_str_of(audience[i]));
        if (item == NULL)
            return otok_fail(err, OTOK_E_INVALID, "otok_answer_set_audience: item %zu was not in the audience", i);
        if (find(items, *n, *item) == NULL)
            items[(*n)++] = *item;
    }
    return OTOK_OK;
}

int otok_answer_set_audience(otok_answer *answer, const char *const *audience, size_t count)
{
    otok_str items[OTOK_MAX_AUDIENCE];
    size_t n;
    int rc = usable(answer);
    if (rc != OTOK_OK)
        return rc;
    rc = read_audience(answer, audience, count, items, &n, &answer->error);
    if (rc != OTOK_OK)
        return spoil(answer, rc);
    memcpy(answer->audience_items, items, n * sizeof items[0]);
    answer->audience = answer->audience_items;
    answer->audience_count = n;
    return OTOK_OK;
}

static int set_claims(otok_answer *answer, const char *json, const char *field, char **claims)
{
    otok_str members;
    if (json == NULL || json[0] == '\0')
        return spoil(answer, otok_fail(&answer->error, OTOK_E_INVALID, "%s: a JSON object is required", field));
    int rc = otok_claims_read(json, field, &members, &answer->error);
    char *copy = rc == OTOK_OK ? otok_strndup(members.data, members.len) : NULL;
    if (rc == OTOK_OK && copy == NULL)
        rc = otok_fail(&answer->error, OTOK_E_NOMEM, "out of memory");
    if (rc != OTOK_OK)
        return spoil(answer, rc);
    otok_free(*claims);
    *claims = copy;
    return OTOK_OK;
}

int otok_answer_set_access_claims(otok_answer *answer, const char *json)
{
    int rc = usable(answer);
    return rc == OTOK_OK ? set_claims(answer, json, "otok_answer_set_access_claims", &answer->access_claims) : rc;
}

int otok_answer_set_id_claims(otok_answer *answer, const char *json)
{
    int rc = usable(answer);
    return rc == OTOK_OK ? set_claims(answer, json, "otok_answer_set_id_claims", &answer->id_claims) : rc;
}

void otok_answer_free(otok_answer *answer)
{
    otok_buf_free(&answer->scope_text);
    otok_free(answer->access_claims);
    otok_free(answer->id_claims);
    answer->access_claims = answer->id_claims = NULL;
}

/* -------------------------------------------------------------------------------------------------------- the question */

typedef int (*callback)(void *user, const otok_use *use, otok_answer *answer);

/* A use as the host sees it, whose scope and audience are NUL-terminated. */
struct shown {
    otok_use use;
    const char *audience[OTOK_MAX_AUDIENCE];
    char *texts;
};

static const char *place(char **at, otok_str text)
{
    char *start = *at;
    if (text.len != 0)
        memcpy(start, text.data, text.len);
    start[text.len] = '\0';
    *at += text.len + 1;
    return start;
}

static int show(const otok_asked *asked, const otok_session *session, const otok_answer *answer, struct shown *out,
                otok_error *err)
{
    size_t room = answer->scope.len + 1;
    for (size_t i = 0; i < answer->audience_count; i++)
        room += answer->audience[i].len + 1;
    char *at = out->texts = otok_malloc(room);
    if (at == NULL)
        return otok_fail(err, OTOK_E_NOMEM, "out of memory");
    out->use = (otok_use){
        .size = sizeof out->use,
        .purpose = asked->purpose,
        .attempt = asked->attempt,
        .session = session,
        .scope = place(&at, answer->scope),
        .audience = out->audience,
        .audience_count = answer->audience_count,
        .peer = asked->peer,
    };
    for (size_t i = 0; i < answer->audience_count; i++)
        out->audience[i] = place(&at, answer->audience[i]);
    return OTOK_OK;
}

/* What came back, in the order of what weighs most: a failure, a mistake that was passed over, a refusal. */
static int outcome_of(const otok_answer *answer, int returned, const char *name, otok_error *err)
{
    bool failed = answer->failed != OTOK_OK;
    if (answer->failed == OTOK_E_NOMEM)
        return otok_fail(err, OTOK_E_NOMEM, "out of memory");
    if (returned != 0 || failed) /* the client is not to blame for either */
        return otok_fail(err, OTOK_E_CALLBACK, "the host's %s callback failed%s%s", name, failed ? ": " : "",
                         failed ? answer->error.message : "");
    if (answer->refusal != OTOK_OK && err != NULL)
        *err = answer->error;
    return answer->refusal;
}

static int ask(const otok_service *service, callback call, const char *name, const otok_asked *asked,
               const otok_session *session, otok_answer *answer, otok_error *err)
{
    struct shown shown;
    if (call == NULL)
        return OTOK_OK;
    int rc = show(asked, session, answer, &shown, err);
    if (rc != OTOK_OK)
        return rc;
    rc = outcome_of(answer, call(service->user, &shown.use, answer), name, err);
    otok_free(shown.texts);
    return rc;
}

static int ask_both(const otok_service *service, const otok_asked *asked, otok_answer *answer, otok_error *err)
{
    otok_lifetime life = otok_loaded_lifetime(asked->session, asked->rules, asked->now_us);
    otok_session *session = otok_session_view(asked->session, &life);
    if (session == NULL)
        return otok_fail(err, OTOK_E_NOMEM, "out of memory");
    int rc = ask(service, service->callbacks.authorize, "authorize", asked, session, answer, err);
    if (rc == OTOK_OK && asked->for_tokens)
        rc = ask(service, service->callbacks.claims, "claims", asked, session, answer, err);
    otok_session_free(session);
    return rc;
}

static void begin(const otok_asked *asked, otok_answer *answer)
{
    *answer =
        (otok_answer){.scope = asked->scope, .audience = asked->audience, .audience_count = asked->audience_count};
    otok_buf_init(&answer->scope_text, NULL, 0);
}

int otok_ask_host(otok_service *service, const otok_asked *asked, otok_answer *answer, otok_error *err)
{
    bool has_claims = service->callbacks.claims != NULL && asked->for_tokens;
    begin(asked, answer);
    if (service->callbacks.authorize == NULL && !has_claims)
        return OTOK_OK;
    if (answer->audience_count == 0) { /* the host sees what will be in the token */
        answer->audience_items[0] = otok_str_of(service->audience);
        answer->audience = answer->audience_items;
        answer->audience_count = 1;
    }
    int rc = ask_both(service, asked, answer, err);
    if (rc != answer->refusal || rc == OTOK_OK) /* it did not come to an end that the host wants */
        answer->ends_session = false;
    return rc;
}
