/*
 * mint.c - gives sessions to the store of an identity server that is not running, as a login of each would have.
 *
 *     mint DIRECTORY ISSUER CLIENT COUNT USERS     DIRECTORY: as otok_config.directory.  Writes a refresh token in each line;
 *                                                  they are those of guest1 to guestUSERS, in turn.
 *
 * SPDX-License-Identifier: MIT
 */
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>

#include <offlinetok/offlinetok.h>

enum { THREADS = 32, SUBJECT_ROOM = 32 };

/* What the threads have in common; thread n issues the sessions n, n + THREADS, and so on. */
typedef struct work {
    otok_service *service;
    const char *client;
    long count, users;
} work;

typedef struct worker {
    const work *work;
    pthread_t thread;
    long first;
    bool failed;
} worker;

static bool issue(const work *w, long n)
{
    static const char *const audience[] = {"files-api"};
    char subject[SUBJECT_ROOM];
    otok_grant grant;
    otok_tokens *tokens = NULL;
    otok_error err;
    otok_grant_init(&grant, sizeof grant);
    (void)snprintf(subject, sizeof subject, "guest%ld", 1 + n % w->users);
    grant.subject = subject;
    grant.client_id = w->client;
    grant.client_type = OTOK_CLIENT_CONFIDENTIAL;
    grant.scope = "offline_access files.read";
    grant.audience = audience;
    grant.audience_count = 1;
    grant.kind = OTOK_SESSION_OFFLINE;
    int rc = otok_issue(w->service, &grant, &tokens, &err);
    if (rc == OTOK_OK)
        (void)puts(tokens->offline_token);
    else
        (void)fprintf(stderr, "mint: %s: %s\n", otok_error_name(rc), err.message);
    otok_tokens_free(tokens);
    return rc == OTOK_OK;
}

static void *run(void *arg)
{
    worker *self = arg;
    for (long n = self->first; n < self->work->count && !self->failed; n += THREADS)
        self->failed = !issue(self->work, n);
    return NULL;
}

static bool mint(const work *w)
{
    worker workers[THREADS] = {0};
    bool good = true;
    size_t started = 0;
    for (; good && started < THREADS; started++) {
        worker *next = &workers[started];
        *next = (worker){.work = w, .first = (long)started};
        if (pthread_create(&next->thread, NULL, run, next) != 0) {
            good = false;
            break;
        }
    }
    for (size_t i = 0; i < started; i++)
        good = pthread_join(workers[i].thread, NULL) == 0 && !workers[i].failed && good;
    return good && fflush(stdout) == 0 && !ferror(stdout);
}

int main(int argc, char **argv)
{
    if (argc != 6) {
        (void)fprintf(stderr, "usage: mint DIRECTORY ISSUER CLIENT COUNT USERS\n");
        return EXIT_FAILURE;
    }
    work w = {.client = argv[3], .count = strtol(argv[4], NULL, 10), .users = strtol(argv[5], NULL, 10)};
    otok_policy policy;
    otok_config config;
    otok_error err;
    if (w.count < 1 || w.users < 1)
        return EXIT_FAILURE;
    otok_policy_init(&policy, sizeof policy);
    policy.access_token = OTOK_OFF; /* nobody would use them */
    otok_config_init(&config, sizeof config);
    config.directory = argv[1];
    config.issuer = argv[2];
    config.policy = &policy;
    if (otok_service_open(&config, NULL, NULL, &w.service, &err) != OTOK_OK) {
        (void)fprintf(stderr, "mint: %s\n", err.message);
        return EXIT_FAILURE;
    }
    bool good = mint(&w);
    otok_service_close(w.service);
    return good ? EXIT_SUCCESS : EXIT_FAILURE;
}
