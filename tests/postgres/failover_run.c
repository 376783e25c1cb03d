/*
 * failover_run.c - rounds: a standby joins, the primary is killed, the standby is promoted, everybody goes on, the judge looks.
 *
 * SPDX-License-Identifier: MIT
 */
#include "postgres/failover.h"

#include <offlinetok/postgres.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { CONNINFO = 1024, PATIENCE_S = 60, BEFORE = 40, AFTER = 20 };

typedef struct run {
    failover_shared *shared;
    failover_node judge;
    pid_t pids[FAILOVER_WORKERS];
    const char *primary, *standby;
    char conninfo[CONNINFO];
    otok_keyring *keyring;
    int64_t promotion_ms; /* what the server itself took, in the last round */
    failover_report *report;
} run;

static bool fail(run *r, const char *what)
{
    if (r->report->story[0] == '\0')
        (void)snprintf(r->report->story, sizeof r->report->story, "round %llu: %s",
                       (unsigned long long)r->report->rounds + 1, what);
    return false;
}

/* ---------------------------------------------------------------------------------------------------- the workers */

static void worker_main(run *r, size_t i)
{
    otok_error err;
    failover_node node;
    failover_worker *worker = &r->shared->workers[i];
    if (failover_open(&node, r->shared, r->conninfo, r->keyring, &err) == OTOK_OK)
        failover_work(&node, worker, (uint64_t)getpid() * 2654435761u + (uint64_t)time(NULL));
    else
        (void)snprintf(worker->wrong, sizeof worker->wrong, "open: %.400s", err.message);
    failover_close(&node);
    _exit(EXIT_SUCCESS);
}

static bool start_workers(run *r)
{
    for (size_t i = 0; i < FAILOVER_WORKERS; i++) {
        r->pids[i] = fork();
        if (r->pids[i] == 0)
            worker_main(r, i);
        if (r->pids[i] < 0)
            return fail(r, "fork");
    }
    return true;
}

/* One that hangs does not hold the run up. */
static void stop_workers(run *r)
{
    static const struct timespec moment = {.tv_nsec = 10000000};
    atomic_store(&r->shared->stop, true);
    for (size_t i = 0; i < FAILOVER_WORKERS; i++) {
        pid_t ended = r->pids[i] > 0 ? 0 : -1;
        for (int tries = 0; ended == 0 && tries < 3000; tries++) {
            ended = waitpid(r->pids[i], NULL, WNOHANG);
            if (ended == 0)
                (void)nanosleep(&moment, NULL);
        }
        if (ended == 0) {
            (void)fail(r, "a worker hangs");
            (void)kill(r->pids[i], SIGKILL);
            (void)waitpid(r->pids[i], NULL, 0);
        }
    }
}

static const char *wrong(const run *r)
{
    for (size_t i = 0; i < FAILOVER_WORKERS; i++) {
        if (r->shared->workers[i].wrong[0] != '\0')
            return r->shared->workers[i].wrong;
    }
    return NULL;
}

typedef bool (*condition)(const run *r, const uint64_t *from);

/* Polls for a minute, and gives up at once when a worker was told something wrong. */
static bool wait_until(run *r, condition is_so, const uint64_t *from, const char *what)
{
    static const struct timespec moment = {.tv_nsec = 1000000};
    time_t until = time(NULL) + PATIENCE_S;
    while (!is_so(r, from)) {
        if (wrong(r) != NULL)
            return fail(r, wrong(r));
        if (time(NULL) > until)
            return fail(r, what);
        (void)nanosleep(&moment, NULL);
    }
    return true;
}

static bool all_did(const run *r, const uint64_t *from)
{
    bool did = true;
    for (size_t i = 0; i < FAILOVER_WORKERS; i++)
        did = did && atomic_load(&r->shared->workers[i].done) >= from[i];
    return did;
}

static bool all_parked(const run *r, const uint64_t *from)
{
    bool parked = true;
    (void)from;
    for (size_t i = 0; i < FAILOVER_WORKERS; i++)
        parked = parked && atomic_load(&r->shared->workers[i].parked);
    return parked;
}

/* Every worker has had `n` more successes. */
static bool let_work(run *r, uint64_t n, const char *what)
{
    uint64_t from[FAILOVER_WORKERS];
    for (size_t i = 0; i < FAILOVER_WORKERS; i++)
        from[i] = atomic_load(&r->shared->workers[i].done) + n;
    return wait_until(r, all_did, from, what);
}

