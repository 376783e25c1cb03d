/*
 * fuzz_scope.c - scopes: normalising is idempotent and loses no word, narrowing never widens (R3).
 *
 * An input is the scope that was granted, a NUL, and the scope that is asked for.
 *
 * SPDX-License-Identifier: MIT
 */
#include "support/fuzzing.h"

#include <stdlib.h>
#include <string.h>

#include "session/session.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static char *text_of(const otok_buf *buf)
{
    char *text = malloc(buf->len + 1);
    fuzz_must(text != NULL, "memory");
    if (buf->len != 0)
        memcpy(text, buf->data, buf->len);
    text[buf->len] = '\0';
    return text;
}

/* The way around that scope.c does not take: is every word of `inner` a word of `outer`? */
static bool is_within(const char *inner, const char *outer)
{
    for (const char *p = inner; *p != '\0';) {
        size_t len = strcspn(p, " ");
        const char *q = outer;
        while (len != 0 && *q != '\0' && !(strcspn(q, " ") == len && memcmp(p, q, len) == 0)) {
            q += strcspn(q, " ");
            q += strspn(q, " ");
        }
        if (len != 0 && *q == '\0')
            return false;
        p += len;
        p += strspn(p, " ");
    }
    return true;
}

/* NULL when it is refused. */
static char *normalise(const char *scope)
{
    otok_buf buf;
    otok_buf_init(&buf, NULL, 0);
    int rc = otok_scope_normalise(scope, &buf, NULL);
    fuzz_must(rc == OTOK_OK || rc == OTOK_E_INVALID, "a scope is normalised or refused");
    char *text = rc == OTOK_OK ? text_of(&buf) : NULL;
    otok_buf_free(&buf);
    return text;
}

static void normal_is_normal(const char *scope, const char *normal)
{
    char *again = normalise(normal);
    fuzz_must(again != NULL && strcmp(again, normal) == 0, "what is normal stays so");
    fuzz_must(is_within(scope, normal) && is_within(normal, scope), "no word is lost or added");
    fuzz_must(strstr(normal, "  ") == NULL && normal[0] != ' ', "one space between words");
    free(again);
}

static void narrowing_never_widens(const char *granted, const char *asked)
{
    otok_buf buf;
    otok_buf_init(&buf, NULL, 0);
    int rc = otok_scope_narrow(otok_str_of(granted), asked, &buf, NULL);
    fuzz_must(rc == OTOK_OK || rc == OTOK_E_SCOPE, "a scope is narrowed or refused");
    char *got = text_of(&buf), *normal = normalise(asked);
    if (rc == OTOK_OK) {
        fuzz_must(is_within(got, granted), "nothing is got that was not granted");
        fuzz_must(normal != NULL && strcmp(got, normal[0] != '\0' ? normal : granted) == 0,
                  "and all that was asked for is");
    } else {
        fuzz_must(normal == NULL || !is_within(normal, granted), "what was granted can be had");
    }
    free(got);
    free(normal);
    otok_buf_free(&buf);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    fuzz_input input = {data, size};
    char *scope = fuzz_text(&input), *asked = fuzz_text(&input);
    char *granted = normalise(scope);
    if (granted != NULL) {
        normal_is_normal(scope, granted);
        narrowing_never_widens(granted, asked);
    }
    free(granted);
    free(asked);
    free(scope);
    return 0;
}
