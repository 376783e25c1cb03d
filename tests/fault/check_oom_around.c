/*
 * check_oom_around.c - memory runs short in what is around a session: introspection (V6, P1), logout (I7), consents
 * (C1, C2, V4), what the host changes of a session (Q5), export and erasure (V7), the outbox (E2), counters and
 * decisions (E3, I1).
 *
 * SPDX-License-Identifier: MIT
 */
/* link: -Wl,--wrap=otok_malloc,--wrap=otok_calloc,--wrap=otok_realloc */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "support/oom_allocators.h"

static const char SCOPE[] = "openid offline_access profile";

static void another_name(oom_stage *s)
{
    (void)snprintf(s->name, sizeof s->name, "name-%d", ++s->number);
}

/* ------------------------------------------------------------------------------------------------------- introspect */

static int introspect(oom_stage *s, const char *token)
{
    otok_introspect_request request;
    otok_peer peer = oom_peer_at("192.0.2.1");
    otok_introspect_request_init(&request, sizeof request);
    request.token = token;
    request.client_id = "phone";
    request.client_type = OTOK_CLIENT_PUBLIC;
    request.peer = &peer;
    return otok_introspect(s->f->service, &request, &s->introspection, &s->err);
}

static int call_introspect_offline(oom_stage *s)
{
    return introspect(s, s->held.token);
}

static int call_introspect_access(oom_stage *s)
{
    return introspect(s, s->held.access_token);
}

static void expect_active(oom_stage *s, int32_t token)
{
    ck_assert_msg(s->introspection->active == 1, "%s: an active token is said not to be", oom_where());
    ck_assert_int_eq(s->introspection->token, token);
    ck_assert_str_eq(s->introspection->session_id, s->held.session_id);
    ck_assert_str_eq(s->introspection->scope, SCOPE);
    ck_assert_ptr_nonnull(strstr(s->introspection->response_json, "\"active\":true"));
}

static void offline_is_active(oom_stage *s)
{
    expect_active(s, OTOK_TOKEN_OFFLINE);
}

static void access_is_active(oom_stage *s)
{
    expect_active(s, OTOK_TOKEN_ACCESS);
}

static int call_is_live(oom_stage *s)
{
    return otok_session_is_live(s->f->service, s->held.session_id, &s->live, &s->err);
}

static void session_is_live(oom_stage *s)
{
    ck_assert_msg(s->live == 1, "%s: a live session is said not to be", oom_where());
}

/* ----------------------------------------------------------------------------------------------------------- logout */

enum { LOGINS = 3 };
static test_held logins[LOGINS];

/* Three that end with their login, and `held`, which does not. */
static void log_in(oom_stage *s)
{
    otok_grant grant = test_grant("alice", "phone", SCOPE);
    otok_filter before = test_filter("alice", NULL, NULL); /* what a logout that failed has left to be swept */
    test_assert_code(OTOK_OK, otok_revoke_matching(s->f->service, &before, NULL, &s->err));
    oom_hold_fresh(s);
    grant.kind = OTOK_SESSION_LOGIN;
    grant.sid = "sso";
    for (int i = 0; i < LOGINS; i++)
        logins[i] = test_hold_grant(s->f, &grant);
    test_forget_events(s->f);
}

static int log_out(oom_stage *s, int32_t revoke_offline_access)
{
    otok_filter filter = test_filter("alice", NULL, NULL);
    int rc = otok_logout(s->f->service, &filter, revoke_offline_access, &s->count, &s->err);
    if (rc != OTOK_OK)
        s->count = 0; /* how many were removed before */
    return rc;
}

static int call_logout(oom_stage *s)
{
    return log_out(s, 0);
}

static int call_logout_with_offline(oom_stage *s)
{
    return log_out(s, 1);
}

static int call_logout_of_sid(oom_stage *s)
{
    otok_filter filter = test_filter(NULL, NULL, "sso");
    int rc = otok_logout(s->f->service, &filter, 0, &s->count, &s->err);
    if (rc != OTOK_OK)
        s->count = 0;
    return rc;
}

static bool lives(oom_stage *s, const test_held *held)
{
    int32_t live = -1;
    test_assert_code(OTOK_OK, otok_session_is_live(s->f->service, held->session_id, &live, &s->err));
    return live == 1;
}

/* All of them, or none. */
static bool logins_live(oom_stage *s)
{
    int n = 0;
    for (int i = 0; i < LOGINS; i++)
        n += lives(s, &logins[i]);
    ck_assert_msg(n == 0 || n == LOGINS, "%s: %d of %d sessions outlived the logout", oom_where(), n, LOGINS);
    return n != 0;
}

