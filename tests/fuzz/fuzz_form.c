/*
 * fuzz_form.c - what is taken as a form is UTF-8 in which no name but `resource` is there twice, and written again it is taken as the
 * same.
 *
 * SPDX-License-Identifier: MIT
 */
#include "format/format.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void add_encoded(otok_buf *buf, const char *text)
{
    if (!otok_text_is_utf8(text, strlen(text)))
        abort();
    for (; *text != '\0'; text++) {
        char escape[4];
        (void)snprintf(escape, sizeof escape, "%%%02X", (unsigned)(uint8_t)*text);
        if (*text == ' ')
            otok_buf_add_u8(buf, '+');
        else if (strchr("%&+=", *text) != NULL || (uint8_t)*text >= 0x80)
            otok_buf_add_text(buf, escape);
        else
            otok_buf_add_u8(buf, (uint8_t)*text);
    }
}

static void print(const otok_form *form, otok_buf *out)
{
    otok_buf_init(out, NULL, 0);
    for (size_t i = 0; i < otok_form_count(form); i++) {
        if (otok_form_name(form, i)[0] == '\0')
            abort();
        if (i != 0)
            otok_buf_add_u8(out, '&');
        add_encoded(out, otok_form_name(form, i));
        otok_buf_add_u8(out, '=');
        add_encoded(out, otok_form_value(form, i));
    }
    if (out->failed)
        abort();
}

/* Each value is found by its name: the only one, or the first of several that says something. */
static void check_names(const otok_form *form)
{
    for (size_t i = 0; i < otok_form_count(form); i++) {
        const char *name = otok_form_name(form, i), *value = otok_form_value(form, i);
        const char *found = otok_form_get(form, name);
        bool is_resource = strcmp(name, "resource") == 0;
        if (!is_resource && found != (value[0] != '\0' ? value : NULL))
            abort();
        if (is_resource && value[0] != '\0' && found == NULL)
            abort();
    }
}

static void compare(const otok_form *a, const otok_form *b)
{
    if (otok_form_count(a) != otok_form_count(b))
        abort();
    for (size_t i = 0; i < otok_form_count(a); i++) {
        if (strcmp(otok_form_name(a, i), otok_form_name(b, i)) != 0 ||
            strcmp(otok_form_value(a, i), otok_form_value(b, i)) != 0)
            abort();
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    otok_form *form = NULL, *again = NULL;
    otok_error err = {0};
    otok_buf text;
    int rc = otok_form_parse(data, size, &form, &err);
    if (rc != OTOK_OK) {
        if (rc != OTOK_E_INVALID || form != NULL || err.message[0] == '\0')
            abort();
        return 0;
    }
    if (otok_form_count(form) > OTOK_FORM_PARAMETERS)
        abort();
    check_names(form);
    print(form, &text);
    if (text.len <= OTOK_FORM_MAX) { /* escapes may make it longer than a form may be */
        if (otok_form_parse(text.data, text.len, &again, NULL) != OTOK_OK)
            abort();
        compare(form, again);
    }
    otok_buf_free(&text);
    otok_form_free(again);
    otok_form_free(form);
    return 0;
}
