/*
 * check_update.c - Q5: the label and the notes of a session are changed, and nothing else of it is.
 *
 * SPDX-License-Identifier: MIT
 */
#include "support/ask.h"
#include "support/node.h"
#include "support/records.h"
#include "support/watch.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int update(test_fixture *f, const char *session_id, const char *label, const char *notes, otok_error *err)
{
    otok_session_change change;
    otok_session_change_init(&change, sizeof change);
    change.session_id = session_id;
    change.label = label;
    change.notes = notes;
    return otok_session_update(f->service, &change, err);
}

static void must_update(test_fixture *f, const char *session_id, const char *label, const char *notes)
{
    otok_error err;
    int rc = update(f, session_id, label, notes, &err);
    ck_assert_msg(rc == OTOK_OK, "%s: %s", otok_error_name(rc), err.message);
}

static otok_session *get(test_fixture *f, const char *session_id)
{
    otok_error err;
    otok_session *session = NULL;
    test_assert_code(OTOK_OK, otok_session_get(f->service, session_id, &session, &err));
    return session;
}

static void assert_session(test_fixture *f, const char *session_id, const char *label, const char *notes)
{
    otok_session *session = get(f, session_id);
    ck_assert_pstr_eq(session->label, label);
    ck_assert_pstr_eq(session->notes, notes);
    otok_session_free(session);
}

/* Q5 */
START_TEST(label_and_notes_are_set_kept_and_taken_away)
{
    static const char notes[] = " {\"a\": 1.50,\n\t\"b\":[true,\"\\u00e9\"]} ";
    test_fixture *f = test_open(_i);
    otok_grant grant = test_grant("alice", "phone", "offline_access");
    grant.label = "of the grant";
    test_held held = test_hold_grant(f, &grant);
    assert_session(f, held.session_id, "of the grant", NULL);
    must_update(f, held.session_id, "Téléphone", NULL);
    assert_session(f, held.session_id, "Téléphone", NULL);
    must_update(f, held.session_id, NULL, notes); /* kept as the text that came */
    assert_session(f, held.session_id, "Téléphone", notes);
    must_update(f, held.session_id, NULL, NULL);
    test_rotate(f, &held, NULL);
    test_restart(f);
    assert_session(f, held.session_id, "Téléphone", notes);
    must_update(f, held.session_id, "", NULL);
    assert_session(f, held.session_id, NULL, notes);
    must_update(f, held.session_id, "new", "");
    assert_session(f, held.session_id, "new", NULL);
    test_assert_code(OTOK_OK, test_refresh_code(f, held.token, NULL));
    test_close(f);
}
END_TEST

/* Q5: nothing else is: neither last use nor generation, nor when the sweeper looks, nor what it is found by */
START_TEST(update_changes_nothing_else)
{
    test_fixture *f = test_open(_i);
    otok_peer peer = {.size = sizeof peer, .ip = "192.0.2.1", .user_agent = "App/1"};
    otok_grant grant = test_grant("alice", "phone", "openid offline_access profile");
    grant.claims = "{\"dept\":7}";
    grant.act = "{\"sub\":\"admin\"}";
    grant.sid = "sso";
    grant.peer = &peer;
    test_held held = test_hold_grant(f, &grant);
    test_rotate(f, &held, NULL);
    otok_record *before = test_session_record(f->store, held.session_id);
    test_forget_events(f);
    test_advance_s(f, 3600);
    must_update(f, held.session_id, "label", "{\"n\":1}");
    otok_record *after = test_session_record(f->store, held.session_id);
    ck_assert_uint_eq(f->nevents, 0);
    ck_assert_uint_eq(after->version, before->version + 1);
    ck_assert_int_eq(after->created_us, before->created_us);
    ck_assert_int_eq(after->sweep_us, before->sweep_us);
    ck_assert(otok_str_eq(after->head, before->head));
    ck_assert_uint_eq(after->nkeys, before->nkeys);
    ck_assert_uint_eq(after->nlinks, before->nlinks);
    must_update(f, held.session_id, "", "");
    otok_record *undone = test_session_record(f->store, held.session_id);
    ck_assert(otok_str_eq(undone->body, before->body)); /* the same to the byte, seal and all */
    must_update(f, held.session_id, "", NULL);
    must_update(f, held.session_id, NULL, NULL);
    otok_record *same = test_session_record(f->store, held.session_id);
    ck_assert_uint_eq(same->version, undone->version); /* what it has already is not written */
    otok_record_free(before);
    otok_record_free(after);
    otok_record_free(undone);
    otok_record_free(same);
    test_close(f);
}
END_TEST

