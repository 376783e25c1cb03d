/*
 * activity.c - the last two minutes of this server: what was counted in each second, and the last events.
 *
 * SPDX-License-Identifier: MIT
 */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "console.h"

/* What an event told, as far as a page shows it; texts are cut where names may be longer. */
struct entry {
    int32_t type, reason;
    uint32_t times; /* how often in a row */
    uint32_t distance, marks;
    int64_t time_us;
    char subject[256], client[256], ip[64];
};

struct second {
    uint64_t refreshed, begun, ended;
};

/* Both are rings: `seen` counts what ever went in. */
struct activity {
    pthread_mutex_t lock;
    struct second seconds[ACTIVITY_SECONDS];
    struct entry events[ACTIVITY_EVENTS];
    uint64_t seconds_seen, events_seen;
    struct second total; /* when the last second ended */
};

activity *activity_new(void)
{
    activity *a = calloc(1, sizeof *a);
    if (a != NULL && pthread_mutex_init(&a->lock, NULL) != 0) {
        free(a);
        a = NULL;
    }
    return a;
}

void activity_free(activity *a)
{
    if (a == NULL)
        return;
    pthread_mutex_destroy(&a->lock);
    free(a);
}

/* ------------------------------------------------------------------------------------------------------- what comes in */

static void copy(char *to, size_t room, const char *from)
{
    snprintf(to, room, "%s", from != NULL ? from : "");
}

static bool is_same(const char *kept, const char *told)
{
    return told != NULL && strcmp(kept, told) == 0;
}

/* What is refreshed again and again is one line, so that what is rare is not pushed out. */
static bool is_repeated(const struct entry *last, const otok_event *event)
{
    return last->type == event->type && event->type == OTOK_EVENT_REFRESHED && is_same(last->subject, event->subject) &&
           is_same(last->client, event->client_id);
}

void activity_event(activity *a, const otok_event *event)
{
    pthread_mutex_lock(&a->lock);
    struct entry *entry = &a->events[(a->events_seen + ACTIVITY_EVENTS - 1) % ACTIVITY_EVENTS];
    if (a->events_seen == 0 || !is_repeated(entry, event)) {
        entry = &a->events[a->events_seen++ % ACTIVITY_EVENTS];
        *entry = (struct entry){.type = event->type, .reason = event->reason};
        copy(entry->subject, sizeof entry->subject, event->subject);
        copy(entry->client, sizeof entry->client, event->client_id);
    }
    entry->times++;
    entry->distance = event->distance;
    entry->marks = event->marks;
    entry->time_us = event->time_us;
    copy(entry->ip, sizeof entry->ip, event->ip);
    pthread_mutex_unlock(&a->lock);
}

void activity_second(activity *a, const otok_stats *stats)
{
    const struct second now = {stats->refreshed, stats->issued, stats->revoked + stats->evicted + stats->expired};
    pthread_mutex_lock(&a->lock);
    a->seconds[a->seconds_seen++ % ACTIVITY_SECONDS] =
        (struct second){now.refreshed - a->total.refreshed, now.begun - a->total.begun, now.ended - a->total.ended};
    a->total = now;
    pthread_mutex_unlock(&a->lock);
}

/* ------------------------------------------------------------------------------------------------------------ counters */

static void show_counter(uint64_t n, const char *what, text *out)
{
    char room[NUMBER_ROOM];
    html(out, "<div><dt>%s</dt><dd>%s</dd></div>", what, number_words(n, room));
}

static void show_counters(const otok_stats *stats, text *out)
{
    html(out, "<section class=\"card\"><h2>Since this server was started</h2><dl class=\"counters\">");
    show_counter(stats->issued, "sessions begun", out);
    show_counter(stats->refreshed, "refreshes answered", out);
    show_counter(stats->rotated, "tokens rotated", out);
    show_counter(stats->retried, "retries answered again", out);
    show_counter(stats->introspected, "introspections", out);
    show_counter(stats->refused, "tokens refused", out);
    show_counter(stats->forged, "forged tokens", out);
    show_counter(stats->reuse, "old tokens reused", out);
    show_counter(stats->revoked, "sessions revoked", out);
    show_counter(stats->evicted, "sessions evicted", out);
    show_counter(stats->expired, "sessions expired", out);
    show_counter(stats->cutoffs, "cutoffs set", out);
    html(out, "</dl></section>\n");
}

/* ---------------------------------------------------------------------------------------------------------------- plot */

