/*
 * engine_learn.c - what follows from the logs: what must be there, what must be gone, and what may be either.
 *
 * SPDX-License-Identifier: MIT
 */
#include <stdio.h>
#include <string.h>

#include "support/engine_parts.h"

bool engine_is_answered(const engine_op *op)
{
    return atomic_load(&op->answered) && op->rc != OTOK_E_UNCERTAIN;
}

bool engine_is_done(const engine_op *op)
{
    return engine_is_answered(op) && op->rc == OTOK_OK;
}

/* What others may have been in the way of. */
static bool is_try_again(const engine_op *op)
{
    return op->rc == OTOK_E_BUSY || op->rc == OTOK_E_CONFLICT;
}

static bool is_birth(const engine_op *op)
{
    return op->kind == ENGINE_ISSUE || op->kind == ENGINE_LEGACY_REFRESH;
}

static void for_each_op(engine_judge *j, void (*do_it)(engine_judge *, const engine_op *))
{
    for (unsigned i = 0; i < j->plan->workers; i++) {
        const engine_log *log = &j->setting.shared->logs[i];
        for (uint32_t k = 0; k < atomic_load(&log->n) && !engine_is_lost(j); k++)
            do_it(j, &log->ops[k]);
    }
}

/* -------------------------------------------------------------------------------------------------------- numbers */

engine_number *engine_number_of(engine_judge *j, const engine_scope *scope)
{
    int64_t n = scope->once != ENGINE_NOBODY ? scope->once : scope->legacy;
    if (n == ENGINE_NOBODY)
        return NULL;
    engine_number *number =
        scope->once != ENGINE_NOBODY ? &j->once[n % ENGINE_NUMBERS] : &j->legacy[n % ENGINE_NUMBERS];
    if (number->n > n) /* long ago */
        return NULL;
    if (number->n < n)
        *number = (engine_number){.n = n};
    return number;
}

static bool same_number(const engine_scope *a, const engine_scope *b)
{
    return (a->once != ENGINE_NOBODY && a->once == b->once) || (a->legacy != ENGINE_NOBODY && a->legacy == b->legacy);
}

bool engine_key_may_be_gone(const engine_judge *j, uint8_t key_id, uint64_t since)
{
    return j->dropped_in[key_id] != 0 && j->dropped_in[key_id] >= since;
}

static void note_first_key(engine_known *known, const engine_op *birth)
{
    otok_presented token;
    bool is_new = birth->outcome == OTOK_OUTCOME_ISSUED || birth->outcome == OTOK_OUTCOME_ADOPTED;
    if (is_new && otok_token_parse(birth->token, &token))
        known->first_key_id = token.token.key_id;
}

/* Without it, what the session came of cannot be asked for again. */
bool engine_first_key_may_be_gone(const engine_judge *j, const engine_known *known)
{
    if (known->first_key_id == 0)
        return j->last_drop >= known->issued_in;
    return engine_key_may_be_gone(j, known->first_key_id, known->issued_in);
}

/* --------------------------------------------------------------------------------------------------------- births */

/* Of one session, one generation is one token, but for the key that it is under. */
static bool is_same_token(const char *a, const char *b)
{
    otok_presented one, two;
    if (!otok_token_parse(a, &one) || !otok_token_parse(b, &two) || one.token.generation != two.token.generation)
        return false;
    return one.token.key_id == two.token.key_id
               ? strcmp(a, b) == 0
               : memcmp(one.token.handle, two.token.handle, sizeof one.token.handle) == 0;
}

static void note_number(engine_judge *j, const engine_op *op, engine_number *number)
{
    bool erased = op->scope.once != ENGINE_NOBODY && j->erased[op->scope.subject];
    number->touched = true;
    number->in_flight |= !engine_is_answered(op);
    number->was_in_flight |= number->in_flight;
    if (!engine_is_done(op))
        return;
    if (number->session_id[0] != '\0' && strcmp(number->session_id, op->session_id) != 0 && !erased)
        engine_lose(j, engine_find(&j->table, number->session_id), "%s %lld came to %s too",
                    op->kind == ENGINE_ISSUE ? "the once key" : "the legacy token", (long long)number->n,
                    op->session_id);
    memcpy(number->session_id, op->session_id, sizeof number->session_id);
}

