/*
 * check_keyring.c - keyrings in memory and on disk: K1, K4, and what of K6 is a matter of files.
 *
 * SPDX-License-Identifier: MIT
 */
#include "keys/keys.h"
#include "support/crew.h"
#include "support/fixture.h"
#include "support/vectors.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static const int32_t algorithms[] = {OTOK_ALG_ES256, OTOK_ALG_EDDSA, OTOK_ALG_RS256, OTOK_ALG_PS256};
enum { ALGORITHMS = 4 };

static otok_error err; /* of the last call */

static void ok(int rc)
{
    ck_assert_msg(rc == OTOK_OK, "%s: %s", otok_error_name(rc), err.message);
}

static void assert_fails(int rc, int expected, const char *word)
{
    ck_assert_msg(rc == expected, "%s: %s", otok_error_name(rc), rc != OTOK_OK ? err.message : "");
    ck_assert_int_eq(err.code, expected);
    ck_assert_msg(strstr(err.message, word) != NULL, "'%s' is not in '%s'", word, err.message);
}

/* ---- a folder of the test's own ---- */

static char folder[256], path[300], token_path[300];

static void make_folder(void)
{
    const char *tmp = getenv("TMPDIR");
    (void)snprintf(folder, sizeof folder, "%s/keyring.XXXXXX", tmp != NULL && strlen(tmp) < 200 ? tmp : "/tmp");
    ck_assert_ptr_nonnull(mkdtemp(folder));
    (void)snprintf(path, sizeof path, "%s/keyring.json", folder);
    (void)snprintf(token_path, sizeof token_path, "%s/token-keys.json", folder);
}

static size_t count_files(bool remove_them)
{
    size_t n = 0;
    DIR *dir = opendir(folder);
    for (struct dirent *entry; dir != NULL && (entry = readdir(dir)) != NULL;) {
        if (entry->d_name[0] == '.' && (entry->d_name[1] == '\0' || strcmp(entry->d_name, "..") == 0))
            continue;
        n++;
        if (remove_them)
            (void)unlinkat(dirfd(dir), entry->d_name, 0);
    }
    if (dir != NULL)
        (void)closedir(dir);
    return n;
}

static void remove_folder(void)
{
    (void)count_files(true);
    (void)rmdir(folder);
}

static char *read_file(const char *name, size_t *len)
{
    FILE *file = fopen(name, "rb");
    ck_assert_ptr_nonnull(file);
    char *text = calloc(1, 1 << 18);
    *len = fread(text, 1, (1 << 18) - 1, file);
    (void)fclose(file);
    return text;
}

