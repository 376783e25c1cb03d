/*
 * check_once_issue.c - I8: a key that is good for one issue makes a lost response harmless.  Its replay: check_once_replay.c;
 * races: check_once_races.c; its record: check_once.c.
 *
 * SPDX-License-Identifier: MIT
 */
#include "support/node.h"
#include "support/records.h"
#include "support/story.h"
#include "support/watch.h"

#include <stdio.h>
#include <string.h>

#include "support/claims.h"

enum { WINDOW_S = 60, KEEP_S = TEST_DAY_S }; /* by default */

static otok_grant grant_with(const char *once_key)
{
    otok_grant grant = test_grant(NULL, NULL, NULL);
    grant.once_key = once_key;
    return grant;
}

static int code_of(test_fixture *f, const otok_grant *grant)
{
    otok_tokens *tokens = NULL;
    int rc = otok_issue(f->service, grant, &tokens, NULL);
    ck_assert_int_eq(tokens != NULL, rc == OTOK_OK);
    otok_tokens_free(tokens);
    return rc;
}

/* ---------------------------------------------------------------------------------------------------- the lost response */

/* I8 */
START_TEST(same_key_is_answered_with_the_same_session_and_token)
{
    test_fixture *f = test_open(_i);
    otok_grant grant = grant_with("code-1");
    const otok_tokens *first = test_granted(f, &grant);
    ck_assert_int_eq(first->outcome, OTOK_OUTCOME_ISSUED);
    uint64_t state = test_store_state(f->store);
    for (int i = 0; i < 3; i++) {
        test_advance_s(f, WINDOW_S / 4);
        const otok_tokens *again = test_granted(f, &grant);
        test_expect_same(first, again);
        ck_assert_int_eq(again->outcome, OTOK_OUTCOME_RETRIED);
        ck_assert_uint_eq(again->generation, 0);
        ck_assert_str_ne(first->access_token, again->access_token);
        ck_assert_int_eq(again->offline_expires_in_s, first->offline_expires_in_s - (i + 1) * WINDOW_S / 4);
    }
    ck_assert_uint_eq(state, test_store_state(f->store));
    ck_assert_uint_eq(test_count_events(f, OTOK_EVENT_ISSUED), 1);
    ck_assert_uint_eq(test_count_events(f, OTOK_EVENT_RETRIED), 3);
    ck_assert_uint_eq(f->nevents, 4);
    test_rotated(f, first, 2);
    test_end(f);
}
END_TEST

/* I8 */
START_TEST(other_keys_begin_other_sessions)
{
    test_fixture *f = test_open(TEST_MEMORY);
    otok_grant grants[] = {grant_with("code-1"), grant_with("code-2"), grant_with("code-"), grant_with(NULL),
                           grant_with(NULL)};
    const otok_tokens *tokens[5];
    for (size_t i = 0; i < 5; i++) {
        tokens[i] = test_granted(f, &grants[i]);
        for (size_t k = 0; k < i; k++) {
            ck_assert_str_ne(tokens[i]->session_id, tokens[k]->session_id);
            ck_assert_str_ne(tokens[i]->offline_token, tokens[k]->offline_token);
        }
    }
    test_end(f);
}
END_TEST

