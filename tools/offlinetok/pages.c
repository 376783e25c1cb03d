/*
 * pages.c - a list, page by page: for people a table, for programs one document of JSON, or with --all a line for each.
 *
 * SPDX-License-Identifier: MIT
 */
#include "tool.h"

#include <cjson/cJSON.h>
#include <stdlib.h>
#include <string.h>

int pages_begin(pages *p, const options *o, const char *const *headings, size_t n)
{
    p->o = o;
    p->now_us = time_now();
    if (!o->json)
        p->table = table_new(headings, n);
    else if (!o->all)
        p->rows = cJSON_CreateArray();
    return o->json || p->table != NULL ? EXIT_DONE : complain_memory();
}

void pages_end(pages *p)
{
    free(p->cursor);
    table_free(p->table);
    cJSON_Delete(p->rows);
}

void pages_add_row(pages *p, const char *const *cells)
{
    p->shown++;
    table_add(p->table, cells);
}

int pages_add_json(pages *p, cJSON *item)
{
    p->shown++;
    if (p->rows == NULL)
        return json_print_line(item);
    json_append(p->rows, item);
    return EXIT_DONE;
}

int pages_next(pages *p, const char *cursor)
{
    free(p->cursor);
    p->cursor = cursor != NULL ? strdup(cursor) : NULL;
    p->request.cursor = p->cursor;
    return cursor != NULL && p->cursor == NULL ? complain_memory() : EXIT_DONE;
}

/* A page may be short: it is filled by those behind it. */
int pages_show(pages *p, int (*show_page)(pages *))
{
    size_t wanted = p->o->all ? SIZE_MAX : p->request.limit;
    int rc;
    do {
        size_t left = wanted - p->shown;
        p->request.limit = left < MOST_A_PAGE ? (uint32_t)left : MOST_A_PAGE;
        rc = show_page(p);
        if (rc == EXIT_DONE && p->o->all && p->table != NULL && p->shown != 0 && !table_print(p->table, stdout))
            rc = complain_memory();
        if (ferror(stdout) != 0) /* which is said at the end */
            break;
    } while (rc == EXIT_DONE && p->cursor != NULL && p->shown < wanted);
    return rc;
}

static int finish_table(pages *p, const char *name, const char *whose)
{
    if (p->shown == 0)
        printf("No %s%s%s.\n", name, *whose != '\0' ? " " : "", whose);
    else if (!table_print(p->table, stdout))
        return complain_memory();
    if (p->cursor != NULL)
        printf("\nThere may be more: the same with --cursor %s, or with --all\n", p->cursor);
    return EXIT_DONE;
}

static int finish_document(pages *p, const char *name)
{
    cJSON *document = cJSON_CreateObject();
    json_add_filter(document, p->request.filter, p->place->realm);
    json_add(document, name, p->rows);
    p->rows = NULL;
    json_add_text(document, "next_cursor", p->cursor);
    return json_print(document);
}

int pages_finish(pages *p, const char *name, const char *whose)
{
    if (p->table != NULL)
        return finish_table(p, name, whose);
    return p->rows != NULL ? finish_document(p, name) : EXIT_DONE;
}
