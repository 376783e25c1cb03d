/*
 * crew.c
 *
 * SPDX-License-Identifier: MIT
 */
#include "support/crew.h"

#include <check.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <offlinetok/offlinetok.h>

/* What a process that leaves has to say, in shared memory. */
typedef struct farewell {
    pthread_barrier_t barrier;
    char text[256];
} farewell;

static farewell *ours; /* of this process */

typedef struct member {
    pthread_t thread;
    pthread_barrier_t *barrier;
    void (*body)(void *, size_t);
    void *arg;
    size_t i;
} member;

static void *run_member(void *arg)
{
    member *m = arg;
    pthread_barrier_wait(m->barrier);
    m->body(m->arg, m->i);
    return NULL;
}

void test_threads(size_t n, void (*body)(void *arg, size_t i), void *arg)
{
    pthread_barrier_t barrier;
    member *members = calloc(n, sizeof *members);
    pthread_barrier_init(&barrier, NULL, (unsigned)n);
    for (size_t i = 0; i < n; i++) {
        members[i] = (member){.barrier = &barrier, .body = body, .arg = arg, .i = i};
        if (pthread_create(&members[i].thread, NULL, run_member, &members[i]) != 0)
            ck_abort_msg("pthread_create");
    }
    for (size_t i = 0; i < n; i++)
        pthread_join(members[i].thread, NULL);
    pthread_barrier_destroy(&barrier);
    free(members);
}

void *test_shared(size_t size)
{
    void *shared = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (shared == MAP_FAILED)
        ck_abort_msg("mmap");
    return shared;
}

void test_unshare(void *shared, size_t size)
{
    (void)munmap(shared, size);
}

void test_barrier_init(pthread_barrier_t *barrier, unsigned n)
{
    pthread_barrierattr_t attributes;
    pthread_barrierattr_init(&attributes);
    pthread_barrierattr_setpshared(&attributes, PTHREAD_PROCESS_SHARED);
    pthread_barrier_init(barrier, &attributes, n);
    pthread_barrierattr_destroy(&attributes);
}

void test_leave(const char *what, int code)
{
    if (ours->text[0] == '\0')
        (void)snprintf(ours->text, sizeof ours->text, "%s: %s", what, otok_error_name(code));
    _exit(1);
}

static bool all_left_well(pid_t *pids, size_t n)
{
    bool well = true;
    size_t left = n;
    while (left > 0) {
        int status = 0;
        pid_t pid = waitpid(-1, &status, 0);
        for (size_t i = 0; i < n; i++) {
            if (pids[i] == pid) {
                pids[i] = 0;
                left--;
            }
        }
        if (status == 0 || !well)
            continue;
        well = false; /* the others may be waiting for it */
        for (size_t i = 0; i < n; i++) {
            if (pids[i] > 0)
                (void)kill(pids[i], SIGKILL);
        }
    }
    return well;
}

void test_processes(size_t n, void (*body)(void *shared, size_t i), void *shared)
{
    pid_t *pids = calloc(n, sizeof *pids);
    ours = test_shared(sizeof *ours);
    test_barrier_init(&ours->barrier, (unsigned)n);
    for (size_t i = 0; i < n; i++) {
        pids[i] = fork();
        if (pids[i] < 0)
            ck_abort_msg("fork");
        if (pids[i] == 0) {
            pthread_barrier_wait(&ours->barrier);
            body(shared, i);
            _exit(0);
        }
    }
    bool well = all_left_well(pids, n);
    free(pids);
    if (!well)
        ck_abort_msg("a process: %s", ours->text[0] != '\0' ? ours->text : "died");
    test_unshare(ours, sizeof *ours);
    ours = NULL;
}
