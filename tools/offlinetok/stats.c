/*
 * stats.c - sessions by client and state, records by kind, the size of the store; by one walk over it.
 *
 * SPDX-License-Identifier: MIT
 */
#include "tool.h"

#include <cjson/cJSON.h>
#include <search.h>
#include <stdlib.h>
#include <string.h>

enum { LIVE, EXPIRED, REVOKED, UNKNOWN, STATES, KINDS = OTOK_RECORD_TOMBSTONE + 1, ID_CHARS = 22 };

static const char *const state_words[STATES] = {"live", "expired", "revoked", "unknown"};
static const char *const kind_words[KINDS] = {NULL,   "session", "cutoff",  "pair",
                                              "once", "event",   "sweeper", "tombstone"};

/* A realm that the walk met, and its service, opened when it is met first. */
typedef struct realm {
    char *name;
    otok_service *service;
    struct realm *next;
} realm;

typedef struct tally {
    const realm *realm;
    char *client;
    uint64_t sessions, states[STATES];
} tally;

/* A session of the page that was read. */
typedef struct row {
    tally *tally;
    char id[ID_CHARS + 1];
} row;

typedef struct census {
    const options *o;
    place place;
    progress progress;
    otok_scan scan;
    uint64_t kinds[KINDS], records;
    otok_check size; /* of the store */
    realm *realms;
    void *tree; /* of tallies */
    tally **tallies;
    size_t ntallies, room;
    row rows[OTOK_MAX_FETCH];
    size_t nrows, nread;
    bool failed; /* no memory */
} census;

/* ------------------------------------------------------------------------------------------------------- names */

static bool is_text(const char *text, otok_str name)
{
    return strlen(text) == name.len && (name.len == 0 || memcmp(text, name.data, name.len) == 0);
}

static realm *find_realm(census *s, otok_str name)
{
    for (realm *r = s->realms; r != NULL; r = r->next) {
        if (is_text(r->name, name))
            return r;
    }
    realm *fresh = calloc(1, sizeof *fresh);
    char *text = fresh != NULL ? strndup(name.len != 0 ? name.data : "", name.len) : NULL;
    if (text == NULL) {
        free(fresh);
        return NULL;
    }
    *fresh = (realm){.name = text, .next = s->realms};
    s->realms = fresh;
    return fresh;
}

static int compare_tallies(const void *a, const void *b)
{
    const tally *left = a, *right = b;
    int order = strcmp(left->realm->name, right->realm->name);
    return order != 0 ? order : strcmp(left->client, right->client);
}

static bool keep_tally(census *s, tally *t)
{
    if (s->ntallies == s->room) {
        size_t room = s->room != 0 ? s->room * 2 : 64;
        tally **more = realloc(s->tallies, room * sizeof *more);
        if (more == NULL)
            return false;
        s->tallies = more;
        s->room = room;
    }
    if (tsearch(t, &s->tree, compare_tallies) == NULL)
        return false;
    s->tallies[s->ntallies++] = t;
    return true;
}

static tally *find_tally(census *s, const realm *of, otok_str client)
{
    char name[OTOK_MAX_NAME + 1] = "";
    size_t len = client.len <= OTOK_MAX_NAME ? client.len : OTOK_MAX_NAME;
    if (len != 0)
        memcpy(name, client.data, len);
    name[len] = '\0';
    const tally wanted = {.realm = of, .client = name};
    tally *const *found = tfind(&wanted, &s->tree, compare_tallies);
    if (found != NULL)
        return *found;
    tally *fresh = calloc(1, sizeof *fresh);
    if (fresh == NULL)
        return NULL;
    *fresh = (tally){.realm = of, .client = strdup(name)};
    if (fresh->client != NULL && keep_tally(s, fresh))
        return fresh;
    free(fresh->client);
    free(fresh);
    return NULL;
}

/* ------------------------------------------------------------------------------------------------------- the walk */

/* Ids are shown as base64url (RFC 4648 section 5). */
static void print_id(const otok_id *id, char out[ID_CHARS + 1])
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    for (size_t i = 0; i < ID_CHARS; i++) {
        size_t bit = i * 6, byte = bit / 8;
        unsigned pair = (unsigned)id->bytes[byte] << 8 | (byte + 1 < sizeof id->bytes ? id->bytes[byte + 1] : 0U);
        out[i] = digits[pair >> (10 - bit % 8) & 63];
    }
    out[ID_CHARS] = '\0';
}

