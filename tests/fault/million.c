/*
 * million.c - a million sessions on LMDB: issued, counted, listed page by page, a sample of them refreshed, all of them moved
 * to another store, checked, backed up and swept; and the memory of the process does not grow with them (Q1, Q3, L6, S3, S4).
 *
 *     million [SESSIONS [FOLDER]]     1000000; a new folder under TMPDIR, or /tmp
 *
 * What is measured is RssAnon: the map of LMDB counts as pages of its file, which the kernel takes back when it likes.
 * The store is opened with no_sync: a commit of its own for each session, without waiting for the disk a million times.
 *
 * SPDX-License-Identifier: MIT
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "support/crew.h"
#include "support/fixture.h"

enum { THREADS = 2, SAMPLE = 20000, PAGE = 1000, CLIENTS = 10, MOST_GROWTH_KIB = 32 * 1024 };

typedef struct sample {
    char token[OTOK_TOKEN_CHARS + 1];
    char client_id[16];
} sample;

typedef struct run {
    otok_service *service;
    uint64_t sessions, every; /* every one of how many is in the sample */
    uint64_t first, last;     /* of the stage that runs */
    int64_t now_us;
    sample *samples;
    long base_kib; /* RssAnon when a tenth was there */
    int64_t begun_us;
    bool failed;
} run;

/* ------------------------------------------------------------------------------------------------------ the figures */

static long memory_kib(const char *name)
{
    char line[256];
    long kib = -1;
    FILE *status = fopen("/proc/self/status", "r");
    while (status != NULL && fgets(line, sizeof line, status) != NULL) {
        if (strncmp(line, name, strlen(name)) == 0)
            kib = strtol(line + strlen(name) + 1, NULL, 10);
    }
    if (status != NULL)
        (void)fclose(status);
    return kib;
}

static void begin(run *r)
{
    r->begun_us = otok_clock_monotonic_us();
}

/* A line of what was done, how fast, and in how much memory. */
static void tell(run *r, const char *what, uint64_t n)
{
    double seconds = (double)(otok_clock_monotonic_us() - r->begun_us) / 1e6;
    long anon_kib = memory_kib("RssAnon");
    printf("%-28s %9llu in %6.1f s, %8.0f a second; RssAnon %7ld KiB, VmRSS %8ld KiB\n", what, (unsigned long long)n,
           seconds, seconds > 0 ? (double)n / seconds : 0, anon_kib, memory_kib("VmRSS"));
    (void)fflush(stdout);
    if (r->base_kib != 0 && anon_kib > r->base_kib + MOST_GROWTH_KIB) {
        printf("FAILED: RssAnon has grown by %ld KiB since a tenth of the sessions was there\n",
               anon_kib - r->base_kib);
        r->failed = true;
    }
}

static void must(run *r, int rc, const otok_error *err, const char *what)
{
    if (rc == OTOK_OK)
        return;
    printf("FAILED: %s: %s: %s\n", what, otok_error_name(rc), err->message);
    r->failed = true;
}

static void must_be(run *r, uint64_t seen, uint64_t expected, const char *what)
{
    if (seen == expected)
        return;
    printf("FAILED: %s: %llu, not %llu\n", what, (unsigned long long)seen, (unsigned long long)expected);
    r->failed = true;
}

/* ------------------------------------------------------------------------------------------------------- the stages */

static int64_t run_now(void *user)
{
    return __atomic_load_n(&((run *)user)->now_us, __ATOMIC_SEQ_CST);
}

static void issue_one(run *r, uint64_t i)
{
    char subject[32], client_id[16];
    otok_error err = {0};
    otok_tokens *tokens = NULL;
    (void)snprintf(subject, sizeof subject, "user-%llu", (unsigned long long)(i / CLIENTS));
    (void)snprintf(client_id, sizeof client_id, "client-%d", (int)(i % CLIENTS));
    otok_grant grant = test_grant(subject, client_id, "offline_access");
    must(r, otok_issue(r->service, &grant, &tokens, &err), &err, "otok_issue");
    if (tokens != NULL && i % r->every == 0 && i / r->every < SAMPLE) {
        sample *s = &r->samples[i / r->every];
        memcpy(s->token, tokens->offline_token, sizeof s->token);
        memcpy(s->client_id, client_id, sizeof s->client_id);
    }
    otok_tokens_free(tokens);
}

static void issue_share(void *arg, size_t thread)
{
    run *r = arg;
    for (uint64_t i = r->first + thread; i < r->last && !r->failed; i += THREADS)
        issue_one(r, i);
}

static void issue(run *r, uint64_t first, uint64_t last)
{
    r->first = first;
    r->last = last;
    begin(r);
    test_threads(THREADS, issue_share, r);
    tell(r, "issued", last - first);
}

