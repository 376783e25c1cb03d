/*
 * pkey.c - key pairs: made, read from the numbers of a JWK, written as such.
 *
 * SPDX-License-Identifier: MIT
 */
#include "crypto/pkey.h"

#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/ec.h>
#include <openssl/param_build.h>
#include <string.h>

enum { RSA_NEW_BITS = 2048, RSA_EXPONENT_MAX = 8, EC_POINT_SIZE = 1 + 2 * OTOK_EC_BYTES };

/* Takes over `pkey`, NULL included. */
static int wrap(int32_t algorithm, EVP_PKEY *pkey, bool is_private, otok_pkey **out, otok_error *err)
{
    otok_pkey *made = otok_calloc(1, sizeof *made);
    if (made == NULL || pkey == NULL) {
        otok_free(made);
        EVP_PKEY_free(pkey);
        return otok_evp_fail(err, made == NULL ? OTOK_E_NOMEM : OTOK_E_CRYPTO, "a signing key cannot be made");
    }
    atomic_init(&made->references, 1);
    made->algorithm = algorithm;
    made->pkey = pkey;
    made->verifier = otok_signature_context(algorithm, pkey, false);
    if (is_private)
        made->signer = otok_signature_context(algorithm, pkey, true);
    if (made->verifier == NULL || (is_private && made->signer == NULL)) {
        otok_pkey_free(made);
        return otok_evp_fail(err, OTOK_E_CRYPTO, "a signing key cannot be prepared");
    }
    *out = made;
    return OTOK_OK;
}

static int generate(int32_t algorithm, otok_pkey **out, otok_error *err)
{
    switch (algorithm) {
    case OTOK_ALG_ES256:
        return wrap(algorithm, EVP_PKEY_Q_keygen(NULL, NULL, "EC", "P-256"), true, out, err);
    case OTOK_ALG_EDDSA:
        return wrap(algorithm, EVP_PKEY_Q_keygen(NULL, NULL, "ED25519"), true, out, err);
    case OTOK_ALG_RS256:
    case OTOK_ALG_PS256:
        return wrap(algorithm, EVP_PKEY_Q_keygen(NULL, NULL, "RSA", (size_t)RSA_NEW_BITS), true, out, err);
    default:
        return otok_fail(err, OTOK_E_INVALID, "algorithm %d is none of OTOK_ALG_...", (int)algorithm);
    }
}

int otok_pkey_generate(int32_t algorithm, otok_pkey **out, otok_error *err)
{
    *out = NULL;
    otok_evp_begin();
    return otok_evp_end(generate(algorithm, out, err));
}

/* ---- from numbers ---- */

static int short_of_memory(otok_error *err)
{
    return otok_evp_fail(err, OTOK_E_NOMEM, "no memory for a signing key");
}

/* What a failed import says: the number, where one is to blame. */
static int refuse(otok_error *err, const char *what)
{
    return otok_evp_fail(err, OTOK_E_KEY, what);
}

/* Numbers on their way to OpenSSL.  Secret ones come from its secure heap, or are at least wiped by it. */
typedef struct numbers_out {
    OSSL_PARAM_BLD *build;
    BIGNUM *numbers[8];
    size_t n;
    bool failed;
} numbers_out;

static void push(numbers_out *to, const char *name, otok_str number, bool secret)
{
    BIGNUM *bn = secret ? BN_secure_new() : BN_new();
    if (bn != NULL)
        to->numbers[to->n++] = bn; /* must live until the parameters are made */
    if (bn == NULL || BN_bin2bn(number.data, (int)number.len, bn) == NULL ||
        OSSL_PARAM_BLD_push_BN(to->build, name, bn) != 1)
        to->failed = true;
}

static EVP_PKEY *import(numbers_out *from, const char *type, bool is_private)
{
    EVP_PKEY *pkey = NULL;
    OSSL_PARAM *params = from->failed ? NULL : OSSL_PARAM_BLD_to_param(from->build);
    EVP_PKEY_CTX *ctx = params != NULL ? EVP_PKEY_CTX_new_from_name(NULL, type, NULL) : NULL;
    int selection = is_private ? EVP_PKEY_KEYPAIR : EVP_PKEY_PUBLIC_KEY;

    if (ctx == NULL || EVP_PKEY_fromdata_init(ctx) != 1 || EVP_PKEY_fromdata(ctx, &pkey, selection, params) != 1)
        pkey = NULL;
    EVP_PKEY_CTX_free(ctx);
    OSSL_PARAM_free(params);
    for (size_t i = 0; i < from->n; i++)
        BN_clear_free(from->numbers[i]);
    OSSL_PARAM_BLD_free(from->build);
    return pkey;
}

