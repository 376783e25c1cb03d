/*
 * crash.c - the judge: lets workers work, kills them, and holds what is in the store against what they were told.
 *
 * SPDX-License-Identifier: MIT
 */
#include <errno.h>
#include <ftw.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "support/crash_parts.h"

enum { ROUND_S = 60, FULL_LOOK_EVERY = 500, PATIENCE_US = 20000000 };

typedef struct judge {
    const crash_plan *plan;
    crash_report *report;
    crash_setting setting;
    char folder[4096];
    crash_table table;
    int64_t floors[CRASH_SUBJECTS + 1]
                  [CRASH_CLIENTS + 1]; /* cutoffs that were acknowledged; the last row and column: any */
    crash_random random;
    uint64_t round;
    size_t births; /* sessions that may be there without their token having been returned */
    otok_store *store;
    otok_service *service;
} judge;

static bool is_lost(const judge *j)
{
    return j->report->lost != 0;
}

/* The first thing that is wrong ends the run. */
static void lose(judge *j, const crash_known *known, const char *format, ...) OTOK_PRINTF(3, 4);
static void lose(judge *j, const crash_known *known, const char *format, ...)
{
    static const char *const kinds[] = {"issue",      "refresh",         "revoke_session", "revoke_token",
                                        "cutoff_set", "revoke_matching", "sweep"};
    char what[512];
    va_list args;
    if (is_lost(j))
        return;
    va_start(args, format);
    (void)vsnprintf(what, sizeof what, format, args);
    va_end(args);
    j->report->lost = 1;
    if (known == NULL) {
        (void)snprintf(j->report->story, CRASH_STORY, "round %llu (seed %llu): %s", (unsigned long long)j->round,
                       (unsigned long long)j->plan->seed, what);
        return;
    }
    (void)snprintf(
        j->report->story, CRASH_STORY,
        "round %llu (seed %llu): session %s of %s and %s, issued in round %llu, generation %lu acknowledged, last told "
        "OTOK_OK in round %llu for %s: %s",
        (unsigned long long)j->round, (unsigned long long)j->plan->seed, known->session_id,
        crash_subjects[known->subject], crash_clients[known->client], (unsigned long long)known->issued_in,
        (unsigned long)known->generation, (unsigned long long)known->last_in, kinds[known->last], what);
}

/* ------------------------------------------------------------------------------------------------------ the killing */

static int64_t clock_us(void)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * OTOK_US_PER_S + now.tv_nsec / 1000;
}

static void let_pass_us(uint64_t us)
{
    const struct timespec pause = {.tv_sec = (time_t)(us / 1000000), .tv_nsec = (long)(us % 1000000) * 1000};
    (void)nanosleep(&pause, NULL);
}

static bool has_ended(pid_t pid)
{
    siginfo_t info = {.si_pid = 0};
    return waitid(P_PID, (id_t)pid, &info, WEXITED | WNOHANG | WNOWAIT) == 0 && info.si_pid == pid;
}

/* Until a worker has begun so many operations, has failed to open, or has come to an end of its own. */
static void wait_for_operations(judge *j, pid_t pid, const crash_log *log, uint32_t n)
{
    int64_t until_us = clock_us() + PATIENCE_US;
    while (atomic_load(&log->n) < (n < CRASH_OPS ? n : CRASH_OPS)) {
        if ((atomic_load(&log->opened) && log->open_rc != OTOK_OK) || has_ended(pid))
            return;
        if (clock_us() > until_us) {
            lose(j, NULL, "a worker hangs: %u operations begun in %d s, %s", atomic_load(&log->n),
                 PATIENCE_US / 1000000, atomic_load(&log->opened) ? "the store is open" : "the store does not open");
            return;
        }
        (void)sched_yield();
    }
}

/*
 * Anywhere in the opening, or anywhere in an operation: a sync takes some milliseconds, and everything else
 * microseconds.
 */
