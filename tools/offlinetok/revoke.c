/*
 * revoke.c - revoke, cutoff.
 *
 * SPDX-License-Identifier: MIT
 */
#include "tool.h"

#include <cjson/cJSON.h>
#include <stdlib.h>
#include <string.h>

/* ------------------------------------------------------------------------------------------------------- by id */

/* One that is not there (any more) does not keep the others alive. */
static int revoke_id(const options *o, const place *p, const char *id, cJSON *revoked, cJSON *missing)
{
    otok_error err;
    int code = otok_revoke_session(p->service, id, &err);
    if (code != OTOK_OK && code != OTOK_E_NOT_FOUND)
        return complain(id, &err);
    if (o->json)
        json_append(code == OTOK_OK ? revoked : missing, cJSON_CreateString(id));
    else if (code == OTOK_OK)
        printf("%s has ended\n", id);
    else
        (void)complain(id, &err);
    return code == OTOK_OK ? EXIT_DONE : EXIT_NONE;
}

static int print_ids(const place *p, cJSON *revoked, cJSON *missing)
{
    cJSON *json = cJSON_CreateObject();
    json_add_text(json, "realm", p->realm);
    json_add(json, "revoked", revoked);
    json_add(json, "not_found", missing);
    return json_print(json);
}

static int revoke_ids(const options *o, const place *p)
{
    cJSON *revoked = o->json ? cJSON_CreateArray() : NULL, *missing = o->json ? cJSON_CreateArray() : NULL;
    int rc = EXIT_DONE;
    if (o->narguments > 1 && !confirm(o, "This ends %zu sessions. Go on?", o->narguments))
        return EXIT_DECLINED;
    for (size_t i = 0; rc < EXIT_USAGE && i < o->narguments; i++) {
        int one = revoke_id(o, p, o->arguments[i], revoked, missing);
        rc = one > rc ? one : rc;
    }
    if (o->json && print_ids(p, revoked, missing) != EXIT_DONE)
        rc = EXIT_TROUBLE;
    return rc;
}

/* ------------------------------------------------------------------------------------------------------- by filter */

/* Asks where more than one session ends; `what` begins the question. */
static int ask(const options *o, const place *p, const otok_filter *filter, const char *what)
{
    char number[NUMBER_ROOM];
    otok_error err;
    uint64_t n = 0;
    if (otok_count(p->service, filter, &n, &err) != OTOK_OK)
        return complain("counting", &err);
    char *whose = filter_words(filter, p->realm);
    if (whose == NULL)
        return complain_memory();
    bool go = n <= 1 || confirm(o, "%s %s %s. Go on?", what, sessions_words(n, number), whose);
    free(whose);
    return go ? EXIT_DONE : EXIT_DECLINED;
}

static int print_revoked(const options *o, const place *p, const otok_filter *filter, uint64_t n)
{
    char number[NUMBER_ROOM];
    if (!o->json) {
        printf(n == 1 ? "%s has ended\n" : "%s have ended\n", sessions_words(n, number));
        return EXIT_DONE;
    }
    cJSON *json = cJSON_CreateObject();
    json_add_filter(json, filter, p->realm);
    json_add_count(json, "revoked", n);
    return json_print(json);
}

static int revoke_matching(const options *o, place *p, const otok_filter *filter)
{
    progress bar;
    otok_error err;
    uint64_t n = 0;
    int rc = ask(o, p, filter, "This ends all");
    if (rc != EXIT_DONE)
        return rc;
    progress_begin(&bar, o, "ending");
    p->progress = &bar;
    int code = otok_revoke_matching(p->service, filter, &n, &err);
    p->progress = NULL;
    progress_end(&bar);
    return code == OTOK_OK ? print_revoked(o, p, filter, n) : complain("revoking", &err);
}

int command_revoke(const options *o)
{
    bool has_filter = o->subject != NULL || o->client != NULL || o->sid != NULL || o->whole_realm;
    otok_filter filter;
    place p;
    int rc = EXIT_DONE;
    if (has_filter && o->narguments != 0)
        return complain_usage("revoke takes ids of sessions, or says whose: not both");
    if (o->narguments == 0)
        rc = filter_read(o, FILTER_REQUIRED, &filter);
    if (rc == EXIT_DONE)
        rc = place_open(o, OPEN_SERVICE, false, &p);
    if (rc != EXIT_DONE)
        return rc;
    rc = o->narguments != 0 ? revoke_ids(o, &p) : revoke_matching(o, &p, &filter);
    place_close(&p);
    return rc;
}

/* ------------------------------------------------------------------------------------------------------- cutoff */

static int print_cutoff(const options *o, const place *p, const otok_filter *filter, int64_t at_us, bool is_set)
{
    char absolute[TIME_ROOM], relative[TIME_ROOM];
    time_absolute(at_us, absolute);
    time_relative(at_us, time_now(), relative);
    if (o->json) {
        cJSON *json = cJSON_CreateObject();
        json_add_filter(json, filter, p->realm);
        if (is_set)
            json_add_number(json, "effective_us", at_us);
        else
            json_add_text(json, "effective_us", NULL);
        return json_print(json);
    }
    char *whose = filter_words(filter, p->realm);
    if (whose == NULL)
        return complain_memory();
    if (is_set)
        printf("Sessions %s that began at or before %s (%s) have ended.\n", whose, absolute, relative);
    else
        printf("There is no cutoff for sessions %s.\n", whose);
    free(whose);
    return EXIT_DONE;
}

static int show_cutoff(const options *o, const place *p, const otok_filter *filter)
{
    otok_error err;
    int64_t at_us = 0;
    int code = otok_cutoff_get(p->service, filter, &at_us, &err);
    if (code != OTOK_OK && code != OTOK_E_NOT_FOUND)
        return complain("cutoff", &err);
    int rc = print_cutoff(o, p, filter, at_us, code == OTOK_OK);
    return rc == EXIT_DONE && code != OTOK_OK ? EXIT_NONE : rc;
}

static int set_cutoff(const options *o, const place *p, const otok_filter *filter, int64_t at_us)
{
    char when[TIME_ROOM], what[3 * TIME_ROOM];
    otok_error err;
    int64_t effective_us = 0;
    time_absolute(at_us, when);
    (void)snprintf(what, sizeof what, "Of all that began by %s, this ends up to", at_us == OTOK_NOW ? "now" : when);
    int rc = ask(o, p, filter, at_us == OTOK_NOW ? "This ends all" : what);
    if (rc != EXIT_DONE)
        return rc;
    if (otok_cutoff_set(p->service, filter, at_us, &effective_us, &err) != OTOK_OK)
        return complain("cutoff", &err);
    return print_cutoff(o, p, filter, effective_us, true);
}

int command_cutoff(const options *o)
{
    otok_filter filter;
    int64_t at_us = OTOK_NOW;
    place p;
    if (o->at != NULL && !time_read(o->at, time_now(), &at_us))
        return complain_usage("--at %s is no time: now, 2026-11-22T05:30:00Z, @SECONDS, -3d, -12h", o->at);
    int rc = filter_read(o, o->at != NULL ? FILTER_REQUIRED : FILTER_REALM, &filter);
    if (rc == EXIT_DONE)
        rc = place_open(o, OPEN_SERVICE, o->at == NULL, &p);
    if (rc != EXIT_DONE)
        return rc;
    rc = o->at != NULL ? set_cutoff(o, &p, &filter, at_us) : show_cutoff(o, &p, &filter);
    place_close(&p);
    return rc;
}
