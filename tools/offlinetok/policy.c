/*
 * policy.c - the servers' policies, from a file: states, sweeps and limits follow from them.
 *
 * SPDX-License-Identifier: MIT
 */
#include "tool.h"

#include <cjson/cJSON.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum { MOST_BYTES = 1 << 20 };

struct policies {
    cJSON *clients;
    otok_policy policy;
    otok_ceilings ceilings;
    uint64_t outbox_limit;
};

/* A member: a number of seconds or so, or one of some words, whose values are counted from 1. */
typedef struct member {
    const char *name;
    size_t offset;
    const char *words; /* NULL: a number of 64 bits */
} member;

#define POLICY(name, words)                                                                                            \
    {                                                                                                                  \
#name, offsetof(otok_policy, name), words                                                                      \
    }
#define CEILING(name)                                                                                                  \
    {                                                                                                                  \
#name, offsetof(otok_ceilings, name), NULL                                                                     \
    }

static const member of_policy[] = {
    POLICY(rotation, "never always auto"),
    POLICY(reuse, "reject end_session end_pair"),
    POLICY(ahead, "answer refuse"),
    POLICY(overlong, "refuse cut drop"),
    POLICY(idle_timeout_s, NULL),
    POLICY(max_lifetime_s, NULL),
    POLICY(retry_window_s, NULL),
    POLICY(retry_limit, NULL),
    POLICY(clock_skew_s, NULL),
    POLICY(rotate_after_s, NULL),
    POLICY(touch_interval_s, NULL),
    POLICY(sweep_grace_s, NULL),
    POLICY(access_token, "on off"),
    POLICY(access_token_revocation, "on off"),
    POLICY(access_token_lifetime_s, NULL),
    POLICY(id_token_lifetime_s, NULL),
    POLICY(public_clients, "on off"),
    POLICY(sender_constraint, "on off"),
    POLICY(consent, "on off"),
    POLICY(at_session_limit, "evict refuse"),
    POLICY(session_limit, NULL),
    POLICY(once_window_s, NULL),
    POLICY(once_keep_s, NULL),
    POLICY(once_reuse, "reject end_session"),
    POLICY(dpop_nonce, "on off"),
    POLICY(dpop_window_s, NULL),
};

static const member of_ceilings[] = {
    CEILING(idle_timeout_s),          CEILING(max_lifetime_s),      CEILING(retry_window_s),
    CEILING(access_token_lifetime_s), CEILING(id_token_lifetime_s), CEILING(session_limit),
};

/* ------------------------------------------------------------------------------------------------------- files */

char *file_read(const char *path, size_t most)
{
    FILE *file = fopen(path, "re");
    char *text = file != NULL ? malloc(most + 2) : NULL;
    if (file == NULL || text == NULL) {
        (void)complain_trouble("%s: %s", path, strerror(errno));
        if (file != NULL)
            (void)fclose(file);
        return NULL;
    }
    size_t len = fread(text, 1, most + 1, file);
    bool failed = ferror(file) != 0;
    (void)fclose(file);
    if (!failed && len <= most && memchr(text, '\0', len) == NULL) {
        text[len] = '\0';
        return text;
    }
    (void)complain_trouble("%s: %s", path, failed ? strerror(errno) : len > most ? "too long" : "is no text");
    free(text);
    return NULL;
}

/* ------------------------------------------------------------------------------------------------------- members */

/* The number of a word among `words`, from 1; 0: it is none of them. */
static int32_t choice_of(const char *words, const char *word)
{
    size_t len = strlen(word);
    int32_t n = 1;
    for (const char *at = words; *at != '\0'; n++) {
        size_t size = strcspn(at, " ");
        if (size == len && strncmp(at, word, len) == 0)
            return n;
        at += size + (at[size] == ' ' ? 1 : 0);
    }
    return 0;
}

static bool read_whole(const cJSON *value, int64_t *out)
{
    double number = cJSON_GetNumberValue(value);
    if (cJSON_IsString(value) && strcmp(value->valuestring, "unlimited") == 0) {
        *out = OTOK_UNLIMITED;
        return true;
    }
    if (!cJSON_IsNumber(value) || !(number >= 0 && number <= 9007199254740992.0))
        return false;
    *out = (int64_t)number;
    return (double)*out == number;
}

static bool set_member(void *room, const member *m, const cJSON *value)
{
    char *at = (char *)room + m->offset;
    if (m->words == NULL)
        return read_whole(value, (int64_t *)(void *)at);
    int32_t choice = cJSON_IsString(value) ? choice_of(m->words, value->valuestring) : 0;
    *(int32_t *)(void *)at = choice;
    return choice != 0;
}

