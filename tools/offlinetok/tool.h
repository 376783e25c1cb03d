/*
 * tool.h - the administrator's command line, as its files see it.  Only arguments, tables and progress are here: what is done, the library
 * does.
 *
 *     main.c      the table of commands; options; help
 *     open.c      a store by its name, its keyring, its realm
 *     postgres.c  stores in PostgreSQL, where that library is installed
 *     policy.c    policies from a file
 *     print.c     tables, and texts of strangers on a terminal
 *     json.c      JSON
 *     time.c      times, read and shown
 *     talk.c      progress, questions, complaints
 *     filter.c    which sessions a command is for
 *     pages.c     a list, page by page
 *     sessions.c  list, show, count
 *     revoke.c    revoke, cutoff
 *     people.c    consents, erase, subject
 *     store.c     init, migrate, sweep, check
 *     stats.c     stats
 *     outbox.c    outbox
 *     copy.c      backup, restore
 *     move.c      export, import
 *     keys.c      keys
 *     inspect.c   inspect
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
    EXIT_NONE = 1,         /* there is no such session; or a check has found something */
    EXIT_USAGE = 2,        /* the command line is wrong */
    EXIT_TROUBLE = 3,      /* store, keyring or file: said on standard error */
    EXIT_DECLINED = 4,     /* the question was not answered with yes */
    EXIT_INTERRUPTED = 130 /* by SIGINT, in long work: what was done stays */
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
    bool dry_run, repair, live, end_all, default_policy, usage, acknowledge;
    const char *mode, *at, *output, *algorithm, *use, *jwk;
    const char *const *arguments; /* what is no option */
    size_t narguments;
} options;

typedef struct progress progress;

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
int command_migrate(const options *o);
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
    progress *progress; /* told of every event, where a call has no watch of its own; NULL */
    char *realm;        /* of the service */
    char *root;         /* the folder that the store's name has */
    char *directory;    /* that of LMDB: the same, or "store" in it */
    char *conninfo;     /* of a store in PostgreSQL: libpq's; may have a password in it */
    char *keyring_path; /* where the keyring is, or would be */
} place;

/* How much of it a command needs: the store; the keyring too, where there is one; a keyring, and the service of one realm. */
enum { OPEN_STORE, OPEN_WITH_KEYS, OPEN_SERVICE };

/* EXIT_DONE, or what the command exits with: said on standard error.  `read_only`: nothing is written. */
int place_open(const options *o, int how, bool read_only, place *out);
void place_close(place *p);

/* The names only: nothing is opened, and nothing need be there. */
int place_name(const options *o, place *out);

/* The same of a keyring alone: that of --keyring, or beside the store. */
int place_name_keyring(const options *o, place *p);

/* The service of a realm, in a place that has a keyring; otok_service_close() ends it. */
int place_service(place *p, const char *realm, otok_service **out, otok_error *err);

/* The realms to work on: that of --realm, or all that the store has sessions of; freed with realms_free(). */
enum { MOST_REALMS = 4096 };
typedef struct realms {
    otok_names *found; /* owns the names, but for one that was given */
    const char *given;
    const char *const *names;
    size_t count;
} realms;
int realms_read(const options *o, otok_store *store, realms *out);
void realms_free(realms *r);

/* A path of two parts; freed with free().  NULL: no memory. */
char *path_join(const char *directory, const char *name);
bool path_exists(const char *path);
bool folder_make(const char *path); /* mode 0700, and durable; false: said on standard error */
bool folder_sync(const char *path); /* what is in it survives a power loss; false: errno tells */

/* ---------------------------------------------------------------------------------------------------- postgres.c */

/* As otok_store_open_postgres() and otok_postgres_migrate(); OTOK_E_UNSUPPORTED: that library is not installed. */
int postgres_open(const char *conninfo, otok_store **out, otok_error *err);
int postgres_migrate(const char *conninfo, otok_error *err);

/* ------------------------------------------------------------------------------------------------------ policy.c */

/*
 * {"default":{"idle_timeout_s":86400},"clients":{"backup":{"rotation":"never"}},"ceilings":{},"outbox_limit":1000}: members
 * named as in otok_policy, otok_ceilings and otok_config, all of them optional; choices are their names in small letters,
 * OTOK_UNLIMITED is "unlimited".  What is not known is refused.
 */
policies *policies_load(const char *path); /* NULL: said on standard error */
void policies_free(policies *p);
const otok_policy *policies_default(const policies *p); /* these take NULL */
const otok_ceilings *policies_ceilings(const policies *p);
uint64_t policies_outbox_limit(const policies *p);
int policies_of_client(const policies *p, const char *client_id, otok_policy *policy); /* 0 */

/* A file's whole text, at most `most` bytes; freed with free().  NULL: said on standard error. */
char *file_read(const char *path, size_t most);

/* ------------------------------------------------------------------------------------------------------- print.c */

/*
 * What a terminal would act upon, or shows out of order, as \u00XX; freed with free().  `json`: the text is JSON, in which that is
 * the same text.  NULL: no memory.
 */
char *text_escape(const char *text, bool json);
void print_text(FILE *to, const char *text);

/* A table: columns as wide as they need to be, the last ones left out or cut where the terminal ends; never cut when it is no terminal. */
typedef struct table table;
table *table_new(const char *const *headings, size_t columns); /* NULL: no memory, and the others take that */
void table_add(table *t, const char *const *cells);            /* copies; NULL: "-" */
bool table_print(table *t, FILE *to);                          /* and begins anew, without headings; false: no memory */
void table_free(table *t);

/* Lines of names and what they are, the names in a column. */
typedef struct fact {
    const char *name, *value; /* NULL: the line is left out */
} fact;
void facts_print(const fact *facts, size_t n);

