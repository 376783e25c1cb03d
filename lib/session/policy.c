/*
 * policy.c - a policy's defaults, what makes no sense, ceilings and presets (T1, L3).
 *
 * SPDX-License-Identifier: MIT
 */
#include "session/rules.h"

enum {
    IDLE_TIMEOUT_S = 30 * 86400,
    RETRY_WINDOW_S = 10,
    RETRY_WINDOW_CONSTRAINED_S = 60, /* who cannot be robbed of a token may take longer over a lost response */
    CLOCK_SKEW_S = 2,
    TOUCH_INTERVAL_S = 300,
    TOUCH_FRACTION = 10, /* of the idle timeout */
    SWEEP_GRACE_S = 86400,
    SWEEP_GRACE_MAX_S = 30 * 86400, /* every session is looked at that often */
    ACCESS_TOKEN_S = 300,
    ONCE_WINDOW_S = 60,
    ONCE_KEEP_S = 86400,
    DPOP_WINDOW_S = 60,
    DPOP_WINDOW_MAX_S = 600,      /* proofs are remembered for so long */
    ONCE_KEEP_MAX_S = 30 * 86400, /* as far ahead as a record is filed for the sweeper */
    KEYCLOAK_WINDOW_S = 10
};

void otok_policy_init(otok_policy *policy, size_t size)
{
    otok_struct_init(policy, size);
}

void otok_ceilings_init(otok_ceilings *ceilings, size_t size)
{
    otok_struct_init(ceilings, size);
}

static int check_choices(const otok_policy *p, otok_error *err)
{
    const otok_choice_rule choices[] = {
        {p->rotation, OTOK_ROTATION_AUTO, "policy.rotation"},
        {p->reuse, OTOK_REUSE_END_PAIR, "policy.reuse"},
        {p->ahead, OTOK_AHEAD_REFUSE, "policy.ahead"},
        {p->overlong, OTOK_OVERLONG_DROP, "policy.overlong"},
        {p->access_token, OTOK_OFF, "policy.access_token"},
        {p->access_token_revocation, OTOK_OFF, "policy.access_token_revocation"},
        {p->public_clients, OTOK_OFF, "policy.public_clients"},
        {p->sender_constraint, OTOK_OFF, "policy.sender_constraint"},
        {p->consent, OTOK_OFF, "policy.consent"},
        {p->at_session_limit, OTOK_AT_LIMIT_REFUSE, "policy.at_session_limit"},
        {p->once_reuse, OTOK_REUSE_END_SESSION, "policy.once_reuse"}, /* the sessions beside it came of other keys */
        {p->dpop_nonce, OTOK_OFF, "policy.dpop_nonce"},
    };
    return otok_choices_check(choices, sizeof choices / sizeof choices[0], OTOK_E_POLICY, err);
}

/* What is counted: seconds, retries, sessions. */
struct amount {
    int64_t value;
    const char *member;
};

static int check_amounts(const struct amount *amounts, size_t n, const char *what, otok_error *err)
{
    for (size_t i = 0; i < n; i++) {
        if (amounts[i].value < 0)
            return otok_fail(err, OTOK_E_POLICY, "%s.%s is negative", what, amounts[i].member);
    }
    return OTOK_OK;
}

static int check_policy_amounts(const otok_policy *p, otok_error *err)
{
    const struct amount amounts[] = {
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
        {p->session_limit, "session_limit"},
        {p->once_window_s, "once_window_s"},
        {p->once_keep_s, "once_keep_s"},
        {p->dpop_window_s, "dpop_window_s"},
    };
    return check_amounts(amounts, sizeof amounts / sizeof amounts[0], "policy", err);
}

/* Nothing is no ceiling, and so is a struct without a size. */
static otok_ceilings ceilings_or_none(const otok_ceilings *ceilings)
{
    return ceilings != NULL && ceilings->size != 0 ? *ceilings : (otok_ceilings){0};
}

int otok_ceilings_check(const otok_ceilings *ceilings, otok_error *err)
{
    const otok_ceilings c = ceilings_or_none(ceilings);
    const struct amount amounts[] = {
        {c.idle_timeout_s, "idle_timeout_s"},           {c.max_lifetime_s, "max_lifetime_s"},
        {c.retry_window_s, "retry_window_s"},           {c.access_token_lifetime_s, "access_token_lifetime_s"},
        {c.id_token_lifetime_s, "id_token_lifetime_s"}, {c.session_limit, "session_limit"},
    };
    return check_amounts(amounts, sizeof amounts / sizeof amounts[0], "ceilings", err);
}

static int64_t or_default_us(int64_t seconds, int64_t default_s)
{
    return otok_seconds_to_us(seconds != 0 ? seconds : default_s);
}

