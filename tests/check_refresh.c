/*
 * check_refresh.c - the order of the checks, what leaves a token unconsumed, narrowing, and what a refreshed token
 * holds.
 * Rotation: check_refresh_rotation.c; stores that fail: check_refresh_store.c; policies and clocks:
 * check_refresh_policy.c.
 *
 * SPDX-License-Identifier: MIT
 */
#include "support/story.h"

#include <stdio.h>
#include <string.h>

#include "support/claims.h"
#include "support/records.h"

/* ------------------------------------------------------------------------------------------------- R1: the order */

/* What can be wrong with a request, in the order of R1. */
enum { FORGED, GONE, CLIENT, CUT, EXPIRED, SENDER, OLD, SCOPE, TARGET, NFAULTS };

static const int code_of[NFAULTS] = {
    OTOK_E_TOKEN_INVALID, OTOK_E_TOKEN_UNKNOWN, OTOK_E_CLIENT_MISMATCH, OTOK_E_TOKEN_REVOKED, OTOK_E_TOKEN_EXPIRED,
    OTOK_E_SENDER,        OTOK_E_TOKEN_REUSED,  OTOK_E_SCOPE,           OTOK_E_TARGET,
};

static int first_of(unsigned faults)
{
    int i = 0;
    while ((faults >> i & 1) == 0)
        i++;
    return i;
}

typedef struct scene {
    test_fixture *f;
    const otok_tokens *first, *current;
    char token[OTOK_TOKEN_CHARS + 1];
    otok_peer peer, other_peer;
    otok_refresh_request request;
} scene;

static const char *const audience[] = {"https://a.example", "https://b.example"};
static const char *const elsewhere[] = {"https://c.example"};

/* A session bound to a key, that rotates, and has done so twice. */
static void set_scene(scene *s)
{
    s->f = test_open(TEST_MEMORY);
    s->f->policy.rotation = OTOK_ROTATION_ALWAYS;
    test_reopen_service(s->f);
    s->peer = test_peer(TEST_JKT, NULL, "192.0.2.1", "agent/1");
    s->other_peer = test_peer(TEST_OTHER_JKT, NULL, "192.0.2.9", "agent/9");
    otok_grant grant = test_grant(NULL, NULL, NULL);
    grant.binding = OTOK_BINDING_JKT;
    grant.peer = &s->peer;
    grant.audience = audience;
    grant.audience_count = 2;
    s->first = s->current = test_granted(s->f, &grant);
    for (int i = 0; i < 2; i++) {
        test_advance_s(s->f, 600);
        s->request = test_refresh_request(s->current->offline_token, NULL);
        s->request.peer = &s->peer;
        s->current = test_answered(s->f, &s->request);
    }
    test_advance_s(s->f, 600);
}

static void go_wrong(scene *s, unsigned faults)
{
    otok_filter alice = test_filter("alice", NULL, NULL);
    bool old = (faults >> OLD & 1) != 0;
    (void)snprintf(s->token, sizeof s->token, "%s", (old ? s->first : s->current)->offline_token);
    s->request.token = s->token;
    if ((faults >> FORGED & 1) != 0)
        s->token[84] = s->token[84] == 'A' ? 'B' : 'A';
    if ((faults >> CUT & 1) != 0)
        test_assert_code(OTOK_OK, otok_cutoff_set(s->f->service, &alice, OTOK_NOW, NULL, NULL));
    if ((faults >> GONE & 1) != 0)
        test_assert_code(OTOK_OK, otok_revoke_session(s->f->service, s->current->session_id, NULL));
    if ((faults >> CLIENT & 1) != 0)
        s->request.client_id = "laptop";
    if ((faults >> EXPIRED & 1) != 0)
        test_advance_s(s->f, 40 * TEST_DAY_S);
    if ((faults >> SENDER & 1) != 0)
        s->request.peer = &s->other_peer;
    if ((faults >> SCOPE & 1) != 0)
        s->request.scope = "openid email";
    if ((faults >> TARGET & 1) != 0) {
        s->request.resource = elsewhere;
        s->request.resource_count = 1;
    }
}

/* R1: whatever else is wrong, the answer is the first thing that is; only reuse, where it is that, writes. */
START_TEST(first_thing_wrong_in_the_order_of_checks_is_the_answer)
{
    unsigned faults = (unsigned)_i;
    scene s;
    set_scene(&s);
    go_wrong(&s, faults);
    int first = first_of(faults);
    if (first == OLD)
        test_refused(s.f, &s.request, code_of[first]);
    else
        test_refused_untouched(s.f, &s.request, code_of[first]);
    test_end(s.f);
}
END_TEST

