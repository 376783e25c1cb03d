/*
 * check_service_check.c - K7: what was edited in a database, and what cannot be used any more, is found by who has the keyring.
 *
 * SPDX-License-Identifier: MIT
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "support/ask.h"
#include "support/node.h"
#include "support/records.h"
#include "support/watch.h"

/* ---------------------------------------------------------------------------------------------------- a realm */

/* Everything that records are kept of; `held` is alice's session, `other` mallory's. */
typedef struct realm {
    test_fixture *f, *elsewhere;
    test_held held, other;
} realm;

static realm begin(int engine)
{
    realm r = {.f = test_open(engine)};
    otok_filter carol = test_filter("carol", NULL, NULL);
    otok_grant login = test_grant("bob", "web", NULL), once = test_grant("alice", "tv", NULL);
    r.elsewhere = test_open_node(r.f, "elsewhere");
    (void)test_hold(r.elsewhere, "alice", "phone");
    r.f->service->outbox_limit = 100;
    login.kind = OTOK_SESSION_LOGIN;
    login.sid = "sso";
    once.once_key = "code";
    r.held = test_hold(r.f, "alice", "phone");
    test_rotate(r.f, &r.held, "phone");
    r.other = test_hold(r.f, "mallory", "phone");
    (void)test_hold_grant(r.f, &login);
    (void)test_hold_grant(r.f, &once);
    test_assert_code(OTOK_OK, otok_cutoff_set(r.f->service, &carol, OTOK_NOW, NULL, NULL));
    test_assert_code(OTOK_OK, otok_consent_put(r.f->service, "alice", "phone", "openid", NULL));
    return r;
}

static void end(realm *r)
{
    test_close(r->elsewhere);
    test_close(r->f);
}

enum { SESSIONS = 4 };

/* ---------------------------------------------------------------------------------------------------- looking */

typedef struct findings {
    size_t n;
    char last[600];
} findings;

static void on_finding(void *user, const char *what, int32_t mended)
{
    findings *f = user;
    ck_assert_int_eq(mended, 0);
    f->n++;
    (void)snprintf(f->last, sizeof f->last, "%s", what);
}

static findings check_service(test_fixture *f)
{
    findings told = {0};
    otok_error err = {0};
    otok_check result;
    otok_watch watch;
    uint64_t state = test_store_state(f->store);
    otok_check_init(&result, sizeof result);
    otok_watch_init(&watch, sizeof watch);
    watch.user = &told;
    watch.finding = on_finding;
    int rc = otok_service_check(f->service, &watch, &result, &err);
    ck_assert_msg(rc == OTOK_OK, "%s", err.message);
    ck_assert_uint_eq(result.findings, told.n);
    ck_assert_uint_eq(result.mended, 0);
    ck_assert_uint_eq(result.sessions, f->realm != NULL ? 1 : SESSIONS);
    ck_assert_uint_eq(test_store_state(f->store), state);
    ck_assert_ptr_null(strstr(told.last, "otok_"));
    return told;
}

START_TEST(what_the_library_wrote_is_what_it_should_be)
{
    realm r = begin(_i);
    otok_check result;
    findings told = check_service(r.f);
    ck_assert_msg(told.n == 0, "%s", told.last);
    ck_assert_uint_eq(check_service(r.elsewhere).n, 0);
    otok_check_init(&result, sizeof result);
    test_assert_code(OTOK_OK, otok_service_check(r.f->service, NULL, &result, NULL));
    ck_assert_uint_ge(result.records, SESSIONS + 4);                   /* cutoff, consent, once key, events */
    ck_assert_uint_lt(result.records, test_count_records(r.f->store)); /* and nothing of another realm */
    end(&r);
}
END_TEST

/* ---------------------------------------------------------------------------------------------------- sessions */

/* Each edits alice's record; `other` is mallory's. */
typedef void edit(otok_record *record, const otok_record *other);

static otok_index_key *keys_of(otok_record *record)
{
    return (otok_index_key *)(uintptr_t)record->keys; /* of a copy, which is ours */
}

static void seal_spoilt(otok_record *record, const otok_record *other)
{
    (void)other;
    ((uint8_t *)(uintptr_t)record->body.data)[10] ^= 1;
}

static void another_subject(otok_record *record, const otok_record *other)
{
    record->subject = other->subject;
}

static void another_client(otok_record *record, const otok_record *other)
{
    (void)other;
    record->client = otok_str_of("tv");
}

