/*
 * keyring_file.c - keyrings on disk.
 *
 * SPDX-License-Identifier: MIT
 */
#include "keys/keys.h"

#include <string.h>
#include <sys/stat.h>

enum { OPEN_ATTEMPTS = 8, ALL_KEYS = OTOK_JWKS_SIGNING | OTOK_JWKS_TOKEN };

static int check_paths(const char *path, const char *token_keys_path, otok_error *err)
{
    if (path == NULL || *path == '\0')
        return otok_fail(err, OTOK_E_INVALID, "path is required and must not be empty");
    if (token_keys_path != NULL && *token_keys_path == '\0')
        return otok_fail(err, OTOK_E_INVALID, "token_keys_path must not be empty");
    if (token_keys_path != NULL && strcmp(path, token_keys_path) == 0)
        return otok_fail(err, OTOK_E_INVALID, "token_keys_path must not be path");
    return OTOK_OK;
}

static int load_file(const char *path, unsigned which, otok_keyring *keyring, otok_error *err)
{
    otok_buf text;
    otok_buf_init(&text, NULL, 0);
    int rc = otok_private_file_read(path, OTOK_KEYRING_FILE_MAX, &text, err);
    if (rc == OTOK_OK)
        rc = otok_keyring_parse((const char *)text.data, text.len, which, path, keyring, err);
    otok_buf_free(&text);
    return rc;
}

int otok_keyring_load(const char *path, const char *token_keys_path, otok_keyring **out, otok_error *err)
{
    if (out == NULL)
        return otok_fail(err, OTOK_E_INVALID, "out is required");
    *out = NULL;
    int rc = check_paths(path, token_keys_path, err);
    if (rc == OTOK_OK)
        rc = otok_crypto_check(err);
    if (rc != OTOK_OK)
        return rc;
    otok_keyring *keyring = otok_keyring_new(err);
    if (keyring == NULL)
        return OTOK_E_NOMEM;
    rc = load_file(path, token_keys_path == NULL ? ALL_KEYS : OTOK_JWKS_SIGNING, keyring, err);
    if (rc == OTOK_OK && token_keys_path != NULL)
        rc = load_file(token_keys_path, OTOK_JWKS_TOKEN, keyring, err);
    if (rc == OTOK_OK)
        *out = keyring;
    else
        otok_keyring_free(keyring);
    return rc;
}

static int save_file(const otok_keyring *keyring, const char *path, unsigned which, bool replace, otok_error *err)
{
    otok_buf text;
    otok_buf_init(&text, NULL, 0);
    int rc = otok_keyring_print(keyring, which, &text, err);
    if (rc == OTOK_OK)
        rc = otok_private_file_write(path, (otok_str){text.data, text.len}, replace, err);
    otok_buf_free(&text);
    return rc;
}

/* Two names of one file ("keys", "./keys"): the signing keys would take the place of the MAC keys, and log everyone out. */
static int check_apart(const char *path, const char *token_keys_path, otok_error *err)
{
    struct stat a, b;
    if (stat(path, &a) == 0 && stat(token_keys_path, &b) == 0 && a.st_dev == b.st_dev && a.st_ino == b.st_ino)
        return otok_fail(err, OTOK_E_INVALID, "token_keys_path must not be path");
    return OTOK_OK;
}

/* MAC keys first: a token under a key that was not saved could never be refreshed, a JWT lives for minutes. */
int otok_keyring_save(const otok_keyring *keyring, const char *path, const char *token_keys_path, otok_error *err)
{
    int rc = check_paths(path, token_keys_path, err);
    if (rc == OTOK_OK && keyring == NULL)
        rc = otok_fail(err, OTOK_E_INVALID, "keyring is required");
    if (rc == OTOK_OK && token_keys_path != NULL)
        rc = check_apart(path, token_keys_path, err);
    if (rc == OTOK_OK && token_keys_path != NULL)
        rc = save_file(keyring, token_keys_path, OTOK_JWKS_TOKEN, true, err);
    if (rc == OTOK_OK && token_keys_path != NULL) /* again: the file may not have been there before */
        rc = check_apart(path, token_keys_path, err);
    if (rc == OTOK_OK)
        rc = save_file(keyring, path, token_keys_path == NULL ? ALL_KEYS : OTOK_JWKS_SIGNING, true, err);
    return rc;
}

int otok_keyring_open(const char *path, int32_t algorithm, otok_keyring **out, otok_error *err)
{
    int rc = OTOK_E_NOT_FOUND;
    for (int i = 0; i < OPEN_ATTEMPTS; i++) {
        rc = otok_keyring_load(path, NULL, out, err);
        if (rc == OTOK_OK) {
            /* Its maker may not have got so far.  Where the file system is read-only, nobody makes anything. */
            (void)otok_folder_sync(path, NULL);
            return OTOK_OK;
        }
        if (rc != OTOK_E_NOT_FOUND)
            return rc;
        rc = otok_keyring_generate(algorithm, out, err);
        if (rc != OTOK_OK)
            return rc;
        rc = save_file(*out, path, ALL_KEYS, false, err);
        if (rc == OTOK_OK)
            return OTOK_OK;
        otok_keyring_free(*out);
        *out = NULL;
        if (rc != OTOK_E_CONFLICT)
            return rc;
    }
    return rc;
}
