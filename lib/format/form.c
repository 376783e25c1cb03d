/*
 * form.c - application/x-www-form-urlencoded, taken apart strictly.
 *
 * As the WHATWG URL standard (section 5.1) and RFC 6749 appendix B say, and stricter where both would go on with rubbish: an escape
 * without two digits, a parameter without a name or with that of another, and what is not UTF-8 are refused.  Nothing between two
 * `&` is passed over, as that standard says: no reader can take it for something.  Control characters may be in it, for what a server
 * does not know it has to ignore (RFC 6749 section 3.2); but NUL, behind which a text in C ends.  Messages give the place of a
 * parameter, never its text: in a broken form a token may stand where a name should.
 *
 * SPDX-License-Identifier: MIT
 */
#include "format/format.h"

#include <string.h>

struct otok_form {
    size_t size; /* of the whole, to be wiped */
    size_t count;
    struct {
        const char *name, *value;
    } parameters[OTOK_FORM_PARAMETERS];
    char text[]; /* names and values, each with its NUL */
};

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

/* Decodes a name or a value and ends it with NUL: what is wrong with it, or NULL.  `out` has room for len + 1. */
static const char *decode(const char *in, size_t len, char *out, size_t *out_len)
{
    size_t n = 0;
    for (size_t i = 0; i < len; i++) {
        char c = in[i] == '+' ? ' ' : in[i];
        if (c == '%') {
            int high = len - i > 2 ? hex_digit(in[i + 1]) : -1;
            int low = high >= 0 ? hex_digit(in[i + 2]) : -1;
            if (low < 0)
                return "has a % without two hexadecimal digits";
            c = (char)(high << 4 | low);
            i += 2;
        }
        out[n++] = c;
    }
    if (!otok_text_is_utf8(out, n))
        return "is not UTF-8 without NUL";
    out[n] = '\0';
    *out_len = n;
    return NULL;
}

/*
 * Adds name=value.  `*room` moves on by no more than len + 1: the two NUL take the places of `=` and of the `&` or end that follows,
 * and a name without `=` has a value elsewhere.
 */
static int add_parameter(otok_form *form, const char *in, size_t len, char **room, otok_error *err)
{
    const char *equals = memchr(in, '=', len);
    size_t name_len = equals != NULL ? (size_t)(equals - in) : len, value_len = 0;
    const char *name = *room, *value = "";

    if (form->count == OTOK_FORM_PARAMETERS)
        return otok_fail(err, OTOK_E_INVALID, "the form has more than %d parameters", OTOK_FORM_PARAMETERS);
    if (name_len == 0)
        return otok_fail(err, OTOK_E_INVALID, "parameter %zu of the form has no name", form->count + 1);
    const char *fault = decode(in, name_len, *room, &name_len);
    if (fault == NULL) {
        *room += name_len + 1;
        if (equals != NULL) {
            value = *room;
            fault = decode(equals + 1, (size_t)(in + len - equals) - 1, *room, &value_len);
            *room += value_len + 1;
        }
    }
    if (fault != NULL)
        return otok_fail(err, OTOK_E_INVALID, "parameter %zu of the form %s", form->count + 1, fault);
    form->parameters[form->count].name = name;
    form->parameters[form->count].value = value;
    form->count++;
    return OTOK_OK;
}

static int add_parameters(otok_form *form, const char *in, size_t len, otok_error *err)
{
    char *room = form->text;
    while (len != 0) {
        const char *end = memchr(in, '&', len);
        size_t piece = end != NULL ? (size_t)(end - in) : len;
        int rc = piece != 0 ? add_parameter(form, in, piece, &room, err) : OTOK_OK;
        if (rc != OTOK_OK)
            return rc;
        size_t step = end != NULL ? piece + 1 : piece;
        in += step;
        len -= step;
    }
    return OTOK_OK;
}

/*
 * RFC 6749 sections 3.1 and 3.2: none more than once, but `resource` (RFC 8707 section 2).  One without a value counts too: those who
 * read the first and those who read the last must not see different requests.
 */
static int check_unique(const otok_form *form, otok_error *err)
{
    for (size_t i = 0; i < form->count; i++) {
        const char *name = form->parameters[i].name;
        for (size_t j = 0; j < i && strcmp(name, "resource") != 0; j++) {
            if (strcmp(name, form->parameters[j].name) == 0)
                return otok_fail(err, OTOK_E_INVALID, "parameters %zu and %zu of the form have the same name", j + 1,
                                 i + 1);
        }
    }
    return OTOK_OK;
}

int otok_form_parse(const void *data, size_t len, otok_form **out, otok_error *err)
{
    if (out == NULL)
        return otok_fail(err, OTOK_E_INVALID, "out is required");
    *out = NULL;
    if (len > OTOK_FORM_MAX)
        return otok_fail(err, OTOK_E_INVALID, "the form is longer than %d bytes", OTOK_FORM_MAX);
    if (data == NULL && len != 0)
        return otok_fail(err, OTOK_E_INVALID, "the form is required");
    size_t size = sizeof(otok_form) + len + 1;
    otok_form *form = otok_calloc(1, size);
    if (form == NULL)
        return otok_fail(err, OTOK_E_NOMEM, "out of memory for a form");
    form->size = size;
    int rc = add_parameters(form, data, len, err);
    if (rc == OTOK_OK)
        rc = check_unique(form, err);
    if (rc == OTOK_OK)
        *out = form;
    else
        otok_form_free(form);
    return rc;
}

void otok_form_free(otok_form *form)
{
    if (form != NULL)
        otok_wipe_free(form, form->size);
}

const char *otok_form_get(const otok_form *form, const char *name)
{
    for (size_t i = 0; name != NULL && i < otok_form_count(form); i++) {
        const char *value = form->parameters[i].value;
        if (value[0] != '\0' && strcmp(form->parameters[i].name, name) == 0)
            return value;
    }
    return NULL;
}

size_t otok_form_count(const otok_form *form)
{
    return form != NULL ? form->count : 0;
}

const char *otok_form_name(const otok_form *form, size_t i)
{
    return i < otok_form_count(form) ? form->parameters[i].name : NULL;
}

const char *otok_form_value(const otok_form *form, size_t i)
{
    return i < otok_form_count(form) ? form->parameters[i].value : NULL;
}
