/*
 * check_oom_keys.c - memory runs short while keys are rotated, by call and by file (K2, K3, K4), while another keyring
 * is put in the place of a service's, and while a key elsewhere signs (K5).  What fails has changed neither keyring nor
 * file nor service.
 *
 * SPDX-License-Identifier: MIT
 */
/* link: -Wl,--wrap=otok_malloc,--wrap=otok_calloc,--wrap=otok_realloc */

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "support/oom_allocators.h"

static const char SCOPE[] = "openid offline_access profile";

static otok_key_change change_of(int32_t step, int32_t use)
{
    otok_key_change change;
    otok_key_change_init(&change, sizeof change);
    change.step = step;
    change.use = use;
    return change;
}

static otok_keyring *changed(const otok_keyring *keyring, const otok_key_change *change)
{
    otok_keyring *out = NULL;
    test_assert_code(OTOK_OK, otok_keyring_change(keyring, change, &out, NULL));
    return out;
}

static size_t count_keys(const otok_keyring *keyring, int32_t use, int32_t state)
{
    otok_key_list *list = NULL;
    size_t n = 0;
    test_assert_code(OTOK_OK, otok_keyring_keys(keyring, &list, NULL));
    for (size_t i = 0; i < list->count; i++)
        n += list->keys[i]->use == use && (state == 0 || list->keys[i]->state == state);
    otok_key_list_free(list);
    return n;
}

/* ------------------------------------------------------------------------------------------------------ a keyring's */

static int call_keys(oom_stage *s)
{
    return otok_keyring_keys(s->f->keyring, &s->keys, &s->err);
}

static void keys_are_told(oom_stage *s)
{
    ck_assert_uint_eq(s->keys->count, 2);
    ck_assert_str_eq(s->keys->keys[0]->kid, otok_keyring_signing(s->f->keyring)->kid);
    ck_assert_int_eq(s->keys->keys[1]->use, OTOK_KEY_TOKEN);
}

static int call_add_signing(oom_stage *s)
{
    otok_key_change change = change_of(OTOK_KEY_STEP_ADD, OTOK_KEY_SIGNING);
    change.algorithm = OTOK_ALG_EDDSA;
    return otok_keyring_change(s->f->keyring, &change, &s->keyring, &s->err);
}

static int call_add_token(oom_stage *s)
{
    otok_key_change change = change_of(OTOK_KEY_STEP_ADD, OTOK_KEY_TOKEN);
    return otok_keyring_change(s->f->keyring, &change, &s->keyring, &s->err);
}

/* RFC 7517 appendix A.1, with `alg`. */
static int call_add_external(oom_stage *s)
{
    otok_key_change change = change_of(OTOK_KEY_STEP_ADD, OTOK_KEY_SIGNING);
    change.jwk = "{\"kty\":\"EC\",\"crv\":\"P-256\",\"alg\":\"ES256\","
                 "\"x\":\"MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4\","
                 "\"y\":\"4Etl6SRW2YiLUrN5vfvVHuhp7x8PxltmWWlbbM4IFyM\"}";
    return otok_keyring_change(s->f->keyring, &change, &s->keyring, &s->err);
}

static void with_next_signing(oom_stage *s)
{
    const otok_key_change add = change_of(OTOK_KEY_STEP_ADD, OTOK_KEY_SIGNING);
    if (s->given_keyring == NULL)
        s->given_keyring = changed(s->f->keyring, &add);
}

static int call_activate(oom_stage *s)
{
    otok_key_change change = change_of(OTOK_KEY_STEP_ACTIVATE, OTOK_KEY_SIGNING);
    return otok_keyring_change(s->given_keyring, &change, &s->keyring, &s->err);
}

static int call_drop(oom_stage *s)
{
    otok_key_change change = change_of(OTOK_KEY_STEP_DROP, OTOK_KEY_SIGNING);
    otok_key_list *list = NULL;
    int rc = otok_keyring_keys(s->given_keyring, &list, &s->err);
    for (size_t i = 0; rc == OTOK_OK && i < list->count; i++) {
        if (list->keys[i]->state == OTOK_KEY_NEXT)
            change.kid = list->keys[i]->kid;
    }
    if (rc == OTOK_OK)
        rc = otok_keyring_change(s->given_keyring, &change, &s->keyring, &s->err);
    otok_key_list_free(list);
    return rc;
}

