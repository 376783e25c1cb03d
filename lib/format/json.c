/*
 * json.c - JSON values: cJSON behind a strict door.
 *
 * SPDX-License-Identifier: MIT
 */
#include "format/format.h"

#include <cjson/cJSON.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { TEXT_MAX = 65536 };
/* 2^53 - 1: from 2^53 on, a double may stand for a neighbour as well (RFC 7493). */
#define INTEGER_MAX 9007199254740991.0

/* An otok_json is a cJSON under a name that the rest of the library may know. */
static cJSON *inside(const otok_json *json)
{
    return (cJSON *)(uintptr_t)json;
}

static const otok_json *outside(const cJSON *item)
{
    return (const otok_json *)item;
}

/* ---- parsing ---- */

static int compare_names(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/*
 * Two members of one name, spelled "a" and "\u0061" or not: readers differ in which they take.  Sorted, as there may
 * be thousands.
 */
static int check_names(const cJSON *object, const char *what, otok_error *err)
{
    size_t n = (size_t)cJSON_GetArraySize(object), i = 0;
    if (n < 2)
        return OTOK_OK;
    const char **names = otok_calloc(n, sizeof *names);
    if (names == NULL)
        return otok_fail(err, OTOK_E_NOMEM, "no memory for %s", what);
    const cJSON *item;
    cJSON_ArrayForEach(item, object) names[i++] = item->string;
    qsort(names, n, sizeof *names, compare_names);

    int rc = OTOK_OK;
    for (i = 1; i < n && rc == OTOK_OK; i++) {
        if (strcmp(names[i - 1], names[i]) == 0)
            rc = otok_fail(err, OTOK_E_FORMAT, "%s has two members of one name in one object", what);
    }
    otok_free(names);
    return rc;
}

/* What only shows once it is parsed. */
static int check_value(const cJSON *value, const char *what, otok_error *err)
{
    int rc = OTOK_OK;
    if (cJSON_IsNumber(value) && !isfinite(value->valuedouble))
        return otok_fail(err, OTOK_E_FORMAT, "%s has a number that is too large", what);
    if (cJSON_IsObject(value))
        rc = check_names(value, what, err);
    const cJSON *item;
    cJSON_ArrayForEach(item, value)
    {
        if (rc == OTOK_OK)
            rc = check_value(item, what, err);
    }
    return rc;
}

int otok_json_parse(const char *text, size_t len, const char *what, otok_json **out, otok_error *err)
{
    return otok_json_parse_long(text, len, TEXT_MAX, what, out, err);
}

int otok_json_parse_long(const char *text, size_t len, size_t most, const char *what, otok_json **out, otok_error *err)
{
    size_t fault;
    *out = NULL;
    if (len > most)
        return otok_fail(err, OTOK_E_FORMAT, "%s has %zu bytes, %zu are the most", what, len, most);
    if (!otok_json_scan(text, len, &fault))
        return otok_fail(err, OTOK_E_FORMAT, "%s is not JSON (RFC 8259) of at most 32 levels: see byte %zu", what,
                         fault);
    cJSON *root = cJSON_ParseWithLengthOpts(text, len, NULL, false);
    if (root == NULL)
        return otok_fail(err, OTOK_E_NOMEM, "no memory for %s", what);
    int rc = check_value(root, what, err);
    if (rc == OTOK_OK)
        *out = (otok_json *)root;
    else
        otok_json_free((otok_json *)root);
    return rc;
}

static void wipe_strings(cJSON *item)
{
    if (item->valuestring != NULL)
        otok_wipe(item->valuestring, strlen(item->valuestring));
    for (cJSON *child = item->child; child != NULL; child = child->next)
        wipe_strings(child);
}

void otok_json_free(otok_json *json)
{
    if (json != NULL) {
        wipe_strings(inside(json));
        cJSON_Delete(inside(json));
    }
}

/* ---- reading ---- */

bool otok_json_is_object(const otok_json *json)
{
    return cJSON_IsObject(inside(json));
}

bool otok_json_is_array(const otok_json *json)
{
    return cJSON_IsArray(inside(json));
}

size_t otok_json_count(const otok_json *array)
{
    return otok_json_is_array(array) ? (size_t)cJSON_GetArraySize(inside(array)) : 0;
}

const otok_json *otok_json_item(const otok_json *array, size_t i)
{
    return i < otok_json_count(array) ? outside(cJSON_GetArrayItem(inside(array), (int)i)) : NULL;
}

const otok_json *otok_json_member(const otok_json *object, const char *name)
{
    return otok_json_is_object(object) ? outside(cJSON_GetObjectItemCaseSensitive(inside(object), name)) : NULL;
}

const char *otok_json_string(const otok_json *item)
{
    return cJSON_GetStringValue(inside(item));
}

const char *otok_json_text(const otok_json *object, const char *name)
{
    return otok_json_string(otok_json_member(object, name));
}

/* Without libm, which nothing else of ours needs. */
static bool is_integer(double number, int64_t *out)
{
    if (!(number >= -INTEGER_MAX && number <= INTEGER_MAX))
        return false;
    *out = (int64_t)number;
    return (double)*out == number;
}

bool otok_json_integer(const otok_json *object, const char *name, int64_t *out)
{
    const cJSON *item = inside(otok_json_member(object, name));
    int64_t integer;
    if (!cJSON_IsNumber(item) || !is_integer(item->valuedouble, &integer))
        return false;
    *out = integer;
    return true;
}

bool otok_json_seconds(const otok_json *object, const char *name, int64_t *out)
{
    const cJSON *item = inside(otok_json_member(object, name));
    if (!cJSON_IsNumber(item) || !(item->valuedouble >= 0 && item->valuedouble <= INTEGER_MAX))
        return false;
    *out = (int64_t)item->valuedouble;
    return true;
}

int otok_json_each(const otok_json *object, int (*each)(void *arg, const char *name, const otok_json *value), void *arg)
{
    int stop = 0;
    if (!otok_json_is_object(object))
        return 0;
    for (const cJSON *item = inside(object)->child; item != NULL && stop == 0; item = item->next)
        stop = each(arg, item->string, outside(item));
    return stop;
}

/* ---- printing ---- */

/* The shortest of 15 or 17 digits that reads back the same; always with a point, whatever the locale has. */
static void print_number(double number, otok_buf *out)
{
    char text[40];
    int64_t integer;
    if (is_integer(number, &integer)) {
        (void)snprintf(text, sizeof text, "%" PRId64, integer);
    } else {
        (void)snprintf(text, sizeof text, "%.15g", number);
        if (strtod(text, NULL) != number)
            (void)snprintf(text, sizeof text, "%.17g", number);
        size_t point = strspn(text, "-0123456789");
        if (text[point] != '\0' && text[point] != 'e')
            text[point] = '.';
    }
    otok_buf_add_text(out, text);
}

static void print_children(const cJSON *parent, char open, char close, otok_buf *out)
{
    otok_buf_add_u8(out, (uint8_t)open);
    for (const cJSON *item = parent->child; item != NULL; item = item->next) {
        if (item != parent->child)
            otok_buf_add_u8(out, ',');
        if (open == '{') {
            otok_json_add_quoted(out, otok_str_of(item->string));
            otok_buf_add_u8(out, ':');
        }
        otok_json_print(outside(item), out);
    }
    otok_buf_add_u8(out, (uint8_t)close);
}

void otok_json_print(const otok_json *json, otok_buf *out)
{
    const cJSON *item = inside(json);
    if (cJSON_IsObject(item))
        print_children(item, '{', '}', out);
    else if (cJSON_IsArray(item))
        print_children(item, '[', ']', out);
    else if (cJSON_IsString(item))
        otok_json_add_quoted(out, otok_str_of(item->valuestring));
    else if (cJSON_IsNumber(item))
        print_number(item->valuedouble, out);
    else
        otok_buf_add_text(out, cJSON_IsTrue(item) ? "true" : cJSON_IsFalse(item) ? "false" : "null");
}
