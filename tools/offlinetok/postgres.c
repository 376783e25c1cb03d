/*
 * postgres.c - stores in PostgreSQL, where libofflinetok-postgres is installed: it is loaded when such a store is named, so that
 * nobody else needs libpq.
 *
 * SPDX-License-Identifier: MIT
 */
#include "tool.h"

#include <dlfcn.h>
#include <string.h>

typedef struct otok_postgres_options otok_postgres_options;
typedef int open_store(const char *conninfo, const otok_postgres_options *options, otok_store **out, otok_error *err);
typedef int migrate(const char *conninfo, const otok_postgres_options *options, otok_error *err);

/* Stays loaded: stores are closed by code in it. */
static void *find(const char *name, otok_error *err)
{
    void *library = dlopen("libofflinetok-postgres.so.0", RTLD_NOW | RTLD_LOCAL);
    void *found = library != NULL ? dlsym(library, name) : NULL;
    if (found == NULL)
        (void)otok_error_set(err, OTOK_E_UNSUPPORTED, 0, "stores in PostgreSQL need libofflinetok-postgres");
    return found;
}

int postgres_open(const char *conninfo, otok_store **out, otok_error *err)
{
    void *found = find("otok_store_open_postgres", err);
    open_store *call = NULL;
    *out = NULL;
    if (found == NULL)
        return OTOK_E_UNSUPPORTED;
    memcpy(&call, &found, sizeof call); /* POSIX has it that functions fit (dlsym) */
    return call(conninfo, NULL, out, err);
}

int postgres_migrate(const char *conninfo, otok_error *err)
{
    void *found = find("otok_postgres_migrate", err);
    migrate *call = NULL;
    if (found == NULL)
        return OTOK_E_UNSUPPORTED;
    memcpy(&call, &found, sizeof call);
    return call(conninfo, NULL, err);
}
