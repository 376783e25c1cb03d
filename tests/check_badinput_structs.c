/*
 * check_badinput_structs.c - arguments of issue and refresh that are missing, and structs of an older or newer header.
 *
 * SPDX-License-Identifier: MIT
 */
#include "support/story.h"

#include <string.h>

#include "support/records.h"

/* Bad input: NULL where something is required; and every call takes a NULL err. */
START_TEST(null_arguments_are_refused)
{
    test_fixture *f = test_open(TEST_MEMORY);
    otok_error err = {0};
    otok_tokens *out = NULL;
    otok_grant grant = test_grant(NULL, NULL, NULL);
    otok_refresh_request request = test_refresh_request("otok_x", NULL);
    static const char *const fields[] = {"service", "grant", "out", "service", "request", "out"};
    for (int i = 0; i < 12; i++) {
        otok_service *service = i % 3 == 0 ? NULL : f->service;
        otok_tokens **to = i % 3 == 2 ? NULL : &out;
        otok_error *told = i < 6 ? &err : NULL;
        int rc = i % 6 < 3 ? otok_issue(service, i % 3 == 1 ? NULL : &grant, to, told)
                           : otok_refresh(service, i % 3 == 1 ? NULL : &request, to, told);
        test_assert_code(OTOK_E_INVALID, rc);
        if (i < 6)
            ck_assert_msg(strstr(err.message, fields[i]) != NULL, "%s: %s", fields[i], err.message);
    }
    ck_assert_uint_eq(test_count_records(f->store), 0);
    test_end(f);
}
END_TEST

/* A grant as a newer header would have it. */
typedef struct newer_grant {
    otok_grant grant;
    uint64_t unknown[2];
} newer_grant;

typedef struct newer_request {
    otok_refresh_request request;
    uint64_t unknown[2];
} newer_request;

/* Bad input: a newer struct is accepted while what is unknown is 0. */
START_TEST(newer_struct_is_accepted_while_its_unknown_members_are_zero)
{
    test_fixture *f = test_open(TEST_MEMORY);
    newer_grant grant = {test_grant(NULL, NULL, NULL), {0, 0}};
    grant.grant.size = sizeof grant;
    newer_request request = {test_refresh_request(test_granted(f, &grant.grant)->offline_token, NULL), {0, 0}};
    request.request.size = sizeof request;
    (void)test_answered(f, &request.request);
    for (size_t i = 0; i < 2; i++) {
        grant.unknown[i] = request.unknown[i] = UINT64_C(1) << 63;
        test_not_granted(f, &grant.grant, OTOK_E_INVALID, "grant");
        test_not_refreshed(f, &request.request, OTOK_E_INVALID, "request");
        grant.unknown[i] = request.unknown[i] = 0;
    }
    test_end(f);
}
END_TEST

typedef struct newer_policy {
    otok_policy policy;
    uint64_t unknown[8];
} newer_policy;

static uint64_t unknown;

/* As a host does that makes a policy of its own, and hands in the whole of it. */
static int whole_policy(void *user, const char *client_id, otok_policy *policy)
{
    newer_policy mine = {{.size = sizeof mine}, {[7] = unknown}};
    (void)user, (void)client_id;
    memcpy(policy, &mine, sizeof mine);
    return 0;
}

/* T1: what a callback of a newer header writes has room, and nothing of it goes unheeded. */
START_TEST(policy_of_a_client_may_be_of_a_newer_header)
{
    test_fixture *f = test_open(TEST_MEMORY);
    otok_grant grant = test_grant(NULL, NULL, NULL);
    f->callbacks.client_policy = whole_policy;
    test_reopen_service(f);
    unknown = 0;
    (void)test_granted(f, &grant);
    unknown = 1;
    test_not_granted(f, &grant, OTOK_E_CALLBACK, "client_policy");
    test_end(f);
}
END_TEST

/* Bad input: an older struct is read as if the rest were 0: what stands behind its size is not looked at. */
START_TEST(older_struct_is_read_no_farther_than_its_size)
{
    test_fixture *f = test_open(TEST_MEMORY);
    otok_grant grant = test_grant(NULL, NULL, NULL);
    otok_tokens *tokens = NULL;
    grant.idle_timeout_s = -1;
    grant.max_lifetime_s = -1;
    grant.size = offsetof(otok_grant, idle_timeout_s);
    int rc = otok_issue(f->service, &grant, &tokens, NULL);
    ck_assert_msg(rc == OTOK_OK, "%s", otok_error_name(rc));
    otok_tokens_free(tokens);
    test_end(f);
}
END_TEST

/* Bad input: a size that cannot be one, as in a struct that was never initialised. */
START_TEST(struct_with_an_impossible_size_is_refused)
{
    static const size_t sizes[] = {0, 1, 7, sizeof(size_t)};
    test_fixture *f = test_open(TEST_MEMORY);
    const otok_tokens *tokens = test_began(f);
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        otok_grant grant = test_grant(NULL, NULL, NULL);
        otok_refresh_request request = test_refresh_request(tokens->offline_token, NULL);
        otok_peer peer = test_peer(NULL, NULL, "192.0.2.1", NULL);
        grant.size = request.size = sizes[i];
        test_not_granted(f, &grant, OTOK_E_INVALID, "");
        test_not_refreshed(f, &request, OTOK_E_INVALID, "");
        otok_grant with_peer = test_grant(NULL, NULL, NULL);
        with_peer.peer = &peer;
        peer.size = sizes[i];
        if (sizes[i] < sizeof(size_t))
            test_not_granted(f, &with_peer, OTOK_E_INVALID, "peer");
    }
    test_end(f);
}
END_TEST

static void add_tests(TCase *tcase)
{
    tcase_add_test(tcase, null_arguments_are_refused);
    tcase_add_test(tcase, newer_struct_is_accepted_while_its_unknown_members_are_zero);
    tcase_add_test(tcase, policy_of_a_client_may_be_of_a_newer_header);
    tcase_add_test(tcase, older_struct_is_read_no_farther_than_its_size);
    tcase_add_test(tcase, struct_with_an_impossible_size_is_refused);
}

int main(void)
{
    return test_main("badinput_structs", add_tests);
}