static void logout_is_no_half(oom_stage *s)
{
    (void)logins_live(s);
    ck_assert_msg(lives(s, &s->held), "%s: the offline session has ended", oom_where());
}

static void full_logout_is_no_half(oom_stage *s)
{
    ck_assert_msg(logins_live(s) == lives(s, &s->held), "%s: one kind of session has ended", oom_where());
}

static void logins_are_gone(oom_stage *s)
{
    ck_assert_uint_eq(s->count, LOGINS);
    ck_assert(!logins_live(s));
    ck_assert(lives(s, &s->held));
    ck_assert_uint_eq(test_count_reasons(s->f, OTOK_EVENT_REVOKED, OTOK_REVOKED_BY_LOGOUT, NULL), LOGINS);
}

static void all_are_gone(oom_stage *s)
{
    ck_assert_uint_eq(s->count, LOGINS + 1);
    ck_assert(!logins_live(s) && !lives(s, &s->held));
}

/* --------------------------------------------------------------------------------------------------------- consents */

static void consent_to(oom_stage *s, const char *client_id, const char *scope)
{
    test_assert_code(OTOK_OK, otok_consent_put(s->f->service, "alice", client_id, scope, &s->err));
}

static int call_consent_put(oom_stage *s)
{
    return otok_consent_put(s->f->service, s->name, "phone", SCOPE, &s->err);
}

static void other_consent(oom_stage *s)
{
    (void)snprintf(s->name, sizeof s->name, "alice");
    consent_to(s, "phone", "openid");
    test_forget_events(s->f);
}

static void consent_is_kept(oom_stage *s)
{
    test_assert_code(OTOK_OK, otok_consent_get(s->f->service, s->name, "phone", &s->consent, &s->err));
    ck_assert_str_eq(s->consent->scope, SCOPE);
    ck_assert_uint_eq(test_count_events(s->f, OTOK_EVENT_CONSENT_GRANTED), 1);
}

/* With a session under it. */
static void consented(oom_stage *s)
{
    oom_hold_fresh(s);
    consent_to(s, "phone", SCOPE);
    consent_to(s, "tv", SCOPE);
    test_forget_events(s->f);
}

static int call_consent_get(oom_stage *s)
{
    return otok_consent_get(s->f->service, "alice", "phone", &s->consent, &s->err);
}

static void consent_is_told(oom_stage *s)
{
    ck_assert_str_eq(s->consent->subject, "alice");
    ck_assert_str_eq(s->consent->client_id, "phone");
    ck_assert_str_eq(s->consent->scope, SCOPE);
}

static int call_consent_list(oom_stage *s)
{
    otok_filter filter = test_filter("alice", NULL, NULL);
    otok_list_request request;
    otok_list_request_init(&request, sizeof request);
    request.filter = &filter;
    request.limit = 1;
    return otok_consent_list(s->f->service, &request, &s->consents, &s->err);
}

static void consents_are_told(oom_stage *s)
{
    ck_assert_uint_eq(s->consents->count, 1);
    ck_assert_str_eq(s->consents->consents[0]->subject, "alice");
    ck_assert_ptr_nonnull(s->consents->next_cursor);
}

static int call_consent_revoke(oom_stage *s)
{
    int rc = otok_consent_revoke(s->f->service, "alice", "phone", &s->count, &s->err);
    if (rc != OTOK_OK)
        s->count = 0;
    return rc;
}

static bool has_consent(oom_stage *s)
{
    otok_consent *consent = NULL;
    int rc = otok_consent_get(s->f->service, "alice", "phone", &consent, &s->err);
    otok_consent_free(consent);
    ck_assert(rc == OTOK_OK || rc == OTOK_E_NOT_FOUND);
    return rc == OTOK_OK;
}

static void consent_and_session_agree(oom_stage *s)
{
    ck_assert_msg(has_consent(s) == lives(s, &s->held), "%s: half revoked", oom_where());
}

static void consent_is_gone(oom_stage *s)
{
    ck_assert(!has_consent(s) && !lives(s, &s->held));
    ck_assert_uint_eq(s->count, 1);
    ck_assert_uint_eq(test_count_events(s->f, OTOK_EVENT_CONSENT_REVOKED), 1);
    ck_assert_uint_eq(test_count_reasons(s->f, OTOK_EVENT_REVOKED, OTOK_REVOKED_BY_CONSENT, NULL), 1);
}

static void open_consenting(oom_stage *s)
{
    s->f->policy.consent = OTOK_ON;
    test_reopen_service(s->f);
    test_assert_code(OTOK_OK, otok_consent_put(s->f->service, "bystander", "tv", SCOPE, &s->err));
}

