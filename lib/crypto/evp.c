/*
 * evp.c - algorithms fetched once, contexts that are used again, errors.
 *
 * SPDX-License-Identifier: MIT
 */
#include "crypto/evp.h"

#include <openssl/crypto.h>
#include <openssl/err.h>
#include <stdatomic.h>

static int check(otok_error *err)
{
    if (OPENSSL_version_major() != OPENSSL_VERSION_MAJOR)
        return otok_fail(err, OTOK_E_STATE, "built for OpenSSL %d, but the process loaded OpenSSL %u",
                         OPENSSL_VERSION_MAJOR, OPENSSL_version_major());
    if (otok_evp_sha256() == NULL)
        return otok_evp_fail(err, OTOK_E_CRYPTO, "SHA-256 is not to be had from OpenSSL");
    return OTOK_OK;
}

int otok_crypto_check(otok_error *err)
{
    otok_evp_begin();
    return otok_evp_end(check(err));
}

/* No pthread_once: a first fetch that fails for want of memory must not be the last one. */
EVP_MD *otok_evp_sha256(void)
{
    static _Atomic(EVP_MD *) kept;

    EVP_MD *md = atomic_load_explicit(&kept, memory_order_acquire);
    if (md != NULL)
        return md;
    EVP_MD *fetched = EVP_MD_fetch(NULL, "SHA256", NULL);
    if (fetched == NULL)
        return NULL;
    if (atomic_compare_exchange_strong(&kept, &md, fetched))
        return fetched;
    EVP_MD_free(fetched);
    return md;
}

/*
 * Idle contexts.  A thread looks in one slot, its own while there are no more threads than slots, so that nothing is
 * locked and no cache line is shared; an empty slot costs an allocation, an occupied one a free.  The slots keep
 * theirs to the end of the process: per-thread destructors would outlive neither dlclose() nor OpenSSL's own
 * clean-up.
 */
enum { SLOTS = 64, CACHE_LINE = 64 };

static struct slot {
    _Alignas(CACHE_LINE) _Atomic(EVP_MD_CTX *) idle;
} slots[SLOTS];

static struct slot *slot_of_thread(void)
{
    static atomic_uint threads;
    static _Thread_local struct slot *mine;

    if (mine == NULL)
        mine = &slots[atomic_fetch_add_explicit(&threads, 1, memory_order_relaxed) % SLOTS];
    return mine;
}

EVP_MD_CTX *otok_evp_borrow(void)
{
    EVP_MD_CTX *ctx = atomic_exchange_explicit(&slot_of_thread()->idle, NULL, memory_order_acquire);
    return ctx != NULL ? ctx : EVP_MD_CTX_new();
}

void otok_evp_return(EVP_MD_CTX *ctx)
{
    EVP_MD_CTX *empty = NULL;
    if (ctx != NULL && !atomic_compare_exchange_strong_explicit(&slot_of_thread()->idle, &empty, ctx,
                                                                memory_order_release, memory_order_relaxed))
        EVP_MD_CTX_free(ctx);
}

/* An error in the queue of a thread: which, and where it was put there.  All 0: none. */
struct place {
    unsigned long error;
    const char *file;
    int line;
};

static struct place newest(void)
{
    struct place at = {0};
    at.error = ERR_peek_last_error_all(&at.file, &at.line, NULL, NULL, NULL);
    return at;
}

/* The newest error that the host had there. */
static _Thread_local struct place before;

void otok_evp_begin(void)
{
    before = (struct place){0};
    if (ERR_set_mark() == 1) /* an empty queue has no place for a mark */
        before = newest();
}

int otok_evp_end(int rc)
{
    (void)ERR_pop_to_mark();
    return rc;
}

/* Errors are read from the oldest on, and are gone then: where the oldest is the host's, only the newest can be looked at. */
static bool is_short_of_memory(void)
{
    bool found = false;
    if (before.error != 0) {
        struct place last = newest();
        bool is_ours = last.error != before.error || last.file != before.file || last.line != before.line;
        return is_ours && ERR_GET_REASON(last.error) == ERR_R_MALLOC_FAILURE;
    }
    for (unsigned long error; (error = ERR_get_error()) != 0;)
        found = found || ERR_GET_REASON(error) == ERR_R_MALLOC_FAILURE;
    return found;
}

int otok_evp_fail(otok_error *err, int code, const char *what)
{
    return otok_fail(err, is_short_of_memory() ? OTOK_E_NOMEM : code, "%s", what);
}
