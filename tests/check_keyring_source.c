/*
 * check_keyring_source.c - where a service's keyring comes from, when the keys are the same and the file is not (K3).
 *
 * SPDX-License-Identifier: MIT
 */
#include <stdio.h>

#include "support/story.h"

static void path_in(char out[4200], const char *folder)
{
    (void)snprintf(out, 4200, "%s/keyring.json", folder);
}

static otok_keyring *load(const char *path)
{
    otok_keyring *keyring = NULL;
    test_assert_code(OTOK_OK, otok_keyring_load(path, NULL, &keyring, NULL));
    return keyring;
}

/* The keys of a keyring that came of no file, saved and loaded, know their file from then on. */
START_TEST(a_keyring_that_was_saved_and_loaded_is_reloaded)
{
    char path[4200], *folder = test_new_folder();
    otok_key_change change;
    test_fixture *f = test_open(TEST_MEMORY);
    path_in(path, folder);
    test_assert_code(OTOK_E_UNSUPPORTED, otok_service_reload_keyring(f->service, NULL));
    test_assert_code(OTOK_OK, otok_keyring_save(f->keyring, path, NULL, NULL));
    otok_keyring *loaded = load(path);
    test_assert_code(OTOK_OK, otok_service_set_keyring(f->service, loaded, NULL));
    otok_keyring_free(loaded);
    otok_key_change_init(&change, sizeof change);
    change.step = OTOK_KEY_STEP_ADD;
    change.use = OTOK_KEY_TOKEN;
    test_assert_code(OTOK_OK, otok_keyring_change_file(path, NULL, &change, NULL, NULL));
    test_assert_code(OTOK_OK, otok_service_reload_keyring(f->service, NULL));
    ck_assert_uint_eq(otok_service_now_keys(f->service)->nrealm, 2);
    test_close(f);
    test_remove_folder(folder);
}
END_TEST

/* A file that was written again with the same keys is read once, and not for every key that a stranger makes up. */
START_TEST(a_file_that_was_written_again_is_read_once)
{
    char path[4200], *folder = test_new_folder();
    test_fixture *f = test_open(TEST_MEMORY);
    path_in(path, folder);
    test_assert_code(OTOK_OK, otok_keyring_save(f->keyring, path, NULL, NULL));
    otok_keyring *loaded = load(path);
    test_assert_code(OTOK_OK, otok_service_set_keyring(f->service, loaded, NULL));
    otok_keyring_free(loaded);
    const otok_keys *before = otok_service_now_keys(f->service);
    test_assert_code(OTOK_OK, otok_service_reload_keyring(f->service, NULL));
    ck_assert_ptr_eq(otok_service_now_keys(f->service), before);
    test_assert_code(OTOK_OK, otok_keyring_save(f->keyring, path, NULL, NULL));
    test_assert_code(OTOK_OK, otok_service_reload_keyring(f->service, NULL));
    const otok_keys *after = otok_service_now_keys(f->service);
    ck_assert_ptr_ne(after, before);
    for (int i = 0; i < 5; i++)
        test_assert_code(OTOK_OK, otok_service_reload_keyring(f->service, NULL));
    ck_assert_ptr_eq(otok_service_now_keys(f->service), after);
    test_close(f);
    test_remove_folder(folder);
}
END_TEST

static void add(TCase *tc)
{
    tcase_add_test(tc, a_keyring_that_was_saved_and_loaded_is_reloaded);
    tcase_add_test(tc, a_file_that_was_written_again_is_read_once);
}

int main(void)
{
    return test_main("keyring_source", add);
}
