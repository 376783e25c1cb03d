/*
 * check_oom_issue.c - memory runs short while sessions begin: keys that are good for once, replacement, limits (I4, I6,
 * I8), what the host's callbacks say (R5), and tokens of another system (P4).  Each issue did everything or nothing.
 *
 * SPDX-License-Identifier: MIT
 */
/* link: -Wl,--wrap=otok_malloc,--wrap=otok_calloc,--wrap=otok_realloc */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "support/claims.h"
#include "support/oom_allocators.h"

static const char SCOPE[] = "openid offline_access profile", NARROW[] = "openid offline_access";
static const char *const audience[] = {"https://api.example.org", "https://files.example.org"};

/* ------------------------------------------------------------------------------------------------------------ issue */

static otok_grant full_grant(const otok_peer *peer)
{
    otok_grant grant = test_grant("alice", "phone", SCOPE);
    grant.sid = "sid";
    grant.audience = audience;
    grant.audience_count = 2;
    grant.claims = "{\"tenant\":\"a\"}";
    grant.authorization_details = "[{\"type\":\"payment\",\"actions\":[\"initiate\"]}]";
    grant.act = "{\"sub\":\"assistant\",\"act\":{\"sub\":\"its operator\"}}";
    grant.peer = peer;
    return grant;
}

static void another_name(oom_stage *s)
{
    (void)snprintf(s->name, sizeof s->name, "name-%d", ++s->number);
}

static void end_held(oom_stage *s)
{
    otok_filter filter = test_filter("alice", "phone", NULL);
    test_assert_code(OTOK_OK, otok_revoke_matching(s->f->service, &filter, NULL, &s->err));
    test_sweep_out(s->f);
    test_forget_events(s->f);
}

static void expect_issued(oom_stage *s)
{
    oom_tokens_are_whole(s->tokens, SCOPE);
    ck_assert_int_eq(s->tokens->outcome, OTOK_OUTCOME_ISSUED);
    ck_assert(test_has_session(s->f, s->tokens->session_id));
    ck_assert_uint_eq(test_count_events(s->f, OTOK_EVENT_ISSUED), 1);
    test_assert_code(OTOK_OK, test_refresh_code(s->f, s->tokens->offline_token, "phone"));
}

static int call_issue_login(oom_stage *s)
{
    otok_peer peer = oom_peer_at("192.0.2.1");
    otok_grant grant = full_grant(&peer);
    grant.kind = OTOK_SESSION_LOGIN;
    return otok_issue(s->f->service, &grant, &s->tokens, &s->err);
}

static void login_is_whole(oom_stage *s)
{
    expect_issued(s);
    test_assert_code(OTOK_OK, otok_session_get(s->f->service, s->tokens->session_id, &s->session, &s->err));
    ck_assert_int_eq(s->session->kind, OTOK_SESSION_LOGIN);
    cJSON *claims = test_jwt_claims(s->f, s->tokens->access_token);
    ck_assert_ptr_nonnull(cJSON_GetObjectItemCaseSensitive(claims, "authorization_details"));
    ck_assert_ptr_nonnull(cJSON_GetObjectItemCaseSensitive(claims, "act"));
    cJSON_Delete(claims);
}

/* ---------------------------------------------------------------------------------------------------- good for once */

static void another_key(oom_stage *s)
{
    end_held(s);
    another_name(s);
}

static int call_issue_once(oom_stage *s)
{
    otok_peer peer = oom_peer_at("192.0.2.1");
    otok_grant grant = full_grant(&peer);
    grant.once_key = s->name;
    return otok_issue(s->f->service, &grant, &s->tokens, &s->err);
}

static void use_key(oom_stage *s)
{
    another_key(s);
    test_assert_code(OTOK_OK, call_issue_once(s));
    test_keep(&s->held, s->tokens);
    s->tokens = NULL;
    test_forget_events(s->f);
}

static void use_key_long_ago(oom_stage *s)
{
    use_key(s);
    test_advance_s(s->f, 3600);
}

