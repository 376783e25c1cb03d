/*
 * linear_crew.c - histories made by processes, each with a store of its own, some of which are killed.
 *
 * A worker is told by its socket to work or to audit, and says by it that it has; when it dies, the socket ends.
 *
 * SPDX-License-Identifier: MIT
 */
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "support/crew.h"
#include "support/linear_parts.h"

enum { WORK = 'w', AUDIT = 'a', DONE = 'd', FAILED = 'f' };

typedef struct crew {
    const linear_plan *plan;
    otok_keyring *keyring;
    linear_world *world; /* shared */
    linear_random random;
    pid_t pids[LINEAR_CLIENTS];
    int sockets[LINEAR_CLIENTS]; /* -1: none */
} crew;

/* ---------------------------------------------------------------------------------------------------------- the worker */

/* Half of the victims fall by themselves at a step, before a commit or behind it; the others while it runs. */
static uint64_t death_of(const linear_world *world, unsigned i)
{
    linear_random random = {world->seed ^ i};
    if ((world->victims & 1U << i) == 0 || linear_next(&random, 2) == 0)
        return 0;
    return 1 + linear_next(&random, 30);
}

static bool do_as_told(crew *c, unsigned i, char what, otok_store *store, otok_error *err)
{
    linear_client client = {.world = c->world, .index = what == AUDIT ? LINEAR_AUDITOR : i};
    linear_random random = {c->world->seed + client.index};
    client.random.state = linear_next(&random, UINT64_MAX);
    int rc = linear_service_open(c->world, store, c->keyring, &client.service, err);
    if (rc != OTOK_OK)
        return false;
    linear_be(&client);
    if (what == AUDIT) {
        linear_client_audit(&client);
    } else {
        client.dies_in = death_of(c->world, i);
        linear_client_work(&client);
    }
    linear_be(NULL);
    otok_service_close(client.service);
    return true;
}

static void run_worker(crew *c, unsigned i, int socket)
{
    otok_store *store = NULL;
    otok_error err = {0};
    char what, answer = DONE;
    bool well = linear_store_open(c->plan->store, &store, &err) == OTOK_OK;
    while (read(socket, &what, 1) == 1) {
        well = well && do_as_told(c, i, what, store, &err);
        if (!well) {
            (void)snprintf(c->world->trouble, sizeof c->world->trouble, "%.200s", err.message);
            answer = FAILED;
        }
        if (write(socket, &answer, 1) != 1)
            break;
    }
    otok_store_close(store);
    _exit(0);
}

/* ------------------------------------------------------------------------------------------------------------ the crew */

static bool start_worker(crew *c, unsigned i)
{
    int ends[2];
    if (socketpair(AF_UNIX, SOCK_STREAM, 0, ends) != 0)
        return false;
    c->pids[i] = fork();
    if (c->pids[i] == 0) {
        (void)close(ends[0]);
        for (unsigned k = 0; k < LINEAR_CLIENTS; k++) {
            if (c->sockets[k] >= 0)
                (void)close(c->sockets[k]);
        }
        run_worker(c, i, ends[1]);
    }
    (void)close(ends[1]);
    c->sockets[i] = ends[0];
    return c->pids[i] > 0;
}

static void tell_worker(const crew *c, unsigned i, char what)
{
    (void)send(c->sockets[i], &what, 1, MSG_NOSIGNAL); /* one that has died is noticed when it does not answer */
}

/* Its answer, or 0 when it has died. */
static char hear_worker(const crew *c, unsigned i)
{
    char answer = 0;
    return read(c->sockets[i], &answer, 1) == 1 ? answer : 0;
}

/* False when it did not die of SIGKILL. */
static bool bury_worker(crew *c, unsigned i)
{
    int status = 0;
    (void)close(c->sockets[i]);
    c->sockets[i] = -1;
    (void)waitpid(c->pids[i], &status, 0);
    return WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL;
}

static void choose_victims(crew *c)
{
    uint64_t n = linear_next(&c->random, 4); /* of none to three, the second and the third may be the same */
    for (uint64_t i = 0; i < n; i++)
        c->world->victims |= 1U << linear_next(&c->random, LINEAR_CLIENTS);
}

static void kill_victims(crew *c)
{
    const struct timespec pause = {.tv_nsec = (long)linear_next(&c->random, 3000) * 1000};
    if (c->world->victims == 0)
        return;
    (void)nanosleep(&pause, NULL);
    for (unsigned i = 0; i < LINEAR_CLIENTS; i++) {
        if ((c->world->victims & 1U << i) != 0 && death_of(c->world, i) == 0)
            (void)kill(c->pids[i], SIGKILL);
    }
}

/* A victim may have ended its work before it was killed; it is dead all the same, and another takes its place. */
static bool gather(crew *c, linear_report *report)
{
    bool well = true;
    for (unsigned i = 0; i < LINEAR_CLIENTS; i++) {
        bool was_shot = (c->world->victims & 1U << i) != 0 && death_of(c->world, i) == 0;
        char answer = hear_worker(c, i);
        well &= answer != FAILED;
        if (answer != 0 && !was_shot)
            continue;
        well &= bury_worker(c, i) && (c->world->victims & 1U << i) != 0;
        report->killed++;
        well &= start_worker(c, i);
    }
    return well;
}

static bool run_history(crew *c, linear_report *report)
{
    choose_victims(c);
    for (unsigned i = 0; i < LINEAR_CLIENTS; i++)
        tell_worker(c, i, WORK);
    kill_victims(c);
    bool well = gather(c, report);
    tell_worker(c, 0, AUDIT);
    return hear_worker(c, 0) == DONE && well;
}

bool linear_run_processes(const linear_plan *plan, otok_keyring *keyring, linear_report *report)
{
    crew c = {.plan = plan, .keyring = keyring, .world = test_shared(sizeof *c.world), .random = {plan->seed}};
    int64_t begun_us = linear_clock_us();
    bool well = true;
    memset(c.sockets, -1, sizeof c.sockets);
    for (unsigned i = 0; i < LINEAR_CLIENTS; i++)
        well &= start_worker(&c, i);
    for (uint64_t i = 0; well && i < plan->histories; i++) {
        if (plan->most_seconds != 0 && linear_clock_us() - begun_us > plan->most_seconds * OTOK_US_PER_S)
            break;
        linear_world_begin(c.world, plan->seed, plan->first + i);
        well = run_history(&c, report);
        if (well)
            linear_judge(c.world, report);
        else
            (void)linear_fail(report, "a process", &(otok_error){.code = OTOK_E_STATE});
    }
    if (!well && c.world->trouble[0] != '\0')
        (void)snprintf(report->story, sizeof report->story, "a process: %s\n", c.world->trouble);
    for (unsigned i = 0; i < LINEAR_CLIENTS; i++) {
        if (c.sockets[i] < 0)
            continue;
        (void)close(c.sockets[i]);
        (void)waitpid(c.pids[i], NULL, 0);
    }
    test_unshare(c.world, sizeof *c.world);
    return well && report->violations == 0;
}