static void signing_is_next(oom_stage *s)
{
    ck_assert_uint_eq(count_keys(s->keyring, OTOK_KEY_SIGNING, OTOK_KEY_NEXT), 1);
    ck_assert_uint_eq(count_keys(s->keyring, OTOK_KEY_SIGNING, 0), 2);
    ck_assert_uint_eq(count_keys(s->f->keyring, OTOK_KEY_SIGNING, 0), 1);
}

static void token_is_next(oom_stage *s)
{
    ck_assert_uint_eq(count_keys(s->keyring, OTOK_KEY_TOKEN, OTOK_KEY_NEXT), 1);
    ck_assert_uint_eq(count_keys(s->f->keyring, OTOK_KEY_TOKEN, 0), 1);
}

static void next_is_active(oom_stage *s)
{
    ck_assert_uint_eq(count_keys(s->keyring, OTOK_KEY_SIGNING, OTOK_KEY_RETIRED), 1);
    ck_assert_str_ne(otok_keyring_signing(s->keyring)->kid, otok_keyring_signing(s->f->keyring)->kid);
}

static void next_is_dropped(oom_stage *s)
{
    ck_assert_uint_eq(count_keys(s->keyring, OTOK_KEY_SIGNING, 0), 1);
    ck_assert_uint_eq(count_keys(s->given_keyring, OTOK_KEY_SIGNING, 0), 2);
}

/* -------------------------------------------------------------------------------------------------------- a file's */

static int call_change_file(oom_stage *s)
{
    otok_key_change change = change_of(OTOK_KEY_STEP_ADD, OTOK_KEY_TOKEN);
    return otok_keyring_change_file(s->path, NULL, &change, &s->keyring, &s->err);
}

static size_t count_files(const char *path)
{
    char folder[4200];
    size_t n = 0;
    (void)snprintf(folder, sizeof folder, "%s", path);
    *strrchr(folder, '/') = '\0';
    DIR *dir = opendir(folder);
    ck_assert_ptr_nonnull(dir);
    for (const struct dirent *entry = readdir(dir); entry != NULL; entry = readdir(dir))
        n += entry->d_name[0] != '.';
    (void)closedir(dir);
    return n;
}

static size_t count_keys_in_file(oom_stage *s)
{
    otok_keyring *keyring = NULL;
    test_assert_code(OTOK_OK, otok_keyring_load(s->path, NULL, &keyring, &s->err));
    size_t n = count_keys(keyring, OTOK_KEY_TOKEN, 0);
    otok_keyring_free(keyring);
    return n;
}

/* The keyring, and the file that is locked. */
static void file_is_whole(oom_stage *s)
{
    token_is_next(s);
    ck_assert_uint_eq(count_keys_in_file(s), 2);
    ck_assert_uint_eq(count_files(s->path), 2);
    oom_remove_keyring(s);
}

static void file_is_as_before(oom_stage *s)
{
    ck_assert_msg(count_keys_in_file(s) == 1, "%s: the file was changed", oom_where());
    ck_assert_msg(count_files(s->path) <= 2, "%s: a file was left behind", oom_where());
}

/* ----------------------------------------------------------------------------------------------------- a service's */

static const char *signing_kid(oom_stage *s)
{
    return otok_service_now_keys(s->f->service)->signing->kid;
}

static void another_keyring(oom_stage *s)
{
    otok_keyring_free(s->given_keyring);
    const otok_key_change add = change_of(OTOK_KEY_STEP_ADD, OTOK_KEY_SIGNING);
    const otok_key_change activate = change_of(OTOK_KEY_STEP_ACTIVATE, OTOK_KEY_SIGNING);
    otok_keyring *with_next = changed(s->f->keyring, &add);
    s->given_keyring = changed(with_next, &activate);
    otok_keyring_free(with_next);
    (void)snprintf(s->name, sizeof s->name, "%s", signing_kid(s));
}

static int call_set_keyring(oom_stage *s)
{
    return otok_service_set_keyring(s->f->service, s->given_keyring, &s->err);
}

static void service_uses_it(oom_stage *s)
{
    ck_assert_str_eq(signing_kid(s), otok_keyring_signing(s->given_keyring)->kid);
    otok_tokens *tokens = test_issue(s->f, "alice", "phone", SCOPE);
    oom_tokens_are_whole(tokens, SCOPE);
    otok_tokens_free(tokens);
}

static void service_goes_on(oom_stage *s)
{
    ck_assert_msg(strcmp(signing_kid(s), s->name) == 0, "%s: the service has other keys", oom_where());
}

