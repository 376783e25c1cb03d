/*
 * crypto/evp.h - what the files of this folder share; nobody else includes it.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef OTOK_EVP_H
#define OTOK_EVP_H

#include "crypto/crypto.h"

#include <openssl/evp.h>

/* SHA-256, fetched once and kept; NULL when it cannot be. */
EVP_MD *otok_evp_sha256(void);

/* A digest context to work in: NULL when there is no memory.  Given back, never freed. */
EVP_MD_CTX *otok_evp_borrow(void);
void otok_evp_return(EVP_MD_CTX *ctx);

/*
 * Around what may put errors into the thread's queue, in every function that other folders call: what the host had there stays,
 * what OpenSSL adds goes.  One pair is not put into another.  The second returns `rc`.
 */
void otok_evp_begin(void);
int otok_evp_end(int rc);

/* Between them.  Fails: with `code`, or OTOK_E_NOMEM when that was behind it. */
int otok_evp_fail(otok_error *err, int code, const char *what);

#endif
