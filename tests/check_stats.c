/*
 * check_stats.c - the counters of a service (E3): what counts for what, structs of other headers, and the text of
 * OpenMetrics.  What a whole service counts, and what others make of its text, is in tests/metrics.
 *
 * SPDX-License-Identifier: MIT
 */
/* link: -Wl,--wrap=otok_malloc,--wrap=otok_calloc */
#include "support/fixture.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The linker brings the library's calls of its allocator here. */
void *__real_otok_malloc(size_t size);
void *__wrap_otok_malloc(size_t size);
void *__real_otok_calloc(size_t count, size_t size);
void *__wrap_otok_calloc(size_t count, size_t size);

static int allocations_left = -1; /* below zero: as many as are asked for */

static bool is_refused(void)
{
    if (allocations_left > 0)
        allocations_left--;
    else if (allocations_left == 0)
        return true;
    return false;
}

void *__wrap_otok_malloc(size_t size)
{
    return is_refused() ? NULL : __real_otok_malloc(size);
}

void *__wrap_otok_calloc(size_t count, size_t size)
{
    return is_refused() ? NULL : __real_otok_calloc(count, size);
}

/* A service that only counts. */
static otok_service counting(char *realm)
{
    otok_service service;
    memset(&service, 0, sizeof service);
    service.realm_text = realm;
    service.realm = otok_str_of(realm);
    test_assert_code(OTOK_OK, otok_counters_new(&service.counters, NULL));
    return service;
}

static otok_stats stats_of(const otok_service *service)
{
    otok_stats stats;
    otok_stats_init(&stats, sizeof stats);
    test_assert_code(OTOK_OK, otok_stats_get(service, &stats, NULL));
    ck_assert_uint_eq(stats.size, sizeof stats);
    return stats;
}

static void expect(const char *what, const otok_service *service, const otok_stats *expected)
{
    otok_stats got = stats_of(service), wanted = *expected;
    wanted.size = sizeof wanted;
    const uint64_t *a = &wanted.issued, *b = &got.issued;
    for (size_t i = 0; i < (sizeof got - offsetof(otok_stats, issued)) / sizeof *a; i++)
        ck_assert_msg(a[i] == b[i], "%s: member %zu is %llu", what, i, (unsigned long long)b[i]);
}

/* E1 E3: each event, and nothing beside what it stands for. */
START_TEST(each_event_counts_for_what_it_is)
{
    static const struct {
        const char *what;
        int32_t type;
        uint32_t marks;
        otok_stats expected;
    } rows[] = {
        {"issued", OTOK_EVENT_ISSUED, 0, {.issued = 1}},
        {"adopted", OTOK_EVENT_ISSUED, OTOK_EVENT_ADOPTED, {.issued = 1, .adopted = 1}},
        {"refreshed", OTOK_EVENT_REFRESHED, 0, {.refreshed = 1}},
        {"refreshed, of an adopted session", OTOK_EVENT_REFRESHED, OTOK_EVENT_ADOPTED, {.refreshed = 1}},
        {"retried", OTOK_EVENT_RETRIED, 0, {.refreshed = 1, .retried = 1}},
        {"retried from elsewhere", OTOK_EVENT_RETRIED, OTOK_EVENT_OTHER_IP, {.refreshed = 1, .retried = 1}},
        {"refused", OTOK_EVENT_REFUSED, 0, {.refused = 1}},
        {"reuse", OTOK_EVENT_REUSE, 0, {.reuse = 1}},
        {"revoked", OTOK_EVENT_REVOKED, 0, {.revoked = 1}},
        {"expired", OTOK_EVENT_EXPIRED, 0, {.expired = 1}},
        {"cutoff", OTOK_EVENT_CUTOFF, 0, {.cutoffs = 1}},
        {"rolled back", OTOK_EVENT_STORE_ROLLED_BACK, 0, {.rolled_back = 1}},
        {"evicted", OTOK_EVENT_EVICTED, 0, {.evicted = 1}},
        {"consent granted", OTOK_EVENT_CONSENT_GRANTED, 0, {.consents_granted = 1}},
        {"consent revoked", OTOK_EVENT_CONSENT_REVOKED, 0, {.consents_revoked = 1}},
        {"in the outbox only", OTOK_EVENT_OUTBOX_OVERFLOW, 0, {0}},
        {"of a later version", 1000, 0, {0}},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        otok_service service = counting("r");
        otok_event event = {.size = sizeof event, .type = rows[i].type, .marks = rows[i].marks};
        expect("new", &service, &(otok_stats){0});
        otok_count_event(&service, &event);
        expect(rows[i].what, &service, &rows[i].expected);
        otok_counters_free(service.counters);
    }
}
END_TEST

