/*
 * keys.c - the keys, and their rotation: add, activate, drop, with time in between.
 *
 * SPDX-License-Identifier: MIT
 */
#include "tool.h"

#include <cjson/cJSON.h>
#include <stdlib.h>
#include <string.h>

enum { MOST_JWK = 65536 };

static const char *const algorithms[] = {NULL, "ES256", "EdDSA", "RS256", "PS256"};

int algorithm_read(const char *text, int32_t *out)
{
    for (*out = OTOK_ALG_ES256; *out <= OTOK_ALG_PS256; ++*out) {
        if (strcmp(algorithms[*out], text != NULL ? text : "ES256") == 0)
            return EXIT_DONE;
    }
    return complain_usage("--algorithm is ES256, EdDSA, RS256 or PS256");
}

static const char *word_of_algorithm(int32_t algorithm)
{
    return algorithm > 0 && algorithm <= OTOK_ALG_PS256 ? algorithms[algorithm] : NULL;
}

static const char *word_of_use(int32_t use)
{
    return use == OTOK_KEY_TOKEN ? "token" : "signing";
}

const char *word_of_key_state(int32_t state)
{
    static const char *const words[] = {"gone", "next", "active", "retired"};
    return state > 0 && state <= OTOK_KEY_RETIRED ? words[state] : words[0];
}

static int load(const options *o, place *p)
{
    otok_error err;
    int rc = place_name_keyring(o, p);
    if (rc != EXIT_DONE)
        return rc;
    if (otok_keyring_load(p->keyring_path, o->token_keys, &p->keyring, &err) == OTOK_OK)
        return EXIT_DONE;
    (void)complain("reading the keyring", &err);
    place_close(p);
    return EXIT_TROUBLE;
}

/* ------------------------------------------------------------------------------------------------------- usage */

static void add_usage(const otok_key_list *keys, const otok_key_list *counted, uint64_t *usage)
{
    for (size_t i = 0; i < keys->count; i++) {
        for (size_t k = 0; k < counted->count; k++) {
            if (strcmp(keys->keys[i]->kid, counted->keys[k]->kid) == 0)
                usage[i] += counted->keys[k]->sessions;
        }
    }
}

static int count_realm(place *p, const char *realm, const otok_key_list *keys, uint64_t *usage)
{
    otok_service *service;
    otok_key_list *counted = NULL;
    otok_error err;
    int code = place_service(p, realm, &service, &err);
    if (code == OTOK_OK)
        code = otok_service_keys(service, &counted, &err);
    if (code == OTOK_OK)
        add_usage(keys, counted, usage);
    otok_key_list_free(counted);
    otok_service_close(service);
    return code == OTOK_OK ? EXIT_DONE : complain("counting sessions", &err);
}

/* How many sessions of the store need each key; `usage` has room for them all. */
static int count_usage(const options *o, const otok_key_list *keys, uint64_t *usage)
{
    realms all = {0};
    place p;
    int rc = place_open(o, OPEN_WITH_KEYS, true, &p);
    if (rc != EXIT_DONE)
        return rc;
    rc = p.keyring != NULL ? realms_read(o, p.store, &all) : complain_trouble("there is no keyring %s", p.keyring_path);
    for (size_t i = 0; rc == EXIT_DONE && i < all.count; i++)
        rc = count_realm(&p, all.names[i], keys, usage);
    realms_free(&all);
    place_close(&p);
    return rc;
}

/* ------------------------------------------------------------------------------------------------------- list */

static int print_json(const otok_key_list *list, const uint64_t *usage)
{
    cJSON *json = cJSON_CreateObject(), *keys = cJSON_AddArrayToObject(json, "keys");
    for (size_t i = 0; i < list->count; i++) {
        const otok_key *k = list->keys[i];
        cJSON *key = cJSON_CreateObject();
        json_add_text(key, "kid", k->kid);
        json_add_text(key, "use", word_of_use(k->use));
        json_add_text(key, "state", word_of_key_state(k->state));
        json_add_text(key, "algorithm", word_of_algorithm(k->algorithm));
        json_add_number(key, "token_id", k->token_id);
        json_add_bool(key, "external", k->external != 0);
        json_add_number(key, "created_us", k->created_us);
        if (usage != NULL && k->use == OTOK_KEY_TOKEN)
            json_add_count(key, "sessions", usage[i]);
        json_append(keys, key);
    }
    return json_print(json);
}