static uint64_t list_all(run *r, const otok_filter *filter)
{
    char cursor[OTOK_CURSOR_CHARS + 1];
    uint64_t n = 0;
    bool more = true;
    otok_list_request request;
    otok_list_request_init(&request, sizeof request);
    request.filter = filter;
    request.limit = PAGE;
    while (more && !r->failed) {
        otok_error err = {0};
        otok_page *page = NULL;
        must(r, otok_list(r->service, &request, &page, &err), &err, "otok_list");
        more = page != NULL && page->next_cursor != NULL;
        n += page != NULL ? page->count : 0;
        if (more)
            memcpy(cursor, page->next_cursor, sizeof cursor);
        request.cursor = cursor;
        otok_page_free(page);
    }
    return n;
}

static void count_and_list(run *r)
{
    otok_filter filter;
    otok_error err = {0};
    uint64_t n = 0;
    otok_filter_init(&filter, sizeof filter);
    filter.whole_realm = 1;
    begin(r);
    must(r, otok_count(r->service, &filter, &n, &err), &err, "otok_count");
    must_be(r, n, r->sessions, "otok_count");
    n = list_all(r, &filter);
    must_be(r, n, r->sessions, "listed");
    tell(r, "listed by page", n);
}

static void refresh_sample(run *r)
{
    uint64_t n = 0, most = (r->sessions + r->every - 1) / r->every;
    begin(r);
    for (; n < most && n < SAMPLE && !r->failed; n++) {
        otok_error err = {0};
        otok_tokens *tokens = NULL;
        otok_refresh_request request;
        otok_refresh_request_init(&request, sizeof request);
        request.token = r->samples[n].token;
        request.client_id = r->samples[n].client_id;
        request.client_type = OTOK_CLIENT_PUBLIC;
        must(r, otok_refresh(r->service, &request, &tokens, &err), &err, "otok_refresh");
        must_be(r, tokens != NULL ? tokens->generation : 0, 1, "generation");
        otok_tokens_free(tokens);
    }
    tell(r, "refreshed with rotation", n);
}

/* ------------------------------------------------------------------------------------------------------- moving them */

static int write_file(void *user, const void *data, size_t len)
{
    return fwrite(data, 1, len, user) == len ? 0 : 1;
}

static int read_file(void *user, void *data, size_t room, size_t *len)
{
    *len = fread(data, 1, room, user);
    return ferror((FILE *)user) != 0;
}

static void check_store(run *r, otok_store *store, uint64_t records, const char *what)
{
    otok_check result;
    otok_error err = {0};
    otok_check_init(&result, sizeof result);
    begin(r);
    must(r, otok_store_check(store, 0, NULL, &result, &err), &err, what);
    must_be(r, result.findings, 0, what);
    must_be(r, result.records, records, what);
    tell(r, what, result.records + result.index_entries);
}

static void check_service(run *r)
{
    otok_check result;
    otok_error err = {0};
    otok_check_init(&result, sizeof result);
    begin(r);
    must(r, otok_service_check(r->service, NULL, &result, &err), &err, "otok_service_check");
    must_be(r, result.findings, 0, "otok_service_check");
    must_be(r, result.sessions, r->sessions, "otok_service_check");
    tell(r, "seals checked", result.records);
}

static otok_store *open_beside(run *r, const char *folder, const char *name)
{
    char path[4200];
    otok_lmdb_options options;
    otok_error err = {0};
    otok_store *store = NULL;
    otok_lmdb_options_init(&options, sizeof options);
    options.no_sync = 1;
    (void)snprintf(path, sizeof path, "%s/%s", folder, name);
    must(r, otok_store_open_lmdb(path, &options, &store, &err), &err, "opening another store");
    return store;
}

static uint64_t import_file(run *r, FILE *file, otok_store *to, int32_t mode, otok_transfer *result)
{
    otok_import import;
    otok_error err = {0};
    otok_import_init(&import, sizeof import);
    otok_transfer_init(result, sizeof *result);
    import.read = read_file;
    import.user = file;
    import.mode = mode;
    rewind(file);
    begin(r);
    must(r, otok_store_import(to, &import, NULL, result, &err), &err, "otok_store_import");
    tell(r, mode == OTOK_IMPORT_ADD ? "imported" : "mirrored", result->records);
    return result->records;
}

static void move_all(run *r, otok_store *from, const char *folder)
{
    otok_transfer result;
    otok_error err = {0};
    FILE *file = tmpfile();
    otok_store *to = open_beside(r, folder, "moved");
    otok_transfer_init(&result, sizeof result);
    begin(r);
    must(r, otok_store_export(from, write_file, file, NULL, &result, &err), &err, "otok_store_export");
    tell(r, "exported", result.records);
    uint64_t records = result.records;
    must_be(r, import_file(r, file, to, OTOK_IMPORT_ADD, &result), records, "imported");
    must_be(r, result.inserted, records, "inserted");
    (void)import_file(r, file, to, OTOK_IMPORT_MIRROR, &result);
    must_be(r, result.same, records, "the same");
    check_store(r, to, records, "checked, with its index");
    otok_store_close(to);
    (void)fclose(file);
    check_service(r);
}

