/*
 * directory_read.c - users, clients and scopes come from a JSON file, which is read once and strictly.
 *
 * In another server this is a database.  Whatever a file says that is not understood is refused with the place where it stands:
 * a misspelt member of a client is a hole, or a night's search.
 *
 * SPDX-License-Identifier: MIT
 */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "directory.h"

enum { FILE_MAX = 1024 * 1024, ID_MAX = 255 };

/* Where in the file we are, for messages. */
typedef struct reader {
    const char *path;
    char where[128];
} reader;

static bool complain(const reader *in, const char *format, ...) __attribute__((format(printf, 2, 3)));

static bool complain(const reader *in, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    fprintf(stderr, "%s: %s: ", in->path, in->where);
    vfprintf(stderr, format, arguments);
    fputc('\n', stderr);
    va_end(arguments);
    return false;
}

/* ------------------------------------------------------------------------------------- objects, by tables of members */

enum { IS_TEXT, IS_FLAG, IS_LIST };

typedef struct member {
    const char *name;
    int type;
    bool required; /* else NULL, false or an empty list */
    size_t offset; /* of const char *, bool, or const char *const * */
} member;

static const member user_members[] = {
    {"id", IS_TEXT, true, offsetof(user, id)},
    {"name", IS_TEXT, true, offsetof(user, name)},
    {"email", IS_TEXT, true, offsetof(user, email)},
    {"password", IS_TEXT, true, offsetof(user, password)},
    {"offline_access", IS_FLAG, true, offsetof(user, may_be_offline)},
    {"administrator", IS_FLAG, true, offsetof(user, is_administrator)},
    {0},
};

static const member scope_members[] = {
    {"name", IS_TEXT, true, offsetof(scope, name)},
    {"permission", IS_TEXT, true, offsetof(scope, permission)},
    {"audience", IS_TEXT, false, offsetof(scope, audience)},
    {0},
};

static const member client_members[] = {
    {"id", IS_TEXT, true, offsetof(client, id)},
    {"name", IS_TEXT, true, offsetof(client, name)},
    {"home", IS_TEXT, false, offsetof(client, home)},
    {"secret_sha256", IS_TEXT, false, offsetof(client, secret)},
    {"native", IS_FLAG, false, offsetof(client, is_native)},
    {"resource_server", IS_FLAG, false, offsetof(client, is_resource_server)},
    {"must_consent", IS_FLAG, false, offsetof(client, must_consent)},
    {"dpop_nonce", IS_FLAG, false, offsetof(client, needs_dpop_nonce)},
    {"grant_types", IS_LIST, false, offsetof(client, grant_types)},
    {"redirect_uris", IS_LIST, false, offsetof(client, redirect_uris)},
    {"post_logout_redirect_uris", IS_LIST, false, offsetof(client, post_logout_redirect_uris)},
    {"scopes", IS_LIST, false, offsetof(client, scopes)},
    {"backchannel_logout_uri", IS_TEXT, false, offsetof(client, backchannel_logout_uri)},
    {0},
};

/* Text as the library takes it: not empty, without control characters. */
static bool is_text(const cJSON *value)
{
    const char *at = cJSON_GetStringValue(value);
    if (at == NULL || *at == '\0')
        return false;
    while (*at != '\0' && (unsigned char)*at >= ' ' && *at != 0x7f)
        at++;
    return *at == '\0';
}

static bool read_list(const reader *in, const char *name, const cJSON *value, const char *const **out)
{
    size_t n = 0;
    const char **list = calloc((size_t)cJSON_GetArraySize(value) + 1, sizeof *list);
    const cJSON *item;
    if (list == NULL)
        return complain(in, "no memory");
    *out = list;
    if (value != NULL && !cJSON_IsArray(value))
        return complain(in, "%s is not a list of texts", name);
    cJSON_ArrayForEach(item, value)
    {
        if (!is_text(item))
            return complain(in, "%s[%zu] is not a text, or has control characters", name, n);
        list[n++] = item->valuestring;
    }
    return true;
}

static bool read_member(const reader *in, const member *m, const cJSON *value, void *place)
{
    if (value == NULL && m->required)
        return complain(in, "%s is missing", m->name);
    if (m->type == IS_LIST)
        return read_list(in, m->name, value, place);
    if (value == NULL)
        return true;
    if (m->type == IS_FLAG ? !cJSON_IsBool(value) : !is_text(value))
        return complain(in, "%s is not %s", m->name,
                        m->type == IS_FLAG ? "true or false" : "a text of some characters");
    if (m->type == IS_FLAG)
        *(bool *)place = cJSON_IsTrue(value);
    else
        *(const char **)place = value->valuestring;
    return true;
}

/* Whether every name in an object is one of the table's, and there once. */
static bool are_names_known(const reader *in, const cJSON *object, const member *members)
{
    const cJSON *item;
    if (!cJSON_IsObject(object))
        return complain(in, "not an object");
    cJSON_ArrayForEach(item, object)
    {
        const member *m = members;
        while (m->name != NULL && strcmp(m->name, item->string) != 0)
            m++;
        if (m->name == NULL)
            return complain(in, "%s is not a known member", item->string);
        if (cJSON_GetObjectItemCaseSensitive(object, item->string) != item)
            return complain(in, "%s is there twice", item->string);
    }
    return true;
}

