/* link: -Wl,--wrap=otok_mac,--wrap=otok_malloc */
/*
 * check_record.c - the head, body and seal of a session's record: nothing is read that was not written, and the seal
 * holds together what must not be exchanged (K7).
 *
 * SPDX-License-Identifier: MIT
 */
#include "support/story.h"

#include <stdlib.h>
#include <string.h>

#define MS OTOK_US_PER_MS

/* A test says what fails from now on. */
static bool mac_fails, memory_fails;

int __real_otok_mac(const otok_mac_key *key, const otok_str *parts, size_t n, uint8_t *out, otok_error *err);
int __wrap_otok_mac(const otok_mac_key *key, const otok_str *parts, size_t n, uint8_t *out, otok_error *err);
void *__real_otok_malloc(size_t size);
void *__wrap_otok_malloc(size_t size);

int __wrap_otok_mac(const otok_mac_key *key, const otok_str *parts, size_t n, uint8_t *out, otok_error *err)
{
    return mac_fails ? otok_fail(err, OTOK_E_CRYPTO, "no MAC today") : __real_otok_mac(key, parts, n, out, err);
}

void *__wrap_otok_malloc(size_t size)
{
    return memory_fails ? NULL : __real_otok_malloc(size);
}

/* ------------------------------------------------------------------------------------------------------------ heads */

/* T4: the whole memory of a session's rotations is these 24 bytes. */
START_TEST(head_survives_print_and_parse)
{
    static const otok_head rows[] = {
        {0, 0, 0, 0, 0, 0, 0, 0},
        {UINT32_MAX, 255, OTOK_HEAD_DOOMED, UINT16_MAX, TEST_START_US, TEST_START_US + MS, UINT16_MAX, UINT16_MAX},
        {1, 2, 0, 3, TEST_START_US - 7 * MS, TEST_START_US, 4, 5},
        {0x01020304, 1, 0, 0x0506, 100 * 365 * OTOK_DAY_US, 200 * 365 * OTOK_DAY_US, 0x0708, 0x090a},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        uint8_t bytes[OTOK_HEAD_SIZE];
        otok_head back;
        memset(&back, 0xee, sizeof back);
        otok_head_print(&rows[i], bytes);
        ck_assert(otok_head_parse((otok_str){bytes, sizeof bytes}, &back));
        ck_assert_uint_eq(back.generation, rows[i].generation);
        ck_assert_uint_eq(back.key_id, rows[i].key_id);
        ck_assert_uint_eq(back.flags, rows[i].flags);
        ck_assert_uint_eq(back.retries, rows[i].retries);
        ck_assert_int_eq(back.rotated_us, rows[i].rotated_us);
        ck_assert_int_eq(back.refreshed_us, rows[i].refreshed_us);
        ck_assert_uint_eq(back.ip_mark, rows[i].ip_mark);
        ck_assert_uint_eq(back.user_agent_mark, rows[i].user_agent_mark);
    }
}
END_TEST

/* L5: a time that does not fit stops at the end, it does not come back as another one. */
START_TEST(head_times_out_of_range_do_not_wrap)
{
    static const int64_t times[] = {INT64_MIN, -1, INT64_MAX - 1, INT64_MAX};
    for (size_t i = 0; i < sizeof times / sizeof times[0]; i++) {
        uint8_t bytes[OTOK_HEAD_SIZE];
        otok_head back, head = {1, 1, 0, 0, times[i], times[i], 0, 0};
        otok_head_print(&head, bytes);
        ck_assert(otok_head_parse((otok_str){bytes, sizeof bytes}, &back));
        if (times[i] < 0) {
            ck_assert_int_le(back.refreshed_us, 0);
        } else {
            ck_assert_int_gt(back.refreshed_us, 1000 * 365 * OTOK_DAY_US);
        }
    }
}
END_TEST

START_TEST(head_of_another_length_is_refused)
{
    uint8_t bytes[64] = {0};
    otok_head head;
    for (size_t len = 0; len <= sizeof bytes; len++) {
        otok_str text = {bytes, len};
        ck_assert(otok_head_parse(text, &head) == (len == OTOK_HEAD_SIZE));
    }
    ck_assert(!otok_head_parse((otok_str){NULL, 0}, &head));
}
END_TEST

/* ------------------------------------------------------------------------------------------------------------- body */

static otok_mac_key *seal_key;
static const otok_id links[2] = {{{1}}, {{2}}};

