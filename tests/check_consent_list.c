/*
 * check_consent_list.c - C1, Q1: the consents of a subject, of a client, of a realm, page by page.
 *
 * SPDX-License-Identifier: MIT
 */
#include "support/ask.h"
#include "support/node.h"
#include "support/watch.h"

#include <stdio.h>
#include <string.h>

static void put(test_fixture *f, const char *subject, const char *client_id, const char *scope)
{
    otok_error err;
    test_assert_code(OTOK_OK, otok_consent_put(f->service, subject, client_id, scope, &err));
}

static int page_code(test_fixture *f, const otok_filter *filter, int32_t order, uint32_t limit, const char *cursor,
                     otok_consent_page **page)
{
    otok_error err;
    otok_list_request request;
    otok_list_request_init(&request, sizeof request);
    request.filter = filter;
    request.order = order;
    request.limit = limit;
    request.cursor = cursor;
    *page = NULL;
    int rc = otok_consent_list(f->service, &request, page, &err);
    ck_assert((rc == OTOK_OK) == (*page != NULL));
    return rc;
}

/* "subject/client " of every consent, over pages of that size. */
static const char *list(test_fixture *f, const otok_filter *filter, int32_t order, uint32_t limit)
{
    static char out[8192];
    char cursor[256] = "";
    out[0] = '\0';
    do {
        otok_consent_page *page;
        test_assert_code(OTOK_OK, page_code(f, filter, order, limit, cursor[0] != '\0' ? cursor : NULL, &page));
        ck_assert_uint_eq(page->size, sizeof *page);
        ck_assert(limit == 0 || page->count <= limit);
        for (size_t i = 0; i < page->count; i++) {
            size_t len = strlen(out);
            const otok_consent *c = page->consents[i];
            (void)snprintf(out + len, sizeof out - len, "%s/%s ", c->subject, c->client_id);
        }
        (void)snprintf(cursor, sizeof cursor, "%s", page->next_cursor != NULL ? page->next_cursor : "");
        otok_consent_page_free(page);
    } while (cursor[0] != '\0');
    return out;
}

static void put_some(test_fixture *f)
{
    static const char *const pairs[][2] = {
        {"alice", "phone"}, {"bob", "phone"}, {"alice", "laptop"}, {"carol", "tv"}, {"alice", "tv"}};
    for (size_t i = 0; i < sizeof pairs / sizeof *pairs; i++) {
        put(f, pairs[i][0], pairs[i][1], "openid");
        test_advance_s(f, 1);
    }
}

/* C1 */
START_TEST(consents_of_a_subject_a_client_and_the_realm)
{
    test_fixture *f = test_open(_i);
    otok_filter alice = test_filter("alice", NULL, NULL), phone = test_filter(NULL, "phone", NULL);
    otok_filter realm = test_filter_realm(), nobody = test_filter("nobody", NULL, NULL);
    put_some(f);
    for (uint32_t limit = 0; limit < 7; limit++) {
        ck_assert_str_eq(list(f, &alice, 1, limit), "alice/phone alice/laptop alice/tv ");
        ck_assert_str_eq(list(f, &alice, 0, limit), "alice/tv alice/laptop alice/phone ");
        ck_assert_str_eq(list(f, &phone, 1, limit), "alice/phone bob/phone ");
        ck_assert_str_eq(list(f, &realm, 1, limit), "alice/phone bob/phone alice/laptop carol/tv alice/tv ");
        ck_assert_str_eq(list(f, &nobody, 1, limit), "");
    }
    test_close(f);
}
END_TEST

