/*
 * check_service_files.c - a service over files: the embedded default, several processes, fork.
 *
 * SPDX-License-Identifier: MIT
 */
/* link: -Wl,--wrap=fsync */
#include "support/ask.h"
#include "support/crew.h"

#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static otok_config config_of(const char *issuer)
{
    otok_config config;
    otok_config_init(&config, sizeof config);
    config.issuer = issuer;
    return config;
}

/* ------------------------------------------------------------------------------------------------ the embedded default */

static otok_service *open_directory(const char *directory)
{
    otok_error err;
    otok_service *service = NULL;
    otok_config config = config_of(TEST_ISSUER);
    config.directory = directory;
    int rc = otok_service_open(&config, NULL, NULL, &service, &err);
    ck_assert_msg(rc == OTOK_OK, "%s: %s", otok_error_name(rc), err.message);
    return service;
}

static void in_folder(const char *folder, const char *name, char out[4200])
{
    if (snprintf(out, 4200, "%s/%s", folder, name) >= 4200)
        ck_abort_msg("%s", folder);
}

static mode_t mode_of(const char *path)
{
    struct stat st;
    ck_assert_msg(stat(path, &st) == 0, "%s", path);
    return st.st_mode & 07777;
}

/* K4, S4 */
START_TEST(directory_is_made_with_store_and_keyring_and_found_again)
{
    char path[4200], name[4200];
    test_held held;
    test_fixture f = {.service = NULL};
    char *folder = test_new_folder();
    in_folder(folder, "new", path);
    f.service = open_directory(path);
    held = test_hold(&f, NULL, NULL);
    ck_assert_int_eq(mode_of(path), 0700);
    in_folder(path, "keyring.json", name);
    ck_assert_int_eq(mode_of(name), 0600);
    in_folder(path, "store", name);
    ck_assert_int_eq(mode_of(name), 0700);
    otok_service *second = open_directory(path); /* beside the first */
    otok_service_close(f.service);
    f.service = second;
    test_assert_code(OTOK_OK, test_refresh_code(&f, held.token, NULL));
    otok_service_close(f.service);
    f.service = open_directory(path); /* after both */
    test_assert_code(OTOK_OK, test_refresh_code(&f, held.token, NULL));
    otok_service_close(f.service);
    test_remove_folder(folder);
}
END_TEST

static struct {
    struct stat folder; /* to be looked for */
    int seen;
} synced;

int __real_fsync(int fd);
int __wrap_fsync(int fd);
int __wrap_fsync(int fd)
{
    struct stat st;
    synced.seen += fstat(fd, &st) == 0 && st.st_dev == synced.folder.st_dev && st.st_ino == synced.folder.st_ino;
    return __real_fsync(fd);
}

/* I6: a power failure must not take the new folder with everything in it: the one that it was made in is synced, too. */
START_TEST(folder_that_holds_a_new_directory_is_synced)
{
    char path[4200];
    char *folder = test_new_folder();
    in_folder(folder, _i == 0 ? "new" : "new//", path);
    ck_assert_int_eq(stat(folder, &synced.folder), 0);
    otok_service_close(open_directory(path));
    ck_assert_int_ge(synced.seen, 1);
    test_remove_folder(folder);
}
END_TEST

/* K4: a keyring that is gone is not replaced by a new one, which would log everyone out without a word. */
START_TEST(store_that_lost_its_keyring_is_not_given_a_new_one)
{
    char path[4200], keyring[4200], aside[4200];
    otok_error err;
    otok_service *service;
    otok_config config;
    char *folder = test_new_folder();
    in_folder(folder, "new", path);
    in_folder(folder, "new/keyring.json", keyring);
    in_folder(folder, "aside", aside);
    otok_service_close(open_directory(path));
    ck_assert_int_eq(rename(keyring, aside), 0);
    otok_config_init(&config, sizeof config);
    config.issuer = TEST_ISSUER;
    config.directory = path;
    test_assert_code(OTOK_E_KEY, otok_service_open(&config, NULL, NULL, &service, &err));
    ck_assert_ptr_nonnull(strstr(err.message, "keyring.json"));
    ck_assert_int_ne(access(keyring, F_OK), 0);
    ck_assert_int_eq(rename(aside, keyring), 0);
    otok_service_close(open_directory(path));
    test_remove_folder(folder);
}
END_TEST

/* K4: two spellings of one name would leave the file without its MAC keys, and log everyone out. */
START_TEST(keyring_is_not_saved_twice_to_one_file)
{
    char path[4200], same[4200];
    otok_error err;
    otok_keyring *keyring;
    char *folder = test_new_folder();
    in_folder(folder, "keys", path);
    in_folder(folder, "./keys", same);
    test_assert_code(OTOK_OK, otok_keyring_generate(0, &keyring, &err));
    test_assert_code(OTOK_E_INVALID, otok_keyring_save(keyring, path, same, &err));
    test_assert_code(OTOK_OK, otok_keyring_save(keyring, path, NULL, &err));
    test_assert_code(OTOK_E_INVALID, otok_keyring_save(keyring, path, same, &err));
    otok_keyring_free(keyring);
    test_assert_code(OTOK_OK, otok_keyring_load(path, NULL, &keyring, &err)); /* untouched */
    otok_keyring_free(keyring);
    test_remove_folder(folder);
}
END_TEST

enum { NODES = 4 };

typedef struct shared_folder {
    char path[4200];
    char tokens[NODES][OTOK_TOKEN_CHARS + 1];
} shared_folder;