/* Units of the drawings, which the page stretches to its width. */
enum { STEP = 10, WIDTH = ACTIVITY_SECONDS * STEP, HEIGHT = 200 };

/* The second that ended `age` seconds ago; nothing from before the server was started. */
static struct second second_before(const activity *a, uint64_t age)
{
    if (age >= a->seconds_seen || age >= ACTIVITY_SECONDS)
        return (struct second){0};
    return a->seconds[(a->seconds_seen - 1 - age) % ACTIVITY_SECONDS];
}

static uint64_t larger(uint64_t a, uint64_t b)
{
    return a > b ? a : b;
}

/* The most in a second, and the sums. */
static void measure(const activity *a, struct second *most, struct second *sum)
{
    *most = *sum = (struct second){0};
    for (uint64_t age = 0; age < ACTIVITY_SECONDS; age++) {
        struct second s = second_before(a, age);
        *most = (struct second){larger(most->refreshed, s.refreshed), larger(most->begun, s.begun),
                                larger(most->ended, s.ended)};
        *sum = (struct second){sum->refreshed + s.refreshed, sum->begun + s.begun, sum->ended + s.ended};
    }
}

/* The end of a scale that has room for `most`: 1, 2 or 5 with noughts. */
static uint64_t scale_for(uint64_t most)
{
    static const uint64_t steps[] = {1, 2, 5};
    uint64_t decade = 1;
    for (size_t i = 0; decade < UINT64_MAX / 100; i++) {
        if (steps[i % 3] * decade >= most)
            return steps[i % 3] * decade;
        if (i % 3 == 2)
            decade *= 10;
    }
    return most;
}

/* What is there is seen, however little it is. */
static int64_t height_of(uint64_t n, uint64_t scale, int64_t height)
{
    int64_t up = (int64_t)((double)n / (double)scale * (double)height);
    return n != 0 && up < HEIGHT / 50 ? HEIGHT / 50 : up;
}

static void show_axis(text *out)
{
    html(out,
         "<p class=\"plot-scale\"><span>2 minutes ago</span><span>1 minute ago</span><span>now</span></p></figure>\n");
}

static void open_drawing(const char *description, uint64_t scale, text *out)
{
    char room[NUMBER_ROOM];
    html(out, "<p class=\"plot-scale\" aria-hidden=\"true\"><span>%s/s</span></p>", number_words(scale, room));
    html(out, "<svg role=\"img\" aria-label=\"%s\" viewBox=\"0 0 %d %d\" preserveAspectRatio=\"none\">", description,
         (int64_t)WIDTH, (int64_t)HEIGHT);
    for (int64_t x = WIDTH / 4; x < WIDTH; x += WIDTH / 4)
        html(out, "<path class=\"grid-line\" d=\"M%d 0V%d\"/>", x, (int64_t)HEIGHT);
    html(out, "<path class=\"grid-line\" d=\"M0 %dH%d\"/>", (int64_t)HEIGHT / 2, (int64_t)WIDTH);
}

static void show_refreshes(const activity *a, const struct second *most, const struct second *sum, text *out)
{
    char now[NUMBER_ROOM], peak[NUMBER_ROOM], all[NUMBER_ROOM], words[160];
    uint64_t scale = scale_for(most->refreshed);
    snprintf(words, sizeof words, "now %s/s, at most %s/s, %s in two minutes",
             number_words(second_before(a, 0).refreshed, now), number_words(most->refreshed, peak),
             number_words(sum->refreshed, all));
    html(out, "<figure class=\"plot\"><figcaption>Refreshes a second <span>%s</span></figcaption>", words);
    open_drawing("Refreshes a second over the last two minutes, as an area", scale, out);
    html(out, "<path class=\"area\" d=\"M0 %d", (int64_t)HEIGHT);
    for (uint64_t age = ACTIVITY_SECONDS; age-- > 0;)
        html(out, "V%dh%d", HEIGHT - height_of(second_before(a, age).refreshed, scale, HEIGHT), (int64_t)STEP);
    html(out, "V%dZ\"/></svg>", (int64_t)HEIGHT);
    show_axis(out);
}

