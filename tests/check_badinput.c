/*
 * check_badinput.c - arguments of issue and refresh that make no sense: a code, a message that names the field,
 * nothing written.
 *
 * SPDX-License-Identifier: MIT
 */
#include "support/story.h"

#include <stdlib.h>
#include <string.h>

#include "support/claims.h"
#include "support/records.h"

/* Bad input.  Text that is none: not UTF-8 (RFC 3629), or with control characters. */
static const char *const unclean[] = {
    "\xff",         "a\x80",        "\xc0\xaf",         "\xc3",  "\xe2\x82", "\xed\xa0\x80", "\xf4\x90\x80\x80",
    "\xf8\x88\x80", "\xe0\x80\x80", "\xf0\x80\x80\x80", "a\x01", "a\nb",     "\t",           "a\x7f",
    "\xc2\x80",     "\xc2\x9f",
};
enum { NUNCLEAN = sizeof unclean / sizeof unclean[0] };

static char *filled(char with, size_t len)
{
    char *text = malloc(len + 1);
    memset(text, with, len);
    text[len] = '\0';
    return text;
}

static void set_text(void *members, size_t offset, const char *text)
{
    *(const char **)(void *)((char *)members + offset) = text;
}

/* ------------------------------------------------------------------------------------------------------------ issue */

typedef struct text_member {
    const char *name;
    size_t offset, bound;
    bool required;
} text_member;

static const text_member grant_texts[] = {
    {"subject", offsetof(otok_grant, subject), 255, true}, {"client_id", offsetof(otok_grant, client_id), 255, true},
    {"scope", offsetof(otok_grant, scope), 4096, true},    {"sub", offsetof(otok_grant, sub), 255, false},
    {"sid", offsetof(otok_grant, sid), 255, false},        {"nonce", offsetof(otok_grant, nonce), 512, false},
    {"acr", offsetof(otok_grant, acr), 255, false},        {"label", offsetof(otok_grant, label), 512, false},
};
enum { NGRANT_TEXTS = sizeof grant_texts / sizeof grant_texts[0] };

/* Bad input */
START_TEST(oversized_text_is_refused_and_the_longest_is_accepted)
{
    const text_member *m = &grant_texts[_i];
    test_fixture *f = test_open(TEST_MEMORY);
    otok_grant grant = test_grant(NULL, NULL, NULL);
    char *text = filled('x', m->bound + 1), *huge = filled('x', 1 << 20);
    set_text(&grant, m->offset, text);
    test_not_granted(f, &grant, OTOK_E_INVALID, m->name);
    text[m->bound] = '\0';
    (void)test_granted(f, &grant);
    set_text(&grant, m->offset, huge);
    test_not_granted(f, &grant, OTOK_E_INVALID, m->name);
    free(text);
    free(huge);
    test_end(f);
}
END_TEST

/* Bad input */
START_TEST(unclean_text_is_refused)
{
    const text_member *m = &grant_texts[_i];
    test_fixture *f = test_open(TEST_MEMORY);
    for (size_t i = 0; i < NUNCLEAN; i++) {
        otok_grant grant = test_grant(NULL, NULL, NULL);
        set_text(&grant, m->offset, unclean[i]);
        test_not_granted(f, &grant, OTOK_E_INVALID, m->name);
    }
    test_end(f);
}
END_TEST

/* Bad input, I3: required is required; an optional one that is empty is refused too, or as if it were not there. */
START_TEST(missing_or_empty_text_is_refused_or_left_out)
{
    const text_member *m = &grant_texts[_i];
    test_fixture *f = test_open(TEST_MEMORY);
    otok_grant grant = test_grant(NULL, NULL, NULL);
    otok_tokens *tokens = NULL;
    set_text(&grant, m->offset, NULL);
    if (m->required)
        test_not_granted(f, &grant, OTOK_E_INVALID, m->name);
    set_text(&grant, m->offset, "");
    if (m->required) {
        test_not_granted(f, &grant, OTOK_E_INVALID, m->name);
    } else if (otok_issue(f->service, &grant, &tokens, NULL) == OTOK_OK) {
        cJSON *access = test_jwt_claims(f, tokens->access_token), *id = test_jwt_claims(f, tokens->id_token);
        test_expect_nothing_empty(access);
        test_expect_nothing_empty(id);
        cJSON_Delete(access);
        cJSON_Delete(id);
    }
    otok_tokens_free(tokens);
    test_end(f);
}
END_TEST

/* Bad input: scopes have an alphabet of their own (RFC 6749 section 3.3), and at least one word. */
START_TEST(scope_outside_its_alphabet_is_refused)
{
    static const char *const bad[] = {" ", "   ", "a\"b", "a\\b", "\xc3\xa4", "openid\toffline_access", "a\r\nb"};
    test_fixture *f = test_open(TEST_MEMORY);
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        otok_grant grant = test_grant(NULL, NULL, bad[i]);
        test_not_granted(f, &grant, OTOK_E_INVALID, "scope");
    }
    test_end(f);
}
END_TEST

