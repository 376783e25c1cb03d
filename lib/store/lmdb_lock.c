/*
 * lmdb_lock.c - write.lock: who is opening, who is there, whose turn it is to write; futexes.
 *
 * LMDB's own write lock cannot be waited for with a bound, so a mutex of ours is taken before it.  The file holds the
 * mutex and two bytes that are locked: OPENING, exclusively, by whoever opens or closes the environment; PRESENT,
 * shared, by every process that has it open.  Whoever finds nobody present makes the mutex anew, so that none survives
 * a crash of the machine in a locked state.  The locks are of the open file description: unlike fcntl's own they
 * survive the closing of another descriptor, and a child of fork has them too, which does no harm.
 *
 * SPDX-License-Identifier: MIT
 */
#include "store/lmdb.h"

#ifdef OTOK_HAVE_LMDB

#include <errno.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#ifdef __GLIBC__
#define HAVE_CLOCKLOCK __GLIBC_PREREQ(2, 30)
#else
#define HAVE_CLOCKLOCK 0
#endif

enum { OPENING = 0, PRESENT = 1, FIRST_POLL_US = 100, LONGEST_POLL_US = 20000, POLITE_US = 100, SLICE_US = 2000 };

static const char LOCK_NAME[] = "write.lock";

/* A mutex of another libc, or of a program of another word size, is none of ours. */
static const char LOCK_MAGIC[] = {'o', 't', 'o', 'k', 'w', 'l', '1', (char)sizeof(pthread_mutex_t)};

static struct timespec timespec_of(int64_t us)
{
    return (struct timespec){.tv_sec = (time_t)(us / OTOK_US_PER_S), .tv_nsec = (long)(us % OTOK_US_PER_S) * 1000};
}

static void sleep_us(int64_t us)
{
    struct timespec pause = timespec_of(us);
    (void)nanosleep(&pause, NULL);
}

/* 0, or errno; EAGAIN when another has it. */
static int lock_byte(int fd, short type, off_t byte)
{
    struct flock lock = {.l_type = type, .l_whence = SEEK_SET, .l_start = byte, .l_len = 1};
    while (fcntl(fd, F_OFD_SETLK, &lock) != 0) {
        if (errno != EINTR)
            return errno == EACCES ? EAGAIN : errno;
    }
    return 0;
}

int otok_lmdb_lock_enter(otok_lmdb_env *env, int64_t deadline_us, otok_error *err)
{
    int64_t pause_us = FIRST_POLL_US;
    if (env->lock_fd < 0)
        return OTOK_OK;
    for (;;) {
        int rc = lock_byte(env->lock_fd, F_WRLCK, OPENING);
        if (rc == 0)
            return OTOK_OK;
        if (rc != EAGAIN)
            return otok_fail_errno(err, OTOK_E_IO, rc, "%s/%s cannot be locked: %s", env->path, LOCK_NAME,
                                   strerror(rc));
        if (otok_clock_monotonic_us() >= deadline_us)
            return otok_fail(err, OTOK_E_BUSY, "%s: another process has been opening or closing it all the time",
                             env->path);
        sleep_us(pause_us);
        pause_us = pause_us * 2 < LONGEST_POLL_US ? pause_us * 2 : LONGEST_POLL_US;
    }
}

void otok_lmdb_lock_leave(otok_lmdb_env *env)
{
    if (env->lock_fd >= 0)
        (void)lock_byte(env->lock_fd, F_UNLCK, OPENING);
}

