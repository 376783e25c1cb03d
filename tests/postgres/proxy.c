/*
 * proxy.c - a poll loop in a thread of its own.
 *
 * SPDX-License-Identifier: MIT
 */
#include "postgres/proxy.h"

#include <poll.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

enum { LINKS = 16, ROOM = 262144, SOCKET_PATH = 108, TURN_MS = 1, LONGEST_HOLD_S = 8 };

/* One direction of a connection: what came from `in` and is not yet a whole message, or is held. */
typedef struct pipe_ {
    uint8_t *data;
    size_t len;
    bool started; /* the first message to the server has no type byte */
    bool held;
    time_t until; /* it is held no longer: the link ends */
} pipe_;

typedef struct link_ {
    int ends[PROXY_WAYS]; /* what a way leads to: the server, the client; -1: gone */
    pipe_ pipes[PROXY_WAYS];
    bool used;
} link_;

struct proxy {
    char path[SOCKET_PATH], server[SOCKET_PATH];
    int listener;
    pthread_t thread;
    pthread_mutex_t mutex; /* of all that follows */
    pthread_cond_t turned;
    bool stop, planned, drop, releasing;
    uint64_t turns;
    proxy_plan plan;
    size_t counts[PROXY_WAYS];
    link_ links[LINKS];
};

const char *proxy_deed_name(proxy_deed deed)
{
    static const char *const names[PROXY_DEEDS] = {"cut before",       "half of",          "cut after",       "delayed",
                                                   "08P01 instead of", "08006 instead of", "57P01 instead of"};
    return names[deed];
}

/* ---------------------------------------------------------------------------------------------------- links */

static int way_back(proxy_way way)
{
    return way == PROXY_TO_SERVER ? PROXY_TO_CLIENT : PROXY_TO_SERVER;
}

static void end_side(link_ *l, proxy_way way)
{
    if (l->ends[way] >= 0)
        (void)close(l->ends[way]);
    l->ends[way] = -1;
}

static void end_link(link_ *l)
{
    if (!l->used)
        return;
    for (int way = 0; way < PROXY_WAYS; way++) {
        end_side(l, (proxy_way)way);
        free(l->pipes[way].data);
        l->pipes[way] = (pipe_){.data = NULL};
    }
    l->used = false;
}

/* The server is told, and ends when it has done what it got; what it still says goes nowhere. */
static void lose_client(link_ *l)
{
    end_side(l, PROXY_TO_CLIENT);
    l->pipes[PROXY_TO_SERVER].len = 0;
    l->pipes[PROXY_TO_SERVER].held = false;
    (void)shutdown(l->ends[PROXY_TO_SERVER], SHUT_WR);
}

static int connect_to(const char *path)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    memcpy(address.sun_path, path, SOCKET_PATH);
    if (fd >= 0 && connect(fd, (struct sockaddr *)&address, sizeof address) != 0) {
        (void)close(fd);
        fd = -1;
    }
    return fd;
}

static link_ *free_link(proxy *p)
{
    for (size_t i = 0; i < LINKS; i++) {
        if (!p->links[i].used)
            return &p->links[i];
    }
    return NULL;
}

static void accept_one(proxy *p)
{
    link_ *l = free_link(p);
    int client = accept4(p->listener, NULL, NULL, SOCK_CLOEXEC);
    if (client < 0)
        return;
    if (l == NULL) {
        (void)close(client);
        return;
    }
    *l = (link_){.used = true, .ends = {[PROXY_TO_SERVER] = connect_to(p->server), [PROXY_TO_CLIENT] = client}};
    l->pipes[PROXY_TO_CLIENT].started = true;
    bool good = l->ends[PROXY_TO_SERVER] >= 0;
    for (int way = 0; way < PROXY_WAYS; way++) {
        l->pipes[way].data = malloc(ROOM);
        good = good && l->pipes[way].data != NULL;
    }
    if (!good)
        end_link(l);
}

/* ---------------------------------------------------------------------------------------------------- messages */

/* The whole message that `data` begins with; 0: there is none yet. */
static size_t message_size(const pipe_ *pipe)
{
    size_t type = pipe->started ? 1 : 0;
    if (pipe->len < type + 4)
        return 0;
    const uint8_t *d = pipe->data + type;
    size_t size = type + ((size_t)d[0] << 24 | (size_t)d[1] << 16 | (size_t)d[2] << 8 | d[3]);
    return size <= pipe->len ? size : 0;
}

static bool send_all(int fd, const uint8_t *data, size_t len)
{
    while (len > 0) {
        ssize_t n = send(fd, data, len, MSG_NOSIGNAL);
        if (n <= 0)
            return false;
        data += n;
        len -= (size_t)n;
    }
    return true;
}

