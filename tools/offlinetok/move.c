/*
 * move.c - export, import.
 *
 * SPDX-License-Identifier: MIT
 */
#include "tool.h"

#include <cjson/cJSON.h>
#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

/* ------------------------------------------------------------------------------------------------------- export */

/* Nobody else's file is called so: one that is there is what an export that was killed has left, or another is writing. */
static const char SUFFIX[] = ".offlinetok";

/* Where the lines go. */
typedef struct target {
    const char *path;
    char *beside; /* NULL: standard output */
    FILE *file;
    int failed; /* errno */
} target;

/* Whether that file has this name still. */
static bool is_called(int fd, const char *path)
{
    struct stat there, here;
    return fstat(fd, &here) == 0 && lstat(path, &there) == 0 && here.st_dev == there.st_dev &&
           here.st_ino == there.st_ino;
}

/*
 * Makes the file beside, anew.  Who writes to it has it locked, and only who has it locked removes it: so of two exports to one file,
 * neither gives its name to what the other has written so far.  -1: errno, EWOULDBLOCK where another writes.
 */
static int make_beside(const char *path)
{
    int left = open(path, O_WRONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC), fd = -1, why = 0;
    if (left >= 0 && flock(left, LOCK_EX | LOCK_NB) != 0)
        why = errno;
    else if (left >= 0 ? is_called(left, path) : errno != ENOENT)
        (void)unlink(path);
    if (why == 0) {
        fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, S_IRUSR | S_IWUSR);
        why = fd >= 0 ? 0 : errno == EEXIST ? EWOULDBLOCK : errno;
    }
    if (fd >= 0 && (flock(fd, LOCK_EX | LOCK_NB) != 0 || !is_called(fd, path))) {
        (void)close(fd);
        fd = -1;
        why = EWOULDBLOCK;
    }
    if (left >= 0)
        (void)close(left);
    errno = why;
    return fd;
}

/* A file in the place of a device, a pipe or a link would be no export to it, but its end. */
static bool may_be_replaced(const char *path)
{
    struct stat st;
    if (lstat(path, &st) != 0 || S_ISREG(st.st_mode))
        return true;
    (void)complain_trouble("%s is there, and no file: without --output records go to standard output", path);
    return false;
}

static bool target_open(target *t)
{
    t->file = stdout;
    if (t->path == NULL)
        return true;
    if (!may_be_replaced(t->path))
        return false;
    size_t size = strlen(t->path) + sizeof SUFFIX;
    t->beside = malloc(size);
    if (t->beside == NULL)
        return complain_memory() == EXIT_DONE;
    (void)snprintf(t->beside, size, "%s%s", t->path, SUFFIX);
    int fd = make_beside(t->beside);
    t->file = fd >= 0 ? fdopen(fd, "w") : NULL;
    if (t->file != NULL)
        return true;
    (void)complain_trouble("%s: %s", t->beside,
                           errno == EWOULDBLOCK ? "another export is writing it" : strerror(errno));
    if (fd >= 0) {
        (void)unlink(t->beside);
        (void)close(fd);
    }
    return false;
}

static int write_lines(void *user, const void *data, size_t len)
{
    target *t = user;
    if (fwrite(data, 1, len, t->file) == len)
        return 0;
    t->failed = errno;
    return -1;
}

/* The file gets its name when all of it is on stable storage. */
static bool keep(target *t)
{
    char *copy = strdup(t->path);
    bool done = copy != NULL && fflush(t->file) == 0 && fsync(fileno(t->file)) == 0 &&
                rename(t->beside, t->path) == 0 && folder_sync(dirname(copy));
    t->failed = errno;
    free(copy);
    return done;
}

/* `rc` is how it went so far. */
static int target_close(target *t, int rc)
{
    if (t->path == NULL)
        return fflush(stdout) == 0 || rc != EXIT_DONE ? rc : complain_trouble("standard output: %s", strerror(errno));
    if (rc == EXIT_DONE && !keep(t))
        rc = complain_trouble("%s: %s", t->path, strerror(t->failed));
    if (rc != EXIT_DONE && is_called(fileno(t->file), t->beside))
        (void)unlink(t->beside); /* as long as it is locked */
    (void)fclose(t->file);
    return rc;
}

