/*
 * open.c - a store by its name, its keyring, its realm.
 *
 * lmdb:DIR is the folder of otok_config.directory, with the store in "store" and the keyring in "keyring.json"; or, as a backup is,
 * the folder of an LMDB store itself.
 *
 * SPDX-License-Identifier: MIT
 */
#include "tool.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static const char LMDB_PREFIX[] = "lmdb:", POSTGRES_PREFIX[] = "postgres:";

char *path_join(const char *directory, const char *name)
{
    size_t size = strlen(directory) + strlen(name) + 2;
    char *path = malloc(size);
    const char *slash = *directory != '\0' && directory[strlen(directory) - 1] == '/' ? "" : "/";
    if (path != NULL)
        (void)snprintf(path, size, "%s%s%s", directory, slash, name);
    return path;
}

bool path_exists(const char *path)
{
    struct stat st;
    return lstat(path, &st) == 0;
}

bool folder_sync(const char *path)
{
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    bool done = fd >= 0 && fsync(fd) == 0;
    int why = errno;
    if (fd >= 0)
        (void)close(fd);
    errno = why;
    return done;
}

bool folder_make(const char *path)
{
    bool made = mkdir(path, S_IRWXU) == 0;
    if (!made && errno != EEXIST) {
        (void)complain_trouble("making %s: %s", path, strerror(errno));
        return false;
    }
    char *around = path_join(path, "..");
    if (made && around != NULL && !folder_sync(around) && errno != EACCES && errno != EINVAL) {
        (void)complain_trouble("%s: %s", around, strerror(errno));
        free(around);
        return false;
    }
    free(around);
    return true;
}

/* ------------------------------------------------------------------------------------------------------- names */

/* Where LMDB's files are: in "store", or else, as in a backup, in the folder itself. */
static bool find_directory(place *p)
{
    char *inner = path_join(p->root, "store"), *data = path_join(p->root, "data.mdb");
    bool is_bare = data != NULL && path_exists(data);
    char *inner_data = inner != NULL ? path_join(inner, "data.mdb") : NULL;
    is_bare = is_bare && inner_data != NULL && !path_exists(inner_data);
    bool done = inner != NULL && data != NULL && inner_data != NULL;
    p->directory = !done ? NULL : is_bare ? strdup(p->root) : inner;
    if (p->directory != inner)
        free(inner);
    free(data);
    free(inner_data);
    return p->directory != NULL;
}

static int name_lmdb(const options *o, place *p)
{
    p->root = strdup(o->store + strlen(LMDB_PREFIX));
    if (p->root == NULL || !find_directory(p))
        return complain_memory();
    p->keyring_path = o->keyring != NULL ? strdup(o->keyring) : path_join(p->root, "keyring.json");
    return p->keyring_path != NULL ? EXIT_DONE : complain_memory();
}

int place_name(const options *o, place *out)
{
    *out = (place){0};
    if (o->store == NULL)
        return complain_usage("which store: --store lmdb:DIR, or OFFLINETOK_STORE in the environment");
    bool is_lmdb = strncmp(o->store, LMDB_PREFIX, strlen(LMDB_PREFIX)) == 0 && o->store[strlen(LMDB_PREFIX)] != '\0';
    if (is_lmdb)
        return name_lmdb(o, out);
    bool is_postgres = strncmp(o->store, POSTGRES_PREFIX, strlen(POSTGRES_PREFIX)) == 0;
    if (!is_postgres && strcmp(o->store, "memory:") != 0) /* what was given may have a password in it */
        return complain_usage("--store: stores are named lmdb:DIR, postgres:CONNINFO or memory:");
    if (is_postgres && (out->conninfo = strdup(o->store + strlen(POSTGRES_PREFIX))) == NULL)
        return complain_memory();
    if (o->keyring != NULL && (out->keyring_path = strdup(o->keyring)) == NULL)
        return complain_memory();
    return EXIT_DONE;
}