/* I8: "answered with the same session": what this grant says otherwise does not count, but for its nonce. */
START_TEST(answer_is_the_sessions_and_not_the_second_grants)
{
    static const char *const first_audience[] = {"https://a.example"};
    static const char *const second_audience[] = {"https://b.example", "https://c.example"};
    test_fixture *f = test_open(TEST_MEMORY);
    otok_grant grant = grant_with("code");
    grant.scope = "openid offline_access";
    grant.audience = first_audience;
    grant.audience_count = 1;
    grant.claims = "{\"tenant\":\"first\"}";
    grant.acr = "gold";
    grant.sub = "pairwise-1";
    grant.nonce = "nonce-1";
    const otok_tokens *first = test_granted(f, &grant);
    grant.scope = "openid offline_access admin";
    grant.audience = second_audience;
    grant.audience_count = 2;
    grant.claims = "{\"tenant\":\"second\"}";
    grant.acr = "lead";
    grant.sub = "pairwise-2";
    grant.nonce = "nonce-2";
    grant.idle_timeout_s = 1;
    const otok_tokens *again = test_granted(f, &grant);
    test_expect_same(first, again);
    ck_assert_str_eq(again->scope, first->scope);
    ck_assert_int_eq(again->offline_expires_in_s, first->offline_expires_in_s);
    cJSON *access = test_jwt_claims(f, again->access_token), *id = test_jwt_claims(f, again->id_token);
    test_expect_texts(access, "aud", first_audience, 1);
    ck_assert_str_eq(cJSON_GetStringValue(cJSON_GetObjectItem(access, "tenant")), "first");
    ck_assert_str_eq(cJSON_GetStringValue(cJSON_GetObjectItem(access, "acr")), "gold");
    ck_assert_str_eq(cJSON_GetStringValue(cJSON_GetObjectItem(access, "sub")), "pairwise-1");
    ck_assert_str_eq(cJSON_GetStringValue(cJSON_GetObjectItem(id, "nonce")), "nonce-2");
    cJSON_Delete(access);
    cJSON_Delete(id);
    test_end(f);
}
END_TEST

/* I8, I6: over a restart, and with the MAC key rotated in between. */
START_TEST(same_session_after_a_restart)
{
    test_fixture *f = test_open(TEST_LMDB);
    otok_grant grant = grant_with("code");
    const otok_tokens *first = test_granted(f, &grant);
    test_restart(f);
    test_expect_same(first, test_granted(f, &grant));
    test_end(f);
}
END_TEST

static void step_keys(test_fixture *f, int32_t step, const char *kid)
{
    otok_key_change change;
    otok_keyring *next = NULL;
    otok_key_change_init(&change, sizeof change);
    change.step = step;
    change.use = OTOK_KEY_TOKEN;
    change.kid = kid;
    test_assert_code(OTOK_OK, otok_keyring_change(f->keyring, &change, &next, NULL));
    otok_keyring_free(f->keyring);
    f->keyring = next;
    test_assert_code(OTOK_OK, otok_service_set_keyring(f->service, next, NULL));
}

/* I8, K3: the token that comes then is under the new key, and is the same session's; the first one is as good. */
START_TEST(same_session_after_the_token_key_was_rotated)
{
    test_fixture *f = test_open(_i);
    char kid[OTOK_KID_CHARS + 1];
    (void)snprintf(kid, sizeof kid, "%s", otok_keyring_token(f->keyring)->kid);
    otok_grant grant = grant_with("code");
    const otok_tokens *first = test_granted(f, &grant);
    step_keys(f, OTOK_KEY_STEP_ADD, NULL);
    test_expect_same(first, test_granted(f, &grant));
    step_keys(f, OTOK_KEY_STEP_ACTIVATE, NULL);
    const otok_tokens *again = test_granted(f, &grant);
    ck_assert_str_eq(first->session_id, again->session_id);
    ck_assert_int_eq(again->outcome, OTOK_OUTCOME_RETRIED);
    ck_assert_uint_eq(again->generation, 0);
    test_advance_s(f, 20);
    const otok_tokens *next = test_next(f, again->offline_token);
    test_expect_same(next, test_next(f, first->offline_token));

    otok_grant second = grant_with("code-2"); /* what came of a key since then needs the old MAC key no more */
    const otok_tokens *kept = test_granted(f, &second);
    step_keys(f, OTOK_KEY_STEP_DROP, kid);
    test_expect_same(kept, test_granted(f, &second));
    test_end(f);
}
END_TEST

