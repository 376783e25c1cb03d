/* link: -Wl,--wrap=otok_calloc */
/*
 * check_seen.c - what was seen not long ago: never twice, never more than there may be, and nothing forgotten by a clock (P3).
 *
 * SPDX-License-Identifier: MIT
 */
#include "support/crew.h"
#include "support/fixture.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#define MINUTE_US (INT64_C(60) * OTOK_US_PER_S)
#define YEAR_US   (365 * OTOK_DAY_US)

static long calls, fail_at = -1; /* allocations until one fails; -1: none does */

void *__real_otok_calloc(size_t count, size_t size);
void *__wrap_otok_calloc(size_t count, size_t size);

void *__wrap_otok_calloc(size_t count, size_t size)
{
    calls++;
    return fail_at >= 0 && fail_at-- == 0 ? NULL : __real_otok_calloc(count, size);
}

static otok_seen *new_seen(size_t most)
{
    otok_seen *seen = NULL;
    test_assert_code(OTOK_OK, otok_seen_new(most, UINT64_C(0x5be0cd19137e2179), &seen, NULL));
    return seen;
}

/* The n-th digest: equal at the front and at the end, as nothing that was hashed is. */
static int add_of(otok_seen *seen, const otok_seen_by *by, uint32_t n, int64_t until_us, int64_t now_us)
{
    uint8_t digest[OTOK_SEEN_SIZE] = {0};
    otok_put_u32(digest + 6, n);
    return otok_seen_add(seen, digest, by, until_us, now_us);
}

/* The same, of a user and a client of its own. */
static int add(otok_seen *seen, uint32_t n, int64_t until_us, int64_t now_us)
{
    static const uint64_t odd = UINT64_C(0xd1342543de82ef95);
    return add_of(seen, &(otok_seen_by){(2 * n + 1) * odd, (2 * n + 2) * odd}, n, until_us, now_us);
}

/* P3 */
START_TEST(the_second_time_it_was_seen_before)
{
    otok_seen *seen = new_seen(100);
    for (uint32_t n = 0; n < 100; n++)
        ck_assert_int_eq(add(seen, n, MINUTE_US, 0), OTOK_SEEN_NEW);
    for (uint32_t n = 0; n < 100; n++)
        ck_assert_int_eq(add(seen, n, MINUTE_US, MINUTE_US), OTOK_SEEN_BEFORE);
    otok_seen_free(seen);
    otok_seen_free(NULL);
}
END_TEST

/* P3: the whole digest counts, each of its bits. */
START_TEST(digests_that_differ_in_one_bit_are_two)
{
    otok_seen *seen = new_seen(8 * OTOK_SEEN_SIZE);
    uint8_t digest[OTOK_SEEN_SIZE] = {0};
    for (size_t bit = 0; bit < sizeof digest * 8; bit++) {
        digest[bit / 8] = (uint8_t)(1U << bit % 8);
        const otok_seen_by by = {bit, ~(uint64_t)bit};
        ck_assert_int_eq(otok_seen_add(seen, digest, &by, 1, 0), OTOK_SEEN_NEW);
        ck_assert_int_eq(otok_seen_add(seen, digest, &by, 1, 0), OTOK_SEEN_BEFORE);
        digest[bit / 8] = 0;
    }
    otok_seen_free(seen);
}
END_TEST