/* Bars from the middle: what began goes up, what ended goes down. */
static void show_bars(const activity *a, bool begun, uint64_t scale, text *out)
{
    html(out, "<path class=\"%s\" d=\"", begun ? "begun" : "ended");
    for (uint64_t age = ACTIVITY_SECONDS; age-- > 0;) {
        struct second s = second_before(a, age);
        int64_t up = height_of(begun ? s.begun : s.ended, scale, HEIGHT / 2), x = WIDTH - (int64_t)(age + 1) * STEP;
        if (up != 0)
            html(out, "M%d %dh%dv%dh-%dZ", x, (int64_t)HEIGHT / 2, (int64_t)STEP - 1, begun ? -up : up,
                 (int64_t)STEP - 1);
    }
    html(out, "\"/>");
}

static void show_sessions(const activity *a, const struct second *most, const struct second *sum, text *out)
{
    char begun[NUMBER_ROOM], ended[NUMBER_ROOM];
    uint64_t scale = scale_for(larger(most->begun, most->ended));
    html(out,
         "<figure class=\"plot\"><figcaption>Sessions begun (up) and ended (down) a second <span>%s begun, %s ended in "
         "two "
         "minutes</span></figcaption>",
         number_words(sum->begun, begun), number_words(sum->ended, ended));
    open_drawing("Sessions begun, upwards, and ended, downwards, in each second of the last two minutes", scale, out);
    show_bars(a, true, scale, out);
    show_bars(a, false, scale, out);
    html(out, "</svg>");
    show_axis(out);
}

void html_activity(activity *a, const otok_stats *stats, text *out)
{
    struct second most, sum;
    pthread_mutex_lock(&a->lock);
    measure(a, &most, &sum);
    html(out, "<section class=\"card\"><h2>The last two minutes</h2>");
    show_refreshes(a, &most, &sum, out);
    show_sessions(a, &most, &sum, out);
    html(out, "</section>\n");
    pthread_mutex_unlock(&a->lock);
    show_counters(stats, out);
}

/* -------------------------------------------------------------------------------------------------------------- events */

struct word {
    int32_t number;
    const char *words;
};

static const struct word types[] = {
    {OTOK_EVENT_ISSUED, "Session begun"},
    {OTOK_EVENT_REFRESHED, "Refreshed"},
    {OTOK_EVENT_RETRIED, "Retry answered again"},
    {OTOK_EVENT_REFUSED, "Token refused"},
    {OTOK_EVENT_REUSE, "Old token reused"},
    {OTOK_EVENT_REVOKED, "Session revoked"},
    {OTOK_EVENT_EXPIRED, "Session expired"},
    {OTOK_EVENT_CUTOFF, "Cutoff set"},
    {OTOK_EVENT_STORE_ROLLED_BACK, "Store restored from a backup"},
    {OTOK_EVENT_EVICTED, "Session evicted"},
    {OTOK_EVENT_CONSENT_GRANTED, "Permission given"},
    {OTOK_EVENT_CONSENT_REVOKED, "Permission withdrawn"},
};

static const struct word revocations[] = {
    {OTOK_REVOKED_BY_TOKEN, "the client revoked its token"},
    {OTOK_REVOKED_BY_SESSION, "ended on a page of this server"},
    {OTOK_REVOKED_BY_FILTER, "one of many that were ended"},
    {OTOK_REVOKED_BY_CUTOFF, "swept behind a cutoff"},
    {OTOK_REVOKED_BY_REUSE, "an old token came back"},
    {OTOK_REVOKED_BY_CONSENT, "the permission was withdrawn"},
    {OTOK_REVOKED_BY_LOGOUT, "logout"},
    {OTOK_REVOKED_BY_REPLACEMENT, "another took its place"},
    {OTOK_REVOKED_BY_HOST, "this server said so"},
    {OTOK_REVOKED_BY_ONCE, "its code was used again"},
    {OTOK_REVOKED_BY_ERASURE, "everything about it was erased"},
};

static const struct word refusals[] = {
    {OTOK_E_TOKEN_UNKNOWN, "its session is gone"},
    {OTOK_E_TOKEN_EXPIRED, "expired"},
    {OTOK_E_TOKEN_REVOKED, "its session began before a cutoff"},
    {OTOK_E_TOKEN_REUSED, "superseded"},
    {OTOK_E_TOKEN_RETRIES, "retried too often"},
    {OTOK_E_TOKEN_AHEAD, "newer than the store"},
    {OTOK_E_CLIENT_MISMATCH, "another client's token"},
    {OTOK_E_SENDER, "not the key that it is bound to"},
    {OTOK_E_SCOPE, "asks for more than was granted"},
    {OTOK_E_TARGET, "asks for a resource that was not granted"},
    {OTOK_E_UNAUTHORIZED_CLIENT, "not for this client"},
    {OTOK_E_LIMIT, "too many sessions"},
    {OTOK_E_CONSENT, "the user's consent is gone"},
    {OTOK_E_DENIED, "user or client may not any more"},
    {OTOK_E_ONCE, "its code was used before"},
};

