/*
 * filter.c - which sessions a command is for, and how they are called.
 *
 * SPDX-License-Identifier: MIT
 */
#include "tool.h"

#include <cjson/cJSON.h>
#include <stdlib.h>
#include <string.h>

int filter_read(const options *o, int none, otok_filter *out)
{
    bool pair = o->subject != NULL || o->client != NULL;
    int given = (pair ? 1 : 0) + (o->sid != NULL ? 1 : 0) + (o->whole_realm ? 1 : 0);
    otok_filter_init(out, sizeof *out);
    out->subject = o->subject;
    out->client_id = o->client;
    out->sid = o->sid;
    out->whole_realm = o->whole_realm || (given == 0 && none == FILTER_REALM) ? 1 : 0;
    if (given > 1)
        return complain_usage("--subject with or without --client, or --sid, or --whole-realm: one of the three");
    if (given == 0 && none == FILTER_REQUIRED)
        return complain_usage("whose: --subject, --client, both, --sid, or --whole-realm");
    return EXIT_DONE;
}

int paging_read(const options *o, otok_list_request *out)
{
    enum { DEFAULT_A_PAGE = 50 };
    otok_list_request_init(out, sizeof *out);
    bool oldest = o->order != NULL && strcmp(o->order, "oldest") == 0;
    if (o->order != NULL && !oldest && strcmp(o->order, "newest") != 0)
        return complain_usage("--order is newest or oldest");
    if (o->limit > MOST_A_PAGE)
        return complain_usage("--limit is at most %d", MOST_A_PAGE);
    out->order = oldest ? OTOK_ORDER_OLDEST_FIRST : OTOK_ORDER_NEWEST_FIRST;
    out->limit = o->limit != 0 ? (uint32_t)o->limit : DEFAULT_A_PAGE;
    out->cursor = o->cursor;
    return EXIT_DONE;
}

char *filter_words(const otok_filter *filter, const char *realm)
{
    char words[1200];
    if (filter->subject != NULL && filter->client_id != NULL)
        (void)snprintf(words, sizeof words, "of subject %s with client %s", filter->subject, filter->client_id);
    else if (filter->subject != NULL)
        (void)snprintf(words, sizeof words, "of subject %s", filter->subject);
    else if (filter->client_id != NULL)
        (void)snprintf(words, sizeof words, "of client %s", filter->client_id);
    else if (filter->sid != NULL)
        (void)snprintf(words, sizeof words, "of the SSO session %s", filter->sid);
    else
        (void)snprintf(words, sizeof words, "of the realm %s", realm);
    return text_escape(words, false);
}

void json_add_filter(cJSON *object, const otok_filter *filter, const char *realm)
{
    json_add_text(object, "realm", realm);
    if (filter->subject != NULL)
        json_add_text(object, "subject", filter->subject);
    if (filter->client_id != NULL)
        json_add_text(object, "client_id", filter->client_id);
    if (filter->sid != NULL)
        json_add_text(object, "sid", filter->sid);
}
