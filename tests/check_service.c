/*
 * check_service.c - opening and closing a service: arguments and references; and the error tables.
 *
 * SPDX-License-Identifier: MIT
 */
#include "support/ask.h"

#include <string.h>

static otok_config config_of(const char *issuer)
{
    otok_config config;
    otok_config_init(&config, sizeof config);
    config.issuer = issuer;
    return config;
}

/* B1: every code has a name, a word for the wire, and a status */
START_TEST(every_error_code_has_name_word_and_status)
{
    static const struct {
        int code;
        const char *name, *oauth; /* NULL: one of several would do */
        int http;
    } codes[] = {
        {OTOK_E_INVALID, "OTOK_E_INVALID", NULL, 0},
        {OTOK_E_POLICY, "OTOK_E_POLICY", "server_error", 500},
        {OTOK_E_UNSUPPORTED, "OTOK_E_UNSUPPORTED", "server_error", 500},
        {OTOK_E_NOT_FOUND, "OTOK_E_NOT_FOUND", NULL, 0},
        {OTOK_E_STATE, "OTOK_E_STATE", "server_error", 500},
        {OTOK_E_NOMEM, "OTOK_E_NOMEM", NULL, 0},
        {OTOK_E_IO, "OTOK_E_IO", NULL, 0},
        {OTOK_E_FULL, "OTOK_E_FULL", NULL, 0},
        {OTOK_E_BUSY, "OTOK_E_BUSY", "temporarily_unavailable", 503},
        {OTOK_E_UNCERTAIN, "OTOK_E_UNCERTAIN", "temporarily_unavailable", 503},
        {OTOK_E_CONFLICT, "OTOK_E_CONFLICT", "temporarily_unavailable", 503},
        {OTOK_E_CRYPTO, "OTOK_E_CRYPTO", "server_error", 500},
        {OTOK_E_FORMAT, "OTOK_E_FORMAT", "server_error", 500},
        {OTOK_E_TAMPERED, "OTOK_E_TAMPERED", "server_error", 500},
        {OTOK_E_PERMISSION, "OTOK_E_PERMISSION", "server_error", 500},
        {OTOK_E_KEY, "OTOK_E_KEY", "server_error", 500},
        {OTOK_E_CALLBACK, "OTOK_E_CALLBACK", "server_error", 500},
        {OTOK_E_TOKEN_INVALID, "OTOK_E_TOKEN_INVALID", "invalid_grant", 400},
        {OTOK_E_TOKEN_UNKNOWN, "OTOK_E_TOKEN_UNKNOWN", "invalid_grant", 400},
        {OTOK_E_TOKEN_EXPIRED, "OTOK_E_TOKEN_EXPIRED", "invalid_grant", 400},
        {OTOK_E_TOKEN_REVOKED, "OTOK_E_TOKEN_REVOKED", "invalid_grant", 400},
        {OTOK_E_TOKEN_REUSED, "OTOK_E_TOKEN_REUSED", "invalid_grant", 400},
        {OTOK_E_TOKEN_RETRIES, "OTOK_E_TOKEN_RETRIES", "invalid_grant", 400},
        {OTOK_E_TOKEN_AHEAD, "OTOK_E_TOKEN_AHEAD", "invalid_grant", 400},
        {OTOK_E_CLIENT_MISMATCH, "OTOK_E_CLIENT_MISMATCH", "invalid_grant", 400},
        {OTOK_E_UNAUTHORIZED_CLIENT, "OTOK_E_UNAUTHORIZED_CLIENT", "unauthorized_client", 400},
        {OTOK_E_SENDER, "OTOK_E_SENDER", "invalid_grant", 400},
        {OTOK_E_SCOPE, "OTOK_E_SCOPE", "invalid_scope", 400},
        {OTOK_E_TARGET, "OTOK_E_TARGET", "invalid_target", 400},
        {OTOK_E_TOKEN_TYPE, "OTOK_E_TOKEN_TYPE", "unsupported_token_type", 400},
        {OTOK_E_LIMIT, "OTOK_E_LIMIT", "invalid_grant", 400},
        {OTOK_E_CONSENT, "OTOK_E_CONSENT", "invalid_grant", 400},
        {OTOK_E_DENIED, "OTOK_E_DENIED", "invalid_grant", 400},
        {OTOK_E_ONCE, "OTOK_E_ONCE", "invalid_grant", 400},
        {OTOK_E_DPOP_PROOF, "OTOK_E_DPOP_PROOF", "invalid_dpop_proof", 400},
        {OTOK_E_DPOP_NONCE, "OTOK_E_DPOP_NONCE", "use_dpop_nonce", 400},
        {OTOK_E_CLIENT, "OTOK_E_CLIENT", "invalid_client", 401},
        {OTOK_E_GRANT_TYPE, "OTOK_E_GRANT_TYPE", "unsupported_grant_type", 400},
    };
    for (size_t i = 0; i < sizeof codes / sizeof *codes; i++) {
        int http = otok_error_http(codes[i].code);
        ck_assert_str_eq(otok_error_name(codes[i].code), codes[i].name);
        ck_assert_ptr_nonnull(otok_error_oauth(codes[i].code));
        if (codes[i].oauth != NULL)
            ck_assert_str_eq(otok_error_oauth(codes[i].code), codes[i].oauth);
        ck_assert_msg(http == 400 || http == 401 || http == 500 || http == 503, "%s: %d", codes[i].name, http);
        if (codes[i].http != 0)
            ck_assert_msg(http == codes[i].http, "%s: %d", codes[i].name, http);
    }
    ck_assert_str_eq(otok_error_name(OTOK_OK), "OTOK_OK");
    ck_assert_ptr_null(otok_error_oauth(OTOK_OK));
    ck_assert_int_eq(otok_error_http(OTOK_OK), 200);
}
END_TEST

