/*
 * check_params.c - P2: what a request of an endpoint must be, and who asks.
 *
 * SPDX-License-Identifier: MIT
 */
/* link: -Wl,--wrap=otok_calloc */
#include "support/fixture.h"

#include <string.h>

#include "oauth/oauth.h"

#define FORM_TYPE "application/x-www-form-urlencoded"

void *__real_otok_calloc(size_t count, size_t size);
void *__wrap_otok_calloc(size_t count, size_t size);

static bool memory_is_short;

void *__wrap_otok_calloc(size_t count, size_t size)
{
    return memory_is_short ? NULL : __real_otok_calloc(count, size);
}

/* A request of the confidential client "backup". */
static otok_http_request request_of(const char *body)
{
    otok_http_request request;
    otok_http_request_init(&request, sizeof request);
    request.method = "POST";
    request.content_type = FORM_TYPE;
    request.body = body;
    request.body_len = body != NULL ? strlen(body) : 0;
    request.client_id = "backup";
    return request;
}

static void assert_refused(int code, const otok_http_request *request, const char *reason)
{
    static const otok_params nothing;
    otok_params params;
    otok_error err = {0};
    memset(&params, 0xa5, sizeof params);
    int rc = otok_params_read(request, &params, &err);
    ck_assert_msg(rc == code, "%s: %s, expected %s", otok_error_name(rc), err.message, otok_error_name(code));
    ck_assert_int_eq(err.code, code);
    ck_assert_msg(strstr(err.message, reason) != NULL, "%s: nothing of %s", err.message, reason);
    ck_assert_ptr_null(params.form);
    ck_assert_mem_eq(&params, &nothing, sizeof params);
    otok_params_free(&params); /* once more does no harm */
}

/* P2: 405 */
START_TEST(methods_other_than_post_are_unsupported)
{
    static const char *const methods[] = {NULL,   "",      "GET",   "HEAD",  "PUT", "DELETE", "OPTIONS",
                                          "post", "POST ", " POST", "POSTX", "PO",  "Post"};
    for (size_t i = 0; i < sizeof methods / sizeof methods[0]; i++) {
        otok_http_request request = request_of("a=1");
        request.method = methods[i];
        request.content_type = NULL; /* the method is said first */
        assert_refused(OTOK_E_UNSUPPORTED, &request, "method");
    }
}
END_TEST

/* P2: RFC 9110 sections 5.6.6 and 8.3.1 */
START_TEST(content_type_is_a_form_in_utf8)
{
    static const struct {
        const char *type;
        bool good;
    } rows[] = {
        {FORM_TYPE, true},
        {"Application/X-WWW-Form-URLEncoded", true},
        {"APPLICATION/X-WWW-FORM-URLENCODED", true},
        {FORM_TYPE "; charset=utf-8", true},
        {FORM_TYPE ";charset=UTF-8", true},
        {FORM_TYPE " ;\tCharSet=\"Utf-8\" ", true},
        {FORM_TYPE ";", true},
        {FORM_TYPE "; ; charset=utf-8;", true},
        {FORM_TYPE "; version=1; charset=utf-8", true},
        {FORM_TYPE "; x=\"a;charset=\\\"latin1\"", true},
        {FORM_TYPE "; x=\"\"", true},
        {" " FORM_TYPE " ", true},
        {NULL, false},
        {"", false},
        {" ", false},
        {";", false},
        {"application/json", false},
        {"application/x-www-form-urlencode", false},
        {FORM_TYPE "d", false},
        {FORM_TYPE "/x", false},
        {FORM_TYPE ", application/json", false},
        {"multipart/form-data; boundary=" FORM_TYPE, false},
        {"text/plain; x=" FORM_TYPE, false},
        {"application / x-www-form-urlencoded", false},
        {"application/x-www-form-urlencoded\xa0", false},
        {FORM_TYPE "\n", false},
        {FORM_TYPE "; charset=iso-8859-1", false},
        {FORM_TYPE "; charset=utf-16", false},
        {FORM_TYPE "; charset=utf8", false},
        {FORM_TYPE "; charset=utf-80", false},
        {FORM_TYPE "; charset=\"utf-8 \"", false},
        {FORM_TYPE "; charset=utf-8; charset=utf-7", false},
        {FORM_TYPE "; charset=utf-7; charset=utf-8", false},
        {FORM_TYPE "; x=\"a\\\";charset=utf-8", false}, /* the quote does not end */
        {FORM_TYPE "; charset=\"utf-8", false},
        {FORM_TYPE "; charset=\"utf-8\\", false},
        {FORM_TYPE "; charset=\"", false},
        {FORM_TYPE "; charset", false},
        {FORM_TYPE "; charset=", false},
        {FORM_TYPE "; charset =utf-8", false},
        {FORM_TYPE "; charset= utf-8", false},
        {FORM_TYPE "; =utf-8", false},
        {FORM_TYPE " charset=utf-8", false},
        {FORM_TYPE "; charset=utf-8 x", false},
        {FORM_TYPE "; x=\"a\"b", false},
        {FORM_TYPE "; charset=utf-8,", false},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        otok_http_request request = request_of("a=1");
        otok_params params;
        request.content_type = rows[i].type;
        if (!rows[i].good) {
            assert_refused(OTOK_E_INVALID, &request, "content type");
            continue;
        }
        int rc = otok_params_read(&request, &params, NULL);
        ck_assert_msg(rc == OTOK_OK, "%s", rows[i].type);
        otok_params_free(&params);
    }
}
END_TEST

