/*
 * resource.c - whether a call of a protected resource may be answered: by an access token, with the proof or the certificate that it is
 * bound to (RFC 6750, RFC 9449 section 7, RFC 8705 section 3) (P1, P3).
 *
 * The token's signature comes first, then what it is bound to, then the session; a proof is used up last, so that only holders of good
 * tokens are remembered.  What is not known for trouble of ours is 500 or 503, and never a bad token.
 *
 * SPDX-License-Identifier: MIT
 */
#include "oauth/endpoint.h"

#include <string.h>

enum { HTTP_BAD_REQUEST = 400, HTTP_UNAUTHORIZED = 401, HTTP_FORBIDDEN = 403, HTTP_SERVER_ERROR = 500 };

/* One call, on its way to what is known of its token. */
struct call {
    otok_exchange exchange;
    enum { NO_SCHEME, BEARER, DPOP } scheme;
    const char *token; /* in the request */
    otok_jws *jwt;     /* the token */
    otok_id session;
    otok_buf scope;    /* what is needed; may be empty */
    bool out_of_scope; /* it is that what the token lacks */
};

/* ---------------------------------------------------------------------------------------------------- credentials */

/* The value behind a scheme, whose name is in any case (RFC 9110 section 11.1), and its spaces; NULL when it is another one. */
static const char *behind_scheme(const char *text, const char *scheme)
{
    while (*scheme != '\0' && otok_lower(*text) == *scheme) {
        text++;
        scheme++;
    }
    if (*scheme != '\0' || (*text != ' ' && *text != '\0'))
        return NULL;
    return text + strspn(text, " ");
}