static int64_t lesser(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

static int64_t greater(int64_t a, int64_t b)
{
    return a > b ? a : b;
}

static int64_t under(int64_t value, int64_t ceiling)
{
    return ceiling > 0 ? lesser(value, ceiling) : value;
}

static int64_t under_s(int64_t value_us, int64_t ceiling_s)
{
    return under(value_us, otok_seconds_to_us(ceiling_s));
}

static bool rotates(const otok_policy *p, bool is_public, bool is_bound)
{
    if (p->rotation == OTOK_ROTATION_NEVER)
        return false;
    return p->rotation == OTOK_ROTATION_ALWAYS || (is_public && !is_bound); /* RFC 9700 section 4.14 */
}

/* So many seconds that they do not fit in microseconds are unlimited too; a ceiling bounds the window in time. */
static int check_bounds(const otok_policy *p, const otok_ceilings *c, otok_error *err)
{
    bool unbounded = under_s(otok_seconds_to_us(p->retry_window_s), c->retry_window_s) == OTOK_UNLIMITED;
    if (unbounded && (p->retry_limit == 0 || p->retry_limit == OTOK_UNLIMITED))
        return otok_fail(err, OTOK_E_POLICY,
                         "policy.retry_window_s is unlimited, so policy.retry_limit must have a bound");
    if (p->retry_limit > UINT16_MAX && p->retry_limit != OTOK_UNLIMITED)
        return otok_fail(err, OTOK_E_POLICY, "policy.retry_limit is more than 65535");
    if (greater(p->once_window_s, p->once_keep_s) > ONCE_KEEP_MAX_S)
        return otok_fail(err, OTOK_E_POLICY, "policy.%s is more than 30 days",
                         p->once_window_s > ONCE_KEEP_MAX_S ? "once_window_s" : "once_keep_s");
    if (p->dpop_window_s > DPOP_WINDOW_MAX_S)
        return otok_fail(err, OTOK_E_POLICY, "policy.dpop_window_s is more than 600");
    if (p->sweep_grace_s > SWEEP_GRACE_MAX_S)
        return otok_fail(err, OTOK_E_POLICY, "policy.sweep_grace_s is more than 30 days");
    if (otok_seconds_to_us(p->clock_skew_s) == OTOK_UNLIMITED)
        return otok_fail(err, OTOK_E_POLICY, "policy.clock_skew_s must have a bound");
    return OTOK_OK;
}

static int check_policy(const otok_policy *p, const otok_ceilings *c, otok_error *err)
{
    int rc = check_choices(p, err);
    if (rc == OTOK_OK)
        rc = check_policy_amounts(p, err);
    return rc == OTOK_OK ? check_bounds(p, c, err) : rc;
}

/* How a token is rotated, and retried. */
static void add_rotation(otok_rules *rules, const otok_policy *p, const otok_ceilings *c, bool is_public, bool is_bound)
{
    int64_t window_s = is_public && !is_bound ? RETRY_WINDOW_S : RETRY_WINDOW_CONSTRAINED_S;
    rules->rotates = rotates(p, is_public, is_bound);
    rules->reuse = p->reuse != OTOK_REUSE_DEFAULT ? p->reuse : OTOK_REUSE_END_SESSION;
    rules->ahead = p->ahead != OTOK_AHEAD_DEFAULT ? p->ahead : OTOK_AHEAD_ANSWER;
    rules->retry_window_us = under_s(or_default_us(p->retry_window_s, window_s), c->retry_window_s);
    rules->retry_limit = p->retry_limit != 0 ? p->retry_limit : OTOK_UNLIMITED;
    rules->clock_skew_us = or_default_us(p->clock_skew_s, CLOCK_SKEW_S);
    rules->rotate_after_us = otok_seconds_to_us(p->rotate_after_s);
    /* Without a window in time the number of retries bounds them, and nothing else holds rotation back. */
    if (rules->retry_window_us != OTOK_UNLIMITED)
        rules->rotate_after_us = greater(rules->rotate_after_us, rules->retry_window_us);
}

/* How long a session lives, and the tokens that come of it. */
static void add_lifetimes(otok_rules *rules, const otok_policy *p, const otok_ceilings *c)
{
    rules->idle_us = under_s(or_default_us(p->idle_timeout_s, IDLE_TIMEOUT_S), c->idle_timeout_s);
    rules->max_us = under_s(or_default_us(p->max_lifetime_s, OTOK_UNLIMITED), c->max_lifetime_s);
    rules->touch_us = or_default_us(p->touch_interval_s, TOUCH_INTERVAL_S);
    rules->sweep_grace_us = or_default_us(p->sweep_grace_s, SWEEP_GRACE_S);
    rules->access_token = p->access_token != OTOK_OFF;
    rules->access_token_revocation = p->access_token_revocation != OTOK_OFF;
    rules->access_token_us =
        under_s(or_default_us(p->access_token_lifetime_s, ACCESS_TOKEN_S), c->access_token_lifetime_s);
    int64_t id_token_us =
        p->id_token_lifetime_s != 0 ? otok_seconds_to_us(p->id_token_lifetime_s) : rules->access_token_us;
    rules->id_token_us = under_s(id_token_us, c->id_token_lifetime_s);
}

/* Whether there may be such a session, and how many. */
static void add_admission(otok_rules *rules, const otok_policy *p, const otok_ceilings *c, bool is_public,
                          bool is_bound)
{
    rules->overlong = p->overlong != OTOK_OVERLONG_DEFAULT ? p->overlong : OTOK_OVERLONG_REFUSE;
    rules->public_refused = is_public && p->public_clients == OTOK_OFF;
    rules->binding_missing = !is_bound && p->sender_constraint == OTOK_ON;
    rules->needs_consent = p->consent == OTOK_ON;
    rules->session_limit = under(p->session_limit != 0 ? p->session_limit : OTOK_UNLIMITED, c->session_limit);
    rules->evicts = p->at_session_limit != OTOK_AT_LIMIT_REFUSE;
    rules->once_window_us = or_default_us(p->once_window_s, ONCE_WINDOW_S);
    rules->once_keep_us = greater(or_default_us(p->once_keep_s, ONCE_KEEP_S), rules->once_window_us);
    rules->dpop_nonce = p->dpop_nonce == OTOK_ON;
    rules->dpop_window_us = or_default_us(p->dpop_window_s, DPOP_WINDOW_S);
    rules->once_ends_session = p->once_reuse != OTOK_REUSE_REJECT;
}

int otok_rules_of(const otok_policy *policy, const otok_ceilings *ceilings, bool is_public, bool is_bound,
                  otok_rules *out, otok_error *err)
{
    const otok_ceilings c = ceilings_or_none(ceilings);
    int rc = check_policy(policy, &c, err);
    if (rc != OTOK_OK)
        return rc;
    *out = (otok_rules){0};
    add_rotation(out, policy, &c, is_public, is_bound);
    add_lifetimes(out, policy, &c);
    add_admission(out, policy, &c, is_public, is_bound);
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

int otok_rules_admit(const otok_rules *rules, otok_error *err)
{
    if (rules->public_refused)
        return otok_fail(err, OTOK_E_UNAUTHORIZED_CLIENT, "policy.public_clients is off, and this is a public client");
    if (rules->binding_missing)
        return otok_fail(err, OTOK_E_SENDER, "policy.sender_constraint is on, and the session is bound to nothing");
    return OTOK_OK;
}

/* ---------------------------------------------------------------------------------------------------- presets */

/* Keycloak's "Revoke Refresh Token" is off unless it is switched on. */
static void set_keycloak(otok_policy *policy)
{
    policy->rotation = OTOK_ROTATION_NEVER;
    policy->retry_window_s = KEYCLOAK_WINDOW_S;
}

/* RFC 9700 section 4.14.2: reuse revokes the active token.  What ends more than that does too. */
static void set_bcp(otok_policy *policy)
{
    policy->rotation = OTOK_ROTATION_AUTO;
    policy->retry_window_s = 0;
    if (policy->reuse == OTOK_REUSE_REJECT)
        policy->reuse = OTOK_REUSE_END_SESSION;
}

/* FAPI 2.0 Security Profile section 5.3.2.1. */
static void set_fapi2(otok_policy *policy)
{
    policy->rotation = OTOK_ROTATION_NEVER;
    policy->public_clients = OTOK_OFF;
    policy->sender_constraint = OTOK_ON;
}

/* `least`: where the last of its members ends.  A policy of an older header is not written behind its end. */
static const struct preset {
    int32_t preset;
    size_t least;
    void (*set)(otok_policy *policy);
} presets[] = {
    {OTOK_PRESET_KEYCLOAK, offsetof(otok_policy, retry_limit), set_keycloak},
    {OTOK_PRESET_BCP, offsetof(otok_policy, retry_limit), set_bcp},
    {OTOK_PRESET_FAPI2, offsetof(otok_policy, consent), set_fapi2},
};

int otok_policy_preset(otok_policy *policy, int32_t preset, otok_error *err)
{
    if (policy == NULL)
        return otok_fail(err, OTOK_E_INVALID, "policy is required");
    for (size_t i = 0; i < sizeof presets / sizeof presets[0]; i++) {
        if (presets[i].preset != preset)
            continue;
        if (policy->size < presets[i].least)
            return otok_fail(err, OTOK_E_INVALID, "otok_policy.size is %zu: call otok_policy_init() first%s",
                             policy->size, policy->size != 0 ? "; or its header is too old for this preset" : "");
        presets[i].set(policy);
        return OTOK_OK;
    }
    return otok_fail(err, OTOK_E_INVALID, "preset has no value %d", preset);
}
