/*
 * report.c - the table, bench.json, and what machine this is.
 *
 * SPDX-License-Identifier: MIT
 */
#include "bench/bench.h"

#include <lmdb.h>
#include <openssl/crypto.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>
#include <time.h>
#include <unistd.h>

enum { LINE = 512, TEXTS = 128 };

void bench_must(bool good, const char *what)
{
    if (good)
        return;
    (void)fprintf(stderr, "bench: %s\n", what);
    exit(EXIT_FAILURE);
}

void bench_ok(int rc, const otok_error *err, const char *what)
{
    if (rc == OTOK_OK)
        return;
    (void)fprintf(stderr, "bench: %s: %s: %s\n", what, otok_error_name(rc), err->message);
    exit(EXIT_FAILURE);
}

const char *bench_format(const char *format, ...)
{
    static char texts[TEXTS][160];
    static size_t next;
    char *text = texts[next++ % TEXTS];
    va_list args;
    va_start(args, format);
    (void)vsnprintf(text, sizeof texts[0], format, args);
    va_end(args);
    return text;
}

/* --------------------------------------------------------------------------------------------------- the machine */

/* What follows the first `name` in a file such as /proc/cpuinfo, up to the end of the line. */
static const char *line_of(const char *path, const char *name, char room[LINE])
{
    FILE *file = fopen(path, "r");
    const char *found = NULL;
    while (file != NULL && found == NULL && fgets(room, LINE, file) != NULL) {
        const char *colon = strchr(room, ':');
        if (strncmp(room, name, strlen(name)) == 0 && colon != NULL)
            found = colon + 1 + strspn(colon + 1, " \t");
    }
    if (file != NULL)
        (void)fclose(file);
    room[strcspn(room, "\n")] = '\0';
    return found != NULL ? found : "unknown";
}

/* The type of the file system that `folder` is on: of the longest mount point that it begins with. */
static const char *file_system_of(const char *folder, char out[64])
{
    char line[LINE * 2], where[LINE], type[64], real[BENCH_PATH];
    size_t longest = 0;
    FILE *mounts = fopen("/proc/self/mounts", "r");
    (void)snprintf(out, 64, "unknown");
    while (mounts != NULL && realpath(folder, real) != NULL && fgets(line, sizeof line, mounts) != NULL) {
        if (sscanf(line, "%*s %511s %63s", where, type) == 2 && strlen(where) >= longest &&
            strncmp(real, where, strlen(where)) == 0) {
            longest = strlen(where);
            (void)snprintf(out, 64, "%s", type);
        }
    }
    if (mounts != NULL)
        (void)fclose(mounts);
    return out;
}

bool bench_is_in_memory(const char *folder)
{
    char type[64];
    return strcmp(file_system_of(folder, type), "tmpfs") == 0;
}

static cJSON *machine(const char *folder)
{
    char line[LINE], type[64];
    struct utsname name;
    double load[1] = {0};
    cJSON *json = cJSON_CreateObject();
    bench_must(uname(&name) == 0, "uname");
    (void)getloadavg(load, 1);
    cJSON_AddStringToObject(json, "cpu", line_of("/proc/cpuinfo", "model name", line));
    cJSON_AddNumberToObject(json, "cores", (double)sysconf(_SC_NPROCESSORS_ONLN));
    cJSON_AddStringToObject(json, "kernel",
                            bench_format("%.40s %.60s %.20s", name.sysname, name.release, name.machine));
    cJSON_AddStringToObject(json, "file_system", file_system_of(folder, type));
    cJSON_AddStringToObject(json, "openssl", OpenSSL_version(OPENSSL_VERSION));
    cJSON_AddStringToObject(json, "lmdb", mdb_version(NULL, NULL, NULL));
    cJSON_AddNumberToObject(json, "load_at_begin", load[0]);
    return json;
}

static const char *today(void)
{
    struct tm tm;
    time_t now = time(NULL);
    static char text[32];
    (void)gmtime_r(&now, &tm);
    (void)strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%SZ", &tm);
    return text;
}

void bench_report_begin(bench_report *report, const char *folder)
{
    cJSON *machine_json;
    *report = (bench_report){.json = cJSON_CreateObject()};
    cJSON_AddStringToObject(report->json, "version", otok_version());
    cJSON_AddStringToObject(report->json, "date", today());
    cJSON_AddItemToObject(report->json, "machine", machine_json = machine(folder));
    printf("libofflinetok %s", otok_version());
    for (const cJSON *fact = machine_json->child; fact != NULL; fact = fact->next) {
        if (cJSON_IsString(fact))
            printf("; %s", fact->valuestring);
        else
            printf("; %s %g", fact->string, fact->valuedouble);
    }
    printf("\n\n");
    (void)fflush(stdout);
}

void bench_tell_head(bench_report *report, uint64_t sessions)
{
    cJSON_AddNumberToObject(report->json, "sessions", (double)sessions);
    report->figures = cJSON_AddArrayToObject(report->json, "figures");
    printf("%-63s%38s%38s%8s  goal\n", bench_format("%llu sessions", (unsigned long long)sessions), "ours", "raw",
           "ratio");
    (void)fflush(stdout);
}

bool bench_has_figure(const bench_report *report, const char *id)
{
    for (const cJSON *figure = report->figures->child; figure != NULL; figure = figure->next) {
        if (strcmp(cJSON_GetObjectItemCaseSensitive(figure, "id")->valuestring, id) == 0)
            return true;
    }
    return false;
}

void bench_report_end(bench_report *report, const char *path)
{
    char *text = cJSON_Print(report->json);
    FILE *file = path != NULL ? fopen(path, "w") : NULL;
    bench_must(path == NULL || (file != NULL && fprintf(file, "%s\n", text) > 0 && fclose(file) == 0), path);
    free(text);
    cJSON_Delete(report->json);
}

