/*
 * check_tampering.c - K7: who can write the database, but has no keyring, cannot turn one session into another.
 *
 * SPDX-License-Identifier: MIT
 */
#include "support/ask.h"
#include "support/node.h"

#include <stdlib.h>
#include <string.h>

static int keep_record(void *arg, const otok_record *record)
{
    otok_record **out = arg;
    *out = otok_record_copy(record);
    return 1;
}

/* A copy of the record of a session, which the test may edit where it points. */
static otok_record *take(test_fixture *f, const char *session_id)
{
    otok_id id;
    otok_error err;
    otok_record *record = NULL;
    ck_assert(otok_session_id_parse(session_id, &id));
    test_assert_code(OTOK_OK, otok_store_fetch(f->store, &id, 1, 0, keep_record, &record, &err));
    ck_assert_ptr_nonnull(record);
    return record;
}

static void write_one(test_fixture *f, uint32_t op, uint64_t expect, const otok_record *record)
{
    otok_error err;
    otok_write w = {.op = op, .expect = expect, .record = record};
    otok_group group = {.writes = &w, .n = 1};
    test_assert_code(OTOK_OK, otok_store_commit(f->store, &group, 1, &err));
    ck_assert_msg(group.result == OTOK_OK, "%s: %s", otok_error_name(group.result), group.error.message);
}

/* What is in the store under that id becomes `record`, created_us and all. */
static void put(test_fixture *f, const otok_record *record)
{
    char id[OTOK_SESSION_ID_CHARS + 1];
    otok_session_id_print(&record->id, id);
    otok_record *there = take(f, id);
    write_one(f, OTOK_WRITE_DELETE, there->version, there);
    write_one(f, OTOK_WRITE_INSERT, 0, record);
    otok_record_free(there);
}

static bool is_refusal(int rc)
{
    return rc == OTOK_E_TAMPERED || rc == OTOK_E_FORMAT || rc == OTOK_E_KEY;
}

/* Two sessions; each edit makes out of alice's record, with or without mallory's, one that gives a thief something. */
typedef struct pair {
    otok_record *alice, *mallory;
} pair;

static void another_subject(otok_record *r, const pair *p)
{
    r->subject = p->mallory->subject;
}

static void another_client(otok_record *r, const pair *p)
{
    r->client = p->mallory->client;
}

static void another_realm(otok_record *r, const pair *p)
{
    (void)p;
    r->realm = otok_str_of("elsewhere");
}

static void later_creation(otok_record *r, const pair *p)
{
    (void)p;
    r->created_us += 1;
}

static void earlier_creation(otok_record *r, const pair *p)
{
    (void)p;
    r->created_us -= 1;
}

static void no_links(otok_record *r, const pair *p)
{
    (void)p;
    r->nlinks = 0;
}

static void one_link_less(otok_record *r, const pair *p)
{
    (void)p;
    r->nlinks--;
}

static void links_of_another(otok_record *r, const pair *p)
{
    r->links = p->mallory->links;
    r->nlinks = p->mallory->nlinks;
}

static void body_of_another(otok_record *r, const pair *p)
{
    r->body = p->mallory->body;
}

static void body_and_subject_of_another(otok_record *r, const pair *p)
{
    body_of_another(r, p);
    another_subject(r, p);
}

static void all_of_another_but_the_id(otok_record *r, const pair *p)
{
    otok_id id = r->id;
    *r = *p->mallory;
    r->id = id;
}

static void no_body(otok_record *r, const pair *p)
{
    (void)p;
    r->body.len = 0;
}

static void half_a_body(otok_record *r, const pair *p)
{
    (void)p;
    r->body.len /= 2;
}

static void another_kind(otok_record *r, const pair *p)
{
    (void)p;
    r->kind = OTOK_RECORD_ONCE;
}

static void half_a_head(otok_record *r, const pair *p)
{
    (void)p;
    r->head.len /= 2;
}

static void (*const edits[])(otok_record *, const pair *) = {
    another_subject,
    another_client,
    later_creation,
    half_a_head,
    earlier_creation,
    no_links,
    one_link_less,
    links_of_another,
    body_of_another,
    no_body,
    body_and_subject_of_another,
    all_of_another_but_the_id,
    half_a_body,
    another_realm,
    another_kind,
};
enum { EDITS = sizeof edits / sizeof *edits, GONE_EDITS = EDITS - 2 }; /* these last two make it no session of ours */

static void each_edit(int engine, int edit)
{
    test_fixture *f = test_open(engine);
    otok_grant grant = test_grant("alice", "phone", "offline_access");
    grant.sid = "s1";
    test_held alice = test_hold_grant(f, &grant), mallory = test_hold(f, "mallory", "game"),
              other = test_hold(f, "alice", "phone");
    pair p = {take(f, alice.session_id), take(f, mallory.session_id)};
    otok_record edited = *p.alice;
    edits[edit](&edited, &p);
    put(f, &edited);
    test_forget_events(f);
    int rc = test_refresh_code(f, alice.token, "phone");
    ck_assert_msg(is_refusal(rc) || (edit >= GONE_EDITS && rc == OTOK_E_TOKEN_UNKNOWN), "%s", otok_error_name(rc));
    ck_assert_int_ne(test_refresh_code(f, alice.token, "game"), OTOK_OK);
    ck_assert_uint_eq(test_count_events(f, OTOK_EVENT_REVOKED), 0);
    /* Nothing else is harmed, and the record as it was is good as it was. */
    test_assert_code(OTOK_OK, test_refresh_code(f, mallory.token, "game"));
    test_assert_code(OTOK_OK, test_refresh_code(f, other.token, "phone"));
    put(f, p.alice);
    test_assert_code(OTOK_OK, test_refresh_code(f, alice.token, "phone"));
    otok_record_free(p.alice);
    otok_record_free(p.mallory);
    test_close(f);
}

