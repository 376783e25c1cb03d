/*
 * session_walk.c - all sessions of a filter, page by page.
 *
 * SPDX-License-Identifier: MIT
 */
#include <stdlib.h>
#include <string.h>

#include "server.h"

enum { PAGE = 500 };

int sessions_each(server *s, const otok_filter *filter, bool (*look)(void *arg, const otok_session *session), void *arg,
                  otok_error *err)
{
    otok_list_request query;
    bool goes_on = true;
    char *cursor = NULL;
    int code;
    otok_list_request_init(&query, sizeof query);
    query.filter = filter;
    query.order = OTOK_ORDER_OLDEST_FIRST;
    query.limit = PAGE;
    do {
        otok_page *page = NULL;
        query.cursor = cursor;
        code = otok_list(s->service, &query, &page, err);
        free(cursor);
        cursor = NULL;
        for (size_t i = 0; code == OTOK_OK && goes_on && i < page->count; i++)
            goes_on = look(arg, page->sessions[i]);
        if (code == OTOK_OK && goes_on && page->next_cursor != NULL && (cursor = strdup(page->next_cursor)) == NULL)
            code = out_of_memory(err);
        otok_page_free(page);
    } while (code == OTOK_OK && cursor != NULL);
    return code;
}
