/*
 * check_keyring_rotation.c - the steps of a rotation, in memory: K2, K3, and external signing keys, K5.
 *
 * SPDX-License-Identifier: MIT
 */
/* link: -Wl,--wrap=otok_random,--wrap=otok_malloc,--wrap=otok_calloc,--wrap=otok_realloc */
#include "keys/keys.h"
#include "support/fixture.h"
#include "support/vectors.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static otok_error err; /* of the last call */

static void ok(int rc)
{
    ck_assert_msg(rc == OTOK_OK, "%s: %s", otok_error_name(rc), err.message);
}

static void assert_fails(int rc, int expected, const char *word)
{
    ck_assert_msg(rc == expected, "%s: %s", otok_error_name(rc), rc != OTOK_OK ? err.message : "");
    ck_assert_int_eq(err.code, expected);
    ck_assert_msg(strstr(err.message, word) != NULL, "'%s' is not in '%s'", word, err.message);
}

/* ---- what the tests make happen ---- */

static struct {
    uint8_t bytes[OTOK_KEY_SIZE];
    int times; /* that these are drawn from now on, in place of random ones */
} drawn;

static struct {
    bool armed;
    uint64_t k, count; /* the k-th allocation fails */
} shortage;

int __real_otok_random(void *out, size_t len, otok_error *failure);
int __wrap_otok_random(void *out, size_t len, otok_error *failure);
void *__real_otok_malloc(size_t size);
void *__wrap_otok_malloc(size_t size);
void *__real_otok_calloc(size_t count, size_t size);
void *__wrap_otok_calloc(size_t count, size_t size);
void *__real_otok_realloc(void *old, size_t size);
void *__wrap_otok_realloc(void *old, size_t size);

int __wrap_otok_random(void *out, size_t len, otok_error *failure)
{
    if (drawn.times == 0 || len != sizeof drawn.bytes)
        return __real_otok_random(out, len, failure);
    drawn.times--;
    memcpy(out, drawn.bytes, len);
    return OTOK_OK;
}

static bool is_refused(void)
{
    return shortage.armed && ++shortage.count == shortage.k;
}

void *__wrap_otok_malloc(size_t size)
{
    return is_refused() ? NULL : __real_otok_malloc(size);
}

void *__wrap_otok_calloc(size_t count, size_t size)
{
    return is_refused() ? NULL : __real_otok_calloc(count, size);
}

void *__wrap_otok_realloc(void *old, size_t size)
{
    return is_refused() ? NULL : __real_otok_realloc(old, size);
}

/* ---- keyrings ---- */

static otok_keyring *generate(void)
{
    otok_keyring *keyring;
    ok(otok_keyring_generate(OTOK_ALG_EDDSA, &keyring, &err));
    return keyring;
}

static otok_key_change step(int32_t what, int32_t use, const char *kid)
{
    otok_key_change change;
    otok_key_change_init(&change, sizeof change);
    change.step = what;
    change.use = use;
    change.kid = kid;
    return change;
}

/* One step; the keyring before is given back. */
static void take(otok_keyring **keyring, otok_key_change change)
{
    otok_keyring *next;
    ok(otok_keyring_change(*keyring, &change, &next, &err));
    otok_keyring_free(*keyring);
    *keyring = next;
}

static void add(otok_keyring **keyring, int32_t use)
{
    otok_key_change change = step(OTOK_KEY_STEP_ADD, use, NULL);
    change.algorithm = use == OTOK_KEY_SIGNING ? OTOK_ALG_EDDSA : 0;
    take(keyring, change);
}

static size_t count(const otok_keyring *keyring, int32_t use)
{
    return use == OTOK_KEY_SIGNING ? keyring->nsigning : keyring->ntoken;
}

static int32_t state(const otok_keyring *keyring, int32_t use, size_t i)
{
    return use == OTOK_KEY_SIGNING ? keyring->signing[i].state : keyring->token[i].state;
}

static const char *kid(const otok_keyring *keyring, int32_t use, size_t i)
{
    return use == OTOK_KEY_SIGNING ? keyring->signing[i].kid : keyring->token[i].kid;
}

/* Of each use a retired, an active and a next key, in this order. */
static otok_keyring *generate_three(void)
{
    otok_keyring *keyring = generate();
    for (int32_t use = OTOK_KEY_SIGNING; use <= OTOK_KEY_TOKEN; use++) {
        add(&keyring, use);
        take(&keyring, step(OTOK_KEY_STEP_ACTIVATE, use, NULL));
        add(&keyring, use);
    }
    return keyring;
}

/* ---- the steps ---- */

enum { N = OTOK_KEY_NEXT, A = OTOK_KEY_ACTIVE, R = OTOK_KEY_RETIRED };

static const int32_t three[] = {R, A, N}; /* of generate_three() */

