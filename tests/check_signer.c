/*
 * check_signer.c - a key whose private half is elsewhere (K5): another process holds it and signs, as an HSM would.
 *
 * SPDX-License-Identifier: MIT
 */
#include "support/story.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "support/claims.h"
#include "support/introspect.h"
#include "support/records.h"

/* What the other process is to do with a request. */
enum { SIGN, FAIL, GARBAGE, SHORT, LONG, EMPTY, OF_OTHER_DATA, WITH_OTHER_KEY, DIE, WAYS };

struct wire_request {
    int32_t way;
    uint32_t len; /* of the data that follows */
};

struct wire_answer {
    uint32_t failed, len;
    uint8_t signature[OTOK_SIGNATURE_MAX];
};

/* The other process, and what it is told. */
static struct signer {
    pid_t pid;
    int wire;
    int way;
    unsigned asked;
    char kid[64], jwk[2048];
} signer;

static bool read_all(int fd, void *to, size_t len)
{
    for (uint8_t *at = to; len > 0;) {
        ssize_t n = read(fd, at, len);
        if (n <= 0)
            return false;
        at += n;
        len -= (size_t)n;
    }
    return true;
}

static bool write_all(int fd, const void *from, size_t len)
{
    for (const uint8_t *at = from; len > 0;) {
        ssize_t n = send(fd, at, len, MSG_NOSIGNAL);
        if (n <= 0)
            return false;
        at += n;
        len -= (size_t)n;
    }
    return true;
}

/* ------------------------------------------------------------------------------------------------- the other process */

static void spoil(struct wire_answer *answer, int32_t way)
{
    switch (way) {
    case FAIL:
        answer->failed = 1;
        break;
    case GARBAGE:
        memset(answer->signature, 0x5a, answer->len);
        break;
    case SHORT:
        answer->len--;
        break;
    case LONG:
        answer->len = sizeof answer->signature + 1;
        break;
    case EMPTY:
        answer->len = 0;
        break;
    default:
        break;
    }
}

static bool serve_one(int wire, const otok_pkey *key, const otok_pkey *other)
{
    static uint8_t data[1 << 20];
    struct wire_request request;
    struct wire_answer answer = {.failed = 0};
    size_t len = sizeof answer.signature;
    if (!read_all(wire, &request, sizeof request) || request.len > sizeof data || !read_all(wire, data, request.len))
        return false;
    if (request.way == DIE)
        return false;
    if (request.way == OF_OTHER_DATA)
        data[0] ^= 1;
    if (otok_sign(request.way == WITH_OTHER_KEY ? other : key, data, request.len, answer.signature, &len, NULL) !=
        OTOK_OK)
        answer.failed = 1;
    answer.len = (uint32_t)len;
    spoil(&answer, request.way);
    return write_all(wire, &answer, sizeof answer);
}

static void tell_public_key(int wire, const otok_pkey *key)
{
    char room[sizeof signer.jwk] = "";
    otok_buf jwk;
    otok_buf_init(&jwk, NULL, 0);
    otok_json_begin(&jwk);
    otok_json_add_text(&jwk, "alg", otok_algorithm_name(otok_pkey_algorithm(key)));
    if (otok_jwk_add_pkey(&jwk, key, false, NULL) != OTOK_OK)
        _exit(1);
    otok_json_end(&jwk);
    if (jwk.failed || jwk.len >= sizeof room)
        _exit(1);
    memcpy(room, jwk.data, jwk.len);
    otok_buf_free(&jwk);
    (void)write_all(wire, room, sizeof room);
}

static void serve(int wire, int32_t algorithm)
{
    otok_pkey *key = NULL, *other = NULL;
    if (otok_pkey_generate(algorithm, &key, NULL) != OTOK_OK || otok_pkey_generate(algorithm, &other, NULL) != OTOK_OK)
        _exit(1);
    tell_public_key(wire, key);
    while (serve_one(wire, key, other))
        ;
    otok_pkey_free(key);
    otok_pkey_free(other);
    _exit(0);
}

/* --------------------------------------------------------------------------------------------------------- this side */

static void start_signer(int32_t algorithm)
{
    int ends[2];
    memset(&signer, 0, sizeof signer);
    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, ends), 0);
    signer.pid = fork();
    ck_assert_int_ge(signer.pid, 0);
    if (signer.pid == 0) {
        (void)close(ends[0]);
        serve(ends[1], algorithm);
    }
    (void)close(ends[1]);
    signer.wire = ends[0];
    ck_assert(read_all(signer.wire, signer.jwk, sizeof signer.jwk));
}

static void stop_signer(void)
{
    (void)close(signer.wire);
    ck_assert_int_eq(waitpid(signer.pid, NULL, 0), signer.pid);
}