static int export_all(const place *p, progress *bar, target *t, otok_transfer *result)
{
    otok_watch watch;
    otok_error err;
    otok_watch_init(&watch, sizeof watch);
    watch.user = bar;
    watch.progress = progress_step;
    otok_transfer_init(result, sizeof *result);
    int code = otok_store_export(p->store, write_lines, t, &watch, result, &err);
    progress_hide(bar);
    if (code == OTOK_E_CALLBACK && t->failed != 0)
        return complain_trouble("%s: %s", t->path != NULL ? t->path : "standard output", strerror(t->failed));
    return code == OTOK_OK ? EXIT_DONE : complain("export", &err);
}

static int print_exported(const options *o, const otok_transfer *result)
{
    char number[NUMBER_ROOM];
    if (o->output == NULL || !o->json) {
        note(o, "Exported records: %s", number_words(result->records, number));
        return EXIT_DONE;
    }
    cJSON *json = cJSON_CreateObject();
    json_add_text(json, "file", o->output);
    json_add_count(json, "records", result->records);
    return json_print(json);
}

int command_export(const options *o)
{
    target t = {.path = o->output};
    otok_transfer result;
    progress bar;
    place p;
    if (o->output == NULL && isatty(STDOUT_FILENO))
        return complain_usage("records are not for a terminal: name a file with --output, or use a pipe");
    int rc = place_open(o, OPEN_STORE, true, &p);
    if (rc != EXIT_DONE)
        return rc;
    progress_begin(&bar, o, "exporting"); /* until the file has its name: Ctrl-C leaves nothing beside it */
    if (!target_open(&t))
        rc = EXIT_TROUBLE;
    else
        rc = target_close(&t, export_all(&p, &bar, &t, &result));
    progress_end(&bar);
    if (rc == EXIT_DONE)
        rc = print_exported(o, &result);
    free(t.beside);
    place_close(&p);
    return rc;
}

/* ------------------------------------------------------------------------------------------------------- import */

/* An import under way. */
typedef struct importer {
    const options *o;
    const char *name;
    int fd;
    int32_t mode;
    bool twice; /* it is a file: it is read through first, and nothing written */
    int failed; /* errno */
    otok_transfer seen, done;
} importer;

static int read_lines(void *user, void *data, size_t room, size_t *len)
{
    importer *i = user;
    ssize_t n;
    do
        n = read(i->fd, data, room);
    while (n < 0 && errno == EINTR && !was_interrupted());
    if (n < 0)
        i->failed = errno;
    *len = n > 0 ? (size_t)n : 0;
    return n < 0 ? -1 : 0;
}

static int open_source(importer *i)
{
    struct stat st;
    bool is_stdin = strcmp(i->name, "-") == 0;
    i->fd = is_stdin ? STDIN_FILENO : open(i->name, O_RDONLY | O_CLOEXEC);
    if (i->fd < 0 || fstat(i->fd, &st) != 0)
        return complain_trouble("%s: %s", i->name, strerror(errno));
    i->twice = S_ISREG(st.st_mode) && !i->o->dry_run && lseek(i->fd, 0, SEEK_CUR) == 0;
    return EXIT_DONE;
}

/* A store that is not there is one without records, and is made when the first of them is written. */
static int open_target(const options *o, bool dry_run, place *p)
{
    otok_error err;
    int rc = place_name(o, p);
    char *data = rc == EXIT_DONE && p->directory != NULL ? path_join(p->directory, "data.mdb") : NULL;
    bool is_missing = data != NULL && !path_exists(data) && errno == ENOENT;
    free(data);
    if (rc != EXIT_DONE || !is_missing) {
        place_close(p);
        return rc != EXIT_DONE ? rc : place_open(o, OPEN_STORE, dry_run, p);
    }
    if (dry_run)
        rc = otok_store_open_memory(&p->store, &err) == OTOK_OK ? EXIT_DONE : complain("import", &err);
    else if (!folder_make(p->root))
        rc = EXIT_TROUBLE;
    else if (otok_store_open_lmdb(p->directory, NULL, &p->store, &err) != OTOK_OK)
        rc = complain("making the store", &err);
    if (rc != EXIT_DONE)
        place_close(p);
    return rc;
}