int otok_lmdb_lock_open(otok_lmdb_env *env, int64_t deadline_us, otok_error *err)
{
    bool exists;
    int rc = otok_lmdb_folder_check(env, LOCK_NAME, &exists, err);
    if (rc != OTOK_OK)
        return rc;
    env->lock_fd = openat(env->folder, LOCK_NAME, O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (env->lock_fd < 0 && errno == EROFS && env->read_only)
        return OTOK_OK; /* nobody can write there, this process or another */
    if (env->lock_fd < 0)
        return otok_fail_errno(err, otok_error_of_errno(errno), errno, "%s/%s: %s", env->path, LOCK_NAME,
                               strerror(errno));
    return otok_lmdb_lock_enter(env, deadline_us, err);
}

static int make_mutex(otok_lmdb_lock *lock)
{
    pthread_mutexattr_t attr;
    int rc = pthread_mutexattr_init(&attr);
    if (rc != 0)
        return rc;
    _Static_assert(sizeof LOCK_MAGIC == sizeof lock->magic, "the whole magic");
    memset(lock, 0, sizeof *lock);
    rc = pthread_mutexattr_setpshared(&attr, PTHREAD_PROCESS_SHARED);
    if (rc == 0)
        rc = pthread_mutexattr_setrobust(&attr, PTHREAD_MUTEX_ROBUST);
    if (rc == 0)
        rc = pthread_mutex_init(&lock->turn, &attr);
    if (rc == 0)
        memcpy(lock->magic, LOCK_MAGIC, sizeof lock->magic);
    (void)pthread_mutexattr_destroy(&attr);
    return rc;
}

/* Blocks that a full disk cannot refuse later, when the map is written to: that would be SIGBUS. */
static int allocate(int fd)
{
    static const char zeroes[OTOK_LMDB_LOCK_SIZE];
    ssize_t written;
    do
        written = pwrite(fd, zeroes, sizeof zeroes, 0);
    while (written < 0 && errno == EINTR);
    if (written < 0)
        return errno;
    return written == (ssize_t)sizeof zeroes ? 0 : ENOSPC;
}

int otok_lmdb_lock_join(otok_lmdb_env *env, otok_error *err)
{
    if (env->lock_fd < 0)
        return OTOK_OK;
    int rc = lock_byte(env->lock_fd, F_WRLCK, PRESENT);
    bool alone = rc == 0;
    if (alone)
        rc = allocate(env->lock_fd);
    else if (rc == EAGAIN)
        rc = lock_byte(env->lock_fd, F_RDLCK, PRESENT);
    if (rc != 0)
        goto out;

    void *map = mmap(NULL, OTOK_LMDB_LOCK_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, env->lock_fd, 0);
    if (map == MAP_FAILED) {
        rc = errno;
        goto out;
    }
    env->lock = map;
    if (alone)
        rc = make_mutex(env->lock);
    else if (memcmp(env->lock->magic, LOCK_MAGIC, sizeof LOCK_MAGIC) != 0)
        return otok_fail(err, OTOK_E_STATE, "%s is in use by an incompatible build of this library", env->path);
    if (rc == 0 && alone)
        rc = lock_byte(env->lock_fd, F_RDLCK, PRESENT);
out:
    if (rc != 0)
        return otok_fail_errno(err, otok_error_of_errno(rc), rc, "%s/%s: %s", env->path, LOCK_NAME, strerror(rc));
    return OTOK_OK;
}

void otok_lmdb_lock_close(otok_lmdb_env *env)
{
    if (env->lock != NULL)
        (void)munmap(env->lock, OTOK_LMDB_LOCK_SIZE);
    if (env->lock_fd >= 0)
        (void)close(env->lock_fd);
    env->lock = NULL;
    env->lock_fd = -1;
}

/*
 * By the monotonic clock where libc can: a change of the time of day then neither shortens nor lengthens the
 * wait.  GCC's ThreadSanitizer does not know that function, nor that a timed lock may come from an owner that died.
 */
static int wait_for_lock(pthread_mutex_t *mutex, int64_t deadline_us)
{
#ifdef __SANITIZE_THREAD__
    int rc;
    while ((rc = pthread_mutex_trylock(mutex)) == EBUSY && otok_clock_monotonic_us() < deadline_us)
        sleep_us(FIRST_POLL_US);
    return rc == EBUSY ? ETIMEDOUT : rc;
#elif HAVE_CLOCKLOCK
    struct timespec until = timespec_of(deadline_us);
    return pthread_mutex_clocklock(mutex, CLOCK_MONOTONIC, &until);
#else
    int64_t left_us = deadline_us - otok_clock_monotonic_us();
    struct timespec until = timespec_of(otok_time_add(otok_clock_now_us(), left_us > 0 ? left_us : 0));
    return pthread_mutex_timedlock(mutex, &until);
#endif
}

/*
 * A mutex is not fair: whoever commits all the time would take it again and again before a process that waits for it
 * has woken up.  So those who wait say so, every few moments, for they may die; and who had the turn lets them go
 * first, once.
 */
int otok_lmdb_lock_turn(otok_lmdb_env *env, int64_t deadline_us, otok_error *err)
{
    otok_lmdb_lock *lock = env->lock;
    if (env->polite)
        sleep_us(POLITE_US);
    int rc = pthread_mutex_trylock(&lock->turn);
    while (rc == EBUSY || rc == ETIMEDOUT) {
        int64_t now_us = otok_clock_monotonic_us();
        if (now_us >= deadline_us)
            return otok_fail(err, OTOK_E_BUSY, "%s: others have been writing all the time", env->path);
        atomic_store(&lock->wanted, 1);
        rc = wait_for_lock(&lock->turn, deadline_us - now_us < SLICE_US ? deadline_us : now_us + SLICE_US);
    }
    if (rc == EOWNERDEAD) /* nothing of ours is half done: LMDB mends its own lock when the transaction begins */
        rc = pthread_mutex_consistent(&lock->turn);
    if (rc != 0)
        return otok_fail_errno(err, OTOK_E_IO, rc, "%s/%s: %s", env->path, LOCK_NAME, strerror(rc));
    return OTOK_OK;
}

void otok_lmdb_lock_pass(otok_lmdb_env *env)
{
    env->polite = atomic_exchange(&env->lock->wanted, 0) != 0;
    (void)pthread_mutex_unlock(&env->lock->turn);
}

bool otok_futex_wait(_Atomic uint32_t *word, uint32_t value, uint32_t bits, int64_t deadline_us)
{
    struct timespec until = timespec_of(deadline_us);
    const struct timespec *limit = deadline_us == OTOK_UNLIMITED ? NULL : &until;
    long rc = syscall(SYS_futex, (void *)word, FUTEX_WAIT_BITSET | FUTEX_PRIVATE_FLAG, value, limit, NULL, bits);
    return rc == 0 || errno != ETIMEDOUT;
}

void otok_futex_wake(_Atomic uint32_t *word, uint32_t bits)
{
    (void)syscall(SYS_futex, (void *)word, FUTEX_WAKE_BITSET | FUTEX_PRIVATE_FLAG, INT32_MAX, NULL, NULL, bits);
}

#endif
