/*
 * tool.h - the administrator's command line, as its files see it.  Only arguments, tables and progress are here: what is done, the library
 * does.
 *
 *     main.c      the table of commands, options, help
 *     open.c      a store by its name, its keyring, its realm; policies from a file
 *     print.c     tables and JSON, times, progress, questions
 *     sessions.c  list, show, count, revoke, cutoff
 *     people.c    consents, erase, subject
 *     store.c     init, sweep, stats, check, outbox
 *     move.c      backup, restore, export, import
 *     keys.c      keys, inspect
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef TOOL_H
#define TOOL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <offlinetok/offlinetok.h>
#include <offlinetok/store.h>

/* What the command exits with. */
enum {
    EXIT_DONE = 0,
    EXIT_NONE = 1,    /* there is no such session; or a check has found something */
    EXIT_USAGE = 2,   /* the command line is wrong */
    EXIT_TROUBLE = 3, /* store, keyring or file: said on standard error */
    EXIT_DECLINED = 4 /* the question was not answered with yes */
};

/* -------------------------------------------------------------------------------------------------------- main.c */

/* Options that every command understands, and those of some; NULL or 0 where they were not given. */
typedef struct options {
    const char *store;      /* -s, or $OFFLINETOK_STORE: lmdb:DIR, memory: */
    const char *keyring;    /* -k: default keyring.json in DIR, where DIR has it */
    const char *token_keys; /* --token-keys: a file of their own for the MAC keys */
    const char *realm;      /* -r: default the only one that the store has sessions of */
    const char *policy;     /* -p: a JSON file with the policies of the servers */
    bool json, yes, quiet;

    const char *subject, *client, *sid; /* which sessions */
    bool whole_realm;
    const char *cursor, *order; /* pages */
    int64_t limit;
    bool all; /* every page */
    bool dry_run, repair, live, end_all, default_policy;
    const char *mode, *at, *output, *algorithm, *use, *jwk, *scope;
    const char *const *arguments; /* what is no option */
    size_t narguments;
} options;

/* One command: `options` names those it takes beside the common ones, for the parser, the help and the completion. */
typedef struct command {
    const char *name, *arguments, *what;
    const char *options; /* "subject client sid all-realm": long names, separated by spaces */
    size_t least, most;  /* arguments */
    int (*run)(const options *o);
} command;

extern const command commands[]; /* ends with a name NULL */

int command_list(const options *o);
int command_show(const options *o);
int command_count(const options *o);
int command_revoke(const options *o);
int command_cutoff(const options *o);
int command_consents(const options *o);
int command_subject(const options *o);
int command_erase(const options *o);
int command_init(const options *o);
int command_sweep(const options *o);
int command_stats(const options *o);
int command_check(const options *o);
int command_outbox(const options *o);
int command_backup(const options *o);
int command_restore(const options *o);
int command_export(const options *o);
int command_import(const options *o);
int command_keys(const options *o);
int command_inspect(const options *o);

/* -------------------------------------------------------------------------------------------------------- open.c */

/* A store that is open, and what belongs to it; closed with place_close(), which takes one that is not open. */
typedef struct policies policies;
typedef struct place {
    otok_store *store;
    otok_keyring *keyring;
    otok_service *service;
    policies *policies;
    char *keyring_path; /* where the keyring is, or would be */
    char *directory;    /* of an LMDB store: the one that LMDB has */
} place;

/* How much of it a command needs. */
enum { OPEN_STORE, OPEN_SERVICE };

/* EXIT_DONE, or what the command exits with: said on standard error.  `read_only`: of a store that is there. */
int place_open(const options *o, int how, bool read_only, place *out);
void place_close(place *p);

/* A path beside: "lmdb:DIR" taken apart; freed with free().  NULL: not of that kind, or no memory. */
char *path_of_store(const char *name);

/* Policies: {"default":{"idle_timeout_s":...},"clients":{"backup":{...}}}, members named as in otok_policy. */
policies *policies_load(const char *path); /* NULL: said on standard error */
void policies_free(policies *p);
const otok_policy *policies_default(const policies *p);
int policies_of_client(void *policies, const char *client_id,
                       otok_policy *policy); /* as otok_callbacks.client_policy */

/* ------------------------------------------------------------------------------------------------------- print.c */

/* Says what went wrong on standard error, and what to do next where that is known; returns EXIT_TROUBLE or, for what was not found, EXIT_NONE. */
int complain(const char *doing, const otok_error *err);
int complain_usage(const char *format, ...) __attribute__((__format__(__printf__, 1, 2)));

/* A table: columns as wide as they need to be, the last ones left out or cut where the terminal ends; never cut when it is no terminal. */
typedef struct table table;
table *table_new(const char *const *headings, size_t columns);
void table_add(table *t, const char *const *cells); /* copies; escapes what a terminal would act upon */
void table_print(table *t, FILE *to);
void table_free(table *t);

/* "3 days ago", "in 27 days", "never", "no limit"; and "2026-11-22T05:30:00Z".  `room`: 32 characters. */
void time_relative(int64_t us, int64_t now_us, char room[32]);
void time_absolute(int64_t us, char room[32]);
bool time_read(const char *text, int64_t *out_us); /* "now", RFC 3339, "@seconds", "-3d", "-12h" */
int64_t time_now(void);

/* JSON to standard output, by cJSON: `value` is freed.  Numbers beyond 2^53 are texts. */
struct cJSON;
int json_print(struct cJSON *value);
int json_print_line(struct cJSON *value); /* one line a value, for streams */
struct cJSON *json_of_session(const otok_session *session);

/* Progress on standard error, where that is a terminal and --quiet was not given; ten times a second at most. */
typedef struct progress {
    const char *what;
    bool shown, wanted;
    int64_t next_us, begun_us;
} progress;
void progress_begin(progress *p, const options *o, const char *what);
int progress_step(void *p, uint64_t done, uint64_t total); /* as otok_watch.progress; other than 0 after SIGINT */
void progress_end(progress *p);

/* Whether to go on: --yes; else the question is asked on the terminal, and where there is none it is no. */
bool confirm(const options *o, const char *format, ...) __attribute__((__format__(__printf__, 2, 3)));

#endif