static void consented_a_minute_ago(oom_stage *s)
{
    consented(s);
    test_advance_s(s->f, 60);
}

static int call_refresh(oom_stage *s)
{
    return oom_refresh_from(s, s->held.token, "192.0.2.1");
}

static void refreshed(oom_stage *s)
{
    oom_tokens_are_whole(s->tokens, SCOPE);
    ck_assert_int_eq(s->tokens->outcome, OTOK_OUTCOME_ADVANCED);
}

/* ----------------------------------------------------------------------------------------- update, export and erase */

static int call_update(oom_stage *s)
{
    otok_session_change change;
    otok_session_change_init(&change, sizeof change);
    change.session_id = s->held.session_id;
    change.label = "the old phone";
    change.notes = "{\"colour\":\"red\",\"seen\":[1,2,3]}";
    return otok_session_update(s->f->service, &change, &s->err);
}

static void update_is_whole(oom_stage *s)
{
    test_assert_code(OTOK_OK, otok_session_get(s->f->service, s->held.session_id, &s->session, &s->err));
    ck_assert_str_eq(s->session->label, "the old phone");
    ck_assert_str_eq(s->session->notes, "{\"colour\":\"red\",\"seen\":[1,2,3]}");
    test_assert_code(OTOK_OK, test_refresh_code(s->f, s->held.token, "phone"));
}

static void open_with_outbox(oom_stage *s)
{
    s->f->service->outbox_limit = 1000;
}

/* A subject of a name that was not there before, of whom there is one record of each kind. */
static void another_subject(oom_stage *s)
{
    another_name(s);
    otok_grant grant = test_grant(s->name, "phone", SCOPE);
    otok_filter filter = test_filter(s->name, NULL, NULL);
    grant.once_key = s->name;
    grant.label = s->name;
    test_assert_code(OTOK_OK, otok_cutoff_set(s->f->service, &filter, OTOK_NOW, NULL, &s->err));
    test_assert_code(OTOK_OK, otok_consent_put(s->f->service, s->name, "phone", SCOPE, &s->err));
    s->held = test_hold_grant(s->f, &grant);
    test_forget_events(s->f);
}

static int call_export(oom_stage *s)
{
    return otok_subject_export(s->f->service, s->name, &s->text, &s->err);
}

static void something_to_export(oom_stage *s)
{
    another_subject(s);
    free(s->expected);
    test_assert_code(OTOK_OK, call_export(s));
    s->expected = strdup(s->text);
    otok_string_free(s->text);
    s->text = NULL;
}

static void export_is_whole(oom_stage *s)
{
    ck_assert_ptr_nonnull(strstr(s->text, s->held.session_id));
    ck_assert_msg(strcmp(s->text, s->expected) == 0, "%s: %s instead of %s", oom_where(), s->text, s->expected);
}

static int call_erase(oom_stage *s)
{
    otok_filter filter = test_filter(s->name, NULL, NULL);
    int rc = otok_erase(s->f->service, &filter, &s->count, &s->err);
    if (rc != OTOK_OK)
        s->count = 0; /* how many were removed before */
    return rc;
}

typedef struct search {
    const char *name;
    size_t found, records;
    otok_id last;
} search;

static bool has(otok_str text, const char *name)
{
    return text.len != 0 && memmem(text.data, text.len, name, strlen(name)) != NULL;
}

static int look(void *arg, const otok_record *record)
{
    search *found = arg;
    found->records++;
    found->last = record->id;
    found->found += has(record->subject, found->name) || has(record->body, found->name);
    return 0;
}

static size_t records_of(oom_stage *s)
{
    search found = {.name = s->name};
    otok_scan scan = {.size = sizeof scan, .limit = OTOK_MAX_FETCH};
    size_t before;
    do {
        before = found.records;
        test_assert_code(OTOK_OK, otok_store_scan(s->f->store, &scan, look, &found, &s->err));
        scan.flags = OTOK_SCAN_AFTER;
        scan.after = found.last;
    } while (found.records - before == OTOK_MAX_FETCH);
    return found.found;
}

static void nothing_is_left(oom_stage *s)
{
    ck_assert_msg(records_of(s) == 0, "%s: records with the name are left", oom_where());
    ck_assert(!test_has_session(s->f, s->held.session_id));
}

static void erased_is_gone(oom_stage *s)
{
    ck_assert_uint_gt(s->count, 0);
    nothing_is_left(s);
}

/* Whatever was done, doing it again does the rest. */
static void erasing_goes_on(oom_stage *s)
{
    test_assert_code(OTOK_OK, call_erase(s));
    s->count = 0;
    nothing_is_left(s);
}