/* E1: a refusal is told, with its reason, when the MAC was good. */
START_TEST(refusal_of_a_genuine_token_is_told_with_its_reason)
{
    int first = _i;
    scene s;
    set_scene(&s);
    go_wrong(&s, 1U << first);
    test_forget_events(s.f);
    test_refused(s.f, &s.request, code_of[first]);
    const test_event *e = test_last_event(s.f, first == OLD ? OTOK_EVENT_REUSE : OTOK_EVENT_REFUSED);
    if (first == FORGED) {
        ck_assert_uint_eq(s.f->nevents, 0);
    } else {
        ck_assert_ptr_nonnull(e);
        if (first != OLD)
            ck_assert_int_eq(e->event.reason, code_of[first]);
        ck_assert_str_eq(e->event.session_id, s.current->session_id);
        ck_assert_str_eq(e->event.ip, s.request.peer->ip);
        ck_assert_int_eq(e->event.time_us, s.f->now_us);
    }
    test_end(s.f);
}
END_TEST

/* ---------------------------------------------------------------------------------------------- R2: unconsumed */

enum { WRONG_CLIENT, NO_KEY, WRONG_KEY, WRONG_REALM, BAD_MAC, NWRONG };
enum { CURRENT, PREVIOUS, PREVIOUS_LATE, OLDEST, AHEAD, NAGES };

/* Takes a session to its third generation, and clock or store to where the token that is returned is of that age. */
static const otok_tokens *grow(scene *s, int which)
{
    set_scene(s);
    const otok_tokens *previous = s->current;
    otok_record *older = test_session_record(s->f->store, previous->session_id);
    s->request.token = previous->offline_token;
    s->current = test_answered(s->f, &s->request);
    if (which == PREVIOUS_LATE || which == OLDEST)
        test_advance_s(s->f, 600);
    if (which == AHEAD)
        test_put_back(s->f->store, older);
    otok_record_free(older);
    return which == CURRENT || which == AHEAD ? s->current : which == OLDEST ? s->first : previous;
}

/* What is wrong stands in `request` and in `token`; the code that it must be refused with. */
static int spoil(scene *s, int how, otok_refresh_request *request, char *token)
{
    static const int codes[NWRONG] = {OTOK_E_CLIENT_MISMATCH, OTOK_E_DPOP_PROOF, OTOK_E_SENDER, OTOK_E_TOKEN_INVALID,
                                      OTOK_E_TOKEN_INVALID};
    if (how == WRONG_CLIENT)
        request->client_id = "laptop";
    if (how == NO_KEY || how == WRONG_KEY)
        request->peer = how == NO_KEY ? NULL : &s->other_peer;
    if (how == BAD_MAC)
        token[80] = token[80] == 'A' ? 'B' : 'A';
    s->f->realm = how == WRONG_REALM ? "another realm" : NULL;
    test_reopen_service(s->f);
    return codes[how];
}

/*
 * R2, "Reuse as a weapon" of TESTING.md: the whole matrix; nobody's session ends, and the token is as good as it was.
 */
START_TEST(request_of_somebody_else_leaves_every_token_unconsumed)
{
    static const int afterwards[NAGES] = {OTOK_OK, OTOK_OK, OTOK_E_TOKEN_REUSED, OTOK_E_TOKEN_REUSED, OTOK_OK};
    int which = _i / NWRONG;
    scene s;
    char token[OTOK_TOKEN_CHARS + 1];
    s.request.token = grow(&s, which)->offline_token;
    (void)snprintf(token, sizeof token, "%s", s.request.token);
    otok_refresh_request wrong = s.request;
    wrong.token = token;
    int code = spoil(&s, _i % NWRONG, &wrong, token);
    for (int i = 0; i < 3; i++)
        test_refused_untouched(s.f, &wrong, code);
    s.f->realm = NULL;
    test_reopen_service(s.f);
    if (afterwards[which] == OTOK_OK)
        (void)test_answered(s.f, &s.request);
    else
        test_refused(s.f, &s.request, afterwards[which]);
    test_end(s.f);
}
END_TEST

/* R2: clients are compared bytewise, and whole. */
START_TEST(client_id_that_is_only_alike_is_another_client)
{
    static const char *const alike[] = {"Phone", "phon", "phone ", "phone1", " phone", "ph\xc3\xb6ne"};
    test_fixture *f = test_open(TEST_MEMORY);
    const otok_tokens *tokens = test_began(f);
    test_advance_s(f, 60);
    for (size_t i = 0; i < sizeof alike / sizeof alike[0]; i++) {
        otok_refresh_request request = test_refresh_request(tokens->offline_token, alike[i]);
        test_refused_untouched(f, &request, OTOK_E_CLIENT_MISMATCH);
    }
    test_end(f);
}
END_TEST

