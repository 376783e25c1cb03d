/*
 * device.h - what devices ask for: what device.c and device_request.c share.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef IDENTITY_SERVER_DEVICE_H
#define IDENTITY_SERVER_DEVICE_H

#include "server.h"

enum {
    DEVICE_SECONDS = 600, /* in which the user answers */
    DEVICE_INTERVAL = 5,  /* between polls (RFC 8628 section 3.2) */
    USER_CODE = 8,        /* letters */
    DEVICE_SCOPE = 512,
    SESSION_ID = 22
};

/* Where the request of a device stands. */
enum {
    DEVICE_UNKNOWN, /* there is none */
    DEVICE_PENDING,
    DEVICE_ALLOWED,
    DEVICE_DENIED,
    DEVICE_EXPIRED, /* these are answers to a poll, and stand nowhere */
    DEVICE_TOO_FAST
};

typedef struct device {
    int state;
    const client *client;
    char scope[DEVICE_SCOPE]; /* asked; once it is allowed, granted */
    char label[AGENT_NAME];   /* of the device; "": it told nothing */
    char ip[64];              /* where the request came from */
    int64_t asked_us;
    char session_id[SESSION_ID + 1];  /* of the request */
    int64_t interval_s, next_poll_us; /* 0: it has not polled yet */

    const user *user; /* who answered */
    char error[32];   /* of one that is denied, for the wire */
    char sid[64];     /* of one that is allowed: in which login */
    int64_t auth_time_us;
} device;

/*
 * All return OTOK_OK, or what the library failed with.
 *
 * device_ask(): takes in a request: client, scope, label and ip.  The device code is freed with free().  OTOK_E_LIMIT: too many wait, from
 * everywhere or from there.
 */
int device_ask(server *s, const device *d, char **device_code, char user_code[USER_CODE + 1], otok_error *err);

/* The user code that somebody typed, without what is between its letters; false: it cannot be one. */
bool user_code_read(const char *typed, char user_code[USER_CODE + 1]);

/* The request of that user code: DEVICE_UNKNOWN where there is none, or its time is over. */
int device_find(server *s, const char *user_code, device *out, otok_error *err);

/*
 * The user's answer to a request that was found pending: state, user and error, or scope, sid and auth_time_us, of `d`.  OTOK_E_ONCE:
 * it has been answered before, and stays as it is.
 */
int device_answer(server *s, const char *user_code, const device *d, otok_error *err);

/* The device asks: where its request stands, in `out->state`. */
int device_poll(server *s, const char *device_code, const client *c, device *out, otok_error *err);

#endif
