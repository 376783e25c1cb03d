/*
 * check_export.c - V7: everything that is held about a subject, as JSON that any parser reads, and nothing of anybody else.
 *
 * SPDX-License-Identifier: MIT
 */
#include "support/ask.h"
#include "support/claims.h"
#include "support/node.h"
#include "support/records.h"
#include "support/watch.h"

#include <stdio.h>
#include <string.h>

static const char *const arrays[] = {"sessions", "consents", "cutoffs", "once_keys", "adopted_tokens", "events"};
enum { ARRAYS = sizeof arrays / sizeof *arrays };

static cJSON *export(test_fixture *f, const char *subject)
{
    otok_error err;
    char *text = NULL;
    int rc = otok_subject_export(f->service, subject, &text, &err);
    ck_assert_msg(rc == OTOK_OK, "%s: %s", otok_error_name(rc), err.message);
    cJSON *json = test_json(text);
    otok_string_free(text);
    test_expect_text(json, "realm", TEST_ISSUER);
    test_expect_text(json, "subject", subject);
    test_expect_number(json, "exported_us", f->now_us);
    for (size_t i = 0; i < ARRAYS; i++)
        ck_assert_msg(cJSON_IsArray(cJSON_GetObjectItem(json, arrays[i])), "%s", arrays[i]);
    return json;
}

static int length(const cJSON *json, const char *name)
{
    return cJSON_GetArraySize(cJSON_GetObjectItem(json, name));
}

static const cJSON *item(const cJSON *json, const char *name, int i)
{
    const cJSON *found = cJSON_GetArrayItem(cJSON_GetObjectItem(json, name), i);
    ck_assert_msg(found != NULL, "%s has no item %d", name, i);
    return found;
}

static const cJSON *member(const cJSON *object, const char *name)
{
    const cJSON *found = cJSON_GetObjectItemCaseSensitive(object, name);
    ck_assert_msg(found != NULL, "%s is missing", name);
    return found;
}

static void expect_json(const cJSON *object, const char *name, const char *expected)
{
    cJSON *other = cJSON_Parse(expected);
    ck_assert_msg(cJSON_Compare(member(object, name), other, 1), "%s", name);
    cJSON_Delete(other);
}

static test_held hold_everything(test_fixture *f)
{
    static const char *const amr[] = {"pwd", "otp"}, *const audience[] = {"https://a.example", "https://b.example"};
    otok_peer peer = {.size = sizeof peer, .ip = "192.0.2.1", .user_agent = "App \"1\"\\", .jkt = TEST_JKT};
    otok_grant grant = test_grant("alice", "phone", "openid offline_access profile");
    grant.sub = "pairwise";
    grant.sid = "sso";
    grant.acr = "gold";
    grant.amr = amr;
    grant.amr_count = 2;
    grant.audience = audience;
    grant.audience_count = 2;
    grant.auth_time_us = TEST_START_US - OTOK_US_PER_S;
    grant.claims = "{\"dept\":{\"n\":1.50},\"x\":[1]}";
    grant.authorization_details = "[{\"type\":\"payment\"}]";
    grant.act = "{\"sub\":\"admin\"}";
    grant.label = "Alice's Télephone";
    grant.binding = OTOK_BINDING_JKT;
    grant.grant_type = OTOK_GRANT_DEVICE_CODE;
    grant.idle_timeout_s = 3 * TEST_DAY_S;
    grant.max_lifetime_s = 90 * TEST_DAY_S;
    grant.peer = &peer;
    grant.once_key = "hash-of-the-code";
    return test_hold_grant(f, &grant);
}