/* Its record is there too: the same key is answered with the same session. */
static void once_is_whole(oom_stage *s)
{
    char first[OTOK_TOKEN_CHARS + 1];
    expect_issued(s);
    (void)snprintf(first, sizeof first, "%s", s->tokens->offline_token);
    otok_tokens_free(s->tokens);
    s->tokens = NULL;
    test_assert_code(OTOK_OK, call_issue_once(s));
    ck_assert_int_eq(s->tokens->outcome, OTOK_OUTCOME_RETRIED);
    ck_assert_str_eq(s->tokens->offline_token, first);
}

static void once_again_is_whole(oom_stage *s)
{
    oom_tokens_are_whole(s->tokens, SCOPE);
    ck_assert_int_eq(s->tokens->outcome, OTOK_OUTCOME_RETRIED);
    ck_assert_str_eq(s->tokens->offline_token, s->held.token);
    ck_assert_uint_eq(test_count_events(s->f, OTOK_EVENT_RETRIED), 1);
}

static void replayed_is_gone(oom_stage *s)
{
    ck_assert_ptr_null(s->tokens);
    ck_assert(!test_has_session(s->f, s->held.session_id));
    ck_assert_uint_eq(test_count_reasons(s->f, OTOK_EVENT_REVOKED, OTOK_REVOKED_BY_ONCE, s->held.session_id), 1);
}

/* ----------------------------------------------------------------------------------------------- what an issue ends */

static int call_issue_replacing(oom_stage *s)
{
    otok_peer peer = oom_peer_at("192.0.2.1");
    otok_grant grant = full_grant(&peer);
    grant.replaces = s->held.session_id;
    return otok_issue(s->f->service, &grant, &s->tokens, &s->err);
}

static void replaced_is_gone(oom_stage *s)
{
    expect_issued(s);
    ck_assert(!test_has_session(s->f, s->held.session_id));
    ck_assert_uint_eq(test_count_reasons(s->f, OTOK_EVENT_REVOKED, OTOK_REVOKED_BY_REPLACEMENT, s->held.session_id), 1);
    (void)snprintf(s->held.session_id, sizeof s->held.session_id, "%s", s->tokens->session_id);
}

static void limit_to_two(oom_stage *s)
{
    s->f->policy.session_limit = 2;
    test_reopen_service(s->f);
}

static void limit_to_two_or_refuse(oom_stage *s)
{
    s->f->policy.at_session_limit = OTOK_AT_LIMIT_REFUSE;
    limit_to_two(s);
}

static void hold_two(oom_stage *s)
{
    otok_grant grant = test_grant("alice", "phone", NULL);
    end_held(s);
    s->held = test_hold_grant(s->f, &grant);
    test_advance_s(s->f, 60);
    s->second = test_hold_grant(s->f, &grant);
    test_advance_s(s->f, 60);
    test_forget_events(s->f);
}

static int call_issue(oom_stage *s)
{
    otok_peer peer = oom_peer_at("192.0.2.1");
    otok_grant grant = full_grant(&peer);
    return otok_issue(s->f->service, &grant, &s->tokens, &s->err);
}

static void oldest_is_gone(oom_stage *s)
{
    otok_filter filter = test_filter("alice", "phone", NULL);
    expect_issued(s);
    ck_assert(!test_has_session(s->f, s->held.session_id));
    ck_assert(test_has_session(s->f, s->second.session_id));
    ck_assert_uint_eq(test_count_live(s->f, &filter), 2);
    ck_assert_uint_eq(test_count_events(s->f, OTOK_EVENT_EVICTED), 1);
}

static void both_are_there(oom_stage *s)
{
    ck_assert_ptr_null(s->tokens);
    ck_assert(test_has_session(s->f, s->held.session_id) && test_has_session(s->f, s->second.session_id));
    ck_assert_uint_eq(test_count_events(s->f, OTOK_EVENT_ISSUED) + test_count_events(s->f, OTOK_EVENT_EVICTED), 0);
}

/* All that an issue can do, in one commit: it evicts one, replaces another, uses a key, and enters three events. */
static void open_for_everything(oom_stage *s)
{
    s->f->service->outbox_limit = 1000;
}

static void empty_outbox(oom_stage *s)
{
    otok_outbox_batch *batch = NULL;
    size_t n;
    do {
        test_assert_code(OTOK_OK, otok_outbox_read(s->f->service, 0, &batch, &s->err));
        n = batch->count;
        test_assert_code(OTOK_OK, otok_outbox_acknowledge(s->f->service, batch, &s->err));
        otok_outbox_batch_free(batch);
    } while (n != 0);
}