static void earlier(otok_record *record, const otok_record *other)
{
    (void)other;
    record->created_us--;
}

static void body_of_another(otok_record *record, const otok_record *other)
{
    record->body = other->body;
}

static void body_cut_short(otok_record *record, const otok_record *other)
{
    (void)other;
    record->body.len = 20;
}

static void head_cut_short(otok_record *record, const otok_record *other)
{
    (void)other;
    record->head.len--;
}

/* The seal does not hold the index keys: who edits them hides a session from a list, or from a revocation. */
static void keys_of_another(otok_record *record, const otok_record *other)
{
    record->keys = other->keys;
    record->nkeys = other->nkeys;
}

static void one_key_of_another(otok_record *record, const otok_record *other)
{
    for (size_t i = 0; i < record->nkeys; i++) {
        if (record->keys[i].index == OTOK_INDEX_SUBJECT)
            memcpy(keys_of(record)[i].digest, other->keys[i].digest, sizeof other->keys[i].digest);
    }
}

static void one_key_less(otok_record *record, const otok_record *other)
{
    (void)other;
    record->nkeys--;
}

static void no_keys(otok_record *record, const otok_record *other)
{
    (void)other;
    record->nkeys = 0;
}

static void one_link_less(otok_record *record, const otok_record *other)
{
    (void)other;
    record->nlinks--;
}

static edit *const edits[] = {seal_spoilt,     another_subject, another_client, earlier,
                              body_of_another, body_cut_short,  head_cut_short, keys_of_another,
                              one_key_less,    no_keys,         one_link_less,  one_key_of_another};

static void edit_of(realm *r, edit *change)
{
    otok_record *record = test_session_record(r->f->store, r->held.session_id);
    otok_record *other = test_session_record(r->f->store, r->other.session_id);
    const void *keys = record->keys;
    change(record, other);
    test_put_back(r->f->store, record);
    record->keys = keys;
    otok_record_free(record);
    otok_record_free(other);
}

START_TEST(a_session_that_was_edited_is_found_and_named)
{
    realm r = begin(_i % 2);
    edit_of(&r, edits[_i / 2]);
    findings told = check_service(r.f);
    ck_assert_uint_eq(told.n, 1);
    ck_assert_msg(strstr(told.last, r.held.session_id) != NULL, "%s", told.last);
    ck_assert_uint_eq(check_service(r.elsewhere).n, 0);
    end(&r);
}
END_TEST

/* ---------------------------------------------------------------------------------------------------- keys */

static void change_key(test_fixture *f, int32_t step, const char *kid)
{
    otok_keyring *next = NULL;
    otok_key_change change;
    otok_key_change_init(&change, sizeof change);
    change.step = step;
    change.use = OTOK_KEY_TOKEN;
    change.kid = kid;
    test_assert_code(OTOK_OK, otok_keyring_change(f->keyring, &change, &next, NULL));
    test_assert_code(OTOK_OK, otok_service_set_keyring(f->service, next, NULL));
    otok_keyring_free(f->keyring);
    f->keyring = next;
}

static char *active_kid(const otok_keyring *keyring)
{
    otok_key_list *list = NULL;
    char *kid = NULL;
    test_assert_code(OTOK_OK, otok_keyring_keys(keyring, &list, NULL));
    for (size_t i = 0; i < list->count; i++) {
        if (list->keys[i]->use == OTOK_KEY_TOKEN && list->keys[i]->state == OTOK_KEY_ACTIVE)
            kid = strdup(list->keys[i]->kid);
    }
    otok_key_list_free(list);
    return kid;
}

/* K3: a retired key is as good as any; one that was dropped too early is found before anybody is logged out. */
START_TEST(sessions_under_a_key_that_is_gone_are_found)
{
    realm r = begin(_i);
    char *old = active_kid(r.f->keyring);
    change_key(r.f, OTOK_KEY_STEP_ADD, NULL);
    change_key(r.f, OTOK_KEY_STEP_ACTIVATE, NULL);
    ck_assert_uint_eq(check_service(r.f).n, 0);
    change_key(r.f, OTOK_KEY_STEP_DROP, old);
    ck_assert_uint_eq(check_service(r.f).n, SESSIONS);
    free(old);
    end(&r);
}
END_TEST

/* ---------------------------------------------------------------------------------------------------- what is no session */

typedef struct wanted {
    uint32_t kind;
    otok_record *record;
} wanted;