/* B1 */
START_TEST(codes_that_are_none_are_named_so_and_are_no_success)
{
    static const int codes[] = {1, -6, -99, -51, 100000, INT32_MAX, INT32_MIN};
    for (size_t i = 0; i < sizeof codes / sizeof *codes; i++) {
        ck_assert_str_eq(otok_error_name(codes[i]), "OTOK_E_?");
        ck_assert_int_ge(otok_error_http(codes[i]), 400);
        ck_assert_ptr_nonnull(otok_error_oauth(codes[i]));
    }
    ck_assert_uint_eq(sizeof(otok_error), 512);
    ck_assert_ptr_nonnull(strchr(otok_version(), '.'));
}
END_TEST

/* The references are the service's own. */
START_TEST(service_outlives_the_callers_store_and_keyring)
{
    otok_error err;
    test_fixture *f = test_open(_i);
    otok_store_close(f->store);
    otok_keyring_free(f->keyring);
    f->store = NULL;
    f->keyring = NULL;
    test_held held = test_hold(f, NULL, NULL);
    test_rotate(f, &held, NULL);
    test_assert_code(OTOK_OK, otok_revoke_session(f->service, held.session_id, &err));
    test_close(f);
    otok_service_close(NULL);
    otok_store_close(NULL);
    otok_keyring_free(NULL);
}
END_TEST

