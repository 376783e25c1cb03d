/*
 * check_list_pages.c - Q1: lists by filter, in both orders, page by page, with bounded work and cursors that cannot be forged.
 *
 * SPDX-License-Identifier: MIT
 */
#include "support/ask.h"
#include "support/node.h"
#include "support/watch.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { PEOPLE = 3, CLIENTS = 2, EACH = 8, ALL = PEOPLE * CLIENTS * EACH };

static const char *const people[PEOPLE] = {"alice", "bob", "carol"};
static const char *const clients[CLIENTS] = {"phone", "laptop"};

typedef struct issued {
    const char *subject, *client_id;
    char sid[8];
    test_id id;
} issued;

/* One after the other, a second apart, sometimes two in the same microsecond. */
static void issue_all(test_fixture *f, issued all[ALL])
{
    for (size_t i = 0; i < ALL; i++) {
        issued *s = &all[i];
        s->subject = people[i % PEOPLE];
        s->client_id = clients[i / PEOPLE % CLIENTS];
        (void)snprintf(s->sid, sizeof s->sid, "s%u", (unsigned)(i % 5));
        otok_grant grant = test_grant(s->subject, s->client_id, "offline_access");
        grant.sid = s->sid;
        test_held held = test_hold_grant(f, &grant);
        memcpy(s->id, held.session_id, sizeof s->id);
        test_advance_s(f, i % 4 != 0);
    }
}

static bool matches(const otok_filter *filter, const issued *s)
{
    return (filter->subject == NULL || strcmp(filter->subject, s->subject) == 0) &&
           (filter->client_id == NULL || strcmp(filter->client_id, s->client_id) == 0) &&
           (filter->sid == NULL || strcmp(filter->sid, s->sid) == 0);
}

static size_t place_of(const issued all[ALL], const char *id)
{
    for (size_t i = 0; i < ALL; i++) {
        if (strcmp(all[i].id, id) == 0)
            return i;
    }
    ck_abort_msg("a session that was never issued");
    return 0;
}

/* Each match once, and in order, where two of the same microsecond may change places. */
static void assert_listed(test_fixture *f, const issued all[ALL], const otok_filter *filter, int32_t order,
                          uint32_t limit)
{
    static test_id ids[ALL + 1];
    size_t expected = 0, n = test_list(f, filter, order, limit, ids, ALL + 1);
    bool seen[ALL] = {false};
    for (size_t i = 0; i < ALL; i++)
        expected += matches(filter, &all[i]);
    ck_assert_uint_eq(n, expected);
    for (size_t i = 0; i < n; i++) {
        size_t place = place_of(all, ids[i]);
        ck_assert(!seen[place] && matches(filter, &all[place]));
        seen[place] = true;
        if (i == 0)
            continue;
        size_t before = place_of(all, ids[i - 1]);
        ck_assert(order == OTOK_ORDER_OLDEST_FIRST ? place + 1 >= before : before + 1 >= place);
    }
}

/* Q1 */
START_TEST(every_filter_in_both_orders_and_any_page_size)
{
    static const uint32_t limits[] = {0, 1, 2, 3, 7, 48, 1000};
    static issued all[ALL];
    test_fixture *f = test_open(_i);
    otok_filter filters[] = {test_filter("bob", NULL, NULL),
                             test_filter(NULL, "laptop", NULL),
                             test_filter("bob", "phone", NULL),
                             test_filter(NULL, NULL, "s3"),
                             test_filter_realm(),
                             test_filter("nobody", NULL, NULL)};
    test_plain_policy(f);
    issue_all(f, all);
    for (size_t i = 0; i < sizeof filters / sizeof *filters; i++) {
        for (size_t k = 0; k < sizeof limits / sizeof *limits; k++) {
            assert_listed(f, all, &filters[i], OTOK_ORDER_NEWEST_FIRST, limits[k]);
            assert_listed(f, all, &filters[i], OTOK_ORDER_OLDEST_FIRST, limits[k]);
        }
    }
    test_close(f);
}
END_TEST

