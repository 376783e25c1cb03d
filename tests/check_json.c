/*
 * check_json.c - JSON: the grammar of RFC 8259 and nothing beside it, one meaning to every reader, and back to text.
 *
 * SPDX-License-Identifier: MIT
 */
#include "support/fixture.h"

#include <locale.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* From a block that ends where the text does, so that a sanitizer sees a read beyond it. */
static int parse_bytes(const char *text, size_t len, otok_json **out)
{
    char *copy = malloc(len != 0 ? len : 1);
    otok_error err = {0};
    memcpy(copy, text, len);
    int rc = otok_json_parse(copy, len, "the text", out, &err);
    free(copy);
    ck_assert(rc == OTOK_OK || (*out == NULL && strstr(err.message, "the text") != NULL));
    return rc;
}

static otok_json *parse(const char *text)
{
    otok_json *json;
    ck_assert_msg(parse_bytes(text, strlen(text), &json) == OTOK_OK, "refused: %s", text);
    return json;
}

static void assert_refused_bytes(const char *text, size_t len)
{
    otok_json *json;
    ck_assert_msg(parse_bytes(text, len, &json) == OTOK_E_FORMAT, "taken: %s", text);
}

static void assert_refused(const char *text)
{
    assert_refused_bytes(text, strlen(text));
}

static void assert_prints(const char *text, const char *expected)
{
    otok_json *json = parse(text);
    otok_buf buf;
    otok_buf_init(&buf, NULL, 0);
    otok_json_print(json, &buf);
    otok_buf_add_u8(&buf, 0);
    ck_assert(!buf.failed);
    ck_assert_str_eq((const char *)buf.data, expected);
    otok_buf_free(&buf);
    otok_json_free(json);
}

/* ---- what is JSON ---- */

