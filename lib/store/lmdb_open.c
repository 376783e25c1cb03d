/*
 * lmdb_open.c - the public functions, and the registry: one environment a folder and process.
 *
 * LMDB must not have a folder open twice in one process.  So the environments of a process are known by device and
 * inode of their folder, and a second opening shares the first.  A child of fork leaves what it inherited as it is,
 * for good: closing it would drop locks, and its mutexes may be held by threads that the child does not have.
 *
 * SPDX-License-Identifier: MIT
 */
#include "store/lmdb.h"

enum { DEFAULT_READERS = 4096, MOST_READERS = 1 << 20, DEFAULT_TIMEOUT_MS = 5000 };

void otok_lmdb_options_init(otok_lmdb_options *options, size_t size)
{
    otok_struct_init(options, size);
}

#ifndef OTOK_HAVE_LMDB

int otok_store_open_lmdb(const char *directory, const otok_lmdb_options *options, otok_store **out, otok_error *err)
{
    (void)directory;
    (void)options;
    if (out != NULL)
        *out = NULL;
    return otok_fail(err, OTOK_E_UNSUPPORTED, "this library was built without LMDB");
}

#else

#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

/* ---------------------------------------------------------------------------------------------------- after fork */

/* A page that the kernel clears in children of fork costs nothing to look at; where there is none, getpid() tells. */
static const volatile uint32_t *mark_alive(void)
{
#ifdef MADV_WIPEONFORK
    size_t size = (size_t)sysconf(_SC_PAGESIZE);
    uint32_t *mark = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (mark == MAP_FAILED)
        return NULL;
    if (madvise(mark, size, MADV_WIPEONFORK) == 0) {
        *mark = 1;
        return mark;
    }
    (void)munmap(mark, size);
#endif
    return NULL;
}

static void unmark_alive(const volatile uint32_t *mark)
{
    if (mark != NULL)
        (void)munmap((void *)(uintptr_t)mark, (size_t)sysconf(_SC_PAGESIZE));
}

/* A pid may come round again, in a child of the child, say: it tells only where there is no page. */
static bool is_inherited(const volatile uint32_t *alive, pid_t pid)
{
    return alive != NULL ? *alive == 0 : pid != getpid();
}

/* ---------------------------------------------------------------------------------------------------- registry */

/* Each process has its own: a child of fork makes a new one, for the mutex of the old may be held by nobody. */
typedef struct registry {
    pid_t pid;
    const volatile uint32_t *alive;
    pthread_mutex_t mutex;
    otok_lmdb_env *first;
    struct registry *inherited; /* keeps it reachable, that is all */
} registry;

static _Atomic(registry *) registry_now;

static registry *registry_get(void)
{
    registry *now = atomic_load(&registry_now);
    while (now == NULL || is_inherited(now->alive, now->pid)) {
        registry *fresh = otok_calloc(1, sizeof *fresh);
        if (fresh == NULL)
            return NULL;
        fresh->pid = getpid();
        fresh->alive = mark_alive();
        fresh->inherited = now;
        if (pthread_mutex_init(&fresh->mutex, NULL) != 0) {
            unmark_alive(fresh->alive);
            otok_free(fresh);
            return NULL;
        }
        if (atomic_compare_exchange_strong(&registry_now, &now, fresh))
            return fresh;
        (void)pthread_mutex_destroy(&fresh->mutex);
        unmark_alive(fresh->alive);
        otok_free(fresh);
    }
    return now;
}

static otok_lmdb_env *registry_find(const registry *all, const otok_lmdb_env *like)
{
    otok_lmdb_env *env = all->first;
    while (env != NULL && (env->device != like->device || env->inode != like->inode))
        env = env->next;
    return env;
}

static void registry_remove(registry *all, const otok_lmdb_env *env)
{
    otok_lmdb_env **at = &all->first;
    while (*at != env)
        at = &(*at)->next;
    *at = env->next;
}

bool otok_lmdb_is_inherited(const otok_lmdb_env *env)
{
    return is_inherited(env->alive, env->pid);
}

int otok_lmdb_refuse_inherited(const otok_lmdb_env *env, otok_error *err)
{
    if (!otok_lmdb_is_inherited(env))
        return OTOK_OK;
    return otok_fail(err, OTOK_E_STATE, "%s was opened before fork: a child process opens its own", env->path);
}

/* ---------------------------------------------------------------------------------------------------- environments */

