/*
 * policy.c - a policy's defaults, and what makes no sense (T1, L3).
 *
 * SPDX-License-Identifier: MIT
 */
#include "session/session.h"

enum {
    IDLE_TIMEOUT_S = 30 * 86400,
    RETRY_WINDOW_S = 10,
    RETRY_WINDOW_CONSTRAINED_S = 60, /* who cannot be robbed of a token may take longer over a lost response */
    CLOCK_SKEW_S = 2,
    TOUCH_INTERVAL_S = 300,
    TOUCH_FRACTION = 10, /* of the idle timeout */
    SWEEP_GRACE_S = 86400,
    SWEEP_GRACE_MAX_S = 30 * 86400, /* every session is looked at that often */
    ACCESS_TOKEN_S = 300
};

void otok_policy_init(otok_policy *policy, size_t size)
{
    otok_struct_init(policy, size);
}

static int check_choice(int32_t value, int32_t last, const char *member, otok_error *err)
{
    if (value < 0 || value > last)
        return otok_fail(err, OTOK_E_POLICY, "policy.%s has no value %d", member, value);
    return OTOK_OK;
}

static int check_choices(const otok_policy *p, otok_error *err)
{
    const struct {
        int32_t value, last;
        const char *member;
    } choices[] = {
        {p->rotation, OTOK_ROTATION_AUTO, "rotation"},
        {p->reuse, OTOK_REUSE_END_PAIR, "reuse"},
        {p->ahead, OTOK_AHEAD_REFUSE, "ahead"},
        {p->overlong, OTOK_OVERLONG_DROP, "overlong"},
        {p->access_token, OTOK_OFF, "access_token"},
        {p->access_token_revocation, OTOK_OFF, "access_token_revocation"},
    };
    for (size_t i = 0; i < sizeof choices / sizeof choices[0]; i++) {
        int rc = check_choice(choices[i].value, choices[i].last, choices[i].member, err);
        if (rc != OTOK_OK)
            return rc;
    }
    return OTOK_OK;
}

static int check_durations(const otok_policy *p, otok_error *err)
{
    const struct {
        int64_t value;
        const char *member;
    } durations[] = {
        {p->idle_timeout_s, "idle_timeout_s"},
        {p->max_lifetime_s, "max_lifetime_s"},
        {p->retry_window_s, "retry_window_s"},
        {p->retry_limit, "retry_limit"},
        {p->clock_skew_s, "clock_skew_s"},
        {p->rotate_after_s, "rotate_after_s"},
        {p->touch_interval_s, "touch_interval_s"},
        {p->sweep_grace_s, "sweep_grace_s"},
        {p->access_token_lifetime_s, "access_token_lifetime_s"},
        {p->id_token_lifetime_s, "id_token_lifetime_s"},
    };
    for (size_t i = 0; i < sizeof durations / sizeof durations[0]; i++) {
        if (durations[i].value < 0)
            return otok_fail(err, OTOK_E_POLICY, "policy.%s is negative", durations[i].member);
    }
    return OTOK_OK;
}

static int64_t or_default_us(int64_t seconds, int64_t default_s)
{
    return otok_seconds_to_us(seconds != 0 ? seconds : default_s);
}

/* Also so many seconds that they do not fit in microseconds. */
static bool is_unbounded(int64_t seconds)
{
    return otok_seconds_to_us(seconds) == OTOK_UNLIMITED;
}

static int64_t lesser(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

static bool rotates(const otok_policy *p, bool is_public, bool is_bound)
{
    if (p->rotation == OTOK_ROTATION_NEVER)
        return false;
    return p->rotation == OTOK_ROTATION_ALWAYS || (is_public && !is_bound); /* RFC 9700 section 4.14 */
}

int otok_rules_of(const otok_policy *p, bool is_public, bool is_bound, otok_rules *out, otok_error *err)
{
    int rc = check_choices(p, err);
    if (rc == OTOK_OK)
        rc = check_durations(p, err);
    if (rc != OTOK_OK)
        return rc;
    if (is_unbounded(p->retry_window_s) && (p->retry_limit == 0 || p->retry_limit == OTOK_UNLIMITED))
        return otok_fail(err, OTOK_E_POLICY,
                         "policy.retry_window_s is unlimited, so policy.retry_limit must have a bound");
    if (p->retry_limit > UINT16_MAX && p->retry_limit != OTOK_UNLIMITED)
        return otok_fail(err, OTOK_E_POLICY, "policy.retry_limit is more than 65535");
    if (p->sweep_grace_s > SWEEP_GRACE_MAX_S)
        return otok_fail(err, OTOK_E_POLICY, "policy.sweep_grace_s is more than 30 days");
    if (is_unbounded(p->clock_skew_s))
        return otok_fail(err, OTOK_E_POLICY, "policy.clock_skew_s must have a bound");

    *out = (otok_rules){
        .rotates = rotates(p, is_public, is_bound),
        .reuse = p->reuse != OTOK_REUSE_DEFAULT ? p->reuse : OTOK_REUSE_END_SESSION,
        .ahead = p->ahead != OTOK_AHEAD_DEFAULT ? p->ahead : OTOK_AHEAD_ANSWER,
        .overlong = p->overlong != OTOK_OVERLONG_DEFAULT ? p->overlong : OTOK_OVERLONG_REFUSE,
        .idle_us = or_default_us(p->idle_timeout_s, IDLE_TIMEOUT_S),
        .max_us = or_default_us(p->max_lifetime_s, OTOK_UNLIMITED),
        .retry_window_us =
            or_default_us(p->retry_window_s, is_public && !is_bound ? RETRY_WINDOW_S : RETRY_WINDOW_CONSTRAINED_S),
        .retry_limit = p->retry_limit != 0 ? p->retry_limit : OTOK_UNLIMITED,
        .clock_skew_us = or_default_us(p->clock_skew_s, CLOCK_SKEW_S),
        .touch_us = or_default_us(p->touch_interval_s, TOUCH_INTERVAL_S),
        .sweep_grace_us = or_default_us(p->sweep_grace_s, SWEEP_GRACE_S),
        .access_token = p->access_token != OTOK_OFF,
        .access_token_revocation = p->access_token_revocation != OTOK_OFF,
        .access_token_us = or_default_us(p->access_token_lifetime_s, ACCESS_TOKEN_S),
    };
    out->id_token_us = p->id_token_lifetime_s != 0 ? otok_seconds_to_us(p->id_token_lifetime_s) : out->access_token_us;
    out->rotate_after_us = otok_seconds_to_us(p->rotate_after_s);
    /* Without a window in time the number of retries bounds them, and nothing else holds rotation back. */
    if (out->retry_window_us != OTOK_UNLIMITED && out->rotate_after_us < out->retry_window_us)
        out->rotate_after_us = out->retry_window_us;
    otok_rules_tighten(out, 0, 0);
    return OTOK_OK;
}

void otok_rules_tighten(otok_rules *rules, int64_t idle_timeout_s, int64_t max_lifetime_s)
{
    if (idle_timeout_s > 0)
        rules->idle_us = lesser(rules->idle_us, otok_seconds_to_us(idle_timeout_s));
    if (max_lifetime_s > 0)
        rules->max_us = lesser(rules->max_us, otok_seconds_to_us(max_lifetime_s));
    rules->touch_us = lesser(rules->touch_us, rules->idle_us / TOUCH_FRACTION);
}
