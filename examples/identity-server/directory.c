/*
 * directory.c - what is asked of users, clients and scopes.  directory_read.c reads them from their file.
 *
 * SPDX-License-Identifier: MIT
 */
#include <string.h>

#include "directory.h"

/* ------------------------------------------------------------------------------------------------------------- find */

const user *directory_user(const directory *d, const char *id)
{
    for (size_t i = 0; id != NULL && i < d->n_users; i++) {
        if (strcmp(d->users[i].id, id) == 0)
            return &d->users[i];
    }
    return NULL;
}

bool is_own_client(const char *client_id)
{
    return strcmp(client_id, BROWSER_CLIENT) == 0 || strncmp(client_id, DEVICE_CLIENT, sizeof DEVICE_CLIENT - 1) == 0;
}

const client *directory_client(const directory *d, const char *id)
{
    for (size_t i = 0; id != NULL && i < d->n_clients; i++) {
        if (strcmp(d->clients[i].id, id) == 0)
            return &d->clients[i];
    }
    return NULL;
}

const scope *directory_scope(const directory *d, const char *name)
{
    for (size_t i = 0; name != NULL && i < d->n_scopes; i++) {
        if (strcmp(d->scopes[i].name, name) == 0)
            return &d->scopes[i];
    }
    return NULL;
}

size_t directory_users(const directory *d, const user **out)
{
    *out = d->users;
    return d->n_users;
}

size_t directory_clients(const directory *d, const client **out)
{
    *out = d->clients;
    return d->n_clients;
}

/* ---------------------------------------------------------------------------------------------------------- clients */

static bool is_among(const char *const *list, const char *entry)
{
    while (*list != NULL && strcmp(*list, entry) != 0)
        list++;
    return *list != NULL;
}

bool client_may_use(const client *c, const char *grant_type)
{
    return grant_type != NULL && is_among(c->grant_types, grant_type);
}

bool client_has_scope(const client *c, const char *name)
{
    return name != NULL && is_among(c->scopes, name);
}

/* What stands behind the address of this machine, in the two spellings of RFC 8252 section 7.3; NULL: another address. */
static const char *behind_loopback(const char *uri)
{
    static const char *const origins[] = {"http://127.0.0.1", "http://[::1]"};
    for (size_t i = 0; i < sizeof origins / sizeof origins[0]; i++) {
        size_t len = strlen(origins[i]);
        if (strncmp(uri, origins[i], len) == 0)
            return uri + len;
    }
    return NULL;
}

/* Skips ":1" to ":65535", as a port is written; NULL: that is none. */
static const char *behind_port(const char *at)
{
    unsigned port = 0;
    if (*at != ':')
        return at;
    if (*++at == '0')
        return NULL;
    while (*at >= '0' && *at <= '9' && port <= UINT16_MAX)
        port = port * 10 + (unsigned)(*at++ - '0');
    return port > 0 && port <= UINT16_MAX ? at : NULL;
}

/* A native application listens at whatever port is free (RFC 8252 section 7.3); everything else is compared as it stands. */
static bool is_same_but_for_port(const char *registered, const char *uri)
{
    const char *path = behind_loopback(registered), *at = behind_loopback(uri);
    if (path == NULL || *path != '/' || at == NULL || registered[7] != uri[7])
        return false;
    at = behind_port(at);
    return at != NULL && strcmp(path, at) == 0;
}

bool client_has_redirect(const client *c, const char *uri)
{
    if (uri == NULL)
        return false;
    if (is_among(c->redirect_uris, uri))
        return true;
    for (size_t i = 0; c->is_native && c->redirect_uris[i] != NULL; i++) {
        if (is_same_but_for_port(c->redirect_uris[i], uri))
            return true;
    }
    return false;
}

/* ----------------------------------------------------------------------------------------------------------- scopes */

/* Takes a word of `len` characters from a list, and goes on behind it; NULL: there is none left. */
static const char *next_word(const char **list, size_t *len)
{
    const char *word = *list + strspn(*list, " ");
    *len = strcspn(word, " ");
    *list = word + *len;
    return *len > 0 ? word : NULL;
}

static bool has_word_of(const char *list, const char *word, size_t len)
{
    const char *other;
    size_t other_len;
    while (list != NULL && (other = next_word(&list, &other_len)) != NULL) {
        if (other_len == len && memcmp(other, word, len) == 0)
            return true;
    }
    return false;
}

bool has_word(const char *list, const char *word)
{
    return word != NULL && has_word_of(list, word, strlen(word));
}

/* Along the client's list, of which every scope is one of the directory's: so what is asked costs no more than that. */
void client_scopes(const client *c, const char *asked, text *out)
{
    for (size_t i = 0; c->scopes[i] != NULL; i++) {
        if (!has_word(asked, c->scopes[i]) || has_word(out->data, c->scopes[i]))
            continue;
        if (out->len > 0)
            text_add(out, " ");
        text_add(out, c->scopes[i]);
    }
}