/* C1 */
START_TEST(row_is_what_get_shows)
{
    otok_error err;
    otok_consent *one = NULL;
    otok_consent_page *page;
    test_fixture *f = test_open(_i);
    otok_filter alice = test_filter("alice", NULL, NULL);
    put(f, "alice", "phone", "openid profile");
    test_advance_s(f, 60);
    put(f, "alice", "phone", "profile email");
    test_assert_code(OTOK_OK, page_code(f, &alice, 0, 0, NULL, &page));
    test_assert_code(OTOK_OK, otok_consent_get(f->service, "alice", "phone", &one, &err));
    ck_assert_uint_eq(page->count, 1);
    ck_assert_str_eq(page->consents[0]->scope, one->scope);
    ck_assert_int_eq(page->consents[0]->granted_us, one->granted_us);
    ck_assert_int_eq(page->consents[0]->updated_us, one->updated_us);
    ck_assert_int_ne(one->granted_us, one->updated_us);
    otok_consent_free(one);
    otok_consent_page_free(page);
    otok_consent_page_free(NULL);
    test_close(f);
}
END_TEST

/* C1, V4: what was revoked is not listed, nor is a mark that never had a consent, nor one of another realm */
START_TEST(marks_without_a_consent_are_passed_over)
{
    otok_error err;
    test_fixture *f = test_open(_i), *other = test_open_node(f, "other");
    otok_filter alice = test_filter("alice", NULL, NULL), cut = test_filter("alice", "watch", NULL);
    put_some(f);
    put(other, "alice", "elsewhere", "openid");
    test_assert_code(OTOK_OK, otok_cutoff_set(f->service, &cut, OTOK_NOW, NULL, &err));
    test_assert_code(OTOK_OK, otok_consent_revoke(f->service, "alice", "laptop", NULL, &err));
    for (uint32_t limit = 1; limit < 5; limit++)
        ck_assert_str_eq(list(f, &alice, 1, limit), "alice/phone alice/tv ");
    ck_assert_str_eq(list(other, &alice, 1, 0), "alice/elsewhere ");
    test_close(other);
    test_close(f);
}
END_TEST

/* Q1: "A page may be short, even empty, and still have one" */
START_TEST(work_of_a_page_is_bounded_whatever_has_no_consent)
{
    enum { BARE = 200, LIMIT = 10 };
    test_watch watch;
    otok_consent_page *page;
    test_fixture *f = test_open(TEST_MEMORY);
    otok_filter alice = test_filter("alice", NULL, NULL);
    for (int i = 0; i < BARE; i++) {
        otok_error err;
        char client[32];
        (void)snprintf(client, sizeof client, "client-%d", i);
        otok_filter cut = test_filter("alice", client, NULL);
        test_assert_code(OTOK_OK, otok_cutoff_set(f->service, &cut, OTOK_NOW, NULL, &err));
        test_advance_s(f, 1);
    }
    put(f, "alice", "last", "openid");
    test_watch_fixture(&watch, f);
    test_assert_code(OTOK_OK, page_code(f, &alice, OTOK_ORDER_OLDEST_FIRST, LIMIT, NULL, &page));
    ck_assert_uint_eq(page->count, 0);
    ck_assert_ptr_nonnull(page->next_cursor);
    ck_assert_uint_le(watch.visited, 4 * LIMIT);
    otok_consent_page_free(page);
    ck_assert_str_eq(list(f, &alice, OTOK_ORDER_OLDEST_FIRST, LIMIT), "alice/last ");
    test_close(f);
}
END_TEST

/* Q1: nor to the sessions of the same filter */
START_TEST(cursor_cannot_be_carried_elsewhere)
{
    otok_error err;
    char cursor[256];
    otok_consent_page *page;
    otok_page *sessions = NULL;
    test_fixture *f = test_open(_i), *other = test_open_node(f, "other");
    otok_filter alice = test_filter("alice", NULL, NULL), phone = test_filter(NULL, "phone", NULL);
    put_some(f);
    for (int i = 0; i < 3; i++)
        (void)test_hold(f, "alice", "phone");
    test_assert_code(OTOK_OK, page_code(f, &alice, 0, 1, NULL, &page));
    (void)snprintf(cursor, sizeof cursor, "%s", page->next_cursor);
    otok_consent_page_free(page);
    test_assert_code(OTOK_OK, page_code(f, &alice, 0, 1, cursor, &page));
    otok_consent_page_free(page);
    test_assert_code(OTOK_E_INVALID, page_code(f, &alice, 1, 1, cursor, &page));
    test_assert_code(OTOK_E_INVALID, page_code(f, &phone, 0, 1, cursor, &page));
    test_assert_code(OTOK_E_INVALID, page_code(other, &alice, 0, 1, cursor, &page));
    otok_list_request request = {.size = sizeof request, .filter = &alice, .cursor = cursor, .limit = 1};
    test_assert_code(OTOK_E_INVALID, otok_list(f->service, &request, &sessions, &err));
    request.cursor = NULL;
    test_assert_code(OTOK_OK, otok_list(f->service, &request, &sessions, &err));
    test_assert_code(OTOK_E_INVALID, page_code(f, &alice, 0, 1, sessions->next_cursor, &page));
    otok_page_free(sessions);
    cursor[20] ^= 1;
    test_assert_code(OTOK_E_INVALID, page_code(f, &alice, 0, 1, cursor, &page));
    test_close(other);
    test_close(f);
}
END_TEST