static void open_from_file(oom_stage *s)
{
    oom_save_keyring(s);
    otok_keyring_free(s->f->keyring);
    test_assert_code(OTOK_OK, otok_keyring_load(s->path, NULL, &s->f->keyring, &s->err));
    test_reopen_service(s->f);
}

/* Each time another active signing key; the one before is dropped, or they would be too many. */
static void rotate_file(oom_stage *s)
{
    otok_key_change step = change_of(OTOK_KEY_STEP_ADD, OTOK_KEY_SIGNING);
    test_assert_code(OTOK_OK, otok_keyring_change_file(s->path, NULL, &step, NULL, &s->err));
    (void)snprintf(s->name, sizeof s->name, "%s", signing_kid(s));
    step.step = OTOK_KEY_STEP_ACTIVATE;
    otok_keyring_free(s->given_keyring);
    test_assert_code(OTOK_OK, otok_keyring_change_file(s->path, NULL, &step, &s->given_keyring, &s->err));
    step.step = OTOK_KEY_STEP_DROP;
    step.kid = s->name;
    test_assert_code(OTOK_OK, otok_keyring_change_file(s->path, NULL, &step, NULL, &s->err));
}

static int call_reload_keyring(oom_stage *s)
{
    return otok_service_reload_keyring(s->f->service, &s->err);
}

/* Another process has rotated the MAC key, and issued `held` under the new one. */
static void rotate_elsewhere(oom_stage *s)
{
    otok_key_change step = change_of(OTOK_KEY_STEP_ADD, OTOK_KEY_TOKEN);
    otok_keyring *before = s->f->keyring;
    if (s->given_keyring == NULL) {
        test_assert_code(OTOK_OK, otok_keyring_change_file(s->path, NULL, &step, NULL, &s->err));
        step.step = OTOK_KEY_STEP_ACTIVATE;
        test_assert_code(OTOK_OK, otok_keyring_change_file(s->path, NULL, &step, &s->given_keyring, &s->err));
    }
    s->f->keyring = s->given_keyring;
    test_reopen_service(s->f);
    oom_hold_for_a_minute(s);
    s->f->keyring = before;
    test_reopen_service(s->f);
}

static int call_refresh(oom_stage *s)
{
    return oom_refresh_from(s, s->held.token, "192.0.2.1");
}

static void refreshed(oom_stage *s)
{
    oom_tokens_are_whole(s->tokens, SCOPE);
}

static int call_revoke(oom_stage *s)
{
    otok_revoke_request request;
    otok_revoke_request_init(&request, sizeof request);
    request.token = s->held.token;
    request.client_id = "phone";
    request.client_type = OTOK_CLIENT_PUBLIC;
    return otok_revoke_token(s->f->service, &request, &s->err);
}

