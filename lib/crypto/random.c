/*
 * random.c - secrets nobody has seen.
 *
 * SPDX-License-Identifier: MIT
 */
#include "crypto/evp.h"

#include <openssl/rand.h>

/* The private generator: it is seeded anew in a child after fork (CVE-2019-1549), and nothing public comes from it. */
int otok_random(void *out, size_t len, otok_error *err)
{
    otok_evp_begin();
    bool good = RAND_priv_bytes_ex(NULL, out, len, 0) == 1;
    if (!good)
        otok_wipe(out, len);
    return otok_evp_end(good ? OTOK_OK : otok_evp_fail(err, OTOK_E_CRYPTO, "OpenSSL has no random bytes"));
}
