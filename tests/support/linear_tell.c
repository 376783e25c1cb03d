/*
 * linear_tell.c - a history in words.
 *
 * SPDX-License-Identifier: MIT
 */
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <offlinetok/offlinetok.h>

#include "support/linear.h"

typedef struct page {
    char *out;
    size_t size, at;
} page;

static void add(page *p, const char *format, ...) __attribute__((__format__(__printf__, 2, 3)));
static void add(page *p, const char *format, ...)
{
    va_list args;
    if (p->at >= p->size)
        return;
    va_start(args, format);
    int n = vsnprintf(p->out + p->at, p->size - p->at, format, args);
    va_end(args);
    p->at += n > 0 ? (size_t)n : 0;
}

static void add_number(page *p, const char *name, int64_t number)
{
    if (number >= LINEAR_NO_LIMIT)
        add(p, ", %s unlimited", name);
    else
        add(p, ", %s %" PRId64, name, number);
}

static void add_rules(page *p, const linear_rules *rules)
{
    static const char *const reuse[] = {"ends the session", "is refused", "ends the session", "ends the pair"};
    add(p, "reuse %s", reuse[rules->reuse]);
    add_number(p, "retry_window_s", rules->retry_window_s);
    add_number(p, "retry_limit", rules->retry_limit);
    add_number(p, "rotate_after_s", rules->rotate_after_s);
    add_number(p, "idle_timeout_s", rules->idle_s);
    add(p, "\n");
}

static void add_answer(page *p, const linear_event *event)
{
    static const char *const outcomes[] = {"", "issued", "kept", "advanced", "retried"};
    if (event->unknown)
        add(p, "may have happened since, or never");
    else if (event->kind == LINEAR_LIST && event->code == OTOK_OK && event->shown)
        add(p, "shown, generation %u", event->generation);
    else if (event->kind == LINEAR_LIST && event->code == OTOK_OK)
        add(p, "not shown");
    else
        add(p, "%s", otok_error_name(event->code));
    if (event->unknown || event->code != OTOK_OK)
        return;
    if (event->kind == LINEAR_REFRESH && event->outcome >= 0 && event->outcome <= OTOK_OUTCOME_RETRIED)
        add(p, ", %s, generation %u", outcomes[event->outcome], event->generation);
    else if (event->kind == LINEAR_GET)
        add(p, ", %s, generation %u, %u retries", event->outcome == OTOK_OK ? "live" : otok_error_name(event->outcome),
            event->generation, event->retries);
}

static void add_event(page *p, const linear_event *event)
{
    static const char *const kinds[] = {"issue",           "refresh", "revoke_token", "revoke_session", "cutoff_set",
                                        "revoke_matching", "list",    "session_get",  "sweep",          "advance"};
    char answered[16] = "";
    if (!event->unknown)
        (void)snprintf(answered, sizeof answered, "%u", event->answered);
    add(p, "%5u ..%5s  client %u at %" PRId64 " s: %s", event->invoked, answered, event->client, event->now_s,
        kinds[event->kind]);
    if (event->kind == LINEAR_REFRESH)
        add(p, "(generation %u)", event->presented);
    add(p, " -> ");
    add_answer(p, event);
    add(p, "\n");
}

static int by_beginning(const void *a, const void *b)
{
    uint32_t x = ((const linear_event *)a)->invoked, y = ((const linear_event *)b)->invoked;
    return (x > y) - (x < y);
}

void linear_tell(const linear_rules *rules, const linear_event *events, size_t n, char *out, size_t size)
{
    page p = {out, size, 0};
    linear_event *sorted = calloc(n + 1, sizeof *sorted);
    for (size_t i = 0; sorted != NULL && i < n; i++)
        sorted[i] = events[i];
    if (sorted != NULL)
        qsort(sorted, n, sizeof *sorted, by_beginning);
    add_rules(&p, rules);
    for (size_t i = 0; sorted != NULL && i < n; i++)
        add_event(&p, &sorted[i]);
    free(sorted);
}
