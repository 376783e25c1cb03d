/*
 * check_dpop_use.c - DPoP proofs as they are used: time, nonce, replay (P3, RFC 9449 sections 8 and 11.1).
 *
 * SPDX-License-Identifier: MIT
 */
#include "oauth/oauth.h"
#include "support/crew.h"
#include "support/fixture.h"

#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#define S      OTOK_US_PER_S
#define SLOT   (30 * S)
#define WINDOW (60 * S)
#define LOOSE  (600 * S)

static const otok_owner owner = {{"alice", 5}, {"phone", 5}};
static const otok_rules plain = {.dpop_window_us = WINDOW}, by_nonce = {.dpop_window_us = WINDOW, .dpop_nonce = true};

/* A proof that was read; the n-th of its key. */
static otok_proof proof_of(uint32_t n, int64_t iat_us, const char *nonce)
{
    otok_proof proof = {.iat_us = iat_us, .nonce = otok_strdup(nonce)};
    otok_put_u32(proof.digest, n);
    return proof;
}

/* Uses it in a request of its own. */
static int use_as(test_fixture *f, const otok_owner *who, const otok_rules *rules, uint32_t n, int64_t iat_us,
                  const char *nonce, int64_t now_us)
{
    otok_error err = {0};
    otok_proof proof = proof_of(n, iat_us, nonce);
    int rc = otok_proof_use(f->service, &proof, who, rules, now_us, &err);
    ck_assert(proof.used == (rc == OTOK_OK));
    ck_assert(nonce == NULL || *nonce == '\0' || strstr(err.message, nonce) == NULL);
    otok_proof_free(&proof);
    return rc;
}

static int use(test_fixture *f, const otok_rules *rules, uint32_t n, int64_t iat_us, const char *nonce, int64_t now_us)
{
    return use_as(f, &owner, rules, n, iat_us, nonce, now_us);
}

static void nonce_at(test_fixture *f, int64_t now_us, char out[OTOK_NONCE_CHARS + 1])
{
    test_assert_code(OTOK_OK, otok_nonce_print(f->service, now_us, out, NULL));
    ck_assert_uint_eq(strlen(out), OTOK_NONCE_CHARS);
}

/* ---- replay ---- */

/* P3 */
START_TEST(proof_is_good_once)
{
    test_fixture *f = test_open(TEST_MEMORY);
    int64_t now_us = f->now_us;
    test_assert_code(OTOK_OK, use(f, &plain, 1, now_us, NULL, now_us));
    for (int64_t later_us = 0; later_us <= WINDOW; later_us += 15 * S)
        test_assert_code(OTOK_E_DPOP_PROOF, use(f, &plain, 1, now_us, NULL, now_us + later_us));
    test_assert_code(OTOK_E_DPOP_PROOF, use(f, &plain, 1, now_us + WINDOW, NULL, now_us + WINDOW)); /* its jti again */
    test_assert_code(OTOK_OK, use(f, &plain, 2, now_us, NULL, now_us));
    test_close(f);
}
END_TEST

/* P3: attempts of one request at a compare-and-swap are one use; the next request is another. */
START_TEST(attempts_of_one_request_are_one_use)
{
    test_fixture *f = test_open(TEST_MEMORY);
    otok_proof proof = proof_of(1, f->now_us, NULL);
    for (int i = 0; i < OTOK_ATTEMPTS; i++)
        test_assert_code(OTOK_OK, otok_proof_use(f->service, &proof, &owner, &plain, f->now_us + i, NULL));
    test_assert_code(OTOK_E_DPOP_PROOF, use(f, &plain, 1, f->now_us, NULL, f->now_us));
    otok_proof_free(&proof);
    test_close(f);
}
END_TEST

/* P3: what is refused for its time or nonce fills no memory, and may come again. */
START_TEST(refused_proof_is_not_used)
{
    test_fixture *f = test_open(TEST_MEMORY);
    int64_t now_us = f->now_us;
    char nonce[OTOK_NONCE_CHARS + 1];
    nonce_at(f, now_us, nonce);
    test_assert_code(OTOK_E_DPOP_PROOF, use(f, &plain, 1, now_us + WINDOW + 1, NULL, now_us));
    test_assert_code(OTOK_OK, use(f, &plain, 1, now_us + WINDOW + 1, NULL, now_us + 1));
    test_assert_code(OTOK_E_DPOP_NONCE, use(f, &by_nonce, 2, now_us, NULL, now_us));
    test_assert_code(OTOK_E_DPOP_NONCE, use(f, &by_nonce, 2, now_us, "x", now_us));
    test_assert_code(OTOK_OK, use(f, &by_nonce, 2, now_us, nonce, now_us));
    test_close(f);
}
END_TEST

