/*
 * check_io.c - every system call that a store makes fails once (R8, I6, V5, S4): with EIO, ENOSPC or EINTR, and by the
 * death of the process at it.  What is answered is never a refusal of the token and never a success that is lost; the
 * same process goes on afterwards, and the store opens again with everything in it that was acknowledged.
 *
 * The system calls are made to fail by strace, in a process of their own ("victim"): where it is not there, or may not
 * trace, the tests say so and do nothing.
 *
 * SPDX-License-Identifier: MIT
 */
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "support/ask.h"

#define US_LATER (3600 * OTOK_US_PER_S)

enum { PATH_ROOM = 4300, REPORT_ROOM = 512 };

typedef enum deed { ISSUE, REFRESH, REVOKE, CREATE, DEEDS } deed;

static const char *const deeds[DEEDS] = {"issue", "refresh", "revoke", "create"};

/* What a victim is told of the session that is there: written by the test, in the folder of the test. */
typedef struct given {
    char token[OTOK_TOKEN_CHARS + 1];
    char session_id[OTOK_SESSION_ID_CHARS + 1];
} given;

/* What it tells. */
typedef struct told {
    bool opened, tried, tried_again; /* whether it got so far */
    int open_rc, rc, again_rc;
    char token[OTOK_TOKEN_CHARS + 1];
    int status; /* of the process, as waitpid() has it */
} told;

static int64_t victim_now(void *user)
{
    (void)user;
    return TEST_START_US + US_LATER;
}

static int open_service(const char *folder, otok_keyring *keyring, otok_store **store, otok_service **service,
                        otok_error *err)
{
    char path[PATH_ROOM];
    otok_config config;
    otok_callbacks callbacks;
    otok_policy policy;
    (void)snprintf(path, sizeof path, "%s/store", folder);
    int rc = otok_store_open_lmdb(path, NULL, store, err);
    otok_policy_init(&policy, sizeof policy);
    policy.access_token = OTOK_OFF;
    otok_callbacks_init(&callbacks, sizeof callbacks);
    callbacks.now = victim_now;
    otok_config_init(&config, sizeof config);
    config.issuer = TEST_ISSUER;
    config.policy = &policy;
    config.callbacks = &callbacks;
    return rc == OTOK_OK ? otok_service_open(&config, *store, keyring, service, err) : rc;
}

static int refresh(otok_service *service, const char *token, otok_tokens **out)
{
    otok_refresh_request request = test_refresh_request(token, "phone");
    return otok_refresh(service, &request, out, NULL);
}

/* ------------------------------------------------------------------------------------------------------- the victim */

static int do_it(otok_service *service, deed what, const given *with, otok_tokens **out)
{
    otok_grant grant = test_grant("bob", "phone", "offline_access");
    switch (what) {
    case REFRESH:
        return refresh(service, with->token, out);
    case REVOKE:
        return otok_revoke_session(service, with->session_id, NULL);
    default:
        return otok_issue(service, &grant, out, NULL);
    }
}

static void report(const char *what, int rc, const otok_tokens *tokens)
{
    (void)dprintf(STDOUT_FILENO, "%s %d %s\n", what, rc, tokens != NULL ? tokens->offline_token : "-");
}

/*
 * Run under strace: victim DEED FOLDER TOKEN SESSION_ID KEYRING.  Says what it is told, by write(), which never fails
 * here.
 */
