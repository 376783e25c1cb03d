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

/* Empties OpenSSL's error queue and fails: with `code`, or OTOK_E_NOMEM when that was behind it. */
int otok_evp_fail(otok_error *err, int code, const char *what);

#endif
