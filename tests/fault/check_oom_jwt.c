/*
 * check_oom_jwt.c - memory runs short while a host's statements are signed and read (K1), and while sessions without a refresh token
 * begin (I3, I5, I8).
 *
 * SPDX-License-Identifier: MIT
 */
/* link: -Wl,--wrap=otok_malloc,--wrap=otok_calloc,--wrap=otok_realloc */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "support/claims.h"
#include "support/oom_allocators.h"

static const char SCOPE[] = "openid profile";
static const char CLAIMS[] =
    "{\"aud\":\"phone\",\"events\":{\"http://schemas.openid.net/event/backchannel-logout\":{}}}";

/* ------------------------------------------------------------------------------------------------------- statements */

static int call_sign(oom_stage *s)
{
    return otok_jwt_sign(s->f->service, "logout+jwt", CLAIMS, &s->text, &s->err);
}

static void signed_is_whole(oom_stage *s)
{
    cJSON *claims = test_jwt_claims(s->f, s->text); /* whose signature is verified */
    test_expect_text(claims, "iss", TEST_ISSUER);
    test_expect_text(claims, "aud", "phone");
    ck_assert_ptr_nonnull(cJSON_GetObjectItemCaseSensitive(claims, "events"));
    cJSON_Delete(claims);
}

static void sign_one(oom_stage *s)
{
    otok_string_free(s->expected);
    s->expected = NULL;
    test_assert_code(OTOK_OK, otok_jwt_sign(s->f->service, "logout+jwt", CLAIMS, &s->expected, &s->err));
}

static int call_verify(oom_stage *s)
{
    return otok_jwt_verify(s->f->service, s->expected, "application/logout+jwt", &s->text, &s->err);
}

static void verified_is_whole(oom_stage *s)
{
    cJSON *claims = test_json(s->text);
    test_expect_text(claims, "iss", TEST_ISSUER);
    test_expect_text(claims, "aud", "phone");
    cJSON_Delete(claims);
}

/* Under a key that another process has made active: the file has to be read. */
static void open_from_file(oom_stage *s)
{
    oom_save_keyring(s);
    otok_keyring_free(s->f->keyring);
    test_assert_code(OTOK_OK, otok_keyring_load(s->path, NULL, &s->f->keyring, &s->err));
    test_reopen_service(s->f);
}

static void change_file(oom_stage *s, int32_t step, otok_keyring **out)
{
    otok_key_change change;
    otok_key_change_init(&change, sizeof change);
    change.step = step;
    change.use = OTOK_KEY_SIGNING;
    test_assert_code(OTOK_OK, otok_keyring_change_file(s->path, NULL, &change, out, &s->err));
}

static void sign_once(oom_stage *s)
{
    otok_config config;
    otok_service *other = NULL;
    otok_keyring *keyring = NULL;
    change_file(s, OTOK_KEY_STEP_ADD, NULL);
    change_file(s, OTOK_KEY_STEP_ACTIVATE, &keyring);
    otok_config_init(&config, sizeof config);
    config.issuer = TEST_ISSUER;
    test_assert_code(OTOK_OK, otok_service_open(&config, s->f->store, keyring, &other, &s->err));
    test_assert_code(OTOK_OK, otok_jwt_sign(other, "logout+jwt", CLAIMS, &s->expected, &s->err));
    otok_service_close(other);
    otok_keyring_free(keyring);
}

/* Each time this process knows nothing of that key. */
static void sign_elsewhere(oom_stage *s)
{
    if (s->expected == NULL)
        sign_once(s);
    test_reopen_service(s->f);
}

/* -------------------------------------------------------------------------------- sessions without a refresh token */

static otok_grant plain_grant(void)
{
    otok_grant grant = test_grant("alice", "phone", SCOPE);
    grant.refresh_token = OTOK_OFF;
    return grant;
}

static void limit_to_one(oom_stage *s)
{
    s->f->policy.session_limit = 1;
    test_reopen_service(s->f);
}

static int call_issue(oom_stage *s)
{
    otok_grant grant = plain_grant();
    return otok_issue(s->f->service, &grant, &s->tokens, &s->err);
}

static void plain_is_whole(oom_stage *s)
{
    ck_assert_ptr_null(s->tokens->offline_token);
    cJSON *json = test_json(s->tokens->response_json);
    test_expect_text(json, "access_token", s->tokens->access_token);
    test_expect_text(json, "id_token", s->tokens->id_token);
    test_expect_text(json, "scope", SCOPE);
    test_expect_absent(json, "refresh_token");
    cJSON_Delete(json);
    ck_assert(test_has_session(s->f, s->tokens->session_id));
}

/* The one that has a token is there, whether the other was issued or not. */
static void issued_beside(oom_stage *s)
{
    plain_is_whole(s);
    ck_assert(test_has_session(s->f, s->held.session_id));
    ck_assert_uint_eq(test_count_events(s->f, OTOK_EVENT_ISSUED), 1);
}

static void held_is_there(oom_stage *s)
{
    ck_assert_ptr_null(s->tokens);
    ck_assert(test_has_session(s->f, s->held.session_id));
}

static int call_issue_once(oom_stage *s)
{
    otok_grant grant = plain_grant();
    grant.once_key = s->name;
    return otok_issue(s->f->service, &grant, &s->tokens, &s->err);
}

static void use_key(oom_stage *s)
{
    (void)snprintf(s->name, sizeof s->name, "name-%d", ++s->number);
    test_assert_code(OTOK_OK, call_issue_once(s));
    otok_tokens_free(s->tokens);
    s->tokens = NULL;
    test_forget_events(s->f);
}

static void once_again_is_whole(oom_stage *s)
{
    plain_is_whole(s);
    ck_assert_int_eq(s->tokens->outcome, OTOK_OUTCOME_RETRIED);
}

/* ------------------------------------------------------------------------------------------------------------ tests */

static const oom_scenario scenarios[] = {
    {"jwt_sign", oom_prepare_nothing, call_sign, signed_is_whole, .done = OTOK_OK},
    {"jwt_verify", sign_one, call_verify, verified_is_whole, .done = OTOK_OK},
    {"jwt_verify, signed elsewhere", sign_elsewhere, call_verify, verified_is_whole, .open = open_from_file},
    {"issue without refresh token, beside one with", oom_hold_fresh, call_issue, issued_beside, .open = limit_to_one,
     .is_sound = held_is_there},
    {"issue without refresh token, again", use_key, call_issue_once, once_again_is_whole, .done = OTOK_OK},
};

static void add(TCase *tc)
{
    oom_add(tc, OOM_MEMORY, scenarios, sizeof scenarios / sizeof scenarios[0]);
}

int main(void)
{
    return oom_main("out of memory while statements are signed", add, EVERY_ALLOCATION);
}
