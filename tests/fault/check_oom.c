/*
 * check_oom.c - memory runs short, at every allocation of every call, once and for good (R7, R8, V5, E1): no crash, no
 * leak, nothing half done, a code that says so, and afterwards everything works.
 *
 * Here: how sessions live, are revoked, listed and swept, and how everything is opened.  How they begin:
 * check_oom_issue.c; what is around them: check_oom_around.c; keys: check_oom_keys.c.
 *
 * SPDX-License-Identifier: MIT
 */
/* link: -Wl,--wrap=otok_malloc,--wrap=otok_calloc,--wrap=otok_realloc */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "support/oom_allocators.h"

static const char SCOPE[] = "openid offline_access profile";

/* ------------------------------------------------------------------------------------------------ issue and refresh */

static int call_issue(oom_stage *s)
{
    static const char *const audience[] = {"https://api.example.org", "https://files.example.org"}, *const amr[] = {
                                                                                                        "pwd"};
    otok_grant grant = test_grant("alice", "phone", SCOPE);
    otok_peer peer = oom_peer_at("192.0.2.1");
    grant.sid = "sid";
    grant.nonce = "nonce";
    grant.acr = "acr";
    grant.amr = amr;
    grant.amr_count = 1;
    grant.audience = audience;
    grant.audience_count = 2;
    grant.claims = "{\"tenant\":\"a\",\"groups\":[\"x\",\"y\"]}";
    grant.label = "Alice's phone";
    grant.peer = &peer;
    return otok_issue(s->f->service, &grant, &s->tokens, &s->err);
}

static void issue_is_whole(oom_stage *s)
{
    oom_tokens_are_whole(s->tokens, SCOPE);
    ck_assert(test_has_session(s->f, s->tokens->session_id));
    ck_assert_uint_eq(test_count_events(s->f, OTOK_EVENT_ISSUED), 1);
    test_assert_code(OTOK_OK, test_refresh_code(s->f, s->tokens->offline_token, "phone"));
    test_assert_code(OTOK_OK, otok_revoke_session(s->f->service, s->tokens->session_id, NULL));
}

/* Longer than a touch interval: what it is used from is written too, and that is a whole record. */
static void hold_for_an_hour(oom_stage *s)
{
    oom_hold_fresh(s);
    test_advance_s(s->f, 3600);
}

static void rotate_twice(oom_stage *s)
{
    oom_rotate_once(s);
    test_advance_s(s->f, 60);
    test_assert_code(OTOK_OK, test_refresh_held(s->f, &s->held, "phone"));
    test_forget_events(s->f);
}

static int call_refresh(oom_stage *s)
{
    return oom_refresh_from(s, s->held.token, "192.0.2.1");
}

static int call_refresh_elsewhere(oom_stage *s)
{
    return oom_refresh_from(s, s->held.token, "192.0.2.2");
}

static int call_refresh_old(oom_stage *s)
{
    return oom_refresh_from(s, s->old, "192.0.2.1");
}

static void kept_is_whole(oom_stage *s)
{
    oom_tokens_are_whole(s->tokens, SCOPE);
    ck_assert_int_eq(s->tokens->outcome, OTOK_OUTCOME_KEPT);
    ck_assert_str_eq(s->tokens->offline_token, s->held.token);
}

/* The rotation's marks are there too: a retry from the same place is not taken for one from another (T2). */
static void advanced_is_whole(oom_stage *s)
{
    oom_tokens_are_whole(s->tokens, SCOPE);
    ck_assert_int_eq(s->tokens->outcome, OTOK_OUTCOME_ADVANCED);
    ck_assert_uint_eq(s->tokens->generation, 1);
    otok_record *record = test_session_record(s->f->store, s->held.session_id);
    otok_head head;
    ck_assert(otok_head_parse(record->head, &head));
    ck_assert_uint_eq(head.generation, 1);
    ck_assert_msg(head.ip_mark != 0 && head.user_agent_mark != 0, "%s: the rotation lost its marks", oom_where());
    otok_record_free(record);
    test_assert_code(OTOK_OK, test_refresh_code(s->f, s->tokens->offline_token, "phone"));
}

static void retried_is_whole(oom_stage *s)
{
    oom_tokens_are_whole(s->tokens, SCOPE);
    ck_assert_int_eq(s->tokens->outcome, OTOK_OUTCOME_RETRIED);
    ck_assert_str_eq(s->tokens->offline_token, s->held.token);
    const test_event *event = test_last_event(s->f, OTOK_EVENT_RETRIED);
    ck_assert_msg(event != NULL && event->event.marks == 0, "%s: a retry from the same place is marked", oom_where());
}