static void revoked_is_gone(oom_stage *s)
{
    ck_assert_msg(!test_has_session(s->f, s->held.session_id), "%s: OTOK_OK was said, and the session lives",
                  oom_where());
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

static void token_is_active(oom_stage *s)
{
    ck_assert_msg(s->introspection->active == 1, "%s: an active token is said not to be", oom_where());
}

enum { A_FEW = 5 };

static void hold_a_few(oom_stage *s)
{
    oom_hold_fresh(s);
    for (int i = s->number; i < A_FEW; s->number = ++i)
        s->second = test_hold(s->f, "bob", "phone");
}

static int call_service_keys(oom_stage *s)
{
    return otok_service_keys(s->f->service, &s->keys, &s->err);
}

/* Too few of them, and a key would be dropped that somebody needs: `held`, the bystander, and a few. */
static void usage_is_told(oom_stage *s)
{
    ck_assert_uint_eq(s->keys->count, 2);
    ck_assert_msg(s->keys->keys[1]->sessions == A_FEW + 2, "%s: %llu sessions need the key", oom_where(),
                  (unsigned long long)s->keys->keys[1]->sessions);
}

/* ------------------------------------------------------------------------------------------ a key that is elsewhere */

static otok_pkey *elsewhere;

/* An HSM, which has memory of its own. */
static int sign(void *user, const otok_sign_request *request, uint8_t *signature, size_t *len)
{
    bool armed = oom_suspend();
    (void)user;
    int rc = otok_sign(elsewhere, request->data, request->data_len, signature, len, NULL);
    oom_resume(armed);
    return rc == OTOK_OK ? 0 : 1;
}

static void print_public(char *room, size_t size)
{
    otok_buf jwk;
    otok_buf_init(&jwk, NULL, 0);
    otok_json_begin(&jwk);
    otok_json_add_text(&jwk, "alg", otok_algorithm_name(otok_pkey_algorithm(elsewhere)));
    test_assert_code(OTOK_OK, otok_jwk_add_pkey(&jwk, elsewhere, false, NULL));
    otok_json_end(&jwk);
    (void)snprintf(room, size, "%.*s", (int)jwk.len, (const char *)jwk.data);
    otok_buf_free(&jwk);
}

static void open_with_signer(oom_stage *s)
{
    char jwk[1024];
    otok_key_change add = change_of(OTOK_KEY_STEP_ADD, OTOK_KEY_SIGNING);
    const otok_key_change activate = change_of(OTOK_KEY_STEP_ACTIVATE, OTOK_KEY_SIGNING);
    test_assert_code(OTOK_OK, otok_pkey_generate(OTOK_ALG_ES256, &elsewhere, &s->err));
    print_public(jwk, sizeof jwk);
    add.jwk = jwk;
    otok_keyring *with_next = changed(s->f->keyring, &add);
    otok_keyring_free(s->f->keyring);
    s->f->keyring = changed(with_next, &activate);
    otok_keyring_free(with_next);
    s->f->callbacks.sign = sign;
    test_reopen_service(s->f);
}

static int call_issue(oom_stage *s)
{
    otok_grant grant = test_grant("alice", "phone", SCOPE);
    return otok_issue(s->f->service, &grant, &s->tokens, &s->err);
}

static void signed_elsewhere(oom_stage *s)
{
    oom_tokens_are_whole(s->tokens, SCOPE);
    ck_assert(otok_service_now_keys(s->f->service)->signing->external);
    test_assert_code(OTOK_OK, test_refresh_code(s->f, s->tokens->offline_token, "phone"));
}

/* --------------------------------------------------------------------------------------------------------- a policy */

static int call_preset(oom_stage *s)
{
    otok_policy policy;
    otok_policy_init(&policy, sizeof policy);
    int rc = otok_policy_preset(&policy, OTOK_PRESET_FAPI2, &s->err);
    s->count = rc == OTOK_OK && policy.sender_constraint == OTOK_ON && policy.rotation == OTOK_ROTATION_NEVER;
    return rc;
}

static void preset_is_whole(oom_stage *s)
{
    ck_assert_uint_eq(s->count, 1);
}

/* ------------------------------------------------------------------------------------------------------------ tests */

static const oom_scenario scenarios[] = {
    {"keyring_keys", oom_prepare_nothing, call_keys, keys_are_told, .done = OTOK_OK},
    {"keyring_change, add", oom_prepare_nothing, call_add_signing, signing_is_next, .done = OTOK_OK},
    {"keyring_change, add MAC", oom_prepare_nothing, call_add_token, token_is_next, .done = OTOK_OK},
    {"keyring_change, add external", oom_prepare_nothing, call_add_external, signing_is_next, .done = OTOK_OK},
    {"keyring_change, activate", with_next_signing, call_activate, next_is_active, .done = OTOK_OK},
    {"keyring_change, drop", with_next_signing, call_drop, next_is_dropped, .done = OTOK_OK},
    {"keyring_change_file", oom_save_keyring, call_change_file, file_is_whole, .is_sound = file_is_as_before},
    {"service_set_keyring", another_keyring, call_set_keyring, service_uses_it, .is_sound = service_goes_on},
    {"service_reload_keyring", rotate_file, call_reload_keyring, service_uses_it, .open = open_from_file,
     .is_sound = service_goes_on},
    {"refresh, rotated elsewhere", rotate_elsewhere, call_refresh, refreshed, .open = open_from_file},
    {"revoke, rotated elsewhere", rotate_elsewhere, call_revoke, revoked_is_gone, .open = open_from_file},
    {"introspect, rotated elsewhere", rotate_elsewhere, call_introspect, token_is_active, .open = open_from_file},
    {"service_keys", hold_a_few, call_service_keys, usage_is_told, .done = OTOK_OK},
    {"issue, signed elsewhere", oom_prepare_nothing, call_issue, signed_elsewhere, .open = open_with_signer},
    {"refresh, signed elsewhere", oom_hold_for_a_minute, call_refresh, signed_elsewhere, .open = open_with_signer},
    {"policy_preset", oom_prepare_nothing, call_preset, preset_is_whole, .done = OTOK_OK},
};

static void add(TCase *tc)
{
    oom_add(tc, OOM_MEMORY, scenarios, sizeof scenarios / sizeof scenarios[0]);
}

int main(void)
{
    return oom_main("out of memory while keys are changed", add, EVERY_ALLOCATION);
}
