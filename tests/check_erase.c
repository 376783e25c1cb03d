/*
 * check_erase.c - V7: a subject, a client, a realm is erased: no name of it is left in the store, nothing of before comes back, and
 * what is made again under the same name inherits nothing.
 *
 * SPDX-License-Identifier: MIT
 */
#include "support/ask.h"
#include "support/node.h"
#include "support/records.h"
#include "support/watch.h"

#include <stdio.h>
#include <string.h>

/* Names that nothing else has in it. */
#define CANARY "canary-3f81"

static uint64_t erase(test_fixture *f, const otok_filter *filter)
{
    otok_error err;
    uint64_t erased = 77;
    int rc = otok_erase(f->service, filter, &erased, &err);
    ck_assert_msg(rc == OTOK_OK, "%s: %s", otok_error_name(rc), err.message);
    return erased;
}

static bool has(otok_str text, const char *name)
{
    return text.len != 0 && memmem(text.data, text.len, name, strlen(name)) != NULL;
}

typedef struct search {
    const char *name;
    size_t found, records;
    otok_id last;
} search;

static int look(void *arg, const otok_record *record)
{
    search *s = arg;
    s->records++;
    s->last = record->id;
    s->found += has(record->realm, s->name) || has(record->subject, s->name) || has(record->client, s->name) ||
                has(record->head, s->name) || has(record->body, s->name);
    return 0;
}

/* How many records of a store have that name anywhere in them. */
static size_t records_with(otok_store *store, const char *name)
{
    otok_error err;
    search s = {.name = name};
    otok_scan scan = {.size = sizeof scan, .limit = OTOK_MAX_FETCH};
    size_t before;
    do {
        before = s.records;
        test_assert_code(OTOK_OK, otok_store_scan(store, &scan, look, &s, &err));
        scan.flags = OTOK_SCAN_AFTER;
        scan.after = s.last;
    } while (s.records - before == OTOK_MAX_FETCH);
    return s.found;
}

static void consent(test_fixture *f, const char *subject, const char *client_id)
{
    otok_error err;
    test_assert_code(OTOK_OK, otok_consent_put(f->service, subject, client_id, "openid offline_access", &err));
}

static test_held hold_with_key(test_fixture *f, const char *subject, const char *client_id, const char *once_key)
{
    otok_peer peer = {.size = sizeof peer, .ip = "192.0.2.1", .user_agent = "App/1"};
    otok_grant grant = test_grant(subject, client_id, "openid offline_access");
    grant.label = "the device of " CANARY;
    grant.peer = &peer;
    grant.sid = "sso";
    grant.once_key = once_key;
    return test_hold_grant(f, &grant);
}

/* Sessions, consents, cutoffs of every sort, once keys, and events of all of it. */
static test_held fill(test_fixture *f, const char *subject, const char *client_id, const char *once_key)
{
    otok_error err;
    otok_filter own = test_filter(subject, NULL, NULL), of_client = test_filter(NULL, client_id, NULL);
    otok_filter pair = test_filter(subject, client_id, NULL);
    consent(f, subject, client_id);
    test_assert_code(OTOK_OK, otok_cutoff_set(f->service, &own, TEST_START_US - 9, NULL, &err));
    test_assert_code(OTOK_OK, otok_cutoff_set(f->service, &of_client, TEST_START_US - 9, NULL, &err));
    test_assert_code(OTOK_OK, otok_cutoff_set(f->service, &pair, TEST_START_US - 9, NULL, &err));
    test_held held = hold_with_key(f, subject, client_id, once_key);
    test_assert_code(OTOK_OK, otok_session_update(f->service,
                                                  &(otok_session_change){.size = sizeof(otok_session_change),
                                                                         .session_id = held.session_id,
                                                                         .notes = "{\"of\":\"" CANARY "\"}"},
                                                  &err));
    return held;
}

static test_fixture *open_with_outbox(int engine)
{
    test_fixture *f = test_open(engine);
    test_plain_policy(f);
    f->service->outbox_limit = 1000;
    return f;
}

