/*
 * mac.c - HMAC-SHA256 with prepared keys, and subkeys.
 *
 * SPDX-License-Identifier: MIT
 */
#include "crypto/evp.h"

#include <openssl/core_names.h>
#include <openssl/kdf.h>
#include <string.h>

/*
 * The two halves of HMAC (RFC 2104), each SHA-256 fed with the padded key and then only copied from.  An EVP_MAC_CTX
 * does the same inside, but one context serves one thread: thousands of realms would each need a pool of them.
 */
struct otok_mac_key {
    EVP_MD_CTX *inner;
    EVP_MD_CTX *outer;
};

enum { BLOCK = 64, INNER_PAD = 0x36, OUTER_PAD = 0x5c };

static EVP_MD_CTX *prepare(const uint8_t key[OTOK_KEY_SIZE], uint8_t pad)
{
    uint8_t block[BLOCK];
    memset(block, pad, sizeof block);
    for (size_t i = 0; i < OTOK_KEY_SIZE; i++)
        block[i] ^= key[i];

    EVP_MD *md = otok_evp_sha256();
    EVP_MD_CTX *ctx = md != NULL ? EVP_MD_CTX_new() : NULL;
    if (ctx != NULL && (EVP_DigestInit_ex2(ctx, md, NULL) != 1 || EVP_DigestUpdate(ctx, block, sizeof block) != 1)) {
        EVP_MD_CTX_free(ctx);
        ctx = NULL;
    }
    otok_wipe(block, sizeof block);
    return ctx;
}

int otok_mac_key_new(const uint8_t key[OTOK_KEY_SIZE], otok_mac_key **out, otok_error *err)
{
    *out = NULL;
    otok_mac_key *made = otok_calloc(1, sizeof *made);
    if (made == NULL)
        return otok_fail(err, OTOK_E_NOMEM, "no memory for a MAC key");
    otok_evp_begin();
    made->inner = prepare(key, INNER_PAD);
    made->outer = prepare(key, OUTER_PAD);
    if (made->inner == NULL || made->outer == NULL) {
        otok_mac_key_free(made);
        return otok_evp_end(otok_evp_fail(err, OTOK_E_CRYPTO, "a MAC key cannot be prepared"));
    }
    *out = made;
    return otok_evp_end(OTOK_OK);
}

/* OpenSSL wipes the states, which stand for the key. */
void otok_mac_key_free(otok_mac_key *key)
{
    if (key == NULL)
        return;
    EVP_MD_CTX_free(key->inner);
    EVP_MD_CTX_free(key->outer);
    otok_free(key);
}

static bool continue_from(EVP_MD_CTX *ctx, const EVP_MD_CTX *prepared, const otok_str *parts, size_t n, uint8_t *out)
{
    if (EVP_MD_CTX_copy_ex(ctx, prepared) != 1)
        return false;
    for (size_t i = 0; i < n; i++) {
        if (EVP_DigestUpdate(ctx, parts[i].data, parts[i].len) != 1)
            return false;
    }
    return EVP_DigestFinal_ex(ctx, out, NULL) == 1;
}

int otok_mac(const otok_mac_key *key, const otok_str *parts, size_t n, uint8_t out[OTOK_SHA256_SIZE], otok_error *err)
{
    uint8_t digest[OTOK_SHA256_SIZE];
    otok_str inner = {digest, sizeof digest};
    otok_evp_begin();
    EVP_MD_CTX *ctx = otok_evp_borrow();
    bool good = ctx != NULL && continue_from(ctx, key->inner, parts, n, digest) &&
                continue_from(ctx, key->outer, &inner, 1, out);
    otok_evp_return(ctx);
    return otok_evp_end(good ? OTOK_OK : otok_evp_fail(err, OTOK_E_CRYPTO, "HMAC-SHA256 failed"));
}

int otok_hkdf(otok_str secret, otok_str salt, otok_str info, uint8_t *out, size_t len, otok_error *err)
{
    OSSL_PARAM params[] = {
        OSSL_PARAM_construct_utf8_string(OSSL_KDF_PARAM_DIGEST, (char *)"SHA256", 0),
        OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_KEY, (void *)secret.data, secret.len),
        OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_INFO, (void *)info.data, info.len),
        OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_SALT, (void *)salt.data, salt.len),
        OSSL_PARAM_construct_end(),
    };
    if (salt.len == 0)
        params[3] = OSSL_PARAM_construct_end();

    otok_evp_begin();
    EVP_KDF *kdf = EVP_KDF_fetch(NULL, "HKDF", NULL);
    EVP_KDF_CTX *ctx = kdf != NULL ? EVP_KDF_CTX_new(kdf) : NULL;
    bool good = ctx != NULL && EVP_KDF_derive(ctx, out, len, params) == 1;
    EVP_KDF_CTX_free(ctx);
    EVP_KDF_free(kdf);
    return otok_evp_end(good ? OTOK_OK : otok_evp_fail(err, OTOK_E_CRYPTO, "HKDF failed"));
}

/* Both parts of the info are length-prefixed, so that no purpose and realm together read like another pair. */
int otok_subkey(const uint8_t key[OTOK_KEY_SIZE], const char *purpose, otok_str realm, uint8_t out[OTOK_KEY_SIZE],
                otok_error *err)
{
    uint8_t room[512];
    otok_buf info;
    otok_buf_init(&info, room, sizeof room);
    otok_buf_add_u32(&info, (uint32_t)strlen(purpose));
    otok_buf_add_text(&info, purpose);
    otok_buf_add_u32(&info, (uint32_t)realm.len);
    otok_buf_add(&info, realm.data, realm.len);

    int rc = info.failed || realm.len > UINT32_MAX
                 ? otok_fail(err, OTOK_E_NOMEM, "no memory for a subkey")
                 : otok_hkdf((otok_str){key, OTOK_KEY_SIZE}, (otok_str){NULL, 0}, (otok_str){info.data, info.len}, out,
                             OTOK_KEY_SIZE, err);
    otok_buf_free(&info);
    return rc;
}
