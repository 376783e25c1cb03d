/*
 * node.h - another node of the same server: a service of its own, with its own clock, policy and events, over the store and
 * keyring of a fixture.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef TEST_NODE_H
#define TEST_NODE_H

#include "support/fixture.h"

/* As a fixture in every respect but test_restart(); closed with test_close(), before or after the fixture. */
test_fixture *test_open_node(const test_fixture *f, const char *realm);

#endif
