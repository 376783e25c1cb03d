/*
 * check_conform.c - the conformance kit: the library's stores pass, and whatever breaks the contract does not (S1, S2).
 *
 * SPDX-License-Identifier: MIT
 */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "store/store.h"
#include "support/broken_store.h"
#include "support/fixture.h"

enum { MAX_CLAUSES = 128 };

/* What a run of the kit reported, and what its stores are made of. */
struct run {
    const char *clauses[MAX_CLAUSES];
    int passed[MAX_CLAUSES];
    char details[MAX_CLAUSES][700];
    int n, failed, skipped;

    int fault;
    otok_store *inner; /* of broken stores */
    char *folder;      /* of LMDB */
    int opened;
};

static void report(void *user, const char *clause, int32_t passed, const char *detail)
{
    struct run *run = user;
    ck_assert_int_lt(run->n, MAX_CLAUSES);
    run->clauses[run->n] = clause;
    run->passed[run->n] = passed;
    (void)snprintf(run->details[run->n++], sizeof run->details[0], "%s", detail);
    run->failed += passed == 0;
    run->skipped += passed < 0;
}

static int open_memory(void *user, int32_t fresh, otok_store **out, otok_error *err)
{
    (void)user;
    ck_assert_int_eq(fresh, 1);
    return otok_store_open_memory(out, err);
}

static int open_lmdb(void *user, int32_t fresh, otok_store **out, otok_error *err)
{
    struct run *run = user;
    if (fresh == 1) {
        test_remove_folder(run->folder);
        run->folder = test_new_folder();
    }
    return otok_store_open_lmdb(run->folder, NULL, out, err);
}

static int open_broken(void *user, int32_t fresh, otok_store **out, otok_error *err)
{
    struct run *run = user;
    (void)err;
    if (fresh == 1) {
        otok_store_close(run->inner);
        ck_assert_int_eq(otok_store_open_memory(&run->inner, err), OTOK_OK);
    }
    otok_store *inner = otok_store_ref(run->inner);
    *out = fresh == 1 ? broken_store_open(inner, run->fault, NULL) : broken_store_reopen(inner, run->fault, NULL);
    return OTOK_OK;
}

static int conform(struct run *run, int (*open)(void *, int32_t, otok_store **, otok_error *), otok_error *err)
{
    otok_conform kit = {.size = sizeof kit, .user = run, .open = open, .report = report, .seed = 20251121};
    return otok_store_conform(&kit, err);
}

static struct run *run_new(int fault)
{
    struct run *run = calloc(1, sizeof *run);
    ck_assert_ptr_nonnull(run);
    run->fault = fault;
    return run;
}

static void run_free(struct run *run)
{
    otok_store_close(run->inner);
    test_remove_folder(run->folder);
    free(run);
}

static void expect_all_pass(struct run *run, int (*open)(void *, int32_t, otok_store **, otok_error *), int skipped)
{
    otok_error err = {0};
    int rc = conform(run, open, &err);
    for (int i = 0; i < run->n; i++) {
        if (run->passed[i] == 0)
            printf("%s: %s\n", run->clauses[i], run->details[i]);
    }
    ck_assert_msg(rc == OTOK_OK, "%s: %s", otok_error_name(rc), err.message);
    ck_assert_int_eq(run->failed, 0);
    ck_assert_int_eq(run->skipped, skipped);
    run_free(run);
}

/* ------------------------------------------------------------------------------------------------------------- stores */

START_TEST(memory_store_keeps_the_contract)
{
    expect_all_pass(run_new(BROKEN_NOTHING), open_memory, 3);
}
END_TEST

START_TEST(lmdb_store_keeps_the_contract)
{
    struct run *run = run_new(BROKEN_NOTHING);
    otok_store *store = NULL;
    otok_error err = {0};
    int rc = open_lmdb(run, 1, &store, &err);
    otok_store_close(store);
    if (rc == OTOK_E_UNSUPPORTED) {
        run_free(run);
        return;
    }
    expect_all_pass(run, open_lmdb, 0);
}
END_TEST

START_TEST(every_seed_leads_to_the_same_verdict)
{
    for (uint64_t seed = 0; seed < 20; seed++) {
        otok_error err = {0};
        otok_conform kit = {.size = sizeof kit, .open = open_memory, .seed = seed};
        ck_assert_msg(otok_store_conform(&kit, &err) == OTOK_OK, "seed %llu: %s", (unsigned long long)seed,
                      err.message);
    }
}
END_TEST

/* ------------------------------------------------------------------------------------------------------------- faults */

/* The engine that the faults are in is right without them, so that what the kit catches is the fault. */
START_TEST(broken_store_without_its_fault_keeps_the_contract)
{
    expect_all_pass(run_new(broken_faults()), open_broken, 0);
    expect_all_pass(run_new(BROKEN_NOTHING), open_broken, 3);
}
END_TEST