static void hold_one_too_many(oom_stage *s)
{
    s->f->service->policy.session_limit = 0;
    hold_two(s);
    another_name(s);
    empty_outbox(s);
    s->f->service->policy.session_limit = 1;
}

static int call_issue_everything(oom_stage *s)
{
    otok_peer peer = oom_peer_at("192.0.2.1");
    otok_grant grant = full_grant(&peer);
    grant.once_key = s->name;
    grant.replaces = s->second.session_id;
    return otok_issue(s->f->service, &grant, &s->tokens, &s->err);
}

static void everything_is_done(oom_stage *s)
{
    static const int32_t types[] = {OTOK_EVENT_EVICTED, OTOK_EVENT_REVOKED, OTOK_EVENT_ISSUED};
    expect_issued(s);
    ck_assert(!test_has_session(s->f, s->held.session_id) && !test_has_session(s->f, s->second.session_id));
    ck_assert_uint_eq(test_count_events(s->f, OTOK_EVENT_EVICTED), 1);
    test_assert_code(OTOK_OK, otok_outbox_read(s->f->service, 0, &s->batch, &s->err));
    ck_assert_uint_eq(s->batch->count, 3);
    for (size_t i = 0; i < 3; i++)
        ck_assert_int_eq(s->batch->events[i]->type, types[i]);
}

/* -------------------------------------------------------------------------------------------------------- the host */

/* The bystander's client is let through.  What the answer's functions return is passed over: a careless host. */
static int narrow(void *user, const otok_use *use, otok_answer *answer)
{
    (void)user;
    if (strcmp(use->session->client_id, "phone") == 0) {
        (void)otok_answer_set_scope(answer, NARROW);
        (void)otok_answer_set_audience(answer, use->audience, 1);
    }
    return 0;
}

static int add_claims(void *user, const otok_use *use, otok_answer *answer)
{
    (void)user;
    (void)use;
    (void)otok_answer_set_access_claims(answer, "{\"roles\":[\"reader\",\"writer\"]}");
    (void)otok_answer_set_id_claims(answer, "{\"locale\":\"de\"}");
    return 0;
}

static int refuse(void *user, const otok_use *use, otok_answer *answer)
{
    (void)user;
    if (strcmp(use->session->client_id, "phone") == 0 && use->purpose != OTOK_PURPOSE_ISSUE)
        (void)otok_answer_refuse(answer, OTOK_E_DENIED, "alice is disabled");
    return 0;
}

static int end_session(void *user, const otok_use *use, otok_answer *answer)
{
    (void)user;
    if (strcmp(use->session->client_id, "phone") == 0 && use->purpose != OTOK_PURPOSE_ISSUE)
        (void)otok_answer_end_session(answer);
    return 0;
}

static void open_narrowing(oom_stage *s)
{
    s->f->callbacks.authorize = narrow;
    s->f->callbacks.claims = add_claims;
    test_reopen_service(s->f);
}

static void open_refusing(oom_stage *s)
{
    s->f->callbacks.authorize = refuse;
    test_reopen_service(s->f);
}

static void open_ending(oom_stage *s)
{
    s->f->callbacks.authorize = end_session;
    test_reopen_service(s->f);
}

static int call_refresh(oom_stage *s)
{
    return oom_refresh_from(s, s->held.token, "192.0.2.1");
}

static void narrowed_is_whole(oom_stage *s)
{
    static const char *const roles[] = {"reader", "writer"};
    oom_tokens_are_whole(s->tokens, NARROW);
    cJSON *claims = test_jwt_claims(s->f, s->tokens->access_token);
    cJSON *id_claims = test_jwt_claims(s->f, s->tokens->id_token);
    test_expect_texts(claims, "roles", roles, 2);
    test_expect_text(claims, "scope", NARROW);
    test_expect_text(id_claims, "locale", "de");
    cJSON_Delete(claims);
    cJSON_Delete(id_claims);
}

static void refused_is_there(oom_stage *s)
{
    ck_assert_ptr_null(s->tokens);
    ck_assert(test_has_session(s->f, s->held.session_id));
    ck_assert_uint_eq(test_count_reasons(s->f, OTOK_EVENT_REFUSED, OTOK_E_DENIED, s->held.session_id), 1);
    ck_assert_uint_eq(test_count_events(s->f, OTOK_EVENT_REVOKED), 0);
}

