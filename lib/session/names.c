/*
 * names.c - the digests by which records of a realm are found: index keys, marks, what was good for once.
 *
 * SPDX-License-Identifier: MIT
 */
#include "session/session.h"

#include <string.h>

enum { LONGEST_NAME = 255 };

static const otok_str none = {0};

/* 16 bytes of SHA-256 over purpose, index or scope number, and length-prefixed realm and names. */
static int digest(const otok_service *service, const char *purpose, uint32_t number, otok_str a, otok_str b,
                  uint8_t out[16], otok_error *err)
{
    uint8_t numbers[16], sha[OTOK_SHA256_SIZE];
    otok_put_u32(numbers, number);
    otok_put_u32(numbers + 4, (uint32_t)service->realm.len);
    otok_put_u32(numbers + 8, (uint32_t)a.len);
    otok_put_u32(numbers + 12, (uint32_t)b.len);
    const otok_str parts[] = {otok_str_of(purpose), {numbers, sizeof numbers}, service->realm, a, b};
    int rc = otok_sha256(parts, sizeof parts / sizeof parts[0], sha, err);
    if (rc == OTOK_OK)
        memcpy(out, sha, 16);
    return rc;
}

int otok_index_of(const otok_service *service, uint32_t kind, uint32_t index, otok_str a, otok_str b,
                  otok_index_key *out, otok_error *err)
{
    const char *purpose = kind == OTOK_RECORD_SESSION ? "otok-index-session"
                          : kind == OTOK_RECORD_PAIR  ? "otok-index-pair"
                          : kind == OTOK_RECORD_ONCE  ? "otok-index-once"
                                                      : "otok-index-event";
    out->index = index;
    return digest(service, purpose, index, a, b, out->digest, err);
}

static int session_index(const otok_service *service, uint32_t index, otok_str a, otok_str b, otok_index_key *out,
                         otok_error *err)
{
    return otok_index_of(service, OTOK_RECORD_SESSION, index, a, b, out, err);
}

/* A mark is found by the digest under which the sessions that it lies over are listed: a store may keep the two once. */
static otok_id mark_of(const otok_index_key *key)
{
    otok_id id;
    memcpy(id.bytes, key->digest, sizeof id.bytes);
    return id;
}

int otok_name_id(const otok_service *service, const char *purpose, otok_str name, otok_id *out, otok_error *err)
{
    return digest(service, purpose, 0, name, (otok_str){0}, out->bytes, err);
}

/* Everything of the realm, in another order: the digest of its index serves both. */
int otok_sweep_key(const otok_service *service, otok_index_key *out, otok_error *err)
{
    int rc = session_index(service, OTOK_INDEX_REALM, none, none, out, err);
    out->index = OTOK_INDEX_SWEEP;
    return rc;
}

/* The scopes of marks, in the order in which a session links to them, are indexes of sessions too. */
static int add_scope(const otok_service *service, uint32_t index, otok_str a, otok_str b, otok_session_names *out,
                     otok_error *err)
{
    otok_index_key *key = &out->keys[out->nkeys++];
    int rc = session_index(service, index, a, b, key, err);
    if (rc == OTOK_OK)
        out->links[out->nlinks++] = mark_of(key);
    return rc;
}

int otok_names_of_session(const otok_service *service, otok_str subject, otok_str client, otok_str sid,
                          otok_session_names *out, otok_error *err)
{
    const struct {
        uint32_t index;
        otok_str a, b;
    } scopes[] = {
        {OTOK_INDEX_REALM, none, none},     {OTOK_INDEX_SUBJECT, subject, none}, {OTOK_INDEX_CLIENT, client, none},
        {OTOK_INDEX_PAIR, subject, client}, {OTOK_INDEX_SID, sid, none},
    };
    size_t n = sizeof scopes / sizeof scopes[0] - (sid.len == 0);
    out->nkeys = out->nlinks = 0;
    int rc = OTOK_OK;
    for (size_t i = 0; rc == OTOK_OK && i < n; i++)
        rc = add_scope(service, scopes[i].index, scopes[i].a, scopes[i].b, out, err);
    return rc == OTOK_OK ? otok_sweep_key(service, &out->keys[out->nkeys++], err) : rc;
}

