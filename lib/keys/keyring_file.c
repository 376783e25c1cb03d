/*
 * keyring_file.c - keyrings on disk.
 *
 * SPDX-License-Identifier: MIT
 */
#include "keys/keys.h"

#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

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

/* ---- loading ---- */

/* A path that means the same after chdir(). */
static char *absolute(const char *path)
{
    char folder[PATH_MAX];
    const char *before = *path != '/' ? getcwd(folder, sizeof folder) : NULL;
    size_t room = (before != NULL ? strlen(before) : 0) + sizeof "/" + strlen(path);
    char *made = otok_malloc(room);
    if (made != NULL)
        (void)snprintf(made, room, "%s%s%s", before != NULL ? before : "", before != NULL ? "/" : "", path);
    return made;
}

static int remember(otok_keyring_files *files, const char *path, const char *token_keys_path, otok_error *err)
{
    files->path = absolute(path);
    files->token_keys_path = token_keys_path != NULL ? absolute(token_keys_path) : NULL;
    return files->path == NULL || (files->token_keys_path == NULL && token_keys_path != NULL)
               ? otok_fail(err, OTOK_E_NOMEM, "no memory for a path")
               : OTOK_OK;
}

static int load_file(const char *path, unsigned which, otok_keyring *keyring, otok_file_stamp *stamp, otok_error *err)
{
    otok_buf text;
    otok_buf_init(&text, NULL, 0);
    int rc = otok_private_file_read(path, OTOK_KEYRING_FILE_MAX, &text, stamp, err);
    if (rc == OTOK_OK)
        rc = otok_keyring_parse((const char *)text.data, text.len, which, path, keyring, err);
    otok_buf_free(&text);
    return rc;
}

static unsigned keys_in_path(const char *token_keys_path)
{
    return token_keys_path == NULL ? ALL_KEYS : OTOK_JWKS_SIGNING;
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
    rc = remember(&keyring->files, path, token_keys_path, err);
    if (rc == OTOK_OK)
        rc = load_file(path, keys_in_path(token_keys_path), keyring, &keyring->files.stamp, err);
    if (rc == OTOK_OK && token_keys_path != NULL)
        rc = load_file(token_keys_path, OTOK_JWKS_TOKEN, keyring, &keyring->files.token_keys_stamp, err);
    if (rc == OTOK_OK)
        *out = keyring;
    else
        otok_keyring_free(keyring);
    return rc;
}

int otok_keyring_reload(const otok_keyring *keyring, otok_keyring **out, otok_error *err)
{
    const otok_keyring_files *files = &keyring->files;
    *out = NULL;
    if (files->path == NULL)
        return otok_fail(err, OTOK_E_UNSUPPORTED, "the keyring came from no file");
    if (otok_private_file_is(files->path, &files->stamp) &&
        (files->token_keys_path == NULL || otok_private_file_is(files->token_keys_path, &files->token_keys_stamp)))
        return OTOK_OK;
    return otok_keyring_load(files->path, files->token_keys_path, out, err);
}

/* ---- saving ---- */

static int save_file(const otok_keyring *keyring, const char *path, unsigned which, bool replace,
                     otok_file_stamp *stamp, otok_error *err)
{
    otok_buf text;
    otok_buf_init(&text, NULL, 0);
    int rc = otok_keyring_print(keyring, which, &text, err);
    if (rc == OTOK_OK)
        rc = otok_private_file_write(path, (otok_str){text.data, text.len}, replace, stamp, err);
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
        rc = save_file(keyring, token_keys_path, OTOK_JWKS_TOKEN, true, NULL, err);
    if (rc == OTOK_OK && token_keys_path != NULL) /* again: the file may not have been there before */
        rc = check_apart(path, token_keys_path, err);
    if (rc == OTOK_OK)
        rc = save_file(keyring, path, keys_in_path(token_keys_path), true, NULL, err);
    return rc;
}

/* ---- making ---- */

static int make_file(const char *path, int32_t algorithm, otok_error *err)
{
    otok_keyring *made;
    int rc = otok_keyring_generate(algorithm, &made, err);
    if (rc == OTOK_OK)
        rc = save_file(made, path, ALL_KEYS, false, NULL, err);
    otok_keyring_free(made);
    return rc;
}

/* Also one that was just made is read: so it knows what its file was then. */
int otok_keyring_open(const char *path, int32_t algorithm, otok_keyring **out, otok_error *err)
{
    int rc = otok_keyring_load(path, NULL, out, err);
    for (int i = 0; rc == OTOK_E_NOT_FOUND && i < OPEN_ATTEMPTS; i++) {
        rc = make_file(path, algorithm, err);
        if (rc != OTOK_OK && rc != OTOK_E_CONFLICT)
            return rc;
        rc = otok_keyring_load(path, NULL, out, err);
    }
    if (rc ==
        OTOK_OK) /* its maker may not have got so far; where the file system is read-only, nobody makes anything */
        (void)otok_folder_sync(path, NULL);
    return rc;
}

/* ---- changing ---- */

/*
 * A step concerns keys of one use, so one file is written, and whole: also with two, what a crash leaves is the keyring before
 * the step or after it.
 */
static int save_change(const otok_keyring *old, otok_keyring *changed, const char *path, const char *token_keys_path,
                       int32_t use, otok_error *err)
{
    otok_keyring_files *files = &changed->files;
    bool apart = token_keys_path != NULL && use == OTOK_KEY_TOKEN;
    int rc = remember(files, path, token_keys_path, err);
    files->stamp = old->files.stamp;
    files->token_keys_stamp = old->files.token_keys_stamp;
    if (rc != OTOK_OK || otok_keyring_same(old, changed))
        return rc;
    return apart ? save_file(changed, token_keys_path, OTOK_JWKS_TOKEN, true, &files->token_keys_stamp, err)
                 : save_file(changed, path, keys_in_path(token_keys_path), true, &files->stamp, err);
}

static int change_locked(const char *path, const char *token_keys_path, const otok_key_change *change,
                         otok_keyring **out, otok_error *err)
{
    otok_keyring *old = NULL, *changed = NULL;
    int rc = otok_keyring_load(path, token_keys_path, &old, err);
    if (rc == OTOK_OK)
        rc = otok_keyring_change(old, change, &changed, err);
    if (rc == OTOK_OK)
        rc = save_change(old, changed, path, token_keys_path, change->use, err);
    if (rc == OTOK_OK && out != NULL) {
        *out = changed;
        changed = NULL;
    }
    otok_keyring_free(old);
    otok_keyring_free(changed);
    return rc;
}

int otok_keyring_change_file(const char *path, const char *token_keys_path, const otok_key_change *change,
                             otok_keyring **out, otok_error *err)
{
    int lock;
    otok_key_change own;
    if (out != NULL)
        *out = NULL;
    int rc = check_paths(path, token_keys_path, err);
    if (rc == OTOK_OK)
        rc = otok_key_change_read(change, &own, err);
    if (rc != OTOK_OK)
        return rc;
    /* Of the file that is written: that of the MAC keys may be several keyrings'. */
    const char *written = token_keys_path != NULL && own.use == OTOK_KEY_TOKEN ? token_keys_path : path;
    /* Asked before the lock: its file must not be left beside a name that was mistyped, or be ours in a folder of somebody else's. */
    rc = otok_private_file_check(written, err);
    if (rc == OTOK_OK)
        rc = otok_private_file_lock(written, &lock, err);
    if (rc != OTOK_OK)
        return rc;
    rc = change_locked(path, token_keys_path, &own, out, err);
    otok_private_file_unlock(lock);
    return rc;
}