static void make_key(void)
{
    seal_key = test_mac_key(42);
}

static void drop_key(void)
{
    otok_mac_key_free(seal_key);
}

static otok_seal_scope whose(void)
{
    otok_seal_scope scope = {
        {{7}}, TEST_START_US, otok_str_of("realm"), otok_str_of("alice"), otok_str_of("phone"), links, 2};
    return scope;
}

static otok_body full_body(void)
{
    otok_body body = {0};
    body.started_us = TEST_START_US;
    body.auth_time_us = TEST_START_US - 5;
    body.idle_timeout_s = 3600;
    body.max_lifetime_s = 7200;
    body.grant_type = OTOK_GRANT_CIBA;
    body.binding = OTOK_BINDING_JKT;
    body.kind = OTOK_SESSION_LOGIN;
    body.refresh_token = OTOK_OFF;
    memset(body.thumbprint, 0x5a, sizeof body.thumbprint);
    body.scope = otok_str_of("openid offline_access");
    body.sub = otok_str_of("pairwise");
    body.sid = otok_str_of("sso");
    body.acr = otok_str_of("urn:acr");
    body.claims = otok_str_of("\"tenant\":\"blue\"");
    body.authorization_details = otok_str_of("[{\"type\":\"payment\"}]");
    body.act = otok_str_of("{\"sub\":\"helpdesk\"}");
    body.start_ip = otok_str_of("192.0.2.1");
    body.start_user_agent = otok_str_of("agent/1");
    body.audience[0] = otok_str_of("https://a.example");
    body.audience[1] = otok_str_of("https://b.example");
    body.audience_count = 2;
    body.amr[0] = otok_str_of("pwd");
    body.amr[1] = otok_str_of("otp");
    body.amr_count = 2;
    body.label = otok_str_of("Alice's phone");
    body.last_ip = otok_str_of("192.0.2.2");
    body.last_user_agent = otok_str_of("agent/2");
    body.notes = otok_str_of("{\"ticket\":4711}");
    return body;
}

static otok_body bare_body(void)
{
    otok_body body = {0};
    body.started_us = TEST_START_US;
    body.scope = otok_str_of("offline_access");
    return body;
}

static otok_buf printed(const otok_body *body)
{
    otok_buf buf;
    otok_seal_scope scope = whose();
    otok_buf_init(&buf, NULL, 0);
    test_assert_code(OTOK_OK, otok_body_print(body, &scope, 9, seal_key, &buf, NULL));
    ck_assert(!buf.failed);
    return buf;
}

static otok_str bytes_of(const otok_buf *buf)
{
    return (otok_str){buf->data, buf->len};
}

static bool same_texts(const otok_str *a, size_t na, const otok_str *b, size_t nb)
{
    if (na != nb)
        return false;
    for (size_t i = 0; i < na; i++) {
        if (!otok_str_eq(a[i], b[i]))
            return false;
    }
    return true;
}

static bool same_sealed(const otok_body *a, const otok_body *b)
{
    return a->started_us == b->started_us && a->auth_time_us == b->auth_time_us &&
           a->idle_timeout_s == b->idle_timeout_s && a->max_lifetime_s == b->max_lifetime_s &&
           a->grant_type == b->grant_type && a->binding == b->binding && a->kind == b->kind &&
           a->refresh_token == b->refresh_token && memcmp(a->thumbprint, b->thumbprint, sizeof a->thumbprint) == 0 &&
           otok_str_eq(a->scope, b->scope) && otok_str_eq(a->sub, b->sub) && otok_str_eq(a->sid, b->sid) &&
           otok_str_eq(a->acr, b->acr) && otok_str_eq(a->claims, b->claims) && otok_str_eq(a->act, b->act) &&
           otok_str_eq(a->authorization_details, b->authorization_details) && otok_str_eq(a->start_ip, b->start_ip) &&
           otok_str_eq(a->start_user_agent, b->start_user_agent) &&
           same_texts(a->audience, a->audience_count, b->audience, b->audience_count) &&
           same_texts(a->amr, a->amr_count, b->amr, b->amr_count);
}

static bool same_others(const otok_body *a, const otok_body *b)
{
    return otok_str_eq(a->label, b->label) && otok_str_eq(a->last_ip, b->last_ip) &&
           otok_str_eq(a->last_user_agent, b->last_user_agent) && otok_str_eq(a->notes, b->notes);
}