/* --------------------------------------------------------------------------------------------------- the figures */

typedef struct verdict {
    double ratio, seen; /* seen: what the goal is about */
    bool has_ratio, has_goal, met, at_most;
} verdict;

static verdict judge(const bench_figure *figure, double ours, double raw)
{
    verdict v = {.has_ratio = figure->raw != NULL && raw > 0, .has_goal = figure->goal_is != BENCH_NO_GOAL};
    bool of_ratio = figure->goal_is == BENCH_RATIO_LEAST || figure->goal_is == BENCH_RATIO_MOST;
    v.ratio = v.has_ratio ? ours / raw : 0;
    v.seen = of_ratio ? v.ratio : ours;
    v.at_most = figure->goal_is == BENCH_RATIO_MOST || figure->goal_is == BENCH_OURS_MOST;
    v.met = v.at_most ? v.seen <= figure->goal : v.seen >= figure->goal;
    return v;
}

/* Three digits that count, and a comma at the thousands. */
static void print_number(char out[32], double x)
{
    if (x < 10 && x != (double)(int64_t)x)
        (void)snprintf(out, 32, "%.2f", x);
    else if (x < 100 && x != (double)(int64_t)x)
        (void)snprintf(out, 32, "%.1f", x);
    else if (x < 10000)
        (void)snprintf(out, 32, "%.0f", x);
    else if (x < 1e6)
        (void)snprintf(out, 32, "%d,%03d", (int)(x / 1000), (int)x % 1000);
    else
        (void)snprintf(out, 32, "%d,%03d,%03d", (int)(x / 1e6), (int)x / 1000 % 1000, (int)x % 1000);
}

static void print_side(char out[120], const bench_side *side)
{
    char median[32], least[32], most[32];
    out[0] = '\0';
    if (side == NULL)
        return;
    bench_summary summary = bench_summarize(side);
    print_number(median, summary.median);
    print_number(least, summary.least);
    print_number(most, summary.most);
    if (side->n > 1)
        (void)snprintf(out, 120, "%s (%s..%s)", median, least, most);
    else
        (void)snprintf(out, 120, "%s", median);
}

static void print_figure(const bench_figure *figure, const verdict *v)
{
    char ours[120], raw[120], ratio[32] = "", goal[32], off[32];
    print_side(ours, figure->ours);
    print_side(raw, figure->raw);
    if (v->has_ratio)
        (void)snprintf(ratio, sizeof ratio, "%.2f", v->ratio);
    printf("%-5s%-58s%38s%38s%8s", figure->id, bench_format("%s, %s", figure->name, figure->unit), ours, raw, ratio);
    if (v->has_goal) {
        double by = v->at_most ? v->seen / figure->goal : figure->goal / v->seen;
        print_number(goal, figure->goal);
        print_number(off, by);
        printf("  %s %s: %s%s%s", v->at_most ? "<=" : ">=", goal, v->met ? "met" : "missed", v->met ? "" : " x ",
               v->met ? "" : off);
    }
    printf("\n");
    if (figure->raw != NULL)
        printf("%-5s   raw: %s\n", "", figure->raw->name);
    if (figure->also != NULL) {
        print_side(raw, figure->also);
        printf("%-5s   also: %s: %s; ratio %.2f\n", "", figure->also->name, raw,
               bench_summarize(figure->ours).median / bench_summarize(figure->also).median);
    }
    if (figure->note != NULL)
        printf("%-5s   %s\n", "", figure->note);
    (void)fflush(stdout);
}

static void add_side(cJSON *json, const char *name, const bench_side *side)
{
    if (side == NULL)
        return;
    bench_summary summary = bench_summarize(side);
    cJSON *item = cJSON_AddObjectToObject(json, name);
    cJSON_AddStringToObject(item, "what", side->name);
    cJSON_AddNumberToObject(item, "median", summary.median);
    cJSON_AddNumberToObject(item, "least", summary.least);
    cJSON_AddNumberToObject(item, "most", summary.most);
    cJSON_AddNumberToObject(item, "rounds", (double)side->n);
}

static void add_figure(cJSON *figures, const bench_figure *figure, const verdict *v)
{
    static const char *const kinds[] = {"none", "ratio at least", "ratio at most", "ours at least", "ours at most"};
    cJSON *json = cJSON_CreateObject();
    cJSON_AddItemToArray(figures, json);
    cJSON_AddStringToObject(json, "id", figure->id);
    cJSON_AddStringToObject(json, "name", figure->name);
    cJSON_AddStringToObject(json, "unit", figure->unit);
    add_side(json, "ours", figure->ours);
    add_side(json, "raw", figure->raw);
    add_side(json, "also", figure->also);
    if (v->has_ratio)
        cJSON_AddNumberToObject(json, "ratio", v->ratio);
    cJSON_AddStringToObject(json, "goal_is", kinds[figure->goal_is]);
    if (v->has_goal) {
        cJSON_AddNumberToObject(json, "goal", figure->goal);
        cJSON_AddBoolToObject(json, "met", v->met);
    }
    if (figure->note != NULL)
        cJSON_AddStringToObject(json, "note", figure->note);
}

void bench_tell(bench_report *report, const bench_figure *figure)
{
    double ours = bench_summarize(figure->ours).median;
    verdict v = judge(figure, ours, figure->raw != NULL ? bench_summarize(figure->raw).median : 0);
    report->without_value += !(ours > 0) || (figure->raw != NULL && !v.has_ratio);
    report->missed += v.has_goal && !v.met;
    print_figure(figure, &v);
    add_figure(report->figures, figure, &v);
}