static void choose_the_moment(judge *j, pid_t pid, const crash_log *log)
{
    static const uint64_t spans_us[] = {20, 300, 3000, 9000};
    uint64_t opening_us = j->plan->newborn ? 60000 : 6000;
    if (crash_next(&j->random, 4) == 0 || (j->plan->newborn && crash_next(&j->random, 3) != 0)) {
        let_pass_us(crash_next(&j->random, opening_us));
        return;
    }
    wait_for_operations(j, pid, log,
                        (uint32_t)(1 + crash_next(&j->random, j->plan->newborn ? 3 : 20) + atomic_load(&log->n)));
    let_pass_us(crash_next(&j->random, spans_us[crash_next(&j->random, sizeof spans_us / sizeof spans_us[0])]));
}

static pid_t start_worker(judge *j, unsigned i)
{
    uint64_t seed = crash_next(&j->random, UINT64_MAX);
    pid_t pid = fork();
    if (pid == 0)
        crash_work(&j->setting, &j->setting.shared->logs[i], &j->table, seed);
    if (pid < 0)
        lose(j, NULL, "fork: %s", strerror(errno));
    return pid;
}

/* One after another: those that are left go on with what the dead held. */
static void kill_worker(judge *j, pid_t pid)
{
    int status = 0;
    (void)kill(pid, SIGKILL);
    (void)waitpid(pid, &status, 0);
    j->report->kills++;
    if (!WIFSIGNALED(status) || WTERMSIG(status) != SIGKILL)
        lose(j, NULL, "a worker ended by itself: status %#x", (unsigned)status);
}

static void let_work_and_kill(judge *j)
{
    pid_t pids[CRASH_WORKERS];
    unsigned n = 0;
    memset(j->setting.shared->logs, 0, sizeof j->setting.shared->logs);
    while (n < j->plan->workers && !is_lost(j)) {
        pids[n] = start_worker(j, n);
        n += pids[n] > 0;
    }
    for (unsigned i = 0; i < n; i++) {
        choose_the_moment(j, pids[i], &j->setting.shared->logs[i]);
        kill_worker(j, pids[i]);
    }
}

/* ------------------------------------------------------------------------------------------- what was acknowledged */

static bool is_aimed_at(const crash_op *op, const crash_known *known)
{
    return (op->subject == CRASH_ANY || op->subject == known->subject) &&
           (op->client == CRASH_ANY || op->client == known->client);
}

static bool is_cutoff(const crash_op *op)
{
    return op->kind == CRASH_CUTOFF || op->kind == CRASH_MATCHING;
}

static bool is_answered(const crash_op *op)
{
    return atomic_load(&op->answered) && op->rc != OTOK_E_UNCERTAIN;
}

static bool is_done(const crash_op *op)
{
    return is_answered(op) && op->rc == OTOK_OK;
}

/* What others may have been in the way of. */
static bool is_try_again(int rc)
{
    return rc == OTOK_E_BUSY || rc == OTOK_E_CONFLICT;
}

static void acknowledge(judge *j, crash_known *known, crash_kind kind)
{
    known->last = kind;
    known->last_in = j->round;
    known->touched = true;
}

static void learn_issue(judge *j, const crash_op *op)
{
    if (is_done(op)) {
        crash_known *known = crash_add(&j->table, op, j->setting.shared->now_us);
        known->issued_in = j->round;
        acknowledge(j, known, op->kind);
    } else if (!is_answered(op)) {
        j->births++;
    } else if (!is_try_again(op->rc)) {
        lose(j, NULL, "an issue fails: %s", otok_error_name(op->rc));
    }
}

static void learn_refresh(judge *j, const crash_op *op, crash_known *known)
{
    if (!is_answered(op))
        known->maybe_advanced = true;
    if (!is_done(op))
        return;
    if (op->generation > known->generation) {
        known->generation = op->generation;
        memcpy(known->token, op->token, sizeof known->token);
    } else if (op->generation < known->generation || strcmp(op->token, known->token) != 0) {
        lose(j, known, "a refresh went back to generation %lu, or gave another token of the same one",
             (unsigned long)op->generation);
    }
    acknowledge(j, known, op->kind);
}

static void learn_end(judge *j, const crash_op *op, crash_known *known)
{
    if (is_done(op)) {
        known->dead = known->removed = true;
        acknowledge(j, known, op->kind);
    } else if (!is_answered(op)) {
        known->maybe_dead = true;
    }
}