static void count_session(census *s, const otok_record *record)
{
    if (s->o->realm != NULL && !is_text(s->o->realm, record->realm))
        return;
    realm *of = find_realm(s, record->realm);
    tally *t = of != NULL ? find_tally(s, of, record->client) : NULL;
    s->failed |= t == NULL;
    if (t == NULL)
        return;
    t->sessions++;
    s->rows[s->nrows].tally = t;
    print_id(&record->id, s->rows[s->nrows++].id);
}

static int count_record(void *arg, const otok_record *record)
{
    census *s = arg;
    s->nread++;
    s->records++;
    s->scan.after = record->id;
    s->kinds[record->kind < KINDS ? record->kind : 0]++;
    if (record->kind == OTOK_RECORD_SESSION)
        count_session(s, record);
    return s->failed ? 1 : 0;
}

static realm *realm_of(const census *s, const tally *t)
{
    realm *r = s->realms;
    while (r != t->realm)
        r = r->next;
    return r;
}

/* One that went meanwhile is counted as it is: no more. */
static int judge(census *s, const row *at)
{
    otok_session *session;
    otok_error err;
    realm *of = realm_of(s, at->tally);
    if (of->service == NULL && place_service(&s->place, of->name, &of->service, &err) != OTOK_OK)
        return complain("opening a realm", &err);
    int code = otok_session_get(of->service, at->id, &session, &err);
    int state = code != OTOK_OK                          ? UNKNOWN
                : session->state == OTOK_OK              ? LIVE
                : session->state == OTOK_E_TOKEN_EXPIRED ? EXPIRED
                : session->state == OTOK_E_TOKEN_REVOKED ? REVOKED
                                                         : UNKNOWN;
    otok_session_free(session);
    if (code == OTOK_E_NOT_FOUND) {
        at->tally->sessions--;
        return EXIT_DONE;
    }
    at->tally->states[state]++;
    return code == OTOK_OK || code == OTOK_E_FORMAT ? EXIT_DONE : complain("reading a session", &err);
}

static int walk_page(census *s)
{
    otok_error err;
    const otok_scan scan = s->scan;
    s->nread = s->nrows = 0;
    if (otok_store_scan(s->place.store, &scan, count_record, s, &err) != OTOK_OK)
        return complain("reading the store", &err);
    int rc = s->failed ? complain_memory() : EXIT_DONE;
    for (size_t i = 0; rc == EXIT_DONE && s->place.keyring != NULL && i < s->nrows; i++)
        rc = judge(s, &s->rows[i]);
    s->scan.flags = OTOK_SCAN_AFTER;
    bool ended = rc == EXIT_DONE && progress_step(&s->progress, s->records, 0) != 0;
    return ended ? EXIT_INTERRUPTED : rc;
}

/* The store is measured at the beginning of a check, which ends there. */
static int end_at_once(void *user, uint64_t done, uint64_t total)
{
    (void)user;
    (void)done;
    (void)total;
    return 1;
}

static int gather(census *s)
{
    otok_watch watch;
    otok_error err;
    int rc;
    otok_watch_init(&watch, sizeof watch);
    watch.progress = end_at_once;
    otok_check_init(&s->size, sizeof s->size);
    int code = otok_store_check(s->place.store, 0, &watch, &s->size, &err);
    if (code != OTOK_OK && code != OTOK_E_CALLBACK)
        return complain("measuring the store", &err);
    progress_begin(&s->progress, s->o, "counting");
    do
        rc = walk_page(s);
    while (rc == EXIT_DONE && s->nread == OTOK_MAX_FETCH);
    progress_end(&s->progress);
    return rc == EXIT_INTERRUPTED ? complain_interrupted() : rc;
}

/* ------------------------------------------------------------------------------------------------------- printing */

static int by_size(const void *a, const void *b)
{
    const tally *left = *(tally *const *)a, *right = *(tally *const *)b;
    int order = strcmp(left->realm->name, right->realm->name);
    if (order != 0)
        return order;
    if (left->sessions != right->sessions)
        return left->sessions < right->sessions ? 1 : -1;
    return strcmp(left->client, right->client);
}

