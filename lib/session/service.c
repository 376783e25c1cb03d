/*
 * service.c - one realm's view of a store.
 *
 * SPDX-License-Identifier: MIT
 */
#include "session/session.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

enum { ISSUER_BOUND = 512, AUDIENCE_BOUND = 1024, REALM_BOUND = 255, DEADLINE_MS = 10000, PROOFS = 262144 };

void otok_config_init(otok_config *config, size_t size)
{
    otok_struct_init(config, size);
}

/* ---------------------------------------------------------------------------------------------------------------- open */

static int make_directory(const char *path, otok_error *err)
{
    bool made = mkdir(path, 0700) == 0;
    if (!made && errno != EEXIST)
        return otok_fail_errno(err, otok_error_of_errno(errno), errno, "cannot make %s: %s", path, strerror(errno));
    /* A new folder survives a power failure once the one it is in is synced; whoever made this one may not have got so far. */
    int rc = otok_folder_sync(path, made ? err : NULL);
    return made ? rc : OTOK_OK;
}

static char *path_in(const char *directory, const char *name)
{
    size_t size = strlen(directory) + strlen(name) + 2;
    char *path = otok_malloc(size);
    if (path != NULL)
        (void)snprintf(path, size, "%s/%s", directory, name);
    return path;
}

/*
 * The keyring is made before the store.  So a store without one has lost it, and a new one in its place would log everyone out
 * without a word.
 */
static int open_keyring(const char *path, bool has_store, otok_keyring **keyring, otok_error *err)
{
    if (!has_store)
        return otok_keyring_open(path, OTOK_ALG_DEFAULT, keyring, err);
    int rc = otok_keyring_load(path, NULL, keyring, err);
    if (rc == OTOK_E_NOT_FOUND)
        rc = otok_fail(err, OTOK_E_KEY, "%s is missing beside a store: restore it, or every token is lost", path);
    return rc;
}

/* A folder with store and keyring, both made when they are not there. */
static int open_directory(const otok_config *config, otok_store **store, otok_keyring **keyring, otok_error *err)
{
    struct stat st;
    if (config->directory == NULL)
        return otok_fail(err, OTOK_E_INVALID, "a store and a keyring are required, or config.directory");
    int rc = make_directory(config->directory, err);
    if (rc != OTOK_OK)
        return rc;
    char *keyring_path = path_in(config->directory, "keyring.json");
    char *store_path = path_in(config->directory, "store");
    char *data_path = path_in(config->directory, "store/data.mdb");
    if (keyring_path == NULL || store_path == NULL || data_path == NULL)
        rc = otok_fail(err, OTOK_E_NOMEM, "out of memory");
    if (rc == OTOK_OK)
        rc = open_keyring(keyring_path, stat(data_path, &st) == 0, keyring, err);
    if (rc == OTOK_OK)
        rc = otok_store_open_lmdb(store_path, NULL, store, err);
    otok_free(keyring_path);
    otok_free(store_path);
    otok_free(data_path);
    return rc;
}

static int check_config(const otok_config *config, otok_error *err)
{
    const otok_text_rule texts[] = {
        {config->issuer, "config.issuer", ISSUER_BOUND, true},
        {config->realm, "config.realm", REALM_BOUND, config->realm != NULL},
        {config->audience, "config.audience", AUDIENCE_BOUND, config->audience != NULL},
    };
    int rc = otok_texts_check(texts, sizeof texts / sizeof texts[0], err);
    if (rc != OTOK_OK)
        return rc;
    if (config->realm == NULL && strlen(config->issuer) > REALM_BOUND)
        return otok_fail(err, OTOK_E_INVALID, "config.realm is required: config.issuer is longer than %d bytes",
                         REALM_BOUND);
    if (config->deadline_ms < 0)
        return otok_fail(err, OTOK_E_INVALID, "config.deadline_ms is negative");
    return OTOK_OK;
}

/* Reads the structs of the config, which may be of other headers too, and refuses a policy that makes no sense at once. */
static int copy_structs(otok_service *service, const otok_config *config, otok_error *err)
{
    otok_rules rules;
    int rc = OTOK_OK;
    otok_policy_init(&service->policy, sizeof service->policy);
    if (config->policy != NULL)
        rc = otok_struct_read(&service->policy, sizeof service->policy, config->policy, sizeof(size_t), "otok_policy",
                              err);
    if (rc == OTOK_OK && config->callbacks != NULL)
        rc = otok_struct_read(&service->callbacks, sizeof service->callbacks, config->callbacks, sizeof(size_t),
                              "otok_callbacks", err);
    if (rc == OTOK_OK && config->ceilings != NULL)
        rc = otok_struct_read(&service->ceilings, sizeof service->ceilings, config->ceilings, sizeof(size_t),
                              "otok_ceilings", err);
    service->policy.size = sizeof service->policy;
    if (rc == OTOK_OK)
        rc = otok_ceilings_check(&service->ceilings, err);
    return rc == OTOK_OK ? otok_rules_of(&service->policy, &service->ceilings, true, false, &rules, err) : rc;
}

static int copy_texts(otok_service *service, const otok_config *config, otok_error *err)
{
    service->issuer = otok_strdup(config->issuer);
    service->realm_text = otok_strdup(config->realm != NULL ? config->realm : config->issuer);
    service->audience = otok_strdup(config->audience != NULL ? config->audience : config->issuer);
    if (service->issuer == NULL || service->realm_text == NULL || service->audience == NULL)
        return otok_fail(err, OTOK_E_NOMEM, "out of memory");
    service->realm = otok_str_of(service->realm_text);
    return OTOK_OK;
}