static int print_table(const otok_key_list *list, const uint64_t *usage)
{
    static const char *const headings[] = {"KID", "USE", "STATE", "ALGORITHM", "CREATED", "SESSIONS"};
    size_t columns = sizeof headings / sizeof headings[0] - (usage != NULL ? 0 : 1);
    table *t = table_new(headings, columns);
    for (size_t i = 0; i < list->count; i++) {
        const otok_key *k = list->keys[i];
        char created[TIME_ROOM], number[NUMBER_ROOM], algorithm[32] = "";
        time_relative(k->created_us, time_now(), created);
        if (word_of_algorithm(k->algorithm) != NULL)
            (void)snprintf(algorithm, sizeof algorithm, "%s%s", word_of_algorithm(k->algorithm),
                           k->external != 0 ? ", external" : "");
        bool counted = usage != NULL && k->use == OTOK_KEY_TOKEN;
        const char *const cells[] = {k->kid,
                                     word_of_use(k->use),
                                     word_of_key_state(k->state),
                                     algorithm,
                                     created,
                                     counted ? number_words(usage[i], number) : NULL};
        table_add(t, cells);
    }
    bool done = table_print(t, stdout);
    table_free(t);
    return done ? EXIT_DONE : complain_memory();
}

static int keys_list(const options *o)
{
    otok_key_list *list = NULL;
    otok_error err;
    uint64_t *usage = NULL;
    place p;
    int rc = load(o, &p);
    if (rc == EXIT_DONE && otok_keyring_keys(p.keyring, &list, &err) != OTOK_OK)
        rc = complain("keys", &err);
    if (rc == EXIT_DONE && o->usage) {
        usage = calloc(list->count + 1, sizeof *usage);
        rc = usage != NULL ? count_usage(o, list, usage) : complain_memory();
    }
    if (rc == EXIT_DONE)
        rc = o->json ? print_json(list, usage) : print_table(list, usage);
    free(usage);
    otok_key_list_free(list);
    place_close(&p);
    return rc;
}

static int keys_jwks(const options *o)
{
    char *jwks = NULL;
    otok_error err;
    place p;
    int rc = load(o, &p);
    if (rc == EXIT_DONE && otok_keyring_jwks(p.keyring, &jwks, &err) != OTOK_OK)
        rc = complain("jwks", &err);
    if (rc == EXIT_DONE)
        (void)fputs(jwks, stdout);
    otok_string_free(jwks);
    place_close(&p);
    return rc;
}

/* ------------------------------------------------------------------------------------------------------- changes */

static int keys_generate(const options *o)
{
    otok_keyring *keyring = NULL;
    otok_error err;
    int32_t algorithm;
    if (o->narguments < 2)
        return complain_usage("keys generate needs the name of a file");
    const char *path = o->arguments[1];
    int rc = algorithm_read(o->algorithm, &algorithm);
    if (rc != EXIT_DONE)
        return rc;
    if (path_exists(path) || (o->token_keys != NULL && path_exists(o->token_keys)))
        return complain_trouble("%s is there already", path_exists(path) ? path : o->token_keys);
    int code = otok_keyring_generate(algorithm, &keyring, &err);
    if (code == OTOK_OK)
        code = otok_keyring_save(keyring, path, o->token_keys, &err);
    otok_keyring_free(keyring);
    if (code != OTOK_OK)
        return complain("making a keyring", &err) == EXIT_USAGE ? EXIT_USAGE : EXIT_TROUBLE;
    note(o, "Made %s: a signing key (%s) and a MAC key.", path, algorithms[algorithm]);
    return EXIT_DONE;
}

static int change(const options *o, const place *p, const otok_key_change *wanted)
{
    otok_error err;
    int code = otok_keyring_change_file(p->keyring_path, o->token_keys, wanted, NULL, &err);
    return code == OTOK_OK ? EXIT_DONE : complain("changing the keyring", &err);
}

static int read_use(const options *o, int32_t *use)
{
    bool is_token = o->use != NULL && strcmp(o->use, "token") == 0;
    *use = is_token ? OTOK_KEY_TOKEN : OTOK_KEY_SIGNING;
    if (o->use == NULL || (!is_token && strcmp(o->use, "signing") != 0))
        return complain_usage("which sort of key: --use signing, or --use token");
    return EXIT_DONE;
}

static int keys_add(const options *o)
{
    otok_key_change wanted;
    char *jwk = NULL;
    place p;
    otok_key_change_init(&wanted, sizeof wanted);
    wanted.step = OTOK_KEY_STEP_ADD;
    int rc = read_use(o, &wanted.use);
    if (rc == EXIT_DONE && wanted.use == OTOK_KEY_TOKEN && (o->algorithm != NULL || o->jwk != NULL))
        rc = complain_usage("--algorithm and --jwk are for signing keys");
    if (rc == EXIT_DONE && o->jwk != NULL && o->algorithm != NULL)
        rc = complain_usage("the algorithm of a --jwk is in it");
    if (rc == EXIT_DONE && wanted.use == OTOK_KEY_SIGNING && o->jwk == NULL)
        rc = algorithm_read(o->algorithm, &wanted.algorithm);
    if (rc == EXIT_DONE && o->jwk != NULL && (jwk = file_read(o->jwk, MOST_JWK)) == NULL)
        rc = EXIT_TROUBLE;
    wanted.jwk = jwk;
    if (rc == EXIT_DONE) {
        rc = place_name_keyring(o, &p);
        if (rc == EXIT_DONE)
            rc = change(o, &p, &wanted);
        place_close(&p);
    }
    if (rc == EXIT_DONE)
        note(o, "There is a new %s key, next. Activate it once every server, and whoever caches the JWKS, has it.",
             o->use);
    free(jwk);
    return rc;
}