static int pass(importer *i, bool dry_run, uint64_t total, otok_transfer *result)
{
    progress bar;
    otok_import import;
    otok_watch watch;
    otok_error err;
    place p;
    int rc = open_target(i->o, dry_run, &p);
    if (rc != EXIT_DONE)
        return rc;
    otok_import_init(&import, sizeof import);
    import.read = read_lines;
    import.user = i;
    import.mode = i->mode;
    import.dry_run = dry_run ? 1 : 0;
    otok_watch_init(&watch, sizeof watch);
    watch.user = &bar;
    watch.progress = progress_step;
    otok_transfer_init(result, sizeof *result);
    progress_begin(&bar, i->o, dry_run ? "reading" : "importing");
    bar.total = total;
    int code = otok_store_import(p.store, &import, &watch, result, &err);
    progress_end(&bar);
    if (code == OTOK_E_CALLBACK && i->failed != 0 && !was_interrupted())
        rc = complain_trouble("%s: %s", i->name, strerror(i->failed));
    else if (code != OTOK_OK)
        rc = complain(i->name, &err);
    place_close(&p);
    return rc == EXIT_USAGE ? EXIT_TROUBLE : rc;
}

static int ask(importer *i)
{
    char replaced[NUMBER_ROOM], removed[NUMBER_ROOM];
    if (i->mode == OTOK_IMPORT_ADD || i->o->dry_run)
        return EXIT_DONE;
    if (!i->twice)
        return confirm(i->o, "This replaces%s records of the store, how many is not known before. Go on?",
                       i->mode == OTOK_IMPORT_MIRROR ? " and removes" : "")
                   ? EXIT_DONE
                   : EXIT_DECLINED;
    if (i->seen.replaced + i->seen.removed == 0) {
        if (!i->o->yes) /* what servers have written since was not asked about: it stays */
            i->mode = OTOK_IMPORT_ADD;
        return EXIT_DONE;
    }
    return confirm(i->o, "This replaces %s records of the store, and removes %s. Go on?",
                   number_words(i->seen.replaced, replaced), number_words(i->seen.removed, removed))
               ? EXIT_DONE
               : EXIT_DECLINED;
}

static int print_imported(const options *o, const otok_transfer *t)
{
    char records[NUMBER_ROOM], inserted[NUMBER_ROOM], replaced[NUMBER_ROOM], removed[NUMBER_ROOM], same[NUMBER_ROOM];
    if (o->json) {
        cJSON *json = cJSON_CreateObject();
        json_add_count(json, "records", t->records);
        json_add_count(json, "inserted", t->inserted);
        json_add_count(json, "replaced", t->replaced);
        json_add_count(json, "removed", t->removed);
        json_add_count(json, "same", t->same);
        json_add_bool(json, "dry_run", o->dry_run);
        return json_print(json);
    }
    const fact facts[] = {
        {"records in the file", number_words(t->records, records)},
        {o->dry_run ? "would be added" : "added", number_words(t->inserted, inserted)},
        {o->dry_run ? "would be replaced" : "replaced", number_words(t->replaced, replaced)},
        {o->dry_run ? "would be removed" : "removed", number_words(t->removed, removed)},
        {"there already", number_words(t->same, same)},
    };
    facts_print(facts, sizeof facts / sizeof facts[0]);
    return EXIT_DONE;
}

static int import_all(importer *i)
{
    int rc = open_source(i);
    if (rc == EXIT_DONE && i->twice)
        rc = pass(i, true, 0, &i->seen);
    if (rc == EXIT_DONE)
        rc = ask(i);
    if (rc == EXIT_DONE && i->twice && lseek(i->fd, 0, SEEK_SET) != 0)
        rc = complain_trouble("%s: %s", i->name, strerror(errno));
    if (rc == EXIT_DONE)
        rc = pass(i, i->o->dry_run, i->seen.records, &i->done);
    return rc == EXIT_DONE ? print_imported(i->o, &i->done) : rc;
}

static int read_mode(const char *text, int32_t *mode)
{
    static const char *const words[] = {"add", "replace", "mirror"};
    for (*mode = 0; *mode < 3; ++*mode) {
        if (strcmp(words[*mode], text != NULL ? text : "add") == 0)
            return EXIT_DONE;
    }
    return complain_usage("--mode is add, replace or mirror");
}

int command_import(const options *o)
{
    importer i = {.o = o, .name = o->arguments[0], .fd = -1};
    int rc = read_mode(o->mode, &i.mode);
    if (rc == EXIT_DONE)
        rc = import_all(&i);
    if (i.fd > STDIN_FILENO)
        (void)close(i.fd);
    return rc;
}