/* P3: a user's share is bounded: beyond it is trouble of his, and no proof that was used is forgotten for it; others notice nothing. */
START_TEST(too_many_proofs_at_once_are_their_users_trouble)
{
    static const otok_owner others[] = {
        {{"bob", 3}, {"phone", 5}}, {{"alic", 4}, {"ephone", 6}}, {{"phone", 5}, {"alice", 5}}};
    static const otok_owner elsewhere = {{"alice", 5}, {"tablet", 6}};
    test_fixture *f = test_open(TEST_MEMORY);
    int64_t now_us = f->now_us;
    uint32_t n = 0;
    int rc = OTOK_OK;
    while (rc == OTOK_OK && n < 1U << 20)
        rc = use(f, &plain, n++, now_us, NULL, now_us);
    test_assert_code(OTOK_E_BUSY, rc);
    ck_assert_uint_gt(n, 1000);
    ck_assert_uint_lt(n, 10000);
    test_assert_code(OTOK_E_BUSY, use_as(f, &elsewhere, &plain, n, now_us, NULL, now_us));
    for (uint32_t i = 0; i < sizeof others / sizeof others[0]; i++)
        test_assert_code(OTOK_OK, use_as(f, &others[i], &plain, n + i, now_us, NULL, now_us));
    test_assert_code(OTOK_E_DPOP_PROOF, use(f, &plain, 0, now_us, NULL, now_us));
    now_us += LOOSE;
    test_assert_code(OTOK_E_BUSY, use(f, &plain, 2 * n, now_us, NULL, now_us));
    test_assert_code(OTOK_OK, use(f, &plain, 2 * n, now_us, NULL, now_us + 1));
    test_close(f);
}
END_TEST

/* P3: what was used under a short window is not good again when the policy is widened, nor under a nonce's wide one. */
START_TEST(window_that_is_widened_brings_no_proof_back)
{
    static const int64_t windows[] = {1, S, WINDOW, LOOSE};
    for (size_t narrow = 0; narrow < 4; narrow++) {
        test_fixture *f = test_open(TEST_MEMORY);
        int64_t now_us = f->now_us;
        const otok_rules before = {.dpop_window_us = windows[narrow]};
        test_assert_code(OTOK_OK, use(f, &before, 1, now_us - windows[narrow], NULL, now_us));
        test_assert_code(OTOK_OK, use(f, &before, 2, now_us + windows[narrow], NULL, now_us));
        for (int64_t later_us = 0; later_us <= 2 * LOOSE; later_us += 20 * S + 1) {
            const otok_rules wide = {.dpop_window_us = LOOSE};
            test_assert_code(OTOK_E_DPOP_PROOF, use(f, &wide, 1, now_us - windows[narrow], NULL, now_us + later_us));
            test_assert_code(OTOK_E_DPOP_PROOF, use(f, &wide, 2, now_us + windows[narrow], NULL, now_us + later_us));
            test_assert_code(OTOK_OK,
                             use(f, &before, 3 + (uint32_t)(later_us / S), now_us + later_us, NULL, now_us + later_us));
        }
        test_close(f);
    }
}
END_TEST

typedef struct race {
    test_fixture *f;
    atomic_uint used, replays, others;
} race;

static void use_the_same(void *arg, size_t i)
{
    race *r = arg;
    (void)i;
    for (uint32_t n = 0; n < 500; n++) {
        otok_proof proof = proof_of(n, TEST_START_US, NULL);
        int rc = otok_proof_use(r->f->service, &proof, &owner, &plain, TEST_START_US, NULL);
        atomic_fetch_add(rc == OTOK_OK ? &r->used : rc == OTOK_E_DPOP_PROOF ? &r->replays : &r->others, 1);
        otok_proof_free(&proof);
    }
}