/* As poolers do: without the severity that is not translated, which servers send too. */
static void send_error(int fd, const char *severity, const char *state, const char *text)
{
    uint8_t message[256] = {'E'};
    int n = snprintf((char *)message + 5, sizeof message - 5, "S%s%cC%s%cM%s%c", severity, 0, state, 0, text, 0);
    size_t size = (size_t)n + 1 + 4; /* the end of the fields, and the length itself */
    message[3] = (uint8_t)(size >> 8);
    message[4] = (uint8_t)size;
    (void)send_all(fd, message, size + 1);
}

/* False: the link is at its end, or nothing more passes this way for now. */
static bool carry_out(proxy *p, link_ *l, proxy_way way, size_t size)
{
    int to = l->ends[way];
    p->planned = false;
    if (p->plan.deed == PROXY_HOLD) {
        l->pipes[way].held = true;
        l->pipes[way].until = time(NULL) + LONGEST_HOLD_S;
        return false;
    }
    if (p->plan.deed == PROXY_FATAL)
        send_error(to, "FATAL", "08P01", "server conn crashed?");
    else if (p->plan.deed == PROXY_ERROR)
        send_error(to, "ERROR", "08006", "remote server read/write error");
    else if (p->plan.deed == PROXY_SHUTDOWN)
        send_error(to, "FATAL", "57P01", "terminating connection due to administrator command");
    else if (p->plan.deed != PROXY_CUT_BEFORE)
        (void)send_all(to, l->pipes[way].data, p->plan.deed == PROXY_CUT_HALF ? size / 2 : size);
    lose_client(l);
    return false;
}

/* Every whole message, one after another. */
static void pass_on(proxy *p, link_ *l, proxy_way way)
{
    pipe_ *pipe = &l->pipes[way];
    size_t size;
    while (!pipe->held && (size = message_size(pipe)) > 0) {
        p->counts[way]++;
        bool now = p->planned && p->plan.way == way && p->counts[way] == p->plan.nth;
        if (now && !carry_out(p, l, way, size))
            return;
        if (!send_all(l->ends[way], pipe->data, size)) {
            lose_client(l);
            return;
        }
        pipe->len -= size;
        pipe->started = true;
        memmove(pipe->data, pipe->data + size, pipe->len);
    }
}

/* A server does not hear that its client has gone before it got what is held for it. */
static void on_end(link_ *l, proxy_way way)
{
    if (way == PROXY_TO_CLIENT)
        end_link(l);
    else if (l->pipes[way].held)
        end_side(l, PROXY_TO_CLIENT);
    else
        lose_client(l);
}

static void read_some(proxy *p, link_ *l, proxy_way way)
{
    pipe_ *pipe = &l->pipes[way];
    ssize_t n = recv(l->ends[way_back(way)], pipe->data + pipe->len, ROOM - pipe->len, 0);
    if (n <= 0) {
        on_end(l, way);
        return;
    }
    if (l->ends[PROXY_TO_CLIENT] < 0)
        return;
    pipe->len += (size_t)n;
    pass_on(p, l, way);
}

/* ---------------------------------------------------------------------------------------------------- the loop */

static void release_links(proxy *p)
{
    for (size_t i = 0; i < LINKS; i++) {
        link_ *l = &p->links[i];
        for (int way = 0; l->used && way < PROXY_WAYS; way++) {
            bool was_held = l->pipes[way].held;
            l->pipes[way].held = false;
            if (was_held && (way == PROXY_TO_SERVER || l->ends[PROXY_TO_CLIENT] >= 0))
                pass_on(p, l, (proxy_way)way);
            if (was_held && way == PROXY_TO_SERVER && l->ends[PROXY_TO_CLIENT] < 0)
                lose_client(l);
        }
    }
}

/* Who waits for longer than that has no timeout, and is not to wait for ever. */
static void end_the_stuck(proxy *p)
{
    for (size_t i = 0; i < LINKS; i++) {
        for (int way = 0; p->links[i].used && way < PROXY_WAYS; way++) {
            if (p->links[i].pipes[way].held && p->links[i].ends[PROXY_TO_CLIENT] >= 0 &&
                time(NULL) > p->links[i].pipes[way].until)
                end_link(&p->links[i]);
        }
    }
}

/* Those whose client is gone, and whose server has something to do perhaps. */
static bool has_stragglers(const proxy *p)
{
    for (size_t i = 0; i < LINKS; i++) {
        if (p->links[i].used && p->links[i].ends[PROXY_TO_CLIENT] < 0)
            return true;
    }
    return false;
}

static void one_turn(proxy *p, struct pollfd *polled, link_ **links, proxy_way *ways, size_t *n)
{
    *n = 1;
    polled[0] = (struct pollfd){.fd = p->listener, .events = POLLIN};
    for (size_t i = 0; i < LINKS; i++) {
        for (int way = 0; p->links[i].used && way < PROXY_WAYS; way++) {
            int from = p->links[i].ends[way_back((proxy_way)way)];
            if (from < 0 || p->links[i].pipes[way].len == ROOM)
                continue;
            links[*n] = &p->links[i];
            ways[*n] = (proxy_way)way;
            polled[(*n)++] = (struct pollfd){.fd = from, .events = POLLIN};
        }
    }
}

