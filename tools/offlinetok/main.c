/*
 * main.c - the table of commands, options, help.
 *
 * SPDX-License-Identifier: MIT
 */
#include "tool.h"

#include <errno.h>
#include <getopt.h>
#include <locale.h>
#include <stdlib.h>
#include <string.h>

const command commands[] = {
    {"init", "", "make a store and its keyring", "algorithm", 0, 0, command_init},
    {"migrate", "", "bring a store in PostgreSQL to this version", "", 0, 0, command_migrate},
    {"list", "", "list sessions", "subject client sid whole-realm order limit cursor all", 0, 0, command_list},
    {"show", "SESSION-ID", "all about one session", "", 1, 1, command_show},
    {"count", "", "how many sessions there are", "subject client sid whole-realm live", 0, 0, command_count},
    {"revoke", "[SESSION-ID...]", "end sessions, by id or by whose they are", "subject client sid whole-realm", 0,
     SIZE_MAX, command_revoke},
    {"cutoff", "", "show or set a not-before: what began by then has ended", "subject client sid whole-realm at", 0, 0,
     command_cutoff},
    {"consents", "[list | revoke]", "list consents, or revoke one", "subject client order limit cursor all", 0, 1,
     command_consents},
    {"subject", "SUBJECT", "everything that is held about a subject, as JSON", "", 1, 1, command_subject},
    {"erase", "", "remove all that is held about a subject, a client or a realm", "subject client whole-realm", 0, 0,
     command_erase},
    {"sweep", "", "remove sessions that have ended by the policies of --policy", "default-policy", 0, 0, command_sweep},
    {"stats", "", "sessions by client and state, records, size of the store", "", 0, 0, command_stats},
    {"check", "", "whether store and records are whole", "repair", 0, 0, command_check},
    {"outbox", "", "the oldest events in the outbox, as JSON lines", "limit acknowledge", 0, 0, command_outbox},
    {"backup", "DIR", "copy the store, in use or not, into a new folder", "", 1, 1, command_backup},
    {"restore", "BACKUP-DIR", "make a store of a backup", "end-all", 1, 1, command_restore},
    {"export", "", "every record, as JSON lines", "output", 0, 0, command_export},
    {"import", "FILE | -", "put exported records into a store", "mode dry-run", 1, 1, command_import},
    {"keys", "[list | jwks | generate FILE | add | activate [KID] | drop KID]", "the keys, and their rotation",
     "usage use algorithm jwk", 0, 2, command_keys},
    {"inspect", "TOKEN | -", "what an offline token says of itself; -: from standard input", "", 1, 1, command_inspect},
    {NULL, NULL, NULL, NULL, 0, 0, NULL},
};

/* ------------------------------------------------------------------------------------------------------- options */

enum { TEXT, NUMBER, FLAG };

typedef struct known {
    const char *name;
    char letter; /* 0: none */
    bool common; /* to every command */
    int kind;
    size_t offset; /* in options */
    const char *argument, *what;
} known;

static const known known_options[] = {
    {"store", 's', true, TEXT, offsetof(options, store), "STORE", "lmdb:DIR or postgres:CONNINFO ($OFFLINETOK_STORE)"},
    {"keyring", 'k', true, TEXT, offsetof(options, keyring), "FILE", "the keys; default DIR/keyring.json"},
    {"token-keys", 0, true, TEXT, offsetof(options, token_keys), "FILE", "the MAC keys, where they are apart"},
    {"realm", 'r', true, TEXT, offsetof(options, realm), "REALM", "default $OFFLINETOK_REALM, or the only one"},
    {"policy", 'p', true, TEXT, offsetof(options, policy), "FILE", "policies of the servers; default: the library's"},
    {"json", 'j', true, FLAG, offsetof(options, json), NULL, "for machines"},
    {"yes", 'y', true, FLAG, offsetof(options, yes), NULL, "ask nothing"},
    {"quiet", 'q', true, FLAG, offsetof(options, quiet), NULL, "no progress, no remarks"},

    {"subject", 0, false, TEXT, offsetof(options, subject), "SUBJECT", "of this subject"},
    {"client", 0, false, TEXT, offsetof(options, client), "CLIENT", "of this client"},
    {"sid", 0, false, TEXT, offsetof(options, sid), "SID", "of this SSO session"},
    {"whole-realm", 0, false, FLAG, offsetof(options, whole_realm), NULL, "of everybody"},
    {"order", 0, false, TEXT, offsetof(options, order), "ORDER", "newest (first), or oldest"},
    {"limit", 0, false, NUMBER, offsetof(options, limit), "N", "at most so many, 1 to 1000"},
    {"cursor", 0, false, TEXT, offsetof(options, cursor), "CURSOR", "go on where the page before ended"},
    {"all", 0, false, FLAG, offsetof(options, all), NULL, "every page; with --json as JSON lines"},
    {"live", 0, false, FLAG, offsetof(options, live), NULL, "count those that have not ended, by a walk"},
    {"at", 0, false, TEXT, offsetof(options, at), "TIME", "now, 2026-11-22T05:30:00Z, @SECONDS, -3d, -12h"},
    {"default-policy", 0, false, FLAG, offsetof(options, default_policy), NULL,
     "the servers have the policies of the library"},
    {"repair", 0, false, FLAG, offsetof(options, repair), NULL, "make indexes anew where they differ"},
    {"acknowledge", 0, false, FLAG, offsetof(options, acknowledge), NULL, "remove the events once they are printed"},
    {"end-all", 0, false, FLAG, offsetof(options, end_all), NULL, "end all sessions: those revoked since live again"},
    {"output", 'o', false, TEXT, offsetof(options, output), "FILE", "default: standard output"},
    {"mode", 0, false, TEXT, offsetof(options, mode), "MODE", "add, replace what differs, or mirror: remove more"},
    {"dry-run", 'n', false, FLAG, offsetof(options, dry_run), NULL, "compare, and write nothing"},
    {"algorithm", 0, false, TEXT, offsetof(options, algorithm), "ALG",
     "signing with ES256 (default), EdDSA, RS256, PS256"},
    {"use", 0, false, TEXT, offsetof(options, use), "USE", "signing or token: which sort of key"},
    {"jwk", 0, false, TEXT, offsetof(options, jwk), "FILE", "public key, its private half elsewhere (HSM)"},
    {"usage", 0, false, FLAG, offsetof(options, usage), NULL, "how many sessions need each MAC key"},
};

