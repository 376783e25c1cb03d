/*
 * store.c - init, migrate, sweep, check.
 *
 * SPDX-License-Identifier: MIT
 */
#include "tool.h"

#include <cjson/cJSON.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

/* ------------------------------------------------------------------------------------------------------- init */

/*
 * A keyring that is there already is the one that sessions will be moved with: it stays.  MAC keys without their signing keys are no
 * keyring: to make a new one in their place would log everyone out.
 */
static int make_keyring(const options *o, const place *p, int32_t algorithm, bool *made)
{
    otok_keyring *keyring = NULL;
    otok_error err;
    *made = !path_exists(p->keyring_path) && (o->token_keys == NULL || !path_exists(o->token_keys));
    int code = *made ? otok_keyring_generate(algorithm, &keyring, &err)
                     : otok_keyring_load(p->keyring_path, o->token_keys, &keyring, &err);
    if (code == OTOK_OK && *made)
        code = otok_keyring_save(keyring, p->keyring_path, o->token_keys, &err);
    otok_keyring_free(keyring);
    if (code != OTOK_OK)
        (void)complain("keyring", &err);
    return code == OTOK_OK ? EXIT_DONE : EXIT_TROUBLE;
}

static int make_store(const place *p)
{
    otok_store *store = NULL;
    otok_error err;
    int code = p->conninfo != NULL ? postgres_migrate(p->conninfo, &err)
                                   : otok_store_open_lmdb(p->directory, NULL, &store, &err);
    if (code != OTOK_OK)
        (void)complain("making the store", &err);
    otok_store_close(store);
    return code == OTOK_OK ? EXIT_DONE : EXIT_TROUBLE;
}

static int print_made(const options *o, const place *p, bool made)
{
    if (o->json) {
        cJSON *json = cJSON_CreateObject();
        json_add_text(json, "store", p->directory); /* null in PostgreSQL: its name may have a password in it */
        json_add_text(json, "keyring", p->keyring_path);
        json_add_bool(json, "keyring_made", made);
        return json_print(json);
    }
    const fact facts[] = {{"store", p->directory != NULL ? p->directory : "in PostgreSQL"},
                          {made ? "keyring" : "keyring, as it was", p->keyring_path}};
    facts_print(facts, sizeof facts / sizeof facts[0]);
    note(o, "Keep a copy of the keyring apart from backups of the store: without it every token is lost.");
    return EXIT_DONE;
}

/* A schema of PostgreSQL that is there already is brought to this version; a folder that is there is refused. */
static int make_folder(const place *p)
{
    char *data = path_join(p->directory, "data.mdb");
    bool is_there = data != NULL && path_exists(data);
    free(data);
    if (data == NULL)
        return complain_memory();
    if (is_there)
        return complain_trouble("%s holds a store already", p->directory);
    return folder_make(p->root) ? EXIT_DONE : EXIT_TROUBLE;
}

static int init(const options *o, const place *p, int32_t algorithm)
{
    bool made = false;
    if (p->directory == NULL && p->conninfo == NULL)
        return complain_usage("init makes stores that are named lmdb:DIR or postgres:CONNINFO");
    if (p->keyring_path == NULL)
        return complain_usage("where the keyring is to be: --keyring FILE");
    int rc = p->directory != NULL ? make_folder(p) : EXIT_DONE;
    if (rc == EXIT_DONE)
        rc = make_keyring(o, p, algorithm, &made);
    if (rc == EXIT_DONE)
        rc = make_store(p);
    return rc == EXIT_DONE ? print_made(o, p, made) : rc;
}

int command_init(const options *o)
{
    int32_t algorithm;
    place p;
    int rc = algorithm_read(o->algorithm, &algorithm);
    if (rc != EXIT_DONE)
        return rc;
    rc = place_name(o, &p);
    if (rc == EXIT_DONE)
        rc = init(o, &p, algorithm);
    place_close(&p);
    return rc;
}

int command_migrate(const options *o)
{
    otok_error err;
    place p;
    int rc = place_name(o, &p);
    if (rc == EXIT_DONE && p.conninfo == NULL)
        rc = complain_usage("migrate is for stores that are named postgres:CONNINFO: others need none");
    if (rc == EXIT_DONE && postgres_migrate(p.conninfo, &err) != OTOK_OK)
        rc = complain("migrate", &err);
    if (rc == EXIT_DONE)
        note(o, "The schema is of this version.");
    place_close(&p);
    return rc;
}

