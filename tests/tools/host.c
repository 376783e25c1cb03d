/*
 * host.c - an identity server in one line each: what the tests of the command issue and refresh with, and who has the store open
 * meanwhile.
 *
 *     host DIRECTORY REALM     DIRECTORY: as otok_config.directory.  Reads lines of words separated by tabs, answers each:
 *
 *     issue SUBJECT CLIENT LABEL KIND COUNT      session id and token, COUNT lines; KIND offline or login; LABEL "-": none
 *     refresh CLIENT TOKEN                       OTOK_OK and the token that comes back, or the code
 *     consent SUBJECT CLIENT SCOPE               the code
 *     end                                        ends
 *
 *     host --damage DIRECTORY     removes the whole index of an LMDB store that nobody has open
 *
 * SPDX-License-Identifier: MIT
 */
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <offlinetok/offlinetok.h>

#ifdef OTOK_HAVE_LMDB
#include <lmdb.h>
#endif

enum { WORDS = 8, LINE = 8192, OUTBOX = 1000000 };

/* What the words of a line are to be; "" where there are fewer. */
typedef struct line {
    char text[LINE];
    const char *words[WORDS];
} line;

static bool read_line(line *l)
{
    size_t n = 0;
    if (fgets(l->text, sizeof l->text, stdin) == NULL)
        return false;
    l->text[strcspn(l->text, "\n")] = '\0';
    for (char *at = l->text; at != NULL && n < WORDS;)
        l->words[n++] = strsep(&at, "\t");
    while (n < WORDS)
        l->words[n++] = "";
    return true;
}

static int issue_one(otok_service *service, const line *l)
{
    otok_grant grant;
    otok_tokens *tokens = NULL;
    otok_error err;
    otok_grant_init(&grant, sizeof grant);
    grant.subject = l->words[1];
    grant.client_id = l->words[2];
    grant.scope = "offline_access files.read";
    grant.client_type = OTOK_CLIENT_PUBLIC;
    grant.label = strcmp(l->words[3], "-") != 0 ? l->words[3] : NULL;
    grant.kind = strcmp(l->words[4], "login") == 0 ? OTOK_SESSION_LOGIN : OTOK_SESSION_OFFLINE;
    grant.sid = grant.kind == OTOK_SESSION_LOGIN ? "sso-1" : NULL;
    int rc = otok_issue(service, &grant, &tokens, &err);
    if (rc == OTOK_OK)
        printf("%s\t%s\n", tokens->session_id, tokens->offline_token);
    else
        printf("%s\t%s\n", otok_error_name(rc), err.message);
    otok_tokens_free(tokens);
    return rc;
}

static void issue(otok_service *service, const line *l)
{
    long count = strtol(l->words[5], NULL, 10);
    while (count-- > 0 && issue_one(service, l) == OTOK_OK)
        ;
}

static void refresh(otok_service *service, const line *l)
{
    otok_refresh_request request;
    otok_tokens *tokens = NULL;
    otok_refresh_request_init(&request, sizeof request);
    request.client_id = l->words[1];
    request.token = l->words[2];
    request.client_type = OTOK_CLIENT_PUBLIC;
    int rc = otok_refresh(service, &request, &tokens, NULL);
    printf("%s\t%s\n", otok_error_name(rc), tokens != NULL ? tokens->offline_token : "");
    otok_tokens_free(tokens);
}

static void answer(otok_service *service, const line *l)
{
    if (strcmp(l->words[0], "issue") == 0)
        issue(service, l);
    else if (strcmp(l->words[0], "refresh") == 0)
        refresh(service, l);
    else if (strcmp(l->words[0], "consent") == 0)
        puts(otok_error_name(otok_consent_put(service, l->words[1], l->words[2], l->words[3], NULL)));
    (void)fflush(stdout);
}

static int damage(const char *directory)
{
#ifdef OTOK_HAVE_LMDB
    MDB_env *env;
    MDB_txn *txn;
    MDB_dbi index;
    if (mdb_env_create(&env) != 0)
        return EXIT_FAILURE;
    bool done = mdb_env_set_maxdbs(env, 8) == 0 && mdb_env_open(env, directory, MDB_NOLOCK, 0600) == 0 &&
                mdb_txn_begin(env, NULL, 0, &txn) == 0 && mdb_dbi_open(txn, "index", 0, &index) == 0 &&
                mdb_drop(txn, index, 0) == 0 && mdb_txn_commit(txn) == 0;
    mdb_env_close(env);
    return done ? EXIT_SUCCESS : EXIT_FAILURE;
#else
    (void)directory;
    return EXIT_FAILURE;
#endif
}

static int serve(const char *directory, const char *realm)
{
    static line l;
    otok_policy policy;
    otok_config config;
    otok_service *service = NULL;
    otok_error err;
    otok_policy_init(&policy, sizeof policy);
    policy.access_token = OTOK_OFF;
    policy.rotation = OTOK_ROTATION_ALWAYS;
    otok_config_init(&config, sizeof config);
    config.issuer = realm;
    config.directory = directory;
    config.policy = &policy;
    config.outbox_limit = OUTBOX;
    if (otok_service_open(&config, NULL, NULL, &service, &err) != OTOK_OK) {
        (void)fprintf(stderr, "%s\n", err.message);
        return EXIT_FAILURE;
    }
    puts("ready");
    (void)fflush(stdout);
    while (read_line(&l) && strcmp(l.words[0], "end") != 0)
        answer(service, &l);
    otok_service_close(service);
    return EXIT_SUCCESS;
}

int main(int argc, char **argv)
{
    if (argc != 3)
        return EXIT_FAILURE;
    return strcmp(argv[1], "--damage") == 0 ? damage(argv[2]) : serve(argv[1], argv[2]);
}