/* P3: memory is bounded, and what is there is not pushed out by what comes. */
START_TEST(full_while_all_are_good_and_room_as_each_is_over)
{
    enum { MOST = 37 };
    otok_seen *seen = new_seen(MOST);
    for (uint32_t n = 0; n < MOST; n++) /* over at 1000, 1001, ... in no order */
        ck_assert_int_eq(add(seen, n, 1000 + n * 11 % MOST, 0), OTOK_SEEN_NEW);
    ck_assert_int_eq(add(seen, MOST, 5000, 0), OTOK_SEEN_FULL);
    ck_assert_int_eq(add(seen, MOST, 5000, 1000), OTOK_SEEN_FULL); /* good to the end of its time */
    for (uint32_t n = 0; n < MOST; n++) {
        ck_assert_int_eq(add(seen, MOST + n, 5000 + n, 1001 + n), OTOK_SEEN_NEW);
        ck_assert_int_eq(add(seen, 2 * MOST, 5000, 1001 + n), OTOK_SEEN_FULL);
    }
    for (uint32_t n = 0; n < MOST; n++) {
        ck_assert_int_eq(add(seen, MOST + n, 5000 + n, 2000), OTOK_SEEN_BEFORE);
    }
    otok_seen_free(seen);
    seen = new_seen(0);
    ck_assert_int_eq(add(seen, 1, 1, 0), OTOK_SEEN_FULL);
    otok_seen_free(seen);
}
END_TEST

/* P3: many times its size goes through it, and it says of each what a plain list says. */
START_TEST(it_is_what_a_plain_list_is)
{
    enum { MOST = 24, KINDS = 200, STEPS = 50000 };
    otok_seen *seen = new_seen(MOST);
    int64_t until[KINDS] = {0}, now_us = 1;
    uint32_t random = 1, found[3] = {0};
    for (int step = 0; step < STEPS; step++) {
        random = random * 1664525U + 1013904223U;
        uint32_t n = (random >> 8) % KINDS;
        now_us += random >> 29;
        int64_t mine_us = now_us + (random >> 16) % 300;
        unsigned held = 0;
        for (size_t i = 0; i < KINDS; i++)
            held += until[i] >= now_us;
        int expected = until[n] >= now_us ? OTOK_SEEN_BEFORE : held == MOST ? OTOK_SEEN_FULL : OTOK_SEEN_NEW;
        ck_assert_int_eq(add(seen, n, mine_us, now_us), expected);
        if (expected == OTOK_SEEN_NEW)
            until[n] = mine_us;
        found[expected]++;
    }
    for (size_t i = 0; i < 3; i++)
        ck_assert_uint_gt(found[i], STEPS / 100);
    otok_seen_free(seen);
}
END_TEST

/* P3: what was let go while the clock ran ahead is not new once it is set right: it cannot be known, and is not called a replay. */
START_TEST(clock_that_ran_ahead_makes_nothing_forgotten)
{
    static const int64_t jumps[] = {2 * MINUTE_US, OTOK_DAY_US, 10 * YEAR_US};
    for (size_t i = 0; i < sizeof jumps / sizeof jumps[0]; i++) {
        otok_seen *seen = new_seen(10);
        int64_t now_us = TEST_START_US, ahead_us = now_us + jumps[i];
        ck_assert_int_eq(add(seen, 1, now_us + MINUTE_US, now_us), OTOK_SEEN_NEW);
        ck_assert_int_eq(add(seen, 2, ahead_us + MINUTE_US, ahead_us), OTOK_SEEN_NEW);
        ck_assert_int_eq(add(seen, 1, now_us + MINUTE_US, now_us), OTOK_SEEN_UNKNOWN);
        ck_assert_int_eq(add(seen, 4, now_us + MINUTE_US, now_us), OTOK_SEEN_UNKNOWN);
        ck_assert_int_eq(add(seen, 3, now_us + MINUTE_US + 1, now_us + 1),
                         OTOK_SEEN_NEW); /* of later than was let go */
        ck_assert_int_eq(add(seen, 2, ahead_us + MINUTE_US, ahead_us), OTOK_SEEN_BEFORE);
        otok_seen_free(seen);
    }
}
END_TEST

