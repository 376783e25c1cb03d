/*
 * device_table.c - the devices that wait for their user, in memory: a bounded number, for ten minutes each.
 *
 * SPDX-License-Identifier: MIT
 */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include <openssl/rand.h>

#include "device.h"

enum { MOST_DEVICES = 1000, MOST_OF_ONE_NETWORK = 100 };
static const int64_t SECOND_US = 1000000;

/* No vowels, which make words, and no Y (RFC 8628 section 6.1). */
static const char LETTERS[] = "BCDFGHJKLMNPQRSTVWXZ";
enum { NLETTERS = sizeof LETTERS - 1 };

typedef struct entry {
    device device;
    char *code_hash; /* the device code itself is kept by the device alone */
    char network[NETWORK_ROOM];
    char user_code[USER_CODE + 1];
    int64_t ends_us, next_poll_us, interval_us;
} entry;

struct devices {
    pthread_mutex_t lock;
    entry *entries[MOST_DEVICES]; /* NULL: free */
};

/* ---------------------------------------------------------------------------------------------------- the table */

static void entry_free(entry *e)
{
    if (e != NULL)
        free(e->code_hash);
    free(e);
}

devices *devices_new(void)
{
    devices *all = calloc(1, sizeof *all);
    if (all != NULL && pthread_mutex_init(&all->lock, NULL) != 0) {
        free(all);
        all = NULL;
    }
    return all;
}

void devices_free(devices *all)
{
    if (all == NULL)
        return;
    for (size_t i = 0; i < MOST_DEVICES; i++)
        entry_free(all->entries[i]);
    pthread_mutex_destroy(&all->lock);
    free(all);
}

static entry *by_user_code(const devices *all, const char *user_code, int64_t now)
{
    for (size_t i = 0; i < MOST_DEVICES; i++) {
        entry *e = all->entries[i];
        if (e != NULL && e->ends_us > now && same_text(e->user_code, user_code))
            return e;
    }
    return NULL;
}

/* ---------------------------------------------------------------------------------------------------- a new one */

/* Eight letters, each as likely as the others.  False: libcrypto failed. */
static bool draw_letters(char out[USER_CODE + 1])
{
    size_t n = 0;
    while (n < USER_CODE) {
        unsigned char random;
        if (RAND_bytes(&random, 1) != 1)
            return false;
        if (random < 256 / NLETTERS * NLETTERS)
            out[n++] = LETTERS[random % NLETTERS];
    }
    out[n] = '\0';
    return true;
}

static bool draw_device_code(char out[DEVICE_CODE + 1])
{
    char *a = random_name(), *b = random_name();
    bool good = a != NULL && b != NULL;
    if (good)
        snprintf(out, DEVICE_CODE + 1, "%s%s", a, b);
    free(a);
    free(b);
    return good;
}

static entry *entry_new(const device *d, int64_t now, char device_code[DEVICE_CODE + 1])
{
    entry *e = calloc(1, sizeof *e);
    if (e == NULL || !draw_device_code(device_code) || (e->code_hash = sha256_name(device_code)) == NULL) {
        entry_free(e);
        return NULL;
    }
    e->device = *d;
    if (!network_of(d->ip, e->network))
        snprintf(e->network, sizeof e->network, "%s", d->ip);
    e->device.state = DEVICE_PENDING;
    e->device.asked_us = now;
    e->ends_us = now + DEVICE_SECONDS * SECOND_US;
    e->interval_us = DEVICE_INTERVAL * SECOND_US;
    return e;
}

/* A place for one more, from that network: a free one, or of who has run out of time first. NULL: there is none. */
static entry **find_place(devices *all, const char *network, int64_t now)
{
    entry **place = NULL;
    int64_t place_ends_us = now;
    size_t same = 0;
    for (size_t i = 0; i < MOST_DEVICES; i++) {
        const entry *e = all->entries[i];
        int64_t ends_us = e != NULL ? e->ends_us : 0;
        if (ends_us < place_ends_us) {
            place = &all->entries[i];
            place_ends_us = ends_us;
        }
        if (e != NULL && ends_us > now && e->device.state == DEVICE_PENDING && strcmp(e->network, network) == 0)
            same++;
    }
    return same < MOST_OF_ONE_NETWORK ? place : NULL;
}

