/*
 * response.c - what the endpoints answer: status, headers and JSON.
 *
 * SPDX-License-Identifier: MIT
 */
#include "oauth/oauth.h"

#include <string.h>

enum {
    MOST_HEADERS = 6,
    HTTP_UNAUTHORIZED = 401,
    HTTP_METHOD_NOT_ALLOWED = 405,
    HTTP_SERVER_ERROR = 500,
    HTTP_UNAVAILABLE = 503
};

/* The response and everything that it points at, in one piece. */
typedef struct response_box {
    otok_http_response response; /* first: what the host has is the whole */
    size_t size;                 /* of the whole, to be wiped */
    otok_http_header headers[MOST_HEADERS];
    char text[];
} response_box;

/* ---------------------------------------------------------------------------------------------------- the whole */

static void add_header(response_box *box, const char *name, const char *value)
{
    box->headers[box->response.header_count++] = (otok_http_header){name, value};
}

/* RFC 6749 section 5.1 for every answer, and what a status asks for beside. */
static void add_headers(response_box *box, const char *nonce, const char *challenge)
{
    static const struct {
        int32_t status;
        const char *name, *value;
    } by_status[] = {
        {HTTP_METHOD_NOT_ALLOWED, "Allow", "POST"}, /* RFC 9110 section 15.5.6 */
        {HTTP_UNAVAILABLE, "Retry-After", "1"},     /* second: less than half of any retry window that is one (R8) */
    };
    add_header(box, "Content-Type", "application/json");
    add_header(box, "Cache-Control", "no-store");
    add_header(box, "Pragma", "no-cache");
    for (size_t i = 0; i < sizeof by_status / sizeof by_status[0]; i++) {
        if (by_status[i].status == box->response.status)
            add_header(box, by_status[i].name, by_status[i].value);
    }
    if (challenge == NULL && box->response.status == HTTP_UNAUTHORIZED) /* RFC 6749 section 5.2 */
        challenge = "Basic realm=\"token endpoint\"";
    if (challenge != NULL)
        add_header(box, "WWW-Authenticate", challenge);
    if (nonce != NULL)
        add_header(box, "DPoP-Nonce", nonce);
}

/* Copies a text behind what is there; NULL of what is empty. */
static const char *put_text(char **room, otok_str text)
{
    char *start = *room;
    if (text.len == 0)
        return NULL;
    memcpy(start, text.data, text.len);
    start[text.len] = '\0';
    *room += text.len + 1;
    return start;
}

/* What one is made of; its texts are copied. */
struct parts {
    int32_t status;
    otok_str body;
    const char *nonce, *challenge;
    const otok_error *error; /* NULL: none */
};

static bool size_of(const otok_str texts[], size_t n, size_t *out)
{
    bool fits = true;
    *out = sizeof(response_box);
    for (size_t i = 0; fits && i < n; i++)
        fits = otok_size_add(*out, texts[i].len, out) && otok_size_add(*out, 1, out);
    return fits;
}

static int make(const struct parts *parts, otok_http_response **out, otok_error *err)
{
    const otok_error *error = parts->error;
    otok_str message = {0};
    if (error != NULL)
        message = (otok_str){error->message, strnlen(error->message, sizeof error->message - 1)};
    const otok_str texts[] = {parts->body, message, otok_str_of(parts->nonce), otok_str_of(parts->challenge)};
    size_t size;
    response_box *box = size_of(texts, sizeof texts / sizeof texts[0], &size) ? otok_calloc(1, size) : NULL;
    if (box == NULL)
        return otok_fail(err, OTOK_E_NOMEM, "out of memory for a response");

    char *room = box->text;
    box->size = size;
    box->response = (otok_http_response){
        .size = sizeof box->response,
        .status = parts->status,
        .code = error != NULL ? error->code : OTOK_OK,
        .headers = box->headers,
        .body = put_text(&room, texts[0]),
        .body_len = parts->body.len,
        .message = put_text(&room, texts[1]),
    };
    const char *nonce = put_text(&room, texts[2]);
    add_headers(box, nonce, put_text(&room, texts[3]));
    *out = &box->response;
    return OTOK_OK;
}

void otok_http_response_free(otok_http_response *response)
{
    response_box *box = (response_box *)(void *)response;
    if (box != NULL)
        otok_wipe_free(box, box->size);
}