/*
 * Whoever was issued before it began is dead when it was answered; whoever began after it ended is not its concern
 * (V3).
 */
static void learn_cutoff(judge *j, const crash_op *op)
{
    int64_t *floor = &j->floors[op->subject == CRASH_ANY ? CRASH_SUBJECTS : op->subject]
                               [op->client == CRASH_ANY ? CRASH_CLIENTS : op->client];
    if (is_done(op) && op->kind == CRASH_CUTOFF && op->effective_us > *floor)
        *floor = op->effective_us;
    for (size_t i = 0; i < j->table.n; i++) {
        crash_known *known = &j->table.sessions[i];
        if (known->dead || !is_aimed_at(op, known) || (is_answered(op) && known->issue_begun > op->ended))
            continue;
        if (is_done(op) && known->issue_ended < op->begun) {
            known->dead = true;
            acknowledge(j, known, op->kind);
        } else {
            known->maybe_dead = true;
            known->touched = true;
        }
    }
}

static void learn_from(judge *j, const crash_op *op)
{
    j->report->acknowledged += is_done(op);
    j->report->in_flight += !is_answered(op);
    crash_known *known = op->kind == CRASH_ISSUE || is_cutoff(op) || op->kind == CRASH_SWEEP
                             ? NULL
                             : crash_find(&j->table, op->session_id);
    if (known != NULL)
        known->touched = true;
    if (op->kind == CRASH_REFRESH && known != NULL)
        learn_refresh(j, op, known);
    else if (known != NULL)
        learn_end(j, op, known);
    else if (is_cutoff(op))
        learn_cutoff(j, op);
    else if (op->kind == CRASH_SWEEP && is_answered(op) && op->rc != OTOK_OK && !is_try_again(op->rc))
        lose(j, NULL, "a sweep fails: %s", otok_error_name(op->rc));
}

/* A refusal must have a reason: somebody ended the session, or may have, or its time was up. */
static void judge_refusal(judge *j, const crash_op *op)
{
    crash_known *known = crash_find(&j->table, op->session_id);
    bool on_one = op->kind == CRASH_REFRESH || op->kind == CRASH_REVOKE_ID || op->kind == CRASH_REVOKE_TOKEN;
    if (!on_one || known == NULL || !is_answered(op) || op->rc == OTOK_OK || is_try_again(op->rc))
        return;
    bool is_gone = op->rc == OTOK_E_TOKEN_UNKNOWN || op->rc == OTOK_E_TOKEN_REVOKED || op->rc == OTOK_E_NOT_FOUND;
    bool is_over = op->rc == OTOK_E_TOKEN_EXPIRED || is_gone;
    if ((is_gone && (known->dead || known->maybe_dead)) || (is_over && j->setting.shared->now_us >= known->expires_us))
        return;
    lose(j, known, "a worker was told %s, and nobody had ended it", otok_error_name(op->rc));
}

static void for_each_op(judge *j, bool issues, void (*do_it)(judge *, const crash_op *))
{
    for (unsigned i = 0; i < j->plan->workers; i++) {
        const crash_log *log = &j->setting.shared->logs[i];
        for (uint32_t k = 0; k < atomic_load(&log->n) && !is_lost(j); k++) {
            if ((log->ops[k].kind == CRASH_ISSUE) == issues)
                do_it(j, &log->ops[k]);
        }
    }
}

static void learn(judge *j)
{
    for (size_t i = 0; i < j->table.n; i++) {
        crash_known *known = &j->table.sessions[i];
        known->touched = known->maybe_dead = known->maybe_advanced = false;
    }
    for (unsigned i = 0; i < j->plan->workers; i++) {
        const crash_log *log = &j->setting.shared->logs[i];
        if (atomic_load(&log->opened) && log->open_rc != OTOK_OK && log->open_rc != OTOK_E_BUSY)
            lose(j, NULL, "a worker cannot open the store: %s: %s", otok_error_name(log->open_rc), log->open_message);
    }
    j->births = 0;
    for_each_op(j, true, learn_issue); /* first: others may be about what another worker issued */
    for_each_op(j, false, learn_from);
    for_each_op(j, false, judge_refusal);
}