static bool is_twice(const cJSON *value)
{
    for (const cJSON *next = value->next; next != NULL; next = next->next) {
        if (strcmp(next->string, value->string) == 0)
            return true;
    }
    return false;
}

/* What cannot be read is said; `where` is the object. */
static bool read_object(const cJSON *object, const char *where, const member *members, size_t n, void *room)
{
    const cJSON *value;
    if (!cJSON_IsObject(object)) {
        (void)complain_trouble("--policy: %s is no object", where);
        return false;
    }
    cJSON_ArrayForEach(value, object)
    {
        size_t i = 0;
        while (i < n && strcmp(members[i].name, value->string) != 0)
            i++;
        const char *fault = i == n ? "is not known" : is_twice(value) ? "is there twice" : NULL;
        if (fault == NULL && !set_member(room, &members[i], value))
            fault = members[i].words != NULL ? members[i].words : "is no number that makes sense";
        if (fault != NULL) {
            (void)complain_trouble("--policy: %s.%s: %s%s", where, value->string,
                                   fault == (i < n ? members[i].words : NULL) ? "is none of " : "", fault);
            return false;
        }
    }
    return true;
}

static bool read_policy(const cJSON *object, const char *where, otok_policy *policy)
{
    return read_object(object, where, of_policy, sizeof of_policy / sizeof of_policy[0], policy);
}

static bool read_client(const cJSON *client)
{
    otok_policy policy;
    otok_policy_init(&policy, sizeof policy);
    if (!is_twice(client))
        return read_policy(client, client->string, &policy);
    (void)complain_trouble("--policy: clients.%s is there twice", client->string);
    return false;
}

static bool read_clients(const cJSON *clients)
{
    const cJSON *client;
    if (!cJSON_IsObject(clients)) {
        (void)complain_trouble("--policy: clients is no object");
        return false;
    }
    cJSON_ArrayForEach(client, clients)
    {
        if (!read_client(client))
            return false;
    }
    return true;
}

static bool read_part(policies *p, const cJSON *part)
{
    static const member outbox[] = {{"outbox_limit", offsetof(policies, outbox_limit), NULL}};
    const char *name = part->string;
    if (is_twice(part))
        (void)complain_trouble("--policy: %s is there twice", name);
    else if (strcmp(name, "default") == 0)
        return read_policy(part, name, &p->policy);
    else if (strcmp(name, "clients") == 0)
        return read_clients(part);
    else if (strcmp(name, "ceilings") == 0)
        return read_object(part, name, of_ceilings, sizeof of_ceilings / sizeof of_ceilings[0], &p->ceilings);
    else if (strcmp(name, "outbox_limit") == 0 && set_member(p, outbox, part))
        return true;
    else
        (void)complain_trouble("--policy: %s: known are default, clients, ceilings, outbox_limit (a number)", name);
    return false;
}

static bool read_all(policies *p, const cJSON *all)
{
    const cJSON *part;
    if (!cJSON_IsObject(all)) {
        (void)complain_trouble("--policy: not a JSON object");
        return false;
    }
    cJSON_ArrayForEach(part, all)
    {
        if (!read_part(p, part))
            return false;
    }
    return true;
}

policies *policies_load(const char *path)
{
    char *text = file_read(path, MOST_BYTES);
    policies *p = text != NULL ? calloc(1, sizeof *p) : NULL;
    cJSON *all = p != NULL ? cJSON_ParseWithOpts(text, NULL, 1) : NULL;
    free(text);
    if (p == NULL)
        return NULL;
    otok_policy_init(&p->policy, sizeof p->policy);
    otok_ceilings_init(&p->ceilings, sizeof p->ceilings);
    if (all == NULL)
        (void)complain_trouble("%s: not JSON", path);
    if (all == NULL || !read_all(p, all)) {
        cJSON_Delete(all);
        free(p);
        return NULL;
    }
    p->clients = cJSON_DetachItemFromObjectCaseSensitive(all, "clients");
    cJSON_Delete(all);
    return p;
}

void policies_free(policies *p)
{
    if (p != NULL)
        cJSON_Delete(p->clients);
    free(p);
}

const otok_policy *policies_default(const policies *p)
{
    return p != NULL ? &p->policy : NULL;
}

const otok_ceilings *policies_ceilings(const policies *p)
{
    return p != NULL ? &p->ceilings : NULL;
}

uint64_t policies_outbox_limit(const policies *p)
{
    return p != NULL ? p->outbox_limit : 0;
}

int policies_of_client(const policies *p, const char *client_id, otok_policy *policy)
{
    const cJSON *own = p != NULL ? cJSON_GetObjectItemCaseSensitive(p->clients, client_id) : NULL;
    return own == NULL || read_policy(own, client_id, policy) ? 0 : -1;
}