static int be_victim(char **argv)
{
    otok_keyring *keyring;
    otok_store *store;
    otok_service *service;
    otok_tokens *tokens = NULL;
    given with;
    deed what = 0;
    while (what < DEEDS && strcmp(deeds[what], argv[0]) != 0)
        what++;
    (void)snprintf(with.token, sizeof with.token, "%s", argv[2]);
    (void)snprintf(with.session_id, sizeof with.session_id, "%s", argv[3]);
    if (otok_keyring_load(argv[4], NULL, &keyring, NULL) != OTOK_OK)
        return EXIT_FAILURE;
    (void)getpriority(PRIO_PROCESS, 0); /* the test counts system calls from here */
    int rc = open_service(argv[1], keyring, &store, &service, NULL);
    report("open", rc, NULL);
    if (rc != OTOK_OK)
        return EXIT_SUCCESS;
    rc = do_it(service, what, &with, &tokens);
    report("did", rc, tokens);
    if (rc != OTOK_OK) {
        rc = do_it(service, what, &with, &tokens);
        report("again", rc, tokens);
    }
    otok_tokens_free(tokens);
    otok_service_close(service);
    otok_store_close(store);
    otok_keyring_free(keyring);
    return EXIT_SUCCESS;
}

/* -------------------------------------------------------------------------------------------------------- the stage */

typedef struct stage {
    char *folder;
    char keyring_path[PATH_ROOM], original[PATH_ROOM], copy[PATH_ROOM], trace[PATH_ROOM];
    otok_keyring *keyring;
    given with;
    deed what;
    unsigned runs, answered, died; /* answered: with another code than OTOK_OK */
} stage;

/* A store with one session in it, which every run begins with a copy of. */
static void open_stage(stage *s, deed what)
{
    test_fixture *f = test_open(TEST_LMDB);
    otok_error err;
    memset(s, 0, sizeof *s);
    s->what = what;
    s->folder = test_new_folder();
    (void)snprintf(s->keyring_path, sizeof s->keyring_path, "%s/keyring.json", s->folder);
    (void)snprintf(s->original, sizeof s->original, "%s/data.mdb", s->folder);
    (void)snprintf(s->copy, sizeof s->copy, "%s/copy", s->folder);
    (void)snprintf(s->trace, sizeof s->trace, "%s/trace", s->folder);
    test_held held = test_hold(f, "alice", "phone");
    memcpy(s->with.token, held.token, sizeof s->with.token);
    memcpy(s->with.session_id, held.session_id, sizeof s->with.session_id);
    s->keyring = otok_keyring_ref(f->keyring);
    test_assert_code(OTOK_OK, otok_keyring_save(s->keyring, s->keyring_path, NULL, &err));

    char data[PATH_ROOM], *folder = f->folder;
    f->folder = NULL;
    test_close(f);
    (void)snprintf(data, sizeof data, "%s/data.mdb", folder);
    ck_assert_int_eq(rename(data, s->original), 0);
    test_remove_folder(folder);
}

static void close_stage(stage *s)
{
    otok_keyring_free(s->keyring);
    test_remove_folder(s->folder);
}

