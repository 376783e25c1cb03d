/*
 * store/lmdb.h - the LMDB store, as its own files see it; only lib/store/lmdb*.c include this, and nothing else
 * <lmdb.h>.
 *
 *     lmdb_open.c    the public functions, and the registry: one environment a folder and process
 *     lmdb_folder.c  the folder: whose it is, what is in it, making a new store in it
 *     lmdb_env.c     the LMDB environment: open, close, grow, open again
 *     lmdb_lock.c    write.lock: who is opening, who is there, whose turn it is to write; futexes
 *     lmdb_record.c  a record as the bytes of a value, an index entry as a key and a value
 *     lmdb_slot.c    the pool of read transactions, and the gate before it
 *     lmdb_read.c    fetch
 *     lmdb_scan.c    scan and count
 *     lmdb_write.c   one group in a write transaction
 *     lmdb_batch.c   many groups in one synced transaction, and what its failures mean
 *     lmdb_commit.c  the queue of those who commit, and its leader
 *     lmdb_check.c   whether it is whole; lmdb_backup.c  a copy of it
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef OTOK_LMDB_H
#define OTOK_LMDB_H

#include "store/store.h"

/* ---------------------------------------------------------------------------------------------------- lmdb_record.c */

/*
 * A value: format (1), kind, nkeys, nlinks, lengths of head, realm, subject and client (1 byte each), version,
 * created_us and sweep_us (8 each, big-endian), head (24, zero-filled), the indexes of the keys (1 each), the numbers of
 * the digests of keys and links (1 each), those digests (16 each), realm, subject, client, and the rest is the body.
 * A digest stands there once, however many keys and links have it; they are numbered in the order of their first use.
 * The head has its full room so that changing it never changes the size of the value.
 */
enum {
    OTOK_LMDB_HEAD_AT = 32,
    OTOK_LMDB_KEYS_AT = OTOK_LMDB_HEAD_AT + OTOK_MAX_HEAD,
    OTOK_LMDB_KEY_SIZE = 17,
    OTOK_LMDB_ENTRY_SIZE = 24,
    OTOK_LMDB_MAX_VALUE =
        OTOK_LMDB_KEYS_AT + OTOK_MAX_KEYS * (2 + 16) + OTOK_MAX_LINKS * (1 + 16) + 3 * OTOK_MAX_NAME + OTOK_MAX_BODY
};

/* A decoded record: it points into the value, and into its own keys and links. */
typedef struct otok_lmdb_view {
    otok_record record;
    otok_index_key keys[OTOK_MAX_KEYS];
    otok_id links[OTOK_MAX_LINKS];
} otok_lmdb_view;

bool otok_lmdb_decode(otok_lmdb_view *out, const otok_id *id, const void *value,
                      size_t len); /* false: damaged, or newer */
size_t otok_lmdb_encode(uint8_t out[OTOK_LMDB_MAX_VALUE], const otok_record *record, int64_t created_us);
void otok_lmdb_change_head(uint8_t *value, uint64_t version, otok_str head);

/*
 * The entry of `record` under `key`, or where a scan begins: index byte and digest; order (sign flipped, big-endian)
 * and id.
 */
void otok_lmdb_index_key(uint8_t out[OTOK_LMDB_KEY_SIZE], const otok_index_key *key);
void otok_lmdb_index_entry(uint8_t out[OTOK_LMDB_ENTRY_SIZE], int64_t order_us, const otok_id *id);

/* Kinds that are fetched beside every session live in a small database of their own. */
bool otok_lmdb_is_link_kind(uint32_t kind);

#ifdef OTOK_HAVE_LMDB

#include <lmdb.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/types.h>

/* -------------------------------------------------------------------------------------------------- the environment */

enum {
    OTOK_LMDB_FORMAT = 1,
    OTOK_LMDB_SLOTS = 256, /* reads at once in one process; the next ones wait for a slot */
    OTOK_LMDB_LINE = 64    /* of the processor's cache */
};

/* A read transaction that is renewed for each read: whoever sets `busy` has it. */
typedef struct otok_lmdb_slot {
    _Atomic uint32_t busy;
    MDB_txn *txn;
    int cancel; /* whether the reader's thread could be cancelled before */
    uint8_t rest_of_line[OTOK_LMDB_LINE - 3 * sizeof(void *)];
} otok_lmdb_slot;

/* A call of commit, on its caller's stack, in the queue of lmdb_commit.c. */
typedef struct otok_lmdb_waiter {
    otok_group *groups;
    size_t n, taken, done;
    _Atomic uint32_t state;
    uint32_t word, bit; /* where it sleeps */
    struct otok_lmdb_waiter *next;
} otok_lmdb_waiter;

typedef struct otok_lmdb_queue {
    pthread_mutex_t mutex; /* held for a few instructions only */
    otok_lmdb_waiter *first, *last;
    bool led;                 /* somebody is leader, or was told to be */
    uint32_t batch, ticket;   /* the batch that whoever queues now will be in; gives waiters their bits */
    _Atomic uint32_t waiting; /* how many are queued; changes under the mutex */
    uint32_t active;          /* how many there were when the last batch ended: done with it, or queued; the leader's */
    int64_t batch_us;         /* how long that took; the leader's */
    _Atomic uint32_t words[2]; /* waiters of even and of odd batches sleep on one each */
} otok_lmdb_queue;

