/*
 * check_authorize_memory.c - memory runs short while the host is asked, and while it answers (R5, V6): each allocation of the
 * library fails once.  The request fails with OTOK_E_NOMEM, nothing is written, nothing leaks, and nothing is "not active".
 *
 * SPDX-License-Identifier: MIT
 */
/* link: -Wl,--wrap=otok_malloc,--wrap=otok_calloc,--wrap=otok_realloc */

#include "support/host.h"

#include <string.h>

#include "support/introspect.h"
#include "support/records.h"

static test_host host;
static uint64_t until_failure; /* 0: none is to come */

static bool fails_now(void)
{
    return until_failure != 0 && --until_failure == 0;
}

void *__real_otok_malloc(size_t size);
void *__real_otok_calloc(size_t count, size_t size);
void *__real_otok_realloc(void *old, size_t size);
void *__wrap_otok_malloc(size_t size);
void *__wrap_otok_calloc(size_t count, size_t size);
void *__wrap_otok_realloc(void *old, size_t size);

void *__wrap_otok_malloc(size_t size)
{
    return fails_now() ? NULL : __real_otok_malloc(size);
}

void *__wrap_otok_calloc(size_t count, size_t size)
{
    return fails_now() ? NULL : __real_otok_calloc(count, size);
}

void *__wrap_otok_realloc(void *old, size_t size)
{
    return fails_now() ? NULL : __real_otok_realloc(old, size);
}

static const char *const both[] = {"https://api.example.org", "https://files.example.org"};

static int issue(test_fixture *f, const otok_tokens *tokens)
{
    otok_tokens *out = NULL;
    otok_grant grant = test_grant("bob", NULL, NULL);
    (void)tokens;
    grant.audience = both;
    grant.audience_count = 2;
    grant.authorization_details = "[{\"type\":\"x\"}]";
    grant.act = "{\"sub\":\"a\"}";
    grant.claims = "{\"a\":1}";
    int rc = otok_issue(f->service, &grant, &out, NULL);
    ck_assert((rc == OTOK_OK) == (out != NULL));
    otok_tokens_free(out);
    return rc;
}

static int refresh(test_fixture *f, const otok_tokens *tokens)
{
    otok_tokens *out = NULL;
    int rc = test_refresh(f, tokens->offline_token, NULL, &out);
    ck_assert((rc == OTOK_OK) == (out != NULL));
    otok_tokens_free(out);
    return rc;
}

static int introspect(test_fixture *f, const char *token)
{
    otok_introspection *out = NULL;
    otok_introspect_request request = test_introspect_request(token, NULL);
    int rc = otok_introspect(f->service, &request, &out, NULL);
    ck_assert((rc == OTOK_OK) == (out != NULL));
    ck_assert(out == NULL || out->active);
    otok_introspection_free(out);
    return rc;
}

static int introspect_offline(test_fixture *f, const otok_tokens *tokens)
{
    return introspect(f, tokens->offline_token);
}

static int introspect_access(test_fixture *f, const otok_tokens *tokens)
{
    return introspect(f, tokens->access_token);
}

static int introspect_other(test_fixture *f, const otok_tokens *tokens)
{
    otok_introspection *out = NULL;
    otok_introspect_request request = test_introspect_request("x", NULL);
    (void)tokens;
    int rc = otok_introspect(f->service, &request, &out, NULL);
    ck_assert((rc == OTOK_OK) == (out != NULL));
    otok_introspection_free(out);
    return rc;
}

static int ask_is_live(test_fixture *f, const otok_tokens *tokens)
{
    int32_t live = 7;
    int rc = otok_session_is_live(f->service, tokens->session_id, &live, NULL);
    ck_assert_int_eq(live, rc == OTOK_OK);
    return rc;
}

static int (*const calls[])(test_fixture *, const otok_tokens *) = {
    introspect_offline, introspect_access, introspect_other, ask_is_live, refresh, issue,
};

static void say_everything(test_host *h)
{
    h->scope = "openid offline_access";
    h->claims_scope = "openid";
    h->audience = both;
    h->audience_count = 1;
    h->access_claims = "{\"b\":[2]}";
    h->id_claims = "{\"c\":3}";
}

/* R5 R7 V6 */
START_TEST(shortage_fails_the_request_and_changes_nothing)
{
    test_fixture *f = test_open(TEST_MEMORY);
    otok_grant grant = test_grant(NULL, NULL, NULL);
    grant.audience = both;
    grant.audience_count = 2;
    const otok_tokens *tokens = test_granted(f, &grant);
    test_advance_s(f, 60);
    test_install_host(f, &host);
    say_everything(&host);
    uint64_t state = test_store_state(f->store), k = 0;
    int rc = OTOK_E_NOMEM;
    while (rc == OTOK_E_NOMEM) {
        host.nuses = 0;
        until_failure = ++k;
        rc = calls[_i](f, tokens);
        if (until_failure == 0) { /* it has failed */
            test_assert_code(OTOK_E_NOMEM, rc);
            ck_assert_msg(state == test_store_state(f->store), "something was written at allocation %d", (int)k);
        }
        until_failure = 0;
    }
    test_assert_code(OTOK_OK, rc);
    ck_assert_uint_gt(k, 1);
    test_end(f);
}
END_TEST

static void add_tests(TCase *tcase)
{
    tcase_add_loop_test(tcase, shortage_fails_the_request_and_changes_nothing, 0, sizeof calls / sizeof calls[0]);
}

int main(void)
{
    return test_main("authorize_memory", add_tests);
}
