/*
 * copy.c - backup, restore.
 *
 * A restored store gets its name when it is whole, and has the cutoffs that were asked for: no server ever sees it without.
 *
 * SPDX-License-Identifier: MIT
 */
#include "tool.h"

#include <cjson/cJSON.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

static int copy_store(const options *o, otok_store *store, const char *directory, const char *what)
{
    progress bar;
    otok_watch watch;
    otok_error err;
    otok_watch_init(&watch, sizeof watch);
    watch.user = &bar;
    watch.progress = progress_step;
    progress_begin(&bar, o, what);
    int code = otok_store_backup(store, directory, &watch, &err);
    progress_end(&bar);
    return code == OTOK_OK ? EXIT_DONE : complain(what, &err);
}

/* ------------------------------------------------------------------------------------------------------- backup */

int command_backup(const options *o)
{
    place p;
    int rc = place_open(o, OPEN_STORE, true, &p);
    if (rc != EXIT_DONE)
        return rc;
    rc = copy_store(o, p.store, o->arguments[0], "backup");
    if (rc == EXIT_DONE && o->json) {
        cJSON *json = cJSON_CreateObject();
        json_add_text(json, "directory", o->arguments[0]);
        rc = json_print(json);
    } else if (rc == EXIT_DONE) {
        (void)fputs("Copied and verified: ", stdout);
        print_text(stdout, o->arguments[0]);
        putchar('\n');
        note(o, "The keyring is not in it: keep a copy of that apart.");
    }
    place_close(&p);
    return rc;
}

/* ------------------------------------------------------------------------------------------------------- restore */

/* A restore under way. */
typedef struct restorer {
    const options *o;
    place from, to; /* of `to` there are only the names, and later the store under its first name */
    char *beside;   /* that name */
    int root;       /* its folder, locked; -1: not yet */
    realms realms;
    uint64_t sessions;
} restorer;

static bool is_same_folder(const char *a, const char *b)
{
    struct stat of_a, of_b;
    return stat(a, &of_a) == 0 && stat(b, &of_b) == 0 && of_a.st_dev == of_b.st_dev && of_a.st_ino == of_b.st_ino;
}

static int find_backup(restorer *r)
{
    options source = *r->o;
    size_t size = strlen(r->o->arguments[0]) + sizeof "lmdb:";
    char *name = malloc(size);
    if (name == NULL)
        return complain_memory();
    (void)snprintf(name, size, "lmdb:%s", r->o->arguments[0]);
    source.store = name;
    source.policy = source.keyring = source.realm = NULL;
    int rc = place_open(&source, OPEN_STORE, true, &r->from);
    if (rc == EXIT_DONE && is_same_folder(r->from.directory, r->beside))
        rc = complain_trouble("%s is where a restore is made: give the backup another name first", r->beside);
    if (rc == EXIT_DONE)
        rc = realms_read(&source, r->from.store, &r->realms);
    free(name);
    return rc;
}

static int find_target(restorer *r)
{
    int rc = place_name(r->o, &r->to);
    if (rc != EXIT_DONE)
        return rc;
    if (r->to.directory == NULL)
        return complain_usage("restore makes stores that are named lmdb:DIR");
    char *data = path_join(r->to.directory, "data.mdb");
    bool is_there = data != NULL && path_exists(data);
    free(data);
    if (data == NULL)
        return complain_memory();
    if (is_there)
        return complain_trouble("%s holds a store already: move it away first", r->to.directory);
    r->beside = path_join(r->to.root, "store.restored");
    return r->beside != NULL ? EXIT_DONE : complain_memory();
}

/* Before anything is written: cutoffs cannot be set without it. */
static int find_keyring(restorer *r)
{
    otok_error err;
    if (!r->o->end_all || r->realms.count == 0)
        return EXIT_DONE;
    if (otok_keyring_load(r->to.keyring_path, r->o->token_keys, &r->to.keyring, &err) == OTOK_OK)
        return EXIT_DONE;
    (void)complain("--end-all needs the keyring", &err);
    return EXIT_TROUBLE;
}

/* A walk over all records. */
typedef struct counter {
    otok_scan scan;
    uint32_t rows;
    uint64_t sessions;
} counter;

static int count_record(void *arg, const otok_record *record)
{
    counter *c = arg;
    c->rows++;
    c->scan.after = record->id;
    c->sessions += record->kind == OTOK_RECORD_SESSION ? 1 : 0;
    return 0;
}

static int count_sessions(restorer *r)
{
    otok_error err;
    counter c = {.scan = {.size = sizeof c.scan, .limit = OTOK_MAX_FETCH}};
    do {
        const otok_scan scan = c.scan;
        c.rows = 0;
        if (otok_store_scan(r->from.store, &scan, count_record, &c, &err) != OTOK_OK)
            return complain("reading the backup", &err);
        c.scan.flags = OTOK_SCAN_AFTER;
    } while (c.rows == OTOK_MAX_FETCH);
    r->sessions = c.sessions;
    return EXIT_DONE;
}

