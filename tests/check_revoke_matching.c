/*
 * check_revoke_matching.c - V2: the end of every session that a filter names.
 *
 * SPDX-License-Identifier: MIT
 */
#include "support/ask.h"
#include "support/node.h"
#include "support/watch.h"

#include <string.h>

/* Sessions of two users with two clients in two logins; which of them a filter names. */
typedef struct row {
    const char *subject, *client_id, *sid;
} row;

static const row rows[] = {
    {"alice", "phone", "s1"}, {"alice", "phone", "s2"}, {"alice", "laptop", "s1"}, {"alice", "laptop", NULL},
    {"bob", "phone", "s3"},   {"bob", "phone", NULL},   {"bob", "laptop", "s3"},   {"alicea", "phone", "s11"},
};
enum { ROWS = sizeof rows / sizeof *rows };

typedef struct named {
    const char *subject, *client_id, *sid;
    int32_t whole_realm;
    unsigned ended; /* bit i: rows[i] */
} named;

static const named filters[] = {
    {"alice", NULL, NULL, 0, 0x0f},  {NULL, "phone", NULL, 0, 0xb3}, {"alice", "phone", NULL, 0, 0x03},
    {NULL, NULL, "s1", 0, 0x05},     {NULL, NULL, "s3", 0, 0x50},    {NULL, NULL, NULL, 1, 0xff},
    {"nobody", NULL, NULL, 0, 0x00}, {NULL, "none", NULL, 0, 0x00},  {"bob", "tablet", NULL, 0, 0x00},
    {NULL, NULL, "s", 0, 0x00},      {"phone", NULL, NULL, 0, 0x00}, {NULL, "alice", NULL, 0, 0x00},
};
enum { FILTERS = sizeof filters / sizeof *filters };

static otok_filter filter_of(const named *name)
{
    otok_filter filter = test_filter(name->subject, name->client_id, name->sid);
    filter.whole_realm = name->whole_realm;
    return filter;
}

static void issue_rows(test_fixture *f, test_held held[ROWS])
{
    for (size_t i = 0; i < ROWS; i++) {
        otok_grant grant = test_grant(rows[i].subject, rows[i].client_id, "offline_access");
        grant.sid = rows[i].sid;
        held[i] = test_hold_grant(f, &grant);
    }
}

static uint64_t bits(unsigned set)
{
    uint64_t n = 0;
    for (; set != 0; set >>= 1)
        n += set & 1;
    return n;
}

static void assert_only_these_ended(test_fixture *f, const test_held held[ROWS], const named *name)
{
    for (size_t i = 0; i < ROWS; i++) {
        bool ended = (name->ended >> i & 1) != 0;
        int rc = test_refresh_code(f, held[i].token, rows[i].client_id);
        test_assert_code(ended ? OTOK_E_TOKEN_UNKNOWN : OTOK_OK, rc);
        ck_assert_int_eq(test_has_session(f, held[i].session_id), !ended);
        ck_assert_uint_eq(test_count_reasons(f, OTOK_EVENT_REVOKED, OTOK_REVOKED_BY_FILTER, held[i].session_id), ended);
    }
    ck_assert_uint_eq(test_count_events(f, OTOK_EVENT_REVOKED), bits(name->ended));
}

static void each_filter(int engine, size_t i)
{
    otok_error err;
    test_held held[ROWS];
    uint64_t revoked = 99;
    otok_filter filter = filter_of(&filters[i]);
    test_fixture *f = test_open(engine);
    test_plain_policy(f);
    issue_rows(f, held);
    test_assert_code(OTOK_OK, otok_revoke_matching(f->service, &filter, &revoked, &err));
    ck_assert_uint_eq(revoked, bits(filters[i].ended));
    assert_only_these_ended(f, held, &filters[i]);
    test_assert_code(OTOK_OK, otok_revoke_matching(f->service, &filter, &revoked, &err)); /* repeatable */
    ck_assert_uint_eq(revoked, 0);
    test_assert_code(OTOK_OK, otok_revoke_matching(f->service, &filter, NULL, NULL));
    assert_only_these_ended(f, held, &filters[i]);
    test_close(f);
}

/* V2, E1 */
START_TEST(each_filter_ends_what_it_names_and_nothing_else_in_memory)
{
    each_filter(TEST_MEMORY, (size_t)_i);
}
END_TEST

/* V2, E1 */
START_TEST(each_filter_ends_what_it_names_and_nothing_else_on_lmdb)
{
    each_filter(TEST_LMDB, (size_t)_i);
}
END_TEST

