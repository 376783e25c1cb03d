/*
 * main.c - options, start and stop of the server, and what it does every second.
 *
 * SPDX-License-Identifier: MIT
 */
#include "server.h"

#include <errno.h>
#include <getopt.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum { SWEEP_EVERY_S = 60, SWEEP_FOR_US = 500000, SECOND_US = 1000000 };

struct options {
    const char *listen, *issuer, *data, *store, *directory, *certificate, *key;
    bool behind_proxy;
};

int64_t now_us(void)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    return (int64_t)now.tv_sec * SECOND_US + now.tv_nsec / 1000;
}

/* ------------------------------------------------------------------------------------------------------------ options */

static void print_help(void)
{
    puts(
        "identity-server: a small OpenID provider with offline sessions\n"
        "\n"
        "  --listen ADDRESS:PORT   where it answers (127.0.0.1:8080); port 0: any that is free\n"
        "  --issuer URL            how it is called (http://localhost:PORT); https for everybody but this machine\n"
        "  --data DIR              what it keeps: sessions and keys (./identity-server-data)\n"
        "  --store postgres:CONN   sessions are there instead, shared by servers that have the same --data, or copies\n"
        "                          of it; the schema is made by: offlinetok migrate\n"
        "  --directory FILE        users, clients and scopes (demo.json, beside its sources)\n"
        "  --tls-cert FILE         PEM: its certificate, and those between it and the root\n"
        "  --tls-key FILE          PEM: the key of that\n"
        "  --behind-proxy          requests come through a proxy, which says in X-Forwarded-For from where\n"
        "  --help                  this");
}

/* An issuer is an origin, as browsers write it: pages and cookies of this server are for the whole of it. */
static bool is_origin(const char *url)
{
    bool is_web = strncmp(url, "http://", 7) == 0 || strncmp(url, "https://", 8) == 0;
    const char *authority = is_web ? strstr(url, "://") + 3 : "";
    size_t len = strspn(authority, "abcdefghijklmnopqrstuvwxyz0123456789-.:[]");
    return len != 0 && authority[len] == '\0';
}

static const char *mistake_in(const struct options *o)
{
    if (o->issuer != NULL && !is_origin(o->issuer))
        return "--issuer: http:// or https://, a host in lower case, and no path";
    if ((o->certificate == NULL) != (o->key == NULL))
        return "--tls-cert and --tls-key go together";
    if (o->store != NULL && !storage_is_known(o->store))
        return "--store: postgres: and a connection string";
    return NULL;
}

/* The status to exit with, or -1: go on. */
static int read_options(int argc, char **argv, struct options *o)
{
    static const struct option known[] = {
        {"listen", required_argument, NULL, 'l'},   {"issuer", required_argument, NULL, 'i'},
        {"data", required_argument, NULL, 'd'},     {"directory", required_argument, NULL, 'u'},
        {"tls-cert", required_argument, NULL, 'c'}, {"tls-key", required_argument, NULL, 'k'},
        {"behind-proxy", no_argument, NULL, 'p'},   {"store", required_argument, NULL, 's'},
        {"help", no_argument, NULL, 'h'},           {NULL, 0, NULL, 0},
    };
    int found;
    while ((found = getopt_long(argc, argv, "", known, NULL)) != -1) {
        switch (found) {
        case 'l':
            o->listen = optarg;
            break;
        case 'i':
            o->issuer = optarg;
            break;
        case 'd':
            o->data = optarg;
            break;
        case 's':
            o->store = optarg;
            break;
        case 'u':
            o->directory = optarg;
            break;
        case 'c':
            o->certificate = optarg;
            break;
        case 'k':
            o->key = optarg;
            break;
        case 'p':
            o->behind_proxy = true;
            break;
        case 'h':
            print_help();
            return EXIT_SUCCESS;
        default: /* getopt_long() has said what is wrong */
            return EXIT_FAILURE;
        }
    }
    const char *mistake = optind < argc ? "there are no arguments but options" : mistake_in(o);
    if (mistake != NULL)
        fprintf(stderr, "identity-server: %s\n", mistake);
    return mistake != NULL ? EXIT_FAILURE : -1;
}

/* --------------------------------------------------------------------------------------------------- start and stop */

static char *path_in(const char *folder, const char *name)
{
    text path = {0};
    html(&path, "%h/%h", folder, name);
    if (!path.failed)
        return path.data;
    text_free(&path);
    return NULL;
}

