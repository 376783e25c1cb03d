/*
 * check_decide.c - who may have an offline token (I1): every combination of what the decision looks at, against an
 * oracle written from the promise.  check_decide_rules.c has its sentences one by one.
 *
 * SPDX-License-Identifier: MIT
 */
#include "support/decision.h"

/*
 * What a text means is written beside it, by hand: `without` is the scope without offline_access, `covers`, of which
 * scopes the saved one has every word.
 */
typedef struct scope_row {
    const char *text, *normal, *without;
    bool asks;
} scope_row;
typedef struct saved_row {
    const char *text;
    bool covers[3]; /* the scopes, in their order */
} saved_row;
typedef struct response_row {
    const char *text;
    bool holds_code;
} response_row;
typedef struct prompt_row {
    const char *text;
    bool holds_consent, holds_none, is_valid;
} prompt_row;

static const scope_row scopes[] = {
    {"openid offline_accessories", "openid offline_accessories", "openid offline_accessories", false},
    {"openid  offline_access offline_access files", "openid offline_access files", "openid files", true},
    {"offline_access", "offline_access", "", true},
};
static const saved_row saved[] = {
    {NULL, {false, false, false}},
    {"files openid", {false, false, false}},
    {"offline_access openid", {false, false, true}},
    {"profile files offline_access openid", {false, true, true}},
};
static const response_row responses[] = {{"code", true}, {"id_token code", true}, {"codex", false}};
static const prompt_row prompts[] = {
    {NULL, false, false, true},
    {"login consent", true, false, true},
    {"none", false, true, true},
    {"none consent", true, true, false},
};
enum { DECISIONS = OTOK_OFFLINE_DENY + 1 };

/* One line of the table. */
typedef struct line {
    const scope_row *scope;
    const saved_row *saved;
    const response_row *response;
    const prompt_row *prompt;
    bool covered;
    int32_t grant;
    bool role, client_scope, refresh, native, given, counts, other, keycloak, waiver, exchange, credentials;
} line;

enum { FLAGS = 11 };

static void set_flags(line *l, unsigned bits)
{
    bool *const flags[FLAGS] = {&l->role,  &l->client_scope, &l->refresh, &l->native,   &l->given,      &l->counts,
                                &l->other, &l->keycloak,     &l->waiver,  &l->exchange, &l->credentials};
    for (unsigned i = 0; i < FLAGS; i++)
        *flags[i] = (bits >> i & 1) != 0;
}

static otok_offline_request request_of(const line *l)
{
    otok_offline_request r;
    otok_offline_request_init(&r, sizeof r);
    r.scope = l->scope->text;
    r.response_type = l->response->text;
    r.prompt = l->prompt->text;
    r.saved_consent = l->saved->text;
    r.grant_type = l->grant;
    r.application_type = l->native ? OTOK_APPLICATION_NATIVE : OTOK_APPLICATION_WEB;
    r.preset = l->keycloak ? OTOK_OFFLINE_PRESET_KEYCLOAK : OTOK_OFFLINE_PRESET_STANDARD;
    r.user_has_role = l->role;
    r.client_has_scope = l->client_scope;
    r.client_may_refresh = l->refresh;
    r.consent_given = l->given;
    r.permitted_otherwise = l->other;
    r.saved_consent_counts = l->counts;
    r.native_without_consent = l->waiver;
    r.token_exchange_allowed = l->exchange;
    r.client_credentials_allowed = l->credentials;
    return r;
}

/* The oracle: the sentences of I1, each on its own, then what they come to together. */
static bool prompt_rule_is_kept(const line *l)
{
    return l->grant != OTOK_GRANT_AUTHORIZATION_CODE || l->prompt->holds_consent || l->other;
}

static bool is_off(const line *l)
{
    bool exchange_off = l->grant == OTOK_GRANT_TOKEN_EXCHANGE && !l->exchange;
    bool credentials_off = l->grant == OTOK_GRANT_CLIENT_CREDENTIALS && !l->credentials;
    return exchange_off || credentials_off;
}

static bool is_to_be_ignored(const line *l)
{
    bool by_code = l->grant != OTOK_GRANT_AUTHORIZATION_CODE || l->response->holds_code;
    bool by_prompt = prompt_rule_is_kept(l) || l->keycloak;
    return !(l->scope->asks && l->refresh && by_code && by_prompt) || is_off(l);
}

static bool has_consent(const line *l)
{
    bool saved_counts = l->counts && l->covered;
    bool may_go_without = l->native && l->waiver;
    return l->given || ((saved_counts || may_go_without) && !l->prompt->holds_consent);
}

/* 0: refused as bad input. */
static int32_t expected_decision(const line *l)
{
    if (!l->prompt->is_valid)
        return 0;
    if (is_to_be_ignored(l))
        return OTOK_OFFLINE_IGNORE;
    if (!l->role || !l->client_scope)
        return OTOK_OFFLINE_DENY;
    if (has_consent(l))
        return OTOK_OFFLINE_GRANT;
    return l->prompt->holds_none ? OTOK_OFFLINE_CONSENT_REQUIRED : OTOK_OFFLINE_CONSENT;
}

static const char *expected_error(const line *l, int32_t decision)
{
    bool asked_of_nobody = l->grant == OTOK_GRANT_PASSWORD || l->grant == OTOK_GRANT_CLIENT_CREDENTIALS ||
                           l->grant == OTOK_GRANT_JWT_BEARER || l->grant == OTOK_GRANT_TOKEN_EXCHANGE;
    if (decision == OTOK_OFFLINE_DENY)
        return l->keycloak ? "not_allowed" : "invalid_scope";
    if (decision == OTOK_OFFLINE_CONSENT_REQUIRED)
        return "consent_required";
    return decision == OTOK_OFFLINE_CONSENT && asked_of_nobody ? "invalid_scope" : NULL;
}