/* The key of that kid; NULL: there is none, and that was said. */
static const otok_key *find_key(const otok_key_list *list, const char *kid, size_t *at)
{
    for (*at = 0; *at < list->count; ++*at) {
        if (strcmp(list->keys[*at]->kid, kid) == 0)
            return list->keys[*at];
    }
    (void)complain_trouble("there is no key %s", kid);
    return NULL;
}

static int activate(const options *o, const place *p, const char *kid)
{
    otok_key_list *list = NULL;
    otok_key_change wanted;
    otok_error err;
    size_t at;
    otok_key_change_init(&wanted, sizeof wanted);
    wanted.step = OTOK_KEY_STEP_ACTIVATE;
    wanted.kid = kid;
    if (otok_keyring_keys(p->keyring, &list, &err) != OTOK_OK)
        return complain("keys", &err);
    int rc = kid == NULL ? read_use(o, &wanted.use) : EXIT_DONE;
    const otok_key *key = kid != NULL ? find_key(list, kid, &at) : NULL;
    if (key != NULL)
        wanted.use = key->use;
    else if (kid != NULL)
        rc = EXIT_NONE;
    if (rc == EXIT_DONE)
        rc = change(o, p, &wanted);
    if (rc == EXIT_DONE)
        note(o,
             "The %s key is active, and the one before it retired: it still verifies. Drop that once nothing needs it.",
             word_of_use(wanted.use));
    otok_key_list_free(list);
    return rc;
}

static int keys_activate(const options *o)
{
    place p;
    int rc = load(o, &p);
    if (rc == EXIT_DONE)
        rc = activate(o, &p, o->narguments > 1 ? o->arguments[1] : NULL);
    place_close(&p);
    return rc;
}

/* Asks where sessions would end with a MAC key, or nobody can tell. */
static int ask_to_drop(const options *o, const otok_key_list *list, size_t at)
{
    char number[NUMBER_ROOM];
    if (list->keys[at]->use != OTOK_KEY_TOKEN || list->keys[at]->state == OTOK_KEY_ACTIVE || o->yes)
        return EXIT_DONE;
    if (o->store == NULL)
        return confirm(
                   o,
                   "Every token under this key ends with it; how many those are is not known without --store. Go on?")
                   ? EXIT_DONE
                   : EXIT_DECLINED;
    uint64_t *usage = calloc(list->count, sizeof *usage);
    if (usage == NULL)
        return complain_memory();
    int rc = count_usage(o, list, usage);
    if (rc == EXIT_DONE && usage[at] != 0 &&
        !confirm(o, "Dropping this key ends %s. Go on?", sessions_words(usage[at], number)))
        rc = EXIT_DECLINED;
    free(usage);
    return rc;
}

static int drop(const options *o, const place *p, const char *kid)
{
    otok_key_list *list = NULL;
    otok_key_change wanted;
    otok_error err;
    size_t at;
    otok_key_change_init(&wanted, sizeof wanted);
    wanted.step = OTOK_KEY_STEP_DROP;
    wanted.kid = kid;
    if (otok_keyring_keys(p->keyring, &list, &err) != OTOK_OK)
        return complain("keys", &err);
    const otok_key *key = find_key(list, kid, &at);
    wanted.use = key != NULL ? key->use : 0;
    int rc = key != NULL ? ask_to_drop(o, list, at) : EXIT_NONE;
    if (rc == EXIT_DONE)
        rc = change(o, p, &wanted);
    if (rc == EXIT_DONE)
        note(o, "The key is gone.");
    otok_key_list_free(list);
    return rc;
}

static int keys_drop(const options *o)
{
    place p;
    if (o->narguments < 2)
        return complain_usage("keys drop needs the KID: see keys list");
    int rc = load(o, &p);
    if (rc == EXIT_DONE)
        rc = drop(o, &p, o->arguments[1]);
    place_close(&p);
    return rc;
}

int command_keys(const options *o)
{
    static const struct {
        const char *name;
        size_t most;
        int (*run)(const options *o);
    } verbs[] = {{"list", 1, keys_list}, {"jwks", 1, keys_jwks},         {"generate", 2, keys_generate},
                 {"add", 1, keys_add},   {"activate", 2, keys_activate}, {"drop", 2, keys_drop}};
    const char *verb = o->narguments != 0 ? o->arguments[0] : "list";
    for (size_t i = 0; i < sizeof verbs / sizeof verbs[0]; i++) {
        if (strcmp(verbs[i].name, verb) != 0)
            continue;
        return o->narguments <= verbs[i].most ? verbs[i].run(o) : complain_usage("keys %s takes no argument", verb);
    }
    return complain_usage("keys list, jwks, generate, add, activate or drop: there is no keys %s", verb);
}
