/*
 * linear_search.c - is there an order that explains a history?  Wing and Gong, Testing and Verifying Concurrent Objects
 * (1993); the memory of what was tried: Lowe, Testing for Linearizability (2017).
 *
 * SPDX-License-Identifier: MIT
 */
#include <stdlib.h>
#include <string.h>

#include <offlinetok/offlinetok.h>

#include "support/linear.h"

/* Where the search has been: which events lie behind it, and what they led to. */
typedef struct place {
    uint64_t done; /* 0: none, a place of the table that is free */
    linear_state state;
} place;

typedef struct search {
    const linear_rules *rules;
    const linear_event *events;
    size_t n;
    uint64_t known; /* events with an answer: all have to be explained */
    place *places;
    size_t nplaces, room; /* a power of two */
} search;

/* ------------------------------------------------------------------------------------------------------- its memory */

static size_t slot_of(const search *s, const place *p)
{
    const unsigned char *bytes = (const unsigned char *)p;
    uint64_t hash = UINT64_C(0xcbf29ce484222325);
    for (size_t i = 0; i < sizeof *p; i++)
        hash = (hash ^ bytes[i]) * UINT64_C(0x100000001b3);
    size_t at = (size_t)(hash ^ hash >> 32) & (s->room - 1);
    while (s->places[at].done != 0 && memcmp(&s->places[at], p, sizeof *p) != 0)
        at = (at + 1) & (s->room - 1);
    return at;
}

static void grow(search *s)
{
    place *old = s->places;
    size_t nold = s->room;
    s->room = nold != 0 ? nold * 2 : 256;
    s->places = calloc(s->room, sizeof *s->places);
    if (s->places == NULL)
        abort();
    for (size_t i = 0; i < nold; i++) {
        if (old[i].done != 0)
            s->places[slot_of(s, &old[i])] = old[i];
    }
    free(old);
}

/* False when the search has been there. */
static bool is_new(search *s, uint64_t done, const linear_state *state)
{
    const place here = {done, *state};
    if (done == 0)
        return true;
    if (2 * (s->nplaces + 1) > s->room)
        grow(s);
    size_t at = slot_of(s, &here);
    if (s->places[at].done != 0)
        return false;
    s->places[at] = here;
    s->nplaces++;
    return true;
}

/* ------------------------------------------------------------------------------------------------------- the search */

static uint64_t bit(size_t i)
{
    return UINT64_C(1) << i;
}

/* Whatever begins behind the first answer that is not explained yet has to wait for it. */
static uint32_t first_answer(const search *s, uint64_t done)
{
    uint32_t first = UINT32_MAX;
    for (size_t i = 0; i < s->n; i++) {
        if ((s->known & ~done & bit(i)) != 0 && s->events[i].answered < first)
            first = s->events[i].answered;
    }
    return first;
}

static bool changes(const linear_state *from, const linear_state *to)
{
    return memcmp(from, to, sizeof *from) != 0;
}

/*
 * Known events that fit now and change nothing are explained at once: wherever later they fitted, they would change nothing
 * either.  But before the session is born only those that look: a cutoff that ends nobody may be there to end it.
 */
static bool take_one_that_fits(const search *s, const linear_state *state, uint64_t *done)
{
    uint32_t until = first_answer(s, *done);
    linear_state to[2];
    for (size_t i = 0; i < s->n; i++) {
        const linear_event *event = &s->events[i];
        if ((s->known & ~*done & bit(i)) == 0 || event->invoked > until)
            continue;
        if (state->phase == LINEAR_UNBORN && !linear_looks(event))
            continue;
        if (linear_apply(s->rules, event, state, to) == 1 && !changes(state, &to[0])) {
            *done |= bit(i);
            return true;
        }
    }
    return false;
}

static bool go_on(search *s, uint64_t done, const linear_state *state);

static bool try_one(search *s, size_t i, uint64_t done, const linear_state *state)
{
    linear_state to[2];
    int n = linear_apply(s->rules, &s->events[i], state, to);
    for (int k = 0; k < n; k++) {
        bool is_of_use = !s->events[i].unknown || changes(state, &to[k]);
        if (is_of_use && go_on(s, done | bit(i), &to[k]))
            return true;
    }
    return false;
}

static bool go_on(search *s, uint64_t done, const linear_state *state)
{
    while (take_one_that_fits(s, state, &done)) {
    }
    if ((s->known & ~done) == 0)
        return true;
    if (!is_new(s, done, state))
        return false;
    uint32_t until = first_answer(s, done);
    for (size_t i = 0; i < s->n; i++) {
        if ((done & bit(i)) == 0 && s->events[i].invoked < until && try_one(s, i, done, state))
            return true;
    }
    return false;
}

