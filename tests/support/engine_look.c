/*
 * engine_look.c - the judge looks: at the keyring file, the store, and each session that something happened to.
 *
 * SPDX-License-Identifier: MIT
 */
#include <stdio.h>
#include <string.h>

#include "support/engine_parts.h"

static void perform(engine_judge *j, engine_op *op)
{
    op->begun = atomic_fetch_add(&j->setting.shared->order, 1);
    engine_perform(&j->open, op);
    j->report->checked++;
}

/* ------------------------------------------------------------------------------------------------------ the keyring */

static void undo_drop(engine_judge *j, uint8_t key_id)
{
    if (j->dropped_in[key_id] == j->setting.shared->round) /* or it was another key with that id, long ago */
        j->dropped_in[key_id] = 0;
}

/* A drop that was in flight did not happen: the key is there. */
static void forget_undone_drops(engine_judge *j, const otok_key_list *keys)
{
    const engine_shared *shared = j->setting.shared;
    for (size_t i = 0; i < keys->count; i++) {
        for (size_t k = 0; k < shared->nretired; k++) {
            if (strcmp(keys->keys[i]->kid, shared->retired[k]) == 0)
                undo_drop(j, j->retired_ids[k]);
        }
    }
}

/* F: it loads whole; no key that was added is missing, and none is there that nobody added. */
static void keys_are_as_told(engine_judge *j)
{
    engine_shared *shared = j->setting.shared;
    otok_key_list *keys = NULL;
    size_t n = 0, active = 0;
    if (otok_service_keys(j->open.service, &keys, NULL) != OTOK_OK) {
        engine_lose(j, NULL, "the keys cannot be listed");
        return;
    }
    forget_undone_drops(j, keys);
    shared->nretired = 0;
    for (size_t i = 0; i < keys->count; i++) {
        const otok_key *key = keys->keys[i];
        if (key->use != OTOK_KEY_TOKEN)
            continue;
        n++;
        active += key->state == OTOK_KEY_ACTIVE;
        if (key->state == OTOK_KEY_RETIRED && shared->nretired < ENGINE_KEYS) {
            j->retired_ids[shared->nretired] = (uint8_t)key->token_id;
            (void)snprintf(shared->retired[shared->nretired++], sizeof shared->retired[0], "%s", key->kid);
        }
    }
    otok_key_list_free(keys);
    if (active != 1 || n + j->keys_less < j->nkeys || n > j->nkeys + j->keys_more)
        engine_lose(j, NULL, "the keyring has %zu MAC keys, %zu of them active, by what was told %zu", n, active,
                    j->nkeys);
    j->nkeys = n;
}

/* ---------------------------------------------------------------------------------------------------- what was in flight */

/* What would have been answered: the same session, or it did not happen (E). */
static void ask_again(engine_judge *j, const engine_op *op)
{
    engine_op again = {.kind = op->kind == ENGINE_ISSUE ? ENGINE_ISSUE : ENGINE_LEGACY_REFRESH, .scope = op->scope};
    memcpy(again.target, op->target, sizeof again.target);
    perform(j, &again);
    engine_learn_one(j, &again);
    j->report->happened += again.rc == OTOK_OK && again.outcome == OTOK_OUTCOME_RETRIED;
    engine_number *number = engine_number_of(j, &again.scope);
    if (number != NULL && again.rc == OTOK_OK)
        number->in_flight = number->maybe_dead = false;
}

static bool can_be_asked_again(const engine_judge *j, const engine_op *op)
{
    if (op->scope.once != ENGINE_NOBODY)
        return op->kind == ENGINE_ISSUE && !j->erased[op->scope.subject];
    return op->kind == ENGINE_LEGACY_REFRESH || op->kind == ENGINE_LEGACY_REVOKE;
}

static bool ask_again_all(engine_judge *j)
{
    bool asked = false;
    for (unsigned i = 0; i < j->plan->workers; i++) {
        const engine_log *log = &j->setting.shared->logs[i];
        for (uint32_t k = 0; k < atomic_load(&log->n) && !engine_is_lost(j); k++) {
            const engine_op *op = &log->ops[k];
            if (engine_is_answered(op) || !can_be_asked_again(j, op))
                continue;
            asked = true;
            ask_again(j, op);
        }
    }
    return asked;
}

/* Who is there without having been told of was being issued; nobody has their tokens, and they are sent away. */
static void strangers_are_newborn(engine_judge *j)
{
    size_t strangers = 0;
    for (size_t i = 0; i < j->replay.nsessions && !engine_is_lost(j); i++) {
        const engine_session *session = &j->replay.sessions[i];
        char id[OTOK_SESSION_ID_CHARS + 1];
        otok_session_id_print(&session->id, id);
        if (session->born_in != j->setting.shared->round || engine_find(&j->table, id) != NULL)
            continue;
        strangers++;
        if (otok_revoke_session(j->open.service, id, NULL) != OTOK_OK)
            engine_lose(j, NULL, "session %s, which was being issued, cannot be revoked", id);
    }
    j->report->happened += strangers;
    if (strangers > j->births)
        engine_lose(j, NULL, "%zu sessions are there that nobody knows, and %zu were being issued", strangers,
                    j->births);
}

