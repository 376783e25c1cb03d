/*
 * check_crash.c - the kill -9 loop in short: nothing that was acknowledged is lost, whoever is killed, whenever (I6,
 * R7, R8, V5, S4).
 *
 * SPDX-License-Identifier: MIT
 */
#include <stdio.h>

#include "support/crash.h"
#include "support/crew.h"
#include "support/fixture.h"

enum { SEED = 20260101 };

#ifdef __SANITIZE_THREAD__
const char *__tsan_default_options(void);

/* ThreadSanitizer does not know that a timed lock may be had with EOWNERDEAD, and takes its unlocking for a mistake. */
__attribute__((__visibility__("default"))) const char *__tsan_default_options(void)
{
    return "report_mutex_bugs=0";
}
#endif

static crash_report run(crash_plan plan, bool *well)
{
    crash_report report;
    char *folder = test_new_folder();
    plan.folder = folder;
    plan.seed = SEED;
    *well = crash_run(&plan, &report);
    test_remove_folder(folder);
    printf("%llu kills, %llu operations acknowledged, %llu in flight, %llu lost\n", (unsigned long long)report.kills,
           (unsigned long long)report.acknowledged, (unsigned long long)report.in_flight,
           (unsigned long long)report.lost);
    return report;
}

static void nothing_is_lost(crash_plan plan)
{
    bool well;
    crash_report report = run(plan, &well);
    ck_assert_msg(well, "%s", report.story);
    ck_assert_uint_ge(report.kills, plan.kills);
}

START_TEST(a_killed_worker_loses_nothing_that_was_acknowledged)
{
    nothing_is_lost((crash_plan){.kills = 60, .workers = 1});
}
END_TEST

START_TEST(workers_of_one_folder_outlive_each_other)
{
    nothing_is_lost((crash_plan){.kills = 45, .workers = 3});
}
END_TEST

START_TEST(a_worker_killed_while_it_makes_the_store_leaves_one_that_opens)
{
    nothing_is_lost((crash_plan){.kills = 25, .workers = 1, .newborn = true});
}
END_TEST

enum { STORES = 120, OPENERS = 4 };

static void open_each(void *shared, size_t i)
{
    (void)i;
    for (int n = 0; n < STORES; n++) {
        char path[4200];
        otok_store *store = NULL;
        otok_error err;
        (void)snprintf(path, sizeof path, "%s/%d", (const char *)shared, n);
        int rc = otok_store_open_lmdb(path, NULL, &store, &err);
        if (rc != OTOK_OK)
            test_leave(err.message, rc);
        otok_store_close(store);
    }
}

/* S4: "not empty, and holds no store" was said to who looked between data.mdb's absence and what else is there. */
START_TEST(processes_that_make_one_store_at_once_all_open_it)
{
    char *folder = test_new_folder(), *shared = test_shared(4096);
    (void)snprintf(shared, 4096, "%s", folder);
    test_processes(OPENERS, open_each, shared);
    test_unshare(shared, 4096);
    test_remove_folder(folder);
}
END_TEST

/* The loop itself is tested: over a store that acknowledges before it commits, it must tell. */
START_TEST(a_store_that_acknowledges_before_it_commits_is_found_out)
{
    bool well;
    crash_report report = run((crash_plan){.kills = 400, .workers = 1, .lossy = true}, &well);
    ck_assert_msg(!well, "%llu kills, and nothing was noticed", (unsigned long long)report.kills);
    printf("%s\n", report.story);
}
END_TEST

static void add(TCase *tc)
{
    tcase_add_test(tc, a_killed_worker_loses_nothing_that_was_acknowledged);
    tcase_add_test(tc, workers_of_one_folder_outlive_each_other);
    tcase_add_test(tc, a_worker_killed_while_it_makes_the_store_leaves_one_that_opens);
    tcase_add_test(tc, processes_that_make_one_store_at_once_all_open_it);
    tcase_add_test(tc, a_store_that_acknowledges_before_it_commits_is_found_out);
}

int main(void)
{
    return test_main("crash", add);
}