enum { KNOWN = sizeof known_options / sizeof known_options[0], HELP = KNOWN, VERSION, WORDS, FIRST_CODE = 256 };

/* Whether a list of words, separated by spaces, has this one. */
static bool has_word(const char *words, const char *word)
{
    size_t len = strlen(word);
    for (const char *at = words; *at != '\0';) {
        size_t n = strcspn(at, " ");
        if (n == len && strncmp(at, word, n) == 0)
            return true;
        at += n + (at[n] == ' ' ? 1 : 0);
    }
    return false;
}

static const command *find_command(const char *name)
{
    for (const command *c = commands; c->name != NULL; c++) {
        if (strcmp(c->name, name) == 0)
            return c;
    }
    return NULL;
}

/* ------------------------------------------------------------------------------------------------------- help */

static void print_option(const known *k)
{
    char left[40], letter[8] = "    ";
    if (k->letter != 0)
        (void)snprintf(letter, sizeof letter, "-%c, ", k->letter);
    (void)snprintf(left, sizeof left, "%s--%s%s%s", letter, k->name, k->argument != NULL ? " " : "",
                   k->argument != NULL ? k->argument : "");
    printf("  %-26s %s\n", left, k->what);
}

static void print_common(void)
{
    puts("\nOptions of every command, anywhere on the line:");
    for (size_t i = 0; i < KNOWN; i++) {
        if (known_options[i].common)
            print_option(&known_options[i]);
    }
    printf("  %-26s %s\n", "-h, --help", "this");
    printf("  %-26s %s\n", "-V, --version", "of the library");
}

static int print_help(void)
{
    puts("offlinetok: offline sessions of identity servers, for their administrators\n"
         "\n"
         "usage: offlinetok -s STORE COMMAND [ARGUMENTS] [OPTIONS]\n");
    for (const command *c = commands; c->name != NULL; c++)
        printf("  %-10s %s\n", c->name, c->what);
    puts("  help       this; with the name of a command, all about that");
    print_common();
    puts("\nThe store may be in use. Whether a session lives follows from policies: without\n"
         "--policy, those of the library.\n"
         "Exit: 0 done, 1 no such session or something found, 2 usage, 3 trouble,\n"
         "4 declined, 130 interrupted.");
    return EXIT_DONE;
}

static int print_help_of(const command *c)
{
    printf("offlinetok %s: %s\n\nusage: offlinetok -s STORE %s%s%s [OPTIONS]\n", c->name, c->what, c->name,
           *c->arguments != '\0' ? " " : "", c->arguments);
    if (*c->options != '\0')
        puts("\nOptions:");
    for (size_t i = 0; i < KNOWN; i++) {
        if (has_word(c->options, known_options[i].name))
            print_option(&known_options[i]);
    }
    print_common();
    if (c->run == command_inspect)
        puts("\nArguments of a process are seen by others: hand the token over on standard input.");
    return EXIT_DONE;
}

/* For the completion: commands, or the options that one takes. */
static int print_words(const char *name)
{
    const command *c = name != NULL ? find_command(name) : NULL;
    for (const command *each = commands; name == NULL && each->name != NULL; each++)
        puts(each->name);
    for (size_t i = 0; i < KNOWN; i++) {
        const known *k = &known_options[i];
        if (k->common || (c != NULL && has_word(c->options, k->name)))
            printf("--%s%s\n", k->name, k->argument != NULL ? "=" : "");
    }
    return EXIT_DONE;
}

