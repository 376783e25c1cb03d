/*
 * raw_crypto.c - what OpenSSL itself does in a second: ES256 signatures, HMAC-SHA256.
 *
 * SPDX-License-Identifier: MIT
 */
#include "bench/bench.h"

#include <openssl/core_names.h>
#include <openssl/ec.h>
#include <openssl/evp.h>
#include <stdlib.h>
#include <string.h>

enum { TOKEN_BYTES = 480, MAC_BYTES = 28, SIGNATURE_ROOM = 80 };

/* What one thread has to itself. */
typedef struct tools {
    EVP_MD_CTX *prepared, *copy;
    EVP_MAC_CTX *mac;
    uint8_t text[TOKEN_BYTES];
    uint8_t rest_of_line[64];
} tools;

struct bench_signer {
    EVP_PKEY *key;
    EVP_MAC *mac;
    tools tools[BENCH_THREADS];
};

static void prepare(bench_signer *s, tools *t)
{
    static const uint8_t key[32] = {1};
    OSSL_PARAM digest[] = {
        OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, "SHA256", 0),
        OSSL_PARAM_construct_end(),
    };
    t->prepared = EVP_MD_CTX_new();
    t->copy = EVP_MD_CTX_new();
    t->mac = EVP_MAC_CTX_new(s->mac);
    memset(t->text, 'a', sizeof t->text);
    bench_must(t->copy != NULL && EVP_DigestSignInit_ex(t->prepared, NULL, "SHA256", NULL, NULL, s->key, NULL) == 1,
               "EVP_DigestSignInit_ex");
    bench_must(EVP_MAC_init(t->mac, key, sizeof key, digest) == 1, "EVP_MAC_init");
}

bench_signer *bench_signer_new(void)
{
    bench_signer *s = calloc(1, sizeof *s);
    bench_must(s != NULL, "memory");
    s->key = EVP_EC_gen("P-256");
    s->mac = EVP_MAC_fetch(NULL, "HMAC", NULL);
    bench_must(s->key != NULL && s->mac != NULL, "EVP_EC_gen, EVP_MAC_fetch");
    for (size_t i = 0; i < BENCH_THREADS; i++)
        prepare(s, &s->tools[i]);
    return s;
}

void bench_signer_free(bench_signer *s)
{
    for (size_t i = 0; i < BENCH_THREADS; i++) {
        EVP_MD_CTX_free(s->tools[i].prepared);
        EVP_MD_CTX_free(s->tools[i].copy);
        EVP_MAC_CTX_free(s->tools[i].mac);
    }
    EVP_PKEY_free(s->key);
    EVP_MAC_free(s->mac);
    free(s);
}

uint64_t bench_sign_fresh(void *signer, size_t thread)
{
    bench_signer *s = signer;
    uint8_t signature[SIGNATURE_ROOM];
    size_t len = sizeof signature;
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    bool good = EVP_DigestSignInit_ex(ctx, NULL, "SHA256", NULL, NULL, s->key, NULL) == 1 &&
                EVP_DigestSign(ctx, signature, &len, s->tools[thread].text, TOKEN_BYTES) == 1;
    EVP_MD_CTX_free(ctx);
    bench_must(good, "EVP_DigestSign");
    return 1;
}

uint64_t bench_sign_prepared(void *signer, size_t thread)
{
    tools *t = &((bench_signer *)signer)->tools[thread];
    uint8_t signature[SIGNATURE_ROOM];
    size_t len = sizeof signature;
    bench_must(EVP_MD_CTX_copy_ex(t->copy, t->prepared) == 1 &&
                   EVP_DigestSign(t->copy, signature, &len, t->text, TOKEN_BYTES) == 1,
               "EVP_DigestSign");
    return 1;
}

uint64_t bench_mac(void *signer, size_t thread)
{
    tools *t = &((bench_signer *)signer)->tools[thread];
    uint8_t mac[32];
    size_t len;
    bench_must(EVP_MAC_init(t->mac, NULL, 0, NULL) == 1 && EVP_MAC_update(t->mac, t->text, MAC_BYTES) == 1 &&
                   EVP_MAC_final(t->mac, mac, &len, sizeof mac) == 1,
               "EVP_MAC_final");
    return 1;
}