/* V7 */
START_TEST(session_is_exported_with_everything_it_holds)
{
    static const char *const amr[] = {"pwd", "otp"}, *const audience[] = {"https://a.example", "https://b.example"};
    otok_error err;
    test_fixture *f = test_open(_i);
    test_held held = hold_everything(f);
    otok_session_change change = {
        .size = sizeof change, .session_id = held.session_id, .notes = "{\"ticket\": [1, 2]}"};
    test_assert_code(OTOK_OK, otok_session_update(f->service, &change, &err));
    cJSON *json = export(f, "alice");
    ck_assert_int_eq(length(json, "sessions"), 1);
    const cJSON *s = item(json, "sessions", 0);
    test_expect_text(s, "session_id", held.session_id);
    test_expect_text(s, "client_id", "phone");
    test_expect_text(s, "scope", "openid offline_access profile");
    test_expect_text(s, "sub", "pairwise");
    test_expect_text(s, "sid", "sso");
    test_expect_text(s, "acr", "gold");
    test_expect_text(s, "label", "Alice's Télephone");
    test_expect_text(s, "start_ip", "192.0.2.1");
    test_expect_text(s, "start_user_agent", "App \"1\"\\");
    test_expect_text(s, "thumbprint", TEST_JKT);
    test_expect_texts(s, "amr", amr, 2);
    test_expect_texts(s, "audience", audience, 2);
    test_expect_number(s, "started_us", TEST_START_US);
    test_expect_number(s, "auth_time_us", TEST_START_US - OTOK_US_PER_S);
    test_expect_number(s, "last_used_us", TEST_START_US);
    test_expect_number(s, "idle_timeout_s", 3 * TEST_DAY_S);
    test_expect_number(s, "max_lifetime_s", 90 * TEST_DAY_S);
    test_expect_number(s, "grant_type", OTOK_GRANT_DEVICE_CODE);
    test_expect_number(s, "binding", OTOK_BINDING_JKT);
    test_expect_number(s, "kind", OTOK_SESSION_OFFLINE);
    test_expect_number(s, "generation", 0);
    expect_json(s, "claims", "{\"dept\":{\"n\":1.50},\"x\":[1]}");
    expect_json(s, "authorization_details", "[{\"type\":\"payment\"}]");
    expect_json(s, "act", "{\"sub\":\"admin\"}");
    expect_json(s, "notes", "{\"ticket\":[1,2]}");
    test_expect_absent(s, "rotated_us");
    const cJSON *once = item(json, "once_keys", 0);
    test_expect_text(once, "session_id", held.session_id);
    test_expect_text(once, "client_id", "phone");
    test_expect_number(once, "used_us", TEST_START_US);
    ck_assert_uint_eq(strlen(cJSON_GetStringValue(member(once, "digest"))), 22);
    ck_assert_int_eq(length(json, "adopted_tokens"), 0);
    cJSON_Delete(json);
    test_close(f);
}
END_TEST

/* V7 */
START_TEST(consents_cutoffs_and_events_are_exported)
{
    otok_error err;
    int64_t own_us = 0, pair_us = 0;
    test_fixture *f = test_open(_i);
    f->service->outbox_limit = 100;
    otok_filter alice = test_filter("alice", NULL, NULL), pair = test_filter("alice", "tv", NULL);
    test_assert_code(OTOK_OK, otok_consent_put(f->service, "alice", "phone", "openid profile", &err));
    test_assert_code(OTOK_OK, otok_cutoff_set(f->service, &pair, OTOK_NOW, &pair_us, &err));
    test_assert_code(OTOK_OK, otok_logout(f->service, &alice, 0, NULL, &err));
    test_assert_code(OTOK_OK, otok_cutoff_set(f->service, &alice, TEST_START_US - 7, &own_us, &err));
    test_held held = test_hold(f, "alice", "phone");
    cJSON *json = export(f, "alice");
    ck_assert_int_eq(length(json, "consents"), 1);
    test_expect_text(item(json, "consents", 0), "client_id", "phone");
    test_expect_text(item(json, "consents", 0), "scope", "openid profile");
    test_expect_number(item(json, "consents", 0), "granted_us", TEST_START_US);
    test_expect_number(item(json, "consents", 0), "updated_us", TEST_START_US);
    ck_assert_int_eq(length(json, "cutoffs"), 2);
    int own = cJSON_HasObjectItem(item(json, "cutoffs", 0), "client_id") ? 1 : 0; /* made at one time, in any order */
    test_expect_absent(item(json, "cutoffs", own), "client_id");
    test_expect_number(item(json, "cutoffs", own), "cutoff_us", TEST_START_US - 7);
    test_expect_number(item(json, "cutoffs", own), "login_us", TEST_START_US);
    test_expect_text(item(json, "cutoffs", 1 - own), "client_id", "tv");
    test_expect_number(item(json, "cutoffs", 1 - own), "cutoff_us", pair_us);
    ck_assert_int_eq(length(json, "events"), 5); /* consent, three cutoffs, issued */
    bool issued = false;
    for (int i = 0; i < 5; i++) {
        const cJSON *event = item(json, "events", i);
        test_expect_text(event, "subject", "alice");
        test_expect_number(event, "time_us", TEST_START_US);
        ck_assert_uint_gt(strlen(cJSON_GetStringValue(member(event, "event_id"))), OTOK_SESSION_ID_CHARS);
        if (test_number(event, "type") == OTOK_EVENT_ISSUED) {
            issued = true;
            test_expect_text(event, "session_id", held.session_id);
        }
    }
    ck_assert(issued);
    cJSON_Delete(json);
    test_close(f);
}
END_TEST

