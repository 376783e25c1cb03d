/*
 * check_identity_directory.c - the identity server's users, clients and scopes: what its file may say, which addresses and scopes a
 * client may ask for, who knows a password, and how often one may guess.
 *
 * SPDX-License-Identifier: MIT
 */
#include "support/fixture.h"

#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "../examples/identity-server/server.h"

#define DEMO "examples/identity-server/demo.json"

static int64_t clock_us = TEST_START_US;

int64_t now_us(void)
{
    return clock_us;
}

/* ------------------------------------------------------------------------------------------------- the demo's own */

START_TEST(demo_has_the_users_that_its_readme_names)
{
    directory *d = directory_load(DEMO);
    const user *users;
    ck_assert_ptr_nonnull(d);
    size_t n = directory_users(d, &users);
    ck_assert_uint_ge(n, 4);
    for (size_t i = 0; i < n; i++) {
        char password[64];
        (void)snprintf(password, sizeof password, "%s-demo", users[i].id);
        ck_assert_msg(user_has_password(&users[i], password), "%s", users[i].id);
        ck_assert(!user_has_password(&users[i], "alice-demo") || strcmp(users[i].id, "alice") == 0);
    }
    ck_assert(directory_user(d, "alice")->may_be_offline && !directory_user(d, "alice")->is_administrator);
    ck_assert(!directory_user(d, "carol")->may_be_offline);
    ck_assert(directory_user(d, "root")->is_administrator);
    directory_free(d);
}
END_TEST

START_TEST(who_is_not_there_is_null)
{
    directory *d = directory_load(DEMO);
    ck_assert_ptr_nonnull(d);
    ck_assert_ptr_null(directory_user(d, "nobody"));
    ck_assert_ptr_null(directory_user(d, "Alice"));
    ck_assert_ptr_null(directory_user(d, ""));
    ck_assert_ptr_null(directory_user(d, NULL));
    ck_assert_ptr_null(directory_client(d, NULL));
    ck_assert_ptr_null(directory_client(d, "browser"));
    ck_assert_ptr_null(directory_scope(d, NULL));
    directory_free(d);
}
END_TEST

START_TEST(password_of_nobody_and_no_password_are_never_right)
{
    directory *d = directory_load(DEMO);
    ck_assert_ptr_nonnull(d);
    const user *alice = directory_user(d, "alice");
    char endless[4096];
    memset(endless, 'a', sizeof endless - 1);
    endless[sizeof endless - 1] = '\0';
    ck_assert(!user_has_password(NULL, "alice-demo"));
    ck_assert(!user_has_password(NULL, ""));
    ck_assert(!user_has_password(NULL, NULL));
    ck_assert(!user_has_password(alice, NULL));
    ck_assert(!user_has_password(alice, ""));
    ck_assert(!user_has_password(alice, "alice-demo "));
    ck_assert(!user_has_password(alice, endless));
    directory_free(d);
}
END_TEST

START_TEST(secret_is_that_of_the_client_alone)
{
    directory *d = directory_load(DEMO);
    ck_assert_ptr_nonnull(d);
    const client *album = directory_client(d, "photo-album"), *notes = directory_client(d, "pocket-notes");
    ck_assert(client_has_secret(album, "photo-album-demo-secret"));
    ck_assert(client_has_secret(directory_client(d, "nightly-backup"), "nightly-backup-demo-secret"));
    ck_assert(client_has_secret(directory_client(d, "files-api"), "files-api-demo-secret"));
    ck_assert(!client_has_secret(album, "nightly-backup-demo-secret"));
    ck_assert(!client_has_secret(album, NULL));
    ck_assert(!client_has_secret(notes, ""));
    ck_assert(!client_has_secret(notes, NULL));
    ck_assert(!client_has_secret(NULL, "photo-album-demo-secret"));
    directory_free(d);
}
END_TEST

/* ------------------------------------------------------------------------------------------------- addresses and scopes */

static const char *const native_uris[] = {"http://127.0.0.1/callback", "http://[::1]/callback",
                                          "org.example.notes:/callback", NULL};
static const char *const web_uris[] = {"http://127.0.0.1/callback", "https://photos.example/callback?a=b", NULL};