/* Q5: a JSON object of at most 2 KiB, a label of at most 512 bytes */
START_TEST(changes_that_make_no_sense_are_invalid)
{
    static char label[514], notes[2050];
    memset(label, 'x', 513);
    memset(notes, ' ', 2049);
    memcpy(notes, "{}", 2);
    test_fixture *f = test_open(TEST_MEMORY);
    test_held held = test_hold(f, NULL, NULL);
    const struct {
        const char *session_id, *label, *notes, *field;
    } wrong[] = {
        {NULL, "x", NULL, "session_id"},
        {"", "x", NULL, "session_id"},
        {"short", "x", NULL, "session_id"},
        {held.session_id, label, NULL, "label"},
        {held.session_id, "a\nb", NULL, "label"},
        {held.session_id, "\xff", NULL, "label"},
        {held.session_id, NULL, notes, "notes"},
        {held.session_id, NULL, "[]", "notes"},
        {held.session_id, NULL, "\"text\"", "notes"},
        {held.session_id, NULL, "{\"a\":1,}", "notes"},
        {held.session_id, NULL, "{\"a\":1,\"a\":2}", "notes"},
        {held.session_id, NULL, "{} {}", "notes"},
        {held.session_id, NULL, " ", "notes"},
        {held.session_id, "good", "{\"a\":\"\xff\"}", "notes"},
    };
    otok_error err;
    uint64_t before = test_store_state(f->store);
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        int rc = update(f, wrong[i].session_id, wrong[i].label, wrong[i].notes, &err);
        ck_assert_msg(rc == OTOK_E_INVALID, "%zu: %s", i, otok_error_name(rc));
        ck_assert_msg(strstr(err.message, wrong[i].field) != NULL, "%zu: %s", i, err.message);
    }
    test_assert_code(OTOK_E_INVALID, otok_session_update(f->service, NULL, &err));
    test_assert_code(OTOK_E_INVALID, otok_session_update(NULL, NULL, &err));
    ck_assert(test_store_state(f->store) == before);
    label[512] = notes[2048] = '\0';
    must_update(f, held.session_id, label, notes);
    assert_session(f, held.session_id, label, notes);
    test_close(f);
}
END_TEST

/* Q5 */
START_TEST(unknown_session_is_not_found_and_a_dead_one_can_be_named)
{
    otok_error err;
    test_fixture *f = test_open(_i), *other = test_open_node(f, "other");
    test_held held = test_hold(f, NULL, NULL);
    test_assert_code(OTOK_E_NOT_FOUND, update(other, held.session_id, "x", NULL, &err));
    test_assert_code(OTOK_E_NOT_FOUND, update(f, "AAAAAAAAAAAAAAAAAAAAAA", "x", NULL, &err));
    test_advance_s(f, 40 * (int64_t)TEST_DAY_S);
    must_update(f, held.session_id, "dead", NULL);
    assert_session(f, held.session_id, "dead", NULL);
    test_assert_code(OTOK_OK, otok_revoke_session(f->service, held.session_id, &err));
    test_assert_code(OTOK_E_NOT_FOUND, update(f, held.session_id, "x", NULL, &err));
    test_close(other);
    test_close(f);
}
END_TEST

/* K7: an update must not make a record good that someone has edited */
START_TEST(record_that_was_tampered_with_is_not_sealed_anew)
{
    otok_error err;
    test_fixture *f = test_open(_i);
    test_held held = test_hold(f, "alice", NULL);
    otok_record *record = test_session_record(f->store, held.session_id);
    otok_record edited = *record;
    edited.subject = otok_str_of("mallory");
    edited.version++;
    test_assert_code(OTOK_OK, otok_service_write(f->service, OTOK_WRITE_PUT, record->version, &edited, &err));
    uint64_t before = test_store_state(f->store);
    test_assert_code(OTOK_E_TAMPERED, update(f, held.session_id, "x", NULL, &err));
    ck_assert(test_store_state(f->store) == before);
    test_assert_code(OTOK_E_TAMPERED, test_refresh_code(f, held.token, NULL));
    otok_record_free(record);
    test_close(f);
}
END_TEST

static void rotate_token_keys(test_fixture *f)
{
    for (int32_t step = OTOK_KEY_STEP_ADD; step <= OTOK_KEY_STEP_ACTIVATE; step++) {
        otok_error err;
        otok_keyring *next = NULL;
        otok_key_change change;
        otok_key_change_init(&change, sizeof change);
        change.step = step;
        change.use = OTOK_KEY_TOKEN;
        test_assert_code(OTOK_OK, otok_keyring_change(f->keyring, &change, &next, &err));
        otok_keyring_free(f->keyring);
        f->keyring = next;
    }
    test_reopen_service(f);
}

