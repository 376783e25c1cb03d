/*
 * error.c - codes, their names, and what they are on the wire.
 *
 * SPDX-License-Identifier: MIT
 */
#include "base/base.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

/* 503 is for what the client should simply try again with the same token. */
enum {
    HTTP_OK = 200,
    HTTP_BAD_REQUEST = 400,
    HTTP_UNAUTHORIZED = 401,
    HTTP_SERVER_ERROR = 500,
    HTTP_UNAVAILABLE = 503
};

static const struct error_row {
    int code;
    int http;
    const char *name;
    const char *oauth;
} rows[] = {
    {OTOK_OK, HTTP_OK, "OTOK_OK", NULL},
    {OTOK_E_INVALID, HTTP_BAD_REQUEST, "OTOK_E_INVALID", "invalid_request"},
    {OTOK_E_POLICY, HTTP_SERVER_ERROR, "OTOK_E_POLICY", "server_error"},
    {OTOK_E_UNSUPPORTED, HTTP_SERVER_ERROR, "OTOK_E_UNSUPPORTED", "server_error"},
    {OTOK_E_NOT_FOUND, HTTP_BAD_REQUEST, "OTOK_E_NOT_FOUND", "invalid_request"},
    {OTOK_E_STATE, HTTP_SERVER_ERROR, "OTOK_E_STATE", "server_error"},
    {OTOK_E_NOMEM, HTTP_UNAVAILABLE, "OTOK_E_NOMEM", "temporarily_unavailable"},
    {OTOK_E_IO, HTTP_UNAVAILABLE, "OTOK_E_IO", "temporarily_unavailable"},
    {OTOK_E_FULL, HTTP_UNAVAILABLE, "OTOK_E_FULL", "temporarily_unavailable"},
    {OTOK_E_BUSY, HTTP_UNAVAILABLE, "OTOK_E_BUSY", "temporarily_unavailable"},
    {OTOK_E_UNCERTAIN, HTTP_UNAVAILABLE, "OTOK_E_UNCERTAIN", "temporarily_unavailable"},
    {OTOK_E_CONFLICT, HTTP_UNAVAILABLE, "OTOK_E_CONFLICT", "temporarily_unavailable"},
    {OTOK_E_CRYPTO, HTTP_SERVER_ERROR, "OTOK_E_CRYPTO", "server_error"},
    {OTOK_E_FORMAT, HTTP_SERVER_ERROR, "OTOK_E_FORMAT", "server_error"},
    {OTOK_E_TAMPERED, HTTP_SERVER_ERROR, "OTOK_E_TAMPERED", "server_error"},
    {OTOK_E_PERMISSION, HTTP_SERVER_ERROR, "OTOK_E_PERMISSION", "server_error"},
    {OTOK_E_KEY, HTTP_SERVER_ERROR, "OTOK_E_KEY", "server_error"},
    {OTOK_E_CALLBACK, HTTP_SERVER_ERROR, "OTOK_E_CALLBACK", "server_error"},
    {OTOK_E_TOKEN_INVALID, HTTP_BAD_REQUEST, "OTOK_E_TOKEN_INVALID", "invalid_grant"},
    {OTOK_E_TOKEN_UNKNOWN, HTTP_BAD_REQUEST, "OTOK_E_TOKEN_UNKNOWN", "invalid_grant"},
    {OTOK_E_TOKEN_EXPIRED, HTTP_BAD_REQUEST, "OTOK_E_TOKEN_EXPIRED", "invalid_grant"},
    {OTOK_E_TOKEN_REVOKED, HTTP_BAD_REQUEST, "OTOK_E_TOKEN_REVOKED", "invalid_grant"},
    {OTOK_E_TOKEN_REUSED, HTTP_BAD_REQUEST, "OTOK_E_TOKEN_REUSED", "invalid_grant"},
    {OTOK_E_TOKEN_RETRIES, HTTP_BAD_REQUEST, "OTOK_E_TOKEN_RETRIES", "invalid_grant"},
    {OTOK_E_TOKEN_AHEAD, HTTP_BAD_REQUEST, "OTOK_E_TOKEN_AHEAD", "invalid_grant"},
    {OTOK_E_CLIENT_MISMATCH, HTTP_BAD_REQUEST, "OTOK_E_CLIENT_MISMATCH", "invalid_grant"},
    {OTOK_E_SENDER, HTTP_BAD_REQUEST, "OTOK_E_SENDER", "invalid_grant"},
    {OTOK_E_SCOPE, HTTP_BAD_REQUEST, "OTOK_E_SCOPE", "invalid_scope"},
    {OTOK_E_TARGET, HTTP_BAD_REQUEST, "OTOK_E_TARGET", "invalid_target"},
    {OTOK_E_TOKEN_TYPE, HTTP_BAD_REQUEST, "OTOK_E_TOKEN_TYPE", "unsupported_token_type"},
    {OTOK_E_UNAUTHORIZED_CLIENT, HTTP_BAD_REQUEST, "OTOK_E_UNAUTHORIZED_CLIENT", "unauthorized_client"},
    {OTOK_E_LIMIT, HTTP_BAD_REQUEST, "OTOK_E_LIMIT", "invalid_grant"},
    {OTOK_E_CONSENT, HTTP_BAD_REQUEST, "OTOK_E_CONSENT", "invalid_grant"},
    {OTOK_E_DENIED, HTTP_BAD_REQUEST, "OTOK_E_DENIED", "invalid_grant"},
    {OTOK_E_ONCE, HTTP_BAD_REQUEST, "OTOK_E_ONCE", "invalid_grant"},
    {OTOK_E_DPOP_PROOF, HTTP_BAD_REQUEST, "OTOK_E_DPOP_PROOF", "invalid_dpop_proof"},
    {OTOK_E_DPOP_NONCE, HTTP_BAD_REQUEST, "OTOK_E_DPOP_NONCE", "use_dpop_nonce"},
    {OTOK_E_CLIENT, HTTP_UNAUTHORIZED, "OTOK_E_CLIENT", "invalid_client"},
    {OTOK_E_GRANT_TYPE, HTTP_BAD_REQUEST, "OTOK_E_GRANT_TYPE", "unsupported_grant_type"},
};

