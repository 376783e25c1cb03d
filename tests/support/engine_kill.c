/*
 * engine_kill.c - lets workers work, and kills them: anywhere in the opening, or anywhere in an operation.
 *
 * SPDX-License-Identifier: MIT
 */
#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "support/engine_parts.h"

enum { PATIENCE_US = 20000000, OPENING_US = 6000, MOST_OPERATIONS = 24 };

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
static void wait_for_operations(engine_judge *j, pid_t pid, const engine_log *log, uint32_t n)
{
    int64_t until_us = clock_us() + PATIENCE_US;
    while (atomic_load(&log->n) < (n < ENGINE_OPS ? n : ENGINE_OPS)) {
        if ((atomic_load(&log->opened) && log->open_rc != OTOK_OK) || has_ended(pid))
            return;
        if (clock_us() > until_us) {
            engine_lose(j, NULL, "a worker hangs: %u operations begun in %d s, %s", atomic_load(&log->n),
                        PATIENCE_US / 1000000, atomic_load(&log->opened) ? "the store is open" : "it does not open");
            return;
        }
        (void)sched_yield();
    }
}

/* A sync takes some milliseconds, and everything else microseconds. */
static void choose_the_moment(engine_judge *j, pid_t pid, const engine_log *log)
{
    static const uint64_t spans_us[] = {20, 300, 3000, 9000};
    if (crash_next(&j->random, 12) == 0) {
        let_pass_us(crash_next(&j->random, OPENING_US));
        return;
    }
    wait_for_operations(j, pid, log, (uint32_t)(1 + crash_next(&j->random, MOST_OPERATIONS) + atomic_load(&log->n)));
    let_pass_us(crash_next(&j->random, spans_us[crash_next(&j->random, sizeof spans_us / sizeof spans_us[0])]));
}

static pid_t start_worker(engine_judge *j, unsigned i)
{
    uint64_t seed = crash_next(&j->random, UINT64_MAX);
    pid_t pid = fork();
    if (pid == 0)
        engine_work(&j->setting, &j->setting.shared->logs[i], &j->table, seed);
    if (pid < 0)
        engine_lose(j, NULL, "fork: %s", strerror(errno));
    return pid;
}

/* One after another: those that are left go on with what the dead held. */
static void kill_worker(engine_judge *j, pid_t pid)
{
    int status = 0;
    (void)kill(pid, SIGKILL);
    (void)waitpid(pid, &status, 0);
    j->report->kills++;
    if (!WIFSIGNALED(status) || WTERMSIG(status) != SIGKILL)
        engine_lose(j, NULL, "a worker ended by itself: status %#x", (unsigned)status);
}

void engine_let_work_and_kill(engine_judge *j)
{
    pid_t pids[ENGINE_WORKERS];
    unsigned n = 0;
    memset(j->setting.shared->logs, 0, sizeof j->setting.shared->logs);
    while (n < j->plan->workers && !engine_is_lost(j)) {
        pids[n] = start_worker(j, n);
        n += pids[n] > 0;
    }
    for (unsigned i = 0; i < n; i++) {
        choose_the_moment(j, pids[i], &j->setting.shared->logs[i]);
        kill_worker(j, pids[i]);
    }
}