/* When it may have come about, and when that was told.  A token of the system before is older than everything. */
static void note_birth(engine_known *known, const engine_op *op)
{
    if (op->begun < known->issue_begun)
        known->issue_begun = op->begun;
    if (op->ended < known->issue_ended)
        known->issue_ended = op->ended;
    if (known->scope.legacy != ENGINE_NOBODY)
        known->issue_begun = known->issue_ended = 0;
}

static void note_session(engine_judge *j, const engine_op *op)
{
    bool is_new = op->outcome == OTOK_OUTCOME_ISSUED || op->outcome == OTOK_OUTCOME_ADOPTED;
    engine_known *known = engine_find(&j->table, op->session_id);
    if (known == NULL) {
        known = engine_add(&j->table, op);
        known->issued_in = j->setting.shared->round;
    } else if (op->generation == known->generation && !is_same_token(op->token, known->token)) {
        engine_lose(j, known, "another token of the same generation was handed out");
    } else {
        engine_note_token(known, op);
    }
    note_birth(known, op);
    note_first_key(known, op);
    known->births += is_new;
    known->touched = true;
    j->report->adopted += op->outcome == OTOK_OUTCOME_ADOPTED;
    j->report->once_again += op->kind == ENGINE_ISSUE && !is_new;
    if (known->births > 1)
        engine_lose(j, known, "it was begun twice");
}

static void learn_birth(engine_judge *j, const engine_op *op)
{
    if (!is_birth(op))
        return;
    engine_number *number = engine_number_of(j, &op->scope);
    size_t pair = (size_t)op->scope.subject * ENGINE_CLIENTS + op->scope.client;
    j->replay.issues[pair][op->scope.session_kind]++;
    j->births += !engine_is_answered(op);
    if (number != NULL)
        note_number(j, op, number);
    if (engine_is_done(op))
        note_session(j, op);
}

/* The first that was begun with a number may have been the one that took effect. */
static void learn_earlier_birth(engine_judge *j, const engine_op *op)
{
    for (size_t i = 0; is_birth(op) && !engine_is_answered(op) && i < j->table.n; i++) {
        engine_known *known = &j->table.sessions[i];
        if (same_number(&known->scope, &op->scope) && op->begun < known->issue_begun)
            known->issue_begun = op->begun;
    }
}

/* ------------------------------------------------------------------------------------------------------ refreshes */

static void learn_refresh(engine_judge *j, const engine_op *op)
{
    engine_known *known = op->kind == ENGINE_REFRESH ? engine_find(&j->table, op->target) : NULL;
    if (known == NULL)
        return;
    known->touched = known->maybe_used = true;
    if (!engine_is_done(op))
        return;
    if (strcmp(op->session_id, known->session_id) != 0)
        engine_lose(j, known, "its token came to session %s", op->session_id);
    else if (op->generation < known->generation ||
             (op->generation == known->generation && !is_same_token(op->token, known->token)))
        engine_lose(j, known, "a refresh went back to generation %lu, or gave another token of the same one",
                    (unsigned long)op->generation);
    engine_note_token(known, op);
}

/* ----------------------------------------------------------------------------------------------------------- ends */

static bool is_walk(const engine_op *op)
{
    return op->kind == ENGINE_CONSENT_REVOKE || op->kind == ENGINE_LOGOUT || op->kind == ENGINE_ERASE;
}

/* What ends a session: by what it is. */
static bool is_aimed_at_scope(const engine_op *op, const engine_scope *scope)
{
    switch (op->kind) {
    case ENGINE_CONSENT_REVOKE:
        return op->scope.subject == scope->subject && op->scope.client == scope->client;
    case ENGINE_LOGOUT:
        return (op->scope.sid != ENGINE_NOBODY ? op->scope.sid == scope->sid : op->scope.subject == scope->subject) &&
               (op->with_access || scope->session_kind == OTOK_SESSION_LOGIN);
    case ENGINE_ERASE:
        return op->scope.subject == scope->subject;
    case ENGINE_LEGACY_REVOKE:
        return op->scope.legacy == scope->legacy;
    default:
        return false;
    }
}

