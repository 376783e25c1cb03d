/*
 * many.c
 *
 * SPDX-License-Identifier: MIT
 */
#include "support/many.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

test_many *test_many_open(test_fixture *f)
{
    test_many *m = calloc(1, sizeof *m);
    ck_assert_ptr_nonnull(m);
    m->f = f;
    return m;
}

static void drop_answers(test_many *m)
{
    for (size_t i = 0; i < TEST_MANY; i++) {
        otok_tokens_free(m->out[i]);
        m->out[i] = NULL;
    }
}

void test_many_close(test_many *m)
{
    drop_answers(m);
    free(m);
}

void test_many_clear(test_many *m)
{
    drop_answers(m);
    m->n = 0;
}

otok_refresh_request *test_many_ask(test_many *m, const char *token)
{
    ck_assert_uint_lt(m->n, TEST_MANY);
    otok_refresh_request *request = &m->requests[m->n];
    *request = test_refresh_request(token, NULL);
    m->asked[m->n++] = request;
    return request;
}

void test_many_ask_held(test_many *m, const test_held *held, size_t n)
{
    for (size_t i = 0; i < n; i++)
        (void)test_many_ask(m, held[i].token);
}

static void expect_sound(const test_many *m, size_t i)
{
    const otok_error *e = &m->errors[i];
    if (e->code == OTOK_OK) {
        ck_assert_msg(m->out[i] != NULL, "item %zu: neither answer nor error", i);
        ck_assert_uint_eq(m->out[i]->size, sizeof *m->out[i]);
        return;
    }
    ck_assert_msg(m->out[i] == NULL, "item %zu: %s, and an answer", i, otok_error_name(e->code));
    ck_assert_str_ne(otok_error_name(e->code), "OTOK_E_?");
    ck_assert_msg(e->message[0] != '\0', "item %zu: %s without a message", i, otok_error_name(e->code));
    ck_assert_msg(m->asked[i] == NULL || m->asked[i]->token == NULL || strstr(e->message, m->asked[i]->token) == NULL,
                  "item %zu: a token in the message", i);
}

void test_many_refresh(test_many *m)
{
    otok_error err = {0};
    drop_answers(m);
    for (size_t i = 0; i < TEST_MANY; i++) {
        m->out[i] = i < m->n ? (otok_tokens *)m : NULL; /* "otherwise out[i] is NULL": it must be set */
        memset(&m->errors[i], 0x5a, sizeof m->errors[i]);
    }
    int rc = otok_refresh_many(m->f->service, m->asked, m->n, m->out, m->errors, &err);
    ck_assert_msg(rc == OTOK_OK, "otok_refresh_many: %s: %s", otok_error_name(rc), err.message);
    for (size_t i = 0; i < m->n; i++)
        expect_sound(m, i);
    for (size_t i = m->n; i < TEST_MANY; i++)
        ck_assert_msg(m->out[i] == NULL && m->errors[i].code == 0x5a5a5a5a, "written behind the end");
}

void test_many_refused(const test_many *m, size_t i, int code)
{
    ck_assert_msg(m->errors[i].code == code, "item %zu: expected %s, got %s: %s", i, otok_error_name(code),
                  otok_error_name(m->errors[i].code), m->errors[i].code == OTOK_OK ? "" : m->errors[i].message);
}

const otok_tokens *test_many_answered(const test_many *m, size_t i, int32_t outcome)
{
    test_many_refused(m, i, OTOK_OK);
    ck_assert_msg(m->out[i]->outcome == outcome, "item %zu: expected outcome %d, got %d", i, outcome,
                  m->out[i]->outcome);
    return m->out[i];
}

test_held *test_many_hold(test_fixture *f, size_t n)
{
    test_held *held = calloc(n, sizeof *held);
    char subject[32];
    ck_assert_ptr_nonnull(held);
    for (size_t i = 0; i < n; i++) {
        (void)snprintf(subject, sizeof subject, "user-%zu", i);
        held[i] = test_hold(f, subject, NULL);
    }
    test_advance_s(f, 60);
    test_forget_events(f);
    return held;
}
