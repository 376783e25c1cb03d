/*
 * crypto/crypto.h - the only door to OpenSSL: digests, MACs, subkeys, randomness, signatures.
 *
 * What is fetched or prepared once (algorithms, contexts) is kept and shared by threads; nothing here keeps a lock
 * while it signs.  Randomness is OpenSSL's private generator, which notices fork.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef OTOK_CRYPTO_H
#define OTOK_CRYPTO_H

#include "base/base.h"

enum { OTOK_SHA256_SIZE = 32, OTOK_SHA512_SIZE = 64, OTOK_KEY_SIZE = 32 };

/*
 * OTOK_E_STATE when the libcrypto that this process loaded is of another major version than the build's.  Called at
 * open.
 */
int otok_crypto_check(otok_error *err); /* evp.c */

/* ---------------------------------------------------------------------------------------------------- digest.c */

/* SHA-256 over the concatenation of `n` parts.  OTOK_E_CRYPTO. */
int otok_sha256(const otok_str *parts, size_t n, uint8_t out[OTOK_SHA256_SIZE], otok_error *err);

/* The same of what comes in pieces; freed with otok_sum_free().  OTOK_E_CRYPTO. */
typedef struct otok_sum otok_sum;
int otok_sum_new(otok_sum **out, otok_error *err);
int otok_sum_add(otok_sum *sum, const void *data, size_t len, otok_error *err);
int otok_sum_end(otok_sum *sum, uint8_t out[OTOK_SHA256_SIZE], otok_error *err); /* once */
void otok_sum_free(otok_sum *sum);

int otok_sha512(otok_str data, uint8_t out[OTOK_SHA512_SIZE], otok_error *err);

bool otok_equal_ct(const void *a, const void *b, size_t len); /* constant-time */

/* ---------------------------------------------------------------------------------------------------- mac.c */

/* A prepared HMAC-SHA256 key; any number of threads may use one at once.  Freed with a wipe; NULL is fine. */
typedef struct otok_mac_key otok_mac_key;

int otok_mac_key_new(const uint8_t key[OTOK_KEY_SIZE], otok_mac_key **out, otok_error *err);
void otok_mac_key_free(otok_mac_key *key);
int otok_mac(const otok_mac_key *key, const otok_str *parts, size_t n, uint8_t out[OTOK_SHA256_SIZE], otok_error *err);

/* HKDF-SHA256 (RFC 5869); an empty salt is the standard's default. */
int otok_hkdf(otok_str secret, otok_str salt, otok_str info, uint8_t *out, size_t len, otok_error *err);

/* HKDF without salt: one subkey per `purpose` (a short word of ours) and `realm`, which is length-prefixed. */
int otok_subkey(const uint8_t key[OTOK_KEY_SIZE], const char *purpose, otok_str realm, uint8_t out[OTOK_KEY_SIZE],
                otok_error *err);

/* ---------------------------------------------------------------------------------------------------- random.c */

int otok_random(void *out, size_t len, otok_error *err);

/* --------------------------------------------------------------------------------------------------- pkey.c, sign.c */

/* A signing key pair, or its public half.  Immutable; reference-counted; shared by threads. */
typedef struct otok_pkey otok_pkey;

/* The big-endian numbers of a JWK (RFC 7518 section 6, RFC 8037): which are used depends on the algorithm. */
typedef struct otok_jwk_numbers {
    otok_str crv_x, crv_y;        /* EC and OKP */
    otok_str n, e;                /* RSA */
    otok_str d, p, q, dp, dq, qi; /* private: d alone for EC and OKP.  All absent: a public key */
} otok_jwk_numbers;

enum { OTOK_JWK_NUMBER_MAX = 1024, OTOK_SIGNATURE_MAX = 1024, OTOK_RSA_BITS_MIN = 2048, OTOK_RSA_BITS_MAX = 8192 };

int otok_pkey_generate(int32_t algorithm, otok_pkey **out, otok_error *err); /* RSA: 2048 bits */

/*
 * OTOK_E_KEY unless the numbers are a whole, consistent key of that algorithm (private and public half fit:
 * checked).  Of a public RSA key only the sizes are: what else is wrong with it makes its signatures bad, and they
 * are refused.
 */
int otok_pkey_from_numbers(int32_t algorithm, const otok_jwk_numbers *numbers, otok_pkey **out, otok_error *err);

/*
 * Writes the numbers into `storage` (which holds the private ones too: wipe it) and points `numbers` there.  EC
 * numbers are left-padded to 32 bytes.
 */
int otok_pkey_numbers(const otok_pkey *key, bool with_private, otok_buf *storage, otok_jwk_numbers *numbers,
                      otok_error *err);

int32_t otok_pkey_algorithm(const otok_pkey *key);
bool otok_pkey_is_private(const otok_pkey *key);
otok_pkey *otok_pkey_ref(otok_pkey *key);
void otok_pkey_free(otok_pkey *key); /* a reference; NULL is fine */

/* JOSE signatures: ES256 is r || s, 64 bytes (RFC 7518 section 3.4).  `*len` is the room in, the size out. */
int otok_sign(const otok_pkey *key, const void *data, size_t data_len, uint8_t *signature, size_t *len,
              otok_error *err);

/* OTOK_OK when it is good, OTOK_E_TOKEN_INVALID when it is not (any malformed signature included), else a failure. */
int otok_verify(const otok_pkey *key, const void *data, size_t data_len, const void *signature, size_t len,
                otok_error *err);

#endif