/* Primes, products and exponents of an RSA key; the point of an EC key, and that the private half leads there. */
static bool is_consistent(EVP_PKEY *pkey, bool is_private)
{
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_pkey(NULL, pkey, NULL);
    bool good = ctx != NULL && (is_private ? EVP_PKEY_check(ctx) : EVP_PKEY_public_check(ctx)) == 1;
    EVP_PKEY_CTX_free(ctx);
    return good;
}

static int import_ec(const otok_jwk_numbers *jwk, bool is_private, EVP_PKEY **out, otok_error *err)
{
    if (jwk->crv_x.len != OTOK_EC_BYTES || jwk->crv_y.len != OTOK_EC_BYTES ||
        (is_private && jwk->d.len != OTOK_EC_BYTES))
        return refuse(err, "the numbers of a P-256 key have 32 bytes each");

    uint8_t point[EC_POINT_SIZE] = {(uint8_t)POINT_CONVERSION_UNCOMPRESSED};
    memcpy(point + 1, jwk->crv_x.data, OTOK_EC_BYTES);
    memcpy(point + 1 + OTOK_EC_BYTES, jwk->crv_y.data, OTOK_EC_BYTES);

    numbers_out to = {.build = OSSL_PARAM_BLD_new()};
    if (to.build == NULL)
        return short_of_memory(err);
    to.failed = OSSL_PARAM_BLD_push_utf8_string(to.build, OSSL_PKEY_PARAM_GROUP_NAME, "prime256v1", 0) != 1 ||
                OSSL_PARAM_BLD_push_octet_string(to.build, OSSL_PKEY_PARAM_PUB_KEY, point, sizeof point) != 1;
    if (!to.failed && is_private)
        push(&to, OSSL_PKEY_PARAM_PRIV_KEY, jwk->d, true);
    *out = import(&to, "EC", is_private);
    if (*out == NULL || !is_consistent(*out, is_private))
        return refuse(err, is_private ? "x, y and d are no P-256 key pair" : "x and y are no point of P-256");
    return OTOK_OK;
}

static int import_ed(const otok_jwk_numbers *jwk, bool is_private, EVP_PKEY **out, otok_error *err)
{
    if (jwk->crv_x.len != OTOK_ED_BYTES || (is_private && jwk->d.len != OTOK_ED_BYTES))
        return refuse(err, "the numbers of an Ed25519 key have 32 bytes each");
    if (!is_private) {
        *out = EVP_PKEY_new_raw_public_key_ex(NULL, "ED25519", NULL, jwk->crv_x.data, jwk->crv_x.len);
        return *out != NULL ? OTOK_OK : refuse(err, "x is no Ed25519 key");
    }
    uint8_t x[OTOK_ED_BYTES];
    size_t len = sizeof x;
    *out = EVP_PKEY_new_raw_private_key_ex(NULL, "ED25519", NULL, jwk->d.data, jwk->d.len);
    if (*out == NULL || EVP_PKEY_get_raw_public_key(*out, x, &len) != 1 || memcmp(x, jwk->crv_x.data, sizeof x) != 0)
        return refuse(err, "x and d are no Ed25519 key pair");
    return OTOK_OK;
}

/* Leading zeroes are refused (RFC 7518 section 6.3.1), or one key had many thumbprints. */
static bool is_odd_number(otok_str number, size_t most)
{
    const uint8_t *bytes = number.data;
    return number.len > 0 && number.len <= most && bytes[0] != 0 && (bytes[number.len - 1] & 1) == 1;
}

static size_t bits_of(otok_str number)
{
    size_t bits = 8 * number.len;
    for (uint8_t top = *(const uint8_t *)number.data; (top & 0x80) == 0; top = (uint8_t)(top << 1))
        bits--;
    return bits;
}

/* Of a public key no more is asked: to look for factors of a stranger's modulus is to work for him. */
static int check_rsa(const otok_jwk_numbers *jwk, otok_error *err)
{
    if (!is_odd_number(jwk->n, OTOK_JWK_NUMBER_MAX) || bits_of(jwk->n) < OTOK_RSA_BITS_MIN ||
        bits_of(jwk->n) > OTOK_RSA_BITS_MAX)
        return refuse(err, "n is no RSA modulus of 2048 to 8192 bits");
    if (!is_odd_number(jwk->e, RSA_EXPONENT_MAX) || bits_of(jwk->e) < 2)
        return refuse(err, "e is no RSA exponent of at most 64 bits");
    return OTOK_OK;
}

