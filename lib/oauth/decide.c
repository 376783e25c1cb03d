/*
 * decide.c - who may have an offline token, as a pure function (I1).
 *
 * SPDX-License-Identifier: MIT
 */
#include "oauth/oauth.h"

enum { SCOPE_BOUND = 4096, WORDS_BOUND = 255 };

void otok_offline_request_init(otok_offline_request *request, size_t size)
{
    otok_struct_init(request, size);
}

/* ------------------------------------------------------------------------------------------- what the rules ask */

static bool asks_for(const otok_offline_request *r, const char *word)
{
    return otok_scope_has(otok_str_of(r->prompt), word);
}

/* The others come to the token endpoint, or to one of their own, with neither response_type nor prompt. */
static bool is_authorization_request(const otok_offline_request *r)
{
    return r->grant_type == OTOK_GRANT_AUTHORIZATION_CODE;
}

static bool not_asked(const otok_offline_request *r)
{
    return !otok_scope_has(otok_str_of(r->scope), OTOK_OFFLINE_ACCESS);
}

static bool client_without_refresh(const otok_offline_request *r)
{
    return !r->client_may_refresh;
}

static bool grant_type_off(const otok_offline_request *r)
{
    return (r->grant_type == OTOK_GRANT_TOKEN_EXCHANGE && !r->token_exchange_allowed) ||
           (r->grant_type == OTOK_GRANT_CLIENT_CREDENTIALS && !r->client_credentials_allowed);
}

static bool no_code(const otok_offline_request *r)
{
    return is_authorization_request(r) && !otok_scope_has(otok_str_of(r->response_type), "code");
}

static bool no_prompt_of_section_11(const otok_offline_request *r)
{
    return is_authorization_request(r) && !asks_for(r, "consent") && !r->permitted_otherwise;
}

static bool no_prompt(const otok_offline_request *r)
{
    return r->preset != OTOK_OFFLINE_PRESET_KEYCLOAK && no_prompt_of_section_11(r);
}

static bool user_without_role(const otok_offline_request *r)
{
    return !r->user_has_role;
}

static bool client_without_scope(const otok_offline_request *r)
{
    return !r->client_has_scope;
}

static bool consent_given(const otok_offline_request *r)
{
    return r->consent_given != 0;
}

static bool consent_saved(const otok_offline_request *r)
{
    return r->saved_consent_counts && !asks_for(r, "consent") &&
           otok_scope_covers(otok_str_of(r->saved_consent), otok_str_of(r->scope));
}

static bool consent_waived(const otok_offline_request *r)
{
    return r->native_without_consent && r->application_type == OTOK_APPLICATION_NATIVE && !asks_for(r, "consent");
}

static bool asking_forbidden(const otok_offline_request *r)
{
    return asks_for(r, "none");
}

static bool otherwise(const otok_offline_request *r)
{
    (void)r;
    return true;
}

/* ---------------------------------------------------------------------------------------------------- the rules */

struct rule {
    bool (*applies)(const otok_offline_request *r);
    int32_t decision, reason;
    const char *description; /* in the alphabet of error_description, RFC 6749 section 5.2: no quotes */
};

/*
 * The first that applies decides.  What section 11 says MUST be ignored is looked for first, so that nothing is denied
 * that was to be treated as if it had not been asked for.  (Core: OpenID Connect Core 1.0.)
 */
