/*
 * check_crash_transfer.c - imports, repairs, sweeps and backups are killed in the middle: what they leave is clean, and the next one
 * comes to its end (S3, S4, L6).  The long run: crash_transfer.c.
 *
 * SPDX-License-Identifier: MIT
 */
#include <stdio.h>

#include "support/fixture.h"
#include "support/killing.h"

enum { KILLS = 60, SEED = 20260102 };

START_TEST(work_that_is_killed_leaves_a_clean_store_and_is_finished_by_the_next)
{
    killing_report r = killing_run(_i, KILLS, SEED);
    ck_assert_uint_ge(r.kills, KILLS);
    ck_assert_uint_gt(r.finished, 0);
    ck_assert_msg(r.begun > 0 || _i == KILLING_REPAIR || _i == KILLING_BACKUP, "every kill came too early");
    printf("%s: %llu killed, %llu of which had done something, %llu came to their end before\n", killing_names[_i],
           (unsigned long long)r.kills, (unsigned long long)r.begun, (unsigned long long)r.finished);
}
END_TEST

static void add(TCase *tc)
{
    tcase_add_loop_test(tc, work_that_is_killed_leaves_a_clean_store_and_is_finished_by_the_next, 0, KILLING_WORKS);
}

int main(void)
{
    return test_main("crash_transfer", add);
}
