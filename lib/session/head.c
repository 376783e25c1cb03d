/*
 * head.c - what a refresh decides from the head of a session, and what it writes into it.
 *
 * SPDX-License-Identifier: MIT
 */
#include "session/refresh.h"

int otok_rotation_of(const otok_loaded *session, const otok_rules *rules, uint32_t presented, int64_t now_us)
{
    const otok_head *head = &session->head;
    bool closed = head->flags & OTOK_HEAD_CLOSED;
    const otok_rotation_in in = {
        .presented = presented,
        .current = head->generation,
        .now_us = now_us,
        .started_us = closed ? head->rotated_us : session->body.started_us,
        .rotated_us = closed ? 0 : head->rotated_us,
        .retries = head->retries,
        .unused = head->flags & OTOK_HEAD_ADOPTED,
    };
    /* What was refused as a token from the future stays so, as long as the policy does. */
    if (presented == head->generation && head->flags & OTOK_HEAD_REFUSED && rules->ahead == OTOK_AHEAD_REFUSE)
        return OTOK_ROTATION_AHEAD;
    return otok_rotation_decide(&in, rules);
}

/* Enough to tell one address or user agent from another, not enough to tell which; 0: unknown. */
static int mark_of(otok_str text, uint16_t *mark, otok_error *err)
{
    uint8_t digest[OTOK_SHA256_SIZE];
    const otok_str parts[] = {otok_str_of("otok-mark"), text};
    *mark = 0;
    int rc = text.len != 0 ? otok_sha256(parts, 2, digest, err) : OTOK_OK;
    if (rc == OTOK_OK && text.len != 0)
        *mark = otok_get_u16(digest) != 0 ? otok_get_u16(digest) : 1;
    return rc;
}

int otok_attempt_read_marks(otok_attempt *a, otok_error *err)
{
    if (a->decision != OTOK_ROTATION_ADVANCE && a->decision != OTOK_ROTATION_RETRY)
        return OTOK_OK;
    int rc = mark_of(a->ip, &a->ip_mark, err);
    return rc == OTOK_OK ? mark_of(a->user_agent, &a->user_agent_mark, err) : rc;
}

/* A time of rotation never moves back (L5), unless it lies more than a day ahead: see is_due() in rotation.c.  0 means never. */
static int64_t rotation_time(int64_t stored_us, int64_t now_us)
{
    int64_t time_us = stored_us > otok_time_add(now_us, OTOK_DAY_US) ? now_us : otok_time_forward(stored_us, now_us);
    return time_us > OTOK_US_PER_MS ? time_us : OTOK_US_PER_MS;
}

static bool touch_is_due(const otok_refreshing *r, const otok_attempt *a)
{
    const otok_head *head = &a->session.head;
    return a->now_us - head->refreshed_us >= a->rules.touch_us || head->key_id != r->presented.token.key_id ||
           a->session.seal_key_id != otok_service_now_keys(r->service)->active->id;
}

static void touch(const otok_refreshing *r, otok_attempt *a)
{
    a->head.refreshed_us = otok_time_forward(a->session.head.refreshed_us, a->now_us);
    a->head.key_id = r->presented.token.key_id;
    a->head.flags &= OTOK_HEAD_CLOSED | OTOK_HEAD_ADOPTED;
}

/* The current token comes back.  The first use of one that took the place of another system's begins the window of that (P4). */
static bool keep(const otok_refreshing *r, otok_attempt *a)
{
    bool first = a->head.flags & OTOK_HEAD_ADOPTED;
    if (!first && !touch_is_due(r, a)) /* R9 */
        return false;
    touch(r, a);
    if (first) {
        a->head.flags &= (uint8_t)~OTOK_HEAD_ADOPTED;
        a->head.rotated_us = rotation_time(a->session.head.rotated_us, a->now_us);
    }
    return true;
}

static bool advance(const otok_refreshing *r, otok_attempt *a)
{
    touch(r, a);
    a->head.flags = 0;
    a->head.generation++;
    a->head.retries = 0;
    a->head.rotated_us = rotation_time(a->session.head.rotated_us, a->now_us);
    a->head.ip_mark = a->ip_mark;
    a->head.user_agent_mark = a->user_agent_mark;
    return true;
}

/* Read-only, but for the count; in a window that is longer than a touch interval it is a use too. */
static bool retry(const otok_refreshing *r, otok_attempt *a)
{
    bool limited = a->rules.retry_limit != OTOK_UNLIMITED && (a->head.flags & OTOK_HEAD_ADOPTED) == 0;
    bool counted = limited && a->head.retries < UINT16_MAX;
    if (!counted && !touch_is_due(r, a))
        return false;
    touch(r, a);
    a->head.retries = (uint16_t)(a->head.retries + counted);
    return true;
}

/* Up to what was reached; every older token is reuse again (T5). */
static bool catch_up(const otok_refreshing *r, otok_attempt *a)
{
    if (a->head.generation == r->presented.token.generation)
        return false;
    touch(r, a);
    a->head.flags = OTOK_HEAD_CLOSED | (a->rules.ahead == OTOK_AHEAD_REFUSE ? OTOK_HEAD_REFUSED : 0);
    a->head.generation = r->presented.token.generation;
    a->head.retries = 0;
    a->head.rotated_us = rotation_time(a->session.head.rotated_us, a->now_us);
    return true;
}

bool otok_attempt_make_head(const otok_refreshing *r, otok_attempt *a)
{
    a->head = a->session.head;
    switch (a->decision) {
    case OTOK_ROTATION_KEEP:
        return keep(r, a);
    case OTOK_ROTATION_ADVANCE:
        return advance(r, a);
    case OTOK_ROTATION_RETRY:
        return retry(r, a);
    default:
        return catch_up(r, a);
    }
}
