/*
 * time.c - times, read and shown.
 *
 * SPDX-License-Identifier: MIT
 */
#include "tool.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static const int64_t SECOND_US = 1000000;

int64_t time_now(void)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_REALTIME, &now);
    return (int64_t)now.tv_sec * SECOND_US + now.tv_nsec / 1000;
}

/* ------------------------------------------------------------------------------------------------------- shown */

static bool in_words(int64_t us, char room[TIME_ROOM])
{
    const char *word = us == OTOK_UNLIMITED ? "no limit" : us <= 0 ? "never" : NULL;
    if (word != NULL)
        (void)snprintf(room, TIME_ROOM, "%s", word);
    return word != NULL;
}

/* Two of a unit at least, so that "1 day" is not what is nearly two. */
void time_relative(int64_t us, int64_t now_us, char room[TIME_ROOM])
{
    static const struct {
        int64_t seconds;
        const char *name;
    } units[] = {{31557600, "years"}, {2629800, "months"}, {86400, "days"},
                 {3600, "hours"},     {60, "minutes"},     {1, "seconds"}};
    size_t i = 0;
    if (in_words(us, room))
        return;
    int64_t seconds = us / SECOND_US - now_us / SECOND_US, distance = seconds < 0 ? -seconds : seconds;
    while (units[i].seconds != 1 && distance < 2 * units[i].seconds)
        i++;
    int64_t n = distance / units[i].seconds;
    if (distance == 0)
        (void)snprintf(room, TIME_ROOM, "now");
    else if (n == 1) /* one second */
        (void)snprintf(room, TIME_ROOM, seconds > 0 ? "in 1 second" : "1 second ago");
    else
        (void)snprintf(room, TIME_ROOM, seconds > 0 ? "in %" PRId64 " %s" : "%" PRId64 " %s ago", n, units[i].name);
}

void time_absolute(int64_t us, char room[TIME_ROOM])
{
    struct tm tm;
    time_t seconds = (time_t)(us / SECOND_US);
    if (in_words(us, room))
        return;
    if (gmtime_r(&seconds, &tm) == NULL || strftime(room, TIME_ROOM, "%Y-%m-%dT%H:%M:%SZ", &tm) == 0)
        (void)snprintf(room, TIME_ROOM, "@%" PRId64, us / SECOND_US);
}

/* ------------------------------------------------------------------------------------------------------- read */

/* A number of seconds that is no more than ten thousand years. */
static bool read_number(const char *text, int64_t *out, const char **end)
{
    enum { MOST = 12 };
    size_t digits = strspn(text, "0123456789");
    if (digits == 0 || digits > MOST)
        return false;
    *out = strtoll(text, NULL, 10);
    *end = text + digits;
    return true;
}

/* "3d" before now. */
static bool read_distance(const char *text, int64_t now_us, int64_t *out_us)
{
    static const struct {
        char letter;
        int64_t seconds;
    } units[] = {{'s', 1}, {'m', 60}, {'h', 3600}, {'d', 86400}, {'w', 604800}};
    const char *end;
    int64_t n;
    if (!read_number(text, &n, &end) || *end == '\0' || end[1] != '\0')
        return false;
    for (size_t i = 0; i < sizeof units / sizeof units[0]; i++) {
        if (units[i].letter != *end || n > now_us / SECOND_US / units[i].seconds)
            continue;
        *out_us = now_us - n * units[i].seconds * SECOND_US;
        return true;
    }
    return false;
}

static int two_digits(const char *text)
{
    return (text[0] - '0') * 10 + text[1] - '0';
}

/* "Z", "+01:00" (RFC 3339 section 5.6). */
static bool read_offset(const char *text, int *seconds)
{
    *seconds = 0;
    if (strcmp(text, "Z") == 0 || strcmp(text, "z") == 0)
        return true;
    bool fits = strlen(text) == 6 && (*text == '+' || *text == '-') && strspn(text + 1, "0123456789") == 2 &&
                text[3] == ':' && strspn(text + 4, "0123456789") == 2;
    if (!fits || two_digits(text + 1) > 23 || two_digits(text + 4) > 59)
        return false;
    *seconds = (*text == '-' ? -1 : 1) * (two_digits(text + 1) * 3600 + two_digits(text + 4) * 60);
    return true;
}

static bool read_date(const char *text, int64_t *out_us)
{
    struct tm tm = {0};
    int offset = 0;
    if (strspn(text, "0123456789") != 4)
        return false;
    const char *end = strptime(text, "%Y-%m-%d", &tm);
    if (end != NULL && *end != '\0') {
        end = *end == 'T' || *end == 't' || *end == ' ' ? strptime(end + 1, "%H:%M:%S", &tm) : NULL;
        if (end != NULL && *end == '.')
            end += 1 + strspn(end + 1, "0123456789");
        if (end == NULL || !read_offset(end, &offset))
            return false;
    }
    const struct tm said = tm;
    time_t seconds = end != NULL ? timegm(&tm) : 0;
    if (seconds <= offset || tm.tm_mday != said.tm_mday) /* timegm() makes March of February 30 */
        return false;
    *out_us = ((int64_t)seconds - offset) * SECOND_US;
    return true;
}

bool time_read(const char *text, int64_t now_us, int64_t *out_us)
{
    const char *end;
    if (strcmp(text, "now") == 0) {
        *out_us = OTOK_NOW;
        return true;
    }
    if (*text == '-')
        return read_distance(text + 1, now_us, out_us) && *out_us > 0;
    if (*text != '@')
        return read_date(text, out_us);
    bool is_number = read_number(text + 1, out_us, &end) && *end == '\0' && *out_us > 0;
    *out_us *= SECOND_US;
    return is_number;
}
