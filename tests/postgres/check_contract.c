/*
 * check_contract.c - the conformance kit over PostgreSQL (S1, S2): every clause applies, and every one holds.
 *
 * SPDX-License-Identifier: MIT
 */
#include <offlinetok/store.h>
#include <stdio.h>

#include "postgres/server.h"

typedef struct run {
    test_server server;
    int passed, others;
    char first[700];
} run;

static int open_store(void *user, int32_t fresh, otok_store **out, otok_error *err)
{
    run *r = user;
    if (fresh == 1)
        test_server_begin(&r->server, "contract");
    int rc = otok_postgres_migrate(r->server.conninfo, &r->server.options, err);
    return rc == OTOK_OK ? otok_store_open_postgres(r->server.mine, &r->server.options, out, err) : rc;
}

static void report(void *user, const char *clause, int32_t passed, const char *detail)
{
    run *r = user;
    r->passed += passed == 1;
    if (passed != 1 && r->others++ == 0)
        (void)snprintf(r->first, sizeof r->first, "%s: %s", clause, detail);
}

static const uint64_t seeds[] = {20251121, 20251122, 0, 1, UINT64_MAX};

START_TEST(postgres_keeps_the_contract)
{
    static run r;
    otok_error err;
    const otok_conform kit = {.size = sizeof kit, .user = &r, .open = open_store, .report = report, .seed = seeds[_i]};
    int rc = otok_store_conform(&kit, &err);
    ck_assert_msg(rc == OTOK_OK && r.others == 0, "%s: %s", otok_error_name(rc), r.first);
    ck_assert_int_gt(r.passed, 30);
}
END_TEST

static void add(TCase *tc)
{
    tcase_add_loop_test(tc, postgres_keeps_the_contract, 0, sizeof seeds / sizeof seeds[0]);
}

int main(void)
{
    return test_main("postgres: contract", add);
}
