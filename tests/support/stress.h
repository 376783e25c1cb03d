/*
 * stress.h - many threads that refresh one session, each with the latest token that it was given.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef TEST_STRESS_H
#define TEST_STRESS_H

#include "support/fixture.h"

typedef struct test_stress {
    uint64_t calls;
    uint64_t advanced, retried, kept; /* by outcome */
    uint64_t refused;                 /* whatever was not OTOK_OK */
    int first_refusal;                /* its code */
    uint32_t generation;              /* of the session, afterwards */
    double seconds;
} test_stress;

/*
 * The clock moves by half a retry window whenever every thread has come round since it last moved: so nobody is ever further
 * behind than a client that lost one response, and nobody may be refused.
 */
test_stress test_stress_refresh(test_fixture *f, size_t threads, double seconds);

#endif