static void ended_is_gone(oom_stage *s)
{
    ck_assert_ptr_null(s->tokens);
    ck_assert(!test_has_session(s->f, s->held.session_id));
    ck_assert_uint_eq(test_count_reasons(s->f, OTOK_EVENT_REVOKED, OTOK_REVOKED_BY_HOST, s->held.session_id), 1);
}

static int call_introspect(oom_stage *s)
{
    otok_introspect_request request;
    otok_introspect_request_init(&request, sizeof request);
    request.token = s->held.token;
    request.client_id = "phone";
    request.client_type = OTOK_CLIENT_PUBLIC;
    return otok_introspect(s->f->service, &request, &s->introspection, &s->err);
}

static void inactive_is_gone(oom_stage *s)
{
    ck_assert_int_eq(s->introspection->active, 0);
    ck_assert_str_eq(s->introspection->response_json, "{\"active\":false}");
    ended_is_gone(s);
}

/* Ended and told, or neither: what it could not say any more it says when it is asked again. */
static void ended_or_not(oom_stage *s)
{
    size_t told = test_count_reasons(s->f, OTOK_EVENT_REVOKED, OTOK_REVOKED_BY_HOST, s->held.session_id);
    ck_assert_msg(told == !test_has_session(s->f, s->held.session_id), "%s: half ended", oom_where());
    test_assert_code(OTOK_OK, call_introspect(s));
    inactive_is_gone(s);
    otok_introspection_free(s->introspection);
    s->introspection = NULL;
}

/* --------------------------------------------------------------------------------------------------------- adoption */

/* The system before: its tokens are names.  It takes no memory, and passes over what becomes of its answer. */
static int adopt(void *user, const char *token, const char *client_id, otok_adoption *adoption)
{
    otok_legacy legacy;
    otok_grant grant = test_grant("alice", "phone", SCOPE);
    (void)user;
    (void)client_id;
    if (strncmp(token, "name-", 5) != 0)
        return 0;
    grant.audience = audience;
    grant.audience_count = 2;
    otok_legacy_init(&legacy, sizeof legacy);
    legacy.id = token;
    legacy.started_us = TEST_START_US - OTOK_DAY_US;
    legacy.grant = &grant;
    (void)otok_legacy_set(adoption, &legacy, NULL);
    return 0;
}

static void open_adopting(oom_stage *s)
{
    s->f->callbacks.adopt = adopt;
    test_reopen_service(s->f);
}

static void open_adopting_and_ending(oom_stage *s)
{
    s->f->callbacks.authorize = end_session;
    open_adopting(s);
}

static int call_adopt(oom_stage *s)
{
    return oom_refresh_from(s, s->name, "192.0.2.1");
}

static void adopted(oom_stage *s)
{
    if (s->held.session_id[0] != '\0')
        (void)otok_revoke_session(s->f->service, s->held.session_id, NULL);
    another_name(s);
    test_assert_code(OTOK_OK, call_adopt(s));
    test_keep(&s->held, s->tokens);
    s->tokens = NULL;
    test_forget_events(s->f);
}

static void adopted_is_whole(oom_stage *s)
{
    oom_tokens_are_whole(s->tokens, SCOPE);
    ck_assert_int_eq(s->tokens->outcome, OTOK_OUTCOME_ADOPTED);
    ck_assert_uint_eq(s->tokens->generation, 1);
    const test_event *issued = test_last_event(s->f, OTOK_EVENT_ISSUED);
    ck_assert_msg(issued != NULL && issued->event.marks == OTOK_EVENT_ADOPTED, "%s: not told", oom_where());
    test_held held;
    test_keep(&held, s->tokens);
    s->tokens = NULL;
    test_assert_code(OTOK_OK, call_adopt(s)); /* whose record is there too */
    ck_assert_str_eq(s->tokens->session_id, held.session_id);
    test_assert_code(OTOK_OK, test_refresh_code(s->f, held.token, "phone"));
}

static void adopted_again_is_whole(oom_stage *s)
{
    oom_tokens_are_whole(s->tokens, SCOPE);
    ck_assert_int_eq(s->tokens->outcome, OTOK_OUTCOME_RETRIED);
    ck_assert_str_eq(s->tokens->offline_token, s->held.token);
}