/* P2: RFC 6749 section 3.2: what is not known is ignored, whatever it says; what is read is text. */
START_TEST(control_characters_matter_only_where_they_are_read)
{
    static const struct {
        const char *body;
        bool good;
    } rows[] = {
        {"note=line%0aline", true},
        {"note=%1b%5b2J", true},
        {"n%09ote=1", true},
        {"token_type_hint=%7f", true},
        {"client_secret=a%01b", true},
        {"client_assertion=%0a", true},
        {"Scope=%0a", true},
        {"grant_type=a%0a", false},
        {"refresh_token=%0a", false},
        {"scope=a%0ab", false},
        {"token=a%7f", false},
        {"resource=a&resource=%c2%85", false},
        {"client_id=backup%0a", false},
        {"note=%00", false},
        {"note=%ff", false},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        otok_http_request request = request_of(rows[i].body);
        otok_params params;
        if (!rows[i].good) {
            assert_refused(OTOK_E_INVALID, &request, "");
            continue;
        }
        int rc = otok_params_read(&request, &params, NULL);
        ck_assert_msg(rc == OTOK_OK, "%s", rows[i].body);
        otok_params_free(&params);
    }
}
END_TEST

/* P2: a token may stand where a name should. */
START_TEST(messages_show_neither_values_nor_unknown_names)
{
    static const char *const bad[] = {"SECRET&SECRET", "SECRET=1&SECRET=2", "a=SECRET&a=SECRET",
                                      "a=SECRET%",     "client_id=SECRET",  "scope=SECRET&scope=SECRET"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        otok_http_request request = request_of(bad[i]);
        otok_params params;
        otok_error err = {0};
        test_assert_code(OTOK_E_INVALID, otok_params_read(&request, &params, &err));
        ck_assert_msg(strstr(err.message, "SECRET") == NULL, "%s", err.message);
    }
}
END_TEST

/* P2 */
START_TEST(broken_forms_are_refused)
{
    static char longer[OTOK_FORM_MAX + 1];
    static const char *const bad[] = {"a=%", "a=%00", "a=%ff", "=1"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        otok_http_request request = request_of(bad[i]);
        assert_refused(OTOK_E_INVALID, &request, "parameter 1 of the form");
    }
    otok_http_request request = request_of(NULL);
    memset(longer, 'a', sizeof longer);
    request.body = longer;
    request.body_len = sizeof longer;
    assert_refused(OTOK_E_INVALID, &request, "longer than");
    request.body_len = SIZE_MAX;
    assert_refused(OTOK_E_INVALID, &request, "longer than");
    request.body = "a=1&a=2";
    request.body_len = 7;
    assert_refused(OTOK_E_INVALID, &request, "the same name");
}
END_TEST