/* Bad input: 16 KiB of claims and not a byte more. */
START_TEST(oversized_claims_are_refused_and_the_largest_are_accepted)
{
    test_fixture *f = test_open(TEST_MEMORY);
    otok_grant grant = test_grant(NULL, NULL, NULL);
    char *claims = filled('x', 16385);
    memcpy(claims, "{\"a\":\"", 6);
    memcpy(claims + 16383, "\"}", 2);
    grant.claims = claims;
    test_not_granted(f, &grant, OTOK_E_INVALID, "claims");
    memcpy(claims + 16382, "\"}", 3);
    (void)test_next(f, test_granted(f, &grant)->offline_token);
    free(claims);
    test_end(f);
}
END_TEST

/* Bad input: each choice that no header lists. */
START_TEST(unlisted_choice_is_refused)
{
    static const struct {
        const char *name;
        size_t offset;
        int32_t beyond;
    } rows[] = {
        {"grant_type", offsetof(otok_grant, grant_type), OTOK_GRANT_TOKEN_EXCHANGE + 1},
        {"client_type", offsetof(otok_grant, client_type), OTOK_CLIENT_PUBLIC + 1},
        {"binding", offsetof(otok_grant, binding), OTOK_BINDING_MTLS + 1},
    };
    test_fixture *f = test_open(TEST_MEMORY);
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        const int32_t values[] = {-1, INT32_MIN, INT32_MAX, rows[i].beyond, 256};
        for (size_t j = 0; j < sizeof values / sizeof values[0]; j++) {
            otok_grant grant = test_grant(NULL, NULL, NULL);
            memcpy((char *)&grant + rows[i].offset, &values[j], sizeof values[j]);
            test_not_granted(f, &grant, OTOK_E_INVALID, rows[i].name);
        }
    }
    test_end(f);
}
END_TEST

/* Bad input: negative durations are errors; those that overflow are as good as unlimited. */
START_TEST(negative_duration_is_refused_and_a_huge_one_is_harmless)
{
    static const int64_t negative[] = {-1, -86400, INT64_MIN};
    static const int64_t huge[] = {INT64_MAX - 1, INT64_MAX / 1000000, INT64_MAX / 1000000 + 1, OTOK_UNLIMITED};
    test_fixture *f = test_open(TEST_MEMORY);
    for (size_t i = 0; i < 3; i++) {
        otok_grant grant = test_grant(NULL, NULL, NULL);
        grant.idle_timeout_s = negative[i];
        test_not_granted(f, &grant, OTOK_E_INVALID, "idle_timeout_s");
        grant.idle_timeout_s = 0;
        grant.max_lifetime_s = negative[i];
        test_not_granted(f, &grant, OTOK_E_INVALID, "max_lifetime_s");
    }
    for (size_t i = 0; i < sizeof huge / sizeof huge[0]; i++) {
        otok_grant grant = test_grant(NULL, NULL, NULL);
        grant.idle_timeout_s = grant.max_lifetime_s = huge[i];
        const otok_tokens *tokens = test_granted(f, &grant);
        ck_assert_int_ge(tokens->offline_expires_in_s, 30 * TEST_DAY_S);
        (void)test_next(f, tokens->offline_token);
    }
    test_end(f);
}
END_TEST

/* Bad input: lists. */
START_TEST(malformed_list_is_refused)
{
    static const char *const good[17] = {"a", "b", "c", "d", "e", "f", "g", "h", "i",
                                         "j", "k", "l", "m", "n", "o", "p", "q"};
    static const char *const with_null[] = {"a", NULL}, *const with_empty[] = {"a", ""},
                             *const with_unclean[] = {"a", "\xff"};
    const char *too_long[1];
    struct {
        const char *const *items;
        size_t n;
    } rows[] = {{good, 17},     {NULL, 1},       {NULL, SIZE_MAX},  {good, SIZE_MAX},
                {with_null, 2}, {with_empty, 2}, {with_unclean, 2}, {too_long, 1}};
    test_fixture *f = test_open(TEST_MEMORY);
    char *text = filled('x', 1025);
    too_long[0] = text;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        otok_grant grant = test_grant(NULL, NULL, NULL);
        grant.amr = rows[i].items;
        grant.amr_count = rows[i].n;
        test_not_granted(f, &grant, OTOK_E_INVALID, "amr");
        grant.amr = NULL;
        grant.amr_count = 0;
        grant.audience = rows[i].items;
        grant.audience_count = rows[i].n;
        test_not_granted(f, &grant, OTOK_E_INVALID, "audience");
    }
    otok_grant most = test_grant(NULL, NULL, NULL);
    most.amr = most.audience = good;
    most.amr_count = most.audience_count = 16;
    (void)test_next(f, test_granted(f, &most)->offline_token);
    free(text);
    test_end(f);
}
END_TEST

