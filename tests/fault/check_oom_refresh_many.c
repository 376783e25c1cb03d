/*
 * check_oom_refresh_many.c - memory runs short while several sessions are refreshed at once (R7, R8): each item is whole, or
 * says so and is as before, whatever becomes of the others.
 *
 * SPDX-License-Identifier: MIT
 */
/* link: -Wl,--wrap=otok_malloc,--wrap=otok_calloc,--wrap=otok_realloc */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "support/oom_allocators.h"

enum { ITEMS = 4, SESSIONS = ITEMS - 1 }; /* the last item is the first session once more */

static const char SCOPE[] = "openid offline_access profile";

static struct {
    test_held held[SESSIONS];
    int code;         /* of the call */
    bool contradicts; /* an item had an answer and an error, or neither */
    int codes[ITEMS]; /* of the items, where that was OTOK_OK */
    char successors[ITEMS][OTOK_TOKEN_CHARS + 1];
} now;

static const test_held *held_of(size_t i)
{
    return &now.held[i % SESSIONS];
}

static void prepare(oom_stage *s)
{
    char subject[16];
    for (size_t i = 0; i < SESSIONS; i++) {
        (void)snprintf(subject, sizeof subject, "user-%zu", i);
        if (now.held[i].session_id[0] != '\0')
            (void)otok_revoke_session(s->f->service, now.held[i].session_id, NULL);
        otok_grant grant = test_grant(subject, "phone", SCOPE);
        now.held[i] = test_hold_grant(s->f, &grant);
    }
    test_advance_s(s->f, 3600); /* longer than a touch interval: whole records are written */
    test_forget_events(s->f);
}

static void open_stage(oom_stage *s)
{
    (void)s;
    memset(&now, 0, sizeof now);
}

/* With an outbox, too. */
static void open_outbox(oom_stage *s)
{
    otok_config config;
    open_stage(s);
    otok_service_close(s->f->service);
    otok_config_init(&config, sizeof config);
    config.issuer = TEST_ISSUER;
    config.policy = &s->f->policy;
    config.callbacks = &s->f->callbacks;
    config.user = s->f;
    config.outbox_limit = UINT32_MAX;
    test_assert_code(OTOK_OK, otok_service_open(&config, s->f->store, s->f->keyring, &s->f->service, NULL));
}

static int call(oom_stage *s)
{
    otok_refresh_request requests[ITEMS];
    const otok_refresh_request *asked[ITEMS];
    otok_tokens *out[ITEMS];
    otok_error errors[ITEMS];
    otok_peer peer = oom_peer_at("192.0.2.1");
    for (size_t i = 0; i < ITEMS; i++) {
        requests[i] = test_refresh_request(held_of(i)->token, "phone");
        requests[i].peer = &peer;
        asked[i] = &requests[i];
    }
    now.code = otok_refresh_many(s->f->service, asked, ITEMS, out, errors, &s->err);
    int first = now.code;
    for (size_t i = 0; now.code == OTOK_OK && i < ITEMS; i++) {
        now.codes[i] = errors[i].code;
        now.contradicts |= (errors[i].code == OTOK_OK) != (out[i] != NULL); /* an assertion allocates */
        if (out[i] != NULL)
            (void)snprintf(now.successors[i], sizeof now.successors[i], "%s", out[i]->offline_token);
        otok_tokens_free(out[i]);
        if (first == OTOK_OK && errors[i].code != OTOK_OK) {
            first = errors[i].code;
            s->err = errors[i];
        }
    }
    return first;
}

static uint32_t generation_of(oom_stage *s, const test_held *held)
{
    otok_head head;
    otok_record *record = test_session_record(s->f->store, held->session_id);
    ck_assert(record != NULL && otok_head_parse(record->head, &head));
    otok_record_free(record);
    return head.generation;
}

/* The token that was sent is good for that same successor, or for one that nobody has got yet. */
static void item_is_sound(oom_stage *s, size_t i)
{
    otok_tokens *tokens = NULL;
    int code = now.code != OTOK_OK ? now.code : now.codes[i];
    ck_assert_msg(code == OTOK_OK || otok_error_http(code) >= 500, "%s: item %zu: %s", oom_where(), i,
                  otok_error_name(code));
    ck_assert_uint_le(generation_of(s, held_of(i)), 1);
    test_assert_code(OTOK_OK, test_refresh(s->f, held_of(i)->token, "phone", &tokens));
    ck_assert_uint_eq(tokens->generation, 1);
    if (code == OTOK_OK)
        ck_assert_str_eq(tokens->offline_token, now.successors[i]);
    otok_tokens_free(tokens);
}

static void is_sound(oom_stage *s)
{
    ck_assert_msg(!now.contradicts, "%s: answer and error, or neither", oom_where());
    for (size_t i = 0; now.code != OTOK_OK && i < SESSIONS; i++)
        ck_assert_msg(generation_of(s, &now.held[i]) == 0, "%s: the call failed, and did something", oom_where());
    for (size_t i = 0; i < ITEMS; i++)
        item_is_sound(s, i);
}

static void is_whole(oom_stage *s)
{
    for (size_t i = 0; i < SESSIONS; i++)
        ck_assert_uint_eq(generation_of(s, &now.held[i]), 1);
    ck_assert_str_eq(now.successors[0], now.successors[ITEMS - 1]);
    ck_assert_uint_eq(test_count_events(s->f, OTOK_EVENT_REFRESHED), SESSIONS);
    ck_assert_uint_eq(test_count_events(s->f, OTOK_EVENT_RETRIED), 1);
    is_sound(s);
}

static const oom_scenario scenarios[] = {
    {"refresh_many", prepare, call, is_whole, .done = OTOK_OK, .in_steps = true, .is_sound = is_sound,
     .open = open_stage},
    {"refresh_many, outbox", prepare, call, is_whole, .done = OTOK_OK, .in_steps = true, .is_sound = is_sound,
     .open = open_outbox},
};

static void add(TCase *tc)
{
    oom_add(tc, OOM_MEMORY | OOM_LMDB, scenarios, sizeof scenarios / sizeof scenarios[0]);
}

int main(void)
{
    return oom_main("out of memory in several refreshes", add, EVERY_ALLOCATION);
}