static void expect_round_trip(const otok_body *body)
{
    otok_buf buf = printed(body);
    otok_seal_scope scope = whose();
    otok_body back;
    uint8_t key_id = 0;
    test_assert_code(OTOK_OK, otok_body_parse(bytes_of(&buf), &back, &key_id, NULL));
    ck_assert_uint_eq(key_id, 9);
    ck_assert(same_sealed(body, &back));
    ck_assert(same_others(body, &back));
    test_assert_code(OTOK_OK, otok_body_verify(bytes_of(&buf), &scope, seal_key, NULL));
    otok_buf_free(&buf);
}

START_TEST(body_survives_print_and_parse)
{
    otok_body body = full_body();
    expect_round_trip(&body);
    body = bare_body();
    expect_round_trip(&body);
    body.binding = OTOK_BINDING_MTLS;
    body.idle_timeout_s = OTOK_UNLIMITED;
    body.max_lifetime_s = 1;
    body.started_us = 0;
    expect_round_trip(&body);
}
END_TEST

/* Bad input: each field as long as a grant allows it at most. */
START_TEST(largest_body_survives_print_and_parse)
{
    static char text[16384];
    otok_body body = full_body();
    memset(text, 'x', sizeof text);
    body.scope = (otok_str){text, 4096};
    body.claims = body.authorization_details = (otok_str){text, sizeof text};
    body.act = (otok_str){text, 4096};
    body.notes = (otok_str){text, 2048};
    body.sub = body.sid = body.acr = (otok_str){text, 255};
    body.start_ip = body.last_ip = (otok_str){text, 64};
    body.label = body.start_user_agent = body.last_user_agent = (otok_str){text, 512};
    body.audience_count = OTOK_MAX_AUDIENCE;
    body.amr_count = OTOK_MAX_AMR;
    for (size_t i = 0; i < OTOK_MAX_AUDIENCE; i++)
        body.audience[i] = (otok_str){text, 1024};
    for (size_t i = 0; i < OTOK_MAX_AMR; i++)
        body.amr[i] = (otok_str){text, 255};
    expect_round_trip(&body);
}
END_TEST

/* What damaged bytes may be: refused, or told by the seal, or a change of what is not sealed. */
static void expect_harmless(otok_str damaged, const otok_body *original, const char *what, size_t which)
{
    otok_body back;
    otok_seal_scope scope = whose();
    uint8_t key_id = 0;
    int rc = otok_body_parse(damaged, &back, &key_id, NULL);
    ck_assert_msg(rc == OTOK_OK || rc == OTOK_E_FORMAT, "%s %zu: parse: %s", what, which, otok_error_name(rc));
    if (rc != OTOK_OK || key_id != 9) /* another key id: looked up, and not found or not fitting */
        return;
    rc = otok_body_verify(damaged, &scope, seal_key, NULL);
    ck_assert_msg(rc == OTOK_OK || rc == OTOK_E_TAMPERED || rc == OTOK_E_FORMAT, "%s %zu: %s", what, which,
                  otok_error_name(rc));
    ck_assert_msg(rc != OTOK_OK || same_sealed(original, &back), "%s %zu: the seal does not tell", what, which);
}

/* K7: each bit of it. */
START_TEST(changed_bit_is_refused_or_told_by_the_seal)
{
    otok_body body = full_body();
    otok_buf buf = printed(&body);
    for (size_t i = 0; i < buf.len * 8; i++) {
        buf.data[i / 8] = (uint8_t)(buf.data[i / 8] ^ (1 << i % 8));
        expect_harmless(bytes_of(&buf), &body, "bit", i);
        buf.data[i / 8] = (uint8_t)(buf.data[i / 8] ^ (1 << i % 8));
    }
    otok_buf_free(&buf);
}
END_TEST

/* K7: each byte, every value of it. */
START_TEST(changed_byte_is_refused_or_told_by_the_seal)
{
    otok_body body = full_body();
    otok_buf buf = printed(&body);
    for (size_t i = 0; i < buf.len; i++) {
        uint8_t was = buf.data[i];
        for (unsigned value = 0; value < 256; value++) {
            buf.data[i] = (uint8_t)value;
            expect_harmless(bytes_of(&buf), &body, "byte", i);
        }
        buf.data[i] = was;
    }
    otok_buf_free(&buf);
}
END_TEST

