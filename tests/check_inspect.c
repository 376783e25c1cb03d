/*
 * check_inspect.c - what an offline token says of itself to an administrator: true where its MAC is good, and never its handle (K6).
 *
 * SPDX-License-Identifier: MIT
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "support/ask.h"
#include "support/node.h"
#include "support/watch.h"

static otok_token_info inspect(test_fixture *f, const char *token)
{
    otok_token_info info;
    otok_error err = {0};
    otok_token_info_init(&info, sizeof info);
    int rc = otok_token_inspect(f->service, token, &info, &err);
    ck_assert_msg(rc == OTOK_OK, "%s", err.message);
    ck_assert_uint_eq(info.size, sizeof info);
    return info;
}

static int code_of(test_fixture *f, const char *token)
{
    otok_token_info info;
    otok_error err = {0};
    otok_token_info_init(&info, sizeof info);
    int rc = otok_token_inspect(f->service, token, &info, &err);
    if (rc != OTOK_OK && strlen(token) > 20)
        ck_assert_ptr_null(strstr(err.message, token + 10));
    return rc;
}

START_TEST(a_token_tells_its_session_its_generation_and_its_key)
{
    test_fixture *f = test_open(_i);
    test_held held = test_hold(f, "alice", "phone");
    int64_t issued_us = f->now_us;
    for (uint32_t generation = 0; generation < 3; generation++) {
        otok_token_info info = inspect(f, held.token);
        ck_assert_int_eq(info.genuine, 1);
        ck_assert_int_eq(info.key_state, OTOK_KEY_ACTIVE);
        ck_assert_uint_eq(info.token_id, otok_keyring_token(f->keyring)->id);
        ck_assert_uint_eq(info.generation, generation);
        ck_assert_int_le(llabs(info.issued_us - issued_us), OTOK_US_PER_S); /* of the session, not of the rotation */
        ck_assert_str_eq(info.session_id, held.session_id);
        test_rotate(f, &held, "phone");
    }
    test_close(f);
}
END_TEST

/* It need not be live, and the store is not asked. */
START_TEST(a_token_that_ended_is_genuine_still)
{
    test_watch watch;
    test_fixture *f = test_open(_i);
    test_held held = test_hold(f, "alice", "phone");
    test_assert_code(OTOK_OK, otok_revoke_session(f->service, held.session_id, NULL));
    test_watch_fixture(&watch, f);
    ck_assert_int_eq(inspect(f, held.token).genuine, 1);
    ck_assert_uint_eq(watch.calls, 0);
    test_close(f);
}
END_TEST

START_TEST(every_other_spelling_is_a_forgery_or_no_token)
{
    test_fixture *f = test_open(_i);
    test_held held = test_hold(f, "alice", "phone");
    size_t forgeries = 0;
    for (size_t i = 0; i < strlen(held.token); i++) {
        char token[OTOK_TOKEN_CHARS + 1];
        otok_token_info info = {0};
        memcpy(token, held.token, sizeof token);
        token[i] = token[i] == 'A' ? 'B' : 'A';
        otok_token_info_init(&info, sizeof info);
        int rc = otok_token_inspect(f->service, token, &info, NULL);
        ck_assert_msg(rc == OTOK_OK || rc == OTOK_E_TOKEN_INVALID, "%s", otok_error_name(rc));
        ck_assert_int_eq(info.genuine, 0);
        forgeries += rc == OTOK_OK;
    }
    ck_assert_uint_gt(forgeries, 70); /* all but those that change its form */
    test_close(f);
}
END_TEST

START_TEST(a_token_of_another_realm_or_keyring_is_not_genuine)
{
    test_fixture *f = test_open(_i), *stranger = test_open(TEST_MEMORY), *other = test_open_node(f, "elsewhere");
    test_held held = test_hold(f, "alice", "phone");
    otok_token_info info = inspect(other, held.token);
    ck_assert_int_eq(info.genuine, 0);
    ck_assert_int_eq(info.key_state, OTOK_KEY_ACTIVE); /* the key is the same */
    ck_assert_str_ne(info.session_id, held.session_id);
    ck_assert_int_eq(inspect(stranger, held.token).genuine, 0);
    test_close(other);
    test_close(stranger);
    test_close(f);
}
END_TEST

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