/* V7: dead sessions are held until they are swept, and so exported; of nobody else, and of no other realm */
START_TEST(export_is_of_one_subject_and_whole)
{
    enum { MANY = 150 }; /* more than a page */
    otok_error err;
    char *text = NULL;
    test_fixture *f = test_open(_i), *other = test_open_node(f, "other");
    otok_filter alice = test_filter("alice", NULL, NULL);
    test_plain_policy(f);
    for (int i = 0; i < MANY; i++)
        otok_tokens_free(test_issue_plain(f, "alice", "phone"));
    otok_tokens_free(test_issue_plain(f, "bob-the-other", "phone"));
    otok_tokens_free(test_issue_plain(other, "alice", "elsewhere"));
    test_assert_code(OTOK_OK, otok_consent_put(f->service, "bob-the-other", "phone", "openid", &err));
    test_advance_s(f, 100 * (int64_t)TEST_DAY_S);
    test_assert_code(OTOK_OK, otok_cutoff_set(f->service, &alice, OTOK_NOW, NULL, &err));
    cJSON *json = export(f, "alice");
    ck_assert_int_eq(length(json, "sessions"), MANY);
    cJSON_Delete(json);
    test_assert_code(OTOK_OK, otok_subject_export(f->service, "alice", &text, &err));
    ck_assert_ptr_null(strstr(text, "bob-the-other"));
    ck_assert_ptr_null(strstr(text, "elsewhere"));
    otok_string_free(text);
    json = export(f, "nobody");
    for (size_t i = 0; i < ARRAYS; i++)
        ck_assert_int_eq(length(json, arrays[i]), 0);
    cJSON_Delete(json);
    test_close(other);
    test_close(f);
}
END_TEST

/* V7, K6: no token, and nothing that makes one */
START_TEST(export_shows_no_token)
{
    otok_error err;
    char *text = NULL;
    test_fixture *f = test_open(_i);
    f->service->outbox_limit = 100;
    test_held held = hold_everything(f);
    otok_presented presented;
    ck_assert(otok_token_parse(held.token, &presented));
    char handle[32] = "";
    otok_base64url(presented.token.handle, OTOK_HANDLE_SIZE, handle);
    test_assert_code(OTOK_OK, otok_subject_export(f->service, "alice", &text, &err));
    ck_assert_ptr_null(strstr(text, "otok_"));
    ck_assert_ptr_null(strstr(text, held.token + 5));
    ck_assert_ptr_null(strstr(text, handle));
    ck_assert_ptr_null(strstr(text, held.access_token));
    ck_assert_ptr_null(strstr(text, "hash-of-the-code"));
    otok_string_free(text);
    test_close(f);
}
END_TEST

static void put_body(test_fixture *f, const otok_record *record, otok_str body)
{
    otok_error err;
    otok_record edited = *record;
    edited.body = body;
    edited.version++;
    test_assert_code(OTOK_OK, otok_service_write(f->service, OTOK_WRITE_PUT, record->version, &edited, &err));
}

typedef struct kept {
    otok_record *records[8];
    size_t n;
} kept;

static int collect(void *arg, const otok_record *record)
{
    kept *k = arg;
    k->records[k->n++] = otok_record_copy(record);
    return 0;
}

/* V7: what this version cannot read is held all the same, and the rest is still JSON */
START_TEST(records_that_cannot_be_read_are_shown_as_bytes)
{
    otok_error err;
    test_fixture *f = test_open(_i);
    f->service->outbox_limit = 100;
    otok_filter alice = test_filter("alice", NULL, NULL);
    kept d = {0};
    test_held held = hold_everything(f);
    test_assert_code(OTOK_OK, otok_consent_put(f->service, "alice", "phone", "openid", &err));
    test_assert_code(OTOK_OK, otok_cutoff_set(f->service, &alice, 5, NULL, &err));
    otok_scan scan = {.size = sizeof scan, .limit = 8};
    test_assert_code(OTOK_OK, otok_store_scan(f->store, &scan, collect, &d, &err));
    for (size_t i = 0; i < d.n; i++) {
        put_body(f, d.records[i], otok_str_of("?\xff"));
        otok_record_free(d.records[i]);
    }
    cJSON *json = export(f, "alice");
    ck_assert_int_eq(length(json, "sessions"), 1);
    test_expect_text(item(json, "sessions", 0), "session_id", held.session_id);
    for (size_t i = 0; i < ARRAYS; i++) {
        for (int k = 0; k < length(json, arrays[i]); k++)
            test_expect_text(item(json, arrays[i], k), "unread", "P_8");
    }
    ck_assert_int_eq(length(json, "cutoffs"), 2);
    ck_assert_int_eq(length(json, "once_keys"), 1);
    ck_assert_int_eq(length(json, "events"), 3);
    cJSON_Delete(json);
    test_close(f);
}
END_TEST

