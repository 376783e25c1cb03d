/*
 * directory.h - what the files of the directory share: directory_read.c, directory.c and password.c.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef IDENTITY_SERVER_DIRECTORY_H
#define IDENTITY_SERVER_DIRECTORY_H

#include <cjson/cJSON.h>

#include "server.h"

struct directory {
    cJSON *json; /* owns every text below */
    user *users;
    scope *scopes;
    client *clients;
    size_t n_users, n_scopes, n_clients;
};

/* Whether user.password is of its form, and costs no more than a login may. */
bool password_is_readable(const char *written);

#endif