static int help(const options *o)
{
    if (o->narguments == 0)
        return print_help();
    const command *c = find_command(o->arguments[0]);
    return c != NULL ? print_help_of(c) : complain_usage("there is no command %s", o->arguments[0]);
}

/* ------------------------------------------------------------------------------------------------------- parsing */

static bool set_number(const char *text, int64_t *out)
{
    char *end;
    errno = 0;
    long long n = strtoll(text, &end, 10);
    *out = n;
    return errno == 0 && end != text && *end == '\0' && n >= 0;
}

static int set_option(options *o, const known *k, const char *text)
{
    char *at = (char *)o + k->offset;
    if (k->kind == FLAG)
        *(bool *)at = true;
    else if (k->kind == TEXT)
        *(const char **)(void *)at = text;
    else if (!set_number(text, (int64_t *)(void *)at))
        return complain_usage("--%s takes a number", k->name);
    if (k->kind == TEXT && *text == '\0')
        return complain_usage("--%s is empty", k->name);
    return EXIT_DONE;
}

static void make_long_options(struct option out[KNOWN + 4])
{
    for (size_t i = 0; i < KNOWN; i++)
        out[i] =
            (struct option){known_options[i].name, known_options[i].argument != NULL ? required_argument : no_argument,
                            NULL, FIRST_CODE + (int)i};
    out[HELP] = (struct option){"help", no_argument, NULL, FIRST_CODE + HELP};
    out[VERSION] = (struct option){"version", no_argument, NULL, FIRST_CODE + VERSION};
    out[WORDS] = (struct option){"words", no_argument, NULL, FIRST_CODE + WORDS};
    out[WORDS + 1] = (struct option){NULL, 0, NULL, 0};
}

static size_t index_of_letter(int letter)
{
    size_t i = 0;
    while (i < KNOWN && known_options[i].letter != letter)
        i++;
    return letter == 'V' ? VERSION : i; /* h: HELP, which is behind them */
}

/* `given` marks the options that are there, and HELP, VERSION, WORDS. */
static int parse(int argc, char **argv, options *o, bool given[KNOWN + 3])
{
    struct option longs[KNOWN + 4];
    int code, rc = EXIT_DONE;
    make_long_options(longs);
    while (rc == EXIT_DONE && (code = getopt_long(argc, argv, "s:k:r:p:jyqo:nhV", longs, NULL)) != -1) {
        if (code == '?') /* getopt_long() has said what is wrong */
            return complain_usage("what begins with - and is no option stands behind --");
        size_t i = code >= FIRST_CODE ? (size_t)(code - FIRST_CODE) : index_of_letter(code);
        given[i] = true;
        if (i < KNOWN)
            rc = set_option(o, &known_options[i], optarg);
    }
    return rc;
}

static int check_use(const command *c, const options *o, const bool given[KNOWN + 3])
{
    for (size_t i = 0; i < KNOWN; i++) {
        if (given[i] && !known_options[i].common && !has_word(c->options, known_options[i].name))
            return complain_usage("%s takes no --%s", c->name, known_options[i].name);
    }
    if (o->narguments < c->least)
        return complain_usage("%s needs %s", c->name, c->arguments);
    if (o->narguments > c->most)
        return complain_usage("%s: there is no room for \"%s\"", c->name, o->arguments[c->most]);
    return EXIT_DONE;
}

/* What was printed may have got nowhere. */
static int finish(int rc)
{
    bool failed = ferror(stdout) != 0;
    failed |= fflush(stdout) != 0;
    return failed ? complain_trouble("cannot write to standard output") : rc;
}

static int run(options *o, const bool given[KNOWN + 3], char **arguments)
{
    const char *name = arguments[0];
    if (given[VERSION]) {
        printf("offlinetok %s\n", otok_version());
        return EXIT_DONE;
    }
    if (given[WORDS])
        return print_words(name);
    o->narguments = name == NULL ? 0 : o->narguments - 1;
    o->arguments = (const char *const *)arguments + (name == NULL ? 0 : 1);
    if (name == NULL)
        return given[HELP] ? print_help() : complain_usage("a command is missing");
    if (strcmp(name, "help") == 0)
        return help(o);
    const command *c = find_command(name);
    if (c == NULL)
        return complain_usage("there is no command %s", name);
    if (given[HELP])
        return print_help_of(c);
    int rc = check_use(c, o, given);
    return rc == EXIT_DONE ? c->run(o) : rc;
}

static const char *from_environment(const char *name)
{
    const char *value = getenv(name);
    return value != NULL && *value != '\0' ? value : NULL;
}

int main(int argc, char **argv)
{
    options o = {.store = from_environment("OFFLINETOK_STORE"), .realm = from_environment("OFFLINETOK_REALM")};
    bool given[KNOWN + 3] = {false};
    (void)setlocale(LC_CTYPE, "C.UTF-8"); /* names are UTF-8; this is for their width */
    int rc = parse(argc, argv, &o, given);
    if (rc == EXIT_DONE) {
        o.narguments = (size_t)(argc - optind);
        rc = run(&o, given, argv + optind);
    }
    return finish(rc);
}
