/*
 * linear_model.c - one session, as it would be if calls were made one after another (R6, T1 to T4, V1 to V5, L6, Q4).
 *
 * SPDX-License-Identifier: MIT
 */
#include <string.h>

#include <offlinetok/offlinetok.h>

#include "support/linear.h"

static int64_t later(int64_t a, int64_t b)
{
    return a > b ? a : b;
}

static int64_t age_s(int64_t now_s, int64_t since_s)
{
    return later(now_s - since_s, 0);
}

static bool has_expired(const linear_rules *rules, const linear_state *state, int64_t now_s)
{
    return now_s >= state->refreshed_s + rules->idle_s + rules->touch_s;
}

bool linear_looks(const linear_event *event)
{
    return event->kind == LINEAR_LIST || event->kind == LINEAR_GET;
}

static bool says(const linear_event *event, int32_t code)
{
    return event->unknown || event->code == code;
}

static bool answers(const linear_event *event, int32_t outcome, uint32_t generation)
{
    return event->unknown || (event->code == OTOK_OK && event->outcome == outcome && event->generation == generation);
}

/* ---------------------------------------------------------------------------------------------------------- refresh */

static void touch(const linear_rules *rules, const linear_event *event, linear_state *to)
{
    if (event->now_s - to->refreshed_s >= rules->touch_s)
        to->refreshed_s = event->now_s;
}

static int present_current(const linear_rules *rules, const linear_event *event, linear_state *to)
{
    int64_t since_s = to->generation != 0 ? to->rotated_s : to->started_s;
    if (age_s(event->now_s, since_s) < rules->rotate_after_s) {
        touch(rules, event, to);
        return answers(event, OTOK_OUTCOME_KEPT, to->generation);
    }
    to->generation++;
    to->retries = 0;
    to->rotated_s = later(to->rotated_s, event->now_s);
    to->refreshed_s = later(to->refreshed_s, event->now_s);
    return answers(event, OTOK_OUTCOME_ADVANCED, to->generation);
}

/*
 * A cutoff may come between what a reuse reads and what it removes, so its record may be there still.  When the pair is ended,
 * that is a cutoff of its own, some time after: where there is an answer, it is an event of its own.
 */
static int present_older(const linear_rules *rules, const linear_event *event, linear_state *to)
{
    if (rules->reuse == OTOK_REUSE_END_SESSION || (rules->reuse == OTOK_REUSE_END_PAIR && event->unknown))
        to->phase = LINEAR_ENDED;
    return says(event, OTOK_E_TOKEN_REUSED);
}

static int present_previous(const linear_rules *rules, const linear_event *event, linear_state *to)
{
    if (age_s(event->now_s, to->rotated_s) > rules->retry_window_s + rules->clock_skew_s)
        return present_older(rules, event, to);
    if (to->retries >= rules->retry_limit)
        return says(event, OTOK_E_TOKEN_RETRIES);
    touch(rules, event, to);
    if (rules->retry_limit != LINEAR_NO_LIMIT) { /* counted, which is a write, and so a use */
        to->retries++;
        to->refreshed_s = later(to->refreshed_s, event->now_s);
    }
    return answers(event, OTOK_OUTCOME_RETRIED, to->generation);
}

static int refresh(const linear_rules *rules, const linear_event *event, linear_state *to)
{
    if (to->phase == LINEAR_GONE)
        return says(event, OTOK_E_TOKEN_UNKNOWN);
    if (to->phase == LINEAR_ENDED) { /* its record goes some time after */
        if (event->code == OTOK_E_TOKEN_UNKNOWN)
            to->phase = LINEAR_GONE;
        return says(event, OTOK_E_TOKEN_REVOKED) || says(event, OTOK_E_TOKEN_UNKNOWN);
    }
    if (has_expired(rules, to, event->now_s))
        return says(event, OTOK_E_TOKEN_EXPIRED);
    if (event->presented > to->generation) /* it was given out, and then forgotten */
        return 0;
    if (event->presented == to->generation)
        return present_current(rules, event, to);
    return event->presented + 1 == to->generation ? present_previous(rules, event, to)
                                                  : present_older(rules, event, to);
}

/* ----------------------------------------------------------------------------------------------------------- others */

static int issue(const linear_event *event, linear_state *to)
{
    if (to->phase != LINEAR_UNBORN)
        return 0;
    to->phase = LINEAR_LIVE;
    to->started_s = to->refreshed_s = event->now_s;
    return says(event, OTOK_OK);
}

static int revoke_token(const linear_event *event, linear_state *to)
{
    to->phase = LINEAR_GONE;
    return says(event, OTOK_OK);
}

static int revoke_session(const linear_event *event, linear_state *to)
{
    bool may_be_there = to->phase != LINEAR_GONE, may_be_gone = to->phase != LINEAR_LIVE;
    to->phase = LINEAR_GONE;
    return (may_be_there && says(event, OTOK_OK)) || (may_be_gone && says(event, OTOK_E_NOT_FOUND));
}

static int cut(const linear_event *event, linear_state *to)
{
    if (to->phase == LINEAR_LIVE)
        to->phase = LINEAR_ENDED;
    return says(event, OTOK_OK);
}

static int list(const linear_rules *rules, const linear_event *event, const linear_state *state)
{
    bool is_live = state->phase == LINEAR_LIVE && !has_expired(rules, state, event->now_s);
    if (event->code != OTOK_OK || event->shown != is_live)
        return 0;
    return !is_live || event->generation == state->generation;
}

static int get(const linear_rules *rules, const linear_event *event, linear_state *to)
{
    int32_t lifetime = has_expired(rules, to, event->now_s) ? OTOK_E_TOKEN_EXPIRED : OTOK_OK;
    if (to->phase == LINEAR_LIVE)
        return event->code == OTOK_OK && event->outcome == lifetime && event->generation == to->generation &&
               event->retries == to->retries;
    if (to->phase == LINEAR_ENDED && event->code == OTOK_OK)
        return event->outcome == OTOK_E_TOKEN_REVOKED;
    to->phase = LINEAR_GONE;
    return event->code == OTOK_E_NOT_FOUND;
}

/* A sweep may remove what has expired, and never what is alive.  It answers nothing that says so. */
static int sweep(const linear_rules *rules, const linear_event *event, linear_state to[2])
{
    if (to->phase != LINEAR_LIVE || !has_expired(rules, to, event->now_s))
        return 1;
    to[1] = to[0];
    to[1].phase = LINEAR_GONE;
    return 2;
}

int linear_apply(const linear_rules *rules, const linear_event *event, const linear_state *from, linear_state to[2])
{
    to[0] = *from;
    bool of_a_known_one = event->kind == LINEAR_REFRESH || event->kind == LINEAR_REVOKE_TOKEN ||
                          event->kind == LINEAR_REVOKE_SESSION || event->kind == LINEAR_GET;
    if (from->phase == LINEAR_UNBORN && of_a_known_one)
        return 0;
    switch (event->kind) {
    case LINEAR_ISSUE:
        return issue(event, to);
    case LINEAR_REFRESH:
        return refresh(rules, event, to);
    case LINEAR_REVOKE_TOKEN:
        return revoke_token(event, to);
    case LINEAR_REVOKE_SESSION:
        return revoke_session(event, to);
    case LINEAR_CUTOFF:
    case LINEAR_MATCHING:
        return cut(event, to);
    case LINEAR_LIST:
        return list(rules, event, to);
    case LINEAR_GET:
        return get(rules, event, to);
    default:
        return sweep(rules, event, to);
    }
}