static bool open_service(server *s, const char *folder, const char *name)
{
    otok_store *store;
    otok_keyring *keyring;
    otok_policy policy;
    otok_callbacks callbacks;
    otok_config config;
    otok_error err;
    otok_policy_init(&policy, sizeof policy);
    policy.access_token_lifetime_s = 300;
    policy.idle_timeout_s = INT64_C(30) * 86400;
    policy.once_window_s = 10; /* a retry of a code comes at once, a thief's may come later */
    policy.session_limit = 20;
    policy.at_session_limit = OTOK_AT_LIMIT_EVICT;
    callbacks_set(&callbacks);
    otok_config_init(&config, sizeof config);
    config.issuer = s->issuer;
    config.directory = name == NULL ? folder : NULL;
    config.policy = &policy;
    config.callbacks = &callbacks;
    config.user = s;
    int rc = storage_open(name, folder, &store, &keyring, &err);
    if (rc == OTOK_OK)
        rc = otok_service_open(&config, store, keyring, &s->service, &err);
    otok_keyring_free(keyring);
    otok_store_close(store); /* the service has references of its own */
    if (rc != OTOK_OK)
        fprintf(stderr, "identity-server: %s: %s: %s\n", folder, otok_error_name(err.code), err.message);
    return rc == OTOK_OK;
}

static bool open_data(server *s, const char *data, const char *store)
{
    char *key = path_in(data, "seal.key"), *sessions = path_in(data, "sessions");
    bool is_open = key != NULL && sessions != NULL;
    if (is_open && mkdir(data, 0700) != 0 && errno != EEXIST) {
        fprintf(stderr, "identity-server: %s: %s\n", data, strerror(errno));
        is_open = false;
    }
    is_open = is_open && (s->seal = seal_open(key)) != NULL && open_service(s, sessions, store);
    free(key);
    free(sessions);
    return is_open;
}

static bool server_open(server *s, const struct options *o)
{
    s->behind_proxy = o->behind_proxy;
    s->directory = directory_load(o->directory);
    s->activity = activity_new();
    if (s->directory == NULL || s->activity == NULL || !open_data(s, o->data, o->store))
        return false;
    s->notices = notices_start(s);
    return s->notices != NULL;
}

static void server_close(server *s)
{
    if (s->notices != NULL)
        notices_stop(s->notices);
    otok_service_close(s->service);
    activity_free(s->activity);
    seal_free(s->seal);
    directory_free(s->directory);
}

/* ------------------------------------------------------------------------------------------------------- every second */

static void take_figures(server *s)
{
    otok_stats stats;
    otok_stats_init(&stats, sizeof stats);
    if (otok_stats_get(s->service, &stats, NULL) == OTOK_OK)
        activity_second(s->activity, &stats);
}

/* Returns whether there is more to do at once: then it goes on in the next second. */
static bool sweep(server *s)
{
    int64_t end = now_us() + SWEEP_FOR_US;
    otok_sweep_result result;
    otok_error err;
    do {
        otok_sweep_result_init(&result, sizeof result);
        if (otok_sweep(s->service, 0, &result, &err) != OTOK_OK) {
            fprintf(stderr, "identity-server: sweep: %s: %s\n", otok_error_name(err.code), err.message);
            return false;
        }
    } while (result.more != 0 && now_us() < end);
    return result.more != 0;
}

/* Until a signal comes.  They are blocked in every thread, and fetched here. */
static void run(server *s, const sigset_t *signals)
{
    const struct timespec second = {.tv_sec = 1};
    bool has_more = true;
    for (unsigned n = 1; sigtimedwait(signals, NULL, &second) < 0; n++) { /* EAGAIN: a second has passed */
        take_figures(s);
        if (has_more || n % SWEEP_EVERY_S == 0)
            has_more = sweep(s);
    }
}

/* --------------------------------------------------------------------------------------------------------------- main */

/* A default issuer has the port that was found.  NULL: no memory. */
static char *issuer_of(const struct options *o, uint16_t port)
{
    text issuer = {0};
    if (o->issuer != NULL)
        text_add(&issuer, o->issuer);
    else
        html(&issuer, "%h://localhost:%d", o->certificate != NULL ? "https" : "http", (int64_t)port);
    if (!issuer.failed)
        return issuer.data;
    text_free(&issuer);
    return NULL;
}

static bool serve(server *s, const struct options *o, int socket, const sigset_t *signals)
{
    if (!server_open(s, o)) {
        close(socket);
        return false;
    }
    struct http *http = http_start(s, socket, o->certificate, o->key);
    if (http == NULL) {
        close(socket);
        return false;
    }
    printf("listening on %s\n", s->issuer);
    fflush(stdout);
    run(s, signals);
    http_stop(http);
    return true;
}

int main(int argc, char **argv)
{
    struct options o = {.listen = "127.0.0.1:8080", .data = "identity-server-data", .directory = DEMO_DIRECTORY};
    server s = {0};
    uint16_t port = 0;
    sigset_t signals;
    int status = read_options(argc, argv, &o);
    if (status >= 0)
        return status;
    sigemptyset(&signals);
    sigaddset(&signals, SIGINT);
    sigaddset(&signals, SIGTERM);
    pthread_sigmask(SIG_BLOCK, &signals, NULL);
    signal(SIGPIPE, SIG_IGN);
    int socket = http_listen(o.listen, &port);
    if (socket < 0)
        return EXIT_FAILURE;
    char *issuer = issuer_of(&o, port);
    s.issuer = issuer;
    bool has_served = issuer != NULL && serve(&s, &o, socket, &signals);
    server_close(&s);
    free(issuer);
    return has_served ? EXIT_SUCCESS : EXIT_FAILURE;
}
