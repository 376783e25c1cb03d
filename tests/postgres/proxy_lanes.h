/*
 * proxy_lanes.h - trials side by side.  Most of a trial is waiting, for a message that comes late: each lane has a proxy, connections and
 * a realm of its own, and waits by itself.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef TEST_PROXY_LANES_H
#define TEST_PROXY_LANES_H

#include "postgres/proxy_trials.h"

/* Which messages: every `step`th beginning with `first` is cut off before and behind it; every `rare_step`th gets all the rest. */
typedef struct proxy_choice {
    size_t first, step, rare_step;
} proxy_choice;

typedef struct proxy_lanes proxy_lanes;

/* Before the server in the folder `server`.  NULL: it says why in `story`. */
proxy_lanes *proxy_lanes_open(const char *server, char story[512]);
void proxy_lanes_close(proxy_lanes *lanes);

/* Adds what can be done to the chosen messages of an operation, both ways.  False: it is told in the tally. */
bool proxy_lanes_add(proxy_lanes *lanes, proxy_operation operation, bool cold, const proxy_choice *choice,
                     proxy_tally *tally);

/* Tries all that was added, to the end even if one fails, and forgets it.  False as above. */
bool proxy_lanes_try(proxy_lanes *lanes, proxy_tally *tally);

#endif