static void reuse_is_whole(oom_stage *s)
{
    ck_assert_ptr_null(s->tokens);
    ck_assert(!test_has_session(s->f, s->held.session_id));
    ck_assert_uint_eq(test_count_events(s->f, OTOK_EVENT_REUSE), 1);
    ck_assert_uint_eq(test_count_reasons(s->f, OTOK_EVENT_REVOKED, OTOK_REVOKED_BY_REUSE, s->held.session_id), 1);
}

/* ----------------------------------------------------------------------------------------------------------- revoke */

static int call_revoke_token(oom_stage *s)
{
    otok_revoke_request request;
    otok_revoke_request_init(&request, sizeof request);
    request.token = s->held.token;
    request.client_id = "phone";
    request.client_type = OTOK_CLIENT_PUBLIC;
    return otok_revoke_token(s->f->service, &request, &s->err);
}

/* An access token out of which memory was too short to make sense is not a string of no known form. */
static int call_revoke_access_token(oom_stage *s)
{
    otok_revoke_request request;
    otok_revoke_request_init(&request, sizeof request);
    request.token = s->held.access_token;
    request.client_id = "phone";
    request.client_type = OTOK_CLIENT_CONFIDENTIAL;
    return otok_revoke_token(s->f->service, &request, &s->err);
}

static int call_revoke_session(oom_stage *s)
{
    return otok_revoke_session(s->f->service, s->held.session_id, &s->err);
}

static void revoked_is_gone(oom_stage *s)
{
    ck_assert_msg(!test_has_session(s->f, s->held.session_id), "%s: OTOK_OK was said, and the session lives",
                  oom_where());
    ck_assert_uint_eq(test_count_events(s->f, OTOK_EVENT_REVOKED), 1);
}

enum { A_FEW = 5 };

static void hold_a_few(oom_stage *s)
{
    otok_filter filter = test_filter("alice", "phone", NULL);
    (void)otok_revoke_matching(s->f->service, &filter, NULL, NULL);
    for (int i = 0; i < A_FEW; i++)
        s->held = test_hold(s->f, "alice", "phone");
    test_forget_events(s->f);
}

static int call_revoke_matching(oom_stage *s)
{
    otok_filter filter = test_filter("alice", "phone", NULL);
    int rc = otok_revoke_matching(s->f->service, &filter, &s->count, &s->err);
    if (rc != OTOK_OK)
        s->count = 0; /* how many were removed before */
    return rc;
}

static void matching_are_gone(oom_stage *s)
{
    otok_filter filter = test_filter("alice", "phone", NULL);
    ck_assert_msg(s->count == A_FEW, "%s: %llu were removed", oom_where(), (unsigned long long)s->count);
    ck_assert_uint_eq(test_count(s->f, &filter), 0);
    test_assert_code(OTOK_E_TOKEN_UNKNOWN, test_refresh_code(s->f, s->held.token, "phone"));
}

static otok_filter next_cutoff(oom_stage *s)
{
    (void)snprintf(s->name, sizeof s->name, "nobody-%d", s->number);
    return test_filter(s->name, NULL, NULL);
}

static void another_cutoff(oom_stage *s)
{
    s->number++;
}

static int call_cutoff_new(oom_stage *s)
{
    otok_filter filter = next_cutoff(s);
    return otok_cutoff_set(s->f->service, &filter, OTOK_NOW, &s->time_us, &s->err);
}

static void a_cutoff_that_stands(oom_stage *s)
{
    otok_filter filter = test_filter("alice", NULL, NULL);
    oom_hold_fresh(s);
    test_assert_code(OTOK_OK, otok_cutoff_set(s->f->service, &filter, OTOK_NOW, NULL, NULL));
    test_advance_s(s->f, 60);
    oom_hold_fresh(s);
}

static int call_cutoff_again(oom_stage *s)
{
    otok_filter filter = test_filter("alice", NULL, NULL);
    return otok_cutoff_set(s->f->service, &filter, OTOK_NOW, &s->time_us, &s->err);
}

static void cutoff_stands(oom_stage *s)
{
    otok_filter filter = next_cutoff(s);
    int64_t at_us;
    test_assert_code(OTOK_OK, otok_cutoff_get(s->f->service, &filter, &at_us, NULL));
    ck_assert_int_eq(at_us, s->time_us);
}

static void cutoff_moved(oom_stage *s)
{
    ck_assert_int_ge(s->time_us, s->f->now_us);
    test_assert_code(OTOK_E_TOKEN_REVOKED, test_refresh_code(s->f, s->held.token, "phone"));
}

static int call_cutoff_get(oom_stage *s)
{
    otok_filter filter = test_filter("alice", NULL, NULL);
    return otok_cutoff_get(s->f->service, &filter, &s->time_us, &s->err);
}

static void cutoff_is_told(oom_stage *s)
{
    ck_assert_int_gt(s->time_us, 0);
}