static void env_free(otok_lmdb_env *env)
{
    if (env == NULL)
        return;
    otok_lmdb_lock_close(env);
    if (env->folder >= 0)
        (void)close(env->folder);
    unmark_alive(env->alive);
    (void)pthread_mutex_destroy(&env->change);
    otok_lmdb_queue_destroy(&env->queue);
    otok_free(env->value);
    otok_free(env->path);
    otok_free(env);
}

static otok_lmdb_env *env_new(const char *path, const otok_lmdb_options *options)
{
    otok_lmdb_env *env = otok_calloc(1, sizeof *env);
    if (env == NULL || pthread_mutex_init(&env->change, NULL) != 0) {
        otok_free(env);
        return NULL;
    }
    if (!otok_lmdb_queue_init(&env->queue)) {
        (void)pthread_mutex_destroy(&env->change);
        otok_free(env);
        return NULL;
    }
    env->pid = getpid();
    env->folder = env->lock_fd = -1;
    env->read_only = options->read_only != 0;
    env->no_sync = options->no_sync != 0;
    env->max_readers = options->max_readers;
    env->map_size = (size_t)options->map_size;
    env->path = otok_strdup(path);
    env->value = otok_malloc(OTOK_LMDB_MAX_VALUE);
    if (env->path == NULL || env->value == NULL) {
        env_free(env);
        return NULL;
    }
    env->alive = mark_alive();
    return env;
}

/* What is in the folder, the locks, LMDB: in this order, and one process after another. */
static int env_open(otok_lmdb_env *env, int64_t deadline_us, otok_error *err)
{
    int rc = otok_lmdb_lock_open(env, deadline_us, err);
    if (rc != OTOK_OK)
        return rc;
    rc = otok_lmdb_folder_prepare(env, err);
    if (rc == OTOK_OK)
        rc = otok_lmdb_lock_join(env, err);
    if (rc == OTOK_OK)
        rc = otok_lmdb_env_start(env, err);
    if (rc == OTOK_OK && !env->read_only) {
        rc = otok_lmdb_folder_sync(env, err);
        if (rc != OTOK_OK)
            otok_lmdb_env_stop(env);
    }
    otok_lmdb_lock_leave(env);
    return rc;
}

/* With the registry's mutex held. */
static int env_share(const otok_lmdb_env *env, const otok_lmdb_options *options, otok_error *err)
{
    if (env->read_only && options->read_only == 0)
        return otok_fail(err, OTOK_E_STATE, "%s is open for reading only in this process", env->path);
    if (env->no_sync != (options->no_sync != 0) && options->read_only == 0)
        return otok_fail(err, OTOK_E_STATE, "%s is open %s no_sync in this process", env->path,
                         env->no_sync ? "with" : "without");
    return OTOK_OK;
}

static int env_get(registry *all, const char *path, const otok_lmdb_options *options, int64_t deadline_us,
                   otok_lmdb_env **out, otok_error *err)
{
    bool fresh;
    otok_lmdb_env *env = env_new(path, options);
    if (env == NULL) {
        (void)otok_fail(err, OTOK_E_NOMEM, "no memory to open %s", path);
        return OTOK_E_NOMEM;
    }
    int rc = otok_lmdb_folder_open(env, &fresh, err);
    if (rc != OTOK_OK)
        goto out;

    (void)pthread_mutex_lock(&all->mutex);
    otok_lmdb_env *shared = registry_find(all, env);
    if (shared != NULL)
        rc = env_share(shared, options, err);
    else if ((rc = env_open(env, deadline_us, err)) == OTOK_OK) {
        shared = env;
        shared->next = all->first;
        all->first = shared;
        env = NULL;
    }
    if (rc == OTOK_OK) {
        shared->references++;
        *out = shared;
    }
    (void)pthread_mutex_unlock(&all->mutex);
out:
    env_free(env);
    return rc;
}

static void env_release(otok_lmdb_env *env)
{
    registry *all = registry_get();
    otok_error ignored;
    if (all == NULL || otok_lmdb_is_inherited(env))
        return;
    (void)pthread_mutex_lock(&all->mutex);
    bool last = --env->references == 0;
    if (last) {
        registry_remove(all, env);
        bool entered = otok_lmdb_lock_enter(env, otok_clock_monotonic_us() + OTOK_US_PER_S, &ignored) == OTOK_OK;
        if (env->mdb != NULL)
            otok_lmdb_env_stop(env);
        if (entered)
            otok_lmdb_lock_leave(env);
    }
    (void)pthread_mutex_unlock(&all->mutex);
    if (last)
        env_free(env);
}

