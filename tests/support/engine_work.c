/*
 * engine_work.c - the worker: does what comes to its mind, and writes down what it was told.
 *
 * SPDX-License-Identifier: MIT
 */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "support/engine_parts.h"

enum { FEW_LIVE = 16, MOST_KEYS = 5 };

typedef struct worker {
    engine_open open;
    engine_table *table;
    crash_random random;
} worker;

static size_t count_live(const engine_table *table)
{
    size_t n = 0;
    for (size_t i = 0; i < table->n; i++)
        n += !table->sessions[i].dead;
    return n;
}

static engine_kind choose(worker *w)
{
    static const struct {
        engine_kind kind;
        uint64_t share;
    } shares[] = {{ENGINE_REFRESH, 30},      {ENGINE_ISSUE, 28},      {ENGINE_LEGACY_REFRESH, 10},
                  {ENGINE_LEGACY_REVOKE, 2}, {ENGINE_CONSENT_PUT, 6}, {ENGINE_CONSENT_REVOKE, 3},
                  {ENGINE_LOGOUT, 5},        {ENGINE_REVOKE, 4},      {ENGINE_KEY_STEP, 5},
                  {ENGINE_SWEEP, 6},         {ENGINE_ERASE, 1}};
    size_t live = count_live(w->table);
    uint64_t at = crash_next(&w->random, 100);
    if (live == 0 || (live < FEW_LIVE && at < 40))
        return ENGINE_ISSUE;
    for (size_t i = 0; i < sizeof shares / sizeof shares[0]; i++) {
        if (at < shares[i].share)
            return shares[i].kind;
        at -= shares[i].share;
    }
    return ENGINE_SWEEP;
}

/* The table has a live one. */
static const engine_known *pick(worker *w)
{
    size_t at = (size_t)crash_next(&w->random, w->table->n);
    while (w->table->sessions[at].dead)
        at = (at + 1) % w->table->n;
    return &w->table->sessions[at];
}

static int64_t pick_number(worker *w)
{
    const engine_shared *shared = w->open.setting->shared;
    int64_t first = engine_first_number(shared), last = engine_last_number(shared);
    return first + (int64_t)crash_next(&w->random, (uint64_t)(last - first + 1));
}

/* ------------------------------------------------------------------------------------------------------ each kind */

static void aim_at_pair(worker *w, engine_op *op)
{
    op->scope.subject = (uint8_t)crash_next(&w->random, ENGINE_SUBJECTS);
    op->scope.client = (uint8_t)crash_next(&w->random, ENGINE_CLIENTS);
}

static void choose_replaced(worker *w, engine_op *op)
{
    for (size_t i = w->table->n; i > 0; i--) {
        const engine_known *known = &w->table->sessions[i - 1];
        if (!known->dead && known->scope.subject == op->scope.subject && known->scope.client == op->scope.client &&
            crash_next(&w->random, 2) == 0) {
            memcpy(op->target, known->session_id, sizeof op->target);
            return;
        }
    }
}

static void aim_issue(worker *w, engine_op *op)
{
    const engine_shared *shared = w->open.setting->shared;
    aim_at_pair(w, op);
    op->scope.session_kind = crash_next(&w->random, 2) == 0 ? OTOK_SESSION_OFFLINE : OTOK_SESSION_LOGIN;
    op->scope.sid = (int32_t)crash_next(&w->random, ENGINE_SIDS);
    if (op->scope.session_kind == OTOK_SESSION_OFFLINE && crash_next(&w->random, 3) == 0)
        op->scope.sid = ENGINE_NOBODY;
    if (crash_next(&w->random, 3) == 0) {
        int64_t n = pick_number(w);
        if (n >= shared->once_from[engine_once_scope(n).subject])
            op->scope = engine_once_scope(n);
    }
    if (crash_next(&w->random, 6) == 0)
        choose_replaced(w, op);
}

static void aim_at_session(worker *w, engine_op *op)
{
    const engine_known *known = pick(w);
    op->scope = known->scope;
    memcpy(op->target, known->session_id, sizeof op->target);
    memcpy(op->presented, known->token, sizeof op->presented);
}

/* A subject mostly, or a sid, now and then that of a token of the system before. */
static void aim_logout(worker *w, engine_op *op)
{
    op->with_access = crash_next(&w->random, 3) == 0;
    if (crash_next(&w->random, 2) == 0) {
        op->scope.subject = (uint8_t)crash_next(&w->random, ENGINE_SUBJECTS);
        return;
    }
    op->scope.sid = (int32_t)crash_next(&w->random, ENGINE_SIDS);
    if (crash_next(&w->random, 4) == 0) {
        op->scope.sid = (int32_t)(ENGINE_LEGACY_SID + pick_number(w));
        op->with_access = 1;
    }
}