/* token68 of RFC 9110 section 11.2, which is b64token of RFC 6750 section 2.1: one of it, and nothing behind. */
static bool is_token68(const char *text)
{
    static const char set[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~+/";
    size_t len = strspn(text, set);
    return len != 0 && text[len + strspn(text + len, "=")] == '\0';
}

/* A scheme that is not served is as good as none (RFC 6750 section 3.1). */
static int read_credentials(struct call *call, otok_error *err)
{
    static const char *const schemes[] = {[BEARER] = "bearer", [DPOP] = "dpop"};
    const char *text = call->exchange.params.http.authorization;
    for (int scheme = BEARER; text != NULL && scheme <= DPOP; scheme++) {
        const char *token = behind_scheme(text, schemes[scheme]);
        if (token == NULL)
            continue;
        call->scheme = scheme;
        call->token = token;
        return is_token68(token) ? OTOK_OK
                                 : otok_fail(err, OTOK_E_INVALID, "Authorization is not a scheme and a token");
    }
    return otok_fail(err, OTOK_E_TOKEN_INVALID, "there is no access token");
}

/* ---------------------------------------------------------------------------------------------------- what it is bound to */

static bool is_same(const char *a, const char *b)
{
    return a != NULL && b != NULL && strlen(a) == strlen(b) && otok_equal_ct(a, b, strlen(a));
}

static int check_proof(struct call *call, const char *jkt, otok_error *err)
{
    if (call->exchange.params.http.dpop_count == 0)
        return otok_fail(err, OTOK_E_DPOP_PROOF, "there is no DPoP proof");
    int rc = otok_exchange_read_proof(&call->exchange, err);
    if (rc != OTOK_OK)
        return rc;
    if (!is_same(jkt, call->exchange.proof.jkt)) /* RFC 9449 section 7.1 */
        return otok_fail(err, OTOK_E_SENDER, "the access token is bound to another DPoP key");
    return otok_proof_check_ath(&call->exchange.proof, call->token, err);
}

/* A token that is bound in a way that is not known here is not taken for one that is not bound. */
static int check_binding(struct call *call, otok_error *err)
{
    const otok_json *cnf = otok_json_member(call->jwt->payload, "cnf");
    const char *jkt = cnf != NULL ? otok_json_text(cnf, "jkt") : NULL;
    const char *x5t = cnf != NULL ? otok_json_text(cnf, "x5t#S256") : NULL;
    if (cnf != NULL && jkt == NULL && x5t == NULL)
        return otok_fail(err, OTOK_E_TOKEN_INVALID, "the access token is bound to what is not known here");
    if (jkt != NULL && call->scheme != DPOP) /* RFC 9449 section 7.2 */
        return otok_fail(err, OTOK_E_TOKEN_INVALID, "the access token is bound to a DPoP key: its scheme is DPoP");
    if (jkt == NULL && call->scheme == DPOP)
        return otok_fail(err, OTOK_E_TOKEN_INVALID,
                         "the access token is not bound to a DPoP key: its scheme is Bearer");
    if (x5t != NULL && !is_same(x5t, call->exchange.params.http.x5t_s256))
        return otok_fail(err, OTOK_E_SENDER, "the access token is bound to another client certificate");
    return jkt != NULL ? check_proof(call, jkt, err) : OTOK_OK;
}

/* ---------------------------------------------------------------------------------------------------- the session */

static int on_live(void *exchange, const otok_owner *owner, const otok_rules *rules, int64_t now_us, otok_error *err)
{
    return otok_exchange_use_proof(exchange, owner, rules, now_us, err);
}

static int look_up(struct call *call, otok_introspection **out, otok_error *err)
{
    const otok_http_request *http = &call->exchange.params.http;
    const char *names[OTOK_MAX_AUDIENCE + 1] = {call->exchange.service->audience};
    for (size_t i = 0; i < http->resource_count; i++)
        names[i + 1] = http->resource[i];
    const otok_access_use use = {
        .jwt = call->jwt,
        .session = call->session,
        .resource = names,
        .resource_count = http->resource_count + 1,
        .peer = &call->exchange.params.peer,
        .on_live = on_live,
        .on_live_arg = &call->exchange,
    };
    return otok_access_token_use(call->exchange.service, &use, out, err);
}

static int check_scope(struct call *call, const otok_introspection *found, otok_error *err)
{
    if (otok_scope_covers(otok_str_of(found->scope), (otok_str){call->scope.data, call->scope.len}))
        return OTOK_OK;
    call->out_of_scope = true;
    return otok_fail(err, OTOK_E_SCOPE, "the access token is not for all of this scope");
}

static int judge(struct call *call, otok_introspection **out, otok_error *err)
{
    int rc = otok_access_token_read(call->exchange.service, call->token, &call->jwt, &call->session, err);
    if (rc == OTOK_OK)
        rc = check_binding(call, err);
    if (rc == OTOK_OK)
        rc = look_up(call, out, err);
    if (rc == OTOK_OK)
        rc = check_scope(call, *out, err);
    /* What the client can have done wrong has another name here: this is a store's mistake. */
    return rc == OTOK_E_INVALID || rc == OTOK_E_NOT_FOUND ? OTOK_E_STATE : rc;
}

/* ---------------------------------------------------------------------------------------------------- the host's part */

static int read_call(struct call *call, const otok_http_request *request, const char *scope, otok_error *err)
{
    int rc = otok_params_read_call(request, &call->exchange.params, err);
    if (rc != OTOK_OK)
        return rc;
    const otok_http_request *http = &call->exchange.params.http;
    if (http->method == NULL || http->uri == NULL)
        return otok_fail(err, OTOK_E_STATE, "request.%s is required", http->method == NULL ? "method" : "uri");
    if (scope != NULL)
        rc = otok_scope_normalise(scope, &call->scope, err);
    return rc == OTOK_E_INVALID ? OTOK_E_STATE : rc;
}

/* ---------------------------------------------------------------------------------------------------- the refusal */

static void add_parameter(otok_buf *challenge, const char *name, const char *value)
{
    otok_buf_add_text(challenge, ", ");
    otok_buf_add_text(challenge, name);
    otok_buf_add_text(challenge, "=\"");
    otok_buf_add_description(challenge, value);
    otok_buf_add_u8(challenge, '"');
}

static void add_algorithms(otok_buf *challenge)
{
    otok_buf_add_text(challenge, "DPoP algs=\"");
    for (int32_t algorithm = OTOK_ALG_ES256; algorithm <= OTOK_ALG_PS256; algorithm++) {
        if (algorithm != OTOK_ALG_ES256)
            otok_buf_add_u8(challenge, ' ');
        otok_buf_add_text(challenge, otok_algorithm_name(algorithm));
    }
    otok_buf_add_u8(challenge, '"');
}

/* RFC 6750 section 3, RFC 9449 section 7.1; and who did not come with DPoP learns that he may. */
static void print_challenge(const struct call *call, const otok_refusal *refusal, otok_buf *out)
{
    if (call->scheme == DPOP)
        add_algorithms(out);
    else
        otok_buf_add_text(out, "Bearer realm=\"resource\"");
    if (refusal->name != NULL) {
        add_parameter(out, "error", refusal->name);
        add_parameter(out, "error_description", refusal->description);
    }
    if (call->out_of_scope) {
        otok_buf_add_text(out, ", scope=\"");
        otok_buf_add(out, call->scope.data, call->scope.len); /* in whose alphabet are no quotes */
        otok_buf_add_u8(out, '"');
    }
    if (call->scheme != DPOP && refusal->status == HTTP_UNAUTHORIZED) {
        otok_buf_add_text(out, ", ");
        add_algorithms(out);
    }
    otok_buf_add_u8(out, '\0');
}

/* RFC 6750 section 3.1, RFC 9449 section 12.2; what is no refusal is trouble of ours. */
static otok_refusal refusal_of(const struct call *call, int code)
{
    if (code == OTOK_E_INVALID)
        return (otok_refusal){HTTP_BAD_REQUEST, "invalid_request", NULL, NULL};
    if (call->out_of_scope)
        return (otok_refusal){HTTP_FORBIDDEN, "insufficient_scope", NULL, NULL};
    if (code == OTOK_E_DPOP_PROOF || code == OTOK_E_DPOP_NONCE)
        return (otok_refusal){HTTP_UNAUTHORIZED, otok_error_oauth(code), NULL, NULL};
    if (code <= OTOK_E_TOKEN_INVALID)
        return (otok_refusal){HTTP_UNAUTHORIZED, call->scheme != NO_SCHEME ? "invalid_token" : NULL, NULL, NULL};
    return (otok_refusal){otok_error_http(code), otok_error_oauth(code), NULL, NULL};
}

static int refuse(const struct call *call, const otok_error *reason, otok_http_response **out, otok_error *err)
{
    otok_buf challenge;
    const char *nonce = call->exchange.nonce;
    otok_refusal refusal = refusal_of(call, reason->code);
    refusal.description = otok_error_description(reason, refusal.status);
    otok_buf_init(&challenge, NULL, 0);
    if (refusal.status < HTTP_SERVER_ERROR) {
        print_challenge(call, &refusal, &challenge);
        refusal.challenge = (const char *)challenge.data;
    }
    int rc = challenge.failed ? otok_fail(err, OTOK_E_NOMEM, "out of memory for a response")
                              : otok_response_refuse(&refusal, reason, nonce[0] != '\0' ? nonce : NULL, out, err);
    otok_buf_free(&challenge);
    return rc;
}

/* ---------------------------------------------------------------------------------------------------- the whole */

static int run(struct call *call, const otok_http_request *request, const char *scope, otok_introspection **out,
               otok_http_response **refusal, otok_error *err)
{
    otok_error reason = {0};
    otok_buf_init(&call->scope, NULL, 0);
    int rc = read_call(call, request, scope, &reason);
    if (rc == OTOK_OK)
        rc = read_credentials(call, &reason);
    if (rc == OTOK_OK)
        rc = judge(call, out, &reason);
    if (rc != OTOK_OK) {
        otok_introspection_free(*out);
        *out = NULL;
        reason.code = rc;
        rc = refuse(call, &reason, refusal, err);
    }
    otok_jws_free(call->jwt);
    otok_buf_free(&call->scope);
    if (call->exchange.has_proof)
        otok_proof_free(&call->exchange.proof);
    otok_params_free(&call->exchange.params);
    return rc;
}

int otok_endpoint_resource(otok_service *service, const otok_http_request *request, const char *scope,
                           otok_introspection **out, otok_http_response **refusal, otok_error *err)
{
    struct call call = {.exchange.service = service};
    otok_http_request own;
    if (out != NULL)
        *out = NULL;
    if (refusal != NULL)
        *refusal = NULL;
    if (service == NULL || request == NULL || out == NULL || refusal == NULL)
        return otok_fail(err, OTOK_E_INVALID, "service, request, out and refusal are required");
    int rc = otok_struct_read(&own, sizeof own, request, sizeof(size_t) + sizeof(char *), "otok_http_request", err);
    return rc == OTOK_OK ? run(&call, request, scope, out, refusal, err) : rc;
}