/* P2: RFC 6749 sections 2.3.1 and 3.2.1: one client, and the body says no other. */
START_TEST(client_is_who_authenticated_or_a_public_one_that_says_so)
{
    static char longest[256 + 11] = "client_id=", longer[256 + 11] = "client_id=";
    memset(longest + 10, 'c', 255);
    memset(longer + 10, 'c', 256);
    const struct {
        const char *authenticated;
        int32_t type;
        const char *body;
        int code;
        const char *client; /* or the reason */
        int32_t client_type;
    } rows[] = {
        {"backup", OTOK_CLIENT_CONFIDENTIAL, "", OTOK_OK, "backup", OTOK_CLIENT_CONFIDENTIAL},
        {"backup", OTOK_CLIENT_PUBLIC, "", OTOK_OK, "backup", OTOK_CLIENT_PUBLIC},
        {"backup", OTOK_CLIENT_CONFIDENTIAL, "client_id=backup", OTOK_OK, "backup", OTOK_CLIENT_CONFIDENTIAL},
        {"backup", OTOK_CLIENT_CONFIDENTIAL, "client_id=", OTOK_OK, "backup", OTOK_CLIENT_CONFIDENTIAL},
        {"backup", OTOK_CLIENT_CONFIDENTIAL, "client_secret=x&client_id=b%61ckup&client_assertion=y", OTOK_OK, "backup",
         OTOK_CLIENT_CONFIDENTIAL},
        {"a b", OTOK_CLIENT_CONFIDENTIAL, "client_id=a+b", OTOK_OK, "a b", OTOK_CLIENT_CONFIDENTIAL},
        {NULL, 0, "client_id=phone", OTOK_E_CLIENT, "host does not say",
         0}, /* a confidential one must not pass for it */
        {NULL, OTOK_CLIENT_PUBLIC, "client_id=phone", OTOK_OK, "phone", OTOK_CLIENT_PUBLIC},
        {NULL, OTOK_CLIENT_PUBLIC, longest, OTOK_OK, longest + 10, OTOK_CLIENT_PUBLIC},
        {NULL, 0, longer, OTOK_E_INVALID, "client_id is longer than 255 bytes", 0},
        {"backup", 0, "client_id=phone", OTOK_E_INVALID, "client_id is not the client", 0},
        {"backup", 0, "client_id=Backup", OTOK_E_INVALID, "client_id is not the client", 0},
        {"backup", 0, "client_id=backup+", OTOK_E_INVALID, "client_id is not the client", 0},
        {"backup", 0, "client_id=backu", OTOK_E_INVALID, "client_id is not the client", 0},
        {NULL, 0, "", OTOK_E_CLIENT, "no client", 0},
        {NULL, 0, "client_id=", OTOK_E_CLIENT, "no client", 0},
        {NULL, 0, "client_id", OTOK_E_CLIENT, "no client", 0},
        {NULL, 0, "Client_Id=phone&client_secret=x", OTOK_E_CLIENT, "no client", 0},
        {NULL, OTOK_CLIENT_PUBLIC, "", OTOK_E_CLIENT, "no client_id", 0},
        {NULL, OTOK_CLIENT_PUBLIC, "client_id=phone&client_secret=x", OTOK_E_CLIENT, "credentials", 0},
        {NULL, OTOK_CLIENT_PUBLIC, "client_id=phone&client_assertion=x", OTOK_E_CLIENT, "credentials", 0},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        otok_http_request request = request_of(rows[i].body);
        otok_params params;
        request.client_id = rows[i].authenticated;
        request.client_type = rows[i].type;
        if (rows[i].code != OTOK_OK) {
            assert_refused(rows[i].code, &request, rows[i].client);
            continue;
        }
        test_assert_code(OTOK_OK, otok_params_read(&request, &params, NULL));
        ck_assert_str_eq(params.client_id, rows[i].client);
        ck_assert_int_eq(params.client_type, rows[i].client_type);
        otok_params_free(&params);
    }
}
END_TEST