/* The environment that all stores of one folder share in a process. */
typedef struct otok_lmdb_env {
    struct otok_lmdb_env *next; /* in the registry */
    size_t references;          /* under the registry's mutex */
    pid_t pid;
    const volatile uint32_t *alive; /* 1; the kernel makes it 0 in a child of fork */

    char *path; /* for messages */
    int folder; /* descriptor of the directory */
    dev_t device;
    ino_t inode;
    bool read_only, no_sync;
    uint32_t max_readers;
    size_t map_size; /* what is, or will be, mapped */

    int lock_fd; /* write.lock; -1 on a read-only file system */
    struct otok_lmdb_lock *lock;
    _Atomic bool polite; /* others wanted the turn when this process had it last */

    /* Whoever holds `change` may begin a write transaction; whoever also closed the gate may change what is below. */
    pthread_mutex_t change;
    MDB_env *mdb; /* NULL: closed after a failure, to be opened again */
    MDB_dbi records, links, index;
    uint8_t *value;        /* room for one, of whoever writes */
    uint64_t reserved_end; /* data.mdb has blocks up to here */
    bool reserve_works, low;
    int64_t readers_checked_us;
    _Atomic uint32_t generation; /* how often it was opened or mapped anew */

    otok_lmdb_queue queue;

    uint8_t apart[OTOK_LMDB_LINE]; /* what readers look at is in other lines than what writers change */
    _Atomic uint32_t gate;         /* 1: closed to readers */
    uint8_t apart_too[OTOK_LMDB_LINE];
    otok_lmdb_slot slots[OTOK_LMDB_SLOTS];
} otok_lmdb_env;

/* What the store object holds: several may share the environment. */
typedef struct otok_lmdb {
    otok_lmdb_env *env;
    bool read_only;
    int64_t busy_timeout_us;
} otok_lmdb;

bool otok_lmdb_is_inherited(const otok_lmdb_env *env); /* by fork: nothing of it may be touched */
int otok_lmdb_refuse_inherited(const otok_lmdb_env *env, otok_error *err);

/* ---------------------------------------------------------------------------------------------------- lmdb_folder.c */

/* Opens `path`, or makes it; fills folder, device and inode of `env`, which closes the descriptor. */
int otok_lmdb_folder_open(otok_lmdb_env *env, bool *fresh, otok_error *err);

/* With the lock of the opening held: makes data.mdb when there is none, then checks what is there. */
int otok_lmdb_folder_prepare(otok_lmdb_env *env, otok_error *err);

/* What is in the folder is on stable storage, and so is the folder. */
int otok_lmdb_folder_sync(otok_lmdb_env *env, otok_error *err);

/* Checks that `name` in the folder, when it exists, is a file of ours that nobody else can read; never opens it. */
int otok_lmdb_folder_check(const otok_lmdb_env *env, const char *name, bool *exists, otok_error *err);

/*
 * The path of the folder for LMDB: of the descriptor where there is /proc, so that nobody can exchange it.  PATH_MAX
 * bytes.
 */
void otok_lmdb_folder_path(const otok_lmdb_env *env, const char *name, char *out, size_t size);

/* What an error of LMDB's was: EIO is also a disk that is full. */
int otok_lmdb_folder_errno(const otok_lmdb_env *env, int rc);

/* Gives lock.mdb its blocks; never called while LMDB has it open in this process. */
int otok_lmdb_folder_allocate_lock(otok_lmdb_env *env, otok_error *err);

/* ---------------------------------------------------------------------------------------------------- lmdb_env.c */

int otok_lmdb_env_start(otok_lmdb_env *env, otok_error *err); /* maps and opens the databases; checks the format */
void otok_lmdb_env_stop(otok_lmdb_env *env);                  /* nothing runs in it */

/* With `change` held and no transaction of the caller's: */
int otok_lmdb_env_grow(otok_lmdb_env *env, bool by_others, otok_error *err); /* maps more, at least what others wrote */
int otok_lmdb_env_restart(otok_lmdb_env *env, otok_error *err);              /* closes and opens it */

/* For whoever could not begin to read, with the generation seen before: mends what `rc` says, unless somebody did. */
int otok_lmdb_env_mend(otok_lmdb_env *env, uint32_t generation, int rc, otok_error *err);

/* The error for an LMDB code or an errno. */
int otok_lmdb_fail(const otok_lmdb_env *env, otok_error *err, int rc, const char *what);
int otok_lmdb_code(int rc);

/* Makes data.mdb in the folder as `name`: databases and format record, synced. */
int otok_lmdb_env_create(otok_lmdb_env *env, const char *name, otok_error *err);

/* ---------------------------------------------------------------------------------------------------- lmdb_lock.c */

