/*
 * bench.h - what the figures of `make bench` are measured with.  Each figure of ours stands beside a raw limit that the same
 * program measures in the same run, in turns: ours, raw, ours, raw; what is told is the median of each.
 *
 *     bench.c        the arguments, and which figures there are
 *     rounds.c       sides measured in turns; threads that do one thing until time is up
 *     report.c       the table, the JSON, and what machine this is
 *     population.c   a store with as many real sessions as is asked for, and their tokens
 *     raw_crypto.c   raw limits: signatures and MACs of OpenSSL
 *     raw_lmdb.c     raw limits: plain LMDB on a copy of the same file
 *     refresh.c, forged.c, open.c, list.c, cutoff.c, space.c, issue.c, size.c, allocations.c    the figures
 *     growth.c       the same costs at several numbers of sessions
 *     resident.c     a program of its own: the memory of a process that opens a store
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef BENCH_H
#define BENCH_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include <cJSON.h>

#include "format/format.h"
#include <offlinetok/store.h>

enum { BENCH_ROUNDS = 15, BENCH_THREADS = 128, BENCH_PAGE = 50, BENCH_PATH = 4096 };

#define BENCH_ISSUER "https://id.example.org"
#define BENCH_CLIENT "phone-app"     /* has nine of ten sessions */
#define BENCH_HEAVY  "user-99999999" /* a subject with a few hundred sessions */

void bench_must(bool good, const char *what); /* or the program ends */
void bench_ok(int rc, const otok_error *err, const char *what);

/* --------------------------------------------------------------------------------------------------- rounds.c */

/* One side of a figure: what `measure` saw in each round. */
typedef struct bench_side {
    const char *name;
    double (*measure)(void *arg, double seconds);
    void *arg;
    double seen[BENCH_ROUNDS];
    size_t n;
} bench_side;

typedef struct bench_plan {
    size_t rounds;
    double seconds; /* of one side in one round */
} bench_plan;

/* All sides in turns, round after round. */
void bench_rounds(const bench_plan *plan, bench_side *sides, size_t n);

typedef struct bench_summary {
    double median, least, most;
} bench_summary;

bench_summary bench_summarize(const bench_side *side);

/* Threads that call `step` on and on; how many of what steps return there were a second, all in all. */
typedef uint64_t (*bench_step)(void *arg, size_t thread);
double bench_rate(size_t threads, double seconds, bench_step step, void *arg);
uint64_t bench_done(void); /* how many there were, the last time */

/* Every number below `below` once, in an order that jumps about, then all again. */
typedef struct bench_walk {
    uint64_t at, stride, below;
    uint8_t rest_of_line[64 - 3 * sizeof(uint64_t)];
} bench_walk;

bench_walk bench_walk_of(uint64_t below, uint64_t seed);
uint64_t bench_walk_next(bench_walk *walk);

/* --------------------------------------------------------------------------------------------------- report.c */

/* What a goal is about: ours over raw, or ours alone; at least, or at most. */
enum { BENCH_NO_GOAL, BENCH_RATIO_LEAST, BENCH_RATIO_MOST, BENCH_OURS_LEAST, BENCH_OURS_MOST };

typedef struct bench_figure {
    const char *id, *name, *unit;
    int32_t goal_is;
    double goal;
    const bench_side *ours, *raw, *also; /* `also`: a second raw limit; may be NULL, and so may `raw` */
    const char *note;                    /* may be NULL */
} bench_figure;

typedef struct bench_report {
    cJSON *json, *figures;
    size_t missed, without_value;
} bench_report;

void bench_report_begin(bench_report *report, const char *folder);
void bench_tell_head(bench_report *report, uint64_t sessions);
void bench_tell(bench_report *report, const bench_figure *figure);
void bench_report_end(bench_report *report, const char *path); /* writes it, and frees it */
bool bench_is_in_memory(const char *folder);
bool bench_has_figure(const bench_report *report, const char *id);
const char *bench_format(const char *format, ...) __attribute__((__format__(__printf__, 1, 2))); /* text that stays */

/* A side that was seen once, for what needs no rounds. */
bench_side bench_once(const char *name, double value);

/* ----------------------------------------------------------------------------------------------- population.c */

/* A store with sessions in it.  Session `i` has the token tokens[i]. */
typedef struct bench_world {
    char folder[BENCH_PATH];
    otok_store *store;
    otok_keyring *keyring;
    struct MDB_env *env; /* the library's own: to be asked, and nothing else */
    int64_t now_us;      /* the clock of its services */
    uint64_t sessions;
    char (*tokens)[OTOK_TOKEN_CHARS + 1];
} bench_world;