START_TEST(truncated_body_is_refused_or_told_by_the_seal)
{
    otok_body body = full_body();
    otok_buf buf = printed(&body);
    for (size_t len = 0; len < buf.len; len++) {
        uint8_t *exact = malloc(len + (len == 0)); /* for ASan: nothing behind it is read */
        if (len > 0)
            memcpy(exact, buf.data, len);
        expect_harmless((otok_str){exact, len}, &body, "length", len);
        free(exact);
    }
    otok_buf_free(&buf);
    uint8_t key_id;
    otok_body back;
    test_assert_code(OTOK_E_FORMAT, otok_body_parse((otok_str){NULL, 0}, &back, &key_id, NULL));
}
END_TEST

/* The encoding of the label's field: what a body with a label has more at its end than one without. */
static size_t label_field(const char *label, uint8_t out[64])
{
    otok_body body = bare_body();
    otok_buf without = printed(&body);
    body.label = otok_str_of(label);
    otok_buf with = printed(&body);
    size_t len = with.len - without.len;
    ck_assert(len > strlen(label) && len < 64);
    memcpy(out, with.data + without.len, len);
    otok_buf_free(&without);
    otok_buf_free(&with);
    return len;
}

static int parse_with_tail(const void *tail, size_t len, otok_body *original)
{
    otok_body back;
    uint8_t key_id;
    *original = bare_body();
    otok_buf buf = printed(original);
    otok_buf_add(&buf, tail, len);
    int rc = otok_body_parse(bytes_of(&buf), &back, &key_id, NULL);
    expect_harmless(bytes_of(&buf), original, "tail", len);
    otok_buf_free(&buf);
    return rc;
}

START_TEST(field_that_stands_twice_is_refused)
{
    uint8_t field[128];
    otok_body body;
    size_t len = label_field("one", field);
    test_assert_code(OTOK_OK, parse_with_tail(field, len, &body));
    (void)label_field("two", field + len);
    test_assert_code(OTOK_E_FORMAT, parse_with_tail(field, 2 * len, &body));
    memcpy(field + len, field, len);
    test_assert_code(OTOK_E_FORMAT, parse_with_tail(field, 2 * len, &body));
}
END_TEST

/* K7: a sealed field among those that are not sealed neither counts nor wins; an unknown one is not overlooked. */
START_TEST(field_with_another_tag_is_refused_or_told_by_the_seal)
{
    uint8_t field[64];
    otok_body body;
    size_t accepted = 0, len = label_field("offline_access admin", field);
    for (unsigned tag = 0; tag < 256; tag++) {
        field[0] = (uint8_t)tag;
        accepted += parse_with_tail(field, len, &body) == OTOK_OK;
    }
    ck_assert_msg(accepted <= 4, "%zu tags are taken for label, last IP, last user agent or notes", accepted);
}
END_TEST

START_TEST(bytes_behind_the_last_field_are_refused)
{
    static const uint8_t tails[][4] = {{0}, {0, 0}, {255}, {1, 0, 0}, {255, 255, 255, 255}};
    otok_body body;
    for (size_t i = 0; i < sizeof tails / sizeof tails[0]; i++) {
        for (size_t len = 1; len <= 4; len++)
            test_assert_code(OTOK_E_FORMAT, parse_with_tail(tails[i], len, &body));
    }
}
END_TEST

/* The code for a body whose sealed part is these bytes. */
static int parse_sealed(const void *fields, size_t len)
{
    otok_body back;
    otok_buf buf;
    uint8_t key_id;
    static const uint8_t front[18] = {1, 9};
    otok_buf_init(&buf, NULL, 0);
    otok_buf_add(&buf, front, sizeof front);
    otok_buf_add_u32(&buf, (uint32_t)len);
    otok_buf_add(&buf, fields, len);
    int rc = otok_body_parse(bytes_of(&buf), &back, &key_id, NULL);
    otok_buf_free(&buf);
    return rc;
}

#define SEALED(text) parse_sealed(text, sizeof(text) - 1)