/* P3 */
START_TEST(of_eight_threads_with_one_proof_one_is_served)
{
    race r = {.f = test_open(TEST_MEMORY)};
    test_threads(8, use_the_same, &r);
    ck_assert_uint_eq(r.used, 500);
    ck_assert_uint_eq(r.replays, 7 * 500);
    ck_assert_uint_eq(r.others, 0);
    test_close(r.f);
}
END_TEST

/* ---- time ---- */

/* P3: to the microsecond, on both sides; whatever the policy says. */
START_TEST(edges_of_the_window)
{
    static const int64_t windows[] = {1, S, WINDOW, LOOSE};
    test_fixture *f = test_open(TEST_MEMORY);
    int64_t now_us = f->now_us;
    uint32_t n = 0;
    for (size_t i = 0; i < sizeof windows / sizeof windows[0]; i++) {
        int64_t window = windows[i];
        otok_rules rules = {.dpop_window_us = window};
        test_assert_code(OTOK_OK, use(f, &rules, n++, now_us - window, NULL, now_us));
        test_assert_code(OTOK_OK, use(f, &rules, n++, now_us + window, NULL, now_us));
        test_assert_code(OTOK_E_DPOP_PROOF, use(f, &rules, n++, now_us - window - 1, NULL, now_us));
        test_assert_code(OTOK_E_DPOP_PROOF, use(f, &rules, n++, now_us + window + 1, NULL, now_us));
    }
    test_assert_code(OTOK_E_DPOP_PROOF, use(f, &plain, n, 0, NULL, now_us));
    test_assert_code(OTOK_E_DPOP_PROOF, use(f, &plain, n, INT64_MAX - 1, NULL, now_us));
    test_assert_code(OTOK_E_DPOP_PROOF, use(f, &plain, n, INT64_MAX / S * S, NULL, INT64_MIN));
    test_assert_code(OTOK_E_DPOP_PROOF, use(f, &plain, n, 0, NULL, INT64_MAX));
    test_close(f);
}
END_TEST

/* P3: a clock that jumps, either way, and is set right lets no proof in twice; what was forgotten is trouble of ours, and no replay. */
START_TEST(clock_that_jumps_lets_no_proof_in_twice)
{
    static const int64_t jumps[] = {61 * S,  OTOK_DAY_US,  3650 * OTOK_DAY_US,
                                    -61 * S, -OTOK_DAY_US, -3650 * OTOK_DAY_US};
    for (size_t i = 0; i < sizeof jumps / sizeof jumps[0]; i++) {
        test_fixture *f = test_open(TEST_MEMORY);
        int64_t now_us = f->now_us, other_us = now_us + jumps[i];
        char nonce[OTOK_NONCE_CHARS + 1], other[OTOK_NONCE_CHARS + 1];
        int now_again = jumps[i] > LOOSE ? OTOK_E_BUSY : OTOK_E_DPOP_PROOF;
        int other_again = jumps[i] < -LOOSE ? OTOK_E_BUSY : OTOK_E_DPOP_PROOF;
        nonce_at(f, now_us, nonce);
        nonce_at(f, other_us, other);
        test_assert_code(OTOK_OK, use(f, &plain, 1, now_us, NULL, now_us));
        test_assert_code(OTOK_OK, use(f, &by_nonce, 2, now_us, nonce, now_us));
        test_assert_code(OTOK_OK, use(f, &plain, 3, other_us, NULL, other_us));
        test_assert_code(OTOK_OK, use(f, &by_nonce, 4, other_us, other, other_us));
        test_assert_code(now_again, use(f, &plain, 1, now_us, NULL, now_us));
        test_assert_code(now_again, use(f, &by_nonce, 2, now_us, nonce, now_us));
        test_assert_code(now_again, use(f, &by_nonce, 2, now_us, nonce, now_us + 30 * S));
        test_assert_code(other_again, use(f, &plain, 3, other_us, NULL, other_us));
        test_assert_code(OTOK_OK, use(f, &plain, 5, now_us + 40 * S, NULL, now_us + 40 * S));
        test_close(f);
    }
}
END_TEST