static void aim_legacy(worker *w, engine_op *op)
{
    int64_t n = pick_number(w);
    if (engine_legacy_is_good(w->open.setting->shared, n))
        op->scope = engine_legacy_scope(n);
    else
        op->kind = ENGINE_SWEEP;
}

static bool is_retired_for_all(const worker *w, const char *kid)
{
    const engine_shared *shared = w->open.setting->shared;
    size_t i = 0;
    while (i < shared->nretired && strcmp(shared->retired[i], kid) != 0)
        i++;
    return i < shared->nretired;
}

static void set_step(engine_op *op, int32_t step, const char *kid)
{
    op->step = step;
    (void)snprintf(op->kid, sizeof op->kid, "%s", kid);
}

/* The next step that there is to do: drop what nobody needs, use what is next, or add one. */
static bool aim_key_step(worker *w, engine_op *op)
{
    otok_key_list *keys;
    size_t mac_keys = 0;
    op->step = 0;
    if (otok_service_keys(w->open.service, &keys, NULL) != OTOK_OK)
        return false;
    for (size_t i = 0; i < keys->count && op->step != OTOK_KEY_STEP_DROP; i++) {
        const otok_key *key = keys->keys[i];
        if (key->use != OTOK_KEY_TOKEN)
            continue;
        mac_keys++;
        if (key->state == OTOK_KEY_NEXT)
            set_step(op, OTOK_KEY_STEP_ACTIVATE, key->kid);
        else if (key->state == OTOK_KEY_RETIRED && key->sessions == 0 && is_retired_for_all(w, key->kid))
            set_step(op, OTOK_KEY_STEP_DROP, key->kid);
    }
    if (op->step == 0 && mac_keys < MOST_KEYS)
        set_step(op, OTOK_KEY_STEP_ADD, "");
    otok_key_list_free(keys);
    return op->step != 0;
}

static void aim(worker *w, engine_op *op)
{
    switch (op->kind) {
    case ENGINE_ISSUE:
        aim_issue(w, op);
        break;
    case ENGINE_REFRESH:
    case ENGINE_REVOKE:
        aim_at_session(w, op);
        break;
    case ENGINE_CONSENT_PUT:
    case ENGINE_CONSENT_REVOKE:
        op->consent = 1 + (int32_t)crash_next(&w->random, ENGINE_SCOPES);
        aim_at_pair(w, op);
        break;
    case ENGINE_LOGOUT:
        aim_logout(w, op);
        break;
    case ENGINE_LEGACY_REFRESH:
    case ENGINE_LEGACY_REVOKE:
        aim_legacy(w, op);
        break;
    case ENGINE_KEY_STEP:
        if (!aim_key_step(w, op))
            op->kind = ENGINE_SWEEP;
        break;
    case ENGINE_ERASE: /* in the same millisecond a key that is good for once would make the same session again */
        op->kind = w->open.setting->shared->ticks ? ENGINE_ERASE : ENGINE_SWEEP;
        op->scope.subject = (uint8_t)crash_next(&w->random, ENGINE_SUBJECTS);
        break;
    default:
        break;
    }
}

/* ------------------------------------------------------------------------------------------------------- its life */

/* What the worker itself goes on with. */
static void learn(worker *w, const engine_op *op)
{
    bool birth = op->kind == ENGINE_ISSUE || op->kind == ENGINE_LEGACY_REFRESH;
    engine_known *known = engine_find(w->table, birth ? op->session_id : op->target);
    if (birth && op->rc == OTOK_OK && known == NULL)
        (void)engine_add(w->table, op);
    else if ((birth || op->kind == ENGINE_REFRESH) && op->rc == OTOK_OK && known != NULL)
        engine_note_token(known, op);
    else if ((op->kind == ENGINE_REFRESH || op->kind == ENGINE_REVOKE) && known != NULL)
        known->dead = true;
}

static void one_operation(worker *w, engine_log *log)
{
    uint32_t n = atomic_load(&log->n);
    engine_op *op = &log->ops[n];
    op->kind = choose(w);
    op->scope = engine_nobody();
    aim(w, op);
    op->begun = atomic_fetch_add(&w->open.setting->shared->order, 1);
    atomic_store(&log->n, n + 1);
    engine_perform(&w->open, op);
    learn(w, op);
}

void engine_work(const engine_setting *setting, engine_log *log, engine_table *table, uint64_t seed)
{
    worker w = {.table = table, .random = {seed}};
    otok_error err = {0};
    int rc = engine_open_all(setting, &w.open, &err);
    log->open_rc = rc;
    (void)snprintf(log->open_message, sizeof log->open_message, "%.250s", err.message);
    atomic_store(&log->opened, true);
    while (rc == OTOK_OK && atomic_load(&log->n) < ENGINE_OPS)
        one_operation(&w, log);
    for (;;)
        (void)pause();
}
