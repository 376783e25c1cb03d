/*
 * check_unread.c - what this version cannot read (a newer node wrote it, or a disk damaged it) is not taken for absent, and
 * stands in nobody's way; and a backend that emits too much harms nobody.
 *
 * SPDX-License-Identifier: MIT
 */
#include "support/ask.h"
#include "support/broken_store.h"

#include <string.h>

static int keep_cutoff(void *arg, const otok_record *record)
{
    otok_record **out = arg;
    if (record->kind != OTOK_RECORD_CUTOFF && record->kind != OTOK_RECORD_PAIR)
        return 0;
    *out = otok_record_copy(record);
    return 1;
}

/* A copy of the one cutoff in a store. */
static otok_record *take_cutoff(test_fixture *f)
{
    otok_error err;
    otok_record *record = NULL;
    otok_scan scan = {.size = sizeof scan, .limit = OTOK_MAX_FETCH};
    test_assert_code(OTOK_OK, otok_store_scan(f->store, &scan, keep_cutoff, &record, &err));
    ck_assert_ptr_nonnull(record);
    return record;
}

static void put(test_fixture *f, otok_record *record)
{
    otok_error err;
    uint64_t expect = record->version++;
    test_assert_code(OTOK_OK, otok_service_write(f->service, OTOK_WRITE_PUT, expect, record, &err));
}

static int issue_code(test_fixture *f, const char *subject)
{
    otok_error err;
    otok_tokens *tokens = NULL;
    otok_grant grant = test_grant(subject, NULL, NULL);
    int rc = otok_issue(f->service, &grant, &tokens, &err);
    otok_tokens_free(tokens);
    return rc;
}

/* V3, V5: neither a refresh nor an issue goes past a cutoff whose time it cannot tell, and the sweeper removes nothing for it. */
START_TEST(cutoff_that_cannot_be_read_is_not_taken_for_none)
{
    uint8_t longer[OTOK_MAX_HEAD] = {0};
    test_fixture *f = test_open(_i);
    test_held alice = test_hold(f, "alice", NULL), bob = test_hold(f, "bob", NULL);
    otok_filter filter = test_filter("alice", NULL, NULL);
    test_assert_code(OTOK_OK, otok_cutoff_set(f->service, &filter, 1, NULL, NULL));
    test_assert_code(OTOK_OK, test_refresh_code(f, alice.token, NULL));
    otok_record *cutoff = take_cutoff(f);
    otok_record newer = *cutoff;
    memcpy(longer, cutoff->head.data, cutoff->head.len);
    newer.head = (otok_str){longer, sizeof longer};
    put(f, &newer);
    test_forget_events(f);

    test_assert_code(OTOK_E_FORMAT, test_refresh_code(f, alice.token, NULL));
    ck_assert_int_eq(otok_error_http(OTOK_E_FORMAT), 500); /* the token is not to blame */
    test_assert_code(OTOK_E_FORMAT, issue_code(f, "alice"));
    test_assert_code(OTOK_OK, test_refresh_code(f, bob.token, NULL));
    test_assert_code(OTOK_OK, issue_code(f, "bob"));
    (void)test_sweep(f, 0);
    ck_assert_uint_eq(test_count_events(f, OTOK_EVENT_REVOKED), 0);

    otok_record *again = take_cutoff(f); /* the sweeper has set it aside */
    newer = *again;
    newer.head = cutoff->head;
    put(f, &newer);
    test_assert_code(OTOK_OK, test_refresh_code(f, alice.token, NULL));
    otok_record_free(cutoff);
    otok_record_free(again);
    test_close(f);
}
END_TEST

/* L6: a cutoff with damaged names is set aside, and the sweeper goes on. */
START_TEST(cutoff_with_damaged_names_does_not_stop_the_sweeper)
{
    otok_error err;
    test_fixture *f = test_open(_i);
    otok_grant grant = test_grant("bob", NULL, NULL);
    grant.max_lifetime_s = 60;
    test_held dead = test_hold_grant(f, &grant);
    otok_filter filter = test_filter("alice", NULL, NULL);
    test_assert_code(OTOK_OK, otok_cutoff_set(f->service, &filter, 1, NULL, NULL));
    otok_record *cutoff = take_cutoff(f);
    otok_record damaged = *cutoff;
    damaged.subject = otok_str_of("al\nce");
    put(f, &damaged);
    for (int day = 0; day < 4; day++) {
        test_advance_s(f, TEST_DAY_S);
        for (int call = 0; call < 4; call++)
            test_assert_code(OTOK_OK, otok_sweep(f->service, 1, NULL, &err));
    }
    ck_assert(!test_has_session(f, dead.session_id));
    otok_record_free(cutoff);
    test_close(f);
}
END_TEST