/* RFC 8252 section 7.3, RFC 9700 section 2.1: as it stands, but for the port of this very machine. */
START_TEST(redirect_is_compared_as_it_stands_but_for_a_native_port)
{
    static const struct {
        const char *uri;
        bool native, web;
    } rows[] = {
        {"http://127.0.0.1/callback", true, true},
        {"http://127.0.0.1:1/callback", true, false},
        {"http://127.0.0.1:65535/callback", true, false},
        {"http://[::1]/callback", true, false},
        {"http://[::1]:8080/callback", true, false},
        {"org.example.notes:/callback", true, false},
        {"https://photos.example/callback?a=b", false, true},
        {"https://photos.example/callback", false, false},
        {"https://photos.example/callback?a=b&c=d", false, false},
        {"https://photos.example:443/callback?a=b", false, false},
        {"HTTPS://photos.example/callback?a=b", false, false},
        {"http://127.0.0.1:0/callback", false, false},
        {"http://127.0.0.1:080/callback", false, false},
        {"http://127.0.0.1:65536/callback", false, false},
        {"http://127.0.0.1:4294967297/callback", false, false},
        {"http://127.0.0.1:99999999999999999999/callback", false, false},
        {"http://127.0.0.1:/callback", false, false},
        {"http://127.0.0.1:-1/callback", false, false},
        {"http://127.0.0.1: 80/callback", false, false},
        {"http://127.0.0.1:80", false, false},
        {"http://127.0.0.1:80/callback/", false, false},
        {"http://127.0.0.1:80/callback?x", false, false},
        {"http://127.0.0.1:80/callback#x", false, false},
        {"http://127.0.0.1:80/Callback", false, false},
        {"http://127.0.0.1:80@evil.example/callback", false, false},
        {"http://127.0.0.1@evil.example/callback", false, false},
        {"http://127.0.0.1.evil.example/callback", false, false},
        {"http://127.0.0.2:80/callback", false, false},
        {"http://localhost:80/callback", false, false},
        {"https://127.0.0.1:80/callback", false, false},
        {"http://[::1]evil.example/callback", false, false},
        {"org.example.notes:80/callback", false, false},
        {"", false, false},
        {NULL, false, false},
    };
    const client native = {.is_native = true, .redirect_uris = native_uris}, web = {.redirect_uris = web_uris};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        ck_assert_msg(client_has_redirect(&native, rows[i].uri) == rows[i].native, "native: %s", rows[i].uri);
        ck_assert_msg(client_has_redirect(&web, rows[i].uri) == rows[i].web, "web: %s", rows[i].uri);
    }
}
END_TEST

START_TEST(word_is_a_whole_word)
{
    ck_assert(has_word("openid", "openid"));
    ck_assert(has_word("profile openid", "openid"));
    ck_assert(has_word("  openid  profile ", "openid"));
    ck_assert(!has_word("openid2", "openid"));
    ck_assert(!has_word("myopenid", "openid"));
    ck_assert(!has_word("open id", "openid"));
    ck_assert(!has_word("openid profile", "openid profile"));
    ck_assert(!has_word("", "openid"));
    ck_assert(!has_word(NULL, "openid"));
    ck_assert(!has_word("openid", ""));
    ck_assert(!has_word("openid", NULL));
}
END_TEST

START_TEST(client_gets_of_what_is_asked_what_it_may_have_once)
{
    static const struct {
        const char *asked, *got;
    } rows[] = {
        {"openid files.read", "openid files.read"},
        {"files.read files.read openid openid", "openid files.read"},
        {"openid notes.write admin", "openid"},
        {"OPENID", NULL},
        {"", NULL},
        {NULL, NULL},
    };
    directory *d = directory_load(DEMO);
    ck_assert_ptr_nonnull(d);
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        text got = {0};
        client_scopes(directory_client(d, "photo-album"), rows[i].asked, &got);
        ck_assert(!got.failed);
        ck_assert_pstr_eq(got.data, rows[i].got);
        text_free(&got);
    }
    directory_free(d);
}
END_TEST

/* ------------------------------------------------------------------------------------------------- bad files */

