/*
 * print_metrics.c - services with awkward realms do what can be counted; their OpenMetrics text goes to
 * FOLDER/metrics.txt, and what was done, counted by hand, to FOLDER/expected.tsv: realm, metric, value.
 * check_metrics.py compares them (E3).
 *
 * SPDX-License-Identifier: MIT
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <offlinetok/offlinetok.h>

static const char *const realms[] = {
    "https://id.example.org/realms/plain",
    "\"in quotes\"",
    "back\\slash\\",
    "\\n is no newline, \\\" no quote",
    "x\"} 1 # {y=\"",
    " two  spaces , and={braces} ",
    "Z\xc3\xbcrich \xe2\x82\xac \xf0\x9f\x94\x91 \xe6\x97\xa5\xe6\x9c\xac",
    "# EOF",
};
enum { REALMS = sizeof realms / sizeof realms[0], SESSION_LIMIT = 3 };

#define DAY_US (INT64_C(86400) * 1000000)

static int64_t clock_us;

static int64_t now(void *user)
{
    (void)user;
    return clock_us;
}

static void must(int got, int expected, const otok_error *err)
{
    if (got == expected)
        return;
    fprintf(stderr, "%s in place of %s: %s\n", otok_error_name(got), otok_error_name(expected), err->message);
    exit(EXIT_FAILURE);
}

/* "old-NAME" is a token of the system before. */
static int adopt(void *user, const char *token, const char *client_id, otok_adoption *adoption)
{
    otok_grant grant;
    otok_legacy legacy;
    (void)user;
    if (strncmp(token, "old-", 4) != 0)
        return 0;
    otok_grant_init(&grant, sizeof grant);
    grant.subject = "erin";
    grant.client_id = client_id;
    grant.client_type = OTOK_CLIENT_PUBLIC;
    grant.scope = "openid offline_access";
    otok_legacy_init(&legacy, sizeof legacy);
    legacy.id = token;
    legacy.started_us = clock_us;
    legacy.grant = &grant;
    return otok_legacy_set(adoption, &legacy, NULL);
}

static otok_service *open_service(const char *realm, otok_store *store, otok_keyring *keyring)
{
    otok_policy policy;
    otok_callbacks callbacks;
    otok_config config;
    otok_error err;
    otok_service *service = NULL;
    otok_policy_init(&policy, sizeof policy);
    policy.session_limit = SESSION_LIMIT;
    otok_callbacks_init(&callbacks, sizeof callbacks);
    callbacks.now = now;
    callbacks.adopt = adopt;
    otok_config_init(&config, sizeof config);
    config.issuer = "https://id.example.org";
    config.realm = realm;
    config.policy = &policy;
    config.callbacks = &callbacks;
    must(otok_service_open(&config, store, keyring, &service, &err), OTOK_OK, &err);
    return service;
}

static otok_tokens *issue(otok_service *service, const char *subject)
{
    otok_grant grant;
    otok_error err;
    otok_tokens *tokens = NULL;
    otok_grant_init(&grant, sizeof grant);
    grant.subject = subject;
    grant.client_id = "phone";
    grant.client_type = OTOK_CLIENT_PUBLIC;
    grant.scope = "openid offline_access";
    must(otok_issue(service, &grant, &tokens, &err), OTOK_OK, &err);
    return tokens;
}

static void refresh(otok_service *service, const char *token, const char *client_id, int expected)
{
    otok_refresh_request request;
    otok_error err;
    otok_tokens *tokens = NULL;
    otok_refresh_request_init(&request, sizeof request);
    request.token = token;
    request.client_id = client_id;
    request.client_type = OTOK_CLIENT_PUBLIC;
    must(otok_refresh(service, &request, &tokens, &err), expected, &err);
    otok_tokens_free(tokens);
}