/* P2: what a client cannot have done is not told it as its mistake; also of calls that have no form. */
START_TEST(mistakes_of_the_host_are_no_bad_requests)
{
    static const char *const holes[] = {"https://api.example.org", NULL};
    otok_http_request rows[13];
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        rows[i] = request_of("client_id=backup");
    rows[0].client_id = ""; /* a host that is not sure is not taken for nobody */
    rows[1].client_id = "\xff";
    rows[2].client_id = "a\nb";
    rows[3].client_type = 2;
    rows[4].client_type = -1;
    rows[5].unused = 1;
    rows[6].body = NULL;
    rows[7].x5t_s256 = "";
    rows[8].x5t_s256 = "bwcK0esc3ACC3DB2Y5_lESsXE8o9ltc05O89jdN-dg";
    rows[9].x5t_s256 = "bwcK0esc3ACC3DB2Y5/lESsXE8o9ltc05O89jdN+dgA";
    rows[10].resource_count = 1;
    rows[11].resource = holes;
    rows[11].resource_count = 2;
    rows[12].resource = holes;
    rows[12].resource_count = 17;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        otok_params params;
        otok_error err = {0};
        assert_refused(OTOK_E_STATE, &rows[i], "");
        test_assert_code(OTOK_E_STATE, otok_params_read_call(&rows[i], &params, &err));
        ck_assert_ptr_nonnull(strpbrk(err.message, "."));
    }
}
END_TEST

/* P1: of a call the host's part is read, and nothing of a form. */
START_TEST(call_has_any_method_and_no_form)
{
    otok_http_request request;
    otok_params params;
    otok_http_request_init(&request, sizeof request);
    request.method = "DELETE";
    request.content_type = "text/plain";
    request.body = "%";
    request.body_len = 1;
    request.ip = "192.0.2.7";
    test_assert_code(OTOK_OK, otok_params_read_call(&request, &params, NULL));
    ck_assert_ptr_null(params.form);
    ck_assert_str_eq(params.peer.ip, "192.0.2.7");
    otok_params_free(&params);
}
END_TEST

static char *repeated(char *out, const char *text, size_t len)
{
    size_t step = strlen(text);
    for (size_t i = 0; i < len; i++)
        out[i] = text[i % step];
    out[len] = '\0';
    return out;
}

/* P1, I3: strangers choose what their requests say of themselves; what cannot be kept is left out, and fails no refresh. */
START_TEST(peer_has_what_is_fit_to_be_kept)
{
    char room[3][2000];
    const struct {
        const char *text;
        size_t user_agent, ip; /* bytes that are kept; 0: it is left out */
    } rows[] = {
        {NULL, 0, 0},
        {"", 0, 0},
        {"192.0.2.7", 9, 9},
        {"Agent/1 (\xc3\xa9)", 12, 12},
        {"a\nb", 0, 0},
        {"a\x1b[2J", 0, 0},
        {"\xff\xfe", 0, 0},
        {"caf\xe9", 0, 0},
        {"a\xc2\x85", 0, 0},
        {repeated(room[0], "x", 1999), 512, 64},
        {repeated(room[1], "\xe2\x82\xac", 1200), 510, 63},
        {repeated(room[2], "\xf0\x9f\x98\x80", 516), 512, 64},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        otok_http_request request = request_of("");
        otok_params params;
        otok_peer read;
        request.x5t_s256 = "bwcK0esc3ACC3DB2Y5_lESsXE8o9ltc05O89jdN-dgA";
        request.user_agent = request.ip = rows[i].text;
        test_assert_code(OTOK_OK, otok_params_read(&request, &params, NULL));
        const otok_peer *peer = &params.peer;
        ck_assert_uint_eq(peer->size, sizeof *peer);
        ck_assert_ptr_null(peer->jkt);
        ck_assert_str_eq(peer->x5t_s256, request.x5t_s256);
        ck_assert_int_eq(peer->ip != NULL, rows[i].ip != 0);
        ck_assert_int_eq(peer->user_agent != NULL, rows[i].user_agent != 0);
        if (rows[i].ip != 0) {
            ck_assert_uint_eq(strlen(peer->ip), rows[i].ip);
            ck_assert_uint_eq(strlen(peer->user_agent), rows[i].user_agent);
            ck_assert_mem_eq(peer->user_agent, rows[i].text, rows[i].user_agent);
            ck_assert(otok_text_is_clean(peer->ip, rows[i].ip));
            ck_assert(otok_text_is_clean(peer->user_agent, rows[i].user_agent));
        }
        test_assert_code(OTOK_OK, otok_peer_read(peer, &read, NULL));
        otok_str ip, user_agent;
        test_assert_code(OTOK_OK, otok_peer_texts(&read, OTOK_OVERLONG_REFUSE, &ip, &user_agent, NULL));
        otok_params_free(&params);
    }
}
END_TEST

