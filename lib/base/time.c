/*
 * time.c - clocks.
 *
 * SPDX-License-Identifier: MIT
 */
#include "base/base.h"

#include <time.h>

static int64_t read_clock(clockid_t clock)
{
    struct timespec ts = {0};
    (void)clock_gettime(clock, &ts);
    return (int64_t)ts.tv_sec * OTOK_US_PER_S + ts.tv_nsec / 1000;
}

int64_t otok_clock_now_us(void)
{
    return read_clock(CLOCK_REALTIME);
}

int64_t otok_clock_monotonic_us(void)
{
    return read_clock(CLOCK_MONOTONIC);
}