static int import_rsa(const otok_jwk_numbers *jwk, bool is_private, EVP_PKEY **out, otok_error *err)
{
    const struct {
        const char *name;
        otok_str number;
    } secrets[] = {
        {OSSL_PKEY_PARAM_RSA_D, jwk->d},          {OSSL_PKEY_PARAM_RSA_FACTOR1, jwk->p},
        {OSSL_PKEY_PARAM_RSA_FACTOR2, jwk->q},    {OSSL_PKEY_PARAM_RSA_EXPONENT1, jwk->dp},
        {OSSL_PKEY_PARAM_RSA_EXPONENT2, jwk->dq}, {OSSL_PKEY_PARAM_RSA_COEFFICIENT1, jwk->qi},
    };
    int rc = check_rsa(jwk, err);
    if (rc != OTOK_OK)
        return rc;

    numbers_out to = {.build = OSSL_PARAM_BLD_new()};
    if (to.build == NULL)
        return short_of_memory(err);
    push(&to, OSSL_PKEY_PARAM_RSA_N, jwk->n, false);
    push(&to, OSSL_PKEY_PARAM_RSA_E, jwk->e, false);
    for (size_t i = 0; is_private && !to.failed && i < sizeof secrets / sizeof secrets[0]; i++) {
        if (secrets[i].number.len == 0 || secrets[i].number.len > jwk->n.len)
            to.failed = true;
        else
            push(&to, secrets[i].name, secrets[i].number, true);
    }
    *out = import(&to, "RSA", is_private);
    if (*out == NULL || (is_private && !is_consistent(*out, true)))
        return refuse(err, is_private ? "n, e, d, p, q, dp, dq and qi are no RSA key pair" : "n and e are no RSA key");
    return OTOK_OK;
}

static int import_numbers(int32_t algorithm, const otok_jwk_numbers *numbers, bool is_private, EVP_PKEY **out,
                          otok_error *err)
{
    switch (algorithm) {
    case OTOK_ALG_ES256:
        return import_ec(numbers, is_private, out, err);
    case OTOK_ALG_EDDSA:
        return import_ed(numbers, is_private, out, err);
    case OTOK_ALG_RS256:
    case OTOK_ALG_PS256:
        return import_rsa(numbers, is_private, out, err);
    default:
        return otok_fail(err, OTOK_E_INVALID, "algorithm %d is none of OTOK_ALG_...", (int)algorithm);
    }
}

/* OpenSSL does not always say when it was short of memory: the key is blamed only when it is refused twice. */
enum { IMPORT_TRIES = 2 };

int otok_pkey_from_numbers(int32_t algorithm, const otok_jwk_numbers *numbers, otok_pkey **out, otok_error *err)
{
    EVP_PKEY *pkey = NULL;
    bool is_private = numbers->d.len != 0;
    int rc = OTOK_E_KEY;

    *out = NULL;
    otok_evp_begin();
    for (int i = 0; rc == OTOK_E_KEY && i < IMPORT_TRIES; i++) {
        EVP_PKEY_free(pkey);
        pkey = NULL;
        rc = import_numbers(algorithm, numbers, is_private, &pkey, err);
    }
    if (rc == OTOK_OK)
        rc = wrap(algorithm, pkey, is_private, out, err);
    else
        EVP_PKEY_free(pkey);
    return otok_evp_end(rc);
}

/* ---- to numbers ---- */

/*
 * Appends one number, `width` bytes or, when that is 0, as few as it needs.  The room is there: the buffer must not
 * move.
 */
static bool take(const otok_pkey *key, const char *name, size_t width, otok_buf *storage, otok_str *number)
{
    BIGNUM *bn = NULL;
    bool good = EVP_PKEY_get_bn_param(key->pkey, name, &bn) == 1;
    if (good) {
        size_t len = width != 0 ? width : (size_t)BN_num_bytes(bn);
        uint8_t *at = storage->data + storage->len;
        good = len <= storage->room - storage->len && BN_bn2binpad(bn, at, (int)len) == (int)len;
        if (good) {
            *number = (otok_str){at, len};
            storage->len += len;
        }
    }
    BN_clear_free(bn);
    return good;
}