/* K3, Q5: it is sealed under the key that is active now, and good */
START_TEST(update_after_a_rotation_of_keys_seals_under_the_new_one)
{
    otok_error err;
    otok_id id;
    otok_loaded session;
    test_fixture *f = test_open(_i);
    test_held held = test_hold(f, NULL, NULL);
    rotate_token_keys(f);
    must_update(f, held.session_id, "new", NULL);
    ck_assert(otok_session_id_parse(held.session_id, &id));
    test_assert_code(OTOK_OK, otok_session_load(f->service, &id, &session, &err));
    ck_assert_uint_eq(session.seal_key_id, otok_service_now_keys(f->service)->active->id);
    otok_loaded_free(&session);
    test_assert_code(OTOK_OK, test_refresh_code(f, held.token, NULL));
    assert_session(f, held.session_id, "new", NULL);
    test_close(f);
}
END_TEST

/* ------------------------------------------------------------------------------------------------------------- at once */

typedef struct meanwhile {
    test_fixture *node;
    test_held *held;
    otok_tokens *tokens;
} meanwhile;

static void refresh_meanwhile(void *arg)
{
    meanwhile *m = arg;
    otok_error err;
    otok_peer peer = {.size = sizeof peer, .ip = "2001:db8::7", .user_agent = "Meanwhile/1"};
    otok_refresh_request request = test_refresh_request(m->held->token, NULL);
    request.peer = &peer;
    test_assert_code(OTOK_OK, otok_refresh(m->node->service, &request, &m->tokens, &err));
}

static void update_meanwhile(void *arg)
{
    meanwhile *m = arg;
    must_update(m->node, m->held->session_id, "meanwhile", "{\"k\":1}");
}

static void assert_nothing_was_lost(test_fixture *f, const meanwhile *m)
{
    otok_session *session = get(f, m->held->session_id);
    ck_assert_uint_eq(session->generation, 1);
    ck_assert_str_eq(session->label, "meanwhile");
    ck_assert_str_eq(session->notes, "{\"k\":1}");
    ck_assert_str_eq(session->last_ip, "2001:db8::7");
    ck_assert_str_eq(session->last_user_agent, "Meanwhile/1");
    ck_assert_int_eq(session->last_used_us, f->now_us);
    otok_session_free(session);
    test_assert_code(OTOK_OK, test_refresh_code(f, m->tokens->offline_token, NULL));
}

/* Q5, R6: whichever of the two commits first */
START_TEST(refresh_at_the_same_time_loses_nothing_of_either)
{
    for (int updating = 0; updating < 2; updating++) {
        test_watch watch;
        test_fixture *f = test_open(_i);
        test_held held = test_hold(f, NULL, NULL);
        test_advance_s(f, 3600);
        test_fixture *node = test_open_node(f, NULL);
        meanwhile m = {.node = node, .held = &held};
        test_watch_fixture(&watch, f);
        test_watch_step_in(&watch, 1, TEST_CALL_COMMIT, updating ? refresh_meanwhile : update_meanwhile, &m);
        meanwhile own = {.node = f, .held = &held};
        if (updating)
            update_meanwhile(&own);
        else
            refresh_meanwhile(&own);
        ck_assert(watch.reached);
        if (!updating)
            m.tokens = own.tokens;
        assert_nothing_was_lost(f, &m);
        otok_tokens_free(m.tokens);
        test_close(node);
        test_close(f);
    }
}
END_TEST

static void revoke_meanwhile(void *arg)
{
    meanwhile *m = arg;
    otok_error err;
    test_assert_code(OTOK_OK, otok_revoke_session(m->node->service, m->held->session_id, &err));
}

/* V5: a racing update brings nothing back */
START_TEST(session_that_is_revoked_meanwhile_stays_gone)
{
    otok_error err;
    test_watch watch;
    test_fixture *f = test_open(_i), *node = test_open_node(f, NULL);
    test_held held = test_hold(f, NULL, NULL);
    meanwhile m = {.node = node, .held = &held};
    test_watch_fixture(&watch, f);
    test_watch_step_in(&watch, 1, TEST_CALL_COMMIT, revoke_meanwhile, &m);
    test_assert_code(OTOK_E_NOT_FOUND, update(f, held.session_id, "x", NULL, &err));
    ck_assert(watch.reached && !test_has_session(f, held.session_id));
    test_close(node);
    test_close(f);
}
END_TEST

