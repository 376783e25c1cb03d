/*
 * http.h - what http.c, answer.c, guard.c and listen.c share: a request and its answer, as libmicrohttpd has them.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef IDENTITY_SERVER_HTTP_H
#define IDENTITY_SERVER_HTTP_H

#include "server.h"

#include <microhttpd.h>

enum { MOST_BODY = 65536, MOST_HEADERS = 24 };

struct own_header {
    char *name, *value;
};

/* A request from its first line to the end of its answer. */
typedef struct exchange {
    request request; /* the first member: whoever has the request has the exchange */
    char *url, *path;
    text body;
    login *login;
    text endpoint; /* the URI that request_as_http() told */
    bool has_begun, is_too_large, is_ambiguous;

    struct MHD_Response *response;
    struct own_header headers[MOST_HEADERS];
    size_t nheaders;
    bool lost_header; /* no room or memory for one: the answer would not be what was meant */
    text may_post_to; /* more sources for form-action */
} exchange;

/* listen.c hands these to libmicrohttpd. */
void *exchange_new(void *of, const char *url, struct MHD_Connection *connection);
enum MHD_Result exchange_go_on(void *of, struct MHD_Connection *connection, const char *url, const char *method,
                               const char *version, const char *data, size_t *data_len, void **exchange);
void exchange_free(void *of, struct MHD_Connection *connection, void **exchange, enum MHD_RequestTerminationCode how);

/* answer.c: hands the answer to libmicrohttpd. */
enum MHD_Result answer_send(exchange *x);

/* guard.c: who this is, and whether they may come here and do this.  False: answered. */
bool guard(exchange *x, const route *to);

#endif
