/*
 * population.c - a store with as many sessions as is asked for, all issued by the library, each with its token at hand.
 *
 * Issuing a million sessions one durable commit after another would take an hour.  So they are issued through a store of our own,
 * which gathers what is written and hands it to the real one, opened with no_sync, a thousand records at once.
 *
 * SPDX-License-Identifier: MIT
 */
#include "bench/bench.h"

#include <fcntl.h>
#include <lmdb.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "support/crew.h"

/* Apart by so much: five million are 23 days, and none has been idle for too long. */
enum { STEP_US = 400000, ISSUERS = 2, GATHERED = 1000, SESSIONS_OF_A_USER = 5 };

#define BEGIN_US INT64_C(1800000000000000)

/* --------------------------------------------------------------------------------------------------- who is there */

/* SplitMix64: the same sessions in every run. */
static uint64_t mixed(uint64_t i)
{
    i += UINT64_C(0x9e3779b97f4a7c15);
    i = (i ^ (i >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    i = (i ^ (i >> 27)) * UINT64_C(0x94d049bb133111eb);
    return i ^ (i >> 31);
}

const char *bench_client_of(uint64_t session)
{
    static const char *const others[] = {"client-00", "client-01", "client-02", "client-03", "client-04",
                                         "client-05", "client-06", "client-07", "client-08", "client-09"};
    return session % 10 != 9 ? BENCH_CLIENT : others[session / 10 % 10];
}

static bool is_heavy(uint64_t session)
{
    return session % (session < 10000 ? 40 : 4000) == 0;
}

/* Names are of one length, so that every record is, and a put never moves another. */
void bench_grant(uint64_t session, char subject[32], char sid[40], otok_grant *out)
{
    static const otok_peer peer = {.size = sizeof peer,
                                   .ip = "203.0.113.77",
                                   .user_agent =
                                       "Mail/7.2 (telephone; version 14; build 20411; en) Sync/3.4.1 like Desktop/9"};
    uint64_t user = mixed(session) % (session / SESSIONS_OF_A_USER + 1);
    (void)snprintf(subject, 32, "user-%08llu", (unsigned long long)user);
    (void)snprintf(sid, 40, "%016llx%016llx", (unsigned long long)mixed(~session), (unsigned long long)mixed(session));
    otok_grant_init(out, sizeof *out);
    out->subject = is_heavy(session) ? BENCH_HEAVY : subject;
    out->client_id = bench_client_of(session);
    out->client_type = OTOK_CLIENT_PUBLIC;
    out->scope = "offline_access profile email";
    out->sid = sid;
    out->acr = "urn:example:loa:2";
    out->auth_time_us = BEGIN_US;
    out->label = "Telephone in the kitchen";
    out->peer = &peer;
}

/* ---------------------------------------------------------------------------------------------------- services */

static int64_t world_now(void *user)
{
    return __atomic_load_n(&((bench_world *)user)->now_us, __ATOMIC_RELAXED);
}

void bench_advance(bench_world *world, int64_t us)
{
    (void)__atomic_add_fetch(&world->now_us, us, __ATOMIC_RELAXED);
}

static otok_service *service_on(bench_world *world, otok_store *store, const otok_policy *policy)
{
    otok_callbacks callbacks;
    otok_config config;
    otok_service *service = NULL;
    otok_error err;
    otok_callbacks_init(&callbacks, sizeof callbacks);
    callbacks.now = world_now;
    otok_config_init(&config, sizeof config);
    config.issuer = BENCH_ISSUER;
    config.policy = policy;
    config.callbacks = &callbacks;
    config.user = world;
    bench_ok(otok_service_open(&config, store, world->keyring, &service, &err), &err, "otok_service_open");
    return service;
}

otok_service *bench_service(bench_world *world, int32_t rotation, int32_t access_token)
{
    otok_policy policy;
    otok_policy_init(&policy, sizeof policy);
    policy.rotation = rotation;
    policy.access_token = access_token;
    policy.idle_timeout_s = OTOK_UNLIMITED;
    policy.max_lifetime_s = OTOK_UNLIMITED;
    policy.touch_interval_s = OTOK_UNLIMITED; /* what a refresh within the interval costs */
    return service_on(world, world->store, &policy);
}

/* ------------------------------------------------------------------------------------------------- the gatherer */

typedef struct gatherer {
    otok_store *to;
    pthread_mutex_t mutex;
    otok_write writes[GATHERED];
    otok_group groups[GATHERED];
    size_t n;
} gatherer;

static int earlier_first(const void *a, const void *b)
{
    return otok_id_compare(&((const otok_write *)a)->record->id, &((const otok_write *)b)->record->id);
}

/* In the order of their times, which is not quite that in which two threads came: one may have rested meanwhile. */
static void flush(gatherer *g)
{
    otok_error err;
    qsort(g->writes, g->n, sizeof g->writes[0], earlier_first);
    if (g->n != 0)
        bench_ok(otok_store_commit(g->to, g->groups, g->n, &err), &err, "otok_store_commit");
    for (size_t i = 0; i < g->n; i++) {
        bench_ok(g->groups[i].result, &g->groups[i].error, "a group of it");
        otok_record_free((otok_record *)(uintptr_t)g->writes[i].record);
    }
    g->n = 0;
}

static int gatherer_commit(void *self, otok_group *groups, size_t n, otok_error *err)
{
    gatherer *g = self;
    (void)err;
    pthread_mutex_lock(&g->mutex);
    for (size_t i = 0; i < n; i++) {
        bench_must(groups[i].n == 1 && groups[i].writes[0].op == OTOK_WRITE_INSERT, "an issue is more than one insert");
        g->writes[g->n] = groups[i].writes[0];
        g->writes[g->n].record = otok_record_copy(groups[i].writes[0].record);
        g->groups[g->n] = (otok_group){.writes = &g->writes[g->n], .n = 1};
        groups[i].result = OTOK_OK;
        if (++g->n == GATHERED)
            flush(g);
    }
    pthread_mutex_unlock(&g->mutex);
    return OTOK_OK;
}

static int gatherer_fetch(void *self, const otok_id *ids, size_t n, uint32_t flags, otok_emit emit, void *arg,
                          otok_error *err)
{
    return otok_store_fetch(((gatherer *)self)->to, ids, n, flags, emit, arg, err);
}

static int gatherer_scan(void *self, const otok_scan *scan, otok_emit emit, void *arg, otok_error *err)
{
    return otok_store_scan(((gatherer *)self)->to, scan, emit, arg, err);
}

static int gatherer_count(void *self, const otok_index_key *key, uint64_t *out, otok_error *err)
{
    return otok_store_count(((gatherer *)self)->to, key, out, err);
}

static void gatherer_close(void *self)
{
    flush(self);
}

static otok_store *gather(gatherer *g)
{
    static const otok_store_vtab vtab = {
        .size = sizeof vtab,
        .guarantees = OTOK_STORE_ATOMIC_GROUPS,
        .name = "gatherer",
        .fetch = gatherer_fetch,
        .commit = gatherer_commit,
        .scan = gatherer_scan,
        .count = gatherer_count,
        .close = gatherer_close,
    };
    otok_store *store = NULL;
    otok_error err;
    pthread_mutex_init(&g->mutex, NULL);
    bench_ok(otok_store_open(&vtab, g, &store, &err), &err, "otok_store_open");
    return store;
}

/* --------------------------------------------------------------------------------------------------- the sessions */

typedef struct filling {
    bench_world *world;
    otok_service *service;
    uint64_t first;
} filling;

static void issue_one(filling *f, uint64_t i)
{
    char subject[32], sid[40];
    otok_grant grant;
    otok_tokens *tokens = NULL;
    otok_error err;
    bench_grant(i, subject, sid, &grant);
    bench_advance(f->world, STEP_US);
    bench_ok(otok_issue(f->service, &grant, &tokens, &err), &err, "otok_issue");
    memcpy(f->world->tokens[i], tokens->offline_token, sizeof f->world->tokens[i]);
    otok_tokens_free(tokens);
}

static void issue_share(void *arg, size_t thread)
{
    filling *f = arg;
    for (uint64_t i = f->first + thread; i < f->world->sessions; i += ISSUERS)
        issue_one(f, i);
}

/* The library's environment is seen as it is opened (link: --wrap=mdb_env_open). */
static MDB_env *opened_last;

int __real_mdb_env_open(MDB_env *env, const char *path, unsigned flags, mdb_mode_t mode);
int __wrap_mdb_env_open(MDB_env *env, const char *path, unsigned flags, mdb_mode_t mode);

int __wrap_mdb_env_open(MDB_env *env, const char *path, unsigned flags, mdb_mode_t mode)
{
    opened_last = env;
    return __real_mdb_env_open(env, path, flags, mode);
}

static void open_store(bench_world *world, int32_t no_sync)
{
    otok_lmdb_options options;
    otok_error err;
    otok_lmdb_options_init(&options, sizeof options);
    options.no_sync = no_sync;
    bench_ok(otok_store_open_lmdb(world->folder, &options, &world->store, &err), &err, "otok_store_open_lmdb");
    world->env = opened_last;
}

/* Closed as it is, it can be synced: or the first durable commit would have to write all of it. */
static void sync_file(const bench_world *world)
{
    char path[BENCH_PATH + 16];
    (void)snprintf(path, sizeof path, "%s/data.mdb", world->folder);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    bench_must(fd >= 0 && fsync(fd) == 0, path);
    (void)close(fd);
}

void bench_world_fill(bench_world *world, uint64_t sessions)
{
    static gatherer g;
    otok_policy policy;
    filling f = {.world = world, .first = world->sessions};
    world->tokens = realloc(world->tokens, sessions * sizeof world->tokens[0]);
    bench_must(world->tokens != NULL, "memory");
    world->sessions = sessions;
    open_store(world, 1);
    g = (gatherer){.to = world->store};
    otok_store *gathering = gather(&g);
    otok_policy_init(&policy, sizeof policy);
    policy.access_token = OTOK_OFF;
    f.service = service_on(world, gathering, &policy);
    test_threads(ISSUERS, issue_share, &f);
    otok_service_close(f.service);
    otok_store_close(gathering);
    pthread_mutex_destroy(&g.mutex);
    bench_world_close(world);
    sync_file(world);
}

/* ------------------------------------------------------------------------------------------------------ the store */

void bench_world_begin(bench_world *world, const char *folder, const char *name)
{
    otok_error err;
    *world = (bench_world){.now_us = BEGIN_US};
    (void)snprintf(world->folder, sizeof world->folder, "%s/%s", folder, name);
    bench_ok(otok_keyring_generate(OTOK_ALG_ES256, &world->keyring, &err), &err, "otok_keyring_generate");
}

void bench_world_open(bench_world *world)
{
    open_store(world, 0);
}

void bench_world_close(bench_world *world)
{
    otok_store_close(world->store);
    world->store = NULL;
}

void bench_world_end(bench_world *world)
{
    bench_world_close(world);
    otok_keyring_free(world->keyring);
    free(world->tokens);
    *world = (bench_world){0};
}

uint64_t bench_commits(const bench_world *world)
{
    MDB_envinfo info;
    bench_must(mdb_env_info(world->env, &info) == 0, "mdb_env_info");
    return info.me_last_txnid;
}

double bench_bytes(const bench_world *world)
{
    MDB_envinfo info;
    MDB_stat stat;
    bench_must(mdb_env_info(world->env, &info) == 0 && mdb_env_stat(world->env, &stat) == 0, "mdb_env_info");
    return (double)(info.me_last_pgno + 1) * (double)stat.ms_psize;
}