/* Q5: errors of the store are passed on, the session as it was */
START_TEST(store_that_fails_changes_nothing)
{
    otok_error err;
    test_watch watch;
    test_fixture *f = test_open(TEST_MEMORY);
    test_held held = test_hold(f, NULL, NULL);
    test_watch_fixture(&watch, f);
    for (uint64_t at = 1;; at++) {
        test_watch_fail(&watch, at, TEST_CALL_ANY, OTOK_E_IO, false);
        int rc = update(f, held.session_id, "x", NULL, &err);
        bool reached = watch.reached;
        test_watch_reset(&watch);
        test_assert_code(reached ? OTOK_E_IO : OTOK_OK, rc);
        if (!reached)
            break;
        assert_session(f, held.session_id, NULL, NULL);
    }
    assert_session(f, held.session_id, "x", NULL);
    test_close(f);
}
END_TEST

/* --------------------------------------------------------------------------------------------------------- the greatest */

static char *repeat(const char *before, size_t n, const char *after)
{
    char *text = malloc(strlen(before) + n + strlen(after) + 1);
    size_t len = strlen(before);
    memcpy(text, before, len);
    memset(text + len, 'x', n);
    memcpy(text + len + n, after, strlen(after) + 1);
    return text;
}

static char *greatest_scope(void)
{
    char *scope = repeat("", 4096, "");
    memcpy(scope, "offline_access ", 15);
    for (size_t i = 15; i < 4096; i++)
        scope[i] = i % 200 == 0 ? ' ' : (char)('!' + 2 + (i / 200 + i) % 50);
    for (size_t i = 15; i < 4096; i++) {
        if (scope[i] == '"' || scope[i] == '\\')
            scope[i] = 'x';
    }
    return scope;
}

/* Q5: the greatest label and notes fit beside the greatest of everything, and leave room for what a refresh writes */
START_TEST(greatest_notes_never_stand_in_the_way_of_a_refresh)
{
    enum { MANY = 16 };
    otok_error err;
    const char *audience[MANY], *amr[MANY];
    test_fixture *f = test_open(TEST_MEMORY);
    char *name = repeat("", 255, ""), *resource = repeat("https:", 1018, ""), *text = repeat("", 512, "");
    char *claims = repeat("{\"a\":\"", 16384 - 8, "\"}"), *act = repeat("{\"sub\":\"", 4096 - 10, "\"}");
    char *details = repeat("[{\"type\":\"", 15000, "\"}]"), *notes = repeat("{\"n\":\"", 2040, "\"}"),
         *ip = repeat("", 64, ""), *scope = greatest_scope();
    otok_peer peer = {.size = sizeof peer, .ip = ip, .user_agent = text};
    otok_grant grant = test_grant(name, name, scope);
    for (size_t i = 0; i < MANY; i++) {
        audience[i] = resource;
        amr[i] = name;
    }
    grant.sub = grant.sid = grant.acr = name;
    grant.audience = audience;
    grant.amr = amr;
    grant.audience_count = grant.amr_count = MANY;
    grant.claims = claims;
    grant.authorization_details = details;
    grant.act = act;
    grant.label = text;
    grant.peer = &peer;
    f->policy.access_token = OTOK_OFF;
    test_reopen_service(f);
    test_held held = test_hold_grant(f, &grant);
    must_update(f, held.session_id, text, notes);
    test_advance_s(f, 3600);
    text[0] = ip[0] = 'y'; /* from elsewhere */
    otok_tokens *tokens = NULL;
    otok_refresh_request request = test_refresh_request(held.token, name);
    request.peer = &peer;
    test_assert_code(OTOK_OK, otok_refresh(f->service, &request, &tokens, &err));
    otok_tokens_free(tokens);
    otok_session *session = get(f, held.session_id);
    ck_assert_str_eq(session->last_user_agent, text);
    ck_assert_str_eq(session->notes, notes);
    otok_session_free(session);
    char *const texts[] = {notes, name, resource, text, claims, act, details, ip, scope};
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
        free(texts[i]);
    test_close(f);
}
END_TEST

static void add_tests(TCase *tc)
{
    const TTest *const on_both[] = {label_and_notes_are_set_kept_and_taken_away,
                                    update_changes_nothing_else,
                                    unknown_session_is_not_found_and_a_dead_one_can_be_named,
                                    record_that_was_tampered_with_is_not_sealed_anew,
                                    update_after_a_rotation_of_keys_seals_under_the_new_one,
                                    refresh_at_the_same_time_loses_nothing_of_either,
                                    session_that_is_revoked_meanwhile_stays_gone};
    test_add_on_both(tc, on_both, sizeof on_both / sizeof *on_both);
    tcase_add_test(tc, changes_that_make_no_sense_are_invalid);
    tcase_add_test(tc, store_that_fails_changes_nothing);
    tcase_add_test(tc, greatest_notes_never_stand_in_the_way_of_a_refresh);
}

int main(void)
{
    return test_main("update", add_tests);
}