static const struct rule rules[] = {
    /* Core section 11: the scope value is how offline access is asked for. */
    {not_asked, OTOK_OFFLINE_IGNORE, OTOK_REASON_NOT_ASKED, "offline_access is not in scope"},

    /* OpenID Connect Dynamic Client Registration section 2: the grant_types that the client restricts itself to. */
    {client_without_refresh, OTOK_OFFLINE_IGNORE, OTOK_REASON_CLIENT_WITHOUT_REFRESH,
     "the client is not registered for the grant type refresh_token"},

    /* RFC 6749 section 4.4.3: a refresh token SHOULD NOT be included; RFC 8693 section 2.2.1: it typically is not. */
    {grant_type_off, OTOK_OFFLINE_IGNORE, OTOK_REASON_GRANT_TYPE_OFF,
     "the policy allows no offline token by this grant type"},

    /* Core section 11: MUST ignore unless response_type gives a code; RFC 6749 section 3.1.1: in any order. */
    {no_code, OTOK_OFFLINE_IGNORE, OTOK_REASON_NO_CODE, "response_type gives no authorization code"},

    /* Core section 11: MUST ignore unless prompt contains consent, or other conditions permit offline access. */
    {no_prompt, OTOK_OFFLINE_IGNORE, OTOK_REASON_NO_PROMPT,
     "prompt does not hold consent and no other condition permits offline access"},

    /* Keycloak: the role and the client scope offline_access. */
    {user_without_role, OTOK_OFFLINE_DENY, OTOK_REASON_USER_WITHOUT_ROLE,
     "the user does not have the role offline_access"},
    {client_without_scope, OTOK_OFFLINE_DENY, OTOK_REASON_CLIENT_WITHOUT_SCOPE,
     "the client does not have the client scope offline_access"},

    /* Core section 11: MUST have consent for web clients, SHOULD for native ones. */
    {consent_given, OTOK_OFFLINE_GRANT, OTOK_REASON_CONSENT_GIVEN, "the user has consented in this interaction"},

    /* Core section 11: saved consent is not always sufficient; section 3.1.2.1: prompt=consent asks for a new one. */
    {consent_saved, OTOK_OFFLINE_GRANT, OTOK_REASON_CONSENT_SAVED, "the user has consented to every scope earlier"},

    /* The SHOULD, where the host has its reasons; prompt=consent asks all the same (Core section 3.1.2.1). */
    {consent_waived, OTOK_OFFLINE_GRANT, OTOK_REASON_CONSENT_WAIVED,
     "the policy grants it to this native client without consent"},

    /* Core section 3.1.2.1: under none no consent page; section 3.1.2.6: consent_required. */
    {asking_forbidden, OTOK_OFFLINE_CONSENT_REQUIRED, OTOK_REASON_CONSENT_MISSING,
     "the user has not consented to offline access and prompt=none forbids asking"},
    {otherwise, OTOK_OFFLINE_CONSENT, OTOK_REASON_CONSENT_MISSING, "the user has not consented to offline access"},
};

static const struct rule *rule_for(const otok_offline_request *r)
{
    const struct rule *rule = rules;
    while (!rule->applies(r))
        rule++;
    return rule;
}

/* Grants at whose request a user is there who can be asked. */
static bool has_user_present(int32_t grant_type)
{
    return grant_type == OTOK_GRANT_AUTHORIZATION_CODE || grant_type == OTOK_GRANT_DEVICE_CODE ||
           grant_type == OTOK_GRANT_CIBA;
}

/*
 * RFC 6749 section 5.2: invalid_scope is for scope that exceeds what the resource owner granted, which fits the lack of
 * role and client scope too.  Keycloak's word, not_allowed, is in no standard.
 */
static const char *oauth_error_of(const otok_offline_request *r, int32_t decision)
{
    switch (decision) {
    case OTOK_OFFLINE_DENY:
        return r->preset == OTOK_OFFLINE_PRESET_KEYCLOAK ? "not_allowed" : "invalid_scope";
    case OTOK_OFFLINE_CONSENT_REQUIRED:
        return "consent_required";
    case OTOK_OFFLINE_CONSENT:
        return has_user_present(r->grant_type) ? NULL : "invalid_scope";
    default:
        return NULL;
    }
}

/* ---------------------------------------------------------------------------------------------------- bad input */

static int check_texts(const otok_offline_request *r, otok_error *err)
{
    const otok_text_rule texts[] = {
        {r->scope, "request.scope", SCOPE_BOUND, false},
        /* RFC 6749 section 3.1.1: a request without it is an error. */
        {r->response_type, "request.response_type", WORDS_BOUND, is_authorization_request(r)},
        {r->prompt, "request.prompt", WORDS_BOUND, false},
        {r->saved_consent, "request.saved_consent", SCOPE_BOUND, false},
    };
    return otok_texts_check(texts, sizeof texts / sizeof texts[0], err);
}