/* It holds, and is filed under the realm alone. */
static void assert_only_cutoff(test_fixture *f, const otok_filter *filter)
{
    otok_error err;
    otok_scope_names names;
    otok_record *mark = NULL;
    int64_t at_us = 0;
    test_assert_code(OTOK_OK, otok_names_of_filter(f->service, filter, &names, &err));
    test_assert_code(OTOK_OK, otok_record_fetch(f->service, &names.mark, &mark, &err));
    ck_assert_ptr_nonnull(mark);
    ck_assert_uint_eq(mark->nkeys, 1);
    ck_assert_uint_eq(mark->keys[0].index, OTOK_INDEX_REALM);
    otok_record_free(mark);
    test_assert_code(OTOK_OK, otok_cutoff_get(f->service, filter, &at_us, &err));
    ck_assert_int_ge(at_us, f->now_us);
    ck_assert_uint_eq(test_count(f, filter), 0);
}

/* ------------------------------------------------------------------------------------------------------ what is left of it */

/* V7 */
START_TEST(no_name_of_an_erased_subject_is_left)
{
    otok_error err;
    test_fixture *f = open_with_outbox(_i), *other = test_open_node(f, "other");
    otok_filter canary = test_filter(CANARY, NULL, NULL), bob = test_filter("bob", NULL, NULL);
    test_held one = fill(f, CANARY, "phone", "key-1"), two = fill(f, CANARY, "laptop", "key-2");
    test_held of_bob = test_hold(f, "bob", "phone"), elsewhere = test_hold(other, "bob", "phone");
    consent(f, "bob", "phone");
    test_forget_events(f);
    ck_assert_uint_gt(records_with(f->store, CANARY), 10);
    uint64_t erased = erase(f, &canary);
    ck_assert_uint_ge(erased, 2 + 2 + 2 + 4); /* sessions, marks, keys, events */
    ck_assert_uint_eq(records_with(f->store, CANARY), 0);
    ck_assert_uint_eq(test_count_reasons(f, OTOK_EVENT_REVOKED, OTOK_REVOKED_BY_ERASURE, NULL), 2);
    assert_only_cutoff(f, &canary);
    test_assert_code(OTOK_E_TOKEN_UNKNOWN, test_refresh_code(f, one.token, NULL));
    test_assert_code(OTOK_E_TOKEN_UNKNOWN, test_refresh_code(f, two.token, "laptop"));

    ck_assert_uint_eq(test_count(f, &bob), 1);
    test_assert_code(OTOK_OK, test_refresh_code(f, of_bob.token, NULL));
    test_assert_code(OTOK_OK, test_refresh_code(other, elsewhere.token, NULL));
    otok_consent *kept = NULL;
    test_assert_code(OTOK_OK, otok_consent_get(f->service, "bob", "phone", &kept, &err));
    otok_consent_free(kept);
    test_sweep(f, 0); /* finds nothing to walk, and puts no name back */
    ck_assert_uint_eq(records_with(f->store, CANARY), 0);
    test_close(other);
    test_close(f);
}
END_TEST

/* V7 */
START_TEST(no_name_of_an_erased_client_is_left)
{
    test_fixture *f = open_with_outbox(_i);
    otok_filter canary = test_filter(NULL, CANARY, NULL);
    test_held one = fill(f, "alice", CANARY, "key-1"), two = fill(f, "bob", CANARY, "key-2");
    test_held phone = test_hold(f, "alice", "phone");
    (void)erase(f, &canary);
    ck_assert_uint_eq(records_with(f->store, CANARY), 0);
    assert_only_cutoff(f, &canary);
    test_assert_code(OTOK_E_TOKEN_UNKNOWN, test_refresh_code(f, one.token, CANARY));
    test_assert_code(OTOK_E_TOKEN_UNKNOWN, test_refresh_code(f, two.token, CANARY));
    test_assert_code(OTOK_OK, test_refresh_code(f, phone.token, NULL));
    test_close(f);
}
END_TEST

