/*
 * seal.c - texts that browsers and clients keep for this server: codes, cookies, form tokens.
 *
 * AES-256-GCM under one key of the server's.  What a text is for is its associated data, so that none is taken for another; when it
 * ends is in it.  A nonce is random: far below the 2^32 texts that NIST SP 800-38D section 8.3 allows a key.
 *
 * SPDX-License-Identifier: MIT
 */
#include "server.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/rand.h>

enum { KEY_LEN = 32, NONCE_LEN = 12, TAG_LEN = 16, TIME_LEN = 8, NAME_BYTES = 16, MOST_TEXT = 32768 };

struct seal {
    unsigned char key[KEY_LEN];
};

/* ------------------------------------------------------------------------------------------------------- base64url */

static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

static char *encode(const unsigned char *in, size_t len)
{
    char *out = malloc(len / 3 * 4 + 5), *at = out;
    unsigned bits = 0, nbits = 0;
    if (out == NULL)
        return NULL;
    for (size_t i = 0; i < len; i++) {
        bits = (bits << 8 | in[i]) & 0xffff;
        for (nbits += 8; nbits >= 6; nbits -= 6)
            *at++ = alphabet[bits >> (nbits - 6) & 63];
    }
    if (nbits != 0)
        *at++ = alphabet[bits << (6 - nbits) & 63];
    *at = '\0';
    return out;
}

/* Bits that are left over are 0. */
unsigned char *base64url_decode(const char *in, size_t n, size_t *len)
{
    size_t at = 0;
    unsigned char *out = n / 2 <= MOST_TEXT ? malloc(n / 4 * 3 + 3) : NULL;
    unsigned bits = 0, nbits = 0;
    bool is_good = n % 4 != 1;
    for (size_t i = 0; out != NULL && is_good && i < n; i++) {
        const char *place = in[i] != '\0' ? strchr(alphabet, in[i]) : NULL;
        is_good = place != NULL;
        bits = (bits << 6 | (unsigned)(is_good ? place - alphabet : 0)) & 0xffff;
        nbits += 6;
        if (nbits >= 8) {
            nbits -= 8;
            out[at++] = (unsigned char)(bits >> nbits);
        }
    }
    if (out == NULL || !is_good || (bits & ((1U << nbits) - 1)) != 0) {
        free(out);
        return NULL;
    }
    *len = at;
    return out;
}

/* --------------------------------------------------------------------------------------------------------- the key */

static seal *complain(const char *path, const char *what)
{
    fprintf(stderr, "identity-server: %s: %s\n", path, what);
    return NULL;
}

static bool write_key(int fd)
{
    unsigned char key[KEY_LEN];
    bool done =
        RAND_priv_bytes(key, sizeof key) == 1 && write(fd, key, sizeof key) == (ssize_t)sizeof key && fsync(fd) == 0;
    OPENSSL_cleanse(key, sizeof key);
    return done;
}

/*
 * Servers that start at once on one folder must end up with one key, and none may read half of it: each writes a file of its own, and
 * the first one whose link() succeeds has made the key.
 */
static bool make_key(const char *path)
{
    char own[PATH_MAX];
    int len = snprintf(own, sizeof own, "%s.%ld", path, (long)getpid());
    if (len < 0 || (size_t)len >= sizeof own)
        return false;
    unlink(own); /* of a process with our number that was killed here */
    int fd = open(own, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0)
        return false;
    bool done = write_key(fd);
    close(fd);
    done = done && (link(own, path) == 0 || errno == EEXIST);
    unlink(own);
    return done;
}

static seal *read_key(int fd, const char *path)
{
    struct stat st;
    if (fstat(fd, &st) != 0 || !S_ISREG(st.st_mode) || st.st_size != KEY_LEN)
        return complain(path, "is not a key of 32 bytes");
    if (st.st_uid != geteuid() || (st.st_mode & 077) != 0)
        return complain(path, "is not ours alone: it needs mode 0600");
    seal *s = calloc(1, sizeof *s);
    if (s == NULL || read(fd, s->key, KEY_LEN) != KEY_LEN) {
        seal_free(s);
        return complain(path, "cannot be read");
    }
    return s;
}

seal *seal_open(const char *path)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0 && errno == ENOENT && make_key(path))
        fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0)
        return complain(path, strerror(errno));
    seal *s = read_key(fd, path);
    close(fd);
    return s;
}

void seal_free(seal *s)
{
    if (s != NULL)
        OPENSSL_cleanse(s, sizeof *s);
    free(s);
}

/* ---------------------------------------------------------------------------------------------------------- sealing */