/* ----------------------------------------------------------------------------------------------- list, count, sweep */

static int call_list(oom_stage *s)
{
    otok_filter filter = test_filter("alice", "phone", NULL);
    otok_list_request request;
    otok_list_request_init(&request, sizeof request);
    request.filter = &filter;
    request.limit = A_FEW - 1;
    return otok_list(s->f->service, &request, &s->page, &s->err);
}

static void page_is_whole(oom_stage *s)
{
    ck_assert_uint_eq(s->page->count, A_FEW - 1);
    ck_assert_ptr_nonnull(s->page->next_cursor);
    for (size_t i = 0; i < s->page->count; i++)
        ck_assert_str_eq(s->page->sessions[i]->subject, "alice");
}

static int call_session_get(oom_stage *s)
{
    return otok_session_get(s->f->service, s->held.session_id, &s->session, &s->err);
}

static void session_is_whole(oom_stage *s)
{
    ck_assert_str_eq(s->session->session_id, s->held.session_id);
}

static int call_count(oom_stage *s)
{
    otok_filter filter = test_filter("alice", "phone", NULL);
    return otok_count(s->f->service, &filter, &s->count, &s->err);
}

static int call_count_live(oom_stage *s)
{
    otok_filter filter = test_filter("alice", "phone", NULL);
    return otok_count_live(s->f->service, &filter, &s->count, &s->err);
}

static void count_is_right(oom_stage *s)
{
    ck_assert_uint_eq(s->count, A_FEW);
}

/* A few behind a cutoff, which is filed for the sweeper too. */
static void leave_some_dead(oom_stage *s)
{
    otok_filter filter = test_filter("alice", "phone", NULL);
    hold_a_few(s);
    test_assert_code(OTOK_OK, otok_cutoff_set(s->f->service, &filter, OTOK_NOW, NULL, NULL));
    test_advance_s(s->f, 60);
    test_forget_events(s->f);
}

static int call_sweep(oom_stage *s)
{
    return otok_sweep(s->f->service, 0, NULL, &s->err);
}

static void dead_are_gone(oom_stage *s)
{
    otok_filter filter = test_filter("alice", "phone", NULL);
    ck_assert_uint_eq(test_count(s->f, &filter), 0);
    ck_assert_uint_le(test_count_reasons(s->f, OTOK_EVENT_REVOKED, OTOK_REVOKED_BY_CUTOFF, NULL), A_FEW);
    test_assert_code(OTOK_OK, oom_refresh_bystander(s));
}

/* ------------------------------------------------------------------------------------------ service, store, keyring */

static int call_service_open(oom_stage *s)
{
    otok_config config;
    otok_config_init(&config, sizeof config);
    config.issuer = TEST_ISSUER;
    return otok_service_open(&config, s->f->store, s->f->keyring, &s->service, &s->err);
}

static void service_works(oom_stage *s)
{
    ck_assert_ptr_nonnull(s->service);
    ck_assert_ptr_nonnull(otok_service_now_keys(s->service)->active);
    ck_assert_ptr_nonnull(otok_service_now_keys(s->service)->at_header);
}

static int call_service_open_directory(oom_stage *s)
{
    otok_config config;
    otok_config_init(&config, sizeof config);
    config.issuer = TEST_ISSUER;
    config.directory = s->path;
    return otok_service_open(&config, NULL, NULL, &s->service, &s->err);
}

/* Whatever failed before in that folder has left nothing that is in the way. */
static void directory_works(oom_stage *s)
{
    otok_tokens *tokens = NULL;
    otok_grant grant = test_grant(NULL, NULL, NULL);
    test_assert_code(OTOK_OK, otok_issue(s->service, &grant, &tokens, NULL));
    otok_tokens_free(tokens);
    test_remove_folder(strdup(s->path));
}

static int call_store_open_memory(oom_stage *s)
{
    return otok_store_open_memory(&s->store, &s->err);
}

static int call_store_open_lmdb(oom_stage *s)
{
    return otok_store_open_lmdb(s->path, NULL, &s->store, &s->err);
}

static void store_works(oom_stage *s)
{
    ck_assert_uint_eq(test_count_records(s->store), 0);
    if (s->path[0] != '\0')
        test_remove_folder(strdup(s->path));
}

static int call_keyring_generate(oom_stage *s)
{
    return otok_keyring_generate(OTOK_ALG_ES256, &s->keyring, &s->err);
}

static void keyring_is_whole(oom_stage *s)
{
    ck_assert_ptr_nonnull(otok_keyring_signing(s->keyring));
    ck_assert_ptr_nonnull(otok_keyring_token(s->keyring));
}

static int call_keyring_save(oom_stage *s)
{
    return otok_keyring_save(s->f->keyring, s->path, NULL, &s->err);
}