/* P3: nor does one that fell back. */
START_TEST(clock_that_fell_back_makes_nothing_forgotten)
{
    otok_seen *seen = new_seen(10);
    int64_t now_us = TEST_START_US;
    ck_assert_int_eq(add(seen, 1, now_us + MINUTE_US, now_us), OTOK_SEEN_NEW);
    ck_assert_int_eq(add(seen, 2, now_us - 10 * YEAR_US + MINUTE_US, now_us - 10 * YEAR_US), OTOK_SEEN_NEW);
    ck_assert_int_eq(add(seen, 1, now_us + MINUTE_US, now_us - 10 * YEAR_US), OTOK_SEEN_BEFORE);
    ck_assert_int_eq(add(seen, 1, now_us + MINUTE_US, now_us), OTOK_SEEN_BEFORE);
    otok_seen_free(seen);
}
END_TEST

/* P3: a clock that ran ten years ahead for a while does not keep the room for ten years; nor is that forgotten when it does so again. */
START_TEST(those_from_far_ahead_make_room_and_stay_seen)
{
    enum { MOST = 20 };
    otok_seen *seen = new_seen(MOST);
    int64_t now_us = TEST_START_US, ahead_us = now_us + 10 * YEAR_US;
    for (uint32_t n = 0; n < MOST; n++)
        ck_assert_int_eq(add(seen, n, (n % 2 == 0 ? now_us : ahead_us) + MINUTE_US + n, now_us), OTOK_SEEN_NEW);
    for (uint32_t n = MOST; n < MOST + MOST / 2; n++)
        ck_assert_int_eq(add(seen, n, now_us + MINUTE_US + n, now_us), OTOK_SEEN_NEW);
    ck_assert_int_eq(add(seen, 1000, now_us + MINUTE_US, now_us), OTOK_SEEN_FULL);
    for (uint32_t n = 0; n < MOST; n++)
        ck_assert_int_eq(add(seen, n, (n % 2 == 0 ? now_us : ahead_us) + MINUTE_US + n, now_us),
                         n % 2 == 0 ? OTOK_SEEN_BEFORE : OTOK_SEEN_UNKNOWN);
    for (uint32_t n = MOST; n < MOST + MOST / 2; n++) /* the order of those that stayed is whole */
        ck_assert_int_eq(add(seen, n + MOST, now_us + 2 * MINUTE_US, now_us + MINUTE_US + 2 * (n - MOST) + 1),
                         OTOK_SEEN_NEW);
    ck_assert_int_eq(add(seen, 1001, ahead_us + 2 * MINUTE_US, ahead_us), OTOK_SEEN_NEW);
    ck_assert_int_eq(add(seen, 1, ahead_us + MINUTE_US + 1, ahead_us), OTOK_SEEN_UNKNOWN);
    otok_seen_free(seen);
}
END_TEST

/* P3: those that stay when they go are over each in its turn. */
START_TEST(those_that_stay_keep_their_order)
{
    enum { MOST = 50, SPAN = 1000, ROUNDS = 200 };
    uint32_t random = 1;
    for (int round = 0; round < ROUNDS; round++) {
        otok_seen *seen = new_seen(MOST);
        int64_t until[MOST];
        for (uint32_t n = 0; n < MOST; n++) {
            random = random * 1664525U + 1013904223U;
            until[n] = (random >> 31 != 0 ? 10 * YEAR_US : 0) + (random >> 16) % SPAN;
            ck_assert_int_eq(add(seen, n, until[n], 0), OTOK_SEEN_NEW);
        }
        ck_assert_int_eq(add(seen, MOST, SPAN, 0), OTOK_SEEN_NEW);
        int64_t now_us = (random >> 16) % SPAN;
        uint32_t held = 1, room = 0;
        for (size_t n = 0; n < MOST; n++)
            held += until[n] >= now_us && until[n] < SPAN;
        while (add(seen, 1000 + room, 2 * SPAN, now_us) == OTOK_SEEN_NEW)
            room++;
        ck_assert_uint_eq(room, MOST - held);
        otok_seen_free(seen);
    }
}
END_TEST