static int keep_kind(void *arg, const otok_record *record)
{
    wanted *w = arg;
    if (record->kind != w->kind || !otok_str_eq(record->realm, otok_str_of(TEST_ISSUER)))
        return 0;
    w->record = otok_record_copy(record);
    return 1;
}

static otok_record *one_of(otok_store *store, uint32_t kind)
{
    wanted w = {.kind = kind};
    otok_scan scan = {.size = sizeof scan, .limit = OTOK_MAX_FETCH};
    test_assert_code(OTOK_OK, otok_store_scan(store, &scan, keep_kind, &w, NULL));
    ck_assert_msg(w.record != NULL, "no record of kind %u", kind);
    return w.record;
}

START_TEST(what_is_around_sessions_is_looked_at_too)
{
    static const uint32_t kinds[] = {OTOK_RECORD_CUTOFF, OTOK_RECORD_PAIR, OTOK_RECORD_ONCE, OTOK_RECORD_EVENT};
    char id[OTOK_SESSION_ID_CHARS + 1];
    realm r = begin(_i % 2);
    otok_record *record = one_of(r.f->store, kinds[_i / 2]);
    otok_session_id_print(&record->id, id);
    otok_str head = record->head, body = record->body;
    record->head.len = head.len != 0 ? head.len - 1 : 0; /* of marks; the others have none */
    record->body.len = body.len != 0 ? body.len - 1 : 0;
    test_put_back(r.f->store, record);
    findings told = check_service(r.f);
    ck_assert_uint_eq(told.n, 1);
    ck_assert_msg(strstr(told.last, id) != NULL, "%s", told.last);
    record->head = head;
    record->body = body;
    test_put_back(r.f->store, record);
    ck_assert_uint_eq(check_service(r.f).n, 0);
    otok_record_free(record);
    end(&r);
}
END_TEST

/* ---------------------------------------------------------------------------------------------------- the call */

static int end_at_once(void *user, uint64_t done, uint64_t total)
{
    (void)total;
    *(uint64_t *)user = done;
    return 1;
}

START_TEST(progress_and_trouble_end_a_check)
{
    uint64_t done = 0;
    otok_watch watch;
    otok_check result;
    test_watch store;
    test_fixture *f = test_open(_i);
    test_plain_policy(f);
    test_reopen_service(f);
    for (int i = 0; i < 1100; i++)
        (void)test_hold(f, "alice", "phone");
    otok_watch_init(&watch, sizeof watch);
    otok_check_init(&result, sizeof result);
    watch.progress = end_at_once;
    watch.user = &done;
    test_assert_code(OTOK_E_CALLBACK, otok_service_check(f->service, &watch, &result, NULL));
    ck_assert_uint_gt(done, 0);
    ck_assert_uint_lt(done, 1100);
    test_watch_fixture(&store, f);
    test_watch_fail(&store, 2, TEST_CALL_SCAN, OTOK_E_IO, false);
    test_assert_code(OTOK_E_IO, otok_service_check(f->service, NULL, &result, NULL));
    ck_assert_uint_eq(result.findings, 0); /* trouble is no finding */
    test_close(f);
}
END_TEST

START_TEST(calls_that_are_wrong_are_refused)
{
    test_fixture *f = test_open(_i);
    otok_watch no_watch = {.size = 0};
    otok_check no_result = {.size = 0};
    test_assert_code(OTOK_E_INVALID, otok_service_check(NULL, NULL, NULL, NULL));
    test_assert_code(OTOK_E_INVALID, otok_service_check(f->service, &no_watch, NULL, NULL));
    test_assert_code(OTOK_E_INVALID, otok_service_check(f->service, NULL, &no_result, NULL));
    test_assert_code(OTOK_OK, otok_service_check(f->service, NULL, NULL, NULL));
    test_close(f);
}
END_TEST

static void add(TCase *tc)
{
    const TTest *const tests[] = {what_the_library_wrote_is_what_it_should_be,
                                  sessions_under_a_key_that_is_gone_are_found, progress_and_trouble_end_a_check,
                                  calls_that_are_wrong_are_refused};
    test_add_on_both(tc, tests, sizeof tests / sizeof tests[0]);
    tcase_add_loop_test(tc, a_session_that_was_edited_is_found_and_named, 0, 2 * sizeof edits / sizeof edits[0]);
    tcase_add_loop_test(tc, what_is_around_sessions_is_looked_at_too, 0, 2 * 4);
}

int main(void)
{
    return test_main("service_check", add);
}
