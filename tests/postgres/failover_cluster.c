/*
 * failover_cluster.c - the clusters, by the functions of cluster.sh.
 *
 * SPDX-License-Identifier: MIT
 */
#include "postgres/failover.h"

#include <fcntl.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

enum { MOST_ARGUMENTS = 8 };

static const char *script(void)
{
    const char *path = getenv("OTOK_CLUSTER_SCRIPT");
    return path != NULL ? path : "tests/postgres/cluster.sh";
}

static pid_t start(char *const arguments[], int output)
{
    pid_t pid = fork();
    if (pid != 0)
        return pid;
    if (dup2(output, STDOUT_FILENO) >= 0)
        (void)execv(arguments[0], arguments);
    _exit(127);
}

/* Everything up to the end of it; what has no room is dropped. */
static void read_all(int from, char *out, size_t size)
{
    char rest[256];
    size_t at = 0;
    ssize_t n;
    do {
        bool full = out == NULL || at + 1 >= size;
        n = full ? read(from, rest, sizeof rest) : read(from, out + at, size - at - 1);
        at += full || n < 0 ? 0 : (size_t)n;
    } while (n > 0);
    if (out != NULL)
        out[at] = '\0';
}

bool failover_cluster(char *out, size_t size, const char *function, ...)
{
    char *arguments[MOST_ARGUMENTS + 1] = {(char *)script(), (char *)function};
    int ends[2], status = -1;
    va_list rest;
    va_start(rest, function);
    for (size_t i = 2; i < MOST_ARGUMENTS && (arguments[i] = va_arg(rest, char *)) != NULL;)
        i++;
    va_end(rest);
    if (pipe2(ends, O_CLOEXEC) != 0) /* a server that is started here would hold it open */
        return false;
    (void)fflush(NULL);
    pid_t pid = start(arguments, ends[1]);
    (void)close(ends[1]);
    read_all(ends[0], out, size);
    (void)close(ends[0]);
    if (pid > 0)
        (void)waitpid(pid, &status, 0);
    return pid > 0 && WIFEXITED(status) && WEXITSTATUS(status) == 0;
}
