/*
 * main.c - the processes: one that waits for the others, and those, which do the work.
 *
 * They share the listening socket and the store's folder.  A store is not carried over a fork: each opens it for itself.
 *
 * SPDX-License-Identifier: MIT
 */
#include "prefork.h"

#include <arpa/inet.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

enum { BACKLOG = 511, MAX_PROCESSES = 64, RETRIES = 100 };

uv_loop_t loop;
otok_service *service;
bool one_by_one, draining;

static uv_tcp_t listener;
static uv_check_t after_waiting;
static uv_prepare_t before_waiting;
static uv_signal_t on_term;

static struct {
    const char *directory;
    long port, processes, issue;
    bool rotate_always;
} options = {.port = 8080, .processes = 4};

static void must(bool good, const char *what, const char *why)
{
    if (!good) {
        (void)fprintf(stderr, "prefork: %s: %s\n", what, why);
        exit(EXIT_FAILURE);
    }
}

static void must_uv(int code, const char *what)
{
    must(code == 0, what, code != 0 ? uv_strerror(code) : "");
}

static void open_service(void)
{
    otok_config config;
    otok_policy policy;
    otok_error err = {0};
    otok_policy_init(&policy, sizeof policy);
    if (options.rotate_always) { /* by default retries are bounded by time, and a token is left alone for as long */
        policy.rotation = OTOK_ROTATION_ALWAYS;
        policy.retry_window_s = OTOK_UNLIMITED;
        policy.retry_limit = RETRIES;
    }
    otok_config_init(&config, sizeof config);
    config.issuer = "https://id.example.org";
    config.directory = options.directory;
    config.policy = &policy;
    must(otok_service_open(&config, NULL, NULL, &service, &err) == OTOK_OK, options.directory, err.message);
}

/* -------------------------------------------------------------------------------------------------------- one process */

static void on_waited(uv_check_t *handle)
{
    (void)handle;
    refresh_batch();
}

/* What was sent ahead is looked at when the answer before it has been written, which is before the loop waits, not after it. */
static void on_wait(uv_prepare_t *handle)
{
    (void)handle;
    refresh_batch();
}

/* What was asked is answered; with the last connection the loop ends. */
static void drain(uv_signal_t *handle, int number)
{
    (void)number;
    draining = true;
    uv_close((uv_handle_t *)&listener, NULL);
    uv_close((uv_handle_t *)handle, NULL);
    uv_walk(&loop, hang_up_if_idle, NULL);
}

/* Signals are blocked until there is somebody to take them. */
static int serve(int socket, const sigset_t *signals)
{
    open_service();
    must_uv(uv_loop_init(&loop), "uv_loop_init");
    must_uv(uv_signal_init(&loop, &on_term), "uv_signal_init");
    must_uv(uv_signal_start(&on_term, drain, SIGTERM), "uv_signal_start");
    (void)sigprocmask(SIG_SETMASK, signals, NULL);
    must_uv(uv_check_init(&loop, &after_waiting), "uv_check_init");
    must_uv(uv_check_start(&after_waiting, on_waited), "uv_check_start");
    must_uv(uv_prepare_init(&loop, &before_waiting), "uv_prepare_init");
    must_uv(uv_prepare_start(&before_waiting, on_wait), "uv_prepare_start");
    uv_unref((uv_handle_t *)&after_waiting); /* they keep no loop going */
    uv_unref((uv_handle_t *)&before_waiting);
    must_uv(uv_tcp_init(&loop, &listener), "uv_tcp_init");
    must_uv(uv_tcp_open(&listener, socket), "uv_tcp_open");
    must_uv(uv_listen((uv_stream_t *)&listener, BACKLOG, on_connection), "uv_listen");
    (void)uv_run(&loop, UV_RUN_DEFAULT);
    otok_service_close(service);
    return EXIT_SUCCESS;
}

/* ------------------------------------------------------------------------------------------------------ all processes */

/* Listens on a port of this machine; 0: one that is free. */
static int listen_on(long port)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    socklen_t size = sizeof address;
    int on = 1, fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) != 0 ||
        bind(fd, (struct sockaddr *)&address, size) != 0 || listen(fd, BACKLOG) != 0 ||
        getsockname(fd, (struct sockaddr *)&address, &size) != 0) {
        perror("prefork: listen");
        exit(EXIT_FAILURE);
    }
    printf("http://127.0.0.1:%d/token\n", ntohs(address.sin_port));
    (void)fflush(stdout);
    return fd;
}

