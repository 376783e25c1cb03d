/*
 * throttle.c - how often somebody has failed in the last minutes: guesses of passwords and codes.
 *
 * In the memory of this process and of bounded size: a guesser who fills it pushes out those who have failed least, and never
 * a name that is closed.
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

static struct place {
    char key[KEY_ROOM]; /* a hash: whatever was typed, it is as long */
    unsigned failures;  /* 0: free */
    int64_t last_us;
} places[PLACES];

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

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
            places[i] = (struct place){.failures = 0};
    }
}

static struct place *find(const char *key)
{
    for (size_t i = 0; i < PLACES; i++) {
        if (places[i].failures > 0 && strcmp(places[i].key, key) == 0)
            return &places[i];
    }
    return NULL;
}

/* A place for a new key: a free one, or that of who has failed least, and longest ago. */
static struct place *make_place(void)
{
    struct place *least = &places[0];
    for (size_t i = 1; i < PLACES; i++) {
        if (places[i].failures < least->failures ||
            (places[i].failures == least->failures && places[i].last_us < least->last_us))
            least = &places[i];
    }
    least->failures = 0;
    return least;
}

bool throttle_is_open(const char *what, const char *who, unsigned limit)
{
    char key[KEY_ROOM];
    if (!make_key(what, who, key))
        return false;
    pthread_mutex_lock(&lock);
    forget_old(now_us());
    const struct place *place = find(key);
    bool open = place == NULL || place->failures < limit;
    pthread_mutex_unlock(&lock);
    return open;
}

void throttle_failed(const char *what, const char *who)
{
    char key[KEY_ROOM];
    if (!make_key(what, who, key))
        return;
    pthread_mutex_lock(&lock);
    forget_old(now_us());
    struct place *place = find(key);
    if (place == NULL) {
        place = make_place();
        memcpy(place->key, key, KEY_ROOM);
    }
    place->failures++;
    place->last_us = now_us();
    pthread_mutex_unlock(&lock);
}

void throttle_forget(const char *what, const char *who)
{
    char key[KEY_ROOM];
    if (!make_key(what, who, key))
        return;
    pthread_mutex_lock(&lock);
    struct place *place = find(key);
    if (place != NULL)
        *place = (struct place){.failures = 0};
    pthread_mutex_unlock(&lock);
}