/* E3: what no event tells of. */
START_TEST(what_has_no_event_is_counted_apart)
{
    static const struct {
        int what;
        otok_stats expected;
    } rows[] = {
        {OTOK_COUNT_FORGED, {.forged = 1}},
        {OTOK_COUNT_CONFLICT, {.conflicts = 1}},
        {OTOK_COUNT_INTROSPECTED, {.introspected = 1}},
        {OTOK_COUNT_OUTBOX_OVERFLOW, {.outbox_overflows = 1}},
        {OTOK_COUNT_ROTATED, {.rotated = 1}},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        otok_service service = counting("r");
        otok_count_one(&service, rows[i].what);
        expect("one", &service, &rows[i].expected);
        otok_counters_free(service.counters);
    }
}
END_TEST

enum { THREADS = 4, EACH = 20000 };

static void *count_many(void *service)
{
    const otok_event retried = {.size = sizeof retried, .type = OTOK_EVENT_RETRIED};
    for (int i = 0; i < EACH; i++) {
        otok_count_event(service, &retried);
        otok_count_one(service, OTOK_COUNT_FORGED);
    }
    return NULL;
}

/* E3: none is lost between threads. */
START_TEST(counts_of_many_threads_add_up)
{
    otok_service service = counting("r");
    pthread_t threads[THREADS];
    for (int i = 0; i < THREADS; i++)
        ck_assert_int_eq(pthread_create(&threads[i], NULL, count_many, &service), 0);
    for (int i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    const otok_stats expected = {.refreshed = THREADS * EACH, .retried = THREADS * EACH, .forged = THREADS * EACH};
    expect("threads", &service, &expected);
    otok_counters_free(service.counters);
}
END_TEST

/* B3 E3: an older header gets what it has room for, a newer one zeroes behind what is known. */
START_TEST(stats_of_another_header_are_filled_to_their_size)
{
    enum { NEWER = sizeof(otok_stats) + 24, BEHIND = 16 };
    otok_service service = counting("r");
    count_many(&service);
    otok_stats whole = stats_of(&service);
    for (size_t size = sizeof(size_t); size <= NEWER; size++) {
        unsigned char *room = malloc(size + BEHIND);
        memset(room, 0xa5, size + BEHIND);
        otok_stats_init((otok_stats *)(void *)room, size);
        test_assert_code(OTOK_OK, otok_stats_get(&service, (otok_stats *)(void *)room, NULL));
        size_t known = size < sizeof whole ? size : sizeof whole;
        whole.size = size;
        ck_assert_int_eq(memcmp(room, &whole, known), 0);
        for (size_t i = known; i < size + BEHIND; i++)
            ck_assert_uint_eq(room[i], i < size ? 0 : 0xa5);
        free(room);
    }
    otok_counters_free(service.counters);
}
END_TEST

/* B1 */
START_TEST(wrong_arguments_are_refused_by_name)
{
    otok_error err = {0};
    otok_stats stats;
    char *text = NULL;
    otok_service service = counting("r");
    const otok_service *const services[] = {&service, NULL}, *const *const all = services;
    otok_stats_init(&stats, sizeof stats);
    otok_stats_init(NULL, sizeof stats);
    otok_counters_free(NULL);
    test_assert_code(OTOK_E_INVALID, otok_stats_get(NULL, &stats, &err));
    ck_assert_str_eq(err.message, "service is required");
    test_assert_code(OTOK_E_INVALID, otok_stats_get(&service, NULL, &err));
    ck_assert_str_eq(err.message, "stats is required");
    static const size_t sizes[] = {0, 1, sizeof(size_t) - 1, UINT16_MAX + 1, SIZE_MAX};
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        stats.size = sizes[i];
        test_assert_code(OTOK_E_INVALID, otok_stats_get(&service, &stats, &err));
        ck_assert_msg(strstr(err.message, "otok_stats_init") != NULL, "%s", err.message);
    }
    test_assert_code(OTOK_E_INVALID, otok_stats_openmetrics(all, 1, NULL, &err));
    ck_assert_str_eq(err.message, "out is required");
    test_assert_code(OTOK_E_INVALID, otok_stats_openmetrics(all, 0, &text, &err));
    ck_assert_str_eq(err.message, "n is 0");
    test_assert_code(OTOK_E_INVALID, otok_stats_openmetrics(NULL, 1, &text, &err));
    ck_assert_str_eq(err.message, "services is required");
    text = (char *)&err;
    test_assert_code(OTOK_E_INVALID, otok_stats_openmetrics(all, 2, &text, &err));
    ck_assert_str_eq(err.message, "services[1] is required");
    ck_assert_ptr_null(text);
    otok_counters_free(service.counters);
}
END_TEST

