/*
 * throttle.c - how often somebody has failed in the last minutes: guesses of passwords and codes.
 *
 * A guess has its place before it is looked at: of many at once no more are than may fail, and the others wait for what becomes of
 * those.  In the memory of this process and of bounded size: a guesser who fills it pushes out those who have failed least.
 *
 * SPDX-License-Identifier: MIT
 */
#include <arpa/inet.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "server.h"

enum { PLACES = 1024, KEY_ROOM = 44 };

#define FORGOTTEN_AFTER_US (INT64_C(300) * 1000000)

struct guesser {
    char key[KEY_ROOM];           /* a hash: whatever was typed, it is as long */
    unsigned failures, under_way; /* both 0: free */
    int64_t last_us;
};

/* A connection has two guesses under way at most: so there are always some that nobody holds. */
static guesser places[PLACES];

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t left = PTHREAD_COND_INITIALIZER;

bool network_of(const char *ip, char out[NETWORK_ROOM])
{
    struct in6_addr address;
    if (inet_pton(AF_INET6, ip, &address) != 1 || IN6_IS_ADDR_V4MAPPED(&address))
        return false;
    memset(&address.s6_addr[8], 0, 8);
    return inet_ntop(AF_INET6, &address, out, NETWORK_ROOM) != NULL;
}

static bool make_key(const char *what, const char *who, char key[KEY_ROOM])
{
    text source = {0};
    char network[NETWORK_ROOM];
    html(&source, "%h %h", what, network_of(who, network) ? network : who);
    char *hash = source.failed ? NULL : sha256_name(source.data);
    bool good = hash != NULL && strlen(hash) < KEY_ROOM;
    if (good)
        memcpy(key, hash, strlen(hash) + 1);
    free(hash);
    text_free(&source);
    return good;
}

static void forget_old(int64_t now)
{
    for (size_t i = 0; i < PLACES; i++) {
        if (places[i].failures > 0 && now - places[i].last_us > FORGOTTEN_AFTER_US)
            places[i].failures = 0;
    }
}

static guesser *find(const char *key)
{
    for (size_t i = 0; i < PLACES; i++) {
        if (places[i].failures + places[i].under_way > 0 && strcmp(places[i].key, key) == 0)
            return &places[i];
    }
    return NULL;
}

/* A place for a new key: a free one, or that of who has failed least, and longest ago.  NULL: all are held. */
static guesser *make_place(const char *key)
{
    guesser *least = NULL;
    for (size_t i = 0; i < PLACES; i++) {
        guesser *at = &places[i];
        if (at->under_way == 0 && (least == NULL || at->failures < least->failures ||
                                   (at->failures == least->failures && at->last_us < least->last_us)))
            least = at;
    }
    if (least != NULL) {
        *least = (guesser){.failures = 0};
        memcpy(least->key, key, KEY_ROOM);
    }
    return least;
}

guesser *throttle_enter(const char *what, const char *who, unsigned limit)
{
    char key[KEY_ROOM];
    guesser *place = NULL;
    if (!make_key(what, who, key))
        return NULL;
    pthread_mutex_lock(&lock);
    for (;;) {
        forget_old(now_us());
        place = find(key);
        if (place == NULL)
            place = make_place(key);
        if (place == NULL || place->failures + place->under_way < limit)
            break;
        if (place->failures >= limit) {
            place = NULL;
            break;
        }
        pthread_cond_wait(&left, &lock);
    }
    if (place != NULL)
        place->under_way++;
    pthread_mutex_unlock(&lock);
    return place;
}

void throttle_leave(guesser *place, int how)
{
    pthread_mutex_lock(&lock);
    place->under_way--;
    if (how == GUESS_FAILED) {
        place->failures++;
        place->last_us = now_us();
    } else if (how == GUESS_FORGIVES) {
        place->failures = 0;
    }
    pthread_cond_broadcast(&left);
    pthread_mutex_unlock(&lock);
}