/* What the file write.lock begins with. */
typedef struct otok_lmdb_lock {
    char magic[8];
    _Alignas(OTOK_LMDB_LINE) pthread_mutex_t turn;
    _Alignas(OTOK_LMDB_LINE) _Atomic uint32_t wanted; /* somebody is waiting for the turn, or was a moment ago */
} otok_lmdb_lock;

enum { OTOK_LMDB_LOCK_SIZE = 4096 };

/* Opens and maps write.lock, whose mutex the first process makes; waits for others who are opening. */
int otok_lmdb_lock_open(otok_lmdb_env *env, int64_t deadline_us, otok_error *err);
void otok_lmdb_lock_close(otok_lmdb_env *env);
int otok_lmdb_lock_join(otok_lmdb_env *env,
                        otok_error *err); /* after open, still opening: is there, and has the mutex */

/*
 * Opening and closing are serial over processes: LMDB 0.9.26 to 0.9.31 destroy mutexes that another may just be
 * opening.
 */
int otok_lmdb_lock_enter(otok_lmdb_env *env, int64_t deadline_us, otok_error *err);
void otok_lmdb_lock_leave(otok_lmdb_env *env);

/* The turn to write, over processes and threads; OTOK_E_BUSY at the deadline. */
int otok_lmdb_lock_turn(otok_lmdb_env *env, int64_t deadline_us, otok_error *err);
void otok_lmdb_lock_pass(otok_lmdb_env *env);

/*
 * Sleeps while *word is `value`; OTOK_UNLIMITED waits for ever.  False at the deadline.  Wakes those of any of `bits`.
 */
bool otok_futex_wait(_Atomic uint32_t *word, uint32_t value, uint32_t bits, int64_t deadline_us);
void otok_futex_wake(_Atomic uint32_t *word, uint32_t bits);
#define OTOK_FUTEX_ALL UINT32_MAX

/* ---------------------------------------------------------------------------------------------------- lmdb_slot.c */

/*
 * A snapshot of now: every commit that returned before, from any process, is in it.  The thread cannot be cancelled
 * until the read has ended: it would never give back its slot.
 */
int otok_lmdb_read_begin(otok_lmdb_env *env, otok_lmdb_slot **out, otok_error *err);
void otok_lmdb_read_end(otok_lmdb_env *env, otok_lmdb_slot *slot);

/* With `change` held: no reader is inside until the gate opens again. */
void otok_lmdb_gate_close(otok_lmdb_env *env);
void otok_lmdb_gate_open(otok_lmdb_env *env);

/* ----------------------------------------------------------------------------------------- lmdb_read.c, lmdb_scan.c */

/* A read that is under way. */
typedef struct otok_lmdb_reading {
    otok_lmdb_env *env;
    MDB_txn *txn;
    otok_emit emit;
    void *arg;
    otok_error *err;
    bool ended; /* by the callback */
} otok_lmdb_reading;

int otok_lmdb_fetch(void *self, const otok_id *ids, size_t n, uint32_t flags, otok_emit emit, void *arg,
                    otok_error *err);
int otok_lmdb_scan(void *self, const otok_scan *scan, otok_emit emit, void *arg, otok_error *err);
int otok_lmdb_count(void *self, const otok_index_key *key, uint64_t *out, otok_error *err);

/* Finds a record in one of two databases; MDB_NOTFOUND, or another error of LMDB's.  `where` may be NULL. */
int otok_lmdb_find(MDB_txn *txn, MDB_dbi first, MDB_dbi second, const otok_id *id, MDB_val *out, MDB_dbi *where);

/* Decodes a value and hands it to the callback. */
int otok_lmdb_emit(otok_lmdb_reading *r, const otok_id *id, const MDB_val *value, otok_lmdb_view *view);

/* ---------------------------------------------------------------------------------------------------- lmdb_write.c */

/*
 * Runs one group: OTOK_OK or OTOK_E_CONFLICT or OTOK_E_FORMAT as the group's result, with `*wrote` set when it changed
 * anything; or 1, and *mdb is LMDB's error: the transaction is of no use any more.
 */
int otok_lmdb_group_apply(otok_lmdb_env *env, MDB_txn *txn, otok_group *group, bool *wrote, int *mdb);

/* ---------------------------------------------------------------------------------------------------- lmdb_batch.c */

/* Runs groups, with the turn held, and gives each its result. */
void otok_lmdb_batch_run(otok_lmdb_env *env, otok_group **groups, size_t n);

/* ----------------------------------------------------------------------------------- lmdb_check.c, lmdb_backup.c */

int otok_lmdb_check(void *self, int32_t repairs, const otok_watch *watch, otok_check *result, otok_error *err);
int otok_lmdb_backup(void *self, const char *directory, const otok_watch *watch, otok_error *err);

/* ---------------------------------------------------------------------------------------------------- lmdb_commit.c */

int otok_lmdb_commit(void *self, otok_group *groups, size_t n, otok_error *err);
bool otok_lmdb_queue_init(otok_lmdb_queue *queue);
void otok_lmdb_queue_destroy(otok_lmdb_queue *queue);

#endif
#endif