/* otok_callbacks.sign */
static int sign(void *user, const otok_sign_request *request, uint8_t *signature, size_t *len)
{
    struct wire_request out = {signer.way, (uint32_t)request->data_len};
    struct wire_answer in;
    (void)user;
    signer.asked++;
    if (request->size != sizeof *request || strcmp(request->kid, signer.kid) != 0 || *len != OTOK_SIGNATURE_MAX)
        return 1;
    if (!write_all(signer.wire, &out, sizeof out) || !write_all(signer.wire, request->data, request->data_len) ||
        !read_all(signer.wire, &in, sizeof in) || in.failed)
        return 1;
    memcpy(signature, in.signature, in.len <= sizeof in.signature ? in.len : sizeof in.signature);
    *len = in.len;
    return 0;
}

static int change(test_fixture *f, int32_t what, const char *kid, const char *jwk)
{
    otok_key_change step;
    otok_keyring *next = NULL;
    otok_key_change_init(&step, sizeof step);
    step.step = what;
    step.use = OTOK_KEY_SIGNING;
    step.kid = kid;
    step.jwk = jwk;
    int rc = otok_keyring_change(f->keyring, &step, &next, NULL);
    if (rc == OTOK_OK) {
        otok_keyring_free(f->keyring);
        f->keyring = next;
    }
    return rc;
}

/* The key of the other process becomes the active one. */
static void use_signer(test_fixture *f)
{
    test_assert_code(OTOK_OK, change(f, OTOK_KEY_STEP_ADD, NULL, signer.jwk));
    test_assert_code(OTOK_OK, change(f, OTOK_KEY_STEP_ACTIVATE, NULL, NULL));
    (void)snprintf(signer.kid, sizeof signer.kid, "%s", otok_keyring_signing(f->keyring)->kid);
    ck_assert(otok_keyring_signing(f->keyring)->external);
    f->callbacks.sign = sign;
    test_reopen_service(f);
}

static test_fixture *open_signed(int32_t algorithm)
{
    start_signer(algorithm);
    test_fixture *f = test_open(TEST_MEMORY);
    use_signer(f);
    return f;
}

static void end_signed(test_fixture *f)
{
    test_end(f);
    stop_signer();
}

/* The key of that kid out of the JWKS that the host publishes. */
static otok_pkey *published_key(const test_fixture *f, const char *kid)
{
    char *jwks = NULL;
    otok_json *json = NULL;
    otok_pkey *key = NULL;
    test_assert_code(OTOK_OK, otok_keyring_jwks(f->keyring, &jwks, NULL));
    test_assert_code(OTOK_OK, otok_json_parse(jwks, strlen(jwks), "JWKS", &json, NULL));
    const otok_json *keys = otok_json_member(json, "keys");
    for (size_t i = 0; i < otok_json_count(keys); i++) {
        const otok_json *jwk = otok_json_item(keys, i);
        if (strcmp(otok_json_text(jwk, "kid"), kid) == 0)
            test_assert_code(OTOK_OK, otok_jwk_read_pkey(jwk, false, &key, NULL));
    }
    otok_json_free(json);
    otok_string_free(jwks);
    ck_assert_ptr_nonnull(key);
    return key;
}

static void expect_verifies(const test_fixture *f, const char *token, int32_t algorithm)
{
    otok_jws *jwt = NULL;
    test_assert_code(OTOK_OK, otok_jws_parse(token, strlen(token), &jwt, NULL));
    ck_assert_str_eq(otok_json_text(jwt->header, "alg"), otok_algorithm_name(algorithm));
    ck_assert_str_eq(otok_json_text(jwt->header, "kid"), signer.kid);
    otok_pkey *key = published_key(f, signer.kid);
    ck_assert(!otok_pkey_is_private(key));
    test_assert_code(OTOK_OK, otok_jws_verify(jwt, token, key, NULL));
    otok_pkey_free(key);
    otok_jws_free(jwt);
}

static const int32_t algorithms[] = {OTOK_ALG_ES256, OTOK_ALG_RS256, OTOK_ALG_EDDSA, OTOK_ALG_PS256};

/* K5: access and ID tokens, at issue and at refresh, verify with the JWKS. */
START_TEST(tokens_are_signed_in_another_process)
{
    int32_t algorithm = algorithms[_i];
    test_fixture *f = open_signed(algorithm);
    const otok_tokens *tokens = test_began(f);
    for (int round = 0; round < 2; round++) {
        expect_verifies(f, tokens->access_token, algorithm);
        expect_verifies(f, tokens->id_token, algorithm);
        cJSON *id = test_jwt_claims(f, tokens->id_token);
        test_expect_at_hash(id, tokens->access_token, otok_algorithm_name(algorithm));
        cJSON_Delete(id);
        ck_assert(test_is_active(f, tokens->access_token, NULL));
        tokens = test_rotated(f, tokens, 1);
    }
    ck_assert_uint_eq(signer.asked, 4); /* once a token: introspection needs the public half only */
    end_signed(f);
}
END_TEST

