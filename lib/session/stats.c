/*
 * stats.c - what a service has done since it was opened, and the same as OpenMetrics text (E3).
 *
 * SPDX-License-Identifier: MIT
 */
#include "session/session.h"

#include <inttypes.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum counter {
    ISSUED,
    ADOPTED,
    REFRESHED,
    ROTATED,
    RETRIED,
    REFUSED,
    FORGED,
    REUSE,
    REVOKED,
    EVICTED,
    EXPIRED,
    CUTOFFS,
    CONSENTS_GRANTED,
    CONSENTS_REVOKED,
    INTROSPECTED,
    ROLLED_BACK,
    CONFLICTS,
    OUTBOX_OVERFLOWS,
    COUNTERS
};

/* A name once given stays: dashboards and alerts know it. */
static const struct family {
    size_t member; /* of otok_stats */
    const char *name, *help;
} families[COUNTERS] = {
    [ISSUED] = {offsetof(otok_stats, issued), "sessions_issued", "Sessions issued, adopted ones among them."},
    [ADOPTED] = {offsetof(otok_stats, adopted), "sessions_adopted", "Sessions issued for a token of another system."},
    [REFRESHED] = {offsetof(otok_stats, refreshed), "refreshes_answered",
                   "Refreshes answered with tokens: kept, rotated and retried."},
    [ROTATED] = {offsetof(otok_stats, rotated), "refreshes_rotated", "Refreshes that rotated the offline token."},
    [RETRIED] = {offsetof(otok_stats, retried), "refreshes_retried",
                 "Refreshes with the previous token, answered with its successor again."},
    [REFUSED] = {offsetof(otok_stats, refused), "tokens_refused", "Genuine offline tokens that were refused."},
    [FORGED] = {offsetof(otok_stats, forged), "tokens_forged", "Offline tokens that were malformed or forged."},
    [REUSE] = {offsetof(otok_stats, reuse), "tokens_reused", "Superseded offline tokens that came back."},
    [REVOKED] = {offsetof(otok_stats, revoked), "sessions_revoked", "Sessions ended by a revocation."},
    [EVICTED] = {offsetof(otok_stats, evicted), "sessions_evicted",
                 "Sessions ended by a newer one at the limit of sessions."},
    [EXPIRED] = {offsetof(otok_stats, expired), "sessions_expired", "Expired sessions removed by the sweeper."},
    [CUTOFFS] = {offsetof(otok_stats, cutoffs), "cutoffs_set", "Cutoffs set."},
    [CONSENTS_GRANTED] = {offsetof(otok_stats, consents_granted), "consents_granted", "Consents granted or changed."},
    [CONSENTS_REVOKED] = {offsetof(otok_stats, consents_revoked), "consents_revoked", "Consents revoked."},
    [INTROSPECTED] = {offsetof(otok_stats, introspected), "introspections", "Introspections answered."},
    [ROLLED_BACK] = {offsetof(otok_stats, rolled_back), "tokens_ahead",
                     "Offline tokens that were ahead of the store: it was restored from an older backup."},
    [CONFLICTS] = {offsetof(otok_stats, conflicts), "commit_conflicts",
                   "Commits made again because others were faster."},
    [OUTBOX_OVERFLOWS] = {offsetof(otok_stats, outbox_overflows), "outbox_overflows",
                          "Commits whose events a full outbox left out."},
};

/* What each event counts for. */
static const struct tally {
    int32_t type;
    enum counter counter;
} tallies[] = {
    {OTOK_EVENT_ISSUED, ISSUED},
    {OTOK_EVENT_REFRESHED, REFRESHED},
    {OTOK_EVENT_RETRIED, REFRESHED},
    {OTOK_EVENT_RETRIED, RETRIED},
    {OTOK_EVENT_REFUSED, REFUSED},
    {OTOK_EVENT_REUSE, REUSE},
    {OTOK_EVENT_REVOKED, REVOKED},
    {OTOK_EVENT_EVICTED, EVICTED},
    {OTOK_EVENT_EXPIRED, EXPIRED},
    {OTOK_EVENT_CUTOFF, CUTOFFS},
    {OTOK_EVENT_CONSENT_GRANTED, CONSENTS_GRANTED},
    {OTOK_EVENT_CONSENT_REVOKED, CONSENTS_REVOKED},
    {OTOK_EVENT_STORE_ROLLED_BACK, ROLLED_BACK},
};

struct otok_counters {
    _Atomic uint64_t counts[COUNTERS];
};

int otok_counters_new(otok_counters **out, otok_error *err)
{
    *out = otok_calloc(1, sizeof **out);
    return *out != NULL ? OTOK_OK : otok_fail(err, OTOK_E_NOMEM, "out of memory");
}

void otok_counters_free(otok_counters *counters)
{
    otok_free(counters);
}

/* Nothing else is ordered by them. */
static void count(const otok_service *service, enum counter counter)
{
    atomic_fetch_add_explicit(&service->counters->counts[counter], 1, memory_order_relaxed);
}

static uint64_t count_of(const otok_service *service, size_t counter)
{
    return atomic_load_explicit(&service->counters->counts[counter], memory_order_relaxed);
}

void otok_count_event(const otok_service *service, const otok_event *event)
{
    for (size_t i = 0; i < sizeof tallies / sizeof tallies[0]; i++) {
        if (tallies[i].type == event->type)
            count(service, tallies[i].counter);
    }
    if (event->type == OTOK_EVENT_ISSUED && (event->marks & OTOK_EVENT_ADOPTED) != 0)
        count(service, ADOPTED);
}