/* V7: nor does JSON or text inside a record that someone has edited damage the whole */
START_TEST(damaged_text_within_a_record_is_shown_as_bytes)
{
    otok_error err;
    otok_id id;
    otok_loaded session;
    otok_buf body;
    test_fixture *f = test_open(_i);
    test_held held = hold_everything(f);
    ck_assert(otok_session_id_parse(held.session_id, &id));
    test_assert_code(OTOK_OK, otok_session_load(f->service, &id, &session, &err));
    session.body.claims = otok_str_of("\"a\":1},{");
    session.body.act = otok_str_of("{");
    session.body.notes = otok_str_of("[\"\xff\"]");
    session.body.label = otok_str_of("\xff");
    session.body.amr[1] = otok_str_of("\xff");
    otok_seal_scope scope = otok_seal_scope_of(session.record);
    const otok_realm_key *key = otok_service_now_keys(f->service)->active;
    otok_buf_init(&body, NULL, 0);
    test_assert_code(OTOK_OK, otok_body_print(&session.body, &scope, key->id, key->seal, &body, &err));
    put_body(f, session.record, (otok_str){body.data, body.len});
    cJSON *json = export(f, "alice");
    const cJSON *s = item(json, "sessions", 0);
    static const char *const amr[] = {"pwd", "_w"};
    test_expect_texts(s, "amr", amr, 2);
    test_expect_text(s, "label", "_w");
    test_expect_text(s, "act", "ew");
    ck_assert(cJSON_IsString(member(s, "claims")) && cJSON_IsString(member(s, "notes")));
    cJSON_Delete(json);
    otok_buf_free(&body);
    otok_loaded_free(&session);
    test_close(f);
}
END_TEST

/* V7: half of it is no export */
START_TEST(store_that_fails_gives_no_export)
{
    otok_error err;
    test_watch watch;
    test_fixture *f = test_open(TEST_MEMORY);
    (void)hold_everything(f);
    test_watch_fixture(&watch, f);
    for (uint64_t at = 1;; at++) {
        char *text = NULL;
        test_watch_fail(&watch, at, TEST_CALL_ANY, OTOK_E_IO, false);
        int rc = otok_subject_export(f->service, "alice", &text, &err);
        otok_string_free(text);
        test_assert_code(watch.reached ? OTOK_E_IO : OTOK_OK, rc);
        ck_assert((rc == OTOK_OK) == (text != NULL));
        if (!watch.reached) {
            ck_assert_uint_gt(at, 6);
            break;
        }
    }
    test_close(f);
}
END_TEST

/* V7 */
START_TEST(exports_that_make_no_sense_are_invalid)
{
    static char longest[257];
    otok_error err;
    char *text = NULL;
    test_fixture *f = test_open(TEST_MEMORY);
    memset(longest, 'x', 256);
    const char *const wrong[] = {NULL, "", longest, "a\nb", "\xff"};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        test_assert_code(OTOK_E_INVALID, otok_subject_export(f->service, wrong[i], &text, &err));
        ck_assert_ptr_nonnull(strstr(err.message, "subject"));
        ck_assert_ptr_null(text);
    }
    test_assert_code(OTOK_E_INVALID, otok_subject_export(NULL, "alice", &text, &err));
    test_assert_code(OTOK_E_INVALID, otok_subject_export(f->service, "alice", NULL, &err));
    test_close(f);
}
END_TEST

static void add_tests(TCase *tc)
{
    const TTest *const on_both[] = {session_is_exported_with_everything_it_holds,
                                    consents_cutoffs_and_events_are_exported,
                                    export_is_of_one_subject_and_whole,
                                    export_shows_no_token,
                                    records_that_cannot_be_read_are_shown_as_bytes,
                                    damaged_text_within_a_record_is_shown_as_bytes};
    test_add_on_both(tc, on_both, sizeof on_both / sizeof *on_both);
    tcase_add_test(tc, store_that_fails_gives_no_export);
    tcase_add_test(tc, exports_that_make_no_sense_are_invalid);
}

int main(void)
{
    return test_main("export", add_tests);
}