/* Then the token of the system before is superseded: used at once it keeps its window, and later it is two generations behind. */
static bool supersedes_legacy(const engine_judge *j, const engine_known *known)
{
    return known->used || (known->maybe_used && known->issued_in < j->setting.shared->round);
}

/* A key that is good for once comes back after its session was used, or the token of the system before. */
static bool is_replayed_by(const engine_judge *j, const engine_op *op, const engine_known *known)
{
    bool answered = engine_is_answered(op);
    if (!is_birth(op) || !same_number(&op->scope, &known->scope))
        return false;
    if (op->kind == ENGINE_LEGACY_REFRESH)
        return answered ? op->rc == OTOK_E_TOKEN_REUSED : supersedes_legacy(j, known);
    bool was_used = known->generation > 0 || known->maybe_used || known->used;
    return was_used && (!answered || op->rc == OTOK_E_ONCE);
}

static bool is_replaced_by(const engine_op *op, const engine_known *known)
{
    return op->kind == ENGINE_ISSUE && strcmp(op->target, known->session_id) == 0 &&
           (!engine_is_answered(op) || (op->rc == OTOK_OK && op->outcome == OTOK_OUTCOME_ISSUED));
}

static bool ends(const engine_judge *j, const engine_op *op, const engine_known *known)
{
    bool by_token = op->kind == ENGINE_REVOKE && strcmp(op->target, known->session_id) == 0;
    return by_token || is_aimed_at_scope(op, &known->scope) || is_replaced_by(op, known) ||
           is_replayed_by(j, op, known);
}

/* Whether it is said to be done: a refusal may be just that. */
static bool is_told(const engine_op *op)
{
    return engine_is_answered(op) && (op->rc == OTOK_OK || op->rc == OTOK_E_TOKEN_REUSED || op->rc == OTOK_E_ONCE);
}

static void end_known(const engine_judge *j, const engine_op *op, engine_known *known)
{
    bool told = is_told(op);
    bool doubtful = op->rc == OTOK_E_ONCE && engine_first_key_may_be_gone(j, known); /* then that is why */
    if (engine_is_answered(op) && !told && !is_walk(op)) /* not done; a walk may have failed behind its cutoff */
        return;
    if (told && known->issue_begun > op->ended) /* V3: it is not of its concern */
        return;
    if (known->dead && known->dead_at != 0 && known->dead_at <= op->begun)
        return;
    known->touched = true;
    if (!told || doubtful || known->issue_ended >= op->begun) {
        known->maybe_dead = true;
        return;
    }
    known->dead = true;
    if (known->dead_at == 0 || op->ended < known->dead_at)
        known->dead_at = op->ended;
}

/* A token of the system before is older than every operation that it sees, adopted or not. */
static void end_numbers(engine_judge *j, const engine_op *op)
{
    const engine_shared *shared = j->setting.shared;
    for (int64_t n = engine_first_number(shared); n <= engine_last_number(shared); n++) {
        const engine_scope scope = engine_legacy_scope(n);
        engine_number *number = engine_number_of(j, &scope);
        if (!is_aimed_at_scope(op, &scope))
            continue;
        number->touched = true;
        if (is_told(op))
            number->dead = true;
        else if (!engine_is_answered(op) || is_walk(op))
            number->maybe_dead = true;
    }
}

static void learn_end(engine_judge *j, const engine_op *op)
{
    for (size_t i = 0; i < j->table.n; i++) {
        engine_known *known = &j->table.sessions[i];
        if (ends(j, op, known))
            end_known(j, op, known);
    }
    end_numbers(j, op);
}

/* ------------------------------------------------------------------------------------------------ consents and keys */

static bool sets_consent(const engine_op *op, size_t pair)
{
    if (op->scope.subject != pair / ENGINE_CLIENTS)
        return false;
    if (op->kind == ENGINE_ERASE)
        return true;
    return (op->kind == ENGINE_CONSENT_PUT || op->kind == ENGINE_CONSENT_REVOKE) &&
           op->scope.client == pair % ENGINE_CLIENTS;
}

static const engine_op *op_at(const engine_judge *j, unsigned worker, uint32_t i)
{
    const engine_log *log = &j->setting.shared->logs[worker];
    return i < atomic_load(&log->n) ? &log->ops[i] : NULL;
}

