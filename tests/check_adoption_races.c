/*
 * check_adoption_races.c - one token of the system before, and many who bring it at once (P4, V5).
 *
 * SPDX-License-Identifier: MIT
 */
#include <stdio.h>
#include <string.h>

#include "support/crew.h"
#include "support/legacy.h"
#include "support/records.h"

enum { CREW = 6, TOKENS = 40, PROCESSES = 3 };

/* What each of a crew was answered with for each token. */
typedef struct race {
    pthread_barrier_t barrier;
    char folder[4096];
    int codes[PROCESSES + CREW][TOKENS];
    char tokens[PROCESSES + CREW][TOKENS][OTOK_TOKEN_CHARS + 1];
    int outcomes[PROCESSES + CREW][TOKENS];
} race;

static const char *nth_token(char room[TEST_LEGACY_CHARS], size_t n, size_t spelling)
{
    char sid[16];
    (void)snprintf(sid, sizeof sid, "s%zu", n);
    const test_legacy legacy = {.sid = sid};
    (void)strcpy(room, test_legacy_token(&legacy));
    return strcpy(room, test_legacy_spelling(room, (unsigned)spelling % 16));
}

static void bring_all(test_fixture *f, race *r, size_t i)
{
    char legacy[TEST_LEGACY_CHARS];
    for (size_t n = 0; n < TOKENS; n++) {
        otok_tokens *tokens = NULL;
        otok_refresh_request request = test_refresh_request(nth_token(legacy, n, i), NULL);
        (void)pthread_barrier_wait(&r->barrier);
        r->codes[i][n] = otok_refresh(f->service, &request, &tokens, NULL);
        if (r->codes[i][n] == OTOK_OK) {
            memcpy(r->tokens[i][n], tokens->offline_token, OTOK_TOKEN_CHARS);
            r->outcomes[i][n] = tokens->outcome;
        }
        otok_tokens_free(tokens);
    }
}

/* One adopted each, all others got the same. */
static void expect_one_session_each(const race *r, size_t crew)
{
    for (size_t n = 0; n < TOKENS; n++) {
        size_t adopted = 0;
        for (size_t i = 0; i < crew; i++) {
            test_assert_code(OTOK_OK, r->codes[i][n]);
            ck_assert_str_eq(r->tokens[i][n], r->tokens[0][n]);
            adopted += r->outcomes[i][n] == OTOK_OUTCOME_ADOPTED;
        }
        ck_assert_uint_eq(adopted, 1);
    }
}

struct threads {
    test_fixture *f;
    race *r;
};

static void one_thread(void *arg, size_t i)
{
    struct threads *t = arg;
    bring_all(t->f, t->r, i);
}

START_TEST(threads_that_bring_one_token_get_one_session)
{
    test_fixture *f = test_open(_i);
    race *r = test_shared(sizeof *r);
    struct threads t = {f, r};
    test_install_legacy(f);
    test_barrier_init(&r->barrier, CREW);
    test_threads(CREW, one_thread, &t);
    expect_one_session_each(r, CREW);
    ck_assert_uint_eq(test_count_records(f->store), 2 * TOKENS);
    ck_assert_uint_eq(test_count_events(f, OTOK_EVENT_ISSUED), TOKENS);
    test_unshare(r, sizeof *r);
    test_close(f);
}
END_TEST

static const test_fixture *parent;

static void one_process(void *shared, size_t i)
{
    race *r = shared;
    otok_error err;
    test_fixture f = *parent;
    f.service = NULL;
    int rc = otok_store_open_lmdb(r->folder, NULL, &f.store, &err);
    if (rc != OTOK_OK)
        test_leave(err.message, rc);
    test_reopen_service(&f);
    bring_all(&f, r, i);
    otok_service_close(f.service);
    otok_store_close(f.store);
}

START_TEST(processes_that_bring_one_token_get_one_session)
{
    test_fixture *f = test_open(TEST_LMDB);
    race *r = test_shared(sizeof *r);
    f->callbacks.adopt = test_legacy_adopt;
    ck_assert_uint_lt(strlen(f->folder), sizeof r->folder);
    memcpy(r->folder, f->folder, strlen(f->folder) + 1);
    otok_service_close(f->service);
    otok_store_close(f->store);
    f->service = NULL;
    f->store = NULL;
    parent = f;
    test_barrier_init(&r->barrier, PROCESSES);
    test_processes(PROCESSES, one_process, r);
    expect_one_session_each(r, PROCESSES);
    test_assert_code(OTOK_OK, otok_store_open_lmdb(r->folder, NULL, &f->store, NULL));
    test_reopen_service(f);
    ck_assert_uint_eq(test_count_records(f->store), 2 * TOKENS);
    test_unshare(r, sizeof *r);
    test_close(f);
}
END_TEST

/* Half of them revoke what the others bring: once it was revoked, nothing of it lives (V5). */
static void one_of_each(void *arg, size_t i)
{
    struct threads *t = arg;
    char legacy[TEST_LEGACY_CHARS];
    if (i % 2 == 0) {
        bring_all(t->f, t->r, i);
        return;
    }
    for (size_t n = 0; n < TOKENS; n++) {
        const char *token = nth_token(legacy, n, i);
        (void)pthread_barrier_wait(&t->r->barrier);
        t->r->codes[i][n] = test_revoke(t->f, token, "phone");
    }
}

START_TEST(a_revocation_that_races_with_the_first_use_wins)
{
    char legacy[TEST_LEGACY_CHARS];
    test_fixture *f = test_open(_i);
    race *r = test_shared(sizeof *r);
    struct threads t = {f, r};
    test_install_legacy(f);
    test_barrier_init(&r->barrier, CREW);
    test_threads(CREW, one_of_each, &t);
    for (size_t n = 0; n < TOKENS; n++) {
        for (size_t i = 0; i < CREW; i++) {
            if (i % 2 == 1)
                test_assert_code(OTOK_OK, r->codes[i][n]);
            else if (r->codes[i][n] == OTOK_OK)
                test_assert_code(OTOK_E_TOKEN_UNKNOWN, test_refresh_code(f, r->tokens[i][n], NULL));
            else
                test_assert_code(OTOK_E_TOKEN_UNKNOWN, r->codes[i][n]);
        }
        test_assert_code(OTOK_E_TOKEN_UNKNOWN, test_refresh_code(f, nth_token(legacy, n, 1), NULL));
    }
    ck_assert_uint_eq(test_count_records(f->store),
                      TOKENS); /* what they were good for is remembered, and nothing else */
    test_unshare(r, sizeof *r);
    test_close(f);
}
END_TEST

static void add(TCase *tc)
{
    tcase_add_loop_test(tc, threads_that_bring_one_token_get_one_session, TEST_MEMORY, TEST_LMDB + 1);
    tcase_add_loop_test(tc, a_revocation_that_races_with_the_first_use_wins, TEST_MEMORY, TEST_LMDB + 1);
    tcase_add_test(tc, processes_that_bring_one_token_get_one_session);
}

int main(void)
{
    return test_main("adoption_races", add);
}