/* P3: of those that stayed some are far ahead for a clock that falls back further. */
START_TEST(room_is_made_each_time_the_clock_falls_back)
{
    otok_seen *seen = new_seen(2);
    ck_assert_int_eq(add(seen, 1, 900, 0), OTOK_SEEN_NEW);
    ck_assert_int_eq(add(seen, 2, YEAR_US, 0), OTOK_SEEN_NEW);
    ck_assert_int_eq(add(seen, 3, 0, 0), OTOK_SEEN_NEW);
    ck_assert_int_eq(add(seen, 4, 1, 0), OTOK_SEEN_FULL);
    ck_assert_int_eq(add(seen, 4, 1, 500 - OTOK_DAY_US), OTOK_SEEN_NEW);
    ck_assert_int_eq(add(seen, 1, 900, 0), OTOK_SEEN_UNKNOWN);
    otok_seen_free(seen);
}
END_TEST

/* P3: the ends of time are times. */
START_TEST(extreme_times)
{
    otok_seen *seen = new_seen(4);
    ck_assert_int_eq(add(seen, 1, INT64_MAX, INT64_MAX), OTOK_SEEN_NEW);
    ck_assert_int_eq(add(seen, 1, INT64_MAX, INT64_MIN), OTOK_SEEN_BEFORE);
    ck_assert_int_eq(add(seen, 2, INT64_MIN + 1, INT64_MIN), OTOK_SEEN_NEW);
    ck_assert_int_eq(add(seen, 3, 0, 0), OTOK_SEEN_NEW);
    ck_assert_int_eq(add(seen, 2, INT64_MIN + 1, INT64_MIN), OTOK_SEEN_UNKNOWN);
    otok_seen_free(seen);
}
END_TEST

/* P3, B: who sees none pays for none; and without memory nothing passes for new. */
START_TEST(memory_is_taken_by_the_first_and_its_lack_is_full)
{
    otok_seen *seen = (otok_seen *)&calls;
    fail_at = 0;
    test_assert_code(OTOK_E_NOMEM, otok_seen_new(10, 1, &seen, NULL));
    ck_assert_ptr_null(seen);
    test_assert_code(OTOK_E_INVALID, otok_seen_new(SIZE_MAX, 1, &seen, NULL));
    calls = 0;
    seen = new_seen(10);
    ck_assert_int_eq(calls, 1);
    for (long n = 0; n < 4; n++) {
        fail_at = n;
        ck_assert_int_eq(add(seen, 1, 1, 0), OTOK_SEEN_FULL);
    }
    ck_assert_int_eq(fail_at, -1);
    ck_assert_int_eq(add(seen, 1, 1, 0), OTOK_SEEN_NEW);
    calls = 0;
    ck_assert_int_eq(add(seen, 2, 1, 0), OTOK_SEEN_NEW);
    ck_assert_int_eq(calls, 0);
    otok_seen_free(seen);
}
END_TEST

enum { THREADS = 8, DIGESTS = 2000 };

typedef struct race {
    otok_seen *seen;
    atomic_uint was_new[DIGESTS], before, others;
} race;

static void add_all(void *arg, size_t i)
{
    race *r = arg;
    for (uint32_t n = 0; n < DIGESTS; n++) {
        uint32_t mine = (n + (uint32_t)i) % DIGESTS;
        int found = add(r->seen, mine, MINUTE_US, 0);
        if (found == OTOK_SEEN_NEW)
            atomic_fetch_add(&r->was_new[mine], 1);
        else
            atomic_fetch_add(found == OTOK_SEEN_BEFORE ? &r->before : &r->others, 1);
    }
}

/* P3 */
START_TEST(of_eight_threads_each_is_new_to_one)
{
    race *r = calloc(1, sizeof *r);
    r->seen = new_seen(DIGESTS);
    test_threads(THREADS, add_all, r);
    for (size_t n = 0; n < DIGESTS; n++)
        ck_assert_uint_eq(r->was_new[n], 1);
    ck_assert_uint_eq(r->before, (THREADS - 1) * DIGESTS);
    ck_assert_uint_eq(r->others, 0);
    otok_seen_free(r->seen);
    free(r);
}
END_TEST