static const struct error_row *row_of(int code)
{
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        if (rows[i].code == code)
            return &rows[i];
    }
    return NULL;
}

const char *otok_error_name(int code)
{
    const struct error_row *row = row_of(code);
    return row != NULL ? row->name : "OTOK_E_?";
}

const char *otok_error_oauth(int code)
{
    const struct error_row *row = row_of(code);
    return row != NULL ? row->oauth : "server_error";
}

int otok_error_http(int code)
{
    const struct error_row *row = row_of(code);
    return row != NULL ? row->http : HTTP_SERVER_ERROR;
}

const char *otok_version(void)
{
    return OTOK_VERSION;
}

static int fail(otok_error *err, int code, int system_errno, const char *format, va_list args)
{
    if (err != NULL) {
        memset(err, 0, sizeof *err);
        err->code = code;
        err->system_errno = system_errno;
        (void)vsnprintf(err->message, sizeof err->message, format, args);
    }
    return code;
}

int otok_fail(otok_error *err, int code, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    (void)fail(err, code, 0, format, args);
    va_end(args);
    return code;
}

int otok_fail_errno(otok_error *err, int code, int system_errno, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    (void)fail(err, code, system_errno, format, args);
    va_end(args);
    return code;
}

int otok_error_set(otok_error *err, int code, int system_errno, const char *message)
{
    return otok_fail_errno(err, code, system_errno, "%s", message != NULL ? message : "");
}

int otok_error_of_errno(int system_errno)
{
    switch (system_errno) {
    case ENOMEM:
        return OTOK_E_NOMEM;
    case ENOSPC:
    case EDQUOT:
        return OTOK_E_FULL;
    case EACCES:
    case EPERM:
    case EROFS:
        return OTOK_E_PERMISSION;
    case ENOENT:
    case ENOTDIR:
        return OTOK_E_NOT_FOUND;
    default:
        return OTOK_E_IO;
    }
}
