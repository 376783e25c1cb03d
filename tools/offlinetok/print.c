/*
 * print.c - tables, and texts of strangers on a terminal.
 *
 * SPDX-License-Identifier: MIT
 */
#include "tool.h"

#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>
#include <wchar.h>

/* ------------------------------------------------------------------------------------------------------- characters */

/* The UTF-8 character at `text`, and its length; of what is none, 1 and U+FFFD (RFC 3629 section 4). */
static size_t next_char(const char *text, uint32_t *code)
{
    const unsigned char *p = (const unsigned char *)text;
    size_t n = p[0] < 0x80                   ? 1
               : p[0] >= 0xc2 && p[0] < 0xe0 ? 2
               : (p[0] & 0xf0) == 0xe0       ? 3
               : (p[0] & 0xf8) == 0xf0       ? 4
                                             : 0;
    uint32_t value = n == 1 ? p[0] : n == 0 ? 0 : p[0] & (0x7fU >> n);
    for (size_t i = 1; i < n; i++) {
        if ((p[i] & 0xc0) != 0x80)
            n = 0;
        else
            value = value << 6 | (p[i] & 0x3fU);
    }
    bool overlong = (n == 3 && value < 0x800) || (n == 4 && (value < 0x10000 || value > 0x10ffff));
    if (n == 0 || overlong || (value >= 0xd800 && value <= 0xdfff)) {
        *code = 0xfffd;
        return 1;
    }
    *code = value;
    return n;
}

/* Controls, and what reorders or hides the text around it (Unicode Bidirectional Algorithm, section 2). */
static bool is_active(uint32_t code)
{
    return code < 0x20 || (code >= 0x7f && code <= 0x9f) || code == 0x61c || code == 0xad || code == 0xfeff ||
           (code >= 0x200b && code <= 0x200f) || (code >= 0x2028 && code <= 0x202e) ||
           (code >= 0x2060 && code <= 0x206f) || code >= 0xe0000;
}

/* Beyond the first 65536, JSON takes two halves (RFC 8259 section 7). */
static size_t write_escape(char *out, uint32_t code)
{
    uint32_t above = code - 0x10000;
    int n = code < 0x10000 ? snprintf(out, 13, "\\u%04x", (unsigned)code)
                           : snprintf(out, 13, "\\u%04x\\u%04x", 0xd800U + (above >> 10), 0xdc00U + (above & 0x3ff));
    return (size_t)n;
}

char *text_escape(const char *text, bool json)
{
    size_t len = strlen(text), at = 0;
    char *out = len < SIZE_MAX / 16 ? malloc(len * 12 + 1) : NULL;
    if (out == NULL)
        return NULL;
    while (*text != '\0') {
        uint32_t code;
        size_t n = next_char(text, &code);
        bool layout =
            json && (code == '\n' || code == '\t'); /* between its values: in a text they are escaped already */
        if (is_active(code) && !layout) {
            at += write_escape(out + at, code);
        } else if (code == 0xfffd && n == 1) {
            memcpy(out + at, "\xef\xbf\xbd", 3);
            at += 3;
        } else {
            memcpy(out + at, text, n);
            at += n;
        }
        text += n;
    }
    out[at] = '\0';
    char *cut = realloc(out, at + 1);
    return cut != NULL ? cut : out;
}

void print_text(FILE *to, const char *text)
{
    char *escaped = text_escape(text, false);
    (void)fputs(escaped != NULL ? escaped : "?", to);
    free(escaped);
}

static size_t width_of_char(uint32_t code)
{
    int width = wcwidth((wchar_t)code);
    return width < 0 ? 1 : (size_t)width;
}

static size_t width_of(const char *text)
{
    size_t width = 0;
    for (uint32_t code; *text != '\0'; width += width_of_char(code))
        text += next_char(text, &code);
    return width;
}

/* ------------------------------------------------------------------------------------------------------- tables */

enum { GAP = 2, LEAST = 8, DEFAULT_WIDTH = 80 };

struct table {
    size_t columns, rows, room;
    bool failed, begun;
    const char *const *headings;
    char **cells;
    size_t *widths;
};

table *table_new(const char *const *headings, size_t columns)
{
    table *t = calloc(1, sizeof *t);
    size_t *widths = calloc(columns, sizeof *widths);
    if (t == NULL || widths == NULL) {
        free(widths);
        free(t);
        return NULL;
    }
    *t = (table){.columns = columns, .headings = headings, .widths = widths};
    for (size_t i = 0; i < columns; i++)
        widths[i] = width_of(headings[i]);
    return t;
}

static bool make_room(table *t)
{
    if (t->rows < t->room)
        return true;
    size_t room = t->room != 0 ? t->room * 2 : 64;
    char **cells = realloc(t->cells, room * t->columns * sizeof *cells);
    if (cells == NULL)
        return false;
    t->cells = cells;
    t->room = room;
    return true;
}

