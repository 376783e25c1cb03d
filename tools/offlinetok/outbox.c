/*
 * outbox.c - the oldest events in the outbox, one a line.
 *
 * SPDX-License-Identifier: MIT
 */
#include "tool.h"

#include <cjson/cJSON.h>
#include <errno.h>
#include <string.h>
#include <unistd.h>

static const char *word_of_type(int32_t type)
{
    static const char *const words[] = {
        "unknown", "issued", "refreshed",         "retried", "refused",         "reuse",           "revoked",
        "expired", "cutoff", "store_rolled_back", "evicted", "consent_granted", "consent_revoked", "outbox_overflow"};
    size_t i = type > 0 ? (size_t)type : 0;
    return words[i < sizeof words / sizeof words[0] ? i : 0];
}

/* OTOK_REVOKED_... in small letters; a code by its name; NULL: none. */
static const char *word_of_reason(int32_t reason)
{
    static const char *const words[] = {NULL,       "by_token",   "by_session", "by_filter",      "by_cutoff",
                                        "by_reuse", "by_consent", "by_logout",  "by_replacement", "by_host",
                                        "by_once",  "by_erasure"};
    if (reason < 0)
        return otok_error_name(reason);
    return (size_t)reason < sizeof words / sizeof words[0] ? words[reason] : "unknown";
}

static void add_marks(cJSON *json, uint32_t marks)
{
    cJSON *array = cJSON_AddArrayToObject(json, "marks");
    if ((marks & OTOK_EVENT_OTHER_IP) != 0)
        json_append(array, cJSON_CreateString("other_ip"));
    if ((marks & OTOK_EVENT_OTHER_USER_AGENT) != 0)
        json_append(array, cJSON_CreateString("other_user_agent"));
    if ((marks & OTOK_EVENT_ADOPTED) != 0)
        json_append(array, cJSON_CreateString("adopted"));
}

static cJSON *json_of_event(const otok_event *e)
{
    cJSON *json = cJSON_CreateObject();
    json_add_text(json, "event_id", e->event_id);
    json_add_text(json, "type", word_of_type(e->type));
    json_add_text(json, "reason", word_of_reason(e->reason));
    json_add_number(json, "time_us", e->time_us);
    json_add_text(json, "realm", e->realm);
    json_add_text(json, "session_id", e->session_id);
    json_add_text(json, "subject", e->subject);
    json_add_text(json, "client_id", e->client_id);
    json_add_text(json, "sid", e->sid);
    json_add_text(json, "ip", e->ip);
    json_add_text(json, "user_agent", e->user_agent);
    json_add_number(json, "generation", e->generation);
    json_add_number(json, "distance", e->distance);
    add_marks(json, e->marks);
    json_add_text(json, "grant_type", word_of_grant(e->grant_type));
    json_add_text(json, "kind", word_of_kind(e->kind));
    json_add_number(json, "cutoff_us", e->cutoff_us);
    json_add_text(json, "scope", e->scope);
    return json;
}

/* What is acknowledged is gone: it must have got to where it was printed to, on stable storage where that is a file. */
static bool is_out(void)
{
    if (fflush(stdout) != 0 || ferror(stdout) != 0)
        return false;
    return fsync(STDOUT_FILENO) == 0 || errno == EINVAL || errno == EROFS || errno == ENOTSUP;
}

static int print_batch(const options *o, const place *p, const otok_outbox_batch *batch)
{
    otok_error err;
    int rc = EXIT_DONE;
    for (size_t i = 0; rc == EXIT_DONE && i < batch->count; i++)
        rc = json_print_line(json_of_event(batch->events[i]));
    if (rc != EXIT_DONE || !o->acknowledge)
        return rc;
    if (!is_out())
        return complain_trouble("nothing was acknowledged: writing to standard output: %s", strerror(errno));
    return otok_outbox_acknowledge(p->service, batch, &err) == OTOK_OK ? EXIT_DONE : complain("acknowledging", &err);
}

int command_outbox(const options *o)
{
    otok_outbox_batch *batch;
    otok_error err;
    place p;
    if (o->limit > MOST_A_PAGE)
        return complain_usage("--limit is at most %d", MOST_A_PAGE);
    int rc = place_open(o, OPEN_SERVICE, !o->acknowledge, &p);
    if (rc != EXIT_DONE)
        return rc;
    if (otok_outbox_read(p.service, (uint32_t)o->limit, &batch, &err) == OTOK_OK)
        rc = print_batch(o, &p, batch);
    else
        rc = complain("reading the outbox", &err);
    otok_outbox_batch_free(batch);
    place_close(&p);
    return rc;
}
