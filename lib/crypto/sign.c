/*
 * sign.c - JOSE signatures (RFC 7518 section 3, RFC 8037 section 3.1).
 *
 * SPDX-License-Identifier: MIT
 */
#include "crypto/pkey.h"

#include <openssl/ec.h>
#include <openssl/rsa.h>

enum { EC_SIGNATURE = 2 * OTOK_EC_BYTES, ED_SIGNATURE = 64 };

/* RFC 7518 section 3.5: MGF1 with SHA-256, and a salt as long as the digest, which verification insists on. */
static bool use_pss(EVP_PKEY_CTX *ctx)
{
    return EVP_PKEY_CTX_set_rsa_padding(ctx, RSA_PKCS1_PSS_PADDING) == 1 &&
           EVP_PKEY_CTX_set_rsa_mgf1_md_name(ctx, "SHA256", NULL) == 1 &&
           EVP_PKEY_CTX_set_rsa_pss_saltlen(ctx, RSA_PSS_SALTLEN_DIGEST) == 1;
}

EVP_MD_CTX *otok_signature_context(int32_t algorithm, EVP_PKEY *pkey, bool to_sign)
{
    EVP_PKEY_CTX *detail = NULL; /* the digest context's own */
    const char *digest = algorithm == OTOK_ALG_EDDSA ? NULL : "SHA256";
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();

    bool good = ctx != NULL && (to_sign ? EVP_DigestSignInit_ex(ctx, &detail, digest, NULL, NULL, pkey, NULL)
                                        : EVP_DigestVerifyInit_ex(ctx, &detail, digest, NULL, NULL, pkey, NULL)) == 1;
    if (good && algorithm == OTOK_ALG_PS256)
        good = use_pss(detail);
    if (!good) {
        EVP_MD_CTX_free(ctx);
        ctx = NULL;
    }
    return ctx;
}

static EVP_MD_CTX *copy_of(const EVP_MD_CTX *prepared)
{
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    if (ctx != NULL && EVP_MD_CTX_copy_ex(ctx, prepared) != 1) {
        EVP_MD_CTX_free(ctx);
        ctx = NULL;
    }
    return ctx;
}

/* OpenSSL speaks DER, JOSE the two numbers side by side, 32 bytes each. */
static bool der_to_raw(const uint8_t *der, size_t len, uint8_t raw[EC_SIGNATURE])
{
    ECDSA_SIG *sig = d2i_ECDSA_SIG(NULL, &der, (long)len);
    bool good = sig != NULL && BN_bn2binpad(ECDSA_SIG_get0_r(sig), raw, OTOK_EC_BYTES) == OTOK_EC_BYTES &&
                BN_bn2binpad(ECDSA_SIG_get0_s(sig), raw + OTOK_EC_BYTES, OTOK_EC_BYTES) == OTOK_EC_BYTES;
    ECDSA_SIG_free(sig);
    return good;
}

/* The length of the DER, 0 when there is no memory.  Whether r and s are in range is for the verification to say. */
static size_t raw_to_der(const uint8_t raw[EC_SIGNATURE], uint8_t *der)
{
    ECDSA_SIG *sig = ECDSA_SIG_new();
    BIGNUM *r = BN_bin2bn(raw, OTOK_EC_BYTES, NULL);
    BIGNUM *s = BN_bin2bn(raw + OTOK_EC_BYTES, OTOK_EC_BYTES, NULL);
    int len = 0;
    if (sig == NULL || r == NULL || s == NULL || ECDSA_SIG_set0(sig, r, s) != 1) {
        BN_free(r);
        BN_free(s);
    } else {
        len = i2d_ECDSA_SIG(sig, &der);
    }
    ECDSA_SIG_free(sig);
    return len > 0 ? (size_t)len : 0;
}

static size_t signature_size(const otok_pkey *key)
{
    switch (key->algorithm) {
    case OTOK_ALG_ES256:
        return EC_SIGNATURE;
    case OTOK_ALG_EDDSA:
        return ED_SIGNATURE;
    default:
        return (size_t)EVP_PKEY_get_size(key->pkey);
    }
}

int otok_sign(const otok_pkey *key, const void *data, size_t data_len, uint8_t *signature, size_t *len, otok_error *err)
{
    size_t size = signature_size(key);
    if (key->signer == NULL)
        return otok_fail(err, OTOK_E_KEY, "a public key cannot sign");
    if (*len < size)
        return otok_fail(err, OTOK_E_INVALID, "a signature has %zu bytes, the room is %zu", size, *len);

    uint8_t der[EC_SIGNATURE + 16];
    bool is_ec = key->algorithm == OTOK_ALG_ES256;
    uint8_t *out = is_ec ? der : signature;
    size_t out_len = is_ec ? sizeof der : *len;

    otok_evp_begin();
    EVP_MD_CTX *ctx = copy_of(key->signer);
    /* Without memory for its DER, OpenSSL 3.0 has signed all the same, with a length of -1, and half of it written. */
    bool good = ctx != NULL && EVP_DigestSign(ctx, out, &out_len, data, data_len) == 1 &&
                (is_ec ? out_len <= sizeof der && der_to_raw(der, out_len, signature) : out_len == size);
    EVP_MD_CTX_free(ctx);
    if (good)
        *len = size;
    return otok_evp_end(good ? OTOK_OK : otok_evp_fail(err, OTOK_E_CRYPTO, "OpenSSL cannot sign"));
}

int otok_verify(const otok_pkey *key, const void *data, size_t data_len, const void *signature, size_t len,
                otok_error *err)
{
    static const char refusal[] = "the signature is not good";
    if (len != signature_size(key))
        return otok_fail(err, OTOK_E_TOKEN_INVALID, refusal);

    uint8_t der[EC_SIGNATURE + 16];
    const uint8_t *in = signature;
    otok_evp_begin();
    EVP_MD_CTX *ctx = copy_of(key->verifier);
    if (key->algorithm == OTOK_ALG_ES256) {
        len = raw_to_der(in, der);
        in = der;
    }
    bool able = ctx != NULL && len != 0;
    if (able) /* ours alone: else OpenSSL makes one more copy, and takes one that it has no memory for as a bad signature */
        EVP_MD_CTX_set_flags(ctx, EVP_MD_CTX_FLAG_FINALISE);
    bool good = able && EVP_DigestVerify(ctx, in, len, data, data_len) == 1;
    EVP_MD_CTX_free(ctx);
    if (good)
        return otok_evp_end(OTOK_OK);
    return otok_evp_end(able ? otok_evp_fail(err, OTOK_E_TOKEN_INVALID, refusal)
                             : otok_evp_fail(err, OTOK_E_CRYPTO, "a signature cannot be verified"));
}