/* V7: of a realm the marks of single subjects, clients and sids stay, found by nobody but who knows what they are about */
START_TEST(erased_realm_has_no_sessions_consents_keys_or_events)
{
    otok_error err;
    otok_outbox_batch *batch = NULL;
    otok_consent_page *page = NULL;
    test_fixture *f = open_with_outbox(_i), *other = test_open_node(f, "other");
    otok_filter realm = test_filter_realm();
    test_held one = fill(f, "alice", "phone", "key-1");
    (void)fill(f, "bob", "laptop", "key-2");
    test_held elsewhere = test_hold(other, "alice", "phone");
    consent(other, "alice", "phone");
    (void)erase(f, &realm);
    assert_only_cutoff(f, &realm);
    test_assert_code(OTOK_E_TOKEN_UNKNOWN, test_refresh_code(f, one.token, NULL));
    test_assert_code(OTOK_OK, otok_outbox_read(f->service, 0, &batch, &err));
    ck_assert_uint_eq(batch->count, 1); /* that there were some (E2) */
    ck_assert_int_eq(batch->events[0]->type, OTOK_EVENT_OUTBOX_OVERFLOW);
    otok_list_request request = {.size = sizeof request, .filter = &realm};
    test_assert_code(OTOK_OK, otok_consent_list(f->service, &request, &page, &err));
    ck_assert_uint_eq(page->count, 0);
    otok_consent_page_free(page);
    test_assert_code(OTOK_OK, otok_consent_list(other->service, &request, &page, &err));
    ck_assert_uint_eq(page->count, 1);
    test_assert_code(OTOK_OK, test_refresh_code(other, elsewhere.token, NULL));
    otok_consent_page_free(page);
    otok_outbox_batch_free(batch);
    test_close(other);
    test_close(f);
}
END_TEST

/* --------------------------------------------------------------------------------------------------------- made again */

/* V7: "A client or realm that is deleted and made again inherits nothing", and neither does a subject */
START_TEST(what_is_made_again_inherits_nothing)
{
    otok_filter filters[] = {test_filter("alice", NULL, NULL), test_filter(NULL, "phone", NULL), test_filter_realm()};
    for (size_t i = 0; i < sizeof filters / sizeof *filters; i++) {
        otok_error err;
        otok_consent *old = NULL;
        test_fixture *f = open_with_outbox(_i);
        test_held before = fill(f, "alice", "phone", "key-1");
        (void)erase(f, &filters[i]);
        test_held after = hold_with_key(f, "alice", "phone", "key-2"); /* at once */
        test_assert_code(OTOK_OK, test_refresh_code(f, after.token, NULL));
        ck_assert_int_ne(test_refresh_code(f, before.token, NULL), OTOK_OK);
        ck_assert_uint_eq(test_count_live(f, &filters[i]), 1);
        test_assert_code(OTOK_E_NOT_FOUND, otok_consent_get(f->service, "alice", "phone", &old, &err));
        otok_record *record = test_session_record(f->store, after.session_id);
        int64_t at_us = 0;
        test_assert_code(OTOK_OK, otok_cutoff_get(f->service, &filters[i], &at_us, &err));
        ck_assert_int_gt(record->created_us, at_us);
        test_advance_s(f, 1);
        after = hold_with_key(f, "alice", "phone", "key-1"); /* the key is good again, for another token */
        ck_assert_str_ne(after.session_id, before.session_id);
        ck_assert_int_ne(test_refresh_code(f, before.token, NULL), OTOK_OK);
        otok_record_free(record);
        test_close(f);
    }
}
END_TEST

/* V7, V3: a session that a record put back from a backup would revive stays behind the cutoff, which is all that is left */
START_TEST(restored_session_of_an_erased_subject_is_dead)
{
    test_fixture *f = open_with_outbox(_i);
    otok_filter alice = test_filter("alice", NULL, NULL);
    test_held held = test_hold(f, "alice", "phone");
    otok_record *record = test_session_record(f->store, held.session_id);
    (void)erase(f, &alice);
    test_put_back(f->store, record);
    test_assert_code(OTOK_E_TOKEN_REVOKED, test_refresh_code(f, held.token, NULL));
    (void)erase(f, &alice);
    ck_assert(!test_has_session(f, held.session_id));
    otok_record_free(record);
    test_close(f);
}
END_TEST

static int adopt_any(void *user, const char *token, const char *client_id, otok_adoption *adoption)
{
    otok_grant grant = test_grant("alice", client_id, "offline_access");
    otok_legacy legacy;
    (void)user;
    otok_legacy_init(&legacy, sizeof legacy);
    legacy.id = token;
    legacy.started_us = TEST_START_US - 5;
    legacy.grant = &grant;
    return otok_legacy_set(adoption, &legacy, NULL);
}

