/*
 * check_identity_seal.c - the identity server's sealed texts: they come back whole, in time and for their purpose, or not at all; and
 * its key, which is nobody else's.
 *
 * SPDX-License-Identifier: MIT
 */
#include "support/fixture.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../examples/identity-server/server.h"

enum { SERVERS = 8, RACES = 20, ROOM = 200 };

int64_t now_us(void)
{
    return TEST_START_US;
}

static char *folder, key_path[4096];

static void make_folder(void)
{
    folder = test_new_folder();
    (void)snprintf(key_path, sizeof key_path, "%s/seal.key", folder);
}

static void remove_folder(void)
{
    unlink(key_path);
    ck_assert_int_eq(rmdir(folder), 0); /* nothing else is left there */
    free(folder);
}

static bool comes_back(const seal *s, const char *purpose, const char *sealed, const char *expected)
{
    char *plain = unseal_text(s, purpose, sealed, TEST_START_US);
    bool is_same = plain != NULL && strcmp(plain, expected) == 0;
    free(plain);
    return is_same;
}

START_TEST(text_comes_back_for_its_purpose_until_its_end)
{
    static const char *const texts[] = {"", "a", "ab", "abc", "{\"a\":\"\xc3\xa9\"}"};
    seal *s = seal_open(key_path);
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        char *sealed = seal_text(s, "code", texts[i], TEST_START_US + 1),
             *late = seal_text(s, "code", texts[i], TEST_START_US);
        ck_assert(comes_back(s, "code", sealed, texts[i]));
        ck_assert(!comes_back(s, "cookie", sealed, texts[i]));
        ck_assert(!comes_back(s, "code", late, texts[i]));
        ck_assert_uint_eq(strspn(sealed, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"),
                          strlen(sealed));
        free(sealed);
        free(late);
    }
    seal_free(s);
}
END_TEST

START_TEST(one_text_is_never_sealed_alike_twice)
{
    seal *s = seal_open(key_path);
    char *a = seal_text(s, "code", "x", OTOK_UNLIMITED), *b = seal_text(s, "code", "x", OTOK_UNLIMITED);
    ck_assert_str_ne(a, b);
    free(a);
    free(b);
    seal_free(s);
}
END_TEST

START_TEST(every_character_that_is_altered_or_missing_is_noticed)
{
    seal *s = seal_open(key_path);
    char *sealed = seal_text(s, "code", "alice", OTOK_UNLIMITED);
    size_t len = strlen(sealed);
    for (size_t i = 0; i < len; i++) {
        char kept = sealed[i];
        static const char others[] = {'A', 'B', '=', '+', ' ', '\n', '\x80', '\0'};
        for (size_t j = 0; j < sizeof others; j++) {
            sealed[i] = others[j];
            ck_assert_msg(others[j] == kept || !comes_back(s, "code", sealed, "alice"), "%zu %zu", i, j);
        }
        sealed[i] = kept;
    }
    ck_assert(comes_back(s, "code", sealed, "alice"));
    ck_assert_ptr_null(unseal_text(s, "code", NULL, TEST_START_US));
    free(sealed);
    seal_free(s);
}
END_TEST

START_TEST(text_under_another_key_is_none_of_ours)
{
    seal *s = seal_open(key_path);
    char *sealed = seal_text(s, "code", "alice", OTOK_UNLIMITED);
    seal_free(s);
    ck_assert_int_eq(unlink(key_path), 0);
    s = seal_open(key_path);
    ck_assert(!comes_back(s, "code", sealed, "alice"));
    free(sealed);
    seal_free(s);
}
END_TEST

START_TEST(text_that_is_too_long_is_not_sealed)
{
    seal *s = seal_open(key_path);
    char *longest = malloc(40001);
    memset(longest, 'x', 40000);
    longest[40000] = '\0';
    ck_assert_ptr_null(seal_text(s, "code", longest, OTOK_UNLIMITED));
    longest[32768] = '\0';
    char *sealed = seal_text(s, "code", longest, OTOK_UNLIMITED);
    ck_assert(comes_back(s, "code", sealed, longest));
    free(sealed);
    free(longest);
    seal_free(s);
}
END_TEST

START_TEST(key_stays_and_is_ours_alone)
{
    struct stat st;
    seal *s = seal_open(key_path);
    char *sealed = seal_text(s, "code", "alice", OTOK_UNLIMITED);
    seal_free(s);
    ck_assert_int_eq(stat(key_path, &st), 0);
    ck_assert_int_eq(st.st_mode & 07777, 0600);
    s = seal_open(key_path);
    ck_assert(comes_back(s, "code", sealed, "alice"));
    free(sealed);
    seal_free(s);
}
END_TEST

