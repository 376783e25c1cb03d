/*
 * keyring_list.c - what keys there are, for those who rotate them (K2, K3).
 *
 * SPDX-License-Identifier: MIT
 */
#include "keys/keys.h"

#include <string.h>

/* A list and all that it points to: one allocation. */
struct row {
    otok_key key;
    char kid[OTOK_KID_CHARS + 1];
};

struct box {
    otok_key_list list;
    const otok_key *keys[2 * OTOK_MAX_KEYRING_KEYS];
    struct row rows[];
};

static void add_row(struct box *box, const char kid[OTOK_KID_CHARS + 1], otok_key key)
{
    struct row *row = &box->rows[box->list.count];
    memcpy(row->kid, kid, sizeof row->kid);
    row->key = key;
    row->key.size = sizeof row->key;
    row->key.kid = row->kid;
    box->keys[box->list.count++] = &row->key;
}

int otok_keyring_keys(const otok_keyring *keyring, otok_key_list **out, otok_error *err)
{
    if (keyring == NULL || out == NULL)
        return otok_fail(err, OTOK_E_INVALID, "%s is required", keyring == NULL ? "keyring" : "out");
    *out = NULL;
    struct box *box = otok_calloc(1, sizeof *box + (keyring->nsigning + keyring->ntoken) * sizeof(struct row));
    if (box == NULL)
        return otok_fail(err, OTOK_E_NOMEM, "no memory for a list of keys");
    for (size_t i = 0; i < keyring->nsigning; i++) {
        const otok_signing_key *key = &keyring->signing[i];
        add_row(box, key->kid,
                (otok_key){.use = OTOK_KEY_SIGNING,
                           .state = key->state,
                           .algorithm = otok_pkey_algorithm(key->pkey),
                           .external = key->external,
                           .created_us = key->created_us});
    }
    for (size_t i = 0; i < keyring->ntoken; i++) {
        const otok_token_key *key = &keyring->token[i];
        add_row(
            box, key->kid,
            (otok_key){.use = OTOK_KEY_TOKEN, .state = key->state, .token_id = key->id, .created_us = key->created_us});
    }
    box->list.size = sizeof box->list;
    box->list.keys = box->keys;
    *out = &box->list;
    return OTOK_OK;
}

/* The list is where its box begins. */
void otok_key_list_free(otok_key_list *list)
{
    otok_free(list);
}