/* K2, K3: what each step makes of each key, whatever its use; nothing else changes, and the old keyring not at all. */
START_TEST(every_step_from_every_state)
{
    static const struct {
        int32_t step;
        size_t named; /* 0 retired, 1 active, 2 next, 3: none is named */
        int code;
        size_t n;
        int32_t states[4], keys[4]; /* afterwards; 3: one that was not there */
    } rows[] = {
        {OTOK_KEY_STEP_ADD, 3, OTOK_OK, 4, {R, A, N, N}, {0, 1, 2, 3}},
        {OTOK_KEY_STEP_ACTIVATE, 0, OTOK_OK, 3, {A, R, N}, {0, 1, 2}},
        {OTOK_KEY_STEP_ACTIVATE, 1, OTOK_OK, 3, {R, A, N}, {0, 1, 2}},
        {OTOK_KEY_STEP_ACTIVATE, 2, OTOK_OK, 3, {R, R, A}, {0, 1, 2}},
        {OTOK_KEY_STEP_ACTIVATE, 3, OTOK_OK, 3, {R, R, A}, {0, 1, 2}},
        {OTOK_KEY_STEP_DROP, 0, OTOK_OK, 2, {A, N}, {1, 2}},
        {OTOK_KEY_STEP_DROP, 1, OTOK_E_STATE, 0, {0}, {0}},
        {OTOK_KEY_STEP_DROP, 2, OTOK_OK, 2, {R, A}, {0, 1}},
        {OTOK_KEY_STEP_DROP, 3, OTOK_E_INVALID, 0, {0}, {0}},
    };
    otok_keyring *before = generate_three();
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        for (int32_t use = OTOK_KEY_SIGNING; use <= OTOK_KEY_TOKEN; use++) {
            otok_keyring *after = (otok_keyring *)1;
            int32_t other = OTOK_KEY_SIGNING + OTOK_KEY_TOKEN - use;
            otok_key_change change =
                step(rows[i].step, use, rows[i].named < 3 ? kid(before, use, rows[i].named) : NULL);
            int rc = otok_keyring_change(before, &change, &after, &err);
            ck_assert_msg(rc == rows[i].code, "row %zu: %s", i, otok_error_name(rc));
            for (size_t k = 0; k < 3; k++)
                ck_assert_int_eq(state(before, use, k), three[k]);
            if (rc != OTOK_OK) {
                ck_assert_ptr_null(after);
                continue;
            }
            ck_assert_uint_eq(count(after, use), rows[i].n);
            for (size_t k = 0; k < rows[i].n; k++) {
                ck_assert_int_eq(state(after, use, k), rows[i].states[k]);
                if (rows[i].keys[k] < 3)
                    ck_assert_str_eq(kid(after, use, k), kid(before, use, (size_t)rows[i].keys[k]));
            }
            ck_assert_uint_eq(count(after, other), 3);
            for (size_t k = 0; k < 3; k++) {
                ck_assert_str_eq(kid(after, other, k), kid(before, other, k));
                ck_assert_int_eq(state(after, other, k), state(before, other, k));
            }
            ck_assert_ptr_null(after->files.path);
            otok_keyring_free(after);
        }
    }
    otok_keyring_free(before);
}
END_TEST

/* K2: what the old keyring signed is verified under the new one, after the old one was freed. */
START_TEST(retired_key_verifies_until_it_is_dropped)
{
    otok_keyring *keyring = generate();
    char old[OTOK_KID_CHARS + 1], *jwks;
    uint8_t signature[OTOK_SIGNATURE_MAX];
    size_t len = sizeof signature;
    memcpy(old, otok_keyring_signing(keyring)->kid, sizeof old);
    ok(otok_sign(otok_keyring_signing(keyring)->pkey, "text", 4, signature, &len, &err));

    add(&keyring, OTOK_KEY_SIGNING);
    ok(otok_keyring_jwks(keyring, &jwks, &err)); /* published before it signs */
    ck_assert_ptr_nonnull(strstr(jwks, keyring->signing[1].kid));
    ck_assert_str_eq(otok_keyring_signing(keyring)->kid, old);
    otok_string_free(jwks);

    take(&keyring, step(OTOK_KEY_STEP_ACTIVATE, OTOK_KEY_SIGNING, NULL));
    ck_assert_str_ne(otok_keyring_signing(keyring)->kid, old);
    ok(otok_verify(otok_keyring_by_kid(keyring, old)->pkey, "text", 4, signature, len, &err));
    ok(otok_keyring_jwks(keyring, &jwks, &err));
    ck_assert_ptr_nonnull(strstr(jwks, old));
    otok_string_free(jwks);

    take(&keyring, step(OTOK_KEY_STEP_DROP, OTOK_KEY_SIGNING, old));
    ck_assert_ptr_null(otok_keyring_by_kid(keyring, old));
    ok(otok_keyring_jwks(keyring, &jwks, &err));
    ck_assert_ptr_null(strstr(jwks, old));
    otok_string_free(jwks);
    otok_keyring_free(keyring);
}
END_TEST

