/*
 * check_memory.c - memory runs short at every allocation of a call, libpq's too (R7, R8, V5): no crash, no leak, never "done" for
 * what is not, nor "not done" for what is; and afterwards everything works.
 *
 * SPDX-License-Identifier: MIT
 */
/* link: -Wl,--wrap=otok_malloc,--wrap=otok_calloc,--wrap=otok_realloc,--wrap=otok_store_open_lmdb */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "support/oom_allocators.h"

/* Signing has its allocations, and its own tests. */
static void sign_nothing(oom_stage *s)
{
    s->f->policy.access_token = OTOK_OFF;
    test_reopen_service(s->f);
}

static int call_issue(oom_stage *s)
{
    otok_grant grant = test_grant("alice", "phone", "offline_access");
    return otok_issue(s->f->service, &grant, &s->tokens, &s->err);
}

static void issue_is_whole(oom_stage *s)
{
    ck_assert(test_has_session(s->f, s->tokens->session_id));
    test_assert_code(OTOK_OK, test_refresh_code(s->f, s->tokens->offline_token, "phone"));
    test_assert_code(OTOK_OK, otok_revoke_session(s->f->service, s->tokens->session_id, NULL));
}

static int call_refresh(oom_stage *s)
{
    return oom_refresh_from(s, s->held.token, "192.0.2.1");
}

/* One generation more, or, where an attempt before was in doubt and had happened, the same again (T2). */
static void refresh_is_whole(oom_stage *s)
{
    ck_assert(s->tokens->outcome == OTOK_OUTCOME_ADVANCED || s->tokens->outcome == OTOK_OUTCOME_RETRIED);
    ck_assert_uint_eq(s->tokens->generation, 1);
    test_assert_code(OTOK_OK, test_refresh_code(s->f, s->tokens->offline_token, "phone"));
}

/* One that was in doubt may have happened. */
static int call_revoke(oom_stage *s)
{
    int rc = otok_revoke_session(s->f->service, s->held.session_id, &s->err);
    return rc == OTOK_E_NOT_FOUND ? OTOK_OK : rc;
}

static void revoked_is_gone(oom_stage *s)
{
    ck_assert(!test_has_session(s->f, s->held.session_id));
}

static int call_get(oom_stage *s)
{
    return otok_session_get(s->f->service, s->held.session_id, &s->session, &s->err);
}

static void session_is_whole(oom_stage *s)
{
    ck_assert_str_eq(s->session->session_id, s->held.session_id);
}

/* A folder whose schema is made already: making it takes long, and is tried again as a whole. */
static void make_schema(oom_stage *s)
{
    otok_store *store = NULL;
    oom_new_directory(s);
    test_assert_code(OTOK_OK, otok_store_open_lmdb(s->path, NULL, &store, NULL));
    otok_store_close(store);
}

static int call_open(oom_stage *s)
{
    return otok_store_open_lmdb(s->path, NULL, &s->store, &s->err);
}

static void store_works(oom_stage *s)
{
    ck_assert_uint_eq(test_count_records(s->store), 0);
    test_remove_folder(strdup(s->path));
}

static const oom_scenario scenarios[] = {
    {"issue", oom_prepare_nothing, call_issue, issue_is_whole, .done = OTOK_OK, .open = sign_nothing},
    {"refresh", oom_hold_for_a_minute, call_refresh, refresh_is_whole, .done = OTOK_OK, .open = sign_nothing},
    {"revoke", oom_hold_fresh, call_revoke, revoked_is_gone, .done = OTOK_OK},
    {"get", oom_hold_fresh, call_get, session_is_whole, .done = OTOK_OK},
    {"open", make_schema, call_open, store_works, .done = OTOK_OK},
};

/* What libpq drops because there is no memory for it is not waited for: timeout_ms is ten seconds. */
enum { ANSWER_S = 10 };

START_TEST(every_allocation_may_fail)
{
    oom_run(&scenarios[_i], TEST_LMDB); /* which instead_of_lmdb.c makes PostgreSQL */
    ck_assert_int_lt(test_shortage.longest_us, OTOK_US_PER_S * ANSWER_S / 2);
}
END_TEST

static void add(TCase *tc)
{
    tcase_add_loop_test(tc, every_allocation_may_fail, 0, sizeof scenarios / sizeof scenarios[0]);
}

int main(void)
{
    return oom_main("postgres: out of memory", add, EVERY_ALLOCATION);
}