void bench_world_begin(bench_world *world, const char *folder, const char *name);
void bench_world_open(bench_world *world);
void bench_world_close(bench_world *world);                   /* the store alone */
void bench_world_fill(bench_world *world, uint64_t sessions); /* up to so many; closed before, and after */
void bench_world_end(bench_world *world);

const char *bench_client_of(uint64_t session); /* static text */
void bench_grant(uint64_t session, char subject[32], char sid[40], otok_grant *out);

/* A service whose sessions never end of age, with what of the policy the figures change. */
otok_service *bench_service(bench_world *world, int32_t rotation, int32_t access_token);
void bench_advance(bench_world *world, int64_t us);

/* How many transactions have been committed to an open store; the bytes of its pages, the unused ones too. */
uint64_t bench_commits(const bench_world *world);
double bench_bytes(const bench_world *world);

/* -------------------------------------------------------------------------------------- raw_crypto.c, raw_lmdb.c */

/* Signing with ES256, as many bytes as an access token has, and a MAC over those of an offline token. */
typedef struct bench_signer bench_signer;
bench_signer *bench_signer_new(void);
void bench_signer_free(bench_signer *signer);
uint64_t bench_sign_fresh(void *signer, size_t thread);    /* a new context each time */
uint64_t bench_sign_prepared(void *signer, size_t thread); /* a copy of a prepared one */
uint64_t bench_mac(void *signer, size_t thread);           /* one HMAC-SHA256, context kept */

/* Plain LMDB on a copy of a world's file, which is closed meanwhile. */
typedef struct bench_raw bench_raw;
bench_raw *bench_raw_open(const bench_world *world, const char *folder);
void bench_raw_close(bench_raw *raw); /* and removes the copy */

void bench_raw_batch(bench_raw *raw, double puts); /* of the two below: puts or issues in one synced transaction */
uint64_t bench_raw_put(void *raw, size_t thread);
uint64_t bench_raw_issue(void *raw, size_t thread);
uint64_t bench_raw_get(void *raw, size_t thread);             /* a renewed read transaction, a session at random */
uint64_t bench_raw_page_of_client(void *raw, size_t thread);  /* its newest 50, by the index */
uint64_t bench_raw_page_of_subject(void *raw, size_t thread); /* likewise */
uint64_t bench_raw_count(void *raw, size_t thread);
size_t bench_raw_value_size(const bench_raw *raw);
size_t bench_raw_body_size(const bench_raw *raw);

/* Where the pages of the file are. */
typedef struct bench_pages {
    uint64_t records, links, unused, all; /* the indexes have the rest */
    uint64_t page_size, index_entries;
} bench_pages;
bench_pages bench_raw_pages(bench_raw *raw);
double bench_raw_reopen(bench_raw *raw); /* closes it, opens it: microseconds of the opening */

/* --------------------------------------------------------------------------------------------------- the figures */

typedef struct bench {
    uint64_t sessions;
    bench_plan plan;
    bool smoke;
    const char *names;             /* "PF1,PF3"; NULL: all */
    const char *shared, *resident; /* the stripped library; the program of resident.c */
    char folder[BENCH_PATH];
    bench_world world;
    bench_raw *raw;
    bench_signer *signer;
    bench_report report;
} bench;

bool bench_wants(const bench *b, const char *id);

void bench_refresh_kept(bench *b);    /* PF1, PF4 */
void bench_refresh_rotated(bench *b); /* PF2, PF3, and the curve over threads */
void bench_forged(bench *b);          /* PF5 */
void bench_open(bench *b);            /* PF6 */
void bench_list(bench *b);            /* PF7 */
void bench_count(bench *b);           /* PF8 */
void bench_cutoff(bench *b);          /* PF9 */
void bench_space(bench *b);           /* PF10 */
void bench_issue(bench *b);           /* PF11 */
void bench_size(bench *b);            /* PF12 */
void bench_allocations(bench *b);     /* PF13 */
void bench_growth(bench *b, const char *scales, const char *path);

/* What growth.c measures of the same things. */
double bench_refresh_rate(bench_world *world, int32_t rotation, int32_t access_token, size_t threads, double seconds);
double bench_page_us(bench_world *world, const char *subject, const char *client_id, double seconds);
double bench_count_us(bench_world *world, double seconds);
double bench_cutoff_us(bench_world *world, double seconds);
double bench_open_us(bench_world *world); /* of a closed world, and leaves it so */

/* Memory in KiB of a process of its own, before and after it opened the store in `folder`. */
typedef struct bench_memory {
    double rss_before, rss_after, anon_before, anon_after;
} bench_memory;
bench_memory bench_resident(const bench *b, const char *folder);

#endif