/* P3, RFC 9449 section 11.1: where a nonce is demanded, a client's clock may be off by ten minutes, and not more; elsewhere not. */
START_TEST(nonce_stands_in_for_the_clock_of_the_client)
{
    test_fixture *f = test_open(TEST_MEMORY);
    int64_t now_us = f->now_us;
    char nonce[OTOK_NONCE_CHARS + 1];
    nonce_at(f, now_us, nonce);
    test_assert_code(OTOK_OK, use(f, &by_nonce, 1, now_us - LOOSE, nonce, now_us));
    test_assert_code(OTOK_OK, use(f, &by_nonce, 2, now_us + LOOSE, nonce, now_us));
    test_assert_code(OTOK_E_DPOP_PROOF, use(f, &by_nonce, 3, now_us - LOOSE - 1, nonce, now_us));
    test_assert_code(OTOK_E_DPOP_PROOF, use(f, &by_nonce, 4, now_us + LOOSE + 1, nonce, now_us));
    test_assert_code(OTOK_E_DPOP_PROOF, use(f, &plain, 5, now_us - WINDOW - 1, nonce, now_us));
    test_assert_code(OTOK_OK, use(f, &plain, 6, now_us - WINDOW, nonce, now_us));
    /* It is remembered for as long as its nonce is good. */
    test_assert_code(OTOK_E_DPOP_PROOF, use(f, &by_nonce, 2, now_us + LOOSE, nonce, now_us + 60 * S));
    test_close(f);
}
END_TEST

/* ---- nonces ---- */

/* P3: good in its slot, the next two, and the one before. */
START_TEST(nonce_is_fresh_for_its_slots)
{
    test_fixture *f = test_open(TEST_MEMORY);
    int64_t start_us = TEST_START_US / SLOT * SLOT;
    char nonce[OTOK_NONCE_CHARS + 1], same[OTOK_NONCE_CHARS + 1];
    nonce_at(f, start_us, nonce);
    nonce_at(f, start_us + SLOT - 1, same);
    ck_assert_str_eq(nonce, same);
    nonce_at(f, start_us + SLOT, same);
    ck_assert_str_ne(nonce, same);
    ck_assert(!otok_nonce_is_fresh(f->service, nonce, start_us - SLOT - 1));
    ck_assert(otok_nonce_is_fresh(f->service, nonce, start_us - SLOT));
    ck_assert(otok_nonce_is_fresh(f->service, nonce, start_us));
    ck_assert(otok_nonce_is_fresh(f->service, nonce, start_us + 3 * SLOT - 1));
    ck_assert(!otok_nonce_is_fresh(f->service, nonce, start_us + 3 * SLOT));
    test_assert_code(OTOK_OK, use(f, &by_nonce, 1, start_us, nonce, start_us + 3 * SLOT - 1));
    test_assert_code(OTOK_E_DPOP_PROOF, use(f, &by_nonce, 1, start_us, nonce, start_us + 3 * SLOT - 1));
    test_assert_code(OTOK_E_DPOP_NONCE, use(f, &by_nonce, 1, start_us, nonce, start_us + 3 * SLOT));
    test_close(f);
}
END_TEST

/* P3: at the ends of time, too. */
START_TEST(nonces_of_extreme_clocks)
{
    static const int64_t clocks[] = {INT64_MIN, -1, 0, 1, INT64_MAX - SLOT, INT64_MAX};
    test_fixture *f = test_open(TEST_MEMORY);
    for (size_t i = 0; i < sizeof clocks / sizeof clocks[0]; i++) {
        char nonce[OTOK_NONCE_CHARS + 1];
        nonce_at(f, clocks[i], nonce);
        ck_assert(otok_nonce_is_fresh(f->service, nonce, clocks[i]));
        ck_assert(!otok_nonce_is_fresh(f->service, nonce, TEST_START_US));
    }
    test_close(f);
}
END_TEST