#define SCOPES   "\"scopes\":[{\"name\":\"openid\",\"permission\":\"Know you\"}]"
#define PASSWORD "scrypt$16384$8$1$AAAAAAAAAAAAAAAAAAAAAA$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"
#define USER(id, password)                                                                                             \
    "{\"id\":\"" id "\",\"name\":\"A\",\"email\":\"a@b\",\"password\":\"" password                                     \
    "\",\"offline_access\":true,\"administrator\":false}"
#define WITH_USERS(users)   "{" SCOPES ",\"users\":[" users "],\"clients\":[]}"
#define WITH_CLIENT(client) "{" SCOPES ",\"users\":[],\"clients\":[{\"id\":\"c\",\"name\":\"C\"" client "}]}"

/* Loads the text as a file; what was said on stderr goes to `said`. */
static directory *load(const char *json, char said[512])
{
    char *folder = test_new_folder(), path[4200], errors[4200];
    (void)snprintf(path, sizeof path, "%s/directory.json", folder);
    (void)snprintf(errors, sizeof errors, "%s/errors", folder);
    FILE *in = fopen(path, "w"), *err = fopen(errors, "w+");
    int kept = dup(STDERR_FILENO);
    ck_assert(in != NULL && err != NULL && kept >= 0);
    ck_assert(fputs(json, in) >= 0 && fclose(in) == 0 && fflush(stderr) == 0);
    ck_assert_int_ge(dup2(fileno(err), STDERR_FILENO), 0);
    directory *d = directory_load(path);
    ck_assert_int_eq(fflush(stderr), 0);
    ck_assert_int_ge(dup2(kept, STDERR_FILENO), 0);
    rewind(err);
    said[fread(said, 1, 511, err)] = '\0';
    ck_assert(fclose(err) == 0 && close(kept) == 0);
    test_remove_folder(folder);
    return d;
}

START_TEST(smallest_file_is_good)
{
    static const char *const files[] = {
        "{\"scopes\":[],\"users\":[],\"clients\":[]}",
        WITH_USERS(USER("alice", PASSWORD)),
        WITH_USERS(USER("alice", PASSWORD) "," USER("bob", PASSWORD)) "\n",
        WITH_CLIENT(""),
        WITH_CLIENT(",\"native\":true,\"redirect_uris\":[\"org.example.c:/\"]"),
    };
    for (size_t i = 0; i < sizeof files / sizeof files[0]; i++) {
        char said[512];
        directory *d = load(files[i], said);
        ck_assert_msg(d != NULL, "%s: %s", files[i], said);
        ck_assert_str_eq(said, "");
        directory_free(d);
    }
}
END_TEST