static bool take_ed(const otok_pkey *key, bool with_private, otok_buf *storage, otok_jwk_numbers *numbers)
{
    uint8_t *at = storage->data + storage->len;
    size_t x = OTOK_ED_BYTES, d = OTOK_ED_BYTES;
    if (EVP_PKEY_get_raw_public_key(key->pkey, at, &x) != 1 || x != OTOK_ED_BYTES)
        return false;
    numbers->crv_x = (otok_str){at, x};
    storage->len += x;
    if (!with_private)
        return true;
    if (EVP_PKEY_get_raw_private_key(key->pkey, at + x, &d) != 1 || d != OTOK_ED_BYTES)
        return false;
    numbers->d = (otok_str){at + x, d};
    storage->len += d;
    return true;
}

static bool take_ec(const otok_pkey *key, bool with_private, otok_buf *storage, otok_jwk_numbers *numbers)
{
    return take(key, OSSL_PKEY_PARAM_EC_PUB_X, OTOK_EC_BYTES, storage, &numbers->crv_x) &&
           take(key, OSSL_PKEY_PARAM_EC_PUB_Y, OTOK_EC_BYTES, storage, &numbers->crv_y) &&
           (!with_private || take(key, OSSL_PKEY_PARAM_PRIV_KEY, OTOK_EC_BYTES, storage, &numbers->d));
}

static bool take_rsa(const otok_pkey *key, bool with_private, otok_buf *storage, otok_jwk_numbers *numbers)
{
    return take(key, OSSL_PKEY_PARAM_RSA_N, 0, storage, &numbers->n) &&
           take(key, OSSL_PKEY_PARAM_RSA_E, 0, storage, &numbers->e) &&
           (!with_private || (take(key, OSSL_PKEY_PARAM_RSA_D, 0, storage, &numbers->d) &&
                              take(key, OSSL_PKEY_PARAM_RSA_FACTOR1, 0, storage, &numbers->p) &&
                              take(key, OSSL_PKEY_PARAM_RSA_FACTOR2, 0, storage, &numbers->q) &&
                              take(key, OSSL_PKEY_PARAM_RSA_EXPONENT1, 0, storage, &numbers->dp) &&
                              take(key, OSSL_PKEY_PARAM_RSA_EXPONENT2, 0, storage, &numbers->dq) &&
                              take(key, OSSL_PKEY_PARAM_RSA_COEFFICIENT1, 0, storage, &numbers->qi)));
}

int otok_pkey_numbers(const otok_pkey *key, bool with_private, otok_buf *storage, otok_jwk_numbers *numbers,
                      otok_error *err)
{
    *numbers = (otok_jwk_numbers){0};
    if (with_private && !otok_pkey_is_private(key))
        return otok_fail(err, OTOK_E_KEY, "a public key has no private numbers");
    size_t most = key->algorithm == OTOK_ALG_ES256 || key->algorithm == OTOK_ALG_EDDSA ? 3 * OTOK_EC_BYTES
                                                                                       : 8 * OTOK_JWK_NUMBER_MAX;
    if (!otok_buf_reserve(storage, most))
        return otok_fail(err, OTOK_E_NOMEM, "no memory for the numbers of a key");

    otok_evp_begin();
    bool good = key->algorithm == OTOK_ALG_ES256   ? take_ec(key, with_private, storage, numbers)
                : key->algorithm == OTOK_ALG_EDDSA ? take_ed(key, with_private, storage, numbers)
                                                   : take_rsa(key, with_private, storage, numbers);
    return otok_evp_end(good ? OTOK_OK
                             : otok_evp_fail(err, OTOK_E_CRYPTO, "OpenSSL does not tell the numbers of a key"));
}

int32_t otok_pkey_algorithm(const otok_pkey *key)
{
    return key->algorithm;
}

bool otok_pkey_is_private(const otok_pkey *key)
{
    return key->signer != NULL;
}

otok_pkey *otok_pkey_ref(otok_pkey *key)
{
    atomic_fetch_add_explicit(&key->references, 1, memory_order_relaxed);
    return key;
}

void otok_pkey_free(otok_pkey *key)
{
    if (key == NULL || atomic_fetch_sub_explicit(&key->references, 1, memory_order_acq_rel) != 1)
        return;
    EVP_MD_CTX_free(key->signer);
    EVP_MD_CTX_free(key->verifier);
    EVP_PKEY_free(key->pkey);
    otok_free(key);
}