/* I8, K3: its first token is as dead as the key: there is nothing to answer with, and it is no replay. */
START_TEST(key_that_was_dropped_is_no_replay)
{
    test_fixture *f = test_open(_i);
    char kid[OTOK_KID_CHARS + 1];
    (void)snprintf(kid, sizeof kid, "%s", otok_keyring_token(f->keyring)->kid);
    otok_grant grant = grant_with("code");
    const otok_tokens *first = test_granted(f, &grant);
    step_keys(f, OTOK_KEY_STEP_ADD, NULL);
    step_keys(f, OTOK_KEY_STEP_ACTIVATE, NULL);
    step_keys(f, OTOK_KEY_STEP_DROP, kid);
    test_not_granted(f, &grant, OTOK_E_ONCE, "grant.once_key");
    ck_assert(test_has_session(f, first->session_id));
    test_end(f);
}
END_TEST

/* I8, R8: the answer of the store was lost, not only the client's. */
START_TEST(uncertain_commit_is_made_good_by_the_same_key)
{
    for (int done = 0; done <= 1; done++) {
        test_watch watch;
        test_fixture *f = test_open(_i);
        otok_grant grant = grant_with("code");
        test_watch_fixture(&watch, f);
        test_watch_fail(&watch, 1, TEST_CALL_COMMIT, OTOK_E_UNCERTAIN, done != 0);
        test_assert_code(OTOK_E_UNCERTAIN, code_of(f, &grant));
        const otok_tokens *tokens = test_granted(f, &grant);
        ck_assert_int_eq(tokens->outcome, done != 0 ? OTOK_OUTCOME_RETRIED : OTOK_OUTCOME_ISSUED);
        otok_filter filter = test_filter("alice", NULL, NULL);
        ck_assert_uint_eq(test_count(f, &filter), 1);
        test_rotated(f, tokens, 1);
        test_end(f);
    }
}
END_TEST

/* I8, I4: a retry is no new session: it is answered at the limit, and what it replaced is gone already. */
START_TEST(retry_is_answered_at_the_limit_and_replaces_nothing_more)
{
    test_fixture *f = test_open(_i);
    f->policy.session_limit = 2;
    f->policy.at_session_limit = OTOK_AT_LIMIT_REFUSE;
    test_reopen_service(f);
    const otok_tokens *old = test_began(f), *beside = test_began(f);
    otok_grant grant = grant_with("code");
    grant.replaces = old->session_id;
    const otok_tokens *first = test_granted(f, &grant);
    test_expect_same(first, test_granted(f, &grant));
    grant.replaces = beside->session_id;
    test_expect_same(first, test_granted(f, &grant));
    ck_assert(test_has_session(f, beside->session_id));
    ck_assert_uint_eq(test_count_events(f, OTOK_EVENT_REVOKED), 1);
    test_end(f);
}
END_TEST

/* I8, T2: where a retry comes from is told as it is of a refresh. */
START_TEST(retry_from_elsewhere_is_marked)
{
    static const struct {
        const char *ip, *user_agent;
        uint32_t marks;
    } rows[] = {
        {"192.0.2.1", "agent/1", 0},
        {"192.0.2.2", "agent/1", OTOK_EVENT_OTHER_IP},
        {"192.0.2.1", "agent/2", OTOK_EVENT_OTHER_USER_AGENT},
        {NULL, "agent/1", OTOK_EVENT_OTHER_IP},
        {"192.0.2.2", NULL, OTOK_EVENT_OTHER_IP | OTOK_EVENT_OTHER_USER_AGENT},
    };
    test_fixture *f = test_open(TEST_MEMORY);
    otok_peer peer = test_peer(NULL, NULL, "192.0.2.1", "agent/1");
    otok_grant grant = grant_with("code");
    grant.peer = &peer;
    const otok_tokens *first = test_granted(f, &grant);
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        peer.ip = rows[i].ip;
        peer.user_agent = rows[i].user_agent;
        (void)test_granted(f, &grant);
        const otok_event *e = &test_last_event(f, OTOK_EVENT_RETRIED)->event;
        ck_assert_uint_eq(e->marks, rows[i].marks);
        ck_assert_str_eq(e->session_id, first->session_id);
        ck_assert_uint_eq(e->generation, 0);
        ck_assert_int_eq(e->ip != NULL, rows[i].ip != NULL);
    }
    test_end(f);
}
END_TEST