START_TEST(the_state_of_its_key_is_told)
{
    test_fixture *f = test_open(_i);
    otok_key_list *keys = NULL;
    const char *kid = NULL;
    test_held held = test_hold(f, "alice", "phone");
    uint32_t token_id = inspect(f, held.token).token_id;
    change_key(f, OTOK_KEY_STEP_ADD, NULL);
    change_key(f, OTOK_KEY_STEP_ACTIVATE, NULL);
    otok_token_info info = inspect(f, held.token);
    ck_assert_int_eq(info.key_state, OTOK_KEY_RETIRED);
    ck_assert_int_eq(info.genuine, 1);
    test_assert_code(OTOK_OK, otok_keyring_keys(f->keyring, &keys, NULL));
    for (size_t i = 0; i < keys->count; i++) {
        if (keys->keys[i]->state == OTOK_KEY_RETIRED)
            kid = keys->keys[i]->kid;
    }
    change_key(f, OTOK_KEY_STEP_DROP, kid);
    otok_key_list_free(keys);
    info = inspect(f, held.token);
    ck_assert_int_eq(info.key_state, 0);
    ck_assert_int_eq(info.genuine, 0);
    ck_assert_uint_eq(info.token_id, token_id);
    test_close(f);
}
END_TEST

START_TEST(what_is_no_offline_token_is_refused)
{
    static const char *const texts[] = {"", "otok_", "x", "eyJhbGciOiJub25lIn0.e30.", "otok_AAAA"};
    test_fixture *f = test_open(_i);
    test_held held = test_hold_grant(
        f,
        &(otok_grant){.size = sizeof(otok_grant), .subject = "alice", .client_id = "phone", .scope = "offline_access"});
    char longer[OTOK_TOKEN_CHARS + 2];
    (void)snprintf(longer, sizeof longer, "%sA", held.token);
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++)
        test_assert_code(OTOK_E_TOKEN_INVALID, code_of(f, texts[i]));
    test_assert_code(OTOK_E_TOKEN_INVALID, code_of(f, longer));
    longer[OTOK_TOKEN_CHARS - 1] = '\0';
    test_assert_code(OTOK_E_TOKEN_INVALID, code_of(f, longer));
    ck_assert(held.access_token[0] != '\0');
    test_assert_code(OTOK_E_TOKEN_INVALID, code_of(f, held.access_token));
    test_close(f);
}
END_TEST

START_TEST(calls_that_are_wrong_are_refused)
{
    test_fixture *f = test_open(_i);
    test_held held = test_hold(f, "alice", "phone");
    otok_token_info info = {.size = 0};
    test_assert_code(OTOK_E_INVALID, otok_token_inspect(f->service, held.token, &info, NULL));
    otok_token_info_init(&info, sizeof info);
    test_assert_code(OTOK_E_INVALID, otok_token_inspect(NULL, held.token, &info, NULL));
    test_assert_code(OTOK_E_INVALID, otok_token_inspect(f->service, NULL, &info, NULL));
    test_assert_code(OTOK_E_INVALID, otok_token_inspect(f->service, held.token, NULL, NULL));
    ck_assert_int_eq(info.genuine, 0);
    otok_token_info_init(&info, offsetof(otok_token_info, key_state)); /* as of an older header */
    info.key_state = 77;
    test_assert_code(OTOK_OK, otok_token_inspect(f->service, held.token, &info, NULL));
    ck_assert_int_eq(info.genuine, 1);
    ck_assert_int_eq(info.key_state, 77);
    test_close(f);
}
END_TEST

static void add(TCase *tc)
{
    const TTest *const tests[] = {a_token_tells_its_session_its_generation_and_its_key,
                                  a_token_that_ended_is_genuine_still,
                                  every_other_spelling_is_a_forgery_or_no_token,
                                  a_token_of_another_realm_or_keyring_is_not_genuine,
                                  the_state_of_its_key_is_told,
                                  what_is_no_offline_token_is_refused,
                                  calls_that_are_wrong_are_refused};
    test_add_on_both(tc, tests, sizeof tests / sizeof tests[0]);
}

int main(void)
{
    return test_main("inspect", add);
}