static otok_page *page_of(test_fixture *f, const otok_list_request *request)
{
    otok_error err;
    otok_page *page = NULL;
    int rc = otok_list(f->service, request, &page, &err);
    ck_assert_msg(rc == OTOK_OK, "%s: %s", otok_error_name(rc), err.message);
    return page;
}

static otok_list_request request_of(const otok_filter *filter, int32_t order, uint32_t limit)
{
    otok_list_request request;
    otok_list_request_init(&request, sizeof request);
    request.filter = filter;
    request.order = order;
    request.limit = limit;
    return request;
}

/* Q1 */
START_TEST(page_is_never_longer_than_its_limit_and_fifty_by_default)
{
    static const uint32_t limits[][2] = {{0, 50}, {1, 1}, {60, 60}, {1000, 70}};
    test_fixture *f = test_open(_i);
    otok_filter realm = test_filter_realm();
    test_plain_policy(f);
    for (int i = 0; i < 70; i++)
        otok_tokens_free(test_issue_plain(f, NULL, NULL));
    for (size_t i = 0; i < sizeof limits / sizeof *limits; i++) {
        otok_list_request request = request_of(&realm, 0, limits[i][0]);
        otok_page *page = page_of(f, &request);
        ck_assert_uint_eq(page->count, limits[i][1]);
        ck_assert_int_eq(page->next_cursor != NULL, limits[i][1] < 70);
        otok_page_free(page);
    }
    test_close(f);
}
END_TEST

/* Q1: whoever was there before the first page and is there after the last is listed once, whatever comes and goes between */
START_TEST(cursor_survives_inserts_and_deletes)
{
    static issued all[ALL];
    for (int32_t order = 0; order < 2; order++) {
        otok_error err;
        char cursor[256];
        bool gone[ALL] = {false};
        size_t seen[ALL] = {0};
        test_fixture *f = test_open(_i);
        otok_filter realm = test_filter_realm();
        otok_list_request request = request_of(&realm, order, 5);
        test_plain_policy(f);
        issue_all(f, all);
        for (size_t round = 0; round == 0 || request.cursor != NULL; round++) {
            otok_page *page = page_of(f, &request);
            for (size_t i = 0; i < page->count; i++) {
                for (size_t k = 0; k < ALL; k++)
                    seen[k] += strcmp(page->sessions[i]->session_id, all[k].id) == 0;
            }
            request.cursor = page->next_cursor != NULL ? strcpy(cursor, page->next_cursor) : NULL;
            /* The very last one of the page, one listed long ago, one to come; and a new one, until there are enough. */
            const size_t leaving[] = {page->count > 0 ? place_of(all, page->sessions[page->count - 1]->session_id) : 0,
                                      round % ALL, (round * 7 + 20) % ALL};
            otok_page_free(page);
            for (size_t i = 0; i < 3; i++) {
                if (!gone[leaving[i]])
                    test_assert_code(OTOK_OK, otok_revoke_session(f->service, all[leaving[i]].id, &err));
                gone[leaving[i]] = true;
            }
            if (round < 3 && order == OTOK_ORDER_NEWEST_FIRST) {
                test_advance_s(f, 1);
                otok_tokens_free(test_issue_plain(f, "dave", "phone"));
            }
        }
        for (size_t i = 0; i < ALL; i++)
            ck_assert(gone[i] ? seen[i] <= 1 : seen[i] == 1);
        test_close(f);
    }
}
END_TEST

static void first_cursor(test_fixture *f, const otok_filter *filter, int32_t order, char out[256])
{
    otok_list_request request = request_of(filter, order, 1);
    otok_page *page = page_of(f, &request);
    ck_assert_ptr_nonnull(page->next_cursor);
    (void)snprintf(out, 256, "%s", page->next_cursor);
    otok_page_free(page);
}