START_TEST(next_key_must_be_named_unless_there_is_one)
{
    for (int32_t use = OTOK_KEY_SIGNING; use <= OTOK_KEY_TOKEN; use++) {
        otok_keyring *keyring = generate(), *none;
        otok_key_change change = step(OTOK_KEY_STEP_ACTIVATE, use, NULL);
        const char *name = use == OTOK_KEY_SIGNING ? "signing key" : "MAC key";
        assert_fails(otok_keyring_change(keyring, &change, &none, &err), OTOK_E_NOT_FOUND, name);
        add(&keyring, use);
        add(&keyring, use);
        assert_fails(otok_keyring_change(keyring, &change, &none, &err), OTOK_E_INVALID, "change.kid is required: 2");
        take(&keyring, step(OTOK_KEY_STEP_ACTIVATE, use, kid(keyring, use, 2)));
        ck_assert_int_eq(state(keyring, use, 2), OTOK_KEY_ACTIVE);
        ck_assert_int_eq(state(keyring, use, 1), OTOK_KEY_NEXT);
        otok_keyring_free(keyring);
    }
}
END_TEST

START_TEST(key_of_the_other_use_is_not_found)
{
    otok_keyring *keyring = generate_three(), *none;
    static const int32_t steps[] = {OTOK_KEY_STEP_ACTIVATE, OTOK_KEY_STEP_DROP};
    for (size_t i = 0; i < 2; i++) {
        otok_key_change change = step(steps[i], OTOK_KEY_SIGNING, keyring->token[2].kid);
        assert_fails(otok_keyring_change(keyring, &change, &none, &err), OTOK_E_NOT_FOUND, "no signing key");
        ck_assert_ptr_null(strstr(err.message, keyring->token[2].kid)); /* it may be a key, given by mistake */
        change = step(steps[i], OTOK_KEY_TOKEN, keyring->signing[2].kid);
        assert_fails(otok_keyring_change(keyring, &change, &none, &err), OTOK_E_NOT_FOUND, "no MAC key");
    }
    otok_keyring_free(keyring);
}
END_TEST

START_TEST(change_that_makes_no_sense_is_refused_by_field)
{
    static char too_long[300];
    static const struct {
        otok_key_change change;
        const char *field;
    } rows[] = {
        {{.step = 0, .use = 1}, "step"},
        {{.step = 4, .use = 1}, "step"},
        {{.step = -1, .use = 1}, "step"},
        {{.step = OTOK_KEY_STEP_ADD}, "use"},
        {{.step = OTOK_KEY_STEP_ADD, .use = 3}, "use"},
        {{.step = OTOK_KEY_STEP_ADD, .use = -1}, "use"},
        {{.step = OTOK_KEY_STEP_ADD, .use = 1, .unused = 1}, "unused"},
        {{.step = OTOK_KEY_STEP_ADD, .use = 1, .algorithm = 5}, "algorithm"},
        {{.step = OTOK_KEY_STEP_ADD, .use = 1, .algorithm = -1}, "algorithm"},
        {{.step = OTOK_KEY_STEP_ADD, .use = 2, .algorithm = 1}, "algorithm"},
        {{.step = OTOK_KEY_STEP_ADD, .use = 1, .kid = "x"}, "kid"},
        {{.step = OTOK_KEY_STEP_ADD, .use = 2, .kid = "x"}, "kid"},
        {{.step = OTOK_KEY_STEP_ADD, .use = 2, .jwk = "{}"}, "jwk"},
        {{.step = OTOK_KEY_STEP_ACTIVATE, .use = 1, .algorithm = 1}, "algorithm"},
        {{.step = OTOK_KEY_STEP_ACTIVATE, .use = 1, .jwk = "{}"}, "jwk"},
        {{.step = OTOK_KEY_STEP_ACTIVATE, .use = 1, .kid = ""}, "kid"},
        {{.step = OTOK_KEY_STEP_ACTIVATE, .use = 1, .kid = "\xff"}, "kid"},
        {{.step = OTOK_KEY_STEP_ACTIVATE, .use = 1, .kid = too_long}, "kid"},
        {{.step = OTOK_KEY_STEP_DROP, .use = 1, .kid = "\n"}, "kid"},
        {{.step = OTOK_KEY_STEP_DROP, .use = 2}, "kid"},
        {{.step = OTOK_KEY_STEP_DROP, .use = 2, .kid = "x", .jwk = "{}"}, "jwk"},
        {{.step = OTOK_KEY_STEP_DROP, .use = 2, .kid = "x", .algorithm = 1}, "algorithm"},
    };
    otok_keyring *keyring = generate(), *out;
    memset(too_long, 'k', sizeof too_long - 1);
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        otok_key_change change = rows[i].change;
        change.size = sizeof change;
        out = (otok_keyring *)1;
        assert_fails(otok_keyring_change(keyring, &change, &out, &err), OTOK_E_INVALID, rows[i].field);
        ck_assert_ptr_null(out);
    }
    otok_key_change change = step(OTOK_KEY_STEP_ADD, OTOK_KEY_TOKEN, NULL);
    assert_fails(otok_keyring_change(NULL, &change, &out, &err), OTOK_E_INVALID, "keyring is required");
    assert_fails(otok_keyring_change(keyring, &change, NULL, &err), OTOK_E_INVALID, "out is required");
    assert_fails(otok_keyring_change(keyring, NULL, &out, &err), OTOK_E_INVALID, "otok_key_change is required");
    ck_assert_ptr_null(out);
    otok_keyring_free(keyring);
}
END_TEST