/* --------------------------------------------------------------------------------------------------------- sessions */

static void see_alive(engine_judge *j, engine_known *known, const engine_op *op)
{
    bool moved = op->outcome == OTOK_OUTCOME_ADVANCED || op->outcome == OTOK_OUTCOME_RETRIED;
    bool legacy = op->kind == ENGINE_LEGACY_REFRESH;
    if (known->dead)
        engine_lose(j, known, "it is dead, and its token was answered");
    else if (strcmp(op->session_id, known->session_id) != 0)
        engine_lose(j, known, "its token came to session %s", op->session_id);
    else if (op->generation != known->generation + (moved && !legacy))
        engine_lose(j, known, "its token came back with generation %lu", (unsigned long)op->generation);
    else if (op->outcome == OTOK_OUTCOME_RETRIED && !legacy && !known->maybe_used)
        engine_lose(j, known, "it was rotated, and nobody had asked for that");
    j->report->happened += op->outcome == OTOK_OUTCOME_RETRIED && !legacy;
    known->maybe_dead = false;
    known->maybe_used |= !legacy;
    engine_note_token(known, op);
}

static void see_refused(engine_judge *j, engine_known *known, const engine_op *op)
{
    bool gone = op->rc == OTOK_E_TOKEN_UNKNOWN || op->rc == OTOK_E_TOKEN_REVOKED ||
                op->rc == OTOK_E_TOKEN_INVALID; /* its key may have gone after it */
    if (!gone || !(known->dead || known->maybe_dead)) {
        engine_lose(j, known, "its token is refused: %s", otok_error_name(op->rc));
        return;
    }
    j->report->happened += !known->dead;
    known->dead = true;
    if (known->dead_at == 0)
        known->dead_at = op->ended;
}

/* By its newest token; or, as long as that was not used, by the token of the system before. */
static void look_at(engine_judge *j, engine_known *known)
{
    int64_t n = known->scope.legacy;
    engine_op op = {.kind = ENGINE_REFRESH, .scope = known->scope};
    if (n != ENGINE_NOBODY && !known->used && !known->maybe_used && !known->dead &&
        engine_legacy_is_good(j->setting.shared, n) && n >= engine_first_number(j->setting.shared) &&
        crash_next(&j->random, 2) == 0 && !engine_first_key_may_be_gone(j, known))
        op.kind = ENGINE_LEGACY_REFRESH;
    memcpy(op.target, known->session_id, sizeof op.target);
    memcpy(op.presented, known->token, sizeof op.presented);
    perform(j, &op);
    if (op.rc == OTOK_OK)
        see_alive(j, known, &op);
    else
        see_refused(j, known, &op);
}

/* Those that something happened to, a few others, and everybody now and then. */
static void sessions_are_as_told(engine_judge *j, bool everybody)
{
    for (size_t i = 0; i < j->table.n && !engine_is_lost(j); i++) {
        if (everybody || j->table.sessions[i].touched)
            look_at(j, &j->table.sessions[i]);
    }
    for (int i = 0; i < 3 && j->table.n != 0 && !engine_is_lost(j); i++)
        look_at(j, &j->table.sessions[crash_next(&j->random, j->table.n)]);
}

static void the_living_are_as_told(engine_judge *j)
{
    for (size_t i = 0; i < j->table.n && !engine_is_lost(j); i++) {
        if (!j->table.sessions[i].dead)
            look_at(j, &j->table.sessions[i]);
    }
}

/* Tokens of the system before that were revoked, adopted or not, stay so (E). */
static void number_stays_dead(engine_judge *j, const engine_number *number, const engine_op *op)
{
    if (op->rc != OTOK_E_TOKEN_UNKNOWN && op->rc != OTOK_E_TOKEN_REVOKED && op->rc != OTOK_E_TOKEN_INVALID &&
        op->rc != OTOK_E_TAMPERED) /* as in engine_learn.c, is_keyless() */
        engine_lose(j, engine_find(&j->table, number->session_id), "legacy token %lld was revoked, and is told %s",
                    (long long)number->n, otok_error_name(op->rc));
}

/* One that nobody has adopted, and whose end was in flight: from here on it is known. */
static void settle_number(engine_judge *j, engine_number *number, const engine_op *op)
{
    number->dead = op->rc == OTOK_E_TOKEN_UNKNOWN || op->rc == OTOK_E_TOKEN_REVOKED;
    j->report->happened += number->dead;
    engine_learn_one(j, op);
}