static void assert_refused(test_fixture *f, const otok_filter *filter, int32_t order, const char *cursor)
{
    otok_error err;
    otok_page *page = NULL;
    otok_list_request request = request_of(filter, order, 1);
    request.cursor = cursor;
    int rc = otok_list(f->service, &request, &page, &err);
    ck_assert_msg(rc == OTOK_E_INVALID, "cursor %s: %s", cursor, otok_error_name(rc));
    ck_assert_ptr_null(page);
}

/* Q1: CVE-2026-33504 */
START_TEST(forged_cursor_is_refused_before_the_store_is_asked)
{
    char cursor[256], forged[300];
    test_watch watch;
    test_fixture *f = test_open(_i);
    otok_filter realm = test_filter_realm();
    for (int i = 0; i < 3; i++)
        otok_tokens_free(test_issue_plain(f, NULL, NULL));
    first_cursor(f, &realm, 0, cursor);
    test_watch_fixture(&watch, f);
    for (size_t i = 0; i < strlen(cursor); i++) {
        for (const char *c = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_+/= '"; *c != '\0'; c++) {
            (void)snprintf(forged, sizeof forged, "%s", cursor);
            forged[i] = *c;
            if (*c != cursor[i])
                assert_refused(f, &realm, 0, forged);
        }
        (void)snprintf(forged, sizeof forged, "%.*s", (int)i, cursor);
        assert_refused(f, &realm, 0, forged);
    }
    for (const char *c = "A= \n0"; *c != '\0'; c++) {
        (void)snprintf(forged, sizeof forged, "%s%c", cursor, *c);
        assert_refused(f, &realm, 0, forged);
    }
    ck_assert_uint_eq(watch.calls, 0);
    test_close(f);
}
END_TEST

/* Q1 */
START_TEST(cursor_cannot_be_carried_to_another_filter_order_or_realm)
{
    char cursor[256];
    test_fixture *f = test_open(_i), *other = test_open_node(f, "other");
    otok_filter filters[] = {test_filter("alice", NULL, NULL),   test_filter("alic", NULL, NULL),
                             test_filter(NULL, "alice", NULL),   test_filter("alice", "alice", NULL),
                             test_filter(NULL, NULL, "alice"),   test_filter_realm(),
                             test_filter("alic", "ealice", NULL)};
    enum { FILTERS = sizeof filters / sizeof *filters };
    for (int i = 0; i < 6; i++) {
        otok_grant grant = test_grant(i < 3 ? "alice" : "alic", i < 3 ? "alice" : "ealice", "offline_access");
        grant.sid = "alice";
        (void)test_hold_grant(f, &grant);
    }
    for (size_t from = 0; from < FILTERS; from++) {
        first_cursor(f, &filters[from], 0, cursor);
        for (size_t to = 0; to < FILTERS; to++) {
            if (to != from)
                assert_refused(f, &filters[to], 0, cursor);
            assert_refused(f, &filters[to], 1, cursor);
            assert_refused(other, &filters[to], 0, cursor);
        }
    }
    test_close(other);
    test_close(f);
}
END_TEST

/* Q1: cursors of one node are good at another, and after a restart */
START_TEST(cursor_is_good_at_another_node_and_after_a_restart)
{
    char cursor[256];
    test_fixture *f = test_open(_i), *node = test_open_node(f, NULL);
    otok_filter realm = test_filter_realm();
    for (int i = 0; i < 3; i++)
        otok_tokens_free(test_issue_plain(f, NULL, NULL));
    first_cursor(f, &realm, 0, cursor);
    otok_list_request request = request_of(&realm, 0, 10);
    request.cursor = cursor;
    otok_page *page = page_of(node, &request);
    ck_assert_uint_eq(page->count, 2);
    otok_page_free(page);
    test_close(node);
    test_restart(f);
    page = page_of(f, &request);
    ck_assert_uint_eq(page->count, 2);
    otok_page_free(page);
    test_close(f);
}
END_TEST