void otok_count_one(const otok_service *service, int what)
{
    static const enum counter counters[] = {
        [OTOK_COUNT_FORGED] = FORGED,
        [OTOK_COUNT_CONFLICT] = CONFLICTS,
        [OTOK_COUNT_INTROSPECTED] = INTROSPECTED,
        [OTOK_COUNT_OUTBOX_OVERFLOW] = OUTBOX_OVERFLOWS,
        [OTOK_COUNT_ROTATED] = ROTATED,
    };
    count(service, counters[what]);
}

/* ---------------------------------------------------------------------------------------------------- as a struct */

void otok_stats_init(otok_stats *stats, size_t size)
{
    otok_struct_init(stats, size);
}

int otok_stats_get(const otok_service *service, otok_stats *stats, otok_error *err)
{
    otok_stats own = {0};
    if (service == NULL || stats == NULL)
        return otok_fail(err, OTOK_E_INVALID, "%s is required", service == NULL ? "service" : "stats");
    if (stats->size < sizeof(size_t) || stats->size > UINT16_MAX)
        return otok_fail(err, OTOK_E_INVALID, "otok_stats.size is %zu: call otok_stats_init() first", stats->size);
    own.size = stats->size;
    for (size_t i = 0; i < COUNTERS; i++) {
        uint64_t value = count_of(service, i);
        memcpy((char *)&own + families[i].member, &value, sizeof value);
    }
    memcpy(stats, &own, own.size < sizeof own ? own.size : sizeof own);
    return OTOK_OK;
}

/* ---------------------------------------------------------------------------------------------------- as text */

static int by_realm(const void *a, const void *b)
{
    return strcmp((*(const otok_service *const *)a)->realm_text, (*(const otok_service *const *)b)->realm_text);
}

/* Of two samples of one name and one realm a reader believes neither. */
static int check_realms(const otok_service *const *services, size_t n, otok_error *err)
{
    int rc = OTOK_OK;
    const otok_service **sorted = otok_calloc(n, sizeof *sorted);
    if (sorted == NULL)
        return otok_fail(err, OTOK_E_NOMEM, "out of memory");
    memcpy(sorted, services, n * sizeof *sorted);
    qsort(sorted, n, sizeof *sorted, by_realm);
    for (size_t i = 1; rc == OTOK_OK && i < n; i++) {
        if (by_realm(&sorted[i - 1], &sorted[i]) == 0)
            rc = otok_fail(err, OTOK_E_INVALID, "services: two have the realm %s", sorted[i]->realm_text);
    }
    otok_free(sorted);
    return rc;
}

/* A realm has no control characters, so these two are all that must be escaped. */
static void add_escaped(otok_buf *out, otok_str text)
{
    const char *p = text.data;
    for (size_t i = 0; i < text.len; i++) {
        if (p[i] == '"' || p[i] == '\\')
            otok_buf_add_u8(out, '\\');
        otok_buf_add_u8(out, (uint8_t)p[i]);
    }
}

static void add_sample(otok_buf *out, const otok_service *service, size_t counter)
{
    char value[32];
    otok_buf_add_text(out, "offlinetok_");
    otok_buf_add_text(out, families[counter].name);
    otok_buf_add_text(out, "_total{realm=\"");
    add_escaped(out, service->realm);
    (void)snprintf(value, sizeof value, "\"} %" PRIu64 "\n", count_of(service, counter));
    otok_buf_add_text(out, value);
}

static void add_metadata(otok_buf *out, const char *keyword, const char *family, const char *text)
{
    const char *const parts[] = {"# ", keyword, " offlinetok_", family, " ", text, "\n"};
    for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++)
        otok_buf_add_text(out, parts[i]);
}

/* All of a family stands together, whatever the number of realms (OpenMetrics 1.0, "MetricFamily"). */
static void add_families(otok_buf *out, const otok_service *const *services, size_t n)
{
    for (size_t i = 0; i < COUNTERS; i++) {
        add_metadata(out, "TYPE", families[i].name, "counter");
        add_metadata(out, "HELP", families[i].name, families[i].help);
        for (size_t j = 0; j < n; j++)
            add_sample(out, services[j], i);
    }
    otok_buf_add_text(out, "# EOF\n");
}

static int check_services(const otok_service *const *services, size_t n, otok_error *err)
{
    if (services == NULL || n == 0)
        return otok_fail(err, OTOK_E_INVALID, services == NULL ? "services is required" : "n is 0");
    for (size_t i = 0; i < n; i++) {
        if (services[i] == NULL)
            return otok_fail(err, OTOK_E_INVALID, "services[%zu] is required", i);
    }
    return check_realms(services, n, err);
}

int otok_stats_openmetrics(const otok_service *const *services, size_t n, char **out, otok_error *err)
{
    otok_buf text;
    if (out == NULL)
        return otok_fail(err, OTOK_E_INVALID, "out is required");
    *out = NULL;
    int rc = check_services(services, n, err);
    if (rc != OTOK_OK)
        return rc;
    otok_buf_init(&text, NULL, 0);
    add_families(&text, services, n);
    if (!text.failed)
        *out = otok_strndup(text.data, text.len);
    otok_buf_free(&text);
    return *out != NULL ? OTOK_OK : otok_fail(err, OTOK_E_NOMEM, "out of memory");
}
