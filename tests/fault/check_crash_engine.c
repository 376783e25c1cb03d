/*
 * check_crash_engine.c - the kill -9 loop over everything around a session, in short (I4, I7, I8, C1, V3, V4, V7, P4, K3, E2).
 *
 * SPDX-License-Identifier: MIT
 */
#include <stdio.h>

#include "support/engine.h"
#include "support/fixture.h"

enum { SEED = 20260201 };

#ifdef __SANITIZE_THREAD__
const char *__tsan_default_options(void);

/* ThreadSanitizer does not know that a timed lock may be had with EOWNERDEAD, and takes its unlocking for a mistake. */
__attribute__((__visibility__("default"))) const char *__tsan_default_options(void)
{
    return "report_mutex_bugs=0";
}
#endif

static engine_report run(engine_plan plan, bool *well)
{
    engine_report report;
    char *folder = test_new_folder();
    plan.folder = folder;
    plan.seed = SEED;
    *well = engine_run(&plan, &report);
    test_remove_folder(folder);
    printf("%llu kills, %llu operations acknowledged, %llu in flight, %llu events replayed, %llu lost\n",
           (unsigned long long)report.kills, (unsigned long long)report.acknowledged,
           (unsigned long long)report.in_flight, (unsigned long long)report.events, (unsigned long long)report.lost);
    return report;
}

static void all_holds(engine_plan plan)
{
    bool well;
    engine_report report = run(plan, &well);
    ck_assert_msg(well, "%s", report.story);
    ck_assert_uint_ge(report.kills, plan.kills);
    ck_assert_uint_gt(report.events, 0);
}

static void is_found_out(int fault, uint64_t kills)
{
    bool well;
    engine_report report = run((engine_plan){.kills = kills, .workers = 1, .fault = fault}, &well);
    ck_assert_msg(!well, "%llu kills, and nothing was noticed", (unsigned long long)report.kills);
    printf("%.300s\n", report.story);
}

START_TEST(a_killed_worker_leaves_what_was_acknowledged_and_nothing_that_was_revoked)
{
    all_holds((engine_plan){.kills = 100, .workers = 1});
}
END_TEST

START_TEST(so_do_workers_of_one_folder_and_one_keyring_that_outlive_each_other)
{
    all_holds((engine_plan){.kills = 75, .workers = 3});
}
END_TEST

START_TEST(a_store_that_acknowledges_before_it_commits_is_found_out)
{
    is_found_out(ENGINE_LATE, 300);
}
END_TEST

START_TEST(a_commit_without_its_event_is_found_out)
{
    is_found_out(ENGINE_EVENTLESS, 20);
}
END_TEST

static void add(TCase *tc)
{
    tcase_add_test(tc, a_killed_worker_leaves_what_was_acknowledged_and_nothing_that_was_revoked);
    tcase_add_test(tc, so_do_workers_of_one_folder_and_one_keyring_that_outlive_each_other);
    tcase_add_test(tc, a_store_that_acknowledges_before_it_commits_is_found_out);
    tcase_add_test(tc, a_commit_without_its_event_is_found_out);
}

int main(void)
{
    return test_main("crash_engine", add);
}