static bool read_object(const reader *in, const cJSON *object, const member *members, void *out)
{
    if (!are_names_known(in, object, members))
        return false;
    for (const member *m = members; m->name != NULL; m++) {
        const cJSON *value = cJSON_GetObjectItemCaseSensitive(object, m->name);
        if (!read_member(in, m, value, (char *)out + m->offset))
            return false;
    }
    return true;
}

/* The name by which an object is known: the first member of each struct. */
static const char *name_of(const char *object)
{
    return *(const char *const *)(const void *)object;
}

/* Reads the objects of a list into an array with room for them; `n`: how many hold something that is to be freed. */
static bool read_objects(reader *in, const cJSON *list, const member *members, size_t size, void *array, size_t *n)
{
    const cJSON *item;
    if (array == NULL)
        return complain(in, "no memory");
    cJSON_ArrayForEach(item, list)
    {
        char *object = (char *)array + *n * size;
        (void)snprintf(in->where, sizeof in->where, "%s[%zu]", list->string, *n);
        (*n)++;
        if (!read_object(in, item, members, object))
            return false;
        for (const char *other = array; other < object; other += size) {
            if (strcmp(name_of(other), name_of(object)) == 0)
                return complain(in, "%s is there twice", name_of(object));
        }
    }
    return true;
}

/* ---------------------------------------------------------------------------------------------- what makes no sense */

/* As the library takes names. */
static bool is_id(const char *id)
{
    return id != NULL && strlen(id) <= ID_MAX;
}

static bool is_own_subject(const char *id)
{
    return strncmp(id, SERVICE_SUBJECT, sizeof SERVICE_SUBJECT - 1) == 0 ||
           strncmp(id, DEVICE_CLIENT, sizeof DEVICE_CLIENT - 1) == 0;
}

static bool check_users(reader *in, const directory *d)
{
    for (size_t i = 0; i < d->n_users; i++) {
        const user *u = &d->users[i];
        (void)snprintf(in->where, sizeof in->where, "users[%zu]", i);
        if (!is_id(u->id) || is_own_subject(u->id))
            return complain(in, "id is too long, or one that service accounts or waiting devices have");
        if (!password_is_readable(u->password))
            return complain(in, "password is not scrypt$N$r$p$salt$hash");
    }
    return true;
}

/* RFC 6749 section 3.1.2: absolute, without a fragment. */
static bool is_uri(const char *uri)
{
    size_t scheme = strcspn(uri, ":/?#"), len = 0;
    while (uri[len] > ' ' && uri[len] <= '~' && strchr("#\"<>\\^`{|}", uri[len]) == NULL)
        len++;
    return scheme > 0 && uri[scheme] == ':' && uri[scheme + 1] != '\0' && uri[len] == '\0';
}

static bool is_web_uri(const char *uri)
{
    return is_uri(uri) && (strncmp(uri, "https://", 8) == 0 || strncmp(uri, "http://", 7) == 0);
}

/* The scheme of an application is a domain name turned round (RFC 8252 section 7.1): so it is none of a browser's own. */
static bool is_application_uri(const char *uri)
{
    return is_uri(uri) && memchr(uri, '.', strcspn(uri, ":")) != NULL;
}

static bool check_redirects(const reader *in, const client *c, const char *name, const char *const *uris)
{
    for (size_t i = 0; uris[i] != NULL; i++) {
        if (!is_web_uri(uris[i]) && !(c->is_native && is_application_uri(uris[i])))
            return complain(in, "%s[%zu] is not an absolute URI, without fragment, of a scheme for this client", name,
                            i);
    }
    return true;
}

static bool check_pages(const reader *in, const client *c)
{
    if (c->home != NULL && !is_web_uri(c->home))
        return complain(in, "home is not the URL of a page");
    if (c->backchannel_logout_uri != NULL && !is_web_uri(c->backchannel_logout_uri))
        return complain(in, "backchannel_logout_uri is not an http or https URL without fragment");
    return check_redirects(in, c, "redirect_uris", c->redirect_uris) &&
           check_redirects(in, c, "post_logout_redirect_uris", c->post_logout_redirect_uris);
}

static bool check_grants(const reader *in, const client *c)
{
    static const char known[] = "authorization_code refresh_token password client_credentials "
                                "urn:ietf:params:oauth:grant-type:device_code";
    for (size_t i = 0; c->grant_types[i] != NULL; i++) {
        if (!has_word(known, c->grant_types[i]))
            return complain(in, "grant_types[%zu] is not known", i);
    }
    if (client_may_use(c, "authorization_code") && c->redirect_uris[0] == NULL)
        return complain(in, "authorization_code needs redirect_uris");
    if (c->secret == NULL && (c->is_resource_server || client_may_use(c, "client_credentials")))
        return complain(in, "this needs a secret_sha256");
    if (c->is_resource_server && c->grant_types[0] != NULL)
        return complain(in, "a resource server has no grant_types");
    return true;
}

