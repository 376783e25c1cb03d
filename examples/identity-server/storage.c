/*
 * storage.c - where sessions are kept: in a folder of this machine, or in a database that several of these servers share.
 *
 * SPDX-License-Identifier: MIT
 */
#include "server.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#ifdef HAVE_POSTGRES
#include <offlinetok/postgres.h>

static int open_postgres(const char *conninfo, otok_store **store, otok_error *err)
{
    return otok_store_open_postgres(conninfo, NULL, store, err);
}
#else
static int open_postgres(const char *conninfo, otok_store **store, otok_error *err)
{
    (void)conninfo;
    *store = NULL;
    *err = (otok_error){.code = OTOK_E_UNSUPPORTED, .message = "this server was built without libofflinetok-postgres"};
    return OTOK_E_UNSUPPORTED;
}
#endif

static const char prefix[] = "postgres:";

bool storage_is_known(const char *name)
{
    return strncmp(name, prefix, sizeof prefix - 1) == 0;
}

/* Whoever is the first of several servers makes it, and all have the same: a link is never in the place of another. */
static int make_keyring(const char *path, otok_error *err)
{
    otok_keyring *keyring = NULL;
    text own = {0};
    html(&own, "%h.%d", path, (int64_t)getpid());
    if (own.failed) {
        text_free(&own);
        *err = (otok_error){.code = OTOK_E_NOMEM, .message = "no memory for a path"};
        return OTOK_E_NOMEM;
    }
    int rc = otok_keyring_generate(OTOK_ALG_ES256, &keyring, err);
    if (rc == OTOK_OK)
        rc = otok_keyring_save(keyring, own.data, NULL, err);
    if (rc == OTOK_OK && link(own.data, path) != 0 && errno != EEXIST) {
        *err =
            (otok_error){.code = OTOK_E_IO, .system_errno = errno, .message = "the keyring cannot be put in its place"};
        rc = OTOK_E_IO;
    }
    (void)unlink(own.data);
    otok_keyring_free(keyring);
    text_free(&own);
    return rc;
}

static int open_keyring(const char *folder, otok_keyring **keyring, otok_error *err)
{
    text path = {0};
    html(&path, "%h/keyring.json", folder);
    int rc = OTOK_E_NOMEM;
    if (path.failed) {
        *err = (otok_error){.code = rc, .message = "no memory for a path"};
    } else {
        (void)mkdir(folder, 0700);
        rc = otok_keyring_load(path.data, NULL, keyring, err);
        if (rc == OTOK_E_NOT_FOUND && (rc = make_keyring(path.data, err)) == OTOK_OK)
            rc = otok_keyring_load(path.data, NULL, keyring, err);
    }
    text_free(&path);
    return rc;
}

int storage_open(const char *name, const char *folder, otok_store **store, otok_keyring **keyring, otok_error *err)
{
    *store = NULL;
    *keyring = NULL;
    if (name == NULL)
        return OTOK_OK; /* otok_config.directory */
    int rc = open_postgres(name + sizeof prefix - 1, store, err);
    if (rc == OTOK_OK)
        rc = open_keyring(folder, keyring, err);
    if (rc != OTOK_OK) {
        otok_store_close(*store);
        *store = NULL;
    }
    return rc;
}
