/*
 * device.h - the devices that wait for their user: what device.c and device_table.c share.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef IDENTITY_SERVER_DEVICE_H
#define IDENTITY_SERVER_DEVICE_H

#include "server.h"

enum {
    DEVICE_SECONDS = 600, /* in which the user agrees */
    DEVICE_INTERVAL = 5,  /* between polls (RFC 8628 section 3.2) */
    USER_CODE = 8,        /* letters */
    DEVICE_CODE = 44,     /* characters: 256 bits */
    DEVICE_SCOPE = 512
};

/* Where the request of a device stands. */
enum {
    DEVICE_PENDING = 1,
    DEVICE_ALLOWED,
    DEVICE_DENIED,
    DEVICE_UNKNOWN, /* these are answers, and stand nowhere */
    DEVICE_EXPIRED,
    DEVICE_TOO_FAST
};

typedef struct device {
    const client *client;
    char scope[DEVICE_SCOPE]; /* asked; once it is allowed, granted */
    char label[AGENT_NAME];   /* of the device; "": it told nothing */
    char ip[64];              /* where the request came from */
    int64_t asked_us;
    int state;
    const char *error; /* of one that is denied, for the wire */
    const user *user;  /* who allowed it, and in which login */
    char sid[64];
    int64_t auth_time_us;
} device;

/* Takes in a request: client, scope, label and ip.  False: too many wait, from everywhere or from there; or libcrypto failed. */
bool devices_add(devices *all, const device *d, char device_code[DEVICE_CODE + 1], char user_code[USER_CODE + 1]);

/* The user code that somebody typed, without what is between its letters; false: it cannot be one. */
bool user_code_read(const char *typed, char user_code[USER_CODE + 1]);

/* The request of that user code, if it is pending: a copy. */
bool devices_find(devices *all, const char *user_code, device *out);

/* Writes state, error, scope, user, sid and auth_time_us of `d` to that request; false: it is not pending any more. */
bool devices_decide(devices *all, const char *user_code, const device *d);

/* The device asks: its state, and a copy where that is DEVICE_ALLOWED or DEVICE_DENIED. */
int devices_poll(devices *all, const char *device_code, const client *c, device *out);

#endif