START_TEST(change_of_an_older_or_newer_header_is_read)
{
    struct {
        otok_key_change known;
        int64_t newer;
    } change;
    otok_keyring *keyring = generate(), *out;
    otok_key_change_init(NULL, sizeof change);
    otok_key_change_init(&change.known, sizeof change);
    change.known.step = OTOK_KEY_STEP_ADD;
    change.known.use = OTOK_KEY_TOKEN;
    ok(otok_keyring_change(keyring, &change.known, &out, &err));
    otok_keyring_free(out);
    change.newer = 1;
    assert_fails(otok_keyring_change(keyring, &change.known, &out, &err), OTOK_E_INVALID, "otok_key_change");
    ck_assert_ptr_null(out);
    change.known.jwk = "not there yet in a header that ends before it";
    change.known.size = offsetof(otok_key_change, jwk);
    ok(otok_keyring_change(keyring, &change.known, &out, &err));
    otok_keyring_free(out);
    change.known.size = sizeof(size_t);
    assert_fails(otok_keyring_change(keyring, &change.known, &out, &err), OTOK_E_INVALID, "otok_key_change.size");
    otok_keyring_free(keyring);
}
END_TEST

START_TEST(new_signing_key_has_the_algorithm_that_was_asked_for)
{
    otok_keyring *keyring = generate();
    for (int32_t algorithm = OTOK_ALG_DEFAULT; algorithm <= OTOK_ALG_PS256; algorithm++) {
        otok_key_change change = step(OTOK_KEY_STEP_ADD, OTOK_KEY_SIGNING, NULL);
        change.algorithm = algorithm;
        take(&keyring, change);
        const otok_signing_key *key = &keyring->signing[keyring->nsigning - 1];
        ck_assert_int_eq(otok_pkey_algorithm(key->pkey), algorithm == OTOK_ALG_DEFAULT ? OTOK_ALG_ES256 : algorithm);
        ck_assert(otok_pkey_is_private(key->pkey));
        ck_assert_int_eq(key->state, OTOK_KEY_NEXT);
    }
    otok_keyring_free(keyring);
}
END_TEST

/* K3: a key id in use is never given out again. */
START_TEST(mac_key_whose_id_is_taken_is_drawn_again)
{
    otok_keyring *keyring = generate(), *none;
    otok_key_change change = step(OTOK_KEY_STEP_ADD, OTOK_KEY_TOKEN, NULL);
    memcpy(drawn.bytes, keyring->token[0].key, sizeof drawn.bytes);
    drawn.times = 3;
    take(&keyring, change);
    ck_assert_int_eq(drawn.times, 0);
    ck_assert_uint_eq(keyring->ntoken, 2);
    ck_assert_uint_ne(keyring->token[1].id, keyring->token[0].id);
    drawn.times = INT32_MAX; /* a generator that is broken does not hold us for ever */
    assert_fails(otok_keyring_change(keyring, &change, &none, &err), OTOK_E_CRYPTO, "id");
    ck_assert_ptr_null(none);
    drawn.times = 0;
    otok_keyring_free(keyring);
}
END_TEST

/* K3 */
START_TEST(sixty_four_keys_of_a_use_are_the_most)
{
    for (int32_t use = OTOK_KEY_SIGNING; use <= OTOK_KEY_TOKEN; use++) {
        otok_keyring *keyring = generate(), *none;
        bool seen[256] = {false};
        while (count(keyring, use) < OTOK_MAX_KEYRING_KEYS)
            add(&keyring, use);
        otok_key_change change = step(OTOK_KEY_STEP_ADD, use, NULL);
        assert_fails(otok_keyring_change(keyring, &change, &none, &err), OTOK_E_STATE, "64");
        if (use == OTOK_KEY_SIGNING) {
            change.jwk = "{\"alg\":\"EdDSA\"," VECTOR_ED_PUBLIC "}";
            assert_fails(otok_keyring_change(keyring, &change, &none, &err), OTOK_E_STATE, "64");
        }
        for (size_t i = 0; i < keyring->ntoken; i++) {
            ck_assert(!seen[keyring->token[i].id]);
            seen[keyring->token[i].id] = true;
        }
        take(&keyring, step(OTOK_KEY_STEP_DROP, use, kid(keyring, use, 63)));
        add(&keyring, use);
        otok_keyring_free(keyring);
    }
}
END_TEST

/* ---- lists ---- */

