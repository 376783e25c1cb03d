/*
 * evp.c - algorithms fetched once, contexts that are used again, errors.
 *
 * SPDX-License-Identifier: MIT
 */
#include "crypto/evp.h"

#include <openssl/crypto.h>
#include <openssl/err.h>
#include <stdatomic.h>

int otok_crypto_check(otok_error *err)
{
    if (OPENSSL_version_major() != OPENSSL_VERSION_MAJOR)
        return otok_fail(err, OTOK_E_STATE, "built for OpenSSL %d, but the process loaded OpenSSL %u",
                         OPENSSL_VERSION_MAJOR, OPENSSL_version_major());
    if (otok_evp_sha256() == NULL)
        return otok_evp_fail(err, OTOK_E_CRYPTO, "SHA-256 is not to be had from OpenSSL");
    return OTOK_OK;
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

int otok_evp_fail(otok_error *err, int code, const char *what)
{
    unsigned long error;
    while ((error = ERR_get_error()) != 0) {
        if (ERR_GET_REASON(error) == ERR_R_MALLOC_FAILURE)
            code = OTOK_E_NOMEM;
    }
    return otok_fail(err, code, "%s", what);
}