/* Digits in groups of three, "1,234,567"; and bytes, "12.3 MB". */
enum { NUMBER_ROOM = 48 };
const char *number_words(uint64_t n, char room[NUMBER_ROOM]);
const char *sessions_words(uint64_t n, char room[NUMBER_ROOM]); /* "1 session", "1,234 sessions" */
const char *bytes_words(uint64_t n, char room[NUMBER_ROOM]);

/* -------------------------------------------------------------------------------------------------------- json.c */

/* JSON to standard output, by cJSON: `value` is freed; NULL, no memory, is EXIT_TROUBLE.  Numbers beyond 2^53 are texts. */
struct cJSON;
int json_print(struct cJSON *value);
int json_print_line(struct cJSON *value); /* one line a value, for streams */
/* These take `value`; one that is NULL, or does not fit in memory, makes every document that follows EXIT_TROUBLE. */
void json_add(struct cJSON *object, const char *name, struct cJSON *value);
void json_append(struct cJSON *array, struct cJSON *value);
void json_add_bool(struct cJSON *object, const char *name, bool value);
void json_add_text(struct cJSON *object, const char *name, const char *text); /* NULL: null */
void json_add_number(struct cJSON *object, const char *name, int64_t number);
void json_add_count(struct cJSON *object, const char *name, uint64_t number);
struct cJSON *json_of_session(const otok_session *session);

/* The words of the library's choices, as in the header, in small letters; "unknown". */
const char *word_of_state(int32_t state);
const char *word_of_grant(int32_t grant_type);
const char *word_of_binding(int32_t binding);
const char *word_of_kind(int32_t kind);

/* -------------------------------------------------------------------------------------------------------- time.c */

/* "3 days ago", "in 27 days", "never", "no limit"; and "2026-11-22T05:30:00Z". */
enum { TIME_ROOM = 32 };
void time_relative(int64_t us, int64_t now_us, char room[TIME_ROOM]);
void time_absolute(int64_t us, char room[TIME_ROOM]);
/* "now" (OTOK_NOW), RFC 3339, a date, "@seconds", "-3d", "-12h" */
bool time_read(const char *text, int64_t now_us, int64_t *out_us);
int64_t time_now(void);

/* -------------------------------------------------------------------------------------------------------- talk.c */

/* Says what went wrong on standard error, and what to do next where that is known; returns what to exit with. */
int complain(const char *doing, const otok_error *err);
int complain_usage(const char *format, ...) __attribute__((__format__(__printf__, 1, 2)));
int complain_trouble(const char *format, ...) __attribute__((__format__(__printf__, 1, 2)));
int complain_memory(void);
int complain_interrupted(void);

/* A word about what was done, on standard error, unless --quiet. */
void note(const options *o, const char *format, ...) __attribute__((__format__(__printf__, 2, 3)));

/* Progress on standard error, where that is a terminal and --quiet was not given; ten times a second at most. */
struct progress {
    const char *what;
    bool shown, wanted, watching;
    uint64_t events, total; /* `total`: where the call does not know it, and we do */
    int64_t next_us, begun_us;
};
void progress_begin(progress *p, const options *o, const char *what);
int progress_step(void *arg, uint64_t done, uint64_t total); /* as otok_watch.progress; other than 0 after SIGINT */
void progress_event(progress *p);      /* of a call that cannot be ended: SIGINT ends the process */
void progress_hide(const progress *p); /* until its next step: something is to be printed */
void progress_end(progress *p);
bool was_interrupted(void);

/* Whether to go on: --yes; else the question is asked on the terminal, and where there is none it is no. */
bool confirm(const options *o, const char *format, ...) __attribute__((__format__(__printf__, 2, 3)));

/* ------------------------------------------------------------------------------------------------------ filter.c */

/* Which sessions, out of --subject, --client, --sid and --whole-realm.  `none`: what it is without any of them. */
enum { FILTER_REQUIRED, FILTER_REALM };
int filter_read(const options *o, int none, otok_filter *out);

/* Order, limit and cursor; the filter is the caller's. */
enum { MOST_A_PAGE = 1000 };
int paging_read(const options *o, otok_list_request *out);

/* "of subject alice with client backup", "of the realm https://id.example.org"; escaped; freed with free(). */
char *filter_words(const otok_filter *filter, const char *realm);
void json_add_filter(struct cJSON *object, const otok_filter *filter, const char *realm);

/* ------------------------------------------------------------------------------------------------------- pages.c */

/* A list under way, of sessions or of consents.  The caller fills in `place` and `request`; the rest begins with 0. */
typedef struct pages {
    const options *o;
    const place *place;
    otok_list_request request;
    int64_t now_us;
    size_t shown;
    char *cursor;       /* where to go on; NULL: it is the end */
    table *table;       /* for people; NULL: for programs */
    struct cJSON *rows; /* the document's; NULL: each is a line of its own */
} pages;

int pages_begin(pages *p, const options *o, const char *const *headings, size_t n);
void pages_end(pages *p); /* after a failure, too */

/* Calls `show_page` until there are as many as were asked for.  That adds what it lists, and says where it goes on. */
int pages_show(pages *p, int (*show_page)(pages *));
void pages_add_row(pages *p, const char *const *cells);
int pages_add_json(pages *p, struct cJSON *item); /* takes it */
int pages_next(pages *p, const char *cursor);     /* copies it; NULL: it is the end */

/* `name` and `whose`: "sessions", and what filter_words() says or "". */
int pages_finish(pages *p, const char *name, const char *whose);

/* -------------------------------------------------------------------------------------------------------- keys.c */

int algorithm_read(const char *text, int32_t *out); /* NULL: ES256 */
const char *word_of_key_state(int32_t state);

#endif