static void copy_file(const char *from, const char *to)
{
    char bytes[65536];
    ssize_t n;
    int in = open(from, O_RDONLY | O_CLOEXEC), out = open(to, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    ck_assert(in >= 0 && out >= 0);
    while ((n = read(in, bytes, sizeof bytes)) > 0)
        ck_assert_int_eq(write(out, bytes, (size_t)n), n);
    ck_assert_int_eq(close(in) | close(out), 0);
}

static void set_stage(const stage *s)
{
    char path[PATH_ROOM + 32];
    test_remove_folder(strdup(s->copy));
    ck_assert_int_eq(mkdir(s->copy, 0700), 0);
    (void)snprintf(path, sizeof path, "%s/store", s->copy);
    if (s->what == CREATE)
        return;
    ck_assert_int_eq(mkdir(path, 0700), 0);
    (void)snprintf(path, sizeof path, "%s/store/data.mdb", s->copy);
    copy_file(s->original, path);
}

/* ----------------------------------------------------------------------------------------------------- under strace */

static pid_t start(const stage *s, const char *const *options, int out)
{
    const char *argv[32];
    size_t n = 0;
    argv[n++] = "strace";
    while (*options != NULL)
        argv[n++] = *options++;
    const char *const rest[] = {"/proc/self/exe", "victim",           deeds[s->what],  s->copy,
                                s->with.token,    s->with.session_id, s->keyring_path, NULL};
    char self[PATH_ROOM] = "";
    ssize_t len = readlink("/proc/self/exe", self, sizeof self - 1);
    memcpy(argv + n, rest, sizeof rest);
    argv[n] = self;
    pid_t pid = len > 0 ? fork() : -1;
    if (pid == 0) {
        int nowhere = open("/dev/null", O_WRONLY);
        (void)dup2(nowhere, STDERR_FILENO);
        (void)dup2(out, STDOUT_FILENO);
        (void)setenv("ASAN_OPTIONS", "detect_leaks=0", 1); /* LeakSanitizer and strace exclude each other */
        (void)execvp("strace", (char **)(uintptr_t)argv);
        _exit(127);
    }
    return pid;
}

static void read_report(char *text, told *t)
{
    char what[8], token[OTOK_TOKEN_CHARS + 1];
    int rc;
    for (char *line = strtok(text, "\n"); line != NULL; line = strtok(NULL, "\n")) {
        if (sscanf(line, "%7s %d %85s", what, &rc, token) != 3)
            continue;
        if (strcmp(what, "open") == 0) {
            t->opened = true;
            t->open_rc = rc;
        } else if (strcmp(what, "did") == 0) {
            t->tried = true;
            t->rc = rc;
        } else {
            t->tried_again = true;
            t->again_rc = rc;
        }
        if (rc == OTOK_OK && strlen(token) == OTOK_TOKEN_CHARS)
            memcpy(t->token, token, sizeof token);
    }
}

static told run_victim(stage *s, const char *const *options)
{
    told t = {0};
    char text[REPORT_ROOM] = "";
    size_t len = 0;
    ssize_t n;
    int ends[2];
    set_stage(s);
    ck_assert_int_eq(pipe(ends), 0);
    pid_t pid = start(s, options, ends[1]);
    ck_assert_int_eq(close(ends[1]), 0);
    while ((n = read(ends[0], text + len, sizeof text - 1 - len)) > 0)
        len += (size_t)n;
    ck_assert_int_eq(close(ends[0]), 0);
    ck_assert_int_eq(waitpid(pid, &t.status, 0), pid);
    s->runs++;
    read_report(text, &t);
    return t;
}

/* How many calls of a name there are before the mark, and behind it. */
static void count_calls(const stage *s, const char *name, unsigned *before, unsigned *behind)
{
    char line[4096], call[64];
    bool marked = false;
    FILE *trace = fopen(s->trace, "r");
    ck_assert_ptr_nonnull(trace);
    *before = *behind = 0;
    (void)snprintf(call, sizeof call, "%s(", name);
    while (fgets(line, sizeof line, trace) != NULL) {
        const char *at = strstr(line, call);
        if (strstr(line, "getpriority(") != NULL)
            marked = true;
        else if (at != NULL && (at == line || at[-1] == ' '))
            ++*(marked ? behind : before);
    }
    (void)fclose(trace);
}

/* (strace's --seccomp-bpf would be faster, and loses the signals that it should send.) */
enum { EIO_IS = 1, ENOSPC_IS = 2, EINTR_IS = 4, ENOMEM_IS = 8, DEATH_IS = 16 };

static const struct fault {
    int bit;
    const char *text;
} faults[] = {{EIO_IS, "error=EIO"},
              {ENOSPC_IS, "error=ENOSPC"},
              {EINTR_IS, "error=EINTR"},
              {ENOMEM_IS, "error=ENOMEM"},
              {DEATH_IS, "signal=KILL"}};

/* What makes sense for a call. */
static const struct call {
    const char *name;
    int faults;
} calls[] = {
    {"pwrite64", EIO_IS | ENOSPC_IS | EINTR_IS | DEATH_IS},
    {"writev", EIO_IS | ENOSPC_IS | EINTR_IS | DEATH_IS},
    {"fdatasync", EIO_IS | ENOSPC_IS | EINTR_IS | DEATH_IS},
    {"fsync", EIO_IS | ENOSPC_IS | DEATH_IS},
    {"openat", EIO_IS | EINTR_IS | DEATH_IS},
    {"ftruncate", EIO_IS | ENOSPC_IS | DEATH_IS},
    {"fallocate", EIO_IS | ENOSPC_IS | EINTR_IS | DEATH_IS},
    {"renameat", EIO_IS | ENOSPC_IS | DEATH_IS},
    {"unlinkat", EIO_IS | DEATH_IS},
    {"mkdir", EIO_IS | ENOSPC_IS | DEATH_IS},
    {"fcntl", DEATH_IS},
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__) /* which map for themselves, and die */
    {"mmap", ENOMEM_IS | DEATH_IS},
#endif
};
enum { CALLS = sizeof calls / sizeof calls[0], FAULTS = sizeof faults / sizeof faults[0] };