/* L6: "again while result->more is 1" comes to an end, though a session of the sid stays in the way of each short walk. */
START_TEST(session_that_cannot_be_read_does_not_keep_the_sweeper_busy_for_ever)
{
    otok_id id;
    otok_error err;
    otok_record *record;
    test_fixture *f = test_open(_i);
    otok_grant grant = test_grant("alice", NULL, "offline_access");
    grant.sid = "sso";
    test_held first = test_hold_grant(f, &grant), damaged = test_hold_grant(f, &grant);
    ck_assert(otok_session_id_parse(damaged.session_id, &id));
    test_assert_code(OTOK_OK, otok_record_fetch(f->service, &id, &record, &err));
    otok_record edited = *record;
    edited.body = otok_str_of("?");
    put(f, &edited);
    otok_filter filter = test_filter(NULL, NULL, "sso");
    test_assert_code(OTOK_OK, otok_cutoff_set(f->service, &filter, OTOK_NOW, NULL, &err));

    for (int day = 0; day < 3; day++) {
        int calls = 0;
        otok_sweep_result result;
        otok_sweep_result_init(&result, sizeof result);
        do
            test_assert_code(OTOK_OK, otok_sweep(f->service, 1, &result, &err));
        while (result.more && ++calls < 100);
        ck_assert_int_lt(calls, 100);
        test_advance_s(f, TEST_DAY_S);
    }
    ck_assert(!test_has_session(f, first.session_id));
    test_assert_code(OTOK_OK, otok_cutoff_get(f->service, &filter, &(int64_t){0}, &err)); /* it still holds one dead */
    otok_record_free(record);
    test_close(f);
}
END_TEST

/* P3: a binding of a newer version is not taken for one that asks less; the session can be shown and revoked all the same. */
START_TEST(binding_that_is_not_known_is_refused)
{
    otok_id id;
    otok_error err;
    otok_loaded session;
    otok_buf body;
    test_fixture *f = test_open(_i);
    otok_peer peer = {.size = sizeof peer, .x5t_s256 = TEST_JKT};
    otok_grant grant = test_grant(NULL, NULL, NULL);
    grant.binding = OTOK_BINDING_MTLS;
    grant.peer = &peer;
    test_held held = test_hold_grant(f, &grant);
    otok_refresh_request request = test_refresh_request(held.token, NULL);
    request.peer = &peer;

    ck_assert(otok_session_id_parse(held.session_id, &id));
    test_assert_code(OTOK_OK, otok_session_load(f->service, &id, &session, &err));
    session.body.binding = OTOK_BINDING_MTLS + 1;
    otok_record record = *session.record;
    otok_seal_scope scope = otok_seal_scope_of(&record);
    otok_buf_init(&body, NULL, 0);
    const otok_realm_key *key = otok_service_now_keys(f->service)->active;
    test_assert_code(OTOK_OK, otok_body_print(&session.body, &scope, key->id, key->seal, &body, &err));
    record.body = (otok_str){body.data, body.len};
    put(f, &record);

    otok_tokens *tokens = NULL;
    test_assert_code(OTOK_E_FORMAT, otok_refresh(f->service, &request, &tokens, &err));
    ck_assert_ptr_null(tokens);
    ck_assert(test_has_session(f, held.session_id));
    test_assert_code(OTOK_OK, otok_revoke_session(f->service, held.session_id, &err));
    otok_buf_free(&body);
    otok_loaded_free(&session);
    test_close(f);
}
END_TEST

static int fault_named(const char *name)
{
    for (int i = 0; i < broken_faults(); i++) {
        if (strcmp(broken_fault(i)->name, name) == 0)
            return i;
    }
    ck_abort_msg("there is no fault %s", name);
}

/* S1: an error of a host's backend stays one, and never becomes a write behind the end of our memory. */
START_TEST(backend_that_emits_more_than_its_limit_is_an_error_and_writes_behind_nothing)
{
    broken_store *control;
    test_fixture *f = test_open(TEST_MEMORY);
    for (int i = 0; i < 40; i++)
        (void)test_hold(f, "alice", NULL);
    f->store = broken_store_open(f->store, fault_named("LIMIT_IS_IGNORED"), &control);
    test_reopen_service(f);
    otok_error err;
    otok_page *page = NULL;
    otok_filter filter = test_filter("alice", NULL, NULL);
    otok_list_request request = {.size = sizeof request, .filter = &filter, .limit = 2};
    test_assert_code(OTOK_E_STATE, otok_list(f->service, &request, &page, &err));
    ck_assert_ptr_null(page);
    test_close(f);
}
END_TEST

static void add_tests(TCase *tc)
{
    const TTest *const on_both[] = {
        cutoff_that_cannot_be_read_is_not_taken_for_none, cutoff_with_damaged_names_does_not_stop_the_sweeper,
        session_that_cannot_be_read_does_not_keep_the_sweeper_busy_for_ever, binding_that_is_not_known_is_refused};
    test_add_on_both(tc, on_both, sizeof on_both / sizeof *on_both);
    tcase_add_test(tc, backend_that_emits_more_than_its_limit_is_an_error_and_writes_behind_nothing);
}

int main(void)
{
    return test_main("unread", add_tests);
}
