/*
 * uri.c - whether two URIs name the same endpoint (P3, RFC 9449 section 4.3): normalised by syntax and by scheme (RFC 3986 sections
 * 6.2.2 and 6.2.3), then compared.
 *
 * Only http and https, only what RFC 3986 allows: what is not a URI is equal to nothing.
 *
 * SPDX-License-Identifier: MIT
 */
#include "oauth/oauth.h"

#include <string.h>

/* A normalised URI is longer than what it came of by one slash at most. */
enum { URI_MAX = 8192, PORT_MAX = 65535, HEX = 16 };

typedef struct uri {
    char text[URI_MAX + 1]; /* scheme://host:port/path */
    size_t len;
    const char *rest; /* what is not read yet */
} uri;

#define UNRESERVED "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~"
#define IN_HOST    UNRESERVED "!$&'()*+,;="
#define IN_PATH    IN_HOST ":@/"
#define IN_REST    IN_PATH "?"

static bool is_one_of(char c, const char *set)
{
    return c != '\0' && strchr(set, c) != NULL;
}

static int hex_value(char c)
{
    static const char digits[] = "0123456789abcdef";
    const char *at = c != '\0' ? strchr(digits, otok_lower(c)) : NULL;
    return at != NULL ? (int)(at - digits) : -1;
}

static void put(uri *out, char c)
{
    out->text[out->len++] = c;
}

/* An escape: of an unreserved character that character, else in upper case. */
static bool read_escape(uri *out, bool in_host)
{
    static const char digits[] = "0123456789ABCDEF";
    int high = hex_value(out->rest[1]), low = high >= 0 ? hex_value(out->rest[2]) : -1;
    if (low < 0)
        return false;
    out->rest += 3;
    char c = (char)(high * HEX + low);
    if (is_one_of(c, UNRESERVED)) {
        put(out, in_host ? otok_lower(c) : c);
        return true;
    }
    put(out, '%');
    put(out, digits[high]);
    put(out, digits[low]);
    return true;
}

/* Characters of a set, and escapes, up to the first that is neither; false at an escape that is none. */
static bool read_text(uri *out, const char *set, bool in_host)
{
    for (char c = *out->rest; c == '%' || is_one_of(c, set); c = *out->rest) {
        if (c == '%') {
            if (!read_escape(out, in_host))
                return false;
            continue;
        }
        put(out, in_host ? otok_lower(c) : c);
        out->rest++;
    }
    return true;
}

static bool read_scheme(uri *out, const char *scheme)
{
    size_t len = strlen(scheme);
    for (size_t i = 0; i < len; i++) {
        if (otok_lower(out->rest[i]) != scheme[i])
            return false;
    }
    memcpy(out->text, scheme, len);
    out->len = len;
    out->rest += len;
    return true;
}

/* An IPv6 address in brackets, not put in its own normal form. */
static bool read_address(uri *out)
{
    size_t start = out->len;
    do {
        put(out, otok_lower(*out->rest++));
    } while (hex_value(*out->rest) >= 0 || is_one_of(*out->rest, ":."));
    if (*out->rest != ']' || out->len == start + 1)
        return false;
    put(out, *out->rest++);
    return true;
}

/* Without user information: RFC 9110 section 4.2.4. */
static bool read_host(uri *out)
{
    size_t start = out->len;
    if (*out->rest == '[')
        return read_address(out);
    return read_text(out, IN_HOST, true) && out->len > start;
}

/* A port that is empty or the default of its scheme is left out. */
static bool read_port(uri *out, int usual)
{
    int port = 0;
    bool given = false;
    if (*out->rest != ':')
        return true;
    for (out->rest++; *out->rest >= '0' && *out->rest <= '9'; out->rest++, given = true) {
        port = port * 10 + (*out->rest - '0');
        if (port > PORT_MAX)
            return false;
    }
    if (!given || port == usual)
        return true;
    char digits[8];
    size_t n = 0;
    for (int left = port; n == 0 || left > 0; left /= 10)
        digits[n++] = (char)('0' + left % 10);
    put(out, ':');
    while (n > 0)
        put(out, digits[--n]);
    return true;
}

/* RFC 3986 section 5.2.4, of a path that begins with a slash, in place. */
static size_t remove_dot_segments(char *path, size_t len)
{
    size_t to = 0;
    for (size_t from = 0; from < len;) {
        size_t end = from + 1;
        while (end < len && path[end] != '/')
            end++;
        size_t chars = end - from - 1; /* of the segment, without its slash */
        bool dot = chars == 1 && path[from + 1] == '.';
        bool dots = chars == 2 && path[from + 1] == '.' && path[from + 2] == '.';
        if (dots) {
            while (to > 0 && path[--to] != '/')
                continue;
        }
        if (!dot && !dots) {
            memmove(path + to, path + from, end - from);
            to += end - from;
        } else if (end == len) {
            path[to++] = '/';
        }
        from = end;
    }
    return to;
}

static bool read_path(uri *out)
{
    size_t start = out->len;
    if (*out->rest != '/')
        put(out, '/');
    else if (!read_text(out, IN_PATH, false))
        return false;
    out->len = start + remove_dot_segments(out->text + start, out->len - start);
    return true;
}

/* Query and fragment: must be well-formed, and are dropped. */
static bool drop_rest(uri *out)
{
    size_t len = out->len;
    for (const char *mark = "?#"; *mark != '\0'; mark++) {
        if (*out->rest != *mark)
            continue;
        out->rest++;
        if (!read_text(out, IN_REST, false))
            return false;
    }
    out->len = len;
    return *out->rest == '\0';
}

static bool normalise(const char *text, uri *out)
{
    if (text == NULL || strnlen(text, URI_MAX + 1) > URI_MAX)
        return false;
    out->len = 0;
    out->rest = text;
    bool secure = read_scheme(out, "https://");
    if (!secure && !read_scheme(out, "http://"))
        return false;
    return read_host(out) && read_port(out, secure ? 443 : 80) && read_path(out) && drop_rest(out);
}

bool otok_uri_is_good(const char *text)
{
    uri normal;
    return normalise(text, &normal);
}

bool otok_uri_equal(const char *a, const char *b)
{
    uri first, second;
    return normalise(a, &first) && normalise(b, &second) && first.len == second.len &&
           memcmp(first.text, second.text, first.len) == 0;
}