/* One run without a fault: what calls there are.  False where nothing can be traced. */
static bool trace_once(stage *s)
{
    const char *const options[] = {"-f",
                                   "-qq",
                                   "-o",
                                   s->trace,
                                   "-e",
                                   "trace=pwrite64,writev,fdatasync,fsync,openat,ftruncate,fallocate,renameat,unlinkat,"
                                   "mkdir,fcntl,mmap,getpriority",
                                   NULL};
    told t = run_victim(s, options);
    if (!t.tried) {
        printf("skipped: strace is not there, or may not trace (status %#x)\n", (unsigned)t.status);
        return false;
    }
    test_assert_code(OTOK_OK, t.open_rc);
    test_assert_code(OTOK_OK, t.rc);
    return true;
}

/* -------------------------------------------------------------------------------------------------------- judgement */

/* Answered with 503 or 500, and no word against the token. */
static bool is_honest(int code)
{
    static const int codes[] = {OTOK_OK,     OTOK_E_NOMEM,     OTOK_E_IO,    OTOK_E_FULL,
                                OTOK_E_BUSY, OTOK_E_UNCERTAIN, OTOK_E_CRYPTO};
    for (size_t i = 0; i < sizeof codes / sizeof codes[0]; i++) {
        if (codes[i] == code)
            return true;
    }
    return false;
}

/* Whether what was told leaves open if it was done. */
static bool is_open(const told *t)
{
    return !t->tried || t->rc == OTOK_E_UNCERTAIN || (t->rc != OTOK_OK && !t->tried_again);
}

static void session_is_as_told(const stage *s, const told *t, otok_service *service, const char *where)
{
    otok_tokens *tokens = NULL;
    bool done = t->rc == OTOK_OK || (t->tried_again && t->again_rc == OTOK_OK);
    int rc = refresh(service, s->with.token, &tokens);
    if (s->what == REVOKE && t->tried && (done || t->rc != OTOK_OK) && t->tried_again + done > 0)
        ck_assert_msg(rc == OTOK_E_TOKEN_UNKNOWN, "%s: it was revoked, and then: %s", where, otok_error_name(rc));
    else if (s->what == REVOKE && is_open(t))
        ck_assert_msg(rc == OTOK_OK || rc == OTOK_E_TOKEN_UNKNOWN, "%s: %s", where, otok_error_name(rc));
    else if (s->what != CREATE)
        ck_assert_msg(rc == OTOK_OK, "%s: the token from before is refused: %s", where, otok_error_name(rc));
    if (s->what == REFRESH && rc == OTOK_OK && t->token[0] != '\0')
        ck_assert_msg(strcmp(tokens->offline_token, t->token) == 0, "%s: a retry got another token", where);
    otok_tokens_free(tokens);
}

static void what_came_out_holds(const told *t, otok_service *service, const char *where)
{
    otok_tokens *tokens = NULL;
    if (t->token[0] == '\0')
        return;
    int rc = refresh(service, t->token, &tokens);
    ck_assert_msg(rc == OTOK_OK, "%s: a token that was returned is refused: %s", where, otok_error_name(rc));
    otok_tokens_free(tokens);
}