/* ------------------------------------------------------------------------------------------ the peer, of both calls */

static const char *const no_thumbprint[] = {
    "",
    "A",
    "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4",   /* 42 characters */
    "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4IA", /* 44 */
    "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4=",
    "0ZcOCORZNYy+DWpqq30jZyJGHTN0d2HglBV3uiguA4I",
    "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4J", /* bits behind the end */
    "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4\xff",
};

static void expect_bad_peer(test_fixture *f, const otok_tokens *tokens, const otok_peer *peer, const char *field)
{
    otok_grant grant = test_grant(NULL, NULL, NULL);
    otok_refresh_request request = test_refresh_request(tokens->offline_token, NULL);
    grant.peer = request.peer = peer;
    test_not_granted(f, &grant, OTOK_E_INVALID, field);
    test_not_refreshed(f, &request, OTOK_E_INVALID, field);
}

/* Bad input */
START_TEST(malformed_peer_is_refused_at_issue_and_refresh)
{
    test_fixture *f = test_open(TEST_MEMORY);
    const otok_tokens *tokens = test_began(f);
    test_advance_s(f, 60);
    for (size_t i = 0; i < sizeof no_thumbprint / sizeof no_thumbprint[0]; i++) {
        otok_peer jkt = test_peer(no_thumbprint[i], NULL, NULL, NULL),
                  x5t = test_peer(NULL, no_thumbprint[i], NULL, NULL);
        expect_bad_peer(f, tokens, &jkt, "jkt");
        expect_bad_peer(f, tokens, &x5t, "x5t_s256");
    }
    for (size_t i = 0; i < NUNCLEAN; i++) {
        otok_peer ip = test_peer(NULL, NULL, unclean[i], NULL), agent = test_peer(NULL, NULL, NULL, unclean[i]);
        expect_bad_peer(f, tokens, &ip, "ip");
        expect_bad_peer(f, tokens, &agent, "user_agent");
    }
    char *text = filled('x', 513);
    otok_peer ip = test_peer(NULL, NULL, text + 448, NULL), agent = test_peer(NULL, NULL, NULL, text);
    expect_bad_peer(f, tokens, &ip, "ip");
    expect_bad_peer(f, tokens, &agent, "user_agent");
    free(text);
    ck_assert_int_eq(test_next(f, tokens->offline_token)->outcome, OTOK_OUTCOME_ADVANCED);
    test_end(f);
}
END_TEST

/* I3: by a policy that cuts, a refresh with a long user agent works. */
START_TEST(overlong_user_agent_does_not_stop_a_refresh_when_the_policy_cuts)
{
    test_fixture *f = test_open(TEST_MEMORY);
    f->policy.overlong = _i == 0 ? OTOK_OVERLONG_CUT : OTOK_OVERLONG_DROP;
    test_reopen_service(f);
    otok_refresh_request request = test_refresh_request(test_began(f)->offline_token, NULL);
    char *text = filled('x', 5000);
    otok_peer peer = test_peer(NULL, NULL, text, text);
    request.peer = &peer;
    test_advance_s(f, 600);
    (void)test_answered(f, &request);
    free(text);
    test_end(f);
}
END_TEST

/* ---------------------------------------------------------------------------------------------------------- refresh */

/* Bad input: an empty token is one that came; an empty item asks for what was not granted. */
START_TEST(refresh_request_that_makes_no_sense_is_refused)
{
    static const char *const with_null[] = {"https://a.example", NULL};
    test_fixture *f = test_open(TEST_MEMORY);
    otok_refresh_request good = test_refresh_request(test_began(f)->offline_token, NULL), bad[9];
    char *text = filled('x', 256);
    static const char *const fields[] = {"token",       "client_id",   "client_id", "client_id", "client_id",
                                         "client_type", "client_type", "resource",  "resource"};
    enum { N = sizeof bad / sizeof bad[0] };
    test_advance_s(f, 60);
    for (size_t i = 0; i < N; i++)
        bad[i] = good;
    bad[0].token = NULL;
    bad[1].client_id = NULL;
    bad[2].client_id = "";
    bad[3].client_id = text;
    bad[4].client_id = "\xff";
    bad[5].client_type = 2;
    bad[6].client_type = -1;
    bad[7].resource_count = 1;
    bad[8].resource = with_null, bad[8].resource_count = SIZE_MAX;
    for (size_t i = 0; i < N; i++)
        test_not_refreshed(f, &bad[i], OTOK_E_INVALID, fields[i]);
    bad[8].resource_count = 2;
    test_not_refreshed(f, &bad[8], OTOK_E_TARGET, "resource");
    bad[0].token = "";
    test_not_refreshed(f, &bad[0], OTOK_E_TOKEN_INVALID, "token");
    ck_assert_int_eq(test_answered(f, &good)->outcome, OTOK_OUTCOME_ADVANCED);
    free(text);
    test_end(f);
}
END_TEST

