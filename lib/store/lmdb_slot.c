/*
 * lmdb_slot.c - the pool of read transactions, and the gate before it.
 *
 * A reader takes a slot of the pool, renews the transaction in it, and gives it back reset.  There is no lock that
 * readers share: each slot is a line of the cache, and threads begin to look for a free one at different
 * places.  Whoever must have the environment to themselves closes the gate and waits until every slot is free.
 *
 * SPDX-License-Identifier: MIT
 */
#include "store/lmdb.h"

#ifdef OTOK_HAVE_LMDB

#include <sched.h>

enum { MOST_TRIES = 16 };

/* ---------------------------------------------------------------------------------------------------- slots */

static void slot_leave(otok_lmdb_env *env, otok_lmdb_slot *slot)
{
    atomic_store(&slot->busy, 0);
    if (atomic_load(&env->gate) != 0)
        otok_futex_wake(&slot->busy, OTOK_FUTEX_ALL);
}

static bool slot_try(otok_lmdb_slot *slot)
{
    return atomic_load_explicit(&slot->busy, memory_order_relaxed) == 0 && atomic_exchange(&slot->busy, 1) == 0;
}

/* Threads differ in the address of their descriptor; the multiplication spreads what differs over all bits. */
static size_t first_place(void)
{
    return (size_t)(((uint64_t)(uintptr_t)pthread_self() >> 6) * UINT64_C(0x9e3779b97f4a7c15) >> 32) % OTOK_LMDB_SLOTS;
}

/*
 * Either this reader sees the gate closed, or the one who closes it sees the slot busy: both are sequentially
 * consistent.
 */
static otok_lmdb_slot *slot_enter(otok_lmdb_env *env)
{
    size_t place = first_place();
    for (;;) {
        while (atomic_load(&env->gate) != 0)
            (void)otok_futex_wait(&env->gate, 1, OTOK_FUTEX_ALL, OTOK_UNLIMITED);
        for (size_t i = 0; i < OTOK_LMDB_SLOTS; i++) {
            otok_lmdb_slot *slot = &env->slots[(place + i) % OTOK_LMDB_SLOTS];
            if (!slot_try(slot))
                continue;
            if (atomic_load(&env->gate) == 0)
                return slot;
            slot_leave(env, slot);
            break;
        }
        (void)sched_yield();
    }
}

void otok_lmdb_gate_close(otok_lmdb_env *env)
{
    atomic_store(&env->gate, 1);
    for (size_t i = 0; i < OTOK_LMDB_SLOTS; i++) {
        while (atomic_load(&env->slots[i].busy) != 0)
            (void)otok_futex_wait(&env->slots[i].busy, 1, OTOK_FUTEX_ALL, OTOK_UNLIMITED);
    }
}

void otok_lmdb_gate_open(otok_lmdb_env *env)
{
    atomic_store(&env->gate, 0);
    otok_futex_wake(&env->gate, OTOK_FUTEX_ALL);
}

/* ---------------------------------------------------------------------------------------------------- transactions */

/* LMDB's table of readers is full: takes the transaction of a slot that nobody uses just now. */
static bool slot_borrow(otok_lmdb_env *env, otok_lmdb_slot *mine)
{
    for (size_t i = 0; i < OTOK_LMDB_SLOTS && mine->txn == NULL; i++) {
        otok_lmdb_slot *slot = &env->slots[i];
        if (slot == mine || !slot_try(slot))
            continue;
        mine->txn = slot->txn;
        slot->txn = NULL;
        slot_leave(env, slot);
    }
    return mine->txn != NULL;
}

static int slot_begin(otok_lmdb_env *env, otok_lmdb_slot *slot)
{
    if (env->mdb == NULL)
        return MDB_PANIC; /* a failure before this closed it */
    int rc = MDB_BAD_RSLOT;
    if (slot->txn != NULL)
        rc = mdb_txn_renew(slot->txn);
    if (rc == MDB_BAD_RSLOT) {
        mdb_txn_abort(slot->txn);
        slot->txn = NULL;
        rc = mdb_txn_begin(env->mdb, NULL, MDB_RDONLY, &slot->txn);
    }
    if (rc == MDB_READERS_FULL) {
        int dead = 0;
        rc = mdb_reader_check(env->mdb, &dead);
        if (rc == MDB_SUCCESS)
            rc = dead > 0 ? mdb_txn_begin(env->mdb, NULL, MDB_RDONLY, &slot->txn) : MDB_READERS_FULL;
        if (rc == MDB_READERS_FULL && slot_borrow(env, slot))
            rc = mdb_txn_renew(slot->txn);
    }
    return rc;
}

static int begin_to_read(otok_lmdb_env *env, otok_lmdb_slot **out, otok_error *err)
{
    int rc = MDB_SUCCESS;
    for (int i = 0; i < MOST_TRIES; i++) {
        otok_lmdb_slot *slot = slot_enter(env);
        uint32_t generation = atomic_load(&env->generation);
        rc = slot_begin(env, slot);
        if (rc == MDB_SUCCESS) {
            *out = slot;
            return OTOK_OK;
        }
        slot_leave(env, slot);
        if (rc == MDB_READERS_FULL)
            return otok_fail(err, OTOK_E_BUSY, "%s: all %lu places for readers are taken: raise max_readers", env->path,
                             (unsigned long)env->max_readers);
        if (rc != MDB_MAP_RESIZED && rc != MDB_PANIC)
            break;
        int mended = otok_lmdb_env_mend(env, generation, rc, err);
        if (mended != OTOK_OK)
            return mended;
    }
    return otok_lmdb_fail(env, err, rc, "beginning to read");
}

int otok_lmdb_read_begin(otok_lmdb_env *env, otok_lmdb_slot **out, otok_error *err)
{
    int cancel;
    (void)pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &cancel);
    int rc = begin_to_read(env, out, err);
    if (rc == OTOK_OK)
        (*out)->cancel = cancel;
    else
        (void)pthread_setcancelstate(cancel, NULL);
    return rc;
}

void otok_lmdb_read_end(otok_lmdb_env *env, otok_lmdb_slot *slot)
{
    int cancel = slot->cancel;
    mdb_txn_reset(slot->txn);
    slot_leave(env, slot);
    (void)pthread_setcancelstate(cancel, NULL);
}

#endif
