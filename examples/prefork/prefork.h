/*
 * prefork.h - a token endpoint in some processes of one thread each, on libuv: what otok_refresh_many() is for.
 *
 * A refresh that rotates is on stable storage when it is answered, and that takes a while.  A loop that commits each one as it
 * comes spends its time on waiting for the disk, while the next requests wait in their sockets.  So here a turn of the loop
 * reads whatever has come in, and then refreshes all of that with one commit.  Nobody waits for a batch to fill: a request that
 * is alone is one of one, and the more there is to do the larger they get.
 *
 *     main.c     options, processes, what one of them sets up, and how it ends
 *     http.c     connections, requests, answers
 *     token.c    refreshes, in batches: begin here
 *
 *     prefork DIRECTORY --issue 3        makes three sessions of the client "app", and prints their refresh tokens
 *     prefork DIRECTORY --port 8080 &
 *     curl -d grant_type=refresh_token -d client_id=app -d refresh_token=TOKEN http://127.0.0.1:8080/token
 *
 * Clients are public ones, which say who they are.  TLS, time limits, bounds on connections, and the address from which a client
 * comes, are the business of the proxy in front.
 *
 * Build: cc *.c $(pkg-config --cflags --libs offlinetok libuv) -lhttp_parser
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef PREFORK_H
#define PREFORK_H

#include <stdbool.h>

#include <http_parser.h>
#include <offlinetok/offlinetok.h>
#include <uv.h>

enum { MAX_AHEAD = 4096, MAX_PATH = 64, MAX_BODY = 8192, MAX_HEAD = 512, MAX_ERROR = 128 };

/* A client's connection, and its request: one at a time; what it sends ahead waits in `in`. */
typedef struct connection {
    uv_tcp_t tcp;
    uv_write_t write;
    http_parser parser;
    bool busy; /* from a whole request until its answer is written */
    bool keep_alive, too_long;
    char in[MAX_AHEAD], path[MAX_PATH], body[MAX_BODY], head[MAX_HEAD], error[MAX_ERROR];
    size_t in_len, path_len, body_len;
    otok_form *form;
    otok_refresh_request request; /* points into the form */
    otok_tokens *tokens;
} connection;

/* Of this process. */
extern uv_loop_t loop;
extern otok_service *service;
extern bool one_by_one; /* --one-by-one */
extern bool draining;   /* no more requests, and what is asked is answered */

/* http.c */
void on_connection(uv_stream_t *server, int status);
void hang_up_if_idle(uv_handle_t *handle, void *arg); /* for uv_walk() */

/* The answer to the request of a connection; the body must live until it is written, as what is in the connection does. */
void answer(connection *c, int status, const char *body);
void answer_error(connection *c, int status, const char *error); /* one of RFC 6749 section 5.2 */

/* token.c */
void handle_token_request(connection *c);
void refresh_batch(void); /* what this turn of the loop has read */

#endif
