/*
 * check_proxy.c - each message of each operation, spoiled in every way: no answer is a wrong one (R8, T2).  The long run is
 * proxy_run.c.
 *
 * SPDX-License-Identifier: MIT
 */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>

#include "postgres/proxy_lanes.h"
#include "support/fixture.h"

static proxy_lanes *open_lanes(void)
{
    char server[128], story[512] = "";
    const char *cluster = getenv("CLUSTER");
    (void)snprintf(server, sizeof server, "%s/primary", cluster != NULL ? cluster : ".");
    proxy_lanes *lanes = proxy_lanes_open(server, story);
    if (lanes == NULL)
        ck_abort_msg("%s", story);
    return lanes;
}

static void check(int operation, bool cold, const proxy_choice *choice)
{
    proxy_tally tally = {.trials = 0};
    proxy_lanes *lanes = open_lanes();
    bool good = proxy_lanes_add(lanes, (proxy_operation)operation, cold, choice, &tally);
    good = proxy_lanes_try(lanes, &tally) && good;
    proxy_lanes_close(lanes);
    ck_assert_msg(good, "%s", tally.story);
    /* Some answers were spoiled, others were not, and of those in doubt some had happened: else nothing was tried. */
    ck_assert_uint_gt(tally.spoiled, tally.trials / 2);
    ck_assert_uint_gt(tally.ok, 0);
    if (!cold) {
        ck_assert_uint_gt(tally.uncertain, tally.happened);
        ck_assert_uint_gt(tally.happened, 0);
    }
}

START_TEST(a_spoiled_message_never_gives_a_wrong_answer)
{
    const proxy_choice choice = {1, 1, 4};
    check(_i, false, &choice);
}
END_TEST

/* Opening one is the same before each operation: a part of its messages with each. */
START_TEST(a_spoiled_message_of_a_new_connection_never_gives_a_wrong_answer)
{
    const proxy_choice choice = {1 + 3 * (size_t)_i, 16, 4};
    check(_i, true, &choice);
}
END_TEST

static void add(TCase *tcase)
{
    tcase_add_loop_test(tcase, a_spoiled_message_never_gives_a_wrong_answer, 0, PROXY_OPERATIONS);
    tcase_add_loop_test(tcase, a_spoiled_message_of_a_new_connection_never_gives_a_wrong_answer, 0, PROXY_OPERATIONS);
}

int main(void)
{
    return test_main("proxy", add);
}