/* V7, P4: that a token of another system was adopted is forgotten, and the token is no good for that */
START_TEST(adopted_token_of_an_erased_subject_is_dead)
{
    test_fixture *f = open_with_outbox(_i);
    otok_filter alice = test_filter("alice", NULL, NULL);
    f->callbacks.adopt = adopt_any;
    test_reopen_service(f);
    test_assert_code(OTOK_OK, test_refresh_code(f, "legacy-token", NULL));
    test_assert_code(OTOK_OK, test_refresh_code(f, "legacy-token", NULL));
    (void)erase(f, &alice);
    int rc = test_refresh_code(f, "legacy-token", NULL);
    ck_assert_msg(rc <= OTOK_E_TOKEN_INVALID, "%s", otok_error_name(rc));
    ck_assert_uint_eq(test_count_live(f, &alice), 0);
    test_close(f);
}
END_TEST

/* ------------------------------------------------------------------------------------------------------- interruptions */

/* V7: after a failure at every single call it is begun again, and then whole; the tokens are dead from the first commit on */
START_TEST(erasure_that_was_interrupted_is_finished_by_the_next)
{
    otok_filter filters[] = {test_filter(CANARY, NULL, NULL), test_filter(NULL, CANARY, NULL)};
    for (uint64_t at = 1, last = 0; last == 0; at++) {
        otok_error err;
        test_watch watch;
        test_fixture *f = open_with_outbox(_i);
        const otok_filter *filter = &filters[at % 2];
        test_held held = at % 2 == 0 ? fill(f, CANARY, "phone", "key") : fill(f, "alice", CANARY, "key");
        const char *client = at % 2 == 0 ? "phone" : CANARY;
        test_watch_fixture(&watch, f);
        f->service->outbox_limit = 1000;
        test_watch_fail(&watch, at, TEST_CALL_ANY, OTOK_E_IO, false);
        int rc = otok_erase(f->service, filter, NULL, &err);
        if (!watch.reached)
            last = at;
        uint64_t commits = watch.commits;
        test_watch_reset(&watch);
        test_assert_code(last != 0 ? OTOK_OK : OTOK_E_IO, rc);
        if (last == 0 && commits > 1)
            ck_assert_int_ne(test_refresh_code(f, held.token, client), OTOK_OK);
        (void)erase(f, filter);
        ck_assert_uint_eq(records_with(f->store, CANARY), 0);
        assert_only_cutoff(f, filter);
        test_close(f);
        ck_assert_uint_lt(at, 200);
        ck_assert(last == 0 || last > 15);
    }
}
END_TEST

/* ------------------------------------------------------------------------------------------------------- others meanwhile */

typedef struct meanwhile {
    test_fixture *node;
    test_held held;
} meanwhile;

static void refresh_meanwhile(void *arg)
{
    meanwhile *m = arg;
    test_held held = m->held;
    m->node->service->outbox_limit = 0;
    (void)test_refresh_held(m->node, &held, NULL);
}

static void consent_meanwhile(void *arg)
{
    meanwhile *m = arg;
    consent(m->node, CANARY, "phone");
}

/* Made again, and revoked again. */
static void cut_meanwhile(void *arg)
{
    meanwhile *m = arg;
    otok_error err;
    otok_filter canary = test_filter(CANARY, NULL, NULL);
    m->held = test_hold(m->node, CANARY, "phone");
    test_advance_s(m->node, 60);
    test_assert_code(OTOK_OK, otok_cutoff_set(m->node->service, &canary, OTOK_NOW, NULL, &err));
}