int otok_names_of_owner(const otok_service *service, uint32_t kind, otok_str subject, otok_str client,
                        otok_index_key keys[OTOK_OWNER_KEYS], size_t *n, otok_error *err)
{
    *n = 0;
    int rc = otok_index_of(service, kind, OTOK_INDEX_REALM, none, none, &keys[(*n)++], err);
    if (rc == OTOK_OK && subject.len != 0)
        rc = otok_index_of(service, kind, OTOK_INDEX_SUBJECT, subject, none, &keys[(*n)++], err);
    if (rc == OTOK_OK && client.len != 0)
        rc = otok_index_of(service, kind, OTOK_INDEX_CLIENT, client, none, &keys[(*n)++], err);
    return rc;
}

void otok_filter_init(otok_filter *filter, size_t size)
{
    otok_struct_init(filter, size);
}

static int check_filter(const otok_filter *in, otok_filter *out, otok_error *err)
{
    int rc = otok_struct_read(out, sizeof *out, in, sizeof(size_t) + sizeof(char *), "otok_filter", err);
    if (rc == OTOK_OK)
        rc = otok_text_check(out->subject, LONGEST_NAME, out->subject != NULL, "filter.subject", NULL, err);
    if (rc == OTOK_OK)
        rc = otok_text_check(out->client_id, LONGEST_NAME, out->client_id != NULL, "filter.client_id", NULL, err);
    if (rc == OTOK_OK)
        rc = otok_text_check(out->sid, LONGEST_NAME, out->sid != NULL, "filter.sid", NULL, err);
    if (rc != OTOK_OK)
        return rc;
    if (out->unused != 0)
        return otok_fail(err, OTOK_E_INVALID, "filter.unused is not 0");
    bool by_name = out->subject != NULL || out->client_id != NULL;
    if (out->whole_realm != 0 && out->whole_realm != 1)
        return otok_fail(err, OTOK_E_INVALID, "filter.whole_realm is neither 0 nor 1");
    if (by_name + (out->sid != NULL) + out->whole_realm > 1)
        return otok_fail(err, OTOK_E_INVALID, "filter.sid and filter.whole_realm stand alone");
    if (by_name + (out->sid != NULL) + out->whole_realm == 0)
        return otok_fail(err, OTOK_E_INVALID, "filter is empty: for everything set filter.whole_realm to 1");
    return OTOK_OK;
}

int otok_names_of_filter(const otok_service *service, const otok_filter *filter, otok_scope_names *out, otok_error *err)
{
    otok_filter own;
    int rc = check_filter(filter, &own, err);
    if (rc != OTOK_OK)
        return rc;
    *out = (otok_scope_names){
        .subject = own.subject,
        .client_id = own.client_id,
        .sid = own.sid,
        .whole_realm = own.whole_realm != 0,
        .mark_kind = OTOK_RECORD_CUTOFF,
    };
    otok_str a = none, b = none;
    uint32_t index = OTOK_INDEX_REALM;
    if (own.subject != NULL && own.client_id != NULL) {
        index = OTOK_INDEX_PAIR;
        a = otok_str_of(own.subject);
        b = otok_str_of(own.client_id);
        out->mark_kind = OTOK_RECORD_PAIR;
    } else if (own.subject != NULL) {
        index = OTOK_INDEX_SUBJECT;
        a = otok_str_of(own.subject);
    } else if (own.client_id != NULL) {
        index = OTOK_INDEX_CLIENT;
        a = otok_str_of(own.client_id);
    } else if (own.sid != NULL) {
        index = OTOK_INDEX_SID;
        a = otok_str_of(own.sid);
    }
    rc = session_index(service, index, a, b, &out->index, err);
    if (rc == OTOK_OK)
        out->mark = mark_of(&out->index);
    return rc;
}

int otok_names_of_pair(const otok_service *service, const char *subject, const char *client_id, otok_scope_names *out,
                       otok_error *err)
{
    otok_filter filter;
    otok_filter_init(&filter, sizeof filter);
    filter.subject = subject;
    filter.client_id = client_id;
    int rc = otok_text_check(subject, LONGEST_NAME, true, "subject", NULL, err);
    if (rc == OTOK_OK)
        rc = otok_text_check(client_id, LONGEST_NAME, true, "client_id", NULL, err);
    return rc == OTOK_OK ? otok_names_of_filter(service, &filter, out, err) : rc;
}
