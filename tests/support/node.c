/*
 * node.c
 *
 * SPDX-License-Identifier: MIT
 */
#include "support/node.h"

#include <stdlib.h>

test_fixture *test_open_node(const test_fixture *f, const char *realm)
{
    test_fixture *node = calloc(1, sizeof *node);
    *node = *f;
    node->folder = NULL;
    node->store = otok_store_ref(f->store);
    node->keyring = otok_keyring_ref(f->keyring);
    node->service = NULL;
    node->realm = realm;
    node->events = calloc(TEST_MAX_EVENTS, sizeof *node->events);
    node->nevents = 0;
    node->lock = malloc(sizeof *node->lock);
    pthread_mutex_init(node->lock, NULL);
    test_reopen_service(node);
    return node;
}