static void open_at_once(void *arg, size_t i)
{
    shared_folder *shared = arg;
    otok_error err;
    otok_service *service = NULL;
    otok_tokens *tokens = NULL;
    otok_grant grant = test_grant(NULL, NULL, "offline_access");
    otok_config config = config_of(TEST_ISSUER);
    config.directory = shared->path;
    int rc = otok_service_open(&config, NULL, NULL, &service, &err);
    if (rc != OTOK_OK)
        test_leave(err.message, rc);
    rc = otok_issue(service, &grant, &tokens, &err);
    if (rc != OTOK_OK)
        test_leave(err.message, rc);
    memcpy(shared->tokens[i], tokens->offline_token, sizeof shared->tokens[i]);
    otok_tokens_free(tokens);
    otok_service_close(service);
}

/* S4: one makes it, and all get the same */
START_TEST(processes_that_open_a_new_directory_at_once_share_store_and_keyring)
{
    for (int round = 0; round < 25; round++) {
        char *folder = test_new_folder();
        test_fixture f = {.service = NULL};
        shared_folder *shared = test_shared(sizeof *shared);
        in_folder(folder, "new", shared->path);
        test_processes(NODES, open_at_once, shared);
        f.service = open_directory(shared->path);
        for (size_t i = 0; i < NODES; i++)
            test_assert_code(OTOK_OK, test_refresh_code(&f, shared->tokens[i], NULL));
        otok_service_close(f.service);
        test_unshare(shared, sizeof *shared);
        test_remove_folder(folder);
    }
}
END_TEST

/* ---------------------------------------------------------------------------------------------------------------- fork */

static test_fixture *inherited;

static void use_what_was_inherited(void *shared, size_t i)
{
    otok_error err;
    otok_tokens *tokens = NULL;
    otok_grant grant = test_grant(NULL, NULL, NULL);
    (void)i;
    int rc = otok_issue(inherited->service, &grant, &tokens, &err);
    if (rc != OTOK_E_STATE)
        test_leave("issue", rc);
    rc = test_refresh_code(inherited, shared, NULL);
    if (rc != OTOK_E_STATE)
        test_leave("refresh", rc);
    otok_service_close(inherited->service); /* to close it is allowed */
    otok_store_close(inherited->store);
}

/* S4 */
START_TEST(use_of_an_lmdb_service_after_fork_is_an_error_in_the_child_only)
{
    inherited = test_open(TEST_LMDB);
    test_held held = test_hold(inherited, NULL, NULL);
    char *token = test_shared(sizeof held.token);
    memcpy(token, held.token, sizeof held.token);
    for (int i = 0; i < 3; i++) {
        test_processes(2, use_what_was_inherited, token);
        test_rotate(inherited, &held, NULL);
    }
    test_unshare(token, sizeof held.token);
    test_close(inherited);
}
END_TEST

static void open_anew(void *shared, size_t i)
{
    otok_error err;
    test_fixture f = *inherited; /* its clock and its folder */
    (void)i;
    f.service = NULL;
    int rc = otok_store_open_lmdb(f.folder, NULL, &f.store, &err);
    if (rc != OTOK_OK)
        test_leave(err.message, rc);
    f.nevents = 0;
    test_reopen_service(&f);
    rc = test_refresh_code(&f, shared, NULL);
    if (rc != OTOK_OK)
        test_leave("refresh", rc);
    test_held own = test_hold(&f, NULL, NULL);
    rc = otok_revoke_session(f.service, own.session_id, &err);
    if (rc != OTOK_OK)
        test_leave(err.message, rc);
    otok_service_close(f.service);
    otok_store_close(f.store);
}

/* S4: "after fork a child opens its own", though the parent has it open */
START_TEST(child_opens_the_store_anew_while_the_parent_has_it_open)
{
    inherited = test_open(TEST_LMDB);
    test_held held = test_hold(inherited, NULL, NULL);
    char *token = test_shared(sizeof held.token);
    memcpy(token, held.token, sizeof held.token);
    for (int i = 0; i < 3; i++) {
        test_processes(NODES, open_anew, token);
        test_rotate(inherited, &held, NULL);
        memcpy(token, held.token, sizeof held.token);
    }
    otok_filter realm = test_filter_realm();
    ck_assert_uint_eq(test_count(inherited, &realm), 1);
    test_unshare(token, sizeof held.token);
    test_close(inherited);
}
END_TEST

/* S4: "a second open shares the first" */
START_TEST(second_open_of_a_folder_shares_the_first)
{
    otok_error err;
    otok_store *again = NULL;
    test_fixture *f = test_open(TEST_LMDB);
    test_held held = test_hold(f, NULL, NULL);
    test_assert_code(OTOK_OK, otok_store_open_lmdb(f->folder, NULL, &again, &err));
    otok_store_close(f->store);
    f->store = again;
    test_reopen_service(f);
    test_rotate(f, &held, NULL);
    test_restart(f);
    test_assert_code(OTOK_OK, test_refresh_code(f, held.token, NULL));
    test_close(f);
}
END_TEST

static void add_tests(TCase *tc)
{
    tcase_add_test(tc, directory_is_made_with_store_and_keyring_and_found_again);
    tcase_add_loop_test(tc, folder_that_holds_a_new_directory_is_synced, 0, 2);
    tcase_add_test(tc, store_that_lost_its_keyring_is_not_given_a_new_one);
    tcase_add_test(tc, keyring_is_not_saved_twice_to_one_file);
    tcase_add_test(tc, processes_that_open_a_new_directory_at_once_share_store_and_keyring);
    tcase_add_test(tc, use_of_an_lmdb_service_after_fork_is_an_error_in_the_child_only);
    tcase_add_test(tc, child_opens_the_store_anew_while_the_parent_has_it_open);
    tcase_add_test(tc, second_open_of_a_folder_shares_the_first);
}

int main(void)
{
    return test_main("service_files", add_tests);
}