/* Lengths are below MOST_TEXT, and fit an int. */
static bool encrypt(const seal *s, const char *purpose, const unsigned char *plain, size_t len, unsigned char *out)
{
    EVP_CIPHER_CTX *ctx = EVP_CIPHER_CTX_new();
    unsigned char *sealed = out + NONCE_LEN;
    int n;
    bool done = ctx != NULL && RAND_bytes(out, NONCE_LEN) == 1 &&
                EVP_EncryptInit_ex(ctx, EVP_aes_256_gcm(), NULL, s->key, out) == 1 &&
                EVP_EncryptUpdate(ctx, NULL, &n, (const unsigned char *)purpose, (int)strlen(purpose)) == 1 &&
                EVP_EncryptUpdate(ctx, sealed, &n, plain, (int)len) == 1 &&
                EVP_EncryptFinal_ex(ctx, sealed + len, &n) == 1 &&
                EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_GCM_GET_TAG, TAG_LEN, sealed + len) == 1;
    EVP_CIPHER_CTX_free(ctx);
    return done;
}

static bool decrypt(const seal *s, const char *purpose, unsigned char *in, size_t len, unsigned char *plain)
{
    EVP_CIPHER_CTX *ctx = EVP_CIPHER_CTX_new();
    unsigned char *sealed = in + NONCE_LEN;
    int n;
    bool done = ctx != NULL && EVP_DecryptInit_ex(ctx, EVP_aes_256_gcm(), NULL, s->key, in) == 1 &&
                EVP_DecryptUpdate(ctx, NULL, &n, (const unsigned char *)purpose, (int)strlen(purpose)) == 1 &&
                EVP_DecryptUpdate(ctx, plain, &n, sealed, (int)len) == 1 &&
                EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_GCM_SET_TAG, TAG_LEN, sealed + len) == 1 &&
                EVP_DecryptFinal_ex(ctx, plain + len, &n) == 1;
    EVP_CIPHER_CTX_free(ctx);
    return done;
}

/* The end, big-endian, and then the text. */
static unsigned char *with_end(const char *plain, size_t len, int64_t ends_us)
{
    unsigned char *out = malloc(TIME_LEN + len);
    for (size_t i = 0; out != NULL && i < TIME_LEN; i++)
        out[i] = (unsigned char)((uint64_t)ends_us >> (56 - 8 * i));
    if (out != NULL)
        memcpy(out + TIME_LEN, plain, len);
    return out;
}

char *seal_text(const seal *s, const char *purpose, const char *plain, int64_t ends_us)
{
    size_t len = strlen(plain), inner = TIME_LEN + len, all = NONCE_LEN + inner + TAG_LEN;
    if (len > MOST_TEXT)
        return NULL;
    unsigned char *in = with_end(plain, len, ends_us), *out = malloc(all);
    char *sealed = NULL;
    if (in != NULL && out != NULL && encrypt(s, purpose, in, inner, out))
        sealed = encode(out, all);
    if (in != NULL)
        OPENSSL_cleanse(in, inner);
    free(in);
    free(out);
    return sealed;
}

static int64_t end_of(const unsigned char *inner)
{
    uint64_t us = 0;
    for (size_t i = 0; i < TIME_LEN; i++)
        us = us << 8 | inner[i];
    return (int64_t)us;
}

char *unseal_text(const seal *s, const char *purpose, const char *sealed, int64_t now)
{
    size_t all = 0;
    unsigned char *in = sealed != NULL ? base64url_decode(sealed, strlen(sealed), &all) : NULL;
    if (in == NULL || all < NONCE_LEN + TIME_LEN + TAG_LEN) {
        free(in);
        return NULL;
    }
    size_t inner = all - NONCE_LEN - TAG_LEN, len = inner - TIME_LEN;
    unsigned char *plain = malloc(inner + 1);
    char *out = NULL;
    if (plain != NULL && decrypt(s, purpose, in, inner, plain) && now < end_of(plain)) {
        plain[inner] = '\0';
        out = strdup((const char *)plain + TIME_LEN);
    }
    if (out != NULL && strlen(out) != len) { /* not one of ours: those are texts */
        free(out);
        out = NULL;
    }
    if (plain != NULL)
        OPENSSL_cleanse(plain, inner);
    free(plain);
    free(in);
    return out;
}

/* ------------------------------------------------------------------------------------------------------------ names */

char *random_name(void)
{
    unsigned char bytes[NAME_BYTES];
    char *name = RAND_bytes(bytes, sizeof bytes) == 1 ? encode(bytes, sizeof bytes) : NULL;
    OPENSSL_cleanse(bytes, sizeof bytes);
    return name;
}

char *sha256_name(const char *plain)
{
    unsigned char digest[32];
    unsigned len = 0;
    if (EVP_Digest(plain, strlen(plain), digest, &len, EVP_sha256(), NULL) != 1)
        return NULL;
    return encode(digest, len);
}

bool same_text(const char *a, const char *b)
{
    if (a == NULL || b == NULL)
        return false;
    size_t len = strlen(a);
    return strlen(b) == len && CRYPTO_memcmp(a, b, len) == 0;
}