static bool check_client(const reader *in, const directory *d, const client *c)
{
    if (!is_id(c->id) || is_own_client(c->id))
        return complain(in, "id is too long, or this server's own");
    if (c->secret != NULL && strlen(c->secret) != 43)
        return complain(in, "secret_sha256 is not the base64url of a SHA-256");
    for (size_t i = 0; c->scopes[i] != NULL; i++) {
        if (directory_scope(d, c->scopes[i]) == NULL)
            return complain(in, "scopes[%zu] is not among the scopes of this file", i);
    }
    return check_grants(in, c) && check_pages(in, c);
}

static bool check_clients(reader *in, const directory *d)
{
    for (size_t i = 0; i < d->n_clients; i++) {
        (void)snprintf(in->where, sizeof in->where, "clients[%zu]", i);
        if (!check_client(in, d, &d->clients[i]))
            return false;
    }
    return true;
}

/* RFC 6749 section 3.3: printable, without space, quotation mark and backslash. */
static bool is_scope_name(const char *at)
{
    while (at != NULL && *at > ' ' && *at <= '~' && *at != '"' && *at != '\\')
        at++;
    return at != NULL && *at == '\0';
}

static bool check_scopes(reader *in, const directory *d)
{
    for (size_t i = 0; i < d->n_scopes; i++) {
        (void)snprintf(in->where, sizeof in->where, "scopes[%zu]", i);
        if (!is_scope_name(d->scopes[i].name))
            return complain(in, "name has a character that no scope has");
    }
    return true;
}

/* ------------------------------------------------------------------------------------------------------- load and free */

/* The file, NUL-terminated; NULL: said. */
static char *read_file(const reader *in)
{
    char *data = malloc(FILE_MAX + 1);
    size_t len = 0;
    FILE *file = fopen(in->path, "rb");
    bool good = false;
    if (file == NULL || data == NULL) {
        complain(in, "%s", strerror(errno));
        goto out;
    }
    len = fread(data, 1, FILE_MAX + 1, file);
    good = !ferror(file) && len <= FILE_MAX;
    if (good)
        data[len] = '\0';
    if (!good || strlen(data) != len)
        good = complain(in, "cannot be read, is longer than a mebibyte, or has NUL in it");
out:
    if (file != NULL)
        (void)fclose(file);
    if (good)
        return data;
    free(data);
    return NULL;
}

static bool parse(reader *in, directory *d)
{
    const char *end = NULL;
    char *data = read_file(in);
    unsigned line = 1;
    if (data == NULL)
        return false;
    d->json = cJSON_ParseWithOpts(data, &end, 1);
    for (const char *c = data; end != NULL && c < end; c++)
        line += *c == '\n';
    free(data);
    if (d->json == NULL)
        return complain(in, "not JSON, at line %u", line);
    return true;
}

static void *room_for(const cJSON *list, size_t size)
{
    return calloc((size_t)cJSON_GetArraySize(list) + 1, size);
}

static bool read_all(reader *in, directory *d)
{
    static const member members[] = {{"scopes", 0, 0, 0}, {"users", 0, 0, 0}, {"clients", 0, 0, 0}, {0}};
    const cJSON *lists[3];
    if (!are_names_known(in, d->json, members))
        return false;
    for (size_t i = 0; i < 3; i++) {
        lists[i] = cJSON_GetObjectItemCaseSensitive(d->json, members[i].name);
        if (!cJSON_IsArray(lists[i]))
            return complain(in, "%s is missing, or not a list", members[i].name);
    }
    d->scopes = room_for(lists[0], sizeof(scope));
    d->users = room_for(lists[1], sizeof(user));
    d->clients = room_for(lists[2], sizeof(client));
    return read_objects(in, lists[0], scope_members, sizeof(scope), d->scopes, &d->n_scopes) &&
           read_objects(in, lists[1], user_members, sizeof(user), d->users, &d->n_users) &&
           read_objects(in, lists[2], client_members, sizeof(client), d->clients, &d->n_clients) &&
           check_scopes(in, d) && check_users(in, d) && check_clients(in, d);
}

directory *directory_load(const char *path)
{
    reader in = {path, "the file"};
    directory *d = calloc(1, sizeof *d);
    if (d == NULL)
        complain(&in, "no memory");
    else if (parse(&in, d) && read_all(&in, d))
        return d;
    directory_free(d);
    return NULL;
}

void directory_free(directory *d)
{
    if (d == NULL)
        return;
    for (size_t i = 0; i < d->n_clients; i++) {
        const client *c = &d->clients[i];
        const char *const *const lists[] = {c->grant_types, c->redirect_uris, c->post_logout_redirect_uris, c->scopes};
        for (size_t k = 0; k < sizeof lists / sizeof lists[0]; k++)
            free((void *)lists[k]);
    }
    free(d->users);
    free(d->scopes);
    free(d->clients);
    cJSON_Delete(d->json);
    free(d);
}