int place_name_keyring(const options *o, place *p)
{
    *p = (place){0};
    if (o->store != NULL) {
        int rc = place_name(o, p);
        if (rc != EXIT_DONE)
            return rc;
    } else if (o->keyring != NULL && (p->keyring_path = strdup(o->keyring)) == NULL) {
        return complain_memory();
    }
    return p->keyring_path != NULL ? EXIT_DONE : complain_usage("which keyring: --keyring FILE, or --store lmdb:DIR");
}

void place_close(place *p)
{
    otok_service_close(p->service);
    otok_keyring_free(p->keyring);
    otok_store_close(p->store);
    policies_free(p->policies);
    free(p->realm);
    free(p->root);
    free(p->directory);
    free(p->keyring_path);
    free(p->conninfo);
    *p = (place){0};
}

/* ------------------------------------------------------------------------------------------------------- store */

static int complain_missing(const place *p, int system_errno)
{
    if (system_errno != ENOENT && system_errno != ENOTDIR) {
        (void)complain_trouble("%s: %s", p->directory, strerror(system_errno));
        (void)fputs("Run this as the user that the server runs as.\n", stderr);
        return EXIT_TROUBLE;
    }
    (void)complain_trouble("%s holds no store", p->root);
    (void)fprintf(stderr, "offlinetok init makes one; %s is where it would be.\n", p->directory);
    return EXIT_TROUBLE;
}

static int open_lmdb(place *p, bool read_only)
{
    otok_lmdb_options how;
    otok_error err;
    struct stat st;
    char *data = path_join(p->directory, "data.mdb");
    if (data == NULL)
        return complain_memory();
    int missing = stat(data, &st) == 0 ? 0 : errno;
    free(data);
    if (missing != 0)
        return complain_missing(p, missing);
    otok_lmdb_options_init(&how, sizeof how);
    how.read_only = read_only ? 1 : 0;
    if (otok_store_open_lmdb(p->directory, &how, &p->store, &err) != OTOK_OK) {
        (void)complain("opening the store", &err);
        return EXIT_TROUBLE;
    }
    return EXIT_DONE;
}

static int open_store(place *p, bool read_only)
{
    otok_error err;
    if (p->directory != NULL)
        return open_lmdb(p, read_only);
    int code =
        p->conninfo != NULL ? postgres_open(p->conninfo, &p->store, &err) : otok_store_open_memory(&p->store, &err);
    if (code != OTOK_OK)
        (void)complain("opening the store", &err);
    return code == OTOK_OK ? EXIT_DONE : EXIT_TROUBLE;
}

static int open_keyring(const options *o, place *p, bool required)
{
    otok_error err;
    bool is_there = p->keyring_path != NULL && path_exists(p->keyring_path);
    if (!is_there && !required && o->keyring == NULL)
        return EXIT_DONE;
    if (p->keyring_path == NULL)
        return complain_usage("which keyring: --keyring FILE");
    if (!is_there) {
        (void)complain_trouble("there is no keyring %s", p->keyring_path);
        (void)fputs("It may be elsewhere: name it with --keyring.\n", stderr);
        return EXIT_TROUBLE;
    }
    if (otok_keyring_load(p->keyring_path, o->token_keys, &p->keyring, &err) == OTOK_OK)
        return EXIT_DONE;
    (void)complain("reading the keyring", &err);
    return EXIT_TROUBLE;
}

/* ------------------------------------------------------------------------------------------------------- realm */

int realms_read(const options *o, otok_store *store, realms *out)
{
    otok_error err;
    *out = (realms){.given = o->realm};
    if (o->realm == NULL && otok_store_realms(store, MOST_REALMS, &out->found, &err) != OTOK_OK)
        return complain("looking for realms", &err);
    out->names = out->found != NULL ? out->found->names : &out->given;
    out->count = out->found != NULL ? out->found->count : 1;
    return EXIT_DONE;
}

void realms_free(realms *r)
{
    otok_names_free(r->found);
    *r = (realms){0};
}

static void name_realms(const realms *all)
{
    (void)fputs("offlinetok: the store has sessions of several realms: name one with --realm\n", stderr);
    for (size_t i = 0; i < all->count; i++) {
        (void)fputs("  ", stderr);
        print_text(stderr, all->names[i]);
        (void)fputc('\n', stderr);
    }
}