/* The service's store, and the keyring that it begins with; a reference of each. */
static int open_parts(otok_service *service, const otok_config *config, otok_store *store, otok_keyring *keyring,
                      otok_keyring **held, otok_error *err)
{
    if (store == NULL && keyring == NULL)
        return open_directory(config, &service->store, held, err);
    if (store == NULL || keyring == NULL)
        return otok_fail(err, OTOK_E_INVALID, "%s is required", store == NULL ? "store" : "keyring");
    service->store = otok_store_ref(store);
    *held = otok_keyring_ref(keyring);
    return OTOK_OK;
}

static int open_proofs(otok_service *service, otok_error *err)
{
    uint64_t salt;
    int rc = otok_random(&salt, sizeof salt, err);
    return rc == OTOK_OK ? otok_seen_new(PROOFS, salt, &service->proofs, err) : rc;
}

static int fill(otok_service *service, const otok_config *config, otok_store *store, otok_keyring *keyring,
                otok_error *err)
{
    otok_keyring *held = NULL;
    service->user = config->user;
    service->outbox_limit = config->outbox_limit;
    int64_t deadline_ms = config->deadline_ms != 0 ? config->deadline_ms : DEADLINE_MS;
    service->deadline_us = deadline_ms > INT64_MAX / OTOK_US_PER_MS ? OTOK_UNLIMITED : deadline_ms * OTOK_US_PER_MS;
    int rc = copy_structs(service, config, err);
    if (rc == OTOK_OK)
        rc = copy_texts(service, config, err);
    if (rc == OTOK_OK)
        rc = otok_counters_new(&service->counters, err);
    if (rc == OTOK_OK)
        rc = open_proofs(service, err);
    if (rc == OTOK_OK)
        rc = open_parts(service, config, store, keyring, &held, err);
    if (rc == OTOK_OK)
        rc = otok_key_cell_new(service, held, &service->keys, err);
    otok_keyring_free(held);
    return rc;
}

int otok_service_open(const otok_config *config, otok_store *store, otok_keyring *keyring, otok_service **out,
                      otok_error *err)
{
    otok_config own;
    if (out == NULL)
        return otok_fail(err, OTOK_E_INVALID, "out is required");
    *out = NULL;
    int rc = otok_struct_read(&own, sizeof own, config, sizeof(size_t) + sizeof(char *), "otok_config", err);
    if (rc == OTOK_OK)
        rc = check_config(&own, err);
    if (rc == OTOK_OK)
        rc = otok_crypto_check(err);
    if (rc != OTOK_OK)
        return rc;
    otok_service *service = otok_calloc(1, sizeof *service);
    if (service == NULL)
        return otok_fail(err, OTOK_E_NOMEM, "out of memory");
    rc = fill(service, &own, store, keyring, err);
    if (rc != OTOK_OK) {
        otok_service_close(service);
        return rc;
    }
    *out = service;
    return OTOK_OK;
}

void otok_service_close(otok_service *service)
{
    if (service == NULL)
        return;
    otok_key_cell_free(service->keys);
    otok_counters_free(service->counters);
    otok_seen_free(service->proofs);
    otok_free(service->issuer);
    otok_free(service->realm_text);
    otok_free(service->audience);
    otok_store_close(service->store);
    otok_free(service);
}

/* ------------------------------------------------------------------------------------------------------------- helpers */

int64_t otok_service_now(const otok_service *service)
{
    int64_t now_us = service->callbacks.now != NULL ? service->callbacks.now(service->user) : otok_clock_now_us();
    return now_us > 0 ? now_us : 0; /* before 1970 there were no sessions */
}

/* A host of a newer header writes a larger policy: what it is lent has room for that, and what is not known here must be 0, as in configs. */
enum { LATER_MEMBERS = 512 };

struct lent_policy {
    otok_policy policy;
    uint8_t later[LATER_MEMBERS];
};

static int ask_client_policy(const otok_service *service, const char *client_id, otok_policy *policy, otok_error *err)
{
    struct lent_policy lent = {.policy = service->policy};
    if (service->callbacks.client_policy(service->user, client_id, &lent.policy) != 0)
        return otok_fail(err, OTOK_E_CALLBACK, "the host's client_policy callback failed");
    lent.policy.size = sizeof lent;
    return otok_struct_read(policy, sizeof *policy, &lent, sizeof lent, "otok_policy", err) == OTOK_OK
               ? OTOK_OK
               : otok_fail(err, OTOK_E_CALLBACK,
                           "the host's client_policy callback set what this version does not know");
}

int otok_service_rules(const otok_service *service, const char *client_id, bool is_public, uint8_t binding,
                       otok_rules *out, otok_error *err)
{
    otok_policy policy = service->policy;
    int rc = service->callbacks.client_policy != NULL ? ask_client_policy(service, client_id, &policy, err) : OTOK_OK;
    return rc == OTOK_OK ? otok_rules_of(&policy, &service->ceilings, is_public, binding != OTOK_BINDING_NONE, out, err)
                         : rc;
}

otok_attempts otok_attempts_begin(const otok_service *service)
{
    return (otok_attempts){.service = service,
                           .deadline_us = otok_time_add(otok_clock_monotonic_us(), service->deadline_us)};
}

bool otok_attempts_again(otok_attempts *attempts, int *result, otok_error *err)
{
    if (*result != OTOK_E_CONFLICT)
        return false;
    if (++attempts->made >= OTOK_ATTEMPTS) {
        (void)otok_fail(err, OTOK_E_CONFLICT, "others were faster %d times: try again", OTOK_ATTEMPTS);
        return false;
    }
    if (otok_clock_monotonic_us() < attempts->deadline_us) {
        otok_count_one(attempts->service, OTOK_COUNT_CONFLICT);
        return true;
    }
    *result = otok_fail(err, OTOK_E_BUSY, "not done within the deadline: try again");
    return false;
}
