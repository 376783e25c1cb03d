/*
 * check_identity_device.c - the identity server's devices that wait: who may wait, for how long, and who answers.
 *
 * SPDX-License-Identifier: MIT
 */
#include "support/fixture.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../examples/identity-server/device.h"

enum { MOST_OF_ONE = 100 };
static const int64_t second_us = 1000000;

static test_fixture *f;
static char *folder, key_path[4096], *device_code, user_code[USER_CODE + 1];
static directory *known;
static server here, there; /* two that share store and keys */
static const client *cli, *other;
static const user *alice, *bob;

int64_t now_us(void)
{
    return f->now_us;
}

static int policy_of(test_fixture *fixture, const char *client_id, otok_policy *policy)
{
    (void)fixture;
    ck_assert(is_own_client(client_id));
    device_policy(policy);
    return 0;
}

static void open_servers(void)
{
    f = test_open(TEST_MEMORY);
    f->client_policy = policy_of;
    test_reopen_service(f);
    folder = test_new_folder();
    (void)snprintf(key_path, sizeof key_path, "%s/seal.key", folder);
    known = directory_load("examples/identity-server/demo.json");
    ck_assert_ptr_nonnull(known);
    here = (server){.service = f->service, .directory = known, .seal = seal_open(key_path)};
    there = (server){.service = f->service, .directory = known, .seal = seal_open(key_path)};
    ck_assert(here.seal != NULL && there.seal != NULL);
    cli = directory_client(known, "notes-cli");
    other = directory_client(known, "pocket-notes");
    alice = directory_user(known, "alice");
    bob = directory_user(known, "bob");
}

static void close_servers(void)
{
    free(device_code);
    device_code = NULL;
    seal_free(here.seal);
    seal_free(there.seal);
    directory_free(known);
    unlink(key_path);
    ck_assert_int_eq(rmdir(folder), 0);
    free(folder);
    test_close(f);
}

static void advance_us(int64_t us)
{
    test_set_now_us(f, f->now_us + us);
}

static int ask_from(const char *ip)
{
    device d = {.client = cli, .scope = "openid", .label = "Notes on Linux"};
    otok_error err;
    (void)snprintf(d.ip, sizeof d.ip, "%s", ip);
    free(device_code);
    return device_ask(&here, &d, &device_code, user_code, &err);
}

static device find(void)
{
    device d;
    otok_error err;
    test_assert_code(OTOK_OK, device_find(&there, user_code, &d, &err));
    return d;
}

static int answer(device d, int state, const user *u)
{
    otok_error err;
    ck_assert_int_eq(d.state, DEVICE_PENDING);
    d.state = state;
    d.user = u;
    d.auth_time_us = TEST_START_US - 5;
    (void)snprintf(d.sid, sizeof d.sid, "%s", "login-1");
    (void)snprintf(d.error, sizeof d.error, "%s", "invalid_scope");
    return device_answer(&there, user_code, &d, &err);
}

static int poll_as(const char *code, const client *c, device *out)
{
    otok_error err;
    test_assert_code(OTOK_OK, device_poll(&there, code, c, out, &err));
    return out->state;
}

static int poll(device *out)
{
    return poll_as(device_code, cli, out);
}

/* Else one machine, which has 2^64 addresses, fills the store for everybody. */
START_TEST(network_of_an_ipv6_address_waits_as_one)
{
    for (unsigned i = 0; i < MOST_OF_ONE; i++) {
        char ip[64];
        (void)snprintf(ip, sizeof ip, "2001:db8:0:1::%x", i + 1);
        ck_assert_msg(ask_from(ip) == OTOK_OK, "%s", ip);
    }
    test_assert_code(OTOK_E_LIMIT, ask_from("2001:db8:0:1:ffff::1"));
    test_assert_code(OTOK_OK, ask_from("2001:db8:0:2::1"));
    test_assert_code(OTOK_OK, ask_from("192.0.2.1"));
    advance_us(DEVICE_SECONDS * second_us);
    test_assert_code(OTOK_OK, ask_from("2001:db8:0:1:ffff::1"));
}
END_TEST

/* From wherever they come: 1000 requests, and their answers, until they are swept. */
START_TEST(number_of_all_that_wait_is_bounded)
{
    unsigned n = 0;
    int rc;
    do {
        char ip[64];
        (void)snprintf(ip, sizeof ip, "192.0.2.%u", n / 50);
        rc = ask_from(ip);
    } while (rc == OTOK_OK && ++n <= 1000);
    ck_assert_uint_eq(n, 1000);
    test_assert_code(OTOK_E_LIMIT, rc);
    advance_us(DEVICE_SECONDS * second_us);
    for (int i = 0; i < 2; i++) {
        otok_sweep_result result = {.more = 1};
        for (int k = 0; k < 20 && result.more; k++) {
            otok_sweep_result_init(&result, sizeof result);
            test_assert_code(OTOK_OK, otok_sweep(f->service, 0, &result, NULL));
        }
        advance_us(61 * second_us);
    }
    test_assert_code(OTOK_OK, ask_from("192.0.2.1"));
}
END_TEST

START_TEST(first_who_answers_has_answered)
{
    device d, asked;
    test_assert_code(OTOK_OK, ask_from("192.0.2.1"));
    asked = find();
    ck_assert_str_eq(asked.label, "Notes on Linux");
    ck_assert_str_eq(asked.ip, "192.0.2.1");
    test_assert_code(OTOK_OK, answer(asked, DEVICE_ALLOWED, alice));
    ck_assert_int_eq(find().state, DEVICE_ALLOWED);
    ck_assert_int_eq(poll(&d), DEVICE_ALLOWED);
    ck_assert_ptr_eq(d.user, alice);
    ck_assert_str_eq(d.sid, "login-1");
    ck_assert_int_eq(d.auth_time_us, TEST_START_US - 5);
    ck_assert_str_eq(d.scope, "openid");
    ck_assert_str_eq(d.label, "Notes on Linux");
}
END_TEST