/* The one that was given, or the only one that the store has sessions of. */
static int find_realm(const options *o, place *p)
{
    realms all;
    int rc = realms_read(o, p->store, &all);
    if (rc != EXIT_DONE)
        return rc;
    if (all.count == 1) {
        p->realm = strdup(all.names[0]);
        rc = p->realm != NULL ? EXIT_DONE : complain_memory();
    } else if (all.count == 0) {
        (void)fputs("offlinetok: the store has no sessions, so the realm is not known: name it with --realm\n", stderr);
        rc = EXIT_NONE;
    } else {
        name_realms(&all);
        rc = EXIT_USAGE;
    }
    realms_free(&all);
    return rc;
}

/* ------------------------------------------------------------------------------------------------------- services */

static int client_policy(void *user, const char *client_id, otok_policy *policy)
{
    const place *p = user;
    return policies_of_client(p->policies, client_id, policy);
}

/* Told of each session that a long call has ended. */
static void on_event(void *user, const otok_event *event)
{
    const place *p = user;
    (void)event;
    if (p->progress != NULL)
        progress_event(p->progress);
}

/* Nothing is signed here.  That it is there lets keyrings be opened whose private keys are elsewhere. */
static int sign(void *user, const otok_sign_request *request, uint8_t *signature, size_t *len)
{
    (void)user;
    (void)request;
    (void)signature;
    (void)len;
    return -1;
}

/*
 * No token comes here.  That it is there keeps the cutoff of an SSO session for good, which is what the servers of a realm need that
 * adopt tokens of another system; the others lose nothing but a record.
 */
static int adopt(void *user, const char *token, const char *client_id, otok_adoption *adoption)
{
    (void)user;
    (void)token;
    (void)client_id;
    (void)adoption;
    return 0;
}

/* The issuer would stand in tokens, and none are made: the realm stands in for it. */
int place_service(place *p, const char *realm, otok_service **out, otok_error *err)
{
    otok_callbacks callbacks;
    otok_config config;
    otok_callbacks_init(&callbacks, sizeof callbacks);
    callbacks.client_policy = client_policy;
    callbacks.event = on_event;
    callbacks.sign = sign;
    callbacks.adopt = adopt;
    otok_config_init(&config, sizeof config);
    config.issuer = realm;
    config.realm = realm;
    config.policy = policies_default(p->policies);
    config.ceilings = policies_ceilings(p->policies);
    config.outbox_limit = policies_outbox_limit(p->policies);
    config.callbacks = &callbacks;
    config.user = p;
    return otok_service_open(&config, p->store, p->keyring, out, err);
}

/* Whoever reads the outbox relies on it that every process of the realm writes to it. */
static void warn_of_outbox(const options *o, const place *p)
{
    otok_outbox_batch *batch;
    if (o->acknowledge || policies_outbox_limit(p->policies) != 0 ||
        otok_outbox_read(p->service, 1, &batch, NULL) != OTOK_OK)
        return;
    if (batch->count != 0)
        note(o,
             "The realm has an outbox, which is not told of what this does: --policy with an outbox_limit tells it.");
    otok_outbox_batch_free(batch);
}

static int open_service(const options *o, bool read_only, place *p)
{
    otok_error err;
    int rc = find_realm(o, p);
    if (rc == EXIT_DONE && place_service(p, p->realm, &p->service, &err) != OTOK_OK)
        rc = complain("opening the realm", &err);
    if (rc == EXIT_DONE && !read_only)
        warn_of_outbox(o, p);
    return rc;
}

int place_open(const options *o, int how, bool read_only, place *out)
{
    int rc = place_name(o, out);
    if (rc == EXIT_DONE && o->policy != NULL && (out->policies = policies_load(o->policy)) == NULL)
        rc = EXIT_TROUBLE;
    if (rc == EXIT_DONE)
        rc = open_store(out, read_only);
    if (rc == EXIT_DONE)
        rc = how == OPEN_STORE ? EXIT_DONE : open_keyring(o, out, how == OPEN_SERVICE);
    if (rc == EXIT_DONE && how == OPEN_SERVICE)
        rc = open_service(o, read_only, out);
    if (rc != EXIT_DONE)
        place_close(out);
    return rc;
}