static int print_json(const census *s)
{
    cJSON *json = cJSON_CreateObject(), *records = cJSON_AddObjectToObject(json, "records");
    for (size_t i = 0; i < KINDS; i++) {
        if (kind_words[i] != NULL)
            json_add_count(records, kind_words[i], s->kinds[i]);
    }
    json_add_count(json, "bytes", s->size.bytes);
    json_add_count(json, "bytes_free", s->size.bytes_free);
    cJSON *clients = cJSON_AddArrayToObject(json, "clients");
    for (size_t i = 0; i < s->ntallies; i++) {
        const tally *t = s->tallies[i];
        cJSON *client = cJSON_CreateObject();
        json_add_text(client, "realm", t->realm->name);
        json_add_text(client, "client_id", t->client);
        json_add_count(client, "sessions", t->sessions);
        for (size_t k = 0; s->place.keyring != NULL && k < STATES; k++)
            json_add_count(client, state_words[k], t->states[k]);
        json_append(clients, client);
    }
    return json_print(json);
}

static void add_tally(const census *s, table *to, const tally *t)
{
    char numbers[STATES + 1][NUMBER_ROOM];
    const char *cells[STATES + 3] = {t->client, number_words(t->sessions, numbers[STATES])};
    size_t n = 2;
    for (size_t i = 0; s->place.keyring != NULL && i < STATES; i++)
        cells[n++] = number_words(t->states[i], numbers[i]);
    cells[n] = t->realm->name;
    table_add(to, cells);
}

static bool print_clients(const census *s)
{
    static const char *const all[] = {"CLIENT", "SESSIONS", "LIVE", "EXPIRED", "REVOKED", "UNKNOWN", "REALM"};
    static const char *const some[] = {"CLIENT", "SESSIONS", "REALM"};
    bool known = s->place.keyring != NULL;
    table *t = table_new(known ? all : some, known ? sizeof all / sizeof all[0] : sizeof some / sizeof some[0]);
    for (size_t i = 0; i < s->ntallies; i++)
        add_tally(s, t, s->tallies[i]);
    putchar('\n');
    bool done = table_print(t, stdout);
    table_free(t);
    return done;
}

static int print_words(const census *s)
{
    static const char *const names[KINDS] = {"other records",       "sessions",      "cutoffs",
                                             "consents and guards", "good for once", "events in the outbox",
                                             "other records",       "tombstones"};
    char numbers[KINDS][NUMBER_ROOM], bytes[NUMBER_ROOM], unused[NUMBER_ROOM];
    fact facts[KINDS + 2];
    size_t n = 0;
    for (size_t i = 0; i < KINDS; i++) {
        bool shown = s->kinds[i] != 0 || (i != 0 && i < OTOK_RECORD_SWEEPER);
        facts[n++] = (fact){names[i], shown ? number_words(s->kinds[i], numbers[i]) : NULL};
    }
    facts[n++] = (fact){"size", s->size.bytes != 0 ? bytes_words(s->size.bytes, bytes) : NULL};
    facts[n++] = (fact){"free in it", s->size.bytes != 0 ? bytes_words(s->size.bytes_free, unused) : NULL};
    facts_print(facts, n);
    if (s->ntallies != 0 && !print_clients(s))
        return complain_memory();
    if (s->place.keyring == NULL)
        note(s->o, "States of sessions are not known without the keyring (--keyring).");
    return EXIT_DONE;
}

static void forget(census *s)
{
    for (size_t i = 0; i < s->ntallies; i++) {
        (void)tdelete(s->tallies[i], &s->tree, compare_tallies);
        free(s->tallies[i]->client);
        free(s->tallies[i]);
    }
    free(s->tallies);
    while (s->realms != NULL) {
        realm *next = s->realms->next;
        otok_service_close(s->realms->service);
        free(s->realms->name);
        free(s->realms);
        s->realms = next;
    }
}

int command_stats(const options *o)
{
    census *s = calloc(1, sizeof *s);
    if (s == NULL)
        return complain_memory();
    s->o = o;
    s->scan = (otok_scan){.size = sizeof s->scan, .limit = OTOK_MAX_FETCH};
    int rc = place_open(o, OPEN_WITH_KEYS, true, &s->place);
    if (rc == EXIT_DONE)
        rc = gather(s);
    if (rc == EXIT_DONE && s->ntallies != 0)
        qsort(s->tallies, s->ntallies, sizeof(tally *), by_size);
    if (rc == EXIT_DONE)
        rc = o->json ? print_json(s) : print_words(s);
    forget(s);
    place_close(&s->place);
    free(s);
    return rc;
}