void table_add(table *t, const char *const *cells)
{
    if (t == NULL || t->failed)
        return;
    t->failed = !make_room(t);
    if (t->failed)
        return;
    for (size_t i = 0; i < t->columns; i++) {
        char *cell = text_escape(cells[i] != NULL && *cells[i] != '\0' ? cells[i] : "-", false);
        t->failed |= cell == NULL;
        size_t width = cell != NULL ? width_of(cell) : 0;
        if (width > t->widths[i])
            t->widths[i] = width;
        t->cells[t->rows * t->columns + i] = cell;
    }
    t->rows++;
}

/* How wide it may be; 0: as wide as it likes. */
static size_t width_of_terminal(FILE *to)
{
    struct winsize size = {0};
    if (!isatty(fileno(to)))
        return 0;
    return ioctl(fileno(to), TIOCGWINSZ, &size) == 0 && size.ws_col != 0 ? size.ws_col : DEFAULT_WIDTH;
}

/* How many columns there is room for; the last of them may have been made narrower. */
static size_t fit(const table *t, size_t room, size_t *widths)
{
    size_t used = 0, total = 0;
    for (size_t i = 0; i < t->columns; i++) {
        widths[i] = t->widths[i];
        total += widths[i] + (i != 0 ? GAP : 0);
    }
    if (room == 0 || total <= room)
        return t->columns;
    for (size_t i = 0; i < t->columns; i++) {
        size_t most = i == 0 ? room : room / 4, gap = i != 0 ? GAP : 0;
        if (widths[i] > most)
            widths[i] = most;
        if (used + gap + widths[i] > room) {
            bool is_of_use = used + gap + LEAST <= room;
            widths[i] = is_of_use ? room - used - gap : 0;
            return is_of_use ? i + 1 : i;
        }
        used += gap + widths[i];
    }
    return t->columns;
}

/* Cut where it is wider, with an ellipsis. */
static void print_cell(FILE *to, const char *text, size_t width, bool last)
{
    size_t whole = width_of(text), shown = 0, most = whole > width ? width - 1 : width;
    while (*text != '\0') {
        uint32_t code;
        size_t n = next_char(text, &code);
        if (shown + width_of_char(code) > most)
            break;
        shown += width_of_char(code);
        (void)fwrite(text, 1, n, to);
        text += n;
    }
    if (whole > width) {
        (void)fputs("\xe2\x80\xa6", to);
        shown++;
    }
    if (!last)
        (void)fprintf(to, "%*s", (int)(width - shown + GAP), "");
}

static void print_row(FILE *to, const char *const *cells, const size_t *widths, size_t columns)
{
    for (size_t i = 0; i < columns; i++)
        print_cell(to, cells[i], widths[i], i + 1 == columns);
    (void)fputc('\n', to);
}

static void forget_rows(table *t)
{
    for (size_t i = 0; i < t->rows * t->columns; i++)
        free(t->cells[i]);
    t->rows = 0;
}

bool table_print(table *t, FILE *to)
{
    size_t *widths = t != NULL && !t->failed ? calloc(t->columns, sizeof *widths) : NULL;
    if (widths == NULL)
        return false;
    size_t columns = fit(t, width_of_terminal(to), widths);
    if (!t->begun)
        print_row(to, t->headings, widths, columns);
    t->begun = true;
    for (size_t i = 0; i < t->rows; i++)
        print_row(to, (const char *const *)t->cells + i * t->columns, widths, columns);
    forget_rows(t);
    free(widths);
    return true;
}

void table_free(table *t)
{
    if (t == NULL)
        return;
    forget_rows(t);
    free(t->cells);
    free(t->widths);
    free(t);
}

/* ------------------------------------------------------------------------------------------------------- facts */

void facts_print(const fact *facts, size_t n)
{
    int width = 0;
    for (size_t i = 0; i < n; i++) {
        if (facts[i].value != NULL && (int)strlen(facts[i].name) > width)
            width = (int)strlen(facts[i].name);
    }
    for (size_t i = 0; i < n; i++) {
        if (facts[i].value == NULL)
            continue;
        printf("%-*s  ", width, facts[i].name);
        print_text(stdout, facts[i].value);
        putchar('\n');
    }
}

const char *number_words(uint64_t n, char room[NUMBER_ROOM])
{
    char digits[24], *to = room;
    int len = snprintf(digits, sizeof digits, "%llu", (unsigned long long)n);
    for (int i = 0; i < len; i++) {
        if (i != 0 && (len - i) % 3 == 0)
            *to++ = ',';
        *to++ = digits[i];
    }
    *to = '\0';
    return room;
}

const char *sessions_words(uint64_t n, char room[NUMBER_ROOM])
{
    char number[NUMBER_ROOM];
    (void)snprintf(room, NUMBER_ROOM, n == 1 ? "%s session" : "%s sessions", number_words(n, number));
    return room;
}

const char *bytes_words(uint64_t n, char room[NUMBER_ROOM])
{
    static const char *const units[] = {"KB", "MB", "GB", "TB"};
    double value = (double)n / 1000;
    size_t i = 0;
    for (; value >= 1000 && i + 1 < sizeof units / sizeof units[0]; i++)
        value /= 1000;
    (void)snprintf(room, NUMBER_ROOM, n < 1000 ? "%.0f bytes" : "%.1f %s", n < 1000 ? (double)n : value, units[i]);
    return room;
}