/* V7: whatever is written meanwhile at any commit of it, the sessions of before are gone; the next one takes what came behind it */
START_TEST(erasure_wins_against_whoever_writes_meanwhile)
{
    /* Up to which commit what they write is before what removes it: of five, for cutoff, session, mark, key, and the name. */
    static const struct {
        void (*step)(void *);
        uint64_t in_time;
    } rows[] = {{refresh_meanwhile, UINT64_MAX}, {consent_meanwhile, 3}, {cut_meanwhile, 5}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        bool more = true;
        for (uint64_t at = 1; more; at++) {
            test_watch watch;
            test_fixture *f = open_with_outbox(_i), *node = test_open_node(f, NULL);
            otok_filter canary = test_filter(CANARY, NULL, NULL);
            meanwhile m = {.node = node, .held = fill(f, CANARY, "phone", "key")};
            test_advance_s(f, 60);
            test_advance_s(node, 60);
            test_watch_fixture(&watch, f);
            test_watch_step_in(&watch, at, TEST_CALL_COMMIT, rows[i].step, &m);
            (void)erase(f, &canary);
            more = watch.reached;
            test_watch_reset(&watch);
            if (at <= rows[i].in_time)
                ck_assert_uint_eq(records_with(f->store, CANARY), 0);
            (void)erase(f, &canary);
            ck_assert(!test_has_session(f, m.held.session_id));
            ck_assert_uint_eq(records_with(f->store, CANARY), 0);
            test_close(node);
            test_close(f);
            ck_assert_uint_lt(at, 50);
        }
    }
}
END_TEST

/* The same with one client. */
static void issue_and_cut_pair(void *arg)
{
    meanwhile *m = arg;
    otok_error err;
    otok_filter pair = test_filter(CANARY, "phone", NULL);
    m->held = test_hold(m->node, CANARY, "phone");
    test_assert_code(OTOK_OK, otok_cutoff_set(m->node->service, &pair, OTOK_NOW, NULL, &err));
}

/* V5, V7: with the mark of subject and client goes its cutoff, but never what that held dead */
START_TEST(cutoff_of_an_erased_mark_is_taken_over)
{
    bool more = true;
    for (uint64_t at = 2; more; at++) {
        test_watch watch;
        test_fixture *f = open_with_outbox(_i), *node = test_open_node(f, NULL);
        otok_filter canary = test_filter(CANARY, NULL, NULL);
        meanwhile m = {.node = node, .held = fill(f, CANARY, "phone", NULL)};
        test_watch_fixture(&watch, f);
        test_watch_step_in(&watch, at, TEST_CALL_COMMIT | TEST_CALL_SCAN, issue_and_cut_pair, &m);
        (void)erase(f, &canary);
        more = watch.reached;
        test_watch_reset(&watch);
        if (more)
            ck_assert_int_ne(test_refresh_code(f, m.held.token, NULL), OTOK_OK);
        test_close(node);
        test_close(f);
        ck_assert_uint_lt(at, 50);
    }
}
END_TEST

/* V3, V7: a cutoff that was set a day ahead */
START_TEST(cutoff_ahead_of_the_clock_still_holds)
{
    otok_error err;
    int64_t at_us = 0;
    test_fixture *f = open_with_outbox(_i);
    otok_filter pair = test_filter(CANARY, "phone", NULL), canary = test_filter(CANARY, NULL, NULL);
    int64_t ahead_us = TEST_START_US + 3600 * OTOK_US_PER_S;
    test_assert_code(OTOK_OK, otok_cutoff_set(f->service, &pair, ahead_us, NULL, &err));
    (void)erase(f, &canary);
    test_assert_code(OTOK_OK, otok_cutoff_get(f->service, &canary, &at_us, &err));
    ck_assert_int_eq(at_us, ahead_us);
    test_assert_code(OTOK_E_NOT_FOUND, otok_cutoff_get(f->service, &pair, &at_us, &err));
    ck_assert_uint_eq(records_with(f->store, CANARY), 0);
    test_held held = test_hold(f, CANARY, "phone");
    test_assert_code(OTOK_OK, test_refresh_code(f, held.token, NULL));
    test_close(f);
}
END_TEST

/* ------------------------------------------------------------------------------------------------------------ the rest */

static void damage(test_fixture *f, const char *session_id)
{
    otok_error err;
    otok_record *record = test_session_record(f->store, session_id);
    otok_record edited = *record;
    edited.body = otok_str_of("?");
    edited.version++;
    test_assert_code(OTOK_OK, otok_service_write(f->service, OTOK_WRITE_PUT, record->version, &edited, &err));
    otok_record_free(record);
}

