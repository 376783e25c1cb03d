/*
 * engine.c - the rounds: work, kill, look.
 *
 * SPDX-License-Identifier: MIT
 */
#include "support/engine_parts.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

enum { ROUND_S = 60, DAY_S = 86400, FULL_LOOK_EVERY = 40, DAY_EVERY = 100 };

bool engine_is_lost(const engine_judge *j)
{
    return j->report->lost != 0;
}

/* ---------------------------------------------------------------------------------------------------------- the story */

static const char *const kinds[] = {"issue",          "refresh", "revoke_token",   "consent_put",
                                    "consent_revoke", "logout",  "legacy refresh", "legacy revoke",
                                    "key step",       "sweep",   "erase"};

static size_t append(char *story, size_t at, const char *format, ...) OTOK_PRINTF(3, 4);
static size_t append(char *story, size_t at, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    int n = at < ENGINE_STORY ? vsnprintf(story + at, ENGINE_STORY - at, format, args) : 0;
    va_end(args);
    return at + (size_t)n;
}

static size_t tell_op(char *story, size_t at, unsigned worker, const engine_op *op)
{
    at = append(story, at, "\n  %u: %llu-", worker, (unsigned long long)op->begun);
    at = atomic_load(&op->answered) ? append(story, at, "%llu", (unsigned long long)op->ended) : append(story, at, "?");
    at = append(story, at, " %s", kinds[op->kind]);
    if (op->scope.subject != ENGINE_ANY)
        at = append(story, at, " %s", crash_subjects[op->scope.subject]);
    if (op->scope.client != ENGINE_ANY)
        at = append(story, at, " %s", crash_clients[op->scope.client]);
    at = append(story, at, " kind %d sid %d once %lld legacy %lld step %d consent %d access %d %s",
                op->scope.session_kind, op->scope.sid, (long long)op->scope.once, (long long)op->scope.legacy, op->step,
                op->consent, op->with_access, op->target);
    if (atomic_load(&op->answered))
        at = append(story, at, " -> %s outcome %d %s gen %lu", otok_error_name(op->rc), op->outcome, op->session_id,
                    (unsigned long)op->generation);
    return at;
}

/* Of the round, what may have to do with it. */
static void tell_round(engine_judge *j, const engine_known *known, size_t at)
{
    for (unsigned i = 0; i < j->plan->workers; i++) {
        const engine_log *log = &j->setting.shared->logs[i];
        for (uint32_t k = 0; k < atomic_load(&log->n); k++) {
            const engine_op *op = &log->ops[k];
            bool others = known != NULL && op->scope.subject != ENGINE_ANY && op->scope.subject != known->scope.subject;
            if (!others)
                at = tell_op(j->report->story, at, i, op);
        }
    }
}

void engine_lose(engine_judge *j, const engine_known *known, const char *format, ...)
{
    char what[512], *story = j->report->story;
    va_list args;
    if (engine_is_lost(j))
        return;
    va_start(args, format);
    (void)vsnprintf(what, sizeof what, format, args);
    va_end(args);
    j->report->lost = 1;
    size_t at = append(story, 0, "round %llu (seed %llu): ", (unsigned long long)j->setting.shared->round,
                       (unsigned long long)j->plan->seed);
    if (known != NULL)
        at = append(story, at,
                    "session %s of %s with %s, kind %d, sid %d, once %lld, legacy %lld, issued in round %llu, "
                    "generation %lu, dead %d at %llu, perhaps %d, used %d, perhaps %d: ",
                    known->session_id, crash_subjects[known->scope.subject], crash_clients[known->scope.client],
                    known->scope.session_kind, known->scope.sid, (long long)known->scope.once,
                    (long long)known->scope.legacy, (unsigned long long)known->issued_in,
                    (unsigned long)known->generation, known->dead, (unsigned long long)known->dead_at,
                    known->maybe_dead, known->used, known->maybe_used);
    at = append(story, at, "%s", what);
    tell_round(j, known, at);
}

/* ---------------------------------------------------------------------------------------------------------- the run */

/* Keys whose time has passed, or whose subject was erased, would begin something new. */
static void retire_once_keys(engine_judge *j, bool all)
{
    engine_shared *shared = j->setting.shared;
    for (size_t s = 0; s < ENGINE_SUBJECTS; s++) {
        if (all || j->erased[s])
            shared->once_from[s] = engine_last_number(shared) + 1;
    }
}

static void begin_round(engine_judge *j)
{
    engine_shared *shared = j->setting.shared;
    bool next_day = (shared->round + 1) % DAY_EVERY == 0;
    retire_once_keys(j, next_day);
    shared->round++;
    shared->ticks = crash_next(&j->random, 2) == 0;
    int64_t seconds = atomic_load(&shared->now_us) / OTOK_US_PER_S + ROUND_S + (next_day ? DAY_S : 0);
    atomic_store(&shared->now_us, seconds * OTOK_US_PER_S);
    for (int64_t n = engine_last_number(shared) - ENGINE_NEW + 1; n <= engine_last_number(shared); n++)
        shared->began_us[n % ENGINE_NUMBERS] = seconds * OTOK_US_PER_S;
}

static void one_round(engine_judge *j)
{
    begin_round(j);
    engine_let_work_and_kill(j);
    if (!engine_is_lost(j))
        engine_look(j, j->setting.shared->round % FULL_LOOK_EVERY == 0);
}

static void begin(engine_judge *j, engine_shared *shared)
{
    otok_keyring *keyring = NULL;
    (void)snprintf(j->folder, sizeof j->folder, "%s/store", j->plan->folder);
    (void)snprintf(j->keys, sizeof j->keys, "%s/keyring.json", j->plan->folder);
    atomic_store(&shared->now_us, INT64_C(1800000000000000));
    for (size_t n = 0; n < ENGINE_NUMBERS; n++) /* those of round 0 */
        shared->began_us[n] = atomic_load(&shared->now_us);
    j->setting = (engine_setting){.folder = j->folder, .keys = j->keys, .shared = shared, .fault = j->plan->fault};
    j->own = j->setting;
    j->own.fault = ENGINE_SOUND;
    j->own.is_judge = true;
    j->nkeys = 1;
    for (size_t i = 0; i < ENGINE_PAIRS; i++)
        j->consents[i] = j->replay.consents[i].mask = 1; /* none */
    if (otok_keyring_generate(OTOK_ALG_ES256, &keyring, NULL) != OTOK_OK ||
        otok_keyring_save(keyring, j->keys, NULL, NULL) != OTOK_OK)
        engine_lose(j, NULL, "the judge cannot begin");
    otok_keyring_free(keyring);
}

bool engine_run(const engine_plan *plan, engine_report *report)
{
    engine_judge *j = calloc(1, sizeof *j);
    engine_shared *shared = mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (j == NULL || shared == MAP_FAILED)
        abort();
    memset(report, 0, sizeof *report);
    j->plan = plan;
    j->report = report;
    j->random.state = plan->seed;
    begin(j, shared);
    while (report->kills < plan->kills && !engine_is_lost(j))
        one_round(j);
    (void)munmap(shared, sizeof *shared);
    free(j);
    return report->lost == 0;
}