/* K7 */
START_TEST(edited_record_is_refused_and_nothing_else_is_harmed)
{
    each_edit(TEST_MEMORY, _i);
}
END_TEST

/* K7 */
START_TEST(edited_record_is_refused_on_lmdb)
{
    each_edit(TEST_LMDB, _i);
}
END_TEST

/* K7: the thief's own token, over his own session's id, with alice's record in its place */
START_TEST(record_of_another_under_the_own_id_is_refused)
{
    test_fixture *f = test_open(_i);
    test_held alice = test_hold(f, "alice", "phone"), mallory = test_hold(f, "mallory", "phone");
    otok_record *hers = take(f, alice.session_id), *his = take(f, mallory.session_id);
    otok_record edited = *hers;
    edited.id = his->id;
    put(f, &edited);
    test_assert_code(OTOK_E_TAMPERED, test_refresh_code(f, mallory.token, "phone"));
    edited = *his;
    edited.body = hers->body;
    put(f, &edited);
    test_assert_code(OTOK_E_TAMPERED, test_refresh_code(f, mallory.token, "phone"));
    edited.subject = hers->subject;
    put(f, &edited);
    test_assert_code(OTOK_E_TAMPERED, test_refresh_code(f, mallory.token, "phone"));
    test_assert_code(OTOK_OK, test_refresh_code(f, alice.token, "phone"));
    otok_record_free(hers);
    otok_record_free(his);
    test_close(f);
}
END_TEST

/* What the access token says, without its times and ids: enough to see that nobody became somebody else. */
static void assert_same_grant(const char *access_token, const char *subject)
{
    otok_error err;
    otok_jws *jwt = NULL;
    test_assert_code(OTOK_OK, otok_jws_parse(access_token, strlen(access_token), &jwt, &err));
    ck_assert_pstr_eq(otok_json_text(jwt->payload, "sub"), subject);
    ck_assert_pstr_eq(otok_json_text(jwt->payload, "client_id"), "phone");
    otok_jws_free(jwt);
}

/* K7: each bit of the body: refused, or (label, last IP and user agent are not sealed) the same grant as before */
START_TEST(body_with_one_bit_changed_gives_nobody_anything)
{
    size_t refused = 0;
    otok_peer peer;
    otok_grant grant = test_grant("alice", "phone", "offline_access profile");
    test_fixture *f = test_open(TEST_MEMORY);
    f->policy.rotation = OTOK_ROTATION_NEVER;
    test_reopen_service(f);
    otok_peer_init(&peer, sizeof peer);
    peer.ip = "192.0.2.1";
    grant.peer = &peer;
    grant.label = "tab";
    grant.sub = "pairwise-alice";
    test_held held = test_hold_grant(f, &grant);
    otok_record *record = take(f, held.session_id);
    uint8_t *body = (uint8_t *)(uintptr_t)record->body.data;
    for (size_t bit = 0; bit < record->body.len * 8; bit++) {
        otok_tokens *tokens = NULL;
        body[bit / 8] ^= (uint8_t)(1u << bit % 8);
        put(f, record);
        int rc = test_refresh(f, held.token, NULL, &tokens);
        ck_assert_msg(rc == OTOK_OK || is_refusal(rc), "bit %zu: %s", bit, otok_error_name(rc));
        refused += rc != OTOK_OK;
        if (rc == OTOK_OK) {
            assert_same_grant(tokens->access_token, "pairwise-alice");
            ck_assert_str_eq(tokens->scope, "offline_access profile");
        }
        otok_tokens_free(tokens);
        body[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
    ck_assert_uint_ge(refused, record->body.len * 8 / 2);
    put(f, record);
    test_assert_code(OTOK_OK, test_refresh_code(f, held.token, NULL));
    otok_record_free(record);
    test_close(f);
}
END_TEST

/* K7, V1: a damaged record can be got rid of, and does not stand in the way of others */
START_TEST(tampered_session_can_be_revoked_and_spoils_no_list)
{
    otok_error err;
    test_fixture *f = test_open(_i);
    otok_filter alice = test_filter("alice", NULL, NULL);
    test_held good = test_hold(f, "alice", "phone"), bad = test_hold(f, "alice", "phone");
    otok_record *record = take(f, bad.session_id);
    otok_record edited = *record;
    edited.subject = otok_str_of("mallory");
    put(f, &edited);
    test_assert_code(OTOK_E_TAMPERED, test_refresh_code(f, bad.token, NULL));
    ck_assert_uint_ge(test_list(f, &alice, 0, 0, NULL, 0), 1);
    test_assert_code(OTOK_OK, otok_revoke_session(f->service, bad.session_id, &err));
    test_assert_code(OTOK_E_TOKEN_UNKNOWN, test_refresh_code(f, bad.token, NULL));
    test_assert_code(OTOK_OK, test_refresh_code(f, good.token, NULL));
    otok_record_free(record);
    test_close(f);
}
END_TEST

static void add_tests(TCase *tc)
{
    const TTest *const on_both[] = {record_of_another_under_the_own_id_is_refused,
                                    tampered_session_can_be_revoked_and_spoils_no_list};
    test_add_on_both(tc, on_both, sizeof on_both / sizeof *on_both);
    tcase_add_loop_test(tc, edited_record_is_refused_and_nothing_else_is_harmed, 0, EDITS);
    tcase_add_loop_test(tc, edited_record_is_refused_on_lmdb, 0, EDITS);
    tcase_add_test(tc, body_with_one_bit_changed_gives_nobody_anything);
}

int main(void)
{
    return test_main("tampering", add_tests);
}