START_TEST(list_tells_of_every_key)
{
    otok_keyring *keyring = generate_three();
    otok_key_change change = step(OTOK_KEY_STEP_ADD, OTOK_KEY_SIGNING, NULL);
    otok_key_list *list;
    change.jwk = "{\"alg\":\"ES256\"," VECTOR_EC_PUBLIC "}";
    take(&keyring, change);
    shortage.armed = true; /* counts */
    shortage.k = shortage.count = 0;
    ok(otok_keyring_keys(keyring, &list, &err));
    shortage.armed = false;
    ck_assert_uint_eq(shortage.count, 1);
    ck_assert_uint_eq(list->size, sizeof *list);
    ck_assert_uint_eq(list->count, 7);
    for (size_t i = 0; i < list->count; i++) {
        const otok_key *key = list->keys[i];
        int32_t use = i < 4 ? OTOK_KEY_SIGNING : OTOK_KEY_TOKEN;
        size_t at = i < 4 ? i : i - 4;
        ck_assert_uint_eq(key->size, sizeof *key);
        ck_assert_int_eq(key->use, use);
        ck_assert_str_eq(key->kid, kid(keyring, use, at));
        ck_assert_int_eq(key->state, three[at < 3 ? at : 2]);
        ck_assert_int_eq(key->algorithm, i == 3 ? OTOK_ALG_ES256 : i < 4 ? OTOK_ALG_EDDSA : 0);
        ck_assert_int_eq(key->token_id, i < 4 ? 0 : keyring->token[at].id);
        ck_assert_int_eq(key->external, i == 3);
        ck_assert_int_eq(key->unused, 0);
        ck_assert_int_eq(key->created_us, i < 4 ? keyring->signing[at].created_us : keyring->token[at].created_us);
        ck_assert_uint_eq(key->sessions, 0);
    }
    char first[OTOK_KID_CHARS + 1];
    memcpy(first, keyring->signing[0].kid, sizeof first);
    otok_keyring_free(keyring);
    ck_assert_str_eq(list->keys[0]->kid, first); /* the list lives on without it */
    otok_key_list_free(list);
    otok_key_list_free(NULL);
    assert_fails(otok_keyring_keys(NULL, &list, &err), OTOK_E_INVALID, "keyring");
    keyring = generate();
    assert_fails(otok_keyring_keys(keyring, NULL, &err), OTOK_E_INVALID, "out");
    otok_keyring_free(keyring);
}
END_TEST

/* ---- sameness ---- */

static void assert_same(const otok_keyring *a, const otok_keyring *b, bool expected)
{
    ck_assert(otok_keyring_same(a, b) == expected);
    ck_assert(otok_keyring_same(b, a) == expected);
}

START_TEST(keyrings_are_the_same_by_keys_and_states)
{
    otok_keyring *a = generate_three(), *b = generate_three(), *c = generate_three();
    otok_key_change nothing = step(OTOK_KEY_STEP_ACTIVATE, OTOK_KEY_TOKEN, a->token[1].kid);
    otok_keyring_free(b);
    assert_same(a, a, true);
    assert_same(a, c, false);
    ok(otok_keyring_change(a, &nothing, &b, &err));
    assert_same(a, b, true);
    otok_signing_key signing = b->signing[0]; /* in another order they are the same */
    b->signing[0] = b->signing[2];
    b->signing[2] = signing;
    b->token[0] = a->token[2];
    b->token[2] = a->token[0];
    assert_same(a, b, true);
    b->token[0].state = OTOK_KEY_RETIRED;
    assert_same(a, b, false);
    b->token[0].state = a->token[2].state;
    b->signing[0].state = OTOK_KEY_RETIRED;
    assert_same(a, b, false);
    b->signing[0].state = a->signing[2].state;
    b->signing[0].external = true;
    assert_same(a, b, false);
    b->signing[0].external = false;
    assert_same(a, b, true);
    b->token[0] = c->token[2];
    assert_same(a, b, false);
    b->token[0] = a->token[2];
    take(&b, step(OTOK_KEY_STEP_DROP, OTOK_KEY_TOKEN, a->token[2].kid));
    assert_same(a, b, false);
    add(&b, OTOK_KEY_TOKEN); /* as many, but another */
    assert_same(a, b, false);
    otok_keyring_free(a);
    otok_keyring_free(b);
    otok_keyring_free(c);
}
END_TEST

/* One RSA key under another algorithm has the same thumbprint, and is another key. */
START_TEST(algorithm_is_part_of_a_key)
{
    static const char *const jwks[] = {"{\"alg\":\"RS256\"," VECTOR_RSA_PUBLIC "}",
                                       "{\"alg\":\"PS256\"," VECTOR_RSA_PUBLIC "}"};
    otok_keyring *first = generate(), *made[2], *none;
    otok_key_change change = step(OTOK_KEY_STEP_ADD, OTOK_KEY_SIGNING, NULL);
    for (size_t i = 0; i < 2; i++) {
        change.jwk = jwks[i];
        ok(otok_keyring_change(first, &change, &made[i], &err));
    }
    assert_same(made[0], made[1], false);
    assert_fails(otok_keyring_change(made[0], &change, &none, &err), OTOK_E_STATE, "already");
    otok_keyring_free(first);
    otok_keyring_free(made[0]);
    otok_keyring_free(made[1]);
}
END_TEST

/* ---- external keys (K5) ---- */

static const struct {
    const char *jwk;
    int32_t algorithm;
} externals[] = {
    {"{\"alg\":\"ES256\"," VECTOR_EC_PUBLIC "}", OTOK_ALG_ES256},
    {"{\"alg\":\"EdDSA\",\"use\":\"sig\",\"kid\":\"" VECTOR_ED_THUMBPRINT "\"," VECTOR_ED_PUBLIC "}", OTOK_ALG_EDDSA},
    {"{\"alg\":\"RS256\",\"key_ops\":[\"verify\"]," VECTOR_RSA_PUBLIC "}", OTOK_ALG_RS256},
    {"{\"alg\":\"PS256\",\"kid\":\"" VECTOR_7638_THUMBPRINT "\"," VECTOR_7638_PUBLIC "}", OTOK_ALG_PS256},
};
enum { EXTERNALS = sizeof externals / sizeof externals[0] };