/* P3: one that is given must be ours and fresh, whether it is needed or not. */
START_TEST(nonces_that_are_not_ours)
{
    static const char *const texts[] = {"",
                                        "x",
                                        "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
                                        "________________________________",
                                        "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
                                        "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"};
    test_fixture *f = test_open(TEST_MEMORY), *other = test_open(TEST_MEMORY);
    int64_t now_us = f->now_us;
    char nonce[OTOK_NONCE_CHARS + 1], foreign[OTOK_NONCE_CHARS + 1];
    uint32_t n = 0;
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        test_assert_code(OTOK_E_DPOP_NONCE, use(f, &plain, n++, now_us, texts[i], now_us));
        test_assert_code(OTOK_E_DPOP_NONCE, use(f, &by_nonce, n++, now_us, texts[i], now_us));
        ck_assert(!otok_nonce_is_fresh(f->service, texts[i], now_us));
    }
    ck_assert(!otok_nonce_is_fresh(f->service, NULL, now_us));
    nonce_at(f, now_us, nonce);
    for (size_t i = 0; i < OTOK_NONCE_CHARS; i++) { /* each of its characters counts */
        memcpy(foreign, nonce, sizeof foreign);
        foreign[i] = foreign[i] == 'A' ? 'B' : 'A';
        test_assert_code(OTOK_E_DPOP_NONCE, use(f, &by_nonce, n++, now_us, foreign, now_us));
    }
    nonce_at(other, now_us, foreign); /* of the same realm, under other keys */
    test_assert_code(OTOK_E_DPOP_NONCE, use(f, &by_nonce, n++, now_us, foreign, now_us));
    f->realm = "another realm"; /* under the same keys */
    test_reopen_service(f);
    test_assert_code(OTOK_E_DPOP_NONCE, use(f, &by_nonce, n++, now_us, nonce, now_us));
    f->realm = NULL;
    test_reopen_service(f);
    test_assert_code(OTOK_OK, use(f, &by_nonce, n++, now_us, nonce, now_us)); /* of another process, as it were */
    test_close(f);
    test_close(other);
}
END_TEST

/* P3: a stale one, or none, is not the fault of the proof. */
START_TEST(stale_nonce_is_told_from_a_bad_proof)
{
    test_fixture *f = test_open(TEST_MEMORY);
    int64_t now_us = f->now_us;
    char stale[OTOK_NONCE_CHARS + 1], early[OTOK_NONCE_CHARS + 1];
    nonce_at(f, now_us - 3 * SLOT, stale);
    nonce_at(f, now_us + 2 * SLOT, early);
    test_assert_code(OTOK_E_DPOP_NONCE, use(f, &by_nonce, 1, now_us, NULL, now_us));
    test_assert_code(OTOK_E_DPOP_NONCE, use(f, &by_nonce, 1, now_us, stale, now_us));
    test_assert_code(OTOK_E_DPOP_NONCE, use(f, &by_nonce, 1, now_us, early, now_us));
    test_assert_code(OTOK_E_DPOP_NONCE, use(f, &plain, 1, now_us, stale, now_us));
    /* A clock that is far off is told our time by a nonce first. */
    test_assert_code(OTOK_E_DPOP_NONCE, use(f, &by_nonce, 1, 0, NULL, now_us));
    test_close(f);
}
END_TEST

static void change_keys(test_fixture *f, int32_t step, const char *kid)
{
    otok_key_change change;
    otok_keyring *next = NULL;
    otok_key_change_init(&change, sizeof change);
    change.step = step;
    change.use = OTOK_KEY_TOKEN;
    change.kid = kid;
    test_assert_code(OTOK_OK, otok_keyring_change(f->keyring, &change, &next, NULL));
    test_assert_code(OTOK_OK, otok_service_set_keyring(f->service, next, NULL));
    otok_keyring_free(f->keyring);
    f->keyring = next;
}

/* P3, K3: nobody who holds a nonce notices that the MAC key was rotated, until it is dropped. */
START_TEST(nonces_while_keys_are_rotated)
{
    test_fixture *f = test_open(TEST_MEMORY);
    int64_t now_us = f->now_us;
    char old[OTOK_NONCE_CHARS + 1], new[OTOK_NONCE_CHARS + 1], kid[OTOK_KID_CHARS + 1];
    memcpy(kid, otok_keyring_token(f->keyring)->kid, sizeof kid);
    nonce_at(f, now_us, old);
    change_keys(f, OTOK_KEY_STEP_ADD, NULL);
    nonce_at(f, now_us, new);
    ck_assert_str_eq(old, new);
    change_keys(f, OTOK_KEY_STEP_ACTIVATE, NULL);
    nonce_at(f, now_us, new);
    ck_assert_str_ne(old, new);
    test_assert_code(OTOK_OK, use(f, &by_nonce, 1, now_us, old, now_us));
    test_assert_code(OTOK_OK, use(f, &by_nonce, 2, now_us, new, now_us));
    change_keys(f, OTOK_KEY_STEP_DROP, kid);
    test_assert_code(OTOK_E_DPOP_NONCE, use(f, &by_nonce, 3, now_us, old, now_us));
    test_assert_code(OTOK_OK, use(f, &by_nonce, 3, now_us, new, now_us));
    test_close(f);
}
END_TEST