static const char *const families[] = {
    "offlinetok_sessions_issued",   "offlinetok_sessions_adopted",  "offlinetok_refreshes_answered",
    "offlinetok_refreshes_rotated", "offlinetok_refreshes_retried", "offlinetok_tokens_refused",
    "offlinetok_tokens_forged",     "offlinetok_tokens_reused",     "offlinetok_sessions_revoked",
    "offlinetok_sessions_evicted",  "offlinetok_sessions_expired",  "offlinetok_cutoffs_set",
    "offlinetok_consents_granted",  "offlinetok_consents_revoked",  "offlinetok_introspections",
    "offlinetok_tokens_ahead",      "offlinetok_commit_conflicts",  "offlinetok_outbox_overflows",
};
enum { FAMILIES = sizeof families / sizeof families[0] };

/* The next line of a text that ends each with a newline. */
static const char *next_line(const char **at)
{
    static char line[1024];
    const char *end = strchr(*at, '\n');
    ck_assert_ptr_nonnull(end);
    ck_assert_int_lt(end - *at, (int)sizeof line);
    memcpy(line, *at, (size_t)(end - *at));
    line[end - *at] = '\0';
    *at = end + 1;
    return line;
}

static char *metrics_of(const otok_service *const *services, size_t n)
{
    otok_error err = {0};
    char *text = NULL;
    int rc = otok_stats_openmetrics(services, n, &text, &err);
    ck_assert_msg(rc == OTOK_OK, "%s: %s", otok_error_name(rc), err.message);
    return text;
}

/* E3: the names for ever, in the order of otok_stats; a family stands together, its realms in the order given. */
START_TEST(openmetrics_has_every_family_whole_and_once)
{
    otok_service b = counting("b"), a = counting("a");
    const otok_service *services[] = {&b, &a};
    char expected[256];
    count_many(&a);
    char *text = metrics_of(services, 2);
    const char *at = text;
    otok_stats counts = stats_of(&a);
    for (size_t i = 0; i < FAMILIES; i++) {
        (void)snprintf(expected, sizeof expected, "# TYPE %s counter", families[i]);
        ck_assert_str_eq(next_line(&at), expected);
        int prefix = snprintf(expected, sizeof expected, "# HELP %s ", families[i]);
        const char *help = next_line(&at);
        ck_assert_int_eq(strncmp(help, expected, (size_t)prefix), 0);
        ck_assert_int_eq(help[strlen(help) - 1], '.');
        (void)snprintf(expected, sizeof expected, "%s_total{realm=\"b\"} 0", families[i]);
        ck_assert_str_eq(next_line(&at), expected);
        (void)snprintf(expected, sizeof expected, "%s_total{realm=\"a\"} %llu", families[i],
                       (unsigned long long)(&counts.issued)[i]);
        ck_assert_str_eq(next_line(&at), expected);
    }
    ck_assert_str_eq(at, "# EOF\n");
    otok_string_free(text);
    otok_counters_free(a.counters);
    otok_counters_free(b.counters);
}
END_TEST

/* E3: each member has a family. */
START_TEST(every_member_of_stats_is_a_family)
{
    ck_assert_uint_eq((sizeof(otok_stats) - offsetof(otok_stats, issued)) / sizeof(uint64_t), FAMILIES);
}
END_TEST

/* E3: OpenMetrics 1.0, "escaped-string". */
START_TEST(realms_are_escaped)
{
    static const char *const rows[][2] = {
        {"https://id.example.org/a", "https://id.example.org/a"},
        {"\"", "\\\""},
        {"\\", "\\\\"},
        {"\\\"} 1 # {", "\\\\\\\"} 1 # {"},
        {"\\n", "\\\\n"},
        {"Z\xc3\xbcrich \xe2\x82\xac \xf0\x9f\x94\x91", "Z\xc3\xbcrich \xe2\x82\xac \xf0\x9f\x94\x91"},
        {" a , b=\"c\" ", " a , b=\\\"c\\\" "},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        char realm[64], expected[160];
        (void)snprintf(realm, sizeof realm, "%s", rows[i][0]);
        otok_service service = counting(realm);
        const otok_service *services[] = {&service};
        char *text = metrics_of(services, 1);
        (void)snprintf(expected, sizeof expected, "\nofflinetok_tokens_forged_total{realm=\"%s\"} 0\n", rows[i][1]);
        ck_assert_msg(strstr(text, expected) != NULL, "row %zu: %s", i, text);
        otok_string_free(text);
        otok_counters_free(service.counters);
    }
}
END_TEST