/* OTOK_E_INVALID, the message naming the field; nothing comes out. */
START_TEST(service_open_refuses_what_makes_no_sense_and_names_it)
{
    static char issuer_513[514], realm_256[257];
    test_fixture *f = test_open(TEST_MEMORY);
    memset(issuer_513, 'i', 513);
    memset(realm_256, 'r', 256);
    otok_policy negative = f->policy, short_struct = f->policy;
    negative.idle_timeout_s = -1;
    short_struct.size = 3;
    otok_config configs[11];
    for (size_t i = 0; i < 11; i++)
        configs[i] = config_of(TEST_ISSUER);
    configs[0].issuer = NULL;
    configs[1].issuer = "";
    configs[2].issuer = issuer_513;
    configs[3].issuer = "https://id\n";
    configs[4].issuer = "\xc3\x28";
    configs[5].realm = realm_256;
    configs[6].realm = "re\talm";
    configs[7].policy = &negative;
    configs[8].policy = &short_struct;
    configs[9].deadline_ms = -1;
    configs[10].size = 0;
    static const char *const names[] = {"issuer", "issuer",         "issuer", "issuer",      "issuer", "realm",
                                        "realm",  "idle_timeout_s", "policy", "deadline_ms", "config"};
    for (size_t i = 0; i < 11; i++) {
        otok_error err = {0};
        otok_service *service = NULL;
        int rc = otok_service_open(&configs[i], f->store, f->keyring, &service, &err);
        ck_assert_msg(rc == (i == 7 ? OTOK_E_POLICY : OTOK_E_INVALID), "config %zu: %s", i, otok_error_name(rc));
        ck_assert_int_eq(err.code, rc);
        ck_assert_msg(strstr(err.message, names[i]) != NULL, "config %zu: %s", i, err.message);
        ck_assert_ptr_null(service);
    }
    test_close(f);
}
END_TEST

/* Store and keyring come both, or neither, and then with a directory. */
START_TEST(store_and_keyring_come_together)
{
    otok_error err;
    otok_service *service = NULL;
    test_fixture *f = test_open(TEST_MEMORY);
    otok_config config = config_of(TEST_ISSUER);
    test_assert_code(OTOK_E_INVALID, otok_service_open(&config, f->store, NULL, &service, &err));
    test_assert_code(OTOK_E_INVALID, otok_service_open(&config, NULL, f->keyring, &service, &err));
    test_assert_code(OTOK_E_INVALID, otok_service_open(&config, NULL, NULL, &service, &err));
    test_assert_code(OTOK_E_INVALID, otok_service_open(NULL, f->store, f->keyring, &service, &err));
    test_assert_code(OTOK_E_INVALID, otok_service_open(&config, f->store, f->keyring, NULL, &err));
    ck_assert_ptr_null(service);
    test_close(f);
}
END_TEST

/* Structs of an older header are read as if the rest were 0, of a newer one as long as what is unknown is 0. */
enum { STRUCTS = 8, ROOM = 64 };

static int call_with(test_fixture *f, int which, size_t more, unsigned char tail)
{
    union {
        otok_config config;
        otok_grant grant;
        otok_refresh_request refresh;
        otok_revoke_request revoke;
        otok_filter filter;
        otok_list_request list;
        otok_policy policy;
        otok_peer peer;
        size_t size;
        unsigned char bytes[sizeof(otok_grant) + sizeof(otok_policy) + ROOM];
    } in = {.bytes = {0}};
    static const size_t sizes[STRUCTS] = {sizeof in.config, sizeof in.grant, sizeof in.refresh, sizeof in.revoke,
                                          sizeof in.filter, sizeof in.list,  sizeof in.policy,  sizeof in.peer};
    otok_error err;
    otok_tokens *tokens = NULL;
    otok_page *page = NULL;
    otok_service *service = NULL;
    uint64_t n = 0;
    int rc = OTOK_E_STATE;
    otok_filter filter = test_filter("alice", NULL, NULL);
    otok_config config = config_of(TEST_ISSUER);
    otok_grant grant = test_grant(NULL, NULL, NULL);
    memset(in.bytes + sizes[which], tail, ROOM);
    switch (which) {
    case 0:
        in.config = config;
        break;
    case 1:
        in.grant = grant;
        break;
    case 2:
        in.refresh = test_refresh_request("x", NULL);
        break;
    case 3:
        in.revoke.token = "x";
        in.revoke.client_id = "phone";
        break;
    case 4:
        in.filter = filter;
        break;
    case 5:
        in.list.filter = &filter;
        break;
    case 6:
        config.policy = &in.policy;
        break;
    default:
        grant.peer = &in.peer;
        break;
    }
    in.size = sizes[which] + more;
    switch (which) {
    case 0:
        rc = otok_service_open(&in.config, f->store, f->keyring, &service, &err);
        break;
    case 1:
        rc = otok_issue(f->service, &in.grant, &tokens, &err);
        break;
    case 2:
        rc = otok_refresh(f->service, &in.refresh, &tokens, &err);
        break;
    case 3:
        rc = otok_revoke_token(f->service, &in.revoke, &err);
        break;
    case 4:
        rc = otok_count(f->service, &in.filter, &n, &err);
        break;
    case 5:
        rc = otok_list(f->service, &in.list, &page, &err);
        break;
    case 6:
        rc = otok_service_open(&config, f->store, f->keyring, &service, &err);
        break;
    default:
        rc = otok_issue(f->service, &grant, &tokens, &err);
        break;
    }
    otok_tokens_free(tokens);
    otok_page_free(page);
    otok_service_close(service);
    return rc;
}

