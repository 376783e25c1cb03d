/*
 * response.c - what the endpoints answer: status, headers and JSON.
 *
 * SPDX-License-Identifier: MIT
 */
#include "oauth/oauth.h"

#include <string.h>

enum { MOST_HEADERS = 5, HTTP_UNAUTHORIZED = 401, HTTP_METHOD_NOT_ALLOWED = 405, HTTP_UNAVAILABLE = 503 };

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
static void add_headers(response_box *box, const char *nonce)
{
    static const struct {
        int32_t status;
        const char *name, *value;
    } by_status[] = {
        {HTTP_UNAUTHORIZED, "WWW-Authenticate", "Basic realm=\"token endpoint\""}, /* RFC 6749 section 5.2 */
        {HTTP_METHOD_NOT_ALLOWED, "Allow", "POST"},                                /* RFC 9110 section 15.5.6 */
        {HTTP_UNAVAILABLE, "Retry-After", "1"}, /* second: less than half of any retry window that is one (R8) */
    };
    add_header(box, "Content-Type", "application/json");
    add_header(box, "Cache-Control", "no-store");
    add_header(box, "Pragma", "no-cache");
    for (size_t i = 0; i < sizeof by_status / sizeof by_status[0]; i++) {
        if (by_status[i].status == box->response.status)
            add_header(box, by_status[i].name, by_status[i].value);
    }
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

static int make(int32_t status, otok_str body, otok_str nonce, const otok_error *error, otok_http_response **out,
                otok_error *err)
{
    otok_str message = {0};
    if (error != NULL)
        message = (otok_str){error->message, strnlen(error->message, sizeof error->message - 1)};
    size_t size;
    bool fits =
        otok_size_add(sizeof(response_box) + message.len + 3, body.len, &size) && otok_size_add(size, nonce.len, &size);
    response_box *box = fits ? otok_calloc(1, size) : NULL;
    if (box == NULL)
        return otok_fail(err, OTOK_E_NOMEM, "out of memory for a response");

    char *room = box->text;
    box->size = size;
    box->response = (otok_http_response){
        .size = sizeof box->response,
        .status = status,
        .code = error != NULL ? error->code : OTOK_OK,
        .headers = box->headers,
        .body = put_text(&room, body),
        .body_len = body.len,
        .message = put_text(&room, message),
    };
    add_headers(box, put_text(&room, nonce));
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
    return make(status, otok_str_of(body), otok_str_of(nonce), NULL, out, err);
}

/* ---------------------------------------------------------------------------------------------------- errors */

/* The alphabet of RFC 6749 section 5.2 has neither quotes nor backslashes, and ends with ASCII: a character for each other. */
static void add_description(otok_buf *buf, const char *message, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        uint8_t c = (uint8_t)message[i];
        if ((c & 0xc0) == 0x80)
            continue; /* the rest of a character that has its place already */
        if (c == '"')
            c = '\'';
        else if (c < 0x20 || c > 0x7e || c == '\\')
            c = '?';
        otok_buf_add_u8(buf, c);
    }
}

/*
 * What a client is told.  Trouble of ours is for the log: its message names files, keys and callbacks, which are no business of those
 * who ask.
 */
static void describe(otok_buf *buf, const otok_error *error, int32_t status)
{
    const char *text = error->message;
    if (status == HTTP_UNAVAILABLE)
        text = "try again with the same token";
    else if (status >= 500 || error->code == OTOK_E_NOT_FOUND)
        text = "the request could not be answered";
    size_t len = strnlen(text, sizeof error->message - 1);
    if (len == 0)
        return;
    otok_buf_add_text(buf, ",\"error_description\":\"");
    add_description(buf, text, len);
    otok_buf_add_u8(buf, '"');
}

int otok_response_of_error(const otok_error *error, const char *nonce, otok_http_response **out, otok_error *err)
{
    /* A method that is not served is the only thing unsupported that a request can ask for. */
    bool wrong_method = error->code == OTOK_E_UNSUPPORTED;
    int32_t status = wrong_method ? HTTP_METHOD_NOT_ALLOWED : otok_error_http(error->code);
    const char *name = otok_error_oauth(wrong_method ? OTOK_E_INVALID : error->code);
    uint8_t storage[sizeof(otok_error) + 128]; /* more than the longest: nothing grows */
    otok_buf body;

    *out = NULL;
    if (name == NULL) { /* OTOK_OK is no error: whoever says so is in trouble */
        status = otok_error_http(OTOK_E_STATE);
        name = otok_error_oauth(OTOK_E_STATE);
    }
    otok_buf_init(&body, storage, sizeof storage);
    otok_json_begin(&body);
    otok_json_add_text(&body, "error", name);
    describe(&body, error, status);
    otok_json_end(&body);
    int rc = make(status, (otok_str){body.data, body.len}, otok_str_of(nonce), error, out, err);
    otok_buf_free(&body);
    return rc;
}