static void write_file(const char *name, const char *text, size_t len)
{
    (void)unlink(name);
    int fd = open(name, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(write(fd, text, len), (ssize_t)len);
    (void)close(fd);
}

/* ---- keyrings ---- */

static otok_keyring *generate(int32_t algorithm)
{
    otok_keyring *keyring;
    ok(otok_keyring_generate(algorithm, &keyring, &err));
    return keyring;
}

static void assert_same(const otok_keyring *a, const otok_keyring *b)
{
    ck_assert_uint_eq(a->nsigning, b->nsigning);
    ck_assert_uint_eq(a->ntoken, b->ntoken);
    for (size_t i = 0; i < a->nsigning; i++) {
        ck_assert_str_eq(a->signing[i].kid, b->signing[i].kid);
        ck_assert_int_eq(a->signing[i].state, b->signing[i].state);
        ck_assert_int_eq(a->signing[i].created_us, b->signing[i].created_us);
        ck_assert_int_eq(otok_pkey_algorithm(a->signing[i].pkey), otok_pkey_algorithm(b->signing[i].pkey));
        ck_assert(otok_pkey_is_private(b->signing[i].pkey));
        ck_assert(!b->signing[i].external);
    }
    for (size_t i = 0; i < a->ntoken; i++)
        ck_assert(memcmp(&a->token[i], &b->token[i], sizeof a->token[i]) == 0);
}

static bool id_is_free(const otok_keyring *keyring, uint8_t id)
{
    for (size_t i = 0; i < keyring->ntoken; i++) {
        if (keyring->token[i].id == id)
            return false;
    }
    return true;
}

/* Adds one more key of each sort; a MAC key whose id is taken is left out. */
static void add_keys(otok_keyring *to, int32_t algorithm, int32_t state)
{
    otok_keyring *other = generate(algorithm);
    to->signing[to->nsigning] = other->signing[0];
    to->signing[to->nsigning++].state = state;
    other->nsigning = 0; /* it moved */
    if (id_is_free(to, other->token[0].id)) {
        to->token[to->ntoken] = other->token[0];
        to->token[to->ntoken++].state = state;
    }
    otok_keyring_free(other);
}

static otok_keyring *generate_full(void)
{
    otok_keyring *keyring = generate(OTOK_ALG_ES256);
    add_keys(keyring, OTOK_ALG_EDDSA, OTOK_KEY_NEXT);
    add_keys(keyring, OTOK_ALG_RS256, OTOK_KEY_RETIRED);
    add_keys(keyring, OTOK_ALG_PS256, OTOK_KEY_RETIRED);
    return keyring;
}

/* K1 */
START_TEST(new_keyring_has_one_active_key_of_each_sort)
{
    for (int32_t algorithm = OTOK_ALG_DEFAULT; algorithm <= OTOK_ALG_PS256; algorithm++) {
        otok_keyring *keyring = generate(algorithm);
        char kid[OTOK_KID_CHARS + 1];
        ck_assert_uint_eq(keyring->nsigning, 1);
        ck_assert_uint_eq(keyring->ntoken, 1);
        const otok_signing_key *signing = otok_keyring_signing(keyring);
        const otok_token_key *token = otok_keyring_token(keyring);
        ck_assert_int_eq(otok_pkey_algorithm(signing->pkey),
                         algorithm == OTOK_ALG_DEFAULT ? OTOK_ALG_ES256 : algorithm);
        ok(otok_pkey_thumbprint(signing->pkey, kid, &err));
        ck_assert_str_eq(signing->kid, kid);
        ck_assert_ptr_eq(otok_keyring_by_kid(keyring, kid), signing);
        kid[0] = kid[0] == 'A' ? 'B' : 'A';
        ck_assert_ptr_null(otok_keyring_by_kid(keyring, kid));
        ck_assert_ptr_null(otok_keyring_by_kid(keyring, NULL));
        ck_assert_uint_ge(token->id, 1);
        ok(otok_oct_thumbprint(token->key, kid, &err));
        ck_assert_str_eq(token->kid, kid);
        ck_assert_int_gt(token->created_us, INT64_C(1600000000000000));
        otok_keyring_free(keyring);
    }
    otok_keyring *none = (otok_keyring *)1;
    assert_fails(otok_keyring_generate(17, &none, &err), OTOK_E_INVALID, "17");
    ck_assert_ptr_null(none);
    otok_keyring_free(NULL);
}
END_TEST

START_TEST(first_ids_of_mac_keys_differ)
{
    bool seen[256] = {false};
    size_t different = 0;
    for (int i = 0; i < 600; i++) {
        otok_keyring *keyring = generate(OTOK_ALG_EDDSA);
        different += !seen[keyring->token[0].id];
        seen[keyring->token[0].id] = true;
        otok_keyring_free(keyring);
    }
    ck_assert(!seen[0]);
    ck_assert_uint_gt(different, 150);
}
END_TEST

START_TEST(keyring_lives_as_long_as_its_last_reference)
{
    otok_keyring *keyring = generate(OTOK_ALG_ES256);
    ck_assert_ptr_eq(otok_keyring_ref(keyring), keyring);
    otok_keyring_free(keyring);
    ck_assert_ptr_nonnull(otok_keyring_signing(keyring));
    otok_keyring_free(keyring);
}
END_TEST

static int check_public(void *arg, const char *name, const otok_json *value)
{
    static const char *const allowed[] = {"kty", "crv", "x", "y", "n", "e", "kid", "alg", "use"};
    (void)arg;
    ck_assert_ptr_nonnull(otok_json_string(value));
    for (size_t i = 0; i < sizeof allowed / sizeof allowed[0]; i++) {
        if (strcmp(allowed[i], name) == 0)
            return 0;
    }
    ck_abort_msg("%s", name);
    return 1;
}

START_TEST(public_jwks_has_every_signing_key_and_nothing_private)
{
    otok_keyring *keyring = generate_full();
    char *text, mac_key[64] = "";
    otok_json *json;
    ok(otok_keyring_jwks(keyring, &text, &err));
    ok(otok_json_parse(text, strlen(text), "jwks", &json, &err));
    const otok_json *keys = otok_json_member(json, "keys");
    ck_assert_uint_eq(otok_json_count(keys), 4);
    for (size_t i = 0; i < 4; i++) {
        const otok_json *jwk = otok_json_item(keys, i);
        otok_pkey *key;
        char kid[OTOK_KID_CHARS + 1];
        (void)otok_json_each(jwk, check_public, NULL);
        ok(otok_jwk_read_pkey(jwk, false, &key, &err));
        ok(otok_pkey_thumbprint(key, kid, &err));
        ck_assert_str_eq(otok_json_text(jwk, "kid"), kid);
        ck_assert_str_eq(otok_json_text(jwk, "kid"), keyring->signing[i].kid);
        ck_assert_str_eq(otok_json_text(jwk, "use"), "sig");
        ck_assert_str_eq(otok_json_text(jwk, "alg"), otok_algorithm_name(algorithms[i]));
        otok_pkey_free(key);
        otok_base64url(keyring->token[i].key, OTOK_KEY_SIZE, mac_key);
        ck_assert_ptr_null(strstr(text, mac_key));
    }
    otok_json_free(json);
    otok_string_free(text);
    otok_keyring_free(keyring);
}
END_TEST

/* ---- files ---- */

START_TEST(what_is_saved_is_loaded)
{
    otok_keyring *keyring = generate_full(), *again;
    ok(otok_keyring_save(keyring, path, NULL, &err));
    ck_assert_uint_eq(count_files(false), 1);
    ok(otok_keyring_load(path, NULL, &again, &err));
    assert_same(keyring, again);
    otok_keyring_free(again);

    /* Over the old one, and from a folder that is named differently. */
    keyring->token[0].created_us = 5;
    ck_assert_int_eq(chdir(folder), 0);
    ok(otok_keyring_save(keyring, "keyring.json", NULL, &err));
    ok(otok_keyring_load("./keyring.json", NULL, &again, &err));
    assert_same(keyring, again);
    ck_assert_int_eq(chdir("/"), 0);
    otok_keyring_free(again);
    otok_keyring_free(keyring);
}
END_TEST

/* K6 */
START_TEST(mac_keys_in_a_file_of_their_own_are_nowhere_else)
{
    otok_keyring *keyring = generate_full(), *again;
    ok(otok_keyring_save(keyring, path, token_path, &err));
    ok(otok_keyring_load(path, token_path, &again, &err));
    assert_same(keyring, again);
    otok_keyring_free(again);

    size_t len;
    char *signing = read_file(path, &len), *token = read_file(token_path, &len);
    ck_assert_ptr_null(strstr(signing, "\"oct\"")); /* in quotes: base64url of 3,500 characters may well hold "oct" */
    ck_assert_ptr_nonnull(strstr(signing, "\"sig\""));
    ck_assert_ptr_null(strstr(token, "\"sig\""));
    ck_assert_ptr_nonnull(strstr(token, "\"oct\""));
    ck_assert_ptr_null(strstr(token, "\"EC\""));
    free(signing);
    free(token);

    assert_fails(otok_keyring_load(path, NULL, &again, &err), OTOK_E_KEY, "no MAC key");
    assert_fails(otok_keyring_load(token_path, NULL, &again, &err), OTOK_E_KEY, "no signing key");
    assert_fails(otok_keyring_load(token_path, path, &again, &err), OTOK_E_KEY, "key 1");
    ck_assert_ptr_null(again);
    ok(otok_keyring_save(keyring, path, NULL, &err)); /* has both */
    assert_fails(otok_keyring_load(path, token_path, &again, &err), OTOK_E_KEY, "key 5");
    otok_keyring_free(keyring);
}
END_TEST

/* K4 */
START_TEST(file_is_private_whatever_the_umask)
{
    static const mode_t masks[] = {0, 022, 077, 0177, 0777};
    otok_keyring *keyring = generate(OTOK_ALG_EDDSA), *again;
    for (size_t i = 0; i < sizeof masks / sizeof masks[0]; i++) {
        struct stat st;
        mode_t old = umask(masks[i]);
        int rc = otok_keyring_save(keyring, path, token_path, &err);
        (void)umask(old);
        ok(rc);
        ck_assert_int_eq(stat(path, &st), 0);
        ck_assert_int_eq(st.st_mode & 07777, 0600);
        ck_assert_int_eq(stat(token_path, &st), 0);
        ck_assert_int_eq(st.st_mode & 07777, 0600);
        ok(otok_keyring_load(path, token_path, &again, &err));
        otok_keyring_free(again);
    }
    otok_keyring_free(keyring);
}
END_TEST

/* K4: each of the 512 modes; only those that leave group and others nothing will do. */
START_TEST(file_that_others_can_touch_is_refused)
{
    otok_keyring *keyring = generate(OTOK_ALG_EDDSA), *again;
    ok(otok_keyring_save(keyring, path, NULL, &err));
    for (mode_t mode = 0; mode < 01000; mode++) {
        char text[8];
        (void)snprintf(text, sizeof text, "%04o", (unsigned)mode);
        ck_assert_int_eq(chmod(path, mode), 0);
        if ((mode & 077) != 0) {
            if ((mode & 0400) == 0 && geteuid() != 0)
                continue; /* open() says it first */
            assert_fails(otok_keyring_load(path, NULL, &again, &err), OTOK_E_PERMISSION, text);
            ck_assert_ptr_nonnull(strstr(err.message, path));
        } else if ((mode & 0400) != 0) {
            ok(otok_keyring_load(path, NULL, &again, &err));
            otok_keyring_free(again);
        }
    }
    otok_keyring_free(keyring);
}
END_TEST

START_TEST(file_of_another_user_is_refused)
{
    otok_keyring *keyring = generate(OTOK_ALG_EDDSA), *again;
    ok(otok_keyring_save(keyring, path, NULL, &err));
    if (geteuid() == 0) {
        ck_assert_int_eq(chown(path, 12345, (gid_t)-1), 0);
        assert_fails(otok_keyring_load(path, NULL, &again, &err), OTOK_E_PERMISSION, "12345");
    }
    otok_keyring_free(keyring);
}
END_TEST

START_TEST(what_is_no_regular_file_is_refused)
{
    otok_keyring *keyring = generate(OTOK_ALG_EDDSA), *again;
    ok(otok_keyring_save(keyring, token_path, NULL, &err));
    ck_assert_int_eq(symlink("token-keys.json", path), 0);
    assert_fails(otok_keyring_load(path, NULL, &again, &err), OTOK_E_PERMISSION, "symbolic link");
    assert_fails(otok_keyring_open(path, OTOK_ALG_ES256, &again, &err), OTOK_E_PERMISSION, "symbolic link");
    ck_assert_int_eq(unlink(path), 0);
    ck_assert_int_eq(symlink("nowhere", path), 0);
    assert_fails(otok_keyring_open(path, OTOK_ALG_ES256, &again, &err), OTOK_E_PERMISSION, "symbolic link");
    ck_assert_int_eq(unlink(path), 0);
    ck_assert_int_eq(mkfifo(path, 0600), 0);
    assert_fails(otok_keyring_load(path, NULL, &again, &err), OTOK_E_PERMISSION, "no regular file");
    ck_assert_int_eq(unlink(path), 0);
    assert_fails(otok_keyring_load(folder, NULL, &again, &err), OTOK_E_PERMISSION, "no regular file");
    otok_keyring_free(keyring);
}
END_TEST

/* A link in the place of the file is replaced by the file; what it points to is not written. */
START_TEST(saving_does_not_follow_links)
{
    otok_keyring *keyring = generate(OTOK_ALG_EDDSA), *again;
    struct stat st;
    write_file(token_path, "old", 3);
    ck_assert_int_eq(symlink("token-keys.json", path), 0);
    ok(otok_keyring_save(keyring, path, NULL, &err));
    ok(otok_keyring_load(path, NULL, &again, &err));
    ck_assert_int_eq(stat(token_path, &st), 0);
    ck_assert_int_eq(st.st_size, 3);
    otok_keyring_free(again);
    otok_keyring_free(keyring);
}
END_TEST

START_TEST(paths_that_cannot_be_are_refused_by_name)
{
    otok_keyring *keyring = generate(OTOK_ALG_EDDSA), *again = (otok_keyring *)1;
    char missing[400];
    (void)snprintf(missing, sizeof missing, "%s/no/such/keyring.json", folder);
    assert_fails(otok_keyring_load(NULL, NULL, &again, &err), OTOK_E_INVALID, "path");
    ck_assert_ptr_null(again);
    assert_fails(otok_keyring_load("", NULL, &again, &err), OTOK_E_INVALID, "path");
    assert_fails(otok_keyring_load(path, "", &again, &err), OTOK_E_INVALID, "token_keys_path");
    assert_fails(otok_keyring_load(path, path, &again, &err), OTOK_E_INVALID, "token_keys_path");
    assert_fails(otok_keyring_load(path, NULL, &again, &err), OTOK_E_NOT_FOUND, path);
    ck_assert_int_eq(err.system_errno, ENOENT);
    assert_fails(otok_keyring_save(NULL, path, NULL, &err), OTOK_E_INVALID, "keyring");
    assert_fails(otok_keyring_save(keyring, NULL, NULL, &err), OTOK_E_INVALID, "path");
    assert_fails(otok_keyring_save(keyring, path, path, &err), OTOK_E_INVALID, "token_keys_path");
    assert_fails(otok_keyring_save(keyring, missing, NULL, &err), OTOK_E_NOT_FOUND, missing);
    assert_fails(otok_keyring_open(missing, OTOK_ALG_ES256, &again, &err), OTOK_E_NOT_FOUND, missing);
    ck_assert_ptr_null(again);
    ck_assert_uint_eq(count_files(false), 0);
    ck_assert_int_eq(mkdir(path, 0700), 0); /* cannot be replaced by a file: nothing is left behind */
    ck_assert_int_ne(otok_keyring_save(keyring, path, NULL, &err), OTOK_OK);
    ck_assert_uint_eq(count_files(false), 1);
    ck_assert_int_eq(rmdir(path), 0);
    otok_keyring_free(keyring);
}
END_TEST

START_TEST(write_cut_short_is_told_and_leaves_nothing)
{
    otok_keyring *keyring = generate(OTOK_ALG_EDDSA);
    int status;
    pid_t pid = fork();
    if (pid == 0) {
        struct rlimit limit = {100, 100}; /* the full disk that every user can have: a short write, then an error */
        (void)signal(SIGXFSZ, SIG_IGN);
        (void)setrlimit(RLIMIT_FSIZE, &limit);
        int rc = otok_keyring_save(keyring, path, NULL, &err);
        _exit(rc == OTOK_E_IO && err.system_errno == EFBIG ? 0 : 1);
    }
    ck_assert_int_eq(waitpid(pid, &status, 0), pid);
    ck_assert_int_eq(status, 0);
    ck_assert_uint_eq(count_files(false), 0);
    otok_keyring_free(keyring);
}
END_TEST

/* ---- damage (K4) ---- */

#define STATE          "\"otok_state\":\"active\",\"otok_created_us\":1"
#define ED_KID         "\"kid\":\"" VECTOR_ED_THUMBPRINT "\""
#define ED             VECTOR_ED_PUBLIC "," VECTOR_ED_PRIVATE
#define ED_KEY         "{" ED "," ED_KID ",\"alg\":\"EdDSA\",\"use\":\"sig\"," STATE "}"
#define OCT            "\"kty\":\"oct\",\"k\":\"AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8\",\"alg\":\"HS256\""
#define OCT_THUMBPRINT "WqjPPRvAP8oYbAqCwMErhzTg-Quaz-vLx_cef07yhOs"
#define OCT_KID        "\"kid\":\"" OCT_THUMBPRINT "\""
#define OCT_KEY        "{" OCT "," OCT_KID ",\"otok_id\":91," STATE "}"
#define OTHER_OCT      "\"kty\":\"oct\",\"k\":\"AQECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8\",\"alg\":\"HS256\""

static int parse(const char *text, otok_keyring **out)
{
    *out = otok_keyring_new(&err);
    ck_assert_ptr_nonnull(*out);
    return otok_keyring_parse(text, strlen(text), OTOK_JWKS_SIGNING | OTOK_JWKS_TOKEN, "the file", *out, &err);
}

START_TEST(keyring_written_by_hand_is_read)
{
    otok_keyring *keyring;
    ok(parse("{\"keys\":[" ED_KEY "," OCT_KEY "]}", &keyring));
    ck_assert_str_eq(keyring->signing[0].kid, VECTOR_ED_THUMBPRINT);
    ck_assert_int_eq(keyring->token[0].id, 91);
    ck_assert_int_eq(keyring->token[0].key[31], 31);
    otok_keyring_free(keyring);
    /* Other order, other white space, members that nobody knows. */
    ok(parse(" { \"x\" : [ ] , \"keys\" : [\n" OCT_KEY ",{\"x5c\":[\"AA==\"],\"key_ops\":[\"sign\"]," ED "," ED_KID
             ",\"alg\":\"EdDSA\"," STATE "} ] }\n",
             &keyring));
    otok_keyring_free(keyring);
}
END_TEST

START_TEST(damaged_key_is_refused_by_name_and_field)
{
    static const struct {
        const char *text, *place, *field;
    } rows[] = {
        {"{" ED "," ED_KID ",\"alg\":\"ES256\"," STATE "}", "key 1 (kid " VECTOR_ED_THUMBPRINT ")", "kty"},
        {"{" ED "," ED_KID "," STATE "}", "key 1", "alg"},
        {"{" ED "," ED_KID ",\"alg\":\"EdDSA\",\"use\":\"enc\"," STATE "}", "key 1", "use"},
        {"{" ED "," ED_KID ",\"alg\":\"EdDSA\",\"use\":1," STATE "}", "key 1", "use"},
        {"{" ED ",\"alg\":\"EdDSA\"," STATE "}", "key 1 (kid unreadable)", "kid"},
        {"{" ED ",\"kid\":\"mine\",\"alg\":\"EdDSA\"," STATE "}", "key 1 (kid unreadable)", "kid"},
        {"{" ED "," OCT_KID ",\"alg\":\"EdDSA\"," STATE "}", "key 1 (kid " OCT_THUMBPRINT ")", "kid"},
        {"{" ED "," ED_KID ",\"alg\":\"EdDSA\",\"otok_created_us\":1}", "key 1", "otok_state"},
        {"{" ED "," ED_KID ",\"alg\":\"EdDSA\",\"otok_state\":\"Active\",\"otok_created_us\":1}", "key 1",
         "otok_state"},
        {"{" ED "," ED_KID ",\"alg\":\"EdDSA\",\"otok_state\":\"active\"}", "key 1", "otok_created_us"},
        {"{" ED "," ED_KID ",\"alg\":\"EdDSA\",\"otok_state\":\"active\",\"otok_created_us\":-1}", "key 1",
         "otok_created_us"},
        {"{" ED "," ED_KID ",\"alg\":\"EdDSA\",\"otok_state\":\"active\",\"otok_created_us\":\"1\"}", "key 1",
         "otok_created_us"},
        {"{" VECTOR_ED_PUBLIC "," ED_KID ",\"alg\":\"EdDSA\"," STATE "}", "key 1", "d is missing"},
        {"{" VECTOR_ED_PUBLIC ",\"d\":\"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\"," ED_KID
         ",\"alg\":\"EdDSA\"," STATE "}",
         "key 1", "d"},
        {"{\"kid\":\"x\"," STATE "}", "key 1", "kty"},
        {"{\"kty\":\"DSA\",\"alg\":\"EdDSA\",\"kid\":\"x\"," STATE "}", "key 1", "kty"},
        {"7", "key 1", "kty"},
        {OCT_KEY "," OCT_KEY, "key 2", "another MAC key"},
        {ED_KEY "," ED_KEY, "key 2", "another signing key"},
        {"{" ED "," ED_KID ",\"alg\":\"EdDSA\",\"otok_state\":\"next\",\"otok_created_us\":1}," ED_KEY, "key 2", "kid"},
        {OCT_KEY ",{" OCT "," OCT_KID ",\"otok_id\":8,\"otok_state\":\"next\",\"otok_created_us\":1}", "key 2", "kid"},
        {OCT_KEY ",{" OTHER_OCT "," OCT_KID ",\"otok_id\":7,\"otok_state\":\"next\",\"otok_created_us\":1}", "key 2",
         "kid"},
        {"{" OCT "," OCT_KID ",\"otok_id\":7," STATE "}", "key 1", "otok_id is missing, or not 91"},
        {OCT_KEY ",{" OTHER_OCT "," OCT_KID ",\"otok_id\":8,\"otok_state\":\"next\",\"otok_created_us\":1}", "key 2",
         "kid"},
        {"{" OCT "," OCT_KID "," STATE "}", "key 1", "otok_id"},
        {"{" OCT "," OCT_KID ",\"otok_id\":0," STATE "}", "key 1", "otok_id"},
        {"{" OCT "," OCT_KID ",\"otok_id\":256," STATE "}", "key 1", "otok_id"},
        {"{" OCT "," OCT_KID ",\"otok_id\":1.5," STATE "}", "key 1", "otok_id"},
        {"{\"kty\":\"oct\",\"k\":\"AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHg\",\"alg\":\"HS256\"," OCT_KID
         ",\"otok_id\":1," STATE "}",
         "key 1", "k "},
        {"{\"kty\":\"oct\",\"k\":\"AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8g\",\"alg\":\"HS256\"," OCT_KID
         ",\"otok_id\":1," STATE "}",
         "key 1", "k "},
        {"{\"kty\":\"oct\",\"alg\":\"HS256\"," OCT_KID ",\"otok_id\":1," STATE "}", "key 1", "k is missing"},
        {"{\"kty\":\"oct\",\"k\":\"AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8\",\"alg\":\"HS512\"," OCT_KID
         ",\"otok_id\":1," STATE "}",
         "key 1", "alg"},
        {"", "the file", "no signing key"},
        {ED_KEY, "the file", "no MAC key"},
        {OCT_KEY, "the file", "no signing key"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        char text[4096];
        otok_keyring *keyring;
        (void)snprintf(text, sizeof text, "{\"keys\":[%s]}", rows[i].text);
        assert_fails(parse(text, &keyring), OTOK_E_KEY, rows[i].field);
        ck_assert_ptr_nonnull(strstr(err.message, rows[i].place));
        ck_assert_ptr_nonnull(strstr(err.message, "the file"));
        ck_assert_ptr_null(strstr(err.message, "nWGxne_9WmC6hEr0")); /* no key in a message */
        ck_assert_ptr_null(strstr(err.message, "AAECAwQFBgcICQoL"));
        otok_keyring_free(keyring);
    }
}
END_TEST

START_TEST(file_that_is_no_jwks_is_refused)
{
    static const char *const bad[] = {"",
                                      "[]",
                                      "{}",
                                      "{\"keys\":{}}",
                                      "{\"keys\":null}",
                                      "{\"Keys\":[]}",
                                      "keys",
                                      "{\"keys\":[]",
                                      "\xef\xbb\xbf{\"keys\":[]}"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        otok_keyring *keyring;
        assert_fails(parse(bad[i], &keyring), OTOK_E_FORMAT, "the file");
        otok_keyring_free(keyring);
    }
}
END_TEST

START_TEST(sizes_have_bounds)
{
    otok_keyring *keyring = generate(OTOK_ALG_EDDSA), *again;
    /* 64 keys of a sort are the most; 64 are taken. */
    while (keyring->ntoken < OTOK_MAX_KEYRING_KEYS) {
        otok_token_key *key = &keyring->token[keyring->ntoken];
        *key = keyring->token[0];
        ok(otok_random(key->key, sizeof key->key, &err));
        ok(otok_oct_thumbprint(key->key, key->kid, &err));
        key->id = otok_oct_id(key->kid);
        key->state = OTOK_KEY_RETIRED;
        if (id_is_free(keyring, key->id))
            keyring->ntoken++;
    }
    ok(otok_keyring_save(keyring, path, NULL, &err));
    ok(otok_keyring_load(path, NULL, &again, &err));
    assert_same(keyring, again);
    otok_keyring_free(again);

    otok_buf text;
    otok_buf_init(&text, NULL, 0);
    ok(otok_keyring_print(keyring, OTOK_JWKS_SIGNING | OTOK_JWKS_TOKEN, &text, &err));
    text.len -= 4; /* "\n]}\n" */
    otok_buf_add_text(&text, ",{" OCT "," OCT_KID ",\"otok_id\":0,\"otok_state\":\"next\",\"otok_created_us\":1}]}");
    write_file(path, (const char *)text.data, text.len);
    assert_fails(otok_keyring_load(path, NULL, &again, &err), OTOK_E_KEY, "64");
    otok_buf_free(&text);
    otok_keyring_free(keyring);

    /* A mebibyte is the most; a disk that never ends is not read to its end. */
    char *large = malloc((1 << 20) + 1);
    memset(large, ' ', (1 << 20) + 1);
    write_file(path, large, (1 << 20) + 1);
    assert_fails(otok_keyring_load(path, NULL, &again, &err), OTOK_E_FORMAT, "1048576");
    free(large);
}
END_TEST

START_TEST(large_keyring_is_read)
{
    otok_keyring *keyring = generate(OTOK_ALG_RS256), *again;
    otok_buf text;
    otok_buf_init(&text, NULL, 0);
    ok(otok_keyring_print(keyring, OTOK_JWKS_SIGNING | OTOK_JWKS_TOKEN, &text, &err));
    size_t len = 100000;
    char *padded = malloc(len);
    memset(padded, ' ', len); /* beyond what other JSON may have */
    memcpy(padded, text.data, text.len);
    write_file(path, padded, len);
    ok(otok_keyring_load(path, NULL, &again, &err));
    assert_same(keyring, again);
    free(padded);
    otok_buf_free(&text);
    otok_keyring_free(again);
    otok_keyring_free(keyring);
}
END_TEST

/* What a key is: its kid covers the numbers, and the id of a MAC key. */
static bool has_same_keys(const otok_keyring *a, const otok_keyring *b)
{
    bool same = a->nsigning == b->nsigning && a->ntoken == b->ntoken;
    for (size_t i = 0; same && i < a->nsigning; i++)
        same = strcmp(a->signing[i].kid, b->signing[i].kid) == 0;
    for (size_t i = 0; same && i < a->ntoken; i++)
        same = a->token[i].id == b->token[i].id && memcmp(a->token[i].key, b->token[i].key, OTOK_KEY_SIZE) == 0;
    return same;
}

START_TEST(keyring_with_any_byte_changed_is_refused_or_has_the_same_keys)
{
    static const unsigned char xors[] = {1, 2, 4, 8, 16, 32, 64, 128, 3, 255};
    otok_keyring *keyring = generate(algorithms[_i]), *again;
    otok_buf text;
    size_t taken = 0, refused = 0;
    otok_buf_init(&text, NULL, 0);
    ok(otok_keyring_print(keyring, OTOK_JWKS_SIGNING | OTOK_JWKS_TOKEN, &text, &err));
    for (size_t i = 0; i < text.len; i += _i < 2 ? 1 : 31) { /* RSA keys are slow to check */
        for (size_t j = 0; j < sizeof xors; j += _i < 2 ? 1 : 5) {
            text.data[i] ^= xors[j];
            again = otok_keyring_new(&err);
            int rc = otok_keyring_parse((const char *)text.data, text.len, OTOK_JWKS_SIGNING | OTOK_JWKS_TOKEN, "it",
                                        again, &err);
            if (rc == OTOK_OK)
                ck_assert_msg(has_same_keys(keyring, again), "byte %zu", i);
            else
                ck_assert(rc == OTOK_E_KEY || rc == OTOK_E_FORMAT);
            taken += rc == OTOK_OK;
            refused += rc != OTOK_OK;
            otok_keyring_free(again);
            text.data[i] ^= xors[j];
        }
        again = otok_keyring_new(&err); /* cut off there: whole only but for the line's end */
        int rc = otok_keyring_parse((const char *)text.data, i, OTOK_JWKS_SIGNING | OTOK_JWKS_TOKEN, "it", again, &err);
        ck_assert_int_eq(rc, i == text.len - 1 ? OTOK_OK : OTOK_E_FORMAT);
        otok_keyring_free(again);
    }
    ck_assert_uint_gt(refused, 3 * taken); /* digits of times, white space, the name "use" */
    otok_buf_free(&text);
    otok_keyring_free(keyring);
}
END_TEST

/* ---- making one, many at a time ---- */

START_TEST(keyring_is_made_where_there_is_none)
{
    otok_keyring *first, *second;
    struct stat st;
    ok(otok_keyring_open(path, OTOK_ALG_EDDSA, &first, &err));
    ok(otok_keyring_open(path, OTOK_ALG_RS256, &second, &err)); /* the algorithm is for making */
    assert_same(first, second);
    ck_assert_int_eq(stat(path, &st), 0);
    ck_assert_int_eq(st.st_mode & 07777, 0600);
    ck_assert_uint_eq(st.st_nlink, 1);
    ck_assert_uint_eq(count_files(false), 1);
    otok_keyring_free(first);
    otok_keyring_free(second);
    ck_assert_int_eq(truncate(path, 10), 0);
    assert_fails(otok_keyring_open(path, OTOK_ALG_ES256, &first, &err), OTOK_E_FORMAT,
                 path); /* never made anew over a damaged one */
}
END_TEST

enum { OPENERS = 4, OPEN_ROUNDS = 200 };

typedef struct race {
    char kid[OPENERS][OTOK_KID_CHARS + 1];
    uint8_t key[OPENERS][OTOK_KEY_SIZE];
} race;

static void open_keyring(void *shared, size_t i)
{
    race *r = shared;
    otok_keyring *keyring;
    int rc = otok_keyring_open(path, OTOK_ALG_ES256, &keyring, &err);
    if (rc != OTOK_OK)
        test_leave(err.message, rc);
    memcpy(r->kid[i], otok_keyring_signing(keyring)->kid, sizeof r->kid[i]);
    memcpy(r->key[i], otok_keyring_token(keyring)->key, sizeof r->key[i]);
    otok_keyring_free(keyring);
}

/* K4 */
START_TEST(processes_that_make_a_keyring_at_once_get_the_same)
{
    race *r = test_shared(sizeof *r);
    for (int round = 0; round < OPEN_ROUNDS; round++) {
        test_processes(OPENERS, open_keyring, r);
        for (int i = 1; i < OPENERS; i++) {
            ck_assert_str_eq(r->kid[i], r->kid[0]);
            ck_assert(memcmp(r->key[i], r->key[0], OTOK_KEY_SIZE) == 0);
        }
        ck_assert_uint_eq(count_files(true), 1);
    }
    test_unshare(r, sizeof *r);
}
END_TEST

/* Saves one after another, telling apart which by a time, until it is killed. */
static void save_for_ever(otok_keyring *keyring)
{
    for (int64_t i = 1;; i++) {
        keyring->signing[0].created_us = i;
        keyring->token[0].created_us = i;
        if (otok_keyring_save(keyring, path, NULL, NULL) != OTOK_OK)
            _exit(1);
    }
}

/* K4 */
START_TEST(killed_while_saving_leaves_one_whole_keyring)
{
    otok_keyring *keyring = generate(OTOK_ALG_EDDSA), *again;
    uint32_t seed = 12345;
    keyring->signing[0].created_us = keyring->token[0].created_us = 0;
    ok(otok_keyring_save(keyring, path, NULL, &err));
    for (int round = 0; round < 200; round++) {
        pid_t pid = fork();
        if (pid == 0)
            save_for_ever(keyring);
        seed = seed * 1103515245 + 12345;
        (void)usleep(seed >> 16 & 8191);
        ck_assert_int_eq(kill(pid, SIGKILL), 0);
        ck_assert_int_eq(waitpid(pid, NULL, 0), pid);
        ok(otok_keyring_load(path, NULL, &again, &err));
        ck_assert(has_same_keys(keyring, again));
        ck_assert_int_eq(again->signing[0].created_us, again->token[0].created_us);
        otok_keyring_free(again);
    }
    otok_keyring_free(keyring);
}
END_TEST

enum { SAVERS = 6, SAVE_ROUNDS = 50 };

static void save_and_load(void *arg, size_t i)
{
    const otok_keyring *keyring = arg;
    otok_keyring *again;
    for (int round = 0; round < SAVE_ROUNDS; round++) {
        if (i % 2 == 0 && otok_keyring_save(keyring, path, token_path, NULL) != OTOK_OK)
            abort();
        if (otok_keyring_load(path, token_path, &again, NULL) != OTOK_OK || !has_same_keys(keyring, again))
            abort();
        otok_keyring_free(again);
    }
}

START_TEST(threads_save_and_load_at_once)
{
    otok_keyring *keyring = generate(OTOK_ALG_EDDSA);
    ok(otok_keyring_save(keyring, path, token_path, &err));
    test_threads(SAVERS, save_and_load, keyring);
    ck_assert_uint_eq(count_files(false), 2);
    otok_keyring_free(keyring);
}
END_TEST

static void add_tests(TCase *tcase)
{
    tcase_add_checked_fixture(tcase, make_folder, remove_folder);
    tcase_add_test(tcase, new_keyring_has_one_active_key_of_each_sort);
    tcase_add_test(tcase, first_ids_of_mac_keys_differ);
    tcase_add_test(tcase, keyring_lives_as_long_as_its_last_reference);
    tcase_add_test(tcase, public_jwks_has_every_signing_key_and_nothing_private);
    tcase_add_test(tcase, what_is_saved_is_loaded);
    tcase_add_test(tcase, mac_keys_in_a_file_of_their_own_are_nowhere_else);
    tcase_add_test(tcase, file_is_private_whatever_the_umask);
    tcase_add_test(tcase, file_that_others_can_touch_is_refused);
    tcase_add_test(tcase, file_of_another_user_is_refused);
    tcase_add_test(tcase, what_is_no_regular_file_is_refused);
    tcase_add_test(tcase, saving_does_not_follow_links);
    tcase_add_test(tcase, paths_that_cannot_be_are_refused_by_name);
    tcase_add_test(tcase, write_cut_short_is_told_and_leaves_nothing);
    tcase_add_test(tcase, keyring_written_by_hand_is_read);
    tcase_add_test(tcase, damaged_key_is_refused_by_name_and_field);
    tcase_add_test(tcase, file_that_is_no_jwks_is_refused);
    tcase_add_test(tcase, sizes_have_bounds);
    tcase_add_test(tcase, large_keyring_is_read);
    tcase_add_loop_test(tcase, keyring_with_any_byte_changed_is_refused_or_has_the_same_keys, 0,
                        3); /* PS256: as RS256 */
    tcase_add_test(tcase, keyring_is_made_where_there_is_none);
    tcase_add_test(tcase, processes_that_make_a_keyring_at_once_get_the_same);
    tcase_add_test(tcase, killed_while_saving_leaves_one_whole_keyring);
    tcase_add_test(tcase, threads_save_and_load_at_once);
}

int main(void)
{
    return test_main("keyring", add_tests);
}
