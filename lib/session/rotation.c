/*
 * rotation.c - what to do with a genuine token, as a pure function (T1 to T5, P4).
 *
 * SPDX-License-Identifier: MIT
 */
#include "session/rules.h"

/* The age of something stored; a clock that went back makes nothing younger than new (L5). */
static int64_t age_us(int64_t now_us, int64_t since_us)
{
    int64_t age;
    if (now_us <= since_us)
        return 0;
    return __builtin_sub_overflow(now_us, since_us, &age) ? INT64_MAX : age;
}

/*
 * A current token is young for rotate_after_us.  A time of rotation more than a day ahead comes from a clock that has been
 * corrected since: honouring it would stop rotation until that day, so it counts as long ago.
 */
static bool is_due(const otok_rotation_in *in, const otok_rules *rules)
{
    int64_t since_us = in->rotated_us != 0 ? in->rotated_us : in->started_us;
    return since_us > otok_time_add(in->now_us, OTOK_DAY_US) || age_us(in->now_us, since_us) >= rules->rotate_after_us;
}

static int decide_current(const otok_rotation_in *in, const otok_rules *rules)
{
    if (!rules->rotates || in->current == UINT32_MAX) /* at the last generation it stops: it never wraps */
        return OTOK_ROTATION_KEEP;
    return is_due(in, rules) ? OTOK_ROTATION_ADVANCE : OTOK_ROTATION_KEEP;
}

/*
 * Another node may have stamped the rotation: its clock may be ahead of ours (age 0) or behind (the skew).  Until the
 * current token is used for the first time there is no moment to count from, and the token of the system before stays
 * good (P4).
 */
static int decide_previous(const otok_rotation_in *in, const otok_rules *rules)
{
    if (in->unused)
        return OTOK_ROTATION_RETRY;
    int64_t window_us = otok_time_add(rules->retry_window_us, rules->clock_skew_us);
    if (in->rotated_us == 0 || age_us(in->now_us, in->rotated_us) > window_us)
        return OTOK_ROTATION_REUSE;
    bool nonsense =
        in->rotated_us > otok_time_add(in->now_us, OTOK_DAY_US); /* of a clock that has been corrected since */
    return nonsense || in->retries >= rules->retry_limit ? OTOK_ROTATION_EXHAUSTED : OTOK_ROTATION_RETRY;
}

int otok_rotation_decide(const otok_rotation_in *in, const otok_rules *rules)
{
    if (in->presented > in->current)
        return OTOK_ROTATION_AHEAD;
    if (in->presented == in->current)
        return decide_current(in, rules);
    if (in->presented == in->current - 1)
        return decide_previous(in, rules);
    return OTOK_ROTATION_REUSE;
}
