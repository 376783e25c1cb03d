/*
 * bench.c - the figures of this library, each beside the raw limit of the same machine in the same minute.
 *
 *     bench [--sessions N] [--rounds N] [--seconds S] [--figures PF1,PF3] [--json FILE] --shared FILE --resident FILE
 *     bench --growth 10000,100000,1000000 ...      what things cost as the sessions grow in number
 *     bench --smoke ...                            all of it, briefly and among few: whether every figure comes
 *
 * The stores are made in OTOK_BENCH_DIR, or TMPDIR, or /var/tmp, and removed; it has to be on a disk.
 *
 * SPDX-License-Identifier: MIT
 */
#include "bench/bench.h"

#include <ftw.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { FILES_AT_ONCE = 8, FIGURES = 13 };

typedef struct arguments {
    const char *growth, *json;
} arguments;

bool bench_wants(const bench *b, const char *id)
{
    size_t len = strlen(id);
    if (b->names == NULL)
        return true;
    for (const char *at = b->names; (at = strstr(at, id)) != NULL; at += len) {
        if ((at == b->names || at[-1] == ',') && (at[len] == ',' || at[len] == '\0'))
            return true;
    }
    return false;
}

/* ------------------------------------------------------------------------------------------------------ a folder */

static char folder[BENCH_PATH]; /* removed however the program ends */

static int remove_one(const char *path, const struct stat *stat, int type, struct FTW *where)
{
    (void)stat;
    (void)type;
    (void)where;
    return remove(path);
}

static void remove_folder(void)
{
    (void)nftw(folder, remove_one, FILES_AT_ONCE, FTW_DEPTH | FTW_PHYS);
}

static void make_folder(bench *b)
{
    const char *where = getenv("OTOK_BENCH_DIR");
    if (where == NULL)
        where = getenv("TMPDIR");
    (void)snprintf(b->folder, sizeof b->folder, "%.4000s/otok-bench-XXXXXX", where != NULL ? where : "/var/tmp");
    bench_must(mkdtemp(b->folder) != NULL, b->folder);
    memcpy(folder, b->folder, sizeof folder);
    bench_must(atexit(remove_folder) == 0, "atexit");
}

/* ----------------------------------------------------------------------------------------------------- the run */

/* What reads comes before what writes, and the cutoff, after which nothing lives, last. */
static void measure_all(bench *b)
{
    b->signer = bench_signer_new();
    bench_open(b);
    bench_world_open(&b->world);
    bench_space(b);
    bench_size(b);
    bench_refresh_kept(b);
    bench_forged(b);
    bench_list(b);
    bench_count(b);
    bench_issue(b);
    bench_allocations(b);
    bench_refresh_rotated(b);
    bench_cutoff(b);
    bench_signer_free(b->signer);
}

/* A figure that a change has lost is a failure, not a shorter table. */
static void look_for_all(const bench *b)
{
    for (int n = 1; n <= FIGURES; n++) {
        const char *id = bench_format("PF%d", n);
        bench_must(!bench_wants(b, id) || bench_has_figure(&b->report, id), id);
    }
}

static void run(bench *b, const arguments *args)
{
    bench_report_begin(&b->report, b->folder);
    bench_tell_head(&b->report, b->sessions);
    bench_world_begin(&b->world, b->folder, "ours");
    int64_t begun_us = otok_clock_monotonic_us();
    bench_world_fill(&b->world, b->sessions);
    b->raw = bench_raw_open(&b->world, b->folder);
    printf("(issued and copied in %.0f s)\n", (double)(otok_clock_monotonic_us() - begun_us) / 1e6);
    measure_all(b);
    look_for_all(b);
    printf("(all in %.0f s; %zu goals missed)\n", (double)(otok_clock_monotonic_us() - begun_us) / 1e6,
           b->report.missed);
    bench_raw_close(b->raw);
    bench_world_end(&b->world);
    bench_report_end(&b->report, b->names == NULL ? args->json : NULL); /* a part is no record */
}

static void smoke(bench *b)
{
    b->smoke = true;
    b->sessions = 2000;
    b->plan = (bench_plan){1, 0.02};
}

static bool read_arguments(bench *b, arguments *args, int argc, char **argv)
{
    static const struct option options[] = {
        {"sessions", required_argument, NULL, 'n'}, {"rounds", required_argument, NULL, 'r'},
        {"seconds", required_argument, NULL, 's'},  {"figures", required_argument, NULL, 'f'},
        {"growth", required_argument, NULL, 'g'},   {"json", required_argument, NULL, 'j'},
        {"shared", required_argument, NULL, 'l'},   {"resident", required_argument, NULL, 'm'},
        {"smoke", no_argument, NULL, 'k'},          {0},
    };
    for (int c; (c = getopt_long(argc, argv, "", options, NULL)) != -1;) {
        switch (c) {
        case 'n':
            b->sessions = strtoull(optarg, NULL, 10);
            break;
        case 'r':
            b->plan.rounds = strtoull(optarg, NULL, 10);
            break;
        case 's':
            b->plan.seconds = strtod(optarg, NULL);
            break;
        case 'f':
            b->names = optarg;
            break;
        case 'g':
            args->growth = optarg;
            break;
        case 'j':
            args->json = optarg;
            break;
        case 'l':
            b->shared = optarg;
            break;
        case 'm':
            b->resident = optarg;
            break;
        case 'k':
            smoke(b);
            break;
        default:
            return false;
        }
    }
    return optind == argc && b->shared != NULL && b->resident != NULL && b->sessions >= 2000 && b->plan.rounds >= 1 &&
           b->plan.rounds <= BENCH_ROUNDS && b->plan.seconds > 0;
}

int main(int argc, char **argv)
{
    static bench b = {.sessions = 1000000, .plan = {5, 0.7}};
    arguments args = {0};
    if (!read_arguments(&b, &args, argc, argv)) {
        (void)fprintf(stderr,
                      "usage: bench [--sessions N] [--rounds N] [--seconds S] [--figures NAMES] [--growth LIST]\n"
                      "             [--smoke] [--json FILE] --shared FILE --resident FILE\n");
        return EXIT_FAILURE;
    }
    make_folder(&b);
    bench_must(b.smoke || !bench_is_in_memory(b.folder), "OTOK_BENCH_DIR has to be on a disk");
    if (args.growth != NULL)
        bench_growth(&b, args.growth, args.json);
    else
        run(&b, &args);
    return b.report.without_value == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