/* V2 */
START_TEST(empty_filter_and_nonsense_are_errors_that_end_nothing)
{
    static const named wrong[] = {
        {NULL, NULL, NULL, 0, 0},
        {"", NULL, NULL, 0, 0},
        {NULL, "", NULL, 0, 0},
        {NULL, NULL, "", 0, 0},
        {"", "", "", 0, 0},
        {"alice", NULL, "s1", 0, 0},
        {NULL, "phone", "s1", 0, 0},
        {"alice", "phone", "s1", 0, 0},
        {"alice", NULL, NULL, 1, 0},
        {NULL, "phone", NULL, 1, 0},
        {NULL, NULL, "s1", 1, 0},
        {NULL, NULL, NULL, 2, 0},
        {"ali\nce", NULL, NULL, 0, 0},
        {"\xff", NULL, NULL, 0, 0},
    };
    otok_error err;
    test_held held[ROWS];
    test_fixture *f = test_open(TEST_MEMORY);
    issue_rows(f, held);
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        otok_filter filter = filter_of(&wrong[i]);
        uint64_t n = 0;
        ck_assert_msg(otok_revoke_matching(f->service, &filter, &n, &err) == OTOK_E_INVALID, "revoke %zu", i);
        ck_assert_msg(otok_cutoff_set(f->service, &filter, OTOK_NOW, NULL, &err) == OTOK_E_INVALID, "cutoff %zu", i);
        ck_assert_msg(otok_count(f->service, &filter, &n, &err) == OTOK_E_INVALID, "count %zu", i);
        ck_assert_msg(err.message[0] != '\0', "message %zu", i);
    }
    test_assert_code(OTOK_E_INVALID, otok_revoke_matching(f->service, NULL, NULL, &err));
    assert_only_these_ended(f, held, &wrong[0]);
    test_close(f);
}
END_TEST

/* V2: "an exact count" over many pages of the walk */
START_TEST(count_is_exact_for_many_sessions)
{
    enum { MANY = 1500 };
    otok_error err;
    uint64_t revoked = 0;
    otok_filter filter = test_filter(NULL, "phone", NULL), other = test_filter(NULL, "laptop", NULL);
    test_fixture *f = test_open(TEST_MEMORY);
    test_plain_policy(f);
    for (int i = 0; i < MANY; i++) {
        otok_tokens_free(test_issue_plain(f, i % 2 != 0 ? "alice" : "bob", "phone"));
        otok_tokens_free(test_issue_plain(f, "bob", "laptop"));
        test_set_now_us(f, f->now_us + i % 3);
    }
    test_forget_events(f);
    test_assert_code(OTOK_OK, otok_revoke_matching(f->service, &filter, &revoked, &err));
    ck_assert_uint_eq(revoked, MANY);
    ck_assert_uint_eq(test_count_reasons(f, OTOK_EVENT_REVOKED, OTOK_REVOKED_BY_FILTER, NULL), MANY);
    ck_assert_uint_eq(test_count(f, &filter), 0);
    ck_assert_uint_eq(test_count_live(f, &other), MANY);
    test_close(f);
}
END_TEST

/* V2: whole and immediate, however the walk goes; interrupted, repeated, counted */
START_TEST(revocation_that_fails_midway_is_whole_at_once_and_can_be_repeated)
{
    enum { MANY = 300 };
    otok_error err;
    static test_held held[MANY];
    otok_filter filter = test_filter("alice", NULL, NULL);
    for (uint64_t at = 2; at <= 8; at++) {
        test_watch watch;
        uint64_t revoked = 0, more = 0;
        test_fixture *f = test_open(TEST_MEMORY);
        test_plain_policy(f);
        test_watch_fixture(&watch, f);
        for (size_t i = 0; i < MANY; i++)
            held[i] = test_hold(f, "alice", i % 2 != 0 ? "phone" : "laptop");
        test_watch_fail(&watch, at, TEST_CALL_COMMIT, OTOK_E_IO, false);
        watch.on_and_on = true;
        int rc = otok_revoke_matching(f->service, &filter, &revoked, &err);
        test_watch_reset(&watch);
        for (size_t i = 0; i < MANY; i++)
            ck_assert_int_ne(test_refresh_code(f, held[i].token, i % 2 != 0 ? "phone" : "laptop"), OTOK_OK);
        ck_assert_uint_eq(test_count_live(f, &filter), 0);
        if (rc != OTOK_OK)
            test_assert_code(OTOK_OK, otok_revoke_matching(f->service, &filter, &more, &err));
        ck_assert_uint_eq(revoked + more, MANY);
        ck_assert_uint_eq(test_count_reasons(f, OTOK_EVENT_REVOKED, OTOK_REVOKED_BY_FILTER, NULL), MANY);
        test_close(f);
    }
}
END_TEST