static void numbers_are_as_told(engine_judge *j)
{
    const engine_shared *shared = j->setting.shared;
    for (int64_t n = engine_first_number(shared); n <= engine_last_number(shared) && !engine_is_lost(j); n++) {
        engine_op op = {.kind = ENGINE_LEGACY_REFRESH, .scope = engine_legacy_scope(n)};
        engine_number *number = engine_number_of(j, &op.scope);
        bool unsettled = number->maybe_dead && !number->dead && number->session_id[0] == '\0';
        bool look = number->dead && (number->touched || crash_next(&j->random, 8) == 0);
        if (!(unsettled || look) || !engine_legacy_is_good(shared, n))
            continue;
        perform(j, &op);
        if (unsettled)
            settle_number(j, number, &op);
        else
            number_stays_dead(j, number, &op);
    }
}

/* ---------------------------------------------------------------------------------------------------------- the cap */

/* Adopted ones come on top: the cap is for issues, which then evict more than one. */
static void count_page(const otok_page *page, size_t live[2])
{
    for (size_t i = 0; i < page->count; i++) {
        const otok_session *session = page->sessions[i];
        bool adopted = session->sid != NULL && session->sid[0] == 's';
        live[session->kind] += session->state == OTOK_OK && !adopted;
    }
}

static void cap_holds_for(engine_judge *j, const engine_scope *pair)
{
    char sid[32];
    size_t live[2] = {0, 0};
    otok_page *page = NULL;
    otok_list_request request;
    otok_filter filter = engine_filter(pair, sid);
    otok_list_request_init(&request, sizeof request);
    request.filter = &filter;
    request.limit = 1000;
    if (otok_list(j->open.service, &request, &page, NULL) != OTOK_OK) {
        engine_lose(j, NULL, "the sessions cannot be listed");
        return;
    }
    count_page(page, live);
    otok_page_free(page);
    for (int kind = 0; kind < 2; kind++) {
        size_t at = (size_t)pair->subject * ENGINE_CLIENTS + pair->client;
        if (live[kind] > ENGINE_LIMIT)
            engine_lose(j, NULL, "%s has %zu sessions of kind %d with %s", crash_subjects[pair->subject], live[kind],
                        kind, crash_clients[pair->client]);
        if (j->replay.evictions[at][kind] > j->replay.issues[at][kind])
            engine_lose(j, NULL, "%s lost %llu sessions of kind %d with %s to newer ones, and %llu were begun",
                        crash_subjects[pair->subject], (unsigned long long)j->replay.evictions[at][kind], kind,
                        crash_clients[pair->client], (unsigned long long)j->replay.issues[at][kind]);
    }
}

static void cap_holds(engine_judge *j)
{
    engine_scope pair = engine_nobody();
    for (pair.subject = 0; pair.subject < ENGINE_SUBJECTS; pair.subject++) {
        for (pair.client = 0; pair.client < ENGINE_CLIENTS && !engine_is_lost(j); pair.client++)
            cap_holds_for(j, &pair);
    }
}

/* --------------------------------------------------------------------------------------------------------- the look */

static void indexes_agree(engine_judge *j)
{
    char story[CRASH_STORY] = "";
    if (!crash_indexes_agree(j->open.service, j->open.store, story))
        engine_lose(j, NULL, "%s", story);
}

static void hold_against(engine_judge *j, bool everybody)
{
    static void (*const steps[])(engine_judge *) = {indexes_agree, engine_learn_erasures, engine_drain,
                                                    engine_learn,  engine_compare,        keys_are_as_told};
    for (size_t i = 0; i < sizeof steps / sizeof steps[0] && !engine_is_lost(j); i++)
        steps[i](j);
    if (!engine_is_lost(j) && ask_again_all(j)) {
        engine_drain(j);
        engine_learn_evicted(j);
        engine_compare(j);
    }
    if (!engine_is_lost(j))
        cap_holds(j);
    if (!engine_is_lost(j))
        strangers_are_newborn(j);
    sessions_are_as_told(j, everybody);
    if (everybody) /* again, with tokens under the key of today: then those before are not needed any more */
        the_living_are_as_told(j);
    numbers_are_as_told(j);
}

void engine_look(engine_judge *j, bool everybody)
{
    otok_error err = {0};
    j->nevicted = 0;
    j->overflowed = j->missed = false;
    int rc = engine_open_all(&j->own, &j->open, &err);
    if (rc == OTOK_OK)
        hold_against(j, everybody);
    else
        engine_lose(j, NULL, "store and keyring do not open: %s: %s", otok_error_name(rc), err.message);
    engine_close_all(&j->open);
}