START_TEST(key_that_others_can_read_or_that_is_damaged_is_refused)
{
    seal_free(seal_open(key_path));
    ck_assert_int_eq(chmod(key_path, 0640), 0);
    ck_assert_ptr_null(seal_open(key_path));
    ck_assert_int_eq(chmod(key_path, 0600), 0);
    ck_assert_int_eq(truncate(key_path, 31), 0);
    ck_assert_ptr_null(seal_open(key_path));
    ck_assert_int_eq(unlink(key_path), 0);
    ck_assert_int_eq(symlink("/dev/zero", key_path), 0);
    ck_assert_ptr_null(seal_open(key_path));
    ck_assert_ptr_null(seal_open("/nowhere/at/all"));
}
END_TEST

/* What a server does that starts while others do: it tells whether it can read what the first one sealed. */
static void run_server(int gate, int out)
{
    char byte;
    char told[ROOM] = "";
    ck_assert_int_eq(read(gate, &byte, 1), 0); /* until it is closed */
    seal *s = seal_open(key_path);
    char *sealed = s != NULL ? seal_text(s, "code", "alice", OTOK_UNLIMITED) : NULL;
    if (sealed != NULL)
        (void)snprintf(told, sizeof told, "%s", sealed);
    bool is_told = write(out, told, sizeof told) == (ssize_t)sizeof told; /* below PIPE_BUF: in one piece */
    free(sealed);
    seal_free(s);
    _exit(is_told ? 0 : 1);
}

START_TEST(servers_that_start_at_once_have_one_key)
{
    int gate[2], out[2];
    char told[ROOM];
    ck_assert(pipe(gate) == 0 && pipe(out) == 0);
    for (int i = 0; i < SERVERS; i++) {
        pid_t pid = fork();
        if (pid == 0) {
            close(gate[1]);
            run_server(gate[0], out[1]);
        }
        ck_assert_int_gt(pid, 0);
    }
    close(gate[1]);
    for (int i = 0; i < SERVERS; i++)
        ck_assert_int_gt(wait(NULL), 0);
    seal *s = seal_open(key_path);
    for (int i = 0; i < SERVERS; i++) {
        ck_assert_int_eq(read(out[0], told, sizeof told), (ssize_t)sizeof told);
        ck_assert(comes_back(s, "code", told, "alice"));
    }
    seal_free(s);
    close(gate[0]);
    close(out[0]);
    close(out[1]);
}
END_TEST

START_TEST(names_are_random_and_hashes_are_those_of_sha_256)
{
    char *a = random_name(), *b = random_name(), *hash = sha256_name("abc"); /* FIPS 180-4, of "abc" */
    ck_assert_uint_eq(strlen(a), 22);
    ck_assert_str_ne(a, b);
    ck_assert_str_eq(hash, "ungWv48Bz-pBQUDeXa4iI7ADYaOWF3qctBD_YfIAFa0");
    free(a);
    free(b);
    free(hash);
}
END_TEST

START_TEST(texts_are_the_same_only_whole_and_nothing_is_like_nothing)
{
    ck_assert(same_text("", "") && same_text("abc", "abc"));
    ck_assert(!same_text("abc", "abd") && !same_text("abc", "ab") && !same_text("", "a"));
    ck_assert(!same_text(NULL, NULL) && !same_text("a", NULL) && !same_text(NULL, "a"));
}
END_TEST

static void add_tests(TCase *tcase)
{
    tcase_add_checked_fixture(tcase, make_folder, remove_folder);
    tcase_add_test(tcase, text_comes_back_for_its_purpose_until_its_end);
    tcase_add_test(tcase, one_text_is_never_sealed_alike_twice);
    tcase_add_test(tcase, every_character_that_is_altered_or_missing_is_noticed);
    tcase_add_test(tcase, text_under_another_key_is_none_of_ours);
    tcase_add_test(tcase, text_that_is_too_long_is_not_sealed);
    tcase_add_test(tcase, key_stays_and_is_ours_alone);
    tcase_add_test(tcase, key_that_others_can_read_or_that_is_damaged_is_refused);
    tcase_add_loop_test(tcase, servers_that_start_at_once_have_one_key, 0, RACES);
    tcase_add_test(tcase, names_are_random_and_hashes_are_those_of_sha_256);
    tcase_add_test(tcase, texts_are_the_same_only_whole_and_nothing_is_like_nothing);
}

int main(void)
{
    return test_main("identity_seal", add_tests);
}