/* ----------------------------------------------------------------------------------------------------------- outbox */

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

static void read_outbox(oom_stage *s, size_t n)
{
    test_assert_code(OTOK_OK, otok_outbox_read(s->f->service, 0, &s->batch, &s->err));
    ck_assert_msg(s->batch->count == n, "%s: %zu events in the outbox", oom_where(), s->batch->count);
}

static void hold_and_empty(oom_stage *s)
{
    oom_hold_for_a_minute(s);
    empty_outbox(s);
}

static int call_revoke_session(oom_stage *s)
{
    return otok_revoke_session(s->f->service, s->held.session_id, &s->err);
}

static void rotation_is_entered(oom_stage *s)
{
    refreshed(s);
    read_outbox(s, 1);
    ck_assert_int_eq(s->batch->events[0]->type, OTOK_EVENT_REFRESHED);
    ck_assert_uint_eq(s->batch->events[0]->generation, 1);
}

static void revocation_is_entered(oom_stage *s)
{
    ck_assert(!test_has_session(s->f, s->held.session_id));
    read_outbox(s, 1);
    ck_assert_int_eq(s->batch->events[0]->type, OTOK_EVENT_REVOKED);
    ck_assert_str_eq(s->batch->events[0]->session_id, s->held.session_id);
}

static void open_with_little_room(oom_stage *s)
{
    s->f->service->outbox_limit = 1;
}

/* What holds `held` is the last one that fits. */
static void fill_outbox(oom_stage *s)
{
    if (s->held.session_id[0] != '\0')
        (void)otok_revoke_session(s->f->service, s->held.session_id, NULL);
    s->held.session_id[0] = '\0';
    empty_outbox(s);
    oom_hold_fresh(s);
}

static void overflow_outbox(oom_stage *s)
{
    fill_outbox(s);
    test_assert_code(OTOK_OK, otok_revoke_session(s->f->service, test_hold(s->f, "bob", "phone").session_id, &s->err));
    test_forget_events(s->f);
}

static void overflow_is_entered(oom_stage *s)
{
    ck_assert(!test_has_session(s->f, s->held.session_id));
    read_outbox(s, 2);
    size_t overflows = 0;
    for (size_t i = 0; i < s->batch->count; i++)
        overflows += s->batch->events[i]->type == OTOK_EVENT_OUTBOX_OVERFLOW;
    ck_assert_uint_eq(overflows, 1);
}

enum { A_FEW = 5 };

static void enter_a_few(oom_stage *s)
{
    otok_filter filter = test_filter("alice", "phone", NULL);
    test_assert_code(OTOK_OK, otok_revoke_matching(s->f->service, &filter, NULL, &s->err));
    empty_outbox(s);
    for (int i = 0; i < A_FEW; i++)
        s->held = test_hold(s->f, "alice", "phone");
    test_forget_events(s->f);
}

static int call_outbox_read(oom_stage *s)
{
    return otok_outbox_read(s->f->service, 0, &s->batch, &s->err);
}

static void batch_is_whole(oom_stage *s)
{
    ck_assert_msg(s->batch->count == A_FEW, "%s: %zu events", oom_where(), s->batch->count);
    for (size_t i = 0; i < A_FEW; i++) {
        ck_assert_int_eq(s->batch->events[i]->type, OTOK_EVENT_ISSUED);
        ck_assert_str_eq(s->batch->events[i]->subject, "alice");
        ck_assert_ptr_nonnull(s->batch->events[i]->event_id);
    }
}

static void read_a_few(oom_stage *s)
{
    enter_a_few(s);
    otok_outbox_batch_free(s->given_batch);
    s->given_batch = NULL;
    test_assert_code(OTOK_OK, otok_outbox_read(s->f->service, 0, &s->given_batch, &s->err));
}

static int call_outbox_acknowledge(oom_stage *s)
{
    return otok_outbox_acknowledge(s->f->service, s->given_batch, &s->err);
}

static void outbox_is_empty(oom_stage *s)
{
    read_outbox(s, 0);
}

/* What was not removed is read again. */
static void acknowledging_goes_on(oom_stage *s)
{
    test_assert_code(OTOK_OK, call_outbox_acknowledge(s));
    read_outbox(s, 0);
    otok_outbox_batch_free(s->batch);
    s->batch = NULL;
}

/* ------------------------------------------------------------------------------------------- counters and decisions */

static int call_stats_get(oom_stage *s)
{
    otok_stats stats;
    otok_stats_init(&stats, sizeof stats);
    int rc = otok_stats_get(s->f->service, &stats, &s->err);
    s->count = stats.issued;
    return rc;
}