/* The numbers differ from realm to realm, and from what to what: a figure in another's place is seen. */
static void live(otok_service *service, uint64_t n, otok_stats *done)
{
    char subject[32];
    otok_error err;
    for (uint64_t i = 0; i < n; i++) { /* kept, rotated, retried; then its first token comes back */
        (void)snprintf(subject, sizeof subject, "alice-%" PRIu64, i);
        otok_tokens *tokens = issue(service, subject);
        refresh(service, tokens->offline_token, "phone", OTOK_OK);
        clock_us += DAY_US;
        refresh(service, tokens->offline_token, "phone", OTOK_OK);
        refresh(service, tokens->offline_token, "phone", OTOK_OK);
        refresh(service, tokens->offline_token, "phone", OTOK_OK);
        clock_us += DAY_US;
        refresh(service, tokens->offline_token, "phone", OTOK_E_TOKEN_REUSED);
        otok_tokens_free(tokens);
    }
    done->issued += n;
    done->refreshed += 4 * n;
    done->rotated += n;
    done->retried += 2 * n;
    done->reuse += n;
    done->revoked += n;

    otok_tokens *last = NULL;
    for (uint64_t i = 0; i < SESSION_LIMIT + n; i++) {
        otok_tokens_free(last);
        clock_us += 1000;
        last = issue(service, "bob");
        refresh(service, last->offline_token, "tablet", OTOK_E_CLIENT_MISMATCH);
    }
    done->issued += SESSION_LIMIT + n;
    done->evicted += n;
    done->refused += SESSION_LIMIT + n;
    must(otok_revoke_session(service, last->session_id, &err), OTOK_OK, &err);
    otok_tokens_free(last);
    done->revoked++;
}

static void forge(otok_service *service, uint64_t n, otok_stats *done)
{
    char token[] = "otok_AQEAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
    for (uint64_t i = 0; i < n; i++)
        refresh(service, i % 2 == 0 ? token : "otok_", "phone", OTOK_E_TOKEN_INVALID);
    done->forged += n;
}

static void introspect(otok_service *service, uint64_t n, otok_stats *done)
{
    otok_tokens *tokens = issue(service, "carol");
    otok_introspect_request request;
    otok_error err;
    otok_introspect_request_init(&request, sizeof request);
    request.token = tokens->offline_token;
    request.client_id = "phone";
    for (uint64_t i = 0; i < n; i++) {
        otok_introspection *introspection = NULL;
        must(otok_introspect(service, &request, &introspection, &err), OTOK_OK, &err);
        otok_introspection_free(introspection);
    }
    otok_tokens_free(tokens);
    done->issued++;
    done->introspected += n;
}

static void consent_and_cut_off(otok_service *service, uint64_t n, otok_stats *done)
{
    char client_id[32];
    otok_error err;
    otok_filter filter;
    otok_filter_init(&filter, sizeof filter);
    for (uint64_t i = 0; i < n + 1; i++) {
        (void)snprintf(client_id, sizeof client_id, "client-%" PRIu64, i);
        must(otok_consent_put(service, "dave", client_id, "openid", &err), OTOK_OK, &err);
    }
    for (uint64_t i = 0; i < n; i++) { /* which moves the cutoff of the two */
        (void)snprintf(client_id, sizeof client_id, "client-%" PRIu64, i);
        must(otok_consent_revoke(service, "dave", client_id, NULL, &err), OTOK_OK, &err);
    }
    for (uint64_t i = 0; i < n; i++) {
        (void)snprintf(client_id, sizeof client_id, "other-%" PRIu64, i);
        filter.client_id = client_id;
        must(otok_cutoff_set(service, &filter, OTOK_NOW, NULL, &err), OTOK_OK, &err);
    }
    done->consents_granted += n + 1;
    done->consents_revoked += n;
    done->cutoffs += 2 * n;
}

/* Each is adopted, and its token answered again while ours was not used (P4). */
static void bring_over(otok_service *service, uint64_t n, otok_stats *done)
{
    char token[32];
    for (uint64_t i = 0; i < n; i++) {
        (void)snprintf(token, sizeof token, "old-%" PRIu64, i);
        refresh(service, token, "desktop", OTOK_OK);
        clock_us += DAY_US / 24;
        refresh(service, token, "desktop", OTOK_OK);
    }
    done->issued += n;
    done->adopted += n;
    done->refreshed += n;
    done->retried += n;
}