/* -------------------------------------------------------------------------------------------------- R3: narrowing */

static otok_refresh_request asking(const otok_tokens *tokens, const char *scope)
{
    otok_refresh_request request = test_refresh_request(tokens->offline_token, NULL);
    request.scope = scope;
    return request;
}

/* R3 */
START_TEST(scope_narrows_the_access_token_and_not_the_offline_token)
{
    static const struct {
        const char *asked, *answered;
        bool id_token;
    } rows[] = {
        {"profile", "profile", false},
        {"openid", "openid", true},
        {"profile openid", NULL, true},
        {"offline_access profile", "offline_access profile", false},
        {"profile profile", "profile", false},
        {NULL, "openid offline_access profile", true},
        {"", "openid offline_access profile", true},
    };
    test_fixture *f = test_open(TEST_MEMORY);
    const otok_tokens *tokens = test_began(f);
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        test_advance_s(f, 60);
        otok_refresh_request request = asking(tokens, rows[i].asked);
        tokens = test_answered(f, &request);
        cJSON *claims = test_jwt_claims(f, tokens->access_token), *response = test_json(tokens->response_json);
        if (rows[i].answered != NULL)
            ck_assert_str_eq(tokens->scope, rows[i].answered);
        test_expect_text(claims, "scope", tokens->scope);
        test_expect_text(response, "scope", tokens->scope);
        ck_assert_msg((tokens->id_token != NULL) == rows[i].id_token, "row %zu", i);
        test_expect_text(response, "id_token", tokens->id_token);
        cJSON_Delete(claims);
        cJSON_Delete(response);
    }
    test_end(f);
}
END_TEST

/* R3 */
START_TEST(wider_scope_is_refused_unconsumed)
{
    static const char *const wider[] = {"email", "openid email", "openid offline_access profile email", "Profile",
                                        "prof"};
    test_fixture *f = test_open(TEST_MEMORY);
    const otok_tokens *tokens = test_began(f);
    test_advance_s(f, 60);
    for (size_t i = 0; i < sizeof wider / sizeof wider[0]; i++) {
        otok_refresh_request request = asking(tokens, wider[i]);
        test_refused_untouched(f, &request, OTOK_E_SCOPE);
    }
    ck_assert_int_eq(test_next(f, tokens->offline_token)->outcome, OTOK_OUTCOME_ADVANCED);
    ck_assert_str_eq(otok_error_oauth(OTOK_E_SCOPE), "invalid_scope");
    test_end(f);
}
END_TEST

/* R3: what was narrowed once is not lost. */
START_TEST(narrowed_scope_can_be_had_in_full_again)
{
    test_fixture *f = test_open(TEST_MEMORY);
    const otok_tokens *tokens = test_began(f);
    otok_refresh_request narrow = asking(tokens, "profile");
    test_advance_s(f, 60);
    const otok_tokens *narrowed = test_answered(f, &narrow);
    const otok_tokens *retried = test_next(f, tokens->offline_token); /* T2, asking for all */
    test_expect_same(narrowed, retried);
    ck_assert_str_eq(retried->scope, "openid offline_access profile");
    test_end(f);
}
END_TEST

/* R3, RFC 8707 */
START_TEST(resource_narrows_the_audience_and_others_are_refused)
{
    static const char *const both[] = {"https://b.example", "https://a.example"};
    static const char *const mixed[] = {"https://a.example", "https://c.example"};
    static const char *const prefix[] = {"https://a.exampl"};
    static const char *const twice[] = {"https://a.example", "https://a.example"};
    static const struct {
        const char *const *resource, *const *aud;
        size_t n, naud; /* naud 0: refused */
    } rows[] = {
        {audience, audience, 1, 1}, {both, both, 1, 1},  {NULL, audience, 0, 2}, {both, NULL, 2, 2},
        {elsewhere, NULL, 1, 0},    {mixed, NULL, 2, 0}, {prefix, NULL, 1, 0},   {twice, audience, 2, 1},
    };
    scene s;
    set_scene(&s);
    s.request.token = s.current->offline_token;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        s.request.resource = rows[i].resource;
        s.request.resource_count = rows[i].n;
        if (rows[i].naud == 0) {
            test_refused_untouched(s.f, &s.request, OTOK_E_TARGET);
            continue;
        }
        cJSON *claims = test_jwt_claims(s.f, test_answered(s.f, &s.request)->access_token);
        if (rows[i].aud != NULL)
            test_expect_texts(claims, "aud", rows[i].aud, rows[i].naud);
        cJSON_Delete(claims);
    }
    ck_assert_str_eq(otok_error_oauth(OTOK_E_TARGET), "invalid_target");
    test_end(s.f);
}
END_TEST