/* K7: kind, authorization_details, act and whether there is a refresh token are sealed, whole, in the order of their tags; what comes after them is not known. */
START_TEST(fields_of_a_newer_grant_have_one_spelling)
{
    test_assert_code(OTOK_OK, SEALED(""));
    test_assert_code(OTOK_OK, SEALED("\x11\0\x01\x01\x12\0\x02[]\x13\0\x02{}"));
    test_assert_code(OTOK_OK, SEALED("\x13\0\x02{}\x14\0\x01\x02"));
    test_assert_code(OTOK_E_FORMAT, SEALED("\x14\0\x01\x02\x13\0\x02{}"));
    test_assert_code(OTOK_E_FORMAT, SEALED("\x14\0\x01\0"));
    test_assert_code(OTOK_E_FORMAT, SEALED("\x14\0\x02\x02\x02"));
    test_assert_code(OTOK_E_FORMAT, SEALED("\x12\0\x02[]\x11\0\x01\x01"));
    test_assert_code(OTOK_E_FORMAT, SEALED("\x11\0\x01\x01\x11\0\x01\x01"));
    test_assert_code(OTOK_E_FORMAT, SEALED("\x11\0\x01\0"));
    test_assert_code(OTOK_E_FORMAT, SEALED("\x11\0\x02\x01\x01"));
    test_assert_code(OTOK_E_FORMAT, SEALED("\x12\0\0"));
    test_assert_code(OTOK_E_FORMAT, SEALED("\x12\0\x03[]"));
    test_assert_code(OTOK_E_FORMAT, SEALED("\x12\0\x03"));
    test_assert_code(OTOK_E_FORMAT, SEALED("\x15\0\x01x"));
    test_assert_code(OTOK_E_FORMAT, SEALED("\x43\0\x02{}"));
    test_assert_code(OTOK_E_FORMAT, SEALED("\0\0\x01x"));
}
END_TEST

/* Bad input: fields of a fixed size with another, or all 0, which is left out. */
START_TEST(number_of_another_size_is_refused)
{
    static const uint8_t digest[3 + OTOK_SHA256_SIZE] = {7, 0, OTOK_SHA256_SIZE, 1};
    static const uint8_t none[3 + OTOK_SHA256_SIZE] = {7, 0, OTOK_SHA256_SIZE};
    test_assert_code(OTOK_OK, SEALED("\x01\0\x08\0\0\0\0\0\0\0\x01"));
    test_assert_code(OTOK_E_FORMAT, SEALED("\x01\0\x07\0\0\0\0\0\0\x01"));
    test_assert_code(OTOK_E_FORMAT, SEALED("\x01\0\x08\0\0\0\0\0\0\0\0"));
    test_assert_code(OTOK_OK, parse_sealed(digest, sizeof digest));
    test_assert_code(OTOK_E_FORMAT, parse_sealed(none, sizeof none));
    test_assert_code(OTOK_E_FORMAT, SEALED("\x07\0\x01\x01"));
}
END_TEST

/* Bad input: 16 are the most, of audience and of amr. */
START_TEST(more_texts_than_there_may_be_are_refused)
{
    uint8_t fields[4 * (OTOK_MAX_AMR + 1)];
    for (size_t i = 0; i <= OTOK_MAX_AMR; i++)
        memcpy(fields + 4 * i, "\x10\0\x01x", 4);
    test_assert_code(OTOK_OK, parse_sealed(fields, sizeof fields - 4));
    test_assert_code(OTOK_E_FORMAT, parse_sealed(fields, sizeof fields));
}
END_TEST

/* A length has 16 bits: what is longer is not cut, there is no such record. */
START_TEST(text_beyond_a_length_is_not_printed)
{
    static char text[UINT16_MAX + 1];
    otok_buf buf;
    otok_body body = bare_body();
    otok_seal_scope scope = whose();
    otok_buf_init(&buf, NULL, 0);
    body.claims = (otok_str){text, UINT16_MAX};
    test_assert_code(OTOK_OK, otok_body_print(&body, &scope, 9, seal_key, &buf, NULL));
    body.claims.len++;
    test_assert_code(OTOK_E_NOMEM, otok_body_print(&body, &scope, 9, seal_key, &buf, NULL));
    otok_buf_free(&buf);
}
END_TEST

