/*
 * inspect.c - what an offline token says of itself: for administrators who were shown one.
 *
 * SPDX-License-Identifier: MIT
 */
#include "session/session.h"

#include <string.h>

void otok_token_info_init(otok_token_info *info, size_t size)
{
    otok_struct_init(info, size);
}

static int32_t state_of_key(otok_service *service, uint8_t id)
{
    const otok_keyring *keyring = otok_service_now_keys(service)->keyring;
    for (size_t i = 0; i < keyring->ntoken; i++) {
        if (keyring->token[i].id == id)
            return keyring->token[i].state;
    }
    return 0;
}

static int inspect(otok_service *service, const otok_presented *presented, otok_token_info *out, otok_error *err)
{
    const otok_realm_key *key;
    otok_id id;
    *out = (otok_token_info){.size = sizeof *out,
                             .token_id = presented->token.key_id,
                             .generation = presented->token.generation,
                             .issued_us = (int64_t)presented->token.issued_ms * OTOK_US_PER_MS};
    int rc = otok_service_key(service, presented->token.key_id, &key, err);
    if (rc == OTOK_OK && key != NULL) {
        out->key_state = state_of_key(service, presented->token.key_id);
        rc = otok_token_verify(presented, key->token, err);
        out->genuine = rc == OTOK_OK;
        if (rc == OTOK_E_TOKEN_INVALID)
            rc = OTOK_OK;
    }
    if (rc == OTOK_OK)
        rc = otok_token_session_id(&presented->token, service->realm, &id, err);
    if (rc == OTOK_OK)
        otok_session_id_print(&id, out->session_id);
    return rc;
}

int otok_token_inspect(otok_service *service, const char *token, otok_token_info *info, otok_error *err)
{
    otok_presented presented;
    otok_token_info found;
    if (service == NULL || token == NULL || info == NULL)
        return otok_fail(err, OTOK_E_INVALID, "%s is required",
                         service == NULL ? "service" : (token == NULL ? "token" : "info"));
    int rc = otok_struct_lent(info, "otok_token_info", err);
    if (rc != OTOK_OK)
        return rc;
    if (!otok_token_parse(token, &presented))
        return otok_fail(err, OTOK_E_TOKEN_INVALID, "that is not of the form of an offline token");
    rc = inspect(service, &presented, &found, err);
    otok_wipe(&presented, sizeof presented);
    if (rc == OTOK_OK)
        otok_struct_give(info, &found, sizeof found);
    return rc;
}
