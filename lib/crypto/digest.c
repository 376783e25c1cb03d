/*
 * digest.c - SHA-256, and comparing in constant time.
 *
 * SPDX-License-Identifier: MIT
 */
#include "crypto/evp.h"

#include <openssl/crypto.h>

int otok_sha256(const otok_str *parts, size_t n, uint8_t out[OTOK_SHA256_SIZE], otok_error *err)
{
    otok_evp_begin();
    EVP_MD *md = otok_evp_sha256();
    EVP_MD_CTX *ctx = otok_evp_borrow();
    bool good = md != NULL && ctx != NULL && EVP_DigestInit_ex2(ctx, md, NULL) == 1;

    for (size_t i = 0; good && i < n; i++)
        good = EVP_DigestUpdate(ctx, parts[i].data, parts[i].len) == 1;
    good = good && EVP_DigestFinal_ex(ctx, out, NULL) == 1;
    otok_evp_return(ctx);
    return otok_evp_end(good ? OTOK_OK : otok_evp_fail(err, OTOK_E_CRYPTO, "SHA-256 failed"));
}

struct otok_sum {
    EVP_MD_CTX *ctx;
};

int otok_sum_new(otok_sum **out, otok_error *err)
{
    *out = NULL;
    otok_evp_begin();
    EVP_MD *md = otok_evp_sha256();
    otok_sum *sum = otok_calloc(1, sizeof *sum);
    EVP_MD_CTX *ctx = sum != NULL ? EVP_MD_CTX_new() : NULL;
    bool good = md != NULL && ctx != NULL && EVP_DigestInit_ex2(ctx, md, NULL) == 1;
    if (good) {
        sum->ctx = ctx;
        *out = sum;
        return otok_evp_end(OTOK_OK);
    }
    EVP_MD_CTX_free(ctx);
    int rc = sum == NULL ? otok_fail(err, OTOK_E_NOMEM, "no memory for a digest")
                         : otok_evp_fail(err, OTOK_E_CRYPTO, "SHA-256 failed");
    otok_free(sum);
    return otok_evp_end(rc);
}

int otok_sum_add(otok_sum *sum, const void *data, size_t len, otok_error *err)
{
    otok_evp_begin();
    bool good = EVP_DigestUpdate(sum->ctx, data, len) == 1;
    return otok_evp_end(good ? OTOK_OK : otok_evp_fail(err, OTOK_E_CRYPTO, "SHA-256 failed"));
}

int otok_sum_end(otok_sum *sum, uint8_t out[OTOK_SHA256_SIZE], otok_error *err)
{
    otok_evp_begin();
    bool good = EVP_DigestFinal_ex(sum->ctx, out, NULL) == 1;
    return otok_evp_end(good ? OTOK_OK : otok_evp_fail(err, OTOK_E_CRYPTO, "SHA-256 failed"));
}

void otok_sum_free(otok_sum *sum)
{
    if (sum == NULL)
        return;
    EVP_MD_CTX_free(sum->ctx);
    otok_free(sum);
}

/* Only for ID tokens under EdDSA: not worth a fetched algorithm of its own. */
int otok_sha512(otok_str data, uint8_t out[OTOK_SHA512_SIZE], otok_error *err)
{
    size_t size = OTOK_SHA512_SIZE;
    otok_evp_begin();
    bool good = EVP_Q_digest(NULL, "SHA512", NULL, data.data, data.len, out, &size) == 1;
    return otok_evp_end(good ? OTOK_OK : otok_evp_fail(err, OTOK_E_CRYPTO, "SHA-512 failed"));
}

bool otok_equal_ct(const void *a, const void *b, size_t len)
{
    return len == 0 || CRYPTO_memcmp(a, b, len) == 0;
}
