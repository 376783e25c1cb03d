/*
 * check_full_disk.c - a disk without room: nothing new begins, and everything that ends something still works (E2, S4, V5).
 *
 * SPDX-License-Identifier: MIT
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <unistd.h>

#include "support/legacy.h"

static char *folder;

/* A file system of its own, in memory; false where that is not allowed. */
static bool begin(void)
{
    folder = test_new_folder();
    if (mount("none", folder, "tmpfs", 0, "size=8m,mode=0700") == 0)
        return true;
    ck_assert_msg(errno == EPERM || errno == EACCES, "mount: %s", strerror(errno));
    (void)fprintf(stderr, "not tested: this user may not mount a file system\n");
    return false;
}

static void end(void)
{
    (void)umount2(folder, MNT_DETACH);
    test_remove_folder(folder);
}

static void fill_up(void)
{
    static const char zeroes[4096];
    char path[4200];
    (void)snprintf(path, sizeof path, "%s/ballast", folder);
    FILE *file = fopen(path, "w");
    ck_assert_ptr_nonnull(file);
    while (fwrite(zeroes, 1, sizeof zeroes, file) == sizeof zeroes && fflush(file) == 0)
        ;
    (void)fclose(file);
}

/* The fixture's service over a store on that disk, with an outbox. */
static test_fixture *open_there(uint64_t outbox_limit)
{
    char path[4200];
    otok_error err;
    test_fixture *f = test_open(TEST_MEMORY);
    otok_service_close(f->service);
    otok_store_close(f->store);
    f->service = NULL;
    (void)snprintf(path, sizeof path, "%s/store", folder);
    int rc = otok_store_open_lmdb(path, NULL, &f->store, &err);
    ck_assert_msg(rc == OTOK_OK, "%s", err.message);
    f->callbacks.adopt = test_legacy_adopt;
    test_reopen_service(f);
    f->service->outbox_limit = outbox_limit;
    return f;
}

enum { HELD = 60 };

static void hold_until_full(test_fixture *f, test_held held[HELD])
{
    for (int i = 0; i < HELD; i++) {
        char subject[16];
        (void)snprintf(subject, sizeof subject, "user-%d", i % 10);
        held[i] = test_hold(f, subject, NULL);
    }
    fill_up();
    for (int i = 0; i < 20000; i++) {
        otok_grant grant = test_grant("filler", NULL, "offline_access");
        otok_tokens *tokens = NULL;
        int rc = otok_issue(f->service, &grant, &tokens, NULL);
        otok_tokens_free(tokens);
        if (rc == OTOK_E_FULL)
            return;
        test_assert_code(OTOK_OK, rc);
    }
    ck_abort_msg("it does not get full");
}

/* With and without an outbox. */
START_TEST(whatever_ends_something_works_on_a_full_disk)
{
    test_held held[HELD];
    if (!begin())
        return;
    test_fixture *f = open_there(_i != 0 ? 1000000 : 0);
    otok_filter one = test_filter("user-1", NULL, NULL), two = test_filter("user-2", NULL, NULL);
    otok_filter three = test_filter("user-3", NULL, NULL);
    const test_legacy legacy = {0};
    hold_until_full(f, held);
    test_assert_code(OTOK_OK, otok_revoke_session(f->service, held[0].session_id, NULL));
    test_assert_code(OTOK_OK, test_revoke(f, held[10].token, "phone"));
    test_assert_code(OTOK_OK, otok_revoke_matching(f->service, &one, NULL, NULL));
    test_assert_code(OTOK_OK, otok_cutoff_set(f->service, &two, OTOK_NOW, NULL, NULL));
    test_assert_code(OTOK_OK, otok_logout(f->service, &three, 1, NULL, NULL));
    test_assert_code(OTOK_OK, otok_consent_revoke(f->service, "user-4", "phone", NULL, NULL));
    test_assert_code(OTOK_OK, test_revoke(f, test_legacy_token(&legacy), "phone"));
    for (int i = 0; i < HELD; i++) {
        bool ended = i == 0 || i == 10 || (i % 10 >= 1 && i % 10 <= 4);
        test_advance_s(f, 60);
        ck_assert_int_eq(test_refresh_held(f, &held[i], NULL) != OTOK_OK, ended); /* the others still rotate */
    }
    test_assert_code(OTOK_E_TOKEN_UNKNOWN, test_refresh_code(f, test_legacy_token(&legacy), NULL));
    if (_i != 0) { /* what there was no room for is marked */
        otok_outbox_batch *batch = NULL;
        bool marked = false;
        f->service->outbox_limit = 1000000;
        test_assert_code(OTOK_OK, otok_outbox_read(f->service, 1000, &batch, NULL));
        while (batch->count != 0 && !marked) {
            for (size_t i = 0; i < batch->count; i++)
                marked |= batch->events[i]->type == OTOK_EVENT_OUTBOX_OVERFLOW;
            test_assert_code(OTOK_OK, otok_outbox_acknowledge(f->service, batch, NULL));
            otok_outbox_batch_free(batch);
            test_assert_code(OTOK_OK, otok_outbox_read(f->service, 1000, &batch, NULL));
        }
        otok_outbox_batch_free(batch);
        ck_assert(marked);
    }
    test_close(f);
    end();
}
END_TEST

static void add(TCase *tc)
{
    tcase_add_loop_test(tc, whatever_ends_something_works_on_a_full_disk, 0, 2);
}

int main(void)
{
    return test_main("full_disk", add);
}