/* Whether another one was begun when it had ended, and is done. */
static bool is_overwritten(const engine_judge *j, const engine_op *op, size_t pair)
{
    const engine_op *other;
    for (unsigned w = 0; w < j->plan->workers; w++) {
        for (uint32_t i = 0; (other = op_at(j, w, i)) != NULL; i++) {
            if (sets_consent(other, pair) && engine_is_done(other) &&
                (op == NULL || (engine_is_answered(op) && other->begun > op->ended)))
                return true;
        }
    }
    return false;
}

static void learn_consent(engine_judge *j, size_t pair)
{
    const engine_op *op;
    unsigned mask = is_overwritten(j, NULL, pair) ? 0 : j->consents[pair];
    for (unsigned w = 0; w < j->plan->workers; w++) {
        for (uint32_t i = 0; (op = op_at(j, w, i)) != NULL; i++) {
            bool possible = !engine_is_answered(op) || op->rc == OTOK_OK || is_walk(op);
            if (sets_consent(op, pair) && possible && !is_overwritten(j, op, pair))
                mask |= 1U << (op->kind == ENGINE_CONSENT_PUT ? op->consent : 0);
        }
    }
    j->consents[pair] = mask;
}

static void learn_key_step(engine_judge *j, const engine_op *op)
{
    if (op->kind != ENGINE_KEY_STEP)
        return;
    bool done = engine_is_done(op), drop = op->step == OTOK_KEY_STEP_DROP;
    j->keys_more += op->step == OTOK_KEY_STEP_ADD && !done;
    j->keys_less += drop && !done;
    j->nkeys += op->step == OTOK_KEY_STEP_ADD && done;
    j->nkeys -= drop && done;
    j->report->keys_dropped += drop && done;
    if (drop)
        j->last_drop = j->setting.shared->round;
    for (size_t i = 0; drop && i < j->setting.shared->nretired; i++) {
        if (strcmp(j->setting.shared->retired[i], op->kid) == 0)
            j->dropped_in[j->retired_ids[i]] = j->setting.shared->round;
    }
}

/* ------------------------------------------------------------------------------------------------ answers have reasons */

static bool is_gone(const engine_op *op)
{
    return op->rc == OTOK_E_TOKEN_UNKNOWN || op->rc == OTOK_E_TOKEN_REVOKED;
}

static bool may_be_dead(const engine_known *known)
{
    return known->dead || known->maybe_dead;
}

static bool refresh_has_reason(const engine_judge *j, const engine_op *op, const engine_known *known)
{
    otok_presented presented;
    if (is_gone(op))
        return may_be_dead(known);
    return op->rc == OTOK_E_TOKEN_INVALID && otok_token_parse(op->presented, &presented) &&
           engine_key_may_be_gone(j, presented.token.key_id, known->issued_in);
}

/* The key has gone under which the session was begun; perhaps another one has its id since. */
static bool is_keyless(const engine_op *op)
{
    return op->rc == OTOK_E_TOKEN_INVALID || op->rc == OTOK_E_TAMPERED;
}

/* A session came of the key, and has ended, was used, or its key has gone. */
static bool once_has_reason(const engine_judge *j, const engine_known *known, const engine_number *number)
{
    if (j->erased[engine_once_scope(number->n).subject]) /* which session it had come to is forgotten */
        return true;
    if (known == NULL)
        return number->was_in_flight;
    return may_be_dead(known) || known->generation > 0 || known->used || known->maybe_used ||
           engine_first_key_may_be_gone(j, known);
}

static bool legacy_has_reason(const engine_judge *j, const engine_op *op, const engine_known *known,
                              const engine_number *number)
{
    if (is_gone(op))
        return number->dead || number->maybe_dead || (known != NULL && may_be_dead(known)) || number->in_flight;
    if (known == NULL) /* it was revoked under a key that has gone since */
        return is_keyless(op) && (number->dead || number->maybe_dead);
    return (op->rc == OTOK_E_TOKEN_REUSED && supersedes_legacy(j, known)) ||
           (is_keyless(op) && engine_first_key_may_be_gone(j, known));
}

