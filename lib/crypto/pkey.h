/*
 * crypto/pkey.h - the inside of a key pair, for pkey.c and sign.c.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef OTOK_PKEY_H
#define OTOK_PKEY_H

#include "crypto/evp.h"

#include <stdatomic.h>

enum { OTOK_EC_BYTES = 32, OTOK_ED_BYTES = 32 };

/* The contexts are prepared once and then only copied from, which any number of threads may do at once. */
struct otok_pkey {
    atomic_int references;
    int32_t algorithm;
    EVP_PKEY *pkey;
    EVP_MD_CTX *signer; /* NULL of a public key */
    EVP_MD_CTX *verifier;
};

/* A context that is ready to sign, or to verify; NULL when it cannot be made. */
EVP_MD_CTX *otok_signature_context(int32_t algorithm, EVP_PKEY *pkey, bool to_sign);

#endif