/* ------------------------------------------------------------------------------------------------------- its end, its names */

/* I8: the key's time is over for good when its record is gone: the host's codes have ended long before. */
START_TEST(record_is_swept_after_its_time_and_not_before)
{
    test_fixture *f = test_open(_i);
    f->policy.once_reuse = OTOK_REUSE_REJECT;
    test_reopen_service(f);
    otok_grant grant = grant_with("code");
    const otok_tokens *first = test_granted(f, &grant);
    ck_assert_uint_eq(test_count_records(f->store), 2);
    test_advance_s(f, KEEP_S - 1);
    (void)test_sweep(f, 0);
    ck_assert_uint_eq(test_count_records(f->store), 2);
    test_assert_code(OTOK_E_ONCE, code_of(f, &grant));
    test_advance_s(f, 2);
    (void)test_sweep(f, 0);
    ck_assert_uint_eq(test_count_records(f->store),
                      2); /* seen to have ended, and looked at again after the grace (L5) */
    test_advance_s(f, 86400);
    (void)test_sweep(f, 0);
    ck_assert_uint_eq(test_count_records(f->store), 1);
    const otok_tokens *second = test_granted(f, &grant);
    ck_assert_str_ne(first->session_id, second->session_id);
    ck_assert_str_ne(first->offline_token, second->offline_token);
    test_next(f, first->offline_token);
    test_next(f, second->offline_token);
    test_end(f);
}
END_TEST

/* I8, policy: the window may be longer than the default, and is remembered that long at least. */
START_TEST(window_and_memory_are_the_policys)
{
    test_fixture *f = test_open(TEST_MEMORY);
    f->policy.once_window_s = 10 * TEST_DAY_S;
    f->policy.once_keep_s = 1;
    test_reopen_service(f);
    otok_grant grant = grant_with("code");
    const otok_tokens *first = test_granted(f, &grant);
    test_advance_s(f, 10 * TEST_DAY_S - 1);
    (void)test_sweep(f, 0);
    test_expect_same(first, test_granted(f, &grant));
    test_advance_s(f, 1);
    test_assert_code(OTOK_E_ONCE, code_of(f, &grant));
    test_end(f);
}
END_TEST

/* I8: the same key in another realm is another key. */
START_TEST(key_of_another_realm_is_another_key)
{
    test_fixture *f = test_open(_i), *other = test_open_node(f, "https://other.example");
    otok_grant grant = grant_with("code");
    const otok_tokens *ours = test_granted(f, &grant), *theirs = test_granted(other, &grant);
    ck_assert_str_ne(ours->session_id, theirs->session_id);
    ck_assert_str_ne(ours->offline_token, theirs->offline_token);
    test_advance_s(f, WINDOW_S);
    test_assert_code(OTOK_E_ONCE, code_of(f, &grant));
    test_expect_same(theirs, test_granted(other, &grant));
    test_close(other);
    test_end(f);
}
END_TEST

/* I8, bad input */
START_TEST(key_that_is_empty_or_too_long_is_refused)
{
    char key[257];
    test_fixture *f = test_open(TEST_MEMORY);
    memset(key, 'k', sizeof key);
    key[256] = '\0';
    const char *const bad[] = {"", key, "a\nb", "\xff"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        otok_grant grant = grant_with(bad[i]);
        test_not_granted(f, &grant, OTOK_E_INVALID, "grant.once_key");
    }
    key[255] = '\0';
    otok_grant grant = grant_with(key);
    test_expect_same(test_granted(f, &grant), test_granted(f, &grant));
    test_end(f);
}
END_TEST

/* ------------------------------------------------------------------------------------- what happens before the commit */

typedef struct meanwhile {
    test_fixture *node;
    otok_grant grant;
    const otok_tokens *tokens;
} meanwhile;

