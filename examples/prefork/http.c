/*
 * http.c - connections, and what comes and goes on them: HTTP/1.1, taken apart by http_parser.
 *
 * SPDX-License-Identifier: MIT
 */
#include "prefork.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    RETRY_AFTER_S = 2
}; /* less than half of the policy's retry window: a client that comes too late is taken for a thief */

static void read_next(connection *c);

static void on_closed(uv_handle_t *handle)
{
    free(handle->data);
}

static void hang_up(connection *c)
{
    if (!uv_is_closing((uv_handle_t *)&c->tcp))
        uv_close((uv_handle_t *)&c->tcp, on_closed);
}

void hang_up_if_idle(uv_handle_t *handle, void *arg)
{
    connection *c = handle->data; /* NULL: a handle that is no connection */
    (void)arg;
    if (c != NULL && !c->busy)
        hang_up(c);
}

/* ------------------------------------------------------------------------------------------------------------ answers */

static void on_written(uv_write_t *write, int status)
{
    connection *c = write->data;
    otok_tokens_free(c->tokens); /* which wipes them */
    otok_form_free(c->form);
    c->tokens = NULL;
    c->form = NULL;
    c->busy = false;
    if (status != 0 || !c->keep_alive || draining)
        hang_up(c);
    else
        read_next(c);
}

static const char *header_of(int status)
{
    static char retry_after[32];
    (void)snprintf(retry_after, sizeof retry_after, "Retry-After: %d\r\n", RETRY_AFTER_S);
    return status == HTTP_STATUS_METHOD_NOT_ALLOWED    ? "Allow: POST\r\n"
           : status == HTTP_STATUS_SERVICE_UNAVAILABLE ? retry_after
                                                       : "";
}

void answer(connection *c, int status, const char *body)
{
    c->keep_alive = c->keep_alive && !draining;
    int n = snprintf(c->head, sizeof c->head,
                     "HTTP/1.1 %d %s\r\nContent-Type: application/json\r\nContent-Length: %zu\r\n"
                     "Cache-Control: no-store\r\n%sConnection: %s\r\n\r\n",
                     status, http_status_str((enum http_status)status), strlen(body), header_of(status),
                     c->keep_alive ? "keep-alive" : "close");
    uv_buf_t parts[] = {uv_buf_init(c->head, (unsigned)n),
                        uv_buf_init((char *)(uintptr_t)body, (unsigned)strlen(body))};
    int code = uv_write(&c->write, (uv_stream_t *)&c->tcp, parts, 2, on_written);
    if (code != 0)
        on_written(&c->write, code);
}

void answer_error(connection *c, int status, const char *error)
{
    (void)snprintf(c->error, sizeof c->error, "{\"error\":\"%s\"}", error);
    answer(c, status, c->error);
}

/* ----------------------------------------------------------------------------------------------------------- requests */

static int on_begin(http_parser *parser)
{
    connection *c = parser->data;
    c->path_len = c->body_len = 0;
    c->too_long = false;
    return 0;
}

/* What is too long is read to its end all the same, or the client might not see why it is refused. */
static int append(connection *c, char *text, size_t room, size_t *len, const char *at, size_t n)
{
    size_t fits = n < room - *len ? n : room - *len;
    memcpy(text + *len, at, fits);
    *len += fits;
    c->too_long = c->too_long || fits < n;
    return 0;
}

static int on_url(http_parser *parser, const char *at, size_t n)
{
    connection *c = parser->data;
    return append(c, c->path, sizeof c->path - 1, &c->path_len, at, n);
}

static int on_body(http_parser *parser, const char *at, size_t n)
{
    connection *c = parser->data;
    return append(c, c->body, sizeof c->body, &c->body_len, at, n);
}

/* Answers go in the order of requests: the next one is not looked at before this one is answered. */
static int on_complete(http_parser *parser)
{
    connection *c = parser->data;
    c->path[c->path_len] = '\0';
    c->keep_alive = http_should_keep_alive(parser) != 0;
    http_parser_pause(parser, 1);
    return 0;
}

static void handle_request(connection *c)
{
    if (c->too_long)
        answer_error(c, HTTP_STATUS_PAYLOAD_TOO_LARGE, "invalid_request");
    else if (strcmp(c->path, "/token") != 0)
        answer_error(c, HTTP_STATUS_NOT_FOUND, "invalid_request");
    else if (c->parser.method != HTTP_POST)
        answer_error(c, HTTP_STATUS_METHOD_NOT_ALLOWED, "invalid_request");
    else
        handle_token_request(c);
}

static void parse(connection *c)
{
    static const http_parser_settings settings = {
        .on_message_begin = on_begin, .on_url = on_url, .on_body = on_body, .on_message_complete = on_complete};
    size_t used = http_parser_execute(&c->parser, &settings, c->in, c->in_len);
    enum http_errno error = HTTP_PARSER_ERRNO(&c->parser);
    c->in_len -= used;
    memmove(c->in, c->in + used, c->in_len);
    if (error == HPE_OK)
        return; /* there is more to come */
    c->busy = true;
    if (error == HPE_PAUSED) {
        http_parser_pause(&c->parser, 0);
        handle_request(c);
    } else {
        c->keep_alive = false;
        answer_error(c, HTTP_STATUS_BAD_REQUEST, "invalid_request");
    }
}

/* -------------------------------------------------------------------------------------------------------- connections */

static void on_room(uv_handle_t *handle, size_t suggested, uv_buf_t *out)
{
    connection *c = handle->data;
    (void)suggested;
    *out = uv_buf_init(c->in + c->in_len, (unsigned)(sizeof c->in - c->in_len));
}

static void on_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *room)
{
    connection *c = stream->data;
    (void)room;
    if (n <
        0) { /* its end; or it sends further ahead than there is room for, UV_ENOBUFS, and is read again when it was answered */
        (void)uv_read_stop(stream);
        c->keep_alive = c->keep_alive && n == UV_ENOBUFS;
        if (!c->busy)
            hang_up(c);
        return;
    }
    c->in_len += (size_t)n;
    if (n > 0 && !c->busy)
        parse(c);
}

static void read_next(connection *c)
{
    int code = uv_read_start((uv_stream_t *)&c->tcp, on_room, on_read);
    if (code != 0 && code != UV_EALREADY)
        hang_up(c);
    else if (c->in_len != 0)
        parse(c);
}

void on_connection(uv_stream_t *server, int status)
{
    connection *c = status == 0 ? calloc(1, sizeof *c) : NULL;
    if (c == NULL || uv_tcp_init(&loop, &c->tcp) != 0) {
        free(c);
        return;
    }
    c->tcp.data = c->write.data = c->parser.data = c;
    http_parser_init(&c->parser, HTTP_REQUEST);
    (void)uv_tcp_nodelay(&c->tcp, 1);
    if (uv_accept(server, (uv_stream_t *)&c->tcp) == 0) /* another process may have been faster */
        read_next(c);
    else
        hang_up(c);
}