/* B2: structs of other versions */
START_TEST(requests_of_older_and_newer_headers_are_read)
{
    struct {
        otok_http_request known;
        void *more;
    } newer;
    otok_http_request older = request_of("client_id=backup");
    otok_params params;

    older.size = offsetof(otok_http_request, client_type);
    older.client_type = 77; /* beyond its end */
    test_assert_code(OTOK_OK, otok_params_read(&older, &params, NULL));
    ck_assert_uint_eq(params.http.size, sizeof params.http);
    ck_assert_int_eq(params.client_type, OTOK_CLIENT_CONFIDENTIAL);
    otok_params_free(&params);

    memset(&newer, 0, sizeof newer);
    newer.known = request_of("");
    newer.known.size = sizeof newer;
    test_assert_code(OTOK_OK, otok_params_read(&newer.known, &params, NULL));
    otok_params_free(&params);
    newer.more = &newer;
    assert_refused(OTOK_E_INVALID, &newer.known, "does not know");
    newer.known.size = 0;
    assert_refused(OTOK_E_INVALID, &newer.known, "size");
    assert_refused(OTOK_E_INVALID, NULL, "required");
}
END_TEST

START_TEST(init_sets_the_size_and_nothing_else)
{
    otok_http_request request, nothing;
    memset(&request, 0xa5, sizeof request);
    memset(&nothing, 0, sizeof nothing);
    otok_http_request_init(&request, sizeof request);
    ck_assert_uint_eq(request.size, sizeof request);
    request.size = 0;
    ck_assert_mem_eq(&request, &nothing, sizeof request);
    otok_http_request_init(NULL, sizeof request);
}
END_TEST

/* B1 */
START_TEST(shortage_of_memory_is_told)
{
    otok_http_request request = request_of("a=1");
    memory_is_short = true;
    assert_refused(OTOK_E_NOMEM, &request, "memory");
    memory_is_short = false;
    otok_params_free(NULL);
}
END_TEST

static void add_tests(TCase *tcase)
{
    tcase_add_test(tcase, methods_other_than_post_are_unsupported);
    tcase_add_test(tcase, content_type_is_a_form_in_utf8);
    tcase_add_test(tcase, control_characters_matter_only_where_they_are_read);
    tcase_add_test(tcase, messages_show_neither_values_nor_unknown_names);
    tcase_add_test(tcase, broken_forms_are_refused);
    tcase_add_test(tcase, client_is_who_authenticated_or_a_public_one_that_says_so);
    tcase_add_test(tcase, mistakes_of_the_host_are_no_bad_requests);
    tcase_add_test(tcase, call_has_any_method_and_no_form);
    tcase_add_test(tcase, peer_has_what_is_fit_to_be_kept);
    tcase_add_test(tcase, requests_of_older_and_newer_headers_are_read);
    tcase_add_test(tcase, init_sets_the_size_and_nothing_else);
    tcase_add_test(tcase, shortage_of_memory_is_told);
}

int main(void)
{
    return test_main("params", add_tests);
}