/* Bad input: "unused; 0".  What this version does not know must be 0, or a later one could not give it a meaning. */
START_TEST(unused_member_that_is_not_zero_is_refused)
{
    test_fixture *f = test_open(TEST_MEMORY);
    otok_refresh_request request = test_refresh_request(test_began(f)->offline_token, NULL);
    otok_grant grant = test_grant(NULL, NULL, NULL);
    request.unused = 1;
    grant.kind = OTOK_SESSION_LOGIN + 1;
    test_not_granted(f, &grant, OTOK_E_INVALID, "kind");
    test_not_refreshed(f, &request, OTOK_E_INVALID, "unused");
    test_end(f);
}
END_TEST

/* Bad input: what does not even look like a scope cannot have been granted; unconsumed. */
START_TEST(refresh_with_a_malformed_scope_is_refused)
{
    test_fixture *f = test_open(TEST_MEMORY);
    const otok_tokens *tokens = test_began(f);
    char *text = filled('x', 1 << 20);
    test_advance_s(f, 60);
    uint64_t state = test_store_state(f->store);
    for (size_t i = 0; i <= NUNCLEAN; i++) {
        otok_refresh_request request = test_refresh_request(tokens->offline_token, NULL);
        otok_tokens *out = NULL;
        request.scope = i < NUNCLEAN ? unclean[i] : text;
        int rc = otok_refresh(f->service, &request, &out, NULL);
        ck_assert_msg(rc == OTOK_E_SCOPE || rc == OTOK_E_INVALID, "row %zu: %s", i, otok_error_name(rc));
    }
    ck_assert(state == test_store_state(f->store));
    free(text);
    test_end(f);
}
END_TEST

/* E1: what a stranger writes into a header does not reach the host's log as it is. */
START_TEST(texts_of_a_peer_that_are_not_clean_reach_no_event)
{
    test_fixture *f = test_open(TEST_MEMORY);
    static const char *const texts[] = {"a\nb", "\xff\xfe", "\x7f"};
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        test_held held = test_hold(f, NULL, NULL);
        otok_peer ip = test_peer(NULL, NULL, texts[i], NULL), agent = test_peer(NULL, NULL, NULL, texts[i]);
        otok_refresh_request request = test_refresh_request(held.token, "another");
        otok_revoke_request revocation = {.size = sizeof revocation, .token = held.token, .client_id = "phone"};
        test_forget_events(f);
        request.peer = &ip;
        test_not_refreshed(f, &request, OTOK_E_INVALID, "peer");
        request.peer = &agent;
        test_not_refreshed(f, &request, OTOK_E_INVALID, "peer");
        revocation.peer = &agent;
        test_assert_code(OTOK_E_INVALID, otok_revoke_token(f->service, &revocation, NULL));
        ck_assert_uint_eq(f->nevents, 0);
    }
    test_end(f);
}
END_TEST

static void add_tests(TCase *tcase)
{
    tcase_add_loop_test(tcase, oversized_text_is_refused_and_the_longest_is_accepted, 0, NGRANT_TEXTS);
    tcase_add_loop_test(tcase, unclean_text_is_refused, 0, NGRANT_TEXTS);
    tcase_add_loop_test(tcase, missing_or_empty_text_is_refused_or_left_out, 0, NGRANT_TEXTS);
    tcase_add_test(tcase, scope_outside_its_alphabet_is_refused);
    tcase_add_test(tcase, oversized_claims_are_refused_and_the_largest_are_accepted);
    tcase_add_test(tcase, unlisted_choice_is_refused);
    tcase_add_test(tcase, negative_duration_is_refused_and_a_huge_one_is_harmless);
    tcase_add_test(tcase, malformed_list_is_refused);
    tcase_add_test(tcase, malformed_peer_is_refused_at_issue_and_refresh);
    tcase_add_test(tcase, texts_of_a_peer_that_are_not_clean_reach_no_event);
    tcase_add_loop_test(tcase, overlong_user_agent_does_not_stop_a_refresh_when_the_policy_cuts, 0, 2);
    tcase_add_test(tcase, refresh_request_that_makes_no_sense_is_refused);
    tcase_add_test(tcase, unused_member_that_is_not_zero_is_refused);
    tcase_add_test(tcase, refresh_with_a_malformed_scope_is_refused);
}

int main(void)
{
    return test_main("badinput", add_tests);
}
