/*
 * check_transfer_sessions.c - S3: sessions move from any store to any other, and nobody is logged out; nobody who was logged
 * out is back, and a thief is found out as before.
 *
 * SPDX-License-Identifier: MIT
 */
#include <stdio.h>
#include <string.h>

#include "support/ask.h"
#include "support/broken_store.h"
#include "support/node.h"
#include "support/raw.h"
#include "support/records.h"
#include "support/transfer.h"

enum { MOVES = 4, OUTBOX = 1000 };

/* A realm with everything in it that records are kept of. */
typedef struct world {
    test_fixture *f;
    char *folder; /* for stores of LMDB */
    int moves;

    test_held used;          /* rotated once before each move */
    test_held stolen[MOVES]; /* rotated twice, whose first token comes back after move i */
    char stale[MOVES][OTOK_TOKEN_CHARS + 1];
    test_held login;   /* ends with its login */
    test_held cut_off; /* dead behind a cutoff, whose record is still there */
    test_held consented;
    test_held once;      /* of the key "code" */
    test_held elsewhere; /* of another realm */
    test_fixture *other_realm;
    size_t events; /* in the outbox */
} world;

static otok_grant once_grant(void)
{
    otok_grant grant = test_grant("alice", "tv", NULL);
    grant.once_key = "code";
    return grant;
}

static world begin(void)
{
    world w = {.f = test_open(TEST_MEMORY), .folder = test_new_folder()};
    otok_grant login = test_grant("bob", "web", NULL), once = once_grant();
    otok_filter carol = test_filter("carol", NULL, NULL);
    w.f->service->outbox_limit = OUTBOX;
    w.f->policy.once_window_s = 20 * TEST_DAY_S;
    w.f->policy.once_keep_s = 21 * TEST_DAY_S;
    w.other_realm = test_open_node(w.f, "elsewhere");
    w.elsewhere = test_hold(w.other_realm, "alice", "phone");
    test_reopen_service(w.f);
    w.f->service->outbox_limit = OUTBOX;
    w.used = test_hold(w.f, "alice", "phone");
    for (int i = 0; i < MOVES; i++) {
        w.stolen[i] = test_hold(w.f, "mallory", "phone");
        memcpy(w.stale[i], w.stolen[i].token, sizeof w.stale[i]);
        test_rotate(w.f, &w.stolen[i], "phone");
        test_rotate(w.f, &w.stolen[i], "phone");
    }
    login.kind = OTOK_SESSION_LOGIN;
    login.sid = "sso-1";
    w.login = test_hold_grant(w.f, &login);
    w.cut_off = test_hold(w.f, "carol", "phone");
    test_assert_code(OTOK_OK, otok_cutoff_set(w.f->service, &carol, OTOK_NOW, NULL, NULL));
    test_assert_code(OTOK_OK, otok_consent_put(w.f->service, "dave", "phone", "openid files.read", NULL));
    w.consented = test_hold(w.f, "dave", "phone");
    w.once = test_hold_grant(w.f, &once);
    return w;
}

static void end(world *w)
{
    test_close(w->other_realm);
    test_close(w->f);
    test_remove_folder(w->folder);
}

/* The fixture goes on with another store; the one before is closed, and so is the other realm's view of it. */
static void go_on_with(world *w, otok_store *store)
{
    test_close(w->other_realm);
    otok_service_close(w->f->service);
    otok_store_close(w->f->store);
    w->f->service = NULL;
    w->f->store = store;
    test_reopen_service(w->f);
    w->f->service->outbox_limit = OUTBOX;
    w->other_realm = test_open_node(w->f, "elsewhere");
}

static size_t read_outbox(world *w)
{
    otok_outbox_batch *batch = NULL;
    test_assert_code(OTOK_OK, otok_outbox_read(w->f->service, OUTBOX, &batch, NULL));
    size_t n = batch->count;
    otok_outbox_batch_free(batch);
    return n;
}

/* ---------------------------------------------------------------------------------------------------- after a move */

static void the_living_live(world *w)
{
    otok_grant once = once_grant();
    otok_tokens *tokens = NULL;
    test_rotate(w->f, &w->used, "phone");
    test_assert_code(OTOK_OK, test_refresh_held(w->f, &w->login, "web"));
    test_assert_code(OTOK_OK, test_refresh_held(w->f, &w->consented, "phone"));
    test_assert_code(OTOK_OK, test_refresh_held(w->other_realm, &w->elsewhere, "phone"));
    test_assert_code(OTOK_OK, otok_issue(w->f->service, &once, &tokens, NULL));
    ck_assert_str_eq(tokens->session_id, w->once.session_id); /* the same answer as ever */
    otok_tokens_free(tokens);
}

