/*
 * html.c - pages, in which nothing is forgotten to be escaped: what is not marked as HTML of our own is text.
 *
 * SPDX-License-Identifier: MIT
 */
#include "server.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { FIRST_ROOM = 1024 };

int out_of_memory(otok_error *err)
{
    *err = (otok_error){.code = OTOK_E_NOMEM, .message = "out of memory"};
    return OTOK_E_NOMEM;
}

void text_free(text *t)
{
    if (t->data != NULL)
        explicit_bzero(t->data, t->room);
    free(t->data);
    *t = (text){0};
}

/* Room for so many bytes more, and the NUL.  What is left behind is wiped, which realloc() would not do. */
static bool make_room(text *t, size_t more)
{
    if (t->failed || more >= SIZE_MAX / 2 - t->len)
        return false;
    size_t need = t->len + more + 1, room = t->room != 0 ? t->room : FIRST_ROOM;
    if (need <= t->room)
        return true;
    while (room < need)
        room *= 2;
    char *data = malloc(room);
    if (data == NULL)
        return false;
    if (t->data != NULL) {
        memcpy(data, t->data, t->len);
        explicit_bzero(t->data, t->room);
        free(t->data);
    }
    t->data = data;
    t->room = room;
    return true;
}

void text_append(text *out, const void *data, size_t len)
{
    if (!make_room(out, len)) {
        out->failed = true;
        return;
    }
    if (len != 0)
        memcpy(out->data + out->len, data, len);
    out->len += len;
    out->data[out->len] = '\0';
}

void text_add(text *out, const char *plain)
{
    if (plain != NULL)
        text_append(out, plain, strlen(plain));
}

static const char *entity_of(char c)
{
    switch (c) {
    case '&':
        return "&amp;";
    case '<':
        return "&lt;";
    case '>':
        return "&gt;";
    case '"':
        return "&quot;";
    case '\'':
        return "&#39;";
    default:
        return NULL;
    }
}

static void add_escaped(text *out, const char *plain)
{
    const char *from = plain, *at = plain;
    for (; at != NULL && *at != '\0'; at++) {
        const char *entity = entity_of(*at);
        if (entity == NULL)
            continue;
        text_append(out, from, (size_t)(at - from));
        text_add(out, entity);
        from = at + 1;
    }
    text_add(out, from);
}

/* The unreserved characters of RFC 3986 section 2.3 stay as they are. */
static void add_encoded(text *out, const char *plain)
{
    static const char unreserved[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~";
    static const char hex[] = "0123456789ABCDEF";
    for (const char *at = plain; at != NULL && *at != '\0'; at++) {
        unsigned char c = (unsigned char)*at;
        if (strchr(unreserved, c) != NULL)
            text_append(out, at, 1);
        else
            text_append(out, (const char[]){'%', hex[c >> 4], hex[c & 15]}, 3);
    }
}

static void add_number(text *out, int64_t number)
{
    char digits[24];
    int len = snprintf(digits, sizeof digits, "%" PRId64, number);
    text_append(out, digits, (size_t)len);
}

/* One conversion, whose arguments are taken by the caller, who knows their type. */
static void add_text(text *out, char conversion, const char *plain)
{
    if (conversion == 's')
        add_escaped(out, plain);
    else if (conversion == 'u')
        add_encoded(out, plain);
    else
        text_add(out, plain);
}

void html(text *out, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    for (const char *at = format; *at != '\0';) {
        size_t plain = strcspn(at, "%");
        text_append(out, at, plain);
        at += plain;
        if (*at == '\0')
            break;
        char conversion = at[1];
        if (conversion == '%') {
            text_append(out, "%", 1);
        } else if (conversion == 'd') {
            add_number(out, va_arg(args, int64_t));
        } else if (conversion != '\0' && strchr("suh", conversion) != NULL) {
            add_text(out, conversion, va_arg(args, const char *));
        } else {
            out->failed = true;
            break;
        }
        at += 2;
    }
    va_end(args);
}

/* ----------------------------------------------------------------------------------------------------------- time */

/* The largest unit of which there is at least one. */
static void add_distance(text *out, int64_t seconds)
{
    static const struct {
        int64_t seconds;
        const char *one, *many;
    } units[] = {
        {31557600, "year", "years"}, {2629800, "month", "months"}, {86400, "day", "days"},
        {3600, "hour", "hours"},     {60, "minute", "minutes"},    {1, "second", "seconds"},
    };
    size_t i = 0;
    while (units[i].seconds > seconds && units[i].seconds != 1)
        i++;
    int64_t number = seconds / units[i].seconds;
    html(out, "%d %s", number, number == 1 ? units[i].one : units[i].many);
}

static void add_relative(text *out, int64_t us, int64_t now)
{
    int64_t seconds = us / 1000000 - now / 1000000;
    if (seconds == 0) {
        text_add(out, "just now");
    } else if (seconds > 0) {
        text_add(out, "in ");
        add_distance(out, seconds);
    } else {
        add_distance(out, -seconds);
        text_add(out, " ago");
    }
}

void html_time(text *out, int64_t us, int64_t now)
{
    char machine[32], human[40];
    struct tm tm;
    time_t seconds = (time_t)(us / 1000000);
    if (us == 0 || us == OTOK_UNLIMITED) {
        text_add(out, us == 0 ? "never" : "no limit");
        return;
    }
    if (us < 0 || gmtime_r(&seconds, &tm) == NULL ||
        strftime(machine, sizeof machine, "%Y-%m-%dT%H:%M:%SZ", &tm) == 0 ||
        strftime(human, sizeof human, "%e %B %Y, %H:%M:%S UTC", &tm) == 0) {
        text_add(out, "unknown");
        return;
    }
    html(out, "<time datetime=\"%s\" title=\"%s\">", machine, human + strspn(human, " "));
    add_relative(out, us, now);
    text_add(out, "</time>");
}