static void issues_were_counted(oom_stage *s)
{
    ck_assert_uint_eq(s->count, 1); /* the bystander */
}

static int call_openmetrics(oom_stage *s)
{
    const otok_service *const services[] = {s->f->service};
    return otok_stats_openmetrics(services, 1, &s->text, &s->err);
}

static void metrics_are_whole(oom_stage *s)
{
    static const char end[] = "\n# EOF\n";
    size_t len = strlen(s->text);
    ck_assert_msg(len > sizeof end && strcmp(s->text + len - (sizeof end - 1), end) == 0, "%s: %s", oom_where(),
                  s->text);
    ck_assert_ptr_nonnull(strstr(s->text, TEST_ISSUER));
}

static int call_decide(oom_stage *s)
{
    otok_offline_request request;
    otok_offline_request_init(&request, sizeof request);
    request.scope = "openid profile openid offline_access";
    request.response_type = "code";
    request.prompt = "login consent";
    request.user_has_role = request.client_has_scope = request.client_may_refresh = request.consent_given = 1;
    return otok_offline_decide(&request, &s->decision, &s->err);
}

static void decision_is_whole(oom_stage *s)
{
    ck_assert_int_eq(s->decision->decision, OTOK_OFFLINE_GRANT);
    ck_assert_str_eq(s->decision->scope, "openid profile offline_access");
}

/* ------------------------------------------------------------------------------------------------------------ tests */

static const oom_scenario scenarios[] = {
    {"introspect, offline token", oom_hold_fresh, call_introspect_offline, offline_is_active, .done = OTOK_OK},
    {"introspect, access token", oom_hold_fresh, call_introspect_access, access_is_active, .done = OTOK_OK},
    {"session_is_live", oom_hold_fresh, call_is_live, session_is_live, .done = OTOK_OK},
    {"logout", log_in, call_logout, logins_are_gone, .in_steps = true, .is_sound = logout_is_no_half},
    {"logout, by sid", log_in, call_logout_of_sid, logins_are_gone, .in_steps = true, .is_sound = logout_is_no_half},
    {"logout, offline too", log_in, call_logout_with_offline, all_are_gone, .in_steps = true,
     .is_sound = full_logout_is_no_half},
    {"consent_put", another_name, call_consent_put, consent_is_kept, .done = OTOK_OK},
    {"consent_put, changed", other_consent, call_consent_put, consent_is_kept, .done = OTOK_OK},
    {"consent_get", consented, call_consent_get, consent_is_told, .done = OTOK_OK},
    {"consent_list", consented, call_consent_list, consents_are_told, .done = OTOK_OK},
    {"consent_revoke", consented, call_consent_revoke, consent_is_gone, .in_steps = true,
     .is_sound = consent_and_session_agree},
    {"refresh, consent needed", consented_a_minute_ago, call_refresh, refreshed, .open = open_consenting},
    {"session_update", oom_hold_fresh, call_update, update_is_whole, .done = OTOK_OK},
    {"subject_export", something_to_export, call_export, export_is_whole, .open = open_with_outbox},
    {"erase", another_subject, call_erase, erased_is_gone, .in_steps = true, .open = open_with_outbox,
     .is_sound = erasing_goes_on},
    {"refresh, outbox", hold_and_empty, call_refresh, rotation_is_entered, .open = open_with_outbox},
    {"revoke_session, outbox", hold_and_empty, call_revoke_session, revocation_is_entered, .open = open_with_outbox},
    {"outbox full", fill_outbox, call_revoke_session, overflow_is_entered, .open = open_with_little_room},
    {"outbox over full", overflow_outbox, call_revoke_session, overflow_is_entered, .open = open_with_little_room},
    {"outbox_read", enter_a_few, call_outbox_read, batch_is_whole, .open = open_with_outbox},
    {"outbox_acknowledge", read_a_few, call_outbox_acknowledge, outbox_is_empty, .in_steps = true,
     .open = open_with_outbox, .is_sound = acknowledging_goes_on},
    {"stats_get", oom_prepare_nothing, call_stats_get, issues_were_counted, .done = OTOK_OK},
    {"stats_openmetrics", oom_prepare_nothing, call_openmetrics, metrics_are_whole, .done = OTOK_OK},
    {"offline_decide", oom_prepare_nothing, call_decide, decision_is_whole, .done = OTOK_OK},
};

static void add(TCase *tc)
{
    oom_add(tc, OOM_MEMORY | OOM_LMDB, scenarios, sizeof scenarios / sizeof scenarios[0]);
}

int main(void)
{
    return oom_main("out of memory around a session", add, EVERY_ALLOCATION);
}