static otok_keyring *with_external(size_t i)
{
    otok_keyring *keyring = generate();
    otok_key_change change = step(OTOK_KEY_STEP_ADD, OTOK_KEY_SIGNING, NULL);
    change.jwk = externals[i].jwk;
    change.algorithm = i % 2 == 0 ? externals[i].algorithm : 0;
    take(&keyring, change);
    take(&keyring, step(OTOK_KEY_STEP_ACTIVATE, OTOK_KEY_SIGNING, NULL));
    return keyring;
}

static void print(const otok_keyring *keyring, otok_buf *out)
{
    otok_buf_init(out, NULL, 0);
    ok(otok_keyring_print(keyring, OTOK_JWKS_SIGNING | OTOK_JWKS_TOKEN, out, &err));
    otok_buf_add_u8(out, '\0');
    out->len--;
}

START_TEST(external_key_is_printed_read_and_published)
{
    otok_keyring *keyring = with_external((size_t)_i), *again = otok_keyring_new(&err);
    const otok_signing_key *key = otok_keyring_signing(keyring);
    uint8_t signature[OTOK_SIGNATURE_MAX];
    size_t len = sizeof signature;
    otok_buf text;
    char *jwks;
    ck_assert(key->external && !otok_pkey_is_private(key->pkey));
    ck_assert_int_eq(otok_pkey_algorithm(key->pkey), externals[_i].algorithm);
    ck_assert_int_eq(otok_sign(key->pkey, "text", 4, signature, &len, NULL), OTOK_E_KEY);

    print(keyring, &text);
    ok(otok_keyring_parse((const char *)text.data, text.len, OTOK_JWKS_SIGNING | OTOK_JWKS_TOKEN, "it", again, &err));
    assert_same(keyring, again, true);
    ck_assert(otok_keyring_signing(again)->external);
    const char *first = strstr((const char *)text.data, "\"otok_external\":true");
    ck_assert_ptr_nonnull(first);
    ck_assert_ptr_null(strstr(first + 2, "otok_external")); /* the other key has its private half */

    ok(otok_keyring_jwks(keyring, &jwks, &err));
    ck_assert_ptr_null(strstr(jwks, "otok_"));
    ck_assert_ptr_nonnull(strstr(jwks, key->kid));
    otok_string_free(jwks);
    otok_buf_free(&text);
    otok_keyring_free(keyring);
    otok_keyring_free(again);
}
END_TEST

START_TEST(jwk_that_is_no_public_key_is_refused_by_member)
{
    static const struct {
        const char *jwk;
        int32_t algorithm;
        int code;
        const char *field;
    } rows[] = {
        {"", 0, OTOK_E_KEY, "no JSON"},
        {"{", 0, OTOK_E_KEY, "no JSON"},
        {"[]", 0, OTOK_E_KEY, "alg"},
        {"{}", 0, OTOK_E_KEY, "alg"},
        {"{" VECTOR_ED_PUBLIC "}", 0, OTOK_E_KEY, "alg"},
        {"{\"alg\":\"EdDSA\"," VECTOR_EC_PUBLIC "}", 0, OTOK_E_KEY, "kty"},
        {"{\"alg\":\"HS256\",\"kty\":\"oct\"}", 0, OTOK_E_KEY, "alg"},
        {"{\"alg\":\"HS256\",\"kty\":\"oct\",\"k\":\"AAECAwQFBgcICQoL\"}", 0, OTOK_E_KEY, "k is private"},
        {"{\"alg\":\"EdDSA\"," VECTOR_ED_PUBLIC "," VECTOR_ED_PRIVATE "}", 0, OTOK_E_KEY, "d is private"},
        {"{\"alg\":\"EdDSA\"," VECTOR_ED_PUBLIC ",\"d\":null}", 0, OTOK_E_KEY, "d is private"},
        {"{\"alg\":\"RS256\"," VECTOR_RSA_PUBLIC "," VECTOR_RSA_PRIVATE "}", 0, OTOK_E_KEY, "d is private"},
        {"{\"alg\":\"RS256\"," VECTOR_RSA_PUBLIC ",\"qi\":\"AQ\"}", 0, OTOK_E_KEY, "qi is private"},
        {"{\"alg\":\"RS256\"," VECTOR_RSA_PUBLIC ",\"oth\":[]}", 0, OTOK_E_KEY, "oth is private"},
        {"{\"alg\":\"EdDSA\",\"kid\":\"hsm-1\"," VECTOR_ED_PUBLIC "}", 0, OTOK_E_KEY, "kid"},
        {"{\"alg\":\"EdDSA\",\"kid\":7," VECTOR_ED_PUBLIC "}", 0, OTOK_E_KEY, "kid"},
        {"{\"alg\":\"EdDSA\",\"use\":\"enc\"," VECTOR_ED_PUBLIC "}", 0, OTOK_E_KEY, "use"},
        {"{\"alg\":\"EdDSA\",\"use\":[]," VECTOR_ED_PUBLIC "}", 0, OTOK_E_KEY, "use"},
        {"{\"alg\":\"EdDSA\"," VECTOR_ED_PUBLIC "}", OTOK_ALG_ES256, OTOK_E_INVALID, "change.algorithm"},
        {"{\"alg\":\"ES256\",\"kty\":\"EC\",\"crv\":\"P-256\",\"x\":\"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\","
         "\"y\":\"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\"}",
         0, OTOK_E_KEY, "no point"},
    };
    otok_keyring *keyring = generate(), *none = NULL;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        otok_key_change change = step(OTOK_KEY_STEP_ADD, OTOK_KEY_SIGNING, NULL);
        change.jwk = rows[i].jwk;
        change.algorithm = rows[i].algorithm;
        assert_fails(otok_keyring_change(keyring, &change, &none, &err), rows[i].code, rows[i].field);
        ck_assert_ptr_nonnull(strstr(err.message, "change."));
        ck_assert_ptr_null(strstr(err.message, "nWGxne_9WmC6hEr0")); /* no key in a message */
        ck_assert_ptr_null(strstr(err.message, "AAECAwQFBgcICQoL"));
        ck_assert_ptr_null(none);
    }
    otok_keyring_free(keyring);
}
END_TEST