static int ask(const restorer *r)
{
    char number[NUMBER_ROOM];
    sessions_words(r->sessions, number);
    bool go = r->sessions == 0;
    if (!go && r->o->end_all)
        go = confirm(r->o, "This restores the store, and ends what is in it: %s. Go on?", number);
    else if (!go)
        go = confirm(r->o,
                     "It holds %s. What was revoked after the backup lives again; --end-all would end"
                     " all. Restore it as it was?",
                     number);
    return go ? EXIT_DONE : EXIT_DECLINED;
}

/* What a restore that was killed has left; the name is ours. */
static void remove_beside(const restorer *r)
{
    static const char *const names[] = {"data.mdb", "lock.mdb", "write.lock", "backup.part"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        char *path = path_join(r->beside, names[i]);
        if (path != NULL)
            (void)unlink(path);
        free(path);
    }
    (void)rmdir(r->beside);
}

static int end_realm(restorer *r, const char *realm)
{
    otok_filter filter;
    otok_service *service;
    otok_error err;
    otok_filter_init(&filter, sizeof filter);
    filter.whole_realm = 1;
    int code = place_service(&r->to, realm, &service, &err);
    if (code == OTOK_OK)
        code = otok_cutoff_set(service, &filter, OTOK_NOW, NULL, &err);
    otok_service_close(service);
    return code == OTOK_OK ? EXIT_DONE : complain("ending the sessions", &err);
}

static int end_all(restorer *r)
{
    otok_error err;
    int rc = EXIT_DONE;
    if (otok_store_open_lmdb(r->beside, NULL, &r->to.store, &err) != OTOK_OK)
        return complain("opening what was restored", &err);
    for (size_t i = 0; rc == EXIT_DONE && i < r->realms.count; i++)
        rc = end_realm(r, r->realms.names[i]);
    otok_store_close(r->to.store);
    r->to.store = NULL;
    return rc;
}

static int name_it(const restorer *r)
{
    if (rename(r->beside, r->to.directory) != 0)
        return complain_trouble("naming %s: %s", r->to.directory, strerror(errno));
    return folder_sync(r->to.root) ? EXIT_DONE : complain_trouble("%s: %s", r->to.root, strerror(errno));
}

/* Two at once would give its name to what the other has not copied yet.  The end of the process unlocks, too. */
static bool lock_root(restorer *r)
{
    r->root = open(r->to.root, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (r->root >= 0 && flock(r->root, LOCK_EX | LOCK_NB) == 0)
        return true;
    (void)complain_trouble("%s: %s", r->to.root,
                           errno == EWOULDBLOCK ? "another restore is at work there" : strerror(errno));
    return false;
}

static int put_in_place(restorer *r)
{
    if (!folder_make(r->to.root) || !lock_root(r))
        return EXIT_TROUBLE;
    remove_beside(r);
    int rc = copy_store(r->o, r->from.store, r->beside, "restore");
    if (rc != EXIT_DONE)
        return rc;
    if (r->o->end_all && r->realms.count != 0)
        rc = end_all(r);
    if (rc == EXIT_DONE)
        rc = name_it(r);
    if (rc != EXIT_DONE)
        remove_beside(r);
    return rc;
}

static int print_restored(const restorer *r)
{
    char number[NUMBER_ROOM];
    if (r->o->json) {
        cJSON *json = cJSON_CreateObject();
        json_add_text(json, "store", r->to.directory);
        json_add_count(json, "sessions", r->sessions);
        json_add_bool(json, "ended", r->o->end_all);
        return json_print(json);
    }
    const fact facts[] = {
        {"store", r->to.directory},
        {r->o->end_all ? "sessions, all of them ended" : "sessions", number_words(r->sessions, number)},
    };
    facts_print(facts, sizeof facts / sizeof facts[0]);
    if (!path_exists(r->to.keyring_path))
        note(r->o, "Its keyring is missing: restore %s before a server starts.", r->to.keyring_path);
    return EXIT_DONE;
}

int command_restore(const options *o)
{
    restorer r = {.o = o, .root = -1};
    int rc = find_target(&r);
    if (rc == EXIT_DONE)
        rc = find_backup(&r);
    if (rc == EXIT_DONE)
        rc = find_keyring(&r);
    if (rc == EXIT_DONE)
        rc = count_sessions(&r);
    if (rc == EXIT_DONE)
        rc = ask(&r);
    if (rc == EXIT_DONE)
        rc = put_in_place(&r);
    if (rc == EXIT_DONE)
        rc = print_restored(&r);
    realms_free(&r.realms);
    place_close(&r.from);
    place_close(&r.to);
    free(r.beside);
    if (r.root >= 0)
        (void)close(r.root);
    return rc;
}