static void change_file(const char *path, int32_t step)
{
    otok_key_change change;
    otok_key_change_init(&change, sizeof change);
    change.step = step;
    change.use = OTOK_KEY_TOKEN;
    test_assert_code(OTOK_OK, otok_keyring_change_file(path, NULL, &change, NULL, NULL));
}

/* P3, K3: a nonce of another process, which has rotated the MAC key in the file, is fresh here too; one under no key stays stale. */
START_TEST(nonce_under_a_key_that_another_process_made_active)
{
    test_fixture *f = test_open(TEST_MEMORY), *other = test_open(TEST_MEMORY);
    int64_t now_us = f->now_us;
    char *folder = test_new_folder(), path[4200], nonce[OTOK_NONCE_CHARS + 1];
    (void)snprintf(path, sizeof path, "%s/keyring.json", folder);
    test_assert_code(OTOK_OK, otok_keyring_save(f->keyring, path, NULL, NULL));
    otok_keyring_free(f->keyring);
    test_assert_code(OTOK_OK, otok_keyring_load(path, NULL, &f->keyring, NULL));
    test_reopen_service(f);
    change_file(path, OTOK_KEY_STEP_ADD);
    change_file(path, OTOK_KEY_STEP_ACTIVATE);
    otok_keyring_free(other->keyring);
    test_assert_code(OTOK_OK, otok_keyring_load(path, NULL, &other->keyring, NULL));
    test_reopen_service(other);
    nonce_at(other, now_us, nonce);
    test_assert_code(OTOK_OK, use(f, &by_nonce, 1, now_us, nonce, now_us));
    change_file(path, OTOK_KEY_STEP_ADD);
    change_file(path, OTOK_KEY_STEP_ACTIVATE);
    test_assert_code(OTOK_OK, otok_service_reload_keyring(other->service, NULL));
    nonce_at(other, now_us, nonce);
    ck_assert_int_eq(remove(path), 0);
    test_assert_code(OTOK_E_IO, use(f, &by_nonce, 2, now_us, nonce, now_us)); /* trouble of ours */
    ck_assert(!otok_nonce_is_fresh(f->service, nonce, now_us));
    test_assert_code(OTOK_E_DPOP_NONCE, use(f, &by_nonce, 2, now_us, nonce, now_us + 3 * SLOT)); /* nobody looks */
    test_remove_folder(folder);
    test_close(f);
    test_close(other);
}
END_TEST

static void add_tests(TCase *tcase)
{
    tcase_add_test(tcase, proof_is_good_once);
    tcase_add_test(tcase, attempts_of_one_request_are_one_use);
    tcase_add_test(tcase, refused_proof_is_not_used);
    tcase_add_test(tcase, too_many_proofs_at_once_are_their_users_trouble);
    tcase_add_test(tcase, window_that_is_widened_brings_no_proof_back);
    tcase_add_test(tcase, of_eight_threads_with_one_proof_one_is_served);
    tcase_add_test(tcase, edges_of_the_window);
    tcase_add_test(tcase, clock_that_jumps_lets_no_proof_in_twice);
    tcase_add_test(tcase, nonce_stands_in_for_the_clock_of_the_client);
    tcase_add_test(tcase, nonce_is_fresh_for_its_slots);
    tcase_add_test(tcase, nonces_of_extreme_clocks);
    tcase_add_test(tcase, nonces_that_are_not_ours);
    tcase_add_test(tcase, stale_nonce_is_told_from_a_bad_proof);
    tcase_add_test(tcase, nonces_while_keys_are_rotated);
    tcase_add_test(tcase, nonce_under_a_key_that_another_process_made_active);
}

int main(void)
{
    return test_main("dpop_use", add_tests);
}
