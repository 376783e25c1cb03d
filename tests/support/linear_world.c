/*
 * linear_world.c - a history's own realm and rules.
 *
 * SPDX-License-Identifier: MIT
 */
#include <stdio.h>
#include <string.h>

#include "support/linear_parts.h"

enum { IDLE_S = 30 * 86400, TOUCH_S = 300, SHORT_IDLE_S = 60, WINDOW_S = 10, SKEW_S = 2 };

uint64_t linear_next(linear_random *random, uint64_t below)
{
    uint64_t z = random->state += UINT64_C(0x9e3779b97f4a7c15);
    z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
    return (z ^ z >> 31) % below;
}

/* Half of the histories rotate at each refresh and count retries; the others do by the clock; some sessions are short. */
static void choose_rules(linear_world *world, linear_random *random)
{
    static const int32_t reuse[] = {OTOK_REUSE_END_SESSION, OTOK_REUSE_END_SESSION, OTOK_REUSE_REJECT,
                                    OTOK_REUSE_END_PAIR};
    linear_rules *rules = &world->rules;
    uint64_t kind = linear_next(random, 20);
    *rules = (linear_rules){
        .retry_window_s = LINEAR_NO_LIMIT,
        .retry_limit = (int64_t)(1 + linear_next(random, 3)),
        .clock_skew_s = SKEW_S,
        .idle_s = IDLE_S,
        .touch_s = TOUCH_S,
        .reuse = reuse[linear_next(random, sizeof reuse / sizeof reuse[0])],
    };
    world->advance_s = 6;
    if (kind >= 10 && kind < 17) {
        rules->retry_window_s = rules->rotate_after_s = WINDOW_S;
        rules->retry_limit = linear_next(random, 2) == 0 ? LINEAR_NO_LIMIT : 2;
        world->advance_s = 20;
    } else if (kind >= 17) {
        rules->idle_s = SHORT_IDLE_S;
        rules->touch_s = SHORT_IDLE_S / 10;
        world->advance_s = 70;
    }
}

void linear_world_begin(linear_world *world, uint64_t seed, uint64_t number)
{
    linear_random random = {seed + number * UINT64_C(0xd1342543de82ef95)};
    memset(world, 0, sizeof *world);
    world->seed = linear_next(&random, UINT64_MAX);
    world->number = number;
    choose_rules(world, &random);
    world->skew_s = linear_next(&random, 3) == 0 ? 3 : 0;
    world->uncertain = linear_next(&random, 4) == 0;
    atomic_store(&world->now_s, 1);
}

/* The time of the call that this thread makes: the same whenever it is asked for, as if the call took none. */
static int64_t call_now(void *user)
{
    const linear_client *me = linear_me();
    (void)user;
    return (LINEAR_START_S + (me != NULL ? me->now_s : 0)) * OTOK_US_PER_S;
}

static int64_t or_unlimited(int64_t limit)
{
    return limit == LINEAR_NO_LIMIT ? OTOK_UNLIMITED : limit;
}

int linear_service_open(const linear_world *world, otok_store *store, otok_keyring *keyring, otok_service **out,
                        otok_error *err)
{
    char realm[64];
    otok_config config;
    otok_policy policy;
    otok_callbacks callbacks;
    (void)snprintf(realm, sizeof realm, "history-%llu", (unsigned long long)world->number);
    otok_policy_init(&policy, sizeof policy);
    policy.rotation = OTOK_ROTATION_ALWAYS;
    policy.reuse = world->rules.reuse;
    policy.retry_window_s = or_unlimited(world->rules.retry_window_s);
    policy.retry_limit = or_unlimited(world->rules.retry_limit);
    policy.clock_skew_s = world->rules.clock_skew_s;
    policy.rotate_after_s = world->rules.rotate_after_s;
    policy.idle_timeout_s = world->rules.idle_s;
    policy.touch_interval_s = world->rules.touch_s;
    policy.sweep_grace_s = 1;
    policy.access_token = OTOK_OFF;
    otok_callbacks_init(&callbacks, sizeof callbacks);
    callbacks.now = call_now;
    otok_config_init(&config, sizeof config);
    config.issuer = "https://id.example.org";
    config.realm = realm;
    config.policy = &policy;
    config.callbacks = &callbacks;
    return otok_service_open(&config, store, keyring, out, err);
}