static void the_dead_are_dead(world *w)
{
    otok_filter carol = test_filter("carol", NULL, NULL);
    int64_t at_us = 0;
    test_assert_code(OTOK_E_TOKEN_REVOKED, test_refresh_code(w->f, w->cut_off.token, "phone"));
    test_assert_code(OTOK_OK, otok_cutoff_get(w->f->service, &carol, &at_us, NULL));
    ck_assert_int_gt(at_us, 0);
    for (int i = 0; i < w->moves; i++)
        test_assert_code(OTOK_E_TOKEN_UNKNOWN, test_refresh_code(w->f, w->stolen[i].token, "phone"));
}

static void a_thief_is_found_out(world *w)
{
    test_held *stolen = &w->stolen[w->moves];
    test_assert_code(OTOK_OK, test_refresh_code(w->f, stolen->token, "phone"));
    test_assert_code(OTOK_E_TOKEN_REUSED, test_refresh_code(w->f, w->stale[w->moves], "phone"));
    test_assert_code(OTOK_E_TOKEN_UNKNOWN, test_refresh_code(w->f, stolen->token, "phone"));
}

static void what_is_around_is_there(world *w)
{
    otok_consent *consent = NULL;
    test_assert_code(OTOK_OK, otok_consent_get(w->f->service, "dave", "phone", &consent, NULL));
    ck_assert_str_eq(consent->scope, "openid files.read");
    otok_consent_free(consent);
    ck_assert_uint_eq(read_outbox(w), w->events);
}

/* Every index has what it had. */
static void lists_are_as_before(world *w, const uint64_t before[4])
{
    otok_filter filters[] = {test_filter("alice", NULL, NULL), test_filter(NULL, "phone", NULL),
                             test_filter(NULL, NULL, "sso-1"), test_filter_realm()};
    for (size_t i = 0; i < 4; i++) {
        ck_assert_uint_eq(test_count(w->f, &filters[i]), before[i]);
        ck_assert_uint_eq(test_list(w->f, &filters[i], 0, 3, NULL, 0), test_count_live(w->f, &filters[i]));
    }
}

static void count_all(world *w, uint64_t counts[4])
{
    otok_filter filters[] = {test_filter("alice", NULL, NULL), test_filter(NULL, "phone", NULL),
                             test_filter(NULL, NULL, "sso-1"), test_filter_realm()};
    for (size_t i = 0; i < 4; i++)
        counts[i] = test_count(w->f, &filters[i]);
    w->events = read_outbox(w);
}

static void move_to(world *w, otok_store *to)
{
    uint64_t counts[4];
    otok_transfer result;
    otok_check check;
    test_advance_s(w->f, TEST_DAY_S);
    test_rotate(w->f, &w->used, "phone");
    count_all(w, counts);
    test_file file = test_export(w->f->store);
    size_t records = test_count_records(w->f->store);
    test_assert_code(OTOK_OK, test_import(to, &file, OTOK_IMPORT_ADD, 0, &result, NULL));
    ck_assert_uint_eq(result.inserted, records);
    ck_assert_uint_eq(test_store_state(to), test_store_state(w->f->store));
    test_file_free(&file);
    go_on_with(w, to);

    otok_check_init(&check, sizeof check);
    test_assert_code(OTOK_OK, otok_service_check(w->f->service, NULL, &check, NULL));
    ck_assert_uint_eq(check.findings, 0);
    ck_assert_uint_gt(check.sessions, MOVES);
    test_set_now_us(w->other_realm, w->f->now_us);
    what_is_around_is_there(w);
    lists_are_as_before(w, counts);
    the_living_live(w);
    the_dead_are_dead(w);
    a_thief_is_found_out(w);
    w->moves++;
}

/* ---------------------------------------------------------------------------------------------------- tests */

static otok_store *new_lmdb(const world *w)
{
    char path[4200];
    (void)snprintf(path, sizeof path, "%s/%d", w->folder, w->moves);
    return test_open_lmdb(path, NULL);
}

static otok_store *new_memory(void)
{
    otok_store *store;
    test_assert_code(OTOK_OK, otok_store_open_memory(&store, NULL));
    return store;
}

