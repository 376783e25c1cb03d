/*
 * json.c - JSON, and the words in it: members are named as in the header of the library.
 *
 * SPDX-License-Identifier: MIT
 */
#include "tool.h"

#include <cjson/cJSON.h>
#include <inttypes.h>
#include <stdlib.h>

/* ------------------------------------------------------------------------------------------------------- printing */

/* A member that got lost would not be missed: no document is printed then. */
static bool is_short;

static int print(cJSON *value, bool formatted)
{
    char *text = value == NULL || is_short ? NULL : formatted ? cJSON_Print(value) : cJSON_PrintUnformatted(value);
    char *escaped = text != NULL ? text_escape(text, true) : NULL;
    if (escaped != NULL)
        puts(escaped);
    bool failed = escaped == NULL;
    free(escaped);
    cJSON_free(text);
    cJSON_Delete(value);
    return failed ? complain_memory() : EXIT_DONE;
}

int json_print(cJSON *value)
{
    return print(value, true);
}

int json_print_line(cJSON *value)
{
    return print(value, false);
}

/* ------------------------------------------------------------------------------------------------------- members */

void json_add(cJSON *object, const char *name, cJSON *value)
{
    if (value == NULL || !cJSON_AddItemToObject(object, name, value)) {
        cJSON_Delete(value);
        is_short = true;
    }
}

void json_append(cJSON *array, cJSON *value)
{
    if (value == NULL || !cJSON_AddItemToArray(array, value)) {
        cJSON_Delete(value);
        is_short = true;
    }
}

void json_add_bool(cJSON *object, const char *name, bool value)
{
    json_add(object, name, cJSON_CreateBool(value));
}

void json_add_text(cJSON *object, const char *name, const char *text)
{
    json_add(object, name, text != NULL ? cJSON_CreateString(text) : cJSON_CreateNull());
}

/* As digits: cJSON would write large ones with an exponent. */
static void add_digits(cJSON *object, const char *name, const char *digits, bool exact)
{
    json_add(object, name, exact ? cJSON_CreateRaw(digits) : cJSON_CreateString(digits));
}

static const int64_t MOST_EXACT = INT64_C(1) << 53;

void json_add_number(cJSON *object, const char *name, int64_t number)
{
    char digits[24];
    (void)snprintf(digits, sizeof digits, "%" PRId64, number);
    add_digits(object, name, digits, number <= MOST_EXACT && number >= -MOST_EXACT);
}

void json_add_count(cJSON *object, const char *name, uint64_t number)
{
    char digits[24];
    (void)snprintf(digits, sizeof digits, "%" PRIu64, number);
    add_digits(object, name, digits, number <= (uint64_t)MOST_EXACT);
}

/* ------------------------------------------------------------------------------------------------------- words */

static const char *word_at(const char *const *words, size_t n, int32_t value)
{
    return value >= 0 && (size_t)value < n ? words[value] : "unknown";
}

const char *word_of_state(int32_t state)
{
    switch (state) {
    case OTOK_OK:
        return "live";
    case OTOK_E_TOKEN_EXPIRED:
        return "expired";
    case OTOK_E_TOKEN_REVOKED:
        return "revoked";
    default:
        return "unknown";
    }
}

const char *word_of_grant(int32_t grant_type)
{
    static const char *const words[] = {
        "authorization_code", "password", "client_credentials", "device_code", "ciba", "jwt_bearer", "token_exchange"};
    return word_at(words, sizeof words / sizeof words[0], grant_type);
}

const char *word_of_binding(int32_t binding)
{
    static const char *const words[] = {"none", "jkt", "x5t_s256", "dpop", "mtls"};
    return word_at(words, sizeof words / sizeof words[0], binding);
}

const char *word_of_kind(int32_t kind)
{
    static const char *const words[] = {"offline", "login"};
    return word_at(words, sizeof words / sizeof words[0], kind);
}

/* ------------------------------------------------------------------------------------------------------- sessions */

/* Notes are an object of the host's; what is none, in a store that was tampered with, is a text. */
static void add_notes(cJSON *object, const char *notes)
{
    cJSON *value = notes != NULL ? cJSON_Parse(notes) : NULL;
    if (value == NULL)
        json_add_text(object, "notes", notes);
    else
        json_add(object, "notes", value);
}

static void add_times(cJSON *o, const otok_session *s)
{
    json_add_number(o, "started_us", s->started_us);
    json_add_number(o, "last_used_us", s->last_used_us);
    json_add_number(o, "rotated_us", s->rotated_us);
    json_add_number(o, "idle_expires_us", s->idle_expires_us);
    json_add_number(o, "max_expires_us", s->max_expires_us);
}

cJSON *json_of_session(const otok_session *s)
{
    cJSON *o = cJSON_CreateObject();
    json_add_text(o, "session_id", s->session_id);
    json_add_text(o, "subject", s->subject);
    json_add_text(o, "client_id", s->client_id);
    json_add_text(o, "state", word_of_state(s->state));
    json_add_text(o, "kind", word_of_kind(s->kind));
    json_add_text(o, "scope", s->scope);
    json_add_text(o, "sub", s->sub);
    json_add_text(o, "sid", s->sid);
    json_add_text(o, "label", s->label);
    json_add_text(o, "grant_type", word_of_grant(s->grant_type));
    json_add_text(o, "binding", word_of_binding(s->binding));
    add_times(o, s);
    json_add_number(o, "generation", s->generation);
    json_add_number(o, "retries", s->retries);
    json_add_text(o, "start_ip", s->start_ip);
    json_add_text(o, "start_user_agent", s->start_user_agent);
    json_add_text(o, "last_ip", s->last_ip);
    json_add_text(o, "last_user_agent", s->last_user_agent);
    add_notes(o, s->notes);
    return o;
}