/* E3: two time series of one name and one realm are none; wherever they stand. */
START_TEST(two_services_of_one_realm_are_refused)
{
    char *realms[] = {"d", "b", "a", "b2", "c"};
    otok_service services[5];
    const otok_service *list[6];
    for (size_t i = 0; i < 5; i++) {
        services[i] = counting(realms[i]);
        list[i] = &services[i];
    }
    otok_string_free(metrics_of(list, 5));
    for (size_t i = 0; i < 5; i++) { /* the same service twice, and another one of that realm */
        otok_service twin = counting(realms[i]);
        for (size_t j = 0; j < 2; j++) {
            otok_error err = {0};
            char *text = realms[0];
            list[5] = j == 0 ? &services[i] : &twin;
            test_assert_code(OTOK_E_INVALID, otok_stats_openmetrics(list, 6, &text, &err));
            ck_assert_msg(strstr(err.message, "realm") != NULL, "%s", err.message);
            ck_assert_ptr_null(text);
        }
        otok_counters_free(twin.counters);
    }
    for (size_t i = 0; i < 5; i++)
        otok_counters_free(services[i].counters);
}
END_TEST

/* E3: thousands of realms over one store are fine. */
START_TEST(thousands_of_realms_are_one_text)
{
    enum { N = 5000 };
    static char realms[N][16];
    otok_service *services = calloc(N, sizeof *services);
    const otok_service **list = calloc(N, sizeof *list);
    for (size_t i = 0; i < N; i++) {
        (void)snprintf(realms[i], sizeof realms[i], "realm-%zu", (i * 7919) % N);
        services[i] = counting(realms[i]);
        list[i] = &services[i];
    }
    char *text = metrics_of(list, N);
    size_t lines = 0;
    for (const char *p = text; *p != '\0'; p++)
        lines += *p == '\n';
    ck_assert_uint_eq(lines, FAMILIES * (N + 2) + 1);
    otok_string_free(text);
    for (size_t i = 0; i < N; i++)
        otok_counters_free(services[i].counters);
    free(list);
    free(services);
}
END_TEST

/* B1 */
START_TEST(counters_and_text_that_find_no_memory_say_so)
{
    otok_counters *counters = NULL;
    otok_service service = counting("r");
    const otok_service *services[] = {&service};
    allocations_left = 0;
    test_assert_code(OTOK_E_NOMEM, otok_counters_new(&counters, NULL));
    ck_assert_ptr_null(counters);
    int rc = OTOK_E_NOMEM;
    for (int k = 0; rc != OTOK_OK; k++) {
        char *text = service.realm_text;
        allocations_left = k;
        rc = otok_stats_openmetrics(services, 1, &text, NULL);
        test_assert_code(k < 2 ? OTOK_E_NOMEM : rc, rc);
        ck_assert((text != NULL) == (rc == OTOK_OK));
        allocations_left = -1;
        otok_string_free(text);
    }
    otok_counters_free(service.counters);
}
END_TEST

static void add_tests(TCase *tcase)
{
    tcase_add_test(tcase, each_event_counts_for_what_it_is);
    tcase_add_test(tcase, what_has_no_event_is_counted_apart);
    tcase_add_test(tcase, counts_of_many_threads_add_up);
    tcase_add_test(tcase, stats_of_another_header_are_filled_to_their_size);
    tcase_add_test(tcase, wrong_arguments_are_refused_by_name);
    tcase_add_test(tcase, openmetrics_has_every_family_whole_and_once);
    tcase_add_test(tcase, every_member_of_stats_is_a_family);
    tcase_add_test(tcase, realms_are_escaped);
    tcase_add_test(tcase, two_services_of_one_realm_are_refused);
    tcase_add_test(tcase, thousands_of_realms_are_one_text);
    tcase_add_test(tcase, counters_and_text_that_find_no_memory_say_so);
}

int main(void)
{
    return test_main("stats", add_tests);
}