bool linear_explained(const linear_rules *rules, const linear_event *events, size_t n)
{
    search s = {.rules = rules, .events = events, .n = n};
    const linear_state unborn = {.phase = LINEAR_UNBORN};
    if (n > LINEAR_MOST_EVENTS)
        abort();
    for (size_t i = 0; i < n; i++)
        s.known |= events[i].unknown ? 0 : bit(i);
    bool explained = go_on(&s, 0, &unborn);
    free(s.places);
    return explained;
}

/* ------------------------------------------------------------------------------------------------------- shortening */

/* What was known when the answer at `moment` had come. */
static size_t known_until(const linear_event *events, size_t n, uint32_t moment, linear_event *out)
{
    size_t kept = 0;
    for (size_t i = 0; i < n; i++) {
        linear_event event = events[i];
        if (event.invoked > moment)
            continue;
        event.unknown |= event.answered > moment;
        if (!event.unknown || !linear_looks(&event))
            out[kept++] = event;
    }
    return kept;
}

static size_t up_to_the_first(const linear_rules *rules, linear_event *events, size_t n)
{
    linear_event known[LINEAR_MOST_EVENTS];
    uint32_t earliest = UINT32_MAX;
    for (size_t i = 0; i < n; i++) {
        uint32_t moment = events[i].answered;
        if (events[i].unknown || moment >= earliest)
            continue;
        if (!linear_explained(rules, known, known_until(events, n, moment, known)))
            earliest = moment;
    }
    size_t kept = known_until(events, n, earliest, known);
    memcpy(events, known, kept * sizeof *events);
    return kept;
}

/* Whoever only looks can be left out, and what others answered forgotten: neither makes anything harder to explain. */
static bool do_without(const linear_rules *rules, linear_event *events, size_t *n, size_t i)
{
    linear_event fewer[LINEAR_MOST_EVENTS];
    size_t kept = *n;
    memcpy(fewer, events, *n * sizeof *events);
    if (linear_looks(&events[i])) {
        memmove(&fewer[i], &fewer[i + 1], (--kept - i) * sizeof *fewer);
    } else {
        fewer[i].unknown = true;
    }
    if (linear_explained(rules, fewer, kept))
        return false;
    memcpy(events, fewer, kept * sizeof *fewer);
    *n = kept;
    return true;
}

/* Without an answer, and begun when every answer had been given. */
static bool is_beside_the_point(const linear_event *events, size_t n, size_t i)
{
    if (!events[i].unknown)
        return false;
    for (size_t k = 0; k < n; k++) {
        if (!events[k].unknown && events[k].answered > events[i].invoked)
            return false;
    }
    return true;
}

/* The answer that is too much. */
static size_t last_answer(const linear_event *events, size_t n)
{
    size_t last = n;
    for (size_t i = 0; i < n; i++) {
        if (!events[i].unknown && (last == n || events[i].answered > events[last].answered))
            last = i;
    }
    return last;
}

static size_t copy_without(const linear_event *events, size_t n, size_t i, linear_event *out)
{
    memcpy(out, events, i * sizeof *out);
    memcpy(out + i, events + i + 1, (n - i - 1) * sizeof *out);
    return n - 1;
}

/* Whether nothing explains these, and something would if the last answer were not. */
static bool is_the_last_too_much(const linear_rules *rules, const linear_event *events, size_t n)
{
    linear_event before[LINEAR_MOST_EVENTS];
    size_t last = last_answer(events, n);
    return last < n && !linear_explained(rules, events, n) &&
           linear_explained(rules, before, copy_without(events, n, last, before));
}

/* Of no help: with it and without it, the same answer is too much.  But a story begins with an issue. */
static bool is_of_no_help(const linear_rules *rules, const linear_event *events, size_t n, size_t i)
{
    linear_event without[LINEAR_MOST_EVENTS];
    return events[i].unknown && events[i].kind != LINEAR_ISSUE &&
           is_the_last_too_much(rules, without, copy_without(events, n, i, without));
}

size_t linear_shorten(const linear_rules *rules, linear_event *events, size_t n)
{
    n = up_to_the_first(rules, events, n);
    for (size_t i = 0; i < n;) {
        bool looked = linear_looks(&events[i]);
        bool may_go = !events[i].unknown && events[i].kind != LINEAR_ISSUE;
        bool dropped = may_go && do_without(rules, events, &n, i) && looked;
        i += !dropped;
    }
    for (size_t i = 0; i < n;) {
        if (is_beside_the_point(events, n, i) || is_of_no_help(rules, events, n, i))
            memmove(&events[i], &events[i + 1], (--n - i) * sizeof *events);
        else
            i++;
    }
    return n;
}