/* ---------------------------------------------------------------------------------------------------- public */

/* A thread that is cancelled in here would keep the registry's mutex for ever. */
static int cancel_off(void)
{
    int state;
    (void)pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &state);
    return state;
}

static void close_store(void *self)
{
    otok_lmdb *store = self;
    int cancel = cancel_off();
    env_release(store->env);
    otok_free(store);
    (void)pthread_setcancelstate(cancel, NULL);
}

static int read_options(const otok_lmdb_options *in, otok_lmdb_options *out, otok_error *err)
{
    otok_lmdb_options_init(out, sizeof *out);
    int rc = in != NULL ? otok_struct_read(out, sizeof *out, in, sizeof *out, "otok_lmdb_options", err) : OTOK_OK;
    if (rc != OTOK_OK)
        return rc;
    if (out->map_size > SIZE_MAX / 2)
        return otok_fail(err, OTOK_E_INVALID, "otok_lmdb_options.map_size is more than can be mapped");
    if (out->max_readers > MOST_READERS)
        return otok_fail(err, OTOK_E_INVALID, "otok_lmdb_options.max_readers is more than %d", MOST_READERS);
    if (out->unused != 0)
        return otok_fail(err, OTOK_E_INVALID, "otok_lmdb_options.unused is not 0");
    if (out->busy_timeout_ms < 0)
        return otok_fail(err, OTOK_E_INVALID, "otok_lmdb_options.busy_timeout_ms is negative");
    if ((out->no_sync | out->read_only | 1) != 1)
        return otok_fail(err, OTOK_E_INVALID, "otok_lmdb_options.no_sync and read_only are 0 or 1");
    if (out->map_size == 0)
        out->map_size = sizeof(void *) > 4 ? UINT64_C(1) << 40 : UINT64_C(1) << 30;
    if (out->max_readers == 0)
        out->max_readers = DEFAULT_READERS;
    if (out->busy_timeout_ms == 0)
        out->busy_timeout_ms = DEFAULT_TIMEOUT_MS;
    return OTOK_OK;
}

int otok_store_open_lmdb(const char *directory, const otok_lmdb_options *options, otok_store **out, otok_error *err)
{
    otok_lmdb_options known;
    otok_lmdb_env *env = NULL;
    if (out == NULL)
        return otok_fail(err, OTOK_E_INVALID, "out is required");
    *out = NULL;
    if (directory == NULL || *directory == '\0')
        return otok_fail(err, OTOK_E_INVALID, "directory is required");
    int rc = read_options(options, &known, err);
    if (rc != OTOK_OK)
        return rc;

    int cancel = cancel_off();
    registry *all = registry_get();
    otok_lmdb *store = otok_calloc(1, sizeof *store);
    if (all == NULL || store == NULL) {
        rc = otok_fail(err, OTOK_E_NOMEM, "no memory to open %s", directory);
        goto out;
    }
    store->read_only = known.read_only != 0;
    store->busy_timeout_us = OTOK_UNLIMITED;
    if (known.busy_timeout_ms <= OTOK_UNLIMITED / OTOK_US_PER_MS)
        store->busy_timeout_us = known.busy_timeout_ms * OTOK_US_PER_MS;
    rc = env_get(all, directory, &known, otok_time_add(otok_clock_monotonic_us(), store->busy_timeout_us), &env, err);
    if (rc != OTOK_OK)
        goto out;
    store->env = env;

    otok_store_vtab vtab = {.size = sizeof vtab,
                            .guarantees = OTOK_STORE_ATOMIC_GROUPS | OTOK_STORE_SHARED | OTOK_STORE_FAST_COUNT |
                                          (env->no_sync ? 0U : (uint32_t)OTOK_STORE_DURABLE),
                            .name = "lmdb",
                            .fetch = otok_lmdb_fetch,
                            .commit = otok_lmdb_commit,
                            .scan = otok_lmdb_scan,
                            .count = otok_lmdb_count,
                            .close = close_store,
                            .check = otok_lmdb_check,
                            .backup = otok_lmdb_backup};
    rc = otok_store_open(&vtab, store, out, err);
    if (rc == OTOK_OK)
        store = NULL;
    else
        env_release(env);
out:
    otok_free(store);
    (void)pthread_setcancelstate(cancel, NULL);
    return rc;
}

#endif