/* --------------------------------------------------------------------------------------------------- what is there */

static void see_alive(judge *j, crash_known *known, const otok_tokens *tokens)
{
    bool advanced = tokens->outcome == OTOK_OUTCOME_ADVANCED, retried = tokens->outcome == OTOK_OUTCOME_RETRIED;
    if (known->dead)
        lose(j, known, "it is dead, and its token was refreshed");
    else if (j->setting.shared->now_us >= known->expires_us)
        lose(j, known, "it has expired, and its token was refreshed");
    else if (tokens->generation != known->generation + (advanced || retried))
        lose(j, known, "its token came back with generation %lu", (unsigned long)tokens->generation);
    else if (retried && !known->maybe_advanced)
        lose(j, known, "it was rotated, and nobody had asked for that");
    else if (!advanced && !retried && strcmp(tokens->offline_token, known->token) != 0)
        lose(j, known, "the same generation came back as another token");
    j->report->happened += retried;
    known->maybe_dead = known->maybe_advanced = false;
    known->generation = tokens->generation;
    memcpy(known->token, tokens->offline_token, sizeof known->token);
}

static void see_refused(judge *j, crash_known *known, int rc, const otok_error *err)
{
    bool is_gone = rc == OTOK_E_TOKEN_UNKNOWN || rc == OTOK_E_TOKEN_REVOKED;
    bool has_expired = j->setting.shared->now_us >= known->expires_us;
    if (is_gone && known->maybe_dead && !known->dead)
        j->report->happened++;
    if ((is_gone && (known->dead || known->maybe_dead)) || (has_expired && (is_gone || rc == OTOK_E_TOKEN_EXPIRED)))
        known->dead = true;
    else
        lose(j, known, "its token is refused: %s: %s", otok_error_name(rc), err->message);
}

static void look_at(judge *j, crash_known *known)
{
    otok_tokens *tokens = NULL;
    otok_error err = {0};
    int rc = crash_refresh(j->service, known, &tokens, &err);
    j->report->checked++;
    if (rc == OTOK_OK)
        see_alive(j, known, tokens);
    else
        see_refused(j, known, rc, &err);
    otok_tokens_free(tokens);
}

static void cutoffs_stand(judge *j)
{
    for (uint8_t s = 0; s <= CRASH_SUBJECTS; s++) {
        for (uint8_t c = 0; c <= CRASH_CLIENTS; c++) {
            otok_filter filter = crash_filter(s == CRASH_SUBJECTS ? CRASH_ANY : s, c == CRASH_CLIENTS ? CRASH_ANY : c);
            int64_t at_us = 0;
            otok_error err = {0};
            if (j->floors[s][c] == 0)
                continue;
            int rc = otok_cutoff_get(j->service, &filter, &at_us, &err);
            if (rc != OTOK_OK || at_us < j->floors[s][c])
                lose(j, NULL, "the cutoff of %s and %s was acknowledged, and is not there: %s",
                     s < CRASH_SUBJECTS ? crash_subjects[s] : "anybody",
                     c < CRASH_CLIENTS ? crash_clients[c] : "any client", otok_error_name(rc));
        }
    }
}

typedef struct strangers {
    judge *j;
    size_t n, rows;
    otok_id last, ids[CRASH_WORKERS + 1];
} strangers;

static int on_record(void *arg, const otok_record *record)
{
    strangers *s = arg;
    char id[OTOK_SESSION_ID_CHARS + 1];
    s->rows++;
    s->last = record->id;
    if (record->kind != OTOK_RECORD_SESSION)
        return 0;
    otok_session_id_print(&record->id, id);
    const crash_known *known = crash_find(&s->j->table, id);
    if (known != NULL && known->removed)
        lose(s->j, known, "its removal was acknowledged, and its record is there");
    if (known == NULL && s->n < CRASH_WORKERS + 1)
        s->ids[s->n++] = record->id;
    return 0;
}