static int call_keyring_load(oom_stage *s)
{
    return otok_keyring_load(s->path, NULL, &s->keyring, &s->err);
}

static void saved_can_be_loaded(oom_stage *s)
{
    test_assert_code(OTOK_OK, call_keyring_load(s));
    ck_assert_str_eq(otok_keyring_signing(s->keyring)->kid, otok_keyring_signing(s->f->keyring)->kid);
    oom_remove_keyring(s);
}

static void loaded_is_whole(oom_stage *s)
{
    keyring_is_whole(s);
    ck_assert_str_eq(otok_keyring_signing(s->keyring)->kid, otok_keyring_signing(s->f->keyring)->kid);
    oom_remove_keyring(s);
}

static int call_jwks(oom_stage *s)
{
    return otok_keyring_jwks(s->f->keyring, &s->text, &s->err);
}

static void jwks_is_whole(oom_stage *s)
{
    ck_assert_ptr_nonnull(strstr(s->text, otok_keyring_signing(s->f->keyring)->kid));
}

/* ------------------------------------------------------------------------------------------------------------ tests */

/* Over both stores. */
static const oom_scenario on_stores[] = {
    {"issue", oom_prepare_nothing, call_issue, issue_is_whole, .done = OTOK_OK},
    {"refresh, kept", oom_hold_fresh, call_refresh, kept_is_whole, .done = OTOK_OK},
    {"refresh, advanced", oom_hold_for_a_minute, call_refresh, advanced_is_whole, .done = OTOK_OK},
    {"refresh, advanced and moved", hold_for_an_hour, call_refresh_elsewhere, advanced_is_whole, .done = OTOK_OK},
    {"refresh, retried", oom_rotate_once, call_refresh_old, retried_is_whole, .done = OTOK_OK},
    {"refresh, reused", rotate_twice, call_refresh_old, reuse_is_whole, .done = OTOK_E_TOKEN_REUSED},
    {"revoke_token", oom_hold_fresh, call_revoke_token, revoked_is_gone, .done = OTOK_OK},
    {"revoke_token, access token", oom_hold_fresh, call_revoke_access_token, revoked_is_gone, .done = OTOK_OK},
    {"revoke_session", oom_hold_fresh, call_revoke_session, revoked_is_gone, .done = OTOK_OK},
    {"revoke_matching", hold_a_few, call_revoke_matching, matching_are_gone, .done = OTOK_OK, .in_steps = true},
    {"cutoff_set, new", another_cutoff, call_cutoff_new, cutoff_stands, .done = OTOK_OK},
    {"cutoff_set, moved", a_cutoff_that_stands, call_cutoff_again, cutoff_moved, .done = OTOK_OK},
    {"cutoff_get", a_cutoff_that_stands, call_cutoff_get, cutoff_is_told, .done = OTOK_OK},
    {"list", hold_a_few, call_list, page_is_whole, .done = OTOK_OK},
    {"session_get", oom_hold_fresh, call_session_get, session_is_whole, .done = OTOK_OK},
    {"count", hold_a_few, call_count, count_is_right, .done = OTOK_OK},
    {"count_live", hold_a_few, call_count_live, count_is_right, .done = OTOK_OK},
    {"sweep", leave_some_dead, call_sweep, dead_are_gone, .done = OTOK_OK, .in_steps = true},
    {"service_open", oom_prepare_nothing, call_service_open, service_works, .done = OTOK_OK},
};

/* Apart from any. */
static const oom_scenario alone[] = {
    {"service_open, directory", oom_new_directory, call_service_open_directory, directory_works, .done = OTOK_OK},
    {"store_open_memory", oom_prepare_nothing, call_store_open_memory, store_works, .done = OTOK_OK},
    {"store_open_lmdb", oom_new_directory, call_store_open_lmdb, store_works, .done = OTOK_OK},
    {"keyring_generate", oom_prepare_nothing, call_keyring_generate, keyring_is_whole, .done = OTOK_OK},
    {"keyring_save", oom_new_keyring_file, call_keyring_save, saved_can_be_loaded, .done = OTOK_OK},
    {"keyring_load", oom_save_keyring, call_keyring_load, loaded_is_whole, .done = OTOK_OK},
    {"keyring_jwks", oom_prepare_nothing, call_jwks, jwks_is_whole, .done = OTOK_OK},
};

static void add(TCase *tc)
{
    oom_add(tc, OOM_MEMORY | OOM_LMDB, on_stores, sizeof on_stores / sizeof on_stores[0]);
    oom_add(tc, OOM_MEMORY, alone, sizeof alone / sizeof alone[0]);
}

int main(void)
{
    return oom_main("out of memory", add, EVERY_ALLOCATION);
}