static int call_revoke_legacy(oom_stage *s)
{
    otok_revoke_request request;
    otok_revoke_request_init(&request, sizeof request);
    request.token = s->name;
    request.client_id = "phone";
    request.client_type = OTOK_CLIENT_PUBLIC;
    return otok_revoke_token(s->f->service, &request, &s->err);
}

static void legacy_is_dead(oom_stage *s)
{
    ck_assert_uint_eq(test_count_reasons(s->f, OTOK_EVENT_REVOKED, OTOK_REVOKED_BY_TOKEN, NULL), 1);
    test_assert_code(OTOK_E_TOKEN_UNKNOWN, call_adopt(s));
}

static void adopted_is_gone(oom_stage *s)
{
    ck_assert(!test_has_session(s->f, s->held.session_id));
    legacy_is_dead(s);
}

static void refused_for_good(oom_stage *s)
{
    ck_assert_uint_eq(test_count_reasons(s->f, OTOK_EVENT_REVOKED, OTOK_REVOKED_BY_HOST, NULL), 1);
    test_assert_code(OTOK_E_TOKEN_UNKNOWN, call_adopt(s));
}

/* ------------------------------------------------------------------------------------------------------------ tests */

static const oom_scenario scenarios[] = {
    {"issue, login", oom_prepare_nothing, call_issue_login, login_is_whole, .done = OTOK_OK},
    {"issue, once", another_key, call_issue_once, once_is_whole, .done = OTOK_OK},
    {"issue, once again", use_key, call_issue_once, once_again_is_whole, .done = OTOK_OK},
    {"issue, once replayed", use_key_long_ago, call_issue_once, replayed_is_gone, .done = OTOK_E_ONCE},
    {"issue, replacing", oom_hold_fresh, call_issue_replacing, replaced_is_gone, .done = OTOK_OK},
    {"issue, evicting", hold_two, call_issue, oldest_is_gone, .done = OTOK_OK, .open = limit_to_two},
    {"issue, refused at the limit", hold_two, call_issue, both_are_there, .done = OTOK_E_LIMIT,
     .open = limit_to_two_or_refuse},
    {"issue, everything", hold_one_too_many, call_issue_everything, everything_is_done, .done = OTOK_OK,
     .open = open_for_everything},
    {"issue, narrowed", oom_prepare_nothing, call_issue, narrowed_is_whole, .done = OTOK_OK, .open = open_narrowing},
    {"refresh, narrowed", oom_hold_for_a_minute, call_refresh, narrowed_is_whole, .done = OTOK_OK,
     .open = open_narrowing},
    {"refresh, refused", oom_hold_for_a_minute, call_refresh, refused_is_there, .done = OTOK_E_DENIED,
     .open = open_refusing},
    {"refresh, ended", oom_hold_for_a_minute, call_refresh, ended_is_gone, .done = OTOK_E_DENIED, .open = open_ending},
    {"introspect, ended", oom_hold_fresh, call_introspect, inactive_is_gone, .done = OTOK_OK, .open = open_ending,
     .in_steps = true, .is_sound = ended_or_not},
    {"adopt", another_name, call_adopt, adopted_is_whole, .done = OTOK_OK, .open = open_adopting, .in_callback = true},
    {"adopt, again", adopted, call_adopt, adopted_again_is_whole, .done = OTOK_OK, .open = open_adopting,
     .in_callback = true},
    {"adopt, ended", another_name, call_adopt, refused_for_good, .done = OTOK_E_DENIED,
     .open = open_adopting_and_ending, .in_callback = true},
    {"revoke_token, legacy", another_name, call_revoke_legacy, legacy_is_dead, .done = OTOK_OK, .open = open_adopting,
     .in_callback = true},
    {"revoke_token, adopted", adopted, call_revoke_legacy, adopted_is_gone, .done = OTOK_OK, .open = open_adopting,
     .in_callback = true},
};

static void add(TCase *tc)
{
    oom_add(tc, OOM_MEMORY | OOM_LMDB, scenarios, sizeof scenarios / sizeof scenarios[0]);
}

int main(void)
{
    return oom_main("out of memory while sessions begin", add, EVERY_ALLOCATION);
}