/* V2, L6: "the sweeper finishes it" */
START_TEST(interrupted_revocation_is_finished_by_the_sweeper)
{
    enum { MANY = 300 };
    otok_error err;
    test_watch watch;
    uint64_t revoked = 0;
    otok_filter filter = test_filter("alice", NULL, NULL);
    test_fixture *f = test_open(TEST_MEMORY);
    test_plain_policy(f);
    test_watch_fixture(&watch, f);
    for (size_t i = 0; i < MANY; i++)
        otok_tokens_free(test_issue_plain(f, "alice", "phone"));
    otok_tokens_free(test_issue_plain(f, "bob", "phone"));
    test_watch_fail(&watch, 2, TEST_CALL_COMMIT, OTOK_E_IO, false);
    watch.on_and_on = true;
    test_assert_code(OTOK_E_IO, otok_revoke_matching(f->service, &filter, &revoked, &err));
    test_watch_reset(&watch);
    otok_sweep_result swept = test_sweep_out(f);
    ck_assert_uint_eq(revoked + swept.cut_off, MANY);
    ck_assert_uint_eq(swept.expired, 0);
    otok_filter realm = test_filter_realm();
    ck_assert_uint_eq(test_count(f, &realm), 1);
    test_close(f);
}
END_TEST

/* V2, V3: "whole and immediate" also for sessions that a node whose clock is ahead has issued */
START_TEST(sessions_issued_by_a_node_ahead_of_us_are_ended_too)
{
    otok_error err;
    for (size_t i = 0; i < 6; i++) {
        test_held held[ROWS];
        uint64_t revoked = 0;
        otok_filter filter = filter_of(&filters[i]);
        test_fixture *f = test_open(_i), *ahead = test_open_node(f, NULL);
        test_advance_s(ahead, 3600);
        issue_rows(ahead, held);
        test_assert_code(OTOK_OK, otok_revoke_matching(f->service, &filter, &revoked, &err));
        ck_assert_uint_eq(revoked, bits(filters[i].ended));
        assert_only_these_ended(f, held, &filters[i]);
        test_close(ahead);
        test_close(f);
    }
}
END_TEST

/* V2: new sessions are not what was revoked */
START_TEST(login_after_the_revocation_lives)
{
    otok_error err;
    for (size_t i = 0; i < 6; i++) {
        test_held held[ROWS];
        uint64_t revoked = 0;
        otok_filter filter = filter_of(&filters[i]);
        test_fixture *f = test_open(_i);
        issue_rows(f, held);
        test_assert_code(OTOK_OK, otok_revoke_matching(f->service, &filter, NULL, &err));
        issue_rows(f, held); /* in the same microsecond */
        for (size_t k = 0; k < ROWS; k++)
            test_assert_code(OTOK_OK, test_refresh_code(f, held[k].token, rows[k].client_id));
        test_assert_code(OTOK_OK, otok_revoke_matching(f->service, &filter, &revoked, &err));
        ck_assert_uint_eq(revoked, bits(filters[i].ended));
        test_close(f);
    }
}
END_TEST

static void add_tests(TCase *tc)
{
    const TTest *const on_both[] = {sessions_issued_by_a_node_ahead_of_us_are_ended_too,
                                    login_after_the_revocation_lives};
    test_add_on_both(tc, on_both, sizeof on_both / sizeof *on_both);
    tcase_add_loop_test(tc, each_filter_ends_what_it_names_and_nothing_else_in_memory, 0, FILTERS);
    tcase_add_loop_test(tc, each_filter_ends_what_it_names_and_nothing_else_on_lmdb, 0, FILTERS);
    tcase_add_test(tc, empty_filter_and_nonsense_are_errors_that_end_nothing);
    tcase_add_test(tc, count_is_exact_for_many_sessions);
    tcase_add_test(tc, revocation_that_fails_midway_is_whole_at_once_and_can_be_repeated);
    tcase_add_test(tc, interrupted_revocation_is_finished_by_the_sweeper);
}

int main(void)
{
    return test_main("revoke_matching", add_tests);
}
