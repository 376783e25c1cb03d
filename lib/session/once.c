/*
 * once.c - what was good for once: the key of an issue (I8), the token of another system (P4).
 *
 * Its record is found by its name, and says which session came of it.  Nothing secret is kept: the handle of that session's token is
 * derived from the name, under a key that is not in the store.
 *
 * SPDX-License-Identifier: MIT
 */
#include "session/birth.h"

#include <string.h>

/* ------------------------------------------------------------------------------------------------------------- finding */

static int unpack(const otok_service *service, const otok_record *record, otok_once *out, otok_error *err)
{
    bool is_once = record->kind == OTOK_RECORD_ONCE || record->kind == OTOK_RECORD_TOMBSTONE;
    if (!is_once || !otok_str_eq(record->realm, service->realm) || !otok_once_parse(record->body, out))
        return otok_fail(err, OTOK_E_FORMAT,
                         "the record of a key that is good for once has a format that this version does not know");
    return OTOK_OK;
}

int otok_once_find(otok_service *service, const char *purpose, const char *name, otok_once_use *out, otok_error *err)
{
    *out = (otok_once_use){0};
    int rc = otok_name_id(service, purpose, otok_str_of(name), &out->id, err);
    if (rc == OTOK_OK)
        rc = otok_record_fetch(service, &out->id, &out->record, err);
    if (rc == OTOK_OK && out->record != NULL)
        rc = unpack(service, out->record, &out->once, err);
    if (rc != OTOK_OK)
        otok_once_free(out);
    return rc;
}

void otok_once_free(otok_once_use *use)
{
    otok_record_free(use->record);
    use->record = NULL;
}

/* ----------------------------------------------------------------------------------------------------------- its token */

int otok_once_handle(const otok_mac_key *key, const char *name, const char *client_id, uint8_t out[OTOK_HANDLE_SIZE],
                     otok_error *err)
{
    uint8_t lengths[8], mac[OTOK_SHA256_SIZE];
    otok_str texts[] = {otok_str_of(name), otok_str_of(client_id)};
    otok_put_u32(lengths, (uint32_t)texts[0].len);
    otok_put_u32(lengths + 4, (uint32_t)texts[1].len);
    const otok_str parts[] = {{lengths, sizeof lengths}, texts[0], texts[1]};
    int rc = otok_mac(key, parts, sizeof parts / sizeof parts[0], mac, err);
    if (rc == OTOK_OK)
        memcpy(out, mac, OTOK_HANDLE_SIZE);
    otok_wipe(mac, sizeof mac);
    return rc;
}

int otok_once_token(otok_service *service, const otok_once_use *use, const char *name, const char *client_id,
                    otok_token *out, otok_error *err)
{
    const otok_once *once = &use->once;
    const otok_realm_key *key;
    otok_id session;
    int rc = otok_service_key(service, once->key_id, &key, err);
    if (rc != OTOK_OK)
        return rc;
    if (key == NULL)
        return otok_fail(err, OTOK_E_KEY, "the token was derived under MAC key %u, which is not in the keyring",
                         once->key_id);
    *out = (otok_token){
        .key_id = once->key_id,
        .generation = once->adopted, /* the token of the other system is generation 0 */
        .issued_ms = otok_get_u48(once->session.bytes),
    };
    rc = otok_once_handle(once->adopted ? key->adoption : key->once, name, client_id, out->handle, err);
    if (rc == OTOK_OK)
        rc = otok_token_session_id(out, service->realm, &session, err);
    if (rc == OTOK_OK && otok_id_compare(&session, &once->session) != 0)
        rc = otok_fail(err, OTOK_E_TAMPERED, "the record of a key that is good for once was changed by someone else");
    if (rc != OTOK_OK)
        otok_wipe(out, sizeof *out);
    return rc;
}

/* ------------------------------------------------------------------------------------------------------------- writing */

static int set_keys(otok_service *service, otok_once_write *out, bool filed, otok_error *err)
{
    size_t n = 0;
    int rc =
        otok_names_of_owner(service, OTOK_RECORD_ONCE, out->record.subject, out->record.client, out->keys, &n, err);
    if (rc == OTOK_OK && filed)
        rc = otok_sweep_key(service, &out->keys[n++], err);
    out->record.keys = out->keys;
    out->record.nkeys = n;
    return rc;
}

int otok_once_prepare(otok_service *service, const otok_id *id, const otok_once *once, otok_str subject,
                      otok_str client, int64_t keep_until_us, otok_once_write *out, otok_error *err)
{
    *out = (otok_once_write){0};
    otok_once_print(once, out->body);
    out->record = (otok_record){
        .size = sizeof out->record,
        .kind = OTOK_RECORD_ONCE,
        .id = *id,
        .created_us = once->used_us,
        .sweep_us = keep_until_us,
        .realm = service->realm,
        .subject = subject,
        .client = client,
        .body = {out->body, sizeof out->body},
    };
    out->write = (otok_write){OTOK_WRITE_INSERT, 0, &out->record};
    int rc = set_keys(service, out, keep_until_us != OTOK_UNLIMITED, err);
    return rc == OTOK_OK ? otok_random(&out->record.version, sizeof out->record.version, err) : rc;
}