static void back_up(run *r, otok_store *from, const char *folder)
{
    char path[4200];
    otok_check result;
    otok_error err = {0};
    otok_check_init(&result, sizeof result);
    must(r, otok_store_check(from, 0, NULL, &result, &err), &err, "otok_store_check");
    (void)snprintf(path, sizeof path, "%s/backup", folder);
    begin(r);
    must(r, otok_store_backup(from, path, NULL, &err), &err, "otok_store_backup");
    tell(r, "backed up and verified", result.records);
    otok_store *copy = open_beside(r, folder, "backup");
    if (copy != NULL)
        check_store(r, copy, result.records, "checked the copy");
    otok_store_close(copy);
}

/* ----------------------------------------------------------------------------------------------------- sweeping them */

/* Until there is no more to do at once; what was visited and what was removed. */
static uint64_t sweep(run *r, uint64_t *visited)
{
    uint64_t removed = 0;
    otok_sweep_result result;
    do {
        otok_error err = {0};
        otok_sweep_result_init(&result, sizeof result);
        must(r, otok_sweep(r->service, 0, &result, &err), &err, "otok_sweep");
        removed += result.expired + result.cut_off;
        *visited += result.visited;
    } while (result.more != 0 && !r->failed);
    return removed;
}

static void sweep_all(run *r)
{
    otok_filter filter;
    uint64_t visited = 0, left = 0;
    otok_filter_init(&filter, sizeof filter);
    filter.whole_realm = 1;
    r->now_us += 45 * OTOK_DAY_US;
    begin(r);
    must_be(r, sweep(r, &visited), 0, "removed before the grace");
    tell(r, "swept: seen dead", visited);
    r->now_us += 2 * OTOK_DAY_US;
    visited = 0;
    begin(r);
    must_be(r, sweep(r, &visited), r->sessions, "removed");
    tell(r, "swept: removed", visited);
    must(r, otok_count(r->service, &filter, &left, NULL), &(otok_error){0}, "otok_count");
    must_be(r, left, 0, "left");
}

/* ---------------------------------------------------------------------------------------------------------- the run */

static int open_service(run *r, const char *folder, otok_store **store, otok_keyring **keyring, otok_error *err)
{
    otok_lmdb_options options;
    otok_policy policy;
    otok_callbacks callbacks;
    otok_config config;
    otok_lmdb_options_init(&options, sizeof options);
    options.no_sync = 1;
    otok_policy_init(&policy, sizeof policy);
    policy.access_token = OTOK_OFF;
    otok_callbacks_init(&callbacks, sizeof callbacks);
    callbacks.now = run_now;
    otok_config_init(&config, sizeof config);
    config.issuer = TEST_ISSUER;
    config.policy = &policy;
    config.callbacks = &callbacks;
    config.user = r;
    int rc = otok_store_open_lmdb(folder, &options, store, err);
    if (rc == OTOK_OK)
        rc = otok_keyring_generate(OTOK_ALG_ES256, keyring, err);
    return rc == OTOK_OK ? otok_service_open(&config, *store, *keyring, &r->service, err) : rc;
}

int main(int argc, char **argv)
{
    run r = {.sessions = argc > 1 ? strtoull(argv[1], NULL, 10) : 1000000, .now_us = TEST_START_US};
    char *own = argc > 2 ? NULL : test_new_folder(), *beside = test_new_folder();
    otok_store *store = NULL;
    otok_keyring *keyring = NULL;
    otok_error err = {0};
    r.every = r.sessions > SAMPLE ? r.sessions / SAMPLE : 1;
    r.samples = calloc(SAMPLE, sizeof *r.samples);
    memset(r.samples, 1, SAMPLE * sizeof *r.samples); /* in memory before anything is measured */
    must(&r, open_service(&r, own != NULL ? own : argv[2], &store, &keyring, &err), &err, "opening");
    if (!r.failed) {
        issue(&r, 0, r.sessions / 10);
        r.base_kib = memory_kib("RssAnon");
        issue(&r, r.sessions / 10, r.sessions);
        count_and_list(&r);
        r.now_us += 3600 * OTOK_US_PER_S;
        refresh_sample(&r);
        move_all(&r, store, beside);
        back_up(&r, store, beside);
        sweep_all(&r);
    }
    otok_service_close(r.service);
    otok_keyring_free(keyring);
    otok_store_close(store);
    free(r.samples);
    test_remove_folder(own);
    test_remove_folder(beside);
    printf("%s\n", r.failed ? "FAILED" : "passed");
    return r.failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