bool devices_add(devices *all, const device *d, char device_code[DEVICE_CODE + 1], char user_code[USER_CODE + 1])
{
    int64_t now = now_us();
    entry *e = entry_new(d, now, device_code);
    if (e == NULL)
        return false;
    pthread_mutex_lock(&all->lock);
    entry **place = find_place(all, e->network, now);
    bool good = place != NULL && draw_letters(e->user_code);
    while (good && by_user_code(all, e->user_code, now) != NULL)
        good = draw_letters(e->user_code);
    if (good) {
        memcpy(user_code, e->user_code, USER_CODE + 1);
        entry_free(*place);
        *place = e;
    }
    pthread_mutex_unlock(&all->lock);
    if (!good)
        entry_free(e);
    return good;
}

/* ---------------------------------------------------------------------------------------------------- its user */

bool user_code_read(const char *typed, char user_code[USER_CODE + 1])
{
    size_t n = 0;
    for (; *typed != '\0'; typed++) {
        char c = *typed >= 'a' && *typed <= 'z' ? (char)(*typed - 'a' + 'A') : *typed;
        if (c == '-' || c == ' ')
            continue;
        if (n == USER_CODE || strchr(LETTERS, c) == NULL)
            return false;
        user_code[n++] = c;
    }
    user_code[n] = '\0';
    return n == USER_CODE;
}

bool devices_find(devices *all, const char *user_code, device *out)
{
    pthread_mutex_lock(&all->lock);
    const entry *e = by_user_code(all, user_code, now_us());
    bool found = e != NULL && e->device.state == DEVICE_PENDING;
    if (found)
        *out = e->device;
    pthread_mutex_unlock(&all->lock);
    return found;
}

bool devices_decide(devices *all, const char *user_code, const device *d)
{
    int64_t now = now_us(), enough_us = now + SECOND_US * 2 * DEVICE_INTERVAL;
    pthread_mutex_lock(&all->lock);
    entry *e = by_user_code(all, user_code, now);
    bool good = e != NULL && e->device.state == DEVICE_PENDING;
    if (good) {
        int64_t asked_us = e->device.asked_us;
        e->device = *d;
        e->device.asked_us = asked_us;
        if (e->ends_us < enough_us) /* who agreed in the last second is to be heard */
            e->ends_us = enough_us;
    }
    pthread_mutex_unlock(&all->lock);
    return good;
}

/* ---------------------------------------------------------------------------------------------------- the device */

static entry *by_device_code(const devices *all, const char *code_hash)
{
    for (size_t i = 0; i < MOST_DEVICES; i++) {
        if (all->entries[i] != NULL && same_text(all->entries[i]->code_hash, code_hash))
            return all->entries[i];
    }
    return NULL;
}

/* RFC 8628 section 3.5: who is told to slow down waits five seconds more from then on. */
static int poll_pending(entry *e, int64_t now)
{
    bool too_fast = now < e->next_poll_us;
    if (too_fast)
        e->interval_us += DEVICE_INTERVAL * SECOND_US;
    e->next_poll_us = now + e->interval_us - SECOND_US / 2; /* clocks and networks are not exact */
    return too_fast ? DEVICE_TOO_FAST : DEVICE_PENDING;
}

int devices_poll(devices *all, const char *device_code, const client *c, device *out)
{
    int64_t now = now_us();
    int state = DEVICE_UNKNOWN;
    char *hash = sha256_name(device_code);
    pthread_mutex_lock(&all->lock);
    entry *e = hash != NULL ? by_device_code(all, hash) : NULL;
    if (e == NULL || e->device.client != c) {
        state = DEVICE_UNKNOWN;
    } else if (e->ends_us <= now) {
        state = DEVICE_EXPIRED;
    } else if (e->device.state == DEVICE_PENDING) {
        state = poll_pending(e, now);
    } else {
        *out = e->device;
        state = e->device.state;
    }
    pthread_mutex_unlock(&all->lock);
    free(hash);
    return state;
}