/* ------------------------------------------------------------------------------------------------------- sweep */

static int print_swept(const options *o, const place *p, const otok_sweep_result *all)
{
    char visited[NUMBER_ROOM], expired[NUMBER_ROOM], cut_off[NUMBER_ROOM];
    if (o->json) {
        cJSON *json = cJSON_CreateObject();
        json_add_text(json, "realm", p->realm);
        json_add_count(json, "visited", all->visited);
        json_add_count(json, "expired", all->expired);
        json_add_count(json, "cut_off", all->cut_off);
        json_add_bool(json, "more", all->more != 0);
        return json_print(json);
    }
    const fact facts[] = {
        {"looked at", number_words(all->visited, visited)},
        {"removed, expired", number_words(all->expired, expired)},
        {"removed, behind a cutoff", number_words(all->cut_off, cut_off)},
    };
    facts_print(facts, sizeof facts / sizeof facts[0]);
    return EXIT_DONE;
}

/* A client whose policy makes no sense is passed over: the rest is swept, and then it is said. */
static int sweep_all(const place *p, progress *bar, otok_sweep_result *all, otok_error *first)
{
    otok_error err;
    *first = (otok_error){.code = OTOK_OK};
    do {
        otok_sweep_result one;
        otok_sweep_result_init(&one, sizeof one);
        int code = otok_sweep(p->service, 0, &one, &err);
        all->visited += one.visited;
        all->expired += one.expired;
        all->cut_off += one.cut_off;
        all->more = one.more;
        if (code != OTOK_OK && first->code == OTOK_OK)
            *first = err;
        if (code != OTOK_OK && code != OTOK_E_POLICY)
            break;
    } while (all->more != 0 && progress_step(bar, all->visited, 0) == 0);
    if (first->code != OTOK_OK)
        return complain("sweeping", first);
    return all->more != 0 && was_interrupted() ? EXIT_INTERRUPTED : EXIT_DONE;
}

int command_sweep(const options *o)
{
    otok_sweep_result all;
    otok_error first;
    progress bar;
    place p;
    if ((o->policy != NULL) == o->default_policy)
        return complain_usage("sweep removes what has ended by the servers' policies: "
                              "say which, with --policy FILE or --default-policy");
    int rc = place_open(o, OPEN_SERVICE, false, &p);
    if (rc != EXIT_DONE)
        return rc;
    otok_sweep_result_init(&all, sizeof all);
    progress_begin(&bar, o, "sweeping");
    rc = sweep_all(&p, &bar, &all, &first);
    progress_end(&bar);
    int printed = print_swept(o, &p, &all);
    if (rc == EXIT_INTERRUPTED)
        (void)complain_interrupted();
    place_close(&p);
    return rc != EXIT_DONE ? rc : printed;
}

/* ------------------------------------------------------------------------------------------------------- check */

enum { MOST_FINDINGS = 1000 }; /* that a document names; more are counted */

/* A check under way. */
typedef struct checker {
    const options *o;
    progress progress;
    otok_check store, records; /* of the store; of all realms */
    size_t realms;
    cJSON *findings; /* for machines */
} checker;

static int on_progress(void *arg, uint64_t done, uint64_t total)
{
    checker *c = arg;
    return progress_step(&c->progress, done, total);
}

static void on_finding(void *arg, const char *what, int32_t mended)
{
    checker *c = arg;
    progress_hide(&c->progress);
    if (!c->o->json) {
        (void)fputs(mended != 0 ? "mended: " : "found: ", stdout);
        print_text(stdout, what);
        putchar('\n');
    } else if (cJSON_GetArraySize(c->findings) < MOST_FINDINGS) {
        cJSON *finding = cJSON_CreateObject();
        json_add_text(finding, "what", what);
        json_add_bool(finding, "mended", mended != 0);
        json_append(c->findings, finding);
    }
}

/* Seals, formats and names of each realm; without a keyring there is nothing to look at them with. */
static int check_realms(checker *c, place *p, const otok_watch *watch)
{
    realms all;
    otok_error err = {.code = OTOK_OK};
    int rc = p->keyring != NULL ? realms_read(c->o, p->store, &all) : EXIT_DONE;
    if (rc != EXIT_DONE || p->keyring == NULL)
        return rc;
    for (size_t i = 0; rc == EXIT_DONE && i < all.count; i++) {
        otok_service *service;
        otok_check one;
        otok_check_init(&one, sizeof one);
        int code = place_service(p, all.names[i], &service, &err);
        if (code == OTOK_OK)
            code = otok_service_check(service, watch, &one, &err);
        c->records.findings += one.findings;
        c->records.records += one.records;
        c->realms++;
        otok_service_close(service);
        if (code != OTOK_OK)
            rc = complain("checking records", &err);
    }
    realms_free(&all);
    return rc;
}