/* Whether a reason is the case, and belongs to the decision. */
static bool is_true(const line *l, int32_t decision, int32_t reason)
{
    const struct {
        int32_t decision;
        bool holds;
    } reasons[] = {
        [OTOK_REASON_NOT_ASKED] = {OTOK_OFFLINE_IGNORE, !l->scope->asks},
        [OTOK_REASON_CLIENT_WITHOUT_REFRESH] = {OTOK_OFFLINE_IGNORE, !l->refresh},
        [OTOK_REASON_GRANT_TYPE_OFF] = {OTOK_OFFLINE_IGNORE, is_off(l)},
        [OTOK_REASON_NO_CODE] = {OTOK_OFFLINE_IGNORE, !l->response->holds_code && l->grant == 0},
        [OTOK_REASON_NO_PROMPT] = {OTOK_OFFLINE_IGNORE, !prompt_rule_is_kept(l) && !l->keycloak},
        [OTOK_REASON_USER_WITHOUT_ROLE] = {OTOK_OFFLINE_DENY, !l->role},
        [OTOK_REASON_CLIENT_WITHOUT_SCOPE] = {OTOK_OFFLINE_DENY, !l->client_scope},
        [OTOK_REASON_CONSENT_GIVEN] = {OTOK_OFFLINE_GRANT, l->given},
        [OTOK_REASON_CONSENT_SAVED] = {OTOK_OFFLINE_GRANT, l->counts && l->covered && !l->prompt->holds_consent},
        [OTOK_REASON_CONSENT_WAIVED] = {OTOK_OFFLINE_GRANT, l->native && l->waiver && !l->prompt->holds_consent},
        [OTOK_REASON_CONSENT_MISSING] = {decision == OTOK_OFFLINE_CONSENT_REQUIRED ? OTOK_OFFLINE_CONSENT_REQUIRED
                                                                                   : OTOK_OFFLINE_CONSENT,
                                         !has_consent(l)},
    };
    return reason > 0 && (size_t)reason < TEST_COUNT(reasons) && reasons[reason].decision == decision &&
           reasons[reason].holds;
}

static bool is_as_expected(const line *l, int rc, const otok_offline_decision *d)
{
    int32_t decision = expected_decision(l);
    if (decision == 0)
        return rc == OTOK_E_INVALID && d == NULL;
    bool waived = decision != OTOK_OFFLINE_IGNORE && l->keycloak && !prompt_rule_is_kept(l);
    return rc == OTOK_OK && d->size == sizeof *d && d->decision == decision && is_true(l, decision, d->reason) &&
           test_same_text(d->oauth_error, expected_error(l, decision)) && d->prompt_waived == waived &&
           test_same_text(d->scope, decision == OTOK_OFFLINE_IGNORE ? l->scope->without : l->scope->normal);
}

/* Not an assertion a line: Check would write each to its pipe. */
static void try_line(const line *l, unsigned bits, size_t *seen)
{
    otok_offline_decision *d = NULL;
    otok_offline_request r = request_of(l);
    int rc = otok_offline_decide(&r, &d, NULL);
    if (!is_as_expected(l, rc, d)) {
        ck_abort_msg(
            "scope '%s', response_type '%s', prompt '%s', saved '%s', grant %d, flags %#x: expected %s, got %s, "
            "reason %d, error %s, scope '%s', waived %d",
            r.scope, r.response_type, r.prompt != NULL ? r.prompt : "-",
            r.saved_consent != NULL ? r.saved_consent : "-", r.grant_type, bits,
            test_decision_name(expected_decision(l)), test_decision_name(d != NULL ? d->decision : 0),
            d != NULL ? d->reason : 0, d != NULL && d->oauth_error != NULL ? d->oauth_error : "-",
            d != NULL ? d->scope : "-", d != NULL ? d->prompt_waived : 0);
    }
    seen[d != NULL ? d->decision : 0]++;
    otok_offline_decision_free(d);
}

enum { PLACES = 4 };

/* Counts on in mixed radix: the next combination of row numbers; false behind the last. */
static bool next(size_t at[PLACES], const size_t counts[PLACES])
{
    for (size_t i = 0; i < PLACES; i++) {
        if (++at[i] < counts[i])
            return true;
        at[i] = 0;
    }
    return false;
}

/* I1, for each grant type: every combination of everything that the decision looks at. */
START_TEST(every_combination_is_decided_as_the_promise_says)
{
    static const size_t counts[PLACES] = {TEST_COUNT(scopes), TEST_COUNT(saved), TEST_COUNT(responses),
                                          TEST_COUNT(prompts)};
    size_t at[PLACES] = {0}, seen[DECISIONS] = {0};
    do {
        line l = {.scope = &scopes[at[0]], .saved = &saved[at[1]], .response = &responses[at[2]]};
        l.prompt = &prompts[at[3]];
        l.covered = saved[at[1]].covers[at[0]];
        l.grant = _i;
        for (unsigned bits = 0; bits < 1U << FLAGS; bits++) {
            set_flags(&l, bits);
            try_line(&l, bits, seen);
        }
    } while (next(at, counts));
    for (size_t i = 0; i < DECISIONS; i++)
        ck_assert_msg(seen[i] != 0, "%s never came", test_decision_name((int32_t)i));
}
END_TEST

static void add_tests(TCase *tcase)
{
    tcase_add_loop_test(tcase, every_combination_is_decided_as_the_promise_says, OTOK_GRANT_AUTHORIZATION_CODE,
                        OTOK_GRANT_TOKEN_EXCHANGE + 1);
}

int main(void)
{
    return test_main("decide", add_tests);
}