START_TEST(what_is_json_is_taken_and_printed_compactly)
{
    static const char *const rows[][2] = {
        {"{}", "{}"},
        {" [ ] ", "[]"},
        {"\t{ \"a\" : [ 1 , -0 , 0.5 , 1e3 , 1E+2 , 12.5e-1 ] ,\r\n \"b\" : { } }\n",
         "{\"a\":[1,0,0.5,1000,100,1.25],\"b\":{}}"},
        {"true", "true"},
        {"false", "false"},
        {"null", "null"},
        {"\"\"", "\"\""},
        {"0", "0"},
        {"\"\\\"\\\\\\/\\b\\f\\n\\r\\t\\u0041\\u00e9\\u20AC\\ud83d\\uDE00\"",
         "\"\\\"\\\\/\\b\\f\\n\\r\\tA\u00e9\u20ac\U0001f600\""},
        {"\"\\u0001\\u001f\x7f\xc2\x80\xc2\x9f\"", "\"\\u0001\\u001f\x7f\xc2\x80\xc2\x9f\""},
        {"\"\u00e9\u20ac\U0001f600\xf4\x8f\xbf\xbf\"", "\"\u00e9\u20ac\U0001f600\xf4\x8f\xbf\xbf\""},
        {"0.1", "0.1"},
        {"9007199254740991", "9007199254740991"},
        {"1e300", "1e+300"},
        {"{\"A\":1,\"a\":2}", "{\"A\":1,\"a\":2}"}, /* two names */
        {"[{\"a\":1},{\"a\":1}]", "[{\"a\":1},{\"a\":1}]"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        assert_prints(rows[i][0], rows[i][1]);
}
END_TEST

START_TEST(what_is_not_json_is_refused)
{
    static const char *const bad[] = {
        "",
        " ",
        "{",
        "}",
        "[",
        "]",
        "[1",
        "[1,",
        "[1,]",
        "[,1]",
        "[1 2]",
        "{\"a\"}",
        "{\"a\":}",
        "{\"a\":1,}",
        "{,}",
        "{1:2}",
        "{\"a\" 1}",
        "{'a':1}",
        "{a:1}",
        "{\"a\":1}}",
        "{}{}",
        "{} x",
        "{}//",
        "/**/{}",
        "nul",
        "nulll",
        "True",
        "TRUE",
        "tru",
        "undefined",
        "NaN",
        "nan",
        "Infinity",
        "-Infinity",
        "inf",
        "-",
        "+1",
        "01",
        "-01",
        "00",
        "1.",
        ".5",
        "-.5",
        "1e",
        "1e+",
        "1.e1",
        "0x10",
        "1_000",
        "1e5.5",
        "--1",
        "1-",
        "\"",
        "\"a",
        "\"\\\"",
        "\"\\",
        "\"\\u",
        "\"\\u12\"",
        "\"\\u12g4\"",
        "\"\\x41\"",
        "\"\\'\"",
        "\"\\U0041\"",
        "\"a\nb\"",
        "\"a\tb\"",
        "\"\x01\"",
        "\"\x1f\"",
        "\f{}",
        "\v{}",
        "{}\f",
        "\x01{}",
        "\xef\xbb\xbf{}",
        "\xc2\xa0{}",
        "{}\xc2\xa0",
        "\xe2\x80\xa8{}",
        "'a'",
        "[1;2]",
        "{\"a\"=1}",
        "(1)",
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        assert_refused(bad[i]);
}
END_TEST

START_TEST(nul_in_any_spelling_is_refused)
{
    assert_refused_bytes("{}\0", 3);
    assert_refused_bytes("\0{}", 3);
    assert_refused_bytes("\"a\0b\"", 5);
    assert_refused("\"a\\u0000b\"");
    assert_refused("{\"a\\u0000b\":1}");
    assert_refused("{\"\\u0000\":1}");
    assert_refused_bytes("1\0", 2);
}
END_TEST

START_TEST(bad_utf8_and_half_surrogates_are_refused)
{
    static const char *const bad[] = {
        "\x80",
        "\xbf",
        "\xc0\x80",
        "\xc1\xbf",
        "\xc2",
        "\xc2\x41",
        "\xe0\x80\x80",
        "\xe0\x9f\xbf",
        "\xe2\x82",
        "\xed\xa0\x80",
        "\xed\xbf\xbf",
        "\xf0\x80\x80\x80",
        "\xf0\x8f\xbf\xbf",
        "\xf0\x9f\x98",
        "\xf4\x90\x80\x80",
        "\xf5\x80\x80\x80",
        "\xf8\x88\x80\x80\x80",
        "\xfe",
        "\xff",
        "\\ud83d",
        "\\ud83d\\ud83d",
        "\\ude00",
        "\\ude00\\ud83d",
        "\\ud83d\\u0041",
        "\\ud83dA",
        "\\ud83d\\n",
        "\\udbff\\ue000",
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        char text[64];
        (void)snprintf(text, sizeof text, "\"%s\"", bad[i]);
        assert_refused(text);
        (void)snprintf(text, sizeof text, "{\"%s\":1}", bad[i]);
        assert_refused(text);
        (void)snprintf(text, sizeof text, "\"%s", bad[i]);
        assert_refused(text);
    }
}
END_TEST

START_TEST(two_members_of_one_name_are_refused)
{
    assert_refused("{\"a\":1,\"a\":1}");
    assert_refused("{\"a\":1,\"b\":2,\"c\":3,\"a\":4}");
    assert_refused("{\"a\":1,\"\\u0061\":2}");
    assert_refused("{\"\":1,\"\":2}");
    assert_refused("[[{\"x\":{\"a\":1,\"a\":2}}]]");
    assert_refused("{\"\u00e9\":1,\"\\u00E9\":2}");
}
END_TEST

static size_t put(char *text, size_t len, const char *more)
{
    size_t n = strlen(more);
    memcpy(text + len, more, n);
    return len + n;
}

static size_t nest(char *text, size_t depth, const char *open, const char *close)
{
    size_t len = 0;
    for (size_t i = 0; i < depth; i++)
        len = put(text, len, open);
    for (size_t i = 0; i < depth; i++)
        len = put(text, len, close);
    return len;
}

START_TEST(thirty_two_levels_are_the_most)
{
    static char text[65536];
    otok_json *json;
    ck_assert_int_eq(parse_bytes(text, nest(text, 32, "[", "]"), &json), OTOK_OK);
    otok_json_free(json);
    assert_refused_bytes(text, nest(text, 33, "[", "]"));
    assert_refused_bytes(text, nest(text, 32768, "[", "]"));
    assert_refused_bytes(text, nest(text, 9000, "{\"a\":", "}")); /* also no JSON: nothing is in the innermost */
    /* Levels are counted where one is in another, not one after another. */
    size_t len = put(text, 0, "[");
    for (int i = 0; i < 100; i++)
        len = put(text, len, "[],{},");
    len = put(text, len, "0]");
    ck_assert_int_eq(parse_bytes(text, len, &json), OTOK_OK);
    otok_json_free(json);
}
END_TEST

START_TEST(sixty_four_kibibytes_are_the_most)
{
    size_t len = 65537;
    char *text = malloc(len);
    otok_json *json;
    memset(text, ' ', len);
    text[0] = '1';
    ck_assert_int_eq(parse_bytes(text, 65536, &json), OTOK_OK);
    otok_json_free(json);
    assert_refused_bytes(text, 65537);
    free(text);
}
END_TEST

/* Found at once, however many names there are. */
START_TEST(thousands_of_members_are_compared_quickly)
{
    static char text[65536];
    otok_json *json;
    size_t len = put(text, 0, "{");
    for (int i = 0; i < 6000; i++) {
        char member[24];
        (void)snprintf(member, sizeof member, "\"%d\":0,", i);
        len = put(text, len, member);
    }
    ck_assert_int_eq(parse_bytes(text, put(text, len, "\"a\":0}"), &json), OTOK_OK);
    otok_json_free(json);
    assert_refused_bytes(text, put(text, len, "\"7\":0}"));
}
END_TEST

START_TEST(every_prefix_of_json_is_refused)
{
    static const char text[] = "{\"a\":[1,2.5e-3,\"\\ud83d\\ude00\u20ac\",true,false,null,{\"b\":{}}],\"c\":\"\\\"\"}";
    for (size_t len = 0; len < sizeof text - 1; len++)
        assert_refused_bytes(text, len);
    otok_json_free(parse(text));
}
END_TEST

START_TEST(every_byte_put_anywhere_is_survived)
{
    static const char text[] = "{\"a\":[1,-2.5e-3,\"\\ud83d\\ude00\u20ac\",true,null],\"c\":\"\\\"\"}";
    char changed[sizeof text];
    for (size_t i = 0; i < sizeof text - 1; i++) {
        for (int byte = 0; byte < 256; byte++) {
            otok_json *json;
            memcpy(changed, text, sizeof text);
            changed[i] = (char)byte;
            if (parse_bytes(changed, sizeof text - 1, &json) == OTOK_OK)
                otok_json_free(json);
        }
    }
}
END_TEST

/* ---- reading ---- */

START_TEST(integers_are_whole_and_below_two_to_the_53)
{
    static const struct {
        const char *text;
        bool taken;
        int64_t value;
    } rows[] = {
        {"0", true, 0},
        {"-0", true, 0},
        {"-1", true, -1},
        {"1800000000000000", true, 1800000000000000},
        {"2147483648", true, 2147483648}, /* where cJSON's valueint stops */
        {"9007199254740991", true, 9007199254740991},
        {"-9007199254740991", true, -9007199254740991},
        {"1e3", true, 1000},
        {"1.0", true, 1},
        {"9007199254740992", false, 0}, /* and 9007199254740993 are the same double */
        {"9007199254740993", false, 0},
        {"-9007199254740992", false, 0},
        {"18446744073709551615", false, 0},
        {"1e18", false, 0},
        {"1e300", false, 0},
        {"0.5", false, 0},
        {"1.0000001", false, 0},
        {"\"1\"", false, 0},
        {"true", false, 0},
        {"null", false, 0},
        {"[1]", false, 0},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        char text[64];
        int64_t value = 42;
        (void)snprintf(text, sizeof text, "{\"n\":%s}", rows[i].text);
        otok_json *json = parse(text);
        ck_assert_msg(otok_json_integer(json, "n", &value) == rows[i].taken, "%s", text);
        ck_assert_int_eq(value, rows[i].taken ? rows[i].value : 42);
        ck_assert(!otok_json_integer(json, "N", &value));
        otok_json_free(json);
    }
}
END_TEST

START_TEST(numbers_that_no_double_holds_are_refused)
{
    char digits[80];
    assert_refused("1e309");
    assert_refused("[-1e309]");
    assert_refused("{\"a\":1e99999}");
    memset(digits, '9', sizeof digits);
    digits[63] = '\0';
    otok_json_free(parse(digits));
    digits[63] = '9', digits[64] = '\0'; /* of which cJSON would read 63 */
    assert_refused(digits);
}
END_TEST

START_TEST(members_are_found_by_their_exact_name)
{
    otok_json *json =
        parse("{\"Name\":\"A\",\"name\":\"b\",\"\u00e9\":\"c\",\"list\":[\"x\",1],\"number\":1,\"object\":{}}");
    ck_assert_str_eq(otok_json_text(json, "name"), "b");
    ck_assert_str_eq(otok_json_text(json, "Name"), "A");
    ck_assert_str_eq(otok_json_text(json, "\u00e9"), "c");
    ck_assert_ptr_null(otok_json_text(json, "NAME"));
    ck_assert_ptr_null(otok_json_text(json, "number"));
    ck_assert_ptr_null(otok_json_text(json, "list"));
    ck_assert_ptr_null(otok_json_member(json, "nam"));
    const otok_json *list = otok_json_member(json, "list");
    ck_assert(otok_json_is_array(list) && !otok_json_is_object(list) && otok_json_is_object(json));
    ck_assert_uint_eq(otok_json_count(list), 2);
    ck_assert_uint_eq(otok_json_count(json), 0);
    ck_assert_str_eq(otok_json_string(otok_json_item(list, 0)), "x");
    ck_assert_ptr_null(otok_json_string(otok_json_item(list, 1)));
    ck_assert_ptr_null(otok_json_item(list, 2));
    ck_assert_ptr_null(otok_json_item(list, SIZE_MAX));
    ck_assert_ptr_null(otok_json_member(list, "x"));
    otok_json_free(json);
    /* What is absent is asked for members without harm. */
    int64_t value;
    ck_assert(!otok_json_is_object(NULL) && !otok_json_is_array(NULL) && otok_json_count(NULL) == 0);
    ck_assert_ptr_null(otok_json_member(NULL, "a"));
    ck_assert_ptr_null(otok_json_text(NULL, "a"));
    ck_assert_ptr_null(otok_json_string(NULL));
    ck_assert(!otok_json_integer(NULL, "a", &value));
    otok_json_free(NULL);
}
END_TEST

static int collect(void *arg, const char *name, const otok_json *value)
{
    char *names = arg;
    (void)strcat(names, name);
    return otok_json_is_array(value) ? 7 : 0;
}

START_TEST(members_are_walked_in_order_until_told_to_stop)
{
    char names[16] = "";
    otok_json *json = parse("{\"b\":1,\"a\":2,\"c\":[],\"d\":3}");
    ck_assert_int_eq(otok_json_each(json, collect, names), 7);
    ck_assert_str_eq(names, "bac");
    names[0] = '\0';
    ck_assert_int_eq(otok_json_each(otok_json_member(json, "a"), collect, names), 0);
    ck_assert_str_eq(names, "");
    otok_json_free(json);
}
END_TEST

/* ---- printing ---- */

START_TEST(writer_puts_commas_and_escapes)
{
    otok_buf buf;
    otok_str items[] = {{"a\"", 2}, {"", 0}, {"c", 1}};
    otok_buf_init(&buf, NULL, 0);
    otok_json_begin(&buf);
    otok_json_add_fragment(&buf, (otok_str){NULL, 0});
    otok_json_add_text(&buf, "iss", "https://id.example.org/");
    otok_json_add_str(&buf, "quo\"te", (otok_str){"\x01\n\\\x1f{", 5});
    otok_json_add_integer(&buf, "min", INT64_MIN);
    otok_json_add_integer(&buf, "max", INT64_MAX);
    otok_json_add_string_array(&buf, "aud", items, 3);
    otok_json_add_string_array(&buf, "none", NULL, 0);
    otok_json_add_raw(&buf, "raw", otok_str_of("{\"x\":[]}"));
    otok_json_add_fragment(&buf, otok_str_of("\"f\":1,\"g\":2"));
    otok_json_add_name(&buf, "o");
    otok_json_begin(&buf);
    otok_json_add_text(&buf, "in", "");
    otok_json_end(&buf);
    otok_json_add_text(&buf, "last", "{");
    otok_json_add_text(&buf, "end", "");
    otok_json_end(&buf);
    otok_buf_add_u8(&buf, 0);
    ck_assert_str_eq(
        (const char *)buf.data,
        "{\"iss\":\"https://id.example.org/\",\"quo\\\"te\":\"\\u0001\\n\\\\\\u001f{\",\"min\":-9223372036854775808,"
        "\"max\":9223372036854775807,\"aud\":[\"a\\\"\",\"\",\"c\"],\"none\":[],\"raw\":{\"x\":[]},\"f\":1,\"g\":2,"
        "\"o\":{\"in\":\"\"},\"last\":\"{\",\"end\":\"\"}");
    otok_buf_free(&buf);
}
END_TEST

/* Every character of the first two planes, printed and parsed. */
START_TEST(every_character_survives_the_round_trip)
{
    for (uint32_t c = 1; c < 0x20000; c++) {
        char text[8], name[2] = "t";
        size_t n = 0;
        if (c >= 0xd800 && c <= 0xdfff)
            continue;
        if (c < 0x80) {
            text[n++] = (char)c;
        } else if (c < 0x800) {
            text[n++] = (char)(0xc0 | c >> 6);
            text[n++] = (char)(0x80 | (c & 63));
        } else if (c < 0x10000) {
            text[n++] = (char)(0xe0 | c >> 12);
            text[n++] = (char)(0x80 | (c >> 6 & 63));
            text[n++] = (char)(0x80 | (c & 63));
        } else {
            text[n++] = (char)(0xf0 | c >> 18);
            text[n++] = (char)(0x80 | (c >> 12 & 63));
            text[n++] = (char)(0x80 | (c >> 6 & 63));
            text[n++] = (char)(0x80 | (c & 63));
        }
        text[n] = '\0';
        otok_buf buf;
        otok_json *json;
        otok_buf_init(&buf, NULL, 0);
        otok_json_begin(&buf);
        otok_json_add_text(&buf, name, text);
        otok_json_end(&buf);
        ck_assert_int_eq(otok_json_parse((const char *)buf.data, buf.len, "text", &json, NULL), OTOK_OK);
        ck_assert_str_eq(otok_json_text(json, name), text);
        otok_json_free(json);
        otok_buf_free(&buf);
    }
}
END_TEST

/* A host whose locale has a decimal comma. */
START_TEST(numbers_have_a_point_in_every_locale)
{
    static const char *const names[] = {"de_DE.UTF-8", "de_DE", "fr_FR.UTF-8", "C.UTF-8"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        if (setlocale(LC_ALL, names[i]) != NULL)
            assert_prints("[0.5,1.25e-7,-3.5e200]", "[0.5,1.25e-07,-3.5e+200]");
    }
    (void)setlocale(LC_ALL, "C");
}
END_TEST

static void add_tests(TCase *tcase)
{
    tcase_add_test(tcase, what_is_json_is_taken_and_printed_compactly);
    tcase_add_test(tcase, what_is_not_json_is_refused);
    tcase_add_test(tcase, nul_in_any_spelling_is_refused);
    tcase_add_test(tcase, bad_utf8_and_half_surrogates_are_refused);
    tcase_add_test(tcase, two_members_of_one_name_are_refused);
    tcase_add_test(tcase, thirty_two_levels_are_the_most);
    tcase_add_test(tcase, sixty_four_kibibytes_are_the_most);
    tcase_add_test(tcase, thousands_of_members_are_compared_quickly);
    tcase_add_test(tcase, every_prefix_of_json_is_refused);
    tcase_add_test(tcase, every_byte_put_anywhere_is_survived);
    tcase_add_test(tcase, integers_are_whole_and_below_two_to_the_53);
    tcase_add_test(tcase, numbers_that_no_double_holds_are_refused);
    tcase_add_test(tcase, members_are_found_by_their_exact_name);
    tcase_add_test(tcase, members_are_walked_in_order_until_told_to_stop);
    tcase_add_test(tcase, writer_puts_commas_and_escapes);
    tcase_add_test(tcase, every_character_survives_the_round_trip);
    tcase_add_test(tcase, numbers_have_a_point_in_every_locale);
}

int main(void)
{
    return test_main("json", add_tests);
}
