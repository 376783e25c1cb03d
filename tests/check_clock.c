/*
 * check_clock.c - a clock that ran years ahead for a moment, and was set right (L5, T2, I4).
 *
 * SPDX-License-Identifier: MIT
 */
#include "support/records.h"
#include "support/story.h"

#define DAY_US (INT64_C(86400) * OTOK_US_PER_S)

/* T2: a rotation under a clock that was ahead does not leave the previous token good until then; nobody is accused of reuse. */
START_TEST(a_rotation_in_the_future_does_not_hold_its_window_open)
{
    test_fixture *f = test_open(_i);
    test_held held = test_hold(f, NULL, NULL), previous = held;
    test_set_now_us(f, TEST_START_US + 3650 * DAY_US);
    f->policy.idle_timeout_s = OTOK_UNLIMITED;
    test_reopen_service(f);
    test_assert_code(OTOK_OK, test_refresh_held(f, &held, NULL));
    for (int day = 1; day < 5; day++) {
        test_set_now_us(f, TEST_START_US + day * DAY_US);
        test_assert_code(OTOK_E_TOKEN_RETRIES, test_refresh_code(f, previous.token, NULL));
    }
    test_assert_code(OTOK_OK, test_refresh_held(f, &held, NULL)); /* which rotates, and sets the time right */
    test_assert_code(OTOK_E_TOKEN_REUSED, test_refresh_code(f, previous.token, NULL));
    test_close(f);
}
END_TEST

/* I4: what guards a limit goes with the sessions, and is made again. */
START_TEST(the_guard_of_a_limit_goes_with_the_last_session)
{
    test_fixture *f = test_open(_i);
    f->policy.session_limit = 2;
    test_reopen_service(f);
    for (int i = 0; i < 3; i++)
        (void)test_hold(f, NULL, NULL);
    ck_assert_uint_eq(test_count_records(f->store), 3);
    for (int i = 0; i < 5; i++)
        (void)test_sweep_out(f);
    for (int i = 0; i < 80; i++) {
        test_advance_s(f, TEST_DAY_S);
        (void)test_sweep(f, 0);
    }
    ck_assert_uint_eq(test_count_records(f->store), 0);
    for (int i = 0; i < 3; i++)
        (void)test_hold(f, NULL, NULL);
    otok_filter filter = test_filter("alice", NULL, NULL);
    ck_assert_uint_eq(test_count_live(f, &filter), 2);
    test_close(f);
}
END_TEST

static void add(TCase *tc)
{
    tcase_add_loop_test(tc, a_rotation_in_the_future_does_not_hold_its_window_open, TEST_MEMORY, TEST_LMDB + 1);
    tcase_add_loop_test(tc, the_guard_of_a_limit_goes_with_the_last_session, TEST_MEMORY, TEST_LMDB + 1);
}

int main(void)
{
    return test_main("clock", add);
}
