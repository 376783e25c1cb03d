/*
 * lifetime.c - whether a session lives, as a pure function (L1 to L6).
 *
 * SPDX-License-Identifier: MIT
 */
#include "session/rules.h"

enum { SWEEP_DAYS = 30 };

static int64_t earlier(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

otok_lifetime otok_lifetime_of(const otok_lifetime_in *in, const otok_rules *rules)
{
    otok_lifetime life = {.verdict = OTOK_OK};
    /* Last use is written at most once per touch interval, so the timeout is that much longer, in the client's favour (R9). */
    life.idle_expires_us = otok_time_add(otok_time_add(in->refreshed_us, rules->idle_us), rules->touch_us);
    life.max_expires_us = otok_time_add(in->started_us, rules->max_us);
    life.expires_us = earlier(life.idle_expires_us, life.max_expires_us);

    if (in->cutoff_us != INT64_MIN && in->created_us <= in->cutoff_us)
        life.verdict = OTOK_E_TOKEN_REVOKED;
    else if (life.expires_us != OTOK_UNLIMITED && in->now_us >= life.expires_us)
        life.verdict = OTOK_E_TOKEN_EXPIRED;
    return life;
}

int64_t otok_time_forward(int64_t stored_us, int64_t now_us)
{
    return stored_us > now_us ? stored_us : now_us;
}

int64_t otok_sweep_due(int64_t expires_us, int64_t now_us)
{
    return earlier(expires_us, otok_time_add(now_us, SWEEP_DAYS * OTOK_DAY_US));
}