/* Keys that others have changed meanwhile. */
static bool key_step_has_reason(const engine_judge *j, const engine_op *op)
{
    return j->plan->workers > 1 && (op->rc == OTOK_E_NOT_FOUND || op->rc == OTOK_E_STATE || op->rc == OTOK_E_INVALID);
}

static bool has_reason(engine_judge *j, const engine_op *op, engine_known **known)
{
    engine_number *number = engine_number_of(j, &op->scope);
    *known = engine_find(&j->table, op->target);
    switch (op->kind) {
    case ENGINE_REFRESH:
        return *known == NULL || refresh_has_reason(j, op, *known);
    case ENGINE_ISSUE:
        *known = number != NULL ? engine_find(&j->table, number->session_id) : NULL;
        if (op->rc == OTOK_E_TAMPERED)
            return *known != NULL && engine_first_key_may_be_gone(j, *known);
        return op->rc == OTOK_E_ONCE && number != NULL && once_has_reason(j, *known, number);
    case ENGINE_LEGACY_REFRESH:
        *known = number != NULL ? engine_find(&j->table, number->session_id) : NULL;
        return number != NULL && legacy_has_reason(j, op, *known, number);
    case ENGINE_KEY_STEP:
        return key_step_has_reason(j, op);
    default:
        return false;
    }
}

/* A refusal must have a reason; and nobody is answered about a session whose end was told before they asked (B). */
static void judge_answer(engine_judge *j, const engine_op *op)
{
    engine_known *known = engine_find(&j->table, op->session_id);
    if (!engine_is_answered(op) || is_try_again(op))
        return;
    if (op->rc == OTOK_OK) {
        if (known != NULL && known->dead_at != 0 && op->begun > known->dead_at)
            engine_lose(j, known, "its end was told, and then its token was answered");
        return;
    }
    if (!has_reason(j, op, &known))
        engine_lose(j, known, "operation %d at %llu was told %s, without a reason", (int)op->kind,
                    (unsigned long long)op->begun, otok_error_name(op->rc));
}

/* --------------------------------------------------------------------------------------------------------- the round */

static void begin(engine_judge *j)
{
    for (size_t i = 0; i < j->table.n; i++) {
        engine_known *known = &j->table.sessions[i];
        known->used |= known->maybe_used;
        known->maybe_used = known->maybe_dead = known->touched = false;
    }
    for (size_t i = 0; i < ENGINE_NUMBERS; i++) {
        j->once[i].maybe_dead = j->once[i].in_flight = j->once[i].touched = false;
        j->legacy[i].maybe_dead = j->legacy[i].in_flight = j->legacy[i].touched = false;
    }
    j->births = j->keys_more = j->keys_less = 0;
}

static void count(engine_judge *j, const engine_op *op)
{
    j->report->acknowledged += engine_is_done(op);
    j->report->in_flight += !engine_is_answered(op);
}

void engine_learn_evicted(engine_judge *j)
{
    for (size_t i = 0; i < j->nevicted; i++) {
        engine_known *known = engine_find(&j->table, j->evicted[i]);
        if (known != NULL)
            known->dead = known->touched = true;
    }
}

static void learn_erasure(engine_judge *j, const engine_op *op)
{
    if (op->kind == ENGINE_ERASE)
        j->erased[op->scope.subject] = true;
}

void engine_learn_erasures(engine_judge *j)
{
    memset(j->erased, 0, sizeof j->erased);
    for_each_op(j, learn_erasure);
}

void engine_learn(engine_judge *j)
{
    begin(j);
    for_each_op(j, count);
    for_each_op(j, learn_birth); /* first: others may be about what another worker issued */
    for_each_op(j, learn_earlier_birth);
    for_each_op(j, learn_refresh);
    for_each_op(j, learn_key_step);
    for_each_op(j, learn_end);
    engine_learn_evicted(j);
    for (size_t pair = 0; pair < ENGINE_PAIRS; pair++)
        learn_consent(j, pair);
    for_each_op(j, judge_answer);
}

void engine_learn_one(engine_judge *j, const engine_op *op)
{
    learn_birth(j, op);
    learn_refresh(j, op);
    learn_end(j, op);
    engine_learn_evicted(j);
    judge_answer(j, op);
}