/* The most records that one call of otok_list() has the store visit, over a walk in pages of 10 that finds two sessions. */
static uint64_t most_visits(int dead, int32_t order)
{
    uint64_t most = 0;
    size_t found = 0;
    char cursor[256];
    test_watch watch;
    test_fixture *f = test_open(TEST_MEMORY);
    otok_filter filter = test_filter("alice", NULL, NULL);
    otok_list_request request = request_of(&filter, order, 10);
    test_plain_policy(f);
    test_held oldest = test_hold(f, "alice", "phone");
    for (int i = 0; i < dead; i++)
        otok_tokens_free(test_issue_plain(f, "alice", "phone"));
    test_advance_s(f, 20 * (int64_t)TEST_DAY_S);
    test_assert_code(OTOK_OK, test_refresh_code(f, oldest.token, NULL));
    test_advance_s(f, 20 * (int64_t)TEST_DAY_S);
    otok_tokens_free(test_issue_plain(f, "alice", "phone"));
    test_watch_fixture(&watch, f);
    do {
        test_watch_reset(&watch);
        otok_page *page = page_of(f, &request);
        most = watch.visited > most ? watch.visited : most;
        found += page->count;
        request.cursor = page->next_cursor != NULL ? strcpy(cursor, page->next_cursor) : NULL;
        otok_page_free(page);
    } while (request.cursor != NULL);
    ck_assert_uint_eq(found, 2);
    test_close(f);
    return most;
}

/* Q1: KC #29294, forty seconds for ten rows */
START_TEST(work_of_a_call_is_bounded_whatever_lies_dead_between)
{
    uint64_t few = most_visits(3000, _i), many = most_visits(12000, _i);
    ck_assert_uint_le(few, 2500);
    ck_assert_uint_eq(few, many);
}
END_TEST

/* Q1 */
START_TEST(list_requests_that_make_no_sense_are_invalid)
{
    test_fixture *f = test_open(TEST_MEMORY);
    otok_filter good = test_filter("alice", NULL, NULL), empty = test_filter(NULL, NULL, NULL);
    const struct {
        const otok_filter *filter;
        int32_t order;
        uint32_t limit;
        const char *cursor;
    } wrong[] = {{NULL, 0, 10, NULL},    {&empty, 0, 10, NULL},        {&good, 2, 10, NULL}, {&good, -1, 10, NULL},
                 {&good, 0, 1001, NULL}, {&good, 0, UINT32_MAX, NULL}, {&good, 0, 10, ""},   {&good, 0, 10, "AAAA"}};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        otok_error err;
        otok_page *page = NULL;
        otok_list_request request = request_of(wrong[i].filter, wrong[i].order, wrong[i].limit);
        request.cursor = wrong[i].cursor;
        int rc = otok_list(f->service, &request, &page, &err);
        ck_assert_msg(rc == OTOK_E_INVALID, "request %zu: %s", i, otok_error_name(rc));
        ck_assert_ptr_null(page);
    }
    test_close(f);
}
END_TEST

static void add_tests(TCase *tc)
{
    const TTest *const on_both[] = {every_filter_in_both_orders_and_any_page_size,
                                    page_is_never_longer_than_its_limit_and_fifty_by_default,
                                    cursor_survives_inserts_and_deletes,
                                    forged_cursor_is_refused_before_the_store_is_asked,
                                    cursor_cannot_be_carried_to_another_filter_order_or_realm,
                                    cursor_is_good_at_another_node_and_after_a_restart};
    test_add_on_both(tc, on_both, sizeof on_both / sizeof *on_both);
    tcase_add_loop_test(tc, work_of_a_call_is_bounded_whatever_lies_dead_between, 0, 2);
    tcase_add_test(tc, list_requests_that_make_no_sense_are_invalid);
}

int main(void)
{
    return test_main("list_pages", add_tests);
}