START_TEST(nobody_is_logged_out_by_a_move_through_every_kind_of_store)
{
    broken_store *control;
    world w = begin();
    move_to(&w, new_lmdb(&w));
    move_to(&w, new_memory());
    move_to(&w, broken_store_open(NULL, BROKEN_NOTHING, &control)); /* a store of a host's own */
    move_to(&w, new_lmdb(&w));
    end(&w);
}
END_TEST

/* What the header advises: move while it runs; then stop, and mirror what has changed meanwhile. */
START_TEST(a_second_import_brings_what_changed_after_the_first)
{
    world w = begin();
    otok_store *to = new_lmdb(&w);
    otok_transfer result;
    test_file first = test_export(w.f->store);
    test_assert_code(OTOK_OK, test_import(to, &first, OTOK_IMPORT_ADD, 0, NULL, NULL));
    test_file_free(&first);

    test_held late = test_hold(w.f, "erin", "phone");
    test_rotate(w.f, &w.used, "phone");
    test_assert_code(OTOK_OK, otok_revoke_session(w.f->service, w.login.session_id, NULL));
    test_file second = test_export(w.f->store);
    test_assert_code(OTOK_OK, test_import(to, &second, OTOK_IMPORT_MIRROR, 0, &result, NULL));
    test_file_free(&second);
    ck_assert_uint_gt(result.inserted, 0);
    ck_assert_uint_gt(result.replaced, 0);
    ck_assert_uint_gt(result.removed, 0);
    ck_assert_uint_gt(result.same, MOVES);
    go_on_with(&w, to);
    test_assert_code(OTOK_OK, test_refresh_code(w.f, late.token, "phone"));
    test_rotate(w.f, &w.used, "phone");
    test_assert_code(OTOK_E_TOKEN_UNKNOWN, test_refresh_code(w.f, w.login.token, "web"));
    a_thief_is_found_out(&w);
    end(&w);
}
END_TEST

/* K6: a file of exported records holds no usable token, nor anything that tokens are made of. */
START_TEST(an_export_holds_no_token_and_is_of_no_use_with_another_keyring)
{
    world w = begin();
    test_fixture *thief = test_open(TEST_MEMORY);
    test_file file = test_export(w.f->store);
    ck_assert_ptr_null(memmem(file.data, file.len, "otok_", 5));
    ck_assert_ptr_null(memmem(file.data, file.len, w.used.token + 5, 40));
    test_assert_code(OTOK_OK, test_import(thief->store, &file, OTOK_IMPORT_ADD, 0, NULL, NULL));
    test_assert_code(OTOK_E_TOKEN_INVALID, test_refresh_code(thief, w.used.token, "phone"));
    test_file_free(&file);
    test_close(thief);
    end(&w);
}
END_TEST

START_TEST(realms_of_a_store_are_named_once_each)
{
    world w = begin();
    otok_names *names = NULL;
    test_assert_code(OTOK_OK, otok_store_realms(w.f->store, 10, &names, NULL));
    ck_assert_uint_eq(names->count, 2);
    ck_assert(strcmp(names->names[0], names->names[1]) != 0);
    for (size_t i = 0; i < 2; i++)
        ck_assert(strcmp(names->names[i], TEST_ISSUER) == 0 || strcmp(names->names[i], "elsewhere") == 0);
    otok_names_free(names);
    test_assert_code(OTOK_OK, otok_store_realms(w.f->store, 1, &names, NULL));
    ck_assert_uint_eq(names->count, 1);
    otok_names_free(names);
    test_assert_code(OTOK_E_INVALID, otok_store_realms(w.f->store, 0, &names, NULL));
    ck_assert_ptr_null(names);
    test_assert_code(OTOK_E_INVALID, otok_store_realms(w.f->store, SIZE_MAX, &names, NULL));
    test_assert_code(OTOK_E_INVALID, otok_store_realms(NULL, 1, &names, NULL));
    test_assert_code(OTOK_E_INVALID, otok_store_realms(w.f->store, 1, NULL, NULL));
    otok_names_free(NULL);
    end(&w);
}
END_TEST

static void add(TCase *tc)
{
    tcase_add_test(tc, nobody_is_logged_out_by_a_move_through_every_kind_of_store);
    tcase_add_test(tc, a_second_import_brings_what_changed_after_the_first);
    tcase_add_test(tc, an_export_holds_no_token_and_is_of_no_use_with_another_keyring);
    tcase_add_test(tc, realms_of_a_store_are_named_once_each);
}

int main(void)
{
    return test_main("transfer_sessions", add);
}