int otok_response_json(int32_t status, const char *body, const char *nonce, otok_http_response **out, otok_error *err)
{
    *out = NULL;
    if (body == NULL || body[0] == '\0')
        return otok_fail(err, OTOK_E_INVALID, "a response without a body");
    const struct parts parts = {.status = status, .body = otok_str_of(body), .nonce = nonce};
    return make(&parts, out, err);
}

/* ---------------------------------------------------------------------------------------------------- errors */

/* It has neither quotes nor backslashes, and ends with ASCII: a character for each other. */
void otok_buf_add_description(otok_buf *buf, const char *text)
{
    size_t len = strnlen(text, OTOK_DESCRIPTION_MAX);
    for (size_t i = 0; i < len; i++) {
        uint8_t c = (uint8_t)text[i];
        if ((c & 0xc0) == 0x80)
            continue; /* the rest of a character that has its place already */
        if (c == '"')
            c = '\'';
        else if (c < 0x20 || c > 0x7e || c == '\\')
            c = '?';
        otok_buf_add_u8(buf, c);
    }
}

/* The messages of trouble name files, keys and callbacks, which are no business of those who ask: they are for the log. */
const char *otok_error_description(const otok_error *error, int32_t status)
{
    if (status == HTTP_UNAVAILABLE)
        return "try again with the same token";
    if (status >= HTTP_SERVER_ERROR || error->code == OTOK_E_NOT_FOUND)
        return "the request could not be answered";
    return error->message;
}

static void print_refusal(const otok_refusal *refusal, otok_buf *body)
{
    otok_json_begin(body);
    if (refusal->name != NULL)
        otok_json_add_text(body, "error", refusal->name);
    if (refusal->name != NULL && refusal->description != NULL && refusal->description[0] != '\0') {
        otok_json_add_name(body, "error_description");
        otok_buf_add_u8(body, '"');
        otok_buf_add_description(body, refusal->description);
        otok_buf_add_u8(body, '"');
    }
    otok_json_end(body);
}

int otok_response_refuse(const otok_refusal *refusal, const otok_error *error, const char *nonce,
                         otok_http_response **out, otok_error *err)
{
    uint8_t storage[sizeof(otok_error) + 128]; /* more than the longest: nothing grows */
    otok_buf body;
    *out = NULL;
    otok_buf_init(&body, storage, sizeof storage);
    print_refusal(refusal, &body);
    const struct parts parts = {refusal->status, {body.data, body.len}, nonce, refusal->challenge, error};
    int rc = make(&parts, out, err);
    otok_buf_free(&body);
    return rc;
}

int otok_response_of_error(const otok_error *error, const char *nonce, otok_http_response **out, otok_error *err)
{
    /* A method that is not served is the only thing unsupported that a request can ask for. */
    bool wrong_method = error->code == OTOK_E_UNSUPPORTED;
    /* OTOK_OK is no error: whoever says so is in trouble. */
    int code = error->code == OTOK_OK ? OTOK_E_STATE : error->code;
    otok_refusal refusal = {
        .status = wrong_method ? HTTP_METHOD_NOT_ALLOWED : otok_error_http(code),
        .name = otok_error_oauth(wrong_method ? OTOK_E_INVALID : code),
    };
    refusal.description = otok_error_description(error, refusal.status);
    return otok_response_refuse(&refusal, error, nonce, out, err);
}

/* The host may show a stranger's text in it, which must not make two lines of one in a log. */
static void drop_controls(char *message)
{
    for (; *message != '\0'; message++) {
        if ((uint8_t)*message < 0x20 || *message == 0x7f)
            *message = '?';
    }
}

int otok_endpoint_refuse(int code, const char *description, otok_http_response **out, otok_error *err)
{
    if (out == NULL)
        return otok_fail(err, OTOK_E_INVALID, "out is required");
    *out = NULL;
    if (code == OTOK_OK || strcmp(otok_error_name(code), "OTOK_E_?") == 0)
        return otok_fail(err, OTOK_E_INVALID, "code is not that of an error");
    if (description != NULL && !otok_text_is_utf8(description, strlen(description)))
        return otok_fail(err, OTOK_E_INVALID, "description is not UTF-8");
    otok_error reason;
    const char *message = description != NULL && description[0] != '\0' ? description : otok_error_name(code);
    (void)otok_fail(&reason, code, "%.*s", (int)otok_text_cut(message, strlen(message), OTOK_DESCRIPTION_MAX), message);
    drop_controls(reason.message);
    const otok_refusal refusal = {
        .status = otok_error_http(code), .name = otok_error_oauth(code), .description = description};
    return otok_response_refuse(&refusal, &reason, NULL, out, err);
}