#define ED_MEMBERS                                                                                                     \
    VECTOR_ED_PUBLIC ",\"kid\":\"" VECTOR_ED_THUMBPRINT                                                                \
                     "\",\"alg\":\"EdDSA\",\"use\":\"sig\",\"otok_state\":\"active\",\"otok_created_us\":1"

/* K4: an entry that lost its private half is damaged, unless it says that this is elsewhere. */
START_TEST(damaged_external_entry_is_refused_by_name_and_field)
{
    static const struct {
        const char *members, *field;
    } rows[] = {
        {ED_MEMBERS, "d is missing"},
        {ED_MEMBERS ",\"otok_external\":false", "otok_external"},
        {ED_MEMBERS ",\"otok_external\":\"true\"", "otok_external"},
        {ED_MEMBERS ",\"otok_external\":1", "otok_external"},
        {ED_MEMBERS ",\"otok_external\":null", "otok_external"},
        {ED_MEMBERS ",\"otok_external\":{\"a\":[true,true,true,true]}", "otok_external"},
        {ED_MEMBERS ",\"otok_externam\":true", "d is missing"},
        {ED_MEMBERS ",\"otok_external\":true," VECTOR_ED_PRIVATE, "d is private"},
        {ED_MEMBERS ",\"otok_external\":true,\"q\":\"AQ\"", "q is private"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        otok_keyring *keyring = otok_keyring_new(&err);
        char text[1024];
        (void)snprintf(text, sizeof text, "{\"keys\":[{%s}]}", rows[i].members);
        assert_fails(otok_keyring_parse(text, strlen(text), OTOK_JWKS_SIGNING, "the file", keyring, &err), OTOK_E_KEY,
                     rows[i].field);
        ck_assert_ptr_nonnull(strstr(err.message, "key 1 (kid " VECTOR_ED_THUMBPRINT ")"));
        otok_keyring_free(keyring);
    }
    otok_keyring *keyring = otok_keyring_new(&err);
    static const char good[] = "{\"keys\":[{" ED_MEMBERS ",\"otok_external\":true}]}";
    ok(otok_keyring_parse(good, strlen(good), OTOK_JWKS_SIGNING, "the file", keyring, &err));
    otok_keyring_free(keyring);
}
END_TEST

START_TEST(external_entry_with_any_byte_changed_is_refused_or_the_same_key)
{
    otok_keyring *keyring = with_external(1);
    otok_buf text;
    print(keyring, &text);
    for (size_t i = 0; i < text.len; i++) {
        for (int bit = 0; bit < 8; bit++) {
            otok_keyring *again = otok_keyring_new(&err);
            text.data[i] ^= (uint8_t)(1 << bit);
            int rc = otok_keyring_parse((const char *)text.data, text.len, OTOK_JWKS_SIGNING | OTOK_JWKS_TOKEN, "it",
                                        again, &err);
            if (rc == OTOK_OK)
                ck_assert_msg(otok_keyring_same(keyring, again), "byte %zu", i);
            else
                ck_assert(rc == OTOK_E_KEY || rc == OTOK_E_FORMAT);
            text.data[i] ^= (uint8_t)(1 << bit);
            otok_keyring_free(again);
        }
    }
    otok_buf_free(&text);
    otok_keyring_free(keyring);
}
END_TEST

/* ---- out of memory ---- */

/* Each allocation of ours fails once; AddressSanitizer sees what leaks. */
START_TEST(step_without_memory_is_not_taken)
{
    otok_keyring *keyring = generate_three();
    otok_key_change changes[] = {
        step(OTOK_KEY_STEP_ADD, OTOK_KEY_SIGNING, NULL), step(OTOK_KEY_STEP_ADD, OTOK_KEY_TOKEN, NULL),
        step(OTOK_KEY_STEP_ADD, OTOK_KEY_SIGNING, NULL), step(OTOK_KEY_STEP_ACTIVATE, OTOK_KEY_SIGNING, NULL),
        step(OTOK_KEY_STEP_DROP, OTOK_KEY_TOKEN, keyring->token[0].kid)};
    changes[2].jwk = externals[1].jwk;
    for (size_t i = 0; i < sizeof changes / sizeof changes[0]; i++) {
        int rc = OTOK_E_NOMEM;
        for (shortage.k = 1; rc != OTOK_OK; shortage.k++) {
            otok_keyring *out = (otok_keyring *)1;
            shortage.count = 0;
            shortage.armed = true;
            rc = otok_keyring_change(keyring, &changes[i], &out, &err);
            shortage.armed = false;
            ck_assert_msg(rc == OTOK_OK || (rc == OTOK_E_NOMEM && out == NULL), "change %zu, allocation %llu: %s", i,
                          (unsigned long long)shortage.k, otok_error_name(rc));
            if (rc == OTOK_OK)
                otok_keyring_free(out);
        }
        ck_assert_uint_gt(shortage.k, 2); /* some failed */
    }
    otok_key_list *list = (otok_key_list *)1;
    shortage.k = 1;
    shortage.count = 0;
    shortage.armed = true;
    int rc = otok_keyring_keys(keyring, &list, &err);
    shortage.armed = false;
    ck_assert_int_eq(rc, OTOK_E_NOMEM);
    ck_assert_ptr_null(list);
    otok_keyring_free(keyring);
}
END_TEST

/* K3: "a key id in use is never given out again": what was dropped may still be sealed or derived under somewhere. */
START_TEST(an_id_that_was_dropped_is_not_given_out_again)
{
    otok_keyring *keyring = NULL;
    uint8_t last[OTOK_MAX_DROPPED_IDS + 2] = {0}; /* the ids of the last keys, the newest first */
    char path[4200], *folder = test_new_folder();
    (void)snprintf(path, sizeof path, "%s/keyring.json", folder);
    ok(otok_keyring_generate(OTOK_ALG_DEFAULT, &keyring, &err));
    for (int i = 0; i < 200; i++) {
        char active[OTOK_KID_CHARS + 1];
        memmove(last + 1, last, sizeof last - 1);
        last[0] = otok_keyring_token(keyring)->id;
        memcpy(active, otok_keyring_token(keyring)->kid, sizeof active);
        take(&keyring, step(OTOK_KEY_STEP_ADD, OTOK_KEY_TOKEN, NULL));
        take(&keyring, step(OTOK_KEY_STEP_ACTIVATE, OTOK_KEY_TOKEN, NULL));
        take(&keyring, step(OTOK_KEY_STEP_DROP, OTOK_KEY_TOKEN, active));
        uint8_t id = otok_keyring_token(keyring)->id;
        ck_assert_msg(memchr(last, id, OTOK_MAX_DROPPED_IDS) == NULL, "round %d: %u is given out again", i, id);
        if (i % 50 == 49) { /* it outlives the process */
            ok(otok_keyring_save(keyring, path, NULL, &err));
            otok_keyring_free(keyring);
            ok(otok_keyring_load(path, NULL, &keyring, &err));
        }
    }
    ck_assert_uint_eq(keyring->ndropped, OTOK_MAX_DROPPED_IDS);
    otok_keyring_free(keyring);
    test_remove_folder(folder);
}
END_TEST

static void add_tests(TCase *tcase)
{
    tcase_add_test(tcase, every_step_from_every_state);
    tcase_add_test(tcase, retired_key_verifies_until_it_is_dropped);
    tcase_add_test(tcase, next_key_must_be_named_unless_there_is_one);
    tcase_add_test(tcase, key_of_the_other_use_is_not_found);
    tcase_add_test(tcase, change_that_makes_no_sense_is_refused_by_field);
    tcase_add_test(tcase, change_of_an_older_or_newer_header_is_read);
    tcase_add_test(tcase, new_signing_key_has_the_algorithm_that_was_asked_for);
    tcase_add_test(tcase, mac_key_whose_id_is_taken_is_drawn_again);
    tcase_add_test(tcase, sixty_four_keys_of_a_use_are_the_most);
    tcase_add_test(tcase, list_tells_of_every_key);
    tcase_add_test(tcase, keyrings_are_the_same_by_keys_and_states);
    tcase_add_test(tcase, algorithm_is_part_of_a_key);
    tcase_add_loop_test(tcase, external_key_is_printed_read_and_published, 0, EXTERNALS);
    tcase_add_test(tcase, jwk_that_is_no_public_key_is_refused_by_member);
    tcase_add_test(tcase, damaged_external_entry_is_refused_by_name_and_field);
    tcase_add_test(tcase, external_entry_with_any_byte_changed_is_refused_or_the_same_key);
    tcase_add_test(tcase, step_without_memory_is_not_taken);
    tcase_add_test(tcase, an_id_that_was_dropped_is_not_given_out_again);
}

int main(void)
{
    return test_main("keyring_rotation", add_tests);
}