START_TEST(mistake_in_a_file_is_named_with_its_place)
{
    static const struct {
        const char *json, *said;
    } rows[] = {
        {"", "not JSON, at line 1"},
        {"{\n\n,}", "not JSON, at line 3"},
        {"{} {}", "not JSON"},
        {"[]", "not an object"},
        {"{" SCOPES ",\"users\":[]}", "clients is missing"},
        {"{" SCOPES ",\"users\":{},\"clients\":[]}", "users is missing, or not a list"},
        {"{" SCOPES ",\"users\":[],\"clients\":[],\"more\":1}", "more is not a known member"},
        {"{" SCOPES ",\"users\":[],\"users\":[],\"clients\":[]}", "users is there twice"},
        {"{\"scopes\":[{\"name\":\"a b\",\"permission\":\"x\"}],\"users\":[],\"clients\":[]}", "scopes[0]: name"},
        {"{\"scopes\":[{\"name\":\"a\"}],\"users\":[],\"clients\":[]}", "scopes[0]: permission is missing"},
        {WITH_USERS("3"), "users[0]: not an object"},
        {WITH_USERS(USER("a", PASSWORD) "," USER("a", PASSWORD)), "users[1]: a is there twice"},
        {WITH_USERS(USER("", PASSWORD)), "users[0]: id"},
        {WITH_USERS(USER("a\\u0007", PASSWORD)), "users[0]: id"},
        {WITH_USERS(USER("service:c", PASSWORD)), "users[0]: id"},
        {WITH_USERS(USER("device:192.0.2.1", PASSWORD)), "users[0]: id"},
        {WITH_USERS(USER("a", "alice-demo")), "users[0]: password"},
        {WITH_USERS(USER("a", "scrypt$16383$8$1$AAAA$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA")),
         "users[0]: password"},
        {WITH_USERS(USER("a", "scrypt$1048576$16$1$AAAA$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA")),
         "users[0]: password"},
        {WITH_USERS(USER("a", "scrypt$16384$8$1$AAAA$AAAA")), "users[0]: password"},
        {WITH_USERS(USER("a", PASSWORD "$")), "users[0]: password"},
        {WITH_USERS("{\"id\":\"a\",\"id\":\"b\"}"), "users[0]: id is there twice"},
        {WITH_CLIENT(",\"naitve\":true"), "clients[0]: naitve is not a known member"},
        {WITH_CLIENT(",\"native\":1"), "clients[0]: native is not true or false"},
        {WITH_CLIENT(",\"id\":\"d\""), "clients[0]: id is there twice"},
        {WITH_CLIENT(",\"secret_sha256\":\"secret\""), "clients[0]: secret_sha256"},
        {WITH_CLIENT(",\"scopes\":\"openid\""), "clients[0]: scopes is not a list"},
        {WITH_CLIENT(",\"scopes\":[\"openid\",7]"), "clients[0]: scopes[1] is not a text"},
        {WITH_CLIENT(",\"scopes\":[\"openid\",\"more\"]"), "clients[0]: scopes[1] is not among the scopes"},
        {WITH_CLIENT(",\"grant_types\":[\"implicit\"]"), "clients[0]: grant_types[0]"},
        {WITH_CLIENT(",\"grant_types\":[\"authorization_code\"]"),
         "clients[0]: authorization_code needs redirect_uris"},
        {WITH_CLIENT(",\"grant_types\":[\"client_credentials\"]"), "clients[0]: this needs a secret_sha256"},
        {WITH_CLIENT(",\"resource_server\":true"), "clients[0]: this needs a secret_sha256"},
        {WITH_CLIENT(",\"redirect_uris\":[\"/callback\"]"), "clients[0]: redirect_uris[0]"},
        {WITH_CLIENT(",\"redirect_uris\":[\"https://a/#b\"]"), "clients[0]: redirect_uris[0]"},
        {WITH_CLIENT(",\"redirect_uris\":[\"https://a/ b\"]"), "clients[0]: redirect_uris[0]"},
        {WITH_CLIENT(",\"redirect_uris\":[\"org.example.c:/\"]"), "clients[0]: redirect_uris[0]"},
        {WITH_CLIENT(",\"native\":true,\"redirect_uris\":[\"javascript:/\"]"), "clients[0]: redirect_uris[0]"},
        {WITH_CLIENT(",\"home\":\"javascript:alert(1)\""), "clients[0]: home"},
        {WITH_CLIENT(",\"backchannel_logout_uri\":\"ftp://a/\""), "clients[0]: backchannel_logout_uri"},
        {"{" SCOPES ",\"users\":[],\"clients\":[{\"id\":\"browser\",\"name\":\"B\"}]}", "clients[0]: id"},
        {"{" SCOPES ",\"users\":[],\"clients\":[{\"id\":\"device:b\",\"name\":\"B\"}]}", "clients[0]: id"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        char said[512];
        ck_assert_msg(load(rows[i].json, said) == NULL, "accepted: %s", rows[i].json);
        ck_assert_msg(strstr(said, rows[i].said) != NULL, "%s: said %s", rows[i].json, said);
    }
}
END_TEST

/* ------------------------------------------------------------------------------------------------- guesses */

static bool is_open(const char *what, const char *who, unsigned limit)
{
    guesser *g = throttle_enter(what, who, limit);
    if (g != NULL)
        throttle_leave(g, GUESS_PASSED);
    return g != NULL;
}

static void fail_at(const char *what, const char *who, unsigned times)
{
    for (unsigned i = 0; i < times; i++) {
        guesser *g = throttle_enter(what, who, times);
        ck_assert_ptr_nonnull(g);
        throttle_leave(g, GUESS_FAILED);
    }
}

START_TEST(name_is_closed_after_its_failures_and_open_after_five_minutes)
{
    for (unsigned i = 1; i <= 5; i++) {
        ck_assert(is_open("login", "dora", 5));
        throttle_leave(throttle_enter("login", "dora", 5), GUESS_FAILED);
    }
    ck_assert(!is_open("login", "dora", 5));
    ck_assert(is_open("login", "dorb", 5));
    ck_assert(is_open("code", "dora", 5));
    clock_us += INT64_C(300) * 1000000;
    ck_assert(!is_open("login", "dora", 5));
    clock_us += 1;
    ck_assert(is_open("login", "dora", 5));
}
END_TEST

START_TEST(success_forgets_failures)
{
    fail_at("login", "emil", 5);
    throttle_leave(throttle_enter("login", "emil", 6), GUESS_FORGIVES);
    ck_assert(is_open("login", "emil", 1));
}
END_TEST

static unsigned looked_at;

static void *guess(void *arg)
{
    guesser *g = throttle_enter("login", "gerda", 5);
    if (g == NULL)
        return arg;
    __atomic_add_fetch(&looked_at, 1, __ATOMIC_SEQ_CST);
    (void)usleep(20000); /* a password takes its time */
    throttle_leave(g, GUESS_FAILED);
    return arg;
}

/* All come before the first has failed. */
START_TEST(who_guesses_at_once_guesses_no_more_often)
{
    pthread_t threads[40];
    for (size_t i = 0; i < sizeof threads / sizeof threads[0]; i++)
        ck_assert_int_eq(pthread_create(&threads[i], NULL, guess, NULL), 0);
    for (size_t i = 0; i < sizeof threads / sizeof threads[0]; i++)
        ck_assert_int_eq(pthread_join(threads[i], NULL), 0);
    ck_assert_uint_eq(looked_at, 5);
    ck_assert(!is_open("login", "gerda", 5));
}
END_TEST

START_TEST(one_network_is_one_guesser)
{
    fail_at("login", "2001:db8:1:2::1", 1);
    ck_assert(!is_open("login", "2001:db8:1:2:ffff::2", 1));
    ck_assert(is_open("login", "2001:db8:1:3::1", 1));
    fail_at("login", "::ffff:192.0.2.1", 1);
    ck_assert(is_open("login", "::ffff:192.0.2.2", 1));
    ck_assert(is_open("login", "192.0.2.1", 1));
}
END_TEST

/* Names that are made up push out each other, not one that has failed more often. */
START_TEST(flood_of_names_opens_no_closed_one)
{
    fail_at("login", "frida", 5);
    for (unsigned i = 0; i < 3000; i++) {
        char name[32];
        (void)snprintf(name, sizeof name, "made up %u", i);
        fail_at("login", name, 1);
        clock_us++;
    }
    ck_assert(!is_open("login", "frida", 5));
    ck_assert(!is_open("login", "made up 2999", 1));
}
END_TEST

static void add_tests(TCase *tcase)
{
    tcase_add_test(tcase, demo_has_the_users_that_its_readme_names);
    tcase_add_test(tcase, who_is_not_there_is_null);
    tcase_add_test(tcase, password_of_nobody_and_no_password_are_never_right);
    tcase_add_test(tcase, secret_is_that_of_the_client_alone);
    tcase_add_test(tcase, redirect_is_compared_as_it_stands_but_for_a_native_port);
    tcase_add_test(tcase, word_is_a_whole_word);
    tcase_add_test(tcase, client_gets_of_what_is_asked_what_it_may_have_once);
    tcase_add_test(tcase, smallest_file_is_good);
    tcase_add_test(tcase, mistake_in_a_file_is_named_with_its_place);
    tcase_add_test(tcase, name_is_closed_after_its_failures_and_open_after_five_minutes);
    tcase_add_test(tcase, success_forgets_failures);
    tcase_add_test(tcase, who_guesses_at_once_guesses_no_more_often);
    tcase_add_test(tcase, one_network_is_one_guesser);
    tcase_add_test(tcase, flood_of_names_opens_no_closed_one);
}

int main(void)
{
    return test_main("identity server's directory", add_tests);
}
