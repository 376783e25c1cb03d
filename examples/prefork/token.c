/*
 * token.c - the token endpoint: refreshes, of which those of one turn of the loop share a commit.
 *
 * SPDX-License-Identifier: MIT
 */
#include "prefork.h"

#include <stdio.h>
#include <string.h>

enum { BATCH = 128 }; /* which is as many as the library commits at once */

static struct {
    size_t n;
    connection *connections[BATCH];
    const otok_refresh_request *requests[BATCH];
} batch;

static void answer_refreshed(connection *c, const otok_error *result)
{
    int status = otok_error_http(result->code);
    if (status >= HTTP_STATUS_INTERNAL_SERVER_ERROR)
        (void)fprintf(stderr, "%s: %s\n", otok_error_name(result->code), result->message);
    if (c->tokens != NULL)
        answer(c, status, c->tokens->response_json);
    else
        answer_error(c, status, otok_error_oauth(result->code));
}

/* Once in each turn of the loop: behind what could be read in it, and before the next is waited for. */
void refresh_batch(void)
{
    static otok_tokens *tokens[BATCH];
    static otok_error results[BATCH];
    otok_error err;
    if (batch.n == 0)
        return;
    int code = otok_refresh_many(service, batch.requests, batch.n, tokens, results, &err);
    for (size_t i = 0; i < batch.n; i++) { /* each has a result of its own, but when nothing was done at all */
        connection *c = batch.connections[i];
        c->tokens = code == OTOK_OK ? tokens[i] : NULL;
        answer_refreshed(c, code == OTOK_OK ? &results[i] : &err);
    }
    batch.n = 0;
}

static void refresh_in_batch(connection *c)
{
    batch.connections[batch.n] = c;
    batch.requests[batch.n++] = &c->request;
    if (batch.n == BATCH)
        refresh_batch();
}

/* For comparison: a commit for each, and everybody else waits meanwhile. */
static void refresh_at_once(connection *c)
{
    otok_error result = {.code = OTOK_OK};
    (void)otok_refresh(service, &c->request, &c->tokens, &result);
    answer_refreshed(c, &result);
}

static const char *read_form(connection *c)
{
    if (otok_form_parse(c->body, c->body_len, &c->form, NULL) != OTOK_OK)
        return "invalid_request";
    otok_refresh_request_init(&c->request, sizeof c->request);
    c->request.token = otok_form_get(c->form, "refresh_token");
    c->request.client_id = otok_form_get(c->form, "client_id");
    c->request.client_type = OTOK_CLIENT_PUBLIC;
    c->request.scope = otok_form_get(c->form, "scope");
    const char *grant_type = otok_form_get(c->form, "grant_type");
    if (grant_type == NULL || c->request.client_id == NULL)
        return "invalid_request";
    if (strcmp(grant_type, "refresh_token") != 0)
        return otok_error_oauth(OTOK_E_GRANT_TYPE);
    return c->request.token == NULL ? "invalid_request" : NULL;
}

void handle_token_request(connection *c)
{
    const char *error = read_form(c);
    if (error != NULL)
        answer_error(c, HTTP_STATUS_BAD_REQUEST, error);
    else if (one_by_one)
        refresh_at_once(c);
    else
        refresh_in_batch(c);
}