/* Two other people, and one in two windows; at once, and when the library does not take it for a lost response any more. */
START_TEST(two_who_look_at_once_do_not_both_answer)
{
    device first, d;
    test_assert_code(OTOK_OK, ask_from("192.0.2.1"));
    first = find();
    test_assert_code(OTOK_OK, answer(first, DEVICE_DENIED, alice));
    for (int i = 0; i < 2; i++) {
        test_assert_code(OTOK_E_ONCE, answer(first, DEVICE_ALLOWED, bob));
        test_assert_code(OTOK_E_ONCE, answer(first, DEVICE_ALLOWED, alice));
        ck_assert_int_eq(poll(&d), DEVICE_DENIED);
        ck_assert_str_eq(d.error, "invalid_scope");
        advance_us(120 * second_us);
    }
}
END_TEST

START_TEST(code_is_of_its_client_alone)
{
    device d = {0};
    test_assert_code(OTOK_OK, ask_from("192.0.2.1"));
    test_assert_code(OTOK_OK, answer(find(), DEVICE_ALLOWED, alice));
    ck_assert_int_eq(poll_as(device_code, other, &d), DEVICE_UNKNOWN);
    ck_assert_int_eq(poll_as("", cli, &d), DEVICE_UNKNOWN);
    ck_assert_int_eq(poll_as(user_code, cli, &d), DEVICE_UNKNOWN);
    ck_assert_ptr_null(d.user);
}
END_TEST

/* RFC 8628 section 3.5: each time five seconds more. */
START_TEST(who_polls_too_fast_waits_longer_each_time)
{
    device d;
    test_assert_code(OTOK_OK, ask_from("192.0.2.1"));
    ck_assert_int_eq(poll(&d), DEVICE_PENDING);
    advance_us(4 * second_us);
    ck_assert_int_eq(poll(&d), DEVICE_TOO_FAST);
    advance_us(5 * second_us);
    ck_assert_int_eq(poll(&d), DEVICE_TOO_FAST);
    advance_us(15 * second_us);
    ck_assert_int_eq(poll(&d), DEVICE_PENDING);
}
END_TEST

START_TEST(time_runs_out_but_not_between_the_answer_and_the_next_poll)
{
    device d;
    test_assert_code(OTOK_OK, ask_from("192.0.2.1"));
    advance_us(DEVICE_SECONDS * second_us - 1);
    test_assert_code(OTOK_OK, answer(find(), DEVICE_ALLOWED, alice));
    advance_us(DEVICE_INTERVAL * second_us);
    ck_assert_int_eq(poll(&d), DEVICE_ALLOWED);
    ck_assert_str_eq(d.label, "Notes on Linux");
    advance_us(DEVICE_INTERVAL * second_us);
    ck_assert_int_eq(poll(&d), DEVICE_EXPIRED);
    test_assert_code(OTOK_OK, ask_from("192.0.2.1"));
    advance_us(DEVICE_SECONDS * second_us);
    ck_assert_int_eq(find().state, DEVICE_UNKNOWN);
    ck_assert_int_eq(poll(&d), DEVICE_EXPIRED);
}
END_TEST

/* A cutoff of the realm, or of the user, is one of what waits for them, too. */
START_TEST(cutoff_ends_what_waits)
{
    device d;
    otok_filter filter;
    test_assert_code(OTOK_OK, ask_from("192.0.2.1"));
    test_assert_code(OTOK_OK, answer(find(), DEVICE_ALLOWED, alice));
    otok_filter_init(&filter, sizeof filter);
    filter.subject = "alice";
    test_assert_code(OTOK_OK, otok_cutoff_set(f->service, &filter, OTOK_NOW, NULL, NULL));
    ck_assert_int_ne(poll(&d), DEVICE_ALLOWED);
    ck_assert_ptr_null(d.user);
}
END_TEST

START_TEST(user_code_is_read_as_people_type_it)
{
    static const char *const good[] = {"BCDFGHJK", "bcdf-ghjk", " bcdf ghjk ", "B-C-D-F-G-H-J-K"};
    static const char *const bad[] = {"", "-", "BCDFGHJ", "BCDFGHJKL", "BCDFGHJA", "BCDF_GHJK", "BCDFGHJ1"};
    char code[USER_CODE + 1];
    for (size_t i = 0; i < sizeof good / sizeof *good; i++)
        ck_assert_msg(user_code_read(good[i], code) && strcmp(code, "BCDFGHJK") == 0, "%s", good[i]);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        ck_assert_msg(!user_code_read(bad[i], code), "%s", bad[i]);
}
END_TEST

static void add_tests(TCase *tcase)
{
    tcase_add_checked_fixture(tcase, open_servers, close_servers);
    tcase_add_test(tcase, network_of_an_ipv6_address_waits_as_one);
    tcase_add_test(tcase, number_of_all_that_wait_is_bounded);
    tcase_add_test(tcase, first_who_answers_has_answered);
    tcase_add_test(tcase, two_who_look_at_once_do_not_both_answer);
    tcase_add_test(tcase, code_is_of_its_client_alone);
    tcase_add_test(tcase, who_polls_too_fast_waits_longer_each_time);
    tcase_add_test(tcase, time_runs_out_but_not_between_the_answer_and_the_next_poll);
    tcase_add_test(tcase, cutoff_ends_what_waits);
    tcase_add_test(tcase, user_code_is_read_as_people_type_it);
}

int main(void)
{
    return test_main("identity server's devices", add_tests);
}
