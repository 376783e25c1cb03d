/*
 * check_identity_device.c - the identity server's devices that wait: who may wait, for how long, and who decides.
 *
 * SPDX-License-Identifier: MIT
 */
#include "support/fixture.h"

#include <stdio.h>
#include <string.h>

#include "../examples/identity-server/device.h"

enum { MOST_OF_ONE = 100 };
static const int64_t second_us = 1000000;

static int64_t clock_us = TEST_START_US;
static const client cli = {.id = "notes-cli"}, other = {.id = "another"};
static const user alice = {.id = "alice"}, bob = {.id = "bob"};
static devices *all;
static char device_code[DEVICE_CODE + 1], user_code[USER_CODE + 1];

int64_t now_us(void)
{
    return clock_us;
}

static void open_table(void)
{
    all = devices_new();
    ck_assert_ptr_nonnull(all);
}

static void close_table(void)
{
    devices_free(all);
}

static bool add_from(const char *ip)
{
    device d = {.client = &cli, .scope = "openid"};
    (void)snprintf(d.ip, sizeof d.ip, "%s", ip);
    return devices_add(all, &d, device_code, user_code);
}

static bool decide(int state, const user *u)
{
    device d;
    if (!devices_find(all, user_code, &d))
        return false;
    d.state = state;
    d.user = u;
    return devices_decide(all, user_code, &d);
}

static int poll(device *out)
{
    return devices_poll(all, device_code, &cli, out);
}

/* Else one machine, which has 2^64 addresses, fills the table for everybody. */
START_TEST(network_of_an_ipv6_address_waits_as_one)
{
    for (unsigned i = 0; i < MOST_OF_ONE; i++) {
        char ip[64];
        (void)snprintf(ip, sizeof ip, "2001:db8:0:1::%x", i + 1);
        ck_assert_msg(add_from(ip), "%s", ip);
    }
    ck_assert(!add_from("2001:db8:0:1:ffff::1"));
    ck_assert(add_from("2001:db8:0:2::1"));
    ck_assert(add_from("192.0.2.1"));
    clock_us += DEVICE_SECONDS * second_us;
    ck_assert(add_from("2001:db8:0:1:ffff::1"));
}
END_TEST

START_TEST(first_who_decides_has_decided)
{
    device d = {0};
    ck_assert(add_from("192.0.2.1"));
    ck_assert(decide(DEVICE_ALLOWED, &alice));
    ck_assert(!decide(DEVICE_ALLOWED, &bob));
    ck_assert(!decide(DEVICE_DENIED, &bob));
    ck_assert_int_eq(poll(&d), DEVICE_ALLOWED);
    ck_assert_ptr_eq(d.user, &alice);
}
END_TEST

START_TEST(two_who_look_at_once_do_not_both_decide)
{
    device first, second, d = {0};
    ck_assert(add_from("192.0.2.1"));
    ck_assert(devices_find(all, user_code, &first) && devices_find(all, user_code, &second));
    first.state = DEVICE_DENIED;
    second.state = DEVICE_ALLOWED;
    second.user = &bob;
    ck_assert(devices_decide(all, user_code, &first));
    ck_assert(!devices_decide(all, user_code, &second));
    ck_assert_int_eq(poll(&d), DEVICE_DENIED);
}
END_TEST

START_TEST(code_is_of_its_client_alone)
{
    device d = {0};
    ck_assert(add_from("192.0.2.1"));
    ck_assert(decide(DEVICE_ALLOWED, &alice));
    ck_assert_int_eq(devices_poll(all, device_code, &other, &d), DEVICE_UNKNOWN);
    ck_assert_int_eq(devices_poll(all, "", &cli, &d), DEVICE_UNKNOWN);
    ck_assert_int_eq(devices_poll(all, user_code, &cli, &d), DEVICE_UNKNOWN);
    ck_assert_ptr_null(d.user);
}
END_TEST

/* RFC 8628 section 3.5: each time five seconds more. */
START_TEST(who_polls_too_fast_waits_longer_each_time)
{
    device d;
    ck_assert(add_from("192.0.2.1"));
    ck_assert_int_eq(poll(&d), DEVICE_PENDING);
    clock_us += 4 * second_us;
    ck_assert_int_eq(poll(&d), DEVICE_TOO_FAST);
    clock_us += 5 * second_us;
    ck_assert_int_eq(poll(&d), DEVICE_TOO_FAST);
    clock_us += 15 * second_us;
    ck_assert_int_eq(poll(&d), DEVICE_PENDING);
}
END_TEST

START_TEST(time_runs_out_but_not_between_the_answer_and_the_next_poll)
{
    device d;
    ck_assert(add_from("192.0.2.1"));
    clock_us += DEVICE_SECONDS * second_us - 1;
    ck_assert(decide(DEVICE_ALLOWED, &alice));
    clock_us += DEVICE_INTERVAL * second_us;
    ck_assert_int_eq(poll(&d), DEVICE_ALLOWED);
    clock_us += DEVICE_INTERVAL * second_us;
    ck_assert_int_eq(poll(&d), DEVICE_EXPIRED);
    ck_assert(add_from("192.0.2.1"));
    clock_us += DEVICE_SECONDS * second_us;
    ck_assert(!decide(DEVICE_ALLOWED, &alice));
    ck_assert_int_eq(poll(&d), DEVICE_EXPIRED);
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
    tcase_add_checked_fixture(tcase, open_table, close_table);
    tcase_add_test(tcase, network_of_an_ipv6_address_waits_as_one);
    tcase_add_test(tcase, first_who_decides_has_decided);
    tcase_add_test(tcase, two_who_look_at_once_do_not_both_decide);
    tcase_add_test(tcase, code_is_of_its_client_alone);
    tcase_add_test(tcase, who_polls_too_fast_waits_longer_each_time);
    tcase_add_test(tcase, time_runs_out_but_not_between_the_answer_and_the_next_poll);
    tcase_add_test(tcase, user_code_is_read_as_people_type_it);
}

int main(void)
{
    return test_main("identity server's devices", add_tests);
}