static int check_choices(const otok_offline_request *r, otok_error *err)
{
    const otok_choice_rule choices[] = {
        {r->grant_type, OTOK_GRANT_TOKEN_EXCHANGE, "request.grant_type"},
        {r->application_type, OTOK_APPLICATION_NATIVE, "request.application_type"},
        {r->preset, OTOK_OFFLINE_PRESET_KEYCLOAK, "request.preset"},
        {r->user_has_role, 1, "request.user_has_role"},
        {r->client_has_scope, 1, "request.client_has_scope"},
        {r->client_may_refresh, 1, "request.client_may_refresh"},
        {r->consent_given, 1, "request.consent_given"},
        {r->permitted_otherwise, 1, "request.permitted_otherwise"},
        {r->saved_consent_counts, 1, "request.saved_consent_counts"},
        {r->native_without_consent, 1, "request.native_without_consent"},
        {r->token_exchange_allowed, 1, "request.token_exchange_allowed"},
        {r->client_credentials_allowed, 1, "request.client_credentials_allowed"},
    };
    return otok_choices_check(choices, sizeof choices / sizeof choices[0], OTOK_E_INVALID, err);
}

static int check(const otok_offline_request *r, otok_error *err)
{
    int rc = check_choices(r, err);
    if (rc == OTOK_OK)
        rc = check_texts(r, err);
    if (rc != OTOK_OK)
        return rc;
    /* Core section 3.1.2.1: none with any other value is an error. */
    if (asks_for(r, "none") && !otok_scope_covers(otok_str_of("none"), otok_str_of(r->prompt)))
        return otok_fail(err, OTOK_E_INVALID, "request.prompt has none beside another word");
    return OTOK_OK;
}

/* --------------------------------------------------------------------------------------------------- the answer */

/* One block: the struct, and the scope behind it. */
struct box {
    otok_offline_decision decision;
    char scope[];
};

void otok_offline_decision_free(otok_offline_decision *decision)
{
    otok_free(decision);
}

/* A scope never grows when it is normalised, so that what is lent is enough. */
static int fill_scope(const otok_offline_request *r, int32_t decision, char *out, size_t room, otok_error *err)
{
    otok_buf scope;
    otok_buf_init(&scope, out, room);
    int rc = otok_scope_normalise(r->scope, &scope, err);
    size_t len = decision == OTOK_OFFLINE_IGNORE ? otok_scope_drop(out, scope.len, OTOK_OFFLINE_ACCESS) : scope.len;
    out[len] = '\0';
    return rc;
}

static void fill(const otok_offline_request *r, struct box *box)
{
    const struct rule *rule = rule_for(r);
    box->decision = (otok_offline_decision){
        .size = sizeof box->decision,
        .decision = rule->decision,
        .reason = rule->reason,
        .oauth_error = oauth_error_of(r, rule->decision),
        .description = rule->description,
        .scope = box->scope,
        .prompt_waived = rule->decision != OTOK_OFFLINE_IGNORE && no_prompt_of_section_11(r),
    };
}

int otok_offline_decide(const otok_offline_request *request, otok_offline_decision **out, otok_error *err)
{
    otok_offline_request own;
    if (out == NULL)
        return otok_fail(err, OTOK_E_INVALID, "out is required");
    *out = NULL;
    int rc = otok_struct_read(&own, sizeof own, request, sizeof(size_t) + sizeof(char *), "otok_offline_request", err);
    if (rc == OTOK_OK)
        rc = check(&own, err);
    if (rc != OTOK_OK)
        return rc;
    size_t room = otok_str_of(own.scope).len + 1;
    struct box *box = otok_malloc(sizeof *box + room);
    if (box == NULL)
        return otok_fail(err, OTOK_E_NOMEM, "out of memory");
    fill(&own, box);
    rc = fill_scope(&own, box->decision.decision, box->scope, room, err);
    if (rc != OTOK_OK) {
        otok_free(box);
        return rc;
    }
    *out = &box->decision;
    return OTOK_OK;
}