static int check_all(checker *c, place *p)
{
    otok_error err;
    otok_watch watch;
    otok_watch_init(&watch, sizeof watch);
    watch.user = c;
    watch.progress = on_progress;
    watch.finding = on_finding;
    otok_check_init(&c->store, sizeof c->store);
    otok_check_init(&c->records, sizeof c->records);
    progress_begin(&c->progress, c->o, c->o->repair ? "repairing" : "checking the store");
    int rc = EXIT_DONE;
    if (otok_store_check(p->store, c->o->repair ? 1 : 0, &watch, &c->store, &err) != OTOK_OK)
        rc = complain("checking the store", &err);
    c->progress.what = "checking records";
    c->progress.total = c->store.records;
    if (rc == EXIT_DONE)
        rc = check_realms(c, p, &watch);
    progress_end(&c->progress);
    return rc;
}

static int print_check_json(checker *c)
{
    cJSON *json = cJSON_CreateObject();
    json_add_count(json, "records", c->store.records);
    json_add_count(json, "sessions", c->store.sessions);
    json_add_count(json, "index_entries", c->store.index_entries);
    json_add_count(json, "bytes", c->store.bytes);
    json_add_count(json, "bytes_free", c->store.bytes_free);
    json_add_count(json, "realms", c->realms);
    json_add_count(json, "findings", c->store.findings + c->records.findings);
    json_add_count(json, "mended", c->store.mended);
    json_add(json, "found", c->findings);
    c->findings = NULL;
    return json_print(json);
}

static void print_check(const checker *c, uint64_t left)
{
    char records[NUMBER_ROOM], sessions[NUMBER_ROOM], entries[NUMBER_ROOM], bytes[NUMBER_ROOM], unused[NUMBER_ROOM],
        realm_count[NUMBER_ROOM], found[NUMBER_ROOM], mended[NUMBER_ROOM];
    uint64_t all = c->store.findings + c->records.findings;
    const fact facts[] = {
        {"records", number_words(c->store.records, records)},
        {"sessions", number_words(c->store.sessions, sessions)},
        {"index entries", c->store.index_entries != 0 ? number_words(c->store.index_entries, entries) : NULL},
        {"size", c->store.bytes != 0 ? bytes_words(c->store.bytes, bytes) : NULL},
        {"free in it", c->store.bytes != 0 ? bytes_words(c->store.bytes_free, unused) : NULL},
        {"realms", c->realms != 0 ? number_words(c->realms, realm_count) : NULL},
        {"findings", number_words(all, found)},
        {"mended", c->o->repair ? number_words(c->store.mended, mended) : NULL},
    };
    facts_print(facts, sizeof facts / sizeof facts[0]);
    puts(left == 0 ? "The store is whole." : "The store has faults.");
    if (c->store.findings > c->store.mended && !c->o->repair)
        note(c->o, "Indexes can be made anew from the records: offlinetok check --repair");
}

static int check(const options *o, place *p)
{
    checker c = {.o = o, .findings = o->json ? cJSON_CreateArray() : NULL};
    if (p->keyring == NULL)
        note(o, "There is no keyring%s%s: seals and formats of records are not looked at (--keyring).",
             p->keyring_path != NULL ? " " : "", p->keyring_path != NULL ? p->keyring_path : "");
    int rc = check_all(&c, p);
    uint64_t left = c.store.findings + c.records.findings - c.store.mended;
    if (rc == EXIT_DONE && o->json)
        rc = print_check_json(&c);
    else if (rc == EXIT_DONE)
        print_check(&c, left);
    cJSON_Delete(c.findings);
    return rc == EXIT_DONE && left != 0 ? EXIT_NONE : rc;
}

int command_check(const options *o)
{
    place p;
    int rc = place_open(o, OPEN_WITH_KEYS, !o->repair, &p);
    if (rc != EXIT_DONE)
        return rc;
    rc = check(o, &p);
    place_close(&p);
    return rc;
}
