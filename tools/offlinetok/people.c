/*
 * people.c - consents, subject, erase: what is held about somebody.
 *
 * SPDX-License-Identifier: MIT
 */
#include "tool.h"

#include <cjson/cJSON.h>
#include <stdlib.h>
#include <string.h>

/* ------------------------------------------------------------------------------------------------------- consents */

static const char *const headings[] = {"SUBJECT", "CLIENT", "GRANTED", "CHANGED", "SCOPE"};

static cJSON *json_of_consent(const otok_consent *c)
{
    cJSON *json = cJSON_CreateObject();
    json_add_text(json, "subject", c->subject);
    json_add_text(json, "client_id", c->client_id);
    json_add_text(json, "scope", c->scope);
    json_add_number(json, "granted_us", c->granted_us);
    json_add_number(json, "updated_us", c->updated_us);
    return json;
}

static int add_consent(pages *p, const otok_consent *c)
{
    char granted[TIME_ROOM], updated[TIME_ROOM];
    if (p->table == NULL)
        return pages_add_json(p, json_of_consent(c));
    time_relative(c->granted_us, p->now_us, granted);
    time_relative(c->updated_us, p->now_us, updated);
    const char *const cells[] = {c->subject, c->client_id, granted, c->updated_us != c->granted_us ? updated : "-",
                                 c->scope};
    pages_add_row(p, cells);
    return EXIT_DONE;
}

static int show_page(pages *p)
{
    otok_consent_page *page;
    otok_error err;
    if (otok_consent_list(p->place->service, &p->request, &page, &err) != OTOK_OK)
        return complain("listing consents", &err);
    int rc = EXIT_DONE;
    for (size_t i = 0; rc == EXIT_DONE && i < page->count; i++)
        rc = add_consent(p, page->consents[i]);
    if (rc == EXIT_DONE)
        rc = pages_next(p, page->next_cursor);
    otok_consent_page_free(page);
    return rc;
}

/* That of one pair is no page of a list. */
static int show_pair(pages *p)
{
    otok_consent *consent;
    otok_error err;
    int code = otok_consent_get(p->place->service, p->o->subject, p->o->client, &consent, &err);
    if (code != OTOK_OK && code != OTOK_E_NOT_FOUND)
        return complain("consent", &err);
    int rc = code == OTOK_OK ? add_consent(p, consent) : EXIT_DONE;
    otok_consent_free(consent);
    return rc;
}

static int list_consents(const options *o, const place *there, const otok_filter *filter)
{
    pages p = {.place = there};
    int rc = paging_read(o, &p.request);
    if (rc != EXIT_DONE)
        return rc;
    p.request.filter = filter;
    rc = pages_begin(&p, o, headings, sizeof headings / sizeof headings[0]);
    if (rc == EXIT_DONE)
        rc = o->subject != NULL && o->client != NULL ? show_pair(&p) : pages_show(&p, show_page);
    if (rc == EXIT_DONE)
        rc = pages_finish(&p, "consents", "");
    pages_end(&p);
    return rc;
}

static int revoke_consent(const options *o, const place *p, const otok_filter *filter)
{
    char number[NUMBER_ROOM];
    otok_error err;
    uint64_t n = 0;
    if (o->subject == NULL || o->client == NULL)
        return complain_usage("consents revoke needs --subject and --client");
    if (otok_count(p->service, filter, &n, &err) != OTOK_OK)
        return complain("counting", &err);
    if (n > 1 && !confirm(o, "This revokes the consent of %s for %s, and ends %s. Go on?", o->subject, o->client,
                          sessions_words(n, number)))
        return EXIT_DECLINED;
    if (otok_consent_revoke(p->service, o->subject, o->client, &n, &err) != OTOK_OK)
        return complain("revoking the consent", &err);
    if (!o->json) {
        printf("The consent is revoked; sessions that ended with it: %s\n", number_words(n, number));
        return EXIT_DONE;
    }
    cJSON *json = cJSON_CreateObject();
    json_add_filter(json, filter, p->realm);
    json_add_count(json, "revoked", n);
    return json_print(json);
}

int command_consents(const options *o)
{
    const char *verb = o->narguments != 0 ? o->arguments[0] : "list";
    bool revokes = strcmp(verb, "revoke") == 0;
    otok_filter filter;
    place p;
    if (!revokes && strcmp(verb, "list") != 0)
        return complain_usage("consents list, or consents revoke");
    int rc = filter_read(o, FILTER_REALM, &filter);
    if (rc == EXIT_DONE)
        rc = place_open(o, OPEN_SERVICE, !revokes, &p);
    if (rc != EXIT_DONE)
        return rc;
    rc = revokes ? revoke_consent(o, &p, &filter) : list_consents(o, &p, &filter);
    place_close(&p);
    return rc;
}

/* ------------------------------------------------------------------------------------------------------- subject */

int command_subject(const options *o)
{
    char *text = NULL, *escaped = NULL;
    otok_error err;
    place p;
    int rc = place_open(o, OPEN_SERVICE, true, &p);
    if (rc != EXIT_DONE)
        return rc;
    if (otok_subject_export(p.service, o->arguments[0], &text, &err) != OTOK_OK)
        rc = complain(o->arguments[0], &err);
    else if ((escaped = text_escape(text, true)) == NULL)
        rc = complain_memory();
    else
        puts(escaped);
    free(escaped);
    otok_string_free(text);
    place_close(&p);
    return rc;
}

/* ------------------------------------------------------------------------------------------------------- erase */

static int print_erased(const options *o, const place *p, const otok_filter *filter, uint64_t n)
{
    char number[NUMBER_ROOM];
    if (!o->json) {
        printf("Removed records: %s\n", number_words(n, number));
        return EXIT_DONE;
    }
    cJSON *json = cJSON_CreateObject();
    json_add_filter(json, filter, p->realm);
    json_add_count(json, "erased", n);
    return json_print(json);
}

static int erase(const options *o, place *p, const otok_filter *filter)
{
    char number[NUMBER_ROOM];
    progress bar;
    otok_error err;
    uint64_t n = 0;
    if (otok_count(p->service, filter, &n, &err) != OTOK_OK)
        return complain("counting", &err);
    char *whose = filter_words(filter, p->realm);
    if (whose == NULL)
        return complain_memory();
    bool go = confirm(o, "This removes everything %s for good, and ends %s. Go on?", whose, sessions_words(n, number));
    free(whose);
    if (!go)
        return EXIT_DECLINED;
    progress_begin(&bar, o, "erasing");
    p->progress = &bar;
    int code = otok_erase(p->service, filter, &n, &err);
    p->progress = NULL;
    progress_end(&bar);
    return code == OTOK_OK ? print_erased(o, p, filter, n) : complain("erasing", &err);
}

int command_erase(const options *o)
{
    otok_filter filter;
    place p;
    if (o->subject != NULL && o->client != NULL)
        return complain_usage("erase takes --subject or --client, not both");
    int rc = filter_read(o, FILTER_REQUIRED, &filter);
    if (rc == EXIT_DONE)
        rc = place_open(o, OPEN_SERVICE, false, &p);
    if (rc != EXIT_DONE)
        return rc;
    rc = erase(o, &p, &filter);
    place_close(&p);
    return rc;
}