static void issue_meanwhile(void *arg)
{
    meanwhile *m = arg;
    m->tokens = test_granted(m->node, &m->grant);
}

/* I8, I4: before the sessions are counted, and before the commit; in the same millisecond, when it would have the same id, and not. */
START_TEST(session_begun_elsewhere_with_the_key_is_the_answer_and_no_obstacle)
{
    static const int calls[] = {TEST_CALL_SCAN, TEST_CALL_COMMIT};
    for (int n = 0; n < 8; n++) {
        test_watch watch;
        test_fixture *f = test_open(_i);
        f->policy.session_limit = 1;
        f->policy.at_session_limit = n & 1 ? OTOK_AT_LIMIT_REFUSE : OTOK_AT_LIMIT_EVICT;
        test_reopen_service(f);
        meanwhile m = {.node = test_open_node(f, NULL), .grant = grant_with("code")};
        test_watch_fixture(&watch, f);
        test_set_now_us(m.node, f->now_us + (n & 2 ? 5 * OTOK_US_PER_MS : 0));
        test_watch_step_in(&watch, 1, calls[n >> 2], issue_meanwhile, &m);
        const otok_tokens *tokens = test_granted(f, &m.grant);
        ck_assert(watch.reached);
        test_expect_same(m.tokens, tokens);
        ck_assert_int_eq(tokens->outcome, OTOK_OUTCOME_RETRIED);
        ck_assert_uint_eq(test_count_events(f, OTOK_EVENT_EVICTED), 0);
        test_set_now_us(f, m.node->now_us);
        (void)test_next(f, tokens->offline_token);
        test_close(m.node);
        test_end(f);
    }
}
END_TEST

/* ------------------------------------------------------------------------------------------------------------ the host */

static struct {
    int32_t purpose;
    uint32_t attempt;
    char session_id[OTOK_SESSION_ID_CHARS + 1];
    bool refuses, ends;
} asked;

static int authorize(void *user, const otok_use *use, otok_answer *answer)
{
    (void)user;
    asked.purpose = use->purpose;
    asked.attempt = use->attempt;
    (void)snprintf(asked.session_id, sizeof asked.session_id, "%s", use->session->session_id);
    if (asked.ends)
        return otok_answer_end_session(answer);
    return asked.refuses ? otok_answer_refuse(answer, OTOK_E_CONSENT, "the host's word") : OTOK_OK;
}

/* I8, R5: "a refusal leaves the token unconsumed", unless the host says that it ends the session. */
START_TEST(host_is_asked_at_a_retry_as_at_a_retry)
{
    test_fixture *f = test_open(_i);
    memset(&asked, 0, sizeof asked);
    f->callbacks.authorize = authorize;
    test_reopen_service(f);
    otok_grant grant = grant_with("code");
    const otok_tokens *first = test_granted(f, &grant);
    ck_assert_int_eq(asked.purpose, OTOK_PURPOSE_ISSUE);
    ck_assert_str_eq(asked.session_id, first->session_id);
    test_expect_same(first, test_granted(f, &grant));
    ck_assert_int_eq(asked.purpose, OTOK_PURPOSE_RETRY);
    ck_assert_str_eq(asked.session_id, first->session_id);
    asked.refuses = true;
    test_not_granted(f, &grant, OTOK_E_CONSENT, "the host's word");
    asked.refuses = false;
    test_expect_same(first, test_granted(f, &grant));
    asked.ends = true;
    test_assert_code(OTOK_E_DENIED, code_of(f, &grant));
    ck_assert(!test_has_session(f, first->session_id));
    ck_assert_uint_eq(test_count_reasons(f, OTOK_EVENT_REVOKED, OTOK_REVOKED_BY_HOST, first->session_id), 1);
    test_not_granted(f, &grant, OTOK_E_ONCE, "grant.once_key");
    test_end(f);
}
END_TEST