/* K5 R7: whatever is wrong with it, nothing is handed out and nothing is written; and it may come back. */
START_TEST(signer_in_trouble_leaves_the_session_as_it_was)
{
    static const int32_t expected[WAYS] = {
        [FAIL] = OTOK_E_CALLBACK,         [GARBAGE] = OTOK_E_CRYPTO, [SHORT] = OTOK_E_CRYPTO,
        [LONG] = OTOK_E_CRYPTO,           [EMPTY] = OTOK_E_CRYPTO,   [OF_OTHER_DATA] = OTOK_E_CRYPTO,
        [WITH_OTHER_KEY] = OTOK_E_CRYPTO, [DIE] = OTOK_E_CALLBACK,
    };
    test_fixture *f = open_signed(algorithms[_i]);
    const otok_tokens *tokens = test_began(f);
    otok_refresh_request request = test_refresh_request(tokens->offline_token, NULL);
    otok_grant grant = test_grant(NULL, NULL, NULL);
    test_advance_s(f, 60);
    for (int way = FAIL; way < DIE; way++) {
        signer.way = way;
        test_refused_untouched(f, &request, expected[way]);
        test_not_granted(f, &grant, expected[way], "sign");
        signer.way = SIGN;
        ck_assert(test_is_active(f, test_granted(f, &grant)->access_token, NULL));
    }
    signer.way = DIE;
    for (int i = 0; i < 3; i++) /* it answers; then it does not; then it is gone */
        test_refused_untouched(f, &request, OTOK_E_CALLBACK);
    ck_assert(test_is_active(f, tokens->offline_token, NULL)); /* which needs no signature */
    end_signed(f);
}
END_TEST

/* K5: a signer that was restarted, with a new key, goes on where the old one left off. */
START_TEST(session_goes_on_under_another_signer)
{
    test_fixture *f = open_signed(OTOK_ALG_ES256);
    const otok_tokens *tokens = test_began(f);
    stop_signer();
    test_dead(f, tokens->offline_token, OTOK_E_CALLBACK);
    start_signer(OTOK_ALG_RS256);
    use_signer(f);
    const otok_tokens *next = test_rotated(f, tokens, 1);
    expect_verifies(f, next->access_token, OTOK_ALG_RS256);
    ck_assert(test_is_active(f, tokens->access_token, NULL)); /* the key before is retired, and verifies */
    end_signed(f);
}
END_TEST

/* K5: where nothing is signed nobody is asked. */
START_TEST(signer_is_not_asked_without_need)
{
    test_fixture *f = open_signed(OTOK_ALG_ES256);
    test_plain_policy(f);
    test_held held = test_hold(f, NULL, NULL);
    test_rotate(f, &held, NULL);
    ck_assert_uint_eq(signer.asked, 0);
    end_signed(f);
}
END_TEST

/* K5: "OTOK_E_KEY (an external key without otok_callbacks.sign)", at open and when it is set. */
START_TEST(external_key_needs_a_signer)
{
    test_fixture *f = open_signed(OTOK_ALG_ES256);
    otok_config config;
    otok_service *service = NULL;
    otok_keyring *own = NULL;
    otok_config_init(&config, sizeof config);
    config.issuer = TEST_ISSUER;
    test_assert_code(OTOK_E_KEY, otok_service_open(&config, f->store, f->keyring, &service, NULL));
    ck_assert_ptr_null(service);
    test_assert_code(OTOK_OK, otok_keyring_generate(OTOK_ALG_ES256, &own, NULL));
    test_assert_code(OTOK_OK, otok_service_open(&config, f->store, own, &service, NULL));
    test_assert_code(OTOK_E_KEY, otok_service_set_keyring(service, f->keyring, NULL));
    otok_service_close(service);
    otok_keyring_free(own);
    end_signed(f);
}
END_TEST

/* K5 K4: a keyring file holds the public half, and is as good as the keyring that it came from. */
START_TEST(external_key_survives_the_file)
{
    char path[4096], *folder = test_new_folder();
    test_fixture *f = open_signed(OTOK_ALG_ES256);
    const otok_tokens *tokens = test_began(f);
    (void)snprintf(path, sizeof path, "%s/keyring.json", folder);
    test_assert_code(OTOK_OK, otok_keyring_save(f->keyring, path, NULL, NULL));
    otok_keyring_free(f->keyring);
    test_assert_code(OTOK_OK, otok_keyring_load(path, NULL, &f->keyring, NULL));
    ck_assert(otok_keyring_signing(f->keyring)->external);
    ck_assert_str_eq(otok_keyring_signing(f->keyring)->kid, signer.kid);
    test_reopen_service(f);
    expect_verifies(f, test_rotated(f, tokens, 1)->access_token, OTOK_ALG_ES256);
    end_signed(f);
    test_remove_folder(folder);
}
END_TEST

static void add_tests(TCase *tcase)
{
    tcase_add_loop_test(tcase, tokens_are_signed_in_another_process, 0, 4);
    tcase_add_loop_test(tcase, signer_in_trouble_leaves_the_session_as_it_was, 0, 2);
    tcase_add_test(tcase, session_goes_on_under_another_signer);
    tcase_add_test(tcase, signer_is_not_asked_without_need);
    tcase_add_test(tcase, external_key_needs_a_signer);
    tcase_add_test(tcase, external_key_survives_the_file);
}

int main(void)
{
    return test_main("signer", add_tests);
}