static void *loop(void *arg)
{
    proxy *p = arg;
    struct pollfd polled[1 + 2 * LINKS];
    link_ *links[1 + 2 * LINKS];
    proxy_way ways[1 + 2 * LINKS];
    size_t n;
    (void)pthread_mutex_lock(&p->mutex);
    while (!p->stop) {
        one_turn(p, polled, links, ways, &n);
        (void)pthread_mutex_unlock(&p->mutex);
        (void)poll(polled, n, TURN_MS);
        (void)pthread_mutex_lock(&p->mutex);
        for (size_t i = 1; i < n; i++) {
            /* An earlier one of this turn may have ended it. */
            if (polled[i].revents != 0 && links[i]->used && links[i]->ends[way_back(ways[i])] == polled[i].fd)
                read_some(p, links[i], ways[i]);
        }
        for (size_t i = 0; p->drop && i < LINKS; i++)
            end_link(&p->links[i]);
        if (p->releasing)
            release_links(p);
        p->drop = p->releasing = false;
        end_the_stuck(p);
        if (polled[0].revents != 0)
            accept_one(p); /* last: what it opens is not what was polled */
        p->turns++;
        (void)pthread_cond_broadcast(&p->turned);
    }
    (void)pthread_mutex_unlock(&p->mutex);
    return NULL;
}

/* ---------------------------------------------------------------------------------------------------- from outside */

static int listen_at(const char *path)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    memcpy(address.sun_path, path, SOCKET_PATH);
    (void)unlink(path);
    if (fd >= 0 && (bind(fd, (struct sockaddr *)&address, sizeof address) != 0 || listen(fd, LINKS) != 0)) {
        (void)close(fd);
        fd = -1;
    }
    return fd;
}

proxy *proxy_open(const char *folder, const char *server)
{
    proxy *p = calloc(1, sizeof *p);
    if (p == NULL)
        return NULL;
    (void)snprintf(p->path, sizeof p->path, "%s/.s.PGSQL.5432", folder);
    (void)snprintf(p->server, sizeof p->server, "%s/.s.PGSQL.5432", server);
    (void)pthread_mutex_init(&p->mutex, NULL);
    (void)pthread_cond_init(&p->turned, NULL);
    p->listener = listen_at(p->path);
    if (p->listener >= 0 && pthread_create(&p->thread, NULL, loop, p) == 0)
        return p;
    free(p);
    return NULL;
}

void proxy_close(proxy *p)
{
    if (p == NULL)
        return;
    (void)pthread_mutex_lock(&p->mutex);
    p->stop = true;
    (void)pthread_mutex_unlock(&p->mutex);
    (void)pthread_join(p->thread, NULL);
    for (size_t i = 0; i < LINKS; i++)
        end_link(&p->links[i]);
    (void)close(p->listener);
    (void)unlink(p->path);
    (void)pthread_cond_destroy(&p->turned);
    (void)pthread_mutex_destroy(&p->mutex);
    free(p);
}

void proxy_plan_make(proxy *p, const proxy_plan *plan)
{
    (void)pthread_mutex_lock(&p->mutex);
    p->plan = *plan;
    p->planned = plan->nth > 0;
    memset(p->counts, 0, sizeof p->counts);
    (void)pthread_mutex_unlock(&p->mutex);
}

bool proxy_plan_end(proxy *p, size_t counts[PROXY_WAYS])
{
    (void)pthread_mutex_lock(&p->mutex);
    bool carried_out = p->plan.nth > 0 && !p->planned;
    p->planned = false;
    memcpy(counts, p->counts, sizeof p->counts);
    (void)pthread_mutex_unlock(&p->mutex);
    return carried_out;
}

/* With the mutex: until the loop has gone round whole. */
static void wait_for_turns(proxy *p, uint64_t n)
{
    uint64_t until = p->turns + n;
    while (p->turns < until)
        (void)pthread_cond_wait(&p->turned, &p->mutex);
}

void proxy_release(proxy *p)
{
    (void)pthread_mutex_lock(&p->mutex);
    wait_for_turns(p, 2); /* it has seen who has gone */
    p->releasing = true;
    while (p->releasing || has_stragglers(p))
        wait_for_turns(p, 1);
    (void)pthread_mutex_unlock(&p->mutex);
}

void proxy_drop(proxy *p)
{
    (void)pthread_mutex_lock(&p->mutex);
    p->drop = true;
    while (p->drop)
        wait_for_turns(p, 1);
    (void)pthread_mutex_unlock(&p->mutex);
}