/* ---- shares ---- */

enum { PLACES = 25700, USER_MOST = PLACES / 257, CLIENT_MOST = PLACES / 2 };

/* As many as one user of a client gets in, the first at `n`; each may be one more than its part, for what it held before counts. */
static uint32_t flood(otok_seen *seen, uint64_t user, uint64_t client, uint32_t n, int64_t now_us)
{
    uint32_t added = 0;
    const otok_seen_by by = {user, client};
    while (add_of(seen, &by, n + added, now_us + MINUTE_US, now_us) == OTOK_SEEN_NEW)
        added++;
    return added;
}

/* P3: one user, with as many clients, sessions and keys as he likes, takes a 257th, and refuses himself only. */
START_TEST(user_who_floods_refuses_himself_only)
{
    otok_seen *seen = new_seen(PLACES);
    uint32_t n = 0;
    for (uint64_t client = 1; client <= 50; client++)
        n += flood(seen, 1000, client, n, 0);
    ck_assert_uint_ge(n, USER_MOST);
    ck_assert_uint_le(n, USER_MOST + 1);
    for (uint64_t client = 1; client <= 50; client++) {
        ck_assert_int_eq(add_of(seen, &(otok_seen_by){1000, client}, n, 1, 0), OTOK_SEEN_FULL);
        ck_assert_int_eq(add_of(seen, &(otok_seen_by){2000 + client, client}, n++, 1, 0), OTOK_SEEN_NEW);
    }
    /* As his are over he has his share again. */
    ck_assert_uint_ge(flood(seen, 1000, 1, n, MINUTE_US + 1), USER_MOST);
    otok_seen_free(seen);
}
END_TEST

/* P3: one client, with as many users as it likes, takes half; each that comes later half of what is left. */
START_TEST(client_that_floods_leaves_as_much_as_it_takes)
{
    otok_seen *seen = new_seen(PLACES);
    uint32_t n = 0, taken[3] = {0};
    for (uint64_t client = 0; client < 3; client++) {
        for (uint64_t user = 0; user < 500; user++)
            taken[client] += flood(seen, 100000 * (client + 1) + user, client + 1, n + taken[client], 0);
        n += taken[client];
    }
    ck_assert_uint_ge(taken[0], CLIENT_MOST);
    ck_assert_uint_le(taken[0], CLIENT_MOST + 1);
    ck_assert_uint_le(taken[1], CLIENT_MOST / 2 + 1);
    ck_assert_uint_le(taken[2], CLIENT_MOST / 4 + 1);
    for (uint64_t client = 4; client < 30; client++)
        ck_assert_uint_gt(flood(seen, 7000 + client, client, n += 100, 0), 0);
    otok_seen_free(seen);
}
END_TEST

/* P3: users of one client can take its share together: then its other users are refused too, and no other client's. */
START_TEST(users_who_flood_take_the_share_of_their_client)
{
    otok_seen *seen = new_seen(PLACES);
    uint32_t n = 0;
    for (uint64_t user = 0; user < 200; user++)
        n += flood(seen, 1000 + user, 1, n, 0);
    ck_assert_uint_ge(n, CLIENT_MOST);
    ck_assert_uint_le(n, CLIENT_MOST + 1);
    ck_assert_int_eq(add_of(seen, &(otok_seen_by){5000, 1}, n, MINUTE_US, 0), OTOK_SEEN_FULL);
    ck_assert_int_eq(add_of(seen, &(otok_seen_by){5000, 2}, n, MINUTE_US, 0), OTOK_SEEN_NEW);
    ck_assert_int_eq(add_of(seen, &(otok_seen_by){1000, 2}, n + 1, MINUTE_US, 0), OTOK_SEEN_FULL);
    otok_seen_free(seen);
}
END_TEST