/* B2 */
START_TEST(struct_of_a_newer_header_is_read_as_long_as_it_says_nothing_new)
{
    test_fixture *f = test_open(TEST_MEMORY);
    int good = _i == 2 ? OTOK_E_TOKEN_INVALID : OTOK_OK;
    test_assert_code(good, call_with(f, _i, 0, 0));
    test_assert_code(good, call_with(f, _i, 0, 0xaa)); /* beyond its size: not ours to read */
    test_assert_code(good, call_with(f, _i, 8, 0));
    test_assert_code(good, call_with(f, _i, ROOM, 0));
    test_assert_code(OTOK_E_INVALID, call_with(f, _i, 8, 1));
    test_assert_code(OTOK_E_INVALID, call_with(f, _i, ROOM, 0xff));
    test_close(f);
}
END_TEST

/* A grant of the header's first days, which ended with client_type. */
START_TEST(struct_of_an_older_header_is_read_as_if_the_rest_were_zero)
{
    otok_error err;
    otok_tokens *tokens = NULL;
    test_fixture *f = test_open(TEST_MEMORY);
    otok_grant grant = test_grant(NULL, NULL, NULL);
    otok_policy policy = f->policy;
    grant.size = offsetof(otok_grant, sub);
    grant.nonce = (const char *)(uintptr_t)1; /* whatever lies there */
    int rc = otok_issue(f->service, &grant, &tokens, &err);
    ck_assert(rc == OTOK_OK || rc == OTOK_E_INVALID); /* a least size there may be */
    otok_tokens_free(tokens);
    policy.size = sizeof(size_t) - 1;
    f->policy = policy;
    otok_service *service = NULL;
    otok_config config = config_of(TEST_ISSUER);
    config.policy = &policy;
    test_assert_code(OTOK_E_INVALID, otok_service_open(&config, f->store, f->keyring, &service, &err));
    test_close(f);
}
END_TEST

static void add_tests(TCase *tc)
{
    const TTest *const on_both[] = {service_outlives_the_callers_store_and_keyring};
    test_add_on_both(tc, on_both, sizeof on_both / sizeof *on_both);
    tcase_add_test(tc, every_error_code_has_name_word_and_status);
    tcase_add_test(tc, codes_that_are_none_are_named_so_and_are_no_success);
    tcase_add_test(tc, service_open_refuses_what_makes_no_sense_and_names_it);
    tcase_add_test(tc, store_and_keyring_come_together);
    tcase_add_loop_test(tc, struct_of_a_newer_header_is_read_as_long_as_it_says_nothing_new, 0, STRUCTS);
    tcase_add_test(tc, struct_of_an_older_header_is_read_as_if_the_rest_were_zero);
}

int main(void)
{
    return test_main("service", add_tests);
}