/* V7: what this version cannot read is held all the same, and so erased; but not what came after the cutoff */
START_TEST(sessions_that_cannot_be_read_are_erased_too)
{
    enum { MANY = 70 }; /* more than a page */
    test_fixture *f = open_with_outbox(_i);
    otok_filter canary = test_filter(CANARY, NULL, NULL);
    for (int i = 0; i < MANY; i++) {
        test_held held = test_hold(f, CANARY, "phone");
        if (i % 3 != 0)
            damage(f, held.session_id);
    }
    test_forget_events(f);
    ck_assert_uint_ge(erase(f, &canary), MANY);
    ck_assert_uint_eq(records_with(f->store, CANARY), 0);
    ck_assert_uint_eq(test_count_reasons(f, OTOK_EVENT_REVOKED, OTOK_REVOKED_BY_ERASURE, NULL), MANY);
    test_close(f);
}
END_TEST

/* V7: more of everything than one commit takes */
START_TEST(erasure_of_many_records_is_whole_and_counts_them)
{
    enum { CLIENTS = 150, EACH = 2 };
    test_fixture *f = open_with_outbox(_i);
    f->service->outbox_limit = 0;
    otok_filter canary = test_filter(CANARY, NULL, NULL);
    for (int i = 0; i < CLIENTS; i++) {
        char client[32], key[32];
        (void)snprintf(client, sizeof client, "client-%d", i);
        (void)snprintf(key, sizeof key, "key-%d", i);
        (void)hold_with_key(f, CANARY, client, key);
        (void)test_hold(f, CANARY, client);
        consent(f, CANARY, client);
    }
    size_t held = test_count_records(f->store);
    ck_assert_uint_eq(erase(f, &canary), CLIENTS * (EACH + 1 + 1));
    ck_assert_uint_eq(test_count_records(f->store), held - CLIENTS * (EACH + 1 + 1) + 1); /* and the cutoff */
    ck_assert_uint_eq(records_with(f->store, CANARY), 0);
    ck_assert_uint_eq(erase(f, &canary), 0);
    test_close(f);
}
END_TEST

/* V7: "one of the three, or OTOK_E_INVALID" */
START_TEST(erasures_that_make_no_sense_are_invalid)
{
    otok_error err;
    uint64_t erased = 77;
    test_fixture *f = test_open(TEST_MEMORY);
    test_held held = test_hold(f, "alice", "phone");
    otok_filter wrong[] = {test_filter(NULL, NULL, NULL), test_filter("alice", "phone", NULL),
                           test_filter(NULL, NULL, "sso"), test_filter("", NULL, NULL), test_filter_realm()};
    wrong[4].subject = "alice";
    uint64_t before = test_store_state(f->store);
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        int rc = otok_erase(f->service, &wrong[i], &erased, &err);
        ck_assert_msg(rc == OTOK_E_INVALID, "%zu: %s", i, otok_error_name(rc));
        ck_assert_uint_eq(erased, 0);
    }
    test_assert_code(OTOK_E_INVALID, otok_erase(f->service, NULL, &erased, &err));
    test_assert_code(OTOK_E_INVALID, otok_erase(NULL, &wrong[1], &erased, &err));
    ck_assert(test_store_state(f->store) == before);
    test_assert_code(OTOK_OK, test_refresh_code(f, held.token, NULL));
    test_close(f);
}
END_TEST

static void add_tests(TCase *tc)
{
    const TTest *const on_both[] = {no_name_of_an_erased_subject_is_left,
                                    no_name_of_an_erased_client_is_left,
                                    erased_realm_has_no_sessions_consents_keys_or_events,
                                    what_is_made_again_inherits_nothing,
                                    restored_session_of_an_erased_subject_is_dead,
                                    adopted_token_of_an_erased_subject_is_dead,
                                    erasure_that_was_interrupted_is_finished_by_the_next,
                                    erasure_wins_against_whoever_writes_meanwhile,
                                    cutoff_of_an_erased_mark_is_taken_over,
                                    cutoff_ahead_of_the_clock_still_holds,
                                    sessions_that_cannot_be_read_are_erased_too,
                                    erasure_of_many_records_is_whole_and_counts_them};
    test_add_on_both(tc, on_both, sizeof on_both / sizeof *on_both);
    tcase_add_test(tc, erasures_that_make_no_sense_are_invalid);
}

int main(void)
{
    return test_main("erase", add_tests);
}