/* I8, R5: refused at the issue, the key was not used. */
START_TEST(refused_issue_does_not_use_the_key)
{
    test_fixture *f = test_open(_i);
    memset(&asked, 0, sizeof asked);
    f->callbacks.authorize = authorize;
    test_reopen_service(f);
    otok_grant grant = grant_with("code");
    asked.refuses = true;
    test_not_granted(f, &grant, OTOK_E_CONSENT, "the host's word");
    asked.ends = true; /* there is nothing yet that would end */
    test_not_granted(f, &grant, OTOK_E_DENIED, "host");
    asked.refuses = asked.ends = false;
    ck_assert_int_eq(test_granted(f, &grant)->outcome, OTOK_OUTCOME_ISSUED);
    test_end(f);
}
END_TEST

struct search {
    otok_str secrets[2];
    size_t records;
};

static int search_record(void *arg, const otok_record *record)
{
    struct search *search = arg;
    search->records++;
    for (size_t i = 0; i < 2; i++) {
        otok_str secret = search->secrets[i];
        ck_assert_ptr_null(memmem(record->body.data, record->body.len, secret.data, secret.len));
        ck_assert_ptr_null(memmem(record->id.bytes, sizeof record->id.bytes, secret.data, secret.len));
    }
    return 0;
}

/* I8, K6: neither the key nor the handle of its session's token is in the store. */
START_TEST(key_and_handle_are_not_stored)
{
    test_fixture *f = test_open(TEST_MEMORY);
    otok_grant grant = grant_with("a-code-that-nobody-may-read");
    otok_presented presented;
    ck_assert(otok_token_parse(test_granted(f, &grant)->offline_token, &presented));
    struct search search = {
        .secrets = {otok_str_of(grant.once_key), {presented.token.handle, sizeof presented.token.handle}}};
    const otok_scan scan = {.size = sizeof scan, .limit = 100};
    test_assert_code(OTOK_OK, otok_store_scan(f->store, &scan, search_record, &search, NULL));
    ck_assert_uint_eq(search.records, 2);
    test_end(f);
}
END_TEST

/* I8, V7: the record goes with its subject. */
START_TEST(erased_subject_leaves_no_key)
{
    test_fixture *f = test_open(_i);
    otok_filter filter = test_filter("alice", NULL, NULL);
    otok_grant grant = grant_with("code");
    (void)test_granted(f, &grant);
    test_assert_code(OTOK_OK, otok_erase(f->service, &filter, NULL, NULL));
    test_advance_s(f, 1);
    ck_assert_int_eq(test_granted(f, &grant)->outcome, OTOK_OUTCOME_ISSUED);
    test_end(f);
}
END_TEST

static void add_tests(TCase *tcase)
{
    const TTest *const on_both[] = {
        same_key_is_answered_with_the_same_session_and_token,
        same_session_after_the_token_key_was_rotated,
        key_that_was_dropped_is_no_replay,
        uncertain_commit_is_made_good_by_the_same_key,
        retry_is_answered_at_the_limit_and_replaces_nothing_more,
        record_is_swept_after_its_time_and_not_before,
        key_of_another_realm_is_another_key,
        host_is_asked_at_a_retry_as_at_a_retry,
        refused_issue_does_not_use_the_key,
        erased_subject_leaves_no_key,
        session_begun_elsewhere_with_the_key_is_the_answer_and_no_obstacle,
    };
    test_add_on_both(tcase, on_both, sizeof on_both / sizeof *on_both);
    tcase_add_test(tcase, other_keys_begin_other_sessions);
    tcase_add_test(tcase, answer_is_the_sessions_and_not_the_second_grants);
    tcase_add_test(tcase, same_session_after_a_restart);
    tcase_add_test(tcase, retry_from_elsewhere_is_marked);
    tcase_add_test(tcase, window_and_memory_are_the_policys);
    tcase_add_test(tcase, key_that_is_empty_or_too_long_is_refused);
    tcase_add_test(tcase, key_and_handle_are_not_stored);
}

int main(void)
{
    return test_main("once_issue", add_tests);
}
