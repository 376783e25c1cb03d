/*
 * password.c - passwords of users and secrets of clients are compared.
 *
 * A password is scrypt$N$r$p$salt$hash (RFC 7914), salt and hash as base64url.  A client's secret is drawn at random, not thought of by
 * somebody, so that its SHA-256 is enough.  To make a password in a shell:
 *
 *     python3 -c 'import base64, hashlib, os, sys; b = lambda x: base64.urlsafe_b64encode(x).rstrip(b"=").decode(); s = os.urandom(16)
 *     print("scrypt$16384$8$1$" + b(s) + "$" + b(hashlib.scrypt(sys.argv[1].encode(), salt=s, n=16384, r=8, p=1, dklen=32)))' PASSWORD
 *
 * SPDX-License-Identifier: MIT
 */
#include <inttypes.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "directory.h"

enum { SALT_MAX = 64, HASH_LEN = 32, PASSWORD_MAX = 1024 };

/* Work that a login may cost: 64 MiB, and some tenths of a second. */
enum { MEMORY_MAX = 64 * 1024 * 1024, FACTOR_MAX = 16 };

/* Nobody's: what is compared when there is no such user. */
static const char nobodys[] = "scrypt$16384$8$1$AAAAAAAAAAAAAAAAAAAAAA$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";

static const char nobodys_secret[] = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";

typedef struct stored {
    uint64_t n, r, p;
    unsigned char salt[SALT_MAX], hash[SALT_MAX];
    size_t salt_len, hash_len;
} stored;

/* Up to the end, or '$'. */
static bool read_bytes(const char **at, unsigned char out[SALT_MAX], size_t *len)
{
    size_t n = strcspn(*at, "$");
    unsigned char *bytes = base64url_decode(*at, n, len);
    bool good = bytes != NULL && *len > 0 && *len <= SALT_MAX;
    if (good)
        memcpy(out, bytes, *len);
    free(bytes);
    *at += n;
    return good;
}

static bool read_number(const char **at, uint64_t *out)
{
    char *end = NULL;
    if (**at < '1' || **at > '9')
        return false;
    *out = strtoumax(*at, &end, 10);
    *at = end;
    return *out <= MEMORY_MAX && *(*at)++ == '$';
}

static bool read_stored(const char *at, stored *out)
{
    static const char prefix[] = "scrypt$";
    if (strncmp(at, prefix, strlen(prefix)) != 0)
        return false;
    at += strlen(prefix);
    if (!read_number(&at, &out->n) || !read_number(&at, &out->r) || !read_number(&at, &out->p) ||
        !read_bytes(&at, out->salt, &out->salt_len) || *at++ != '$' || !read_bytes(&at, out->hash, &out->hash_len) ||
        *at != '\0')
        return false;
    return out->hash_len == HASH_LEN && out->r <= FACTOR_MAX && out->p <= FACTOR_MAX && out->n > 1 &&
           (out->n & (out->n - 1)) == 0 && out->n * out->r * 128 <= MEMORY_MAX;
}

bool password_is_readable(const char *written)
{
    stored s;
    return read_stored(written, &s);
}

bool user_has_password(const user *u, const char *password)
{
    unsigned char hash[HASH_LEN];
    stored s;
    size_t len = password == NULL ? 0 : strlen(password);
    bool good = len <= PASSWORD_MAX && read_stored(u == NULL ? nobodys : u->password, &s) &&
                EVP_PBE_scrypt(password == NULL ? "" : password, len, s.salt, s.salt_len, s.n, s.r, s.p,
                               2 * (uint64_t)MEMORY_MAX, hash, sizeof hash) == 1 &&
                CRYPTO_memcmp(hash, s.hash, sizeof hash) == 0;
    OPENSSL_cleanse(hash, sizeof hash);
    return good && u != NULL && password != NULL;
}

bool client_has_secret(const client *c, const char *secret)
{
    char *hash = sha256_name(secret == NULL ? "" : secret);
    bool good = same_text(hash, c == NULL || c->secret == NULL ? nobodys_secret : c->secret);
    free(hash);
    return good && c != NULL && c->secret != NULL && secret != NULL;
}