/* Q1 */
START_TEST(requests_that_make_no_sense_are_invalid)
{
    otok_error err;
    otok_consent_page *page;
    test_fixture *f = test_open(TEST_MEMORY);
    otok_filter good = test_filter("alice", NULL, NULL), pair = test_filter("alice", "phone", NULL);
    otok_filter sid = test_filter(NULL, NULL, "sso"), empty = test_filter(NULL, NULL, NULL);
    otok_list_request request = {.size = sizeof request, .filter = &good};
    test_assert_code(OTOK_E_INVALID, page_code(f, &pair, 0, 0, NULL, &page));
    test_assert_code(OTOK_E_INVALID, page_code(f, &sid, 0, 0, NULL, &page));
    test_assert_code(OTOK_E_INVALID, page_code(f, &empty, 0, 0, NULL, &page));
    test_assert_code(OTOK_E_INVALID, page_code(f, NULL, 0, 0, NULL, &page));
    test_assert_code(OTOK_E_INVALID, page_code(f, &good, 2, 0, NULL, &page));
    test_assert_code(OTOK_E_INVALID, page_code(f, &good, 0, 1001, NULL, &page));
    test_assert_code(OTOK_E_INVALID, page_code(f, &good, 0, 0, "", &page));
    test_assert_code(OTOK_E_INVALID, otok_consent_list(f->service, NULL, &page, &err));
    test_assert_code(OTOK_E_INVALID, otok_consent_list(f->service, &request, NULL, &err));
    test_assert_code(OTOK_E_INVALID, otok_consent_list(NULL, &request, &page, &err));
    test_close(f);
}
END_TEST

/* C1: a store that cannot be read is no empty list */
START_TEST(store_that_fails_is_no_empty_list)
{
    test_watch watch;
    otok_consent_page *page;
    test_fixture *f = test_open(TEST_MEMORY);
    otok_filter alice = test_filter("alice", NULL, NULL);
    put_some(f);
    test_watch_fixture(&watch, f);
    for (uint64_t at = 1; at <= 2; at++) {
        test_watch_fail(&watch, at, TEST_CALL_ANY, OTOK_E_IO, false);
        otok_list_request request = {.size = sizeof request, .filter = &alice, .limit = 3};
        otok_error err;
        page = NULL;
        int rc = otok_consent_list(f->service, &request, &page, &err);
        test_assert_code(watch.reached ? OTOK_E_IO : OTOK_OK, rc);
        ck_assert(at > 1 || watch.reached);
        otok_consent_page_free(page);
    }
    test_close(f);
}
END_TEST

static void add_tests(TCase *tc)
{
    const TTest *const on_both[] = {consents_of_a_subject_a_client_and_the_realm, row_is_what_get_shows,
                                    marks_without_a_consent_are_passed_over, cursor_cannot_be_carried_elsewhere};
    test_add_on_both(tc, on_both, sizeof on_both / sizeof *on_both);
    tcase_add_test(tc, work_of_a_page_is_bounded_whatever_has_no_consent);
    tcase_add_test(tc, requests_that_make_no_sense_are_invalid);
    tcase_add_test(tc, store_that_fails_is_no_empty_list);
}

int main(void)
{
    return test_main("consent_list", add_tests);
}