static void the_store_is_as_told(const stage *s, const told *t, const char *where)
{
    otok_store *store = NULL;
    otok_service *service = NULL;
    otok_error err = {0};
    int rc = open_service(s->copy, s->keyring, &store, &service, &err);
    ck_assert_msg(rc == OTOK_OK, "%s: the store does not open again: %s: %s", where, otok_error_name(rc), err.message);
    what_came_out_holds(t, service, where);
    session_is_as_told(s, t, service, where);
    otok_service_close(service);
    otok_store_close(store);
}

static void answers_are_honest(stage *s, const told *t, const char *fault, const char *where)
{
    bool killed = strcmp(fault, "signal=KILL") == 0;
    ck_assert_msg(killed || (WIFEXITED(t->status) && WEXITSTATUS(t->status) == 0), "%s: status %#x", where,
                  (unsigned)t->status);
    ck_assert_msg(killed || t->opened, "%s: nothing was told", where);
    s->died += !WIFEXITED(t->status);
    s->answered += (t->opened && t->open_rc != OTOK_OK) || (t->tried && t->rc != OTOK_OK);
    ck_assert_msg(!t->opened || is_honest(t->open_rc), "%s: opening says %s", where, otok_error_name(t->open_rc));
    ck_assert_msg(!t->tried || is_honest(t->rc), "%s: %s", where, otok_error_name(t->rc));
    if (killed || !t->tried || t->rc == OTOK_OK)
        return;
    bool was_done = s->what == REVOKE && t->rc == OTOK_E_UNCERTAIN && t->again_rc == OTOK_E_NOT_FOUND;
    ck_assert_msg(t->tried_again && (t->again_rc == OTOK_OK || was_done), "%s: %s, and the next time %s", where,
                  otok_error_name(t->rc), otok_error_name(t->again_rc));
}

static void fail_one(stage *s, const char *call, const char *fault, unsigned k, unsigned number)
{
    char trace[64], inject[128], where[160];
    (void)snprintf(trace, sizeof trace, "trace=%s", call);
    (void)snprintf(inject, sizeof inject, "inject=%s:%s:when=%u", call, fault, k);
    (void)snprintf(where, sizeof where, "%s, %s number %u, %s", deeds[s->what], call, number, fault);
    const char *const options[] = {"-f", "-qq", "-o", "/dev/null", "-e", trace, "-e", inject, NULL};
    told t = run_victim(s, options);
    answers_are_honest(s, &t, fault, where);
    the_store_is_as_told(s, &t, where);
}

static void every_call_fails_once(deed what)
{
    stage s;
    open_stage(&s, what);
    unsigned before[CALLS], behind[CALLS];
    bool traced = trace_once(&s);
    for (size_t i = 0; traced && i < CALLS; i++)
        count_calls(&s, calls[i].name, &before[i], &behind[i]);
    for (size_t i = 0; traced && i < CALLS; i++) {
        for (size_t k = 0; k < FAULTS; k++) {
            for (unsigned n = 1; (calls[i].faults & faults[k].bit) != 0 && n <= behind[i]; n++)
                fail_one(&s, calls[i].name, faults[k].text, before[i] + n, n);
        }
    }
    printf("%s: %u runs, %u answered with an error, %u died\n", deeds[what], s.runs, s.answered, s.died);
    ck_assert_msg(!traced || (s.answered > 0 && s.died > 0),
                  "no system call failed: strace does not do what it should");
    close_stage(&s);
}

START_TEST(every_system_call_of_the_store_may_fail)
{
    every_call_fails_once((deed)_i);
}
END_TEST

static void add(TCase *tc)
{
    tcase_add_loop_test(tc, every_system_call_of_the_store_may_fail, 0, DEEDS);
}

int main(int argc, char **argv)
{
    if (argc == 7 && strcmp(argv[1], "victim") == 0)
        return be_victim(argv + 2);
    return test_main("I/O errors", add);
}