static void send_all(const pid_t *pids, long n, int number)
{
    for (long i = 0; i < n; i++) {
        if (pids[i] > 0)
            (void)kill(pids[i], number);
    }
}

/* Takes note of those that have ended; false when one of them should not have. */
static bool reap(pid_t *pids, long *alive)
{
    bool good = true;
    int status;
    for (pid_t pid; (pid = waitpid(-1, &status, WNOHANG)) > 0; --*alive) {
        good = good && WIFEXITED(status) && WEXITSTATUS(status) == EXIT_SUCCESS;
        for (long i = 0; i < options.processes; i++) {
            if (pids[i] == pid)
                pids[i] = 0;
        }
    }
    return good;
}

/* Until all have ended: on SIGTERM or SIGINT they drain, and so they do when one of them fails. */
static int serve_all(void)
{
    pid_t pids[MAX_PROCESSES] = {0};
    sigset_t ours, before;
    int socket = listen_on(options.port), number, result = EXIT_SUCCESS;
    (void)sigemptyset(&ours);
    (void)sigaddset(&ours, SIGTERM);
    (void)sigaddset(&ours, SIGINT);
    (void)sigaddset(&ours, SIGCHLD);
    (void)sigprocmask(SIG_BLOCK, &ours, &before);
    long alive = 0;
    for (long i = 0; i < options.processes && result == EXIT_SUCCESS; i++) {
        pids[i] = fork();
        if (pids[i] > 0) {
            alive++;
        } else if (pids[i] < 0) {
            perror("prefork: fork");
            result = EXIT_FAILURE;
        } else {
            (void)signal(SIGINT, SIG_IGN); /* Ctrl-C comes to all, and is for the one that waits */
            exit(serve(socket, &before));
        }
    }
    (void)close(socket);
    if (result != EXIT_SUCCESS)
        send_all(pids, options.processes, SIGTERM);
    while (alive > 0) {
        if (sigwait(&ours, &number) == 0 && number == SIGCHLD && reap(pids, &alive))
            continue;
        result = number == SIGCHLD ? EXIT_FAILURE : result;
        send_all(pids, options.processes, SIGTERM);
    }
    return result;
}

/* As a login would. */
static int issue(void)
{
    open_service();
    for (long i = 0; i < options.issue; i++) {
        otok_grant grant;
        otok_tokens *tokens;
        otok_error err = {0};
        char subject[32];
        (void)snprintf(subject, sizeof subject, "user%ld", i);
        otok_grant_init(&grant, sizeof grant);
        grant.subject = subject;
        grant.client_id = "app";
        grant.client_type = OTOK_CLIENT_PUBLIC;
        grant.scope = "offline_access photos.read";
        must(otok_issue(service, &grant, &tokens, &err) == OTOK_OK, "otok_issue", err.message);
        (void)puts(tokens->offline_token);
        otok_tokens_free(tokens);
    }
    otok_service_close(service);
    return fflush(stdout) == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}

static bool read_options(int argc, char **argv)
{
    static const struct option known[] = {
        {"port", required_argument, NULL, 'p'},    {"processes", required_argument, NULL, 'n'},
        {"issue", required_argument, NULL, 'i'},   {"one-by-one", no_argument, NULL, '1'},
        {"rotate-always", no_argument, NULL, 'r'}, {0},
    };
    for (int option; (option = getopt_long(argc, argv, "", known, NULL)) != -1;) {
        switch (option) {
        case 'p':
            options.port = strtol(optarg, NULL, 10);
            break;
        case 'n':
            options.processes = strtol(optarg, NULL, 10);
            break;
        case 'i':
            options.issue = strtol(optarg, NULL, 10);
            break;
        case '1':
            one_by_one = true;
            break;
        case 'r':
            options.rotate_always = true;
            break;
        default:
            return false;
        }
    }
    options.directory = argv[optind];
    return argc - optind == 1 && options.port >= 0 && options.port <= UINT16_MAX && options.processes >= 1 &&
           options.processes <= MAX_PROCESSES && options.issue >= 0;
}

int main(int argc, char **argv)
{
    if (!read_options(argc, argv)) {
        (void)fprintf(stderr,
                      "usage: prefork DIRECTORY [--port 0-65535] [--processes 1-%d] [--one-by-one] "
                      "[--rotate-always] [--issue SESSIONS]\n",
                      MAX_PROCESSES);
        return EXIT_FAILURE;
    }
    (void)signal(SIGPIPE, SIG_IGN);
    return options.issue != 0 ? issue() : serve_all();
}
