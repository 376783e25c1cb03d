/*
 * bench.c - refreshes a second on PostgreSQL, each a read and a durable write, beside pgbench, which does the same update of one row
 * and nothing else; in one run, one after the other.
 *
 *     cluster.sh run bench [SECONDS]     5 for each figure
 *
 * SPDX-License-Identifier: MIT
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "postgres/server.h"
#include "support/ask.h"
#include "support/crew.h"

enum { MOST = 32, SESSIONS = 64, ROWS = MOST * SESSIONS };

typedef struct bench {
    test_server server;
    test_fixture *f;
    int64_t end_us;
    test_held held[MOST][SESSIONS];
    uint64_t done[MOST];
} bench;

static void must(bool good, const char *what)
{
    if (good)
        return;
    (void)fprintf(stderr, "bench: %s\n", what);
    exit(EXIT_FAILURE);
}

static void refresh_on_and_on(void *arg, size_t i)
{
    bench *b = arg;
    for (size_t k = 0; otok_clock_monotonic_us() < b->end_us; k++) {
        test_advance_s(b->f, 60); /* so that each one rotates */
        must(test_refresh_held(b->f, &b->held[i][k % SESSIONS], NULL) == OTOK_OK, "a refresh failed");
        b->done[i]++;
    }
}

static double refreshes(bench *b, size_t threads, int seconds)
{
    uint64_t done = 0;
    int64_t begin_us = otok_clock_monotonic_us();
    memset(b->done, 0, sizeof b->done);
    b->end_us = begin_us + (int64_t)seconds * 1000000;
    test_threads(threads, refresh_on_and_on, b);
    for (size_t i = 0; i < threads; i++)
        done += b->done[i];
    return (double)done * 1e6 / (double)(otok_clock_monotonic_us() - begin_us);
}

/* The same update, of rows that look the same, in a table like it. */
static void make_rows(const bench *b, char script[64])
{
    test_server_sql(&b->server, NULL, "CREATE TABLE %1$s.rows (LIKE %1$s.records INCLUDING ALL)", b->server.schema);
    test_server_sql(&b->server, NULL, "ALTER TABLE %1$s.rows SET (fillfactor = 85)", b->server.schema);
    test_server_sql(&b->server, NULL,
                    "INSERT INTO %1$s.rows SELECT decode(md5(n::text), 'hex'), r.kind, r.version, r.created_us, "
                    "r.sweep_us, r.realm_key, r.subject_key, r.client_key, r.pair_key, r.sid_key, r.sweep_key, "
                    "r.other_keys, r.links, r.realm, r.subject, r.client, r.head, r.body FROM (SELECT *, row_number() "
                    "OVER () AS n FROM %1$s.records WHERE kind = 1) AS r",
                    b->server.schema);
    int fd = mkstemp(script);
    FILE *file = fd >= 0 ? fdopen(fd, "w") : NULL;
    must(file != NULL, script);
    (void)fprintf(file,
                  "\\set n random(1, %d)\n"
                  "UPDATE %s.rows SET version = version + 1, head = head WHERE id = decode(md5(:n::text), 'hex');\n",
                  (int)ROWS, b->server.schema);
    (void)fclose(file);
}

static double updates(const bench *b, const char *script, size_t clients, int seconds)
{
    char command[2048], line[256];
    double tps = 0;
    (void)snprintf(command, sizeof command, "pgbench -n -M prepared -c %zu -j %zu -T %d -f %s '%s' 2>/dev/null",
                   clients, clients < 2 ? clients : 2, seconds, script, b->server.conninfo);
    FILE *pgbench = popen(command, "r");
    must(pgbench != NULL, command);
    while (fgets(line, sizeof line, pgbench) != NULL) {
        if (strncmp(line, "tps = ", 6) == 0)
            tps = strtod(line + 6, NULL);
    }
    must(pclose(pgbench) == 0 && tps > 0, command);
    return tps;
}

static void begin(bench *b)
{
    test_server_begin(&b->server, "bench");
    b->server.options.connections = MOST;
    b->f = test_server_fixture(&b->server);
    b->f->policy.rotation = OTOK_ROTATION_ALWAYS;
    b->f->policy.idle_timeout_s = OTOK_UNLIMITED;
    b->f->policy.max_lifetime_s = OTOK_UNLIMITED;
    b->f->callbacks.event = NULL;
    test_plain_policy(b->f);
    for (size_t i = 0; i < MOST; i++) {
        for (size_t k = 0; k < SESSIONS; k++)
            b->held[i][k] = test_hold(b->f, NULL, NULL);
    }
}

int main(int argc, char **argv)
{
    static const size_t connections[] = {1, 8, 32};
    static bench b;
    char script[64] = "/tmp/otok-pgbench-XXXXXX";
    int seconds = argc > 1 ? atoi(argv[1]) : 5;
    begin(&b);
    make_rows(&b, script);
    printf("%12s %24s %24s %24s\n", "connections", "refreshes/s", "the same, signing", "pgbench updates/s");
    for (size_t i = 0; i < sizeof connections / sizeof connections[0]; i++) {
        b.f->policy.access_token = OTOK_OFF;
        test_reopen_service(b.f);
        double plain = refreshes(&b, connections[i], seconds);
        b.f->policy.access_token = OTOK_ON;
        test_reopen_service(b.f);
        double signing = refreshes(&b, connections[i], seconds);
        printf("%12zu %24.0f %24.0f %24.0f\n", connections[i], plain, signing,
               updates(&b, script, connections[i], seconds));
        (void)fflush(stdout);
    }
    (void)unlink(script);
    test_close(b.f);
    return EXIT_SUCCESS;
}