static const char *find_word(const struct word *words, size_t n, int32_t number)
{
    for (size_t i = 0; i < n; i++) {
        if (words[i].number == number)
            return words[i].words;
    }
    return NULL;
}

/* What it came of; numbers below 0 are errors of the library. */
static void show_reason(const struct entry *e, text *out)
{
    const char *words = e->reason < 0 ? find_word(refusals, sizeof refusals / sizeof *refusals, e->reason) : NULL;
    if (e->type == OTOK_EVENT_REVOKED)
        words = find_word(revocations, sizeof revocations / sizeof *revocations, e->reason);
    if (e->type == OTOK_EVENT_CUTOFF)
        words = "sessions that began before have ended";
    if (e->type == OTOK_EVENT_EVICTED)
        words = "there were too many; a newer one took its place";
    if (words == NULL && e->reason < 0)
        words = otok_error_name(e->reason);
    html(out, " <span class=\"small muted\">%s", words);
    if (e->distance != 0)
        html(out, " %d %s %s", (int64_t)e->distance, e->distance == 1 ? "generation" : "generations",
             e->type == OTOK_EVENT_REUSE ? "old" : "ahead");
    if (e->times > 1)
        html(out, "%d times", (int64_t)e->times);
    html(out, "</span>");
    if ((e->marks & (OTOK_EVENT_OTHER_IP | OTOK_EVENT_OTHER_USER_AGENT)) != 0)
        html(out, " <span class=\"badge badge-warn\">from elsewhere</span>");
}

/* What began is good, what looks like theft bad; the words say it too. */
static const char *badge_of(int32_t type)
{
    switch (type) {
    case OTOK_EVENT_ISSUED:
    case OTOK_EVENT_CONSENT_GRANTED:
        return "badge badge-good";
    case OTOK_EVENT_REUSE:
    case OTOK_EVENT_STORE_ROLLED_BACK:
        return "badge badge-bad";
    case OTOK_EVENT_REFRESHED:
        return "badge";
    default:
        return "badge badge-warn";
    }
}

/* A cutoff without a name is for all of them; a token whose session is gone tells of nobody. */
static void show_link(const struct entry *e, const char *folder, const char *name, text *out)
{
    if (*name != '\0')
        html(out, "<a href=\"/admin/%s/%u\">%s</a>", folder, name, name);
    else
        html(out, e->type == OTOK_EVENT_CUTOFF ? "all" : "not known");
}

static void show_event(const struct entry *e, int64_t now, text *out)
{
    const char *type = find_word(types, sizeof types / sizeof *types, e->type);
    html_row(out);
    html(out, "<span class=\"%s\">%s</span>", badge_of(e->type), type != NULL ? type : "Something else");
    show_reason(e, out);
    html_cell(out, "Application", NULL);
    show_link(e, "clients", e->client, out);
    html_cell(out, "User", NULL);
    show_link(e, "users", e->subject, out);
    html_cell(out, "When", NULL);
    html_time(out, e->time_us, now);
    html_cell(out, "From", NULL);
    html(out, "%s", *e->ip != '\0' ? e->ip : "this server");
}

/* The lock is held meanwhile: nothing here waits for anything, and it is done in less than a millisecond. */
void html_events(activity *a, text *out)
{
    static const char *const headings[] = {"What", "Application", "User", "When", "From", NULL};
    int64_t now = now_us();
    pthread_mutex_lock(&a->lock);
    html(out, "<section class=\"card\"><h2>Last events</h2>");
    if (a->events_seen != 0)
        html_table(out, "The newest first, of this process", headings);
    else
        html(out, "<p>Nothing has happened yet.</p>");
    for (uint64_t age = 0; age < a->events_seen && age < ACTIVITY_EVENTS; age++)
        show_event(&a->events[(a->events_seen - 1 - age) % ACTIVITY_EVENTS], now, out);
    if (a->events_seen != 0)
        html_table_end(out);
    html(out, "</section>\n");
    pthread_mutex_unlock(&a->lock);
}