/* ---------------------------------------------------------------------------------------------------- a round */

static bool judge_all(run *r)
{
    atomic_store(&r->shared->park, true);
    bool good = wait_until(r, all_parked, NULL, "a worker hangs");
    for (size_t i = 0; good && i < FAILOVER_WORKERS; i++) {
        r->report->checked += r->shared->workers[i].nsessions;
        good = failover_judge(&r->judge, &r->shared->workers[i]) || fail(r, r->shared->workers[i].wrong);
    }
    atomic_store(&r->shared->park, false);
    return good;
}

static bool kill_and_promote(run *r)
{
    struct timespec killed, promoted;
    bool good = failover_cluster(NULL, 0, "kill", r->primary, NULL);
    (void)clock_gettime(CLOCK_MONOTONIC, &killed);
    good = good && failover_cluster(NULL, 0, "promote", r->standby, NULL);
    (void)clock_gettime(CLOCK_MONOTONIC, &promoted);
    r->promotion_ms = (promoted.tv_sec - killed.tv_sec) * 1000 + (promoted.tv_nsec - killed.tv_nsec) / 1000000;
    return good;
}

/*
 * What was acknowledged before the server knew of its standby is on it too by the time of the kill: every worker has been answered
 * since, and a standby has everything that comes before what it has.
 */
static bool one_round(run *r)
{
    if (!failover_cluster(NULL, 0, "standby", r->standby, r->primary, NULL))
        return fail(r, "the standby does not join");
    if (!let_work(r, BEFORE, "no service before the kill"))
        return false;
    atomic_store(&r->shared->longest_us, 0);
    if (!kill_and_promote(r))
        return fail(r, "the standby was not promoted");
    if (!let_work(r, AFTER, "the library does not resume"))
        return false;
    r->report->without_us[r->report->rounds] = atomic_load(&r->shared->longest_us);
    if (!judge_all(r))
        return false;
    (void)failover_cluster(NULL, 0, "remove", r->primary, NULL);
    const char *former = r->primary;
    r->primary = r->standby;
    r->standby = former;
    r->report->rounds++;
    return true;
}

/* ---------------------------------------------------------------------------------------------------- the run */

static bool prepare(run *r)
{
    otok_error err;
    size_t len;
    if (!failover_cluster(r->conninfo, sizeof r->conninfo, "conninfo", r->primary, r->standby, NULL))
        return fail(r, "cluster.sh conninfo");
    len = strcspn(r->conninfo, "\n");
    r->conninfo[len] = '\0';
    if (otok_postgres_migrate(r->conninfo, NULL, &err) != OTOK_OK ||
        otok_keyring_generate(OTOK_ALG_DEFAULT, &r->keyring, &err) != OTOK_OK)
        return fail(r, err.message);
    if (!start_workers(r))
        return false;
    if (failover_open(&r->judge, r->shared, r->conninfo, r->keyring, &err) != OTOK_OK)
        return fail(r, err.message);
    return let_work(r, 1, "no service at all");
}

static void sum_up(run *r)
{
    for (size_t i = 0; i < FAILOVER_WORKERS; i++) {
        r->report->done += r->shared->workers[i].done;
        r->report->in_doubt += r->shared->workers[i].in_doubt;
        r->report->untried += r->shared->workers[i].untried;
    }
    r->report->lost = wrong(r) != NULL;
}

bool failover_run(const char *primary, const char *other, uint64_t rounds, failover_report *report, FILE *progress)
{
    run r = {.primary = primary, .standby = other, .report = report};
    *report = (failover_report){.without_us = calloc(rounds, sizeof *report->without_us)};
    r.shared = mmap(NULL, sizeof *r.shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (r.shared == MAP_FAILED || report->without_us == NULL)
        return fail(&r, "no memory");
    bool good = prepare(&r);
    while (good && report->rounds < rounds) {
        good = one_round(&r);
        if (good && progress != NULL)
            (void)fprintf(progress, "round %llu: %lld ms without service, promoted in %lld ms\n",
                          (unsigned long long)report->rounds, (long long)report->without_us[report->rounds - 1] / 1000,
                          (long long)r.promotion_ms);
        if (progress != NULL)
            (void)fflush(progress);
    }
    stop_workers(&r);
    sum_up(&r);
    failover_close(&r.judge);
    otok_keyring_free(r.keyring);
    (void)munmap(r.shared, sizeof *r.shared);
    return good;
}