/* Bad days: no memory, no crypto; each time a code, and nothing that could be taken for a good seal. */
START_TEST(failures_below_are_told)
{
    otok_body body = full_body();
    otok_seal_scope scope = whose();
    otok_buf none, buf = printed(&body);
    otok_buf_init(&none, NULL, 0);
    memory_fails = true;
    test_assert_code(OTOK_E_NOMEM, otok_body_print(&body, &scope, 9, seal_key, &none, NULL));
    memory_fails = false;
    otok_buf_free(&none);
    mac_fails = true;
    test_assert_code(OTOK_E_CRYPTO, otok_body_print(&body, &scope, 9, seal_key, &none, NULL));
    test_assert_code(OTOK_E_CRYPTO, otok_body_verify(bytes_of(&buf), &scope, seal_key, NULL));
    mac_fails = false;
    test_assert_code(OTOK_E_TAMPERED, otok_body_verify(bytes_of(&none), &scope, seal_key, NULL));
    test_assert_code(OTOK_E_FORMAT, otok_body_verify((otok_str){"\2", 1}, &scope, seal_key, NULL));
    otok_buf_free(&none);
    otok_buf_free(&buf);
}
END_TEST

/* ------------------------------------------------------------------------------------------------------------- seal */

/* K7: id, time, names and links; and no name can lend bytes to its neighbour. */
START_TEST(seal_covers_whose_session_it_is)
{
    static const otok_id swapped[2] = {{{2}}, {{1}}}, other[2] = {{{1}}, {{3}}}, more[3] = {{{1}}, {{2}}, {{0}}};
    otok_body body = full_body();
    otok_buf buf = printed(&body);
    otok_seal_scope rows[14];
    enum { N = sizeof rows / sizeof rows[0] };
    for (size_t i = 0; i < N; i++)
        rows[i] = whose();
    rows[0].id.bytes[15] = 1;
    rows[1].created_us++;
    rows[2].realm = otok_str_of("realn");
    rows[3].subject = otok_str_of("bob");
    rows[4].client = otok_str_of("laptop");
    rows[5].links = swapped;
    rows[6].links = other;
    rows[7].links = more, rows[7].nlinks = 3;
    rows[8].nlinks = 1;
    rows[9].links = NULL, rows[9].nlinks = 0;
    rows[10].realm = otok_str_of("realma"), rows[10].subject = otok_str_of("lice");
    rows[11].subject = otok_str_of("alicep"), rows[11].client = otok_str_of("hone");
    rows[12].subject = otok_str_of("phone"), rows[12].client = otok_str_of("alice");
    rows[13].subject = otok_str_of("");
    for (size_t i = 0; i < N; i++) {
        int rc = otok_body_verify(bytes_of(&buf), &rows[i], seal_key, NULL);
        ck_assert_msg(rc == OTOK_E_TAMPERED, "row %zu: %s", i, otok_error_name(rc));
    }
    otok_buf_free(&buf);
}
END_TEST

/* K7 */
START_TEST(seal_needs_the_key)
{
    otok_mac_key *other = test_mac_key(43);
    otok_body body = full_body();
    otok_buf buf = printed(&body);
    otok_seal_scope scope = whose();
    test_assert_code(OTOK_E_TAMPERED, otok_body_verify(bytes_of(&buf), &scope, other, NULL));
    otok_mac_key_free(other);
    otok_buf_free(&buf);
}
END_TEST

static void add_tests(TCase *tcase)
{
    tcase_add_checked_fixture(tcase, make_key, drop_key);
    tcase_add_test(tcase, head_survives_print_and_parse);
    tcase_add_test(tcase, head_times_out_of_range_do_not_wrap);
    tcase_add_test(tcase, head_of_another_length_is_refused);
    tcase_add_test(tcase, body_survives_print_and_parse);
    tcase_add_test(tcase, largest_body_survives_print_and_parse);
    tcase_add_test(tcase, changed_bit_is_refused_or_told_by_the_seal);
    tcase_add_test(tcase, changed_byte_is_refused_or_told_by_the_seal);
    tcase_add_test(tcase, truncated_body_is_refused_or_told_by_the_seal);
    tcase_add_test(tcase, field_that_stands_twice_is_refused);
    tcase_add_test(tcase, field_with_another_tag_is_refused_or_told_by_the_seal);
    tcase_add_test(tcase, bytes_behind_the_last_field_are_refused);
    tcase_add_test(tcase, fields_of_a_newer_grant_have_one_spelling);
    tcase_add_test(tcase, number_of_another_size_is_refused);
    tcase_add_test(tcase, more_texts_than_there_may_be_are_refused);
    tcase_add_test(tcase, text_beyond_a_length_is_not_printed);
    tcase_add_test(tcase, failures_below_are_told);
    tcase_add_test(tcase, seal_covers_whose_session_it_is);
    tcase_add_test(tcase, seal_needs_the_key);
}

int main(void)
{
    return test_main("record", add_tests);
}