/* ------------------------------------------------------------------------------------- R4: what stays, what is new */

/* R4, OpenID Connect Core section 12.2 */
START_TEST(refreshed_id_token_keeps_the_login_and_has_a_new_time_and_hash)
{
    static const char *const same[] = {"iss", "sub", "aud", "azp", "sid", "auth_time", "acr", "amr"};
    static const char *const amr[] = {"pwd"};
    test_fixture *f = test_open(TEST_MEMORY);
    otok_grant grant = test_grant(NULL, NULL, NULL);
    grant.sub = "pairwise";
    grant.sid = "sso";
    grant.nonce = "nonce";
    grant.acr = "silver";
    grant.amr = amr;
    grant.amr_count = 1;
    grant.auth_time_us = TEST_START_US - OTOK_DAY_US;
    const otok_tokens *tokens = test_granted(f, &grant);
    cJSON *first = test_jwt_claims(f, tokens->id_token);
    for (int i = 1; i <= 5; i++) {
        test_advance_s(f, 7 * TEST_DAY_S);
        tokens = test_next(f, tokens->offline_token);
        cJSON *id = test_jwt_claims(f, tokens->id_token), *access = test_jwt_claims(f, tokens->access_token);
        for (size_t j = 0; j < sizeof same / sizeof same[0]; j++)
            ck_assert(cJSON_Compare(cJSON_GetObjectItem(first, same[j]), cJSON_GetObjectItem(id, same[j]), 1));
        for (size_t j = 5; j < sizeof same / sizeof same[0]; j++)
            ck_assert(cJSON_Compare(cJSON_GetObjectItem(first, same[j]), cJSON_GetObjectItem(access, same[j]), 1));
        test_expect_at_hash(id, tokens->access_token, "ES256");
        test_expect_number(id, "iat", f->now_us / OTOK_US_PER_S);
        test_expect_absent(id, "nonce");
        cJSON_Delete(id);
        cJSON_Delete(access);
    }
    cJSON_Delete(first);
    test_end(f);
}
END_TEST

/* R4: nor does a retry or a kept token get the nonce again. */
START_TEST(nonce_is_in_the_first_id_token_only)
{
    test_fixture *f = test_open(TEST_MEMORY);
    otok_grant grant = test_grant(NULL, NULL, NULL);
    grant.nonce = "nonce";
    const otok_tokens *tokens = test_granted(f, &grant), *after[3];
    after[0] = test_next(f, tokens->offline_token); /* kept */
    test_advance_s(f, 60);
    after[1] = test_next(f, tokens->offline_token); /* advanced */
    after[2] = test_next(f, tokens->offline_token); /* retried */
    for (int i = 0; i < 3; i++) {
        cJSON *id = test_jwt_claims(f, after[i]->id_token);
        ck_assert_int_eq(after[i]->outcome, OTOK_OUTCOME_KEPT + i);
        test_expect_absent(id, "nonce");
        cJSON_Delete(id);
    }
    test_end(f);
}
END_TEST

static void add_tests(TCase *tcase)
{
    tcase_add_loop_test(tcase, first_thing_wrong_in_the_order_of_checks_is_the_answer, 1, 1 << NFAULTS);
    tcase_add_loop_test(tcase, refusal_of_a_genuine_token_is_told_with_its_reason, 0, NFAULTS);
    tcase_add_loop_test(tcase, request_of_somebody_else_leaves_every_token_unconsumed, 0, NWRONG * NAGES);
    tcase_add_test(tcase, client_id_that_is_only_alike_is_another_client);
    tcase_add_test(tcase, scope_narrows_the_access_token_and_not_the_offline_token);
    tcase_add_test(tcase, wider_scope_is_refused_unconsumed);
    tcase_add_test(tcase, narrowed_scope_can_be_had_in_full_again);
    tcase_add_test(tcase, resource_narrows_the_audience_and_others_are_refused);
    tcase_add_test(tcase, refreshed_id_token_keeps_the_login_and_has_a_new_time_and_hash);
    tcase_add_test(tcase, nonce_is_in_the_first_id_token_only);
}

int main(void)
{
    return test_main("refresh", add_tests);
}