/* P3: with hundreds who flood from accounts and clients of their own, who holds nothing still finds a place. */
START_TEST(newcomer_finds_a_place_whoever_floods)
{
    otok_seen *seen = new_seen(PLACES);
    uint32_t n = 0;
    for (uint64_t i = 0; i < 300; i++) {
        n += flood(seen, 1000 + i, 1000000 + i, n, 0);
        ck_assert_int_eq(add_of(seen, &(otok_seen_by){50000 + i, 60000 + i}, n++, MINUTE_US, 0), OTOK_SEEN_NEW);
    }
    ck_assert_uint_lt(n, PLACES);
    otok_seen_free(seen);
}
END_TEST

/* P3: what is given back is what was charged: shares are whole again after many times their size, whoever it was. */
START_TEST(shares_are_given_back_exactly)
{
    otok_seen *seen = new_seen(PLACES);
    uint32_t n = 0, random = 1;
    int64_t now_us = 0;
    for (int step = 0; step < 100000; step++) {
        random = random * 1664525U + 1013904223U;
        const otok_seen_by by = {1 + (random >> 8) % 40, 1 + (random >> 16) % 40}; /* some are both: as names go */
        now_us += random >> 30;
        ck_assert_int_ne(add_of(seen, &by, n++, now_us + (random >> 12) % 3000, now_us), OTOK_SEEN_BEFORE);
    }
    now_us += MINUTE_US;
    for (uint64_t user = 1; user <= 40; user++) {
        uint32_t mine = flood(seen, user, 100 + user, n, now_us);
        ck_assert_uint_ge(mine, USER_MOST);
        ck_assert_uint_le(mine, USER_MOST + 1);
        n += mine;
        now_us += MINUTE_US + 1;
    }
    otok_seen_free(seen);
}
END_TEST

/* P3: one whose share is held by times far ahead, when the clock is set right, has it again. */
START_TEST(share_is_not_held_by_a_clock_that_ran_ahead)
{
    otok_seen *seen = new_seen(PLACES);
    uint32_t n = flood(seen, 1, 2, 0, 10 * YEAR_US);
    ck_assert_uint_ge(n, USER_MOST);
    ck_assert_uint_ge(flood(seen, 1, 2, n, 0), USER_MOST);
    ck_assert_int_eq(add_of(seen, &(otok_seen_by){3, 4}, 0, 10 * YEAR_US + MINUTE_US, 10 * YEAR_US), OTOK_SEEN_UNKNOWN);
    otok_seen_free(seen);
}
END_TEST

static void add_tests(TCase *tcase)
{
    tcase_add_test(tcase, user_who_floods_refuses_himself_only);
    tcase_add_test(tcase, client_that_floods_leaves_as_much_as_it_takes);
    tcase_add_test(tcase, users_who_flood_take_the_share_of_their_client);
    tcase_add_test(tcase, newcomer_finds_a_place_whoever_floods);
    tcase_add_test(tcase, shares_are_given_back_exactly);
    tcase_add_test(tcase, share_is_not_held_by_a_clock_that_ran_ahead);
    tcase_add_test(tcase, the_second_time_it_was_seen_before);
    tcase_add_test(tcase, digests_that_differ_in_one_bit_are_two);
    tcase_add_test(tcase, full_while_all_are_good_and_room_as_each_is_over);
    tcase_add_test(tcase, it_is_what_a_plain_list_is);
    tcase_add_test(tcase, clock_that_ran_ahead_makes_nothing_forgotten);
    tcase_add_test(tcase, clock_that_fell_back_makes_nothing_forgotten);
    tcase_add_test(tcase, those_from_far_ahead_make_room_and_stay_seen);
    tcase_add_test(tcase, those_that_stay_keep_their_order);
    tcase_add_test(tcase, room_is_made_each_time_the_clock_falls_back);
    tcase_add_test(tcase, extreme_times);
    tcase_add_test(tcase, memory_is_taken_by_the_first_and_its_lack_is_full);
    tcase_add_test(tcase, of_eight_threads_each_is_new_to_one);
}

int main(void)
{
    return test_main("seen", add_tests);
}