START_TEST(kit_catches_the_fault)
{
    otok_error err = {0};
    struct run *run = run_new(_i);
    const broken_fault_row *fault = broken_fault(_i);
    int rc = conform(run, open_broken, &err), caught = 0, first = -1;
    for (int i = 0; i < run->n; i++) {
        if (run->passed[i] == 0 && first < 0)
            first = i;
        if (run->passed[i] == 0 && strcmp(run->clauses[i], fault->clause) == 0)
            caught = 1;
    }
    ck_assert_msg(rc == OTOK_E_UNSUPPORTED, "%s: the kit returned %s", fault->name, otok_error_name(rc));
    ck_assert_msg(caught, "%s: %s holds", fault->name, fault->clause);
    ck_assert_msg(first >= 0 && strncmp(err.message, run->clauses[first], strlen(run->clauses[first])) == 0,
                  "%s: err names another than the first clause: %s", fault->name, err.message);
    if (getenv("OTOK_TEST_VERBOSE") != NULL)
        printf("%s: %d caught it, first %s: %s\n", fault->name, run->failed, run->clauses[first], run->details[first]);
    run_free(run);
}
END_TEST

START_TEST(every_clause_has_a_fault_that_it_catches)
{
    otok_error err = {0};
    struct run *run = run_new(broken_faults());
    ck_assert_int_eq(conform(run, open_broken, &err), OTOK_OK);
    for (int i = 0; i < run->n; i++) {
        int faults = 0;
        for (int j = 0; j < broken_faults(); j++)
            faults += strcmp(broken_fault(j)->clause, run->clauses[i]) == 0;
        ck_assert_msg(faults > 0, "no fault for %s", run->clauses[i]);
    }
    for (int j = 0; j < broken_faults(); j++) {
        int found = 0;
        for (int i = 0; i < run->n; i++)
            found += strcmp(broken_fault(j)->clause, run->clauses[i]) == 0;
        ck_assert_msg(found == 1, "the clause of %s is there %d times", broken_fault(j)->name, found);
    }
    run_free(run);
}
END_TEST

/* ------------------------------------------------------------------------------------------------------------- the kit */

static int open_fails(void *user, int32_t fresh, otok_store **out, otok_error *err)
{
    struct run *run = user;
    (void)fresh;
    *out = NULL;
    run->opened++;
    return otok_error_set(err, OTOK_E_IO, 5, "the disk is gone");
}

START_TEST(a_store_that_cannot_be_opened_fails_every_clause_and_says_why)
{
    otok_error err = {0};
    struct run *run = run_new(BROKEN_NOTHING);
    ck_assert_int_eq(conform(run, open_fails, &err), OTOK_E_UNSUPPORTED);
    ck_assert_int_eq(run->failed, run->n);
    ck_assert_int_eq(run->opened, run->n);
    ck_assert_ptr_nonnull(strstr(err.message, "the disk is gone"));
    run_free(run);
}
END_TEST

START_TEST(kit_refuses_arguments_that_make_no_sense)
{
    otok_error err = {0};
    otok_conform kit = {.size = sizeof kit};
    ck_assert_int_eq(otok_store_conform(NULL, &err), OTOK_E_INVALID);
    ck_assert_int_eq(otok_store_conform(&kit, &err), OTOK_E_INVALID);
    ck_assert_ptr_nonnull(strstr(err.message, "open"));
    kit.open = open_memory;
    kit.size = 3;
    ck_assert_int_eq(otok_store_conform(&kit, NULL), OTOK_E_INVALID);
}
END_TEST

START_TEST(details_say_what_was_expected_and_seen_and_what_the_contract_says)
{
    otok_error err = {0};
    struct run *run = run_new(0);
    while (strcmp(broken_fault(run->fault)->name, "NAMES_OF_254") != 0)
        run->fault++;
    ck_assert_int_eq(conform(run, open_broken, &err), OTOK_E_UNSUPPORTED);
    ck_assert_str_eq(err.message, "full_members_are_kept: every member as large as it may be: subject has 254 bytes, "
                                  "expected 255");
    for (int i = 0; i < run->n; i++)
        ck_assert_uint_gt(strlen(run->details[i]), 5);
    run_free(run);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("conform");
    TCase *stores = tcase_create("stores"), *faults = tcase_create("faults"), *kit = tcase_create("kit");
    tcase_set_timeout(stores, 120);
    tcase_set_timeout(faults, 120);
    tcase_add_test(stores, memory_store_keeps_the_contract);
    tcase_add_test(stores, lmdb_store_keeps_the_contract);
    tcase_add_test(stores, every_seed_leads_to_the_same_verdict);
    tcase_add_test(faults, broken_store_without_its_fault_keeps_the_contract);
    tcase_add_loop_test(faults, kit_catches_the_fault, 0, broken_faults());
    tcase_add_test(faults, every_clause_has_a_fault_that_it_catches);
    tcase_add_test(kit, a_store_that_cannot_be_opened_fails_every_clause_and_says_why);
    tcase_add_test(kit, kit_refuses_arguments_that_make_no_sense);
    tcase_add_test(kit, details_say_what_was_expected_and_seen_and_what_the_contract_says);
    suite_add_tcase(suite, stores);
    suite_add_tcase(suite, faults);
    suite_add_tcase(suite, kit);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