/* Who is there without having been acknowledged was being issued; nobody has their tokens, and they are sent away. */
static void strangers_are_newborn(judge *j)
{
    strangers s = {.j = j};
    otok_scan scan = {.size = sizeof scan, .limit = OTOK_MAX_FETCH};
    do {
        s.rows = 0;
        if (otok_store_scan(j->store, &scan, on_record, &s, NULL) != OTOK_OK)
            lose(j, NULL, "the records cannot be read");
        scan.flags = OTOK_SCAN_AFTER;
        scan.after = s.last;
    } while (!is_lost(j) && s.rows == OTOK_MAX_FETCH);
    if (s.n > j->births)
        lose(j, NULL, "%zu sessions are there that nobody knows, and %zu were being issued", s.n, j->births);
    j->report->happened += s.n;
    for (size_t i = 0; i < s.n && !is_lost(j); i++) {
        char id[OTOK_SESSION_ID_CHARS + 1];
        otok_session_id_print(&s.ids[i], id);
        if (otok_revoke_session(j->service, id, NULL) != OTOK_OK)
            lose(j, NULL, "session %s, which was being issued, cannot be revoked", id);
    }
}

/* Those that something happened to, a few others, and everybody now and then. */
static void sessions_are_as_told(judge *j, bool everybody)
{
    for (size_t i = 0; i < j->table.n && !is_lost(j); i++) {
        if (everybody || j->table.sessions[i].touched)
            look_at(j, &j->table.sessions[i]);
    }
    for (int i = 0; i < 3 && j->table.n != 0 && !is_lost(j); i++)
        look_at(j, &j->table.sessions[crash_next(&j->random, j->table.n)]);
}

static void close_store(judge *j)
{
    otok_service_close(j->service);
    otok_store_close(j->store);
    j->service = NULL;
    j->store = NULL;
}

static void look(judge *j, bool everybody)
{
    otok_error err = {0};
    char story[CRASH_STORY] = "";
    crash_setting setting = j->setting;
    setting.lossy = false;
    int rc = crash_open(&setting, &j->store, &j->service, &err);
    if (rc != OTOK_OK) {
        lose(j, NULL, "the store does not open: %s: %s", otok_error_name(rc), err.message);
        return;
    }
    if (!crash_indexes_agree(j->service, j->store, story))
        lose(j, NULL, "%s", story);
    if (!is_lost(j))
        strangers_are_newborn(j);
    sessions_are_as_told(j, everybody);
    cutoffs_stand(j);
    close_store(j);
}

/* ---------------------------------------------------------------------------------------------------------- the run */

static int remove_one(const char *path, const struct stat *st, int flag, struct FTW *ftw)
{
    (void)st;
    (void)flag;
    (void)ftw;
    return remove(path);
}

static void begin_anew(judge *j)
{
    (void)nftw(j->folder, remove_one, 16, FTW_DEPTH | FTW_PHYS);
    memset(&j->table, 0, sizeof j->table);
    memset(j->floors, 0, sizeof j->floors);
}

static void one_round(judge *j)
{
    j->round++;
    if (j->plan->newborn)
        begin_anew(j);
    j->setting.shared->now_us += ROUND_S * OTOK_US_PER_S;
    let_work_and_kill(j);
    if (!is_lost(j))
        learn(j);
    if (!is_lost(j))
        look(j, j->round % FULL_LOOK_EVERY == 0);
}

bool crash_run(const crash_plan *plan, crash_report *report)
{
    judge *j = calloc(1, sizeof *j);
    crash_shared *shared = mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    memset(report, 0, sizeof *report);
    j->plan = plan;
    j->report = report;
    j->random.state = plan->seed;
    (void)snprintf(j->folder, sizeof j->folder, "%s/store", plan->folder);
    shared->now_us = INT64_C(1800000000000000);
    j->setting = (crash_setting){.folder = j->folder, .shared = shared, .lossy = plan->lossy};
    if (shared == MAP_FAILED || otok_keyring_generate(OTOK_ALG_ES256, &j->setting.keyring, NULL) != OTOK_OK)
        lose(j, NULL, "the judge cannot begin");
    while (report->kills < plan->kills && !is_lost(j))
        one_round(j);
    if (!is_lost(j))
        look(j, true);
    close_store(j);
    otok_keyring_free(j->setting.keyring);
    (void)munmap(shared, sizeof *shared);
    free(j);
    return report->lost == 0;
}