/* What lives is seen dead, and a grace later removed: `n` sessions. */
static void expire(otok_service *service, uint64_t n, otok_stats *done)
{
    otok_error err;
    for (int i = 0; i < 2; i++) {
        clock_us += 40 * DAY_US;
        must(otok_sweep(service, 0, NULL, &err), OTOK_OK, &err);
    }
    done->expired += n;
}

static FILE *create(const char *folder, const char *name)
{
    char path[4096];
    (void)snprintf(path, sizeof path, "%s/%s", folder, name);
    FILE *file = fopen(path, "w");
    if (file == NULL) {
        perror(path);
        exit(EXIT_FAILURE);
    }
    return file;
}

static void print_expected(FILE *file, const char *realm, const otok_stats *done)
{
    const struct {
        const char *metric;
        uint64_t value;
    } rows[] = {
        {"offlinetok_sessions_issued", done->issued},
        {"offlinetok_sessions_adopted", done->adopted},
        {"offlinetok_refreshes_answered", done->refreshed},
        {"offlinetok_refreshes_rotated", done->rotated},
        {"offlinetok_refreshes_retried", done->retried},
        {"offlinetok_tokens_refused", done->refused},
        {"offlinetok_tokens_forged", done->forged},
        {"offlinetok_tokens_reused", done->reuse},
        {"offlinetok_sessions_revoked", done->revoked},
        {"offlinetok_sessions_evicted", done->evicted},
        {"offlinetok_sessions_expired", done->expired},
        {"offlinetok_cutoffs_set", done->cutoffs},
        {"offlinetok_consents_granted", done->consents_granted},
        {"offlinetok_consents_revoked", done->consents_revoked},
        {"offlinetok_introspections", done->introspected},
        {"offlinetok_tokens_ahead", done->rolled_back},
        {"offlinetok_commit_conflicts", done->conflicts},
        {"offlinetok_outbox_overflows", done->outbox_overflows},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        fprintf(file, "%s\t%s\t%" PRIu64 "\n", realm, rows[i].metric, rows[i].value);
}

int main(int argc, char **argv)
{
    otok_error err;
    otok_store *store = NULL;
    otok_keyring *keyring = NULL;
    otok_service *services[REALMS];
    char *text = NULL;
    if (argc != 2) {
        fprintf(stderr, "usage: print_metrics FOLDER\n");
        return EXIT_FAILURE;
    }
    FILE *expected = create(argv[1], "expected.tsv"), *metrics = create(argv[1], "metrics.txt");
    clock_us = INT64_C(1800000000000000);
    must(otok_store_open_memory(&store, &err), OTOK_OK, &err);
    must(otok_keyring_generate(OTOK_ALG_ES256, &keyring, &err), OTOK_OK, &err);
    for (size_t i = 0; i < REALMS; i++) {
        otok_stats done;
        otok_stats_init(&done, sizeof done);
        services[i] = open_service(realms[i], store, keyring);
        live(services[i], i, &done);
        forge(services[i], 2 * i + 1, &done);
        introspect(services[i], 3 * i + 2, &done);
        consent_and_cut_off(services[i], 5 * i, &done);
        bring_over(services[i], i % SESSION_LIMIT, &done);
        expire(services[i], done.issued - done.revoked - done.evicted, &done);
        print_expected(expected, realms[i], &done);
    }
    must(otok_stats_openmetrics((const otok_service *const *)services, REALMS, &text, &err), OTOK_OK, &err);
    fputs(text, metrics);
    otok_string_free(text);
    for (size_t i = 0; i < REALMS; i++)
        otok_service_close(services[i]);
    otok_keyring_free(keyring);
    otok_store_close(store);
    return fclose(expected) == 0 && fclose(metrics) == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
